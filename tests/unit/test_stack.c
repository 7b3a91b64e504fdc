/* Stacks: guards of every kind, the pool, what it gives back. */
#include "base/log.h"
#include "base/sys.h"
#include "ring/uapi.h"
#include "task/fiber.h"
#include "task/stack.h"
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define GUARD 16384
#define KIB 1024u
#define MINUTE (60 * INT64_C(1000000000))

static struct stack_pool pool;
static struct stack *stacks[600];

static void open_pool(unsigned keep)
{
	CHECK_INT(stack_pool_open(&pool, GUARD, keep), ==, 0);
}

static void touch(struct stack *s, size_t bytes)
{
	memset(s->top - bytes, 0x5a, bytes);
}

static unsigned resident(const struct stack *s)
{
	size_t page = sys_page_size(), n = (size_t)(s->top - s->bottom) / page;
	unsigned char vec[4096];
	unsigned count = 0;

	CHECK_INT(n, <=, sizeof vec);
	CHECK_INT(mincore(s->bottom, n * page, vec), ==, 0);
	for (size_t i = 0; i < n; i++)
		count += vec[i] & 1;
	return count;
}

static void write_guard_end(void)
{
	*(volatile uint8_t *)(stacks[0]->bottom - 1) = 1;
}

static void write_guard_begin(void)
{
	*(volatile uint8_t *)stack_guard_begin(stacks[0]) = 1;
}

#if STACK_SCALE > 1
#define CHECK_FAULTS(fn) CHECK_DIES(fn, SANITIZER_EXIT, "SEGV")
#if defined(FIBER_TSAN)
#define SANITIZER_EXIT -66
#else
#define SANITIZER_EXIT -1
#endif
#else
#define CHECK_FAULTS(fn) CHECK_DIES(fn, SIGSEGV, NULL)
#endif

TEST(stack_is_usable_to_the_last_byte_and_guarded_below)
{
	open_pool(0);
	for (unsigned i = 0; i < 3; i++)
		CHECK_INT(stack_get(&pool, 128 * KIB, &stacks[i]), ==, 0);
	for (unsigned i = 0; i < 3; i++) {
		struct stack *s = stacks[i];
		CHECK_INT(s->top - s->bottom, ==, 128 * KIB * STACK_SCALE);
		CHECK_INT(s->bottom - stack_guard_begin(s), ==, GUARD);
		CHECK_INT((uintptr_t)s->top % 16, ==, 0);
		touch(s, 128 * KIB * STACK_SCALE);
	}
	CHECK_FAULTS(write_guard_end);
	CHECK_FAULTS(write_guard_begin);
	for (unsigned i = 0; i < 3; i++)
		stack_put(&pool, stacks[i], 0);
	stack_pool_close(&pool);
}

TEST(stack_size_picks_the_next_class)
{
	static const struct {
		size_t asked, got;
	} row[] = { { 1, 64 },		{ 64 * KIB, 64 },    { 64 * KIB + 1, 128 },
		    { 200 * KIB, 512 }, { 513 * KIB, 2048 }, { 8192 * KIB, 8192 } };

	open_pool(0);
	for (unsigned i = 0; i < sizeof row / sizeof *row; i++) {
		CHECK_INT(stack_get(&pool, row[i].asked, &stacks[0]), ==, 0);
		CHECK_INT(stacks[0]->top - stacks[0]->bottom, ==, row[i].got * KIB * STACK_SCALE);
		touch(stacks[0], 4096);
		stack_put(&pool, stacks[0], 0);
	}
	CHECK_INT(stack_get(&pool, 8192 * KIB + 1, &stacks[0]), ==, -EINVAL);
	stack_pool_close(&pool);
}

TEST(stack_pool_hands_out_the_warmest_first)
{
	struct stack *s;

	open_pool(8);
	for (unsigned i = 0; i < 3; i++)
		CHECK_INT(stack_get(&pool, 1, &stacks[i]), ==, 0);
	for (unsigned i = 0; i < 3; i++)
		stack_put(&pool, stacks[i], i);
	CHECK_INT(stack_pool_cached(&pool), ==, 3);
	for (unsigned i = 3; i-- > 0;) {
		CHECK_INT(stack_get(&pool, 1, &s), ==, 0);
		CHECK(s == stacks[i]);
	}
	CHECK_INT(stack_pool_cached(&pool), ==, 0);
	for (unsigned i = 0; i < 3; i++)
		stack_put(&pool, stacks[i], i);
	stack_pool_close(&pool);
}

TEST(stack_tops_have_different_colours)
{
	open_pool(0);
	for (unsigned i = 0; i < 16; i++) {
		CHECK_INT(stack_get(&pool, 1, &stacks[i]), ==, 0);
		CHECK_INT(stacks[i]->colour % 16, ==, 0);
		CHECK_INT(stacks[i]->colour, <, 1024);
		for (unsigned k = 0; k < i; k++)
			CHECK(stacks[k]->colour != stacks[i]->colour);
	}
	for (unsigned i = 0; i < 16; i++)
		stack_put(&pool, stacks[i], 0);
	stack_pool_close(&pool);
}

