/*
 * Many connections that move bulk at once: what they receive into is bounded, whoever had to go
 * back still gets every byte, and so does who had its turn taken from it while it was idle.
 */
#include "runtime_rig.h"

#define PEERS 150
#define HOT_MOST 64 /* io/conn_recv.c */
#define BUF 256
#define BURST (20 * BUF)
#define ROUNDS 4

static size_t got;

static size_t swallow(rln_conn c, const uint8_t *p, size_t n, void *arg)
{
	(void)c;
	(void)arg;
	for (size_t i = 0; i < n; i++)
		CHECK_INT(p[i], ==, 'b');
	got += n;
	return n;
}

static struct world *w;
static struct rig r;
static struct sim_peer *peer[PEERS];
static unsigned most;

static void turns(unsigned n)
{
	while (n--) {
		rig_turn(&r, 0, world_now(w) + RLN_MS(1));
		unsigned armed = r.worker[0].io.hot_armed;
		most = armed > most ? armed : most;
	}
}

static void burst(uint64_t seed)
{
	static uint8_t bytes[BURST];
	size_t left[PEERS], sum = BURST * PEERS;

	memset(bytes, 'b', sizeof bytes);
	for (unsigned i = 0; i < PEERS; i++)
		left[i] = BURST;
	for (unsigned n = 0; sum; n++) {
		CHECK_INT(n, <, 100000);
		for (unsigned i = 0; i < PEERS; i++) {
			ssize_t k = left[i] ? peer_send(peer[i], bytes, left[i]) : 0;
			left[i] -= k > 0 ? (size_t)k : 0;
			sum -= k > 0 ? (size_t)k : 0;
		}
		turns(1 + (unsigned)(seed % 3));
	}
}

static void bulk(uint64_t seed)
{
	static const rln_callbacks callbacks = { .data = swallow };
	struct world_config wc = { .fault = { [0 ... FAULT_COUNT - 1] = RATE_OFF },
				   .rcvbuf = 4096,
				   .sndbuf = 4096 };
	rln_listen_opts l = {
		.addr = "127.0.0.1:0", .cb = &callbacks, .backlog = 256, .max_conns = PEERS
	};
	rln_config c = { .listen = &l, .nlisten = 1, .buffer_budget = 64 << 20, .file_slots = 2 };

	seed_set(seed);
	got = most = 0;
	w = world_new(seed, &wc);
	world_enter(w);
	rig_sizes(w, &c);
	c.recv_buf_size = BUF;
	c.recv_bufs = 256;
	rig_init(&r, w, &c);
	rig_open(&r);
	for (unsigned i = 0; i < PEERS; i++) {
		world_peer(w, r.port, &(struct peer_config){ .kind = PEER_SCRIPT });
		peer[i] = world_last_peer(w);
		while (!peer_connected(peer[i]))
			turns(1);
	}
	for (unsigned i = 1; i <= ROUNDS; i++) {
		burst(seed);
		for (unsigned n = 0; got < (size_t)i * BURST * PEERS; n++) {
			CHECK_INT(n, <, 10000);
			turns(1);
		}
	}
	CHECK_INT(got, ==, (size_t)ROUNDS * BURST * PEERS);
	CHECK_INT(r.worker[0].io.stats.recv_hot, >, HOT_MOST); /* it was reached */
	CHECK_INT(most, ==, HOT_MOST);
	for (unsigned i = 0; i < PEERS; i++)
		peer_close(peer[i]);
	rig_stop(&r);
	rig_check_quiet(w);
	world_enter(NULL);
	world_free(w);
}

TEST(runtime_bulk_of_many_connections_stays_within_its_memory)
{
	uint64_t first = seed_first(), n = seed_count(5);

	for (uint64_t seed = first; seed < first + n; seed++)
		bulk(seed);
}
