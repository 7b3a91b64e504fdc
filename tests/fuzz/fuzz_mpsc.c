/* The queue between threads, all its sides on one thread, against an array. */
#include "fuzz.h"

#include "base/mpsc.h"

#define NODES 32

static struct mpsc_node node[NODES];

struct model {
	unsigned queue[NODES], count;
	bool queued[NODES], sleeping, closed;
};

static void push(struct mpsc *q, struct model *m, unsigned n)
{
	enum mpsc_push want = m->closed	    ? MPSC_REFUSED
			      : m->sleeping ? MPSC_PUSHED_WAKE
					    : MPSC_PUSHED;

	if (m->queued[n])
		return;
	FUZZ_CHECK(mpsc_push(q, &node[n]) == want);
	if (want == MPSC_REFUSED)
		return;
	m->sleeping = false; /* one wake a sleep */
	m->queued[n] = true;
	m->queue[m->count++] = n;
}

static void taken(struct model *m, const struct mpsc_node *n)
{
	for (unsigned i = 0; i < m->count; i++, n = n->next) {
		FUZZ_CHECK(n == &node[m->queue[i]]);
		m->queued[m->queue[i]] = false;
	}
	FUZZ_CHECK(!n);
	m->count = 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz f = { data, size };
	struct model m = { 0 };
	struct mpsc q;

	mpsc_init(&q);
	while (f.n) {
		switch (fuzz_below(&f, 16)) {
		case 0:
			taken(&m, mpsc_take(&q));
			break;
		case 1:
			m.sleeping = !m.count;
			FUZZ_CHECK(mpsc_sleep(&q) == m.sleeping);
			break;
		case 2:
			mpsc_awake(&q);
			m.sleeping = false;
			break;
		case 3:
			FUZZ_CHECK(mpsc_wake(&q) == m.sleeping);
			m.sleeping = false;
			break;
		case 4:
			if (fuzz_byte(&f) % 8)
				break;
			taken(&m, mpsc_close(&q));
			m.closed = true;
			break;
		default:
			push(&q, &m, (unsigned)fuzz_below(&f, NODES));
		}
		FUZZ_CHECK(mpsc_empty(&q) == !m.count);
	}
	taken(&m, mpsc_close(&q));
	return 0;
}
