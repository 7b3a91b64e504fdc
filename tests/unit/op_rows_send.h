/* Rows of the kinds that send. */
#ifndef RINGLINE_TESTS_OP_ROWS_SEND_H
#define RINGLINE_TESTS_OP_ROWS_SEND_H

#include "op_rows.h"

static struct msghdr gather; /* "scatter" in three pieces */
static struct iovec gather_iov[3] = { { (void *)"sca", 3 },
				      { (void *)"tt", 2 },
				      { (void *)"er", 2 } };

static void send_init(struct run *r, enum op_kind kind, int fd)
{
	bool msg = kind == OP_SENDMSG || kind == OP_SENDMSG_ZC;

	gather = (struct msghdr){ .msg_iov = gather_iov, .msg_iovlen = 3 };
	if (msg)
		sock_init(r, kind, fd, &gather, 0);
	else
		sock_init(r, kind, fd, "scatter", 7);
}

/*
 * All of one send: its result, and, when F_MORE promised it, the notification. Whether one comes
 * is never read from the result.
 */
static int send_result(struct run *r)
{
	bool zc = op_kind_props(r->io.op.cls->kind) & OPK_ZC;
	int res = run_sync(r);

	CHECK(!(r->ev[0].flags & IORING_CQE_F_NOTIF));
	if (!zc)
		CHECK_INT(r->n, ==, 1);
	CHECK_INT(r->n, ==, r->ev[0].flags & IORING_CQE_F_MORE ? 2 : 1);
	if (r->n == 2)
		CHECK(r->ev[1].flags & IORING_CQE_F_NOTIF);
	return res;
}

/* Linux adds MSG_NOSIGNAL by itself; another kernel behind the ring may rely on the SQE. */
static void sends_no_signal(struct run *r)
{
	const struct io_uring_sq *sq = &bed.ring.u.sq;

	r->n = 0;
	run_submit(r);
	CHECK(sq->sqes[(sq->sqe_tail - 1) & sq->ring_mask].msg_flags & MSG_NOSIGNAL);
	run_finish(r);
}

static void send_works(enum op_kind kind)
{
	struct run r;
	struct pair p;

	pair_open(&p);
	send_init(&r, kind, p.fd[0]);
	CHECK_INT(send_result(&r), ==, 7);
	if (op_kind_props(kind) & OPK_ZC)
		CHECK_INT(r.n, ==, 2);
	expect(p.fd[1], "scatter");
	into_slot(&bed, p.fd[0], 5);
	r.io.a.fd = 5;
	r.io.a.fixed = true;
	CHECK_INT(send_result(&r), ==, 7);
	expect(p.fd[1], "scatter");
	sends_no_signal(&r);
	expect(p.fd[1], "scatter");
	pair_close(&p);
}

static void send_fails(enum op_kind kind)
{
	struct run r;
	struct pair p;

	send_init(&r, kind, -1);
	CHECK_INT(send_result(&r), ==, -EBADF);
	pair_open(&p);
	shutdown(p.fd[0], SHUT_WR);
	send_init(&r, kind, p.fd[0]);
	CHECK_INT(send_result(&r), ==, -EPIPE); /* and no SIGPIPE, or we were not here */
	pair_close(&p);
	pair_open(&p);
	reset(p.fd[1]);
	send_init(&r, kind, p.fd[0]);
	CHECK_INT(send_result(&r), ==, -ECONNRESET);
	close(p.fd[0]);
}

static void row_send(void)
{
	send_works(OP_SEND);
}

static void row_send_fails(void)
{
	send_fails(OP_SEND);
}

static void row_sendmsg(void)
{
	send_works(OP_SENDMSG);
}

static void row_sendmsg_fails(void)
{
	send_fails(OP_SENDMSG);
}

static void row_send_zc(void)
{
	send_works(OP_SEND_ZC);
}

static void row_send_zc_fails(void)
{
	send_fails(OP_SEND_ZC);
}

static void row_sendmsg_zc(void)
{
	send_works(OP_SENDMSG_ZC);
}

static void row_sendmsg_zc_fails(void)
{
	send_fails(OP_SENDMSG_ZC);
}

