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
	enum { RT_PREPARING, RT_GO, RT_ABORT } order;
	int main_result;
	bool has_main;
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

#endif
