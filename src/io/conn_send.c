/*
 * Sending: the FIFO of a connection and the one send in flight. All that is queued in a turn leaves
 * in one gathered SQE; a unit of borrowed memory is alone in its SQEs; a zero-copy piece is sent by
 * an op of its own, whose notification nobody waits for. The calls users make are in send_api.c.
 */
#include "io/conn.h"

#include "base/assert.h"
#include "base/mark.h"
#include "ring/uapi.h"
#include <errno.h>

/*
 * Bytes of one SQE. MSG_WAITALL gives no completion before its end, so this bounds what a slow
 * reader must take within send_stall to count as alive: 256 KiB in 60 s is 4.3 KiB/s.
 */
#define SEND_MAX (256u * 1024)
/* This many copied zero-copy sends in a row, and plain sends are used from then on. */
#define ZC_COPIED_MAX 16

/* ---- the queue */
void conn_tx_push(struct conn *c, struct tx *t)
{
	t->next = NULL;
	if (c->tx_tail)
		c->tx_tail->next = t;
	else
		c->tx_head = t;
	c->tx_tail = t;
	c->tx_bytes += t->len;
	c->io->queued_bytes += t->len;
	if (t->unit)
		t->unit->entries++;
	if (c->tx_head == t)
		c->last_tx_ns = c->io->loop->now_ns;
	conn_mark(c);
}

void tx_release_due(struct io *io, struct tx *t)
{
	RLN_ASSERT(!t->owed && !t->queued);
	list_push_back(&io->released, &t->guard.node);
}

/* The entry has left the queue: sent, removed or failed. */
static void tx_end(struct conn *c, struct tx *t, int err)
{
	struct send_unit *u = t->unit;

	c->tx_bytes -= t->len - t->off;
	c->io->queued_bytes -= t->len - t->off;
	t->unit = NULL;
	if (t->kind == TX_GUARD) {
		t->queued = false;
		if (!t->owed)
			tx_release_due(c->io, t);
	} else {
		tx_free(c->io, t);
	}
	if (!u)
		return;
	if (err && !u->err) {
		RLN_MARK("send-unit-failed");
		u->err = err;
	}
	if (--u->entries == 0) {
		u->done = true;
		wake_all(&u->waiters, 0);
	}
}

static struct tx *tx_pop(struct conn *c)
{
	struct tx *t = c->tx_head;

	c->tx_head = t->next;
	if (!c->tx_head)
		c->tx_tail = NULL;
	return t;
}

static void tx_advance(struct conn *c, size_t n)
{
	c->io->stats.send_bytes += n;
	while (n) {
		struct tx *t = c->tx_head;
		size_t left = t->len - t->off, take = n < left ? n : left;
		t->off += take;
		c->tx_bytes -= take;
		c->io->queued_bytes -= take;
		if (t->unit)
			t->unit->sent += take;
		n -= take;
		if (t->off == t->len)
			tx_end(c, tx_pop(c), 0);
	}
}

void conn_tx_remove(struct conn *c, struct send_unit *u)
{
	struct tx **at = &c->tx_head, *last = NULL;

	while (*at) {
		struct tx *t = *at;
		if (t->unit != u) {
			last = t;
			at = &t->next;
			continue;
		}
		*at = t->next;
		tx_end(c, t, -ECANCELED);
	}
	c->tx_tail = last;
	if (!op_busy(&c->send) && !c->zc_live)
		conn_send_progress(c); /* whoever waited behind the unit */
	conn_mark(c);
}

void conn_tx_rollback(struct conn *c, struct tx *mark, size_t mark_len)
{
	struct tx *t = mark ? mark->next : c->tx_head;

	RLN_MARK("send-rolled-back");
	if (mark) {
		c->tx_bytes -= mark->len - mark_len;
		c->io->queued_bytes -= mark->len - mark_len;
		mark->len = mark_len;
		mark->next = NULL;
	} else {
		c->tx_head = NULL;
	}
	c->tx_tail = mark;
	while (t) {
		struct tx *next = t->next;
		tx_end(c, t, -ENOMEM);
		t = next;
	}
}

void conn_send_fail(struct conn *c, int err)
{
	RLN_ASSERT(!op_busy(&c->send) && !c->zc_live); /* INV-14: the kernel reads none of it */
	if (c->write != WRITE_BROKEN)
		conn_set_write(c, WRITE_BROKEN, err);
	c->cancel_send = false;
	while (c->tx_head)
		tx_end(c, tx_pop(c), err);
	conn_send_progress(c);
	conn_mark(c);
}

/* ---- plain sends */
static unsigned gather(struct conn *c, struct iovec *iov, size_t *bytes)
{
	const struct tx *t = c->tx_head;
	const struct send_unit *u = t->unit;
	unsigned n = 0;

	*bytes = 0;
	for (; t && n < c->io->cfg.iov_max && *bytes < SEND_MAX; t = t->next) {
		if (t->unit != u || (t->zc && n))
			break;
		size_t left = t->len - t->off, room = SEND_MAX - *bytes;
		iov[n].iov_base = (void *)(uintptr_t)(t->p + t->off);
		iov[n].iov_len = left < room ? left : room;
		*bytes += iov[n].iov_len;
		n++;
	}
	return n;
}

