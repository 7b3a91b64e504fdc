/*
 * The direct descriptor table against the real kernel.
 */
#include "test.h"
#include "ring/caps.h"
#include "ring/files.h"
#include <errno.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

static struct ring ring;
static struct files files;

static void ring_up(void)
{
	struct ring_config cfg = { .sq_entries = 4, .cq_entries = 8, .sqpoll_cpu = -1 };

	CHECK_INT(ring_open(&ring, &cfg, NULL), ==, 0);
	CHECK_INT(ring_enable(&ring, NULL), ==, 0);
}

static void up(unsigned auto_count, unsigned explicit_count)
{
	ring_up();
	CHECK_INT(files_open(&files, &ring, auto_count, explicit_count, NULL), ==, 0);
}

static void down(void)
{
	files_close(&files);
	files_close(&files); /* again is nothing */
	ring_close(&ring);
}

static void keep_res(void *ctx, const struct io_uring_cqe *cqe)
{
	*(int *)ctx = cqe->res;
}

static int run(void)
{
	int res = 0;

	CHECK_INT(ring_enter(&ring, 1, INT64_MAX), ==, 0);
	CHECK_INT(ring_reap(&ring, 1, keep_res, &res), ==, 1);
	return res;
}

static int socket_auto(void)
{
	io_uring_prep_socket_direct_alloc(ring_sqe(&ring), AF_UNIX, SOCK_STREAM, 0, 0);
	return run();
}

static int close_slot(unsigned slot)
{
	io_uring_prep_close_direct(ring_sqe(&ring), slot);
	return run();
}

static int send_to(unsigned slot)
{
	struct io_uring_sqe *sqe = ring_sqe(&ring);

	io_uring_prep_send(sqe, (int)slot, "x", 1, MSG_NOSIGNAL);
	io_uring_sqe_set_flags(sqe, IOSQE_FIXED_FILE);
	return run();
}

TEST(files_kernel_chooses_only_its_own_range)
{
	up(3, 2);
	for (int i = 0; i < 3; i++)
		CHECK_INT(socket_auto(), ==, i);
	CHECK_INT(socket_auto(), ==, -ENFILE);
	CHECK_INT(files_slot(&files), ==, 3); /* a full range leaves the explicit ones alone */
	CHECK_INT(close_slot(1), ==, 0);
	CHECK_INT(socket_auto(), ==, 1);
	CHECK_INT(close_slot(4), ==, -EBADF);
	down();
}

TEST(files_explicit_slots_run_out_and_come_back)
{
	up(2, 3);
	CHECK_INT(files.total, ==, 5);
	CHECK_INT(files_slot(&files), ==, 2);
	CHECK_INT(files_slot(&files), ==, 3);
	CHECK_INT(files_slot(&files), ==, 4);
	CHECK_INT(files.explicit_free, ==, 0);
	CHECK_INT(files_slot(&files), ==, -ENFILE);
	files_slot_free(&files, 3);
	CHECK_INT(files.explicit_free, ==, 1);
	CHECK_INT(files_slot(&files), ==, 3);
	down();
}

TEST(files_installed_fd_is_usable_and_removed)
{
	int pair[2], slot;
	char c = 0;

	up(1, 1);
	CHECK_INT(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), ==, 0);
	slot = files_slot(&files);
	CHECK_INT(send_to((unsigned)slot), ==, -EBADF);
	CHECK_INT(files_install(&files, (unsigned)slot, pair[0]), ==, 0);
	CHECK_INT(close(pair[0]), ==, 0); /* the slot holds the socket of its own */
	CHECK_INT(send_to((unsigned)slot), ==, 1);
	CHECK_INT(read(pair[1], &c, 1), ==, 1);
	CHECK_INT(c, ==, 'x');
	CHECK_INT(files_remove(&files, (unsigned)slot), ==, 0);
	CHECK_INT(files_remove(&files, (unsigned)slot), ==, 0); /* empty: nothing to do */
	CHECK_INT(send_to((unsigned)slot), ==, -EBADF);
	CHECK_INT(read(pair[1], &c, 1), ==, 0); /* and that was the last reference */
	close(pair[1]);
	down();
}

TEST(files_install_bad_arguments_are_errors)
{
	up(1, 1);
	CHECK_INT(files_install(&files, 2, 0), ==, -EINVAL);
	CHECK_INT(files_install(&files, 1, -1), ==, -EBADF);
	CHECK_INT(files_install(&files, 1, 9999), ==, -EBADF);
	CHECK_INT(files_remove(&files, 2), ==, -EINVAL);
	down();
}

TEST(files_one_slot_is_enough)
{
	up(1, 0);
	CHECK_INT(socket_auto(), ==, 0);
	CHECK_INT(socket_auto(), ==, -ENFILE);
	CHECK_INT(files_slot(&files), ==, -ENFILE);
	down();
	up(0, 1);
	CHECK_INT(socket_auto(), ==, -ENFILE);
	CHECK_INT(files_slot(&files), ==, 0);
	down();
}

TEST(files_open_bad_sizes_and_twice_are_errors)
{
	struct files again;
	struct diag why;

	ring_up();
	CHECK_INT(files_open(&files, &ring, 0, 0, &why), ==, -EINVAL);
	CHECK_HAS(why.line, "direct descriptors: 0 + 0 slots");
	CHECK_INT(files_open(&files, &ring, 1U << 31, 1, &why), ==, -EINVAL);
	CHECK_INT(files_open(&files, &ring, 1, 1, NULL), ==, 0);
	CHECK_INT(files_open(&again, &ring, 1, 1, &why), ==, -EBUSY);
	CHECK_HAS(why.line, "IORING_REGISTER_FILES2: EBUSY");
	down();
}

TEST(files_above_nofile_says_have_and_need)
{
	struct rlimit rl;
	struct diag why;
	char have[64];

	CHECK_INT(getrlimit(RLIMIT_NOFILE, &rl), ==, 0);
	rl.rlim_cur = 64; /* every test is a process of its own */
	CHECK_INT(setrlimit(RLIMIT_NOFILE, &rl), ==, 0);
	ring_up();
	snprintf(have, sizeof have, "(nofile) is 64, this needs 65");
	CHECK_INT(files_open(&files, &ring, 64, 1, &why), ==, -EMFILE);
	CHECK_HAS(why.line, "IORING_REGISTER_FILES2: EMFILE");
	CHECK_HAS(why.line, have);
	CHECK_INT(files_open(&files, &ring, 63, 1, &why), ==, 0);
	down();
}

static void free_twice(void)
{
	up(1, 2);
	files_slot_free(&files, (unsigned)files_slot(&files));
	files_slot_free(&files, 1);
}

static void free_auto(void)
{
	up(1, 2);
	files_slot_free(&files, 0);
}

TEST(files_slot_freed_wrongly_is_caught)
{
	CHECK_DIES(free_twice, SIGABRT, "slot 1 is free already");
	CHECK_DIES(free_auto, SIGABRT, "slot 0");
}
