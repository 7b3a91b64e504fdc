/*
 * Listeners that come and go while everything runs, with clients of their own: served by a handler,
 * or taken one by one by a task that may wait for other things as well.
 */
#include "play.h"

#define DOOR_CLIENTS 3

static const char *const door_names[RIG_WORKERS] = { "unix:@door0", "unix:@door1", "unix:@door2" };

/* A connection that was taken by hand is its task's alone. */
static int serve_taken(void *arg)
{
	rln_conn c = { (uint64_t)(uintptr_t)arg };

	server_echo(c);
	(void)rln_close(c);
	play.tasks_ended++;
	return 0;
}

static void take_in(rln_conn c)
{
	if (rln_go(serve_taken, (void *)(uintptr_t)c.h, NULL) == 0)
		play.tasks++;
	else
		(void)rln_close(c);
}

/*
 * The next client: 1; 0: none yet; or why there is none. P1: exactly one arm takes effect, so one
 * that lost has no client.
 */
static int next_client(rln_listener l, rln_conn *c)
{
	rln_ns patience = (rln_ns)play_rand(50000000);
	int e;

	c->h = 0;
	if (play_chance(2)) {
		e = RLN_WITHIN(patience, rln_accept(l, c));
	} else {
		rln_arm arm[2] = { rln_on_accept(l, c), rln_on_after(patience) };
		e = rln_select(arm, 2);
		e = e < 0 ? e : e == 0 ? arm[0].res : -ETIME;
	}
	if ((e == 0) != (c->h != 0))
		world_violates(play.w, PROP_P1, "an accept that gave %d %s a client", e,
			       c->h ? "took" : "has not");
	return e == 0 ? 1 : e == -ETIME && !rln_cancelled() ? 0 : e;
}

static void take_clients(rln_listener l, unsigned n)
{
	unsigned tries = play.strict ? UINT_MAX : 1 + (unsigned)play_rand(20), taken = 0;

	while (taken < n && tries--) {
		rln_conn c;
		int e = next_client(l, &c);

		if (e < 0 && e != -ESHUTDOWN && e != -ECANCELED)
			world_violates(play.w, PROP_P10, "rln_accept: %d", e);
		if (e < 0)
			return;
		if (e)
			take_in(c);
		taken += (unsigned)e;
	}
}

static void clients_come(struct sim_peer **peer, uint16_t port, const char *name, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		struct peer_config pc = { .kind = world_peer_kind(play.w),
					  .bytes = play_rand(play.most / 8 + 1),
					  .delay_ns = (int64_t)play_rand(1000000),
					  .name = name };
		if (pc.kind == PEER_SLOW)
			pc.bytes %= 20;
		pc.strict = play.strict && (pc.kind == PEER_NORMAL || pc.kind == PEER_SLOW ||
					    pc.kind == PEER_HALF_CLOSE);
		peer[i] = world_peer(play.w, port, &pc);
	}
}

/* Where nothing may go wrong, not before the last of them has left. */
static void wait_for(struct sim_peer *const *peer, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		while (play.strict && peer_end(peer[i]) == PEER_ALIVE)
			if (rln_sleep(RLN_SEC(1)) < 0)
				return;
	if (!play.strict)
		(void)rln_sleep((rln_ns)play_rand(20000000));
}

static bool door_open(rln_listener *l, bool by_hand, bool local, uint16_t *port)
{
	struct sockaddr_storage at;
	rln_listen_opts o = { 0 };
	int e;

	listen_limits(&o);
	o.addr = local ? door_names[rln_worker()] : "127.0.0.1:0";
	o.max_conns = 0;
	if (play.tight)
		o.backlog = 1;
	if (!by_hand)
		server_listen(&o, (unsigned)play_rand(3));
	e = rln_listen(&o, l);
	if (e && e != -ESHUTDOWN && (e != -ENOMEM || !play.scarce))
		world_violates(play.w, PROP_P1, "rln_listen: %d", e);
	if (e)
		return false;
	e = rln_listener_addr(*l, &at);
	*port = ntohs(((struct sockaddr_in *)(void *)&at)->sin_port);
	return !e;
}

static int door(void *arg)
{
	struct sim_peer *peer[DOOR_CLIENTS];
	bool by_hand = play_chance(2), local = play_chance(4);
	unsigned n = 1 + (unsigned)play_rand(DOOR_CLIENTS);
	rln_listener l;
	uint16_t port;

	(void)arg;
	if (rln_sleep((rln_ns)play_rand(10000000)) == 0 && door_open(&l, by_hand, local, &port)) {
		clients_come(peer, port, local ? door_names[rln_worker()] + strlen("unix:@") : NULL,
			     n);
		if (by_hand)
			take_clients(l, n);
		else
			wait_for(peer, n);
		int e = rln_listener_close(l);
		if (e && e != -ESHUTDOWN)
			world_violates(play.w, PROP_P1, "rln_listener_close: %d", e);
		if (rln_listener_close(l) == 0)
			world_violates(play.w, PROP_P1, "a listener is closed twice");
	}
	play.tasks_ended++;
	return 0;
}

void door_start(unsigned worker)
{
	play.tasks++;
	rig_go(&play.rig, worker, door, NULL);
}
