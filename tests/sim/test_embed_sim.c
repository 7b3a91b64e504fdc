/*
 * An embedded runtime over the fake kernel: a loop of somebody else's that steps it when its
 * descriptor is readable, sometimes when it is not, and does things of its own between the steps.
 * Held at every wait: a descriptor that is not readable means that there is nothing to do, unless
 * it was just asked to become so: the kernel may take its time, but not for ever.
 */
#define RIG_WORKERS 1
#include "../e2e/echo_modes.h"
#include "ringline/embed.h"
#include "runtime_rig.h"
#include <poll.h>

struct foreign {
	struct rig rig;
	struct world *w;
	unsigned steps, more, waits, unasked;
	unsigned posted, ran, started, ended, rang;
	rln_timer timer[4];
	int64_t due[4]; /* 0: not set */
	rln_conn last;
	int over;
	bool told; /* it will be readable: something was posted, begun or left */
};
static struct foreign *f;

/* ---- what the loop's own code begins */
static void post_runs(void *arg)
{
	(void)arg;
	f->ran++;
}

static int task_runs(void *arg)
{
	(void)arg;
	if (world_rand(f->w, 2))
		(void)rln_sleep(RLN_US(1 + (int64_t)world_rand(f->w, 5000)));
	for (uint64_t n = world_rand(f->w, 4); n; n--)
		(void)rln_yield();
	f->ended++;
	return 0;
}

static void timer_rings(rln_timer *t, void *ud)
{
	int64_t *due = ud;

	(void)t;
	if (world_now(f->w) < *due)
		world_violates(f->w, PROP_P11, "a timer is early");
	*due = 0;
	f->rang++;
}

static void served(rln_conn c, void *arg)
{
	f->last = c;
	task_echo(c, arg);
}

static void own_code(void)
{
	unsigned i = (unsigned)world_rand(f->w, 4);

	f->told = true;
	if (world_rand(f->w, 3) == 0) { /* as another thread does it, too */
		if (rln_post(&f->rig.rt, 0, post_runs, NULL) == 0)
			f->posted++;
		return;
	}
	if (rln_enter(&f->rig.rt) < 0)
		return;
	switch (world_rand(f->w, 5)) {
	case 0:
		f->started += rln_go(task_runs, NULL, NULL) == 0;
		break;
	case 1: {
		rln_ns in = RLN_US((int64_t)world_rand(f->w, 20000));
		f->due[i] = world_now(f->w) + in;
		rln_timer_start(&f->timer[i], in, timer_rings, &f->due[i]);
		break;
	}
	case 2:
		rln_timer_stop(&f->timer[i]);
		f->due[i] = 0;
		break;
	case 3: /* a peer counts what it gets back: nothing is sent, only asked for */
		(void)rln_send_nowait(f->last, "", 0);
		break;
	default:
		(void)rln_user(f->last);
	}
	rln_leave(&f->rig.rt);
}

/* ---- the loop */
static bool readable(void)
{
	bool yes = sys_poll(rln_poll_fd(&f->rig.rt), POLLIN) & POLLIN;

	f->told &= !yes;
	return yes;
}

/* When the ring will tell that time has passed; one that is being cancelled is a completion soon.
 */
static int64_t tells_ns(const struct loop *l)
{
	if (l->embed.closing || op_busy(&l->embed.cancel.op))
		return 0;
	return op_busy(&l->embed.timer.op) ? l->embed.timer_ns : INT64_MAX;
}

static void check_nothing_to_do(void)
{
	struct worker *wk = &f->rig.worker[0];
	struct loop *l = &wk->loop;
	const char *what = NULL;

	if (sched_busy(&wk->sched))
		what = "a task is ready";
	else if (io_busy(&wk->io))
		what = "a connection has something to decide";
	else if (!list_empty(&l->ops.waiting) || !list_empty(&l->ops.finished))
		what = "an operation waits";
	else if (ring_sq_pending(&l->ring))
		what = "an SQE is not submitted";
	else if (ring_cq_ready(&l->ring))
		what = "a completion is there";
	else if (world_ring_next(f->w, l->ring.u.ring_fd) <= world_now(f->w))
		what = "a completion can be made";
	else if (!mpsc_empty(&l->inbox.queue) || l->inbox.taken)
		what = "a message is there";
	else if (wheel_next(&l->wheel) < tells_ns(l))
		what = "a timer will be due before anything tells";
	if (what)
		world_violates(f->w, PROP_P5, "the descriptor is not readable, but %s", what);
}

/* As poll(2) without a limit; or until something of the loop's own comes first. */
static void wait_for_it(void)
{
	int64_t own = INT64_MAX;

	f->waits++;
	if (world_rand(f->w, 8) == 0)
		own = world_now(f->w) + (int64_t)world_rand(f->w, 300000000);
	while (!readable()) {
		int ring = f->rig.worker[0].loop.ring.u.ring_fd;
		int64_t next = world_next(f->w), ours = world_ring_next(f->w, ring);

		if (!f->told)
			check_nothing_to_do();
		next = ours < next ? ours : next;
		if (next == INT64_MAX && own == INT64_MAX) {
			if (world_peers_alive(f->w) || f->over)
				world_violates(f->w, PROP_P5, "nothing will ever happen");
			return;
		}
		if (own < next) {
			world_run_until(f->w, own);
			return;
		}
		world_run_until(f->w, next);
	}
}

