/*
 * What a loop without a thread of its own does in place of sleeping. How long a step may last is
 * decided above (rt/embed.c).
 *
 * The ring has no DEFER_TASKRUN. KERNEL(6.18): with it completions are made only in an enter, so
 * nobody is woken who polls the ring; and an eventfd registered with the ring tells of them late
 * (7.2: a grace period each), or once only (6.12.117, and 6.18 for what another eventfd caused).
 * Without it they are made whenever this thread enters the kernel, or at once if it sleeps there:
 * then epoll_wait() gives EINTR before it tells.
 */
#include "loop/embed.h"
#include "base/sys.h"
#include "loop/loop.h"

#define ENTERS_MAX 100000 /* a queue of two entries, and all its operations wait */

/* That it is due, or cancelled, is all there is to know: the next turn looks at the wheel. */
static void timer_done(struct op_io *io, const struct op_event *ev)
{
	(void)ev;
	op_reset(&io->op);
}

void embed_start(struct loop *l)
{
	struct embed *e = &l->embed;

	*e = (struct embed){ .used = true, .on = true };
	op_io_init(&e->timer, OP_TIMEOUT_ABS, timer_done);
	op_cancel_init(&e->cancel, NULL);
}

static void timer_end(struct loop *l)
{
	struct embed *e = &l->embed;

	if (op_busy(&e->timer.op) && !op_busy(&e->cancel.op))
		op_cancel_with(&l->ops, &e->timer.op, &e->cancel);
}

/*
 * PERF: one that ends too early costs a step, one at every change of the next timer would cost an
 * SQE or two a request. So it is only ever moved forward; when it has ended it is armed anew.
 */
void embed_arm(struct loop *l)
{
	struct embed *e = &l->embed;
	int64_t next_ns = wheel_next(&l->wheel);

	if (e->closing) {
		timer_end(l);
	} else if (next_ns == INT64_MAX || next_ns <= l->now_ns) {
		return; /* none, or this step fires it */
	} else if (!op_busy(&e->timer.op)) {
		e->timer_ns = e->timer.a.ns = next_ns;
		op_submit(&l->ops, &e->timer.op);
	} else if (e->timer_ns > next_ns) {
		timer_end(l);
	}
}

/* Will the ring end no later than the next timer? One that is being cancelled ends soon. */
static bool timer_covered(const struct loop *l)
{
	const struct embed *e = &l->embed;
	int64_t next_ns = wheel_next(&l->wheel);

	if (e->closing || next_ns == INT64_MAX)
		return true;
	return op_busy(&e->timer.op) && (e->timer_ns <= next_ns || op_busy(&e->cancel.op));
}

bool embed_pending(const struct loop *l)
{
	return loop_work_left(l) || ring_sq_pending(&l->ring) || ring_cq_overflown(&l->ring) ||
	       inbox_pending(&l->inbox) || !timer_covered(l);
}

void embed_awake(struct loop *l)
{
	inbox_awake(&l->inbox);
}

bool embed_rest(struct loop *l)
{
	if (!inbox_sleep(&l->inbox))
		return false;
	if (!embed_pending(l))
		return true;
	inbox_awake(&l->inbox);
	return false;
}

/*
 * The inbox's read must be the kernel's to end it, else nothing would be readable. An enter may be
 * refused for want of memory; other refusals mean that completions are there.
 */
static void submit_read(struct loop *l)
{
	for (unsigned i = 0; i < ENTERS_MAX; i++) {
		if (!l->ops.queued && !ring_sq_pending(&l->ring))
			return;
		ops_flush(&l->ops);
		if (ring_enter(&l->ring, 0, 0) < 0)
			return;
	}
}

/*
 * Completions that are there make it readable, and came after whoever waits for edges has seen the
 * last one: each turn reaps all there are. A full CQ is the only thing that keeps others out.
 */
void embed_light(struct loop *l)
{
	if (ring_cq_ready(&l->ring) || ring_cq_overflown(&l->ring))
		return;
	sys_eventfd_signal(l->inbox.wake_fd);
	submit_read(l);
}

void embed_close(struct loop *l)
{
	l->embed.closing = true;
}

void embed_leave(struct loop *l)
{
	l->embed.on = false;
	embed_close(l);
	inbox_awake(&l->inbox);
}
