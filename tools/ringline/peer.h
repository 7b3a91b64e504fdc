/* A server under test: a child process of this program, on CPUs of its own. */
#ifndef TOOL_PEER_H
#define TOOL_PEER_H

#include <sched.h>
#include <stdint.h>
#include <sys/types.h>

struct peer {
	const char *name;
	pid_t pid; /* 0: not running */
	int out;   /* what it prints */
	char address[100];
};

/* What it has used since it began. */
struct peer_sample {
	double cpu_s;
	uint64_t syscalls;
};

/*
 * Start this program with argv (argv[0] is any name) on cpus and read where it listens. It dies
 * with this process. 0, or a negative errno after a line on stderr.
 */
int peer_start(struct peer *p, char *const argv[], const cpu_set_t *cpus);
int peer_sample(struct peer *p, struct peer_sample *out);
/* SIGTERM, and if that does not end it SIGKILL. Returns its exit status, -1 if it was killed. */
int peer_stop(struct peer *p);

#endif
