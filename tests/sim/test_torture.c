/*
 * The torture: small programs over everything the library does; in each of them every allocation,
 * every call of the system table and every ring call fails once, with each error that its
 * documentation names. No crash, no leak, no hang; the program is told what happened, in words when
 * it asked for a runtime; and what comes after works.
 *
 * Every place of every scenario: RINGLINE_TORTURE=full. Else a sample that still
 * has each scenario, each call and each error. RINGLINE_TORTURE="SCENARIO-NUMBER CALL NTH ERRNO":
 * that one alone.
 */
#include "sim/sim.h"
#include "test.h"
#include "torture_apps.h"

#define SAMPLE 8 /* without "full": so many places at most of one call in one scenario */

/* ---- scenarios */
struct served {
	const char *addr;
	const rln_callbacks *cb;
	void (*on_conn)(rln_conn c, void *arg);
	int (*on_request)(rln_conn c, void *arg);
	int (*client)(void *arg);
	unsigned workers;
	size_t high; /* recv_max and send_high */
	bool silent; /* it never answers: nobody can see that it lives */
};

static void real_addr(rln_runtime *rt, const char *asked, char *out, size_t cap)
{
	struct sockaddr_storage ss;

	snprintf(out, cap, "%s", asked);
	RLN_SIM_CHECK(rln_listen_addr(rt, 0, &ss) == 0);
	if (ss.ss_family == AF_INET)
		snprintf(out, cap, "127.0.0.1:%u", ntohs(((struct sockaddr_in *)&ss)->sin_port));
	else if (ss.ss_family == AF_INET6)
		snprintf(out, cap, "[::1]:%u", ntohs(((struct sockaddr_in6 *)&ss)->sin6_port));
}

static int served(void *arg)
{
	const struct served *s = arg;
	rln_listen_opts l = { .addr = s->addr,
			      .on_conn = s->on_conn,
			      .on_request = s->on_request,
			      .cb = s->cb,
			      .backlog = 8,
			      .max_conns = 40,
			      .recv_max = s->high,
			      .send_high = s->high };
	rln_config c = { .listen = &l, .nlisten = 1, .workers = s->workers };
	rln_runtime *rt = start(&c);
	char addr[100];

	real_addr(rt, s->addr, addr, sizeof addr);
	program(s->client, addr, 1);
	if (!s->silent)
		program(survivor, addr, 1);
	stop(rt);
	return 0;
}

static int alone(void *arg)
{
	const struct served *s = arg;
	struct across x = { 0 };

	program(s->client, &x, s->workers);
	return 0;
}

/* A listening socket of the process that started us. */
static int inherited(void *arg)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons(4711) };
	const rln_callbacks *cb = &echo_callbacks;
	char name[20], addr[] = "127.0.0.1:4711";
	int fd;

	(void)arg;
	torture.off = true;
	at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	fd = sys_socket(AF_INET, SOCK_STREAM, 0);
	RLN_SIM_CHECK(fd >= 0 && sys_bind(fd, (struct sockaddr *)&at, sizeof at) == 0);
	RLN_SIM_CHECK(sys_listen(fd, 8) == 0);
	torture.off = false;
	snprintf(name, sizeof name, "fd:%d", fd);
	rln_listen_opts l = { .addr = name, .cb = cb, .max_conns = 40 };
	rln_config c = { .listen = &l, .nlisten = 1, .workers = 2 };
	rln_runtime *rt = start(&c);
	program(talker, addr, 1);
	program(survivor, addr, 1);
	stop(rt);
	torture.off = true;
	sys_close(fd); /* ours, or taken: either is right once it is a duplicate */
	torture.off = false;
	return 0;
}

/* The drain begins while clients are talking. */
static int drain_midway(void *arg)
{
	rln_runtime *rt = *(rln_runtime **)arg;
	RLN_CONN(c);

	c = dial("127.0.0.1:4712");
	if (c.h && ping(c, "before the drain")) {
		rln_shutdown(rt);
		for (unsigned i = 0; i < 3; i++) { /* until it ends: nothing is owed */
			rln_view v;

			if (rln_send(c, "x", 1) < 0 || rln_recv(c, &v) <= 0)
				break;
		}
	}
	return 0;
}

