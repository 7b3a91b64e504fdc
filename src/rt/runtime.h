/* A runtime: its configuration, its workers and their threads. */
#ifndef RINGLINE_RT_RUNTIME_H
#define RINGLINE_RT_RUNTIME_H

#include "rt/worker.h"

struct rln_runtime {
	struct config cfg;
	struct worker_shared shared;
	struct worker *workers;
	struct sys_thread **threads;
	struct addr *bound;	     /* [nlisten] */
	int *listen_fd;		     /* [nlisten * workers], -1 once taken */
	struct sys_monitor *monitor; /* of the fields below, while starting */
	unsigned ready;		     /* workers that have reported */
	int start_err;
	struct diag why;
	struct caps probed; /* for caps_get() */
	enum { RT_PREPARING, RT_GO, RT_ABORT } order;
	int main_result;
	bool has_main;
	/* config.embed: the thread that started it, by the address of its ctx_current_ */
	const void *mine;
	bool entered;		  /* between rln_enter() and rln_leave() */
	bool over;		  /* its worker has ended, or runs to its end */
	bool misuse_told;	  /* in the log */
	struct sys_thread *watch; /* the stall watchdog; NULL: none */
	bool watch_stop;
};

/* What a runtime stands on. */
struct runtime_env {
	const struct caps *caps;
	size_t send_chunk; /* as in struct worker_shared */
	unsigned iov_max;
};

/* Start; on failure the cause is in *why (may be NULL). env NULL: this machine's kernel. */
int runtime_start(const rln_config *cfg, size_t cfg_size, size_t opts_size,
		  const struct runtime_env *env, rln_runtime **out, struct diag *why);
/* Block until every worker has ended. */
void runtime_join(rln_runtime *rt);
/* What a worker's thread does from its first turn to its last one, and after it (e: its result). */
void runtime_worker_runs(struct worker *w);
void runtime_worker_ends(struct worker *w, int e);
/* In embed.c: take over what its owner's loop has not stepped to the end. */
void embed_run_out(rln_runtime *rt);

/* Of an embedded one: is this the thread that runs its worker? */
static inline bool runtime_is_mine(const rln_runtime *rt)
{
	return rt->mine == &ctx_current_;
}

#endif
