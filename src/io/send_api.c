/*
 * The send calls users make: admission (queue room, FIFO among callers), how each piece is queued
 * (copied, referenced, borrowed, guarded), and waiting for a unit of borrowed memory.
 */
#include "io/conn.h"

#include "base/assert.h"
#include "base/sys.h"
#include <errno.h>
#include <limits.h>
#include <string.h>

/* Pieces of a view up to this size are copied: the buffer goes home, and stays hot. */
#define VIEW_COPY 1024
#define PIECES_MAX 1024 /* IOV_MAX */

static bool same_conn(const struct conn *c, rln_conn h)
{
	return c->generation == (uint32_t)h.h && c->life == LIFE_OPEN && !c->giving;
}

static int write_refused(const struct conn *c)
{
	if (c->write == WRITE_BROKEN)
		return c->write_err;
	return c->write == WRITE_OPEN ? 0 : -EPIPE;
}

static bool queue_full(const struct conn *c)
{
	const struct io *io = c->io;

	if (c->tx_bytes > c->mode->send_high)
		return true;
	/* a connection with nothing queued never waits for others: it could be what they wait for
	 */
	return c->tx_head && io->queued_bytes > io->cfg.buffer_budget;
}

/* Wait for queue room, in the order of the calls. 0, or why nothing may be queued. */
static int send_admit(struct conn *c, rln_conn h, const char *call)
{
	int e = write_refused(c);

	if (e)
		return e;
	if (RLN_LIKELY(!queue_full(c) && list_empty(&c->senders) && !c->sender_woken))
		return 0;
	e = wait_on(&c->senders, call);
	if (!same_conn(c, h))
		return e ? e : -ECONNABORTED;
	if (!e) {
		c->sender_woken = false;
		e = write_refused(c);
	}
	return e;
}

/* After a waiting sender has queued (or given up): the next one, while there is room. */
static void admit_next(struct conn *c)
{
	if (c->sender_woken || list_empty(&c->senders) || queue_full(c))
		return;
	c->sender_woken = true;
	waiter_wake(waiter_first(&c->senders), 0);
}

static bool holds(const struct chunk *k, const uint8_t *p, size_t n)
{
	return k && p >= k->data && p < k->data + k->end && n <= (size_t)(k->data + k->end - p);
}

/* The received chunk [p, p+n) lies in, if the worker still holds it for a reader. */
static struct chunk *view_chunk(struct conn *c, const void *p, size_t n)
{
	struct chunk *k = chunk_of_buffer(c->io, p);
	const uint8_t *at = p;

	if (k)
		return at + n <= k->data + k->end ? k : NULL;
	if (holds(c->lent, at, n))
		return c->lent;
	return holds(c->rx.head, at, n) ? c->rx.head : NULL; /* what a data callback is shown */
}

/* ---- queueing */
static int queue_copy(struct conn *c, const void *p, size_t n, struct send_unit *u)
{
	struct tx *t = c->tx_tail;

	/* bytes behind what is in flight are nobody's: appending is safe, the SQE has its length */
	if (t && !u && t->kind == TX_COPY && !t->unit && t->cap - t->len >= n) {
		memcpy((uint8_t *)(uintptr_t)t->p + t->len, p, n);
		t->len += n;
		c->tx_bytes += n;
		c->io->queued_bytes += n;
		conn_mark(c);
		return 0;
	}
	t = tx_alloc_copy(c->io, n);
	if (!t)
		return -ENOMEM;
	memcpy((uint8_t *)(uintptr_t)t->p, p, n);
	t->len = n;
	t->unit = u;
	conn_tx_push(c, t);
	return 0;
}

static int queue_ref(struct conn *c, const void *p, size_t n, struct chunk *k, struct send_unit *u)
{
	struct tx *t = tx_alloc(c->io, k ? TX_CHUNK : TX_BORROW);

	if (!t)
		return -ENOMEM;
	t->p = p;
	t->len = n;
	t->unit = u;
	if (k)
		t->chunk = chunk_ref(k);
	conn_tx_push(c, t);
	return 0;
}

