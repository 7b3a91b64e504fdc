/*
 * Echo servers in the three modes, with every way to receive and to send, at times slow, rude, or
 * passing their connection to another worker.
 */
#include "play.h"

static unsigned other_worker(void)
{
	unsigned n = (unsigned)play_rand(play.workers - 1);

	return n + (n >= rln_worker());
}

/* ---- buffers that are released far from home */
static void release_here(void *arg)
{
	rln_buf_release(arg);
	free(arg);
	play.bufs--;
}

/* Not once workers may stop: what comes home to nobody stays mapped, and would be a leak here. */
static void release_far(rln_buf *b)
{
	if (play.shut || play.stop_at != UINT_MAX || play.workers < 2) {
		rln_buf_release(b);
		return;
	}
	rln_buf *copy = malloc(sizeof *copy);

	*copy = *b;
	play.bufs++;
	if (rln_post(NULL, other_worker(), release_here, copy) < 0)
		release_here(copy);
}

/* ---- task mode */
#define GIFTS_MAX 500 /* hand-overs of a run */

static void task_echo(rln_conn c, void *arg);

static bool give_away(rln_conn c)
{
	if (play.tight || (play_chance(2) && rln_flush(c) < 0))
		return false;
	if (play.storm && play_chance(2) && rln_sleep((rln_ns)play_rand(4000000)) < 0)
		return false;
	int e = rln_give(c, other_worker(), task_echo, &play);

	if (e && !(e == -ENOMEM && play.scarce) && e != -EBUSY && e != -ECONNRESET &&
	    e != -ETIMEDOUT && e != -EPIPE && e != -ESHUTDOWN && e != -ECANCELED && e != -EBADF)
		world_fail(play.w, "rln_give: %d", e);
	play.gifts += !e;
	return !e;
}

static bool be_rude(rln_conn c, unsigned one_in)
{
	if (!play.rude || !play_chance(one_in))
		return false;
	(void)(play_chance(2) ? rln_reset(c) : rln_close(c));
	return true;
}

static ssize_t echo_buf(rln_conn c)
{
	rln_buf b;
	ssize_t n = rln_recv_buf(c, &b);

	check_received(c, n);
	if (n <= 0)
		return n;
	if (play.hoard) /* nobody else gets it meanwhile */
		(void)rln_sleep((rln_ns)play_rand(3000000));
	n = rln_send(c, b.data, b.len);
	release_far(&b);
	return n;
}

/* Wait for several things at once: what a select says is true when it returns. */
static ssize_t echo_selected(rln_conn c)
{
	rln_ns d = RLN_MS(play_rand(50));
	int64_t began = world_now(play.w);
	rln_arm in[3] = { { 0 }, rln_on_readable(c), rln_on_after(d) }, out = rln_on_writable(c);
	rln_view v;
	int which = rln_select(in, 3);

	if (which < 0)
		return which;
	if (which == 2 && world_now(play.w) < began + d)
		world_violates(play.w, PROP_P11, "an arm of %lld ns won early", (long long)d);
	if (which == 0 || (which == 2 && in[2].res))
		world_violates(play.w, PROP_P1, "arm %d won with %d", which, in[which].res);
	if (which == 2)
		return 1;
	if (in[1].res)
		return in[1].res;
	ssize_t n = rln_try_recv(c, &v);
	if (n == -EAGAIN)
		world_violates(play.w, PROP_P5, "readable, and nothing to receive");
	check_received(c, n);
	if (n <= 0 || rln_select(&out, 1) < 0 || out.res)
		return n <= 0 ? n : -ECANCELED;
	int e = rln_send_nowait(c, v.data, v.len);
	if (e == -EAGAIN)
		world_violates(play.w, PROP_P5, "writable, and no room");
	return e ? e : n;
}

/* A line, if there is one. */
static ssize_t echo_line(rln_conn c)
{
	rln_view v;
	ssize_t n = RLN_WITHIN(RLN_MS(1), rln_recv_until(c, "*", 16, &v));

	if (n > 0 && (v.data[n - 1] != '*' || memchr(v.data, '*', (size_t)n - 1)))
		world_violates(play.w, PROP_P3, "that is no line");
	if (n == -ENODATA || n == -EMSGSIZE || (n == -ETIME && !rln_cancelled()))
		n = rln_recv(c, &v);
	check_received(c, n);
	return n <= 0 ? n : rig_send(&play.rig, c, v.data, v.len);
}

