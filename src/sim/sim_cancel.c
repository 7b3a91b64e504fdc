/*
 * Cancelling, as measured on Linux: what has run but is not posted yet is not found; a partial
 * transfer ends with its count; what a worker thread of the kernel runs answers -EALREADY and ends
 * when it likes, at times with its own result; where the world says so, at times not at all.
 */
#include "sim/sim.h"
#include <errno.h>

static bool is_timer(const struct sim_req *q)
{
	return q->sqe.opcode == IORING_OP_TIMEOUT || q->sqe.opcode == IORING_OP_LINK_TIMEOUT;
}

/*
 * What a worker thread has begun to do with a file comes to its own end, and what a device does is
 * not found. What still waits for a worker thread is cancelled.
 */
static bool steady(const struct sim_req *q)
{
	return q->op->worker || (q->file && q->file->kind == SIM_DISK);
}

int req_cancel(struct sim_req *q)
{
	struct world *w = q->ring->w;

	if (q->cancel_at)
		return -EALREADY;
	if (steady(q) && !q->punted)
		return -ENOENT;
	if (steady(q) && chance(w, 2))
		return -EALREADY;
	if (!is_timer(q) && !steady(q) && !req_multishot(q) &&
	    (fault(w, FAULT_CANCEL_LATE) || (q->punted && chance(w, 2)))) {
		q->cancel_at = w->now + latency(w);
		hit_req(q, HIT_CANCEL_LATE);
		return -EALREADY;
	}
	if (is_timer(q))
		timeout_end(q);
	hit_req(q, q->done ? HIT_CANCEL_PART : HIT_CANCEL);
	if (q->done) {
		w->stats.cancel_partial++;
		q->fail = true;
	}
	req_finish(q, q->done ? (int32_t)q->done : -ECANCELED, 0);
	return 0;
}

/*
 * The worker thread found nothing to do and is about to let the request wait for its socket: the
 * cancel comes too late for the one and too early for the other. A poll never gets there.
 */
static bool may_be_lost(const struct sim_req *q)
{
	return q->ring->w->cfg.lost_cancels && q->file && q->file->kind == SIM_SOCK &&
	       q->sqe.opcode != IORING_OP_POLL_ADD && !req_multishot(q) && !q->cancel_at;
}

static bool cancel_lost(struct sim_req *q)
{
	struct world *w = q->ring->w;

	if (!may_be_lost(q) || !chance(w, 8) || (!q->punted && !fault(w, FAULT_CANCEL_LATE)))
		return false;
	q->punted = false;
	hit_req(q, HIT_CANCEL_LATE);
	return true;
}

struct match {
	uint64_t user_data;
	unsigned flags, opcode;
	struct sim_file *file;
};

static bool matches(const struct match *m, const struct sim_req *q)
{
	if (m->flags & IORING_ASYNC_CANCEL_ANY)
		return true;
	if (m->flags & (IORING_ASYNC_CANCEL_FD | IORING_ASYNC_CANCEL_FD_FIXED)) {
		if (q->file != m->file)
			return false;
		if (!(m->flags & RU_ASYNC_CANCEL_USERDATA))
			return true;
	}
	if (m->flags & RU_ASYNC_CANCEL_OP)
		return q->sqe.opcode == m->opcode;
	return q->sqe.user_data == m->user_data;
}

static int cancel_matching(struct sim_ring *r, const struct match *m, const struct sim_req *self)
{
	bool all = m->flags & (IORING_ASYNC_CANCEL_ALL | IORING_ASYNC_CANCEL_ANY);
	int count = 0, late = 0;

	list_for_each_safe (node, t, &r->pending) {
		struct sim_req *q = container_of(node, struct sim_req, node);
		int err;

		if (q == self || !matches(m, q))
			continue;
		/* Finishing q may finish its link timeout, the next of the list. */
		if (q->timeout && t == &q->timeout->node)
			t = t->next;
		err = self && cancel_lost(q) ? -EALREADY : req_cancel(q);
		if (err == -ENOENT)
			continue;
		late = err ? err : late;
		count++;
		if (!all)
			break;
	}
	if (!count && !m->flags && r->w->cfg.on_hit)
		hit_tell(r->w, HIT_CANCEL_MISS, r->fd, m->user_data);
	if (all)
		return count;
	return late ? late : count ? 0 : -ENOENT;
}

static bool by_file(unsigned flags)
{
	return flags & (IORING_ASYNC_CANCEL_FD | IORING_ASYNC_CANCEL_FD_FIXED);
}

static struct sim_file *cancel_file(struct sim_ring *r, int fd, bool fixed)
{
	if (!fixed)
		return fd_get(r->w, fd);
	return (unsigned)fd < r->file_count ? r->files[fd] : NULL;
}

static int cancel_run(struct sim_req *q)
{
	struct match m = { .user_data = q->sqe.addr,
			   .flags = q->sqe.cancel_flags,
			   .opcode = q->sqe.len };
	bool fixed = m.flags & IORING_ASYNC_CANCEL_FD_FIXED || q->sqe.flags & IOSQE_FIXED_FILE;

	if (by_file(m.flags)) {
		m.file = cancel_file(q->ring, q->sqe.fd, fixed);
		if (!m.file) {
			req_finish(q, -EBADF, 0);
			return RUN_DONE;
		}
	}
	req_finish(q, cancel_matching(q->ring, &m, q), 0);
	return RUN_DONE;
}

/* Always inline: a cancel that is in the SQ cannot reach a request submitted after it. */
const struct sim_op op_cancel_sim = { .run = cancel_run, .at_once = true };

int cancel_sync(struct sim_ring *r, struct io_uring_sync_cancel_reg *reg)
{
	struct match m = { .user_data = reg->addr, .flags = reg->flags };
	int res;

	if (by_file(m.flags)) {
		m.file = cancel_file(r, reg->fd, m.flags & IORING_ASYNC_CANCEL_FD_FIXED);
		if (!m.file)
			return -EBADF;
	}
	res = cancel_matching(r, &m, NULL);
	if (res != -EALREADY)
		return res > 0 ? 0 : res;
	/* It waits until what a worker thread runs has ended. */
	list_for_each (node, &r->pending) {
		struct sim_req *q = container_of(node, struct sim_req, node);

		q->cancel_at = q->cancel_at ? r->w->now : 0;
	}
	return 0;
}
