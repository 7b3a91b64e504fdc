/*
 * An embedded runtime's beginning and end: starts that fail, the drain inside the other loop, what
 * is in flight then, rln_wait() and rln_main() without a thread; and every misuse.
 */
#include "embed_rig.h"
#include <limits.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

static char logged[4096];

static void capture(int level, const char *msg, void *arg)
{
	size_t n = strlen(logged);

	(void)level, (void)arg;
	snprintf(logged + n, sizeof logged - n, "%s\n", msg);
}

static unsigned log_lines(void)
{
	unsigned n = 0;

	for (const char *p = logged; *p; p++)
		n += *p == '\n';
	return n;
}

/* ---- the start */
static void start_fails(rln_config c, int err, const char *part)
{
	unsigned before = open_fds();
	rln_runtime *rt = NULL;

	logged[0] = 0;
	c.embed = true;
	c.log = capture;
	CHECK_INT(rln_start(&c, &rt), ==, err);
	CHECK(!rt);
	CHECK_HAS(logged, part);
	CHECK_INT(log_lines(), ==, 1);
	EVENTUALLY(open_fds() == before);
}

static int init_fails(unsigned worker, void *arg, void **state)
{
	(void)worker, (void)arg, (void)state;
	return -ENODEV;
}

TEST(embed_start_that_fails_says_why_and_leaves_nothing)
{
	rln_listen_opts l = echo_mode(0);
	struct sockaddr_in in;
	char addr[32];
	int lfd = raw_listener(&in, 4, 0);

	start_fails((rln_config){ .workers = 2 }, -EINVAL, "config.workers");
	start_fails((rln_config){ .spin = 1 }, -EINVAL, "config.spin");
	start_fails((rln_config){ .sqpoll = true }, -EINVAL, "config.sqpoll");
	start_fails((rln_config){ .worker_init = init_fails }, -ENODEV, "worker_init");
	snprintf(addr, sizeof addr, "127.0.0.1:%d", ntohs(in.sin_port));
	l.addr = addr;
	start_fails((rln_config){ .listen = &l, .nlisten = 1 }, -EADDRINUSE, addr);
	close(lfd);
	l.addr = "127.0.0.1:0";
	struct host h = host_start(&l, (rln_config){ .workers = 1 });
	host_stop(&h);
}

static int nothing(void *arg)
{
	(void)arg;
	return 0;
}

/* With every number of free descriptors it starts, or leaves nothing. */
TEST(embed_start_out_of_descriptors_leaves_nothing)
{
	rln_listen_opts l = echo_mode(0);
	rln_config c = {
		.embed = true, .listen = &l, .nlisten = 1, .file_slots = 8, .log = capture
	};
	unsigned before = open_fds(), failed = 0;
	rln_runtime *rt = NULL;

	l.addr = "127.0.0.1:0";
	l.max_conns = 8;
	EVENTUALLY(open_fds() == before);
	CHECK(setrlimit(RLIMIT_NOFILE, &(struct rlimit){ 64, 64 }) == 0);
	while (!rt) {
		int fill[64], filled = 0;

		while ((fill[filled] = dup(0)) >= 0)
			filled++;
		CHECK_INT(failed, <, filled);
		for (unsigned i = 0; i < failed; i++)
			close(fill[--filled]);
		int e = rln_start(&c, &rt);
		CHECK(e == 0 || e == -EMFILE);
		while (filled)
			close(fill[--filled]);
		if (e) {
			failed++;
			EVENTUALLY(open_fds() == before);
		}
	}
	CHECK_INT(failed, >=, 3); /* ring, eventfd, socket */
	CHECK_HAS(logged, "ulimit -n");
	rln_shutdown(rt);
	CHECK_INT(rln_wait(rt), ==, 0);
	EVENTUALLY(open_fds() == before);
}

/* ---- the end */
static int exits;

static void exit_counts(unsigned worker, void *state)
{
	CHECK_INT(rln_worker(), ==, worker);
	CHECK(!state);
	exits++;
}

