/*
 * Stacks that overflow, in whole programs: who did it is said, and the process dies of the fault.
 * Also where no guard helps: a frame larger than the guard, in code compiled without probes.
 */
#include "rig.h"
#include <signal.h>

#if defined(__SANITIZE_THREAD__)
#define DIES(fn, text) CHECK_DIES(fn, -66, text)
#define KIBS "512"
#elif defined(__SANITIZE_ADDRESS__)
#define DIES(fn, text) CHECK_DIES(fn, -1, text)
#define KIBS "512"
#else
#define DIES(fn, text) CHECK_DIES(fn, SIGSEGV, text)
#define KIBS "128"
#endif
#define REPORT_1 "ringline: stack overflow in task deep (spawned "
#define REPORT_2 "), stack " KIBS " KiB, raise .stack_size"

static volatile bool never;

static __attribute__((noinline)) int grow(int n)
{
	volatile char frame[1024];

	frame[0] = (char)n;
	return never ? 0 : grow(n + 1) + frame[0];
}

static int grow_task(void *arg)
{
	(void)arg;
	return grow(0);
}

static unsigned on_worker;
static int (*task_fn)(void *);

static int wait_task(void *arg)
{
	(void)arg;
	return rln_sleep(RLN_FOREVER);
}

/* The first stack has no neighbour below: the one that overflows is not the first. */
static int begin(void *arg)
{
	const rln_task_opts o = { .name = "deep" };

	(void)arg;
	for (int i = 0; i < 4; i++)
		CHECK_INT(rln_go(wait_task, NULL, NULL), ==, 0);
	CHECK_INT(rln_go_on(NULL, on_worker, task_fn, NULL, &o), ==, 0);
	return rln_sleep(RLN_FOREVER);
}

static void run_it(void)
{
	_exit(rln_main(&(rln_config){ .workers = 2, .no_pin = true, .main = begin }) + 100);
}

static void dies_deep(int (*fn)(void *))
{
	task_fn = fn;
	for (on_worker = 0; on_worker < 2; on_worker++) {
		DIES(run_it, REPORT_1);
		DIES(run_it, REPORT_2);
	}
}

TEST(overflow_by_recursion_names_the_task_on_every_worker)
{
	dies_deep(grow_task);
}

/* With probes, as the library and its users are compiled: the guard is touched on the way. */
static __attribute__((noinline)) int large_frame(void)
{
	char frame[600 << 10];

	frame[0] = 1;
	__asm__ volatile("" : : "r"(frame) : "memory"); /* all of it is there */
	return frame[0] + rln_sleep(1);
}

static int large_task(void *arg)
{
	(void)arg;
	return large_frame();
}

TEST(overflow_by_one_large_frame_meets_the_guard)
{
	dies_deep(large_task);
}

/*
 * Without probes 200 KiB step over guard and neighbour's top. Nothing faults; the next wait sees
 * where the stack pointer is.
 */
#if defined(__GNUC__) && !defined(__clang__) && !defined(__SANITIZE_ADDRESS__) && \
	!defined(__SANITIZE_THREAD__)
static __attribute__((noinline, optimize("no-stack-clash-protection"))) int jump(void)
{
	volatile char frame[200 << 10];

	frame[sizeof frame - 1] = 1;
	return frame[sizeof frame - 1] + rln_sleep(1);
}

static int jump_task(void *arg)
{
	(void)arg;
	return jump();
}

TEST(overflow_past_the_guard_is_found_when_the_task_waits)
{
	task_fn = jump_task;
	on_worker = 0;
	CHECK_DIES(run_it, SIGABRT, REPORT_1);
	CHECK_DIES(run_it, SIGABRT, "a frame went past the guard");
}
#endif

/* A callback has the thread's own stack: its overflow is no task's. */
static void grow_callback(void *arg)
{
	(void)arg;
	grow(0);
}

static int post_growth(void *arg)
{
	(void)arg;
	CHECK_INT(rln_post(NULL, 0, grow_callback, NULL), ==, 0);
	return rln_sleep(RLN_FOREVER);
}

static void overflow_in_callback(void)
{
	_exit(rln_main(&(rln_config){ .workers = 1, .no_pin = true, .main = post_growth }) + 100);
}

TEST(overflow_in_a_callback_is_not_blamed_on_a_task)
{
	static char text[65536];
	size_t n = 0;
	int p[2];

	DIES(overflow_in_callback, NULL);
	CHECK(pipe(p) == 0);
	fflush(NULL);
	pid_t pid = fork();
	if (pid == 0) {
		dup2(p[1], 2);
		close(p[1]);
		overflow_in_callback();
	}
	close(p[1]);
	for (ssize_t r; n < sizeof text - 1 && (r = read(p[0], text + n, sizeof text - 1 - n)) > 0;)
		n += (size_t)r;
	text[n] = 0;
	CHECK(!strstr(text, "raise .stack_size"));
}
