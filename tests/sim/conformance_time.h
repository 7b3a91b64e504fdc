/*
 * Rows of conformance.h: timeouts that count, repeat and move, polls that change, and what messages
 * between rings may say.
 */
#ifndef RINGLINE_TESTS_SIM_CONFORMANCE_TIME_H
#define RINGLINE_TESTS_SIM_CONFORMANCE_TIME_H

#include "conformance.h"

/* ---- timeouts */
static struct io_uring_sqe *conf_timer(struct conf *c, struct __kernel_timespec *ts, unsigned count,
				       unsigned flags, uint64_t ud)
{
	struct io_uring_sqe *sqe = conf_sqe(c);

	io_uring_prep_timeout(sqe, ts, count, flags);
	sqe->user_data = ud;
	return sqe;
}

/* Ends early, and well, when so many other completions have come. */
static void row_timer_count(struct conf *c)
{
	struct __kernel_timespec ts = { .tv_sec = 100 };

	conf_timer(c, &ts, 2, 0, 1);
	conf_settle(c);
	for (unsigned i = 0; i < 2; i++) {
		conf_say(c, "%s", conf_find(c, 1) ? "over" : "armed");
		conf_sqe(c)->user_data = 2;
		conf_get(c, 2);
	}
	conf_get(c, 1);
}

static void row_timer_count_late(struct conf *c)
{
	struct __kernel_timespec ts = { .tv_nsec = 5000000 };

	conf_timer(c, &ts, 3, 0, 1);
	conf_sqe(c)->user_data = 2;
	conf_get(c, 2);
	conf_get(c, 1);
}

static void row_timer_multi(struct conf *c)
{
	struct __kernel_timespec ts = { .tv_nsec = 2000000 };
	int64_t before = sys_now();
	uint32_t flags;

	conf_timer(c, &ts, 3, RU_TIMEOUT_MULTISHOT, 1);
	do {
		flags = conf_get(c, 1);
		conf_say(c, "%s", conf_more(flags));
		if (conf_listed("EINVAL last", c->out))
			return;
	} while (flags & IORING_CQE_F_MORE);
	conf_say(c, sys_now() - before >= 6000000 ? "late" : "early");
}

/* Without a count until it is taken back. */
static void row_timer_multi_cancel(struct conf *c)
{
	struct __kernel_timespec ts = { .tv_nsec = 20000000 };
	uint32_t flags;

	conf_timer(c, &ts, 0, RU_TIMEOUT_MULTISHOT, 1);
	flags = conf_get(c, 1);
	conf_say(c, "%s", conf_more(flags));
	if (!(flags & IORING_CQE_F_MORE))
		return;
	conf_cancel(c, 1, 2);
	conf_get(c, 2);
	for (;;) {
		struct conf_cqe *q = conf_wait(c, 1, CONF_WAIT_NS);

		CHECK(q);
		if (q->flags & IORING_CQE_F_MORE)
			continue;
		conf_say_res(c, q->res);
		return;
	}
}

static void row_timer_refused(struct conf *c)
{
	static const unsigned flags[] = { RU_TIMEOUT_MULTISHOT | IORING_TIMEOUT_ABS,
					  IORING_TIMEOUT_BOOTTIME | IORING_TIMEOUT_REALTIME,
					  1u << 30, IORING_TIMEOUT_UPDATE };
	struct __kernel_timespec ts = { .tv_nsec = 1000 };
	struct io_uring_sqe *sqe;

	for (unsigned i = 0; i < 4; i++) {
		conf_timer(c, &ts, 0, flags[i], 1);
		conf_get(c, 1);
	}
	conf_timer(c, &ts, 0, 0, 1)->len = 2;
	conf_get(c, 1);
	conf_timer(c, &ts, 0, 0, 1)->buf_index = 2;
	conf_get(c, 1);
	sqe = conf_sqe(c);
	io_uring_prep_timeout_remove(sqe, 1, IORING_TIMEOUT_ABS);
	sqe->user_data = 1;
	conf_get(c, 1);
}

