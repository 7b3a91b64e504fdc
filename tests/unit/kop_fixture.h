/*
 * What the tests of a task's kernel operation share: a scheduler on a loop with a real ring, and a
 * pair of connected sockets.
 */
#ifndef RINGLINE_TESTS_KOP_FIXTURE_H
#define RINGLINE_TESTS_KOP_FIXTURE_H

#include "base/ctx.h"
#include "base/sys.h"
#include "ring/caps.h"
#include "task/task.h"
#include "test.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#define MS INT64_C(1000000)

static struct loop loop;
static struct sched sched;
static struct ctx ctx = { .loop = &loop, .sched = &sched };
static int pair[2];

static inline void up_sized(unsigned sq)
{
	struct loop_config cfg = {
		.ring = { .sq_entries = sq, .cq_entries = sq * 2, .sqpoll_cpu = -1 }
	};
	struct diag why;

	if (loop_open(&loop, &cfg, &why) < 0)
		SKIP("io_uring: %s", why.line);
	CHECK_INT(loop_start(&loop, &why), ==, 0);
	CHECK_INT(sched_open(&sched, &loop, &(struct sched_config){ 0 }), ==, 0);
	ctx_current_ = &ctx;
	CHECK_INT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), ==, 0);
}

/* Until every task has ended; then all of it goes. */
static inline void kop_down(void (*turn)(void))
{
	int64_t limit_ns = sys_now() + 20000 * MS;
	while (sched.stats.tasks) {
		turn();
		CHECK(sys_now() < limit_ns);
	}
	sched_close(&sched);
	inbox_close(&loop.inbox);
	while (!ops_idle(&loop.ops))
		turn();
	loop_close(&loop);
	ctx_current_ = NULL;
	close(pair[0]);
	close(pair[1]);
}

#endif
