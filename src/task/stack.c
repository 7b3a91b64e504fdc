/*
 * Stacks: reserved a slab of slots at a time, guarded one by one when first handed out, and reused
 * newest first. Nothing here runs in steady state but two list operations. What a stack is used
 * for, and when it is idle, is the scheduler's business.
 */
#include "task/stack.h"
#include "base/assert.h"
#include "base/log.h"
#include "base/sys.h"
#include "ring/uapi.h"
#include "task/fiber.h"
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define COLOURS 16
#define COLOUR_BYTES 64
#define WARM_BYTES (16u << 10) /* what a stack keeps of its pages when its task ends */
#define TRIM_ON_PUT 64	       /* one put in so many trims without having seen a deep stack */
#define SHRINK_NS (60 * (int64_t)1000000000)
#define MAPS_DEFAULT 65530 /* vm.max_map_count where it cannot be read */

struct stack_slab {
	struct list node;
	void *base;
	size_t bytes;
	size_t guard_bytes;
	unsigned slots, used, out; /* used: handed out at least once; out: now */
	uint8_t cls;
	struct stack stack[];
};

/* Mappings made by guards, of all pools: the limit is the process's. Only the fallback counts. */
static _Atomic(unsigned) guard_maps;

static const size_t class_bytes[STACK_CLASSES] = { 64u << 10, 128u << 10, 512u << 10, 2u << 20,
						   8u << 20 };

static uint64_t read_number(const char *path, uint64_t otherwise)
{
	char text[32];
	if (sys_read_file(path, text, sizeof text) <= 0)
		return otherwise;
	return strtoull(text, NULL, 10);
}

/*
 * Tried on a page of its own: kernels before 6.13 do not know it, locked memory refuses it, and
 * emulators of system calls report success for advice that they ignore.
 */
static enum stack_guard guard_probe(void)
{
	int err;
	size_t n = sys_page_size();
	void *p = sys_map(n, SYS_MAP_NORESERVE | SYS_MAP_STACK, &err);

	if (!p)
		return STACK_GUARD_MPROTECT;
	bool guarded = sys_advise(p, n, RU_MADV_GUARD_INSTALL) >= 0 && !sys_readable(p);
	sys_unmap(p, n);
	return guarded ? STACK_GUARD_MADVISE : STACK_GUARD_MPROTECT;
}

int stack_pool_open(struct stack_pool *p, size_t guard_bytes, unsigned keep)
{
	size_t page = sys_page_size();

	*p = (struct stack_pool){ .keep = keep };
	p->guard_bytes = (guard_bytes + page - 1) & ~(page - 1);
	p->guard_kind = guard_probe();
	p->strict_overcommit = read_number("/proc/sys/vm/overcommit_memory", 0) == 2;
	p->map_limit = (unsigned)(read_number("/proc/sys/vm/max_map_count", MAPS_DEFAULT) / 2);
	list_init(&p->slabs);
	for (unsigned i = 0; i < STACK_CLASSES; i++) {
		p->cls[i].bytes = class_bytes[i] * STACK_SCALE;
		list_init(&p->cls[i].free);
		list_init(&p->cls[i].cold);
	}
	return 0;
}

static void slab_free(struct stack_pool *p, struct stack_slab *slab)
{
	struct stack_class *c = &p->cls[slab->cls];

	RLN_ASSERT(slab->out == 0);
	for (unsigned i = 0; i < slab->used; i++) {
		fiber_stack_gone(&slab->stack[i]);
		list_remove(&slab->stack[i].node);
		c->free_count--;
		c->total--;
		if (slab->stack[i].mapped) {
			atomic_fetch_sub_explicit(&guard_maps, 2, memory_order_relaxed);
			p->mprotect_guards--;
		}
	}
	if (c->fresh == slab)
		c->fresh = NULL;
	list_remove(&slab->node);
	sys_unmap(slab->base, slab->bytes);
	sys_free(slab);
	p->slabs_unmapped++;
}

void stack_pool_close(struct stack_pool *p)
{
	list_for_each_safe (n, next, &p->slabs)
		slab_free(p, container_of(n, struct stack_slab, node));
}

