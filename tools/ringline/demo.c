/*
 * ringline demo: the echo server in its three modes and an epoll echo server of the same size, the
 * same load against each, by turns, then one table. What it says about the figures is computed from
 * them.
 */
#include "cli.h"
#include "echo.h"
#include "load.h"
#include "peer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PEERS = ECHO_MODES + 1, EPOLL = ECHO_MODES, ROUNDS_MAX = 64 };

static const char help[] = "usage: ringline demo [OPTIONS]\n"
			   "Serve echo in the three modes and with an epoll server of the same "
			   "size, put the same load\n"
			   "on each by turns, and compare them.\n"
			   "  --seconds S      how long in all, about (30)\n"
			   "  --rounds N       how often each server has its turn (5)\n"
			   "  --connections N  (50)\n"
			   "  --size B         bytes of a message (64)\n"
			   "example: ringline demo --seconds 20\n";

struct turn {
	double rate, cpu_us, syscalls; /* of one request */
};

struct demo {
	struct load_options load;
	double seconds;
	uint64_t rounds;
	cpu_set_t all, server, client;
	int server_cpus, client_cpus;
	struct peer peer[PEERS];
	struct turn turn[PEERS][ROUNDS_MAX];
	struct hist latency[PEERS];
	uint64_t errors;
	char error[LOAD_ERROR_MAX];
};

static struct demo demo;
static const char *const names[PEERS] = { "ringline, task", "ringline, request",
					  "ringline, callback", "epoll" };

static void stop_peers(void)
{
	for (int i = 0; i < PEERS; i++)
		peer_stop(&demo.peer[i]);
}

/* Half of the CPUs for the servers, the others for the load, which costs about as much. */
static void plan(struct demo *d)
{
	int count, seen = 0;

	sched_getaffinity(0, sizeof d->all, &d->all);
	count = CPU_COUNT(&d->all);
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		if (!CPU_ISSET(cpu, &d->all))
			continue;
		CPU_SET(cpu, seen < (count + 1) / 2 ? &d->server : &d->client);
		seen++;
	}
	if (count == 1)
		d->client = d->server;
	d->server_cpus = CPU_COUNT(&d->server);
	d->client_cpus = CPU_COUNT(&d->client);
	d->load.workers = (uint64_t)d->client_cpus;
	if (d->load.workers > d->load.connections)
		d->load.workers = d->load.connections;
}

static const char *cpu_names(const cpu_set_t *set, char *buf, size_t cap)
{
	size_t n = 0;

	buf[0] = '\0';
	for (int cpu = 0; cpu < CPU_SETSIZE && n < cap; cpu++)
		if (CPU_ISSET(cpu, set))
			n += (size_t)snprintf(buf + n, cap - n, "%s%d", n ? "," : "", cpu);
	return buf;
}

static void print_plan(const struct demo *d)
{
	char server[100], client[100];

	printf("echo, %ju connections, %ju bytes, one request at a time on each\n",
	       (uintmax_t)d->load.connections, (uintmax_t)d->load.size);
	printf("servers: %d thread%s on CPU %s; load: %d thread%s on CPU %s%s\n", d->server_cpus,
	       d->server_cpus > 1 ? "s" : "", cpu_names(&d->server, server, sizeof server),
	       d->client_cpus, d->client_cpus > 1 ? "s" : "",
	       cpu_names(&d->client, client, sizeof client),
	       CPU_COUNT(&d->all) == 1 ? " (the only one: the figures include waiting for it)"
				       : "");
	printf("%ju rounds, every server in each, %.1f s a turn\n", (uintmax_t)d->rounds,
	       d->load.seconds);
	fflush(stdout);
}

