/* Connections that come from no listener: connects, adopted descriptors, and ones handed over. */
#include "rig.h"
#include <fcntl.h>
#include <stdatomic.h>

/* ---- connecting */
static int listener_at(const struct sockaddr *sa, socklen_t n, int backlog)
{
	int fd = socket(sa->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	CHECK(fd >= 0 && bind(fd, sa, n) == 0 && listen(fd, backlog) == 0);
	return fd;
}

static void converse(rln_conn c, int lfd)
{
	int fd = accept(lfd, NULL, NULL);
	rln_view v;

	CHECK(fd >= 0);
	limit_waits(fd);
	CHECK_INT(rln_send(c, "ping", 4), ==, 4);
	peer_expect(fd, "ping");
	put(fd, "pong");
	CHECK_INT(rln_recv_exact(c, 4, &v), ==, 4);
	check_view(v, "pong");
	CHECK_INT(rln_close(c), ==, 0);
	CHECK_INT(peer_end(fd), ==, 0);
	close(fd);
}

TASK_TEST(connect_ipv4_ipv6_unix)
{
	struct sockaddr_in in;
	struct sockaddr_in6 in6 = { .sin6_family = AF_INET6, .sin6_addr = in6addr_loopback };
	struct sockaddr_un un = { .sun_family = AF_UNIX }, abstract = un;
	struct sockaddr_storage peer;
	socklen_t n = sizeof in6;
	char text[160];
	rln_conn c;

	int lfd = raw_listener(&in, 8, 0);
	snprintf(text, sizeof text, "127.0.0.1:%d", ntohs(in.sin_port));
	CHECK_INT(rln_connect(text, NULL, &c), ==, 0);
	CHECK_INT(rln_peer(c, &peer), ==, 0);
	CHECK(memcmp(&peer, &in, sizeof in) == 0);
	converse(c, lfd);
	close(lfd);

	lfd = listener_at((struct sockaddr *)&in6, n, 8);
	CHECK(getsockname(lfd, (struct sockaddr *)&in6, &n) == 0);
	snprintf(text, sizeof text, "[::1]:%d", ntohs(in6.sin6_port));
	CHECK_INT(rln_connect(text, NULL, &c), ==, 0);
	CHECK_INT(rln_peer(c, &peer), ==, 0);
	CHECK_INT(peer.ss_family, ==, AF_INET6);
	converse(c, lfd);
	close(lfd);

	snprintf(un.sun_path, sizeof un.sun_path, "/tmp/ringline-conn-%d.sock", (int)getpid());
	lfd = listener_at((struct sockaddr *)&un, sizeof un, 8);
	snprintf(text, sizeof text, "unix:%s", un.sun_path);
	CHECK_INT(rln_connect(text, NULL, &c), ==, 0);
	CHECK_INT(rln_peer(c, &peer), ==, 0);
	CHECK_INT(peer.ss_family, ==, AF_UNIX);
	converse(c, lfd);
	CHECK_INT(rln_connect_addr((struct sockaddr *)&un, sizeof un, NULL, &c), ==, 0);
	converse(c, lfd);
	close(lfd);
	CHECK_INT(rln_connect(text, NULL, &c), ==, -ECONNREFUSED);
	unlink(un.sun_path);
	CHECK_INT(rln_connect(text, NULL, &c), ==, -ENOENT);

	snprintf(text, sizeof text, "unix:@ringline-%d", (int)getpid());
	memcpy(abstract.sun_path + 1, text + 6, strlen(text + 6));
	n = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(text + 6) + 1);
	lfd = listener_at((struct sockaddr *)&abstract, n, 8);
	CHECK_INT(rln_connect(text, NULL, &c), ==, 0);
	converse(c, lfd);
	close(lfd);
}

