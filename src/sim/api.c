/*
 * One run of the public simulator: the world made from the configuration, main on its thread, and
 * the judgement at the end. What a program may call inside a run stands here too.
 */
#include "sim/api.h"
#include "base/assert.h"
#include "base/ctx.h"
#include "base/sys.h"
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TIME_LIMIT RLN_SEC(86400)
#define STEP_LIMIT 1000000
#define STACK_BYTES ((size_t)1 << 20)
#define STACK_MIN 16384
#define CPUS_MAX 64

static _Thread_local struct sim *here_;
_Atomic uint64_t *sim_beat;

struct sim *sim_here(void)
{
	return here_;
}

void sim_end(struct sim *s, int reason, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(s->out->what, sizeof(s->out->what), fmt, ap);
	va_end(ap);
	s->out->reason = reason;
	sim_trace(s->w, "failed: %s", s->out->what);
	s->w->trace = false; /* what follows only takes it down */
	if (!s->running) {   /* the driver itself: there is nothing to leave */
		fprintf(stderr, "sim: seed %llu: %s\n", (unsigned long long)s->w->seed,
			s->out->what);
		abort();
	}
	sim_leave(s);
}

static void world_failed(struct world *w, const char *what, void *ctx)
{
	(void)w;
	sim_end(ctx, RLN_SIM_BROKEN, "%s", what);
}

/* ---- the world of a configuration */

/* No default: a new fault must be given its class. */
static unsigned class_of(enum world_fault f)
{
	switch (f) {
	case FAULT_DEFER:
	case FAULT_HOLD:
	case FAULT_MULTI_END:
	case FAULT_EINTR:
	case FAULT_CANCEL_LATE:
	case FAULT_ZC_LATE:
		return RLN_SIM_ORDER;
	case FAULT_SHORT_RECV:
	case FAULT_SHORT_SEND:
	case FAULT_SHORT_WAITALL:
	case FAULT_FILE_SHORT:
	case FAULT_SEND_ERR:
	case FAULT_RECV_ERR:
		return RLN_SIM_SHORT;
	case FAULT_ENOBUFS:
	case FAULT_EBUSY:
	case FAULT_PARTIAL:
	case FAULT_ZC_REFUSED:
	case FAULT_FILE_FULL:
		return RLN_SIM_SCARCE;
	case FAULT_ACCEPT_ERR:
	case FAULT_CONNECT_ERR:
	case FAULT_FILE_EIO:
		return RLN_SIM_REFUSE;
	case FAULT_RESET:
	case FAULT_PEER_FIN:
		return RLN_SIM_RESET;
	case FAULT_TIME_JUMP:
		return RLN_SIM_FREEZE;
	case FAULT_COUNT:
		break;
	}
	RLN_ASSERT(false);
	return 0;
}

static uint8_t rate_of(uint8_t often)
{
	static const uint8_t rates[] = { [RLN_SIM_BY_SEED] = RATE_SEED,
					 [RLN_SIM_OFF] = RATE_OFF,
					 [RLN_SIM_RARE] = RATE_RARE,
					 [RLN_SIM_OFTEN] = RATE_FREQUENT };

	return rates[often];
}

/* One in how many; 0: never. */
static unsigned pace(struct world *w, uint8_t often, unsigned rare, unsigned frequent)
{
	if (often == RLN_SIM_BY_SEED)
		often = (uint8_t)(RLN_SIM_OFF + world_rand(w, 3));
	return often == RLN_SIM_OFF ? 0 : often == RLN_SIM_RARE ? rare : frequent;
}

static struct world *make_world(struct sim *s)
{
	const rln_sim_config *c = s->cfg;
	struct world_config wc = {
		.on_fail = world_failed, .block = sim_block, .preempt = sim_preempt, .ctx = s
	};
	struct world *w;

	for (unsigned f = 0; f < FAULT_COUNT; f++)
		wc.fault[f] = rate_of(c->faults[class_of((enum world_fault)f)]);
	w = s->w = world_new(c->seed, &wc);
	w->trace |= c->trace;
	s->born = world_now(w);
	s->stall_in = pace(w, c->faults[RLN_SIM_STALL], 512, 32);
	if (c->faults[RLN_SIM_MEMORY] != RLN_SIM_BY_SEED)
		w->cfg.alloc_one_in = pace(w, c->faults[RLN_SIM_MEMORY], 256, 16);
	s->cpus = c->cpus ? c->cpus : 1 + (unsigned)world_rand(w, 4);
	world_caps(w, &s->caps);
	return w;
}

/* ---- the end of a run */

/* Nothing of the library may be out any more. */
static void judge(struct sim *s, int status)
{
	rln_sim_result *out = s->out;
	char why[200] = "";

	out->status = status;
	if (status) {
		out->reason = RLN_SIM_STATUS;
		snprintf(out->what, sizeof(out->what), "main returned %d", status);
		return;
	}
	list_for_each (n, &s->threads) {
		struct sys_thread *t = container_of(n, struct sys_thread, node);

		if (t == s->first)
			continue;
		out->reason = RLN_SIM_LEAK;
		snprintf(out->what, sizeof(out->what),
			 t->done ? "thread %s was not joined"
				 : "thread %s runs although main has returned",
			 t->name);
		return;
	}
	if (world_check_quiet(s->w, why, sizeof(why)))
		return;
	out->reason = RLN_SIM_LEAK;
	snprintf(out->what, sizeof(out->what), "%s", why);
}

