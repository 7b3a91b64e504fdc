/*
 * Rows of conformance.h: files. Each has a folder of its own below /tmp, made and removed by ring.
 */
#ifndef RINGLINE_TESTS_SIM_CONFORMANCE_FILE_H
#define RINGLINE_TESTS_SIM_CONFORMANCE_FILE_H

#include "conformance.h"
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/uio.h>

/* One operation, and its result. */
#define CONF_DO(c, prep, ...)                            \
	({                                               \
		struct io_uring_sqe *sqe_ = conf_sqe(c); \
		prep(sqe_, __VA_ARGS__);                 \
		sqe_->user_data = 700;                   \
		conf_result((c), 700);                   \
	})
#define CONF_SAY(c, prep, ...) conf_say_res(c, CONF_DO(c, prep, __VA_ARGS__))

static const char *conf_path(struct conf *c, unsigned i, const char *name)
{
	snprintf(c->path[i], sizeof(c->path[i]), "%s%s%s", c->dir, *name ? "/" : "", name);
	return c->path[i];
}

static void conf_folder(struct conf *c)
{
	snprintf(c->dir, sizeof(c->dir), "/tmp/ringline-conf-%d", (int)getpid());
	CHECK_INT(CONF_DO(c, io_uring_prep_mkdirat, AT_FDCWD, c->dir, 0700), ==, 0);
}

static void conf_unlink(struct conf *c, const char *name)
{
	CHECK_INT(CONF_DO(c, io_uring_prep_unlinkat, AT_FDCWD, conf_path(c, 0, name), 0), ==, 0);
}

static void conf_folder_end(struct conf *c)
{
	CHECK_INT(CONF_DO(c, io_uring_prep_unlinkat, AT_FDCWD, c->dir, AT_REMOVEDIR), ==, 0);
}

static int conf_open_file(struct conf *c, const char *name, int flags)
{
	return CONF_DO(c, io_uring_prep_openat, AT_FDCWD, conf_path(c, 0, name), flags, 0600);
}

static void conf_say_open(struct conf *c, const char *name, int flags)
{
	int fd = conf_open_file(c, name, flags);

	if (fd >= 0)
		sys_close(fd);
	if (fd >= 0)
		conf_say(c, "fd");
	else
		conf_say_res(c, fd);
}

/* A file without a name. */
static int conf_scratch(struct conf *c, const char *text)
{
	int fd;

	conf_folder(c);
	fd = conf_open_file(c, "f", O_RDWR | O_CREAT | O_EXCL);
	CHECK_INT(fd, >, 2);
	c->fd = fd;
	if (*text)
		CHECK_INT(CONF_DO(c, io_uring_prep_write, fd, text, (unsigned)strlen(text), 0), ==,
			  strlen(text));
	conf_unlink(c, "f");
	conf_folder_end(c);
	return fd;
}

static void row_file_open(struct conf *c)
{
	char name[300];

	memset(name, 'n', 256);
	name[256] = '\0';
	conf_folder(c);
	conf_say_open(c, "f", O_RDWR);
	conf_say_open(c, "f", O_RDWR | O_CREAT | O_EXCL);
	conf_say_open(c, "f", O_RDWR | O_CREAT | O_EXCL);
	conf_say_open(c, "f", O_RDONLY | O_DIRECTORY);
	conf_say_open(c, "f/g", O_RDONLY);
	conf_say_open(c, "", O_RDWR);
	conf_say_open(c, "", O_RDONLY | O_DIRECTORY);
	conf_say_open(c, "g/", O_RDWR | O_CREAT);
	CONF_SAY(c, io_uring_prep_openat, AT_FDCWD, name, O_RDONLY, 0);
	CONF_SAY(c, io_uring_prep_openat, AT_FDCWD, "", O_RDONLY, 0);
	CONF_SAY(c, io_uring_prep_openat, 999, "f", O_RDONLY, 0);
	CONF_SAY(c, io_uring_prep_openat, c->listener, "f", O_RDONLY, 0);
	conf_unlink(c, "f");
	conf_folder_end(c);
}

