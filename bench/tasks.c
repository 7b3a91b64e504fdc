/*
 * What tasks cost, in nanoseconds: the median of short runs and their spread, all in one task of
 * one worker unless said otherwise. bench/peers/tasks.go does the same in Go; bench/tasks.py shows
 * both. usage: tasks [--json] [RUNS]
 */
#include <errno.h>
#include <pthread.h>
#include <ringline.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { RUNS_MAX = 1000, GROUP = 100, CAP = 128, MANY_TIMERS = 1000000 };

static double now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec * 1e9 + (double)ts.tv_nsec;
}

static void must(int e, const char *what)
{
	if (e >= 0)
		return;
	fprintf(stderr, "tasks: %s: %s\n", what, rln_strerror(e));
	exit(2);
}

static int nothing(void *arg)
{
	(void)arg;
	return 0;
}

/* ---- one measurement each: n operations */

static int yielder(void *arg)
{
	for (unsigned n = *(unsigned *)arg; n; n--)
		must(rln_yield(), "yield");
	return 0;
}

/* Two tasks: every yield is a switch to the other one. */
static void do_yield(unsigned n)
{
	rln_task other;

	must(rln_spawn(yielder, &n, NULL, &other), "spawn");
	yielder(&n);
	must(rln_join(other, NULL), "join");
}

static void do_spawn_join(unsigned n)
{
	rln_task t;

	for (; n; n--) {
		must(rln_spawn(nothing, NULL, NULL, &t), "spawn");
		must(rln_join(t, NULL), "join");
	}
}

static void do_group(unsigned n)
{
	for (; n >= GROUP; n -= GROUP) {
		RLN_GROUP(g);
		for (unsigned i = 0; i < GROUP; i++)
			must(rln_group_spawn(&g, nothing, NULL), "group spawn");
		must(rln_group_wait(&g), "group wait");
	}
}

struct flow {
	rln_chan ch;
	unsigned n;
};

static int producer(void *arg)
{
	struct flow *f = arg;

	for (unsigned i = 0; i < f->n; i++)
		must(rln_chan_send(&f->ch, &i), "send");
	return 0;
}

static void flow(unsigned n, size_t cap)
{
	struct flow f = { .n = n };
	unsigned item;
	rln_task t;

	must(rln_chan_open(&f.ch, sizeof item, cap), "channel");
	must(rln_spawn(producer, &f, NULL, &t), "spawn");
	for (; n; n--)
		must(rln_chan_recv(&f.ch, &item), "recv");
	must(rln_join(t, NULL), "join");
	rln_chan_free(&f.ch, NULL);
}

static void do_chan(unsigned n)
{
	flow(n, CAP);
}

static void do_rendezvous(unsigned n)
{
	flow(n, 0);
}

static void do_scope(unsigned n)
{
	for (; n; n--) {
		rln_scope s;
		rln_scope_begin(&s, RLN_SEC(10));
		must(rln_scope_end(&s), "scope");
	}
}

/* Of four channels the last has something; it is filled again each time. */
static void do_select(unsigned n)
{
	rln_chan ch[4];
	unsigned item = 0;

	for (int i = 0; i < 4; i++)
		must(rln_chan_open(&ch[i], sizeof item, 1), "channel");
	for (; n; n--) {
		must(rln_chan_try_send(&ch[3], &item), "send");
		rln_arm arms[] = { rln_on_recv(&ch[0], &item), rln_on_recv(&ch[1], &item),
				   rln_on_recv(&ch[2], &item), rln_on_recv(&ch[3], &item) };
		must(rln_select(arms, 4), "select");
	}
	for (int i = 0; i < 4; i++)
		rln_chan_free(&ch[i], NULL);
}

static void do_mutex(unsigned n)
{
	rln_mutex m = { { 0 } };

	for (; n; n--) {
		must(rln_lock(&m), "lock");
		rln_unlock(&m);
	}
}

/* Beside a million that are armed and far away. */
static void expire(rln_timer *t, void *ud)
{
	(void)t;
	(void)ud;
}

static void do_timer(unsigned n)
{
	static rln_timer *many, one;
	rln_ns dur = RLN_MS(1);

	if (!many) {
		many = calloc(MANY_TIMERS, sizeof *many);
		must(many ? 0 : -ENOMEM, "timers");
		for (unsigned i = 0; i < MANY_TIMERS; i++)
			rln_timer_start(&many[i], RLN_SEC(3600 + i), expire, NULL);
	}
	for (; n; n--) {
		rln_timer_start(&one, dur, expire, NULL);
		rln_timer_stop(&one);
		dur = dur < RLN_SEC(100) ? dur * 3 : RLN_MS(1);
	}
}

/* ---- by another thread on another processor, while this worker does not sleep */
static cpu_set_t cpus; /* where the program may run: a thread of the worker's is bound like it */

