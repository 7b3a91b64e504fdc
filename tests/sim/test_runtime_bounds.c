/*
 * How much, how long, how often: work per byte where buffers or memory are short, queues that stay
 * within what the configuration allows, timers that are neither early nor late, an end in bounded
 * turns once nothing fails any more, the memory of idle connections.
 */
#include "runtime_rig.h"

#define PEERS 4
#define PEER_BYTES 3000u

struct app {
	struct rig *r;
	struct world *w;
	rln_ns hold; /* a handler keeps its view for so long */
	unsigned slept, tasks;
	rln_ns latest;
	size_t rx_most, tx_most; /* of one connection, over what it may have */
};
static struct app app;

/* The linker puts this in front of conn_step(). */
static uint64_t conn_steps;

void __real_conn_step(struct conn *c);
void __wrap_conn_step(struct conn *c);
void __wrap_conn_step(struct conn *c)
{
	conn_steps++;
	__real_conn_step(c);
}

/* ---- handlers */
static int request_echo(rln_conn c, void *arg)
{
	rln_view v;
	ssize_t n = rln_recv(c, &v);

	(void)arg;
	if (n <= 0)
		return n < 0 ? (int)n : RLN_CLOSE;
	if (app.hold && rln_sleep(app.hold) < 0)
		return RLN_CLOSE;
	return rln_send(c, v.data, v.len) < 0 ? RLN_CLOSE : RLN_KEEP;
}

static void task_echo(rln_conn c, void *arg)
{
	while (request_echo(c, arg) == RLN_KEEP)
		;
}

static size_t data_echo(rln_conn c, const uint8_t *p, size_t n, void *arg)
{
	(void)arg;
	return rln_send_nowait(c, p, n) < 0 ? 0 : n;
}

static const rln_callbacks callbacks = { .data = data_echo };

/* A message larger than the budget; before it is there, more to send than the peer takes. */
#define MESSAGE 600u
#define ANSWER 400u

static struct {
	bool refused;
	size_t got;
} message;

static size_t data_message(rln_conn c, const uint8_t *p, size_t n, void *arg)
{
	static const uint8_t answer[ANSWER];

	(void)p;
	(void)arg;
	while (!message.refused)
		message.refused = rln_send_nowait(c, answer, sizeof answer) == -EAGAIN;
	if (n < MESSAGE)
		return 0;
	message.got += n;
	return n;
}

static const rln_callbacks message_callbacks = { .data = data_message };

/* ---- set-up */
static struct rig *start(uint64_t seed, const struct world_config *wc, rln_config *c,
			 rln_listen_opts *l, unsigned mode)
{
	struct rig *r = calloc(1, sizeof *r);

	seed_set(seed);
	struct world *w = world_new(seed, wc);
	world_enter(w);
	app.r = r;
	app.w = w;
	l->addr = "127.0.0.1:0";
	l->on_conn = mode == 0 ? task_echo : NULL;
	l->on_request = mode == 1 ? request_echo : NULL;
	l->cb = mode == 2 ? &callbacks : mode == 3 ? &message_callbacks : NULL;
	l->close_timeout = l->close_max = l->send_stall = RLN_SEC(1000000);
	c->listen = l;
	c->nlisten = 1;
	c->file_slots = 2;
	rig_sizes(w, c);
	c->recv_buf_size = 256;
	rig_init(r, w, c);
	return r;
}

static void peers(enum peer_kind kind, unsigned n, size_t bytes, bool strict)
{
	struct peer_config pc = { .kind = kind, .bytes = bytes, .strict = strict };

	while (n--)
		world_peer(app.w, app.r->port, &pc);
}

static void finish(void)
{
	rig_stop(app.r);
	free(app.r);
	rig_check_quiet(app.w);
	world_enter(NULL);
	world_free(app.w);
}

static void run_peers(void)
{
	while (world_peers_alive(app.w))
		rig_turn(app.r, 0, world_now(app.w) + RIG_PATIENCE);
}

/* ---- INV-33: a turn looks at what has happened */

