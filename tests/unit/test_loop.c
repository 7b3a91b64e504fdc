/* The turn on the real kernel: timers, when it waits, what it reaps, opening and closing. */
#include "unit/loop_fixture.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

/* --- timers --- */

TEST(loop_timers_fire_without_sqes)
{
	struct timer t[20];
	uint64_t sqes;

	begin(8);
	sqes = loop.ring.stats.sqes;
	for (int i = 0; i < 20; i++) {
		timer_init(&t[i], on_fire);
		timer_arm(&loop.wheel, &t[i], test_now_ns() + i * MS / 2);
	}
	while (fired < 20)
		turn(INT64_MAX);
	CHECK_INT(loop.ring.stats.sqes, ==, sqes);
	CHECK_INT(loop.stats.sleeps, >, 0);
	CHECK_INT(loop.stats.sleeps, <=, 60); /* it waits for ticks, it does not poll */
	CHECK_INT(spy.waits_without_limit, ==, 0);
	end();
}

TEST(loop_timer_armed_in_the_past_fires_next_turn_without_sleep)
{
	struct timer t;

	begin(8);
	timer_init(&t, on_fire);
	timer_arm(&loop.wheel, &t, INT64_MIN);
	turn(INT64_MAX);
	CHECK_INT(fired, ==, 1);
	timer_arm(&loop.wheel, &t, loop.now_ns);
	turn(INT64_MIN);
	CHECK_INT(fired, ==, 2);
	CHECK_INT(loop.stats.sleeps, ==, 0);
	end();
}

static struct timer hook_timer;
static bool hook_armed;

static void arm_now(void *ctx)
{
	(void)ctx;
	if (!hook_armed)
		timer_arm(&loop.wheel, &hook_timer, loop.now_ns);
	hook_armed = true;
}

TEST(loop_timer_due_by_a_stage_prevents_sleep)
{
	begin(8);
	timer_init(&hook_timer, on_fire);
	loop.stage[LOOP_RUN].fn = arm_now;
	turn(INT64_MAX); /* would hang */
	turn(INT64_MIN);
	CHECK_INT(fired, ==, 1);
	CHECK_INT(loop.stats.sleeps, ==, 0);
	end();
}

/* --- when a turn waits --- */

/* --- timers that are started, not armed: they count from the next look at the clock --- */

static struct timer started;
static int64_t started_ns;

static void work_ms(int ms)
{
	for (int64_t end_ns = test_now_ns() + ms * MS; test_now_ns() < end_ns;)
		;
}

/* The turn's own reading is old by then. */
static void start_late(void *ctx)
{
	if (started_ns)
		return;
	work_ms(5);
	started_ns = test_now_ns();
	timer_start(&loop.wheel, &started, *(int64_t *)ctx);
}

static void start_by_message(struct inbox_msg *m)
{
	(void)m;
	start_late(&(int64_t){ 2 * MS });
}

TEST(loop_timer_started_by_a_stage_limits_the_sleep_of_the_same_turn)
{
	int64_t dur_ns = 100 * SECOND;

	begin(8);
	timer_init(&started, on_fire);
	loop.stage[LOOP_FLUSH] = (struct loop_hook){ start_late, &dur_ns };
	spy.on_enter = wake_when_waiting;
	turn(INT64_MAX);
	CHECK_INT(spy.waits, ==, 1);
	CHECK_INT(spy.limit_ns, <=, dur_ns + MS);
	timer_cancel(&loop.wheel, &started);
	end();
}

TEST(loop_timer_started_by_a_stage_is_not_early)
{
	int64_t dur_ns = 8 * MS;

	begin(8);
	timer_init(&started, on_fire);
	loop.stage[LOOP_FLUSH] = (struct loop_hook){ start_late, &dur_ns };
	while (!fired)
		turn(INT64_MAX);
	CHECK_INT(test_now_ns() - started_ns, >=, dur_ns);
	CHECK_INT(spy.waits_without_limit, ==, 0);
	end();
}