TEST(embed_drain_comes_to_its_end_by_steps)
{
	unsigned before = open_fds();
	rln_listen_opts l = echo_mode(0);
	struct host h = host_start(&l, (rln_config){ .worker_exit = exit_counts });
	int fd = client_to((struct sockaddr *)&h.addr, addr_bytes(&h.addr));
	bool said;
	char c;

	send_all(fd, "x", 1);
	while (recv(fd, &c, 1, MSG_DONTWAIT) < 0)
		if (host_wait(&h, &said))
			host_step(&h);
	rln_shutdown(h.rt); /* its echo task is idle: it gets -ESHUTDOWN after drain_idle, 1 s */
	CHECK(host_readable(&h));
	host_drain(&h);
	CHECK_INT(exits, ==, 1);
	expect_eof(fd);
	close(fd);
	for (int i = 0; i < 3; i++)
		CHECK_INT(rln_step(h.rt), ==, RLN_STEP_OVER);
	CHECK_INT(rln_enter(h.rt), ==, -ESHUTDOWN);
	CHECK_INT(rln_go_on(h.rt, 0, NULL, NULL, NULL), <, 0);
	CHECK_INT(host_close(&h), ==, 0);
	EVENTUALLY(open_fds() == before);
}

static void *shuts_down(void *rt)
{
	rln_shutdown(rt);
	return NULL;
}

static rln_runtime *of_handler;

static void on_alarm(int sig)
{
	(void)sig;
	rln_shutdown(of_handler);
}

TEST(embed_shutdown_wakes_the_loop_from_anywhere)
{
	for (int from = 0; from < 20; from++) {
		struct host h = host_start(NULL, (rln_config){ 0 });
		pthread_t t;
		bool said;

		of_handler = h.rt;
		signal(SIGALRM, on_alarm);
		while (host_step(&h) == RLN_STEP_MORE)
			;
		if (from % 2)
			CHECK(pthread_create(&t, NULL, shuts_down, h.rt) == 0);
		else
			CHECK(raise(SIGALRM) == 0);
		while (h.last != RLN_STEP_OVER)
			if (host_wait(&h, &said))
				host_step(&h);
		if (from % 2)
			CHECK(pthread_join(t, NULL) == 0);
		CHECK_INT(host_close(&h), ==, 0);
	}
}

/* A task that does not end by itself is cancelled at drain_timeout, which a timer tells. */
static int stays(void *arg)
{
	int e = rln_sleep(RLN_FOREVER);

	*(int *)arg = e;
	return e;
}

static void stays_on(rln_conn c, void *arg)
{
	(void)c;
	stays(arg);
}

TEST(embed_drain_timeout_ends_a_wait_without_a_limit)
{
	int result = 0;
	rln_listen_opts l = { .on_conn = stays_on, .arg = &result };
	struct host h = host_start(&l, (rln_config){ .drain_timeout = RLN_MS(30) });
	int fd = client_to((struct sockaddr *)&h.addr, addr_bytes(&h.addr));

	host_drain(&h);
	CHECK_INT(host_close(&h), ==, 1);
	CHECK_INT(result, ==, -ECANCELED);
	close(fd);
}

static void floods(rln_conn c, void *arg)
{
	static char much[1 << 16];

	while (rln_send(c, much, sizeof much) > 0)
		;
	(void)arg;
}

/* Sends and closes are in flight with peers that do not read, or break. */
TEST(embed_close_in_flight_is_finished_by_the_drain)
{
	unsigned before = open_fds();
	rln_listen_opts l = { .on_conn = floods, .close_timeout = RLN_MS(20) };
	struct host h = host_start(&l, (rln_config){ .drain_timeout = RLN_MS(50) });
	rln_stats st = { 0 };
	int fd[6];
	bool said;

	for (int i = 0; i < 6; i++)
		fd[i] = client_to((struct sockaddr *)&h.addr, addr_bytes(&h.addr));
	while (st.send_bytes < 1 << 20) {
		if (host_wait(&h, &said))
			host_step(&h);
		CHECK_INT(rln_stats_get(h.rt, 0, &st), ==, 0);
	}
	for (int i = 0; i < 3; i++)
		reset_close(fd[i]);
	host_step(&h);
	host_drain(&h);
	CHECK_INT(host_close(&h), >=, 0);
	for (int i = 3; i < 6; i++)
		close(fd[i]);
	EVENTUALLY(open_fds() == before);
}