/* Connections looked at while one peer is served, beside so many that are silent. */
static uint64_t steps_beside(uint64_t seed, unsigned mode, unsigned idle)
{
	struct world_config wc = { .fault = { [0 ... FAULT_COUNT - 1] = RATE_OFF },
				   .rcvbuf = 4096,
				   .sndbuf = 4096 };
	struct peer_config silent = { .kind = PEER_SILENT, .life_ns = RLN_SEC(3000) };
	rln_listen_opts l = { .backlog = 16, .max_conns = 300 };
	rln_config c = { .buffer_budget = 100000 };
	struct rig *r = start(seed, &wc, &c, &l, mode);

	rig_open(r);
	for (unsigned i = 0; i < idle; i++)
		world_peer(app.w, r->port, &silent);
	while (r->worker[0].io.stats.conns_open < idle)
		rig_turn(r, 0, world_now(app.w) + RIG_PATIENCE);
	for (unsigned i = 0; i < 10; i++) /* their receives are armed */
		rig_turn(r, 0, world_now(app.w) + RLN_MS(10));
	conn_steps = 0;
	peers(PEER_NORMAL, 1, PEER_BYTES, true);
	while (world_peers_alive(app.w) > idle)
		rig_turn(r, 0, world_now(app.w) + RIG_PATIENCE);
	uint64_t steps = conn_steps;
	finish();
	return steps;
}

TEST_LIMIT(runtime_bounds_turn_does_not_look_at_idle_connections, 60)
{
	for (unsigned mode = 0; mode < 3; mode++) {
		for (uint64_t seed = 1; seed <= 5; seed++) {
			uint64_t few = steps_beside(seed, mode, 4);
			uint64_t many = steps_beside(seed, mode, 256);
			if (many > 2 * few + 200)
				test_fail(
					__FILE__, __LINE__,
					"mode %u, seed %llu: %llu steps beside 4, %llu beside 256",
					mode, (unsigned long long)seed, (unsigned long long)few,
					(unsigned long long)many);
		}
	}
}

/* INV-11 */
static void stop_beside_a_listener(void)
{
	struct world_config wc = { .fault = { [0 ... FAULT_COUNT - 1] = RATE_OFF } };
	rln_listen_opts l = { .max_conns = 4 };
	rln_config c = { .buffer_budget = 100000 };

	setenv("RINGLINE_SIM_TRACE", "1", 1); /* else a world keeps its log to itself */
	struct rig *r = start(1, &wc, &c, &l, 1);
	rig_open(r);
	worker_stop(&r->worker[0]);
}

TEST(runtime_bounds_worker_that_stops_beside_a_listener_aborts)
{
	CHECK_DIES(stop_beside_a_listener, SIGABRT, "list_empty(&io->listeners)");
}

/* ---- P7: no spin */

/* Enters and SQEs of a server that echoes PEERS x PEER_BYTES; nothing but `f` goes wrong. */
static struct world_stats cost(uint64_t seed, unsigned mode, enum world_fault f, uint8_t rate)
{
	struct world_config wc = { .fault = { [0 ... FAULT_COUNT - 1] = RATE_OFF },
				   .rcvbuf = 4096,
				   .sndbuf = 4096,
				   .judge = true };
	rln_listen_opts l = { .backlog = 16, .max_conns = 64 };
	rln_config c = { .buffer_budget = 100000 };

	wc.fault[f] = rate;
	struct rig *r = start(seed, &wc, &c, &l, mode);
	r->rt.cfg.set.recv_bufs = r->rt.cfg.recv_bufs_max = app.hold ? 1 : 8;
	rig_open(r);
	peers(PEER_NORMAL, PEERS, PEER_BYTES, true);
	run_peers();
	struct world_stats s = *world_stats(app.w);
	finish();
	return s;
}

static void check_cost(const char *what, unsigned mode, enum world_fault f, uint8_t rate,
		       unsigned bound)
{
	uint64_t first = seed_first(), n = seed_count(300), enters = 0, sqes = 0, most = 0;

	for (uint64_t seed = first; seed < first + n; seed++) {
		struct world_stats s = cost(seed, mode, f, rate);
		enters += s.enters;
		sqes += s.sqes;
		most = s.sqes > most ? s.sqes : most;
		most = s.enters > most ? s.enters : most;
	}
	printf("  %s: %llu enters, %llu SQEs a run; at most %llu\n", what,
	       (unsigned long long)(enters / n), (unsigned long long)(sqes / n),
	       (unsigned long long)most);
	if (n >= 100)
		CHECK_INT((enters + sqes) / n, <, bound);
}

