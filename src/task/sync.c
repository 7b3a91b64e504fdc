/*
 * What tasks of one worker use to wait for each other: event, semaphore, mutex, condition. Tasks of
 * a worker never run at the same time, so none of it is atomic; what is handed over belongs to the
 * first in the queue before that has run. All-zero is a valid one of each.
 */
#include "ringline/sync.h"

#include "base/assert.h"
#include "task/internal.h"
#include "task/select.h"
#include <errno.h>
#include <limits.h>

struct event {
	struct list waiters;
	bool set;
};
struct sem {
	struct list waiters;
	unsigned permits; /* 0 while somebody waits */
};
struct mutex {
	struct list waiters;
	struct task *owner;
};
struct cond {
	struct list waiters;
};
_Static_assert(sizeof(struct event) <= sizeof(rln_event), "struct event does not fit rln_event");
_Static_assert(sizeof(struct sem) <= sizeof(rln_sem), "struct sem does not fit rln_sem");
_Static_assert(sizeof(struct mutex) <= sizeof(rln_mutex), "struct mutex does not fit rln_mutex");
_Static_assert(sizeof(struct cond) <= sizeof(rln_cond), "struct cond does not fit rln_cond");

/* The queue of a struct that may still be all-zero. */
static struct list *queue(struct list *q)
{
	if (!q->next)
		list_init(q);
	return q;
}

/* For calls that return nothing: they would race with the worker. */
static void on_worker(const char *call)
{
	if (RLN_UNLIKELY(!sched_current()))
		task_misuse("%s called from a thread that is no worker", call);
}

/* ---- event */

void rln_event_set(rln_event *user)
{
	struct event *e = (struct event *)user;

	on_worker("rln_event_set");
	e->set = true;
	wake_all(queue(&e->waiters), 0);
}

int rln_event_wait(rln_event *user)
{
	struct event *e = (struct event *)user;
	int err = wait_enter("rln_event_wait");

	if (err)
		return err;
	if (!e->set)
		return wait_on(queue(&e->waiters), "rln_event_wait");
	wait_done_quickly();
	return 0;
}

static bool event_take(struct arm *a)
{
	a->res = 0;
	return ((struct event *)a->on.p)->set;
}

/* Every struct here begins with its queue. */
static int link_first(struct arm *a)
{
	list_push_back(queue(a->on.p), &a->w.node);
	return 0;
}

static const struct arm_kind arm_event = { .take = event_take, .link = link_first };

rln_arm rln_on_event(rln_event *e)
{
	return arm_make(&arm_event, (struct arm){ .on.p = e });
}

/* ---- semaphore */

void rln_sem_post(rln_sem *user, unsigned n)
{
	struct sem *s = (struct sem *)user;

	on_worker("rln_sem_post");
	for (struct waiter *w; n && (w = waiter_first(queue(&s->waiters))); n--)
		waiter_wake(w, 0);
	if (n > UINT_MAX - s->permits)
		task_misuse("rln_sem_post: %u permits and %u more are too many", s->permits, n);
	s->permits += n;
}

static bool sem_try(struct sem *s)
{
	if (!s->permits)
		return false;
	s->permits--;
	return true;
}

int rln_sem_take(rln_sem *user)
{
	struct sem *s = (struct sem *)user;
	int err = wait_enter("rln_sem_take");

	if (err)
		return err;
	if (!sem_try(s))
		return wait_on(queue(&s->waiters), "rln_sem_take");
	wait_done_quickly();
	return 0;
}

static bool sem_take(struct arm *a)
{
	a->res = 0;
	return sem_try(a->on.p);
}

static const struct arm_kind arm_sem = { .take = sem_take, .link = link_first };

rln_arm rln_on_sem(rln_sem *s)
{
	return arm_make(&arm_sem, (struct arm){ .on.p = s });
}

/* ---- mutex */

int rln_lock(rln_mutex *user)
{
	struct mutex *m = (struct mutex *)user;
	struct task *t;
	int err = wait_enter_task("rln_lock", &t);

	if (err)
		return err;
	if (m->owner == t)
		return -EDEADLK;
	if (m->owner)
		return wait_on(queue(&m->waiters), "rln_lock"); /* whoever unlocks makes us owner */
	m->owner = t;
	wait_done_quickly();
	return 0;
}

/* INV-91 */
static void hand_over(struct mutex *m)
{
	struct waiter *w = waiter_first(queue(&m->waiters));

	m->owner = w ? w->task : NULL;
	if (w)
		waiter_wake(w, 0);
}

/* Only its owner may. */
static struct mutex *held(rln_mutex *user, const char *call)
{
	struct mutex *m = (struct mutex *)user;

	on_worker(call);
	if (RLN_UNLIKELY(!m->owner))
		task_misuse("%s called for a mutex that is not locked", call);
	if (RLN_UNLIKELY(m->owner != task_running()))
		task_misuse("%s called for a mutex that task " TASK_LABEL " holds", call,
			    TASK_LABEL_ARGS(m->owner));
	return m;
}

void rln_unlock(rln_mutex *m)
{
	hand_over(held(m, "rln_unlock"));
}

/* ---- condition */

int rln_cond_wait(rln_cond *user, rln_mutex *user_mutex)
{
	struct cond *c = (struct cond *)user;
	struct task *t;
	int err = wait_enter_task("rln_cond_wait", &t);
	struct mutex *m;

	if (err)
		return err;
	m = held(user_mutex, "rln_cond_wait");
	hand_over(m);
	err = wait_on(queue(&c->waiters), "rln_cond_wait");
	if (m->owner)
		wait_uncancellable(&m->waiters, "rln_cond_wait");
	else
		m->owner = t;
	return err;
}

void rln_cond_signal(rln_cond *user)
{
	struct cond *c = (struct cond *)user;
	struct waiter *w;

	on_worker("rln_cond_signal");
	w = waiter_first(queue(&c->waiters));
	if (w)
		waiter_wake(w, 0);
}

void rln_cond_broadcast(rln_cond *user)
{
	struct cond *c = (struct cond *)user;

	on_worker("rln_cond_broadcast");
	wake_all(queue(&c->waiters), 0);
}
