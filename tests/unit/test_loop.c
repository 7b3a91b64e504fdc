/* The turn on the real kernel, seen through a kernel that notes every enter. */
#include "loop/loop.h"
#include "ring/caps.h"
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <unistd.h>

#define MS INT64_C(1000000)
#define SECOND (1000 * MS)

/* --- a kernel that notes what it is asked --- */

static struct spy {
	unsigned enters, waits, waits_without_limit;
	void (*on_enter)(bool waiting); /* before the call reaches Linux */
	int fail;			/* answer this instead */
	void (*after_setup)(void);
} spy;

static bool has_limit(unsigned flags, const void *arg)
{
	if (!(flags & IORING_ENTER_EXT_ARG) || !arg)
		return false;
	return ((const struct io_uring_getevents_arg *)arg)->ts != 0;
}

static int spy_enter(struct io_uring *u, unsigned to_submit, unsigned min_complete, unsigned flags,
		     const void *arg, size_t arg_bytes)
{
	spy.enters++;
	spy.waits += min_complete > 0;
	spy.waits_without_limit += min_complete > 0 && !has_limit(flags, arg);
	CHECK(flags & IORING_ENTER_GETEVENTS);
	if (spy.on_enter)
		spy.on_enter(min_complete > 0);
	if (spy.fail)
		return spy.fail;
	return ring_kernel_uring.enter(u, to_submit, min_complete, flags, arg, arg_bytes);
}

static int spy_setup(struct io_uring *u, unsigned entries, struct io_uring_params *p)
{
	int err = ring_kernel_uring.setup(u, entries, p);
	if (!err && spy.after_setup)
		spy.after_setup();
	return err;
}

static void spy_exit(struct io_uring *u)
{
	ring_kernel_uring.exit(u);
}

static int spy_reg(struct io_uring *u, unsigned opcode, void *arg, unsigned nr)
{
	return ring_kernel_uring.reg(u, opcode, arg, nr);
}

static const struct ring_kernel spy_kernel = {
	.name = "spy", .setup = spy_setup, .exit = spy_exit, .enter = spy_enter, .reg = spy_reg
};

/* --- one loop a test --- */

static struct loop loop;

static struct loop_config config(unsigned sq_entries)
{
	return (struct loop_config){ .ring = { .kernel = &spy_kernel,
					       .sq_entries = sq_entries,
					       .cq_entries = sq_entries * 2,
					       .sqpoll_cpu = -1 } };
}

static void begin_with(const struct loop_config *cfg)
{
	struct diag why = { 0 };
	int err = loop_open(&loop, cfg, &why);

	if (err == -ENOSYS || err == -EPERM)
		SKIP("%s", why.line);
	CHECK_INT(err, ==, 0);
	CHECK_INT(loop_start(&loop, &why), ==, 0);
	/* the inbox's read is submitted, nothing else is out */
	CHECK_INT(loop_turn(&loop, INT64_MIN), ==, 0);
	CHECK_INT(loop.ops.live, ==, 1);
}

static void begin(unsigned sq_entries)
{
	struct loop_config cfg = config(sq_entries);
	begin_with(&cfg);
}

static void turn(int64_t deadline_ns)
{
	CHECK_INT(loop_turn(&loop, deadline_ns), ==, 0);
}

static void end(void)
{
	spy.on_enter = NULL;
	loop.busy = NULL;
	inbox_close(&loop.inbox);
	while (!ops_idle(&loop.ops))
		turn(INT64_MAX);
	loop_close(&loop);
}

/* --- timers --- */

static int fired;

/* Whoever calls the turn wants to know: as for anything set outside the loop's own lists, a wake.
 */
static void on_fire(struct timer *t)
{
	fired++;
	CHECK(loop.now_ns >= t->deadline_ns);
	inbox_wake(&loop.inbox);
}

TEST(loop_timers_fire_without_sqes)
{
	struct timer t[20];
	uint64_t sqes;

	begin(8);
	sqes = loop.ring.stats.sqes;
	for (int i = 0; i < 20; i++) {
		timer_init(&t[i], on_fire);
		timer_arm(&loop.wheel, &t[i], test_now_ns() + i * MS / 2);
	}
	while (fired < 20)
		turn(INT64_MAX);
	CHECK_INT(loop.ring.stats.sqes, ==, sqes);
	CHECK_INT(loop.stats.sleeps, >, 0);
	CHECK_INT(loop.stats.sleeps, <=, 60); /* it waits for ticks, it does not poll */
	CHECK_INT(spy.waits_without_limit, ==, 0);
	end();
}

