/* Arms of connections that another task reads, half-closes or closes at the wrong moment. */
#include "rig.h"

#define ROUNDS 100

static struct pair at;
static bool closed;

static int which(rln_arm *arms, int n)
{
	return RLN_WITHIN(RLN_SEC(20), rln_select(arms, n));
}

/* It is ready before the task whose input comes in this turn, and runs before it. */
static int closes_behind_the_input(void *arg)
{
	(void)arg;
	put(at.fd, "x");
	CHECK_INT(rln_yield(), ==, 0);
	closed = true;
	return rln_close(at.c);
}

TASK_TEST(select_readable_whose_connection_is_closed_after_its_wake_says_so)
{
	for (int i = 0; i < ROUNDS; i++) {
		at = pair_tcp(NULL);
		closed = false;
		rln_arm arm = rln_on_readable(at.c);
		CHECK_INT(rln_go(closes_behind_the_input, NULL, NULL), ==, 0);
		CHECK_INT(which(&arm, 1), ==, 0);
		if (closed)
			CHECK_INT(arm.res, ==, -ECONNABORTED);
		else
			CHECK_INT(arm.res, ==, 0);
		while (!closed)
			CHECK_INT(rln_yield(), ==, 0);
		close(at.fd);
	}
}

static int reads(void *arg)
{
	rln_view v;

	(void)arg;
	return (int)rln_recv(at.c, &v);
}

TASK_TEST(select_readable_of_a_connection_somebody_reads_is_busy)
{
	rln_task t;
	int n = -1;

	at = pair_tcp(NULL);
	CHECK_INT(rln_spawn(reads, NULL, NULL, &t), ==, 0);
	CHECK_INT(rln_yield(), ==, 0);
	rln_arm arms[] = { rln_on_after(RLN_FOREVER), rln_on_readable(at.c) };
	CHECK_INT(which(arms, 2), ==, 1);
	CHECK_INT(arms[1].res, ==, -EBUSY);
	put(at.fd, "abc");
	CHECK_INT(rln_join(t, &n), ==, 0);
	CHECK_INT(n, ==, 3);
	pair_close(&at);
}

static int ends_sending(void *arg)
{
	(void)arg;
	return rln_shutdown_send(at.c);
}

static int drinks(void *arg)
{
	static uint8_t drink[256 * KIB];

	for (size_t n = 0; n < *(size_t *)arg;) {
		ssize_t r = peer_recv(at.fd, drink, sizeof drink);
		CHECK_INT(r, >, 0);
		n += (size_t)r;
	}
	return 0;
}

/* In the end there is room, but nobody may use it. */
TASK_TEST(select_writable_told_of_a_half_close_while_it_waits)
{
	static size_t bytes = 4 * MIB;
	rln_connect_opts o = { .send_high = 64 * KIB };
	rln_piece piece = { NULL, bytes, free, NULL };
	rln_task t;

	at = pair_tcp_rcvbuf(&o, 16 << 10);
	piece.data = piece.ud = pattern_new(bytes);
	CHECK_INT(rln_send_pieces(at.c, &piece, 1), ==, bytes);
	rln_arm arm = rln_on_writable(at.c);
	CHECK_INT(rln_go(ends_sending, NULL, NULL), ==, 0);
	CHECK_INT(rln_spawn(drinks, &bytes, NULL, &t), ==, 0);
	CHECK_INT(which(&arm, 1), ==, 0);
	CHECK_INT(arm.res, ==, -EPIPE);
	CHECK_INT(rln_join(t, NULL), ==, 0);
	pair_close(&at);
}
