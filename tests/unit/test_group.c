/* Groups: their children, what these inherit, and the order in which all of it ends. */
#include "task/select.h"
#include "task_fixture.h"

static struct list queue;
static int result, alive, order[8], orders;

static void up(void)
{
	list_init(&queue);
	result = 99;
	sched_up(&(struct sched_config){ 0 });
}

static void run_it(int (*fn)(void *))
{
	up();
	go(fn, NULL);
	sched_down();
	CHECK_INT(alive, ==, 0);
}

/* A child: waits ms, or for ever when it is negative; returns its code or why it ended. */
struct job {
	int ms, code;
};

static int work(void *arg)
{
	struct job *j = arg;
	int err;

	alive++;
	err = rln_sleep(j->ms < 0 ? RLN_FOREVER : RLN_MS(j->ms));
	alive--;
	if (orders < 8)
		order[orders++] = j->code;
	return err ? err : j->code;
}

/* ---- next */

static int next_in_order(void *arg)
{
	struct job j[3] = { { 9, 0 }, { 1, -5 }, { 5, 7 } };
	static const int want[3] = { 1, 2, 0 };
	rln_child d;

	(void)arg;
	RLN_GROUP(g);
	CHECK_INT(rln_group_next(&g, &d), ==, 0);
	for (int i = 0; i < 3; i++)
		CHECK_INT(rln_group_spawn(&g, work, &j[i]), ==, 0);
	CHECK_INT(rln_group_next(&g, NULL), ==, -EINVAL);
	for (int i = 0; i < 3; i++) {
		CHECK_INT(rln_group_next(&g, &d), ==, 1);
		CHECK_INT(d.index, ==, want[i]);
		CHECK(d.arg == &j[want[i]]);
		CHECK_INT(d.result, ==, j[want[i]].code);
	}
	CHECK_INT(rln_group_next(&g, &d), ==, 0);
	/* what ended before it is asked for comes in the order of ending */
	CHECK_INT(rln_group_spawn(&g, work, &j[0]), ==, 0);
	CHECK_INT(rln_group_spawn(&g, work, &j[1]), ==, 0);
	CHECK_INT(rln_sleep(RLN_MS(30)), ==, 0);
	CHECK_INT(alive, ==, 0);
	CHECK_INT(rln_group_next(&g, &d), ==, 1);
	CHECK_INT(d.index, ==, 4);
	CHECK_INT(rln_group_next(&g, &d), ==, 1);
	CHECK_INT(d.index, ==, 3);
	CHECK_INT(rln_group_next(&g, &d), ==, 0);
	return 0;
}

TEST(group_next_tells_of_children_in_the_order_they_end)
{
	run_it(next_in_order);
}

static int next_cancelled(void *arg)
{
	struct job j = { 5, 3 };
	rln_child d;

	(void)arg;
	RLN_GROUP(g);
	CHECK_INT(rln_group_spawn(&g, work, &j), ==, 0);
	CHECK_INT(RLN_WITHIN(RLN_MS(1), rln_group_next(&g, &d)), ==, -ETIME);
	CHECK_INT(alive, ==, 1); /* it goes on */
	CHECK_INT(rln_group_next(&g, &d), ==, 1);
	CHECK_INT(d.result, ==, 3);
	return 0;
}

TEST(group_next_cancelled_leaves_the_children)
{
	run_it(next_cancelled);
}

/* ---- wait */

static int wait_good(void *arg)
{
	struct job j[3] = { { 3, 0 }, { 1, 5 }, { 0, 0 } };

	(void)arg;
	RLN_GROUP(g);
	CHECK_INT(rln_group_wait(&g), ==, 0);
	for (int i = 0; i < 3; i++)
		CHECK_INT(rln_group_spawn(&g, work, &j[i]), ==, 0);
	CHECK_INT(rln_group_wait(&g), ==, 0);
	CHECK_INT(alive, ==, 0);
	CHECK_INT(orders, ==, 3);
	CHECK_INT(rln_group_end(&g), ==, 0);
	return 0;
}

