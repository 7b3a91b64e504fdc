/*
 * Rows of conformance.h: provided buffers by the bundle, by message and by counter.
 */
#ifndef RINGLINE_TESTS_SIM_CONFORMANCE_BUNDLE_H
#define RINGLINE_TESTS_SIM_CONFORMANCE_BUNDLE_H

#include "conformance.h"

static struct io_uring_sqe *conf_bundle(struct conf *c, bool multi, uint64_t ud)
{
	struct io_uring_sqe *sqe = conf_sqe(c);

	io_uring_prep_recv(sqe, 0, NULL, 0, 0);
	sqe->ioprio |= RU_RECVSEND_BUNDLE | (multi ? IORING_RECV_MULTISHOT : 0);
	sqe->flags |= IOSQE_BUFFER_SELECT;
	sqe->buf_group = CONF_GROUP;
	return conf_fixed(sqe, ud);
}

static bool conf_say_bundle(struct conf *c, uint64_t ud)
{
	uint32_t flags = conf_get(c, ud);

	if (flags & IORING_CQE_F_BUFFER)
		conf_say(c, "from %u", flags >> IORING_CQE_BUFFER_SHIFT);
	conf_say(c, "%s", conf_more(flags));
	return flags & IORING_CQE_F_MORE;
}

static void conf_peer_sends(struct conf *c, unsigned n)
{
	char text[4 * CONF_BUF];

	memset(text, 'x', sizeof(text));
	CHECK_INT(n, <=, sizeof(text));
	CHECK_INT(c->peer->send(c, text, n), ==, n);
	conf_settle(c);
}

/* What is there fills buffer after buffer; the next bundle begins with a new one. */
static void row_bundle_recv(struct conf *c)
{
	int got = 0, res;

	conf_pair(c);
	conf_group(c, 4);
	conf_peer_sends(c, 2 * CONF_BUF + 10);
	while (got < 2 * CONF_BUF + 15) {
		struct conf_cqe *q;

		conf_bundle(c, false, 1);
		q = conf_wait(c, 1, CONF_WAIT_NS);
		CHECK(q);
		res = q->res;
		conf_say_res(c, res);
		if (res < 0)
			return;
		conf_say(c, "from %u", q->flags >> IORING_CQE_BUFFER_SHIFT);
		if (!got)
			conf_peer_sends(c, 5);
		got += res;
	}
}

static void row_bundle_multi(struct conf *c)
{
	uint32_t flags;

	conf_pair(c);
	conf_group(c, 4);
	conf_bundle(c, true, 1);
	conf_settle(c);
	conf_peer_sends(c, CONF_BUF + 1);
	c->peer->fin(c);
	do {
		struct conf_cqe *q = conf_wait(c, 1, CONF_WAIT_NS);

		CHECK(q);
		conf_say_res(c, q->res);
		flags = q->flags;
		conf_say(c, "%s", conf_more(flags));
	} while (flags & IORING_CQE_F_MORE);
}

/* Without a group of buffers it is no bundle, and not refused; of messages there are none. */
static void row_bundle_plain(struct conf *c)
{
	uint8_t buf[16];
	struct iovec v = { buf, sizeof(buf) };
	struct msghdr msg = { .msg_iov = &v, .msg_iovlen = 1 };
	struct io_uring_sqe *sqe;

	conf_pair(c);
	conf_peer_sends(c, 5);
	conf_recv(c, buf, sizeof(buf), 0, 1)->ioprio |= RU_RECVSEND_BUNDLE;
	conf_get(c, 1);
	conf_send(c, buf, sizeof(buf), 0, 2)->ioprio |= RU_RECVSEND_BUNDLE;
	conf_get(c, 2);
	conf_bundle(c, false, 3); /* no such group */
	conf_get(c, 3);
	sqe = conf_sqe(c);
	io_uring_prep_recvmsg(sqe, 0, &msg, 0);
	sqe->ioprio |= RU_RECVSEND_BUNDLE;
	conf_fixed(sqe, 4);
	conf_get(c, 4);
}

static struct io_uring_sqe *conf_send_group(struct conf *c, unsigned ioprio, uint64_t ud)
{
	struct io_uring_sqe *sqe = conf_send(c, NULL, 0, 0, ud);

	sqe->ioprio |= (uint16_t)ioprio;
	sqe->flags |= IOSQE_BUFFER_SELECT;
	sqe->buf_group = CONF_GROUP;
	return sqe;
}

static void row_bundle_send(struct conf *c)
{
	conf_pair(c);
	conf_group(c, 3);
	conf_send_group(c, RU_RECVSEND_BUNDLE, 1);
	conf_say_bundle(c, 1);
	conf_send_group(c, RU_RECVSEND_BUNDLE, 2);
	conf_say_bundle(c, 2);
}

