/*
 * The part of the system table about the signals a program waits for. One handler for all of them;
 * it calls the functions that watch the signal, which are in a table of fixed size, so that nothing
 * it reads is ever freed.
 *
 * A function is not called any more once sys_signal_unwatch() has returned: that takes it out of
 * the table and then waits until no handler is inside it that may have read it before.
 */
#include "base/sys.h"
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>

#define WATCHES 512 /* of all runtimes of the process */

struct watch {
	atomic_int signo; /* 0: free */
	void (*fn)(void *arg);
	void *arg;
};

static struct watch watch[WATCHES];
static atomic_uint inside; /* handlers that may be reading the table */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct sigaction before[NSIG]; /* what a signal did before the first watch */
static unsigned count[NSIG];

static void on_signal(int signo)
{
	int saved = errno;

	atomic_fetch_add(&inside, 1);
	for (unsigned i = 0; i < WATCHES; i++)
		if (atomic_load(&watch[i].signo) == signo)
			watch[i].fn(watch[i].arg);
	atomic_fetch_sub(&inside, 1);
	errno = saved;
}

/* Those that cannot be caught, and those that tell of a fault of the thread that gets them. */
static bool can_be_watched(int signo)
{
	static const int not [] = { SIGKILL, SIGSTOP, SIGSEGV, SIGBUS,
				    SIGFPE,  SIGILL,  SIGTRAP, SIGSYS };

	if (signo < 1 || signo >= NSIG || (signo > SIGSYS && signo < SIGRTMIN))
		return false;
	for (size_t i = 0; i < sizeof not / sizeof *not ; i++)
		if (signo == not [i])
			return false;
	return true;
}

/* With the lock held. */
static int handler_install(int signo)
{
	struct sigaction act = { .sa_handler = on_signal, .sa_flags = SA_RESTART };

	if (sigaction(signo, NULL, &before[signo]) < 0)
		return -errno;
	/* Realtime signals mean what somebody says they mean: they are not taken from anybody. */
	if (signo >= SIGRTMIN &&
	    (before[signo].sa_flags & SA_SIGINFO || before[signo].sa_handler != SIG_DFL))
		return -EBUSY;
	return sigaction(signo, &act, NULL) < 0 ? -errno : 0;
}

int sys_signal_watch(int signo, void (*fn)(void *arg), void *arg)
{
	unsigned i;
	int e = 0;

	if (!can_be_watched(signo))
		return -EINVAL;
	pthread_mutex_lock(&lock);
	for (i = 0; i < WATCHES && atomic_load(&watch[i].signo); i++)
		;
	if (i == WATCHES)
		e = -EAGAIN;
	else if (!count[signo])
		e = handler_install(signo);
	if (!e) {
		watch[i].fn = fn;
		watch[i].arg = arg;
		atomic_store(&watch[i].signo, signo);
		count[signo]++;
	}
	pthread_mutex_unlock(&lock);
	return e ? e : (int)i;
}

void sys_signal_unwatch(int id)
{
	pthread_mutex_lock(&lock);
	int signo = atomic_load(&watch[id].signo);
	if (--count[signo] == 0)
		sigaction(signo, &before[signo], NULL);
	atomic_store(&watch[id].signo, 0);
	while (atomic_load(&inside))
		sched_yield();
	pthread_mutex_unlock(&lock);
}