static int queue_guard(struct conn *c, const rln_piece *pc, struct send_unit *u)
{
	struct tx *t = tx_alloc(c->io, TX_GUARD);

	if (!t)
		return -ENOMEM;
	t->p = pc->data;
	t->len = pc->len;
	t->unit = u;
	t->guard.release = pc->release;
	t->guard.ud = pc->ud;
	t->guard.conn = c;
	list_init(&t->guard.node);
	t->queued = pc->len > 0;
	t->zc = c->family && c->family != AF_UNIX && pc->len >= c->io->cfg.zc_threshold &&
		c->io->caps->send_zc;
	if (t->queued)
		conn_tx_push(c, t);
	else
		tx_release_due(c->io, t);
	return 0;
}

static int queue_piece(struct conn *c, const rln_piece *pc, struct send_unit *u)
{
	if (pc->release)
		return queue_guard(c, pc, u);
	if (!pc->len)
		return 0;
	struct chunk *k = view_chunk(c, pc->data, pc->len);
	bool copy = pc->len <= VIEW_COPY || (!io_pool_ample(c->io) && pc->len <= TX_SMALL);
	if (k && !copy)
		return queue_ref(c, pc->data, pc->len, k, u);
	if (k || !u || pc->len <= VIEW_COPY)
		return queue_copy(c, pc->data, pc->len, u);
	return queue_ref(c, pc->data, pc->len, NULL, u);
}

/* The caller's guarded pieces that were not queued: taken in every outcome. */
static void release_unqueued(struct io *io, const rln_piece *pc, int from, int n)
{
	for (int i = from; i < n; i++) {
		if (!pc[i].release)
			continue;
		struct tx *t = io ? tx_alloc(io, TX_GUARD) : NULL;
		if (!t) { /* off-worker, or out of memory: better here than never */
			pc[i].release(pc[i].ud);
			continue;
		}
		t->guard.release = pc[i].release;
		t->guard.ud = pc[i].ud;
		list_init(&t->guard.node);
		tx_release_due(io, t);
	}
}

/* Borrowed bytes that are not part of a view: they decide whether the call must wait for them. */
static size_t borrowed_bytes(struct conn *c, const rln_piece *pc, int n, size_t *total)
{
	size_t sum = 0;

	*total = 0;
	for (int i = 0; i < n; i++) {
		*total += pc[i].len;
		if (!pc[i].release && pc[i].len && !view_chunk(c, pc[i].data, pc[i].len))
			sum += pc[i].len;
	}
	return sum;
}

/*
 * Wait until every entry of the unit has left the queue. The frame that holds it must not go
 * earlier: a cancellation first takes the unit back, from the queue or from the kernel.
 */
static int unit_wait(struct conn *c, rln_conn h, struct send_unit *u, const char *call)
{
	int why = 0;

	while (!u->done) {
		if (why) {
			wait_uncancellable(&u->waiters, call);
			continue;
		}
		why = wait_on(&u->waiters, call);
		if (!why || u->done)
			continue;
		bool flying =
			c->tx_head && c->tx_head->unit == u && (op_busy(&c->send) || c->zc_live);
		if (flying)
			conn_send_cancel(c);
		else if (u->sent == 0)
			conn_tx_remove(c, u);
		else { /* between two SQEs of the unit */
			c->failed_sent = u->sent;
			conn_send_fail(c, -EPIPE);
		}
	}
	if (!u->err)
		return 0;
	if (why)
		return why;
	return same_conn(c, h) || u->err != -ECANCELED ? u->err : -ECONNABORTED;
}

static bool pieces_ok(const rln_piece *pc, int n)
{
	if (n < 0 || n > PIECES_MAX || (n && !pc))
		return false;
	for (int i = 0; i < n; i++)
		if (!pc[i].data && pc[i].len)
			return false;
	return true;
}

/*
 * PERF: most sends. One piece this small is copied wherever it lies, and nobody waits for it: what
 * is asked of larger ones (part of a view? to be waited for?) need not be.
 */
static bool plainly_copied(const struct conn *c, const rln_piece *pc, int n)
{
	return n == 1 && !pc->release && pc->len && pc->len <= VIEW_COPY &&
	       pc->len <= c->io->cfg.send_chunk;
}

