/*
 * The runtime (one worker, stepped by hand) over the fake kernel: echo servers in the three modes
 * under tiny sizes and every fault, their peers honest, slow, silent or rude. A seed is a schedule.
 */
#include "runtime_rig.h"

/* ---- handlers */
struct app {
	struct world *w;
	struct rig *r;
	int64_t deadline_ns; /* 0: none: bounds each receive of the task handlers */
	bool rude;	     /* resets or closes at random */
	unsigned opened, closed;
};
static struct app app;

static void closed(rln_conn c, int err, void *arg)
{
	(void)c;
	(void)err;
	(void)arg;
	app.closed++;
}

static void task_echo(rln_conn c, void *arg)
{
	rln_view v;
	uint8_t *own __attribute__((cleanup(rig_free_bytes))) = malloc(RIG_OWN_BYTES);

	(void)arg;
	app.opened++;
	while (true) {
		ssize_t n;
		if (app.deadline_ns)
			n = RLN_WITHIN(app.deadline_ns,
				       rig_receive(app.r, c, &v, own, RIG_OWN_BYTES));
		else
			n = rig_receive(app.r, c, &v, own, RIG_OWN_BYTES);
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
		if (rig_send(app.r, c, v.data, v.len) < 0)
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
	return rig_send(app.r, c, v.data, v.len) < 0 ? RLN_CLOSE : RLN_KEEP;
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
static void configure(struct rig *r, struct world *w, bool strict)
{
	rln_listen_opts l = { .addr = "127.0.0.1:0", .on_close = closed };

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
	l.max_conns = strict ? rig_pow2(w, 2) * 32 : rig_pow2(w, 5);
	l.backlog = strict ? 16 : (int)rig_pow2(w, 3);
	if (strict) { /* the machine may stop for seconds: nothing may end because of it */
		l.close_timeout = l.close_max = l.send_stall = RLN_SEC(1000000);
	} else if (world_rand(w, 2)) {
		l.idle_timeout = RLN_MS(1 + (int64_t)world_rand(w, 2000));
	}
	rln_config c = { .listen = &l,
			 .nlisten = 1,
			 .file_slots = 2,
			 .max_tasks = strict ? 0 : rig_pow2(w, 5) };
	rig_sizes(w, &c);
	rig_init(r, w, &c);
	app = (struct app){ .w = w, .r = r, .rude = !strict && world_rand(w, 2) };
	if (world_rand(w, 2))
		app.deadline_ns = RLN_MS(1 + (int64_t)world_rand(w, 100));
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

struct totals {
	struct world_stats s;
	uint64_t clean, hash;
};

static void run_seed(uint64_t seed, struct totals *t)
{
	struct world_config wc = { 0 };
	bool strict = seed % 2, abrupt = seed % 5 == 0;

	seed_set(seed);
	if (strict)
		wc.fault[FAULT_RESET] = wc.fault[FAULT_ACCEPT_ERR] = RATE_OFF;
	struct world *w = world_new(seed, &wc);
	world_enter(w);
	struct rig *r = calloc(1, sizeof *r);
	configure(r, w, strict);
	rig_open(r);
	add_peers(r, w, strict && !abrupt);
	bool cb = r->rt.cfg.listener[0].mode.cb;
	uint64_t stop_at = abrupt ? world_rand(w, 2000) : UINT64_MAX;
	while (world_peers_alive(w) && r->turns < stop_at)
		rig_turn(r, 0, world_now(w) + RIG_PATIENCE);
	if (!abrupt)
		world_calm(w);
	rig_stop(r);
	if (app.opened > app.closed && cb)
		world_fail(w, "%u opened, %u closed", app.opened, app.closed);
	free(r);
	rig_check_quiet(w);
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
		if (n >= 1000 && i < FAULT_CONNECT_ERR)
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
