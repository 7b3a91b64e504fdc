/*
 * rln_listen(): a listener of one worker, made while it runs. It owns the memory its connections'
 * settings stand in, so it goes when the last of them has.
 */
#include "base/assert.h"
#include "base/log.h"
#include "base/opts.h"
#include "base/sys.h"
#include "ringline/listen.h"
#include "rt/worker.h"
#include <errno.h>
#include <string.h>

struct dynamic {
	struct listener listener;
	struct config_listener cfg;
	struct addr bound;
};

static void dynamic_free(struct listener *l)
{
	struct dynamic *d = container_of(l, struct dynamic, listener);
	const struct addr *a = &d->bound;

	if (d->cfg.addr.fd < 0 && a->bytes && a->sa.sa_family == AF_UNIX && a->un.sun_path[0])
		sys_unlink_socket(a->un.sun_path);
	sys_free(d);
}

static int open_socket(struct dynamic *d, int *fd, struct diag *why)
{
	const rln_listen_opts *s = &d->cfg.set;
	const struct listen_socket_opts o = {
		.backlog = s->backlog,
		.sndbuf = s->sndbuf,
		.rcvbuf = s->rcvbuf,
		.no_nodelay = s->no_nodelay,
		.keepalive_idle_ns = s->keepalive_idle,
	};
	return listen_socket_open(&d->cfg.addr, &o, false, &d->bound, fd, why);
}

static int listen_on(struct worker *w, struct dynamic *d, rln_listener *out, struct diag *why)
{
	struct config_listener *c = &d->cfg;
	int fd, e = config_listener_resolve(c, false, "rln_listen_opts.", why);

	if (e < 0)
		return e;
	d->listener.io = &w->io;
	e = listener_register(&d->listener);
	if (e < 0)
		return diag_set(why, e, "rln_listen: %d listeners on worker %u, and no more",
				IO_LISTENERS, w->index);
	uint64_t handle = d->listener.handle;
	e = open_socket(d, &fd, why);
	if (e < 0) {
		w->io.by_handle[handle >> 32 & 0xffffff].l = NULL;
		return e;
	}
	listen_open(&d->listener, &w->io, fd, d->bound.sa.sa_family,
		    c->addr.fd >= 0 || d->bound.sa.sa_family == AF_UNIX, (unsigned)c->set.backlog,
		    c->set.max_conns ? c->set.max_conns : UINT32_MAX, &c->mode);
	d->listener.handle = handle;
	d->listener.free = dynamic_free;
	*out = (rln_listener){ handle };
	return 0;
}

int rln_listen_sized(const rln_listen_opts *o, size_t opts_size, rln_listener *out)
{
	struct worker *w = worker_current();
	struct diag why = { 0 };
	struct dynamic *d;
	int e;

	if (!w)
		return conn_off_worker("rln_listen");
	if (!o || !out)
		return -EINVAL;
	if (w->io.draining)
		return -ESHUTDOWN;
	d = sys_zalloc(sizeof *d);
	if (!d)
		return -ENOMEM;
	e = opts_copy(&d->cfg.set, sizeof d->cfg.set, o, opts_size);
	if (!e)
		e = listen_on(w, d, out, &why);
	if (!e)
		return 0;
	if (why.line[0])
		log_line(RLN_LOG_ERROR, "%s", why.line);
	sys_free(d);
	return e;
}

int rln_listener_addr(rln_listener h, struct sockaddr_storage *out)
{
	struct listener *l;
	int e = listener_lookup(h, &l, "rln_listener_addr");

	if (e)
		return e;
	if (!out)
		return -EINVAL;
	*out = container_of(l, struct dynamic, listener)->bound.storage;
	return 0;
}
