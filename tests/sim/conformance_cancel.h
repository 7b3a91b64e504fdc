/*
 * Rows of conformance.h: what a cancel answers, what its target says, and what chains make of it.
 */
#ifndef RINGLINE_TESTS_SIM_CONFORMANCE_CANCEL_H
#define RINGLINE_TESTS_SIM_CONFORMANCE_CANCEL_H

#include "conformance.h"

static void row_cancel_skip(struct conf *c)
{
	uint8_t buf[16];
	struct io_uring_sqe *sqe;

	conf_pair(c);
	conf_recv(c, buf, sizeof(buf), 0, 1);
	conf_settle(c);
	sqe = conf_sqe(c);
	io_uring_prep_cancel64(sqe, 1, 0);
	sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
	sqe->user_data = 2;
	conf_get(c, 1);
	conf_settle(c);
	conf_say(c, "%s", conf_find(c, 2) ? "posted" : "skipped");
}

/* Two operations with one user_data. */
static void row_cancel_all_alike(struct conf *c)
{
	uint8_t buf[2][16];
	struct io_uring_sqe *sqe;

	conf_pair(c);
	conf_recv(c, buf[0], sizeof(buf[0]), 0, 1);
	conf_recv(c, buf[1], sizeof(buf[1]), 0, 1);
	conf_settle(c);
	sqe = conf_sqe(c);
	io_uring_prep_cancel64(sqe, 1, IORING_ASYNC_CANCEL_ALL);
	sqe->user_data = 2;
	conf_get(c, 2);
	conf_get(c, 1);
	conf_get(c, 1);
}

static void row_cancel_any_nothing(struct conf *c)
{
	struct io_uring_sqe *sqe = conf_sqe(c);

	io_uring_prep_cancel64(sqe, 0, IORING_ASYNC_CANCEL_ANY | IORING_ASYNC_CANCEL_ALL);
	sqe->user_data = 2;
	conf_get(c, 2);
}

static void row_cancel_sync(struct conf *c)
{
	struct io_uring_sync_cancel_reg reg = { .addr = 1, .timeout = { -1, -1 } };
	uint8_t buf[16];

	conf_pair(c);
	conf_recv(c, buf, sizeof(buf), 0, 1);
	conf_settle(c);
	conf_say_res(c, ring_register(&c->ring, IORING_REGISTER_SYNC_CANCEL, &reg, 1));
	conf_get(c, 1);
	conf_say_res(c, ring_register(&c->ring, IORING_REGISTER_SYNC_CANCEL, &reg, 1));
}

/* In the hands of one of the kernel's worker threads. */
static void row_cancel_async(struct conf *c)
{
	uint8_t buf[16];

	conf_pair(c);
	conf_recv(c, buf, sizeof(buf), 0, 1)->flags |= IOSQE_ASYNC;
	conf_settle(c);
	conf_cancel(c, 1, 2);
	conf_get(c, 2);
	conf_get(c, 1);
}

