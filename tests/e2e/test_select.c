/* Arms of connections: input and room to send. */
#include "rig.h"

static int which(rln_arm *arms, int n)
{
	return RLN_WITHIN(RLN_SEC(20), rln_select(arms, n));
}

static void expect_quiet(rln_arm *arms, int n)
{
	CHECK_INT(RLN_WITHIN(RLN_MS(3), rln_select(arms, n)), ==, -ETIME);
}

TASK_TEST(select_readable_of_two_connections)
{
	struct pair p = pair_tcp(NULL), q = pair_tcp(NULL);
	rln_arm arms[] = { rln_on_readable(p.c), rln_on_readable(q.c) };
	rln_view v;

	expect_quiet(arms, 2);
	put(q.fd, "two");
	CHECK_INT(which(arms, 2), ==, 1);
	CHECK_INT(arms[1].res, ==, 0);
	put(p.fd, "one");
	await_input(p.c, 3);
	/* it was shown: there is nothing new */
	CHECK_INT(which(arms, 2), ==, 1);
	CHECK_INT(rln_recv(q.c, &v), ==, 3); /* nothing was consumed by the arm */
	check_view(v, "two");
	expect_quiet(arms, 2);
	put(p.fd, "!");
	CHECK_INT(which(arms, 2), ==, 0);
	CHECK_INT(rln_recv_exact(p.c, 4, &v), ==, 4);
	check_view(v, "one!");
	shutdown(q.fd, SHUT_WR);
	CHECK_INT(which(arms, 2), ==, 1);
	CHECK_INT(rln_recv(q.c, &v), ==, 0);
	pair_close(&p);
	CHECK_INT(which(arms, 2), ==, 0);
	CHECK_INT(arms[0].res, ==, -EBADF);
	pair_close(&q);
}

/* Losing the select, it is no reader any more. */
TASK_TEST(select_readable_counts_as_a_reader_while_it_waits)
{
	struct pair p = pair_tcp(NULL);
	rln_arm arms[] = { rln_on_readable(p.c), rln_on_readable(p.c) };
	rln_view v;

	CHECK_INT(which(arms, 2), ==, 1);
	CHECK_INT(arms[1].res, ==, -EBUSY);
	rln_arm timed[] = { rln_on_readable(p.c), rln_on_after(RLN_MS(1)) };
	CHECK_INT(which(timed, 2), ==, 1);
	put(p.fd, "x");
	CHECK_INT(rln_recv(p.c, &v), ==, 1);
	pair_close(&p);
}

static int close_later(void *arg)
{
	rln_sleep(RLN_MS(1));
	return rln_close(*(rln_conn *)arg);
}

TASK_TEST(select_arms_of_a_connection_that_is_closed_meanwhile)
{
	struct pair p = pair_tcp(NULL);
	rln_arm arm = rln_on_readable(p.c);

	CHECK_INT(rln_go(close_later, &p.c, NULL), ==, 0);
	CHECK_INT(which(&arm, 1), ==, 0);
	CHECK_INT(arm.res, ==, -ECONNABORTED);
	close(p.fd);
}

TASK_TEST(select_readable_told_of_a_reset)
{
	struct pair p = pair_tcp(NULL);
	rln_arm arm = rln_on_readable(p.c);
	struct linger now = { .l_onoff = 1 };
	rln_view v;

	CHECK(setsockopt(p.fd, SOL_SOCKET, SO_LINGER, &now, sizeof now) == 0);
	close(p.fd);
	CHECK_INT(which(&arm, 1), ==, 0);
	CHECK_INT(arm.res, ==, 0);
	CHECK_INT(rln_recv(p.c, &v), ==, -ECONNRESET);
	CHECK_INT(rln_close(p.c), ==, 0);
}

TASK_TEST(select_readable_idle_timeout_is_etime)
{
	rln_connect_opts o = { .idle_timeout = RLN_MS(5) };
	struct pair p = pair_tcp(&o);
	rln_arm arm = rln_on_readable(p.c);

	CHECK_INT(which(&arm, 1), ==, 0);
	CHECK_INT(arm.res, ==, -ETIME);
	pair_close(&p);
}

/* Until the kernel takes no more: the arm is not ready for a while. Returns the bytes queued. */
static size_t stuff(struct pair *p, const uint8_t *data, rln_arm *writable)
{
	size_t n = 0;

	do {
		CHECK_INT(writable->res, ==, 0);
		for (int e = 0; e == 0 && n < TOO_MUCH; n += e ? 0 : 16 * KIB)
			e = rln_send_nowait(p->c, data + n, 16 * KIB);
		CHECK_INT(n, <, TOO_MUCH);
	} while (RLN_WITHIN(RLN_MS(30), rln_select(writable, 1)) == 0);
	return n;
}

TASK_TEST(select_writable_when_the_queue_is_low_again)
{
	rln_connect_opts o = { .send_high = 64 * KIB };
	struct pair p = pair_tcp_rcvbuf(&o, 8192);
	struct transfer t = { .fd = p.fd };
	rln_arm arms[] = { rln_on_writable(p.c), rln_on_writable(p.c) };
	uint8_t *data = pattern_new(TOO_MUCH);
	struct peer r;

	CHECK_INT(which(arms, 2), ==, 0);
	CHECK_INT(arms[0].res, ==, 0);
	t.total = stuff(&p, data, arms);
	expect_quiet(arms, 2);
	peer_start(&r, read_pattern_peer, &t);
	CHECK_INT(which(arms, 2), ==, 0);
	CHECK_INT(rln_send_nowait(p.c, data, 0), ==, 0);
	CHECK_INT(rln_close(p.c), ==, 0);
	peer_join(&r);
	CHECK_INT(t.got, ==, t.total);
	CHECK_INT(which(arms, 1), ==, 0);
	CHECK_INT(arms[0].res, ==, -EBADF);
	close(p.fd);
	free(data);
}

TASK_TEST(select_writable_told_of_a_broken_connection)
{
	rln_connect_opts o = { .send_high = 64 * KIB };
	struct pair p = pair_tcp_rcvbuf(&o, 8192);
	rln_arm arm = rln_on_writable(p.c);
	struct linger now = { .l_onoff = 1 };
	uint8_t *data = pattern_new(TOO_MUCH);

	stuff(&p, data, &arm);
	CHECK(setsockopt(p.fd, SOL_SOCKET, SO_LINGER, &now, sizeof now) == 0);
	close(p.fd);
	CHECK_INT(which(&arm, 1), ==, 0);
	CHECK_INT(arm.res, <, 0);
	CHECK_INT(rln_send(p.c, data, 1), ==, arm.res);
	CHECK_INT(rln_close(p.c), ==, 0);
	free(data);
}
