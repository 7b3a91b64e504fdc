/*
 * What long idle tasks and stacks give back: the pages below the stack pointer of a task that has
 * been parked for stack_trim_idle, those of unused stacks, and whole slabs when the pool is far too
 * large. A bounded piece at a time, from a timer that runs only while there may be something to do.
 */
#include "task/internal.h"

#define IDLE_BATCH 256	       /* stacks trimmed in one turn, about a microsecond each */
#define IDLE_PAUSE_NS 1000000  /* until the next batch */
#define IDLE_STEP_NS 250000000 /* granularity: a quarter of a second late at most */

/* Trim the tasks parked before before_ns. Returns how many; *next: when the next one is due. */
static unsigned trim_parked(struct sched *s, int64_t before_ns, int64_t *next)
{
	unsigned n = 0;

	while (!list_empty(&s->parked)) {
		struct task *t = container_of(s->parked.next, struct task, node);
		if (t->parked_ns > before_ns || n == IDLE_BATCH) {
			*next = t->parked_ns;
			break;
		}
		size_t depth = (size_t)(t->stack->top - t->stack->deepest);
		if (depth > s->stats.stack_high_water)
			s->stats.stack_high_water = depth;
		if (depth > t->peak_bytes)
			t->peak_bytes = (unsigned)depth;
		stack_trim(&s->stacks, t->stack, t->sp);
		list_remove(&t->node);
		list_push_back(&s->trimmed, &t->node);
		n++;
	}
	return n;
}

void idle_fire(struct timer *timer)
{
	struct sched *s = container_of(timer, struct sched, idle);
	int64_t now_ns = s->loop->now_ns, idle_ns = s->cfg.stack_trim_idle_ns;
	int64_t parked = INT64_MAX, unused, next;
	unsigned done;

	done = trim_parked(s, now_ns - idle_ns, &parked);
	unused = stack_pool_cool(&s->stacks, now_ns - idle_ns, IDLE_BATCH - done);
	stack_pool_shrink(&s->stacks, now_ns);
	next = parked < unused ? parked : unused;
	if (next == INT64_MAX)
		return;
	next += idle_ns;
	if (next <= now_ns)
		next = now_ns + IDLE_PAUSE_NS;
	else if (next < now_ns + IDLE_STEP_NS)
		next = now_ns + IDLE_STEP_NS;
	timer_arm(&s->loop->wheel, &s->idle, next);
}
