/*
 * Cells: kind of hit x state of the connection. A connection is in several states at once (one of
 * each group below), and a hit counts in all of them. A cell that cannot be hit stands in the table
 * of the impossible with its reason; if it is hit all the same, the table is wrong, and the report
 * says so.
 */
#include "cells.h"

#include "play.h"
#include "base/mark.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* X(NAME, "in words"), in groups */
#define CELL_STATES(X)                                              \
	/* its life, and the phase of its close */                  \
	X(NEW, "taken by the kernel, the worker does not know yet") \
	X(OPEN, "open")                                             \
	X(FLUSH, "closing: what is queued goes out")                \
	X(LINGER, "closing: input is thrown away")                  \
	X(QUIESCE, "closing: its operations end")                   \
	X(OWED, "closing: notifications are owed")                  \
	X(CLOSE, "closing: its close is out")                       \
	X(REOPEN, "closing: its slot is taken already")             \
	/* its control operation, where one is out */               \
	X(CONNECT, "connects")                                      \
	X(PEER, "its peer's address is asked")                      \
	X(SHUTDOWN, "its FIN is on its way")                        \
	X(ABORT, "its reset is on its way")                         \
	X(HUP, "asks whether an end is a reset")                    \
	/* its receive */                                           \
	X(NO_RECV, "no receive is out")                             \
	X(PAUSED, "its receive is paused")                          \
	X(PARKED, "its receive waits for a buffer")                 \
	X(MULTI, "receives by a multishot")                         \
	X(FALLBACK, "receives into memory of its own")              \
	X(HOT, "receives bulk")                                     \
	X(INTO, "receives into its reader's memory")                \
	X(RECV_CANCEL, "its receive is being cancelled")            \
	/* its read side, where it has ended */                     \
	X(EOF_HELD, "an end that may be a reset")                   \
	X(EOF, "the peer's stream has ended")                       \
	X(READ_ERROR, "its read side failed")                       \
	/* what it sends */                                         \
	X(NO_SEND, "nothing to send")                               \
	X(SEND, "a send is out")                                    \
	X(SEND_ZC, "a zero-copy send is out")                       \
	X(SEND_CANCEL, "its send is being cancelled")               \
	X(RETRY, "a refused send waits for its time")               \
	X(NOTIF, "a notification is owed, and it is open")          \
	/* its write side, where it has ended */                    \
	X(FIN_WANTED, "FIN follows what is queued")                 \
	X(SHUT, "FIN is out")                                       \
	X(BROKEN, "its write side failed")                          \
	/* who serves it */                                         \
	X(TASK, "a task's, for its whole life")                     \
	X(REQUEST, "of request handlers")                           \
	X(CALLBACK, "of callbacks")                                 \
	X(HANDLE, "of whoever holds its handle")                    \
	X(READER, "somebody waits for its input")                   \
	X(SENDER, "somebody waits for room to send")                \
	X(STARVED, "waits for a stack")                             \
	X(GIVING, "on its way to another worker")                   \
	X(GIVEN, "came from another worker")                        \
	/* its worker */                                            \
	X(DRAIN, "its worker drains")                               \
	X(LATE, "its worker's drain took too long")                 \
	/* of a listener */                                         \
	X(L_MULTI, "a listener accepts by a multishot")             \
	X(L_SINGLE, "a listener accepts one by one")                \
	X(L_FULL, "a listener waits for room")                      \
	X(L_CANCEL, "a listener cancels an accept")                 \
	X(L_BACKOFF, "a listener waits after an error")             \
	X(L_CLOSING, "a listener closes")

enum cell_state {
#define STATE_ENUM(id, what) S_##id,
	CELL_STATES(STATE_ENUM)
#undef STATE_ENUM
		STATE_COUNT
};
_Static_assert(STATE_COUNT <= 64, "a set of states is 64 bits");
_Static_assert(HIT_COUNT <= 32, "a set of hits is 32 bits");

