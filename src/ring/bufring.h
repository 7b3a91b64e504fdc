/*
 * One provided-buffer group: the memory, the ring the kernel takes buffers from, and the lease of
 * every buffer. A buffer id is in exactly one place (INV-12): in the ring (free), staged (given
 * back, published by the next bufring_publish), or leased (delivered, somebody reads it).
 */
#ifndef RINGLINE_RING_BUFRING_H
#define RINGLINE_RING_BUFRING_H

#include "ring/ring.h"

enum bufring_place { BUF_UNFILLED, BUF_FREE, BUF_STAGED, BUF_LEASED };

struct bufring {
	struct ring *ring;
	struct io_uring_buf_ring *br; /* page-aligned, capacity entries */
	uint8_t *mem;	   /* capacity * buf_bytes, reserved up front, touched when filled */
	uint8_t *place;	   /* [capacity] enum bufring_place */
	unsigned capacity; /* power of two, 1..32768 */
	unsigned filled;   /* buffers in circulation, <= capacity */
	unsigned free;	   /* BUF_FREE + BUF_STAGED */
	unsigned staged;
	uint32_t buf_bytes;
	uint16_t group;
	uint64_t grows;
};

/* Create and register group with `filled` buffers of buf_bytes in circulation. 0 or -errno. */
int bufring_open(struct bufring *b, struct ring *r, uint16_t group, unsigned capacity,
		 unsigned filled, uint32_t buf_bytes, struct diag *why);
/* Unregisters, then frees. Call before ring_close() when no receive is armed. */
void bufring_close(struct bufring *b);
/* Memory of buffer bid. */
static inline uint8_t *bufring_addr(const struct bufring *b, unsigned bid)
{
	return b->mem + (size_t)bid * b->buf_bytes;
}
/* What it was when buffers were last published, and differs after that: mod 65536. */
static inline uint16_t bufring_tail(const struct bufring *b)
{
	return b->br->tail;
}
/* The kernel delivered bid: FREE -> LEASED. Asserts bid and its place. */
void bufring_take(struct bufring *b, unsigned bid);
/* Done with bid: LEASED -> STAGED. */
void bufring_give(struct bufring *b, unsigned bid);
/* Make staged buffers visible to the kernel. A stage of the turn: before it may sleep. */
void bufring_publish(struct bufring *b);
/* Put up to n more buffers in circulation (staged). Returns how many. */
unsigned bufring_grow(struct bufring *b, unsigned n);
/* Debug walker: every id is in exactly one place and the counts agree. */
void bufring_check(const struct bufring *b);

#endif
