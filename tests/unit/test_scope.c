/* Deadlines, shields and cancellation, on waits for state the runtime owns. */
#include "task_fixture.h"

static struct list queue;
static int result = 1, result2 = 1, end_inner = 1, end_outer = 1;
static rln_scope scope1, scope2;
static int64_t began_ns, ended_ns;

static int wait_here(void)
{
	int err = wait_enter("wait");
	return err ? err : wait_on(&queue, "wait");
}

static void up(void)
{
	list_init(&queue);
	sched_up(&(struct sched_config){ 0 });
}

/* --- deadlines --- */

static int sleep_under_deadline(void *arg)
{
	(void)arg;
	began_ns = sys_now();
	rln_scope_begin(&scope1, RLN_MS(5));
	result = rln_sleep(RLN_SEC(100));
	ended_ns = sys_now();
	result2 = rln_yield();
	end_inner = rln_scope_end(&scope1);
	CHECK_INT(rln_yield(), ==, 0);
	return 0;
}

TEST(scope_deadline_ends_a_wait_never_early_and_stays)
{
	run(sleep_under_deadline);
	CHECK_INT(result, ==, -ETIME);
	CHECK_INT(result2, ==, -ETIME);
	CHECK_INT(end_inner, ==, -ETIME);
	CHECK_INT(ended_ns - began_ns, >=, 5 * MS);
	CHECK_INT(ended_ns - began_ns, <, 5 * SECOND);
}

static int never_early(void *arg)
{
	(void)arg;
	for (int i = 1; i <= 20; i++) {
		rln_scope s;
		/* The loop's clock is behind while the task computes: it must not shorten this. */
		for (int64_t end = sys_now() + 300000; sys_now() < end;)
			;
		int64_t begin = sys_now();
		rln_scope_begin(&s, i * RLN_US(170));
		CHECK_INT(rln_sleep(RLN_FOREVER), ==, -ETIME);
		CHECK_INT(sys_now() - begin, >=, i * 170000);
		CHECK_INT(rln_scope_end(&s), ==, -ETIME);
		begin = sys_now();
		CHECK_INT(rln_sleep(i * RLN_US(170)), ==, 0);
		CHECK_INT(sys_now() - begin, >=, i * 170000);
	}
	return 0;
}

TEST(scope_deadlines_and_sleeps_of_any_length_are_never_early)
{
	run(never_early);
}

static int expired_at_begin(void *arg)
{
	(void)arg;
	rln_scope_begin(&scope1, 0);
	result = rln_sleep(RLN_FOREVER);
	end_inner = rln_scope_end(&scope1);
	rln_scope_begin(&scope1, -RLN_SEC(5));
	result2 = rln_sleep(RLN_FOREVER);
	CHECK_INT(rln_scope_end(&scope1), ==, -ETIME);
	return 0;
}

TEST(scope_of_no_time_ends_the_first_wait)
{
	run(expired_at_begin);
	CHECK_INT(result, ==, -ETIME);
	CHECK_INT(result2, ==, -ETIME);
	CHECK_INT(end_inner, ==, -ETIME);
}

static int in_time(void *arg)
{
	(void)arg;
	rln_scope_begin(&scope1, RLN_SEC(100));
	result = rln_sleep(RLN_MS(1));
	result2 = rln_yield();
	CHECK(!rln_cancelled());
	end_inner = rln_scope_end(&scope1);
	return 0;
}

TEST(scope_in_time_changes_nothing_and_leaves_no_timer)
{
	run(in_time);
	CHECK_INT(result, ==, 0);
	CHECK_INT(result2, ==, 0);
	CHECK_INT(end_inner, ==, 0);
}

static int expired_unnoticed(void *arg)
{
	(void)arg;
	rln_scope_begin(&scope1, 0);
	CHECK(rln_cancelled());
	CHECK(rln_cancelled());
	end_inner = rln_scope_end(&scope1);
	CHECK(!rln_cancelled());
	return 0;
}

TEST(scope_that_made_no_call_fail_ends_with_zero)
{
	run(expired_unnoticed);
	CHECK_INT(end_inner, ==, 0);
}

