/* The layer between the runtime and Linux. See chaos.h. */
#include "chaos.h"

#include "base/list.h"
#include "ring/caps.h"
#include "ring/kernel.h"
#include "ring/uapi.h"
#include "test.h"
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#define RINGS 64
#define RARE 64
#define FREQUENT 6
#define HOLD_MAX 6

extern const struct ring_kernel __real_ring_kernel_uring;
extern const struct ring_kernel __wrap_ring_kernel_uring;
#define REAL (&__real_ring_kernel_uring)

struct held {
	struct list node;
	unsigned enters; /* it is given after so many more */
	struct io_uring_cqe cqe;
};

struct chaos {
	struct io_uring *u; /* NULL: free */
	uint64_t rng;
	unsigned one_in[CHAOS_COUNT]; /* 0: off */
	/* the kernel's completion queue; the program has one of ours */
	struct io_uring_cq real;
	unsigned head, tail, overflow;
	struct io_uring_cqe *cqes;
	struct list held; /* in the order they came */
	unsigned held_count;
	unsigned looked;    /* SQ index: everything before it has been looked at */
	uint64_t wake_read; /* user_data of the read of the eventfd */
	int64_t live;	    /* operations whose last completion has not come */
	int registered;
};

static struct chaos ring[RINGS];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static _Atomic(bool) on;
static uint64_t seed_of_run, rings_made;
static uint64_t counts[CHAOS_COUNT];
static char complaint[200];

static uint64_t mix(uint64_t x)
{
	x += 0x9e3779b97f4a7c15;
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
	x = (x ^ x >> 27) * 0x94d049bb133111eb;
	return x ^ x >> 31;
}

static uint64_t rnd(struct chaos *r, uint64_t n)
{
	return mix(r->rng++) % n;
}

static bool fault(struct chaos *r, enum chaos_fault f)
{
	if (!r->one_in[f] || rnd(r, r->one_in[f]))
		return false;
	__atomic_fetch_add(&counts[f], 1, __ATOMIC_RELAXED);
	return true;
}

static struct chaos *find(const struct io_uring *u)
{
	struct chaos *r = NULL;

	pthread_mutex_lock(&lock);
	for (unsigned i = 0; i < RINGS && !r; i++)
		if (ring[i].u == u)
			r = &ring[i];
	pthread_mutex_unlock(&lock);
	return r;
}

static void complain(const char *what, long long n)
{
	pthread_mutex_lock(&lock);
	if (!*complaint)
		snprintf(complaint, sizeof complaint, "seed %llu: %s: %lld",
			 (unsigned long long)seed_of_run, what, n);
	pthread_mutex_unlock(&lock);
}

/* ---- set-up */

static void interpose(struct chaos *r, struct io_uring *u)
{
	r->real = u->cq;
	r->cqes = calloc(u->cq.ring_entries, sizeof *r->cqes);
	r->head = r->tail = r->overflow = 0;
	list_init(&r->held);
	u->cq.khead = &r->head;
	u->cq.ktail = &r->tail;
	u->cq.koverflow = &r->overflow;
	u->cq.cqes = r->cqes;
	for (unsigned i = 0; i < CHAOS_COUNT; i++) {
		static const unsigned rates[] = { 0, RARE, FREQUENT };
		r->one_in[i] = chaos_can(i) ? rates[rnd(r, 3)] : 0;
	}
}

static int chaos_setup(struct io_uring *u, unsigned entries, struct io_uring_params *p)
{
	int e = REAL->setup(u, entries, p);
	struct chaos *r = NULL;

	if (e < 0 || !atomic_load(&on) || p->flags & (IORING_SETUP_SQPOLL | IORING_SETUP_CQE32))
		return e;
	pthread_mutex_lock(&lock);
	for (unsigned i = 0; i < RINGS && !r; i++)
		if (!ring[i].u)
			r = &ring[i];
	if (r) {
		*r = (struct chaos){ .u = u, .rng = mix(seed_of_run) + mix(++rings_made) };
		interpose(r, u);
	}
	pthread_mutex_unlock(&lock);
	return e;
}

static void chaos_exit(struct io_uring *u)
{
	struct chaos *r = find(u);

	if (r) {
		if (r->live)
			complain("a ring was closed with operations out", r->live);
		if (r->registered)
			complain("a ring was closed with something registered", r->registered);
		while (!list_empty(&r->held))
			free(container_of(list_pop_front(&r->held), struct held, node));
		free(r->cqes);
		u->cq = r->real;
	}
	REAL->exit(u);
	if (r) {
		pthread_mutex_lock(&lock);
		r->u = NULL;
		pthread_mutex_unlock(&lock);
	}
}

