/* The timer wheel against a model that simply looks at every timer. */
#include "loop/wheel.h"
#include "test.h"

#include <stdlib.h>

#define MS INT64_C(1000000)
#define SECOND (1000 * MS)
#define YEAR (365 * 24 * 3600 * SECOND)

static uint64_t rng_state;

static uint64_t rnd(void)
{
	rng_state ^= rng_state << 13;
	rng_state ^= rng_state >> 7;
	rng_state ^= rng_state << 17;
	return rng_state;
}

/* --- the model --- */

enum { MODEL_TIMERS = 150 };

struct entry {
	struct timer timer;
	struct model *m;
	bool armed, due;
	uint64_t rank; /* tick it belongs to; 0: was past when armed */
	uint64_t seq;  /* order of arming */
	int64_t armed_at;
};

struct model {
	struct wheel w;
	int64_t now, longest; /* of the deadlines the rounds draw */
	uint64_t seq, fired;
	bool firing;
	struct entry e[MODEL_TIMERS];
};

static uint64_t tick_up(int64_t ns)
{
	return (uint64_t)ns / MS + ((uint64_t)ns % MS != 0);
}

static int64_t pick_deadline(const struct model *m)
{
	switch (rnd() % 8) {
	case 0:
		return m->now; /* already past */
	case 1:
		return m->now - (int64_t)(rnd() % SECOND);
	case 2:
		return INT64_MIN + (int64_t)(rnd() % 3);
	case 3:
		return INT64_MAX - (int64_t)(rnd() % 3);
	case 4: /* on the edges of ticks and of levels */
		return (int64_t)((((uint64_t)m->now / MS) | (UINT64_C(1) << (6 * (rnd() % 4)))) *
				 (uint64_t)MS) +
		       (int64_t)(rnd() % 3) - 1;
	default:
		return m->now + (int64_t)(rnd() % (uint64_t)m->longest);
	}
}

static void model_arm(struct entry *e, int64_t deadline)
{
	struct model *m = e->m;

	e->armed = true;
	e->due = false;
	e->seq = ++m->seq;
	e->rank = deadline <= m->now ? 0 : tick_up(deadline);
	e->armed_at = m->now;
	timer_arm(&m->w, &e->timer, deadline);
	CHECK(timer_armed(&e->timer));
	CHECK(e->timer.deadline_ns == deadline);
}

static void model_cancel(struct entry *e)
{
	e->armed = e->due = false;
	timer_cancel(&e->m->w, &e->timer);
	CHECK(!timer_armed(&e->timer));
}

static void model_touch_some(struct model *m)
{
	struct entry *e = &m->e[rnd() % MODEL_TIMERS];

	if (rnd() % 3)
		model_arm(e, pick_deadline(m));
	else
		model_cancel(e);
}

static struct entry *model_first_due(struct model *m)
{
	struct entry *best = NULL;

	for (int i = 0; i < MODEL_TIMERS; i++) {
		struct entry *e = &m->e[i];
		if (e->due && (!best || e->rank < best->rank ||
			       (e->rank == best->rank && e->seq < best->seq)))
			best = e;
	}
	return best;
}

static void model_fire(struct timer *t)
{
	struct entry *e = container_of(t, struct entry, timer);
	struct model *m = e->m;

	CHECK(m->firing);
	CHECK(e == model_first_due(m)); /* due at all, and in order */
	CHECK(!timer_armed(t));
	CHECK(t->deadline_ns <= m->now); /* never early */
	e->armed = e->due = false;
	m->fired++;
	if (rnd() % 4 == 0)
		model_arm(e, pick_deadline(m));
	for (unsigned n = rnd() % 3; n; n--)
		model_touch_some(m);
}

/* Whatever has a tick that has begun is due: at most one tick late. */
static void model_expire(struct model *m, int64_t now)
{
	uint64_t before = m->fired;

	m->now = now;
	for (int i = 0; i < MODEL_TIMERS; i++)
		m->e[i].due = m->e[i].armed && m->e[i].rank <= (uint64_t)now / MS;
	m->firing = true;
	unsigned n = wheel_expire(&m->w, now);
	m->firing = false;
	CHECK_INT(n, ==, m->fired - before);
	CHECK(model_first_due(m) == NULL);
}

