/*
 * rln_select(): one wait with several nodes, and the arms that belong to no other file (time,
 * joins). No arm has a kernel operation of its own, so a wait that is lost costs a list removal.
 */
#include "task/select.h"

#include "base/assert.h"
#include "base/sys.h"
#include "task/internal.h"
#include <errno.h>

_Static_assert(sizeof(struct arm) <= sizeof(rln_arm), "struct arm does not fit rln_arm");
_Static_assert(_Alignof(struct arm) <= _Alignof(rln_arm), "rln_arm is not aligned enough");
_Static_assert(offsetof(struct arm, res) == offsetof(rln_arm, res), "users read res");

#define CALL "rln_select"

static struct arm *arm_at(rln_arm *arms, int i)
{
	return (struct arm *)&arms[i];
}

/* ---- time */

static bool after_take(struct arm *a)
{
	a->res = 0;
	return a->on.ns <= 0;
}

/* It has no node: the wait itself ends at the earliest of these. */
static int after_link(struct arm *a)
{
	(void)a;
	return 0;
}

static const struct arm_kind arm_after = { .take = after_take, .link = after_link };

rln_arm rln_on_after(rln_ns dur)
{
	return arm_make(&arm_after, (struct arm){ .on.ns = dur });
}

/* ---- joins */

static bool join_take(struct arm *a)
{
	struct task *t;

	a->res = task_join_begin((rln_task){ a->on.h }, &t);
	if (a->res)
		return true;
	if (!task_has_ended(t))
		return false;
	task_join_end(t, a->w.slot);
	return true;
}

static int join_link(struct arm *a)
{
	struct task *t;
	int err = task_join_begin((rln_task){ a->on.h },
				  &t); /* again: an arm before it may be the same */

	if (err)
		return err;
	t->holds |= HOLD_JOINER;
	list_push_back(&t->joiner, &a->w.node);
	a->aux = (uintptr_t)t;
	return 0;
}

static void join_won(struct arm *a)
{
	task_join_end((struct task *)(uintptr_t)a->aux, a->w.slot);
}

static void join_unlink(struct arm *a)
{
	task_drop((struct task *)(uintptr_t)a->aux, HOLD_JOINER);
}

static const struct arm_kind arm_join = {
	.take = join_take, .link = join_link, .won = join_won, .unlink = join_unlink
};

rln_arm rln_on_join(rln_task t, int *result)
{
	return arm_make(&arm_join, (struct arm){ .on.h = t.h, .w.slot = result });
}

/* ---- the wait */

struct selection {
	struct task *task;
	rln_arm *arms;
	int n;
	int linked;	      /* arms [0, linked) are */
	int timed;	      /* which one wins when the time has come; -1: none */
	int64_t wake_ns;      /* that time */
	struct waiter *first; /* the chain of nodes */
};

static void unlink_arms(struct selection *s)
{
	for (int i = 0; i < s->linked; i++) {
		struct arm *a = arm_at(s->arms, i);
		list_remove(&a->w.node);
		if (a->kind && a->kind->unlink)
			a->kind->unlink(a);
	}
}

static void time_arm(struct selection *s, int i, int64_t now_ns)
{
	int64_t ns = time_after(now_ns, arm_at(s->arms, i)->on.ns);

	if (ns < s->wake_ns) {
		s->wake_ns = ns;
		s->timed = i;
	}
}

/* False: arm s->linked is the winner, by an error or because it became ready. */
static bool link_arms(struct selection *s)
{
	struct waiter **tail = &s->first;
	int64_t now_ns = 0;

	for (; s->linked < s->n; s->linked++) {
		struct arm *a = arm_at(s->arms, s->linked);
		waiter_init(&a->w, s->task, a->w.slot);
		if (!a->kind)
			continue;
		if (a->kind == &arm_after) {
			now_ns = now_ns ? now_ns : sys_now();
			time_arm(s, s->linked, now_ns);
			continue;
		}
		int e = a->kind->link(a);
		if (e < 0)
			a->res = e;
		if (e)
			return false;
		*tail = &a->w;
		tail = &a->w.next;
	}
	return true;
}

/* INV-87 */
static int select_wait(struct selection *s)
{
	struct waiter *woken;
	int won;

	if (!link_arms(s)) {
		won = s->linked;
		unlink_arms(s);
		return won;
	}
	won = wait_any(s->first, s->wake_ns, CALL, &woken);
	if (won == 0 && woken) {
		struct arm *a = container_of(woken, struct arm, w);
		won = (int)((rln_arm *)a - s->arms);
		a->res = woken->res;
		if (a->kind->won)
			a->kind->won(a);
	} else if (won == 0) {
		won = s->timed;
		arm_at(s->arms, won)->res = 0;
	}
	unlink_arms(s);
	return won;
}

int rln_select(rln_arm *arms, int n)
{
	struct task *t;
	int err = wait_enter_task(CALL, &t);

	if (err)
		return err;
	if (!arms || n < 1 || n > RLN_SELECT_MAX)
		return -EINVAL;
	for (int i = 0; i < n; i++) {
		struct arm *a = arm_at(arms, i);
		if (a->kind && a->kind->take(a)) {
			wait_done_quickly();
			return i;
		}
	}
	return select_wait(&(struct selection){
		.task = t, .arms = arms, .n = n, .timed = -1, .wake_ns = INT64_MAX });
}
