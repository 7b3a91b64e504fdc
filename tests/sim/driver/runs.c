/*
 * Many seeds: runner processes that share out the seeds, the progress they report, and what becomes
 * of a failure. A runner that fails dies of it; its memory is not to be trusted any more.
 */
#include "cells.h"
#include "driver.h"
#include <errno.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define JOBS_MAX 64
#define TWICE_EVERY 32
#define LONG_RUN 200000 /* schedules from which on what was never reached is worth a word */
#define STUCK_S 2	/* of processor time in one schedule, at least */
#define FAILED 99	/* exit status of a runner whose schedule violated a property */

/* What a runner tells its parent while it runs. */
struct tally {
	uint64_t seed; /* running now */
	uint64_t schedules, completions, enters, faults, bytes, peers, clean;
	uint64_t fault[FAULT_COUNT];
	bool over;
	char what[512];
};

static struct tally *mine;

static double now_s(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec * 1e-9;
}

/* ---- in the runner */
static void fail_quietly(struct world *w, const char *what)
{
	snprintf(mine->what, sizeof(mine->what), "%s", what);
	if (schedule_keep_trace)
		world_trace_print(w);
	_exit(FAILED);
}

/* Processor time passed: one schedule must not take all of it. */
static void tick(int sig)
{
	static uint64_t last;

	(void)sig;
	if (last == mine->seed + 1)
		snprintf(mine->what, sizeof(mine->what), "P6 (%s): a turn does not end",
			 world_prop_text(PROP_P6));
	if (last == mine->seed + 1)
		_exit(FAILED);
	last = mine->seed + 1;
}

static void watch(void)
{
	struct itimerval every = { { STUCK_S, 0 }, { STUCK_S, 0 } };

	signal(SIGPROF, tick);
	setitimer(ITIMER_PROF, &every, NULL);
}

static void add(struct tally *t, const struct outcome *o)
{
	t->schedules++;
	t->completions += o->completions;
	t->enters += o->enters;
	t->faults += o->faults;
	t->bytes += o->bytes;
	t->peers += o->peers;
	t->clean += o->clean;
	for (unsigned i = 0; i < FAULT_COUNT; i++)
		t->fault[i] += o->fault[i];
}

/*
 * P13: a run must not depend on where its memory lies. What is held here, of every size, makes the
 * second run lie elsewhere than the first.
 */
#define HELD 40

static void run_elsewhere(uint64_t seed, const struct tweak *t, struct outcome *out)
{
	void *held[HELD];

	for (unsigned i = 0; i < HELD; i++)
		held[i] = malloc(24 + 40 * i + seed % 7 * 16);
	schedule_run(seed, t, out);
	for (unsigned i = 0; i < HELD; i++)
		free(held[i]);
}

static void run_twice(uint64_t seed, const struct tweak *t, uint64_t hash)
{
	struct outcome b;

	run_elsewhere(seed, t, &b);
	if (hash == b.hash)
		return;
	snprintf(mine->what, sizeof(mine->what), "P13 (%s): hash %016llx, and then %016llx",
		 world_prop_text(PROP_P13), (unsigned long long)hash, (unsigned long long)b.hash);
	_exit(FAILED);
}

static void run_one(const struct run_options *o, uint64_t seed, struct outcome *a)
{
	mine->seed = seed;
	seed_running(seed);
	schedule_run(seed, &o->tweak, a);
	if (o->twice || seed % TWICE_EVERY == 0)
		run_twice(seed, &o->tweak, a->hash);
}

static void run_share(const struct run_options *o, uint64_t first, uint64_t end, double until)
{
	struct outcome a;

	/* PERF: the heap of a schedule is not given back to be asked for by the next one. */
	mallopt(M_TRIM_THRESHOLD, 256 << 20);
	mallopt(M_TOP_PAD, 1 << 20);
	schedule_on_fail = fail_quietly;
	watch();
	for (uint64_t seed = first; seed < end; seed += o->jobs) {
		if (o->seconds > 0 && mine->schedules % 16 == 0 && now_s() >= until)
			break;
		run_one(o, seed, &a);
		add(mine, &a);
	}
	mine->over = true;
	_exit(0);
}