static void model_check(struct model *m)
{
	int64_t earliest = INT64_MAX;
	unsigned armed = 0;

	for (int i = 0; i < MODEL_TIMERS; i++) {
		struct entry *e = &m->e[i];
		CHECK(timer_armed(&e->timer) == e->armed);
		armed += e->armed;
		int64_t at = e->rank > INT64_MAX / MS ? INT64_MAX : (int64_t)e->rank * MS;
		if (e->armed && at < earliest)
			earliest = at;
	}
	wheel_check(&m->w);
	CHECK_INT(m->w.armed, ==, armed);
	CHECK_INT(m->w.fired, ==, m->fired);
	if (earliest <= m->now && armed)
		CHECK_INT(wheel_next(&m->w), <=, m->now);
	else
		CHECK_INT(wheel_next(&m->w), <=, earliest);
	if (!armed)
		CHECK(wheel_next(&m->w) == INT64_MAX);
}

static int64_t pick_step(const struct model *m)
{
	switch (rnd() % 6) {
	case 0:
		return 0;
	case 1:
		return (int64_t)(rnd() % MS);
	case 2: {
		int64_t next = wheel_next(&m->w);
		return next == INT64_MAX || next < m->now ? 0 : next - m->now;
	}
	default:
		return (int64_t)(rnd() % (uint64_t)m->longest) / 4;
	}
}

static void model_run(uint64_t seed, int64_t start, int64_t longest, int rounds)
{
	struct model *m = calloc(1, sizeof *m);

	rng_state = seed * 0x9e3779b97f4a7c15u + 1;
	m->now = start;
	m->longest = longest;
	wheel_init(&m->w, start);
	for (int i = 0; i < MODEL_TIMERS; i++) {
		timer_init(&m->e[i].timer, model_fire);
		m->e[i].m = m;
	}
	for (int i = 0; i < rounds; i++) {
		for (unsigned n = rnd() % 8; n; n--)
			model_touch_some(m);
		model_check(m);
		int64_t step = pick_step(m);
		if (m->now < INT64_MAX / 2)
			model_expire(m, m->now + step);
		else
			model_expire(m, m->now);
		model_check(m);
	}
	CHECK_INT(m->fired, >, (uint64_t)rounds / 4);
	free(m);
}

TEST(wheel_random_milliseconds_matches_model)
{
	for (uint64_t seed = 1; seed <= 8; seed++)
		model_run(seed, (int64_t)seed * 123456789, 100 * MS, 3000);
}

TEST(wheel_random_minutes_matches_model)
{
	for (uint64_t seed = 11; seed <= 16; seed++)
		model_run(seed, 0, 600 * SECOND, 3000);
}

TEST(wheel_random_years_matches_model)
{
	for (uint64_t seed = 21; seed <= 24; seed++)
		model_run(seed, (int64_t)(seed * 7777777777777), YEAR / 64, 2000);
}

/* --- single rules --- */

struct probe {
	struct timer timer;
	struct wheel *w;
	int fired;
	int order;
	int64_t again; /* fire re-arms with this, unless 0 */
	struct timer *victim;
};

static int order_count;

static void probe_fire(struct timer *t)
{
	struct probe *p = container_of(t, struct probe, timer);

	p->fired++;
	p->order = ++order_count;
	if (p->victim)
		timer_cancel(p->w, p->victim);
	if (p->again)
		timer_arm(p->w, t, p->again);
}

static void probe_init(struct probe *p, struct wheel *w)
{
	*p = (struct probe){ .w = w };
	timer_init(&p->timer, probe_fire);
}

TEST(wheel_timer_is_never_early_and_at_most_a_tick_late)
{
	struct wheel w;
	struct probe p;

	for (int64_t d = 1; d < 5 * SECOND; d = d * 3 + 7) {
		wheel_init(&w, 999999);
		probe_init(&p, &w);
		timer_arm(&w, &p.timer, 999999 + d);
		wheel_expire(&w, 999999 + d - 1);
		CHECK_INT(p.fired, ==, 0);
		wheel_expire(&w, 999999 + d + MS);
		CHECK_INT(p.fired, ==, 1);
	}
}

