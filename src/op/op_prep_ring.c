/*
 * SQEs about the ring itself: nothing, readiness, cancels, time, messages to other rings.
 */
#include "op/op_prep.h"

#define NS_PER_S 1000000000

/* use_inject, inject: the result, as an int32_t (6.10). */
void prep_nop(struct op_io *io, struct io_uring_sqe *sqe)
{
	const struct op_args *a = &io->a;

	io_uring_prep_nop(sqe);
	if (a->use_inject) {
		sqe->rw_flags = RU_NOP_INJECT_RESULT;
		sqe->len = a->inject;
	}
}

/* fd, fixed, flags: POLL*. res: what happened. */
void prep_poll(struct op_io *io, struct io_uring_sqe *sqe)
{
	const struct op_args *a = &io->a;

	io_uring_prep_poll_add(sqe, a->fd, (unsigned)a->flags);
	sqe_use_fd(sqe, a);
}

/* As prep_poll, until cancelled. */
void prep_poll_multi(struct op_io *io, struct io_uring_sqe *sqe)
{
	const struct op_args *a = &io->a;

	io_uring_prep_poll_multishot(sqe, a->fd, (unsigned)a->flags);
	sqe_use_fd(sqe, a);
}

/* target, flags: IORING_ASYNC_CANCEL_*. Owners of an op use struct op_cancel instead. */
void prep_cancel(struct op_io *io, struct io_uring_sqe *sqe)
{
	io_uring_prep_cancel(sqe, io->a.target, io->a.flags);
}

/* fd, fixed. Everything that works on the descriptor. res: how many. */
void prep_cancel_fd(struct op_io *io, struct io_uring_sqe *sqe)
{
	const struct op_args *a = &io->a;
	unsigned flags = IORING_ASYNC_CANCEL_ALL;

	if (a->fixed)
		flags |= IORING_ASYNC_CANCEL_FD_FIXED;
	io_uring_prep_cancel_fd(sqe, a->fd, flags);
}

static struct __kernel_timespec *timespec_of(struct op_io *io)
{
	io->ts.tv_sec = io->a.ns / NS_PER_S;
	io->ts.tv_nsec = io->a.ns % NS_PER_S;
	return &io->ts;
}

/* ns from now, flags: IORING_TIMEOUT_*; len: completions that end it early (0: none). res: -ETIME.
 */
void prep_timeout(struct op_io *io, struct io_uring_sqe *sqe)
{
	io_uring_prep_timeout(sqe, timespec_of(io), io->a.len, (unsigned)io->a.flags);
}

/* As prep_timeout, at ns. */
void prep_timeout_abs(struct op_io *io, struct io_uring_sqe *sqe)
{
	io_uring_prep_timeout(sqe, timespec_of(io), io->a.len,
			      (unsigned)io->a.flags | IORING_TIMEOUT_ABS);
}

/* ns, flags: IORING_TIMEOUT_*. Only behind another op of a chain, which it ends. */
void prep_link_timeout(struct op_io *io, struct io_uring_sqe *sqe)
{
	io_uring_prep_link_timeout(sqe, timespec_of(io), (unsigned)io->a.flags);
}

/* fd: the other ring; user_data and len: what its CQE says (len is its res); flags: IORING_MSG_*.
 */
void prep_msg_ring(struct op_io *io, struct io_uring_sqe *sqe)
{
	const struct op_args *a = &io->a;

	io_uring_prep_msg_ring(sqe, a->fd, a->len, a->user_data, (unsigned)a->flags);
	sqe_use_fd(sqe, a);
}

/*
 * fd: the other ring; off: our direct slot; slot: explicit or OP_SLOT_AUTO in the other ring;
 * user_data: of the other ring's CQE, whose res is the slot there; flags: IORING_MSG_*. Ours stays.
 */
void prep_msg_ring_fd(struct op_io *io, struct io_uring_sqe *sqe)
{
	const struct op_args *a = &io->a;

	io_uring_prep_msg_ring(sqe, a->fd, 0, a->user_data, (unsigned)a->flags);
	sqe->addr = IORING_MSG_SEND_FD;
	sqe->addr3 = a->off;
	sqe_use_slot(sqe, a);
	sqe_use_fd(sqe, a);
}
