/*
 * How the SQE of each kind is written from struct op_args. Private to op/: the table of op_table.c
 * is the only user.
 */
#ifndef RINGLINE_OP_OP_PREP_H
#define RINGLINE_OP_OP_PREP_H

#include "op/op_io.h"

/* sqe is zeroed but for what io_uring_prep_* fills; user_data and the link flag are op.c's. */
typedef void op_prep(struct op_io *io, struct io_uring_sqe *sqe);

/* op_prep_net.c */
op_prep prep_accept, prep_accept_multi, prep_connect, prep_recv, prep_recv_multi, prep_recvmsg,
	prep_recvmsg_multi, prep_send, prep_sendmsg, prep_send_zc, prep_sendmsg_zc, prep_shutdown,
	prep_socket, prep_socket_cmd;
/* op_prep_file.c */
op_prep prep_close, prep_openat, prep_statx, prep_renameat, prep_unlinkat, prep_mkdirat, prep_read,
	prep_write, prep_writev, prep_read_fixed, prep_write_fixed, prep_fsync, prep_eventfd_read,
	prep_nvme;
/* op_prep_ring.c */
op_prep prep_nop, prep_poll, prep_poll_multi, prep_cancel, prep_cancel_fd, prep_timeout,
	prep_timeout_abs, prep_link_timeout, prep_msg_ring, prep_msg_ring_fd;

/* The SQE works on a.fd: an ordinary descriptor, or a direct slot. */
static inline void sqe_use_fd(struct io_uring_sqe *sqe, const struct op_args *a)
{
	if (a->fixed)
		sqe->flags |= IOSQE_FIXED_FILE;
}

/* Buffers come from a.group when they come. */
static inline void sqe_use_group(struct io_uring_sqe *sqe, const struct op_args *a)
{
	sqe->flags |= IOSQE_BUFFER_SELECT;
	sqe->buf_group = a->group;
}

/* Where the descriptor goes that this SQE makes. */
static inline void sqe_use_slot(struct io_uring_sqe *sqe, const struct op_args *a)
{
	if (a->slot == OP_SLOT_AUTO)
		sqe->file_index = IORING_FILE_INDEX_ALLOC;
	else if (a->slot >= 0)
		sqe->file_index = (uint32_t)a->slot + 1;
}

/*
 * Flags of a call that makes a descriptor: an ordinary one never leaks into a child, a direct one
 * cannot (and Linux refuses the flag there with -EINVAL). cloexec is O_CLOEXEC or SOCK_CLOEXEC.
 */
static inline int sqe_slot_flags(const struct op_args *a, int cloexec)
{
	return a->slot == OP_SLOT_NONE ? a->flags | cloexec : a->flags & ~cloexec;
}

#endif
