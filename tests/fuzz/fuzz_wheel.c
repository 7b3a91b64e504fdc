/*
 * The timer wheel against a table of deadlines: every timer fires exactly once, never early, at
 * most a tick late, in the promised order; also when firing timers arm and cancel others.
 */
#include "fuzz.h"

#include "loop/wheel.h"

#define TIMERS 24

struct entry {
	struct timer t;
	int64_t deadline_ns;
	uint64_t seq; /* of arming */
	bool armed, past, in_expire;
	bool fresh; /* deadline_ns is a duration yet */
};

static struct entry entry[TIMERS];
static struct wheel wheel;
static struct fuzz in;
static uint64_t seq;
static bool expiring;
static struct {
	bool past;
	uint64_t tick, seq;
} last;

static uint64_t tick_of(int64_t deadline_ns)
{
	uint64_t ns = (uint64_t)deadline_ns;
	return ns / WHEEL_TICK_NS + (ns % WHEEL_TICK_NS != 0);
}

/* Any magnitude: from nanoseconds to centuries. */
static int64_t span(void)
{
	uint64_t v = fuzz_below(&in, 65536) << fuzz_below(&in, 48);

	return v > INT64_MAX ? INT64_MAX : (int64_t)v;
}

static int64_t later(int64_t a, int64_t b)
{
	int64_t sum;
	return __builtin_add_overflow(a, b, &sum) ? INT64_MAX : sum;
}

static void arm(struct entry *e)
{
	int64_t at = fuzz_byte(&in) % 8 ? later(wheel.now_ns, span()) : span();

	timer_arm(&wheel, &e->t, at);
	e->armed = true;
	e->deadline_ns = at;
	e->seq = ++seq;
	e->past = at <= wheel.now_ns;
	e->in_expire = expiring;
	e->fresh = false;
}

static void start(struct entry *e)
{
	e->deadline_ns = fuzz_byte(&in) % 8 ? span() : -span();
	timer_start(&wheel, &e->t, e->deadline_ns);
	e->armed = e->fresh = true;
	e->seq = ++seq;
	e->past = e->in_expire = false;
}

static struct entry *first_fresh(void)
{
	struct entry *first = NULL;

	for (unsigned i = 0; i < TIMERS; i++)
		if (entry[i].fresh && (!first || entry[i].seq < first->seq))
			first = &entry[i];
	return first;
}

static void place(int64_t now_ns)
{
	struct entry *e;

	wheel_place(&wheel, now_ns);
	while ((e = first_fresh())) {
		e->fresh = false;
		e->seq = ++seq;
		e->deadline_ns = later(wheel.now_ns, e->deadline_ns > 0 ? e->deadline_ns : 0);
		e->past = e->deadline_ns <= wheel.now_ns;
		FUZZ_CHECK(e->t.deadline_ns == e->deadline_ns);
	}
}

static void cancel(struct entry *e)
{
	timer_cancel(&wheel, &e->t);
	e->armed = e->fresh = false;
}

static void fire(struct timer *t)
{
	struct entry *e = (struct entry *)(void *)((char *)t - offsetof(struct entry, t));
	uint64_t tick = tick_of(e->deadline_ns);

	FUZZ_CHECK(expiring && e->armed && !e->in_expire && !e->fresh);
	FUZZ_CHECK(e->deadline_ns <= wheel.now_ns);
	/* those armed when already past come first, then by tick, each in arming order */
	if (last.past && e->past)
		FUZZ_CHECK(e->seq > last.seq);
	if (!last.past) {
		FUZZ_CHECK(!e->past && tick >= last.tick);
		FUZZ_CHECK(tick > last.tick || e->seq > last.seq);
	}
	last.past = e->past;
	last.tick = tick;
	last.seq = e->seq;
	e->armed = false;
	FUZZ_CHECK(!timer_armed(t));
	switch (fuzz_byte(&in) % 8) {
	case 0:
		arm(e);
		break;
	case 1:
		arm(&entry[fuzz_below(&in, TIMERS)]);
		break;
	case 2:
		cancel(&entry[fuzz_below(&in, TIMERS)]);
		break;
	case 3:
		start(&entry[fuzz_below(&in, TIMERS)]);
		break;
	default:
		break;
	}
}

static void expire(int64_t now_ns)
{
	expiring = true;
	last.past = true;
	last.seq = last.tick = 0;
	wheel_expire(&wheel, now_ns);
	expiring = false;
	for (unsigned i = 0; i < TIMERS; i++) {
		struct entry *e = &entry[i];
		if (e->armed && !e->in_expire && !e->fresh)
			FUZZ_CHECK(tick_of(e->deadline_ns) >
				   (uint64_t)wheel.now_ns / WHEEL_TICK_NS);
		e->in_expire = false;
	}
}

static void check(void)
{
	int64_t first = INT64_MAX, next = wheel_next(&wheel);
	unsigned armed = 0;

	for (unsigned i = 0; i < TIMERS; i++) {
		FUZZ_CHECK(timer_armed(&entry[i].t) == entry[i].armed);
		if (!entry[i].armed)
			continue;
		armed++;
		if (entry[i].fresh)
			FUZZ_CHECK(next <= wheel.now_ns);
		else
			first = entry[i].deadline_ns < first ? entry[i].deadline_ns : first;
	}
	FUZZ_CHECK(wheel.armed == armed);
	if (!armed)
		FUZZ_CHECK(next == INT64_MAX);
	else if (first > wheel.now_ns)
		FUZZ_CHECK(next <= later(first, WHEEL_TICK_NS));
	wheel_check(&wheel);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	in = (struct fuzz){ data, size };
	seq = 0;
	wheel_init(&wheel, span());
	for (unsigned i = 0; i < TIMERS; i++) {
		entry[i] = (struct entry){ .armed = false };
		timer_init(&entry[i].t, fire);
	}
	while (in.n) {
		struct entry *e = &entry[fuzz_below(&in, TIMERS)];

		switch (fuzz_below(&in, 10)) {
		case 0:
			cancel(e);
			break;
		case 1: /* exactly when it says */
			expire(wheel_next(&wheel) == INT64_MAX ? wheel.now_ns : wheel_next(&wheel));
			break;
		case 2:
			expire(later(wheel.now_ns, span()));
			break;
		case 3:
			wheel_set_now(&wheel, later(wheel.now_ns, span() % WHEEL_TICK_NS));
			break;
		case 4: /* the clock went back */
			expire((int64_t)((uint64_t)wheel.now_ns -
					 (uint64_t)span() % ((uint64_t)wheel.now_ns + 1)));
			break;
		case 5:
			start(e);
			break;
		case 6:
			place(later(wheel.now_ns, span()));
			break;
		default:
			arm(e);
		}
		check();
	}
	return 0;
}
