/*
 * CPU topology and quota, read from /sys and /proc. What cannot be read is taken as absent: every
 * CPU a core of its own, no quota.
 */
#include "rt/cpu.h"
#include "base/sys.h"
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int file_read(const char *root, const char *path, char *buf, size_t cap)
{
	char full[CPU_PATH_MAX];
	int n = snprintf(full, sizeof full, "%s%s", root, path);

	if (n < 0 || (size_t)n >= sizeof full)
		return -1;
	return sys_read_file(full, buf, cap);
}

/* The lowest CPU of the core that cpu belongs to: "0,64" and "0-1" both begin with it. */
static int core_of(const char *root, int cpu)
{
	static const char *const names[] = { "core_cpus_list", "thread_siblings_list" };
	char path[96], text[256];

	for (unsigned i = 0; i < 2; i++) {
		char *end;
		long first;
		snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%d/topology/%s", cpu,
			 names[i]);
		if (file_read(root, path, text, sizeof text) <= 0)
			continue;
		first = strtol(text, &end, 10);
		if (end != text && first >= 0 && first <= cpu)
			return (int)first;
	}
	return cpu;
}

void cpu_set_order(const char *root, const int *allowed, unsigned count, struct cpu_set *out)
{
	int core[CPU_MAX];
	bool sibling[CPU_MAX];

	if (count > CPU_MAX)
		count = CPU_MAX;
	out->count = 0;
	for (unsigned i = 0; i < count; i++) {
		core[i] = core_of(root, allowed[i]);
		sibling[i] = false;
		for (unsigned j = 0; j < i && !sibling[i]; j++)
			sibling[i] = core[j] == core[i];
		if (!sibling[i])
			out->cpu[out->count++] = allowed[i];
	}
	out->cores = out->count;
	for (unsigned i = 0; i < count; i++)
		if (sibling[i])
			out->cpu[out->count++] = allowed[i];
}

/* Fewer of two quotas in thousandths of a CPU; 0 is none. */
static uint64_t quota_min(uint64_t a, uint64_t b)
{
	if (!a || !b)
		return a ? a : b;
	return a < b ? a : b;
}

static uint64_t quota_milli(long long quota, long long period)
{
	double milli;

	if (quota <= 0 || period <= 0)
		return 0;
	milli = (double)quota * 1000 / (double)period;
	if (milli > CPU_MAX * 1000.0)
		return CPU_MAX * 1000;
	return milli < 1 ? 1 : (uint64_t)milli;
}

/* cgroup 2: "max 100000" or "150000 100000". */
static uint64_t quota_v2_at(const char *root, const char *dir)
{
	char path[CPU_PATH_MAX], text[64];
	long long quota, period;

	snprintf(path, sizeof path, "%.250s/cpu.max", dir);
	if (file_read(root, path, text, sizeof text) <= 0)
		return 0;
	if (sscanf(text, "%lld %lld", &quota, &period) != 2)
		return 0;
	return quota_milli(quota, period);
}

/* cgroup 1: a file each; -1 is none. */
static uint64_t quota_v1_at(const char *root, const char *dir)
{
	char path[CPU_PATH_MAX], text[64];
	long long quota;

	snprintf(path, sizeof path, "%.250s/cpu.cfs_quota_us", dir);
	if (file_read(root, path, text, sizeof text) <= 0)
		return 0;
	quota = strtoll(text, NULL, 10);
	snprintf(path, sizeof path, "%.250s/cpu.cfs_period_us", dir);
	if (file_read(root, path, text, sizeof text) <= 0)
		return 0;
	return quota_milli(quota, strtoll(text, NULL, 10));
}

/*
 * The tightest quota from the group up to the mount: any ancestor's holds too. In a container the
 * group's path may be the host's and not exist here; the mount itself is the group then.
 */
static uint64_t quota_walk(const char *root, const char *mount, const char *group,
			   uint64_t (*at)(const char *root, const char *dir))
{
	char dir[CPU_PATH_MAX];
	size_t base = strlen(mount);
	uint64_t least = 0;
	int n = snprintf(dir, sizeof dir, "%s%s", mount, group);

	if (n < 0 || (size_t)n >= sizeof dir)
		n = snprintf(dir, sizeof dir, "%s", mount);
	for (;;) {
		char *slash;
		least = quota_min(least, at(root, dir));
		slash = strrchr(dir, '/');
		if (strlen(dir) <= base || !slash || (size_t)(slash - dir) < base)
			return least;
		*slash = '\0';
	}
}

/* Does the comma-separated list have "cpu"? */
static bool has_cpu(const char *list)
{
	for (; list; list = strchr(list, ',') ? strchr(list, ',') + 1 : NULL)
		if (!strncmp(list, "cpu", 3) && (list[3] == ',' || !list[3]))
			return true;
	return false;
}

/* One line of /proc/self/cgroup, "ID:CONTROLLERS:PATH". */
static uint64_t quota_of_line(const char *root, char *line)
{
	char *list = strchr(line, ':');
	char *path = list ? strchr(list + 1, ':') : NULL;
	uint64_t q;

	if (!path)
		return 0;
	*path++ = '\0';
	if (!*++list)
		return quota_walk(root, "/sys/fs/cgroup", path, quota_v2_at);
	if (!has_cpu(list))
		return 0;
	q = quota_walk(root, "/sys/fs/cgroup/cpu", path, quota_v1_at);
	return q ? q : quota_walk(root, "/sys/fs/cgroup/cpu,cpuacct", path, quota_v1_at);
}

unsigned cpu_quota(const char *root)
{
	char text[4096], *next;
	uint64_t least = 0;

	if (file_read(root, "/proc/self/cgroup", text, sizeof text) <= 0)
		return 0;
	for (char *line = text; *line; line = next) {
		next = line + strcspn(line, "\n");
		if (*next)
			*next++ = '\0';
		least = quota_min(least, quota_of_line(root, line));
	}
	if (!least)
		return 0;
	return least < 1000 ? 1 : least / 1000 > CPU_MAX ? CPU_MAX : (unsigned)(least / 1000);
}

static void cpu_set_get(struct cpu_set *out)
{
	int allowed[CPU_MAX];
	int n = sys_cpu_allowed(allowed, CPU_MAX);

	cpu_set_order("", allowed, n > 0 ? (unsigned)n : 0, out);
}

unsigned cpu_worker_count(void)
{
	struct cpu_set set;
	unsigned quota = cpu_quota("");

	cpu_set_get(&set);
	if (quota && quota < set.cores)
		return quota;
	return set.cores ? set.cores : 1;
}

unsigned cpu_list(int *out, unsigned cap)
{
	struct cpu_set set;

	cpu_set_get(&set);
	if (cap > set.count)
		cap = set.count;
	memcpy(out, set.cpu, cap * sizeof *out);
	return cap;
}
