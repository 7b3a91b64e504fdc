/* rln_notify: signals from threads and handlers, coalesced; what is under way at its end. */
#include "rig.h"

#include <signal.h>
#include <stdatomic.h>

static rln_notify n;

static void signal_it(void *arg)
{
	rln_notify_signal(arg);
}

TASK_TEST(notify_signals_before_the_wait_count_as_one)
{
	rln_notify_init(&n);
	for (int i = 0; i < 5; i++)
		rln_notify_signal(&n);
	CHECK_INT(rln_notify_wait(&n), ==, 0);
	CHECK_INT(RLN_WITHIN(RLN_MS(1), rln_notify_wait(&n)), ==, -ETIME);
	rln_notify_signal(&n);
	CHECK_INT(rln_yield(), ==, 0);
	CHECK_INT(rln_sleep(RLN_US(10)), ==, 0); /* it has reached the worker: pending there */
	rln_notify_signal(&n);
	CHECK_INT(rln_notify_wait(&n), ==, 0);
	rln_notify_fini(&n);
}

TASK_TEST(notify_signal_of_another_thread_ends_the_wait)
{
	struct peer p;

	rln_notify_init(&n);
	peer_start(&p, signal_it, &n);
	CHECK_INT(rln_notify_wait(&n), ==, 0);
	peer_join(&p);
	rln_notify_fini(&n);
}

TASK_TEST(notify_wait_cancelled_takes_no_signal)
{
	rln_notify_init(&n);
	CHECK_INT(RLN_WITHIN(RLN_US(1), rln_notify_wait(&n)), ==, -ETIME);
	rln_notify_signal(&n);
	CHECK_INT(RLN_WITHIN(0, rln_notify_wait(&n)), ==, -ETIME);
	CHECK_INT(rln_notify_wait(&n), ==, 0);
	rln_notify_fini(&n);
}

static int order;

static int wait_in_turn(void *arg)
{
	CHECK_INT(rln_notify_wait(&n), ==, 0);
	CHECK_INT(order++, ==, (intptr_t)arg);
	return 0;
}

TASK_TEST(notify_each_signal_wakes_the_longest_waiter)
{
	rln_task t[3];

	rln_notify_init(&n);
	for (intptr_t i = 0; i < 3; i++)
		CHECK_INT(rln_spawn(wait_in_turn, (void *)i, NULL, &t[i]), ==, 0);
	CHECK_INT(rln_yield(), ==, 0);
	for (int i = 0; i < 3; i++) {
		rln_notify_signal(&n);
		CHECK_INT(rln_join(t[i], NULL), ==, 0);
		CHECK_INT(order, ==, i + 1);
	}
	rln_notify_fini(&n);
}

TASK_TEST(notify_ended_with_a_signal_under_way_leaves_nothing)
{
	for (int i = 0; i < 3; i++) {
		rln_notify *heap = malloc(sizeof *heap);
		rln_notify_init(heap);
		rln_notify_signal(heap); /* to be run in the next turn */
		if (i)
			CHECK_INT(rln_notify_wait(heap), ==, 0);
		rln_notify_fini(heap);
		memset(heap, 0x5a, sizeof *heap);
		free(heap);
	}
	CHECK_INT(rln_yield(), ==, 0);
	CHECK_INT(rln_sleep(RLN_MS(1)), ==, 0);
}

static int wait_elsewhere(void *arg)
{
	CHECK_INT(rln_notify_wait(&n), ==, -EXDEV);
	rln_notify_signal(arg);
	return 0;
}

TASK_TEST_CFG(notify_of_another_worker_is_exdev_to_wait_and_fine_to_signal, .workers = 2)
{
	rln_notify_init(&n);
	CHECK_INT(rln_go_on(NULL, 1, wait_elsewhere, &n, NULL), ==, 0);
	CHECK_INT(rln_notify_wait(&n), ==, 0);
	rln_notify_fini(&n);
}

static void fini_waited_for(void)
{
	rln_notify_fini(&n);
}

static int wait_for_ever(void *arg)
{
	(void)arg;
	return rln_notify_wait(&n);
}

static void misuse_main(void)
{
	rln_notify_init(&n);
	CHECK_INT(rln_go(wait_for_ever, NULL, NULL), ==, 0);
	CHECK_INT(rln_yield(), ==, 0);
	fini_waited_for();
}

static void run_misuse(void)
{
	in_task_cfg((rln_config){ .workers = 1 }, misuse_main);
}

static void init_off_worker(void)
{
	rln_notify_init(&n);
}

TEST(notify_misuse_aborts_with_a_message)
{
	CHECK_DIES(run_misuse, SIGABRT, "while a task waits");
	CHECK_DIES(init_off_worker, SIGABRT, "no worker");
	CHECK_INT(rln_notify_wait(&n), ==, -EPERM);
}

/* ---- signal handlers */
static atomic_bool bound;

static void on_usr1(int sig)
{
	(void)sig;
	if (atomic_load(&bound)) /* what ThreadSanitizer understands of a signal's order */
		rln_notify_signal(&n);
}

static void raise_usr1(void *arg)
{
	(void)arg;
	CHECK(kill(getpid(), SIGUSR1) ==
	      0); /* this thread blocks it, like the worker that made it */
}

TASK_TEST(notify_signalled_in_a_handler_ends_the_wait)
{
	struct sigaction act = { .sa_handler = on_usr1 };
	struct peer p;

	CHECK(sigaction(SIGUSR1, &act, NULL) == 0);
	rln_notify_init(&n);
	atomic_store(&bound, true);
	for (int i = 0; i < 20; i++) {
		peer_start(&p, raise_usr1, NULL);
		CHECK_INT(rln_notify_wait(&n), ==, 0);
		peer_join(&p);
	}
	rln_notify_fini(&n);
}

/* Stress: no signal that comes after a wait began is lost: every count published is seen. */
enum { THREADS = 3, COUNT = 4000 };
static atomic_uint published;

static void publish(void *arg)
{
	(void)arg;
	for (int i = 0; i < COUNT; i++) {
		atomic_fetch_add(&published, 1);
		rln_notify_signal(&n);
	}
}

TASK_TEST(notify_stress_loses_no_last_signal)
{
	struct peer p[THREADS];

	rln_notify_init(&n);
	for (int i = 0; i < THREADS; i++)
		peer_start(&p[i], publish, NULL);
	while (atomic_load(&published) < THREADS * COUNT)
		CHECK_INT(RLN_WITHIN(RLN_SEC(20), rln_notify_wait(&n)), ==, 0);
	for (int i = 0; i < THREADS; i++)
		peer_join(&p[i]);
	rln_notify_fini(&n);
}

static int end_at_once(void *arg)
{
	(void)arg;
	rln_notify_init(&n);
	atomic_store(&bound, true);
	return 0;
}

/* The worker is gone, its runtime is not: a signal does nothing. */
TEST(notify_signalled_while_the_worker_stops_is_harmless)
{
	rln_config cfg = { .workers = 1, .no_pin = true, .main = end_at_once };
	rln_runtime *rt;

	CHECK_INT(rln_start(&cfg, &rt), ==, 0);
	EVENTUALLY(atomic_load(&bound));
	while (rln_post(rt, 0, signal_it, &n) != -ESHUTDOWN)
		poll(NULL, 0, 0);
	rln_notify_signal(&n);
	rln_notify_signal(&n);
	CHECK_INT(rln_wait(rt), ==, 0);
}
