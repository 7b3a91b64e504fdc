/*
 * One submission and completion ring over a struct ring_kernel: the ladder of set-up flags, SQE
 * slots and their scratch, enter, reap. Knows SQEs and CQEs as slots only, never what they mean.
 */
#include "ring/ring.h"
#include "base/assert.h"
#include "base/mark.h"
#include "base/sys.h"
#include "ring/caps.h"
#include "ring/uapi.h"
#include <errno.h>
#include <string.h>

#define MODE_FLAGS (RU_SETUP_NO_SQARRAY | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_COOP_TASKRUN)
#define BASE_FLAGS (IORING_SETUP_CQSIZE | IORING_SETUP_SUBMIT_ALL | IORING_SETUP_R_DISABLED)

/* Best first. Only -EINVAL (an unknown flag, or two that do not go together) leads to the next. */
static const uint32_t ladder[] = {
	BASE_FLAGS | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | RU_SETUP_NO_SQARRAY,
	BASE_FLAGS | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN,
	BASE_FLAGS | IORING_SETUP_COOP_TASKRUN,
	IORING_SETUP_CQSIZE,
};

/* KERNEL(6.18): SQPOLL with COOP_TASKRUN or DEFER_TASKRUN is -EINVAL. */
static const uint32_t ladder_sqpoll[] = {
	BASE_FLAGS | IORING_SETUP_SQPOLL | IORING_SETUP_SINGLE_ISSUER | RU_SETUP_NO_SQARRAY,
	BASE_FLAGS | IORING_SETUP_SQPOLL | IORING_SETUP_SINGLE_ISSUER,
	BASE_FLAGS | IORING_SETUP_SQPOLL,
	IORING_SETUP_CQSIZE | IORING_SETUP_SQPOLL,
};

#define RUNGS (sizeof ladder / sizeof ladder[0])
_Static_assert(sizeof ladder == sizeof ladder_sqpoll, "both ladders have the same length");

/* A single writer: a plain add, but never torn for whoever reads the counters. */
static void count(uint64_t *counter, uint64_t n)
{
	__atomic_store_n(counter, *counter + n, __ATOMIC_RELAXED);
}

static uint32_t extra_flags(const struct ring_config *cfg)
{
	uint32_t flags = 0;

	if (cfg->wide)
		flags |= IORING_SETUP_SQE128 | IORING_SETUP_CQE32;
	if (cfg->iopoll)
		flags |= IORING_SETUP_IOPOLL;
	if (cfg->sqpoll && cfg->sqpoll_cpu >= 0)
		flags |= IORING_SETUP_SQ_AFF;
	return flags;
}

static int try_setup(struct ring *r, const struct ring_config *cfg, uint32_t flags)
{
	struct io_uring_params p = { .flags = flags, .cq_entries = cfg->cq_entries };

	if (cfg->sqpoll)
		p.sq_thread_idle = cfg->sqpoll_idle_ms;
	if (flags & IORING_SETUP_SQ_AFF)
		p.sq_thread_cpu = (uint32_t)cfg->sqpoll_cpu;
	return r->kernel->setup(&r->u, cfg->sq_entries, &p);
}

/* Every rung was refused: set up the plainest ring without one thing at a time to find which. */
static int refused(struct ring *r, const struct ring_config *cfg, struct diag *why)
{
	static const struct {
		uint32_t flags;
		const char *text;
	} suspects[] = {
		{ IORING_SETUP_SQ_AFF, "SQ_AFF (the CPU of the SQPOLL thread): name a CPU this "
				       "process may use" },
		{ IORING_SETUP_SQPOLL | IORING_SETUP_SQ_AFF, "SQPOLL: start without it" },
		{ IORING_SETUP_IOPOLL, "IOPOLL: start without it" },
		{ IORING_SETUP_SQE128 | IORING_SETUP_CQE32,
		  "SQE128 and CQE32: NVMe passthrough needs Linux 5.19 or newer" },
	};
	uint32_t plain = IORING_SETUP_CQSIZE | extra_flags(cfg);

	if (cfg->sqpoll)
		plain |= IORING_SETUP_SQPOLL;
	for (unsigned i = 0; i < sizeof suspects / sizeof suspects[0]; i++) {
		if (!(plain & suspects[i].flags) ||
		    try_setup(r, cfg, plain & ~suspects[i].flags) < 0)
			continue;
		r->kernel->exit(&r->u);
		return diag_set(why, -EINVAL, "io_uring_setup: EINVAL: this kernel refuses %s",
				suspects[i].text);
	}
	return diag_set(why, -EINVAL,
			"io_uring_setup: EINVAL: this kernel refuses rings of %u SQEs and %u CQEs "
			"with any flags; ask for at most 32768 SQEs and 65536 CQEs",
			cfg->sq_entries, cfg->cq_entries);
}