static void step(void)
{
	bool was = readable();
	int e = rln_step(&f->rig.rt);

	f->steps++;
	f->unasked += !was;
	if (e < 0)
		world_fail(f->w, "step: %d", e);
	f->told = e == RLN_STEP_MORE;
	f->more += e == RLN_STEP_MORE;
	f->over = e;
	if (f->steps > RIG_TURNS_MAX)
		world_fail(f->w, "no end after %u steps", f->steps);
}

static void loop_once(bool own)
{
	if (world_rand(f->w, 8)) /* else nobody asks */
		wait_for_it();
	step();
	while (own && world_rand(f->w, 3) == 0)
		own_code();
}

/* ---- one schedule */
static void configure(struct world *w)
{
	rln_listen_opts l = echo_mode((int)world_rand(w, 3));
	rln_config c = { .embed = true, .listen = &l, .nlisten = 1, .file_slots = 2 };

	l.addr = "127.0.0.1:0";
	if (l.on_conn)
		l.on_conn = served;
	l.recv_max = 16 + world_rand(w, 3000);
	l.send_high = 1 + world_rand(w, 3000);
	l.send_low = 1 + world_rand(w, l.send_high);
	l.max_conns = rig_pow2(w, 5);
	l.backlog = (int)rig_pow2(w, 3);
	if (world_rand(w, 2))
		l.idle_timeout = RLN_MS(1 + (int64_t)world_rand(w, 2000));
	rig_sizes(w, &c);
	rig_init(&f->rig, w, &c);
	f->rig.rt.mine = &ctx_current_;
	f->w = w;
}

static void add_peers(struct world *w)
{
	for (uint64_t n = 1 + world_rand(w, 6); n; n--) {
		struct peer_config pc = { .kind = world_peer_kind(w),
					  .bytes = (size_t)world_rand(w, 12000),
					  .delay_ns = (int64_t)world_rand(w, 20000000) };
		if (pc.kind == PEER_SLOW)
			pc.bytes %= 60;
		world_peer(w, f->rig.port, &pc);
	}
}

/* By steps to the end, or by steps and then by a thread that waits for it. */
static void drain(struct world *w)
{
	uint64_t steps = world_rand(w, 2) ? UINT64_MAX : world_rand(w, 20);

	rln_shutdown(&f->rig.rt);
	for (; f->over != RLN_STEP_OVER && steps; steps--)
		loop_once(false);
	if (f->over == RLN_STEP_OVER && rln_step(&f->rig.rt) != RLN_STEP_OVER)
		world_fail(w, "over, and not over");
	embed_run_out(&f->rig.rt);
	rig_close(&f->rig);
}

static uint64_t run_seed(uint64_t seed, struct foreign *sum)
{
	struct world_config wc = { 0 };
	struct world *w;

	seed_set(seed);
	w = world_new(seed, &wc);
	world_enter(w);
	f = calloc(1, sizeof *f);
	CHECK(f != NULL);
	configure(w);
	rig_open(&f->rig);
	f->rig.worker[0].started = true;
	embed_light(&f->rig.worker[0].loop);
	f->told = true;
	add_peers(w);
	uint64_t stop_at = world_rand(w, 4) ? UINT64_MAX : world_rand(w, 500);
	while (world_peers_alive(w) && f->steps < stop_at)
		loop_once(true);
	world_calm(w);
	drain(w);
	if (f->ran != f->posted)
		world_violates(w, PROP_P1, "%u posts, %u ran", f->posted, f->ran);
	if (f->ended != f->started)
		world_violates(w, PROP_P1, "%u tasks, %u ended", f->started, f->ended);
	sum->steps += f->steps;
	sum->more += f->more;
	sum->waits += f->waits;
	sum->unasked += f->unasked;
	sum->ran += f->ran;
	sum->ended += f->ended;
	sum->rang += f->rang;
	free(f);
	rig_check_quiet(w);
	uint64_t hash = world_hash(w);
	world_enter(NULL);
	world_free(w);
	return hash;
}

TEST_LIMIT(embed_sim_not_readable_means_nothing_to_do, 200)
{
	uint64_t first = seed_first(), n = seed_count(400);
	struct foreign sum = { 0 };

	for (uint64_t seed = first; seed < first + n; seed++)
		run_seed(seed, &sum);
	printf("  %u steps (%u unasked, %u stopped at their bound), %u waits, %u posts, %u tasks, "
	       "%u timers\n",
	       sum.steps, sum.unasked, sum.more, sum.waits, sum.ran, sum.ended, sum.rang);
	if (n >= 400) { /* what never happens tests nothing */
		CHECK_INT(sum.more, >, 0);
		CHECK_INT(sum.unasked, >, n);
		CHECK_INT(sum.ran, >, n);
		CHECK_INT(sum.ended, >, n);
		CHECK_INT(sum.rang, >, n);
	}
}

TEST_LIMIT(embed_sim_same_seed_same_run, 100)
{
	for (uint64_t seed = 1; seed <= 50; seed++) {
		struct foreign sum = { 0 };

		CHECK(run_seed(seed, &sum) == run_seed(seed, &sum));
	}
}