static void send_to(enum op_kind kind)
{
	struct run r;
	int fd[2] = { bound_socket(SOCK_DGRAM), bound_socket(SOCK_DGRAM) };
	struct sockaddr_in to = bound_to(fd[1]);

	send_init(&r, kind, fd[0]);
	CHECK_INT(send_result(&r), ==, -EDESTADDRREQ);
	r.io.a.addr = &to;
	r.io.a.addr_bytes = sizeof(to);
	CHECK_INT(send_result(&r), ==, 7);
	expect(fd[1], "scatter");
	close(fd[0]);
	close(fd[1]);
}

static void row_send_to(void)
{
	send_to(OP_SEND);
}

static void row_send_zc_to(void)
{
	send_to(OP_SEND_ZC);
}

static void row_send_zc_from_region(void)
{
	struct run r;
	struct pair p;

	pair_open(&p);
	memcpy(bed.region + 50, "registered", 10);
	sock_init(&r, OP_SEND_ZC, p.fd[0], bed.region + 50, 10);
	r.io.a.use_region = true;
	CHECK_INT(send_result(&r), ==, 10);
	expect(p.fd[1], "registered");
	r.io.a.region = 1; /* no such region */
	CHECK_INT(send_result(&r), ==, -EFAULT);
	pair_close(&p);
}

/*
 * What the peer does not read keeps the memory: the op stays LIVE after its result, a cancel does
 * not change that and may be asked for again, and only the peer's reading ends it.
 */
static void row_send_zc_late_notification(void)
{
	enum { BYTES = 256 << 10 };
	static uint8_t big[BYTES], sink[BYTES];
	struct op_cancel by;
	struct run r;
	struct pair p;
	int small = 32 << 10, l = bound_socket(SOCK_STREAM);

	CHECK_INT(setsockopt(l, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small)), ==, 0);
	CHECK_INT(listen(l, 1), ==, 0);
	p.fd[0] = connect_to(l);
	p.fd[1] = accept4(l, NULL, NULL, SOCK_CLOEXEC);
	sock_init(&r, OP_SEND_ZC, p.fd[0], big, BYTES);
	run_submit(&r);
	run_await(&r, 1);
	CHECK_INT(r.ev[0].res, >, small);
	CHECK(!r.ev[0].last);
	op_cancel_init(&by, NULL);
	for (unsigned i = 0; i < 2; i++) {
		CHECK(op_cancel_with(&bed.ops, &r.io.op, &by));
		while (op_busy(&by.op))
			bed_turn(&bed, TURN_LIMIT_NS);
		CHECK(op_busy(&r.io.op));
		CHECK(!r.io.op.cancelling);
		CHECK_INT(r.n, ==, 1);
	}
	/* In pieces: what the ring has to do interrupts a receive that waits for all. */
	for (ssize_t n = 0, got; n < r.ev[0].res; n += got) {
		got = recv(p.fd[1], sink, (size_t)(r.ev[0].res - n), 0);
		if (got < 0 && errno == EINTR)
			got = 0;
		CHECK_INT(got, >=, 0);
	}
	run_finish(&r);
	CHECK_INT(r.n, ==, 2);
	CHECK(r.ev[1].flags & IORING_CQE_F_NOTIF);
	CHECK_INT(bed.ops.late_cancels, ==, 1);
	pair_close(&p);
	close(l);
}

#define ROWS_SEND                                                                                  \
	{ OP_SEND, "data", row_send }, { OP_SEND, "fails", row_send_fails },                       \
		{ OP_SEND, "datagram to an address", row_send_to },                                \
		{ OP_SENDMSG, "gather", row_sendmsg }, { OP_SENDMSG, "fails", row_sendmsg_fails }, \
		{ OP_SEND_ZC, "data", row_send_zc }, { OP_SEND_ZC, "fails", row_send_zc_fails },   \
		{ OP_SEND_ZC, "datagram to an address", row_send_zc_to },                          \
		{ OP_SEND_ZC, "registered memory", row_send_zc_from_region },                      \
		{ OP_SEND_ZC, "late notification", row_send_zc_late_notification },                \
		{ OP_SENDMSG_ZC, "gather", row_sendmsg_zc },                                       \
		{ OP_SENDMSG_ZC, "fails", row_sendmsg_zc_fails },

#endif
