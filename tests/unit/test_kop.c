/*
 * A task's one kernel operation, on the real kernel: what cancelling it means in each state, and
 * that nothing is lost, leaked or written too late.
 */
#include "kop_fixture.h"

#include <stdlib.h>

#define SECOND (1000 * MS)

static int result = 1, end_scope = 1;
static rln_scope scope1, scope2;
static char text[64];

static void up(void)
{
	up_sized(8);
}

static void turn(void)
{
	CHECK_INT(loop_turn(&loop, loop.now_ns + 50 * MS), ==, 0);
	sched_check(&sched);
}

static void down(void)
{
	kop_down(turn);
}

static struct task *go(int (*fn)(void *), void *arg)
{
	struct task *t;
	struct task_spec spec = { .fn = fn, .arg = arg, .name = "kop", .file = "here.c" };
	CHECK_INT(task_create(&sched, &spec, &t), ==, 0);
	return t;
}

static int receive(int fd, void *buf, size_t n, int flags)
{
	int err = wait_enter("receive");
	struct op_io io;

	if (err)
		return err;
	task_kop(&io, OP_RECV);
	io.a.fd = fd;
	io.a.buf = buf;
	io.a.len = (uint32_t)n;
	io.a.flags = flags;
	return task_kop_run(&io, "receive");
}

static int receive_once(void *arg)
{
	(void)arg;
	rln_scope_begin(&scope1, RLN_FOREVER);
	result = receive(pair[0], text, sizeof text, 0);
	end_scope = rln_scope_end(&scope1);
	return 0;
}

static void say(const char *s)
{
	CHECK_INT(write(pair[1], s, strlen(s)), ==, strlen(s));
}

/* Has the kernel got it? */
static void turn_until_live(struct task *t)
{
	while (!t->k.io || t->k.io->op.state != OP_LIVE || t->state != TASK_PARKED)
		CHECK_INT(loop_turn(&loop, INT64_MIN), ==, 0);
	CHECK_INT(loop_turn(&loop, INT64_MIN), ==, 0);
}

TEST(kop_result_is_the_kernels)
{
	up();
	go(receive_once, NULL);
	say("hello");
	down();
	CHECK_INT(result, ==, 5);
	CHECK(memcmp(text, "hello", 5) == 0);
	CHECK_INT(end_scope, ==, 0);
}

static int receive_bad(void *arg)
{
	(void)arg;
	result = receive(-1, text, 1, 0);
	return 0;
}

TEST(kop_error_is_the_kernels)
{
	up();
	go(receive_bad, NULL);
	down();
	CHECK_INT(result, ==, -EBADF);
}

static int cancelled_at_entry(void *arg)
{
	struct op_io io;
	(void)arg;
	CHECK_INT(wait_enter("receive"), ==, 0);
	task_kop(&io, OP_RECV);
	io.a.fd = pair[0];
	io.a.buf = text;
	io.a.len = 5;
	task_cancel(task_running());
	result = task_kop_run(&io, "receive");
	CHECK_INT(io.op.state, ==, OP_IDLE);
	CHECK(!task_running()->k.io);
	CHECK_INT(receive(pair[0], text, 5, 0), ==, -ECANCELED);
	RLN_SHIELD(s, RLN_SEC(10));
	return receive(pair[0], text, 5, 0);
}

TEST(kop_cancelled_at_entry_starts_nothing)
{
	up();
	say("hello");
	struct task *t = go(cancelled_at_entry, NULL);
	CHECK_INT(loop.ops.kind_submitted[OP_RECV], ==, 0);
	(void)t;
	down();
	CHECK_INT(result, ==, -ECANCELED);
	CHECK_INT(loop.ops.kind_submitted[OP_RECV], ==, 1); /* the shielded one */
	CHECK(memcmp(text, "hello", 5) == 0);
}

TEST(kop_cancelled_in_flight_had_no_effect)
{
	up();
	struct task *t = go(receive_once, NULL);
	turn_until_live(t);
	task_cancel(t);
	CHECK_INT(t->state, ==, TASK_PARKED); /* resumed by its own completion only */
	down();
	CHECK_INT(result, ==, -ECANCELED);
	CHECK_INT(end_scope, ==, 0);
	CHECK_INT(sched.stats.late_cancels, ==, 0);
}

