/*
 * Operations on files by name, and those on open files that move no bytes. Worker threads of the
 * kernel run them: names are copied at submission, everything else happens when they run.
 */
#include "base/assert.h"
#include "sim/sim.h"
#include "sim/sim_disk.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define STATX_DIO 0x2000u /* STATX_DIOALIGN, newer than the headers */
#define DIO_OFFSET offsetof(struct statx, stx_mnt_id) + 8

struct req_disk *req_disk(struct sim_req *q)
{
	if (!q->disk)
		q->disk = calloc(1, sizeof(*q->disk));
	RLN_ASSERT(q->disk);
	return q->disk;
}

void req_disk_free(struct sim_req *q)
{
	if (!q->disk)
		return;
	free(q->disk->path[0]);
	free(q->disk->path[1]);
	free(q->disk);
	q->disk = NULL;
}

static int take_path(struct sim_req *q, unsigned i, uint64_t addr)
{
	if (!addr)
		return -EFAULT;
	req_disk(q)->path[i] = strdup((const char *)(uintptr_t)addr);
	RLN_ASSERT(q->disk->path[i]);
	return 0;
}

static int one_path(struct sim_req *q)
{
	if (q->sqe.buf_index)
		return -EINVAL;
	return q->sqe.flags & IOSQE_FIXED_FILE ? -EBADF : take_path(q, 0, q->sqe.addr);
}

/* The folder that fd stands for; or with an empty path and `self` what it is itself. */
static int find(struct sim_req *q, int fd, unsigned i, bool self, struct disk_place *at)
{
	struct world *w = q->ring->w;
	const char *path = q->disk->path[i];
	struct disk_node *from = disk_of(w)->root;
	struct sim_file *f;

	if (fd != AT_FDCWD && *path != '/') {
		f = fd_get(w, fd);
		if (!f)
			return -EBADF;
		if (f->kind != SIM_DISK)
			return -ENOTDIR;
		from = f->open->file;
	}
	if (!*path && self) {
		*at = (struct disk_place){ .to = from };
		return 0;
	}
	return names_find(w, from, path, at);
}

static int done(struct sim_req *q, int res)
{
	req_finish(q, res, 0);
	return RUN_DONE;
}

/* Making something new needs room. */
static int no_room(struct world *w)
{
	if (!fault(w, FAULT_FILE_FULL))
		return 0;
	return chance(w, 2) ? -ENOSPC : -EDQUOT;
}

/* ---- open */
static int openat_prep(struct sim_req *q)
{
	if (q->sqe.file_index && q->sqe.open_flags & O_CLOEXEC)
		return -EINVAL;
	return one_path(q);
}

static int open_check(struct world *w, const struct disk_place *at, int flags)
{
	bool writes = (flags & O_ACCMODE) != O_RDONLY;

	if (!at->to)
		return flags & O_CREAT ? at->folder ? -EISDIR : 0 : -ENOENT;
	if (flags & O_CREAT && flags & O_EXCL)
		return -EEXIST;
	if (S_ISDIR(at->to->mode) && (writes || flags & O_CREAT) && !(flags & O_PATH))
		return -EISDIR;
	if (!S_ISDIR(at->to->mode) && flags & O_DIRECTORY)
		return -ENOTDIR;
	if (flags & O_DIRECT && !S_ISDIR(at->to->mode) && w->disk->direct == DIRECT_REFUSED)
		return -EINVAL;
	return 0;
}

static int open_at(struct sim_req *q, struct disk_node **out)
{
	struct world *w = q->ring->w;
	int flags = (int)q->sqe.open_flags, err;
	struct disk_place at;

	err = find(q, q->sqe.fd, 0, false, &at);
	if (!err)
		err = open_check(w, &at, flags);
	if (err)
		return err;
	*out = at.to;
	if (!at.to) {
		err = no_room(w);
		err = err ? err : names_create(w, &at, S_IFREG | (q->sqe.len & 07777), out);
		/* The file is there all the same. */
		if (!err && flags & O_DIRECT && w->disk->direct == DIRECT_REFUSED)
			err = -EINVAL;
	} else if (flags & O_TRUNC && S_ISREG(at.to->mode) && !(flags & O_PATH)) {
		node_resize(w, at.to, 0);
	}
	return err;
}

static int openat_run(struct sim_req *q)
{
	struct world *w = q->ring->w;
	struct disk_node *n = NULL;
	struct sim_file *f;
	int err = open_at(q, &n), fd;

	if (err)
		return done(q, err);
	f = file_new(SIM_DISK);
	f->open = open_new(n, (int)q->sqe.open_flags);
	if (q->sqe.file_index)
		return done(q, slot_install(q->ring, f, q->sqe.file_index));
	fd = fd_install(w, f);
	if (fd < 0)
		file_put(w, f);
	return done(q, fd);
}

