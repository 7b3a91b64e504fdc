/*
 * What operations do that are not about sockets, and the table of all of them.
 */
#include "sim/sim.h"
#include "base/assert.h"
#include <errno.h>
#include <linux/time_types.h>
#include <poll.h>
#include <string.h>

static int nop_run(struct sim_req *q)
{
	bool inject = q->sqe.rw_flags & RU_NOP_INJECT_RESULT && q->ring->w->version >= LINUX_6_12;

	req_finish(q, inject ? (int32_t)q->sqe.len : 0, 0);
	return RUN_DONE;
}

static const struct sim_op op_nop = { .run = nop_run, .at_once = true };

/* ---- time. A completion count (sqe.off) is not simulated. */
static int timeout_prep(struct sim_req *q)
{
	struct __kernel_timespec ts;

	if (q->sqe.len != 1 || q->sqe.off)
		return -EINVAL;
	memcpy(&ts, (const void *)(uintptr_t)q->sqe.addr, sizeof(ts));
	if (ts.tv_sec < 0 || ts.tv_nsec < 0)
		return -EINVAL;
	q->due = ts.tv_sec > INT64_MAX / 4000000000 ? SIM_NEVER / 2
						    : ts.tv_sec * 1000000000 + ts.tv_nsec;
	/* A link timeout starts when the request it watches is issued. */
	if (q->sqe.opcode == IORING_OP_TIMEOUT && !(q->sqe.timeout_flags & IORING_TIMEOUT_ABS))
		q->due += q->ring->w->now;
	return 0;
}

static bool timeout_ready(struct sim_req *q)
{
	return q->ring->w->now >= q->due;
}

static int timeout_run(struct sim_req *q)
{
	req_finish(q, -ETIME, 0);
	return RUN_DONE;
}

static int link_timeout_run(struct sim_req *q)
{
	struct sim_req *watched = q->watched;
	int err = 0;

	if (!watched) {
		/* Not behind another request. */
		req_finish(q, -EINVAL, 0);
		return RUN_DONE;
	}
	watched->timeout = q->watched = NULL;
	if (watched->state == REQ_PENDING)
		err = req_cancel(watched);
	req_finish(q, err ? err : -ETIME, 0);
	return RUN_DONE;
}

static const struct sim_op op_timeout = { .prep = timeout_prep,
					  .ready = timeout_ready,
					  .run = timeout_run };
static const struct sim_op op_link_timeout = { .prep = timeout_prep,
					       .ready = timeout_ready,
					       .run = link_timeout_run };

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

/* ---- poll */
static uint32_t file_events(struct sim_req *q)
{
	struct sim_file *f = q->file;

	if (f->kind == SIM_SOCK)
		return sock_poll(f->sock) | q->latched;
	if (f->kind == SIM_EVENT)
		return POLLOUT | (f->count ? POLLIN : 0);
	if (f->kind == SIM_DISK)
		return POLLIN | POLLOUT | POLLRDNORM | POLLWRNORM;
	return f->ring->cq_tail != f->ring->cq_head ? POLLIN : 0;
}

static uint32_t poll_news(struct sim_req *q)
{
	uint32_t want = q->sqe.poll32_events | POLLERR | POLLHUP;
	uint32_t got = file_events(q) & want;

	q->told &= got;
	if (q->file->kind == SIM_SOCK && q->news != q->file->sock->news) {
		q->news = q->file->sock->news;
		q->told = 0;
	}
	return req_multishot(q) ? got & ~q->told : got;
}

static bool poll_ready(struct sim_req *q)
{
	return poll_news(q) != 0;
}

static int poll_run(struct sim_req *q)
{
	uint32_t got = poll_news(q);

	q->latched = 0;
	if (req_multishot(q) && !ring_cq_full(q->ring)) {
		q->told |= got;
		ring_post(q->ring, q->sqe.user_data, (int32_t)got, IORING_CQE_F_MORE, q->seq);
		return RUN_MORE;
	}
	req_finish(q, (int32_t)got, 0);
	return RUN_DONE;
}

static const struct sim_op op_poll = { .ready = poll_ready, .run = poll_run, .needs_file = true };

/* ---- messages */
static int msg_data(struct sim_req *q, struct sim_ring *to)
{
	ring_message(to, q->sqe.off, (int32_t)q->sqe.len, 0, q->seq);
	return 0;
}

static int msg_fd(struct sim_req *q, struct sim_ring *to)
{
	uint64_t from = q->sqe.addr3;
	int res;

	if (to == q->ring)
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

bool sim_knows(const struct world *w, unsigned opcode)
{
	return sim_op(opcode) && (opcode < RU_OP_READ_MULTISHOT || w->version >= LINUX_6_12);
}