static pthread_t start_elsewhere(void *(*fn)(void *arg))
{
	pthread_attr_t attr;
	pthread_t id;
	cpu_set_t others = cpus;

	CPU_CLR((size_t)sched_getcpu(), &others);
	if (CPU_COUNT(&others) == 0)
		others = cpus;
	must(-pthread_attr_init(&attr), "thread");
	must(-pthread_attr_setaffinity_np(&attr, sizeof others, &others), "thread");
	must(-pthread_create(&id, &attr, fn, NULL), "thread");
	pthread_attr_destroy(&attr);
	return id;
}

static struct {
	rln_runtime *rt;
	unsigned n;
	double ns;
	atomic_uint arrived;
	atomic_bool ended;
} posts;

static void arrive(void *arg)
{
	(void)arg;
	atomic_fetch_add_explicit(&posts.arrived, 1, memory_order_relaxed);
}

static void *poster(void *arg)
{
	(void)arg;
	double begin = now_ns();
	for (unsigned i = 0; i < posts.n; i++)
		while (rln_post(posts.rt, 0, arrive, NULL) < 0)
			; /* more under way than may be */
	posts.ns = now_ns() - begin;
	atomic_store(&posts.ended, true);
	return NULL;
}

static void do_post(unsigned n)
{
	posts.n = n;
	atomic_store(&posts.arrived, 0);
	atomic_store(&posts.ended, false);
	pthread_t id = start_elsewhere(poster);
	while (!atomic_load(&posts.ended) || atomic_load(&posts.arrived) < n)
		must(rln_yield(), "yield");
	pthread_join(id, NULL);
}

static rln_xchan *wire;

static void *sender(void *arg)
{
	for (unsigned i = 0; i < posts.n; i++)
		while (rln_xchan_try_send(wire, &i) < 0)
			; /* full */
	return arg;
}

static void do_xchan(unsigned n)
{
	unsigned item;

	must(rln_xchan_new(NULL, 0, sizeof item, 1 << 16, &wire), "channel");
	posts.n = n;
	pthread_t id = start_elsewhere(sender);
	for (; n; n--)
		must(rln_xchan_recv(wire, &item), "recv");
	pthread_join(id, NULL);
	rln_xchan_unref(wire);
}

/* ---- all of them */
static const struct bench {
	const char *name;
	void (*run)(unsigned n);
	unsigned n, count; /* operations a run; each of them counts this often */
} benches[] = {
	{ "yield", do_yield, 200000, 2 },
	{ "spawn+join", do_spawn_join, 50000, 1 },
	{ "spawn 100, wait for all", do_group, 50000, 1 },
	{ "channel of 128: send+recv", do_chan, 200000, 1 },
	{ "channel of 0: send+recv", do_rendezvous, 100000, 1 },
	{ "select over 4, the last ready", do_select, 100000, 1 },
	{ "scope begin+end", do_scope, 500000, 1 },
	{ "lock+unlock", do_mutex, 500000, 1 },
	{ "post from a thread, awake", do_post, 100000, 1 },
	{ "xchan from a thread: send+recv", do_xchan, 200000, 1 },
	{ "timer start+stop, a million armed", do_timer, 500000, 1 },
};

static unsigned runs = 31;
static bool json;

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

/* Of the runs: the middle one, and those a tenth from either end. */
struct figure {
	double low, median, high;
};

static struct figure measure(const struct bench *b)
{
	static double ns[RUNS_MAX];

	b->run(b->n / 10); /* stacks, caches */
	for (unsigned i = 0; i < runs; i++) {
		double begin = now_ns();
		b->run(b->n);
		ns[i] = (b->run == do_post ? posts.ns : now_ns() - begin) / b->n / b->count;
	}
	qsort(ns, runs, sizeof ns[0], by_value);
	return (struct figure){ ns[runs / 10], ns[runs / 2], ns[runs - 1 - runs / 10] };
}

static int all(void *arg)
{
	const char *between = "{";

	(void)arg;
	for (size_t i = 0; i < sizeof benches / sizeof *benches; i++) {
		struct figure f = measure(&benches[i]);
		if (json)
			printf("%s\"%s\": %.2f", between, benches[i].name, f.median);
		else
			printf("%-34s %8.1f ns   %.1f..%.1f\n", benches[i].name, f.median, f.low,
			       f.high);
		between = ", ";
	}
	if (json)
		puts("}");
	return 0;
}

/* The runtime's handle, for the thread that posts. */
static int run(void)
{
	rln_config c = { .workers = 1, .main = all };

	must(sched_getaffinity(0, sizeof cpus, &cpus) ? -errno : 0, "affinity");
	must(rln_start(&c, &posts.rt), "start");
	return rln_wait(posts.rt);
}

int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--json") == 0)
			json = true;
		else
			runs = (unsigned)strtoul(argv[i], NULL, 10);
	}
	if (runs < 1 || runs > RUNS_MAX) {
		fprintf(stderr, "usage: tasks [--json] [RUNS]\n");
		return 2;
	}
	return run();
}
