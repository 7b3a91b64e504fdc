/*
 * Cells for messages. A cell costs the taker one compare-exchange on a line that only takers touch,
 * and the giver a count; memory is asked for, and given back, once a block, and not at all while
 * one block at a time is enough.
 */
#include "base/cells.h"
#include "base/assert.h"
#include "base/sys.h"
#include <errno.h>
#include <stdbool.h>

#define BLOCK_BYTES 4096u /* and its alignment: the bits below it are the count */
#define COUNT_MASK ((uint64_t)BLOCK_BYTES - 1)
#define CAME (UINT64_C(1) << 48) /* user addresses end below */
#define BLOCK_MASK (CAME - 1 - COUNT_MASK)

struct cell {
	/* of those returned; what else is in it is the taker's */
	_Alignas(CELL_BYTES) struct cell *next;
};

struct cell_block {
	struct cells *cells;
	unsigned given; /* back, of all that were handed out since it was opened; the consumer's */
	struct cell cell[CELLS_A_BLOCK];
};
_Static_assert(sizeof(struct cell_block) == BLOCK_BYTES, "a block is a page, aligned");

static struct cell_block *block_of(uint64_t open)
{
	return (struct cell_block *)(uintptr_t)(open & BLOCK_MASK);
}

static bool used_up(uint64_t open)
{
	return (open & COUNT_MASK) == CELLS_A_BLOCK;
}

void cells_init(struct cells *c)
{
	atomic_init(&c->open, CELLS_A_BLOCK); /* of no block */
	atomic_init(&c->left, 0);
	atomic_init(&c->blocks, 0);
	for (int i = 0; i < CELL_SPARES; i++)
		atomic_init(&c->spare[i], NULL);
	atomic_init(&c->returned, NULL);
}

static void block_free(struct cells *c, struct cell_block *b)
{
	sys_free(b);
	atomic_fetch_sub(&c->blocks, 1);
}

/* Keep b for the next that is opened. */
static void block_spare(struct cells *c, struct cell_block *b)
{
	b->given = 0;
	for (int i = 0; b && i < CELL_SPARES; i++)
		b = atomic_exchange(&c->spare[i], b);
	if (b)
		block_free(c, b);
}

static struct cell_block *block_new(struct cells *c, int *why)
{
	struct cell_block *b = NULL;

	for (int i = 0; !b && i < CELL_SPARES; i++)
		b = atomic_exchange(&c->spare[i], NULL);
	if (b)
		return b;
	*why = -EAGAIN;
	if (atomic_fetch_add(&c->blocks, 1) < CELL_BLOCKS_MAX) {
		*why = -ENOMEM;
		b = sys_alloc_aligned(BLOCK_BYTES, sizeof *b);
	}
	if (!b) {
		atomic_fetch_sub(&c->blocks, 1);
		return NULL;
	}
	RLN_ASSERT(block_of((uintptr_t)b) == b);
	b->cells = c;
	b->given = 0;
	return b;
}

/* The open block is used up: another one. The caller has come already. */
static void *take_of_next(struct cells *c, int *why)
{
	uint64_t open = atomic_load(&c->open);
	struct cell_block *b = NULL;

	for (;;) {
		uint64_t next = open + 1;
		if (used_up(open)) {
			if (!b && !(b = block_new(c, why)))
				return NULL;
			next = (open & ~(CAME - 1)) | (uintptr_t)b | 1;
		}
		if (!atomic_compare_exchange_weak(&c->open, &open, next))
			continue;
		struct cell *cell = &block_of(next)->cell[(next & COUNT_MASK) - 1];
		if (b && block_of(next) != b)
			block_spare(c, b); /* another thread was faster */
		return cell;
	}
}

void *cells_take(struct cells *c, int *why)
{
	uint64_t open = atomic_load_explicit(&c->open, memory_order_relaxed);

	while (!used_up(open))
		if (atomic_compare_exchange_weak(&c->open, &open, open + CAME + 1))
			return &block_of(open)->cell[open & COUNT_MASK];
	atomic_fetch_add(&c->open, CAME);
	return take_of_next(c, why);
}

void cells_give(void *cell)
{
	struct cell_block *b = block_of((uintptr_t)cell);

	if (++b->given == CELLS_A_BLOCK)
		block_spare(b->cells, b);
}

void cells_return(struct cells *c, void *cell)
{
	struct cell *e = cell;

	e->next = atomic_load(&c->returned);
	while (!atomic_compare_exchange_weak(&c->returned, &e->next, e))
		;
}

void cells_fini(struct cells *c)
{
	uint64_t open;

	while (open = atomic_load(&c->open), (uint16_t)(open / CAME) != atomic_load(&c->left))
		sys_thread_yield();
	for (struct cell *e = atomic_load(&c->returned), *next; e; e = next) {
		next = e->next;
		cells_give(e);
	}
	struct cell_block *b = block_of(open);
	if (b && !used_up(open)) {
		RLN_ASSERTF(b->given == (open & COUNT_MASK), "%u of %u given back", b->given,
			    (unsigned)(open & COUNT_MASK));
		block_free(c, b);
	}
	for (int i = 0; i < CELL_SPARES; i++) {
		b = atomic_load(&c->spare[i]);
		if (b)
			block_free(c, b);
	}
	RLN_ASSERTF(!atomic_load(&c->blocks), "%u blocks are out", atomic_load(&c->blocks));
}
