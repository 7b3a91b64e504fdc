/*
 * Closing. After rln_close no new user SQE begins; what is queued goes out, bounded; bytes left
 * over mean RST, never FIN; then every op is cancelled and awaited, and the descriptor closed.
 *
 *   FLUSH --sent--> QUIESCE --all ops ended--> DIRECT --close CQE--> slot free
 *     |  \--input unread or arriving--> LINGER --EOF or 2 s--> QUIESCE
 *     |   \--notifications owed--> FIN --> QUIESCE --> OWED --> DIRECT
 *     \--time out, error, rln_reset--> RESET --> QUIESCE
 */
#include "io/conn.h"

#include "base/assert.h"
#include "base/log.h"
#include "base/mark.h"
#include "base/sys.h"
#include "io/listen.h"
#include "io/renew.h"
#include <errno.h>
#include <string.h>

static bool is_tcp(const struct conn *c)
{
	return c->family == AF_INET || c->family == AF_INET6;
}

/* err: what their calls return: closed locally, or why the runtime gave the connection up. */
static void wake_waiters(struct conn *c, int err)
{
	if (c->into) /* the kernel may be writing there: told when the op has ended */
		c->into->cancel = true;
	if (!c->into || c->recv_mode != RECV_INTO || c->arm == ARM_IDLE) {
		c->into = NULL;
		c->reader_direct = false;
		wake_all(&c->reader, err);
	}
	wake_all(&c->senders, err);
	wake_all(&c->flushers, err);
}

static void begin(struct conn *c, int err)
{
	struct io *io = c->io;

	/* input nobody took, or that may still come: closing at once would answer it with RST */
	c->arriving = c->rx.bytes || (c->read == READ_OPEN && c->arm != ARM_ARMED);
	conn_set_life(c, LIFE_CLOSING);
	c->phase = CLOSE_FLUSH;
	c->close_err = (int16_t)err;
	c->close_began_ns = c->last_tx_ns = io->loop->now_ns;
	wake_waiters(c, err == -ETIMEDOUT ? err : -ECONNABORTED);
	conn_recv_drop(c);
	if (c->arm == ARM_PARKED)
		conn_recv_unpark(c);
	if (!op_busy(&c->recv)) /* else it stands in io.hot, and leaves it by its CQE */
		list_remove(&c->parked);
	listener_unqueue(c);
	list_remove(&c->starve);
	if (c->starved)
		serve_watch_starved(io);
	c->starved = false;
	conn_timer_update(c);
	c->is_dirty ? (void)0 : conn_mark(c);
}

void conn_close(struct conn *c, int err)
{
	if (c->life == LIFE_OPEN || c->life == LIFE_OPENING)
		begin(c, err);
}

void conn_abort(struct conn *c, int err)
{
	if (c->life == LIFE_CLOSED)
		return;
	conn_close(c, err);
	if (!c->reset_wanted && c->phase != CLOSE_DIRECT) {
		c->reset_wanted = true;
		if (c->phase != CLOSE_OWED)
			c->phase = CLOSE_RESET;
	}
	conn_mark(c);
}

/* ---- phases; each returns true when the next one may be looked at at once */
static bool step_flush(struct conn *c)
{
	conn_send_step(c);
	if (c->write == WRITE_BROKEN && !op_busy(&c->send) && !c->zc_live) {
		/* INV-19: a peer that is gone needs no RST; one that is not must not take this
		 * for the end */
		RLN_MARK("close-of-a-broken-stream");
		bool gone = c->write_err == -ECONNRESET || c->write_err == -EPIPE ||
			    c->write_err == -ENOTCONN;
		c->phase = gone && !c->failed_sent ? CLOSE_QUIESCE : CLOSE_RESET;
		if (!c->close_err)
			c->close_err = c->write_err;
		return true;
	}
	if (!conn_send_idle(c)) {
		if (!c->io->cancelled)
			return false;
		RLN_MARK("close-cut-by-the-drain");
		c->phase = CLOSE_RESET; /* past drain_timeout: kill_timeout does not wait for it */
		return true;
	}
	bool shut = c->write == WRITE_SHUT;
	if (!c->opened)
		c->phase = CLOSE_QUIESCE; /* its connect failed or was given up */
	else if (is_tcp(c) && c->read == READ_OPEN && c->arriving && !c->io->cancelled)
		c->phase = CLOSE_LINGER;
	else if (c->zc_owed && !shut) {
		RLN_MARK("close-fin-before-notifications");
		c->phase = CLOSE_FIN;
	} else
		c->phase = CLOSE_QUIESCE;
	if (c->phase == CLOSE_LINGER) {
		c->io->stats.lingers++;
		c->last_rx_ns = c->io->loop->now_ns; /* the two seconds begin */
	}
	return true;
}

static bool step_reset(struct conn *c)
{
	if (conn_ctl_busy(c)) {
		RLN_MARK("reset-waits-for-the-control-op");
		if (c->ctl_kind == CTL_CONNECT)
			conn_cancel_ctl(c);
		return false;
	}
	c->io->stats.resets += is_tcp(c);
	if (c->tx_head || c->failed_sent || !is_tcp(c))
		c->io->stats.truncated_closes++;
	c->phase = CLOSE_QUIESCE;
	if (is_tcp(c))
		conn_ctl(c, CTL_RESET);
	return true;
}

/* Half-close where the descriptor itself stays open for a while. */
static bool step_shut(struct conn *c)
{
	if (c->write == WRITE_SHUT || c->write == WRITE_BROKEN)
		return true;
	if (conn_ctl_busy(c))
		return false;
	conn_set_write(c, WRITE_SHUT, 0);
	conn_ctl(c, CTL_SHUTDOWN);
	return true;
}

