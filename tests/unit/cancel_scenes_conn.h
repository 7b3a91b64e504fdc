/* The scenes of cancel_table.def about connections: one end is the worker's, the other the test's.
 */
#ifndef RINGLINE_TESTS_CANCEL_SCENES_CONN_H
#define RINGLINE_TESTS_CANCEL_SCENES_CONN_H

#include "cancel_rig.h"
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static rln_conn conn;
static int peer = -1;
static size_t queued, got; /* bytes: given to the connection, read by the peer */

static void pair_new(void)
{
	int sv[2];

	CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, sv) == 0);
	CHECK_INT(rln_adopt_fd(sv[0], &conn), ==, 0);
	peer = sv[1];
	queued = got = 0;
}

static void conn_end(void)
{
	(void)rln_close(conn);
}

/* ---- receiving: "line\n", once */

#define LINE "line\n"

static void put_line(void)
{
	CHECK_INT(send(peer, LINE, 5, MSG_NOSIGNAL), ==, 5);
}

/* Where the row says it succeeded, nothing is left; where it was closed, it is. */
static void input_taken(void)
{
	rln_view v;
	ssize_t r = rln_try_recv(conn, &v);

	CHECK(r == -EAGAIN || r == -EBADF);
	conn_end();
	close(peer);
}

static long line_of(ssize_t r, const rln_view *v)
{
	if (r > 0)
		CHECK(r == 5 && memcmp(v->data, LINE, 5) == 0);
	return r;
}

static long call_recv(void)
{
	rln_view v = { 0 };
	return line_of(rln_recv(conn, &v), &v);
}

static long shown(ssize_t r, const rln_view *v)
{
	line_of(r, v);
	if (r > 0)
		CHECK_INT(rln_consume(conn, (size_t)r), ==, 0);
	return r;
}

static long call_fill(void)
{
	rln_view v = { 0 };
	return shown(rln_fill(conn, &v), &v);
}

static long call_peek(void)
{
	rln_view v = { 0 };
	return shown(rln_peek(conn, 5, &v), &v);
}

static long call_recv_exact(void)
{
	rln_view v = { 0 };
	return line_of(rln_recv_exact(conn, 5, &v), &v);
}

static long call_recv_until(void)
{
	rln_view v = { 0 };
	return line_of(rln_recv_until(conn, "\n", 100, &v), &v);
}

static long call_recv_into(void)
{
	char b[5];
	return line_of(rln_recv_into(conn, b, sizeof b), &(rln_view){ (uint8_t *)b, 5 });
}

static long call_recv_full(void)
{
	char b[5];
	return line_of(rln_recv_full(conn, b, sizeof b), &(rln_view){ (uint8_t *)b, 5 });
}

static long call_recv_buf(void)
{
	rln_buf b = { 0 };
	ssize_t n = rln_recv_buf(conn, &b);
	long r = line_of(n, &(rln_view){ b.data, b.len });

	rln_buf_release(&b);
	return r;
}

#define RECV_SCENE(name)                                                    \
	static const struct scene scene_rln_##name = { .setup = pair_new,   \
						       .call = call_##name, \
						       .satisfy = put_line, \
						       .good = 5,           \
						       .close = conn_end,   \
						       .teardown = input_taken }
RECV_SCENE(recv);
RECV_SCENE(fill);
RECV_SCENE(peek);
RECV_SCENE(recv_exact);
RECV_SCENE(recv_until);
RECV_SCENE(recv_into);
RECV_SCENE(recv_full);
RECV_SCENE(recv_buf);

/* ---- sending: the queue is full, and the peer does not read */

static uint8_t block[16384];

static void stuff(void)
{
	int r, full = 0;

	pair_new();
	while (full < 3) { /* until it stays full although the worker goes on */
		while ((r = rln_send_nowait(conn, block, sizeof block)) == 0)
			queued += sizeof block;
		CHECK_INT(r, ==, -EAGAIN);
		struct ctx *before = ctx_current_;
		ctx_current_ = NULL;
		steps(3);
		ctx_current_ = before;
		full = rln_send_nowait(conn, block, sizeof block) == -EAGAIN ? full + 1 : 0;
		queued += full ? 0 : sizeof block;
	}
}

static void peer_reads(void)
{
	static uint8_t sink[1 << 20];
	ssize_t n;

	while ((n = recv(peer, sink, sizeof sink, MSG_DONTWAIT)) > 0)
		got += (size_t)n;
}

static long sent(ssize_t r)
{
	queued += r > 0 ? (size_t)r : 0;
	return r;
}

static long call_send(void)
{
	return sent(rln_send(conn, block, 100));
}

static long call_sendv(void)
{
	struct iovec iov[2] = { { block, 60 }, { block, 40 } };
	return sent(rln_sendv(conn, iov, 2));
}

static long call_send_pieces(void)
{
	rln_piece pc[2] = { { .data = block, .len = 60 }, { .data = block, .len = 40 } };
	return sent(rln_send_pieces(conn, pc, 2));
}

static long call_flush(void)
{
	return rln_flush(conn);
}

/* Every byte that was accepted arrives, and no other. */
static void all_arrives(void)
{
	char c;
	ssize_t n = -1;
	int64_t limit_ns = test_now_ns() + INT64_C(25000000000);
	struct ctx *before = ctx_current_;

	conn_end();
	ctx_current_ = NULL;
	while (n != 0) {
		peer_reads();
		n = recv(peer, &c, 1, MSG_DONTWAIT);
		got += n > 0;
		step();
		CHECK(test_now_ns() < limit_ns);
	}
	ctx_current_ = before;
	expect_("bytes at the peer", (long long)got, (long long)queued);
	close(peer);
}

#define SEND_SCENE(name, result)                                              \
	static const struct scene scene_rln_##name = { .setup = stuff,        \
						       .call = call_##name,   \
						       .satisfy = peer_reads, \
						       .keep_on = true,       \
						       .good = result,        \
						       .close = conn_end,     \
						       .teardown = all_arrives }
SEND_SCENE(send, 100);
SEND_SCENE(sendv, 100);
SEND_SCENE(send_pieces, 100);
SEND_SCENE(flush, 0);

/* ---- accepting */

static rln_listener listener;
static int knocker = -1;
static char unix_name[100];

static void listener_new(void)
{
	char addr[120];

	snprintf(unix_name, sizeof unix_name, "ringline-cancel-%d", getpid());
	snprintf(addr, sizeof addr, "unix:@%s", unix_name);
	CHECK_INT(rln_listen(&(rln_listen_opts){ .addr = addr }, &listener), ==, 0);
}

static void knock(void)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	size_t n = strlen(unix_name);

	memcpy(un.sun_path + 1, unix_name, n);
	knocker = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	CHECK(connect(knocker, (struct sockaddr *)&un,
		      (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + n)) == 0);
}

static long call_accept(void)
{
	rln_conn c;
	int e = rln_accept(listener, &c);

	if (!e)
		CHECK_INT(rln_close(c), ==, 0);
	return e;
}

static void listener_end(void)
{
	(void)rln_listener_close(listener);
	if (knocker >= 0)
		close(knocker);
	knocker = -1;
}

static const struct scene scene_rln_accept = { .setup = listener_new,
					       .call = call_accept,
					       .satisfy = knock,
					       .close = listener_end,
					       .teardown = listener_end };

#endif
