/*
 * One schedule: what is set up, who acts when, and how it ends. The seed decides everything, but
 * for what a tweak takes away.
 */
#include "cells.h"
#include "play.h"

#define TURNS_MAX 20000	   /* of a run whose faults never stop */
#define CALM_TURNS 4000	   /* P6: once they have */
#define KEEP_OFF_NS 200000 /* at most: a worker that is away from its loop */
#define QUIET_NS (3600 * INT64_C(1000000000))

struct play play;
void (*schedule_on_fail)(struct world *w, const char *what);
bool schedule_keep_trace;

/* ---- configuration */
static const char *const local_names[RIG_LISTENERS] = { "unix:@0", "unix:@1", "unix:@2",
							"unix:@3" };

void listen_limits(rln_listen_opts *l)
{
	struct world *w = play.w;

	l->recv_max = 16 + world_rand(w, 3000);
	l->send_high = 1 + world_rand(w, 3000);
	l->send_low = 1 + world_rand(w, l->send_high);
	l->max_conns = play.tight ? 1 + (unsigned)play_rand(2) : play.strict ? 64 : rig_pow2(w, 5);
	l->backlog = play.strict ? 16 : (int)rig_pow2(w, 3);
	if (play.strict) /* the machine may stop for seconds: nothing may end because of it */
		l->close_timeout = l->close_max = l->send_stall = RLN_SEC(1000000);
	else if (play_chance(4))
		l->send_stall = RLN_MS(1 + (int64_t)play_rand(5000));
	if (!play.strict && play_chance(2))
		l->idle_timeout = RLN_MS(1 + (int64_t)world_rand(w, 2000));
}

static void listen_at(rln_listen_opts *l, unsigned i)
{
	listen_limits(l);
	play.local[i] = play_chance(6);
	l->addr = play.local[i] ? local_names[i] : "127.0.0.1:0";
}

/* Few beside those of the listeners: one for each door, at times. */
static void slots(unsigned n)
{
	struct config *c = &play.rig.rt.cfg;

	if (!play.tight && !play_chance(2))
		return;
	c->auto_slots = 1;
	for (unsigned i = 0; i < n + play.extra; i++)
		c->auto_slots += c->listener[i].set.max_conns;
}

static void configure(void)
{
	struct world *w = play.w;
	unsigned n = 1 + (unsigned)world_rand(w, 3), mode = (unsigned)world_rand(w, 3);
	rln_listen_opts l[4] = { 0 };
	rln_config c = { .listen = l, .nlisten = n + play.extra, .workers = play.workers };

	for (unsigned i = 0; i < n; i++) {
		listen_at(&l[i], i);
		server_listen(&l[i], play.storm ? 0 : (mode + i) % 3);
	}
	if (play.extra) {
		listen_at(&l[n], n);
		if (play.late)
			late_listen(&l[n]);
		else
			pour_listen(&l[n], play.decline);
		play.local_pour = play.local[n];
	}
	c.file_slots = play.strict ? 16 : rig_pow2(w, 5);
	if (!play.strict && play.workers == 1)
		c.max_tasks = play.few ? 3 + (unsigned)play_rand(3) : 8 + (unsigned)play_rand(40);
	rig_sizes(w, &c);
	if (play_chance(16))
		c.spin = 1 + (int64_t)play_rand(3000);
	if (play_chance(4)) /* nearly everything that may goes without a copy */
		c.zc_threshold = 1 + play_rand(50);
	if (play.lazy) /* hardly more than one buffer: receives are paused for it */
		c.buffer_budget = c.recv_buf_size + play_rand(500);
	if (play.stop_at != UINT_MAX && play_chance(2))
		c.drain_timeout = 1000 + (int64_t)play_rand(1ull << (10 + play_rand(23)));
	rig_init(&play.rig, w, &c);
	slots(n);
}

/* What connects to the last listener if that is not an echo. */
static void extra_peer(struct peer_config *pc)
{
	if (play.late) {
		pc->kind = PEER_HALF_CLOSE;
		pc->strict = play.strict;
		return;
	}
	pc->strict = false;
	if (!play.decline) {
		pour_peer(pc);
		return;
	}
	pc->kind = PEER_HALF_CLOSE; /* waits for no answer */
	pc->bytes += play.most;
}

