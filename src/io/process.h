/* The processes a worker has started and not waited for: see process.c. */
#ifndef RINGLINE_IO_PROCESS_H
#define RINGLINE_IO_PROCESS_H

struct io;
struct proc;

/* The table grows; a process is its index. */
struct procs {
	struct proc *at;
	unsigned count;
	int free; /* the first unused one; -1: none */
};

void procs_init(struct procs *p);
/* Reap what has ended; the others are the program's from now on. */
void procs_close(struct procs *p);

#endif
