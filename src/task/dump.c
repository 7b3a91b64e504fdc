/*
 * The list of tasks as a person wants to see it who wonders what a worker is doing.
 */
#include "base/sys.h"
#include "task/internal.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define LINE_MAX_BYTES 512

struct line {
	char text[LINE_MAX_BYTES];
	size_t n;
};

static __attribute__((format(printf, 2, 3))) void add(struct line *l, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(l->text + l->n, sizeof l->text - l->n, fmt, ap);
	va_end(ap);
	l->n += n > 0 ? (size_t)n : 0;
	if (l->n > sizeof l->text - 2)
		l->n = sizeof l->text - 2; /* cut; room for the newline */
}

static void add_ms(struct line *l, int64_t ns)
{
	add(l, "%lld.%03lld s", (long long)(ns / 1000000000), (long long)(ns / 1000000 % 1000));
}

static void add_state(struct line *l, const struct task *t)
{
	static const char *const name[] = {
		[TASK_NEW] = "new",	 [TASK_READY] = "ready", [TASK_RUNNING] = "running",
		[TASK_PARKED] = "waits", [TASK_DEAD] = "ended",
	};

	add(l, "%s", name[t->state]);
	if (t->state != TASK_PARKED)
		return;
	add(l, " in %s%s for ", t->waits_for, t->wait == WAIT_K ? " (kernel)" : "");
	add_ms(l, t->sched->loop->now_ns - t->parked_ns);
}

static void add_scopes(struct line *l, const struct task *t)
{
	int64_t now_ns = t->sched->loop->now_ns;

	if (t->cancelled)
		add(l, ", cancelled");
	for (const struct scope *sc = t->scope; sc; sc = sc->outer) {
		add(l, ", %s", sc->shield ? "shield" : "scope");
		if (sc->cancelled)
			add(l, " cancelled");
		else if (sc->deadline_ns <= now_ns)
			add(l, " expired");
		else if (sc->deadline_ns != INT64_MAX) {
			add(l, " ends in ");
			add_ms(l, sc->deadline_ns - now_ns);
		}
	}
}

static void dump_task(const struct task *t, int fd)
{
	struct line l = { .n = 0 };

	add(&l, "task %u.%u " TASK_LABEL ": ", t->sched->worker_index, t->slot, TASK_LABEL_ARGS(t));
	add_state(&l, t);
	add_scopes(&l, t);
	if (t->stack && t->state != TASK_RUNNING)
		add(&l, ", stack %zu of %zu KiB",
		    ((size_t)(t->stack->top - (uint8_t *)t->sp) + 1023) >> 10,
		    (size_t)(t->stack->top - t->stack->bottom) >> 10);
	if (t->children_alive)
		add(&l, ", %u children", t->children_alive);
	l.text[l.n++] = '\n';
	sys_write(fd, l.text, l.n);
}

void sched_dump(struct sched *s, int fd)
{
	list_for_each (n, &s->tasks)
		dump_task(container_of(n, struct task, all), fd);
}
