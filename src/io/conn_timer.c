/*
 * The one timer of a connection. It is armed at the earliest thing that could become due and looks
 * again when it fires, so traffic never touches it: idle time, send stall, the bounds of closing,
 * and the retry of a send the kernel had no memory for.
 */
#include "io/conn.h"

#include "base/assert.h"
#include "base/mark.h"
#include <errno.h>

#define LINGER_NS (2 * INT64_C(1000000000))
#define RETRY_NS 1000000
#define STARVED_NS 10000000

/*
 * Every time below is in the future, or what it is for changes the state when the timer fires:
 * otherwise the worker would never sleep.
 */
static int64_t earlier(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

/* base + dur without overflow; 0 or forever means never. */
static int64_t after(int64_t base, int64_t dur)
{
	return dur <= 0 || dur > INT64_MAX - base ? INT64_MAX : base + dur;
}

/* A reader that only waits for the kernel to let go of its memory was told already. */
static bool reader_leaves(const struct conn *c)
{
	return c->into && c->into->cancel;
}

static bool waits_idle(const struct conn *c)
{
	if (c->read != READ_OPEN || reader_leaves(c))
		return false;
	if (!list_empty(&c->reader))
		return true;
	return serve_idle(c);
}

static int64_t idle_at(const struct conn *c)
{
	int64_t base = c->last_rx_ns;

	if (!waits_idle(c))
		return INT64_MAX;
	if (!list_empty(&c->reader) && c->reader_since_ns > base)
		base = c->reader_since_ns;
	return after(base, c->mode->idle_ns);
}

/*
 * In a drain: the on_conn task that waits for input on its own connection with nothing to do, and a
 * connection without a handler at work.
 */
static int64_t drain_idle_at(const struct conn *c)
{
	const struct waiter *w = waiter_first(&c->reader);
	int64_t base = c->io->drain_began_ns;

	if (!c->io->draining || c->rx.bytes || !conn_send_idle(c) || reader_leaves(c))
		return INT64_MAX;
	if (w) {
		if (w->task != c->task || !c->mode->on_conn)
			return INT64_MAX;
		/* nobody tells of the children's end: look again */
		if (task_has_children(w->task))
			return after(c->io->loop->now_ns, c->io->cfg.drain_idle_ns);
		if (c->reader_since_ns > base)
			base = c->reader_since_ns;
	} else if (!serve_idle(c)) {
		return INT64_MAX;
	}
	if (c->last_rx_ns > base)
		base = c->last_rx_ns;
	return after(base, c->io->cfg.drain_idle_ns);
}

static void drain_idle_due(struct conn *c)
{
	if (list_empty(&c->reader))
		conn_close(c, 0);
	else
		waiter_wake(waiter_first(&c->reader), -ESHUTDOWN);
}

/*
 * When a peer has taken nothing for limit. Not while the send in flight is being asked, for a
 * while: the answer may be that it has.
 */
static int64_t taken_nothing_at(const struct conn *c, int64_t limit)
{
	int64_t at = after(c->last_tx_ns, limit), answer = after(c->asked_ns, limit / 3 + 1);

	return c->send_cancelled && at < answer ? answer : at;
}

static int64_t stall_at(const struct conn *c)
{
	if (!c->tx_head || c->write == WRITE_BROKEN)
		return INT64_MAX;
	return taken_nothing_at(c, c->mode->send_stall_ns);
}

/*
 * A send in flight says nothing before its end, and a slow peer may take long over it. So it is
 * cancelled now and then: its result is what the peer took, and the rest is sent again. What the
 * socket's own buffer took counts as well, once. A pipe's write ends with its first byte.
 */
static int64_t ask_at(const struct conn *c)
{
	bool flush = c->life == LIFE_CLOSING;
	int64_t limit = flush ? c->mode->close_timeout_ns : c->mode->send_stall_ns;
	int64_t base = c->asked_ns > c->last_tx_ns ? c->asked_ns : c->last_tx_ns;

	if (!c->tx_head || c->write == WRITE_BROKEN || c->send_cancelled || !c->family ||
	    limit <= 0 || (flush && c->phase != CLOSE_FLUSH))
		return INT64_MAX;
	return after(base, limit / 3 + 1);
}

static int64_t close_at(const struct conn *c)
{
	int64_t whole = after(c->close_began_ns, c->mode->close_max_ns);

	switch ((enum close_phase)c->phase) {
	case CLOSE_FLUSH:
		return earlier(taken_nothing_at(c, c->mode->close_timeout_ns), whole);
	case CLOSE_LINGER:
		return earlier(after(c->last_rx_ns, LINGER_NS), whole);
	case CLOSE_OWED:
		return c->reset_wanted ? INT64_MAX : whole;
	default:
		return INT64_MAX;
	}
}

/* PERF: once a step. What is off, as most of it is, costs one look. */
static int64_t next_at(const struct conn *c)
{
	int64_t at = c->retry_send || c->retry_cancel || c->hot_waits
			     ? c->io->loop->now_ns + RETRY_NS
			     : INT64_MAX;

	if (c->life == LIFE_CLOSING)
		return earlier(at, earlier(close_at(c), ask_at(c)));
	if (RLN_UNLIKELY(c->starved) && list_first(&c->io->starving) == &c->starve &&
	    !sched_full(c->io->sched))
		at = earlier(at, c->io->loop->now_ns + STARVED_NS); /* the turn tries again */
	if (c->mode->idle_ns > 0)
		at = earlier(at, idle_at(c));
	if (RLN_UNLIKELY(c->io->draining))
		at = earlier(at, drain_idle_at(c));
	if (c->tx_head)
		at = earlier(at, earlier(stall_at(c), ask_at(c)));
	return at;
}

void conn_timer_update(struct conn *c)
{
	int64_t at = next_at(c);

	/* an earlier alarm stays: it looks again when it fires */
	if (at != INT64_MAX && (!timer_armed(&c->timer) || c->timer.deadline_ns > at))
		timer_arm(&c->io->loop->wheel, &c->timer, at);
}

static void close_due(struct conn *c)
{
	if (c->phase == CLOSE_LINGER) {
		RLN_MARK("linger-timed-out");
		c->phase = CLOSE_QUIESCE;
		conn_mark(c);
		return;
	}
	RLN_MARK("close-timed-out");
	c->io->stats.close_timeouts++;
	if (c->phase == CLOSE_FLUSH && !c->close_err)
		c->close_err = -ETIMEDOUT;
	conn_abort(c, -ETIMEDOUT);
}

static void idle_due(struct conn *c)
{
	RLN_MARK("idle-timed-out");
	c->io->stats.idle_timeouts++;
	if (!list_empty(&c->reader))
		waiter_wake(waiter_first(&c->reader), -ETIME);
	else
		conn_close(c, -ETIME);
}

static void ask(struct conn *c, int64_t now)
{
	RLN_MARK("slow-reader-is-asked-for");
	c->asked_ns = now;
	conn_cancel_send(c);
}

void conn_timer_fire(struct timer *t)
{
	struct conn *c = container_of(t, struct conn, timer);
	int64_t now = c->io->loop->now_ns;

	if (c->life == LIFE_CLOSED)
		return;
	if (c->retry_send) {
		c->retry_send = false;
		conn_mark(c);
	}
	if (c->hot_waits) {
		c->hot_waits = false;
		c->hot_waited = true;
		conn_mark(c);
	}
	if (c->retry_cancel) {
		c->retry_cancel = false;
		conn_cancel_again(c);
	}
	if (now >= ask_at(c)) {
		ask(c, now);
	} else if (c->life == LIFE_CLOSING) {
		if (now >= close_at(c))
			close_due(c);
	} else if (now >= stall_at(c)) {
		RLN_MARK("send-stalled");
		c->io->stats.send_stalls++;
		conn_abort(c, -ETIMEDOUT);
	} else if (now >= drain_idle_at(c)) {
		drain_idle_due(c);
	} else if (now >= idle_at(c)) {
		idle_due(c);
	}
	if (c->life != LIFE_CLOSED)
		conn_timer_update(c);
}
