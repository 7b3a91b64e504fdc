/*
 * What the sanitizers and valgrind must be told about stacks and switches. Everything here is empty
 * in an ordinary build. Always inlined: the sanitizers want the announcement and the switch in one
 * frame.
 */
#ifndef RINGLINE_TASK_FIBER_H
#define RINGLINE_TASK_FIBER_H

#include "task/task.h"

#if defined(__SANITIZE_ADDRESS__)
#define FIBER_ASAN 1
#elif defined(__SANITIZE_THREAD__)
#define FIBER_TSAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define FIBER_ASAN 1
#elif __has_feature(thread_sanitizer)
#define FIBER_TSAN 1
#endif
#endif

#if defined(FIBER_ASAN)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#include <sanitizer/lsan_interface.h>
#elif defined(FIBER_TSAN)
#include <sanitizer/tsan_interface.h>
#endif
#if defined(__has_include)
#if __has_include(<valgrind/valgrind.h>)
#include <valgrind/valgrind.h>
#endif
#endif

#define FIBER_INLINE static inline __attribute__((always_inline, unused))

/* A slot is used for the first time. */
FIBER_INLINE void fiber_stack_made(struct stack *st)
{
	(void)st;
#if defined(FIBER_ASAN)
	__lsan_register_root_region(st->bottom, (size_t)(st->top - st->bottom));
#endif
#if defined(VALGRIND_STACK_REGISTER)
	st->valgrind_id = (unsigned)VALGRIND_STACK_REGISTER(st->bottom, st->top);
#endif
}

/* Its memory is about to go. */
FIBER_INLINE void fiber_stack_gone(struct stack *st)
{
	(void)st;
#if defined(FIBER_ASAN)
	__lsan_unregister_root_region(st->bottom, (size_t)(st->top - st->bottom));
	__asan_unpoison_memory_region(st->bottom, (size_t)(st->top - st->bottom));
#endif
#if defined(VALGRIND_STACK_DEREGISTER)
	VALGRIND_STACK_DEREGISTER(st->valgrind_id);
#endif
}

/* A task begins on it. The frames of the one before were never left, so they are still poisoned. */
FIBER_INLINE void fiber_begin(struct stack *st)
{
	(void)st;
#if defined(FIBER_ASAN)
	__asan_unpoison_memory_region(st->bottom, (size_t)(st->top - st->bottom));
	st->asan_fake = NULL;
#elif defined(FIBER_TSAN)
	st->tsan_fiber = __tsan_create_fiber(0);
#endif
}

/* The loop has left the stack of a dead task for good. */
FIBER_INLINE void fiber_end(struct stack *st)
{
	(void)st;
#if defined(FIBER_TSAN)
	__tsan_destroy_fiber(st->tsan_fiber);
	st->tsan_fiber = NULL;
#endif
}

/* Right before the switch. NULL: the loop. dying: from never runs again. */
FIBER_INLINE void fiber_leave(struct sched *s, struct task *from, struct task *to, bool dying)
{
	(void)s, (void)from, (void)to, (void)dying;
#if defined(FIBER_ASAN)
	void **fake = from ? &from->stack->asan_fake : &s->asan_loop_fake;
	s->from_loop = !from;
	if (to)
		__sanitizer_start_switch_fiber(dying ? NULL : fake, to->stack->bottom,
					       (size_t)(to->stack->top - to->stack->bottom));
	else
		__sanitizer_start_switch_fiber(dying ? NULL : fake, s->asan_loop_bottom,
					       s->asan_loop_bytes);
#elif defined(FIBER_TSAN)
	if (!from)
		s->tsan_loop_fiber = __tsan_get_current_fiber();
	__tsan_switch_to_fiber(to ? to->stack->tsan_fiber : s->tsan_loop_fiber, 0);
#endif
}

/* Right after the switch, on the stack of self (NULL: the loop). */
FIBER_INLINE void fiber_arrive(struct sched *s, struct task *self)
{
	(void)s, (void)self;
#if defined(FIBER_ASAN)
	const void *bottom;
	size_t bytes;
	__sanitizer_finish_switch_fiber(self ? self->stack->asan_fake : s->asan_loop_fake, &bottom,
					&bytes);
	if (s->from_loop) {
		s->asan_loop_bottom = bottom;
		s->asan_loop_bytes = bytes;
	}
#endif
}

#endif
