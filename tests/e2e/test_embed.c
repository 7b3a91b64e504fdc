/*
 * A runtime inside the test's own loop: everything works, in one thread, nothing is lost between a
 * step and the wait after it, and the loop wakes only when there is something to do.
 */
#include "embed_rig.h"
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/resource.h>

/* ---- serving */
TEST(embed_echo_is_served_in_this_thread)
{
	unsigned fds = open_fds();

	for (int m = 0; m < 3; m++) {
		rln_listen_opts l = echo_mode(m);
		struct host h = host_start(&l, (rln_config){ 0 });
		struct host_client cl[4];

		CHECK_INT(runtime_threads(), ==, 0);
		CHECK_INT(rln_worker(), ==, UINT_MAX); /* between steps it is no worker */
		for (int i = 0; i < 4; i++)
			host_client_start(&cl[i], &h, 300, 1 + i * 1000);
		host_run(&h, 4);
		for (int i = 0; i < 4; i++)
			CHECK(pthread_join(cl[i].thread, NULL) == 0);
		host_stop(&h);
	}
	EVENTUALLY(open_fds() == fds);
}

/* A wake says it once: without another step before the next wait nothing may be left over. */
TEST(embed_edge_triggered_echo_loses_nothing)
{
	rln_listen_opts l = echo_mode(0);
	struct host h = host_start(&l, (rln_config){ 0 });
	struct host_client cl[3];

	host_use_epoll(&h, EPOLLET);
	for (int i = 0; i < 3; i++)
		host_client_start(&cl[i], &h, 700, 64);
	host_run(&h, 3);
	for (int i = 0; i < 3; i++)
		CHECK(pthread_join(cl[i].thread, NULL) == 0);
	host_stop(&h);
}

/* More completions at once than the kernel makes in one go: the rest must not be left lying. */
TEST(embed_many_that_become_ready_at_once_are_all_served)
{
	enum { N = 150, ROUNDS = 20 };
	rln_listen_opts l = echo_mode(2);
	struct host h = host_start(&l, (rln_config){ 0 });
	int fd[N];
	bool said;
	char c;

	host_use_epoll(&h, EPOLLET);
	for (int i = 0; i < N; i++)
		fd[i] = client_to((struct sockaddr *)&h.addr, addr_bytes(&h.addr));
	for (int r = 0; r < ROUNDS; r++) {
		for (int i = 0; i < N; i++)
			send_all(fd[i], "x", 1);
		for (int i = 0, n; i < N; i++) {
			while ((n = (int)recv(fd[i], &c, 1, MSG_DONTWAIT)) < 0) {
				CHECK_INT(errno, ==, EAGAIN);
				if (host_wait(&h, &said))
					host_step(&h);
			}
			CHECK_INT(n, ==, 1);
		}
	}
	for (int i = 0; i < N; i++)
		close(fd[i]);
	host_stop(&h);
}

/* ---- messages of other threads */
enum { POSTERS = 2, POSTS = 3000 };

struct poster {
	struct host *h;
	bool one_by_one;
	atomic_int run;
	pthread_t thread;
};

static void count_post(void *arg)
{
	struct poster *p = arg;

	if (atomic_fetch_add(&p->run, 1) + 1 == POSTS)
		host_say(p->h);
}

static void *poster_main(void *arg)
{
	struct poster *p = arg;
	int e;

	for (int i = 0; i < POSTS; i++) {
		while ((e = rln_post(p->h->rt, 0, count_post, p)) == -EAGAIN)
			sched_yield();
		CHECK_INT(e, ==, 0);
		while (p->one_by_one && atomic_load(&p->run) <= i)
			sched_yield();
	}
	return NULL;
}

/*
 * One of them posts as fast as it can, the other one waits for each: so posts meet the loop at any
 * moment between its last look and its wait.
 */
