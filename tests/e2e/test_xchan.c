/* rln_xchan: any thread sends, tasks of one worker receive; bounds, order, close, lifetimes. */
#include "rig.h"

#include <stdatomic.h>

static rln_xchan *x;

static void make(size_t elem, size_t cap)
{
	CHECK_INT(rln_xchan_new(NULL, 0, elem, cap, &x), ==, 0);
}

static int send_int(int i)
{
	return rln_xchan_try_send(x, &i);
}

static int recv_int(void)
{
	int i = -1;

	CHECK_INT(rln_xchan_recv(x, &i), ==, 1);
	return i;
}

TASK_TEST(xchan_bounds_are_exact_for_every_small_capacity)
{
	for (int cap = 1; cap <= 9; cap++) {
		make(sizeof(int), (size_t)cap);
		for (int round = 0; round < 5; round++) {
			for (int i = 0; i < cap; i++)
				CHECK_INT(send_int(i), ==, 0);
			CHECK_INT(send_int(99), ==, -EAGAIN);
			for (int i = 0; i < cap; i++)
				CHECK_INT(recv_int(), ==, i);
		}
		rln_xchan_unref(x);
	}
}

TASK_TEST(xchan_arguments_are_checked)
{
	CHECK_INT(rln_xchan_new(NULL, 0, 0, 1, &x), ==, -EINVAL);
	CHECK_INT(rln_xchan_new(NULL, 0, 65537, 1, &x), ==, -EINVAL);
	CHECK_INT(rln_xchan_new(NULL, 0, 1, 0, &x), ==, -EINVAL);
	CHECK_INT(rln_xchan_new(NULL, 0, 1, (1 << 20) + 1, &x), ==, -EINVAL);
	CHECK_INT(rln_xchan_new(NULL, 1, 1, 1, &x), ==, -EINVAL);
	CHECK_INT(rln_xchan_new(NULL, 0, 1, 1, NULL), ==, -EINVAL);
	rln_xchan_unref(NULL);
}

TASK_TEST(xchan_items_of_any_size_arrive_whole)
{
	static uint8_t in[65536], out[65536];
	static const size_t sizes[] = { 1, 3, 8, 13, 4096, 65536 };

	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
		make(sizes[i], 2);
		pattern_fill(in, i, sizes[i]);
		CHECK_INT(rln_xchan_try_send(x, in), ==, 0);
		CHECK_INT(rln_xchan_recv(x, out), ==, 1);
		CHECK(memcmp(in, out, sizes[i]) == 0);
		rln_xchan_unref(x);
	}
}

TASK_TEST(xchan_closed_gives_what_was_sent_and_then_0)
{
	int i;

	make(sizeof(int), 4);
	CHECK_INT(send_int(1), ==, 0);
	CHECK_INT(send_int(2), ==, 0);
	rln_xchan_close(x);
	rln_xchan_close(x);
	CHECK_INT(send_int(3), ==, -EPIPE);
	CHECK_INT(recv_int(), ==, 1);
	CHECK_INT(recv_int(), ==, 2);
	CHECK_INT(rln_xchan_recv(x, &i), ==, 0);
	CHECK_INT(rln_xchan_recv(x, &i), ==, 0);
	rln_xchan_unref(x);
}

static int received;

static int recv_in_turn(void *arg)
{
	CHECK_INT(recv_int(), ==, (intptr_t)arg);
	received++;
	return 0;
}

TASK_TEST(xchan_waiting_receivers_are_served_in_order)
{
	rln_task t[4];

	make(sizeof(int), 8);
	for (intptr_t i = 0; i < 4; i++)
		CHECK_INT(rln_spawn(recv_in_turn, (void *)i, NULL, &t[i]), ==, 0);
	CHECK_INT(rln_yield(), ==, 0);
	for (int i = 0; i < 4; i++)
		CHECK_INT(send_int(i), ==, 0);
	/* one more receiver must not overtake those that were woken */
	CHECK_INT(send_int(4), ==, 0);
	CHECK_INT(recv_int(), ==, 4);
	for (int i = 0; i < 4; i++)
		CHECK_INT(rln_join(t[i], NULL), ==, 0);
	CHECK_INT(received, ==, 4);
	rln_xchan_unref(x);
}

