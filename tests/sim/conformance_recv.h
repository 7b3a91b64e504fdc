/*
 * Rows of conformance.h: receiving and cancelling.
 */
#ifndef RINGLINE_TESTS_SIM_CONFORMANCE_RECV_H
#define RINGLINE_TESTS_SIM_CONFORMANCE_RECV_H

#include "conformance.h"

/* ---- receive */
static void row_recv_data(struct conf *c)
{
	uint8_t buf[16];

	conf_pair(c);
	conf_recv(c, buf, sizeof(buf), 0, 1);
	conf_settle(c);
	CHECK_INT(c->peer->send(c, "hello", 5), ==, 5);
	conf_get(c, 1);
	CHECK(!memcmp(buf, "hello", 5));
}

static void row_recv_fin(struct conf *c)
{
	uint8_t buf[16];

	conf_pair(c);
	CHECK_INT(c->peer->send(c, "hello", 5), ==, 5);
	c->peer->fin(c);
	conf_settle(c);
	conf_recv(c, buf, sizeof(buf), 0, 1);
	conf_get(c, 1);
	conf_recv(c, buf, sizeof(buf), 0, 2);
	conf_get(c, 2);
}

static void row_recv_rst(struct conf *c)
{
	uint8_t buf[16];

	conf_pair(c);
	conf_recv(c, buf, sizeof(buf), 0, 1);
	conf_settle(c);
	c->peer->rst(c);
	conf_get(c, 1);
	conf_recv(c, buf, sizeof(buf), 0, 2);
	conf_get(c, 2);
}

static void row_recv_waitall_fin(struct conf *c)
{
	uint8_t buf[16];

	conf_pair(c);
	conf_recv(c, buf, sizeof(buf), MSG_WAITALL, 1);
	conf_settle(c);
	CHECK_INT(c->peer->send(c, "hello", 5), ==, 5);
	conf_settle(c);
	c->peer->fin(c);
	conf_get(c, 1);
}

static void row_recv_empty_slot(struct conf *c)
{
	uint8_t buf[16];
	struct io_uring_sqe *sqe = conf_recv(c, buf, sizeof(buf), 0, 1);

	sqe->fd = 5;
	conf_get(c, 1);
	sqe = conf_recv(c, buf, sizeof(buf), 0, 2);
	sqe->fd = CONF_SLOTS + 5;
	conf_get(c, 2);
}

static void row_recv_no_socket(struct conf *c)
{
	uint8_t buf[16];
	struct io_uring_sqe *sqe = conf_sqe(c);

	c->fd = sys_eventfd();
	io_uring_prep_recv(sqe, c->fd, buf, sizeof(buf), 0);
	sqe->user_data = 1;
	conf_get(c, 1);
}

/* Without a buffer a receive ends at once, although no data is there. */
static void row_multi_empty_group(struct conf *c)
{
	conf_pair(c);
	conf_group(c, 0);
	conf_recv_multi(c, 1);
	conf_say(c, "%s", conf_more(conf_get(c, 1)));
}

static void row_multi_no_group(struct conf *c)
{
	conf_pair(c);
	conf_recv_multi(c, 1);
	conf_say(c, "%s", conf_more(conf_get(c, 1)));
}

static void row_multi_runs_dry(struct conf *c)
{
	static const uint8_t data[2 * CONF_BUF];
	uint32_t flags;

	conf_pair(c);
	conf_group(c, 1);
	conf_recv_multi(c, 1);
	conf_settle(c);
	CHECK_INT(c->peer->send(c, data, sizeof(data)), ==, sizeof(data));
	flags = conf_get(c, 1);
	conf_say(c, "%s", conf_more(flags));
	if (!(flags & IORING_CQE_F_MORE))
		return;
	flags = conf_get(c, 1);
	conf_say(c, "%s", conf_more(flags));
	CHECK(!(flags & IORING_CQE_F_BUFFER));
}

