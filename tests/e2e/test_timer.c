/* Timers of programs, seen by the real clock. */
#include "rig.h"

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
