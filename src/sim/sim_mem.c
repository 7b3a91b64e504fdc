/*
 * Who owns memory. Provided buffers are the kernel's from their publication to their completion:
 * poisoned meanwhile, so that a premature access is found by AddressSanitizer; bytes beyond what
 * was received stay poisoned. Memory that a request still needs must not be freed: mem_check_free()
 * is asked by every free and unmap of the system table.
 */
#include "base/assert.h"
#include "sim/sim.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#if defined(__SANITIZE_ADDRESS__)
#define SIM_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SIM_ASAN 1
#endif
#endif

#ifdef SIM_ASAN
#include <sanitizer/asan_interface.h>
const bool mem_poisons = true;
#else
const bool mem_poisons = false;
#define ASAN_POISON_MEMORY_REGION(p, n) ((void)(p), (void)(n))
#define ASAN_UNPOISON_MEMORY_REGION(p, n) ((void)(p), (void)(n))
#endif

void mem_kernel(void *p, size_t n)
{
	ASAN_POISON_MEMORY_REGION(p, n);
}

void mem_user(void *p, size_t n)
{
	ASAN_UNPOISON_MEMORY_REGION(p, n);
}

static bool filled(const struct sim_req *q)
{
	return q->op && q->op->fills && !(q->sqe.flags & IOSQE_BUFFER_SELECT);
}

void mem_req_own(const struct sim_req *q)
{
	for (unsigned i = 0; mem_poisons && filled(q) && i < q->iovs; i++)
		mem_kernel(q->iov[i].iov_base, q->iov[i].iov_len);
}

void mem_req_open(const struct sim_req *q)
{
	for (unsigned i = 0; mem_poisons && filled(q) && i < q->iovs; i++)
		mem_user(q->iov[i].iov_base, q->iov[i].iov_len);
}

uint64_t mem_req_sum(const struct sim_req *q)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < q->iovs; i++) {
		const uint8_t *p = q->iov[i].iov_base;
		size_t n = q->iov[i].iov_len, at = 0;

		for (uint64_t v; at + sizeof(v) <= n; at += sizeof(v)) {
			memcpy(&v, p + at, sizeof(v));
			sum = (sum ^ v) * 0x9e3779b97f4a7c15u;
		}
		for (; at < n; at++)
			sum = (sum ^ p[at]) * 0x9e3779b97f4a7c15u;
	}
	return sum;
}

static bool overlaps(const void *a, size_t an, const void *b, size_t bn)
{
	uintptr_t x = (uintptr_t)a, y = (uintptr_t)b;

	return an && bn && x < y + bn && y < x + an;
}

static void check_list(struct world *w, const struct list *l, const void *p, size_t n)
{
	list_for_each (node, l) {
		struct sim_req *q = container_of(node, struct sim_req, node);

		for (unsigned i = 0; i < q->iovs; i++)
			if (overlaps(q->iov[i].iov_base, q->iov[i].iov_len, p, n))
				world_violates(
					w, PROP_P2,
					"memory of request %llu (opcode %u) freed before it ended",
					(unsigned long long)q->seq, q->sqe.opcode);
	}
}

static void check_groups(struct sim_ring *r, const void *p, size_t n)
{
	for (unsigned g = 0; g < r->group_end; g++) {
		struct sim_group *s = &r->group[g];

		if (!s->br)
			continue;
		if (overlaps(s->br, s->entries * sizeof(s->br->bufs[0]), p, n))
			world_violates(r->w, PROP_P2, "buffer ring %u freed while registered",
				       s->bgid);
		for (uint16_t i = s->head; i != s->seen; i++) {
			const struct io_uring_buf *b = &s->br->bufs[i & (s->entries - 1)];

			if (overlaps((void *)(uintptr_t)b->addr, b->len, p, n))
				world_violates(r->w, PROP_P2,
					       "buffer %u of group %u freed while published",
					       b->bid, s->bgid);
		}
	}
}

void mem_check_free(struct world *w, const void *p, size_t n)
{
	list_for_each (node, &w->rings) {
		struct sim_ring *r = container_of(node, struct sim_ring, node);

		check_list(w, &r->pending, p, n);
		check_list(w, &r->run, p, n);
		check_list(w, &r->notifs, p, n);
		check_groups(r, p, n);
	}
}

struct sim_group *group_find(struct sim_ring *r, uint16_t bgid)
{
	for (unsigned g = 0; g < r->group_end; g++)
		if (r->group[g].br && r->group[g].bgid == bgid)
			return &r->group[g];
	return NULL;
}

