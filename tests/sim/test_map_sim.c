/*
 * Mappings that outlive the run that made them: the next run must find them as fresh ones, and
 * whoever touches one after its end must be found.
 */
#include "base/sys.h"
#include "ring/uapi.h"
#include "seed.h"
#include "sim/sim.h"
#include "test.h"
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#else
#define __asan_address_is_poisoned(p) ((void)(p), 0)
#endif

#define PAGE 4096u
#define GUARD (4 * PAGE)
#define SLAB (64 * 20 * PAGE)

static struct world *begin(void)
{
	struct world *w = world_new(1, NULL);

	seed_set(1);
	world_enter(w);
	return w;
}

static void end(struct world *w)
{
	char why[100] = "";

	CHECK(world_check_quiet(w, why, sizeof why));
	world_enter(NULL);
	world_free(w);
}

static uint8_t *map(size_t n, int flags)
{
	int err = 0;
	uint8_t *p = sys_map(n, flags, &err);

	CHECK(p);
	return p;
}

/* Asked of the kernel, past every sanitizer. */
static bool there(const uint8_t *p)
{
	int fd[2];

	CHECK_INT(pipe(fd), ==, 0);
	long n = syscall(SYS_write, fd[1], p, 1);
	close(fd[0]);
	close(fd[1]);
	return n == 1;
}

TEST(sim_map_used_again_is_zero)
{
	struct world *w = begin();
	uint8_t *first = map(3 * PAGE, 0), *p;

	memset(first, 7, 3 * PAGE);
	sys_unmap(first, 3 * PAGE);
	end(w);
	w = begin();
	p = map(3 * PAGE, 0);
	CHECK(p == first); /* or this shows nothing */
	for (unsigned i = 0; i < 3 * PAGE; i++)
		CHECK_INT(p[i], ==, 0);
	sys_unmap(p, 3 * PAGE);
	end(w);
}

static void write_after_unmap(void)
{
	struct world *w = begin();
	volatile uint8_t *p = map(2 * PAGE, SYS_MAP_NORESERVE);

	sys_unmap((void *)p, 2 * PAGE);
	p[PAGE + 5] = 1;
	end(w);
}

static void write_and_map_again(void)
{
	begin();
	volatile uint8_t *p = map(PAGE, 0);

	sys_unmap((void *)p, PAGE);
	p[0]++;
	map(PAGE, 0);
}

static void check_poison(void)
{
	struct world *w = begin();
	uint8_t *p = map(2 * PAGE, 0), *slab = map(SLAB, SYS_MAP_STACK);

	for (unsigned i = 0; i < 3; i++)
		CHECK_INT(sys_advise(slab + i * 20 * PAGE, GUARD, RU_MADV_GUARD_INSTALL), ==, 0);
	sys_unmap(p, 2 * PAGE);
	sys_unmap(slab, SLAB);
	CHECK(__asan_address_is_poisoned(p) && __asan_address_is_poisoned(p + 2 * PAGE - 1));
	CHECK(__asan_address_is_poisoned(slab + GUARD));
	CHECK(__asan_address_is_poisoned(slab + 3 * 20 * PAGE - 1));
	CHECK(map(2 * PAGE, 0) == p && map(SLAB, SYS_MAP_STACK) == slab);
	CHECK(!__asan_address_is_poisoned(p) && !__asan_address_is_poisoned(p + 2 * PAGE - 1));
	sys_unmap(p, 2 * PAGE);
	sys_unmap(slab, SLAB);
	end(w);
}

/* AddressSanitizer ends the process at the touch; without it the write is found later. */
TEST(sim_map_touched_after_unmap_is_found)
{
	if (mem_poisons) {
		check_poison();
		return;
	}
	CHECK_DIES(write_after_unmap, SIGABRT, "written to after its end");
	CHECK_DIES(write_and_map_again, SIGABRT, "written to after its end");
}

/* A slab with so many stacks, each behind its guard. */
static uint8_t *slab_with(unsigned stacks, size_t guard, size_t stride)
{
	uint8_t *p = map(SLAB, SYS_MAP_NORESERVE | SYS_MAP_STACK);

	for (unsigned i = 0; i < stacks; i++)
		CHECK_INT(sys_advise(p + i * stride, guard, RU_MADV_GUARD_INSTALL), ==, 0);
	return p;
}

static void check_guards(uint8_t *slab, unsigned stacks, size_t guard, size_t stride)
{
	for (unsigned i = 0; i < stacks; i++) {
		CHECK(!there(slab + i * stride) && !there(slab + i * stride + guard - 1));
		CHECK(there(slab + i * stride + guard) && there(slab + (i + 1) * stride - 1));
	}
}

TEST(sim_map_guards_are_where_the_next_slab_wants_them)
{
	static const struct {
		unsigned stacks;
		size_t guard, stride;
	} row[] = {
		{ 5, GUARD, 20 * PAGE },    { 2, GUARD, 20 * PAGE },	{ 7, GUARD, 20 * PAGE },
		{ 3, 2 * PAGE, 20 * PAGE }, { 2, 2 * PAGE, 32 * PAGE }, { 4, GUARD, 16 * PAGE }
	};
	struct world *w = begin();
	uint8_t *p = map(PAGE, SYS_MAP_NORESERVE | SYS_MAP_STACK);

	if (sys_advise(p, PAGE, RU_MADV_GUARD_INSTALL) < 0)
		SKIP("this kernel has no MADV_GUARD_INSTALL");
	sys_unmap(p, PAGE);
	for (unsigned i = 0; i < sizeof row / sizeof *row; i++) {
		p = slab_with(row[i].stacks, row[i].guard, row[i].stride);
		check_guards(p, row[i].stacks, row[i].guard, row[i].stride);
		sys_unmap(p, SLAB);
	}
	end(w);
}

TEST(sim_map_trim_of_a_stack_clears_what_is_next_to_its_live_part)
{
	struct world *w = begin();
	uint8_t *p = slab_with(2, GUARD, 20 * PAGE), *top = p + 20 * PAGE;

	memset(top - 4 * PAGE, 7, 4 * PAGE);
	CHECK_INT(sys_advise(p + GUARD, 15 * PAGE, MADV_DONTNEED), ==, 0);
	for (unsigned i = 0; i < 3 * PAGE; i++)
		CHECK_INT(top[-4 * (int)PAGE + (int)i], ==, 0);
	CHECK_INT(top[-(int)PAGE], ==, 7);
	sys_unmap(p, SLAB);
	end(w);
}
