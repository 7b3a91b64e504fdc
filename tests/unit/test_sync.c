/* Event, semaphore, mutex, condition, and task-local storage. */
#include "ringline/sync.h"
#include "task_fixture.h"

static rln_event event;
static rln_sem sem;
static rln_mutex mutex;
static rln_cond cond;
static int log_[64], logs, result = 99;

static void note(int v)
{
	CHECK_INT(logs, <, 64);
	log_[logs++] = v;
}

static void up(void)
{
	sched_up(&(struct sched_config){ 0 });
}

static struct task *n(int (*fn)(void *), intptr_t v)
{
	struct task *t = go(fn, (void *)v);
	turn();
	return t;
}

/* ---- event */

static int await_event(void *arg)
{
	int r = rln_event_wait(&event);
	note(r ? r : (int)(intptr_t)arg);
	return 0;
}

static int select_event(void *arg)
{
	rln_arm arms[] = { rln_on_sem(&sem), rln_on_event(&event) };
	int r = rln_select(arms, 2);
	(void)arg;
	note(r < 0 ? r : 100 + r);
	return 0;
}

TEST(event_set_ends_every_wait_and_stays)
{
	up();
	n(await_event, 1);
	n(select_event, 0);
	n(await_event, 2);
	CHECK_INT(logs, ==, 0);
	rln_event_set(&event);
	turn();
	n(await_event, 3);
	rln_event_set(&event);
	static const int want[] = { 1, 101, 2, 3 };
	CHECK_INT(logs, ==, 4);
	CHECK(!memcmp(log_, want, sizeof want));
	n(select_event, 0);
	CHECK_INT(log_[4], ==, 101);
	sched_down();
}

TEST(event_wait_cancelled_leaves_it)
{
	up();
	struct task *t = n(await_event, 1);
	task_cancel(t);
	turn();
	CHECK_INT(log_[0], ==, -ECANCELED);
	t = n(await_event, 2);
	rln_event_set(&event);
	task_cancel(t); /* too late */
	turn();
	CHECK_INT(log_[1], ==, 2);
	sched_down();
}

/* ---- semaphore */

static int take(void *arg)
{
	int r = rln_sem_take(&sem);
	note(r ? r : (int)(intptr_t)arg);
	return 0;
}

TEST(sem_permits_go_to_waiters_in_their_order)
{
	up();
	rln_sem_post(&sem, 1);
	n(take, 1); /* at once */
	CHECK_INT(logs, ==, 1);
	for (int i = 2; i < 5; i++)
		n(take, i);
	rln_sem_post(&sem, 2);
	n(take, 5); /* the two permits are the waiting ones': no barging */
	CHECK_INT(logs, ==, 3);
	rln_sem_post(&sem, 4);
	turn();
	n(take, 6);
	n(take, 7);
	for (int i = 0; i < 7; i++)
		CHECK_INT(log_[i], ==, i + 1);
	CHECK_INT(logs, ==, 7);
	n(select_event, 0);
	CHECK_INT(logs, ==, 7);
	rln_sem_post(&sem, 1);
	turn();
	CHECK_INT(log_[7], ==, 100);
	sched_down();
}

TEST(sem_cancelled_takes_no_permit_and_handed_over_keeps_it)
{
	up();
	struct task *a = n(take, 1), *b = n(take, 2);
	task_cancel(a);
	rln_sem_post(&sem, 1); /* goes to b */
	task_cancel(b);
	turn();
	CHECK_INT(log_[0], ==, -ECANCELED);
	CHECK_INT(log_[1], ==, 2);
	rln_sem_post(&sem, 1);
	n(take, 3);
	CHECK_INT(log_[2], ==, 3);
	sched_down();
}

/* ---- mutex */

static int lock_yield_unlock(void *arg)
{
	int me = (int)(intptr_t)arg;

	for (int i = 0; i < 3; i++) {
		int r = rln_lock(&mutex);
		if (r) {
			note(r);
			return 0;
		}
		note(me);
		CHECK_INT(rln_lock(&mutex), ==, -EDEADLK);
		rln_yield();
		note(-me);
		rln_unlock(&mutex);
	}
	return 0;
}

