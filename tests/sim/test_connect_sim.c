/*
 * The other direction: connects to programs of the world, one operation at a time, under every
 * fault. What was sent comes back, or the connection broke and says so.
 */
#include "base/sys.h"
#include "op/op_io.h"
#include "ring/files.h"
#include "seed.h"
#include "sim/world.h"
#include "test.h"
#include <errno.h>
#include <netinet/in.h>

#define PORT 7
#define PATIENCE 100000000000

struct client {
	struct world *w;
	struct ring ring;
	struct ops ops;
	struct files files;
	int res;
	bool done;
};

static void client_done(struct op_io *io, const struct op_event *ev)
{
	struct client *c = io->ctx;

	if (ev->flags & IORING_CQE_F_NOTIF) {
		c->done = true;
		return;
	}
	c->res = ev->res;
	c->done = ev->last;
}

/* Run one op to its last CQE; its result. */
static int client_run(struct client *c, struct op_io *io)
{
	io->ctx = c;
	c->done = false;
	op_submit(&c->ops, &io->op);
	while (!c->done) {
		int64_t before = world_now(c->w);

		ops_flush(&c->ops);
		CHECK_INT(ring_enter(&c->ring, 1, PATIENCE), ==, 0);
		if (!ops_reap(&c->ops, UINT32_MAX) && world_now(c->w) - before >= PATIENCE)
			world_fail(c->w, "%s never ends", op_kind_name(io->op.cls->kind));
	}
	return c->res;
}

static int on_slot(struct client *c, enum op_kind kind, int slot, void *buf, size_t n, int flags)
{
	struct op_io io;

	op_io_init(&io, kind, client_done);
	io.a.fd = slot;
	io.a.fixed = true;
	io.a.buf = buf;
	io.a.len = (uint32_t)n;
	io.a.flags = flags;
	return client_run(c, &io);
}

static int client_connect(struct client *c, int slot)
{
	struct sockaddr_in to = { .sin_family = AF_INET,
				  .sin_port = htons(PORT),
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = sys_socket(AF_INET, SOCK_STREAM, 0);
	struct op_io io;

	CHECK_INT(fd, >=, 0);
	CHECK_INT(files_install(&c->files, (unsigned)slot, fd), ==, 0);
	CHECK_INT(sys_close(fd), ==, 0);
	op_io_init(&io, OP_CONNECT, client_done);
	io.a.fd = slot;
	io.a.fixed = true;
	io.a.addr = &to;
	io.a.addr_bytes = sizeof(to);
	return client_run(c, &io);
}

/* Send n bytes, read them back. 0, or the error that ended it. */
static int exchange(struct client *c, int slot, size_t n)
{
	uint8_t *out = sys_alloc(n), *in = sys_zalloc(n);
	size_t sent = 0, got = 0;
	int err = 0;

	for (size_t i = 0; i < n; i++)
		out[i] = (uint8_t)(i * 7 + 3);
	while (!err && got < n) {
		enum op_kind kind = world_rand(c->w, 2) ? OP_SEND : OP_SEND_ZC;
		/* No more than both directions hold, or each side waits for the other for ever. */
		size_t step = n - sent < 16 ? n - sent : 16;
		int r = step ? on_slot(c, kind, slot, out + sent, step, 0) : 0;

		if (r < 0 && r != -ENOMEM)
			err = r;
		sent += r > 0 ? (size_t)r : 0;
		if (err || got == sent)
			continue;
		r = on_slot(c, OP_RECV, slot, in + got, sent - got, 0);
		if (r <= 0)
			err = r < 0 ? r : -ENODATA;
		got += r > 0 ? (size_t)r : 0;
	}
	if (!err && memcmp(in, out, n))
		world_fail(c->w, "other bytes came back");
	sys_free(in);
	sys_free(out);
	return err;
}

static void run_seed(uint64_t seed, unsigned *good, unsigned *refused, unsigned *broken)
{
	struct world_config cfg = { .fault = { [FAULT_PEER_FIN] = RATE_OFF } };
	struct peer_config echo = { .kind = PEER_ECHO };
	struct ring_config rc = { .sq_entries = 4, .cq_entries = 8 };
	struct client c = { 0 };
	char why[100];
	int slot, err;

	seed_set(seed);
	c.w = world_new(seed, &cfg);
	world_enter(c.w);
	rc.kernel = world_kernel(c.w);
	world_remote(c.w, PORT, &echo);
	CHECK_INT(ring_open(&c.ring, &rc, NULL), ==, 0);
	CHECK_INT(ring_enable(&c.ring, NULL), ==, 0);
	ops_init(&c.ops, &c.ring);
	CHECK_INT(files_open(&c.files, &c.ring, 1, 2, NULL), ==, 0);
	for (unsigned i = 0; i < 5; i++) {
		slot = files_slot(&c.files);
		CHECK_INT(slot, >=, 0);
		err = client_connect(&c, slot);
		*refused += err < 0;
		if (!err)
			err = exchange(&c, slot, 1 + (size_t)world_rand(c.w, 500));
		*good += !err;
		*broken += err == -ECONNRESET || err == -EPIPE;
		CHECK_INT(on_slot(&c, OP_CLOSE, slot, NULL, 0, 0), ==, 0);
		files_slot_free(&c.files, (unsigned)slot);
	}
	while (world_next(c.w) != INT64_MAX)
		world_run_until(c.w, world_next(c.w));
	files_close(&c.files);
	ops_fini(&c.ops);
	ring_close(&c.ring);
	if (!world_check_quiet(c.w, why, sizeof(why)))
		world_fail(c.w, "%s", why);
	world_enter(NULL);
	world_free(c.w);
}

TEST_LIMIT(connect_sim_echo_comes_back_or_says_why, 120)
{
	unsigned good = 0, refused = 0, broken = 0;
	uint64_t first = seed_first(), n = seed_count(1000);

	for (uint64_t i = 0; i < n; i++)
		run_seed(first + i, &good, &refused, &broken);
	printf("  %u good, %u refused, %u broken\n", good, refused, broken);
	if (n >= 1000)
		CHECK(good && refused && broken);
}

TEST(connect_sim_without_a_server_is_refused)
{
	struct world_config cfg = { .fault = { [0 ... FAULT_COUNT - 1] = RATE_OFF } };
	struct ring_config rc = { .sq_entries = 4, .cq_entries = 8 };
	struct client c = { 0 };

	c.w = world_new(1, &cfg);
	world_enter(c.w);
	rc.kernel = world_kernel(c.w);
	CHECK_INT(ring_open(&c.ring, &rc, NULL), ==, 0);
	CHECK_INT(ring_enable(&c.ring, NULL), ==, 0);
	ops_init(&c.ops, &c.ring);
	CHECK_INT(files_open(&c.files, &c.ring, 1, 2, NULL), ==, 0);
	CHECK_INT(client_connect(&c, 1), ==, -ECONNREFUSED);
	CHECK_INT(on_slot(&c, OP_CLOSE, 1, NULL, 0, 0), ==, 0);
	files_close(&c.files);
	ops_fini(&c.ops);
	ring_close(&c.ring);
	world_enter(NULL);
	world_free(c.w);
}
