/*
 * Stackful tasks of one worker, their scheduler and their scopes.
 *
 *   NEW --task_create--> READY --switched to--> RUNNING --park--> PARKED --task_wake--> READY
 *                          ^-----task_yield-------/ \--fn returned--> DEAD (record kept until
 *                                                     joined, and until its cancel op is idle)
 *
 * READY: in sched.ready. PARKED: in sched.parked, or sched.trimmed once its idle pages were given
 * back. DEAD: in sched.dead until the loop has taken its stack. Setter: task_set_state().
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
	struct waiter *next; /* of the same wait: the first wake ends them all */
	void *slot;	     /* where the waker puts what it hands over, or what it takes */
	int res;
	bool woken;
};

/*
 * What user code sees as rln_scope. Stack discipline per task; innermost first. A group stands in
 * the same stack, as a mark that has no effect on its own task: the scopes outside it are those its
 * children inherit.
 */
struct scope {
	struct scope *outer;
	struct task *task;   /* NULL: it has ended */
	int64_t deadline_ns; /* INT64_MAX: none, or not known yet */
	int64_t timeout_ns;  /* fresh: the clock starts at the task's next suspension */
	const char *file;    /* where it began: shown when scopes end in the wrong order */
	int line;
	bool shield, cancelled, fresh, group;
	int caught_why; /* this very scope made a call fail: the reason it gave */
};

/* What a group waits for, see group.c. */
enum group_mode { GROUP_OPEN, GROUP_WAIT, GROUP_END };

/* What user code sees as rln_group; and the children of rln_spawn(), one in each task's frame. */
struct group {
	struct scope mark;
	struct list running, done; /* children, by task.sibling; done: in the order they ended */
	struct list waiter;	   /* the owner, at most one node */
	unsigned running_count, spawned;
	unsigned lost; /* children that could not be made and were not told yet; of the first: */
	int lost_index, lost_result;
	void *lost_arg;
	int failure;  /* GROUP_WAIT: the first negative result */
	uint8_t mode; /* enum group_mode */
	bool cancelled;
};

/* Why a task's record must stay. It is free for reuse when none is left. */
enum {
	HOLD_LIFE = 1,	 /* it has not ended, or the loop has not taken its stack yet */
	HOLD_PARENT = 2, /* a child that was not joined */
	HOLD_JOINER =
		4,	/* somebody waits in rln_join(), or was woken and has not read the result */
	HOLD_CANCEL = 8 /* its cancel op is out */
};

struct task {
	struct list node; /* in the list of its state, see above; sched.free when unused */
	struct list all;  /* sched.tasks */
	void *sp;	  /* saved stack pointer while not running */
	struct stack *stack;
	struct sched *sched;
	uint8_t state, wait; /* enum task_state, enum task_wait; set by task_set_state() */
	bool cancelled;	     /* the task's root scope was cancelled */
	bool detached;	     /* rln_go: reaped when it ends; else kept until joined by its parent */
	bool callback;	     /* not a task: the worker's callback context (waits give -EDEADLK) */
	uint32_t generation;
	uint32_t slot;
	struct scope *scope;   /* innermost */
	struct scope *base;    /* the nearest scope of those it inherits; never a group */
	struct timer timer;    /* armed only while parked: wake_ns, or the nearest deadline */
	struct waiter *waiter; /* the W wait: the first of its nodes, for its end */
	bool uncancellable;    /* this wait ends only by being woken */
	bool wait_trial;       /* wait_try(): blame nobody yet */
	bool ending;	       /* fn has returned, children are being joined */
	uint8_t holds;	       /* HOLD_* */
	int wait_why;	       /* what ended the wait: 0, or the reason of a cancellation */
	struct scope *blame;   /* the scope it came from; NULL: the task was cancelled */
	int64_t wake_ns;       /* a sleep's own end; INT64_MAX: none */
	struct group *group;   /* it is a child of, while HOLD_PARENT */
	struct group *kids;    /* children of rln_spawn(); NULL before it runs and after its end */
	struct list sibling, joiner; /* joiner: at most one */
	int index;		     /* in its group */
	bool fresh;		     /* a scope's clock has not been started */
	uint16_t keys_set;	     /* which of keys[] are */
	void **keys;		     /* task-local storage, in its first frame */
	unsigned peak_bytes; /* how deep its stack had been when idle pages were given back */
	int (*fn)(void *);
	void *arg;
	int result;
	const char *name, *file; /* spawn site */
	int line;
	int64_t parked_ns;
	const char *waits_for; /* the public call it waits in */
	struct {
		struct op_io *io; /* in the frame that waits for it; NULL: none */
		struct op_cancel cancel;
		int why; /* reason of the first cancel request, 0: none */
		bool done;
		bool cancel_due; /* why is set, but the cancel op of an earlier op is still out */
		int res;
	} k;
	void *conn;		       /* io/: the connection whose on_conn task this is, or NULL */
	void (*ended)(struct task *t); /* told when fn has returned, from the loop; may be NULL */
	void *ended_ctx;
	unsigned quick_calls; /* RLN_WAITS calls since the clock was last looked at (R7) */
};

