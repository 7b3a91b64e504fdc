/*
 * The switch between two stacks: saves what the ABI says a called function must preserve, and goes
 * on where the other stack left. Control words (rounding mode) are not saved: they belong to the
 * worker. Knows nothing of tasks.
 */
#ifndef RINGLINE_TASK_SWITCH_H
#define RINGLINE_TASK_SWITCH_H

#include <stdint.h>
#include <string.h>

/* Park this stack, its pointer in *save, and go on with load. Returns when somebody switches back.
 */
void task_switch(void **save, void *load);
/* Where a new stack begins: calls the function switch_prepare() stored. Never called from C. */
void task_switch_entry(void);

/*
 * Lay out a new stack, so that the first switch to the pointer returned calls fn(arg). top is
 * 16-aligned; fn must not return.
 */
static inline void *switch_prepare(void *top, void (*fn)(void *), void *arg)
{
#if defined(__x86_64__)
	/* r15 r14 r13 r12 rbx rbp, where to go, and two words: fn is called with rsp aligned */
	uintptr_t frame[9] = {
		0, 0, 0, (uintptr_t)fn, (uintptr_t)arg, 0, (uintptr_t)task_switch_entry
	};
#elif defined(__aarch64__)
	/* x29 x30 x19..x28 d8..d15 */
	uintptr_t frame[20] = { 0, (uintptr_t)task_switch_entry, (uintptr_t)fn, (uintptr_t)arg };
#else
#error "no task switch for this architecture: add switch_<arch>.S"
#endif
	char *sp = (char *)top - sizeof frame;
	memcpy(sp, frame, sizeof frame);
	return sp;
}

#endif
