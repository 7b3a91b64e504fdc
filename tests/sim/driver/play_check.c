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

/* P9: what a connection may hold, as documented: recv_max or send_high, and one step over it. */
static void check_conn(struct conn *c, void *ctx)
{
	const struct rig *r = &play.rig;
	size_t pool = (size_t)r->rt.cfg.recv_bufs_max * r->rt.cfg.set.recv_buf_size;

	(void)ctx;
	if (c->life != LIFE_OPEN)
		return;
	check_receives(c);
	if (c->rx.bytes > c->mode->recv_max + pool + RIG_OWN_BYTES)
		world_violates(play.w, PROP_P9, "a connection holds %zu bytes of input",
			       (size_t)c->rx.bytes);
	if (c->tx_bytes > c->mode->send_high + 2 * RIG_OWN_BYTES)
		world_violates(play.w, PROP_P9, "a connection holds %zu bytes of output",
			       c->tx_bytes);
}

/* Turns between two calls of the walkers, which look at everything. */
#define CHECK_EVERY 32

void check_turn(unsigned i)
{
	struct worker *wk = &play.rig.worker[i];

	if (play.rig.turns % CHECK_EVERY || play.done[i])
		return;
	io_each_conn(&wk->io, check_conn, NULL);
}

/* ---- at the end */

/* Tasks that had not begun when the time for a drain was over never do. */
static bool cut_short(void)
{
	for (unsigned i = 0; i < play.workers; i++)
		if (play.rig.worker[i].cut_short)
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
