/*
 * The program of ./dev sim. One seed: that schedule, exactly, and its hash. Else: many, until a
 * number or a time is reached or one fails.
 */
#include "cells.h"
#include "driver.h"
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/resource.h>

#define DEFAULT_RUNS 1000000

/*
 * PERF: a schedule allocates less than a megabyte, so a quarantine of 16 holds back all that it
 * frees until long after its end; the default of 256 is touched afresh all the time.
 */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
	return "quarantine_size_mb=16:malloc_context_size=8";
}

static void usage(FILE *to)
{
	fputs("usage: ./dev sim [OPTIONS]\n"
	      "  (nothing)          1000000 schedules from seed 1\n"
	      "  --seed S           that schedule alone; prints its hash\n"
	      "  --first S          many schedules begin at seed S\n"
	      "  --runs N           N schedules; exit status 1 if one fails\n"
	      "  --seconds T        as many as T seconds allow\n"
	      "  --jobs N           processes (default: one, without other options one for each "
	      "CPU)\n"
	      "  --twice            run every seed twice and compare hashes\n"
	      "  --keep-going       do not stop at the first failure\n"
	      "  --trace            with --seed: print every event\n"
	      "  --table            what was injected\n"
	      "  --cells            what met which state of a connection, and marks of the "
	      "library\n"
	      "of a schedule, as a failure prints it:\n"
	      "  --calm-at N        no fault after the Nth enter\n"
	      "  --without CLASS    that class of faults is off\n"
	      "  --peers-off MASK, --halve N, --one-worker, --no-clients, --no-chat\n"
	      "  --wrong N          the driver's programs make a mistake that property N must "
	      "tell\n",
	      to);
}

enum {
	O_SEED = 256,
	O_FIRST,
	O_RUNS,
	O_SECONDS,
	O_JOBS,
	O_TWICE,
	O_KEEP,
	O_TRACE,
	O_TABLE,
	O_CELLS,
	O_CALM,
	O_WITHOUT,
	O_PEERS,
	O_HALVE,
	O_ONE,
	O_NO_CLIENTS,
	O_NO_CHAT,
	O_WRONG,
	O_QUIET
};

static const struct option options[] = { { "seed", 1, NULL, O_SEED },
					 { "first", 1, NULL, O_FIRST },
					 { "runs", 1, NULL, O_RUNS },
					 { "seconds", 1, NULL, O_SECONDS },
					 { "jobs", 1, NULL, O_JOBS },
					 { "twice", 0, NULL, O_TWICE },
					 { "keep-going", 0, NULL, O_KEEP },
					 { "trace", 0, NULL, O_TRACE },
					 { "table", 0, NULL, O_TABLE },
					 { "cells", 0, NULL, O_CELLS },
					 { "calm-at", 1, NULL, O_CALM },
					 { "without", 1, NULL, O_WITHOUT },
					 { "peers-off", 1, NULL, O_PEERS },
					 { "halve", 1, NULL, O_HALVE },
					 { "one-worker", 0, NULL, O_ONE },
					 { "no-clients", 0, NULL, O_NO_CLIENTS },
					 { "no-chat", 0, NULL, O_NO_CHAT },
					 { "wrong", 1, NULL, O_WRONG },
					 { "quiet", 0, NULL, O_QUIET },
					 { "help", 0, NULL, 'h' },
					 { NULL, 0, NULL, 0 } };

static void bad(const char *what, const char *arg)
{
	fprintf(stderr, "sim: %s '%s'\n", what, arg);
	exit(2);
}

static uint64_t number(const char *text)
{
	char *end;
	errno = 0;
	uint64_t v = strtoull(text, &end, 0);

	if (errno || end == text || *end)
		bad("not a number:", text);
	return v;
}

static uint32_t fault_bit(const char *name)
{
	for (unsigned i = 0; i < FAULT_COUNT; i++)
		if (strcmp(name, world_fault_name((enum world_fault)i)) == 0)
			return 1u << i;
	bad("no such class of faults:", name);
	return 0;
}

