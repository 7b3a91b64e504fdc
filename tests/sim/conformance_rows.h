/*
 * The rows of conformance.h.
 */
#ifndef RINGLINE_TESTS_SIM_CONFORMANCE_ROWS_H
#define RINGLINE_TESTS_SIM_CONFORMANCE_ROWS_H

#include "conformance.h"

/* ---- nothing in particular */
static void row_nop(struct conf *c)
{
	conf_sqe(c)->user_data = 1;
	conf_get(c, 1);
}

static void row_nop_inject(struct conf *c)
{
	struct io_uring_sqe *sqe = conf_sqe(c);

	sqe->rw_flags = RU_NOP_INJECT_RESULT;
	sqe->len = (uint32_t)-EIO;
	sqe->user_data = 1;
	conf_get(c, 1);
}

static void row_unknown_opcode(struct conf *c)
{
	struct io_uring_sqe *sqe = conf_sqe(c);

	sqe->opcode = 250;
	sqe->user_data = 1;
	conf_get(c, 1);
}

static void row_disabled(struct conf *c)
{
	struct io_uring_params p = { .flags = IORING_SETUP_R_DISABLED };
	struct io_uring u;

	CHECK_INT(c->kernel->setup(&u, 2, &p), ==, 0);
	conf_say_res(c, c->kernel->enter(&u, 0, 0, IORING_ENTER_GETEVENTS, NULL, 0));
	conf_say_res(c, c->kernel->reg(&u, IORING_REGISTER_ENABLE_RINGS, NULL, 0));
	conf_say_res(c, c->kernel->reg(&u, IORING_REGISTER_ENABLE_RINGS, NULL, 0));
	c->kernel->exit(&u);
}

static void row_setup_refused(struct conf *c)
{
	struct io_uring_params a = { .flags = IORING_SETUP_DEFER_TASKRUN };
	struct io_uring_params b = { .flags = IORING_SETUP_CQSIZE, .cq_entries = 1 };
	struct io_uring_params z = { 0 };
	struct io_uring u;

	conf_say_res(c, c->kernel->setup(&u, 4, &a));
	conf_say_res(c, c->kernel->setup(&u, 4, &b));
	conf_say_res(c, c->kernel->setup(&u, 0, &z));
}

/* 8 NOPs into a CQ of 4: nothing lost, order kept, nothing counted as dropped. */
static void row_overflow(struct conf *c)
{
	struct ring_config rc = { .kernel = c->kernel, .sq_entries = 2, .cq_entries = 4 };
	struct ring r;
	unsigned sent = 0, got = 0;
	struct conf seen = { 0 };

	CHECK_INT(ring_open(&r, &rc, NULL), ==, 0);
	CHECK_INT(ring_enable(&r, NULL), ==, 0);
	while (sent < 8 || ring_sq_pending(&r)) {
		struct io_uring_sqe *sqe = sent < 8 ? ring_sqe(&r) : NULL;

		if (sqe)
			sqe->user_data = ++sent;
		else
			CHECK_INT(ring_enter(&r, 0, 0), ==, 0);
		if (ring_cq_ready(&r) == 4 && sent < 8)
			continue;
		if (sent == 8 && !ring_sq_pending(&r))
			break;
	}
	while (got < 8) {
		CHECK_INT(ring_enter(&r, 1, CONF_WAIT_NS), ==, 0);
		got += ring_reap(&r, UINT32_MAX, conf_take, &seen);
	}
	conf_say(c, "%u dropped %u", seen.cqes, *r.u.cq.koverflow);
	ring_close(&r);
}

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
	conf_say(c, "%s", conf_more(conf_get(c, 1)));
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