static void add_peer(unsigned i)
{
	struct world *w = play.w;
	struct peer_config pc = { .kind = world_peer_kind(w),
				  .bytes = (size_t)world_rand(w, play_chance(4) ? play.most
										: play.most / 4),
				  .delay_ns = (int64_t)world_rand(w, 20000000) };
	unsigned last = play.rig.rt.cfg.set.nlisten - 1, to = (unsigned)world_rand(w, last + 1);

	pc.bytes >>= play.tweak->halve;
	if (play.storm && !play.strict && play_rand(4))
		pc.kind = PEER_RESET;
	if (pc.kind == PEER_SLOW)
		pc.bytes %= 60;
	pc.strict = play.strict &&
		    (pc.kind == PEER_NORMAL || pc.kind == PEER_SLOW || pc.kind == PEER_HALF_CLOSE);
	if (play.local[to])
		pc.name = local_names[to] + strlen("unix:@");
	if (play.extra && to == last)
		extra_peer(&pc);
	if (play.tweak->peers_off >> i & 1)
		return;
	struct sim_peer *p = world_peer(w, play.rig.ports[to], &pc);

	if (pc.kind == PEER_DRINK)
		play.drinks[play.ndrinks++] = p;
}

static void add_peers(void)
{
	unsigned n = (unsigned)play_rand(4);

	if (play_chance(16)) /* a crowd: tables, stacks and backlogs fill */
		n += (unsigned)play_rand(play.extra ? POURS - 3 : 16);
	for (unsigned i = 0; i < n; i++)
		add_peer(i);
}

/* ---- stepping */
static void shut_when_over(void)
{
	if (play.shut)
		return;
	if (play.rig.turns < play.stop_at &&
	    (world_peers_alive(play.w) || play.tasks != play.tasks_ended || play.bufs ||
	     !talk_over()))
		return;
	play.shut = true;
	rig_shutdown(&play.rig);
}

/* P6: from the drain of a run that ended by itself on, no fault happens. */
static void calm_when_shut(void)
{
	if (play.calm || !play.shut || play.stop_at != UINT_MAX)
		return;
	play.calm = true;
	play.calm_turns = play.rig.turns;
	world_calm(play.w);
}

/* The worker of this schedule that stops at times does so now: for its connections, at any moment.
 */
static void maybe_stall(unsigned i)
{
	if (i != play.stalled || play.calm || play.done[i] || !play_chance(64))
		return;
	play.stalled_until = world_now(play.w) + (int64_t)play_rand(1000000000);
	cells_worker(i, HIT_STALL);
}

static void turn(unsigned i, int64_t deadline)
{
	unsigned turns = ++play.rig.turns, since = play.calm ? turns - play.calm_turns : 0;

	if (since > CALM_TURNS || turns > TURNS_MAX)
		world_violates(play.w, PROP_P6, "no end after %u turns, %u of them without faults",
			       turns, since);
	if (deadline ==
	    0) /* no wait, whose ends would take it: this turn does what the wake is for */
		atomic_store(&play.rig.worker[i].loop.inbox.poked, false);
	play.began[i][1] = play.began[i][0];
	play.began[i][0] = world_now(play.w);
	if (play.alarm[i].armed && play.alarm[i].counts_ns == INT64_MAX)
		play.alarm[i].counts_ns = play.began[i][0];
	int done = worker_turn(&play.rig.worker[i], deadline);
	if (done < 0)
		world_fail(play.w, "turn: %d", done);
	play.done[i] = done;
	pace_turn(i, deadline == 0);
	maybe_stall(i);
	check_turn(i);
	shut_when_over();
	calm_when_shut();
}

/* Would its next turn do something without being told? */
static bool has_work(struct loop *l)
{
	return l->busy(l->busy_ctx) || ring_sq_space(&l->ring) < l->ring.u.sq.ring_entries ||
	       !list_empty(&l->ops.waiting) || !list_empty(&l->ops.finished) ||
	       ring_cq_ready(&l->ring) || inbox_pending(&l->inbox) ||
	       *l->ring.u.sq.kflags & IORING_SQ_CQ_OVERFLOW; /* its enter brings the rest */
}

static bool stalled(unsigned i)
{
	return i == play.stalled && world_now(play.w) < play.stalled_until;
}

