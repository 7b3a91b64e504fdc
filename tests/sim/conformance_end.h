/*
 * Rows of conformance.h: how connections and listeners end, and what pending operations are told.
 */
#ifndef RINGLINE_TESTS_SIM_CONFORMANCE_END_H
#define RINGLINE_TESTS_SIM_CONFORMANCE_END_H

#include "conformance.h"

static void conf_shutdown(struct conf *c, int slot, int how, uint64_t ud)
{
	struct io_uring_sqe *sqe = conf_sqe(c);

	io_uring_prep_shutdown(sqe, slot, how);
	conf_fixed(sqe, ud);
}

/* close(2) under a receive: nobody is told, and the peer sees no end before the receive ends. */
static void row_close_fd_under_recv(struct conf *c)
{
	struct io_uring_sqe *sqe = conf_sqe(c);
	uint8_t buf[16];
	int fd;

	c->peer->connect(c);
	io_uring_prep_accept(sqe, c->listener, NULL, NULL, SOCK_CLOEXEC);
	sqe->user_data = 900;
	fd = conf_result(c, 900);
	CHECK_INT(fd, >, 2);
	sqe = conf_sqe(c);
	io_uring_prep_recv(sqe, fd, buf, sizeof(buf), 0);
	sqe->user_data = 1;
	conf_settle(c);
	CHECK_INT(sys_close(fd), ==, 0);
	conf_say(c, "%s", conf_wait(c, 1, CONF_QUIET_NS) ? "told" : "untold");
	conf_say_peer(c);
	conf_cancel(c, 1, 2);
	CHECK_INT(conf_result(c, 1), <, 0);
	conf_settle(c);
	conf_say_peer(c);
}

/*
 * A reset while a receive and a send wait: the error is told once. With the send told of it (or
 * ending short), the receive may look like a clean end; only the poll is sure.
 */
static void conf_rst_under_both(struct conf *c, bool recv_first)
{
	uint8_t buf[16];
	struct io_uring_sqe *sqe;
	int n, m;

	conf_pair(c);
	c->big = sys_zalloc(CONF_BIG);
	if (recv_first)
		conf_recv(c, buf, sizeof(buf), 0, 2);
	conf_send(c, c->big, CONF_BIG, MSG_WAITALL, 1);
	if (!recv_first)
		conf_recv(c, buf, sizeof(buf), 0, 2);
	sqe = conf_sqe(c);
	io_uring_prep_poll_add(sqe, 0, POLLRDHUP);
	conf_fixed(sqe, 3);
	conf_settle(c);
	c->peer->rst(c);
	conf_get(c, 2);
	n = conf_result(c, 1);
	conf_say(c, "%s", n > 0 && n < (int)CONF_BIG ? "short" : n > 0 ? "whole" : conf_name(-n));
	m = conf_result(c, 3);
	conf_say(c, "%s", m & (POLLERR | POLLHUP) ? "hup" : "end");
}

static void row_rst_under_recv_send(struct conf *c)
{
	conf_rst_under_both(c, true);
}

static void row_rst_under_send_recv(struct conf *c)
{
	conf_rst_under_both(c, false);
}

/* What arrived before the reset is still read. */
static void row_data_then_rst(struct conf *c)
{
	uint8_t buf[16];

	conf_pair(c);
	CHECK_INT(c->peer->send(c, "abc", 3), ==, 3);
	c->peer->rst(c);
	conf_settle(c);
	for (uint64_t ud = 1; ud <= 3; ud++) {
		conf_recv(c, buf, sizeof(buf), 0, ud);
		conf_get(c, ud);
	}
}

static void row_fin_then_rst(struct conf *c)
{
	uint8_t buf[16];

	conf_pair(c);
	c->peer->fin(c);
	conf_settle(c);
	c->peer->rst(c);
	conf_settle(c);
	conf_recv(c, buf, sizeof(buf), 0, 1);
	conf_get(c, 1);
	conf_send(c, "x", 1, 0, 2);
	conf_get(c, 2);
}

