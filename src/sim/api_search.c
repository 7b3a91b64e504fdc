/*
 * Many runs, each batch in a child process: what kills or stops the program is found like anything
 * else, and a failure is looked into from a fresh process. Parent and child share one page.
 */
#include "sim/api_search.h"
#include "sim/api.h"
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define BATCH 4096
#define TWICE_EVERY 64 /* a seed in so many runs twice */
#define LEAKS_EVERY 256
#define NEIGHBOURS 64 /* seeds tried for a simpler failure */
#define LOOK_MS 250

/* Not NULL: LeakSanitizer is linked in. */
int __lsan_do_recoverable_leak_check(void) __attribute__((weak));

int64_t sim_patience = RLN_SEC(30);

int64_t search_clock(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

/* ---- the child */
_Noreturn static void child_ends(struct shared *sh, int reason, const char *what)
{
	sh->result.reason = reason;
	if (what)
		snprintf(sh->result.what, sizeof(sh->result.what), "%s", what);
	atomic_store(&sh->ended, true);
	_exit(reason != RLN_SIM_PASSED);
}

static void look_for_leaks(struct shared *sh)
{
	if (__lsan_do_recoverable_leak_check && __lsan_do_recoverable_leak_check())
		child_ends(sh, RLN_SIM_LEAK, "memory of the program was lost; see the report");
}

_Noreturn static void child(struct shared *sh, const struct batch *b)
{
	rln_sim_config c = b->cfg;
	rln_sim_result again;

	sim_beat = &sh->beat;
	for (uint64_t i = 0; i < b->count; i++) {
		c.seed = b->cfg.seed + i;
		atomic_store(&sh->seed, c.seed);
		if (rln_sim_run(&c, &sh->result))
			child_ends(sh, sh->result.reason, NULL);
		sh->runs++;
		sh->completions += sh->result.completions;
		sh->faults += sh->result.faults;
		if (i % TWICE_EVERY == 0 && b->twice) {
			if (rln_sim_run(&c, &again))
				sh->result = again;
			if (again.reason || again.hash != sh->result.hash)
				child_ends(sh, RLN_SIM_DIVERGED,
					   "a second run of this seed was another one: the program "
					   "keeps state, or looks outside the simulation");
		}
		if (i % b->leaks_every == b->leaks_every - 1)
			look_for_leaks(sh);
		if (b->deadline && search_clock() > b->deadline)
			break;
	}
	look_for_leaks(sh);
	child_ends(sh, RLN_SIM_PASSED, NULL);
}

/* ---- the parent */
static void died(struct shared *sh, int status)
{
	rln_sim_result *r = &sh->result;

	memset(r, 0, sizeof(*r));
	r->reason = RLN_SIM_CRASHED;
	if (WIFSIGNALED(status))
		snprintf(r->what, sizeof(r->what), "the program was killed by signal %d (%s)",
			 WTERMSIG(status), strsignal(WTERMSIG(status)));
	else
		snprintf(r->what, sizeof(r->what), "the program ended with exit status %d",
			 WEXITSTATUS(status));
}

/* Wait for the child, feed what it writes to b->line; stop it when it does not come back. */
static void watch(struct shared *sh, const struct batch *b, pid_t pid, int fd)
{
	uint64_t beat = 0;
	int64_t since = search_clock();
	int status, more = 1;

	sh->stopped = false;
	while (more > 0) {
		struct pollfd p = { .fd = fd, .events = POLLIN };
		char text[4096];

		if (poll(&p, 1, LOOK_MS) > 0)
			more = (int)read(fd, text, sizeof(text));
		if (p.revents && more > 0 && b->output)
			b->output(b->ctx, text, (size_t)more);
		if (b->progress)
			b->progress(b->ctx, sh);
		if (atomic_load(&sh->beat) != beat) {
			beat = atomic_load(&sh->beat);
			since = search_clock();
		} else if (search_clock() - since > sim_patience && !sh->stopped) {
			kill(pid, SIGKILL);
			sh->stopped = true;
		}
	}
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (!atomic_load(&sh->ended))
		died(sh, status);
	if (sh->stopped) {
		sh->result.reason = RLN_SIM_ENDLESS;
		snprintf(sh->result.what, sizeof(sh->result.what),
			 "the program did not come back within %d s",
			 (int)(sim_patience / 1000000000));
	}
	sh->result.seed = atomic_load(&sh->seed);
}

int search_batch(struct shared *sh, const struct batch *b)
{
	int fds[2];
	pid_t pid;

	memset(&sh->result, 0, sizeof(sh->result));
	atomic_store(&sh->ended, false);
	atomic_store(&sh->seed, b->cfg.seed);
	if (pipe(fds) < 0)
		return -errno;
	fflush(NULL); /* or the child writes it again */
	pid = fork();
	if (pid < 0) {
		int e = -errno;

		close(fds[0]);
		close(fds[1]);
		return e;
	}
	if (!pid) {
		close(fds[0]);
		if (b->output || b->quiet)
			dup2(fds[1], 2);
		child(sh, b);
	}
	close(fds[1]); /* the child's end closes with its last process */
	watch(sh, b, pid, fds[0]);
	close(fds[0]);
	return sh->result.reason != RLN_SIM_PASSED;
}

struct shared *search_shared(void)
{
	struct shared *sh =
		mmap(NULL, sizeof(*sh), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	return sh == MAP_FAILED ? NULL : sh;
}

void search_shared_free(struct shared *sh)
{
	munmap(sh, sizeof(*sh));
}

/* ---- looking into a failure */

/* Leaks show some seeds later: which one was it? */
static void find_leak(struct shared *sh, const struct batch *of)
{
	uint64_t last = sh->result.seed, n = LEAKS_EVERY;
	struct batch b = *of;

	b.leaks_every = 1;
	b.count = 1;
	b.twice = false;
	b.cfg.seed = last - of->cfg.seed + 1 > n ? last - n + 1 : of->cfg.seed;
	for (; b.cfg.seed <= last; b.cfg.seed++)
		if (search_batch(sh, &b) == 1 && sh->result.reason == RLN_SIM_LEAK)
			return;
}

/* Does it fail for the same reason, with this seed or one of those after it? b->cfg.seed is that.
 */
static bool fails_too(struct shared *sh, struct batch *b, int reason)
{
	uint64_t seed = b->cfg.seed;
	bool found;

	b->count = 1;
	if (search_batch(sh, b) == 1 && sh->result.reason == reason)
		return true;
	if (reason == RLN_SIM_LEAK || reason == RLN_SIM_ENDLESS) /* looking for those takes long */
		return false;
	b->count = NEIGHBOURS;
	b->cfg.seed++;
	found = search_batch(sh, b) == 1 && sh->result.reason == reason;
	b->cfg.seed = found ? sh->result.seed : seed;
	return found;
}

/* Turn off class after class, as long as it still fails for the same reason. */
static void shrink(struct shared *sh, const rln_sim_config *cfg, rln_sim_result *out)
{
	struct batch b = { .cfg = *cfg, .leaks_every = 1 };

	out->simple_seed = b.cfg.seed = out->seed;
	b.cfg.trace = false;
	b.quiet = true;
	b.twice = out->reason == RLN_SIM_DIVERGED;
	for (unsigned i = 0; i < RLN_SIM_CLASSES; i++) {
		uint8_t before = b.cfg.faults[i];

		if (before == RLN_SIM_OFF || (i == RLN_SIM_MEMORY && before == RLN_SIM_BY_SEED))
			continue;
		b.cfg.faults[i] = RLN_SIM_OFF;
		/* each try of a program that does not come back would take as long again */
		if (!sh->stopped && fails_too(sh, &b, out->reason))
			continue;
		b.cfg.faults[i] = before;
		out->needs |= 1u << i;
	}
	out->simple_seed = b.cfg.seed;
}

/* Does it fail from a fresh process as well? */
static void confirm(struct shared *sh, const rln_sim_config *cfg, rln_sim_result *out)
{
	struct batch b = { .cfg = *cfg, .count = 1, .leaks_every = 1 };
	size_t n = strlen(out->what);

	b.cfg.seed = out->seed;
	b.twice = out->reason == RLN_SIM_DIVERGED;
	if (search_batch(sh, &b) == 1 && sh->result.reason == out->reason)
		return;
	snprintf(out->what + n, sizeof(out->what) - n,
		 " (only after other seeds: the program keeps state from run to run)");
}

int search_run(const rln_sim_config *cfg, uint64_t runs, unsigned seconds, struct batch *b,
	       rln_sim_result *out)
{
	struct shared *sh = search_shared();
	uint64_t left = runs ? runs : UINT64_MAX;
	int e = 0;

	if (!sh)
		return -ENOMEM;
	b->cfg = *cfg;
	b->twice = true;
	b->leaks_every = LEAKS_EVERY;
	b->deadline = seconds ? search_clock() + (int64_t)seconds * 1000000000 : 0;
	while (!e && left && (!b->deadline || search_clock() < b->deadline)) {
		b->count = left < BATCH ? left : BATCH;
		e = search_batch(sh, b);
		b->cfg.seed += b->count;
		left -= b->count;
	}
	if (e == 1 && sh->result.reason == RLN_SIM_LEAK) {
		struct batch of = *b;

		of.cfg.seed -= b->count;
		find_leak(sh, &of);
	}
	*out = sh->result;
	out->runs = sh->runs + (e == 1);
	out->completions = sh->completions + (e == 1 ? sh->result.completions : 0);
	out->faults = sh->faults + (e == 1 ? sh->result.faults : 0);
	if (e == 1) {
		confirm(sh, cfg, out);
		shrink(sh, cfg, out);
	}
	search_shared_free(sh);
	return e;
}

int rln_sim_search(const rln_sim_config *cfg, uint64_t runs, unsigned seconds, rln_sim_result *out)
{
	struct batch b = { 0 };

	if (!cfg || !out || !sim_valid(cfg) || (!runs && !seconds))
		return -EINVAL;
	return sim_here() ? -EBUSY : search_run(cfg, runs, seconds, &b, out);
}