static void hammer(uint32_t epoll_flags)
{
	struct host h = host_start(NULL, (rln_config){ 0 });
	struct poster p[POSTERS];

	if (epoll_flags)
		host_use_epoll(&h, epoll_flags);
	for (int i = 0; i < POSTERS; i++) {
		p[i] = (struct poster){ .h = &h, .one_by_one = i % 2 };
		CHECK(pthread_create(&p[i].thread, NULL, poster_main, &p[i]) == 0);
	}
	host_run(&h, POSTERS);
	for (int i = 0; i < POSTERS; i++) {
		CHECK(pthread_join(p[i].thread, NULL) == 0);
		CHECK_INT(p[i].run, ==, POSTS);
	}
	CHECK_INT(h.waits, <=, 2 * POSTERS * POSTS);
	host_stop(&h);
}

TEST_LIMIT(embed_posts_while_the_loop_polls_are_never_lost, 60)
{
	hammer(0);
}

TEST_LIMIT(embed_posts_while_the_loop_waits_for_edges_are_never_lost, 60)
{
	hammer(EPOLLET);
}

/* ---- time */
struct alarm {
	rln_timer t;
	struct host *h;
	rln_ns due;
};

static void alarm_rings(rln_timer *t, void *ud)
{
	struct alarm *a = ud;

	(void)t;
	CHECK_INT(rln_now(), >=, a->due);
	host_say(a->h);
}

static void alarm_set(struct alarm *a, struct host *h, rln_ns in)
{
	a->h = h;
	a->due = rln_now() + in;
	rln_timer_start(&a->t, in, alarm_rings, a);
}

/* Nothing but the descriptor tells: there is no timeout for the loop to take over. */
TEST(embed_timers_end_a_wait_without_a_limit)
{
	enum { N = 40 };
	struct host h = host_start(NULL, (rln_config){ 0 });
	struct alarm a[N] = { 0 }, far = { 0 };

	CHECK_INT(rln_enter(h.rt), ==, 0);
	alarm_set(&far, &h, RLN_SEC(3600));
	rln_leave(h.rt);
	host_step(&h);
	CHECK_INT(rln_enter(h.rt), ==, 0);
	for (int i = 0; i < N; i++) /* each other one is sooner than all before it */
		alarm_set(&a[i], &h, RLN_MS(i % 2 ? 80 - i : 40 + i));
	rln_leave(h.rt);
	host_run(&h, N);
	/* One at a time, and some that are never reached: they end a wait at most once each. */
	for (int i = 0; i < 5; i++) {
		struct alarm soon = { 0 }, stopped = { 0 };

		CHECK_INT(rln_enter(h.rt), ==, 0);
		alarm_set(&soon, &h, RLN_MS(10));
		alarm_set(&stopped, &h, RLN_MS(2));
		rln_timer_stop(&stopped.t);
		rln_leave(h.rt);
		host_run(&h, 1);
	}
	CHECK_INT(h.waits, <=, 6 * (N + 10)); /* what a spinning loop would exceed at once */
	CHECK_INT(rln_enter(h.rt), ==, 0);
	rln_timer_stop(&far.t);
	rln_leave(h.rt);
	host_stop(&h);
}

static int sleeps(void *arg)
{
	rln_ns until = rln_now() + RLN_MS(20);
	rln_ns slow = RLN_SEC(60);

	CHECK_INT(RLN_WITHIN(RLN_MS(5), rln_sleep(slow)), ==, -ETIME);
	CHECK_INT(rln_sleep_until(until), ==, 0);
	CHECK_INT(rln_now(), >=, until);
	host_say(arg);
	return 0;
}

TEST(embed_task_sleeps_and_deadlines_end_a_wait_without_a_limit)
{
	struct host h = host_start(NULL, (rln_config){ 0 });

	for (int i = 0; i < 5; i++)
		CHECK_INT(rln_go_on(h.rt, 0, sleeps, &h, NULL), ==, 0);
	host_run(&h, 5);
	host_stop(&h);
}

/* ---- how much a step does */
static int yields_for_ever(void *arg)
{
	int *left = arg;

	while (*left && rln_yield() == 0)
		;
	return 0;
}

