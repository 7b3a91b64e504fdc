/*
 * rln_xchan: a ring of cells that any thread fills and one worker empties.
 *
 * A cell's turn says whose it is: equal to a position, the sender's who claims that position; one
 * more, the receiver's; then `capacity` further it is free again. Senders claim by moving the tail,
 * whose lowest bit says that the channel is closed: so a send that succeeded has claimed before the
 * close, and the receiver knows what it has to wait for.
 *
 * A receiver that finds nothing announces itself (`asleep`) and looks again; the sender that takes
 * the announcement down sends the message. Both are sequentially consistent, so one of them sees
 * the other (the same argument as INV-31). While it is announced, or the message is under way, the
 * channel holds a reference to itself and its worker's inbox stays open (inbox.due).
 */
#include "task/xchan.h"
#include "base/assert.h"
#include "base/sys.h"
#include "task/select.h"
#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#define ELEM_MAX (64u << 10)
#define CAP_MAX (1u << 20)
#define CLOSED 1u    /* in tail */
#define TAIL_STEP 2u /* one position in tail */
#define CELL_HEAD 8  /* bytes in front of an item: its turn */
#define CACHE_LINE 64

struct rln_xchan {
	/* constant */
	struct inbox *in;
	size_t elem, stride;
	uint64_t cap, cells; /* cells: a power of two >= cap */
	uint8_t *cell;
	_Atomic(unsigned) refs;
	/* senders */
	_Alignas(CACHE_LINE) _Atomic(uint64_t) tail; /* position * TAIL_STEP | CLOSED */
	_Atomic(uint64_t) head; /* the next to be received; written by the worker only */
	_Atomic(bool) asleep;	/* a receiver wants a message */
	/* the worker */
	_Alignas(CACHE_LINE) struct inbox_msg msg;
	struct list waiters; /* slot: where the item goes; not empty: due */
	bool due;	     /* announced, or the message is under way */
};

static _Atomic(uint64_t) *turn_of(rln_xchan *x, uint64_t pos)
{
	return (_Atomic(uint64_t) *)(void *)(x->cell + (pos & (x->cells - 1)) * x->stride);
}

static void unref(rln_xchan *x)
{
	if (atomic_fetch_sub(&x->refs, 1) > 1)
		return;
	sys_free(x->cell);
	sys_free(x);
}

/* ---- receiving, on the worker */

static bool take(rln_xchan *x, void *out)
{
	uint64_t pos = atomic_load_explicit(&x->head, memory_order_relaxed);
	_Atomic(uint64_t) *turn = turn_of(x, pos);

	if (atomic_load(turn) != pos + 1)
		return false; /* not filled yet */
	memcpy(out, (uint8_t *)turn + CELL_HEAD, x->elem);
	atomic_store_explicit(turn, pos + x->cells, memory_order_release);
	atomic_store_explicit(&x->head, pos + 1, memory_order_release);
	return true;
}

/* Closed, and every send that succeeded has been received. */
static bool drained(rln_xchan *x)
{
	uint64_t tail = atomic_load(&x->tail);
	return tail & CLOSED && tail / TAIL_STEP == atomic_load(&x->head);
}

/* With a message under way there is no need: it serves whoever waits when it runs. */
static void announce(rln_xchan *x)
{
	if (x->due)
		return;
	x->due = true;
	x->in->due++;
	atomic_fetch_add(&x->refs, 1);
	atomic_store(&x->asleep, true);
}

static void no_more_due(rln_xchan *x)
{
	x->due = false;
	x->in->due--;
	unref(x);
}

/* Take the announcement down. A sender who was faster has a message on its way. */
static void withdraw(rln_xchan *x)
{
	if (x->due && atomic_exchange(&x->asleep, false))
		no_more_due(x);
}

/* Give waiting receivers what there is. Ends with nobody waiting, or announced and nothing there.
 */
static void serve(rln_xchan *x)
{
	while (!list_empty(&x->waiters)) {
		struct waiter *w = waiter_first(&x->waiters);
		if (take(x, w->slot)) {
			waiter_wake(w, 1);
		} else if (drained(x)) {
			wake_all(&x->waiters, 0);
		} else if (x->due) {
			return; /* announced, and looked at once more since */
		} else {
			announce(x);
		}
	}
	withdraw(x);
}

static void message_run(struct inbox_msg *m)
{
	rln_xchan *x = container_of(m, rln_xchan, msg);

	atomic_fetch_add(&x->refs, 1);
	no_more_due(x);
	serve(x);
	unref(x);
}

/* 1, 0 as the public call, or -EAGAIN: nothing there yet. */
static int try_recv(rln_xchan *x, void *out)
{
	if (take(x, out))
		return 1;
	return drained(x) ? 0 : -EAGAIN;
}

/* 1, 0, -ESHUTDOWN, or -EAGAIN: the caller waits, and the channel is announced or about to serve.
 */