const struct sim_op op_openat = { .prep = openat_prep, .run = openat_run, .worker = true };

/* ---- what a file is */
static int statx_prep(struct sim_req *q)
{
	int err = q->sqe.file_index ? -EINVAL : one_path(q);

	q->iov[0] = (struct iovec){ (void *)(uintptr_t)q->sqe.off, sizeof(struct statx) };
	q->iovs = 1;
	return err;
}

static void fill_statx(struct world *w, const struct disk_node *n, uint32_t mask, struct statx *st)
{
	uint32_t align[2] = { DISK_SECTOR, w->disk->block };
	struct statx_timestamp t = { .tv_sec = n->changed / 1000000000,
				     .tv_nsec = (uint32_t)(n->changed % 1000000000) };

	*st = (struct statx){ .stx_mask = STATX_BASIC_STATS,
			      .stx_blksize = DISK_PAGE,
			      .stx_nlink = n->links,
			      .stx_mode = (uint16_t)n->mode,
			      .stx_ino = n->number,
			      .stx_size = n->size,
			      .stx_blocks = node_blocks(n),
			      .stx_atime = t,
			      .stx_ctime = t,
			      .stx_mtime = t };
	if (S_ISDIR(n->mode)) {
		st->stx_nlink = n->links + 1 + names_folders(n);
		st->stx_size = DISK_PAGE;
	}
	if (mask & STATX_DIO && S_ISREG(n->mode) && w->disk->direct == DIRECT_CHECKED) {
		st->stx_mask |= STATX_DIO;
		memcpy((uint8_t *)st + DIO_OFFSET, align, sizeof(align));
	}
}

static int statx_run(struct sim_req *q)
{
	bool self = q->sqe.statx_flags & AT_EMPTY_PATH;
	struct disk_place at;
	int err = find(q, q->sqe.fd, 0, self, &at);

	if (!err && !at.to)
		err = -ENOENT;
	if (!err) {
		mem_user(q->iov[0].iov_base, q->iov[0].iov_len);
		fill_statx(q->ring->w, at.to, q->sqe.len, q->iov[0].iov_base);
	}
	return done(q, err);
}

const struct sim_op op_statx = { .prep = statx_prep, .run = statx_run, .worker = true };

/* ---- names */
static int unlinkat_prep(struct sim_req *q)
{
	if (q->sqe.off || q->sqe.len || q->sqe.file_index || q->sqe.unlink_flags & ~AT_REMOVEDIR)
		return -EINVAL;
	return one_path(q);
}

static int unlinkat_run(struct sim_req *q)
{
	struct disk_place at;
	int err = find(q, q->sqe.fd, 0, false, &at);

	if (!err && q->sqe.unlink_flags & AT_REMOVEDIR)
		err = names_rmdir(q->ring->w, &at);
	else if (!err)
		err = names_unlink(q->ring->w, &at);
	return done(q, err);
}

const struct sim_op op_unlinkat = { .prep = unlinkat_prep, .run = unlinkat_run, .worker = true };

static int mkdirat_prep(struct sim_req *q)
{
	return q->sqe.off || q->sqe.rw_flags || q->sqe.file_index ? -EINVAL : one_path(q);
}

static int mkdirat_run(struct sim_req *q)
{
	struct world *w = q->ring->w;
	struct disk_node *n;
	struct disk_place at;
	int err = find(q, q->sqe.fd, 0, false, &at);

	if (!err && at.to)
		err = -EEXIST;
	err = err ? err : no_room(w);
	return done(q, err ? err : names_create(w, &at, S_IFDIR | (q->sqe.len & 07777), &n));
}

const struct sim_op op_mkdirat = { .prep = mkdirat_prep, .run = mkdirat_run, .worker = true };

static int two_paths_prep(struct sim_req *q)
{
	int err = q->sqe.file_index ? -EINVAL : one_path(q);

	return err ? err : take_path(q, 1, q->sqe.addr2);
}

static int two_places(struct sim_req *q, struct disk_place *old, struct disk_place *at)
{
	int err = find(q, q->sqe.fd, 0, false, old);

	return err ? err : find(q, (int)q->sqe.len, 1, false, at);
}

static int renameat_run(struct sim_req *q)
{
	unsigned flags = q->sqe.rename_flags;
	struct disk_place old, at;
	int err = flags > 2 ? -EINVAL : two_places(q, &old, &at);

	return done(q, err ? err : names_rename(q->ring->w, &old, &at, flags));
}

const struct sim_op op_renameat = { .prep = two_paths_prep, .run = renameat_run, .worker = true };

static int linkat_run(struct sim_req *q)
{
	struct disk_place old, at;
	int err = q->sqe.hardlink_flags & ~AT_SYMLINK_FOLLOW ? -EINVAL : two_places(q, &old, &at);

	return done(q, err ? err : names_link(q->ring->w, &old, &at));
}

