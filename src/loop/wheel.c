/*
 * The timer wheel. A timer stands at the level of the highest base-64 digit in which its tick
 * differs from the wheel's, in the slot of that digit. So
 *
 *  - every occupied slot of a level lies ahead of the wheel and inside the level's current block:
 *    the lowest slot of the lowest occupied level is the next thing that happens;
 *  - two timers of one tick always stand in the same list, in the order they were armed;
 *  - the wheel may jump any distance: empty time costs nothing, a timer moves at most once a level.
 *
 * Timers whose deadline is already past when they are armed stand in `past`, outside the levels,
 * until the next wheel_expire(). Those that were started stand in `fresh` until the clock is read
 * for all of them at once. This file does not read the clock.
 */
#include "loop/wheel.h"
#include "base/assert.h"
#include "base/mark.h"

#define DIGIT_BITS 6
#define DIGIT_MASK (WHEEL_SLOTS - 1u)

_Static_assert(1u << DIGIT_BITS == WHEEL_SLOTS, "a digit names a slot");
/* INT64_MAX ns is fewer than 2^44 ticks: no deadline lies beyond the wheel */
_Static_assert((uint64_t)INT64_MAX / WHEEL_TICK_NS >> (DIGIT_BITS * WHEEL_LEVELS) == 0,
	       "every deadline has a slot");

/* The first tick that does not begin before the deadline: nothing fires early. */
static uint64_t tick_of_deadline(int64_t deadline_ns)
{
	uint64_t ns = (uint64_t)deadline_ns;
	return ns / WHEEL_TICK_NS + (ns % WHEEL_TICK_NS != 0);
}

static int64_t tick_begin_ns(uint64_t tick)
{
	return tick > INT64_MAX / WHEEL_TICK_NS ? INT64_MAX : (int64_t)tick * WHEEL_TICK_NS;
}

static unsigned digit(uint64_t tick, unsigned level)
{
	return tick >> (level * DIGIT_BITS) & DIGIT_MASK;
}

static unsigned level_for(const struct wheel *w, uint64_t tick)
{
	return (63u - (unsigned)__builtin_clzll(w->tick ^ tick)) / DIGIT_BITS;
}

static bool level_occupied(const struct wheel *w, unsigned level)
{
	return w->bitmap[level] != 0;
}

static unsigned first_slot(const struct wheel *w, unsigned level)
{
	return (unsigned)__builtin_ctzll(w->bitmap[level]);
}

/* The first tick that slot of level covers, in the block the wheel stands in. */
static uint64_t slot_begin(const struct wheel *w, unsigned level, unsigned slot)
{
	uint64_t block = w->tick >> ((level + 1) * DIGIT_BITS);
	return (block << DIGIT_BITS | slot) << (level * DIGIT_BITS);
}

/* The level whose first slot comes next; WHEEL_LEVELS when all are empty. */
static unsigned next_level(const struct wheel *w)
{
	unsigned level = 0;

	while (level < WHEEL_LEVELS && !level_occupied(w, level))
		level++;
	return level;
}

static void slot_insert(struct wheel *w, struct timer *t, uint64_t tick)
{
	unsigned level = level_for(w, tick), slot = digit(tick, level);

	RLN_DEBUG_ASSERT(tick > w->tick && level < WHEEL_LEVELS); /* INV-29 */
	t->level = (uint8_t)level;
	t->slot = (uint8_t)slot;
	list_push_back(&w->slot[level][slot], &t->node);
	w->bitmap[level] |= UINT64_C(1) << slot;
}

/*
 * Timers in `past`, `due` and `fresh` carry the level and slot they had before, or 0: clearing the
 * bit of a slot that is empty is right whoever stood there.
 */
static void slot_forget_if_empty(struct wheel *w, const struct timer *t)
{
	if (list_empty(&w->slot[t->level][t->slot]))
		w->bitmap[t->level] &= ~(UINT64_C(1) << t->slot);
}

void wheel_init(struct wheel *w, int64_t now_ns)
{
	RLN_ASSERT(now_ns >= 0);
	*w = (struct wheel){ .tick = (uint64_t)now_ns / WHEEL_TICK_NS, .now_ns = now_ns };
	list_init(&w->due);
	list_init(&w->past);
	list_init(&w->fresh);
	for (unsigned level = 0; level < WHEEL_LEVELS; level++) {
		for (unsigned slot = 0; slot < WHEEL_SLOTS; slot++)
			list_init(&w->slot[level][slot]);
	}
}

void timer_init(struct timer *t, void (*fire)(struct timer *t))
{
	*t = (struct timer){ .fire = fire };
	list_init(&t->node);
}

void timer_arm(struct wheel *w, struct timer *t, int64_t deadline_ns)
{
	timer_cancel(w, t);
	t->deadline_ns = deadline_ns;
	w->armed++;
	if (deadline_ns <= w->now_ns) {
		RLN_MARK("timer-armed-in-the-past");
		list_push_back(&w->past, &t->node);
	} else {
		slot_insert(w, t, tick_of_deadline(deadline_ns));
	}
}

