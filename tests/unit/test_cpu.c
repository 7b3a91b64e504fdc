#include "base/sys.h"
#include "rt/cpu.h"
#include "test.h"
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* A file system of the test's own. Removed by the test that made it. */
static char root[64];

static void root_make(void)
{
	snprintf(root, sizeof root, "/tmp/ringline-cpu-XXXXXX");
	CHECK(mkdtemp(root) != NULL);
}

static void root_remove(void)
{
	char cmd[128];

	snprintf(cmd, sizeof cmd, "rm -rf %s", root);
	CHECK(system(cmd) == 0);
}

static void put(const char *path, const char *text)
{
	char full[512];
	FILE *f;

	snprintf(full, sizeof full, "%s%s", root, path);
	for (char *p = full + strlen(root) + 1; (p = strchr(p, '/')); p++) {
		*p = '\0';
		CHECK(mkdir(full, 0700) == 0 || errno == EEXIST);
		*p = '/';
	}
	f = fopen(full, "w");
	CHECK(f != NULL);
	CHECK(fputs(text, f) >= 0);
	CHECK(fclose(f) == 0);
}

static void put_siblings(int cpu, const char *name, const char *text)
{
	char path[128];

	snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%d/topology/%s", cpu, name);
	put(path, text);
}

static void check_order(const struct cpu_set *s, const int *cpus, unsigned count, unsigned cores)
{
	CHECK_INT(s->count, ==, count);
	CHECK_INT(s->cores, ==, cores);
	for (unsigned i = 0; i < count; i++)
		CHECK_INT(s->cpu[i], ==, cpus[i]);
}

TEST(cpu_set_puts_siblings_last)
{
	static const int allowed[] = { 0, 1, 2, 3 };
	struct cpu_set s;

	root_make();
	for (int cpu = 0; cpu < 4; cpu++)
		put_siblings(cpu, "core_cpus_list", cpu < 2 ? "0-1\n" : "2-3\n");
	cpu_set_order(root, allowed, 4, &s);
	check_order(&s, (int[]){ 0, 2, 1, 3 }, 4, 2);
	root_remove();
}

TEST(cpu_set_reads_distant_siblings_and_the_old_file)
{
	static const int allowed[] = { 0, 1, 64, 65 };
	struct cpu_set s;

	root_make();
	for (int i = 0; i < 4; i++)
		put_siblings(allowed[i], "thread_siblings_list", i % 2 ? "1,65\n" : "0,64\n");
	cpu_set_order(root, allowed, 4, &s);
	check_order(&s, (int[]){ 0, 1, 64, 65 }, 4, 2);
	root_remove();
}

TEST(cpu_set_counts_a_core_whose_first_cpu_is_not_allowed)
{
	static const int allowed[] = { 1, 3 };
	struct cpu_set s;

	root_make();
	put_siblings(1, "core_cpus_list", "0-1\n");
	put_siblings(3, "core_cpus_list", "2-3\n");
	cpu_set_order(root, allowed, 2, &s);
	check_order(&s, (int[]){ 1, 3 }, 2, 2);
	root_remove();
}

TEST(cpu_set_without_topology_is_one_core_each)
{
	static const int allowed[] = { 5, 7 };
	struct cpu_set s;

	root_make();
	put_siblings(7, "core_cpus_list", "garbage\n");
	cpu_set_order(root, allowed, 2, &s);
	check_order(&s, (int[]){ 5, 7 }, 2, 2);
	cpu_set_order(root, allowed, 0, &s);
	CHECK_INT(s.count, ==, 0);
	CHECK_INT(s.cores, ==, 0);
	root_remove();
}

TEST(cpu_quota_absent_is_none)
{
	root_make();
	CHECK_INT(cpu_quota(root), ==, 0);
	put("/proc/self/cgroup", "0::/\n");
	CHECK_INT(cpu_quota(root), ==, 0);
	put("/sys/fs/cgroup/cpu.max", "max 100000\n");
	CHECK_INT(cpu_quota(root), ==, 0);
	root_remove();
}

