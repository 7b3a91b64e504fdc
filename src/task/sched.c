/*
 * Who runs next. Ready tasks run in the order in which they became ready; a task that parks
 * switches straight to the next one, and to the loop when there is none or the stage has used up
 * its time. What a task waits for is wait.c's business, what it is, task.c's.
 */
#include "base/assert.h"
#include "base/sys.h"
#include "task/fiber.h"
#include "task/internal.h"
#include "task/switch.h"
#include <errno.h>

#define STACK_BYTES (128u << 10)
#if defined(__aarch64__)
#define GUARD_BYTES (64u << 10) /* compilers probe large frames at this distance */
#else
#define GUARD_BYTES (16u << 10)
#endif
#define MAX_TASKS 65536
#define SLICE_NS 100000
#define RUN_NS 500000
#define RUN_SWITCHES 64 /* between two looks at the clock; a slice that ends looks, too */
#define RUN_LOOKS 16	/* bounds the stage where the clock stands still */

static const uint8_t legal_after[] = {
	[TASK_NEW] = 1 << TASK_READY | 1 << TASK_DEAD, /* no stack for it */
	[TASK_READY] = 1 << TASK_RUNNING,
	[TASK_RUNNING] = 1 << TASK_PARKED | 1 << TASK_READY | 1 << TASK_DEAD,
	[TASK_PARKED] = 1 << TASK_READY,
	[TASK_DEAD] = 1 << TASK_NEW,
};

void task_set_state(struct task *t, enum task_state to)
{
	RLN_ASSERTF(legal_after[t->state] & 1 << to, "%d -> %d", t->state, to); /* INV-34 */
	t->state = (uint8_t)to;
}

static void run_hook(void *ctx)
{
	sched_run(ctx);
}

static bool busy_hook(void *ctx)
{
	return sched_busy(ctx);
}

static void config_default(struct sched_config *c)
{
	c->stack_bytes = c->stack_bytes ? c->stack_bytes : STACK_BYTES;
	c->guard_bytes = c->guard_bytes ? c->guard_bytes : GUARD_BYTES;
	c->max_tasks = c->max_tasks ? c->max_tasks : MAX_TASKS;
	c->slice_ns = c->slice_ns ? c->slice_ns : SLICE_NS;
	c->run_ns = c->run_ns ? c->run_ns : RUN_NS;
}

int sched_open(struct sched *s, struct loop *l, const struct sched_config *cfg)
{
	int err;

	*s = (struct sched){ .loop = l, .cfg = *cfg };
	config_default(&s->cfg);
	list_init(&s->ready);
	list_init(&s->tasks);
	list_init(&s->dead);
	list_init(&s->parked);
	list_init(&s->trimmed);
	list_init(&s->signals);
	list_init(&s->drain_waiters);
	list_init(&s->free);
	timer_init(&s->idle, idle_fire);
	s->chunks_max = (s->cfg.max_tasks + TASK_CHUNK - 1) / TASK_CHUNK;
	s->chunk = sys_zalloc(s->chunks_max * sizeof s->chunk[0]);
	if (!s->chunk)
		return -ENOMEM;
	err = stack_pool_open(&s->stacks, s->cfg.guard_bytes, s->cfg.stacks_keep);
	if (err)
		goto fail_chunk;
	err = stack_prewarm(&s->stacks, s->cfg.stack_bytes, s->cfg.stacks_prewarm);
	if (err)
		goto fail_stacks;
	l->stage[LOOP_RUN] = (struct loop_hook){ run_hook, s };
	if (!l->busy) {
		l->busy = busy_hook;
		l->busy_ctx = s;
	}
	return 0;

fail_stacks:
	stack_pool_close(&s->stacks);
fail_chunk:
	sys_free(s->chunk);
	s->chunk = NULL;
	return err;
}

void sched_close(struct sched *s)
{
	RLN_ASSERTF(list_empty(&s->tasks), "%llu tasks left", (unsigned long long)s->stats.tasks);
	RLN_ASSERT(list_empty(&s->ready));
	RLN_ASSERT(list_empty(&s->dead));
	sched_signals_end(s);
	timer_cancel(&s->loop->wheel, &s->idle);
	s->loop->stage[LOOP_RUN] = (struct loop_hook){ 0 };
	if (s->loop->busy_ctx == s) {
		s->loop->busy = NULL;
		s->loop->busy_ctx = NULL;
	}
	fault_thread_leave(s);
	stack_pool_close(&s->stacks);
	for (unsigned i = 0; i < s->chunks; i++)
		sys_free(s->chunk[i]);
	sys_free(s->chunk);
	s->chunk = NULL;
}

bool sched_busy(const struct sched *s)
{
	return !list_empty(&s->ready) || !list_empty(&s->dead);
}

struct task *task_running(void)
{
	struct sched *s = sched_current();
	return s ? s->running : NULL;
}

/*
 * from or to NULL: the loop. Returns when somebody switches back to from. Never inlined: all
 * switches shall come back to one place (see switch_*.S).
 */
static __attribute__((noinline)) void change(struct sched *s, struct task *from, struct task *to,
					     bool dying)
{
	s->running = to;
	s->slice_end_ns = 0;
	if (to) {
		task_set_state(to, TASK_RUNNING);
		to->quick_calls = 0;
		s->stats.switches++;
	}
	fiber_leave(s, from, to, dying);
	task_switch(from ? &from->sp : &s->loop_sp, to ? to->sp : s->loop_sp);
	fiber_arrive(s, from);
}

