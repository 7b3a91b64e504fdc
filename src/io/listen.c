/*
 * Accepting: see listen.h. Nothing here serves a connection; conn_serve() does.
 */
#include "io/listen.h"

#include "base/assert.h"
#include "base/log.h"
#include "base/mark.h"
#include "base/sys.h"
#include "io/renew.h"
#include <errno.h>
#include <string.h>

#define LISTEN_UNTAKEN 64   /* clients nobody has taken yet, at most */
#define BACKOFF_NS 20000000 /* after EMFILE, ENFILE, ENOBUFS, ENOMEM */

/* ---- clients */
static void set_peer(struct conn *c, const void *peer, socklen_t bytes)
{
	c->peer_bytes = bytes <= sizeof c->peer ? (uint8_t)bytes : 0;
	memcpy(c->peer.raw, peer, c->peer_bytes);
}

void listen_accepted(struct listener *l, unsigned slot, const void *peer, socklen_t peer_bytes)
{
	struct io *io = l->io;
	struct conn *c = conn_at(io, slot);

	l->drain_passes = 2;
	if (!c) {
		RLN_MARK("accept-without-memory");
		io->stats.accept_errors++;
		files_remove(&io->files, slot);
		renew_dropped(io);
		return;
	}
	if (c->life != LIFE_CLOSED) {
		/* the slot's close is done in the kernel, its CQE is still on the way */
		RLN_ASSERT(c->phase == CLOSE_DIRECT && !c->reopen); /* INV-10 */
		c->reopen = l;
		l->reopens++;
		if (peer) /* on_close has run: the field is free */
			set_peer(c, peer, peer_bytes);
		return;
	}
	io->stats.accepts++;
	conn_open(c, &l->mode, l->family);
	l->conns++;
	if (l->queues) {
		c->untaken = true;
		l->untaken_count++;
	}
	if (peer)
		set_peer(c, peer, peer_bytes);
	if (peer || l->family == AF_UNIX) {
		conn_serve(c);
		return;
	}
	c->peer_bytes = l->family == AF_INET ? sizeof c->peer.in : sizeof c->peer.in6;
	conn_ctl(c, CTL_PEER);
}

void listen_peer_known(struct conn *c, int res)
{
	if (res < 0) {
		RLN_MARK("accept-peer-unknown");
		c->peer_bytes = 0; /* reset before it was asked: the first receive tells */
	}
	if (c->life == LIFE_OPENING)
		conn_serve(c);
}

void listen_conn_gone(struct listener *l)
{
	RLN_ASSERT(l->conns > 0);
	l->conns--;
	listen_room_changed(l->io);
	listener_unused(l);
}

void listen_room_changed(struct io *io)
{
	list_for_each (n, &io->listeners)
		listen_step(container_of(n, struct listener, node));
}

/* ---- room */

/* Slots no armed single accept has been promised. */
static unsigned free_slots(const struct io *io)
{
	unsigned used = io->auto_open;

	list_for_each (n, &io->listeners)
		used += container_of(n, const struct listener, node)->singles_live;
	return io->cfg.auto_slots > used ? io->cfg.auto_slots - used : 0;
}

static unsigned backlogs(const struct io *io)
{
	unsigned sum = 0;

	list_for_each (n, &io->listeners)
		sum += container_of(n, const struct listener, node)->backlog;
	return sum;
}

/* INV-27 */
static bool ample(const struct listener *l)
{
	return !l->shared && !l->queues && l->io->caps->multishot_accept &&
	       l->io->caps->socket_cmd && list_empty(&l->io->starving) &&
	       l->max_conns >= l->conns + 2 * l->backlog &&
	       free_slots(l->io) >= 2 * backlogs(l->io);
}

static unsigned room(const struct listener *l)
{
	unsigned promised = l->conns + l->singles_live, slots = free_slots(l->io);
	unsigned own = l->max_conns > promised ? l->max_conns - promised : 0;

	if (!list_empty(&l->io->starving))
		return 0;
	if (l->queues) { /* what nobody takes stays with the kernel */
		unsigned queued = l->untaken_count + l->singles_live;
		unsigned left = queued < LISTEN_UNTAKEN ? LISTEN_UNTAKEN - queued : 0;
		own = own < left ? own : left;
	}
	return own < slots ? own : slots;
}

/*
 * Single accepts of one listener, at most: those that were made first must not promise every slot
 * to clients who may never come.
 */
static unsigned fair_share(const struct io *io)
{
	unsigned listeners = 0;

	list_for_each (n, &io->listeners)
		listeners++;
	unsigned share = io->cfg.auto_slots > listeners ? io->cfg.auto_slots / listeners : 1;
	return io->cfg.accepts && io->cfg.accepts < share ? io->cfg.accepts : share;
}