static void row_rst_before_accept(struct conf *c)
{
	uint8_t buf[16];

	c->peer->connect(c);
	c->peer->rst(c);
	conf_settle(c);
	conf_prep_accept(c, 0, 1);
	conf_get(c, 1);
	conf_recv(c, buf, sizeof(buf), 0, 2);
	conf_get(c, 2);
}

static void row_gone_before_accept(struct conf *c)
{
	uint8_t buf[16];

	c->peer->connect(c);
	CHECK_INT(c->peer->send(c, "hi", 2), ==, 2);
	c->peer->close(c);
	conf_settle(c);
	conf_prep_accept(c, 0, 1);
	conf_get(c, 1);
	for (uint64_t ud = 2; ud <= 3; ud++) {
		conf_recv(c, buf, sizeof(buf), 0, ud);
		conf_get(c, ud);
	}
}

/* Our own SHUTDOWN wakes our own receive. */
static void row_shutdown_under_recv(struct conf *c)
{
	uint8_t buf[16];

	conf_pair(c);
	conf_recv(c, buf, sizeof(buf), 0, 1);
	conf_settle(c);
	conf_shutdown(c, 0, SHUT_RDWR, 2);
	conf_get(c, 2);
	conf_get(c, 1);
	conf_say_peer(c);
}

static void row_shutdown_again(struct conf *c)
{
	conf_pair(c);
	conf_shutdown(c, 0, SHUT_WR, 1);
	conf_get(c, 1);
	conf_shutdown(c, 0, SHUT_WR, 2);
	conf_get(c, 2);
	c->peer->rst(c);
	conf_settle(c);
	conf_shutdown(c, 0, SHUT_RDWR, 3);
	conf_get(c, 3);
}

static void row_not_connected(struct conf *c)
{
	struct io_uring_sqe *sqe = conf_sqe(c);
	uint8_t buf[16];

	io_uring_prep_socket_direct(sqe, AF_INET, SOCK_STREAM, 0, 0, 0);
	sqe->user_data = 1;
	conf_get(c, 1);
	conf_recv(c, buf, sizeof(buf), 0, 2);
	conf_get(c, 2);
	conf_send(c, "x", 1, 0, 3);
	conf_get(c, 3);
	conf_shutdown(c, 0, SHUT_RDWR, 4);
	conf_get(c, 4);
}

/* Unread input turns the FIN of a close into a reset. */
static void row_close_unread(struct conf *c)
{
	conf_pair(c);
	CHECK_INT(c->peer->send(c, "unread", 6), ==, 6);
	conf_settle(c);
	conf_shutdown(c, 0, SHUT_WR, 1);
	conf_get(c, 1);
	conf_say_peer(c);
	conf_close_slot(c, 0, 2);
	conf_get(c, 2);
	conf_settle(c);
	conf_say(c, "%s", c->peer->send(c, "x", 1) < 0 ? "broken" : "open");
}

/* ---- listeners */
static void row_accept_multi_cancel(struct conf *c)
{
	struct io_uring_sqe *sqe = conf_sqe(c);
	uint32_t flags;

	io_uring_prep_multishot_accept_direct(sqe, c->listener, NULL, NULL, 0);
	sqe->user_data = 1;
	conf_settle(c);
	c->peer->connect(c);
	flags = conf_get(c, 1);
	conf_say(c, "%s", conf_more(flags));
	conf_cancel(c, 1, 2);
	conf_get(c, 2);
	if (flags & IORING_CQE_F_MORE)
		conf_say(c, "%s", conf_more(conf_get(c, 1)));
}

static void row_accept_multi_shut(struct conf *c)
{
	struct io_uring_sqe *sqe = conf_sqe(c);

	io_uring_prep_multishot_accept_direct(sqe, c->listener, NULL, NULL, 0);
	sqe->user_data = 1;
	conf_settle(c);
	CHECK_INT(sys_shutdown(c->listener, SHUT_RD), ==, 0);
	conf_say(c, "%s", conf_more(conf_get(c, 1)));
}

