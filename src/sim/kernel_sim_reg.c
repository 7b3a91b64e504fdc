/*
 * io_uring_register() of the fake kernel: what the runtime uses, refused where Linux refuses it.
 * Everything else is -EINVAL, as an older kernel would say.
 */
#include "sim/sim.h"
#include "base/assert.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int reg_enable(struct sim_ring *r)
{
	if (!r->disabled)
		return -EBADFD;
	r->disabled = false;
	return 0;
}

/* Of flags nothing is kept: the runtime restricts no ring yet. */
static int reg_restrictions(struct sim_ring *r, const struct io_uring_restriction *v, unsigned nr)
{
	if (!r->disabled)
		return -EBADFD;
	if (r->restricted)
		return -EBUSY;
	for (unsigned i = 0; i < nr; i++) {
		if (v[i].opcode == IORING_RESTRICTION_SQE_OP && v[i].sqe_op < 64)
			r->allowed_sqe |= 1ull << v[i].sqe_op;
		else if (v[i].opcode == IORING_RESTRICTION_REGISTER_OP && v[i].register_op < 64)
			r->allowed_register |= 1ull << v[i].register_op;
		else
			return -EINVAL;
	}
	r->restricted = true;
	return 0;
}

static int reg_ring_fds(struct sim_ring *r, void *arg, unsigned nr)
{
	struct io_uring_rsrc_update *up = arg;

	if (nr != 1 || up->resv || (up->offset != -1U && up->offset >= 16))
		return -EINVAL;
	if (fd_get(r->w, (int)up->data) != r->self)
		return -EBADF;
	if (r->fd_registered)
		return -EBUSY;
	r->fd_registered = true;
	/* The index equals the descriptor here: ring_of() looks at ring_fd anyway. */
	up->offset = 0;
	return 1;
}

static int reg_unring_fds(struct sim_ring *r, unsigned nr)
{
	if (nr != 1)
		return -EINVAL;
	r->fd_registered = false;
	return 1;
}

static struct sim_file *file_of(struct sim_ring *r, int fd)
{
	struct sim_file *f = fd_get(r->w, fd);

	return f && f->kind != SIM_RING ? f : NULL;
}

static int files_register(struct sim_ring *r, const int *fds, unsigned nr)
{
	if (r->file_count)
		return -EBUSY;
	if (!nr)
		return -EINVAL;
	if (nr > 1u << 20)
		return -EMFILE;
	for (unsigned i = 0; fds && i < nr; i++)
		if (fds[i] != -1 && !file_of(r, fds[i]))
			return -EBADF;
	r->files = calloc(nr, sizeof(struct sim_file *));
	RLN_ASSERT(r->files);
	r->file_count = r->alloc_len = nr;
	r->alloc_off = r->alloc_hint = 0;
	for (unsigned i = 0; fds && i < nr; i++)
		if (fds[i] != -1)
			r->files[i] = file_ref(file_of(r, fds[i]));
	return 0;
}

static int reg_files2(struct sim_ring *r, const struct io_uring_rsrc_register *reg, unsigned bytes)
{
	if (bytes != sizeof(*reg) || reg->resv2 || reg->flags & ~IORING_RSRC_REGISTER_SPARSE)
		return -EINVAL;
	if (reg->flags & IORING_RSRC_REGISTER_SPARSE)
		return reg->data ? -EINVAL : files_register(r, NULL, reg->nr);
	return files_register(r, (const int *)(uintptr_t)reg->data, reg->nr);
}

static int reg_unfiles(struct sim_ring *r)
{
	if (!r->file_count)
		return -ENXIO;
	for (unsigned i = 0; i < r->file_count; i++)
		if (r->files[i])
			file_put(r->w, r->files[i]);
	slots_release_all(r); /* it waits for them */
	free(r->files);
	r->files = NULL;
	r->file_count = r->alloc_len = 0;
	return 0;
}

static int reg_files_update(struct sim_ring *r, const struct io_uring_rsrc_update *up, unsigned nr)
{
	const int *fds = (const int *)(uintptr_t)up->data;

	if (!r->file_count)
		return -ENXIO;
	if (!nr || up->resv || up->offset + nr > r->file_count)
		return -EINVAL;
	for (unsigned i = 0; i < nr; i++) {
		struct sim_file **at = &r->files[up->offset + i];

		if (fds[i] == IORING_REGISTER_FILES_SKIP)
			continue;
		if (fds[i] != -1 && !file_of(r, fds[i]))
			return i ? (int)i : -EBADF;
		if (*at)
			slot_put(r, *at);
		*at = fds[i] == -1 ? NULL : file_ref(file_of(r, fds[i]));
	}
	return (int)nr;
}

static int reg_alloc_range(struct sim_ring *r, const struct io_uring_file_index_range *range)
{
	if (range->resv || (uint64_t)range->off + range->len > r->file_count)
		return -EINVAL;
	r->alloc_off = range->off;
	r->alloc_len = range->len;
	r->alloc_hint = 0;
	return 0;
}

/* ---- registered buffers */
static int bufs_register(struct sim_ring *r, const struct iovec *v, unsigned nr)
{
	if (r->bufs)
		return -EBUSY;
	if (!nr || nr > 1u << 14)
		return -EINVAL;
	for (unsigned i = 0; v && i < nr; i++)
		if (!v[i].iov_base ? v[i].iov_len != 0 : !v[i].iov_len || v[i].iov_len > 1u << 30)
			return -EFAULT;
	r->bufs = calloc(nr, sizeof(*r->bufs));
	RLN_ASSERT(r->bufs);
	r->buf_count = nr;
	if (v)
		memcpy(r->bufs, v, nr * sizeof(*v));
	return 0;
}

