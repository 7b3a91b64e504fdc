/*
 * Somebody else's loop: the program has an epoll loop with descriptors of its own (signals, a
 * timer, its input), and serves connections by ringline in the same thread, without a lock. Every
 * client gets back what it sends, and what comes on standard input; a timer counts them.
 * usage: foreign_loop [ADDR]
 */
#include "announce.h"
#include <err.h>
#include <errno.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

enum { CLIENTS = 64 };
static rln_conn client[CLIENTS];
static int clients, served;

static void echo(rln_conn c, void *arg)
{
	rln_view v;
	int i = 0;

	(void)arg;
	if (clients == CLIENTS)
		return;
	client[clients++] = c, served++;
	while (rln_recv(c, &v) > 0)
		if (rln_send(c, v.data, v.len) < 0)
			break;
	while (client[i].h != c.h)
		i++;
	client[i] = client[--clients];
}

/* In the program's own code the thread is no worker, unless it says so. */
static void to_all(rln_runtime *rt, const char *text, size_t n)
{
	if (rln_enter(rt) < 0)
		return;
	for (int i = 0; i < clients; i++)
		(void)rln_send_nowait(client[i], text, n); /* -EAGAIN: a slow reader misses it */
	rln_leave(rt);
}

static void watch(int ep, int fd)
{
	struct epoll_event e = { .events = EPOLLIN, .data.fd = fd };

	if (epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e) < 0 && errno != EPERM) /* EPERM: a file */
		err(2, "epoll_ctl");
}

int main(int argc, char **argv)
{
	const rln_listen_opts l = { .addr = argc > 1 ? argv[1] : "127.0.0.1:7878",
				    .on_conn = echo };
	const struct itimerspec often = { { 0, 200000000 }, { 0, 200000000 } };
	const rln_config cfg = { .embed = true, .listen = &l, .nlisten = 1, .main = announce_main };
	int told = 0, step = RLN_STEP_IDLE;
	char text[4096];
	rln_runtime *rt;
	sigset_t stop;

	sigemptyset(&stop);
	sigaddset(&stop, SIGTERM);
	sigprocmask(SIG_BLOCK, &stop, NULL);
	if (rln_start(&cfg, &rt) < 0)
		return 2;
	int ep = epoll_create1(EPOLL_CLOEXEC), ours = rln_poll_fd(rt);
	int sigs = signalfd(-1, &stop, SFD_CLOEXEC);
	int tick = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
	timerfd_settime(tick, 0, &often, NULL);
	watch(ep, ours);
	watch(ep, sigs);
	watch(ep, tick);
	watch(ep, STDIN_FILENO);
	while (step != RLN_STEP_OVER) {
		struct epoll_event e;

		if (epoll_wait(ep, &e, 1, -1) < 1)
			continue;
		if (e.data.fd == ours) {
			step = rln_step(rt);
			continue;
		}
		ssize_t n = read(e.data.fd, text, sizeof text);
		if (e.data.fd == sigs)
			rln_shutdown(rt);
		else if (e.data.fd == STDIN_FILENO && n > 0)
			to_all(rt, text, (size_t)n);
		else if (e.data.fd == STDIN_FILENO)
			epoll_ctl(ep, EPOLL_CTL_DEL, STDIN_FILENO, NULL);
		else if (served != told)
			printf("%d clients\n", told = served);
		fflush(stdout);
	}
	return rln_wait(rt);
}
