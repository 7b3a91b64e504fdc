/* The load generator's main thread: sets up, moves the phases, shows progress, collects. */
#include "load.h"
#include "cli.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { TICK_MS = 50, CONNECT_MS = 20000, GRACE_MS = 2000, HARD_MS = 10000, WARM_LEAST_MS = 200 };

static int count_worker(unsigned worker, void *arg, void **state)
{
	struct load *l = arg;

	(void)worker;
	(void)state;
	atomic_fetch_add(&l->workers, 1);
	return 0;
}

static int alloc_conns(struct load *l)
{
	const struct load_options *o = l->o;

	l->conns = calloc(o->connections, sizeof *l->conns);
	if (!l->conns)
		return -ENOMEM;
	for (uint64_t i = 0; i < o->connections; i++) {
		struct load_conn *b = &l->conns[i];

		b->number = i;
		b->stamp = calloc(o->pipeline, sizeof *b->stamp);
		if (!b->stamp)
			return -ENOMEM;
	}
	return 0;
}

static int alloc_workers(struct load *l)
{
	unsigned n = atomic_load(&l->workers);
	uint64_t each = l->o->connections / n + 1;

	l->worker = aligned_alloc(64, n * sizeof *l->worker);
	if (!l->worker)
		return -ENOMEM;
	memset(l->worker, 0, n * sizeof *l->worker);
	for (unsigned i = 0; i < n; i++) {
		struct load_worker *w = &l->worker[i];

		w->load = l;
		w->conn = calloc(each, sizeof(struct load_conn *));
		w->scratch = malloc(work_scratch(&l->work));
		if (!w->conn || !w->scratch)
			return -ENOMEM;
		hist_clear(&w->latency);
		hist_clear(&w->lag);
	}
	for (uint64_t i = 0; i < l->o->connections; i++) {
		struct load_worker *w = &l->worker[i % n];

		l->conns[i].worker = w;
		w->conn[w->conns++] = &l->conns[i];
	}
	return 0;
}

static void free_all(struct load *l)
{
	for (unsigned i = 0; l->worker && i < atomic_load(&l->workers); i++) {
		free(l->worker[i].conn);
		free(l->worker[i].scratch);
	}
	for (uint64_t i = 0; l->conns && i < l->o->connections; i++)
		free(l->conns[i].stamp);
	free(l->worker);
	free(l->conns);
	work_fini(&l->work);
}

/* The tasks, on their workers. What could not be started counts as a connection that failed. */
static int start_tasks(struct load *l, rln_runtime *rt)
{
	unsigned n = atomic_load(&l->workers);
	const rln_task_opts opts = { .name = "connection", .stack_size = 64 * 1024 };
	int err = 0;

	for (uint64_t i = 0; i < l->o->connections && err == 0; i++) {
		atomic_fetch_add(&l->live, 1);
		err = rln_go_on(rt, (unsigned)(i % n), load_conn_task, &l->conns[i], &opts);
		if (err < 0)
			atomic_fetch_sub(&l->live, 1);
	}
	return err;
}

static uint64_t sum_total(const struct load *l, uint64_t *errors)
{
	uint64_t total = 0;

	*errors = 0;
	for (unsigned i = 0; i < atomic_load(&l->workers); i++) {
		total += atomic_load_explicit(&l->worker[i].total, memory_order_relaxed);
		*errors += atomic_load_explicit(&l->worker[i].errors, memory_order_relaxed);
	}
	return total;
}

struct progress {
	int64_t began, shown;
	uint64_t total;
};

static void show(const struct load *l, struct progress *p, const char *what)
{
	int64_t now = cli_now();
	uint64_t errors, total;

	if (!l->o->label || now - p->shown < 200 * 1000000)
		return;
	total = sum_total(l, &errors);
	fprintf(stderr, "\r\033[K%s %-8s %5.1f s %10.0f requests/s", l->o->label, what,
		(double)(now - p->began) * 1e-9,
		(double)(total - p->total) * 1e9 / (double)(now - p->shown));
	if (errors > 0)
		fprintf(stderr, "  %ju errors", (uintmax_t)errors);
	fflush(stderr);
	p->shown = now;
	p->total = total;
}

/* Wait until the time has come, or no task is left. */
static void hold(const struct load *l, struct progress *p, int64_t until, const char *what)
{
	for (int64_t now = cli_now(); now < until && atomic_load(&l->live) > 0; now = cli_now()) {
		int64_t left = (until - now + 999999) / 1000000;

		cli_sleep_ms(left < TICK_MS ? (unsigned)left : TICK_MS);
		show(l, p, what);
	}
}

