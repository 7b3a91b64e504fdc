/*
 * Operations over a kernel that completes them in any order: each finishes exactly once and is told
 * its own results, SQEs leave in the order of the calls, chains stay whole, what is cancelled
 * before it had an SQE never gets one.
 */
#include "mock_ring.h"

#include "op/op.h"

#define OPS 10

enum model_state { M_IDLE, M_WAITING, M_LIVE, M_CANCELLED };

struct target {
	struct op op;
	struct op_cancel cancel;
	uint64_t submitted; /* when, among all */
	int32_t posted;	    /* its last result, when the kernel has told it */
	unsigned expected, finishes, told_more;
	enum model_state state;
	bool more_sent, link; /* the next one of its chain follows */
};

static struct target target[OPS];
static struct ring ring;
static struct ops ops;
static uint64_t calls, taken_last;

static void prepare(struct ops *o, struct op *op, struct io_uring_sqe *sqe)
{
	struct target *t = container_of(op, struct target, op);

	(void)o;
	FUZZ_CHECK(t->state == M_WAITING && t->submitted > taken_last);
	taken_last = t->submitted; /* INV-06: in the order of the calls */
	t->state = M_LIVE;
	io_uring_prep_nop(sqe);
}

static void finish(struct op *op, const struct op_event *ev)
{
	struct target *t = container_of(op, struct target, op);

	if (!ev->last) {
		FUZZ_CHECK(t->state == M_LIVE && t->told_more);
		t->told_more--;
		return;
	}
	FUZZ_CHECK(t->state == M_LIVE || t->state == M_CANCELLED);
	FUZZ_CHECK(t->expected == 1 && ev->res == t->posted);
	t->expected = 0;
	t->finishes++;
	t->state = M_IDLE;
	op_reset(op);
}

static const struct op_class cls = { OP_NOP, prepare, finish };

static void submitted(struct target *t, bool link)
{
	t->submitted = ++calls;
	t->link = link;
	t->more_sent = false;
}

static void submit(struct target *t)
{
	if (t->state != M_IDLE)
		return;
	t->state = M_WAITING;
	submitted(t, false);
	op_submit(&ops, &t->op);
}

static void submit_chain(struct fuzz *f)
{
	struct op *chain[OPS];
	unsigned n = 0, want = (unsigned)fuzz_below(f, 6);

	for (unsigned i = 0; i < OPS && n < want; i++)
		if (target[i].state == M_IDLE)
			chain[n++] = &target[i].op;
	int e = n <= ring.u.sq.ring_entries ? 0 : -E2BIG;
	for (unsigned i = 0; !e && i < n; i++) {
		struct target *t = container_of(chain[i], struct target, op);
		t->state = M_WAITING;
		submitted(t, i + 1 < n);
	}
	FUZZ_CHECK(op_submit_chain(&ops, chain, n) == (n ? e : -EINVAL));
}

static void ended_while_waiting(struct target *t)
{
	t->state = M_CANCELLED;
	t->expected = 1;
	t->posted = -ECANCELED;
}

/* What waits behind t in its chain ends with it; what stands before becomes a shorter chain. */
static void model_cancel(struct target *t)
{
	uint64_t at = t->submitted;
	bool more = t->link;

	for (unsigned i = 0; i < OPS; i++)
		if (target[i].state == M_WAITING && target[i].submitted == at - 1)
			target[i].link = false;
	ended_while_waiting(t);
	while (more) {
		more = false;
		at++;
		for (unsigned i = 0; i < OPS && !more; i++)
			if (target[i].state == M_WAITING && target[i].submitted == at) {
				more = target[i].link;
				ended_while_waiting(&target[i]);
			}
	}
}

static void cancel(struct target *t)
{
	bool waiting = t->state == M_WAITING, live = t->state == M_LIVE;

	if (t->cancel.op.state != OP_IDLE)
		return;
	/* its last completion may be on the way: the cancel will miss */
	bool sent = op_cancel_with(&ops, &t->op, &t->cancel);
	FUZZ_CHECK(sent == live);
	if (waiting)
		model_cancel(t);
}

static struct target *target_of(uint64_t user_data)
{
	for (unsigned i = 0; i < OPS; i++)
		if (user_data == (uintptr_t)&target[i].op)
			return &target[i];
	return NULL;
}

static bool taken_by_kernel(const struct target *t, unsigned *index)
{
	for (unsigned i = 0; i < mock.taken_count; i++)
		if (mock.taken[i].user_data == (uintptr_t)&t->op) {
			*index = i;
			return true;
		}
	return false;
}

static void end(struct target *t, unsigned index, int32_t res)
{
	mock_take(index);
	t->posted = res;
	t->expected++;
	mock_post((uintptr_t)&t->op, res, 0);
}

