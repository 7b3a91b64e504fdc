/*
 * Tasks, and the scopes that bound and cancel what they wait for. A task stays on its worker; only
 * an RLN_WAITS function lets another one run.
 */
#ifndef RINGLINE_TASK_H
#define RINGLINE_TASK_H

#include <ringline/base.h>
#include <ringline/time.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * A scope covers every RLN_WAITS call of this task from its begin to its end. Once it has expired
 * or was cancelled each of them fails, at its entry or while waiting, until the scope ends: -ETIME
 * for a deadline, -ECANCELED for a cancellation (which wins if both hold). Scopes nest, inner ones
 * end first. One that is ended twice, in the wrong order, or not at all when its task returns,
 * aborts with a message; so does every function of scopes outside a task.
 */
typedef struct rln_scope {
	uint64_t priv_[16];
} rln_scope;

/*
 * Begin a scope with a deadline, timeout nanoseconds from now. RLN_FOREVER: none, only
 * rln_scope_cancel() ends its waits. Zero or less: expired from the start.
 *
 * Returns nothing.
 * Owner:   borrows s until rln_scope_end(s).
 * Thread:  a task.      Waits: no.
 */
RLN_API void rln_scope_begin_at(rln_scope *s, rln_ns timeout, const char *file, int line);

/*
 * Begin a scope that holds off cancellation and deadlines of the scopes around it, for cleanup
 * that must wait. It still ends its own waits with -ETIME after grace nanoseconds: the bound is
 * mandatory, so a shield can delay a cancellation but not defeat it.
 *
 * Returns nothing. Aborts with a message when grace is RLN_FOREVER.
 * Owner:   borrows s until rln_scope_end(s).
 * Thread:  a task.      Waits: no.
 */
RLN_API void rln_scope_shield_at(rln_scope *s, rln_ns grace, const char *file, int line);

/*
 * End the innermost scope.
 *
 * Returns 0, or -ETIME or -ECANCELED when this very scope made a call fail.
 * Owner:   gives s back to the caller.
 * Thread:  the task that began s.      Waits: no.
 */
RLN_API int rln_scope_end_at(rln_scope *s, const char *file, int line);

/*
 * rln_scope_begin(s, timeout), rln_scope_shield(s, grace), rln_scope_end(s): the above, with the
 * place of the call, which messages and dumps show.
 */
#define rln_scope_begin(...) rln_scope_begin_at(__VA_ARGS__, __FILE__, __LINE__)
#define rln_scope_shield(...) rln_scope_shield_at(__VA_ARGS__, __FILE__, __LINE__)
#define rln_scope_end(...) rln_scope_end_at(__VA_ARGS__, __FILE__, __LINE__)

/*
 * Start the clock of a scope or shield anew: it expires timeout nanoseconds from now. One that has
 * expired is good again; one that was cancelled stays cancelled.
 *
 * Returns nothing.
 * Owner:   s is borrowed already.
 * Thread:  a task of the worker s belongs to.      Waits: no.
 */
RLN_API void rln_scope_extend(rln_scope *s, rln_ns timeout);

/*
 * Cancel a scope: the wait its task is in, and each one to come inside it, gives -ECANCELED. A
 * second cancel changes nothing.
 *
 * Returns nothing.
 * Owner:   s is borrowed already.
 * Thread:  a task or callback of the worker s belongs to.      Waits: no.
 */
RLN_API void rln_scope_cancel(rln_scope *s);

/*
 * The end of a block with RLN_DEADLINE or RLN_SHIELD: rln_scope_end() unless that was called.
 *
 * Returns nothing.
 * Owner:   gives s back to the caller.
 * Thread:  the task that began s.      Waits: no.
 */
RLN_API void rln_scope_cleanup_(rln_scope *s);

/* A deadline, or a shield, from here to the end of the block, however it is left. */
#define RLN_DEADLINE(name, ns)                        \
	rln_scope name RLN_CLEAN(rln_scope_cleanup_); \
	rln_scope_begin(&name, (ns))
#define RLN_SHIELD(name, ns)                          \
	rln_scope name RLN_CLEAN(rln_scope_cleanup_); \
	rln_scope_shield(&name, (ns))
