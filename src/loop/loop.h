/*
 * The turn. One worker's ring, ops, timers and inbox, and the order in which they are served. The
 * stages that live above this layer are registered as functions; nothing here knows them.
 */
#ifndef RINGLINE_LOOP_LOOP_H
#define RINGLINE_LOOP_LOOP_H

#include "loop/embed.h"
#include "loop/inbox.h"
#include "loop/wheel.h"
#include "op/op.h"
#include "ring/ring.h"

/* Stages above the loop, in turn order. Each is bounded. */
enum loop_stage {
	LOOP_RUN,     /* ready tasks, time-bounded (task/) */
	LOOP_FLUSH,   /* connections with something to arm, send or close (io/) */
	LOOP_PUBLISH, /* give receive buffers back to the kernel (io/) */
	LOOP_STAGE_COUNT
};

struct loop_hook {
	void (*fn)(void *ctx); /* NULL: empty */
	void *ctx;
};

struct loop_config {
	struct ring_config ring;
	int64_t spin_ns;   /* look for completions this long before sleeping; 0: do not */
	unsigned reap_max; /* CQEs per turn; 0: the size of the CQ */
	int64_t stall_ns;  /* count work longer than this without an enter; 0: do not */
	bool embed;	   /* see loop/embed.h */
};

/*
 * A stretch of work goes from one turn's beginning, or the end of its wait, to the next wait or the
 * next turn's beginning: spinning and sleeping are not in it, what runs between two turns is.
 */
struct loop_stats {
	uint64_t turns, sleeps, spins_won, stalls;
	int64_t longest_turn_ns; /* the longest stretch of work */
};

struct loop {
	struct ring ring;
	struct ops ops;
	struct wheel wheel;
	struct inbox inbox;
	struct embed embed;
	int64_t now_ns; /* read once per turn, and again around a wait */
	struct loop_hook stage[LOOP_STAGE_COUNT];
	/* is there work that must not wait for the kernel: ready tasks, dirty connections */
	bool (*busy)(void *ctx);
	void *busy_ctx;
	int64_t spin_ns, stall_ns;
	int64_t work_since_ns;
	_Atomic(int64_t) busy_since_ns; /* the same for other threads; 0: it waits, or rests */
	unsigned reap_max;
	bool working; /* a stretch of work has begun and not ended */
	struct loop_stats stats;
};

int loop_open(struct loop *l, const struct loop_config *cfg, struct diag *why);
/* On the worker's thread. */
int loop_start(struct loop *l, struct diag *why);
/*
 * One turn: inbox, timers, ready work, flush, publish, enter (waits only when nothing is ready, at
 * most until deadline_ns or the next timer), reap. deadline_ns: absolute; INT64_MIN never waits.
 * 0, or a negative errno when the ring is unusable.
 */
int loop_turn(struct loop *l, int64_t deadline_ns);
/* The thread leaves the loop for good, or for a while: what it does meanwhile is no stretch of
 * work. */
void loop_rest(struct loop *l);
/* What is done outside of turns begins: the clock is read. It ends, for a while, and is counted. */
void loop_work(struct loop *l);
void loop_pause(struct loop *l);
/* INV-32. Is there work that no completion has to announce? */
bool loop_work_left(const struct loop *l);
/*
 * After everything above has gone, inbox_close() and ops_idle() included: asserts that no op is out
 * and no timer armed. Also undoes a loop_open() that loop_start() never followed.
 */
void loop_close(struct loop *l);

#endif
