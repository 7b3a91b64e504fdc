/*
 * read(2) and write(2) by ring: files, counters and sockets. Bytes to write are read from the
 * program's memory when the operation runs; of a write past the page cache a second time when it
 * completes, since a device may read as late as that.
 */
#include "base/assert.h"
#include "sim/sim.h"
#include "sim/sim_disk.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>

#define RWF_KNOWN (RWF_HIPRI | RWF_DSYNC | RWF_SYNC | RWF_NOWAIT | RWF_APPEND)
#define MOST_BYTES 0x7ffff000u

static bool fixed(const struct sim_req *q)
{
	return q->sqe.opcode == IORING_OP_READ_FIXED || q->sqe.opcode == IORING_OP_WRITE_FIXED;
}

static bool selects(const struct sim_req *q)
{
	return q->sqe.flags & IOSQE_BUFFER_SELECT;
}

/* ---- memory */
static int take_buffer(struct sim_req *q)
{
	q->iov[0] = (struct iovec){ (void *)(uintptr_t)q->sqe.addr, q->sqe.len };
	q->iovs = 1;
	q->total = q->sqe.len < MOST_BYTES ? q->sqe.len : MOST_BYTES;
	return 0;
}

static int take_vector(struct sim_req *q)
{
	const struct iovec *v = (const struct iovec *)(uintptr_t)q->sqe.addr;

	if (q->sqe.len > UIO_MAXIOV)
		return -EINVAL;
	if (q->sqe.len > SIM_IOV)
		world_fail(q->ring->w, "%u pieces: only %d are simulated", q->sqe.len, SIM_IOV);
	memcpy(q->iov, v, q->sqe.len * sizeof(*v));
	q->iovs = q->sqe.len;
	for (unsigned i = 0; i < q->iovs; i++)
		q->total += q->iov[i].iov_len;
	return 0;
}

static int check_region(const struct sim_req *q)
{
	const struct sim_ring *r = q->ring;
	const struct iovec *v = &r->bufs[q->sqe.buf_index];
	uintptr_t a = (uintptr_t)q->sqe.addr, b;

	if (q->sqe.buf_index >= r->buf_count || !v->iov_base)
		return -EFAULT;
	b = (uintptr_t)v->iov_base;
	return a >= b && a + q->sqe.len <= b + v->iov_len ? 0 : -EFAULT;
}

static int rw_prep(struct sim_req *q)
{
	bool vector = q->sqe.opcode == IORING_OP_READV || q->sqe.opcode == IORING_OP_WRITEV;

	if (vector && selects(q))
		return q->sqe.len == 1 ? take_vector(q) : -EINVAL;
	if (vector)
		return take_vector(q);
	take_buffer(q);
	if (selects(q))
		q->iovs = 0;
	/* KERNEL(6.12): looked at when it is submitted, later when it runs. */
	return fixed(q) && q->ring->w->version <= LINUX_6_12 ? check_region(q) : 0;
}

/* From or to the program's memory, from byte `at` of all it names. */
static void iov_move(struct sim_req *q, size_t at, uint8_t *bytes, size_t n, bool in)
{
	for (unsigned i = 0; i < q->iovs && n; i++) {
		size_t len = q->iov[i].iov_len, k;
		uint8_t *p = q->iov[i].iov_base;

		if (at >= len) {
			at -= len;
			continue;
		}
		k = len - at < n ? len - at : n;
		if (in)
			memcpy(bytes, p + at, k);
		else
			memcpy(p + at, bytes, k);
		bytes += k;
		n -= k;
		at = 0;
	}
}

/* ---- files */
static bool aligned(const struct sim_req *q, uint64_t off)
{
	const struct disk *d = q->ring->w->disk;
	uint64_t bits = off;

	if (!(q->file->open->flags & O_DIRECT) || d->direct != DIRECT_CHECKED)
		return true;
	for (unsigned i = 0; i < q->iovs; i++)
		bits |= (uintptr_t)q->iov[i].iov_base % DISK_SECTOR | q->iov[i].iov_len;
	return bits % d->block == 0;
}

/* What forbids it, before any byte moves. */
static int file_check(const struct sim_req *q, bool write)
{
	const struct disk_open *o = q->file->open;
	int access = o->flags & O_ACCMODE;

	if (o->flags & O_PATH || access == (write ? O_RDONLY : O_WRONLY))
		return -EBADF;
	if (S_ISDIR(o->file->mode))
		return -EISDIR;
	if ((int64_t)q->sqe.off < -1)
		return -EINVAL;
	return 0;
}

/* How many bytes a call moves, which may be fewer than it could. */
static size_t some(struct sim_req *q, size_t n)
{
	return n > 1 && fault(q->ring->w, FAULT_FILE_SHORT) ? rand_size(q->ring->w, n - 1) : n;
}

static uint64_t file_offset(const struct sim_req *q)
{
	return q->sqe.off == UINT64_MAX ? q->file->open->at : q->sqe.off;
}

static int rw_done(struct sim_req *q, ssize_t res)
{
	if (res >= 0 && (size_t)res != q->total)
		q->fail = true; /* its chain breaks, also at the end of the file */
	req_finish(q, (int32_t)res, 0);
	return RUN_DONE;
}

