/*
 * What the tests of tasks share: one scheduler a test, on a loop that has a clock and a wheel but
 * no ring, so that they run where there is no io_uring.
 */
#ifndef RINGLINE_TESTS_TASK_FIXTURE_H
#define RINGLINE_TESTS_TASK_FIXTURE_H

#include "base/ctx.h"
#include "base/sys.h"
#include "task/task.h"
#include "test.h"

#include <errno.h>
#include <signal.h>

#define MS INT64_C(1000000)
#define SECOND (1000 * MS)
#define WORKER 3

#if STACK_SCALE > 1
#define SANITIZED 1
#else
#define SANITIZED 0
#endif

static struct loop loop;
static struct sched sched;
static struct ctx ctx = { .loop = &loop, .sched = &sched };

static inline void sched_up(const struct sched_config *cfg)
{
	loop.now_ns = sys_now();
	wheel_init(&loop.wheel, loop.now_ns);
	CHECK_INT(sched_open(&sched, &loop, cfg), ==, 0);
	sched.worker_index = WORKER;
	ctx_current_ = &ctx;
}

static inline void turn_at(int64_t now_ns)
{
	loop.now_ns = now_ns;
	wheel_expire(&loop.wheel, now_ns);
	loop.stage[LOOP_RUN].fn(loop.stage[LOOP_RUN].ctx);
	sched_check(&sched);
}

static inline void turn(void)
{
	turn_at(sys_now());
}

/* Turns until every task has ended. */
static inline void drive(void)
{
	int64_t limit_ns = sys_now() + 20 * SECOND;
	while (sched.stats.tasks) {
		turn();
		CHECK(sys_now() < limit_ns);
	}
	CHECK(list_empty(&sched.ready) && list_empty(&sched.parked) && list_empty(&sched.trimmed));
}

static inline void sched_down(void)
{
	drive();
	sched_close(&sched);
	CHECK_INT(loop.wheel.armed, ==, 0);
	CHECK(list_empty(&sched.stacks.slabs));
	ctx_current_ = NULL;
}

static inline struct task *go(int (*fn)(void *), void *arg)
{
	struct task *t;
	struct task_spec spec = {
		.fn = fn, .arg = arg, .name = "test", .file = "here.c", .line = 7
	};
	CHECK_INT(task_create(&sched, &spec, &t), ==, 0);
	return t;
}

/* Run fn as the only task, to its end. */
static inline void run(int (*fn)(void *))
{
	sched_up(&(struct sched_config){ 0 });
	go(fn, NULL);
	sched_down();
}

#endif
