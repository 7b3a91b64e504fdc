/*
 * The life of a request: chains, the moment it runs, the moment its completion is seen. Which of
 * several that could run goes first, and whether it does so now, is the seed's choice; what it does
 * is in sim_ops*.c.
 */
#include "sim/sim.h"
#include "base/assert.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define RUN_BUDGET 32 /* completions of one multishot in a row, as in Linux */

/*
 * PERF: half of all allocations. Where a use after the end would be found, the one that was freed
 * first is used again first.
 */
static struct sim_req *req_alloc(struct world *w)
{
	struct list *n = list_pop_front(&w->spare_reqs);
	struct sim_req *q = n ? container_of(n, struct sim_req, node) : malloc(sizeof(*q));

	RLN_ASSERT(q);
	mem_user(q, sizeof(*q));
	return q;
}

static void req_spare(struct world *w, struct sim_req *q)
{
	(mem_poisons ? list_push_back : list_push_front)(&w->spare_reqs, &q->node);
	mem_kernel(&q->node + 1, sizeof(*q) - sizeof(q->node));
}

void reqs_free(struct world *w)
{
	struct list *n;

	while ((n = list_pop_front(&w->spare_reqs))) {
		struct sim_req *q = container_of(n, struct sim_req, node);

		mem_user(q, sizeof(*q));
		free(q);
	}
}

struct sim_req *req_new(struct sim_ring *r, const struct io_uring_sqe *sqe)
{
	struct sim_req *q = req_alloc(r->w);

	memset(q, 0, offsetof(struct sim_req, iov));
	list_init(&q->node);
	q->ring = r;
	q->op = sim_op(sqe->opcode);
	q->sqe = *sqe;
	q->seq = ++r->w->req_seq;
	q->asked = r->w->now;
	return q;
}

static void req_put_file(struct sim_req *q)
{
	if (q->file)
		file_put(q->ring->w, q->file);
	q->file = NULL;
}

void req_free(struct sim_req *q)
{
	list_remove(&q->node);
	mem_req_open(q);
	req_disk_free(q);
	req_put_file(q);
	req_spare(q->ring->w, q);
}

bool req_multishot(const struct sim_req *q)
{
	switch (q->sqe.opcode) {
	case IORING_OP_ACCEPT:
		return q->sqe.ioprio & IORING_ACCEPT_MULTISHOT;
	case IORING_OP_RECV:
	case IORING_OP_RECVMSG:
		return q->sqe.ioprio & IORING_RECV_MULTISHOT;
	case RU_OP_READ_MULTISHOT:
		return true;
	case IORING_OP_TIMEOUT:
		return q->sqe.timeout_flags & RU_TIMEOUT_MULTISHOT;
	case IORING_OP_POLL_ADD:
		return q->sqe.len & IORING_POLL_ADD_MULTI;
	default:
		return false;
	}
}

static bool req_zc(const struct sim_req *q)
{
	return q->sqe.opcode == IORING_OP_SEND_ZC || q->sqe.opcode == IORING_OP_SENDMSG_ZC;
}

/* False: req_try() would do nothing now. */
static bool req_could(struct sim_req *q)
{
	struct world *w = q->ring->w;

	if (q->cancel_at && w->now >= q->cancel_at)
		return true;
	if (q->sqe.opcode == IORING_OP_POLL_ADD)
		return true; /* its ready() notes what it sees: it is not asked out of turn */
	if (q->op->ready && !q->op->ready(q))
		return false;
	return !q->decided || w->now >= q->hold;
}

static bool req_try(struct sim_req *q)
{
	struct world *w = q->ring->w;
	const struct sim_op *op = q->op;
	bool linked, went;

	if (q->cancel_at && w->now >= q->cancel_at) {
		q->cancel_at = 0;
		req_finish(q, q->done ? (int32_t)q->done : chance(w, 2) ? -EINTR : -ECANCELED, 0);
		return true;
	}
	if (op->ready && !op->ready(q))
		return false;
	if (!q->decided) {
		q->decided = true;
		if (!op->at_once && fault(w, FAULT_DEFER)) {
			hit_req(q, HIT_DEFER);
			q->hold = w->now + latency(w);
		}
	}
	if (w->now < q->hold)
		return false;
	q->decided = false;
	q->hold = 0;
	linked = q->next;
	mem_req_open(q);
	went = op->run(q) != RUN_WAIT;
	if (!linked) /* what follows in its chain may work on the same memory */
		mem_req_own(q);
	return went;
}

