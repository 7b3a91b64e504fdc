/* Birth, join, cancel and end of tasks, by the public calls; handles; misuse. */
#include "base/log.h"
#include "task_fixture.h"

#include <pthread.h>

static struct list queue;
static int result = 1, result2 = 1, ran, child_result = 77;
static rln_task first, second;

static void up(void)
{
	list_init(&queue);
	sched_up(&(struct sched_config){ 0 });
}

static int return_arg(void *arg)
{
	ran++;
	return (int)(intptr_t)arg;
}

static int wait_long(void *arg)
{
	ran++;
	(void)arg;
	return rln_sleep(RLN_FOREVER);
}

static int spawn_and_join(void *arg)
{
	rln_task t;
	(void)arg;
	CHECK_INT(rln_spawn(return_arg, (void *)42, NULL, &t), ==, 0);
	CHECK_INT(ran, ==, 0); /* never inside the call */
	CHECK_INT(rln_join(t, &child_result), ==, 0);
	CHECK_INT(child_result, ==, 42);
	CHECK_INT(rln_join(t, &child_result), ==, -ESRCH);
	CHECK_INT(rln_cancel(t), ==, -ESRCH);
	return 0;
}

TEST(task_join_waits_for_the_result_and_reaps)
{
	run(spawn_and_join);
	CHECK_INT(ran, ==, 1);
}

static int join_ended(void *arg)
{
	rln_task t;
	(void)arg;
	CHECK_INT(rln_spawn(return_arg, (void *)-5, NULL, &t), ==, 0);
	CHECK_INT(rln_yield(), ==, 0);
	CHECK_INT(ran, ==, 1);
	CHECK_INT(rln_cancel(t), ==, -ESRCH); /* it has ended */
	CHECK_INT(rln_join(t, &child_result), ==, 0);
	CHECK_INT(child_result, ==, -5);
	CHECK_INT(rln_join(t, NULL), ==, -ESRCH);
	return 0;
}

TEST(task_join_of_an_ended_one_returns_at_once)
{
	run(join_ended);
}

static int join_self(void *arg)
{
	(void)arg;
	return result = rln_join(rln_self(), NULL);
}

TEST(task_join_of_oneself_is_a_deadlock)
{
	run(join_self);
	CHECK_INT(result, ==, -EDEADLK);
}

static int join_first(void *arg)
{
	*(int *)arg = rln_join(first, NULL);
	return 0;
}

static int two_joiners(void *arg)
{
	rln_task a, b;
	(void)arg;
	CHECK_INT(rln_spawn(wait_long, NULL, NULL, &first), ==, 0);
	CHECK_INT(rln_spawn(join_first, &result, NULL, &a), ==, 0);
	CHECK_INT(rln_spawn(join_first, &result2, NULL, &b), ==, 0);
	CHECK_INT(rln_join(b, NULL), ==, 0);
	CHECK_INT(result, ==, 1);
	CHECK_INT(rln_cancel(first), ==, 0);
	CHECK_INT(rln_join(a, NULL), ==, 0);
	CHECK_INT(rln_join(first, NULL), ==, -ESRCH); /* the other one reaped it */
	return 0;
}

TEST(task_second_joiner_is_refused)
{
	run(two_joiners);
	CHECK_INT(result, ==, 0);
	CHECK_INT(result2, ==, -EBUSY);
}

static int join_in_time(void *arg)
{
	rln_task t;
	(void)arg;
	CHECK_INT(rln_spawn(wait_long, NULL, NULL, &t), ==, 0);
	CHECK_INT(RLN_WITHIN(RLN_MS(2), rln_join(t, &child_result)), ==, -ETIME);
	CHECK_INT(child_result, ==, 77);
	CHECK_INT(rln_cancel(t), ==, 0); /* it went on */
	CHECK_INT(rln_cancel(t), ==, 0);
	CHECK_INT(rln_join(t, &child_result), ==, 0);
	CHECK_INT(child_result, ==, -ECANCELED);
	return 0;
}

