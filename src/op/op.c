/*
 * The machinery of ops: one FIFO in front of the submission queue, the states, cancels, and the way
 * from a CQE to its owner's finish. Does not know what any operation does (op_table.c) nor when it
 * runs (loop/).
 */
#include "op/op.h"
#include "base/assert.h"
#include "base/mark.h"
#include <errno.h>

/* user_data is the op's address; the low bits say "not an op". */
#define UD_TAG_MASK 7u

_Static_assert(_Alignof(struct op) > UD_TAG_MASK, "tag bits must be free in an op's address");
_Static_assert(sizeof(struct op) == 32, "every owner embeds several ops");

/* [from] is the set of states that may follow. */
static const uint8_t op_edges[] = {
	[OP_IDLE] = 1u << OP_QUEUED | 1u << OP_LIVE,
	[OP_QUEUED] = 1u << OP_LIVE | 1u << OP_UNQUEUED,
	[OP_LIVE] = 1u << OP_DONE,
	[OP_UNQUEUED] = 1u << OP_DONE,
	[OP_DONE] = 1u << OP_IDLE,
};

static void op_set_state(struct op *op, enum op_state to)
{
	/* INV-03 */
	RLN_ASSERTF(op_edges[op->state] >> to & 1u, "%s: state %u -> %u",
		    op_kind_name(op->cls->kind), op->state, to);
	op->state = (uint8_t)to;
}

static struct op *op_of(struct list *node)
{
	return container_of(node, struct op, node);
}

static bool op_is_cancel(const struct op *op)
{
	return op->cls == &op_cancel_class;
}

void ops_init(struct ops *ops, struct ring *ring)
{
	*ops = (struct ops){ .ring = ring };
	list_init(&ops->waiting);
	list_init(&ops->finished);
}

void ops_fini(struct ops *ops)
{
	RLN_ASSERTF(ops->queued == 0, "%u ops queued", ops->queued);
	RLN_ASSERTF(ops->live == 0, "%u ops live", ops->live);
	RLN_ASSERTF(ops->undelivered == 0, "%u ops undelivered", ops->undelivered);
	RLN_ASSERT(ops->cancels == 0);
}

void op_init(struct op *op, const struct op_class *cls)
{
	*op = (struct op){ .cls = cls, .state = OP_IDLE };
	list_init(&op->node);
}

void op_reset(struct op *op)
{
	op_set_state(op, OP_IDLE);
}

/* Write the SQE from the owner as it is now. The link flag comes last: prep helpers clear flags. */
static void op_take(struct ops *ops, struct op *op, struct io_uring_sqe *sqe)
{
	op_set_state(op, OP_LIVE);
	op->cls->prepare(ops, op, sqe);
	sqe->user_data = (uintptr_t)op;
	if (op->linked)
		sqe->flags |= IOSQE_IO_LINK;
	op->linked = false;
	ops->live++;
	ops->kind_submitted[op->cls->kind]++;
}

static void op_enqueue(struct ops *ops, struct op *op)
{
	RLN_MARK("op-waits-for-an-sqe");
	op_set_state(op, OP_QUEUED);
	list_push_back(&ops->waiting, &op->node);
	ops->queued++;
}

/* An op that waits for its SQE ends here; its owner hears of it from ops_deliver(). */
static void op_unqueue(struct ops *ops, struct op *op, int32_t res)
{
	list_remove(&op->node);
	ops->queued--;
	op_set_state(op, OP_UNQUEUED);
	op->linked = false;
	op->res = res;
	list_push_back(&ops->finished, &op->node);
	ops->undelivered++;
}

static void op_check_fresh(const struct op *op)
{
	/* INV-04 */
	RLN_ASSERTF(op->state == OP_IDLE, "%s: submitted in state %u", op_kind_name(op->cls->kind),
		    op->state);
	RLN_ASSERT(!op->linked);
	RLN_ASSERT(!op->cancelling);
}

void op_submit(struct ops *ops, struct op *op)
{
	struct io_uring_sqe *sqe;

	op_check_fresh(op);
	op->cancel_wanted = false;
	sqe = list_empty(&ops->waiting) ? ring_sqe(ops->ring) : NULL; /* INV-06 */
	if (sqe)
		op_take(ops, op, sqe);
	else
		op_enqueue(ops, op);
}