TEST(stack_fallback_guards_by_mapping_and_counts)
{
	open_pool(0);
	pool.guard_kind = STACK_GUARD_MPROTECT;
	CHECK_INT(stack_get(&pool, 1, &stacks[0]), ==, 0);
	CHECK_INT(stack_get(&pool, 1, &stacks[1]), ==, 0);
	CHECK_INT(pool.mprotect_guards, ==, 2);
	touch(stacks[0], 64 * KIB * STACK_SCALE);
	touch(stacks[1], 64 * KIB * STACK_SCALE);
	CHECK_FAULTS(write_guard_end);
	CHECK_FAULTS(write_guard_begin);
	stack_put(&pool, stacks[0], 0);
	CHECK_INT(stack_get(&pool, 1, &stacks[0]), ==, 0);
	CHECK_INT(pool.mprotect_guards, ==, 2); /* a pooled stack keeps its guard */
	stack_put(&pool, stacks[0], 0);
	stack_put(&pool, stacks[1], 0);
	stack_pool_close(&pool);
	CHECK_INT(pool.mprotect_guards, ==, 0);
}

static char said[LOG_LINE_MAX];
static unsigned said_lines;

static void hear(int level, const char *msg, void *arg)
{
	(void)arg;
	CHECK_INT(level, ==, RLN_LOG_ERROR);
	snprintf(said, sizeof said, "%s", msg);
	said_lines++;
}

TEST(stack_fallback_stops_at_its_share_of_the_mappings)
{
	struct log_sink sink = { .fn = hear };

	log_use(&sink);
	open_pool(0);
	pool.guard_kind = STACK_GUARD_MPROTECT;
	pool.map_limit = 10;
	for (unsigned i = 0; i < 5; i++)
		CHECK_INT(stack_get(&pool, 1, &stacks[i]), ==, 0);
	CHECK_INT(stack_get(&pool, 1, &stacks[5]), ==, -EAGAIN);
	CHECK_HAS(said, "vm.max_map_count");
	CHECK_INT(stack_get(&pool, 1, &stacks[5]), ==, -EAGAIN);
	CHECK_INT(said_lines, ==, 1);
	stack_put(&pool, stacks[4], 0);
	CHECK_INT(stack_get(&pool, 1, &stacks[4]), ==, 0);
	for (unsigned i = 0; i < 5; i++)
		stack_put(&pool, stacks[i], 0);
	stack_pool_close(&pool);
	/* The mappings went with the slabs: they can be used again. */
	open_pool(0);
	pool.guard_kind = STACK_GUARD_MPROTECT;
	pool.map_limit = 2;
	CHECK_INT(stack_get(&pool, 1, &stacks[0]), ==, 0);
	stack_put(&pool, stacks[0], 0);
	stack_pool_close(&pool);
}

TEST(stack_strict_overcommit_opens_slot_by_slot)
{
	open_pool(0);
	pool.strict_overcommit = true;
	CHECK_INT(stack_get(&pool, 1, &stacks[0]), ==, 0);
	touch(stacks[0], 64 * KIB * STACK_SCALE);
	CHECK_FAULTS(write_guard_end);
	CHECK_FAULTS(write_guard_begin);
	CHECK_INT(pool.mprotect_guards, ==, 1);
	stack_put(&pool, stacks[0], 0);
	stack_pool_close(&pool);
}

TEST(stack_trim_gives_back_what_is_below_and_keeps_what_is_above)
{
	size_t page = sys_page_size();

	open_pool(0);
	CHECK_INT(stack_get(&pool, 128 * KIB, &stacks[0]), ==, 0);
	struct stack *s = stacks[0];
	touch(s, 100 * KIB);
	CHECK_INT(resident(s), >=, 25);
	stack_trim(&pool, s, s->top - 1000);
	CHECK_INT(resident(s), ==, (1000 + 128 + page - 1) / page);
	CHECK_INT(s->top[-1000], ==, 0x5a);
	CHECK_INT(s->top[-1], ==, 0x5a);
	CHECK_INT(s->bottom[0], ==, 0);
	CHECK_INT(pool.trims, ==, 1);
	CHECK_FAULTS(write_guard_end); /* guards survive it */
	stack_put(&pool, s, 0);
	stack_pool_close(&pool);
}

TEST(stack_put_gives_back_a_deep_one_and_keeps_a_shallow_one)
{
	open_pool(0);
	CHECK_INT(stack_get(&pool, 128 * KIB, &stacks[0]), ==, 0);
	touch(stacks[0], 12 * KIB);
	stacks[0]->deepest = stacks[0]->top - 12 * KIB;
	stack_put(&pool, stacks[0], 0);
	CHECK_INT(pool.trims, ==, 0);
	CHECK_INT(stack_get(&pool, 128 * KIB, &stacks[0]), ==, 0);
	touch(stacks[0], 100 * KIB);
	stacks[0]->deepest = stacks[0]->top - 100 * KIB;
	stack_put(&pool, stacks[0], 0);
	CHECK_INT(pool.trims, ==, 1);
	CHECK_INT(resident(stacks[0]), <=, 5);
	stack_pool_close(&pool);
}

