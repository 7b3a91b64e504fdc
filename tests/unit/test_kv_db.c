/* The database of the key-value server: keys, times to die, and who frees the values. */
#include <stdlib.h>

#include "kv/db.h"
#include "test.h"

static struct kv_entry *put(struct kv_db *db, const char *key, const char *value)
{
	struct kv_value *v = kv_value_new(value, strlen(value));

	CHECK(v != NULL);
	return kv_db_put(db, key, strlen(key), v, 0);
}

static struct kv_entry *find(struct kv_db *db, const char *key, int64_t now)
{
	return kv_db_find(db, key, strlen(key), now);
}

static void check_value(struct kv_entry *e, const char *want)
{
	CHECK(e != NULL);
	CHECK_INT(kv_entry_value(e)->len, ==, strlen(want));
	CHECK(memcmp(kv_entry_value(e)->data, want, strlen(want)) == 0);
}

TEST(kv_db_put_find_replace_delete)
{
	struct kv_db db = { 0 };

	CHECK(find(&db, "a", 0) == NULL);
	put(&db, "a", "one");
	put(&db, "b", "");
	check_value(find(&db, "a", 0), "one");
	check_value(find(&db, "b", 0), "");
	put(&db, "a", "two");
	check_value(find(&db, "a", 0), "two");
	CHECK_INT(kv_db_count(&db), ==, 2);
	kv_db_del(&db, find(&db, "a", 0));
	CHECK(find(&db, "a", 0) == NULL);
	CHECK_INT(kv_db_count(&db), ==, 1);
	kv_db_clear(&db);
	CHECK_INT(kv_db_count(&db), ==, 0);
}

TEST(kv_db_keys_are_binary)
{
	struct kv_db db = { 0 };
	struct kv_value *v = kv_value_new("v", 1);

	CHECK(kv_db_put(&db, "a\0b", 3, v, 0) != NULL);
	CHECK(kv_db_find(&db, "a\0c", 3, 0) == NULL);
	CHECK(kv_db_find(&db, "a", 1, 0) == NULL);
	CHECK(kv_db_find(&db, "a\0b", 3, 0) != NULL);
	v = kv_value_new("empty", 5);
	CHECK(kv_db_put(&db, "", 0, v, 0) != NULL);
	CHECK(kv_db_find(&db, "", 0, 0) != NULL);
	kv_db_clear(&db);
}

TEST(kv_db_replaced_value_lives_while_it_is_referenced)
{
	struct kv_db db = { 0 };
	struct kv_value *held = kv_value_ref(kv_entry_value(put(&db, "a", "old")));

	put(&db, "a", "new");
	kv_dead_unref(kv_db_take_dead(&db));
	CHECK(db.dead == NULL);
	CHECK(memcmp(held->data, "old", 3) == 0);
	kv_value_unref(held);
	kv_db_clear(&db);
}

TEST(kv_db_key_is_gone_at_its_time_and_not_before)
{
	struct kv_db db = { 0 };

	CHECK(kv_db_set_expire(&db, put(&db, "a", "v"), 100));
	CHECK(find(&db, "a", 99) != NULL);
	CHECK_INT(db.expired, ==, 0);
	CHECK(find(&db, "a", 100) == NULL);
	CHECK_INT(db.expired, ==, 1);
	CHECK_INT(kv_db_count(&db), ==, 0);
	CHECK_INT(db.heap_count, ==, 0);
	kv_db_clear(&db);
}

TEST(kv_db_time_can_be_moved_and_taken_away)
{
	struct kv_db db = { 0 };
	struct kv_entry *e = put(&db, "a", "v");

	CHECK(kv_db_set_expire(&db, e, 100));
	CHECK(kv_db_set_expire(&db, e, 300));
	CHECK_INT(db.heap_count, ==, 1);
	CHECK(find(&db, "a", 200) == e);
	CHECK(kv_db_set_expire(&db, e, 0));
	CHECK_INT(db.heap_count, ==, 0);
	CHECK(find(&db, "a", INT64_MAX) == e);
	kv_db_clear(&db);
}

TEST(kv_db_sweep_takes_the_due_ones_and_at_most_max)
{
	struct kv_db db = { 0 };
	char key[16];

	for (int i = 0; i < 100; i++) {
		snprintf(key, sizeof key, "k%d", i);
		CHECK(kv_db_set_expire(&db, put(&db, key, "v"), 1 + (i * 37) % 100));
	}
	kv_db_sweep(&db, 0, 1000);
	CHECK_INT(kv_db_count(&db), ==, 100);
	kv_db_sweep(&db, 50, 20);
	CHECK_INT(kv_db_count(&db), ==, 80);
	kv_db_sweep(&db, 50, 1000);
	CHECK_INT(kv_db_count(&db), ==, 50);
	CHECK_INT(db.expired, ==, 50);
	kv_db_clear(&db);
}

/* The heap: each entry knows its place, and no child is sooner than its parent. */
static void check_heap(struct kv_db *db)
{
	int64_t last = 0;
	struct kv_entry *e;

	for (size_t i = 1; i < db->heap_count; i++)
		CHECK(kv_entry_expire(db->heap[(i - 1) / 2]) <= kv_entry_expire(db->heap[i]));
	/* deleting goes through an entry's own index */
	while (db->heap_count > 0) {
		e = db->heap[0];
		CHECK(kv_entry_expire(e) >= last);
		last = kv_entry_expire(e);
		kv_db_del(db, e);
	}
}

TEST(kv_db_random_changes_keep_the_heap)
{
	struct kv_db db = { 0 };
	unsigned seed = 7;
	char key[16];

	for (int i = 0; i < 20000; i++) {
		struct kv_entry *e;

		snprintf(key, sizeof key, "k%d", rand_r(&seed) % 300);
		e = find(&db, key, 0);
		switch (rand_r(&seed) % 4) {
		case 0:
			put(&db, key, "v");
			break;
		case 1:
			if (e)
				kv_db_del(&db, e);
			break;
		default:
			if (e)
				CHECK(kv_db_set_expire(&db, e, rand_r(&seed) % 1000));
		}
		kv_dead_unref(kv_db_take_dead(&db));
	}
	CHECK_INT(db.heap_count, >, 50);
	check_heap(&db);
	kv_db_clear(&db);
}
