/*
 * The helper threads of a simulation: none. A job runs inline, off every worker, at a later time
 * that the seed chooses: soon, or long after whoever asked has lost interest. Names are the test's.
 */
#include "base/assert.h"
#include "base/ctx.h"
#include "base/sys.h"
#include "sim/sim.h"
#include <errno.h>
#include <stdlib.h>

struct sys_pool {
	bool open;
};

struct sim_job {
	struct list node; /* world.jobs, soonest first; FIFO among equals */
	struct sys_job *job;
	int64_t due;
};

int sys_pool_open(struct sys_pool **out, unsigned keep, unsigned max, bool low)
{
	(void)low;
	(void)keep;
	(void)max;
	*out = sys_zalloc(sizeof **out);
	if (!*out)
		return -ENOMEM;
	(*out)->open = true;
	return 0;
}

int sys_pool_submit(struct sys_pool *p, struct sys_job *job)
{
	struct world *w = world_current();
	struct sim_job *j = malloc(sizeof *j);
	struct list *at;

	RLN_ASSERT(j && p->open);
	j->job = job;
	j->due = w->now + 1 + latency(w) * (chance(w, 4) ? 1000 : 1);
	for (at = w->jobs.next; at != &w->jobs; at = at->next)
		if (container_of(at, struct sim_job, node)->due > j->due)
			break;
	list_init(&j->node);
	list_push_back(at, &j->node); /* in front of at */
	return 0;
}

static struct sys_job *take(struct sim_job *j)
{
	struct sys_job *job = j->job;

	list_remove(&j->node);
	free(j);
	return job;
}

bool sys_pool_withdraw(struct sys_pool *p, struct sys_job *job)
{
	(void)p;
	list_for_each (n, &world_current()->jobs) {
		struct sim_job *j = container_of(n, struct sim_job, node);
		if (j->job == job) {
			take(j);
			return true;
		}
	}
	return false;
}

/* Its threads go on without it. */
void sys_pool_close(struct sys_pool *p)
{
	sys_free(p);
}

unsigned sys_pool_threads(struct sys_pool *p)
{
	(void)p;
	return 0;
}

int64_t jobs_next(const struct world *w)
{
	return list_empty(&w->jobs) ? INT64_MAX
				    : container_of(w->jobs.next, struct sim_job, node)->due;
}

void jobs_run(struct world *w)
{
	struct ctx *worker = ctx_current_;

	ctx_current_ = NULL; /* a helper thread is no worker */
	while (jobs_next(w) <= w->now) {
		struct sys_job *job = take(container_of(w->jobs.next, struct sim_job, node));
		job->run(job);
	}
	ctx_current_ = worker;
}

void jobs_free(struct world *w)
{
	while (!list_empty(&w->jobs))
		take(container_of(w->jobs.next, struct sim_job, node));
}

int sys_resolve(const char *host, uint16_t port, struct sockaddr_storage *out, int max)
{
	struct world *w = world_current();

	return w->cfg.resolve ? w->cfg.resolve(w, host, port, out, max) : -EHOSTUNREACH;
}
