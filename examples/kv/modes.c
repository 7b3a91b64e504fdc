/*
 * The command core on a connection, in ringline's three execution modes. Each feeds what arrives to
 * kv_execute and sends what it wrote; they differ in who waits. kv_execute takes the beginning of
 * an unfinished command too, so no mode leaves input behind in the connection because of one.
 */
#include <errno.h>
#include <stdlib.h>

#include "kv/kv.h"

struct session {
	struct kv_client client;
	struct kv_out out; /* callback mode: what the connection has not yet accepted */
	bool closing;	   /* close once out is gone */
};

static void session_init(struct session *s, struct kv *kv)
{
	*s = (struct session){ .closing = false };
	kv_client_init(&s->client, kv);
}

static void session_fini(struct session *s)
{
	kv_client_fini(&s->client);
	kv_out_free(&s->out);
}

/* The connection's session, made at its first byte: an idle one costs nothing. NULL: no memory. */
static struct session *session_of(rln_conn c, struct kv *kv)
{
	struct session *s = rln_user(c);

	if (s)
		return s;
	s = malloc(sizeof *s);
	if (s) {
		session_init(s, kv);
		rln_set_user(c, s);
	}
	return s;
}

static void on_close(rln_conn c, int err, void *arg)
{
	struct session *s = rln_user(c);

	(void)err;
	(void)arg;
	if (!s)
		return;
	rln_set_user(c, NULL);
	session_fini(s);
	free(s);
}

/*
 * Task and request mode: run what v holds, sending the replies as they fill up, all of them in one
 * call when they are few. Returns 0 or a negative errno.
 */
static int serve(struct session *s, rln_conn c, rln_view v) RLN_WAITS
{
	size_t off = 0;

	while (off < v.len && !s->closing) {
		ssize_t sent = 0;

		off += kv_execute(s->client.kv, &s->client, v.data + off, v.len - off, &s->out,
				  &s->closing);
		if (s->out.len > 0)
			sent = rln_send(c, s->out.data, s->out.len);
		kv_out_clear(&s->out);
		if (sent < 0)
			return (int)sent;
	}
	return 0;
}

/* Task mode: one task, one stack, one loop for the life of the connection. */
static void on_conn(rln_conn c, void *arg)
{
	struct session s;
	rln_view v;

	session_init(&s, arg);
	while (!s.closing && rln_fill(c, &v) > 0) {
		if (serve(&s, c, v) < 0)
			break;
		rln_consume(c, v.len);
	}
	session_fini(&s);
}

/* Request mode: a task while there is input, nothing but the session in between. */
static int on_request(rln_conn c, void *arg)
{
	struct session *s = session_of(c, arg);
	rln_view v;
	ssize_t n;
	int err;

	if (!s)
		return -ENOMEM;
	n = rln_recv(c, &v);
	if (n <= 0)
		return n < 0 ? (int)n : RLN_CLOSE;
	err = serve(s, c, v);
	if (err < 0)
		return err;
	return s->closing ? RLN_CLOSE : RLN_KEEP;
}

/*
 * Callback mode: hand the replies to the connection. Those of commands that have run cannot be made
 * again, so what it refuses stays in s->out until writable. Returns true when nothing is left.
 */
static bool hand_over(struct session *s, rln_conn c)
{
	int err = s->out.len > 0 ? rln_send_nowait(c, s->out.data, s->out.len) : 0;

	if (err == -EAGAIN)
		return false;
	kv_out_clear(&s->out);
	if (err < 0 || s->closing) {
		s->closing = true;
		rln_close(c);
	}
	return true;
}

/* While replies wait for room no command is run: the peer that does not read is not read from. */
static size_t on_data(rln_conn c, const uint8_t *p, size_t n, void *arg)
{
	struct session *s = session_of(c, arg);
	size_t off = 0;

	if (!s) {
		rln_close(c);
		return n;
	}
	if (s->closing)
		return n;
	while (off < n && s->out.len == 0 && !s->closing) {
		off += kv_execute(s->client.kv, &s->client, p + off, n - off, &s->out, &s->closing);
		if (!hand_over(s, c))
			break;
	}
	return s->closing ? n : off;
}

static void on_writable(rln_conn c, void *arg)
{
	struct session *s = rln_user(c);

	(void)arg;
	if (s)
		hand_over(s, c);
}

void kv_listen_opts(struct kv *kv, enum kv_mode mode, const char *addr, rln_listen_opts *out)
{
	static const rln_callbacks callbacks = { .data = on_data, .writable = on_writable };

	*out = (rln_listen_opts){ .addr = addr, .on_close = on_close, .arg = kv };
	switch (mode) {
	case KV_TASK:
		out->on_conn = on_conn;
		break;
	case KV_REQUEST:
		out->on_request = on_request;
		break;
	case KV_CALLBACK:
		out->cb = &callbacks;
		break;
	}
}
