/*
 * Mappings of the system table. A short schedule would spend a third of its time on mapping,
 * touching and unmapping, so mappings of a thread's runs are kept for its runs to come. What is
 * kept is nobody's: small ones are filled with a pattern that must stand when they are used again
 * or the world is asked whether it is quiet, and AddressSanitizer is told that they are gone.
 *
 * Stacks (SYS_MAP_STACK) are not filled: what is below a stack pointer is garbage anyway. Their
 * guards stay where they are, and the next slab of that size finds them where it puts its own.
 */
#include "base/assert.h"
#include "base/sys.h"
#include "sim/sim.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define KEPT 24
#define SMALL (64u << 10) /* cheaper to fill than to map */
#define GONE 0xdb
#define GUARD_MAX (64u << 10)  /* with larger ones slabs of two layouts may have the same size */
#define LIVE_BYTES (16u << 10) /* of a stack that is trimmed: what lies next to its live part */

struct sim_map {
	struct list node; /* world.maps */
	uint8_t *base;
	size_t bytes; /* whole pages */
	int flags;
	bool altered; /* differs from a fresh one, and not by guards alone */
	bool watched; /* kept, and not looked at since */
	bool no_huge;
	/* Guards, of one size at equal distances from the base on: those there are, and of these
	 * the ones that this life of the mapping has asked for. */
	unsigned guards, asked;
	size_t guard_bytes, stride; /* stride 0: not known yet */
	size_t poisoned;	    /* up to there, by this life's end or that of one before */
};

/* Oldest first. Descriptors by value: a thread that ends leaves nothing on the heap. */
static _Thread_local struct sim_map kept[KEPT];
static _Thread_local unsigned kept_count;

static bool is_small(const struct sim_map *m)
{
	return m->bytes <= SMALL;
}

/* Up to where a stack slab has been handed out. */
static size_t handed_out(const struct sim_map *m)
{
	size_t n = is_small(m) ? m->bytes : m->asked * m->stride;

	return n < m->bytes ? n : m->bytes;
}

/* ---- nobody's memory */
static void fill(struct sim_map *m)
{
	size_t n = handed_out(m);

	if (!(m->flags & SYS_MAP_STACK))
		memset(m->base, GONE, m->bytes);
	mem_kernel(m->base, n);
	m->poisoned = n > m->poisoned ? n : m->poisoned;
}

static void check_filled(struct world *w, const struct sim_map *m)
{
	if (mem_poisons || m->flags & SYS_MAP_STACK)
		return;
	if (m->base[0] != GONE || memcmp(m->base, m->base + 1, m->bytes - 1) != 0)
		world_violates(w, PROP_P2, "a mapping of %zu bytes was written to after its end",
			       m->bytes);
}

void maps_check(struct world *w)
{
	for (unsigned i = 0; i < kept_count; i++) {
		if (kept[i].watched)
			check_filled(w, &kept[i]);
		kept[i].watched = false;
	}
}

static void map_remove(struct sim_map *m)
{
	/* The library lifts the poison of its stacks; and a slab's shadow is megabytes. */
	if (is_small(m) || !(m->flags & SYS_MAP_STACK))
		mem_user(m->base, m->bytes);
	else
		mem_user(m->base, m->poisoned);
	munmap(m->base, m->bytes);
}

static void kept_forget(unsigned i)
{
	kept_count--;
	memmove(&kept[i], &kept[i + 1], (kept_count - i) * sizeof kept[0]);
}

static bool kept_take(struct world *w, struct sim_map *m)
{
	unsigned i = kept_count;

	while (i && (kept[i - 1].bytes != m->bytes || kept[i - 1].flags != m->flags))
		i--;
	if (!i--)
		return false;
	check_filled(w, &kept[i]);
	*m = kept[i];
	kept_forget(i);
	if (is_small(m)) { /* of a slab each stack, by the task that begins on it */
		mem_user(m->base, m->bytes);
		m->poisoned = 0;
	}
	if (!(m->flags & SYS_MAP_STACK))
		memset(m->base, 0, m->bytes);
	m->asked = 0;
	return true;
}

static bool kept_put(struct sim_map *m)
{
	if (m->flags & SYS_MAP_NONE || m->altered)
		return false;
	if (!is_small(m) && (!m->stride || m->guard_bytes > GUARD_MAX))
		return false;
	if (kept_count == KEPT) {
		map_remove(&kept[0]);
		kept_forget(0);
	}
	fill(m);
	kept[kept_count] = *m;
	kept[kept_count++].watched = true;
	return true;
}