static void send_prepare(struct ops *ops, struct op *op, struct io_uring_sqe *sqe)
{
	struct conn *c = container_of(op, struct conn, send);
	struct ring_scratch *s = ring_scratch(ops->ring, sqe);
	int slot = (int)c->slot, flags = MSG_NOSIGNAL | MSG_WAITALL;
	size_t bytes;
	unsigned n = gather(c, s->iov, &bytes);

	c->inflight = (uint32_t)bytes;
	if (!c->family) {
		io_uring_prep_writev(sqe, slot, s->iov, n, (uint64_t)-1);
	} else if (n == 1) {
		io_uring_prep_send(sqe, slot, s->iov[0].iov_base, bytes, flags);
	} else {
		s->msg = (struct msghdr){ .msg_iov = s->iov, .msg_iovlen = n };
		io_uring_prep_sendmsg(sqe, slot, &s->msg, (unsigned)flags);
	}
	sqe->flags |= IOSQE_FIXED_FILE;
}

static bool transient(int err)
{
	return err == -EAGAIN || err == -EINTR || err == -ENOBUFS || err == -ENOMEM;
}

/* The unit in flight was given up by its caller: nothing out means no effect, else it is broken. */
static void unit_cancelled(struct conn *c, struct send_unit *u)
{
	c->cancel_send = false;
	if (!u || !c->tx_head || c->tx_head->unit != u) {
		RLN_MARK("send-cancelled-too-late");
		return; /* it ended with its own success */
	}
	if (u->sent == 0) {
		RLN_MARK("send-cancelled-before-it-moved");
		conn_tx_remove(c, u);
		return;
	}
	RLN_MARK("send-cancelled-half-way");
	c->failed_sent = u->sent;
	conn_send_fail(c, -EPIPE);
}

/*
 * After the flush of a close it is the runtime that ends the stream, and a send that is still out
 * may be told of the reset before it is cancelled: its caller wants to know why there was one.
 */
static int failure(const struct conn *c, int res)
{
	if (c->life != LIFE_CLOSING || c->phase == CLOSE_FLUSH)
		return res;
	return c->close_err ? c->close_err : -ECONNABORTED;
}

static void send_result(struct conn *c, int res)
{
	if (res > 0) {
		/* INV-18 */
		RLN_ASSERTF((uint32_t)res <= c->inflight, "sent %d of %u", res, c->inflight);
		tx_advance(c, (size_t)res);
		c->last_tx_ns = c->io->loop->now_ns;
	} else if (transient(res) || res == 0) {
		RLN_MARK("send-refused-for-the-moment");
		c->io->stats.send_retries++;
		c->retry_send = true;
	} else if (res != -ECANCELED) {
		if (c->tx_head && c->tx_head->unit)
			c->failed_sent = c->tx_head->unit->sent;
		conn_send_fail(c, failure(c, res));
	}
}

/*
 * PERF: after most sends. Everything went out and no field has changed that conn_step() looks at,
 * so that it need not look. INV-16 to INV-25 are its business: when in doubt, false.
 */
static bool nothing_to_decide(const struct conn *c)
{
	return !c->tx_head && c->arm == ARM_ARMED && c->recv_mode == RECV_MULTISHOT &&
	       c->life == LIFE_OPEN && c->write == WRITE_OPEN && !c->retry_send && !c->hot &&
	       !c->reader_direct && !c->eof_held && !c->giving && !c->owed_writable &&
	       !c->data_blocked && !c->mode->idle_ns && !c->io->draining &&
	       c->cancel.op.state == OP_IDLE && !conn_paused(c);
}

static void send_finish(struct op *op, const struct op_event *ev)
{
	struct conn *c = container_of(op, struct conn, send);
	struct send_unit *u = c->tx_head ? c->tx_head->unit : NULL;

	if (!ev->last)
		return;
	op_reset(op);
	c->send_cancelled = c->hot_waits = c->hot_waited = false;
	if (ev->res < (int32_t)c->inflight && ev->res > 0) {
		RLN_MARK("send-short");
		c->io->stats.send_retries++;
	}
	send_result(c, ev->res);
	c->inflight = 0;
	if (c->cancel_send)
		unit_cancelled(c, u);
	conn_send_progress(c);
	if (!nothing_to_decide(c))
		conn_mark(c);
}

const struct op_class conn_send_class = { OP_SEND, send_prepare, send_finish };

/* ---- zero copy */
static void zc_prepare(struct ops *ops, struct op *op, struct io_uring_sqe *sqe)
{
	struct tx *t = container_of(op, struct tx, guard.op);
	struct conn *c = t->guard.conn;
	size_t left = t->len - t->off;

	(void)ops;
	c->inflight = (uint32_t)(left < SEND_MAX ? left : SEND_MAX);
	t->report = !c->io->zc_no_report;
	io_uring_prep_send_zc(sqe, (int)c->slot, t->p + t->off, c->inflight,
			      MSG_NOSIGNAL | MSG_WAITALL, t->report ? RU_SEND_ZC_REPORT_USAGE : 0);
	sqe->flags |= IOSQE_FIXED_FILE;
}

