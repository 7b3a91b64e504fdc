/*
 * Receive and send. Addresses are taken at submission, bytes only when the operation runs: a send
 * buffer that changes before its completion is sent changed, as on Linux.
 */
#include "sim/sim.h"
#include <errno.h>
#include <string.h>

static struct sim_sock *req_sock(struct sim_req *q)
{
	return q->file->kind == SIM_SOCK ? q->file->sock : NULL;
}

static bool selects(const struct sim_req *q)
{
	return q->sqe.flags & IOSQE_BUFFER_SELECT;
}

static int prep_buf(struct sim_req *q)
{
	q->iov[0] = (struct iovec){ (void *)(uintptr_t)q->sqe.addr, q->sqe.len };
	q->iovs = 1;
	q->total = q->sqe.len;
	return 0;
}

static int prep_msg(struct sim_req *q)
{
	struct msghdr msg;

	memcpy(&msg, (const void *)(uintptr_t)q->sqe.addr, sizeof(msg));
	if (msg.msg_iovlen > SIM_IOV)
		return -EMSGSIZE;
	memcpy(q->iov, msg.msg_iov, msg.msg_iovlen * sizeof(q->iov[0]));
	q->iovs = (unsigned)msg.msg_iovlen;
	for (unsigned i = 0; i < q->iovs; i++)
		q->total += q->iov[i].iov_len;
	return 0;
}

/* The run of user memory at byte q->done. */
static uint8_t *iov_at(const struct sim_req *q, size_t *n)
{
	size_t skip = q->done;

	for (unsigned i = 0; i < q->iovs; i++) {
		if (skip < q->iov[i].iov_len) {
			*n = q->iov[i].iov_len - skip;
			return (uint8_t *)q->iov[i].iov_base + skip;
		}
		skip -= q->iov[i].iov_len;
	}
	*n = 0;
	return NULL;
}

/* ---- receive */
static int recv_prep(struct sim_req *q)
{
	if (req_multishot(q) && (!selects(q) || q->sqe.msg_flags & MSG_WAITALL || q->sqe.len))
		return -EINVAL;
	/* Bundles and registered receive buffers are not simulated. */
	if (q->sqe.ioprio & ~(IORING_RECV_MULTISHOT | IORING_RECVSEND_POLL_FIRST))
		return -EINVAL;
	return selects(q) ? 0 : prep_buf(q);
}

static int recvmsg_prep(struct sim_req *q)
{
	if (selects(q) || q->sqe.ioprio & ~IORING_RECVSEND_POLL_FIRST)
		return -EINVAL;
	return prep_msg(q);
}

/* The first attempt looks for a buffer before it looks for data: an empty group ends it at once. */
static bool recv_ready(struct sim_req *q)
{
	if (!req_sock(q) || sock_readable(req_sock(q)))
		return true;
	return selects(q) && !q->tried && !(q->sqe.ioprio & IORING_RECVSEND_POLL_FIRST);
}

static uint32_t recv_flags(const struct sim_sock *s)
{
	return s->rx_bytes ? IORING_CQE_F_SOCK_NONEMPTY : 0;
}

static int recv_select(struct sim_req *q, struct sim_sock *s)
{
	struct world *w = q->ring->w;
	uint32_t flags = 0;
	uint16_t bid;
	struct sim_buf *b = group_peek(q->ring, q->sqe.buf_group, &bid);
	size_t n;
	ssize_t got;

	if (!b || (sock_readable(s) && fault(w, FAULT_ENOBUFS))) {
		hit_req(q, HIT_NOBUFS);
		req_finish(q, -ENOBUFS, 0);
		return RUN_DONE;
	}
	n = q->sqe.len && q->sqe.len < b->len ? q->sqe.len : b->len;
	if (fault(w, FAULT_SHORT_RECV)) {
		hit_req(q, HIT_SHORT_RECV);
		n = rand_size(w, n);
	}
	mem_user(b->addr, b->len);
	got = sock_recv(s, b->addr, n);
	mem_kernel(b->addr, b->len);
	if (got == -EAGAIN)
		return RUN_WAIT;
	/* Older kernels hand out a buffer with an end of stream, newer ones do not. */
	if (got > 0 || (got == 0 && w->zero_with_buffer)) {
		group_take(q->ring, q->sqe.buf_group, (size_t)got);
		flags = IORING_CQE_F_BUFFER | (uint32_t)bid << IORING_CQE_BUFFER_SHIFT;
	}
	flags |= recv_flags(s);
	if (got <= 0 || !req_multishot(q) || fault(w, FAULT_MULTI_END) || ring_cq_full(q->ring)) {
		if (got > 0 && req_multishot(q))
			hit_req(q, HIT_MULTI_END);
		req_finish(q, (int32_t)got, flags);
		return RUN_DONE;
	}
	ring_post(q->ring, q->sqe.user_data, (int32_t)got, flags | IORING_CQE_F_MORE, q->seq);
	/* KERNEL(6.1): goes on to the next buffer before it knows whether there is more. */
	q->tried = w->version > LINUX_6_1;
	return RUN_MORE;
}

