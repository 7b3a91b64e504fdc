/*
 * The simulated disk: what programs see of it against a model, and what is left of it when the
 * power fails against what was promised. Each promise is also broken on purpose: a program that
 * counts on more loses something in some seed.
 */
#include "disk_rig.h"
#include <stdlib.h>

/* ---- bytes, against an array that does the same slowly */
#define FILE_MOST 20000

struct model {
	size_t size;
	uint8_t byte[FILE_MOST * 2];
};

static void model_write(struct model *m, size_t off, const uint8_t *p, size_t n)
{
	memcpy(m->byte + off, p, n);
	if (off + n > m->size)
		m->size = off + n;
}

static void model_resize(struct model *m, size_t n)
{
	if (n < m->size)
		memset(m->byte + n, 0, m->size - n);
	m->size = n;
}

static void random_write(struct disk_rig *d, int fd, struct model *m, bool append)
{
	static uint8_t bytes[FILE_MOST];
	size_t n = 1 + (size_t)world_rand(d->w, world_rand(d->w, 2) ? 600 : 9000), cut = n / 3;
	size_t off = append ? m->size : (size_t)world_rand(d->w, FILE_MOST - n);
	struct iovec v[3] = { { bytes, cut }, { NULL, 0 }, { bytes + cut, n - cut } };

	if (append && m->size + n > FILE_MOST)
		return;
	for (size_t i = 0; i < n; i++)
		bytes[i] = (uint8_t)world_rand(d->w, 256);
	if (append)
		CHECK_INT(DISK_CALL(d, io_uring_prep_writev2, fd, v, 3, 7, RWF_APPEND), ==, n);
	else if (world_rand(d->w, 2))
		CHECK_INT(DISK_CALL(d, io_uring_prep_writev, fd, v, 3, off), ==, n);
	else
		CHECK_INT(disk_put(d, fd, off, bytes, (unsigned)n), ==, n);
	model_write(m, off, bytes, n);
}

static void random_read(struct disk_rig *d, int fd, const struct model *m)
{
	static uint8_t got[FILE_MOST];
	size_t off = (size_t)world_rand(d->w, FILE_MOST), n = (size_t)world_rand(d->w, 9000);
	size_t left = off < m->size ? m->size - off : 0, want = n < left ? n : left;

	CHECK_INT(disk_get(d, fd, off, got, (unsigned)n), ==, want);
	CHECK(!memcmp(got, m->byte + off, want));
}

static void random_shape(struct disk_rig *d, int fd, struct model *m)
{
	size_t off = (size_t)world_rand(d->w, FILE_MOST / 2);
	size_t n = 1 + (size_t)world_rand(d->w, FILE_MOST / 2);

	switch (world_rand(d->w, 3)) {
	case 0:
		if (world_version(d->w) < LINUX_6_12)
			return;
		{
			struct io_uring_sqe *sqe = disk_sqe(d, 0);

			io_uring_prep_rw(RU_OP_FTRUNCATE, sqe, fd, NULL, 0, off);
			sqe->user_data = 0;
			CHECK_INT(disk_await(d, 0), ==, 0);
		}
		model_resize(m, off);
		return;
	case 1:
		CHECK_INT(DISK_CALL(d, io_uring_prep_fallocate, fd, 0, (off_t)off, (off_t)n), ==,
			  0);
		model_resize(m, off + n > m->size ? off + n : m->size);
		return;
	default:
		CHECK_INT(DISK_CALL(d, io_uring_prep_fallocate, fd,
				    FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)off,
				    (off_t)n),
			  ==, 0);
		if (off < m->size)
			memset(m->byte + off, 0, n < m->size - off ? n : m->size - off);
	}
}

