/*
 * The system table: every call that leaves the process or reads its environment, except the four
 * ring calls (ring/kernel.h). sys_linux.c implements it; a test build links sim/sys_sim.c in its
 * place. No other file of src/ may reference libc's I/O, clock, random, memory or thread functions
 * (INV-40; ./dev check proves it with nm on the objects).
 *
 * All functions return >= 0 or -errno; errno itself is no part of the contract.
 */
#ifndef RINGLINE_BASE_SYS_H
#define RINGLINE_BASE_SYS_H

#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/types.h>

/* clock and randomness */
int64_t sys_now(void); /* CLOCK_MONOTONIC, ns */
void sys_random(void *buf, size_t n);

/* memory; sizes are checked by the caller. NULL on exhaustion. */
void *sys_alloc(size_t n);  /* uninitialised */
void *sys_zalloc(size_t n); /* zeroed */
void *sys_alloc_aligned(size_t align, size_t n);
void sys_free(void *p);
/* Anonymous private mapping of n bytes. flags: SYS_MAP_*. NULL on failure, *err = -errno. */
enum { SYS_MAP_NORESERVE = 1, SYS_MAP_NONE = 2, SYS_MAP_STACK = 4 };
void *sys_map(size_t n, int flags, int *err);
void sys_unmap(void *p, size_t n);
int sys_protect(void *p, size_t n, bool readwrite); /* false: PROT_NONE */
int sys_advise(void *p, size_t n, int advice);	    /* madvise(2) */
size_t sys_page_size(void);

/* sockets: all are created CLOEXEC and *blocking* (O_NONBLOCK would disable io_uring's own poll) */
int sys_socket(int domain, int type, int protocol);
int sys_bind(int fd, const struct sockaddr *sa, socklen_t n);
int sys_listen(int fd, int backlog);
int sys_setsockopt(int fd, int level, int name, const void *v, socklen_t n);
int sys_getsockopt(int fd, int level, int name, void *v, socklen_t *n);
int sys_connect(int fd, const struct sockaddr *sa, socklen_t n); /* start-up only: blocks */
int sys_getsockname(int fd, struct sockaddr_storage *sa, socklen_t *n);
int sys_getpeername(int fd, struct sockaddr_storage *sa, socklen_t *n);
int sys_shutdown(int fd, int how);

/*
 * The addresses of host by the system's resolver, in its order, each with port: a count <= max, or
 * -EHOSTUNREACH (there are none), -EAGAIN (ask later), -ENOMEM, -EIO and others. Blocks: on helper
 * threads only.
 */
int sys_resolve(const char *host, uint16_t port, struct sockaddr_storage *out, int max);

/* descriptors */
int sys_set_blocking(int fd); /* clears O_NONBLOCK, which would disable io_uring's own poll */
int sys_close(int fd);
int sys_poll(int fd, short events); /* what is ready of them now, 0: nothing; or -EBADF, ... */
int sys_dup(int fd);		    /* F_DUPFD_CLOEXEC */
int sys_fd_type(int fd);	    /* st_mode & S_IFMT, or -errno */
int sys_unlink_socket(
	const char *path);	/* unlinks path only if it is a socket; -ENOENT, -ENOTSOCK */
int sys_eventfd(void);		/* EFD_CLOEXEC */
int sys_eventfd_signal(int fd); /* async-signal-safe, preserves errno; -EAGAIN never happens */

/* process and machine */
int sys_nofile_raise(uint64_t *soft,
		     uint64_t *hard); /* soft limit to hard; returns what is in force */
uint64_t sys_memory_allowed(void);    /* bytes: min(physical, cgroup limit) */
int sys_read_file(const char *path, char *buf,
		  size_t cap); /* small proc/sys files; bytes read, NUL-terminated */
int sys_thread_id(void);
bool sys_shadow_stack(void);	      /* user shadow stacks (x86 CET) are on for this thread */
void sys_log_write(const char *line); /* one line to stderr, newline added */

/* signals; handlers themselves may call only what is named async-signal-safe here */
int sys_sigaction(int sig, const struct sigaction *act, struct sigaction *old);
int sys_sigaltstack(const stack_t *ss, stack_t *old); /* of the calling thread */

/*
 * Have fn(arg) called in the handler of a signal, on whichever thread got it. The first watch of a
 * signal installs the handler, the end of the last one restores what was there. Returns a number
 * for sys_signal_unwatch(), after which fn is not called any more; or -EINVAL (not a signal that
 * can be watched), -EBUSY (a realtime signal in use), -EAGAIN (too many).
 */
int sys_signal_watch(int signo, void (*fn)(void *arg), void *arg);
void sys_signal_unwatch(int id);

/* child processes (sys_process.c); a simulator has none: -ENOSYS */
struct sys_spawn {
	const char *const *argv; /* argv[0] without a slash is looked for in PATH */
	const char *const *env;	 /* NULL: this process's */
	const char *cwd;	 /* NULL: this process's */
	/*
	 * What become its descriptors 0, 1 and 2, its only ones; each above 2. -1: the one of this
	 * process, or /dev/null if `null`, or if that is closed or close-on-exec.
	 */
	int fd[3];
	bool null;
	bool group;   /* leads a process group of its own */
	bool session; /* and a session */
};
struct sys_exit {
	int code;  /* -1: a signal ended it */
	int signo; /* 0: it exited */
	bool core;
};
/*
 * Returns a descriptor of the process (CLOEXEC) when it runs its program, with no signal blocked or
 * caught; or -errno, when no process is left. Blocks for as long as the program's file does.
 */
