/*
 * A connection as its user sees it, the whole runtime over the simulated kernel: the input decides
 * what the task calls, what its peer does and which faults there are. Received bytes are checked
 * against their place in the stream whatever call brought them, delimiters against a plain search,
 * and what was sent must arrive as it was.
 */
#include "fuzz.h"

#include "../sim/runtime_rig.h"

#define STREAM 16384

static struct fuzz in;
static struct rig *rig;
static struct sim_peer *peer;
static uint8_t stream[STREAM]; /* what the peer sends, and what the server sends */
static size_t peer_sent, server_got, server_sent, peer_got;
static bool peer_ended, task_ended, broken, truncated;

/* Few different bytes, so that delimiters occur. */
static void stream_make(void)
{
	uint32_t x = 12345;

	for (size_t i = 0; i < STREAM; i++) {
		x = x * 1664525 + 1013904223;
		stream[i] = (uint8_t)("ab\n\rabcd"[x >> 29]);
	}
}

/* ---- the task */
static void got(const void *p, size_t n)
{
	FUZZ_CHECK(server_got + n <= peer_sent);
	FUZZ_CHECK(!memcmp(p, stream + server_got, n));
	server_got += n;
}

static void shown(const rln_view *v)
{
	FUZZ_CHECK(server_got + v->len <= peer_sent);
	FUZZ_CHECK(!memcmp(v->data, stream + server_got, v->len));
}

/* Where the first delim ends in the next max bytes of the stream; 0: nowhere. */
static size_t search(const char *delim, size_t max)
{
	size_t n = strlen(delim), end = peer_sent - server_got;

	for (size_t i = 0; i + n <= end && i + n <= max; i++)
		if (!memcmp(stream + server_got + i, delim, n))
			return i + n;
	return 0;
}

static ssize_t until(rln_conn c)
{
	static const char *const delims[] = { "\n", "\r\n", "abab", "cc" };
	const char *d = delims[fuzz_below(&in, 4)];
	size_t max = fuzz_size(&in, 300);
	rln_view v;
	ssize_t n = rln_recv_until(c, d, max, &v);

	if (max < strlen(d)) {
		FUZZ_CHECK(n == -EINVAL || n == -ETIME);
		return n == -EINVAL ? 1 : n;
	}
	if (n > 0) {
		FUZZ_CHECK((size_t)n == v.len && (size_t)n == search(d, max));
		got(v.data, v.len);
	} else if (n == -EMSGSIZE) {
		/* max above recv_max, or no delimiter within it */
		FUZZ_CHECK(max > rig->rt.cfg.listener[0].mode.recv_max || !search(d, max));
		return 1;
	} else if (n == -ENODATA) {
		FUZZ_CHECK(!search(d, max));
	}
	return n;
}

static ssize_t exact(rln_conn c)
{
	size_t want = fuzz_size(&in, 600);
	rln_view v;
	ssize_t n = rln_recv_exact(c, want, &v);

	if (n > 0) {
		FUZZ_CHECK((size_t)n == want && v.len == want);
		got(v.data, v.len);
	}
	return n == -EINVAL || n == -EMSGSIZE ? 1 : n;
}

static ssize_t show(rln_conn c, bool fill)
{
	rln_view v;
	size_t min = fuzz_size(&in, 200), left, take;
	ssize_t n = fill ? rln_fill(c, &v) : rln_peek(c, min, &v);

	if (n == -EMSGSIZE && fill) {
		n = rln_recv(c, &v); /* all is shown, and there is no room for more */
		if (n > 0)
			got(v.data, v.len);
		return n;
	}
	if (n <= 0)
		return n == -EMSGSIZE ? 1 : n;
	FUZZ_CHECK((size_t)n == v.len && (fill || v.len >= min));
	shown(&v);
	left = v.len;
	for (unsigned i = 0; left && i < 3; i++) {
		take = fuzz_size(&in, left);
		FUZZ_CHECK(rln_consume(c, take) == 0);
		server_got += take;
		left -= take;
	}
	FUZZ_CHECK(rln_consume(c, left + 1) == -EINVAL);
	return n;
}

static ssize_t into(rln_conn c, bool full)
{
	size_t cap = fuzz_byte(&in) % 4 ? 1 + fuzz_size(&in, 500) : 70000;
	uint8_t *p = malloc(cap);
	ssize_t n = full ? rln_recv_full(c, p, cap) : rln_recv_into(c, p, cap);

	if (n > 0) {
		FUZZ_CHECK((size_t)n <= cap);
		got(p, (size_t)n);
	}
	free(p);
	return n;
}

static ssize_t receive(rln_conn c)
{
	rln_view v;
	rln_buf b;
	ssize_t n;

	switch (in.n ? fuzz_below(&in, 10) : 9) {
	case 0:
		n = rln_try_recv(c, &v);
		if (n == -EAGAIN)
			return 1;
		break;
	case 1:
		n = rln_recv_buf(c, &b);
		if (n > 0) {
			got(b.data, b.len);
			rln_buf_release(&b);
		}
		return n;
	case 2:
		return show(c, true);
	case 3:
		return show(c, false);
	case 4:
		return exact(c);
	case 5:
	case 6:
		return until(c);
	case 7:
		return into(c, false);
	case 8:
		return into(c, true);
	default:
		n = rln_recv(c, &v);
	}
	if (n > 0)
		got(v.data, v.len);
	return n;
}