TEST_LIMIT(disk_files_hold_what_was_written_for_every_seed, 120)
{
	uint64_t first = seed_first(), seeds = seed_count(300);
	static struct model m[2];
	struct disk_rig d;

	for (uint64_t seed = first; seed < first + seeds; seed++) {
		int fd[2];

		disk_open(&d, seed, &disk_orders);
		memset(m, 0, sizeof(m));
		fd[0] = disk_file(&d, "a", O_RDWR | O_CREAT);
		fd[1] = disk_file(&d, "/tmp/b", O_RDWR | O_CREAT | O_EXCL);
		for (unsigned i = 0; i < 60; i++) {
			unsigned f = (unsigned)world_rand(d.w, 2),
				 what = (unsigned)world_rand(d.w, 8);

			if (what < 3)
				random_write(&d, fd[f], &m[f], what == 0);
			else if (what < 6)
				random_read(&d, fd[f], &m[f]);
			else if (what == 6)
				random_shape(&d, fd[f], &m[f]);
			else
				CHECK_INT(disk_sync(&d, fd[f]), ==, 0);
		}
		CHECK_INT(disk_size(&d, "a"), ==, m[0].size);
		CHECK_INT(disk_size(&d, "tmp/b"), ==, m[1].size);
		disk_close(&d);
	}
}

/* ---- power: a file of records, each a sector that holds its version */
#define RECORDS 24
#define WRITERS 6

struct records {
	struct disk_rig d;
	int fd;
	uint64_t version;	   /* the last one given out */
	uint64_t safe[RECORDS];	   /* what a completed sync covers */
	uint64_t written[RECORDS]; /* of the last completed write */
	uint64_t latest[RECORDS];  /* asked for */
	bool out[RECORDS];	   /* a write of it is under way */
	unsigned record[WRITERS];  /* of tag 1 + i; RECORDS: free */
	uint64_t sector[WRITERS][64];
	bool syncing;
	uint64_t covered[RECORDS]; /* by the sync that is under way */
	bool careless;		   /* takes a completed write for safe */
	unsigned lost;		   /* records older than a write that had completed */
};

static void record_write(struct records *r, unsigned i)
{
	unsigned n = (unsigned)world_rand(r->d.w, RECORDS);
	struct io_uring_sqe *sqe;

	if (r->record[i] < RECORDS || r->out[n])
		return;
	r->record[i] = n;
	r->out[n] = true;
	r->latest[n] = ++r->version;
	for (unsigned k = 0; k < 64; k++)
		r->sector[i][k] = r->version;
	sqe = disk_sqe(&r->d, 1 + i);
	io_uring_prep_write(sqe, r->fd, r->sector[i], 512, (uint64_t)n * 512);
	sqe->user_data = 1 + i;
}

static void record_sync(struct records *r)
{
	struct io_uring_sqe *sqe;

	if (r->syncing)
		return;
	r->syncing = true;
	memcpy(r->covered, r->written, sizeof(r->written));
	sqe = disk_sqe(&r->d, 40);
	io_uring_prep_fsync(sqe, r->fd, world_rand(r->d.w, 2) ? IORING_FSYNC_DATASYNC : 0);
	sqe->user_data = 40;
}

static void record_collect(struct records *r)
{
	disk_turn(&r->d, 1);
	for (unsigned i = 0; i < WRITERS; i++) {
		unsigned n = r->record[i];

		if (n == RECORDS || !r->d.done[1 + i])
			continue;
		CHECK_INT(r->d.res[1 + i], ==, 512);
		r->written[n] = r->latest[n];
		if (r->careless)
			r->safe[n] = r->latest[n];
		r->out[n] = false;
		r->record[i] = RECORDS;
	}
	if (!r->syncing || !r->d.done[40])
		return;
	CHECK_INT(r->d.res[40], ==, 0);
	r->syncing = false;
	for (unsigned n = 0; n < RECORDS; n++)
		if (r->covered[n] > r->safe[n])
			r->safe[n] = r->covered[n];
}

/* Of the last run: of its completions, and of what it found afterwards. */
static uint64_t records_hash, records_sum;

/* What is there again: a whole sector of a version that was asked for, and none that was safe. */
static void record_judge(struct records *r)
{
	for (unsigned n = 0; n < RECORDS; n++) {
		uint64_t got[64] = { 0 };
		int k = disk_get(&r->d, r->fd, (uint64_t)n * 512, got, 512);

		CHECK(k == 512 || k == 0);
		for (unsigned i = 1; i < 64; i++)
			CHECK(got[i] == got[0]);
		CHECK_INT(got[0], <=, r->latest[n]);
		if (!r->careless)
			CHECK_INT(got[0], >=, r->safe[n]);
		records_sum = records_sum * 31 + got[0];
		r->lost += got[0] < r->safe[n];
	}
}

