/*
 * Simulated threads, and base/sys.h's threads and monitors on them. Who goes on is drawn among all
 * that can; a thread is interrupted only where it looks at its ring, so what lies between two looks
 * is one step: data races are ThreadSanitizer's to find, lost wakes are found here.
 */
#include "base/assert.h"
#include "base/ctx.h"
#include "base/sys.h"
#include "sim/api.h"
#include "task/switch.h"
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#if defined(__SANITIZE_ADDRESS__)
#define API_ASAN 1
#elif defined(__SANITIZE_THREAD__)
#define API_TSAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define API_ASAN 1
#elif __has_feature(thread_sanitizer)
#define API_TSAN 1
#endif
#endif
#if defined(API_ASAN)
#include <sanitizer/common_interface_defs.h>
#include <sanitizer/lsan_interface.h>
#elif defined(API_TSAN)
#include <sanitizer/tsan_interface.h>
#endif

#define GUARD_BYTES 65536
#define PREEMPT_ONE_IN 4
#define STALL_MAX_NS 20000000
#define STACKS_KEPT 32

/* ---- stacks */
struct sim_stack {
	struct sim_stack *next;
	uint8_t *base; /* guard first */
	size_t bytes;  /* guard and all */
};

static _Thread_local struct {
	struct sim_stack *first;
	unsigned count;
} spare_;

static void memory_unmap(struct sim_stack *st)
{
#if defined(API_ASAN)
	__lsan_unregister_root_region(st->base + GUARD_BYTES, st->bytes - GUARD_BYTES);
#endif
	munmap(st->base, st->bytes);
	free(st);
}

static struct sim_stack *memory_get(size_t bytes)
{
	struct sim_stack *st;

	bytes = (bytes + SIM_PAGE - 1) / SIM_PAGE * SIM_PAGE + GUARD_BYTES;
	for (struct sim_stack **at = &spare_.first; (st = *at); at = &st->next) {
		if (st->bytes != bytes)
			continue;
		*at = st->next;
		spare_.count--;
		return st;
	}
	st = malloc(sizeof(*st));
	if (!st)
		return NULL;
	st->bytes = bytes;
	st->base = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
	if (st->base == MAP_FAILED) {
		free(st);
		return NULL;
	}
	mprotect(st->base, GUARD_BYTES, PROT_NONE);
#if defined(API_ASAN)
	__lsan_register_root_region(st->base + GUARD_BYTES, bytes - GUARD_BYTES);
#endif
	return st;
}

static void memory_put(struct sim_stack *st)
{
	mem_user(st->base + GUARD_BYTES, st->bytes - GUARD_BYTES); /* frames never left */
	if (spare_.count == STACKS_KEPT) {
		memory_unmap(st);
		return;
	}
	st->next = spare_.first;
	spare_.first = st;
	spare_.count++;
}

void sim_stacks_free(void)
{
	struct sim_stack *st;

	while ((st = spare_.first)) {
		spare_.first = st->next;
		memory_unmap(st);
	}
	spare_.count = 0;
}

/* ---- the switch */
static struct fiber *fiber_of(struct sim *s, struct sys_thread *t)
{
	return t ? &t->fiber : &s->driver;
}

/* What the sanitizers must know after each switch; self: who has just arrived. */
static inline __attribute__((always_inline)) void arrived(struct sim *s, struct fiber *self)
{
#if defined(API_ASAN)
	const void *bottom;
	size_t bytes;

	__sanitizer_finish_switch_fiber(self->asan_fake, &bottom, &bytes);
	if (s->from_driver) {
		s->driver.bottom = bottom;
		s->driver.bytes = bytes;
	}
#endif
	(void)s;
	ctx_current_ = self->ctx;
}

/* last: the stack that is left never goes on. */
static inline __attribute__((always_inline)) void go_to(struct sim *s, struct sys_thread *t,
							bool last)
{
	struct fiber *from = fiber_of(s, s->running), *to = fiber_of(s, t);

	s->from_driver = !s->running;
	s->running = t;
	from->ctx = ctx_current_;
	(void)last;
#if defined(API_ASAN)
	__sanitizer_start_switch_fiber(last ? NULL : &from->asan_fake, to->bottom, to->bytes);
#elif defined(API_TSAN)
	from->tsan = __tsan_get_current_fiber();
	__tsan_switch_to_fiber(to->tsan, 0);
#endif
	task_switch(&from->sp, to->sp);
	arrived(s, from);
}

_Noreturn void sim_leave(struct sim *s)
{
	go_to(s, NULL, true);
	__builtin_unreachable();
}