static int recv_into(struct sim_req *q, struct sim_sock *s)
{
	struct world *w = q->ring->w;
	bool all = q->sqe.msg_flags & MSG_WAITALL;
	ssize_t got = 0;

	while (q->done < q->total) {
		size_t n;
		uint8_t *p = iov_at(q, &n);
		bool part = fault(w, FAULT_SHORT_RECV);

		if (part)
			hit_req(q, HIT_SHORT_RECV);
		got = sock_recv(s, p, part ? rand_size(w, n) : n);
		if (got <= 0)
			break;
		q->done += (size_t)got;
		if (part || (!all && !s->rx_bytes)) /* one recv(2): an error stays for the next */
			break;
	}
	if (q->done == q->total || (q->done && !all)) {
		req_finish(q, (int32_t)q->done, recv_flags(s));
		return RUN_DONE;
	}
	if (got > 0)
		return RUN_MORE;
	if (got == -EAGAIN)
		return RUN_WAIT;
	q->fail = true;
	req_finish(q, q->done ? (int32_t)q->done : (int32_t)got, 0);
	return RUN_DONE;
}

static int recv_run(struct sim_req *q)
{
	struct sim_sock *s = req_sock(q);

	q->tried = true;
	if (!s) {
		req_finish(q, -ENOTSOCK, 0);
		return RUN_DONE;
	}
	/* KERNEL(6.1): -ERESTARTSYS of a worker thread, or a socket that it may not wait for. */
	if (!q->done && fault(q->ring->w, FAULT_RECV_ERR)) {
		hit_req(q, HIT_RECV_ERR);
		q->fail = true;
		req_finish(q, chance(q->ring->w, 2) ? -EINTR : -EAGAIN, 0);
		return RUN_DONE;
	}
	return selects(q) ? recv_select(q, s) : recv_into(q, s);
}

const struct sim_op op_recv = {
	.prep = recv_prep, .ready = recv_ready, .run = recv_run, .needs_file = true, .fills = true
};
const struct sim_op op_recvmsg = { .prep = recvmsg_prep,
				   .ready = recv_ready,
				   .run = recv_run,
				   .needs_file = true,
				   .fills = true };

/* ---- send */
static int send_prep(struct sim_req *q)
{
	/* Bundles and vectors (newer kernels) are not simulated. */
	if (selects(q) || q->sqe.ioprio & ~IORING_RECVSEND_POLL_FIRST)
		return -EINVAL;
	return prep_buf(q);
}

static int sendmsg_prep(struct sim_req *q)
{
	if (selects(q) || q->sqe.ioprio & ~IORING_RECVSEND_POLL_FIRST)
		return -EINVAL;
	return prep_msg(q);
}

/* KERNEL(6.0): without memory for the notification a zero-copy send fails before it owes one. */
static int zc_prep_notif(struct sim_req *q)
{
	if (!fault(q->ring->w, FAULT_ZC_REFUSED))
		return 0;
	q->refused = true;
	hit_req(q, HIT_ZC_REFUSED);
	return -ENOMEM;
}

static bool region_has(const struct sim_ring *r, const struct sim_req *q)
{
	const struct iovec *v = &r->bufs[q->sqe.buf_index];
	uintptr_t a = (uintptr_t)q->iov[0].iov_base, b = (uintptr_t)v->iov_base;

	return v->iov_base && a >= b && a + q->iov[0].iov_len <= b + v->iov_len;
}