static int drain(void *arg)
{
	rln_listen_opts l = { .addr = "127.0.0.1:4712", .on_conn = echo_task, .max_conns = 40 };
	rln_config c = { .listen = &l, .nlisten = 1, .workers = 2, .drain_idle = RLN_MS(20) };
	rln_runtime *rt = start(&c);

	(void)arg;
	program(drain_midway, &rt, 1);
	stop(rt);
	return 0;
}

/* Names with two addresses, of which one refuses. */
static int resolve_two(struct world *w, const char *host, uint16_t port,
		       struct sockaddr_storage *out, int max)
{
	struct sockaddr_in in = { .sin_family = AF_INET };

	(void)w, (void)host;
	RLN_SIM_CHECK(max >= 2);
	for (int i = 0; i < 2; i++) {
		in.sin_port = htons((uint16_t)(port + i - 1));
		in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
		memset(&out[i], 0, sizeof out[i]);
		memcpy(&out[i], &in, sizeof in);
	}
	return 2;
}

static int by_name(void *arg)
{
	static const struct served s = { .addr = "127.0.0.1:4713",
					 .on_conn = echo_task,
					 .client = talker };
	struct served named = s;
	rln_listen_opts l = { .addr = s.addr, .on_conn = s.on_conn, .max_conns = 40 };
	rln_config c = { .listen = &l, .nlisten = 1 };
	char name[] = "server.example:4713";

	(void)arg;
	(void)named;
	world_current()->cfg.resolve = resolve_two;
	rln_runtime *rt = start(&c);
	program(talker, name, 1);
	program(survivor, name, 1);
	stop(rt);
	return 0;
}

/* A connection made elsewhere becomes one of ours. */
static int adopter(void *arg)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons(4714) };
	int fd, e;
	RLN_CONN(c);

	(void)arg;
	torture.off = true;
	at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	fd = sys_socket(AF_INET, SOCK_STREAM, 0);
	do
		e = sys_connect(fd, (struct sockaddr *)&at, sizeof at);
	while (e == -EAGAIN && rln_sleep(RLN_MS(1)) == 0);
	torture.off = false;
	RLN_SIM_CHECK(e == 0);
	if (ok("rln_adopt_fd", rln_adopt_fd(fd, &c))) {
		if (ping(c, "adopted"))
			ping(c, "twice");
		return 0;
	}
	torture.off = true;
	sys_close(fd); /* it is still ours */
	torture.off = false;
	return 0;
}

/* A listener made in the program, its clients taken one by one. */
static int self_client(void *arg)
{
	return talker(arg);
}

static int listener(void *arg)
{
	char addr[] = "127.0.0.1:4715";
	rln_listen_opts l = { .addr = addr, .backlog = 4 };
	rln_listener ls;
	rln_task t;
	int e = rln_listen(&l, &ls);

	(void)arg;
	if (!ok("rln_listen", e)) /* once more: the failure is over */
		RLN_SIM_CHECK(rln_listen(&l, &ls) == 0);
	if (ok("rln_spawn", rln_spawn(self_client, addr, NULL, &t))) {
		for (unsigned i = 0; i < 2; i++) {
			RLN_CONN(c);
			e = RLN_WITHIN(RLN_SEC(5), rln_accept(ls, &c));
			if (e == 0)
				echo_task(c, NULL);
			else
				RLN_SIM_CHECK(torture.hit);
		}
		RLN_SIM_CHECK(rln_join(t, NULL) == 0);
	}
	RLN_SIM_CHECK(rln_listener_close(ls) == 0);
	return 0;
}

static int doubled(void *arg)
{
	return 2 * *(int *)arg;
}

/* Calls into a runtime from a thread of the program's own. */
static int caller(void *arg)
{
	rln_config c = { .workers = 2 };
	rln_runtime *rt = start(&c);
	int n = 21, result = 0;

	(void)arg;
	for (unsigned i = 0; i < 3; i++)
		if (ok("rln_call", rln_call(rt, i % 2, doubled, &n, &result)))
			RLN_SIM_CHECK(result == 42);
	stop(rt);
	return 0;
}

/* Refused, reset, idle for too long. */
static int rude(void *arg)
{
	rln_connect_opts o = { .idle_timeout = RLN_MS(5) };
	RLN_CONN(c);
	RLN_CONN(idle);
	rln_view v;
	int e = rln_connect("127.0.0.1:9", NULL, &c);

	if (e != -ECONNREFUSED)
		ok("rln_connect", e ? e : -EINVAL);
	c = dial(arg);
	if (c.h && ping(c, "about to go"))
		ok("rln_reset", rln_reset(c));
	c = (rln_conn){ 0 };
	e = rln_connect(arg, &o, &idle);
	if (!ok("rln_connect", e))
		return 0;
	ssize_t n = rln_recv(idle, &v);
	if (n != -ETIME)
		got("rln_recv", n);
	return 0;
}

