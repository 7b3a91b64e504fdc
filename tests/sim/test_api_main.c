/*
 * The public simulator's search, what it says of a failure, and its command line.
 */
#include "ringline.h"
#include "ringline/sim.h"
#include "sim/api_search.h"
#include "test.h"
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- scenarios: what the seed draws decides */
static unsigned kept; /* state a run leaves behind */

static int nine_in_ten(void *arg)
{
	(void)arg;
	rln_sim_note("drawn");
	if (rln_sim_rand(10) == 0)
		rln_sim_fail("the tenth");
	return 0;
}

static int pass(void *arg)
{
	(void)arg;
	return 0;
}

static int crash(void *arg)
{
	(void)arg;
	if (rln_sim_rand(10) == 0)
		raise(SIGKILL);
	return 0;
}

static int leave(void *arg)
{
	(void)arg;
	if (rln_sim_rand(10) == 0)
		_exit(3);
	return 0;
}

static int hang(void *arg)
{
	(void)arg;
	while (rln_sim_rand(10) == 0)
		pause(); /* outside of the simulation: nobody can know */
	return 0;
}

static int keeps_state(void *arg)
{
	(void)arg;
	rln_sim_sleep(RLN_MS(1) * kept++);
	return 0;
}

static int fails_the_20th_time(void *arg)
{
	(void)arg;
	if (++kept == 20)
		rln_sim_fail("once too often");
	return 0;
}

static void search(int (*fn)(void *), uint64_t runs, rln_sim_result *r, int reason)
{
	int e = rln_sim_search(&(rln_sim_config){ .main = fn, .seed = 100 }, runs, 0, r);

	CHECK_INT(e, ==, reason != RLN_SIM_PASSED);
	CHECK_INT(r->reason, ==, reason);
}

TEST(sim_search_runs_all_seeds_when_none_fails)
{
	rln_sim_result r;

	search(pass, 5000, &r, RLN_SIM_PASSED);
	CHECK_INT(r.runs, ==, 5000);
}

TEST(sim_search_ends_with_its_time)
{
	int64_t began = test_now_ns();
	rln_sim_result r;

	CHECK_INT(rln_sim_search(&(rln_sim_config){ .main = pass }, 0, 1, &r), ==, 0);
	CHECK(r.runs > 0 && test_now_ns() - began >= 1000000000);
}

TEST(sim_search_finds_the_seed_that_fails)
{
	rln_sim_config cfg = { .main = nine_in_ten };
	rln_sim_result r, again;

	search(nine_in_ten, 1000, &r, RLN_SIM_FAILED);
	CHECK_STR(r.what, "the tenth");
	CHECK_INT(r.seed, ==, 100 + r.runs - 1);
	CHECK_INT(r.needs, ==, 0); /* no fault has to do with it */
	cfg.seed = r.seed;
	CHECK_INT(rln_sim_run(&cfg, &again), ==, 1);
	for (cfg.seed = 100; cfg.seed < r.seed; cfg.seed++)
		CHECK_INT(rln_sim_run(&cfg, &again), ==, 0);
}

TEST(sim_search_survives_what_kills_the_program)
{
	rln_sim_result r;

	search(crash, 1000, &r, RLN_SIM_CRASHED);
	CHECK_HAS(r.what, "signal 9");
	search(leave, 1000, &r, RLN_SIM_CRASHED);
	CHECK_HAS(r.what, "exit status 3");
}

TEST_LIMIT(sim_search_stops_a_program_that_does_not_come_back, 120)
{
	rln_sim_result r;

	sim_patience = RLN_MS(300);
	search(hang, 1000, &r, RLN_SIM_ENDLESS);
	CHECK_HAS(r.what, "did not come back");
}

TEST(sim_search_notices_state_that_outlives_a_run)
{
	rln_sim_result r;

	search(keeps_state, 1000, &r, RLN_SIM_DIVERGED);
	CHECK_HAS(r.what, "keeps state");
	CHECK_INT(r.seed, ==, 100);
	kept = 0;
	search(fails_the_20th_time, 1000, &r, RLN_SIM_FAILED);
	CHECK_HAS(r.what, "only after other seeds");
}

/* ---- the command line */