static int start_peers(struct demo *d)
{
	char workers[16];

	snprintf(workers, sizeof workers, "%d", d->server_cpus);
	for (int i = 0; i < PEERS; i++) {
		char *ring[] = { "ringline", "serve",	    "echo",
				 "--listen", "127.0.0.1:0", "--workers",
				 workers,    "--mode",	    i < EPOLL ? (char *)echo_modes[i] : "",
				 "--stats",  NULL };
		char *epoll[] = { "ringline",  "epoll-echo", "--listen", "127.0.0.1:0",
				  "--workers", workers,	     NULL };
		int err;

		d->peer[i].name = names[i];
		err = peer_start(&d->peer[i], i < EPOLL ? ring : epoll, &d->server);
		if (err < 0)
			return err;
	}
	return 0;
}

/* The load of one turn. On a machine busy with other things a short one may see no answer at all.
 */
static int load_turn(struct demo *d, int i, struct peer_sample *before, struct peer_sample *after,
		     struct load_result *r)
{
	for (int tries = 5; tries; tries--) {
		int err = peer_sample(&d->peer[i], before);
		if (err == 0)
			err = load_run(&d->load, r);
		if (err == 0)
			err = peer_sample(&d->peer[i], after);
		if (err < 0)
			fprintf(stderr, "ringline demo: %s: %s%s%s\n", names[i], rln_strerror(err),
				r->error[0] ? ": " : "", r->error);
		if (err < 0 || r->requests)
			return err;
	}
	fprintf(stderr,
		"ringline demo: %s: no answer in five turns of %.1f s; give --seconds more, or "
		"stop what else uses the CPUs\n",
		names[i], d->load.seconds);
	return -ETIME;
}

static int run_turn(struct demo *d, int i, uint64_t round)
{
	static struct load_result r;
	struct peer_sample before, after;
	struct turn *t = &d->turn[i][round];
	char label[80];
	int err;

	d->load.connect = d->peer[i].address;
	snprintf(label, sizeof label, "round %ju of %ju  %-18s", (uintmax_t)round + 1,
		 (uintmax_t)d->rounds, names[i]);
	d->load.label = isatty(STDERR_FILENO) ? label : NULL;
	err = load_turn(d, i, &before, &after, &r);
	if (err < 0)
		return err;
	t->rate = (double)r.requests / r.seconds;
	t->cpu_us = (after.cpu_s - before.cpu_s) * 1e6 / (double)r.total;
	t->syscalls = (double)(after.syscalls - before.syscalls) / (double)r.total;
	hist_merge(&d->latency[i], &r.latency);
	d->errors += r.errors;
	if (!d->error[0])
		memcpy(d->error, r.error, sizeof d->error);
	return 0;
}

