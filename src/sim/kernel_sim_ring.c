/*
 * The fake kernel behind ring/kernel.h: queues in ordinary memory, enter, and the way of a
 * completion to the program. Completions appear inside enter only; a wait in which nothing is left
 * to happen now moves the world's clock to what happens next.
 */
#include "sim/sim.h"
#include "base/assert.h"
#include <errno.h>
#include <linux/time_types.h>
#include <stdlib.h>
#include <string.h>

#define SQ_MAX 32768
#define WAIT_STILL_MAX 10000 /* looks of a wait at one instant */
#define SETUP_KNOWN                                                                        \
	(IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP | IORING_SETUP_R_DISABLED |              \
	 IORING_SETUP_SUBMIT_ALL | IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG | \
	 IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | RU_SETUP_NO_SQARRAY)
#define SQE_FLAGS_KNOWN                                                       \
	(IOSQE_FIXED_FILE | IOSQE_IO_LINK | IOSQE_IO_HARDLINK | IOSQE_ASYNC | \
	 IOSQE_BUFFER_SELECT | IOSQE_CQE_SKIP_SUCCESS)

struct sim_ring *ring_of(struct io_uring *u)
{
	struct world *w = world_current();
	struct sim_file *f = w ? fd_get(w, u->ring_fd) : NULL;

	RLN_ASSERT(f && f->kind == SIM_RING);
	return f->ring;
}

/* CQEs that the program has not taken. */
static unsigned cq_ready(const struct sim_ring *r)
{
	return r->cq_tail - __atomic_load_n(&r->cq_head, __ATOMIC_ACQUIRE);
}

bool ring_cq_full(const struct sim_ring *r)
{
	return cq_ready(r) >= r->cq_entries || !list_empty(&r->backlog);
}

static void hash_in(struct world *w, uint64_t v)
{
	for (unsigned i = 0; i < 8; i++)
		w->hash = (w->hash ^ (v >> i * 8 & 0xff)) * 0x100000001b3u;
}

static void cq_put(struct sim_ring *r, const struct sim_cqe *c)
{
	struct world *w = r->w;
	struct io_uring_cqe *at = &r->cqes[r->cq_tail & r->cq_mask];

	at->user_data = c->user_data;
	at->res = c->res;
	at->flags = c->flags;
	__atomic_store_n(&r->cq_tail, r->cq_tail + 1, __ATOMIC_RELEASE);
	w->stats.cqes++;
	hash_in(w, (uint64_t)r->id << 32 | (uint32_t)c->res);
	hash_in(w, c->seq << 32 | c->flags);
	sim_trace(w, "ring %u cqe req %llu res %d flags %x", r->id, (unsigned long long)c->seq,
		  c->res, c->flags);
}

static void cqe_queue(struct list *l, const struct sim_cqe *c)
{
	struct sim_cqe *copy = malloc(sizeof(*copy));

	RLN_ASSERT(copy);
	*copy = *c;
	list_push_back(l, &copy->node);
}

static bool post(struct sim_ring *r, const struct sim_cqe *c)
{
	r->posted++;
	if (r->counting)
		timeouts_count(r);
	if (!ring_cq_full(r)) {
		cq_put(r, c);
		return true;
	}
	cqe_queue(&r->backlog, c);
	r->w->stats.overflows++;
	if (r->w->cfg.on_hit && c->user_data)
		hit_tell(r->w, HIT_OVERFLOW, r->fd, c->user_data);
	r->sq_flags |= IORING_SQ_CQ_OVERFLOW;
	return false;
}

bool ring_post(struct sim_ring *r, uint64_t user_data, int32_t res, uint32_t flags, uint64_t seq)
{
	struct sim_cqe c = { .user_data = user_data, .seq = seq, .res = res, .flags = flags };

	return post(r, &c);
}

void ring_message(struct sim_ring *r, uint64_t user_data, int32_t res, uint32_t flags, uint64_t seq)
{
	struct sim_cqe c = { .user_data = user_data, .seq = seq, .res = res, .flags = flags };

	cqe_queue(&r->msgs, &c);
}