/* One more switch: has the stage run for long enough? */
static bool run_over(struct sched *s)
{
	if (RLN_LIKELY(s->run_left)) {
		s->run_left--;
		return false;
	}
	if (s->run_looks == 0 || sys_now() >= s->run_end_ns)
		return true;
	s->run_looks--;
	s->run_left = RUN_SWITCHES;
	return false;
}

static inline struct task *next_ready(struct sched *s)
{
	struct list *n = s->ready.next;

	if (n == &s->ready || run_over(s))
		return NULL;
	/* PERF: list_pop_front() would leave n linked to itself, for nobody: one switch in eight.
	 */
	n->next->prev = &s->ready;
	s->ready.next = n->next;
	return container_of(n, struct task, node);
}

void sched_run(struct sched *s)
{
	RLN_ASSERT(!s->running);
	if (RLN_UNLIKELY(!s->altstack_tid))
		fault_thread_enter(s);
	if (list_empty(&s->ready))
		return;
	s->run_left = RUN_SWITCHES;
	s->run_looks = RUN_LOOKS;
	s->run_end_ns = sys_now() + s->cfg.run_ns;
	for (struct task *t; (t = next_ready(s));) {
		change(s, NULL, t, false);
		struct list *dead = list_pop_front(&s->dead);
		if (dead)
			task_reap(container_of(dead, struct task, node));
	}
}

/* INV-35. Catches what jumped over the guard, and remembers how deep the stack has been. */
static inline void check_depth(struct task *t)
{
	struct stack *st = t->stack;
	uint8_t *sp = __builtin_frame_address(0);

	if (RLN_UNLIKELY((size_t)(sp - st->bottom) >= (size_t)(st->top - st->bottom)))
		fault_off_stack(t, sp);
	if (sp < st->deepest)
		st->deepest = sp;
}

void task_park(struct task *t, enum task_wait how, const char *call)
{
	struct sched *s = t->sched;

	RLN_ASSERT(s->running == t);
	check_depth(t);
	t->wait = (uint8_t)how;
	t->waits_for = call;
	t->parked_ns = s->loop->now_ns;
	task_set_state(t, TASK_PARKED);
	list_push_back(&s->parked, &t->node);
	sched_idle_arm(s);
	change(s, t, next_ready(s), false);
	t->wait = WAIT_NONE;
	t->waits_for = NULL;
}

void task_wake(struct task *t)
{
	if (timer_armed(&t->timer))
		timer_cancel(&t->sched->loop->wheel, &t->timer);
	list_remove(&t->node);
	task_set_state(t, TASK_READY);
	list_push_back(&t->sched->ready, &t->node);
}

void task_yield(struct task *t)
{
	struct sched *s = t->sched;
	struct task *next;

	RLN_ASSERT(s->running == t);
	check_depth(t);
	if (t->fresh)
		scope_start_clocks(t);
	task_set_state(t, TASK_READY);
	list_push_back(&s->ready, &t->node);
	next = next_ready(s);
	if (next != t) {
		change(s, t, next, false);
		return;
	}
	/* Nobody else: it goes on as if it had been switched to. */
	task_set_state(t, TASK_RUNNING);
	s->slice_end_ns = 0;
	t->quick_calls = 0;
}

void task_arrived(struct task *t)
{
	fiber_arrive(t->sched, NULL);
}

void task_leave(struct task *t)
{
	struct sched *s = t->sched;

	task_set_state(t, TASK_DEAD);
	list_push_back(&s->dead, &t->node);
	change(s, t, NULL, true);
	__builtin_unreachable();
}

/* R7: every call that did not wait counts; the clock is read once in 64 of them. */
void wait_done_quickly(void)
{
	struct task *t = task_running();
	struct sched *s;
	int64_t now_ns;

	if (!t || ++t->quick_calls % QUICK_CALLS)
		return;
	s = t->sched;
	now_ns = sys_now();
	if (!s->slice_end_ns)
		s->slice_end_ns = now_ns + s->cfg.slice_ns;
	else if (now_ns >= s->slice_end_ns || t->quick_calls >= QUICK_CALLS * QUICK_CALLS)
		sched_slice_over(s, t, now_ns);
}

void sched_slice_over(struct sched *s, struct task *t, int64_t now_ns)
{
	s->stats.slices_ended++;
	if (now_ns >= s->run_end_ns)
		s->run_left = s->run_looks = 0;
	task_yield(t);
}

void sched_check(const struct sched *s)
{
	unsigned ready = 0, all = 0;

	list_for_each (n, &s->ready) {
		RLN_ASSERT(container_of(n, struct task, node)->state == TASK_READY);
		ready++;
	}
	list_for_each (n, &s->tasks) {
		const struct task *t = container_of(n, struct task, all);
		RLN_ASSERT(t->sched == s);
		if (t->state == TASK_READY)
			RLN_ASSERT(ready-- > 0);
		/* I1: an op of a task's is out only while the task waits for it. */
		if (t->k.io)
			RLN_ASSERT(t->state != TASK_DEAD && t->wait == WAIT_K);
		if (timer_armed(&t->timer))
			RLN_ASSERT(t->state == TASK_PARKED);
		all++;
	}
	RLN_ASSERT(ready == 0);
	RLN_ASSERTF(all == s->stats.tasks, "%u, not %llu", all, (unsigned long long)s->stats.tasks);
}
