/*
 * Stackful tasks of one worker, their scheduler and their scopes.
 *
 *   NEW --started--> READY <--task_wake-- PARKED
 *                      |  \--switched to--> RUNNING --park--> PARKED
 *                      |                        \--fn returned--> DEAD (record kept until joined)
 *
 * A task waits in one of two ways: on state the runtime owns (W: a wait node in somebody's list;
 * cancelling unlinks it) or on one kernel op (K: the task is resumed by the op's own last CQE and
 * by nothing else). Rules and invariants: docs/INVARIANTS.md (tasks).
 */
#ifndef RINGLINE_TASK_TASK_H
#define RINGLINE_TASK_TASK_H

#include "base/ctx.h"
#include "base/list.h"
#include "loop/loop.h"
#include "op/op_io.h"
#include "ringline/task.h"
#include "task/stack.h"

enum task_state { TASK_NEW, TASK_READY, TASK_RUNNING, TASK_PARKED, TASK_DEAD };
enum task_wait { WAIT_NONE, WAIT_W, WAIT_K };

struct task;

/*
 * One wait of one task (W). It lives on the waiting task's stack and is linked in the list of what
 * is waited for. Whoever satisfies it calls waiter_wake(); the effect (dequeue, permit) must have
 * been applied by then (API: success wins over a simultaneous cancel).
 */
struct waiter {
	struct list node;
	struct task *task;
	int res;
	bool woken;
};

/* What user code sees as rln_scope. Stack discipline per task; innermost first. */
struct scope {
	struct scope *outer;
	struct task *task;
	struct timer timer; /* armed only while the task waits */
	int64_t deadline_ns; /* INT64_MAX: none */
	bool shield, cancelled, caught;
	int caught_why;
};

struct task {
	struct list node;	/* ready queue, or sched.dead / free list */
	struct list all;	/* sched.tasks */
	void *sp;		/* saved stack pointer while not running */
	struct stack *stack;
	struct sched *sched;
	uint8_t state, wait;	/* enum task_state, enum task_wait; set by task_set_state() */
	bool cancelled;		/* the task's root scope was cancelled */
	bool detached;		/* rln_go: reaped when it ends; else kept until joined by its parent */
	bool callback;		/* not a task: the worker's callback context (waits give -EDEADLK) */
	uint32_t generation;
	uint32_t slot;
	struct scope *scope;	/* innermost */
	struct waiter *waiter;	/* the W wait, for cancellation and dumps */
	struct task *parent;
	struct list children, sibling;
	struct list joiner;	/* waiter list, at most one */
	int (*fn)(void *);
	void *arg;
	int result;
	const char *name, *file; /* spawn site */
	int line;
	int64_t parked_ns;
	const char *waits_for;	/* the public call it waits in */
	struct {
		struct op_io io;
		struct op_cancel cancel;
		int why;	/* reason of the first cancel request, 0: none */
		bool done;
		int res;
	} k;
	void *conn;		/* io/: the connection whose on_conn task this is, or NULL */
	void (*ended)(struct task *t); /* told when fn has returned, from the loop; may be NULL */
	void *ended_ctx;
	unsigned quick_calls;	/* RLN_WAITS calls since the clock was last looked at (R7) */
};

struct sched_config {
	size_t stack_bytes, guard_bytes;
	unsigned max_tasks, stacks_prewarm, stacks_keep;
	int64_t stack_trim_idle_ns;
	int64_t slice_ns;    /* 100 us; how long one task may run on without waiting (R7) */
	int64_t run_ns;	     /* how long LOOP_RUN may take before the turn goes on; 500 us */
};

struct sched_stats {
	uint64_t tasks, tasks_peak, switches, spawns, cancels, late_cancels;
	uint64_t stack_high_water, stacks_cached, slices_ended;
};

struct sched {
	struct loop *loop;
	struct list ready, tasks, dead;
	struct task *running; /* NULL in the loop */
	void *loop_sp;
	struct stack_pool stacks;
	struct sched_config cfg;
	struct sched_stats stats;
	/* task records: slots with generations, chunked, reused LIFO */
	struct task **chunk;
	unsigned chunks, slots_free_head;
	int64_t slice_end_ns;
	uint64_t tsan_loop_fiber;
	const void *asan_loop_bottom;
	size_t asan_loop_bytes;
};

int sched_open(struct sched *s, struct loop *l, const struct sched_config *cfg);
/* Asserts that no task is left. */
void sched_close(struct sched *s);
/* LOOP_RUN: run ready tasks, FIFO, until none is left or run_ns is used up. */
void sched_run(struct sched *s);
bool sched_busy(const struct sched *s); /* a task is ready, or a dead one is to be reaped */

static inline struct sched *sched_current(void)
{
	struct ctx *c = ctx_current();
	return c ? c->sched : NULL;
}

struct task_spec {
	int (*fn)(void *);
	void *arg;
	const char *name, *file;
	int line;
	size_t stack_bytes;
	const void *copy;
	size_t copy_bytes;
	struct task *parent; /* NULL: detached */
};
/* Create a task that starts in a later turn. 0, -EAGAIN (max_tasks, or out of mappings), -ENOMEM. */
int task_create(struct sched *s, const struct task_spec *spec, struct task **out);
/* Cancel every scope of the task: level-triggered, stays until it ends. */
void task_cancel(struct task *t);

/*
 * Entry check of every RLN_WAITS function: 0, or why it must fail now: -EPERM (not a worker),
 * -EDEADLK (callback context), -ECANCELED, -ETIME (scopes). call is the public name.
 */
int wait_enter(const char *call);
/*
 * W: link a wait node at the end of queue and park until waiter_wake() or cancellation. Returns the
 * res given to waiter_wake(), or -ECANCELED / -ETIME with the node unlinked and nothing consumed.
 * The caller has passed wait_enter().
 */
int wait_on(struct list *queue, const char *call);
/* Several nodes at once (select): the index of the woken one in *index. */
void waiter_init(struct waiter *w);
int wait_any(struct waiter *w, unsigned n, const char *call, unsigned *index);
/* From the loop or another task of this worker: unlink and make its task ready. Once. */
void waiter_wake(struct waiter *w, int res);
/* First waiter in queue, or NULL. */
static inline struct waiter *waiter_first(const struct list *queue)
{
	return list_empty(queue) ? NULL : container_of(queue->next, struct waiter, node);
}
/* Wake all with res. Returns how many. */
unsigned wake_all(struct list *queue, int res);
/*
 * K: run the current task's one blocking op. io->op.cls and io->a are filled in; returns its final
 * result; -ECANCELED / -ETIME only when it had no effect. Never returns before the last CQE.
 */
struct op_io *task_kop(enum op_kind kind); /* the running task's op, ready to be filled in */
int task_kop_run(const char *call);
/* A wait that cancellation must not end (group_end, join of cancelled children). */
int wait_uncancellable(struct list *queue, const char *call);
/* An RLN_WAITS call completed without waiting: charge the slice, yield if it is used up (R7). */
void wait_done_quickly(void);

struct task *task_running(void); /* NULL in callback context or off-worker */
/* Why the running task's next wait would fail: 0, -ECANCELED, -ETIME. Sets scope.caught. */
int task_cancel_reason(struct task *t);
void sched_dump(struct sched *s, int fd);
void sched_check(const struct sched *s);

#endif
