/*
 * Negative controls of the cancellation tests: three ways to wait for a kernel operation that
 * others have shipped. Each must be caught, or the checks of test_kop.c prove nothing.
 */
#include "kop_fixture.h"

#define POISON 0xee
#define OPS 600
#define TEST_FAILED (-101) /* the exit status of a failed check */

enum broken {
	SOUND,
	LEAVES_EARLY,	 /* a cancellation resumes the task, not the operation's completion */
	DROPS_RESULT,	 /* a result that comes with a cancellation is thrown away */
	FORGETS_CANCELS, /* no room for the cancel: it is not sent */
};

static enum broken how;

/* Stands in for a task's own op; never reused, so that only the caller's memory is at risk. */
static struct mock {
	struct op_io io;
	struct op_cancel cancel;
	struct list queue;
	int res;
	bool done;
} mocks[OPS];
static unsigned mock_count;

static void mock_done(struct op_io *io, const struct op_event *ev)
{
	struct mock *m = container_of(io, struct mock, io);
	m->res = ev->res;
	m->done = true;
	wake_all(&m->queue, 0);
}

static bool may_cancel(void)
{
	return how != FORGETS_CANCELS || list_empty(&loop.ops.waiting);
}

static int mock_receive(void *buf, size_t n)
{
	struct mock *m = &mocks[mock_count++];
	int why = wait_enter("receive");

	if (why)
		return why;
	CHECK_INT(mock_count, <=, OPS);
	list_init(&m->queue);
	op_io_init(&m->io, OP_RECV, mock_done);
	op_cancel_init(&m->cancel, NULL);
	m->io.a.fd = pair[0];
	m->io.a.buf = buf;
	m->io.a.len = (uint32_t)n;
	op_submit(&loop.ops, &m->io.op);
	why = wait_on(&m->queue, "receive");
	if (!why)
		return m->res;
	if (how == LEAVES_EARLY)
		return why;
	if (may_cancel())
		op_cancel_with(&loop.ops, &m->io.op, &m->cancel);
	while (!m->done)
		wait_uncancellable(&m->queue, "receive");
	return m->res == -ECANCELED || how == DROPS_RESULT ? why : m->res;
}

static void go(int (*fn)(void *))
{
	struct task *t;
	struct task_spec spec = { .fn = fn, .file = "here.c" };
	CHECK_INT(task_create(&sched, &spec, &t), ==, 0);
}

static void drive(void)
{
	/* waiting for ever is what only a forgotten cancel looks like; else the machine is slow */
	int64_t limit_ns = sys_now() + (how == FORGETS_CANCELS ? 1000 : 20000) * MS;
	while (sched.stats.tasks) {
		CHECK_INT(loop_turn(&loop, loop.now_ns + 10 * MS), ==, 0);
		CHECK(sys_now() < limit_ns && "a task waits for ever");
	}
}

static rln_scope race_scope;

/* What the frame held must stay what it was, once the call has returned. */
static __attribute__((noinline)) int race_once(void)
{
	unsigned char buf[64];
	int res;

	memset(buf, POISON, sizeof buf);
	rln_scope_begin(&race_scope, RLN_FOREVER);
	res = mock_receive(buf, sizeof buf);
	(void)rln_scope_end(&race_scope);
	memset(buf, POISON, sizeof buf);
	for (int i = 0; i < 4; i++)
		CHECK_INT(rln_sleep(RLN_MS(1)), ==, 0);
	for (unsigned i = 0; i < sizeof buf; i++)
		CHECK_INT(((volatile unsigned char *)buf)[i], ==, POISON);
	return res;
}

static int race_reader(void *arg)
{
	unsigned got = 0;
	(void)arg;
	for (int i = 0; i < 20; i++) {
		int res = race_once();
		CHECK(res > 0 || res == -ECANCELED);
		got += res > 0 ? (unsigned)res : 0;
	}
	for (char c; recv(pair[0], &c, 1, MSG_DONTWAIT) == 1;)
		got++;
	CHECK(got == 20 && "every byte once");
	return 0;
}

/* The byte comes before the cancellation, its completion posted and not seen yet; or right after.
 */
static int race_writer(void *arg)
{
	(void)arg;
	for (unsigned i = 0; i < 20; i++) {
		while (mock_count <= i || (mocks[i].io.op.state != OP_LIVE && !mocks[i].done))
			CHECK_INT(rln_yield(), ==, 0);
		CHECK_INT(rln_sleep(RLN_MS(1)), ==, 0); /* the kernel has it */
		bool over = mocks[i].done; /* by a byte that was left from the round before */
		if (i % 2 && !over)
			rln_scope_cancel(&race_scope);
		CHECK_INT(write(pair[1], "x", 1), ==, 1);
		if (i % 2 || over)
			continue;
		CHECK_INT(ring_enter(&loop.ring, 0, 0), ==, 0);
		rln_scope_cancel(&race_scope);
	}
	return 0;
}

static void race(void)
{
	up_sized(8);
	go(race_reader);
	go(race_writer);
	drive();
}

static int herd_member(void *arg)
{
	char c;
	(void)arg;
	CHECK_INT(RLN_WITHIN(RLN_MS(20), mock_receive(&c, 1)), ==, -ETIME);
	return 0;
}

static void herd(void)
{
	up_sized(4);
	for (unsigned i = 0; i < 200; i++)
		go(herd_member);
	drive();
}

static void end_ok(void (*fn)(void))
{
	fn();
	_exit(7);
}

static void sound_race(void)
{
	end_ok(race);
}

static void sound_herd(void)
{
	end_ok(herd);
}

static void need_ring(void)
{
	up_sized(8);
	sched_close(&sched);
}

TEST(kop_broken_checks_pass_what_is_sound)
{
	need_ring();
	how = SOUND;
	CHECK_DIES(sound_race, -7, NULL);
	CHECK_DIES(sound_herd, -7, NULL);
}

TEST(kop_broken_leaving_before_the_completion_is_caught)
{
	need_ring();
	how = LEAVES_EARLY;
	CHECK_DIES(race, TEST_FAILED, "POISON");
}

TEST(kop_broken_dropping_a_result_is_caught)
{
	need_ring();
	how = DROPS_RESULT;
	CHECK_DIES(race, TEST_FAILED, "every byte once");
}

TEST(kop_broken_forgetting_a_cancel_is_caught)
{
	need_ring();
	how = FORGETS_CANCELS;
	CHECK_DIES(herd, TEST_FAILED, "waits for ever");
}
