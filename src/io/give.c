/*
 * Handing a connection to another worker. The descriptor travels by MSG_RING into a slot the
 * receiving ring chooses; its completion over there carries the address of a message that says how
 * the connection is to be served, with the input that was already received.
 */
#include "io/connect.h"
#include "io/listen.h"

#include "base/assert.h"
#include "base/log.h"
#include "base/mark.h"
#include "base/sys.h"
#include "io/renew.h"
#include <errno.h>
#include <stdatomic.h>
#include <string.h>

/* user_data of a completion that is not an op: ops are aligned, so the low bits are free. */
#define GIVE_TAG 1u

/* What travels: the receiver's as soon as its completion is posted, which may be before ours. */
struct give_msg {
	struct conn_mode *mode; /* the connection's own over there */
	void *user;
	unsigned char peer[28];
	socklen_t peer_bytes;
	int family;
	int read_err; /* the kernel told it once, here: the receives over there would give 0 */
	/*
	 * Set last, looked at first. The kernel's lock orders the two workers already; this says so
	 * to a reader of the code, and to ThreadSanitizer.
	 */
	atomic_bool sealed;
	size_t bytes; /* input that travels along */
	uint8_t data[];
};

/* What stays: the operation on the sending ring. */
struct give {
	struct op_io io;
	unsigned to; /* the other worker */
	struct conn *conn;
	struct give_msg *msg;
};

static void msg_free(struct give_msg *m)
{
	sys_free(m->mode);
	sys_free(m);
}

static struct give *give_new(void)
{
	struct give *g = sys_zalloc(sizeof *g);

	if (g)
		g->msg = sys_zalloc(sizeof *g->msg);
	if (g && g->msg)
		g->msg->mode = sys_zalloc(sizeof *g->msg->mode);
	if (g && g->msg && g->msg->mode)
		return g;
	if (g)
		sys_free(g->msg);
	sys_free(g);
	return NULL;
}

/* It did not arrive: the message is ours, the connection has no owner. */
static void refused(struct give *g, int err)
{
	struct conn *c = g->conn;

	RLN_MARK("give-refused");
	log_line(RLN_LOG_ERROR, "rln_give: the other worker refused: %s; connection closed",
		 rln_strerror(err));
	c->giving = false;
	c->give = NULL;
	conn_close(c, err);
	msg_free(g->msg);
	sys_free(g);
}

static void sent(struct op_io *op, const struct op_event *ev)
{
	struct give *g = container_of(op, struct give, io);
	struct conn *c = g->conn;

	op_reset(&op->op);
	if (ev->res < 0) {
		c->io->give_end(c->io->ring_of_ctx, g->to);
		refused(g, ev->res);
		return;
	}
	sys_free(g);
	c->give = NULL;
	list_remove(&c->parked); /* it may have been paused for the budget */
	c->opened = false;	 /* its last news is told over there */
	c->io->stats.conns_open--;
	c->io->stats.given++;
	conn_recv_drop(c);
	conn_set_life(c, LIFE_CLOSING);
	c->phase = CLOSE_DIRECT;
	timer_cancel(&c->io->loop->wheel, &c->timer);
	conn_ctl(c, CTL_CLOSE);
}

void give_step(struct conn *c)
{
	struct give *g = c->give;

	if (!g || op_busy(&g->io.op) || c->arm != ARM_IDLE || conn_ctl_busy(c) ||
	    c->cancel.op.state != OP_IDLE)
		return;
	size_t n = c->rx.bytes;
	struct give_msg *m = sys_alloc(sizeof *m + n);
	if (!m) {
		refused(g, -ENOMEM);
		return;
	}
	/* it may have begun to stop since rln_give looked; from here on it waits for us */
	int ring_fd = c->io->give_begin(c->io->ring_of_ctx, g->to);
	if (ring_fd < 0) {
		sys_free(m);
		refused(g, ring_fd);
		return;
	}
	*m = *g->msg;
	m->read_err = c->read == READ_ERROR ? c->read_err : 0;
	sys_free(g->msg);
	g->msg = m;
	m->bytes = n;
	c->io->queued_bytes -= n;
	chunks_read(&c->rx, m->data, n);
	atomic_store_explicit(&m->sealed, true, memory_order_release);
	g->io.a.off = c->slot;
	g->io.a.slot = OP_SLOT_AUTO;
	g->io.a.user_data = (uint64_t)(uintptr_t)m | GIVE_TAG;
	op_submit(&c->io->loop->ops, &g->io.op);
}

