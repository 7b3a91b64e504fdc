/* The intrusive list: order, idempotent removal, splicing. */
#include "base/list.h"
#include "test.h"

struct item {
	int value;
	struct list node;
};

static struct item items[6];

static void items_init(void)
{
	for (int i = 0; i < 6; i++) {
		items[i].value = i;
		list_init(&items[i].node);
	}
}

/* Checks both directions against want[0..n). */
static void check_order(const struct list *head, const int *want, int n)
{
	int i = 0;

	list_for_each (node, head) {
		CHECK_INT(i, <, n);
		CHECK_INT(container_of(node, struct item, node)->value, ==, want[i]);
		CHECK(node->next->prev == node);
		i++;
	}
	CHECK_INT(i, ==, n);
	for (const struct list *node = head->prev; node != head; node = node->prev)
		CHECK_INT(container_of(node, struct item, node)->value, ==, want[--i]);
	CHECK_INT(i, ==, 0);
}

TEST(list_push_front_and_back_keep_order)
{
	struct list head;

	items_init();
	list_init(&head);
	CHECK(list_empty(&head));
	CHECK(list_first(&head) == NULL);
	list_push_back(&head, &items[1].node);
	list_push_back(&head, &items[2].node);
	list_push_front(&head, &items[0].node);
	list_insert(&items[0].node, &items[5].node);
	check_order(&head, (int[]){ 0, 5, 1, 2 }, 4);
	CHECK(list_first(&head) == &items[0].node);
	CHECK(!list_empty(&head));
}

TEST(list_remove_twice_is_harmless)
{
	struct list head;

	items_init();
	list_init(&head);
	for (int i = 0; i < 3; i++)
		list_push_back(&head, &items[i].node);
	CHECK(list_linked(&items[1].node));
	list_remove(&items[1].node);
	CHECK(!list_linked(&items[1].node));
	list_remove(&items[1].node);
	check_order(&head, (int[]){ 0, 2 }, 2);
}

TEST(list_pop_front_ends_with_null)
{
	struct list head;

	items_init();
	list_init(&head);
	list_push_back(&head, &items[3].node);
	list_push_back(&head, &items[4].node);
	CHECK(list_pop_front(&head) == &items[3].node);
	CHECK(!list_linked(&items[3].node));
	CHECK(list_pop_front(&head) == &items[4].node);
	CHECK(list_pop_front(&head) == NULL);
	CHECK(list_empty(&head));
}

TEST(list_splice_moves_all_behind)
{
	struct list a, b;

	items_init();
	list_init(&a);
	list_init(&b);
	list_splice_back(&a, &b);
	CHECK(list_empty(&a) && list_empty(&b));
	for (int i = 0; i < 2; i++)
		list_push_back(&a, &items[i].node);
	for (int i = 2; i < 5; i++)
		list_push_back(&b, &items[i].node);
	list_splice_back(&a, &b);
	CHECK(list_empty(&b));
	check_order(&a, (int[]){ 0, 1, 2, 3, 4 }, 5);
	list_splice_back(&b, &a);
	CHECK(list_empty(&a));
	check_order(&b, (int[]){ 0, 1, 2, 3, 4 }, 5);
}

TEST(list_for_each_safe_survives_removal)
{
	struct list head;
	int seen = 0;

	items_init();
	list_init(&head);
	for (int i = 0; i < 6; i++)
		list_push_back(&head, &items[i].node);
	list_for_each_safe (node, next, &head) {
		if (container_of(node, struct item, node)->value % 2)
			list_remove(node);
		seen++;
	}
	CHECK_INT(seen, ==, 6);
	check_order(&head, (int[]){ 0, 2, 4 }, 3);
}
