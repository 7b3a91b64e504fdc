/*
 * The inside of the public simulator (ringline/sim.h): one simulation on one real thread, its
 * simulated threads, and how a run ends. The world below knows nothing of it.
 *
 * A simulated thread is a stack of its own. It runs until it would block: in a ring's enter, in a
 * join or a monitor, in rln_sim_sleep(); now and then also at an enter that would not. The
 * scheduler then picks among those that can go on, and moves the clock when there is none.
 */
#ifndef RINGLINE_SIM_API_H
#define RINGLINE_SIM_API_H

#include "base/list.h"
#include "ringline/sim.h"
#include "rt/runtime.h"
#include "sim/sim.h"

struct ctx;

/* A stack that can be left and entered. */
struct fiber {
	void *sp;
	struct ctx *ctx; /* the worker in force when it was left */
	const void *bottom;
	size_t bytes;
	void *asan_fake, *tsan;
};

struct sys_thread {
	struct list node; /* sim.threads */
	struct fiber fiber;
	struct sim_stack *stack;
	int (*main)(void *arg); /* one of the two */
	void (*fn)(void *arg);
	void *arg;
	char name[16];
	int result;
	bool done, blocked, woken;
	int64_t until;	       /* blocked: goes on then at the latest */
	int64_t stalled;       /* does not run before */
	struct sim_ring *ring; /* blocked in its enter */
	rln_runtime *running;  /* in rln_main() */
	bool terminated;
	unsigned id;
};

struct sim {
	struct world *w;
	const rln_sim_config *cfg;
	struct list threads;
	struct sys_thread *running; /* NULL: the driver */
	struct sys_thread *first;   /* its end ends the run */
	struct fiber driver;
	bool from_driver; /* the last switch left it */
	struct caps caps;
	rln_sim_result *out;
	unsigned cpus, thread_ids, stall_in;
	uint64_t stalls;
	int64_t born;
};

/* The simulation of this thread; NULL: none. */
struct sim *sim_here(void);

/* End the run, from any stack of it. */
_Noreturn void sim_end(struct sim *s, int reason, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* api_thread.c */
/* -ENOMEM: no stack. One of fn and main is NULL. */
int sim_thread_new(struct sim *s, const char *name, void (*fn)(void *), int (*main)(void *),
		   void *arg, struct sys_thread **out);
void sim_thread_free(struct sys_thread *t);
/* Run t, and what it starts, until t has ended or the run has. On the driver's stack. */
void sim_threads_run(struct sim *s, struct sys_thread *t);
/* Back to the driver for ever. */
_Noreturn void sim_leave(struct sim *s);
/* Block the running thread until t has ended. */
void sim_thread_await(struct sim *s, struct sys_thread *t);
void sim_thread_sleep(struct sim *s, int64_t until);
/* The world's hooks. */
void sim_block(struct world *w, struct sim_ring *r, int64_t deadline, void *ctx);
void sim_preempt(struct world *w, void *ctx);
/* Stacks are kept from run to run; give back those of this thread. */
void sim_stacks_free(void);

bool sim_valid(const rln_sim_config *cfg);
/* Counted up by every look at a completion queue; NULL: nobody watches. */
extern _Atomic uint64_t *sim_beat;

#endif