/* The threshold learns: where the kernel copies anyway, the notification is pure cost. */
static void zc_learn(struct io *io, bool copied)
{
	io->stats.send_zc_copied += copied;
	io->zc_copied_run = copied ? io->zc_copied_run + 1 : 0;
	if (io->zc_copied_run >= ZC_COPIED_MAX) {
		RLN_MARK("zc-given-up");
		io->cfg.zc_threshold = SIZE_MAX;
	}
}

static void zc_notified(struct conn *c, struct tx *t, const struct op_event *ev)
{
	if (t->owed) {
		t->owed = false;
		c->zc_owed--;
		if (ev->flags & IORING_CQE_F_NOTIF && t->report && !t->refused)
			zc_learn(c->io, (uint32_t)ev->res & RU_NOTIF_USAGE_ZC_COPIED);
	}
	if (!t->queued)
		tx_release_due(c->io, t);
	else
		RLN_MARK("zc-notified-before-its-rest");
	conn_mark(c);
}

static void zc_finish(struct op *op, const struct op_event *ev)
{
	struct tx *t = container_of(op, struct tx, guard.op);
	struct conn *c = t->guard.conn;
	struct send_unit *u = t->unit;

	if (ev->last)
		op_reset(op);
	if (ev->flags & IORING_CQE_F_NOTIF) {
		zc_notified(c, t, ev);
		return;
	}
	/* INV-26: a notification is owed exactly when F_MORE says so, on an error and 0 too */
	c->zc_live = c->send_cancelled = false;
	if (!ev->last) {
		t->owed = true;
		c->zc_owed++;
	}
	t->zc = false; /* a rest goes out by a plain send of the same entry */
	if (ev->res == -EINVAL && t->report) {
		RLN_MARK("zc-no-report");
		c->io->zc_no_report = true; /* KERNEL(6.1): no usage report */
	} else if (ev->res == -EOPNOTSUPP || ev->res == -EINVAL) {
		RLN_MARK("zc-unsupported");
		c->io->cfg.zc_threshold = SIZE_MAX;
	} else if (transient(ev->res)) {
		/* The pages count against RLIMIT_MEMLOCK: the plain send that follows copies. */
		RLN_MARK("zc-refused");
		t->refused = true;
		zc_learn(c->io, true);
	} else {
		send_result(c, ev->res);
	}
	c->inflight = 0;
	if (c->cancel_send)
		unit_cancelled(c, u);
	conn_send_progress(c);
	conn_mark(c);
}

static const struct op_class send_zc_class = { OP_SEND_ZC, zc_prepare, zc_finish };

/* ---- deciding */
void conn_send_step(struct conn *c)
{
	struct tx *t = c->tx_head;

	if (c->cancel_send)
		conn_cancel_send(c);
	if (!t || c->write >= WRITE_SHUT || c->retry_send)
		return;
	if (c->send.state != OP_IDLE || c->zc_live)
		return; /* INV-17 */
	if (!t->zc) {
		op_submit(&c->io->loop->ops, &c->send);
		return;
	}
	c->zc_live = true;
	c->io->stats.send_zc++;
	op_init(&t->guard.op, &send_zc_class);
	op_submit(&c->io->loop->ops, &t->guard.op);
}

void conn_send_cancel(struct conn *c)
{
	c->cancel_send = true;
	conn_mark(c);
}

/* The first of those among flushers who wait for room to send, and not for an empty queue. */
static struct waiter *first_writable(struct conn *c)
{
	list_for_each (n, &c->flushers) {
		struct waiter *w = container_of(n, struct waiter, node);
		if (w->slot == CONN_WRITABLE)
			return w;
	}
	return NULL;
}

/* Room, an empty queue or an error: whoever waits for one of these looks again. */
void conn_send_progress(struct conn *c)
{
	if (c->write == WRITE_BROKEN) {
		wake_all(&c->senders, 0);
		wake_all(&c->flushers, 0);
		return;
	}
	if (c->tx_bytes <= c->mode->send_low && !c->sender_woken && !list_empty(&c->senders)) {
		c->sender_woken = true;
		waiter_wake(waiter_first(&c->senders), 0);
	}
	if (list_empty(&c->flushers) || c->life != LIFE_OPEN)
		return;
	if (conn_send_idle(c))
		wake_all(&c->flushers, 0);
	else if (c->tx_bytes <= c->mode->send_low)
		for (struct waiter *w; (w = first_writable(c));)
			waiter_wake(w, 0);
}

void io_run_releases(struct io *io)
{
	struct list due, *n;

	list_init(&due);
	list_splice_back(&due, &io->released);
	while ((n = list_pop_front(&due))) {
		struct tx *t = container_of(n, struct tx, guard.node);
		t->guard.release(t->guard.ud);
		tx_free(io, t);
	}
}
