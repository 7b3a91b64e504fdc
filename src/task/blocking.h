/*
 * Work for helper threads on behalf of a task, in two forms: the task's frame stays until it has
 * ended, or the task may leave it behind.
 */
#ifndef RINGLINE_TASK_BLOCKING_H
#define RINGLINE_TASK_BLOCKING_H

#include "base/sys.h"
#include "task/task.h"

/*
 * One call. Its last news comes as a message to the worker, by which `arrived` is set.
 *
 *   WAITED --run has ended--> ENDED --message--> arrived
 *      \--the task leaves--> LEFT --run has ended--> freed by the helper thread
 */
struct blocking {
	struct sys_job job;
	struct inbox_msg msg;
	struct inbox *in;
	struct sys_pool *pool; /* NULL: the scheduler's */
	struct list waiter;
	_Atomic(uint32_t) state;
	bool arrived;
	int result;
	int (*run)(struct blocking *b); /* on a helper thread */
	void (*fini)(
		struct blocking *b); /* NULL, or: there too, when run has ended, in every outcome */
};

/* b on the task's stack. Not begun: withdrawn at cancellation; begun: its result is awaited. */
int blocking_run(struct blocking *b, const char *call);
/*
 * b from sys_alloc(), run and fini set. At cancellation the task leaves: then 1 in *left, and b is
 * gone or will be. Otherwise b is the caller's to free when this returns. -EAGAIN, -ESHUTDOWN: it
 * was not begun, and fini does not run.
 */
int blocking_run_owned(struct blocking *b, const char *call, bool *left);

#endif