static int reg_bufs2(struct sim_ring *r, const struct io_uring_rsrc_register *reg, unsigned bytes)
{
	if (bytes != sizeof(*reg) || reg->resv2 || reg->flags & ~IORING_RSRC_REGISTER_SPARSE)
		return -EINVAL;
	if (reg->flags & IORING_RSRC_REGISTER_SPARSE)
		return reg->data ? -EINVAL : bufs_register(r, NULL, reg->nr);
	return bufs_register(r, (const struct iovec *)(uintptr_t)reg->data, reg->nr);
}

static int reg_unbufs(struct sim_ring *r)
{
	if (!r->bufs)
		return -ENXIO;
	free(r->bufs);
	r->bufs = NULL;
	r->buf_count = 0;
	return 0;
}

static int reg_bufs_update(struct sim_ring *r, const struct io_uring_rsrc_update2 *up,
			   unsigned bytes)
{
	const struct iovec *v = (const struct iovec *)(uintptr_t)up->data;

	if (bytes != sizeof(*up) || up->resv || up->resv2 || !up->nr)
		return -EINVAL;
	if (!r->bufs)
		return -ENXIO;
	if (up->offset + up->nr > r->buf_count)
		return -EINVAL;
	for (unsigned i = 0; i < up->nr; i++) {
		if (v[i].iov_base ? !v[i].iov_len : v[i].iov_len)
			return i ? (int)i : -EFAULT;
		r->bufs[up->offset + i] = v[i];
	}
	return (int)up->nr;
}

/* ---- the rest */
static int reg_probe(const struct world *w, struct io_uring_probe *p, unsigned nr)
{
	unsigned last = 64;

	if (nr > 256)
		return -EINVAL;
	nr = nr < last ? nr : last;
	memset(p, 0, sizeof(*p) + nr * sizeof(p->ops[0]));
	p->last_op = (uint8_t)(last - 1);
	p->ops_len = (uint8_t)nr;
	for (unsigned i = 0; i < nr; i++) {
		p->ops[i].op = (uint8_t)i;
		p->ops[i].flags = sim_knows(w, i) ? IO_URING_OP_SUPPORTED : 0;
	}
	return 0;
}

static int reg_other(struct sim_ring *r, unsigned opcode, void *arg, unsigned nr)
{
	switch (opcode) {
	case IORING_REGISTER_ENABLE_RINGS:
		return arg || nr ? -EINVAL : reg_enable(r);
	case IORING_REGISTER_RESTRICTIONS:
		return reg_restrictions(r, arg, nr);
	case IORING_REGISTER_RING_FDS:
		return reg_ring_fds(r, arg, nr);
	case IORING_UNREGISTER_RING_FDS:
		return reg_unring_fds(r, nr);
	case IORING_REGISTER_PROBE:
		return reg_probe(r->w, arg, nr);
	case IORING_REGISTER_PBUF_RING:
		return nr == 1 ? group_register(r, arg) : -EINVAL;
	case IORING_UNREGISTER_PBUF_RING:
		return nr == 1 ? group_unregister(r, ((struct io_uring_buf_reg *)arg)->bgid)
			       : -EINVAL;
	case IORING_REGISTER_SYNC_CANCEL:
		return nr == 1 ? cancel_sync(r, arg) : -EINVAL;
	default:
		return -EINVAL;
	}
}

/* Taking a registration back does not fail on Linux. */
static bool may_fail(unsigned opcode)
{
	return opcode != IORING_UNREGISTER_FILES && opcode != IORING_UNREGISTER_BUFFERS &&
	       opcode != IORING_UNREGISTER_RING_FDS && opcode != IORING_UNREGISTER_PBUF_RING;
}

int sim_register(struct io_uring *u, unsigned opcode, void *arg, unsigned nr)
{
	struct sim_ring *r = ring_of(u);
	struct world *w = r->w;

	if (may_fail(opcode) && ++w->stats.calls == w->cfg.fail_call)
		return w->cfg.fail_errno ? -w->cfg.fail_errno : -ENOMEM;
	if (r->restricted && !r->disabled && !(r->allowed_register >> opcode & 1))
		return -EACCES;
	switch (opcode) {
	case IORING_REGISTER_FILES:
		return files_register(r, arg, nr);
	case IORING_REGISTER_FILES2:
		return reg_files2(r, arg, nr);
	case IORING_UNREGISTER_FILES:
		return reg_unfiles(r);
	case IORING_REGISTER_FILES_UPDATE:
		return reg_files_update(r, arg, nr);
	case IORING_REGISTER_FILE_ALLOC_RANGE:
		return nr ? -EINVAL : reg_alloc_range(r, arg);
	case IORING_REGISTER_BUFFERS:
		return bufs_register(r, arg, nr);
	case IORING_REGISTER_BUFFERS2:
		return reg_bufs2(r, arg, nr);
	case IORING_UNREGISTER_BUFFERS:
		return reg_unbufs(r);
	case IORING_REGISTER_BUFFERS_UPDATE:
		return reg_bufs_update(r, arg, nr);
	default:
		return reg_other(r, opcode, arg, nr);
	}
}