static int send_zc_prep(struct sim_req *q)
{
	const unsigned known =
		IORING_RECVSEND_POLL_FIRST | IORING_RECVSEND_FIXED_BUF | RU_SEND_ZC_REPORT_USAGE;
	int err = 0;

	prep_buf(q);
	if (selects(q) || q->sqe.ioprio & ~known)
		err = -EINVAL;
	else if (q->sqe.ioprio & IORING_RECVSEND_FIXED_BUF &&
		 (q->sqe.buf_index >= q->ring->buf_count || !region_has(q->ring, q)))
		err = -EFAULT;
	q->refused = err;
	return err ? err : zc_prep_notif(q);
}

static int sendmsg_zc_prep(struct sim_req *q)
{
	int err = prep_msg(q);

	q->refused = err;
	return err ? err : zc_prep_notif(q);
}

static bool send_ready(struct sim_req *q)
{
	return !req_sock(q) || !q->total || sock_writable(req_sock(q));
}

static bool send_is_zc(const struct sim_req *q)
{
	return q->sqe.opcode == IORING_OP_SEND_ZC || q->sqe.opcode == IORING_OP_SENDMSG_ZC;
}

/* Bytes to try in one step. *part: stop after it, although there may be room. */
static size_t send_step(struct sim_req *q, struct sim_sock *s, size_t n, bool *part)
{
	size_t room = sock_room(s);

	*part = fault(q->ring->w, FAULT_SHORT_SEND);
	if (!*part || !room)
		return n;
	hit_req(q, HIT_SHORT_SEND);
	return rand_size(q->ring->w, n < room ? n : room);
}

/* KERNEL(6.1): no memory for the copy of its header, or for the segment (sk_stream_alloc_skb). */
static bool send_refused(struct sim_req *q)
{
	static const int errs[] = { -ENOMEM, -ENOBUFS, -EAGAIN, -EINTR };

	if (q->done || !q->total || send_is_zc(q) || !fault(q->ring->w, FAULT_SEND_ERR))
		return false;
	hit_req(q, HIT_SEND_ERR);
	q->fail = true;
	req_finish(q, errs[world_rand(q->ring->w, 4)], 0);
	return true;
}

static int send_run(struct sim_req *q)
{
	struct world *w = q->ring->w;
	struct sim_sock *s = req_sock(q);
	bool all = q->sqe.msg_flags & MSG_WAITALL;
	ssize_t put = 0;

	if (!s) {
		req_finish(q, -ENOTSOCK, 0);
		return RUN_DONE;
	}
	if (send_refused(q))
		return RUN_DONE;
	if (send_is_zc(q) && !q->zc_decided) {
		q->zc_decided = true;
		q->zc_late = fault(w, FAULT_ZC_LATE);
		if (q->zc_late)
			hit_req(q, HIT_ZC_LATE);
		if (fault(w, FAULT_ZC_REFUSED)) { /* RLIMIT_MEMLOCK: with a notification */
			q->fail = true;
			hit_req(q, HIT_ZC_DENIED);
			req_finish(q, -ENOMEM, 0);
			return RUN_DONE;
		}
	}
	while (q->done < q->total) {
		size_t n;
		uint8_t *p = iov_at(q, &n);
		bool part;

		n = send_step(q, s, n, &part);
		put = sock_send(s, p, n, q->zc_late ? q : NULL);
		if (put <= 0)
			break;
		q->done += (size_t)put;
		if (part || (!all && s->err))
			break;
	}
	if (all && q->done && q->done < q->total && fault(w, FAULT_SHORT_WAITALL)) {
		hit_req(q, HIT_SHORT_WAITALL);
		put = -ENOBUFS; /* an error behind the first bytes is not told */
	}
	if (q->done == q->total || (q->done && !all)) {
		req_finish(q, (int32_t)q->done, 0);
		return RUN_DONE;
	}
	if (put > 0)
		return RUN_MORE;
	if (put == -EAGAIN)
		return RUN_WAIT;
	q->fail = true;
	req_finish(q, q->done ? (int32_t)q->done : (int32_t)put, 0);
	return RUN_DONE;
}

const struct sim_op op_send = {
	.prep = send_prep, .ready = send_ready, .run = send_run, .needs_file = true
};
const struct sim_op op_sendmsg = {
	.prep = sendmsg_prep, .ready = send_ready, .run = send_run, .needs_file = true
};
const struct sim_op op_send_zc = {
	.prep = send_zc_prep, .ready = send_ready, .run = send_run, .needs_file = true
};
const struct sim_op op_sendmsg_zc = {
	.prep = sendmsg_zc_prep, .ready = send_ready, .run = send_run, .needs_file = true
};
