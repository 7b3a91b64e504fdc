/*
 * What the end-to-end tests share: a runtime with one listener, and plain blocking sockets with a
 * time limit as its peers.
 */
#ifndef RINGLINE_TESTS_NET_H
#define RINGLINE_TESTS_NET_H

#include "test.h"
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <ringline.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

struct server {
	rln_runtime *rt;
	struct sockaddr_storage addr;
	socklen_t bytes;
};

static inline socklen_t addr_bytes(const struct sockaddr_storage *a)
{
	return a->ss_family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
}

/* cfg may be NULL: one worker, not pinned. */
static inline struct server server_start(const rln_listen_opts *l, const rln_config *cfg)
{
	rln_config c = cfg ? *cfg : (rln_config){ .workers = 1 };
	rln_listen_opts opts = *l;
	struct server s = { 0 };

	if (!opts.addr)
		opts.addr = "127.0.0.1:0";
	c.no_pin = true;
	c.listen = &opts;
	c.nlisten = 1;
	CHECK_INT(rln_start(&c, &s.rt), ==, 0);
	CHECK_INT(rln_listen_addr(s.rt, 0, &s.addr), ==, 0);
	s.bytes = addr_bytes(&s.addr);
	return s;
}

static inline int server_stop(struct server *s)
{
	rln_shutdown(s->rt);
	return rln_wait(s->rt);
}

static inline rln_stats server_stats(const struct server *s)
{
	rln_stats st;
	CHECK_INT(rln_stats_get(s->rt, 0, &st), ==, 0);
	return st;
}

static inline void limit_waits(int fd)
{
	struct timeval tv = { .tv_sec = 20 };
	CHECK(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv) == 0);
	CHECK(setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof tv) == 0);
}

/* An interrupted connect goes on by itself. */
static inline int await_connected(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLOUT };
	int err = 0;
	socklen_t n = sizeof err;

	while (poll(&p, 1, 20000) < 0 && errno == EINTR)
		;
	CHECK(getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &n) == 0);
	errno = err;
	return err;
}

static inline int client_to(const struct sockaddr *sa, socklen_t n)
{
	int fd = socket(sa->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;
	CHECK(fd >= 0);
	limit_waits(fd);
	if (sa->sa_family != AF_UNIX)
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	if (connect(fd, sa, n) < 0 && (errno != EINTR || await_connected(fd) != 0))
		test_fail(__FILE__, __LINE__, "connect: %s", strerror(errno));
	return fd;
}

static inline int client(const struct server *s)
{
	return client_to((const struct sockaddr *)&s->addr, s->bytes);
}

/*
 * The kernel runs work for the rings this thread made (their teardown) by interrupting it: with a
 * time limit set, a blocked call then ends with EINTR instead of being restarted.
 */
static inline ssize_t recv_some(int fd, void *p, size_t n)
{
	ssize_t r;
	while ((r = recv(fd, p, n, 0)) < 0 && errno == EINTR)
		;
	return r;
}

static inline void send_all(int fd, const void *p, size_t n)
{
	for (size_t done = 0; done < n;) {
		ssize_t r = send(fd, (const char *)p + done, n - done, MSG_NOSIGNAL);
		if (r < 0 && errno == EINTR)
			continue;
		if (r <= 0)
			test_fail(__FILE__, __LINE__, "send: %s", strerror(errno));
		done += (size_t)r;
	}
}

/* Bytes read until n, EOF (fewer) or an error (-errno). */
static inline ssize_t recv_n(int fd, void *p, size_t n)
{
	size_t done = 0;
	while (done < n) {
		ssize_t r = recv_some(fd, (char *)p + done, n - done);
		if (r == 0)
			break;
		if (r < 0)
			return -errno;
		done += (size_t)r;
	}
	return (ssize_t)done;
}

static inline void expect(int fd, const char *text)
{
	char buf[4096];
	size_t n = strlen(text);
	CHECK_INT(recv_n(fd, buf, n), ==, n);
	buf[n] = 0;
	CHECK_STR(buf, text);
}

static inline void expect_eof(int fd)
{
	char c;
	CHECK_INT(recv_n(fd, &c, 1), ==, 0);
}

static inline void reset_close(int fd)
{
	struct linger l = { .l_onoff = 1 };
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, sizeof l);
	close(fd);
}

/* Position-dependent: a byte lost, doubled or moved shows. */
static inline uint8_t pattern(size_t i)
{
	return (uint8_t)(i * 31 + (i >> 8) * 7 + (i >> 16));
}

static inline void pattern_fill(uint8_t *p, size_t from, size_t n)
{
	for (size_t i = 0; i < n; i++)
		p[i] = pattern(from + i);
}

static inline void pattern_check(const uint8_t *p, size_t from, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (p[i] != pattern(from + i))
			test_fail(__FILE__, __LINE__, "byte %zu is %u, not %u", from + i, p[i],
				  pattern(from + i));
}

#endif
