/*
 * Two workers of one runtime on one thread: while one sleeps in its enter, the other takes turns,
 * as another thread would; so a wake that is lost leaves the world with nothing to happen.
 * Connections change hands, messages and tasks cross, received buffers are released far from home.
 */
#include "runtime_rig.h"

#define KEEP_OFF_NS 200000 /* at most: a worker that is away from its loop */

struct lane {
	unsigned posted, run;	   /* messages in one direction */
	unsigned asked, refused;   /* calls, and those that failed */
	unsigned go_asked, go_run; /* rln_go_on */
};

struct app {
	struct rig *r;
	struct world *w;
	bool strict, done[RIG_WORKERS], shut;
	unsigned outer;		 /* who may sleep */
	unsigned stop_at;	 /* shut down after so many turns, or when all is over */
	unsigned opened, closed; /* of connections */
	unsigned gives, chats;
	unsigned bufs;		       /* rln_bufs on their way to be released */
	unsigned nested;	       /* turns taken while the other one slept */
	struct lane lane[RIG_WORKERS]; /* to worker i */
};
static struct app app;

static unsigned other(void)
{
	return 1 - rln_worker();
}

/* ---- messages */
struct note {
	unsigned to, seq, hops;
};

static void note_run(void *arg);

static void note_send(unsigned to, unsigned hops)
{
	struct lane *l = &app.lane[to];
	struct note *n = malloc(sizeof *n);

	*n = (struct note){ to, l->posted, hops };
	l->asked++;
	int e = rln_post(NULL, to, note_run, n);
	if (e == 0) {
		l->posted++;
		return;
	}
	if (e != -ESHUTDOWN || !app.shut)
		world_fail(app.w, "rln_post: %d", e);
	l->refused++;
	free(n);
}

static void note_run(void *arg)
{
	struct note n = *(struct note *)arg;

	free(arg);
	if (rln_worker() != n.to)
		world_fail(app.w, "a message for worker %u ran on %u", n.to, rln_worker());
	/* only the other worker posts here: what it posts keeps its order */
	if (n.seq != app.lane[n.to].run++)
		world_fail(app.w, "message %u ran as number %u", n.seq, app.lane[n.to].run - 1);
	if (n.hops)
		note_send(other(), n.hops - 1);
}

static int visitor(void *arg)
{
	unsigned *home = arg;

	app.lane[rln_worker()].go_run++;
	if (*home == rln_worker())
		world_fail(app.w, "rln_go_on stayed at home");
	(void)rln_sleep((rln_ns)world_rand(app.w, 100000));
	note_send(*home, (unsigned)world_rand(app.w, 4));
	return 0;
}

static void visit(void)
{
	unsigned me = rln_worker();
	struct lane *l = &app.lane[other()];
	const rln_task_opts o = { .copy = &me, .copy_size = sizeof me };
	int e = rln_go_on(NULL, other(), visitor, NULL, &o);

	if (e && (e != -ESHUTDOWN || !app.shut))
		world_fail(app.w, "rln_go_on: %d", e);
	l->go_asked += !e;
}

static void release_here(void *arg)
{
	rln_buf_release(arg);
	free(arg);
	app.bufs--;
}

static void release_far(const rln_buf *b)
{
	rln_buf *copy = malloc(sizeof *copy);

	*copy = *b;
	app.bufs++;
	if (rln_post(NULL, other(), release_here, copy) < 0)
		release_here(copy);
}

/* A task of each worker that only talks. */
static int chat(void *arg)
{
	unsigned n = (unsigned)world_rand(app.w, 20);

	(void)arg;
	while (n-- && rln_sleep((rln_ns)world_rand(app.w, 3000000)) == 0) {
		if (world_rand(app.w, 3))
			note_send(other(), (unsigned)world_rand(app.w, 6));
		else
			visit();
	}
	app.chats++;
	return 0;
}

