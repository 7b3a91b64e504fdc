/*
 * What crosses workers besides messages: channels, results, notifications, signals of the process,
 * calls on helper threads. Nothing is lost or comes twice, and who waits is woken.
 */
#include "play.h"
#include "ringline/signal.h"
#include "ringline/sync.h"
#include "ringline/thread.h"
#include <signal.h>

#define SENDERS 3
#define JOBS 4

struct item {
	unsigned sender, seq;
};

struct job {
	unsigned ran, freed;
};

/* One meeting a run, at most; its host is a task of one worker. */
static struct {
	unsigned home;
	rln_xchan *x; /* one reference is ours: senders may be cut off at any time */
	unsigned sent[SENDERS], got[SENDERS], senders, left;
	rln_oneshot result;
	intptr_t value;
	bool abandons;
	rln_notify news, once;
	unsigned signals;
	bool news_over;
	unsigned waiters, waiting, heard;
	struct job job[JOBS];
} across;

static rln_ns a_while(void)
{
	return (rln_ns)play_rand(1u << (8 + play_rand(15)));
}

/* Errors of whoever is stopped; anything else is a violation. */
static void must_stop(int e, const char *call)
{
	if ((e != -ECANCELED && e != -ESHUTDOWN) || (play.strict && !play.shut))
		world_violates(play.w, PROP_P1, "%s: %d", call, e);
}

/* One that comes to a worker which is stopping never begins. */
static bool go_to(unsigned worker, int (*fn)(void *), void *arg)
{
	if (worker == rln_worker())
		return rln_go(fn, arg, NULL) == 0;
	return rln_go_on(NULL, worker, fn, arg, NULL) == 0;
}

static void begun(void)
{
	play.tasks++;
}

static int ended(void)
{
	play.tasks_ended++;
	return 0;
}

/* ---- a channel: what was sent is received, of each sender in its order */
static int sender(void *arg)
{
	unsigned me = (unsigned)(uintptr_t)arg, n = 1 + (unsigned)play_rand(6);
	rln_xchan *x = rln_xchan_ref(across.x);

	begun();
	while (n) {
		struct item i = { me, across.sent[me] };
		int e = rln_xchan_try_send(x, &i);

		if (e && e != -EAGAIN && e != -EPIPE)
			world_violates(play.w, PROP_P1, "rln_xchan_try_send: %d", e);
		if (e == -EPIPE)
			break;
		across.sent[me] += e == 0;
		n -= e == 0;
		if ((e || play_chance(3)) && rln_sleep(a_while()) < 0)
			break;
	}
	if (--across.left == 0)
		rln_xchan_close(x);
	rln_xchan_unref(x);
	return ended();
}

/* 1 with an item, 0 at the end; -ETIME: none yet. */
static int next_item(struct item *i)
{
	const struct item none = { UINT_MAX, 0 };
	int e, which = 0;

	*i = none;
	if (play_chance(2)) {
		e = RLN_WITHIN(play_chance(2) ? RLN_FOREVER : a_while(),
			       rln_xchan_recv(across.x, i));
	} else {
		rln_arm arm[2] = { rln_on_xrecv(across.x, i), rln_on_after(a_while()) };
		which = rln_select(arm, 2);
		e = which < 0 ? which : which ? -ETIME : arm[0].res;
	}
	if ((e == 1) != (i->sender != UINT_MAX))
		world_violates(play.w, PROP_P1, "a receive that gave %d and %s an item", e,
			       e == 1 ? "no" : "took");
	return e == -ETIME && rln_cancelled() ? -ECANCELED : e;
}

