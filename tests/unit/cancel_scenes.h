/* The scenes of cancel_table.def that need no connection. */
#ifndef RINGLINE_TESTS_CANCEL_SCENES_H
#define RINGLINE_TESTS_CANCEL_SCENES_H

#include "cancel_rig.h"

/* ---- time: it does not pass, the clock is told to have come so far */

static long call_sleep(void)
{
	return rln_sleep(RLN_SEC(100000));
}

static long call_sleep_until(void)
{
	return rln_sleep_until(rln_now() + RLN_SEC(100000));
}

static void time_comes(void)
{
	if (!waiter || waiter->state != TASK_PARKED)
		return;
	waiter->wake_ns = rig.w.loop.now_ns;
	task_recheck(waiter);
}

static long call_yield(void)
{
	return rln_yield();
}

static long call_checkpoint(void)
{
	return rln_checkpoint();
}

static const struct scene scene_rln_sleep = { .call = call_sleep,
					      .satisfy = time_comes,
					      .keep_on = true };
static const struct scene scene_rln_sleep_until = { .call = call_sleep_until,
						    .satisfy = time_comes,
						    .keep_on = true };
static const struct scene scene_rln_yield = { .call = call_yield };
static const struct scene scene_rln_checkpoint = { .call = call_checkpoint };

/* ---- event */

static rln_event event;

static void event_new(void)
{
	memset(&event, 0, sizeof event);
}

static long call_event(void)
{
	return rln_event_wait(&event);
}

static void event_set(void)
{
	rln_event_set(&event);
}

static const struct scene scene_rln_event_wait = { .setup = event_new,
						   .call = call_event,
						   .satisfy = event_set };

/* ---- semaphore */

static rln_sem sem;

static void sem_new(void)
{
	memset(&sem, 0, sizeof sem);
}

static long call_sem(void)
{
	return rln_sem_take(&sem);
}

static void sem_one(void)
{
	rln_sem_post(&sem, 1);
}

/* Exactly one permit was given, and one taken: where the row says so, by the call that succeeded.
 */
static void sem_balance(void)
{
	CHECK(!sem.priv_[2] || (uint32_t)sem.priv_[2] == 0);
}

static const struct scene scene_rln_sem_take = {
	.setup = sem_new, .call = call_sem, .satisfy = sem_one, .teardown = sem_balance
};

/* ---- mutex, held by another task until event */

static rln_mutex mutex;

static int hold_main(void *arg)
{
	(void)arg;
	CHECK_INT(rln_lock(&mutex), ==, 0);
	rln_event_wait(&event);
	rln_unlock(&mutex);
	return 0;
}

static void mutex_held(void)
{
	event_new();
	memset(&mutex, 0, sizeof mutex);
	CHECK_INT(rln_go(hold_main, NULL, NULL), ==, 0);
}

static long call_lock(void)
{
	int e = rln_lock(&mutex);

	if (!e)
		rln_unlock(&mutex); /* it is held */
	return e;
}

static const struct scene scene_rln_lock = {
	.setup = mutex_held, .call = call_lock, .satisfy = event_set, .teardown = event_set
};

/* ---- condition: the mutex is held on every return, so that leave() can unlock it */

static rln_cond cond;

static void cond_new(void)
{
	memset(&mutex, 0, sizeof mutex);
	memset(&cond, 0, sizeof cond);
}

static void cond_enter(void)
{
	CHECK_INT(rln_lock(&mutex), ==, 0);
}

static long call_cond(void)
{
	return rln_cond_wait(&cond, &mutex);
}

static void cond_signal(void)
{
	rln_cond_signal(&cond);
}

static void cond_leave(void)
{
	rln_unlock(&mutex);
}

static const struct scene scene_rln_cond_wait = { .setup = cond_new,
						  .enter = cond_enter,
						  .call = call_cond,
						  .satisfy = cond_signal,
						  .keep_on = true,
						  .leave = cond_leave };

/* ---- channels: an item 7 is moved once */

static rln_chan chan;

static void chan_new(void)
{
	CHECK_INT(rln_chan_open(&chan, sizeof(int), 0), ==, 0);
}

static void chan_free(void)
{
	int v;
	int r = rln_chan_try_recv(&chan, &v);

	CHECK(r == -EAGAIN || r == 0); /* nothing is left over */
	rln_chan_free(&chan, NULL);
}

static long call_chan_send(void)
{
	int v = 7;
	return rln_chan_send(&chan, &v);
}

static int other_received;

static int chan_take_main(void *arg)
{
	int v = 0, r = rln_chan_recv(&chan, &v);

	(void)arg;
	if (r == 1) {
		CHECK_INT(v, ==, 7);
		other_received++;
	}
	return 0;
}

/* Somebody who receives; there may be nobody yet who sends. */
static void chan_take(void)
{
	CHECK_INT(rln_go(chan_take_main, NULL, NULL), ==, 0);
}

static long call_chan_recv(void)
{
	int v = 0, r = rln_chan_recv(&chan, &v);

	if (r == 1)
		CHECK_INT(v, ==, 7);
	return r;
}

static int chan_give_main(void *arg)
{
	int v = 7;
	(void)arg;
	(void)rln_chan_send(&chan, &v);
	return 0;
}

static void chan_give(void)
{
	CHECK_INT(rln_go(chan_give_main, NULL, NULL), ==, 0);
}