static int ascending(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

struct spread {
	double low, median, high;
};

/* v is sorted. */
static struct spread spread(double *v, uint64_t n)
{
	qsort(v, n, sizeof *v, ascending);
	return (struct spread){ v[0], (v[(n - 1) / 2] + v[n / 2]) / 2, v[n - 1] };
}

enum field { RATE, CPU, SYSCALLS };

static double field_of(const struct turn *t, enum field f)
{
	return f == RATE ? t->rate : f == CPU ? t->cpu_us : t->syscalls;
}

static struct spread field_spread(const struct demo *d, int i, enum field f)
{
	double v[ROUNDS_MAX];

	for (uint64_t r = 0; r < d->rounds; r++)
		v[r] = field_of(&d->turn[i][r], f);
	return spread(v, d->rounds);
}

/* CPU of peer i over that of epoll in the same round. */
static struct spread cpu_ratio(const struct demo *d, int i)
{
	double v[ROUNDS_MAX];

	for (uint64_t r = 0; r < d->rounds; r++)
		v[r] = d->turn[i][r].cpu_us / d->turn[EPOLL][r].cpu_us;
	return spread(v, d->rounds);
}

static void print_table(const struct demo *d)
{
	char p50[32], p99[32];

	printf("\n%-20s %12s %10s %10s %16s %18s\n", "", "requests/s", "p50", "p99",
	       "CPU us/request", "syscalls/request");
	for (int i = 0; i < PEERS; i++)
		printf("%-20s %12.0f %10s %10s %16.2f %18.3f\n", names[i],
		       field_spread(d, i, RATE).median,
		       load_time_text(hist_quantile(&d->latency[i], 0.5), p50, sizeof p50),
		       load_time_text(hist_quantile(&d->latency[i], 0.99), p99, sizeof p99),
		       field_spread(d, i, CPU).median, field_spread(d, i, SYSCALLS).median);
	printf("(medians of the rounds; CPU and system calls are the server's alone)\n\n");
}

/* Two lines, from the figures. */
static void print_meaning(const struct demo *d)
{
	double best = -1, theirs = field_spread(d, EPOLL, SYSCALLS).median;

	printf("CPU per request, epoll = 1:");
	for (int i = 0; i < EPOLL; i++) {
		struct spread s = cpu_ratio(d, i);
		double calls = field_spread(d, i, SYSCALLS).median;

		printf("%s %s %.2f (%.2f to %.2f: %s)", i ? "," : "", echo_modes[i], s.median,
		       s.low, s.high,
		       s.high < 1  ? "less in every round"
		       : s.low > 1 ? "more in every round"
				   : "no clear difference");
		if (best < 0 || calls < best)
			best = calls;
	}
	if (best > 0)
		printf(".\nSystem calls per request: %.2f to epoll's %.2f, %.1f times %s.\n", best,
		       theirs, best < theirs ? theirs / best : best / theirs,
		       best < theirs ? "fewer" : "more");
	else
		printf(".\nSystem calls per request: epoll %.2f.\n", theirs);
	if (d->errors > 0)
		printf("%ju errors: %s\n", (uintmax_t)d->errors, d->error);
}

static int parse(struct demo *d, int argc, char **argv)
{
	const struct cli_option options[] = {
		{ .name = "seconds", .kind = CLI_NUMBER, .to = &d->seconds, .min = 1, .max = 3600 },
		{ .name = "rounds",
		  .kind = CLI_COUNT,
		  .to = &d->rounds,
		  .min = 1,
		  .max = ROUNDS_MAX },
		{ .name = "connections",
		  .kind = CLI_COUNT,
		  .to = &d->load.connections,
		  .min = 1,
		  .max = 100000 },
		{ .name = "size",
		  .kind = CLI_COUNT,
		  .to = &d->load.size,
		  .min = 1,
		  .max = 16 << 20 },
	};
	const struct cli cli = { .command = "demo",
				 .help = help,
				 .option = options,
				 .options = sizeof options / sizeof options[0] };

	return cli_parse(&cli, argc, argv, NULL);
}

int demo_main(int argc, char **argv)
{
	struct demo *d = &demo;
	int err, status;

	*d = (struct demo){ .seconds = 30,
			    .rounds = 5,
			    .load = {
				    .connections = 50, .size = 64, .pipeline = 1, .timeout = 5 } };
	status = parse(d, argc, argv);
	if (status >= 0)
		return status;
	d->load.seconds = d->seconds / (double)(d->rounds * PEERS) - 0.3; /* warm-up, start, end */
	if (d->load.seconds < 0.1)
		d->load.seconds = 0.1;
	for (int i = 0; i < PEERS; i++)
		hist_clear(&d->latency[i]);
	plan(d);
	print_plan(d);
	atexit(stop_peers);
	err = start_peers(d);
	sched_setaffinity(0, sizeof d->client, &d->client);
	for (uint64_t round = 0; round < d->rounds && err == 0; round++) {
		if (!isatty(STDERR_FILENO))
			fprintf(stderr, "round %ju of %ju\n", (uintmax_t)round + 1,
				(uintmax_t)d->rounds);
		for (int i = 0; i < PEERS && err == 0; i++)
			err = run_turn(d, (int)((uint64_t)i + round) % PEERS, round);
	}
	if (err < 0)
		return EXIT_RAN_BADLY;
	print_table(d);
	print_meaning(d);
	return d->errors > 0 ? EXIT_RAN_BADLY : 0;
}