TEST(wheel_past_deadline_fires_in_next_expire)
{
	const int64_t past[] = { INT64_MIN, -1, 0, 5 * SECOND - 1, 5 * SECOND };
	struct wheel w;
	struct probe p;

	wheel_init(&w, 5 * SECOND);
	probe_init(&p, &w);
	for (int i = 0; i < 5; i++) {
		timer_arm(&w, &p.timer, past[i]);
		CHECK_INT(wheel_next(&w), <=, 5 * SECOND);
		CHECK_INT(wheel_expire(&w, 5 * SECOND), ==, 1);
		CHECK_INT(p.fired, ==, i + 1);
		CHECK(wheel_next(&w) == INT64_MAX);
	}
}

TEST(wheel_deadline_up_to_the_told_time_is_past)
{
	struct wheel w;
	struct probe p;

	wheel_init(&w, SECOND);
	probe_init(&p, &w);
	wheel_set_now(&w, SECOND + MS / 2);
	timer_arm(&w, &p.timer, SECOND + MS / 2);
	CHECK_INT(wheel_next(&w), <=, SECOND + MS / 2);
	CHECK_INT(wheel_expire(&w, SECOND + MS / 2), ==, 1);
	timer_arm(&w, &p.timer, SECOND + MS / 2 + 1);
	CHECK_INT(wheel_expire(&w, SECOND + MS / 2 + 1), ==, 0); /* a tick of its own */
	CHECK_INT(wheel_expire(&w, SECOND + MS), ==, 1);
	wheel_check(&w);
}

TEST(wheel_started_timer_counts_from_the_next_reading)
{
	const int64_t durs[] = { 1, MS, 7 * MS + 3, 100 * SECOND };
	struct wheel w;
	struct probe p;

	for (int i = 0; i < 4; i++) {
		wheel_init(&w, SECOND);
		probe_init(&p, &w);
		timer_start(&w, &p.timer, durs[i]);
		CHECK(timer_armed(&p.timer));
		CHECK_INT(wheel_next(&w), ==, SECOND); /* no sleep before it has its place */
		/* the reading this expire goes by may be older than the start */
		CHECK_INT(wheel_expire(&w, SECOND + 200 * SECOND), ==, 0);
		wheel_check(&w);
		wheel_place(&w, 300 * SECOND);
		wheel_check(&w);
		CHECK_INT(wheel_next(&w), <=, 300 * SECOND + durs[i] + MS);
		CHECK_INT(wheel_expire(&w, 300 * SECOND + durs[i] - 1), ==, 0);
		CHECK_INT(wheel_expire(&w, 300 * SECOND + durs[i] + MS), ==, 1);
		CHECK_INT(w.armed, ==, 0);
	}
}

TEST(wheel_started_for_no_time_or_for_ever)
{
	struct wheel w;
	struct probe now, past, never;

	wheel_init(&w, SECOND);
	probe_init(&now, &w);
	probe_init(&past, &w);
	probe_init(&never, &w);
	timer_start(&w, &never.timer, INT64_MAX);
	timer_start(&w, &now.timer, 0);
	timer_start(&w, &past.timer, INT64_MIN);
	wheel_place(&w, 2 * SECOND);
	wheel_check(&w);
	CHECK_INT(wheel_expire(&w, 2 * SECOND), ==, 2);
	CHECK_INT(past.order, ==, now.order + 1); /* as they were started */
	CHECK_INT(wheel_expire(&w, INT64_MAX - 1), ==, 0);
	timer_cancel(&w, &never.timer);
	CHECK_INT(w.armed, ==, 0);
}