TEST(task_join_that_runs_out_of_time_leaves_the_child_alone)
{
	run(join_in_time);
	CHECK_INT(ran, ==, 1);
}

static int cancel_unstarted(void *arg)
{
	rln_task t;
	(void)arg;
	CHECK_INT(rln_spawn(return_arg, NULL, NULL, &t), ==, 0);
	CHECK_INT(rln_cancel(t), ==, 0);
	CHECK_INT(rln_join(t, &child_result), ==, 0);
	CHECK_INT(child_result, ==, -ECANCELED);
	CHECK_INT(ran, ==, 0);
	return 0;
}

TEST(task_cancelled_before_it_started_never_runs)
{
	run(cancel_unstarted);
}

static int stubborn(void *arg)
{
	(void)arg;
	ran++;
	result = rln_sleep(RLN_FOREVER);
	RLN_SHIELD(s, RLN_MS(3));
	result2 = rln_sleep(RLN_FOREVER);
	return 0;
}

static int leave_children(void *arg)
{
	rln_task t;
	(void)arg;
	CHECK_INT(rln_spawn(wait_long, NULL, NULL, &t), ==, 0);
	CHECK_INT(rln_spawn(stubborn, NULL, NULL, &t), ==, 0);
	CHECK_INT(rln_spawn(return_arg, NULL, NULL, &t), ==, 0);
	CHECK_INT(rln_yield(), ==, 0);
	CHECK_INT(ran, ==, 3);
	CHECK_INT(rln_spawn(return_arg, NULL, NULL, &t), ==, 0);
	return 3;
}

static int outer(void *arg)
{
	rln_task t;
	(void)arg;
	CHECK_INT(rln_spawn(leave_children, NULL, NULL, &t), ==, 0);
	CHECK_INT(rln_join(t, &child_result), ==, 0);
	CHECK_INT(sched.stats.tasks, ==, 1); /* the whole family is gone */
	return 0;
}

TEST(task_children_are_cancelled_and_joined_when_their_parent_returns)
{
	run(outer);
	CHECK_INT(child_result, ==, 3);
	CHECK_INT(ran, ==, 3); /* the last one had not started */
	CHECK_INT(result, ==, -ECANCELED);
	CHECK_INT(result2, ==, -ETIME);
}

static int parent_of_first(void *arg)
{
	(void)arg;
	CHECK_INT(rln_spawn(wait_long, NULL, NULL, &first), ==, 0);
	CHECK_INT(rln_yield(), ==, 0);
	CHECK_INT(rln_yield(), ==, 0);
	return 0; /* cancels first, which somebody else joins */
}

static int stranger(void *arg)
{
	(void)arg;
	result = rln_join(first, &child_result);
	return 0;
}

TEST(task_joined_by_a_stranger_while_its_parent_ends)
{
	up();
	go(parent_of_first, NULL);
	go(stranger, NULL);
	sched_down();
	CHECK_INT(result, ==, 0);
	CHECK_INT(child_result, ==, -ECANCELED);
}

static int join_parent(void *arg)
{
	(void)arg;
	return result = rln_join(first, NULL);
}

static int joined_by_child(void *arg)
{
	rln_task t;
	(void)arg;
	first = rln_self();
	CHECK_INT(rln_spawn(join_parent, NULL, NULL, &t), ==, 0);
	return rln_yield();
}

TEST(task_child_that_joins_its_parent_is_cancelled)
{
	run(joined_by_child);
	CHECK_INT(result, ==, -ECANCELED);
}