static int slab_make(struct stack_pool *p, unsigned cls, struct stack_slab **out)
{
	size_t slot = p->guard_bytes + p->cls[cls].bytes;
	unsigned slots = (unsigned)(STACK_SLAB_BYTES / slot);
	int err, flags = SYS_MAP_NORESERVE | SYS_MAP_STACK;
	struct stack_slab *slab;

	slots = slots < 8 ? 8 : slots > STACK_SLAB_SLOTS ? STACK_SLAB_SLOTS : slots;
	slab = sys_zalloc(sizeof *slab + slots * sizeof slab->stack[0]);
	if (!slab)
		return -ENOMEM;
	if (p->strict_overcommit)
		flags |= SYS_MAP_NONE;
	slab->bytes = slots * slot;
	slab->base = sys_map(slab->bytes, flags, &err);
	if (!slab->base) {
		sys_free(slab);
		return err;
	}
	/* A huge page would make every stack resident at once. Kernels without them refuse: fine.
	 */
	sys_advise(slab->base, slab->bytes, MADV_NOHUGEPAGE);
	slab->slots = slots;
	slab->cls = (uint8_t)cls;
	slab->guard_bytes = p->guard_bytes;
	list_push_back(&p->slabs, &slab->node);
	p->slabs_mapped++;
	*out = slab;
	return 0;
}

static int limit_reached(struct stack_pool *p)
{
	if (!p->limit_told)
		log_line(RLN_LOG_ERROR,
			 "no more task stacks: their guards use %u memory mappings, half of what "
			 "the system allows this process; raise sysctl vm.max_map_count",
			 atomic_load_explicit(&guard_maps, memory_order_relaxed));
	p->limit_told = true;
	return -EAGAIN;
}

uint8_t *stack_guard_begin(const struct stack *s)
{
	return s->bottom - s->slab->guard_bytes;
}

/*
 * Without the light guard each slot splits its slab in two more mappings. Under strict overcommit
 * the slab has no access to begin with, and it is the usable part that is opened.
 */
static int guard_by_mapping(struct stack_pool *p, struct stack *st)
{
	int err;

	if (atomic_fetch_add_explicit(&guard_maps, 2, memory_order_relaxed) + 2 > p->map_limit) {
		atomic_fetch_sub_explicit(&guard_maps, 2, memory_order_relaxed);
		return limit_reached(p);
	}
	if (p->strict_overcommit)
		err = sys_protect(st->bottom, p->cls[st->cls].bytes, true);
	else
		err = sys_protect(stack_guard_begin(st), p->guard_bytes, false);
	if (err < 0) {
		atomic_fetch_sub_explicit(&guard_maps, 2, memory_order_relaxed);
		return err == -ENOMEM && !p->strict_overcommit ? limit_reached(p) : -ENOMEM;
	}
	st->mapped = true;
	p->mprotect_guards++;
	return 0;
}

/* INV-37: one of the two, or an error. */
static int guard_install(struct stack_pool *p, struct stack *st)
{
	if (p->guard_kind == STACK_GUARD_MADVISE && !p->strict_overcommit &&
	    sys_advise(stack_guard_begin(st), p->guard_bytes, RU_MADV_GUARD_INSTALL) >= 0)
		return 0;
	return guard_by_mapping(p, st);
}

/* The next slot that was never handed out. */
static int carve(struct stack_pool *p, unsigned cls, struct stack **out)
{
	struct stack_class *c = &p->cls[cls];
	struct stack *st;
	int err;

	if (!c->fresh) {
		err = slab_make(p, cls, &c->fresh);
		if (err)
			return err;
	}
	unsigned i = c->fresh->used;
	st = &c->fresh->stack[i];
	list_init(&st->node);
	st->slab = c->fresh;
	st->cls = (uint8_t)cls;
	st->bottom = (uint8_t *)c->fresh->base + i * (p->guard_bytes + c->bytes) + p->guard_bytes;
	st->top = st->bottom + c->bytes;
	st->deepest = st->top;
	st->colour = (uint16_t)(i % COLOURS * COLOUR_BYTES);
	err = guard_install(p, st);
	if (err)
		return err;
	fiber_stack_made(st);
	if (++c->fresh->used == c->fresh->slots)
		c->fresh = NULL;
	c->total++;
	*out = st;
	return 0;
}