TEST(wheel_fresh_timer_is_cancelled_started_anew_and_armed_like_any_other)
{
	struct wheel w;
	struct probe p[3];

	wheel_init(&w, SECOND);
	for (int i = 0; i < 3; i++) {
		probe_init(&p[i], &w);
		timer_arm(&w, &p[i].timer, SECOND + MS + i); /* has stood in a slot, alone or not */
		timer_start(&w, &p[i].timer, 1);
		wheel_check(&w);
	}
	CHECK_INT(w.armed, ==, 3);
	timer_cancel(&w, &p[0].timer);
	timer_start(&w, &p[1].timer, 5 * MS);
	timer_arm(&w, &p[2].timer, SECOND);
	CHECK_INT(w.armed, ==, 2);
	wheel_check(&w);
	CHECK_INT(wheel_expire(&w, SECOND), ==, 1);
	CHECK_INT(p[2].fired, ==, 1);
	wheel_place(&w, SECOND);
	CHECK_INT(wheel_expire(&w, SECOND + 4 * MS), ==, 0);
	CHECK_INT(wheel_expire(&w, SECOND + 5 * MS), ==, 1);
	CHECK_INT(p[1].fired, ==, 1);
	CHECK_INT(w.armed, ==, 0);
	wheel_check(&w);
}

TEST(wheel_past_rearm_inside_fire_waits_for_next_expire)
{
	struct wheel w;
	struct probe p;

	wheel_init(&w, SECOND);
	probe_init(&p, &w);
	p.again = 1;
	timer_arm(&w, &p.timer, SECOND + MS);
	for (int i = 1; i <= 3; i++) {
		CHECK_INT(wheel_expire(&w, 2 * SECOND), ==, 1);
		CHECK_INT(p.fired, ==, i);
		CHECK(timer_armed(&p.timer));
	}
	timer_cancel(&w, &p.timer);
	CHECK_INT(w.armed, ==, 0);
	wheel_check(&w);
}

TEST(wheel_cancel_inside_fire_stops_a_due_timer)
{
	struct wheel w;
	struct probe a, b, c;

	wheel_init(&w, 0);
	probe_init(&a, &w);
	probe_init(&b, &w);
	probe_init(&c, &w);
	a.victim = &b.timer;
	timer_arm(&w, &a.timer, 3 * MS);
	timer_arm(&w, &b.timer, 3 * MS);
	timer_arm(&w, &c.timer, 4 * MS);
	CHECK_INT(wheel_expire(&w, 10 * MS), ==, 2);
	CHECK_INT(a.fired, ==, 1);
	CHECK_INT(b.fired, ==, 0);
	CHECK_INT(c.fired, ==, 1);
	CHECK_INT(w.armed, ==, 0);
	wheel_check(&w);
}

TEST(wheel_same_tick_fires_in_arming_order_across_levels)
{
	struct wheel w;
	struct probe p[4];

	wheel_init(&w, 0);
	for (int i = 0; i < 4; i++)
		probe_init(&p[i], &w);
	/* the same tick armed from far away, nearer, and near: through two cascades */
	timer_arm(&w, &p[2].timer, 5000 * MS);
	wheel_expire(&w, 4900 * MS);
	timer_arm(&w, &p[0].timer, 5000 * MS);
	wheel_expire(&w, 4998 * MS);
	timer_arm(&w, &p[3].timer, 5000 * MS);
	timer_arm(&w, &p[1].timer, 4999 * MS);
	CHECK_INT(wheel_expire(&w, 5000 * MS), ==, 4);
	CHECK_INT(p[1].order, ==, 1);
	CHECK_INT(p[2].order, ==, 2);
	CHECK_INT(p[0].order, ==, 3);
	CHECK_INT(p[3].order, ==, 4);
}

TEST(wheel_clock_jumps_fire_everything_passed)
{
	const int64_t jump[] = { 10 * SECOND, YEAR, 100 * YEAR };
	struct wheel w;
	struct probe p[64], far;

	for (int j = 0; j < 3; j++) {
		wheel_init(&w, 77 * SECOND);
		probe_init(&far, &w);
		timer_arm(&w, &far.timer, INT64_MAX);
		for (int i = 0; i < 64; i++) {
			probe_init(&p[i], &w);
			timer_arm(&w, &p[i].timer, 77 * SECOND + jump[j] / 64 * (i + 1));
		}
		CHECK_INT(wheel_expire(&w, 77 * SECOND + jump[j]), ==, 64);
		CHECK_INT(w.armed, ==, 1);
		wheel_check(&w);
		timer_arm(&w, &p[0].timer, 77 * SECOND + jump[j] + 1);
		CHECK_INT(wheel_expire(&w, 77 * SECOND + jump[j] + MS), ==, 1);
		CHECK_INT(far.fired, ==, 0);
	}
}

