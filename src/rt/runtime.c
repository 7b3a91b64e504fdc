/*
 * Start, stop and wait: the threads around worker_turn(). The start is a transaction: every worker
 * is prepared and has run worker_init before the first listener opens, or all is undone (INV-38).
 */
#include "rt/runtime.h"

#include "base/assert.h"
#include "base/log.h"
#include "base/sys.h"
#include "ringline/task.h"
#include "rt/cpu.h"
#include <errno.h>
#include <string.h>

#define BLOCKING_MAX 64 /* helper threads while there is work for them */
#define SPAWNERS_MAX 4	/* of those that start processes */

/* ---- a worker's thread */
static void report(rln_runtime *rt, int err, const struct diag *why)
{
	sys_monitor_lock(rt->monitor);
	rt->ready++;
	if (err && !rt->start_err) {
		rt->start_err = err;
		rt->why = *why;
	}
	sys_monitor_wake_all(rt->monitor);
	sys_monitor_unlock(rt->monitor);
}

static bool await_order(rln_runtime *rt)
{
	sys_monitor_lock(rt->monitor);
	while (rt->order == RT_PREPARING)
		sys_monitor_wait(rt->monitor, INT64_MAX);
	bool go = rt->order == RT_GO;
	sys_monitor_unlock(rt->monitor);
	return go;
}

static int main_task(void *arg)
{
	rln_runtime *rt = arg;

	rt->main_result = rt->cfg.set.main(rt->cfg.set.arg);
	rln_shutdown(rt);
	return rt->main_result;
}

static int thread_prepare(struct worker *w, struct diag *why)
{
	const rln_config *c = &w->shared->cfg->set;
	int cpus[CPU_MAX], e;

	atomic_store_explicit(&w->tid, sys_thread_id(), memory_order_relaxed);
	if (!c->no_pin) {
		unsigned n = cpu_list(cpus, CPU_MAX);
		if (n && (e = sys_thread_pin(cpus[w->index % n])) < 0)
			log_line_to(&w->shared->cfg->log, RLN_LOG_WARN,
				    "worker %u is not pinned: %s", w->index, rln_strerror(e));
	}
	e = worker_start(w, why);
	w->started = !e;
	if (!e && c->worker_init) {
		struct ctx *before = worker_enter(w);
		e = c->worker_init(w->index, c->arg, &w->state);
		worker_leave(before);
		e = e < 0 ? diag_set(why, e, "worker_init of worker %u failed: %s", w->index,
				     rln_strerror(e))
			  : 0;
	}
	w->prepared = !e;
	return e;
}

static void thread_serve(struct worker *w)
{
	rln_runtime *rt = w->shared->rt;
	const struct config *c = &rt->cfg;

	for (unsigned i = 0; i < c->set.nlisten; i++) {
		int *fd = &rt->listen_fd[i * rt->shared.count + w->index];
		int family = rt->bound[i].sa.sa_family;
		worker_listen(w, i, *fd, family, c->listener[i].addr.fd >= 0 || family == AF_UNIX);
		*fd = -1;
	}
	if (rt->has_main && w->index == 0) {
		struct ctx *before = worker_enter(w);
		const rln_task_opts o = { .name = "main" };
		int e = rln_go(main_task, rt, &o);
		worker_leave(before);
		if (e < 0) {
			rt->main_result = 2;
			rln_shutdown(rt);
		}
	}
}

void runtime_worker_ends(struct worker *w, int e)
{
	rln_runtime *rt = w->shared->rt;

	loop_rest(&w->loop);
	if (e < 0) {
		log_line_to(&rt->cfg.log, RLN_LOG_ERROR,
			    "worker %u: the ring is unusable: %s; stopping the runtime", w->index,
			    rln_strerror(e));
		w->cut_short = w->dead = true;
		rln_shutdown(rt);
	}
	if (w->prepared && rt->cfg.set.worker_exit) {
		struct ctx *before = worker_enter(w);
		rt->cfg.set.worker_exit(w->index, w->state);
		worker_leave(before);
	}
	if (w->started && e > 0)
		worker_stop(w);
}