TEST(group_wait_returns_when_all_have_ended)
{
	run_it(wait_good);
}

static int wait_bad(void *arg)
{
	struct job j[3] = { { -1, 1 }, { 2, -EPROTO }, { -1, 2 } };

	(void)arg;
	RLN_GROUP(g);
	for (int i = 0; i < 3; i++)
		CHECK_INT(rln_group_spawn(&g, work, &j[i]), ==, 0);
	CHECK_INT(rln_group_wait(&g), ==, -EPROTO);
	CHECK_INT(alive, ==, 0);
	CHECK_INT(rln_yield(), ==, 0); /* the caller itself was not cancelled */
	/* the group stays cancelled: what is spawned now does not run */
	CHECK_INT(rln_group_spawn(&g, work, &j[0]), ==, 0);
	CHECK_INT(rln_group_wait(&g), ==, -ECANCELED);
	CHECK_INT(orders, ==, 3);
	return 0;
}

TEST(group_wait_first_failure_cancels_the_others)
{
	run_it(wait_bad);
}

/* One that failed before the wait began counts too. */
static int wait_late(void *arg)
{
	struct job j[2] = { { 0, -EPROTO }, { -1, 2 } };

	(void)arg;
	RLN_GROUP(g);
	for (int i = 0; i < 2; i++)
		CHECK_INT(rln_group_spawn(&g, work, &j[i]), ==, 0);
	CHECK_INT(rln_sleep(RLN_MS(1)), ==, 0);
	CHECK_INT(alive, ==, 1);
	CHECK_INT(rln_group_wait(&g), ==, -EPROTO);
	CHECK_INT(alive, ==, 0);
	return 0;
}

TEST(group_wait_counts_what_failed_before_it)
{
	run_it(wait_late);
}

static int wait_deadline(void *arg)
{
	struct job j[2] = { { -1, 1 }, { -1, 2 } };
	rln_scope dl;

	(void)arg;
	rln_group g;
	rln_group_begin(&g);
	for (int i = 0; i < 2; i++)
		CHECK_INT(rln_group_spawn(&g, work, &j[i]), ==, 0);
	rln_scope_begin(&dl, RLN_MS(2));
	CHECK_INT(rln_group_wait(&g), ==, -ETIME);
	CHECK_INT(alive, ==, 0);
	/* pending at entry: the same promise, no child is left */
	CHECK_INT(rln_group_wait(&g), ==, -ETIME);
	CHECK_INT(rln_scope_end(&dl), ==, -ETIME);
	CHECK_INT(rln_group_end(&g), ==, 0);

	rln_group_begin(&g);
	rln_scope_begin(&dl, 0);
	CHECK_INT(rln_group_spawn(&g, work, &j[0]), ==, 0);
	CHECK_INT(rln_group_wait(&g), ==, -ETIME);
	CHECK_INT(rln_scope_end(&dl), ==, -ETIME);
	CHECK_INT(rln_group_end(&g), ==, 0);
	return 0;
}

TEST(group_wait_cancelled_cancels_and_joins)
{
	run_it(wait_deadline);
}

/* ---- end */

static int end_tells(void *arg)
{
	struct job j[3] = { { 0, -EPROTO }, { -1, -EIO }, { 0, -EBADMSG } };
	rln_group g;
	rln_child d;

	(void)arg;
	rln_group_begin(&g);
	for (int i = 0; i < 3; i++)
		CHECK_INT(rln_group_spawn(&g, work, &j[i]), ==, 0);
	CHECK_INT(rln_group_next(&g, &d), ==, 1);
	CHECK_INT(d.result, ==, -EPROTO);
	CHECK_INT(rln_sleep(RLN_MS(1)), ==, 0);
	CHECK_INT(rln_group_end(&g), ==, -EBADMSG); /* neither the told nor the cancelled one */
	return 0;
}

TEST(group_end_cancels_joins_and_tells_what_nobody_knows)
{
	run_it(end_tells);
}

