/*
 * Receiving: the one receive op of a connection, what its completions mean, and when it is armed,
 * paused, parked or replaced. The calls users make are in recv_api.c.
 */
#include "io/conn.h"

#include "base/assert.h"
#include "base/mark.h"
#include "base/sys.h"
#include <errno.h>
#include <poll.h>
#include <string.h>

/* Below this a fallback receive's memory is not worth keeping for the bytes it brought. */
#define FALLBACK_BYTES 65536
#define FALLBACK_COPY 4096

/*
 * Bulk: cold small buffers and one completion each cost more than the bytes are worth. A connection
 * that filled HOT_AFTER buffers in a row receives single-shot into HOT_BYTES of pooled memory, last
 * used first (cache), until COLD_AFTER small receives say otherwise. An armed receive holds its
 * memory, so at most HOT_MAX are armed; the longest idle one goes back to multishot.
 */
#define HOT_BYTES 65536
#define HOT_AFTER 4
#define COLD_AFTER 4
#define HOT_MAX 64

/* ---- the op */
static void recv_prepare(struct ops *ops, struct op *op, struct io_uring_sqe *sqe)
{
	struct conn *c = container_of(op, struct conn, recv);
	int slot = (int)c->slot;

	(void)ops;
	switch ((enum recv_mode)c->recv_mode) {
	case RECV_MULTISHOT:
		io_uring_prep_recv_multishot(sqe, slot, NULL, 0, 0);
		sqe->flags |= IOSQE_BUFFER_SELECT;
		sqe->buf_group = c->io->bufs.group;
		break;
	case RECV_SELECT_ONE: /* not a socket: pipes and terminals have no multishot receive */
		io_uring_prep_read(sqe, slot, NULL, c->io->bufs.buf_bytes, (uint64_t)-1);
		sqe->flags |= IOSQE_BUFFER_SELECT;
		sqe->buf_group = c->io->bufs.group;
		break;
	case RECV_FALLBACK:
	case RECV_HOT:
		if (c->family)
			io_uring_prep_recv(sqe, slot, c->fallback->data, c->fallback->cap, 0);
		else
			io_uring_prep_read(sqe, slot, c->fallback->data, c->fallback->cap,
					   (uint64_t)-1);
		break;
	case RECV_INTO: {
		size_t n = c->into->n < INT32_MAX ? c->into->n : INT32_MAX;
		/* KERNEL: with MSG_WAITALL a reset behind the first bytes is taken and not told,
		 * and the next receive gives 0: so a reader that wants all of it asks again */
		if (c->family)
			io_uring_prep_recv(sqe, slot, c->into->p, n, 0);
		else
			io_uring_prep_read(sqe, slot, c->into->p, (unsigned)n, (uint64_t)-1);
		break;
	}
	}
	sqe->flags |= IOSQE_FIXED_FILE;
}

static void recv_submit(struct conn *c, enum recv_mode mode)
{
	c->recv_mode = (uint8_t)mode;
	conn_set_arm(c, ARM_ARMED);
	op_submit(&c->io->loop->ops, &c->recv);
}

/* ---- what arrived */
static void recv_data(struct conn *c, struct chunk *k)
{
	struct io *io = c->io;
	size_t n = chunk_bytes(k);

	c->last_rx_ns = io->loop->now_ns;
	c->heard = true;
	io->stats.recv_bytes += n;
	if (c->life == LIFE_CLOSING) {
		RLN_MARK("recv-while-closing");
		c->arriving = true;
		chunk_unref(k);
		return;
	}
	/*
	 * In place while the pool has room. While the receive is being paused buffers are held, not
	 * copied: copying would republish them and the multishot would go on eating.
	 */
	bool hold = io_pool_ample(io) || c->arm == ARM_CANCELLING || conn_paused(c);
	/* a reader that is behind must not hold 64 KiB for every few bytes */
	bool sparse = k->bid < 0 && c->rx.head && n < HOT_BYTES / 2;
	if (((k->bid >= 0 && !hold) || sparse) &&
	    chunks_append(io, &c->rx, k->data + k->off, n) == 0) {
		RLN_MARK("recv-copied-for-want-of-buffers");
		chunk_unref(k);
	} else {
		chunks_push(&c->rx, k);
	}
	io->queued_bytes += n;
	conn_deliver(c);
}

void conn_read_end(struct conn *c, int err)
{
	if (c->read != READ_OPEN)
		return;
	conn_set_read(c, err ? READ_ERROR : READ_EOF, err);
	if (c->life != LIFE_CLOSING)
		conn_deliver(c);
	conn_mark(c);
}

