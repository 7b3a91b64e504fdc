/*
 * The queue between threads. Producers push onto a stack; the consumer takes the whole stack and
 * turns it round, so nobody ever waits for another thread and order per producer holds.
 *
 * INV-31: a push and a sleep never miss each other. The producer stores the node, then reads
 * `sleeping`; the consumer stores `sleeping`, then reads the head. All four are sequentially
 * consistent, so at least one side sees the other's store. (Not fences: TSan does not know them.)
 */
#include "base/mpsc.h"
#include "base/assert.h"

/* Never linked, never dereferenced: a head that points here refuses pushes. */
static struct mpsc_node closed_mark;

static struct mpsc_node *oldest_first(struct mpsc_node *newest)
{
	struct mpsc_node *list = NULL;

	while (newest) {
		struct mpsc_node *next = newest->next;
		newest->next = list;
		list = newest;
		newest = next;
	}
	return list;
}

void mpsc_init(struct mpsc *q)
{
	atomic_init(&q->head, NULL);
	atomic_init(&q->sleeping, 0);
}

/* Of all that find the announcement, the one that takes it down has to wake. */
static bool must_wake(struct mpsc *q)
{
	return atomic_load(&q->sleeping) && atomic_exchange(&q->sleeping, 0);
}

enum mpsc_push mpsc_push(struct mpsc *q, struct mpsc_node *n)
{
	struct mpsc_node *head = atomic_load_explicit(&q->head, memory_order_relaxed);

	do {
		if (RLN_UNLIKELY(head == &closed_mark))
			return MPSC_REFUSED;
		n->next = head;
	} while (!atomic_compare_exchange_weak(&q->head, &head, n));
	/* n belongs to the consumer from here: it may be gone already */
	return must_wake(q) ? MPSC_PUSHED_WAKE : MPSC_PUSHED;
}

bool mpsc_wake(struct mpsc *q)
{
	return must_wake(q);
}

bool mpsc_empty(const struct mpsc *q)
{
	struct mpsc_node *head = atomic_load(&q->head);
	return !head || head == &closed_mark;
}

bool mpsc_closed(const struct mpsc *q)
{
	return atomic_load_explicit(&q->head, memory_order_relaxed) == &closed_mark;
}

struct mpsc_node *mpsc_take(struct mpsc *q)
{
	if (mpsc_empty(q))
		return NULL;
	/* only this thread closes, so the head cannot be the mark here */
	return oldest_first(atomic_exchange(&q->head, NULL));
}

bool mpsc_sleep(struct mpsc *q)
{
	atomic_store(&q->sleeping, 1);
	if (mpsc_empty(q))
		return true;
	mpsc_awake(q);
	return false;
}

void mpsc_awake(struct mpsc *q)
{
	atomic_store(&q->sleeping, 0);
}

struct mpsc_node *mpsc_close(struct mpsc *q)
{
	struct mpsc_node *rest = atomic_exchange(&q->head, &closed_mark);
	return rest == &closed_mark ? NULL : oldest_first(rest);
}
