/*
 * The echo server of `ringline serve echo --mode callback` inside an epoll loop of the program's
 * own, to be compared with that one and with `ringline epoll-echo`: what a foreign loop costs.
 * usage: embed_echo     SIGUSR1 prints the counted system calls, SIGTERM ends.
 */
#include <arpa/inet.h>
#include <err.h>
#include <ringline.h>
#include <signal.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>

static size_t echo(rln_conn c, const uint8_t *p, size_t n, void *arg)
{
	(void)arg;
	return rln_send_nowait(c, p, n) < 0 ? 0 : n;
}

static void watch(int ep, int fd)
{
	struct epoll_event e = { .events = EPOLLIN, .data.fd = fd };

	if (fd < 0 || epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e) < 0)
		err(2, "epoll");
}

/* Waits, those that were interrupted too, and enters are all there are. */
static void say(rln_runtime *rt, unsigned long long waits, unsigned long long steps)
{
	rln_stats st;

	if (rln_stats_get(rt, 0, &st) == 0)
		printf("{\"workers\":1,\"syscalls\":%llu,\"waits\":%llu,\"steps\":%llu,"
		       "\"enters\":%llu}\n",
		       waits + (unsigned long long)st.enters, waits, steps,
		       (unsigned long long)st.enters);
	fflush(stdout);
}

int main(void)
{
	static const rln_callbacks cb = { .data = echo };
	const rln_listen_opts l = { .addr = "127.0.0.1:0", .cb = &cb };
	unsigned long long waits = 0, steps = 0;
	struct sockaddr_storage at = { 0 };
	struct signalfd_siginfo info;
	struct epoll_event e;
	rln_runtime *rt;
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigaddset(&set, SIGTERM);
	sigprocmask(SIG_BLOCK, &set, NULL);
	if (rln_start(&(rln_config){ .embed = true, .listen = &l, .nlisten = 1 }, &rt) < 0)
		return 2;
	rln_listen_addr(rt, 0, &at);
	printf("listening on 127.0.0.1:%u\n", ntohs(((struct sockaddr_in *)&at)->sin_port));
	fflush(stdout);
	int ep = epoll_create1(EPOLL_CLOEXEC), sigs = signalfd(-1, &set, SFD_CLOEXEC);
	watch(ep, rln_poll_fd(rt));
	watch(ep, sigs);
	for (int step = RLN_STEP_IDLE; step != RLN_STEP_OVER; waits++) {
		if (epoll_wait(ep, &e, 1, -1) < 1)
			continue;
		if (e.data.fd != sigs) {
			step = rln_step(rt);
			steps++;
		} else if (read(sigs, &info, sizeof info) == sizeof info) {
			if (info.ssi_signo == SIGUSR1)
				say(rt, waits, steps);
			else
				rln_shutdown(rt);
		}
	}
	return rln_wait(rt);
}