static void receive_all(void)
{
	struct item i;
	int e;

	while ((e = next_item(&i)) == 1 || e == -ETIME) {
		if (e == 1 && i.seq != across.got[i.sender]++)
			world_violates(play.w, PROP_P12, "item %u of a sender came as number %u",
				       i.seq, across.got[i.sender] - 1);
		if (!play.strict && play_chance(30))
			rln_xchan_close(across.x);
	}
	if (e < 0)
		must_stop(e, "rln_xchan_recv");
	for (unsigned s = 0; e == 0 && s < SENDERS; s++)
		if (across.sent[s] != across.got[s])
			world_violates(play.w, PROP_P1, "%u items sent, %u received",
				       across.sent[s], across.got[s]);
}

static void channel(void)
{
	if (rln_xchan_new(NULL, rln_worker(), sizeof(struct item), 1 + play_rand(4), &across.x))
		world_violates(play.w, PROP_P1, "no channel");
	across.left = 1 + (unsigned)play_rand(SENDERS);
	for (unsigned i = 0, n = across.left; i < n; i++)
		across.left -=
			!go_to((unsigned)play_rand(play.workers), sender, (void *)(uintptr_t)i);
	if (!across.left)
		rln_xchan_close(across.x);
	receive_all();
}

/* ---- a result */
static int setter(void *arg)
{
	(void)arg;
	begun();
	(void)rln_sleep(a_while());
	if (across.abandons)
		rln_oneshot_abandon(&across.result);
	else if (rln_oneshot_set(&across.result, across.value))
		world_violates(play.w, PROP_P1, "a result that is set already");
	return ended();
}

static void result(void)
{
	intptr_t v = 0;
	int e;

	across.value = 1 + (intptr_t)play_rand(1000);
	across.abandons = play_chance(4);
	if (!go_to((unsigned)play_rand(play.workers), setter, NULL))
		return;
	do
		e = RLN_WITHIN(a_while(), rln_oneshot_wait(&across.result, &v));
	while (e == -ETIME && !rln_cancelled());
	if (rln_cancelled())
		return;
	if (across.abandons ? e != -EPIPE : e || v != across.value)
		world_violates(play.w, PROP_P1, "a result of %d: %ld", e, (long)v);
	if (rln_oneshot_wait(&across.result, NULL) != e && !rln_cancelled())
		world_violates(play.w, PROP_P1, "a result is there once only");
}

/* ---- notifications: none may be needed twice */
static int notifier(void *arg)
{
	unsigned n = 1 + (unsigned)play_rand(4);

	(void)arg;
	begun();
	while (n-- && rln_sleep(a_while()) == 0) {
		across.signals++;
		rln_notify_signal(&across.news);
	}
	across.news_over = true;
	rln_notify_signal(&across.news);
	return ended();
}

static void news(void)
{
	unsigned taken = 0;
	int e = 0;

	rln_notify_init(&across.news);
	if (!go_to((unsigned)play_rand(play.workers), notifier, NULL))
		across.news_over = true;
	while (!across.news_over && (e = rln_notify_wait(&across.news)) == 0) {
		taken++;
		if (play_chance(2)) /* and what comes now is kept */
			e = rln_sleep(a_while());
		if (e < 0)
			break;
	}
	if (e < 0) {
		must_stop(e, "rln_notify_wait");
		return; /* somebody may still signal */
	}
	if (taken > across.signals + 1)
		world_violates(play.w, PROP_P1, "%u signals taken of %u", taken,
			       across.signals + 1);
	rln_notify_fini(&across.news);
}

/* One signal, and whoever waits for it may be late. */
static int one_signal(void *arg)
{
	(void)arg;
	begun();
	(void)rln_sleep(a_while());
	rln_notify_signal(&across.once);
	return ended();
}

static void late_news(void)
{
	int e;

	rln_notify_init(&across.once);
	if (!go_to((unsigned)play_rand(play.workers), one_signal, NULL))
		return;
	e = rln_sleep(a_while());
	e = e ? e : rln_notify_wait(&across.once);
	if (e)
		must_stop(e, "rln_notify_wait");
	else
		rln_notify_fini(&across.once);
}

