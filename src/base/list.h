/*
 * Intrusive doubly linked list. A node that is in no list points at itself, so list_remove() is
 * idempotent and list_linked() is one compare. Nothing here allocates.
 */
#ifndef RINGLINE_BASE_LIST_H
#define RINGLINE_BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct list {
	struct list *prev, *next;
};

#define container_of(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

static inline void list_init(struct list *l)
{
	l->prev = l->next = l;
}

static inline bool list_empty(const struct list *l)
{
	return l->next == l;
}

/* Is this node in some list? Same test as list_empty(), read from the node's side. */
static inline bool list_linked(const struct list *node)
{
	return node->next != node;
}

static inline void list_insert(struct list *after, struct list *node)
{
	node->prev = after;
	node->next = after->next;
	after->next->prev = node;
	after->next = node;
}

static inline void list_push_front(struct list *head, struct list *node)
{
	list_insert(head, node);
}

static inline void list_push_back(struct list *head, struct list *node)
{
	list_insert(head->prev, node);
}

static inline void list_remove(struct list *node)
{
	node->prev->next = node->next;
	node->next->prev = node->prev;
	list_init(node);
}

static inline struct list *list_first(const struct list *head)
{
	return list_empty(head) ? NULL : head->next;
}

static inline struct list *list_pop_front(struct list *head)
{
	struct list *n = list_first(head);
	if (n)
		list_remove(n);
	return n;
}

/* Move every node of src to the end of dst; src is empty afterwards. */
static inline void list_splice_back(struct list *dst, struct list *src)
{
	if (list_empty(src))
		return;
	src->next->prev = dst->prev;
	dst->prev->next = src->next;
	src->prev->next = dst;
	dst->prev = src->prev;
	list_init(src);
}

#define list_for_each(n, head) for (struct list *n = (head)->next; n != (head); n = n->next)
#define list_for_each_safe(n, t, head) \
	for (struct list *n = (head)->next, *t = n->next; n != (head); n = t, t = n->next)

#endif
