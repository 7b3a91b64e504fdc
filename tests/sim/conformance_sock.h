/*
 * Rows of conformance.h: direct descriptors, accept, connect, send.
 */
#ifndef RINGLINE_TESTS_SIM_CONFORMANCE_SOCK_H
#define RINGLINE_TESTS_SIM_CONFORMANCE_SOCK_H

#include "conformance.h"

/* ---- slots */
static void row_close_slot(struct conf *c)
{
	conf_pair(c);
	conf_close_slot(c, 0, 1);
	conf_get(c, 1);
	conf_close_slot(c, 0, 2);
	conf_get(c, 2);
	conf_close_slot(c, CONF_SLOTS, 3);
	conf_get(c, 3);
	conf_say_peer(c);
}

/* A request holds the socket: the peer sees no end until the request has ended. */
static void row_close_slot_under_recv(struct conf *c)
{
	uint8_t buf[16];

	conf_pair(c);
	conf_recv(c, buf, sizeof(buf), 0, 1);
	conf_settle(c);
	conf_close_slot(c, 0, 2);
	conf_get(c, 2);
	conf_say_peer(c);
	conf_cancel(c, 1, 3);
	CHECK_INT(conf_result(c, 1), <, 0);
	conf_settle(c);
	conf_say_peer(c);
}

static void row_files_register(struct conf *c)
{
	struct io_uring_rsrc_register files = { .nr = 4, .flags = IORING_RSRC_REGISTER_SPARSE };
	struct io_uring_file_index_range range = { .off = 4, .len = CONF_SLOTS };
	int fd = 999;
	struct io_uring_rsrc_update up = { .offset = 0, .data = (uintptr_t)&fd };

	conf_say_res(c, ring_register(&c->ring, IORING_REGISTER_FILES2, &files, sizeof(files)));
	conf_say_res(c, ring_register(&c->ring, IORING_REGISTER_FILE_ALLOC_RANGE, &range, 0));
	conf_say_res(c, ring_register(&c->ring, IORING_REGISTER_FILES_UPDATE, &up, 1));
	fd = -1;
	up.offset = CONF_SLOTS;
	conf_say_res(c, ring_register(&c->ring, IORING_REGISTER_FILES_UPDATE, &up, 1));
	conf_say_res(c, ring_register(&c->ring, IORING_UNREGISTER_FILES, NULL, 0));
	conf_say_res(c, ring_register(&c->ring, IORING_UNREGISTER_FILES, NULL, 0));
}

static void row_files_install(struct conf *c)
{
	struct io_uring_rsrc_update up = { .offset = 5 };
	struct io_uring_sqe *sqe;
	uint64_t v;
	int fd = sys_eventfd();

	up.data = (uintptr_t)&fd;
	conf_say_res(c, ring_register(&c->ring, IORING_REGISTER_FILES_UPDATE, &up, 1));
	CHECK_INT(sys_eventfd_signal(fd), ==, 0);
	sys_close(fd);
	sqe = conf_sqe(c);
	io_uring_prep_read(sqe, 5, &v, sizeof(v), 0);
	conf_fixed(sqe, 1);
	conf_get(c, 1);
}

/* ---- accept */
static void row_accept_multi_full(struct conf *c)
{
	struct io_uring_file_index_range range = { .off = 6, .len = 1 };
	struct io_uring_sqe *sqe = conf_sqe(c);
	uint32_t flags;

	CHECK_INT(ring_register(&c->ring, IORING_REGISTER_FILE_ALLOC_RANGE, &range, 0), ==, 0);
	io_uring_prep_multishot_accept_direct(sqe, c->listener, NULL, NULL, 0);
	sqe->user_data = 1;
	c->peer->connect(c);
	flags = conf_get(c, 1);
	conf_say(c, "%s", conf_more(flags));
	if (!(flags & IORING_CQE_F_MORE))
		return;
	c->peer->close(c);
	c->peer->connect(c);
	flags = conf_get(c, 1);
	conf_say(c, "%s", conf_more(flags));
	conf_say_peer(c);
}

static void row_accept_multi_explicit(struct conf *c)
{
	struct io_uring_sqe *sqe = conf_sqe(c);

	io_uring_prep_multishot_accept(sqe, c->listener, NULL, NULL, 0);
	sqe->file_index = 3;
	sqe->user_data = 1;
	conf_get(c, 1);
}

static void row_accept_fd(struct conf *c)
{
	struct sockaddr_in sa;
	socklen_t n = sizeof(sa);
	struct io_uring_sqe *sqe = conf_sqe(c);

	c->peer->connect(c);
	io_uring_prep_accept(sqe, c->listener, (struct sockaddr *)&sa, &n, SOCK_CLOEXEC);
	sqe->user_data = 1;
	c->fd = conf_result(c, 1);
	conf_say(c, c->fd > 2 ? "fd" : "none");
	conf_say(c, sa.sin_family == AF_INET && n == sizeof(sa) ? "named" : "nameless");
}

