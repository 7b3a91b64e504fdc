/*
 * A loop of the test's own around an embedded runtime: it waits without a limit, for the runtime's
 * descriptor and for a pipe by which other threads (and callbacks) say that something is done. An
 * event that is lost is a test that does not end.
 */
#ifndef RINGLINE_TESTS_EMBED_RIG_H
#define RINGLINE_TESTS_EMBED_RIG_H

#include "echo_modes.h"
#include "rig.h"
#include <pthread.h>
#include <sys/epoll.h>

struct host {
	rln_runtime *rt;
	struct sockaddr_storage addr;
	int fd, said[2]; /* said: a byte for each thing that is done */
	int ep;		 /* -1: poll(2) */
	unsigned steps, more, waits;
	int last;
};

static inline struct host host_start(const rln_listen_opts *l, rln_config c)
{
	struct host h = { .ep = -1 };
	rln_listen_opts opts = l ? *l : (rln_listen_opts){ 0 };

	if (!opts.addr)
		opts.addr = "127.0.0.1:0";
	c.embed = true;
	c.listen = l ? &opts : NULL;
	c.nlisten = l ? 1 : 0;
	CHECK(pipe(h.said) == 0);
	CHECK_INT(rln_start(&c, &h.rt), ==, 0);
	if (l)
		CHECK_INT(rln_listen_addr(h.rt, 0, &h.addr), ==, 0);
	h.fd = rln_poll_fd(h.rt);
	CHECK_INT(h.fd, >=, 0);
	return h;
}

static inline void host_use_epoll(struct host *h, uint32_t flags)
{
	struct epoll_event e = { .events = EPOLLIN | flags, .data.fd = h->fd };
	struct epoll_event own = { .events = EPOLLIN, .data.fd = h->said[0] };

	h->ep = epoll_create1(EPOLL_CLOEXEC);
	CHECK(h->ep >= 0);
	CHECK(epoll_ctl(h->ep, EPOLL_CTL_ADD, h->fd, &e) == 0);
	CHECK(epoll_ctl(h->ep, EPOLL_CTL_ADD, h->said[0], &own) == 0);
}

static inline void host_say(struct host *h)
{
	CHECK_INT(write(h->said[1], "x", 1), ==, 1);
}

/* Is there something to read now? */
static inline bool host_readable(const struct host *h)
{
	struct pollfd p = { .fd = h->fd, .events = POLLIN };
	return poll(&p, 1, 0) == 1;
}

/* Wait for either. Returns whether it is the runtime's; *said whether it is the pipe. */
static inline bool host_wait(struct host *h, bool *said)
{
	struct pollfd p[2] = { { .fd = h->fd, .events = POLLIN },
			       { .fd = h->said[0], .events = POLLIN } };
	struct epoll_event e[2];
	bool ours = false;
	int n;

	*said = false;
	h->waits++;
	n = h->ep < 0 ? poll(p, 2, -1) : epoll_wait(h->ep, e, 2, -1);
	CHECK(n > 0 || errno == EINTR);
	for (int i = 0; i < 2 && n > 0; i++) {
		bool on = h->ep < 0 ? p[i].revents != 0 : i < n;
		int fd = h->ep < 0 || !on ? p[i].fd : e[i].data.fd;

		ours |= on && fd == h->fd;
		*said |= on && fd != h->fd;
	}
	return ours;
}

static inline int host_step(struct host *h)
{
	h->last = rln_step(h->rt);
	CHECK_INT(h->last, >=, 0);
	h->steps++;
	h->more += h->last == RLN_STEP_MORE;
	return h->last;
}

/* Steps, when there is something to do and only then, until that many things are done. */
static inline void host_run(struct host *h, int things)
{
	bool said;
	char c;

	while (things > 0) {
		if (host_wait(h, &said))
			host_step(h);
		if (said) {
			CHECK_INT(read(h->said[0], &c, 1), ==, 1);
			things--;
		}
	}
}

/* The drain, to its end. */
static inline void host_drain(struct host *h)
{
	bool said;

	rln_shutdown(h->rt);
	while (h->last != RLN_STEP_OVER)
		if (host_wait(h, &said))
			host_step(h);
}

static inline int host_close(struct host *h)
{
	if (h->ep >= 0)
		close(h->ep);
	close(h->said[0]);
	close(h->said[1]);
	return rln_wait(h->rt);
}

static inline void host_stop(struct host *h)
{
	host_drain(h);
	CHECK_INT(host_close(h), ==, 0);
}

/* ---- clients on threads of their own */
struct host_client {
	struct host *h;
	int rounds, bytes;
	pthread_t thread;
};

static inline void *host_client_main(void *arg)
{
	struct host_client *cl = arg;
	uint8_t out[4096], in[4096];
	int fd = client_to((struct sockaddr *)&cl->h->addr, addr_bytes(&cl->h->addr));

	for (int i = 0; i < cl->rounds; i++) {
		pattern_fill(out, (size_t)i, (size_t)cl->bytes);
		send_all(fd, out, (size_t)cl->bytes);
		CHECK_INT(recv_n(fd, in, (size_t)cl->bytes), ==, cl->bytes);
		CHECK(memcmp(in, out, (size_t)cl->bytes) == 0);
	}
	close(fd);
	host_say(cl->h);
	return NULL;
}

static inline void host_client_start(struct host_client *cl, struct host *h, int rounds, int bytes)
{
	*cl = (struct host_client){ .h = h, .rounds = rounds, .bytes = bytes };
	CHECK(pthread_create(&cl->thread, NULL, host_client_main, cl) == 0);
}

#endif
