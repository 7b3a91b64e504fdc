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

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define STACK_SCALE 4
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#undef STACK_SCALE
#define STACK_SCALE 4
#endif
#ifndef STACK_SCALE
#define STACK_SCALE 1 /* instrumented code needs larger frames: 4 under sanitizers */
#endif

struct stack {
	struct list node; /* free or cold list of its class */
	struct stack_slab *slab;
	uint8_t *bottom, *top; /* usable [bottom, top); the guard ends at bottom */
	uint8_t *deepest;      /* lowest stack pointer seen at a park since the last trim */
	int64_t idle_ns;       /* when it was put back */
	unsigned valgrind_id;
	uint16_t colour; /* bytes the top was lowered by, so that tops do not share a cache set */
	uint8_t cls;
	bool mapped; /* its guard costs mappings: counted */
#if STACK_SCALE > 1
	void *asan_fake; /* ASan fake stack */
	void *tsan_fiber;
#endif
};

#define STACK_CLASSES 5	     /* 64 K, 128 K, 512 K, 2 M, 8 M, times STACK_SCALE */
#define STACK_SLAB_SLOTS 256 /* at most, as many as fit into STACK_SLAB_BYTES, at least 8 */
#define STACK_SLAB_BYTES (64u << 20)

/*
 * Stacks that are not handed out stand in one of two lists, newest first: free (warm, taken first)
 * and cold (their pages have been given back). Slots of the newest slab that were never used come
 * last.
 */
struct stack_class {
	size_t bytes;
	struct list free, cold;
	struct stack_slab *fresh; /* has slots that were never handed out; NULL: none */
	unsigned free_count;	  /* in free and cold */
	unsigned total;		  /* in free and cold, and handed out */
};

struct stack_pool {
	struct stack_class cls[STACK_CLASSES];
	struct list slabs;
	size_t guard_bytes;
	enum stack_guard guard_kind;
	unsigned keep;
	unsigned map_limit;	/* mappings all guards of the process may add; fallback only */
	bool strict_overcommit; /* slabs are reserved without access, opened slot by slot */
	bool limit_told;
	unsigned puts;
	int64_t shrunk_ns;
	uint64_t trims, slabs_mapped, slabs_unmapped, mprotect_guards;
};

int stack_pool_open(struct stack_pool *p, size_t guard_bytes, unsigned keep);
void stack_pool_close(struct stack_pool *p);
/*
 * A stack of at least bytes. 0, -EINVAL (more than the largest class), -ENOMEM, -EAGAIN (mapping
 * limit: the log names vm.max_map_count).
 */
int stack_get(struct stack_pool *p, size_t bytes, struct stack **out);
void stack_put(struct stack_pool *p, struct stack *s, int64_t now_ns);
/* Make n stacks of the class for bytes ready to be taken. 0, or the errors of stack_get(). */
int stack_prewarm(struct stack_pool *p, size_t bytes, unsigned n);
uint8_t *stack_guard_begin(const struct stack *s);
/* Return the pages below sp to the kernel. */
void stack_trim(struct stack_pool *p, struct stack *s, void *sp);
/*
 * Give back pages of up to max stacks that nobody took since before_ns. Returns the idle_ns of the
 * longest idle one that is left warm, INT64_MAX if there is none.
 */
int64_t stack_pool_cool(struct stack_pool *p, int64_t before_ns, unsigned max);
/* Unmap whole slabs of unused stacks beyond keep: half of the surplus, once a minute. */
void stack_pool_shrink(struct stack_pool *p, int64_t now_ns);
/* Stacks that are unused and mapped. */
unsigned stack_pool_cached(const struct stack_pool *p);

#endif
