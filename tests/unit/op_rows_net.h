/* Rows of the kinds that make, ask and end connections. */
#ifndef RINGLINE_TESTS_OP_ROWS_NET_H
#define RINGLINE_TESTS_OP_ROWS_NET_H

#include "op_rows.h"

static void row_accept(void)
{
	struct run r;
	struct sockaddr_in peer = { 0 }, local;
	int fd;

	run_init(&r, OP_ACCEPT);
	r.io.a.fd = listener();
	r.io.a.buf = &peer;
	r.io.a.addr_bytes = sizeof(peer);
	run_submit(&r);
	bed_turn(&bed, 0);
	CHECK_INT(r.n, ==, 0);
	fd = connect_to(r.io.a.fd);
	local = bound_to(fd);
	run_finish(&r);
	CHECK_INT(r.ev[0].res, >=, 0);
	CHECK_INT(fcntl(r.ev[0].res, F_GETFD), ==, FD_CLOEXEC);
	CHECK_INT(r.io.a.addr_bytes, ==, sizeof(peer));
	CHECK_INT(peer.sin_port, ==, local.sin_port);
	close(r.ev[0].res);
	close(fd);
	close(r.io.a.fd);
}

static void row_accept_direct(void)
{
	struct run r;
	int l = listener(), fd[2];

	fd[0] = connect_to(l);
	fd[1] = connect_to(l);
	run_init(&r, OP_ACCEPT);
	into_slot(&bed, l, 4); /* the listener itself is a direct descriptor as well */
	close(l);
	r.io.a.fd = 4;
	r.io.a.fixed = true;
	r.io.a.slot = 5;
	CHECK_INT(run_sync(&r), ==, 0);
	slot_sends(5, "five");
	expect(fd[0], "five");
	r.io.a.slot = OP_SLOT_AUTO;
	CHECK_INT(run_sync(&r), ==, 0); /* the first automatic one */
	slot_sends(0, "zero");
	expect(fd[1], "zero");
	close(fd[0]);
	close(fd[1]);
}

static void row_accept_not_listening(void)
{
	struct run r;

	run_init(&r, OP_ACCEPT);
	r.io.a.fd = bound_socket(SOCK_STREAM);
	CHECK_INT(run_sync(&r), ==, -EINVAL);
	close(r.io.a.fd);
}

static void row_accept_multi(void)
{
	struct run r;
	int fd[3];

	run_init(&r, OP_ACCEPT_MULTI);
	r.io.a.fd = listener();
	r.io.a.slot = OP_SLOT_AUTO;
	run_submit(&r);
	for (unsigned i = 0; i < 3; i++) {
		fd[i] = connect_to(r.io.a.fd);
		run_await(&r, i + 1);
		CHECK_INT(r.ev[i].res, ==, i);
		CHECK(!r.ev[i].last);
	}
	slot_sends(2, "third");
	expect(fd[2], "third");
	run_cancel(&r);
	CHECK_INT(r.n, ==, 4);
	CHECK_INT(r.ev[3].res, ==, -ECANCELED);
	for (unsigned i = 0; i < 3; i++)
		close(fd[i]);
	close(r.io.a.fd);
}

/* The client that finds no slot is taken, killed, and ends the accept. */
static void row_accept_multi_table_full(void)
{
	struct run r;
	int fd[AUTO_SLOTS + 1];
	char c;

	run_init(&r, OP_ACCEPT_MULTI);
	r.io.a.fd = listener();
	r.io.a.slot = OP_SLOT_AUTO;
	run_submit(&r);
	for (unsigned i = 0; i <= AUTO_SLOTS; i++) {
		fd[i] = connect_to(r.io.a.fd);
		run_await(&r, i + 1);
	}
	run_finish(&r);
	CHECK_INT(r.n, ==, AUTO_SLOTS + 1);
	CHECK_INT(r.ev[AUTO_SLOTS].res, ==, -ENFILE);
	CHECK_INT(recv(fd[AUTO_SLOTS], &c, 1, 0), <=, 0);
	for (unsigned i = 0; i <= AUTO_SLOTS; i++)
		close(fd[i]);
	close(r.io.a.fd);
}

static void connect_init(struct run *r, const struct sockaddr_in *to)
{
	run_init(r, OP_CONNECT);
	r->io.a.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	r->io.a.addr = to;
	r->io.a.addr_bytes = sizeof(*to);
}

static void row_connect(void)
{
	struct run r;
	int l = listener(), fd;
	struct sockaddr_in to = bound_to(l);

	connect_init(&r, &to);
	CHECK_INT(run_sync(&r), ==, 0);
	fd = accept4(l, NULL, NULL, SOCK_CLOEXEC);
	put(r.io.a.fd, "hello");
	expect(fd, "hello");
	close(fd);
	close(r.io.a.fd);
	close(l);
}

static void row_connect_refused(void)
{
	struct run r;
	int fd = bound_socket(SOCK_STREAM); /* keeps the port and does not listen */
	struct sockaddr_in to = bound_to(fd);

	connect_init(&r, &to);
	CHECK_INT(run_sync(&r), ==, -ECONNREFUSED);
	close(r.io.a.fd);
	close(fd);
}

static void row_shutdown(void)
{
	struct run r;
	struct pair p;
	char c;

	pair_open(&p);
	run_init(&r, OP_SHUTDOWN);
	r.io.a.fd = p.fd[0];
	r.io.a.flags = SHUT_WR;
	CHECK_INT(run_sync(&r), ==, 0);
	CHECK_INT(recv(p.fd[1], &c, 1, 0), ==, 0);
	put(p.fd[1], "other way"); /* only half is closed */
	expect(p.fd[0], "other way");
	pair_close(&p);
	r.io.a.fd = bound_socket(SOCK_STREAM);
	CHECK_INT(run_sync(&r), ==, -ENOTCONN);
	close(r.io.a.fd);
}

