/*
 * What a very large number of idle tasks costs: resident memory, page tables and mappings, as the
 * kernel counts them. Shared by the tests of 100,000 and of a million.
 */
#ifndef RINGLINE_TESTS_TASK_SCALE_H
#define RINGLINE_TESTS_TASK_SCALE_H

#include "rig.h"
#include <sys/mman.h>

#define GUARD_INSTALL 102 /* MADV_GUARD_INSTALL, Linux 6.13 */
#define TASK_BYTES (9 * KIB / 2)
#define TABLE_BYTES (KIB * 3 / 10)
#define MAPPINGS 200

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#else
#define SANITIZED 0
#endif

/* A field of /proc/self/status or /proc/meminfo, in bytes. */
static inline uint64_t kernel_says(const char *path, const char *field)
{
	char line[256];
	unsigned long long kib = 0;
	FILE *f = fopen(path, "r");

	CHECK(f != NULL);
	while (fgets(line, sizeof line, f))
		if (strncmp(line, field, strlen(field)) == 0)
			CHECK(sscanf(line + strlen(field), " %llu", &kib) == 1);
	fclose(f);
	return kib * 1024;
}

static inline unsigned mappings(void)
{
	FILE *f = fopen("/proc/self/maps", "r");
	unsigned n = 0;

	CHECK(f != NULL);
	for (int c; (c = getc(f)) != EOF;)
		n += c == '\n';
	fclose(f);
	return n;
}

static inline bool guards_without_mappings(void)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	void *p = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(p != MAP_FAILED);
	bool yes = madvise(p, page, GUARD_INSTALL) == 0;
	munmap(p, page);
	return yes;
}

static inline void need_for(uint64_t tasks)
{
	uint64_t need = tasks * 6 * KIB + 512 * MIB,
		 have = kernel_says("/proc/meminfo", "MemAvailable:");

	if (SANITIZED)
		SKIP("frames are larger under sanitizers");
	if (!guards_without_mappings())
		SKIP("this kernel has no MADV_GUARD_INSTALL (Linux 6.13): guards are mappings "
		     "here");
	if (have < need)
		SKIP("%llu MiB of memory are needed, %llu MiB are available",
		     (unsigned long long)(need / MIB), (unsigned long long)(have / MIB));
}

static unsigned scale_parked, scale_ended;

static inline int scale_task(void *arg)
{
	(void)arg;
	scale_parked++;
	int e = rln_sleep(RLN_FOREVER);
	scale_ended++;
	return e == -ECANCELED ? 0 : 1;
}

struct footprint {
	uint64_t resident, tables;
	unsigned mappings;
};

static inline struct footprint footprint(void)
{
	return (struct footprint){ kernel_says("/proc/self/status", "VmRSS:"),
				   kernel_says("/proc/self/status", "VmPTE:"), mappings() };
}

/* As a task: n tasks that wait, until each has given back what it does not need. */
static inline void idle_tasks(unsigned n)
{
	struct footprint before = footprint(), now;

	for (unsigned i = 0; i < n; i++) {
		CHECK_INT(rln_go(scale_task, NULL, NULL), ==, 0);
		if (i % 4096 == 0)
			CHECK_INT(rln_yield(), ==, 0);
	}
	TASK_EVENTUALLY(scale_parked == n);
	/* nothing announces that the last one was trimmed */
	TASK_EVENTUALLY((now = footprint(), now.resident <= before.resident + n * TASK_BYTES));
	fprintf(stderr,
		"  %u tasks: %.2f KiB resident each, %.3f KiB of page tables, %u mappings\n", n,
		(double)(now.resident - before.resident) / n / 1024,
		(double)(now.tables - before.tables) / n / 1024, now.mappings);
	CHECK_INT(now.tables, <=, before.tables + n * TABLE_BYTES);
	CHECK_INT(now.mappings, <, MAPPINGS);
	CHECK_INT(scale_ended, ==, 0);
}

#endif