static unsigned records_run(uint64_t seed, bool careless)
{
	static struct records r;
	unsigned turns;
	int dir;

	memset(&r, 0, sizeof(r));
	r.careless = careless;
	disk_open(&r.d, seed, &disk_orders);
	r.fd = disk_file(&r.d, "records", O_RDWR | O_CREAT);
	dir = disk_file(&r.d, "/", O_RDONLY | O_DIRECTORY);
	CHECK_INT(disk_sync(&r.d, dir), ==, 0);
	for (unsigned i = 0; i < WRITERS; i++)
		r.record[i] = RECORDS;
	turns = 1 + (unsigned)world_rand(r.d.w, 60);
	while (turns--) {
		for (unsigned i = 0; i < WRITERS; i++)
			record_write(&r, i);
		if (world_rand(r.d.w, 8) == 0)
			record_sync(&r);
		record_collect(&r);
	}
	disk_lose_power(&r.d);
	r.fd = disk_file(&r.d, "records", O_RDONLY);
	CHECK_INT(r.fd, >=, 0);
	records_sum = 0;
	record_judge(&r);
	records_hash = world_hash(r.d.w);
	disk_close(&r.d);
	return r.lost;
}

TEST_LIMIT(disk_what_was_synced_survives_for_every_seed, 120)
{
	uint64_t first = seed_first(), seeds = seed_count(1000);

	for (uint64_t seed = first; seed < first + seeds; seed++)
		records_run(seed, false);
}

TEST(disk_what_was_only_written_is_lost_in_some_seed)
{
	unsigned lossy = 0;

	for (uint64_t seed = 1; seed <= 100; seed++)
		lossy += records_run(seed, true) > 0;
	CHECK_INT(lossy, >, 50);
}

/* ---- power: the other ways to be sure of a write */
enum surely { BY_FLAG, BY_CALL, BY_CHAIN, BY_TWO_FILES };

/* One write that the program takes for safe when it has completed. */
static void write_surely(struct disk_rig *d, int fd, const void *p, enum surely how)
{
	struct io_uring_sqe *sqe = disk_sqe(d, 1);
	struct iovec v = { (void *)(uintptr_t)p, 5000 };

	io_uring_prep_writev2(sqe, fd, &v, 1, 0, how == BY_CALL ? RWF_DSYNC : 0);
	sqe->user_data = 1;
	if (how == BY_CHAIN) {
		sqe->flags |= IOSQE_IO_LINK;
		sqe = disk_sqe(d, 2);
		io_uring_prep_fsync(sqe, fd, IORING_FSYNC_DATASYNC);
		sqe->user_data = 2;
		CHECK_INT(disk_await(d, 2), ==, 0);
	}
	CHECK_INT(disk_await(d, 1), ==, 5000);
	if (how == BY_TWO_FILES) /* a sync concerns the file, whoever has it open */
		CHECK_INT(disk_sync(d, disk_file(d, "f", O_RDONLY)), ==, 0);
}

TEST(disk_what_is_written_surely_survives_for_every_seed)
{
	for (uint64_t seed = 1; seed <= 200; seed++) {
		enum surely how = (enum surely)(seed % 4);
		uint8_t bytes[5000], got[5000];
		struct disk_rig d;
		int fd;

		disk_open(&d, seed, &disk_orders);
		fd = disk_file(&d, "f", O_RDWR | O_CREAT | (how == BY_FLAG ? O_DSYNC : 0));
		CHECK_INT(disk_sync(&d, disk_file(&d, "/", O_RDONLY)), ==, 0);
		memset(bytes, (int)(1 + seed % 250), sizeof(bytes));
		write_surely(&d, fd, bytes, how);
		disk_lose_power(&d);
		fd = disk_file(&d, "f", O_RDONLY);
		CHECK_INT(disk_get(&d, fd, 0, got, sizeof(got)), ==, sizeof(got));
		CHECK(!memcmp(got, bytes, sizeof(got)));
		disk_close(&d);
	}
}

TEST(disk_the_same_seed_leaves_the_same_disk)
{
	for (uint64_t seed = 1; seed <= 50; seed++) {
		uint64_t hash[2], sum[2] = { 0 };

		for (unsigned i = 0; i < 2; i++) {
			records_run(seed, false);
			hash[i] = records_hash;
			sum[i] = records_sum;
		}
		CHECK(hash[0] == hash[1] && sum[0] == sum[1]);
	}
}

