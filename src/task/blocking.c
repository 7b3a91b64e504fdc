/*
 * Calls that block a thread, on helper threads. The helper's last touch of a call is the push of
 * its message; while it may still come, the worker's inbox stays open (inbox.due).
 */
#include "task/blocking.h"
#include "base/assert.h"
#include "ringline/thread.h"
#include <errno.h>
#include <stdatomic.h>

enum { WAITED, ENDED, LEFT };

static void message_run(struct inbox_msg *m)
{
	struct blocking *b = container_of(m, struct blocking, msg);

	b->in->due--;
	b->arrived = true;
	wake_all(&b->waiter, 0);
}

static void job_run(struct sys_job *job)
{
	struct blocking *b = container_of(job, struct blocking, job);

	b->result = b->run(b);
	if (b->fini)
		b->fini(b);
	if (atomic_exchange(&b->state, ENDED) == LEFT)
		sys_free(b);
	else
		inbox_push(b->in, &b->msg);
}

static int submit(struct blocking *b)
{
	struct sched *s = sched_current();
	int e;

	b->in = &s->loop->inbox;
	if (b->in->closing)
		return -ESHUTDOWN;
	b->job.run = job_run;
	b->msg.run = message_run;
	b->arrived = false;
	list_init(&b->waiter);
	atomic_init(&b->state, WAITED);
	if (!b->pool)
		b->pool = s->pool;
	e = b->pool ? sys_pool_submit(b->pool, &b->job) : -EAGAIN;
	b->in->due += !e;
	return e;
}

static int await_message(struct blocking *b, const char *call)
{
	while (!b->arrived)
		wait_uncancellable(&b->waiter, call);
	return b->result;
}

int blocking_run(struct blocking *b, const char *call)
{
	int e = submit(b);

	if (e)
		return e;
	e = wait_try(&b->waiter, call);
	if (e && !b->arrived && sys_pool_withdraw(b->pool, &b->job)) {
		b->in->due--;
		return wait_failed(e);
	}
	return await_message(b, call);
}

int blocking_run_owned(struct blocking *b, const char *call, bool *left)
{
	int e = submit(b);

	*left = false;
	if (e)
		return e;
	e = wait_try(&b->waiter, call);
	if (e && !b->arrived) {
		struct inbox *in = b->in;
		if (atomic_exchange(&b->state, LEFT) == WAITED) {
			in->due--;
			*left = true;
			return wait_failed(e);
		}
	}
	return await_message(b, call);
}

/* ---- public */
struct call {
	struct blocking b;
	int (*fn)(void *arg);
	void *arg;
	void (*free_arg)(void *arg);
};

static int call_fn(struct blocking *b)
{
	struct call *c = container_of(b, struct call, b);
	return c->fn(c->arg);
}

static void call_free(struct blocking *b)
{
	struct call *c = container_of(b, struct call, b);
	c->free_arg(c->arg);
}

int rln_blocking(int (*fn)(void *arg), void *arg)
{
	struct call c = { .b.run = call_fn, .fn = fn, .arg = arg };
	int e = wait_enter("rln_blocking");

	if (e || !fn)
		return e ? e : -EINVAL;
	return blocking_run(&c.b, "rln_blocking");
}

int rln_blocking_owned(int (*fn)(void *arg), void *arg, void (*free_arg)(void *arg))
{
	int e = wait_enter("rln_blocking_owned");
	bool left;

	if (e || !fn)
		return e ? e : -EINVAL;
	struct call *c = sys_zalloc(sizeof *c);
	if (!c)
		return -ENOMEM;
	*c = (struct call){ .b.run = call_fn, .fn = fn, .arg = arg, .free_arg = free_arg };
	c->b.fini = free_arg ? call_free : NULL;
	e = blocking_run_owned(&c->b, "rln_blocking_owned", &left);
	if (!left)
		sys_free(c);
	return e;
}
