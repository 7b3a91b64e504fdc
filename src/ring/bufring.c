/*
 * Provided-buffer group: memory, the ring shared with the kernel, and where every buffer is. Knows
 * nothing of connections: who holds a lease, and what happens on ENOBUFS, is decided above.
 */
#include "ring/bufring.h"
#include "base/assert.h"
#include "base/mark.h"
#include "base/sys.h"
#include "ring/caps.h"
#include <errno.h>
#include <string.h>

#define CAPACITY_MAX 32768

/* The kernel takes the ring's pages as a whole: page-aligned, or -EINVAL. */
static size_t br_bytes(unsigned capacity)
{
	size_t page = sys_page_size(), n = capacity * sizeof(struct io_uring_buf);

	return (n + page - 1) / page * page;
}

static int bufring_args_check(unsigned capacity, unsigned filled, uint32_t buf_bytes,
			      struct diag *why)
{
	if (capacity == 0 || capacity > CAPACITY_MAX || (capacity & (capacity - 1)))
		return diag_set(why, -EINVAL,
				"buffer ring: capacity %u is not a power of two up to 32768",
				capacity);
	if (filled == 0 || filled > capacity)
		return diag_set(why, -EINVAL, "buffer ring: %u buffers do not fit a ring of %u",
				filled, capacity);
	if (buf_bytes == 0 || buf_bytes > INT32_MAX)
		return diag_set(why, -EINVAL, "buffer ring: buffers of %u bytes", buf_bytes);
	return 0;
}

static int bufring_register(struct bufring *b, struct diag *why)
{
	struct io_uring_buf_reg reg = {
		.ring_addr = (uint64_t)(uintptr_t)b->br,
		.ring_entries = b->capacity,
		.bgid = b->group,
	};
	int err = ring_register(b->ring, IORING_REGISTER_PBUF_RING, &reg, 1);

	if (err < 0)
		return diag_ring(why, err, "IORING_REGISTER_PBUF_RING", br_bytes(b->capacity), 0);
	return 0;
}

static void bufring_free(struct bufring *b)
{
	sys_free(b->place);
	sys_unmap(b->mem, (size_t)b->capacity * b->buf_bytes);
	sys_unmap(b->br, br_bytes(b->capacity));
	memset(b, 0, sizeof *b);
}

int bufring_open(struct bufring *b, struct ring *r, uint16_t group, unsigned capacity,
		 unsigned filled, uint32_t buf_bytes, struct diag *why)
{
	int err = bufring_args_check(capacity, filled, buf_bytes, why);

	if (err < 0)
		return err;
	*b = (struct bufring){
		.ring = r, .capacity = capacity, .buf_bytes = buf_bytes, .group = group
	};
	err = -ENOMEM;
	b->place = sys_zalloc(capacity);
	if (b->place)
		b->mem = sys_map((size_t)capacity * buf_bytes, SYS_MAP_NORESERVE, &err);
	if (b->mem)
		b->br = sys_map(br_bytes(capacity), 0, &err);
	if (b->br) {
		err = bufring_register(b, why);
	} else {
		diag_set(why, err, "buffer ring: no memory for %u buffers of %u bytes", capacity,
			 buf_bytes);
	}
	if (err < 0) {
		RLN_MARK("buffer-ring-refused");
		bufring_free(b);
		return err;
	}
	bufring_grow(b, filled);
	bufring_publish(b);
	b->grows = 0;
	return 0;
}

void bufring_close(struct bufring *b)
{
	struct io_uring_buf_reg reg = { .bgid = b->group };
	int err;

	if (!b->ring)
		return;
	/* Before the memory goes: the kernel would keep its address. */
	err = ring_register(b->ring, IORING_UNREGISTER_PBUF_RING, &reg, 1);
	RLN_ASSERTF(err >= 0, "group %u: %d", b->group, err);
	bufring_free(b);
}

void bufring_take(struct bufring *b, unsigned bid)
{
	RLN_ASSERTF(bid < b->filled, "bid %u of %u", bid, b->filled);
	RLN_ASSERTF(b->place[bid] == BUF_FREE, "bid %u is in place %u", bid, b->place[bid]);
	RLN_ASSERT(b->free > b->staged); /* INV-12, and the two above */
	b->place[bid] = BUF_LEASED;
	b->free--;
}

static void stage(struct bufring *b, unsigned bid)
{
	/* Ids are unique, so the ring cannot hold more than its capacity. */
	io_uring_buf_ring_add(b->br, bufring_addr(b, bid), b->buf_bytes, (unsigned short)bid,
			      (int)b->capacity - 1, (int)b->staged);
	b->place[bid] = BUF_STAGED;
	b->staged++;
	b->free++;
}

void bufring_give(struct bufring *b, unsigned bid)
{
	RLN_ASSERTF(bid < b->filled, "bid %u of %u", bid, b->filled);
	RLN_ASSERTF(b->place[bid] == BUF_LEASED, "bid %u is in place %u", bid, b->place[bid]);
	stage(b, bid);
}

void bufring_publish(struct bufring *b)
{
	if (!b->staged)
		return;
	for (unsigned i = 0; i < b->staged; i++)
		b->place[b->br->bufs[(b->br->tail + i) & (b->capacity - 1)].bid] = BUF_FREE;
	io_uring_buf_ring_advance(b->br, (int)b->staged);
	b->staged = 0;
	if (RLN_DEBUG)
		bufring_check(b);
}

unsigned bufring_grow(struct bufring *b, unsigned n)
{
	size_t page = sys_page_size();
	unsigned first = b->filled;

	if (n > b->capacity - b->filled)
		n = b->capacity - b->filled;
	if (n == 0)
		return 0;
	/* Touched here and once, not by the first packet: a first touch costs microseconds. */
	for (size_t off = 0; off < (size_t)n * b->buf_bytes; off += page)
		*(volatile uint8_t *)(bufring_addr(b, first) + off) = 0;
	b->filled += n;
	for (unsigned bid = first; bid < b->filled; bid++)
		stage(b, bid);
	b->grows++;
	return n;
}

void bufring_check(const struct bufring *b)
{
	unsigned counts[BUF_LEASED + 1] = { 0 };

	for (unsigned bid = 0; bid < b->capacity; bid++) {
		RLN_ASSERTF(b->place[bid] <= BUF_LEASED, "bid %u", bid);
		RLN_ASSERTF((b->place[bid] == BUF_UNFILLED) == (bid >= b->filled), "bid %u", bid);
		counts[b->place[bid]]++;
	}
	RLN_ASSERT(counts[BUF_UNFILLED] == b->capacity - b->filled);
	RLN_ASSERT(counts[BUF_STAGED] == b->staged);
	RLN_ASSERT(counts[BUF_FREE] + counts[BUF_STAGED] == b->free);
}