/* Into direct slots, which know no O_CLOEXEC. */
static void row_file_open_slot(struct conf *c)
{
	struct io_uring_sqe *sqe;

	conf_folder(c);
	conf_say_open(c, "f", O_RDWR | O_CREAT);
	conf_path(c, 0, "f");
	CONF_SAY(c, io_uring_prep_openat_direct, AT_FDCWD, c->path[0], O_RDWR, 0, 5);
	CONF_SAY(c, io_uring_prep_openat_direct, AT_FDCWD, c->path[0], O_RDWR | O_CLOEXEC, 0, 5);
	CONF_SAY(c, io_uring_prep_openat_direct, AT_FDCWD, c->path[0], O_RDWR, 0, CONF_SLOTS);
	sqe = conf_sqe(c);
	io_uring_prep_openat(sqe, 5, "f", O_RDWR, 0);
	conf_fixed(sqe, 1);
	conf_get(c, 1);
	sqe = conf_sqe(c);
	io_uring_prep_write(sqe, 5, "hello", 5, 0);
	conf_fixed(sqe, 2);
	conf_get(c, 2);
	conf_unlink(c, "f");
	conf_folder_end(c);
}

static void row_file_bytes(struct conf *c)
{
	int fd = conf_scratch(c, "");
	char buf[16] = "################";

	CONF_SAY(c, io_uring_prep_write, fd, "hello", 5, 3);
	CONF_SAY(c, io_uring_prep_read, fd, buf, 16, 0);
	conf_say(c, "%s", !memcmp(buf, "\0\0\0hello########", 16) ? "hole" : "wrong");
	CONF_SAY(c, io_uring_prep_read, fd, buf, 16, 6);
	CONF_SAY(c, io_uring_prep_read, fd, buf, 16, 8);
	CONF_SAY(c, io_uring_prep_read, fd, buf, 16, 1000000);
	CONF_SAY(c, io_uring_prep_read, fd, buf, 0, 0);
	CONF_SAY(c, io_uring_prep_write, fd, buf, 0, 100);
	CONF_SAY(c, io_uring_prep_read, fd, buf, 16, (uint64_t)-2);
}

/* Offset -1 is the file's own position; an offset leaves that alone. */
static void row_file_position(struct conf *c)
{
	int fd = conf_scratch(c, "");
	char buf[16] = "";

	CONF_SAY(c, io_uring_prep_write, fd, "hello", 5, (uint64_t)-1);
	CONF_SAY(c, io_uring_prep_write, fd, "HE", 2, 0);
	CONF_SAY(c, io_uring_prep_write, fd, " you", 4, (uint64_t)-1);
	CONF_SAY(c, io_uring_prep_read, fd, buf, 15, (uint64_t)-1);
	CONF_SAY(c, io_uring_prep_read, fd, buf, 15, 0);
	conf_say(c, "%s", buf);
}

static void row_file_append(struct conf *c)
{
	char buf[16] = "";
	int fd;

	conf_folder(c);
	c->fd = fd = conf_open_file(c, "f", O_RDWR | O_CREAT | O_APPEND);
	CONF_SAY(c, io_uring_prep_write, fd, "one", 3, 0);
	CONF_SAY(c, io_uring_prep_write, fd, "two", 3, 0);
	CONF_SAY(c, io_uring_prep_read, fd, buf, 15, 0);
	conf_say(c, "%s", buf);
	sys_close(fd);
	c->fd = fd = conf_open_file(c, "f", O_RDWR | O_TRUNC);
	CONF_SAY(c, io_uring_prep_write, fd, "x", 1, 0);
	CONF_SAY(c, io_uring_prep_writev2, fd, &((struct iovec){ (void *)"y", 1 }), 1, 0,
		 RWF_APPEND);
	CONF_SAY(c, io_uring_prep_read, fd, buf, 15, 0);
	conf_unlink(c, "f");
	conf_folder_end(c);
}

static void row_file_modes(struct conf *c)
{
	struct io_uring_sqe *sqe;
	char buf[16];
	int fd;

	conf_folder(c);
	c->fd = fd = conf_open_file(c, "f", O_WRONLY | O_CREAT);
	CONF_SAY(c, io_uring_prep_read, fd, buf, 4, 0);
	sys_close(fd);
	c->fd = fd = conf_open_file(c, "f", O_RDONLY);
	CONF_SAY(c, io_uring_prep_write, fd, buf, 4, 0);
	for (unsigned i = 0; i < 2; i++) {
		sqe = conf_sqe(c);
		io_uring_prep_read(sqe, fd, buf, 4, 0);
		sqe->rw_flags = i ? RWF_HIPRI : 1 << 30;
		sqe->user_data = 1;
		conf_get(c, 1);
	}
	sys_close(fd);
	c->fd = fd = conf_open_file(c, "", O_RDONLY | O_DIRECTORY);
	CONF_SAY(c, io_uring_prep_read, fd, buf, 4, 0);
	CONF_SAY(c, io_uring_prep_write, fd, buf, 4, 0);
	sys_close(fd);
	c->fd = fd = conf_open_file(c, "f", O_PATH);
	CONF_SAY(c, io_uring_prep_read, fd, buf, 4, 0);
	CONF_SAY(c, io_uring_prep_fsync, fd, 0);
	conf_unlink(c, "f");
	conf_folder_end(c);
}

