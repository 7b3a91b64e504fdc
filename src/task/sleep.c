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

static int sleep_till(int64_t ns, const char *call)
{
	struct task *t = task_running();

	if (ns > t->sched->loop->now_ns)
		return wait_until(ns, call);
	task_yield(t);
	return 0;
}

int rln_sleep(rln_ns dur)
{
	int err = wait_enter("rln_sleep");

	if (err)
		return err;
	/* From the clock, not from the turn's: a sleep is never short. */
	if (dur <= 0)
		return sleep_till(INT64_MIN, "rln_sleep");
	return sleep_till(time_after(sys_now(), dur), "rln_sleep");
}

int rln_sleep_until(rln_ns t)
{
	int err = wait_enter("rln_sleep_until");
	return err ? err : sleep_till(t, "rln_sleep_until");
}

int rln_yield(void)
{
	int err = wait_enter("rln_yield");

	if (!err)
		task_yield(task_running());
	return err;
}

int rln_checkpoint(void)
{
	int err = wait_enter("rln_checkpoint");
	struct task *t;
	struct sched *s;
	int64_t now_ns;

	if (err)
		return err;
	/* A loop that computes calls this rarely: the clock is read each time. */
	t = task_running();
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
