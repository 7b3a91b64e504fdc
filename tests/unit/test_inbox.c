/* The inbox on the real kernel: when it writes its eventfd, what it runs, how it closes. */
#include "loop/inbox.h"
#include "ring/caps.h"
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>

static struct ring ring;
static struct ops ops;
static struct inbox in;

static void setup(unsigned sq_entries)
{
	struct ring_config cfg = { .sq_entries = sq_entries,
				   .cq_entries = sq_entries * 4,
				   .sqpoll_cpu = -1 };
	struct diag why = { 0 };

	if (ring_open(&ring, &cfg, &why) != 0)
		SKIP("%s", why.line);
	CHECK_INT(ring_enable(&ring, &why), ==, 0);
	ops_init(&ops, &ring);
	CHECK_INT(inbox_open(&in, &ops), ==, 0);
}

static void turn(unsigned wait_nr)
{
	ops_deliver(&ops);
	ops_flush(&ops);
	CHECK_INT(ring_enter(&ring, wait_nr, INT64_MAX), ==, 0);
	ops_reap(&ops, 64);
}

static void finish(void)
{
	int fd = in.wake_fd;

	inbox_close(&in);
	while (!ops_idle(&ops))
		turn(ops.queued || ring_cq_ready(&ring) ? 0 : 1);
	inbox_free(&in);
	CHECK_INT(fcntl(fd, F_GETFD), ==, -1);
	ops_fini(&ops);
	ring_close(&ring);
}

/* --- messages that note when they ran --- */

enum { NOTES = 128 };

struct note {
	struct inbox_msg msg;
	int id;
	struct note *pushes; /* run pushes this */
	bool closes;	     /* run closes the inbox */
};

static int ran[NOTES], ran_count;

static void note_run(struct inbox_msg *m)
{
	struct note *n = (struct note *)m;

	ran[ran_count++] = n->id;
	if (n->pushes)
		CHECK_INT(inbox_push(&in, &n->pushes->msg), ==, 0);
	if (n->closes)
		inbox_close(&in);
}

static void note_init(struct note *n, int id)
{
	*n = (struct note){ .msg.run = note_run, .id = id };
}

static uint64_t wakes(void)
{
	return atomic_load(&in.wakes_sent);
}

TEST(inbox_messages_run_in_order_and_only_in_drain)
{
	struct note n[3];

	setup(8);
	inbox_start(&in);
	CHECK(!inbox_pending(&in));
	for (int i = 0; i < 3; i++) {
		note_init(&n[i], i);
		CHECK_INT(inbox_push(&in, &n[i].msg), ==, 0);
	}
	CHECK_INT(ran_count, ==, 0);
	CHECK(inbox_pending(&in));
	CHECK_INT(inbox_drain(&in), ==, 3);
	CHECK_INT(inbox_drain(&in), ==, 0);
	for (int i = 0; i < 3; i++)
		CHECK_INT(ran[i], ==, i);
	CHECK_INT(in.messages, ==, 3);
	CHECK_INT(wakes(), ==, 0);
	finish();
}

TEST(inbox_message_pushed_by_message_runs_in_next_drain)
{
	struct note a, b;

	setup(8);
	inbox_start(&in);
	note_init(&a, 1);
	note_init(&b, 2);
	a.pushes = &b;
	b.pushes = &a; /* for ever, one a drain */
	CHECK_INT(inbox_push(&in, &a.msg), ==, 0);
	for (int i = 1; i <= 5; i++) {
		CHECK_INT(inbox_drain(&in), ==, 1);
		CHECK_INT(ran_count, ==, i);
	}
	a.pushes = b.pushes = NULL;
	finish();
	CHECK_INT(ran_count, ==, 6);
}

TEST(inbox_many_pushes_while_asleep_write_once_each_sleep)
{
	static struct note n[3][20];

	setup(8);
	inbox_start(&in);
	turn(0);
	for (int round = 0; round < 3; round++) {
		CHECK(inbox_sleep(&in));
		for (int i = 0; i < 20; i++) {
			note_init(&n[round][i], i);
			CHECK_INT(inbox_push(&in, &n[round][i].msg), ==, 0);
		}
		CHECK_INT(wakes(), ==, round + 1);
		turn(1); /* hangs if the read is not armed */
		inbox_awake(&in);
		CHECK_INT(in.wake_count, ==, 1);
		CHECK_INT(inbox_drain(&in), ==, 20);
	}
	finish();
}

