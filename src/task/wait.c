/*
 * How a task waits, and how its wait ends. W: for state the runtime owns, by nodes in somebody's
 * list. K: for one kernel op, whose own last CQE alone resumes it. Both ends meet in
 * task_recheck(): a deadline or a cancellation ends a W wait at once, and asks for the end of a K
 * wait.
 */
#include "base/assert.h"
#include "base/log.h"
#include "base/mark.h"
#include "base/sys.h"
#include "task/internal.h"
#include <errno.h>
#include <stdatomic.h>

#define SAID_MAX 64 /* public functions whose misuse was logged */

/* At most one line for each function, however often it is misused. */
static bool said_before(const char *call)
{
	static _Atomic(const char *) said[SAID_MAX];

	for (unsigned i = 0; i < SAID_MAX; i++) {
		const char *none = NULL;
		if (atomic_compare_exchange_strong(&said[i], &none, call))
			return false;
		if (none == call)
			return true;
	}
	return true;
}

static __attribute__((cold, noinline)) int misplaced(const char *call, bool worker)
{
	if (said_before(call))
		return worker ? -EDEADLK : -EPERM;
	if (worker) {
		log_line(RLN_LOG_ERROR,
			 "%s called in a callback, which cannot wait; start a task with rln_go",
			 call);
		return -EDEADLK;
	}
	log_line(RLN_LOG_ERROR,
		 "%s called from thread %d, which is not a worker; use rln_post or rln_go_on", call,
		 sys_thread_id());
	return -EPERM;
}

/* INV-92 */
int wait_enter(const char *call)
{
	struct sched *s = sched_current();
	struct task *t = s ? s->running : NULL;
	int why;

	if (RLN_UNLIKELY(!t)) {
		if (s)
			s->stats.misuse++;
		return misplaced(call, s != NULL);
	}
	if (RLN_LIKELY(!t->scope && !t->base && !t->cancelled))
		return 0;
	why = task_cancel_reason(t);
	/* A loop that ignores it must not keep the worker from everybody else. */
	if (why)
		wait_done_quickly();
	return why;
}

static void timer_rearm(struct task *t)
{
	struct wheel *w = &t->sched->loop->wheel;
	int64_t ns = t->wake_ns;

	if (t->fresh)
		scope_start_clocks(t);
	if (!t->uncancellable && (t->scope || t->base)) {
		int64_t deadline_ns = task_deadline(t);
		ns = deadline_ns < ns ? deadline_ns : ns;
	}
	if (ns != INT64_MAX)
		timer_arm(w, &t->timer, ns);
	else if (timer_armed(&t->timer))
		timer_cancel(w, &t->timer);
}

static void unlink_waiters(struct task *t)
{
	for (struct waiter *w = t->waiter; w; w = w->next)
		list_remove(&w->node);
}

/* I3: one cancel op is out at a time; the next waits for its completion, and is never lost. */
static void kop_cancel(struct task *t)
{
	if (op_busy(&t->k.cancel.op)) {
		RLN_MARK("kop-cancel-waits-for-the-one-before");
		t->k.cancel_due = true;
		return;
	}
	if (op_cancel_with(&t->sched->loop->ops, &t->k.io->op, &t->k.cancel))
		t->holds |= HOLD_CANCEL;
}

void kop_cancel_done(struct op_cancel *c)
{
	struct task *t = container_of(c, struct task, k.cancel);

	if (t->k.cancel_due && t->wait == WAIT_K && !t->k.done) {
		t->k.cancel_due = false;
		t->holds &= (uint8_t)~HOLD_CANCEL;
		kop_cancel(t);
		return;
	}
	task_drop(t, HOLD_CANCEL);
}

static void wait_cancel(struct task *t, int why, struct scope *blame)
{
	if (t->wait == WAIT_K && t->k.why)
		return;
	t->blame = blame;
	if (t->wait == WAIT_K) {
		/* Not resumed: only its op's own end does that. */
		t->k.why = why;
		kop_cancel(t);
		return;
	}
	unlink_waiters(t);
	t->wait_why = why;
	task_wake(t);
}

void task_recheck(struct task *t)
{
	struct scope *blame = NULL;
	int why;

	if (t->state != TASK_PARKED)
		return;
	why = t->uncancellable ? 0 : task_peek_reason(t, &blame);
	/* A sleep that was over before the deadline came is not cut short by it. */
	if (t->wake_ns <= t->sched->loop->now_ns && why != -ECANCELED &&
	    (!why || t->wake_ns <= task_deadline(t))) {
		if (why)
			RLN_MARK("sleep-was-over-before-its-deadline");
		unlink_waiters(t);
		task_wake(t);
	} else if (why) {
		wait_cancel(t, why, blame);
	} else {
		timer_rearm(t);
	}
}

void task_timer_fire(struct timer *timer)
{
	task_recheck(container_of(timer, struct task, timer));
}

