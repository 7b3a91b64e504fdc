/*
 * What a loop without a thread of its own does in place of sleeping. How long a step may last is
 * decided above (rt/embed.c).
 *
 * KERNEL(6.1): with DEFER_TASKRUN nothing wakes whoever polls the ring's own descriptor, since
 * completions are only made in an enter; without it, epoll_wait() of the program is interrupted
 * instead. A registered eventfd is signalled when the first completion waits to be made.
 * KERNEL(6.13): one enter makes only some twenty completions and does not signal for the rest:
 * TASKRUN_FLAG tells that there are some.
 */
#include "loop/embed.h"
#include "base/assert.h"
#include "base/sys.h"
#include "loop/loop.h"
#include "ring/caps.h"
#include "ringline/base.h"

/* That it is due, or cancelled, is all there is to know: the next turn looks at the wheel. */
static void timer_done(struct op_io *io, const struct op_event *ev)
{
	(void)ev;
	op_reset(&io->op);
}

int embed_start(struct loop *l, struct diag *why)
{
	struct embed *e = &l->embed;
	int err = ring_notify(&l->ring, l->inbox.wake_fd);

	if (err)
		return diag_ring(why, err, "IORING_REGISTER_EVENTFD", 0, 0);
	*e = (struct embed){ .used = true, .on = true };
	op_io_init(&e->timer, OP_TIMEOUT_ABS, timer_done);
	op_cancel_init(&e->cancel, NULL);
	return 0;
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
	return loop_work_left(l) || ring_sq_pending(&l->ring) || ring_work(&l->ring) ||
	       inbox_pending(&l->inbox) || !timer_covered(l);
}

void embed_step(struct loop *l)
{
	l->embed.lit = false;
}

void embed_awake(struct loop *l)
{
	inbox_awake(&l->inbox);
}

bool embed_rest(struct loop *l)
{
	sys_eventfd_clear(l->inbox.wake_fd);
	if (!inbox_sleep(&l->inbox))
		return false;
	if (!embed_pending(l))
		return true;
	inbox_awake(&l->inbox);
	return false;
}

/* Once more, whatever it is: whoever waits for edges has seen the last one, and waits for another.
 */
void embed_light(struct loop *l)
{
	l->embed.lit = true;
	sys_eventfd_signal(l->inbox.wake_fd);
}

void embed_close(struct loop *l)
{
	l->embed.closing = true;
}

void embed_leave(struct loop *l)
{
	int err;

	if (!l->embed.on)
		return;
	l->embed.on = false;
	embed_close(l);
	err = ring_notify(&l->ring, -1);
	RLN_ASSERTF(!err, "the eventfd cannot be unregistered: %d", err);
	inbox_awake(&l->inbox);
	if (!l->inbox.closing)
		inbox_start(&l->inbox);
}
