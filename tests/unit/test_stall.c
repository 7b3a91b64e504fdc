/* When a stall is reported, and how the stack of another thread is read. */
#include "base/sys.h"
#include "loop/loop.h"
#include "rt/stall.h"
#include "test.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <unistd.h>

#define MS INT64_C(1000000)
#define WARN (500 * MS)
#define PERIOD (WARN / 2)

TEST(stall_is_told_once_and_again_only_for_the_next)
{
	struct stall_watch s = { 0 };
	int64_t now = 1000 * MS, since = now - 10 * MS;
	unsigned told = 0;

	for (int i = 0; i < 20; i++, now += PERIOD) {
		bool tell = stall_look(&s, since, now, WARN);
		told += tell;
		if (tell) {
			CHECK_INT(now - since, >, WARN);
			CHECK_INT(now - since, <=, WARN + PERIOD);
		}
	}
	CHECK_INT(told, ==, 1);
	since = now - 1 * MS;
	for (int i = 0; i < 20; i++, now += PERIOD)
		told += stall_look(&s, since, now, WARN);
	CHECK_INT(told, ==, 2);
}

TEST(stall_of_a_worker_that_waits_is_never_told)
{
	struct stall_watch s = { 0 };

	for (int64_t now = 0; now < 100 * WARN; now += PERIOD)
		CHECK(!stall_look(&s, 0, now, WARN));
}

TEST(stall_of_a_busy_worker_that_comes_back_is_never_told)
{
	struct stall_watch s = { 0 };

	/* a new stretch between any two looks, however long each of them is */
	for (int64_t now = 10 * WARN; now < 100 * WARN; now += PERIOD)
		CHECK(!stall_look(&s, now - 2 * WARN, now, WARN));
}

TEST(stall_is_not_inferred_from_a_time_in_which_nobody_ran)
{
	struct stall_watch s = { 0 };
	int64_t now = 1000 * MS, since = now;

	CHECK(!stall_look(&s, since, now, WARN));
	/* the process was stopped for an hour; the worker goes on a moment later */
	now += 3600 * 1000 * MS;
	CHECK(!stall_look(&s, since, now, WARN));
	CHECK(!stall_look(&s, now + 1 * MS, now + PERIOD, WARN));
	/* but if it does not, it is told */
	struct stall_watch stays = { 0 };
	CHECK(!stall_look(&stays, since, now, WARN));
	CHECK(stall_look(&stays, since, now + PERIOD, WARN));
}

TEST(stall_period_is_half_and_bounded)
{
	CHECK_INT(stall_period(WARN), ==, PERIOD);
	CHECK_INT(stall_period(1), ==, 1 * MS);
	CHECK_INT(stall_period(INT64_MAX - 1), <=, INT64_MAX / 2);
}

/* --- stacks of other threads --- */

struct subject {
	sem_t ready;
	sem_t go_on; /* ThreadSanitizer lets signals through in few calls; this is one */
	atomic_int tid;
	bool blocked; /* takes no signals */
	int got;
};

static __attribute__((noinline)) int stand_still(struct subject *s)
{
	sem_post(&s->ready);
	while (sem_wait(&s->go_on) < 0)
		CHECK_INT(errno, ==, EINTR);
	return s->got;
}

static __attribute__((noinline)) int outer_function(struct subject *s)
{
	return stand_still(s) + 1;
}

static void *subject_main(void *arg)
{
	struct subject *s = arg;
	sigset_t all;

	sigfillset(&all);
	if (s->blocked)
		pthread_sigmask(SIG_BLOCK, &all, NULL);
	atomic_store(&s->tid, sys_thread_id());
	CHECK_INT(outer_function(s), ==, 1);
	return NULL;
}

static void subject_start(struct subject *s, pthread_t *id)
{
	CHECK(sem_init(&s->ready, 0, 0) == 0 && sem_init(&s->go_on, 0, 0) == 0);
	CHECK(pthread_create(id, NULL, subject_main, s) == 0);
	CHECK(sem_wait(&s->ready) == 0);
}

static void subject_end(struct subject *s, pthread_t id)
{
	CHECK(sem_post(&s->go_on) == 0);
	CHECK(pthread_join(id, NULL) == 0);
}

