/* A million tasks on one worker. Takes half a minute and 6 GiB: not one of the everyday tests. */
#include "../e2e/task_scale.h"

#define MILLION 1000000

static void million(void)
{
	int64_t begin = test_now_ns();

	idle_tasks(MILLION);
	fprintf(stderr, "  made, parked and trimmed in %.1f s\n",
		(double)(test_now_ns() - begin) / 1e9);
}

TEST_LIMIT(task_scale_million_idle_within_their_budget, 280)
{
	need_for(MILLION);
	in_task_cfg((rln_config){ .max_tasks = MILLION + 1,
				  .stack_size = 64 * KIB,
				  .stack_trim_idle = RLN_MS(100) },
		    million);
	CHECK_INT(scale_ended, ==, MILLION);
}