static uint64_t ring_need_bytes(const struct ring_config *cfg)
{
	unsigned shift = cfg->wide;

	return ((uint64_t)cfg->sq_entries * sizeof(struct io_uring_sqe) << shift) +
	       ((uint64_t)cfg->cq_entries * sizeof(struct io_uring_cqe) << shift);
}

static int climb_down(struct ring *r, const struct ring_config *cfg, struct diag *why)
{
	const uint32_t *rungs = cfg->sqpoll ? ladder_sqpoll : ladder;
	int err = -EINVAL;

	for (unsigned i = 0; i < RUNGS; i++) {
		uint32_t flags = (rungs[i] & ~cfg->flags_without) | extra_flags(cfg);

		if (i)
			RLN_MARK("ring-of-an-older-kernel");
		if (rungs[i] & cfg->flags_without & MODE_FLAGS)
			continue; /* without it this is another rung */
		err = try_setup(r, cfg, flags);
		if (err >= 0) {
			r->setup_flags = flags;
			return 0;
		}
		if (err != -EINVAL)
			return diag_ring(why, err, "io_uring_setup", ring_need_bytes(cfg), 0);
	}
	return refused(r, cfg, why);
}

static bool power_of_two(unsigned n)
{
	return n && !(n & (n - 1));
}

static int ring_config_check(const struct ring_config *cfg, struct diag *why)
{
	if (!power_of_two(cfg->sq_entries) || cfg->sq_entries < 2)
		return diag_set(why, -EINVAL, "ring: %u SQEs is not a power of two of at least 2",
				cfg->sq_entries);
	if (!power_of_two(cfg->cq_entries) || cfg->cq_entries / 2 < cfg->sq_entries)
		return diag_set(why, -EINVAL,
				"ring: %u CQEs is not a power of two of at least twice the %u SQEs",
				cfg->cq_entries, cfg->sq_entries);
	if (cfg->iopoll && !cfg->wide)
		return diag_set(why, -EINVAL, "ring: IOPOLL is for the wide ring only");
	return 0;
}

int ring_open(struct ring *r, const struct ring_config *cfg, struct diag *why)
{
	int err = ring_config_check(cfg, why);

	if (err < 0)
		return err;
	memset(r, 0, sizeof *r);
	r->kernel = cfg->kernel ? cfg->kernel : &ring_kernel_uring;
	r->wide = cfg->wide;
	r->scratch = sys_zalloc(cfg->sq_entries * sizeof r->scratch[0]);
	if (!r->scratch)
		return diag_set(why, -ENOMEM, "ring: out of memory for %u SQ slots",
				cfg->sq_entries);
	err = climb_down(r, cfg, why);
	if (err < 0) {
		sys_free(r->scratch);
		memset(r, 0, sizeof *r);
		return err;
	}
	RLN_ASSERT(r->u.sq.ring_entries == cfg->sq_entries);
	RLN_ASSERT(r->u.cq.ring_entries >= cfg->cq_entries);
	return 0;
}