static struct sim_file *req_find_file(struct sim_req *q)
{
	struct sim_ring *r = q->ring;
	unsigned fd = (unsigned)q->sqe.fd;

	if (q->sqe.flags & IOSQE_FIXED_FILE)
		return fd < r->file_count ? r->files[fd] : NULL;
	return fd_get(r->w, q->sqe.fd);
}

static void req_watch(struct sim_req *q)
{
	struct sim_req *lt = q->next;

	if (!lt || lt->sqe.opcode != IORING_OP_LINK_TIMEOUT)
		return;
	q->next = lt->next;
	lt->next = NULL;
	q->timeout = lt;
	lt->watched = q;
	timeout_begin(lt);
	lt->state = REQ_PENDING;
	list_push_back(&q->ring->pending, &lt->node);
}

static void req_issue(struct sim_req *q)
{
	struct world *w = q->ring->w;
	const struct sim_op *op = q->op;

	RLN_ASSERT(q->state == REQ_CHAINED);
	q->state = REQ_PENDING;
	list_push_back(&q->ring->pending, &q->node);
	if (op->needs_file) {
		q->file = req_find_file(q);
		if (!q->file) {
			req_finish(q, -EBADF, 0);
			return;
		}
		file_ref(q->file);
	}
	req_watch(q);
	if (q->sqe.opcode == IORING_OP_TIMEOUT)
		timeout_begin(q);
	else if (q->sqe.opcode == IORING_OP_FSYNC)
		sync_begin(q);
	mem_req_own(q);
	if (op->worker || (q->sqe.flags & IOSQE_ASYNC && !op->at_once) ||
	    (q->file && q->file->kind == SIM_DISK && chance(w, 2))) {
		q->punted = q->decided = true;
		q->hold = w->now + latency(w);
		return;
	}
	if (op->at_once || !chance(w, w->inline_in))
		req_try(q);
}

static void chain_cancel(struct sim_req *q)
{
	while (q) {
		struct sim_req *next = q->next;

		q->next = NULL;
		q->stray = true; /* KERNEL(6.18): a chain that breaks tells nothing of it */
		req_finish(q, -ECANCELED, 0);
		q = next;
	}
}

void req_start(struct sim_req *q, int err)
{
	if (!err) {
		req_issue(q);
		return;
	}
	/* One member could not be prepared: it gets its errno (in res), all others -ECANCELED. */
	for (bool first = true; q; first = false) {
		struct sim_req *next = q->next;

		q->next = NULL;
		q->stray = !first;
		req_finish(q, q->res ? q->res : -ECANCELED, 0);
		q = next;
	}
}

void req_finish(struct sim_req *q, int32_t res, uint32_t flags)
{
	struct world *w = q->ring->w;
	struct sim_req *next = q->next, *lt = q->timeout;
	bool failed = res < 0 || q->fail;

	RLN_ASSERT(q->state == REQ_PENDING || q->state == REQ_CHAINED);
	if (q->sqe.opcode == IORING_OP_TIMEOUT && res == -ETIME &&
	    q->sqe.timeout_flags & IORING_TIMEOUT_ETIME_SUCCESS)
		failed = false;
	if (res < 0 && w->judge)
		judge_refused(q, res);
	list_remove(&q->node);
	q->state = REQ_RUN;
	q->res = res;
	q->flags = flags;
	/* KERNEL(6.1): whatever its result, a zero-copy send that got a notification owes it. */
	q->stray &= req_zc(q) && !q->refused;
	if (req_zc(q) && !q->refused && !q->stray)
		q->flags |= IORING_CQE_F_MORE;
	q->next = q->timeout = NULL;
	q->hold = fault(w, FAULT_HOLD) ? w->now + latency(w) : 0;
	if (q->hold)
		hit_req(q, HIT_HOLD);
	list_push_back(&q->ring->run, &q->node);
	if (lt) {
		lt->watched = NULL;
		req_finish(lt, -ECANCELED, 0);
	}
	if (next && failed && !(q->sqe.flags & IOSQE_IO_HARDLINK))
		chain_cancel(next);
	else if (next)
		req_issue(next);
}