static void backlog_flush(struct sim_ring *r)
{
	while (!list_empty(&r->backlog)) {
		struct sim_cqe *c = container_of(r->backlog.next, struct sim_cqe, node);

		if (cq_ready(r) >= r->cq_entries)
			return;
		cq_put(r, c);
		list_remove(&c->node);
		free(c);
	}
	r->sq_flags &= ~IORING_SQ_CQ_OVERFLOW;
}

static void msgs_flush(struct sim_ring *r)
{
	struct list *n;

	while ((n = list_pop_front(&r->msgs))) {
		struct sim_cqe *c = container_of(n, struct sim_cqe, node);

		post(r, c);
		free(c);
	}
}

/* ---- set-up */
static unsigned round_up(unsigned n)
{
	unsigned p = 1;

	while (p < n)
		p *= 2;
	return p;
}

static int setup_check(struct world *w, unsigned entries, const struct io_uring_params *p)
{
	w->stats.calls++;
	if (w->cfg.fail_call && w->stats.calls == w->cfg.fail_call)
		return w->cfg.fail_errno ? -w->cfg.fail_errno : -ENOMEM;
	if (!entries || (entries > SQ_MAX && !(p->flags & IORING_SETUP_CLAMP)))
		return -EINVAL;
	if (p->flags & ~SETUP_KNOWN)
		return -EINVAL;
	if (p->flags & RU_SETUP_NO_SQARRAY && w->version < LINUX_6_12)
		return -EINVAL;
	if (p->flags & IORING_SETUP_DEFER_TASKRUN && !(p->flags & IORING_SETUP_SINGLE_ISSUER))
		return -EINVAL;
	if (p->flags & IORING_SETUP_CQSIZE &&
	    (!p->cq_entries || round_up(p->cq_entries) < round_up(entries)))
		return -EINVAL;
	return 0;
}

static void ring_alloc(struct sim_ring *r, const struct io_uring_params *p)
{
	size_t sq_bytes = p->sq_entries * sizeof(*r->sqes);
	size_t cq_bytes = (p->cq_entries * sizeof(*r->cqes) + 63) / 64 * 64;

	r->setup = p->flags;
	r->sq_entries = p->sq_entries;
	r->cq_entries = p->cq_entries;
	r->sq_mask = r->sq_entries - 1;
	r->cq_mask = r->cq_entries - 1;
	r->sqes = aligned_alloc(64, sq_bytes);
	r->cqes = aligned_alloc(64, cq_bytes);
	RLN_ASSERT(r->sqes && r->cqes);
	if (!(r->setup & RU_SETUP_NO_SQARRAY))
		r->array = calloc(r->sq_entries, sizeof(*r->array));
	for (unsigned i = 0; r->array && i < r->sq_entries; i++)
		r->array[i] = i; /* as kernel_uring.c leaves it */
	memset(r->sqes, 0xdd, sq_bytes);
	memset(r->cqes, 0xdd, cq_bytes);
	r->disabled = r->setup & IORING_SETUP_R_DISABLED;
}

static void ring_show(struct sim_ring *r, struct io_uring *u, int fd)
{
	memset(u, 0, sizeof(*u));
	u->sq.khead = &r->sq_head;
	u->sq.ktail = &r->sq_tail;
	u->sq.kring_mask = &r->sq_mask;
	u->sq.kring_entries = &r->sq_entries;
	u->sq.kflags = &r->sq_flags;
	u->sq.kdropped = &r->dropped;
	u->sq.array = r->array;
	u->sq.sqes = r->sqes;
	u->sq.ring_mask = r->sq_mask;
	u->sq.ring_entries = r->sq_entries;
	u->cq.khead = &r->cq_head;
	u->cq.ktail = &r->cq_tail;
	u->cq.kring_mask = &r->cq_mask;
	u->cq.kring_entries = &r->cq_entries;
	u->cq.kflags = &r->cq_flags;
	u->cq.koverflow = &r->overflow;
	u->cq.cqes = r->cqes;
	u->cq.ring_mask = r->cq_mask;
	u->cq.ring_entries = r->cq_entries;
	u->flags = r->setup;
	u->ring_fd = u->enter_ring_fd = fd;
}

