/* Rows of the kinds about the ring itself: nop, readiness, cancels, time, messages. */
#ifndef RINGLINE_TESTS_OP_ROWS_RING_H
#define RINGLINE_TESTS_OP_ROWS_RING_H

#include "op_rows.h"

static void row_nop(void)
{
	struct run r;

	run_init(&r, OP_NOP);
	CHECK_INT(run_sync(&r), ==, 0);
	CHECK_INT(r.n, ==, 1);
}

static void row_nop_injected(void)
{
	struct run r;
	int res;

	run_init(&r, OP_NOP);
	r.io.a.use_inject = true;
	r.io.a.inject = (uint32_t)-EIO;
	res = run_sync(&r);
	if (res == -EINVAL)
		SKIP("nop: this kernel injects no result");
	CHECK_INT(res, ==, -EIO);
	r.io.a.inject = 77;
	CHECK_INT(run_sync(&r), ==, 77);
}

static void row_poll(void)
{
	struct run r;

	run_init(&r, OP_POLL);
	r.io.a.fd = event_counter();
	r.io.a.flags = POLLIN;
	run_submit(&r);
	bed_turn(&bed, 0);
	CHECK_INT(r.n, ==, 0);
	event_add(r.io.a.fd, 1);
	run_finish(&r);
	CHECK_INT(r.ev[0].res, ==, POLLIN);
	CHECK_INT(r.n, ==, 1);
	close(r.io.a.fd);
}

static void row_poll_bad_fd(void)
{
	row_bad_fd(OP_POLL);
}

static void row_poll_multi(void)
{
	struct run r;

	run_init(&r, OP_POLL_MULTI);
	r.io.a.fd = event_counter();
	r.io.a.flags = POLLIN;
	run_submit(&r);
	for (unsigned i = 1; i <= 3; i++) {
		bed_turn(&bed, 0);
		event_add(r.io.a.fd, 1);
		run_await(&r, i);
		CHECK_INT(r.ev[i - 1].res, ==, POLLIN);
		CHECK(!r.ev[i - 1].last);
	}
	run_cancel(&r);
	CHECK_INT(r.n, ==, 4);
	CHECK_INT(r.ev[3].res, ==, -ECANCELED);
	CHECK(r.ev[3].last);
	close(r.io.a.fd);
}

static void row_poll_multi_bad_fd(void)
{
	row_bad_fd(OP_POLL_MULTI);
}

/* Polls that nothing will end. */
static void pend(struct run *r, int fd, bool fixed)
{
	run_init(r, OP_POLL);
	r->io.a.fd = fd;
	r->io.a.fixed = fixed;
	r->io.a.flags = POLLIN;
	run_submit(r);
}

static void row_cancel(void)
{
	struct run r, target;

	pend(&target, event_counter(), false);
	bed_turn(&bed, 0);
	run_init(&r, OP_CANCEL);
	r.io.a.target = &target.io.op;
	CHECK_INT(run_sync(&r), ==, 0);
	run_finish(&target);
	CHECK_INT(target.ev[0].res, ==, -ECANCELED);
	close(target.io.a.fd);
}

static void row_cancel_nobody(void)
{
	struct run r;

	run_init(&r, OP_CANCEL);
	r.io.a.target = &r.io.op + 1;
	CHECK_INT(run_sync(&r), ==, -ENOENT);
}

static void cancel_two_of_three(int fd, bool fixed)
{
	struct run r, mine[2], other;

	pend(&mine[0], fd, fixed);
	pend(&mine[1], fd, fixed);
	pend(&other, event_counter(), false);
	bed_turn(&bed, 0);
	run_init(&r, OP_CANCEL_FD);
	r.io.a.fd = fd;
	r.io.a.fixed = fixed;
	CHECK_INT(run_sync(&r), ==, 2);
	for (unsigned i = 0; i < 2; i++) {
		run_finish(&mine[i]);
		CHECK_INT(mine[i].ev[0].res, ==, -ECANCELED);
	}
	CHECK_INT(other.n, ==, 0);
	CHECK_INT(run_sync(&r), ==, 0); /* nothing left */
	run_cancel(&other);
	close(other.io.a.fd);
}

static void row_cancel_fd(void)
{
	int fd = event_counter();

	cancel_two_of_three(fd, false);
	into_slot(&bed, fd, 5);
	close(fd);
	cancel_two_of_three(5, true);
}

