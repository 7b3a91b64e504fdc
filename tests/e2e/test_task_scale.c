/* Many tasks: what an idle one costs, that depth is given back, and where guards are mappings. */
#include "task_scale.h"
#include <sys/resource.h>

#define HUNDRED_THOUSAND 100000

static void hundred_thousand(void)
{
	idle_tasks(HUNDRED_THOUSAND);
}

TEST_LIMIT(task_scale_hundred_thousand_idle_within_their_budget, 60)
{
	need_for(HUNDRED_THOUSAND);
	in_task_cfg(
		(rln_config){ .max_tasks = HUNDRED_THOUSAND + 1, .stack_trim_idle = RLN_MS(20) },
		hundred_thousand);
	CHECK_INT(scale_ended, ==, HUNDRED_THOUSAND);
}

/* ---- depth that was needed once */
#define DEEP_TASKS 2000
#define DEEP (96 * KIB)

static __attribute__((noinline)) void go_deep(void)
{
	volatile char frame[DEEP];

	for (size_t i = 0; i < sizeof frame; i += KIB)
		frame[i] = 1;
}

static int deep_task(void *arg)
{
	go_deep();
	return scale_task(arg);
}

/* Pages touched so far: how many there are at one time depends on how fast they are given back. */
static long pages_touched(void)
{
	struct rusage u;

	CHECK_INT(getrusage(RUSAGE_SELF, &u), ==, 0);
	return u.ru_minflt;
}

static void deep_once(void)
{
	uint64_t before = footprint().resident;
	long touched = pages_touched();

	for (unsigned i = 0; i < DEEP_TASKS; i++)
		CHECK_INT(rln_go(deep_task, NULL, NULL), ==, 0);
	TASK_EVENTUALLY(scale_parked == DEEP_TASKS);
	CHECK_INT(pages_touched() - touched, >=, DEEP_TASKS * (DEEP / sysconf(_SC_PAGESIZE)) / 2);
	TASK_EVENTUALLY(footprint().resident <= before + DEEP_TASKS * TASK_BYTES);
}

TEST(task_scale_depth_needed_once_is_given_back)
{
	need_for(DEEP_TASKS * 20);
	in_task_cfg((rln_config){ .stack_trim_idle = RLN_MS(100) }, deep_once);
	CHECK_INT(scale_ended, ==, DEEP_TASKS);
}

/* ---- guards by mprotect(2): the system's limit of mappings is met, in order */
static unsigned limit_said;

static void hear(int level, const char *msg, void *arg)
{
	(void)arg;
	limit_said += level == RLN_LOG_ERROR && strstr(msg, "vm.max_map_count") != NULL;
}

static unsigned map_limit;

static int short_task(void *arg)
{
	*(unsigned *)arg += 1;
	return 0;
}

static void until_the_limit(void)
{
	unsigned made = 0, ran = 0;
	int e;

	while ((e = rln_go(scale_task, NULL, NULL)) == 0)
		if (++made % 4096 == 0)
			CHECK_INT(rln_yield(), ==, 0);
	CHECK_INT(e, ==, -EAGAIN);
	/* two mappings each, half of what the process may have; this task has a stack, too */
	CHECK_INT(made, >=, map_limit / 4 - 256);
	CHECK_INT(made, <=, map_limit / 4);
	CHECK_INT(mappings(), <, map_limit);
	CHECK_INT(rln_go(scale_task, NULL, NULL), ==, -EAGAIN);
	CHECK_INT(limit_said, ==, 1);
	TASK_EVENTUALLY(scale_parked == made);
	/* What there is goes on; a stack that comes back is used again. */
	rln_task t;
	CHECK_INT(rln_spawn(short_task, &ran, NULL, &t), ==, -EAGAIN);
	CHECK_INT(rln_sleep(RLN_MS(1)), ==, 0);
}

TEST_LIMIT(task_scale_limit_of_mappings_is_an_error_that_names_it, 60)
{
	FILE *f = fopen("/proc/sys/vm/max_map_count", "r");

	CHECK(f && fscanf(f, "%u", &map_limit) == 1);
	fclose(f);
	if (SANITIZED)
		SKIP("sanitizers cannot run with locked memory");
	if (map_limit > 300000)
		SKIP("vm.max_map_count is %u here: it would take too many tasks", map_limit);
	if (guards_without_mappings() && geteuid() != 0)
		SKIP("only root can lock this much memory, and guards need no mappings");
	/* Light guards are refused in locked memory, as on kernels before 6.13. */
	if (guards_without_mappings() && mlockall(MCL_FUTURE | MCL_ONFAULT) < 0)
		SKIP("memory cannot be locked (%s), and guards need no mappings", strerror(errno));
	in_task_cfg((rln_config){ .max_tasks = 1 << 20, .stack_size = 64 * KIB, .log = hear },
		    until_the_limit);
	CHECK_INT(scale_ended, ==, scale_parked);
}
