/*
 * The part of the system table about child processes, and the limit they must not inherit.
 *
 * A child is made as vfork(2) does, on a stack of its own: it shares this process's memory until it
 * runs its program, so neither page tables are copied nor pages by the workers' writes meanwhile,
 * whatever this process's size; and it can say by a store which call failed. The price: until then
 * the child may only make system calls. Those are raw, since libc's wrappers may be replaced by a
 * sanitizer's, which keep books in memory that is still the parent's. posix_spawn(3) does the same
 * inside, but cannot restore a limit and gives no descriptor of the process.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "base/sys.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef P_PIDFD
#define P_PIDFD 3
#endif
#define CHILD_STACK_BYTES 65536
#define SIGNALS 64	   /* the kernel's: 1 to 64 */
#define SIGSET_BYTES 8	   /* of the kernel's set */
#define KSIGACTION_WORDS 8 /* at least the kernel's struct; its first word is the handler */

/* Not even entry and exit are told to a sanitizer: it would take the child's calls for the
 * parent's. */
#if defined(__has_attribute) && __has_attribute(disable_sanitizer_instrumentation)
#define CHILD __attribute__((disable_sanitizer_instrumentation))
#else
#define CHILD __attribute__((no_sanitize_address, no_sanitize_thread))
#endif

/* NOFILE as sys_nofile_raise() found it, and as it left it: children get it as it was. */
static _Atomic(uint64_t) nofile_before, nofile_now;

struct child {
	const struct sys_spawn *spawn;
	char *const *programs; /* to be tried in turn, up to NULL */
	char *const *env;
	uint64_t soft_now, soft_before; /* NOFILE; equal: nothing to restore */
	int err;			/* why it did not come to run the program */
};

/* ---- in the child: system calls only, nothing of the parent's memory written but child.err */

/*
 * Caught signals do what they do by default, before any can arrive: their handlers are this
 * process's. So does SIGPIPE: servers ignore it, and programs do not expect that. Others that are
 * ignored stay so, as under nohup.
 */
static CHILD int child_signals(void)
{
	unsigned long now[KSIGACTION_WORDS], dfl[KSIGACTION_WORDS] = { 0 };
	uint64_t none = 0;

	for (int signo = 1; signo <= SIGNALS; signo++) {
		if (syscall(SYS_rt_sigaction, signo, NULL, now, SIGSET_BYTES) < 0)
			continue;
		if (now[0] == (unsigned long)SIG_DFL)
			continue;
		if (now[0] != (unsigned long)SIG_IGN || signo == SIGPIPE)
			syscall(SYS_rt_sigaction, signo, dfl, NULL, SIGSET_BYTES);
	}
	return syscall(SYS_rt_sigprocmask, SIG_SETMASK, &none, NULL, SIGSET_BYTES) < 0 ? -errno : 0;
}

static CHILD int child_stdio(const int fd[3], bool null)
{
	for (int i = 0; i < 3; i++) {
		int from = fd[i];
		if (from < 0) {
			int flags = (int)syscall(SYS_fcntl, i, F_GETFD);
			if (!null && flags >= 0 && !(flags & FD_CLOEXEC))
				continue; /* inherited */
			from = (int)syscall(SYS_openat, AT_FDCWD, "/dev/null", O_RDWR, 0);
			if (from == i)
				continue;
		}
		if (from < 0 || syscall(SYS_dup3, from, i, 0) < 0)
			return -errno;
	}
	/* Also what this process did not mark close-on-exec. */
	return syscall(SYS_close_range, 3, ~0u, 0) < 0 ? -errno : 0;
}

static CHILD int child_settle(const struct child *c)
{
	const struct sys_spawn *s = c->spawn;
	struct {
		uint64_t soft, hard;
	} limit;
	int e;

	if (s->session ? syscall(SYS_setsid) < 0 : s->group && syscall(SYS_setpgid, 0, 0) < 0)
		return -errno;
	e = child_stdio(s->fd, s->null);
	if (e)
		return e;
	if (c->soft_now != c->soft_before &&
	    syscall(SYS_prlimit64, 0, RLIMIT_NOFILE, NULL, &limit) == 0 &&
	    limit.soft == c->soft_now) {
		limit.soft = c->soft_before;
		syscall(SYS_prlimit64, 0, RLIMIT_NOFILE, &limit, NULL);
	}
	if (s->cwd && syscall(SYS_chdir, s->cwd) < 0)
		return -errno;
	return child_signals();
}