void timer_start(struct wheel *w, struct timer *t, int64_t dur_ns)
{
	timer_cancel(w, t);
	t->deadline_ns = dur_ns;
	w->armed++;
	list_push_back(&w->fresh, &t->node);
}

void timer_cancel(struct wheel *w, struct timer *t)
{
	if (!timer_armed(t))
		return;
	list_remove(&t->node);
	slot_forget_if_empty(w, t);
	w->armed--;
}

/* The wheel has reached this slot: what is due now goes to due, the rest some levels down. */
static void slot_empty_out(struct wheel *w, unsigned level, unsigned slot)
{
	struct list *from = &w->slot[level][slot], *node;

	w->bitmap[level] &= ~(UINT64_C(1) << slot);
	if (level == 0) {
		list_splice_back(&w->due, from);
		return;
	}
	while ((node = list_pop_front(from))) {
		struct timer *t = container_of(node, struct timer, node);
		uint64_t tick = tick_of_deadline(t->deadline_ns);
		if (tick == w->tick)
			list_push_back(&w->due, &t->node);
		else {
			RLN_MARK("timer-moves-to-a-lower-level");
			slot_insert(w, t, tick);
		}
	}
}

/* Bounded: each round empties a slot, and a timer only ever moves to a lower level. */
static void collect_due(struct wheel *w, uint64_t target)
{
	unsigned level;

	while ((level = next_level(w)) < WHEEL_LEVELS) {
		unsigned slot = first_slot(w, level);
		uint64_t begin = slot_begin(w, level, slot);
		if (begin > target)
			break;
		RLN_DEBUG_ASSERT(begin > w->tick);
		w->tick = begin;
		slot_empty_out(w, level, slot);
	}
	if (target > w->tick)
		w->tick = target;
}

void wheel_set_now(struct wheel *w, int64_t now_ns)
{
	if (now_ns > w->now_ns)
		w->now_ns = now_ns;
}

void wheel_place(struct wheel *w, int64_t now_ns)
{
	struct list *node;

	RLN_DEBUG_ASSERT(list_empty(&w->due));
	wheel_set_now(w, now_ns);
	while ((node = list_pop_front(&w->fresh))) {
		struct timer *t = container_of(node, struct timer, node);
		int64_t dur_ns = t->deadline_ns, deadline_ns;
		w->armed--; /* timer_arm() counts it again */
		if (dur_ns <= 0)
			deadline_ns = w->now_ns;
		else if (__builtin_add_overflow(w->now_ns, dur_ns, &deadline_ns))
			deadline_ns = INT64_MAX;
		timer_arm(w, t, deadline_ns);
	}
}

/*
 * All that is due is collected first: a fire function may then cancel or re-arm any timer, also one
 * that waits its turn in due, and what it arms anew cannot come up in this call.
 */
unsigned wheel_expire(struct wheel *w, int64_t now_ns)
{
	struct list *node;
	unsigned fired = 0;

	RLN_ASSERT(list_empty(&w->due)); /* not from inside fire */
	wheel_set_now(w, now_ns);
	list_splice_back(&w->due, &w->past);
	collect_due(w, (uint64_t)w->now_ns / WHEEL_TICK_NS);
	while ((node = list_pop_front(&w->due))) {
		struct timer *t = container_of(node, struct timer, node);
		w->armed--;
		w->fired++;
		fired++;
		t->fire(t); /* t may be freed or armed again by this */
	}
	return fired;
}

int64_t wheel_next(const struct wheel *w)
{
	if (!list_empty(&w->past) || !list_empty(&w->due) || wheel_has_fresh(w))
		return w->now_ns;
	unsigned level = next_level(w);
	if (level == WHEEL_LEVELS)
		return INT64_MAX;
	return tick_begin_ns(slot_begin(w, level, first_slot(w, level)));
}

static unsigned slot_check(const struct wheel *w, unsigned level, unsigned slot)
{
	const struct list *head = &w->slot[level][slot];
	unsigned count = 0;

	RLN_ASSERT(list_empty(head) == !(w->bitmap[level] >> slot & 1));
	list_for_each (node, head) {
		const struct timer *t = container_of(node, struct timer, node);
		uint64_t tick = tick_of_deadline(t->deadline_ns);
		RLN_ASSERT(t->level == level && t->slot == slot);
		RLN_ASSERT(tick > w->tick);
		RLN_ASSERT(level_for(w, tick) == level && digit(tick, level) == slot);
		count++;
	}
	return count;
}

void wheel_check(const struct wheel *w)
{
	unsigned count = 0;

	for (unsigned level = 0; level < WHEEL_LEVELS; level++) {
		for (unsigned slot = 0; slot < WHEEL_SLOTS; slot++)
			count += slot_check(w, level, slot);
	}
	list_for_each (node, &w->due)
		count++;
	list_for_each (node, &w->fresh)
		count++;
	list_for_each (node, &w->past) {
		RLN_ASSERT(container_of(node, struct timer, node)->deadline_ns <= w->now_ns);
		count++;
	}
	RLN_ASSERT(count == w->armed); /* INV-30 */
}