int ring_enable(struct ring *r, struct diag *why)
{
	struct io_uring_rsrc_update up = { .offset = ~0U, .data = (uint64_t)r->u.ring_fd };
	int err;

	RLN_ASSERT(!r->enabled);
	if (r->setup_flags & IORING_SETUP_R_DISABLED) {
		err = ring_register(r, IORING_REGISTER_ENABLE_RINGS, NULL, 0);
		if (err < 0)
			return diag_ring(why, err, "IORING_REGISTER_ENABLE_RINGS", 0, 0);
	}
	r->enabled = true;
	/* Saves a lookup in every enter; a thread has room for 16, and without it all goes on. */
	if (ring_register(r, IORING_REGISTER_RING_FDS, &up, 1) == 1) {
		r->u.enter_ring_fd = (int)up.offset;
		r->fd_registered = true;
		r->owner_tid = sys_thread_id();
	}
	return 0;
}

void ring_close(struct ring *r)
{
	struct io_uring_rsrc_update up = { .offset = (uint32_t)r->u.enter_ring_fd };

	if (!r->kernel)
		return;
	/*
	 * The registration is the thread's own table of rings: from another thread the same index
	 * would be another ring. There it ends with the thread.
	 */
	if (r->fd_registered && r->owner_tid == sys_thread_id())
		ring_register(r, IORING_UNREGISTER_RING_FDS, &up, 1);
	r->kernel->exit(&r->u);
	sys_free(r->scratch);
	memset(&r->u, 0, sizeof r->u);
	r->kernel = NULL;
	r->scratch = NULL;
	r->enabled = r->fd_registered = false;
}

struct io_uring_sqe *ring_sqe(struct ring *r)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&r->u);

	if (RLN_UNLIKELY(!sqe)) {
		count(&r->stats.sq_full, 1);
		return NULL;
	}
	memset(sqe, 0, sizeof *sqe << r->wide);
	return sqe;
}

unsigned ring_sq_pending(const struct ring *r)
{
	return r->u.sq.sqe_tail - __atomic_load_n(r->u.sq.khead, __ATOMIC_ACQUIRE);
}

unsigned ring_sq_space(const struct ring *r)
{
	return r->u.sq.ring_entries - ring_sq_pending(r);
}

struct ring_scratch *ring_scratch(struct ring *r, const struct io_uring_sqe *sqe)
{
	size_t slot = (size_t)(sqe - r->u.sq.sqes) >> r->wide;

	RLN_ASSERT(slot < r->u.sq.ring_entries); /* INV-01 */
	return &r->scratch[slot];
}

/*
 * Publish what ring_sqe() handed out. Returns how many SQEs the kernel has not consumed. With
 * SQPOLL the store pairs with the kernel's thread, which sets NEED_WAKEUP and then looks at the
 * tail once more: our look at the flags must not come before the store, hence sequential order for
 * both.
 */
static unsigned sq_flush(struct ring *r)
{
	struct io_uring_sq *sq = &r->u.sq;

	if (sq->sqe_head == sq->sqe_tail)
		return ring_sq_pending(r);
	if (r->setup_flags & IORING_SETUP_SQPOLL) {
		count(&r->stats.sqes, sq->sqe_tail - sq->sqe_head); /* enter will not tell */
		__atomic_store_n(sq->ktail, sq->sqe_tail, __ATOMIC_SEQ_CST);
	} else {
		__atomic_store_n(sq->ktail, sq->sqe_tail, __ATOMIC_RELEASE);
	}
	sq->sqe_head = sq->sqe_tail;
	return ring_sq_pending(r);
}

static unsigned sq_kflags(const struct ring *r)
{
	return __atomic_load_n(r->u.sq.kflags, __ATOMIC_RELAXED);
}

/* SQPOLL: the flags an enter needs, or 0 when the kernel's thread does all that is asked. */
static unsigned sqpoll_flags(const struct ring *r, unsigned pending, unsigned wait_nr)
{
	unsigned kflags = __atomic_load_n(r->u.sq.kflags, __ATOMIC_SEQ_CST), flags = 0;

	if (pending && (kflags & IORING_SQ_NEED_WAKEUP))
		flags |= IORING_ENTER_SQ_WAKEUP;
	if (pending == r->u.sq.ring_entries)
		flags |= IORING_ENTER_SQ_WAIT; /* as without SQPOLL: after enter there is room */
	if (flags || wait_nr || (kflags & IORING_SQ_CQ_OVERFLOW) ||
	    (r->setup_flags & IORING_SETUP_IOPOLL))
		flags |= IORING_ENTER_GETEVENTS;
	return flags;
}

