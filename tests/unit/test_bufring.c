/*
 * Provided buffers against the real kernel: leases, wrap-around, exhaustion, growth, and the bugs
 * the accounting must catch.
 */
#include "test.h"
#include "ring/bufring.h"
#include "ring/caps.h"
#include <errno.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

static struct ring ring;
static struct bufring bufs;
static int pair[2];

struct got {
	int res;
	uint32_t flags;
};

static void keep(void *ctx, const struct io_uring_cqe *cqe)
{
	struct got *g = ctx;

	g->res = cqe->res;
	g->flags = cqe->flags;
}

static void ring_up(void)
{
	struct ring_config cfg = { .sq_entries = 4, .cq_entries = 8, .sqpoll_cpu = -1 };

	CHECK_INT(ring_open(&ring, &cfg, NULL), ==, 0);
	CHECK_INT(ring_enable(&ring, NULL), ==, 0);
}

static void up(unsigned capacity, unsigned filled, uint32_t buf_bytes)
{
	ring_up();
	CHECK_INT(bufring_open(&bufs, &ring, 3, capacity, filled, buf_bytes, NULL), ==, 0);
	CHECK_INT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), ==, 0);
	bufring_check(&bufs);
}

static void down(void)
{
	bufring_check(&bufs);
	bufring_close(&bufs);
	bufring_close(&bufs); /* again is nothing */
	ring_close(&ring);
	close(pair[0]);
	close(pair[1]);
}

/* One receive into a buffer of the group: the bid it took, or -errno. */
static int receive(void)
{
	struct io_uring_sqe *sqe = ring_sqe(&ring);
	struct got g = { 0 };

	io_uring_prep_recv(sqe, pair[0], NULL, 0, 0);
	sqe->buf_group = 3;
	io_uring_sqe_set_flags(sqe, IOSQE_BUFFER_SELECT);
	CHECK_INT(ring_enter(&ring, 1, INT64_MAX), ==, 0);
	CHECK_INT(ring_reap(&ring, 8, keep, &g), ==, 1);
	if (g.res < 0)
		return g.res;
	CHECK(g.flags & IORING_CQE_F_BUFFER);
	return (int)(g.flags >> IORING_CQE_BUFFER_SHIFT);
}

static void send_number(unsigned n)
{
	CHECK_INT(write(pair[1], &n, sizeof n), ==, sizeof n);
}

TEST(bufring_lease_carries_the_bytes_and_goes_round)
{
	unsigned n;
	int bid;

	up(4, 4, 100);
	for (unsigned i = 0; i < 300; i++) {
		send_number(i);
		bid = receive();
		CHECK_INT(bid, >=, 0);
		bufring_take(&bufs, (unsigned)bid);
		CHECK_INT(bufs.free, ==, 3);
		memcpy(&n, bufring_addr(&bufs, (unsigned)bid), sizeof n);
		CHECK_INT(n, ==, i);
		bufring_give(&bufs, (unsigned)bid);
		CHECK_INT(bufs.staged, ==, 1);
		CHECK_INT(bufs.free, ==, 4);
		bufring_check(&bufs);
		bufring_publish(&bufs);
		CHECK_INT(bufs.staged, ==, 0);
		bufring_check(&bufs);
	}
	down();
}

TEST(bufring_exhausted_is_enobufs_until_published)
{
	int bid[2];

	up(2, 2, 64);
	for (unsigned i = 0; i < 2; i++) {
		send_number(i);
		bid[i] = receive();
		CHECK_INT(bid[i], >=, 0);
		bufring_take(&bufs, (unsigned)bid[i]);
	}
	CHECK(bid[0] != bid[1]);
	CHECK_INT(bufs.free, ==, 0);
	send_number(2);
	CHECK_INT(receive(), ==, -ENOBUFS);
	bufring_give(&bufs, (unsigned)bid[1]);
	CHECK_INT(receive(), ==, -ENOBUFS); /* staged is not yet the kernel's */
	bufring_publish(&bufs);
	CHECK_INT(receive(), ==, bid[1]);
	bufring_take(&bufs, (unsigned)bid[1]);
	bufring_give(&bufs, (unsigned)bid[1]);
	bufring_give(&bufs, (unsigned)bid[0]);
	down(); /* with buffers staged */
}