TEST(cpu_quota_v2_rounds_down_but_not_to_zero)
{
	root_make();
	put("/proc/self/cgroup", "0::/\n");
	put("/sys/fs/cgroup/cpu.max", "250000 100000\n");
	CHECK_INT(cpu_quota(root), ==, 2);
	put("/sys/fs/cgroup/cpu.max", "300000 100000\n");
	CHECK_INT(cpu_quota(root), ==, 3);
	put("/sys/fs/cgroup/cpu.max", "5000 100000\n");
	CHECK_INT(cpu_quota(root), ==, 1);
	put("/sys/fs/cgroup/cpu.max", "1 1000000\n");
	CHECK_INT(cpu_quota(root), ==, 1);
	put("/sys/fs/cgroup/cpu.max", "garbage\n");
	CHECK_INT(cpu_quota(root), ==, 0);
	root_remove();
}

TEST(cpu_quota_beyond_every_number_is_bounded)
{
	root_make();
	put("/proc/self/cgroup", "0::/\n");
	put("/sys/fs/cgroup/cpu.max", "9223372036854775807 1\n");
	CHECK_INT(cpu_quota(root), ==, CPU_MAX);
	root_remove();
}

TEST(cpu_quota_v2_tightest_ancestor_wins)
{
	root_make();
	put("/proc/self/cgroup", "0::/a/b/c\n");
	put("/sys/fs/cgroup/a/b/c/cpu.max", "800000 100000\n");
	put("/sys/fs/cgroup/a/b/cpu.max", "max 100000\n");
	put("/sys/fs/cgroup/a/cpu.max", "400000 100000\n");
	CHECK_INT(cpu_quota(root), ==, 4);
	put("/sys/fs/cgroup/a/b/cpu.max", "200000 100000\n");
	CHECK_INT(cpu_quota(root), ==, 2);
	root_remove();
}

TEST(cpu_quota_v2_path_of_the_host_falls_back_to_the_mount)
{
	root_make();
	put("/proc/self/cgroup", "0::/system.slice/docker-1234.scope\n");
	put("/sys/fs/cgroup/cpu.max", "300000 100000\n");
	CHECK_INT(cpu_quota(root), ==, 3);
	root_remove();
}

TEST(cpu_quota_v1_reads_both_files)
{
	root_make();
	put("/proc/self/cgroup",
	    "5:cpuset:/c\n4:cpu,cpuacct:/g/h\n3:memory:/m\n1:name=systemd:/s\n");
	put("/sys/fs/cgroup/cpuset/c/cpu.cfs_quota_us", "100000\n");
	CHECK_INT(cpu_quota(root), ==, 0);
	put("/sys/fs/cgroup/cpu/g/h/cpu.cfs_quota_us", "-1\n");
	put("/sys/fs/cgroup/cpu/g/h/cpu.cfs_period_us", "100000\n");
	CHECK_INT(cpu_quota(root), ==, 0);
	put("/sys/fs/cgroup/cpu/g/cpu.cfs_quota_us", "250000\n");
	put("/sys/fs/cgroup/cpu/g/cpu.cfs_period_us", "50000\n");
	CHECK_INT(cpu_quota(root), ==, 5);
	root_remove();
}

TEST(cpu_quota_v1_joint_mount_is_found)
{
	root_make();
	put("/proc/self/cgroup", "4:cpuacct,cpu:/host/path\n");
	put("/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "200000\n");
	put("/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n");
	CHECK_INT(cpu_quota(root), ==, 2);
	root_remove();
}

TEST(cpu_worker_count_is_within_the_affinity)
{
	int allowed[CPU_MAX], cpus[CPU_MAX];
	int n = sys_cpu_allowed(allowed, CPU_MAX);
	unsigned workers = cpu_worker_count();

	CHECK_INT(n, >, 0);
	CHECK_INT(workers, >=, 1);
	CHECK_INT(workers, <=, n);
	CHECK_INT(cpu_list(cpus, CPU_MAX), ==, n);
	CHECK_INT(cpu_list(cpus, 1), ==, 1);
	for (int i = 0; i < n; i++) {
		int seen = 0;
		cpu_list(cpus, CPU_MAX);
		for (int j = 0; j < n; j++)
			seen += cpus[j] == allowed[i];
		CHECK_INT(seen, ==, 1);
	}
}
