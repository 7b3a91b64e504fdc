/*
 * One worker of a whole runtime, on Linux, stepped by the test on its own thread; and the task that
 * makes the call a row of cancel_table.def is about, with everything the columns do to it.
 */
#ifndef RINGLINE_TESTS_CANCEL_RIG_H
#define RINGLINE_TESTS_CANCEL_RIG_H

#include "base/sys.h"
#include "ringline.h"
#include "rt/runtime.h"
#include "test.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* What a column says. */
enum verdict { NA = 1, NOTHING, ENDS, WINS, GOES_ON };
enum column { PENDING, WAITING, SUCCESS, SHIELDED, DEADLINE, CLOSED, SHUTDOWN };
static const char *const column_name[] = { "pending",  "waiting", "success", "shielded",
					   "deadline", "closed",  "shutdown" };

/*
 * How one function is called. All but enter, call and leave run outside tasks, like callbacks of
 * the worker; step() may be called there.
 */
struct scene {
	void (*setup)(void);	/* what is waited for is there, and not ready */
	void (*enter)(void);	/* in the task, before the call and outside its scopes */
	long (*call)(void);	/* waits after setup */
	void (*satisfy)(void);	/* make the call succeed */
	bool keep_on;		/* satisfy again in each turn until it does */
	long good;		/* what it returns then */
	void (*close)(void);	/* end what it waits for */
	void (*leave)(void);	/* in the task, at its end */
	void (*teardown)(void); /* also checks that nothing was lost or doubled */
};

static struct rig {
	rln_runtime rt;
	struct worker w;
} rig;

static enum column column;
static int attempt; /* the call that is being made: the first, or again after it failed */

static void die(const char *what, long long got, long long want)
{
	test_fail(__FILE__, __LINE__, "column %s, call %d: %s: %lld, not %lld", column_name[column],
		  attempt, what, got, want);
}

static void expect_(const char *what, long long got, long long want)
{
	if (got != want)
		die(what, got, want);
}

/* ---- the worker */

static void rig_up(void)
{
	static const rln_config cfg = { .workers = 1,
					.stacks_prewarm = 1,
					.drain_timeout = RLN_MS(2),
					.kill_timeout = RLN_SEC(60) };
	struct diag why = { 0 };

	memset(&rig, 0, sizeof rig);
	CHECK_INT(config_resolve(&cfg, sizeof cfg, sizeof(rln_listen_opts), &rig.rt.cfg, &why), ==,
		  0);
	rig.rt.shared.cfg = &rig.rt.cfg;
	rig.rt.shared.caps = caps_get(&rig.rt.probed);
	if (!rig.rt.shared.caps->ok)
		SKIP("%s", rig.rt.shared.caps->why.line);
	rig.rt.shared.rt = &rig.rt;
	rig.rt.shared.workers = rig.rt.workers = &rig.w;
	CHECK_INT(worker_open(&rig.w, &rig.rt.shared, 0, &ring_kernel_uring, &why), ==, 0);
	rig.rt.shared.count = 1;
	CHECK_INT(worker_start(&rig.w, &why), ==, 0);
}

/* One turn, which waits for a moment at most. Returns whether the worker has stopped. */
static bool step(void)
{
	int r = worker_turn(&rig.w, sys_now() + RLN_US(300));
	CHECK_INT(r, >=, 0);
	return r > 0;
}

static void steps(int n)
{
	while (n--)
		step();
}

