/*
 * A ring without a kernel, for targets that play the kernel themselves: enter hands the SQEs over
 * in order, completions are what the target posts. One ring at a time.
 */
#ifndef RINGLINE_TESTS_FUZZ_MOCK_RING_H
#define RINGLINE_TESTS_FUZZ_MOCK_RING_H

#include "fuzz.h"

#include "ring/ring.h"
#include <errno.h>

#define MOCK_SQES 64 /* handed over and not yet looked at */

static struct {
	unsigned sq_head, sq_tail, sq_mask, sq_entries, sq_flags;
	unsigned cq_head, cq_tail, cq_mask, cq_entries, overflow;
	struct io_uring_sqe *sqes;
	struct io_uring_cqe *cqes;
	struct io_uring_sqe taken[MOCK_SQES];
	unsigned taken_count;
	unsigned take_max; /* SQEs the next enter consumes at most */
	int enter_err;	   /* what the next enter answers; 0: it works */
} mock;

static int mock_setup(struct io_uring *u, unsigned entries, struct io_uring_params *p)
{
	memset(&mock, 0, sizeof mock);
	memset(u, 0, sizeof *u);
	mock.sqes = calloc(entries, sizeof *mock.sqes);
	mock.cqes = calloc(p->cq_entries, sizeof *mock.cqes);
	mock.sq_entries = p->sq_entries = entries;
	mock.cq_entries = p->cq_entries;
	mock.sq_mask = u->sq.ring_mask = entries - 1;
	mock.cq_mask = u->cq.ring_mask = p->cq_entries - 1;
	mock.take_max = UINT32_MAX;
	u->ring_fd = u->enter_ring_fd = -1;
	u->flags = p->flags;
	u->sq.khead = &mock.sq_head;
	u->sq.ktail = &mock.sq_tail;
	u->sq.kflags = &mock.sq_flags;
	u->sq.sqes = mock.sqes;
	u->sq.ring_entries = entries;
	u->cq.khead = &mock.cq_head;
	u->cq.ktail = &mock.cq_tail;
	u->cq.koverflow = &mock.overflow;
	u->cq.cqes = mock.cqes;
	u->cq.ring_entries = p->cq_entries;
	return 0;
}

static void mock_exit(struct io_uring *u)
{
	(void)u;
	free(mock.sqes);
	free(mock.cqes);
}

static int mock_enter(struct io_uring *u, unsigned to_submit, unsigned min_complete, unsigned flags,
		      const void *arg, size_t arg_bytes)
{
	int n = 0, err = mock.enter_err;

	(void)u;
	(void)min_complete;
	(void)flags;
	(void)arg;
	(void)arg_bytes;
	mock.enter_err = 0;
	if (err)
		return err;
	FUZZ_CHECK(to_submit == mock.sq_tail - mock.sq_head && to_submit <= mock.sq_entries);
	while (mock.sq_head != mock.sq_tail && mock.taken_count < MOCK_SQES && mock.take_max) {
		struct io_uring_sqe *sqe = &mock.sqes[mock.sq_head++ & mock.sq_mask];
		mock.taken[mock.taken_count++] = *sqe;
		memset(sqe, 0xdd, sizeof *sqe); /* it is the program's again */
		mock.take_max--;
		n++;
	}
	mock.take_max = UINT32_MAX;
	return n;
}

static int mock_reg(struct io_uring *u, unsigned opcode, void *arg, unsigned nr)
{
	(void)u;
	(void)opcode;
	(void)arg;
	(void)nr;
	return 0;
}

static const struct ring_kernel mock_kernel = { "mock", mock_setup, mock_exit, mock_enter,
						mock_reg };

static inline bool mock_cq_full(void)
{
	return mock.cq_tail - mock.cq_head == mock.cq_entries;
}

static inline void mock_post(uint64_t user_data, int32_t res, uint32_t flags)
{
	FUZZ_CHECK(!mock_cq_full());
	mock.cqes[mock.cq_tail++ & mock.cq_mask] =
		(struct io_uring_cqe){ .user_data = user_data, .res = res, .flags = flags };
}

/* Forget the i-th SQE that was handed over. */
static inline struct io_uring_sqe mock_take(unsigned i)
{
	struct io_uring_sqe sqe = mock.taken[i];

	FUZZ_CHECK(i < mock.taken_count);
	mock.taken_count--;
	memmove(&mock.taken[i], &mock.taken[i + 1], (mock.taken_count - i) * sizeof mock.taken[0]);
	return sqe;
}

#endif