TASK_TEST(connect_refused_and_bad_text)
{
	static const char *const bad[] = {
		"",	"localhost:0",	  "1.2.3.4",	  "1.2.3.4:99999",
		"[::1", "1.2.3.4:80 ",	  "1.2.3:80",	  "unix:",
		"::1",	"127.0.0.1:-1",	  "[zz]:1",	  "fd:3",
		":",	"127.0.0.1:port", "tcp:1.2.3.4:1"
	};
	struct sockaddr_in in;
	struct sockaddr_storage odd = { .ss_family = AF_PACKET };
	rln_conn c = { 77 };
	char text[64];

	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		int e = rln_connect(bad[i], NULL, &c);
		if (e != -EINVAL)
			test_fail(__FILE__, __LINE__, "\"%s\": %d, not -EINVAL", bad[i], e);
	}
	CHECK_INT(rln_connect(NULL, NULL, &c), ==, -EINVAL);
	close(raw_listener(&in, 1, 0));
	snprintf(text, sizeof text, "127.0.0.1:%d", ntohs(in.sin_port));
	CHECK_INT(rln_connect(text, NULL, &c), ==, -ECONNREFUSED);
	CHECK_INT(rln_connect(text, NULL, NULL), ==, -EINVAL);
	CHECK_INT(rln_connect_addr((struct sockaddr *)&odd, sizeof odd, NULL, &c), ==,
		  -EAFNOSUPPORT);
	CHECK_INT(rln_connect_addr((struct sockaddr *)&in, 4, NULL, &c), <, 0);
	CHECK_INT(rln_connect(text, &(rln_connect_opts){ .bind = "nonsense" }, &c), ==, -EINVAL);
	CHECK_INT(rln_connect(text, &(rln_connect_opts){ .idle_timeout = -1 }, &c), ==, -EINVAL);
	CHECK_INT(c.h, ==, 77); /* written on success only */
}

TASK_TEST(connect_options_of_a_newer_header)
{
	struct {
		rln_connect_opts o;
		uint64_t more;
	} newer = { .more = 0 };
	struct sockaddr_in in;
	rln_conn c;
	int lfd = raw_listener(&in, 4, 0);

	CHECK_INT(rln_connect_addr_sized((struct sockaddr *)&in, sizeof in, &newer.o, sizeof newer,
					 &c),
		  ==, 0);
	converse(c, lfd);
	newer.more = 1;
	CHECK_INT(rln_connect_addr_sized((struct sockaddr *)&in, sizeof in, &newer.o, sizeof newer,
					 &c),
		  ==, -E2BIG);
	close(lfd);
}

TASK_TEST(connect_bind_chooses_the_local_address)
{
	struct sockaddr_in in, from;
	socklen_t n = sizeof from;
	rln_conn c, d;
	char bound[64];
	int lfd = raw_listener(&in, 8, 0);
	rln_connect_opts o = { .bind = "127.0.0.9:0" };

	CHECK_INT(rln_connect_addr((struct sockaddr *)&in, sizeof in, &o, &c), ==, 0);
	int fd = accept(lfd, (struct sockaddr *)&from, &n);
	CHECK(fd >= 0);
	CHECK_INT(ntohl(from.sin_addr.s_addr), ==, INADDR_LOOPBACK + 8);
	snprintf(bound, sizeof bound, "127.0.0.9:%d", ntohs(from.sin_port));
	o.bind = bound;
	int e = rln_connect_addr((struct sockaddr *)&in, sizeof in, &o, &d);
	CHECK(e == -EADDRINUSE || e == -EADDRNOTAVAIL);
	o.bind = "192.0.2.1:0"; /* of nobody here */
	CHECK_INT(rln_connect_addr((struct sockaddr *)&in, sizeof in, &o, &d), ==, -EADDRNOTAVAIL);
	CHECK_INT(rln_close(c), ==, 0);
	close(fd);
	close(lfd);
}

