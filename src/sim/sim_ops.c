/*
 * What operations do that are not about sockets, and the table of all of them.
 */
#include "sim/sim.h"
#include "base/assert.h"
#include <errno.h>
#include <string.h>

static int nop_run(struct sim_req *q)
{
	bool inject = q->sqe.rw_flags & RU_NOP_INJECT_RESULT && q->ring->w->version >= LINUX_6_12;

	req_finish(q, inject ? (int32_t)q->sqe.len : 0, 0);
	return RUN_DONE;
}

static const struct sim_op op_nop = { .run = nop_run, .at_once = true };

/* ---- descriptors */
static int close_prep(struct sim_req *q)
{
	if (q->sqe.flags & IOSQE_FIXED_FILE)
		return -EBADF;
	return q->sqe.file_index && q->sqe.fd ? -EINVAL : 0;
}

static int close_run(struct sim_req *q)
{
	struct sim_file *f = fd_get(q->ring->w, q->sqe.fd);

	if (q->sqe.file_index)
		req_finish(q, slot_remove(q->ring, q->sqe.file_index - 1), 0);
	else if (!f || f->kind == SIM_RING)
		req_finish(q, -EBADF, 0);
	else
		req_finish(q, fd_close(q->ring->w, q->sqe.fd), 0);
	return RUN_DONE;
}

static const struct sim_op op_close = { .prep = close_prep, .run = close_run, .at_once = true };

static int fd_install_prep(struct sim_req *q)
{
	return q->sqe.flags & IOSQE_FIXED_FILE ? 0 : -EBADF;
}

static int fd_install_run(struct sim_req *q)
{
	int fd = fd_install(q->ring->w, q->file);

	if (fd >= 0)
		file_ref(q->file);
	req_finish(q, fd, 0);
	return RUN_DONE;
}

static const struct sim_op op_fd_install = {
	.prep = fd_install_prep, .run = fd_install_run, .needs_file = true, .at_once = true
};

/* ---- messages */
static int msg_data(struct sim_req *q, struct sim_ring *to)
{
	bool passes = q->sqe.msg_ring_flags & RU_MSG_RING_FLAGS_PASS;

	if (q->sqe.addr3 || q->sqe.msg_ring_flags & ~RU_MSG_RING_FLAGS_PASS)
		return -EINVAL;
	if (passes ? q->ring->w->version < LINUX_6_12 : q->sqe.file_index != 0)
		return -EINVAL;
	ring_message(to, q->sqe.off, (int32_t)q->sqe.len, passes ? q->sqe.file_index : 0, q->seq);
	return 0;
}

static int msg_fd(struct sim_req *q, struct sim_ring *to)
{
	uint64_t from = q->sqe.addr3;
	int res;

	if (to == q->ring || (q->sqe.len && q->ring->w->version >= LINUX_6_12))
		return -EINVAL;
	if (from >= q->ring->file_count || !q->ring->files[from])
		return -EBADF;
	res = slot_install(to, file_ref(q->ring->files[from]), q->sqe.file_index);
	if (res < 0)
		hit_req(q, HIT_GIVE_ERR);
	if (res >= 0 && !(q->sqe.msg_ring_flags & IORING_MSG_RING_CQE_SKIP))
		ring_message(to, q->sqe.off, res, 0, q->seq);
	return res;
}

static int msg_run(struct sim_req *q)
{
	struct sim_ring *to = q->file->kind == SIM_RING ? q->file->ring : NULL;
	int res;

	if (!to || to->disabled)
		res = -EBADFD;
	else if (q->sqe.msg_ring_flags & ~(IORING_MSG_RING_CQE_SKIP | RU_MSG_RING_FLAGS_PASS))
		res = -EINVAL;
	else if (q->sqe.addr == IORING_MSG_DATA)
		res = msg_data(q, to);
	else if (q->sqe.addr == IORING_MSG_SEND_FD)
		res = msg_fd(q, to);
	else
		res = -EINVAL;
	req_finish(q, res, 0);
	return RUN_DONE;
}

static const struct sim_op op_msg = { .run = msg_run, .needs_file = true, .at_once = true };

const struct sim_op *sim_op(unsigned opcode)
{
	static const struct sim_op *const ops[64] = {
		[IORING_OP_NOP] = &op_nop,
		[IORING_OP_READV] = &op_read,
		[IORING_OP_WRITEV] = &op_write,
		[IORING_OP_FSYNC] = &op_fsync,
		[IORING_OP_READ_FIXED] = &op_read,
		[IORING_OP_WRITE_FIXED] = &op_write,
		[IORING_OP_FALLOCATE] = &op_fallocate,
		[IORING_OP_OPENAT] = &op_openat,
		[IORING_OP_STATX] = &op_statx,
		[IORING_OP_READ] = &op_read,
		[IORING_OP_WRITE] = &op_write,
		[IORING_OP_RENAMEAT] = &op_renameat,
		[IORING_OP_UNLINKAT] = &op_unlinkat,
		[IORING_OP_MKDIRAT] = &op_mkdirat,
		[IORING_OP_LINKAT] = &op_linkat,
		[RU_OP_READ_MULTISHOT] = &op_read_multi,
		[RU_OP_FTRUNCATE] = &op_ftruncate,
		[IORING_OP_POLL_ADD] = &op_poll,
		[IORING_OP_POLL_REMOVE] = &op_poll_remove,
		[IORING_OP_SENDMSG] = &op_sendmsg,
		[IORING_OP_RECVMSG] = &op_recvmsg,
		[IORING_OP_TIMEOUT] = &op_timeout,
		[IORING_OP_TIMEOUT_REMOVE] = &op_timeout_remove,
		[IORING_OP_ACCEPT] = &op_accept,
		[IORING_OP_ASYNC_CANCEL] = &op_cancel_sim,
		[IORING_OP_LINK_TIMEOUT] = &op_link_timeout,
		[IORING_OP_CONNECT] = &op_connect,
		[IORING_OP_CLOSE] = &op_close,
		[IORING_OP_SEND] = &op_send,
		[IORING_OP_RECV] = &op_recv,
		[IORING_OP_SHUTDOWN] = &op_shutdown,
		[IORING_OP_MSG_RING] = &op_msg,
		[IORING_OP_SOCKET] = &op_socket,
		[IORING_OP_URING_CMD] = &op_socket_cmd,
		[IORING_OP_SEND_ZC] = &op_send_zc,
		[IORING_OP_SENDMSG_ZC] = &op_sendmsg_zc,
		[RU_OP_FIXED_FD_INSTALL] = &op_fd_install,
	};

	return opcode < 64 ? ops[opcode] : NULL;
}

bool sim_selects(const struct world *w, unsigned opcode)
{
	switch (opcode) {
	case IORING_OP_READ:
	case IORING_OP_READV:
	case IORING_OP_RECV:
	case IORING_OP_RECVMSG:
	case RU_OP_READ_MULTISHOT:
		return true;
	case IORING_OP_SEND:
		return w->version >= LINUX_6_12;
	default:
		return false;
	}
}

bool sim_knows(const struct world *w, unsigned opcode)
{
	return sim_op(opcode) && (opcode < RU_OP_READ_MULTISHOT || w->version >= LINUX_6_12);
}
