/*
 * The runtime (one worker, stepped by hand) over the fake kernel: echo servers in the three modes
 * under tiny sizes and every fault, their peers honest, slow, silent or rude. A seed is a schedule.
 */
#include "base/sys.h"
#include "rt/worker.h"
#include "ringline/conn.h"
#include "ringline/task.h"
#include "seed.h"
#include "sim/world.h"
#include "test.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define TURNS_MAX 300000

/* ---- handlers */
struct app {
	struct world *w;
	int64_t deadline_ns; /* 0: none: bounds each receive of the task handlers */
	bool rude;	     /* resets or closes at random */
	unsigned opened, closed, pieces, released;
};
static struct app app;

static void closed(rln_conn c, int err, void *arg)
{
	(void)c;
	(void)err;
	(void)arg;
	app.closed++;
}

static void released(void *ud)
{
	unsigned *n = ud;
	(*n)++;
}

/* The same bytes back by one of the ways to send them. */
static ssize_t send_some_way(rln_conn c, const uint8_t *p, size_t n)
{
	switch (world_rand(app.w, 4)) {
	case 0: { /* in place, awaited: more than send_chunk is a unit of its own */
		uint8_t copy[4096];
		if (n > sizeof copy)
			return rln_send(c, p, n);
		memcpy(copy, p, n);
		return rln_send(c, copy, n);
	}
	case 1: {
		struct iovec iov[3] = { { (void *)(uintptr_t)p, n / 3 },
					{ (void *)(uintptr_t)(p + n / 3), n / 3 },
					{ (void *)(uintptr_t)(p + n / 3 * 2), n - n / 3 * 2 } };
		return rln_sendv(c, iov, 3);
	}
	case 2: {
		uint8_t *own = malloc(n + 1);
		memcpy(own, p, n);
		rln_piece pc[2] = { { own, n, free, own }, { "", 0, released, &app.released } };
		app.pieces++;
		return rln_send_pieces(c, pc, 2);
	}
	default:
		return rln_send(c, p, n);
	}
}

static ssize_t receive_some_way(rln_conn c, rln_view *v, uint8_t *own, size_t cap)
{
	ssize_t n;

	switch (world_rand(app.w, 6)) {
	case 0:
		n = rln_fill(c, v);
		if (n > 0 && rln_consume(c, (size_t)n) < 0)
			abort();
		return n;
	case 1:
		n = rln_peek(c, 1, v);
		if (n > 0 && rln_consume(c, (size_t)n) < 0)
			abort();
		return n;
	case 2:
		n = rln_recv_into(c, own, cap);
		*v = (rln_view){ own, n > 0 ? (size_t)n : 0 };
		return n;
	case 3: /* the peer may wait for what we hold: never for long */
		n = RLN_WITHIN(RLN_MS(1), rln_recv_exact(c, 1 + world_rand(app.w, 8), v));
		if (n == -ENODATA || n == -EMSGSIZE || (n == -ETIME && !rln_cancelled()))
			return rln_recv(c, v);
		return n;
	case 4: /* straight into our memory, taken back when the time is up */
		n = RLN_WITHIN(RLN_MS(2), rln_recv_full(c, own, cap));
		*v = (rln_view){ own, n > 0 ? (size_t)n : 0 };
		return n == -ETIME && !rln_cancelled() ? rln_recv(c, v) : n;
	default:
		return rln_recv(c, v);
	}
}

#define OWN_BYTES 70000 /* large enough to be received in place */

static void free_bytes(uint8_t **p)
{
	free(*p);
}

static void task_echo(rln_conn c, void *arg)
{
	rln_view v;
	uint8_t *own __attribute__((cleanup(free_bytes))) = malloc(OWN_BYTES);

	(void)arg;
	app.opened++;
	while (true) {
		ssize_t n;
		if (app.deadline_ns)
			n = RLN_WITHIN(app.deadline_ns, receive_some_way(c, &v, own, OWN_BYTES));
		else
			n = receive_some_way(c, &v, own, OWN_BYTES);
		if (n == -ETIME && !rln_cancelled())
			continue;
		if (n <= 0)
			return;
		if (app.rude && world_rand(app.w, 20) == 0) {
			if (world_rand(app.w, 2))
				rln_reset(c);
			else
				rln_close(c);
			return;
		}
		if (send_some_way(c, v.data, v.len) < 0)
			return;
		if (world_rand(app.w, 10) == 0)
			(void)rln_flush(c);
		if (world_rand(app.w, 10) == 0)
			(void)rln_yield();
	}
}

static int request_echo(rln_conn c, void *arg)
{
	rln_view v;
	ssize_t n = rln_recv(c, &v);

	(void)arg;
	if (n <= 0)
		return n < 0 ? (int)n : RLN_CLOSE;
	return send_some_way(c, v.data, v.len) < 0 ? RLN_CLOSE : RLN_KEEP;
}

