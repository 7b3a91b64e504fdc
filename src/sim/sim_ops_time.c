/*
 * Timeouts: once, again and again, until so many completions came, behind another request, and what
 * moves them or takes them back.
 */
#include "sim/sim.h"
#include <errno.h>
#include <linux/time_types.h>
#include <string.h>

#define CLOCKS (IORING_TIMEOUT_BOOTTIME | IORING_TIMEOUT_REALTIME)
#define KNOWN (IORING_TIMEOUT_ABS | CLOCKS | IORING_TIMEOUT_ETIME_SUCCESS | RU_TIMEOUT_MULTISHOT)

static bool multishot(const struct sim_req *q)
{
	return q->sqe.timeout_flags & RU_TIMEOUT_MULTISHOT;
}

static int read_time(uint64_t addr, int64_t *out)
{
	struct __kernel_timespec ts;

	memcpy(&ts, (const void *)(uintptr_t)addr, sizeof(ts));
	if (ts.tv_sec < 0 || ts.tv_nsec < 0)
		return -EINVAL;
	*out = ts.tv_sec > INT64_MAX / 4000000000 ? SIM_NEVER / 2
						  : ts.tv_sec * 1000000000 + ts.tv_nsec;
	return 0;
}

static int check_flags(const struct world *w, unsigned flags, bool link)
{
	if (flags & ~KNOWN || (flags & CLOCKS) == CLOCKS)
		return -EINVAL;
	if (!(flags & RU_TIMEOUT_MULTISHOT))
		return 0;
	return link || flags & IORING_TIMEOUT_ABS || w->version < LINUX_6_12 ? -EINVAL : 0;
}

static int timeout_prep(struct sim_req *q)
{
	bool link = q->sqe.opcode == IORING_OP_LINK_TIMEOUT;
	int err = check_flags(q->ring->w, q->sqe.timeout_flags, link);

	if (err || q->sqe.len != 1 || q->sqe.buf_index || q->sqe.file_index)
		return -EINVAL;
	if (link && q->sqe.off)
		return -EINVAL;
	/* When it begins to run down is decided when it is issued. */
	return read_time(q->sqe.addr, &q->every);
}

/* From when q counts: it has been issued, or the request it watches. */
void timeout_begin(struct sim_req *q)
{
	struct sim_ring *r = q->ring;

	q->due = q->every;
	if (!(q->sqe.timeout_flags & IORING_TIMEOUT_ABS))
		q->due += r->w->now;
	if (!q->sqe.off || multishot(q))
		return;
	q->total = q->sqe.off;
	q->done = r->posted - r->expired;
	r->counting++;
}

/* One more completion of r: timeouts that count them may have come to their end. */
void timeouts_count(struct sim_ring *r)
{
	list_for_each (n, &r->pending) {
		struct sim_req *q = container_of(n, struct sim_req, node);

		if (q->sqe.opcode != IORING_OP_TIMEOUT || !q->total || q->told)
			continue;
		if ((uint32_t)(r->posted - r->expired - (uint32_t)q->done) < q->total)
			continue;
		q->told = 1;
		q->due = r->w->now;
	}
}

void timeout_end(struct sim_req *q)
{
	if (q->sqe.opcode == IORING_OP_TIMEOUT && q->total)
		q->ring->counting--;
	q->total = q->done = 0;
}

static bool timeout_ready(struct sim_req *q)
{
	return q->ring->w->now >= q->due;
}

static int timeout_run(struct sim_req *q)
{
	struct sim_ring *r = q->ring;

	if (q->told) {
		timeout_end(q);
		req_finish(q, 0, 0);
		return RUN_DONE;
	}
	r->expired++;
	q->done++;
	if (multishot(q) && (!q->sqe.off || q->done < q->sqe.off) && !ring_cq_full(r)) {
		ring_post(r, q->sqe.user_data, -ETIME, IORING_CQE_F_MORE, q->seq);
		q->due = r->w->now + (q->every ? q->every : 1);
		return RUN_MORE;
	}
	timeout_end(q);
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

const struct sim_op op_timeout = { .prep = timeout_prep,
				   .ready = timeout_ready,
				   .run = timeout_run };
const struct sim_op op_link_timeout = { .prep = timeout_prep,
					.ready = timeout_ready,
					.run = link_timeout_run };

/* ---- taking one back, or moving it */
static int remove_prep(struct sim_req *q)
{
	unsigned flags = q->sqe.timeout_flags;
	bool update = flags & (IORING_TIMEOUT_UPDATE | IORING_LINK_TIMEOUT_UPDATE);

	if (q->sqe.len || q->sqe.buf_index || q->sqe.file_index || (flags & CLOCKS) == CLOCKS)
		return -EINVAL;
	if (!update)
		return flags ? -EINVAL : 0;
	if (flags & ~(IORING_TIMEOUT_UPDATE | IORING_LINK_TIMEOUT_UPDATE | IORING_TIMEOUT_ABS |
		      (flags & IORING_LINK_TIMEOUT_UPDATE ? CLOCKS : 0)))
		return -EINVAL;
	return read_time(q->sqe.addr2, &q->every);
}

static struct sim_req *timeout_find(struct sim_ring *r, unsigned opcode, uint64_t user_data)
{
	list_for_each (n, &r->pending) {
		struct sim_req *t = container_of(n, struct sim_req, node);

		if (t->sqe.opcode == opcode && t->sqe.user_data == user_data && !t->told)
			return t;
	}
	return NULL;
}

static int remove_run(struct sim_req *q)
{
	unsigned flags = q->sqe.timeout_flags;
	bool link = flags & IORING_LINK_TIMEOUT_UPDATE;
	bool update = link || flags & IORING_TIMEOUT_UPDATE;
	struct sim_req *t = timeout_find(q->ring, link ? IORING_OP_LINK_TIMEOUT : IORING_OP_TIMEOUT,
					 q->sqe.addr);

	if (t && update) {
		/* From here on it counts no completions. */
		timeout_end(t);
		t->sqe.off = 0;
		t->every = q->every;
		t->due = q->every + (flags & IORING_TIMEOUT_ABS ? 0 : q->ring->w->now);
	} else if (t) {
		timeout_end(t);
		req_finish(t, -ECANCELED, 0);
	}
	req_finish(q, t ? 0 : -ENOENT, 0);
	return RUN_DONE;
}

const struct sim_op op_timeout_remove = { .prep = remove_prep, .run = remove_run, .at_once = true };