TEST(loop_timer_armed_in_the_past_fires_next_turn_without_sleep)
{
	struct timer t;

	begin(8);
	timer_init(&t, on_fire);
	timer_arm(&loop.wheel, &t, INT64_MIN);
	turn(INT64_MAX);
	CHECK_INT(fired, ==, 1);
	timer_arm(&loop.wheel, &t, loop.now_ns);
	turn(INT64_MIN);
	CHECK_INT(fired, ==, 2);
	CHECK_INT(loop.stats.sleeps, ==, 0);
	end();
}

static struct timer hook_timer;
static bool hook_armed;

static void arm_now(void *ctx)
{
	(void)ctx;
	if (!hook_armed)
		timer_arm(&loop.wheel, &hook_timer, loop.now_ns);
	hook_armed = true;
}

TEST(loop_timer_due_by_a_stage_prevents_sleep)
{
	begin(8);
	timer_init(&hook_timer, on_fire);
	loop.stage[LOOP_RUN].fn = arm_now;
	turn(INT64_MAX); /* would hang */
	turn(INT64_MIN);
	CHECK_INT(fired, ==, 1);
	CHECK_INT(loop.stats.sleeps, ==, 0);
	end();
}

/* --- when a turn waits --- */

TEST(loop_deadline_ends_the_wait_and_the_past_never_waits)
{
	begin(8);
	int64_t begin_ns = test_now_ns(), deadline = begin_ns + 20 * MS;

	while (test_now_ns() < deadline)
		turn(deadline);
	CHECK_INT(loop.stats.sleeps, >=, 1);
	CHECK_INT(loop.stats.sleeps, <=, 3);
	uint64_t sleeps = loop.stats.sleeps;
	turn(INT64_MIN);
	turn(deadline);
	turn(0);
	turn(test_now_ns());
	CHECK_INT(loop.stats.sleeps, ==, sleeps);
	CHECK_INT(spy.waits, ==, sleeps);
	CHECK_INT(spy.waits_without_limit, ==, 0);
	end();
}

static void wake_when_waiting(bool waiting)
{
	if (waiting)
		inbox_wake(&loop.inbox);
}

TEST(loop_idle_sleeps_without_a_limit)
{
	begin(8);
	spy.on_enter = wake_when_waiting;
	turn(INT64_MAX);
	CHECK_INT(loop.stats.sleeps, ==, 1);
	CHECK_INT(spy.waits_without_limit, ==, 1);
	CHECK_INT(atomic_load(&loop.inbox.wakes_sent), ==, 1);
	end();
}

static bool always_busy(void *ctx)
{
	++*(int *)ctx;
	return true;
}

TEST(loop_busy_hook_prevents_sleep)
{
	int asked = 0;

	begin(8);
	loop.busy = always_busy;
	loop.busy_ctx = &asked;
	for (int i = 0; i < 5; i++)
		turn(INT64_MAX);
	CHECK_INT(asked, >=, 5);
	CHECK_INT(loop.stats.sleeps, ==, 0);
	CHECK_INT(spy.waits, ==, 0);
	CHECK_INT(spy.enters, ==, 6); /* one enter a turn */
	end();
}

TEST(loop_turns_are_counted)
{
	begin(8);
	for (int i = 0; i < 7; i++)
		turn(INT64_MIN);
	CHECK_INT(loop.stats.turns, ==, 8);
	CHECK_INT(spy.enters, ==, 8);
	end();
}

TEST(loop_enter_failure_is_returned)
{
	begin(8);
	spy.fail = -EBADF;
	CHECK_INT(loop_turn(&loop, INT64_MIN), ==, -EBADF);
	CHECK_INT(loop_turn(&loop, INT64_MAX), ==, -EBADF);
	spy.fail = 0;
	end();
}

/* --- ops --- */

enum { NOPS = 100 };

static int nops_finished;

static void nop_done(struct op_io *io, const struct op_event *ev)
{
	CHECK_INT(ev->res, ==, 0);
	CHECK(ev->last);
	CHECK_INT((intptr_t)io->ctx, ==, nops_finished); /* FIFO */
	nops_finished++;
	op_reset(&io->op);
}

static void submit_nops(struct op_io *nop, int count)
{
	for (int i = 0; i < count; i++) {
		op_io_init(&nop[i], OP_NOP, nop_done);
		nop[i].ctx = (void *)(intptr_t)i;
		op_submit(&loop.ops, &nop[i].op);
	}
}