const struct sim_op op_linkat = { .prep = two_paths_prep, .run = linkat_run, .worker = true };

/* ---- open files */
static bool open_file(const struct sim_req *q)
{
	return q->file->kind == SIM_DISK && !(q->file->open->flags & O_PATH);
}

static bool open_to_write(const struct sim_req *q)
{
	return (q->file->open->flags & O_ACCMODE) != O_RDONLY;
}

static int fsync_prep(struct sim_req *q)
{
	if (q->sqe.addr || q->sqe.buf_index || q->sqe.file_index ||
	    q->sqe.fsync_flags & ~IORING_FSYNC_DATASYNC)
		return -EINVAL;
	req_disk(q);
	return 0;
}

/* It is issued, in a chain behind what it follows: what was done before this is what it covers. */
void sync_begin(struct sim_req *q)
{
	const struct disk *d = disk_of(q->ring->w);

	q->disk->upto = d->writes;
	q->disk->changes = d->changes;
}

static int file_sync(struct sim_req *q, struct disk_node *n)
{
	struct world *w = q->ring->w;
	uint64_t from = q->sqe.off, to = q->sqe.len ? from + q->sqe.len : DISK_WHOLE;
	int err;

	if (fault(w, FAULT_FILE_EIO)) {
		node_sync_fails(w, n);
		open_failure(q->file->open);
		return chance(w, 4) ? -ENOSPC : -EIO;
	}
	err = open_failure(q->file->open);
	node_sync(w, n, from, to, q->disk->upto);
	names_sync_of(w, n);
	return err;
}

static int fsync_run(struct sim_req *q)
{
	struct disk_node *n;

	if (!open_file(q))
		return done(q, q->file->kind == SIM_DISK ? -EBADF : -EINVAL);
	n = q->file->open->file;
	if (S_ISREG(n->mode))
		return done(q, file_sync(q, n));
	if (fault(q->ring->w, FAULT_FILE_EIO))
		return done(q, -EIO);
	names_sync(q->ring->w, n, q->disk->changes);
	return done(q, 0);
}

const struct sim_op op_fsync = {
	.prep = fsync_prep, .run = fsync_run, .needs_file = true, .worker = true
};

static int fallocate_prep(struct sim_req *q)
{
	return q->sqe.buf_index || q->sqe.rw_flags || q->sqe.file_index ? -EINVAL : 0;
}

/* off, addr: the range; len: the mode. */
static int fallocate_at(struct sim_req *q)
{
	uint64_t off = q->sqe.off, n = q->sqe.addr;
	struct disk_node *f = q->file->open->file;
	unsigned mode = q->sqe.len;
	int err;

	if ((int64_t)off < 0 || (int64_t)n <= 0)
		return -EINVAL;
	if (mode & ~(FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE))
		return -EOPNOTSUPP;
	if (mode & FALLOC_FL_PUNCH_HOLE && !(mode & FALLOC_FL_KEEP_SIZE))
		return -EOPNOTSUPP;
	if (!open_to_write(q))
		return -EBADF;
	if (S_ISDIR(f->mode))
		return -EISDIR;
	if (mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE))
		node_zero(q->ring->w, f, off, n);
	if (mode & FALLOC_FL_PUNCH_HOLE)
		return 0;
	err = no_room(q->ring->w);
	return err ? err : node_reserve(q->ring->w, f, off, n, mode & FALLOC_FL_KEEP_SIZE);
}

static int fallocate_run(struct sim_req *q)
{
	if (q->file->kind != SIM_DISK)
		return done(q, -ENODEV);
	return done(q, open_file(q) ? fallocate_at(q) : -EBADF);
}

const struct sim_op op_fallocate = {
	.prep = fallocate_prep, .run = fallocate_run, .needs_file = true, .worker = true
};

static int ftruncate_prep(struct sim_req *q)
{
	return q->sqe.rw_flags || q->sqe.addr || q->sqe.len || q->sqe.buf_index ||
			       q->sqe.file_index || q->sqe.addr3
		       ? -EINVAL
		       : 0;
}

static int ftruncate_run(struct sim_req *q)
{
	struct sim_file *f = q->file;

	if ((int64_t)q->sqe.off < 0 || f->kind != SIM_DISK || !S_ISREG(f->open->file->mode) ||
	    !open_to_write(q))
		return done(q, f->kind == SIM_DISK && !open_file(q) ? -EBADF : -EINVAL);
	return done(q, open_file(q) ? node_resize(q->ring->w, f->open->file, q->sqe.off) : -EBADF);
}

const struct sim_op op_ftruncate = {
	.prep = ftruncate_prep, .run = ftruncate_run, .needs_file = true, .worker = true
};
