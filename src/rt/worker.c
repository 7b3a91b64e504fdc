/*
 * A worker from preparation to its last turn, and the drain.
 */
#include "rt/worker.h"

#include "base/assert.h"
#include "base/log.h"
#include "base/mark.h"
#include "base/sys.h"
#include "io/renew.h"
#include "ringline/metrics.h"
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* Borrowed bytes of one send call that are copied; more go out in place (API: 16 KiB). */
#define SEND_CHUNK 16384

struct ctx *worker_enter(struct worker *w)
{
	struct ctx *before = ctx_current_;

	ctx_current_ = w->ctx;
	log_use(&w->shared->cfg->log);
	return before;
}

void worker_leave(struct ctx *before)
{
	ctx_current_ = before;
	log_use(before && before->worker ? &before->worker->shared->cfg->log : NULL);
}

/* ---- hooks of the turn */
static void hook_run(void *w)
{
	sched_run(&((struct worker *)w)->sched);
}

static void hook_flush(void *w)
{
	io_flush(&((struct worker *)w)->io);
}

static void hook_publish(void *w)
{
	io_publish(&((struct worker *)w)->io);
}

static bool drained(struct worker *w);

/* Would drain_step() move now? Then its look must not wait for an event. */
static bool drain_moves(struct worker *w)
{
	switch ((enum worker_state)w->phase) {
	case WORKER_DRAINING:
		return w->drain_due || drained(w);
	case WORKER_CANCELLING:
		return w->kill_due || (!w->sched.stats.tasks && !w->io.stats.conns_owned &&
				       list_empty(&w->io.listeners) && !w->inbox_closed &&
				       !w->loop.inbox.due && !atomic_load(&w->gifts));
	default:
		return false;
	}
}

static bool hook_busy(void *p)
{
	struct worker *w = p;

	if (sched_busy(&w->sched) || io_busy(&w->io) || w->look_again || drain_moves(w))
		return true;
	return w->phase == WORKER_RUNNING &&
	       atomic_load_explicit(&w->shared->shutdown, memory_order_acquire);
}

static int ring_of(void *p, unsigned index)
{
	struct worker *w = p;

	if (index >= w->shared->count)
		return -EINVAL;
	struct worker *to = &w->shared->workers[index];
	return atomic_load(&to->gone) ? -ESHUTDOWN : to->loop.ring.u.ring_fd;
}

/*
 * The count goes up before the look at gone, which goes up before the look at the count: one of the
 * two sees the other.
 */
static int give_begin(void *p, unsigned index)
{
	struct worker *w = p, *to = &w->shared->workers[index];

	atomic_fetch_add(&to->gifts, 1);
	if (!atomic_load(&to->gone))
		return to->loop.ring.u.ring_fd;
	if (atomic_fetch_sub(&to->gifts, 1) == 1)
		inbox_wake(&to->loop.inbox);
	return -ESHUTDOWN;
}

/* On the worker that was given to, or, when it did not arrive, on the giver: then it must be told.
 */
static void give_end(void *p, unsigned index)
{
	struct worker *w = p, *to = &w->shared->workers[index];

	if (atomic_fetch_sub(&to->gifts, 1) == 1 && to != w)
		inbox_wake(&to->loop.inbox);
}

/* ---- life */
static int open_io(struct worker *w, struct diag *why)
{
	const struct config *c = w->shared->cfg;
	struct io_config io = {
		.worker = w->index,
		.auto_slots = c->auto_slots,
		.explicit_slots = c->set.file_slots,
		.recv_bufs = c->set.recv_bufs,
		.recv_bufs_max = c->recv_bufs_max,
		.recv_buf_bytes = c->set.recv_buf_size,
		.buffer_budget = c->set.buffer_budget,
		.zc_threshold = c->set.zc_threshold,
		.drain_idle_ns = c->set.drain_idle,
		.send_chunk = w->shared->send_chunk ? w->shared->send_chunk : SEND_CHUNK,
		.iov_max = w->shared->iov_max ? w->shared->iov_max : RING_IOV_MAX,
		.renew_after = w->shared->renew_after ? w->shared->renew_after : RENEW_AFTER,
		.accepts = w->shared->accepts,
	};
	int e = io_open(&w->io, &w->loop, &w->sched, w->shared->caps, &io, why);
	w->io.ring_of = ring_of;
	w->io.give_begin = give_begin;
	w->io.give_end = give_end;
	w->io.ring_of_ctx = w;
	return e;
}