static const char *const state_names[] = {
#define STATE_NAME(id, what) #id,
	CELL_STATES(STATE_NAME)
#undef STATE_NAME
};
static const char *const state_texts[] = {
#define STATE_TEXT(id, what) what,
	CELL_STATES(STATE_TEXT)
#undef STATE_TEXT
};
static const char *const hit_names[] = {
#define HIT_NAME(id, what) #id,
	WORLD_HITS(HIT_NAME)
#undef HIT_NAME
};
static const char *const hit_texts[] = {
#define HIT_TEXT(id, what) what,
	WORLD_HITS(HIT_TEXT)
#undef HIT_TEXT
};

/* ---- what cannot be */
#define S(id) (1ull << S_##id)
#define H(id) (1u << HIT_##id)

#define LISTENER (~0ull << S_L_MULTI)
#define CONNECTION (~LISTENER)
/* Every operation but the close has ended, or none has begun. */
#define NO_OPS (S(NEW) | S(OWED) | S(CLOSE) | S(REOPEN))
#define SENDS (H(SHORT_SEND) | H(SHORT_WAITALL) | H(SEND_ERR))
#define SENDS_ZC (H(ZC_LATE) | H(ZC_REFUSED) | H(ZC_DENIED))
#define RECEIVES (H(SHORT_RECV) | H(RECV_ERR) | H(NOBUFS) | H(MULTI_END))
#define CANCELS (H(CANCEL) | H(CANCEL_PART) | H(CANCEL_LATE) | H(CANCEL_MISS))
/* What hits one operation; what hits a connection; what hits a worker with all that it has. */
#define AN_OP (H(DEFER) | H(HOLD) | H(OVERFLOW) | H(PARTIAL) | H(EBUSY))
#define ITS_PEER (H(FIN) | H(RESET) | H(TIMEOUT))
#define A_WORKER (H(EINTR) | H(FREEZE) | H(STALL) | H(ALLOC))

static const struct impossible {
	uint32_t hits;
	uint64_t states;
	const char *why;
} impossible[] = {
	{ SENDS | SENDS_ZC | RECEIVES | CANCELS | H(CONNECT_ERR) | H(GIVE_ERR), NO_OPS,
	  "none of these operations is out" },
	{ AN_OP, S(NEW), "no operation names it yet" },
	{ A_WORKER, S(NEW), "of a whole worker: what it does not know is not looked at" },
	{ H(DEFER), S(CLOSE) | S(REOPEN), "a close runs at once" },
	{ H(HOLD) | H(PARTIAL) | H(EBUSY), S(REOPEN), "its close has run: who else got the slot?" },
	{ SENDS | SENDS_ZC | H(SHORT_RECV) | H(RECV_ERR) | H(NOBUFS) | H(CONNECT_ERR) |
		  H(GIVE_ERR) | H(CANCEL_PART) | ITS_PEER,
	  LISTENER, "not of a listener" },
	{ H(ACCEPT_ERR), CONNECTION, "of a listener" },
	{ AN_OP | CANCELS | H(ACCEPT_ERR) | H(MULTI_END), S(L_FULL), "nothing of it is out" },
	{ H(DEFER), S(L_FULL), "a cancel runs at once" },
	{ H(MULTI_END), S(L_SINGLE) | S(L_BACKOFF), "no multishot is out" },
	{ H(CANCEL_LATE), S(L_MULTI), "a multishot is cancelled at once, or has run" },
	{ RECEIVES,
	  S(CONNECT) | S(PEER) | S(NO_RECV) | S(PAUSED) | S(PARKED) | S(EOF) | S(READ_ERROR),
	  "no receive is out" },
	{ H(NOBUFS) | H(MULTI_END), S(FALLBACK) | S(HOT) | S(INTO), "not a multishot" },
	{ SENDS | SENDS_ZC | H(CANCEL_PART),
	  S(CONNECT) | S(PEER) | S(LINGER) | S(SHUTDOWN) | S(NO_SEND) | S(RETRY) | S(SHUT) |
		  S(BROKEN) | S(GIVING),
	  "no send is out" },
	{ H(SEND_ERR), S(SEND_ZC), "one send at a time: a plain one" },
	{ SENDS_ZC, S(SEND), "one send at a time: a zero-copy one" },
	{ H(CONNECT_ERR),
	  CONNECTION & ~(S(CONNECT) | S(QUIESCE) | S(NO_RECV) | S(NO_SEND) | S(HANDLE) | S(DRAIN) |
			 S(LATE)),
	  "it only connects" },
	{ H(GIVE_ERR),
	  S(CONNECT) | S(PEER) | S(SHUTDOWN) | S(ABORT) | S(HUP) | S(FLUSH) | S(LINGER) |
		  S(QUIESCE) | S(PARKED) | S(MULTI) | S(FALLBACK) | S(HOT) | S(INTO) |
		  S(RECV_CANCEL) | S(EOF_HELD) | S(SEND) | S(SEND_ZC) | S(SEND_CANCEL) | S(RETRY) |
		  S(NOTIF) | S(FIN_WANTED) | S(SHUT) | S(BROKEN) | S(READER) | S(SENDER) |
		  S(STARVED),
	  "not while anything else is out or wanted" },
	{ CANCELS, S(PEER), "its question is awaited" },
	{ H(STALL), S(STARVED), "schedules with few tasks have one worker" },
	{ H(FIN), S(HUP), "its end has come" },
};

