/* rln_oneshot: one result between threads, in every order of set, wait, abandon and cancel. */
#include "rig.h"

#include <stdatomic.h>

static rln_oneshot o;
static intptr_t v;

static void set_7(void *arg)
{
	CHECK_INT(rln_oneshot_set(arg, 7), ==, 0);
}

TASK_TEST(oneshot_set_before_the_wait_is_returned_again_and_again)
{
	CHECK_INT(rln_oneshot_set(&o, -3), ==, 0);
	CHECK_INT(rln_oneshot_set(&o, 4), ==, -EALREADY);
	rln_oneshot_abandon(&o);
	for (int i = 0; i < 3; i++) {
		v = 0;
		CHECK_INT(rln_oneshot_wait(&o, &v), ==, 0);
		CHECK_INT(v, ==, -3);
	}
	CHECK_INT(rln_oneshot_wait(&o, NULL), ==, 0);
	CHECK_INT(rln_oneshot_set(NULL, 1), ==, -EINVAL);
	CHECK_INT(rln_oneshot_wait(NULL, &v), ==, -EINVAL);
}

TASK_TEST(oneshot_abandoned_is_epipe)
{
	rln_oneshot_abandon(&o);
	CHECK_INT(rln_oneshot_wait(&o, &v), ==, -EPIPE);
	CHECK_INT(rln_oneshot_set(&o, 1), ==, -EALREADY);
	CHECK_INT(rln_oneshot_wait(&o, &v), ==, -EPIPE);
}

static void abandon(void *arg)
{
	rln_oneshot_abandon(arg);
}

TASK_TEST(oneshot_abandoned_by_another_thread_ends_the_wait)
{
	struct peer p;

	peer_start(&p, abandon, &o);
	CHECK_INT(rln_oneshot_wait(&o, &v), ==, -EPIPE);
	peer_join(&p);
}

TASK_TEST(oneshot_set_by_another_thread_wakes_the_wait)
{
	struct peer p;

	peer_start(&p, set_7, &o);
	CHECK_INT(rln_oneshot_wait(&o, &v), ==, 0);
	CHECK_INT(v, ==, 7);
	peer_join(&p);
}

static int waited;

static int wait_for_it(void *arg)
{
	intptr_t got;

	CHECK_INT(rln_oneshot_wait(&o, &got), ==, 0);
	CHECK_INT(got, ==, 7);
	CHECK_INT(waited++, ==, (intptr_t)arg); /* in the order of the waits */
	return 0;
}

TASK_TEST(oneshot_wakes_all_tasks_that_wait)
{
	rln_task t[3];

	for (intptr_t i = 0; i < 3; i++)
		CHECK_INT(rln_spawn(wait_for_it, (void *)i, NULL, &t[i]), ==, 0);
	CHECK_INT(rln_yield(), ==, 0);
	CHECK_INT(rln_oneshot_set(&o, 7), ==, 0); /* also from a task of this worker */
	for (int i = 0; i < 3; i++)
		CHECK_INT(rln_join(t[i], NULL), ==, 0);
	CHECK_INT(waited, ==, 3);
}

TASK_TEST(oneshot_wait_cancelled_leaves_it_to_be_set_and_waited_for_again)
{
	CHECK_INT(RLN_WITHIN(0, rln_oneshot_wait(&o, &v)), ==, -ETIME);
	CHECK_INT(RLN_WITHIN(RLN_MS(1), rln_oneshot_wait(&o, &v)), ==, -ETIME);
	CHECK_INT(rln_oneshot_set(&o, 5), ==, 0);
	CHECK_INT(RLN_WITHIN(0, rln_oneshot_wait(&o, &v)), ==, -ETIME); /* the entry rule */
	CHECK_INT(rln_oneshot_wait(&o, &v), ==, 0);
	CHECK_INT(v, ==, 5);
}

static int shielded(void *arg)
{
	(void)arg;
	RLN_SHIELD(s, RLN_SEC(20));
	CHECK_INT(rln_oneshot_wait(&o, &v), ==, 0);
	return 3;
}

TASK_TEST(oneshot_wait_in_a_shield_is_not_cancelled)
{
	rln_task t;
	int result;

	CHECK_INT(rln_spawn(shielded, NULL, NULL, &t), ==, 0);
	CHECK_INT(rln_yield(), ==, 0);
	CHECK_INT(rln_cancel(t), ==, 0);
	CHECK_INT(rln_yield(), ==, 0);
	CHECK_INT(rln_oneshot_set(&o, 1), ==, 0);
	CHECK_INT(rln_join(t, &result), ==, 0);
	CHECK_INT(result, ==, 3);
}