static void chan_close(void)
{
	rln_chan_close(&chan);
}

static const struct scene scene_rln_chan_send = { .setup = chan_new,
						  .call = call_chan_send,
						  .satisfy = chan_take,
						  .close = chan_close,
						  .teardown = chan_free };
static const struct scene scene_rln_chan_recv = { .setup = chan_new,
						  .call = call_chan_recv,
						  .satisfy = chan_give,
						  .good = 1,
						  .close = chan_close,
						  .teardown = chan_free };

/* ---- select: over a channel and an event that is never set */

static long call_select(void)
{
	int v = 0;
	rln_event never = { { 0 } };
	rln_arm arms[] = { rln_on_recv(&chan, &v), rln_on_event(&never) };
	int r = rln_select(arms, 2);

	if (r == 0 && arms[0].res == 1)
		CHECK_INT(v, ==, 7);
	return r;
}

static const struct scene scene_rln_select = { .setup = chan_new,
					       .call = call_select,
					       .satisfy = chan_give,
					       .close = chan_close,
					       .teardown = chan_free };

/* ---- join: of a child whose parent lives on until teardown */

static rln_task child;
static rln_event parent_ends;

static int child_main(void *arg)
{
	(void)arg;
	return rln_event_wait(&event) ? -1 : 5;
}

static int parent_main(void *arg)
{
	(void)arg;
	CHECK_INT(rln_spawn(child_main, NULL, NULL, &child), ==, 0);
	rln_event_wait(&parent_ends);
	return 0;
}

static void child_new(void)
{
	event_new();
	memset(&parent_ends, 0, sizeof parent_ends);
	CHECK_INT(rln_go(parent_main, NULL, NULL), ==, 0);
}

static long call_join(void)
{
	int r = -99, e = rln_join(child, &r);
	return e ? e : r;
}

static void parent_end(void)
{
	rln_event_set(&parent_ends);
}

static const struct scene scene_rln_join = { .setup = child_new,
					     .call = call_join,
					     .satisfy = event_set,
					     .good = 5,
					     .teardown = parent_end };

/* ---- groups */

static rln_group group;

static void group_enter(void)
{
	rln_group_begin(&group);
	CHECK_INT(rln_group_spawn(&group, child_main, NULL), ==, 0);
}

static void group_leave(void)
{
	(void)rln_group_end(&group);
}

static long call_group_next(void)
{
	rln_child d;
	int r = rln_group_next(&group, &d);

	if (r == 1)
		CHECK_INT(d.result, ==, 5);
	return r;
}

/* On every return no child is left. */
static long call_group_wait(void)
{
	int r = rln_group_wait(&group);

	CHECK_INT(task_children(task_running()), ==, 0);
	return r;
}

static const struct scene scene_rln_group_next = { .setup = event_new,
						   .enter = group_enter,
						   .call = call_group_next,
						   .satisfy = event_set,
						   .good = 1,
						   .leave = group_leave };
static const struct scene scene_rln_group_wait = { .setup = event_new,
						   .enter = group_enter,
						   .call = call_group_wait,
						   .satisfy = event_set,
						   .leave = group_leave };

/* ---- between threads */

static rln_oneshot oneshot;

static void oneshot_new(void)
{
	memset(&oneshot, 0, sizeof oneshot);
}

static long call_oneshot(void)
{
	intptr_t v = 0;
	int e = rln_oneshot_wait(&oneshot, &v);
	return e ? e : (long)v;
}

static void oneshot_set(void)
{
	CHECK_INT(rln_oneshot_set(&oneshot, 8), ==, 0);
}

static void oneshot_abandon(void)
{
	rln_oneshot_abandon(&oneshot);
}

static const struct scene scene_rln_oneshot_wait = { .setup = oneshot_new,
						     .call = call_oneshot,
						     .satisfy = oneshot_set,
						     .good = 8,
						     .close = oneshot_abandon,
						     .teardown = oneshot_abandon };

static rln_notify notify;

static void notify_new(void)
{
	rln_notify_init(&notify);
}

static long call_notify(void)
{
	return rln_notify_wait(&notify);
}

static void notify_signal(void)
{
	rln_notify_signal(&notify);
}

static void notify_end(void)
{
	rln_notify_fini(&notify);
}

static const struct scene scene_rln_notify_wait = {
	.setup = notify_new, .call = call_notify, .satisfy = notify_signal, .teardown = notify_end
};

static rln_xchan *xchan;

static void xchan_new(void)
{
	CHECK_INT(rln_xchan_new(&rig.rt, 0, sizeof(int), 2, &xchan), ==, 0);
}

static long call_xchan(void)
{
	int v = 0, r = rln_xchan_recv(xchan, &v);

	if (r == 1)
		CHECK_INT(v, ==, 9);
	return r;
}

static void xchan_give(void)
{
	int v = 9;
	CHECK_INT(rln_xchan_try_send(xchan, &v), ==, 0);
}

static void xchan_close(void)
{
	rln_xchan_close(xchan);
}

static void xchan_end(void)
{
	rln_xchan_close(xchan);
	rln_xchan_unref(xchan);
}

static const struct scene scene_rln_xchan_recv = { .setup = xchan_new,
						   .call = call_xchan,
						   .satisfy = xchan_give,
						   .good = 1,
						   .close = xchan_close,
						   .teardown = xchan_end };

#endif