TEST(kop_scope_cancelled_in_flight_tells_the_scope)
{
	up();
	struct task *t = go(receive_once, NULL);
	turn_until_live(t);
	rln_scope_cancel(&scope1);
	task_cancel(t); /* a second reason changes nothing */
	down();
	CHECK_INT(result, ==, -ECANCELED);
	CHECK_INT(end_scope, ==, -ECANCELED);
	CHECK_INT(loop.ops.kind_submitted[OP_CANCEL], ==, 2); /* one is of the inbox */
}

TEST(kop_result_that_is_already_there_wins_over_the_cancel)
{
	up();
	struct task *t = go(receive_once, NULL);
	turn_until_live(t);
	say("late");
	/* The completion is posted by an enter that does not reap: the cancel comes after it. */
	CHECK_INT(ring_enter(&loop.ring, 0, 0), ==, 0);
	task_cancel(t);
	down();
	CHECK_INT(result, ==, 4);
	CHECK(memcmp(text, "late", 4) == 0);
	CHECK_INT(end_scope, ==, 0); /* no call failed */
	CHECK_INT(sched.stats.late_cancels, ==, 1);
}

static int receive_all(void *arg)
{
	(void)arg;
	rln_scope_begin(&scope1, RLN_FOREVER);
	result = receive(pair[0], text, sizeof text, MSG_WAITALL);
	end_scope = rln_scope_end(&scope1);
	CHECK_INT(rln_yield(), ==, 0);
	return 0;
}

TEST(kop_partial_count_survives_the_cancel)
{
	up();
	struct task *t = go(receive_all, NULL);
	turn_until_live(t);
	say("part");
	turn();
	CHECK_INT(t->state, ==, TASK_PARKED);
	rln_scope_cancel(&scope1);
	down();
	CHECK_INT(result, ==, 4);
	CHECK(memcmp(text, "part", 4) == 0);
	CHECK_INT(end_scope, ==, 0);
}

static int deadlines(void *arg)
{
	(void)arg;
	rln_scope_begin(&scope1, RLN_MS(200));
	rln_scope_begin(&scope2, RLN_MS(3));
	int64_t begin = sys_now();
	CHECK_INT(receive(pair[0], text, 1, 0), ==, -ETIME);
	CHECK_INT(sys_now() - begin, >=, 3 * MS);
	CHECK_INT(receive(pair[0], text, 1, 0), ==, -ETIME); /* at entry */
	CHECK_INT(rln_scope_end(&scope2), ==, -ETIME);
	rln_scope_shield(&scope2, RLN_MS(2));
	CHECK_INT(receive(pair[0], text, 1, 0), ==, -ETIME); /* the grace */
	CHECK_INT(rln_scope_end(&scope2), ==, -ETIME);
	CHECK_INT(receive(pair[0], text, 1, 0), ==, -ETIME);
	CHECK_INT(sys_now() - begin, >=, 200 * MS);
	CHECK_INT(rln_scope_end(&scope1), ==, -ETIME);
	return 0;
}

TEST(kop_deadlines_of_nested_scopes_and_shields)
{
	up();
	go(deadlines, NULL);
	down();
	CHECK_INT(loop.ops.cancels, ==, 0);
}

static int again_and_again(void *arg)
{
	(void)arg;
	for (int i = 0; i < 200; i++) {
		CHECK_INT(RLN_WITHIN(RLN_US(50), receive(pair[0], text, 1, 0)), ==, -ETIME);
		say("x");
		CHECK_INT(receive(pair[0], text, 1, 0), ==, 1);
	}
	return 0;
}

TEST(kop_next_one_is_not_hit_by_the_cancel_of_the_one_before)
{
	up();
	go(again_and_again, NULL);
	down();
}

#define HERD 400
static unsigned herd_ended;
static int herd_fd[HERD][2];

static int herd_member(void *arg)
{
	int *fd = arg;
	char c;
	rln_scope s;
	rln_scope_begin(&s, RLN_MS(30));
	CHECK_INT(receive(fd[0], &c, 1, 0), ==, -ETIME);
	CHECK_INT(rln_scope_end(&s), ==, -ETIME);
	herd_ended++;
	return 0;
}

/* A lost cancel would leave its task waiting for ever. */
TEST(kop_cancels_of_a_herd_survive_a_full_submission_queue)
{
	up_sized(4);
	for (unsigned i = 0; i < HERD; i++) {
		if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, herd_fd[i]) < 0)
			SKIP("%d open files", 2 * HERD);
		go(herd_member, herd_fd[i]);
	}
	down();
	CHECK_INT(herd_ended, ==, HERD);
}

