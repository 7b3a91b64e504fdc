/*
 * rln_oneshot: one result between threads.
 *
 *   EMPTY --wait--> WAITED --set--> SETTING --value stored--> SET or ABANDONED
 *      \----------------set-----------^ (a wait may still register there)
 *
 * The setter's last touch of the oneshot is the exchange that makes the value visible: from then on
 * a reader may free it. What has to be woken is a wire, memory of its own that a waiter registers
 * in the state word; it belongs to the worker until a setter took it out of there, and from then to
 * the message that is on its way. Registered wires keep their worker's inbox open (inbox.due).
 */
#include "base/assert.h"
#include "base/sys.h"
#include "ringline/thread.h"
#include "task/select.h"
#include <errno.h>
#include <stdatomic.h>

enum { EMPTY = 0, WAITED = 1, SETTING = 2, SET = 4, ABANDONED = 5 };
#define TAG ((uintptr_t)7)

struct wire {
	struct inbox_msg msg;
	struct inbox *in;
	struct list waiters;
};

struct oneshot {
	_Atomic(uintptr_t) state; /* one of the above; WAITED and SETTING with a wire's address */
	intptr_t value;		  /* before SET, the setter's; after, constant */
	_Atomic(struct inbox *) reader; /* of the worker whose tasks wait; set by the first */
};
_Static_assert(sizeof(struct oneshot) <= sizeof(rln_oneshot), "rln_oneshot is too small");
_Static_assert(_Alignof(struct wire) > TAG || _Alignof(max_align_t) > TAG, "no room for the tag");

static struct wire *wire_of(uintptr_t s)
{
	return (struct wire *)(s & ~TAG);
}

static bool decided(uintptr_t s)
{
	return s == SET || s == ABANDONED;
}

/* On the worker: the message a setter sent. */
static void wire_run(struct inbox_msg *m)
{
	struct wire *w = container_of(m, struct wire, msg);

	w->in->due--;
	wake_all(&w->waiters, 0);
	sys_free(w);
}

static int decide(struct oneshot *o, uintptr_t to, intptr_t v)
{
	uintptr_t s = atomic_load(&o->state);

	do {
		if (decided(s) || (s & TAG) == SETTING)
			return -EALREADY;
	} while (!atomic_compare_exchange_weak(&o->state, &s, (s & ~TAG) | SETTING));
	o->value = v;
	s = atomic_exchange(&o->state, to); /* nothing of *o from here on */
	struct wire *w = wire_of(s);
	if (w)
		inbox_push(w->in, &w->msg);
	return 0;
}

int rln_oneshot_set(rln_oneshot *o, intptr_t v)
{
	return o ? decide((struct oneshot *)o, SET, v) : -EINVAL;
}

void rln_oneshot_abandon(rln_oneshot *o)
{
	if (o)
		decide((struct oneshot *)o, ABANDONED, 0);
}

/* The wire that is registered, by us or by a task before: 0, or 1 when it was decided meanwhile. */
static int connect_wire(struct oneshot *o, struct inbox *in, struct wire **out)
{
	struct inbox *reader = NULL;
	struct wire *w = NULL;
	uintptr_t s;

	if (!atomic_compare_exchange_strong(&o->reader, &reader, in) && reader != in)
		return -EXDEV;
	s = atomic_load(&o->state);
	while (!decided(s) && !wire_of(s)) {
		if (!w && !(w = sys_alloc(sizeof *w)))
			return -ENOMEM;
		*w = (struct wire){ .msg.run = wire_run, .in = in };
		list_init(&w->waiters);
		uintptr_t to = (uintptr_t)w | (s == EMPTY ? WAITED : SETTING);
		if (!atomic_compare_exchange_strong(&o->state, &s, to))
			continue;
		in->due++;
		*out = w;
		return 0;
	}
	sys_free(w);
	*out = wire_of(s); /* of this worker, whose thread we are: it stays until we wait */
	return decided(s);
}

/* Nobody waits any more: out of the state word, unless a setter has it already. */
static void disconnect_wire(struct oneshot *o, struct wire *w)
{
	uintptr_t s = (uintptr_t)w | WAITED;

	if (!list_empty(&w->waiters) || !atomic_compare_exchange_strong(&o->state, &s, EMPTY))
		return;
	w->in->due--;
	sys_free(w);
}

static int result_of(struct oneshot *o, intptr_t *v)
{
	if (atomic_load(&o->state) == ABANDONED)
		return -EPIPE;
	if (v)
		*v = o->value;
	return 0;
}

/* The wait on w is over, or never was. After a message the wire is gone, and the state says so. */
static void leave(struct oneshot *o, struct wire *w)
{
	if (wire_of(atomic_load(&o->state)) == w)
		disconnect_wire(o, w);
}

int rln_oneshot_wait(rln_oneshot *p, intptr_t *v)
{
	struct oneshot *o = (struct oneshot *)p;
	struct wire *w;
	int e = wait_enter("rln_oneshot_wait");

	if (e)
		return e;
	if (!o)
		return -EINVAL;
	if (decided(atomic_load(&o->state))) {
		wait_done_quickly();
		return result_of(o, v);
	}
	struct inbox *in = &sched_current()->loop->inbox;
	if (in->closing)
		return -ESHUTDOWN;
	e = connect_wire(o, in, &w);
	if (e)
		return e < 0 ? e : result_of(o, v);
	e = wait_on(&w->waiters, "rln_oneshot_wait");
	if (!e)
		return result_of(o, v); /* the wire is gone */
	leave(o, w);
	return e;
}

static bool arm_take(struct arm *a)
{
	struct oneshot *o = a->on.p;

	if (!o)
		a->res = -EINVAL;
	else if (decided(atomic_load(&o->state)))
		a->res = result_of(o, a->w.slot);
	else if (sched_current()->loop->inbox.closing)
		a->res = -ESHUTDOWN;
	else
		return false;
	return true;
}

static int arm_link(struct arm *a)
{
	struct oneshot *o = a->on.p;
	struct wire *w;
	int e = connect_wire(o, &sched_current()->loop->inbox, &w);

	if (e > 0)
		a->res = result_of(o, a->w.slot);
	if (e)
		return e;
	list_push_back(&w->waiters, &a->w.node);
	a->aux = (uintptr_t)w;
	return 0;
}

static void arm_won(struct arm *a)
{
	a->res = result_of(a->on.p, a->w.slot);
}

static void arm_unlink(struct arm *a)
{
	leave(a->on.p, (struct wire *)(uintptr_t)a->aux);
}

static const struct arm_kind arm_oneshot = {
	.take = arm_take, .link = arm_link, .won = arm_won, .unlink = arm_unlink
};

rln_arm rln_on_oneshot(rln_oneshot *o, intptr_t *v)
{
	return arm_make(&arm_oneshot, (struct arm){ .on.p = o, .w.slot = v });
}
