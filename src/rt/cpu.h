/*
 * How many workers this process should have and on which CPUs: physical cores among the CPUs its
 * affinity allows, no more than its cgroup's quota pays for.
 */
#ifndef RINGLINE_RT_CPU_H
#define RINGLINE_RT_CPU_H

#define CPU_MAX 1024	 /* CPUs looked at */
#define CPU_PATH_MAX 320 /* longest path of a file read here */

/* At least 1. */
unsigned cpu_worker_count(void);
/*
 * The CPUs to pin workers to, in that order: one of each physical core first, then their siblings.
 * Returns how many were written (all allowed CPUs, at most cap).
 */
unsigned cpu_list(int *out, unsigned cap);

/* The parts, on a file system that begins at root ("": the real one); for tests. */
struct cpu_set {
	int cpu[CPU_MAX]; /* one of each core first */
	unsigned count, cores;
};
void cpu_set_order(const char *root, const int *allowed, unsigned count, struct cpu_set *out);
/* CPUs that the cgroup's quota pays for, rounded down, at least 1; 0: no quota. */
unsigned cpu_quota(const char *root);

#endif