/* One buffer, of which not more than asked for goes. */
static void row_send_select(struct conf *c)
{
	conf_pair(c);
	conf_group(c, 2);
	conf_send_group(c, 0, 1)->len = 10;
	conf_say_bundle(c, 1);
	conf_send_group(c, 0, 2);
	conf_say_bundle(c, 2);
	conf_send_group(c, 0, 3);
	conf_say_bundle(c, 3);
	conf_send_group(c, 0, 4)->buf_group = 9;
	conf_say_bundle(c, 4);
}

/* Who cannot take a buffer of a group says so. */
static void row_select_refused(struct conf *c)
{
	static const uint8_t op[] = { IORING_OP_NOP,	  IORING_OP_WRITE,  IORING_OP_READ_FIXED,
				      IORING_OP_SENDMSG,  IORING_OP_ACCEPT, IORING_OP_SEND_ZC,
				      IORING_OP_POLL_ADD, IORING_OP_FSYNC };

	conf_pair(c);
	conf_group(c, 2);
	for (unsigned i = 0; i < sizeof(op); i++) {
		struct io_uring_sqe *sqe = conf_sqe(c);

		sqe->opcode = op[i];
		sqe->flags |= IOSQE_BUFFER_SELECT;
		sqe->buf_group = CONF_GROUP;
		conf_fixed(sqe, 1);
		conf_get(c, 1);
	}
}

/* The buffer comes back with the error, too. */
static void row_send_select_broken(struct conf *c)
{
	conf_pair(c);
	conf_group(c, 2);
	c->peer->rst(c);
	conf_settle(c);
	for (unsigned i = 0; i < 2; i++) {
		conf_send_group(c, i ? RU_RECVSEND_BUNDLE : 0, 1);
		conf_say_bundle(c, 1);
	}
}

/* ---- recvmsg */
static struct io_uring_sqe *conf_recvmsg(struct conf *c, struct msghdr *msg, unsigned flags,
					 uint64_t ud)
{
	struct io_uring_sqe *sqe = conf_sqe(c);

	io_uring_prep_recvmsg_multishot(sqe, 0, msg, flags);
	sqe->flags |= IOSQE_BUFFER_SELECT;
	sqe->buf_group = CONF_GROUP;
	return conf_fixed(sqe, ud);
}

static void row_recvmsg_multi(struct conf *c)
{
	struct msghdr msg = { .msg_namelen = 8 };
	struct io_uring_recvmsg_out out;
	bool more;

	conf_pair(c);
	conf_group(c, 4);
	conf_recvmsg(c, &msg, 0, 1);
	conf_settle(c);
	conf_peer_sends(c, 5);
	more = conf_say_bundle(c, 1);
	memcpy(&out, c->bufs, sizeof(out));
	conf_say(c, "%u %u %u", out.namelen, out.controllen, out.payloadlen);
	if (!more)
		return;
	c->peer->fin(c);
	conf_say_bundle(c, 1);
}

static void row_recvmsg_refused(struct conf *c)
{
	struct msghdr msg = { .msg_controllen = CONF_BUF };

	conf_pair(c);
	conf_group(c, 4);
	conf_recvmsg(c, &msg, MSG_WAITALL, 1);
	conf_say_bundle(c, 1);
	conf_recvmsg(c, &msg, 0, 2)->flags &= (uint8_t)~IOSQE_BUFFER_SELECT;
	conf_say_bundle(c, 2);
	conf_recvmsg(c, &msg, 0, 3); /* all of a buffer for what comes before the bytes */
	conf_peer_sends(c, 5);
	conf_say_bundle(c, 3);
}

/* ---- counters */
static void conf_read_multi(struct conf *c, int fd, uint64_t ud)
{
	struct io_uring_sqe *sqe = conf_sqe(c);

	io_uring_prep_rw(RU_OP_READ_MULTISHOT, sqe, fd, NULL, 0, 0);
	sqe->flags |= IOSQE_BUFFER_SELECT;
	sqe->buf_group = CONF_GROUP;
	sqe->user_data = ud;
}

static void row_read_multi(struct conf *c)
{
	conf_group(c, 2);
	c->fd = sys_eventfd();
	conf_read_multi(c, c->fd, 1);
	conf_settle(c);
	for (unsigned i = 0; i < 3; i++) {
		struct conf_cqe *q;

		CHECK_INT(sys_eventfd_signal(c->fd), ==, 0);
		q = conf_wait(c, 1, CONF_WAIT_NS);
		CHECK(q);
		conf_say_res(c, q->res);
		conf_say(c, "%s", conf_more(q->flags));
		if (!(q->flags & IORING_CQE_F_MORE))
			return;
	}
}

static void row_read_multi_refused(struct conf *c)
{
	struct io_uring_sqe *sqe;
	int fd = conf_scratch(c, "hello");

	conf_group(c, 2);
	conf_read_multi(c, fd, 1);
	conf_get(c, 1);
	sqe = conf_sqe(c);
	io_uring_prep_rw(RU_OP_READ_MULTISHOT, sqe, fd, NULL, 0, 0);
	sqe->user_data = 2;
	conf_get(c, 2);
}

#endif
