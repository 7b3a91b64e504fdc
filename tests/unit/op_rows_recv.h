/* Rows of the kinds that receive. */
#ifndef RINGLINE_TESTS_OP_ROWS_RECV_H
#define RINGLINE_TESTS_OP_ROWS_RECV_H

#include "op_rows.h"

static void row_not_a_socket(enum op_kind kind)
{
	struct run r;
	struct msghdr msg = { 0 };

	group_fill(&bed, 0, GROUP_BUFS);
	sock_init(&r, kind, event_counter(), &msg, 1);
	r.io.a.group = GROUP;
	CHECK_INT(run_sync(&r), ==, -ENOTSOCK);
	CHECK_INT(r.n, ==, 1);
	close(r.io.a.fd);
}

static void row_recv(void)
{
	struct run r;
	struct pair p;
	char got[16] = { 0 };

	pair_open(&p);
	sock_init(&r, OP_RECV, p.fd[0], got, sizeof(got));
	run_submit(&r);
	bed_turn(&bed, 0);
	CHECK_INT(r.n, ==, 0);
	put(p.fd[1], "ping");
	run_finish(&r);
	CHECK_INT(r.ev[0].res, ==, 4);
	CHECK_STR(got, "ping");
	into_slot(&bed, p.fd[0], 5);
	r.io.a.fd = 5;
	r.io.a.fixed = true;
	put(p.fd[1], "pong");
	CHECK_INT(run_sync(&r), ==, 4);
	CHECK_STR(got, "pong");
	shutdown(p.fd[1], SHUT_WR);
	CHECK_INT(run_sync(&r), ==, 0);
	pair_close(&p);
}

static void row_recv_waitall_only_when_asked(void)
{
	struct run r;
	struct pair p;
	char got[8] = { 0 };

	pair_open(&p);
	sock_init(&r, OP_RECV, p.fd[0], got, 8);
	r.io.a.flags = MSG_WAITALL;
	put(p.fd[1], "1234");
	run_submit(&r);
	bed_turn(&bed, 0);
	CHECK_INT(r.n, ==, 0);
	put(p.fd[1], "5678");
	run_finish(&r);
	CHECK_INT(r.ev[0].res, ==, 8);
	r.io.a.flags = 0;
	put(p.fd[1], "90");
	CHECK_INT(run_sync(&r), ==, 2);
	pair_close(&p);
}

static void row_recv_from_group(void)
{
	struct run r;
	struct pair p;

	pair_open(&p);
	sock_init(&r, OP_RECV, p.fd[0], NULL, 0);
	r.io.a.group = GROUP;
	put(p.fd[1], "grouped");
	CHECK_INT(run_sync(&r), ==, -ENOBUFS);
	group_fill(&bed, 0, 1);
	CHECK_INT(run_sync(&r), ==, 7);
	CHECK_INT(memcmp(event_buf(&r.ev[0]), "grouped", 7), ==, 0);
	pair_close(&p);
}

static void row_recv_fails(void)
{
	struct run r;
	struct pair p;
	char c;

	sock_init(&r, OP_RECV, bound_socket(SOCK_STREAM), &c, 1);
	CHECK_INT(run_sync(&r), ==, -ENOTCONN);
	close(r.io.a.fd);
	pair_open(&p);
	reset(p.fd[1]);
	sock_init(&r, OP_RECV, p.fd[0], &c, 1);
	CHECK_INT(run_sync(&r), ==, -ECONNRESET);
	close(p.fd[0]);
}

static void recv_multi_init(struct run *r, int fd)
{
	run_init(r, OP_RECV_MULTI);
	r->io.a.fd = fd;
	r->io.a.group = GROUP;
}

