/*
 * Groups: children that end before the block that holds their group does. A group stands in its
 * task's stack of scopes, so the discipline is checked together; the scopes outside it count for
 * its children, across any number of tasks. A cancellation is pushed down to whoever it concerns
 * and stays with them; deadlines, which can be extended, are looked up.
 */
#include "base/assert.h"
#include "task/internal.h"
#include "task/select.h"
#include <errno.h>

_Static_assert(sizeof(struct group) <= sizeof(rln_group), "struct group does not fit rln_group");
_Static_assert(_Alignof(struct group) <= _Alignof(rln_group), "rln_group is not aligned enough");

static struct group *group_of(rln_group *g)
{
	return (struct group *)g;
}

/* ---- the tree of tasks: a task's groups, a group's children */

/* The innermost group from sc outwards, up to limit; the task's own children come last. */
static struct group *group_from(const struct task *t, struct scope *sc, const struct scope *limit)
{
	while (sc != limit && !sc->group)
		sc = sc->outer;
	if (sc != limit)
		return container_of(sc, struct group, mark);
	return limit ? NULL : t->kids;
}

/* Of the groups of t inside limit the innermost that no shield covers. */
static struct group *group_first(const struct task *t, const struct scope *limit)
{
	struct scope *from = t->scope;

	for (struct scope *sc = from; sc != limit; sc = sc->outer)
		if (sc->shield)
			from = sc->outer;
	return group_from(t, from, limit);
}

static struct group *group_next(const struct group *g, const struct scope *limit)
{
	const struct task *t = g->mark.task;
	return g == t->kids ? NULL : group_from(t, g->mark.outer, limit);
}

static struct task *child_from(struct group *g, const struct scope *limit)
{
	for (; g; g = group_next(g, limit))
		if (!list_empty(&g->running))
			return container_of(g->running.next, struct task, sibling);
	return NULL;
}

/* The one after t, depth first, below root. No recursion: trees may be deep, stacks are not. */
static struct task *tree_next(struct task *t, const struct task *root, const struct scope *limit)
{
	struct task *next = child_from(group_first(t, NULL), NULL);

	while (!next && t != root) {
		struct group *g = t->group;
		struct task *owner = g->mark.task;
		const struct scope *end = owner == root ? limit : NULL;
		if (t->sibling.next != &g->running)
			return container_of(t->sibling.next, struct task, sibling);
		next = child_from(group_next(g, end), end);
		t = owner;
	}
	return next;
}

/* INV-88 */
void tree_visit(struct task *root, const struct scope *limit, void (*fn)(struct task *t))
{
	for (struct task *t = child_from(group_first(root, limit), limit); t;
	     t = tree_next(t, root, limit))
		fn(t);
}

unsigned task_children(const struct task *t)
{
	unsigned n = t->kids ? t->kids->running_count : 0;

	for (const struct scope *sc = t->scope; sc; sc = sc->outer)
		if (sc->group)
			n += container_of(sc, const struct group, mark)->running_count;
	return n;
}

bool task_has_children(const struct task *t)
{
	return task_children(t) > 0;
}

/* ---- children */

void group_init(struct group *g, struct task *owner)
{
	g->mark = (struct scope){ .task = owner, .deadline_ns = INT64_MAX, .group = true };
	list_init(&g->running);
	list_init(&g->done);
	list_init(&g->waiter);
	g->running_count = g->spawned = g->lost = 0;
	g->failure = 0;
	g->mode = GROUP_OPEN;
	g->cancelled = false;
}

/* A child made now is cancelled from the start: its group was, or what is around that. */
static bool born_cancelled(const struct group *g)
{
	if (g->cancelled)
		return true;
	for (const struct scope *sc = g->mark.outer; sc; sc = sc->outer) {
		if (sc->cancelled)
			return true;
		if (sc->shield)
			return false;
	}
	return g->mark.task->cancelled;
}

void group_adopt(struct group *g, struct task *t)
{
	t->holds |= HOLD_PARENT;
	t->group = g;
	t->index = (int)g->spawned++;
	t->base = scope_around(&g->mark);
	t->cancelled |= born_cancelled(g);
	g->running_count++;
	list_push_back(&g->running, &t->sibling);
}

void group_release(struct task *t)
{
	list_remove(&t->sibling);
	t->group = NULL;
	task_drop(t, HOLD_PARENT);
}

void group_cancel(struct group *g)
{
	g->cancelled = true;
	list_for_each (n, &g->running) {
		struct task *t = container_of(n, struct task, sibling);
		task_cancel_one(t);
		tree_visit(t, NULL, task_cancel_one);
	}
}

static void fail(struct group *g, int result)
{
	if (result >= 0 || g->failure)
		return;
	g->failure = result;
	if (g->mode == GROUP_WAIT)
		group_cancel(g);
}

static void tell(const struct task *t, rln_child *d)
{
	*d = (rln_child){ .arg = t->arg, .index = t->index, .result = t->result };
}

void group_child_ended(struct task *t)
{
	struct group *g = t->group;
	struct waiter *w = waiter_first(&g->waiter);

	g->running_count--;
	list_remove(&t->sibling);
	if (g->mode == GROUP_OPEN && !w) {
		list_push_back(&g->done, &t->sibling);
		return;
	}
	if (g->mode == GROUP_OPEN)
		tell(t, w->slot);
	else if (g->mode == GROUP_WAIT)
		fail(g, t->result);
	if (w && (g->mode == GROUP_OPEN || !g->running_count))
		waiter_wake(w, g->mode == GROUP_OPEN);
	group_release(t);
}

