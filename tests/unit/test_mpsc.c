/* The queue between threads: order, nothing lost, one wake per sleep, close. */
#include "base/mpsc.h"
#include "base/list.h"
#include "test.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>

struct item {
	struct mpsc_node node;
	unsigned producer, number;
};

static unsigned length(const struct mpsc_node *n)
{
	unsigned count = 0;
	for (; n; n = n->next)
		count++;
	return count;
}

TEST(mpsc_take_gives_oldest_first)
{
	struct mpsc q;
	struct item it[5];
	unsigned i = 0;

	mpsc_init(&q);
	CHECK(mpsc_empty(&q));
	CHECK(mpsc_take(&q) == NULL);
	for (i = 0; i < 5; i++) {
		it[i].number = i;
		CHECK(mpsc_push(&q, &it[i].node) == MPSC_PUSHED);
	}
	CHECK(!mpsc_empty(&q));
	struct mpsc_node *n = mpsc_take(&q);
	for (i = 0; n; n = n->next)
		CHECK_INT(container_of(n, struct item, node)->number, ==, i++);
	CHECK_INT(i, ==, 5);
	CHECK(mpsc_empty(&q));
	CHECK(mpsc_take(&q) == NULL);
}

TEST(mpsc_push_while_asleep_wakes_once)
{
	struct mpsc q;
	struct item it[4];

	mpsc_init(&q);
	CHECK(mpsc_sleep(&q));
	CHECK(mpsc_push(&q, &it[0].node) == MPSC_PUSHED_WAKE);
	CHECK(mpsc_push(&q, &it[1].node) == MPSC_PUSHED);
	CHECK(mpsc_push(&q, &it[2].node) == MPSC_PUSHED);
	mpsc_awake(&q);
	CHECK_INT(length(mpsc_take(&q)), ==, 3);
	CHECK(mpsc_push(&q, &it[3].node) == MPSC_PUSHED);
}

TEST(mpsc_sleep_with_something_queued_is_refused)
{
	struct mpsc q;
	struct item it[2];

	mpsc_init(&q);
	CHECK(mpsc_push(&q, &it[0].node) == MPSC_PUSHED);
	CHECK(!mpsc_sleep(&q));
	/* the announcement was withdrawn: nobody has to wake */
	CHECK(mpsc_push(&q, &it[1].node) == MPSC_PUSHED);
	CHECK_INT(length(mpsc_take(&q)), ==, 2);
	CHECK(mpsc_sleep(&q));
}

TEST(mpsc_wake_takes_the_announcement_down)
{
	struct mpsc q;
	struct item it;

	mpsc_init(&q);
	CHECK(!mpsc_wake(&q));
	CHECK(mpsc_sleep(&q));
	CHECK(mpsc_wake(&q));
	CHECK(!mpsc_wake(&q));
	CHECK(mpsc_push(&q, &it.node) == MPSC_PUSHED);
	mpsc_awake(&q);
	CHECK_INT(length(mpsc_take(&q)), ==, 1);
	CHECK(mpsc_sleep(&q));
	mpsc_awake(&q); /* a sleep nobody ended */
	CHECK(!mpsc_wake(&q));
}

TEST(mpsc_close_returns_the_rest_and_refuses)
{
	struct mpsc q;
	struct item it[3];

	mpsc_init(&q);
	it[0].number = 0;
	it[1].number = 1;
	CHECK(mpsc_push(&q, &it[0].node) == MPSC_PUSHED);
	CHECK(mpsc_push(&q, &it[1].node) == MPSC_PUSHED);
	struct mpsc_node *rest = mpsc_close(&q);
	CHECK_INT(length(rest), ==, 2);
	CHECK_INT(container_of(rest, struct item, node)->number, ==, 0);
	CHECK(mpsc_push(&q, &it[2].node) == MPSC_REFUSED);
	CHECK(mpsc_empty(&q));
	CHECK(mpsc_take(&q) == NULL);
	CHECK(mpsc_close(&q) == NULL);
	CHECK(mpsc_push(&q, &it[2].node) == MPSC_REFUSED);
	CHECK(mpsc_sleep(&q));
}