static void row_accept_shut_listener(struct conf *c)
{
	conf_prep_accept(c, 0, 1);
	conf_settle(c);
	conf_say_res(c, sys_shutdown(c->listener, SHUT_RD));
	conf_get(c, 1);
}

static void row_accept_no_listener(struct conf *c)
{
	struct io_uring_sqe *sqe = conf_sqe(c);

	c->fd = sys_socket(AF_INET, SOCK_STREAM, 0);
	io_uring_prep_accept_direct(sqe, c->fd, NULL, NULL, 0, 2);
	sqe->user_data = 1;
	conf_get(c, 1);
}

/* ---- connect */
static void conf_socket(struct conf *c, unsigned slot)
{
	struct io_uring_sqe *sqe = conf_sqe(c);

	io_uring_prep_socket_direct(sqe, AF_INET, SOCK_STREAM, 0, slot, 0);
	sqe->user_data = 800;
	CHECK_INT(conf_result(c, 800), ==, 0);
}

static void conf_connect(struct conf *c, unsigned slot, const struct sockaddr *sa, uint64_t ud)
{
	struct io_uring_sqe *sqe = conf_sqe(c);

	io_uring_prep_connect(sqe, (int)slot, sa, sizeof(struct sockaddr_in));
	conf_fixed(sqe, ud);
}

static void row_connect(struct conf *c)
{
	struct sockaddr_in sa = { .sin_family = AF_INET,
				  .sin_port = htons(c->port),
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };

	conf_socket(c, 1);
	conf_connect(c, 1, (struct sockaddr *)&sa, 1);
	conf_get(c, 1);
	conf_prep_accept(c, 2, 2);
	conf_get(c, 2);
	conf_connect(c, 1, (struct sockaddr *)&sa, 3);
	conf_get(c, 3);
}

