/*
 * Looking inside: counters of each worker and a dump of its tasks.
 */
#ifndef RINGLINE_METRICS_H
#define RINGLINE_METRICS_H

#include <ringline/base.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Monotonic counters since the start, except the ones marked "now". */
typedef struct rln_stats {
	/* tasks */
	uint64_t tasks; /* now */
	uint64_t tasks_peak;
	uint64_t switches;
	uint64_t spawns;
	uint64_t cancels;	   /* requests to cancel a task's wait */
	uint64_t late_cancels;	   /* of these: the operation had already ended */
	uint64_t stack_high_water; /* bytes: deepest stack seen when a task parked */
	uint64_t stacks_cached;	   /* now */
	/* connections */
	uint64_t accepts;
	uint64_t accept_errors;
	uint64_t accept_paused; /* times accepting stopped for want of room; the backlog waits */
	uint64_t connects;
	uint64_t conns_open; /* now */
	uint64_t conns_peak;
	uint64_t conns_given;	 /* sent to another worker */
	uint64_t conns_taken;	 /* received from another worker */
	uint64_t handler_errors; /* on_request returned a negative errno */
	uint64_t stack_waits;	 /* request handlers that waited for a stack */
	/* receive */
	uint64_t recv_bytes;
	uint64_t recv_parked;	/* no provided buffer was free (ENOBUFS) */
	uint64_t recv_fallback; /* receives into memory of their own instead */
	uint64_t recv_paused;	/* unconsumed input reached recv_max or the budget */
	uint64_t recv_copied;	/* bytes copied between the kernel's buffer and the view */
	uint64_t recv_renewed;	/* armed anew: before 6.13 old receives keep closed sockets */
	/* send */
	uint64_t send_bytes;
	uint64_t send_zc;	 /* zero-copy sends */
	uint64_t send_zc_copied; /* of these: the kernel copied after all */
	uint64_t send_retries;	 /* transient refusals that were tried again */
	uint64_t send_stalls;	 /* connections reset because the peer took nothing */
	/* close */
	uint64_t truncated_closes; /* closed with bytes left over: RST, or EOF on a unix stream */
	uint64_t lingers;	   /* closes that first read unread input to its end */
	uint64_t resets;	   /* RST sent by us */
	uint64_t close_timeouts;   /* close_timeout or close_max ran out */
	uint64_t idle_timeouts;
	/* backpressure and misuse */
	uint64_t budget_over;	/* the byte budget was passed by a send that does not wait */
	uint64_t posts_refused; /* rln_post: queue full or worker gone */
	uint64_t misuse;	/* calls answered -EPERM, -EDEADLK, -EXDEV, -EBADF or -EBUSY */
	/* ring and loop */
	uint64_t enters; /* io_uring_enter calls */
	uint64_t sqes;
	uint64_t cqes;
	uint64_t sq_full;      /* operations that waited for a submission entry */
	uint64_t cq_overflows; /* the kernel held completions back */
	uint64_t eintr;
	uint64_t ebusy;
	uint64_t turns;
	uint64_t sleeps;
	uint64_t timers_fired;
	uint64_t buffers_grown; /* times the provided-buffer ring was enlarged */
	uint64_t stalls;	/* times the worker was away from its loop for stall_warn */
} rln_stats;

/*
 * Copy the counters of one worker. They are read one by one while it runs: each is right, the sum
 * of two need not be.
 *
 * Returns 0, or -EINVAL (no such worker), -EPERM (rt is NULL off-worker). Fields this library does
 * not know are zero.
 * Owner:   fills out_size bytes at out.
 * Thread:  any; rt NULL is the runtime of this worker.      Waits: no.
 */
RLN_API int rln_stats_get_sized(rln_runtime *rt, unsigned worker, rln_stats *out, size_t out_size);

/* rln_stats_get_sized() with the size this program was compiled with: see there. */
static inline int rln_stats_get(rln_runtime *rt, unsigned worker, rln_stats *out)
{
	return rln_stats_get_sized(rt, worker, out, sizeof(rln_stats));
}

/*
 * Write a line for each task of this worker: name, state, what it waits for and since when, where
 * it was spawned, its scopes (innermost first, with their places and the time left), how deep its
 * stack is and was at most where it waited, whose child it is.
 *
 * Returns nothing. Off-worker it writes a line that says so.
 * Owner:   borrows fd.
 * Thread:  any worker. Writes to fd directly, so a slow reader stalls the worker.      Waits: no.
 */
RLN_API void rln_dump_tasks(int fd);

#ifdef __cplusplus
}
#endif
#endif