static bool step_linger(struct conn *c)
{
	if (!step_shut(c))
		return false;
	if (c->read != READ_OPEN) {
		c->phase = CLOSE_QUIESCE;
		return true;
	}
	conn_recv_discard(c);
	return false;
}

/* INV-84. Cancel and await. Only the ops' own last CQEs count. */
static bool step_quiesce(struct conn *c)
{
	if (c->arm == ARM_ARMED)
		conn_recv_disarm(c);
	conn_cancel_send(c);
	if (c->ctl_kind == CTL_CONNECT)
		conn_cancel_ctl(c);
	if (c->arm != ARM_IDLE || c->send.state != OP_IDLE || c->zc_live || conn_ctl_busy(c) ||
	    c->cancel.op.state != OP_IDLE)
		return false;
	if (c->tx_head) {
		RLN_MARK("close-drops-its-queue");
		conn_send_fail(c, c->close_err ? c->close_err : -ECONNABORTED);
	}
	/* KERNEL(6.12): before 6.13 a closed direct descriptor's FIN waits for other connections'
	 * older requests (their resource nodes are put in order); a shutdown does not. */
	if (c->family && !c->io->caps->close_sends_fin && !c->shut_before_close &&
	    !(c->reset_wanted && is_tcp(c))) {
		c->shut_before_close = true;
		conn_ctl(c, CTL_SHUTDOWN);
		return false;
	}
	serve_closed(c);
	c->phase = c->zc_owed ? CLOSE_OWED : CLOSE_DIRECT;
	if (c->phase == CLOSE_DIRECT) {
		timer_cancel(&c->io->loop->wheel, &c->timer);
		conn_ctl(c, CTL_CLOSE);
		return false;
	}
	return true;
}

/* FIN is out, the owner was told; the descriptor stays so that a reset can still bring them. */
static bool step_owed(struct conn *c)
{
	if (conn_ctl_busy(c))
		return false;
	if (c->zc_owed) {
		if (c->reset_wanted && is_tcp(c) && !c->owed_reset) {
			RLN_MARK("owed-notifications-are-reset");
			c->owed_reset = true; /* once */
			c->io->stats.resets++;
			conn_ctl(c, CTL_RESET);
		}
		return false;
	}
	timer_cancel(&c->io->loop->wheel, &c->timer);
	c->phase = CLOSE_DIRECT;
	conn_ctl(c, CTL_CLOSE);
	return false;
}

void conn_close_step(struct conn *c)
{
	bool more = true;

	if (c->arm == ARM_ARMED && c->recv_mode == RECV_INTO)
		conn_recv_disarm(c); /* its reader waits for its memory */
	while (more) {
		switch ((enum close_phase)c->phase) {
		case CLOSE_FLUSH:
			more = step_flush(c);
			break;
		case CLOSE_RESET:
			more = step_reset(c);
			break;
		case CLOSE_FIN:
			more = step_shut(c);
			if (more)
				c->phase = CLOSE_QUIESCE;
			break;
		case CLOSE_LINGER:
			more = step_linger(c);
			break;
		case CLOSE_QUIESCE:
			more = step_quiesce(c);
			break;
		case CLOSE_OWED:
			more = step_owed(c);
			break;
		case CLOSE_DIRECT:
		case CLOSE_NONE:
			more = false;
		}
	}
	if (c->phase != CLOSE_DIRECT)
		conn_timer_update(c);
}

/* The descriptor is closed: the slot is free and every handle of this life is stale. */
void conn_closed(struct conn *c, int res)
{
	struct io *io = c->io;
	struct give_msg *arrived = c->arrived_here ? c->arrived : NULL;
	struct listener *reopen = c->arrived_here ? NULL : c->reopen, *lis = c->mode->listener;
	unsigned char peer[sizeof c->peer];
	socklen_t peer_bytes = c->peer_bytes;

	RLN_ASSERT(c->life == LIFE_CLOSING && c->phase == CLOSE_DIRECT && !c->zc_owed); /* INV-09 */
	if (res < 0)
		log_line(RLN_LOG_ERROR, "close of direct descriptor %u: %s", c->slot,
			 rln_strerror(res));
	if (c->own_mode)
		sys_free((void *)(uintptr_t)c->mode);
	conn_set_life(c, LIFE_CLOSED);
	if (++c->generation == 0)
		c->generation = 1;
	c->reopen = NULL;
	c->arrived_here = false;
	io->stats.conns_owned--;
	renew_closed(io, c);
	if (conn_explicit_slot(c))
		files_slot_free(&io->files, c->slot);
	else
		io->auto_open--;
	if (reopen) {
		RLN_MARK("slot-accepted-before-its-close-was-known");
		reopen->reopens--;
		memcpy(peer, c->peer.raw, sizeof peer);
		listen_accepted(reopen, c->slot, c->io->caps->socket_cmd ? NULL : peer, peer_bytes);
	}
	if (arrived) {
		RLN_MARK("slot-given-before-its-close-was-known");
		give_open(io, c->slot, arrived);
	}
	if (lis)
		listen_conn_gone(lis);
	else if (!conn_explicit_slot(c)) /* handed over to us: it took the room of an accept */
		listen_room_changed(io);
}

/* ---- public */
int rln_close(rln_conn h)
{
	struct conn *c;
	int e = conn_lookup(h, &c, "rln_close");

	if (!e)
		conn_close(c, 0);
	return e;
}

int rln_reset(rln_conn h)
{
	struct conn *c;
	int e = conn_lookup(h, &c, "rln_reset");

	if (!e)
		conn_abort(c, 0);
	return e;
}

void rln_conn_cleanup_(rln_conn *h)
{
	rln_conn closed = *h;

	*h = (rln_conn){ 0 };
	if (closed.h)
		(void)rln_close(closed);
}
