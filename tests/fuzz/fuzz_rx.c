/*
 * Received bytes: the queue of chunks against an array. Bytes come in provided buffers or heap
 * memory, are gathered, moved, read, lent and dropped; what is lent stays as it was.
 */
#include "io_rig.h"

#define BUFS 8
#define BUF_BYTES 48
#define BYTES_MAX 4096
#define LENT 4

static struct {
	uint8_t bytes[BYTES_MAX];
	size_t n;
} m;

static struct {
	struct chunk *k;
	const uint8_t *p;
	size_t n;
	uint8_t copy[BYTES_MAX];
} lent[LENT];

static struct chunks q;
static uint8_t next;
static unsigned ring_head;

static void model_append(const uint8_t *p, size_t n)
{
	FUZZ_CHECK(m.n + n <= BYTES_MAX);
	memcpy(m.bytes + m.n, p, n);
	m.n += n;
}

static void model_read(size_t n)
{
	m.n -= n;
	memmove(m.bytes, m.bytes + n, m.n);
}

static void check(void)
{
	size_t at = 0;

	for (const struct chunk *k = q.head; k; k = k->next) {
		FUZZ_CHECK(k->refs && k->off <= k->end && k->end <= k->cap);
		FUZZ_CHECK(at + chunk_bytes(k) <= m.n);
		FUZZ_CHECK(!memcmp(k->data + k->off, m.bytes + at, chunk_bytes(k)));
		at += chunk_bytes(k);
		FUZZ_CHECK(k->next || k == q.tail);
	}
	FUZZ_CHECK(at == m.n && q.bytes == m.n && !q.head == !q.tail);
	for (unsigned i = 0; i < LENT; i++)
		FUZZ_CHECK(!lent[i].k || !memcmp(lent[i].p, lent[i].copy, lent[i].n));
	bufring_check(&rig_io.bufs);
}

static void fill(uint8_t *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		p[i] = next++;
}

/* The kernel delivers n bytes in a buffer, as it would: the oldest published one. */
static void deliver(size_t n)
{
	struct bufring *b = &rig_io.bufs;

	if (ring_head == b->br->tail)
		return;
	unsigned bid = b->br->bufs[ring_head++ & (b->capacity - 1)].bid;
	fill(bufring_addr(b, bid), n);
	bufring_take(b, bid);
	if (!n) {
		bufring_give(b, bid);
		return;
	}
	model_append(bufring_addr(b, bid), n);
	chunks_push(&q, chunk_lease(&rig_io, bid, (uint32_t)n));
}

static void push_heap(size_t n)
{
	struct chunk *k = chunk_heap(&rig_io, n ? n : 1);

	FUZZ_CHECK(k && k->cap >= n);
	fill(k->data, n);
	k->end = (uint32_t)n;
	model_append(k->data, n);
	if (n)
		chunks_push(&q, k);
	else
		chunk_unref(k);
}

static void append(size_t n)
{
	uint8_t bytes[512];

	fill(bytes, n);
	FUZZ_CHECK(chunks_append(&rig_io, &q, bytes, n) == 0);
	model_append(bytes, n);
}

static void lend(unsigned i)
{
	if (lent[i].k) {
		chunk_unref(lent[i].k);
		lent[i].k = NULL;
		return;
	}
	if (!q.head)
		return;
	lent[i].k = chunk_ref(q.head);
	lent[i].p = q.head->data + q.head->off;
	lent[i].n = chunk_bytes(q.head);
	memcpy(lent[i].copy, lent[i].p, lent[i].n);
	FUZZ_CHECK((chunk_of_buffer(&rig_io, lent[i].p) == q.head) == (q.head->bid >= 0));
}

static void step(struct fuzz *f)
{
	uint8_t to[BYTES_MAX];
	size_t n;

	switch (fuzz_below(f, 9)) {
	case 0:
		deliver(fuzz_below(f, BUF_BYTES + 1));
		break;
	case 1:
		push_heap(fuzz_size(f, 200));
		break;
	case 2:
		append(1 + fuzz_size(f, 300));
		break;
	case 3:
		n = fuzz_size(f, m.n);
		FUZZ_CHECK(chunks_gather(&rig_io, &q, n) == 0);
		FUZZ_CHECK(!n || chunk_bytes(q.head) >= n);
		break;
	case 4:
		FUZZ_CHECK(chunks_own(&rig_io, &q) == 0);
		for (const struct chunk *k = q.head; k; k = k->next)
			FUZZ_CHECK(k->bid < 0);
		break;
	case 5:
		n = fuzz_size(f, m.n);
		chunks_read(&q, fuzz_byte(f) % 2 ? to : NULL, n);
		model_read(n);
		break;
	case 6:
		n = fuzz_size(f, m.n);
		chunks_read(&q, to, n);
		FUZZ_CHECK(!memcmp(to, m.bytes, n));
		model_read(n);
		break;
	case 7:
		lend((unsigned)fuzz_below(f, LENT));
		break;
	default:
		bufring_publish(&rig_io.bufs);
	}
	if (m.n > BYTES_MAX / 2) {
		chunks_drop_all(&q);
		m.n = 0;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static const struct io_config cfg = { .auto_slots = 1,
					      .explicit_slots = 1,
					      .recv_bufs = BUFS,
					      .recv_bufs_max = BUFS,
					      .recv_buf_bytes = BUF_BYTES,
					      .buffer_budget = 1 << 20,
					      .iov_max = 1 };
	struct fuzz f = { data, n };

	rig_open(&cfg);
	memset(&q, 0, sizeof q);
	memset(lent, 0, sizeof lent);
	m.n = 0;
	next = 0;
	ring_head = 0;
	while (f.n) {
		step(&f);
		check();
	}
	for (unsigned i = 0; i < LENT; i++)
		if (lent[i].k)
			lend(i);
	chunks_drop_all(&q);
	FUZZ_CHECK(!q.bytes && !rig_io.chunks.live);
	FUZZ_CHECK(rig_io.bufs.free == rig_io.bufs.filled);
	rig_close();
	return 0;
}