static int recv_closed(void *arg)
{
	int i;
	(void)arg;
	CHECK_INT(rln_xchan_recv(x, &i), ==, 0);
	received++;
	return 0;
}

static void close_it(void *arg)
{
	rln_xchan_close(arg);
}

TASK_TEST(xchan_close_by_another_thread_ends_all_receivers)
{
	rln_task t[3];
	struct peer p;

	make(sizeof(int), 8);
	for (int i = 0; i < 3; i++)
		CHECK_INT(rln_spawn(recv_closed, NULL, NULL, &t[i]), ==, 0);
	CHECK_INT(rln_yield(), ==, 0);
	peer_start(&p, close_it, x);
	for (int i = 0; i < 3; i++)
		CHECK_INT(rln_join(t[i], NULL), ==, 0);
	CHECK_INT(received, ==, 3);
	peer_join(&p);
	rln_xchan_unref(x);
}

TASK_TEST(xchan_recv_cancelled_takes_nothing)
{
	int i = -1;

	make(sizeof(int), 2);
	CHECK_INT(RLN_WITHIN(RLN_US(1), rln_xchan_recv(x, &i)), ==, -ETIME);
	CHECK_INT(send_int(5), ==, 0);
	CHECK_INT(RLN_WITHIN(0, rln_xchan_recv(x, &i)), ==, -ETIME);
	CHECK_INT(i, ==, -1);
	CHECK_INT(recv_int(), ==, 5);
	rln_xchan_unref(x);
}

static int recv_elsewhere(void *arg)
{
	int i;
	CHECK_INT(rln_xchan_recv(x, &i), ==, -EXDEV);
	CHECK_INT(send_int(1), ==, 0);
	rln_xchan_unref(arg);
	return 0;
}

TASK_TEST_CFG(xchan_of_another_worker_is_exdev_to_receive, .workers = 2)
{
	make(sizeof(int), 2);
	CHECK_INT(rln_go_on(NULL, 1, recv_elsewhere, rln_xchan_ref(x), NULL), ==, 0);
	CHECK_INT(recv_int(), ==, 1);
	rln_xchan_unref(x);
}

static void in_callback(void *arg)
{
	int i = 4;
	CHECK_INT(rln_xchan_recv(arg, &i), ==, -EDEADLK);
	CHECK_INT(rln_xchan_try_send(arg, &i), ==, 0);
}

TASK_TEST(xchan_in_a_callback_sends_and_cannot_receive)
{
	make(sizeof(int), 2);
	CHECK_INT(rln_post(NULL, 0, in_callback, x), ==, 0);
	CHECK_INT(recv_int(), ==, 4);
	rln_xchan_unref(x);
}

static int recv_until_drained(void *arg)
{
	int i;
	int e = rln_xchan_recv(arg, &i);
	rln_xchan_unref(arg);
	return e;
}

static int leave_a_receiver(void *arg)
{
	(void)arg;
	make(sizeof(int), 2);
	CHECK_INT(rln_go(recv_until_drained, rln_xchan_ref(x), NULL), ==, 0);
	return rln_yield();
}

TEST(xchan_outlives_its_runtime)
{
	rln_config cfg = { .workers = 1, .no_pin = true, .main = leave_a_receiver };
	rln_runtime *rt;

	CHECK_INT(rln_start(&cfg, &rt), ==, 0);
	CHECK_INT(rln_wait(rt), ==, 0);
	CHECK_INT(send_int(1), ==, 0);
	CHECK_INT(send_int(2), ==, 0);
	CHECK_INT(send_int(3), ==, -EAGAIN);
	rln_xchan_close(x);
	CHECK_INT(send_int(3), ==, -EPIPE);
	rln_xchan_unref(x);
}

/*
 * Stress: nothing lost, nothing twice, and for one receiver the order of each sender (of several,
 * one may be woken with an item and run after another that found the next one there). Receivers
 * time out now and then.
 */