TEST(loop_full_sq_never_sleeps_and_all_finish)
{
	static struct op_io nop[NOPS];
	int turns = 0;

	begin(2);
	submit_nops(nop, NOPS);
	CHECK_INT(loop.ops.queued, ==, NOPS - 2);
	while (nops_finished < NOPS) {
		turn(INT64_MAX);
		CHECK_INT(++turns, <=, NOPS);
	}
	CHECK_INT(turns, <=, NOPS / 2 + 2);
	CHECK_INT(loop.stats.sleeps, <=, 1); /* the last ones may be waited for */
	end();
}

TEST(loop_reap_is_bounded_and_the_rest_prevents_sleep)
{
	static struct op_io nop[8];
	struct loop_config cfg = config(16);

	cfg.reap_max = 3;
	begin_with(&cfg);
	submit_nops(nop, 8);
	turn(INT64_MIN);
	CHECK_INT(nops_finished, ==, 3);
	turn(INT64_MAX);
	CHECK_INT(nops_finished, ==, 6);
	turn(INT64_MAX);
	CHECK_INT(nops_finished, ==, 8);
	CHECK_INT(loop.stats.sleeps, ==, 0);
	end();
}

static int cancelled;

static void cancelled_done(struct op_io *io, const struct op_event *ev)
{
	CHECK_INT(ev->res, ==, -ECANCELED);
	op_reset(&io->op);
	cancelled++;
}

static struct op_io nop_first[2], nop_queued;
static struct op_cancel nop_cancel;
static bool cancel_once;

/* After ops_deliver() of this turn: the finish is undelivered when the turn might sleep. */
static void cancel_queued(void *ctx)
{
	(void)ctx;
	if (cancel_once)
		return;
	cancel_once = true;
	submit_nops(nop_first, 2);
	op_submit(&loop.ops, &nop_queued.op);
	CHECK(!op_cancel_with(&loop.ops, &nop_queued.op, &nop_cancel));
	CHECK(ops_reap(&loop.ops, 1) == 0);
}

TEST(loop_undelivered_finish_prevents_sleep)
{
	begin(2);
	op_io_init(&nop_queued, OP_NOP, cancelled_done);
	op_cancel_init(&nop_cancel, NULL);
	loop.stage[LOOP_FLUSH].fn = cancel_queued;
	turn(INT64_MAX);
	CHECK_INT(cancelled, ==, 0);
	CHECK_INT(loop.stats.sleeps, ==, 0);
	turn(INT64_MIN);
	CHECK_INT(cancelled, ==, 1);
	CHECK_INT(nops_finished, ==, 2);
	end();
}

/* --- the order of the stages --- */

static char trace[32];

static void note(const char *what)
{
	strcat(trace, what);
}

static void note_timer(struct timer *t)
{
	(void)t;
	note("t");
}

static void note_message(struct inbox_msg *m)
{
	(void)m;
	note("m");
}

static void note_stage(void *ctx)
{
	note(ctx);
}

static void note_delivery(struct op_io *io, const struct op_event *ev)
{
	CHECK_INT(ev->res, ==, -ECANCELED);
	op_reset(&io->op);
	note("d");
}

static void note_completion(struct op_io *io, const struct op_event *ev)
{
	CHECK_INT(ev->res, ==, 0);
	op_reset(&io->op);
	note("c");
}

static void note_enter(bool waiting)
{
	(void)waiting;
	note("e");
}

TEST(loop_stages_run_in_order)
{
	struct inbox_msg m = { .run = note_message };
	struct op_io nop[2], victim;
	struct timer t;

	begin(2);
	loop.stage[LOOP_PUBLISH] = (struct loop_hook){ note_stage, (void *)"p" };
	loop.stage[LOOP_FLUSH] = (struct loop_hook){ note_stage, (void *)"f" };
	loop.stage[LOOP_RUN] = (struct loop_hook){ note_stage, (void *)"r" };
	spy.on_enter = note_enter;
	timer_init(&t, note_timer);
	timer_arm(&loop.wheel, &t, 0);
	CHECK_INT(inbox_push(&loop.inbox, &m), ==, 0);
	for (int i = 0; i < 2; i++) {
		op_io_init(&nop[i], OP_NOP, note_completion);
		op_submit(&loop.ops, &nop[i].op);
	}
	op_io_init(&victim, OP_NOP, note_delivery);
	op_submit(&loop.ops, &victim.op);
	op_cancel_init(&nop_cancel, NULL);
	op_cancel_with(&loop.ops, &victim.op, &nop_cancel);
	turn(INT64_MIN);
	CHECK_STR(trace, "mtrdfpecc");
	end();
}