/* True: it was one of a schedule's. */
static bool tweak_option(struct tweak *t, int c, const char *arg)
{
	switch (c) {
	case O_CALM:
		t->calm_at = number(arg);
		return true;
	case O_WITHOUT:
		t->without |= fault_bit(arg);
		return true;
	case O_PEERS:
		t->peers_off = (uint32_t)number(arg);
		return true;
	case O_HALVE:
		t->halve = (unsigned)number(arg) % 32;
		return true;
	case O_ONE:
		t->one_worker = true;
		return true;
	case O_NO_CLIENTS:
		t->no_clients = true;
		return true;
	case O_NO_CHAT:
		t->no_chat = true;
		return true;
	case O_WRONG:
		t->wrong = (unsigned)number(arg);
		if (!t->wrong || t->wrong > PROP_COUNT)
			bad("properties are 1 to 13:", arg);
		return true;
	default:
		return false;
	}
}

struct command {
	struct run_options run;
	bool single, trace;
	uint64_t seed;
};

static void run_option(struct command *c, int opt, const char *arg)
{
	struct run_options *o = &c->run;

	switch (opt) {
	case O_SEED:
		c->single = true;
		c->seed = number(arg);
		break;
	case O_FIRST:
		o->first = number(arg);
		break;
	case O_RUNS:
		o->count = number(arg);
		break;
	case O_SECONDS:
		o->seconds = strtod(arg, NULL);
		break;
	case O_JOBS:
		o->jobs = (unsigned)number(arg);
		if (!o->jobs || o->jobs > 64)
			bad("jobs are 1 to 64:", arg);
		break;
	case O_TWICE:
		o->twice = true;
		break;
	case O_KEEP:
		o->keep_going = true;
		break;
	case O_TRACE:
		c->trace = true;
		break;
	case O_TABLE:
		o->table = true;
		break;
	case O_CELLS:
		o->cells = true;
		break;
	case O_QUIET:
		o->quiet = true;
		break;
	case 'h':
		usage(stdout);
		exit(0);
	default:
		usage(stderr);
		exit(2);
	}
}

/* One schedule in this process: what a debugger wants. */
static int run_one(const struct command *c)
{
	struct outcome o;

	if (c->trace)
		setenv("RINGLINE_SIM_TRACE", "1", 1);
	seed_running(c->seed);
	schedule_run(c->seed, &c->run.tweak, &o);
	if (c->run.cells)
		cells_report(true);
	printf("%llu completions, %llu enters, %llu faults, %llu bytes, %u of %u peers clean\n",
	       (unsigned long long)o.completions, (unsigned long long)o.enters,
	       (unsigned long long)o.faults, (unsigned long long)o.bytes, o.clean, o.peers);
	printf("seed %llu hash %016llx\n", (unsigned long long)c->seed, (unsigned long long)o.hash);
	return 0;
}

int main(int argc, char **argv)
{
	struct command c = { .run = { .first = 1 } };
	struct rlimit no_core = { 0, 0 };
	int opt;

	while ((opt = getopt_long(argc, argv, "h", options, NULL)) != -1)
		if (!tweak_option(&c.run.tweak, opt, optarg))
			run_option(&c, opt, optarg);
	if (optind < argc)
		bad("unexpected argument", argv[optind]);
	if (c.single && !c.run.count && c.run.seconds <= 0)
		return run_one(&c);
	if (c.single)
		c.run.first = c.seed;
	if (!c.run.count && c.run.seconds <= 0) {
		long cpus = sysconf(_SC_NPROCESSORS_ONLN);

		c.run.count = DEFAULT_RUNS;
		if (!c.run.jobs)
			c.run.jobs = cpus < 1 ? 1 : cpus > 64 ? 64 : (unsigned)cpus;
	}
	if (!c.run.jobs)
		c.run.jobs = 1;
	setrlimit(RLIMIT_CORE, &no_core);
	return runs_go(&c.run);
}