static int sim_setup(struct io_uring *u, unsigned entries, struct io_uring_params *p)
{
	struct world *w = world_current();
	struct sim_file *f;
	struct sim_ring *r;
	int err, fd;

	RLN_ASSERT(w);
	err = setup_check(w, entries, p);
	if (err)
		return err;
	f = file_new(SIM_RING);
	fd = fd_install(w, f);
	if (fd < 0) {
		free(f);
		return fd;
	}
	p->sq_entries = round_up(entries < SQ_MAX ? entries : SQ_MAX);
	p->cq_entries =
		p->flags & IORING_SETUP_CQSIZE ? round_up(p->cq_entries) : p->sq_entries * 2;
	p->features = IORING_FEAT_SINGLE_MMAP | IORING_FEAT_NODROP | IORING_FEAT_SUBMIT_STABLE |
		      IORING_FEAT_CUR_PERSONALITY | IORING_FEAT_FAST_POLL | IORING_FEAT_EXT_ARG |
		      IORING_FEAT_NATIVE_WORKERS | IORING_FEAT_RSRC_TAGS | IORING_FEAT_CQE_SKIP |
		      IORING_FEAT_LINKED_FILE;
	r = calloc(1, sizeof(*r));
	RLN_ASSERT(r);
	r->w = w;
	r->self = f;
	f->ring = r;
	r->fd = fd;
	r->id = ++w->ring_ids;
	list_init(&r->pending);
	list_init(&r->run);
	list_init(&r->notifs);
	list_init(&r->backlog);
	list_init(&r->msgs);
	list_init(&r->removed);
	list_push_back(&w->rings, &r->node);
	ring_alloc(r, p);
	ring_show(r, u, fd);
	u->features = p->features;
	return 0;
}

/* ---- exit: what is in flight is dropped, unposted */
static void drop_all(struct list *l)
{
	while (!list_empty(l)) {
		struct sim_req *q = container_of(l->next, struct sim_req, node);

		while (q->next) {
			struct sim_req *n = q->next;

			q->next = n->next;
			req_free(n);
		}
		req_free(q);
	}
}

static void drop_cqes(struct list *l)
{
	struct list *n;

	while ((n = list_pop_front(l)))
		free(container_of(n, struct sim_cqe, node));
}

void ring_destroy(struct sim_ring *r)
{
	socks_detach(r->w, r);
	drop_all(&r->pending);
	drop_all(&r->run);
	drop_all(&r->notifs);
	drop_cqes(&r->backlog);
	drop_cqes(&r->msgs);
	for (unsigned i = 0; i < r->file_count; i++)
		if (r->files[i])
			file_put(r->w, r->files[i]);
	slots_release_all(r);
	for (unsigned g = 0; g < r->group_end; g++)
		if (r->group[g].br)
			group_unregister(r, r->group[g].bgid);
	free(r->files);
	free(r->bufs);
	free(r->array);
	free(r->sqes);
	free(r->cqes);
	list_remove(&r->node);
	free(r);
}

static void sim_exit(struct io_uring *u)
{
	struct sim_ring *r = ring_of(u);
	struct world *w = r->w;

	ring_destroy(r);
	fd_close(w, u->ring_fd);
	u->ring_fd = -1;
}

/* ---- submission */
static int req_prep(struct sim_req *q)
{
	const struct sim_op *op = q->op;

	q->refused = true; /* owes no notification, unless more of it is looked at */
	if (!sim_knows(q->ring->w, q->sqe.opcode) || q->sqe.flags & ~SQE_FLAGS_KNOWN)
		return -EINVAL;
	if (q->sqe.flags & IOSQE_BUFFER_SELECT && !sim_selects(q->ring->w, q->sqe.opcode))
		return -EOPNOTSUPP;
	if (q->ring->restricted && !(q->ring->allowed_sqe >> q->sqe.opcode & 1))
		return -EACCES;
	q->refused = false;
	return op->prep ? op->prep(q) : 0;
}

/* The next SQE, copied and made unreadable. NULL: the index in the SQ array is bad. */
static struct sim_req *take_sqe(struct sim_ring *r)
{
	unsigned index = r->sq_head & r->sq_mask;
	struct sim_req *q = NULL;

	if (r->array)
		index = r->array[index];
	if (index < r->sq_entries) {
		q = req_new(r, &r->sqes[index]);
		memset(&r->sqes[index], 0xdd, sizeof(r->sqes[index]));
	} else {
		r->dropped++;
	}
	__atomic_store_n(&r->sq_head, r->sq_head + 1, __ATOMIC_RELEASE);
	return q;
}