/* --- other threads --- */

enum { POSTS = 50 };

struct post {
	struct inbox_msg msg;
	int id;
};

static struct post posts[POSTS];
static int posts_ran;

static void post_run(struct inbox_msg *m)
{
	CHECK_INT(((struct post *)m)->id, ==, posts_ran);
	posts_ran++;
}

static void post_all(void)
{
	for (int i = 0; i < POSTS; i++) {
		posts[i] = (struct post){ .msg.run = post_run, .id = i };
		CHECK_INT(inbox_push(&loop.inbox, &posts[i].msg), ==, 0);
	}
}

static void await_sleep(void)
{
	while (!atomic_load(&loop.inbox.queue.sleeping))
		sched_yield();
}

static void *post_when_asleep(void *arg)
{
	(void)arg;
	await_sleep();
	post_all();
	return NULL;
}

TEST(loop_posts_while_asleep_wake_with_one_write)
{
	pthread_t th;

	begin(8);
	for (int round = 1; round <= 5; round++) {
		posts_ran = 0;
		CHECK(pthread_create(&th, NULL, post_when_asleep, NULL) == 0);
		while (loop.stats.sleeps < (uint64_t)round || !inbox_pending(&loop.inbox))
			turn(INT64_MAX);
		pthread_join(th, NULL);
		CHECK_INT(atomic_load(&loop.inbox.wakes_sent), ==, round);
		turn(INT64_MIN);
		CHECK_INT(posts_ran, ==, POSTS);
		turn(INT64_MIN); /* the read is armed and submitted again */
	}
	CHECK_INT(loop.stats.sleeps, ==, 5);
	end();
}

static void *post_now(void *arg)
{
	(void)arg;
	post_all();
	return NULL;
}

static bool posted;

static void post_from_a_thread(void *ctx)
{
	pthread_t th;

	(void)ctx;
	if (posted)
		return;
	posted = true;
	CHECK(pthread_create(&th, NULL, post_now, NULL) == 0);
	pthread_join(th, NULL);
}

TEST(loop_posts_while_awake_write_nothing_and_prevent_sleep)
{
	begin(8);
	loop.stage[LOOP_RUN].fn = post_from_a_thread;
	turn(INT64_MAX); /* would hang */
	CHECK_INT(posts_ran, ==, 0);
	turn(INT64_MIN);
	CHECK_INT(posts_ran, ==, POSTS);
	CHECK_INT(atomic_load(&loop.inbox.wakes_sent), ==, 0);
	CHECK_INT(loop.stats.sleeps, ==, 0);
	end();
}

/* K18: what was set before the wake is seen by who calls the turn, whenever the wake came. */
TEST(loop_wake_before_the_turn_is_not_lost)
{
	begin(8);
	inbox_wake(&loop.inbox);
	turn(INT64_MAX); /* would hang */
	CHECK_INT(loop.stats.sleeps, ==, 0);
	spy.on_enter = wake_when_waiting;
	turn(INT64_MAX);
	CHECK_INT(loop.stats.sleeps, ==, 1);
	end();
}

enum { POSTERS = 3, POSTS_EACH = 3000 };

struct poster {
	pthread_t thread;
	struct post *posts;
};

static struct poster posters[POSTERS];
static int next_of[POSTERS], posts_seen;

static void numbered_run(struct inbox_msg *m)
{
	int id = ((struct post *)m)->id;

	CHECK_INT(id % POSTS_EACH, ==, next_of[id / POSTS_EACH]);
	next_of[id / POSTS_EACH]++;
	if (++posts_seen == POSTERS * POSTS_EACH)
		inbox_wake(&loop.inbox);
}

static void *post_numbered(void *arg)
{
	struct poster *p = arg;

	for (int i = 0; i < POSTS_EACH; i++) {
		p->posts[i].msg.run = numbered_run;
		p->posts[i].id = (int)(p - posters) * POSTS_EACH + i;
		CHECK_INT(inbox_push(&loop.inbox, &p->posts[i].msg), ==, 0);
		if (i % 64 == 0)
			await_sleep(); /* so that there is something to wake */
	}
	return NULL;
}

