/* Runs in child processes: shared by rln_sim_search() and rln_sim_main(). */
#ifndef RINGLINE_SIM_API_SEARCH_H
#define RINGLINE_SIM_API_SEARCH_H

#include "ringline/sim.h"
#include <stdatomic.h>

extern int64_t sim_patience; /* of real time, without one look at a completion queue */

/* What parent and child both see. */
struct shared {
	_Atomic uint64_t seed; /* running */
	_Atomic uint64_t beat; /* counts as long as the program lives */
	atomic_bool ended;     /* in order: result is filled */
	bool stopped;	       /* it did not come back */
	uint64_t runs, completions, faults;
	rln_sim_result result; /* of the last seed */
};

struct batch {
	rln_sim_config cfg; /* seed: the first */
	uint64_t count, leaks_every;
	int64_t deadline; /* 0: none */
	bool twice;	  /* some seeds run twice */
	bool quiet;	  /* its stderr is dropped */
	void (*progress)(void *ctx, const struct shared *sh);
	void (*output)(void *ctx, const char *text, size_t n); /* its stderr; NULL: ours */
	void *ctx;
};

struct shared *search_shared(void); /* NULL: no memory */
void search_shared_free(struct shared *sh);
/* One child. 0 passed, 1 failed: sh->result; -errno. */
int search_batch(struct shared *sh, const struct batch *b);
/* rln_sim_search(); progress and ctx of b are used. */
int search_run(const rln_sim_config *cfg, uint64_t runs, unsigned seconds, struct batch *b,
	       rln_sim_result *out);
int64_t search_clock(void);

#endif
