/* Timers of programs, seen by the real clock. */
#include "rig.h"

#include <sys/syscall.h>

/* Every look of this thread at the clock, the library's included. */
static _Thread_local unsigned clock_reads;

int clock_gettime(clockid_t clock, struct timespec *ts)
{
	clock_reads++;
	return (int)syscall(SYS_clock_gettime, clock, ts);
}

static int64_t fired_ns;

static void note_time(rln_timer *t, void *ud)
{
	(void)t;
	(void)ud;
	fired_ns = test_now_ns();
}

static void compute_ms(int ms)
{
	for (int64_t end = test_now_ns() + RLN_MS(ms); test_now_ns() < end;)
		;
}

/* The clock of the loop is behind by then: the timer must not be short by that. */
TASK_TEST(timer_started_late_in_a_long_turn_is_not_early)
{
	for (int i = 0; i < 5; i++) {
		rln_timer t = { { 0 } };
		CHECK_INT(rln_yield(), ==, 0);
		compute_ms(12);
		fired_ns = 0;
		int64_t begin_ns = test_now_ns();
		rln_timer_start(&t, RLN_MS(8), note_time, NULL);
		TASK_EVENTUALLY(fired_ns);
		CHECK_INT(fired_ns - begin_ns, >=, RLN_MS(8));
	}
}

static unsigned fired;

static void count(rln_timer *t, void *ud)
{
	(void)t;
	(void)ud;
	fired++;
}

/* One look of the loop is enough for all timers that a turn starts, stops and starts anew. */
TASK_TEST(timer_starts_do_not_read_the_clock)
{
	static rln_timer t[1000];
	unsigned before = clock_reads;

	CHECK_INT(rln_sleep(RLN_MS(1)), ==, 0);
	CHECK_INT(clock_reads, >, before); /* it does count */
	before = clock_reads;
	for (int i = 0; i < 3000; i++) {
		rln_timer_start(&t[i % 1000], RLN_MS(1 + i % 3), count, NULL);
		if (i % 4 == 0)
			rln_timer_stop(&t[i % 1000]);
	}
	CHECK_INT(clock_reads - before, ==, 0);
	TASK_EVENTUALLY(fired == 750);
	CHECK_INT(rln_sleep(RLN_MS(5)), ==, 0);
	CHECK_INT(fired, ==, 750);
}
