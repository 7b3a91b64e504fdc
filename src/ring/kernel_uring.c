/*
 * Linux behind the ring: the three io_uring system calls and the mappings they need, made by hand.
 * Chooses no flags and retries nothing; ring.c does. liburing's own set-up is not used: 2.3 writes
 * the SQ array although NO_SQARRAY left none.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "ring/kernel.h"
#include "ring/uapi.h"
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

static int result(long r)
{
	return r < 0 ? -errno : (int)r;
}

static size_t sqes_bytes(unsigned entries, unsigned flags)
{
	return entries * sizeof(struct io_uring_sqe) << !!(flags & IORING_SETUP_SQE128);
}

static size_t ring_bytes(const struct io_uring_params *p)
{
	size_t cqe = sizeof(struct io_uring_cqe) << !!(p->flags & IORING_SETUP_CQE32);
	size_t cq = p->cq_off.cqes + p->cq_entries * cqe;
	size_t sq = 0; /* the head and tail words stand before the CQEs */

	if (!(p->flags & RU_SETUP_NO_SQARRAY))
		sq = p->sq_off.array + p->sq_entries * sizeof(unsigned);
	return sq > cq ? sq : cq;
}

static void sq_fill(struct io_uring_sq *sq, const struct io_uring_params *p, char *base)
{
	sq->khead = (unsigned *)(base + p->sq_off.head);
	sq->ktail = (unsigned *)(base + p->sq_off.tail);
	sq->kring_mask = (unsigned *)(base + p->sq_off.ring_mask);
	sq->kring_entries = (unsigned *)(base + p->sq_off.ring_entries);
	sq->kflags = (unsigned *)(base + p->sq_off.flags);
	sq->kdropped = (unsigned *)(base + p->sq_off.dropped);
	sq->ring_mask = *sq->kring_mask;
	sq->ring_entries = *sq->kring_entries;
	if (p->flags & RU_SETUP_NO_SQARRAY)
		return;
	/* Slot i of the array always names SQE i, so nobody need write it again. */
	sq->array = (unsigned *)(base + p->sq_off.array);
	for (unsigned i = 0; i < p->sq_entries; i++)
		sq->array[i] = i;
}

static void cq_fill(struct io_uring_cq *cq, const struct io_uring_params *p, char *base)
{
	cq->khead = (unsigned *)(base + p->cq_off.head);
	cq->ktail = (unsigned *)(base + p->cq_off.tail);
	cq->kring_mask = (unsigned *)(base + p->cq_off.ring_mask);
	cq->kring_entries = (unsigned *)(base + p->cq_off.ring_entries);
	cq->koverflow = (unsigned *)(base + p->cq_off.overflow);
	cq->cqes = (struct io_uring_cqe *)(base + p->cq_off.cqes);
	if (p->cq_off.flags)
		cq->kflags = (unsigned *)(base + p->cq_off.flags);
	cq->ring_mask = *cq->kring_mask;
	cq->ring_entries = *cq->kring_entries;
}

static int ring_map(struct io_uring *u, const struct io_uring_params *p)
{
	size_t bytes = ring_bytes(p), sqes = sqes_bytes(p->sq_entries, p->flags);
	char *base;
	int err;

	base = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, u->ring_fd,
		    IORING_OFF_SQ_RING);
	if (base == MAP_FAILED)
		return -errno;
	u->sq.sqes = mmap(NULL, sqes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, u->ring_fd,
			  IORING_OFF_SQES);
	if (u->sq.sqes == MAP_FAILED) {
		err = -errno;
		munmap(base, bytes);
		return err;
	}
	u->sq.ring_ptr = u->cq.ring_ptr = base;
	u->sq.ring_sz = u->cq.ring_sz = bytes;
	sq_fill(&u->sq, p, base);
	cq_fill(&u->cq, p, base);
	return 0;
}

static int uring_setup(struct io_uring *u, unsigned entries, struct io_uring_params *p)
{
	int err;

	memset(u, 0, sizeof *u);
	u->ring_fd = result(syscall(__NR_io_uring_setup, entries, p));
	if (u->ring_fd < 0)
		return u->ring_fd;
	u->enter_ring_fd = u->ring_fd;
	u->flags = p->flags;
	u->features = p->features;
	/* Without SINGLE_MMAP (before 5.4) nothing else here would work either. */
	err = p->features & IORING_FEAT_SINGLE_MMAP ? ring_map(u, p) : -ENOSYS;
	if (err < 0)
		close(u->ring_fd);
	return err;
}

static void uring_exit(struct io_uring *u)
{
	munmap(u->sq.sqes, sqes_bytes(u->sq.ring_entries, u->flags));
	munmap(u->sq.ring_ptr, u->sq.ring_sz);
	close(u->ring_fd);
}

static int uring_enter(struct io_uring *u, unsigned to_submit, unsigned min_complete,
		       unsigned flags, const void *arg, size_t arg_bytes)
{
	return result(syscall(__NR_io_uring_enter, u->enter_ring_fd, to_submit, min_complete, flags,
			      arg, arg_bytes));
}

static int uring_reg(struct io_uring *u, unsigned opcode, void *arg, unsigned nr)
{
	return result(syscall(__NR_io_uring_register, u->ring_fd, opcode, arg, nr));
}

const struct ring_kernel ring_kernel_uring = {
	.name = "io_uring",
	.setup = uring_setup,
	.exit = uring_exit,
	.enter = uring_enter,
	.reg = uring_reg,
};
