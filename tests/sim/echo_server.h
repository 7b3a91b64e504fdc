/*
 * A small echo server written directly on ring/ and op/: what drives the simulator before, and
 * independently of, the runtime. Multishot accept into direct slots, multishot receive from
 * provided buffers, one send in flight per connection (plain or zero-copy), close after every op
 * has ended.
 */
#ifndef RINGLINE_TESTS_SIM_ECHO_SERVER_H
#define RINGLINE_TESTS_SIM_ECHO_SERVER_H

#include "base/sys.h"
#include "op/op_io.h"
#include "ring/bufring.h"
#include "ring/files.h"
#include "sim/world.h"
#include "test.h"
#include <errno.h>
#include <netinet/in.h>

#define ECHO_SLOTS 32
#define ECHO_PATIENCE 100000000000 /* ns; longer than any delay of the world */

struct echo;

struct echo_send {
	struct op_io io;
	struct echo_conn *c; /* NULL: told its result; only the notification is owed */
	size_t len;
	uint8_t data[];
};

struct echo_conn {
	struct echo *e;
	unsigned slot;
	struct op_io recv, close;
	struct op_cancel cancel;
	struct echo_send *sending;
	uint8_t *queue;
	size_t queued, cap;
	bool open, eof, broken, reopen;
};

struct echo {
	struct world *w;
	struct ring ring;
	struct ops ops;
	struct files files;
	struct bufring bufs;
	int listener;
	uint16_t port;
	struct op_io accept;
	struct op_cancel accept_cancel;
	unsigned slots, open;
	bool accept_armed, stopping, zero_copy;
	uint64_t turns;
	struct echo_conn conn[ECHO_SLOTS];
};

struct echo_config {
	unsigned sq, cq, slots, bufs, buf_bytes;
	bool zero_copy;
};

/* Ended, or refused for the moment: the connection is well. */
static bool echo_again(int res)
{
	return res == -ENOBUFS || res == -ENOMEM || res == -EAGAIN || res == -EINTR ||
	       res == -ECANCELED;
}

static void echo_step(struct echo_conn *c);

static void echo_recv_done(struct op_io *io, const struct op_event *ev)
{
	struct echo_conn *c = io->ctx;
	struct bufring *b = &c->e->bufs;

	if (ev->flags & IORING_CQE_F_BUFFER) {
		unsigned bid = ev->flags >> IORING_CQE_BUFFER_SHIFT;

		bufring_take(b, bid);
		if (c->queued + b->buf_bytes > c->cap) {
			uint8_t *q = sys_alloc((c->cap + b->buf_bytes) * 2);

			if (c->queued)
				memcpy(q, c->queue, c->queued);
			sys_free(c->queue);
			c->queue = q;
			c->cap = (c->cap + b->buf_bytes) * 2;
		}
		memcpy(c->queue + c->queued, bufring_addr(b, bid), (size_t)ev->res);
		c->queued += (size_t)ev->res;
		bufring_give(b, bid);
	}
	if (ev->last)
		op_reset(&io->op);
	if (ev->res == 0)
		c->eof = true;
	else if (ev->res < 0 && !echo_again(ev->res))
		c->broken = true;
}

static void echo_send_done(struct op_io *io, const struct op_event *ev)
{
	struct echo_send *s = container_of(io, struct echo_send, io);
	struct echo_conn *c = s->c;

	if (c && !(ev->flags & IORING_CQE_F_NOTIF)) {
		c->sending = NULL;
		s->c = NULL;
		if (ev->res < 0) {
			c->broken = c->broken || !echo_again(ev->res);
		} else {
			c->queued -= (size_t)ev->res;
			memmove(c->queue, c->queue + ev->res, c->queued);
		}
	}
	if (ev->last)
		sys_free(s);
}

static void echo_close_done(struct op_io *io, const struct op_event *ev)
{
	struct echo_conn *c = io->ctx;

	CHECK_INT(ev->res, ==, 0);
	op_reset(&io->op);
	c->open = false;
	c->queued = 0;
	c->eof = c->broken = false;
	if (c->reopen) {
		c->reopen = false;
		c->open = true;
	} else {
		c->e->open--;
	}
}

static void echo_accept_done(struct op_io *io, const struct op_event *ev)
{
	struct echo *e = io->ctx;

	if (ev->last) {
		op_reset(&io->op);
		e->accept_armed = false;
	}
	if (ev->res < 0)
		return;
	CHECK_INT(ev->res, <, e->slots);
	/* The slot may be named again while the completion of its close is still out. */
	if (e->conn[ev->res].open) {
		CHECK(op_busy(&e->conn[ev->res].close.op));
		e->conn[ev->res].reopen = true;
		return;
	}
	e->conn[ev->res].open = true;
	e->open++;
}

static void echo_send_some(struct echo_conn *c)
{
	size_t n = c->queued;
	struct echo_send *s = sys_zalloc(sizeof(*s) + n);

	memcpy(s->data, c->queue, n);
	op_io_init(&s->io, c->e->zero_copy ? OP_SEND_ZC : OP_SEND, echo_send_done);
	s->io.a.fd = (int)c->slot;
	s->io.a.fixed = true;
	s->io.a.buf = s->data;
	s->io.a.len = (uint32_t)n;
	s->io.a.flags = c->slot % 2 ? MSG_WAITALL : 0;
	s->c = c;
	s->len = n;
	c->sending = s;
	op_submit(&c->e->ops, &s->io.op);
}