TEST(loop_posts_of_many_threads_all_run_in_order)
{
	begin(8);
	for (int i = 0; i < POSTERS; i++) {
		posters[i].posts = calloc(POSTS_EACH, sizeof(struct post));
		CHECK(pthread_create(&posters[i].thread, NULL, post_numbered, &posters[i]) == 0);
	}
	while (posts_seen < POSTERS * POSTS_EACH)
		turn(INT64_MAX);
	for (int i = 0; i < POSTERS; i++) {
		pthread_join(posters[i].thread, NULL);
		free(posters[i].posts);
	}
	CHECK_INT(loop.inbox.messages, ==, POSTERS * POSTS_EACH);
	/* a push can also catch a sleep announced and at once withdrawn: such a wake is extra */
	CHECK_INT(atomic_load(&loop.inbox.wakes_sent), <=, loop.stats.turns);
	end();
}

/* --- signals --- */

static volatile sig_atomic_t signals;

static void count_signal(int sig)
{
	(void)sig;
	signals++;
}

static void install(int sig, void (*fn)(int))
{
	struct sigaction sa = { .sa_handler = fn };
	CHECK_INT(sigaction(sig, &sa, NULL), ==, 0);
}

TEST(loop_signals_interrupt_waits_harmlessly)
{
	struct itimerval every = { .it_interval.tv_usec = 2000, .it_value.tv_usec = 2000 };
	struct timer t;

	begin(8);
	install(SIGALRM, count_signal);
	timer_init(&t, on_fire);
	timer_arm(&loop.wheel, &t, test_now_ns() + 60 * MS);
	CHECK_INT(setitimer(ITIMER_REAL, &every, NULL), ==, 0);
	while (!fired || signals < 5)
		turn(test_now_ns() + SECOND);
	CHECK_INT(setitimer(ITIMER_REAL, &(struct itimerval){ 0 }, NULL), ==, 0);
	CHECK_INT(fired, ==, 1);
	CHECK_INT(loop.ring.stats.eintr, >, 0);
	end();
}

static void wake_from_handler(int sig)
{
	(void)sig;
	inbox_wake(&loop.inbox);
}

static void *signal_when_asleep(void *arg)
{
	await_sleep();
	pthread_kill(*(pthread_t *)arg, SIGUSR1);
	return NULL;
}

TEST(loop_wake_from_a_signal_handler_ends_the_wait)
{
	pthread_t self = pthread_self(), th;

	begin(8);
	install(SIGUSR1, wake_from_handler);
	CHECK(pthread_create(&th, NULL, signal_when_asleep, &self) == 0);
	turn(INT64_MAX); /* would hang */
	pthread_join(th, NULL);
	end();
}

/* --- spinning --- */

static void push_on_third(bool waiting)
{
	static int seen;

	CHECK(!waiting);
	if (++seen == 3)
		post_all();
}

TEST(loop_spin_finds_a_message_without_a_write)
{
	struct loop_config cfg = config(8);

	cfg.spin_ns = 20 * SECOND;
	begin_with(&cfg);
	spy.on_enter = push_on_third;
	turn(INT64_MAX);
	CHECK_INT(loop.stats.spins_won, ==, 1);
	CHECK_INT(loop.stats.sleeps, ==, 0);
	CHECK_INT(atomic_load(&loop.inbox.wakes_sent), ==, 0);
	CHECK_INT(spy.enters, ==, 1 + 3);
	turn(INT64_MIN);
	CHECK_INT(posts_ran, ==, POSTS);
	end();
}

TEST(loop_spin_ends_at_a_timer)
{
	struct loop_config cfg = config(8);
	struct timer t;

	cfg.spin_ns = 20 * SECOND;
	begin_with(&cfg);
	timer_init(&t, on_fire);
	timer_arm(&loop.wheel, &t, test_now_ns() + 3 * MS);
	while (!fired)
		turn(INT64_MAX);
	CHECK_INT(loop.stats.sleeps, ==, 0);
	CHECK_INT(loop.stats.spins_won, >=, 1);
	CHECK_INT(loop.stats.longest_turn_ns, <, 20 * SECOND);
	end();
}

TEST(loop_spin_finds_a_completion)
{
	static struct op_io nop[1];
	struct loop_config cfg = config(8);

	cfg.spin_ns = 20 * SECOND;
	begin_with(&cfg);
	submit_nops(nop, 1);
	turn(INT64_MAX);
	CHECK_INT(nops_finished, ==, 1);
	CHECK_INT(loop.stats.spins_won, ==, 1);
	CHECK_INT(spy.waits, ==, 0);
	end();
}

