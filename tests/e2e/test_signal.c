/* rln_signal_wait and its arm: who hears of a signal, what is kept, what is restored. */
#include "rig.h"

#include <signal.h>
#include <stdatomic.h>

static void send_signal(int signo)
{
	CHECK(kill(getpid(), signo) == 0); /* workers block it: the thread in rln_wait() gets it */
}

static atomic_int waiting, heard;

static int wait_for(void *arg)
{
	int signo = (int)(intptr_t)arg;

	atomic_fetch_add(&waiting, 1);
	CHECK_INT(rln_signal_wait(signo), ==, 0);
	atomic_fetch_add(&heard, 1);
	return 0;
}

static void start_waiters(int n, int signo, rln_task *t)
{
	for (int i = 0; i < n; i++)
		CHECK_INT(rln_spawn(wait_for, (void *)(intptr_t)signo, NULL, &t[i]), ==, 0);
	CHECK_INT(rln_yield(), ==, 0);
	CHECK_INT(atomic_load(&waiting), ==, n);
}

TASK_TEST(signal_ends_the_waits_of_all_tasks_that_wait_for_it)
{
	rln_task t[3], other;

	start_waiters(3, SIGHUP, t);
	CHECK_INT(rln_spawn(wait_for, (void *)SIGUSR2, NULL, &other), ==, 0);
	CHECK_INT(rln_yield(), ==, 0);
	send_signal(SIGHUP);
	for (int i = 0; i < 3; i++)
		CHECK_INT(rln_join(t[i], NULL), ==, 0);
	CHECK_INT(atomic_load(&heard), ==, 3);
	send_signal(SIGUSR2);
	CHECK_INT(rln_join(other, NULL), ==, 0);
}

TASK_TEST(signal_that_comes_between_two_waits_is_kept_once)
{
	CHECK_INT(RLN_WITHIN(RLN_US(1), rln_signal_wait(SIGHUP)), ==, -ETIME); /* listens now */
	send_signal(SIGHUP);
	CHECK_INT(rln_signal_wait(SIGHUP), ==, 0);
	send_signal(SIGHUP);
	send_signal(SIGHUP);
	CHECK_INT(rln_signal_wait(SIGHUP), ==, 0);
	/* the second may have come before or after that: then it is there, once */
	int e = RLN_WITHIN(RLN_MS(20), rln_signal_wait(SIGHUP));
	CHECK(e == 0 || e == -ETIME);
	CHECK_INT(RLN_WITHIN(RLN_MS(1), rln_signal_wait(SIGHUP)), ==, -ETIME);
}

TASK_TEST(signal_wait_cancelled_takes_nothing)
{
	CHECK_INT(RLN_WITHIN(0, rln_signal_wait(SIGHUP)), ==, -ETIME); /* before it listens */
	CHECK_INT(RLN_WITHIN(RLN_US(1), rln_signal_wait(SIGHUP)), ==, -ETIME);
	send_signal(SIGHUP);
	CHECK_INT(rln_sleep(RLN_MS(5)), ==, 0);
	CHECK_INT(RLN_WITHIN(0, rln_signal_wait(SIGHUP)), ==, -ETIME);
	CHECK_INT(rln_signal_wait(SIGHUP), ==, 0);
}

TASK_TEST(signal_that_cannot_be_waited_for_is_einval)
{
	static const int bad[] = { 0,	    -1,	    65,	    1000,   SIGKILL, SIGSTOP,
				   SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS };

	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		CHECK_INT(rln_signal_wait(bad[i]), ==, -EINVAL);
		rln_arm a = rln_on_signal(bad[i]);
		CHECK_INT(rln_select(&a, 1), ==, 0);
		CHECK_INT(a.res, ==, -EINVAL);
	}
}

TASK_TEST(signal_arm_wins_or_leaves_the_signal)
{
	rln_arm a[2] = { rln_on_signal(SIGHUP), rln_on_after(RLN_MS(1)) };

	CHECK_INT(rln_select(a, 2), ==, 1);
	send_signal(SIGHUP);
	a[1] = rln_on_after(RLN_SEC(20));
	CHECK_INT(rln_select(a, 2), ==, 0);
	CHECK_INT(a[0].res, ==, 0);
	send_signal(SIGHUP);
	CHECK_INT(rln_signal_wait(SIGHUP), ==, 0); /* what the arm has, the call has too */
	CHECK_INT(RLN_WITHIN(RLN_MS(1), rln_select(a, 1)), ==, -ETIME);
}

static int wait_on_worker(void *arg)
{
	(void)arg;
	atomic_fetch_add(&waiting, 1);
	CHECK_INT(rln_signal_wait(SIGHUP), ==, 0);
	atomic_fetch_add(&heard, 1);
	return 0;
}

