/*
 * What only the kernel's side can judge of a program: requests in vain (P7), and an end of stream
 * that reaches the peer long after the program had closed (P9). Nothing here acts on the world.
 */
#include "sim/sim.h"
#include "base/assert.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/*
 * Asked again sooner than this after a refusal, with nothing changed in between, a request is in
 * vain. Whoever waits for a timer waits for a millisecond at least, but for what passed since its
 * turn began. A few in a row may be no spin yet: most.
 */
#define VAIN_NS 900000
#define FIN_LATE_NS 1000000

/* A request that was refused, as long as no other one takes its place. */
struct sim_refusal {
	const struct sim_ring *ring;
	uint64_t who; /* user_data: of the request, or of what it wanted to cancel */
	uint64_t state;
	int64_t at;
	uint8_t opcode;
	unsigned again, most; /* in a row; more is a spin */
};

#define REFUSALS 64

struct sim_judge {
	struct sim_refusal refusal[REFUSALS];
};

void judge_new(struct world *w)
{
	w->judge = calloc(1, sizeof(*w->judge));
	RLN_ASSERT(w->judge);
}

void judge_free(struct world *w)
{
	free(w->judge);
	w->judge = NULL;
}

void judge_forget(struct world *w)
{
	if (w->judge)
		memset(w->judge->refusal, 0, sizeof(w->judge->refusal));
}

/* A cancel finds what it is to end in the hands of a worker thread: it stays in vain until then. */
static bool cancel_in_vain(const struct sim_req *q, int32_t res, struct sim_refusal *r)
{
	if (res != -EALREADY)
		return false;
	r->who = q->sqe.addr;
	r->most = 4;
	list_for_each (n, &q->ring->pending) {
		const struct sim_req *t = container_of(n, const struct sim_req, node);

		if (t->sqe.user_data != r->who)
			continue;
		r->state = t->seq;
		return true;
	}
	return false;
}

/* No buffer, and not by chance: in vain until one is published. */
static bool recv_in_vain(const struct sim_req *q, int32_t res, struct sim_refusal *r)
{
	const struct sim_group *g;
	uint16_t bid;

	if (res != -ENOBUFS || !(q->sqe.flags & IOSQE_BUFFER_SELECT) ||
	    group_peek(q->ring, q->sqe.buf_group, &bid))
		return false;
	g = group_find(q->ring, q->sqe.buf_group);
	r->most = 2; /* of others that wait each may ask once */
	r->state = g ? g->seen : 0;
	if (q->file->kind == SIM_SOCK)
		r->state |= (uint64_t)q->file->sock->news << 16;
	return true;
}

/* Descriptors or memory are used up: no client is to blame, and the next accept fails as well. */
static bool accept_in_vain(int32_t res, struct sim_refusal *r)
{
	r->most = 1; /* a clock read before the machine stopped */
	return res == -EMFILE || res == -ENFILE || res == -ENOBUFS || res == -ENOMEM;
}

static bool in_vain(const struct sim_req *q, int32_t res, struct sim_refusal *r)
{
	switch (q->sqe.opcode) {
	case IORING_OP_ASYNC_CANCEL:
		return cancel_in_vain(q, res, r);
	case IORING_OP_RECV:
		return recv_in_vain(q, res, r);
	case IORING_OP_ACCEPT:
		return accept_in_vain(res, r);
	default:
		return false;
	}
}

void judge_refused(const struct sim_req *q, int32_t res)
{
	struct world *w = q->ring->w;
	struct sim_refusal r = { .ring = q->ring,
				 .who = q->sqe.user_data,
				 .at = w->now,
				 .opcode = q->sqe.opcode },
			   *before;

	if (!in_vain(q, res, &r))
		return;
	before = &w->judge->refusal[(r.who >> 4 ^ r.who >> 12) % REFUSALS];
	if (before->ring == r.ring && before->who == r.who && before->state == r.state &&
	    before->opcode == r.opcode && q->asked >= before->at && q->asked - before->at < VAIN_NS)
		r.again = before->again + 1;
	*before = r;
	if (r.again > r.most)
		world_violates(w, PROP_P7,
			       "opcode %u asked again %u times in a row, refused with %d although "
			       "nothing had changed",
			       r.opcode, r.again, res);
}

/*
 * The caller is the last one to hold f, the file of a slot that was emptied at that time. Where the
 * kernel keeps such files for long, a program must end the stream before it closes.
 */
void judge_let_go(struct world *w, const struct sim_file *f, int64_t emptied)
{
	const struct sim_sock *s = f->kind == SIM_SOCK ? f->sock : NULL;

	if (f->refs > 1 || !s || s->state != SOCK_CONNECTED || s->hup || s->wr_shut || !s->other)
		return;
	if (w->now - emptied > FIN_LATE_NS)
		world_violates(w, PROP_P9, "the end of a stream is told %lld ns after the close",
			       (long long)(w->now - emptied));
}