int sys_proc_spawn(const struct sys_spawn *s, int *pid);
/* 1: it has ended, *out says how, and it is gone; 0: not yet; -ECHILD: somebody else reaped it. */
int sys_proc_reap(int pidfd, struct sys_exit *out);
int sys_proc_kill(int pidfd, int signo);
/* All of the group it leads; -ESRCH when it was reaped, since the number may be another's then. */
int sys_proc_kill_group(int pidfd, int pid, int signo);
int sys_pipe(int fd[2]); /* CLOEXEC, both above 2 */

/* threads */
struct sys_thread;
/* The new thread leaves the process's signals to others, but the one of sys_trace_open(). */
int sys_thread_start(struct sys_thread **out, const char *name, void (*fn)(void *), void *arg);
int sys_thread_join(struct sys_thread *t); /* frees t */
void sys_thread_yield(void);		   /* let other threads of this CPU run */
/*
 * Block the calling thread while *word is `same`; may return early for no reason. sys_word_wake()
 * ends all such waits, and does not touch *word: it may be gone by then. -ENOSYS: no threads here.
 */
int sys_word_wait(_Atomic(uint32_t) *word, uint32_t same);
void sys_word_wake(_Atomic(uint32_t) *word);
int sys_thread_pin(int cpu);		 /* the calling thread */
int sys_cpu_allowed(int *cpus, int cap); /* affinity mask as a list; count */

/* a lock with a condition, for threads that wait for each other */
struct sys_monitor;
int sys_monitor_open(struct sys_monitor **out);
void sys_monitor_close(struct sys_monitor *m); /* NULL: nothing to do */
void sys_monitor_lock(struct sys_monitor *m);
void sys_monitor_unlock(struct sys_monitor *m);
/* While locked; until INT64_MAX: no limit. May return without a cause. */
void sys_monitor_wait(struct sys_monitor *m, int64_t until_ns);
void sys_monitor_wake_all(struct sys_monitor *m); /* while locked */

/*
 * Helper threads (sys_pool.c), for what can only be had by blocking a thread. They start when there
 * is work for them, on every CPU of the process, with signals blocked.
 * A simulator runs the jobs inline, at some later time.
 */
struct sys_pool;
struct sys_job {
	struct sys_job *next;
	void (*run)(struct sys_job *job); /* on a helper thread; job is run's to free */
};
/*
 * No thread yet. keep: threads that stay once started; max: as many while there is work; low: at a
 * lower priority.
 */
int sys_pool_open(struct sys_pool **out, unsigned keep, unsigned max, bool low);
/* 0, or -EAGAIN: there is no thread, and none can be started; the job stays the caller's. */
int sys_pool_submit(struct sys_pool *p, struct sys_job *job);
/* true: it had not begun, and is the caller's again. Any thread, while the job has not ended. */
bool sys_pool_withdraw(struct sys_pool *p, struct sys_job *job);
/*
 * No more submits. Threads without work end before this returns; a job that still runs, or waits,
 * is run to its end by its thread, which nobody waits for.
 */
void sys_pool_close(struct sys_pool *p);
unsigned sys_pool_threads(struct sys_pool *p); /* now */

/* crash reports (sys_signal.c) */
/*
 * Call fn with the address of every fault (SIGSEGV, SIGBUS) of this process, in the signal handler;
 * then the handler that was there before, or the default, takes its course. Once a process.
 */
int sys_fault_catch(void (*fn)(const void *addr));
/* The calling thread's signal stack. 1: it is now p; 0: it has one already, which stays. */
int sys_altstack_set(void *p, size_t n);
void sys_altstack_clear(const void *p);		/* nothing if the thread's is another one */
int sys_write(int fd, const void *p, size_t n); /* all of it; for reports */
bool sys_readable(const void *p); /* 8 bytes at p; true also when that cannot be found out */

/* call stacks (sys_trace.c) */
/*
 * Take a realtime signal whose action is the default, once a process. Returns its number, which a
 * thread that is to be traced must not block, or -EBUSY (all are in use).
 */
int sys_trace_open(void);
int sys_trace_signal(void); /* the one it took; 0: none yet */
/*
 * Where thread tid of this process is: it is interrupted, and calls look(arg) in the signal handler
 * if it is not NULL. The innermost frame comes first, at most cap. Returns their number, or
 * -EBUSY (no signal, or somebody else has taken it), -ESRCH, -ETIMEDOUT (it takes no signals), and
 * then look is never called.
 */
int sys_thread_trace(int tid, void **frame, int cap, int64_t timeout_ns, void (*look)(void *arg),
		     void *arg);
/* "FILE(NAME+0x12)", or "FILE(+0x1234)", as addr2line -e FILE takes it; "?" when unknown. */
void sys_symbol(const void *addr, char *buf, size_t cap);

#endif