static void row_file_vector(struct conf *c)
{
	int fd = conf_scratch(c, "");
	char a[4] = "", b[8] = "";
	struct iovec out[3] = { { (void *)"one", 3 }, { NULL, 0 }, { (void *)"-two", 4 } };
	struct iovec in[3] = { { a, 2 }, { b, 7 } };

	CONF_SAY(c, io_uring_prep_writev, fd, out, 3, 0);
	CONF_SAY(c, io_uring_prep_readv, fd, in, 2, 0);
	conf_say(c, "%s %s", a, b);
	CONF_SAY(c, io_uring_prep_readv, fd, in, 1025, 0);
	CONF_SAY(c, io_uring_prep_readv, fd, in, 0, 0);
}

/* Registered memory: what reaches out of it, and what is not there. */
static void row_file_region(struct conf *c)
{
	struct iovec v[2] = { { NULL, 0 }, { NULL, 0 } };
	int fd = conf_scratch(c, "0123456789");
	uint8_t *p;

	c->big = sys_zalloc(8192);
	p = c->big;
	v[1] = (struct iovec){ p, 4096 };
	conf_say_res(c, ring_register(&c->ring, IORING_REGISTER_BUFFERS, v, 2));
	CONF_SAY(c, io_uring_prep_read_fixed, fd, p + 100, 5, 2, 1);
	conf_say(c, "%.5s", (char *)p + 100);
	memcpy(p + 10, "FIXED", 5);
	CONF_SAY(c, io_uring_prep_write_fixed, fd, p + 10, 5, 5, 1);
	CONF_SAY(c, io_uring_prep_read_fixed, fd, p + 4090, 7, 0, 1);
	CONF_SAY(c, io_uring_prep_read_fixed, fd, p + 4096, 1, 0, 1);
	CONF_SAY(c, io_uring_prep_read_fixed, fd, p, 1, 0, 0);
	CONF_SAY(c, io_uring_prep_read_fixed, fd, p, 1, 0, 2);
	CONF_SAY(c, io_uring_prep_read, fd, p, 10, 0);
	conf_say(c, "%.10s", (char *)p);
	conf_say_res(c, ring_register(&c->ring, IORING_UNREGISTER_BUFFERS, NULL, 0));
	conf_say_res(c, ring_register(&c->ring, IORING_UNREGISTER_BUFFERS, NULL, 0));
}

static void row_file_sync(struct conf *c)
{
	struct io_uring_sqe *sqe;
	int fd;

	conf_folder(c);
	c->fd = fd = conf_open_file(c, "f", O_RDWR | O_CREAT);
	CONF_SAY(c, io_uring_prep_fsync, fd, 0);
	CONF_SAY(c, io_uring_prep_fsync, fd, IORING_FSYNC_DATASYNC);
	CONF_SAY(c, io_uring_prep_fsync, fd, 2);
	CONF_SAY(c, io_uring_prep_fsync, c->listener, 0);
	sqe = conf_sqe(c);
	io_uring_prep_fsync(sqe, fd, 0);
	sqe->off = 4096;
	sqe->len = 4096;
	sqe->user_data = 1;
	conf_get(c, 1);
	sys_close(fd);
	c->fd = fd = conf_open_file(c, "", O_RDONLY | O_DIRECTORY);
	CONF_SAY(c, io_uring_prep_fsync, fd, 0);
	CONF_SAY(c, io_uring_prep_fsync, 999, 0);
	conf_unlink(c, "f");
	conf_folder_end(c);
}

static long conf_size(struct conf *c, int fd)
{
	struct statx st;

	CHECK_INT(CONF_DO(c, io_uring_prep_statx, fd, "", AT_EMPTY_PATH, STATX_SIZE, &st), ==, 0);
	return (long)st.stx_size;
}

