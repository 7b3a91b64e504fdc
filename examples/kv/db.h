/*
 * The database: binary keys to values, some of them with a time to die.
 *
 * A key past its time is deleted when it is looked up, or by kv_db_sweep, which takes the due ones
 * off a heap, a bounded number a call. Values are counted references, so that a reply can be
 * written, and a big value freed, without the lock. Every function here wants the caller's lock,
 * but those of kv_value. Times are milliseconds; 0 is "never".
 */
#ifndef KV_DB_H
#define KV_DB_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct kv_value {
	atomic_uint refs;
	size_t len;
	struct kv_value *next_dead;
	uint8_t data[];
};

struct kv_value *kv_value_new(const void *data, size_t len); /* one reference; NULL: no memory */
struct kv_value *kv_value_ref(struct kv_value *v);
void kv_value_unref(struct kv_value *v); /* NULL does nothing */

struct kv_entry;

struct kv_db {
	struct kv_entry *table;
	struct kv_entry **heap; /* those with a time, the soonest first */
	size_t heap_count, heap_cap;
	struct kv_value *dead; /* left their key, not yet unreferenced: kv_db_take_dead */
	uint64_t expired;
};

/* The entry, or NULL when there is none or its time is over. */
struct kv_entry *kv_db_find(struct kv_db *db, const void *key, size_t len, int64_t now);
struct kv_value *kv_entry_value(const struct kv_entry *e);
int64_t kv_entry_expire(const struct kv_entry *e);

/* Store v (takes the reference on success only), keeping the time of an existing key. */
struct kv_entry *kv_db_put(struct kv_db *db, const void *key, size_t len, struct kv_value *v,
			   int64_t now);
/* False: no memory, nothing changed. */
bool kv_db_set_expire(struct kv_db *db, struct kv_entry *e, int64_t at);
void kv_db_del(struct kv_db *db, struct kv_entry *e);

size_t kv_db_count(const struct kv_db *db);
void kv_db_sweep(struct kv_db *db, int64_t now, unsigned max);

/* The values that left since the last call; unreference them without the lock. */
struct kv_value *kv_db_take_dead(struct kv_db *db);
void kv_dead_unref(struct kv_value *list);

/* Free everything in db; to do it without the lock, move *db to a local one first. */
void kv_db_clear(struct kv_db *db);

#endif