static void row_timer_clocks(struct conf *c)
{
	static const unsigned flags[] = { IORING_TIMEOUT_BOOTTIME, IORING_TIMEOUT_REALTIME };
	struct __kernel_timespec ts = { .tv_nsec = 1000000 };

	for (unsigned i = 0; i < 2; i++) {
		conf_timer(c, &ts, 0, flags[i], 1);
		conf_get(c, 1);
	}
}

static void conf_move(struct conf *c, struct __kernel_timespec *ts, uint64_t target, unsigned flags)
{
	struct io_uring_sqe *sqe = conf_sqe(c);

	io_uring_prep_timeout_update(sqe, ts, target, flags);
	sqe->user_data = 50;
	conf_get(c, 50);
}

/* A timeout that is moved counts no completions any more. */
static void row_timer_update(struct conf *c)
{
	struct __kernel_timespec far = { .tv_sec = 100 }, near = { .tv_nsec = 5000000 };
	struct __kernel_timespec past = { .tv_nsec = 1 };

	conf_timer(c, &far, 3, 0, 1);
	conf_settle(c);
	conf_move(c, &near, 1, 0);
	conf_get(c, 1);
	conf_move(c, &near, 1, 0);
	conf_timer(c, &far, 0, 0, 2);
	conf_settle(c);
	conf_move(c, &past, 2, IORING_TIMEOUT_ABS);
	conf_get(c, 2);
}

static void conf_watched_recv(struct conf *c, uint8_t *buf, unsigned n,
			      struct __kernel_timespec *ts)
{
	struct io_uring_sqe *sqe;

	conf_pair(c);
	conf_recv(c, buf, n, 0, 1)->flags |= IOSQE_IO_LINK;
	sqe = conf_sqe(c);
	io_uring_prep_link_timeout(sqe, ts, 0);
	sqe->user_data = 2;
	conf_settle(c);
}

static void row_timer_link_update(struct conf *c)
{
	struct __kernel_timespec far = { .tv_sec = 100 }, near = { .tv_nsec = 5000000 };
	uint8_t buf[16];

	conf_watched_recv(c, buf, sizeof(buf), &far);
	conf_move(c, &near, 2, 0); /* no timeout of the other kind */
	conf_move(c, &near, 2, IORING_LINK_TIMEOUT_UPDATE);
	conf_get(c, 1);
	conf_get(c, 2);
}

/* A link timeout is not found by the removal of timeouts; a cancel ends it alone. */
static void row_timer_link_remove(struct conf *c)
{
	struct __kernel_timespec far = { .tv_sec = 100 };
	struct io_uring_sqe *sqe;
	uint8_t buf[16];

	conf_watched_recv(c, buf, sizeof(buf), &far);
	sqe = conf_sqe(c);
	io_uring_prep_timeout_remove(sqe, 2, 0);
	sqe->user_data = 3;
	conf_get(c, 3);
	CHECK_INT(c->peer->send(c, "hello", 5), ==, 5);
	conf_get(c, 1);
	conf_get(c, 2);
}

static void row_timer_chain(struct conf *c)
{
	struct __kernel_timespec ts = { .tv_nsec = 1000000 };

	for (unsigned i = 0; i < 2; i++) {
		conf_timer(c, &ts, 0, i ? IORING_TIMEOUT_ETIME_SUCCESS : 0, 1)->flags |=
			IOSQE_IO_LINK;
		conf_sqe(c)->user_data = 2;
		conf_get(c, 1);
		conf_get(c, 2);
	}
	conf_timer(c, &ts, 0, 0, 1)->flags |= IOSQE_IO_HARDLINK;
	conf_sqe(c)->user_data = 2;
	conf_get(c, 1);
	conf_get(c, 2);
}

