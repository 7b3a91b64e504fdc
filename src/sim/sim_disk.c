/*
 * What files hold: pages of bytes as a program sees them and as the disk has them, sector by
 * sector. Pages stand in an array by number, so that holes cost nothing.
 */
#include "sim/sim_disk.h"
#include "base/assert.h"
#include "sim/sim.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define SIZE_MAX_BYTES (1ull << 43) /* as ext4: 16 TiB would be beyond it */

struct disk *disk_of(struct world *w)
{
	struct disk *d = w->disk;
	struct disk_place at;
	struct disk_node *tmp;

	if (d)
		return d;
	d = w->disk = calloc(1, sizeof(*d));
	RLN_ASSERT(d);
	list_init(&d->nodes);
	list_init(&d->journal);
	d->ordered = chance(w, 2);
	d->direct = (enum disk_direct)world_rand(w, 3);
	d->block = chance(w, 2) ? DISK_SECTOR : DISK_PAGE;
	d->root = node_ref(node_new(w, S_IFDIR | 0755));
	d->root->links = 1;
	d->root->parent = d->root;
	RLN_ASSERT(names_find(w, d->root, "tmp", &at) == 0);
	RLN_ASSERT(names_create(w, &at, S_IFDIR | 0777, &tmp) == 0);
	names_sync(w, d->root, d->changes);
	return d;
}

void disk_free(struct world *w)
{
	struct disk *d = w->disk;

	if (!d)
		return;
	names_free(w);
	node_put(w, d->root);
	RLN_ASSERT(list_empty(&d->nodes));
	free(d);
	w->disk = NULL;
}

struct disk_node *node_new(struct world *w, uint32_t mode)
{
	struct disk *d = w->disk;
	struct disk_node *n = calloc(1, sizeof(*n));

	RLN_ASSERT(n);
	n->number = ++d->numbers;
	n->mode = mode;
	n->cut = DISK_WHOLE;
	n->changed = w->now;
	list_init(&n->now);
	list_init(&n->disk);
	list_push_back(&d->nodes, &n->node);
	return n;
}

struct disk_node *node_ref(struct disk_node *n)
{
	n->refs++;
	return n;
}

void node_put(struct world *w, struct disk_node *n)
{
	RLN_ASSERT(n->refs);
	if (--n->refs)
		return;
	names_drop(w, n);
	for (unsigned i = 0; i < n->pages; i++)
		free(n->page[i]);
	w->disk->pages -= n->pages;
	free(n->page);
	list_remove(&n->node);
	free(n);
}

/* ---- pages */