static void row_file_allocate(struct conf *c)
{
	int fd = conf_scratch(c, "0123456789");
	char buf[16] = "";

	CONF_SAY(c, io_uring_prep_fallocate, fd, 0, 0, 5000);
	conf_say(c, "%ld", conf_size(c, fd));
	CONF_SAY(c, io_uring_prep_fallocate, fd, FALLOC_FL_KEEP_SIZE, 0, 9000);
	conf_say(c, "%ld", conf_size(c, fd));
	CONF_SAY(c, io_uring_prep_fallocate, fd, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, 2, 3);
	CONF_SAY(c, io_uring_prep_read, fd, buf, 10, 0);
	conf_say(c, "%s",
		 !memcmp(buf,
			 "01\0\0\0"
			 "56789",
			 10)
			 ? "hole"
			 : "wrong");
	CONF_SAY(c, io_uring_prep_fallocate, fd, FALLOC_FL_PUNCH_HOLE, 2, 3);
	CONF_SAY(c, io_uring_prep_fallocate, fd, 0x4000, 2, 3);
	CONF_SAY(c, io_uring_prep_fallocate, fd, 0, 0, 0);
	CONF_SAY(c, io_uring_prep_fallocate, c->listener, 0, 0, 1);
}

static void conf_truncate(struct conf *c, int fd, uint64_t size)
{
	struct io_uring_sqe *sqe = conf_sqe(c);

	io_uring_prep_rw(RU_OP_FTRUNCATE, sqe, fd, NULL, 0, size);
	sqe->user_data = 1;
	conf_get(c, 1);
}

static void row_file_truncate(struct conf *c)
{
	int fd = conf_scratch(c, "0123456789");
	char buf[16] = "";

	conf_truncate(c, fd, 4);
	conf_truncate(c, fd, 8);
	conf_say(c, "%ld", conf_size(c, fd));
	CONF_SAY(c, io_uring_prep_read, fd, buf, 15, 0);
	conf_say(c, "%s", buf);
	conf_truncate(c, fd, (uint64_t)-1);
	conf_truncate(c, c->listener, 0);
}

static void row_file_statx(struct conf *c)
{
	struct statx st;

	conf_folder(c);
	conf_say_open(c, "f", O_RDWR | O_CREAT);
	CONF_SAY(c, io_uring_prep_statx, AT_FDCWD, conf_path(c, 0, "f"), 0, STATX_BASIC_STATS, &st);
	conf_say(c, "%llu %u %s", (unsigned long long)st.stx_size, st.stx_nlink,
		 S_ISREG(st.stx_mode) ? "file" : "other");
	CONF_SAY(c, io_uring_prep_statx, AT_FDCWD, c->dir, 0, STATX_BASIC_STATS, &st);
	conf_say(c, "%u %s", st.stx_nlink, S_ISDIR(st.stx_mode) ? "folder" : "other");
	CONF_SAY(c, io_uring_prep_statx, AT_FDCWD, conf_path(c, 0, "g"), 0, STATX_SIZE, &st);
	CONF_SAY(c, io_uring_prep_statx, AT_FDCWD, "", 0, STATX_SIZE, &st);
	conf_unlink(c, "f");
	conf_folder_end(c);
}

static void conf_say_rename(struct conf *c, const char *a, const char *b, unsigned flags)
{
	CONF_SAY(c, io_uring_prep_renameat, AT_FDCWD, conf_path(c, 1, a), AT_FDCWD,
		 conf_path(c, 2, b), flags);
}

static void row_file_rename(struct conf *c)
{
	conf_folder(c);
	conf_say_open(c, "f", O_RDWR | O_CREAT);
	conf_say_open(c, "g", O_RDWR | O_CREAT);
	CHECK_INT(CONF_DO(c, io_uring_prep_mkdirat, AT_FDCWD, conf_path(c, 0, "d"), 0700), ==, 0);
	conf_say_rename(c, "f", "d/f", 0);
	conf_say_rename(c, "f", "h", 0);
	conf_say_rename(c, "d/f", "g", 1);
	conf_say_rename(c, "g", "d", 0);
	conf_say_rename(c, "d", "g", 0);
	conf_say_rename(c, "d", "d/e", 0);
	conf_say_rename(c, "g", "g", 0);
	conf_say_rename(c, "g", "h", 8);
	conf_say_rename(c, "g", "d/f", 2);
	conf_say_rename(c, "g", "h", 2);
	conf_say_rename(c, "d/f", "g", 0);
	conf_say_rename(c, "g", "h/", 0);
	conf_say_rename(c, "d", "e/", 0);
	conf_say_rename(c, "e/.", "d", 0);
	conf_unlink(c, "g");
	CHECK_INT(CONF_DO(c, io_uring_prep_unlinkat, AT_FDCWD, conf_path(c, 0, "e"), AT_REMOVEDIR),
		  ==, 0);
	conf_folder_end(c);
}

