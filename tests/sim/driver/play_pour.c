/*
 * Servers that are not asked: one pours a stream and leaves at once, its peers only drink; one
 * declines whatever comes. And those who act on a connection from beside its handler.
 */
#include "play.h"

static struct pour *pour_new(rln_conn c)
{
	struct sockaddr_storage at;
	struct world_sock far;
	struct pour *p = &play.pour[play.pours++];

	if (play.pours > POURS)
		world_fail(play.w, "more connections to pour than peers");
	if (rln_peer(c, &at) < 0)
		world_violates(play.w, PROP_P1, "a connection without a peer");
	p->c = c;
	if (sock_of(c, &far))
		p->peer = far.far;
	return p;
}

/* Memory that nobody waits for: a peer may read it as late as it likes. */
static ssize_t send_guarded(rln_conn c, const uint8_t *p, size_t n)
{
	uint8_t *own = malloc(n);

	memcpy(own, p, n);
	rln_piece pc[2] = { { own, n, free, own }, { "", 0, rig_released, &play.rig.released } };
	play.rig.pieces++;
	return rln_send_pieces(c, pc, 2);
}

/* P12: places are given out as the calls are made; so must the bytes leave. */
static ssize_t pour_some(rln_conn c, struct pour *p)
{
	uint8_t buf[700];
	size_t n = 1 + play_rand(p->left < sizeof buf ? p->left : sizeof buf), at = p->called;
	bool copied = n <= play.rig.rt.shared.send_chunk;
	ssize_t r;

	n = n < p->left ? n : p->left;
	order_call(p->peer, at, n);
	p->called += n;
	p->left -= n;
	for (size_t i = 0; i < n; i++)
		buf[i] = peer_poured(p->peer, at + i) ^ wrong(PROP_P3);
	if (play.guarded)
		r = send_guarded(c, buf, n);
	else if (p->shared || play.strict || play_rand(8))
		r = rig_send(&play.rig, c, buf, n);
	else
		r = RLN_WITHIN(RLN_MS(play_rand(100)), rig_send(&play.rig, c, buf, n));
	memset(buf, 0xee, sizeof buf); /* nobody needs it any more */
	if (r > 0 && (size_t)r != n)
		world_violates(play.w, PROP_P1, "a send of %zu returned %zd", n, r);
	p->accepted += r > 0 ? n : 0;
	if (r == -ENOMEM && p->shared) { /* the others' bytes must not follow a gap */
		p->closed = true;
		(void)rln_reset(c);
	}
	if (r == -ECANCELED && p->shared && p->peer)
		peer_gap(p->peer, at); /* without effect; what others had queued behind it stays */
	/* nothing waits between queueing what is copied and the return of the call */
	if (r > 0 && p->closed && copied && !play.guarded)
		world_violates(play.w, PROP_P1, "bytes accepted for a closed connection");
	return r;
}

static int writer(void *arg)
{
	struct pour *p = arg;

	while (p->left && pour_some(p->c, p) > 0) {
		if (play_chance(10))
			(void)rln_yield();
		if (play.rude && play_chance(8)) {
			p->closed = true;
			(void)(play_chance(2) ? rln_reset(p->c) : rln_close(p->c));
		}
	}
	return 0;
}

/* Others write to the same stream. */
static void pour(rln_conn c, struct pour *p)
{
	unsigned n = (unsigned)play_rand(3);
	rln_task other[2];
	int result;

	p->left = play_rand(play.most / (play_chance(4) ? 1 : 4) + 1) >> play.tweak->halve;
	play.opened++;
	if (play.rude && play_chance(3))
		beside(c, false);
	for (unsigned i = 0; i < n; i++)
		if (rln_spawn(writer, p, NULL, &other[i]) < 0)
			n = i;
	p->shared = n > 0; /* none of them has run yet */
	(void)writer(p);
	for (unsigned i = 0; i < n; i++)
		(void)rln_join(other[i], &result);
}

static void task_pour(rln_conn c, void *arg)
{
	(void)arg;
	pour(c, pour_new(c));
}

/* By callbacks: the connection has no task of its own, and somebody else's pours. */
static int pour_beside(void *arg)
{
	struct pour *p = arg;

	pour(p->c, p);
	(void)rln_close(p->c);
	play.tasks_ended++;
	return 0;
}

static void pour_opened(rln_conn c, void *arg)
{
	(void)arg;
	if (rln_go(pour_beside, pour_new(c), NULL) == 0)
		play.tasks++;
	else
		(void)rln_close(c);
}