static void in_callback(void *arg)
{
	CHECK_INT(rln_oneshot_wait(arg, &v), ==, -EDEADLK);
	CHECK_INT(rln_oneshot_set(arg, 9), ==, 0);
}

TASK_TEST(oneshot_in_a_callback_sets_and_cannot_wait)
{
	CHECK_INT(rln_post(NULL, 0, in_callback, &o), ==, 0);
	CHECK_INT(rln_oneshot_wait(&o, &v), ==, 0);
	CHECK_INT(v, ==, 9);
}

static int wait_elsewhere(void *arg)
{
	CHECK_INT(rln_oneshot_wait(&o, &v), ==, -EXDEV);
	CHECK_INT(rln_oneshot_set(&o, 11), ==, 0);
	CHECK_INT(rln_oneshot_set(arg, 1), ==, 0);
	return 0;
}

TASK_TEST_CFG(oneshot_waited_for_here_is_exdev_on_another_worker, .workers = 2)
{
	static rln_oneshot over;

	CHECK_INT(RLN_WITHIN(RLN_US(1), rln_oneshot_wait(&o, &v)), ==, -ETIME);
	CHECK_INT(rln_go_on(NULL, 1, wait_elsewhere, &over, NULL), ==, 0);
	CHECK_INT(rln_oneshot_wait(&over, NULL), ==, 0);
	CHECK_INT(rln_oneshot_wait(&o, &v), ==, 0);
	CHECK_INT(v, ==, 11);
}

TEST(oneshot_off_worker_can_be_set_not_waited_for)
{
	CHECK_INT(rln_oneshot_wait(&o, &v), ==, -EPERM);
	CHECK_INT(rln_oneshot_set(&o, 1), ==, 0);
}

/*
 * Stress: setters that serve requests as fast as they come, waiters that time out at any instant
 * and whose oneshot is freed, and poisoned, as soon as they have read the value.
 */
enum { ROUNDS = 1200, SETTERS = 2 };

struct request {
	rln_oneshot o;
};

static _Atomic(struct request *) slot[SETTERS];
static atomic_bool stop;

static void serve_requests(void *arg)
{
	_Atomic(struct request *) *mine = arg;

	while (!atomic_load(&stop)) {
		struct request *r = atomic_exchange(mine, NULL);
		if (r)
			CHECK_INT(rln_oneshot_set(&r->o, (intptr_t)r), ==, 0);
	}
}

static void one_round(int i, unsigned *late)
{
	struct request *r = calloc(1, sizeof *r);
	intptr_t got = 0;

	atomic_store(&slot[i % SETTERS], r);
	int e = RLN_WITHIN(i % 3 ? RLN_SEC(20) : RLN_US(i % 1000), rln_oneshot_wait(&r->o, &got));
	if (e) {
		CHECK_INT(e, ==, -ETIME);
		++*late;
		/* not yet taken: it never will be; else the value comes */
		struct request *mine = r;
		if (atomic_compare_exchange_strong(&slot[i % SETTERS], &mine, NULL))
			rln_oneshot_abandon(&r->o);
		e = rln_oneshot_wait(&r->o, &got);
		CHECK(e == 0 || e == -EPIPE);
	}
	CHECK(e == -EPIPE || got == (intptr_t)r);
	memset(r, 0x5a, sizeof *r);
	free(r);
}

TASK_TEST(oneshot_stress_is_read_once_set_and_freed_at_once)
{
	struct peer p[SETTERS];
	unsigned late = 0;

	for (int i = 0; i < SETTERS; i++)
		peer_start(&p[i], serve_requests, &slot[i]);
	for (int i = 0; i < ROUNDS; i++)
		one_round(i, &late);
	atomic_store(&stop, true);
	for (int i = 0; i < SETTERS; i++)
		peer_join(&p[i]);
}

/* A runtime that ends as soon as the value is there, while the setter may still be waking it. */
static void *set_thread(void *arg)
{
	set_7(arg);
	return NULL;
}

static int only_wait(void *arg)
{
	return rln_oneshot_wait(arg, NULL);
}

TEST(oneshot_setter_is_awaited_by_the_end_of_the_runtime)
{
	for (int i = 0; i < 30; i++) {
		rln_oneshot one = { { 0 } };
		rln_config cfg = { .workers = 1, .no_pin = true, .main = only_wait, .arg = &one };
		rln_runtime *rt;
		CHECK_INT(rln_start(&cfg, &rt), ==, 0);
		pthread_t t;
		CHECK(pthread_create(&t, NULL, set_thread, &one) == 0);
		CHECK_INT(rln_wait(rt), ==, 0);
		CHECK(pthread_join(t, NULL) == 0);
	}
}
