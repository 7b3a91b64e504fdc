/*
 * Folders. Every change of names happens at once for programs, and waits in a journal for the disk:
 * until its folder is synced, or by chance. A change that is lost takes none with it that does not
 * touch the same name, unless the file system is one that keeps their order.
 */
#include "base/assert.h"
#include "sim/sim.h"
#include "sim/sim_disk.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define RENAME_KEEP 1u /* RENAME_NOREPLACE */
#define RENAME_SWAP 2u /* RENAME_EXCHANGE */

static bool is_folder(const struct disk_node *n)
{
	return S_ISDIR(n->mode);
}

static struct disk_name *name_in(const struct list *l, const char *text)
{
	list_for_each (n, l) {
		struct disk_name *e = container_of(n, struct disk_name, node);

		if (!strcmp(e->text, text))
			return e;
	}
	return NULL;
}

static void name_free(struct world *w, struct disk_name *e)
{
	list_remove(&e->node);
	node_put(w, e->to);
	free(e);
}

/* text stands for `to` from here on, in one of a folder's two lists; NULL: for nothing. */
static void name_set(struct world *w, struct list *l, const char *text, struct disk_node *to)
{
	struct disk_name *e = name_in(l, text);

	if (to)
		node_ref(to);
	if (e && to) {
		struct disk_node *old = e->to;

		e->to = to;
		node_put(w, old);
	} else if (e) {
		name_free(w, e);
	} else if (to) {
		e = malloc(sizeof(*e) + strlen(text) + 1);
		RLN_ASSERT(e);
		e->to = to;
		strcpy(e->text, text);
		list_push_back(l, &e->node);
	}
}

static void list_drop(struct world *w, struct list *l)
{
	while (!list_empty(l))
		name_free(w, container_of(l->next, struct disk_name, node));
}

/* ---- the journal */
static void change_free(struct world *w, struct disk_change *c)
{
	list_remove(&c->node);
	for (unsigned i = 0; i < c->sets; i++) {
		node_put(w, c->set[i].dir);
		if (c->set[i].to)
			node_put(w, c->set[i].to);
		free(c->set[i].name);
	}
	free(c);
}

static void change_lands(struct world *w, struct disk_change *c)
{
	for (unsigned i = 0; i < c->sets; i++)
		name_set(w, &c->set[i].dir->disk, c->set[i].name, c->set[i].to);
	change_free(w, c);
}

static void change_add(struct disk_change *c, struct disk_node *dir, const char *name,
		       struct disk_node *to)
{
	struct disk_set *s = &c->set[c->sets++];

	s->dir = node_ref(dir);
	s->to = to ? node_ref(to) : NULL;
	s->name = strdup(name);
	RLN_ASSERT(s->name);
}

static struct disk_change *change_new(void)
{
	struct disk_change *c = calloc(1, sizeof(*c));

	RLN_ASSERT(c);
	list_init(&c->node);
	return c;
}

/* For programs it has happened; for the disk it may at any time. */
static void change_make(struct world *w, struct disk_change *c)
{
	struct disk *d = w->disk;

	for (unsigned i = 0; i < c->sets; i++) {
		struct disk_set *s = &c->set[i];

		name_set(w, &s->dir->now, s->name, s->to);
		s->dir->changed = w->now;
		if (s->to && is_folder(s->to))
			s->to->parent = s->dir;
	}
	c->seq = ++d->changes;
	list_push_back(&d->journal, &c->node);
	if (!chance(w, 8))
		return;
	while (!list_empty(&d->journal) && chance(w, 2))
		change_lands(w, container_of(d->journal.next, struct disk_change, node));
}

/* The one cannot be on the disk without the other, which came earlier. */
static bool related(const struct disk_change *a, const struct disk_change *b)
{
	for (unsigned i = 0; i < a->sets; i++)
		for (unsigned j = 0; j < b->sets; j++) {
			const struct disk_set *x = &a->set[i], *y = &b->set[j];

			if (x->dir == y->dir && !strcmp(x->name, y->name))
				return true;
			if (x->to && x->to == y->to)
				return true;
		}
	return false;
}

static bool touches(const struct disk_change *c, const struct disk_node *dir,
		    const struct disk_node *to)
{
	for (unsigned i = 0; i < c->sets; i++)
		if (c->set[i].dir == dir || (to && c->set[i].to == to))
			return true;
	return false;
}

/* The first of the journal that must be on the disk before c. */
static struct disk_change *change_before(struct world *w, const struct disk_change *c)
{
	list_for_each (n, &w->disk->journal) {
		struct disk_change *x = container_of(n, struct disk_change, node);

		if (x == c)
			return NULL;
		if (w->disk->ordered || related(x, c))
			return x;
	}
	return NULL;
}

