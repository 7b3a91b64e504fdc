/*
 * The fake kernel under an echo server: thousands of seeds end clean, the same seed runs the same
 * way, and what a program must not do is found.
 */
#include "echo_server.h"
#include "seed.h"
#include "sim/sim.h"

struct totals {
	struct world_stats s;
	uint64_t clean, shorts, broken, left, hash;
};

static unsigned pick(struct world *w, unsigned max)
{
	return 1u << world_rand(w, max);
}

static void add_peers(struct world *w, struct echo *e, unsigned count, bool strict)
{
	for (unsigned i = 0; i < count; i++) {
		struct peer_config pc = { .kind = world_peer_kind(w),
					  .bytes = (size_t)world_rand(w, 20000),
					  .delay_ns = (int64_t)world_rand(w, 50000000) };

		if (pc.kind == PEER_SLOW)
			pc.bytes %= 100;
		pc.strict = strict && (pc.kind == PEER_NORMAL || pc.kind == PEER_SLOW ||
				       pc.kind == PEER_HALF_CLOSE);
		world_peer(w, e->port, &pc);
	}
}

static void run_seed(uint64_t seed, struct totals *t)
{
	struct world_config cfg = { 0 };
	struct echo_config ec;
	struct world *w;
	struct echo *e;
	bool strict = seed % 2, abrupt = seed % 8 == 0;
	uint64_t stop_at = UINT64_MAX;
	unsigned peers;
	char why[100] = "";

	seed_set(seed);
	if (strict) {
		cfg.fault[FAULT_RESET] = RATE_OFF;
		cfg.fault[FAULT_ACCEPT_ERR] = RATE_OFF;
	}
	w = world_new(seed, &cfg);
	world_enter(w);
	peers = 1 + (unsigned)world_rand(w, 8);
	ec = (struct echo_config){ .sq = 2 * pick(w, 5),
				   .slots = strict ? ECHO_SLOTS : pick(w, 5),
				   .bufs = pick(w, 6),
				   .buf_bytes = pick(w, 12),
				   .zero_copy = world_rand(w, 2) };
	ec.cq = ec.sq * 2 * pick(w, 3);
	e = sys_zalloc(sizeof(*e));
	echo_open(e, w, &ec);
	add_peers(w, e, peers, strict);
	if (abrupt)
		stop_at = world_rand(w, 200);
	while (world_peers_alive(w) && e->turns < stop_at) {
		echo_turn(e);
		if (e->turns == 3000000)
			world_fail(w, "no end");
	}
	if (!abrupt)
		world_calm(w);
	echo_close(e);
	sys_free(e);
	while (world_next(w) != INT64_MAX)
		world_run_until(w, world_next(w));
	if (!world_check_quiet(w, why, sizeof(why)))
		world_fail(w, "%s", why);
	t->clean += world_peers_ended(w, PEER_KIND_COUNT, PEER_CLEAN);
	t->shorts += world_peers_ended(w, PEER_KIND_COUNT, PEER_SHORT);
	t->broken += world_peers_ended(w, PEER_KIND_COUNT, PEER_BROKEN);
	t->left += world_peers_ended(w, PEER_KIND_COUNT, PEER_LEFT);
	t->s.cqes += world_stats(w)->cqes;
	t->s.enters += world_stats(w)->enters;
	t->s.overflows += world_stats(w)->overflows;
	t->s.killed += world_stats(w)->killed;
	t->s.cancel_partial += world_stats(w)->cancel_partial;
	for (unsigned f = 0; f < FAULT_COUNT; f++)
		t->s.fault[f] += world_stats(w)->fault[f];
	t->hash = world_hash(w);
	world_enter(NULL);
	world_free(w);
}

TEST_LIMIT(kernel_sim_echo_ends_clean_for_every_seed, 300)
{
	struct totals t = { 0 };
	uint64_t first = seed_first(), n = seed_count(2000);

	for (uint64_t i = 0; i < n; i++)
		run_seed(first + i, &t);
	printf("  %llu seeds, %llu enters, %llu CQEs, %llu overflows, %llu killed; peers %llu "
	       "clean %llu short %llu broken %llu left\n",
	       (unsigned long long)n, (unsigned long long)t.s.enters, (unsigned long long)t.s.cqes,
	       (unsigned long long)t.s.overflows, (unsigned long long)t.s.killed,
	       (unsigned long long)t.clean, (unsigned long long)t.shorts,
	       (unsigned long long)t.broken, (unsigned long long)t.left);
	for (unsigned f = 0; f < FAULT_COUNT; f++)
		printf("  %-14s %llu\n", world_fault_name(f), (unsigned long long)t.s.fault[f]);
	if (n < 2000)
		return;
	/* Every class that an echo server can meet was met: it neither connects nor has files. */
	for (unsigned f = 0; f < FAULT_CONNECT_ERR; f++)
		CHECK_INT(t.s.fault[f], >, 0);
	CHECK(t.clean && t.broken && t.left && t.s.killed && t.s.overflows && t.s.cancel_partial);
}

