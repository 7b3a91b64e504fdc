/*
 * The turn. One worker's ring, ops, timers and inbox, and the order in which they are served. The
 * stages that live above this layer are registered as functions; nothing here knows them.
 */
#ifndef RINGLINE_LOOP_LOOP_H
#define RINGLINE_LOOP_LOOP_H

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
	int64_t spin_ns;      /* look for completions this long before sleeping; 0: do not */
	unsigned reap_max;    /* CQEs per turn; 0: the size of the CQ */
};

struct loop_stats {
	uint64_t turns, sleeps, spins_won, stalls;
	int64_t longest_turn_ns;
};

struct loop {
	struct ring ring;
	struct ops ops;
	struct wheel wheel;
	struct inbox inbox;
	int64_t now_ns; /* read once per turn, and again after a wait */
	struct loop_hook stage[LOOP_STAGE_COUNT];
	/* true while there is work that must not wait for the kernel: ready tasks, dirty connections */
	bool (*busy)(void *ctx);
	void *busy_ctx;
	int64_t spin_ns;
	unsigned reap_max;
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
/* After everything above has gone: asserts no op is out. */
void loop_close(struct loop *l);

#endif
