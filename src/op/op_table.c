/*
 * One class per kind for stand-alone ops: prepare from op_args, finish to op_io.done. What each SQE
 * says is in op_prep_*.c.
 */
#include "op/op_prep.h"
#include "base/assert.h"

static op_prep *const op_preps[OP_KIND_COUNT] = {
	[OP_NOP] = prep_nop,
	[OP_ACCEPT] = prep_accept,
	[OP_ACCEPT_MULTI] = prep_accept_multi,
	[OP_CONNECT] = prep_connect,
	[OP_RECV] = prep_recv,
	[OP_RECV_MULTI] = prep_recv_multi,
	[OP_RECVMSG] = prep_recvmsg,
	[OP_RECVMSG_MULTI] = prep_recvmsg_multi,
	[OP_SEND] = prep_send,
	[OP_SENDMSG] = prep_sendmsg,
	[OP_SEND_ZC] = prep_send_zc,
	[OP_SENDMSG_ZC] = prep_sendmsg_zc,
	[OP_SHUTDOWN] = prep_shutdown,
	[OP_CLOSE] = prep_close,
	[OP_POLL] = prep_poll,
	[OP_POLL_MULTI] = prep_poll_multi,
	[OP_CANCEL] = prep_cancel,
	[OP_CANCEL_FD] = prep_cancel_fd,
	[OP_TIMEOUT] = prep_timeout,
	[OP_TIMEOUT_ABS] = prep_timeout_abs,
	[OP_LINK_TIMEOUT] = prep_link_timeout,
	[OP_EVENTFD_READ] = prep_eventfd_read,
	[OP_MSG_RING] = prep_msg_ring,
	[OP_MSG_RING_FD] = prep_msg_ring_fd,
	[OP_SOCKET] = prep_socket,
	[OP_SOCKET_CMD] = prep_socket_cmd,
	[OP_OPENAT] = prep_openat,
	[OP_STATX] = prep_statx,
	[OP_RENAMEAT] = prep_renameat,
	[OP_UNLINKAT] = prep_unlinkat,
	[OP_MKDIRAT] = prep_mkdirat,
	[OP_READ] = prep_read,
	[OP_WRITE] = prep_write,
	[OP_WRITEV] = prep_writev,
	[OP_READ_FIXED] = prep_read_fixed,
	[OP_WRITE_FIXED] = prep_write_fixed,
	[OP_FSYNC] = prep_fsync,
	[OP_NVME] = prep_nvme,
};

static void io_prepare(struct ops *ops, struct op *op, struct io_uring_sqe *sqe)
{
	enum op_kind kind = op->cls->kind;

	/* Half the command of a wide kind would lie in the next SQE. */
	RLN_ASSERT(ops->ring->wide || !(op_kind_props(kind) & OPK_WIDE));
	op_preps[kind](container_of(op, struct op_io, op), sqe);
}

static void io_finish(struct op *op, const struct op_event *ev)
{
	struct op_io *io = container_of(op, struct op_io, op);

	io->done(io, ev);
}

static const struct op_class io_classes[OP_KIND_COUNT] = {
#define OP_IO_CLASS(id, name, opcode, props) \
	[OP_##id] = { .kind = OP_##id, .prepare = io_prepare, .finish = io_finish },
	OP_KINDS(OP_IO_CLASS)
#undef OP_IO_CLASS
};

const struct op_class *op_io_class(enum op_kind kind)
{
	RLN_ASSERT(kind < OP_KIND_COUNT);
	RLN_ASSERT(op_preps[kind]);
	return &io_classes[kind];
}

void op_io_init(struct op_io *io, enum op_kind kind,
		void (*done)(struct op_io *, const struct op_event *))
{
	*io = (struct op_io){ .a = { .fd = -1, .slot = OP_SLOT_NONE }, .done = done };
	op_init(&io->op, op_io_class(kind));
}