/* ---- polls that change */
static struct io_uring_sqe *conf_poll_add(struct conf *c, unsigned mask, uint64_t ud)
{
	struct io_uring_sqe *sqe = conf_sqe(c);

	io_uring_prep_poll_add(sqe, 0, mask);
	return conf_fixed(sqe, ud);
}

static void conf_poll_update(struct conf *c, uint64_t old, uint64_t new, unsigned mask,
			     unsigned flags)
{
	struct io_uring_sqe *sqe = conf_sqe(c);

	io_uring_prep_poll_update(sqe, old, new, mask, flags);
	sqe->user_data = 50;
	conf_get(c, 50);
}

static void row_poll_update(struct conf *c)
{
	conf_pair(c);
	conf_poll_add(c, POLLIN, 1);
	conf_settle(c);
	conf_poll_update(c, 1, 9, 0, IORING_POLL_UPDATE_USER_DATA);
	conf_poll_update(c, 1, 9, 0, IORING_POLL_UPDATE_USER_DATA);
	conf_poll_update(c, 9, 0, POLLOUT, IORING_POLL_UPDATE_EVENTS);
	conf_say_poll(c, 9);
	conf_poll_update(c, 9, 0, POLLOUT, IORING_POLL_UPDATE_EVENTS);
}

/* A poll that becomes a multishot one. */
static void row_poll_update_multi(struct conf *c)
{
	struct io_uring_sqe *sqe;
	uint32_t flags;

	conf_pair(c);
	conf_poll_add(c, POLLIN, 1);
	conf_settle(c);
	conf_poll_update(c, 1, 0, POLLIN, IORING_POLL_UPDATE_EVENTS | IORING_POLL_ADD_MULTI);
	for (unsigned i = 0; i < 2; i++) {
		CHECK_INT(c->peer->send(c, "x", 1), ==, 1);
		flags = conf_get(c, 1);
		conf_say(c, "%s", conf_more(flags));
		if (!(flags & IORING_CQE_F_MORE))
			return;
	}
	sqe = conf_sqe(c);
	io_uring_prep_poll_remove(sqe, 1);
	sqe->user_data = 2;
	conf_get(c, 2);
	while ((flags = conf_get(c, 1)) & IORING_CQE_F_MORE)
		;
}

static void row_poll_remove(struct conf *c)
{
	struct io_uring_sqe *sqe;

	conf_pair(c);
	conf_poll_add(c, POLLIN, 1);
	conf_settle(c);
	for (unsigned i = 0; i < 2; i++) {
		sqe = conf_sqe(c);
		io_uring_prep_poll_remove(sqe, 1);
		sqe->user_data = 2;
		conf_get(c, 2);
	}
	conf_get(c, 1);
}

static void row_poll_refused(struct conf *c)
{
	struct io_uring_sqe *sqe;

	conf_pair(c);
	conf_poll_add(c, POLLIN, 1)->addr = 1;
	conf_get(c, 1);
	conf_poll_add(c, POLLIN, 1)->off = 1;
	conf_get(c, 1);
	conf_poll_add(c, POLLIN, 1)->len = 1u << 7;
	conf_get(c, 1);
	sqe = conf_poll_add(c, POLLIN, 1);
	sqe->len = IORING_POLL_ADD_MULTI;
	sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
	conf_get(c, 1);
	conf_poll_update(c, 1, 0, 0, IORING_POLL_ADD_MULTI);
	conf_poll_update(c, 1, 0, POLLIN, 0);
	conf_poll_update(c, 1, 5, 0, 0);
	sqe = conf_sqe(c);
	io_uring_prep_poll_add(sqe, 999, POLLIN);
	sqe->user_data = 1;
	conf_get(c, 1);
}

