/*
 * The peer to compare with: an epoll echo server of the plainest good kind. One thread, one epoll
 * and one SO_REUSEPORT listener a worker, level-triggered, non-blocking, TCP_NODELAY; one read and
 * one write a request. What a peer does not take is kept, and its input waits for it. Counts its
 * system calls. Uses nothing of the library.
 */
#include "cli.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

enum { READ_BYTES = 64 * 1024, EVENTS = 256, WORKERS_MAX = 256 };

static const char help[] =
	"usage: ringline epoll-echo [OPTIONS]\n"
	"An echo server on epoll, to compare with. It uses nothing of the library.\n"
	"  --listen ADDR  IPv4 address and port (127.0.0.1:7878)\n"
	"  --workers N    threads (1)\n"
	"SIGUSR1 prints the counted system calls as a line of JSON.\n"
	"example: ringline epoll-echo --listen 127.0.0.1:7878 --workers 1\n";

struct client {
	int fd;
	char *rest; /* read and not yet written */
	size_t at, n;
};

struct echo_worker {
	_Alignas(64) atomic_uint_fast64_t syscalls;
	int epoll, listener;
	pthread_t thread;
	char *buf;
};

static struct echo_worker worker[WORKERS_MAX];

static void count(struct echo_worker *w)
{
	uint_fast64_t n = atomic_load_explicit(&w->syscalls, memory_order_relaxed);

	atomic_store_explicit(&w->syscalls, n + 1, memory_order_relaxed);
}

static void drop(struct client *c)
{
	close(c->fd); /* leaves the epoll set with it */
	free(c->rest);
	free(c);
}

static void watch(struct echo_worker *w, struct client *c, uint32_t events, int op)
{
	struct epoll_event e = { .events = events, .data.ptr = c };

	count(w);
	epoll_ctl(w->epoll, op, c->fd, &e);
}

static ssize_t give(struct echo_worker *w, struct client *c, const char *p, size_t n)
{
	ssize_t done;

	count(w);
	done = send(c->fd, p, n, MSG_NOSIGNAL);
	return done < 0 && errno == EAGAIN ? 0 : done;
}

/* False: the client is gone. */
static bool write_rest(struct echo_worker *w, struct client *c)
{
	ssize_t n = give(w, c, c->rest + c->at, c->n - c->at);

	if (n < 0)
		return false;
	c->at += (size_t)n;
	if (c->at < c->n)
		return true;
	free(c->rest);
	c->rest = NULL;
	watch(w, c, EPOLLIN, EPOLL_CTL_MOD);
	return true;
}

static bool echo(struct echo_worker *w, struct client *c)
{
	ssize_t n, done;

	count(w);
	n = recv(c->fd, w->buf, READ_BYTES, 0);
	if (n <= 0)
		return n < 0 && errno == EAGAIN;
	done = give(w, c, w->buf, (size_t)n);
	if (done < 0 || done == n)
		return done == n;
	c->at = 0;
	c->n = (size_t)(n - done);
	c->rest = malloc(c->n);
	if (!c->rest)
		return false;
	memcpy(c->rest, w->buf + done, c->n);
	watch(w, c, EPOLLOUT, EPOLL_CTL_MOD);
	return true;
}

static void accept_all(struct echo_worker *w)
{
	int one = 1;

	for (;;) {
		int fd;
		struct client *c;

		count(w);
		fd = accept4(w->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd < 0)
			return;
		count(w);
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
		c = calloc(1, sizeof *c);
		if (!c) {
			close(fd);
			return;
		}
		c->fd = fd;
		watch(w, c, EPOLLIN, EPOLL_CTL_ADD);
	}
}

static void *serve(void *arg)
{
	struct echo_worker *w = arg;
	struct epoll_event e[EVENTS];

	for (;;) {
		int n;

		count(w);
		n = epoll_wait(w->epoll, e, EVENTS, -1);
		for (int i = 0; i < n; i++) {
			struct client *c = e[i].data.ptr;

			if (!c)
				accept_all(w);
			else if (!(c->rest ? write_rest(w, c) : echo(w, c)))
				drop(c);
		}
	}
	return NULL;
}

