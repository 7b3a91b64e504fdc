/* What ends a wait or replaces it: posts of other threads, wakes, signals, spinning. */
#include "unit/loop_fixture.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/time.h>

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

TEST(loop_spin_notices_a_wake_once)
{
	struct loop_config cfg = config(8);

	cfg.spin_ns = 50000;
	begin_with(&cfg);
	inbox_wake(&loop.inbox);
	turn(INT64_MAX); /* does not wait */
	CHECK_INT(loop.stats.spins_won, ==, 1);
	CHECK_INT(loop.stats.sleeps, ==, 0);
	spy.on_enter = wake_when_waiting;
	turn(INT64_MAX); /* waits again */
	CHECK_INT(loop.stats.spins_won, ==, 1);
	CHECK_INT(loop.stats.sleeps, ==, 1);
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