/* Each step down is to an earlier change. */
static void change_lands_in_order(struct world *w, struct disk_change *c)
{
	struct disk_change *before;

	while ((before = change_before(w, c)))
		change_lands_in_order(w, before);
	change_lands(w, c);
}

static void journal_lands(struct world *w, const struct disk_node *dir, const struct disk_node *to,
			  uint64_t upto)
{
	struct disk_change *c;

	/* What lands takes others along: look again from the beginning. */
	do {
		c = NULL;
		list_for_each (n, &w->disk->journal) {
			struct disk_change *x = container_of(n, struct disk_change, node);

			if (x->seq <= upto && touches(x, dir, to)) {
				c = x;
				break;
			}
		}
		if (c)
			change_lands_in_order(w, c);
	} while (c);
}

void names_sync(struct world *w, struct disk_node *dir, uint64_t upto)
{
	journal_lands(w, dir, NULL, upto);
}

void names_sync_of(struct world *w, const struct disk_node *n)
{
	if (w->disk->ordered && chance(w, 2))
		journal_lands(w, NULL, n, UINT64_MAX);
}

/* Of what is on its way any part arrives that makes sense without the rest. */
static void journal_crashes(struct world *w)
{
	struct disk *d = w->disk;
	struct list lost;

	list_init(&lost);
	list_for_each_safe (n, t, &d->journal) {
		struct disk_change *c = container_of(n, struct disk_change, node);
		bool lands = (list_empty(&lost) || !d->ordered) && chance(w, 2);

		list_for_each (l, &lost)
			lands &= !related(container_of(l, struct disk_change, node), c);
		if (lands) {
			change_lands(w, c);
			continue;
		}
		list_remove(&c->node);
		list_push_back(&lost, &c->node);
	}
	while (!list_empty(&lost))
		change_free(w, container_of(lost.next, struct disk_change, node));
}

/* ---- paths */
static struct disk_node *folder_at(struct disk_place *at)
{
	return at->to && is_folder(at->to) ? at->to : NULL;
}

/* One more part of a path, of n bytes. */
static int step(struct disk_place *at, const char *part, size_t n)
{
	struct disk_node *dir = folder_at(at);
	struct disk_name *e;

	if (!at->to)
		return -ENOENT;
	if (!dir)
		return -ENOTDIR;
	if (n > DISK_NAME_MAX)
		return -ENAMETOOLONG;
	at->dots = (n == 1 && part[0] == '.') || (n == 2 && part[0] == '.' && part[1] == '.');
	if (at->dots) {
		at->dir = NULL;
		at->to = n == 2 && dir->parent ? dir->parent : dir;
		return 0;
	}
	memcpy(at->name, part, n);
	at->name[n] = '\0';
	at->dir = dir;
	e = name_in(&dir->now, at->name);
	at->to = e ? e->to : NULL;
	return 0;
}

int names_find(struct world *w, struct disk_node *from, const char *path, struct disk_place *out)
{
	if (!*path)
		return -ENOENT;
	if (strlen(path) >= DISK_PATH_MAX)
		return -ENAMETOOLONG;
	*out = (struct disk_place){ .to = *path == '/' ? w->disk->root : from };
	while (*path) {
		size_t n = strcspn(path, "/");
		int err = n ? step(out, path, n) : 0;

		if (err)
			return err;
		path += n;
		out->folder = *path == '/';
		path += strspn(path, "/");
	}
	if (out->folder && out->to && !is_folder(out->to))
		return -ENOTDIR;
	return 0;
}

/* ---- changes */
int names_create(struct world *w, const struct disk_place *at, uint32_t mode,
		 struct disk_node **out)
{
	struct disk_change *c;

	if (!at->dir || at->to)
		return -EEXIST;
	if (!at->dir->links)
		return -ENOENT;
	*out = node_new(w, mode);
	(*out)->links = 1;
	c = change_new();
	change_add(c, at->dir, at->name, *out);
	change_make(w, c);
	return 0;
}

static void name_goes(struct world *w, const struct disk_place *at)
{
	struct disk_change *c = change_new();

	at->to->links--;
	change_add(c, at->dir, at->name, NULL);
	change_make(w, c);
}

int names_unlink(struct world *w, const struct disk_place *at)
{
	if (!at->to)
		return -ENOENT;
	if (is_folder(at->to))
		return -EISDIR;
	name_goes(w, at);
	return 0;
}

int names_rmdir(struct world *w, const struct disk_place *at)
{
	if (!at->to)
		return -ENOENT;
	if (!at->dir)
		return at->to == w->disk->root ? -EBUSY : at->dots ? -EINVAL : -ENOTEMPTY;
	if (!is_folder(at->to))
		return -ENOTDIR;
	if (!list_empty(&at->to->now))
		return -ENOTEMPTY;
	at->to->parent = NULL;
	name_goes(w, at);
	return 0;
}

