/* rln_select() over arms that need no kernel: time and joins; and over kinds made for the test. */
#include "task/select.h"
#include "task_fixture.h"

static struct list queue[3];
static int taken, linked, unlinked, won;
static bool ready[3];
static int refuse[3];
static int result, res[4];
static rln_scope scope;

/* An arm of queue[aux]. */
static bool test_take(struct arm *a)
{
	a->res = 100 + (int)a->aux;
	taken++;
	return ready[a->aux];
}

static int test_link(struct arm *a)
{
	if (refuse[a->aux])
		return refuse[a->aux];
	linked++;
	list_push_back(&queue[a->aux], &a->w.node);
	return 0;
}

static void test_won(struct arm *a)
{
	won++;
	a->res += 1000;
}

static void test_unlink(struct arm *a)
{
	CHECK(!list_linked(&a->w.node));
	unlinked++;
}

static const struct arm_kind kind = {
	.take = test_take, .link = test_link, .won = test_won, .unlink = test_unlink
};

static rln_arm on(unsigned i)
{
	return arm_make(&kind, (struct arm){ .aux = i });
}

static int select_three(void *arg)
{
	rln_arm arms[4] = { on(0), { 0 }, on(1), on(2) };

	(void)arg;
	rln_scope_begin(&scope, RLN_SEC(100));
	result = rln_select(arms, 4);
	rln_scope_end(&scope);
	for (int i = 0; i < 4; i++)
		res[i] = arms[i].res;
	return 0;
}

static void up(void)
{
	for (int i = 0; i < 3; i++)
		list_init(&queue[i]);
	result = 99;
	sched_up(&(struct sched_config){ 0 });
}

TEST(select_ready_arm_of_lowest_index_wins_and_others_are_left)
{
	up();
	ready[1] = ready[2] = true;
	go(select_three, NULL);
	turn();
	CHECK_INT(result, ==, 2);
	CHECK_INT(res[2], ==, 101);
	CHECK_INT(taken, ==, 2); /* the one behind it was not even asked */
	CHECK_INT(linked + unlinked + won, ==, 0);
	sched_down();
}

TEST(select_waits_until_one_is_woken)
{
	up();
	struct task *t = go(select_three, NULL);
	turn();
	CHECK_INT(t->state, ==, TASK_PARKED);
	CHECK_INT(linked, ==, 3);
	CHECK_INT(unlinked, ==, 0);
	waiter_wake(waiter_first(&queue[2]), 7);
	for (int i = 0; i < 3; i++)
		CHECK(list_empty(&queue[i]));
	task_cancel(t); /* too late: it has succeeded */
	sched_down();
	CHECK_INT(result, ==, 3);
	CHECK_INT(res[3], ==, 1007);
	CHECK_INT(won, ==, 1);
	CHECK_INT(unlinked, ==, 3);
}

TEST(select_cancelled_takes_no_arm)
{
	up();
	go(select_three, NULL);
	turn();
	rln_scope_cancel(&scope);
	for (int i = 0; i < 3; i++)
		CHECK(list_empty(&queue[i]));
	sched_down();
	CHECK_INT(result, ==, -ECANCELED);
	CHECK_INT(won, ==, 0);
	CHECK_INT(unlinked, ==, 3);
}

static int select_cancelled(void *arg)
{
	(void)arg;
	rln_scope_begin(&scope, 0);
	rln_arm arm = on(0);
	result = rln_select(&arm, 1);
	rln_scope_end(&scope);
	return 0;
}

TEST(select_pending_cancellation_asks_no_arm)
{
	up();
	ready[0] = true;
	go(select_cancelled, NULL);
	sched_down();
	CHECK_INT(result, ==, -ETIME);
	CHECK_INT(taken, ==, 0);
}

TEST(select_arm_that_cannot_be_linked_wins_with_its_error)
{
	up();
	refuse[1] = -EBUSY;
	go(select_three, NULL);
	sched_down();
	CHECK_INT(result, ==, 2);
	CHECK_INT(res[2], ==, -EBUSY);
	CHECK_INT(linked, ==, 1);
	CHECK_INT(unlinked, ==, 1);
	CHECK(list_empty(&queue[0]));
}

