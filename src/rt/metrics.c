/*
 * The counters of a worker as rln_stats. Any thread reads them one by one while the worker runs:
 * aligned 64-bit loads, each right by itself.
 */
#include "rt/runtime.h"

#include "ringline/metrics.h"
#include <errno.h>
#include <string.h>

#if defined(__clang__) || defined(__SANITIZE_THREAD__)
#define RACY __attribute__((no_sanitize("thread"), noinline))
#else
#define RACY
#endif

RACY static uint64_t load(const uint64_t *p)
{
	return *(const volatile uint64_t *)p;
}

static void load_tasks(const struct sched_stats *t, rln_stats *o)
{
	o->tasks = load(&t->tasks);
	o->tasks_peak = load(&t->tasks_peak);
	o->switches = load(&t->switches);
	o->spawns = load(&t->spawns);
	o->cancels = load(&t->cancels);
	o->stack_high_water = load(&t->stack_high_water);
	o->stacks_cached = load(&t->stacks_cached);
}

static void load_io(const struct io_stats *i, rln_stats *o)
{
	o->accepts = load(&i->accepts);
	o->accept_errors = load(&i->accept_errors);
	o->accept_paused = load(&i->accept_paused);
	o->connects = load(&i->connects);
	o->conns_open = load(&i->conns_open);
	o->conns_peak = load(&i->conns_peak);
	o->conns_given = load(&i->given);
	o->conns_taken = load(&i->taken);
	o->handler_errors = load(&i->handler_errors);
	o->stack_waits = load(&i->starved);
	o->recv_bytes = load(&i->recv_bytes);
	o->recv_parked = load(&i->recv_parked);
	o->recv_fallback = load(&i->recv_fallback);
	o->recv_paused = load(&i->recv_paused);
	o->recv_copied = load(&i->recv_copied);
	o->recv_renewed = load(&i->recv_renewed);
	o->send_bytes = load(&i->send_bytes);
	o->send_zc = load(&i->send_zc);
	o->send_zc_copied = load(&i->send_zc_copied);
	o->send_retries = load(&i->send_retries);
	o->send_stalls = load(&i->send_stalls);
	o->truncated_closes = load(&i->truncated_closes);
	o->lingers = load(&i->lingers);
	o->resets = load(&i->resets);
	o->close_timeouts = load(&i->close_timeouts);
	o->idle_timeouts = load(&i->idle_timeouts);
	o->budget_over = load(&i->budget_over);
	o->misuse = load(&i->misuse);
}

static void load_loop(const struct loop *l, rln_stats *o)
{
	const struct ring_stats *r = &l->ring.stats;

	o->enters = load(&r->enters);
	o->sqes = load(&r->sqes);
	o->cqes = load(&r->cqes);
	o->sq_full = load(&r->sq_full);
	o->cq_overflows = load(&r->cq_overflows);
	o->eintr = load(&r->eintr);
	o->ebusy = load(&r->ebusy);
	o->turns = load(&l->stats.turns);
	o->sleeps = load(&l->stats.sleeps);
	o->stalls = load(&l->stats.stalls);
	o->timers_fired = load(&l->wheel.fired);
	o->late_cancels = load(&l->ops.late_cancels);
}

int rln_stats_get_sized(rln_runtime *rt, unsigned worker, rln_stats *out, size_t out_size)
{
	rln_stats s = { 0 };

	if (!rt) {
		struct worker *w = worker_current();
		if (!w)
			return -EPERM;
		rt = w->shared->rt;
	}
	if (worker >= rt->shared.count || !out)
		return -EINVAL;
	const struct worker *w = &rt->workers[worker];
	load_tasks(&w->sched.stats, &s);
	load_io(&w->io.stats, &s);
	load_loop(&w->loop, &s);
	s.misuse += load(&w->sched.stats.misuse);
	s.buffers_grown = load(&w->io.bufs.grows);
	s.posts_refused = atomic_load_explicit(&w->shared->posts_refused, memory_order_relaxed);
	memset(out, 0, out_size);
	memcpy(out, &s, out_size < sizeof s ? out_size : sizeof s);
	return 0;
}