#define STEP_UNTIL(cond)                                                           \
	do {                                                                       \
		int64_t limit_ = test_now_ns() + INT64_C(25000000000);             \
		while (!(cond)) {                                                  \
			step();                                                    \
			if (test_now_ns() > limit_)                                \
				test_fail(__FILE__, __LINE__, "column %s: not %s", \
					  column_name[column], #cond);             \
		}                                                                  \
	} while (0)

static void on_worker(void (*fn)(void))
{
	struct ctx *before = worker_enter(&rig.w);

	if (fn)
		fn();
	worker_leave(before);
}

static void begin_stop(void)
{
	atomic_store(&rig.rt.shared.shutdown, true);
	inbox_wake(&rig.w.loop.inbox);
}

static void rig_down(void)
{
	int64_t limit_ns = test_now_ns() + INT64_C(25000000000);

	begin_stop();
	while (!step())
		CHECK(test_now_ns() < limit_ns);
	worker_stop(&rig.w);
	worker_close(&rig.w);
	config_fini(&rig.rt.cfg);
}

/* ---- the task that waits */

static const struct scene *scene;
static struct task *waiter;
static rln_scope scope; /* the one the columns cancel */
static int ended;	/* calls that have */
static long result[2];	/* of each */
static int pending, caught;

static int waiter_main(void *arg)
{
	rln_scope shield;

	(void)arg;
	waiter = task_running();
	if (scene->enter)
		scene->enter();
	rln_scope_begin(&scope, column == DEADLINE ? RLN_MS(1) : RLN_FOREVER);
	if (column == PENDING)
		rln_scope_cancel(&scope);
	if (column == SHIELDED)
		rln_scope_shield(&shield, RLN_SEC(1000));
	result[0] = scene->call();
	if (column == SHIELDED)
		rln_scope_end(&shield);
	pending = rln_yield();
	caught = rln_scope_end(&scope);
	attempt = ended = 1;
	if (column == PENDING || column == WAITING || column == DEADLINE) {
		result[1] = scene->call();
		ended = 2;
	}
	if (scene->leave)
		scene->leave();
	waiter = NULL;
	return 0;
}

/*
 * Cancels the scope when the waiter has been woken, and before it runs: it stands in the queue of
 * ready tasks all the time, so before whoever is woken.
 */
static int spy_main(void *arg)
{
	(void)arg;
	while (waiter && waiter->state != TASK_READY)
		if (rln_yield() < 0)
			return 0;
	if (waiter)
		rln_scope_cancel(&scope);
	return 0;
}

static void start(int (*fn)(void *))
{
	struct ctx *before = worker_enter(&rig.w);

	CHECK_INT(rln_go(fn, NULL, NULL), ==, 0);
	worker_leave(before);
}

static bool parked(void)
{
	return waiter && waiter->state == TASK_PARKED;
}

static void satisfy_until(int calls)
{
	int64_t limit_ns = test_now_ns() + INT64_C(25000000000);

	for (bool first = true; ended < calls; first = false) {
		if (scene->satisfy && (first || scene->keep_on))
			on_worker(scene->satisfy);
		step();
		if (test_now_ns() > limit_ns)
			die("not satisfied", ended, calls);
	}
}

static void cancel_scope(void)
{
	rln_scope_cancel(&scope);
}

/* ---- columns */

static void begin_waiting(void)
{
	start(waiter_main);
	STEP_UNTIL(parked());
	steps(2);
	CHECK(parked());
}

static void failed(int why, enum verdict v)
{
	if (v == NA)
		return;
	expect_("the result", result[0], why);
	expect_("the next wait", pending, why);
	expect_("the scope", caught, why);
}

static void col_pending(int v)
{
	/* ready before it is called, where that can be had */
	if (scene->satisfy && !scene->enter) {
		on_worker(scene->satisfy);
		steps(4);
	}
	start(waiter_main);
	STEP_UNTIL(ended >= 1);
	if (v == NOTHING && ended < 2)
		satisfy_until(2);
	STEP_UNTIL(ended == 2);
	failed(-ECANCELED, v);
	expect_("called again", result[1], scene->good);
}

static void col_waiting(int v)
{
	begin_waiting();
	on_worker(cancel_scope);
	STEP_UNTIL(ended >= 1);
	if (v == NOTHING)
		satisfy_until(2);
	STEP_UNTIL(ended == 2);
	failed(-ECANCELED, v);
	expect_("called again", result[1], scene->good);
}

static void col_success(int v)
{
	(void)v;
	begin_waiting();
	start(spy_main);
	step();
	satisfy_until(1);
	expect_("the result", result[0], scene->good);
	expect_("the next wait", pending, -ECANCELED);
}

static void col_shielded(int v)
{
	(void)v;
	begin_waiting();
	on_worker(cancel_scope);
	steps(3);
	if (scene->satisfy)
		CHECK(parked());
	satisfy_until(1);
	expect_("the result", result[0], scene->good);
	expect_("the next wait", pending, -ECANCELED);
}

static void col_deadline(int v)
{
	start(waiter_main);
	STEP_UNTIL(ended >= 1);
	if (v == NOTHING)
		satisfy_until(2);
	STEP_UNTIL(ended == 2);
	failed(-ETIME, v);
	expect_("called again", result[1], scene->good);
}

static void col_closed(int want)
{
	begin_waiting();
	on_worker(scene->close);
	STEP_UNTIL(ended == 1);
	expect_("the result", result[0], want);
	expect_("the scope", caught, 0);
}

static void col_shutdown(int want)
{
	begin_waiting();
	begin_stop();
	while (!step())
		;
	expect_("calls that ended", ended, 1);
	expect_("the result", result[0], want);
}

/* One column of one row, in a worker of its own. */
static void run_column(const struct scene *s, enum column c, int value)
{
	static void (*const run[])(int) = { col_pending,  col_waiting, col_success, col_shielded,
					    col_deadline, col_closed,  col_shutdown };

	if (value == NA)
		return;
	scene = s;
	column = c;
	attempt = ended = 0;
	waiter = NULL;
	result[0] = result[1] = 99;
	rig_up();
	on_worker(s->setup);
	steps(2);
	run[c](value);
	if (c != SHUTDOWN) {
		STEP_UNTIL(!waiter);
		on_worker(s->teardown);
		steps(2);
	}
	rig_down();
	if (c == SHUTDOWN)
		on_worker(NULL);
}

#endif