TEST(inbox_sleep_with_message_queued_is_refused)
{
	struct note n, late;

	setup(8);
	inbox_start(&in);
	note_init(&n, 1);
	note_init(&late, 2);
	CHECK_INT(inbox_push(&in, &n.msg), ==, 0);
	CHECK(!inbox_sleep(&in));
	CHECK_INT(inbox_push(&in, &late.msg), ==, 0);
	CHECK_INT(wakes(), ==, 0);
	CHECK_INT(inbox_drain(&in), ==, 2);
	finish();
}

TEST(inbox_wake_while_awake_refuses_one_sleep)
{
	setup(8);
	inbox_start(&in);
	inbox_wake(&in);
	inbox_wake(&in);
	CHECK(inbox_pending(&in));
	CHECK_INT(inbox_drain(&in), ==, 0); /* a drain does not use the wake up */
	CHECK(!inbox_sleep(&in));
	CHECK_INT(wakes(), ==, 0);
	CHECK(!inbox_pending(&in));
	CHECK(inbox_sleep(&in));
	inbox_awake(&in);
	finish();
}

TEST(inbox_wake_while_asleep_ends_the_wait)
{
	setup(8);
	inbox_start(&in);
	turn(0);
	CHECK(inbox_sleep(&in));
	errno = ELOOP;
	inbox_wake(&in);
	inbox_wake(&in);
	CHECK_INT(errno, ==, ELOOP);
	CHECK_INT(wakes(), ==, 1);
	turn(1);
	inbox_awake(&in);
	CHECK(inbox_sleep(&in));
	inbox_awake(&in);
	finish();
}

static void nop_done(struct op_io *io, const struct op_event *ev)
{
	(void)ev;
	op_reset(&io->op);
	++*(int *)io->ctx;
}

/* E8: the re-arm meets a full submission queue. */
TEST(inbox_read_is_armed_again_behind_a_full_queue)
{
	struct op_io nop[6];
	struct note n;
	int finished = 0;

	setup(2);
	inbox_start(&in);
	turn(0);
	CHECK(inbox_sleep(&in));
	note_init(&n, 1);
	CHECK_INT(inbox_push(&in, &n.msg), ==, 0);
	CHECK_INT(ring_enter(&ring, 1, INT64_MAX), ==, 0);
	inbox_awake(&in);
	for (int i = 0; i < 6; i++) {
		op_io_init(&nop[i], OP_NOP, nop_done);
		nop[i].ctx = &finished;
		op_submit(&ops, &nop[i].op);
	}
	CHECK_INT(ops_reap(&ops, 1), ==, 1); /* the read's completion */
	CHECK_INT(in.read.op.state, ==, OP_QUEUED);
	while (finished < 6 || in.read.op.state != OP_LIVE || ring_sq_pending(&ring))
		turn(0);
	CHECK_INT(inbox_drain(&in), ==, 1);
	CHECK(inbox_sleep(&in));
	inbox_wake(&in);
	turn(1);
	inbox_awake(&in);
	finish();
}

TEST(inbox_close_runs_the_rest_and_refuses)
{
	struct note n[3];

	setup(8);
	inbox_start(&in);
	turn(0);
	for (int i = 0; i < 3; i++)
		note_init(&n[i], i);
	CHECK_INT(inbox_push(&in, &n[0].msg), ==, 0);
	CHECK_INT(inbox_push(&in, &n[1].msg), ==, 0);
	inbox_close(&in);
	CHECK_INT(ran_count, ==, 2);
	CHECK_INT(inbox_push(&in, &n[2].msg), ==, -ESHUTDOWN);
	CHECK_INT(inbox_drain(&in), ==, 0);
	inbox_close(&in); /* again: nothing */
	finish();
	CHECK_INT(ran_count, ==, 2);
}

