/*
 * Registered memory regions (IORING_REGISTER_BUFFERS2, sparse): regions given at start and regions
 * added later, each checked by one helper before an SQE may name it. A region's memory is its
 * owner's; it must stay mapped until region_remove() has returned.
 */
#ifndef RINGLINE_RING_REGIONS_H
#define RINGLINE_RING_REGIONS_H

#include "ring/ring.h"

struct region {
	uint8_t *base;
	size_t bytes; /* 0: slot is empty */
};

struct regions {
	struct ring *ring;
	struct region *slot; /* [count] */
	unsigned count, used;
};

/* Table of count slots; the first n come from initial. 0 or -errno (-ENOMEM: memlock, see why). */
int regions_open(struct regions *g, struct ring *r, unsigned count, const struct iovec *initial,
		 unsigned n, struct diag *why);
void regions_close(struct regions *g);
/* Register [base, base+bytes) in a free slot: its index, -ENFILE, -EINVAL, -ENOMEM. */
int region_add(struct regions *g, void *base, size_t bytes, struct diag *why);
int region_remove(struct regions *g, unsigned index);
/* The one check every user of a region goes through: index valid and [p, p+n) inside. */
bool region_covers(const struct regions *g, unsigned index, const void *p, size_t n);
/* The region that covers [p, p+n), or -ENOENT. O(count). */
int region_find(const struct regions *g, const void *p, size_t n);

#endif
