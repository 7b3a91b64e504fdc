/* kv-server: the key-value server as a program of its own. */
#include <arpa/inet.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kv/kv.h"

enum { EXIT_NOT_STARTED = 2 };

static rln_runtime *runtime;
static volatile sig_atomic_t stopping;

/* The first signal lets the runtime drain, the second ends the process at once. */
static void on_signal(int signo)
{
	if (stopping)
		_exit(128 + signo);
	stopping = 1;
	rln_shutdown(runtime);
}

static void usage(FILE *to)
{
	fputs("usage: kv-server [--listen ADDR] [--workers N] [--mode task|request|callback]\n"
	      "A key-value server that speaks the Redis protocol (RESP2).\n"
	      "  --listen ADDR  where to listen; port 0 picks one (127.0.0.1:6379)\n"
	      "  --workers N    threads (one per physical core)\n"
	      "  --mode MODE    how connections are served (task)\n"
	      "example: kv-server --listen 127.0.0.1:6379 --mode callback\n",
	      to);
}

static bool parse_mode(const char *s, enum kv_mode *mode)
{
	static const char *const names[] = {
		[KV_TASK] = "task", [KV_REQUEST] = "request", [KV_CALLBACK] = "callback"
	};

	for (unsigned i = 0; i < sizeof names / sizeof names[0]; i++) {
		if (strcmp(s, names[i]) == 0) {
			*mode = i;
			return true;
		}
	}
	return false;
}

static bool parse_workers(const char *s, unsigned *workers)
{
	char *end;
	long v = strtol(s, &end, 10);

	if (end == s || *end != '\0' || v < 1 || v > 255)
		return false;
	*workers = (unsigned)v;
	return true;
}

struct options {
	const char *addr;
	unsigned workers;
	enum kv_mode mode;
};

/* Returns -1 to go on, else the exit status. */
static int parse_options(int argc, char **argv, struct options *o)
{
	static const struct option longs[] = {
		{ "listen", required_argument, NULL, 'l' },
		{ "workers", required_argument, NULL, 'w' },
		{ "mode", required_argument, NULL, 'm' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	int opt;

	while ((opt = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		bool ok = opt != '?';

		if (opt == 'h') {
			usage(stdout);
			return EXIT_SUCCESS;
		}
		if (opt == 'l')
			o->addr = optarg;
		else if (opt == 'w')
			ok = parse_workers(optarg, &o->workers);
		else if (opt == 'm')
			ok = parse_mode(optarg, &o->mode);
		if (!ok && opt != '?')
			fprintf(stderr, "kv-server: bad value '%s'; try --help\n", optarg);
		if (!ok)
			return EXIT_NOT_STARTED;
	}
	if (optind < argc) {
		fprintf(stderr, "kv-server: unexpected '%s'; try --help\n", argv[optind]);
		return EXIT_NOT_STARTED;
	}
	return -1;
}

/* The first line of the output names the real port, also for port 0. */
static void print_listening(const char *addr)
{
	struct sockaddr_storage ss = { 0 };
	char host[INET6_ADDRSTRLEN] = "";

	if (rln_listen_addr(runtime, 0, &ss) == 0 && ss.ss_family == AF_INET) {
		const struct sockaddr_in *in = (const struct sockaddr_in *)&ss;

		inet_ntop(AF_INET, &in->sin_addr, host, sizeof host);
		printf("listening on %s:%u\n", host, ntohs(in->sin_port));
	} else if (ss.ss_family == AF_INET6) {
		const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)&ss;

		inet_ntop(AF_INET6, &in6->sin6_addr, host, sizeof host);
		printf("listening on [%s]:%u\n", host, ntohs(in6->sin6_port));
	} else {
		printf("listening on %s\n", addr);
	}
	fflush(stdout);
}

/* Only this thread takes the signals, and only once there is a runtime to shut down. */
static int run(const rln_config *cfg, const char *addr)
{
	struct sigaction sa = { .sa_handler = on_signal };
	sigset_t stop, before;
	int err;

	sigemptyset(&stop);
	sigaddset(&stop, SIGINT);
	sigaddset(&stop, SIGTERM);
	pthread_sigmask(SIG_BLOCK, &stop, &before);
	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGTERM, &sa, NULL);
	err = rln_start(cfg, &runtime);
	if (err < 0) {
		fprintf(stderr, "kv-server: cannot listen on %s: %s\n", addr, rln_strerror(err));
		return EXIT_NOT_STARTED;
	}
	print_listening(addr);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return rln_wait(runtime);
}

int main(int argc, char **argv)
{
	struct options o = { .addr = "127.0.0.1:6379" };
	rln_listen_opts listen;
	struct kv *kv;
	int status = parse_options(argc, argv, &o);

	if (status >= 0)
		return status;
	kv = kv_new();
	if (!kv) {
		fprintf(stderr, "kv-server: out of memory\n");
		return EXIT_NOT_STARTED;
	}
	kv_listen_opts(kv, o.mode, o.addr, &listen);
	status =
		run(&(rln_config){ .workers = o.workers, .listen = &listen, .nlisten = 1 }, o.addr);
	kv_free(kv);
	return status;
}
