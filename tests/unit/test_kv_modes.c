/*
 * The key-value server in the three modes, over a connection that is only pretended: the calls
 * modes.c makes are replaced by ones that a test scripts. No runtime.
 */
#include <errno.h>
#include <stdlib.h>

#include <ringline.h>

#include "test.h"

static struct {
	const char *const *input; /* what one receive call gives, in order; NULL: end of file */
	char sent[256 * 1024];
	size_t sent_len;
	unsigned sends, closes;
	int send_error;	  /* for every send */
	unsigned refused; /* sends that give -EAGAIN first */
	size_t shown, consumed;
	void *user;
} peer;

static ssize_t fake_recv(rln_conn c, rln_view *v)
{
	(void)c;
	CHECK_INT(peer.consumed, ==, peer.shown);
	if (!*peer.input)
		return 0;
	*v = (rln_view){ (const uint8_t *)*peer.input, strlen(*peer.input) };
	peer.input++;
	return (ssize_t)v->len;
}

static ssize_t fake_fill(rln_conn c, rln_view *v)
{
	ssize_t n = fake_recv(c, v);

	peer.shown += n > 0 ? v->len : 0;
	return n;
}

static int fake_consume(rln_conn c, size_t n)
{
	(void)c;
	peer.consumed += n;
	return 0;
}

static ssize_t fake_send(rln_conn c, const void *p, size_t n)
{
	(void)c;
	peer.sends++;
	if (peer.send_error != 0)
		return peer.send_error;
	CHECK(n > 0 && n < sizeof peer.sent - peer.sent_len);
	memcpy(peer.sent + peer.sent_len, p, n);
	peer.sent_len += n;
	peer.sent[peer.sent_len] = '\0';
	return (ssize_t)n;
}

static int fake_send_nowait(rln_conn c, const void *p, size_t n)
{
	ssize_t sent;

	if (peer.refused > 0) {
		peer.refused--;
		return -EAGAIN;
	}
	sent = fake_send(c, p, n);
	return sent < 0 ? (int)sent : 0;
}

static int fake_close(rln_conn c)
{
	(void)c;
	peer.closes++;
	return 0;
}

static void fake_set_user(rln_conn c, void *p)
{
	(void)c;
	peer.user = p;
}

static void *fake_user(rln_conn c)
{
	(void)c;
	return peer.user;
}

#define rln_recv fake_recv
#define rln_fill fake_fill
#define rln_consume fake_consume
#define rln_send fake_send
#define rln_send_nowait fake_send_nowait
#define rln_close fake_close
#define rln_set_user fake_set_user
#define rln_user fake_user
#include "kv/modes.c"

static const rln_conn conn = { 1 };

static void open_mode(rln_listen_opts *o, enum kv_mode mode, const char *const *input)
{
	struct kv *kv = kv_new();

	CHECK(kv != NULL);
	kv_listen_opts(kv, mode, "127.0.0.1:0", o);
	CHECK_STR(o->addr, "127.0.0.1:0");
	CHECK(o->on_close != NULL);
	memset(&peer, 0, sizeof peer);
	peer.input = input;
}

static void close_mode(rln_listen_opts *o)
{
	o->on_close(conn, 0, o->arg);
	CHECK(peer.user == NULL);
	o->on_close(conn, 0, o->arg); /* a connection that never had a session */
	kv_free(o->arg);
}

static size_t give(rln_listen_opts *o, const char *text)
{
	return o->cb->data(conn, (const uint8_t *)text, strlen(text), o->arg);
}

TEST(kv_modes_task_answers_each_fill_in_one_send)
{
	static const char *const input[] = { "set a 1\r\nincr a\r\nge", "t a\r\nping", "\r\n",
					     NULL };
	rln_listen_opts o;

	open_mode(&o, KV_TASK, input);
	CHECK(!o.on_request && !o.cb);
	o.on_conn(conn, o.arg);
	CHECK_STR(peer.sent, "+OK\r\n:2\r\n$1\r\n2\r\n+PONG\r\n");
	CHECK_INT(peer.sends, ==, 3);
	CHECK_INT(peer.consumed, ==, peer.shown);
	close_mode(&o);
}

TEST(kv_modes_task_ends_after_quit_error_and_failed_send)
{
	static const char *const quit[] = { "ping\r\nquit\r\nping\r\n", "ping\r\n", NULL };
	static const char *const bad[] = { "*x\r\n", "ping\r\n", NULL };
	rln_listen_opts o;

	open_mode(&o, KV_TASK, quit);
	o.on_conn(conn, o.arg);
	CHECK_STR(peer.sent, "+PONG\r\n+OK\r\n");
	CHECK(peer.input == quit + 1);
	close_mode(&o);
	open_mode(&o, KV_TASK, bad);
	o.on_conn(conn, o.arg);
	CHECK_STR(peer.sent, "-ERR Protocol error: invalid multibulk length\r\n");
	CHECK(peer.input == bad + 1);
	close_mode(&o);
	open_mode(&o, KV_TASK, quit);
	peer.send_error = -EPIPE;
	o.on_conn(conn, o.arg);
	CHECK_INT(peer.sends, ==, 1);
	close_mode(&o);
}

