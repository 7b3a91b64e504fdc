/* The arms of rln_select() for what other threads make ready: lossless against any race. */
#include "rig.h"

#include <stdatomic.h>

static rln_oneshot o;
static rln_notify n;
static rln_xchan *x;
static int item;
static intptr_t value;

static void up(void)
{
	rln_notify_init(&n);
	CHECK_INT(rln_xchan_new(NULL, 0, sizeof(int), 4, &x), ==, 0);
}

static void down(void)
{
	rln_notify_fini(&n);
	rln_xchan_unref(x);
}

static int choose(rln_arm *won)
{
	rln_arm a[] = { rln_on_oneshot(&o, &value), rln_on_notify(&n), rln_on_xrecv(x, &item),
			rln_on_after(RLN_MS(2)) };
	int i = rln_select(a, 4);
	*won = a[i < 0 ? 0 : i];
	return i;
}

TASK_TEST(arms_of_threads_ready_before_have_their_effect_alone)
{
	rln_arm a;

	up();
	CHECK_INT(choose(&a), ==, 3);
	CHECK_INT(rln_xchan_try_send(x, &(int){ 5 }), ==, 0);
	CHECK_INT(choose(&a), ==, 2);
	CHECK_INT(a.res, ==, 1);
	CHECK_INT(item, ==, 5);
	rln_notify_signal(&n);
	CHECK_INT(rln_sleep(RLN_US(1)), ==, 0);
	CHECK_INT(rln_xchan_try_send(x, &(int){ 6 }), ==, 0);
	CHECK_INT(choose(&a), ==, 1);
	CHECK_INT(item, ==, 5);
	CHECK_INT(choose(&a), ==, 2);
	CHECK_INT(item, ==, 6);
	CHECK_INT(rln_oneshot_set(&o, 8), ==, 0);
	CHECK_INT(choose(&a), ==, 0);
	CHECK_INT(a.res, ==, 0);
	CHECK_INT(value, ==, 8);
	down();
}

TASK_TEST(arms_of_threads_closed_and_abandoned_say_so)
{
	rln_arm a;

	up();
	rln_xchan_close(x);
	CHECK_INT(choose(&a), ==, 2);
	CHECK_INT(a.res, ==, 0);
	rln_oneshot_abandon(&o);
	CHECK_INT(choose(&a), ==, 0);
	CHECK_INT(a.res, ==, -EPIPE);
	rln_arm none = rln_on_oneshot(NULL, NULL);
	CHECK_INT(rln_select(&none, 1), ==, 0);
	CHECK_INT(none.res, ==, -EINVAL);
	down();
}

static int use_elsewhere(void *done)
{
	rln_arm a[] = { rln_on_notify(&n), rln_on_xrecv(x, &item) };

	for (int i = 0; i < 2; i++) {
		CHECK_INT(rln_select(&a[i], 1), ==, 0);
		CHECK_INT(a[i].res, ==, -EXDEV);
	}
	CHECK_INT(rln_oneshot_set(done, 0), ==, 0);
	return 0;
}

TASK_TEST_CFG(arms_of_threads_are_of_one_worker, .workers = 2)
{
	up();
	CHECK_INT(rln_go_on(NULL, 1, use_elsewhere, &o, NULL), ==, 0);
	CHECK_INT(rln_oneshot_wait(&o, NULL), ==, 0);
	down();
}

TASK_TEST(arms_of_threads_cancelled_take_nothing)
{
	rln_arm a;

	up();
	CHECK_INT(RLN_WITHIN(RLN_US(1), choose(&a)), ==, -ETIME);
	rln_notify_signal(&n);
	CHECK_INT(rln_xchan_try_send(x, &(int){ 7 }), ==, 0);
	CHECK_INT(RLN_WITHIN(0, choose(&a)), ==, -ETIME);
	CHECK_INT(rln_notify_wait(&n), ==, 0);
	CHECK_INT(rln_xchan_recv(x, &item), ==, 1);
	CHECK_INT(item, ==, 7);
	down();
}

/* Stress: items, signals and results come at any instant of the select; each counts once. */
enum { ROUNDS = 400, ITEMS = 10 };
static atomic_int go_on;

static void feed(void *arg)
{
	(void)arg;
	for (int r = 0; r < ROUNDS; r++) {
		while (atomic_load(&go_on) == r)
			sched_yield();
		for (int i = 0; i < ITEMS; i++) {
			int v = r * ITEMS + i;
			while (rln_xchan_try_send(x, &v) == -EAGAIN)
				sched_yield();
			rln_notify_signal(&n);
		}
		CHECK_INT(rln_oneshot_set(&o, r), ==, 0);
	}
}

static void one_round(int r, int *next)
{
	bool set = false;

	o = (rln_oneshot){ { 0 } };
	atomic_store(&go_on, r + 1);
	while (!set || *next < (r + 1) * ITEMS) {
		rln_arm a[] = { rln_on_xrecv(x, &item), rln_on_notify(&n),
				rln_on_oneshot(&o, &value), rln_on_after(RLN_SEC(20)) };
		if (set)
			a[2] = (rln_arm){ 0 };
		int i = rln_select(a, 4);
		CHECK(i >= 0 && i < 3);
		CHECK_INT(a[i].res, ==, i == 0);
		if (i == 0)
			CHECK_INT(item, ==, (*next)++);
		if (i == 2) {
			CHECK_INT(value, ==, r);
			set = true;
		}
	}
}

TASK_TEST(arms_of_threads_stress_loses_nothing)
{
	struct peer p;
	int next = 0;

	up();
	peer_start(&p, feed, NULL);
	for (int r = 0; r < ROUNDS; r++)
		one_round(r, &next);
	peer_join(&p);
	rln_xchan_close(x);
	CHECK_INT(rln_xchan_recv(x, &item), ==, 0);
	down();
}