/* A child's cleanup waits behind a shield: the end of the block waits for it. */
static int cleanup(void *arg)
{
	int *done = arg;
	CHECK_INT(rln_sleep(RLN_FOREVER), ==, -ECANCELED);
	RLN_SHIELD(sh, RLN_SEC(10));
	CHECK_INT(rln_sleep(RLN_MS(3)), ==, 0);
	*done = 1;
	return 0;
}

static int end_waits(void *arg)
{
	int done = 0;

	(void)arg;
	for (int i = 0; i < 2; i++) {
		rln_scope dl;
		rln_scope_begin(&dl, RLN_FOREVER);
		{
			RLN_GROUP(g);
			done = 0;
			CHECK_INT(rln_group_spawn(&g, cleanup, &done), ==, 0);
			CHECK_INT(rln_yield(), ==, 0);
			if (i)
				rln_scope_cancel(&dl); /* the end is no point of cancellation */
		}
		CHECK_INT(done, ==, 1);
		CHECK_INT(rln_scope_end(&dl), ==, i ? -ECANCELED : 0); /* the child was told so */
	}
	return 0;
}

TEST(group_end_waits_for_the_cleanup_of_children)
{
	run_it(end_waits);
}

static int leave_by_return(void *arg)
{
	struct job j = { -1, 1 };

	for (int i = 0; i < 3; i++) {
		RLN_GROUP(g);
		CHECK_INT(rln_group_spawn(&g, work, &j), ==, 0);
		CHECK_INT(rln_yield(), ==, 0);
		CHECK_INT(alive, ==, 1);
		if (i == 0)
			continue;
		if (i == 2)
			return arg != NULL;
	}
	return 5;
}

TEST(group_block_joins_however_it_is_left)
{
	run_it(leave_by_return);
	CHECK_INT(orders, ==, 3);
}

/* ---- what children inherit */

static int sleep_on(void *arg)
{
	int *why = arg;
	alive++;
	*why = rln_sleep(RLN_FOREVER);
	alive--;
	return 0;
}

static int middle(void *arg)
{
	int *why = arg;
	rln_task kid;
	rln_child d;

	RLN_GROUP(g);
	CHECK_INT(rln_group_spawn(&g, sleep_on, &why[1]), ==, 0);
	CHECK_INT(rln_spawn(sleep_on, &why[2], NULL, &kid), ==, 0);
	why[0] = rln_group_next(&g, &d);
	return 0;
}

/* Everybody below: a child, its group's child, its own child. */
static int family(void (*end_it)(rln_scope *), rln_ns timeout, int want)
{
	int why[3] = { 0 };
	rln_scope s;

	rln_scope_begin(&s, timeout);
	{
		RLN_GROUP(g);
		rln_child d;
		CHECK_INT(rln_group_spawn(&g, middle, why), ==, 0);
		RLN_SHIELD(sh, RLN_SEC(20));
		while (alive < 2)
			CHECK_INT(rln_yield(), ==, 0);
		if (end_it)
			end_it(&s);
		CHECK_INT(rln_group_next(&g, &d), ==, 1); /* this task is shielded, they are not */
	}
	for (int i = 0; i < 3; i++)
		CHECK_INT(why[i], ==, want);
	CHECK_INT(rln_scope_end(&s), ==, want);
	return 0;
}

static void extend_to_2ms(rln_scope *s)
{
	rln_scope_extend(s, RLN_MS(2));
}

static int inherit_all(void *arg)
{
	(void)arg;
	family(NULL, RLN_MS(4), -ETIME);
	family(extend_to_2ms, RLN_FOREVER, -ETIME);
	family(extend_to_2ms, RLN_SEC(1000), -ETIME);
	family(rln_scope_cancel, RLN_FOREVER, -ECANCELED);
	return 0;
}

TEST(group_children_inherit_the_scopes_around_it_at_any_depth)
{
	run_it(inherit_all);
}

