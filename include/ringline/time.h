/*
 * Time: nanoseconds, sleeping, and timers for callbacks.
 */
#ifndef RINGLINE_TIME_H
#define RINGLINE_TIME_H

#include <ringline/base.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A duration, or an absolute CLOCK_MONOTONIC time, in nanoseconds. */
typedef int64_t rln_ns;
#define RLN_US(x) ((rln_ns)(x)*1000)
#define RLN_MS(x) ((rln_ns)(x)*1000000)
#define RLN_SEC(x) ((rln_ns)(x)*1000000000)
/* As a duration: without limit. As a point in time: never. */
#define RLN_FOREVER INT64_MAX

/*
 * The worker's idea of now: CLOCK_MONOTONIC as read once in this turn of its loop, so it costs a
 * load and stands still while a task computes.
 *
 * Returns nanoseconds. Off-worker: the clock itself, read for this call.
 * Owner:   nothing is passed.
 * Thread:  any.      Waits: no.
 */
RLN_API rln_ns rln_now(void);

/*
 * Suspend the calling task for dur nanoseconds; never less, at most a millisecond and one turn of
 * the loop more. Zero or less lets the other ready tasks run once, like rln_yield().
 *
 * Returns 0 when the time is over, or the wait errors.
 * Owner:   nothing is passed.
 * Thread:  a task of any worker.      Waits: yes (a cancellation point).
 */
RLN_API int rln_sleep(rln_ns dur) RLN_WAITS;

/*
 * The same until the clock of rln_now() shows t. RLN_FOREVER: until cancelled.
 *
 * Returns 0 when t has come or is past, or the wait errors.
 * Owner:   nothing is passed.
 * Thread:  a task of any worker.      Waits: yes (a cancellation point).
 */
RLN_API int rln_sleep_until(rln_ns t) RLN_WAITS;

/* A timer embedded in an object of the caller's. All-zero is a stopped timer. */
typedef struct rln_timer {
	uint64_t priv_[12];
} rln_timer;

/*
 * Call fn(t, ud) once from the loop, dur nanoseconds from now: never earlier, at most a millisecond
 * and one turn of the loop later, besides what is left of this turn: the clock is read once for all
 * timers a turn starts, at its end. A timer that is already running starts anew. fn runs as a
 * callback: it must not wait, and may start, stop or free its own timer.
 *
 * Returns nothing. Aborts with a message when this thread is no worker or fn is NULL.
 * Owner:   borrows t until fn is called or rln_timer_stop(t); it stays where it is until then. ud
 *          is passed on untouched.
 * Thread:  any worker; the timer belongs to that worker while it runs.
 * Waits:   no.
 */
RLN_API void rln_timer_start(rln_timer *t, rln_ns dur, void (*fn)(rln_timer *t, void *ud),
			     void *ud);

/*
 * Stop a timer; fn will not be called any more. A stopped timer is left alone.
 *
 * Returns nothing. Aborts with a message when t runs on another worker.
 * Owner:   gives t back to the caller.
 * Thread:  the worker that started t.      Waits: no.
 */
RLN_API void rln_timer_stop(rln_timer *t);

#ifdef __cplusplus
}
#endif
#endif