TEST_LIMIT(runtime_bounds_no_buffer_costs_no_spin, 100)
{
	app = (struct app){ 0 };
	check_cost("plenty, task", 0, FAULT_ENOBUFS, RATE_OFF, 400);
	check_cost("plenty, request", 1, FAULT_ENOBUFS, RATE_OFF, 400);
	check_cost("plenty, callback", 2, FAULT_ENOBUFS, RATE_OFF, 400);
	check_cost("ENOBUFS always, task", 0, FAULT_ENOBUFS, RATE_ALWAYS, 800);
	check_cost("ENOBUFS often, request", 1, FAULT_ENOBUFS, RATE_FREQUENT, 800);
	check_cost("ENOBUFS often, callback", 2, FAULT_ENOBUFS, RATE_FREQUENT, 800);
	app.hold = RLN_MS(5); /* the only buffer is lent out for that long, again and again */
	check_cost("one buffer, held, request", 1, FAULT_ENOBUFS, RATE_OFF, 2000);
	check_cost("one buffer, held, task", 0, FAULT_ENOBUFS, RATE_OFF, 2000);
}

/*
 * Buffers that are gone, while the completions that took them are still on their way: by the
 * worker's count there are some. What it asks for then is in vain, and the world counts it.
 */
TEST_LIMIT(runtime_bounds_group_that_only_looks_filled_is_not_asked_on_and_on, 100)
{
	app = (struct app){ .hold = RLN_MS(5) };
	for (unsigned mode = 0; mode < 3; mode++)
		check_cost("completions are late", mode, FAULT_HOLD, RATE_FREQUENT, 2000);
}

/* As many tasks as there may be: a connection that waits for one sleeps until one ends. */
TEST(runtime_bounds_connection_without_a_task_does_not_look_again_and_again)
{
	struct world_config wc = { .fault = { [0 ... FAULT_COUNT - 1] = RATE_OFF } };
	rln_listen_opts l = { .backlog = 16, .max_conns = 64 };
	rln_config c = { .max_tasks = 2 };
	struct rig *r;

	app = (struct app){ 0 };
	r = start(1, &wc, &c, &l, 0);
	rig_open(r);
	struct peer_config silent = { .kind = PEER_SILENT, .life_ns = RLN_SEC(10) };
	for (unsigned i = 0; i < PEERS; i++)
		world_peer(app.w, r->port, &silent);
	while (world_peers_alive(app.w))
		rig_turn(r, 0, world_now(app.w) + RIG_PATIENCE);
	printf("  %llu enters\n", (unsigned long long)world_stats(app.w)->enters);
	CHECK_INT(r->worker[0].io.stats.starved, >, 0);
	CHECK_INT(world_stats(app.w)->enters, <, 200);
	finish();
}

/* ---- P9: queues stay within their bounds */
static void look_at(struct conn *c, void *ctx)
{
	const struct io *io = c->io;
	size_t pool = (size_t)io->bufs.capacity * io->bufs.buf_bytes;
	/* what was on its way when the pause began: the pool, or one receive of its own memory */
	size_t late = pool > 65536 ? pool : 65536;

	(void)ctx;
	if (c->rx.bytes > c->mode->recv_max + late + io->bufs.buf_bytes)
		world_fail(app.w, "%zu bytes of input, of %zu", c->rx.bytes, c->mode->recv_max);
	/* one send beyond send_high; the echo sends no more than it received */
	if (c->tx_bytes > c->mode->send_high + c->mode->recv_max + late)
		world_fail(app.w, "%zu bytes of output, of %zu", c->tx_bytes, c->mode->send_high);
	app.rx_most = c->rx.bytes > app.rx_most ? c->rx.bytes : app.rx_most;
	app.tx_most = c->tx_bytes > app.tx_most ? c->tx_bytes : app.tx_most;
}

