/* The processes a worker has started and not waited for: see process.c. */
#ifndef RINGLINE_IO_PROCESS_H
#define RINGLINE_IO_PROCESS_H

#include "base/list.h"
#include <stdbool.h>

struct io;
struct ops;
struct proc;

/* The table grows; a process is its index. */
struct procs {
	struct proc *at;
	unsigned count;
	int free; /* the first unused one; -1: none */
	/* those that were let go of and still run: no handle, only a poll that ends with them */
	struct list released;
	bool closing;
};

void procs_init(struct procs *p);
/* The worker is about to stop: nothing is polled any more. Await ops_idle(), then procs_close(). */
void procs_stop(struct procs *p, struct ops *ops);
/* Reap what has ended; the others are the program's from now on. */
void procs_close(struct procs *p);

#endif
