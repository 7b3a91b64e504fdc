/*
 * One connection of the load generator. Its task only ever waits to receive: requests are queued
 * without waiting, so neither side can wait for the other to read.
 */
#include "cli.h"
#include "load.h"

#include <errno.h>
#include <string.h>

enum { TRIES = 3, AGAIN_MS = 20, SPIN_MS = 2 };

static enum load_phase phase_of(const struct load *l)
{
	return (enum load_phase)atomic_load_explicit(&l->phase, memory_order_relaxed);
}

static void bump(atomic_uint_fast64_t *n)
{
	uint_fast64_t v = atomic_load_explicit(n, memory_order_relaxed);

	atomic_store_explicit(n, v + 1, memory_order_relaxed);
}

static void note_error(struct load_worker *w, const char *what, const char *why)
{
	bump(&w->errors);
	if (!w->error[0])
		snprintf(w->error, sizeof w->error, "%s%s%s", what, *why ? ": " : "", why);
}

/* Open loop: when request k of this connection is due. */
static int64_t due(const struct load_conn *b, uint64_t k)
{
	const struct load *l = b->worker->load;
	double gap = 1e9 * (double)l->o->connections / l->o->rate;
	double phase = gap * (double)b->number / (double)l->o->connections;

	return atomic_load_explicit(&l->epoch, memory_order_relaxed) +
	       (int64_t)((double)k * gap + phase);
}

static bool within(const struct load *l, int64_t t)
{
	return t >= atomic_load_explicit(&l->begin, memory_order_relaxed) &&
	       t < atomic_load_explicit(&l->end, memory_order_relaxed);
}

/* Is a request left that fell due before the end? Those are still sent, for a while. */
static bool overdue(const struct load_conn *b)
{
	const struct load *l = b->worker->load;

	return l->o->rate > 0 &&
	       due(b, b->sent) < atomic_load_explicit(&l->end, memory_order_relaxed);
}

/* Queue what may go out now. 0 or a negative errno. */
static int top_up(struct load_conn *b, int64_t now)
{
	struct load_worker *w = b->worker;
	const struct load_options *o = w->load->o;
	enum load_phase phase = phase_of(w->load);

	if (o->rate > 0 && phase == LOAD_CONNECT)
		return 0;
	while (b->sent - b->answered < o->pipeline && (phase != LOAD_STOP || overdue(b))) {
		int64_t from = now;
		int err;

		if (o->rate > 0) {
			from = due(b, b->sent);
			if (from > now)
				return 0;
			if (within(w->load, from))
				hist_add(&w->lag, now - from);
		}
		err = work_send(&w->load->work, b->c, b->number, b->sent, w->scratch);
		if (err < 0)
			return err;
		if (b->sent == b->answered)
			work_expect(&w->load->work, b->number, b->sent, &b->answer);
		b->stamp[b->sent++ % o->pipeline] = from;
	}
	return 0;
}

static void answered(struct load_conn *b, int64_t now)
{
	struct load_worker *w = b->worker;
	struct load *l = w->load;
	int64_t from = b->stamp[b->answered++ % l->o->pipeline];
	bool measuring = phase_of(l) == LOAD_MEASURE;

	bump(&w->total);
	w->requests += measuring;
	if (l->o->rate > 0 ? within(l, from) : measuring)
		hist_add(&w->latency, now - from);
	if (b->answered < b->sent)
		work_expect(&l->work, b->number, b->answered, &b->answer);
}

/* Keep the words of a server that answers with an error. */
static void quote(struct load_conn *b, const uint8_t *p, size_t n)
{
	size_t len = 0;

	while (len < n && len + 1 < sizeof b->said && p[len] >= ' ' && p[len] < 127) {
		b->said[len] = (char)p[len];
		len++;
	}
	b->said[len] = '\0';
}

/* 0, or -EBADMSG: not what was asked for. */
static int check(struct load_conn *b, const rln_view *v, int64_t now)
{
	size_t off = 0;

	while (off < v->len) {
		bool done = false;
		ssize_t n = b->answered == b->sent
				    ? -1
				    : work_check(&b->answer, v->data + off, v->len - off, &done);

		if (n < 0) {
			if (b->worker->load->o->what == LOAD_KV)
				quote(b, v->data + off, v->len - off);
			return -EBADMSG;
		}
		off += (size_t)n;
		if (done)
			answered(b, now);
	}
	return 0;
}

/* Send and receive until the end or an error. */
static int converse(struct load_conn *b) RLN_WAITS
{
	struct load *l = b->worker->load;
	rln_ns patience = (rln_ns)(l->o->timeout * 1e9);
	rln_view v;
	int err = top_up(b, cli_now());

	while (err == 0 && !(phase_of(l) == LOAD_STOP && b->sent == b->answered && !overdue(b))) {
		ssize_t n = RLN_WITHIN(patience, rln_recv(b->c, &v));

		if (n == -ETIME && b->sent == b->answered)
			continue; /* open loop: nothing was due */
		if (n <= 0)
			return n < 0 ? (int)n : -EPIPE;
		int64_t now = cli_now();
		err = check(b, &v, now);
		if (err == 0)
			err = top_up(b, now);
	}
	return err;
}