TEST(embed_step_is_bounded_and_says_that_there_is_more)
{
	struct host h = host_start(NULL, (rln_config){ 0 });
	int busy = 1;

	CHECK_INT(rln_enter(h.rt), ==, 0);
	CHECK_INT(rln_go(yields_for_ever, &busy, NULL), ==, 0);
	rln_leave(h.rt);
	for (int i = 0; i < 20; i++) {
		CHECK(host_readable(&h));
		CHECK_INT(host_step(&h), ==, RLN_STEP_MORE);
	}
	busy = 0;
	while (host_step(&h) == RLN_STEP_MORE)
		;
	CHECK(!host_readable(&h));
	host_stop(&h);
}

/* Each of them must be an edge of its own, for those who wait for edges. */
TEST(embed_step_that_stops_at_its_bound_is_an_edge_again)
{
	struct host h = host_start(NULL, (rln_config){ 0 });
	int busy = 1;
	bool said;

	host_use_epoll(&h, EPOLLET);
	CHECK_INT(rln_enter(h.rt), ==, 0);
	CHECK_INT(rln_go(yields_for_ever, &busy, NULL), ==, 0);
	rln_leave(h.rt);
	for (int i = 0; i < 20;) {
		if (!host_wait(&h, &said))
			continue;
		CHECK_INT(host_step(&h), ==, RLN_STEP_MORE);
		i++;
		CHECK_INT(rln_enter(h.rt), ==, 0);
		rln_leave(h.rt);
	}
	busy = 0;
	host_stop(&h);
}

/* Steps that nobody asked for find nothing, and do no harm. */
TEST(embed_idle_runtime_is_not_readable_and_a_step_more_does_nothing)
{
	rln_listen_opts l = echo_mode(0);
	struct host h = host_start(&l, (rln_config){ 0 });
	rln_stats before, after;

	CHECK(host_readable(&h)); /* its first accept is not submitted yet */
	while (host_step(&h) == RLN_STEP_MORE)
		;
	CHECK(!host_readable(&h));
	CHECK_INT(rln_stats_get(h.rt, 0, &before), ==, 0);
	for (int i = 0; i < 100; i++)
		CHECK_INT(host_step(&h), ==, RLN_STEP_IDLE);
	CHECK(!host_readable(&h));
	CHECK_INT(rln_stats_get(h.rt, 0, &after), ==, 0);
	CHECK_INT(after.sqes, ==, before.sqes);
	CHECK_INT(after.cqes, ==, before.cqes);
	CHECK_INT(after.enters - before.enters, ==, 100);
	host_stop(&h);
}

/* One connection, one request at a time: it is there without an enter, and one sends the answer. */
TEST(embed_calls_of_an_echo_request)
{
	enum { N = 1000 };
	rln_listen_opts l = echo_mode(0);
	struct host h = host_start(&l, (rln_config){ 0 });
	struct host_client cl;
	rln_stats before, after;

	host_client_start(&cl, &h, 10, 64);
	host_run(&h, 1);
	CHECK(pthread_join(cl.thread, NULL) == 0);
	CHECK_INT(rln_stats_get(h.rt, 0, &before), ==, 0);
	h.steps = h.more = 0;
	host_client_start(&cl, &h, N, 64);
	host_run(&h, 1);
	CHECK(pthread_join(cl.thread, NULL) == 0);
	CHECK_INT(rln_stats_get(h.rt, 0, &after), ==, 0);
	CHECK_INT(after.enters - before.enters, <=, N * 11 / 10 + 20);
	CHECK_INT(h.steps, <=, N * 11 / 10 + 20);
	/* no timer moves with it; a step that stops at its bound says so by a read of the eventfd
	 */
	CHECK_INT(after.sqes - before.sqes, <=, N * 21 / 20 + 20 + h.more);
	host_stop(&h);
}

/* ---- what else a worker can do */
static int add(void *arg)
{
	return *(int *)arg + 1;
}

