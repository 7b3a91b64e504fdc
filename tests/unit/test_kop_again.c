/* A task's kernel operation that is cancelled while the cancel of the one before is still out. */
#include "kop_fixture.h"
#include "task/internal.h"

static rln_scope first, second;
static int first_res, second_res, second_why, after_res;
static char byte;

static int receive(void)
{
	struct op_io io;

	task_kop(&io, OP_RECV);
	io.a.fd = pair[0];
	io.a.buf = &byte;
	io.a.len = 1;
	return task_kop_run(&io, "receive");
}

static int receives_three_times(void *arg)
{
	(void)arg;
	rln_scope_begin(&first, RLN_FOREVER);
	first_res = receive();
	(void)rln_scope_end(&first);
	rln_scope_begin(&second, RLN_FOREVER);
	second_res = receive();
	second_why = rln_scope_end(&second);
	after_res = receive();
	return 0;
}

static void turn(void)
{
	CHECK_INT(loop_turn(&loop, loop.now_ns + 50 * MS), ==, 0);
	sched_check(&sched);
}

static void until_live(struct task *t, unsigned received)
{
	while (loop.ops.kind_submitted[OP_RECV] < received || t->k.io->op.state != OP_LIVE)
		CHECK_INT(loop_turn(&loop, INT64_MIN), ==, 0);
	CHECK_INT(loop_turn(&loop, INT64_MIN), ==, 0);
}

/* The first receive has got its byte, and been cancelled before anybody saw that. */
static struct task *up_with_a_cancel_out(void)
{
	struct task_spec spec = { .fn = receives_three_times, .file = "here.c" };
	struct task *t;

	up_sized(8);
	CHECK_INT(task_create(&sched, &spec, &t), ==, 0);
	until_live(t, 1);
	CHECK_INT(write(pair[1], "x", 1), ==, 1);
	CHECK_INT(ring_enter(&loop.ring, 0, 0), ==, 0);
	rln_scope_cancel(&first);
	CHECK_INT(ring_enter(&loop.ring, 0, 0), ==, 0);
	CHECK_INT(ring_cq_ready(&loop.ring), ==, 2);
	CHECK_INT(ops_reap(&loop.ops, 1), ==, 1); /* and its cancel's answer stays where it is */
	return t;
}

static void down(void)
{
	kop_down(turn);
}

TEST(kop_cancelled_while_the_cancel_before_is_out_is_cancelled_all_the_same)
{
	struct task *t = up_with_a_cancel_out();

	sched_run(&sched);
	CHECK_INT(first_res, ==, 1);
	CHECK(t->state == TASK_PARKED && t->k.io && t->holds & HOLD_CANCEL);

	rln_scope_cancel(&second);
	CHECK_INT(t->k.cancel_due, ==, true);
	turn(); /* the answer comes, and only then the cancel can go out */
	until_live(t, 3);
	CHECK_INT(second_res, ==, -ECANCELED);
	CHECK_INT(second_why, ==, -ECANCELED);
	CHECK_INT(write(pair[1], "y", 1), ==, 1);
	down();
	CHECK_INT(after_res, ==, 1);
	CHECK_INT(byte, ==, 'y');
}

/* The second one has ended by itself before the first cancel's answer is seen: it is not wanted any
 * more. */
TEST(kop_cancel_that_waited_for_one_before_is_not_sent_for_what_has_ended)
{
	struct task *t = up_with_a_cancel_out();

	CHECK_INT(write(pair[1], "y", 1), ==, 1); /* the second receive has its byte already */
	sched_run(&sched);
	rln_scope_cancel(&second);
	CHECK_INT(t->k.cancel_due, ==, true);
	uint64_t cancels = loop.ops.kind_submitted[OP_CANCEL];
	CHECK_INT(ring_enter(&loop.ring, 0, 0), ==, 0);
	while (ring_cq_ready(&loop.ring))
		ops_reap(&loop.ops, 1);
	sched_run(&sched);
	CHECK_INT(second_res == 1 || second_res == -ECANCELED, ==, true);
	CHECK_INT(loop.ops.kind_submitted[OP_CANCEL], <=, cancels + 1);
	CHECK_INT(write(pair[1], "z", 1), ==, 1);
	down();
	CHECK_INT(after_res, ==, 1);
	CHECK_INT(byte, ==, second_res == 1 ? 'z' : 'y');
}