static pid_t start(void (*fn)(void *), void *arg)
{
	fflush(stdout);
	fflush(stderr);
	pid_t pid = fork();

	if (pid < 0) {
		perror("fork");
		exit(2);
	}
	if (pid == 0) {
		fn(arg);
		_exit(0);
	}
	return pid;
}

/* How the runner ended, in words; nothing for a good end. */
static void ended(struct tally *t, int status)
{
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return;
	if (t->what[0])
		return;
	if (WIFSIGNALED(status))
		snprintf(t->what, sizeof(t->what), "%s", strsignal(WTERMSIG(status)));
	else
		snprintf(t->what, sizeof(t->what), "exit status %d (a sanitizer's report)",
			 WEXITSTATUS(status));
}

/* ---- one seed on its own */
struct single {
	uint64_t seed;
	const struct tweak *tweak;
	bool twice, loud;
};

static void run_single(void *arg)
{
	const struct single *s = arg;
	struct outcome o;

	if (!s->loud && !freopen("/dev/null", "w", stderr))
		_exit(2);
	schedule_on_fail = fail_quietly;
	watch();
	mine->seed = s->seed;
	schedule_run(s->seed, s->tweak, &o);
	mine->enters = o.enters;
	if (s->twice)
		run_twice(s->seed, s->tweak, o.hash);
	_exit(0);
}

static struct tally *tallies(unsigned n)
{
	struct tally *t = mmap(NULL, n * sizeof(*t), PROT_READ | PROT_WRITE,
			       MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (t == MAP_FAILED) {
		perror("mmap");
		exit(2);
	}
	return t;
}

bool run_fails(uint64_t seed, const struct tweak *t, bool twice, char *what, size_t cap,
	       uint64_t *enters)
{
	struct single s = { seed, t, twice, schedule_keep_trace };
	struct tally *before = mine;
	int status;

	mine = tallies(1);
	pid_t pid = start(run_single, &s);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	ended(mine, status);
	snprintf(what, cap, "%s", mine->what);
	*enters = mine->enters;
	munmap(mine, sizeof(*mine));
	mine = before;
	return what[0] != 0;
}

/* ---- the parent */
struct runs {
	const struct run_options *o;
	struct tally *tally;
	pid_t pid[JOBS_MAX];
	uint64_t next[JOBS_MAX]; /* where a runner begins */
	uint64_t end;
	unsigned failures, alive;
	double began, until;
};

struct share {
	struct runs *r;
	unsigned i;
};

static void runner(void *arg)
{
	struct share *s = arg;

	mine = &s->r->tally[s->i];
	cells_runner(s->i);
	run_share(s->r->o, s->r->next[s->i], s->r->end, s->r->until);
}

static void runner_start(struct runs *r, unsigned i)
{
	struct share s = { r, i };

	r->tally[i].what[0] = 0;
	r->pid[i] = start(runner, &s);
	r->alive++;
}

static struct tally sum(const struct runs *r)
{
	struct tally t = { 0 };