/*
 * INV-20. A receive of 0 is EOF, unless a reset was told to the send instead (Linux reports it
 * once, to whichever op runs first, and the receive then gives 0). The socket's state tells: a
 * connection that was reset polls HUP, one whose peer sent FIN only RDHUP.
 */
static void recv_zero(struct conn *c)
{
	bool tcp = c->family == AF_INET || c->family == AF_INET6;

	if (c->write == WRITE_BROKEN && tcp) {
		RLN_MARK("eof-after-a-failed-send");
		conn_read_end(c, c->write_err == -EPIPE ? -ECONNRESET : c->write_err);
	} else if (tcp && !conn_send_idle(c) && c->life == LIFE_OPEN) {
		RLN_MARK("eof-held");
		c->eof_held = true; /* conn_recv_step asks */
	} else {
		conn_read_end(c, 0);
	}
}

void conn_recv_hup(struct conn *c, int revents)
{
	if (!c->eof_held)
		return;
	bool reset = revents > 0 && revents & (POLLERR | POLLHUP);

	if (reset)
		RLN_MARK("eof-was-a-reset");
	c->eof_held = false;
	conn_read_end(c, reset ? -ECONNRESET : 0);
}

/*
 * No buffer. A connection with a partial message must not wait for others to give theirs back: its
 * sender would stall on a closed window. It receives once into memory of its own.
 */
static void recv_nobufs(struct conn *c)
{
	struct io *io = c->io;

	io->stats.recv_parked++;
	if (io->bufs.filled < io->bufs.capacity && io->queued_bytes < io->cfg.buffer_budget)
		bufring_grow(&io->bufs, io->bufs.filled);
	if (c->rx.bytes || !list_empty(&c->reader) || c->life == LIFE_CLOSING) {
		RLN_MARK("recv-fallback-wanted");
		c->want_fallback = true;
		return;
	}
	RLN_MARK("recv-parked");
	conn_set_arm(c, ARM_PARKED);
	list_push_back(&io->parked, &c->parked);
	io_parked_refused(io);
}

void conn_recv_unpark(struct conn *c)
{
	list_remove(&c->parked);
	if (c->arm == ARM_PARKED)
		conn_set_arm(c, ARM_IDLE);
}

static void into_ended(struct conn *c, int res)
{
	struct recv_into *into = c->into;

	if (res > 0)
		into->got = (size_t)res;
	into->err = res < 0 ? res : 0;
	into->done = true;
	c->into = NULL;
	c->reader_direct = false;
	c->bulk = true;
	if (res > 0) {
		c->last_rx_ns = c->io->loop->now_ns;
		c->heard = true;
		c->io->stats.recv_bytes += (uint64_t)res;
	}
	wake_all(&c->reader, 0);
}

/* Taken back only to be armed again (renew.c): the reader need not know. */
static bool into_renewed(const struct conn *c, int res)
{
	return res == -ECANCELED && c->life == LIFE_OPEN && !c->giving && !c->into->cancel;
}

static struct chunk *fallback_take(struct conn *c, int res)
{
	struct chunk *k = c->fallback;

	c->fallback = NULL;
	k->end = res > 0 ? (uint32_t)res : 0;
	return k;
}

/* The bytes of this completion, as a chunk with one reference, or NULL. Buffers always go home. */
static struct chunk *recv_chunk(struct conn *c, const struct op_event *ev)
{
	struct io *io = c->io;

	if (ev->flags & IORING_CQE_F_BUFFER) {
		unsigned bid = ev->flags >> IORING_CQE_BUFFER_SHIFT;
		bufring_take(&io->bufs, bid);
		if (ev->res > 0)
			return chunk_lease(io, bid, (uint32_t)ev->res);
		bufring_give(&io->bufs, bid);
		return NULL;
	}
	if (c->recv_mode != RECV_FALLBACK && c->recv_mode != RECV_HOT)
		return NULL;
	struct chunk *k = fallback_take(c, ev->res);
	if (ev->res > 0 && (ev->res >= FALLBACK_COPY || c->life == LIFE_CLOSING))
		return k;
	if (ev->res > 0) {
		struct chunk *small = chunk_heap(io, (size_t)ev->res);
		if (!small) {
			RLN_MARK("recv-small-copy-without-memory");
			return k;
		}
		memcpy(small->data, k->data, (size_t)ev->res);
		small->end = (uint32_t)ev->res;
		chunk_unref(k);
		return small;
	}
	chunk_unref(k);
	return NULL;
}

static void hot_unlist(struct conn *c)
{
	list_remove(&c->parked);
	c->io->hot_armed--;
}