static int nested(void *arg)
{
	const int64_t *ms = arg; /* outer, inner */
	rln_scope_begin(&scope1, ms[0] == INT64_MAX ? ms[0] : RLN_MS(ms[0]));
	rln_scope_begin(&scope2, ms[1] == INT64_MAX ? ms[1] : RLN_MS(ms[1]));
	result = rln_sleep(RLN_FOREVER);
	end_inner = rln_scope_end(&scope2);
	result2 = rln_yield();
	end_outer = rln_scope_end(&scope1);
	return 0;
}

static void run_nested(int64_t outer, int64_t inner)
{
	int64_t ms[2] = { outer, inner };
	up();
	go(nested, ms);
	sched_down();
}

TEST(scope_inner_deadline_first_leaves_the_outer_alone)
{
	run_nested(100000, 2);
	CHECK_INT(result, ==, -ETIME);
	CHECK_INT(end_inner, ==, -ETIME);
	CHECK_INT(result2, ==, 0);
	CHECK_INT(end_outer, ==, 0);
}

TEST(scope_outer_deadline_first_is_told_by_the_outer)
{
	run_nested(2, 100000);
	CHECK_INT(result, ==, -ETIME);
	CHECK_INT(end_inner, ==, 0);
	CHECK_INT(result2, ==, -ETIME);
	CHECK_INT(end_outer, ==, -ETIME);
}

TEST(scope_without_a_deadline_inside_one_does_not_hide_it)
{
	run_nested(2, INT64_MAX);
	CHECK_INT(end_inner, ==, 0);
	CHECK_INT(end_outer, ==, -ETIME);
}

/* --- success and failure at the same time --- */

static int wait_10ms(void *arg)
{
	(void)arg;
	rln_scope_begin(&scope1, RLN_MS(10));
	result = wait_here();
	result2 = wait_here();
	end_inner = rln_scope_end(&scope1);
	return 0;
}

TEST(scope_success_before_the_deadline_wins_and_the_deadline_stays)
{
	up();
	go(wait_10ms, NULL);
	turn();
	CHECK_INT(loop.wheel.armed, ==, 1);
	CHECK_INT(wake_all(&queue, 7), ==, 1); /* woken, has not run */
	CHECK_INT(loop.wheel.armed, ==, 0);
	turn_at(sys_now() + 1 * SECOND); /* the deadline passes, then it runs */
	CHECK_INT(result, ==, 7);
	CHECK_INT(result2, ==, -ETIME);
	CHECK_INT(end_inner, ==, -ETIME);
	CHECK(list_empty(&queue));
	sched_down();
}

TEST(scope_deadline_first_unlinks_the_wait)
{
	up();
	go(wait_10ms, NULL);
	turn();
	CHECK(!list_empty(&queue));
	loop.now_ns = sys_now() + 1 * SECOND;
	wheel_expire(&loop.wheel, loop.now_ns);
	CHECK(list_empty(&queue));
	CHECK_INT(wake_all(&queue, 7), ==, 0);
	turn_at(loop.now_ns);
	CHECK_INT(result, ==, -ETIME);
	sched_down();
}

static int sleep_shorter(void *arg)
{
	int64_t t = sys_now();
	(void)arg;
	rln_scope_begin(&scope1, RLN_MS(20));
	result = rln_sleep_until(t + RLN_MS(15));
	end_inner = rln_scope_end(&scope1);
	return 0;
}

static int sleep_longer(void *arg)
{
	(void)arg;
	rln_scope_begin(&scope1, RLN_MS(15));
	result2 = rln_sleep(RLN_MS(20));
	end_outer = rln_scope_end(&scope1);
	return 0;
}

TEST(scope_the_earlier_of_sleep_and_deadline_decides_however_late_the_turn)
{
	up();
	go(sleep_shorter, NULL);
	turn();
	turn_at(sys_now() + 1 * SECOND);
	CHECK_INT(result, ==, 0);
	CHECK_INT(end_inner, ==, 0);
	sched_down();
	up();
	go(sleep_longer, NULL);
	turn();
	turn_at(sys_now() + 1 * SECOND);
	CHECK_INT(result2, ==, -ETIME);
	CHECK_INT(end_outer, ==, -ETIME);
	sched_down();
}

