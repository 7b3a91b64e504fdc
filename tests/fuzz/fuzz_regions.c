/*
 * Registered memory: regions that come and go, a kernel that refuses now and then, and the one
 * question every user asks, against a table that is searched byte by byte.
 */
#include "mock_ring.h"

#include "ring/caps.h"
#include "ring/regions.h"

#define SLOTS 6
#define ARENA 64u

static uint8_t arena[ARENA];
static struct region model[SLOTS];
static int refuse; /* what the next registration answers; 0: it works */
static unsigned registered;

static int regions_reg(struct io_uring *u, unsigned opcode, void *arg, unsigned nr)
{
	const struct io_uring_rsrc_update2 *up = arg;
	const struct iovec *v;
	int err = refuse;

	(void)u;
	(void)nr;
	refuse = 0;
	if (err || opcode != IORING_REGISTER_BUFFERS_UPDATE)
		return err;
	v = (const struct iovec *)(uintptr_t)up->data;
	FUZZ_CHECK(up->nr == 1 && up->offset < SLOTS);
	FUZZ_CHECK(!v->iov_base == !v->iov_len);
	if (v->iov_len)
		registered++;
	else
		registered--;
	return 1;
}

static const struct ring_kernel regions_kernel = { "mock", mock_setup, mock_exit, mock_enter,
						   regions_reg };

/* Is every byte of [at, at+n) one of the region's, and the place itself inside or at its end? */
static bool covers(unsigned i, size_t at, size_t n)
{
	if (!model[i].bytes)
		return false;
	size_t base = (size_t)(model[i].base - arena), end = base + model[i].bytes;

	if (at < base || at > end)
		return false;
	for (size_t k = 0; k < n; k++)
		if (at + k >= end)
			return false;
	return true;
}

static void ask(struct fuzz *f, const struct regions *g)
{
	size_t at = fuzz_below(f, ARENA), n = fuzz_byte(f);
	int first = -ENOENT;

	n = n == 255 ? SIZE_MAX : n; /* further than there is memory */
	for (unsigned i = SLOTS; i-- > 0;) {
		bool yes = n != SIZE_MAX && covers(i, at, n);
		FUZZ_CHECK(region_covers(g, i, arena + at, n) == yes);
		first = yes ? (int)i : first;
	}
	FUZZ_CHECK(!region_covers(g, SLOTS, arena + at, 1));
	FUZZ_CHECK(region_find(g, arena + at, n) == first);
}

static void add(struct fuzz *f, struct regions *g)
{
	size_t at = fuzz_below(f, ARENA), n = fuzz_below(f, ARENA - at + 1);
	struct diag why = { 0 };
	int want = 0, e;

	while (want < SLOTS && model[want].bytes)
		want++;
	if (want == SLOTS)
		want = -ENFILE;
	if (!n)
		want = -EINVAL;
	if (want >= 0 && fuzz_byte(f) % 8 == 0)
		want = refuse = -ENOMEM;
	e = region_add(g, arena + at, n, &why);
	FUZZ_CHECK(e == want && (e >= 0 || *why.line));
	if (e >= 0)
		model[e] = (struct region){ arena + at, n };
}

static void drop(struct fuzz *f, struct regions *g)
{
	unsigned i = (unsigned)fuzz_below(f, SLOTS + 1);
	bool there = i < SLOTS && model[i].bytes;
	int want = there ? 0 : -EINVAL;

	if (there && fuzz_byte(f) % 8 == 0)
		want = refuse = -EFAULT;
	FUZZ_CHECK(region_remove(g, i) == want);
	if (!want)
		model[i] = (struct region){ 0 };
}

static void check(const struct regions *g)
{
	unsigned used = 0;

	for (unsigned i = 0; i < SLOTS; i++)
		used += model[i].bytes != 0;
	FUZZ_CHECK(g->used == used && registered == used && g->count == SLOTS);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct ring_config rc = { .kernel = &regions_kernel, .sq_entries = 2, .cq_entries = 4 };
	struct fuzz f = { data, n };
	struct regions g;
	struct ring r;

	memset(model, 0, sizeof model);
	registered = 0;
	refuse = 0;
	FUZZ_CHECK(ring_open(&r, &rc, NULL) == 0);
	FUZZ_CHECK(regions_open(&g, &r, SLOTS, NULL, 0, NULL) == 0);
	while (f.n) {
		switch (fuzz_below(&f, 3)) {
		case 0:
			add(&f, &g);
			break;
		case 1:
			drop(&f, &g);
			break;
		default:
			ask(&f, &g);
		}
		check(&g);
	}
	regions_close(&g);
	ring_close(&r);
	return 0;
}
