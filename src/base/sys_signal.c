/*
 * The part of the system table about faults: telling somebody what faulted before the process dies
 * of it as it would have without us, and finding out without dying.
 */
#include "base/sys.h"
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define ALTSTACK_ENOUGH (16u << 10) /* an alternate stack the thread has already may stay */

static void (*fault_fn)(const void *addr);
static struct sigaction before_segv, before_bus;

/* What would have happened without us: with the default the fault repeats, and ends the process. */
static void pass_on(int signo, siginfo_t *info, void *context)
{
	const struct sigaction *before = signo == SIGSEGV ? &before_segv : &before_bus;

	if (before->sa_flags & SA_SIGINFO) {
		before->sa_sigaction(signo, info, context);
	} else if (before->sa_handler != SIG_DFL && before->sa_handler != SIG_IGN) {
		before->sa_handler(signo);
	} else {
		struct sigaction plain = { .sa_handler = SIG_DFL };
		sigaction(signo, &plain, NULL);
		if (info->si_code <= 0)
			raise(signo); /* somebody sent it: nothing would repeat */
	}
}

static void on_fault(int signo, siginfo_t *info, void *context)
{
	int saved = errno;

	if (info->si_code > 0)
		fault_fn(info->si_addr);
	pass_on(signo, info, context);
	errno = saved;
}

int sys_fault_catch(void (*fn)(const void *addr))
{
	struct sigaction sa = { .sa_sigaction = on_fault,
				.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER };

	fault_fn = fn;
	sigemptyset(&sa.sa_mask);
	if (sigaction(SIGSEGV, &sa, &before_segv) < 0 || sigaction(SIGBUS, &sa, &before_bus) < 0)
		return -errno;
	return 0;
}

int sys_altstack_set(void *p, size_t n)
{
	stack_t now, ours = { .ss_sp = p, .ss_size = n };

	if (sigaltstack(NULL, &now) < 0)
		return -errno;
	if (!(now.ss_flags & SS_DISABLE) && now.ss_size >= ALTSTACK_ENOUGH)
		return 0;
	return sigaltstack(&ours, NULL) < 0 ? -errno : 1;
}

void sys_altstack_clear(const void *p)
{
	stack_t now, none = { .ss_flags = SS_DISABLE };

	if (sigaltstack(NULL, &now) == 0 && now.ss_sp == p)
		sigaltstack(&none, NULL);
}

int sys_write(int fd, const void *p, size_t n)
{
	for (const char *at = p; n > 0;) {
		ssize_t done = write(fd, at, n);
		if (done < 0 && errno != EINTR)
			return -errno;
		if (done > 0) {
			at += done;
			n -= (size_t)done;
		}
	}
	return 0;
}

bool sys_readable(const void *p)
{
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	bool readable;

	if (fd < 0)
		return true;
	/* The kernel reads it for us, and has an error for what would be a fault. */
	readable = write(fd, p, sizeof(uint64_t)) >= 0 || errno != EFAULT;
	close(fd);
	return readable;
}