static int chaos_reg(struct io_uring *u, unsigned opcode, void *arg, unsigned nr)
{
	int e = REAL->reg(u, opcode, arg, nr);
	struct chaos *r = find(u);

	if (!r || e < 0)
		return e;
	switch (opcode) {
	case IORING_REGISTER_PBUF_RING:
	case IORING_REGISTER_FILES2:
	case IORING_REGISTER_BUFFERS2:
		r->registered++;
		break;
	case IORING_UNREGISTER_PBUF_RING:
	case IORING_UNREGISTER_FILES:
	case IORING_UNREGISTER_BUFFERS:
		r->registered--;
		break;
	default:
		break;
	}
	return e;
}

/* ---- what is submitted */

/* A transient error this operation may end with; 0: none. */
static int transient(struct chaos *r, const struct io_uring_sqe *sqe)
{
	static const int sends[] = { -EAGAIN, -EINTR, -ENOMEM, -ENOBUFS };
	static const int accepts[] = { -EMFILE, -ECONNABORTED, -ENOBUFS, -EPERM };
	static const int recvs[] = { -EINTR, -EAGAIN, -ENOBUFS };
	const struct sockaddr *sa = (const void *)(uintptr_t)sqe->addr;

	switch (sqe->opcode) {
	case IORING_OP_SEND:
	case IORING_OP_SENDMSG:
		return sends[rnd(r, 4)];
	case IORING_OP_SEND_ZC:
		return rnd(r, 8) ? -ENOMEM : -EOPNOTSUPP;
	case IORING_OP_RECV:
		return recvs[rnd(r, sqe->flags & IOSQE_BUFFER_SELECT ? 3 : 2)];
	case IORING_OP_ACCEPT:
		return accepts[rnd(r, 4)];
	case IORING_OP_READ:
		return sqe->user_data == r->wake_read ? -EINTR : 0;
	case IORING_OP_CONNECT: /* to AF_UNSPEC it is a reset */
		return sa->sa_family == AF_UNSPEC ? 0 : -ECONNREFUSED;
	default:
		return 0;
	}
}

static void replace(struct io_uring_sqe *sqe, int res)
{
	uint64_t user_data = sqe->user_data;

	memset(sqe, 0, sizeof *sqe);
	sqe->opcode = IORING_OP_NOP;
	sqe->fd = -1;
	sqe->rw_flags = RU_NOP_INJECT_RESULT;
	sqe->len = (unsigned)res;
	sqe->user_data = user_data;
}

static void shorten_msg(struct chaos *r, struct io_uring_sqe *sqe)
{
	/* scratch of the SQ slot: nobody else reads it any more */
	struct msghdr *msg = (void *)(uintptr_t)sqe->addr;
	struct iovec *last;

	msg->msg_iovlen = 1 + rnd(r, msg->msg_iovlen);
	last = &msg->msg_iov[msg->msg_iovlen - 1];
	last->iov_len = 1 + rnd(r, last->iov_len);
}

static void change(struct chaos *r, struct io_uring_sqe *sqe)
{
	bool recv = sqe->opcode == IORING_OP_RECV, accept = sqe->opcode == IORING_OP_ACCEPT;
	bool send = sqe->opcode == IORING_OP_SEND || sqe->opcode == IORING_OP_SEND_ZC;
	unsigned multi = recv ? IORING_RECV_MULTISHOT : accept ? IORING_ACCEPT_MULTISHOT : 0;
	int res;

	if (sqe->opcode == IORING_OP_READ && !(sqe->flags & IOSQE_FIXED_FILE) && sqe->len == 8)
		r->wake_read = sqe->user_data;
	/* a worker thread that runs the read of the eventfd is ended by the cancel for certain */
	if (sqe->opcode == IORING_OP_ASYNC_CANCEL && sqe->addr != r->wake_read &&
	    fault(r, CHAOS_CANCEL_MISS)) {
		replace(sqe, -EALREADY);
		return;
	}
	res = transient(r, sqe);
	if (res && fault(r, CHAOS_RESULT)) {
		replace(sqe, res);
		return;
	}
	if (multi && (sqe->ioprio & multi) && fault(r, CHAOS_MULTI_END))
		sqe->ioprio &= (uint16_t)~multi;
	if (send && sqe->len > 1 && fault(r, CHAOS_SHORT_SEND))
		sqe->len = 1 + (uint32_t)rnd(r, sqe->len);
	if (sqe->opcode == IORING_OP_SENDMSG && fault(r, CHAOS_SHORT_SEND))
		shorten_msg(r, sqe);
	if (recv && !(sqe->ioprio & IORING_RECV_MULTISHOT) && sqe->len != 1 &&
	    fault(r, CHAOS_SHORT_RECV))
		sqe->len = 1 + (uint32_t)rnd(r, sqe->len ? sqe->len : 64);
	if ((recv || accept || send || sqe->opcode == IORING_OP_SENDMSG ||
	     sqe->opcode == IORING_OP_CONNECT || sqe->opcode == IORING_OP_SHUTDOWN ||
	     sqe->opcode == IORING_OP_CLOSE || sqe->opcode == IORING_OP_READ) &&
	    fault(r, CHAOS_ASYNC))
		sqe->flags |= IOSQE_ASYNC;
}

