/*
 * The turn. Decides when the worker may wait and for how long, and keeps the clock. What the stages
 * do stands in their own files; what an operation means, above.
 */
#include "loop/loop.h"
#include "base/assert.h"
#include "base/mark.h"
#include "base/sys.h"
#include "ring/caps.h"
#include <errno.h>
#include <stdatomic.h>

/* An enter takes longer than this: bounds a spin by count when the clock stands still. */
#define SPIN_ENTER_NS 100

int loop_open(struct loop *l, const struct loop_config *cfg, struct diag *why)
{
	struct ring_config ring = cfg->ring;
	int err;

	*l = (struct loop){ .spin_ns = cfg->spin_ns, .stall_ns = cfg->stall_ns };
	l->embed.used = cfg->embed;
	if (cfg->embed)
		ring.flags_without |= IORING_SETUP_DEFER_TASKRUN; /* loop/embed.c says why */
	err = ring_open(&l->ring, &ring, why);
	if (err)
		return err;
	ops_init(&l->ops, &l->ring);
	err = inbox_open(&l->inbox, &l->ops);
	if (err) {
		diag_set(why, err, "eventfd: %s; raise the limit on open files (ulimit -n)",
			 err == -EMFILE ? "this process has too many open files"
					: "the system refuses another descriptor");
		goto fail_ring;
	}
	l->reap_max = cfg->reap_max ? cfg->reap_max : l->ring.u.cq.ring_entries;
	l->now_ns = sys_now();
	wheel_init(&l->wheel, l->now_ns);
	return 0;

fail_ring:
	ops_fini(&l->ops);
	ring_close(&l->ring);
	return err;
}

int loop_start(struct loop *l, struct diag *why)
{
	int err = ring_enable(&l->ring, why);

	if (err)
		return err;
	if (l->embed.used)
		embed_start(l);
	inbox_start(&l->inbox);
	return 0;
}

void loop_close(struct loop *l)
{
	RLN_ASSERT(ops_idle(&l->ops));
	RLN_ASSERTF(l->wheel.armed == 0, "%u timers armed", l->wheel.armed);
	inbox_free(&l->inbox);
	ops_fini(&l->ops);
	ring_close(&l->ring);
}

/* A stretch of work, in which the worker did not look at its ring, ends now. */
static void work_ends(struct loop *l)
{
	int64_t ns = l->now_ns - l->work_since_ns;

	if (ns > l->stats.longest_turn_ns)
		l->stats.longest_turn_ns = ns;
	if (l->stall_ns && ns > l->stall_ns)
		l->stats.stalls++;
}

static void work_begins(struct loop *l)
{
	l->working = true;
	l->work_since_ns = l->now_ns;
	atomic_store_explicit(&l->busy_since_ns, l->now_ns, memory_order_relaxed);
}

void loop_rest(struct loop *l)
{
	l->working = false;
	atomic_store_explicit(&l->busy_since_ns, 0, memory_order_relaxed);
}

static void clock_read(struct loop *l)
{
	l->now_ns = sys_now();
	wheel_place(&l->wheel, l->now_ns);
}

static void turn_begin(struct loop *l)
{
	clock_read(l);
	l->stats.turns++;
	if (l->working)
		work_ends(l); /* the turn before, and what ran between the two */
	work_begins(l);
}

void loop_work(struct loop *l)
{
	clock_read(l);
	work_begins(l);
}

void loop_pause(struct loop *l)
{
	clock_read(l);
	work_ends(l);
	loop_rest(l);
}

static void run_stage(struct loop *l, enum loop_stage stage)
{
	const struct loop_hook *hook = &l->stage[stage];

	if (hook->fn)
		hook->fn(hook->ctx);
}

/*
 * Waiting ops count: an enter frees the SQ for them. So do finishes not yet delivered, and CQEs the
 * last bounded reap left.
 */
bool loop_work_left(const struct loop *l)
{
	return !list_empty(&l->ops.waiting) || !list_empty(&l->ops.finished) ||
	       ring_cq_ready(&l->ring) || (l->busy && l->busy(l->busy_ctx));
}

static int64_t wait_limit(const struct loop *l, int64_t deadline_ns)
{
	int64_t timer_ns = wheel_next(&l->wheel);
	return timer_ns < deadline_ns ? timer_ns : deadline_ns;
}

static int enter_only(struct loop *l)
{
	return ring_enter(&l->ring, 0, 0);
}

/* Look for completions, messages and timers without sleeping. *won: there is something to do. */
static int enter_spinning(struct loop *l, int64_t until_ns, bool *won)
{
	int64_t begin_ns = l->now_ns;

	for (int64_t left = l->spin_ns / SPIN_ENTER_NS + 1; left > 0; left--) {
		int err = enter_only(l);
		if (err)
			return err;
		clock_read(l);
		*won = ring_cq_ready(&l->ring) || inbox_pending(&l->inbox) || l->now_ns >= until_ns;
		if (*won || l->now_ns - begin_ns >= l->spin_ns)
			break;
	}
	l->stats.spins_won += *won;
	if (*won) /* else no turn could sleep any more */
		inbox_noticed(&l->inbox);
	return 0;
}

static int enter_sleeping(struct loop *l, int64_t until_ns)
{
	bool forever = until_ns == INT64_MAX;
	int err;

	if (!inbox_sleep(&l->inbox)) {
		RLN_MARK("loop-message-came-before-the-sleep");
		return enter_only(l);
	}
	l->stats.sleeps++;
	err = ring_enter(&l->ring, 1, forever ? INT64_MAX : until_ns - l->now_ns);
	clock_read(l);
	inbox_awake(&l->inbox);
	return err;
}

/*
 * Submit everything; wait only when nothing is ready. The clock is read again before a wait, which
 * costs nothing beside it: the work of the turn must not lengthen the sleep, and the timers it has
 * started begin to count.
 */
static int turn_enter(struct loop *l, int64_t deadline_ns)
{
	bool won = false;
	int err = 0;

	if (deadline_ns <= l->now_ns || loop_work_left(l))
		return enter_only(l);
	clock_read(l);
	int64_t until_ns = wait_limit(l, deadline_ns);
	if (until_ns <= l->now_ns)
		return enter_only(l);
	work_ends(l);
	loop_rest(l);
	if (l->spin_ns > 0) {
		RLN_MARK("loop-spins");
		err = enter_spinning(l, until_ns, &won);
	}
	if (!err && !won)
		err = until_ns > l->now_ns ? enter_sleeping(l, until_ns) : enter_only(l);
	work_begins(l);
	return err;
}

/* INV-86 */
int loop_turn(struct loop *l, int64_t deadline_ns)
{
	int err;

	turn_begin(l);
	if (l->embed.on)
		ops_reap(&l->ops, l->reap_max); /* they are there without an enter */
	inbox_drain(&l->inbox);
	wheel_expire(&l->wheel, l->now_ns);
	run_stage(l, LOOP_RUN);
	ops_deliver(&l->ops);
	run_stage(l, LOOP_FLUSH);
	run_stage(l, LOOP_PUBLISH);
	if (l->embed.used) {
		if (wheel_has_fresh(&l->wheel))
			clock_read(l); /* what this turn has started may be the next timer */
		embed_arm(l);
	}
	ops_flush(&l->ops);
	err = turn_enter(l, deadline_ns);
	ops_reap(&l->ops, l->reap_max);
	return err;
}
