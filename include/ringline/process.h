/*
 * Child processes. A process belongs to the worker whose task started it, until a task of that
 * worker has waited for it: like any parent, wait for each one, or let go of it with
 * rln_proc_release(), or its number and its place stay taken until the runtime ends.
 *
 * A child has descriptors 0, 1 and 2 and no other, this process's niceness and CPUs (not a
 * worker's), the soft limit of open files as it was before the runtime raised it, no blocked
 * signal, and the default action for every signal but those that are ignored here; SIGPIPE is not
 * ignored.
 *
 * At the end of the runtime, what has ended and was not waited for is reaped; what still runs goes
 * on, and is the program's to end and to wait for, with kill(2) and waitpid(2). Programs that
 * ignore SIGCHLD, or wait for any child they have, take the results from the runtime: -ECHILD.
 */
#ifndef RINGLINE_PROCESS_H
#define RINGLINE_PROCESS_H

#include <ringline/base.h>
#include <ringline/select.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct rln_proc {
	uint64_t h;
} rln_proc;

/* Zero, NULL: the default. */
typedef struct rln_proc_opts {
	/*
	 * The program and its arguments, up to NULL. A name without a slash is looked for in this
	 * process's PATH; a relative one with a slash is looked up from cwd.
	 */
	const char *const *argv;
	const char *const *env; /* "NAME=value", up to NULL; this process's */
	const char *cwd;	/* its directory; this process's */
	/*
	 * Which of its standard descriptors are pipes to connections of this worker. The others are
	 * this process's own, or /dev/null where that is closed or marked close-on-exec.
	 */
	bool in, out, err;
	bool null;  /* what is no pipe is /dev/null, not this process's own */
	bool group; /* it leads a process group of its own, which rln_proc_kill_group() reaches */
	/*
	 * It leads a session of its own, so a group, too: what happens to the terminal of this
	 * process does not reach it. With null and rln_proc_release(): a daemon.
	 */
	bool session;
} rln_proc_opts;

/* How a process ended. */
typedef struct rln_proc_status {
	int code;  /* what it exited with, 0 to 255; -1: a signal ended it */
	int signo; /* the signal that ended it; 0: it exited */
	bool core; /* and left a core file */
} rln_proc_status;

/*
 * Start a process. The call returns when it runs its program, or with the reason why it does not:
 * then no process is left. It is made on a helper thread; cancelled before that has begun it never
 * exists, later the call succeeds and the cancellation stays pending.
 *
 * Returns 0, or -ENOENT, -ENOTDIR, -EACCES, -ELOOP, -ENAMETOOLONG (the program or cwd), -ENOEXEC
 * (no program; a script without #!), -ETXTBSY, -E2BIG (arguments, or newer opts), -EINVAL (no argv;
 * pipes without io), -EAGAIN (too many processes, or no helper thread), -ENOMEM, -EMFILE, -ENFILE
 * (also: all of file_slots are in use), -ENOSYS (in the simulation), -ESHUTDOWN (this worker has
 * stopped taking work), the wait errors, and whatever else the kernel reports. Nothing is written
 * then.
 * Owner:   borrows o and what it refers to; gives *out, until it was waited for, and in io[i] the
 *          end of each pipe asked for (zero for the others), each closed with rln_close(). io may
 *          be NULL without pipes.
 * Thread:  a task of any worker, to which the process then belongs.
 * Waits:   yes (a cancellation point).
 */
RLN_API RLN_MUST int rln_proc_spawn_sized(const rln_proc_opts *o, size_t opts_size, rln_proc *out,
					  rln_conn io[3]) RLN_WAITS;

/* rln_proc_spawn_sized() with the size this program was compiled with: see there. */
RLN_MUST static inline int rln_proc_spawn(const rln_proc_opts *o, rln_proc *out, rln_conn io[3])
{
	return rln_proc_spawn_sized(o, sizeof(rln_proc_opts), out, io);
}

/*
 * Wait until a process has ended, and reap it. It may be running still when its pipes have ended,
 * and they may go on when it has ended: a child of its own holds them. One task at a time.
 *
 * Returns 0 with how it ended in *st, or -EBUSY (another task waits for it), -ECHILD (it was reaped
 * by somebody else: how it ended is not known), -ESRCH (it was waited for), -EXDEV, the wait
 * errors: the process goes on, and can be waited for again.
 * Owner:   takes p, with 0 and -ECHILD; fills *st (may be NULL).
 * Thread:  a task of the worker that started it.      Waits: yes (a cancellation point).
 */
RLN_API int rln_proc_wait(rln_proc p, rln_proc_status *st) RLN_WAITS;

/*
 * Ready when a process has ended; its effect is that of rln_proc_wait().
 *
 * Returns the arm; res is 0 with how it ended in *st, or an error of rln_proc_wait().
 * Owner:   takes p as rln_proc_wait() does; borrows st (may be NULL) while the arm is used.
 * Thread:  any; used in a task of the worker that started p.      Waits: no.
 */
RLN_API rln_arm rln_on_proc(rln_proc p, rln_proc_status *st);

/*
 * Let go of a process: nobody will wait for it. It goes on, and when it has ended it is reaped,
 * unless that is after the end of the runtime: then it is the program's to wait for, or init's
 * when the program has ended, too. What it was started with stays as it is: its pipes are
 * connections like others, and signals to a group or session still reach it.
 *
 * Returns 0, or -EBUSY (a task waits for it), -ESRCH (it was waited for), -ENOMEM, -EXDEV, -EPERM
 * (this thread is no worker).
 * Owner:   takes p, with 0.
 * Thread:  the worker that started it.      Waits: no.
 */
RLN_API int rln_proc_release(rln_proc p);

/*
 * Send a signal to a process: to this one or to none, never to another with its number. signo 0
 * sends none.
 *
 * Returns 0, also when it has ended and was not waited for yet, or -ESRCH (it was waited for),
 * -EINVAL (no such signal), -EPERM (it has become another user's; or this thread is no worker),
 * -EXDEV.
 * Owner:   nothing is passed.
 * Thread:  the worker that started it.      Waits: no.
 */
RLN_API int rln_proc_kill(rln_proc p, int signo);

/*
 * Send a signal to every process of the group that p leads: the children it has started, too. The
 * group can be reached until p was waited for: to end all of it, do that before.
 *
 * Returns 0, or the errors of rln_proc_kill(), -EINVAL also when p has no group of its own.
 * Owner:   nothing is passed.
 * Thread:  the worker that started it.      Waits: no.
 */
RLN_API int rln_proc_kill_group(rln_proc p, int signo);

/*
 * The number of a process, for messages and for what has no call here. It is this process's until
 * it was waited for.
 *
 * Returns the number, or -ESRCH (it was waited for), -EXDEV, -EPERM (this thread is no worker).
 * Owner:   nothing is passed.
 * Thread:  the worker that started it.      Waits: no.
 */
RLN_API int rln_proc_pid(rln_proc p);

#ifdef __cplusplus
}
#endif
#endif