static void row_poll_chain(struct conf *c)
{
	struct io_uring_sqe *sqe;
	uint8_t buf[16];

	conf_pair(c);
	conf_poll_add(c, POLLIN, 1)->flags |= IOSQE_IO_LINK;
	conf_recv(c, buf, sizeof(buf), 0, 2);
	conf_settle(c);
	CHECK_INT(c->peer->send(c, "hello", 5), ==, 5);
	conf_say_poll(c, 1);
	conf_get(c, 2);
	c->fd = sys_eventfd();
	sqe = conf_sqe(c);
	io_uring_prep_poll_multishot(sqe, c->fd, POLLIN);
	sqe->user_data = 3;
	conf_settle(c);
	CHECK_INT(sys_eventfd_signal(c->fd), ==, 0);
	conf_say_poll(c, 3);
}

/* ---- messages */
static struct io_uring_sqe *conf_msg(struct conf *c, int fd, unsigned len, uint64_t what)
{
	struct io_uring_sqe *sqe = conf_sqe(c);

	io_uring_prep_msg_ring(sqe, fd, len, what, 0);
	sqe->user_data = 1;
	return sqe;
}

static void row_msg_self(struct conf *c)
{
	conf_msg(c, c->ring.u.ring_fd, 5, 9);
	conf_get(c, 1);
	conf_get(c, 9);
}

static void row_msg_refused(struct conf *c)
{
	struct io_uring_params p = { .flags = IORING_SETUP_R_DISABLED };
	struct io_uring_sqe *sqe;
	struct io_uring u;

	CHECK_INT(c->kernel->setup(&u, 2, &p), ==, 0);
	conf_msg(c, u.ring_fd, 5, 9);
	conf_get(c, 1);
	c->kernel->exit(&u);
	conf_msg(c, c->ring.u.ring_fd, 5, 9)->msg_ring_flags = IORING_MSG_RING_CQE_SKIP;
	conf_get(c, 1);
	conf_msg(c, c->ring.u.ring_fd, 5, 9)->msg_ring_flags = 1u << 9;
	conf_get(c, 1);
	conf_msg(c, c->ring.u.ring_fd, 5, 9)->file_index = 3;
	conf_get(c, 1);
	conf_msg(c, c->ring.u.ring_fd, 5, 9)->addr = 7;
	conf_get(c, 1);
	sqe = conf_msg(c, c->ring.u.ring_fd, 0, 9); /* a descriptor for oneself */
	sqe->addr = IORING_MSG_SEND_FD;
	sqe->file_index = 1;
	conf_get(c, 1);
	conf_msg(c, 999, 5, 9);
	conf_get(c, 1);
}

static void row_msg_flags(struct conf *c)
{
	struct io_uring_sqe *sqe = conf_msg(c, c->ring.u.ring_fd, 5, 9);
	struct conf_cqe *q;
	int res;

	sqe->msg_ring_flags = RU_MSG_RING_FLAGS_PASS;
	sqe->file_index = 1u << 20;
	res = conf_result(c, 1);
	conf_say_res(c, res);
	q = res ? NULL : conf_wait(c, 9, CONF_WAIT_NS);
	if (q)
		conf_say(c, "%d %x", q->res, q->flags);
}

/* Into a slot that we name over there, with and without a word about it. */
static void row_msg_fd_slot(struct conf *c)
{
	struct conf seen = { 0 };
	struct ring r;

	conf_pair(c);
	conf_other_ring(c, &r, 2);
	for (unsigned i = 0; i < 4; i++) {
		struct io_uring_sqe *sqe = conf_msg(c, r.u.ring_fd, i == 3, 77);

		sqe->addr = IORING_MSG_SEND_FD;
		sqe->addr3 = 0;
		sqe->file_index = i == 2 ? 3 : 2;
		sqe->msg_ring_flags = i ? IORING_MSG_RING_CQE_SKIP : 0;
		conf_get(c, 1);
	}
	CHECK_INT(ring_enter(&r, 1, CONF_WAIT_NS), ==, 0);
	ring_reap(&r, 4, conf_take, &seen);
	conf_say(c, "%u %d", seen.cqes, seen.cqe[0].res);
	ring_close(&r);
}

#endif