/* As execvp(3): a program that may not be run is the answer only if no other is found. */
static CHILD int child_exec(const struct child *c)
{
	bool refused = false;
	int e = ENOENT;

	for (char *const *p = c->programs; *p; p++) {
		syscall(SYS_execve, *p, c->spawn->argv, c->env);
		e = errno;
		if (e == EACCES)
			refused = true;
		else if (e != ENOENT && e != ENOTDIR && e != ESTALE && e != ENODEV &&
			 e != ETIMEDOUT)
			return -e;
	}
	return refused ? -EACCES : -e;
}

static CHILD void child_main(void *arg)
{
	struct child *c = arg;
	int e = child_settle(c);

	c->err = e ? e : child_exec(c);
	for (;;)
		syscall(SYS_exit_group, 127);
}

/* ---- in the parent */

/*
 * clone(2) of a child that runs fn(arg), which does not return, on another stack. Not libc's, which
 * ThreadSanitizer replaces by one that takes the child for a copy of the memory.
 */
static long clone_on(void *stack_top, unsigned long flags, int *pidfd, void (*fn)(void *),
		     void *arg)
{
#if defined(__x86_64__)
	register long child_tid __asm__("r10") = 0;
	register long tls __asm__("r8") = 0;
	long ret;

	__asm__ volatile("syscall\n\t"
			 "test %%rax, %%rax\n\t"
			 "jnz 1f\n\t"
			 "mov %[fn], %%rax\n\t"
			 "mov %[arg], %%rdi\n\t"
			 "xor %%ebp, %%ebp\n\t"
			 "call *%%rax\n\t"
			 "hlt\n"
			 "1:"
			 : "=&a"(ret)
			 : "0"((long)SYS_clone), "D"(flags), "S"(stack_top), "d"(pidfd),
			   "r"(child_tid), "r"(tls), [fn] "r"(fn), [arg] "r"(arg)
			 : "rcx", "r11", "memory", "cc");
	return ret;
#elif defined(__aarch64__)
	register long number __asm__("x8") = SYS_clone;
	register long x0 __asm__("x0") = (long)flags;
	register long x1 __asm__("x1") = (long)stack_top;
	register long x2 __asm__("x2") = (long)pidfd;
	register long x3 __asm__("x3") = 0;
	register long x4 __asm__("x4") = 0;

	__asm__ volatile("svc #0\n\t"
			 "cbnz x0, 1f\n\t"
			 "mov x0, %[arg]\n\t"
			 "mov x29, xzr\n\t"
			 "blr %[fn]\n\t"
			 "brk #0\n"
			 "1:"
			 : "+r"(x0)
			 : "r"(number), "r"(x1), "r"(x2), "r"(x3),
			   "r"(x4), [fn] "r"(fn), [arg] "r"(arg)
			 : "memory", "cc");
	return x0;
#else
#error "the clone of this machine is missing"
#endif
}

static int clone_child(struct child *c, int *pid)
{
	uint64_t all = ~UINT64_C(0), before;
	char *stack = mmap(NULL, CHILD_STACK_BYTES, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
	int pidfd = -1;
	long r;

	if (stack == MAP_FAILED)
		return -ENOMEM;
	/* A handler of ours in the child would run in our memory. */
	syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, &before, SIGSET_BYTES);
	r = clone_on(stack + CHILD_STACK_BYTES, CLONE_VM | CLONE_VFORK | CLONE_PIDFD | SIGCHLD,
		     &pidfd, child_main, c);
	syscall(SYS_rt_sigprocmask, SIG_SETMASK, &before, NULL, SIGSET_BYTES);
	munmap(stack, CHILD_STACK_BYTES);
	if (r < 0)
		return (int)r;
	*pid = (int)r;
	return pidfd;
}

/*
 * The programs that name may mean, in one piece of memory: name itself if it has a slash, else one
 * in each directory of PATH.
 */
