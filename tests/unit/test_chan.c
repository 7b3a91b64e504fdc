/* Channels: order, hand-over, closing, and what a cancellation leaves. */
#include "ringline/sync.h"
#include "task_fixture.h"

static rln_chan ch;
static int got[64], gots, sent[8], result = 99;
static rln_scope *scope; /* of the last select */

static void up(size_t elem, size_t cap)
{
	sched_up(&(struct sched_config){ 0 });
	CHECK_INT(rln_chan_open(&ch, elem, cap), ==, 0);
}

static void down(void)
{
	drive();
	rln_chan_free(&ch, NULL);
	sched_down();
}

static int send_one(void *arg)
{
	int v = (int)(intptr_t)arg;
	sent[v % 8] = 1 + rln_chan_send(&ch, &v);
	return 0;
}

static int recv_one(void *arg)
{
	int v = -1, r = rln_chan_recv(&ch, &v);
	(void)arg;
	got[gots++] = r == 1 ? v : r;
	return 0;
}

static int recv_all(void *arg)
{
	int v;
	(void)arg;
	while (rln_chan_recv(&ch, &v) == 1)
		got[gots++] = v;
	return 0;
}

static void n(int (*fn)(void *), intptr_t v)
{
	go(fn, (void *)v);
	turn();
}

TEST(chan_rendezvous_sender_waits_for_its_receiver)
{
	up(sizeof(int), 0);
	n(send_one, 1);
	n(send_one, 2);
	CHECK_INT(sent[1], ==, 0);
	n(recv_one, 0);
	CHECK_INT(got[0], ==, 1); /* FIFO */
	turn();
	CHECK_INT(sent[1], ==, 1);
	CHECK_INT(sent[2], ==, 0);
	n(recv_one, 0);
	CHECK_INT(got[1], ==, 2);
	/* the other way round: receivers wait, in their order */
	n(recv_one, 0);
	n(recv_one, 0);
	n(send_one, 3);
	CHECK_INT(sent[3], ==, 1); /* at once */
	n(send_one, 4);
	turn();
	CHECK_INT(gots, ==, 4);
	CHECK_INT(got[2], ==, 3);
	CHECK_INT(got[3], ==, 4);
	down();
}

TEST(chan_buffered_keeps_the_order_over_waiting_senders)
{
	up(sizeof(int), 3);
	for (int i = 0; i < 6; i++)
		n(send_one, i);
	for (int i = 0; i < 6; i++)
		CHECK_INT(sent[i], ==, i < 3);
	int v = 100;
	CHECK_INT(rln_chan_try_send(&ch, &v), ==, -EAGAIN);
	for (int i = 0; i < 6; i++) {
		CHECK_INT(rln_chan_try_recv(&ch, &v), ==, 1);
		CHECK_INT(v, ==, i);
		if (i < 3) { /* the room went to a waiting sender: nobody gets in between */
			v = 100;
			CHECK_INT(rln_chan_try_send(&ch, &v), ==, -EAGAIN);
		}
		turn();
	}
	CHECK_INT(rln_chan_try_recv(&ch, &v), ==, -EAGAIN);
	down();
}

TEST(chan_ring_wraps_at_any_capacity)
{
	for (size_t cap = 1; cap < 6; cap++) {
		int next = 0, v;
		up(sizeof(int), cap);
		for (int i = 0; i < 50; i++) {
			while (rln_chan_try_send(&ch, &i) == -EAGAIN) {
				CHECK_INT(rln_chan_try_recv(&ch, &v), ==, 1);
				CHECK_INT(v, ==, next++);
			}
		}
		while (rln_chan_try_recv(&ch, &v) == 1)
			CHECK_INT(v, ==, next++);
		CHECK_INT(next, ==, 50);
		down();
	}
}