/* Nobody waits for it: most of what is pending is this. */
static bool accept_idle(struct sim_req *q)
{
	return q->sqe.opcode == IORING_OP_ACCEPT && !q->cancel_at && !q->op->ready(q);
}

/* The members of a list in the order the seed likes; without those that would not run. */
struct shuffle {
	unsigned n;
	struct sim_req **at, *room[64];
};

static void shuffle(struct world *w, const struct list *l, struct shuffle *s)
{
	unsigned n, cap = sizeof(s->room) / sizeof(s->room[0]);

	n = list_count(l);
	s->at = n > cap ? malloc(n * sizeof(*s->at)) : s->room;
	RLN_ASSERT(s->at);
	n = 0;
	list_for_each (node, l) {
		struct sim_req *q = container_of(node, struct sim_req, node);

		if (q->state != REQ_PENDING || !accept_idle(q))
			s->at[n++] = q;
	}
	s->n = n;
	for (unsigned i = 0; i < n && w->order != ORDER_OLDEST; i++) {
		unsigned j = n - 1 - i;
		struct sim_req *t = s->at[i];

		if (w->order == ORDER_NEWEST && j <= i)
			break;
		if (w->order != ORDER_NEWEST)
			j = i + (unsigned)(rand_next(w) % (n - i));
		s->at[i] = s->at[j];
		s->at[j] = t;
	}
}

static void shuffle_end(struct shuffle *s)
{
	if (s->at != s->room)
		free(s->at);
}

static bool any_could(const struct sim_ring *r)
{
	list_for_each (node, &r->pending)
		if (req_could(container_of(node, struct sim_req, node)))
			return true;
	return false;
}

void reqs_run(struct sim_ring *r)
{
	struct shuffle s;

	groups_look(r);
	/* PERF: in four passes of five nothing can run. */
	if (!any_could(r))
		return;
	shuffle(r->w, &r->pending, &s);
	for (unsigned i = 0; i < s.n; i++) {
		unsigned budget = RUN_BUDGET;

		while (s.at[i]->state == REQ_PENDING && budget-- && req_try(s.at[i]))
			;
	}
	shuffle_end(&s);
}

static void req_post(struct sim_req *q)
{
	struct sim_ring *r = q->ring;
	bool silent = q->sqe.flags & IOSQE_CQE_SKIP_SUCCESS && q->res >= 0;

	if (q->disk)
		req_write_again(q);
	if (!silent)
		ring_post(r, q->sqe.user_data, q->res, q->flags, q->seq);
	if (!(q->flags & IORING_CQE_F_MORE) && !q->stray) {
		req_free(q);
		return;
	}
	req_put_file(q);
	list_remove(&q->node);
	q->state = REQ_NOTIF;
	q->hold = fault(r->w, FAULT_HOLD) ? r->w->now + latency(r->w) : 0;
	if (q->hold)
		hit_req(q, HIT_HOLD);
	list_push_back(&r->notifs, &q->node);
}

static void notif_post(struct sim_req *q)
{
	uint32_t res = 0;

	if (q->zc_late && q->sum != mem_req_sum(q))
		world_violates(q->ring->w, PROP_P2,
			       "memory of request %llu changed before its notification",
			       (unsigned long long)q->seq);

	if (q->sqe.ioprio & RU_SEND_ZC_REPORT_USAGE && !q->zc_late)
		res = RU_NOTIF_USAGE_ZC_COPIED;
	ring_post(q->ring, q->sqe.user_data, (int32_t)res, IORING_CQE_F_NOTIF, q->seq);
	req_free(q);
}

void reqs_post(struct sim_ring *r)
{
	struct world *w = r->w;
	struct shuffle s;

	shuffle(w, &r->run, &s);
	for (unsigned i = 0; i < s.n; i++)
		if (s.at[i]->hold <= w->now)
			req_post(s.at[i]);
	shuffle_end(&s);
	list_for_each_safe (node, t, &r->notifs) {
		struct sim_req *q = container_of(node, struct sim_req, node);

		if (!q->zc_segs && q->hold <= w->now)
			notif_post(q);
	}
}
