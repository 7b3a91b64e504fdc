/*
 * What is true of a run: the oracles outside the library. Streams are checked where they are read
 * (the world's peers, play_client.c); time in play_talk.c; memory and order in the simulator.
 */
#include "play.h"

static unsigned slot_of(rln_conn c)
{
	return (unsigned)(c.h >> 32) & 0xffffff;
}

bool sock_of(rln_conn c, struct world_sock *s)
{
	return world_sock_in(play.w, play.rig.worker[rln_worker()].loop.ring.u.ring_fd, slot_of(c),
			     s);
}

/* P10: an end of stream is told only of a peer that ended its stream. */
static void check_eof(rln_conn c)
{
	struct world_sock s;

	if (sock_of(c, &s) && !s.fin)
		world_violates(play.w, PROP_P10, "an end of stream that the peer never sent%s",
			       s.broken ? ": it was reset" : "");
}

/* P10: an error stays; before it comes what was received before it, which a call may have left. */
static void check_sticky(rln_conn c, ssize_t err)
{
	rln_view v;
	ssize_t again;

	do
		again = rln_try_recv(c, &v);
	while (again > 0);
	if (again != err && again != -EBADF)
		world_violates(play.w, PROP_P10, "a receive gave %zd, and then %zd", err, again);
}

void check_received(rln_conn c, ssize_t n)
{
	if (n == 0)
		check_eof(c);
	else if (n == -ECONNRESET || n == -ETIMEDOUT)
		check_sticky(c, n);
}

/* ---- after each turn */

/* Whoever serves c can do nothing but wait for more input. */
static bool waits_for_input(const struct conn *c)
{
	if (c->mode->cb)
		return !c->data_blocked;
	return !list_empty(&c->reader) || (c->mode->on_request && !c->serving);
}

/*
 * P5: a connection whose peer may send receives, or something will make it: its reader, the next
 * step of what it waits for, or the room that comes when others are read.
 */
static void check_receives(const struct conn *c)
{
	bool listed = list_linked(&c->parked), paused = conn_paused(c), waits = waits_for_input(c);

	if (c->read != READ_OPEN || c->arm != ARM_IDLE || c->is_dirty || c->eof_held || c->giving)
		return;
	if (c->hot_waits || (c->bulk && !waits) || (c->reading && list_empty(&c->reader)))
		return; /* the last: a reader that was woken looks for itself */
	if (waits && c->rx.bytes < c->mode->recv_max)
		world_violates(play.w, PROP_P5, "who waits for more of %zu bytes gets none",
			       (size_t)c->rx.bytes);
	if (!listed && (!paused || c->rx.bytes < c->mode->recv_max))
		world_violates(play.w, PROP_P5, "nothing ends the pause of a receive");
}

/*
 * P9: what a connection may hold: recv_max, and the receive that was under way then: of a buffer or
 * of all there are, or of its own memory; send_high, and one send of what a handler could have.
 */
#define OWN_BYTES 65536 /* of a receive that uses no buffer */
#define CALL_BYTES 700	/* of a send that is not what was received */

/* Its handler only pours: it has nothing to send back. */
static bool pours(const struct worker *wk, const struct conn *c)
{
	const struct listener *l = wk->listeners;

	return play.extra && !play.decline && !play.late &&
	       c->mode->listener == &l[play.rig.rt.cfg.set.nlisten - 1];
}

/* The most that a receive into memory of its own brought; it may have been on another worker. */
static size_t own_receive(const struct worker *wk, const struct conn *c)
{
	struct world_sock s;
	bool any = false;

	for (unsigned i = 0; i < play.workers && !any; i++) {
		const struct io_stats *st = &play.rig.worker[i].io.stats;
		any = st->recv_fallback || st->recv_hot;
	}
	if (!any)
		return 0;
	if (!world_sock_in(play.w, wk->loop.ring.u.ring_fd, c->slot, &s) || s.window > OWN_BYTES)
		return OWN_BYTES;
	return s.window;
}

/* P9: who waits for the other end before a close does so for two seconds without a byte. */
static void check_linger(const struct worker *wk, const struct conn *c)
{
	int64_t due = c->last_rx_ns + RLN_SEC(2), before = play.began[wk->index][1];

	if (c->life == LIFE_CLOSING && c->phase == CLOSE_LINGER && before > due + RLN_MS(1))
		world_violates(play.w, PROP_P9, "a close lingers %lld ns too long",
			       (long long)(before - due));
}

static void check_conn(struct conn *c, void *ctx)
{
	const struct worker *wk = ctx;
	const struct io *io = c->io;
	size_t late = (size_t)io->bufs.capacity * io->bufs.buf_bytes, in, out;

	check_linger(wk, c);
	if (c->life != LIFE_OPEN)
		return;
	check_receives(c);
	late = late > own_receive(wk, c) ? late : own_receive(wk, c);
	in = c->mode->recv_max + late + io->bufs.buf_bytes;
	out = c->mode->send_high + (pours(wk, c) ? CALL_BYTES : RIG_OWN_BYTES);
	if (c->rx.bytes > in)
		world_violates(play.w, PROP_P9, "a connection holds %zu bytes of input, of %zu",
			       (size_t)c->rx.bytes, in);
	if (c->tx_bytes > out)
		world_violates(play.w, PROP_P9, "a connection holds %zu bytes of output, of %zu",
			       c->tx_bytes, out);
}

/* Turns between two calls of the walkers, which look at everything. */
#define CHECK_EVERY 16

void check_turn(unsigned i)
{
	struct worker *wk = &play.rig.worker[i];

	if (play.rig.turns % CHECK_EVERY || play.done[i])
		return;
	io_each_conn(&wk->io, check_conn, wk);
}

/* ---- at the end */

/* Tasks that had not begun when the time for a drain was over never do. */
static bool cut_short(void)
{
	for (unsigned i = 0; i < play.workers; i++)
		if (play.rig.worker[i].drain_due)
			return true;
	return false;
}

void check_end(void)
{
	for (unsigned i = 0; i < play.workers; i++)
		for (unsigned j = 0; j < play.workers; j++)
			if (play.lane[i][j].run != play.lane[i][j].posted)
				world_violates(play.w, PROP_P1, "%u messages ran of %u",
					       play.lane[i][j].run, play.lane[i][j].posted);
	for (unsigned i = 0; i < play.ndrinks; i++)
		pour_check(play.drinks[i]);
	across_check();
	if (play.opened > play.closed)
		world_violates(play.w, PROP_P1, "%u connections served, %u told of their end",
			       play.opened, play.closed);
	if (play.tasks_ended > play.tasks || (play.tasks_ended < play.tasks && !cut_short()))
		world_violates(play.w, PROP_P4, "%u tasks started, %u ended", play.tasks,
			       play.tasks_ended);
	if (play.bufs)
		world_violates(play.w, PROP_P4, "%u received buffers not released", play.bufs);
	if (play.rig.pieces != play.rig.released)
		world_violates(play.w, PROP_P1, "%u guarded sends, %u releases", play.rig.pieces,
			       play.rig.released);
}