static int compute_in_scope(void *arg)
{
	struct scope *sc = (struct scope *)&scope1;

	(void)arg;
	rln_scope_begin(&scope1, RLN_MS(3));
	CHECK_INT(sc->deadline_ns, ==, INT64_MAX);
	began_ns = sys_now();
	while (sys_now() < began_ns + 5 * MS)
		;
	CHECK(!rln_cancelled());
	began_ns = sys_now();
	CHECK_INT(rln_yield(), ==, 0); /* suspended for the first time: now it counts */
	CHECK_INT(sc->deadline_ns, >=, began_ns + 3 * MS);
	CHECK_INT(sc->deadline_ns, <, INT64_MAX);
	rln_scope_extend(&scope1, RLN_MS(1));
	CHECK_INT(rln_sleep(RLN_FOREVER), ==, -ETIME);
	CHECK_INT(rln_scope_end(&scope1), ==, -ETIME);
	return 0;
}

TEST(scope_clock_starts_when_its_task_is_first_suspended)
{
	run(compute_in_scope);
}

/* --- cancelling a scope --- */

static int wait_in_scope(void *arg)
{
	(void)arg;
	rln_scope_begin(&scope1, RLN_FOREVER);
	result = wait_here();
	result2 = rln_sleep(0);
	end_inner = rln_scope_end(&scope1);
	CHECK_INT(rln_yield(), ==, 0);
	return 0;
}

TEST(scope_cancel_from_outside_ends_the_wait_in_the_same_turn)
{
	up();
	go(wait_in_scope, NULL);
	turn();
	rln_scope_cancel(&scope1);
	rln_scope_cancel(&scope1);
	CHECK(list_empty(&queue));
	CHECK_INT(sched.stats.cancels, ==, 1);
	turn();
	CHECK_INT(result, ==, -ECANCELED);
	CHECK_INT(result2, ==, -ECANCELED);
	CHECK_INT(end_inner, ==, -ECANCELED);
	sched_down();
}

static int cancel_own(void *arg)
{
	(void)arg;
	rln_scope_begin(&scope1, 0);
	rln_scope_cancel(&scope1);
	result = rln_yield(); /* both hold: the cancellation is told */
	rln_scope_extend(&scope1, RLN_SEC(9));
	result2 = rln_yield(); /* a cancelled scope stays cancelled */
	end_inner = rln_scope_end(&scope1);
	return 0;
}

TEST(scope_cancellation_wins_over_its_deadline_and_cannot_be_extended)
{
	run(cancel_own);
	CHECK_INT(result, ==, -ECANCELED);
	CHECK_INT(result2, ==, -ECANCELED);
	CHECK_INT(end_inner, ==, -ECANCELED);
}

static int extend_expired(void *arg)
{
	(void)arg;
	rln_scope_begin(&scope1, 0);
	result = rln_yield();
	rln_scope_extend(&scope1, RLN_SEC(100));
	result2 = rln_yield();
	end_inner = rln_scope_end(&scope1);
	return 0;
}

TEST(scope_extended_after_it_expired_is_good_again)
{
	run(extend_expired);
	CHECK_INT(result, ==, -ETIME);
	CHECK_INT(result2, ==, 0);
	CHECK_INT(end_inner, ==, -ETIME); /* it did make a call fail */
}

TEST(scope_extended_while_its_task_waits_moves_the_deadline)
{
	up();
	go(wait_10ms, NULL);
	turn();
	rln_scope_extend(&scope1, RLN_SEC(1000));
	turn_at(sys_now() + 500 * SECOND);
	CHECK_INT(result, ==, 1);
	rln_scope_extend(&scope1, 0);
	turn_at(loop.now_ns + 2 * MS);
	CHECK_INT(result, ==, -ETIME);
	sched_down();
}

/* --- shields --- */

static int shielded(void *arg)
{
	(void)arg;
	rln_scope_begin(&scope1, RLN_MS(1));
	result = rln_sleep(RLN_FOREVER);
	{
		RLN_SHIELD(s, RLN_SEC(100));
		CHECK(!rln_cancelled());
		CHECK_INT(rln_sleep(RLN_MS(2)), ==, 0);
		RLN_DEADLINE(d, RLN_MS(1));
		CHECK_INT(rln_sleep(RLN_FOREVER), ==, -ETIME); /* inner scopes count */
		CHECK_INT(rln_scope_end(&d), ==, -ETIME);
		CHECK_INT(rln_scope_end(&s), ==, 0);
	}
	result2 = rln_yield();
	end_outer = rln_scope_end(&scope1);
	return 0;
}

