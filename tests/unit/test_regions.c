/*
 * Registered memory against the real kernel, and the check every SQE that names a region passes.
 */
#include "test.h"
#include "base/sys.h"
#include "ring/caps.h"
#include "ring/regions.h"
#include <errno.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static struct ring ring;
static struct regions regions;
static uint8_t memory[4][8192];

static void ring_up(void)
{
	struct ring_config cfg = { .sq_entries = 4, .cq_entries = 8, .sqpoll_cpu = -1 };

	CHECK_INT(ring_open(&ring, &cfg, NULL), ==, 0);
	CHECK_INT(ring_enable(&ring, NULL), ==, 0);
}

static void down(void)
{
	regions_close(&regions);
	regions_close(&regions); /* again is nothing */
	ring_close(&ring);
}

static void keep_res(void *ctx, const struct io_uring_cqe *cqe)
{
	*(int *)ctx = cqe->res;
}

/* Write n bytes at p of region index into fd: the kernel's own opinion. */
static int write_fixed(int fd, unsigned index, const void *p, unsigned n)
{
	int res = 0;

	io_uring_prep_write_fixed(ring_sqe(&ring), fd, p, n, 0, (int)index);
	CHECK_INT(ring_enter(&ring, 1, INT64_MAX), ==, 0);
	CHECK_INT(ring_reap(&ring, 1, keep_res, &res), ==, 1);
	return res;
}

TEST(regions_initial_and_added_are_known_to_the_kernel)
{
	struct iovec initial[] = { { memory[0], 8192 }, { memory[1], 100 } };
	int fds[2];
	char got[4];

	ring_up();
	CHECK_INT(pipe(fds), ==, 0);
	CHECK_INT(regions_open(&regions, &ring, 3, initial, 2, NULL), ==, 0);
	CHECK_INT(regions.used, ==, 2);
	memcpy(memory[0] + 8188, "zero", 4);
	memcpy(memory[2], "two!", 4);
	CHECK_INT(write_fixed(fds[1], 0, memory[0] + 8188, 4), ==, 4);
	CHECK_INT(read(fds[0], got, 4), ==, 4);
	CHECK(memcmp(got, "zero", 4) == 0);
	CHECK_INT(write_fixed(fds[1], 2, memory[2], 4), ==, -EFAULT);
	CHECK_INT(region_add(&regions, memory[2], 4, NULL), ==, 2);
	CHECK_INT(write_fixed(fds[1], 2, memory[2], 4), ==, 4);
	CHECK_INT(read(fds[0], got, 4), ==, 4);
	CHECK(memcmp(got, "two!", 4) == 0);
	CHECK_INT(write_fixed(fds[1], 2, memory[2], 5), ==, -EFAULT);
	close(fds[0]);
	close(fds[1]);
	down();
}

TEST(regions_full_removed_and_used_again)
{
	int fds[2];

	ring_up();
	CHECK_INT(pipe(fds), ==, 0);
	CHECK_INT(regions_open(&regions, &ring, 2, NULL, 0, NULL), ==, 0);
	CHECK_INT(region_add(&regions, memory[0], 10, NULL), ==, 0);
	CHECK_INT(region_add(&regions, memory[1], 10, NULL), ==, 1);
	CHECK_INT(region_add(&regions, memory[2], 10, NULL), ==, -ENFILE);
	CHECK_INT(region_remove(&regions, 0), ==, 0);
	CHECK_INT(regions.used, ==, 1);
	CHECK_INT(write_fixed(fds[1], 0, memory[0], 4), ==, -EFAULT);
	CHECK_INT(region_remove(&regions, 0), ==, -EINVAL);
	CHECK_INT(region_remove(&regions, 2), ==, -EINVAL);
	CHECK_INT(region_add(&regions, memory[2], 10, NULL), ==, 0);
	CHECK_INT(write_fixed(fds[1], 0, memory[2], 10), ==, 10);
	close(fds[0]);
	close(fds[1]);
	down();
}