static int shielded(void *arg)
{
	int why = 0;
	rln_scope s;
	rln_child d;

	(void)arg;
	rln_scope_begin(&s, RLN_MS(1));
	{
		RLN_SHIELD(sh, RLN_SEC(20));
		RLN_GROUP(g);
		CHECK_INT(rln_group_spawn(&g, sleep_on, &why), ==, 0);
		CHECK_INT(rln_sleep(RLN_MS(4)), ==, 0);
		rln_scope_cancel(&s);
		CHECK_INT(rln_yield(), ==, 0);
		CHECK_INT(why, ==, 0); /* neither the deadline nor the cancellation got through */
		CHECK_INT(alive, ==, 1);
		rln_scope_cancel(&sh);
		CHECK_INT(rln_group_next(&g, &d), ==, -ECANCELED);
	}
	CHECK_INT(why, ==, -ECANCELED);
	CHECK_INT(rln_scope_end(&s), ==, 0);
	return 0;
}

TEST(group_inside_a_shield_is_shielded)
{
	run_it(shielded);
}

/* A scope begun inside the group is the parent's own business. */
static int inner(void *arg)
{
	int why = 0;
	rln_child d;

	(void)arg;
	RLN_GROUP(g);
	CHECK_INT(rln_group_spawn(&g, sleep_on, &why), ==, 0);
	CHECK_INT(RLN_WITHIN(RLN_MS(1), rln_group_next(&g, &d)), ==, -ETIME);
	CHECK_INT(rln_yield(), ==, 0);
	CHECK_INT(why, ==, 0);
	CHECK_INT(alive, ==, 1);
	rln_group_cancel(&g);
	CHECK_INT(rln_group_next(&g, &d), ==, 1);
	CHECK_INT(d.result, ==, 0);
	CHECK_INT(why, ==, -ECANCELED);
	return 0;
}

TEST(group_children_do_not_inherit_scopes_inside_it)
{
	run_it(inner);
}

static int born(void *arg)
{
	struct job j = { 0, 1 };
	rln_scope s;
	rln_child d;

	(void)arg;
	rln_scope_begin(&s, RLN_FOREVER);
	rln_scope_cancel(&s);
	{
		RLN_GROUP(g);
		RLN_SHIELD(sh, RLN_SEC(20));
		CHECK_INT(rln_group_spawn(&g, work, &j), ==, 0);
		CHECK_INT(rln_group_next(&g, &d), ==, 1);
		CHECK_INT(d.result, ==, -ECANCELED);
	}
	CHECK_INT(orders, ==, 0); /* it never ran */
	rln_scope_end(&s);
	return 0;
}

TEST(group_child_of_a_cancelled_scope_is_born_cancelled)
{
	run_it(born);
}

/* Each has one child: far deeper than any stack could follow. */
#define DEPTH 3000
static int depth;

static int deeper(void *arg)
{
	int err;

	(void)arg;
	if (++depth == DEPTH)
		return rln_sleep(RLN_FOREVER);
	RLN_GROUP(g);
	CHECK_INT(rln_group_spawn_opts(&g, deeper, NULL, &(rln_task_opts){ .stack_size = 1 }), ==,
		  0);
	err = rln_group_wait(&g);
	CHECK_INT(err, ==, -ECANCELED);
	return err;
}

TEST(group_tree_of_any_depth_is_cancelled)
{
	up();
	struct task *root = go(deeper, NULL);
	while (depth < DEPTH)
		turn();
	turn();
	task_cancel(root);
	CHECK_INT(sched.stats.cancels, ==, DEPTH);
	sched_down();
}

static int parent_of_kids(void *arg)
{
	int *why = arg;
	rln_task kid;

	CHECK_INT(rln_spawn(sleep_on, &why[1], NULL, &kid), ==, 0);
	why[0] = rln_sleep(RLN_FOREVER);
	/* cancelled with its parent, not only at its end */
	RLN_SHIELD(sh, RLN_SEC(20));
	CHECK_INT(rln_join(kid, NULL), ==, 0);
	CHECK_INT(why[1], ==, -ECANCELED);
	return 0;
}

