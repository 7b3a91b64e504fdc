/*
 * Hierarchical timer wheel, tick 1 ms: arm, re-arm and cancel O(1), a million timers, no SQE.
 * A timer never fires early, and at most one tick plus one loop turn late; one that is armed by a
 * firing timer with a deadline already past fires in the next wheel_expire(), not in this one.
 * Timers due in one wheel_expire() fire in the order of their tick, and within a tick in the order
 * they were armed.
 */
#ifndef RINGLINE_LOOP_WHEEL_H
#define RINGLINE_LOOP_WHEEL_H

#include "base/list.h"
#include <stdbool.h>
#include <stdint.h>

#define WHEEL_TICK_NS 1000000
#define WHEEL_LEVELS 8
#define WHEEL_SLOTS 64

struct timer {
	struct list node;
	int64_t deadline_ns; /* absolute, CLOCK_MONOTONIC; while it is fresh: the duration */
	void (*fire)(struct timer *t);
	uint8_t level, slot; /* where it stands while armed; cancel clears the bitmap */
};

struct wheel {
	uint64_t tick;	/* everything up to and including this tick has been expired */
	int64_t now_ns; /* the latest time the wheel was told */
	uint64_t bitmap[WHEEL_LEVELS];
	unsigned armed;
	uint64_t fired;
	struct list due;   /* being fired by wheel_expire() */
	struct list past;  /* armed when already past: the next wheel_expire() begins with them */
	struct list fresh; /* started since the clock was last read */
	struct list slot[WHEEL_LEVELS][WHEEL_SLOTS];
};

void wheel_init(struct wheel *w, int64_t now_ns);
void timer_init(struct timer *t, void (*fire)(struct timer *t));
static inline bool timer_armed(const struct timer *t)
{
	return list_linked(&t->node);
}
/*
 * Arm, or re-arm an armed timer. Any deadline up to INT64_MAX has its place; one that is not after
 * w->now_ns fires in the next wheel_expire(), before those that came due since, in arming order.
 */
void timer_arm(struct wheel *w, struct timer *t, int64_t deadline_ns);
/*
 * Start, or start anew: dur_ns from now, without reading the clock. It gets its place in the next
 * wheel_place(), so it counts from then; until then it is armed like any other. Zero and less: from
 * then on it is past.
 */
void timer_start(struct wheel *w, struct timer *t, int64_t dur_ns);
/* No-op when not armed. Legal from inside a fire function for any timer, also one that is due. */
void timer_cancel(struct wheel *w, struct timer *t);
/* The clock was read: what is armed with a deadline up to now_ns counts as past. */
void wheel_set_now(struct wheel *w, int64_t now_ns);
/*
 * The same right after the clock was read, never with a reading from before a timer_start(): what
 * is fresh begins to count. Not from inside a fire function.
 */
void wheel_place(struct wheel *w, int64_t now_ns);
static inline bool wheel_has_fresh(const struct wheel *w)
{
	return !list_empty(&w->fresh);
}
/*
 * Fire everything due at now_ns; a clock that went back counts as standing still. Not from inside a
 * fire function. Returns how many fired.
 */
unsigned wheel_expire(struct wheel *w, int64_t now_ns);
/*
 * When wheel_expire() has work next (INT64_MAX: nothing armed). A lower bound: may be early by a
 * cascade, never later than one tick after the earliest deadline. Now, while a timer is fresh.
 */
int64_t wheel_next(const struct wheel *w);
void wheel_check(const struct wheel *w);

#endif