int op_submit_chain(struct ops *ops, struct op **chain, unsigned n)
{
	if (n == 0)
		return -EINVAL;
	if (n > ops->ring->u.sq.ring_entries)
		return -E2BIG;
	for (unsigned i = 0; i < n; i++) {
		op_check_fresh(chain[i]);
		RLN_ASSERT(!op_is_cancel(chain[i]));
		/* One that never got its turn would owe a notification that no F_MORE tells of. */
		RLN_ASSERTF(i == 0 || !(op_kind_props(chain[i]->cls->kind) & OPK_ZC),
			    "%s inside a chain", op_kind_name(chain[i]->cls->kind));
		chain[i]->cancel_wanted = false;
		op_enqueue(ops, chain[i]);
		chain[i]->linked = i + 1 < n;
	}
	ops_flush(ops);
	return 0;
}

/* SQEs the op at the head of the FIFO needs at once: a chain must not straddle submissions. */
static unsigned chain_length(struct op *op)
{
	unsigned n = 1;

	for (; op->linked; op = op_of(op->node.next))
		n++;
	return n;
}

/* INV-81 */
void ops_flush(struct ops *ops)
{
	unsigned space = ring_sq_space(ops->ring);

	while (space && !list_empty(&ops->waiting)) {
		unsigned n = chain_length(op_of(list_first(&ops->waiting)));

		if (n > space) {
			RLN_MARK("op-chain-waits-for-room");
			return;
		}
		space -= n;
		while (n--) {
			struct op *op = op_of(list_pop_front(&ops->waiting));
			struct io_uring_sqe *sqe = ring_sqe(ops->ring);

			RLN_ASSERT(sqe);
			ops->queued--;
			op_take(ops, op, sqe);
		}
	}
}

/* op and what follows it in its chain end; what precedes it becomes a shorter chain. */
static void op_cancel_queued(struct ops *ops, struct op *op)
{
	struct list *before = op->node.prev;
	bool more = true;

	if (before != &ops->waiting)
		op_of(before)->linked = false;
	while (more) {
		struct list *next = op->node.next;

		more = op->linked;
		op_unqueue(ops, op, -ECANCELED);
		op = op_of(next);
	}
}

bool op_cancel(struct ops *ops, struct op *op, struct op *by)
{
	RLN_ASSERT(!op_is_cancel(op));
	if (op->state == OP_QUEUED) {
		RLN_MARK("op-cancelled-while-it-waits");
		op_cancel_queued(ops, op);
		return false;
	}
	if (op->state != OP_LIVE || op->cancelling)
		return false;
	RLN_ASSERT(op_is_cancel(by));
	container_of(by, struct op_cancel, op)->target = op;
	op->by = by;
	op->cancelling = true;
	op->cancel_wanted = true;
	ops->cancels++;
	op_submit(ops, by);
	return true;
}

/* The op has ended: its memory may go, so a cancel that is still out must forget it. */
static void op_part_from_cancel(struct ops *ops, struct op *op)
{
	struct op *by = op->by;

	list_init(&op->node);
	op->cancelling = false;
	container_of(by, struct op_cancel, op)->target = NULL;
	if (by->state == OP_QUEUED) {
		RLN_MARK("op-ended-before-its-cancel-began");
		op_unqueue(ops, by, -ENOENT);
	}
}

/* INV-05. The last the machinery does with op: finish may free the memory it lies in. */
static void op_end(struct ops *ops, struct op *op, const struct op_event *ev)
{
	if (op->cancelling)
		op_part_from_cancel(ops, op);
	if (op_is_cancel(op))
		ops->cancels--;
	op_set_state(op, OP_DONE);
	op->cls->finish(op, ev);
}