TEST(bufring_grows_to_its_capacity_and_no_further)
{
	up(8, 1, 5000);
	CHECK_INT(bufs.filled, ==, 1);
	CHECK_INT(bufs.grows, ==, 0);
	send_number(0);
	CHECK_INT(receive(), ==, 0);
	bufring_take(&bufs, 0);
	send_number(1);
	CHECK_INT(receive(), ==, -ENOBUFS);
	CHECK_INT(bufring_grow(&bufs, 3), ==, 3);
	CHECK_INT(bufs.free, ==, 3);
	bufring_publish(&bufs);
	CHECK_INT(receive(), ==, 1);
	bufring_take(&bufs, 1);
	CHECK_INT(bufring_grow(&bufs, 100), ==, 4);
	CHECK_INT(bufring_grow(&bufs, 1), ==, 0);
	CHECK_INT(bufs.grows, ==, 2);
	CHECK_INT(bufs.filled, ==, 8);
	CHECK_INT(bufs.free, ==, 6);
	bufring_publish(&bufs);
	down(); /* with buffers leased */
}

TEST(bufring_capacity_one_works)
{
	up(1, 1, 1);
	for (int i = 0; i < 70000; i += 1000) { /* the tail is 16 bits wide */
		CHECK_INT(write(pair[1], "a", 1), ==, 1);
		CHECK_INT(receive(), ==, 0);
		bufring_take(&bufs, 0);
		CHECK_INT(*bufring_addr(&bufs, 0), ==, 'a');
		bufring_give(&bufs, 0);
		bufring_publish(&bufs);
	}
	down();
}

TEST(bufring_tail_wraps_at_65536)
{
	up(2, 2, 8);
	for (unsigned i = 0; i < 66000; i++) {
		int bid;

		send_number(i);
		bid = receive();
		CHECK_INT(bid, ==, (int)(i & 1));
		bufring_take(&bufs, (unsigned)bid);
		bufring_give(&bufs, (unsigned)bid);
		bufring_publish(&bufs);
	}
	down();
}

TEST(bufring_open_bad_sizes_are_refused)
{
	static const struct {
		unsigned capacity, filled;
		uint32_t buf_bytes;
	} rows[] = { { 0, 0, 64 }, { 3, 1, 64 }, { 65536, 1, 64 },
		     { 4, 5, 64 }, { 4, 0, 64 }, { 4, 4, 0 } };
	struct diag why;

	ring_up();
	for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		CHECK_INT(bufring_open(&bufs, &ring, 0, rows[i].capacity, rows[i].filled,
				       rows[i].buf_bytes, &why),
			  ==, -EINVAL);
		CHECK_HAS(why.line, "buffer ring: ");
	}
	ring_close(&ring);
}

TEST(bufring_open_same_group_twice_is_refused)
{
	struct bufring again;
	struct diag why;

	up(4, 4, 64);
	CHECK_INT(bufring_open(&again, &ring, 3, 4, 4, 64, &why), ==, -EEXIST);
	CHECK_HAS(why.line, "IORING_REGISTER_PBUF_RING: EEXIST");
	CHECK_INT(bufring_open(&again, &ring, 4, 4, 4, 64, &why), ==, 0);
	bufring_close(&again);
	CHECK_INT(bufring_open(&again, &ring, 4, 4, 4, 64, &why), ==, 0); /* free again */
	bufring_close(&again);
	down();
}

static void take_twice(void)
{
	up(4, 4, 64);
	bufring_take(&bufs, 2);
	bufring_take(&bufs, 2);
}

static void take_unfilled(void)
{
	up(4, 2, 64);
	bufring_take(&bufs, 2);
}

static void take_staged(void)
{
	up(4, 4, 64);
	bufring_take(&bufs, 1);
	bufring_give(&bufs, 1);
	bufring_take(&bufs, 1);
}

static void give_twice(void)
{
	up(4, 4, 64);
	bufring_take(&bufs, 1);
	bufring_give(&bufs, 1);
	bufring_give(&bufs, 1);
}

static void give_unleased(void)
{
	up(4, 4, 64);
	bufring_give(&bufs, 0);
}

static void miscounted(void)
{
	up(4, 4, 64);
	bufs.place[3] = BUF_LEASED;
	bufring_check(&bufs);
}

TEST(bufring_broken_accounting_is_caught)
{
	CHECK_DIES(take_twice, SIGABRT, "bid 2 is in place 3");
	CHECK_DIES(take_unfilled, SIGABRT, "bid 2 of 2");
	CHECK_DIES(take_staged, SIGABRT, "bid 1 is in place 2");
	CHECK_DIES(give_twice, SIGABRT, "bid 1 is in place 2");
	CHECK_DIES(give_unleased, SIGABRT, "bid 0 is in place 1");
	CHECK_DIES(miscounted, SIGABRT, "bufring_check");
}
