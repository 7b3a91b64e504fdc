/*
 * Connections: the table, the handles, the state setters and conn_step(), the one function that
 * decides what a connection does next. Receiving, sending and closing are in files of their own.
 */
#include "io/conn.h"

#include "base/assert.h"
#include "base/log.h"
#include "base/mark.h"
#include "base/sys.h"
#include "io/connect.h"
#include "io/listen.h"
#include <errno.h>
#include <poll.h>
#include <string.h>

/* ---- states: the legal edges, as a bit per target */
static void check_edge(const struct conn *c, const char *field, const uint8_t *edges, unsigned from,
		       unsigned to)
{
	/* INV-21 */
	RLN_ASSERTF(edges[from] & 1u << to, "connection %u: %s %u -> %u", c->slot, field, from, to);
}

void conn_set_arm(struct conn *c, enum conn_arm to)
{
	static const uint8_t edges[] = {
		[ARM_IDLE] = 1 << ARM_ARMED | 1 << ARM_PARKED,
		[ARM_ARMED] = 1 << ARM_IDLE | 1 << ARM_CANCELLING,
		[ARM_CANCELLING] = 1 << ARM_IDLE,
		[ARM_PARKED] = 1 << ARM_IDLE,
	};
	check_edge(c, "arm", edges, c->arm, to);
	c->arm = (uint8_t)to;
}

void conn_set_read(struct conn *c, enum conn_read to, int err)
{
	static const uint8_t edges[] = {
		[READ_OPEN] = 1 << READ_EOF | 1 << READ_ERROR,
		[READ_EOF] = 0,
		[READ_ERROR] = 0,
	};
	check_edge(c, "read", edges, c->read, to);
	c->read = (uint8_t)to;
	c->read_err = (int16_t)err;
}

void conn_set_write(struct conn *c, enum conn_write to, int err)
{
	static const uint8_t edges[] = {
		[WRITE_OPEN] = 1 << WRITE_FIN_PENDING | 1 << WRITE_BROKEN | 1 << WRITE_SHUT,
		[WRITE_FIN_PENDING] = 1 << WRITE_SHUT | 1 << WRITE_BROKEN,
		[WRITE_SHUT] = 1 << WRITE_BROKEN,
		[WRITE_BROKEN] = 0,
	};
	check_edge(c, "write", edges, c->write, to);
	c->write = (uint8_t)to;
	c->write_err = (int16_t)err;
}

void conn_set_life(struct conn *c, enum conn_life to)
{
	static const uint8_t edges[] = {
		[LIFE_CLOSED] = 1 << LIFE_OPENING,
		[LIFE_OPENING] = 1 << LIFE_OPEN | 1 << LIFE_CLOSING,
		[LIFE_OPEN] = 1 << LIFE_CLOSING,
		[LIFE_CLOSING] = 1 << LIFE_CLOSED,
	};
	check_edge(c, "life", edges, c->life, to);
	c->life = (uint8_t)to;
}

/* ---- table */
static const struct op_class ctl_close_class;

/* Its CQE frees the cancel op for the next target. */
static void cancel_done(struct op_cancel *cancel)
{
	conn_mark(container_of(cancel, struct conn, cancel));
}

static void conn_make(struct conn *c, struct io *io, unsigned slot)
{
	memset(c, 0, sizeof *c);
	c->io = io;
	c->slot = slot;
	c->generation = 1;
	list_init(&c->dirty);
	list_init(&c->parked);
	list_init(&c->starve);
	list_init(&c->reader);
	list_init(&c->senders);
	list_init(&c->flushers);
	op_init(&c->recv, &conn_recv_class);
	op_init(&c->send, &conn_send_class);
	op_init(&c->ctl, &ctl_close_class);
	op_cancel_init(&c->cancel, cancel_done);
	timer_init(&c->timer, conn_timer_fire);
}