void runtime_worker_runs(struct worker *w)
{
	int e = 0; /* a start that failed has been told; the ring is whole */

	while (w->started && (e = worker_turn(w, INT64_MAX)) == 0)
		;
	runtime_worker_ends(w, e);
}

static void thread_main(void *arg)
{
	struct worker *w = arg;
	rln_runtime *rt = w->shared->rt;
	struct diag why = { 0 };

	report(rt, thread_prepare(w, &why), &why);
	if (await_order(rt))
		thread_serve(w);
	else
		w->drain_due = true; /* nothing to wait for */
	runtime_worker_runs(w);
}

/* ---- the watchdog */
static bool is_watched(const rln_runtime *rt)
{
	return rt->cfg.set.stall_warn < CONFIG_NS_MAX; /* RLN_FOREVER was cut to it */
}

static void watch_main(void *arg)
{
	rln_runtime *rt = arg;
	int64_t period_ns = stall_period(rt->cfg.set.stall_warn);

	sys_monitor_lock(rt->monitor);
	while (!rt->watch_stop) {
		sys_monitor_wait(rt->monitor, sys_now() + period_ns);
		sys_monitor_unlock(rt->monitor);
		for (unsigned i = 0; i < rt->shared.count; i++)
			stall_check(&rt->workers[i], sys_now());
		sys_monitor_lock(rt->monitor);
	}
	sys_monitor_unlock(rt->monitor);
}

/* A runtime without it works: that there is none is said, and no reason not to start. */
static void watch_start(rln_runtime *rt)
{
	int e;

	if (!is_watched(rt))
		return;
	e = sys_thread_start(&rt->watch, "rln-watch", watch_main, rt);
	if (e) {
		rt->watch = NULL;
		log_line_to(&rt->cfg.log, RLN_LOG_WARN,
			    "workers that stall will not be reported: no thread for it: %s",
			    rln_strerror(e));
	}
}

/* After the workers have ended: one that does not end is reported, too. */
static void watch_end(rln_runtime *rt)
{
	if (!rt->watch)
		return;
	sys_monitor_lock(rt->monitor);
	rt->watch_stop = true;
	sys_monitor_wake_all(rt->monitor);
	sys_monitor_unlock(rt->monitor);
	sys_thread_join(rt->watch);
	rt->watch = NULL;
}

/* ---- start */
static int prepare_workers(rln_runtime *rt, struct diag *why)
{
	unsigned n = rt->cfg.set.workers, nl = rt->cfg.set.nlisten;

	rt->workers = sys_alloc_aligned(64, n * sizeof *rt->workers);
	rt->threads = sys_zalloc(n * sizeof(*rt->threads));
	rt->bound = sys_zalloc((nl + 1) * sizeof *rt->bound);
	rt->listen_fd = sys_alloc((nl * n + 1) * sizeof *rt->listen_fd);
	if (!rt->workers || !rt->threads || !rt->bound || !rt->listen_fd)
		return diag_set(why, -ENOMEM, "no memory for %u workers", n);
	for (unsigned i = 0; i < nl * n; i++)
		rt->listen_fd[i] = -1;
	rt->shared.workers = rt->workers;
	for (unsigned i = 0; i < n; i++) {
		int e = worker_open(&rt->workers[i], &rt->shared, i, NULL, why);
		if (e)
			return e;
		rt->shared.count = i + 1;
		rt->workers[i].listeners = sys_zalloc((nl + 1) * sizeof(struct listener));
		if (!rt->workers[i].listeners)
			return diag_set(why, -ENOMEM, "no memory for the listeners");
	}
	return 0;
}

