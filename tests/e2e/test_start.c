/* Starting a runtime, all or nothing; its workers' state; reaching them from other threads. */
#include "rig.h"
#include <fcntl.h>
#include <stdatomic.h>

static char logged[4096];

static void capture(int level, const char *msg, void *arg)
{
	size_t n = strlen(logged);
	(void)level, (void)arg;
	snprintf(logged + n, sizeof logged - n, "%s\n", msg);
}

static void nothing(rln_conn c, void *arg)
{
	(void)c, (void)arg;
}

/* The start fails with err, says part, and leaves neither a descriptor nor a thread. */
static void start_fails(rln_config cfg, int err, const char *part)
{
	rln_runtime *rt = (rln_runtime *)&cfg;
	unsigned before = open_fds();

	logged[0] = 0;
	cfg.log = capture;
	CHECK_INT(rln_start(&cfg, &rt), ==, err);
	CHECK_HAS(logged, part);
	CHECK(rt == (rln_runtime *)&cfg);		      /* written on success only */
	CHECK(strchr(logged, '\n') == strrchr(logged, '\n')); /* one line */
	EVENTUALLY(open_fds() == before);
	EVENTUALLY(runtime_threads() == 0);
}

TEST(start_refuses_a_field_by_name)
{
	rln_listen_opts l = { .addr = "127.0.0.1:0", .on_conn = nothing };
	rln_config cfg = { .workers = 1, .no_pin = true, .listen = &l, .nlisten = 1 };
	rln_runtime *rt;

	start_fails((rln_config){ .sq_entries = 3 }, -EINVAL, "sq_entries");
	start_fails((rln_config){ .recv_buf_size = 3 }, -EINVAL, "recv_buf_size");
	start_fails((rln_config){ .drain_timeout = -1 }, -EINVAL, "drain_timeout");
	start_fails((rln_config){ .nlisten = 1 }, -EINVAL, "listen");
	l.addr = "nowhere";
	start_fails(cfg, -EINVAL, "addr");
	l.addr = NULL;
	start_fails(cfg, -EINVAL, "addr");
	l.addr = "127.0.0.1:0";
	l.on_conn = NULL;
	start_fails(cfg, -EINVAL, "on_conn");
	l.on_conn = nothing;
	l.on_request = (int (*)(rln_conn, void *))abort;
	start_fails(cfg, -EINVAL, "on_request");
	l.on_request = NULL;
	l.send_low = 100;
	l.send_high = 10;
	start_fails(cfg, -EINVAL, "send_low");
	CHECK_INT(rln_start(NULL, &rt), ==, -EINVAL);
	CHECK_INT(rln_start(&cfg, NULL), ==, -EINVAL);
}

TEST(start_port_in_use_is_named)
{
	struct sockaddr_in in;
	char addr[32];
	int lfd = raw_listener(&in, 4, 0);

	snprintf(addr, sizeof addr, "127.0.0.1:%d", ntohs(in.sin_port));
	rln_listen_opts l[] = { { .addr = "127.0.0.1:0", .on_conn = nothing },
				{ .addr = addr, .on_conn = nothing } };
	for (unsigned workers = 1; workers <= 2; workers++)
		start_fails((rln_config){ .workers = workers, .listen = l, .nlisten = 2 },
			    -EADDRINUSE, addr);
	close(lfd);
	l[1].addr = "192.0.2.1:0";
	start_fails((rln_config){ .workers = 1, .listen = l, .nlisten = 2 }, -EADDRNOTAVAIL,
		    "192.0.2.1");
}

/* Workers join one port with SO_REUSEPORT; a second runtime must not join them in silence. */
TEST(start_port_of_another_runtime_is_in_use)
{
	rln_listen_opts l = { .on_conn = nothing };
	rln_config two = { .workers = 2 };
	struct server s = server_start(&l, &two);
	char addr[32];

	snprintf(addr, sizeof addr, "127.0.0.1:%d",
		 ntohs(((struct sockaddr_in *)&s.addr)->sin_port));
	rln_listen_opts again = { .addr = addr, .on_conn = nothing };
	rln_runtime *rt;
	logged[0] = 0;
	CHECK_INT(rln_start(
			  &(rln_config){
				  .workers = 2, .listen = &again, .nlisten = 1, .log = capture },
			  &rt),
		  ==, -EADDRINUSE);
	CHECK_HAS(logged, addr);
	CHECK_INT(server_stop(&s), ==, 0);
}