static void row_recv_multi(void)
{
	static const char *const text[] = { "first", "second" };
	struct run r;
	struct pair p;

	pair_open(&p);
	group_fill(&bed, 0, GROUP_BUFS);
	recv_multi_init(&r, p.fd[0]);
	run_submit(&r);
	for (unsigned i = 0; i < 2; i++) {
		put(p.fd[1], text[i]);
		run_await(&r, i + 1);
		CHECK_INT(r.ev[i].res, ==, strlen(text[i]));
		CHECK(!r.ev[i].last);
		CHECK_INT(memcmp(event_buf(&r.ev[i]), text[i], strlen(text[i])), ==, 0);
	}
	shutdown(p.fd[1], SHUT_WR);
	run_finish(&r);
	CHECK_INT(r.n, ==, 3);
	CHECK_INT(r.ev[2].res, ==, 0);
	pair_close(&p);
}

/* Ends by ENOBUFS with the bytes still in the socket; armed again it goes on. */
static void row_recv_multi_runs_dry(void)
{
	struct run r;
	struct pair p;

	pair_open(&p);
	group_fill(&bed, 0, 1);
	recv_multi_init(&r, p.fd[0]);
	run_submit(&r);
	put(p.fd[1], "one");
	run_await(&r, 1);
	put(p.fd[1], "two");
	run_finish(&r);
	CHECK_INT(r.n, ==, 2);
	CHECK_INT(r.ev[1].res, ==, -ENOBUFS);
	group_fill(&bed, 1, 1);
	r.n = 0;
	run_submit(&r);
	run_await(&r, 1);
	CHECK_INT(r.ev[0].res, ==, 3);
	CHECK_INT(memcmp(event_buf(&r.ev[0]), "two", 3), ==, 0);
	/* KERNEL(6.1): looks for the next buffer before it looks for more data. */
	if (op_busy(&r.io.op)) {
		run_cancel(&r);
		CHECK_INT(r.ev[r.n - 1].res, ==, -ECANCELED);
	} else {
		CHECK_INT(r.ev[r.n - 1].res, ==, -ENOBUFS);
		op_reset(&r.io.op);
	}
	pair_close(&p);
}

static void row_recv_multi_reset(void)
{
	struct run r;
	struct pair p;

	pair_open(&p);
	group_fill(&bed, 0, GROUP_BUFS);
	recv_multi_init(&r, p.fd[0]);
	run_submit(&r);
	bed_turn(&bed, 0);
	reset(p.fd[1]);
	run_finish(&r);
	CHECK_INT(r.n, ==, 1);
	CHECK_INT(r.ev[0].res, ==, -ECONNRESET);
	close(p.fd[0]);
}

/* ---- datagrams with control data */

#define CONTROL_BYTES 64

static void udp_pair(int fd[2])
{
	struct sockaddr_in to;
	int on = 1;

	fd[0] = bound_socket(SOCK_DGRAM);
	fd[1] = bound_socket(SOCK_DGRAM);
	CHECK_INT(setsockopt(fd[0], SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof(on)), ==, 0);
	to = bound_to(fd[0]);
	CHECK_INT(connect(fd[1], (struct sockaddr *)&to, sizeof(to)), ==, 0);
}

/* A stamp may be absent (the first packets after it was asked for); a wrong one may not. */
static unsigned stamp_seen(const struct cmsghdr *c)
{
	struct timespec ts, now;

	CHECK_INT(c->cmsg_level, ==, SOL_SOCKET);
	CHECK_INT(c->cmsg_type, ==, SCM_TIMESTAMPNS);
	CHECK_INT(c->cmsg_len, ==, CMSG_LEN(sizeof(ts)));
	memcpy(&ts, CMSG_DATA(c), sizeof(ts));
	clock_gettime(CLOCK_REALTIME, &now);
	CHECK_INT(now.tv_sec - ts.tv_sec, <=, 60);
	CHECK_INT(now.tv_sec - ts.tv_sec, >=, -1);
	return 1;
}