TEST(loop_timer_started_by_a_message_does_not_fire_by_the_reading_before)
{
	struct inbox_msg m = { .run = start_by_message };

	begin(8);
	timer_init(&started, on_fire);
	CHECK_INT(inbox_push(&loop.inbox, &m), ==, 0);
	turn(INT64_MIN);
	CHECK(started_ns);
	CHECK_INT(fired, ==, 0);
	while (!fired)
		turn(INT64_MAX);
	CHECK_INT(test_now_ns() - started_ns, >=, 2 * MS);
	end();
}

TEST(loop_timer_started_for_no_time_prevents_sleep)
{
	int64_t dur_ns = 0;

	begin(8);
	timer_init(&started, on_fire);
	loop.stage[LOOP_FLUSH] = (struct loop_hook){ start_late, &dur_ns };
	turn(INT64_MAX);
	turn(INT64_MAX);
	CHECK_INT(fired, ==, 1);
	CHECK_INT(spy.waits, ==, 0);
	end();
}

TEST(loop_deadline_ends_the_wait_and_the_past_never_waits)
{
	begin(8);
	int64_t begin_ns = test_now_ns(), deadline = begin_ns + 20 * MS;

	while (test_now_ns() < deadline)
		turn(deadline);
	CHECK_INT(spy.limit_ns, <=, 20 * MS);
	CHECK_INT(loop.stats.sleeps, >=, 1);
	CHECK_INT(loop.stats.sleeps, <=, 3);
	uint64_t sleeps = loop.stats.sleeps;
	turn(INT64_MIN);
	turn(deadline);
	turn(0);
	turn(test_now_ns());
	CHECK_INT(loop.stats.sleeps, ==, sleeps);
	CHECK_INT(spy.waits, ==, sleeps);
	CHECK_INT(spy.waits_without_limit, ==, 0);
	end();
}

TEST(loop_idle_sleeps_without_a_limit)
{
	begin(8);
	spy.on_enter = wake_when_waiting;
	turn(INT64_MAX);
	CHECK_INT(loop.stats.sleeps, ==, 1);
	CHECK_INT(spy.waits_without_limit, ==, 1);
	CHECK_INT(atomic_load(&loop.inbox.wakes_sent), ==, 1);
	end();
}

static bool always_busy(void *ctx)
{
	++*(int *)ctx;
	return true;
}

TEST(loop_busy_hook_prevents_sleep)
{
	int asked = 0;

	begin(8);
	loop.busy = always_busy;
	loop.busy_ctx = &asked;
	for (int i = 0; i < 5; i++)
		turn(INT64_MAX);
	CHECK_INT(asked, >=, 5);
	CHECK_INT(loop.stats.sleeps, ==, 0);
	CHECK_INT(spy.waits, ==, 0);
	CHECK_INT(spy.enters, ==, 6); /* one enter a turn */
	end();
}

TEST(loop_turns_are_counted)
{
	begin(8);
	for (int i = 0; i < 7; i++)
		turn(INT64_MIN);
	CHECK_INT(loop.stats.turns, ==, 8);
	CHECK_INT(spy.enters, ==, 8);
	end();
}

TEST(loop_enter_failure_is_returned)
{
	begin(8);
	spy.fail = -EBADF;
	CHECK_INT(loop_turn(&loop, INT64_MIN), ==, -EBADF);
	CHECK_INT(loop_turn(&loop, INT64_MAX), ==, -EBADF);
	spy.fail = 0;
	end();
}

/* --- ops --- */

enum { NOPS = 100 };

TEST(loop_full_sq_never_sleeps_and_all_finish)
{
	static struct op_io nop[NOPS];
	int turns = 0;

	begin(2);
	submit_nops(nop, NOPS);
	CHECK_INT(loop.ops.queued, ==, NOPS - 2);
	while (nops_finished < NOPS) {
		turn(INT64_MAX);
		CHECK_INT(++turns, <=, NOPS);
	}
	CHECK_INT(turns, <=, NOPS / 2 + 2);
	CHECK_INT(loop.stats.sleeps, <=, 1); /* the last ones may be waited for */
	end();
}

