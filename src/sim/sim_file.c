/*
 * Descriptors: the table of numbers, the direct tables of rings, and the one object behind both. As
 * in Linux, the object lives until its last reference is gone, and a request holds one: closing a
 * number under a pending receive sends no FIN.
 */
#include "base/assert.h"
#include "sim/sim.h"
#include "sim/sim_disk.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct sim_file *file_new(enum sim_kind kind)
{
	struct sim_file *f = calloc(1, sizeof(*f));

	RLN_ASSERT(f);
	f->refs = 1;
	f->kind = kind;
	return f;
}

void file_put(struct world *w, struct sim_file *f)
{
	RLN_ASSERT(f->refs > 0);
	if (--f->refs)
		return;
	if (f->kind == SIM_SOCK)
		sock_close(f->sock);
	else if (f->kind == SIM_DISK)
		open_free(w, f->open);
	free(f);
}

static bool fds_grow(struct world *w)
{
	unsigned end = w->fd_end ? 2 * w->fd_end : 64;

	if (end > SIM_FDS)
		return false;
	w->fd = realloc(w->fd, end * sizeof(struct sim_file *));
	RLN_ASSERT(w->fd);
	memset(w->fd + w->fd_end, 0, (end - w->fd_end) * sizeof(struct sim_file *));
	w->fd_end = end;
	return true;
}

int fd_install(struct world *w, struct sim_file *f)
{
	unsigned fd = 3;

	while (fd < w->fd_end && w->fd[fd])
		fd++;
	if (fd >= w->fd_end && !fds_grow(w))
		return -EMFILE;
	w->fd[fd] = f;
	w->fds_open++;
	return (int)fd;
}

struct sim_file *fd_get(const struct world *w, int fd)
{
	return fd >= 0 && (unsigned)fd < w->fd_end ? w->fd[fd] : NULL;
}

int fd_close(struct world *w, int fd)
{
	struct sim_file *f = fd_get(w, fd);

	if (!f)
		return -EBADF;
	w->fd[fd] = NULL;
	w->fds_open--;
	file_put(w, f);
	return 0;
}

void fds_close(struct world *w)
{
	for (unsigned fd = 0; fd < w->fd_end; fd++)
		if (w->fd[fd])
			fd_close(w, (int)fd);
}

/* A free slot of the range that REGISTER_FILE_ALLOC_RANGE set, next fit as in Linux. */
static int slot_alloc(struct sim_ring *r)
{
	for (unsigned i = 0; i < r->alloc_len; i++) {
		unsigned slot = r->alloc_off + (r->alloc_hint + i) % r->alloc_len;

		if (r->files[slot])
			continue;
		r->alloc_hint = (slot + 1 - r->alloc_off) % r->alloc_len;
		return (int)slot;
	}
	return -ENFILE;
}

int slot_install(struct sim_ring *r, struct sim_file *f, uint32_t file_index)
{
	int slot = -ENXIO;

	if (r->file_count && file_index == IORING_FILE_INDEX_ALLOC)
		slot = slot_alloc(r);
	else if (r->file_count)
		slot = file_index <= r->file_count ? (int)file_index - 1 : -EINVAL;
	if (slot < 0) {
		file_put(r->w, f);
		return slot;
	}
	if (r->files[slot])
		slot_put(r, r->files[slot]);
	r->files[slot] = f;
	return file_index == IORING_FILE_INDEX_ALLOC ? slot : 0;
}

int slot_remove(struct sim_ring *r, unsigned slot)
{
	struct sim_file *f;

	if (!r->file_count)
		return -ENXIO;
	if (slot >= r->file_count)
		return -EINVAL;
	f = r->files[slot];
	if (!f)
		return -EBADF;
	r->files[slot] = NULL;
	if (slot >= r->alloc_off && slot < r->alloc_off + r->alloc_len)
		r->alloc_hint = slot - r->alloc_off;
	slot_put(r, f);
	return 0;
}

/*
 * KERNEL(6.12): what slots held is released in order, once every request on a slot of this ring
 * that is older than the removal has ended. KERNEL(6.1): and a second after that.
 */
#define RELEASE_DELAY_NS 1000000000

struct sim_removed {
	struct list node;
	struct sim_file *file;
	int64_t at;   /* when */
	uint64_t seq; /* of the youngest request that was there */
	int64_t due;  /* 0: older requests are out */
};

void slot_put(struct sim_ring *r, struct sim_file *f)
{
	struct sim_removed *m;

	if (r->w->version > LINUX_6_12) {
		file_put(r->w, f);
		return;
	}
	m = calloc(1, sizeof(*m));
	RLN_ASSERT(m);
	m->file = f;
	m->seq = r->w->req_seq;
	m->at = r->w->now;
	list_push_back(&r->removed, &m->node);
	if (++r->w->held > r->w->stats.kept_max)
		r->w->stats.kept_max = r->w->held;
}

static bool older_out(const struct list *l, uint64_t seq)
{
	list_for_each (n, l) {
		const struct sim_req *q = container_of(n, const struct sim_req, node);

		if (q->file && q->sqe.flags & IOSQE_FIXED_FILE && q->seq <= seq)
			return true;
	}
	return false;
}

static void removed_free(struct sim_ring *r, struct sim_removed *m)
{
	list_remove(&m->node);
	r->w->held--;
	if (r->w->judge)
		judge_let_go(r->w, m->file, m->at);
	file_put(r->w, m->file);
	free(m);
}

static void ring_release(struct sim_ring *r)
{
	struct world *w = r->w;
	int64_t delay = w->version == LINUX_6_1 ? RELEASE_DELAY_NS : 0;

	list_for_each_safe (n, t, &r->removed) {
		struct sim_removed *m = container_of(n, struct sim_removed, node);

		if (!m->due && (older_out(&r->pending, m->seq) || older_out(&r->run, m->seq)))
			return;
		if (!m->due)
			m->due = w->now + delay;
		if (m->due <= w->now)
			removed_free(r, m);
	}
}

void slots_release(struct world *w)
{
	if (!w->held)
		return;
	list_for_each (n, &w->rings)
		ring_release(container_of(n, struct sim_ring, node));
}

void slots_release_all(struct sim_ring *r)
{
	while (!list_empty(&r->removed))
		removed_free(r, container_of(r->removed.next, struct sim_removed, node));
}

int64_t slots_next(const struct world *w)
{
	int64_t next = SIM_NEVER;

	if (!w->held)
		return next;
	list_for_each (n, &w->rings) {
		const struct sim_ring *r = container_of(n, const struct sim_ring, node);
		const struct sim_removed *m;

		if (list_empty(&r->removed))
			continue;
		m = container_of(r->removed.next, const struct sim_removed, node);
		if (m->due && m->due < next)
			next = m->due;
	}
	return next;
}
