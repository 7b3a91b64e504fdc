/*
 * SQEs of sockets. Every send has MSG_NOSIGNAL; MSG_WAITALL is the caller's choice (a kTLS socket
 * refuses it).
 */
#include "op/op_prep.h"
#include <string.h>

/* The fields of a socket command (6.7) lie over older ones: level and name, then bytes, then value.
 */
_Static_assert(offsetof(struct io_uring_sqe, addr) == 16, "level, name");
_Static_assert(offsetof(struct io_uring_sqe, file_index) == 44, "bytes of the value");
_Static_assert(offsetof(struct io_uring_sqe, addr3) == 48, "value");
_Static_assert(sizeof(socklen_t) == sizeof(uint32_t), "addr_bytes is written by the kernel");

/*
 * fd, fixed, slot, flags (SOCK_*), ioprio; buf NULL or where the peer's address goes, of
 * addr_bytes, which then becomes its length. res: the fd or slot (0 when the slot was explicit).
 */
void prep_accept(struct op_io *io, struct io_uring_sqe *sqe)
{
	struct op_args *a = &io->a;
	socklen_t *bytes = a->buf ? &a->addr_bytes : NULL;

	io_uring_prep_accept(sqe, a->fd, a->buf, bytes, sqe_slot_flags(a, SOCK_CLOEXEC));
	sqe->ioprio |= a->ioprio;
	sqe_use_slot(sqe, a);
	sqe_use_fd(sqe, a);
}

/* fd, fixed, slot (not an explicit one), flags (SOCK_*), ioprio. res: an fd or slot each. */
void prep_accept_multi(struct op_io *io, struct io_uring_sqe *sqe)
{
	const struct op_args *a = &io->a;

	io_uring_prep_multishot_accept(sqe, a->fd, NULL, NULL, sqe_slot_flags(a, SOCK_CLOEXEC));
	sqe->ioprio |= a->ioprio;
	sqe_use_slot(sqe, a);
	sqe_use_fd(sqe, a);
}

/* fd, fixed, addr, addr_bytes. */
void prep_connect(struct op_io *io, struct io_uring_sqe *sqe)
{
	const struct op_args *a = &io->a;

	io_uring_prep_connect(sqe, a->fd, a->addr, a->addr_bytes);
	sqe_use_fd(sqe, a);
}

/* fd, fixed, flags (MSG_*), ioprio, len; buf, or group when buf is NULL. */
void prep_recv(struct op_io *io, struct io_uring_sqe *sqe)
{
	const struct op_args *a = &io->a;

	io_uring_prep_recv(sqe, a->fd, a->buf, a->len, a->flags);
	sqe->ioprio |= a->ioprio;
	if (!a->buf)
		sqe_use_group(sqe, a);
	sqe_use_fd(sqe, a);
}

/* fd, fixed, group, flags (MSG_*), ioprio. */
void prep_recv_multi(struct op_io *io, struct io_uring_sqe *sqe)
{
	const struct op_args *a = &io->a;

	io_uring_prep_recv_multishot(sqe, a->fd, NULL, 0, a->flags);
	sqe->ioprio |= a->ioprio;
	sqe_use_group(sqe, a);
	sqe_use_fd(sqe, a);
}

/* fd, fixed, flags (MSG_*), ioprio; buf: struct msghdr. */
void prep_recvmsg(struct op_io *io, struct io_uring_sqe *sqe)
{
	const struct op_args *a = &io->a;

	io_uring_prep_recvmsg(sqe, a->fd, a->buf, (unsigned)a->flags);
	sqe->ioprio |= a->ioprio;
	sqe_use_fd(sqe, a);
}

/*
 * fd, fixed, group, flags (MSG_*), ioprio; buf: struct msghdr, of which msg_namelen and
 * msg_controllen say how much of each buffer name and control data take.
 */
void prep_recvmsg_multi(struct op_io *io, struct io_uring_sqe *sqe)
{
	const struct op_args *a = &io->a;

	io_uring_prep_recvmsg_multishot(sqe, a->fd, a->buf, (unsigned)a->flags);
	sqe->ioprio |= a->ioprio;
	sqe_use_group(sqe, a);
	sqe_use_fd(sqe, a);
}