static void row_cancel_connect_done(struct conf *c)
{
	struct sockaddr_in sa = { .sin_family = AF_INET,
				  .sin_port = htons(c->port),
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct io_uring_sqe *sqe = conf_sqe(c);

	io_uring_prep_socket_direct(sqe, AF_INET, SOCK_STREAM, 0, 1, 0);
	sqe->user_data = 1;
	CHECK_INT(conf_result(c, 1), ==, 0);
	sqe = conf_sqe(c);
	io_uring_prep_connect(sqe, 1, (struct sockaddr *)&sa, sizeof(sa));
	conf_fixed(sqe, 2);
	CHECK_INT(conf_result(c, 2), ==, 0);
	conf_cancel(c, 2, 3);
	conf_get(c, 3);
}

/* A zero-copy send to a peer that does not read: its memory is the peer's until that reads. */
static void row_cancel_send_zc(struct conf *c)
{
	struct io_uring_sqe *sqe;
	struct conf_cqe *q;
	int n;

	conf_pair(c);
	c->big = sys_zalloc(CONF_ZC);
	sqe = conf_sqe(c);
	io_uring_prep_send_zc(sqe, 0, c->big, CONF_ZC, MSG_NOSIGNAL | MSG_WAITALL, 0);
	conf_fixed(sqe, 1);
	conf_settle(c);
	conf_cancel(c, 1, 2);
	conf_get(c, 2);
	q = conf_wait(c, 1, CONF_WAIT_NS);
	CHECK(q);
	n = q->res;
	conf_say(c, "%s %s", n > 0 && n < (int)CONF_ZC ? "partial" : "other", conf_more(q->flags));
	if (n <= 0) /* cancelled before it had begun */
		return;
	conf_settle(c);
	conf_say(c, "%s", conf_find(c, 1) ? "early" : "late");
	conf_drain(c, (size_t)n);
	q = conf_wait(c, 1, CONF_WAIT_NS);
	CHECK(q);
	conf_say(c, "%s", q->flags & IORING_CQE_F_NOTIF ? "notif" : "result");
}

static void row_poll_multi(struct conf *c)
{
	struct io_uring_sqe *sqe;
	uint32_t flags;
	uint8_t buf[16];

	conf_pair(c);
	sqe = conf_sqe(c);
	io_uring_prep_poll_multishot(sqe, 0, POLLIN);
	conf_fixed(sqe, 1);
	conf_settle(c);
	for (uint64_t ud = 2; ud <= 3; ud++) {
		CHECK_INT(c->peer->send(c, "x", 1), ==, 1);
		flags = conf_get(c, 1);
		conf_say(c, "%s", conf_more(flags));
		if (!(flags & IORING_CQE_F_MORE))
			return;
		conf_recv(c, buf, sizeof(buf), 0, ud);
		CHECK_INT(conf_result(c, ud), ==, 1);
	}
	conf_cancel(c, 1, 4);
	conf_get(c, 4);
	while ((flags = conf_get(c, 1)) & IORING_CQE_F_MORE)
		;
	conf_say(c, "%s", conf_more(flags));
}

/* ---- chains */

/* A chain of four, whose member at (from 0) fails. */
static void conf_chain(struct conf *c, unsigned at)
{
	for (unsigned i = 0; i < 4; i++) {
		struct io_uring_sqe *sqe = i == at ? conf_close_slot(c, 7, i) : conf_sqe(c);

		sqe->user_data = i;
		sqe->flags = i < 3 ? IOSQE_IO_LINK : 0;
	}
	for (uint64_t i = 0; i < 4; i++)
		conf_get(c, i);
}

static void row_chain_breaks_second(struct conf *c)
{
	conf_chain(c, 1);
}

static void row_chain_breaks_third(struct conf *c)
{
	conf_chain(c, 2);
}

static void row_chain_breaks_last(struct conf *c)
{
	conf_chain(c, 3);
}

/* A receive that wanted all and ended short breaks its chain, although its result is a count. */
static void row_chain_short(struct conf *c)
{
	struct io_uring_sqe *sqe;
	uint8_t buf[16];

	conf_pair(c);
	conf_recv(c, buf, sizeof(buf), MSG_WAITALL, 1)->flags |= IOSQE_IO_LINK;
	sqe = conf_sqe(c);
	sqe->user_data = 2;
	conf_settle(c);
	CHECK_INT(c->peer->send(c, "hello", 5), ==, 5);
	c->peer->fin(c);
	conf_get(c, 1);
	conf_get(c, 2);
}

static void conf_chained_recv(struct conf *c, uint8_t *buf, unsigned n)
{
	conf_pair(c);
	conf_recv(c, buf, n, 0, 1)->flags |= IOSQE_IO_LINK;
	conf_sqe(c)->user_data = 2;
	conf_settle(c);
}

static void row_cancel_chain_head(struct conf *c)
{
	uint8_t buf[16];

	conf_chained_recv(c, buf, sizeof(buf));
	conf_cancel(c, 1, 3);
	conf_get(c, 3);
	conf_get(c, 1);
	conf_get(c, 2);
}

/* A member whose turn has not come is not found. */
static void row_cancel_chain_tail(struct conf *c)
{
	uint8_t buf[16];

	conf_chained_recv(c, buf, sizeof(buf));
	conf_cancel(c, 2, 3);
	conf_get(c, 3);
	CHECK_INT(c->peer->send(c, "hello", 5), ==, 5);
	conf_get(c, 1);
	conf_get(c, 2);
}

/* ---- time */
static void row_timeout_refused(struct conf *c)
{
	struct __kernel_timespec ts = { .tv_sec = -1 };
	struct io_uring_sqe *sqe = conf_sqe(c);

	io_uring_prep_timeout(sqe, &ts, 0, 0);
	sqe->user_data = 1;
	conf_get(c, 1);
	ts.tv_sec = 1;
	sqe = conf_sqe(c);
	io_uring_prep_link_timeout(sqe, &ts, 0); /* behind nothing */
	sqe->user_data = 2;
	conf_get(c, 2);
}

static void row_timeout_abs(struct conf *c)
{
	struct __kernel_timespec ts = { .tv_nsec = 1 }; /* long past */
	struct io_uring_sqe *sqe = conf_sqe(c);

	io_uring_prep_timeout(sqe, &ts, 0, IORING_TIMEOUT_ABS);
	sqe->user_data = 1;
	conf_get(c, 1);
}

static void row_timeout_remove(struct conf *c)
{
	struct __kernel_timespec ts = { .tv_sec = 100 };
	struct io_uring_sqe *sqe = conf_sqe(c);

	io_uring_prep_timeout(sqe, &ts, 0, 0);
	sqe->user_data = 1;
	conf_settle(c);
	for (uint64_t ud = 2; ud <= 3; ud++) {
		sqe = conf_sqe(c);
		io_uring_prep_timeout_remove(sqe, 1, 0);
		sqe->user_data = ud;
		conf_get(c, ud);
	}
	conf_get(c, 1);
}

/* A receive of everything that its time runs out on keeps what it has. */
static void row_link_timeout_partial(struct conf *c)
{
	struct __kernel_timespec ts = { .tv_nsec = 30000000 };
	struct io_uring_sqe *sqe;
	uint8_t buf[4096];

	conf_pair(c);
	CHECK_INT(c->peer->send(c, "hello", 5), ==, 5);
	conf_settle(c);
	conf_recv(c, buf, sizeof(buf), MSG_WAITALL, 1)->flags |= IOSQE_IO_LINK;
	sqe = conf_sqe(c);
	io_uring_prep_link_timeout(sqe, &ts, 0);
	sqe->user_data = 2;
	conf_get(c, 1);
	conf_get(c, 2);
}

#endif