TEST(stack_pool_cools_those_nobody_took)
{
	open_pool(100);
	for (unsigned i = 0; i < 3; i++) {
		CHECK_INT(stack_get(&pool, 1, &stacks[i]), ==, 0);
		touch(stacks[i], 8192);
	}
	for (unsigned i = 0; i < 3; i++)
		stack_put(&pool, stacks[i], 100 + i);
	CHECK_INT(stack_pool_cool(&pool, 99, 10), ==, 100);
	CHECK_INT(resident(stacks[0]), >=, 2);
	CHECK_INT(stack_pool_cool(&pool, 101, 1), ==, 101); /* one at most */
	CHECK_INT(resident(stacks[0]), ==, 0);
	CHECK_INT(resident(stacks[1]), >=, 2);
	CHECK_INT(stack_pool_cool(&pool, 101, 10), ==, 102);
	CHECK_INT(resident(stacks[1]), ==, 0);
	CHECK_INT(resident(stacks[2]), >=, 2);
	CHECK_INT(stack_pool_cool(&pool, 200, 10), ==, INT64_MAX);
	CHECK_INT(stack_pool_cached(&pool), ==, 3);
	stack_pool_close(&pool);
}

TEST(stack_pool_shrinks_by_whole_slabs_to_what_it_keeps)
{
	unsigned per_slab;

	open_pool(10);
	for (unsigned i = 0; i < 600; i++)
		CHECK_INT(stack_get(&pool, 1, &stacks[i]), ==, 0);
	per_slab = 600 / (unsigned)pool.slabs_mapped;
	CHECK_INT(pool.slabs_mapped, >=, 2);
	CHECK_INT(per_slab, <=, 300);
	for (unsigned i = 600; i-- > 1;)
		stack_put(&pool, stacks[i], 0);
	uint64_t before = pool.slabs_unmapped;
	for (int64_t now = MINUTE; now < 20 * MINUTE; now += MINUTE) {
		stack_pool_shrink(&pool, now);
		uint64_t once = pool.slabs_unmapped;
		stack_pool_shrink(&pool, now + 1); /* once a minute */
		CHECK_INT(pool.slabs_unmapped, ==, once);
	}
	CHECK_INT(pool.slabs_unmapped, >, before);
	/* The slab of the one that is out stays, as do so many as are to be kept. */
	CHECK_INT(pool.slabs_mapped - pool.slabs_unmapped, >=, 1);
	CHECK_INT(stack_pool_cached(&pool), >=, 10);
	CHECK_INT(stack_pool_cached(&pool), <=, 10 + STACK_SLAB_SLOTS);
	touch(stacks[0], 8192);
	stack_put(&pool, stacks[0], 0);
	stack_pool_close(&pool);
	CHECK_INT(pool.slabs_mapped, ==, pool.slabs_unmapped);
}

TEST(stack_prewarm_makes_so_many_ready)
{
	open_pool(100);
	CHECK_INT(stack_prewarm(&pool, 128 * KIB, 64), ==, 0);
	CHECK_INT(stack_pool_cached(&pool), ==, 64);
	CHECK_INT(stack_prewarm(&pool, 128 * KIB, 64), ==, 0);
	CHECK_INT(stack_pool_cached(&pool), ==, 64);
	CHECK_INT(stack_get(&pool, 128 * KIB, &stacks[0]), ==, 0);
	CHECK_INT(stack_pool_cached(&pool), ==, 63);
	stack_put(&pool, stacks[0], 0);
	stack_pool_close(&pool);
}

static unsigned mappings(void)
{
	char buf[65536];
	unsigned lines = 0;
	int fd = open("/proc/self/maps", O_RDONLY);
	for (ssize_t n; (n = read(fd, buf, sizeof buf)) > 0;)
		for (ssize_t i = 0; i < n; i++)
			lines += buf[i] == '\n';
	close(fd);
	return lines;
}

TEST(stack_light_guards_cost_no_mapping)
{
	open_pool(0);
	if (pool.guard_kind != STACK_GUARD_MADVISE) {
		stack_pool_close(&pool);
		SKIP("kernel without MADV_GUARD_INSTALL (6.13)");
	}
	unsigned before = mappings();
	for (unsigned i = 0; i < 500; i++)
		CHECK_INT(stack_get(&pool, 1, &stacks[i]), ==, 0);
	CHECK_INT(mappings() - before, <, 50); /* two each would be a thousand */
	CHECK_INT(pool.mprotect_guards, ==, 0);
	for (unsigned i = 0; i < 500; i++)
		stack_put(&pool, stacks[i], 0);
	stack_pool_close(&pool);
}