static void opened(rln_conn c, void *arg)
{
	(void)c;
	(void)arg;
	app.opened++;
}

static size_t data_echo(rln_conn c, const uint8_t *p, size_t n, void *arg)
{
	(void)arg;
	if (app.rude && world_rand(app.w, 30) == 0) {
		if (world_rand(app.w, 2))
			rln_reset(c);
		else
			rln_close(c);
		return 0;
	}
	if (n > 1 && world_rand(app.w, 3) == 0)
		n = 1 + world_rand(app.w, n);
	return rln_send_nowait(c, p, n) < 0 ? 0 : n;
}

static const rln_callbacks callbacks = { .open = opened, .data = data_echo };

/* ---- one schedule */
struct rig {
	struct config cfg;
	struct caps caps;
	struct worker_shared shared;
	struct worker worker;
	uint16_t port;
};

static unsigned pow2(struct world *w, unsigned n)
{
	return 1u << world_rand(w, n);
}

static void configure(struct rig *r, struct world *w, bool strict)
{
	rln_listen_opts l = { .addr = "127.0.0.1:0", .on_close = closed };
	struct diag why = { 0 };

	switch (world_rand(w, 3)) {
	case 0:
		l.on_conn = task_echo;
		break;
	case 1:
		l.on_request = request_echo;
		break;
	default:
		l.cb = &callbacks;
	}
	l.recv_max = 16 + world_rand(w, 3000);
	l.send_high = 1 + world_rand(w, 3000);
	l.send_low = 1 + world_rand(w, l.send_high);
	l.max_conns = strict ? pow2(w, 2) * 32 : pow2(w, 5);
	l.backlog = strict ? 16 : (int)pow2(w, 3);
	if (strict) { /* the machine may stop for seconds: nothing may end because of it */
		l.close_timeout = l.close_max = l.send_stall = RLN_SEC(1000000);
	} else if (world_rand(w, 2)) {
		l.idle_timeout = RLN_MS(1 + (int64_t)world_rand(w, 2000));
	}
	unsigned sq = 2 * pow2(w, 5);
	rln_config c = { .workers = 1,
			 .listen = &l,
			 .nlisten = 1,
			 .sq_entries = sq,
			 .cq_entries = sq * 2,
			 .recv_bufs = pow2(w, 5),
			 .recv_buf_size = 16u << world_rand(w, 8),
			 .buffer_budget = 2048 + world_rand(w, 20000),
			 .zc_threshold = 1 + world_rand(w, 2000),
			 .file_slots = 2,
			 .max_tasks = strict ? 0 : (unsigned)pow2(w, 5),
			 .stacks_prewarm = 1,
			 .drain_timeout = RLN_SEC(100000),
			 .kill_timeout = RLN_SEC(100000) };
	if (config_resolve(&c, sizeof c, sizeof l, &r->cfg, &why) < 0)
		world_fail(w, "config: %s", why.line);
	r->caps = (struct caps){ .ok = true,
				 .multishot_accept = true,
				 .multishot_recv = true,
				 .bufring = true,
				 .direct_alloc = true,
				 .send_zc = true,
				 .socket_cmd = world_rand(w, 4) != 0,
				 .close_sends_fin = world_rand(w, 2) != 0 };
	r->shared.cfg = &r->cfg;
	r->shared.caps = &r->caps;
	r->shared.workers = &r->worker;
	r->shared.count = 1;
	r->shared.send_chunk = 1 + world_rand(w, 500);
	r->shared.iov_max = 1 + (unsigned)world_rand(w, RING_IOV_MAX);
	app = (struct app){ .w = w, .rude = !strict && world_rand(w, 2) };
	if (world_rand(w, 2))
		app.deadline_ns = RLN_MS(1 + (int64_t)world_rand(w, 100));
}

static void rig_open(struct rig *r, struct world *w)
{
	struct diag why = { 0 };
	struct addr bound;
	struct listen_socket_opts o = { .backlog = r->cfg.listener[0].set.backlog };
	int fd = -1;

	if (worker_open(&r->worker, &r->shared, 0, world_kernel(w), &why) < 0 ||
	    worker_start(&r->worker, &why) < 0)
		world_fail(w, "open: %s", why.line);
	r->worker.listeners = sys_zalloc(sizeof *r->worker.listeners);
	if (listen_socket_open(&r->cfg.listener[0].addr, &o, false, &bound, &fd, &why) < 0)
		world_fail(w, "listen: %s", why.line);
	r->port = ntohs(bound.in.sin_port);
	worker_listen(&r->worker, 0, fd, AF_INET, false);
}

