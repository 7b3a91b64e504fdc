/*
 * Arms for what other code owns: descriptors, and the runtime's own drain. A descriptor is watched
 * by a poll operation of the runtime's, not of the task's: when another arm wins, it is cancelled
 * and nobody waits for that. One poll an arm: it must not outlive its select, since the
 * descriptor's number may be another file's by the next.
 */
#include "base/assert.h"
#include "base/sys.h"
#include "task/internal.h"
#include "task/select.h"
#include <errno.h>
#include <poll.h>

/*
 * Armed --completion--> its arm is woken, freed; or --the arm leaves--> cancelled, freed by the
 * last of its two completions.
 */
struct fd_poll {
	struct op_io io;
	struct op_cancel cancel;
	struct ops *ops;
	struct list waiter; /* its arm's node, while no arm was woken */
	bool left;	    /* the arm is gone: the last completion frees this */
};

static void poll_free(struct fd_poll *p)
{
	if (!op_busy(&p->io.op) && !op_busy(&p->cancel.op))
		sys_free(p);
}

static void poll_done(struct op_io *io, const struct op_event *ev)
{
	struct fd_poll *p = container_of(io, struct fd_poll, io);

	op_reset(&io->op);
	if (p->left)
		poll_free(p);
	else if (!list_empty(&p->waiter)) /* else another arm has won, which has yet to run */
		waiter_wake(waiter_first(&p->waiter), ev->res);
}

static void cancel_done(struct op_cancel *c)
{
	poll_free(container_of(c, struct fd_poll, cancel));
}

/* Readiness is not remembered: it is the descriptor's, and asked anew each time. */
static bool fd_take(struct arm *a)
{
	int fd = (int)(uint32_t)a->on.h;

	a->res = fd < 0 ? -EBADF : sys_poll(fd, (short)(a->on.h >> 32));
	return a->res != 0;
}

int arm_poll_link(struct arm *a, int fd, short events)
{
	struct fd_poll *p = sys_zalloc(sizeof *p);

	if (!p)
		return -ENOMEM;
	p->ops = &sched_current()->loop->ops;
	list_init(&p->waiter);
	list_push_back(&p->waiter, &a->w.node);
	op_io_init(&p->io, OP_POLL, poll_done);
	op_cancel_init(&p->cancel, cancel_done);
	p->io.a.fd = fd;
	p->io.a.flags = events;
	op_submit(p->ops, &p->io.op);
	a->aux = (uintptr_t)p;
	return 0;
}

void arm_poll_unlink(struct arm *a)
{
	struct fd_poll *p = (struct fd_poll *)(uintptr_t)a->aux;

	p->left = true;
	if (op_busy(&p->io.op))
		op_cancel_with(p->ops, &p->io.op, &p->cancel);
	else
		poll_free(p);
}

static int fd_link(struct arm *a)
{
	return arm_poll_link(a, (int)(uint32_t)a->on.h, (short)(a->on.h >> 32));
}

static const struct arm_kind arm_fd = { .take = fd_take,
					.link = fd_link,
					.unlink = arm_poll_unlink };

rln_arm rln_on_fd(int fd, short events)
{
	return arm_make(&arm_fd,
			(struct arm){ .on.h = (uint64_t)(uint16_t)events << 32 | (uint32_t)fd });
}

/* ---- the drain */

void sched_drain_begin(struct sched *s)
{
	s->draining = true;
	wake_all(&s->drain_waiters, 0);
}

static bool draining_take(struct arm *a)
{
	a->res = 0;
	return sched_current()->draining;
}

static int draining_link(struct arm *a)
{
	list_push_back(&sched_current()->drain_waiters, &a->w.node);
	return 0;
}

static const struct arm_kind arm_draining = { .take = draining_take, .link = draining_link };

rln_arm rln_on_draining(void)
{
	return arm_make(&arm_draining, (struct arm){ 0 });
}
