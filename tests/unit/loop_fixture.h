/*
 * What the tests of the turn share: one loop a test, on Linux, seen through a kernel that notes
 * every enter. Included once by each of them.
 */
#ifndef RINGLINE_TESTS_LOOP_FIXTURE_H
#define RINGLINE_TESTS_LOOP_FIXTURE_H

#include "loop/loop.h"
#include "ring/caps.h"
#include "test.h"

#include <errno.h>

#define MS INT64_C(1000000)
#define SECOND (1000 * MS)

/* --- a kernel that notes what it is asked --- */

static struct spy {
	unsigned enters, waits, waits_without_limit;
	int64_t limit_ns;		/* of the last wait */
	void (*on_enter)(bool waiting); /* before the call reaches Linux */
	int fail;			/* answer this instead */
	void (*after_setup)(void);
} spy;

static int64_t limit_of(unsigned flags, const struct io_uring_getevents_arg *arg)
{
	if (!(flags & IORING_ENTER_EXT_ARG) || !arg || !arg->ts)
		return INT64_MAX;
	const struct __kernel_timespec *ts = (const void *)(uintptr_t)arg->ts;
	return ts->tv_sec * SECOND + ts->tv_nsec;
}

static int spy_enter(struct io_uring *u, unsigned to_submit, unsigned min_complete, unsigned flags,
		     const void *arg, size_t arg_bytes)
{
	spy.enters++;
	if (min_complete > 0) {
		spy.waits++;
		spy.limit_ns = limit_of(flags, arg);
		spy.waits_without_limit += spy.limit_ns == INT64_MAX;
	}
	CHECK(flags & IORING_ENTER_GETEVENTS);
	if (spy.on_enter)
		spy.on_enter(min_complete > 0);
	if (spy.fail)
		return spy.fail;
	return ring_kernel_uring.enter(u, to_submit, min_complete, flags, arg, arg_bytes);
}

static int spy_setup(struct io_uring *u, unsigned entries, struct io_uring_params *p)
{
	int err = ring_kernel_uring.setup(u, entries, p);
	if (!err && spy.after_setup)
		spy.after_setup();
	return err;
}

static void spy_exit(struct io_uring *u)
{
	ring_kernel_uring.exit(u);
}

static int spy_reg(struct io_uring *u, unsigned opcode, void *arg, unsigned nr)
{
	return ring_kernel_uring.reg(u, opcode, arg, nr);
}

static const struct ring_kernel spy_kernel = {
	.name = "spy", .setup = spy_setup, .exit = spy_exit, .enter = spy_enter, .reg = spy_reg
};

/* --- one loop a test --- */

static struct loop loop;

static struct loop_config config(unsigned sq_entries)
{
	return (struct loop_config){ .ring = { .kernel = &spy_kernel,
					       .sq_entries = sq_entries,
					       .cq_entries = sq_entries * 2,
					       .sqpoll_cpu = -1 } };
}

static void begin_with(const struct loop_config *cfg)
{
	struct diag why = { 0 };
	int err = loop_open(&loop, cfg, &why);

	if (err == -ENOSYS || err == -EPERM)
		SKIP("%s", why.line);
	CHECK_INT(err, ==, 0);
	CHECK_INT(loop_start(&loop, &why), ==, 0);
	/* the inbox's read is submitted, nothing else is out */
	CHECK_INT(loop_turn(&loop, INT64_MIN), ==, 0);
	CHECK_INT(loop.ops.live, ==, 1);
}

static void begin(unsigned sq_entries)
{
	struct loop_config cfg = config(sq_entries);
	begin_with(&cfg);
}

static void turn(int64_t deadline_ns)
{
	CHECK_INT(loop_turn(&loop, deadline_ns), ==, 0);
}

static void end(void)
{
	spy.on_enter = NULL;
	loop.busy = NULL;
	inbox_close(&loop.inbox);
	while (!ops_idle(&loop.ops))
		turn(INT64_MAX);
	loop_close(&loop);
}

/* --- what tests put into it --- */

static int fired;

/* Whoever calls the turn wants to know: as for anything set outside the loop's own lists, a wake.
 */
static void on_fire(struct timer *t)
{
	fired++;
	CHECK(loop.now_ns >= t->deadline_ns);
	inbox_wake(&loop.inbox);
}

static void wake_when_waiting(bool waiting)
{
	if (waiting)
		inbox_wake(&loop.inbox);
}

static int nops_finished;

static void nop_done(struct op_io *io, const struct op_event *ev)
{
	CHECK_INT(ev->res, ==, 0);
	CHECK(ev->last);
	CHECK_INT((intptr_t)io->ctx, ==, nops_finished); /* FIFO */
	nops_finished++;
	op_reset(&io->op);
}

static void submit_nops(struct op_io *nop, int count)
{
	for (int i = 0; i < count; i++) {
		op_io_init(&nop[i], OP_NOP, nop_done);
		nop[i].ctx = (void *)(intptr_t)i;
		op_submit(&loop.ops, &nop[i].op);
	}
}

#endif