static int open_listener(rln_runtime *rt, unsigned i, struct diag *why)
{
	const struct config_listener *l = &rt->cfg.listener[i];
	unsigned n = rt->shared.count;
	int *fd = &rt->listen_fd[i * n];
	struct listen_socket_opts o = { .backlog = l->set.backlog,
					.sndbuf = l->set.sndbuf,
					.rcvbuf = l->set.rcvbuf,
					.no_nodelay = l->set.no_nodelay,
					.keepalive_idle_ns = l->set.keepalive_idle };
	bool one = l->addr.fd >= 0 || l->addr.sa.sa_family == AF_UNIX;
	struct addr at = l->addr, other;
	int e = one ? 0 : listen_probe(&at, why);

	for (unsigned w = 0; w < n && !e; w++) {
		if (one && w > 0) {
			fd[w] = sys_dup(fd[0]);
			e = fd[w] < 0 ? diag_set(why, fd[w], "dup: %s", rln_strerror(fd[w])) : 0;
			continue;
		}
		e = listen_socket_open(&at, &o, n > 1, w ? &other : &rt->bound[i], &fd[w], why);
		if (!e && w == 0 && !one) { /* port 0 was resolved: the others join it */
			at = rt->bound[i];
			at.fd = -1;
			at.every = l->addr.every && at.sa.sa_family == AF_INET6;
		}
	}
	return e;
}

/* The worker of an embedded runtime: this thread is its own. */
static int start_here(rln_runtime *rt, struct diag *why)
{
	rt->mine = &ctx_current_;
	return thread_prepare(rt->workers, why);
}

static int start_threads(rln_runtime *rt, struct diag *why)
{
	unsigned started = 0, n = rt->shared.count;
	char name[16];
	int e = 0;

	for (; started < n && !e; started++) {
		memcpy(name, "rln-", 5);
		name[4] = (char)('0' + started / 100 % 10);
		name[5] = (char)('0' + started / 10 % 10);
		name[6] = (char)('0' + started % 10);
		name[7] = 0;
		e = sys_thread_start(&rt->threads[started], name, thread_main,
				     &rt->workers[started]);
		if (e) {
			diag_set(why, e,
				 "cannot start the thread of worker %u: %s; raise the process "
				 "limit (ulimit -u) or lower config.workers",
				 started, rln_strerror(e));
			break;
		}
	}
	sys_monitor_lock(rt->monitor);
	while (rt->ready < started)
		sys_monitor_wait(rt->monitor, INT64_MAX);
	if (!e && rt->start_err) {
		e = rt->start_err;
		if (why)
			*why = rt->why;
	}
	sys_monitor_unlock(rt->monitor);
	return e;
}

static void give_order(rln_runtime *rt, bool go)
{
	sys_monitor_lock(rt->monitor);
	rt->order = go ? RT_GO : RT_ABORT;
	sys_monitor_wake_all(rt->monitor);
	sys_monitor_unlock(rt->monitor);
}

static void remove_unix_paths(rln_runtime *rt)
{
	for (unsigned i = 0; i < rt->cfg.set.nlisten && rt->bound; i++) {
		const struct addr *a = &rt->cfg.listener[i].addr;
		if (a->fd < 0 && a->sa.sa_family == AF_UNIX && a->un.sun_path[0] &&
		    rt->bound[i].bytes)
			sys_unlink_socket(a->un.sun_path);
	}
}

static void free_runtime(rln_runtime *rt)
{
	unsigned nl = rt->cfg.set.nlisten;

	for (unsigned i = 0; rt->listen_fd && i < nl * rt->cfg.set.workers; i++)
		if (rt->listen_fd[i] >= 0)
			sys_close(rt->listen_fd[i]);
	remove_unix_paths(rt);
	bool keep = false;
	for (unsigned i = 0; i < rt->shared.count; i++) {
		worker_close(&rt->workers[i]);
		keep |= rt->workers[i].io.leased || rt->workers[i].dead;
	}
	if (!keep) /* else an rln_buf that is still held leads there */
		sys_free(rt->workers);
	sys_free(rt->threads);
	sys_free(rt->bound);
	sys_free(rt->listen_fd);
	if (rt->shared.pool)
		sys_pool_close(rt->shared.pool);
	if (rt->shared.spawners)
		sys_pool_close(rt->shared.spawners);
	sys_monitor_close(rt->monitor);
	config_fini(&rt->cfg);
	sys_free(rt);
}

void runtime_join(rln_runtime *rt)
{
	if (rt->mine)
		embed_run_out(rt);
	for (unsigned i = 0; i < rt->shared.count; i++) {
		if (rt->threads[i])
			sys_thread_join(rt->threads[i]);
		rt->threads[i] = NULL;
	}
	watch_end(rt);
}