static const char *why_not(unsigned h, unsigned s)
{
	for (unsigned i = 0; i < sizeof impossible / sizeof *impossible; i++)
		if (impossible[i].hits >> h & 1 && impossible[i].states >> s & 1)
			return impossible[i].why;
	return NULL;
}

/* ---- counters */
#define MARKS_MAX 512

struct counts {
	uint64_t cell[HIT_COUNT][STATE_COUNT];
	uint64_t mark[MARKS_MAX];
};
static struct counts own, *counts = &own, *shared = &own;
static unsigned sharers = 1;

extern struct mark *const __start_rln_marks[] __attribute__((weak));
extern struct mark *const __stop_rln_marks[] __attribute__((weak));

static unsigned mark_count(void)
{
	return (unsigned)(__stop_rln_marks - __start_rln_marks);
}

void cells_open(unsigned runners)
{
	shared = mmap(NULL, runners * sizeof *shared, PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED) {
		perror("mmap");
		exit(2);
	}
	sharers = runners;
	RLN_ASSERT(mark_count() <= MARKS_MAX);
}

void cells_runner(unsigned i)
{
	counts = &shared[i];
}

void cells_flush(void)
{
	for (unsigned i = 0; i < mark_count(); i++) {
		counts->mark[i] += __start_rln_marks[i]->hits;
		__start_rln_marks[i]->hits = 0;
	}
}

/* ---- states */
static uint64_t life_of(const struct conn *c)
{
	static const uint64_t closing[] = {
		[CLOSE_FLUSH] = S(FLUSH),     [CLOSE_LINGER] = S(LINGER), [CLOSE_FIN] = S(QUIESCE),
		[CLOSE_RESET] = S(QUIESCE),   [CLOSE_OWED] = S(OWED),	  [CLOSE_DIRECT] = S(CLOSE),
		[CLOSE_QUIESCE] = S(QUIESCE),
	};

	if (c->life == LIFE_OPENING)
		return 0; /* its control operation says why */
	if (c->life == LIFE_OPEN)
		return S(OPEN);
	return closing[c->phase] | (c->reopen && c->phase == CLOSE_DIRECT ? S(REOPEN) : 0);
}