static int looked_on;

static void look(void *arg)
{
	CHECK(arg == &looked_on);
	looked_on = sys_thread_id();
}

static bool inside(const void *addr, const void *fn)
{
	return addr >= fn && (const char *)addr < (const char *)fn + 512;
}

TEST(sys_thread_trace_finds_the_functions_another_thread_is_in)
{
	struct subject s = { .blocked = false };
	void *frame[32];
	char name[256];
	pthread_t id;
	int at = -1;

#if defined(__SANITIZE_THREAD__)
	SKIP("ThreadSanitizer calls handlers from functions of its own, at times of its own");
#endif
	CHECK_INT(sys_trace_open(), >=, SIGRTMIN);
	CHECK_INT(sys_trace_open(), ==, sys_trace_open()); /* once a process */
	subject_start(&s, &id);
	for (int round = 0; round < 3; round++) {
		int n = sys_thread_trace(s.tid, frame, 32, 10000 * MS, look, &looked_on);
		CHECK_INT(n, >, 2);
		CHECK_INT(looked_on, ==, s.tid);
		for (at = 0; at < n && !inside(frame[at], (void *)stand_still); at++)
			;
		CHECK_INT(at + 2, <, n);
		CHECK(inside(frame[at + 1], (void *)outer_function));
		CHECK(inside(frame[at + 2], (void *)subject_main));
	}
	sys_symbol(frame[at], name, sizeof name);
	CHECK_HAS(name, "test_stall(");
	CHECK_INT(sys_thread_trace(s.tid, frame, 2, 10000 * MS, NULL, NULL), ==, 2);
	subject_end(&s, id);
	/* A thread that was joined may still be on its way out. */
	while (syscall(SYS_tgkill, getpid(), s.tid, 0) == 0)
		sched_yield();
	CHECK_INT(sys_thread_trace(s.tid, frame, 32, 10000 * MS, look, &looked_on), ==, -ESRCH);
	sys_symbol((void *)16, name, sizeof name);
	CHECK_STR(name, "?");
	sys_symbol((void *)sem_post, name, sizeof name);
	CHECK_HAS(name, "sem_post+0");
}

TEST(sys_thread_trace_of_one_that_takes_no_signals_gives_up)
{
	struct subject s = { .blocked = true };
	void *frame[32];
	pthread_t id;

	CHECK_INT(sys_trace_open(), >=, SIGRTMIN);
	subject_start(&s, &id);
	looked_on = 0;
	CHECK_INT(sys_thread_trace(s.tid, frame, 32, 20 * MS, look, &looked_on), ==, -ETIMEDOUT);
	CHECK_INT(looked_on, ==, 0);
	subject_end(&s, id);
}

static void stray(int signo)
{
	(void)signo;
}

TEST(sys_thread_trace_never_sends_a_signal_that_is_not_its_own)
{
	void *frame[32];
	int signo;

	/* in use: left alone */
	CHECK(signal(SIGRTMAX, stray) != SIG_ERR);
	CHECK(signal(SIGRTMAX - 1, SIG_IGN) != SIG_ERR);
	CHECK_INT(sys_thread_trace(sys_thread_id(), frame, 32, MS, NULL, NULL), ==, -EBUSY);
	signo = sys_trace_open();
	CHECK_INT(signo, ==, SIGRTMAX - 2);
	CHECK_INT(sys_thread_trace(sys_thread_id(), frame, 32, MS, NULL, NULL), >, 0);
	/* one that nobody asked for does nothing */
	CHECK(raise(signo) == 0);
	/* taken away: its default would end the process */
	CHECK(signal(signo, SIG_DFL) != SIG_ERR);
	CHECK_INT(sys_thread_trace(sys_thread_id(), frame, 32, MS, NULL, NULL), ==, -EBUSY);
}

static void use_all_up(void)
{
	for (int s = SIGRTMIN; s <= SIGRTMAX; s++)
		CHECK(signal(s, stray) != SIG_ERR);
}

TEST(sys_trace_without_a_free_signal_is_refused)
{
	use_all_up();
	CHECK_INT(sys_trace_open(), ==, -EBUSY);
}