struct conn *conn_at(struct io *io, unsigned slot)
{
	unsigned page = slot / CONN_PAGE;

	RLN_ASSERTF(page < io->pages, "slot %u of %u", slot, io->files.total);
	if (!io->page[page]) {
		struct conn *p = sys_alloc_aligned(64, CONN_PAGE * sizeof *p);
		if (!p)
			return NULL;
		for (unsigned i = 0; i < CONN_PAGE; i++)
			conn_make(&p[i], io, page * CONN_PAGE + i);
		io->page[page] = p;
	}
	return &io->page[page][slot % CONN_PAGE];
}

int conn_off_worker(const char *call)
{
	LOG_ONCE(RLN_LOG_ERROR,
		 "%s called from thread %d, which is not a worker; use rln_post or rln_go_on", call,
		 sys_thread_id());
	return -EPERM;
}

static struct conn *find_open(struct io *io, unsigned slot, uint32_t generation)
{
	struct conn *page = slot / CONN_PAGE < io->pages ? io->page[slot / CONN_PAGE] : NULL;
	struct conn *c = page ? &page[slot % CONN_PAGE] : NULL;

	return c && c->generation == generation && c->life == LIFE_OPEN && !c->giving ? c : NULL;
}

struct conn *conn_find(rln_conn h)
{
	return find_open(io_current(), (unsigned)(h.h >> 32) & 0xffffff, (uint32_t)h.h);
}

int conn_lookup(rln_conn h, struct conn **out, const char *call)
{
	struct io *io = io_current();

	if (RLN_UNLIKELY(!io))
		return conn_off_worker(call);
	struct conn *c = find_open(io, (unsigned)(h.h >> 32) & 0xffffff, (uint32_t)h.h);
	bool here = h.h >> 56 == io->cfg.worker;
	if (RLN_UNLIKELY(!c || !here)) {
		io->stats.misuse++;
		return here || !h.h ? -EBADF : -EXDEV;
	}
	*out = c;
	return 0;
}

/* All that belongs to one life of the slot. The ops, lists and timer are idle by then. */
void conn_reset_fields(struct conn *c)
{
	struct conn keep = *c;

	RLN_ASSERT(c->life == LIFE_CLOSED && !op_busy(&c->recv) && !op_busy(&c->send));
	RLN_ASSERT(!c->rx.head && !c->lent && !c->tx_head && !timer_armed(&c->timer));
	RLN_ASSERT(!list_linked(&c->parked) && list_empty(&c->reader) && list_empty(&c->senders));
	if (c->is_dirty)
		list_remove(&c->dirty);
	conn_make(c, keep.io, keep.slot);
	c->generation = keep.generation;
}

void conn_open(struct conn *c, const struct conn_mode *mode, int family)
{
	struct io *io = c->io;

	conn_reset_fields(c);
	conn_set_life(c, LIFE_OPENING);
	c->mode = mode;
	c->family = (uint8_t)family;
	c->last_rx_ns = c->last_tx_ns = io->loop->now_ns;
	if (!conn_explicit_slot(c))
		io->auto_open++;
	io->stats.conns_owned++;
}

void conn_serve(struct conn *c)
{
	struct io *io = c->io;

	conn_set_life(c, LIFE_OPEN);
	c->opened = true;
	c->last_rx_ns = io->loop->now_ns;
	if (++io->stats.conns_open > io->stats.conns_peak)
		io->stats.conns_peak = io->stats.conns_open;
	serve_open(c);
	if (io->cancelled && c->life == LIFE_OPEN && !c->task && c->mode->listener)
		conn_abort(c, -ESHUTDOWN); /* past drain_timeout nobody would end it */
	conn_mark(c);
}

