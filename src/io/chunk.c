/*
 * Chunks of received bytes: leases of provided buffers, heap runs, and the queue they stand in.
 * Knows nothing of connections.
 */
#include "io/chunk.h"

#include "base/assert.h"
#include "base/mark.h"
#include "base/sys.h"
#include "io/io.h"
#include <string.h>

static const uint32_t class_bytes[CHUNK_CLASSES] = { 4096, 16384, 65536, 262144 };

/* Pooled per class; what is above this goes back to the allocator, so a peak is not kept. */
#define POOL_KEEP 64

static int class_of(size_t cap)
{
	for (int i = 0; i < CHUNK_CLASSES; i++)
		if (cap <= class_bytes[i])
			return i;
	return -1;
}

struct chunk *chunk_heap(struct io *io, size_t cap)
{
	int cls = class_of(cap);
	struct chunk *c = cls >= 0 ? io->chunks.free[cls] : NULL;

	if (cap > UINT32_MAX / 2)
		return NULL;
	if (c) {
		io->chunks.free[cls] = c->next;
		io->chunks.free_count[cls]--;
	} else {
		size_t bytes = cls >= 0 ? class_bytes[cls] : cap;
		c = sys_alloc(sizeof *c + bytes);
		if (!c)
			return NULL;
		c->data = (uint8_t *)(c + 1);
		c->cap = (uint32_t)bytes;
		c->bid = -1;
		c->io = io;
	}
	io->chunks.live++;
	c->next = NULL;
	c->off = c->end = 0;
	c->refs = 1;
	return c;
}

struct chunk *chunk_lease(struct io *io, unsigned bid, uint32_t bytes)
{
	RLN_ASSERTF(bytes <= io->bufs.buf_bytes, "bid %u: %u bytes in a buffer of %u", bid, bytes,
		    io->bufs.buf_bytes);
	struct chunk *c = &io->lease[bid];
	RLN_ASSERT(c->refs == 0); /* INV-12: a buffer id is in exactly one place */
	c->next = NULL;
	c->data = bufring_addr(&io->bufs, bid);
	c->off = 0;
	c->end = bytes;
	c->cap = io->bufs.buf_bytes;
	c->refs = 1;
	c->bid = (int32_t)bid;
	c->io = io;
	return c;
}

void chunk_unref(struct chunk *c)
{
	RLN_ASSERT(c->refs > 0); /* INV-22 */
	if (--c->refs)
		return;
	struct io *io = c->io;
	if (c->bid >= 0) {
		bufring_give(&io->bufs, (unsigned)c->bid);
		return;
	}
	int cls = class_of(c->cap);
	io->chunks.live--;
	if (cls < 0 || c->cap != class_bytes[cls] || io->chunks.free_count[cls] >= POOL_KEEP) {
		RLN_MARK("chunk-not-pooled");
		sys_free(c);
		return;
	}
	c->next = io->chunks.free[cls];
	io->chunks.free[cls] = c;
	io->chunks.free_count[cls]++;
}

static void unref_at_home(struct inbox_msg *m)
{
	chunk_unref(container_of(m, struct chunk, home));
}

void chunk_unref_remote(struct chunk *c)
{
	RLN_MARK("chunk-released-far-from-home");
	c->home.run = unref_at_home;
	/*
	 * Refused only when the worker is gone. It left leased memory mapped (io_close), so there
	 * is nothing to free into and nothing that could be corrupted.
	 */
	(void)inbox_push(&c->io->loop->inbox, &c->home);
}

struct chunk *chunk_of_buffer(struct io *io, const void *p)
{
	uintptr_t base = (uintptr_t)io->bufs.mem, at = (uintptr_t)p;
	size_t bytes = (size_t)io->bufs.capacity * io->bufs.buf_bytes;

	if (at < base || at >= base + bytes)
		return NULL;
	struct chunk *c = &io->lease[(at - base) / io->bufs.buf_bytes];
	return c->refs ? c : NULL;
}

