/*
 * The life of a task: its record, its birth, its end and who is told. Records are slots with
 * generations, so a handle that outlived its task is found out.
 */
#include "base/assert.h"
#include "base/log.h"
#include "base/mark.h"
#include "base/opts.h"
#include "base/sys.h"
#include "ringline/sync.h"
#include "task/fiber.h"
#include "task/internal.h"
#include "task/switch.h"
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COPY_MAX_SHARE 4 /* a copied argument takes at most this part of the stack */
#define STACK_ALIGN ((size_t)16)

void task_misuse(const char *fmt, ...)
{
	char line[512] = "ringline: ";
	size_t n = strlen(line);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line + n, sizeof line - n, fmt, ap);
	va_end(ap);
	sys_log_write(line);
	abort();
}

static int chunk_add(struct sched *s)
{
	struct task *page;

	if (s->chunks == s->chunks_max)
		return -EAGAIN;
	page = sys_zalloc(TASK_CHUNK * sizeof *page);
	if (!page) {
		RLN_MARK("task-record-without-memory");
		return -ENOMEM;
	}
	for (unsigned i = TASK_CHUNK; i-- > 0;) {
		page[i].slot = s->chunks * TASK_CHUNK + i;
		page[i].generation = 1;
		page[i].sched = s;
		page[i].state = TASK_DEAD;
		list_push_front(&s->free, &page[i].node);
	}
	s->chunk[s->chunks++] = page;
	return 0;
}

/* An empty record, in state NEW, in no list. */
static int record_take(struct sched *s, struct task **out)
{
	struct task *t;

	if (sched_full(s)) {
		LOG_ONCE(RLN_LOG_WARN, "%u tasks on one worker: no more until some end (max_tasks)",
			 s->cfg.max_tasks);
		RLN_MARK("task-too-many");
		return -EAGAIN;
	}
	if (list_empty(&s->free)) {
		int err = chunk_add(s);
		if (err)
			return err;
	}
	t = container_of(list_pop_front(&s->free), struct task, node);
	*t = (struct task){ .slot = t->slot,
			    .generation = t->generation,
			    .sched = s,
			    .state = TASK_DEAD,
			    .wake_ns = INT64_MAX };
	task_set_state(t, TASK_NEW);
	list_init(&t->node);
	list_init(&t->sibling);
	list_init(&t->joiner);
	timer_init(&t->timer, task_timer_fire);
	op_cancel_init(&t->k.cancel, kop_cancel_done);
	*out = t;
	return 0;
}

static void record_give(struct task *t)
{
	struct sched *s = t->sched;

	RLN_ASSERT(t->state == TASK_DEAD || t->state == TASK_NEW);
	RLN_ASSERT(!t->k.io && !op_busy(&t->k.cancel.op)); /* I5 */
	list_remove(&t->all);
	s->stats.tasks--;
	if (++t->generation == 0)
		t->generation = 1; /* an all-zero handle is none */
	list_push_front(&s->free, &t->node);
}

void task_drop(struct task *t, unsigned hold)
{
	t->holds &= (uint8_t)~hold;
	if (!t->holds)
		record_give(t);
}

static rln_task handle_of(const struct task *t)
{
	return (rln_task){ (uint64_t)t->sched->worker_index << 56 | (uint64_t)t->slot << 32 |
			   t->generation };
}

/* INV-41: 0, -EXDEV or -ESRCH. */
static int handle_find(struct sched *s, rln_task h, struct task **out)
{
	unsigned slot = h.h >> 32 & 0xffffff;
	struct task *t;

	if (!h.h)
		return -ESRCH;
	if (h.h >> 56 != s->worker_index)
		return -EXDEV;
	if (slot / TASK_CHUNK >= s->chunks)
		return -ESRCH;
	t = &s->chunk[slot / TASK_CHUNK][slot % TASK_CHUNK];
	if (t->generation != (uint32_t)h.h || !t->holds)
		return -ESRCH;
	*out = t;
	return 0;
}

/* ---- the end */

/* I7: nothing of a task's may outlive its stack. */
static void check_end(const struct task *t)
{
	if (t->scope)
		task_misuse("task " TASK_LABEL " returned inside the %s begun at %s:%d",
			    TASK_LABEL_ARGS(t), t->scope->group ? "group" : "scope", t->scope->file,
			    t->scope->line);
	RLN_ASSERT(!t->k.io);
	RLN_ASSERT(!t->waiter);
}

static void task_main(void *arg)
{
	struct task *t = arg;
	void *keys[RLN_KEYS_MAX];
	struct group kids;

	task_arrived(t);
	group_init(&kids, t);
	t->kids = &kids;
	t->keys = keys;
	t->result = t->cancelled ? -ECANCELED : t->fn(t->arg);
	if (t->keys_set)
		keys_end(t);
	check_end(t);
	if (kids.spawned)
		group_join_all(&kids, "its children");
	t->kids = NULL;
	task_leave(t);
}

void task_reap(struct task *t)
{
	struct sched *s = t->sched;
	size_t depth = (size_t)(t->stack->top - t->stack->deepest);

	if (depth > s->stats.stack_high_water)
		s->stats.stack_high_water = depth;
	fiber_end(t->stack);
	stack_put(&s->stacks, t->stack, s->loop->now_ns); /* I8 */
	t->stack = NULL;
	sched_idle_arm(s);
	if (t->ended)
		t->ended(t);
	wake_all(&t->joiner, 0);
	if (t->group)
		group_child_ended(t);
	task_drop(t, HOLD_LIFE);
}

/* ---- birth */