enum { SENDERS = 3, EACH = 20000, RECEIVERS = 3 };

struct item {
	uint32_t sender, number;
	uint64_t check;
};

static uint32_t next_of[SENDERS];
static bool seen[SENDERS][EACH];
static unsigned total, timeouts;

static uint64_t mix(uint32_t sender, uint32_t number)
{
	return (sender + 1) * UINT64_C(0x9e3779b97f4a7c15) ^ number;
}

static void send_all_items(void *arg)
{
	uint32_t sender = (uint32_t)(uintptr_t)arg;

	for (uint32_t i = 0; i < EACH; i++) {
		struct item it = { sender, i, mix(sender, i) };
		int e;
		while ((e = rln_xchan_try_send(x, &it)) == -EAGAIN)
			sched_yield();
		CHECK_INT(e, ==, 0);
	}
	rln_xchan_unref(x);
}

static int recv_items(void *ordered)
{
	for (;;) {
		struct item it = { 0 };
		int e = RLN_WITHIN(RLN_US(300), rln_xchan_recv(x, &it));
		if (e == -ETIME) {
			timeouts++;
			continue;
		}
		if (e == 0)
			return 0;
		CHECK_INT(e, ==, 1);
		CHECK_INT(it.check, ==, mix(it.sender, it.number));
		if (ordered) {
			CHECK_INT(it.number, ==, next_of[it.sender]++);
		} else {
			CHECK(!seen[it.sender][it.number]);
			seen[it.sender][it.number] = true;
		}
		total++;
	}
}

static void stress(unsigned receivers)
{
	struct peer p[SENDERS];
	rln_task t[RECEIVERS];

	make(sizeof(struct item), 64);
	for (uintptr_t i = 0; i < SENDERS; i++) {
		rln_xchan_ref(x);
		peer_start(&p[i], send_all_items, (void *)i);
	}
	for (unsigned i = 0; i < receivers; i++)
		CHECK_INT(rln_spawn(recv_items, receivers == 1 ? x : NULL, NULL, &t[i]), ==, 0);
	for (int i = 0; i < SENDERS; i++)
		peer_join(&p[i]);
	rln_xchan_close(x);
	for (unsigned i = 0; i < receivers; i++)
		CHECK_INT(rln_join(t[i], NULL), ==, 0);
	CHECK_INT(total, ==, SENDERS * EACH);
	rln_xchan_unref(x);
}

TASK_TEST(xchan_stress_keeps_each_senders_order)
{
	stress(1);
}

TASK_TEST(xchan_stress_loses_nothing_and_gives_nothing_twice)
{
	stress(RECEIVERS);
}

/* Close in the middle: exactly what was accepted is received. */
static atomic_uint accepted;

static void send_until_closed(void *arg)
{
	uint32_t sender = (uint32_t)(uintptr_t)arg;
	int e = 0;

	for (uint32_t i = 0; e != -EPIPE; i++) {
		struct item it = { sender, i, mix(sender, i) };
		while ((e = rln_xchan_try_send(x, &it)) == -EAGAIN)
			sched_yield();
		atomic_fetch_add(&accepted, e == 0);
	}
	rln_xchan_unref(x);
}

TASK_TEST(xchan_close_under_load_loses_nothing_that_was_accepted)
{
	struct peer p[SENDERS];
	rln_task t;

	for (int round = 0; round < 10; round++) {
		make(sizeof(struct item), 16);
		memset(next_of, 0, sizeof next_of);
		total = 0;
		atomic_store(&accepted, 0);
		for (uintptr_t i = 0; i < SENDERS; i++) {
			rln_xchan_ref(x);
			peer_start(&p[i], send_until_closed, (void *)i);
		}
		CHECK_INT(rln_spawn(recv_items, x, NULL, &t), ==, 0);
		TASK_EVENTUALLY(total > 100);
		rln_xchan_close(x);
		CHECK_INT(rln_join(t, NULL), ==, 0);
		for (int i = 0; i < SENDERS; i++)
			peer_join(&p[i]);
		CHECK_INT(total, ==, atomic_load(&accepted));
		rln_xchan_unref(x);
	}
}