TEST(wheel_clock_going_back_stands_still)
{
	struct wheel w;
	struct probe p;

	wheel_init(&w, 10 * SECOND);
	probe_init(&p, &w);
	timer_arm(&w, &p.timer, 11 * SECOND);
	CHECK_INT(wheel_expire(&w, SECOND), ==, 0);
	wheel_check(&w);
	CHECK_INT(wheel_expire(&w, 11 * SECOND), ==, 1);
}

/* Sleeping until wheel_next() reaches every deadline in a handful of wake-ups. */
TEST(wheel_next_leads_to_the_deadline_within_its_levels)
{
	struct wheel w;
	struct probe p;

	wheel_init(&w, 3 * SECOND);
	CHECK(wheel_next(&w) == INT64_MAX);
	probe_init(&p, &w);
	for (int64_t d = 1; d < 40 * YEAR; d = d * 5 + 3) {
		int64_t deadline = w.now_ns + d;
		int wakes = 0;
		p.fired = 0;
		timer_arm(&w, &p.timer, deadline);
		while (!p.fired) {
			int64_t next = wheel_next(&w);
			CHECK_INT(next, >, w.now_ns);
			CHECK_INT(next, <, deadline + MS);
			wheel_expire(&w, next);
			CHECK_INT(++wakes, <=, WHEEL_LEVELS);
		}
		CHECK_INT(w.now_ns, >=, deadline);
	}
}

TEST(wheel_cancel_of_an_idle_timer_does_nothing)
{
	struct wheel w;
	struct probe p;

	wheel_init(&w, 0);
	probe_init(&p, &w);
	timer_cancel(&w, &p.timer);
	CHECK_INT(w.armed, ==, 0);
	timer_arm(&w, &p.timer, SECOND);
	timer_arm(&w, &p.timer, 2 * SECOND);
	CHECK_INT(w.armed, ==, 1);
	timer_cancel(&w, &p.timer);
	timer_cancel(&w, &p.timer);
	CHECK_INT(w.armed, ==, 0);
	CHECK(wheel_next(&w) == INT64_MAX);
	CHECK_INT(wheel_expire(&w, 3 * SECOND), ==, 0);
	CHECK_INT(p.fired, ==, 0);
}

/* --- a million --- */

enum { MILLION = 1000000 };

static int64_t storm_now;
static unsigned storm_fired;

static void storm_fire(struct timer *t)
{
	CHECK(t->deadline_ns <= storm_now);
	CHECK(storm_now - t->deadline_ns < 100 * MS + MS);
	storm_fired++;
}

TEST_LIMIT(wheel_million_timers_fire_once_each, 60)
{
	struct wheel w;
	struct timer *t = malloc(sizeof *t * MILLION);
	unsigned cancelled = 0;

	rng_state = 42;
	wheel_init(&w, 0);
	for (unsigned i = 0; i < MILLION; i++) {
		timer_init(&t[i], storm_fire);
		timer_arm(&w, &t[i], 1 + (int64_t)(rnd() % (100 * SECOND)));
	}
	for (unsigned i = 0; i < MILLION; i += 3)
		timer_arm(&w, &t[i], 1 + (int64_t)(rnd() % (100 * SECOND)));
	for (unsigned i = 1; i < MILLION; i += 3, cancelled++)
		timer_cancel(&w, &t[i]);
	wheel_check(&w);
	CHECK_INT(w.armed, ==, MILLION - cancelled);
	for (storm_now = 0; storm_now <= 100 * SECOND + MS; storm_now += 100 * MS)
		wheel_expire(&w, storm_now);
	wheel_expire(&w, storm_now);
	CHECK_INT(storm_fired, ==, MILLION - cancelled);
	CHECK_INT(w.armed, ==, 0);
	free(t);
}
