/* Cells for messages: each is one taker's, blocks come and go, the bound, the end. */
#include "base/cells.h"
#include "base/list.h"
#include "base/mpsc.h"
#include "test.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>

static struct cells c;

static void *take(void)
{
	int why = 0;
	void *cell = cells_take(&c, &why);

	CHECK(cell || why == -EAGAIN);
	cells_leave(&c);
	return cell;
}

static unsigned blocks(void)
{
	return atomic_load(&c.blocks);
}

static void must_take(void **cell, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		cell[i] = take();
		CHECK(cell[i] != NULL);
	}
}

static int by_address(const void *a, const void *b)
{
	uintptr_t x = (uintptr_t) * (void *const *)a, y = (uintptr_t) * (void *const *)b;
	return (x > y) - (x < y);
}

TEST(cells_unused_cost_nothing)
{
	cells_init(&c);
	CHECK_INT(blocks(), ==, 0);
	cells_fini(&c);
}

TEST(cells_taken_are_distinct_and_do_not_overlap)
{
	enum { N = 3 * CELLS_A_BLOCK + 1 };
	static void *cell[N];

	cells_init(&c);
	must_take(cell, N);
	CHECK_INT(blocks(), ==, 4);
	qsort(cell, N, sizeof cell[0], by_address);
	for (unsigned i = 0; i < N; i++) {
		CHECK_INT((uintptr_t)cell[i] % CELL_BYTES, ==, 0);
		CHECK(i == 0 || (char *)cell[i] - (char *)cell[i - 1] >= CELL_BYTES);
	}
	for (unsigned i = 0; i < N; i++)
		cells_give(cell[i]);
	cells_fini(&c);
}

TEST(cells_given_back_at_once_stay_in_three_blocks)
{
	cells_init(&c);
	for (unsigned i = 0; i < 100 * CELLS_A_BLOCK; i++) {
		cells_give(take());
		CHECK_INT(blocks(), <=, 3);
	}
	cells_fini(&c);
}

TEST(cells_after_a_peak_are_freed_but_for_three_blocks)
{
	static void *cell[50 * CELLS_A_BLOCK];
	const unsigned n = sizeof cell / sizeof *cell;

	cells_init(&c);
	must_take(cell, n);
	CHECK_INT(blocks(), ==, 50);
	for (unsigned i = 0; i < n; i++) /* any order */
		cells_give(cell[(size_t)i * 7919 % n]);
	CHECK_INT(blocks(), <=, 3);
	cells_fini(&c);
}

TEST(cells_at_the_bound_are_refused_until_a_block_is_free)
{
	static void *cell[CELLS_MAX];

	cells_init(&c);
	must_take(cell, CELLS_MAX);
	for (unsigned i = 0; i < 100000; i++) /* more often than the word has counts */
		CHECK(take() == NULL);
	CHECK_INT(blocks(), ==, CELL_BLOCKS_MAX);
	for (unsigned i = 0; i < CELLS_A_BLOCK - 1; i++)
		cells_give(cell[i]);
	CHECK(take() == NULL);
	cells_give(cell[CELLS_A_BLOCK - 1]);
	must_take(cell, CELLS_A_BLOCK);
	CHECK(take() == NULL);
	for (unsigned i = 0; i < CELLS_MAX; i++)
		cells_give(cell[i]);
	cells_fini(&c);
}

/* Of those that were given and those that were not, every block is freed: LeakSanitizer looks. */
TEST(cells_returned_are_freed_at_the_end)
{
	static void *cell[5 * CELLS_A_BLOCK / 2];
	const unsigned n = sizeof cell / sizeof *cell;

	cells_init(&c);
	must_take(cell, n);
	for (unsigned i = 0; i < n; i++) {
		if (i % 3)
			cells_give(cell[i]);
		else
			cells_return(&c, cell[i]);
	}
	cells_fini(&c);
	CHECK_INT(blocks(), ==, 0);
}

static void end_with_one_out(void)
{
	cells_init(&c);
	take();
	cells_fini(&c);
}

TEST(cells_end_with_a_cell_out_aborts)
{
	CHECK_DIES(end_with_one_out, SIGABRT, "0 of 1 given back");
}

/* ---- the end waits for a thread that has its cell and has not left */
static atomic_int stage;

static void *late(void *arg)
{
	int why;
	void *cell = cells_take(&c, &why);

	CHECK(cell != NULL);
	cells_return(&c, cell);
	atomic_store(&stage, 1);
	while (atomic_load(&stage) == 1)
		sched_yield();
	cells_leave(&c);
	return arg;
}

static void *ender(void *arg)
{
	cells_fini(&c);
	CHECK_INT(atomic_load(&stage), ==, 2);
	return arg;
}

TEST(cells_end_waits_for_who_has_not_left)
{
	pthread_t thread[2];

	cells_init(&c);
	CHECK(pthread_create(&thread[0], NULL, late, NULL) == 0);
	while (atomic_load(&stage) == 0)
		sched_yield();
	CHECK(pthread_create(&thread[1], NULL, ender, NULL) == 0);
	for (int i = 0; i < 1000; i++)
		sched_yield(); /* a chance to end too soon */
	atomic_store(&stage, 2);
	for (int i = 0; i < 2; i++)
		CHECK(pthread_join(thread[i], NULL) == 0);
}

/* ---- as it is used: takers push what they took, the consumer gives it back */
enum { TAKERS = 4, EACH = 20000 };

struct message {
	struct mpsc_node node;
	uint64_t taker, number, sum;
};
_Static_assert(sizeof(struct message) == CELL_BYTES, "a cell, filled");

static struct mpsc queue;

static void *taker(void *arg)
{
	uint64_t who = (uintptr_t)arg;

	for (uint64_t i = 0; i < EACH; i++) {
		int why;
		struct message *m;
		while (!(m = cells_take(&c, &why))) {
			cells_leave(&c);
			sched_yield();
		}
		*m = (struct message){ .taker = who, .number = i, .sum = who * EACH + i };
		mpsc_push(&queue, &m->node);
		cells_leave(&c);
	}
	return NULL;
}

TEST(cells_from_many_threads_arrive_as_they_were_filled)
{
	pthread_t thread[TAKERS];
	uint64_t next[TAKERS] = { 0 };

	cells_init(&c);
	mpsc_init(&queue);
	for (uintptr_t i = 0; i < TAKERS; i++)
		CHECK(pthread_create(&thread[i], NULL, taker, (void *)i) == 0);
	for (unsigned left = TAKERS * EACH; left;) {
		struct mpsc_node *n = mpsc_take(&queue);
		if (!n)
			sched_yield();
		while (n) {
			struct message m = *container_of(n, struct message, node);
			cells_give(container_of(n, struct message, node));
			CHECK_INT(m.number, ==, next[m.taker]++);
			CHECK_INT(m.sum, ==, m.taker * EACH + m.number);
			n = m.node.next;
			left--;
		}
	}
	for (int i = 0; i < TAKERS; i++)
		CHECK(pthread_join(thread[i], NULL) == 0);
	CHECK_INT(blocks(), <=, 3);
	cells_fini(&c);
}
