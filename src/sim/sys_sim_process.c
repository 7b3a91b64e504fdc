/*
 * The part of the system table about child processes, in a simulation: there are none, since what
 * they do would be neither on virtual time nor of the seed's choosing.
 */
#include "base/sys.h"
#include <errno.h>

int sys_proc_spawn(const struct sys_spawn *s, int *pid)
{
	(void)s;
	(void)pid;
	return -ENOSYS;
}

int sys_proc_reap(int pidfd, struct sys_exit *out)
{
	(void)pidfd;
	(void)out;
	return -ECHILD;
}

int sys_proc_kill(int pidfd, int signo)
{
	(void)pidfd;
	(void)signo;
	return -ESRCH;
}

int sys_proc_kill_group(int pidfd, int pid, int signo)
{
	(void)pid;
	return sys_proc_kill(pidfd, signo);
}

int sys_pipe(int fd[2])
{
	fd[0] = fd[1] = -1;
	return -ENOSYS;
}