/* More is promised than there is: connections that were handed over have taken slots. */
static bool overpromised(const struct io *io)
{
	unsigned used = io->auto_open;

	list_for_each (n, &io->listeners)
		used += container_of(n, const struct listener, node)->singles_live;
	return used > io->cfg.auto_slots;
}

/* A listener that could take a client if another one promised less. */
static bool somebody_paused(const struct io *io)
{
	list_for_each (n, &io->listeners) {
		const struct listener *l = container_of(n, const struct listener, node);

		if (l->paused && !l->closing && l->conns < l->max_conns)
			return true;
	}
	return false;
}

/* ---- accept ops */

/* A cancel can miss (-EALREADY) and the accept go on: asked again then, but not at once. */
static void watch_cancels(struct listener *l)
{
	if (!timer_armed(&l->backoff))
		timer_arm(&l->io->loop->wheel, &l->backoff, l->io->loop->now_ns + BACKOFF_NS);
}

static void cancel_multi(struct listener *l)
{
	if (!op_busy(&l->multi.op) || l->multi_asked || op_busy(&l->multi_cancel.op))
		return;
	l->multi_asked = true;
	op_cancel_with(&l->io->loop->ops, &l->multi.op, &l->multi_cancel);
	watch_cancels(l);
}

static void cancel_singles(struct listener *l)
{
	for (unsigned i = 0; i < LISTEN_SINGLES; i++) {
		struct listen_single *s = &l->single[i];

		if (!op_busy(&s->io.op) || s->asked || op_busy(&s->cancel.op))
			continue;
		s->asked = true;
		op_cancel_with(&l->io->loop->ops, &s->io.op, &s->cancel);
		watch_cancels(l);
	}
}

static void cancel_accepts(struct listener *l)
{
	cancel_multi(l);
	cancel_singles(l);
}

static void back_off(struct listener *l)
{
	RLN_MARK("accept-backs-off");
	l->backing_off = true;
	timer_arm(&l->io->loop->wheel, &l->backoff, l->io->loop->now_ns + BACKOFF_NS);
}

static void backoff_over(struct timer *t)
{
	struct listener *l = container_of(t, struct listener, backoff);
	l->backing_off = l->multi_asked = false;
	for (unsigned i = 0; i < LISTEN_SINGLES; i++)
		l->single[i].asked = false;
	if (l->closing)
		cancel_accepts(l);
	else
		listen_step(l);
}

static void accept_error(struct listener *l, int err)
{
	struct io *io = l->io;

	if (err == -ECANCELED)
		return;
	io->stats.accept_errors++;
	switch (err) {
	case -EMFILE:
	case -ENFILE:
	case -ENOBUFS:
	case -ENOMEM:
		LOG_ONCE(RLN_LOG_WARN, "accept: %s; trying again every 20 ms", rln_strerror(err));
		back_off(l);
		break;
	case -EBADF:
	case -EINVAL:
	case -ENOTSOCK:
	case -EOPNOTSUPP:
		log_line(RLN_LOG_ERROR, "accept: %s; this listener is lost", rln_strerror(err));
		back_off(l);
		break;
	default:
		RLN_MARK("accept-of-a-client-that-left");
		break; /* of one client, gone before it was taken: ECONNABORTED, EPROTO, EPERM */
	}
}

static void accepted_or_error(struct listener *l, int res, const struct listen_single *s)
{
	if (res < 0) {
		accept_error(l, res);
		return;
	}
	if (s && s->io.a.buf)
		listen_accepted(l, (unsigned)res, &s->peer, s->io.a.addr_bytes);
	else
		listen_accepted(l, (unsigned)res, NULL, 0);
}

static void step_or_finish(struct listener *l);

static void multi_done(struct op_io *io, const struct op_event *ev)
{
	struct listener *l = io->ctx;

	if (ev->last) {
		op_reset(&io->op);
		l->multi_asked = false;
	}
	accepted_or_error(l, ev->res, NULL);
	if (ev->last || !ample(l))
		step_or_finish(l);
}

static void single_done(struct op_io *io, const struct op_event *ev)
{
	struct listen_single *s = container_of(io, struct listen_single, io);
	struct listener *l = s->listener;

	op_reset(&io->op);
	s->asked = false;
	l->singles_live--;
	accepted_or_error(l, ev->res, s);
	if (ev->res < 0 && l->io->listeners.next->next != &l->io->listeners)
		listen_room_changed(l->io); /* its promise is another's */
	step_or_finish(l);
}

