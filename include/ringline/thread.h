/*
 * Between threads: a result that is set once, a signal that is counted once, a bounded channel, and
 * a call into a worker. Everything here that does not wait may be called from any thread, takes no
 * lock, and wakes a worker only if it sleeps; nor is any of it, rln_call() included, a point where
 * pthread_cancel() ends a thread. See rln_post() in runtime.h and rln_go_on() in task.h for the
 * plain "run this over there".
 */
#ifndef RINGLINE_THREAD_H
#define RINGLINE_THREAD_H

#include <ringline/base.h>
#include <ringline/select.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * One result, set once by any thread and read by tasks of one worker. All-zero is valid: not set.
 * It belongs to whoever declares it, and must stay where it is until its value was read, or until
 * the thread that sets it has returned from doing so.
 */
typedef struct rln_oneshot {
	uint64_t priv_[4];
} rln_oneshot;

/*
 * Set the result, and wake the tasks that wait for it. After it was read the setter does not touch
 * o any more: a waiter may free it at once.
 *
 * Returns 0, or -EALREADY (set or abandoned before), -EINVAL (o NULL).
 * Owner:   o is borrowed for the call; v is passed on untouched.
 * Thread:  any, not in a signal handler.      Waits: no.
 */
RLN_API int rln_oneshot_set(rln_oneshot *o, intptr_t v);

/*
 * There will be no result: every wait gives -EPIPE. After rln_oneshot_set() it changes nothing.
 *
 * Returns nothing.
 * Owner:   o is borrowed for the call.
 * Thread:  any, not in a signal handler.      Waits: no.
 */
RLN_API void rln_oneshot_abandon(rln_oneshot *o);

/*
 * Wait for the result. It stays set: each wait after the first returns it again, at once.
 *
 * Returns 0 with the result in *v, or -EPIPE (abandoned), -EXDEV (a task of another worker
 * waited for it before), -ENOMEM, -ESHUTDOWN (this worker has stopped taking messages), the wait
 * errors: then the result is not lost, another wait may follow.
 * Owner:   o is borrowed for the call; fills *v (may be NULL).
 * Thread:  a task of any worker, all of the same one.
 * Waits:   yes (a cancellation point).
 */
RLN_API int rln_oneshot_wait(rln_oneshot *o, intptr_t *v) RLN_WAITS;

/*
 * Ready when the result is there, or abandoned. It stays set.
 *
 * Returns the arm; res is 0 with the result in *v, or an error of rln_oneshot_wait().
 * Owner:   borrows o and v (may be NULL) while the arm is used.
 * Thread:  any; used in a task.      Waits: no.
 */
RLN_API rln_arm rln_on_oneshot(rln_oneshot *o, intptr_t *v);

/*
 * "Something happened": signals that come before they are waited for count as one. It belongs to
 * the worker that initialised it.
 */
typedef struct rln_notify {
	uint64_t priv_[8];
} rln_notify;

/*
 * Bind n to this worker, not signalled.
 *
 * Returns nothing. Aborts with a message on a thread that is no worker.
 * Owner:   borrows n until rln_notify_fini(n); it stays where it is until then.
 * Thread:  a worker: a task, a callback or worker_init.      Waits: no.
 */
RLN_API void rln_notify_init(rln_notify *n);

/*
 * Signal: one waiter, or the next to come, goes on. Not counted beyond one. Once its worker has
 * stopped it does nothing.
 *
 * Returns nothing.
 * Owner:   n is borrowed for the call; not after rln_notify_fini(n) or rln_wait().
 * Thread:  any, also a signal handler.      Waits: no.
 */
RLN_API void rln_notify_signal(rln_notify *n);

/*
 * Wait for a signal, and take it.
 *
 * Returns 0, or the wait errors: then no signal was taken; -EXDEV on another worker.
 * Owner:   n is borrowed for the call.
 * Thread:  a task of n's worker; several are served in order.      Waits: yes (a cancellation
 * point).
 */
RLN_API int rln_notify_wait(rln_notify *n) RLN_WAITS;

/*
 * Ready when there is a signal; its effect is that the signal is taken.
 *
 * Returns the arm; res is 0, or -EXDEV.
 * Owner:   borrows n while the arm is used.
 * Thread:  any; used in a task of n's worker.      Waits: no.
 */
RLN_API rln_arm rln_on_notify(rln_notify *n);

/*
 * End it: a signal that is still under way is dropped. No thread may signal any more, and no task
 * waits.
 *
 * Returns nothing. Aborts with a message when a task waits for n or on another worker.
 * Owner:   gives n back to the caller.
 * Thread:  n's worker, before it stops.      Waits: no.
 */
RLN_API void rln_notify_fini(rln_notify *n);

/*
 * A bounded channel: any thread sends, tasks of one worker receive. What one thread sends is
 * received in that order. A sender that is interrupted between taking its place and filling it
 * holds up what was sent behind it, but no other sender.
 */
typedef struct rln_xchan rln_xchan;

