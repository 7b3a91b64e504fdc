/* A large send whose peer takes nothing: however the kernel orders its end, its caller is told why.
 */
#include "runtime_rig.h"

#define BYTES (256u << 10)

static struct {
	struct rig r;
	struct world *w;
	bool by_reset; /* the program resets it instead */
	bool told;
	rln_conn c;
	ssize_t sent;
	unsigned ends;
	int end_err;
} t;

static uint8_t bytes[BYTES];

static int resets(void *arg)
{
	(void)arg;
	(void)rln_sleep(RLN_MS(world_rand(t.w, 15)));
	return rln_reset(t.c);
}

static void on_conn(rln_conn c, void *arg)
{
	(void)arg;
	t.c = c;
	if (t.by_reset)
		CHECK_INT(rln_go(resets, NULL, NULL), ==, 0);
	t.sent = rln_send(c, bytes, sizeof bytes);
	t.told = true;
}

static void on_close(rln_conn c, int err, void *arg)
{
	(void)c, (void)arg;
	t.ends++;
	t.end_err = err;
}

static void run(uint64_t seed, bool by_reset)
{
	struct world_config wc = { .fault = { [0 ... FAULT_COUNT - 1] = RATE_OFF },
				   .rcvbuf = 4096,
				   .sndbuf = 4096 };
	rln_listen_opts l = { .addr = "127.0.0.1:0",
			      .on_conn = on_conn,
			      .on_close = on_close,
			      .send_stall = RLN_MS(60),
			      .max_conns = 8 };
	rln_config c = { .listen = &l, .nlisten = 1, .file_slots = 2 };

	wc.fault[FAULT_DEFER] = wc.fault[FAULT_HOLD] = RATE_FREQUENT;
	wc.fault[FAULT_PARTIAL] = wc.fault[FAULT_CANCEL_LATE] = RATE_FREQUENT;
	memset(&t, 0, sizeof t);
	t.by_reset = by_reset;
	seed_set(seed);
	t.w = world_new(seed, &wc);
	world_enter(t.w);
	rig_sizes(t.w, &c);
	rig_init(&t.r, t.w, &c);
	rig_open(&t.r);
	world_peer(t.w, t.r.port, &(struct peer_config){ .kind = PEER_SCRIPT });
	while (!t.ends || !t.told)
		rig_turn(&t.r, 0, world_now(t.w) + RLN_MS(1));
	CHECK_INT(t.sent, ==, by_reset ? -ECONNABORTED : -ETIMEDOUT);
	CHECK_INT(t.end_err, ==, by_reset ? 0 : -ETIMEDOUT);
	peer_close(world_last_peer(t.w));
	rig_stop(&t.r);
	rig_check_quiet(t.w);
	CHECK_INT(t.ends, ==, 1);
	world_enter(NULL);
	world_free(t.w);
}

TEST_LIMIT(stall_is_told_as_one_whatever_the_reset_does_to_the_send, 60)
{
	uint64_t first = seed_first(), n = seed_count(1000);

	for (uint64_t seed = first; seed < first + n; seed++)
		run(seed, false);
}

TEST_LIMIT(stall_send_under_a_reset_of_the_program_is_told_of_it, 60)
{
	uint64_t first = seed_first(), n = seed_count(500);

	for (uint64_t seed = first; seed < first + n; seed++)
		run(seed, true);
}