/* ---- power: a file replaced as a whole, the way everybody does it */
struct replacing {
	bool sync_file, sync_folder;
	unsigned gone, old, new, torn; /* what was found */
};

static void replace(struct disk_rig *d, const struct replacing *how, int dir, unsigned stop)
{
	static uint8_t bytes[3000];
	int fd;

	memset(bytes, 'n', sizeof(bytes));
	fd = disk_file(d, "data.new", O_WRONLY | O_CREAT | O_TRUNC);
	if (stop-- == 0)
		return;
	CHECK_INT(disk_put(d, fd, 0, bytes, sizeof(bytes)), ==, sizeof(bytes));
	if (stop-- == 0)
		return;
	if (how->sync_file)
		CHECK_INT(disk_sync(d, fd), ==, 0);
	if (stop-- == 0)
		return;
	CHECK_INT(DISK_CALL(d, io_uring_prep_renameat, AT_FDCWD, "data.new", AT_FDCWD, "data", 0),
		  ==, 0);
	if (stop-- == 0)
		return;
	if (how->sync_folder)
		CHECK_INT(disk_sync(d, dir), ==, 0);
}

static void replaced(struct disk_rig *d, struct replacing *how)
{
	uint8_t got[3000];
	int fd = disk_file(d, "data", O_RDONLY), n, same = 0;

	if (fd < 0) {
		how->gone++;
		return;
	}
	n = disk_get(d, fd, 0, got, sizeof(got));
	while (same < n && got[same] == got[0])
		same++;
	if (n == 1000 && same == n && got[0] == 'o')
		how->old++;
	else if (n == 3000 && same == n && got[0] == 'n')
		how->new ++;
	else
		how->torn++;
}

static void replace_run(struct replacing *how, unsigned stop)
{
	how->gone = how->old = how->new = how->torn = 0;
	for (uint64_t seed = 1; seed <= 200; seed++) {
		struct disk_rig d;
		uint8_t bytes[1000];
		int dir, fd;

		memset(bytes, 'o', sizeof(bytes));
		disk_open(&d, seed, &disk_orders);
		dir = disk_file(&d, ".", O_RDONLY | O_DIRECTORY);
		fd = disk_file(&d, "data", O_WRONLY | O_CREAT);
		CHECK_INT(disk_put(&d, fd, 0, bytes, sizeof(bytes)), ==, sizeof(bytes));
		CHECK_INT(disk_sync(&d, fd), ==, 0);
		CHECK_INT(disk_sync(&d, dir), ==, 0);
		replace(&d, how, dir, stop);
		disk_lose_power(&d);
		replaced(&d, how);
		disk_close(&d);
	}
}

TEST(disk_a_replaced_file_is_the_old_or_the_new_one)
{
	struct replacing how = { .sync_file = true, .sync_folder = true };

	for (unsigned stop = 0; stop <= 4; stop++) {
		replace_run(&how, stop);
		CHECK_INT(how.gone + how.torn, ==, 0);
		if (stop < 3)
			CHECK_INT(how.new, ==, 0);
		if (stop == 3) /* renamed, and nothing promised: both happen */
			CHECK(how.old > 20 && how.new > 20);
		if (stop == 4)
			CHECK_INT(how.old, ==, 0);
	}
}

TEST(disk_a_file_replaced_without_a_sync_is_torn_in_some_seed)
{
	struct replacing how = { .sync_folder = true };

	replace_run(&how, 4);
	CHECK_INT(how.gone, ==, 0);
	CHECK(how.torn > 50 && how.new > 0);
}

/* A file that was synced, in a folder that was not: in some seeds there is no such name. */
TEST(disk_a_name_that_was_not_synced_is_lost_in_some_seed)
{
	unsigned there = 0, missing = 0;

	for (uint64_t seed = 1; seed <= 100; seed++) {
		struct disk_rig d;
		int fd;

		disk_open(&d, seed, &disk_orders);
		fd = disk_file(&d, "new", O_WRONLY | O_CREAT);
		CHECK_INT(disk_put(&d, fd, 0, "x", 1), ==, 1);
		CHECK_INT(disk_sync(&d, fd), ==, 0);
		disk_lose_power(&d);
		if (disk_size(&d, "new") == -ENOENT) {
			missing++;
		} else {
			CHECK_INT(disk_size(&d, "new"), ==, 1);
			there++;
		}
		disk_close(&d);
	}
	CHECK(there > 10 && missing > 10);
}