static void stuff(uint64_t seed)
{
	struct world_config wc = { .fault = { [FAULT_RESET] = RATE_OFF } };
	rln_listen_opts l = { .backlog = 16, .max_conns = 64 };
	rln_config c = { 0 };

	struct rig *r = start(seed, &wc, &c, &l, (unsigned)(seed % 3));
	r->rt.cfg.listener[0].mode.recv_max = 500;
	r->rt.cfg.listener[0].mode.send_high = 700;
	r->rt.cfg.listener[0].mode.send_low = 300;
	r->rt.cfg.set.buffer_budget = 3000;
	rig_open(r);
	peers(PEER_NO_READ, PEERS, 1 << 20, false);
	peers(PEER_NORMAL, 1, 5000, false);
	while (world_peers_alive(app.w)) {
		rig_turn(r, 0, world_now(app.w) + RIG_PATIENCE);
		io_each_conn(&r->worker[0].io, look_at, NULL);
	}
	finish();
}

TEST_LIMIT(runtime_bounds_queues_stop_where_they_should, 100)
{
	uint64_t first = seed_first(), n = seed_count(500);

	app = (struct app){ 0 };
	for (uint64_t seed = first; seed < first + n; seed++)
		stuff(seed);
	printf("  at most %zu bytes in, %zu out\n", app.rx_most, app.tx_most);
	if (n >= 100)
		CHECK(app.rx_most > 500 && app.tx_most > 700); /* the limits were reached */
}

/* ---- the budget stops nobody who waits for the rest of something */
static void pump(struct sim_peer *p, size_t *left)
{
	static const uint8_t bytes[MESSAGE];

	for (unsigned i = 0; i < 100 && *left; i++) {
		ssize_t n = peer_send(p, bytes, *left);
		*left -= n > 0 ? (size_t)n : 0;
		rig_turn(app.r, 0, world_now(app.w) + RLN_MS(1));
	}
}

TEST(runtime_bounds_budget_stops_nobody_who_waits_for_the_rest)
{
	struct world_config wc = { .fault = { [0 ... FAULT_COUNT - 1] = RATE_OFF },
				   .rcvbuf = 150,
				   .sndbuf = 150 };
	rln_listen_opts l = { .backlog = 16, .send_high = 200, .send_low = 1, .max_conns = 64 };
	rln_config c = { .buffer_budget = 256 };
	uint8_t answer[ANSWER * 2];
	size_t first = MESSAGE / 2, rest = MESSAGE / 2;
	ssize_t n;

	app = (struct app){ 0 };
	memset(&message, 0, sizeof message);
	rig_open(start(1, &wc, &c, &l, 3));
	peers(PEER_SCRIPT, 1, 0, false);
	struct sim_peer *p = world_last_peer(app.w);
	while (!peer_connected(p))
		rig_turn(app.r, 0, world_now(app.w) + RLN_MS(1));
	pump(p, &first);
	for (unsigned i = 0; i < 100; i++)
		rig_turn(app.r, 0, world_now(app.w) + RLN_MS(1));
	CHECK(message.refused);
	CHECK_INT(app.r->worker[0].io.stats.budget_over, >, 0);
	do /* the answer goes out, the handler looks again, and waits */
		n = peer_recv(p, answer, sizeof answer);
	while (n > 0 || rig_turn(app.r, 0, world_now(app.w) + RLN_MS(1)) ||
	       app.r->worker[0].io.queued_bytes > MESSAGE / 2);
	pump(p, &rest);
	for (unsigned i = 0; i < 100; i++)
		rig_turn(app.r, 0, world_now(app.w) + RLN_MS(1));
	CHECK_INT(message.got, ==, MESSAGE);
	peer_close(p);
	finish();
}

/* ---- timers */
#define TICK RLN_MS(1)
#define TURN_NS RLN_US(200) /* of this world, a wake by something else included */

static int sleeper(void *arg)
{
	(void)arg;
	for (unsigned i = 0; i < 20; i++) {
		rln_ns d = (rln_ns)world_rand(app.w, 1ull << (4 + world_rand(app.w, 30)));
		rln_ns due = rln_now() + d, now;
		int e = world_rand(app.w, 2) ? rln_sleep(d)
					     : RLN_WITHIN(d, rln_sleep(RLN_SEC(100000)));
		now = rln_now();
		if (e != 0 && e != -ETIME)
			world_fail(app.w, "sleep: %d", e);
		if (now < due)
			world_fail(app.w, "a timer fired %lld ns early", (long long)(due - now));
		app.latest = now - due > app.latest ? now - due : app.latest;
		app.slept++;
	}
	app.tasks--;
	return 0;
}