static int cancel_self(void *arg)
{
	(void)arg;
	CHECK(!rln_cancelled());
	CHECK_INT(rln_cancel(rln_self()), ==, 0);
	CHECK(rln_cancelled());
	CHECK_INT(rln_yield(), ==, -ECANCELED);
	CHECK_INT(rln_checkpoint(), ==, -ECANCELED);
	CHECK_INT(rln_sleep(0), ==, -ECANCELED);
	CHECK_INT(rln_sleep_until(0), ==, -ECANCELED);
	CHECK_INT(rln_join(first, NULL), ==, -ECANCELED);
	RLN_SHIELD(s, RLN_SEC(100));
	CHECK(!rln_cancelled());
	CHECK_INT(rln_yield(), ==, 0);
	CHECK_INT(rln_checkpoint(), ==, 0);
	CHECK_INT(rln_sleep(0), ==, 0);
	CHECK_INT(rln_sleep_until(0), ==, 0);
	CHECK_INT(rln_join(first, NULL), ==, -ESRCH);
	return 0;
}

TEST(task_cancelled_fails_every_call_at_its_entry_but_inside_a_shield)
{
	run(cancel_self);
}

/* --- each call cancelled while it waits, and at the moment it succeeds --- */

static int do_sleep(void *arg)
{
	(void)arg;
	return result = rln_sleep(RLN_SEC(10));
}
static int do_sleep_until(void *arg)
{
	(void)arg;
	return result = rln_sleep_until(rln_now() + RLN_SEC(10));
}
static int do_join(void *arg)
{
	(void)arg;
	return result = rln_join(first, NULL);
}
static int do_wait(void *arg)
{
	(void)arg;
	return result = wait_on(&queue, "wait");
}
static int do_yield(void *arg)
{
	(void)arg;
	return result = rln_yield();
}

/* Runs between the two halves of t's yield. */
static int cancel_it(void *t)
{
	task_cancel(t);
	return 0;
}

static int (*const waits[])(void *) = { do_sleep, do_sleep_until, do_join, do_wait };
#define WAITS (sizeof waits / sizeof *waits)

static int be_first(void *arg)
{
	(void)arg;
	first = rln_self();
	return wait_on(&queue, "first");
}

TEST(task_each_wait_is_ended_by_a_cancellation)
{
	up();
	for (unsigned i = 0; i < WAITS; i++) {
		struct task *f = go(be_first, NULL);
		turn();
		struct task *t = go(waits[i], NULL);
		result = 1;
		turn();
		CHECK_INT(result, ==, 1);
		CHECK_INT(t->state, ==, TASK_PARKED);
		task_cancel(t);
		turn();
		CHECK_INT(result, ==, -ECANCELED);
		CHECK_INT(loop.wheel.armed, ==, 0);
		CHECK_INT(f->state, ==, TASK_PARKED); /* what it waited for is untouched */
		CHECK(waiter_first(&queue) == f->waiter);
		wake_all(&queue, 0);
		drive();
	}
	sched_down();
}

TEST(task_each_wait_that_succeeded_before_the_cancellation_keeps_its_result)
{
	up();
	for (unsigned i = 0; i < WAITS; i++) {
		go(be_first, NULL);
		turn();
		struct task *t = go(waits[i], NULL);
		result = 1;
		turn();
		wake_all(&queue, 0); /* join: what is joined ends; wait: woken */
		loop.now_ns = sys_now() + 11 * SECOND;
		wheel_expire(&loop.wheel, loop.now_ns);
		if (waits[i] == do_join)
			turn_at(loop.now_ns);
		else
			CHECK_INT(t->state, ==, TASK_READY);
		task_cancel(t);
		turn_at(loop.now_ns);
		CHECK_INT(result, ==, 0);
		drive();
		/* The wheel's clock is ahead now: start anew. */
		wheel_init(&loop.wheel, sys_now());
	}
	struct task *t = go(do_yield, NULL);
	go(cancel_it, t);
	sched_down();
	CHECK_INT(result, ==, 0);
}

/* --- options and handles --- */

struct big {
	uint64_t word[100];
};

static int check_copy(void *arg)
{
	struct big *b = arg;
	CHECK_INT((uintptr_t)b % 16, ==, 0);
	for (uint64_t i = 0; i < 100; i++)
		CHECK_INT(b->word[i], ==, i * i);
	memset(b, 0xff, sizeof *b);
	CHECK((uint8_t *)b >= task_running()->stack->bottom);
	CHECK((uint8_t *)b < task_running()->stack->top);
	ran++;
	return rln_yield();
}