/* What enter said: 0 when it is backpressure or no news, else the errno. INV-02 */
static int enter_result(struct ring *r, int n, unsigned to_submit)
{
	if (n >= 0) {
		if (r->setup_flags & IORING_SETUP_SQPOLL)
			return 0;
		if ((unsigned)n < to_submit) {
			RLN_MARK("enter-submits-a-part");
			count(&r->stats.partial_submits, 1);
		}
		count(&r->stats.sqes, (unsigned)n);
		return 0;
	}
	switch (n) {
	case -EINTR:
		RLN_MARK("enter-interrupted");
		count(&r->stats.eintr, 1);
		return 0;
	case -EBUSY: /* the CQ overflowed: reap, then the next enter goes on */
		RLN_MARK("enter-busy");
		count(&r->stats.ebusy, 1);
		return 0;
	case -EAGAIN:
		RLN_MARK("enter-again");
		count(&r->stats.eagain, 1);
		return 0;
	case -ETIME:
		return 0;
	default:
		return n;
	}
}

int ring_enter(struct ring *r, unsigned wait_nr, int64_t timeout_ns)
{
	unsigned pending = sq_flush(r), flags = IORING_ENTER_GETEVENTS;
	struct __kernel_timespec ts;
	struct io_uring_getevents_arg arg = { .ts = 0 };
	const void *extra = NULL;
	int n;

	RLN_ASSERT(r->enabled);
	if (timeout_ns <= 0)
		wait_nr = 0;
	if (r->setup_flags & IORING_SETUP_SQPOLL) {
		flags = sqpoll_flags(r, pending, wait_nr);
		if (!flags)
			return 0;
	}
	if (r->fd_registered)
		flags |= IORING_ENTER_REGISTERED_RING;
	if (wait_nr && timeout_ns != INT64_MAX) {
		ts.tv_sec = timeout_ns / 1000000000;
		ts.tv_nsec = timeout_ns % 1000000000;
		arg.ts = (uint64_t)(uintptr_t)&ts;
		extra = &arg;
		flags |= IORING_ENTER_EXT_ARG;
	}
	count(&r->stats.enters, 1);
	if (wait_nr)
		count(&r->stats.enters_waiting, 1);
	n = r->kernel->enter(&r->u, pending, wait_nr, flags, extra, extra ? sizeof arg : 0);
	return enter_result(r, n, pending);
}

unsigned ring_cq_ready(const struct ring *r)
{
	return __atomic_load_n(r->u.cq.ktail, __ATOMIC_ACQUIRE) - *r->u.cq.khead;
}

bool ring_cq_overflown(const struct ring *r)
{
	return sq_kflags(r) & IORING_SQ_CQ_OVERFLOW;
}

unsigned ring_reap(struct ring *r, unsigned max,
		   void (*fn)(void *ctx, const struct io_uring_cqe *cqe), void *ctx)
{
	/* A copy, because the slot is the kernel's again before fn runs. */
	union {
		struct io_uring_cqe cqe;
		uint64_t words[4];
	} copy;
	unsigned done = 0;

	if (sq_kflags(r) & IORING_SQ_CQ_OVERFLOW) {
		RLN_MARK("completions-overflowed");
		count(&r->stats.cq_overflows, 1);
	}
	while (done < max && ring_cq_ready(r)) {
		unsigned slot = (*r->u.cq.khead & r->u.cq.ring_mask) << r->wide;

		copy.cqe = r->u.cq.cqes[slot];
		if (r->wide)
			memcpy(&copy.words[2], r->u.cq.cqes[slot].big_cqe, 16);
		io_uring_cq_advance(&r->u, 1);
		done++;
		count(&r->stats.cqes, 1);
		fn(ctx, &copy.cqe);
	}
	return done;
}