void chunk_pool_free(struct io *io)
{
	for (int i = 0; i < CHUNK_CLASSES; i++) {
		while (io->chunks.free[i]) {
			struct chunk *c = io->chunks.free[i];
			io->chunks.free[i] = c->next;
			sys_free(c);
		}
		io->chunks.free_count[i] = 0;
	}
}

/* A run that will hold n bytes now and more soon: doubling keeps repeated gathers linear. */
static size_t gather_cap(size_t n)
{
	size_t cap = class_bytes[0];
	while (cap < n)
		cap *= 2;
	return cap;
}

/* INV-22: never behind bytes that somebody else sees. */
static bool appendable(const struct chunk *c, size_t n)
{
	return c->bid < 0 && c->refs == 1 && c->cap - c->end >= n;
}

int chunks_gather(struct io *io, struct chunks *q, size_t n)
{
	struct chunk *head = q->head;

	RLN_ASSERT(n <= q->bytes);
	if (n == 0 || chunk_bytes(head) >= n)
		return 0;
	if (!appendable(head, n - chunk_bytes(head))) {
		struct chunk *run = chunk_heap(io, gather_cap(n));
		if (!run)
			return -ENOMEM;
		run->next = head;
		q->head = run;
		head = run;
	}
	while (chunk_bytes(head) < n) {
		struct chunk *c = head->next;
		size_t take = n - chunk_bytes(head), have = chunk_bytes(c);
		/* whole chunks where they fit: their buffer goes home */
		if (take > have || head->cap - head->end >= have)
			take = have;
		memcpy(head->data + head->end, c->data + c->off, take);
		head->end += (uint32_t)take;
		c->off += (uint32_t)take;
		if (c->off < c->end)
			break;
		head->next = c->next;
		if (q->tail == c)
			q->tail = head;
		chunk_unref(c);
	}
	io->stats.recv_copied += n;
	return 0;
}

int chunks_own(struct io *io, struct chunks *q)
{
	bool leased = false;

	for (const struct chunk *c = q->head; c; c = c->next)
		leased |= c->bid >= 0;
	if (!leased)
		return 0;
	struct chunk *run = chunk_heap(io, gather_cap(q->bytes));
	if (!run)
		return -ENOMEM;
	struct chunk *c;
	while ((c = chunks_pop(q))) {
		memcpy(run->data + run->end, c->data + c->off, chunk_bytes(c));
		run->end += (uint32_t)chunk_bytes(c);
		chunk_unref(c);
	}
	chunks_push(q, run);
	io->stats.recv_copied += q->bytes;
	return 0;
}

void chunks_read(struct chunks *q, void *to, size_t n)
{
	uint8_t *p = to;

	RLN_ASSERT(n <= q->bytes);
	while (n) {
		struct chunk *c = q->head;
		size_t take = chunk_bytes(c) < n ? chunk_bytes(c) : n;
		if (p) {
			memcpy(p, c->data + c->off, take);
			p += take;
		}
		n -= take;
		if (take == chunk_bytes(c)) {
			chunks_pop(q);
			chunk_unref(c);
		} else {
			c->off += (uint32_t)take;
			q->bytes -= take;
		}
	}
}

void chunks_drop_all(struct chunks *q)
{
	struct chunk *c;
	while ((c = chunks_pop(q)))
		chunk_unref(c);
}

int chunks_append(struct io *io, struct chunks *q, const void *p, size_t n)
{
	struct chunk *t = q->tail;

	if (!t || !appendable(t, n)) {
		t = chunk_heap(io, n);
		if (!t)
			return -ENOMEM;
		chunks_push(q, t);
	}
	memcpy(t->data + t->end, p, n);
	t->end += (uint32_t)n;
	q->bytes += n;
	io->stats.recv_copied += n;
	return 0;
}