/* An address of our own, at which nobody listens. */
static void conf_bound(struct conf *c, struct sockaddr_storage *ss)
{
	struct sockaddr_in sa = { .sin_family = AF_INET,
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t n = sizeof(*ss);

	c->fd = sys_socket(AF_INET, SOCK_STREAM, 0);
	CHECK_INT(sys_bind(c->fd, (struct sockaddr *)&sa, sizeof(sa)), ==, 0);
	CHECK_INT(sys_getsockname(c->fd, ss, &n), ==, 0);
}

static void row_connect_refused(struct conf *c)
{
	struct sockaddr_storage ss;

	conf_bound(c, &ss);
	conf_socket(c, 1);
	conf_connect(c, 1, (struct sockaddr *)&ss, 1);
	conf_get(c, 1);
}

/* Our own reset of a direct descriptor. */
static void row_connect_unspec(struct conf *c)
{
	static const struct sockaddr_in unspec = { .sin_family = AF_UNSPEC };
	uint8_t buf[16];

	conf_pair(c);
	conf_recv(c, buf, sizeof(buf), 0, 1);
	conf_settle(c);
	conf_connect(c, 0, (const struct sockaddr *)&unspec, 2);
	conf_get(c, 2);
	conf_get(c, 1);
	conf_say_peer(c);
	conf_recv(c, buf, sizeof(buf), 0, 3);
	conf_get(c, 3);
	conf_send(c, "x", 1, 0, 4);
	conf_get(c, 4);
}

/* ---- send and the end of a stream */
static void row_send(struct conf *c)
{
	conf_pair(c);
	conf_send(c, "hello", 5, MSG_WAITALL, 1);
	conf_get(c, 1);
	conf_say_peer(c);
}

static void row_shutdown(struct conf *c)
{
	struct io_uring_sqe *sqe;

	conf_pair(c);
	sqe = conf_sqe(c);
	io_uring_prep_shutdown(sqe, 0, SHUT_WR);
	conf_fixed(sqe, 1);
	conf_get(c, 1);
	conf_say_peer(c);
	conf_send(c, "x", 1, 0, 2);
	conf_get(c, 2);
}

static void row_send_after_rst(struct conf *c)
{
	conf_pair(c);
	c->peer->rst(c);
	conf_settle(c);
	conf_send(c, "x", 1, 0, 1);
	conf_get(c, 1);
	conf_send(c, "x", 1, 0, 2);
	conf_get(c, 2);
}

/* The peer is gone with a FIN: the first send is taken, the answer to it breaks the second. */
static void row_send_after_close(struct conf *c)
{
	conf_pair(c);
	c->peer->close(c);
	conf_settle(c);
	conf_send(c, "x", 1, 0, 1);
	conf_get(c, 1);
	conf_settle(c);
	conf_send(c, "x", 1, 0, 2);
	conf_get(c, 2);
}

static void row_send_zc(struct conf *c)
{
	struct io_uring_sqe *sqe;
	uint32_t flags;

	conf_pair(c);
	sqe = conf_sqe(c);
	io_uring_prep_send_zc(sqe, 0, "hello", 5, MSG_NOSIGNAL, 0);
	conf_fixed(sqe, 1);
	conf_say(c, "%s", conf_more(conf_get(c, 1)));
	conf_say_peer(c);
	flags = conf_get(c, 1);
	conf_say(c, "%s %s", flags & IORING_CQE_F_NOTIF ? "notif" : "result", conf_more(flags));
}

static void row_send_zc_broken(struct conf *c)
{
	struct io_uring_sqe *sqe;
	uint32_t flags;

	conf_pair(c);
	sqe = conf_sqe(c);
	io_uring_prep_shutdown(sqe, 0, SHUT_WR);
	conf_fixed(sqe, 1);
	CHECK_INT(conf_result(c, 1), ==, 0);
	sqe = conf_sqe(c);
	io_uring_prep_send_zc(sqe, 0, "hello", 5, MSG_NOSIGNAL, 0);
	conf_fixed(sqe, 2);
	conf_say(c, "%s", conf_more(conf_get(c, 2)));
	flags = conf_get(c, 2);
	conf_say(c, "%s %s", flags & IORING_CQE_F_NOTIF ? "notif" : "result", conf_more(flags));
}

/* More than the peer's window takes: the notification comes when the peer reads. */
static void row_send_zc_late(struct conf *c)
{
	struct io_uring_sqe *sqe;
	struct conf_cqe *q;
	int n;

	conf_pair(c);
	c->big = sys_zalloc(CONF_ZC);
	sqe = conf_sqe(c);
	io_uring_prep_send_zc(sqe, 0, c->big, CONF_ZC, MSG_NOSIGNAL, 0);
	conf_fixed(sqe, 1);
	q = conf_wait(c, 1, CONF_WAIT_NS);
	CHECK(q);
	n = q->res;
	conf_say(c, "%s %s", n > 0 && n < (int)CONF_ZC ? "short" : "whole", conf_more(q->flags));
	conf_settle(c);
	conf_say(c, "%s", conf_find(c, 1) ? "early" : "late");
	conf_drain(c, (size_t)n);
	q = conf_wait(c, 1, CONF_WAIT_NS);
	CHECK(q);
	conf_say(c, "%s", q->flags & IORING_CQE_F_NOTIF ? "notif" : "result");
}

static void row_socket_refused(struct conf *c)
{
	struct io_uring_file_index_range range = { .off = 0, .len = 1 };
	struct io_uring_sqe *sqe;

	CHECK_INT(ring_register(&c->ring, IORING_REGISTER_FILE_ALLOC_RANGE, &range, 0), ==, 0);
	for (uint64_t ud = 1; ud <= 2; ud++) {
		sqe = conf_sqe(c);
		io_uring_prep_socket_direct_alloc(sqe, AF_INET, SOCK_STREAM, 0, 0);
		sqe->user_data = ud;
		conf_get(c, ud);
	}
	sqe = conf_sqe(c);
	io_uring_prep_socket_direct(sqe, 255, SOCK_STREAM, 0, 1, 0);
	sqe->user_data = 3;
	conf_get(c, 3);
}

static void row_send_zc_bad_region(struct conf *c)
{
	struct io_uring_sqe *sqe;

	conf_pair(c);
	sqe = conf_sqe(c);
	io_uring_prep_send_zc(sqe, 0, "hello", 5, MSG_NOSIGNAL, 0);
	sqe->ioprio |= IORING_RECVSEND_FIXED_BUF;
	sqe->buf_index = 3;
	conf_fixed(sqe, 1);
	conf_get(c, 1);
}

/* A backlog of one holds two clients; the third one's SYN is dropped, and sent again for a while.
 */
static void row_backlog(struct conf *c)
{
	struct __kernel_timespec ts = { .tv_nsec = 400000000 };
	struct sockaddr_storage ss;

	conf_bound(c, &ss);
	CHECK_INT(sys_listen(c->fd, 1), ==, 0);
	for (unsigned slot = 1; slot <= 3; slot++) {
		struct io_uring_sqe *sqe = conf_sqe(c);

		io_uring_prep_socket_direct(sqe, AF_INET, SOCK_STREAM, 0, slot, 0);
		sqe->user_data = 1;
		CHECK_INT(conf_result(c, 1), ==, 0);
		sqe = conf_sqe(c);
		io_uring_prep_connect(sqe, (int)slot, (struct sockaddr *)&ss,
				      sizeof(struct sockaddr_in));
		conf_fixed(sqe, 2)->flags |= IOSQE_IO_LINK;
		sqe = conf_sqe(c);
		io_uring_prep_link_timeout(sqe, &ts, 0);
		sqe->user_data = 3;
		conf_get(c, 2);
		CHECK_INT(conf_result(c, 3), !=, 0);
	}
}

#endif
