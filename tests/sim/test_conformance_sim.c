/*
 * The table of kernel behaviour on the simulator, over many seeds: it must produce nothing that is
 * not listed, and the first outcome of each row, which is a real kernel's.
 */
#include "conformance.h"
#include "seed.h"
#include "sim/world.h"

#if defined(__SANITIZE_ADDRESS__)
#define SEEDS 60 /* what AddressSanitizer looks at does not need them all */
#else
#define SEEDS 200
#endif

static void sim_connect(struct conf *c)
{
	struct peer_config pc = { .kind = PEER_SCRIPT };
	struct world *w = world_current();

	c->client = world_peer(w, c->port, &pc);
	while (!peer_connected(c->client) && world_next(w) != INT64_MAX)
		world_run_until(w, world_next(w));
	CHECK(peer_connected(c->client));
}

static ssize_t sim_send(struct conf *c, const void *p, size_t n)
{
	return peer_send(c->client, p, n);
}

static ssize_t sim_recv(struct conf *c, void *p, size_t n)
{
	return peer_recv(c->client, p, n);
}

static void sim_fin(struct conf *c)
{
	peer_fin(c->client);
}

static void sim_rst(struct conf *c)
{
	peer_rst(c->client);
	c->client = NULL;
}

static void sim_close(struct conf *c)
{
	if (c->client)
		peer_close(c->client);
	c->client = NULL;
}

static const struct conf_peer sim_peer_ops = { sim_connect, sim_send, sim_recv,
					       sim_fin,	    sim_rst,  sim_close };

/* Faults that change what a row is about are off; order, delay and lateness stay. */
static const struct world_config conf_world = {
	.rcvbuf = 65536,
	.sndbuf = 65536,
	.fault = { [FAULT_SHORT_RECV] = RATE_OFF,
		   [FAULT_SHORT_SEND] = RATE_OFF,
		   [FAULT_SHORT_WAITALL] = RATE_OFF,
		   [FAULT_ENOBUFS] = RATE_OFF,
		   [FAULT_RESET] = RATE_OFF,
		   [FAULT_PEER_FIN] = RATE_OFF,
		   [FAULT_ZC_REFUSED] = RATE_OFF,
		   [FAULT_TIME_JUMP] = RATE_OFF,
		   [FAULT_ACCEPT_ERR] = RATE_OFF,
		   [FAULT_CONNECT_ERR] = RATE_OFF,
		   [FAULT_FILE_SHORT] = RATE_OFF,
		   [FAULT_FILE_EIO] = RATE_OFF,
		   [FAULT_FILE_FULL] = RATE_OFF,
		   [FAULT_SEND_ERR] = RATE_OFF,
		   [FAULT_RECV_ERR] = RATE_OFF },
};

/* The distinct outcomes of one row, and the first seed of each. */
#define OUTCOMES 40

struct seen {
	char text[OUTCOMES][240];
	uint64_t seed[OUTCOMES];
	unsigned count;
};

static void note(struct seen *seen, const char *out, uint64_t seed)
{
	for (unsigned i = 0; i < seen->count; i++)
		if (!strcmp(seen->text[i], out))
			return;
	CHECK_INT(seen->count, <, OUTCOMES);
	seen->seed[seen->count] = seed;
	snprintf(seen->text[seen->count++], sizeof(seen->text[0]), "%s", out);
}

static void run_row(const struct conf_row *row, enum world_linux version, uint64_t seed,
		    struct seen *seen)
{
	struct world_config cfg = conf_world;
	struct world *w;
	struct conf c;
	char why[100];

	cfg.version = (uint8_t)version;
	w = world_new(seed, &cfg);
	world_enter(w);
	conf_open(&c, world_kernel(w), &sim_peer_ops);
	row->run(&c);
	note(seen, c.out, seed);
	conf_close(&c);
	if (!world_check_quiet(w, why, sizeof(why)))
		world_fail(w, "%s: %s", row->name, why);
	world_enter(NULL);
	world_free(w);
}

static const char *const versions[] = { NULL, "6.1", "6.12", "6.18", "7.2" };
_Static_assert(sizeof(versions) / sizeof(versions[0]) == LINUX_COUNT, "a name for each version");

/* What this version gave, as the test on a real kernel says it, so that the two can be compared. */
static bool judge_row(const struct conf_row *row, enum world_linux version, const struct seen *seen)
{
	size_t n = strcspn(row->outcomes, "|");
	bool good = true, first = false;

	for (unsigned i = 0; i < seen->count; i++) {
		const char *out = seen->text[i];

		printf("outcome of %s %s: %s\n", versions[version], row->name, out);
		first |= strlen(out) == n && !memcmp(out, row->outcomes, n);
		if (conf_listed(row->outcomes, out))
			continue;
		good = false;
		fprintf(stderr, "  %s, %s, seed %llu: \"%s\", not one of \"%s\"\n",
			versions[version], row->name, (unsigned long long)seen->seed[i], out,
			row->outcomes);
	}
	/* The first one listed is a newer kernel's. */
	if (!first && version == LINUX_7_2)
		fprintf(stderr, "  %s: never the first of \"%s\"\n", row->name, row->outcomes);
	return good && (first || version != LINUX_7_2);
}

static unsigned run_version(enum world_linux version)
{
	static struct seen seen;
	uint64_t first = seed_first(), seeds = seed_count(SEEDS);
	unsigned wrong = 0;

	for (unsigned i = 0; i < CONF_ROWS; i++) {
		seen.count = 0;
		if (conf_rows[i].since && version < LINUX_6_12)
			continue; /* all of those came between the two */
		for (uint64_t seed = first; seed < first + seeds; seed++) {
			seed_set(seed);
			run_row(&conf_rows[i], version, seed, &seen);
		}
		wrong += !judge_row(&conf_rows[i], version, &seen);
	}
	return wrong;
}

TEST_LIMIT(conformance_simulator_stays_within_the_table, 300)
{
	unsigned wrong = 0;

	for (enum world_linux v = LINUX_6_1; v < LINUX_COUNT; v++)
		wrong += run_version(v);
	CHECK_INT(wrong, ==, 0);
}