/* ---- the server */
static void closed(rln_conn c, int err, void *arg)
{
	(void)c;
	(void)err;
	(void)arg;
	app.closed++;
}

static void serve(rln_conn c, void *arg);

static bool give_away(rln_conn c)
{
	int e = rln_give(c, other(), serve, &app);

	app.gives += !e;
	bool broken = e == -ECONNRESET || e == -ETIMEDOUT;
	if (e && e != -EBUSY && !broken && (e != -ESHUTDOWN || !app.shut))
		world_fail(app.w, "rln_give: %d", e);
	return !e;
}

static ssize_t echo_once(rln_conn c)
{
	rln_view v;
	ssize_t n;

	if (app.strict && world_rand(app.w, 3) == 0) {
		rln_buf b;
		n = rln_recv_buf(c, &b);
		if (n <= 0)
			return n;
		n = rln_send(c, b.data, b.len);
		release_far(&b);
		return n;
	}
	n = rln_recv(c, &v);
	return n <= 0 ? n : rig_send(app.r, c, v.data, v.len);
}

static void serve(rln_conn c, void *arg)
{
	if (arg != &app)
		app.opened++;
	while (echo_once(c) > 0) {
		if (world_rand(app.w, 4))
			continue;
		if (world_rand(app.w, 2) && rln_flush(c) < 0)
			return;
		if (give_away(c))
			return;
	}
}

/* ---- stepping */
static bool over(void)
{
	if (app.r->turns >= app.stop_at)
		return true;
	if (app.bufs || world_peers_alive(app.w))
		return false;
	for (unsigned i = 0; i < RIG_WORKERS; i++)
		if (app.lane[i].run != app.lane[i].posted ||
		    app.lane[i].go_run != app.lane[i].go_asked)
			return false;
	return app.chats == RIG_WORKERS && app.opened == app.closed;
}

static void shut_when_over(void)
{
	if (app.shut || !over())
		return;
	app.shut = true;
	rig_shutdown(app.r);
}

/* Would its next turn do something without being told? */
static bool has_work(struct loop *l)
{
	return l->busy(l->busy_ctx) || ring_sq_space(&l->ring) < l->ring.u.sq.ring_entries ||
	       !list_empty(&l->ops.waiting) || !list_empty(&l->ops.finished) ||
	       ring_cq_ready(&l->ring) || inbox_pending(&l->inbox);
}

/* The outer worker sleeps: the other one goes on. */
static int64_t others_act(struct world *w, void *ctx)
{
	unsigned i = 1 - app.outer;
	struct loop *l = &app.r->worker[i].loop;
	int64_t soon = world_now(w) + 1 + (int64_t)world_rand(w, KEEP_OFF_NS);

	(void)ctx;
	shut_when_over();
	if (app.done[i])
		return INT64_MAX;
	if (world_rand(w, 3) == 0)
		return soon;
	app.nested++;
	app.done[i] = rig_turn(app.r, i, 0);
	shut_when_over();
	if (app.done[i])
		return INT64_MAX;
	return has_work(l) ? soon : wheel_next(&l->wheel);
}

static void step_to_end(void)
{
	while (!app.done[0] || !app.done[1]) {
		app.outer = (unsigned)world_rand(app.w, RIG_WORKERS);
		if (app.done[app.outer])
			continue;
		bool sleeps = world_rand(app.w, 4);
		app.done[app.outer] = rig_turn(app.r, app.outer, sleeps ? INT64_MAX : 0);
		shut_when_over();
	}
}

/* ---- one schedule */
static void configure(struct rig *r, struct world *w)
{
	rln_listen_opts l = { .addr = "127.0.0.1:0",
			      .on_conn = serve,
			      .on_close = closed,
			      .backlog = 16,
			      .recv_max = 16 + world_rand(w, 3000),
			      .send_high = 1 + world_rand(w, 3000),
			      .max_conns = 64 };
	rln_config c = { .listen = &l, .nlisten = 1, .file_slots = 2, .workers = RIG_WORKERS };

	if (app.strict)
		l.close_timeout = l.close_max = l.send_stall = RLN_SEC(1000000);
	else
		l.max_conns = 2 * rig_pow2(w, 4);
	rig_sizes(w, &c);
	rig_init(r, w, &c);
}

