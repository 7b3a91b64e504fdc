/*
 * The inside of an arm of rln_select(): what a kind of arm must be able to do. An arm waits for
 * state the runtime owns, like any W wait; its node stands in the same list as those of the plain
 * calls, so whoever wakes these wakes arms too, and knows of no difference.
 *
 * A new kind: a struct arm_kind beside the plain call it belongs to, and a constructor rln_on_x()
 * that is one arm_make().
 */
#ifndef RINGLINE_TASK_SELECT_H
#define RINGLINE_TASK_SELECT_H

#include "ringline/select.h"
#include "task/task.h"

struct arm;

struct arm_kind {
	/*
	 * Ready now: apply the effect, set res, true. Also true for what can never become ready,
	 * with the error in res. False: nothing was done. Runs in the selecting task.
	 */
	bool (*take)(struct arm *a);
	/*
	 * Not ready: w is initialised; link w.node where its waker looks. 0, or -errno, which is
	 * then this arm's result (two arms that exclude each other: -EBUSY). What another thread
	 * can make ready since take(): 1, nothing linked, with the effect applied and res set.
	 */
	int (*link)(struct arm *a);
	/*
	 * This arm was woken: res is what the waker gave, and may be changed. Its effect was
	 * applied by the waker, or is reserved for this task since. NULL: nothing to do.
	 */
	void (*won)(struct arm *a);
	/* The wait of a linked arm is over, whoever won; its node is unlinked. NULL: nothing to
	 * undo. */
	void (*unlink)(struct arm *a);
};

/* What users see as rln_arm; all-zero: never ready. */
struct arm {
	int res; /* at the place users read it */
	const struct arm_kind *kind;
	union {
		void *p;
		uint64_t h;
		int64_t ns;
	} on; /* what it waits for */
	uint64_t aux;
	struct waiter w; /* w.slot: where the result goes */
};

/*
 * what: on, aux and w.slot. PERF: the rest stays unwritten, since link() finds w initialised. With
 * arms that were zeroed first a select over four took 100 ns instead of 59 (bench/tasks.c).
 */
static inline rln_arm arm_make(const struct arm_kind *kind, struct arm what)
{
	union {
		rln_arm user;
		struct arm arm;
	} u;

	u.arm.res = 0;
	u.arm.kind = kind;
	u.arm.on = what.on;
	u.arm.aux = what.aux;
	u.arm.w.slot = what.w.slot;
	return u.user;
}

/*
 * For kinds of arms that wait for a descriptor (fd.c): a poll operation of the runtime's from link
 * to unlink, its pointer in aux. The waker's res is the events, or what the kernel's poll reports.
 */
int arm_poll_link(struct arm *a, int fd, short events);
void arm_poll_unlink(struct arm *a);

#endif