/* May this process, on this kernel, run workers at all? */
static int check_ground(rln_runtime *rt, struct diag *why)
{
	if (sys_shadow_stack())
		return diag_set(why, -EOPNOTSUPP,
				"shadow stacks are enforced for this process, and task stacks have "
				"none; run it with GLIBC_TUNABLES=glibc.cpu.x86_shstk=off");
	if (rt->shared.caps->ok)
		return 0;
	if (why)
		*why = rt->shared.caps->why;
	return rt->shared.caps->why.err;
}

static int start_workers(rln_runtime *rt, struct diag *why)
{
	int e;

	if (is_watched(rt)) /* before the threads: they must not block its signal */
		sys_trace_open();
	e = rt->cfg.set.embed ? start_here(rt, why) : start_threads(rt, why);
	if (!e)
		watch_start(rt);
	for (unsigned i = 0; i < rt->cfg.set.nlisten && !e; i++)
		e = open_listener(rt, i, why);
	if (e)
		atomic_store(&rt->shared.shutdown, true);
	if (!rt->cfg.set.embed) {
		give_order(rt, !e);
	} else if (!e) {
		thread_serve(rt->workers);
		embed_light(&rt->workers->loop); /* nothing is submitted yet */
	} else {
		rt->workers->drain_due = true;
	}
	if (e)
		runtime_join(rt);
	return e;
}

int runtime_start(const rln_config *user, size_t cfg_size, size_t opts_size,
		  const struct runtime_env *env, rln_runtime **out, struct diag *why)
{
	rln_runtime *rt = sys_zalloc(sizeof *rt);
	int e;

	if (!rt)
		return diag_set(why, -ENOMEM, "no memory for the runtime");
	e = config_resolve(user, cfg_size, opts_size, &rt->cfg, why);
	if (e) {
		sys_free(rt);
		return e;
	}
	rt->shared.rt = rt;
	rt->shared.cfg = &rt->cfg;
	rt->shared.caps = env ? env->caps : caps_get(&rt->probed);
	rt->shared.send_chunk = env ? env->send_chunk : 0;
	rt->shared.iov_max = env ? env->iov_max : 0;
	rt->has_main = rt->cfg.set.main != NULL;
	e = sys_monitor_open(&rt->monitor);
	if (e)
		diag_set(why, e, "no memory for the runtime");
	if (!e)
		e = check_ground(rt, why);
	if (!e &&
	    (sys_pool_open(&rt->shared.pool, rt->cfg.set.blocking_threads, BLOCKING_MAX, true) ||
	     sys_pool_open(&rt->shared.spawners, 0, SPAWNERS_MAX, false)))
		e = diag_set(why, -ENOMEM, "no memory for the helper threads");
	if (!e)
		e = prepare_workers(rt, why);
	if (!e)
		e = start_workers(rt, why);
	if (e) {
		free_runtime(rt);
		return e;
	}
	*out = rt;
	return 0;
}

/* ---- stop */
void rln_shutdown(rln_runtime *rt)
{
	if (!rt) {
		struct worker *w = worker_current();
		if (!w)
			return;
		rt = w->shared->rt;
	}
	if (!worker_is_here(rt->workers))
		return;
	atomic_store_explicit(&rt->shared.shutdown, true, memory_order_release);
	for (unsigned i = 0; i < rt->shared.count; i++)
		inbox_wake(&rt->workers[i].loop.inbox);
}

int rln_wait(rln_runtime *rt)
{
	bool cut = false;

	if (!rt)
		return -EINVAL;
	if (worker_current())
		return -EDEADLK;
	if (!worker_is_here(rt->workers) || (rt->mine && !runtime_is_mine(rt)))
		return -EPERM;
	runtime_join(rt);
	for (unsigned i = 0; i < rt->shared.count; i++)
		cut |= rt->workers[i].cut_short;
	free_runtime(rt);
	return cut;
}

int rln_listen_addr(rln_runtime *rt, unsigned listener, struct sockaddr_storage *out)
{
	if (!rt) {
		struct worker *w = worker_current();
		if (!w)
			return -EPERM;
		rt = w->shared->rt;
	}
	if (listener >= rt->cfg.set.nlisten || !out)
		return -EINVAL;
	*out = rt->bound[listener].storage;
	return 0;
}
