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
	if (*t && !(*t)->scope && !(*t)->cancelled)
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
/* Misuse that cannot be reported by an error: one line on stderr, abort(). */
_Noreturn void task_misuse(const char *fmt, ...) __attribute__((format(printf, 1, 2), cold));

/* ---- fault.c */
void fault_thread_enter(struct sched *s);
void fault_thread_leave(struct sched *s);
/* sp is where task t has got to: aborts with a report if that is not on its stack. */
_Noreturn void fault_off_stack(const struct task *t, const void *sp);

#endif
