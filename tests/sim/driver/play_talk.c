/*
 * What workers tell each other while their connections live: messages that must arrive once and in
 * order, tasks started far away; and sleepers and timers, which must wake in time.
 */
#include "play.h"
#include "ringline/time.h"

/* ---- messages */
struct note {
	unsigned from, to, seq, hops;
};

static void note_run(void *arg);

static unsigned some_other(void)
{
	unsigned n = (unsigned)play_rand(play.workers - 1);

	return n + (n >= rln_worker());
}

static void note_send(unsigned hops)
{
	unsigned to = some_other(), from = rln_worker();
	struct lane *l = &play.lane[from][to];
	struct note *n = malloc(sizeof *n);

	*n = (struct note){ from, to, l->posted, hops };
	int e = rln_post(NULL, to, note_run, n);
	if (e == 0) {
		l->posted++;
		return;
	}
	if ((e != -ESHUTDOWN || !play.shut) && (e != -ENOMEM || !play.scarce))
		world_violates(play.w, PROP_P1, "rln_post: %d", e);
	free(n);
}

static void note_run(void *arg)
{
	struct note n = *(struct note *)arg;

	free(arg);
	if (rln_worker() != n.to)
		world_violates(play.w, PROP_P1, "a message for worker %u ran on %u", n.to,
			       rln_worker());
	if (n.seq != play.lane[n.from][n.to].run++)
		world_violates(play.w, PROP_P12, "message %u ran as number %u", n.seq,
			       play.lane[n.from][n.to].run - 1);
	if (n.hops)
		note_send(n.hops - 1);
}

static int visitor(void *arg)
{
	const unsigned *home = arg;

	play.go_run++;
	if (*home == rln_worker())
		world_violates(play.w, PROP_P1, "rln_go_on stayed at home");
	if (play.seen[*home].h && rln_close(play.seen[*home]) != -EXDEV)
		world_violates(play.w, PROP_P1, "a handle of another worker closes");
	(void)rln_sleep((rln_ns)play_rand(100000));
	note_send((unsigned)play_rand(3));
	return 0;
}

static void visit(void)
{
	unsigned me = rln_worker();
	const rln_task_opts o = { .copy = &me, .copy_size = sizeof me };
	int e = rln_go_on(NULL, some_other(), visitor, NULL, &o);

	if (e && (e != -ESHUTDOWN || !play.shut) && (e != -ENOMEM || !play.scarce))
		world_violates(play.w, PROP_P1, "rln_go_on: %d", e);
	play.go_asked += !e;
}

/* ---- time */
static void alarm_fired(rln_timer *t, void *ud);

static int64_t loop_now(void)
{
	return play.rig.worker[rln_worker()].loop.now_ns;
}

static void check_not_early(int64_t due)
{
	if (world_now(play.w) < due)
		world_violates(play.w, PROP_P11, "a timer fired %lld ns early",
			       (long long)(due - world_now(play.w)));
}

/* The turn before this one must have begun before it was due. The wheel's tick is a millisecond. */
static void check_not_late(int64_t due)
{
	int64_t before = play.began[rln_worker()][1];

	if (before > due + 1000000)
		world_violates(play.w, PROP_P9, "a timer fired a turn late: %lld ns",
			       (long long)(before - due));
}

/* It counts from now, or from when the clock is read next: in the next turn at the latest. */
static void alarm_set(struct alarm *a, rln_ns d)
{
	a->armed = true;
	a->dur = d + (wrong(PROP_P11) ? RLN_MS(5) : 0);
	a->set_ns = world_now(play.w);
	a->counts_ns = INT64_MAX;
	play.timers++;
	rln_timer_start(&a->t, d, alarm_fired, a);
}

static void alarm_fired(rln_timer *t, void *ud)
{
	struct alarm *a = ud;

	if (!a->armed)
		world_violates(play.w, PROP_P11, "a timer fired twice");
	(void)t;
	a->armed = false;
	check_not_early(a->set_ns + a->dur);
	if (a->counts_ns == INT64_MAX)
		world_violates(play.w, PROP_P11, "a timer fired in the turn that started it");
	check_not_late(a->counts_ns + a->dur);
	play.timers_fired++;
	if (!a->again || play.shut)
		return;
	a->again--;
	alarm_set(a, (rln_ns)play_rand(5000000));
}

static void alarm_start(void)
{
	struct alarm *a = &play.alarm[rln_worker()];
	rln_ns d = (rln_ns)play_rand(20000000);

	a->again = (unsigned)play_rand(3);
	alarm_set(a, d);
}

/* A task of each worker that only talks and sleeps. */
static int chat(void *arg)
{
	unsigned n = (unsigned)play_rand(6);

	(void)arg;
	if (play_chance(2))
		alarm_start();
	while (n--) {
		rln_ns d = (rln_ns)play_rand(3000000);
		int64_t due = loop_now() + d;

		if (rln_sleep(d) < 0)
			break;
		check_not_early(due);
		check_not_late(due);
		if (play.workers < 2)
			continue;
		if (play_rand(3))
			note_send((unsigned)play_rand(4));
		else
			visit();
	}
	play.tasks_ended++;
	return 0;
}

void talk_start(unsigned worker)
{
	play.tasks++;
	rig_go(&play.rig, worker, chat, NULL);
}

bool talk_over(void)
{
	for (unsigned i = 0; i < play.workers; i++)
		for (unsigned j = 0; j < play.workers; j++)
			if (play.lane[i][j].run != play.lane[i][j].posted)
				return false;
	/* rln_go_on() has no way to say that its task found no memory over there */
	return (play.scarce || play.go_run == play.go_asked) && play.timers == play.timers_fired;
}