/* ---- control op: connect, shutdown, reset, close, questions; one at a time */
static void prep_peer_name(struct conn *c, struct io_uring_sqe *sqe)
{
	const uint32_t level_name[2] = { SOL_SOCKET, SO_PEERNAME };

	io_uring_prep_rw(IORING_OP_URING_CMD, sqe, (int)c->slot, NULL, 0, 0);
	sqe->cmd_op = RU_SOCKET_URING_OP_GETSOCKOPT;
	memcpy(&sqe->addr, level_name, sizeof level_name);
	sqe->file_index = c->peer_bytes;
	sqe->addr3 = (uintptr_t)c->peer.raw;
}

static void ctl_prepare(struct ops *ops, struct op *op, struct io_uring_sqe *sqe)
{
	struct conn *c = container_of(op, struct conn, ctl);
	static const struct sockaddr unspec = { .sa_family = AF_UNSPEC };
	int slot = (int)c->slot;

	(void)ops;
	switch ((enum ctl_kind)c->ctl_kind) {
	case CTL_CONNECT:
		io_uring_prep_connect(sqe, slot, c->target, c->target_bytes);
		break;
	case CTL_RESET:
		io_uring_prep_connect(sqe, slot, &unspec, sizeof unspec);
		break;
	case CTL_SHUTDOWN:
		io_uring_prep_shutdown(sqe, slot, c->phase == CLOSE_QUIESCE ? SHUT_RDWR : SHUT_WR);
		break;
	case CTL_CLOSE:
		io_uring_prep_close_direct(sqe, c->slot);
		return; /* names the slot itself: no FIXED_FILE */
	case CTL_HUP:
		io_uring_prep_poll_add(sqe, slot, POLLIN | POLLRDHUP | POLLHUP | POLLERR);
		break;
	case CTL_PEER:
		prep_peer_name(c, sqe);
		break;
	case CTL_NONE:
		RLN_ASSERT(false);
	}
	sqe->flags |= IOSQE_FIXED_FILE;
}

static void ctl_finish(struct op *op, const struct op_event *ev)
{
	struct conn *c = container_of(op, struct conn, ctl);
	enum ctl_kind kind = (enum ctl_kind)c->ctl_kind;

	if (!ev->last)
		return;
	op_reset(op);
	c->ctl_cancelled = false;
	c->ctl_kind = CTL_NONE;
	switch (kind) {
	case CTL_CLOSE:
		conn_closed(c, ev->res);
		return;
	case CTL_PEER:
		listen_peer_known(c, ev->res);
		break;
	case CTL_HUP:
		conn_recv_hup(c, ev->res);
		break;
	case CTL_CONNECT:
		c->close_err = (int16_t)ev->res;
		c->target = NULL;
		wake_all(&c->flushers, 0);
		break;
	case CTL_SHUTDOWN:
	case CTL_RESET:
	case CTL_NONE:
		break;
	}
	conn_mark(c);
}

#define CTL_CLASS(name, k) static const struct op_class name = { k, ctl_prepare, ctl_finish }
CTL_CLASS(ctl_connect_class, OP_CONNECT);
CTL_CLASS(ctl_shutdown_class, OP_SHUTDOWN);
CTL_CLASS(ctl_close_class, OP_CLOSE);
CTL_CLASS(ctl_cmd_class, OP_SOCKET_CMD);
CTL_CLASS(ctl_poll_class, OP_POLL);

void conn_ctl(struct conn *c, enum ctl_kind kind)
{
	static const struct op_class *const classes[] = {
		[CTL_CONNECT] = &ctl_connect_class, [CTL_SHUTDOWN] = &ctl_shutdown_class,
		[CTL_RESET] = &ctl_connect_class,   [CTL_CLOSE] = &ctl_close_class,
		[CTL_PEER] = &ctl_cmd_class,	    [CTL_HUP] = &ctl_poll_class,
	};
	RLN_ASSERT(!conn_ctl_busy(c)); /* INV-25 */
	c->ctl_kind = (uint8_t)kind;
	op_init(&c->ctl, classes[kind]);
	op_submit(&c->io->loop->ops, &c->ctl);
}