static uint64_t control_of(const struct conn *c)
{
	static const uint64_t kinds[] = {
		[CTL_CONNECT] = S(CONNECT), [CTL_PEER] = S(PEER), [CTL_SHUTDOWN] = S(SHUTDOWN),
		[CTL_RESET] = S(ABORT),	    [CTL_HUP] = S(HUP),	  [CTL_CLOSE] = 0,
	};
	return conn_ctl_busy(c) ? kinds[c->ctl_kind] : 0;
}

static uint64_t receive_of(const struct conn *c)
{
	static const uint64_t armed[] = {
		[RECV_MULTISHOT] = S(MULTI),   [RECV_SELECT_ONE] = S(MULTI),
		[RECV_FALLBACK] = S(FALLBACK), [RECV_HOT] = S(HOT),
		[RECV_INTO] = S(INTO),
	};

	switch ((enum conn_arm)c->arm) {
	case ARM_ARMED:
		return armed[c->recv_mode];
	case ARM_CANCELLING:
		return armed[c->recv_mode] | S(RECV_CANCEL);
	case ARM_PARKED:
		return S(PARKED);
	default:
		return c->paused && c->life == LIFE_OPEN ? S(PAUSED) : S(NO_RECV);
	}
}

static uint64_t send_of(const struct conn *c)
{
	uint64_t s = 0;

	if (op_busy(&c->send))
		s |= S(SEND);
	if (c->zc_live)
		s |= S(SEND_ZC);
	if (c->send_cancelled && s)
		s |= S(SEND_CANCEL);
	if (c->retry_send)
		s |= S(RETRY);
	if (!s && !c->tx_head)
		s |= S(NO_SEND);
	if (c->zc_owed && c->life == LIFE_OPEN)
		s |= S(NOTIF);
	return s;
}

static uint64_t ends_of(const struct conn *c)
{
	static const uint64_t read[] = { 0, S(EOF), S(READ_ERROR) };
	static const uint64_t write[] = { 0, S(FIN_WANTED), S(SHUT), S(BROKEN) };

	return read[c->read] | write[c->write] | (c->eof_held ? S(EOF_HELD) : 0);
}

static uint64_t service_of(const struct conn *c)
{
	uint64_t s = c->mode->cb	   ? S(CALLBACK)
		     : c->mode->on_request ? S(REQUEST)
		     : c->mode->on_conn	   ? S(TASK)
					   : S(HANDLE);

	if (!list_empty(&c->reader))
		s |= S(READER);
	if (!list_empty(&c->senders))
		s |= S(SENDER);
	if (c->starved)
		s |= S(STARVED);
	if (c->giving)
		s |= S(GIVING);
	if (c->own_mode && !conn_explicit_slot(c))
		s |= S(GIVEN);
	return s;
}

static uint64_t worker_states(const struct worker *wk)
{
	return wk->io.cancelled ? S(DRAIN) | S(LATE) : wk->io.draining ? S(DRAIN) : 0;
}

static uint64_t conn_states(const struct conn *c)
{
	return life_of(c) | control_of(c) | receive_of(c) | ends_of(c) | send_of(c) | service_of(c);
}

/* all: as one of all there is; else something of it is out. */
static uint64_t listener_states(const struct listener *l, bool all)
{
	uint64_t s = l->closing ? S(L_CLOSING) : l->backing_off ? S(L_BACKOFF) : 0;

	for (unsigned i = 0; i < LISTEN_SINGLES; i++)
		if (l->single[i].asked && op_busy(&l->single[i].io.op))
			s |= S(L_CANCEL);
	if (op_busy(&l->multi.op))
		s |= S(L_MULTI) | (l->multi_asked ? S(L_CANCEL) : 0);
	if (l->singles_live)
		s |= S(L_SINGLE);
	if (all && l->paused)
		s |= S(L_FULL);
	return s;
}

/* ---- whom a hit hits */
static struct worker *worker_of(int ring_fd)
{
	struct ctx *ctx = ctx_current();

	for (unsigned i = 0; i < play.rig.opened; i++) {
		struct worker *wk = &play.rig.worker[i];

		if (ring_fd ? wk->loop.ring.kernel && wk->loop.ring.u.ring_fd == ring_fd
			    : ctx && wk->ctx == ctx)
			return wk->io_open ? wk : NULL;
	}
	return NULL;
}

