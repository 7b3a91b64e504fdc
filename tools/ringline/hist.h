/*
 * A histogram of durations with a bounded relative error: each power of two is divided into
 * HIST_STEPS equal steps, and a value is reported as the upper end of its step, so that it is never
 * told too low and at most 1/HIST_STEPS too high. Minimum and maximum are exact. One writer.
 */
#ifndef TOOL_HIST_H
#define TOOL_HIST_H

#include <stdint.h>

#define HIST_BITS 7
#define HIST_STEPS (1 << HIST_BITS) /* values below this have a step each */
#define HIST_TOP 44		    /* longer than 2^44 ns, about 5 hours, counts as that */
#define HIST_BUCKETS ((HIST_TOP - HIST_BITS + 1) * HIST_STEPS)

struct hist {
	uint64_t count, min, max;
	double sum;
	uint64_t bucket[HIST_BUCKETS];
};

void hist_clear(struct hist *h);
void hist_add(struct hist *h, int64_t ns); /* below zero counts as zero */
void hist_merge(struct hist *to, const struct hist *from);
/* The smallest value that at least the fraction q of all is not above; 0 when empty. */
uint64_t hist_quantile(const struct hist *h, double q);
double hist_mean(const struct hist *h);

#endif
