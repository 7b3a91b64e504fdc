/*
 * The pools of task stacks: what is handed out is nobody else's, is as large as was asked for, and
 * keeps its bytes; trimming, cooling and shrinking touch only what is unused.
 */
#include "fuzz.h"

#include "task/stack.h"
#include <errno.h>

#define OUT 24
#define GUARD 16384

static struct {
	struct stack *st;
	uint8_t mark;
} out[OUT];

static void mark(unsigned i, uint8_t v)
{
	out[i].mark = v;
	out[i].st->bottom[0] = out[i].st->top[-1] = v;
}

static void check_mark(unsigned i)
{
	FUZZ_CHECK(out[i].st->bottom[0] == out[i].mark && out[i].st->top[-1] == out[i].mark);
}

static void get(struct fuzz *f, struct stack_pool *p, unsigned i)
{
	static const size_t sizes[] = { 1, 64u << 10, (64u << 10) + 1, 128u << 10, 9u << 20 };
	size_t n = sizes[fuzz_below(f, 5)];
	int e;

	if (out[i].st)
		return;
	e = stack_get(p, n, &out[i].st);
	if (n > 8u << 20) {
		FUZZ_CHECK(e == -EINVAL);
		return;
	}
	FUZZ_CHECK(!e && (size_t)(out[i].st->top - out[i].st->bottom) >= n * STACK_SCALE);
	for (unsigned j = 0; j < OUT; j++)
		FUZZ_CHECK(j == i || !out[j].st || out[j].st->top + GUARD <= out[i].st->bottom ||
			   out[i].st->top + GUARD <= out[j].st->bottom);
	mark(i, fuzz_byte(f));
}

static void put(struct fuzz *f, struct stack_pool *p, unsigned i, int64_t now_ns)
{
	if (!out[i].st)
		return;
	check_mark(i);
	if (fuzz_byte(f) % 2)
		out[i].st->deepest = out[i].st->bottom;
	stack_put(p, out[i].st, now_ns);
	out[i].st = NULL;
}

static void check(const struct stack_pool *p)
{
	unsigned total = 0, out_count = 0;

	for (unsigned i = 0; i < OUT; i++) {
		out_count += out[i].st != NULL;
		if (out[i].st)
			check_mark(i);
	}
	for (unsigned c = 0; c < STACK_CLASSES; c++)
		total += p->cls[c].total;
	FUZZ_CHECK(total == out_count + stack_pool_cached(p));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct fuzz f = { data, n };
	unsigned keep = (unsigned)fuzz_below(&f, 16);
	struct stack_pool p;
	int64_t now_ns = 0;

	memset(out, 0, sizeof out);
	FUZZ_CHECK(stack_pool_open(&p, GUARD, keep) == 0);
	while (f.n) {
		unsigned i = (unsigned)fuzz_below(&f, OUT);

		now_ns += (int64_t)fuzz_byte(&f) << 28;
		switch (fuzz_below(&f, 8)) {
		case 0:
			FUZZ_CHECK(stack_prewarm(&p, 64u << 10, fuzz_byte(&f) % 16) == 0);
			break;
		case 1:
			stack_pool_cool(&p, now_ns - (INT64_C(1) << 32), fuzz_byte(&f) % 8);
			break;
		case 2:
			stack_pool_shrink(&p, now_ns);
			break;
		case 3:
		case 4:
			put(&f, &p, i, now_ns);
			break;
		default:
			get(&f, &p, i);
		}
		check(&p);
	}
	for (unsigned i = 0; i < OUT; i++)
		put(&f, &p, i, now_ns);
	stack_pool_close(&p);
	return 0;
}
