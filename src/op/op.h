/*
 * The life of one operation.
 *
 *   IDLE --op_submit--> QUEUED --SQE taken: prepare runs--> LIVE --last CQE--> DONE --op_reset-->
 * IDLE
 *                          \--op_cancel--> UNQUEUED (-ECANCELED) --ops_deliver--> DONE
 *
 * An op is embedded in what owns it; user_data is its address, so its memory may not be reused
 * before its last CQE (no F_MORE). Setter: op_set_state() in op.c, the only writer of op.state.
 * Lists: QUEUED ops stand in ops.waiting; UNQUEUED ones in ops.finished until
 * ops_deliver(); LIVE ops are in no list, only counted. The owner may reuse or free an op's memory
 * from its last finish on (DONE), and inside it; in every other state but IDLE it is lent to ops.
 *
 * All ops go through one FIFO: op_submit() takes an SQE only if nobody waits. SQ full is therefore
 * a state, not an error. Cancels are ops like the others: they cannot overtake.
 */
#ifndef RINGLINE_OP_OP_H
#define RINGLINE_OP_OP_H

#include "base/list.h"
#include "op/op_kinds.h"
#include "ring/ring.h"

enum op_state { OP_IDLE, OP_QUEUED, OP_LIVE, OP_UNQUEUED, OP_DONE };

struct op;
struct ops;

/* What the owner learns of one CQE. */
struct op_event {
	int32_t res;
	uint32_t flags; /* IORING_CQE_F_* */
	bool last;	/* no more will come: the op is DONE (and must be op_reset before reuse) */
};

/*
 * A class of ops: what it is called and counted as, how its SQE is written from its owner, and who
 * is told. prepare runs when the SQE is taken and reads everything from the owner; it must not fail
 * and not submit. finish runs once per CQE, from the loop, never inside the call that caused it.
 */
struct op_class {
	enum op_kind kind;
	void (*prepare)(struct ops *ops, struct op *op, struct io_uring_sqe *sqe);
	void (*finish)(struct op *op, const struct op_event *ev);
};

struct op {
	union {
		struct list node;
		struct op *by; /* LIVE and cancelling: the cancel that must forget it at its end */
	};
	const struct op_class *cls;
	int32_t res;		/* of a local finish */
	uint8_t state;		/* enum op_state */
	bool linked : 1;	/* the next op of the chain follows in the FIFO */
	bool cancelling : 1;	/* a cancel of this op is queued or in flight */
	bool cancel_wanted : 1; /* a cancel was submitted, and no CQE said -ECANCELED since */
	uint8_t spare;
	uint8_t tag; /* free for the owner */
};

struct ops {
	struct ring *ring;
	struct list waiting;		/* QUEUED, FIFO */
	struct list finished;		/* cancelled while QUEUED: delivered by ops_deliver() */
	unsigned queued, live, cancels; /* cancels: cancel ops queued, live or undelivered */
	unsigned undelivered;		/* ops in finished */
	/* SQEs written; CQEs with an error other than -ECANCELED, -EINTR and -ETIME */
	uint64_t kind_submitted[OP_KIND_COUNT], kind_errors[OP_KIND_COUNT];
	uint64_t late_cancels; /* cancel asked, yet the op ended with its own result */
	/* CQEs whose user_data has a low tag bit (messages, wake-ups): not ops. Set by the loop. */
	void (*foreign)(void *ctx, const struct io_uring_cqe *cqe);
	void *foreign_ctx;
};

void ops_init(struct ops *ops, struct ring *ring);
/* Asserts nothing is queued, live or undelivered. */
void ops_fini(struct ops *ops);

void op_init(struct op *op, const struct op_class *cls);
/* IDLE -> QUEUED or LIVE. Cannot fail. */
void op_submit(struct ops *ops, struct op *op);
/*
 * Submit n ops as one linked chain, adjacent in the SQ and in one submission. Each finishes once,
 * on its own. Only the first may be a zero-copy send. 0, or -E2BIG when n exceeds the SQ, -EINVAL
 * when n is 0 (nothing submitted).
 */
int op_submit_chain(struct ops *ops, struct op **chain, unsigned n);
/*
 * Want op ended. QUEUED: it is unlinked and finishes with -ECANCELED (with the rest of its chain).
 * LIVE: `by` (an IDLE op of class op_cancel_class, embedded next to op) is submitted, once; only
 * the op's own last CQE ends it. Otherwise nothing. Returns true when by was submitted.
 */
bool op_cancel(struct ops *ops, struct op *op, struct op *by);
/* DONE -> IDLE. */
void op_reset(struct op *op);

/* Submitted, and its last finish has not run: its memory must stay. */
static inline bool op_busy(const struct op *op)
{
	return op->state != OP_IDLE && op->state != OP_DONE;
}

/* Give SQEs to waiting ops while there are any. A stage of the turn, before ring_enter. */
void ops_flush(struct ops *ops);
/*
 * Finish what ended while queued. Returns how many. What ends meanwhile waits for the next call:
 * the loop must not sleep while ops.undelivered is not 0.
 */
unsigned ops_deliver(struct ops *ops);
/* Reap up to max CQEs and run their finish. Returns how many. */
unsigned ops_reap(struct ops *ops, unsigned max);
/* Nothing queued, live or undelivered. */
bool ops_idle(const struct ops *ops);
void ops_check(const struct ops *ops);

/*
 * A cancel op embedded by owners. Its own result is ignored; when its CQE is in, it is IDLE again
 * and done runs. A cancel whose target ended before it got an SQE is not submitted: ops_deliver()
 * runs its done.
 */
extern const struct op_class op_cancel_class;
struct op_cancel {
	struct op op;
	struct op *target;		   /* NULL: none, or it has ended */
	void (*done)(struct op_cancel *c); /* may be NULL */
};
void op_cancel_init(struct op_cancel *c, void (*done)(struct op_cancel *c));
bool op_cancel_with(struct ops *ops, struct op *target, struct op_cancel *c);

#endif