/* A listener whose backlog is full answers nobody. */
static int full_listener(struct sockaddr_in *in, int *filler, int n)
{
	int lfd = raw_listener(in, 0, 0);

	for (int i = 0; i < n; i++) {
		filler[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		int e = connect(filler[i], (struct sockaddr *)in, sizeof *in);
		CHECK(e == 0 || errno == EINPROGRESS);
	}
	return lfd;
}

static int connecting_child(void *arg)
{
	rln_conn c;
	return rln_connect_addr(arg, sizeof(struct sockaddr_in), NULL, &c);
}

TASK_TEST_CFG(connect_deadline_and_cancel_leave_nothing, .file_slots = 4)
{
	struct sockaddr_in in;
	int filler[4], result, lfd = full_listener(&in, filler, 4);
	unsigned fds = open_fds();
	rln_conn c;
	rln_task t;
	rln_stats st;

	for (int i = 0; i < 12; i++) { /* more often than there are slots */
		CHECK_INT(RLN_WITHIN(RLN_MS(3),
				     rln_connect_addr((struct sockaddr *)&in, sizeof in, NULL, &c)),
			  ==, -ETIME);
		CHECK_INT(rln_spawn(connecting_child, &in, NULL, &t), ==, 0);
		CHECK_INT(i % 2 ? rln_yield() : rln_sleep(RLN_MS(1)), ==, 0);
		CHECK_INT(rln_cancel(t), ==, 0);
		CHECK_INT(rln_join(t, &result), ==, 0);
		CHECK_INT(result, ==, -ECANCELED);
		CHECK_INT(rln_spawn(connecting_child, &in, NULL, &t), ==, 0);
		CHECK_INT(rln_cancel(t), ==, 0); /* before it began */
		CHECK_INT(rln_join(t, &result), ==, 0);
		CHECK_INT(result, ==, -ECANCELED);
		CHECK_INT(RLN_WITHIN(0, connecting_child(&in)), ==, -ETIME);
		CHECK_INT(rln_sleep(RLN_MS(1)), ==, 0);
	}
	CHECK_INT(open_fds(), ==, fds);
	CHECK_INT(rln_stats_get(NULL, 0, &st), ==, 0);
	CHECK_INT(st.connects, ==, 0);
	CHECK_INT(st.conns_open, ==, 0);
	for (int i = 0; i < 4; i++)
		close(filler[i]);
	close(lfd);
}

TASK_TEST_CFG(connect_without_a_slot_is_enfile, .file_slots = 2)
{
	struct pair p = pair_tcp(NULL), q = pair_tcp(NULL);
	struct sockaddr_in in;
	int pipes[2], lfd = raw_listener(&in, 4, 0);
	rln_conn c;

	CHECK_INT(rln_connect_addr((struct sockaddr *)&in, sizeof in, NULL, &c), ==, -ENFILE);
	CHECK(pipe2(pipes, O_CLOEXEC) == 0);
	CHECK_INT(rln_adopt_fd(pipes[0], &c), ==, -ENFILE);
	CHECK(fcntl(pipes[0], F_GETFD) >= 0); /* still ours */
	pair_close(&p);
	int e;
	TASK_EVENTUALLY((e = rln_connect_addr((struct sockaddr *)&in, sizeof in, NULL, &c)) !=
			-ENFILE);
	CHECK_INT(e, ==, 0);
	converse(c, lfd);
	pair_close(&q);
	close(pipes[0]);
	close(pipes[1]);
	close(lfd);
}

TASK_TEST(connect_idle_timeout_is_etime)
{
	struct pair p = pair_tcp(&(rln_connect_opts){ .idle_timeout = RLN_MS(10) });
	rln_view v;

	CHECK_INT(rln_recv(p.c, &v), ==, -ETIME);
	put(p.fd, "alive");
	CHECK_INT(rln_recv_exact(p.c, 5, &v), ==, 5);
	CHECK_INT(rln_recv(p.c, &v), ==, -ETIME);
	pair_close(&p);
}

/* ---- adopting */
TASK_TEST(adopt_both_ends_of_a_socketpair)
{
	int sv[2];
	rln_conn a, b;
	rln_view v;
	struct sockaddr_storage peer;

	CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, sv) == 0);
	CHECK_INT(rln_adopt_fd(sv[0], &a), ==, 0);
	CHECK_INT(rln_adopt_fd(sv[1], &b), ==, 0);
	CHECK(fcntl(sv[0], F_GETFD) < 0 && fcntl(sv[1], F_GETFD) < 0); /* taken */
	CHECK_INT(rln_peer(a, &peer), ==, 0);
	CHECK_INT(peer.ss_family, ==, AF_UNIX);
	for (int i = 0; i < 100; i++) {
		CHECK_INT(rln_send(a, "there", 5), ==, 5);
		CHECK_INT(rln_recv_exact(b, 5, &v), ==, 5);
		CHECK_INT(rln_send(b, v.data, 5), ==, 5);
		CHECK_INT(rln_recv_exact(a, 5, &v), ==, 5);
		check_view(v, "there");
	}
	CHECK_INT(rln_shutdown_send(a), ==, 0);
	CHECK_INT(rln_recv(b, &v), ==, 0);
	CHECK_INT(rln_send(b, "last", 4), ==, 4);
	CHECK_INT(rln_close(b), ==, 0);
	CHECK_INT(rln_recv_exact(a, 4, &v), ==, 4);
	CHECK_INT(rln_recv(a, &v), ==, 0);
	CHECK_INT(rln_close(a), ==, 0);
}

struct pipe_ends {
	rln_conn rd, wr;
	size_t total;
};