static void echo_quiesce(struct echo_conn *c)
{
	struct op *target = c->sending ? &c->sending->io.op : &c->recv.op;

	if (c->cancel.op.state == OP_IDLE && op_busy(target) && !target->cancel_wanted)
		op_cancel_with(&c->e->ops, target, &c->cancel);
	if (c->sending || op_busy(&c->recv.op) || c->cancel.op.state != OP_IDLE)
		return;
	op_io_init(&c->close, OP_CLOSE, echo_close_done);
	c->close.a.fd = (int)c->slot;
	c->close.a.fixed = true;
	c->close.ctx = c;
	op_submit(&c->e->ops, &c->close.op);
}

static void echo_step(struct echo_conn *c)
{
	struct echo *e = c->e;

	if (!c->open || op_busy(&c->close.op))
		return;
	if (e->stopping || c->broken || (c->eof && !c->queued)) {
		echo_quiesce(c);
		return;
	}
	if (c->queued && !c->sending)
		echo_send_some(c);
	if (c->eof || op_busy(&c->recv.op) || !e->bufs.free)
		return;
	op_io_init(&c->recv, OP_RECV_MULTI, echo_recv_done);
	c->recv.a.fd = (int)c->slot;
	c->recv.a.fixed = true;
	c->recv.a.group = e->bufs.group;
	c->recv.ctx = c;
	op_submit(&e->ops, &c->recv.op);
}

static void echo_listen(struct echo *e)
{
	struct sockaddr_in sa = { .sin_family = AF_INET,
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct sockaddr_storage ss;
	socklen_t n = sizeof(ss);

	e->listener = sys_socket(AF_INET, SOCK_STREAM, 0);
	CHECK_INT(e->listener, >=, 0);
	CHECK_INT(sys_bind(e->listener, (struct sockaddr *)&sa, sizeof(sa)), ==, 0);
	CHECK_INT(sys_listen(e->listener, 16), ==, 0);
	CHECK_INT(sys_getsockname(e->listener, &ss, &n), ==, 0);
	e->port = ntohs(((struct sockaddr_in *)&ss)->sin_port);
}

static void echo_open(struct echo *e, struct world *w, const struct echo_config *cfg)
{
	struct ring_config rc = { .kernel = world_kernel(w),
				  .sq_entries = cfg->sq,
				  .cq_entries = cfg->cq };

	memset(e, 0, sizeof(*e));
	e->w = w;
	e->slots = cfg->slots;
	e->zero_copy = cfg->zero_copy;
	CHECK_INT(ring_open(&e->ring, &rc, NULL), ==, 0);
	CHECK_INT(ring_enable(&e->ring, NULL), ==, 0);
	ops_init(&e->ops, &e->ring);
	CHECK_INT(files_open(&e->files, &e->ring, cfg->slots, 1, NULL), ==, 0);
	CHECK_INT(bufring_open(&e->bufs, &e->ring, 7, cfg->bufs, cfg->bufs, cfg->buf_bytes, NULL),
		  ==, 0);
	for (unsigned i = 0; i < cfg->slots; i++) {
		e->conn[i].e = e;
		e->conn[i].slot = i;
		op_io_init(&e->conn[i].recv, OP_RECV_MULTI, echo_recv_done);
		op_io_init(&e->conn[i].close, OP_CLOSE, echo_close_done);
		op_cancel_init(&e->conn[i].cancel, NULL);
	}
	op_cancel_init(&e->accept_cancel, NULL);
	echo_listen(e);
}

static void echo_accept_step(struct echo *e)
{
	if (e->stopping) {
		if (e->accept_armed && !e->accept.op.cancel_wanted)
			op_cancel_with(&e->ops, &e->accept.op, &e->accept_cancel);
		return;
	}
	if (e->accept_armed || e->open == e->slots)
		return;
	op_io_init(&e->accept, OP_ACCEPT_MULTI, echo_accept_done);
	e->accept.a.fd = e->listener;
	e->accept.a.slot = OP_SLOT_AUTO;
	e->accept.ctx = e;
	e->accept_armed = true;
	op_submit(&e->ops, &e->accept.op);
}

static void echo_turn(struct echo *e)
{
	unsigned wait, done;
	int64_t before;

	echo_accept_step(e);
	for (unsigned i = 0; i < e->slots; i++)
		echo_step(&e->conn[i]);
	ops_flush(&e->ops);
	bufring_publish(&e->bufs);
	wait = !ring_cq_ready(&e->ring) && !e->ops.undelivered;
	before = world_now(e->w);
	CHECK_INT(ring_enter(&e->ring, wait, ECHO_PATIENCE), ==, 0);
	done = ops_reap(&e->ops, UINT32_MAX);
	done += ops_deliver(&e->ops);
	/* A whole wait without an event, and none to come: whoever is still there is forgotten. */
	if (!done && world_now(e->w) - before >= ECHO_PATIENCE && world_peers_alive(e->w) &&
	    world_next(e->w) == INT64_MAX)
		world_fail(e->w, "deadlock: %u peers, %u connections", world_peers_alive(e->w),
			   e->open);
	e->turns++;
}

static void echo_close(struct echo *e)
{
	e->stopping = true;
	while (e->open || e->accept_armed || !ops_idle(&e->ops))
		echo_turn(e);
	bufring_check(&e->bufs);
	bufring_close(&e->bufs);
	files_close(&e->files);
	ops_fini(&e->ops);
	ring_close(&e->ring);
	CHECK_INT(sys_close(e->listener), ==, 0);
	for (unsigned i = 0; i < e->slots; i++)
		sys_free(e->conn[i].queue);
}

#endif