TEST(loop_reap_is_bounded_and_the_rest_prevents_sleep)
{
	static struct op_io nop[8];
	struct loop_config cfg = config(16);

	cfg.reap_max = 3;
	begin_with(&cfg);
	submit_nops(nop, 8);
	turn(INT64_MIN);
	CHECK_INT(nops_finished, ==, 3);
	turn(INT64_MAX);
	CHECK_INT(nops_finished, ==, 6);
	turn(INT64_MAX);
	CHECK_INT(nops_finished, ==, 8);
	CHECK_INT(loop.stats.sleeps, ==, 0);
	end();
}

static int cancelled;

static void cancelled_done(struct op_io *io, const struct op_event *ev)
{
	CHECK_INT(ev->res, ==, -ECANCELED);
	op_reset(&io->op);
	cancelled++;
}

static struct op_io nop_first[2], nop_queued;
static struct op_cancel nop_cancel;
static bool cancel_once;

/* After ops_deliver() of this turn: the finish is undelivered when the turn might sleep. */
static void cancel_queued(void *ctx)
{
	(void)ctx;
	if (cancel_once)
		return;
	cancel_once = true;
	submit_nops(nop_first, 2);
	op_submit(&loop.ops, &nop_queued.op);
	CHECK(!op_cancel_with(&loop.ops, &nop_queued.op, &nop_cancel));
	CHECK(ops_reap(&loop.ops, 1) == 0);
}

TEST(loop_undelivered_finish_prevents_sleep)
{
	begin(2);
	op_io_init(&nop_queued, OP_NOP, cancelled_done);
	op_cancel_init(&nop_cancel, NULL);
	loop.stage[LOOP_FLUSH].fn = cancel_queued;
	turn(INT64_MAX);
	CHECK_INT(cancelled, ==, 0);
	CHECK_INT(loop.stats.sleeps, ==, 0);
	turn(INT64_MIN);
	CHECK_INT(cancelled, ==, 1);
	CHECK_INT(nops_finished, ==, 2);
	end();
}

/* --- the order of the stages --- */

static char trace[32];

static void note(const char *what)
{
	strcat(trace, what);
}

static void note_timer(struct timer *t)
{
	(void)t;
	note("t");
}

static void note_message(struct inbox_msg *m)
{
	(void)m;
	note("m");
}

static void note_stage(void *ctx)
{
	note(ctx);
}

static void note_delivery(struct op_io *io, const struct op_event *ev)
{
	CHECK_INT(ev->res, ==, -ECANCELED);
	op_reset(&io->op);
	note("d");
}

static void note_completion(struct op_io *io, const struct op_event *ev)
{
	CHECK_INT(ev->res, ==, 0);
	op_reset(&io->op);
	note("c");
}

static void note_enter(bool waiting)
{
	(void)waiting;
	note("e");
}

TEST(loop_stages_run_in_order)
{
	struct inbox_msg m = { .run = note_message };
	struct op_io nop[2], victim;
	struct timer t;

	begin(2);
	loop.stage[LOOP_PUBLISH] = (struct loop_hook){ note_stage, (void *)"p" };
	loop.stage[LOOP_FLUSH] = (struct loop_hook){ note_stage, (void *)"f" };
	loop.stage[LOOP_RUN] = (struct loop_hook){ note_stage, (void *)"r" };
	spy.on_enter = note_enter;
	timer_init(&t, note_timer);
	timer_arm(&loop.wheel, &t, 0);
	CHECK_INT(inbox_push(&loop.inbox, &m), ==, 0);
	for (int i = 0; i < 2; i++) {
		op_io_init(&nop[i], OP_NOP, note_completion);
		op_submit(&loop.ops, &nop[i].op);
	}
	op_io_init(&victim, OP_NOP, note_delivery);
	op_submit(&loop.ops, &victim.op);
	op_cancel_init(&nop_cancel, NULL);
	op_cancel_with(&loop.ops, &victim.op, &nop_cancel);
	turn(INT64_MIN);
	CHECK_STR(trace, "mtrdfpecc");
	end();
}

/* --- how long work took --- */