static void ops_on_cqe(void *ctx, const struct io_uring_cqe *cqe)
{
	struct ops *ops = ctx;
	struct op *op = (struct op *)(uintptr_t)cqe->user_data;
	struct op_event ev = { .res = cqe->res, .flags = cqe->flags };

	if (cqe->user_data == 0)
		return;
	if (cqe->user_data & UD_TAG_MASK) {
		if (ops->foreign)
			ops->foreign(ops->foreign_ctx, cqe);
		return;
	}
	RLN_ASSERTF(op->state == OP_LIVE, "%s: completion in state %u", op_kind_name(op->cls->kind),
		    op->state);
	if (ev.res == -ECANCELED || ev.res == -EINTR)
		op->cancel_wanted = false;
	else if (ev.res < 0 && ev.res != -ETIME && !op_is_cancel(op))
		ops->kind_errors[op->cls->kind]++;
	/* INV-07: F_MORE alone says whether more will come, on success and on error. */
	ev.last = !(ev.flags & IORING_CQE_F_MORE);
	if (!ev.last) {
		op->cls->finish(op, &ev);
		return;
	}
	ops->live--;
	if (op->cancel_wanted)
		RLN_MARK("op-ended-by-itself-although-cancelled");
	ops->late_cancels += op->cancel_wanted;
	op_end(ops, op, &ev);
}

unsigned ops_reap(struct ops *ops, unsigned max)
{
	return ring_reap(ops->ring, max, ops_on_cqe, ops);
}

unsigned ops_deliver(struct ops *ops)
{
	/* What a finish cancels now is delivered next turn: the stage stays bounded. */
	unsigned n = ops->undelivered;

	for (unsigned i = 0; i < n; i++) {
		struct op *op = op_of(list_pop_front(&ops->finished));
		struct op_event ev = { .res = op->res, .last = true };

		ops->undelivered--;
		op_end(ops, op, &ev);
	}
	return n;
}

bool ops_idle(const struct ops *ops)
{
	return ops->queued == 0 && ops->live == 0 && ops->undelivered == 0;
}

void ops_check(const struct ops *ops)
{
	unsigned queued = 0, undelivered = 0;
	bool linked = false;

	list_for_each (n, &ops->waiting) {
		const struct op *op = container_of(n, struct op, node);

		RLN_ASSERT(op->state == OP_QUEUED);
		RLN_ASSERT(!op->cancelling);
		linked = op->linked;
		queued++;
	}
	RLN_ASSERT(!linked);
	RLN_ASSERTF(queued == ops->queued, "%u ops wait, %u counted", queued, ops->queued);
	list_for_each (n, &ops->finished) {
		const struct op *op = container_of(n, struct op, node);

		RLN_ASSERT(op->state == OP_UNQUEUED);
		undelivered++;
	}
	RLN_ASSERTF(undelivered == ops->undelivered, "%u ops ended, %u counted", undelivered,
		    ops->undelivered);
	RLN_ASSERT(ops->cancels <= ops->queued + ops->live + ops->undelivered);
}

static void cancel_prepare(struct ops *ops, struct op *op, struct io_uring_sqe *sqe)
{
	struct op_cancel *c = container_of(op, struct op_cancel, op);

	(void)ops;
	RLN_ASSERT(c->target); /* a target that ended took its cancel out of the FIFO */
	io_uring_prep_cancel(sqe, c->target, 0);
}

/* INV-08: the cancel's own result says nothing: only the target's last CQE ends the target. */
static void cancel_finish(struct op *op, const struct op_event *ev)
{
	struct op_cancel *c = container_of(op, struct op_cancel, op);
	struct op *target = c->target;

	(void)ev;
	if (target) {
		list_init(&target->node);
		target->cancelling = false;
		c->target = NULL;
	}
	op_reset(op);
	if (c->done)
		c->done(c);
}

const struct op_class op_cancel_class = {
	.kind = OP_CANCEL,
	.prepare = cancel_prepare,
	.finish = cancel_finish,
};

void op_cancel_init(struct op_cancel *c, void (*done)(struct op_cancel *c))
{
	op_init(&c->op, &op_cancel_class);
	c->target = NULL;
	c->done = done;
}

bool op_cancel_with(struct ops *ops, struct op *target, struct op_cancel *c)
{
	return op_cancel(ops, target, &c->op);
}
