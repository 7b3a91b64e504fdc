/*
 * Short connections beside one that stays silent, on the kernels that keep a closed socket until
 * older receives end: how many they keep at most.
 */
#include "runtime_rig.h"

#define SHORT_ONES 120
#define APART_NS                                                                         \
	INT64_C(150000000) /* the slower of them lets go a second late: about 7 of these \
			    */
#define RENEW_AFTER_MAX 8  /* the rig's */

static size_t echo(rln_conn c, const uint8_t *p, size_t n, void *arg)
{
	(void)arg;
	return rln_send_nowait(c, p, n) < 0 ? 0 : n;
}

static const rln_callbacks callbacks = { .data = echo };

static void configure(struct rig *r, struct world *w)
{
	rln_listen_opts l = { .addr = "127.0.0.1:0", .cb = &callbacks, .max_conns = 64 };
	rln_config c = { .listen = &l, .nlisten = 1, .file_slots = 2 };

	rig_sizes(w, &c);
	rig_init(r, w, &c);
}

static void add_peers(struct world *w, uint16_t port)
{
	struct peer_config silent = { .kind = PEER_SILENT, .life_ns = RLN_SEC(100000) };

	world_peer(w, port, &silent);
	for (int i = 1; i <= SHORT_ONES; i++) {
		struct peer_config pc = { .kind = PEER_NORMAL,
					  .bytes = 1 + (size_t)world_rand(w, 40),
					  .delay_ns = i * APART_NS };
		world_peer(w, port, &pc);
	}
}

static uint64_t run_seed(uint64_t seed, enum world_linux version)
{
	struct world_config wc = { .version = (uint8_t)version,
				   .fault = { [FAULT_RESET] = RATE_OFF,
					      [FAULT_TIME_JUMP] = RATE_OFF,
					      [FAULT_ACCEPT_ERR] = RATE_OFF } };
	struct world *w = world_new(seed, &wc);
	struct rig *r = calloc(1, sizeof *r);
	uint64_t kept;

	seed_set(seed);
	world_enter(w);
	configure(r, w);
	rig_open(r);
	add_peers(w, r->port);
	while (world_peers_alive(w) > 1)
		rig_turn(r, 0, world_now(w) + RIG_PATIENCE);
	kept = world_stats(w)->kept_max;
	if (version > LINUX_6_12)
		CHECK_INT(kept, ==, 0);
	/* As many as are closed before receives are renewed, and while they are. */
	CHECK_INT(kept, <=, 2 * RENEW_AFTER_MAX + 16);
	world_calm(w);
	rig_stop(r);
	free(r);
	world_run_until(w, world_now(w) + RLN_SEC(200000)); /* the silent one goes */
	rig_check_quiet(w);
	world_enter(NULL);
	world_free(w);
	return kept;
}

TEST_LIMIT(renew_sim_few_closed_sockets_are_kept_beside_a_silent_connection, 120)
{
	uint64_t first = seed_first(), n = seed_count(100);

	for (enum world_linux v = LINUX_6_1; v <= LINUX_6_18; v++) {
		uint64_t most = 0;

		for (uint64_t seed = first; seed < first + n; seed++) {
			uint64_t kept = run_seed(seed, v);

			most = kept > most ? kept : most;
		}
		printf("  version %d: at most %llu of %d\n", (int)v, (unsigned long long)most,
		       SHORT_ONES);
		CHECK((most > 0) == (v <= LINUX_6_12));
	}
}

/* ---- a unix stream has no reset: it is given up by a close, whose end comes as soon */
static size_t data_reset(rln_conn c, const uint8_t *p, size_t n, void *arg)
{
	(void)p;
	(void)n;
	(void)arg;
	(void)rln_reset(c);
	return 0;
}

static const rln_callbacks resets = { .data = data_reset };

static void run_reset(enum world_linux version)
{
	struct world_config wc = { .version = (uint8_t)version,
				   .fault = { [0 ... FAULT_COUNT - 1] = RATE_OFF } };
	const struct peer_config pc = { .kind = PEER_HALF_CLOSE, .bytes = 10, .name = "reset" };
	rln_listen_opts l = { .addr = "unix:@reset", .cb = &resets, .max_conns = 64 };
	rln_config c = { .listen = &l, .nlisten = 1, .file_slots = 2 };
	struct world *w = world_new(1, &wc);
	struct rig *r = calloc(1, sizeof *r);

	world_enter(w);
	rig_sizes(w, &c);
	rig_init(r, w, &c);
	rig_open(r);
	world_peer(w, 0, &pc);
	int64_t began = world_now(w);
	while (world_peers_alive(w))
		rig_turn(r, 0, world_now(w) + RLN_MS(1));
	CHECK_INT(world_now(w) - began, <, RLN_MS(500));
	rig_stop(r);
	free(r);
	rig_check_quiet(w);
	world_enter(NULL);
	world_free(w);
}

TEST(renew_sim_unix_stream_that_is_reset_ends_at_once)
{
	for (enum world_linux v = LINUX_6_1; v <= LINUX_6_18; v++)
		run_reset(v);
}
