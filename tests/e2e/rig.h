/*
 * What the tests of connections share besides net.h: a main task that plays both ends of a
 * connection, other threads a task can wait for, and the count of what a runtime must not leave.
 */
#ifndef RINGLINE_TESTS_RIG_H
#define RINGLINE_TESTS_RIG_H

#include "net.h"
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <sys/un.h>
#include <time.h>

#define MIB ((size_t)1 << 20)
#define KIB ((size_t)1 << 10)

/* ---- what is left */
static inline unsigned entries_of(const char *dir)
{
	DIR *d = opendir(dir);
	unsigned n = 0;
	CHECK(d != NULL);
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

static inline unsigned open_fds(void)
{
	return entries_of("/proc/self/fd");
}

/* The runtime's threads, by their names. */
static inline unsigned runtime_threads(void)
{
	DIR *d = opendir("/proc/self/task");
	struct dirent *e;
	unsigned n = 0;

	CHECK(d != NULL);
	while ((e = readdir(d))) {
		char path[300], name[32] = "";
		snprintf(path, sizeof path, "/proc/self/task/%s/comm", e->d_name);
		int fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			continue;
		if (read(fd, name, sizeof name - 1) > 0 && !strncmp(name, "rln-", 4))
			n++;
		close(fd);
	}
	closedir(d);
	return n;
}

/* Until cond holds: for states that change on their own and that nothing announces. */
#define EVENTUALLY(cond)                                                                     \
	do {                                                                                 \
		int64_t begin_ = test_now_ns();                                              \
		while (!(cond)) {                                                            \
			if (test_now_ns() - begin_ > INT64_C(20000000000))                   \
				test_fail(__FILE__, __LINE__, "not within 20 s: %s", #cond); \
			poll(NULL, 0, 1);                                                    \
		}                                                                            \
	} while (0)

/* In a task: the same, while the worker goes on. */
#define TASK_EVENTUALLY(cond)                                                                \
	do {                                                                                 \
		int64_t begin_ = test_now_ns();                                              \
		while (!(cond)) {                                                            \
			if (test_now_ns() - begin_ > INT64_C(20000000000))                   \
				test_fail(__FILE__, __LINE__, "not within 20 s: %s", #cond); \
			CHECK_INT(rln_sleep(RLN_US(200)), ==, 0);                            \
		}                                                                            \
	} while (0)

/* ---- a test that is a task */
static inline int run_body(void *body)
{
	void (*fn)(void);
	memcpy(&fn, body, sizeof fn);
	fn();
	return 0;
}

/* Run body in a task of a runtime of its own, which must end by itself and leave no descriptor. */
static inline void in_task_cfg(rln_config cfg, void (*body)(void))
{
	rln_runtime *rt;
	unsigned before = open_fds();

	if (!cfg.workers)
		cfg.workers = 1;
	cfg.no_pin = true;
	cfg.main = run_body;
	cfg.arg = &body;
	CHECK_INT(rln_start(&cfg, &rt), ==, 0);
	CHECK_INT(rln_wait(rt), ==, 0);
	EVENTUALLY(open_fds() == before);
}

#define TASK_TEST_CFG(name, ...)                                          \
	static void body_of_##name(void);                                 \
	TEST(name)                                                        \
	{                                                                 \
		in_task_cfg((rln_config){ __VA_ARGS__ }, body_of_##name); \
	}                                                                 \
	static void body_of_##name(void)
#define TASK_TEST(name) TASK_TEST_CFG(name, .workers = 1)

/* ---- other threads, which a task can wait for */
struct peer {
	pthread_t thread;
	void (*fn)(void *arg);
	void *arg;
	int end;
	rln_conn ended;
};

static inline void *peer_main(void *arg)
{
	struct peer *p = arg;
	p->fn(p->arg);
	close(p->end);
	return NULL;
}

static inline void peer_start(struct peer *p, void (*fn)(void *arg), void *arg)
{
	int sv[2];
	CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv) == 0);
	CHECK_INT(rln_adopt_fd(sv[0], &p->ended), ==, 0);
	p->fn = fn;
	p->arg = arg;
	p->end = sv[1];
	CHECK(pthread_create(&p->thread, NULL, peer_main, p) == 0);
}

static inline void peer_join(struct peer *p)
{
	rln_view v;
	CHECK_INT(rln_recv(p->ended, &v), ==, 0);
	CHECK_INT(rln_close(p->ended), ==, 0);
	CHECK(pthread_join(p->thread, NULL) == 0);
}

/* ---- a connection and its peer */
struct pair {
	rln_conn c;
	int fd;
};

static inline int raw_listener(struct sockaddr_in *in, int backlog, int rcvbuf)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	socklen_t n = sizeof *in;

	*in = (struct sockaddr_in){ .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
	CHECK(fd >= 0 && bind(fd, (struct sockaddr *)in, n) == 0);
	if (rcvbuf)
		CHECK(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &rcvbuf, sizeof rcvbuf) == 0);
	CHECK(listen(fd, backlog) == 0);
	CHECK(getsockname(fd, (struct sockaddr *)in, &n) == 0);
	return fd;
}

/* In a task. rcvbuf: of the peer, 0 for the kernel's own. */
static inline struct pair pair_tcp_rcvbuf(const rln_connect_opts *o, int rcvbuf)
{
	struct sockaddr_in in;
	struct pair p;
	int one = 1, lfd = raw_listener(&in, 1, rcvbuf);

	CHECK_INT(rln_connect_addr((struct sockaddr *)&in, sizeof in, o, &p.c), ==, 0);
	p.fd = accept4(lfd, NULL, NULL, SOCK_CLOEXEC);
	CHECK(p.fd >= 0);
	limit_waits(p.fd);
	setsockopt(p.fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	close(lfd);
	return p;
}

static inline struct pair pair_tcp(const rln_connect_opts *o)
{
	return pair_tcp_rcvbuf(o, 0);
}

static inline void pair_close(struct pair *p)
{
	CHECK_INT(rln_close(p->c), ==, 0);
	close(p->fd);
}

/* recv on the peer, in a task: the worker goes on meanwhile. */
static inline ssize_t peer_recv(int fd, void *p, size_t n)
{
	ssize_t r;
	TASK_EVENTUALLY((r = recv(fd, p, n, MSG_DONTWAIT)) >= 0 || errno != EAGAIN);
	return r < 0 ? -errno : r;
}

static inline void peer_expect(int fd, const char *text)
{
	char c;
	for (; *text; text++) {
		CHECK_INT(peer_recv(fd, &c, 1), ==, 1);
		CHECK_INT(c, ==, *text);
	}
}

static inline ssize_t peer_end(int fd)
{
	char c;
	return peer_recv(fd, &c, 1);
}

static inline void put(int fd, const char *text)
{
	send_all(fd, text, strlen(text));
}

/* Everything so far has reached the runtime: n bytes unconsumed. */
static inline void await_input(rln_conn c, size_t n)
{
	rln_view v;
	CHECK_INT(rln_peek(c, n, &v), ==, n);
}

static inline void check_view(rln_view v, const char *text)
{
	if (v.len != strlen(text) || memcmp(v.data, text, v.len) != 0)
		test_fail(__FILE__, __LINE__, "\"%.*s\", not \"%s\"", (int)v.len,
			  (const char *)v.data, text);
}

/* ---- peers that read or write the pattern */
struct transfer {
	int fd;
	size_t from, total;
	size_t step;   /* bytes a call, at most; 0: 64 KiB */
	ssize_t ended; /* reading: 0 for EOF right behind the bytes, -errno, 1 for more bytes */
	size_t got;
	sem_t *begin; /* waited for first, if any */
};

static inline void write_pattern_peer(void *arg)
{
	struct transfer *t = arg;
	static __thread uint8_t buf[65536];
	size_t step = t->step ? t->step : sizeof buf;

	if (t->begin)
		sem_wait(t->begin);
	while (t->got < t->total) {
		size_t n = t->total - t->got < step ? t->total - t->got : step;
		pattern_fill(buf, t->from + t->got, n);
		send_all(t->fd, buf, n);
		t->got += n;
	}
}

/* Reads total bytes and then what follows them. */
static inline void read_pattern_peer(void *arg)
{
	struct transfer *t = arg;
	static __thread uint8_t buf[65536];
	size_t step = t->step ? t->step : sizeof buf;
	ssize_t r = 1;

	if (t->begin)
		sem_wait(t->begin);
	while (t->got < t->total) {
		size_t n = t->total - t->got < step ? t->total - t->got : step;
		r = recv_some(t->fd, buf, n);
		if (r <= 0)
			break;
		pattern_check(buf, t->from + t->got, (size_t)r);
		t->got += (size_t)r;
	}
	if (t->got == t->total)
		r = recv_some(t->fd, buf, 1);
	t->ended = r < 0 ? -errno : r;
}

static inline uint8_t *pattern_new(size_t n)
{
	uint8_t *p = malloc(n);
	CHECK(p != NULL);
	pattern_fill(p, 0, n);
	return p;
}

/* More than a peer that does not read can make the kernel take. */
#define TOO_MUCH (24 * MIB)

#endif