/* ---- who is next */

/* When t can go on at the earliest; SIM_NEVER: something else must happen first. */
static int64_t due(const struct sim *s, const struct sys_thread *t)
{
	int64_t at = s->w->now;

	if (t->done)
		return SIM_NEVER;
	if (t->blocked && !t->woken) {
		at = t->until;
		if (t->ring) {
			int64_t next = ring_next(t->ring);

			at = next < at ? next : at;
		}
	}
	return at < t->stalled ? t->stalled : at;
}

/* One of those that can go on now, by chance; NULL: none, *next is when one can. */
static struct sys_thread *pick(struct sim *s, int64_t *next)
{
	struct sys_thread *best = NULL;
	unsigned seen = 0;

	*next = SIM_NEVER;
	list_for_each (n, &s->threads) {
		struct sys_thread *t = container_of(n, struct sys_thread, node);
		int64_t at = due(s, t);

		if (at <= s->w->now && chance(s->w, ++seen))
			best = t;
		*next = at < *next ? at : *next;
	}
	return best;
}

static const char *waits_for(const struct sys_thread *t)
{
	return t->ring ? "its ring" : "another thread";
}

static void deadlock(struct sim *s)
{
	char text[RLN_SIM_TEXT] = "";
	size_t n = 0;

	list_for_each (node, &s->threads) {
		struct sys_thread *t = container_of(node, struct sys_thread, node);

		if (!t->done && n < sizeof(text))
			n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%u:%s for %s",
					      n ? ", " : "", t->id, t->name, waits_for(t));
	}
	if (s->w->trace) {
		list_for_each (node, &s->threads) {
			struct sys_thread *t = container_of(node, struct sys_thread, node);
			struct worker *w = t->fiber.ctx ? t->fiber.ctx->worker : NULL;

			if (w && !t->done)
				sched_dump(&w->sched, 2);
		}
	}
	sim_end(s, RLN_SIM_DEADLOCK, "nothing can ever happen again; these wait: %s", text);
}

/* The next thread that can go on, the clock moved to when that is. May be the running one. */
static struct sys_thread *next_thread(struct sim *s)
{
	for (;;) {
		int64_t next, world;
		struct sys_thread *t = pick(s, &next);

		if (t)
			return t;
		world = world_next(s->w);
		next = world < next ? world : next;
		if (next == SIM_NEVER)
			deadlock(s);
		world_run_until(s->w, next);
		if (s->w->now - s->born > s->cfg->time_limit)
			sim_end(s, RLN_SIM_ENDLESS, "no end after %lld s of virtual time",
				(long long)(s->cfg->time_limit / 1000000000));
	}
}

static void let_go(struct sim *s)
{
	struct sys_thread *me = s->running, *t = next_thread(s);

	if (t != me)
		go_to(s, t, false);
}

/* Block until woken, or something may have happened at ring, or until. */
static void block(struct sim *s, struct sim_ring *ring, int64_t until)
{
	struct sys_thread *me = s->running;

	me->blocked = true;
	me->ring = ring;
	me->until = until;
	let_go(s);
	me->blocked = me->woken = false;
	me->ring = NULL;
}

void sim_block(struct world *w, struct sim_ring *r, int64_t deadline, void *ctx)
{
	(void)w;
	block(ctx, r, deadline);
}

void sim_preempt(struct world *w, void *ctx)
{
	struct sim *s = ctx;

	if (sim_beat)
		atomic_fetch_add(sim_beat, 1);
	if (w->stats.enters > s->cfg->step_limit)
		sim_end(s, RLN_SIM_ENDLESS, "no end after %llu steps",
			(unsigned long long)s->cfg->step_limit);
	if (!s->running || s->threads.next->next == &s->threads)
		return;
	if (chance(w, s->stall_in)) {
		s->running->stalled = w->now + (int64_t)world_rand(w, STALL_MAX_NS);
		s->stalls++;
		sim_trace(w, "thread %s stalls", s->running->name);
		let_go(s);
	} else if (chance(w, PREEMPT_ONE_IN)) {
		let_go(s);
	}
}

void sim_thread_sleep(struct sim *s, int64_t until)
{
	while (s->w->now < until)
		block(s, NULL, until);
}

static void wake_waiting(struct sim *s)
{
	list_for_each (n, &s->threads) {
		struct sys_thread *t = container_of(n, struct sys_thread, node);

		t->woken = t->blocked && !t->ring;
	}
}

void sim_thread_await(struct sim *s, struct sys_thread *t)
{
	while (!t->done)
		block(s, NULL, SIM_NEVER);
}