/* ---- without a loop */
static int ends_after_a_while(void *arg)
{
	rln_stats st;

	CHECK_INT(rln_sleep(RLN_MS(20)), ==, 0);
	CHECK_INT(rln_stats_get(NULL, 0, &st), ==, 0);
	CHECK_INT(st.enters, <, 500); /* it waits, and does not spin */
	rln_shutdown(NULL);
	*(pthread_t *)arg = pthread_self();
	return 0;
}

/* What is left of it runs here: with timers armed and messages coming, after any number of steps.
 */
TEST(embed_wait_runs_the_rest_on_this_thread)
{
	unsigned before = open_fds();

	for (int steps = 0; steps < 6; steps++) {
		rln_listen_opts l = echo_mode(0);
		struct host h = host_start(&l, (rln_config){ .worker_exit = exit_counts });
		struct host_client cl;
		pthread_t ran = 0;

		exits = 0;
		host_client_start(&cl, &h, 20, 64);
		CHECK_INT(rln_go_on(h.rt, 0, ends_after_a_while, &ran, NULL), ==, 0);
		for (int i = 0; i < steps; i++)
			CHECK(host_step(&h) != RLN_STEP_OVER);
		if (steps % 2) /* as some libraries do with what they poll */
			CHECK_INT(fcntl(h.fd, F_SETFL, O_NONBLOCK), ==, 0);
		CHECK_INT(rln_wait(h.rt), ==, 0);
		CHECK(pthread_equal(ran, pthread_self()));
		CHECK_INT(exits, ==, 1);
		CHECK(pthread_join(cl.thread, NULL) == 0);
		close(h.said[0]);
		close(h.said[1]);
	}
	EVENTUALLY(open_fds() == before);
}

static int tells_thread(void *arg)
{
	*(pthread_t *)arg = pthread_self();
	return 7;
}

TEST(embed_main_is_a_program_without_threads)
{
	pthread_t ran = 0;

	CHECK_INT(rln_main(&(rln_config){ .embed = true, .main = tells_thread, .arg = &ran }), ==,
		  7);
	CHECK(pthread_equal(ran, pthread_self()));
}

/* ---- what is a stall */
static void naps(void *arg)
{
	poll(NULL, 0, 60);
	host_say(arg);
}

static uint64_t stalls_of(const struct host *h)
{
	rln_stats st;

	CHECK_INT(rln_stats_get(h->rt, 0, &st), ==, 0);
	return st.stalls;
}

TEST(embed_time_between_steps_is_no_stall)
{
	struct host h = host_start(NULL, (rln_config){ .stall_warn = RLN_MS(20), .log = capture });
	uint64_t stalls;
	int tries = 0;

	host_step(&h);
	do { /* a machine that is busy may stall a step, but not each of them */
		CHECK_INT(++tries, <, 50);
		stalls = stalls_of(&h);
		poll(NULL, 0, 60); /* the loop's own work */
		CHECK_INT(rln_enter(h.rt), ==, 0);
		rln_leave(h.rt);
		host_step(&h);
	} while (stalls_of(&h) != stalls);
	CHECK_INT(rln_post(h.rt, 0, naps, &h), ==, 0);
	host_run(&h, 1);
	CHECK_INT(stalls_of(&h), >, stalls);
	host_stop(&h);
}

/* ---- misuse */
static rln_runtime *nested_rt;

static void steps_inside(void *arg)
{
	CHECK_INT(rln_step(nested_rt), ==, -EDEADLK);
	CHECK_INT(rln_enter(nested_rt), ==, -EDEADLK);
	CHECK_INT(rln_wait(nested_rt), ==, -EDEADLK);
	host_say(arg);
}

static int steps_in_task(void *arg)
{
	steps_inside(arg);
	return 0;
}