/* When worker i has something to do; never in the past. */
static int64_t wants(unsigned i)
{
	struct loop *l = &play.rig.worker[i].loop;
	int64_t now = world_now(play.w), event, timer;

	if (play.done[i])
		return INT64_MAX;
	if (has_work(l))
		return now;
	event = world_ring_next(play.w, l->ring.u.ring_fd);
	timer = wheel_next(&l->wheel);
	timer = timer < event ? timer : event;
	return timer > now ? timer : now;
}

/* The outer worker sleeps: another one may act. When it wants to, at the latest. */
static int64_t other_acts(unsigned i)
{
	struct world *w = play.w;
	int64_t at = wants(i), soon = world_now(w) + 1 + (int64_t)world_rand(w, KEEP_OFF_NS);

	if (stalled(i) && at < play.stalled_until)
		return play.stalled_until;
	if (at > world_now(w))
		return at;
	if (world_rand(w, 3) == 0)
		return soon;
	turn(i, 0);
	at = wants(i);
	return at > soon ? at : soon;
}

static int64_t others_act(struct world *w, void *ctx)
{
	int64_t next = INT64_MAX;

	(void)w;
	(void)ctx;
	shut_when_over();
	calm_when_shut();
	for (unsigned i = 0; i < play.workers; i++) {
		int64_t at = i == play.outer ? INT64_MAX : other_acts(i);
		next = at < next ? at : next;
	}
	/* one that acted may have given one that was asked before it something to do */
	for (unsigned i = 0; i < play.workers; i++) {
		int64_t at = i == play.outer ? INT64_MAX : wants(i);
		if (stalled(i) && at < play.stalled_until)
			at = play.stalled_until;
		next = at < next ? at : next;
	}
	bool shut = play.shut;
	shut_when_over(); /* and it may have been the last there was to do */
	calm_when_shut();
	return play.shut == shut ? next : world_now(w);
}

static bool all_done(void)
{
	for (unsigned i = 0; i < play.workers; i++)
		if (!play.done[i])
			return false;
	return true;
}

/* Nobody runs for a while: the process was stopped, or one worker was. */
static void freeze(void)
{
	int64_t ns = 1 + (int64_t)play_rand(UINT64_C(1) << (10 + play_rand(24)));

	if (play.workers > 1 && play_chance(2)) {
		play.stalled = (unsigned)play_rand(play.workers);
		play.stalled_until = world_now(play.w) + ns;
	} else {
		world_run_until(play.w, world_now(play.w) + ns);
	}
}

static void step_to_end(void)
{
	while (!all_done()) {
		if (play.freezes && play_chance(play.freezes))
			freeze();
		play.outer = (unsigned)world_rand(play.w, play.workers);
		if (play.done[play.outer])
			continue;
		if (stalled(play.outer)) { /* time passes, for the others or for nobody */
			world_run_until(play.w,
					world_now(play.w) + (int64_t)play_rand(KEEP_OFF_NS * 100));
			continue;
		}
		turn(play.outer, world_rand(play.w, 4) ? INT64_MAX : 0);
	}
}

/* ---- one schedule */
static void on_fail(struct world *w, const char *what, void *ctx)
{
	(void)ctx;
	if (schedule_on_fail)
		schedule_on_fail(w, what);
}

static struct world *make_world(uint64_t seed, const struct tweak *t)
{
	static const enum world_fault breaks[] = { FAULT_RESET, FAULT_ACCEPT_ERR,
						   FAULT_CONNECT_ERR };
	struct world_config wc = { .on_wait = others_act,
				   .rings_by_hand = true,
				   .judge = true,
				   .lost_cancels = true,
				   .on_other = order_other,
				   .on_fail = on_fail,
				   .on_hit = cells_hit,
				   .resolve = clients_resolve };

	wc.calm_at = t->calm_at;
	if (play.storm && !play.strict) /* what happened is told late */
		wc.fault[FAULT_HOLD] = RATE_FREQUENT;
	for (unsigned i = 0; play.strict && i < sizeof breaks / sizeof *breaks; i++)
		wc.fault[breaks[i]] = RATE_OFF;
	if (play.strict)
		wc.fault[FAULT_TIME_JUMP] = RATE_OFF;
	for (unsigned i = 0; i < FAULT_COUNT; i++)
		if (t->without >> i & 1)
			wc.fault[i] = RATE_OFF;
	return world_new(seed, &wc);
}

