/*
 * CPU topology and cgroup quota out of files with any content. The input is the content of up to
 * eight files, each ended by a 0 byte.
 */
#include "fuzz.h"

#include "rt/cpu.h"
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *const files[] = {
	"/proc/self/cgroup",
	"/sys/fs/cgroup/cpu.max",
	"/sys/fs/cgroup/a/cpu.max",
	"/sys/fs/cgroup/cpu/cpu.cfs_quota_us",
	"/sys/fs/cgroup/cpu/cpu.cfs_period_us",
	"/sys/devices/system/cpu/cpu0/topology/core_cpus_list",
	"/sys/devices/system/cpu/cpu1/topology/core_cpus_list",
	"/sys/devices/system/cpu/cpu2/topology/thread_siblings_list",
};
#define FILES (sizeof files / sizeof files[0])

static char root[64];
static int fd[FILES];

static void root_remove(void)
{
	char path[256];

	for (unsigned i = 0; i < FILES; i++) {
		snprintf(path, sizeof path, "%s%s", root, files[i]);
		unlink(path);
		for (char *end; (end = strrchr(path, '/')) && strlen(path) > strlen(root);) {
			*end = '\0';
			rmdir(path);
		}
	}
}

static void root_make(void)
{
	char path[256];

	snprintf(root, sizeof root, "/tmp/ringline-fuzz-XXXXXX");
	FUZZ_CHECK(mkdtemp(root));
	for (unsigned i = 0; i < FILES; i++) {
		snprintf(path, sizeof path, "%s%s", root, files[i]);
		for (char *p = path + strlen(root) + 1; (p = strchr(p, '/')); *p++ = '/') {
			*p = '\0';
			mkdir(path, 0700);
		}
		fd[i] = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
		FUZZ_CHECK(fd[i] >= 0);
	}
	atexit(root_remove);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static const int allowed[] = { 0, 1, 2, 5 };
	struct cpu_set set;
	unsigned quota;

	if (!*root)
		root_make();
	for (unsigned i = 0; i < FILES; i++) {
		const uint8_t *end = n ? memchr(data, 0, n) : NULL;
		size_t len = end ? (size_t)(end - data) : n;
		FUZZ_CHECK(ftruncate(fd[i], 0) == 0);
		FUZZ_CHECK(pwrite(fd[i], data, len, 0) == (ssize_t)len);
		len += end != NULL;
		data += len;
		n -= len;
	}
	quota = cpu_quota(root);
	FUZZ_CHECK(quota <= CPU_MAX);
	cpu_set_order(root, allowed, 4, &set);
	FUZZ_CHECK(set.count == 4 && set.cores >= 1 && set.cores <= 4);
	for (unsigned i = 0; i < 4; i++) {
		unsigned found = 0;
		for (unsigned j = 0; j < 4; j++)
			found += set.cpu[j] == allowed[i];
		FUZZ_CHECK(found == 1);
	}
	return 0;
}
