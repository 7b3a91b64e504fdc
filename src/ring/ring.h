/*
 * One submission/completion ring: set-up ladder, SQE slots with their scratch, enter, reap.
 * Does not know what an operation is (op/ does) and never sleeps on its own account.
 */
#ifndef RINGLINE_RING_RING_H
#define RINGLINE_RING_RING_H

#include "ring/kernel.h"
#include <stdbool.h>
#include <stdint.h>

#define RING_IOV_MAX 16 /* iovecs of scratch per SQ slot: the longest gather of one SQE */

struct ring_config {
	const struct ring_kernel *kernel; /* NULL: ring_kernel_uring */
	unsigned sq_entries;		  /* power of two, >= 2 */
	unsigned cq_entries;		  /* power of two, >= sq_entries * 2 */
	bool wide;			  /* 128-byte SQEs and 32-byte CQEs (NVMe passthrough) */
	bool iopoll;			  /* only with wide */
	bool sqpoll;			  /* own ladder: without COOP and DEFER_TASKRUN */
	unsigned sqpoll_idle_ms;	  /* 0: the kernel's default (1000) */
	int sqpoll_cpu;			  /* -1: unpinned */
	unsigned flags_without;		  /* set-up flags the ladder must not use (tests, hints) */
};

/* Counters of one ring. Written by the owner only; read by anybody with relaxed loads. */
struct ring_stats {
	uint64_t enters, enters_waiting, sqes, cqes;
	uint64_t eintr, ebusy, eagain, partial_submits, sq_full, cq_overflows;
};

/* Memory an SQE may point to until the kernel has consumed the SQE. One per SQ slot. */
struct ring_scratch {
	struct msghdr msg;
	struct iovec iov[RING_IOV_MAX];
};

struct ring {
	struct io_uring u;
	const struct ring_kernel *kernel;
	struct ring_scratch *scratch; /* [sq_entries], indexed by SQ slot */
	uint32_t setup_flags;	      /* the rung of the ladder that was taken */
	bool enabled, fd_registered, wide;
	int owner_tid; /* the thread whose table of ring fds this one is in */
	struct ring_stats stats;
};

struct diag; /* ring/caps.h: one line that names cause and fix */

/*
 * Create the ring, disabled where the kernel can (R_DISABLED). Any thread. 0, or -errno with the
 * cause and remedy in *why (may be NULL).
 */
int ring_open(struct ring *r, const struct ring_config *cfg, struct diag *why);
/*
 * Enable and register the ring fd. On the thread that will submit: SINGLE_ISSUER binds the ring to
 * it, and elsewhere Linux answers -EBADFD or -EEXIST. 0 or -errno.
 */
int ring_enable(struct ring *r, struct diag *why);
/* Tear down. Memory the kernel may still write to must outlive this call (see INVARIANTS). */
void ring_close(struct ring *r);

/* The next SQE, zeroed (opcode NOP), or NULL when the queue is full (counted). */
struct io_uring_sqe *ring_sqe(struct ring *r);
/* SQEs that ring_sqe() can still hand out before the next ring_enter(). */
unsigned ring_sq_space(const struct ring *r);
/* SQEs handed out and not yet consumed by the kernel. */
unsigned ring_sq_pending(const struct ring *r);
/* Scratch of the slot this SQE stands in. Free again once the SQE is consumed. */
struct ring_scratch *ring_scratch(struct ring *r, const struct io_uring_sqe *sqe);

/*
 * Submit everything and wait for at least wait_nr completions, or until timeout_ns from now
 * (INT64_MAX: no limit; ignored when wait_nr is 0). Always with GETEVENTS. -EINTR, -EBUSY,
 * -EAGAIN, -ETIME and partial submission are counted and absorbed: what was not consumed stays
 * queued for the next call. Returns 0, or a negative errno that means the ring is unusable.
 * Never tells whether it waited: look at the queues.
 */
int ring_enter(struct ring *r, unsigned wait_nr, int64_t timeout_ns);

/* Completions that can be reaped without entering the kernel. */
unsigned ring_cq_ready(const struct ring *r);
/* Completions found the CQ full: an enter brings them. */
bool ring_cq_overflown(const struct ring *r);
/*
 * Hand up to max completions to fn, in order; each is consumed before fn runs, so fn may enter the
 * ring again. Counts CQ overflow. Returns how many were handed over. cqe->big_cqe[] is valid only
 * on a wide ring.
 */
unsigned ring_reap(struct ring *r, unsigned max,
		   void (*fn)(void *ctx, const struct io_uring_cqe *cqe), void *ctx);

/* io_uring_register(2) on this ring. >= 0 or -errno. */
static inline int ring_register(struct ring *r, unsigned opcode, void *arg, unsigned nr)
{
	return r->kernel->reg(&r->u, opcode, arg, nr);
}

#endif