/* One call under a deadline; its value is the call's. */
#define RLN_WITHIN(ns, ...) RLN_WITHIN_(__COUNTER__, ns, (__VA_ARGS__))
#define RLN_WITHIN_(id, ns, call) RLN_WITHIN_ID_(id, ns, call)
#define RLN_WITHIN_ID_(id, ns, call)                  \
	__extension__({                               \
		rln_scope rln_s##id##_;               \
		rln_scope_begin(&rln_s##id##_, (ns)); \
		__typeof__(call) rln_r##id##_ = call; \
		(void)rln_scope_end(&rln_s##id##_);   \
		rln_r##id##_;                         \
	})

/*
 * For loops that compute: lets others run when the time slice is used up, and reports cancellation.
 *
 * Returns 0, or the wait errors.
 * Owner:   nothing is passed.
 * Thread:  a task of any worker.      Waits: yes (a cancellation point).
 */
RLN_API int rln_checkpoint(void) RLN_WAITS;

/*
 * Let every other task that is ready run once.
 *
 * Returns 0, or the wait errors.
 * Owner:   nothing is passed.
 * Thread:  a task of any worker.      Waits: yes (a cancellation point).
 */
RLN_API int rln_yield(void) RLN_WAITS;

/*
 * Would the next RLN_WAITS call fail because of a cancellation or a deadline?
 *
 * Returns true or false; false outside a task.
 * Owner:   nothing is passed.
 * Thread:  any.      Waits: no.
 */
RLN_API bool rln_cancelled(void);

/* Zero, NULL: the default. */
typedef struct rln_task_opts {
	const char *name;  /* shown in dumps; must outlive the task. The spawn site alone */
	size_t stack_size; /* rln_config.stack_size; rounded up to 64 K, 128 K, 512 K, 2 M, 8 M */
	/* copy_size bytes are copied to the task's own stack, and fn gets a pointer to them instead
	   of arg; at most a quarter of the stack. */
	const void *copy;
	size_t copy_size;
} rln_task_opts;

/*
 * Start a detached task on this worker: nobody joins it, and a drain cancels it when the last
 * connection is gone. It begins in a later turn, never inside the call.
 *
 * Returns 0, or -EINVAL (fn NULL, options), -E2BIG (newer options), -EAGAIN (max_tasks, or no more
 * mappings for stacks; logged), -ENOMEM, -EPERM.
 * Owner:   borrows o (NULL: all defaults); arg stays the program's. file is borrowed for ever.
 * Thread:  any worker, tasks and callbacks.      Waits: no.
 */
RLN_API int rln_go_at(int (*fn)(void *arg), void *arg, const rln_task_opts *o, size_t opts_size,
		      const char *file, int line);

/*
 * Start a detached task on a worker of rt. copy is copied before the call returns; arg must not
 * point into the stack of the caller.
 *
 * Returns 0, or the errors of rln_go_at() known at once, and -EINVAL (no such worker), -ESHUTDOWN
 * (it is gone), -EPERM (rt is NULL off-worker, or a forked child). A task that then cannot be made
 * there is logged.
 * Owner:   borrows o (NULL: all defaults); arg stays the program's. file is borrowed for ever.
 * Thread:  any, not in a signal handler; rt NULL is the runtime of this worker.      Waits: no.
 */
RLN_API int rln_go_on_at(rln_runtime *rt, unsigned worker, int (*fn)(void *arg), void *arg,
			 const rln_task_opts *o, size_t opts_size, const char *file, int line);

/*
 * Start a child of this task. It begins in a later turn, so arg may be completed until the caller
 * next waits. Children that run when their parent returns are cancelled and joined.
 *
 * Returns 0, or -EDEADLK (not in a task) and the errors of rln_go_at(). *out is written on success
 * only.
 * Owner:   borrows o (NULL: all defaults); arg stays the program's, until the child has ended.
 *          gives *out, ended by rln_join() or the parent's return.
 * Thread:  a task of any worker.      Waits: no.
 */
RLN_API RLN_MUST int rln_spawn_at(int (*fn)(void *arg), void *arg, const rln_task_opts *o,
				  rln_task *out, size_t opts_size, const char *file, int line);

/*
 * rln_go(fn, arg, opts), rln_go_on(rt, worker, fn, arg, opts), rln_spawn(fn, arg, opts, out): the
 * above, with the place of the call, which dumps show. Variadic, so that the commas of a compound
 * literal pass through.
 */
#define rln_go(...) rln_go_at(__VA_ARGS__, sizeof(rln_task_opts), __FILE__, __LINE__)
#define rln_go_on(...) rln_go_on_at(__VA_ARGS__, sizeof(rln_task_opts), __FILE__, __LINE__)
#define rln_spawn(...) rln_spawn_at(__VA_ARGS__, sizeof(rln_task_opts), __FILE__, __LINE__)

/*
 * Wait until a child has ended, and reap it. A child that was cancelled is joined like any other.
 *
 * Returns 0 with what its function returned in *result (-ECANCELED when it never ran), or -EDEADLK
 * (oneself), -EBUSY (another task joins it), -ESRCH (reaped already), -EXDEV, the wait errors: the
 * child goes on.
 * Owner:   fills *result (may be NULL); on success t is stale.
 * Thread:  the worker that owns t, in a task.      Waits: yes (a cancellation point).
 */
RLN_API int rln_join(rln_task t, int *result) RLN_WAITS;

/*
 * Ask a task to end: each of its waits, now and from now on, gives -ECANCELED. Its own shields hold
 * that off as long as their grace.
 *
 * Returns 0, also for one that was asked before, or -ESRCH (it has ended), -EXDEV, -EPERM.
 * Owner:   nothing is passed.
 * Thread:  the worker that owns t; from elsewhere rln_post() a function that does it.
 * Waits:   no.
 */
RLN_API int rln_cancel(rln_task t);

/*
 * The calling task.
 *
 * Returns its handle, or none outside a task.
 * Owner:   nothing is passed.
 * Thread:  any.      Waits: no.
 */
RLN_API rln_task rln_self(void);

/*
 * A group: children that end before the block that holds it does, so that their arguments may stand
 * in its frame. They inherit the scopes around the group: a deadline or a cancellation there is one
 * of theirs. Groups and scopes of a task nest, and end in the order opposite to their beginning; a
 * violation aborts with a message that names both places.
 */
typedef struct rln_group {
	uint64_t priv_[22];
} rln_group;

/* A child that has ended. */
typedef struct rln_child {
	void *arg;  /* as given when it was spawned */
	int index;  /* 0 for the first one spawned */
	int result; /* of its function; -ECANCELED when it never ran; why it could not be made */
} rln_child;

/*
 * Begin a group without children.
 *
 * Returns nothing. Aborts with a message outside a task.
 * Owner:   borrows g until rln_group_end(g). file is borrowed for ever.
 * Thread:  a task.      Waits: no.
 */
RLN_API void rln_group_begin_at(rln_group *g, const char *file, int line);

/*
 * Start a child. It begins in a later turn, so arg may be completed until the caller next waits;
 * arg may point into the frame that holds g. In a group that was cancelled it is born cancelled. A
 * child that cannot be made is a failed child as well, which rln_group_next() and rln_group_wait()
 * tell of; of several in a row that nobody was told of, all but the first come with arg NULL and
 * index -1.
 *
 * Returns 0, or the errors of rln_go_at(). Aborts with a message when g has ended.
 * Owner:   borrows o (NULL: all defaults); arg stays the program's, until the child has ended.
 * Thread:  the worker g belongs to, tasks and callbacks.      Waits: no.
 */
RLN_API int rln_group_spawn_at(rln_group *g, int (*fn)(void *arg), void *arg,
			       const rln_task_opts *o, size_t opts_size, const char *file,
			       int line);

/*
 * Wait for the next child to end.
 *
 * Returns 1 with the child in *d, 0 when none is left, or -EINVAL (d NULL), the wait errors: the
 * children go on. Aborts with a message in a task that did not begin g.
 * Owner:   fills *d.
 * Thread:  the task that began g.      Waits: yes (a cancellation point).
 */
RLN_API int rln_group_next(rln_group *g, rln_child *d) RLN_WAITS;

/*
 * Wait until every child has ended. The first negative result cancels the others, and so does a
 * cancellation or deadline of the caller, also one that was pending before: on every return but
 * -EDEADLK and -EPERM no child is left.
 *
 * Returns 0, the first negative result of a child that was not told of before, or the wait errors.
 * Aborts with a message in a task that did not begin g.
 * Owner:   nothing is passed.
 * Thread:  the task that began g.
 * Waits:   yes (a cancellation point; joining the cancelled children cannot be cancelled).
 */
RLN_API int rln_group_wait(rln_group *g) RLN_WAITS;

/*
 * Cancel every child, those to come included. Does not wait for them.
 *
 * Returns nothing. Aborts with a message when g has ended.
 * Owner:   nothing is passed.
 * Thread:  the worker g belongs to, tasks and callbacks.      Waits: no.
 */
RLN_API void rln_group_cancel(rln_group *g);

/*
 * Cancel the children that run, wait until all have ended, and end the group.
 *
 * Returns 0, or the first negative result of a child that had ended before and was told of nowhere.
 * Aborts with a message when g is not the innermost scope or group of this task.
 * Owner:   gives g back to the caller.
 * Thread:  the task that began g.
 * Waits:   yes, for children; no cancellation point, nothing can cut it short.
 */
RLN_API int rln_group_end_at(rln_group *g, const char *file, int line) RLN_WAITS;

/*
 * The end of a block with RLN_GROUP: rln_group_end() unless that was called.
 *
 * Returns nothing.
 * Owner:   gives g back to the caller.
 * Thread:  the task that began g.      Waits: yes, as rln_group_end().
 */
RLN_API void rln_group_cleanup_(rln_group *g) RLN_WAITS;

/*
 * rln_group_begin(g), rln_group_spawn(g, fn, arg), rln_group_spawn_opts(g, fn, arg, opts),
 * rln_group_end(g): the above, with the place of the call, which messages and dumps show.
 */
#define rln_group_begin(...) rln_group_begin_at(__VA_ARGS__, __FILE__, __LINE__)
#define rln_group_spawn(...) \
	rln_group_spawn_at(__VA_ARGS__, NULL, sizeof(rln_task_opts), __FILE__, __LINE__)
#define rln_group_spawn_opts(...) \
	rln_group_spawn_at(__VA_ARGS__, sizeof(rln_task_opts), __FILE__, __LINE__)
#define rln_group_end(...) rln_group_end_at(__VA_ARGS__, __FILE__, __LINE__)
/* A group from here to the end of the block, however it is left; the closing brace waits. */
#define RLN_GROUP(name)                               \
	rln_group name RLN_CLEAN(rln_group_cleanup_); \
	rln_group_begin(&name)

#ifdef __cplusplus
}
#endif
#endif