TEST(inbox_close_by_message_keeps_the_order)
{
	struct note n[4];

	setup(8);
	inbox_start(&in);
	for (int i = 0; i < 4; i++)
		note_init(&n[i], i);
	n[0].closes = true;
	n[1].pushes = NULL;
	for (int i = 0; i < 4; i++)
		CHECK_INT(inbox_push(&in, &n[i].msg), ==, 0);
	inbox_drain(&in);
	CHECK_INT(ran_count, ==, 4);
	for (int i = 0; i < 4; i++)
		CHECK_INT(ran[i], ==, i);
	CHECK_INT(in.messages, ==, 4);
	finish();
}

TEST(inbox_close_while_a_wake_is_out_ends_the_read)
{
	setup(8);
	inbox_start(&in);
	turn(0);
	CHECK(inbox_sleep(&in));
	inbox_wake(&in); /* the read completes with its own result, the cancel finds nothing */
	inbox_awake(&in);
	finish();
	CHECK_INT(ops.live, ==, 0);
}

TEST(inbox_close_before_start_leaves_nothing)
{
	struct note n;

	setup(8);
	note_init(&n, 1);
	CHECK_INT(inbox_push(&in, &n.msg), ==, 0);
	inbox_close(&in);
	CHECK_INT(ran_count, ==, 1);
	CHECK(ops_idle(&ops));
	CHECK_INT(ring.stats.sqes, ==, 0);
	finish();
}

static void free_armed(void)
{
	setup(8);
	inbox_start(&in);
	inbox_free(&in);
}

TEST(inbox_free_with_read_out_aborts)
{
	CHECK_DIES(free_armed, SIGABRT, "op_busy");
}

/* --- taking back, and what is still to come --- */

TEST(inbox_message_withdrawn_does_not_run_and_the_others_do_in_order)
{
	struct note n[4];

	setup(8);
	inbox_start(&in);
	for (int i = 0; i < 4; i++)
		note_init(&n[i], i);
	CHECK_INT(inbox_push(&in, &n[0].msg), ==, 0);
	CHECK_INT(inbox_push(&in, &n[1].msg), ==, 0);
	inbox_withdraw(&in, &n[0].msg);
	CHECK(inbox_pending(&in));
	CHECK(!inbox_sleep(&in)); /* one is taken, and has not run */
	CHECK_INT(inbox_push(&in, &n[2].msg), ==, 0);
	CHECK_INT(inbox_push(&in, &n[3].msg), ==, 0);
	inbox_withdraw(&in, &n[3].msg);
	CHECK_INT(inbox_drain(&in), ==, 2);
	CHECK_INT(ran[0], ==, 1);
	CHECK_INT(ran[1], ==, 2);
	CHECK(!inbox_pending(&in));
	finish();
}

static struct note withdrawn;

static void withdraw_run(struct inbox_msg *m)
{
	(void)m;
	inbox_withdraw(&in, &withdrawn.msg);
}

TEST(inbox_message_withdrawn_by_a_message_of_the_same_drain)
{
	struct note first = { .msg.run = withdraw_run };

	setup(8);
	inbox_start(&in);
	note_init(&withdrawn, 1);
	CHECK_INT(inbox_push(&in, &first.msg), ==, 0);
	CHECK_INT(inbox_push(&in, &withdrawn.msg), ==, 0);
	CHECK_INT(inbox_drain(&in), ==, 1);
	CHECK_INT(ran_count, ==, 0);
	finish();
}

static void withdraw_nothing(void)
{
	struct note n;

	setup(8);
	inbox_start(&in);
	note_init(&n, 0);
	inbox_withdraw(&in, &n.msg);
}

static void close_with_one_due(void)
{
	setup(8);
	inbox_start(&in);
	in.due = 1;
	inbox_close(&in);
}

TEST(inbox_misuse_of_what_is_to_come_aborts)
{
	setup(8);
	CHECK_DIES(withdraw_nothing, SIGABRT, "is not here");
	CHECK_DIES(close_with_one_due, SIGABRT, "still to come");
	finish();
}