TEST(kv_modes_request_keeps_its_session_between_requests)
{
	static const char *const input[] = { "set a 1\r\nge", "t a\r\n", "quit\r\n", NULL };
	rln_listen_opts o;

	open_mode(&o, KV_REQUEST, input);
	CHECK(!o.on_conn && !o.cb);
	CHECK_INT(o.on_request(conn, o.arg), ==, RLN_KEEP);
	CHECK_STR(peer.sent, "+OK\r\n");
	CHECK_INT(o.on_request(conn, o.arg), ==, RLN_KEEP);
	CHECK_STR(peer.sent, "+OK\r\n$1\r\n1\r\n");
	CHECK_INT(o.on_request(conn, o.arg), ==, RLN_CLOSE);
	CHECK_STR(peer.sent, "+OK\r\n$1\r\n1\r\n+OK\r\n");
	CHECK_INT(o.on_request(conn, o.arg), ==, RLN_CLOSE); /* end of file */
	close_mode(&o);
	open_mode(&o, KV_REQUEST, input);
	peer.send_error = -ECONNRESET;
	CHECK_INT(o.on_request(conn, o.arg), ==, -ECONNRESET);
	close_mode(&o);
}

TEST(kv_modes_callback_takes_everything_and_replies)
{
	rln_listen_opts o;

	open_mode(&o, KV_CALLBACK, NULL);
	CHECK(!o.on_conn && !o.on_request);
	CHECK_INT(give(&o, "set a 1\r\nincr"), ==, 13);
	CHECK_STR(peer.sent, "+OK\r\n");
	CHECK_INT(give(&o, " a\r\n"), ==, 4);
	CHECK_STR(peer.sent, "+OK\r\n:2\r\n");
	CHECK_INT(peer.closes, ==, 0);
	close_mode(&o);
}

TEST(kv_modes_callback_runs_refused_command_once_and_keeps_its_reply)
{
	rln_listen_opts o;

	open_mode(&o, KV_CALLBACK, NULL);
	peer.refused = 2;
	CHECK_INT(give(&o, "incr a\r\nincr a\r\n"), ==, 16);
	CHECK_INT(peer.sent_len, ==, 0);
	CHECK_INT(give(&o, "incr a\r\n"), ==, 0);
	o.cb->writable(conn, o.arg);
	CHECK_INT(peer.sent_len, ==, 0);
	CHECK_INT(give(&o, "incr a\r\n"), ==, 0);
	o.cb->writable(conn, o.arg);
	CHECK_STR(peer.sent, ":1\r\n:2\r\n");
	o.cb->writable(conn, o.arg);
	CHECK_STR(peer.sent, ":1\r\n:2\r\n");
	CHECK_INT(give(&o, "incr a\r\n"), ==, 8);
	CHECK_STR(peer.sent, ":1\r\n:2\r\n:3\r\n");
	close_mode(&o);
}

TEST(kv_modes_callback_closes_after_the_refused_reply_went_out)
{
	rln_listen_opts o;

	open_mode(&o, KV_CALLBACK, NULL);
	peer.refused = 1;
	CHECK_INT(give(&o, "quit\r\nping\r\n"), ==, 12);
	CHECK_INT(peer.closes, ==, 0);
	CHECK_INT(give(&o, "ping\r\n"), ==, 6);
	o.cb->writable(conn, o.arg);
	CHECK_STR(peer.sent, "+OK\r\n");
	CHECK_INT(peer.closes, ==, 1);
	close_mode(&o);
}

TEST(kv_modes_callback_closes_on_malformed_input_and_failed_send)
{
	rln_listen_opts o;

	open_mode(&o, KV_CALLBACK, NULL);
	CHECK_INT(give(&o, "*x\r\nping\r\n"), ==, 10);
	CHECK_STR(peer.sent, "-ERR Protocol error: invalid multibulk length\r\n");
	CHECK_INT(peer.closes, ==, 1);
	close_mode(&o);
	open_mode(&o, KV_CALLBACK, NULL);
	CHECK_INT(give(&o, "POST / HTTP/1.1\r\n"), ==, 17);
	CHECK_INT(peer.sends, ==, 0);
	CHECK_INT(peer.closes, ==, 1);
	close_mode(&o);
	open_mode(&o, KV_CALLBACK, NULL);
	peer.send_error = -EPIPE;
	CHECK_INT(give(&o, "ping\r\n"), ==, 6);
	CHECK_INT(peer.closes, ==, 1);
	close_mode(&o);
}

TEST(kv_modes_writable_without_a_session_does_nothing)
{
	rln_listen_opts o;

	open_mode(&o, KV_CALLBACK, NULL);
	o.cb->writable(conn, o.arg);
	CHECK_INT(peer.closes, ==, 0);
	close_mode(&o);
}

/* Replies far beyond one send, with a refusal between two of them. */
TEST(kv_modes_callback_big_replies_stop_at_each_refusal)
{
	static char set[40000], gets[8 * 7 + 1];
	size_t off = 0, reply = 39980 + strlen("$39980\r\n\r\n");
	rln_listen_opts o;

	open_mode(&o, KV_CALLBACK, NULL);
	strcpy(set, "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$39980\r\n");
	CHECK_INT(give(&o, set), ==, strlen(set));
	memset(set, 'v', 39980);
	strcpy(set + 39980, "\r\n");
	CHECK_INT(give(&o, set), ==, 39982);
	CHECK_STR(peer.sent, "+OK\r\n");
	for (int i = 0; i < 6; i++)
		strcat(gets, "get k\r\n");
	peer.refused = 1;
	while (gets[off] != '\0') {
		size_t took = give(&o, gets + off);

		CHECK_INT(peer.sends, <=, 1 + (off + took) / 14);
		off += took;
		if (took == 0)
			o.cb->writable(conn, o.arg);
	}
	CHECK_INT(peer.sent_len, ==, 5 + 6 * reply);
	close_mode(&o);
}