static void row_cancel_fd_empty_slot(void)
{
	struct run r;

	run_init(&r, OP_CANCEL_FD);
	r.io.a.fd = 6;
	r.io.a.fixed = true;
	CHECK_INT(run_sync(&r), ==, -EBADF);
}

static void row_timeout(void)
{
	struct run r;
	int64_t begin = test_now_ns();

	run_init(&r, OP_TIMEOUT);
	r.io.a.ns = 2000000;
	CHECK_INT(run_sync(&r), ==, -ETIME);
	CHECK_INT(test_now_ns() - begin, >=, 2000000);
	CHECK_INT(bed.ops.kind_errors[OP_TIMEOUT], ==, 0);
}

static void row_timeout_ended_by_completions(void)
{
	struct run r, nop;

	run_init(&r, OP_TIMEOUT);
	r.io.a.ns = TURN_LIMIT_NS * 4;
	r.io.a.len = 1;
	run_submit(&r);
	run_init(&nop, OP_NOP);
	CHECK_INT(run_sync(&nop), ==, 0);
	run_finish(&r);
	CHECK_INT(r.ev[0].res, ==, 0);
}

static void negative_timeout(enum op_kind kind)
{
	struct run r;

	run_init(&r, kind);
	r.io.a.ns = -1;
	CHECK_INT(run_sync(&r), ==, -EINVAL);
}

static void row_timeout_negative(void)
{
	negative_timeout(OP_TIMEOUT);
}

static void row_timeout_abs(void)
{
	struct run r;

	run_init(&r, OP_TIMEOUT_ABS);
	r.io.a.ns = test_now_ns() + 2000000;
	CHECK_INT(run_sync(&r), ==, -ETIME);
	CHECK_INT(test_now_ns(), >=, r.io.a.ns);
	CHECK_INT(run_sync(&r), ==, -ETIME); /* in the past: at once */
}

static void row_timeout_abs_negative(void)
{
	negative_timeout(OP_TIMEOUT_ABS);
}

static void submit_pair(struct run *first, struct run *second)
{
	struct op *chain[2] = { &first->io.op, &second->io.op };

	CHECK_INT(op_submit_chain(&bed.ops, chain, 2), ==, 0);
}

static void row_link_timeout(void)
{
	struct run r, limited;
	int fd[2];
	char buf[8];

	tcp_pair(fd);
	run_init(&limited, OP_RECV);
	limited.io.a.fd = fd[0];
	limited.io.a.buf = buf;
	limited.io.a.len = sizeof(buf);
	run_init(&r, OP_LINK_TIMEOUT);
	r.io.a.ns = 2000000;
	submit_pair(&limited, &r);
	run_finish(&limited);
	run_finish(&r);
	CHECK_INT(limited.ev[0].res, ==, -ECANCELED);
	CHECK_INT(r.ev[0].res, ==, -ETIME);
	close(fd[0]);
	close(fd[1]);
}

static void row_link_timeout_not_needed(void)
{
	struct run r, limited;

	run_init(&limited, OP_NOP);
	run_init(&r, OP_LINK_TIMEOUT);
	r.io.a.ns = TURN_LIMIT_NS * 4;
	submit_pair(&limited, &r);
	run_finish(&limited);
	run_finish(&r);
	CHECK_INT(limited.ev[0].res, ==, 0);
	CHECK_INT(r.ev[0].res, ==, -ECANCELED);
	CHECK_INT(run_sync(&r), ==, -EINVAL); /* on its own */
}

static void row_eventfd_read(void)
{
	struct run r;
	uint64_t count = 0;

	run_init(&r, OP_EVENTFD_READ);
	r.io.a.fd = event_counter();
	r.io.a.buf = &count;
	run_submit(&r);
	bed_turn(&bed, 0);
	CHECK_INT(r.n, ==, 0);
	event_add(r.io.a.fd, 3);
	run_finish(&r);
	CHECK_INT(r.ev[0].res, ==, 8);
	CHECK_INT(count, ==, 3);
	close(r.io.a.fd);
}

static void row_eventfd_read_bad_fd(void)
{
	row_bad_fd(OP_EVENTFD_READ);
}

static struct bed other; /* the ring messages go to */
static struct io_uring_cqe message;
static unsigned messages;

static void on_message(void *ctx, const struct io_uring_cqe *cqe)
{
	(void)ctx;
	message = *cqe;
	messages++;
}

static void other_open(void)
{
	bed_open(&other, false);
	other.ops.foreign = on_message;
	messages = 0;
}