/* Where the page of that number stands, or would. */
static unsigned page_place(const struct disk_node *n, uint64_t no)
{
	unsigned low = 0, high = n->pages;

	while (low < high) {
		unsigned mid = low + (high - low) / 2;

		if (n->page[mid]->no < no)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

static struct disk_page *page_find(const struct disk_node *n, uint64_t no)
{
	unsigned i = page_place(n, no);

	return i < n->pages && n->page[i]->no == no ? n->page[i] : NULL;
}

/* NULL: the disk is full. */
static struct disk_page *page_make(struct world *w, struct disk_node *n, uint64_t no)
{
	unsigned i = page_place(n, no);
	struct disk_page *p;

	if (i < n->pages && n->page[i]->no == no)
		return n->page[i];
	if (w->cfg.disk_pages && w->disk->pages >= w->cfg.disk_pages)
		return NULL;
	if (n->pages == n->room) {
		n->room = n->room ? n->room * 2 : 4;
		n->page = realloc(n->page, n->room * sizeof(struct disk_page *));
		RLN_ASSERT(n->page);
	}
	p = calloc(1, sizeof(*p));
	RLN_ASSERT(p);
	p->no = no;
	memmove(n->page + i + 1, n->page + i, (n->pages - i) * sizeof(struct disk_page *));
	n->page[i] = p;
	n->pages++;
	w->disk->pages++;
	return p;
}

/* Pages that hold nothing any more, neither here nor there, go. */
static void pages_trim(struct world *w, struct disk_node *n)
{
	uint64_t end = n->size > n->disk_size ? n->size : n->disk_size;

	while (n->pages) {
		struct disk_page *p = n->page[n->pages - 1];

		if (p->no * DISK_PAGE < end || p->dirty)
			return;
		free(p);
		n->pages--;
		w->disk->pages--;
	}
}

/* The run of [off, off + len) that lies in one page. */
static size_t page_run(uint64_t off, uint64_t len)
{
	size_t left = DISK_PAGE - off % DISK_PAGE;

	return len < left ? (size_t)len : left;
}

static void page_soil(struct disk_page *p, size_t at, size_t len, uint64_t seq)
{
	for (size_t s = at / DISK_SECTOR; s <= (at + len - 1) / DISK_SECTOR; s++) {
		if (!(p->dirty >> s & 1))
			p->since[s] = seq;
		p->dirty |= (uint8_t)(1u << s);
		p->astray &= (uint8_t) ~(1u << s);
	}
}

/* ---- from memory to the disk */

/* That the file was made shorter reaches the disk. */
static void cut_lands(struct disk_node *n)
{
	if (n->cut == DISK_WHOLE)
		return;
	if (n->disk_size > n->cut)
		n->disk_size = n->cut;
	for (unsigned i = page_place(n, n->cut / DISK_PAGE); i < n->pages; i++) {
		uint64_t begin = n->page[i]->no * DISK_PAGE;
		size_t keep = n->cut > begin ? (size_t)(n->cut - begin) : 0;

		memset(n->page[i]->disk + keep, 0, DISK_PAGE - keep);
	}
	n->cut = DISK_WHOLE;
}

static void sector_lands(struct disk_page *p, unsigned s)
{
	size_t at = (size_t)s * DISK_SECTOR;

	memcpy(p->disk + at, p->now + at, DISK_SECTOR);
	p->dirty &= (uint8_t) ~(1u << s);
}

/* Any of what is on its way: the kernel and the device write when and in which order they like. */
static void node_lands_partly(struct world *w, struct disk_node *n)
{
	uint64_t end;

	if (n->cut != DISK_WHOLE && chance(w, 2))
		cut_lands(n);
	end = n->cut; /* blocks behind it belong to the file as it was before */
	for (unsigned i = 0; i < n->pages; i++) {
		struct disk_page *p = n->page[i];

		for (unsigned s = 0; s < DISK_SECTORS; s++)
			if (p->dirty >> s & 1 && p->no * DISK_PAGE + (s + 1) * DISK_SECTOR <= end &&
			    chance(w, 2))
				sector_lands(p, s);
	}
	if (n->cut == DISK_WHOLE && chance(w, 2))
		n->disk_size = n->size;
}

void node_sync(struct world *w, struct disk_node *n, uint64_t from, uint64_t to, uint64_t upto)
{
	cut_lands(n);
	n->disk_size = n->size;
	for (unsigned i = 0; i < n->pages; i++) {
		struct disk_page *p = n->page[i];

		for (unsigned s = 0; s < DISK_SECTORS; s++) {
			uint64_t at = p->no * DISK_PAGE + s * DISK_SECTOR;
			bool promised = p->since[s] <= upto && at < to && at + DISK_SECTOR > from;

			if (p->dirty >> s & 1 && (promised || chance(w, 2)))
				sector_lands(p, s);
		}
	}
	pages_trim(w, n);
}

void node_sync_fails(struct world *w, struct disk_node *n)
{
	node_lands_partly(w, n);
	cut_lands(n);
	n->disk_size = n->size;
	for (unsigned i = 0; i < n->pages; i++) {
		n->page[i]->astray |= n->page[i]->dirty;
		n->page[i]->dirty = 0;
	}
	n->failed++;
	n->failure_told = false;
}

/* The power fails: nothing but the disk is left. */
void node_crash(struct world *w, struct disk_node *n)
{
	node_lands_partly(w, n);
	n->cut = DISK_WHOLE;
	n->size = n->disk_size;
	for (unsigned i = 0; i < n->pages; i++) {
		struct disk_page *p = n->page[i];
		uint64_t begin = p->no * DISK_PAGE;
		size_t keep = n->size > begin ? page_run(begin, n->size - begin) : 0;

		memset(p->disk + keep, 0, DISK_PAGE - keep);
		memcpy(p->now, p->disk, DISK_PAGE);
		p->dirty = p->astray = 0;
	}
	pages_trim(w, n);
}

/* ---- what programs do */

/* A page that a failed sync left unwritten may be dropped from memory and read again. */
static void page_refresh(struct world *w, struct disk_page *p)
{
	if (!p->astray || !chance(w, 4))
		return;
	for (unsigned s = 0; s < DISK_SECTORS; s++)
		if (p->astray >> s & 1)
			memcpy(p->now + (size_t)s * DISK_SECTOR, p->disk + (size_t)s * DISK_SECTOR,
			       DISK_SECTOR);
	p->astray = 0;
}

size_t node_read(struct world *w, struct disk_node *n, uint64_t off, void *to, size_t len)
{
	size_t done = 0;

	if (off >= n->size)
		return 0;
	if (len > n->size - off)
		len = (size_t)(n->size - off);
	while (done < len) {
		struct disk_page *p = page_find(n, (off + done) / DISK_PAGE);
		size_t k = page_run(off + done, len - done);

		if (p) {
			page_refresh(w, p);
			memcpy((uint8_t *)to + done, p->now + (off + done) % DISK_PAGE, k);
		} else {
			memset((uint8_t *)to + done, 0, k);
		}
		done += k;
	}
	return done;
}

ssize_t node_write(struct world *w, struct disk_node *n, uint64_t off, const void *from, size_t len)
{
	size_t done = 0;

	if (off > SIZE_MAX_BYTES || len > SIZE_MAX_BYTES - off)
		return -EFBIG;
	w->disk->writes++;
	while (done < len) {
		size_t at = (off + done) % DISK_PAGE, k = page_run(off + done, len - done);
		struct disk_page *p = page_make(w, n, (off + done) / DISK_PAGE);

		if (!p)
			break;
		memcpy(p->now + at, (const uint8_t *)from + done, k);
		page_soil(p, at, k, w->disk->writes);
		done += k;
	}
	if (len && !done)
		return -ENOSPC;
	if (done && off + done > n->size)
		n->size = off + done;
	n->changed = w->now;
	if (chance(w, 8))
		node_lands_partly(w, n);
	return (ssize_t)done;
}

void node_zero(struct world *w, struct disk_node *n, uint64_t off, uint64_t len)
{
	uint64_t end = len > UINT64_MAX - off ? UINT64_MAX : off + len;

	w->disk->writes++;
	for (unsigned i = page_place(n, off / DISK_PAGE); i < n->pages; i++) {
		struct disk_page *p = n->page[i];
		uint64_t begin = p->no * DISK_PAGE, from = off > begin ? off : begin;
		size_t k;

		if (begin >= end)
			return;
		k = page_run(from, end - from);
		memset(p->now + from % DISK_PAGE, 0, k);
		page_soil(p, from % DISK_PAGE, k, w->disk->writes);
	}
}

int node_resize(struct world *w, struct disk_node *n, uint64_t size)
{
	if (size > SIZE_MAX_BYTES)
		return -EFBIG;
	if (size < n->size) {
		node_zero(w, n, size, UINT64_MAX);
		n->cut = n->cut < size ? n->cut : size;
	}
	n->size = size;
	n->changed = w->now;
	if (chance(w, 8))
		node_lands_partly(w, n);
	return 0;
}

int node_reserve(struct world *w, struct disk_node *n, uint64_t off, uint64_t len, bool keep_size)
{
	if (off > SIZE_MAX_BYTES || len > SIZE_MAX_BYTES - off)
		return -EFBIG;
	for (uint64_t no = off / DISK_PAGE; no <= (off + len - 1) / DISK_PAGE; no++)
		if (!page_make(w, n, no))
			return -ENOSPC;
	if (!keep_size && off + len > n->size)
		n->size = off + len;
	return 0;
}

uint64_t node_blocks(const struct disk_node *n)
{
	return (uint64_t)n->pages * DISK_SECTORS;
}

/* ---- open files */
struct disk_open *open_new(struct disk_node *n, int flags)
{
	struct disk_open *o = calloc(1, sizeof(*o));

	RLN_ASSERT(o);
	o->file = node_ref(n);
	o->flags = flags;
	/* A failure that nobody was told yet is told to the next who opens the file, too. */
	o->failed = n->failed && !n->failure_told ? n->failed - 1 : n->failed;
	return o;
}

void open_free(struct world *w, struct disk_open *o)
{
	node_put(w, o->file);
	free(o);
}

int open_failure(struct disk_open *o)
{
	if (o->failed == o->file->failed)
		return 0;
	o->failed = o->file->failed;
	o->file->failure_told = true;
	return -EIO;
}
