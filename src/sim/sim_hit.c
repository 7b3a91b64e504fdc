/*
 * Hits: telling whoever counts them which connection something is about to happen to. The kernel's
 * side knows direct slots and user_data; what state the connection is in, the other side knows.
 */
#include "sim/sim.h"

void hit_tell(struct world *w, enum world_hit h, int ring_fd, uint64_t user_data)
{
	const struct world_where at = { .ring_fd = ring_fd, .slot = -1, .user_data = user_data };

	w->cfg.on_hit(w, h, &at);
}

static void tell_sqe(const struct sim_ring *r, const struct io_uring_sqe *sqe, enum world_hit h)
{
	struct world_where at = { .ring_fd = r->fd, .slot = -1, .user_data = sqe->user_data };

	if (sqe->opcode == IORING_OP_CLOSE && sqe->file_index)
		at.slot = (int)sqe->file_index - 1;
	else if (sqe->flags & IOSQE_FIXED_FILE)
		at.slot = sqe->fd;
	if (at.slot >= 0 || at.user_data)
		r->w->cfg.on_hit(r->w, h, &at);
}

void hit_tell_req(const struct sim_req *q, enum world_hit h)
{
	tell_sqe(q->ring, &q->sqe, h);
}

void hit_tell_queued(const struct sim_ring *r, enum world_hit h)
{
	unsigned tail = __atomic_load_n(&r->sq_tail, __ATOMIC_ACQUIRE);

	for (unsigned i = r->sq_head; i != tail; i++) {
		unsigned index = r->array ? r->array[i & r->sq_mask] : i & r->sq_mask;

		if (index < r->sq_entries)
			tell_sqe(r, &r->sqes[index], h);
	}
}

/* In every table it stands in: two, while it is handed from one ring to another. */
void hit_tell_sock(const struct sim_sock *s, enum world_hit h)
{
	if (s->actor)
		return;
	list_for_each (n, &s->w->rings) {
		const struct sim_ring *r = container_of(n, const struct sim_ring, node);

		for (unsigned i = 0; i < r->file_count; i++) {
			const struct sim_file *f = r->files[i];
			const struct world_where at = { .ring_fd = r->fd, .slot = (int)i };

			if (f && f->kind == SIM_SOCK && f->sock == s)
				s->w->cfg.on_hit(s->w, h, &at);
		}
	}
}