static int connect_once(struct load_conn *b, rln_conn *c) RLN_WAITS
{
	struct load *l = b->worker->load;
	size_t high = (work_scratch(&l->work) + 64) * l->o->pipeline;
	rln_connect_opts opts = { .send_high = high > 1 << 20 ? high : 0 };
	rln_ns patience = (rln_ns)(l->o->timeout * 1e9);
	int err = RLN_WITHIN(patience, rln_connect(l->o->connect, &opts, c));
	int none = 0;

	if (err < 0)
		atomic_compare_exchange_strong(&l->connect_err, &none, err);
	return err;
}

/* What to say about a connection that ended early. */
static const char *reason(const struct load_conn *b, int err, bool up)
{
	switch (err) {
	case -EPIPE:
		return "the server closed the connection";
	case -EBADMSG:
		return b->said[0] ? b->said : "the answer is not what was asked for";
	case -ETIME:
		return up ? "no answer" : "connecting took too long";
	default:
		return rln_strerror(err);
	}
}

/* One connection from connect to close. */
static int live(struct load_conn *b, bool first) RLN_WAITS
{
	struct load *l = b->worker->load;
	RLN_CONN(c);
	int err = connect_once(b, &c);

	if (first)
		atomic_fetch_add(&l->ready, 1);
	if (err < 0)
		return err;
	if (first)
		atomic_fetch_add(&l->connected, 1);
	b->c = c;
	b->up = true;
	if (l->o->what == LOAD_KV)
		b->sent += b->sent % 2; /* begin with a SET */
	b->answered = b->sent;
	err = converse(b);
	b->up = false;
	if (err < 0 && l->o->rate > 0 && phase_of(l) != LOAD_STOP)
		while (b->answered < b->sent) /* lost: they count as never answered */
			b->worker->unfinished +=
				within(l, b->stamp[b->answered++ % l->o->pipeline]);
	return err;
}

int load_conn_task(void *arg)
{
	struct load_conn *b = arg;
	struct load *l = b->worker->load;
	rln_scope scope;
	int tries = 0;

	rln_scope_begin(&scope, RLN_FOREVER);
	b->scope = &scope;
	for (bool first = true; phase_of(l) != LOAD_STOP && tries < TRIES; first = false) {
		uint64_t before = b->answered;
		int err = live(b, first);

		if (err == -ECANCELED && phase_of(l) == LOAD_STOP)
			break;
		tries = b->answered > before ? 0 : tries + 1;
		if (err < 0) {
			char what[100];

			snprintf(what, sizeof what, "connection %ju to %.60s", (uintmax_t)b->number,
				 l->o->connect);
			note_error(b->worker, what, reason(b, err, b->answered > before));
			if (err == -EINVAL || rln_sleep(RLN_MS(AGAIN_MS)) < 0)
				break;
		}
	}
	b->scope = NULL;
	rln_scope_end(&scope);
	atomic_fetch_sub(&l->live, 1);
	return 0;
}

static void pace_timer(rln_timer *t, void *arg)
{
	(void)t;
	load_pace(arg);
}

/*
 * A turn of the pacer sends what is due to quiet connections (busy ones send theirs when answered),
 * then comes back: by a timer when there is time, else in the very next turn of the loop.
 */
void load_pace(void *arg)
{
	struct load_worker *w = arg;
	int64_t next = 0, now = cli_now();

	if (phase_of(w->load) == LOAD_STOP || w->conns == 0)
		return;
	for (; (next = due(w->conn[w->tick % w->conns], w->tick / w->conns)) <= now; w->tick++) {
		struct load_conn *b = w->conn[w->tick % w->conns];

		if (b->up && top_up(b, now) < 0)
			rln_reset(b->c); /* its task wakes with an error */
	}
	if (next > now + RLN_MS(SPIN_MS))
		rln_timer_start(&w->timer, next - now - RLN_MS(SPIN_MS), pace_timer, w);
	else if (rln_post(NULL, rln_worker(), load_pace, w) < 0)
		rln_timer_start(&w->timer, RLN_MS(1), pace_timer, w);
}

static void stop(struct load_worker *w, bool hard)
{
	rln_timer_stop(&w->timer);
	for (uint64_t i = 0; i < w->conns; i++) {
		struct load_conn *b = w->conn[i];

		if (!hard && b->up && overdue(b) && top_up(b, cli_now()) == 0)
			continue;
		if (b->scope && (hard || !b->up || b->sent == b->answered))
			rln_scope_cancel(b->scope);
	}
}

void load_stop_idle(void *arg)
{
	stop(arg, false);
}

void load_stop_hard(void *arg)
{
	stop(arg, true);
}

void load_count_unfinished(struct load_conn *b)
{
	struct load_worker *w = b->worker;
	struct load *l = w->load;
	int64_t end = atomic_load(&l->end), now = cli_now();

	if (l->o->rate <= 0 || !atomic_load(&l->epoch))
		return;
	for (uint64_t k = b->answered; due(b, k) < end; k++) {
		int64_t from = due(b, k);

		if (!within(l, from))
			continue;
		w->unfinished++;
		hist_add(&w->latency, now - from); /* it took at least that long */
	}
}
