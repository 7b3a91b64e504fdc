/*
 * rln_sim_main(): the search by command line, and its report.
 */
#include "sim/api.h"
#include "sim/api_search.h"
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define RUNS_DEFAULT 1000
#define TAIL_LINES 40
#define TAIL_BYTES 200
#define PROGRESS_NS 500000000

static const char *const classes[] = {
	[RLN_SIM_ORDER] = "order",   [RLN_SIM_SHORT] = "short",	  [RLN_SIM_SCARCE] = "scarce",
	[RLN_SIM_REFUSE] = "refuse", [RLN_SIM_RESET] = "reset",	  [RLN_SIM_FREEZE] = "freeze",
	[RLN_SIM_STALL] = "stall",   [RLN_SIM_MEMORY] = "memory",
};
_Static_assert(sizeof(classes) / sizeof(*classes) == RLN_SIM_CLASSES, "a class without a name");

static const char *const reasons[] = {
	[RLN_SIM_PASSED] = "passed",	 [RLN_SIM_FAILED] = "failed",
	[RLN_SIM_STATUS] = "failed",	 [RLN_SIM_DEADLOCK] = "deadlock",
	[RLN_SIM_ENDLESS] = "endless",	 [RLN_SIM_LEAK] = "leak",
	[RLN_SIM_BROKEN] = "broken",	 [RLN_SIM_CRASHED] = "crashed",
	[RLN_SIM_DIVERGED] = "diverged",
};

struct options {
	rln_sim_config cfg;
	uint64_t runs;
	unsigned seconds;
	bool one, counted;
	const char *program, *only;
};

static void usage(FILE *to, const char *program)
{
	fprintf(to,
		"usage: %s [--runs N] [--seconds T] [--seed S] [--only CLASSES] [--trace]\n"
		"Runs this program in simulations, each with another seed, until one fails.\n"
		"  --runs N        so many seeds (%d)\n"
		"  --seconds T     for so long; without --runs there is no other limit\n"
		"  --seed S        run seed S alone, in this process; with --runs or --seconds:\n"
		"                  begin there\n"
		"  --only CLASSES  only these faults, by seed: a list with commas of order,\n"
		"                  short, scarce, refuse, reset, freeze, stall, memory; or none\n"
		"  --trace         write what happens to stderr\n"
		"example: %s --seed 17 --trace\n",
		program, RUNS_DEFAULT, program);
}

static int class_named(const char *s, size_t n)
{
	for (int i = 0; i < RLN_SIM_CLASSES; i++)
		if (strlen(classes[i]) == n && memcmp(classes[i], s, n) == 0)
			return i;
	return -1;
}

/* "short,reset": these as they are configured, the others off. */
static bool parse_only(const char *s, uint8_t *faults)
{
	bool on[RLN_SIM_CLASSES] = { false };

	if (strcmp(s, "none") != 0) {
		for (const char *end; *s; s = *end ? end + 1 : end) {
			int i;

			end = strchrnul(s, ',');
			i = class_named(s, (size_t)(end - s));
			if (i < 0)
				return false;
			on[i] = true;
		}
	}
	for (int i = 0; i < RLN_SIM_CLASSES; i++)
		if (!on[i])
			faults[i] = RLN_SIM_OFF;
		else if (i == RLN_SIM_MEMORY && faults[i] == RLN_SIM_BY_SEED)
			faults[i] = RLN_SIM_RARE;
	return true;
}

static bool parse_number(const char *s, uint64_t most, uint64_t *v)
{
	char *end;

	errno = 0;
	*v = strtoull(s, &end, 10);
	return *s >= '0' && *s <= '9' && !*end && !errno && *v <= most;
}

