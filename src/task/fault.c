/*
 * A stack that overflows is fatal; this says whose it was. Two ways to find out: the guard, by the
 * signal it raises, and the stack pointer of a task that parks, when a large frame jumped over it.
 */
#include "base/sys.h"
#include "task/internal.h"
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#define ALTSTACK_BYTES (64u << 10)

static void describe(const struct task *t, const char *what)
{
	char line[512];
	size_t kib = (size_t)(t->stack->top - t->stack->bottom) >> 10;

	snprintf(line, sizeof line,
		 "ringline: stack overflow in task " TASK_LABEL ", stack %zu KiB, raise "
		 ".stack_size%s",
		 TASK_LABEL_ARGS(t), kib, what);
	sys_log_write(line);
}

/* In a signal handler, on the alternate stack; the process ends right after. */
static void on_fault(const void *addr)
{
	struct task *t = task_running();
	const uint8_t *p = addr;

	if (t && t->stack && p >= stack_guard_begin(t->stack) && p < t->stack->bottom)
		describe(t, "");
}

void fault_thread_enter(struct sched *s)
{
	static atomic_flag caught = ATOMIC_FLAG_INIT;
	int err;

	s->altstack_tid = sys_thread_id();
	if (!atomic_flag_test_and_set(&caught))
		sys_fault_catch(on_fault);
	s->altstack = sys_map(ALTSTACK_BYTES, SYS_MAP_NORESERVE | SYS_MAP_STACK, &err);
	if (s->altstack && sys_altstack_set(s->altstack, ALTSTACK_BYTES) != 1) {
		/* The thread has one of its own, or can have none: no report without one. */
		sys_unmap(s->altstack, ALTSTACK_BYTES);
		s->altstack = NULL;
	}
}

void fault_thread_leave(struct sched *s)
{
	if (!s->altstack)
		return;
	if (s->altstack_tid == sys_thread_id())
		sys_altstack_clear(s->altstack);
	sys_unmap(s->altstack, ALTSTACK_BYTES);
	s->altstack = NULL;
}

void fault_off_stack(const struct task *t, const void *sp)
{
	char where[96];

	snprintf(where, sizeof where, " (a frame went past the guard: it is at %p, bottom %p)", sp,
		 (void *)t->stack->bottom);
	describe(t, where);
	abort();
}