static unsigned submit(struct sim_ring *r, unsigned count)
{
	struct world *w = r->w;
	unsigned ready = __atomic_load_n(&r->sq_tail, __ATOMIC_ACQUIRE) - r->sq_head, n = 0;
	struct sim_req *first = NULL, *last = NULL;
	int err = 0;

	if (ready > r->sq_entries)
		world_fail(w, "%u SQEs in a queue of %u", ready, r->sq_entries);
	count = count < ready ? count : ready;
	while (n < count && (err == 0 || r->setup & IORING_SETUP_SUBMIT_ALL)) {
		struct sim_req *q;

		if (n && !first && fault(w, FAULT_PARTIAL)) {
			hit_queued(r, HIT_PARTIAL);
			break;
		}
		q = take_sqe(r);
		n++;
		if (!q)
			continue;
		w->stats.sqes++;
		if (!first)
			err = 0;
		q->res = req_prep(q);
		err = q->res ? q->res : err;
		sim_trace(w, "ring %u sqe req %llu opcode %u fd %d prep %d", r->id,
			  (unsigned long long)q->seq, q->sqe.opcode, q->sqe.fd, q->res);
		if (first)
			last->next = q;
		else
			first = q;
		last = q;
		if (q->sqe.flags & (IOSQE_IO_LINK | IOSQE_IO_HARDLINK))
			continue;
		req_start(first, err);
		first = NULL;
	}
	if (first)
		req_start(first, err);
	return n;
}