TEST_LIMIT(kernel_sim_same_seed_runs_the_same, 120)
{
	for (uint64_t seed = 1; seed <= 100; seed++) {
		struct totals a = { 0 }, b = { 0 };

		run_seed(seed, &a);
		run_seed(seed, &b);
		CHECK(a.hash == b.hash);
		CHECK_INT(a.s.cqes, ==, b.s.cqes);
		CHECK_INT(a.s.enters, ==, b.s.enters);
	}
}

/* ---- what a program must not do */
static const struct world_config no_faults = {
	.fault = { [0 ... FAULT_COUNT - 1] = RATE_OFF },
};

static void planted(struct echo *e, struct world **w)
{
	struct echo_config ec = { .sq = 4, .cq = 8, .slots = 4, .bufs = 4, .buf_bytes = 64 };

	*w = world_new(1, &no_faults);
	world_enter(*w);
	echo_open(e, *w, &ec);
}

static void wait_for_nothing(void)
{
	struct world *w;
	static struct echo e;

	planted(&e, &w);
	ring_enter(&e.ring, 1, INT64_MAX);
}

TEST(kernel_sim_wait_without_an_event_is_a_deadlock)
{
	CHECK_DIES(wait_for_nothing, SIGABRT, "deadlock");
}

static void publish_twice(void)
{
	struct world *w;
	static struct echo e;

	planted(&e, &w);
	io_uring_buf_ring_add(e.bufs.br, bufring_addr(&e.bufs, 1), 64, 1, 3, 0);
	io_uring_buf_ring_advance(e.bufs.br, 1);
	echo_turn(&e);
}

TEST(kernel_sim_buffer_published_twice_is_found)
{
	CHECK_DIES(publish_twice, SIGABRT, "buffer");
}

static void free_under_receive(void)
{
	struct world *w;
	static struct echo e;
	struct op_io recv;
	uint8_t *buf;

	planted(&e, &w);
	buf = sys_alloc(100);
	op_io_init(&recv, OP_EVENTFD_READ, NULL);
	recv.a.fd = sys_eventfd();
	recv.a.buf = buf;
	recv.a.len = 100;
	op_submit(&e.ops, &recv.op);
	ring_enter(&e.ring, 0, 0);
	sys_free(buf);
}

TEST(kernel_sim_memory_freed_under_an_operation_is_found)
{
	CHECK_DIES(free_under_receive, SIGABRT, "freed before it ended");
}

static void short_echo(void)
{
	struct world *w;
	static struct echo e;
	struct peer_config pc = { .kind = PEER_NORMAL, .bytes = 500, .strict = true };

	planted(&e, &w);
	world_peer(w, e.port, &pc);
	while (world_peers_alive(w)) {
		echo_turn(&e);
		for (unsigned i = 0; i < e.slots; i++)
			if (e.conn[i].queued)
				e.conn[i].queue[0] ^= 1;
	}
}

TEST(kernel_sim_wrong_echo_is_found)
{
	CHECK_DIES(short_echo, SIGABRT, "peer 1: byte");
}

static void drop_the_end(void)
{
	struct world *w;
	static struct echo e;
	struct peer_config pc = { .kind = PEER_HALF_CLOSE, .bytes = 5000, .strict = true };

	planted(&e, &w);
	world_peer(w, e.port, &pc);
	while (world_peers_alive(w)) {
		echo_turn(&e);
		for (unsigned i = 0; i < e.slots; i++)
			if (e.conn[i].eof && !e.conn[i].sending)
				e.conn[i].queued = 0;
			else if (e.conn[i].queued > 100 && !e.conn[i].sending)
				e.conn[i].queued = 100;
	}
}

TEST(kernel_sim_lost_bytes_are_found)
{
	CHECK_DIES(drop_the_end, SIGABRT, "peer 1");
}

TEST(kernel_sim_what_is_left_is_named)
{
	struct world *w;
	static struct echo e;
	char why[100];
	int fd;

	planted(&e, &w);
	echo_close(&e);
	CHECK(world_check_quiet(w, why, sizeof(why)));
	fd = sys_eventfd();
	CHECK(!world_check_quiet(w, why, sizeof(why)));
	CHECK_STR(why, "1 descriptors left");
	CHECK_INT(sys_close(fd), ==, 0);
	sys_free(sys_alloc(10));
	CHECK(world_check_quiet(w, why, sizeof(why)));
	world_enter(NULL);
	world_free(w);
}