static int pipe_writer(void *arg)
{
	struct pipe_ends *p = arg;
	uint8_t *data = pattern_new(p->total);

	CHECK_INT(rln_send(p->wr, data, 1000), ==, 1000);
	CHECK_INT(rln_send(p->wr, data + 1000, p->total - 1000), ==, p->total - 1000);
	CHECK_INT(rln_close(p->wr), ==, 0);
	free(data);
	return 0;
}

TASK_TEST(adopt_pipe_ends)
{
	struct pipe_ends p = { .total = MIB };
	struct sockaddr_storage peer;
	uint8_t *got = malloc(p.total);
	rln_task t;
	rln_view v;
	int fd[2];

	CHECK(pipe2(fd, O_CLOEXEC) == 0);
	CHECK_INT(rln_adopt_fd(fd[0], &p.rd), ==, 0);
	CHECK_INT(rln_adopt_fd(fd[1], &p.wr), ==, 0);
	CHECK_INT(rln_peer(p.rd, &peer), ==, -ENOTCONN);
	CHECK_INT(rln_spawn(pipe_writer, &p, NULL, &t), ==, 0);
	CHECK_INT(rln_recv_exact(p.rd, 500, &v), ==, 500);
	pattern_check(v.data, 0, 500);
	CHECK_INT(rln_recv_full(p.rd, got, p.total - 500), ==, p.total - 500);
	pattern_check(got, 500, p.total - 500);
	CHECK_INT(rln_recv(p.rd, &v), ==, 0);
	CHECK_INT(rln_join(t, NULL), ==, 0);
	CHECK_INT(rln_close(p.rd), ==, 0);
	free(got);
}

TASK_TEST(adopt_pipe_without_a_reader_is_epipe)
{
	int fd[2], e = 0;
	rln_conn wr;

	CHECK(pipe2(fd, O_CLOEXEC) == 0);
	CHECK_INT(rln_adopt_fd(fd[1], &wr), ==, 0);
	close(fd[0]);
	TASK_EVENTUALLY((e = (int)rln_send(wr, "x", 1)) < 0);
	CHECK_INT(e, ==, -EPIPE);
	CHECK_INT(rln_close(wr), ==, 0);
}

TASK_TEST(adopt_refuses_what_cannot_be_a_connection)
{
	struct sockaddr_in in;
	rln_conn c = { 77 };
	int file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	int dgram = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int fresh = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), lfd = raw_listener(&in, 1, 0);

	CHECK_INT(rln_adopt_fd(file, &c), ==, -EINVAL);
	CHECK_INT(rln_adopt_fd(dgram, &c), ==, -EINVAL);
	CHECK_INT(rln_adopt_fd(lfd, &c), ==, -EINVAL);
	CHECK_INT(rln_adopt_fd(fresh, &c), ==, -EINVAL);
	CHECK_INT(rln_adopt_fd(-1, &c), ==, -EBADF);
	CHECK_INT(rln_adopt_fd(1 << 20, &c), ==, -EBADF);
	CHECK_INT(c.h, ==, 77);
	CHECK(close(file) == 0 && close(dgram) == 0 && close(lfd) == 0 && close(fresh) == 0);
}

/* ---- handing over */
static atomic_int given_ended;

static void taker(rln_conn c, void *arg)
{
	rln_view v;
	char reply[32];

	CHECK_INT(rln_worker(), ==, *(unsigned *)arg);
	CHECK(rln_user(c) == arg);
	CHECK_INT(rln_recv_exact(c, 11, &v), ==, 11);
	check_view(v, "nread input");
	CHECK_INT(rln_recv_exact(c, 5, &v), ==, 5);
	check_view(v, "later");
	int n = snprintf(reply, sizeof reply, "from worker %u", rln_worker());
	CHECK_INT(rln_send(c, reply, (size_t)n), ==, n);
	CHECK_INT(rln_recv(c, &v), ==, 0);
	given_ended++;
}

static void giver(rln_conn c, void *arg)
{
	static unsigned to[2] = { 0, 1 };
	unsigned other = 1 - rln_worker();
	rln_view v;

	(void)arg;
	CHECK_INT(rln_recv_exact(c, 1, &v), ==, 1);
	CHECK_INT(rln_peek(c, 11, &v), ==, 11);
	rln_set_user(c, &to[other]);
	CHECK_INT(rln_give(c, 2, taker, &to[other]), ==, -EINVAL);
	CHECK_INT(rln_give(c, other, NULL, NULL), ==, -EINVAL);
	CHECK_INT(rln_send(c, "x", 1), ==, 1);
	CHECK_INT(rln_give(c, other, taker, &to[other]), ==, -EBUSY); /* output is queued */
	CHECK_INT(rln_flush(c), ==, 0);
	CHECK_INT(rln_give(c, other, taker, &to[other]), ==, 0);
	CHECK_INT(rln_give(c, other, taker, &to[other]), ==, -EBADF);
	CHECK_INT(rln_recv(c, &v), ==, -EBADF);
	CHECK_INT(rln_close(c), ==, -EBADF);
}