int names_link(struct world *w, const struct disk_place *old, const struct disk_place *at)
{
	struct disk_change *c;

	if (!old->to)
		return -ENOENT;
	if (!at->dir || at->to)
		return -EEXIST;
	if (at->folder)
		return -ENOENT;
	if (is_folder(old->to))
		return -EPERM;
	c = change_new();
	old->to->links++;
	change_add(c, at->dir, at->name, old->to);
	change_make(w, c);
	return 0;
}

static bool below(const struct disk_node *n, const struct disk_node *top)
{
	for (; n; n = n->parent == n ? NULL : n->parent)
		if (n == top)
			return true;
	return false;
}

static int may_rename(const struct disk_place *old, const struct disk_place *at, unsigned flags)
{
	bool swap = flags & RENAME_SWAP;

	if (!old->dir || !at->dir)
		return flags & RENAME_KEEP ? -EEXIST : -EBUSY;
	if (!old->to || (swap && !at->to))
		return -ENOENT;
	if (at->to && flags & RENAME_KEEP)
		return -EEXIST;
	if (!is_folder(old->to) && (old->folder || (at->folder && !swap)))
		return -ENOTDIR;
	if (is_folder(old->to) && below(at->dir, old->to))
		return -EINVAL;
	if (swap)
		return is_folder(at->to) && below(old->dir, at->to) ? -EINVAL : 0;
	if (!at->to || at->to == old->to)
		return 0;
	if (is_folder(at->to) && below(old->dir, at->to))
		return -ENOTEMPTY;
	if (is_folder(old->to) != is_folder(at->to))
		return is_folder(old->to) ? -ENOTDIR : -EISDIR;
	return is_folder(at->to) && !list_empty(&at->to->now) ? -ENOTEMPTY : 0;
}

int names_rename(struct world *w, const struct disk_place *old, const struct disk_place *at,
		 unsigned flags)
{
	int err = may_rename(old, at, flags);
	struct disk_change *c;

	if (err || at->to == old->to)
		return err;
	c = change_new();
	if (at->to && !(flags & RENAME_SWAP)) {
		at->to->links--;
		if (is_folder(at->to))
			at->to->parent = NULL;
	}
	change_add(c, at->dir, at->name, old->to);
	change_add(c, old->dir, old->name, flags & RENAME_SWAP ? at->to : NULL);
	change_make(w, c);
	return 0;
}

unsigned names_folders(const struct disk_node *dir)
{
	unsigned n = 0;

	list_for_each (e, &dir->now)
		n += is_folder(container_of(e, struct disk_name, node)->to);
	return n;
}

/* ---- the end, and the power */
void names_drop(struct world *w, struct disk_node *dir)
{
	list_drop(w, &dir->now);
	list_drop(w, &dir->disk);
}

/* One after another, since any may go with the last name that is dropped. */
static void drop_everywhere(struct world *w, bool now, bool disk_of_lost)
{
	struct disk *d = w->disk;

	for (bool found = true; found;) {
		found = false;
		list_for_each (n, &d->nodes) {
			struct disk_node *dir = container_of(n, struct disk_node, node);
			bool lost = disk_of_lost && !dir->links && !list_empty(&dir->disk);

			if (!lost && !(now && !list_empty(&dir->now)))
				continue;
			found = true;
			node_ref(dir);
			list_drop(w, lost ? &dir->disk : &dir->now);
			node_put(w, dir);
			break;
		}
	}
}

void names_free(struct world *w)
{
	struct disk *d = w->disk;

	while (!list_empty(&d->journal))
		change_free(w, container_of(d->journal.next, struct disk_change, node));
	list_for_each (n, &d->nodes)
		container_of(n, struct disk_node, node)->links = 0;
	drop_everywhere(w, true, true);
}

/* From the disk: what is below dir as programs see it. */
static void folder_restore(struct world *w, struct disk_node *dir)
{
	list_for_each (n, &dir->disk) {
		struct disk_name *e = container_of(n, struct disk_name, node);

		name_set(w, &dir->now, e->text, e->to);
		e->to->links++;
		if (is_folder(e->to)) {
			e->to->parent = dir;
			folder_restore(w, e->to);
		}
	}
}

void names_crash(struct world *w)
{
	struct disk *d = w->disk;

	journal_crashes(w);
	drop_everywhere(w, true, false);
	list_for_each (n, &d->nodes) {
		struct disk_node *f = container_of(n, struct disk_node, node);

		f->links = 0;
		f->parent = NULL;
	}
	d->root->links = 1;
	d->root->parent = d->root;
	folder_restore(w, d->root);
	drop_everywhere(w, false, true);
	list_for_each (n, &d->nodes)
		node_crash(w, container_of(n, struct disk_node, node));
}