TEST(loop_spin_without_luck_sleeps)
{
	struct loop_config cfg = config(8);

	cfg.spin_ns = 50000;
	begin_with(&cfg);
	spy.on_enter = wake_when_waiting;
	turn(INT64_MAX);
	CHECK_INT(loop.stats.spins_won, ==, 0);
	CHECK_INT(loop.stats.sleeps, ==, 1);
	CHECK_INT(spy.enters, >, 2);
	CHECK_INT(spy.enters, <=, 1 + 501 + 1);
	end();
}

/* --- how long work took --- */

static int64_t work_ns;

static void work(void *ctx)
{
	int64_t until = test_now_ns() + work_ns;

	(void)ctx;
	while (test_now_ns() < until)
		;
	work_ns = 0;
}

TEST(loop_longest_turn_counts_work)
{
	struct loop_config cfg = config(8);

	cfg.stall_ns = 20 * MS;
	begin_with(&cfg);
	loop.stage[LOOP_RUN].fn = work;
	work_ns = 30 * MS;
	turn(INT64_MIN);
	turn(INT64_MIN); /* which ends the turn before */
	CHECK_INT(loop.stats.longest_turn_ns, >=, 30 * MS);
	CHECK_INT(loop.stats.stalls, >=, 1);
	/* before a wait, too */
	loop.stats.longest_turn_ns = 0;
	work_ns = 30 * MS;
	spy.on_enter = wake_when_waiting;
	turn(INT64_MAX);
	CHECK_INT(loop.stats.sleeps, ==, 1);
	CHECK_INT(loop.stats.longest_turn_ns, >=, 30 * MS);
	CHECK_INT(loop.stats.stalls, >=, 2);
	end();
}

TEST(loop_longest_turn_leaves_sleep_out)
{
	begin(8);
	int64_t deadline = test_now_ns() + 600 * MS;

	while (test_now_ns() < deadline)
		turn(deadline);
	turn(INT64_MIN);
	CHECK_INT(loop.stats.sleeps, >, 0);
	CHECK_INT(loop.stats.longest_turn_ns, <, 500 * MS);
	CHECK_INT(loop.stats.stalls, ==, 0);
	end();
}

/* --- opening and closing --- */

static struct rlimit descriptors;

static void forbid_descriptors(void)
{
	struct rlimit none = { 0, descriptors.rlim_max };
	CHECK_INT(setrlimit(RLIMIT_NOFILE, &none), ==, 0);
}

TEST(loop_open_without_eventfd_names_it_and_leaves_nothing)
{
	struct loop_config cfg = config(8);
	struct diag why = { 0 };
	int before = dup(0);

	close(before); /* the number the ring is going to get */
	CHECK_INT(getrlimit(RLIMIT_NOFILE, &descriptors), ==, 0);
	spy.after_setup = forbid_descriptors;
	CHECK_INT(loop_open(&loop, &cfg, &why), ==, -EMFILE);
	CHECK_INT(setrlimit(RLIMIT_NOFILE, &descriptors), ==, 0);
	CHECK_HAS(why.line, "eventfd");
	CHECK_INT(why.err, ==, -EMFILE);
	CHECK_INT(fcntl(before, F_GETFD), ==, -1);
	CHECK_INT(errno, ==, EBADF);
}

TEST(loop_open_and_close_without_start_leaves_nothing)
{
	struct loop_config cfg = config(8);
	int before = dup(0);

	close(before);
	CHECK_INT(loop_open(&loop, &cfg, NULL), ==, 0);
	CHECK_INT(loop.reap_max, ==, loop.ring.u.cq.ring_entries);
	inbox_close(&loop.inbox);
	loop_close(&loop);
	int after = dup(0);
	CHECK_INT(after, ==, before);
	close(after);
}

static void close_with_timer(void)
{
	static struct timer t;

	begin(8);
	timer_init(&t, on_fire);
	timer_arm(&loop.wheel, &t, INT64_MAX);
	end();
}

static void close_with_op(void)
{
	begin(8);
	loop_close(&loop);
}

TEST(loop_close_with_something_out_aborts)
{
	CHECK_DIES(close_with_timer, SIGABRT, "1 timers armed");
	CHECK_DIES(close_with_op, SIGABRT, "ops_idle");
}
