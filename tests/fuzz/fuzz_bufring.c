/*
 * The accounting of provided buffers, and of explicit direct descriptors: a kernel that takes
 * buffers in the order they were published, and readers that give them back in any.
 */
#include "mock_ring.h"

#include "ring/bufring.h"
#include "ring/files.h"

#define CAP 32
#define SLOTS 8

enum place { UNFILLED, STAGED, PUBLISHED, LEASED };

static struct {
	enum place place[CAP];
	unsigned ring[CAP], head, tail; /* published ids, oldest first */
	unsigned staged[CAP], staged_count, filled;
} m;

static void model_grow(unsigned n)
{
	for (; n; n--) {
		m.place[m.filled] = STAGED;
		m.staged[m.staged_count++] = m.filled++;
	}
}

static void model_publish(void)
{
	for (unsigned i = 0; i < m.staged_count; i++) {
		m.place[m.staged[i]] = PUBLISHED;
		m.ring[m.tail++ % CAP] = m.staged[i];
	}
	m.staged_count = 0;
}

static void check(const struct bufring *b)
{
	unsigned free = 0;

	for (unsigned i = 0; i < m.filled; i++)
		free += m.place[i] == PUBLISHED || m.place[i] == STAGED;
	FUZZ_CHECK(b->free == free && b->filled == m.filled && b->staged == m.staged_count);
	/* what the kernel sees */
	FUZZ_CHECK(b->br->tail == (uint16_t)m.tail);
	for (unsigned i = m.head; i != m.tail; i++) {
		const struct io_uring_buf *buf = &b->br->bufs[i & (b->capacity - 1)];
		FUZZ_CHECK(buf->bid == m.ring[i % CAP] && buf->len == b->buf_bytes);
		FUZZ_CHECK(buf->addr == (uintptr_t)bufring_addr(b, buf->bid));
	}
	bufring_check(b);
}

static int pick(enum place place, unsigned n)
{
	for (unsigned i = 0; i < CAP; i++)
		if (m.place[(i + n) % CAP] == place)
			return (int)((i + n) % CAP);
	return -1;
}

static void step(struct fuzz *f, struct bufring *b)
{
	int id;

	switch (fuzz_below(f, 5)) {
	case 0:
		if (m.head == m.tail)
			break;
		id = (int)m.ring[m.head++ % CAP];
		bufring_addr(b, (unsigned)id)[b->buf_bytes - 1] = 1; /* all of it is there */
		bufring_take(b, (unsigned)id);
		m.place[id] = LEASED;
		break;
	case 1:
	case 2:
		id = pick(LEASED, fuzz_byte(f));
		if (id < 0)
			break;
		bufring_give(b, (unsigned)id);
		m.place[id] = STAGED;
		m.staged[m.staged_count++] = (unsigned)id;
		break;
	case 3:
		bufring_publish(b);
		model_publish();
		break;
	default: {
		unsigned n = (unsigned)fuzz_below(f, 8), room = b->capacity - m.filled;
		unsigned grown = bufring_grow(b, n);
		FUZZ_CHECK(grown == (n < room ? n : room));
		model_grow(grown);
	}
	}
	check(b);
}

static void slots(struct fuzz *f, struct files *t, bool *used)
{
	unsigned i = (unsigned)fuzz_below(f, SLOTS), free = 0;

	for (unsigned j = 0; j < SLOTS; j++)
		free += !used[j];
	if (used[i] && fuzz_byte(f) % 2) {
		files_slot_free(t, t->auto_count + i);
		used[i] = false;
		free++;
	} else {
		int slot = files_slot(t);
		FUZZ_CHECK(free ? slot >= (int)t->auto_count && slot < (int)t->total
				: slot == -ENFILE);
		if (slot >= 0) {
			FUZZ_CHECK(!used[slot - (int)t->auto_count]);
			used[slot - (int)t->auto_count] = true;
			free--;
		}
	}
	FUZZ_CHECK(t->explicit_free == free);
	FUZZ_CHECK(files_install(t, t->total, 1) == -EINVAL && files_install(t, 0, -1) == -EBADF);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct fuzz f = { data, n };
	struct ring_config rc = { .kernel = &mock_kernel, .sq_entries = 2, .cq_entries = 4 };
	unsigned cap = 1u << fuzz_below(&f, 6), filled = 1 + (unsigned)fuzz_below(&f, cap);
	uint32_t bytes = 1 + (uint32_t)fuzz_below(&f, 300);
	bool used[SLOTS] = { 0 };
	struct files files;
	struct bufring b;
	struct ring r;

	memset(&m, 0, sizeof m);
	FUZZ_CHECK(ring_open(&r, &rc, NULL) == 0);
	FUZZ_CHECK(bufring_open(&b, &r, 3, cap, filled, bytes, NULL) == 0);
	FUZZ_CHECK(files_open(&files, &r, 5, SLOTS, NULL) == 0);
	model_grow(filled);
	model_publish();
	check(&b);
	while (f.n) {
		if (fuzz_byte(&f) % 8 == 0)
			slots(&f, &files, used);
		else
			step(&f, &b);
	}
	files_close(&files);
	bufring_close(&b);
	ring_close(&r);
	return 0;
}
