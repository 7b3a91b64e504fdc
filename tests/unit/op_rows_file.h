/* Rows of the kinds about files, devices, and the close of any descriptor. */
#ifndef RINGLINE_TESTS_OP_ROWS_FILE_H
#define RINGLINE_TESTS_OP_ROWS_FILE_H

#include "op_rows.h"

#include <linux/nvme_ioctl.h>
#include <sys/stat.h>
#include <sys/uio.h>

/* ---- a directory of its own for the row */

static char dir_path[64];
static int dir_fd;

static void dir_open(void)
{
	strcpy(dir_path, "/tmp/ringline-op-XXXXXX");
	CHECK(mkdtemp(dir_path));
	dir_fd = open(dir_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	CHECK_INT(dir_fd, >=, 0);
}

/* Everything in it must have been removed. */
static void dir_close(void)
{
	close(dir_fd);
	CHECK_INT(rmdir(dir_path), ==, 0);
}

static int file_make(const char *name, const char *text)
{
	int fd = openat(dir_fd, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	CHECK_INT(fd, >=, 0);
	CHECK_INT(pwrite(fd, text, strlen(text), 0), ==, strlen(text));
	return fd;
}

/* A file without a name. */
static int scratch_file(const char *text)
{
	int fd;

	dir_open();
	fd = file_make("f", text);
	CHECK_INT(unlinkat(dir_fd, "f", 0), ==, 0);
	dir_close();
	return fd;
}

static void file_has(int fd, const char *text)
{
	char got[256] = { 0 };

	CHECK_INT(pread(fd, got, sizeof(got) - 1, 0), ==, strlen(text));
	CHECK_STR(got, text);
}

/* ---- close */

static void row_close(void)
{
	struct run r;

	run_init(&r, OP_CLOSE);
	r.io.a.fd = event_counter();
	CHECK_INT(run_sync(&r), ==, 0);
	CHECK_INT(fcntl(r.io.a.fd, F_GETFD), <, 0);
	CHECK_INT(run_sync(&r), ==, -EBADF);
}

static void row_close_direct(void)
{
	struct run r;
	int fd[2];
	char c;

	tcp_pair(fd);
	into_slot(&bed, fd[0], 5);
	close(fd[0]);
	run_init(&r, OP_CLOSE);
	r.io.a.fd = 5;
	r.io.a.fixed = true;
	CHECK_INT(run_sync(&r), ==, 0);
	CHECK_INT(recv(fd[1], &c, 1, 0), ==, 0); /* the peer sees the FIN */
	CHECK_INT(run_sync(&r), ==, -EBADF);
	close(fd[1]);
}

/* ---- names */

static void open_init(struct run *r, const char *name, int slot)
{
	run_init(r, OP_OPENAT);
	r->io.a.fd = dir_fd;
	r->io.a.addr = name;
	r->io.a.flags = O_RDWR;
	r->io.a.slot = slot;
}

static void row_openat(void)
{
	struct run r;
	int fd;

	dir_open();
	open_init(&r, "new", OP_SLOT_NONE);
	r.io.a.flags |= O_CREAT | O_EXCL;
	r.io.a.mode = 0640;
	fd = run_sync(&r);
	CHECK_INT(fd, >=, 0);
	CHECK_INT(fcntl(fd, F_GETFD), ==, FD_CLOEXEC);
	close(fd);
	CHECK_INT(run_sync(&r), ==, -EEXIST);
	CHECK_INT(unlinkat(dir_fd, "new", 0), ==, 0);
	dir_close();
}

static void slot_reads(int slot, const char *text)
{
	struct run r;
	char got[16] = { 0 };

	run_init(&r, OP_READ);
	r.io.a.fd = slot;
	r.io.a.fixed = true;
	r.io.a.buf = got;
	r.io.a.len = sizeof(got) - 1;
	CHECK_INT(run_sync(&r), ==, strlen(text));
	CHECK_STR(got, text);
}

static void row_openat_direct(void)
{
	struct run r;
	int slot;

	dir_open();
	close(file_make("a", "alpha"));
	close(file_make("b", "beta"));
	open_init(&r, "a", 6);
	r.io.a.flags |= O_CLOEXEC; /* has no meaning for a slot; taken out, as Linux refuses it */
	CHECK_INT(run_sync(&r), ==, 0);
	slot_reads(6, "alpha");
	open_init(&r, "b", OP_SLOT_AUTO);
	slot = run_sync(&r);
	CHECK_INT(slot, >=, 0);
	CHECK_INT(slot, <, AUTO_SLOTS);
	slot_reads(slot, "beta");
	CHECK_INT(unlinkat(dir_fd, "a", 0), ==, 0);
	CHECK_INT(unlinkat(dir_fd, "b", 0), ==, 0);
	dir_close();
}

static void row_openat_fails(void)
{
	struct run r;

	dir_open();
	open_init(&r, "absent", 6);
	CHECK_INT(run_sync(&r), ==, -ENOENT);
	open_init(&r, ".", TABLE_SLOTS); /* beyond the table */
	r.io.a.flags = O_RDONLY;
	CHECK_INT(run_sync(&r), ==, -EINVAL);
	dir_close();
}

static void row_openat_table_full(void)
{
	struct run r;

	dir_open();
	open_init(&r, ".", OP_SLOT_AUTO);
	r.io.a.flags = O_RDONLY;
	for (unsigned i = 0; i < AUTO_SLOTS; i++)
		CHECK_INT(run_sync(&r), ==, i);
	CHECK_INT(run_sync(&r), ==, -ENFILE); /* although explicit slots are free */
	dir_close();
}

static void row_statx(void)
{
	struct run r;
	struct statx st = { 0 };

	dir_open();
	close(file_make("f", "12345"));
	run_init(&r, OP_STATX);
	r.io.a.fd = dir_fd;
	r.io.a.addr = "f";
	r.io.a.len = STATX_SIZE | STATX_TYPE;
	r.io.a.buf = &st;
	CHECK_INT(run_sync(&r), ==, 0);
	CHECK_INT(st.stx_size, ==, 5);
	CHECK(S_ISREG(st.stx_mode));
	r.io.a.addr = "absent";
	CHECK_INT(run_sync(&r), ==, -ENOENT);
	r.io.a.fd = open(dir_path, O_PATH | O_CLOEXEC); /* the descriptor itself */
	r.io.a.addr = "";
	r.io.a.flags = AT_EMPTY_PATH;
	CHECK_INT(run_sync(&r), ==, 0);
	CHECK(S_ISDIR(st.stx_mode));
	close(r.io.a.fd);
	CHECK_INT(unlinkat(dir_fd, "f", 0), ==, 0);
	dir_close();
}

static void row_renameat(void)
{
	struct run r;
	int sub, fd;

	dir_open();
	close(file_make("old", "content"));
	CHECK_INT(mkdirat(dir_fd, "sub", 0700), ==, 0);
	sub = openat(dir_fd, "sub", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	run_init(&r, OP_RENAMEAT);
	r.io.a.fd = dir_fd;
	r.io.a.addr = "old";
	r.io.a.len = (uint32_t)sub;
	r.io.a.buf = (void *)"new";
	CHECK_INT(run_sync(&r), ==, 0);
	fd = openat(sub, "new", O_RDONLY | O_CLOEXEC);
	file_has(fd, "content");
	close(fd);
	CHECK_INT(run_sync(&r), ==, -ENOENT);
	close(file_make("old", "second"));
	r.io.a.flags = 1; /* RENAME_NOREPLACE */
	CHECK_INT(run_sync(&r), ==, -EEXIST);
	CHECK_INT(unlinkat(dir_fd, "old", 0), ==, 0);
	CHECK_INT(unlinkat(sub, "new", 0), ==, 0);
	close(sub);
	CHECK_INT(unlinkat(dir_fd, "sub", AT_REMOVEDIR), ==, 0);
	dir_close();
}

static void row_unlinkat(void)
{
	struct run r;

	dir_open();
	close(file_make("f", ""));
	CHECK_INT(mkdirat(dir_fd, "sub", 0700), ==, 0);
	run_init(&r, OP_UNLINKAT);
	r.io.a.fd = dir_fd;
	r.io.a.addr = "f";
	CHECK_INT(run_sync(&r), ==, 0);
	CHECK_INT(run_sync(&r), ==, -ENOENT);
	r.io.a.addr = "sub";
	CHECK_INT(run_sync(&r), ==, -EISDIR);
	r.io.a.flags = AT_REMOVEDIR;
	CHECK_INT(run_sync(&r), ==, 0);
	dir_close();
}

static void row_mkdirat(void)
{
	struct run r;
	struct stat st;

	dir_open();
	run_init(&r, OP_MKDIRAT);
	r.io.a.fd = dir_fd;
	r.io.a.addr = "sub";
	r.io.a.mode = 0700;
	CHECK_INT(run_sync(&r), ==, 0);
	CHECK_INT(fstatat(dir_fd, "sub", &st, 0), ==, 0);
	CHECK_INT(st.st_mode, ==, S_IFDIR | 0700);
	CHECK_INT(run_sync(&r), ==, -EEXIST);
	CHECK_INT(unlinkat(dir_fd, "sub", AT_REMOVEDIR), ==, 0);
	dir_close();
}

/* ---- bytes */

static void bytes_init(struct run *r, enum op_kind kind, int fd, void *buf, uint32_t len)
{
	run_init(r, kind);
	r->io.a.fd = fd;
	r->io.a.buf = buf;
	r->io.a.len = len;
}

static void row_read(void)
{
	struct run r;
	char got[8] = { 0 };
	int fd = scratch_file("0123456789");

	bytes_init(&r, OP_READ, fd, got, 4);
	r.io.a.off = 3;
	CHECK_INT(run_sync(&r), ==, 4);
	CHECK_STR(got, "3456");
	r.io.a.off = 8;
	CHECK_INT(run_sync(&r), ==, 2); /* short at the end */
	r.io.a.off = 10;
	CHECK_INT(run_sync(&r), ==, 0);
	r.io.a.off = UINT64_MAX; /* the file's own position: 0, pwrite left it */
	CHECK_INT(run_sync(&r), ==, 4);
	CHECK_STR(got, "0123");
	r.io.a.flags = 1 << 30; /* no such RWF_ flag */
	CHECK_INT(run_sync(&r), <, 0);
	close(fd);
}

static void row_read_fails(void)
{
	struct run r;
	char got[8];

	dir_open();
	bytes_init(&r, OP_READ, dir_fd, got, sizeof(got));
	CHECK_INT(run_sync(&r), ==, -EISDIR);
	dir_close();
	row_bad_fd(OP_READ);
}

static void row_write(void)
{
	struct run r;
	int fd = scratch_file("0123456789"), reader;
	char path[64];

	bytes_init(&r, OP_WRITE, fd, (void *)"AB", 2);
	r.io.a.off = 4;
	CHECK_INT(run_sync(&r), ==, 2);
	file_has(fd, "0123AB6789");
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	reader = open(path, O_RDONLY | O_CLOEXEC);
	r.io.a.fd = reader;
	CHECK_INT(run_sync(&r), ==, -EBADF); /* not open for writing */
	close(reader);
	close(fd);
}

static void row_writev(void)
{
	struct run r;
	struct iovec v[3] = { { (void *)"one", 3 }, { NULL, 0 }, { (void *)"-two", 4 } };
	int fd = scratch_file("");

	bytes_init(&r, OP_WRITEV, fd, v, 3);
	CHECK_INT(run_sync(&r), ==, 7);
	file_has(fd, "one-two");
	v[0].iov_base = (void *)16; /* nothing is mapped there */
	CHECK_INT(run_sync(&r), ==, -EFAULT);
	close(fd);
}

static void row_fixed(enum op_kind kind)
{
	struct run r;
	int fd = scratch_file("fixed");

	bytes_init(&r, kind, fd, bed.region + 100, 5);
	if (kind == OP_WRITE_FIXED)
		memcpy(bed.region + 100, "FIXED", 5);
	CHECK_INT(run_sync(&r), ==, 5);
	CHECK_INT(memcmp(bed.region + 100, kind == OP_WRITE_FIXED ? "FIXED" : "fixed", 5), ==, 0);
	file_has(fd, kind == OP_WRITE_FIXED ? "FIXED" : "fixed");
	r.io.a.buf = bed.region + REGION_BYTES - 4; /* reaches past the region */
	CHECK_INT(run_sync(&r), ==, -EFAULT);
	r.io.a.buf = bed.region;
	r.io.a.region = 1; /* no such region */
	CHECK_INT(run_sync(&r), ==, -EFAULT);
	close(fd);
}

static void row_read_fixed(void)
{
	row_fixed(OP_READ_FIXED);
}

static void row_write_fixed(void)
{
	row_fixed(OP_WRITE_FIXED);
}

static void row_fsync(void)
{
	struct run r;
	int fd = scratch_file("x");

	run_init(&r, OP_FSYNC);
	r.io.a.fd = fd;
	CHECK_INT(run_sync(&r), ==, 0);
	r.io.a.flags = IORING_FSYNC_DATASYNC;
	CHECK_INT(run_sync(&r), ==, 0);
	r.io.a.flags = 1 << 30;
	CHECK_INT(run_sync(&r), ==, -EINVAL);
	close(fd);
	run_init(&r, OP_FSYNC);
	r.io.a.fd = event_counter();
	CHECK_INT(run_sync(&r), ==, -EINVAL); /* nothing to sync there */
	close(r.io.a.fd);
}

/* ---- nvme: without a device only what the SQE says, and that a stranger refuses it */

static struct bed wide;

static void nvme_encoding(const struct nvme_uring_cmd *cmd, bool fixed)
{
	const uint8_t *sqe = (const uint8_t *)wide.ring.u.sq.sqes;
	uint32_t op = NVME_URING_CMD_IO;
	int32_t fd = fixed ? 5 : -1;
	static const uint8_t zero[8];

	CHECK_INT(sqe[0], ==, IORING_OP_URING_CMD);
	CHECK_INT(sqe[1], ==, fixed ? IOSQE_FIXED_FILE : 0);
	CHECK_INT(memcmp(sqe + 4, &fd, 4), ==, 0);
	CHECK_INT(memcmp(sqe + 8, &op, 4), ==, 0);
	CHECK_INT(memcmp(sqe + 48, cmd, sizeof(*cmd)), ==, 0);
	CHECK_INT(memcmp(sqe + 48 + sizeof(*cmd), zero, sizeof(zero)), ==, 0);
	CHECK_INT(op, ==, 0xc0484e80u);
}

static void row_nvme(void)
{
	struct nvme_uring_cmd cmd = { .opcode = 2, .nsid = 1, .cdw10 = 0x11223344, .cdw12 = 7 };
	struct run r;
	int fd, res;

	bed_open(&wide, true);
	cmd.addr = 0x0102030405060708;
	cmd.rsvd2 = 0x99; /* the last field */
	fd = event_counter();
	into_slot(&wide, fd, 5);
	run_init(&r, OP_NVME);
	r.bed = &wide;
	r.io.a.fd = 5;
	r.io.a.fixed = true;
	r.io.a.cmd_op = NVME_URING_CMD_IO;
	r.io.a.buf = &cmd;
	run_submit(&r);
	nvme_encoding(&cmd, true);
	seen_good[OP_NVME]++; /* as good as it gets without a device */
	run_finish(&r);
	res = r.ev[0].res;
	if (res != -EOPNOTSUPP)
		CHECK_INT(res, ==, -ENOTTY);
	close(fd);
	bed_close(&wide);
}

#define ROWS_FILE                                                                                  \
	{ OP_CLOSE, "fd", row_close }, { OP_CLOSE, "direct", row_close_direct },                   \
		{ OP_OPENAT, "ordinary", row_openat }, { OP_OPENAT, "direct", row_openat_direct }, \
		{ OP_OPENAT, "fails", row_openat_fails },                                          \
		{ OP_OPENAT, "no automatic slot left", row_openat_table_full },                    \
		{ OP_STATX, "path and descriptor", row_statx },                                    \
		{ OP_RENAMEAT, "to another directory", row_renameat },                             \
		{ OP_UNLINKAT, "file and directory", row_unlinkat },                               \
		{ OP_MKDIRAT, "new and existing", row_mkdirat }, { OP_READ, "offsets", row_read }, \
		{ OP_READ, "fails", row_read_fails },                                              \
		{ OP_WRITE, "offset, and read-only", row_write },                                  \
		{ OP_WRITEV, "gather, and bad address", row_writev },                              \
		{ OP_READ_FIXED, "region", row_read_fixed },                                       \
		{ OP_WRITE_FIXED, "region", row_write_fixed },                                     \
		{ OP_FSYNC, "file, and eventfd", row_fsync },                                      \
		{ OP_NVME, "encoding, and refusal", row_nvme },

#endif