/* A pending accept keeps a closed listener alive: clients still get in. */
static void row_accept_closed_listener(struct conf *c)
{
	conf_prep_accept(c, 0, 1);
	conf_settle(c);
	CHECK_INT(sys_close(c->listener), ==, 0);
	c->listener = -1;
	conf_settle(c);
	c->peer->connect(c);
	conf_get(c, 1);
	CHECK_INT(c->peer->send(c, "x", 1), ==, 1);
}

static void row_accept_used_slot(struct conf *c)
{
	conf_pair(c);
	c->peer->close(c);
	c->peer->connect(c);
	conf_prep_accept(c, 0, 1); /* the socket there is replaced */
	conf_get(c, 1);
	c->peer->close(c);
	c->peer->connect(c);
	conf_prep_accept(c, CONF_SLOTS, 2);
	conf_get(c, 2);
}

/* ---- unix streams: a pair in slots 1 and 2 */
static void conf_unix_pair(struct conf *c)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	socklen_t n;
	struct io_uring_sqe *sqe;

	n = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 +
			(size_t)snprintf(un.sun_path + 1, 60, "ringline-conformance-%u-%lld",
					 (unsigned)getpid(), (long long)sys_now()));
	c->fd = sys_socket(AF_UNIX, SOCK_STREAM, 0);
	CHECK_INT(sys_bind(c->fd, (struct sockaddr *)&un, n), ==, 0);
	CHECK_INT(sys_listen(c->fd, 4), ==, 0);
	sqe = conf_sqe(c);
	io_uring_prep_socket_direct(sqe, AF_UNIX, SOCK_STREAM, 0, 1, 0);
	sqe->user_data = 901;
	CHECK_INT(conf_result(c, 901), ==, 0);
	sqe = conf_sqe(c);
	io_uring_prep_connect(sqe, 1, (struct sockaddr *)&un, n);
	conf_fixed(sqe, 902);
	CHECK_INT(conf_result(c, 902), ==, 0);
	sqe = conf_sqe(c);
	io_uring_prep_accept_direct(sqe, c->fd, NULL, NULL, 0, 2);
	sqe->user_data = 903;
	CHECK_INT(conf_result(c, 903), ==, 0);
}

/* Does an older request for another descriptor hold back the FIN of a close? */
static void row_close_slot_older(struct conf *c)
{
	uint8_t buf[16];

	conf_pair(c);
	conf_unix_pair(c);
	conf_recv(c, buf, sizeof(buf), 0, 1)->fd = 1;
	conf_settle(c);
	conf_close_slot(c, 0, 2);
	conf_get(c, 2);
	conf_say_peer(c);
	conf_cancel(c, 1, 3);
	CHECK_INT(conf_result(c, 1), <, 0);
}

static void row_unix_unspec(struct conf *c)
{
	static const struct sockaddr_in unspec = { .sin_family = AF_UNSPEC };
	struct io_uring_sqe *sqe;

	conf_unix_pair(c);
	sqe = conf_sqe(c);
	io_uring_prep_connect(sqe, 1, (const struct sockaddr *)&unspec, sizeof(unspec));
	conf_fixed(sqe, 1);
	conf_get(c, 1);
}

/* What a unix stream's peer sees of a close: an end, or with unread input a reset. */
static void row_unix_close(struct conf *c)
{
	uint8_t buf[16];

	conf_unix_pair(c);
	conf_recv(c, buf, sizeof(buf), 0, 1)->fd = 1;
	conf_settle(c);
	conf_shutdown(c, 2, SHUT_RDWR, 2);
	conf_get(c, 2);
	conf_close_slot(c, 2, 3);
	conf_get(c, 3);
	conf_get(c, 1);
	conf_send(c, "x", 1, 0, 4)->fd = 1;
	conf_get(c, 4);
}

#endif
