/*
 * SQEs of files: names, bytes, devices, and the close of any descriptor.
 */
#include "op/op_prep.h"
#include <fcntl.h>
#include <linux/nvme_ioctl.h>
#include <string.h>

/* What a 128-byte SQE has room for behind its 48 common bytes. */
#define WIDE_CMD_BYTES 80u

_Static_assert(offsetof(struct io_uring_sqe, cmd) == 48, "a command lies behind the common part");
_Static_assert(sizeof(struct nvme_uring_cmd) <= WIDE_CMD_BYTES, "fits a wide SQE");

/* fd; fixed: fd is the direct slot to empty. */
void prep_close(struct op_io *io, struct io_uring_sqe *sqe)
{
	const struct op_args *a = &io->a;

	if (a->fixed)
		io_uring_prep_close_direct(sqe, (unsigned)a->fd);
	else
		io_uring_prep_close(sqe, a->fd);
}

/* fd: directory; addr: path; flags: O_*; mode; slot. res: the fd or slot (0: explicit slot). */
void prep_openat(struct op_io *io, struct io_uring_sqe *sqe)
{
	const struct op_args *a = &io->a;

	io_uring_prep_openat(sqe, a->fd, a->addr, sqe_slot_flags(a, O_CLOEXEC), a->mode);
	sqe_use_slot(sqe, a);
}

/* fd: directory; addr: path; flags: AT_*; len: STATX_* mask; buf: struct statx. */
void prep_statx(struct op_io *io, struct io_uring_sqe *sqe)
{
	const struct op_args *a = &io->a;

	io_uring_prep_statx(sqe, a->fd, a->addr, a->flags, a->len, a->buf);
}

/* fd, addr: old directory and path; len, buf: new directory (an fd) and path; flags: RENAME_*. */
void prep_renameat(struct op_io *io, struct io_uring_sqe *sqe)
{
	const struct op_args *a = &io->a;

	io_uring_prep_renameat(sqe, a->fd, a->addr, (int)a->len, a->buf, (unsigned)a->flags);
}

/* fd: directory; addr: path; flags: AT_REMOVEDIR. */
void prep_unlinkat(struct op_io *io, struct io_uring_sqe *sqe)
{
	const struct op_args *a = &io->a;

	io_uring_prep_unlinkat(sqe, a->fd, a->addr, a->flags);
}

/* fd: directory; addr: path; mode. */
void prep_mkdirat(struct op_io *io, struct io_uring_sqe *sqe)
{
	const struct op_args *a = &io->a;

	io_uring_prep_mkdirat(sqe, a->fd, a->addr, a->mode);
}

/* fd, fixed, buf, len, off (~0: the file's own position), flags: RWF_*. */
void prep_read(struct op_io *io, struct io_uring_sqe *sqe)
{
	const struct op_args *a = &io->a;

	io_uring_prep_read(sqe, a->fd, a->buf, a->len, a->off);
	sqe->rw_flags = a->flags;
	sqe_use_fd(sqe, a);
}

/* As prep_read. */
void prep_write(struct op_io *io, struct io_uring_sqe *sqe)
{
	const struct op_args *a = &io->a;

	io_uring_prep_write(sqe, a->fd, a->buf, a->len, a->off);
	sqe->rw_flags = a->flags;
	sqe_use_fd(sqe, a);
}

/* As prep_read, but buf: struct iovec[len]. */
void prep_writev(struct op_io *io, struct io_uring_sqe *sqe)
{
	const struct op_args *a = &io->a;

	io_uring_prep_writev2(sqe, a->fd, a->buf, a->len, a->off, a->flags);
	sqe_use_fd(sqe, a);
}

/* As prep_read, with buf in registered region. */
void prep_read_fixed(struct op_io *io, struct io_uring_sqe *sqe)
{
	const struct op_args *a = &io->a;

	io_uring_prep_read_fixed(sqe, a->fd, a->buf, a->len, a->off, a->region);
	sqe->rw_flags = a->flags;
	sqe_use_fd(sqe, a);
}

/* As prep_read, with buf in registered region. */
void prep_write_fixed(struct op_io *io, struct io_uring_sqe *sqe)
{
	const struct op_args *a = &io->a;

	io_uring_prep_write_fixed(sqe, a->fd, a->buf, a->len, a->off, a->region);
	sqe->rw_flags = a->flags;
	sqe_use_fd(sqe, a);
}

/* fd, fixed, flags: IORING_FSYNC_DATASYNC; off, len: the range (0, 0: all). */
void prep_fsync(struct op_io *io, struct io_uring_sqe *sqe)
{
	const struct op_args *a = &io->a;

	io_uring_prep_fsync(sqe, a->fd, (unsigned)a->flags);
	sqe->off = a->off;
	sqe->len = a->len;
	sqe_use_fd(sqe, a);
}

/* fd, fixed; buf: uint64_t, the count. res: 8. */
void prep_eventfd_read(struct op_io *io, struct io_uring_sqe *sqe)
{
	const struct op_args *a = &io->a;

	io_uring_prep_read(sqe, a->fd, a->buf, sizeof(uint64_t), 0);
	sqe_use_fd(sqe, a);
}

/*
 * fd, fixed, cmd_op (NVME_URING_CMD_*), buf: struct nvme_uring_cmd, copied when the SQE is taken.
 * Only on a wide ring: the command lies in the second half of a 128-byte SQE.
 */
void prep_nvme(struct op_io *io, struct io_uring_sqe *sqe)
{
	const struct op_args *a = &io->a;
	uint8_t *cmd = (uint8_t *)sqe + offsetof(struct io_uring_sqe, cmd);

	io_uring_prep_rw(IORING_OP_URING_CMD, sqe, a->fd, NULL, 0, 0);
	sqe->cmd_op = a->cmd_op;
	memset(cmd, 0, WIDE_CMD_BYTES);
	memcpy(cmd, a->buf, sizeof(struct nvme_uring_cmd));
	sqe_use_fd(sqe, a);
}