/* Does this connection move bulk? full: the receive filled what it was given. */
static void note_fill(struct conn *c, int res)
{
	bool small = c->hot ? res < FALLBACK_COPY : (uint32_t)res < c->io->bufs.buf_bytes;

	if (small == !c->hot) {
		c->full_run = 0;
		return;
	}
	if (++c->full_run < (c->hot ? COLD_AFTER : HOT_AFTER))
		return;
	c->full_run = 0;
	if (c->hot)
		RLN_MARK("recv-gets-cold");
	else
		RLN_MARK("recv-gets-hot");
	c->hot = !c->hot;
	conn_mark(c);
}

static void recv_error(struct conn *c, int res, bool cancelling)
{
	switch (res) {
	case -ENOBUFS:
		recv_nobufs(c);
		break;
	case -EINTR:
	case -EAGAIN:
		RLN_MARK("recv-interrupted");
		/* what made it fall back holds still: no buffer would be found */
		if (c->recv_mode == RECV_FALLBACK)
			c->want_fallback = true;
		break;
	case -ECANCELED:
		break; /* ours, or to be tried again by conn_recv_step */
	default:
		if (!(cancelling && c->life == LIFE_CLOSING))
			conn_read_end(c, res);
	}
}

static void recv_finish(struct op *op, const struct op_event *ev)
{
	struct conn *c = container_of(op, struct conn, recv);
	struct chunk *k = recv_chunk(c, ev);
	bool cancelling = c->arm == ARM_CANCELLING;
	enum recv_mode mode = (enum recv_mode)c->recv_mode;

	if (ev->res > 0 && mode != RECV_INTO && mode != RECV_FALLBACK)
		note_fill(c, ev->res);
	if (k && !ev->last) {
		recv_data(c, k);
		if (conn_paused(c))
			conn_mark(c);
		return;
	}
	if (!ev->last)
		return;
	if (mode == RECV_HOT)
		hot_unlist(c);
	if (k)
		recv_data(c, k);
	op_reset(op);
	conn_set_arm(c, ARM_IDLE); /* INV-07: by F_MORE alone, never by res */
	if (mode == RECV_INTO && !into_renewed(c, ev->res))
		into_ended(c, ev->res);
	if (ev->res == 0 && c->read == READ_OPEN)
		recv_zero(c);
	else if (ev->res < 0)
		recv_error(c, ev->res, cancelling);
	if ((cancelling || conn_paused(c)) && !io_pool_ample(c->io))
		(void)chunks_own(c->io, &c->rx); /* out of memory: the buffers stay held */
	conn_mark(c);
}

const struct op_class conn_recv_class = { OP_RECV_MULTI, recv_prepare, recv_finish };

/* ---- arming */

/* Whoever serves the connection waits for more than is buffered. */
static bool waits_for_input(const struct conn *c)
{
	if (!list_empty(&c->reader))
		return true;
	if (c->mode->cb)
		return !c->data_blocked;
	return c->mode->on_request && !c->serving;
}

/* INV-83 */
bool conn_paused(const struct conn *c)
{
	const struct io *io = c->io;

	if (c->rx.bytes >= c->mode->recv_max)
		return true;
	/* never one that waits for the rest of something: it could not go on */
	return io->queued_bytes > io->cfg.buffer_budget && c->rx.bytes && !waits_for_input(c);
}

void conn_recv_disarm(struct conn *c)
{
	if (op_busy(&c->cancel.op)) {
		RLN_MARK("recv-cancel-waits-for-another");
		return; /* of the send: its CQE marks us dirty again */
	}
	conn_set_arm(c, ARM_CANCELLING);
	op_cancel_with(&c->io->loop->ops, &c->recv, &c->cancel);
}

static bool hot_arm(struct conn *c)
{
	struct io *io = c->io;

	/*
	 * While its own send is stuck the bytes received would only pile up, each in memory that is
	 * colder than the last: wait for the send, but a millisecond at most, once for each send.
	 * The peer may be one that does not read before it has written.
	 */
	if (op_busy(&c->send) && !c->hot_waited) {
		RLN_MARK("hot-waits-for-its-send");
		c->hot_waits = true;
		return true;
	}
	/* Its place is another's only when its receive has ended: this one's turn comes with the
	 * next full buffers. */
	if (io->hot_armed >= HOT_MAX) {
		RLN_MARK("hot-too-many");
		struct conn *idle = container_of(io->hot.next, struct conn, parked);
		idle->hot = c->hot = false;
		conn_mark(idle);
		return false;
	}
	c->fallback = chunk_heap(io, HOT_BYTES);
	if (!c->fallback) {
		RLN_MARK("hot-without-memory");
		c->hot = false;
		return false;
	}
	io->hot_armed++;
	list_push_back(&io->hot, &c->parked);
	io->stats.recv_hot++;
	recv_submit(c, RECV_HOT);
	return true;
}

