/* A runtime: its configuration, its workers and their threads. */
#ifndef RINGLINE_RT_RUNTIME_H
#define RINGLINE_RT_RUNTIME_H

#include "rt/worker.h"
#include <pthread.h>

struct rln_runtime {
	struct config cfg;
	struct worker_shared shared;
	struct worker *workers;
	struct sys_thread **threads;
	struct addr *bound; /* [nlisten] */
	int *listen_fd;	    /* [nlisten * workers], -1 once taken */
	pthread_mutex_t lock;
	pthread_cond_t changed;
	unsigned ready; /* workers that have reported */
	int start_err;
	struct diag why;
	enum { RT_PREPARING, RT_GO, RT_ABORT } order;
	int main_result;
	bool has_main;
	struct sys_thread *watch; /* the stall watchdog; NULL: none */
	int trace_signal;	  /* by which it looks at a worker; 0: none */
	bool watch_stop;
	pthread_cond_t watch_tick;
};

/* Start; on failure the cause is in *why (may be NULL). */
int runtime_start(const rln_config *cfg, size_t cfg_size, size_t opts_size, rln_runtime **out,
		  struct diag *why);
/* Block until every worker has ended. */
void runtime_join(rln_runtime *rt);

#endif