/*
 * Make a channel of cap items of elem bytes to a worker of rt.
 *
 * Returns 0, or -EINVAL (no such worker; elem 0 or more than 64 KiB; cap 0 or more than 1048576),
 * -ENOMEM, -EPERM (rt is NULL off-worker, or a forked child).
 * Owner:   gives *out with one reference, ended by rln_xchan_unref(). It may outlive rt.
 * Thread:  any; rt NULL is the runtime of this worker.      Waits: no.
 */
RLN_API int rln_xchan_new(rln_runtime *rt, unsigned worker, size_t elem, size_t cap,
			  rln_xchan **out);

/*
 * One more reference, for one more holder.
 *
 * Returns x.
 * Owner:   gives a reference, ended by rln_xchan_unref().
 * Thread:  any that holds one.      Waits: no.
 */
RLN_API rln_xchan *rln_xchan_ref(rln_xchan *x);

/*
 * Send a copy of the item at v.
 *
 * Returns 0, or -EAGAIN (full), -EPIPE (closed).
 * Owner:   borrows v for the call.
 * Thread:  any that holds a reference.      Waits: no.
 */
RLN_API int rln_xchan_try_send(rln_xchan *x, const void *v);

/*
 * Receive the oldest item.
 *
 * Returns 1 with an item in *v, 0 (closed, and nothing is left), -EXDEV (not a task of its worker),
 * -ESHUTDOWN (the worker has stopped taking messages), or the wait errors: then no item was taken.
 * Owner:   fills *v.
 * Thread:  a task of x's worker that holds a reference; several are served in order.
 * Waits:   yes (a cancellation point).
 */
RLN_API int rln_xchan_recv(rln_xchan *x, void *v) RLN_WAITS;

/*
 * Ready when there is an item, or the channel is closed and drained; its effect is that of
 * rln_xchan_recv().
 *
 * Returns the arm; res is 1 with an item in *out, 0 (closed and drained), -EXDEV, -ESHUTDOWN.
 * Owner:   borrows x and out while the arm is used; fills *out only if the arm wins with 1.
 * Thread:  any; used in a task of x's worker.      Waits: no.
 */
RLN_API rln_arm rln_on_xrecv(rln_xchan *x, void *out);

/*
 * No more sends: those that returned 0 are still received. A second close changes nothing.
 *
 * Returns nothing.
 * Owner:   the reference stays the caller's.
 * Thread:  any that holds a reference.      Waits: no.
 */
RLN_API void rln_xchan_close(rln_xchan *x);

/*
 * Give back a reference. The last one frees the channel and what is in it; as the items are plain
 * bytes, whoever sends pointers closes and drains it first.
 *
 * Returns nothing.
 * Owner:   takes the reference; NULL is left alone.
 * Thread:  any.      Waits: no.
 */
RLN_API void rln_xchan_unref(rln_xchan *x);

/*
 * Run fn(arg) as a task on a worker of rt and block this thread until it has ended. For threads of
 * the program's own; a task uses rln_go_on() and rln_oneshot.
 *
 * Returns 0 with what fn returned in *result (-ECANCELED when the drain came before it began), or
 * -EDEADLK (this thread is a worker), -EINVAL (no such worker, fn or rt NULL), -EAGAIN (too many
 * messages, or max_tasks), -ENOMEM, -ESHUTDOWN (the worker is gone).
 * Owner:   arg is borrowed until the call returns: it may point to the caller's stack. fills
 *          *result (may be NULL).
 * Thread:  any that is no worker.      Waits: no task; blocks the thread.
 */
RLN_API int rln_call(rln_runtime *rt, unsigned worker, int (*fn)(void *arg), void *arg,
		     int *result);

/*
 * Run fn(arg) on a helper thread, for what can only be had by blocking one, and wait for it. Helper
 * threads start on demand (config.blocking_threads) and run at a lower priority than the workers.
 * Once fn has begun nothing ends the call but its return.
 *
 * Returns what fn returned, or before it began: -EINVAL (fn NULL), -EAGAIN (no helper thread can be
 * started), -ESHUTDOWN (this worker has stopped taking messages), the wait errors: fn never runs.
 * Owner:   arg is borrowed until the call returns: it may point to the caller's stack.
 * Thread:  a task of any worker.      Waits: yes (a cancellation point until fn begins).
 */
RLN_API int rln_blocking(int (*fn)(void *arg), void *arg) RLN_WAITS;

/*
 * The same for work that may be left behind: at a cancellation the call returns at once, and fn
 * runs, or goes on, all the same. Its result is then lost.
 *
 * Returns what fn returned, or -EINVAL (fn NULL), -EAGAIN, -ENOMEM, -ESHUTDOWN (as rln_blocking():
 * fn never runs), the wait errors: when the cancellation was there at the entry, fn never runs;
 * else see above.
 * Owner:   takes arg when fn runs: free_arg(arg) is called once on the helper thread when fn has
 *          returned, however this call ended. Not when fn never runs. free_arg may be NULL.
 * Thread:  a task of any worker.      Waits: yes (a cancellation point; it may leave an effect).
 */
RLN_API int rln_blocking_owned(int (*fn)(void *arg), void *arg, void (*free_arg)(void *arg))
	RLN_WAITS;

#ifdef __cplusplus
}
#endif
#endif