/* A listening socket at *at, whose port is then the real one. */
static int listen_at(struct sockaddr_in *at)
{
	socklen_t n = sizeof *at;
	int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof one);
	if (bind(fd, (struct sockaddr *)at, n) < 0 || listen(fd, 4096) < 0 ||
	    getsockname(fd, (struct sockaddr *)at, &n) < 0) {
		int err = -errno;

		close(fd);
		return err;
	}
	return fd;
}

static int open_worker(struct echo_worker *w, struct sockaddr_in *at)
{
	struct epoll_event e = { .events = EPOLLIN };

	w->listener = listen_at(at);
	if (w->listener < 0)
		return w->listener;
	w->epoll = epoll_create1(EPOLL_CLOEXEC);
	w->buf = malloc(READ_BYTES);
	if (w->epoll < 0 || !w->buf)
		return w->epoll < 0 ? -errno : -ENOMEM;
	return epoll_ctl(w->epoll, EPOLL_CTL_ADD, w->listener, &e) < 0 ? -errno : 0;
}

static bool parse_address(const char *s, struct sockaddr_in *at)
{
	const char *colon = strrchr(s, ':');
	char host[INET_ADDRSTRLEN], *end;
	unsigned long port = colon ? strtoul(colon + 1, &end, 10) : 0;

	if (!colon || end == colon + 1 || *end || port > 65535 ||
	    (size_t)(colon - s) >= sizeof host)
		return false;
	memcpy(host, s, (size_t)(colon - s));
	host[colon - s] = '\0';
	*at = (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
	return inet_pton(AF_INET, host, &at->sin_addr) == 1;
}

static void wait_for_signals(unsigned workers, const sigset_t *wanted)
{
	int signo = 0;

	while (sigwait(wanted, &signo) == 0) {
		uint_fast64_t sum = 0;

		for (unsigned i = 0; i < workers; i++)
			sum += atomic_load(&worker[i].syscalls);
		printf("{\"workers\":%u,\"syscalls\":%ju}\n", workers, (uintmax_t)sum);
		fflush(stdout);
		if (signo != SIGUSR1)
			return;
	}
}

int epoll_echo_main(int argc, char **argv)
{
	const char *listen_on = "127.0.0.1:7878";
	uint64_t workers = 1;
	const struct cli_option options[] = {
		{ .name = "listen", .kind = CLI_TEXT, .to = &listen_on },
		{ .name = "workers",
		  .kind = CLI_COUNT,
		  .to = &workers,
		  .min = 1,
		  .max = WORKERS_MAX },
	};
	const struct cli cli = {
		.command = "epoll-echo", .help = help, .option = options, .options = 2
	};
	int status = cli_parse(&cli, argc, argv, NULL);
	struct sockaddr_in at;
	char text[32];
	sigset_t wanted;

	if (status >= 0)
		return status;
	if (!parse_address(listen_on, &at))
		return cli_fail(&cli, "--listen: '%s' is not like 127.0.0.1:7878", listen_on);
	sigemptyset(&wanted);
	sigaddset(&wanted, SIGINT);
	sigaddset(&wanted, SIGTERM);
	sigaddset(&wanted, SIGUSR1);
	pthread_sigmask(SIG_BLOCK, &wanted, NULL);
	for (unsigned i = 0; i < workers; i++) {
		int err = open_worker(&worker[i], &at);

		if (err < 0)
			return cli_fail(&cli, "cannot listen on %s: %s; choose another port",
					listen_on, strerror(-err));
	}
	for (unsigned i = 0; i < workers; i++)
		if (pthread_create(&worker[i].thread, NULL, serve, &worker[i]) != 0)
			return cli_fail(&cli, "cannot start %u threads; see ulimit -u",
					(unsigned)workers);
	printf("listening on %s:%u\n", inet_ntop(AF_INET, &at.sin_addr, text, sizeof text),
	       ntohs(at.sin_port));
	fflush(stdout);
	wait_for_signals((unsigned)workers, &wanted);
	return 0;
}
