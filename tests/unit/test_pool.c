/* Helper threads: how many start and when, order, taking back, and the end. */
#include "base/sys.h"
#include "test.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

struct work {
	struct sys_job job;
	int id;
};

static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER; /* held: jobs that ask for it wait */
static atomic_int begun, ended;
static atomic_int order[64];
static struct sys_pool *pool;

static void run_gated(struct sys_job *job)
{
	struct work *w = (struct work *)job;

	atomic_store(&order[atomic_fetch_add(&begun, 1)], w->id);
	pthread_mutex_lock(&gate);
	pthread_mutex_unlock(&gate);
	atomic_fetch_add(&ended, 1);
}

static void until(atomic_int *n, int value)
{
	while (atomic_load(n) < value)
		poll(NULL, 0, 1);
}

static struct work *works(int n)
{
	struct work *w = calloc((size_t)n, sizeof *w);
	for (int i = 0; i < n; i++)
		w[i] = (struct work){ .job.run = run_gated, .id = i };
	return w;
}

static void submit(struct work *w, int n)
{
	for (int i = 0; i < n; i++)
		CHECK_INT(sys_pool_submit(pool, &w[i].job), ==, 0);
}

TEST(pool_starts_no_thread_before_there_is_work)
{
	CHECK_INT(sys_pool_open(&pool, 4, 8, true), ==, 0);
	CHECK_INT(sys_pool_threads(pool), ==, 0);
	sys_pool_close(pool);
}

TEST(pool_grows_to_its_maximum_while_all_are_busy_and_no_further)
{
	struct work *w = works(8);

	CHECK_INT(sys_pool_open(&pool, 2, 5, true), ==, 0);
	pthread_mutex_lock(&gate);
	submit(w, 8);
	until(&begun, 5);
	CHECK_INT(sys_pool_threads(pool), ==, 5);
	CHECK_INT(atomic_load(&begun), ==, 5);
	pthread_mutex_unlock(&gate);
	until(&ended, 8);
	sys_pool_close(pool);
	free(w);
}

TEST(pool_of_one_thread_runs_jobs_in_order_and_reuses_it)
{
	struct work *w = works(20);

	CHECK_INT(sys_pool_open(&pool, 1, 1, true), ==, 0);
	pthread_mutex_lock(&gate);
	submit(w, 20);
	pthread_mutex_unlock(&gate);
	until(&ended, 20);
	for (int i = 0; i < 20; i++)
		CHECK_INT(atomic_load(&order[i]), ==, i);
	CHECK_INT(sys_pool_threads(pool), ==, 1);
	sys_pool_close(pool);
	free(w);
}

TEST(pool_job_withdrawn_before_it_began_never_runs)
{
	struct work *w = works(4);

	CHECK_INT(sys_pool_open(&pool, 1, 1, true), ==, 0);
	pthread_mutex_lock(&gate);
	submit(w, 4);
	until(&begun, 1);
	CHECK(!sys_pool_withdraw(pool, &w[0].job)); /* it has begun */
	CHECK(sys_pool_withdraw(pool, &w[2].job));
	CHECK(!sys_pool_withdraw(pool, &w[2].job));
	CHECK(sys_pool_withdraw(pool, &w[3].job)); /* the last: the next one comes behind w[1] */
	CHECK_INT(sys_pool_submit(pool, &w[2].job), ==, 0);
	pthread_mutex_unlock(&gate);
	until(&ended, 3);
	CHECK_INT(atomic_load(&order[1]), ==, 1);
	CHECK_INT(atomic_load(&order[2]), ==, 2);
	sys_pool_close(pool);
	free(w);
}

static void *close_pool(void *arg)
{
	sys_pool_close(arg);
	return NULL;
}

TEST(pool_closed_under_work_lets_it_run_to_its_end)
{
	struct work *w = works(3);
	pthread_t t;

	CHECK_INT(sys_pool_open(&pool, 1, 1, true), ==, 0);
	pthread_mutex_lock(&gate);
	submit(w, 3);
	until(&begun, 1);
	CHECK(pthread_create(&t, NULL, close_pool, pool) == 0);
	CHECK(pthread_join(t, NULL) == 0); /* nobody waits for the gate */
	CHECK_INT(atomic_load(&ended), ==, 0);
	pthread_mutex_unlock(&gate);
	until(&ended, 3); /* also those that had not begun */
	free(w);
}