static void row_multi_fin(struct conf *c)
{
	uint32_t flags;

	conf_pair(c);
	conf_group(c, 4);
	conf_recv_multi(c, 1);
	conf_settle(c);
	CHECK_INT(c->peer->send(c, "hello", 5), ==, 5);
	flags = conf_get(c, 1);
	conf_say(c, "%s", conf_more(flags));
	CHECK(flags & IORING_CQE_F_BUFFER);
	if (!(flags & IORING_CQE_F_MORE))
		return;
	c->peer->fin(c);
	flags = conf_get(c, 1);
	conf_say(c, "%s %s", conf_more(flags), flags & IORING_CQE_F_BUFFER ? "buffer" : "bare");
}

/* The last buffer is filled, and nothing more is there: does it ask for another one? */
static void row_multi_last_buffer(struct conf *c)
{
	struct conf_cqe *q;
	uint32_t flags;

	conf_pair(c);
	conf_group(c, 1);
	conf_recv_multi(c, 1);
	conf_settle(c);
	CHECK_INT(c->peer->send(c, "hello", 5), ==, 5);
	flags = conf_get(c, 1);
	conf_say(c, "%s", conf_more(flags));
	if (!(flags & IORING_CQE_F_MORE))
		return;
	conf_settle(c);
	q = conf_find(c, 1);
	if (q)
		conf_say_res(c, q->res);
	else
		conf_say(c, "armed");
}

static void row_multi_rst(struct conf *c)
{
	conf_pair(c);
	conf_group(c, 4);
	conf_recv_multi(c, 1);
	conf_settle(c);
	c->peer->rst(c);
	conf_say(c, "%s", conf_more(conf_get(c, 1)));
}

/* Buffers that come later serve the receive that is armed after them; its input had waited. */
static void row_multi_refilled(struct conf *c)
{
	uint32_t flags;

	conf_pair(c);
	conf_group(c, 0);
	CHECK_INT(c->peer->send(c, "hello", 5), ==, 5);
	conf_settle(c);
	conf_recv_multi(c, 1);
	conf_say(c, "%s", conf_more(conf_get(c, 1)));
	for (int i = 0; i < 2; i++)
		io_uring_buf_ring_add(c->br, c->bufs + i * CONF_BUF, CONF_BUF, (uint16_t)i, 7, i);
	io_uring_buf_ring_advance(c->br, 2);
	conf_recv_multi(c, 2);
	flags = conf_get(c, 2);
	conf_say(c, "%s", flags & IORING_CQE_F_BUFFER ? "buffer" : "none");
}

static void row_multi_without_select(struct conf *c)
{
	uint8_t buf[16];

	conf_pair(c);
	conf_recv(c, buf, sizeof(buf), 0, 1)->ioprio |= IORING_RECV_MULTISHOT;
	conf_get(c, 1);
	conf_group(c, 1);
	conf_recv_multi(c, 2)->msg_flags |= MSG_WAITALL;
	conf_get(c, 2);
}

static void row_select_one(struct conf *c)
{
	struct io_uring_sqe *sqe;
	uint32_t flags;

	conf_pair(c);
	conf_group(c, 2);
	CHECK_INT(c->peer->send(c, "hello", 5), ==, 5);
	conf_settle(c);
	sqe = conf_recv(c, NULL, 0, 0, 1);
	sqe->flags |= IOSQE_BUFFER_SELECT;
	sqe->buf_group = CONF_GROUP;
	flags = conf_get(c, 1);
	CHECK(flags & IORING_CQE_F_BUFFER);
	conf_say(c, "%s buffer %u", conf_more(flags), flags >> IORING_CQE_BUFFER_SHIFT);
}

/* ---- cancel */
static void row_cancel_pending(struct conf *c)
{
	uint8_t buf[16];

	conf_pair(c);
	conf_recv(c, buf, sizeof(buf), 0, 1);
	conf_settle(c);
	conf_cancel(c, 1, 2);
	conf_get(c, 2);
	conf_get(c, 1);
}

