/*
 * What other threads may ask of a worker: run a function from its loop, start a task there. Also
 * the timers of callbacks.
 */
#include "rt/runtime.h"

#include "base/assert.h"
#include "base/log.h"
#include "base/opts.h"
#include "base/sys.h"
#include "ringline/task.h"
#include "ringline/time.h"
#include <errno.h>
#include <string.h>

/*
 * Messages under way to all workers of a runtime, but for posts: of those each worker has at most
 * CELLS_MAX. Beyond it the sender is told to slow down.
 */
#define POSTS_MAX 65536

int worker_find(rln_runtime *rt, unsigned index, struct worker **out)
{
	if (!rt) {
		struct worker *w = worker_current();
		if (!w)
			return -EPERM;
		rt = w->shared->rt;
	}
	if (index >= rt->shared.count)
		return -EINVAL;
	if (!worker_is_here(&rt->workers[index]))
		return -EPERM;
	*out = &rt->workers[index];
	return 0;
}

static int count_refusal(struct worker *w, int e)
{
	if (e)
		atomic_fetch_add_explicit(&w->shared->posts_refused, 1, memory_order_relaxed);
	return e;
}

int worker_send(struct worker *w, struct inbox_msg *m)
{
	struct worker_shared *s = w->shared;
	int e = -EAGAIN;

	if (atomic_fetch_add_explicit(&s->posts, 1, memory_order_relaxed) < POSTS_MAX)
		e = inbox_push(&w->loop.inbox, m);
	if (e)
		atomic_fetch_sub_explicit(&s->posts, 1, memory_order_relaxed);
	return count_refusal(w, e);
}

void worker_message_done(void)
{
	atomic_fetch_sub_explicit(&worker_current()->shared->posts, 1, memory_order_relaxed);
}

/* ---- rln_post: in a cell; allocating here and freeing there would cost more than all the rest */
struct post {
	struct inbox_msg msg;
	void (*fn)(void *arg);
	void *arg;
};
_Static_assert(sizeof(struct post) <= CELL_BYTES, "a post fits in a cell");

static void run_post(struct inbox_msg *m)
{
	struct post p = *container_of(m, struct post, msg);

	cells_give(container_of(m, struct post, msg));
	p.fn(p.arg);
}

/* Until it leaves the cells, w is there: see worker_close(). */
static int post_in_cell(struct worker *w, void (*fn)(void *arg), void *arg)
{
	int e = 0;
	struct post *p = cells_take(&w->posts, &e);

	if (p) {
		*p = (struct post){ .msg.run = run_post, .fn = fn, .arg = arg };
		e = inbox_push_known(&w->loop.inbox, &p->msg);
		if (e)
			cells_return(&w->posts, p);
	}
	cells_leave(&w->posts);
	return e;
}

int rln_post(rln_runtime *rt, unsigned worker, void (*fn)(void *arg), void *arg)
{
	struct worker *w;
	int e = worker_find(rt, worker, &w);

	if (e || !fn)
		return e ? e : -EINVAL;
	/* asked first, as a cell that is refused comes back only at the end */
	e = inbox_refuses(&w->loop.inbox) ? -ESHUTDOWN : post_in_cell(w, fn, arg);
	return RLN_UNLIKELY(e) ? count_refusal(w, e) : 0;
}

/* ---- rln_go_on */
struct go {
	struct inbox_msg msg;
	int (*fn)(void *arg);
	void *arg;
	rln_task_opts opts; /* copy points behind this struct */
	const char *file;
	int line;
};

static void run_go(struct inbox_msg *m)
{
	struct go *g = container_of(m, struct go, msg);

	worker_message_done();
	int e = rln_go_at(g->fn, g->arg, &g->opts, sizeof g->opts, g->file, g->line);
	if (e)
		log_line(RLN_LOG_ERROR, "the task rln_go_on asked for (%s:%d) could not start: %s",
			 g->file, g->line, rln_strerror(e));
	sys_free(g);
}

int rln_go_on_at(rln_runtime *rt, unsigned worker, int (*fn)(void *arg), void *arg,
		 const rln_task_opts *o, size_t opts_size, const char *file, int line)
{
	struct worker *w;
	rln_task_opts opts;
	int e = worker_find(rt, worker, &w);

	if (!e)
		e = opts_copy(&opts, sizeof opts, o, opts_size);
	if (e || !fn || (opts.copy_size && !opts.copy) || opts.copy_size > 1 << 20)
		return e ? e : -EINVAL;
	struct go *g = sys_zalloc(sizeof *g + opts.copy_size);
	if (!g)
		return -ENOMEM;
	*g = (struct go){ .msg.run = run_go, .fn = fn, .arg = arg, .opts = opts };
	g->file = file;
	g->line = line;
	if (opts.copy_size) {
		memcpy(g + 1, opts.copy, opts.copy_size);
		g->opts.copy = g + 1;
	}
	e = worker_send(w, &g->msg);
	if (e)
		sys_free(g);
	return e;
}

/* ---- timers of callbacks */
struct user_timer {
	struct timer timer;
	struct list node;      /* worker.user_timers while it runs */
	struct worker *worker; /* while it runs; NULL: stopped, also when all-zero */
	void (*fn)(rln_timer *t, void *ud);
	void *ud;
};
_Static_assert(sizeof(struct user_timer) <= sizeof(rln_timer), "rln_timer is too small");

static void user_timer_fire(struct timer *t)
{
	struct user_timer *u = container_of(t, struct user_timer, timer);

	list_remove(&u->node);
	u->worker = NULL;
	u->fn((rln_timer *)u, u->ud);
}

void rln_timer_start(rln_timer *t, rln_ns dur, void (*fn)(rln_timer *t, void *ud), void *ud)
{
	struct user_timer *u = (struct user_timer *)t;
	struct worker *w = worker_current();

	RLN_ASSERTF(w && fn, "%s",
		    w ? "rln_timer_start without a function"
		      : "rln_timer_start from a thread that is not a worker");
	RLN_ASSERTF(!u->worker || u->worker == w, "the timer runs on worker %u", u->worker->index);
	if (!u->worker) {
		timer_init(&u->timer, user_timer_fire);
		list_init(&u->node);
		list_push_back(&w->user_timers, &u->node);
	}
	u->worker = w;
	u->fn = fn;
	u->ud = ud;
	timer_start(&w->loop.wheel, &u->timer, dur);
}

void rln_timer_stop(rln_timer *t)
{
	struct user_timer *u = (struct user_timer *)t;

	if (!u->worker)
		return;
	RLN_ASSERTF(u->worker == worker_current(), "the timer runs on worker %u", u->worker->index);
	timer_cancel(&u->worker->loop.wheel, &u->timer);
	list_remove(&u->node);
	u->worker = NULL;
}

void worker_stop_timers(struct worker *w)
{
	struct list *n;

	while ((n = list_pop_front(&w->user_timers))) {
		struct user_timer *u = container_of(n, struct user_timer, node);
		timer_cancel(&w->loop.wheel, &u->timer);
		u->worker = NULL;
	}
}