/* --- threads --- */

enum { PRODUCERS = 3, PER_PRODUCER = 20000 };

struct party {
	struct mpsc q;
	sem_t wake;
	_Atomic(unsigned) wakes;
	struct item *items; /* [PRODUCERS][PER_PRODUCER] */
};

struct producer {
	pthread_t thread;
	struct party *party;
	unsigned index, pushed;
	bool refused;
};

static void *produce(void *arg)
{
	struct producer *p = arg;
	struct item *mine = p->party->items + (size_t)p->index * PER_PRODUCER;

	for (unsigned i = 0; i < PER_PRODUCER; i++) {
		mine[i].producer = p->index;
		mine[i].number = i;
		enum mpsc_push r = mpsc_push(&p->party->q, &mine[i].node);
		if (r == MPSC_REFUSED) {
			p->refused = true;
			break;
		}
		p->pushed++;
		if (r == MPSC_PUSHED_WAKE) {
			atomic_fetch_add(&p->party->wakes, 1);
			sem_post(&p->party->wake);
		}
	}
	return NULL;
}

static void party_start(struct party *party, struct producer *p)
{
	mpsc_init(&party->q);
	sem_init(&party->wake, 0, 0);
	atomic_init(&party->wakes, 0);
	party->items = calloc((size_t)PRODUCERS * PER_PRODUCER, sizeof *party->items);
	for (unsigned i = 0; i < PRODUCERS; i++) {
		p[i] = (struct producer){ .party = party, .index = i };
		CHECK(pthread_create(&p[i].thread, NULL, produce, &p[i]) == 0);
	}
}

static unsigned check_batch(const struct mpsc_node *n, unsigned *next)
{
	unsigned count = 0;

	for (; n; n = n->next, count++) {
		const struct item *it = container_of(n, struct item, node);
		CHECK_INT(it->number, ==, next[it->producer]);
		next[it->producer]++;
	}
	return count;
}

/* A lost wake shows as a hang: the consumer sleeps without a limit. */
TEST(mpsc_many_producers_lose_nothing_and_keep_order)
{
	struct party party;
	struct producer p[PRODUCERS];
	unsigned next[PRODUCERS] = { 0 }, seen = 0, sleeps = 0;

	party_start(&party, p);
	while (seen < PRODUCERS * PER_PRODUCER) {
		seen += check_batch(mpsc_take(&party.q), next);
		if (seen == PRODUCERS * PER_PRODUCER || !mpsc_sleep(&party.q))
			continue;
		sleeps++;
		while (sem_wait(&party.wake) != 0)
			;
		mpsc_awake(&party.q);
	}
	for (unsigned i = 0; i < PRODUCERS; i++)
		pthread_join(p[i].thread, NULL);
	CHECK(mpsc_empty(&party.q));
	/*
	 * One wake a sleep. A push may also catch an announcement that is then withdrawn; its wake
	 * ends a later sleep early, which is why it is a bound on the whole only in this direction.
	 */
	CHECK_INT(atomic_load(&party.wakes), >=, sleeps);
	free(party.items);
}

TEST(mpsc_close_under_load_splits_pushes_exactly)
{
	for (int round = 0; round < 20; round++) {
		struct party party;
		struct producer p[PRODUCERS];
		unsigned next[PRODUCERS] = { 0 }, seen = 0, pushed = 0;

		party_start(&party, p);
		while (seen < PER_PRODUCER / 10)
			seen += check_batch(mpsc_take(&party.q), next);
		seen += check_batch(mpsc_close(&party.q), next);
		for (unsigned i = 0; i < PRODUCERS; i++) {
			pthread_join(p[i].thread, NULL);
			pushed += p[i].pushed;
			CHECK(p[i].refused == (p[i].pushed < PER_PRODUCER));
		}
		CHECK_INT(seen, ==, pushed);
		CHECK(mpsc_take(&party.q) == NULL);
		free(party.items);
	}
}
