/*
 * Time: nanoseconds, sleeping, and timers for callbacks.
 */
#ifndef RINGLINE_TIME_H
#define RINGLINE_TIME_H

#include <ringline/base.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A duration, or an absolute CLOCK_MONOTONIC time. */
typedef int64_t rln_ns;
#define RLN_US(x) ((rln_ns)(x)*1000)
#define RLN_MS(x) ((rln_ns)(x)*1000000)
#define RLN_SEC(x) ((rln_ns)(x)*1000000000)
#define RLN_FOREVER INT64_MAX

RLN_API rln_ns rln_now(void);
RLN_API int rln_sleep(rln_ns dur) RLN_WAITS;
RLN_API int rln_sleep_until(rln_ns t) RLN_WAITS;

typedef struct rln_timer {
	uint64_t priv_[12];
} rln_timer;

RLN_API void rln_timer_start(rln_timer *t, rln_ns dur, void (*fn)(rln_timer *t, void *ud),
			     void *ud);
RLN_API void rln_timer_stop(rln_timer *t);

#ifdef __cplusplus
}
#endif
#endif