static ssize_t transmit(rln_conn c)
{
	size_t n = fuzz_size(&in, 2000);
	const uint8_t *p = stream + server_sent;
	ssize_t r;

	if (server_sent + n > STREAM)
		return 1;
	if (fuzz_byte(&in) % 4) {
		r = rig_send(rig, c, p, n);
	} else {
		r = rln_send_nowait(c, p, n);
		r = r == 0 ? (ssize_t)n : r == -EAGAIN ? 0 : r;
		if (!r)
			return 1;
	}
	if (r < 0) {
		/* cut off in the middle of a unit: what of it went out is all that still comes */
		truncated = rln_sent(c) > 0;
		server_sent += rln_sent(c);
		return r;
	}
	FUZZ_CHECK((size_t)r == n);
	server_sent += n;
	return 1;
}

static ssize_t step(rln_conn c)
{
	ssize_t r = 1;
	uint8_t b = fuzz_byte(&in);

	switch (b % 8) {
	case 0:
		return rln_yield();
	case 1:
		return rln_flush(c) < 0 ? -1 : 1;
	case 2:
	case 3:
	case 4:
		return transmit(c);
	case 5:
		r = RLN_WITHIN(RLN_MS(fuzz_byte(&in) % 8), receive(c));
		return r == -ETIME && !rln_cancelled() ? 1 : r;
	default:
		return receive(c);
	}
}

static void on_conn(rln_conn c, void *arg)
{
	ssize_t r = 1;

	(void)arg;
	while (in.n && (r > 0 || (r == 0 && !peer_ended)))
		r = step(c);
	broken = r < 0 && r != -ENODATA && r != -ECANCELED && r != -ETIME;
	/* read to the end: what it left must be what it did not take */
	while (!broken && (r = receive(c)) > 0)
		;
	if (r == 0)
		FUZZ_CHECK(peer_ended && server_got == peer_sent);
	task_ended = true;
}

/* ---- the peer */
static void peer_step(void)
{
	uint8_t buf[512];
	size_t n = fuzz_size(&in, 700);
	ssize_t r;

	if (peer_end(peer) != PEER_ALIVE || !peer_connected(peer))
		return;
	if (!in.n && !peer_ended) {
		peer_fin(peer);
		peer_ended = true;
	}
	r = peer_recv(peer, buf, sizeof buf);
	if (r > 0) {
		/* what was sent, and no more: with what is queued it may be ahead of its caller */
		FUZZ_CHECK(peer_got + (size_t)r <= STREAM);
		FUZZ_CHECK(!memcmp(buf, stream + peer_got, (size_t)r));
		peer_got += (size_t)r;
	}
	if (n > STREAM - peer_sent)
		n = STREAM - peer_sent;
	if (peer_ended || !n)
		return;
	r = peer_send(peer, stream + peer_sent, n);
	if (r > 0)
		peer_sent += (size_t)r;
}

static void peer_finish(struct world *w)
{
	uint8_t buf[512];
	ssize_t r = 1;

	while (peer_end(peer) == PEER_ALIVE && r != 0 && (r > 0 || r == -EAGAIN)) {
		if (r == -EAGAIN && task_ended && !rig->worker[0].io.stats.conns_owned)
			break;
		r = peer_recv(peer, buf, sizeof buf);
		if (r > 0) {
			FUZZ_CHECK(!memcmp(buf, stream + peer_got, (size_t)r));
			peer_got += (size_t)r;
		} else if (r == -EAGAIN) {
			rig_turn(rig, 0, world_now(w) + RLN_MS(1));
		}
	}
	if (r == 0 && !broken && !truncated)
		FUZZ_CHECK(peer_got == server_sent);
	peer_close(peer);
}

static void run(struct world *w)
{
	rln_listen_opts l = { .addr = "127.0.0.1:0", .on_conn = on_conn, .backlog = 4 };
	rln_config c = { .listen = &l, .nlisten = 1, .file_slots = 1 };
	struct peer_config pc = { .kind = PEER_SCRIPT };

	l.recv_max = 64 + fuzz_below(&in, 2000);
	l.send_high = 1 + fuzz_below(&in, 2000);
	l.max_conns = 8;
	l.close_timeout = l.close_max = l.send_stall = RLN_SEC(1000000);
	rig_sizes(w, &c);
	rig_init(rig, w, &c);
	rig_open(rig);
	peer = world_peer(w, rig->port, &pc);
	while (in.n && !task_ended && peer_end(peer) == PEER_ALIVE) {
		rig_turn(rig, 0, world_now(w) + RLN_MS(1));
		peer_step();
	}
	in.n = 0;
	world_calm(w);
	while (!task_ended && peer_end(peer) == PEER_ALIVE) {
		peer_step();
		rig_turn(rig, 0, world_now(w) + RLN_MS(1));
	}
	peer_finish(w);
	rig_stop(rig);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct world_config wc = { 0 };

	in = (struct fuzz){ data, n > 512 ? 512 : n };
	if (!*stream)
		stream_make();
	peer_sent = server_got = server_sent = peer_got = 0;
	peer_ended = task_ended = broken = truncated = false;
	wc.fault[FAULT_RESET] = wc.fault[FAULT_ACCEPT_ERR] = RATE_OFF;
	struct world *w = world_new(1 + fuzz_below(&in, 256), &wc);
	world_enter(w);
	rig = calloc(1, sizeof *rig);
	run(w);
	free(rig);
	rig_check_quiet(w);
	world_enter(NULL);
	world_free(w);
	return 0;
}
