/* The three modes echo the same bytes over every kind of socket. */
#include "net.h"
#include <limits.h>
#include <pthread.h>
#include <sys/un.h>
#include <sys/wait.h>

static void echo_task(rln_conn c, void *arg)
{
	rln_view v;
	(void)arg;
	while (rln_recv(c, &v) > 0)
		if (rln_send(c, v.data, v.len) < 0)
			break;
}

static int echo_request(rln_conn c, void *arg)
{
	rln_view v;
	(void)arg;
	ssize_t n = rln_recv(c, &v);
	if (n <= 0)
		return n < 0 ? (int)n : RLN_CLOSE;
	return rln_send(c, v.data, v.len) < 0 ? RLN_CLOSE : RLN_KEEP;
}

static size_t echo_data(rln_conn c, const uint8_t *p, size_t n, void *arg)
{
	(void)arg;
	return rln_send_nowait(c, p, n) < 0 ? 0 : n;
}

static const rln_callbacks echo_cb = { .data = echo_data };

static rln_listen_opts mode(int m)
{
	rln_listen_opts l = { 0 };
	if (m == 0)
		l.on_conn = echo_task;
	else if (m == 1)
		l.on_request = echo_request;
	else
		l.cb = &echo_cb;
	return l;
}

struct writer {
	int fd;
	size_t total;
	unsigned seed;
};

static void *write_pattern(void *arg)
{
	struct writer *w = arg;
	uint8_t buf[70000];
	for (size_t at = 0; at < w->total;) {
		size_t n = 1 + (size_t)rand_r(&w->seed) % sizeof buf;
		if (rand_r(&w->seed) % 2)
			n = 1 + n % 200;
		if (n > w->total - at)
			n = w->total - at;
		pattern_fill(buf, at, n);
		send_all(w->fd, buf, n);
		at += n;
	}
	shutdown(w->fd, SHUT_WR);
	return NULL;
}

static void stream_through(int fd, size_t total, unsigned seed)
{
	struct writer w = { fd, total, seed };
	pthread_t th;
	static uint8_t buf[1 << 16];
	CHECK(pthread_create(&th, NULL, write_pattern, &w) == 0);
	for (size_t at = 0; at < total;) {
		size_t want = 1 + (size_t)rand_r(&seed) % sizeof buf;
		ssize_t n = recv_some(fd, buf, want);
		if (n <= 0)
			test_fail(__FILE__, __LINE__, "after %zu of %zu bytes: %s", at, total,
				  n ? strerror(errno) : "EOF");
		pattern_check(buf, at, (size_t)n);
		at += (size_t)n;
	}
	pthread_join(th, NULL);
	expect_eof(fd);
	close(fd);
}

static void echo_over(int m, const char *addr)
{
	rln_listen_opts l = mode(m);
	l.addr = addr;
	struct server s = server_start(&l, NULL);
	for (unsigned seed = 1; seed <= 3; seed++)
		stream_through(client(&s), 3000000, seed);
	rln_stats st = server_stats(&s);
	CHECK_INT(st.accepts, ==, 3);
	CHECK_INT(st.recv_bytes, ==, 9000000);
	CHECK_INT(st.send_bytes, ==, 9000000);
	CHECK_INT(server_stop(&s), ==, 0);
}

TEST(echo_task_ipv4)
{
	echo_over(0, "127.0.0.1:0");
}
TEST(echo_request_ipv4)
{
	echo_over(1, "127.0.0.1:0");
}
TEST(echo_callback_ipv4)
{
	echo_over(2, "127.0.0.1:0");
}
TEST(echo_task_ipv6)
{
	echo_over(0, "[::1]:0");
}
TEST(echo_callback_ipv6)
{
	echo_over(2, "[::1]:0");
}

TEST(echo_unix_stream)
{
	char path[64], addr[80];
	snprintf(path, sizeof path, "/tmp/ringline-test-%d.sock", (int)getpid());
	snprintf(addr, sizeof addr, "unix:%s", path);
	for (int m = 0; m < 3; m++) {
		rln_listen_opts l = mode(m);
		l.addr = addr;
		rln_config cfg = { .workers = 2 };
		struct server s = server_start(&l, &cfg);
		struct sockaddr_un un = { .sun_family = AF_UNIX };
		strcpy(un.sun_path, path);
		for (unsigned seed = 1; seed <= 4; seed++)
			stream_through(client_to((struct sockaddr *)&un, sizeof un), 500000, seed);
		CHECK_INT(server_stop(&s), ==, 0);
		CHECK(access(path, F_OK) != 0);
	}
}