/* One that unlocks and locks again at once does not starve the others. */
TEST(mutex_is_handed_over_in_order_without_barging)
{
	up();
	for (intptr_t i = 1; i < 4; i++)
		go(lock_yield_unlock, (void *)i);
	sched_down();
	CHECK_INT(logs, ==, 18);
	for (int i = 0; i < 9; i++) {
		CHECK_INT(log_[2 * i], ==, i % 3 + 1);
		CHECK_INT(log_[2 * i + 1], ==, -(i % 3 + 1));
	}
}

static int hold(void *arg)
{
	CHECK_INT(rln_lock(&mutex), ==, 0);
	result = rln_event_wait(arg);
	rln_unlock(&mutex);
	return 0;
}

static int lock_once(void *arg)
{
	int r = rln_lock(&mutex);

	note(r ? r : (int)(intptr_t)arg);
	if (!r) {
		CHECK_INT(rln_yield(), ==, -ECANCELED); /* it stays pending */
		rln_unlock(&mutex);
	}
	return 0;
}

static struct task *victim;

static int unlock_and_cancel(void *arg)
{
	CHECK_INT(rln_lock(&mutex), ==, 0);
	CHECK_INT(rln_event_wait(arg), ==, 0);
	rln_unlock(&mutex);
	task_cancel(victim);		    /* it is the owner, and has not run */
	CHECK_INT(rln_lock(&mutex), ==, 0); /* behind it */
	rln_unlock(&mutex);
	return 0;
}

TEST(mutex_cancelled_is_not_held_and_handed_over_is)
{
	up();
	n(unlock_and_cancel, (intptr_t)&event);
	struct task *a = n(lock_once, 1);
	victim = n(lock_once, 2);
	task_cancel(a);
	turn();
	CHECK_INT(log_[0], ==, -ECANCELED);
	rln_event_set(&event);
	sched_down();
	CHECK_INT(log_[1], ==, 2);
	CHECK_INT(logs, ==, 2);
}

static int unlock_not_locked(void *arg)
{
	(void)arg;
	rln_unlock(&mutex);
	return 0;
}
static void die_unlocked(void)
{
	run(unlock_not_locked);
}
static void die_foreign(void)
{
	up();
	n(hold, (intptr_t)&event);
	n(unlock_not_locked, 0);
}
static int wait_unlocked(void *arg)
{
	(void)arg;
	return rln_cond_wait(&cond, &mutex);
}
static void die_cond(void)
{
	run(wait_unlocked);
}
static void die_set(void)
{
	rln_event_set(&event);
}
static void die_post(void)
{
	up();
	rln_sem_post(&sem, 4000000000u);
	rln_sem_post(&sem, 4000000000u);
}

TEST(sync_misuse_aborts_and_says_what)
{
	CHECK_DIES(die_unlocked, SIGABRT, "rln_unlock called for a mutex that is not locked");
	CHECK_DIES(die_foreign, SIGABRT, "for a mutex that task test (spawned here.c:7) holds");
	CHECK_DIES(die_cond, SIGABRT, "rln_cond_wait called for a mutex that is not locked");
	CHECK_DIES(die_set, SIGABRT, "rln_event_set called from a thread that is no worker");
	CHECK_DIES(die_post, SIGABRT, "too many");
}

TEST(sync_waits_in_callbacks_are_refused)
{
	CHECK_INT(rln_event_wait(&event), ==, -EPERM);
	up();
	CHECK_INT(rln_event_wait(&event), ==, -EDEADLK);
	CHECK_INT(rln_sem_take(&sem), ==, -EDEADLK);
	CHECK_INT(rln_lock(&mutex), ==, -EDEADLK);
	CHECK_INT(rln_cond_wait(&cond, &mutex), ==, -EDEADLK);
	rln_event_set(&event); /* those that do not wait are legal */
	rln_sem_post(&sem, 1);
	rln_cond_signal(&cond);
	rln_cond_broadcast(&cond);
	sched_down();
}

/* ---- condition */