static void row_connect_refused(struct conf *c)
{
	struct sockaddr_in sa = { .sin_family = AF_INET,
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct sockaddr_storage ss;
	socklen_t n = sizeof(ss);

	/* Bound, so that nobody else listens there. */
	c->fd = sys_socket(AF_INET, SOCK_STREAM, 0);
	CHECK_INT(sys_bind(c->fd, (struct sockaddr *)&sa, sizeof(sa)), ==, 0);
	CHECK_INT(sys_getsockname(c->fd, &ss, &n), ==, 0);
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

/* ---- poll */
static void conf_poll(struct conf *c, unsigned mask, uint64_t ud)
{
	struct io_uring_sqe *sqe = conf_sqe(c);

	io_uring_prep_poll_add(sqe, 0, mask);
	conf_fixed(sqe, ud);
}

static void conf_say_poll(struct conf *c, uint64_t ud)
{
	int m = conf_result(c, ud);

	conf_say(c, "%s%s%s%s%s", m & POLLIN ? "in" : "", m & POLLOUT ? "out" : "",
		 m & POLLRDHUP ? "rdhup" : "", m & POLLHUP ? "hup" : "", m & POLLERR ? "err" : "");
}

static void row_poll(struct conf *c)
{
	conf_pair(c);
	conf_poll(c, POLLOUT, 1);
	conf_say_poll(c, 1);
	conf_poll(c, POLLIN, 2);
	conf_settle(c);
	CHECK_INT(c->peer->send(c, "x", 1), ==, 1);
	conf_say_poll(c, 2);
}

static void row_poll_fin(struct conf *c)
{
	conf_pair(c);
	conf_poll(c, POLLRDHUP, 1);
	conf_settle(c);
	c->peer->fin(c);
	conf_say_poll(c, 1);
}

static void row_poll_rst(struct conf *c)
{
	uint8_t buf[16];

	conf_pair(c);
	conf_poll(c, POLLRDHUP, 1);
	conf_settle(c);
	c->peer->rst(c);
	conf_say_poll(c, 1);
	conf_recv(c, buf, sizeof(buf), 0, 2);
	conf_get(c, 2);
	/* The error has been told; that the stream is broken still shows. */
	conf_poll(c, POLLRDHUP, 3);
	conf_say_poll(c, 3);
}

/* ---- time */
static void conf_timeout(struct conf *c, struct __kernel_timespec *ts, uint64_t ud)
{
	struct io_uring_sqe *sqe = conf_sqe(c);

	io_uring_prep_timeout(sqe, ts, 0, 0);
	sqe->user_data = ud;
}

static void row_timeout(struct conf *c)
{
	struct __kernel_timespec ts = { .tv_nsec = 1000000 };
	int64_t before = sys_now();

	conf_timeout(c, &ts, 1);
	conf_get(c, 1);
	conf_say(c, sys_now() - before >= 1000000 ? "late" : "early");
}

static void row_timeout_cancel(struct conf *c)
{
	struct __kernel_timespec ts = { .tv_sec = 100 };

	conf_timeout(c, &ts, 1);
	conf_settle(c);
	conf_cancel(c, 1, 2);
	conf_get(c, 2);
	conf_get(c, 1);
}

static void row_link_timeout(struct conf *c)
{
	struct __kernel_timespec ts = { .tv_nsec = 5000000 };
	struct io_uring_sqe *sqe;
	uint8_t buf[16];

	conf_pair(c);
	conf_recv(c, buf, sizeof(buf), 0, 1)->flags |= IOSQE_IO_LINK;
	sqe = conf_sqe(c);
	io_uring_prep_link_timeout(sqe, &ts, 0);
	sqe->user_data = 2;
	conf_get(c, 1);
	conf_get(c, 2);
}

static void row_link_timeout_unused(struct conf *c)
{
	struct __kernel_timespec ts = { .tv_sec = 100 };
	struct io_uring_sqe *sqe;
	uint8_t buf[16];

	conf_pair(c);
	CHECK_INT(c->peer->send(c, "hello", 5), ==, 5);
	conf_settle(c);
	conf_recv(c, buf, sizeof(buf), 0, 1)->flags |= IOSQE_IO_LINK;
	sqe = conf_sqe(c);
	io_uring_prep_link_timeout(sqe, &ts, 0);
	sqe->user_data = 2;
	conf_get(c, 1);
	conf_get(c, 2);
}

/* ---- chains */
static void conf_nop(struct conf *c, unsigned flags, uint64_t ud)
{
	struct io_uring_sqe *sqe = conf_sqe(c);

	sqe->flags = (uint8_t)flags;
	sqe->user_data = ud;
}

static void row_chain_breaks(struct conf *c)
{
	conf_close_slot(c, 7, 1)->flags |= IOSQE_IO_LINK;
	conf_nop(c, IOSQE_IO_LINK, 2);
	conf_nop(c, 0, 3);
	conf_nop(c, 0, 4);
	for (uint64_t ud = 1; ud <= 4; ud++)
		conf_get(c, ud);
}

static void row_chain_hard(struct conf *c)
{
	conf_close_slot(c, 7, 1)->flags |= IOSQE_IO_HARDLINK;
	conf_nop(c, 0, 2);
	conf_get(c, 1);
	conf_get(c, 2);
}

static void row_chain_bad_member(struct conf *c)
{
	struct io_uring_sqe *sqe;

	conf_nop(c, IOSQE_IO_LINK, 1);
	sqe = conf_sqe(c);
	sqe->opcode = 250;
	sqe->user_data = 2;
	conf_get(c, 1);
	conf_get(c, 2);
}

static void row_skip_success(struct conf *c)
{
	conf_nop(c, IOSQE_CQE_SKIP_SUCCESS, 1);
	conf_nop(c, 0, 2);
	conf_get(c, 2);
	conf_say(c, "%s", conf_wait(c, 1, CONF_QUIET_NS) ? "posted" : "skipped");
}

/* ---- buffer groups */
static void row_group_refused(struct conf *c)
{
	struct io_uring_buf_reg reg = { .ring_entries = 8, .bgid = 1 };
	int err;

	c->br = sys_map(sys_page_size(), 0, &err);
	reg.ring_addr = (uintptr_t)c->br + 16;
	conf_say_res(c, ring_register(&c->ring, IORING_REGISTER_PBUF_RING, &reg, 1));
	reg.ring_addr = (uintptr_t)c->br;
	reg.ring_entries = 6;
	conf_say_res(c, ring_register(&c->ring, IORING_REGISTER_PBUF_RING, &reg, 1));
	reg.ring_entries = 8;
	conf_say_res(c, ring_register(&c->ring, IORING_REGISTER_PBUF_RING, &reg, 1));
	conf_say_res(c, ring_register(&c->ring, IORING_REGISTER_PBUF_RING, &reg, 1));
	reg = (struct io_uring_buf_reg){ .bgid = 1 };
	conf_say_res(c, ring_register(&c->ring, IORING_UNREGISTER_PBUF_RING, &reg, 1));
	conf_say_res(c, ring_register(&c->ring, IORING_UNREGISTER_PBUF_RING, &reg, 1));
}

/* ---- eventfd, messages, socket commands */
static void row_eventfd(struct conf *c)
{
	struct io_uring_sqe *sqe = conf_sqe(c);
	uint64_t v = 0;

	c->fd = sys_eventfd();
	io_uring_prep_read(sqe, c->fd, &v, sizeof(v), 0);
	sqe->user_data = 1;
	conf_settle(c);
	CHECK_INT(sys_eventfd_signal(c->fd), ==, 0);
	CHECK_INT(sys_eventfd_signal(c->fd), ==, 0);
	conf_get(c, 1);
	conf_say(c, v == 1 || v == 2 ? "counted" : "wrong");
	sqe = conf_sqe(c);
	io_uring_prep_read(sqe, c->fd, &v, 4, 0);
	sqe->user_data = 2;
	conf_get(c, 2);
}

static void row_msg_ring(struct conf *c)
{
	struct ring_config rc = { .kernel = c->kernel, .sq_entries = 2, .cq_entries = 4 };
	struct io_uring_sqe *sqe = conf_sqe(c);
	struct conf seen = { 0 };
	struct ring r;

	CHECK_INT(ring_open(&r, &rc, NULL), ==, 0);
	CHECK_INT(ring_enable(&r, NULL), ==, 0);
	io_uring_prep_msg_ring(sqe, r.u.ring_fd, 77, 88, 0);
	sqe->user_data = 1;
	conf_get(c, 1);
	CHECK_INT(ring_enter(&r, 1, CONF_WAIT_NS), ==, 0);
	ring_reap(&r, 1, conf_take, &seen);
	conf_say(c, "%llu %d", (unsigned long long)seen.cqe[0].ud, seen.cqe[0].res);
	sqe = conf_sqe(c);
	io_uring_prep_msg_ring(sqe, c->listener, 77, 88, 0);
	sqe->user_data = 2;
	conf_get(c, 2);
	ring_close(&r);
}

static void conf_peername(struct conf *c, unsigned bytes, void *to, uint64_t ud)
{
	static const uint32_t what[2] = { SOL_SOCKET, SO_PEERNAME };
	struct io_uring_sqe *sqe = conf_sqe(c);

	io_uring_prep_rw(IORING_OP_URING_CMD, sqe, 0, NULL, 0, 0);
	sqe->cmd_op = RU_SOCKET_URING_OP_GETSOCKOPT;
	memcpy(&sqe->addr, what, sizeof(what));
	sqe->file_index = bytes;
	sqe->addr3 = (uintptr_t)to;
	conf_fixed(sqe, ud);
}

static void row_peername(struct conf *c)
{
	uint8_t name[28];

	conf_pair(c);
	conf_peername(c, 16, name, 1);
	conf_get(c, 1);
	conf_peername(c, 28, name, 2);
	conf_get(c, 2);
}

#define CANCEL_LATE(op) "|EALREADY " op "|EALREADY EINTR"

static const struct conf_row conf_rows[] = {
	{ "nop", row_nop, "0", NULL },
	{ "nop_inject", row_nop_inject, "EIO", "nop_inject" },
	{ "unknown_opcode", row_unknown_opcode, "EINVAL", NULL },
	{ "disabled", row_disabled, "EBADFD 0 EBADFD", NULL },
	{ "setup_refused", row_setup_refused, "EINVAL EINVAL EINVAL", NULL },
	{ "overflow", row_overflow, "8 dropped 0", NULL },
	{ "recv_data", row_recv_data, "5", NULL },
	{ "recv_fin", row_recv_fin, "5 0", NULL },
	{ "recv_rst", row_recv_rst, "ECONNRESET 0", NULL },
	{ "recv_waitall_fin", row_recv_waitall_fin, "5", NULL },
	{ "recv_empty_slot", row_recv_empty_slot, "EBADF EBADF", NULL },
	{ "recv_no_socket", row_recv_no_socket, "ENOTSOCK", NULL },
	{ "multi_empty_group", row_multi_empty_group, "ENOBUFS last", NULL },
	{ "multi_no_group", row_multi_no_group, "ENOBUFS last", NULL },
	{ "multi_runs_dry", row_multi_runs_dry, "64 more ENOBUFS last|64 last", NULL },
	{ "multi_fin", row_multi_fin, "5 more 0 last|5 last", NULL },
	{ "multi_rst", row_multi_rst, "ECONNRESET last", NULL },
	{ "multi_without_select", row_multi_without_select, "EINVAL EINVAL", NULL },
	{ "select_one", row_select_one, "5 last buffer 0", NULL },
	{ "cancel_pending", row_cancel_pending, "0 ECANCELED" CANCEL_LATE("ECANCELED"), NULL },
	{ "cancel_done", row_cancel_done, "0 ENOENT", NULL },
	{ "cancel_nothing", row_cancel_nothing, "ENOENT", NULL },
	{ "cancel_data_arrived", row_cancel_data_arrived,
	  "0 cancelled 3|ENOENT data|EALREADY data|EALREADY cancelled 3", NULL },
	{ "cancel_waitall_partial", row_cancel_waitall_partial, "0 5|EALREADY 5", NULL },
	{ "cancel_send_partial", row_cancel_send_partial, "0 partial|EALREADY partial", NULL },
	{ "cancel_multi", row_cancel_multi, "5 more 0 ECANCELED last|5 last ENOENT", NULL },
	{ "cancel_slot_nothing", row_cancel_slot_nothing, "0 ENOENT", NULL },
	{ "cancel_slot_empty", row_cancel_slot_empty, "EBADF", NULL },
	{ "cancel_slot_all", row_cancel_slot_all,
	  "2 ECANCELED ECANCELED|2 EINTR ECANCELED|2 ECANCELED EINTR|2 EINTR EINTR", NULL },
	{ "cancel_accept", row_cancel_accept, "0 ECANCELED" CANCEL_LATE("ECANCELED"), NULL },
	{ "close_slot", row_close_slot, "0 EBADF EINVAL 0", NULL },
	{ "close_slot_under_recv", row_close_slot_under_recv, "0 EAGAIN 0", NULL },
	{ "files_register", row_files_register, "EBUSY EINVAL EBADF EINVAL 0 ENXIO", NULL },
	{ "files_install", row_files_install, "1 8", NULL },
	{ "accept_multi_full", row_accept_multi_full, "6 more ENFILE last 0|6 last", NULL },
	{ "accept_multi_explicit", row_accept_multi_explicit, "EINVAL", NULL },
	{ "accept_fd", row_accept_fd, "fd named", NULL },
	{ "accept_shut_listener", row_accept_shut_listener, "0 EINVAL", NULL },
	{ "accept_no_listener", row_accept_no_listener, "EINVAL", NULL },
	{ "connect", row_connect, "0 0 EISCONN", NULL },
	{ "connect_refused", row_connect_refused, "REFUSED", NULL },
	{ "connect_unspec", row_connect_unspec, "0 ECONNRESET ECONNRESET ENOTCONN EPIPE", NULL },
	{ "send", row_send, "5 5", NULL },
	{ "shutdown", row_shutdown, "0 0 EPIPE", NULL },
	{ "send_after_rst", row_send_after_rst, "ECONNRESET EPIPE", NULL },
	{ "send_after_close", row_send_after_close, "1 EPIPE", NULL },
	{ "send_zc", row_send_zc, "5 more 5 0 notif last", NULL },
	{ "send_zc_broken", row_send_zc_broken, "EPIPE more 0 notif last", NULL },
	{ "send_zc_bad_region", row_send_zc_bad_region, "EFAULT", NULL },
	{ "poll", row_poll, "out in", NULL },
	{ "poll_fin", row_poll_fin, "rdhup", NULL },
	{ "poll_rst", row_poll_rst, "rdhuphuperr ECONNRESET rdhuphup", NULL },
	{ "timeout", row_timeout, "ETIME late", NULL },
	{ "timeout_cancel", row_timeout_cancel, "0 ECANCELED", NULL },
	{ "link_timeout", row_link_timeout, "ECANCELED ETIME|EINTR ETIME", NULL },
	{ "link_timeout_unused", row_link_timeout_unused, "5 ECANCELED", NULL },
	{ "chain_breaks", row_chain_breaks, "EBADF ECANCELED ECANCELED 0", NULL },
	{ "chain_hard", row_chain_hard, "EBADF 0", NULL },
	{ "chain_bad_member", row_chain_bad_member, "ECANCELED EINVAL", NULL },
	{ "skip_success", row_skip_success, "0 skipped", NULL },
	{ "group_refused", row_group_refused, "EINVAL EINVAL 0 EEXIST 0 ENOENT", NULL },
	{ "eventfd", row_eventfd, "8 counted EINVAL", NULL },
	{ "msg_ring", row_msg_ring, "0 88 77 EBADFD", NULL },
	{ "peername", row_peername, "16 EINVAL", "socket_cmd" },
};

#define CONF_ROWS (sizeof(conf_rows) / sizeof(conf_rows[0]))

#endif