struct sched_config {
	size_t stack_bytes, guard_bytes;
	unsigned max_tasks, stacks_prewarm, stacks_keep;
	int64_t stack_trim_idle_ns; /* 0: never */
	int64_t slice_ns;	    /* 100 us; how long one task may run on without waiting (R7) */
	int64_t run_ns;		    /* how long LOOP_RUN may take before the turn goes on; 500 us */
}; /* zero: the default, but for the counts of stacks and trim_idle */

struct sched_stats {
	uint64_t misuse; /* calls answered -EDEADLK in a callback */
	uint64_t tasks, tasks_peak, switches, spawns, cancels, late_cancels;
	uint64_t stack_high_water, stacks_cached, slices_ended;
};

struct sched {
	struct loop *loop;
	unsigned worker_index;	   /* goes into the handles; set by rt/ after sched_open() */
	struct sys_pool *pool;	   /* helper threads of the runtime; set by rt/ */
	struct sys_pool *spawners; /* those that start processes; the same */
	struct list ready, tasks, dead;
	struct list parked, trimmed; /* longest parked first */
	struct list signals;	     /* what this worker listens for (signal.c) */
	struct list drain_waiters;   /* arms of rln_on_draining() (fd.c) */
	bool draining;
	struct list free;     /* unused task records */
	struct task *running; /* NULL in the loop */
	void *loop_sp;
	struct stack_pool stacks;
	struct sched_config cfg;
	struct sched_stats stats;
	/* task records: slots with generations, chunked, reused LIFO */
	struct task **chunk;
	unsigned chunks, chunks_max;
	unsigned run_left;  /* switches until this LOOP_RUN looks at the clock again, or ends */
	unsigned run_looks; /* looks at the clock left */
	int64_t run_end_ns;
	int64_t slice_end_ns; /* 0: the running task's slice has not begun to count */
	struct timer idle;    /* trims what is long idle; armed only while something may be */
	void *altstack;	      /* of the thread that runs this scheduler */
	bool cancelled;	  /* sched_cancel_all(): what is created from now on is born cancelled */
	int altstack_tid; /* that thread; 0: not run yet */
	/* sanitizers */
	void *tsan_loop_fiber;
	void *asan_loop_fake;
	const void *asan_loop_bottom;
	size_t asan_loop_bytes;
	bool from_loop;
};

/* Registers itself as the loop's LOOP_RUN stage, and as loop.busy if that is empty. 0 or -errno. */
int sched_open(struct sched *s, struct loop *l, const struct sched_config *cfg);
/* Asserts that no task is left. Before loop_close(), on the thread that ran the loop. */
void sched_close(struct sched *s);
/* LOOP_RUN: run ready tasks, FIFO, until none is left or run_ns is used up. */
void sched_run(struct sched *s);
bool sched_busy(const struct sched *s); /* a task is ready, or a dead one is to be reaped */

/* max_tasks: nothing but the end of one lets another begin, and that ends in a turn. */
static inline bool sched_full(const struct sched *s)
{
	return s->stats.tasks >= s->cfg.max_tasks;
}

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
	struct group *group; /* NULL: detached */
};
/* Create a task that starts in a later turn. 0, -EAGAIN (max_tasks, or out of mappings), -ENOMEM.
 */
int task_create(struct sched *s, const struct task_spec *spec, struct task **out);
/* Cancel every scope of the task: level-triggered, stays until it ends. */
void task_cancel(struct task *t);
/* A child of its, in whatever group, has not ended. */
bool task_has_children(const struct task *t);
/* The drain begins: whoever waits for that is woken. */
void sched_drain_begin(struct sched *s);
/* Every task of the worker that has not ended (drain). */
void sched_cancel_all(struct sched *s);

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
/* The same, but a scope whose end ended the wait is told only by wait_failed(). */
int wait_try(struct list *queue, const char *call);
/* The wait_try() that gave why makes its call fail after all; no other wait since. Returns why. */
int wait_failed(int why);
/* The same as wait_on(), with a place for what the waker hands over or takes. */
int wait_with(struct list *queue, void *slot, const char *call);
void waiter_init(struct waiter *w, struct task *t, void *slot);
/*
 * Several nodes at once, or until wake_ns. The caller has linked the nodes from first on, chained
 * by next. The first wake unlinks them all; so does a failure. 0 with the woken one in *woken
 * (NULL: the time has come), or -ECANCELED / -ETIME.
 */
int wait_any(struct waiter *first, int64_t wake_ns, const char *call, struct waiter **woken);
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
 * K: run the current task's one blocking op, which lies in the caller's frame: nothing leaves it
 * before the op's last CQE. task_kop() and then io->a are filled in; returns its final result;
 * -ECANCELED / -ETIME only when it had no effect. Never returns before the last CQE. The caller has
 * passed wait_enter().
 */
void task_kop(struct op_io *io, enum op_kind kind); /* make it ready to be filled in */
int task_kop_run(struct op_io *io, const char *call);
/* A wait that cancellation must not end (group_end, join of cancelled children). */
int wait_uncancellable(struct list *queue, const char *call);
/* An RLN_WAITS call completed without waiting: charge the slice, yield if it is used up (R7). */
void wait_done_quickly(void);

struct task *task_running(void); /* NULL in callback context or off-worker */
/* Why t's next wait fails: 0, -ECANCELED, -ETIME. Tells the scope that it made a call fail. */
int task_cancel_reason(struct task *t);
void sched_dump(struct sched *s, int fd);
void sched_check(const struct sched *s);

#endif
