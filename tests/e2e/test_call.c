/* rln_call, rln_post and rln_go_on from threads of the program's own. */
#include "rig.h"

#include <stdatomic.h>

static rln_runtime *up(unsigned workers)
{
	rln_config cfg = { .workers = workers, .no_pin = true };
	rln_runtime *rt;

	CHECK_INT(rln_start(&cfg, &rt), ==, 0);
	return rt;
}

static void down(rln_runtime *rt)
{
	rln_shutdown(rt);
	CHECK_INT(rln_wait(rt), ==, 0);
}

static int nothing(void *arg)
{
	(void)arg;
	return 0;
}

static void never(void *arg)
{
	test_fail(__FILE__, __LINE__, "a function that was refused runs: %p", arg);
}

static int sleep_and_add(void *arg)
{
	CHECK_INT(rln_sleep(RLN_US(100)), ==, 0);
	return *(int *)arg + (int)rln_worker() + 1;
}

TEST(call_runs_a_task_there_and_returns_its_result)
{
	rln_runtime *rt = up(2);
	int base = 40, result = 0;

	CHECK_INT(rln_call(rt, 1, sleep_and_add, &base, &result), ==, 0);
	CHECK_INT(result, ==, 42);
	CHECK_INT(rln_call(rt, 0, sleep_and_add, &base, NULL), ==, 0);
	down(rt);
}

static int call_inside(void *arg)
{
	return rln_call(arg, 0, sleep_and_add, arg, NULL);
}

TEST(call_misuse_is_refused)
{
	rln_runtime *rt = up(1);
	int result;

	CHECK_INT(rln_call(rt, 1, sleep_and_add, rt, NULL), ==, -EINVAL);
	CHECK_INT(rln_call(rt, 0, NULL, rt, NULL), ==, -EINVAL);
	CHECK_INT(rln_call(NULL, 0, sleep_and_add, rt, NULL), ==, -EINVAL);
	CHECK_INT(rln_call(rt, 0, call_inside, rt, &result), ==, 0);
	CHECK_INT(result, ==, -EDEADLK);
	down(rt);
}

TEST(call_without_room_for_a_task_says_so)
{
	rln_config cfg = { .workers = 1, .no_pin = true, .max_tasks = 1 };
	rln_runtime *rt;
	int result;

	CHECK_INT(rln_start(&cfg, &rt), ==, 0);
	CHECK_INT(rln_call(rt, 0, sleep_and_add, &(int){ 1 }, &result), ==, 0);
	CHECK_INT(result, ==, 2);
	down(rt);
}

static atomic_bool begun;

static int until_cancelled(void *arg)
{
	(void)arg;
	atomic_store(&begun, true);
	return rln_sleep(RLN_FOREVER);
}

static void *call_thread(void *arg)
{
	int result = 0, e = rln_call(arg, 0, until_cancelled, NULL, &result);
	CHECK(e == 0);
	CHECK_INT(result, ==, -ECANCELED);
	return NULL;
}

TEST(call_under_way_at_the_shutdown_is_cancelled_and_returns)
{
	rln_runtime *rt = up(1);
	pthread_t t;

	CHECK(pthread_create(&t, NULL, call_thread, rt) == 0);
	EVENTUALLY(atomic_load(&begun));
	rln_shutdown(rt);
	CHECK(pthread_join(t, NULL) == 0);
	CHECK_INT(rln_wait(rt), ==, 0);
}

TEST(call_of_a_worker_that_is_gone_is_eshutdown)
{
	rln_runtime *rt = up(1);
	int e;

	rln_shutdown(rt);
	do /* until the drain is over; before, the task is cancelled or runs */
		e = rln_call(rt, 0, nothing, NULL, NULL);
	while (e == 0);
	CHECK_INT(e, ==, -ESHUTDOWN);
	for (int i = 0; i < 70000; i++) /* also after more than there is room for */
		CHECK_INT(rln_post(rt, 0, never, NULL), ==, -ESHUTDOWN);
	CHECK_INT(rln_wait(rt), ==, 0);
}

/* ---- more posts than there may be */
static sem_t held, go_on;
static unsigned ran;

static void hold(void *arg)
{
	(void)arg;
	sem_post(&held);
	sem_wait(&go_on);
}

static void in_order(void *arg)
{
	CHECK_INT((uintptr_t)arg, ==, ran++);
}