static void pour_closed(rln_conn c, int err, void *arg)
{
	(void)c;
	(void)err;
	(void)arg;
	play.closed++;
}

static size_t data_decline(rln_conn c, const uint8_t *p, size_t n, void *arg)
{
	(void)c;
	(void)p;
	(void)n;
	(void)arg;
	return 0;
}

/* Looks, and takes nothing. */
static int request_decline(rln_conn c, void *arg)
{
	rln_view v;

	(void)arg;
	return rln_peek(c, 1, &v) < 0 ? RLN_CLOSE : RLN_KEEP;
}

static void eof_leave(rln_conn c, void *arg)
{
	(void)arg;
	(void)rln_close(c);
}

static size_t data_drop(rln_conn c, const uint8_t *p, size_t n, void *arg)
{
	(void)c;
	(void)p;
	(void)arg;
	return n;
}

static void eof_stay(rln_conn c, void *arg)
{
	(void)c;
	(void)arg;
}

void pour_listen(rln_listen_opts *l, bool decline)
{
	static const rln_callbacks callbacks = { .data = data_decline, .eof = eof_leave };
	static const rln_callbacks pours = {
		.open = pour_opened, .data = data_drop, .eof = eof_stay, .close = pour_closed
	};

	if (decline && play_chance(2))
		l->cb = &callbacks;
	else if (decline)
		l->on_request = request_decline;
	if (decline)
		return;
	if (play_chance(4)) {
		l->cb = &pours;
	} else {
		l->on_conn = task_pour;
		l->on_close = pour_closed;
	}
	if (play.strict)
		return;
	if (play_chance(3) && !play.few) /* who waits for a task looks again and again */
		l->close_timeout = l->close_max = l->send_stall = RLN_SEC(1000000);
	else if (play_chance(2))
		l->close_timeout = RLN_MS(1 + (int64_t)play_rand(500));
	else
		l->send_stall = RLN_MS(1 + (int64_t)play_rand(5000));
}

/* Its peers: they know when to read, and only that. */
void pour_peer(struct peer_config *pc)
{
	unsigned thirsts = play.strict ? THIRST_FIN + play.guarded : THIRST_NEVER + 1;

	pc->kind = PEER_DRINK;
	pc->bytes = 0;
	pc->thirst = (enum peer_thirst)play_rand(thirsts);
	if (pc->thirst == THIRST_FIN && !play.guarded)
		pc->thirst = THIRST_LATE;
	pc->strict = play.strict;
}

/* There is no reset on a unix stream: what a close leaves over is counted, and that is all. */
static bool cut_locally(void)
{
	uint64_t cut = 0;

	for (unsigned i = 0; i < play.workers && play.local_pour; i++)
		cut += play.rig.worker[i].io.stats.truncated_closes;
	return cut > 0;
}

/* P3: who read a stream to its end has all of it, though its sender left long ago. */
void pour_check(const struct sim_peer *peer)
{
	size_t accepted = 0;

	if (peer_end(peer) != PEER_CLEAN)
		return;
	for (unsigned i = 0; i < play.pours; i++)
		if (play.pour[i].peer == peer)
			accepted = play.pour[i].accepted;
	if (peer_received(peer) != accepted && !cut_locally())
		world_violates(play.w, PROP_P3, "an end of stream after %zu of %zu bytes",
			       peer_received(peer), accepted);
}

/* ---- from beside */
static rln_ns soon(void)
{
	return (rln_ns)play_rand(1u << (10 + play_rand(18)));
}

static int close_beside(void *arg)
{
	rln_conn c = { (uint64_t)(uintptr_t)arg };

	(void)rln_sleep(soon());
	for (unsigned i = 0; i < play.pours; i++)
		play.pour[i].closed |= play.pour[i].c.h == c.h;
	(void)(play_chance(2) ? rln_close(c) : rln_reset(c));
	play.tasks_ended++;
	return 0;
}

/* Somebody else's handle of c, whose slot may serve another connection by then. */
static int use_stale(void *arg)
{
	rln_conn c = { (uint64_t)(uintptr_t)arg };

	for (unsigned i = 0; i < 3; i++) {
		int e = rln_sleep(soon());
		if (rln_close(c) != -EBADF)
			world_violates(play.w, PROP_P1, "a handle of an earlier life closes");
		if (e < 0)
			break;
	}
	play.tasks_ended++;
	return 0;
}

void beside(rln_conn c, bool stale)
{
	if (rln_go(stale ? use_stale : close_beside, (void *)(uintptr_t)c.h, NULL) == 0)
		play.tasks++;
}
