/*
 * The part of the system table about call stacks: where another thread is just now, and what an
 * address is called. The thread is interrupted by a signal and unwinds itself, in the handler.
 *
 * Async-signal-safe is what the handler does: it walks the stack with libgcc's unwinder, which is
 * loaded and used once before (its first use may allocate); finding the tables takes no lock with
 * glibc 2.35 and gcc 12 or newer, and before that the loader's lock, which the thread itself may
 * hold again. Names are looked up by the thread that asked. It runs on the thread's signal stack,
 * so it needs no room on a task's.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "base/sys.h"
#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>
#include <unwind.h>

struct trace {
	int tid;
	void (*look)(void *arg);
	void *arg;
	void **frame;
	int cap, count;
	uintptr_t pc;	    /* where the thread was interrupted; 0 once the walk has come to it */
	atomic_bool filled; /* orders what the handler wrote, beside the semaphore */
	sem_t done;
};

/* One at a time: the lock is the asking thread's, wanted is taken down by the handler. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static _Atomic(struct trace *) wanted;
static struct trace one;
static int signal_no; /* 0: none was free yet */

static uintptr_t interrupted_at(const ucontext_t *uc)
{
#if defined(__x86_64__)
	return (uintptr_t)uc->uc_mcontext.gregs[REG_RIP];
#elif defined(__aarch64__)
	return (uintptr_t)uc->uc_mcontext.pc;
#else
#error "where does this architecture keep the interrupted program counter?"
#endif
}

/* Frames of the handler itself come first, and are left out. */
static _Unwind_Reason_Code add_frame(struct _Unwind_Context *ctx, void *arg)
{
	struct trace *t = arg;
	int before = 0;
	uintptr_t ip = _Unwind_GetIPInfo(ctx, &before);

	if (t->pc && ip != t->pc)
		return _URC_NO_REASON;
	t->pc = 0;
	if (!ip || t->count == t->cap)
		return _URC_NORMAL_STOP;
	/* A return address may belong to the next function: the call is right before it. */
	t->frame[t->count++] = (void *)(before ? ip : ip - 1);
	return _URC_NO_REASON;
}

static void on_signal(int signo, siginfo_t *info, void *context)
{
	int saved = errno;
	struct trace *t = atomic_load(&wanted);

	(void)signo, (void)info;
	/* Whoever else may have sent the signal gets nothing. */
	if (t && t->tid == gettid() && atomic_compare_exchange_strong(&wanted, &t, NULL)) {
		uintptr_t pc = interrupted_at(context);
		t->pc = pc;
		_Unwind_Backtrace(add_frame, t);
		if (t->pc && t->cap > 0) /* not found on the way: at least this is known */
			t->frame[t->count++] = (void *)pc;
		if (t->look)
			t->look(t->arg);
		atomic_store(&t->filled, true);
		sem_post(&t->done);
	}
	errno = saved;
}

/* The highest realtime signal that nobody has a use for. */
static int signal_take(void)
{
	struct sigaction ours = { .sa_sigaction = on_signal,
				  .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART },
			 now;

	sigemptyset(&ours.sa_mask);
	for (int s = SIGRTMAX; s >= SIGRTMIN; s--) {
		if (sigaction(s, NULL, &now) < 0 || now.sa_flags & SA_SIGINFO ||
		    now.sa_handler != SIG_DFL)
			continue;
		return sigaction(s, &ours, NULL) < 0 ? -errno : s;
	}
	return -EBUSY;
}

int sys_trace_signal(void)
{
	int s;

	pthread_mutex_lock(&lock);
	s = signal_no > 0 ? signal_no : 0;
	pthread_mutex_unlock(&lock);
	return s;
}

int sys_trace_open(void)
{
	struct trace first = { .cap = 0, .pc = 0 };
	int s;

	pthread_mutex_lock(&lock);
	if (!signal_no) {
		s = signal_take();
		if (s > 0) {
			_Unwind_Backtrace(add_frame, &first);
			sem_init(&one.done, 0, 0);
			signal_no = s;
		}
	}
	s = signal_no ? signal_no : -EBUSY;
	pthread_mutex_unlock(&lock);
	return s;
}

/* The default action of a realtime signal ends the process. */
static bool still_ours(void)
{
	struct sigaction now;

	return signal_no && sigaction(signal_no, NULL, &now) == 0 && now.sa_flags & SA_SIGINFO &&
	       now.sa_sigaction == on_signal;
}

static int interrupt(int tid, int64_t timeout_ns)
{
	struct trace *t = &one;
	struct timespec until;
	int r;

	atomic_store(&wanted, t);
	if (syscall(SYS_tgkill, getpid(), tid, signal_no) < 0) {
		r = -errno;
		atomic_store(&wanted, NULL);
		return r;
	}
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_nsec += timeout_ns % 1000000000;
	until.tv_sec += timeout_ns / 1000000000 + until.tv_nsec / 1000000000;
	until.tv_nsec %= 1000000000;
	while ((r = sem_clockwait(&t->done, CLOCK_MONOTONIC, &until)) < 0 && errno == EINTR)
		;
	if (r == 0)
		return 0;
	if (atomic_exchange(&wanted, NULL) == t)
		return -ETIMEDOUT; /* it comes too late to find anything */
	while (sem_wait(&t->done) < 0 && errno == EINTR)
		; /* the handler has begun, and waits for nobody */
	return 0;
}

int sys_thread_trace(int tid, void **frame, int cap, int64_t timeout_ns, void (*look)(void *arg),
		     void *arg)
{
	int r;

	pthread_mutex_lock(&lock);
	if (still_ours()) {
		one.tid = tid;
		one.look = look;
		one.arg = arg;
		one.frame = frame;
		one.cap = cap;
		one.count = 0;
		r = interrupt(tid, timeout_ns);
		if (r == 0 && atomic_exchange(&one.filled, false))
			r = one.count;
	} else {
		r = -EBUSY;
	}
	pthread_mutex_unlock(&lock);
	return r;
}

void sys_symbol(const void *addr, char *buf, size_t cap)
{
	struct link_map *map = NULL;
	Dl_info info;

	if (!dladdr1(addr, &info, (void **)&map, RTLD_DL_LINKMAP) || !info.dli_fname) {
		snprintf(buf, cap, "?");
		return;
	}
	snprintf(buf, cap, "%s(%s+%#tx)", info.dli_fname, info.dli_sname ? info.dli_sname : "",
		 (const char *)addr -
			 (info.dli_sname ? (const char *)info.dli_saddr : (char *)map->l_addr));
}