TEST(post_beyond_the_bound_is_eagain_and_the_others_run)
{
	rln_runtime *rt = up(1);
	uintptr_t n = 0;
	int e;

	CHECK(sem_init(&held, 0, 0) == 0 && sem_init(&go_on, 0, 0) == 0);
	CHECK_INT(rln_post(rt, 0, hold, NULL), ==, 0);
	CHECK(sem_wait(&held) == 0);
	do
		e = rln_post(rt, 0, in_order, (void *)n);
	while (!e && ++n < 1000000);
	CHECK_INT(e, ==, -EAGAIN);
	CHECK_INT(n, >, 64000);
	CHECK_INT(n, <=, 65536);
	CHECK_INT(rln_post(rt, 0, in_order, (void *)n), ==, -EAGAIN);
	sem_post(&go_on);
	CHECK_INT(rln_call(rt, 0, nothing, NULL, NULL), ==, 0); /* behind them */
	CHECK_INT(ran, ==, n);
	CHECK_INT(rln_post(rt, 0, in_order, (void *)n), ==, 0);
	down(rt);
	CHECK_INT(ran, ==, n + 1);
}

/* C3: what one thread posts to one worker runs in that order, from several threads at once. */
enum { THREADS = 3, EACH = 1000 }; /* ThreadSanitizer knows 8128 tasks at a time */
static unsigned next_of[THREADS];
static rln_runtime *target;

static void posted(void *arg)
{
	unsigned thread = (unsigned)((uintptr_t)arg >> 32);
	CHECK_INT((uint32_t)(uintptr_t)arg, ==, next_of[thread]++);
}

static int went(void *arg)
{
	posted(arg);
	return 0;
}

static void *post_thread(void *arg)
{
	for (uintptr_t i = 0; i < EACH; i++) {
		void *what = (void *)((uintptr_t)arg << 32 | i);
		int e;
		do
			e = rln_post(target, 0, posted, what);
		while (e == -EAGAIN);
		CHECK_INT(e, ==, 0);
	}
	return NULL;
}

static void *go_thread(void *arg)
{
	for (uintptr_t i = 0; i < EACH; i++)
		CHECK_INT(rln_go_on(target, 0, went, (void *)((uintptr_t)arg << 32 | i), NULL), ==,
			  0);
	return NULL;
}

static void storm(void *(*fn)(void *))
{
	pthread_t t[THREADS];

	target = up(1);
	memset(next_of, 0, sizeof next_of);
	for (uintptr_t i = 0; i < THREADS; i++)
		CHECK(pthread_create(&t[i], NULL, fn, (void *)i) == 0);
	for (int i = 0; i < THREADS; i++)
		CHECK(pthread_join(t[i], NULL) == 0);
	CHECK_INT(rln_call(target, 0, nothing, NULL, NULL), ==, 0); /* behind all of them */
	down(target);
	for (int i = 0; i < THREADS; i++)
		CHECK_INT(next_of[i], ==, EACH);
}

TEST(post_from_many_threads_keeps_the_order_of_each)
{
	storm(post_thread);
}

TEST(go_on_from_many_threads_starts_tasks_in_the_order_of_each)
{
	storm(go_thread);
}

static void *call_often(void *arg)
{
	int result, base = (int)(intptr_t)arg;

	for (int i = 0; i < 300; i++) {
		CHECK_INT(rln_call(target, i % 2 ? 1 : 0, sleep_and_add, &base, &result), ==, 0);
		CHECK_INT(result, ==, base + 1 + i % 2);
	}
	return NULL;
}

TEST(call_stress_each_thread_gets_its_own_result)
{
	pthread_t t[THREADS];

	target = up(2);
	for (intptr_t i = 0; i < THREADS; i++)
		CHECK(pthread_create(&t[i], NULL, call_often, (void *)(i * 100)) == 0);
	for (int i = 0; i < THREADS; i++)
		CHECK(pthread_join(t[i], NULL) == 0);
	down(target);
}

/* ---- a thread that was cancelled ends where it may, which is not in the middle of a post */
static atomic_uint arrived;

static void arrive(void *arg)
{
	atomic_fetch_add((atomic_uint *)arg, 1);
}

static void *post_although_cancelled(void *arg)
{
	int base = 1;

	CHECK(pthread_cancel(pthread_self()) == 0);
	for (unsigned i = 1; i <= 300; i++) {
		CHECK_INT(rln_post(arg, 0, arrive, &arrived), ==, 0);
		while (atomic_load(&arrived) < i)
			sched_yield(); /* the worker goes to sleep meanwhile, and has to be woken */
	}
	CHECK_INT(rln_call(arg, 0, sleep_and_add, &base, &base), ==, 0);
	CHECK_INT(base, ==, 2);
	atomic_store(&begun, true);
	pthread_testcancel();
	return arg;
}

TEST(call_post_and_call_are_no_points_of_thread_cancellation)
{
	rln_runtime *rt = up(1);
	pthread_t thread;
	void *end;

	atomic_store(&begun, false);
	CHECK(pthread_create(&thread, NULL, post_although_cancelled, rt) == 0);
	CHECK(pthread_join(thread, &end) == 0);
	CHECK(end == PTHREAD_CANCELED);
	CHECK(atomic_load(&begun));
	down(rt);
}