static int file_read(struct sim_req *q)
{
	struct world *w = q->ring->w;
	struct disk_open *o = q->file->open;
	uint64_t off = file_offset(q);
	int err = file_check(q, false);
	uint8_t *bytes;
	size_t n;

	if (!err && !aligned(q, off))
		err = -EINVAL;
	if (!err && q->total && fault(w, FAULT_FILE_EIO))
		err = chance(w, 8) ? -EINTR : -EIO;
	if (err)
		return rw_done(q, err);
	n = off < o->file->size && q->total > o->file->size - off ? o->file->size - off : q->total;
	n = off < o->file->size ? some(q, n) : 0;
	bytes = malloc(n + 1);
	RLN_ASSERT(bytes);
	n = node_read(w, o->file, off, bytes, n);
	iov_move(q, 0, bytes, n, false);
	free(bytes);
	if (q->sqe.off == UINT64_MAX)
		o->at = off + n;
	return rw_done(q, (ssize_t)n);
}

static ssize_t put(struct sim_req *q, uint64_t off, size_t n)
{
	uint8_t *bytes = malloc(n + 1);
	ssize_t res;

	RLN_ASSERT(bytes);
	iov_move(q, 0, bytes, n, true);
	res = node_write(q->ring->w, q->file->open->file, off, bytes, n);
	free(bytes);
	return res;
}

/* A write that fails may have changed some of what it was to change. */
static int file_write_fails(struct sim_req *q, uint64_t off)
{
	struct world *w = q->ring->w;

	if (fault(w, FAULT_FILE_FULL))
		return chance(w, 2) ? -ENOSPC : -EDQUOT;
	if (!fault(w, FAULT_FILE_EIO))
		return 0;
	if (chance(w, 8))
		return -EINTR;
	if (chance(w, 2))
		put(q, off, rand_size(w, q->total));
	return -EIO;
}

static bool writes_through(const struct sim_req *q)
{
	return q->file->open->flags & O_DSYNC || (unsigned)q->sqe.rw_flags & (RWF_DSYNC | RWF_SYNC);
}

static int file_write(struct sim_req *q)
{
	struct world *w = q->ring->w;
	struct disk_open *o = q->file->open;
	bool append = o->flags & O_APPEND || (unsigned)q->sqe.rw_flags & RWF_APPEND;
	int err = file_check(q, true);
	uint64_t off;
	ssize_t n;

	if (err)
		return rw_done(q, err);
	off = append ? o->file->size : file_offset(q);
	if (!aligned(q, off))
		return rw_done(q, -EINVAL);
	err = q->total ? file_write_fails(q, off) : 0;
	if (err)
		return rw_done(q, err);
	n = put(q, off, some(q, q->total));
	if (n > 0 && q->sqe.off == UINT64_MAX)
		o->at = off + (uint64_t)n;
	if (n > 0 && writes_through(q)) {
		node_sync(w, o->file, off, off + (uint64_t)n, w->disk->writes);
	} else if (n > 0 && o->flags & O_DIRECT) {
		req_disk(q)->again = true;
		q->disk->off = off;
		q->disk->bytes = (size_t)n;
	}
	return rw_done(q, n);
}

/* The completion of a direct write is about to be seen: until now the device may have read. */
void req_write_again(struct sim_req *q)
{
	if (!q->disk->again || !chance(q->ring->w, 2))
		return;
	put(q, q->disk->off, q->disk->bytes);
}

/* ---- the others */
static int event_read(struct sim_req *q)
{
	uint64_t v = q->file->count;

	q->file->count = 0;
	iov_move(q, 0, (uint8_t *)&v, sizeof(v), false);
	return rw_done(q, sizeof(v));
}

static int event_write(struct sim_req *q)
{
	uint64_t v = 0;

	iov_move(q, 0, (uint8_t *)&v, sizeof(v), true);
	if (v == UINT64_MAX)
		return rw_done(q, -EINVAL);
	q->file->count += v;
	return rw_done(q, sizeof(v));
}

/* As recv(2) and send(2) without flags, and with the same faults. */
static int sock_move(struct sim_req *q, bool write)
{
	struct world *w = q->ring->w;
	size_t n = q->total;
	uint8_t *bytes;
	ssize_t res;

	if (n && fault(w, write ? FAULT_SHORT_SEND : FAULT_SHORT_RECV))
		n = rand_size(w, n);
	bytes = malloc(n + 1);
	RLN_ASSERT(bytes);
	if (write) {
		iov_move(q, 0, bytes, n, true);
		res = sock_send(q->file->sock, bytes, n, NULL);
	} else {
		res = sock_recv(q->file->sock, bytes, n);
		if (res > 0)
			iov_move(q, 0, bytes, (size_t)res, false);
	}
	free(bytes);
	return res == -EAGAIN ? RUN_WAIT : rw_done(q, res);
}

