/*
 * What the tests of the whole runtime over the fake kernel share: a runtime without threads, its
 * sizes drawn from the seed, opened, stepped and taken down; and the ways a handler may send and
 * receive. One world, one thread.
 */
#ifndef RINGLINE_TESTS_SIM_RUNTIME_RIG_H
#define RINGLINE_TESTS_SIM_RUNTIME_RIG_H

#include "base/sys.h"
#include "ringline/conn.h"
#include "ringline/task.h"
#include "rt/runtime.h"
#ifndef RIG_NO_SEED /* a program of several files has it in one of them */
#include "seed.h"
#endif
#include "sim/world.h"
#include "test.h"
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#define RIG_TURNS_MAX 300000
#ifndef RIG_WORKERS
#define RIG_WORKERS 2
#endif
#define RIG_LISTENERS 4
#define RIG_PATIENCE RLN_SEC(1) /* a peer that goes away need not wake the worker: look again */

struct rig {
	struct world *w;
	rln_runtime rt;
	struct caps caps;
	struct worker worker[RIG_WORKERS];
	unsigned opened, turns;
	union {
		uint16_t port; /* of listener 0 */
		uint16_t ports[RIG_LISTENERS];
	};
	unsigned pieces, released;
};

static inline unsigned rig_pow2(struct world *w, unsigned n)
{
	return 1u << world_rand(w, n);
}

/* ---- ways to move bytes */
static inline void rig_released(void *ud)
{
	unsigned *n = ud;
	(*n)++;
}

/* The same bytes by one of the ways to send them. */
static inline ssize_t rig_send(struct rig *r, rln_conn c, const uint8_t *p, size_t n)
{
	switch (world_rand(r->w, 4)) {
	case 0: { /* in place, awaited: more than send_chunk is a unit of its own */
		uint8_t copy[4096];
		if (n > sizeof copy)
			return rln_send(c, p, n);
		memcpy(copy, p, n);
		return rln_send(c, copy, n);
	}
	case 1: {
		struct iovec iov[3] = { { (void *)(uintptr_t)p, n / 3 },
					{ (void *)(uintptr_t)(p + n / 3), n / 3 },
					{ (void *)(uintptr_t)(p + n / 3 * 2), n - n / 3 * 2 } };
		return rln_sendv(c, iov, 3);
	}
	case 2: {
		uint8_t *own = malloc(n + 1);
		memcpy(own, p, n);
		rln_piece pc[2] = { { own, n, free, own }, { "", 0, rig_released, &r->released } };
		r->pieces++;
		return rln_send_pieces(c, pc, 2);
	}
	default:
		return rln_send(c, p, n);
	}
}

/* What there is, by one of the ways to receive it; own: cap bytes for those that need memory. */
static inline ssize_t rig_receive(struct rig *r, rln_conn c, rln_view *v, uint8_t *own, size_t cap)
{
	ssize_t n;

	switch (world_rand(r->w, 6)) {
	case 0:
		n = rln_fill(c, v);
		if (n > 0 && rln_consume(c, (size_t)n) < 0)
			abort();
		return n;
	case 1:
		n = rln_peek(c, 1, v);
		if (n > 0 && rln_consume(c, (size_t)n) < 0)
			abort();
		return n;
	case 2:
		n = rln_recv_into(c, own, cap);
		*v = (rln_view){ own, n > 0 ? (size_t)n : 0 };
		return n;
	case 3: /* the peer may wait for what we hold: never for long */
		n = RLN_WITHIN(RLN_MS(1), rln_recv_exact(c, 1 + world_rand(r->w, 8), v));
		if (n == -ENODATA || n == -EMSGSIZE || (n == -ETIME && !rln_cancelled()))
			return rln_recv(c, v);
		return n;
	case 4: /* straight into our memory, taken back when the time is up */
		n = RLN_WITHIN(RLN_MS(2), rln_recv_full(c, own, cap));
		*v = (rln_view){ own, n > 0 ? (size_t)n : 0 };
		return n == -ETIME && !rln_cancelled() ? rln_recv(c, v) : n;
	default:
		return rln_recv(c, v);
	}
}