/* rln_sim_main() in a child; what it writes (both outputs) in text. Returns its exit status. */
static int main_with(int (*fn)(void *), const char *args, char *text, size_t cap)
{
	char copy[200], *argv[12] = { "prog" }, *save = NULL;
	int argc = 1, fds[2], status = -1;
	size_t n = 0;
	ssize_t got;
	pid_t pid;

	snprintf(copy, sizeof copy, "%s", args);
	for (char *a = strtok_r(copy, " ", &save); a; a = strtok_r(NULL, " ", &save))
		argv[argc++] = a;
	CHECK_INT(pipe(fds), ==, 0);
	fflush(NULL);
	pid = fork();
	if (!pid) {
		dup2(fds[1], 1);
		dup2(fds[1], 2);
		close(fds[0]);
		status = rln_sim_main(&(rln_sim_config){ .main = fn }, argc, argv);
		fflush(NULL);
		_exit(status);
	}
	close(fds[1]);
	while ((got = read(fds[0], text + n, cap - 1 - n)) > 0)
		n += (size_t)got;
	text[n] = '\0';
	close(fds[0]);
	CHECK_INT(waitpid(pid, &status, 0), ==, pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

TEST(sim_main_counts_and_ends_with_one_line)
{
	char text[20000];

	CHECK_INT(main_with(pass, "--runs 77", text, sizeof text), ==, 0);
	CHECK_STR(text, "77 schedules, 0 completions, 0 faults, 0 failures\n");
	CHECK_INT(main_with(pass, "", text, sizeof text), ==, 0);
	CHECK_HAS(text, "1000 schedules, ");
	CHECK_INT(main_with(pass, "--seconds 1", text, sizeof text), ==, 0);
	CHECK_HAS(text, " 0 failures\n");
}

TEST(sim_main_replays_one_seed)
{
	char one[4096], two[4096];

	CHECK_INT(main_with(pass, "--seed 5", one, sizeof one), ==, 0);
	CHECK_INT(main_with(pass, "--seed 5", two, sizeof two), ==, 0);
	CHECK_STR(one, two);
	CHECK(strncmp(one, "seed 5 hash ", 12) == 0);
	CHECK_INT(main_with(nine_in_ten, "--seed 5 --trace", one, sizeof one), <=, 1);
	CHECK_HAS(one, "thread main: drawn");
}

TEST(sim_main_reports_a_failure)
{
	char text[20000], again[100], *p;

	CHECK_INT(main_with(nine_in_ten, "--runs 1000 --only order,reset", text, sizeof text), ==,
		  1);
	CHECK_HAS(text, " failed: the tenth\n");
	CHECK_HAS(text, "the end of its trace:\n");
	CHECK_HAS(text, "thread main: drawn");
	CHECK_HAS(text, "failures\n");
	CHECK_HAS(text, "schedules, 0 completions, 0 faults, 1 failures\n");
	p = strstr(text, "again: prog ");
	CHECK(p && strstr(p, " --only order,reset\n"));
	snprintf(again, sizeof again, "%.*s", (int)strcspn(p + 12, "\n"), p + 12);
	CHECK_INT(main_with(nine_in_ten, again, text, sizeof text), ==, 1);
	CHECK_HAS(text, "failed: the tenth");
	CHECK_INT(main_with(nine_in_ten, "--runs 1000", text, sizeof text), ==, 1);
	p = strstr(text, "with fewer faults: prog ");
	CHECK(p && strstr(p, " --only none\n"));
	snprintf(again, sizeof again, "%.*s", (int)strcspn(p + 24, "\n"), p + 24);
	CHECK_INT(main_with(nine_in_ten, again, text, sizeof text), ==, 1);
}

TEST(sim_main_bad_options_are_named)
{
	static const char *const bad[] = { "--runs 0",	"--runs x",    "--seed -1", "--seconds 0",
					   "--seed 1z", "--only what", "--only ,",  "--only orde",
					   "stray",	"--bad",       "--runs" };
	char text[4096];

	for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++) {
		if (main_with(pass, bad[i], text, sizeof text) != 2)
			test_fail(__FILE__, __LINE__, "%s: %s", bad[i], text);
		CHECK_HAS(text, "prog: ");
	}
	CHECK_INT(main_with(pass, "--only what", text, sizeof text), ==, 2);
	CHECK_HAS(text, "'what'");
	CHECK_INT(main_with(pass, "--help", text, sizeof text), ==, 0);
	CHECK_HAS(text, "usage: prog ");
	CHECK_HAS(text, "example: ");
	CHECK_INT(main_with(NULL, "", text, sizeof text), ==, 2);
	CHECK_HAS(text, "bad configuration");
}