static void drain_timer_fired(struct timer *t)
{
	struct worker *w = container_of(t, struct worker, drain_timer);
	if (w->phase == WORKER_DRAINING)
		w->drain_due = true;
	else
		w->kill_due = true;
}

/* A child of fork() has our memory but not our ring: there every call must find no worker. */
static int open_ctx(struct worker *w, struct diag *why)
{
	int e;

	w->ctx = sys_map(sys_page_size(), 0, &e);
	if (!w->ctx)
		return diag_set(why, e, "no memory for worker %u", w->index);
	sys_advise(w->ctx, sys_page_size(), MADV_WIPEONFORK);
	*w->ctx = (struct ctx){ &w->loop, &w->sched, &w->io, w };
	return 0;
}

int worker_open(struct worker *w, struct worker_shared *shared, unsigned index,
		const struct ring_kernel *kernel, struct diag *why)
{
	const rln_config *c = &shared->cfg->set;
	struct loop_config loop = {
		.ring = { .kernel = kernel,
			  .sq_entries = c->sq_entries,
			  .cq_entries = c->cq_entries,
			  .sqpoll = c->sqpoll,
			  .sqpoll_idle_ms = c->sqpoll_idle_ms,
			  .sqpoll_cpu = c->sqpoll_cpu_plus1 - 1 },
		.spin_ns = c->spin,
		.stall_ns = c->stall_warn,
		.embed = c->embed,
	};
	struct sched_config sched = {
		.stack_bytes = c->stack_size,
		.guard_bytes = c->stack_guard,
		.max_tasks = c->max_tasks,
		.stacks_prewarm = c->stacks_prewarm,
		.stacks_keep = c->stacks_keep,
		.stack_trim_idle_ns = c->stack_trim_idle,
		.slice_ns = 100000,
		.run_ns = 500000,
	};

	memset(w, 0, sizeof *w);
	w->shared = shared;
	w->index = index;
	timer_init(&w->drain_timer, drain_timer_fired);
	list_init(&w->user_timers);
	cells_init(&w->posts);
	int e = open_ctx(w, why);
	if (e)
		return e;
	e = loop_open(&w->loop, &loop, why);
	if (e)
		goto fail_ctx;
	e = sched_open(&w->sched, &w->loop, &sched);
	if (e) {
		diag_set(why, e, "no memory for the task stacks of worker %u (%s)", index,
			 rln_strerror(e));
		goto fail_loop;
	}
	w->sched.worker_index = index;
	w->sched.pool = shared->pool;
	w->sched.spawners = shared->spawners;
	e = open_io(w, why);
	if (e)
		goto fail_sched;
	w->io_open = true;
	w->loop.stage[LOOP_RUN] = (struct loop_hook){ hook_run, w };
	w->loop.stage[LOOP_FLUSH] = (struct loop_hook){ hook_flush, w };
	w->loop.stage[LOOP_PUBLISH] = (struct loop_hook){ hook_publish, w };
	w->loop.busy = hook_busy;
	w->loop.busy_ctx = w;
	return 0;

fail_sched:
	sched_close(&w->sched);
fail_loop:
	loop_close(&w->loop);
fail_ctx:
	sys_unmap(w->ctx, sys_page_size());
	return e;
}

int worker_start(struct worker *w, struct diag *why)
{
	struct ctx *before = worker_enter(w);
	int e = loop_start(&w->loop, why);

	worker_leave(before);
	return e;
}

void worker_listen(struct worker *w, unsigned i, int fd, int family, bool shared_socket)
{
	const struct config_listener *l = &w->shared->cfg->listener[i];
	struct ctx *before = worker_enter(w);

	listen_open(&w->listeners[i], &w->io, fd, family, shared_socket, (unsigned)l->set.backlog,
		    l->set.max_conns, &l->mode);
	worker_leave(before);
}

void worker_stop(struct worker *w)
{
	struct ctx *before = worker_enter(w);

	worker_stop_timers(w);
	/* no operation is out any more: nothing of this memory is the kernel's */
	io_close(&w->io);
	sched_close(&w->sched); /* its signal stack is this thread's */
	w->io_open = false;
	worker_leave(before);
}

void worker_close(struct worker *w)
{
	if (w->dead) {
		ring_close(&w->loop.ring);
		return; /* the rest is left: the kernel may still be using it */
	}
	struct ctx *before = worker_enter(w);

	worker_stop_timers(w);
	if (w->io_open) {
		io_close(&w->io);
		sched_close(&w->sched);
	}
	cells_fini(&w->posts); /* nobody is inside rln_post() any more: the inbox may go */
	loop_close(&w->loop);
	sys_free(w->listeners);
	worker_leave(before);
	sys_unmap(w->ctx, sys_page_size());
}

