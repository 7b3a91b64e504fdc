/*
 * The disk of a world: files and folders in memory, and of each what would be there again after a
 * loss of power. What a program reads is `now`; what the disk has is `disk`. A sync copies what it
 * promises to copy, time copies what it likes, a loss of power keeps the disk alone, with any part
 * of what was on its way to it.
 *
 * What is promised, as POSIX and Linux have it: fsync(2) of a file covers its bytes and its size,
 * not its name; fsync(2) of a folder covers the names in it; one change of names is there or not, a
 * rename never halfway; a sector of 512 bytes is the old one or the new one. A sync that fails has
 * told so once, and what it lost is not tried again.
 */
#ifndef RINGLINE_SIM_SIM_DISK_H
#define RINGLINE_SIM_SIM_DISK_H

#include "base/list.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define DISK_SECTOR 512u
#define DISK_PAGE 4096u
#define DISK_SECTORS (DISK_PAGE / DISK_SECTOR)
#define DISK_WHOLE UINT64_MAX
#define DISK_NAME_MAX 255
#define DISK_PATH_MAX 4096

struct world;

struct disk_page {
	uint64_t no;
	uint8_t dirty;	/* sectors that the disk has not, or has in an older version */
	uint8_t astray; /* sectors of which a failed sync says no more that the disk lacks them */
	uint64_t since[DISK_SECTORS]; /* dirty: the first write that the disk lacks */
	uint8_t now[DISK_PAGE], disk[DISK_PAGE];
};

/* A file or a folder. */
struct disk_node {
	struct list node; /* disk.nodes */
	uint64_t number;
	unsigned refs;	/* names, now and on the disk, and open files */
	unsigned links; /* names now */
	uint32_t mode;
	uint64_t size, disk_size;
	uint64_t cut; /* the shortest it was made since the disk heard of it; DISK_WHOLE: never */
	struct disk_page **page; /* by number */
	unsigned pages, room;
	unsigned failed; /* syncs */
	bool failure_told;
	int64_t changed;
	struct list now, disk;	  /* folder: names */
	struct disk_node *parent; /* folder: where it was last named; NULL: nowhere */
};

struct disk_name {
	struct list node;
	struct disk_node *to;
	char text[];
};

/* One change of names: all of it reaches the disk, or nothing. */
struct disk_set {
	struct disk_node *dir, *to; /* to NULL: the name is gone */
	char *name;
};
struct disk_change {
	struct list node; /* disk.journal, oldest first */
	uint64_t seq;
	unsigned sets;
	struct disk_set set[2];
};

enum disk_direct { DIRECT_CHECKED, DIRECT_UNCHECKED, DIRECT_REFUSED };

struct disk {
	struct disk_node *root;
	struct list nodes, journal;
	uint64_t numbers, writes, changes;
	uint64_t pages;		 /* that files have */
	bool ordered;		 /* names reach the disk in the order of their changes */
	enum disk_direct direct; /* what O_DIRECT means to this file system */
	unsigned block;		 /* O_DIRECT: what offsets and lengths are multiples of */
};

/* An open file. */
struct disk_open {
	struct disk_node *file;
	int flags; /* O_* */
	uint64_t at;
	unsigned failed; /* of the node, when it was last told here */
};

/* sim_disk.c: what a file holds */
struct disk *disk_of(struct world *w); /* made when first asked for, with a folder /tmp */
void disk_free(struct world *w);
struct disk_node *node_new(struct world *w, uint32_t mode);
struct disk_node *node_ref(struct disk_node *n);
void node_put(struct world *w, struct disk_node *n);
size_t node_read(struct world *w, struct disk_node *n, uint64_t off, void *p, size_t len);
/* Bytes, or -ENOSPC, -EFBIG. Short when the disk is full. */
ssize_t node_write(struct world *w, struct disk_node *n, uint64_t off, const void *p, size_t len);
int node_resize(struct world *w, struct disk_node *n, uint64_t size);
int node_reserve(struct world *w, struct disk_node *n, uint64_t off, uint64_t len, bool keep_size);
void node_zero(struct world *w, struct disk_node *n, uint64_t off, uint64_t len);
/* What was written to [from, to) up to the write `upto` is on the disk after this. */
void node_sync(struct world *w, struct disk_node *n, uint64_t from, uint64_t to, uint64_t upto);
/* A sync that fails: some of it is, and the rest never will be. */
void node_sync_fails(struct world *w, struct disk_node *n);
uint64_t node_blocks(const struct disk_node *n); /* of 512 bytes */
struct disk_open *open_new(struct disk_node *n, int flags);
void open_free(struct world *w, struct disk_open *o);
/* The failure of an earlier sync that this open file was not told: -EIO, once. */
int open_failure(struct disk_open *o);

/* sim_disk_names.c: folders. All of them 0 or -errno. */
struct disk_place {
	struct disk_node *dir; /* NULL: the path names a folder without naming an entry */
	struct disk_node *to;  /* NULL: nothing of that name */
	char name[DISK_NAME_MAX + 1];
	bool folder; /* a slash at the end says so */
	bool dots;   /* the last part is "." or ".." */
};
int names_find(struct world *w, struct disk_node *from, const char *path, struct disk_place *out);
int names_create(struct world *w, const struct disk_place *at, uint32_t mode,
		 struct disk_node **out);
int names_unlink(struct world *w, const struct disk_place *at);
int names_rmdir(struct world *w, const struct disk_place *at);
int names_link(struct world *w, const struct disk_place *old, const struct disk_place *at);
int names_rename(struct world *w, const struct disk_place *old, const struct disk_place *at,
		 unsigned flags);
/* The names in dir are on the disk after this, as they were after the change `upto`. */
void names_sync(struct world *w, struct disk_node *dir, uint64_t upto);
/* A new file was synced: on many file systems its name is safe with it. */
void names_sync_of(struct world *w, const struct disk_node *n);
unsigned names_folders(const struct disk_node *dir);
void names_drop(struct world *w, struct disk_node *dir);
void names_free(struct world *w); /* all */
/* The power fails. No file is open. */
void names_crash(struct world *w);
void node_crash(struct world *w, struct disk_node *n);

#endif