/* W. The nodes are linked; they are unlinked on every return. */
static int wait_w(struct task *t, struct waiter *first, int64_t wake_ns, bool uncancellable,
		  const char *call)
{
	t->waiter = first;
	t->wait_why = uncancellable ? 0 : task_peek_reason(t, &t->blame);
	if (RLN_UNLIKELY(t->wait_why)) {
		unlink_waiters(t);
	} else {
		t->uncancellable = uncancellable;
		t->wake_ns = wake_ns;
		timer_rearm(t);
		task_park(t, WAIT_W, call);
		t->uncancellable = false;
	}
	if (t->wait_why && !t->wait_trial)
		scope_blame(t->blame, t->wait_why);
	t->waiter = NULL;
	return t->wait_why;
}

void waiter_init(struct waiter *w, struct task *t, void *slot)
{
	RLN_ASSERT(t);
	*w = (struct waiter){ .task = t, .slot = slot };
	list_init(&w->node);
}

static int wait_one(struct list *queue, void *slot, bool uncancellable, const char *call)
{
	struct task *t = task_running();
	struct waiter w;

	waiter_init(&w, t, slot);
	list_push_back(queue, &w.node);
	int why = wait_w(t, &w, INT64_MAX, uncancellable, call);
	return why ? why : w.res;
}

int wait_on(struct list *queue, const char *call)
{
	return wait_one(queue, NULL, false, call);
}

int wait_try(struct list *queue, const char *call)
{
	struct task *t = task_running();

	RLN_ASSERT(t);
	t->wait_trial = true;
	int why = wait_one(queue, NULL, false, call);
	t->wait_trial = false;
	return why;
}

int wait_failed(int why)
{
	scope_blame(task_running()->blame, why);
	return why;
}

int wait_with(struct list *queue, void *slot, const char *call)
{
	return wait_one(queue, slot, false, call);
}

int wait_uncancellable(struct list *queue, const char *call)
{
	return wait_one(queue, NULL, true, call);
}

int wait_any(struct waiter *first, int64_t wake_ns, const char *call, struct waiter **woken)
{
	struct task *t = task_running();
	struct waiter *w = first;

	RLN_ASSERT(t);
	int why = wait_w(t, first, wake_ns, false, call);
	if (why)
		return why;
	while (w && !w->woken)
		w = w->next;
	RLN_ASSERTF(w || wake_ns != INT64_MAX, "%s resumed without having been woken", call);
	*woken = w;
	return 0;
}

int wait_until(int64_t wake_ns, const char *call)
{
	return wait_w(task_running(), NULL, wake_ns, false, call);
}

void waiter_wake(struct waiter *w, int res)
{
	struct task *t = w->task;

	RLN_ASSERT(!w->woken);			       /* INV-36 */
	RLN_DEBUG_ASSERT(t->sched == sched_current()); /* a worker's own business */
	RLN_ASSERT(t->state == TASK_PARKED && t->wait == WAIT_W);
	unlink_waiters(t);
	w->woken = true;
	w->res = res;
	task_wake(t);
}

unsigned wake_all(struct list *queue, int res)
{
	unsigned n = 0;

	for (struct waiter *w; (w = waiter_first(queue)); n++)
		waiter_wake(w, res);
	return n;
}

static void kop_done(struct op_io *io, const struct op_event *ev)
{
	struct task *t = io->ctx;

	RLN_ASSERT(t->k.io == io);
	RLN_ASSERT(t->state == TASK_PARKED && t->wait == WAIT_K); /* I1 */
	if (!(ev->flags & IORING_CQE_F_NOTIF))
		t->k.res = ev->res;
	if (!ev->last)
		return;
	t->k.done = true;
	task_wake(t);
}

void task_kop(struct op_io *io, enum op_kind kind)
{
	op_io_init(io, kind, kop_done);
	io->ctx = task_running();
	RLN_ASSERT(io->ctx);
}

int task_kop_run(struct op_io *io, const char *call)
{
	struct task *t = task_running();
	int why, res;

	RLN_ASSERT(t && t == io->ctx && !t->k.io);
	why = task_cancel_reason(t);
	if (why)
		return why; /* nothing was started */
	t->k.io = io;
	t->k.why = 0;
	t->k.done = t->k.cancel_due = false;
	t->wake_ns = INT64_MAX;
	timer_rearm(t);
	/* I2: nothing that can fail, and no way out, from here to the last completion. */
	op_submit(&t->sched->loop->ops, &io->op);
	task_park(t, WAIT_K, call);
	RLN_ASSERT(t->k.done);
	op_reset(&io->op);
	t->k.io = NULL;
	res = t->k.res;
	if (!t->k.why)
		return res;
	if (res == -ECANCELED || res == -EINTR) {
		scope_blame(t->blame, t->k.why);
		return t->k.why;
	}
	RLN_MARK("kop-result-beats-its-cancel");
	t->sched->stats.late_cancels++;
	return res; /* I6: a result is a result; the cancellation stays pending */
}
