/*
 * The send queue of a connection, the kernel's side played by the input: bytes leave once, whole
 * and in order, whatever kind of entry they stand in and however short the sends are; units and
 * guarded pieces are told their end exactly once, and not before the kernel let go of them.
 */
#include "io_rig.h"

#define ENTRIES 64
#define PIECE 3000

enum kind { COPY, CHUNK, UNIT, GUARD };

/* What one call queued. Freed memory is a use after free for ASan: each piece is malloc'ed. */
struct piece {
	enum kind kind;
	uint8_t *p;
	size_t n, off;
	struct send_unit *unit;
	bool queued, released, owed, in_flight;
};

static struct piece piece[ENTRIES];
static unsigned pieces, head; /* those before head have left */
static struct conn *c;
static uint8_t next;
static unsigned live_units;

static void released(void *ud)
{
	struct piece *p = ud;

	FUZZ_CHECK(!p->released && !p->queued && !p->owed && !p->in_flight);
	p->released = true;
	free(p->p);
	p->p = NULL;
}

static struct piece *piece_new(enum kind kind, size_t n)
{
	struct piece *p = &piece[pieces++];

	*p = (struct piece){ .kind = kind, .n = n, .queued = true };
	p->p = malloc(n);
	for (size_t i = 0; i < n; i++)
		p->p[i] = next++;
	return p;
}

static void queue_guard(size_t n, bool zc)
{
	struct piece *p = piece_new(GUARD, n);
	struct tx *t = tx_alloc(&rig_io, TX_GUARD);

	t->p = p->p;
	t->len = n;
	t->guard.release = released;
	t->guard.ud = p;
	t->guard.conn = c;
	list_init(&t->guard.node);
	t->queued = true;
	t->zc = zc;
	conn_tx_push(c, t);
}

static void queue_chunk(size_t n)
{
	struct piece *p = piece_new(CHUNK, n);
	struct tx *t = tx_alloc(&rig_io, TX_CHUNK);

	t->chunk = chunk_heap(&rig_io, n);
	memcpy(t->chunk->data, p->p, n);
	t->chunk->end = (uint32_t)n;
	t->p = t->chunk->data;
	t->len = n;
	conn_tx_push(c, t);
}

/* A unit of one to three entries. */
static void queue_unit(struct fuzz *f)
{
	struct send_unit *u = calloc(1, sizeof *u);

	list_init(&u->waiters);
	live_units++;
	for (unsigned k = 1 + (unsigned)fuzz_below(f, 3); k; k--) {
		struct piece *p = piece_new(UNIT, 1 + fuzz_size(f, PIECE));
		struct tx *t = tx_alloc(&rig_io, TX_BORROW);
		p->unit = u;
		t->p = p->p;
		t->len = p->n;
		t->unit = u;
		conn_tx_push(c, t);
	}
}

static void queue(struct fuzz *f)
{
	if (pieces + 4 > ENTRIES || c->write != WRITE_OPEN)
		return;
	switch (fuzz_below(f, 5)) {
	case 0:
		queue_unit(f);
		break;
	case 1:
		queue_guard(1 + fuzz_size(f, PIECE), fuzz_byte(f) % 2);
		break;
	case 2:
		queue_chunk(1 + fuzz_size(f, PIECE));
		break;
	default: {
		size_t n = 1 + fuzz_size(f, PIECE);
		struct piece *p = piece_new(COPY, n);
		int e = rln_send_nowait(conn_handle(c), p->p, n);
		FUZZ_CHECK(e == 0 || e == -EAGAIN);
		if (e) {
			free(p->p);
			pieces--;
		}
	}
	}
}

/* ---- the model */

static unsigned unit_pieces(const struct send_unit *u)
{
	unsigned n = 0;

	for (unsigned i = 0; i < pieces; i++)
		n += piece[i].unit == u;
	return n;
}

static void unit_left(struct piece *p)
{
	struct send_unit *u = p->unit;

	p->unit = NULL;
	if (unit_pieces(u))
		return;
	FUZZ_CHECK(u->done && !u->entries);
	free(u);
	live_units--;
}

static void piece_left(struct piece *p)
{
	p->queued = false;
	if (p->kind == GUARD)
		return; /* its memory goes with its release */
	free(p->p);
	p->p = NULL;
	if (p->unit)
		unit_left(p);
}

static struct piece *first(void)
{
	while (head < pieces && !piece[head].queued)
		head++;
	return head < pieces ? &piece[head] : NULL;
}

static size_t model_bytes(void)
{
	size_t n = 0;

	for (unsigned i = head; i < pieces; i++)
		n += piece[i].queued ? piece[i].n - piece[i].off : 0;
	return n;
}