static int queued_and_cancelled(void *arg)
{
	*(int *)arg = receive(pair[0], text, 1, 0);
	return 0;
}

TEST(kop_cancelled_before_it_had_an_entry_never_reaches_the_kernel)
{
	int res[12];
	struct task *t[12];

	up_sized(2);
	for (unsigned i = 0; i < 12; i++)
		t[i] = go(queued_and_cancelled, &res[i]);
	sched_run(&sched);
	CHECK_INT(t[11]->k.io->op.state, ==, OP_QUEUED);
	for (unsigned i = 0; i < 12; i++)
		task_cancel(t[i]);
	CHECK_INT(t[11]->state, ==, TASK_PARKED);
	down();
	for (unsigned i = 0; i < 12; i++)
		CHECK_INT(res[i], ==, -ECANCELED);
	CHECK_INT(loop.ops.kind_submitted[OP_RECV], <, 12);
}

/*
 * The seed of the torture: random deadlines over receives of random sizes into a frame that is
 * poisoned as soon as the call has returned. A byte that arrives later breaks the poison; a byte
 * that is lost or doubled breaks the sequence.
 */
#define TORTURE_BYTES 60000
#define POISON 0xee
static unsigned torture_sum;
static bool torture_fed;

static __attribute__((noinline)) int torture_read(unsigned *next, unsigned seed)
{
	unsigned char buf[512];
	size_t n = 1 + seed % sizeof buf;
	int flags = seed & 1024 ? MSG_WAITALL : 0;
	int res;

	memset(buf, POISON, sizeof buf);
	res = RLN_WITHIN(RLN_US(seed % 400), receive(pair[0], buf, n, flags));
	for (int i = 0; i < res; i++)
		CHECK_INT(buf[i], ==, (*next)++ % 251);
	for (size_t i = res > 0 ? (size_t)res : 0; i < sizeof buf; i++)
		CHECK_INT(buf[i], ==, POISON);
	memset(buf, POISON, sizeof buf);
	(void)rln_yield();
	for (size_t i = 0; i < sizeof buf; i++)
		CHECK_INT(((volatile unsigned char *)buf)[i], ==, POISON);
	return res;
}

static int torture_reader(void *arg)
{
	unsigned next = 0, seed = 12345;
	(void)arg;
	while (next < TORTURE_BYTES) {
		seed = seed * 1103515245 + 12345;
		int res = torture_read(&next, seed >> 8);
		CHECK(res > 0 || res == -ETIME);
	}
	torture_sum = next;
	return 0;
}

static int torture_writer(void *arg)
{
	unsigned next = 0, seed = 999;
	(void)arg;
	while (next < TORTURE_BYTES) {
		unsigned char buf[300];
		seed = seed * 1103515245 + 12345;
		size_t n = 1 + (seed >> 8) % sizeof buf;
		if (n > TORTURE_BYTES - next)
			n = TORTURE_BYTES - next;
		for (size_t i = 0; i < n; i++)
			buf[i] = (unsigned char)((next + i) % 251);
		ssize_t r = send(pair[1], buf, n, MSG_DONTWAIT);
		if (r > 0)
			next += (unsigned)r;
		CHECK_INT(rln_sleep(seed & 4096 ? RLN_US(200) : 0), ==, 0);
	}
	torture_fed = true;
	return 0;
}

TEST_LIMIT(kop_torture_loses_no_byte_and_writes_none_late, 60)
{
	up();
	go(torture_reader, NULL);
	go(torture_writer, NULL);
	down();
	CHECK(torture_fed);
	CHECK_INT(torture_sum, ==, TORTURE_BYTES);
}

static int child_in_kernel(void *arg)
{
	(void)arg;
	result = receive(pair[0], text, 1, 0);
	return result;
}

static int parent_returns(void *arg)
{
	rln_task t;
	(void)arg;
	CHECK_INT(rln_spawn(child_in_kernel, NULL, NULL, &t), ==, 0);
	CHECK_INT(rln_sleep(RLN_MS(2)), ==, 0);
	return 0;
}

TEST(kop_child_in_the_kernel_is_awaited_by_its_parents_return)
{
	up();
	go(parent_returns, NULL);
	down();
	CHECK_INT(result, ==, -ECANCELED);
}
