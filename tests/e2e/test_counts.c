/* What the counters promise: an idle loop is idle, a request costs few calls, sums add up. */
#include "echo_modes.h"
#include "rig.h"

static struct server serve(int m)
{
	rln_listen_opts l = echo_mode(m);
	return server_start(&l, NULL);
}

static void round_trips(int fd, int n, size_t bytes)
{
	uint8_t out[1024], in[1024];

	for (int i = 0; i < n; i++) {
		pattern_fill(out, (size_t)i, bytes);
		send_all(fd, out, bytes);
		CHECK_INT(recv_n(fd, in, bytes), ==, bytes);
		CHECK(memcmp(in, out, bytes) == 0);
	}
}

/* Until nothing changes any more: what the last request left is done. */
static rln_stats settled(const struct server *s)
{
	rln_stats before, now = server_stats(s);
	do {
		before = now;
		poll(NULL, 0, 20);
		now = server_stats(s);
	} while (now.turns != before.turns);
	return now;
}

TEST(counts_idle_loop_makes_no_calls)
{
	for (int m = 0; m < 3; m++) {
		struct server s = serve(m);
		int fd[20];
		for (int i = 0; i < 20; i++) {
			fd[i] = client(&s);
			round_trips(fd[i], 3, 64);
		}
		rln_stats before = settled(&s);
		poll(NULL, 0, 150); /* the idleness itself */
		rln_stats after = server_stats(&s);
		CHECK_INT(after.enters - before.enters, <=, 1);
		CHECK_INT(after.turns - before.turns, <=, 1);
		CHECK_INT(after.cqes - before.cqes, ==, 0);
		CHECK_INT(after.sqes - before.sqes, ==, 0);
		for (int i = 0; i < 20; i++)
			close(fd[i]);
		CHECK_INT(server_stop(&s), ==, 0);
	}
}

/* One connection: one enter that sends and waits for the next, one more for good measure. */
TEST(counts_calls_of_an_echo_request)
{
	enum { N = 2000 };

	for (int m = 0; m < 3; m++) {
		struct server s = serve(m);
		int fd = client(&s);
		round_trips(fd, 10, 64);
		rln_stats before = settled(&s);
		round_trips(fd, N, 64);
		rln_stats after = settled(&s);
		CHECK_INT(after.enters - before.enters, <=, N * 21 / 10);
		CHECK_INT(after.sqes - before.sqes, >=, N);
		CHECK_INT(after.sqes - before.sqes, <=, N * 21 / 20); /* the send alone */
		CHECK_INT(after.cqes - before.cqes, >=, 2 * N);
		CHECK_INT(after.recv_bytes - before.recv_bytes, ==, 64 * N);
		CHECK_INT(after.send_bytes - before.send_bytes, ==, 64 * N);
		CHECK_INT(after.send_retries, ==, 0);
		CHECK_INT(after.recv_parked, ==, 0);
		if (m == 0)
			CHECK_INT(after.spawns, ==, 1);
		if (m == 1)
			CHECK_INT(after.spawns - before.spawns, ==, N);
		if (m == 2)
			CHECK_INT(after.spawns, ==, 0);
		close(fd);
		CHECK_INT(server_stop(&s), ==, 0);
	}
}

TEST(counts_connections_come_and_go)
{
	for (int m = 0; m < 3; m++) {
		struct server s = serve(m);
		int fd[10];
		for (int i = 0; i < 10; i++) {
			fd[i] = client(&s);
			round_trips(fd[i], 1, 8);
		}
		rln_stats st = server_stats(&s);
		CHECK_INT(st.accepts, ==, 10);
		CHECK_INT(st.conns_open, ==, 10);
		CHECK_INT(st.conns_peak, ==, 10);
		CHECK_INT(st.tasks, ==, m == 0 ? 10 : 0);
		for (int i = 0; i < 10; i++)
			close(fd[i]);
		EVENTUALLY(server_stats(&s).conns_open == 0);
		st = settled(&s);
		CHECK_INT(st.conns_peak, ==, 10);
		CHECK_INT(st.tasks, ==, 0);
		CHECK_INT(st.accept_errors + st.resets + st.truncated_closes + st.misuse, ==, 0);
		CHECK_INT(st.lingers, ==, 0); /* the peers had ended: nothing to wait for */
		CHECK_INT(server_stop(&s), ==, 0);
	}
}

/* Many requests in one write are answered by few sends. */
static int answer_lines(rln_conn c, void *arg)
{
	rln_view v;
	(void)arg;
	ssize_t n = rln_recv_until(c, "\n", 100, &v);
	return n > 0 && rln_send(c, v.data, (size_t)n) == n ? RLN_KEEP : RLN_CLOSE;
}

TEST(counts_pipelined_requests_share_a_send)
{
	rln_listen_opts l = { .on_request = answer_lines };
	struct server s = server_start(&l, NULL);
	int fd = client(&s);
	char line[16 * 100], in[sizeof line];
	size_t n = 0;

	for (int i = 0; i < 100; i++)
		n += (size_t)snprintf(line + n, sizeof line - n, "line %d\n", i);
	send_all(fd, line, 7);
	CHECK_INT(recv_n(fd, in, 7), ==, 7);
	rln_stats before = settled(&s);
	for (int round = 0; round < 50; round++) {
		send_all(fd, line, n);
		CHECK_INT(recv_n(fd, in, n), ==, n);
		CHECK(memcmp(in, line, n) == 0);
	}
	rln_stats after = settled(&s);
	CHECK_INT(after.sqes - before.sqes, <=, 50 * 4);
	CHECK_INT(after.enters - before.enters, <=, 50 * 6);
	close(fd);
	CHECK_INT(server_stop(&s), ==, 0);
}

TEST(counts_of_no_worker_and_of_an_older_program)
{
	struct server s = serve(2);
	rln_stats st;
	uint64_t few[3] = { 7, 7, 7 };
	struct {
		rln_stats known;
		uint64_t more[4];
	} newer;

	CHECK_INT(rln_stats_get(s.rt, 1, &st), ==, -EINVAL);
	CHECK_INT(rln_stats_get(NULL, 0, &st), ==, -EPERM);
	CHECK_INT(rln_stats_get_sized(s.rt, 0, (rln_stats *)few, 2 * sizeof few[0]), ==, 0);
	CHECK_INT(few[2], ==, 7); /* what it does not have is not written */
	memset(&newer, 0xff, sizeof newer);
	CHECK_INT(rln_stats_get_sized(s.rt, 0, &newer.known, sizeof newer), ==, 0);
	for (int i = 0; i < 4; i++)
		CHECK_INT(newer.more[i], ==, 0);
	CHECK_INT(server_stop(&s), ==, 0);
}