static char **programs_of(const char *name)
{
	const char *path = getenv("PATH");
	size_t n = 1, name_bytes = strlen(name) + 1;
	char **list, *at;

	if (!path)
		path = "/bin:/usr/bin";
	if (strchr(name, '/'))
		path = "";
	for (const char *p = path; (p = strchr(p, ':')); p++)
		n++;
	list = calloc(1, (n + 1) * sizeof *list + strlen(path) + n * (name_bytes + 1));
	if (!list)
		return NULL;
	at = (char *)(list + n + 1);
	for (size_t i = 0; i < n; i++) {
		size_t dir = strcspn(path, ":");
		list[i] = at;
		memcpy(at, path, dir);
		at += dir;
		if (dir)
			*at++ = '/';
		memcpy(at, name, name_bytes);
		at += name_bytes;
		path += dir + 1;
	}
	return list;
}

/* Blocks until it has ended, which it does at once. */
static void reap_failed(int pidfd)
{
	siginfo_t info;

	while (waitid((idtype_t)P_PIDFD, (id_t)pidfd, &info, WEXITED) < 0 && errno == EINTR)
		;
}

int sys_proc_spawn(const struct sys_spawn *s, int *pid)
{
	struct child c = { .spawn = s };
	char **programs;
	int pidfd;

	if (!s->argv[0][0])
		return -ENOENT;
	programs = programs_of(s->argv[0]);
	if (!programs)
		return -ENOMEM;
	c.programs = programs;
	c.env = s->env ? (char *const *)s->env : environ;
	c.soft_before = atomic_load(&nofile_before);
	c.soft_now = atomic_load(&nofile_now);
	pidfd = clone_child(&c, pid);
	free(programs);
	if (pidfd < 0 || !c.err)
		return pidfd;
	reap_failed(pidfd);
	close(pidfd);
	return c.err;
}

int sys_proc_reap(int pidfd, struct sys_exit *out)
{
	siginfo_t info = { 0 };

	if (waitid((idtype_t)P_PIDFD, (id_t)pidfd, &info, WEXITED | WNOHANG) < 0)
		return -errno;
	if (!info.si_pid)
		return 0;
	*out = (struct sys_exit){ .code = -1 };
	if (info.si_code == CLD_EXITED)
		out->code = info.si_status;
	else
		out->signo = info.si_status;
	out->core = info.si_code == CLD_DUMPED;
	return 1;
}

int sys_proc_kill(int pidfd, int signo)
{
	return syscall(SYS_pidfd_send_signal, pidfd, signo, NULL, 0) < 0 ? -errno : 0;
}

int sys_proc_kill_group(int pidfd, int pid, int signo)
{
	/* While its leader has not been reaped, no other group can have the number. */
	int e = sys_proc_kill(pidfd, 0);

	if (e == -ESRCH)
		return e;
	return kill(-pid, signo) < 0 ? -errno : 0;
}

/* Above the standard ones, so that none is in the way when they are put in their places. */
static int above_stdio(int fd)
{
	int up;

	if (fd > 2)
		return fd;
	up = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	if (up < 0)
		up = -errno;
	close(fd);
	return up;
}

int sys_pipe(int fd[2])
{
	int e;

	if (pipe2(fd, O_CLOEXEC) < 0)
		return -errno;
	fd[0] = above_stdio(fd[0]);
	fd[1] = above_stdio(fd[1]);
	if (fd[0] >= 0 && fd[1] >= 0)
		return 0;
	e = fd[0] < 0 ? fd[0] : fd[1];
	for (int i = 0; i < 2; i++)
		if (fd[i] >= 0)
			close(fd[i]);
	return e;
}

int sys_nofile_raise(uint64_t *soft, uint64_t *hard)
{
	struct rlimit rl, up;
	int err = 0;

	if (getrlimit(RLIMIT_NOFILE, &rl) < 0)
		return -errno;
	up = (struct rlimit){ rl.rlim_max, rl.rlim_max };
	if (rl.rlim_cur < rl.rlim_max) {
		if (setrlimit(RLIMIT_NOFILE, &up) < 0) {
			err = -errno;
		} else {
			atomic_store(&nofile_before, rl.rlim_cur);
			atomic_store(&nofile_now, up.rlim_cur);
			rl = up;
		}
	}
	*soft = rl.rlim_cur;
	*hard = rl.rlim_max;
	return err;
}
