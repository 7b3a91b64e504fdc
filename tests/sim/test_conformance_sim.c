/*
 * The table of kernel behaviour on the simulator, over many seeds: it must produce nothing that is
 * not listed, and the first outcome of each row, which is a real kernel's.
 */
#include "conformance.h"
#include "seed.h"
#include "sim/world.h"

#define SEEDS 200

static void sim_connect(struct conf *c)
{
	struct peer_config pc = { .kind = PEER_SCRIPT };
	struct world *w = world_current();

	c->client = world_peer(w, c->port, &pc);
	while (!peer_connected(c->client) && world_next(w) != INT64_MAX)
		world_run_until(w, world_next(w));
	CHECK(peer_connected(c->client));
}

static ssize_t sim_send(struct conf *c, const void *p, size_t n)
{
	return peer_send(c->client, p, n);
}

static ssize_t sim_recv(struct conf *c, void *p, size_t n)
{
	return peer_recv(c->client, p, n);
}

static void sim_fin(struct conf *c)
{
	peer_fin(c->client);
}

static void sim_rst(struct conf *c)
{
	peer_rst(c->client);
	c->client = NULL;
}

static void sim_close(struct conf *c)
{
	if (c->client)
		peer_close(c->client);
	c->client = NULL;
}

static const struct conf_peer sim_peer_ops = { sim_connect, sim_send, sim_recv,
					       sim_fin,	    sim_rst,  sim_close };

/* Faults that change what a row is about are off; order, delay and lateness stay. */
static const struct world_config conf_world = {
	.rcvbuf = 65536,
	.sndbuf = 65536,
	.fault = { [FAULT_SHORT_RECV] = RATE_OFF,
		   [FAULT_SHORT_SEND] = RATE_OFF,
		   [FAULT_SHORT_WAITALL] = RATE_OFF,
		   [FAULT_ENOBUFS] = RATE_OFF,
		   [FAULT_RESET] = RATE_OFF,
		   [FAULT_PEER_FIN] = RATE_OFF,
		   [FAULT_ZC_REFUSED] = RATE_OFF,
		   [FAULT_TIME_JUMP] = RATE_OFF,
		   [FAULT_ACCEPT_ERR] = RATE_OFF,
		   [FAULT_CONNECT_ERR] = RATE_OFF },
};

static void run_row(const struct conf_row *row, uint64_t seed, bool *first)
{
	size_t n = strcspn(row->outcomes, "|");
	struct world *w = world_new(seed, &conf_world);
	struct conf c;
	char why[100];

	world_enter(w);
	conf_open(&c, world_kernel(w), &sim_peer_ops);
	row->run(&c);
	if (!conf_listed(row->outcomes, c.out))
		test_fail(__FILE__, __LINE__, "%s, seed %llu: \"%s\", not one of \"%s\"", row->name,
			  (unsigned long long)seed, c.out, row->outcomes);
	if (strlen(c.out) == n && !memcmp(c.out, row->outcomes, n))
		*first = true;
	conf_close(&c);
	if (!world_check_quiet(w, why, sizeof(why)))
		world_fail(w, "%s: %s", row->name, why);
	world_enter(NULL);
	world_free(w);
}

TEST_LIMIT(conformance_simulator_stays_within_the_table, 120)
{
	for (unsigned i = 0; i < CONF_ROWS; i++) {
		bool first = false;

		for (uint64_t seed = 1; seed <= SEEDS; seed++) {
			seed_set(seed);
			run_row(&conf_rows[i], seed, &first);
		}
		if (!first)
			test_fail(__FILE__, __LINE__, "%s: never \"%s\"", conf_rows[i].name,
				  conf_rows[i].outcomes);
	}
}
