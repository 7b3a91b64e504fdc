/*
 * The inbox. A poster writes the eventfd only when it takes down the loop's announcement of sleep;
 * the loop's read op on that eventfd then ends its wait. Does not know who posts, and counts no
 * queue length: limits on posting belong to the callers.
 *
 * INV-31: a wake is never consumed without a turn. inbox_wake() leaves `poked` behind, and only the
 * ends of a wait take it away: a refused sleep, a finished one and spinning that made a sleep
 * unnecessary, all of which return to whoever called the turn, who then looks at what the waker set
 * before.
 */
#include "loop/inbox.h"
#include "base/assert.h"
#include "base/list.h"
#include "base/mark.h"
#include "base/sys.h"
#include <errno.h>

static void inbox_signal(struct inbox *in)
{
	atomic_fetch_add_explicit(&in->wakes_sent, 1, memory_order_relaxed);
	sys_eventfd_signal(in->wake_fd);
}

/* The count read is of no interest. Whatever the result, a deaf inbox is not an option. */
static void inbox_read_done(struct op_io *io, const struct op_event *ev)
{
	struct inbox *in = container_of(io, struct inbox, read);

	RLN_ASSERTF(ev->res != -EBADF && ev->res != -EINVAL, "eventfd read: %d", ev->res);
	op_reset(&io->op);
	if (!in->closing)
		op_submit(in->ops, &io->op);
}

int inbox_open(struct inbox *in, struct ops *ops)
{
	int fd = sys_eventfd();

	if (fd < 0)
		return fd;
	*in = (struct inbox){ .wake_fd = fd, .ops = ops };
	mpsc_init(&in->queue);
	op_io_init(&in->read, OP_EVENTFD_READ, inbox_read_done);
	in->read.a =
		(struct op_args){ .fd = fd, .buf = &in->wake_count, .len = sizeof in->wake_count };
	op_cancel_init(&in->cancel, NULL);
	return 0;
}

void inbox_start(struct inbox *in)
{
	op_submit(in->ops, &in->read.op);
}

int inbox_push_known(struct inbox *in, struct inbox_msg *m)
{
	switch (mpsc_push(&in->queue, &m->node)) {
	case MPSC_REFUSED:
		RLN_MARK("message-after-the-end");
		return -ESHUTDOWN;
	case MPSC_PUSHED_WAKE:
		inbox_signal(in);
		break;
	case MPSC_PUSHED:
		break;
	}
	return 0;
}

/*
 * Once pushed, m may run, and whoever waited for it may end the worker, before this has returned:
 * `pushers` is what keeps the inbox there until then.
 */
int inbox_push(struct inbox *in, struct inbox_msg *m)
{
	atomic_fetch_add(&in->pushers, 1);
	int e = inbox_push_known(in, m);
	atomic_fetch_sub_explicit(&in->pushers, 1, memory_order_release);
	return e;
}

bool inbox_refuses(const struct inbox *in)
{
	return mpsc_closed(&in->queue);
}

void inbox_wake(struct inbox *in)
{
	atomic_store(&in->poked, true);
	if (mpsc_wake(&in->queue))
		inbox_signal(in);
}

/* The list lives in the inbox, so that a message that closes it leaves the order as it is. */
static unsigned inbox_run(struct inbox *in)
{
	unsigned count = 0;
	bool nested = in->running;

	in->running = true;
	while (in->taken) {
		struct inbox_msg *m = container_of(in->taken, struct inbox_msg, node);
		in->taken = m->node.next;
		count++;
		m->run(m); /* m may be gone after this */
	}
	in->running = nested;
	in->messages += count;
	return count;
}

/* The messages of the queue join those that are taken, behind them. */
static void inbox_take(struct inbox *in)
{
	struct mpsc_node **end = &in->taken;

	while (*end)
		end = &(*end)->next;
	*end = mpsc_take(&in->queue);
}

unsigned inbox_drain(struct inbox *in)
{
	RLN_ASSERT(!in->running); /* not from inside a message */
	inbox_take(in);
	return inbox_run(in);
}

void inbox_withdraw(struct inbox *in, struct inbox_msg *m)
{
	struct mpsc_node **at = &in->taken;

	inbox_take(in);
	while (*at && *at != &m->node)
		at = &(*at)->next;
	RLN_ASSERTF(*at, "message %p is not here", (void *)m);
	*at = m->node.next;
}

bool inbox_pending(const struct inbox *in)
{
	return in->taken || !mpsc_empty(&in->queue) ||
	       atomic_load_explicit(&in->poked, memory_order_relaxed);
}

bool inbox_sleep(struct inbox *in)
{
	if (in->taken || !mpsc_sleep(&in->queue))
		return false;
	if (!atomic_load(&in->poked))
		return true;
	RLN_MARK("wake-came-before-the-sleep");
	inbox_awake(in);
	return false;
}

void inbox_awake(struct inbox *in)
{
	mpsc_awake(&in->queue);
	inbox_noticed(in);
}

void inbox_noticed(struct inbox *in)
{
	atomic_exchange(&in->poked, false);
}

void inbox_close(struct inbox *in)
{
	if (in->closing)
		return;
	/* INV-70 */
	RLN_ASSERTF(!in->due, "%u messages are still to come", in->due);
	in->closing = true;
	inbox_run(in);
	in->taken = mpsc_close(&in->queue);
	inbox_run(in);
	op_cancel_with(in->ops, &in->read.op, &in->cancel);
}

void inbox_free(struct inbox *in)
{
	RLN_ASSERT(mpsc_empty(&in->queue) && !in->taken);
	/* A pusher whose message has run already is a few instructions from its end. */
	while (atomic_load(&in->pushers))
		sys_thread_yield();
	RLN_ASSERT(!op_busy(&in->read.op));
	RLN_ASSERT(!op_busy(&in->cancel.op));
	sys_close(in->wake_fd);
	in->wake_fd = -1;
}
