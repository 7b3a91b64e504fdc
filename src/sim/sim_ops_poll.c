/*
 * Poll: once or again and again, and what changes a poll that is armed.
 */
#include "sim/sim.h"
#include <errno.h>
#include <poll.h>

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

static int poll_prep(struct sim_req *q)
{
	bool multi = q->sqe.len & IORING_POLL_ADD_MULTI;

	if (q->sqe.buf_index || q->sqe.off || q->sqe.addr || q->sqe.len & ~IORING_POLL_ADD_MULTI)
		return -EINVAL;
	return multi && q->sqe.flags & IOSQE_CQE_SKIP_SUCCESS ? -EINVAL : 0;
}

const struct sim_op op_poll = {
	.prep = poll_prep, .ready = poll_ready, .run = poll_run, .needs_file = true
};

/* ---- changing one that is armed */
#define UPDATES (IORING_POLL_UPDATE_EVENTS | IORING_POLL_UPDATE_USER_DATA)

static int remove_prep(struct sim_req *q)
{
	unsigned flags = q->sqe.len;

	if (q->sqe.buf_index || q->sqe.file_index || flags & ~(UPDATES | IORING_POLL_ADD_MULTI) ||
	    flags == IORING_POLL_ADD_MULTI)
		return -EINVAL;
	if (!(flags & IORING_POLL_UPDATE_USER_DATA) && q->sqe.off)
		return -EINVAL;
	return !(flags & IORING_POLL_UPDATE_EVENTS) && q->sqe.poll32_events ? -EINVAL : 0;
}

static struct sim_req *poll_find(struct sim_ring *r, uint64_t user_data)
{
	list_for_each (n, &r->pending) {
		struct sim_req *t = container_of(n, struct sim_req, node);

		if (t->sqe.opcode == IORING_OP_POLL_ADD && t->sqe.user_data == user_data)
			return t;
	}
	return NULL;
}

static int remove_run(struct sim_req *q)
{
	struct sim_req *t = poll_find(q->ring, q->sqe.addr);
	unsigned flags = q->sqe.len;

	if (t && flags & UPDATES) {
		/* Whether it tells once or again and again stays as it was. */
		if (flags & IORING_POLL_UPDATE_EVENTS)
			t->sqe.poll32_events = q->sqe.poll32_events;
		if (flags & IORING_POLL_UPDATE_USER_DATA)
			t->sqe.user_data = q->sqe.off;
		t->told = 0;
	} else if (t) {
		req_finish(t, -ECANCELED, 0);
	}
	req_finish(q, t ? 0 : -ENOENT, 0);
	return RUN_DONE;
}

const struct sim_op op_poll_remove = { .prep = remove_prep, .run = remove_run, .at_once = true };
