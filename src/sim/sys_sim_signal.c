/*
 * The fault part of the system table in a simulation: the process belongs to the test, whose own
 * handlers print the seed. Nothing is caught here, and what a task writes goes to stderr.
 */
#include "base/sys.h"
#include <errno.h>
#include <unistd.h>

int sys_fault_catch(void (*fn)(const void *addr))
{
	(void)fn;
	return 0;
}

int sys_altstack_set(void *p, size_t n)
{
	(void)p;
	(void)n;
	return 0;
}

void sys_altstack_clear(const void *p)
{
	(void)p;
}

int sys_write(int fd, const void *p, size_t n)
{
	return write(fd == 2 ? 2 : -1, p, n) < 0 ? -EBADF : 0;
}

bool sys_readable(const void *p)
{
	(void)p;
	return false;
}

/* Nothing runs beside the simulation that could be looked at. */
int sys_trace_signal(void)
{
	return 0;
}

int sys_trace_open(void)
{
	return -EBUSY;
}

int sys_thread_trace(int tid, void **frame, int cap, int64_t timeout_ns, void (*look)(void *arg),
		     void *arg)
{
	(void)tid;
	(void)frame;
	(void)cap;
	(void)timeout_ns;
	(void)look;
	(void)arg;
	return -EBUSY;
}

void sys_symbol(const void *addr, char *buf, size_t cap)
{
	(void)addr;
	if (cap)
		buf[0] = 0;
}