/* Closed for good: the port is free at once, also with connections of a moment ago. */
TEST(start_again_on_the_same_port)
{
	char addr[32] = "127.0.0.1:0";

	for (int i = 0; i < 5; i++) {
		rln_listen_opts l = { .addr = addr, .on_conn = nothing };
		rln_config two = { .workers = 2 };
		unsigned before = open_fds();
		struct server s = server_start(&l, &two);
		for (int k = 0; k < 10; k++) {
			int fd = client(&s);
			expect_eof(fd); /* closed here first: the port keeps a TIME_WAIT */
			close(fd);
		}
		snprintf(addr, sizeof addr, "127.0.0.1:%d",
			 ntohs(((struct sockaddr_in *)&s.addr)->sin_port));
		CHECK_INT(server_stop(&s), ==, 0);
		EVENTUALLY(open_fds() == before);
		EVENTUALLY(runtime_threads() == 0);
	}
}

/* ---- worker_init and worker_exit */
static struct {
	atomic_uint inits, exits, exits_before_end;
	int fail_worker, state[4];
	atomic_bool ended;
} life;

static int init(unsigned worker, void *arg, void **state)
{
	CHECK(arg == &life);
	CHECK_INT(rln_worker(), ==, worker);
	if (life.fail_worker < 0)
		CHECK_INT(rln_sleep(1), ==, -EDEADLK); /* it may not wait */
	*state = &life.state[worker];
	life.inits++;
	return (int)worker == life.fail_worker ? -EKEYREJECTED : 0;
}

static void fini(unsigned worker, void *state)
{
	CHECK_INT(rln_worker(), ==, worker);
	CHECK(state == &life.state[worker]);
	life.exits++;
}

static void tell_state(rln_conn c, void *arg)
{
	char text[32];
	(void)arg;
	CHECK_INT(rln_workers(), ==, 3);
	CHECK_INT(life.inits, ==, 3); /* before anything is accepted */
	CHECK_INT(life.exits, ==, 0);
	CHECK(rln_worker_state() == &life.state[rln_worker()]);
	int n = snprintf(text, sizeof text, "state ok");
	CHECK_INT(rln_send(c, text, (size_t)n), ==, n);
}

TEST(start_worker_init_and_exit_frame_everything)
{
	rln_listen_opts l = { .on_conn = tell_state };
	rln_config cfg = { .workers = 3, .worker_init = init, .worker_exit = fini, .arg = &life };

	life.fail_worker = -1;
	struct server s = server_start(&l, &cfg);
	CHECK_INT(life.inits, ==, 3);
	for (int i = 0; i < 20; i++) {
		int fd = client(&s);
		expect(fd, "state ok");
		expect_eof(fd);
		close(fd);
	}
	CHECK_INT(life.exits, ==, 0);
	CHECK_INT(server_stop(&s), ==, 0);
	CHECK_INT(life.exits, ==, 3);
}

TEST(start_worker_init_that_fails_undoes_all)
{
	rln_listen_opts l = { .addr = "127.0.0.1:0", .on_conn = nothing };

	for (life.fail_worker = 0; life.fail_worker < 3; life.fail_worker++) {
		life.inits = life.exits = 0;
		start_fails((rln_config){ .workers = 3,
					  .no_pin = true,
					  .listen = &l,
					  .nlisten = 1,
					  .worker_init = init,
					  .worker_exit = fini,
					  .arg = &life },
			    -EKEYREJECTED, "worker_init");
		CHECK_INT(life.inits, ==, 3);
		CHECK_INT(life.exits, ==, 2); /* of those that were initialised */
	}
}

/* ---- listeners */
static void say(rln_conn c, void *arg)
{
	CHECK_INT(rln_send(c, arg, strlen(arg)), >, 0);
}