TEST(echo_inherited_socket)
{
	int lfd = socket(AF_INET, SOCK_STREAM, 0);
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
	socklen_t n = sizeof in;
	char addr[32];
	CHECK(bind(lfd, (struct sockaddr *)&in, n) == 0 && listen(lfd, 16) == 0);
	CHECK(getsockname(lfd, (struct sockaddr *)&in, &n) == 0);
	snprintf(addr, sizeof addr, "fd:%d", lfd);
	rln_listen_opts l = mode(0);
	l.addr = addr;
	rln_config cfg = { .workers = 2 };
	struct server s = server_start(&l, &cfg);
	for (unsigned seed = 1; seed <= 4; seed++)
		stream_through(client_to((struct sockaddr *)&in, n), 300000, seed);
	CHECK_INT(server_stop(&s), ==, 0);
	close(lfd);
}

TEST_LIMIT(echo_many_clients_two_workers, 60)
{
	for (int m = 0; m < 3; m++) {
		rln_listen_opts l = mode(m);
		rln_config cfg = { .workers = 2 };
		struct server s = server_start(&l, &cfg);
		enum { N = 200 };
		int fd[N];
		uint8_t buf[512];
		for (int i = 0; i < N; i++)
			fd[i] = client(&s);
		for (int round = 0; round < 5; round++) {
			for (int i = 0; i < N; i++) {
				pattern_fill(buf, (size_t)i * 7, sizeof buf);
				send_all(fd[i], buf, sizeof buf);
			}
			for (int i = 0; i < N; i++) {
				CHECK_INT(recv_n(fd[i], buf, sizeof buf), ==, sizeof buf);
				pattern_check(buf, (size_t)i * 7, sizeof buf);
			}
		}
		for (int i = 0; i < N; i++)
			close(fd[i]);
		CHECK_INT(server_stop(&s), ==, 0);
	}
}

/* Starved of everything: two SQEs, four CQEs, one receive buffer. */
TEST_LIMIT(echo_smallest_sizes, 60)
{
	for (int m = 0; m < 3; m++) {
		rln_listen_opts l = mode(m);
		rln_config cfg = { .workers = 1, .sq_entries = 2, .cq_entries = 4, .recv_bufs = 1 };
		struct server s = server_start(&l, &cfg);
		stream_through(client(&s), 400000, 7);
		int a = client(&s), b = client(&s);
		send_all(a, "from a", 6);
		send_all(b, "from b", 6);
		expect(b, "from b");
		expect(a, "from a");
		close(a);
		close(b);
		CHECK_INT(server_stop(&s), ==, 0);
	}
}

/* Options of the ring and the loop that change how, not what. */
TEST_LIMIT(echo_with_a_kernel_thread_or_spinning, 60)
{
	for (int m = 0; m < 3; m++) {
		rln_listen_opts l = mode(m);
		rln_config cfg = { .workers = 1 };
		cfg.sqpoll = m != 1;
		cfg.sqpoll_idle_ms = cfg.sqpoll ? 10 : 0;
		cfg.spin = m == 1 ? RLN_US(50) : 0;
		struct server s = server_start(&l, &cfg);
		stream_through(client(&s), 500000, 3);
		stream_through(client(&s), 500000, 4);
		CHECK_INT(server_stop(&s), ==, 0);
	}
}

static void fork_in_handler(rln_conn c, void *arg)
{
	int status, *result = arg;
	rln_view v;
	pid_t pid = fork();

	if (pid == 0) {
		bool refused = rln_send(c, "x", 1) == -EPERM && rln_recv(c, &v) == -EPERM &&
			       rln_close(c) == -EPERM && rln_sleep(1) == -EPERM &&
			       rln_worker() == UINT_MAX;
		_exit(refused ? 42 : 1);
	}
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	*result = WEXITSTATUS(status);
	rln_send(c, "parent", 6);
}

/* A forked child has the worker's memory, but neither its ring nor its connections. */
TEST(fork_child_is_no_worker)
{
	int result = 0;
	rln_listen_opts l = { .on_conn = fork_in_handler, .arg = &result };
	struct server s = server_start(&l, NULL);
	int fd = client(&s);

	expect(fd, "parent");
	expect_eof(fd);
	close(fd);
	CHECK_INT(server_stop(&s), ==, 0);
	CHECK_INT(result, ==, 42);
}

static rln_timer left_running;
static int timer_calls;

static void timer_called(rln_timer *t, void *ud)
{
	(void)ud;
	if (++timer_calls < 3)
		rln_timer_start(t, RLN_MS(1), timer_called, NULL);
	else
		rln_shutdown(NULL);
}

static int start_timers(void *arg)
{
	static rln_timer t;
	(void)arg;
	rln_timer_start(&left_running, RLN_SEC(100), timer_called, NULL);
	rln_timer_start(&t, RLN_MS(50), timer_called, NULL);
	rln_timer_stop(&t);
	rln_timer_start(&t, RLN_MS(1), timer_called, NULL);
	return rln_sleep(RLN_FOREVER) == -ECANCELED ? 0 : 1;
}

/* One that is left running when the runtime stops is no reason to crash. */
TEST(timer_restarts_itself_and_one_may_be_left_running)
{
	CHECK_INT(rln_main(&(rln_config){ .workers = 1, .no_pin = true, .main = start_timers }), ==,
		  0);
	CHECK_INT(timer_calls, ==, 3);
}