TASK_TEST_CFG(signal_reaches_every_worker, .workers = 3)
{
	for (unsigned i = 0; i < 3; i++)
		CHECK_INT(rln_go_on(NULL, i, wait_on_worker, NULL, NULL), ==, 0);
	TASK_EVENTUALLY(atomic_load(&waiting) == 3);
	while (atomic_load(&heard) < 3) { /* each may have begun to wait a moment later */
		send_signal(SIGHUP);
		CHECK_INT(rln_sleep(RLN_MS(1)), ==, 0);
	}
}

static void in_callback(void *arg)
{
	CHECK_INT(rln_signal_wait(SIGHUP), ==, -EDEADLK);
	*(bool *)arg = true;
}

TASK_TEST(signal_needs_a_task)
{
	bool ran = false;

	CHECK_INT(rln_post(NULL, 0, in_callback, &ran), ==, 0);
	TASK_EVENTUALLY(ran);
}

static atomic_int before;

static void on_before(int signo)
{
	(void)signo;
	atomic_fetch_add(&before, 1);
}

static void listen_once(void)
{
	CHECK_INT(RLN_WITHIN(RLN_US(1), rln_signal_wait(SIGUSR1)), ==, -ETIME);
	send_signal(SIGUSR1);
	CHECK_INT(rln_signal_wait(SIGUSR1), ==, 0);
}

TEST(signal_does_what_it_did_before_when_the_runtime_has_ended)
{
	struct sigaction act = { .sa_handler = on_before }, now;

	CHECK(sigaction(SIGUSR1, &act, NULL) == 0);
	for (int i = 1; i <= 2; i++) {
		in_task_cfg((rln_config){ .workers = 1 }, listen_once);
		CHECK_INT(atomic_load(&before), ==, i - 1);
		CHECK(sigaction(SIGUSR1, NULL, &now) == 0);
		CHECK(now.sa_handler == on_before);
		CHECK(raise(SIGUSR1) == 0);
		CHECK_INT(atomic_load(&before), ==, i);
	}
}

static void listen_realtime(void)
{
	CHECK_INT(rln_signal_wait(SIGRTMIN), ==, -EBUSY);
	CHECK_INT(RLN_WITHIN(RLN_US(1), rln_signal_wait(SIGRTMIN + 1)), ==, -ETIME);
	send_signal(SIGRTMIN + 1);
	CHECK_INT(rln_signal_wait(SIGRTMIN + 1), ==, 0);
}

TEST(signal_of_realtime_that_somebody_uses_is_ebusy)
{
	struct sigaction act = { .sa_handler = on_before };

	CHECK(sigaction(SIGRTMIN, &act, NULL) == 0);
	in_task_cfg((rln_config){ .workers = 1 }, listen_realtime);
}

/* rln_main: a program that waits for SIGTERM itself is not shut down by it. */
static int handle_term(void *arg)
{
	(void)arg;
	CHECK_INT(RLN_WITHIN(RLN_US(1), rln_signal_wait(SIGTERM)), ==, -ETIME);
	send_signal(SIGTERM);
	CHECK_INT(rln_signal_wait(SIGTERM), ==, 0);
	rln_arm draining[] = { rln_on_draining(), rln_on_after(0) };
	CHECK_INT(rln_select(draining, 2), ==, 1);
	return 5;
}

TEST(signal_waited_for_in_rln_main_is_the_programs)
{
	/* often: the task waits while rln_main() still begins */
	for (int i = 0; i < 30; i++)
		CHECK_INT(rln_main(&(rln_config){
				  .workers = 1, .no_pin = true, .main = handle_term }),
			  ==, 5);
}

/* Stress: runtimes that end while signals come. */
static atomic_bool stop;

static void *storm(void *arg)
{
	(void)arg;
	while (!atomic_load(&stop))
		pthread_kill(pthread_self(), SIGUSR1);
	return NULL;
}

static void listen_a_while(void)
{
	for (int i = 0; i < 20; i++)
		CHECK_INT(rln_signal_wait(SIGUSR1), ==, 0);
}

TEST(signal_storm_while_runtimes_end_is_harmless)
{
	struct sigaction act = { .sa_handler = on_before };
	pthread_t t;

	CHECK(sigaction(SIGUSR1, &act, NULL) == 0);
	CHECK(pthread_create(&t, NULL, storm, NULL) == 0);
	for (int i = 0; i < 20; i++)
		in_task_cfg((rln_config){ .workers = 2 }, listen_a_while);
	atomic_store(&stop, true);
	CHECK(pthread_join(t, NULL) == 0);
}
