/*
 * The system table on Linux: thin calls into libc, each answering >= 0 or -errno; at the end
 * what the machine allows this process (descriptors, memory, CPUs). Keeps no state, retries nothing
 * but EINTR, and decides nothing.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "base/sys.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define CPUS_MAX 65536
#define CGROUP_PATH_MAX 512

static int result(int r)
{
	return r < 0 ? -errno : r;
}

int64_t sys_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

void sys_random(void *buf, size_t n)
{
	uint8_t *p = buf;

	while (n) {
		ssize_t r = getrandom(p, n, 0);

		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			abort(); /* a guessable secret is worse than no process */
		p += r;
		n -= (size_t)r;
	}
}

void *sys_alloc(size_t n)
{
	return malloc(n ? n : 1);
}

void *sys_zalloc(size_t n)
{
	return calloc(1, n ? n : 1);
}

void *sys_alloc_aligned(size_t align, size_t n)
{
	void *p;

	return posix_memalign(&p, align, n ? n : 1) == 0 ? p : NULL;
}

void sys_free(void *p)
{
	free(p);
}

void *sys_map(size_t n, int flags, int *err)
{
	int prot = flags & SYS_MAP_NONE ? PROT_NONE : PROT_READ | PROT_WRITE;
	int how = MAP_PRIVATE | MAP_ANONYMOUS;
	void *p;

	if (flags & SYS_MAP_NORESERVE)
		how |= MAP_NORESERVE;
	if (flags & SYS_MAP_STACK)
		how |= MAP_STACK;
	p = mmap(NULL, n, prot, how, -1, 0);
	if (p == MAP_FAILED) {
		*err = -errno;
		return NULL;
	}
	return p;
}

void sys_unmap(void *p, size_t n)
{
	if (p)
		munmap(p, n);
}

int sys_protect(void *p, size_t n, bool readwrite)
{
	return result(mprotect(p, n, readwrite ? PROT_READ | PROT_WRITE : PROT_NONE));
}

int sys_advise(void *p, size_t n, int advice)
{
	return result(madvise(p, n, advice));
}

size_t sys_page_size(void)
{
	return (size_t)sysconf(_SC_PAGESIZE);
}

int sys_socket(int domain, int type, int protocol)
{
	return result(socket(domain, type | SOCK_CLOEXEC, protocol));
}

int sys_bind(int fd, const struct sockaddr *sa, socklen_t n)
{
	return result(bind(fd, sa, n));
}

int sys_listen(int fd, int backlog)
{
	return result(listen(fd, backlog));
}

int sys_setsockopt(int fd, int level, int name, const void *v, socklen_t n)
{
	return result(setsockopt(fd, level, name, v, n));
}

int sys_getsockopt(int fd, int level, int name, void *v, socklen_t *n)
{
	return result(getsockopt(fd, level, name, v, n));
}

int sys_connect(int fd, const struct sockaddr *sa, socklen_t n)
{
	return result(connect(fd, sa, n));
}

int sys_getsockname(int fd, struct sockaddr_storage *sa, socklen_t *n)
{
	*n = sizeof *sa;
	return result(getsockname(fd, (struct sockaddr *)sa, n));
}

int sys_getpeername(int fd, struct sockaddr_storage *sa, socklen_t *n)
{
	*n = sizeof *sa;
	return result(getpeername(fd, (struct sockaddr *)sa, n));
}

int sys_shutdown(int fd, int how)
{
	return result(shutdown(fd, how));
}

int sys_set_blocking(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0)
		return -errno;
	return flags & O_NONBLOCK ? result(fcntl(fd, F_SETFL, flags & ~O_NONBLOCK)) : 0;
}

int sys_close(int fd)
{
	/* After EINTR the descriptor is gone on Linux: a second close could hit somebody else's. */
	return close(fd) < 0 && errno != EINTR ? -errno : 0;
}