/* Each SQE once, also when the kernel takes it only later. */
static void look(struct chaos *r, const struct io_uring_sq *sq)
{
	for (; r->looked != *sq->ktail; r->looked++)
		change(r, &sq->sqes[r->looked & sq->ring_mask]);
}

/* ---- what comes back */

static void harvest(struct chaos *r)
{
	const struct io_uring_cq *cq = &r->real;
	unsigned head = *cq->khead, tail = __atomic_load_n(cq->ktail, __ATOMIC_ACQUIRE);

	for (; head != tail; head++) {
		struct held *h = calloc(1, sizeof *h);
		h->cqe = cq->cqes[head & cq->ring_mask];
		if (fault(r, CHAOS_HOLD))
			h->enters = 1 + (unsigned)rnd(r, HOLD_MAX);
		/* a message of another ring is nobody's operation here */
		if (!(h->cqe.flags & IORING_CQE_F_MORE) && !(h->cqe.user_data & 7))
			r->live--;
		list_push_back(&r->held, &h->node);
		r->held_count++;
	}
	__atomic_store_n(cq->khead, head, __ATOMIC_RELEASE);
}

/* The completions of one operation keep their order. */
static bool has_older(const struct chaos *r, const struct held *h)
{
	list_for_each (n, &r->held) {
		const struct held *other = container_of(n, struct held, node);
		if (other == h)
			return false;
		if (other->cqe.user_data == h->cqe.user_data)
			return true;
	}
	return false;
}

static bool give(struct chaos *r, struct held *h)
{
	if (r->tail - r->head == r->real.ring_entries || has_older(r, h))
		return false;
	r->cqes[r->tail & r->real.ring_mask] = h->cqe;
	__atomic_store_n(&r->tail, r->tail + 1, __ATOMIC_RELEASE);
	list_remove(&h->node);
	r->held_count--;
	free(h);
	return true;
}

/* waits: the program would sleep if it got nothing. */
static void give_due(struct chaos *r, bool waits)
{
	list_for_each_safe (n, next, &r->held) {
		struct held *h = container_of(n, struct held, node);
		if (h->enters)
			h->enters--;
		else if (!fault(r, CHAOS_REORDER))
			give(r, h);
	}
	/* those that were passed over, and at least one for who would sleep */
	list_for_each_safe (n, next, &r->held) {
		struct held *h = container_of(n, struct held, node);
		if (!h->enters || (waits && r->tail == r->head))
			give(r, h);
	}
}

static int chaos_enter(struct io_uring *u, unsigned to_submit, unsigned min_complete,
		       unsigned flags, const void *arg, size_t arg_bytes)
{
	struct chaos *r = find(u);
	bool waits = min_complete > 0;
	int n;

	if (!r)
		return REAL->enter(u, to_submit, min_complete, flags, arg, arg_bytes);
	look(r, &u->sq);
	if (fault(r, CHAOS_EINTR))
		return -EINTR;
	if (to_submit && fault(r, CHAOS_EBUSY))
		return rnd(r, 2) ? -EBUSY : -EAGAIN;
	if (to_submit > 1 && fault(r, CHAOS_PARTIAL)) {
		to_submit = 1 + (unsigned)rnd(r, to_submit - 1);
		min_complete = 0; /* Linux does not wait then */
	}
	if (!list_empty(&r->held))
		min_complete = 0;
	n = REAL->enter(u, to_submit, min_complete, flags, arg, arg_bytes);
	if (n > 0)
		r->live += n;
	harvest(r);
	give_due(r, waits);
	return n;
}

const struct ring_kernel __wrap_ring_kernel_uring = {
	.name = "io_uring with faults",
	.setup = chaos_setup,
	.exit = chaos_exit,
	.enter = chaos_enter,
	.reg = chaos_reg,
};

/* ---- for tests */

int chaos_can(enum chaos_fault f)
{
	struct caps now;

	return caps_get(&now)->nop_inject || (f != CHAOS_RESULT && f != CHAOS_CANCEL_MISS);
}

void chaos_on(uint64_t seed)
{
	struct caps now;

	CHECK(caps_get(&now)->ok); /* probed before: the probe wants to see the kernel itself */
	seed_of_run = seed;
	rings_made = 0;
	*complaint = '\0';
	atomic_store(&on, true);
}

void chaos_off(void)
{
	atomic_store(&on, false);
	for (unsigned i = 0; i < RINGS; i++)
		CHECK(!ring[i].u);
	if (*complaint)
		test_fail(__FILE__, __LINE__, "%s", complaint);
}

const uint64_t *chaos_counts(void)
{
	return counts;
}

const char *chaos_name(enum chaos_fault f)
{
	static const char *const names[] = {
#define CHAOS_NAME(id, what) #id,
		CHAOS_FAULTS(CHAOS_NAME)
#undef CHAOS_NAME
	};
	return names[f];
}