static void add_peers(struct world *w, uint16_t port)
{
	for (unsigned i = 1 + (unsigned)world_rand(w, 6); i; i--) {
		struct peer_config pc = { .kind = world_peer_kind(w),
					  .bytes = world_rand(w, 8000),
					  .delay_ns = (int64_t)world_rand(w, 20000000) };
		if (pc.kind == PEER_SLOW)
			pc.bytes %= 60;
		pc.strict = app.strict && (pc.kind == PEER_NORMAL || pc.kind == PEER_SLOW ||
					   pc.kind == PEER_HALF_CLOSE);
		world_peer(w, port, &pc);
	}
}

struct totals {
	uint64_t gives, nested, notes, visits, given, hash;
};

static void add_totals(struct totals *t)
{
	t->gives += app.gives;
	t->nested += app.nested;
	for (unsigned i = 0; i < RIG_WORKERS; i++) {
		t->notes += app.lane[i].run;
		t->visits += app.lane[i].go_run;
		if (app.lane[i].run != app.lane[i].posted)
			world_fail(app.w, "%u messages ran of %u", app.lane[i].run,
				   app.lane[i].posted);
	}
	if (app.opened != app.closed)
		world_fail(app.w, "%u connections served, %u told of their end", app.opened,
			   app.closed);
	t->hash = world_hash(app.w);
}

static void run_seed(uint64_t seed, struct totals *t)
{
	struct world_config wc = { .on_wait = others_act };
	struct rig *r = calloc(1, sizeof *r);

	seed_set(seed);
	app = (struct app){ .r = r, .strict = seed % 2, .stop_at = UINT_MAX };
	if (app.strict)
		wc.fault[FAULT_RESET] = wc.fault[FAULT_ACCEPT_ERR] = RATE_OFF;
	struct world *w = app.w = world_new(seed, &wc);
	world_enter(w);
	configure(r, w);
	/* alone until both are there */
	app.outer = 0;
	app.done[1] = true;
	rig_open(r);
	app.done[1] = false;
	add_peers(w, r->port);
	if (!app.strict && world_rand(w, 2))
		app.stop_at = (unsigned)world_rand(w, 2000);
	for (unsigned i = 0; i < RIG_WORKERS; i++)
		rig_go(r, i, chat, NULL);
	step_to_end();
	for (unsigned i = 0; i < RIG_WORKERS; i++)
		t->given += r->worker[i].io.stats.taken;
	rig_end(r);
	free(r);
	rig_check_quiet(w);
	add_totals(t);
	world_enter(NULL);
	world_free(w);
}

TEST_LIMIT(runtime_two_seeds_end_clean, 200)
{
	uint64_t first = seed_first(), n = seed_count(2000);
	struct totals t = { 0 };

	for (uint64_t seed = first; seed < first + n; seed++)
		run_seed(seed, &t);
	printf("  %llu seeds, %llu of %llu gives arrived, %llu messages, %llu visits, %llu turns "
	       "beside a sleeper\n",
	       (unsigned long long)n, (unsigned long long)t.given, (unsigned long long)t.gives,
	       (unsigned long long)t.notes, (unsigned long long)t.visits,
	       (unsigned long long)t.nested);
	if (n >= 1000)
		CHECK(t.given > n / 2 && t.notes > n && t.visits > n / 2 && t.nested > n);
}

TEST_LIMIT(runtime_two_same_seed_same_run, 100)
{
	for (uint64_t seed = 1; seed <= 50; seed++) {
		struct totals a = { 0 }, b = { 0 };
		run_seed(seed, &a);
		run_seed(seed, &b);
		CHECK(a.hash == b.hash);
	}
}