int sys_poll(int fd, short events)
{
	struct pollfd p = { .fd = fd, .events = events };
	int n;

	do {
		n = poll(&p, 1, 0);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	return p.revents & POLLNVAL ? -EBADF : p.revents;
}

int sys_dup(int fd)
{
	return result(fcntl(fd, F_DUPFD_CLOEXEC, 0));
}

int sys_fd_type(int fd)
{
	struct stat st;

	return fstat(fd, &st) < 0 ? -errno : (int)(st.st_mode & S_IFMT);
}

int sys_unlink_socket(const char *path)
{
	struct stat st;

	if (lstat(path, &st) < 0)
		return -errno;
	if (!S_ISSOCK(st.st_mode))
		return -ENOTSOCK;
	return result(unlink(path));
}

int sys_eventfd(void)
{
	return result(eventfd(0, EFD_CLOEXEC));
}

/*
 * Not write(2), which is a cancellation point: a thread of the program's own that pthread_cancel()
 * ended here would be counted as pushing for ever, and the worker wait for it.
 */
int sys_eventfd_signal(int fd)
{
	static const uint64_t one = 1;
	int saved = errno, err = 0;

	while (syscall(SYS_write, fd, &one, sizeof one) < 0) {
		if (errno == EINTR)
			continue;
		err = -errno;
		break;
	}
	errno = saved;
	return err;
}

int sys_read_file(const char *path, char *buf, size_t cap)
{
	size_t n = 0;
	ssize_t r = 0;
	int fd, err = 0;

	if (cap == 0 || cap > INT32_MAX)
		return -EINVAL;
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	while (n < cap - 1) {
		r = read(fd, buf + n, cap - 1 - n);
		if (r < 0 && errno == EINTR)
			continue;
		if (r <= 0)
			break;
		n += (size_t)r;
	}
	if (r < 0)
		err = -errno;
	close(fd);
	buf[n] = '\0';
	return err ? err : (int)n;
}

int sys_thread_id(void)
{
	return gettid();
}

void sys_log_write(const char *line)
{
	struct iovec iov[] = { { (void *)(uintptr_t)line, strlen(line) }, { (char[]){ '\n' }, 1 } };
	ssize_t r;

	/* One call, so that lines of several threads do not mix; nothing can be done if it fails.
	 */
	do {
		r = writev(STDERR_FILENO, iov, 2);
	} while (r < 0 && errno == EINTR);
}

int sys_sigaction(int sig, const struct sigaction *act, struct sigaction *old)
{
	return result(sigaction(sig, act, old));
}

int sys_sigaltstack(const stack_t *ss, stack_t *old)
{
	return result(sigaltstack(ss, old));
}

/* The number in a limit file; "max", a missing file and nonsense are no limit. */
static uint64_t limit_read(const char *path)
{
	char text[64], *end;
	unsigned long long v;

	if (sys_read_file(path, text, sizeof text) <= 0)
		return UINT64_MAX;
	v = strtoull(text, &end, 10);
	return end == text ? UINT64_MAX : v;
}

/* The least limit of a cgroup and all its parents: each of them binds. */
static uint64_t cgroup_limit(const char *root, const char *group, const char *file)
{
	char dir[CGROUP_PATH_MAX], path[2 * CGROUP_PATH_MAX];
	uint64_t least = UINT64_MAX, v;
	char *slash;

	snprintf(dir, sizeof dir, "%s", group);
	for (;;) {
		snprintf(path, sizeof path, "%s%s/%s", root, strcmp(dir, "/") == 0 ? "" : dir,
			 file);
		v = limit_read(path);
		if (v < least)
			least = v;
		slash = strrchr(dir, '/');
		if (!slash)
			return least;
		*slash = '\0';
	}
}

/* One line of /proc/self/cgroup: "0::/path" (v2) or "7:memory,...:/path" (v1). */
static uint64_t cgroup_line_limit(char *line)
{
	char *controllers = strchr(line, ':'), *group, *name, *rest;

	if (!controllers)
		return UINT64_MAX;
	group = strchr(++controllers, ':');
	if (!group)
		return UINT64_MAX;
	*group++ = '\0';
	if (!*controllers)
		return cgroup_limit("/sys/fs/cgroup", group, "memory.max");
	for (name = strtok_r(controllers, ",", &rest); name; name = strtok_r(NULL, ",", &rest))
		if (strcmp(name, "memory") == 0)
			return cgroup_limit("/sys/fs/cgroup/memory", group,
					    "memory.limit_in_bytes");
	return UINT64_MAX;
}

uint64_t sys_memory_allowed(void)
{
	uint64_t least = (uint64_t)sysconf(_SC_PHYS_PAGES) * sys_page_size(), v;
	char groups[4096], *rest, *line;

	if (sys_read_file("/proc/self/cgroup", groups, sizeof groups) <= 0)
		return least;
	for (line = strtok_r(groups, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
		v = cgroup_line_limit(line);
		if (v < least)
			least = v;
	}
	return least;
}

int sys_cpu_allowed(int *cpus, int cap)
{
	int count = 0;

	/* The kernel refuses a mask smaller than its own, and does not say how large that is. */
	for (int size = 1024; size <= CPUS_MAX; size *= 2) {
		size_t bytes = CPU_ALLOC_SIZE(size);
		cpu_set_t *set = CPU_ALLOC(size);
		int err = 0;

		if (!set)
			return -ENOMEM;
		if (sched_getaffinity(0, bytes, set) < 0)
			err = errno;
		for (int cpu = 0; !err && cpu < size && count < cap; cpu++)
			if (CPU_ISSET_S(cpu, bytes, set))
				cpus[count++] = cpu;
		CPU_FREE(set);
		if (err != EINVAL)
			return err ? -err : count;
	}
	return -EINVAL;
}

int sys_thread_pin(int cpu)
{
	cpu_set_t *set;
	size_t bytes;
	int err;

	if (cpu < 0 || cpu >= CPUS_MAX)
		return -EINVAL;
	bytes = CPU_ALLOC_SIZE(cpu + 1);
	set = CPU_ALLOC(cpu + 1);
	if (!set)
		return -ENOMEM;
	CPU_ZERO_S(bytes, set);
	CPU_SET_S(cpu, bytes, set);
	err = sched_setaffinity(0, bytes, set) < 0 ? -errno : 0;
	CPU_FREE(set);
	return err;
}

bool sys_shadow_stack(void)
{
#if defined(__x86_64__)
	/* arch_prctl(ARCH_SHSTK_STATUS), Documentation/arch/x86/shstk.rst */
	unsigned long status = 0;
	return syscall(SYS_arch_prctl, 0x5005, &status) == 0 && (status & 1);
#else
	return false;
#endif
}