/* The library's memory when a run was abandoned: nobody else will give it back. */
static void drop_allocs(struct list *allocs)
{
	struct list *n;

	while ((n = list_pop_front(allocs))) {
		struct sim_alloc *a = container_of(n, struct sim_alloc, node);

		mem_user(a + 1, a->bytes);
		free(a->base);
	}
}

static void end_world(struct sim *s)
{
	struct list allocs, maps;

	while (!list_empty(&s->threads))
		sim_thread_free(container_of(s->threads.next, struct sys_thread, node));
	list_init(&allocs);
	list_init(&maps);
	list_splice_back(&allocs, &s->w->allocs);
	list_splice_back(&maps, &s->w->maps);
	world_enter(NULL);
	world_free(s->w); /* the rings know where their buffers are: before those */
	drop_allocs(&allocs);
	maps_drop(&maps);
}

static void count(struct sim *s)
{
	const struct world_stats *st = world_stats(s->w);
	rln_sim_result *out = s->out;

	out->seed = s->cfg->seed;
	out->runs = 1;
	out->elapsed = world_now(s->w) - s->born;
	out->hash = world_hash(s->w) ^ (uint64_t)out->elapsed * 0x9e3779b97f4a7c15u;
	out->completions = st->cqes;
	out->faults = s->stalls + st->allocs_failed;
	for (unsigned f = 0; f < FAULT_COUNT; f++)
		out->faults += st->fault[f];
}

bool sim_valid(const rln_sim_config *c)
{
	for (unsigned i = 0; i < RLN_SIM_CLASSES; i++)
		if (c->faults[i] > RLN_SIM_OFTEN)
			return false;
	return c->main && c->cpus <= CPUS_MAX && c->time_limit >= 0 &&
	       (!c->stack_size || c->stack_size >= STACK_MIN);
}

int rln_sim_run(const rln_sim_config *cfg, rln_sim_result *out)
{
	struct sys_thread *t;
	rln_sim_config c;
	struct sim s;

	if (!cfg || !out || !sim_valid(cfg))
		return -EINVAL;
	if (here_)
		return -EBUSY;
	c = *cfg;
	c.time_limit = c.time_limit ? c.time_limit : TIME_LIMIT;
	c.step_limit = c.step_limit ? c.step_limit : STEP_LIMIT;
	c.stack_size = c.stack_size ? c.stack_size : STACK_BYTES;
	memset(out, 0, sizeof(*out));
	s = (struct sim){ .cfg = &c, .out = out };
	list_init(&s.threads);
	world_enter(make_world(&s));
	here_ = &s;
	if (sim_thread_new(&s, "main", NULL, c.main, c.arg, &t) < 0) {
		fprintf(stderr, "sim: no memory for a stack of %zu bytes\n", c.stack_size);
		abort();
	}
	sim_threads_run(&s, t);
	if (!out->reason)
		judge(&s, t->result);
	count(&s);
	end_world(&s);
	here_ = NULL;
	return out->reason != RLN_SIM_PASSED;
}

/* ---- inside a run */
void rln_sim_fail(const char *fmt, ...)
{
	char text[RLN_SIM_TEXT];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (here_)
		sim_end(here_, RLN_SIM_FAILED, "%s", text);
	fprintf(stderr, "rln_sim_fail: no simulation runs: %s\n", text);
	abort();
}

uint64_t rln_sim_rand(uint64_t n)
{
	return here_ && n ? world_rand(here_->w, n) : 0;
}

void rln_sim_calm(void)
{
	if (!here_)
		return;
	world_calm(here_->w);
	here_->stall_in = 0;
	here_->w->cfg.alloc_one_in = 0;
}

void rln_sim_note(const char *fmt, ...)
{
	char text[RLN_SIM_TEXT];
	va_list ap;

	if (!here_ || !here_->w->trace)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	sim_trace(here_->w, "thread %s: %s", here_->running->name, text);
}

int rln_sim_start(int (*fn)(void *arg), void *arg, const char *name, rln_sim_thread **out)
{
	struct sys_thread *t;
	int e;

	if (!here_)
		return -EPERM;
	if (!fn || !out)
		return -EINVAL;
	e = sim_thread_new(here_, name ? name : "thread", NULL, fn, arg, &t);
	if (!e)
		*out = (rln_sim_thread *)t;
	return e;
}

int rln_sim_join(rln_sim_thread *thread, int *result)
{
	struct sys_thread *t = (struct sys_thread *)thread;

	if (!here_)
		return -EPERM;
	if (!t)
		return -EINVAL;
	if (ctx_current() || t == here_->running)
		return -EDEADLK;
	sim_thread_await(here_, t);
	if (result)
		*result = t->result;
	sim_thread_free(t);
	return 0;
}

int rln_sim_terminate(rln_sim_thread *thread)
{
	struct sys_thread *t = (struct sys_thread *)thread;

	if (!here_)
		return -EPERM;
	if (!t)
		return -EINVAL;
	t->terminated = true;
	if (t->running)
		rln_shutdown(t->running);
	return 0;
}

int rln_sim_sleep(rln_ns dur)
{
	int64_t now;

	if (!here_)
		return -EPERM;
	if (ctx_current())
		return -EDEADLK;
	now = world_now(here_->w);
	sim_thread_sleep(here_, dur <= 0 ? now : dur > SIM_NEVER - now ? SIM_NEVER : now + dur);
	return 0;
}
