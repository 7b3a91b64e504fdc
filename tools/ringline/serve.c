/*
 * ringline serve: start, say where, stop on a signal. The signals are taken one by one by the main
 * thread, which has nothing else to do; the workers block them.
 */
#include "cli.h"
#include "echo.h"

#include <pthread.h>
#include <signal.h>
#include <string.h>

#include "kv/kv.h"

enum { SERVE_ECHO, SERVE_KV };

static const char help[] =
	"usage: ringline serve echo|kv [OPTIONS]\n"
	"An echo server, or a key-value server that speaks the Redis protocol.\n"
	"  --listen ADDR  127.0.0.1:80, [::1]:80, :80, unix:/run/x, unix:@name, fd:3; port 0\n"
	"                 picks a free one; may be given again (127.0.0.1:7878, kv: :6379)\n"
	"  --workers N    threads (one per physical core)\n"
	"  --mode MODE    task: a task per connection; request: a task per request; callback: no\n"
	"                 task at all (task)\n"
	"  --stats        the counters as a line of JSON on SIGUSR1 and when the drain begins\n"
	"SIGTERM or SIGINT drains; a second one ends at once.\n"
	"example: ringline serve echo --listen 127.0.0.1:7878 --mode callback\n";

struct serve {
	struct cli_list listen;
	uint64_t workers;
	int what, mode;
	bool stats;
	struct kv *kv;
	rln_listen_opts opts[CLI_LIST_MAX];
	rln_runtime *rt;
};

static const char *const served[] = { "echo", "kv", NULL };

static int parse(struct serve *s, int argc, char **argv)
{
	const struct cli_option options[] = {
		{ .name = "listen", .kind = CLI_LIST, .to = &s->listen },
		{ .name = "workers", .kind = CLI_COUNT, .to = &s->workers, .min = 1, .max = 256 },
		{ .name = "mode", .kind = CLI_CHOICE, .to = &s->mode, .names = echo_modes },
		{ .name = "stats", .kind = CLI_FLAG, .to = &s->stats },
	};
	const struct cli cli = { .command = "serve",
				 .help = help,
				 .option = options,
				 .options = sizeof options / sizeof options[0],
				 .words = served };
	int status = cli_parse(&cli, argc, argv, &s->what);

	if (status < 0 && !s->listen.count)
		s->listen = (struct cli_list){
			{ s->what == SERVE_KV ? "127.0.0.1:6379" : "127.0.0.1:7878" }, 1
		};
	if (status < 0 && s->what == SERVE_KV && !(s->kv = kv_new()))
		return cli_fail(&cli, "out of memory");
	return status;
}

static const enum kv_mode kv_modes[] = {
	[ECHO_TASK] = KV_TASK, [ECHO_REQUEST] = KV_REQUEST, [ECHO_CALLBACK] = KV_CALLBACK
};

static int start(struct serve *s)
{
	rln_config cfg = { .workers = (unsigned)s->workers,
			   .listen = s->opts,
			   .nlisten = s->listen.count };

	for (unsigned i = 0; i < s->listen.count; i++) {
		if (s->what == SERVE_KV)
			kv_listen_opts(s->kv, kv_modes[s->mode], s->listen.item[i], &s->opts[i]);
		else
			echo_listen_opts(s->mode, s->listen.item[i], &s->opts[i]);
	}
	return rln_start(&cfg, &s->rt); /* an error has been logged, with its remedy */
}

static void print_listening(const struct serve *s)
{
	struct sockaddr_storage ss;
	char text[200];

	for (unsigned i = 0; i < s->listen.count; i++) {
		memset(&ss, 0, sizeof ss);
		if (rln_listen_addr(s->rt, i, &ss) == 0)
			printf("listening on %s\n", cli_address(&ss, text, sizeof text));
	}
	fflush(stdout);
}

/* The sums over all workers. "syscalls" is what bench/ and the demo divide by the requests. */
static void print_stats(const struct serve *s)
{
	rln_stats one, all = { 0 };
	unsigned workers = 0;

	for (; rln_stats_get(s->rt, workers, &one) == 0; workers++) {
		all.enters += one.enters;
		all.turns += one.turns;
		all.sleeps += one.sleeps;
		all.sqes += one.sqes;
		all.cqes += one.cqes;
		all.accepts += one.accepts;
		all.conns_open += one.conns_open;
		all.recv_bytes += one.recv_bytes;
		all.send_bytes += one.send_bytes;
		all.recv_parked += one.recv_parked;
		all.switches += one.switches;
		all.spawns += one.spawns;
		all.misuse += one.misuse;
	}
	printf("{\"workers\":%u,\"syscalls\":%ju,\"turns\":%ju,\"sleeps\":%ju,\"sqes\":%ju,"
	       "\"cqes\":%ju,\"accepts\":%ju,\"conns_open\":%ju,\"recv_bytes\":%ju,"
	       "\"send_bytes\":%ju,\"recv_parked\":%ju,\"switches\":%ju,\"spawns\":%ju,"
	       "\"misuse\":%ju}\n",
	       workers, (uintmax_t)all.enters, (uintmax_t)all.turns, (uintmax_t)all.sleeps,
	       (uintmax_t)all.sqes, (uintmax_t)all.cqes, (uintmax_t)all.accepts,
	       (uintmax_t)all.conns_open, (uintmax_t)all.recv_bytes, (uintmax_t)all.send_bytes,
	       (uintmax_t)all.recv_parked, (uintmax_t)all.switches, (uintmax_t)all.spawns,
	       (uintmax_t)all.misuse);
	fflush(stdout);
}

int serve_main(int argc, char **argv)
{
	struct serve s = { .what = SERVE_ECHO };
	int signo = 0, status = parse(&s, argc, argv);
	sigset_t wanted, before;

	if (status >= 0)
		return status;
	sigemptyset(&wanted);
	sigaddset(&wanted, SIGINT);
	sigaddset(&wanted, SIGTERM);
	if (s.stats)
		sigaddset(&wanted, SIGUSR1);
	pthread_sigmask(SIG_BLOCK, &wanted, &before);
	if (start(&s) < 0) {
		kv_free(s.kv);
		return EXIT_USAGE;
	}
	print_listening(&s);
	while (signo != SIGINT && signo != SIGTERM)
		if (sigwait(&wanted, &signo) == 0 && s.stats)
			print_stats(&s);
	rln_shutdown(s.rt);
	pthread_sigmask(SIG_SETMASK, &before, NULL); /* a second signal has its default effect */
	status = rln_wait(s.rt);
	kv_free(s.kv);
	return status;
}