/* Smallest class that holds bytes, or -EINVAL. */
static int class_of(const struct stack_pool *p, size_t bytes)
{
	for (unsigned i = 0; i < STACK_CLASSES; i++)
		if (bytes * STACK_SCALE <= p->cls[i].bytes)
			return (int)i;
	return -EINVAL;
}

int stack_get(struct stack_pool *p, size_t bytes, struct stack **out)
{
	int err, cls = class_of(p, bytes);
	struct stack_class *c;
	struct list *n;

	if (cls < 0)
		return cls;
	c = &p->cls[cls];
	n = list_pop_front(&c->free);
	if (!n)
		n = list_pop_front(&c->cold);
	if (n) {
		c->free_count--;
		*out = container_of(n, struct stack, node);
	} else {
		err = carve(p, (unsigned)cls, out);
		if (err)
			return err;
	}
	(*out)->slab->out++;
	return 0;
}

static void put_back(struct stack_pool *p, struct stack *st, struct list *where)
{
	RLN_ASSERT(!list_linked(&st->node));
	RLN_ASSERT(st->slab->out > 0);
	st->slab->out--;
	list_push_front(where, &st->node);
	p->cls[st->cls].free_count++;
}

void stack_put(struct stack_pool *p, struct stack *st, int64_t now_ns)
{
	/* Depth between two parks is not seen: so now and then without having been told. */
	if (st->top - st->deepest > 2 * (int)WARM_BYTES || ++p->puts % TRIM_ON_PUT == 0)
		stack_trim(p, st, st->top - WARM_BYTES);
	st->deepest = st->top;
	st->idle_ns = now_ns;
	put_back(p, st, &p->cls[st->cls].free);
}

int stack_prewarm(struct stack_pool *p, size_t bytes, unsigned n)
{
	int cls = class_of(p, bytes);
	struct stack *st;

	if (cls < 0)
		return cls;
	while (p->cls[cls].free_count < n) {
		int err = carve(p, (unsigned)cls, &st);
		if (err)
			return err;
		st->slab->out++;
		put_back(p, st, &p->cls[cls].cold);
	}
	return 0;
}

void stack_trim(struct stack_pool *p, struct stack *st, void *sp)
{
	uintptr_t page = sys_page_size(), end = ((uintptr_t)sp - 128) & ~(page - 1);

	if (end <= (uintptr_t)st->bottom)
		return;
	sys_advise(st->bottom, end - (uintptr_t)st->bottom, MADV_DONTNEED);
	st->deepest = sp;
	p->trims++;
}

int64_t stack_pool_cool(struct stack_pool *p, int64_t before_ns, unsigned max)
{
	int64_t oldest = INT64_MAX;

	for (unsigned i = 0; i < STACK_CLASSES; i++) {
		struct list *free = &p->cls[i].free;
		for (; !list_empty(free); max--) {
			struct stack *st = container_of(free->prev, struct stack, node);
			if (st->idle_ns > before_ns || max == 0) {
				oldest = st->idle_ns < oldest ? st->idle_ns : oldest;
				break;
			}
			stack_trim(p, st, st->top + 128);
			list_remove(&st->node);
			list_push_front(&p->cls[i].cold, &st->node);
		}
	}
	return oldest;
}

void stack_pool_shrink(struct stack_pool *p, int64_t now_ns)
{
	unsigned surplus[STACK_CLASSES];

	if (now_ns - p->shrunk_ns < SHRINK_NS)
		return;
	p->shrunk_ns = now_ns;
	for (unsigned i = 0; i < STACK_CLASSES; i++) {
		unsigned spare = p->cls[i].free_count;
		surplus[i] = spare > p->keep ? (spare - p->keep + 1) / 2 : 0;
	}
	list_for_each_safe (n, next, &p->slabs) {
		struct stack_slab *slab = container_of(n, struct stack_slab, node);
		/* Whole slabs only, and never below keep. */
		if (slab->out || surplus[slab->cls] == 0 ||
		    p->cls[slab->cls].free_count < p->keep + slab->used)
			continue;
		surplus[slab->cls] -=
			slab->used < surplus[slab->cls] ? slab->used : surplus[slab->cls];
		slab_free(p, slab);
	}
}

unsigned stack_pool_cached(const struct stack_pool *p)
{
	unsigned n = 0;
	for (unsigned i = 0; i < STACK_CLASSES; i++)
		n += p->cls[i].free_count;
	return n;
}