/* -1: go on; else the exit status. */
static int parse(int argc, char **argv, struct options *o)
{
	static const struct option longs[] = { { "runs", required_argument, NULL, 'r' },
					       { "seconds", required_argument, NULL, 't' },
					       { "seed", required_argument, NULL, 's' },
					       { "only", required_argument, NULL, 'o' },
					       { "trace", no_argument, NULL, 'v' },
					       { "help", no_argument, NULL, 'h' },
					       { NULL, 0, NULL, 0 } };
	int opt;

	optind = 1;
	while ((opt = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		uint64_t v = 0;
		bool ok = opt != '?';

		if (opt == 'h') {
			usage(stdout, o->program);
			return 0;
		} else if (opt == 'r') {
			ok = parse_number(optarg, UINT64_MAX, &o->runs) && o->runs;
			o->counted = true;
		} else if (opt == 't') {
			ok = parse_number(optarg, 1000000, &v) && v;
			o->seconds = (unsigned)v;
			o->counted = true;
		} else if (opt == 's') {
			ok = parse_number(optarg, UINT64_MAX, &o->cfg.seed);
			o->one = true;
		} else if (opt == 'o') {
			o->only = optarg;
			ok = parse_only(optarg, o->cfg.faults);
		} else if (opt == 'v') {
			o->cfg.trace = true;
		}
		if (!ok && opt != '?')
			fprintf(stderr, "%s: bad value '%s'; try --help\n", o->program, optarg);
		if (!ok)
			return 2;
	}
	if (optind < argc) {
		fprintf(stderr, "%s: unexpected '%s'; try --help\n", o->program, argv[optind]);
		return 2;
	}
	return -1;
}

/* ---- the report */
struct tail {
	char line[TAIL_LINES][TAIL_BYTES];
	size_t len;
	unsigned count; /* lines begun so far */
};

static void tail_add(void *ctx, const char *text, size_t n)
{
	struct tail *t = ctx;

	for (size_t i = 0; i < n; i++) {
		char *line = t->line[t->count % TAIL_LINES];

		if (text[i] != '\n' && t->len < TAIL_BYTES - 1)
			line[t->len++] = text[i];
		if (text[i] != '\n')
			continue;
		line[t->len] = '\0';
		t->len = 0;
		t->count++;
	}
}

static void tail_show(const struct tail *t)
{
	unsigned from = t->count > TAIL_LINES - 1 ? t->count - (TAIL_LINES - 1) : 0;

	if (!t->count)
		return;
	printf("  the end of its trace:\n");
	for (unsigned i = from; i < t->count; i++)
		printf("    %s\n", t->line[i % TAIL_LINES]);
}

/* Once more, for its trace; with nothing but what it needs. */
static void show_trace(const struct options *o, const rln_sim_result *r)
{
	struct tail *t = calloc(1, sizeof(*t));
	struct shared *sh = search_shared();
	struct batch b = { .cfg = o->cfg, .count = 1, .leaks_every = 1 };

	if (t && sh) {
		b.cfg.seed = r->simple_seed;
		b.cfg.trace = true;
		b.twice = r->reason == RLN_SIM_DIVERGED;
		b.output = tail_add;
		b.ctx = t;
		for (unsigned i = 0; i < RLN_SIM_CLASSES; i++)
			if (!(r->needs & 1u << i))
				b.cfg.faults[i] = RLN_SIM_OFF;
		if (search_batch(sh, &b) == 1)
			tail_show(t);
	}
	if (sh)
		search_shared_free(sh);
	free(t);
}

static void list_needs(unsigned needs)
{
	const char *comma = "";

	for (unsigned i = 0; i < RLN_SIM_CLASSES; i++) {
		if (!(needs & 1u << i))
			continue;
		printf("%s%s", comma, classes[i]);
		comma = ",";
	}
	printf("%s", needs ? "" : "none");
}

static void list_given(const struct options *o)
{
	if (o->only)
		printf(" --only %s", o->only);
}

static void report(const struct options *o, const rln_sim_result *r)
{
	printf("seed %llu %s: %s\n", (unsigned long long)r->seed, reasons[r->reason], r->what);
	show_trace(o, r);
	printf("  again: %s --seed %llu", o->program, (unsigned long long)r->seed);
	list_given(o);
	printf("\n  with fewer faults: %s --seed %llu --only ", o->program,
	       (unsigned long long)r->simple_seed);
	list_needs(r->needs);
	printf("\n");
}

struct progress {
	int64_t begun, last;
};

static void progress_show(void *ctx, const struct shared *sh)
{
	struct progress *p = ctx;
	int64_t now = search_clock();

	if (now - p->last < PROGRESS_NS)
		return;
	p->last = now;
	fprintf(stderr, "\r%llu schedules, %llu completions, %llu faults, %.0f schedules/s ",
		(unsigned long long)sh->runs, (unsigned long long)sh->completions,
		(unsigned long long)sh->faults,
		(double)sh->runs / ((double)(now - p->begun) / 1e9));
}

static int run_one(const struct options *o)
{
	rln_sim_result r;
	int e = rln_sim_run(&o->cfg, &r);

	if (e < 0)
		return 2;
	if (e)
		printf("seed %llu %s: %s\n", (unsigned long long)r.seed, reasons[r.reason], r.what);
	printf("seed %llu hash %016llx\n", (unsigned long long)r.seed, (unsigned long long)r.hash);
	return e;
}

static int run_many(struct options *o)
{
	struct progress p = { .begun = search_clock() };
	struct batch b = { .ctx = &p };
	rln_sim_result r;
	int e;

	if (isatty(2) && !o->cfg.trace)
		b.progress = progress_show;
	p.last = p.begun;
	e = search_run(&o->cfg, o->runs, o->seconds, &b, &r);
	if (p.last != p.begun)
		fprintf(stderr, "\r%72s\r", "");
	if (e < 0) {
		fprintf(stderr, "%s: cannot start a process: %s\n", o->program, rln_strerror(e));
		return 2;
	}
	if (e)
		report(o, &r);
	printf("%llu schedules, %llu completions, %llu faults, %d failures\n",
	       (unsigned long long)r.runs, (unsigned long long)r.completions,
	       (unsigned long long)r.faults, e);
	return e;
}

int rln_sim_main(const rln_sim_config *cfg, int argc, char **argv)
{
	struct options o = { .program = argc > 0 ? argv[0] : "simulation" };
	int status;

	if (!cfg || !sim_valid(cfg) || sim_here()) {
		fprintf(stderr, "%s: rln_sim_main: bad configuration\n", o.program);
		return 2;
	}
	o.cfg = *cfg;
	status = parse(argc, argv, &o);
	if (status >= 0)
		return status;
	if (!o.counted)
		o.runs = RUNS_DEFAULT;
	return o.one && !o.counted ? run_one(&o) : run_many(&o);
}
