/*
 * Whether a worker stalls, and what is said of it. When to look is runtime.c's business; how the
 * stack of another thread is read, base/sys_trace.c's.
 */
#include "rt/stall.h"

#include "base/log.h"
#include "base/sys.h"
#include "ringline/base.h"
#include "rt/worker.h"
#include <string.h>

#define FRAMES_MAX 32
#define PERIOD_MIN_NS 1000000
#define TRACE_NS 1000000000 /* how long the worker may take to say where it is */

int64_t stall_period(int64_t warn_ns)
{
	return warn_ns / 2 > PERIOD_MIN_NS ? warn_ns / 2 : PERIOD_MIN_NS;
}

bool stall_look(struct stall_watch *s, int64_t since_ns, int64_t now_ns, int64_t warn_ns)
{
	/* This thread did not run either: the process was stopped, or the machine is overloaded. */
	bool late = now_ns - s->looked_ns > 2 * stall_period(warn_ns);

	s->looked_ns = now_ns;
	if (!since_ns || since_ns != s->since_ns) {
		s->since_ns = since_ns;
		s->told = false;
		return false;
	}
	if (s->told || late || now_ns - since_ns <= warn_ns)
		return false;
	s->told = true;
	return true;
}

/* Filled in by the worker itself, in a signal handler: plain copies only. */
struct culprit {
	bool known, task;
	unsigned slot;
	int line;
	char name[64], file[192];
};

static void copy_text(char *to, const char *from, size_t cap)
{
	size_t n = from ? strnlen(from, cap - 1) : 0;

	memcpy(to, from ? from : "", n);
	to[n] = 0;
}

static void look_around(void *arg)
{
	struct culprit *c = arg;
	const struct task *t = task_running();

	c->known = true;
	if (!t)
		return;
	c->task = true;
	c->slot = t->slot;
	c->line = t->line;
	copy_text(c->name, t->name ? t->name : "without a name", sizeof c->name);
	copy_text(c->file, t->file, sizeof c->file);
}

static void say_who(const struct worker *w, const struct culprit *c, int64_t stalled_ns)
{
	const struct log_sink *log = &w->shared->cfg->log;
	long long ms = stalled_ns / 1000000;

	if (c->task)
		log_line_to(log, RLN_LOG_WARN,
			    "worker %u has not come back to its loop for %lld ms: task %u.%u %s "
			    "(spawned %s:%d) neither waits nor yields",
			    w->index, ms, w->index, c->slot, c->name, c->file, c->line);
	else
		log_line_to(log, RLN_LOG_WARN,
			    "worker %u has not come back to its loop for %lld ms: it is %s",
			    w->index, ms,
			    c->known ? "in a callback, not in a task" : "not known where");
}

static void report(const struct worker *w, int64_t stalled_ns)
{
	const struct log_sink *log = &w->shared->cfg->log;
	int tid = atomic_load_explicit(&w->tid, memory_order_relaxed);
	struct culprit c = { .known = false };
	void *frame[FRAMES_MAX];
	char name[256];

	int n = sys_thread_trace(tid, frame, FRAMES_MAX, TRACE_NS, look_around, &c);
	say_who(w, &c, stalled_ns);
	if (n < 0)
		log_line_to(log, RLN_LOG_WARN, "worker %u: its call stack cannot be had: %s",
			    w->index, rln_strerror(n));
	for (int i = 0; i < n; i++) {
		sys_symbol(frame[i], name, sizeof name);
		log_line_to(log, RLN_LOG_WARN, "worker %u:   #%d %p %s", w->index, i, frame[i],
			    name);
	}
}

void stall_check(struct worker *w, int64_t now_ns)
{
	int64_t since_ns = atomic_load_explicit(&w->loop.busy_since_ns, memory_order_relaxed);

	if (stall_look(&w->watch, since_ns, now_ns, w->shared->cfg->set.stall_warn))
		report(w, now_ns - since_ns);
}
