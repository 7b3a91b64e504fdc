/*
 * What the fuzz targets share: the input taken apart, and how a difference from the model ends the
 * run. An input is a sequence of decisions; when it is used up, every further one is 0.
 */
#ifndef RINGLINE_TESTS_FUZZ_FUZZ_H
#define RINGLINE_TESTS_FUZZ_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

struct fuzz {
	const uint8_t *p;
	size_t n;
};

static inline uint8_t fuzz_byte(struct fuzz *f)
{
	if (!f->n)
		return 0;
	f->n--;
	return *f->p++;
}

/* Below n, which may be large: one byte where one is enough. */
static inline uint64_t fuzz_below(struct fuzz *f, uint64_t n)
{
	uint64_t v = 0;

	for (uint64_t m = n > 1 ? n - 1 : 0; m; m >>= 8)
		v = v << 8 | fuzz_byte(f);
	return n ? v % n : 0;
}

/* A length from 0 to max, short ones as likely as all others. */
static inline size_t fuzz_size(struct fuzz *f, size_t max)
{
	uint8_t b = fuzz_byte(f);

	return b < 128 ? b % (max + 1) : fuzz_below(f, max + 1);
}

#define FUZZ_CHECK(c)                                                                   \
	do {                                                                            \
		if (!(c)) {                                                             \
			fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #c); \
			abort();                                                        \
		}                                                                       \
	} while (0)

#endif
