/* Log-linear buckets. */
#include "hist.h"

#include <math.h>
#include <string.h>

static unsigned bucket_of(uint64_t v)
{
	unsigned top, shift;

	if (v < HIST_STEPS)
		return (unsigned)v;
	if (v >> HIST_TOP)
		v = (UINT64_C(1) << HIST_TOP) - 1;
	top = 63 - (unsigned)__builtin_clzll(v); /* HIST_BITS..HIST_TOP - 1 */
	shift = top - HIST_BITS;
	return (shift + 1) * HIST_STEPS + (unsigned)(v >> shift) - HIST_STEPS;
}

/* The largest value that falls into bucket b. */
static uint64_t bucket_end(unsigned b)
{
	unsigned shift = b / HIST_STEPS;

	if (shift == 0)
		return b;
	shift--;
	return (((uint64_t)(b % HIST_STEPS) + HIST_STEPS + 1) << shift) - 1;
}

void hist_clear(struct hist *h)
{
	memset(h, 0, sizeof *h);
	h->min = UINT64_MAX;
}

void hist_add(struct hist *h, int64_t ns)
{
	uint64_t v = ns > 0 ? (uint64_t)ns : 0;

	h->count++;
	h->sum += (double)v;
	if (v < h->min)
		h->min = v;
	if (v > h->max)
		h->max = v;
	h->bucket[bucket_of(v)]++;
}

void hist_merge(struct hist *to, const struct hist *from)
{
	to->count += from->count;
	to->sum += from->sum;
	if (from->min < to->min)
		to->min = from->min;
	if (from->max > to->max)
		to->max = from->max;
	for (unsigned b = 0; b < HIST_BUCKETS; b++)
		to->bucket[b] += from->bucket[b];
}

uint64_t hist_quantile(const struct hist *h, double q)
{
	double rank = ceil(q * (double)h->count);
	uint64_t seen = 0, wanted = rank < 1 ? 1 : (uint64_t)rank;

	for (unsigned b = 0; b < HIST_BUCKETS && h->count; b++) {
		seen += h->bucket[b];
		if (seen >= wanted)
			return bucket_end(b) < h->max ? bucket_end(b) : h->max;
	}
	return h->max;
}

double hist_mean(const struct hist *h)
{
	return h->count ? h->sum / (double)h->count : 0;
}
