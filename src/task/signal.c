/*
 * Waiting for signals. The handler (base/sys_watch.c) sends the worker a message, one at a time, as
 * rln_notify does; what it finds on the worker is the waiters, or a note for the next one.
 *
 * A handler and not a signalfd: that would need the signal to be blocked in every thread of the
 * process, which a library cannot arrange for threads it does not know.
 */
#include "base/assert.h"
#include "base/sys.h"
#include "ringline/signal.h"
#include "task/internal.h"
#include "task/select.h"
#include <errno.h>
#include <stdatomic.h>

enum { IDLE, SENT };

/* A signal that this worker listens for. */
struct signal_watch {
	struct inbox_msg msg;
	struct inbox *in;
	struct list node;    /* sched.signals */
	struct list waiters; /* woken all together */
	int signo, id;
	_Atomic(uint32_t) state;
	bool pending;
};

/* In a signal handler, on any thread. */
static void caught(void *arg)
{
	struct signal_watch *w = arg;

	if (atomic_exchange(&w->state, SENT) == IDLE)
		inbox_push(w->in, &w->msg);
}

static void caught_run(struct inbox_msg *m)
{
	struct signal_watch *w = container_of(m, struct signal_watch, msg);

	atomic_store(&w->state, IDLE);
	if (!wake_all(&w->waiters, 0))
		w->pending = true;
}

static int listen_for(struct sched *s, int signo, struct signal_watch **out)
{
	list_for_each (n, &s->signals) {
		*out = container_of(n, struct signal_watch, node);
		if ((*out)->signo == signo)
			return 0;
	}
	if (s->loop->inbox.closing)
		return -ESHUTDOWN;
	struct signal_watch *w = sys_zalloc(sizeof *w);
	if (!w)
		return -ENOMEM;
	*w = (struct signal_watch){ .msg.run = caught_run, .in = &s->loop->inbox, .signo = signo };
	list_init(&w->node);
	list_init(&w->waiters);
	w->id = sys_signal_watch(signo, caught, w);
	if (w->id < 0) {
		int e = w->id;
		sys_free(w);
		return e;
	}
	list_push_back(&s->signals, &w->node);
	*out = w;
	return 0;
}

void sched_signals_end(struct sched *s)
{
	struct list *n;

	while ((n = list_pop_front(&s->signals))) {
		struct signal_watch *w = container_of(n, struct signal_watch, node);
		RLN_ASSERT(list_empty(&w->waiters));
		/* The inbox is closed: what the handler still sends it is refused. */
		sys_signal_unwatch(w->id);
		sys_free(w);
	}
}

int rln_signal_wait(int signo)
{
	struct signal_watch *w;
	int e = wait_enter("rln_signal_wait");

	if (!e)
		e = listen_for(sched_current(), signo, &w);
	if (e)
		return e;
	if (!w->pending)
		return wait_on(&w->waiters, "rln_signal_wait");
	w->pending = false;
	wait_done_quickly();
	return 0;
}

static bool arm_take(struct arm *a)
{
	struct signal_watch *w;

	a->res = listen_for(sched_current(), (int)a->on.ns, &w);
	if (a->res || !w->pending)
		return a->res != 0;
	w->pending = false;
	return true;
}

static int arm_link(struct arm *a)
{
	struct signal_watch *w;
	int e = listen_for(sched_current(), (int)a->on.ns, &w);

	if (!e)
		list_push_back(&w->waiters, &a->w.node);
	return e;
}

static const struct arm_kind arm_signal = { .take = arm_take, .link = arm_link };

rln_arm rln_on_signal(int signo)
{
	return arm_make(&arm_signal, (struct arm){ .on.ns = signo });
}