#define SERVED(...)                    \
	served, &(const struct served) \
	{                              \
		__VA_ARGS__            \
	}
#define TCP .addr = "127.0.0.1:0"
static const struct scenario {
	const char *name;
	int (*fn)(void *arg);
	const void *arg;
} scenarios[] = {
	{ "tcp, task", SERVED(TCP, .on_conn = echo_task, .client = talker) },
	{ "tcp, request", SERVED(TCP, .on_request = echo_request, .client = talker) },
	{ "tcp, callback", SERVED(TCP, .cb = &echo_callbacks, .client = talker) },
	{ "tcp over IPv6", SERVED(.addr = "[::1]:0", .on_conn = echo_task, .client = talker) },
	{ "every address", SERVED(.addr = ":0", .on_conn = echo_task, .client = talker) },
	{ "unix path",
	  SERVED(.addr = "unix:/run/torture", .on_conn = echo_task, .client = talker) },
	{ "unix, abstract, two workers",
	  SERVED(.addr = "unix:@torture", .on_conn = echo_task, .client = talker, .workers = 2) },
	{ "inherited listener", inherited, NULL },
	{ "two workers", SERVED(TCP, .on_conn = echo_task, .client = talker, .workers = 2) },
	{ "give", SERVED(TCP, .on_conn = echo_give, .client = talker, .workers = 2) },
	{ "to_task", SERVED(TCP, .cb = &to_task_callbacks, .client = talker) },
	{ "bulk, task", SERVED(TCP, .on_conn = echo_task, .client = bulk) },
	{ "bulk, callback", SERVED(TCP, .cb = &echo_callbacks, .client = bulk, .high = 3000) },
	{ "ways to receive", SERVED(TCP, .on_conn = echo_task, .client = receiver) },
	{ "deadlines", SERVED(TCP, .on_conn = never, .client = deadlines, .silent = true) },
	{ "refused, reset, idle", SERVED(TCP, .on_conn = echo_task, .client = rude) },
	{ "adopt_fd", SERVED(.addr = "127.0.0.1:4714", .on_conn = echo_task, .client = adopter) },
	{ "drain", drain, NULL },
	{ "by name", by_name, NULL },
	{ "listener of one worker", alone, &(const struct served){ .client = listener } },
	{ "timers", alone, &(const struct served){ .client = timers } },
	{ "spawn and join", alone, &(const struct served){ .client = spawner } },
	{ "groups", alone, &(const struct served){ .client = grouper } },
	{ "channels and select", alone, &(const struct served){ .client = channels } },
	{ "post, go_on, oneshot", alone,
	  &(const struct served){ .client = crosser, .workers = 2 } },
	{ "channel between workers", alone,
	  &(const struct served){ .client = receive_items, .workers = 2 } },
	{ "blocking", alone, &(const struct served){ .client = blocker } },
	{ "calls from outside", caller, NULL },
};
#define SCENARIOS (sizeof scenarios / sizeof *scenarios)

/* ---- one run */
static void play(const struct scenario *s, enum torture_call call, unsigned nth, int err)
{
	rln_sim_config cfg = { .main = s->fn, .cpus = 2, .step_limit = 200000 };
	rln_sim_result r;

	memcpy(&cfg.arg, &s->arg, sizeof cfg.arg);
	cfg.seed = 2 + 4 * (uint64_t)(s - scenarios); /* socket buffers of up to 4 KiB */
	for (unsigned i = 0; i < RLN_SIM_CLASSES; i++)
		if (i != RLN_SIM_ORDER && i != RLN_SIM_SHORT)
			cfg.faults[i] = RLN_SIM_OFF;
	cfg.trace = getenv("RINGLINE_SIM_TRACE") != NULL;
	torture = (struct torture){ .call = call, .nth = nth, .err = err };
	if (rln_sim_run(&cfg, &r))
		test_fail(__FILE__, __LINE__, "%s (%zu): call %u of %s fails with %s (%d): %s",
			  s->name, (size_t)(s - scenarios), nth, torture_calls[call].name,
			  err ? strerrorname_np(err) : "nothing", err, r.what);
}