TEST(group_cancelling_a_task_cancels_its_children)
{
	static int why[2];

	up();
	struct task *t = go(parent_of_kids, why);
	turn();
	turn();
	CHECK_INT(alive, ==, 1);
	task_cancel(t);
	sched_down();
	CHECK_INT(why[0], ==, -ECANCELED);
}

static int shielded_parent(void *arg)
{
	int *why = arg;

	RLN_GROUP(g);
	CHECK_INT(rln_group_spawn(&g, sleep_on, &why[1]), ==, 0);
	RLN_SHIELD(sh, RLN_SEC(20)); /* inside the group: of this task alone */
	why[0] = rln_group_wait(&g);
	return 0;
}

static int cancel_group(void *arg)
{
	int why[2] = { 1, 1 };

	(void)arg;
	RLN_GROUP(g);
	CHECK_INT(rln_group_spawn(&g, shielded_parent, why), ==, 0);
	while (!alive)
		CHECK_INT(rln_yield(), ==, 0);
	rln_group_cancel(&g);
	CHECK_INT(rln_group_wait(&g), ==, 0);
	CHECK_INT(why[0], ==, 0); /* it did not notice, its child did */
	CHECK_INT(why[1], ==, -ECANCELED);
	return 0;
}

TEST(group_cancel_reaches_the_children_of_a_child_that_does_not_notice)
{
	run_it(cancel_group);
}

/* ---- what cannot be spawned */

static int spawn_too_many(void *arg)
{
	struct job j[4] = { { 1, 0 }, { 1, 0 }, { 1, 0 }, { 1, 0 } };
	rln_child d;

	(void)arg;
	RLN_GROUP(g);
	CHECK_INT(rln_group_spawn(&g, work, &j[0]), ==, 0);
	CHECK_INT(rln_group_spawn(&g, work, &j[1]), ==, -EAGAIN);
	CHECK_INT(rln_group_spawn(&g, work, &j[2]), ==, -EAGAIN);
	CHECK_INT(rln_group_spawn(&g, NULL, &j[3]), ==, -EINVAL);
	CHECK_INT(rln_group_next(&g, &d), ==, 1);
	CHECK_INT(d.index, ==, 1);
	CHECK(d.arg == &j[1]);
	CHECK_INT(d.result, ==, -EAGAIN);
	for (int i = 0; i < 2; i++) {
		CHECK_INT(rln_group_next(&g, &d), ==, 1);
		CHECK_INT(d.index, ==, -1);
		CHECK(d.arg == NULL);
		CHECK_INT(d.result, ==, -EAGAIN);
	}
	CHECK_INT(rln_group_next(&g, &d), ==, 1);
	CHECK_INT(d.index, ==, 0);
	CHECK_INT(rln_group_next(&g, &d), ==, 0);

	CHECK_INT(rln_group_spawn(&g, work, &(struct job){ -1, 0 }), ==, 0);
	CHECK_INT(rln_group_spawn(&g, work, &j[1]), ==, -EAGAIN);
	CHECK_INT(rln_group_wait(&g), ==, -EAGAIN); /* a failure like any other */
	CHECK_INT(alive, ==, 0);
	return 0;
}

TEST(group_child_that_cannot_be_made_is_a_failed_child)
{
	sched_up(&(struct sched_config){ .max_tasks = 2 });
	go(spawn_too_many, NULL);
	sched_down();
}

/* ---- select */