TEST(chan_close_refuses_senders_and_lets_receivers_drain)
{
	up(sizeof(int), 1);
	for (int i = 0; i < 3; i++)
		n(send_one, i);
	rln_chan_close(&ch);
	rln_chan_close(&ch);
	turn();
	CHECK_INT(sent[0], ==, 1);
	CHECK_INT(sent[1], ==, 1 - EPIPE);
	CHECK_INT(sent[2], ==, 1 - EPIPE);
	n(send_one, 3);
	CHECK_INT(sent[3], ==, 1 - EPIPE);
	n(recv_all, 0);
	CHECK_INT(gots, ==, 1);
	CHECK_INT(got[0], ==, 0);
	int v;
	CHECK_INT(rln_chan_try_recv(&ch, &v), ==, 0);
	CHECK_INT(rln_chan_try_send(&ch, &v), ==, -EPIPE);
	down();
}

TEST(chan_close_ends_waiting_receivers)
{
	up(sizeof(int), 1);
	n(recv_one, 0);
	n(recv_one, 0);
	rln_chan_close(&ch);
	turn();
	CHECK_INT(gots, ==, 2);
	CHECK_INT(got[0] | got[1], ==, 0);
	down();
}

TEST(chan_cancelled_before_the_hand_over_moves_nothing)
{
	up(sizeof(int), 0);
	struct task *s = go(send_one, (void *)1);
	turn();
	task_cancel(s);
	int v;
	CHECK_INT(rln_chan_try_recv(&ch, &v), ==, -EAGAIN);
	turn();
	CHECK_INT(sent[1], ==, 1 - ECANCELED);
	struct task *r = go(recv_one, NULL);
	turn();
	task_cancel(r);
	v = 5;
	CHECK_INT(rln_chan_try_send(&ch, &v), ==, -EAGAIN);
	turn();
	CHECK_INT(got[0], ==, -ECANCELED);
	down();
}

/* R4: the item was handed over; a cancellation that comes before the task runs is too late. */
TEST(chan_cancelled_after_the_hand_over_has_succeeded)
{
	up(sizeof(int), 0);
	struct task *s = go(send_one, (void *)1);
	turn();
	int v = 0;
	CHECK_INT(rln_chan_try_recv(&ch, &v), ==, 1);
	CHECK_INT(v, ==, 1);
	task_cancel(s);
	turn();
	CHECK_INT(sent[1], ==, 1);
	struct task *r = go(recv_one, NULL);
	turn();
	v = 7;
	CHECK_INT(rln_chan_try_send(&ch, &v), ==, 0);
	task_cancel(r);
	turn();
	CHECK_INT(got[0], ==, 7);
	down();
}

static int dropped;
static void drop(void *item)
{
	dropped = dropped * 10 + *(int *)item;
}

TEST(chan_free_drops_what_is_left_in_order)
{
	up(sizeof(int), 4);
	for (int v = 1; v < 4; v++)
		CHECK_INT(rln_chan_try_send(&ch, &v), ==, 0);
	rln_chan_free(&ch, drop);
	CHECK_INT(dropped, ==, 123);
	rln_chan_free(&ch, drop); /* all-zero again: left alone */
	rln_chan_close(&ch);
	sched_down();
}

/* ---- select */

static int select_both(void *arg)
{
	int out = 50, in = 0;
	rln_arm arms[] = { rln_on_recv(&ch, &in), rln_on_send(&ch, &out),
			   rln_on_after(RLN_FOREVER) };
	rln_scope mine;
	(void)arg;
	rln_scope_begin(&mine, RLN_SEC(100));
	scope = &mine;
	result = rln_select(arms, 3);
	if (result >= 0)
		got[gots++] = result == 0 ? in : arms[result].res;
	rln_scope_end(&mine);
	return 0;
}

TEST(chan_arms_of_one_select_do_not_meet_each_other)
{
	up(sizeof(int), 0);
	n(select_both, 0);
	CHECK_INT(result, ==, 99); /* still waiting */
	n(send_one, 6);
	turn();
	CHECK_INT(result, ==, 0);
	CHECK_INT(got[0], ==, 6);
	n(select_both, 0);
	n(recv_one, 0);
	turn();
	CHECK_INT(result, ==, 1);
	CHECK_INT(got[1] + got[2], ==, 50);
	down();
}