static void row_recvmsg(void)
{
	_Alignas(struct cmsghdr) char control[CONTROL_BYTES];
	char got[16] = { 0 };
	struct sockaddr_in from = { 0 }, sender;
	struct iovec v = { got, sizeof(got) };
	struct msghdr msg = { 0 };
	struct run r;
	int fd[2];

	udp_pair(fd);
	sender = bound_to(fd[1]);
	msg = (struct msghdr){ .msg_name = &from,
			       .msg_namelen = sizeof(from),
			       .msg_iov = &v,
			       .msg_iovlen = 1,
			       .msg_control = control,
			       .msg_controllen = sizeof(control) };
	sock_init(&r, OP_RECVMSG, fd[0], &msg, 0);
	run_submit(&r);
	bed_turn(&bed, 0);
	put(fd[1], "datagram");
	run_finish(&r);
	CHECK_INT(r.ev[0].res, ==, 8);
	CHECK_STR(got, "datagram");
	CHECK_INT(from.sin_port, ==, sender.sin_port);
	if (CMSG_FIRSTHDR(&msg))
		stamp_seen(CMSG_FIRSTHDR(&msg));
	close(fd[0]);
	close(fd[1]);
}

static void row_recvmsg_fails(void)
{
	row_not_a_socket(OP_RECVMSG);
}

static void datagram_in(const struct op_event *ev, const struct msghdr *msg, const char *text,
			in_port_t port)
{
	struct msghdr layout = *msg;
	uint8_t *buf = event_buf(ev);
	struct io_uring_recvmsg_out *out = io_uring_recvmsg_validate(buf, ev->res, &layout);
	struct sockaddr_in from;
	struct cmsghdr *c;

	CHECK(out);
	CHECK_INT(out->payloadlen, ==, strlen(text));
	CHECK_INT(out->namelen, ==, sizeof(from));
	memcpy(&from, io_uring_recvmsg_name(out), sizeof(from));
	CHECK_INT(from.sin_port, ==, port);
	CHECK_INT(memcmp(io_uring_recvmsg_payload(out, &layout), text, strlen(text)), ==, 0);
	CHECK_INT(out->controllen, <=, CONTROL_BYTES);
	c = io_uring_recvmsg_cmsg_firsthdr(out, &layout);
	if (c)
		stamp_seen(c);
}

static void row_recvmsg_multi(void)
{
	static const char *const text[] = { "alpha", "beta!" };
	struct msghdr msg = { .msg_namelen = sizeof(struct sockaddr_in),
			      .msg_controllen = CONTROL_BYTES };
	struct run r;
	int fd[2];

	udp_pair(fd);
	group_fill(&bed, 0, 2);
	sock_init(&r, OP_RECVMSG_MULTI, fd[0], &msg, 0);
	r.io.a.group = GROUP;
	run_submit(&r);
	for (unsigned i = 0; i < 2; i++) {
		put(fd[1], text[i]);
		run_await(&r, i + 1);
		CHECK(!r.ev[i].last);
		datagram_in(&r.ev[i], &msg, text[i], bound_to(fd[1]).sin_port);
	}
	put(fd[1], "no room");
	run_finish(&r);
	CHECK_INT(r.n, ==, 3);
	CHECK_INT(r.ev[2].res, ==, -ENOBUFS);
	close(fd[0]);
	close(fd[1]);
}

static void row_recvmsg_multi_fails(void)
{
	row_not_a_socket(OP_RECVMSG_MULTI);
}

#define ROWS_RECV                                                                      \
	{ OP_RECV, "data and EOF", row_recv },                                         \
		{ OP_RECV, "MSG_WAITALL", row_recv_waitall_only_when_asked },          \
		{ OP_RECV, "provided buffer", row_recv_from_group },                   \
		{ OP_RECV, "not connected, and reset", row_recv_fails },               \
		{ OP_RECV_MULTI, "data and EOF", row_recv_multi },                     \
		{ OP_RECV_MULTI, "no buffers", row_recv_multi_runs_dry },              \
		{ OP_RECV_MULTI, "reset", row_recv_multi_reset },                      \
		{ OP_RECVMSG, "name and stamp", row_recvmsg },                         \
		{ OP_RECVMSG, "not a socket", row_recvmsg_fails },                     \
		{ OP_RECVMSG_MULTI, "name and stamp, no buffers", row_recvmsg_multi }, \
		{ OP_RECVMSG_MULTI, "not a socket", row_recvmsg_multi_fails },

#endif
