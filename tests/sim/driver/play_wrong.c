/*
 * Mistakes on purpose of the driver's own programs, for tests of the driver: one that only the
 * property it is named after can tell. Those that need no task of their own stand where they
 * happen.
 */
#include "play.h"
#include "ringline/sync.h"
#include <time.h>

static int wait_for_nobody(void *arg)
{
	rln_chan ch = { 0 };
	int item;

	(void)arg;
	if (rln_chan_open(&ch, sizeof item, 0) == 0)
		(void)rln_chan_recv(&ch, &item);
	rln_chan_free(&ch, NULL);
	play.tasks_ended++;
	return 0;
}

static int never_end(void *arg)
{
	(void)arg;
	while (rln_yield() == 0)
		;
	play.tasks_ended++;
	return 0;
}

static void fire_again(rln_timer *t, void *ud)
{
	if (!play.shut)
		rln_timer_start(t, 0, fire_again, ud);
}

static int spin(void *arg)
{
	static rln_timer t;

	(void)arg;
	memset(&t, 0, sizeof t);
	rln_timer_start(&t, 0, fire_again, NULL);
	play.tasks_ended++;
	return 0;
}

static int leak(void *arg)
{
	(void)arg;
	(void)sys_alloc(1);
	play.tasks_ended++;
	return 0;
}

static void look_at_real_time(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	for (long n = ts.tv_nsec % 64; n; n--)
		(void)play_rand(2);
}

void wrong_start(unsigned worker)
{
	static int (*const tasks[PROP_COUNT])(void *arg) = { [PROP_P4] = leak,
							     [PROP_P5] = wait_for_nobody,
							     [PROP_P6] = never_end,
							     [PROP_P7] = spin };
	enum world_prop p = (enum world_prop)(play.tweak->wrong - 1);

	if (p == PROP_P1)
		play.rig.pieces++;
	if (p == PROP_P13)
		look_at_real_time();
	if (!tasks[p])
		return;
	play.tasks++;
	rig_go(&play.rig, worker, tasks[p], NULL);
}

bool wrong(enum world_prop p)
{
	return play.tweak->wrong == p + 1u;
}