static int select_time(void *arg)
{
	(void)arg;
	rln_arm arms[] = { rln_on_after(RLN_FOREVER), rln_on_after(RLN_MS(7)),
			   rln_on_after(RLN_MS(3)), on(0) };
	for (int i = 0; i < 2; i++) { /* the arm's time begins with the call it is used in */
		int64_t began_ns = sys_now();
		CHECK_INT(rln_select(arms, 4), ==, 2);
		CHECK_INT(arms[2].res, ==, 0);
		CHECK_INT(sys_now() - began_ns, >=, 3 * MS);
	}
	rln_arm now[] = { on(0), rln_on_after(0), rln_on_after(-5) };
	CHECK_INT(rln_select(now, 3), ==, 1);
	ready[0] = true;
	CHECK_INT(rln_select(now, 3), ==, 0);
	return 0;
}

TEST(select_time_is_never_early_and_the_shortest_wins)
{
	up();
	go(select_time, NULL);
	sched_down();
	CHECK_INT(won, ==, 0);
}

static int select_bad(void *arg)
{
	rln_arm a = on(0);
	(void)arg;
	CHECK_INT(rln_select(&a, 0), ==, -EINVAL);
	CHECK_INT(rln_select(&a, -1), ==, -EINVAL);
	CHECK_INT(rln_select(&a, RLN_SELECT_MAX + 1), ==, -EINVAL);
	CHECK_INT(rln_select(NULL, 1), ==, -EINVAL);
	return 0;
}

TEST(select_misuse_is_refused)
{
	rln_arm a = rln_on_after(0);
	CHECK_INT(rln_select(&a, 1), ==, -EPERM);
	up();
	CHECK_INT(rln_select(&a, 1), ==, -EDEADLK);
	go(select_bad, NULL);
	sched_down();
	CHECK_INT(taken, ==, 0);
}

static int select_nothing(void *arg)
{
	rln_arm none[2] = { { 0 }, { 0 } };
	(void)arg;
	rln_scope_begin(&scope, RLN_MS(2));
	result = rln_select(none, 2);
	rln_scope_end(&scope);
	return 0;
}

TEST(select_of_arms_switched_off_waits_for_its_scope)
{
	up();
	go(select_nothing, NULL);
	sched_down();
	CHECK_INT(result, ==, -ETIME);
}

/* ---- joins */

static int sleep_and_return(void *arg)
{
	rln_sleep(RLN_MS(*(int *)arg));
	return *(int *)arg;
}

static int join_first(void *arg)
{
	int ms[] = { 400000, 2, 400000 }, got[3] = { 0 };
	rln_task t[3];
	rln_arm arms[4];

	(void)arg;
	for (int i = 0; i < 3; i++) {
		CHECK_INT(rln_spawn(sleep_and_return, &ms[i], NULL, &t[i]), ==, 0);
		arms[i] = rln_on_join(t[i], &got[i]);
	}
	CHECK_INT(rln_select(arms, 3), ==, 1);
	CHECK_INT(arms[1].res, ==, 0);
	CHECK_INT(got[1], ==, 2);
	/* it was reaped: now it is an error, and at once */
	CHECK_INT(rln_select(arms, 3), ==, 1);
	CHECK_INT(arms[1].res, ==, -ESRCH);
	/* the others were let go of, and have not ended */
	CHECK_INT(rln_cancel(t[0]), ==, 0);
	CHECK_INT(rln_join(t[0], &got[0]), ==, 0);
	CHECK_INT(got[0], ==, 400000);
	/* twice the same task */
	arms[0] = rln_on_join(t[2], NULL);
	arms[1] = rln_on_join(t[2], NULL);
	CHECK_INT(rln_select(arms, 2), ==, 1);
	CHECK_INT(arms[1].res, ==, -EBUSY);
	/* one that has ended already */
	CHECK_INT(rln_cancel(t[2]), ==, 0);
	CHECK_INT(rln_sleep(RLN_MS(1)), ==, 0);
	arms[0] = rln_on_join(t[2], &got[2]);
	CHECK_INT(rln_select(arms, 1), ==, 0);
	CHECK_INT(arms[0].res, ==, 0);
	CHECK_INT(got[2], ==, 400000);
	CHECK_INT(rln_join(t[2], NULL), ==, -ESRCH);
	arms[0] = rln_on_join(rln_self(), NULL);
	CHECK_INT(rln_select(arms, 1), ==, 0);
	CHECK_INT(arms[0].res, ==, -EDEADLK);
	return 0;
}

TEST(select_join_reaps_the_one_that_ended)
{
	up();
	go(join_first, NULL);
	sched_down();
}