/* ---- names at random */
#define NAMES 9
static const char *const name[NAMES] = { "a", "b", "a/x", "b/x", "a/y", "b/y", "tmp", "a/z", "c" };

/* Each folder has one name, and each file as many as it says: one, where nobody makes links. */
static void names_judge(struct disk_rig *d, bool links)
{
	struct statx st[NAMES];
	bool there[NAMES];

	for (unsigned i = 0; i < NAMES; i++)
		there[i] = DISK_CALL(d, io_uring_prep_statx, AT_FDCWD, name[i], 0,
				     STATX_BASIC_STATS, &st[i]) == 0;
	for (unsigned i = 0; i < NAMES; i++) {
		unsigned same = 0;

		if (!there[i])
			continue;
		for (unsigned j = 0; j < NAMES; j++)
			same += there[j] && st[j].stx_ino == st[i].stx_ino;
		if (S_ISDIR(st[i].stx_mode) || !links)
			CHECK_INT(same, ==, 1);
		else
			CHECK_INT(same, <=, st[i].stx_nlink); /* c may be a folder of such names */
	}
}

/* Afterwards everything is a tree, and nothing is left over. */
TEST_LIMIT(disk_names_stay_a_tree_for_every_seed, 60)
{
	uint64_t first = seed_first(), seeds = seed_count(300);

	for (uint64_t seed = first; seed < first + seeds; seed++) {
		struct disk_rig d;

		disk_open(&d, seed, &disk_orders);
		for (unsigned i = 0; i < 150; i++) {
			const char *p = name[world_rand(d.w, NAMES)];
			const char *q = name[world_rand(d.w, NAMES)];
			unsigned flags = (unsigned)world_rand(d.w, 3);
			int fd;

			switch (world_rand(d.w, 8)) {
			case 0:
				DISK_CALL(&d, io_uring_prep_mkdirat, AT_FDCWD, p, 0755);
				break;
			case 1:
				DISK_CALL(&d, io_uring_prep_unlinkat, AT_FDCWD, p, AT_REMOVEDIR);
				break;
			case 2:
				DISK_CALL(&d, io_uring_prep_unlinkat, AT_FDCWD, p, 0);
				break;
			case 3:
				if (seed % 2)
					break;
				DISK_CALL(&d, io_uring_prep_linkat, AT_FDCWD, p, AT_FDCWD, q, 0);
				break;
			case 4:
			case 5:
				DISK_CALL(&d, io_uring_prep_renameat, AT_FDCWD, p, AT_FDCWD, q,
					  flags);
				break;
			case 6:
				fd = disk_file(&d, p, world_rand(d.w, 2) ? O_RDONLY : O_CREAT);
				if (fd < 0)
					break;
				CHECK_INT(disk_sync(&d, fd), ==, 0);
				CHECK_INT(disk_fd_close(&d, fd), ==, 0);
				break;
			default:
				if (world_rand(d.w, 12))
					break;
				disk_lose_power(&d);
				names_judge(&d, seed % 2 == 0);
			}
		}
		disk_close(&d);
	}
}

/* ---- failures */

