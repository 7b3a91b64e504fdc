/*
 * Registered memory: a sparse table the kernel knows, mirrored here so that every user of a region
 * is checked before an SQE names it. Owns none of the memory.
 */
#include "ring/regions.h"
#include "base/sys.h"
#include "ring/caps.h"
#include <errno.h>
#include <string.h>

#define REGION_BYTES_MAX (1ULL << 30) /* the kernel's limit for one registered buffer */
#define REGIONS_MAX (1u << 14)	      /* and for their number */

static int region_update(struct regions *g, unsigned index, void *base, size_t bytes)
{
	struct iovec iov = { base, bytes };
	struct io_uring_rsrc_update2 up = { .offset = index,
					    .data = (uint64_t)(uintptr_t)&iov,
					    .nr = 1 };
	int n = ring_register(g->ring, IORING_REGISTER_BUFFERS_UPDATE, &up, sizeof up);

	return n < 0 ? n : 0;
}

int regions_open(struct regions *g, struct ring *r, unsigned count, const struct iovec *initial,
		 unsigned n, struct diag *why)
{
	struct io_uring_rsrc_register reg = { .nr = count, .flags = IORING_RSRC_REGISTER_SPARSE };
	int err;

	memset(g, 0, sizeof *g);
	if (count > REGIONS_MAX || n > count)
		return diag_set(why, -EINVAL,
				"regions: %u of at most %u, %u of them given at start", count,
				REGIONS_MAX, n);
	if (count == 0)
		return 0;
	g->slot = sys_zalloc(count * sizeof g->slot[0]);
	if (!g->slot)
		return diag_set(why, -ENOMEM, "regions: out of memory for %u", count);
	err = ring_register(r, IORING_REGISTER_BUFFERS2, &reg, sizeof reg);
	if (err < 0) {
		sys_free(g->slot);
		g->slot = NULL;
		return diag_ring(why, err, "IORING_REGISTER_BUFFERS2", 0, 0);
	}
	g->ring = r;
	g->count = count;
	for (unsigned i = 0; i < n; i++) {
		err = region_add(g, initial[i].iov_base, initial[i].iov_len, why);
		if (err < 0) {
			regions_close(g);
			return err;
		}
	}
	return 0;
}

void regions_close(struct regions *g)
{
	if (g->ring)
		ring_register(g->ring, IORING_UNREGISTER_BUFFERS, NULL, 0);
	sys_free(g->slot);
	memset(g, 0, sizeof *g);
}

int region_add(struct regions *g, void *base, size_t bytes, struct diag *why)
{
	unsigned i = 0;
	int err;

	if (!base || bytes == 0 || bytes > REGION_BYTES_MAX || (uintptr_t)base + bytes < bytes)
		return diag_set(why, -EINVAL,
				"regions: %zu bytes at %p; a region is 1 byte to 1 GiB of memory",
				bytes, base);
	while (i < g->count && g->slot[i].bytes)
		i++;
	if (i == g->count)
		return diag_set(why, -ENFILE, "regions: all %u slots are taken", g->count);
	err = region_update(g, i, base, bytes);
	if (err < 0)
		return diag_ring(why, err, "IORING_REGISTER_BUFFERS_UPDATE", bytes, 0);
	g->slot[i] = (struct region){ base, bytes };
	g->used++;
	return (int)i;
}

int region_remove(struct regions *g, unsigned index)
{
	int err;

	if (index >= g->count || !g->slot[index].bytes)
		return -EINVAL;
	err = region_update(g, index, NULL, 0);
	if (err < 0)
		return err;
	g->slot[index] = (struct region){ 0 };
	g->used--;
	return 0;
}

bool region_covers(const struct regions *g, unsigned index, const void *p, size_t n)
{
	const struct region *s;
	uintptr_t off;

	if (index >= g->count)
		return false;
	s = &g->slot[index];
	off = (uintptr_t)p - (uintptr_t)s->base;
	return (uintptr_t)p >= (uintptr_t)s->base && off <= s->bytes && n <= s->bytes - off &&
	       s->bytes;
}

int region_find(const struct regions *g, const void *p, size_t n)
{
	for (unsigned i = 0; i < g->count; i++)
		if (region_covers(g, i, p, n))
			return (int)i;
	return -ENOENT;
}