TEST(give_to_another_worker_keeps_the_input)
{
	rln_listen_opts l = { .on_conn = giver };
	rln_config cfg = { .workers = 2 };
	struct server s = server_start(&l, &cfg);
	rln_stats st[2];
	char reply[14];

	for (int i = 0; i < 20; i++) {
		int fd = client(&s);
		put(fd, "unread input");
		expect(fd, "x");
		put(fd, "later");
		CHECK_INT(recv_n(fd, reply, 13), ==, 13);
		reply[13] = 0;
		CHECK_HAS(reply, "from worker ");
		shutdown(fd, SHUT_WR);
		expect_eof(fd);
		close(fd);
	}
	for (unsigned w = 0; w < 2; w++)
		CHECK_INT(rln_stats_get(s.rt, w, &st[w]), ==, 0);
	CHECK_INT(st[0].conns_given + st[1].conns_given, ==, 20);
	CHECK_INT(st[0].conns_taken + st[1].conns_taken, ==, 20);
	CHECK_INT(server_stop(&s), ==, 0);
	CHECK_INT(given_ended, ==, 20);
}

static int waiting_reader(void *arg)
{
	rln_view v;
	return (int)rln_recv(*(rln_conn *)arg, &v);
}

static void eof_taker(rln_conn c, void *arg)
{
	rln_view v;
	(void)arg;
	CHECK_INT(rln_recv_exact(c, 3, &v), ==, 3);
	check_view(v, "bye");
	CHECK_INT(rln_recv(c, &v), ==, 0);
	CHECK_INT(rln_send(c, "ok", 2), ==, 2);
	given_ended++;
}

/* The peer has ended already; and a connection somebody waits on is not given away. */
TASK_TEST_CFG(give_after_eof_and_while_busy, .workers = 2)
{
	struct pair p = pair_tcp(NULL);
	rln_task t;
	rln_view v;
	int r;

	CHECK_INT(rln_spawn(waiting_reader, &p.c, NULL, &t), ==, 0);
	CHECK_INT(rln_yield(), ==, 0);
	CHECK_INT(rln_give(p.c, 1, eof_taker, NULL), ==, -EBUSY);
	CHECK_INT(rln_cancel(t), ==, 0);
	CHECK_INT(rln_join(t, &r), ==, 0);
	CHECK_INT(r, ==, -ECANCELED);
	put(p.fd, "bye");
	shutdown(p.fd, SHUT_WR);
	CHECK_INT(rln_peek(p.c, 4, &v), ==, -ENODATA);
	CHECK_INT(rln_give(p.c, 1, eof_taker, NULL), ==, 0);
	peer_expect(p.fd, "ok");
	CHECK_INT(peer_end(p.fd), ==, 0);
	close(p.fd);
	TASK_EVENTUALLY(given_ended == 1);
}

/* ---- rln_keep_open */
static int second_owner(void *arg)
{
	rln_conn c = { (uint64_t)(uintptr_t)arg };
	rln_view v;

	CHECK_INT(rln_recv_exact(c, 4, &v), ==, 4);
	CHECK_INT(rln_send(c, v.data, 4), ==, 4);
	CHECK_INT(rln_close(c), ==, 0);
	return 0;
}

static void hand_to_a_task(rln_conn c, void *arg)
{
	(void)arg;
	CHECK_INT(rln_keep_open(c), ==, 0);
	CHECK_INT(rln_go(second_owner, (void *)(uintptr_t)c.h, NULL), ==, 0);
}

TEST(keep_open_outlives_its_handler)
{
	rln_listen_opts l = { .on_conn = hand_to_a_task };
	struct server s = server_start(&l, NULL);

	for (int i = 0; i < 10; i++) {
		int fd = client(&s);
		put(fd, "kept");
		expect(fd, "kept");
		expect_eof(fd);
		close(fd);
	}
	CHECK_INT(server_stop(&s), ==, 0);
}
