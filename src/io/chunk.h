/*
 * Received bytes. A chunk is one run of memory with a reader's position in it: a leased provided
 * buffer (its header is preallocated, one per buffer id) or heap memory from the pools below.
 * Counted references: the receive queue or a lent view holds one, every queued send that points
 * into it holds one more. The last reference gives a buffer back to its ring.
 *
 * Memory of a chunk never moves and bytes before `end` never change while it has a reference.
 */
#ifndef RINGLINE_IO_CHUNK_H
#define RINGLINE_IO_CHUNK_H

#include "loop/inbox.h"
#include <stddef.h>
#include <stdint.h>

struct io;

struct chunk {
	struct chunk *next;
	uint8_t *data;
	uint32_t off, end, cap; /* unread bytes: [off, end) */
	uint32_t refs;
	int32_t bid; /* provided buffer, or -1: heap */
	struct io *io;
	struct inbox_msg home; /* the way back when the last owner is another thread */
};

static inline size_t chunk_bytes(const struct chunk *c)
{
	return c->end - c->off;
}

/* Size classes of heap memory; larger requests are allocated exactly and never pooled. */
#define CHUNK_CLASSES 4
struct chunk_pool {
	struct chunk *free[CHUNK_CLASSES];
	unsigned free_count[CHUNK_CLASSES], live;
};

struct chunk *chunk_heap(struct io *io, size_t cap); /* NULL: out of memory */
struct chunk *chunk_lease(struct io *io, unsigned bid, uint32_t bytes);
static inline struct chunk *chunk_ref(struct chunk *c)
{
	c->refs++;
	return c;
}
void chunk_unref(struct chunk *c);
/* From any thread: the last reference of a chunk handed out as rln_buf. */
void chunk_unref_remote(struct chunk *c);
/* The live chunk of this worker's provided buffers that p points into, or NULL. */
struct chunk *chunk_of_buffer(struct io *io, const void *p);
void chunk_pool_free(struct io *io);

/* FIFO of chunks with the sum of their unread bytes. */
struct chunks {
	struct chunk *head, *tail;
	size_t bytes;
};

static inline void chunks_push(struct chunks *q, struct chunk *c)
{
	c->next = NULL;
	if (q->tail)
		q->tail->next = c;
	else
		q->head = c;
	q->tail = c;
	q->bytes += chunk_bytes(c);
}

static inline struct chunk *chunks_pop(struct chunks *q)
{
	struct chunk *c = q->head;
	if (!c)
		return NULL;
	q->head = c->next;
	if (!q->head)
		q->tail = NULL;
	q->bytes -= chunk_bytes(c);
	return c;
}
/* Make the first n unread bytes (n <= q->bytes) one run at the head. 0 or -ENOMEM. */
int chunks_gather(struct io *io, struct chunks *q, size_t n);
/* Move everything out of provided buffers, into heap memory. 0 or -ENOMEM (unchanged). */
int chunks_own(struct io *io, struct chunks *q);
/* Copy the first n bytes out (to NULL: nowhere) and drop them. */
void chunks_read(struct chunks *q, void *to, size_t n);
void chunks_drop_all(struct chunks *q);
/* Append bytes by copying: into the tail when it is unshared heap memory with room. 0, -ENOMEM. */
int chunks_append(struct io *io, struct chunks *q, const void *p, size_t n);

#endif