static int64_t work_ns;

static void work(void *ctx)
{
	int64_t until = test_now_ns() + work_ns;

	(void)ctx;
	while (test_now_ns() < until)
		;
	work_ns = 0;
}

TEST(loop_longest_turn_counts_work)
{
	struct loop_config cfg = config(8);

	cfg.stall_ns = 20 * MS;
	begin_with(&cfg);
	loop.stage[LOOP_RUN].fn = work;
	work_ns = 30 * MS;
	turn(INT64_MIN);
	turn(INT64_MIN); /* which ends the turn before */
	CHECK_INT(loop.stats.longest_turn_ns, >=, 30 * MS);
	CHECK_INT(loop.stats.stalls, >=, 1);
	/* before a wait, too */
	loop.stats.longest_turn_ns = 0;
	work_ns = 30 * MS;
	spy.on_enter = wake_when_waiting;
	turn(INT64_MAX);
	CHECK_INT(loop.stats.sleeps, ==, 1);
	CHECK_INT(loop.stats.longest_turn_ns, >=, 30 * MS);
	CHECK_INT(loop.stats.stalls, >=, 2);
	end();
}

TEST(loop_work_does_not_lengthen_the_sleep)
{
	begin(8);
	loop.stage[LOOP_RUN].fn = work;
	work_ns = 30 * MS;
	turn(test_now_ns() + 1000 * MS);
	CHECK_INT(spy.waits, ==, 1);
	CHECK_INT(spy.limit_ns, <=, 970 * MS);
	end();
}

TEST(loop_longest_turn_leaves_sleep_out)
{
	begin(8);
	int64_t deadline = test_now_ns() + 600 * MS;

	while (test_now_ns() < deadline)
		turn(deadline);
	turn(INT64_MIN);
	CHECK_INT(loop.stats.sleeps, >, 0);
	CHECK_INT(loop.stats.longest_turn_ns, <, 500 * MS);
	CHECK_INT(loop.stats.stalls, ==, 0);
	end();
}

/* --- opening and closing --- */

static struct rlimit descriptors;

static void forbid_descriptors(void)
{
	struct rlimit none = { 0, descriptors.rlim_max };
	CHECK_INT(setrlimit(RLIMIT_NOFILE, &none), ==, 0);
}

TEST(loop_open_without_eventfd_names_it_and_leaves_nothing)
{
	struct loop_config cfg = config(8);
	struct diag why = { 0 };
	int before = dup(0);

	close(before); /* the number the ring is going to get */
	CHECK_INT(getrlimit(RLIMIT_NOFILE, &descriptors), ==, 0);
	spy.after_setup = forbid_descriptors;
	CHECK_INT(loop_open(&loop, &cfg, &why), ==, -EMFILE);
	CHECK_INT(setrlimit(RLIMIT_NOFILE, &descriptors), ==, 0);
	CHECK_HAS(why.line, "eventfd");
	CHECK_INT(why.err, ==, -EMFILE);
	CHECK_INT(fcntl(before, F_GETFD), ==, -1);
	CHECK_INT(errno, ==, EBADF);
}

TEST(loop_open_and_close_without_start_leaves_nothing)
{
	struct loop_config cfg = config(8);
	int before = dup(0);

	close(before);
	CHECK_INT(loop_open(&loop, &cfg, NULL), ==, 0);
	CHECK_INT(loop.reap_max, ==, loop.ring.u.cq.ring_entries);
	inbox_close(&loop.inbox);
	loop_close(&loop);
	int after = dup(0);
	CHECK_INT(after, ==, before);
	close(after);
}

static void close_with_timer(void)
{
	static struct timer t;

	begin(8);
	timer_init(&t, on_fire);
	timer_arm(&loop.wheel, &t, INT64_MAX);
	end();
}

static void close_with_op(void)
{
	begin(8);
	loop_close(&loop);
}

TEST(loop_close_with_something_out_aborts)
{
	CHECK_DIES(close_with_timer, SIGABRT, "1 timers armed");
	CHECK_DIES(close_with_op, SIGABRT, "ops_idle");
}
