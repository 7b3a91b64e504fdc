/* The tool's histogram against exact figures. */
#include "../../tools/ringline/hist.c"

#include "test.h"
#include <stdlib.h>

static struct hist h;

static int ascending(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return x < y ? -1 : x > y;
}

TEST(hist_small_values_are_exact)
{
	hist_clear(&h);
	for (int i = 1; i <= 100; i++)
		hist_add(&h, i);
	CHECK_INT(hist_quantile(&h, 0.5), ==, 50);
	CHECK_INT(hist_quantile(&h, 0.99), ==, 99);
	CHECK_INT(hist_quantile(&h, 1), ==, 100);
	CHECK_INT(hist_quantile(&h, 0), ==, 1);
	CHECK_INT(h.min, ==, 1);
	CHECK_INT(h.max, ==, 100);
	CHECK(hist_mean(&h) == 50.5);
}

TEST(hist_every_bucket_holds_its_own_values)
{
	for (unsigned b = 0; b < HIST_BUCKETS; b++) {
		CHECK_INT(bucket_of(bucket_end(b)), ==, b);
		if (b + 1 < HIST_BUCKETS)
			CHECK_INT(bucket_of(bucket_end(b) + 1), ==, b + 1);
	}
	CHECK_INT(bucket_of(UINT64_MAX), ==, HIST_BUCKETS - 1);
}

TEST(hist_quantiles_are_within_one_percent)
{
	enum { N = 20000 };
	static int64_t v[N];
	static const double q[] = { 0.001, 0.1, 0.5, 0.9, 0.99, 0.999, 0.9999 };
	uint64_t x = 88172645463325252u;

	hist_clear(&h);
	for (int i = 0; i < N; i++) { /* from nanoseconds to minutes */
		x ^= x << 13, x ^= x >> 7, x ^= x << 17;
		v[i] = (int64_t)(x >> (27 + x % 36));
		hist_add(&h, v[i]);
	}
	qsort(v, N, sizeof v[0], ascending);
	for (unsigned i = 0; i < sizeof q / sizeof q[0]; i++) {
		double exact = (double)v[(int)ceil(q[i] * N) - 1];
		double got = (double)hist_quantile(&h, q[i]);

		CHECK(got >= exact);
		CHECK(got <= exact * 1.01);
	}
	CHECK_INT(hist_quantile(&h, 1), ==, v[N - 1]);
}

TEST(hist_merge_equals_adding_to_one)
{
	static struct hist a, b;

	hist_clear(&h);
	hist_clear(&a);
	hist_clear(&b);
	for (int i = 0; i < 5000; i++) {
		hist_add(i % 3 ? &a : &b, i * 977);
		hist_add(&h, i * 977);
	}
	hist_merge(&a, &b);
	CHECK(memcmp(&a, &h, sizeof a) == 0);
}

TEST(hist_out_of_range_is_kept_in_the_ends)
{
	hist_clear(&h);
	CHECK_INT(hist_quantile(&h, 0.5), ==, 0);
	hist_add(&h, -5);
	hist_add(&h, INT64_MAX);
	CHECK_INT(hist_quantile(&h, 0.5), ==, 0);
	CHECK_INT(h.max, ==, INT64_MAX);
}