static void row_cancel_done(struct conf *c)
{
	conf_sqe(c)->user_data = 1;
	conf_get(c, 1);
	conf_cancel(c, 1, 2);
	conf_get(c, 2);
}

static void row_cancel_nothing(struct conf *c)
{
	conf_cancel(c, 1, 2);
	conf_get(c, 2);
}

/* Data has arrived, nobody has entered since: what the receive did not take is still there. */
static void row_cancel_data_arrived(struct conf *c)
{
	uint8_t buf[16];
	bool told;

	conf_pair(c);
	conf_recv(c, buf, sizeof(buf), 0, 1);
	conf_settle(c);
	CHECK_INT(c->peer->send(c, "abc", 3), ==, 3);
	conf_cancel(c, 1, 2);
	conf_get(c, 2);
	told = conf_result(c, 1) == 3;
	conf_say(c, told ? "data" : "cancelled");
	if (told)
		return;
	conf_recv(c, buf, sizeof(buf), 0, 3);
	conf_get(c, 3);
}

static void row_cancel_waitall_partial(struct conf *c)
{
	uint8_t buf[4096];

	conf_pair(c);
	conf_recv(c, buf, sizeof(buf), MSG_WAITALL, 1);
	conf_settle(c);
	CHECK_INT(c->peer->send(c, "hello", 5), ==, 5);
	conf_settle(c);
	conf_cancel(c, 1, 2);
	conf_get(c, 2);
	conf_get(c, 1);
}

static void row_cancel_send_partial(struct conf *c)
{
	int n;

	conf_pair(c);
	c->big = sys_zalloc(CONF_BIG);
	conf_send(c, c->big, CONF_BIG, MSG_WAITALL, 1);
	conf_settle(c);
	conf_cancel(c, 1, 2);
	conf_get(c, 2);
	n = conf_result(c, 1);
	conf_say(c, n > 0 && n < (int)CONF_BIG ? "partial" : "other");
}

static void row_cancel_multi(struct conf *c)
{
	uint32_t flags;

	conf_pair(c);
	conf_group(c, 4);
	conf_recv_multi(c, 1);
	conf_settle(c);
	CHECK_INT(c->peer->send(c, "hello", 5), ==, 5);
	flags = conf_get(c, 1);
	conf_say(c, "%s", conf_more(flags));
	conf_cancel(c, 1, 2);
	conf_get(c, 2);
	if (flags & IORING_CQE_F_MORE)
		conf_say(c, "%s", conf_more(conf_get(c, 1)));
}

static void row_cancel_slot_nothing(struct conf *c)
{
	conf_pair(c);
	conf_cancel_slot(c, 0, IORING_ASYNC_CANCEL_ALL, 1);
	conf_get(c, 1);
	conf_cancel_slot(c, 0, 0, 2);
	conf_get(c, 2);
}

static void row_cancel_slot_empty(struct conf *c)
{
	conf_cancel_slot(c, 4, IORING_ASYNC_CANCEL_ALL, 1);
	conf_get(c, 1);
}

static void row_cancel_slot_all(struct conf *c)
{
	uint8_t buf[16];
	struct io_uring_sqe *sqe;

	conf_pair(c);
	conf_recv(c, buf, sizeof(buf), 0, 1);
	sqe = conf_sqe(c);
	io_uring_prep_poll_add(sqe, 0, POLLIN);
	conf_fixed(sqe, 2);
	conf_settle(c);
	conf_cancel_slot(c, 0, IORING_ASYNC_CANCEL_ALL, 3);
	conf_get(c, 3);
	conf_get(c, 1);
	conf_get(c, 2);
}

static void row_cancel_accept(struct conf *c)
{
	conf_prep_accept(c, 0, 1);
	conf_settle(c);
	conf_cancel(c, 1, 2);
	conf_get(c, 2);
	conf_get(c, 1);
}

#endif