/* A failed sync is told once; the next one is content, and what was lost may stay lost. */
TEST(disk_a_failed_sync_is_told_once)
{
	struct world_config cfg = disk_calm;
	unsigned lost = 0;

	for (uint64_t seed = 1; seed <= 50; seed++) {
		struct disk_rig d;
		uint8_t got[4096], bytes[4096];
		int fd, other, err;

		memset(bytes, 1, sizeof(bytes));
		cfg.fault[FAULT_FILE_EIO] = RATE_FREQUENT;
		disk_open(&d, seed, &cfg);
		fd = disk_file(&d, "f", O_RDWR | O_CREAT);
		other = disk_file(&d, "f", O_RDONLY);
		while (disk_put(&d, fd, 0, bytes, sizeof(bytes)) != sizeof(bytes))
			;
		while (!(err = disk_sync(&d, fd)))
			while (disk_put(&d, fd, 0, bytes, sizeof(bytes)) != sizeof(bytes))
				;
		CHECK(err == -EIO || err == -ENOSPC);
		world_calm(d.w);
		CHECK_INT(disk_sync(&d, fd), ==, 0);
		CHECK_INT(disk_sync(&d, other), ==, -EIO); /* each open file once */
		CHECK_INT(disk_sync(&d, other), ==, 0);
		CHECK_INT(disk_sync(&d, disk_file(&d, "f", O_RDONLY)), ==, 0);
		CHECK_INT(disk_sync(&d, disk_file(&d, "/", O_RDONLY)), ==, 0);
		disk_lose_power(&d);
		fd = disk_file(&d, "f", O_RDONLY);
		CHECK_INT(disk_get(&d, fd, 0, got, sizeof(got)), ==, sizeof(got));
		lost += memcmp(got, bytes, sizeof(got)) != 0;
		disk_close(&d);
	}
	CHECK_INT(lost, >, 5);
}

/* A program that tries again whatever failed, from where it was, gets everything written. */
static unsigned write_stubbornly(struct disk_rig *d, int fd, const uint8_t *p, unsigned n)
{
	unsigned at = 0, refused = 0;

	while (at < n) {
		int res = disk_put(d, fd, at, p + at, n - at);

		CHECK(res > 0 || res == -EIO || res == -EINTR || res == -ENOSPC || res == -EDQUOT);
		refused += res < 0 || (unsigned)res < n - at;
		at += res > 0 ? (unsigned)res : 0;
	}
	return refused;
}

TEST(disk_faults_are_told_and_can_be_outlived)
{
	struct world_config cfg = disk_calm;
	unsigned refused = 0, read_again = 0;

	cfg.fault[FAULT_FILE_SHORT] = cfg.fault[FAULT_FILE_EIO] = RATE_FREQUENT;
	cfg.fault[FAULT_FILE_FULL] = RATE_FREQUENT;
	for (uint64_t seed = 1; seed <= 100; seed++) {
		uint8_t bytes[3000], got[3000];
		struct disk_rig d;
		unsigned at = 0;
		int fd;

		disk_open(&d, seed, &cfg);
		while ((fd = disk_file(&d, "f", O_RDWR | O_CREAT)) < 0)
			CHECK(fd == -ENOSPC || fd == -EDQUOT);
		for (unsigned i = 0; i < sizeof(bytes); i++)
			bytes[i] = (uint8_t)world_rand(d.w, 256);
		refused += write_stubbornly(&d, fd, bytes, sizeof(bytes));
		while (at < sizeof(got)) {
			int res = disk_get(&d, fd, at, got + at, (unsigned)(sizeof(got) - at));

			CHECK(res > 0 || res == -EIO || res == -EINTR);
			read_again += res < 0 || (unsigned)res < sizeof(got) - at;
			at += res > 0 ? (unsigned)res : 0;
		}
		CHECK(!memcmp(got, bytes, sizeof(got)));
		disk_close(&d);
	}
	CHECK(refused > 30 && read_again > 20);
}

TEST(disk_that_is_full_says_so)
{
	struct world_config cfg = disk_calm;
	static uint8_t bytes[5 * 4096];
	struct disk_rig d;
	int fd;

	cfg.disk_pages = 3;
	disk_open(&d, 1, &cfg);
	fd = disk_file(&d, "f", O_RDWR | O_CREAT);
	CHECK_INT(disk_put(&d, fd, 0, bytes, sizeof(bytes)), ==, 3 * 4096);
	CHECK_INT(disk_put(&d, fd, 3 * 4096, bytes, 1), ==, -ENOSPC);
	CHECK_INT(disk_put(&d, fd, 4096, bytes, 4096), ==, 4096);
	CHECK_INT(DISK_CALL(&d, io_uring_prep_fallocate, fd, FALLOC_FL_KEEP_SIZE, 3 * 4096, 1), ==,
		  -ENOSPC);
	CHECK_INT(disk_fd_close(&d, fd), ==, 0);
	CHECK_INT(DISK_CALL(&d, io_uring_prep_unlinkat, AT_FDCWD, "f", 0), ==, 0);
	fd = disk_file(&d, "/", O_RDONLY);
	CHECK_INT(disk_sync(&d, fd), ==, 0); /* until then the disk has the old name */
	fd = disk_file(&d, "g", O_RDWR | O_CREAT);
	CHECK_INT(disk_put(&d, fd, 0, bytes, 100), ==, 100);
	disk_close(&d);
}