static int answer(rln_conn c, void *arg)
{
	rln_view v;
	CHECK_INT(rln_recv(c, &v), >, 0);
	CHECK_INT(rln_send(c, arg, strlen(arg)), >, 0);
	return RLN_CLOSE;
}

TEST(start_two_listeners_have_their_own_handlers)
{
	rln_listen_opts l[] = {
		{ .addr = "127.0.0.1:0", .on_conn = say, .arg = "first" },
		{ .addr = "[::1]:0", .on_request = answer, .arg = "second" },
		{ .addr = "127.0.0.1:0", .on_conn = say, .arg = "third" },
	};
	rln_config cfg = { .workers = 2, .no_pin = true, .listen = l, .nlisten = 3 };
	static const char *const said[] = { "first", "second", "third" };
	struct sockaddr_storage at;
	uint16_t port[3];
	rln_runtime *rt;

	CHECK_INT(rln_start(&cfg, &rt), ==, 0);
	for (int round = 0; round < 10; round++)
		for (unsigned i = 0; i < 3; i++) {
			CHECK_INT(rln_listen_addr(rt, i, &at), ==, 0);
			port[i] = ((struct sockaddr_in *)&at)->sin_port;
			CHECK_INT(port[i], !=, 0);
			int fd = client_to((struct sockaddr *)&at, addr_bytes(&at));
			put(fd, "?");
			expect(fd, said[i]);
			close(fd);
		}
	CHECK(port[0] != port[2]);
	CHECK_INT(rln_listen_addr(rt, 3, &at), ==, -EINVAL);
	CHECK_INT(rln_listen_addr(NULL, 0, &at), ==, -EPERM);
	rln_shutdown(rt);
	CHECK_INT(rln_wait(rt), ==, 0);
}

TEST(start_every_address_of_both_families)
{
	rln_listen_opts l = { .addr = ":0", .on_conn = say, .arg = "hello" };
	rln_config cfg = { .workers = 2 };
	struct server s = server_start(&l, &cfg);
	struct sockaddr_in6 six = { .sin6_family = AF_INET6, .sin6_addr = in6addr_loopback };
	struct sockaddr_in four = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };

	six.sin6_port = four.sin_port = ((struct sockaddr_in6 *)&s.addr)->sin6_port;
	for (int i = 0; i < 10; i++) {
		int fd = i % 2 ? client_to((struct sockaddr *)&six, sizeof six)
			       : client_to((struct sockaddr *)&four, sizeof four);
		expect(fd, "hello");
		expect_eof(fd);
		close(fd);
	}
	CHECK_INT(server_stop(&s), ==, 0);
}

/* What a runtime opens is not inherited by the programs it starts. */
TEST(start_descriptors_are_close_on_exec)
{
	rln_listen_opts l[] = { { .addr = "127.0.0.1:0", .on_conn = nothing },
				{ .addr = "unix:@ringline-cloexec", .on_conn = nothing } };
	rln_config cfg = { .workers = 2, .no_pin = true, .listen = l, .nlisten = 2 };
	bool mine[1024] = { false };
	rln_runtime *rt;

	for (int fd = 0; fd < 1024; fd++)
		mine[fd] = fcntl(fd, F_GETFD) >= 0;
	CHECK_INT(rln_start(&cfg, &rt), ==, 0);
	for (int fd = 0; fd < 1024; fd++) {
		int flags = fcntl(fd, F_GETFD);
		if (!mine[fd] && flags >= 0 && !(flags & FD_CLOEXEC))
			test_fail(__FILE__, __LINE__, "descriptor %d is inheritable", fd);
	}
	rln_shutdown(rt);
	CHECK_INT(rln_wait(rt), ==, 0);
}

/* ---- from other threads */
static struct {
	unsigned next[2];
	atomic_uint done;
} order;

static void in_order(void *arg)
{
	unsigned n = (unsigned)(uintptr_t)arg;
	CHECK_INT(n, ==, order.next[rln_worker()]++);
	CHECK_INT(rln_self().h, ==, 0);
	order.done++;
}

