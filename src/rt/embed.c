/*
 * The worker of an embedded runtime, stepped by its owner's loop. How a step ends without losing an
 * event is loop/embed.c's business; the start and the end are runtime.c's.
 */
#include "ringline/embed.h"

#include "base/assert.h"
#include "base/ctx.h"
#include "base/log.h"
#include "rt/runtime.h"
#include <errno.h>

/* A step that has lasted so long begins no other turn. One turn runs tasks for at most 500 us. */
#define STEP_NS 1000000
#define STEP_TURNS 256 /* should the clock stand still */

static int refuse(rln_runtime *rt, int err, const char *call, const char *why)
{
	if (!rt->misuse_told)
		log_line_to(&rt->cfg.log, RLN_LOG_ERROR, "%s: %s", call, why);
	rt->misuse_told = true;
	return err;
}

/* May this thread run rt's worker now? */
static int check_caller(rln_runtime *rt, const char *call)
{
	if (!rt || !rt->cfg.set.embed)
		return -EINVAL;
	if (worker_current())
		return refuse(
			rt, -EDEADLK, call,
			"this thread runs a worker already (in a task, in a callback, or since "
			"rln_enter): return to your loop first");
	if (!worker_is_here(rt->workers))
		return -EPERM;
	if (!runtime_is_mine(rt))
		return refuse(rt, -EPERM, call,
			      "an embedded runtime belongs to the thread that started it, and this "
			      "is another one; rln_post and rln_shutdown work from any");
	return 0;
}

int rln_poll_fd(rln_runtime *rt)
{
	if (!rt || !rt->cfg.set.embed)
		return -EINVAL;
	return worker_is_here(rt->workers) ? rt->workers->loop.ring.u.ring_fd : -EPERM;
}

/* RLN_STEP_*, or what worker_turn() said when there is no other turn. */
static int take_turns(struct worker *w, bool *ended)
{
	struct loop *l = &w->loop;
	int64_t end_ns = 0;

	for (unsigned i = 0; i < STEP_TURNS; i++) {
		embed_awake(l);
		int e = worker_turn(w, INT64_MIN);
		*ended = e != 0;
		if (e)
			return e;
		if (!embed_pending(l) && embed_rest(l))
			return RLN_STEP_IDLE;
		if (!end_ns)
			end_ns = l->now_ns + STEP_NS; /* when that turn began */
		if (l->now_ns >= end_ns)
			break;
	}
	embed_light(l);
	return RLN_STEP_MORE;
}

int rln_step(rln_runtime *rt)
{
	int e = check_caller(rt, "rln_step");
	bool ended = false;

	if (e)
		return e;
	if (rt->over)
		return RLN_STEP_OVER;
	e = take_turns(rt->workers, &ended);
	loop_pause(&rt->workers->loop);
	if (!ended)
		return e;
	runtime_worker_ends(rt->workers, e);
	rt->over = true;
	return RLN_STEP_OVER;
}

int rln_enter(rln_runtime *rt)
{
	int e = check_caller(rt, "rln_enter");

	if (e)
		return e;
	if (rt->over)
		return -ESHUTDOWN;
	rt->entered = true;
	worker_enter(rt->workers);
	loop_work(&rt->workers->loop);
	return 0;
}

void rln_leave(rln_runtime *rt)
{
	struct worker *w = worker_current();

	RLN_ASSERTF(rt && w && w == rt->workers && rt->entered && !task_running(), "%s",
		    "rln_leave without an rln_enter of the same runtime and thread");
	rt->entered = false;
	if (embed_pending(&w->loop))
		embed_light(&w->loop);
	loop_pause(&w->loop);
	worker_leave(NULL);
}

void embed_run_out(rln_runtime *rt)
{
	struct worker *w = rt->workers;

	if (rt->over)
		return;
	rt->over = true;
	embed_leave(&w->loop);
	runtime_worker_runs(w);
}