/* ---- enter */
static int64_t earlier(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

static int64_t req_next(struct sim_req *q)
{
	struct world *w = q->ring->w;
	const struct sim_op *op = q->op;
	int64_t t = SIM_NEVER, hold = q->hold > w->now ? q->hold : w->now;

	if (q->cancel_at)
		t = q->cancel_at;
	if (q->due && q->due > w->now)
		return earlier(t, q->due > hold ? q->due : hold);
	if (!op->ready || op->ready(q))
		t = earlier(t, hold);
	return t;
}

int64_t ring_next(const struct sim_ring *r)
{
	int64_t t = list_empty(&r->msgs) ? SIM_NEVER : r->w->now;

	list_for_each (n, &r->pending) {
		t = earlier(t, req_next(container_of(n, struct sim_req, node)));
		if (t <= r->w->now)
			return t;
	}
	list_for_each (n, &r->run)
		t = earlier(t, container_of(n, struct sim_req, node)->hold);
	list_for_each (n, &r->notifs) {
		struct sim_req *q = container_of(n, struct sim_req, node);

		t = q->zc_segs ? t : earlier(t, q->hold);
	}
	return t;
}

static void progress(struct sim_ring *r)
{
	reqs_run(r);
	reqs_post(r);
	slots_release(r->w);
	msgs_flush(r);
	backlog_flush(r);
}

bool ring_readable(struct sim_ring *r)
{
	if (!(r->setup & IORING_SETUP_DEFER_TASKRUN))
		progress(r);
	return r->cq_tail != __atomic_load_n(&r->cq_head, __ATOMIC_ACQUIRE) ||
	       !list_empty(&r->backlog);
}

/* When something happens next, other threads included: they act first. */
static int64_t wait_next(struct sim_ring *r)
{
	struct world *w = r->w;
	int64_t next;

	if (!w->cfg.on_wait)
		return earlier(ring_next(r), world_next(w));
	next = w->cfg.on_wait(w, w->cfg.ctx);
	next = earlier(next, world_next(w)); /* as it is after that */
	if (w->cfg.rings_by_hand)
		return earlier(next, ring_next(r));
	list_for_each (n, &w->rings)
		next = earlier(next, ring_next(container_of(n, struct sim_ring, node)));
	return next;
}

int64_t world_ring_next(const struct world *w, int ring_fd)
{
	return ring_next(fd_get(w, ring_fd)->ring);
}

static int wait_for(struct sim_ring *r, unsigned want, int64_t deadline)
{
	struct world *w = r->w;
	unsigned still = 0;
	int64_t then = w->now;

	for (;;) {
		int64_t next;

		still = w->now == then ? still + 1 : 0;
		then = w->now;
		if (still > WAIT_STILL_MAX)
			world_violates(w, PROP_P6, "ring %u waits and the clock stands still",
				       r->id);
		progress(r);
		if (cq_ready(r) >= want)
			return 0;
		if (w->now >= deadline)
			return -ETIME;
		if (fault(w, FAULT_EINTR)) {
			hit_ring(w, HIT_EINTR, r->fd);
			return -EINTR;
		}
		if (w->cfg.block) {
			w->cfg.block(w, r, deadline, w->cfg.ctx);
			continue;
		}
		next = wait_next(r);
		if (next == SIM_NEVER && deadline == SIM_NEVER)
			world_violates(w, PROP_P5,
				       "deadlock: ring %u waits and nothing can ever happen",
				       r->id);
		world_run_until(w, earlier(next, deadline));
	}
}

static int enter_deadline(struct world *w, unsigned flags, const void *arg, size_t bytes,
			  int64_t *deadline)
{
	struct io_uring_getevents_arg a;
	struct __kernel_timespec ts;

	*deadline = SIM_NEVER;
	if (!(flags & IORING_ENTER_EXT_ARG))
		return 0;
	if (bytes != sizeof(a))
		return -EINVAL;
	memcpy(&a, arg, sizeof(a));
	if (!a.ts)
		return 0;
	memcpy(&ts, (const void *)(uintptr_t)a.ts, sizeof(ts));
	if (ts.tv_sec < 0 || ts.tv_nsec < 0)
		return -EINVAL;
	if (ts.tv_sec > INT64_MAX / 4000000000)
		return 0;
	*deadline = ts.tv_sec * 1000000000 + ts.tv_nsec;
	if (!(flags & RU_ENTER_ABS_TIMER))
		*deadline += w->now;
	return 0;
}

static void shake(struct world *w)
{
	world_run_until(w, w->now + 1 + (int64_t)world_rand(w, 500));
	if (chance(w, 16) && fault(w, FAULT_TIME_JUMP)) {
		hit_ring(w, HIT_FREEZE, -1);
		world_run_until(w, w->now + (int64_t)world_rand(w, 10000000000));
		judge_forget(w);
	}
	if (!chance(w, 4) || !fault(w, FAULT_RESET))
		return;
	list_for_each (n, &w->socks) {
		struct sim_sock *s = container_of(n, struct sim_sock, node);

		if (s->state != SOCK_CONNECTED || s->family == AF_UNIX || !chance(w, 4))
			continue;
		sock_break(s, chance(w, 2) ? -ETIMEDOUT : -ECONNRESET, true);
		return;
	}
}

static int sim_enter(struct io_uring *u, unsigned to_submit, unsigned min_complete, unsigned flags,
		     const void *arg, size_t arg_bytes)
{
	struct sim_ring *r = ring_of(u);
	struct world *w = r->w;
	unsigned n = 0;
	int64_t deadline;
	int res;

	if (++w->stats.enters == w->cfg.calm_at)
		world_calm(w);
	if (r->disabled)
		return -EBADFD;
	if (flags & IORING_ENTER_REGISTERED_RING && !r->fd_registered)
		return -EINVAL;
	shake(w);
	if (w->cfg.preempt)
		w->cfg.preempt(w, w->cfg.ctx);
	res = enter_deadline(w, flags, arg, arg_bytes, &deadline);
	if (res)
		return res;
	groups_look(r);
	if (to_submit) {
		if (fault(w, FAULT_EBUSY)) {
			hit_queued(r, HIT_EBUSY);
			return chance(w, 2) ? -EBUSY : -EAGAIN;
		}
		n = submit(r, to_submit);
		reqs_post(r);
		if (n != to_submit)
			return (int)n;
	}
	if (!(flags & IORING_ENTER_GETEVENTS))
		return (int)n;
	if (min_complete > r->cq_entries)
		min_complete = r->cq_entries;
	res = wait_for(r, min_complete, deadline);
	return n ? (int)n : res;
}

/* The objects above the ring know one default kernel; linked with the simulator it is this one. */
const struct ring_kernel ring_kernel_uring = {
	.name = "simulator",
	.setup = sim_setup,
	.exit = sim_exit,
	.enter = sim_enter,
	.reg = sim_register,
};