/* ---- signals of the process: one ends the waits of all */
static int signal_waiter(void *arg)
{
	int e;

	(void)arg;
	begun();
	across.waiting++;
	if (play_chance(2)) {
		e = rln_signal_wait(SIGUSR1);
	} else {
		rln_arm arm = rln_on_signal(SIGUSR1);
		e = rln_select(&arm, 1);
		e = e < 0 ? e : arm.res;
	}
	if (e)
		must_stop(e, "rln_signal_wait");
	across.heard += e == 0;
	return ended();
}

static void signals(void)
{
	unsigned n = 1 + (unsigned)play_rand(3);

	for (unsigned i = 0; i < n; i++)
		across.waiters += go_to((unsigned)play_rand(play.workers), signal_waiter, NULL);
	while (across.waiting < across.waiters)
		if (rln_sleep(RLN_MS(1)) < 0)
			return;
	if (across.waiters && !world_signal(play.w, SIGUSR1) && !play.shut)
		world_violates(play.w, PROP_P5, "tasks wait for a signal nobody watches");
}

/* ---- helper threads */
static int job_run(void *arg)
{
	struct job *j = arg;

	return (int)++j->ran + 100;
}

static void job_free(void *arg)
{
	struct job *j = arg;

	j->freed++;
}

static void jobs(void)
{
	for (unsigned i = 0; i < JOBS && !rln_cancelled(); i++) {
		struct job *j = &across.job[i];
		bool owned = play_chance(2);
		rln_ns patience = play_chance(2) ? RLN_FOREVER : a_while();
		int e = RLN_WITHIN(patience, owned ? rln_blocking_owned(job_run, j, job_free)
						   : rln_blocking(job_run, j));

		j->freed += !owned && j->ran;
		if (e > 0 && (e != 101 || j->ran != 1))
			world_violates(play.w, PROP_P1, "a call that gave %d ran %u times", e,
				       j->ran);
		if (e < 0 && !owned && j->ran)
			world_violates(play.w, PROP_P1, "a call that ran gave %d", e);
		if (e < 0 && e != -ETIME)
			must_stop(e, "rln_blocking");
	}
}

/* ---- time: whichever of two is due first, and neither is early */
static void naps(void)
{
	for (unsigned i = 0; i < 4; i++) {
		rln_ns most = a_while(), nap = a_while();
		int64_t began = world_now(play.w);
		int e = RLN_WITHIN(most, rln_sleep(nap));

		if (rln_cancelled())
			return;
		if (e && e != -ETIME)
			world_violates(play.w, PROP_P11, "a sleep under a deadline: %d", e);
		if (world_now(play.w) < began + (e ? most : nap))
			world_violates(play.w, PROP_P11,
				       "%lld ns of a sleep, %lld of a deadline: %d", (long long)nap,
				       (long long)most, e);
	}
}

/* ---- the meeting */
static int host(void *arg)
{
	static void (*const what[])(
		void) = { channel, result, news, late_news, signals, jobs, naps };
	unsigned first = (unsigned)play_rand(7), n = 1 + (unsigned)play_rand(3);

	(void)arg;
	for (unsigned i = 0; i < n && !rln_cancelled(); i++)
		what[(first + i) % 7]();
	return ended();
}

void across_new(void)
{
	memset(&across, 0, sizeof across);
}

void across_start(unsigned worker)
{
	play.tasks++;
	rig_go(&play.rig, worker, host, NULL);
}

void across_check(void)
{
	rln_xchan_unref(across.x);
	for (unsigned i = 0; i < JOBS; i++)
		if (across.job[i].ran > 1 || across.job[i].freed != across.job[i].ran)
			world_violates(play.w, PROP_P1, "a call ran %u times, its memory freed %u",
				       across.job[i].ran, across.job[i].freed);
	if (across.heard > across.waiters)
		world_violates(play.w, PROP_P1, "a signal was heard twice");
}