static void use_destination(struct io_uring_sqe *sqe, const struct op_args *a)
{
	if (a->addr)
		io_uring_prep_send_set_addr(sqe, a->addr, (uint16_t)a->addr_bytes);
}

/* fd, fixed, buf, len, flags (MSG_*), ioprio; addr, addr_bytes: destination, or NULL. */
void prep_send(struct op_io *io, struct io_uring_sqe *sqe)
{
	const struct op_args *a = &io->a;

	io_uring_prep_send(sqe, a->fd, a->buf, a->len, a->flags | MSG_NOSIGNAL);
	sqe->ioprio |= a->ioprio;
	use_destination(sqe, a);
	sqe_use_fd(sqe, a);
}

/* fd, fixed, flags (MSG_*), ioprio; buf: struct msghdr. */
void prep_sendmsg(struct op_io *io, struct io_uring_sqe *sqe)
{
	const struct op_args *a = &io->a;

	io_uring_prep_sendmsg(sqe, a->fd, a->buf, (unsigned)a->flags | MSG_NOSIGNAL);
	sqe->ioprio |= a->ioprio;
	sqe_use_fd(sqe, a);
}

/*
 * fd, fixed, buf, len, flags (MSG_*), ioprio, addr, addr_bytes as prep_send; region with
 * use_region: buf lies in that registered region. buf must stay as it is until the last CQE.
 */
void prep_send_zc(struct op_io *io, struct io_uring_sqe *sqe)
{
	const struct op_args *a = &io->a;

	io_uring_prep_send_zc(sqe, a->fd, a->buf, a->len, a->flags | MSG_NOSIGNAL, a->ioprio);
	if (a->use_region) {
		sqe->ioprio |= IORING_RECVSEND_FIXED_BUF;
		sqe->buf_index = a->region;
	}
	use_destination(sqe, a);
	sqe_use_fd(sqe, a);
}

/* As prep_sendmsg; what the msghdr's iovecs name must stay as it is until the last CQE. */
void prep_sendmsg_zc(struct op_io *io, struct io_uring_sqe *sqe)
{
	const struct op_args *a = &io->a;

	io_uring_prep_sendmsg_zc(sqe, a->fd, a->buf, (unsigned)a->flags | MSG_NOSIGNAL);
	sqe->ioprio |= a->ioprio;
	sqe_use_fd(sqe, a);
}

/* fd, fixed, flags: SHUT_*. */
void prep_shutdown(struct op_io *io, struct io_uring_sqe *sqe)
{
	const struct op_args *a = &io->a;

	io_uring_prep_shutdown(sqe, a->fd, a->flags);
	sqe_use_fd(sqe, a);
}

/* fd: domain; flags: type | SOCK_*; len: protocol; slot. res: the fd or slot. */
void prep_socket(struct op_io *io, struct io_uring_sqe *sqe)
{
	const struct op_args *a = &io->a;

	io_uring_prep_socket(sqe, a->fd, sqe_slot_flags(a, SOCK_CLOEXEC), (int)a->len, 0);
	sqe_use_slot(sqe, a);
}

/*
 * fd, fixed, cmd_op (RU_SOCKET_URING_OP_*), level, name, buf: the value, of len bytes. res of
 * GETSOCKOPT: the value's length.
 */
void prep_socket_cmd(struct op_io *io, struct io_uring_sqe *sqe)
{
	const struct op_args *a = &io->a;
	const uint32_t level_name[2] = { a->level, a->name };

	io_uring_prep_rw(IORING_OP_URING_CMD, sqe, a->fd, NULL, 0, 0);
	sqe->cmd_op = a->cmd_op;
	memcpy(&sqe->addr, level_name, sizeof(level_name));
	sqe->file_index = a->len;
	sqe->addr3 = (uintptr_t)a->buf;
	sqe_use_fd(sqe, a);
}