/* The close comes while the thread has not even taken the job. */
TEST(pool_closed_under_a_thread_that_starts_does_not_wait_for_its_work)
{
	enum { ROUNDS = 50 };
	struct work *w = works(ROUNDS);

	pthread_mutex_lock(&gate);
	for (int i = 0; i < ROUNDS; i++) {
		CHECK_INT(sys_pool_open(&pool, 1, 1, true), ==, 0);
		CHECK_INT(sys_pool_submit(pool, &w[i].job), ==, 0);
		sys_pool_close(pool);
	}
	pthread_mutex_unlock(&gate);
	until(&ended, ROUNDS);
	free(w);
}

static atomic_int cpus, priority;
static sigset_t mask;

static void look(struct sys_job *job)
{
	cpu_set_t set;
	(void)job;
	CHECK(sched_getaffinity(0, sizeof set, &set) == 0);
	atomic_store(&cpus, CPU_COUNT(&set));
	atomic_store(&priority, getpriority(PRIO_PROCESS, 0));
	pthread_sigmask(SIG_BLOCK, NULL, &mask);
	atomic_store(&ended, 1);
}

/* As a worker does it: pinned, and with a pool that was opened before. */
TEST(pool_threads_have_every_cpu_a_lower_priority_and_no_signals)
{
	struct sys_job job = { .run = look };
	cpu_set_t all, one;
	int first = 0;

	CHECK(sched_getaffinity(0, sizeof all, &all) == 0);
	while (!CPU_ISSET(first, &all))
		first++;
	CPU_ZERO(&one);
	CPU_SET(first, &one);
	CHECK_INT(sys_pool_open(&pool, 1, 1, true), ==, 0);
	CHECK(sched_setaffinity(0, sizeof one, &one) == 0);
	CHECK_INT(sys_pool_submit(pool, &job), ==, 0);
	until(&ended, 1);
	CHECK_INT(atomic_load(&cpus), ==, CPU_COUNT(&all));
	int before = getpriority(PRIO_PROCESS, 0);
	CHECK(atomic_load(&priority) > before || atomic_load(&priority) == 19);
	CHECK(sigismember(&mask, SIGTERM) && sigismember(&mask, SIGUSR1));
	CHECK(!sigismember(&mask, SIGSEGV));
	sigset_t mine;
	pthread_sigmask(SIG_BLOCK, NULL, &mine);
	CHECK(!sigismember(&mine, SIGTERM)); /* the submitter's is as it was */
	sys_pool_close(pool);
}

static void add(struct sys_job *job)
{
	atomic_fetch_add(&ended, 1);
	free(job);
}

static void *submit_many(void *arg)
{
	(void)arg;
	for (int i = 0; i < 2000; i++) {
		struct sys_job *job = calloc(1, sizeof *job);
		job->run = add;
		CHECK_INT(sys_pool_submit(pool, job), ==, 0);
	}
	return NULL;
}

TEST(pool_stress_runs_every_job_once)
{
	pthread_t t[3];

	CHECK_INT(sys_pool_open(&pool, 2, 6, true), ==, 0);
	for (int i = 0; i < 3; i++)
		CHECK(pthread_create(&t[i], NULL, submit_many, NULL) == 0);
	for (int i = 0; i < 3; i++)
		CHECK(pthread_join(t[i], NULL) == 0);
	until(&ended, 6000);
	CHECK_INT(atomic_load(&ended), ==, 6000);
	CHECK_INT(sys_pool_threads(pool), <=, 6);
	sys_pool_close(pool);
}

TEST(pool_words_are_waited_for_and_woken)
{
	_Atomic(uint32_t) word = 1;

	CHECK_INT(sys_word_wait(&word, 0), ==, 0); /* it is not 0: no wait */
	sys_word_wake(&word);
	sys_thread_yield();
}
