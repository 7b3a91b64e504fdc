/*
 * The pace of a worker, from its own side. P7: turns in which nothing happened; what it asks of the
 * kernel in vain is counted there (sim_prop.c). P8: whoever waits longest for a buffer gets the
 * next.
 */
#include "play.h"

#define IN_A_ROW 16	/* such turns; a clock that was read too early gives two or three */
#define REST_NS 2000000 /* whoever waited for so long does not spin: two ticks */

/* What the turns of a worker have done so far. */
struct pace {
	int64_t at;
	uint64_t messages, fired, switches, lies;
	unsigned completions, requests;
	unsigned idle, timers; /* turns in a row: without anything, with timers alone */
};
static struct pace pace[RIG_WORKERS];

/* Who waits for a buffer. */
struct line {
	const struct list *first; /* longest; NULL: nobody */
	uint64_t joined;	  /* connections that ever began to wait */
	uint16_t tail;		  /* of the buffers that were given back */
};
static struct line line[RIG_WORKERS];

void pace_new(void)
{
	memset(pace, 0, sizeof pace);
	memset(line, 0, sizeof line);
}

/* Turns that nobody could help: the enter was interrupted, refused, or served in part. */
static uint64_t lies(void)
{
	const uint64_t *f = world_stats(play.w)->fault;

	return f[FAULT_EINTR] + f[FAULT_EBUSY] + f[FAULT_PARTIAL];
}

static void check_idle(unsigned i, bool asked_for)
{
	const struct worker *wk = &play.rig.worker[i];
	const struct ring *r = &wk->loop.ring;
	struct pace *p = &pace[i], now = { .at = world_now(play.w),
					   .messages = wk->loop.inbox.messages,
					   .fired = wk->loop.wheel.fired,
					   .switches = wk->sched.stats.switches,
					   .lies = lies(),
					   .completions = *r->u.cq.khead,
					   .requests = *r->u.sq.khead };
	bool worked = now.messages != p->messages || now.switches != p->switches ||
		      now.completions != p->completions || now.requests != p->requests;

	if (worked || asked_for || now.lies != p->lies || now.at - p->at > REST_NS) {
		*p = now;
		return;
	}
	now.timers = p->timers + (now.fired != p->fired);
	now.idle = p->idle + (now.fired == p->fired);
	*p = now;
	if (now.idle > IN_A_ROW || now.timers > IN_A_ROW)
		world_violates(play.w, PROP_P7,
			       "%u turns of worker %u in a row without anything, %u with timers "
			       "that did nothing",
			       now.idle, i, now.timers);
}

/* Buffers that were given back in this turn are for those who wait, the first of them first. */
static void check_line(unsigned i)
{
	const struct io *io = &play.rig.worker[i].io;
	struct line now = { .first = list_empty(&io->parked) ? NULL : io->parked.next,
			    .joined = io->stats.recv_parked,
			    .tail = bufring_tail(&io->bufs) };

	if (now.first && now.first == line[i].first && now.joined == line[i].joined &&
	    now.tail != line[i].tail)
		world_violates(play.w, PROP_P8,
			       "buffers came home, and none for the connection that waits longest");
	line[i] = now;
}

void pace_turn(unsigned i, bool asked_for)
{
	check_idle(i, asked_for);
	if (!play.done[i])
		check_line(i);
}
