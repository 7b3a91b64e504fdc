/*
 * The threads part of the system table: making them, and waiting for each other.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "base/sys.h"
#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

struct sys_thread {
	pthread_t id;
	void (*fn)(void *);
	void *arg;
	char name[16]; /* what the kernel keeps */
};

static void *thread_main(void *p)
{
	struct sys_thread *t = p;

	pthread_setname_np(pthread_self(), t->name);
	t->fn(t->arg);
	return NULL;
}

/* A new thread inherits the mask. SIGPIPE of a pipe write stays pending there. */
static void block_signals(sigset_t *before)
{
	static const int sync[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGSYS };
	sigset_t set;

	sigfillset(&set);
	for (size_t i = 0; i < sizeof sync / sizeof *sync; i++)
		sigdelset(&set, sync[i]);
	if (sys_trace_signal())
		sigdelset(&set, sys_trace_signal());
	pthread_sigmask(SIG_BLOCK, &set, before);
}

int sys_thread_start(struct sys_thread **out, const char *name, void (*fn)(void *), void *arg)
{
	struct sys_thread *t = calloc(1, sizeof *t);
	sigset_t before;
	int err;

	if (!t)
		return -ENOMEM;
	t->fn = fn;
	t->arg = arg;
	strncpy(t->name, name, sizeof t->name - 1);
	block_signals(&before);
	err = pthread_create(&t->id, NULL, thread_main, t);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (err) {
		free(t);
		return -err;
	}
	*out = t;
	return 0;
}

int sys_thread_join(struct sys_thread *t)
{
	int err = pthread_join(t->id, NULL);

	if (err)
		return -err;
	free(t);
	return 0;
}

void sys_thread_yield(void)
{
	sched_yield();
}

int sys_word_wait(_Atomic(uint32_t) *word, uint32_t same)
{
	long r = syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, same, NULL, NULL, 0);

	return r < 0 && errno != EAGAIN && errno != EINTR ? -errno : 0;
}

void sys_word_wake(_Atomic(uint32_t) *word)
{
	syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT32_MAX, NULL, NULL, 0);
}

struct sys_monitor {
	pthread_mutex_t lock;
	pthread_cond_t changed;
};

int sys_monitor_open(struct sys_monitor **out)
{
	struct sys_monitor *m = calloc(1, sizeof *m);

	if (!m)
		return -ENOMEM;
	pthread_mutex_init(&m->lock, NULL);
	pthread_cond_init(&m->changed, NULL);
	*out = m;
	return 0;
}

void sys_monitor_close(struct sys_monitor *m)
{
	if (!m)
		return;
	pthread_mutex_destroy(&m->lock);
	pthread_cond_destroy(&m->changed);
	free(m);
}

void sys_monitor_lock(struct sys_monitor *m)
{
	pthread_mutex_lock(&m->lock);
}

void sys_monitor_unlock(struct sys_monitor *m)
{
	pthread_mutex_unlock(&m->lock);
}

void sys_monitor_wait(struct sys_monitor *m, int64_t until_ns)
{
	struct timespec until = { until_ns / 1000000000, until_ns % 1000000000 };

	if (until_ns == INT64_MAX)
		pthread_cond_wait(&m->changed, &m->lock);
	else
		pthread_cond_clockwait(&m->changed, &m->lock, CLOCK_MONOTONIC, &until);
}

void sys_monitor_wake_all(struct sys_monitor *m)
{
	pthread_cond_broadcast(&m->changed);
}
