/* Hand-overs that meet the end of the worker they go to, or a kernel that cannot. */
#include "runtime_rig.h"

#define LINGER_TURNS 3000 /* of a millisecond: input might still come */

static struct {
	struct rig r;
	struct world *w;
	struct sim_peer *peer;
	unsigned from; /* the worker that has the client */
	bool serving, go, gave, arrived;
	unsigned ends;
	int end_err;
} t;

static void over_there(rln_conn c, void *arg)
{
	rln_view v;

	(void)arg;
	t.arrived = true;
	while (rln_recv(c, &v) > 0)
		;
}

static void on_conn(rln_conn c, void *arg)
{
	(void)arg;
	t.from = (unsigned)rln_worker();
	t.serving = true;
	while (!t.go)
		if (rln_sleep(RLN_MS(1)) < 0)
			return;
	CHECK_INT(rln_give(c, t.from, over_there, NULL), ==,
		  t.r.caps.msg_ring_fd ? -EINVAL : -EOPNOTSUPP); /* to itself */
	CHECK_INT(rln_give(c, 7, over_there, NULL), ==, -EINVAL);
	CHECK_INT(rln_give(c, 1 - t.from, NULL, NULL), ==, -EINVAL);
	int e = rln_give(c, 1 - t.from, over_there, NULL);
	CHECK_INT(e, ==, t.r.caps.msg_ring_fd ? 0 : -EOPNOTSUPP);
	t.gave = true;
}

static void on_close(rln_conn c, int err, void *arg)
{
	(void)c, (void)arg;
	t.ends++;
	t.end_err = err;
}

static struct worker *other(void)
{
	return &t.r.worker[1 - t.from];
}

static void turn(unsigned i)
{
	rig_turn(&t.r, i, world_now(t.w) + RLN_MS(1));
}

/* Until the client's handler has handed it over, which has not left its worker yet. */
static void begin(uint64_t seed, bool can)
{
	struct world_config wc = { .fault = { [0 ... FAULT_COUNT - 1] = RATE_OFF } };
	rln_listen_opts l = {
		.addr = "127.0.0.1:0", .on_conn = on_conn, .on_close = on_close, .max_conns = 8
	};
	rln_config c = { .workers = 2, .listen = &l, .nlisten = 1, .file_slots = 2 };

	memset(&t, 0, sizeof t);
	seed_set(seed);
	t.w = world_new(seed, &wc);
	world_enter(t.w);
	rig_sizes(t.w, &c);
	rig_init(&t.r, t.w, &c);
	if (!t.r.caps.msg_ring_fd)
		can = false;
	t.r.caps.msg_ring_fd = can;
	rig_open(&t.r);
	world_peer(t.w, t.r.port, &(struct peer_config){ .kind = PEER_SCRIPT });
	t.peer = world_last_peer(t.w);
	while (!t.serving) {
		turn(0);
		turn(1);
	}
	t.go = true;
	while (!t.gave)
		turn(t.from);
}

static void end_world(void)
{
	rig_stop(&t.r);
	rig_check_quiet(t.w);
	world_enter(NULL);
	world_free(t.w);
}

static void end(void)
{
	peer_close(t.peer);
	end_world();
	CHECK_INT(t.ends, ==, 1);
}

/* It said yes; by the time the message could go out that worker waits for no more of them. */
TEST(give_to_a_worker_that_ends_meanwhile_closes_and_tells)
{
	uint64_t first = seed_first(), n = seed_count(50);

	for (uint64_t seed = first; seed < first + n; seed++) {
		begin(seed, true);
		if (!t.r.caps.msg_ring_fd) {
			end();
			continue;
		}
		atomic_store(&other()->gone, true);
		for (unsigned i = 0; i < LINGER_TURNS && !t.ends; i++)
			turn(t.from);
		CHECK_INT(t.ends, ==, 1);
		CHECK_INT(t.end_err, ==, -ESHUTDOWN);
		CHECK_INT(t.arrived, ==, false);
		CHECK_INT(atomic_load(&other()->gifts), ==, 0);
		atomic_store(&other()->gone, false);
		end();
	}
}

/* It was on its way when that worker cancelled everything: it ends there as all others have. */
TEST(give_on_its_way_to_a_worker_that_cancels_everything_ends_there)
{
	uint64_t first = seed_first(), n = seed_count(50), arrived = 0;

	for (uint64_t seed = first; seed < first + n; seed++) {
		begin(seed, true);
		while (!t.ends && !atomic_load(&other()->gifts) && t.r.caps.msg_ring_fd)
			turn(t.from);
		if (atomic_load(&other()->gifts)) {
			struct ctx *before = worker_enter(other());
			io_cancel_all(&other()->io);
			worker_leave(before);
			for (unsigned i = 0; i < LINGER_TURNS && !t.ends; i++) {
				turn(t.from);
				turn(1 - t.from);
			}
			CHECK_INT(t.ends, ==, 1);
			CHECK_INT(t.end_err, ==, -ESHUTDOWN);
			arrived++;
		}
		end();
	}
	if (n >= 50)
		CHECK_INT(arrived, >, n / 4);
}

/* One more is announced, by a worker that cannot submit it yet. */
TEST(give_on_its_way_keeps_its_worker_from_stopping)
{
	uint64_t first = seed_first(), n = seed_count(10);

	for (uint64_t seed = first; seed < first + n; seed++) {
		begin(seed, true);
		atomic_fetch_add(&other()->gifts, 1);
		rig_shutdown(&t.r);
		peer_close(t.peer);
		for (unsigned i = 0; i < LINGER_TURNS; i++) {
			if (!t.ends)
				turn(t.from);
			CHECK(!rig_turn(&t.r, 1 - t.from, world_now(t.w) + RLN_MS(1)));
		}
		CHECK_INT(t.ends, ==, 1);
		atomic_fetch_sub(&other()->gifts, 1);
		end_world();
	}
}

TEST(give_where_the_kernel_cannot_leaves_it_where_it_is)
{
	uint64_t first = seed_first(), n = seed_count(10);

	for (uint64_t seed = first; seed < first + n; seed++) {
		begin(seed, false);
		CHECK_INT(t.ends, ==, 0);
		for (unsigned i = 0; i < LINGER_TURNS && !t.ends; i++)
			turn(t.from); /* the handler has returned */
		CHECK_INT(t.ends, ==, 1);
		CHECK_INT(t.end_err, ==, 0);
		end();
	}
}
