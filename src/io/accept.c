/*
 * Listeners made while a worker runs, and taking their clients by hand. A client nobody has taken
 * is an open connection in its listener's queue; there are few of these, the backlog waits with the
 * kernel.
 */
#include "io/listen.h"

#include "base/assert.h"
#include "base/mark.h"
#include "task/select.h"
#include <errno.h>

int listener_register(struct listener *l)
{
	struct io *io = l->io;

	for (unsigned i = 0; i < IO_LISTENERS; i++) {
		if (io->by_handle[i].l)
			continue;
		io->by_handle[i].l = l;
		if (++io->by_handle[i].generation == 0)
			io->by_handle[i].generation = 1;
		l->handle = (uint64_t)io->cfg.worker << 56 | (uint64_t)i << 32 |
			    io->by_handle[i].generation;
		return 0;
	}
	return -EMFILE;
}

int listener_lookup(rln_listener h, struct listener **out, const char *call)
{
	struct io *io = io_current();
	unsigned slot = h.h >> 32 & 0xffffff;

	if (!io)
		return conn_off_worker(call);
	if (h.h && h.h >> 56 != io->cfg.worker)
		return -EXDEV;
	if (slot < IO_LISTENERS && io->by_handle[slot].l && io->by_handle[slot].l->handle == h.h) {
		*out = io->by_handle[slot].l;
		return io->draining && (*out)->closing ? -ESHUTDOWN : 0;
	}
	return io->draining ? -ESHUTDOWN : -EBADF;
}

static void forget_handle(struct listener *l)
{
	if (l->handle)
		l->io->by_handle[l->handle >> 32 & 0xffffff].l = NULL;
	l->handle = 0;
}

void listener_unused(struct listener *l)
{
	if (!l->ops_done || l->conns || l->reopens || !l->free)
		return;
	forget_handle(l);
	l->free(l);
}

/* ---- the queue */

void listener_queue(struct listener *l, struct conn *c)
{
	struct waiter *w = waiter_first(&l->waiters);

	if (l->closing) {
		RLN_MARK("accept-for-a-listener-that-closes");
		conn_close(c, -ECONNABORTED);
	} else if (w) {
		listener_unqueue(c);
		*(rln_conn *)w->slot = conn_handle(c);
		waiter_wake(w, 0);
	} else {
		list_push_back(&l->untaken, &c->starve);
	}
}

void listener_unqueue(struct conn *c)
{
	if (!c->untaken)
		return;
	c->untaken = false;
	c->mode->listener->untaken_count--;
	list_remove(&c->starve);
}

void listener_queue_close(struct listener *l)
{
	struct list *n;

	while ((n = list_first(&l->untaken)))
		conn_close(container_of(n, struct conn, starve), -ECONNABORTED);
	wake_all(&l->waiters, l->io->draining ? -ESHUTDOWN : -ECONNABORTED);
}

/* 0 with a client, or -EAGAIN. */
static int take(struct listener *l, rln_conn *out)
{
	struct list *n = list_first(&l->untaken);

	if (!n)
		return -EAGAIN;
	struct conn *c = container_of(n, struct conn, starve);
	listener_unqueue(c);
	*out = conn_handle(c);
	listen_step(l);
	return 0;
}

/* ---- public */

static int lookup(rln_listener h, const rln_conn *out, struct listener **l, const char *call)
{
	int e = listener_lookup(h, l, call);

	if (e)
		return e;
	return (*l)->queues && out ? 0 : -EINVAL;
}

int rln_accept(rln_listener h, rln_conn *out)
{
	struct listener *l;
	int e = wait_enter("rln_accept");

	if (!e)
		e = lookup(h, out, &l, "rln_accept");
	if (e)
		return e;
	if (take(l, out) == -EAGAIN)
		return wait_with(&l->waiters, out, "rln_accept");
	wait_done_quickly();
	return 0;
}

int rln_listener_close(rln_listener h)
{
	struct listener *l;
	int e = listener_lookup(h, &l, "rln_listener_close");

	if (e)
		return e;
	forget_handle(l);
	listen_close(l);
	return 0;
}

static bool accept_take(struct arm *a)
{
	struct listener *l;

	a->res = lookup((rln_listener){ a->on.h }, a->w.slot, &l, "rln_select");
	if (!a->res)
		a->res = take(l, a->w.slot);
	return a->res != -EAGAIN;
}

static int accept_link(struct arm *a)
{
	struct listener *l;
	int e = listener_lookup((rln_listener){ a->on.h }, &l, "rln_select");

	RLN_ASSERT(!e); /* nothing has run since it was asked */
	list_push_back(&l->waiters, &a->w.node);
	return 0;
}

static const struct arm_kind arm_accept = { .take = accept_take, .link = accept_link };

rln_arm rln_on_accept(rln_listener l, rln_conn *out)
{
	return arm_make(&arm_accept, (struct arm){ .on.h = l.h, .w.slot = out });
}
