/*
 * ringline inside a loop of the program's own (epoll, libuv, glib, a game's frame): with
 * rln_config.embed there is no thread for the worker. The thread that called rln_start() runs it,
 * a step at a time, whenever one descriptor is readable:
 *
 *	rln_start(&(rln_config){ .embed = true, .listen = &l, .nlisten = 1 }, &rt);
 *	add rln_poll_fd(rt) to the loop, for reading; there is no timeout to take over
 *	readable:  if (rln_step(rt) == RLN_STEP_OVER) take it out of the loop and rln_wait(rt)
 *
 * Between steps the thread is no worker: handles are refused as on any other thread (-EPERM), and
 * rln_post(), rln_go_on(), rln_shutdown() work as from any other. rln_enter() makes it the worker
 * until rln_leave(): calls that do not wait may be made then, as in a callback.
 */
#ifndef RINGLINE_EMBED_H
#define RINGLINE_EMBED_H

#include <ringline/base.h>
#include <ringline/runtime.h>

#ifdef __cplusplus
extern "C" {
#endif

enum {
	RLN_STEP_IDLE = 0, /* nothing to do until the descriptor is readable */
	RLN_STEP_MORE = 1, /* it stopped at its bound: the descriptor is readable */
	RLN_STEP_OVER = 2  /* the drain is over; rln_wait() tells how it ended */
};

/*
 * The descriptor that is readable whenever rln_step() has something to do: completions, messages of
 * other threads, timers that are due, work left by the last step or begun after rln_enter(). Made
 * for level- and edge-triggered waits. epoll_wait() may give EINTR before it tells, as after a
 * signal: wait again.
 *
 * Returns it, or -EINVAL (rt is NULL or not embedded), -EPERM (in a forked child).
 * Owner:   lends it until rln_wait(): not to be read, written or closed.
 * Thread:  any.      Waits: no.
 */
RLN_API int rln_poll_fd(rln_runtime *rt);

/*
 * Do what can be done now: submit, take completions and messages, fire timers, run tasks and
 * callbacks. Never sleeps, and begins nothing new after 1 ms. May be called at any time.
 *
 * Returns RLN_STEP_IDLE, RLN_STEP_MORE or RLN_STEP_OVER, or -EINVAL (rt is NULL or not embedded),
 * -EDEADLK (in a task, a callback, or after rln_enter()), -EPERM (another thread than the one that
 * started it, or a forked child); misuse is also logged, once.
 * Owner:   nothing is passed.
 * Thread:  the one that called rln_start().      Waits: no.
 */
RLN_API int rln_step(rln_runtime *rt);

/*
 * Make this thread the worker until rln_leave(), to call what does not wait: rln_go(),
 * rln_send_nowait(), rln_close(), rln_timer_start() and so on. Calls that wait give -EDEADLK.
 *
 * Returns 0, or -EINVAL (rt is NULL or not embedded), -EDEADLK (the thread is a worker already),
 * -EPERM (another thread, or a forked child), -ESHUTDOWN (the runtime is over).
 * Owner:   nothing is passed.
 * Thread:  the one that called rln_start(), between steps.      Waits: no.
 */
RLN_API int rln_enter(rln_runtime *rt);

/*
 * The end of what rln_enter() began. What was begun meanwhile makes the descriptor readable: the
 * next step does it. Without an rln_enter() of the same thread before it the process aborts.
 *
 * Returns nothing.
 * Owner:   nothing is passed.
 * Thread:  the one that called rln_enter().      Waits: no.
 */
RLN_API void rln_leave(rln_runtime *rt);

#ifdef __cplusplus
}
#endif
#endif
