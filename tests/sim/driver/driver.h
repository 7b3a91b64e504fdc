/*
 * The simulation driver: whole runtimes over the fake kernel, a schedule per seed, in one thread on
 * virtual time. This header: what main.c (options), runs.c (processes and progress), shrink.c and
 * schedule.c (one schedule) tell each other.
 */
#ifndef RINGLINE_TESTS_SIM_DRIVER_H
#define RINGLINE_TESTS_SIM_DRIVER_H

#include "sim/world.h"
#include <stdbool.h>
#include <stdint.h>

/* How a run differs from what its seed alone would give: what shrinking finds, and options. */
struct tweak {
	uint64_t calm_at;   /* faults stop at this enter; 0: not before the drain */
	uint32_t without;   /* fault classes switched off, a bit each */
	uint32_t peers_off; /* of the peers, a bit each, those left out */
	unsigned wrong;	    /* a mistake on purpose: which property is to tell, and 1; 0: none */
	unsigned halve;	    /* sizes divided by two so many times */
	bool one_worker, no_clients, no_chat;
};

struct outcome {
	uint64_t completions, enters, faults, bytes, hash;
	uint64_t fault[FAULT_COUNT];
	unsigned peers, clean;
};

/* Run one schedule to its end. A violation ends the process (see schedule_on_fail). */
void schedule_run(uint64_t seed, const struct tweak *t, struct outcome *out);
/* What is called with the text of a violation, and must not return. NULL: print and abort. */
extern void (*schedule_on_fail)(struct world *w, const char *what);
/* Print events of the world as they are kept, on a violation. */
extern bool schedule_keep_trace;

/* seed.c: what a crash of this process prints. */
void seed_running(uint64_t seed);

/* ---- runs.c */
struct run_options {
	uint64_t first, count; /* count 0: no end but seconds */
	double seconds;	       /* 0: no end but count */
	unsigned jobs;
	bool twice; /* every seed twice, hashes compared; else one in 32 */
	bool quiet, table, keep_going, cells;
	struct tweak tweak;
};
/* Returns the exit status. */
int runs_go(const struct run_options *o);
/* One seed in a child process, or twice in it. True: it failed, and what holds its text. */
bool run_fails(uint64_t seed, const struct tweak *t, bool twice, char *what, size_t cap,
	       uint64_t *enters);

/* ---- shrink.c */
/* Find a smaller run of the same failure; prints it and its trace. */
void shrink(uint64_t seed, const struct tweak *t, const char *what);
void tweak_print(uint64_t seed, const struct tweak *t, bool twice);

#endif