static int task_of(void *arg)
{
	const char *text = arg;
	CHECK_STR(text, "copied");
	CHECK(rln_self().h != 0);
	CHECK_INT(rln_worker(), ==, 1);
	CHECK_INT(rln_sleep(RLN_US(10)), ==, 0);
	order.done++;
	return 0;
}

TEST(post_runs_in_order_each_once)
{
	rln_listen_opts l = { .on_conn = nothing };
	rln_config cfg = { .workers = 2 };
	struct server s = server_start(&l, &cfg);
	char text[8] = "copied";
	rln_task_opts o = { .name = "posted", .copy = text, .copy_size = sizeof text };

	for (unsigned i = 0; i < 5000; i++)
		for (unsigned w = 0; w < 2; w++) {
			int e;
			while ((e = rln_post(s.rt, w, in_order, (void *)(uintptr_t)i)) == -EAGAIN)
				poll(NULL, 0, 1); /* its queue is full */
			CHECK_INT(e, ==, 0);
		}
	EVENTUALLY(order.done == 10000);
	CHECK_INT(rln_go_on(s.rt, 1, task_of, NULL, &o), ==, 0);
	memset(text, 'x', sizeof text);
	EVENTUALLY(order.done == 10001);
	CHECK_INT(rln_post(s.rt, 2, in_order, NULL), ==, -EINVAL);
	CHECK_INT(rln_post(s.rt, 0, NULL, NULL), ==, -EINVAL);
	CHECK_INT(rln_go_on(s.rt, 2, task_of, NULL, NULL), ==, -EINVAL);
	o = (rln_task_opts){ .copy_size = 8 }; /* of nothing */
	CHECK_INT(rln_go_on(s.rt, 1, task_of, NULL, &o), ==, -EINVAL);
	CHECK_INT(rln_go_on(s.rt, 0, NULL, NULL, NULL), ==, -EINVAL);
	CHECK_INT(server_stop(&s), ==, 0);
}

static atomic_uint ran, exited;

static void count_run(void *arg)
{
	(void)arg;
	ran++;
}

static void count_exit(unsigned worker, void *state)
{
	(void)worker, (void)state;
	exited++;
}

/* While the runtime ends, a post either runs once or is refused; it is never lost in between. */
TEST(post_during_the_end_runs_or_is_refused)
{
	for (int i = 0; i < 20; i++) {
		rln_listen_opts l = { .on_conn = nothing };
		rln_config cfg = { .workers = 1, .worker_exit = count_exit };
		struct server s = server_start(&l, &cfg);
		unsigned accepted = 0;
		int e = 0;
		ran = exited = 0;
		rln_shutdown(s.rt);
		while (!exited || e != -ESHUTDOWN) {
			e = rln_post(s.rt, 0, count_run, NULL);
			accepted += e == 0;
			if (e == -EAGAIN)
				poll(NULL, 0, 1);
			else if (e != 0)
				CHECK_INT(e, ==, -ESHUTDOWN);
		}
		CHECK_INT(rln_go_on(s.rt, 0, task_of, NULL, NULL), ==, -ESHUTDOWN);
		CHECK_INT(rln_wait(s.rt), ==, 0);
		CHECK_INT(ran, ==, accepted);
	}
}

static int misuse_main(void *arg)
{
	rln_runtime *rt;
	(void)arg;
	CHECK_INT(rln_start(&(rln_config){ .workers = 1 }, &rt), ==, -EDEADLK);
	CHECK_INT(rln_wait((rln_runtime *)&rt), ==, -EDEADLK);
	CHECK_INT(rln_main(&(rln_config){ .workers = 1 }), ==, 2);
	return 0;
}

TEST(start_and_wait_on_a_worker_are_edeadlk)
{
	rln_runtime *rt;

	CHECK_INT(rln_wait(NULL), ==, -EINVAL);
	CHECK_INT(
		rln_start(&(rln_config){ .workers = 1, .main = misuse_main, .log = capture }, &rt),
		==, 0);
	CHECK_INT(rln_wait(rt), ==, 0);
}