static void prepare(uint64_t seed, const struct tweak *t)
{
	static const uint8_t workers[] = { 1, 1, 1, 1, 2, 2, 3, 1 };

	memset(&play, 0, sizeof play);
	pace_new();
	order_new();
	across_new();
	play.tweak = t;
	uint64_t bits = seed * 0x9e3779b97f4a7c15u; /* the world wants to know before it draws */

	play.strict = bits >> 63;
	play.storm = (bits >> 59 & 15) < 2 && !t->one_worker;
	/* one world in four has windows of a byte or two: a completion for each */
	play.most = seed % 4 ? 2000 : 120;
	play.w = make_world(seed, t);
	if (schedule_keep_trace)
		world_trace_keep(play.w);
	world_enter(play.w);
	play.workers = workers[play_rand(8)];
	play.workers = t->one_worker ? 1 : play.storm ? 2 : play.workers;
	play.rude = !play.strict && play_chance(2);
	play.deadlines = play.storm || play_chance(2);
	play.stop_at =
		play.strict || play_rand(play.storm ? 2 : 3) ? UINT_MAX : (unsigned)play_rand(400);
	play.extra = play_chance(2);
	play.decline = play.extra && play_chance(4);
	play.late = play.extra && !play.decline && play_chance(3);
	play.guarded = play_chance(2);
	play.hoard = play_chance(6);
	play.lazy = play_chance(6);
	play.selects = play_chance(3);
	play.tight = play.strict && !play.storm && play_chance(4);
	play.scarce = !play.strict && play_chance(8);
	play.few = play_chance(4);
	play.freezes = play_chance(5) ? 20 : 0;
	play.stalled = RIG_WORKERS;
	if (play.workers > 1 && play_chance(4)) {
		play.stalled = (unsigned)play_rand(play.workers);
		play.stalled_until = world_now(play.w) + (int64_t)play_rand(1000000000);
	}
}

/* Workers start one by one: nobody else acts yet. */
static void open_all(void)
{
	for (unsigned i = 0; i < play.workers; i++)
		play.done[i] = true;
	play.shut = play.calm = true;
	rig_open(&play.rig);
	play.shut = play.calm = false;
	for (unsigned i = 0; i < play.workers; i++)
		play.done[i] = false;
}

static void tell(struct outcome *out)
{
	const struct world_stats *s = world_stats(play.w);

	out->completions = s->cqes;
	out->enters = s->enters;
	out->bytes = s->bytes_received;
	out->hash = world_hash(play.w);
	for (enum peer_end end = PEER_ALIVE; end <= PEER_LEFT; end++)
		out->peers += world_peers_ended(play.w, PEER_KIND_COUNT, end);
	out->clean = world_peers_ended(play.w, PEER_KIND_COUNT, PEER_CLEAN);
	for (unsigned i = 0; i < FAULT_COUNT; i++) {
		out->fault[i] = s->fault[i];
		out->faults += s->fault[i];
	}
}

void schedule_run(uint64_t seed, const struct tweak *t, struct outcome *out)
{
	char why[200] = "";

	memset(out, 0, sizeof *out);
	prepare(seed, t);
	configure();
	open_all();
	clients_world();
	add_peers();
	for (unsigned i = 0; i < play.workers; i++) {
		if (!t->no_clients && play_chance(2))
			clients_start(i, 1 + (unsigned)play_rand(2));
		if (!t->no_chat && play_chance(2))
			talk_start(i);
		if (!t->no_chat && play_chance(6) && !play.few)
			door_start(i);
		if (!t->no_chat && play_chance(4) && !play.scarce)
			friends_start(i);
	}
	if (!t->no_chat && play_chance(4) && !play.scarce && !play.few)
		across_start((unsigned)play_rand(play.workers));
	if (play.scarce)
		world_scarce(play.w, 4 + (unsigned)play_rand(200));
	if (t->wrong)
		wrong_start(0);
	step_to_end();
	check_end();
	rig_end(&play.rig);
	world_run_until(play.w, world_now(play.w) + QUIET_NS);
	if (!world_check_quiet(play.w, why, sizeof why))
		world_violates(play.w, PROP_P4, "%s", why);
	tell(out);
	cells_flush();
	world_enter(NULL);
	world_free(play.w);
}
