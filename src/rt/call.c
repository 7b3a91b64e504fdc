/*
 * What threads of the program's own ask of a worker by name: a channel to it, and a function to be
 * run there as a task while they wait.
 */
#include "rt/runtime.h"

#include "base/assert.h"
#include "base/sys.h"
#include "ringline/thread.h"
#include "task/xchan.h"
#include <errno.h>

int rln_xchan_new(rln_runtime *rt, unsigned worker, size_t elem, size_t cap, rln_xchan **out)
{
	struct worker *w;
	int e = worker_find(rt, worker, &w);

	return e ? e : xchan_new(&w->loop.inbox, elem, cap, out);
}

/* On the stack of the thread that waits: it goes on as soon as `done` is set. */
struct call {
	struct inbox_msg msg;
	int (*fn)(void *arg);
	void *arg;
	int err, result;
	_Atomic(uint32_t) done;
};

static void call_done(struct call *c, int err, int result)
{
	c->err = err;
	c->result = result;
	atomic_store(&c->done, 1);
	sys_word_wake(&c->done);
}

/* Also for a task that was cancelled before it began. */
static void call_ended(struct task *t)
{
	call_done(t->ended_ctx, 0, t->result);
}

static void call_run(struct inbox_msg *m)
{
	struct call *c = container_of(m, struct call, msg);
	struct task_spec spec = {
		.fn = c->fn, .arg = c->arg, .name = "rln_call", .file = "rln_call"
	};
	struct task *t;

	worker_message_done();
	int e = task_create(sched_current(), &spec, &t);
	if (e) {
		call_done(c, e, 0);
		return;
	}
	t->ended = call_ended;
	t->ended_ctx = c;
}

int rln_call(rln_runtime *rt, unsigned worker, int (*fn)(void *arg), void *arg, int *result)
{
	struct call c = { .msg.run = call_run, .fn = fn, .arg = arg };
	struct worker *w;

	if (worker_current())
		return -EDEADLK;
	if (!fn || !rt)
		return -EINVAL;
	int e = worker_find(rt, worker, &w);
	if (!e && rt->mine && runtime_is_mine(rt))
		e = -EDEADLK; /* nobody would run it */
	if (!e)
		e = worker_send(w, &c.msg);
	if (e)
		return e;
	while (!atomic_load(&c.done)) {
		e = sys_word_wait(&c.done, 0);
		RLN_ASSERTF(!e, "futex wait: %d", e);
	}
	if (!c.err && result)
		*result = c.result;
	return c.err;
}