struct totals {
	unsigned places, hit, told;
	bool error_used[CALL_COUNT][8];
};

/* Each error at each place; or, of n places, a sample of them with the errors in turn. */
static void torture_call(const struct scenario *s, enum torture_call call, unsigned n, bool full,
			 struct totals *t)
{
	unsigned step = full || n <= SAMPLE ? 1 : n / SAMPLE, turn = 0, errors = 0;

	while (errors < 8 && torture_calls[call].errors[errors])
		errors++;
	for (unsigned nth = 1; nth <= n; nth += step, turn++) {
		for (unsigned i = 0; i < errors; i++) {
			/* one for each place; but each at least once */
			if (!full && turn % errors != i && t->error_used[call][i])
				continue;
			torture_errors = 0;
			play(s, call, nth, torture_calls[call].errors[i]);
			if (!torture.hit)
				printf("  not reached: call %u of %s in %s\n", nth,
				       torture_calls[call].name, s->name);
			t->places++;
			t->hit += torture.hit;
			t->told += torture_errors > 0;
			t->error_used[call][i] |= torture.hit;
		}
	}
}

TEST_LIMIT(torture_every_call_fails_once, 1200)
{
	const char *want = getenv("RINGLINE_TORTURE");
	bool full = want && strcmp(want, "full") == 0;
	struct totals t = { 0 };
	unsigned never = 0, which, nth;
	char call_name[40];
	int err;

	if (want && sscanf(want, "%u %39s %u %d", &which, call_name, &nth, &err) == 4) {
		for (unsigned call = 0; call < CALL_COUNT && which < SCENARIOS; call++)
			if (strcmp(torture_calls[call].name, call_name) == 0)
				play(&scenarios[which], (enum torture_call)call, nth, err);
		return;
	}
	for (const struct scenario *s = scenarios; s < scenarios + SCENARIOS; s++) {
		unsigned n[CALL_COUNT];

		play(s, CALL_alloc, 0, 0);
		memcpy(n, torture.seen, sizeof n);
		for (unsigned call = 0; call < CALL_COUNT; call++)
			torture_call(s, (enum torture_call)call, n[call], full, &t);
		if (getenv("V"))
			printf("%s: %u alloc %u enter: %u places, %lld ms\n", s->name,
			       n[CALL_alloc] + n[CALL_zalloc], n[CALL_ring_enter], t.places,
			       (long long)(test_now_ns() / 1000000));
	}
	for (unsigned call = 0; call < CALL_COUNT; call++) {
		for (unsigned i = 0; i < 8 && torture_calls[call].errors[i]; i++) {
			if (t.error_used[call][i])
				continue;
			printf("  never: %s with %s\n", torture_calls[call].name,
			       strerrorname_np(torture_calls[call].errors[i]));
			never++;
		}
	}
	printf("  %zu scenarios, %u places, %u failures injected, %u told to the program\n",
	       SCENARIOS, t.places, t.hit, t.told);
	CHECK_INT(t.hit, ==, t.places);
	CHECK(t.told > t.places / 10);
	CHECK_INT(never, ==, 0);
}

/* A new function of the system table is tortured, or named among those that cannot fail. */
TEST(torture_knows_every_function_of_the_table)
{
	char path[500], line[500], name[100];
	unsigned found = 0;
	FILE *f;

	CHECK(getenv("RINGLINE_SOURCE"));
	snprintf(path, sizeof path, "%s/src/base/sys.h", getenv("RINGLINE_SOURCE"));
	f = fopen(path, "r");
	CHECK(f);
	while (fgets(line, sizeof line, f)) {
		const char *at = line;
		bool known = false;

		if (*line == ' ' || *line == '\t' || *line == '/' || *line == '#')
			continue;
		at = strstr(line, "sys_");
		if (!at || sscanf(at, "sys_%99[a-z_](", name) != 1 || at[4 + strlen(name)] != '(')
			continue;
		for (unsigned i = 0; i < CALL_COUNT; i++)
			known |= strcmp(torture_calls[i].name, name) == 0;
		snprintf(path, sizeof path, " %s ", name);
		known |= strstr(" " TORTURE_NEVER " " TORTURE_ELSEWHERE " ", path) != NULL;
		if (!known)
			test_fail(__FILE__, __LINE__, "sys_%s is in no list", name);
		found++;
	}
	fclose(f);
	CHECK_INT(found, >, 50);
}