static struct sim_buf *group_buf(struct sim_group *g, unsigned bid)
{
	unsigned want = g->buf_count ? g->buf_count : 16;

	while (want <= bid)
		want *= 2;
	if (want > g->buf_count) {
		g->buf = realloc(g->buf, want * sizeof(*g->buf));
		RLN_ASSERT(g->buf);
		memset(g->buf + g->buf_count, 0, (want - g->buf_count) * sizeof(*g->buf));
		g->buf_count = want;
	}
	return &g->buf[bid];
}

static void group_look(struct sim_ring *r, struct sim_group *g)
{
	uint16_t tail = __atomic_load_n(&g->br->tail, __ATOMIC_ACQUIRE);

	if ((uint16_t)(tail - g->head) > g->entries)
		world_violates(r->w, PROP_P2, "group %u: %u buffers published in a ring of %u",
			       g->bgid, (uint16_t)(tail - g->head), g->entries);
	for (; g->seen != tail; g->seen++) {
		const struct io_uring_buf *b = &g->br->bufs[g->seen & (g->entries - 1)];
		struct sim_buf *k = group_buf(g, b->bid);

		if (k->kernel)
			world_violates(r->w, PROP_P2, "group %u: buffer %u published twice",
				       g->bgid, b->bid);
		k->addr = (uint8_t *)(uintptr_t)b->addr;
		k->len = b->len;
		k->kernel = true;
		mem_kernel(k->addr, k->len);
	}
}

void groups_look(struct sim_ring *r)
{
	for (unsigned g = 0; g < r->group_end; g++)
		if (r->group[g].br)
			group_look(r, &r->group[g]);
}

struct sim_buf *group_peek(struct sim_ring *r, uint16_t bgid, uint16_t *bid)
{
	struct sim_group *g = group_find(r, bgid);

	if (!g)
		return NULL;
	group_look(r, g);
	if (g->head == g->seen)
		return NULL;
	*bid = g->br->bufs[g->head & (g->entries - 1)].bid;
	return &g->buf[*bid];
}

/* The program may read the used bytes; the rest stays poisoned until the buffer is unregistered. */
void group_take(struct sim_ring *r, uint16_t bgid, size_t used)
{
	struct sim_group *g = group_find(r, bgid);
	struct io_uring_buf *b = &g->br->bufs[g->head & (g->entries - 1)];
	struct sim_buf *k = &g->buf[b->bid];

	g->head++;
	k->kernel = false;
	mem_user(k->addr, k->len);
	memset(k->addr + used, 0xdb, k->len - used < 64 ? k->len - used : 64);
	mem_kernel(k->addr + used, k->len - used);
}

int group_register(struct sim_ring *r, const struct io_uring_buf_reg *reg)
{
	struct sim_group *g = NULL;

	if (reg->pad || reg->resv[0] || reg->resv[1] || reg->resv[2])
		return -EINVAL;
	if (!reg->ring_addr)
		return -EFAULT;
	if (reg->ring_addr % SIM_PAGE)
		return -EINVAL;
	if (!reg->ring_entries || reg->ring_entries & (reg->ring_entries - 1) ||
	    reg->ring_entries >= 65536)
		return -EINVAL;
	if (group_find(r, reg->bgid))
		return -EEXIST;
	for (unsigned i = 0; i < SIM_GROUPS && !g; i++)
		if (!r->group[i].br)
			g = &r->group[i];
	if (!g)
		return -ENOMEM;
	if (g == &r->group[r->group_end])
		r->group_end++;
	*g = (struct sim_group){ .br = (struct io_uring_buf_ring *)(uintptr_t)reg->ring_addr,
				 .entries = reg->ring_entries,
				 .bgid = reg->bgid };
	return 0;
}

int group_unregister(struct sim_ring *r, uint16_t bgid)
{
	struct sim_group *g = group_find(r, bgid);

	/* KERNEL(6.1): a group of a low number is remembered. */
	if (!g)
		return r->w->version < LINUX_6_12 && r->groups_used >> bgid % 64 & 1 ? -EINVAL
										     : -ENOENT;
	r->groups_used |= 1ull << bgid % 64;
	for (unsigned i = 0; i < g->buf_count; i++)
		if (g->buf[i].addr)
			mem_user(g->buf[i].addr, g->buf[i].len);
	free(g->buf);
	*g = (struct sim_group){ 0 };
	return 0;
}