static void socket_init(struct run *r, int slot)
{
	run_init(r, OP_SOCKET);
	r->io.a.fd = AF_INET;
	r->io.a.flags = SOCK_STREAM;
	r->io.a.len = IPPROTO_TCP;
	r->io.a.slot = slot;
}

static void row_socket(void)
{
	struct run r;
	int fd;

	socket_init(&r, OP_SLOT_NONE);
	fd = run_sync(&r);
	CHECK_INT(fd, >=, 0);
	CHECK_INT(fcntl(fd, F_GETFD), ==, FD_CLOEXEC);
	close(fd);
	r.io.a.fd = -7;
	CHECK_INT(run_sync(&r), ==, -EAFNOSUPPORT);
}

static void row_socket_direct(void)
{
	struct run r, c;
	int l = listener(), fd;
	struct sockaddr_in to = bound_to(l);

	socket_init(&r, OP_SLOT_AUTO);
	CHECK_INT(run_sync(&r), ==, 0);
	socket_init(&r, 6);
	CHECK_INT(run_sync(&r), ==, 0);
	run_init(&c, OP_CONNECT);
	c.io.a.fd = 6;
	c.io.a.fixed = true;
	c.io.a.addr = &to;
	c.io.a.addr_bytes = sizeof(to);
	CHECK_INT(run_sync(&c), ==, 0);
	fd = accept4(l, NULL, NULL, SOCK_CLOEXEC);
	slot_sends(6, "direct");
	expect(fd, "direct");
	close(fd);
	close(l);
}

#ifndef SO_PEERNAME
#define SO_PEERNAME 28
#endif

static int socket_cmd(uint32_t cmd, int fd, bool fixed, uint32_t level, uint32_t name, void *v,
		      uint32_t bytes)
{
	struct run r;

	sock_init(&r, OP_SOCKET_CMD, fd, v, bytes);
	r.io.a.fixed = fixed;
	r.io.a.cmd_op = cmd;
	r.io.a.level = level;
	r.io.a.name = name;
	return run_sync(&r);
}

static void row_socket_cmd(void)
{
	struct pair p;
	int v = 0, res;
	struct sockaddr_in peer = { 0 }, expected;
	struct sockaddr_in6 wrong;

	pair_open(&p);
	into_slot(&bed, p.fd[0], 5);
	res = socket_cmd(RU_SOCKET_URING_OP_GETSOCKOPT, 5, true, SOL_SOCKET, SO_TYPE, &v,
			 sizeof(v));
	if (res == -EOPNOTSUPP)
		SKIP("socket_cmd: this kernel has no socket options by command");
	CHECK_INT(res, ==, sizeof(v));
	CHECK_INT(v, ==, SOCK_STREAM);
	v = 1;
	res = socket_cmd(RU_SOCKET_URING_OP_SETSOCKOPT, 5, true, SOL_SOCKET, SO_KEEPALIVE, &v,
			 sizeof(v));
	CHECK_INT(res, ==, 0);
	v = 0;
	res = socket_cmd(RU_SOCKET_URING_OP_GETSOCKOPT, p.fd[0], false, SOL_SOCKET, SO_KEEPALIVE,
			 &v, sizeof(v));
	CHECK_INT(res, ==, sizeof(v));
	CHECK_INT(v, ==, 1);
	res = socket_cmd(RU_SOCKET_URING_OP_GETSOCKOPT, 5, true, SOL_SOCKET, SO_PEERNAME, &peer,
			 sizeof(peer));
	CHECK_INT(res, ==, sizeof(peer));
	expected = bound_to(p.fd[1]);
	CHECK_INT(peer.sin_port, ==, expected.sin_port);
	res = socket_cmd(RU_SOCKET_URING_OP_GETSOCKOPT, 5, true, SOL_SOCKET, SO_PEERNAME, &wrong,
			 sizeof(wrong));
	CHECK_INT(res, ==, -EINVAL); /* its length must be the family's */
	pair_close(&p);
}

static void row_socket_cmd_fails(void)
{
	struct pair p;
	int v = 0;

	pair_open(&p);
	CHECK_INT(
		socket_cmd(RU_SOCKET_URING_OP_SETSOCKOPT, 6, true, SOL_SOCKET, SO_KEEPALIVE, &v, 4),
		==, -EBADF);
	CHECK_INT(socket_cmd(999, p.fd[0], false, SOL_SOCKET, SO_TYPE, &v, 4), ==, -EOPNOTSUPP);
	pair_close(&p);
}

#define ROWS_NET                                                                                 \
	{ OP_ACCEPT, "fd and address", row_accept }, { OP_ACCEPT, "direct", row_accept_direct }, \
		{ OP_ACCEPT, "not listening", row_accept_not_listening },                        \
		{ OP_ACCEPT_MULTI, "three clients, then cancelled", row_accept_multi },          \
		{ OP_ACCEPT_MULTI, "table full", row_accept_multi_table_full },                  \
		{ OP_CONNECT, "listener", row_connect },                                         \
		{ OP_CONNECT, "refused", row_connect_refused },                                  \
		{ OP_SHUTDOWN, "write side, and not connected", row_shutdown },                  \
		{ OP_SOCKET, "fd, and bad family", row_socket },                                 \
		{ OP_SOCKET, "direct", row_socket_direct },                                      \
		{ OP_SOCKET_CMD, "get and set", row_socket_cmd },                                \
		{ OP_SOCKET_CMD, "fails", row_socket_cmd_fails },

#endif