static void *calls_from_outside(void *arg)
{
	struct host *h = arg;
	int one = 1, result = 0;

	CHECK_INT(rln_call(h->rt, 0, add, &one, &result), ==, 0);
	CHECK_INT(result, ==, 2);
	host_say(h);
	return NULL;
}

static int uses_everything(void *arg)
{
	struct host *h = arg;
	int one = 1;
	rln_conn c;
	rln_view v;

	CHECK_INT(rln_blocking(add, &one), ==, 2);
	CHECK_INT(rln_connect_addr((struct sockaddr *)&h->addr, addr_bytes(&h->addr), NULL, &c), ==,
		  0);
	CHECK_INT(rln_send(c, "mirror", 6), ==, 6);
	CHECK_INT(rln_recv_exact(c, 6, &v), ==, 6);
	CHECK_INT(rln_close(c), ==, 0);
	host_say(h);
	return 0;
}

TEST(embed_tasks_connect_block_and_are_called)
{
	rln_listen_opts l = echo_mode(1);
	struct host h = host_start(&l, (rln_config){ 0 });
	pthread_t t;

	CHECK_INT(rln_go_on(h.rt, 0, uses_everything, &h, NULL), ==, 0);
	CHECK(pthread_create(&t, NULL, calls_from_outside, &h) == 0);
	host_run(&h, 2);
	CHECK(pthread_join(t, NULL) == 0);
	host_stop(&h);
}

static rln_conn greeted;

static void remember(rln_conn c, void *arg)
{
	greeted = c;
	host_say(arg);
	while (rln_recv(c, &(rln_view){ 0 }) > 0)
		;
}

/* What the loop's own code begins makes the descriptor readable, and the next step does it. */
TEST(embed_own_code_sends_starts_and_closes_between_steps)
{
	struct host h = { 0 };
	rln_listen_opts l = { .on_conn = remember, .arg = &h };

	h = host_start(&l, (rln_config){ 0 });
	int fd = client_to((struct sockaddr *)&h.addr, addr_bytes(&h.addr));
	host_run(&h, 1);
	while (host_step(&h) == RLN_STEP_MORE)
		;
	CHECK_INT(rln_send_nowait(greeted, "x", 1), ==, -EPERM);
	for (int i = 0; i < 3; i++) {
		CHECK_INT(rln_enter(h.rt), ==, 0);
		CHECK_INT(rln_worker(), ==, 0);
		CHECK_INT(rln_send_nowait(greeted, "news", 4), ==, 0);
		rln_leave(h.rt);
		CHECK(host_readable(&h));
		host_step(&h);
		expect(fd, "news");
	}
	CHECK_INT(rln_enter(h.rt), ==, 0);
	CHECK_INT(rln_close(greeted), ==, 0);
	rln_leave(h.rt);
	CHECK(host_readable(&h));
	host_step(&h);
	expect_eof(fd);
	close(fd);
	host_stop(&h);
}

TEST(embed_two_runtimes_in_one_loop)
{
	rln_listen_opts l = echo_mode(0);
	struct host a = host_start(&l, (rln_config){ 0 }), b = host_start(&l, (rln_config){ 0 });
	struct host_client of_a, of_b;
	struct pollfd p[2] = { { .fd = a.fd, .events = POLLIN }, { .fd = b.fd, .events = POLLIN } };
	bool said_a = false, said_b = false;

	host_client_start(&of_a, &a, 200, 100);
	host_client_start(&of_b, &b, 200, 100);
	while (!said_a || !said_b) {
		struct pollfd q[4] = { p[0],
				       p[1],
				       { .fd = a.said[0], .events = POLLIN },
				       { .fd = b.said[0], .events = POLLIN } };
		CHECK(poll(q, 4, -1) > 0 || errno == EINTR);
		if (q[0].revents)
			host_step(&a);
		if (q[1].revents)
			host_step(&b);
		said_a |= q[2].revents != 0;
		said_b |= q[3].revents != 0;
	}
	CHECK(pthread_join(of_a.thread, NULL) == 0);
	CHECK(pthread_join(of_b.thread, NULL) == 0);
	host_stop(&b);
	host_stop(&a);
}
