/*
 * Who runs on this thread. The only thread-local: set by worker_turn() around everything a worker
 * does, so that a simulator can step many workers on one thread. Tasks never migrate, hence its
 * address is stable across task switches.
 */
#ifndef RINGLINE_BASE_CTX_H
#define RINGLINE_BASE_CTX_H

struct loop;
struct sched;
struct io;
struct worker;

struct ctx {
	struct loop *loop;
	struct sched *sched;
	struct io *io;
	struct worker *worker;
};

extern _Thread_local struct ctx *ctx_current_; /* defined in base/ctx.c; NULL off-worker */

static inline struct ctx *ctx_current(void)
{
	return ctx_current_;
}

#endif