/* A connection to port, in one of the ways to get one. */
static inline int rig_connect(struct rig *r, uint16_t port, rln_ns patience, rln_conn *c)
{
	struct sockaddr_in to = { .sin_family = AF_INET,
				  .sin_port = htons(port),
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	const struct sockaddr *sa = (const struct sockaddr *)&to;

	if (world_rand(r->w, 4))
		return RLN_WITHIN(patience, rln_connect_addr(sa, sizeof to, NULL, c));
	int fd = sys_socket(AF_INET, SOCK_STREAM, 0);
	int e = fd < 0 ? fd : sys_connect(fd, sa, sizeof to);
	if (!e)
		e = rln_adopt_fd(fd, c);
	if (e && fd >= 0)
		sys_close(fd);
	return e == -ENOTCONN ? -ECONNRESET : e;
}

#define RIG_OWN_BYTES 70000 /* large enough to be received in place */

static inline void rig_free_bytes(uint8_t **p)
{
	free(*p);
}

/* ---- sizes */

/* Small sizes by seed for whatever the caller leaves 0. */
static inline void rig_sizes(struct world *w, rln_config *c)
{
	unsigned sq = 2 * rig_pow2(w, 5);

	c->workers = c->workers ? c->workers : 1;
	c->sq_entries = sq;
	c->cq_entries = sq * 2;
	c->recv_bufs = rig_pow2(w, 5);
	c->recv_buf_size = 16u << world_rand(w, 8);
	if (!c->buffer_budget)
		c->buffer_budget = 2048 + world_rand(w, 20000);
	c->zc_threshold = 1 + world_rand(w, 2000);
	c->stacks_prewarm = 1;
	c->drain_timeout = c->kill_timeout = RLN_SEC(100000);
}

/* Resolve c and set the rig up for it; the sizes that are no configuration by seed. */
static inline int rig_try_init(struct rig *r, struct world *w, const rln_config *c,
			       struct diag *why)
{
	memset(r, 0, sizeof *r);
	r->w = w;
	int e = config_resolve(c, sizeof *c, sizeof(rln_listen_opts), &r->rt.cfg, why);
	if (e)
		return e;
	world_caps(w, &r->caps);
	r->rt.shared.cfg = &r->rt.cfg;
	r->rt.shared.caps = &r->caps;
	r->rt.shared.rt = &r->rt;
	r->rt.shared.workers = r->rt.workers = r->worker;
	r->rt.shared.send_chunk = 1 + world_rand(w, 500);
	r->rt.shared.iov_max = 1 + (unsigned)world_rand(w, RING_IOV_MAX);
	r->rt.shared.renew_after = 1 + (unsigned)world_rand(w, 8);
	r->rt.shared.accepts = rig_pow2(w, 5);
	return 0;
}

static inline void rig_init(struct rig *r, struct world *w, const rln_config *c)
{
	struct diag why = { 0 };

	if (rig_try_init(r, w, c, &why) < 0)
		world_fail(w, "config: %s", why.line);
}

/* ---- life */
static inline int rig_listen(struct rig *r, struct worker *wk, unsigned i, struct diag *why)
{
	const struct config_listener *l = &r->rt.cfg.listener[i];
	struct listen_socket_opts o = { .backlog = l->set.backlog };
	struct addr at = l->addr, bound;
	bool local = at.sa.sa_family == AF_UNIX; /* one socket for all workers */
	int fd = -1, e = 0;

	if (local && wk->index > 0) {
		fd = sys_dup(r->worker[0].listeners[i].fd);
		e = fd < 0 ? diag_set(why, fd, "dup") : 0;
	} else {
		if (r->ports[i])
			at.in.sin_port = htons(r->ports[i]);
		e = listen_socket_open(&at, &o, r->rt.cfg.set.workers > 1, &bound, &fd, why);
	}
	if (e)
		return e;
	if (!local)
		r->ports[i] = ntohs(bound.in.sin_port);
	worker_listen(wk, i, fd, at.sa.sa_family, local);
	return 0;
}

static inline int rig_prepare(struct rig *r, struct diag *why)
{
	if (sys_pool_open(&r->rt.shared.pool, 1, 1, true) < 0)
		return diag_set(why, -ENOMEM, "no memory for the helper threads");
	for (unsigned i = 0; i < r->rt.cfg.set.workers; i++) {
		struct worker *wk = &r->worker[i];
		int e = worker_open(wk, &r->rt.shared, i, world_kernel(r->w), why);
		if (e)
			return e;
		r->opened = r->rt.shared.count = i + 1;
		wk->listeners = sys_zalloc(sizeof *wk->listeners * (r->rt.cfg.set.nlisten + 1));
		if (!wk->listeners)
			return diag_set(why, -ENOMEM, "no memory for the listeners");
	}
	return 0;
}

/* One turn of worker i until at most the deadline. Returns whether it has stopped. */
static inline bool rig_turn(struct rig *r, unsigned i, int64_t deadline_ns)
{
	int done = worker_turn(&r->worker[i], deadline_ns);

	if (done < 0)
		world_fail(r->w, "turn: %d", done);
	if (++r->turns > RIG_TURNS_MAX)
		world_fail(r->w, "no end after %u turns", r->turns);
	return done;
}

static inline void rig_shutdown(struct rig *r)
{
	atomic_store(&r->rt.shared.shutdown, true);
	for (unsigned i = 0; i < r->opened; i++)
		inbox_wake(&r->worker[i].loop.inbox);
}

/* Everything that was made goes; the ring of a worker that never started may be anywhere. */
static inline void rig_close(struct rig *r)
{
	for (unsigned i = 0; i < r->opened; i++)
		worker_close(&r->worker[i]);
	config_fini(&r->rt.cfg);
	if (r->rt.shared.pool)
		sys_pool_close(r->rt.shared.pool);
	r->rt.shared.pool = NULL;
	r->opened = 0;
}

/* Every worker has stopped: take it down. */
static inline void rig_end(struct rig *r)
{
	for (unsigned i = 0; i < r->opened; i++)
		worker_stop(&r->worker[i]);
	rig_close(r);
	if (r->pieces != r->released)
		world_fail(r->w, "%u guarded sends, %u releases", r->pieces, r->released);
}

/* Drain to the end and take it down. */
static inline void rig_stop(struct rig *r)
{
	bool done[RIG_WORKERS] = { 0 };
	unsigned left = r->opened;

	rig_shutdown(r);
	while (left) {
		unsigned i = (unsigned)world_rand(r->w, r->opened);
		if (done[i])
			continue;
		bool alone = left == 1;
		done[i] = rig_turn(r, i, world_now(r->w) + (alone ? RIG_PATIENCE : RLN_MS(1)));
		left -= done[i];
	}
	rig_end(r);
}

/*
 * Open, start, listen (with a listener). 0, or what failed: then all of it is undone, in the order
 * the runtime would do it.
 */
static inline int rig_try_open(struct rig *r, struct diag *why)
{
	bool started[RIG_WORKERS] = { 0 };
	int e = rig_prepare(r, why);

	for (unsigned i = 0; !e && i < r->opened; i++) {
		e = worker_start(&r->worker[i], why);
		started[i] = !e;
	}
	for (unsigned i = 0; !e && i < r->opened; i++)
		for (unsigned k = 0; !e && k < r->rt.cfg.set.nlisten; k++)
			e = rig_listen(r, &r->worker[i], k, why);
	if (!e)
		return 0;
	rig_shutdown(r);
	for (unsigned i = 0; i < r->opened; i++) {
		r->worker[i].drain_due = true; /* nothing to wait for */
		while (started[i] && !rig_turn(r, i, world_now(r->w) + RIG_PATIENCE))
			;
		if (started[i])
			worker_stop(&r->worker[i]);
	}
	rig_close(r);
	return e;
}

static inline void rig_open(struct rig *r)
{
	struct diag why = { 0 };

	if (rig_try_open(r, &why) < 0)
		world_fail(r->w, "open: %s", why.line);
}

/* The peers come to their ends; then nothing may be left. */
static inline void rig_check_quiet(struct world *w)
{
	char why[200] = "";

	world_run_until(w, world_now(w) + 3600 * INT64_C(1000000000));
	if (!world_check_quiet(w, why, sizeof why))
		world_fail(w, "not quiet: %s", why);
}

/* Run fn(arg) as if from a callback of worker i. */
static inline void rig_go(struct rig *r, unsigned i, int (*fn)(void *), void *arg)
{
	struct ctx *before = worker_enter(&r->worker[i]);
	int e = rln_go(fn, arg, NULL);

	worker_leave(before);
	if (e)
		world_fail(r->w, "rln_go: %d", e);
}

#endif
