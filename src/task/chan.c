/*
 * Channels between the tasks of one worker: a ring of items, and two queues of tasks. At most one
 * of these holds somebody who could go on: senders wait only while the ring is full, receivers only
 * while it is empty. Whoever makes room or brings an item hands it to the first in the queue and
 * wakes it with that done, so nobody can get in between, and a cancellation that comes later finds
 * a call that has succeeded.
 */
#include "base/assert.h"
#include "base/sys.h"
#include "ringline/sync.h"
#include "task/internal.h"
#include "task/select.h"
#include <errno.h>
#include <string.h>

struct chan {
	struct sched *sched; /* NULL: not open */
	uint8_t *item;	     /* cap of them */
	size_t elem, cap, head, count;
	struct list senders, receivers;
	bool closed;
};
_Static_assert(sizeof(struct chan) <= sizeof(rln_chan), "struct chan does not fit rln_chan");

static struct chan *chan_of(rln_chan *ch)
{
	return (struct chan *)ch;
}

/* v: where an item goes or comes from. */
static int enter(rln_chan *user, const void *v, struct chan **out)
{
	struct chan *ch = chan_of(user);

	if (!ch || !ch->sched || (!v && ch->elem))
		return -EINVAL;
	if (ch->sched != sched_current())
		return sched_current() ? -EXDEV : -EPERM;
	*out = ch;
	return 0;
}

static void copy(const struct chan *ch, void *to, const void *from)
{
	if (ch->elem)
		memcpy(to, from, ch->elem);
}

static void *item_at(const struct chan *ch, size_t i)
{
	size_t at = ch->head + i;
	return ch->item + (at < ch->cap ? at : at - ch->cap) * ch->elem;
}

/* INV-90. 0, -EPIPE or -EAGAIN. */
static int put(struct chan *ch, const void *v)
{
	struct waiter *w;

	if (ch->closed)
		return -EPIPE;
	w = waiter_first(&ch->receivers);
	if (w) {
		copy(ch, w->slot, v);
		waiter_wake(w, 1);
		return 0;
	}
	if (ch->count == ch->cap)
		return -EAGAIN;
	copy(ch, item_at(ch, ch->count++), v);
	return 0;
}

/* 1, 0 or -EAGAIN. */
static int get(struct chan *ch, void *v)
{
	struct waiter *w = waiter_first(&ch->senders);

	if (ch->count) {
		copy(ch, v, item_at(ch, 0));
		ch->head = ch->head + 1 < ch->cap ? ch->head + 1 : 0;
		ch->count--;
		if (w)
			copy(ch, item_at(ch, ch->count++), w->slot);
	} else if (w) {
		copy(ch, v, w->slot);
	} else {
		return ch->closed ? 0 : -EAGAIN;
	}
	if (w)
		waiter_wake(w, 0);
	return 1;
}

/* ---- public */

int rln_chan_open(rln_chan *user, size_t elem, size_t cap)
{
	struct sched *s = sched_current();
	struct chan *ch = chan_of(user);
	size_t bytes;

	if (!s)
		return wait_enter("rln_chan_open");
	if (!ch || __builtin_mul_overflow(elem, cap, &bytes) || bytes > PTRDIFF_MAX)
		return -EINVAL;
	*ch = (struct chan){ .elem = elem, .cap = cap };
	list_init(&ch->senders);
	list_init(&ch->receivers);
	if (bytes) {
		ch->item = sys_alloc(bytes);
		if (!ch->item)
			return -ENOMEM;
	}
	ch->sched = s;
	return 0;
}

int rln_chan_send(rln_chan *user, const void *v)
{
	struct chan *ch;
	struct task *t;
	int err = wait_enter_task("rln_chan_send", &t);

	if (!err)
		err = enter(user, v, &ch);
	if (err)
		return err;
	err = put(ch, v);
	if (err == -EAGAIN) /* the receiver only reads there */
		return wait_with(&ch->senders, (void *)(uintptr_t)v, "rln_chan_send");
	wait_done_quickly();
	return err;
}

int rln_chan_recv(rln_chan *user, void *v)
{
	struct chan *ch;
	struct task *t;
	int err = wait_enter_task("rln_chan_recv", &t);

	if (!err)
		err = enter(user, v, &ch);
	if (err)
		return err;
	err = get(ch, v);
	if (err == -EAGAIN)
		return wait_with(&ch->receivers, v, "rln_chan_recv");
	wait_done_quickly();
	return err;
}

int rln_chan_try_send(rln_chan *user, const void *v)
{
	struct chan *ch;
	int err = enter(user, v, &ch);
	return err ? err : put(ch, v);
}

int rln_chan_try_recv(rln_chan *user, void *v)
{
	struct chan *ch;
	int err = enter(user, v, &ch);
	return err ? err : get(ch, v);
}

static struct chan *owned(rln_chan *user, const char *call)
{
	struct chan *ch = chan_of(user);

	if (ch->sched && ch->sched != sched_current())
		task_misuse("%s called on another thread than the channel's worker", call);
	return ch;
}

void rln_chan_close(rln_chan *user)
{
	struct chan *ch = owned(user, "rln_chan_close");

	if (!ch->sched || ch->closed)
		return;
	ch->closed = true;
	wake_all(&ch->senders, -EPIPE);
	wake_all(&ch->receivers, 0);
}

void rln_chan_free(rln_chan *user, void (*drop)(void *item))
{
	struct chan *ch = owned(user, "rln_chan_free");

	if (!ch->sched)
		return;
	if (!list_empty(&ch->senders) || !list_empty(&ch->receivers)) {
		struct list *q = list_empty(&ch->senders) ? &ch->receivers : &ch->senders;
		const struct task *t = waiter_first(q)->task;
		task_misuse("rln_chan_free called while task " TASK_LABEL " waits in %s",
			    TASK_LABEL_ARGS(t), t->waits_for);
	}
	ch->closed = true;
	for (size_t i = 0; drop && i < ch->count; i++)
		drop(item_at(ch, i));
	sys_free(ch->item);
	*ch = (struct chan){ 0 };
}

/* ---- select */

static bool recv_take(struct arm *a)
{
	struct chan *ch;

	a->res = enter(a->on.p, a->w.slot, &ch);
	if (!a->res)
		a->res = get(ch, a->w.slot);
	return a->res != -EAGAIN;
}

static int recv_link(struct arm *a)
{
	list_push_back(&chan_of(a->on.p)->receivers, &a->w.node);
	return 0;
}

static bool send_take(struct arm *a)
{
	struct chan *ch;

	a->res = enter(a->on.p, a->w.slot, &ch);
	if (!a->res)
		a->res = put(ch, a->w.slot);
	return a->res != -EAGAIN;
}

static int send_link(struct arm *a)
{
	list_push_back(&chan_of(a->on.p)->senders, &a->w.node);
	return 0;
}

static const struct arm_kind arm_recv = { .take = recv_take, .link = recv_link };
static const struct arm_kind arm_send = { .take = send_take, .link = send_link };

rln_arm rln_on_recv(rln_chan *ch, void *out)
{
	return arm_make(&arm_recv, (struct arm){ .on.p = ch, .w.slot = out });
}

rln_arm rln_on_send(rln_chan *ch, const void *v)
{
	return arm_make(&arm_send, (struct arm){ .on.p = ch, .w.slot = (void *)(uintptr_t)v });
}