static void sleep_run(uint64_t seed)
{
	struct world_config wc = { .fault = { [FAULT_TIME_JUMP] = RATE_OFF } };
	rln_listen_opts l = { .backlog = 16, .max_conns = 64 };
	rln_config c = { 0 };
	struct rig *r = start(seed, &wc, &c, &l, 0);

	rig_open(r);
	app.tasks = 20;
	for (unsigned i = 0; i < 20; i++)
		rig_go(r, 0, sleeper, NULL);
	while (app.tasks)
		rig_turn(r, 0, INT64_MAX);
	finish();
}

TEST_LIMIT(runtime_bounds_timers_never_early_a_tick_late, 100)
{
	uint64_t first = seed_first(), n = seed_count(200);

	app = (struct app){ 0 };
	for (uint64_t seed = first; seed < first + n; seed++)
		sleep_run(seed);
	printf("  %u sleeps, at most %lld us late\n", app.slept, (long long)app.latest / 1000);
	CHECK_INT(app.slept, ==, n * 400);
	CHECK_INT(app.latest, <, TICK + TURN_NS);
}

/* ---- P6: once nothing fails any more, all comes to its end */
static unsigned turns_to_end(uint64_t seed)
{
	struct world_config wc = { .rcvbuf = 4096, .sndbuf = 4096 };
	rln_listen_opts l = { .backlog = 16, .max_conns = 64 };
	rln_config c = { .buffer_budget = 50000 };
	struct rig *r = start(seed, &wc, &c, &l, (unsigned)(seed % 3));

	rig_open(r);
	peers(PEER_NORMAL, PEERS, PEER_BYTES, false);
	peers(PEER_HALF_CLOSE, 1, PEER_BYTES, false);
	unsigned calm_at = (unsigned)world_rand(app.w, 600);
	while (world_peers_alive(app.w) && r->turns < calm_at)
		rig_turn(r, 0, world_now(app.w) + RIG_PATIENCE);
	world_calm(app.w);
	unsigned from = r->turns;
	run_peers();
	unsigned used = r->turns - from;
	finish();
	return used;
}

TEST_LIMIT(runtime_bounds_calm_ends_in_bounded_turns, 100)
{
	uint64_t first = seed_first(), n = seed_count(1000);
	unsigned most = 0;

	app = (struct app){ 0 };
	for (uint64_t seed = first; seed < first + n; seed++) {
		unsigned used = turns_to_end(seed);
		most = used > most ? used : most;
	}
	printf("  at most %u turns\n", most);
	CHECK_INT(most, <, 3000);
}

/* ---- memory */
#define IDLE 256
#define PER_CONN 512

TEST(runtime_bounds_idle_connections_are_small)
{
	struct world_config wc = { .fault = { [0 ... FAULT_COUNT - 1] = RATE_OFF } };

	for (unsigned mode = 1; mode < 3; mode++) {
		rln_listen_opts l = { .backlog = IDLE, .max_conns = 2 * IDLE };
		rln_config c = { 0 };
		struct peer_config quiet = { .kind = PEER_SILENT, .life_ns = RLN_SEC(10) };
		struct rig *r;

		app = (struct app){ 0 };
		r = start(mode, &wc, &c, &l, mode);
		rig_open(r);
		size_t before = world_alloc_bytes(app.w);
		for (unsigned i = 0; i < IDLE; i++)
			world_peer(app.w, r->port, &quiet);
		while (r->worker[0].io.stats.conns_open < IDLE)
			rig_turn(r, 0, world_now(app.w) + RLN_MS(1));
		for (unsigned i = 0; i < 10; i++)
			rig_turn(r, 0, world_now(app.w) + RLN_MS(1));
		size_t used = world_alloc_bytes(app.w) - before;
		printf("  mode %u: %zu bytes an idle connection\n", mode, used / IDLE);
		CHECK_INT(used, <=, IDLE * PER_CONN);
		run_peers();
		finish();
	}
}