static uint64_t slot_states(const struct io *io, unsigned slot)
{
	struct conn *page = slot / CONN_PAGE < io->pages ? io->page[slot / CONN_PAGE] : NULL;
	const struct conn *c = page ? &page[slot % CONN_PAGE] : NULL;

	return c && c->life != LIFE_CLOSED ? conn_states(c) : S(NEW);
}

static bool owns(const struct conn *c, uint64_t user_data)
{
	uintptr_t from = (uintptr_t)c;

	if (user_data >= from && user_data < from + sizeof *c)
		return true;
	if (c->zc_live && user_data == (uintptr_t)&c->tx_head->guard.op)
		return true;
	return c->giving && c->life == LIFE_OPEN && c->give && user_data == (uintptr_t)c->give;
}

static uint64_t op_states(const struct io *io, uint64_t user_data)
{
	for (unsigned p = 0; p < io->pages; p++) {
		const struct conn *page = io->page[p];

		for (unsigned i = 0; page && i < CONN_PAGE; i++)
			if (page[i].life != LIFE_CLOSED && owns(&page[i], user_data))
				return conn_states(&page[i]);
	}
	list_for_each (n, &io->listeners) {
		const struct listener *l = container_of(n, struct listener, node);

		if (user_data >= (uintptr_t)l && user_data < (uintptr_t)(l + 1))
			return listener_states(l, false);
	}
	return 0;
}

static void count(enum world_hit h, uint64_t states)
{
	for (; states; states &= states - 1)
		counts->cell[h][__builtin_ctzll(states)]++;
}

static void hit_all(const struct worker *wk, enum world_hit h)
{
	const struct io *io = &wk->io;
	uint64_t also = worker_states(wk);

	for (unsigned p = 0; p < io->pages; p++)
		for (unsigned i = 0; io->page[p] && i < CONN_PAGE; i++)
			if (io->page[p][i].life != LIFE_CLOSED)
				count(h, conn_states(&io->page[p][i]) | also);
	list_for_each (n, &io->listeners)
		count(h, listener_states(container_of(n, struct listener, node), true));
}

void cells_worker(unsigned i, enum world_hit h)
{
	if (play.rig.worker[i].io_open)
		hit_all(&play.rig.worker[i], h);
}

void cells_hit(struct world *w, enum world_hit h, const struct world_where *at)
{
	const struct worker *wk = at->ring_fd < 0 ? NULL : worker_of(at->ring_fd);
	uint64_t states;

	(void)w;
	if (at->ring_fd < 0)
		for (unsigned i = 0; i < play.rig.opened; i++)
			cells_worker(i, h);
	if (!wk)
		return;
	if (at->slot < 0 && !at->user_data) {
		hit_all(wk, h);
		return;
	}
	states = at->slot >= 0 ? slot_states(&wk->io, (unsigned)at->slot)
			       : op_states(&wk->io, at->user_data);
	if (states)
		count(h, states | (states & LISTENER ? 0 : worker_states(wk)));
}

/* ---- the report */
static uint64_t cell_sum(unsigned h, unsigned s)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < sharers; i++)
		sum += shared[i].cell[h][s];
	return sum;
}

/* A digit more for ten times as much. */
static char magnitude(unsigned h, unsigned s)
{
	uint64_t n = cell_sum(h, s);
	char c = '1';

	if (!n)
		return why_not(h, s) ? '-' : '.';
	for (; n >= 10 && c < '9'; n /= 10)
		c++;
	return why_not(h, s) ? '!' : c;
}

