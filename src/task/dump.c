/*
 * The list of tasks as a person wants to see it who wonders what a worker is doing.
 */
#include "base/sys.h"
#include "task/internal.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define LINE_MAX_BYTES 2048
#define SCOPES_MAX 8 /* shown of one task, innermost first */

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

/* Of one whose clock starts at the next wait all the time is left. */
static void add_scope(struct line *l, const struct scope *sc, int64_t now_ns)
{
	int64_t end_ns = sc->fresh ? time_after(now_ns, sc->timeout_ns) : sc->deadline_ns;

	add(l, ", %s", sc->shield ? "shield" : sc->group ? "group" : "scope");
	if (sc->file)
		add(l, " %s:%d", sc->file, sc->line);
	if (sc->cancelled) {
		add(l, " cancelled");
	} else if (end_ns <= now_ns) {
		add(l, " expired");
	} else if (end_ns != INT64_MAX) {
		add(l, " ends in ");
		add_ms(l, end_ns - now_ns);
	}
}

static void add_scopes(struct line *l, const struct task *t)
{
	int64_t now_ns = t->sched->loop->now_ns;
	unsigned n = 0;

	if (t->cancelled)
		add(l, ", cancelled");
	for (const struct scope *sc = t->scope; sc; sc = sc->outer)
		if (n++ < SCOPES_MAX)
			add_scope(l, sc, now_ns);
	if (t->base && n < SCOPES_MAX)
		add(l, ", inherits");
	for (const struct scope *sc = t->base; sc; sc = scope_around(sc))
		if (n++ < SCOPES_MAX)
			add_scope(l, sc, now_ns);
	if (n > SCOPES_MAX)
		add(l, ", %u more scopes", n - SCOPES_MAX);
}

/*
 * Now, and at its deepest as far as anybody looked: at its waits, and here for the one that runs.
 */
static void add_stack(struct line *l, const struct task *t)
{
	const struct stack *st = t->stack;
	const uint8_t *sp = t == task_running() ? __builtin_frame_address(0) : t->sp;
	const uint8_t *deepest = st->deepest;
	size_t peak;

	if (t->state == TASK_RUNNING && t != task_running())
		sp = deepest; /* it is not this thread's: where it stands now is not known */
	if (sp < deepest)
		deepest = sp;
	peak = (size_t)(st->top - deepest);
	if (peak < t->peak_bytes)
		peak = t->peak_bytes;
	add(l, ", stack %zu of %zu KiB, at most %zu", ((size_t)(st->top - sp) + 1023) >> 10,
	    (size_t)(st->top - st->bottom) >> 10, (peak + 1023) >> 10);
}

static void dump_task(const struct task *t, int fd)
{
	struct line l = { .n = 0 };

	add(&l, "task %u.%u " TASK_LABEL ": ", t->sched->worker_index, t->slot, TASK_LABEL_ARGS(t));
	add_state(&l, t);
	add_scopes(&l, t);
	if (t->stack)
		add_stack(&l, t);
	if (t->group)
		add(&l, ", child of %u.%u", t->sched->worker_index, t->group->mark.task->slot);
	if (task_children(t))
		add(&l, ", %u children", task_children(t));
	l.text[l.n++] = '\n';
	sys_write(fd, l.text, l.n);
}

void sched_dump(struct sched *s, int fd)
{
	struct line l = { .n = 0 };

	add(&l, "worker %u: %llu tasks, at most %llu at a time\n", s->worker_index,
	    (unsigned long long)s->stats.tasks, (unsigned long long)s->stats.tasks_peak);
	sys_write(fd, l.text, l.n);
	list_for_each (n, &s->tasks)
		dump_task(container_of(n, struct task, all), fd);
}
