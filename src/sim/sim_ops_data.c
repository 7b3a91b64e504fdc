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

static bool bundles(const struct sim_req *q)
{
	return q->sqe.ioprio & RU_RECVSEND_BUNDLE;
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
	if (bundles(q) && q->ring->w->version < LINUX_6_12)
		return -EINVAL;
	/* Registered receive buffers are not simulated. */
	if (q->sqe.ioprio &
	    ~(IORING_RECV_MULTISHOT | IORING_RECVSEND_POLL_FIRST | RU_RECVSEND_BUNDLE))
		return -EINVAL;
	return selects(q) ? 0 : prep_buf(q);
}

/* With a provided buffer the message header says how much of it names and control data take. */
static int recvmsg_prep(struct sim_req *q)
{
	struct msghdr msg;
	int err;

	if (q->sqe.ioprio & ~(IORING_RECV_MULTISHOT | IORING_RECVSEND_POLL_FIRST))
		return -EINVAL;
	if (!req_multishot(q) && !selects(q))
		return prep_msg(q);
	if (req_multishot(q) && (!selects(q) || q->sqe.msg_flags & MSG_WAITALL))
		return -EINVAL;
	memcpy(&msg, (const void *)(uintptr_t)q->sqe.addr, sizeof(msg));
	err = req_multishot(q) || msg.msg_iovlen <= 1 ? 0 : -EINVAL;
	q->sqe.len = !req_multishot(q) && msg.msg_iovlen ? (uint32_t)msg.msg_iov->iov_len : 0;
	q->name_room = (uint32_t)msg.msg_namelen;
	q->control_room = (uint32_t)msg.msg_controllen;
	return err;
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

/* A multishot recvmsg writes what it knows of the message in front of it. */
static ssize_t recv_message(struct sim_req *q, struct sim_sock *s, struct sim_buf *b, size_t n)
{
	struct io_uring_recvmsg_out out = { 0 };
	size_t head = sizeof(out) + q->name_room + q->control_room;
	ssize_t got;

	if (b->len <= head)
		return -EFAULT;
	n = n > b->len - head ? b->len - head : n;
	got = sock_recv(s, b->addr + head, n);
	if (got < 0)
		return got;
	out.payloadlen = (uint32_t)got;
	q->ended = !got;
	memcpy(b->addr, &out, sizeof(out));
	return (ssize_t)head + got;
}

static ssize_t recv_buffer(struct sim_req *q, struct sim_sock *s, struct sim_buf *b)
{
	bool message = q->sqe.opcode == IORING_OP_RECVMSG && req_multishot(q);
	size_t n = q->sqe.len && q->sqe.len < b->len ? q->sqe.len : b->len;
	ssize_t got;

	if (fault(q->ring->w, FAULT_SHORT_RECV)) {
		hit_req(q, HIT_SHORT_RECV);
		n = rand_size(q->ring->w, n);
	}
	mem_user(b->addr, b->len);
	got = message ? recv_message(q, s, b, n) : sock_recv(s, b->addr, n);
	mem_kernel(b->addr, b->len);
	return got;
}

/*
 * What else is there goes into the next buffers of the group; they follow the first one. How many
 * it takes at once is the kernel's business, and differs.
 */
static size_t recv_bundle(struct sim_req *q, struct sim_sock *s, size_t got, size_t room)
{
	struct world *w = q->ring->w;
	uint64_t most = chance(w, 2) ? UINT64_MAX : world_rand(w, 4);
	uint16_t bid;
	struct sim_buf *b;

	while (most-- && got == room && s->rx_bytes && (!q->sqe.len || got < q->sqe.len)) {
		size_t n;
		ssize_t more;

		b = group_peek(q->ring, q->sqe.buf_group, &bid);
		if (!b)
			break;
		n = q->sqe.len && q->sqe.len - got < b->len ? q->sqe.len - got : b->len;
		mem_user(b->addr, b->len);
		more = sock_recv(s, b->addr, n);
		mem_kernel(b->addr, b->len);
		if (more <= 0)
			break;
		group_take(q->ring, q->sqe.buf_group, (size_t)more);
		got += (size_t)more;
		room += n;
	}
	return got;
}

static int recv_select(struct sim_req *q, struct sim_sock *s)
{
	struct world *w = q->ring->w;
	uint32_t flags = 0;
	uint16_t bid;
	struct sim_buf *b = group_peek(q->ring, q->sqe.buf_group, &bid);
	ssize_t got;

	if (!b || (sock_readable(s) && fault(w, FAULT_ENOBUFS))) {
		bool none = bundles(q) && !group_find(q->ring, q->sqe.buf_group);

		hit_req(q, HIT_NOBUFS);
		req_finish(q, none ? -ENOENT : -ENOBUFS, 0);
		return RUN_DONE;
	}
	got = recv_buffer(q, s, b);
	if (got == -EAGAIN)
		return RUN_WAIT;
	/* Older kernels hand out a buffer with an end of stream, newer ones do not. */
	if (got > 0 || (got == 0 && w->zero_with_buffer)) {
		size_t room = b->len;

		group_take(q->ring, q->sqe.buf_group, (size_t)got);
		if (got > 0 && bundles(q))
			got = (ssize_t)recv_bundle(q, s, (size_t)got, room);
		flags = IORING_CQE_F_BUFFER | (uint32_t)bid << IORING_CQE_BUFFER_SHIFT;
	}
	flags |= recv_flags(s);
	if (got <= 0 || q->ended || !req_multishot(q) || fault(w, FAULT_MULTI_END) ||
	    ring_cq_full(q->ring)) {
		if (got > 0 && !q->ended && req_multishot(q))
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
	/* Vectors are not simulated. */
	if (q->sqe.ioprio & ~(IORING_RECVSEND_POLL_FIRST | RU_RECVSEND_BUNDLE))
		return -EINVAL;
	/* KERNEL(6.12): a bundle without a group is refused, later it is an ordinary send. */
	if (bundles(q) && (q->ring->w->version < LINUX_6_12 ||
			   (q->ring->w->version == LINUX_6_12 && !selects(q))))
		return -EINVAL;
	if (bundles(q))
		q->sqe.msg_flags |= MSG_WAITALL;
	return selects(q) ? 0 : prep_buf(q);
}

static int sendmsg_prep(struct sim_req *q)
{
	if (q->sqe.ioprio & ~IORING_RECVSEND_POLL_FIRST)
		return -EINVAL;
	return prep_msg(q);
}

/*
 * The notification is made before anything else is looked at: whatever is found wrong later, it is
 * owed. Without memory for it the send fails before it owes one.
 */
static int zc_prep_notif(struct sim_req *q)
{
	int err = q->sqe.flags & IOSQE_CQE_SKIP_SUCCESS ? -EINVAL : 0;

	if (!err && fault(q->ring->w, FAULT_ZC_REFUSED)) {
		hit_req(q, HIT_ZC_REFUSED);
		err = -ENOMEM;
	}
	q->refused = err;
	return err;
}

static bool region_has(const struct sim_ring *r, const struct sim_req *q)
{
	const struct iovec *v = &r->bufs[q->sqe.buf_index];
	uintptr_t a = (uintptr_t)q->iov[0].iov_base, b = (uintptr_t)v->iov_base;

	return v->iov_base && a >= b && a + q->iov[0].iov_len <= b + v->iov_len;
}

static int send_zc_prep(struct sim_req *q)
{
	/* KERNEL(6.1): no usage report. */
	const unsigned report = q->ring->w->version > LINUX_6_1 ? RU_SEND_ZC_REPORT_USAGE : 0;
	const unsigned known = IORING_RECVSEND_POLL_FIRST | IORING_RECVSEND_FIXED_BUF | report;
	int err;

	prep_buf(q);
	/* KERNEL(6.1): looks at the flags first. */
	if (q->ring->w->version == LINUX_6_1 && q->sqe.ioprio & ~known) {
		q->refused = true;
		return -EINVAL;
	}
	err = zc_prep_notif(q);
	if (!err && q->sqe.ioprio & ~known)
		err = -EINVAL;
	else if (!err && q->sqe.ioprio & IORING_RECVSEND_FIXED_BUF &&
		 (q->sqe.buf_index >= q->ring->buf_count || !region_has(q->ring, q)))
		err = -EFAULT;
	return err;
}

static int sendmsg_zc_prep(struct sim_req *q)
{
	int err = zc_prep_notif(q);

	return err ? err : prep_msg(q);
}

static bool send_ready(struct sim_req *q)
{
	return !req_sock(q) || (!q->total && !selects(q)) || sock_writable(req_sock(q));
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

/*
 * From provided buffers: one, or in a bundle as many as there are. They are taken at once and the
 * program's again with the completion; a bundle goes on with what has been published since.
 */
static bool send_select(struct sim_req *q)
{
	struct sim_ring *r = q->ring;
	uint16_t bid;
	struct sim_buf *b = group_peek(r, q->sqe.buf_group, &bid);

	if (!b) {
		req_finish(q, group_find(r, q->sqe.buf_group) ? -ENOBUFS : -ENOENT, 0);
		return false;
	}
	q->first = bid;
	while (b && q->iovs < (bundles(q) ? SIM_IOV : 1)) {
		size_t left = q->sqe.len ? q->sqe.len - q->total : b->len;
		size_t n = left < b->len ? left : b->len;

		q->iov[q->iovs++] = (struct iovec){ b->addr, n };
		q->total += n;
		group_take(r, q->sqe.buf_group, b->len);
		b = q->sqe.len && q->total == q->sqe.len ? NULL
							 : group_peek(r, q->sqe.buf_group, &bid);
	}
	return true;
}

/* A send is over: of a bundle this run of buffers. */
static int send_done(struct sim_req *q, int32_t res)
{
	struct sim_ring *r = q->ring;
	uint32_t flags = 0;
	uint16_t bid;

	if (selects(q))
		flags = IORING_CQE_F_BUFFER | (uint32_t)q->first << IORING_CQE_BUFFER_SHIFT;
	if (res > 0 && q->done == q->total && bundles(q) && selects(q) &&
	    group_peek(r, q->sqe.buf_group, &bid) && !ring_cq_full(r)) {
		ring_post(r, q->sqe.user_data, res, flags | IORING_CQE_F_MORE, q->seq);
		q->iovs = 0;
		q->total = q->done = 0;
		return RUN_MORE;
	}
	q->fail |= res < 0;
	req_finish(q, res, flags);
	return RUN_DONE;
}

/* KERNEL(6.1): no memory for the copy of its header, or for the segment (sk_stream_alloc_skb). */
static bool send_refused(struct sim_req *q)
{
	static const int errs[] = { -ENOMEM, -ENOBUFS, -EAGAIN, -EINTR };

	if (q->done || !q->total || send_is_zc(q) || !fault(q->ring->w, FAULT_SEND_ERR))
		return false;
	hit_req(q, HIT_SEND_ERR);
	send_done(q, errs[world_rand(q->ring->w, 4)]);
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
	if (selects(q) && !q->iovs && !send_select(q))
		return RUN_DONE;
	if (send_refused(q))
		return RUN_DONE;
	if (send_is_zc(q) && !q->zc_decided) {
		q->zc_decided = true;
		q->zc_late = fault(w, FAULT_ZC_LATE);
		if (q->zc_late) {
			hit_req(q, HIT_ZC_LATE);
			q->sum = mem_req_sum(q);
		}
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
	if (q->done == q->total || (q->done && !all))
		return send_done(q, (int32_t)q->done);
	if (put > 0)
		return RUN_MORE;
	if (put == -EAGAIN)
		return RUN_WAIT;
	q->fail = true;
	return send_done(q, q->done ? (int32_t)q->done : (int32_t)put);
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