static void print_table(void)
{
	for (unsigned h = 0; h < HIT_COUNT; h++)
		printf("  %c  %-12s %s\n", 'A' + (int)h + (h > 25 ? 6 : 0), hit_names[h],
		       hit_texts[h]);
	printf("-: impossible, .: never, 1: less than 10 times, 2: less than 100, ...\n%-12s", "");
	for (unsigned h = 0; h < HIT_COUNT; h++)
		printf(" %c", 'A' + (int)h + (h > 25 ? 6 : 0));
	for (unsigned s = 0; s < STATE_COUNT; s++) {
		printf("\n%-12s", state_names[s]);
		for (unsigned h = 0; h < HIT_COUNT; h++)
			printf(" %c", magnitude(h, s));
		printf("  %s", state_texts[s]);
	}
	printf("\n");
}

static void print_cells(void)
{
	unsigned hit = 0, possible = 0;

	for (unsigned h = 0; h < HIT_COUNT; h++)
		for (unsigned s = 0; s < STATE_COUNT; s++) {
			bool yes = cell_sum(h, s), can = !why_not(h, s);

			hit += yes && can;
			possible += can;
			if (yes && !can)
				printf("WRONG: %s x %s was hit, and is said to be impossible: %s\n",
				       hit_names[h], state_names[s], why_not(h, s));
		}
	printf("cells hit %u of %u\n", hit, possible);
	for (unsigned h = 0; h < HIT_COUNT && hit != possible; h++) {
		bool any = false;

		for (unsigned s = 0; s < STATE_COUNT; s++) {
			if (cell_sum(h, s) || why_not(h, s))
				continue;
			if (!any)
				printf("  never: %s x", hit_names[h]);
			printf(" %s", state_names[s]);
			any = true;
		}
		if (any)
			printf("\n");
	}
}

/* What no schedule can reach, and who does. */
static const struct {
	const char *name, *why;
} beyond[] = {
	{ "hot-too-many", "65 connections that move bulk: sim/test_runtime_bulk" },
	{ "zc-unsupported", "a kernel that knows the operation and not its socket: fuzz tx" },
	{ "accept-peer-unknown",
	  "kernels keep the name of a reset connection: for a disconnected one" },
	{ "op-chain-waits-for-room", "the runtime has no chains yet: unit/test_op, fuzz op" },
	{ "buffer-ring-refused", "a start that fails: sim/test_torture" },
	{ "task-without-a-stack", "the first slab holds 256: sim/test_torture" },
	{ "kop-result-beats-its-cancel", "no task waits for an operation: unit/test_kop" },
	{ "kop-cancel-waits-for-the-one-before", "the same: unit/test_kop_again" },
	{ "chunk-not-pooled", "65 free ones of a class, or runs of more than 256 KiB: e2e" },
};
#define BEYOND (sizeof beyond / sizeof *beyond)

static const char *mark_beyond(const char *name)
{
	for (unsigned i = 0; i < BEYOND; i++)
		if (strcmp(beyond[i].name, name) == 0)
			return beyond[i].why;
	return NULL;
}

static uint64_t mark_sum(unsigned m)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < sharers; i++)
		sum += shared[i].mark[m];
	return sum;
}

static void print_marks(bool table)
{
	unsigned hit = 0, all = mark_count(), can = 0;

	for (unsigned m = 0; m < all; m++) {
		const char *name = __start_rln_marks[m]->name, *why = mark_beyond(name);

		hit += mark_sum(m) && !why;
		can += !why;
		if (table)
			printf("  %-44s %llu %s\n", name, (unsigned long long)mark_sum(m),
			       why ? why : "");
		if (mark_sum(m) && why)
			printf("WRONG: %s was reached, and is said to be beyond: %s\n", name, why);
	}
	printf("marks %u of %u%s\n", hit, can, all ? "" : " (this build has none)");
	for (unsigned m = 0; m < all; m++)
		if (!mark_sum(m) && !mark_beyond(__start_rln_marks[m]->name))
			printf("  never: %s\n", __start_rln_marks[m]->name);
}

void cells_report(bool table)
{
	if (table)
		print_table();
	print_cells();
	print_marks(table);
}
