/*
 * Scarcity at every place: the i-th allocation or the i-th call that sets up or registers with the
 * ring fails, for every i, in a runtime that starts, serves clients and connects out. A start
 * either works or says why and leaves nothing behind; a runtime that serves lives on, and only
 * connections suffer.
 */
#include "runtime_rig.h"

#define POINTS_MAX 5000
#define UPSTREAM 7

struct app {
	struct rig *r;
	struct world *w;
	unsigned opened, closed, connects, failed;
	int err; /* what fails, fails with this */
};
static struct app app;

static void closed(rln_conn c, int err, void *arg)
{
	(void)c;
	(void)err;
	(void)arg;
	app.closed++;
}

static void echo(rln_conn c)
{
	uint8_t *own __attribute__((cleanup(rig_free_bytes))) = malloc(RIG_OWN_BYTES);
	rln_view v;

	while (rig_receive(app.r, c, &v, own, RIG_OWN_BYTES) > 0)
		if (rig_send(app.r, c, v.data, v.len) < 0)
			return;
}

static void task_echo(rln_conn c, void *arg)
{
	(void)arg;
	app.opened++;
	echo(c);
}

static int request_echo(rln_conn c, void *arg)
{
	rln_view v;
	ssize_t n = rln_recv(c, &v);

	(void)arg;
	if (n <= 0)
		return n < 0 ? (int)n : RLN_CLOSE;
	return rig_send(app.r, c, v.data, v.len) < 0 ? RLN_CLOSE : RLN_KEEP;
}

static size_t data_echo(rln_conn c, const uint8_t *p, size_t n, void *arg)
{
	(void)arg;
	int e = rln_send_nowait(c, p, n);
	if (e == -ENOMEM)
		(void)rln_reset(c);
	return e < 0 ? 0 : n;
}

static const rln_callbacks callbacks = { .data = data_echo };

static int child(void *arg)
{
	(void)arg;
	return rln_sleep(RLN_MS(1));
}

/* Connects, spawns, timers, messages: each may fail for want of memory, and says so. */
static int client(void *arg)
{
	struct sockaddr_in to = { .sin_family = AF_INET,
				  .sin_port = htons(UPSTREAM),
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };

	(void)arg;
	for (unsigned i = 0; i < 4; i++) {
		RLN_CONN(c);
		rln_task t;
		rln_view v;
		int e = rln_connect_addr((struct sockaddr *)&to, sizeof to, NULL, &c);
		app.connects++;
		app.failed += e != 0;
		if (e && e != app.err)
			world_fail(app.w, "connect: %d", e);
		if (e)
			continue;
		if (rln_spawn(child, NULL, NULL, &t) == 0 && rln_join(t, NULL) < 0)
			return 0;
		static const uint8_t bytes[3000];
		if (rig_send(app.r, c, bytes, sizeof bytes) < 0)
			continue;
		if (RLN_WITHIN(RLN_SEC(5), rln_recv_exact(c, 10, &v)) < 0)
			continue;
		rln_buf b;
		if (rln_recv_buf(c, &b) > 0)
			rln_buf_release(&b);
	}
	return 0;
}

/* ---- one run */
struct plan {
	uint64_t seed;
	unsigned fail_alloc, fail_call;
	int err;
};

static int configure(struct rig *r, struct world *w, unsigned mode, struct diag *why)
{
	rln_listen_opts l = { .addr = "127.0.0.1:0", .on_close = closed, .backlog = 4 };
	rln_config c = { .listen = &l, .nlisten = 1, .file_slots = 8 };

	l.on_conn = mode == 0 ? task_echo : NULL;
	l.on_request = mode == 1 ? request_echo : NULL;
	l.cb = mode == 2 ? &callbacks : NULL;
	l.recv_max = 2000;
	l.send_high = 1 + world_rand(w, 3000);
	l.max_conns = 40; /* more than one page of connections */
	rig_sizes(w, &c);
	return rig_try_init(r, w, &c, why);
}