static void await_message(void)
{
	while (!messages)
		bed_turn(&other, TURN_LIMIT_NS);
	CHECK_INT(messages, ==, 1);
	messages = 0;
}

static void row_msg_ring(void)
{
	struct run r;

	other_open();
	run_init(&r, OP_MSG_RING);
	r.io.a.fd = other.ring.u.ring_fd;
	r.io.a.len = 41;
	r.io.a.user_data = 0x7001;
	CHECK_INT(run_sync(&r), ==, 0);
	await_message();
	CHECK_INT(message.user_data, ==, 0x7001);
	CHECK_INT(message.res, ==, 41);
	bed_close(&other);
}

static void row_msg_ring_to_no_ring(void)
{
	struct run r;

	row_bad_fd(OP_MSG_RING);
	run_init(&r, OP_MSG_RING);
	r.io.a.fd = event_counter();
	CHECK_INT(run_sync(&r), ==, -EBADFD);
	close(r.io.a.fd);
}

static void row_msg_ring_fd(void)
{
	struct run r, send;
	int fd[2];

	other_open();
	tcp_pair(fd);
	into_slot(&bed, fd[0], 5);
	close(fd[0]);
	run_init(&r, OP_MSG_RING_FD);
	r.io.a.fd = other.ring.u.ring_fd;
	r.io.a.off = 5;
	r.io.a.slot = OP_SLOT_AUTO;
	r.io.a.user_data = 0x7003;
	CHECK_INT(run_sync(&r), >=, 0);
	await_message();
	CHECK_INT(message.user_data, ==, 0x7003);
	CHECK_INT(message.res, >=, 0);
	CHECK_INT(message.res, <, AUTO_SLOTS);
	run_init(&send, OP_SEND); /* the socket works from the other ring */
	send.bed = &other;
	send.io.a.fd = message.res;
	send.io.a.fixed = true;
	send.io.a.buf = (void *)"moved";
	send.io.a.len = 5;
	CHECK_INT(run_sync(&send), ==, 5);
	expect(fd[1], "moved");
	close(fd[1]);
	bed_close(&other);
}

static void row_msg_ring_fd_empty_slot(void)
{
	struct run r;

	other_open();
	run_init(&r, OP_MSG_RING_FD);
	r.io.a.fd = other.ring.u.ring_fd;
	r.io.a.off = 6;
	r.io.a.slot = OP_SLOT_AUTO;
	CHECK_INT(run_sync(&r), ==, -EBADF);
	bed_close(&other);
}

#define ROWS_RING                                                                          \
	{ OP_NOP, "plain", row_nop }, { OP_NOP, "injected result", row_nop_injected },     \
		{ OP_POLL, "readable", row_poll }, { OP_POLL, "bad fd", row_poll_bad_fd }, \
		{ OP_POLL_MULTI, "three times, then cancelled", row_poll_multi },          \
		{ OP_POLL_MULTI, "bad fd", row_poll_multi_bad_fd },                        \
		{ OP_CANCEL, "by op", row_cancel },                                        \
		{ OP_CANCEL, "no such op", row_cancel_nobody },                            \
		{ OP_CANCEL_FD, "all of a descriptor", row_cancel_fd },                    \
		{ OP_CANCEL_FD, "empty slot", row_cancel_fd_empty_slot },                  \
		{ OP_TIMEOUT, "fires", row_timeout },                                      \
		{ OP_TIMEOUT, "ended by completions", row_timeout_ended_by_completions },  \
		{ OP_TIMEOUT, "negative", row_timeout_negative },                          \
		{ OP_TIMEOUT_ABS, "fires", row_timeout_abs },                              \
		{ OP_TIMEOUT_ABS, "negative", row_timeout_abs_negative },                  \
		{ OP_LINK_TIMEOUT, "ends a receive", row_link_timeout },                   \
		{ OP_LINK_TIMEOUT, "not needed, or alone", row_link_timeout_not_needed },  \
		{ OP_EVENTFD_READ, "count", row_eventfd_read },                            \
		{ OP_EVENTFD_READ, "bad fd", row_eventfd_read_bad_fd },                    \
		{ OP_MSG_RING, "data", row_msg_ring },                                     \
		{ OP_MSG_RING, "to no ring", row_msg_ring_to_no_ring },                    \
		{ OP_MSG_RING_FD, "socket into an automatic slot", row_msg_ring_fd },      \
		{ OP_MSG_RING_FD, "empty slot", row_msg_ring_fd_empty_slot },

#endif