TEST(chan_two_selects_meet)
{
	up(sizeof(int), 0);
	n(select_both, 0);
	n(select_both, 0); /* its receive arm meets the first one's send arm */
	turn();
	CHECK_INT(gots, ==, 2);
	CHECK_INT(got[0] + got[1], ==, 50);
	int v;
	CHECK_INT(rln_chan_try_recv(&ch, &v), ==, -EAGAIN); /* once */
	down();
}

TEST(chan_select_cancelled_takes_and_sends_nothing)
{
	up(sizeof(int), 0);
	n(select_both, 0);
	rln_scope_cancel(scope);
	int v = 0;
	CHECK_INT(rln_chan_try_recv(&ch, &v), ==, -EAGAIN);
	CHECK_INT(rln_chan_try_send(&ch, &v), ==, -EAGAIN);
	turn();
	CHECK_INT(result, ==, -ECANCELED);
	rln_chan_close(&ch);
	n(select_both, 0);
	CHECK_INT(result, ==, 0); /* closed and drained: ready */
	CHECK_INT(gots, ==, 1);
	down();
}

/* ---- misuse */

static int bad_calls(void *arg)
{
	rln_chan none = { 0 };
	int v = 0;
	(void)arg;
	CHECK_INT(rln_chan_send(&none, &v), ==, -EINVAL);
	CHECK_INT(rln_chan_recv(&none, &v), ==, -EINVAL);
	CHECK_INT(rln_chan_send(NULL, &v), ==, -EINVAL);
	CHECK_INT(rln_chan_send(&ch, NULL), ==, -EINVAL);
	CHECK_INT(rln_chan_recv(&ch, NULL), ==, -EINVAL);
	CHECK_INT(rln_chan_open(&none, SIZE_MAX, 2), ==, -EINVAL);
	CHECK_INT(rln_chan_open(NULL, 1, 2), ==, -EINVAL);
	return 0;
}

TEST(chan_misuse_is_refused)
{
	int v = 0;
	CHECK_INT(rln_chan_open(&ch, 4, 1), ==, -EPERM);
	CHECK_INT(rln_chan_send(&ch, &v), ==, -EPERM);
	up(sizeof(int), 1);
	CHECK_INT(rln_chan_send(&ch, &v), ==, -EDEADLK);
	CHECK_INT(rln_chan_recv(&ch, &v), ==, -EDEADLK);
	go(bad_calls, NULL);
	turn();
	/* another worker's */
	struct sched other;
	ctx.sched = &other;
	CHECK_INT(rln_chan_try_send(&ch, &v), ==, -EXDEV);
	CHECK_INT(rln_chan_try_recv(&ch, &v), ==, -EXDEV);
	ctx.sched = &sched;
	ctx_current_ = NULL;
	CHECK_INT(rln_chan_try_send(&ch, &v), ==, -EPERM);
	ctx_current_ = &ctx;
	down();
}

TEST(chan_items_of_no_size_are_counted)
{
	up(0, 2);
	CHECK_INT(rln_chan_try_send(&ch, NULL), ==, 0);
	CHECK_INT(rln_chan_try_send(&ch, NULL), ==, 0);
	CHECK_INT(rln_chan_try_send(&ch, NULL), ==, -EAGAIN);
	CHECK_INT(rln_chan_try_recv(&ch, NULL), ==, 1);
	CHECK_INT(rln_chan_try_recv(&ch, NULL), ==, 1);
	CHECK_INT(rln_chan_try_recv(&ch, NULL), ==, -EAGAIN);
	down();
}

static void die_free(void)
{
	up(sizeof(int), 0);
	n(recv_one, 0);
	rln_chan_free(&ch, NULL);
}

TEST(chan_freed_while_a_task_waits_aborts)
{
	CHECK_DIES(
		die_free, SIGABRT,
		"rln_chan_free called while task test (spawned here.c:7) waits in rln_chan_recv");
}
