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
			return ns;
	}
	for (const struct scope *sc = t->base; sc; sc = scope_around(sc)) {
		if (sc->deadline_ns < ns)
			ns = sc->deadline_ns;
		if (sc->shield)
			return ns;
	}
	return ns;
}

struct scope *scope_around(const struct scope *sc)
{
	struct scope *out = sc->outer;

	while (out && out->group)
		out = out->outer;
	return out ? out : sc->task->base;
}

static inline void look(struct scope *sc, int64_t now_ns, int *why, struct scope **blame)
{
	if (sc->cancelled) {
		*why = -ECANCELED;
		*blame = sc;
	} else if (*why != -ECANCELED && sc->deadline_ns <= now_ns) {
		*why = -ETIME;
		*blame = sc;
	}
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
		look(sc, now_ns, &why, blame);
		if (sc->shield)
			return why;
	}
	if (t->cancelled) {
		why = -ECANCELED;
		*blame = NULL;
	}
	/* what it inherits: a cancellation there was pushed down to t as well */
	for (struct scope *sc = t->base; sc; sc = scope_around(sc)) {
		look(sc, now_ns, &why, blame);
		if (sc->shield)
			return why;
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

	if (!t->scope && !t->base)
		return t->cancelled ? -ECANCELED : 0;
	why = task_peek_reason(t, &blame);
	if (why)
		scope_blame(blame, why);
	return why;
}

struct task *scope_task(const char *call, const char *file, int line)
{
	struct task *t = task_running();
	if (!t)
		task_misuse("%s called at %s:%d, outside a task", call, file, line);
	return t;
}

/*
 * The clock of a scope starts when its task is first suspended in it: until then the loop's time
 * stands still, so it could not expire, and a scope whose calls need not wait never reads the
 * clock. Never early, and late at most by what the task computed within that turn.
 */
static void set_timeout(struct scope *sc, int64_t ns)
{
	sc->deadline_ns = ns <= 0 ? INT64_MIN : INT64_MAX;
	if (ns <= 0 || ns == INT64_MAX)
		return;
	sc->timeout_ns = ns;
	sc->fresh = sc->task->fresh = true;
}

void scope_start_clocks(struct task *t)
{
	int64_t now_ns = sys_now();

	t->fresh = false;
	for (struct scope *sc = t->scope; sc; sc = sc->outer) {
		if (!sc->fresh)
			continue;
		sc->fresh = false;
		sc->deadline_ns = time_after(now_ns, sc->timeout_ns);
	}
}

void scope_push(struct scope *sc, struct task *t)
{
	sc->outer = t->scope;
	sc->task = t;
	t->scope = sc;
}

static const char *noun(const struct scope *sc)
{
	return sc->group ? "group" : sc->shield ? "shield" : "scope";
}

/* INV-89 */
void scope_pop(struct scope *sc, const char *call, const char *file, int line)
{
	struct task *t = scope_task(call, file, line);

	if (RLN_UNLIKELY(sc->task != t))
		task_misuse("%s called at %s:%d in task " TASK_LABEL
			    " for a %s that has ended, or is another task's",
			    call, file, line, TASK_LABEL_ARGS(t), noun(sc));
	if (RLN_UNLIKELY(t->scope != sc))
		task_misuse("%s called at %s:%d in task " TASK_LABEL
			    " for the %s begun at %s:%d, before the %s inside it, begun at %s:%d",
			    call, file, line, TASK_LABEL_ARGS(t), noun(sc), sc->file, sc->line,
			    noun(t->scope), t->scope->file, t->scope->line);
	t->scope = sc->outer;
	sc->task = NULL;
}

static void begin(struct scope *sc, int64_t ns, bool shield, struct task *t, const char *file,
		  int line)
{
	*sc = (struct scope){ .shield = shield, .file = file, .line = line };
	scope_push(sc, t);
	set_timeout(sc, ns);
}

void rln_scope_begin_at(rln_scope *s, rln_ns timeout, const char *file, int line)
{
	struct task *t = scope_task("rln_scope_begin", file, line);
	begin(scope_of(s), timeout, false, t, file, line);
}

void rln_scope_shield_at(rln_scope *s, rln_ns grace, const char *file, int line)
{
	struct task *t = scope_task("rln_scope_shield", file, line);

	if (grace == INT64_MAX)
		task_misuse("rln_scope_shield called at %s:%d with RLN_FOREVER: its grace must end",
			    file, line);
	begin(scope_of(s), grace, true, t, file, line);
}

int rln_scope_end_at(rln_scope *s, const char *file, int line)
{
	struct scope *sc = scope_of(s);

	scope_pop(sc, "rln_scope_end", file, line);
	return sc->caught_why;
}

void rln_scope_cleanup_(rln_scope *s)
{
	struct scope *sc = scope_of(s);

	if (sc->task)
		scope_pop(sc, "the end of the block", sc->file, sc->line);
}

/* The task a scope belongs to; it must be this worker's. */
static struct task *live_task(struct scope *sc, const char *call)
{
	if (!sc->task)
		task_misuse("%s called for the scope begun at %s:%d, which has ended", call,
			    sc->file ? sc->file : "?", sc->line);
	if (sc->task->sched != sched_current())
		task_misuse("%s called for the scope begun at %s:%d, of another worker", call,
			    sc->file, sc->line);
	return sc->task;
}

void rln_scope_extend(rln_scope *s, rln_ns timeout)
{
	struct scope *sc = scope_of(s);
	struct task *t = live_task(sc, "rln_scope_extend");

	if (sc->shield && timeout == INT64_MAX)
		task_misuse("rln_scope_extend called with RLN_FOREVER for the shield begun at "
			    "%s:%d: its grace must end",
			    sc->file, sc->line);
	sc->fresh = false;
	sc->deadline_ns = timeout <= 0 ? INT64_MIN : time_after(sys_now(), timeout);
	task_recheck(t);
	tree_visit(t, sc, task_recheck);
}

void rln_scope_cancel(rln_scope *s)
{
	struct scope *sc = scope_of(s);
	struct task *t = live_task(sc, "rln_scope_cancel");

	if (sc->cancelled)
		return;
	sc->cancelled = true;
	t->sched->stats.cancels++;
	task_recheck(t);
	tree_visit(t, sc, task_cancel_one);
}

bool rln_cancelled(void)
{
	struct task *t = task_running();
	struct scope *blame;
	return t && task_peek_reason(t, &blame) != 0;
}
