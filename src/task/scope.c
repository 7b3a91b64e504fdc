/*
 * Scopes: which deadlines and cancellations count for a task just now. They are level-triggered:
 * nothing here is consumed by a call that fails, only left behind at the end of the scope.
 */
#include "base/assert.h"
#include "base/sys.h"
#include "task/internal.h"
#include <errno.h>

_Static_assert(sizeof(struct scope) <= sizeof(rln_scope), "struct scope does not fit rln_scope");
_Static_assert(_Alignof(struct scope) <= _Alignof(rln_scope), "rln_scope is not aligned enough");

#define HERE __builtin_return_address(0)

static struct scope *scope_of(rln_scope *s)
{
	return (struct scope *)s;
}

int64_t time_after(int64_t ns, int64_t dur)
{
	int64_t sum;
	if (__builtin_add_overflow(ns, dur, &sum))
		return INT64_MAX;
	return sum;
}

int64_t task_deadline(const struct task *t)
{
	int64_t ns = INT64_MAX;

	for (const struct scope *sc = t->scope; sc; sc = sc->outer) {
		if (sc->deadline_ns < ns)
			ns = sc->deadline_ns;
		if (sc->shield)
			break;
	}
	return ns;
}

/*
 * A cancellation wins over a deadline; of several scopes with the same reason it is the outermost:
 * whoever looks only after its own scope would go on in vain.
 */
int task_peek_reason(const struct task *t, struct scope **blame)
{
	int64_t now_ns = t->sched->loop->now_ns;
	int why = 0;

	*blame = NULL;
	for (struct scope *sc = t->scope; sc; sc = sc->outer) {
		if (sc->cancelled) {
			why = -ECANCELED;
			*blame = sc;
		} else if (why != -ECANCELED && sc->deadline_ns <= now_ns) {
			why = -ETIME;
			*blame = sc;
		}
		if (sc->shield)
			return why;
	}
	if (t->cancelled) {
		why = -ECANCELED;
		*blame = NULL;
	}
	return why;
}

void scope_blame(struct scope *blame, int why)
{
	if (blame)
		blame->caught_why = why;
}

int task_cancel_reason(struct task *t)
{
	struct scope *blame;
	int why;

	if (!t->scope)
		return t->cancelled ? -ECANCELED : 0;
	why = task_peek_reason(t, &blame);
	if (why)
		scope_blame(blame, why);
	return why;
}

static struct task *scope_task(const char *call, const void *here)
{
	struct task *t = task_running();
	if (!t)
		task_misuse("%s called at %p, outside a task", call, here);
	return t;
}

/*
 * When a scope of this length ends. The clock is read: the loop's may be a turn old, and a deadline
 * never comes early. Without any length it has ended, whatever the loop's clock says.
 */
static int64_t deadline_after(int64_t ns)
{
	if (ns == INT64_MAX)
		return INT64_MAX;
	return ns <= 0 ? INT64_MIN : time_after(sys_now(), ns);
}

static void begin(rln_scope *user, int64_t ns, bool shield, const char *call, const void *here)
{
	struct task *t = scope_task(call, here);

	*scope_of(user) = (struct scope){
		.outer = t->scope,
		.task = t,
		.deadline_ns = deadline_after(ns),
		.begun = here,
		.shield = shield,
	};
	t->scope = scope_of(user);
}

void rln_scope_begin(rln_scope *s, rln_ns timeout)
{
	begin(s, timeout, false, "rln_scope_begin", HERE);
}

void rln_scope_shield(rln_scope *s, rln_ns grace)
{
	if (grace == INT64_MAX)
		task_misuse("rln_scope_shield called at %p with RLN_FOREVER: its grace must end",
			    HERE);
	begin(s, grace, true, "rln_scope_shield", HERE);
}

static int end(struct scope *sc, const void *here)
{
	struct task *t = scope_task("rln_scope_end", here);

	if (sc->task != t)
		task_misuse("rln_scope_end called at %p in task " TASK_LABEL
			    " for a scope that has ended, or is another task's",
			    here, TASK_LABEL_ARGS(t));
	if (t->scope != sc)
		task_misuse("rln_scope_end called at %p in task " TASK_LABEL
			    " for the scope begun at %p, before the one inside it, begun at %p",
			    here, TASK_LABEL_ARGS(t), sc->begun, t->scope->begun);
	t->scope = sc->outer;
	sc->task = NULL;
	return sc->caught_why;
}

int rln_scope_end(rln_scope *s)
{
	return end(scope_of(s), HERE);
}

void rln_scope_cleanup_(rln_scope *s)
{
	if (scope_of(s)->task)
		end(scope_of(s), HERE);
}

/* The task a scope belongs to; it must be this worker's. */
static struct task *live_task(struct scope *sc, const char *call, const void *here)
{
	if (!sc->task)
		task_misuse("%s called at %p for a scope that has ended", call, here);
	if (sc->task->sched != sched_current())
		task_misuse("%s called at %p for a scope of another worker", call, here);
	return sc->task;
}

void rln_scope_extend(rln_scope *s, rln_ns timeout)
{
	struct scope *sc = scope_of(s);
	struct task *t = live_task(sc, "rln_scope_extend", HERE);

	if (sc->shield && timeout == INT64_MAX)
		task_misuse("rln_scope_extend called at %p with RLN_FOREVER for a shield: its "
			    "grace must end",
			    HERE);
	sc->deadline_ns = deadline_after(timeout);
	task_recheck(t);
}

void rln_scope_cancel(rln_scope *s)
{
	struct scope *sc = scope_of(s);
	struct task *t = live_task(sc, "rln_scope_cancel", HERE);

	if (sc->cancelled)
		return;
	sc->cancelled = true;
	t->sched->stats.cancels++;
	task_recheck(t);
}

bool rln_cancelled(void)
{
	struct task *t = task_running();
	struct scope *blame;
	return t && task_peek_reason(t, &blame) != 0;
}