/* ---- memory */

/* A write reads its bytes when it runs, a direct one until it completes. */
static unsigned late_bytes(int flags, bool before_run)
{
	struct world_config cfg = disk_orders;
	unsigned late = 0;

	cfg.fault[FAULT_HOLD] = RATE_FREQUENT;
	for (uint64_t seed = 1; seed <= 200; seed++) {
		static uint8_t bytes[4096] __attribute__((aligned(4096)));
		struct io_uring_sqe *sqe;
		struct disk_rig d;
		uint8_t got;
		int fd;

		disk_open(&d, seed, &cfg);
		fd = disk_file(&d, "f", O_RDWR | O_CREAT);
		CHECK_INT(disk_fd_close(&d, fd), ==, 0);
		fd = disk_file(&d, "f", O_RDWR | flags);
		if (fd < 0)
			goto next; /* some file systems know no O_DIRECT */
		memset(bytes, 1, sizeof(bytes));
		sqe = disk_sqe(&d, 1);
		io_uring_prep_write(sqe, fd, bytes, sizeof(bytes), 0);
		sqe->user_data = 1;
		disk_turn(&d, 0);
		while (!before_run && !d.done[1] && disk_size(&d, "f") == 0)
			disk_turn(&d, 0);
		bytes[0] = 2;
		CHECK_INT(disk_await(&d, 1), ==, sizeof(bytes));
		CHECK_INT(DISK_CALL(&d, io_uring_prep_openat, AT_FDCWD, "f", O_RDONLY, 0), >, 0);
		CHECK_INT(disk_get(&d, d.res[0], 0, &got, 1), ==, 1);
		late += got == 2;
	next:
		disk_close(&d);
	}
	return late;
}

TEST(disk_bytes_are_read_as_late_as_the_kernel_may)
{
	CHECK_INT(late_bytes(0, true), >, 10);
	CHECK_INT(late_bytes(0, false), ==, 0);
	CHECK_INT(late_bytes(O_DIRECT, false), >, 1);
}

/* A read that a worker thread has not begun. */
static uint8_t *read_under_way(struct disk_rig *d)
{
	struct io_uring_sqe *sqe;
	uint8_t *buf;
	int fd;

	disk_open(d, 3, &disk_calm);
	fd = disk_file(d, "f", O_RDWR | O_CREAT);
	CHECK_INT(disk_put(d, fd, 0, "hello", 5), ==, 5);
	buf = sys_zalloc(4096);
	sqe = disk_sqe(d, 1);
	io_uring_prep_read(sqe, fd, buf, 4096, 0);
	sqe->user_data = 1;
	sqe->flags |= IOSQE_ASYNC;
	CHECK_INT(ring_enter(&d->ring, 0, 0), ==, 0);
	return buf;
}

static void freed_under_read(void)
{
	static struct disk_rig d;

	sys_free(read_under_way(&d));
}

TEST(disk_memory_freed_under_a_read_is_found)
{
	CHECK_DIES(freed_under_read, SIGABRT, "freed before it ended");
}

static void looked_at_under_read(void)
{
	static struct disk_rig d;
	volatile uint8_t *buf = read_under_way(&d);

	printf("%u\n", buf[100]);
}

TEST(disk_memory_looked_at_under_a_read_is_found)
{
#if defined(__SANITIZE_ADDRESS__)
	CHECK_DIES(looked_at_under_read, -1, "use-after-poison");
#else
	(void)looked_at_under_read;
	SKIP("needs AddressSanitizer");
#endif
}

TEST(disk_memory_is_the_programs_again_after_the_read)
{
	struct disk_rig d;
	uint8_t *buf = read_under_way(&d);

	CHECK_INT(disk_await(&d, 1), ==, 5);
	CHECK(!memcmp(buf, "hello", 5) && !buf[5]);
	sys_free(buf);
	disk_close(&d);
}