static void row_file_unlink(struct conf *c)
{
	char buf[8] = "";
	int fd;

	conf_folder(c);
	c->fd = fd = conf_open_file(c, "f", O_RDWR | O_CREAT);
	CHECK_INT(CONF_DO(c, io_uring_prep_write, fd, "hello", 5, 0), ==, 5);
	CONF_SAY(c, io_uring_prep_unlinkat, AT_FDCWD, c->dir, 0);
	CONF_SAY(c, io_uring_prep_unlinkat, AT_FDCWD, c->dir, AT_REMOVEDIR);
	CONF_SAY(c, io_uring_prep_unlinkat, AT_FDCWD, conf_path(c, 0, "f"), AT_REMOVEDIR);
	CONF_SAY(c, io_uring_prep_unlinkat, AT_FDCWD, conf_path(c, 0, "f"), 1);
	CONF_SAY(c, io_uring_prep_unlinkat, AT_FDCWD, conf_path(c, 0, "."), AT_REMOVEDIR);
	CONF_SAY(c, io_uring_prep_unlinkat, AT_FDCWD, conf_path(c, 0, "f"), 0);
	CONF_SAY(c, io_uring_prep_unlinkat, AT_FDCWD, conf_path(c, 0, "f"), 0);
	CONF_SAY(c, io_uring_prep_read, fd, buf, 8, 0);
	conf_folder_end(c);
}

static void row_file_hard_link(struct conf *c)
{
	struct statx st;

	conf_folder(c);
	conf_say_open(c, "f", O_RDWR | O_CREAT);
	CONF_SAY(c, io_uring_prep_linkat, AT_FDCWD, conf_path(c, 0, "f"), AT_FDCWD,
		 conf_path(c, 1, "g"), 0);
	CONF_SAY(c, io_uring_prep_linkat, AT_FDCWD, c->path[0], AT_FDCWD, c->path[1], 0);
	CONF_SAY(c, io_uring_prep_linkat, AT_FDCWD, conf_path(c, 0, "h"), AT_FDCWD, c->path[1], 0);
	CONF_SAY(c, io_uring_prep_linkat, AT_FDCWD, c->dir, AT_FDCWD, conf_path(c, 2, "i"), 0);
	CONF_SAY(c, io_uring_prep_statx, AT_FDCWD, c->path[1], 0, STATX_BASIC_STATS, &st);
	conf_say(c, "%u", st.stx_nlink);
	conf_unlink(c, "f");
	conf_unlink(c, "g");
	conf_folder_end(c);
}

static void row_file_mkdir(struct conf *c)
{
	conf_folder(c);
	CONF_SAY(c, io_uring_prep_mkdirat, AT_FDCWD, c->dir, 0700);
	CONF_SAY(c, io_uring_prep_mkdirat, AT_FDCWD, conf_path(c, 0, "a/b"), 0700);
	CONF_SAY(c, io_uring_prep_mkdirat, AT_FDCWD, conf_path(c, 0, "a/"), 0700);
	CONF_SAY(c, io_uring_prep_mkdirat, AT_FDCWD, conf_path(c, 1, "."), 0700);
	CONF_SAY(c, io_uring_prep_unlinkat, AT_FDCWD, c->path[0], AT_REMOVEDIR);
	conf_folder_end(c);
}

/* Past the page cache: whether the file system has that, and what it is strict about. */
static void row_file_direct(struct conf *c)
{
	uint8_t *p;
	int fd;

	conf_folder(c);
	c->fd = fd = conf_open_file(c, "f", O_RDWR | O_CREAT | O_DIRECT);
	conf_unlink(c, "f");
	conf_folder_end(c);
	if (fd < 0) {
		conf_say_res(c, fd);
		return;
	}
	c->big = sys_zalloc(3 * 4096);
	p = c->big + (4096 - (uintptr_t)c->big % 4096) % 4096;
	CONF_SAY(c, io_uring_prep_write, fd, p, 4096, 0);
	CONF_SAY(c, io_uring_prep_write, fd, p, 4096, 1);
	CONF_SAY(c, io_uring_prep_write, fd, p, 100, 0);
	CONF_SAY(c, io_uring_prep_read, fd, p, 4096, 0);
	CONF_SAY(c, io_uring_prep_read, fd, p, 4096, 3);
}

/* ---- files and the ring */

