/*
 * Memory for messages of one size from any thread to one: any thread takes a cell, the consumer
 * gives it back. Cells stand in blocks that are handed out from front to back, and a block is free
 * again when all of it was given back, so nobody links cells to a list and neither side touches the
 * other's cache lines but for the cells themselves. At most CELLS_MAX are out; a block kept by one
 * cell counts whole.
 */
#ifndef RINGLINE_BASE_CELLS_H
#define RINGLINE_BASE_CELLS_H

#include <stdatomic.h>
#include <stdint.h>

#define CELL_BYTES 32
#define CELLS_A_BLOCK 127
#define CELL_BLOCKS_MAX 512
#define CELL_SPARES 2
#define CELLS_MAX (CELL_BLOCKS_MAX * CELLS_A_BLOCK)

struct cell;
struct cell_block;

struct cells {
	/*
	 * The block that is handed out and how many of its cells are, in one word: a cell of it can
	 * only be had by moving the word, so no thread holds the address of a block that is free.
	 * On top, how many threads have come: see cells_leave().
	 */
	_Atomic(uint64_t) open;
	_Atomic(uint16_t) left;
	_Atomic(unsigned) blocks;			 /* that exist */
	_Atomic(struct cell_block *) spare[CELL_SPARES]; /* free ones; the next to open */
	_Atomic(struct cell *) returned;		 /* by cells_return() */
};

void cells_init(struct cells *c);
/*
 * Any thread: a cell, or NULL and -EAGAIN (CELLS_MAX) or -ENOMEM in *why, which means nothing
 * otherwise. Whatever it got, the thread says cells_leave() when it will not touch c, or what c
 * belongs to, any more.
 */
void *cells_take(struct cells *c, int *why);
static inline void cells_leave(struct cells *c)
{
	atomic_fetch_add_explicit(&c->left, 1, memory_order_release);
}
/* Any thread: the consumer will not get cell. It is free again at the end only. */
void cells_return(struct cells *c, void *cell);
/* The consumer: cell may be taken again. */
void cells_give(void *cell);
/* The consumer, at the end, when all were given back: waits for threads that have not left. */
void cells_fini(struct cells *c);

#endif