static int spawn_copies(void *arg)
{
	rln_task t;
	(void)arg;
	for (int k = 0; k < 10; k++) {
		struct big b;
		for (uint64_t i = 0; i < 100; i++)
			b.word[i] = i * i;
		rln_task_opts o = { .name = "copied", .copy = &b, .copy_size = sizeof b };
		CHECK_INT(rln_spawn(check_copy, NULL, &o, &t), ==, 0);
		memset(&b, 0, sizeof b);
	}
	CHECK_INT(rln_yield(), ==, 0);
	CHECK_INT(ran, ==, 10);
	return 0;
}

TEST(task_copied_argument_lives_on_its_own_stack)
{
	run(spawn_copies);
}

struct newer_opts {
	rln_task_opts o;
	uint64_t more;
};

static int try_opts(void *arg)
{
	struct newer_opts newer = { .o = { .stack_size = 200u << 10 } };
	rln_task t;
	(void)arg;
	CHECK_INT(rln_spawn_at(return_arg, NULL, &newer.o, &t, sizeof newer, "f.c", 1), ==, 0);
	struct task *child = container_of(task_running()->kids->running.next, struct task, sibling);
	CHECK_INT(child->stack->top - child->stack->bottom, ==, (512u << 10) * STACK_SCALE);
	newer.more = 1;
	CHECK_INT(rln_spawn_at(return_arg, NULL, &newer.o, &t, sizeof newer, "f.c", 1), ==, -E2BIG);
	/* An older program's are shorter: the rest is zero. */
	newer.o = (rln_task_opts){ .name = "old", .copy_size = 5 };
	CHECK_INT(rln_spawn_at(return_arg, NULL, &newer.o, &t, sizeof(char *), "f.c", 1), ==, 0);
	CHECK_INT(rln_spawn(return_arg, NULL, &newer.o, &t), ==, -EINVAL);
	CHECK_INT(rln_spawn(NULL, NULL, NULL, &t), ==, -EINVAL);
	CHECK_INT(rln_go(NULL, NULL, NULL), ==, -EINVAL);
	CHECK_INT(rln_spawn(return_arg, NULL, &(rln_task_opts){ .stack_size = 9u << 20 }, &t), ==,
		  -EINVAL);
	return 0;
}

TEST(task_options_are_checked_and_sized)
{
	run(try_opts);
	CHECK_INT(ran, ==, 0); /* children of a task that returned: cancelled */
}

static int be_second(void *arg)
{
	(void)arg;
	second = rln_self();
	return 0;
}

static int check_handles(void *arg)
{
	rln_task self = rln_self(), other = self, late = self;
	(void)arg;
	CHECK_INT(self.h >> 56, ==, WORKER);
	CHECK((uint32_t)self.h != 0);
	other.h += UINT64_C(1) << 56;
	late.h++;
	CHECK_INT(rln_cancel(other), ==, -EXDEV);
	CHECK_INT(rln_join(other, NULL), ==, -EXDEV);
	CHECK_INT(rln_cancel(late), ==, -ESRCH);
	CHECK_INT(rln_join(late, NULL), ==, -ESRCH);
	CHECK_INT(rln_cancel((rln_task){ 0 }), ==, -ESRCH);
	CHECK_INT(rln_join((rln_task){ 0 }, NULL), ==, -ESRCH);
	late.h = (uint64_t)WORKER << 56 | UINT64_C(0xffffff) << 32 | 1;
	CHECK_INT(rln_join(late, NULL), ==, -ESRCH);
	/* The record is used again at once, under another handle. */
	for (int i = 0; i < 100; i++) {
		rln_task before = second;
		CHECK_INT(rln_go(be_second, NULL, NULL), ==, 0);
		CHECK_INT(rln_yield(), ==, 0);
		CHECK(second.h != before.h);
		CHECK_INT(second.h >> 32, ==, (uint64_t)WORKER << 24 | 1);
		CHECK_INT(rln_join(second, NULL), ==, -ESRCH);
	}
	return 0;
}