static ssize_t echo_once(rln_conn c, uint8_t *own)
{
	rln_view v;
	ssize_t n;

	if (play.lazy && play_chance(3) && rln_sleep((rln_ns)play_rand(20000000)) < 0)
		return -ECANCELED;
	if ((play.hoard || (play.workers > 1 && play.strict)) && play_chance(6))
		return echo_buf(c);
	if (play.selects && play_chance(2))
		return play_chance(4) ? echo_line(c) : echo_selected(c);
	if (play.deadlines)
		n = RLN_WITHIN(RLN_MS(1 + (int64_t)play_rand(100)),
			       rig_receive(&play.rig, c, &v, own, RIG_OWN_BYTES));
	else
		n = rig_receive(&play.rig, c, &v, own, RIG_OWN_BYTES);
	check_received(c, n);
	if (n == -ETIME && !rln_cancelled())
		return 1;
	return n <= 0 ? n : rig_send(&play.rig, c, v.data, v.len);
}

/* A connection that was given comes with arg set: it has been counted before. */
static void task_echo(rln_conn c, void *arg)
{
	uint8_t *own __attribute__((cleanup(rig_free_bytes))) = malloc(RIG_OWN_BYTES);

	play.opened += !arg;
	play.seen[rln_worker()] = c;
	if (play.rude && play_chance(3))
		beside(c, false);
	while (echo_once(c, own) > 0) {
		if (be_rude(c, 20))
			return;
		if (play_chance(10))
			(void)rln_flush(c);
		if (play_chance(10))
			(void)rln_yield();
		/* a peer that says nothing for 20 s must not make a run that long */
		if (play.workers > 1 && play.gifts < GIFTS_MAX && play_chance(play.storm ? 2 : 8) &&
		    give_away(c))
			return;
	}
}

void server_echo(rln_conn c)
{
	task_echo(c, &play);
}

/* ---- request mode */
static int request_echo(rln_conn c, void *arg)
{
	rln_view v;
	ssize_t n;

	(void)arg;
	if (play.hoard && play_chance(3)) {
		n = echo_buf(c);
		return n > 0 ? RLN_KEEP : n < 0 ? (int)n : RLN_CLOSE;
	}
	n = rln_recv(c, &v);
	check_received(c, n);
	if (n <= 0)
		return n < 0 ? (int)n : RLN_CLOSE;
	if (be_rude(c, 30))
		return RLN_KEEP;
	if (rig_send(&play.rig, c, v.data, v.len) < 0)
		return RLN_CLOSE;
	if (play.workers > 1 && play_chance(12))
		(void)give_away(c);
	return RLN_KEEP;
}

/* ---- callback mode */
static void opened(rln_conn c, void *arg)
{
	(void)c;
	(void)arg;
	play.opened++;
}

static size_t data_echo(rln_conn c, const uint8_t *p, size_t n, void *arg)
{
	(void)arg;
	if (be_rude(c, 30))
		return 0;
	if (n > 1 && play_chance(3))
		n = 1 + play_rand(n);
	ssize_t sent = rln_send_nowait(c, p, n);
	if (sent == -ENOMEM) /* -EAGAIN alone is answered by writable */
		(void)rln_reset(c);
	return sent < 0 ? 0 : n;
}

static void eof_close(rln_conn c, void *arg)
{
	(void)arg;
	check_received(c, 0);
	(void)rln_close(c);
}

static void cb_closed(rln_conn c, int err, void *arg)
{
	(void)c;
	(void)err;
	(void)arg;
	play.closed++;
}

static void task_closed(rln_conn c, int err, void *arg)
{
	(void)c;
	(void)err;
	(void)arg;
	play.closed++;
}

void server_listen(rln_listen_opts *l, unsigned mode)
{
	static const rln_callbacks callbacks = {
		.open = opened, .data = data_echo, .eof = eof_close, .close = cb_closed
	};
	switch (mode) {
	case 0:
		l->on_conn = task_echo;
		l->on_close = task_closed;
		break;
	case 1:
		l->on_request = request_echo;
		break;
	default:
		l->cb = &callbacks;
	}
}