int task_create(struct sched *s, const struct task_spec *spec, struct task **out)
{
	size_t bytes = spec->stack_bytes ? spec->stack_bytes : s->cfg.stack_bytes;
	size_t copy = (spec->copy_bytes + STACK_ALIGN - 1) & ~(STACK_ALIGN - 1);
	struct stack *st;
	struct task *t;
	uint8_t *top;
	int err;

	if (!spec->fn || spec->copy_bytes > bytes / COPY_MAX_SHARE)
		return -EINVAL;
	err = record_take(s, &t);
	if (err)
		return err;
	err = stack_get(&s->stacks, bytes, &st);
	if (err) {
		RLN_MARK("task-without-a-stack");
		task_set_state(t, TASK_DEAD);
		list_push_front(&s->free, &t->node);
		return err;
	}
	fiber_begin(st);
	top = st->top - st->colour - copy;
	if (copy)
		memcpy(top, spec->copy, spec->copy_bytes);
	t->stack = st;
	t->sp = switch_prepare(top, task_main, t);
	t->fn = spec->fn;
	t->arg = copy ? top : spec->arg;
	t->name = spec->name;
	t->file = spec->file ? spec->file : "?";
	t->line = spec->line;
	t->holds = HOLD_LIFE;
	t->detached = !spec->group;
	t->cancelled = s->cancelled;
	if (spec->group)
		group_adopt(spec->group, t);
	list_push_back(&s->tasks, &t->all);
	s->stats.spawns++;
	if (++s->stats.tasks > s->stats.tasks_peak)
		s->stats.tasks_peak = s->stats.tasks;
	task_set_state(t, TASK_READY);
	list_push_back(&s->ready, &t->node);
	*out = t;
	return 0;
}

void task_cancel_one(struct task *t)
{
	if (t->cancelled || !(t->holds & HOLD_LIFE))
		return;
	t->cancelled = true;
	t->sched->stats.cancels++;
	task_recheck(t);
}

void task_cancel(struct task *t)
{
	if (t->cancelled || !(t->holds & HOLD_LIFE))
		return;
	task_cancel_one(t);
	tree_visit(t, NULL, task_cancel_one);
}

void sched_cancel_all(struct sched *s)
{
	s->cancelled = true;
	list_for_each (n, &s->tasks)
		task_cancel(container_of(n, struct task, all));
}

/* ---- public */

static int read_opts(const rln_task_opts *o, size_t size, rln_task_opts *out)
{
	int e = opts_copy(out, sizeof *out, o, size);
	return e ? e : out->copy_size && !out->copy ? -EINVAL : 0;
}

int task_read_opts(struct task_spec *spec, const rln_task_opts *o, size_t size)
{
	rln_task_opts opts;
	int err = read_opts(o, size, &opts);

	spec->name = opts.name;
	spec->stack_bytes = opts.stack_size;
	spec->copy = opts.copy;
	spec->copy_bytes = opts.copy_size;
	return err;
}

static int start(struct sched *s, struct task_spec *spec, const rln_task_opts *o, size_t size,
		 struct task **out)
{
	int err = task_read_opts(spec, o, size);
	return err ? err : task_create(s, spec, out);
}

int rln_go_at(int (*fn)(void *arg), void *arg, const rln_task_opts *o, size_t opts_size,
	      const char *file, int line)
{
	struct task_spec spec = { .fn = fn, .arg = arg, .file = file, .line = line };
	struct sched *s = sched_current();
	struct task *t;

	return s ? start(s, &spec, o, opts_size, &t) : wait_enter("rln_go");
}

int rln_spawn_at(int (*fn)(void *arg), void *arg, const rln_task_opts *o, rln_task *out,
		 size_t opts_size, const char *file, int line)
{
	struct task_spec spec = { .fn = fn, .arg = arg, .file = file, .line = line };
	struct task *t = task_running();
	int err;

	if (!t)
		return wait_enter("rln_spawn");
	spec.group = t->kids;
	err = start(t->sched, &spec, o, opts_size, &t);
	if (!err && out)
		*out = handle_of(t);
	return err;
}

int task_join_begin(rln_task h, struct task **out)
{
	struct task *t;
	int err = handle_find(sched_current(), h, &t);

	if (err)
		return err;
	if (t == task_running())
		return -EDEADLK;
	if (t->holds & HOLD_JOINER)
		return -EBUSY;
	if (!(t->holds & (HOLD_LIFE | HOLD_PARENT)))
		return -ESRCH; /* only its cancel op is still out */
	*out = t;
	return 0;
}

void task_join_end(struct task *t, int *result)
{
	if (result)
		*result = t->result;
	/* a group's children are told by the group as well */
	if (t->group && t->group == t->group->mark.task->kids)
		group_release(t);
}

int rln_join(rln_task h, int *result)
{
	int err = wait_enter("rln_join");
	struct task *t;

	if (err)
		return err;
	err = task_join_begin(h, &t);
	if (!err && !task_has_ended(t)) {
		t->holds |= HOLD_JOINER;
		err = wait_on(&t->joiner, "rln_join");
		if (!err)
			task_join_end(t, result);
		task_drop(t, HOLD_JOINER);
		return err;
	}
	if (!err)
		task_join_end(t, result);
	wait_done_quickly();
	return err;
}

int rln_cancel(rln_task h)
{
	struct sched *s = sched_current();
	struct task *t;
	int err;

	if (!s)
		return wait_enter("rln_cancel");
	err = handle_find(s, h, &t);
	if (err)
		return err;
	if (!(t->holds & HOLD_LIFE))
		return -ESRCH;
	task_cancel(t);
	return 0;
}

rln_task rln_self(void)
{
	struct task *t = task_running();
	return t ? handle_of(t) : (rln_task){ 0 };
}
