/*
 * The public calls about time and turns: now, sleep, yield, checkpoint.
 */
#include "base/sys.h"
#include "task/internal.h"

rln_ns rln_now(void)
{
	struct sched *s = sched_current();
	return s ? s->loop->now_ns : sys_now();
}

static int sleep_till(struct task *t, int64_t ns, const char *call)
{
	if (ns > t->sched->loop->now_ns)
		return wait_until(ns, call);
	task_yield(t);
	return 0;
}

int rln_sleep(rln_ns dur)
{
	struct task *t;
	int err = wait_enter_task("rln_sleep", &t);

	if (err)
		return err;
	/* From the clock, not from the turn's: a sleep is never short. */
	return sleep_till(t, dur <= 0 ? INT64_MIN : time_after(sys_now(), dur), "rln_sleep");
}

int rln_sleep_until(rln_ns until)
{
	struct task *t;
	int err = wait_enter_task("rln_sleep_until", &t);
	return err ? err : sleep_till(t, until, "rln_sleep_until");
}

int rln_yield(void)
{
	struct task *t;
	int err = wait_enter_task("rln_yield", &t);

	if (!err)
		task_yield(t);
	return err;
}

int rln_checkpoint(void)
{
	struct task *t;
	struct sched *s;
	int64_t now_ns;
	int err = wait_enter_task("rln_checkpoint", &t);

	if (err)
		return err;
	/* A loop that computes calls this rarely: the clock is read each time. */
	s = t->sched;
	now_ns = sys_now();
	if (!s->slice_end_ns)
		s->slice_end_ns = now_ns + s->cfg.slice_ns;
	else if (now_ns >= s->slice_end_ns)
		sched_slice_over(s, t, now_ns);
	else
		wait_done_quickly();
	return 0;
}