TEST(regions_cover_exactly_their_bytes)
{
	ring_up();
	CHECK_INT(regions_open(&regions, &ring, 3, NULL, 0, NULL), ==, 0);
	CHECK_INT(region_add(&regions, memory[1], 100, NULL), ==, 0);
	CHECK(region_covers(&regions, 0, memory[1], 100));
	CHECK(region_covers(&regions, 0, memory[1] + 99, 1));
	CHECK(region_covers(&regions, 0, memory[1] + 100, 0));
	CHECK(!region_covers(&regions, 0, memory[1] + 99, 2));
	CHECK(!region_covers(&regions, 0, memory[1] + 101, 0));
	CHECK(!region_covers(&regions, 0, memory[1] - 1, 2));
	CHECK(!region_covers(&regions, 0, memory[1] + 50, SIZE_MAX));
	CHECK(!region_covers(&regions, 0, NULL, 0));
	CHECK(!region_covers(&regions, 1, memory[1], 1)); /* an empty slot */
	CHECK(!region_covers(&regions, 1, NULL, 0));
	CHECK(!region_covers(&regions, 3, memory[1], 1)); /* no slot */
	CHECK_INT(region_add(&regions, memory[2], 50, NULL), ==, 1);
	CHECK_INT(region_find(&regions, memory[2] + 49, 1), ==, 1);
	CHECK_INT(region_find(&regions, memory[1], 100), ==, 0);
	CHECK_INT(region_find(&regions, memory[1], 101), ==, -ENOENT);
	down();
}

TEST(regions_bad_memory_is_refused)
{
	struct iovec bad = { memory[0], 0 };
	struct diag why;
	int err;
	void *gone = sys_map(8192, 0, &err);

	CHECK(gone);
	ring_up();
	CHECK_INT(regions_open(&regions, &ring, 1, &bad, 2, &why), ==, -EINVAL);
	CHECK_INT(regions_open(&regions, &ring, 1, &bad, 1, &why), ==, -EINVAL);
	CHECK_HAS(why.line, "regions: 0 bytes");
	CHECK_INT(regions_open(&regions, &ring, 1U << 20, NULL, 0, &why), ==, -EINVAL);
	CHECK_INT(regions_open(&regions, &ring, 1, NULL, 0, &why), ==, 0); /* nothing was left */
	CHECK_INT(region_add(&regions, NULL, 4, &why), ==, -EINVAL);
	CHECK_INT(region_add(&regions, memory[0], (1ULL << 30) + 1, &why), ==, -EINVAL);
	sys_unmap(gone, 8192);
	CHECK_INT(region_add(&regions, gone, 8192, &why), ==, -EFAULT);
	CHECK_HAS(why.line, "IORING_REGISTER_BUFFERS_UPDATE: EFAULT: ");
	CHECK_INT(regions.used, ==, 0);
	down();
}

TEST(regions_none_is_legal)
{
	ring_up();
	CHECK_INT(regions_open(&regions, &ring, 0, NULL, 0, NULL), ==, 0);
	CHECK_INT(region_add(&regions, memory[0], 4, NULL), ==, -ENFILE);
	CHECK_INT(region_find(&regions, memory[0], 4), ==, -ENOENT);
	down();
}

static int add_16_mib_as_nobody(int fd)
{
	struct rlimit rl = { 4 << 20, 4 << 20 };
	struct diag why = { 0 };
	size_t n = 16 << 20;
	int err;
	void *p = sys_map(n, 0, &err);

	if (setrlimit(RLIMIT_MEMLOCK, &rl) < 0 || !p)
		return 1;
	if (getuid() == 0 && (setresgid(65534, 65534, 65534) || setresuid(65534, 65534, 65534)))
		return 1;
	prctl(PR_SET_DUMPABLE, 1); /* else /proc/self is root's */
	ring_up();
	if (regions_open(&regions, &ring, 1, NULL, 0, &why) == 0)
		region_add(&regions, p, n, &why);
	return write(fd, &why, sizeof why) != sizeof why;
}

TEST(regions_above_memlock_say_have_and_need)
{
	struct diag why;
	int fds[2], status;
	pid_t pid;

	CHECK_INT(pipe(fds), ==, 0);
	fflush(NULL);
	pid = fork();
	if (pid == 0)
		_exit(add_16_mib_as_nobody(fds[1]));
	close(fds[1]);
	CHECK_INT(read(fds[0], &why, sizeof why), ==, sizeof why);
	close(fds[0]);
	CHECK_INT(waitpid(pid, &status, 0), ==, pid);
	CHECK_INT(status, ==, 0);
	CHECK_INT(why.err, ==, -ENOMEM);
	CHECK_HAS(why.line, "IORING_REGISTER_BUFFERS_UPDATE: ENOMEM: ");
	CHECK_HAS(why.line, "is 4096 KiB for all processes of this user, this needs 16384 KiB");
}
