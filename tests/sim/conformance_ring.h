/*
 * Rows of conformance.h: the ring itself, poll, time, chains, buffer groups, messages.
 */
#ifndef RINGLINE_TESTS_SIM_CONFORMANCE_RING_H
#define RINGLINE_TESTS_SIM_CONFORMANCE_RING_H

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
	struct ring r;
	unsigned sent = 0, got = 0;
	struct conf seen = { 0 };
	bool sorted = true;

	conf_other_ring(c, &r, 0);
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
	for (unsigned i = 0; i < seen.cqes; i++)
		sorted &= seen.cqe[i].ud == i + 1;
	conf_say(c, "%u %s", seen.cqes, sorted ? "in order" : "mixed");
	conf_say(c, "dropped %u", *r.u.cq.koverflow);
	ring_close(&r);
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
	struct io_uring_sqe *sqe = conf_sqe(c);
	struct conf seen = { 0 };
	struct ring r;

	conf_other_ring(c, &r, 0);
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

/* A direct descriptor into a slot that the other ring chooses; then that one is full. */
static void row_msg_ring_fd(struct conf *c)
{
	struct conf seen = { 0 };
	struct ring r;

	conf_pair(c);
	conf_other_ring(c, &r, 1);
	for (uint64_t ud = 1; ud <= 3; ud++) {
		struct io_uring_sqe *sqe = conf_sqe(c);

		io_uring_prep_msg_ring(sqe, r.u.ring_fd, 0, 77, 0);
		sqe->addr = IORING_MSG_SEND_FD;
		sqe->addr3 = ud == 3 ? 5 : 0; /* the last: an empty slot */
		sqe->file_index = IORING_FILE_INDEX_ALLOC;
		sqe->user_data = ud;
		conf_get(c, ud);
	}
	while (!ring_reap(&r, 4, conf_take, &seen))
		CHECK_INT(ring_enter(&r, 1, CONF_WAIT_NS), ==, 0);
	conf_say(c, "%u slot %d", seen.cqes, seen.cqe[0].res);
	conf_close_slot(c, 0, 4); /* ours: theirs stays */
	conf_get(c, 4);
	conf_say_peer(c);
	ring_close(&r);
}

/* More messages than the other ring's CQ has entries: none is lost. */
static void row_msg_ring_flood(struct conf *c)
{
	struct conf seen = { 0 };
	unsigned good = 0;
	struct ring r;

	conf_other_ring(c, &r, 0);
	for (uint64_t ud = 1; ud <= 7; ud++) {
		struct io_uring_sqe *sqe = conf_sqe(c);

		io_uring_prep_msg_ring(sqe, r.u.ring_fd, 0, ud, 0);
		sqe->user_data = ud;
		good += conf_result(c, ud) == 0;
	}
	for (int i = 0; i < 8 && seen.cqes < good; i++) {
		CHECK_INT(ring_enter(&r, 1, CONF_QUIET_NS), ==, 0);
		ring_reap(&r, UINT32_MAX, conf_take, &seen);
	}
	conf_say(c, "%u sent %s", good, seen.cqes == good ? "all seen" : "lost");
	ring_close(&r);
}

/* A ring that allows itself NOPs only. */
static void row_restrictions(struct conf *c)
{
	struct io_uring_restriction allow[] = {
		{ .opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_NOP },
		{ .opcode = IORING_RESTRICTION_REGISTER_OP,
		  .register_op = IORING_REGISTER_ENABLE_RINGS },
	};
	struct ring_config rc = { .kernel = c->kernel, .sq_entries = 2, .cq_entries = 4 };
	struct conf seen = { 0 };
	struct io_uring_sqe *sqe;
	struct ring r;

	CHECK_INT(ring_open(&r, &rc, NULL), ==, 0);
	conf_say_res(c, c->kernel->reg(&r.u, IORING_REGISTER_RESTRICTIONS, allow, 2));
	conf_say_res(c, ring_enable(&r, NULL));
	ring_sqe(&r)->user_data = 1;
	sqe = ring_sqe(&r);
	io_uring_prep_close(sqe, 999);
	sqe->user_data = 2;
	while (seen.cqes < 2) {
		CHECK_INT(ring_enter(&r, 1, CONF_WAIT_NS), ==, 0);
		ring_reap(&r, 2, conf_take, &seen);
	}
	for (uint64_t ud = 1; ud <= 2; ud++) {
		const struct conf_cqe *q = conf_find(&seen, ud);

		CHECK(q);
		conf_say_res(c, q->res);
	}
	conf_say_res(c, c->kernel->reg(&r.u, IORING_UNREGISTER_FILES, NULL, 0));
	ring_close(&r);
}

/* A table of direct descriptors counts against the limit of open files, though it uses none. */
static void row_files_above_limit(struct conf *c)
{
	struct io_uring_rsrc_register files = { .flags = IORING_RSRC_REGISTER_SPARSE };
	uint64_t soft, hard;

	CHECK_INT(sys_nofile_raise(&soft, &hard), ==, 0);
	CHECK_INT(ring_register(&c->ring, IORING_UNREGISTER_FILES, NULL, 0), ==, 0);
	files.nr = soft < 1u << 20 ? (uint32_t)soft + 1 : (1u << 20) + 1;
	conf_say_res(c, ring_register(&c->ring, IORING_REGISTER_FILES2, &files, sizeof(files)));
	files.nr = 1u << 21;
	conf_say_res(c, ring_register(&c->ring, IORING_REGISTER_FILES2, &files, sizeof(files)));
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

static void conf_socket_cmd(struct conf *c, uint32_t cmd, uint64_t ud)
{
	struct io_uring_sqe *sqe = conf_sqe(c);

	io_uring_prep_rw(IORING_OP_URING_CMD, sqe, 0, NULL, 0, 0);
	sqe->cmd_op = cmd;
	conf_fixed(sqe, ud);
}

/* What the peer has not taken. */
static void row_outq(struct conf *c)
{
	int n;

	conf_pair(c);
	conf_socket_cmd(c, RU_SOCKET_URING_OP_SIOCOUTQ, 1);
	conf_get(c, 1);
	c->big = sys_zalloc(CONF_BIG);
	conf_send(c, c->big, CONF_BIG, MSG_WAITALL, 2);
	conf_settle(c);
	conf_socket_cmd(c, RU_SOCKET_URING_OP_SIOCOUTQ, 3);
	n = conf_result(c, 3);
	conf_say(c, "%s", n > 0 ? "queued" : "none");
	conf_cancel(c, 2, 4);
	conf_result(c, 2);
}

static void row_fd_install(struct conf *c)
{
	struct io_uring_sqe *sqe;

	conf_pair(c);
	for (unsigned slot = 0; slot < 2; slot++) {
		int fd;

		sqe = conf_sqe(c);
		io_uring_prep_rw(RU_OP_FIXED_FD_INSTALL, sqe, (int)slot, NULL, 0, 0);
		conf_fixed(sqe, 1);
		fd = conf_result(c, 1);
		if (fd >= 0)
			sys_close(fd);
		conf_say(c, "%s", fd > 2 ? "fd" : conf_name(-fd));
	}
	conf_close_slot(c, 0, 2);
	conf_get(c, 2);
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

#endif
