#include "kv/db.h"

#include <stdlib.h>
#include <string.h>

#define HASH_NONFATAL_OOM 1
#define uthash_nonfatal_oom(elt) ((elt)->stored = false)
#include <uthash.h>

enum { NOT_IN_HEAP = -1 };

struct kv_entry {
	UT_hash_handle hh;
	struct kv_value *value;
	int64_t expire;
	ptrdiff_t heap_index;
	size_t len;
	bool stored; /* false: the hash table had no memory for it */
	uint8_t key[];
};

struct kv_value *kv_value_new(const void *data, size_t len)
{
	struct kv_value *v = malloc(sizeof *v + len);

	if (!v)
		return NULL;
	atomic_init(&v->refs, 1);
	v->len = len;
	v->next_dead = NULL;
	if (len > 0)
		memcpy(v->data, data, len);
	return v;
}

struct kv_value *kv_value_ref(struct kv_value *v)
{
	atomic_fetch_add_explicit(&v->refs, 1, memory_order_relaxed);
	return v;
}

void kv_value_unref(struct kv_value *v)
{
	if (v && atomic_fetch_sub_explicit(&v->refs, 1, memory_order_acq_rel) == 1)
		free(v);
}

/* A value leaves the database at most once, so one link in it is enough. */
static void bury(struct kv_db *db, struct kv_value *v)
{
	v->next_dead = db->dead;
	db->dead = v;
}

struct kv_value *kv_db_take_dead(struct kv_db *db)
{
	struct kv_value *list = db->dead;

	db->dead = NULL;
	return list;
}

void kv_dead_unref(struct kv_value *list)
{
	while (list) {
		struct kv_value *v = list;

		list = v->next_dead;
		kv_value_unref(v);
	}
}

static void heap_place(struct kv_db *db, size_t i, struct kv_entry *e)
{
	db->heap[i] = e;
	e->heap_index = (ptrdiff_t)i;
}

/* Move e, which belongs at i or nearer the root, to its place. */
static size_t heap_up(struct kv_db *db, size_t i, struct kv_entry *e)
{
	while (i > 0 && db->heap[(i - 1) / 2]->expire > e->expire) {
		heap_place(db, i, db->heap[(i - 1) / 2]);
		i = (i - 1) / 2;
	}
	heap_place(db, i, e);
	return i;
}

static void heap_down(struct kv_db *db, size_t i, struct kv_entry *e)
{
	for (;;) {
		size_t child = 2 * i + 1;

		if (child >= db->heap_count)
			break;
		if (child + 1 < db->heap_count &&
		    db->heap[child + 1]->expire < db->heap[child]->expire)
			child++;
		if (db->heap[child]->expire >= e->expire)
			break;
		heap_place(db, i, db->heap[child]);
		i = child;
	}
	heap_place(db, i, e);
}

static void heap_fix(struct kv_db *db, size_t i, struct kv_entry *e)
{
	if (heap_up(db, i, e) == i)
		heap_down(db, i, e);
}

static bool heap_add(struct kv_db *db, struct kv_entry *e)
{
	if (db->heap_count == db->heap_cap) {
		size_t cap = db->heap_cap ? db->heap_cap * 2 : 16;
		struct kv_entry **heap = realloc(db->heap, cap * sizeof *heap);

		if (!heap)
			return false;
		db->heap = heap;
		db->heap_cap = cap;
	}
	db->heap_count++;
	heap_up(db, db->heap_count - 1, e);
	return true;
}

static void heap_remove(struct kv_db *db, struct kv_entry *e)
{
	size_t i = (size_t)e->heap_index;
	struct kv_entry *last = db->heap[--db->heap_count];

	e->heap_index = NOT_IN_HEAP;
	if (last != e)
		heap_fix(db, i, last);
}

struct kv_value *kv_entry_value(const struct kv_entry *e)
{
	return e->value;
}

int64_t kv_entry_expire(const struct kv_entry *e)
{
	return e->expire;
}

bool kv_db_set_expire(struct kv_db *db, struct kv_entry *e, int64_t at)
{
	e->expire = at;
	if (at == 0) {
		if (e->heap_index != NOT_IN_HEAP)
			heap_remove(db, e);
		return true;
	}
	if (e->heap_index != NOT_IN_HEAP) {
		heap_fix(db, (size_t)e->heap_index, e);
		return true;
	}
	if (heap_add(db, e))
		return true;
	e->expire = 0;
	return false;
}

void kv_db_del(struct kv_db *db, struct kv_entry *e)
{
	if (e->heap_index != NOT_IN_HEAP)
		heap_remove(db, e);
	HASH_DEL(db->table, e);
	bury(db, e->value);
	free(e);
}

struct kv_entry *kv_db_find(struct kv_db *db, const void *key, size_t len, int64_t now)
{
	struct kv_entry *e;

	HASH_FIND(hh, db->table, key, len, e);
	if (e && e->expire != 0 && e->expire <= now) {
		kv_db_del(db, e);
		db->expired++;
		return NULL;
	}
	return e;
}

static struct kv_entry *insert(struct kv_db *db, const void *key, size_t len, struct kv_value *v)
{
	struct kv_entry *e = malloc(sizeof *e + len);

	if (!e)
		return NULL;
	*e = (struct kv_entry){ .value = v, .heap_index = NOT_IN_HEAP, .len = len, .stored = true };
	if (len > 0)
		memcpy(e->key, key, len);
	HASH_ADD_KEYPTR(hh, db->table, e->key, len, e);
	if (!e->stored) {
		free(e);
		return NULL;
	}
	return e;
}

struct kv_entry *kv_db_put(struct kv_db *db, const void *key, size_t len, struct kv_value *v,
			   int64_t now)
{
	struct kv_entry *e = kv_db_find(db, key, len, now);

	if (!e)
		return insert(db, key, len, v);
	bury(db, e->value);
	e->value = v;
	return e;
}

size_t kv_db_count(const struct kv_db *db)
{
	return HASH_COUNT(db->table);
}

void kv_db_sweep(struct kv_db *db, int64_t now, unsigned max)
{
	for (; max > 0 && db->heap_count > 0 && db->heap[0]->expire <= now; max--) {
		kv_db_del(db, db->heap[0]);
		db->expired++;
	}
}

void kv_db_clear(struct kv_db *db)
{
	struct kv_entry *e, *next;

	HASH_ITER(hh, db->table, e, next)
	{
		HASH_DEL(db->table, e);
		kv_value_unref(e->value);
		free(e);
	}
	kv_dead_unref(kv_db_take_dead(db));
	free(db->heap);
	db->heap = NULL;
	db->heap_count = db->heap_cap = 0;
}