static void serve(struct rig *r, struct world *w, const struct plan *p)
{
	static const struct peer_config far = { .kind = PEER_ECHO };
	struct peer_config near = { .kind = PEER_NORMAL, .bytes = 5000 };

	world_remote(w, UPSTREAM, &far);
	for (unsigned i = 0; i < 4; i++)
		world_peer(w, r->port, &near);
	struct ctx *before = worker_enter(&r->worker[0]);
	int e = rln_go(client, NULL, NULL);
	worker_leave(before);
	if (e && e != -ENOMEM && e != -EAGAIN)
		world_fail(w, "rln_go: %d", e);
	while (world_peers_alive(w) || r->worker[0].sched.stats.tasks)
		rig_turn(r, 0, world_now(w) + RIG_PATIENCE);
	/* what failed is over: a new client is served like any other */
	const struct world_stats *s = world_stats(w);
	near.strict = s->allocs >= p->fail_alloc && s->calls >= p->fail_call;
	world_peer(w, r->port, &near);
	while (world_peers_alive(w))
		rig_turn(r, 0, world_now(w) + RIG_PATIENCE);
}

/* Returns whether the failure happened. */
static bool run(const struct plan *p, unsigned *started)
{
	struct world_config wc = { .fault = { [0 ... FAULT_COUNT - 1] = RATE_OFF },
				   .fail_alloc = p->fail_alloc,
				   .fail_call = p->fail_call,
				   .fail_errno = p->err };
	struct rig *r = calloc(1, sizeof *r);
	struct diag why = { 0 };
	bool hit;

	seed_set(p->seed * 1000000 + p->fail_alloc + p->fail_call);
	wc.fault[FAULT_SHORT_RECV] = wc.fault[FAULT_DEFER] = RATE_SEED;
	wc.fault[FAULT_ENOBUFS] = RATE_SEED;
	struct world *w = world_new(p->seed, &wc);
	world_enter(w);
	app = (struct app){ .r = r, .w = w, .err = -p->err };
	int e = configure(r, w, (unsigned)(p->seed % 3), &why);
	if (!e)
		e = rig_try_open(r, &why);
	if (e == 0) {
		(*started)++;
		serve(r, w, p);
		rig_stop(r);
		if (app.opened > app.closed)
			world_fail(w, "%u opened, %u closed", app.opened, app.closed);
	} else if (!why.line[0]) {
		world_fail(w, "the start failed with %d and without a word", e);
	}
	free(r);
	rig_check_quiet(w);
	const struct world_stats *s = world_stats(w);
	hit = (p->fail_alloc && s->allocs >= p->fail_alloc) ||
	      (p->fail_call && s->calls >= p->fail_call);
	world_enter(NULL);
	world_free(w);
	return hit;
}

static void torture(bool calls, int err)
{
	uint64_t first = seed_first(), n = seed_count(6);
	unsigned points = 0, started = 0;

#if defined(__SANITIZE_THREAD__)
	SKIP("one thread, and minutes of it: nothing for ThreadSanitizer");
#endif
	for (uint64_t seed = first; seed < first + n; seed++) {
		for (unsigned i = 1; i < POINTS_MAX; i++) {
			struct plan p = { seed, calls ? 0 : i, calls ? i : 0, err };
			if (!run(&p, &started))
				break;
			points++;
		}
	}
	printf("  %llu schedules, %u places, %u of them after the start\n", (unsigned long long)n,
	       points, started);
	CHECK_INT(points, >, calls ? 5 * n : 20 * n);
	CHECK(started > 0 && (calls || started > n));
}

TEST_LIMIT(runtime_torture_every_allocation_fails_once, 200)
{
	torture(false, ENOMEM);
}

TEST_LIMIT(runtime_torture_every_ring_call_fails_once, 100)
{
	torture(true, ENOMEM);
	torture(true, EPERM);
	torture(true, EMFILE);
}