TEST(embed_step_inside_a_task_or_callback_is_refused)
{
	struct host h = host_start(NULL, (rln_config){ .log = capture });
	struct host other = host_start(NULL, (rln_config){ .log = capture });

	nested_rt = h.rt;
	CHECK_INT(rln_post(h.rt, 0, steps_inside, &h), ==, 0);
	CHECK_INT(rln_go_on(h.rt, 0, steps_in_task, &h, NULL), ==, 0);
	host_run(&h, 2);
	CHECK_HAS(logged, "rln_step: this thread runs a worker already");
	CHECK_INT(log_lines(), ==, 1); /* once */
	CHECK_INT(rln_enter(h.rt), ==, 0);
	steps_inside(&h);
	CHECK_INT(rln_enter(other.rt), ==, -EDEADLK);
	CHECK_INT(rln_sleep(1), ==, -EDEADLK); /* nothing may wait there */
	rln_leave(h.rt);
	CHECK_INT(rln_sleep(1), ==, -EPERM);
	host_stop(&other);
	host_stop(&h);
}

static void *uses_elsewhere(void *arg)
{
	struct host *h = arg;

	CHECK_INT(rln_step(h->rt), ==, -EPERM);
	CHECK_INT(rln_enter(h->rt), ==, -EPERM);
	CHECK_INT(rln_wait(h->rt), ==, -EPERM);
	CHECK_INT(rln_poll_fd(h->rt), ==, h->fd); /* any thread may wait for it */
	return NULL;
}

TEST(embed_another_thread_is_refused)
{
	struct host h = host_start(NULL, (rln_config){ .log = capture });
	pthread_t t;

	CHECK(pthread_create(&t, NULL, uses_elsewhere, &h) == 0);
	CHECK(pthread_join(t, NULL) == 0);
	CHECK_HAS(logged, "belongs to the thread that started it");
	CHECK_INT(log_lines(), ==, 1);
	/* nobody would run what it waits for */
	CHECK_INT(rln_call(h.rt, 0, nothing, NULL, NULL), ==, -EDEADLK);
	host_stop(&h);
}

TEST(embed_calls_for_a_runtime_with_threads_are_refused)
{
	struct server s = server_start(&(rln_listen_opts){ .on_request = request_echo }, NULL);

	CHECK_INT(rln_poll_fd(s.rt), ==, -EINVAL);
	CHECK_INT(rln_step(s.rt), ==, -EINVAL);
	CHECK_INT(rln_enter(s.rt), ==, -EINVAL);
	CHECK_INT(rln_poll_fd(NULL), ==, -EINVAL);
	CHECK_INT(rln_step(NULL), ==, -EINVAL);
	CHECK_INT(rln_enter(NULL), ==, -EINVAL);
	CHECK_INT(server_stop(&s), ==, 0);
}

TEST(embed_forked_child_has_no_worker)
{
	struct host h = host_start(NULL, (rln_config){ .log = capture });
	int status = -1;

	host_step(&h);
	pid_t pid = fork();
	if (pid == 0)
		_exit(rln_step(h.rt) != -EPERM || rln_enter(h.rt) != -EPERM ||
		      rln_poll_fd(h.rt) != -EPERM || rln_wait(h.rt) != -EPERM);
	CHECK(pid > 0);
	while (waitpid(pid, &status, 0) < 0)
		CHECK(errno == EINTR);
	CHECK_INT(status, ==, 0);
	host_stop(&h);
}

static void leaves_without_entering(void)
{
	struct host h = host_start(NULL, (rln_config){ 0 });

	host_step(&h);
	rln_leave(h.rt);
}

static void leaves_twice(void)
{
	struct host h = host_start(NULL, (rln_config){ 0 });

	CHECK_INT(rln_enter(h.rt), ==, 0);
	rln_leave(h.rt);
	rln_leave(h.rt);
}

static void leave_in_callback(void *rt)
{
	rln_leave(rt);
}

static void leaves_inside_a_step(void)
{
	struct host h = host_start(NULL, (rln_config){ 0 });

	CHECK_INT(rln_post(h.rt, 0, leave_in_callback, h.rt), ==, 0);
	host_run(&h, 1);
}

TEST(embed_leave_without_enter_aborts_and_says_so)
{
	CHECK_DIES(leaves_without_entering, SIGABRT, "rln_leave without an rln_enter");
	CHECK_DIES(leaves_twice, SIGABRT, "rln_leave without an rln_enter");
	CHECK_DIES(leaves_inside_a_step, SIGABRT, "rln_leave without an rln_enter");
}
