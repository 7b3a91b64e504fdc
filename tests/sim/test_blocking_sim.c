/*
 * Calls on helper threads in the simulator, where a job runs at a time the seed chooses: tasks that
 * wait, give up, and end; a drain in the middle. Every argument is freed once, a function that was
 * never begun leaves no trace, and what comes after its task has gone touches nothing.
 */
#include "ringline/thread.h"
#include "runtime_rig.h"

enum { TASKS = 12 };

static struct world *world;
static unsigned given, freed, ran, results, losses;

static int work(void *arg)
{
	ran++;
	return *(int *)arg;
}

static void free_arg(void *arg)
{
	freed++;
	sys_free(arg);
}

static rln_ns patience(void)
{
	return world_rand(world, 3) ? RLN_SEC(1000) : (rln_ns)world_rand(world, RLN_MS(3));
}

static void plain_call(void)
{
	int v = (int)world_rand(world, 1000);
	int e = RLN_WITHIN(patience(), rln_blocking(work, &v));

	if (e == v)
		results++;
	else if (e == -ETIME || e == -ECANCELED)
		losses++;
	else
		world_fail(world, "rln_blocking: %d, not %d", e, v);
}

static void owned_call(void)
{
	int *p = sys_alloc(sizeof *p), v = (int)world_rand(world, 1000);

	*p = v;
	rln_scope s;
	rln_scope_begin(&s, patience());
	bool entered = !rln_cancelled();
	given += entered;
	int e = entered ? rln_blocking_owned(work, p, free_arg) : -ECANCELED;
	int caught = rln_scope_end(&s);
	if (!entered)
		sys_free(p);
	if (e == v)
		results++;
	else if (e != -ETIME && e != -ECANCELED)
		world_fail(world, "rln_blocking_owned: %d, not %d", e, v);
	if (entered && e == v && caught)
		world_fail(world, "a call that succeeded was blamed: %d", caught);
}

static int caller(void *arg)
{
	unsigned n = 1 + (unsigned)world_rand(world, 6);

	(void)arg;
	while (n-- && !rln_cancelled()) {
		if (world_rand(world, 2))
			plain_call();
		else
			owned_call();
	}
	return 0;
}

static void run_seed(uint64_t seed)
{
	struct world *w = world = world_new(seed, NULL);
	struct rig r;
	rln_config c = { .stacks_prewarm = 1 };

	seed_set(seed);
	world_enter(w);
	given = freed = 0;
	rig_sizes(w, &c);
	c.drain_timeout = (rln_ns)world_rand(w, RLN_MS(50));
	rig_init(&r, w, &c);
	rig_open(&r);
	for (int i = 0; i < TASKS; i++)
		rig_go(&r, 0, caller, NULL);
	for (unsigned n = (unsigned)world_rand(w, 200); n; n--)
		rig_turn(&r, 0, world_now(w) + RLN_MS(1));
	rig_stop(&r);
	rig_check_quiet(w);
	if (given != freed)
		world_fail(w, "%u arguments given, %u freed", given, freed);
	world_enter(NULL);
	world_free(w);
}

TEST(blocking_sim_every_argument_is_freed_once_at_any_time)
{
	uint64_t first = seed_first(), n = seed_count(1500);

	for (uint64_t seed = first; seed < first + n; seed++)
		run_seed(seed);
	printf("  %llu seeds, %u results, %u losses, %u ran\n", (unsigned long long)n, results,
	       losses, ran);
	CHECK_INT(results, >, 0);
	CHECK_INT(losses, >, 0);
}