static int await_cond(void *arg)
{
	CHECK_INT(rln_lock(&mutex), ==, 0);
	int r = rln_cond_wait(&cond, &mutex);
	note(r ? r : (int)(intptr_t)arg);
	rln_unlock(&mutex); /* held, however it ended */
	return 0;
}

TEST(cond_signal_wakes_the_first_broadcast_all)
{
	up();
	for (int i = 1; i < 5; i++)
		n(await_cond, i);
	rln_cond_signal(&cond);
	turn();
	CHECK_INT(logs, ==, 1);
	rln_cond_broadcast(&cond);
	turn();
	turn();
	for (int i = 0; i < 4; i++)
		CHECK_INT(log_[i], ==, i + 1);
	CHECK_INT(logs, ==, 4);
	rln_cond_signal(&cond); /* for nobody: not kept */
	n(await_cond, 5);
	CHECK_INT(logs, ==, 4);
	rln_cond_signal(&cond);
	sched_down();
	CHECK_INT(log_[4], ==, 5);
}

TEST(cond_cancelled_holds_the_mutex_again_before_it_returns)
{
	up();
	struct task *t = n(await_cond, 1);
	n(hold, (intptr_t)&event);
	task_cancel(t);
	turn();
	turn();
	CHECK_INT(logs, ==, 0); /* the mutex is another's */
	rln_event_set(&event);
	sched_down();
	CHECK_INT(log_[0], ==, -ECANCELED);
	CHECK_INT(logs, ==, 1);
}

TEST(cond_signal_before_the_cancellation_is_not_lost)
{
	up();
	struct task *a = n(await_cond, 1), *b = n(await_cond, 2);
	rln_cond_signal(&cond);
	task_cancel(a); /* it was signalled */
	turn();
	CHECK_INT(log_[0], ==, 1);
	task_cancel(b);
	rln_cond_signal(&cond); /* nobody waits any more */
	sched_down();
	CHECK_INT(log_[1], ==, -ECANCELED);
}

/* ---- task-local storage */

static rln_key key, plain;

static void destroy(void *v)
{
	note((int)(intptr_t)v);
	if ((intptr_t)v == 1) /* once more */
		CHECK_INT(rln_key_set(key, (void *)2), ==, 0);
}

static int use_keys(void *arg)
{
	CHECK(rln_key_get(key) == NULL);
	CHECK_INT(rln_key_set(key, arg), ==, 0);
	CHECK_INT(rln_key_set(plain, arg), ==, 0);
	CHECK_INT(rln_yield(), ==, 0);
	CHECK(rln_key_get(key) == arg);
	CHECK(rln_key_get(plain) == arg);
	if ((intptr_t)arg == 7)
		CHECK_INT(rln_key_set(key, NULL), ==, 0);
	CHECK_INT(rln_key_set((rln_key){ 0 }, arg), ==, -EINVAL);
	CHECK_INT(rln_key_set((rln_key){ 999 }, arg), ==, -EINVAL);
	CHECK(rln_key_get((rln_key){ 999 }) == NULL);
	return 0;
}

TEST(keys_are_each_tasks_own_and_destroyed_with_it)
{
	CHECK_INT(rln_key_new(NULL, destroy), ==, -EINVAL);
	CHECK_INT(rln_key_new(&key, destroy), ==, 0);
	CHECK_INT(rln_key_new(&plain, NULL), ==, 0);
	CHECK_INT(rln_key_set(key, &key), ==, -EPERM);
	up();
	CHECK_INT(rln_key_set(key, &key), ==, -EDEADLK);
	CHECK(rln_key_get(key) == NULL);
	go(use_keys, (void *)5);
	go(use_keys, (void *)7); /* takes its value back: no destructor */
	go(use_keys, (void *)1);
	sched_down();
	static const int want[] = { 5, 1, 2 };
	CHECK_INT(logs, ==, 3);
	CHECK(!memcmp(log_, want, sizeof want));
}

TEST(keys_run_out)
{
	for (int i = 0; i < RLN_KEYS_MAX; i++)
		CHECK_INT(rln_key_new(&key, NULL), ==, 0);
	CHECK_INT(rln_key_new(&key, NULL), ==, -EAGAIN);
}