/* A chain breaks where a read gives less than it was to, also at the end of the file. */
static void row_file_chain(struct conf *c)
{
	int fd = conf_scratch(c, "hello");
	struct io_uring_sqe *sqe;
	char buf[16];

	for (unsigned n = 5; n <= 6; n++) {
		sqe = conf_sqe(c);
		io_uring_prep_read(sqe, fd, buf, n, 0);
		sqe->flags |= IOSQE_IO_LINK;
		sqe->user_data = 1;
		conf_sqe(c)->user_data = 2;
		conf_get(c, 1);
		conf_get(c, 2);
	}
	sqe = conf_sqe(c);
	io_uring_prep_write(sqe, fd, "HELLO", 5, 0);
	sqe->flags |= IOSQE_IO_LINK;
	sqe->user_data = 1;
	sqe = conf_sqe(c);
	io_uring_prep_fsync(sqe, fd, 0);
	sqe->flags |= IOSQE_IO_LINK;
	sqe->user_data = 2;
	sqe = conf_sqe(c);
	io_uring_prep_read(sqe, fd, buf, 5, 0);
	sqe->user_data = 3;
	for (uint64_t ud = 1; ud <= 3; ud++)
		conf_get(c, ud);
	conf_say(c, "%.5s", buf);
}

static void row_file_cancel(struct conf *c)
{
	int fd = conf_scratch(c, "hello");
	struct io_uring_sqe *sqe = conf_sqe(c);
	char buf[16];

	io_uring_prep_read(sqe, fd, buf, 5, 0);
	sqe->flags |= IOSQE_ASYNC;
	sqe->user_data = 1;
	conf_cancel(c, 1, 2);
	conf_get(c, 2);
	conf_get(c, 1);
	conf_cancel(c, 1, 3);
	conf_get(c, 3);
}

static void row_file_no_socket(struct conf *c)
{
	int fd = conf_scratch(c, "hello"), m;
	char buf[16] = "";

	CONF_SAY(c, io_uring_prep_recv, fd, buf, 5, 0);
	CONF_SAY(c, io_uring_prep_send, fd, buf, 5, 0);
	CONF_SAY(c, io_uring_prep_accept, fd, NULL, NULL, 0);
	CONF_SAY(c, io_uring_prep_shutdown, fd, SHUT_RDWR);
	m = CONF_DO(c, io_uring_prep_poll_add, fd, POLLIN | POLLOUT | POLLRDHUP);
	conf_say(c, "%s%s", m > 0 && m & POLLIN ? "in" : "", m > 0 && m & POLLOUT ? "out" : "");
}

/* read(2) and write(2) of a connection. */
static void row_file_of_socket(struct conf *c)
{
	struct io_uring_sqe *sqe;
	char buf[16];

	conf_pair(c);
	sqe = conf_sqe(c);
	io_uring_prep_read(sqe, 0, buf, sizeof(buf), 0);
	conf_fixed(sqe, 1);
	conf_settle(c);
	CHECK_INT(c->peer->send(c, "hello", 5), ==, 5);
	conf_get(c, 1);
	sqe = conf_sqe(c);
	io_uring_prep_write(sqe, 0, "hello", 5, 0);
	conf_fixed(sqe, 2);
	conf_get(c, 2);
	conf_say_peer(c);
	c->peer->fin(c);
	sqe = conf_sqe(c);
	io_uring_prep_read(sqe, 0, buf, sizeof(buf), 0);
	conf_fixed(sqe, 3);
	conf_get(c, 3);
}

static void conf_select_read(struct conf *c, int fd, unsigned opcode, uint64_t off, uint64_t ud)
{
	struct io_uring_sqe *sqe = conf_sqe(c);

	io_uring_prep_rw((int)opcode, sqe, fd, NULL, 0, off);
	sqe->flags |= IOSQE_BUFFER_SELECT;
	sqe->buf_group = CONF_GROUP;
	sqe->user_data = ud;
}

static void row_file_select(struct conf *c)
{
	int fd = conf_scratch(c, "hello");
	uint32_t flags;

	conf_group(c, 2);
	conf_select_read(c, fd, IORING_OP_READ, 1, 1);
	flags = conf_get(c, 1);
	conf_say(c, "%s %u", flags & IORING_CQE_F_BUFFER ? "buffer" : "none", flags >> 16);
	conf_say(c, "%.4s", (char *)c->bufs);
	conf_select_read(c, fd, IORING_OP_READ, 0, 1);
	conf_get(c, 1);
	conf_select_read(c, fd, IORING_OP_READ, 0, 1);
	conf_get(c, 1);
}

#endif