TEST(scope_shield_holds_off_what_is_outside_and_nothing_inside)
{
	run(shielded);
	CHECK_INT(result, ==, -ETIME);
	CHECK_INT(result2, ==, -ETIME);
	CHECK_INT(end_outer, ==, -ETIME);
}

static int shield_bounded(void *arg)
{
	(void)arg;
	rln_scope_begin(&scope1, RLN_FOREVER);
	rln_scope_shield(&scope2, RLN_MS(3));
	result = wait_here();
	end_inner = rln_scope_end(&scope2);
	result2 = rln_yield();
	end_outer = rln_scope_end(&scope1);
	return 0;
}

TEST(scope_shield_ends_by_its_grace_and_cancellation_is_still_there)
{
	up();
	struct task *t = go(shield_bounded, NULL);
	turn();
	task_cancel(t);
	rln_scope_cancel(&scope1);
	turn();
	CHECK_INT(result, ==, 1); /* it still waits */
	sched_down();
	CHECK_INT(result, ==, -ETIME);
	CHECK_INT(end_inner, ==, -ETIME);
	CHECK_INT(result2, ==, -ECANCELED);
	CHECK_INT(end_outer, ==, 0); /* the task's own cancellation is outside of it */
}

static int within(void *arg)
{
	(void)arg;
	result = RLN_WITHIN(RLN_MS(1), rln_sleep(RLN_FOREVER));
	result2 = RLN_WITHIN(RLN_SEC(100), rln_sleep(RLN_MS(1)));
	CHECK_INT(rln_yield(), ==, 0);
	return 0;
}

TEST(scope_within_bounds_one_call)
{
	run(within);
	CHECK_INT(result, ==, -ETIME);
	CHECK_INT(result2, ==, 0);
}

static int leave_by_return(void *arg)
{
	for (int i = 0; i < 3; i++) {
		RLN_DEADLINE(a, RLN_SEC(1));
		RLN_SHIELD(b, RLN_SEC(1));
		if (i == 0)
			continue;
		if (i == 1)
			CHECK_INT(rln_scope_end(&b), ==, 0);
		if (i == 2)
			return arg != NULL;
	}
	return 5;
}

TEST(scope_blocks_end_their_scopes_however_they_are_left)
{
	run(leave_by_return);
}

/* --- uncancellable, several nodes --- */

static int wait_hard(void *arg)
{
	(void)arg;
	rln_scope_begin(&scope1, 0);
	result = wait_uncancellable(&queue, "wait");
	result2 = rln_yield();
	rln_scope_end(&scope1);
	return 0;
}

TEST(scope_uncancellable_wait_ends_by_waking_only)
{
	up();
	struct task *t = go(wait_hard, NULL);
	turn();
	task_cancel(t);
	rln_scope_cancel(&scope1);
	CHECK_INT(loop.wheel.armed, ==, 0);
	turn();
	CHECK_INT(result, ==, 1);
	wake_all(&queue, 9);
	sched_down();
	CHECK_INT(result, ==, 9);
	CHECK_INT(result2, ==, -ECANCELED);
}

static struct list queues[3];
static unsigned which = 99;

static int wait_three(void *arg)
{
	struct waiter w[3];
	(void)arg;
	for (int i = 0; i < 3; i++) {
		waiter_init(&w[i], task_running(), NULL);
		w[i].next = i < 2 ? &w[i + 1] : NULL;
		list_push_back(&queues[i], &w[i].node);
	}
	rln_scope_begin(&scope1, RLN_SEC(100));
	struct waiter *woken;
	result = wait_any(w, INT64_MAX, "wait", &woken);
	if (!result) {
		which = (unsigned)(woken - w);
		result = woken->res;
	}
	rln_scope_end(&scope1);
	for (int i = 0; i < 3; i++)
		CHECK(!list_linked(&w[i].node));
	return 0;
}

static void start_three(void)
{
	for (int i = 0; i < 3; i++)
		list_init(&queues[i]);
	up();
	go(wait_three, NULL);
	turn();
	CHECK_INT(loop.wheel.armed, ==, 1);
}

static void check_unlinked(void)
{
	for (int i = 0; i < 3; i++)
		CHECK(list_empty(&queues[i]));
}

TEST(scope_wait_for_several_is_ended_by_one_and_leaves_the_others)
{
	start_three();
	waiter_wake(waiter_first(&queues[1]), 4);
	check_unlinked();
	sched_down();
	CHECK_INT(result, ==, 4);
	CHECK_INT(which, ==, 1);
}