/* ---- the drain */
static void drain_begin(struct worker *w)
{
	w->phase = WORKER_DRAINING;
	io_drain(&w->io);
	sched_drain_begin(&w->sched);
	timer_arm(&w->loop.wheel, &w->drain_timer,
		  w->loop.now_ns + w->shared->cfg->set.drain_timeout);
}

static void cancel_begin(struct worker *w)
{
	bool late = w->drain_due;

	if (late && (w->io.stats.conns_owned || w->sched.stats.tasks)) {
		RLN_MARK("drain-cut-short");
		w->cut_short = true;
	}
	w->phase = WORKER_CANCELLING;
	atomic_store(&w->gone, true);
	sched_cancel_all(&w->sched);
	io_cancel_all(&w->io);
	timer_arm(&w->loop.wheel, &w->drain_timer,
		  w->loop.now_ns + w->shared->cfg->set.kill_timeout +
			  (late ? 0 : w->shared->cfg->set.drain_timeout));
}

static void count_on_conn(struct worker *w, unsigned *out)
{
	*out = 0;
	list_for_each (n, &w->sched.tasks)
		*out += container_of(n, const struct task, all)->conn != NULL;
}

static bool drained(struct worker *w)
{
	unsigned serving;

	if (w->io.stats.conns_owned || !list_empty(&w->io.listeners))
		return false;
	count_on_conn(w, &serving);
	return serving == 0;
}

static void kill_stuck(struct worker *w)
{
	log_line(RLN_LOG_ERROR,
		 "worker %u does not stop: %llu tasks and %llu connections are left after "
		 "drain_timeout and kill_timeout; aborting",
		 w->index, (unsigned long long)w->sched.stats.tasks,
		 (unsigned long long)w->io.stats.conns_owned);
	sched_dump(&w->sched, 2);
	abort();
}

/* INV-39. After every turn: a step it takes is followed by another look before a sleep. */
static int drain_step(struct worker *w)
{
	switch ((enum worker_state)w->phase) {
	case WORKER_RUNNING:
		if (atomic_load_explicit(&w->shared->shutdown, memory_order_acquire))
			drain_begin(w);
		return 0;
	case WORKER_DRAINING:
		if (w->drain_due || drained(w))
			cancel_begin(w);
		return 0;
	case WORKER_CANCELLING:
		if (w->kill_due)
			kill_stuck(w);
		if (w->sched.stats.tasks || w->io.stats.conns_owned ||
		    !list_empty(&w->io.listeners) || sched_busy(&w->sched) || io_busy(&w->io))
			return 0;
		if (!w->inbox_closed) {
			if (w->loop.inbox.due || atomic_load(&w->gifts))
				return 0; /* whoever sends it ends the wait */
			w->inbox_closed = true;
			timer_cancel(&w->loop.wheel, &w->drain_timer);
			embed_close(&w->loop);
			inbox_close(&w->loop.inbox);
			procs_stop(&w->io.procs, &w->loop.ops);
			return 0;
		}
		if (!ops_idle(&w->loop.ops))
			return 0;
		w->phase = WORKER_STOPPED;
		return 1;
	case WORKER_STOPPED:
		return 1;
	}
	return 1;
}

int worker_turn(struct worker *w, int64_t deadline_ns)
{
	struct ctx *before = worker_enter(w);
	int e = loop_turn(&w->loop, deadline_ns);

	uint8_t phase = w->phase;
	bool closed = w->inbox_closed;

	if (!e)
		e = drain_step(w);
	w->look_again = phase != w->phase || closed != w->inbox_closed;
	if (RLN_DEBUG)
		io_check(&w->io);
	worker_leave(before);
	return e;
}

/* ---- public */
unsigned rln_worker(void)
{
	struct worker *w = worker_current();
	return w ? w->index : UINT_MAX;
}

unsigned rln_workers(void)
{
	struct worker *w = worker_current();
	return w ? w->shared->count : 0;
}

void *rln_worker_state(void)
{
	struct worker *w = worker_current();
	return w ? w->state : NULL;
}

void rln_dump_tasks(int fd)
{
	struct worker *w = worker_current();
	static const char none[] = "rln_dump_tasks: this thread is no worker\n";

	if (w)
		sched_dump(&w->sched, fd);
	else
		sys_write(fd, none, sizeof none - 1);
}
