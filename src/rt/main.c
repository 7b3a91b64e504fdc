/*
 * How a program enters: rln_start(), rln_main() and rln_serve() on Linux. The only place that
 * touches the process's signals.
 */
#include "rt/runtime.h"

#include "base/log.h"
#include "base/sys.h"
#include <errno.h>
#include <signal.h>
#include <stdio.h>

int rln_start_sized(const rln_config *cfg, size_t cfg_size, size_t opts_size, rln_runtime **out)
{
	struct diag why = { 0 };

	if (!cfg || !out)
		return -EINVAL;
	if (worker_current())
		return -EDEADLK;
	int e = runtime_start(cfg, cfg_size, opts_size, NULL, out, &why);
	if (e) {
		struct log_sink sink = { .fn = NULL };
		if (cfg_size >= sizeof *cfg)
			sink = (struct log_sink){ cfg->log, cfg->arg };
		log_line_to(&sink, RLN_LOG_ERROR, "%s", why.line);
	}
	return e;
}

/* What SIGINT and SIGTERM stop; one rln_main at a time in a process. */
static _Atomic(rln_runtime *) running;
static atomic_int asked;

static void on_signal(int sig)
{
	if (atomic_fetch_add(&asked, 1) > 0) { /* the second one does not wait for the drain */
		signal(sig, SIG_DFL);
		raise(sig);
		return;
	}
	/* None yet: rln_main looks at `asked` when there is one. */
	rln_runtime *rt = atomic_load(&running);
	if (rt)
		rln_shutdown(rt);
}

int rln_main_sized(const rln_config *cfg, size_t cfg_size, size_t opts_size)
{
	struct sigaction act = { .sa_handler = on_signal, .sa_flags = SA_RESTART }, was_int,
			 was_term;
	struct diag why = { 0 };
	rln_runtime *rt;

	if (worker_current() || atomic_load(&running)) {
		fprintf(stderr, "ringline: rln_main is running already\n");
		return 2;
	}
	/* Before the start: a task may wait for one of them at once, and that must come on top. */
	atomic_store(&asked, 0);
	sigaction(SIGINT, &act, &was_int);
	sigaction(SIGTERM, &act, &was_term);
	int e = cfg ? runtime_start(cfg, cfg_size, opts_size, NULL, &rt, &why)
		    : diag_set(&why, -EINVAL, "rln_main: no configuration");
	if (!e) {
		atomic_store(&running, rt);
		if (atomic_load(&asked))
			rln_shutdown(rt);
		runtime_join(rt);
	}
	sigaction(SIGINT, &was_int, NULL);
	sigaction(SIGTERM, &was_term, NULL);
	if (e) {
		log_line_to(NULL, RLN_LOG_ERROR, "%s", why.line);
		return 2;
	}
	atomic_store(&running, NULL);
	int status = rt->has_main ? rt->main_result : 0;
	int cut = rln_wait(rt);
	return status ? status : cut;
}

int rln_serve(const char *addr, void (*on_conn)(rln_conn c, void *arg), void *arg)
{
	const rln_listen_opts l = { .addr = addr, .on_conn = on_conn, .arg = arg };

	return rln_main(&(rln_config){ .listen = &l, .nlisten = 1 });
}