static void recv_arm(struct conn *c)
{
	if (c->reader_direct) {
		if (c->rx.bytes) { /* older bytes first: the reader copies them and asks again */
			RLN_MARK("recv-into-behind-older-bytes");
			wake_all(&c->reader, 0);
		} else {
			recv_submit(c, RECV_INTO);
		}
		return;
	}
	if (c->want_fallback) {
		c->want_fallback = false;
		c->fallback = chunk_heap(c->io, FALLBACK_BYTES);
		if (c->fallback) {
			c->io->stats.recv_fallback++;
			recv_submit(c, RECV_FALLBACK);
			return;
		}
		RLN_MARK("recv-fallback-without-memory");
	}
	if (c->hot && hot_arm(c))
		return;
	if (c->bulk && list_empty(&c->reader) && !c->mode->cb && !c->mode->on_request)
		return;
	recv_submit(c, c->family ? RECV_MULTISHOT : RECV_SELECT_ONE);
}

static void over_budget(struct conn *c)
{
	struct io *io = c->io;

	if (c->rx.bytes >= c->mode->recv_max || list_linked(&c->parked))
		return;
	RLN_MARK("recv-over-budget");
	io->stats.budget_over++;
	list_push_back(&io->over_budget, &c->parked);
}

void conn_recv_step(struct conn *c)
{
	bool paused = conn_paused(c);

	c->io->stats.recv_paused += paused && !c->paused;
	c->paused = paused;
	if (c->eof_held && !conn_ctl_busy(c))
		conn_ctl(c, CTL_HUP);
	if (c->arm == ARM_ARMED) {
		bool wrong_mode = c->reader_direct ? c->recv_mode != RECV_INTO
						   : c->hot != (c->recv_mode == RECV_HOT) &&
							     c->recv_mode != RECV_FALLBACK;
		bool unwanted = c->recv_mode == RECV_INTO ? c->into->cancel : paused || c->giving;
		if (unwanted || wrong_mode)
			conn_recv_disarm(c);
		return;
	}
	if (c->arm == ARM_PARKED && (c->reader_direct || c->giving))
		conn_recv_unpark(c);
	if (c->arm == ARM_IDLE && c->reader_direct && c->read != READ_OPEN) {
		RLN_MARK("recv-into-after-the-end");
		wake_all(&c->reader, 0); /* the end came before its receive could begin */
	}
	if (c->arm != ARM_IDLE || c->read != READ_OPEN || c->eof_held || c->giving)
		return;
	if (paused && !c->reader_direct) {
		over_budget(c);
		return;
	}
	if (list_linked(&c->parked))
		list_remove(&c->parked);
	recv_arm(c);
}

void conn_recv_discard(struct conn *c)
{
	if (c->arm != ARM_IDLE || c->read != READ_OPEN)
		return;
	if (c->want_fallback && (c->fallback = chunk_heap(c->io, FALLBACK_COPY)))
		recv_submit(
			c, RECV_FALLBACK); /* nobody waits for what it brings: a little at a time */
	else
		recv_submit(c, RECV_MULTISHOT);
	c->want_fallback = false;
}

/* ---- delivery and taking */
void conn_deliver(struct conn *c)
{
	struct waiter *w = waiter_first(&c->reader);

	if (c->reader_direct)
		return; /* told by into_ended() or recv_arm() */
	if (!w) {
		serve_data(c);
		return;
	}
	if (c->rx.bytes >= c->want || c->read != READ_OPEN || c->rx.bytes >= c->mode->recv_max)
		waiter_wake(w, 0);
}

void conn_recv_taken(struct conn *c, size_t n)
{
	c->io->queued_bytes -= n;
	c->took = true;
	c->shown = c->shown > n ? c->shown - (uint32_t)n : 0;
	if (c->arm == ARM_IDLE && c->read == READ_OPEN)
		conn_mark(c);
}

void conn_lent_release(struct conn *c)
{
	c->lent_max = 0;
	if (c->lent) {
		chunk_unref(c->lent);
		c->lent = NULL;
	}
}

void conn_recv_drop(struct conn *c)
{
	c->io->queued_bytes -= c->rx.bytes;
	chunks_drop_all(&c->rx);
	conn_lent_release(c);
	c->shown = 0;
}