static int rw_refused(struct sim_req *q)
{
	unsigned flags = (unsigned)q->sqe.rw_flags;

	if (flags & ~RWF_KNOWN)
		return -EOPNOTSUPP;
	if (flags & RWF_HIPRI)
		return -EINVAL; /* not on a ring that does not poll */
	if (fixed(q) && q->ring->w->version > LINUX_6_12)
		return check_region(q);
	return 0;
}

/* A provided buffer, when there is something to put there. */
static int pick_buffer(struct sim_req *q, uint16_t *bid)
{
	struct sim_buf *b = group_peek(q->ring, q->sqe.buf_group, bid);
	size_t n;

	if (!b)
		return -ENOBUFS;
	n = q->sqe.len && q->sqe.len < b->len ? q->sqe.len : b->len;
	q->iov[0] = (struct iovec){ b->addr, n };
	q->iovs = 1;
	q->total = n;
	mem_user(b->addr, b->len);
	return 0;
}

static bool read_ready(struct sim_req *q)
{
	if (q->file->kind == SIM_EVENT)
		return q->file->count || (!selects(q) && q->total < sizeof(uint64_t));
	return q->file->kind != SIM_SOCK || sock_readable(q->file->sock);
}

static int read_any(struct sim_req *q)
{
	switch (q->file->kind) {
	case SIM_DISK:
		return file_read(q);
	case SIM_SOCK:
		return sock_move(q, false);
	case SIM_EVENT:
		return q->total < sizeof(uint64_t) ? rw_done(q, -EINVAL) : event_read(q);
	default:
		return rw_done(q, -EINVAL);
	}
}

static int read_select(struct sim_req *q)
{
	uint16_t bid, group = q->sqe.buf_group;
	int err = pick_buffer(q, &bid), how;
	struct sim_buf *b;

	if (err)
		return rw_done(q, err);
	how = read_any(q);
	q->iovs = 0;
	b = group_peek(q->ring, group, &bid);
	if (how == RUN_WAIT || q->res <= 0) {
		mem_kernel(b->addr, b->len);
		return how;
	}
	group_take(q->ring, group, (size_t)q->res);
	q->flags |= IORING_CQE_F_BUFFER | (uint32_t)bid << IORING_CQE_BUFFER_SHIFT;
	return how;
}

static int read_run(struct sim_req *q)
{
	int err = rw_refused(q);

	if (err)
		return rw_done(q, err);
	return selects(q) ? read_select(q) : read_any(q);
}

static bool write_ready(struct sim_req *q)
{
	return q->file->kind != SIM_SOCK || sock_writable(q->file->sock);
}

static int write_run(struct sim_req *q)
{
	int err = rw_refused(q);

	if (err)
		return rw_done(q, err);
	switch (q->file->kind) {
	case SIM_DISK:
		return file_write(q);
	case SIM_SOCK:
		return sock_move(q, true);
	case SIM_EVENT:
		return q->total < sizeof(uint64_t) ? rw_done(q, -EINVAL) : event_write(q);
	default:
		return rw_done(q, -EINVAL);
	}
}

/* Again and again, from what can be polled: a completion and a buffer each time. */
static int read_multi_prep(struct sim_req *q)
{
	return selects(q) && !q->sqe.addr && !q->sqe.len ? rw_prep(q) : -EINVAL;
}

static int event_read_multi(struct sim_req *q)
{
	uint16_t bid;
	uint32_t flags;
	int err = pick_buffer(q, &bid);

	if (err)
		return rw_done(q, err);
	if (q->total < sizeof(uint64_t)) {
		mem_kernel(q->iov[0].iov_base, q->iov[0].iov_len);
		return rw_done(q, -EINVAL);
	}
	iov_move(q, 0, (uint8_t *)&q->file->count, sizeof(uint64_t), false);
	q->file->count = 0;
	q->iovs = 0;
	group_take(q->ring, q->sqe.buf_group, sizeof(uint64_t));
	flags = IORING_CQE_F_BUFFER | (uint32_t)bid << IORING_CQE_BUFFER_SHIFT;
	if (fault(q->ring->w, FAULT_MULTI_END) || ring_cq_full(q->ring)) {
		req_finish(q, sizeof(uint64_t), flags);
		return RUN_DONE;
	}
	ring_post(q->ring, q->sqe.user_data, sizeof(uint64_t), flags | IORING_CQE_F_MORE, q->seq);
	return RUN_MORE;
}

static int read_multi_run(struct sim_req *q)
{
	if (q->file->kind == SIM_DISK)
		return rw_done(q, -EBADFD);
	if (q->file->kind != SIM_EVENT) /* sockets are not simulated here */
		return rw_done(q, -EOPNOTSUPP);
	return event_read_multi(q);
}

static bool read_multi_ready(struct sim_req *q)
{
	return q->file->kind != SIM_EVENT || q->file->count;
}

const struct sim_op op_read_multi = { .prep = read_multi_prep,
				      .ready = read_multi_ready,
				      .run = read_multi_run,
				      .needs_file = true };
const struct sim_op op_read = {
	.prep = rw_prep, .ready = read_ready, .run = read_run, .needs_file = true, .fills = true
};
const struct sim_op op_write = {
	.prep = rw_prep, .ready = write_ready, .run = write_run, .needs_file = true
};
