/*
 * How a program enters the library in a simulation: rln_start(), rln_main() and rln_serve() as
 * rt/main.c has them, on the kernel and with the sizes that the seed has drawn.
 */
#include "base/log.h"
#include "base/opts.h"
#include "rt/runtime.h"
#include "sim/api.h"
#include <errno.h>
#include <stdio.h>

/* Small numbers find the edges that large ones never reach. */
static void draw_sizes(struct world *w, rln_config *c)
{
	c->stacks_prewarm = c->stacks_prewarm ? c->stacks_prewarm : 1;
	if (!c->sq_entries && !c->cq_entries)
		c->sq_entries = 2u << world_rand(w, 6);
	if (!c->cq_entries)
		c->cq_entries = c->sq_entries << (1 + world_rand(w, 2));
	if (!c->recv_bufs)
		c->recv_bufs = 1u << world_rand(w, 6);
	if (!c->recv_buf_size)
		c->recv_buf_size = 16u << world_rand(w, 9);
	if (!c->zc_threshold)
		c->zc_threshold = 1 + (size_t)world_rand(w, 20000);
}

static int start(const rln_config *cfg, size_t cfg_size, size_t opts_size, rln_runtime **out,
		 struct diag *why)
{
	struct sim *s = sim_here();
	struct runtime_env env = { .caps = &s->caps };
	rln_config c;
	int e = opts_copy(&c, sizeof(c), cfg, cfg_size);

	if (e)
		return diag_set(why, e, "rln_config is of a newer version than this library");
	c.stall_warn =
		RLN_FOREVER; /* virtual time says nothing about it, and the watch never rests */
	if (!s->cfg->own_sizes) {
		draw_sizes(s->w, &c);
		env.send_chunk = 1 + (size_t)world_rand(s->w, 500);
		env.iov_max = 1 + (unsigned)world_rand(s->w, RING_IOV_MAX);
	}
	return runtime_start(&c, sizeof(c), opts_size, &env, out, why);
}

static int no_simulation(const char *what)
{
	fprintf(stderr, "ringline: %s: no simulation runs; see rln_sim_run()\n", what);
	return -EPERM;
}

int rln_start_sized(const rln_config *cfg, size_t cfg_size, size_t opts_size, rln_runtime **out)
{
	struct diag why = { 0 };
	int e;

	if (!cfg || !out)
		return -EINVAL;
	if (!sim_here())
		return no_simulation("rln_start");
	if (worker_current())
		return -EDEADLK;
	e = start(cfg, cfg_size, opts_size, out, &why);
	if (e) {
		struct log_sink sink = { .fn = cfg_size >= sizeof(*cfg) ? cfg->log : NULL,
					 .arg = cfg_size >= sizeof(*cfg) ? cfg->arg : NULL };

		log_line_to(&sink, RLN_LOG_ERROR, "%s", why.line);
	}
	return e;
}

int rln_main_sized(const rln_config *cfg, size_t cfg_size, size_t opts_size)
{
	struct sim *s = sim_here();
	struct sys_thread *me = s ? s->running : NULL;
	rln_runtime *rt;
	int e, status;

	if (!s)
		return no_simulation("rln_main"), 2;
	if (!cfg || worker_current() || me->running)
		return 2;
	e = rln_start_sized(cfg, cfg_size, opts_size, &rt);
	if (e)
		return 2;
	me->running = rt;
	if (me->terminated)
		rln_shutdown(rt);
	runtime_join(rt);
	me->running = NULL;
	status = rt->has_main ? rt->main_result : 0;
	e = rln_wait(rt);
	return status ? status : e;
}

int rln_serve(const char *addr, void (*on_conn)(rln_conn c, void *arg), void *arg)
{
	const rln_listen_opts l = { .addr = addr, .on_conn = on_conn, .arg = arg };

	return rln_main(&(rln_config){ .listen = &l, .nlisten = 1 });
}