/* ---- stepping */
void conn_mark(struct conn *c)
{
	if (c->is_dirty || c->life == LIFE_CLOSED)
		return;
	c->is_dirty = true;
	list_push_back(&c->io->dirty, &c->dirty);
}

/* Plain, or the zero-copy send at the head whose first CQE is outstanding. */
static struct op *send_in_flight(struct conn *c)
{
	if (op_busy(&c->send))
		return &c->send;
	return c->zc_live ? &c->tx_head->guard.op : NULL;
}

void conn_cancel_send(struct conn *c)
{
	struct op *op = send_in_flight(c);

	if (!op || c->send_cancelled || op_busy(&c->cancel.op))
		return; /* the cancel op's CQE marks us dirty */
	c->send_cancelled = true;
	op_cancel_with(&c->io->loop->ops, op, &c->cancel);
}

void conn_cancel_ctl(struct conn *c)
{
	if (!op_busy(&c->ctl) || c->ctl_cancelled || op_busy(&c->cancel.op))
		return;
	c->ctl_cancelled = true;
	op_cancel_with(&c->io->loop->ops, &c->ctl, &c->cancel);
}

void conn_cancel_again(struct conn *c)
{
	if (op_busy(&c->cancel.op))
		return;
	if (c->arm == ARM_CANCELLING) {
		RLN_MARK("cancel-again-of-a-receive");
		op_cancel_with(&c->io->loop->ops, &c->recv, &c->cancel);
	} else if (c->send_cancelled && send_in_flight(c)) {
		RLN_MARK("cancel-again-of-a-send");
		op_cancel_with(&c->io->loop->ops, send_in_flight(c), &c->cancel);
	} else if (c->ctl_cancelled) {
		RLN_MARK("cancel-again-of-a-connect");
		op_cancel_with(&c->io->loop->ops, &c->ctl, &c->cancel);
	}
}

/*
 * A cancel's CQE comes before that of the op it ends, so one turn later the op is still out only
 * if the cancel missed it (-EALREADY). Again then, but not at once: that could go on for long.
 */
static void watch_cancels(struct conn *c)
{
	if (c->retry_cancel || c->cancel.op.state != OP_IDLE)
		return;
	if (c->arm != ARM_CANCELLING && !c->send_cancelled && !c->ctl_cancelled)
		return;
	c->retry_cancel = true;
	conn_timer_update(c);
}

void conn_step(struct conn *c)
{
	if (c->life == LIFE_OPENING || c->life == LIFE_CLOSED)
		return;
	watch_cancels(c);
	if (c->life == LIFE_CLOSING) {
		conn_close_step(c);
		return;
	}
	conn_send_step(c);
	conn_recv_step(c);
	if (c->giving) {
		give_step(c);
		return;
	}
	if (c->write == WRITE_FIN_PENDING && conn_send_idle(c) && !conn_ctl_busy(c)) {
		conn_set_write(c, WRITE_SHUT, 0);
		conn_ctl(c, CTL_SHUTDOWN);
	}
	serve_writable(c);
	conn_timer_update(c);
}

void conn_check(const struct conn *c)
{
	size_t rx = 0, tx = 0;

	for (const struct chunk *k = c->rx.head; k; k = k->next)
		rx += chunk_bytes(k);
	for (const struct tx *t = c->tx_head; t; t = t->next)
		tx += t->len - t->off;
	RLN_ASSERT(rx == c->rx.bytes);
	RLN_ASSERT(tx == c->tx_bytes);
	/* INV-16 */
	RLN_ASSERT((c->arm == ARM_ARMED || c->arm == ARM_CANCELLING) == op_busy(&c->recv));
	RLN_ASSERT(c->arm != ARM_PARKED || list_linked(&c->parked));
	RLN_ASSERT(c->life != LIFE_CLOSED || (!rx && !tx && !c->lent));
}