static int select_child(void *arg)
{
	struct job j[2] = { { 1, 5 }, { -1, 6 } };
	rln_child d = { 0 }, twice;

	(void)arg;
	RLN_GROUP(g);
	rln_arm arms[] = { rln_on_after(RLN_FOREVER), rln_on_group(&g, &d) };
	CHECK_INT(rln_select(arms, 2), ==, 1);
	CHECK_INT(arms[1].res, ==, 0); /* none is left */
	for (int i = 0; i < 2; i++)
		CHECK_INT(rln_group_spawn(&g, work, &j[i]), ==, 0);
	CHECK_INT(rln_select(arms, 2), ==, 1);
	CHECK_INT(arms[1].res, ==, 1);
	CHECK_INT(d.result, ==, 5);
	arms[0] = rln_on_after(RLN_MS(1));
	CHECK_INT(rln_select(arms, 2), ==, 0);
	CHECK_INT(alive, ==, 1);
	rln_arm both[] = { rln_on_group(&g, &d), rln_on_group(&g, &twice) };
	CHECK_INT(rln_select(both, 2), ==, 1);
	CHECK_INT(both[1].res, ==, -EBUSY);
	both[0] = rln_on_group(&g, NULL);
	CHECK_INT(rln_select(both, 2), ==, 0);
	CHECK_INT(both[0].res, ==, -EINVAL);
	return 0;
}

TEST(group_arm_is_told_of_the_next_child)
{
	run_it(select_child);
}

/* ---- misuse */

static int group_around_scope(void *arg)
{
	rln_group g;
	rln_scope s;
	(void)arg;
	rln_group_begin(&g);
	rln_scope_begin(&s, 1);
	return rln_group_end(&g);
}

static int scope_around_group(void *arg)
{
	rln_group g;
	rln_scope s;
	(void)arg;
	rln_scope_begin(&s, 1);
	rln_group_begin(&g);
	return rln_scope_end(&s);
}

static int end_twice(void *arg)
{
	rln_group g;
	(void)arg;
	rln_group_begin(&g);
	rln_group_end(&g);
	return rln_group_end(&g);
}

static int spawn_ended(void *arg)
{
	rln_group g;
	rln_group_begin(&g);
	rln_group_end(&g);
	return rln_group_spawn(&g, work, arg);
}

static int never_end(void *arg)
{
	static rln_group g;
	(void)arg;
	rln_group_begin(&g);
	return 0;
}

static int wait_for_parents(void *arg)
{
	return rln_group_wait(arg);
}

static int foreign_wait(void *arg)
{
	(void)arg;
	RLN_GROUP(g);
	CHECK_INT(rln_group_spawn(&g, wait_for_parents, &g), ==, 0);
	return rln_group_wait(&g);
}

#define DIES(fn)                   \
	static void die_##fn(void) \
	{                          \
		run(fn);           \
	}
DIES(group_around_scope)
DIES(scope_around_group)
DIES(end_twice)
DIES(spawn_ended)
DIES(never_end)
DIES(foreign_wait)

static void die_outside(void)
{
	rln_group g;
	rln_group_begin(&g);
}

TEST(group_misuse_aborts_and_says_where)
{
	CHECK_DIES(die_group_around_scope, SIGABRT, "for the group begun at " __FILE__ ":");
	CHECK_DIES(die_group_around_scope, SIGABRT,
		   "before the scope inside it, begun at " __FILE__ ":");
	CHECK_DIES(die_scope_around_group, SIGABRT, "for the scope begun at " __FILE__ ":");
	CHECK_DIES(die_scope_around_group, SIGABRT,
		   "before the group inside it, begun at " __FILE__ ":");
	CHECK_DIES(die_end_twice, SIGABRT, "for a group that has ended");
	CHECK_DIES(die_spawn_ended, SIGABRT, "rln_group_spawn called for a group that has ended");
	CHECK_DIES(die_never_end, SIGABRT, "returned inside the group begun at " __FILE__ ":");
	CHECK_DIES(die_foreign_wait, SIGABRT, "for the group begun at " __FILE__ ":");
	CHECK_DIES(die_outside, SIGABRT, "outside a task");
}

TEST(group_calls_in_callbacks_are_refused)
{
	rln_group g = { 0 };
	rln_child d;

	CHECK_INT(rln_group_next(&g, &d), ==, -EPERM);
	up();
	CHECK_INT(rln_group_next(&g, &d), ==, -EDEADLK);
	CHECK_INT(rln_group_wait(&g), ==, -EDEADLK);
	sched_down();
}