/* Not even an object for it: its owner is told, with a handle that names nothing. */
static void lost(struct io *io, unsigned slot, struct give_msg *g)
{
	RLN_MARK("give-without-an-object");
	log_line(RLN_LOG_ERROR, "rln_give: out of memory; connection closed");
	files_remove(&io->files, slot);
	renew_dropped(io);
	if (g->mode->on_close)
		g->mode->on_close((rln_conn){ 0 }, -ENOMEM, g->mode->close_arg);
	msg_free(g);
}

/* It is here, and cannot be served: its owner is told as of any other. */
static void unserved(struct conn *c)
{
	RLN_MARK("give-without-memory-for-its-input");
	log_line(RLN_LOG_ERROR, "rln_give: out of memory for its input; connection reset");
	conn_set_life(c, LIFE_OPEN);
	c->opened = true;
	c->io->stats.conns_open++;
	conn_abort(c, -ENOMEM);
}

void give_open(struct io *io, unsigned slot, struct give_msg *g)
{
	struct conn *c = conn_at(io, slot);
	if (!c) {
		lost(io, slot, g);
		return;
	}
	struct chunk *k = g->bytes ? chunk_heap(io, g->bytes) : NULL;
	bool short_of_memory = g->bytes && !k;
	conn_open(c, g->mode, g->family);
	c->own_mode = true;
	c->user = g->user;
	memcpy(c->peer.raw, g->peer, g->peer_bytes);
	c->peer_bytes = (uint8_t)g->peer_bytes;
	if (k) {
		memcpy(k->data, g->data, g->bytes);
		k->end = (uint32_t)g->bytes;
		chunks_push(&c->rx, k);
		io->queued_bytes += g->bytes;
	}
	if (g->read_err) {
		RLN_MARK("give-carries-an-error");
		conn_set_read(c, READ_ERROR, g->read_err); /* INV-20 */
	}
	sys_free(g); /* its mode is the connection's now */
	io->stats.taken++;
	listen_room_changed(io); /* the slot may have been promised to a client */
	if (short_of_memory) {
		unserved(c);
		return;
	}
	conn_serve(c);
	if (io->cancelled) {
		RLN_MARK("give-arrives-past-the-drain");
		conn_abort(c, -ESHUTDOWN); /* too late: it ends as all others have */
	}
}

/* The kernel frees a slot before its close CQE is seen: the one before may stand there still. */
void give_arrived(void *ctx, const struct io_uring_cqe *cqe)
{
	struct io *io = ctx;
	struct give_msg *g = (struct give_msg *)(uintptr_t)(cqe->user_data & ~(uint64_t)GIVE_TAG);

	if (!(cqe->user_data & GIVE_TAG) || cqe->res < 0)
		return;
	RLN_ASSERT(atomic_load_explicit(&g->sealed, memory_order_acquire));
	io->give_end(io->ring_of_ctx, io->cfg.worker);
	struct conn *c = conn_at(io, (unsigned)cqe->res);
	if (!c || c->life == LIFE_CLOSED || c->phase != CLOSE_DIRECT || c->reopen) {
		give_open(io, (unsigned)cqe->res, g);
		return;
	}
	RLN_MARK("give-into-a-slot-that-closes");
	c->arrived_here = true;
	c->arrived = g;
}

int rln_give(rln_conn h, unsigned worker, void (*on_conn)(rln_conn c, void *arg), void *arg)
{
	struct conn *c;
	int ring_fd, e = conn_lookup(h, &c, "rln_give");

	if (e)
		return e;
	struct io *io = c->io;
	if (!on_conn)
		return -EINVAL;
	ring_fd = io->ring_of(io->ring_of_ctx, worker);
	if (ring_fd < 0)
		return ring_fd;
	if (!io->caps->msg_ring_fd)
		return -EOPNOTSUPP;
	if (c->read == READ_ERROR)
		return c->read_err;
	if (!conn_send_idle(c) || c->zc_owed || !list_empty(&c->reader) || c->write != WRITE_OPEN)
		return -EBUSY;
	if (worker == io->cfg.worker)
		return -EINVAL;
	struct give *g = give_new();
	if (!g)
		return -ENOMEM;
	op_io_init(&g->io, OP_MSG_RING_FD, sent);
	g->io.a.fd = ring_fd;
	g->to = worker;
	g->conn = c;
	struct give_msg *m = g->msg;
	*m->mode = *c->mode;
	m->mode->cb = NULL;
	m->mode->on_request = NULL;
	m->mode->on_conn = on_conn;
	m->mode->arg = arg;
	m->mode->listener = NULL; /* of this worker; the connection counts against none there */
	m->user = c->user;
	m->family = c->family;
	memcpy(m->peer, c->peer.raw, c->peer_bytes);
	m->peer_bytes = c->peer_bytes;
	c->give = g;
	c->giving = true;
	c->task = NULL;
	conn_lent_release(c);
	conn_mark(c);
	return 0;
}