TEST(scope_wait_for_several_that_is_cancelled_leaves_all)
{
	start_three();
	rln_scope_cancel(&scope1);
	check_unlinked();
	sched_down();
	CHECK_INT(result, ==, -ECANCELED);
	CHECK_INT(which, ==, 99);
}

/* --- misuse --- */

static int end_wrong_order(void *arg)
{
	(void)arg;
	rln_scope_begin(&scope1, 1);
	rln_scope_begin(&scope2, 1);
	return rln_scope_end(&scope1);
}

static int end_twice(void *arg)
{
	(void)arg;
	rln_scope_begin(&scope1, 1);
	rln_scope_end(&scope1);
	return rln_scope_end(&scope1);
}

static int never_end(void *arg)
{
	(void)arg;
	rln_scope_begin(&scope1, 1);
	return 0;
}

static int shield_for_ever(void *arg)
{
	(void)arg;
	rln_scope_shield(&scope1, RLN_FOREVER);
	return 0;
}

static void die_wrong_order(void)
{
	run(end_wrong_order);
}
static void die_twice(void)
{
	run(end_twice);
}
static void die_never_end(void)
{
	run(never_end);
}
static void die_shield(void)
{
	run(shield_for_ever);
}
static void die_outside(void)
{
	rln_scope_begin(&scope1, 1);
}

static int ended_scope(void (*use)(void))
{
	rln_scope_begin(&scope1, 1);
	rln_scope_end(&scope1);
	use();
	return 0;
}

static void cancel_it(void)
{
	rln_scope_cancel(&scope1);
}

static void extend_it(void)
{
	rln_scope_extend(&scope1, 1);
}

static int cancel_ended(void *arg)
{
	(void)arg;
	return ended_scope(cancel_it);
}

static int extend_ended(void *arg)
{
	(void)arg;
	return ended_scope(extend_it);
}

static int extend_shield_for_ever(void *arg)
{
	(void)arg;
	rln_scope_shield(&scope1, RLN_SEC(1));
	rln_scope_extend(&scope1, RLN_FOREVER);
	return 0;
}

static void die_cancel_ended(void)
{
	run(cancel_ended);
}
static void die_extend_ended(void)
{
	run(extend_ended);
}
static void die_extend_shield(void)
{
	run(extend_shield_for_ever);
}

static void die_other_worker(void)
{
	up();
	go(wait_10ms, NULL);
	turn();
	ctx_current_ = NULL;
	rln_scope_cancel(&scope1);
}

TEST(scope_misuse_of_one_that_has_ended_or_is_elsewhere_aborts_and_says_where)
{
	CHECK_DIES(die_cancel_ended, SIGABRT,
		   "rln_scope_cancel called for the scope begun at " __FILE__);
	CHECK_DIES(die_extend_ended, SIGABRT, ", which has ended");
	CHECK_DIES(die_extend_shield, SIGABRT, "its grace must end");
	CHECK_DIES(die_other_worker, SIGABRT, ", of another worker");
}

TEST(scope_extended_for_ever_while_its_task_waits_leaves_no_timer)
{
	up();
	go(wait_10ms, NULL);
	turn();
	rln_scope_extend(&scope1, RLN_FOREVER);
	CHECK(wheel_next(&loop.wheel) == INT64_MAX);
	turn_at(sys_now() + 500 * SECOND);
	CHECK_INT(result, ==, 1);
	rln_scope_cancel(&scope1);
	turn_at(loop.now_ns + 2 * MS);
	CHECK_INT(result, ==, -ECANCELED);
	sched_down();
}

TEST(scope_misuse_aborts_and_says_where)
{
	CHECK_DIES(die_wrong_order, SIGABRT, "before the scope inside it, begun at " __FILE__ ":");
	CHECK_DIES(die_wrong_order, SIGABRT, "in task test (spawned here.c:7)");
	CHECK_DIES(die_twice, SIGABRT, "for a scope that has ended");
	CHECK_DIES(die_never_end, SIGABRT, "returned inside the scope begun at " __FILE__ ":");
	CHECK_DIES(die_shield, SIGABRT, "its grace must end");
	CHECK_DIES(die_outside, SIGABRT, "outside a task");
}