static void model_sent(size_t n)
{
	struct piece *p;

	while (n && (p = first())) {
		size_t take = n < p->n - p->off ? n : p->n - p->off;
		p->off += take;
		n -= take;
		if (p->off == p->n)
			piece_left(p);
	}
	FUZZ_CHECK(!n);
}

static void model_dropped(void)
{
	struct piece *p;

	while ((p = first()))
		piece_left(p);
}

/* ---- the kernel */

/* The SQE carries exactly the next bytes of the queue. Returns how many. */
static size_t check_bytes(const struct iovec *iov, size_t n)
{
	size_t sum = 0, off = first() ? first()->off : 0;
	unsigned at = head;

	for (size_t i = 0; i < n; i++) {
		const uint8_t *p = iov[i].iov_base;
		FUZZ_CHECK(iov[i].iov_len);
		for (size_t j = 0; j < iov[i].iov_len; j++) {
			while (at < pieces && (!piece[at].queued || off == piece[at].n)) {
				at++;
				off = at < pieces ? piece[at].off : 0;
			}
			FUZZ_CHECK(at < pieces && p[j] == piece[at].p[off]);
			off++;
		}
		sum += iov[i].iov_len;
	}
	return sum;
}

static struct piece *guard_of(uint64_t user_data)
{
	struct tx *t = container_of((struct op *)(uintptr_t)user_data, struct tx, guard.op);
	return t->guard.ud;
}

struct flight {
	bool out, zc, checked;
	uint64_t user_data;
	size_t bytes;
	struct iovec copy[RING_IOV_MAX];
};
static struct flight flight;
static uint64_t owed[ENTRIES];
static unsigned owed_count;

static void send_taken(const struct io_uring_sqe *sqe)
{
	struct iovec one = { (void *)(uintptr_t)sqe->addr, sqe->len };

	FUZZ_CHECK(!flight.out); /* INV-17 */
	flight = (struct flight){ .out = true, .user_data = sqe->user_data };
	if (sqe->opcode == IORING_OP_SENDMSG) {
		const struct msghdr *msg = (void *)(uintptr_t)sqe->addr;
		flight.bytes = check_bytes(msg->msg_iov, msg->msg_iovlen);
	} else {
		FUZZ_CHECK(sqe->opcode == IORING_OP_SEND || sqe->opcode == IORING_OP_SEND_ZC);
		flight.zc = sqe->opcode == IORING_OP_SEND_ZC;
		flight.bytes = check_bytes(&one, 1);
	}
	FUZZ_CHECK(sqe->flags & IOSQE_FIXED_FILE && flight.bytes);
	if (flight.zc)
		guard_of(flight.user_data)->in_flight = true;
}

static void cancel_taken(const struct io_uring_sqe *sqe)
{
	mock_post(sqe->user_data, -EALREADY, 0);
}

/* Everything else a close needs works at once. */
static void enter(void)
{
	ops_flush(&rig_loop.ops);
	FUZZ_CHECK(ring_enter(&rig_loop.ring, 0, 0) == 0);
	while (mock.taken_count) {
		struct io_uring_sqe sqe = mock_take(0);
		switch (sqe.opcode) {
		case IORING_OP_SEND:
		case IORING_OP_SENDMSG:
		case IORING_OP_SEND_ZC:
			send_taken(&sqe);
			break;
		case IORING_OP_ASYNC_CANCEL:
			cancel_taken(&sqe);
			break;
		default:
			mock_post(sqe.user_data, 0, 0);
		}
	}
}

static void finish_zc(int32_t res, bool more)
{
	struct piece *p = guard_of(flight.user_data);

	p->in_flight = false;
	p->owed = more;
	if (more)
		owed[owed_count++] = flight.user_data;
	mock_post(flight.user_data, res, more ? IORING_CQE_F_MORE : 0);
}

static void notify(unsigned i)
{
	uint64_t user_data = owed[i];

	guard_of(user_data)->owed = false;
	owed[i] = owed[--owed_count];
	mock_post(user_data, 0, IORING_CQE_F_NOTIF);
	ops_reap(&rig_loop.ops, UINT32_MAX);
}

static int32_t outcome(struct fuzz *f)
{
	static const int32_t errors[] = { -EAGAIN, 0,	   -ENOMEM,    -EOPNOTSUPP,
					  -EAGAIN, -EPIPE, -ECONNRESET };
	uint8_t b = fuzz_byte(f);

	if (b < 224)
		return (int32_t)(b < 64 ? flight.bytes : 1 + fuzz_below(f, flight.bytes));
	b = b % 32 / 4;
	/* only zero-copy sends are refused, and only once */
	if (b >= 7 || (errors[b] == -EOPNOTSUPP && !flight.zc))
		return -EAGAIN;
	return errors[b];
}