/* ---- life */
static void thread_begin(void *arg)
{
	struct sys_thread *t = arg;
	struct sim *s = sim_here();

	arrived(s, &t->fiber);
	if (t->main)
		t->result = t->main(t->arg);
	else
		t->fn(t->arg);
	t->done = true;
	sim_trace(s->w, "thread %s ends", t->name);
	wake_waiting(s);
	if (s->first == t)
		sim_leave(s);
	go_to(s, next_thread(s), true);
	__builtin_unreachable();
}

int sim_thread_new(struct sim *s, const char *name, void (*fn)(void *), int (*main)(void *),
		   void *arg, struct sys_thread **out)
{
	struct sys_thread *t = calloc(1, sizeof(*t));
	struct sim_stack *st = t ? memory_get(s->cfg->stack_size) : NULL;

	if (!st) {
		free(t);
		return -ENOMEM;
	}
	t->stack = st;
	t->fn = fn;
	t->main = main;
	t->arg = arg;
	t->id = ++s->thread_ids;
	strncpy(t->name, name, sizeof(t->name) - 1);
	t->fiber.bottom = st->base + GUARD_BYTES;
	t->fiber.bytes = st->bytes - GUARD_BYTES;
	t->fiber.sp = switch_prepare(st->base + st->bytes, thread_begin, t);
#if defined(API_TSAN)
	t->fiber.tsan = __tsan_create_fiber(0);
#endif
	list_push_back(&s->threads, &t->node);
	sim_trace(s->w, "thread %s starts", t->name);
	*out = t;
	return 0;
}

void sim_thread_free(struct sys_thread *t)
{
#if defined(API_TSAN)
	__tsan_destroy_fiber(t->fiber.tsan);
#endif
	list_remove(&t->node);
	memory_put(t->stack);
	free(t);
}

void sim_threads_run(struct sim *s, struct sys_thread *t)
{
	s->first = t;
	go_to(s, t, false);
}

/* ---- base/sys.h: threads. A world without a simulation has none: its runtimes are stepped. */
int sys_thread_start(struct sys_thread **out, const char *name, void (*fn)(void *), void *arg)
{
	struct sim *s = sim_here();

	return s ? sim_thread_new(s, name, fn, NULL, arg, out) : -ENOSYS;
}

int sys_thread_join(struct sys_thread *t)
{
	struct sim *s = sim_here();

	if (!s)
		return -ESRCH;
	sim_thread_await(s, t);
	sim_thread_free(t);
	return 0;
}

void sys_thread_yield(void)
{
	struct sim *s = sim_here();

	if (s && s->running)
		let_go(s);
}

int sys_word_wait(_Atomic(uint32_t) *word, uint32_t same)
{
	struct sim *s = sim_here();

	if (!s)
		return -ENOSYS;
	if (atomic_load(word) == same)
		block(s, NULL, SIM_NEVER);
	return 0;
}

void sys_word_wake(_Atomic(uint32_t) *word)
{
	(void)word;
	if (sim_here())
		wake_waiting(sim_here());
}

int sys_thread_pin(int cpu)
{
	(void)cpu;
	return 0;
}

int sys_thread_id(void)
{
	struct sim *s = sim_here();

	return s && s->running ? (int)s->running->id : 1;
}

int sys_cpu_allowed(int *cpus, int cap)
{
	struct sim *s = sim_here();
	int n = s ? (int)s->cpus : 1;

	for (int i = 0; i < n && i < cap; i++)
		cpus[i] = i;
	return n < cap ? n : cap;
}

/* ---- base/sys.h: monitors. Nobody else runs while one is held: only waiting has a meaning. */
struct sys_monitor {
	unsigned wakes;
};

int sys_monitor_open(struct sys_monitor **out)
{
	*out = sys_zalloc(sizeof(**out));
	return *out ? 0 : -ENOMEM;
}

void sys_monitor_close(struct sys_monitor *m)
{
	sys_free(m);
}

void sys_monitor_lock(struct sys_monitor *m)
{
	(void)m;
}

void sys_monitor_unlock(struct sys_monitor *m)
{
	(void)m;
}

void sys_monitor_wait(struct sys_monitor *m, int64_t until_ns)
{
	struct sim *s = sim_here();
	unsigned wakes = m->wakes;

	RLN_ASSERT(s);
	while (m->wakes == wakes && s->w->now < until_ns)
		block(s, NULL, until_ns);
}

void sys_monitor_wake_all(struct sys_monitor *m)
{
	m->wakes++;
	if (sim_here())
		wake_waiting(sim_here());
}
