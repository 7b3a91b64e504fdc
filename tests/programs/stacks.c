/*
 * A program to be looked at by a debugger: tasks that wait at known depths on two workers, and one
 * that runs. It says so, and stays until it is ended.
 */
#include <pthread.h>
#include <ringline.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

#if defined(__clang__)
#define FRAME __attribute__((noinline))
#else
#define FRAME __attribute__((noinline, noclone))
#endif

static volatile int depth_reached;

/* No tail calls: every function is on the stack. */
static FRAME int innermost(int level)
{
	int e = rln_sleep(RLN_FOREVER);
	depth_reached = level;
	return e;
}

static FRAME int middle(int level)
{
	int e = innermost(level + 1);
	depth_reached = level;
	return e;
}

static FRAME int outermost(int level)
{
	int e = middle(level + 1);
	depth_reached = level;
	return e;
}

static int waiting_task(void *arg)
{
	RLN_DEADLINE(d, RLN_SEC(1000));
	int e = outermost((int)(size_t)arg);
	depth_reached = 0;
	return e;
}

/* Where the debugger stops. */
static FRAME void running_here(int level)
{
	depth_reached = level;
	__asm__ volatile("" ::: "memory");
}

static FRAME int running_outer(int level)
{
	running_here(level + 1);
	depth_reached = level;
	return 0;
}

static int running_task(void *arg)
{
	(void)arg;
	int e = running_outer(1);
	depth_reached = 0;
	return e;
}

static int unborn_task(void *arg)
{
	(void)arg;
	return 0;
}

static int main_task(void *arg)
{
	const rln_task_opts sleeper = { .name = "sleeper" }, runner = { .name = "runner" },
			    unborn = { .name = "unborn" };
	rln_task t;

	(void)arg;
	if (rln_spawn(waiting_task, (void *)7, &sleeper, &t) < 0 ||
	    rln_go_on(NULL, 1, waiting_task, (void *)9, &sleeper) < 0 || rln_sleep(RLN_MS(50)) < 0)
		return 1;
	if (rln_spawn(running_task, NULL, &runner, &t) < 0 ||
	    rln_spawn(unborn_task, NULL, &unborn, &t) < 0 || rln_yield() < 0)
		return 1;
	puts("all wait");
	fflush(stdout);
	return rln_sleep(RLN_FOREVER);
}

int main(void)
{
	/* Where only parents may look at their children, anybody may look at this one. */
	prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY, 0, 0, 0);
	return rln_main(&(rln_config){
		.workers = 2, .no_pin = true, .main = main_task, .stall_warn = RLN_FOREVER });
}