static void wait_connected(const struct load *l, struct progress *p)
{
	int64_t limit = cli_now() + (int64_t)CONNECT_MS * 1000000;

	while (atomic_load(&l->ready) < l->o->connections && cli_now() < limit &&
	       atomic_load(&l->live) > 0) {
		cli_sleep_ms(1);
		show(l, p, "connect");
	}
}

/* Answers under way may come; what does not is cut off. */
static void stop_tasks(struct load *l, rln_runtime *rt)
{
	int64_t now = cli_now(), soft = now + (int64_t)GRACE_MS * 1000000;
	int64_t hard = now + (int64_t)HARD_MS * 1000000;

	atomic_store(&l->phase, LOAD_STOP);
	while (atomic_load(&l->live) > 0 && now < hard) {
		for (unsigned i = 0; i < atomic_load(&l->workers); i++)
			(void)!rln_post(rt, i, now < soft ? load_stop_idle : load_stop_hard,
					&l->worker[i]);
		cli_sleep_ms(now < soft ? 2 : 20);
		now = cli_now();
	}
}

static void measure(struct load *l, rln_runtime *rt, struct load_result *r)
{
	double warm = l->o->seconds * 0.1;
	struct progress p = { .began = cli_now(), .shown = cli_now() };
	int64_t begin, end;

	if (warm < WARM_LEAST_MS * 1e-3)
		warm = WARM_LEAST_MS * 1e-3;
	wait_connected(l, &p);
	begin = cli_now() + (int64_t)(warm * 1e9);
	end = begin + (int64_t)(l->o->seconds * 1e9);
	atomic_store(&l->begin, begin);
	atomic_store(&l->end, end);
	atomic_store(&l->epoch, cli_now());
	atomic_store(&l->phase, LOAD_WARM);
	for (unsigned i = 0; i < atomic_load(&l->workers) && l->o->rate > 0; i++)
		(void)!rln_post(rt, i, load_pace, &l->worker[i]);
	hold(l, &p, begin, "warm-up");
	begin = cli_now();
	atomic_store(&l->phase, LOAD_MEASURE);
	hold(l, &p, end, "");
	r->seconds = (double)(cli_now() - begin) * 1e-9;
	stop_tasks(l, rt);
	r->total_seconds = (double)(cli_now() - p.began) * 1e-9;
	if (l->o->label)
		fprintf(stderr, "\r\033[K");
}

static void collect(struct load *l, struct load_result *r)
{
	for (uint64_t i = 0; i < l->o->connections; i++)
		load_count_unfinished(&l->conns[i]);
	r->total = sum_total(l, &r->errors);
	r->connected = atomic_load(&l->connected);
	for (unsigned i = 0; i < atomic_load(&l->workers); i++) {
		const struct load_worker *w = &l->worker[i];

		r->requests += w->requests;
		r->unfinished += w->unfinished;
		hist_merge(&r->latency, &w->latency);
		hist_merge(&r->lag, &w->lag);
		if (!r->error[0])
			memcpy(r->error, w->error, sizeof r->error);
	}
}

int load_run(const struct load_options *o, struct load_result *r)
{
	struct load l = { .o = o };
	uint64_t slots = o->connections + 64;
	rln_config cfg = { .workers = (unsigned)o->workers,
			   .no_pin = true, /* a server on this machine has pinned its own */
			   .worker_init = count_worker,
			   .arg = &l,
			   .drain_timeout = RLN_MS(500),
			   .file_slots = (unsigned)(slots > 1024 ? slots : 0),
			   .max_tasks = (unsigned)(slots > 65536 ? slots : 0) };
	rln_runtime *rt = NULL;
	int err;

	memset(r, 0, sizeof *r);
	hist_clear(&r->latency);
	hist_clear(&r->lag);
	err = work_init(&l.work, o);
	if (err == 0)
		err = alloc_conns(&l);
	if (err == 0)
		err = rln_start(&cfg, &rt);
	if (err == 0) {
		err = alloc_workers(&l);
		if (err == 0)
			err = start_tasks(&l, rt);
		if (err == 0)
			measure(&l, rt, r);
		rln_shutdown(rt);
		rln_wait(rt);
		if (err == 0)
			collect(&l, r);
		if (err == 0 && r->connected == 0)
			err = atomic_load(&l.connect_err);
	}
	r->start_err = err;
	free_all(&l);
	return err;
}

const char *load_time_text(uint64_t ns, char *buf, size_t cap)
{
	double v = (double)ns;
	const char *unit = v < 1e6 ? "us" : v < 1e9 ? "ms" : "s";

	v /= v < 1e6 ? 1e3 : v < 1e9 ? 1e6 : 1e9;
	snprintf(buf, cap, "%.*f %s", v < 10 ? 2 : v < 100 ? 1 : 0, v, unit);
	return buf;
}
