/*
 * Between the files of task/: nothing here is for other layers.
 */
#ifndef RINGLINE_TASK_INTERNAL_H
#define RINGLINE_TASK_INTERNAL_H

#include "task/task.h"

#define TASK_CHUNK 64  /* task records allocated at a time */
#define QUICK_CALLS 64 /* calls that did not wait, between two looks at the clock */

/* ---- sched.c */
/* The only writer of task.state; asserts that the edge is legal. */
void task_set_state(struct task *t, enum task_state to);
/* PARKED -> READY. */
void task_wake(struct task *t);
/* The running task waits until task_wake(). */
void task_park(struct task *t, enum task_wait how, const char *call);
/* The running task goes to the end of the ready queue; no point of cancellation. */
void task_yield(struct task *t);
/* The running task has ended, and never comes back. */
_Noreturn void task_leave(struct task *t);
/* t has used up its time slice: others first. */
void sched_slice_over(struct sched *s, struct task *t, int64_t now_ns);
/* First code on a new stack, before any other. */
void task_arrived(struct task *t);

/* ---- idle.c */
/* A stack was put back, or a task parks: something may become idle. */
static inline void sched_idle_arm(struct sched *s)
{
	if (s->cfg.stack_trim_idle_ns && !timer_armed(&s->idle))
		timer_arm(&s->loop->wheel, &s->idle, s->loop->now_ns + s->cfg.stack_trim_idle_ns);
}
void idle_fire(struct timer *timer);

/* ---- wait.c */
/* A parked task's deadlines or scopes changed: end its wait if it must, else arm its timer anew. */
void task_recheck(struct task *t);
void task_timer_fire(struct timer *timer);
void kop_cancel_done(struct op_cancel *c);
/* Park without a node until wake_ns. 0, or the reason of a cancellation. */
int wait_until(int64_t wake_ns, const char *call);

/* wait_enter() for a call that goes on with the task: *t is set when it returns 0. */
static inline int wait_enter_task(const char *call, struct task **t)
{
	struct sched *s = sched_current();

	*t = s ? s->running : NULL;
	if (*t && !(*t)->scope && !(*t)->base && !(*t)->cancelled)
		return 0;
	return wait_enter(call);
}

/* ---- scope.c */
/* The nearest deadline of t's unshielded scopes. */
int64_t task_deadline(const struct task *t);
/* task_cancel_reason() without a call failing; *blame: the scope it comes from, NULL: the task. */
int task_peek_reason(const struct task *t, struct scope **blame);
void scope_blame(struct scope *blame, int why);
/* A point in time and a duration that is not negative; INT64_MAX is never. */
int64_t time_after(int64_t ns, int64_t dur);
/* t is about to be suspended: start the clocks of its fresh scopes. */
void scope_start_clocks(struct task *t);
/* The nearest scope around sc that is no group; it may be another task's. */
struct scope *scope_around(const struct scope *sc);
/* Push and pop, with the discipline checked: call is what the user called. */
void scope_push(struct scope *sc, struct task *t);
void scope_pop(struct scope *sc, const char *call, const char *file, int line);
/* The running task; aborts when there is none. */
struct task *scope_task(const char *call, const char *file, int line);

/* ---- group.c */
void group_init(struct group *g, struct task *owner);
/* Cancel every child, and what these wait for. */
void group_cancel(struct group *g);
/* Cancel what runs and wait for all; cannot be cancelled. */
void group_join_all(struct group *g, const char *call);
/* Put the new child t into the group it was made for. */
void group_adopt(struct group *g, struct task *t);
/* t has ended: tell its group. */
void group_child_ended(struct task *t);
/* t's record is no longer the group's. */
void group_release(struct task *t);
/* fn for every task below t that the scopes of t inside limit (NULL: all) count for. */
void tree_visit(struct task *t, const struct scope *limit, void (*fn)(struct task *t));
/* Children of t's that have not ended. */
unsigned task_children(const struct task *t);

/* ---- keys.c */
/* fn has returned: destroy the task-local values that are left. */
void keys_end(struct task *t);

/* ---- task.c */
void task_reap(struct task *t); /* in the loop, once the switch away from a dead task is done */
void task_drop(struct task *t, unsigned hold);
/* The two halves of a join: 0, or why there is nothing to wait for; and reaping what has ended. */
int task_join_begin(rln_task h, struct task **out);
void task_join_end(struct task *t, int *result);
static inline bool task_has_ended(const struct task *t)
{
	return !(t->holds & HOLD_LIFE);
}
/* "NAME (spawned FILE:LINE)" */
#define TASK_LABEL "%s (spawned %s:%d)"
#define TASK_LABEL_ARGS(t) (t)->name ? (t)->name : "without a name", (t)->file, (t)->line
/* Cancel t alone, without what is below it. */
void task_cancel_one(struct task *t);
/* Options of users to the fields of a spec. 0, -E2BIG, -EINVAL. */
int task_read_opts(struct task_spec *spec, const rln_task_opts *o, size_t size);
/* Misuse that cannot be reported by an error: one line on stderr, abort(). */
_Noreturn void task_misuse(const char *fmt, ...) __attribute__((format(printf, 1, 2), cold));

/* ---- signal.c */
void sched_signals_end(struct sched *s); /* no task is left, and the inbox is closed */

/* ---- fault.c */
void fault_thread_enter(struct sched *s);
void fault_thread_leave(struct sched *s);
/* sp is where task t has got to: aborts with a report if that is not on its stack. */
_Noreturn void fault_off_stack(const struct task *t, const void *sp);

#endif
