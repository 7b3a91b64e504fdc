/*
 * The part of the system table about helper threads. One queue, one lock. A submit that finds no
 * thread waiting starts one, up to the maximum; the ones beyond `keep` end when they have had
 * nothing to do for a while.
 *
 * The pool's memory belongs to its threads together with the one that opened it: a job that
 * outlives sys_pool_close() is nobody's to wait for.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "base/sys.h"
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define SURPLUS_SECONDS 5
#define NICE_BY 5 /* a third of the workers' share of a CPU that both want */
#define CPUS 8192

struct sys_pool {
	pthread_mutex_t lock;
	pthread_cond_t work, changed;
	struct sys_job *head, **tail;
	unsigned queued, waiting, threads, busy, keep, max;
	unsigned refs; /* its threads, and the owner */
	bool closing, low;
	size_t cpu_bytes;
	cpu_set_t *cpus; /* where the process may run; workers are pinned, their children too */
};

static int clock_cond_init(pthread_cond_t *c)
{
	pthread_condattr_t a;
	int err = pthread_condattr_init(&a);

	if (!err)
		err = pthread_condattr_setclock(&a, CLOCK_MONOTONIC);
	return err ? err : pthread_cond_init(c, &a);
}

int sys_pool_open(struct sys_pool **out, unsigned keep, unsigned max, bool low)
{
	struct sys_pool *p = calloc(1, sizeof *p);

	if (!p)
		return -ENOMEM;
	p->cpu_bytes = CPU_ALLOC_SIZE(CPUS);
	p->cpus = CPU_ALLOC(CPUS);
	if (!p->cpus || pthread_mutex_init(&p->lock, NULL) || clock_cond_init(&p->work) ||
	    pthread_cond_init(&p->changed, NULL)) {
		CPU_FREE(p->cpus);
		free(p);
		return -ENOMEM;
	}
	if (sched_getaffinity(0, p->cpu_bytes, p->cpus) < 0)
		CPU_ZERO_S(p->cpu_bytes, p->cpus);
	p->tail = &p->head;
	p->keep = keep;
	p->max = max > keep ? max : keep;
	p->low = low;
	p->refs = 1;
	*out = p;
	return 0;
}

/* With the lock held; it is not any more. */
static void unref(struct sys_pool *p)
{
	bool last = --p->refs == 0;

	pthread_mutex_unlock(&p->lock);
	if (!last)
		return;
	pthread_mutex_destroy(&p->lock);
	pthread_cond_destroy(&p->work);
	pthread_cond_destroy(&p->changed);
	CPU_FREE(p->cpus);
	free(p);
}

static struct sys_job *pop(struct sys_pool *p)
{
	struct sys_job *job = p->head;

	if (job) {
		p->head = job->next;
		if (!p->head)
			p->tail = &p->head;
		p->queued--;
	}
	return job;
}

/* Until there is work. False: this thread is not needed any more. */
static bool await_work(struct sys_pool *p)
{
	struct timespec until;
	int err = 0;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += SURPLUS_SECONDS;
	p->waiting++;
	while (!p->head && !p->closing && !(err == ETIMEDOUT && p->threads > p->keep))
		err = p->threads > p->keep ? pthread_cond_timedwait(&p->work, &p->lock, &until)
					   : pthread_cond_wait(&p->work, &p->lock);
	p->waiting--;
	return p->head != NULL;
}

static void thread_settle(const struct sys_pool *p)
{
	/* Where the system refuses one of these the work is done all the same. */
	if (CPU_COUNT_S(p->cpu_bytes, p->cpus))
		sched_setaffinity(0, p->cpu_bytes, p->cpus);
	if (p->low)
		setpriority(PRIO_PROCESS, (id_t)gettid(), getpriority(PRIO_PROCESS, 0) + NICE_BY);
	pthread_setname_np(pthread_self(), p->low ? "rln-blocking" : "rln-spawn");
}

static void *thread_main(void *arg)
{
	struct sys_pool *p = arg;
	struct sys_job *job;

	thread_settle(p);
	pthread_mutex_lock(&p->lock);
	do {
		while ((job = pop(p))) {
			p->busy++;
			pthread_cond_signal(&p->changed);
			pthread_mutex_unlock(&p->lock);
			job->run(job);
			pthread_mutex_lock(&p->lock);
			p->busy--;
		}
	} while (await_work(p));
	p->threads--;
	pthread_cond_signal(&p->changed);
	unref(p);
	return NULL;
}

static int thread_start(struct sys_pool *p)
{
	static const int sync[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGSYS };
	sigset_t all, before;
	pthread_attr_t attr;
	pthread_t id;
	int err;

	sigfillset(&all);
	for (size_t i = 0; i < sizeof sync / sizeof *sync; i++)
		sigdelset(&all, sync[i]);
	err = pthread_attr_init(&attr);
	if (err)
		return err;
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_sigmask(SIG_BLOCK, &all, &before); /* the new thread has this one's mask */
	err = pthread_create(&id, &attr, thread_main, p);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attr);
	if (!err) {
		p->threads++;
		p->refs++;
	}
	return err;
}

int sys_pool_submit(struct sys_pool *p, struct sys_job *job)
{
	int err = 0;

	pthread_mutex_lock(&p->lock);
	if (p->queued >= p->waiting && p->threads < p->max)
		err = thread_start(p);
	if (p->threads) {
		job->next = NULL;
		*p->tail = job;
		p->tail = &job->next;
		p->queued++;
		pthread_cond_signal(&p->work);
		err = 0;
	}
	pthread_mutex_unlock(&p->lock);
	return err ? -EAGAIN : 0;
}

bool sys_pool_withdraw(struct sys_pool *p, struct sys_job *job)
{
	struct sys_job **at;
	bool found;

	pthread_mutex_lock(&p->lock);
	for (at = &p->head; *at && *at != job; at = &(*at)->next)
		;
	found = *at != NULL;
	if (found) {
		*at = job->next;
		if (!*at)
			p->tail = at;
		p->queued--;
	}
	pthread_mutex_unlock(&p->lock);
	return found;
}

void sys_pool_close(struct sys_pool *p)
{
	pthread_mutex_lock(&p->lock);
	p->closing = true;
	pthread_cond_broadcast(&p->work);
	while (p->threads > p->busy)
		pthread_cond_wait(&p->changed, &p->lock);
	unref(p);
}

unsigned sys_pool_threads(struct sys_pool *p)
{
	pthread_mutex_lock(&p->lock);
	unsigned n = p->threads;
	pthread_mutex_unlock(&p->lock);
	return n;
}
