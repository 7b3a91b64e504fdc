/*
 * The fault part of the system table in a simulation: the process belongs to the test, whose own
 * handlers print the seed. Nothing is caught here, and what a task writes goes to stderr.
 */
#include "base/assert.h"
#include "base/sys.h"
#include "sim/sim.h"
#include <errno.h>
#include <stdlib.h>
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

/* ---- signals that are waited for: the test sends them */
struct sim_watch {
	struct sim_watch *next;
	int signo, id;
	void (*fn)(void *arg);
	void *arg;
};

int sys_signal_watch(int signo, void (*fn)(void *arg), void *arg)
{
	struct world *w = world_current();
	struct sim_watch *s;

	if (signo < 1 || signo == SIGKILL || signo == SIGSTOP || signo == SIGSEGV || signo >= NSIG)
		return -EINVAL;
	s = malloc(sizeof *s);
	RLN_ASSERT(s);
	*s = (struct sim_watch){ .next = w->watches, .signo = signo, .fn = fn, .arg = arg };
	s->id = w->watches ? w->watches->id + 1 : 0;
	w->watches = s;
	return s->id;
}

void sys_signal_unwatch(int id)
{
	struct sim_watch **at = &world_current()->watches, *s;

	while ((s = *at) && s->id != id)
		at = &s->next;
	RLN_ASSERT(s);
	*at = s->next;
	free(s);
}

unsigned world_signal(struct world *w, int signo)
{
	unsigned n = 0;

	for (struct sim_watch *s = w->watches; s; s = s->next) {
		if (s->signo != signo)
			continue;
		s->fn(s->arg);
		n++;
	}
	return n;
}

void watches_free(struct world *w)
{
	while (w->watches) {
		struct sim_watch *s = w->watches;
		w->watches = s->next;
		free(s);
	}
}