/* Children whose end nobody was told of: their failures count, their records go. */
static void forget_done(struct group *g)
{
	struct list *n;

	if (g->lost)
		fail(g, g->lost_result);
	g->lost = 0;
	while ((n = list_first(&g->done))) {
		struct task *t = container_of(n, struct task, sibling);
		fail(g, t->result);
		group_release(t);
	}
}

void group_join_all(struct group *g, const char *call)
{
	forget_done(g);
	g->mode = GROUP_END;
	if (g->running_count)
		group_cancel(g);
	while (g->running_count)
		wait_uncancellable(&g->waiter, call);
}

/* ---- public */

void rln_group_begin_at(rln_group *user, const char *file, int line)
{
	struct task *t = scope_task("rln_group_begin", file, line);
	struct group *g = group_of(user);

	group_init(g, t);
	g->mark.file = file;
	g->mark.line = line;
	scope_push(&g->mark, t);
}

static struct group *live_group(rln_group *user, const char *call)
{
	struct group *g = group_of(user);

	if (!g->mark.task)
		task_misuse("%s called for a group that has ended", call);
	if (g->mark.task->sched != sched_current())
		task_misuse("%s called for the group begun at %s:%d, of another worker", call,
			    g->mark.file, g->mark.line);
	return g;
}

int rln_group_spawn_at(rln_group *user, int (*fn)(void *arg), void *arg, const rln_task_opts *o,
		       size_t opts_size, const char *file, int line)
{
	struct group *g = live_group(user, "rln_group_spawn");
	struct task_spec spec = { .fn = fn, .arg = arg, .file = file, .line = line, .group = g };
	struct task *t;
	int err = task_read_opts(&spec, o, opts_size);

	if (!err)
		err = task_create(g->mark.task->sched, &spec, &t);
	if (!err)
		return 0;
	if (!g->lost++) {
		g->lost_index = (int)g->spawned;
		g->lost_result = err;
		g->lost_arg = arg;
	}
	g->spawned++;
	return err;
}

/* The group, for a call that only the task that began it may make. */
static struct group *own_group(rln_group *user, const char *call)
{
	struct group *g = live_group(user, call);
	const struct task *t = task_running();

	if (g->mark.task != t)
		task_misuse("%s called in task " TASK_LABEL
			    " for the group begun at %s:%d by task " TASK_LABEL,
			    call, TASK_LABEL_ARGS(t), g->mark.file, g->mark.line,
			    TASK_LABEL_ARGS(g->mark.task));
	return g;
}

/* 1: *d is the next child to tell about; 0: there is none and none runs; -EAGAIN: one runs. */
static int take_done(struct group *g, rln_child *d)
{
	struct task *t;

	if (g->lost) { /* more than one in a row: the others have no arg */
		*d = (rln_child){ g->lost_arg, g->lost_index, g->lost_result };
		g->lost--;
		g->lost_arg = NULL;
		g->lost_index = -1;
		return 1;
	}
	if (list_empty(&g->done))
		return g->running_count ? -EAGAIN : 0;
	t = container_of(g->done.next, struct task, sibling);
	tell(t, d);
	group_release(t);
	return 1;
}

int rln_group_next(rln_group *user, rln_child *d)
{
	int r = wait_enter("rln_group_next");
	struct group *g;

	if (r)
		return r;
	if (!d)
		return -EINVAL;
	g = own_group(user, "rln_group_next");
	r = take_done(g, d);
	if (r == -EAGAIN)
		return wait_with(&g->waiter, d, "rln_group_next");
	wait_done_quickly();
	return r;
}

int rln_group_wait(rln_group *user)
{
	int why = wait_enter("rln_group_wait");
	struct group *g;

	if (why && why != -ECANCELED && why != -ETIME)
		return why;
	g = own_group(user, "rln_group_wait");
	g->mode = GROUP_WAIT;
	g->failure = 0;
	forget_done(g);
	if (why)
		group_cancel(g);
	if (!why && !g->running_count)
		wait_done_quickly();
	while (g->running_count) {
		int e = why || g->failure ? wait_uncancellable(&g->waiter, "rln_group_wait")
					  : wait_on(&g->waiter, "rln_group_wait");
		/* a child's failure that came first has decided already */
		if (e && !g->failure) {
			why = e;
			group_cancel(g);
		}
	}
	g->mode = GROUP_OPEN;
	return why ? why : g->failure;
}

void rln_group_cancel(rln_group *user)
{
	group_cancel(live_group(user, "rln_group_cancel"));
}

int rln_group_end_at(rln_group *user, const char *file, int line)
{
	struct group *g = group_of(user);
	struct task *t = scope_task("rln_group_end", file, line);

	if (t->scope == &g->mark) {
		g->failure = 0;
		group_join_all(g, "rln_group_end");
	}
	scope_pop(&g->mark, "rln_group_end", file, line);
	return g->failure;
}

void rln_group_cleanup_(rln_group *user)
{
	struct group *g = group_of(user);

	if (g->mark.task)
		(void)rln_group_end_at(user, g->mark.file, g->mark.line);
}

/* ---- select */

static bool arm_take(struct arm *a)
{
	struct group *g = own_group(a->on.p, "rln_select");

	a->res = a->w.slot ? take_done(g, a->w.slot) : -EINVAL;
	return a->res != -EAGAIN;
}

static int arm_link(struct arm *a)
{
	struct group *g = group_of(a->on.p);

	if (!list_empty(&g->waiter))
		return -EBUSY;
	list_push_back(&g->waiter, &a->w.node);
	return 0;
}

static const struct arm_kind arm_group = { .take = arm_take, .link = arm_link };

rln_arm rln_on_group(rln_group *g, rln_child *d)
{
	return arm_make(&arm_group, (struct arm){ .on.p = g, .w.slot = d });
}
