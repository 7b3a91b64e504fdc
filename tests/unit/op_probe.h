/*
 * What the tests of the op machinery share: a small ring, and an op that notes what happens to it.
 */
#ifndef RINGLINE_TESTS_OP_PROBE_H
#define RINGLINE_TESTS_OP_PROBE_H

#include "test.h"
#include "op/op_io.h"
#include "ring/caps.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define TURN_LIMIT_NS 5000000000

static struct ring ring;
static struct ops ops;

/* One op with what happened to it. */
struct probe {
	struct op op;
	struct op_cancel cancel;
	int fd; /* of PEND and FAIL */
	unsigned prepared, finished, cancels_done;
	int32_t res;
	unsigned prepare_at, finish_at; /* running numbers */
	unsigned again;			/* resubmit this often from finish */
	bool on_heap;
};

static unsigned prepare_clock, finish_clock, freed;

static struct probe *probe_of(struct op *op)
{
	return container_of(op, struct probe, op);
}

static void probe_prepare(struct ops *o, struct op *op, struct io_uring_sqe *sqe)
{
	struct probe *p = probe_of(op);

	CHECK(o == &ops);
	p->prepared++;
	p->prepare_at = ++prepare_clock;
	if (op->cls->kind == OP_POLL)
		io_uring_prep_poll_add(sqe, p->fd, POLLIN);
	else if (op->cls->kind == OP_READ)
		io_uring_prep_read(sqe, -1, NULL, 0, 0);
	else
		io_uring_prep_nop(sqe);
}

static void probe_finish(struct op *op, const struct op_event *ev)
{
	struct probe *p = probe_of(op);

	CHECK(ev->last);
	CHECK_INT(op->state, ==, OP_DONE);
	CHECK(!op_busy(op));
	p->finished++;
	p->finish_at = ++finish_clock;
	p->res = ev->res;
	if (p->again) {
		p->again--;
		op_reset(op);
		op_submit(&ops, op);
	}
	if (p->on_heap) {
		freed++;
		memset(p, 0xa5, sizeof(*p));
		free(p);
	}
}

static const struct op_class class_nop = { OP_NOP, probe_prepare, probe_finish };
static const struct op_class class_pend = { OP_POLL, probe_prepare, probe_finish }; /* for ever */
static const struct op_class class_fail = { OP_READ, probe_prepare, probe_finish }; /* -EBADF */

static void probe_cancelled(struct op_cancel *c)
{
	CHECK_INT(c->op.state, ==, OP_IDLE);
	container_of(c, struct probe, cancel)->cancels_done++;
}

static void probe_init(struct probe *p, const struct op_class *cls)
{
	*p = (struct probe){ .fd = -1 };
	op_init(&p->op, cls);
	op_cancel_init(&p->cancel, probe_cancelled);
	if (cls == &class_pend)
		p->fd = eventfd(0, EFD_CLOEXEC);
}

static bool probe_cancel(struct probe *p)
{
	return op_cancel(&ops, &p->op, &p->cancel.op);
}

/* Make a pending probe end with its own result. */
static void probe_ready(struct probe *p)
{
	uint64_t one = 1;

	CHECK_INT(write(p->fd, &one, sizeof(one)), ==, sizeof(one));
}

static void open_ring(unsigned sq, unsigned cq)
{
	struct ring_config cfg = { .sq_entries = sq, .cq_entries = cq, .sqpoll_cpu = -1 };
	struct diag why = { 0 };
	int err = ring_open(&ring, &cfg, &why);

	if (err == -ENOSYS || err == -EPERM)
		SKIP("io_uring: %s", why.line);
	CHECK_INT(err, ==, 0);
	CHECK_INT(ring_enable(&ring, &why), ==, 0);
	ops_init(&ops, &ring);
}

static void close_ring(void)
{
	ops_check(&ops);
	CHECK(ops_idle(&ops));
	ops_fini(&ops);
	ring_close(&ring);
}

/* Submit what has an SQE, and see what ends of itself. Waits for one completion if told to. */
static void enter_and_reap(bool wait)
{
	CHECK_INT(ring_enter(&ring, wait, TURN_LIMIT_NS), ==, 0);
	ops_reap(&ops, 64);
	ops_check(&ops);
}

static void turn(void)
{
	ops_deliver(&ops);
	ops_flush(&ops);
	enter_and_reap(ops.live != 0 && ops.undelivered == 0);
}

static void run_until_idle(void)
{
	for (int i = 0; i < 1000 && !ops_idle(&ops); i++)
		turn();
	CHECK(ops_idle(&ops));
}

#endif
