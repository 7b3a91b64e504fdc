/*
 * Listeners that share the descriptors of a worker: what one of them promises to clients who have
 * not come is not kept from the others, nor given to two.
 */
#include "runtime_rig.h"
#include "ringline/listen.h"

static struct {
	struct rig *r;
	struct world *w;
	uint16_t port; /* of the listener made at run time */
	unsigned gone;
	bool given;
} app;

static void echo(rln_conn c, void *arg)
{
	rln_view v;

	(void)arg;
	while (rln_recv(c, &v) > 0 && rln_send(c, v.data, v.len) > 0)
		;
}

/* ---- one worker */
static int listen_too(void *arg)
{
	rln_listen_opts o = { .addr = "127.0.0.1:0", .on_conn = echo, .backlog = 4 };
	struct sockaddr_storage at;
	rln_listener l;

	(void)arg;
	if (rln_listen(&o, &l) || rln_listener_addr(l, &at))
		world_fail(app.w, "no listener at run time");
	app.port = ntohs(((struct sockaddr_in *)(void *)&at)->sin_port);
	return 0;
}

static void run_time_listener(unsigned max_conns, bool no_spare)
{
	struct world_config wc = { .fault = { [0 ... FAULT_COUNT - 1] = RATE_OFF } };
	const struct peer_config pc = { .kind = PEER_NORMAL, .bytes = 100, .strict = true };
	rln_listen_opts l = {
		.addr = "127.0.0.1:0", .on_conn = echo, .backlog = 16, .max_conns = max_conns
	};
	rln_config c = { .listen = &l, .nlisten = 1, .file_slots = 2 };
	struct rig *r = calloc(1, sizeof *r);

	seed_set(1);
	app.w = world_new(1, &wc);
	app.r = r;
	app.port = 0;
	world_enter(app.w);
	rig_sizes(app.w, &c);
	rig_init(r, app.w, &c);
	r->rt.shared.accepts = 0;
	if (no_spare) /* the descriptor limit leaves no more */
		r->rt.cfg.auto_slots = max_conns;
	rig_open(r);
	for (unsigned i = 0; i < 20; i++)
		rig_turn(r, 0, world_now(app.w) + RLN_MS(1));
	CHECK_INT(r->worker[0].listeners[0].singles_live, ==, max_conns);
	rig_go(r, 0, listen_too, NULL);
	while (!app.port)
		rig_turn(r, 0, world_now(app.w) + RLN_MS(1));
	world_peer(app.w, app.port, &pc);
	world_peer(app.w, r->port, &pc);
	for (unsigned i = 0; i < 10000 && world_peers_alive(app.w); i++)
		rig_turn(r, 0, world_now(app.w) + RLN_MS(100));
	CHECK_INT(world_peers_ended(app.w, PEER_NORMAL, PEER_CLEAN), ==, 2);
	rig_stop(r);
	free(r);
	rig_check_quiet(app.w);
	world_enter(NULL);
	world_free(app.w);
}

/* One slot, and the configured listener has promised it: there are spare ones. */
TEST(listen_made_at_run_time_gets_a_client_beside_a_full_one)
{
	run_time_listener(1, false);
}

/* The configured listener takes as many clients as there are slots, and has promised each. */
TEST(listen_made_at_run_time_gets_a_slot_that_was_promised)
{
	run_time_listener(4, true);
}

/* ---- two */
static void stay(rln_conn c, void *arg)
{
	(void)arg;
	app.given = true;
	echo(c, arg);
}

static void give_on(rln_conn c, void *arg)
{
	(void)arg;
	if (rln_worker() == 0 && rln_give(c, 1, stay, NULL))
		world_fail(app.w, "not given");
	else if (rln_worker() == 1)
		echo(c, arg);
}

static void both_turn(void)
{
	rig_turn(app.r, 0, world_now(app.w) + RLN_MS(1));
	rig_turn(app.r, 1, world_now(app.w) + RLN_MS(1));
}

/* A connection that comes by hand-over takes a slot which was promised to a client. */
TEST(listen_promises_no_slot_that_a_hand_over_took)
{
	struct world_config wc = { .fault = { [0 ... FAULT_COUNT - 1] = RATE_OFF } };
	struct peer_config pc = { .kind = PEER_SILENT, .life_ns = RLN_SEC(50) };
	rln_listen_opts l = {
		.addr = "127.0.0.1:0", .on_conn = give_on, .backlog = 16, .max_conns = 4
	};
	rln_config c = { .listen = &l, .nlisten = 1, .file_slots = 2, .workers = 2 };
	struct rig *r = calloc(1, sizeof *r);

	seed_set(1);
	app.given = false;
	app.w = world_new(1, &wc);
	app.r = r;
	world_enter(app.w);
	rig_sizes(app.w, &c);
	rig_init(r, app.w, &c);
	r->rt.shared.accepts = 0;
	r->rt.cfg.auto_slots = l.max_conns;
	rig_open(r);
	for (unsigned i = 0; i < 20; i++)
		both_turn();
	CHECK_INT(r->worker[1].listeners[0].singles_live, ==, 4);
	while (!app.given) { /* the world chooses whose client it is */
		pc.delay_ns = RLN_MS(1);
		world_peer(app.w, r->port, &pc);
		for (unsigned i = 0; i < 20; i++)
			both_turn();
	}
	const struct io *io = &r->worker[1].io;
	CHECK_INT(io->auto_open, >, 0);
	CHECK_INT(io->auto_open + r->worker[1].listeners[0].singles_live, <=, 4);
	world_run_until(app.w, world_now(app.w) + RLN_SEC(60));
	while (world_peers_alive(app.w))
		both_turn();
	rig_stop(r);
	free(r);
	rig_check_quiet(app.w);
	world_enter(NULL);
	world_free(app.w);
}