static void cancel_done(struct op_cancel *c)
{
	struct listen_single *s = container_of(c, struct listen_single, cancel);
	step_or_finish(s->listener);
}

static void multi_cancel_done(struct op_cancel *c)
{
	step_or_finish(container_of(c, struct listener, multi_cancel));
}

static void arm_multi(struct listener *l)
{
	l->multi.a = (struct op_args){ .fd = l->fd, .slot = OP_SLOT_AUTO };
	op_submit(&l->io->loop->ops, &l->multi.op);
}

static void arm_single(struct listener *l, struct listen_single *s)
{
	s->io.a = (struct op_args){ .fd = l->fd, .slot = OP_SLOT_AUTO };
	if (!l->io->caps->socket_cmd && l->family != AF_UNIX) {
		s->io.a.buf = &s->peer;
		s->io.a.addr_bytes = sizeof s->peer;
	}
	l->singles_live++;
	op_submit(&l->io->loop->ops, &s->io.op);
}

static void arm_singles(struct listener *l)
{
	unsigned want = room(l), share = fair_share(l->io);

	share = share > l->singles_live ? share - l->singles_live : 0;
	want = want < share ? want : share;
	for (unsigned i = 0; i < LISTEN_SINGLES && want; i++) {
		if (l->single[i].io.op.state != OP_IDLE)
			continue;
		arm_single(l, &l->single[i]);
		want--;
	}
	if (!l->singles_live && !l->paused)
		l->io->stats.accept_paused++;
	l->paused = !l->singles_live;
}

void listen_step(struct listener *l)
{
	if (l->closing || l->backing_off)
		return;
	if (op_busy(&l->multi.op)) {
		if (!ample(l))
			cancel_multi(l);
		return;
	}
	if (l->singles_live && (overpromised(l->io) ||
				(l->singles_live > fair_share(l->io) && somebody_paused(l->io)))) {
		cancel_singles(l);
	} else if (ample(l) && !l->singles_live) {
		l->paused = false;
		arm_multi(l);
	} else if (!ample(l)) {
		arm_singles(l);
	} else { /* ample again: the singles give way to one multishot */
		cancel_singles(l);
	}
}

/* ---- life */
void listen_open(struct listener *l, struct io *io, int fd, int family, bool shared,
		 unsigned backlog, unsigned max_conns, const struct conn_mode *mode)
{
	memset(l, 0, sizeof *l);
	l->io = io;
	l->mode = *mode;
	l->mode.listener = l;
	l->fd = fd;
	l->family = family;
	l->shared = shared;
	l->backlog = backlog;
	l->max_conns = max_conns < io->cfg.auto_slots ? max_conns : io->cfg.auto_slots;
	list_init(&l->untaken);
	list_init(&l->waiters);
	l->queues = !mode->on_conn && !mode->on_request && !mode->cb;
	timer_init(&l->backoff, backoff_over);
	op_io_init(&l->multi, OP_ACCEPT_MULTI, multi_done);
	l->multi.ctx = l;
	op_cancel_init(&l->multi_cancel, multi_cancel_done);
	for (unsigned i = 0; i < LISTEN_SINGLES; i++) {
		struct listen_single *s = &l->single[i];
		s->listener = l;
		op_io_init(&s->io, OP_ACCEPT, single_done);
		op_cancel_init(&s->cancel, cancel_done);
	}
	list_push_back(&io->listeners, &l->node);
	listen_step(l);
	if (l->paused)
		listen_room_changed(io);
}

/* INV-28: closed only when no accept holds the socket: else the port stays busy for a while. */
static void step_or_finish(struct listener *l)
{
	bool busy = op_busy(&l->multi.op) || op_busy(&l->multi_cancel.op) || l->singles_live;

	if (!l->closing) {
		listen_step(l);
		return;
	}
	for (unsigned i = 0; i < LISTEN_SINGLES && !busy; i++)
		busy = op_busy(&l->single[i].cancel.op);
	if (l->ops_done)
		return;
	if (busy) {
		back_off(l);
		return;
	}
	l->ops_done = true;
	list_remove(&l->node);
	timer_cancel(&l->io->loop->wheel, &l->backoff);
	sys_close(l->fd);
	l->fd = -1;
	listener_unused(l);
}

void listen_close(struct listener *l)
{
	if (l->closing)
		return;
	l->closing = true;
	listener_queue_close(l);
	cancel_accepts(l);
	step_or_finish(l);
}

void listen_drain_step(struct listener *l)
{
	if (!l->closing && l->drain_passes-- <= 1)
		listen_close(l);
}
