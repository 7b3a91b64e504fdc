/*
 * Descriptors: the table of numbers, the direct tables of rings, and the one object behind both. As
 * in Linux, the object lives until its last reference is gone, and a request holds one: closing a
 * number under a pending receive sends no FIN.
 */
#include "base/assert.h"
#include "sim/sim.h"
#include <errno.h>
#include <stdlib.h>

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
	(void)w;
	RLN_ASSERT(f->refs > 0);
	if (--f->refs)
		return;
	if (f->kind == SIM_SOCK)
		sock_close(f->sock);
	free(f);
}

int fd_install(struct world *w, struct sim_file *f)
{
	for (int fd = 3; fd < SIM_FDS; fd++) {
		if (w->fd[fd])
			continue;
		w->fd[fd] = f;
		w->fds_open++;
		return fd;
	}
	return -EMFILE;
}

struct sim_file *fd_get(struct world *w, int fd)
{
	return fd >= 0 && fd < SIM_FDS ? w->fd[fd] : NULL;
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

/* A free slot of the range that REGISTER_FILE_ALLOC_RANGE set, next fit as in Linux. */
int slot_alloc(struct sim_ring *r)
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
		file_put(r->w, r->files[slot]);
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
	file_put(r->w, f);
	return 0;
}