static void check(void)
{
	FUZZ_CHECK(c->tx_bytes == model_bytes());
	FUZZ_CHECK(rig_io.queued_bytes == c->tx_bytes && c->zc_owed == owed_count);
	for (unsigned i = head; i < pieces; i++) {
		const struct send_unit *u = piece[i].unit;
		FUZZ_CHECK(!u || (!u->done && u->entries == unit_pieces(u)));
	}
	conn_check(c);
}

static void step_send(struct fuzz *f)
{
	if (c->retry_send && fuzz_byte(f) % 2)
		c->retry_send = false; /* its timer */
	conn_send_step(c);
	enter();
}

/* Reaping comes first: the model frees what the queue must have let go of by then. */
static void kernel_step(struct fuzz *f)
{
	struct flight was = flight;
	int32_t res;

	if (!was.out)
		return;
	res = outcome(f);
	flight.out = false;
	if (was.zc)
		finish_zc(res, fuzz_byte(f) % 4 != 0);
	else
		mock_post(was.user_data, res, 0);
	ops_reap(&rig_loop.ops, UINT32_MAX);
	if (res > 0)
		model_sent((size_t)res);
	else if (c->write == WRITE_BROKEN)
		model_dropped();
	else
		FUZZ_CHECK(res == 0 || res == -EAGAIN || res == -ENOMEM ||
			   (was.zc && res == -EOPNOTSUPP));
}

static void take_back(unsigned n)
{
	struct send_unit *u = NULL;

	for (unsigned i = head; i < pieces && !u; i++)
		u = piece[(i + n) % pieces].unit;
	/* as unit_wait() does: not what has begun, nor what is in flight */
	if (!u || u->sent || (flight.out && c->tx_head->unit == u))
		return;
	conn_tx_remove(c, u);
	for (unsigned i = 0; i < pieces; i++)
		if (piece[i].unit == u && piece[i].queued)
			piece_left(&piece[i]);
}

/* A call that fails half way takes back what it queued. */
static void rollback(struct fuzz *f)
{
	struct tx *mark = c->tx_tail;
	size_t mark_len = mark ? mark->len : 0;
	unsigned from = pieces;

	if (pieces + 8 > ENTRIES || c->write != WRITE_OPEN)
		return;
	queue(f);
	queue(f);
	for (unsigned i = from; i < pieces; i++)
		if (piece[i].kind == UNIT)
			return; /* their frames roll them back another way */
	conn_tx_rollback(c, mark, mark_len);
	for (unsigned i = from; i < pieces; i++)
		piece_left(&piece[i]);
}

static void close_all(void)
{
	struct fuzz none = { 0 };

	c->retry_send = false;
	while (flight.out)
		kernel_step(&none);
	if (c->write != WRITE_BROKEN)
		conn_send_fail(c, -ECONNABORTED);
	model_dropped();
	while (owed_count)
		notify(0);
	io_run_releases(&rig_io);
	for (unsigned i = 0; i < pieces; i++)
		FUZZ_CHECK(!piece[i].queued && (piece[i].kind != GUARD || piece[i].released));
	FUZZ_CHECK(!live_units && !rig_io.chunks.live && !rig_io.queued_bytes);
	conn_set_read(c, READ_EOF, 0);
	conn_close(c, 0);
	while (c->life != LIFE_CLOSED) {
		conn_step(c);
		enter();
		ops_reap(&rig_loop.ops, UINT32_MAX);
	}
}

static void run(struct fuzz *f)
{
	while (f->n) {
		switch (fuzz_below(f, 8)) {
		case 0:
		case 1:
			step_send(f);
			break;
		case 2:
		case 3:
			kernel_step(f);
			break;
		case 4:
			if (owed_count)
				notify((unsigned)fuzz_below(f, owed_count));
			else
				io_run_releases(&rig_io);
			break;
		case 5:
			if (fuzz_byte(f) % 2)
				rollback(f);
			else
				take_back(fuzz_byte(f));
			break;
		default:
			queue(f);
		}
		check();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static const struct conn_mode mode = { .recv_max = 4096,
					       .send_high = 8192,
					       .send_low = 2048 };
	struct fuzz f = { data, n };
	struct io_config cfg = { .auto_slots = 1,
				 .explicit_slots = 1,
				 .recv_bufs = 1,
				 .recv_bufs_max = 1,
				 .recv_buf_bytes = 64,
				 .buffer_budget = 1 << 20,
				 .zc_threshold = 1,
				 .send_chunk = 512 };

	cfg.iov_max = 1 + (unsigned)fuzz_below(&f, RING_IOV_MAX);
	rig_open(&cfg);
	memset(&flight, 0, sizeof flight);
	pieces = head = owed_count = live_units = next = 0;
	c = conn_at(&rig_io, 0);
	conn_open(c, &mode, AF_INET);
	conn_set_life(c, LIFE_OPEN);
	run(&f);
	close_all();
	rig_close();
	return 0;
}