static ssize_t send_pieces(rln_conn h, const rln_piece *pc, int n, const char *call)
{
	struct conn *c = NULL;
	size_t total = 0;
	int i = 0, e = wait_enter(call);

	if (!e)
		e = conn_lookup(h, &c, call);
	if (!e && !pieces_ok(pc, n))
		e = -EINVAL;
	if (!e)
		e = send_admit(c, h, call);
	if (e) {
		if (c && same_conn(c, h))
			admit_next(c); /* we may have been the one that was woken */
		release_unqueued(io_current(), pc, 0, pc && n > 0 ? n : 0);
		return e;
	}
	if (RLN_LIKELY(plainly_copied(c, pc, n))) {
		e = queue_copy(c, pc->data, pc->len, NULL);
		admit_next(c);
		wait_done_quickly();
		return e ? e : (ssize_t)pc->len;
	}
	struct send_unit unit = { 0 }, *u = NULL;
	struct tx *mark = c->tx_tail;
	size_t mark_len = mark ? mark->len : 0;
	if (borrowed_bytes(c, pc, n, &total) > c->io->cfg.send_chunk) {
		u = &unit;
		list_init(&u->waiters);
		u->entries = 1; /* held while queueing */
	}
	while (i < n && !(e = queue_piece(c, &pc[i], u)))
		i++;
	if (e) { /* out of memory half way, at piece i: none of it was queued */
		release_unqueued(c->io, pc, i, n);
		conn_tx_rollback(c, mark, mark_len);
		admit_next(c);
		return e;
	}
	admit_next(c);
	if (!u) {
		wait_done_quickly();
		return (ssize_t)total;
	}
	if (--u->entries == 0)
		return (ssize_t)total;
	e = unit_wait(c, h, u, call);
	return e ? e : (ssize_t)total;
}

ssize_t rln_send(rln_conn h, const void *p, size_t n)
{
	rln_piece pc = { .data = p, .len = n };
	return send_pieces(h, &pc, 1, "rln_send");
}

ssize_t rln_sendv(rln_conn h, const struct iovec *iov, int n)
{
	rln_piece few[RING_IOV_MAX] = { 0 }, *pc = few;

	if (n < 0 || n > PIECES_MAX || (n && !iov))
		return -EINVAL;
	if (n > RING_IOV_MAX && !(pc = sys_alloc((size_t)n * sizeof *pc)))
		return -ENOMEM;
	for (int i = 0; i < n; i++)
		pc[i] = (rln_piece){ .data = iov[i].iov_base, .len = iov[i].iov_len };
	ssize_t r = send_pieces(h, pc, n, "rln_sendv");
	if (pc != few)
		sys_free(pc);
	return r;
}

ssize_t rln_send_pieces(rln_conn h, const rln_piece *pc, int n)
{
	return send_pieces(h, pc, n, "rln_send_pieces");
}

int rln_send_nowait(rln_conn h, const void *p, size_t n)
{
	struct conn *c;
	int e = conn_lookup(h, &c, "rln_send_nowait");

	if (e || (e = write_refused(c)))
		return e;
	if (n > INT_MAX || (n && !p))
		return -EINVAL;
	if (c->tx_bytes > c->mode->send_high || !list_empty(&c->senders) || c->sender_woken) {
		c->owed_writable += c->owed_writable < UINT16_MAX;
		conn_mark(c);
		return -EAGAIN;
	}
	if (queue_full(c))
		c->io->stats.budget_over++;
	if (!n)
		return 0;
	if (n <= VIEW_COPY)
		return queue_copy(c, p, n, NULL);
	return queue_piece(c, &(rln_piece){ .data = p, .len = n }, NULL);
}

int rln_flush(rln_conn h)
{
	struct conn *c;
	int e = wait_enter("rln_flush");

	if (e || (e = conn_lookup(h, &c, "rln_flush")))
		return e;
	while (!conn_send_idle(c)) {
		e = wait_on(&c->flushers, "rln_flush");
		if (e)
			return e;
		if (!same_conn(c, h))
			return -ECONNABORTED;
	}
	wait_done_quickly();
	return same_conn(c, h) && c->write == WRITE_BROKEN ? c->write_err : 0;
}

size_t rln_sent(rln_conn h)
{
	struct conn *c;
	return conn_lookup(h, &c, "rln_sent") ? 0 : c->failed_sent;
}

int rln_shutdown_send(rln_conn h)
{
	struct conn *c;
	int e = conn_lookup(h, &c, "rln_shutdown_send");

	if (e)
		return e;
	if (c->write == WRITE_BROKEN)
		return c->write_err;
	if (!c->family)
		return -ENOTSOCK;
	if (c->write == WRITE_OPEN) {
		conn_set_write(c, WRITE_FIN_PENDING, 0);
		conn_mark(c);
	}
	return 0;
}