static void add_peers(struct rig *r, struct world *w, bool strict)
{
	unsigned n = 1 + (unsigned)world_rand(w, 6);

	for (unsigned i = 0; i < n; i++) {
		struct peer_config pc = { .kind = world_peer_kind(w),
					  .bytes = (size_t)world_rand(w, 12000),
					  .delay_ns = (int64_t)world_rand(w, 20000000) };
		if (pc.kind == PEER_SLOW)
			pc.bytes %= 60;
		pc.strict = strict && (pc.kind == PEER_NORMAL || pc.kind == PEER_SLOW ||
				       pc.kind == PEER_HALF_CLOSE);
		world_peer(w, r->port, &pc);
	}
}

static void turn(struct rig *r, struct world *w, unsigned *turns, int *done)
{
	/* a peer that goes away need not wake the worker: look again now and then */
	*done = worker_turn(&r->worker, world_now(w) + RLN_SEC(1));
	if (*done < 0)
		world_fail(w, "turn: %d", *done);
	if (++*turns > TURNS_MAX)
		world_fail(w, "no end after %u turns", *turns);
}

struct totals {
	struct world_stats s;
	uint64_t clean, hash;
};

static void run_seed(uint64_t seed, struct totals *t)
{
	struct world_config wc = { 0 };
	bool strict = seed % 2, abrupt = seed % 5 == 0;
	unsigned turns = 0;
	char why[200] = "";
	int done = 0;

	seed_set(seed);
	if (strict)
		wc.fault[FAULT_RESET] = wc.fault[FAULT_ACCEPT_ERR] = RATE_OFF;
	struct world *w = world_new(seed, &wc);
	world_enter(w);
	struct rig *r = calloc(1, sizeof *r);
	configure(r, w, strict);
	rig_open(r, w);
	add_peers(r, w, strict && !abrupt);
	uint64_t stop_at = abrupt ? world_rand(w, 2000) : UINT64_MAX;
	while (world_peers_alive(w) && turns < stop_at)
		turn(r, w, &turns, &done);
	if (!abrupt)
		world_calm(w);
	atomic_store(&r->shared.shutdown, true);
	inbox_wake(&r->worker.loop.inbox);
	while (!done)
		turn(r, w, &turns, &done);
	if (app.pieces != app.released)
		world_fail(w, "%u guarded sends, %u releases", app.pieces, app.released);
	if (app.opened > app.closed && r->cfg.listener[0].mode.cb)
		world_fail(w, "%u opened, %u closed", app.opened, app.closed);
	worker_stop(&r->worker);
	worker_close(&r->worker);
	config_fini(&r->cfg);
	free(r);
	world_run_until(w, world_now(w) + 3600 * INT64_C(1000000000));
	if (!world_check_quiet(w, why, sizeof why))
		world_fail(w, "not quiet: %s", why);
	if (t) {
		const struct world_stats *s = world_stats(w);
		t->s.cqes += s->cqes;
		t->s.enters += s->enters;
		t->s.overflows += s->overflows;
		t->s.killed += s->killed;
		t->s.bytes_received += s->bytes_received;
		for (int i = 0; i < FAULT_COUNT; i++)
			t->s.fault[i] += s->fault[i];
		t->clean += world_peers_ended(w, PEER_KIND_COUNT, PEER_CLEAN);
		t->hash = world_hash(w);
	}
	world_enter(NULL);
	world_free(w);
}

TEST_LIMIT(runtime_sim_seeds_end_clean, 200)
{
	uint64_t first = seed_first(), n = seed_count(3000);
	struct totals t = { 0 };

	for (uint64_t seed = first; seed < first + n; seed++)
		run_seed(seed, &t);
	printf("  %llu seeds, %llu enters, %llu CQEs, %llu bytes, %llu clean peers\n",
	       (unsigned long long)n, (unsigned long long)t.s.enters, (unsigned long long)t.s.cqes,
	       (unsigned long long)t.s.bytes_received, (unsigned long long)t.clean);
	for (int i = 0; i < FAULT_COUNT; i++) {
		printf("  %-14s %llu\n", world_fault_name((enum world_fault)i),
		       (unsigned long long)t.s.fault[i]);
		if (n >= 1000 && i != FAULT_CONNECT_ERR)
			CHECK_INT(t.s.fault[i], >,
				  0); /* a class that never happens tests nothing */
	}
	if (n >= 1000)
		CHECK_INT(t.clean, >, n / 10);
}

TEST_LIMIT(runtime_sim_same_seed_same_run, 100)
{
	for (uint64_t seed = 1; seed <= 50; seed++) {
		struct totals a = { 0 }, b = { 0 };
		run_seed(seed, &a);
		run_seed(seed, &b);
		CHECK(a.hash == b.hash);
	}
}
