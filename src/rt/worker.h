/*
 * One worker: its loop, scheduler and I/O state, stepped by worker_turn(). The thread around it is
 * runtime.c's; a simulator steps several of them on one thread.
 *
 *   RUNNING --shutdown asked--> DRAINING --nothing left, or drain_timeout--> CANCELLING
 *           --no task, connection or op left--> STOPPED
 */
#ifndef RINGLINE_RT_WORKER_H
#define RINGLINE_RT_WORKER_H

#include "base/cells.h"
#include "io/io.h"
#include "io/listen.h"
#include "loop/loop.h"
#include "rt/config.h"
#include "rt/stall.h"
#include "task/task.h"
#include <stdatomic.h>

enum worker_state { WORKER_RUNNING, WORKER_DRAINING, WORKER_CANCELLING, WORKER_STOPPED };

/* What the workers of one runtime share. */
struct worker_shared {
	const struct config *cfg;
	const struct caps *caps;
	struct worker *workers; /* [count] */
	unsigned count;
	atomic_bool shutdown; /* asked for */
	atomic_uint posts;    /* messages of rln_go_on and rln_call under way */
	_Atomic(uint64_t) posts_refused;
	rln_runtime *rt;
	struct sys_pool *pool;	   /* helper threads; NULL: none */
	struct sys_pool *spawners; /* those that start processes; NULL: none */
	/* sizes the simulator makes small; 0: the default */
	size_t send_chunk;
	unsigned iov_max;
	unsigned renew_after;
	unsigned accepts;
};

struct worker {
	struct ctx *ctx; /* a page of its own that is zero in a forked child: no worker there */
	struct loop loop;
	struct sched sched;
	struct io io;
	struct worker_shared *shared;
	struct listener *listeners; /* [cfg.set.nlisten], NULL before worker_listen() */
	unsigned index;
	void *state;	/* the user's, from worker_init */
	uint8_t phase;	/* enum worker_state */
	bool cut_short; /* a task or connection had to be cancelled at drain_timeout */
	bool inbox_closed, drain_due, kill_due, io_open;
	atomic_bool gone;  /* takes no connections from others any more */
	atomic_uint gifts; /* connections on their way here; it does not stop before they came */
	bool started;	   /* worker_start() succeeded */
	bool prepared;	   /* so did worker_init */
	bool dead;	   /* its ring became unusable: nothing of it can be closed in order */
	bool look_again;   /* drain_step() moved: no sleep before it has looked once more */
	struct timer drain_timer;
	struct list user_timers;	 /* running rln_timers; stopped when the worker stops */
	_Alignas(64) struct cells posts; /* other threads' line */
	_Alignas(64) _Atomic(int) tid;	 /* of its thread */
	struct stall_watch watch;	 /* the watching thread's */
};

/* Everything but the thread: ring, buffers, tables. Any thread. 0, or -errno with a line. */
int worker_open(struct worker *w, struct worker_shared *shared, unsigned index,
		const struct ring_kernel *kernel, struct diag *why);
/* On the thread that will step it. */
int worker_start(struct worker *w, struct diag *why);
/* Serve listener i on fd (taken). On the worker's thread, after worker_start(). */
void worker_listen(struct worker *w, unsigned i, int fd, int family, bool shared_socket);
/*
 * One turn, waiting at most until deadline_ns. 0: go on. 1: stopped, nothing is left. A negative
 * errno: the ring is unusable.
 */
int worker_turn(struct worker *w, int64_t deadline_ns);
/* After worker_turn() returned 1, on the same thread: what is registered with the ring goes. */
void worker_stop(struct worker *w);
/*
 * The rest, when no thread can send to this worker any more. After worker_stop(), or instead of
 * worker_start(). Any thread.
 */
void worker_close(struct worker *w);
/* Stop the timers the program left running. In post.c, with the rest of them. */
void worker_stop_timers(struct worker *w);
/* A worker by its number; rt NULL: of the runtime of this worker. 0, -EPERM, -EINVAL. In post.c. */
int worker_find(rln_runtime *rt, unsigned index, struct worker **out);
/*
 * Push m to w's inbox, counted against the bound on such messages. A message that is refused stays
 * the caller's; one that runs says worker_message_done(). 0, -EAGAIN, -ESHUTDOWN.
 */
int worker_send(struct worker *w, struct inbox_msg *m);
void worker_message_done(void);
/* Put the worker in force on this thread around calls into it; returns what was before. */
struct ctx *worker_enter(struct worker *w);
void worker_leave(struct ctx *before);

/* Only in the process that started it: a forked child has its memory, but not its thread. */
static inline bool worker_is_here(const struct worker *w)
{
	return w->ctx->worker == w;
}

static inline struct worker *worker_current(void)
{
	struct ctx *c = ctx_current();
	return c ? c->worker : NULL;
}

#endif