/* The kernel does something with the i-th operation it has. */
static void complete(struct fuzz *f, unsigned i)
{
	struct io_uring_sqe sqe = mock.taken[i];
	struct target *t = target_of(sqe.user_data);
	unsigned index;

	if (mock_cq_full())
		return;
	if (!t) { /* a cancel: 0 and the target ends, or it misses in one of two ways */
		FUZZ_CHECK(sqe.opcode == IORING_OP_ASYNC_CANCEL);
		struct target *victim = target_of(sqe.addr);
		FUZZ_CHECK(victim);
		mock_take(i);
		bool hit = taken_by_kernel(victim, &index) && fuzz_byte(f) % 2;
		mock_post(sqe.user_data, hit ? 0 : fuzz_byte(f) % 2 ? -EALREADY : -ENOENT, 0);
		if (hit && !mock_cq_full())
			end(victim, index, -ECANCELED);
		return;
	}
	if (fuzz_byte(f) % 4 == 0) {
		t->told_more++;
		mock_post(sqe.user_data, fuzz_byte(f), IORING_CQE_F_MORE);
		return;
	}
	end(t, i, fuzz_byte(f) - 128);
}

/* A chain is adjacent, and in one submission. */
static void check_chains(unsigned from)
{
	for (unsigned i = from; i < mock.taken_count; i++) {
		const struct target *t = target_of(mock.taken[i].user_data), *next;
		bool linked = mock.taken[i].flags & IOSQE_IO_LINK;
		if (!t) {
			FUZZ_CHECK(!linked);
			continue;
		}
		FUZZ_CHECK(linked == t->link);
		if (!linked)
			continue;
		FUZZ_CHECK(i + 1 < mock.taken_count || mock.sq_head != mock.sq_tail);
		if (i + 1 == mock.taken_count)
			continue;
		next = target_of(mock.taken[i + 1].user_data);
		FUZZ_CHECK(next && next->submitted == t->submitted + 1);
	}
}

static void enter(struct fuzz *f)
{
	unsigned from = mock.taken_count;

	if (fuzz_byte(f) % 8 == 0)
		mock.enter_err = fuzz_byte(f) % 2 ? -EBUSY : -EINTR;
	if (fuzz_byte(f) % 8 == 0)
		mock.take_max = fuzz_byte(f) % 4;
	bool whole = mock.take_max == UINT32_MAX;
	FUZZ_CHECK(ring_enter(&ring, 0, 0) == 0);
	if (whole)
		check_chains(from);
}

static void settle(void)
{
	struct fuzz none = { 0 };

	for (unsigned i = 0; i < OPS; i++)
		cancel(&target[i]);
	while (!ops_idle(&ops)) {
		ops_deliver(&ops);
		ops_flush(&ops);
		FUZZ_CHECK(ring_enter(&ring, 0, 0) == 0);
		while (mock.taken_count && !mock_cq_full()) {
			struct target *t = target_of(mock.taken[0].user_data);
			if (t)
				end(t, 0, 1);
			else
				complete(&none, 0);
		}
		ops_reap(&ops, UINT32_MAX);
	}
	for (unsigned i = 0; i < OPS; i++)
		FUZZ_CHECK(target[i].state == M_IDLE && !target[i].expected &&
			   !target[i].told_more && !op_busy(&target[i].cancel.op));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct fuzz f = { data, n };
	unsigned sq = 2u << fuzz_below(&f, 3);
	struct ring_config rc = { .kernel = &mock_kernel, .sq_entries = sq, .cq_entries = sq * 2 };

	FUZZ_CHECK(ring_open(&ring, &rc, NULL) == 0 && ring_enable(&ring, NULL) == 0);
	ops_init(&ops, &ring);
	calls = taken_last = 0;
	memset(target, 0, sizeof target);
	for (unsigned i = 0; i < OPS; i++) {
		op_init(&target[i].op, &cls);
		op_cancel_init(&target[i].cancel, NULL);
	}
	while (f.n) {
		struct target *t = &target[fuzz_below(&f, OPS)];

		switch (fuzz_below(&f, 10)) {
		case 0:
			ops_flush(&ops);
			break;
		case 1:
			enter(&f);
			break;
		case 2:
			ops_reap(&ops, fuzz_byte(&f));
			break;
		case 3:
			ops_deliver(&ops);
			break;
		case 4:
			cancel(t);
			break;
		case 5:
			submit_chain(&f);
			break;
		case 6:
		case 7:
			if (mock.taken_count)
				complete(&f, (unsigned)fuzz_below(&f, mock.taken_count));
			break;
		default:
			submit(t);
		}
		ops_check(&ops);
	}
	settle();
	ops_fini(&ops);
	ring_close(&ring);
	return 0;
}
