/*
 * One ring in one world, for tests of the simulated disk: submit, wait, and a loss of power after
 * which the same world has a new ring.
 */
#ifndef RINGLINE_TESTS_SIM_DISK_RIG_H
#define RINGLINE_TESTS_SIM_DISK_RIG_H

#include "base/sys.h"
#include "ring/ring.h"
#include "ring/uapi.h"
#include "seed.h"
#include "sim/world.h"
#include "test.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define DISK_TAGS 64

struct disk_rig {
	struct world *w;
	struct ring ring;
	bool done[DISK_TAGS];
	int res[DISK_TAGS];
};

static const struct world_config disk_calm = { .fault = { [0 ... FAULT_COUNT - 1] = RATE_OFF } };

/* No fault, and every order and lateness. */
static const struct world_config disk_orders = {
	.fault = { [FAULT_HOLD + 1 ... FAULT_COUNT - 1] = RATE_OFF }, /* DEFER and HOLD by seed */
};

static void disk_ring(struct disk_rig *d)
{
	struct ring_config rc = { .kernel = world_kernel(d->w),
				  .sq_entries = 16,
				  .cq_entries = 64 };

	CHECK_INT(ring_open(&d->ring, &rc, NULL), ==, 0);
	CHECK_INT(ring_enable(&d->ring, NULL), ==, 0);
}

static void disk_open(struct disk_rig *d, uint64_t seed, const struct world_config *cfg)
{
	memset(d, 0, sizeof(*d));
	seed_set(seed);
	d->w = world_new(seed, cfg);
	world_enter(d->w);
	disk_ring(d);
}

static void disk_close(struct disk_rig *d)
{
	ring_close(&d->ring);
	world_enter(NULL);
	world_free(d->w);
}

/* The program dies with its machine, and starts again. */
static void disk_lose_power(struct disk_rig *d)
{
	world_power_loss(d->w);
	sys_free(d->ring.scratch); /* all that the dead program had */
	memset(d->done, 0, sizeof(d->done));
	disk_ring(d);
}

static void disk_seen(void *ctx, const struct io_uring_cqe *cqe)
{
	struct disk_rig *d = ctx;

	CHECK_INT(cqe->user_data, <, DISK_TAGS);
	CHECK(!d->done[cqe->user_data]);
	d->done[cqe->user_data] = true;
	d->res[cqe->user_data] = cqe->res;
}

static struct io_uring_sqe *disk_sqe(struct disk_rig *d, unsigned tag)
{
	struct io_uring_sqe *sqe = ring_sqe(&d->ring);

	CHECK(sqe);
	memset(sqe, 0, sizeof(*sqe));
	sqe->user_data = tag;
	d->done[tag] = false;
	return sqe;
}

static void disk_turn(struct disk_rig *d, unsigned wait)
{
	CHECK_INT(ring_enter(&d->ring, wait, 1000000000), ==, 0);
	ring_reap(&d->ring, UINT32_MAX, disk_seen, d);
}

static int disk_await(struct disk_rig *d, unsigned tag)
{
	while (!d->done[tag])
		disk_turn(d, 1);
	return d->res[tag];
}

/* ---- one operation at a time. Tag 0. */
#define DISK_CALL(d, prep, ...)                               \
	({                                                    \
		struct io_uring_sqe *sqe_ = disk_sqe((d), 0); \
		prep(sqe_, __VA_ARGS__);                      \
		sqe_->user_data = 0;                          \
		disk_await((d), 0);                           \
	})

__attribute__((unused)) static int disk_file(struct disk_rig *d, const char *path, int flags)
{
	return DISK_CALL(d, io_uring_prep_openat, AT_FDCWD, path, flags, 0644);
}

__attribute__((unused)) static int disk_put(struct disk_rig *d, int fd, uint64_t off, const void *p,
					    unsigned n)
{
	return DISK_CALL(d, io_uring_prep_write, fd, p, n, off);
}

__attribute__((unused)) static int disk_get(struct disk_rig *d, int fd, uint64_t off, void *p,
					    unsigned n)
{
	return DISK_CALL(d, io_uring_prep_read, fd, p, n, off);
}

__attribute__((unused)) static int disk_sync(struct disk_rig *d, int fd)
{
	return DISK_CALL(d, io_uring_prep_fsync, fd, 0);
}

__attribute__((unused)) static int disk_fd_close(struct disk_rig *d, int fd)
{
	return DISK_CALL(d, io_uring_prep_close, fd);
}

__attribute__((unused)) static int64_t disk_size(struct disk_rig *d, const char *path)
{
	struct statx st;
	int res = DISK_CALL(d, io_uring_prep_statx, AT_FDCWD, path, 0, STATX_SIZE, &st);

	return res < 0 ? res : (int64_t)st.stx_size;
}

#endif
