/*
 * rln_notify: a coalescing signal to one worker.
 *
 *   IDLE --signal: pushes the message--> SENT --the worker runs it--> IDLE, and a waiter or
 *   `pending` has it
 *
 * Whoever leaves IDLE pushes; a signal that finds SENT is part of that one. The worker goes back to
 * IDLE before it looks at the waiters, so a signal that comes later is a message of its own.
 */
#include "base/assert.h"
#include "ringline/thread.h"
#include "task/internal.h"
#include "task/select.h"
#include <errno.h>
#include <stdatomic.h>

enum { IDLE, SENT };

struct notify {
	struct inbox_msg msg;
	struct inbox *in; /* of its worker */
	struct list waiters;
	_Atomic(uint32_t) state;
	bool pending; /* a signal nobody waited for */
};
_Static_assert(sizeof(struct notify) <= sizeof(rln_notify), "rln_notify is too small");

static void notify_run(struct inbox_msg *m)
{
	struct notify *n = container_of(m, struct notify, msg);
	struct waiter *w = waiter_first(&n->waiters);

	atomic_store(&n->state, IDLE);
	if (w)
		waiter_wake(w, 0);
	else
		n->pending = true;
}

void rln_notify_init(rln_notify *p)
{
	struct notify *n = (struct notify *)p;
	struct ctx *c = ctx_current();

	if (!c)
		task_misuse("rln_notify_init from a thread that is no worker");
	*n = (struct notify){ .msg.run = notify_run, .in = &c->loop->inbox };
	list_init(&n->waiters);
}

void rln_notify_signal(rln_notify *p)
{
	struct notify *n = (struct notify *)p;

	/* A worker that has closed its inbox leaves it SENT, so that nobody tries again. */
	if (atomic_load_explicit(&n->state, memory_order_relaxed) == IDLE &&
	    atomic_exchange(&n->state, SENT) == IDLE)
		inbox_push(n->in, &n->msg);
}

int rln_notify_wait(rln_notify *p)
{
	struct notify *n = (struct notify *)p;
	int e = wait_enter("rln_notify_wait");

	if (e)
		return e;
	if (n->in != &sched_current()->loop->inbox)
		return -EXDEV;
	if (!n->pending)
		return wait_on(&n->waiters, "rln_notify_wait");
	n->pending = false;
	wait_done_quickly();
	return 0;
}

static bool arm_take(struct arm *a)
{
	struct notify *n = a->on.p;

	a->res = n->in == &sched_current()->loop->inbox ? 0 : -EXDEV;
	if (a->res || !n->pending)
		return a->res;
	n->pending = false;
	return true;
}

static int arm_link(struct arm *a)
{
	struct notify *n = a->on.p;

	list_push_back(&n->waiters, &a->w.node);
	return 0;
}

static const struct arm_kind arm_notify = { .take = arm_take, .link = arm_link };

rln_arm rln_on_notify(rln_notify *n)
{
	return arm_make(&arm_notify, (struct arm){ .on.p = n });
}

void rln_notify_fini(rln_notify *p)
{
	struct notify *n = (struct notify *)p;
	struct ctx *c = ctx_current();

	if (!c || n->in != &c->loop->inbox)
		task_misuse("rln_notify_fini on a thread that is not its worker");
	if (!list_empty(&n->waiters))
		task_misuse("rln_notify_fini while a task waits for it");
	if (atomic_load(&n->state) == SENT && !n->in->closing)
		inbox_withdraw(n->in, &n->msg);
	*n = (struct notify){ 0 };
}