/* ---- the system table */
static bool map_fresh(struct sim_map *m)
{
	int prot = m->flags & SYS_MAP_NONE ? PROT_NONE : PROT_READ | PROT_WRITE;
	void *p = mmap(NULL, m->bytes, prot, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	m->base = p;
	return p != MAP_FAILED;
}

static size_t whole_pages(size_t n)
{
	return (n + SIM_PAGE - 1) & ~(size_t)(SIM_PAGE - 1);
}

void *sys_map(size_t n, int flags, int *err)
{
	struct world *w = world_here();
	struct sim_map want = { .bytes = whole_pages(n), .flags = flags }, *m;

	*err = -ENOMEM;
	if (alloc_fails(w) || (!kept_take(w, &want) && !map_fresh(&want)))
		return NULL;
	m = malloc(sizeof *m);
	RLN_ASSERT(m);
	*m = want;
	list_init(&m->node);
	list_push_back(&w->maps, &m->node);
	return m->base;
}

/* The mapping that p lies in. */
static struct sim_map *map_of(struct world *w, const void *p)
{
	list_for_each (n, &w->maps) {
		struct sim_map *m = container_of(n, struct sim_map, node);

		if ((const uint8_t *)p >= m->base && (const uint8_t *)p < m->base + m->bytes)
			return m;
	}
	return NULL;
}

void sys_unmap(void *p, size_t n)
{
	struct world *w = world_here();
	struct sim_map *m;

	if (!p)
		return;
	mem_check_free(w, p, n);
	m = map_of(w, p);
	if (!m || m->base != p)
		world_fail(w, "unmap of %p, which is no mapping", p);
	RLN_ASSERT(m->bytes == whole_pages(n));
	list_remove(&m->node);
	if (!kept_put(m))
		map_remove(m);
	free(m);
}

void maps_drop(struct list *maps)
{
	struct list *n;

	while ((n = list_pop_front(maps))) {
		struct sim_map *m = container_of(n, struct sim_map, node);

		mem_user(m->base, m->bytes);
		munmap(m->base, m->bytes);
		free(m);
	}
}

int sys_protect(void *p, size_t n, bool readwrite)
{
	struct sim_map *m = map_of(world_here(), p);

	if (m)
		m->altered = true;
	return mprotect(p, n, readwrite ? PROT_READ | PROT_WRITE : PROT_NONE) ? -errno : 0;
}

/* Guards that a slab of another layout left. */
static int guards_drop(struct sim_map *m)
{
	for (; m->guards > m->asked; m->guards--)
		if (madvise(m->base + (m->guards - 1) * m->stride, m->guard_bytes,
			    RU_MADV_GUARD_REMOVE))
			return -errno;
	m->stride = m->guards > 1 ? m->stride : 0;
	return 0;
}

static bool guard_fits(const struct sim_map *m, size_t at, size_t n)
{
	if (!m->asked)
		return at == 0 && n == m->guard_bytes;
	return n == m->guard_bytes && at == m->asked * m->stride;
}

static int guard_install(struct sim_map *m, size_t at, size_t n)
{
	int err;

	if (m->asked < m->guards && guard_fits(m, at, n)) {
		m->asked++;
		return 0;
	}
	err = guards_drop(m);
	if (err || madvise(m->base + at, n, RU_MADV_GUARD_INSTALL))
		return err ? err : -errno;
	if (!m->asked && at == 0)
		m->guard_bytes = n;
	if (m->asked == 1 && !m->stride)
		m->stride = at;
	m->altered |= !guard_fits(m, at, n);
	m->guards = ++m->asked;
	return 0;
}

__attribute__((no_sanitize("address"))) static void stack_clear(uint8_t *end, size_t n)
{
	if (!mem_poisons) {
		memset(end - n, 0, n);
		return;
	}
	/* by hand: dead frames may have left poison there */
	for (volatile uint64_t *p = (void *)(end - n); (uint8_t *)p < end; p++)
		*p = 0;
}

int sys_advise(void *p, size_t n, int advice)
{
	struct sim_map *m = map_of(world_here(), p);
	bool stack = m && m->flags & SYS_MAP_STACK;

	if (advice == MADV_WIPEONFORK) /* no world is carried across a fork */
		return 0;
	if (stack && advice == RU_MADV_GUARD_INSTALL)
		return guard_install(m, (size_t)((uint8_t *)p - m->base), n);
	if (stack && advice == MADV_NOHUGEPAGE && m->no_huge)
		return 0;
	if (stack && advice == MADV_DONTNEED) {
		stack_clear((uint8_t *)p + n, n < LIVE_BYTES ? n : LIVE_BYTES);
		return 0;
	}
	if (madvise(p, n, advice))
		return -errno;
	if (stack && advice == MADV_NOHUGEPAGE)
		m->no_huge = true;
	else if (m)
		m->altered = true;
	return 0;
}

size_t sys_page_size(void)
{
	return SIM_PAGE;
}
