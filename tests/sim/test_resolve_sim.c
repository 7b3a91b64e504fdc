/*
 * rln_connect() to names in the simulator: a resolver of the test whose addresses are good, refuse,
 * or never answer (by port), under every fault, with and without a deadline. Whatever happens, the
 * connection is one of the good ones, or the error is one there is; nothing stays behind.
 */
#include "ringline/thread.h"
#include "runtime_rig.h"
#include <arpa/inet.h>
#include <netinet/in.h>

enum { GOOD = 7, REFUSES = 9, TASKS = 6 };

static struct world *world;
static unsigned connected, refused, cut, unknown, later;

static void put_addr(struct sockaddr_storage *a, bool six, uint16_t port)
{
	memset(a, 0, sizeof *a);
	if (six) {
		struct sockaddr_in6 in = { .sin6_family = AF_INET6,
					   .sin6_addr = in6addr_loopback,
					   .sin6_port = htons(port) };
		memcpy(a, &in, sizeof in);
	} else {
		struct sockaddr_in in = { .sin_family = AF_INET,
					  .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
					  .sin_port = htons(port) };
		memcpy(a, &in, sizeof in);
	}
}

/* The port asked for is the silent one: a listener that is full. */
static int resolve(struct world *w, const char *host, uint16_t port, struct sockaddr_storage *out,
		   int max)
{
	int n = 1 + (int)world_rand(w, 6);

	if (!strcmp(host, "unknown"))
		return -EHOSTUNREACH;
	if (!strcmp(host, "later"))
		return -EAGAIN;
	n = n < max ? n : max;
	for (int i = 0; i < n; i++) {
		uint16_t to = REFUSES;
		if (!strcmp(host, "mixed"))
			to = (uint16_t[]){ GOOD, REFUSES, port }[world_rand(w, 3)];
		put_addr(&out[i], world_rand(w, 2), to);
	}
	return n;
}

static int client(void *arg)
{
	static const char *const hosts[] = { "mixed", "mixed", "refuses", "unknown", "later" };
	struct rig *r = arg;
	const char *host = hosts[world_rand(world, 5)];
	struct sockaddr_storage peer;
	char text[64];
	rln_conn c;

	snprintf(text, sizeof text, "%s:%u", host, r->port);
	int e = RLN_WITHIN((rln_ns)world_rand(world, RLN_SEC(3)), rln_connect(text, NULL, &c));
	switch (e) {
	case 0:
		connected++;
		if (strcmp(host, "mixed") || rln_peer(c, &peer) < 0)
			world_fail(world, "%s connected", host);
		if (rln_close(c) < 0)
			world_fail(world, "not to be closed");
		break;
	case -ETIME:
	case -ECANCELED:
	case -ESHUTDOWN:
		cut++;
		break;
	case -EAGAIN:
		later += !strcmp(host, "later");
		break;
	default:
		refused += !strcmp(host, "refuses");
		unknown += !strcmp(host, "unknown");
		if (!strcmp(host, "unknown") && e != -EHOSTUNREACH)
			world_fail(world, "unknown: %d", e);
	}
	return 0;
}

static void never(rln_conn c, void *arg)
{
	(void)c;
	(void)arg;
}

static void run_seed(uint64_t seed)
{
	struct world_config wc = { .resolve = resolve };
	struct world *w = world = world_new(seed, &wc);
	struct rig *r = calloc(1, sizeof *r);
	rln_listen_opts l = {
		.addr = "127.0.0.1:0", .on_conn = never, .backlog = 1, .max_conns = 1
	};
	rln_config c = { .listen = &l,
			 .nlisten = 1,
			 .file_slots = 1 + (unsigned)world_rand(w, 16) };

	seed_set(seed);
	world_enter(w);
	rig_sizes(w, &c);
	c.drain_timeout = (rln_ns)world_rand(w, RLN_SEC(2));
	rig_init(r, w, &c);
	rig_open(r);
	world_remote(w, GOOD, &(struct peer_config){ .kind = PEER_ECHO });
	for (int i = 0; i < TASKS; i++)
		rig_go(r, 0, client, r);
	for (unsigned n = (unsigned)world_rand(w, 300); n; n--)
		rig_turn(r, 0, world_now(w) + RLN_MS(20));
	rig_stop(r);
	free(r);
	rig_check_quiet(w);
	world_enter(NULL);
	world_free(w);
}

TEST_LIMIT(connect_to_names_sim_seeds_end_clean, 100)
{
	uint64_t first = seed_first(), n = seed_count(1500);

	for (uint64_t seed = first; seed < first + n; seed++)
		run_seed(seed);
	printf("  %llu seeds: %u connected, %u refused, %u cut, %u unknown, %u later\n",
	       (unsigned long long)n, connected, refused, cut, unknown, later);
	if (n >= 1000) {
		CHECK_INT(connected, >, 0);
		CHECK_INT(refused, >, 0);
		CHECK_INT(cut, >, 0);
		CHECK_INT(unknown, >, 0);
		CHECK_INT(later, >, 0);
	}
}