static int recv_or_announce(rln_xchan *x, void *out)
{
	int e;

	if (!list_empty(&x->waiters))
		return -EAGAIN; /* they are first */
	e = try_recv(x, out);
	if (e != -EAGAIN)
		return e;
	if (x->in->closing)
		return -ESHUTDOWN;
	announce(x);
	e = try_recv(x, out);
	if (e != -EAGAIN)
		withdraw(x);
	return e;
}

static void leave(rln_xchan *x)
{
	if (list_empty(&x->waiters))
		withdraw(x);
}

int rln_xchan_recv(rln_xchan *x, void *v)
{
	int e = wait_enter("rln_xchan_recv");

	if (e)
		return e;
	if (x->in != &sched_current()->loop->inbox)
		return -EXDEV;
	e = recv_or_announce(x, v);
	if (e == -EAGAIN) {
		e = wait_with(&x->waiters, v, "rln_xchan_recv");
		leave(x);
		return e;
	}
	wait_done_quickly();
	return e;
}

static bool arm_take(struct arm *a)
{
	rln_xchan *x = a->on.p;

	if (x->in != &sched_current()->loop->inbox)
		a->res = -EXDEV;
	else if (!list_empty(&x->waiters))
		a->res = -EAGAIN;
	else
		a->res = try_recv(x, a->w.slot);
	return a->res != -EAGAIN;
}

static int arm_link(struct arm *a)
{
	rln_xchan *x = a->on.p;

	a->res = recv_or_announce(x, a->w.slot);
	if (a->res != -EAGAIN)
		return 1;
	list_push_back(&x->waiters, &a->w.node);
	return 0;
}

static void arm_unlink(struct arm *a)
{
	leave(a->on.p);
}

static const struct arm_kind arm_xrecv = { .take = arm_take,
					   .link = arm_link,
					   .unlink = arm_unlink };

rln_arm rln_on_xrecv(rln_xchan *x, void *out)
{
	return arm_make(&arm_xrecv, (struct arm){ .on.p = x, .w.slot = out });
}

/* ---- sending, on any thread */

static void wake_receiver(rln_xchan *x)
{
	if (atomic_load(&x->asleep) && atomic_exchange(&x->asleep, false))
		inbox_push(x->in, &x->msg);
}

/* A position of the ring that only this thread may fill. */
static int claim(rln_xchan *x, uint64_t *pos)
{
	uint64_t tail = atomic_load(&x->tail);

	for (;;) {
		if (tail & CLOSED)
			return -EPIPE;
		*pos = tail / TAIL_STEP;
		int64_t used =
			(int64_t)(*pos - atomic_load_explicit(&x->head, memory_order_acquire));
		/* below zero: the tail we read is an old one, which the exchange will notice */
		if (used >= (int64_t)x->cap)
			return -EAGAIN;
		if (atomic_compare_exchange_weak(&x->tail, &tail, tail + TAIL_STEP))
			return 0;
	}
}

int rln_xchan_try_send(rln_xchan *x, const void *v)
{
	uint64_t pos;
	int e = claim(x, &pos);

	if (e)
		return e;
	_Atomic(uint64_t) *turn = turn_of(x, pos);
	RLN_DEBUG_ASSERT(atomic_load(turn) == pos);
	memcpy((uint8_t *)turn + CELL_HEAD, v, x->elem);
	atomic_store(turn, pos + 1);
	wake_receiver(x);
	return 0;
}

void rln_xchan_close(rln_xchan *x)
{
	atomic_fetch_or(&x->tail, CLOSED);
	wake_receiver(x);
}

/* ---- life */

int xchan_new(struct inbox *in, size_t elem, size_t cap, rln_xchan **out)
{
	if (!elem || elem > ELEM_MAX || !cap || cap > CAP_MAX || !out)
		return -EINVAL;
	rln_xchan *x = sys_alloc_aligned(CACHE_LINE, sizeof *x);
	if (!x)
		return -ENOMEM;
	memset(x, 0, sizeof *x);
	x->in = in;
	x->elem = elem;
	x->stride = (CELL_HEAD + elem + CELL_HEAD - 1) & ~(size_t)(CELL_HEAD - 1);
	x->cap = cap;
	x->msg.run = message_run;
	list_init(&x->waiters);
	/* two at least: with one, "filled" and "free again" would be the same turn */
	for (x->cells = 2; x->cells < cap; x->cells *= 2)
		;
	x->cell = sys_alloc(x->cells * x->stride);
	if (!x->cell) {
		sys_free(x);
		return -ENOMEM;
	}
	for (uint64_t i = 0; i < x->cells; i++)
		atomic_init(turn_of(x, i), i);
	atomic_init(&x->refs, 1);
	*out = x;
	return 0;
}

rln_xchan *rln_xchan_ref(rln_xchan *x)
{
	atomic_fetch_add_explicit(&x->refs, 1, memory_order_relaxed);
	return x;
}

void rln_xchan_unref(rln_xchan *x)
{
	if (x)
		unref(x);
}
