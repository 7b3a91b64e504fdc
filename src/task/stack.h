/*
 * Task stacks: slabs of guarded slots, pooled LIFO. See docs/ARCHITECTURE.md (stacks). Never
 * silently unguarded: MADV_GUARD_INSTALL, or mprotect up to a counted number of mappings, or
 * -EAGAIN with a log line that names the sysctl.
 */
#ifndef RINGLINE_TASK_STACK_H
#define RINGLINE_TASK_STACK_H

#include "base/list.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum stack_guard { STACK_GUARD_MADVISE, STACK_GUARD_MPROTECT };

struct stack_slab;

struct stack {
	struct list node;	/* free list of its class */
	struct stack_slab *slab;
	uint8_t *guard, *bottom, *top; /* guard <= bottom < top; usable [bottom, top) */
	uint8_t *deepest;	/* lowest stack pointer seen at a park since the last trim */
	void *asan_fake;	/* ASan fake stack */
	void *tsan_fiber;
	unsigned valgrind_id;
	uint16_t cls;
	uint16_t colour;	/* bytes the top was lowered by, so that tops do not share a cache set */
};

#define STACK_CLASSES 5 /* 64 K, 128 K, 512 K, 2 M, 8 M (x4 under sanitizers) */

struct stack_class {
	size_t bytes;
	struct list free;
	unsigned free_count, total;
};

struct stack_pool {
	struct stack_class cls[STACK_CLASSES];
	struct list slabs;
	size_t guard_bytes;
	enum stack_guard guard_kind;
	unsigned keep;
	bool strict_overcommit;
	uint64_t trims, slabs_mapped, slabs_unmapped, mprotect_guards;
};

int stack_pool_open(struct stack_pool *p, size_t guard_bytes, unsigned keep);
void stack_pool_close(struct stack_pool *p);
/* A stack of at least bytes. 0, -ENOMEM, -EAGAIN (mapping limit: the log names vm.max_map_count). */
int stack_get(struct stack_pool *p, size_t bytes, struct stack **out);
void stack_put(struct stack_pool *p, struct stack *s);
/* Return the pages below sp to the kernel. */
void stack_trim(struct stack_pool *p, struct stack *s, void *sp);
/* Unmap surplus slabs (idle turns). */
void stack_pool_shrink(struct stack_pool *p);

#endif