TEST(task_handles_tell_worker_and_generation)
{
	run(check_handles);
}

static int join_detached(void *arg)
{
	(void)arg;
	CHECK_INT(rln_join(first, &child_result), ==, 0);
	CHECK_INT(rln_join(first, &child_result), ==, -ESRCH);
	return 0;
}

static int be_first_yield(void *arg)
{
	(void)arg;
	first = rln_self();
	CHECK_INT(rln_yield(), ==, 0);
	return 12;
}

TEST(task_detached_one_can_be_joined_while_it_runs)
{
	up();
	go(be_first_yield, NULL);
	go(join_detached, NULL);
	sched_down();
	CHECK_INT(child_result, ==, 12);
}

static void told(struct task *t)
{
	CHECK(task_running() == NULL);
	CHECK_INT(t->result, ==, 9);
	*(int *)t->ended_ctx += 1;
}

TEST(task_end_is_told_from_the_loop_once)
{
	up();
	struct task *t = go(return_arg, (void *)9);
	t->ended = told;
	t->ended_ctx = &ran;
	sched_down();
	CHECK_INT(ran, ==, 2);
}

/* --- misuse --- */

static char said[8][LOG_LINE_MAX];
static unsigned said_lines;

static void hear(int level, const char *msg, void *arg)
{
	(void)arg;
	CHECK_INT(level, ==, RLN_LOG_ERROR);
	if (said_lines < 8)
		snprintf(said[said_lines], LOG_LINE_MAX, "%s", msg);
	said_lines++;
}

TEST(task_calls_outside_a_task_are_refused_and_logged_once)
{
	struct log_sink sink = { .fn = hear };
	rln_task t = { 0 };

	log_use(&sink);
	for (int i = 0; i < 3; i++) {
		CHECK_INT(rln_sleep(1), ==, -EPERM);
		CHECK_INT(rln_yield(), ==, -EPERM);
		CHECK_INT(rln_join(t, NULL), ==, -EPERM);
	}
	CHECK_INT(rln_checkpoint(), ==, -EPERM);
	CHECK_INT(said_lines, ==, 4);
	CHECK_HAS(said[0], "rln_sleep called from thread ");
	CHECK_HAS(said[0], "which is not a worker");
	CHECK_INT(rln_go(return_arg, NULL, NULL), ==, -EPERM);
	CHECK_INT(rln_spawn(return_arg, NULL, NULL, &t), ==, -EPERM);
	CHECK_INT(rln_cancel(t), ==, -EPERM);
	CHECK_INT(rln_self().h, ==, 0);
	CHECK(!rln_cancelled());
	CHECK_INT(rln_now(), >, 0);
	CHECK_INT(said_lines, ==, 7);
}

TEST(task_calls_that_wait_are_refused_in_callbacks)
{
	struct log_sink sink = { .fn = hear };
	rln_task t;

	log_use(&sink);
	up();
	CHECK_INT(rln_sleep(1), ==, -EDEADLK);
	CHECK_INT(rln_sleep(1), ==, -EDEADLK);
	CHECK_INT(rln_sleep_until(1), ==, -EDEADLK);
	CHECK_INT(rln_spawn(return_arg, NULL, NULL, &t), ==, -EDEADLK);
	CHECK_INT(said_lines, ==, 3);
	CHECK_HAS(said[0], "rln_sleep called in a callback");
	CHECK_INT(rln_self().h, ==, 0);
	CHECK_INT(rln_now(), ==, loop.now_ns);
	CHECK_INT(rln_go(return_arg, NULL, NULL), ==, 0); /* does not wait */
	CHECK_INT(ran, ==, 0);
	sched_down();
	CHECK_INT(ran, ==, 1);
}