	for (unsigned i = 0; i < r->o->jobs; i++) {
		const struct tally *a = &r->tally[i];
		struct outcome o = { .completions = a->completions,
				     .enters = a->enters,
				     .faults = a->faults,
				     .bytes = a->bytes,
				     .peers = (unsigned)a->peers,
				     .clean = (unsigned)a->clean };

		memcpy(o.fault, a->fault, sizeof(o.fault));
		add(&t, &o);
		t.schedules += a->schedules - 1;
	}
	return t;
}

static void progress(const struct runs *r, bool last)
{
	struct tally t = sum(r);
	double s = now_s() - r->began;

	if (r->o->quiet || s <= 0)
		return;
	printf("%s%6.1f s: %llu schedules (%.0f/s), %llu completions (%.0f/s), %llu faults "
	       "(%.0f/s)%s",
	       isatty(1) ? "\r" : "", s, (unsigned long long)t.schedules, (double)t.schedules / s,
	       (unsigned long long)t.completions, (double)t.completions / s,
	       (unsigned long long)t.faults, (double)t.faults / s, isatty(1) && !last ? "" : "\n");
	fflush(stdout);
}

static void failure(struct runs *r, unsigned i)
{
	uint64_t seed = r->tally[i].seed;
	struct tally t = sum(r);

	r->failures++;
	printf("\nFAIL seed %llu, after %llu schedules: %s\n", (unsigned long long)seed,
	       (unsigned long long)t.schedules, r->tally[i].what);
	fflush(stdout);
	if (!r->o->tweak.wrong) /* else it is known */
		shrink(seed, &r->o->tweak, r->tally[i].what);
	r->next[i] = seed + r->o->jobs;
}

/* A runner has ended. Returns whether the run goes on. */
static bool reap(struct runs *r, pid_t pid, int status)
{
	for (unsigned i = 0; i < r->o->jobs; i++) {
		if (r->pid[i] != pid)
			continue;
		r->pid[i] = 0;
		r->alive--;
		ended(&r->tally[i], status);
		if (!r->tally[i].what[0])
			return true;
		failure(r, i);
		if (!r->o->keep_going)
			return false;
		runner_start(r, i);
	}
	return true;
}

static void stop_all(struct runs *r)
{
	for (unsigned i = 0; i < r->o->jobs; i++) {
		if (!r->pid[i])
			continue;
		kill(r->pid[i], SIGKILL);
		while (waitpid(r->pid[i], NULL, 0) < 0 && errno == EINTR)
			;
		r->pid[i] = 0;
	}
}

static void wait_all(struct runs *r)
{
	double shown = now_s();

	while (r->alive) {
		int status;
		pid_t pid = waitpid(-1, &status, WNOHANG);

		if (pid > 0 && !reap(r, pid, status)) {
			stop_all(r);
			return;
		}
		if (pid > 0)
			continue;
		struct timespec nap = { 0, 20000000 };
		nanosleep(&nap, NULL);
		if (now_s() - shown >= 1) {
			shown = now_s();
			progress(r, false);
		}
	}
}

static void print_faults(const struct tally *t)
{
	for (unsigned i = 0; i < FAULT_COUNT; i++)
		printf("  %-14s %llu\n", world_fault_name((enum world_fault)i),
		       (unsigned long long)t->fault[i]);
}

int runs_go(const struct run_options *o)
{
	struct runs r = { .o = o, .began = now_s() };

	r.tally = tallies(o->jobs);
	cells_open(o->jobs);
	r.end = o->count ? o->first + o->count : UINT64_MAX;
	r.until = r.began + o->seconds;
	for (unsigned i = 0; i < o->jobs; i++) {
		r.next[i] = o->first + i;
		runner_start(&r, i);
	}
	wait_all(&r);
	progress(&r, true);
	struct tally t = sum(&r);
	if (o->table)
		print_faults(&t);
	if (o->cells || t.schedules >= LONG_RUN)
		cells_report(o->cells);
	if (t.schedules)
		printf("mean: %.0f completions, %.0f faults, %.0f bytes a schedule; %.0f %% of "
		       "%llu "
		       "peers ended clean\n",
		       (double)t.completions / (double)t.schedules,
		       (double)t.faults / (double)t.schedules,
		       (double)t.bytes / (double)t.schedules,
		       t.peers ? 100.0 * (double)t.clean / (double)t.peers : 0.0,
		       (unsigned long long)t.peers);
	printf("%llu schedules, %llu completions, %llu faults, %u failures\n",
	       (unsigned long long)t.schedules, (unsigned long long)t.completions,
	       (unsigned long long)t.faults, r.failures);
	return r.failures ? 1 : 0;
}
