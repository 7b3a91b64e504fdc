/* Sending that fails: deadlines, resets, closes, stalls; and what each leaves of the stream. */
#include "rig.h"

/* A connection whose peer takes nothing: n bytes queued, of which the kernel takes some. */
static struct pair blocked_pair(size_t send_high, const uint8_t *data, size_t n)
{
	struct pair p = pair_tcp_rcvbuf(&(rln_connect_opts){ .send_high = send_high }, 8192);

	if (n)
		CHECK_INT(rln_send_nowait(p.c, data, n), >=, 0);
	return p;
}

static void read_to_the_end(struct transfer *t)
{
	struct peer r;
	peer_start(&r, read_pattern_peer, t);
	peer_join(&r);
}

TASK_TEST(send_large_deadline_with_a_part_out_breaks_the_stream)
{
	uint8_t *data = pattern_new(TOO_MUCH);
	struct pair p = blocked_pair(0, NULL, 0);
	struct transfer t = { .fd = p.fd, .total = TOO_MUCH };
	rln_view v;

	CHECK_INT(RLN_WITHIN(RLN_MS(20), rln_send(p.c, data, TOO_MUCH)), ==, -ETIME);
	memset(data, 0xee, TOO_MUCH);
	size_t out = rln_sent(p.c);
	CHECK(out > 0 && out < TOO_MUCH);
	CHECK_INT(rln_send(p.c, "x", 1), ==, -EPIPE);
	CHECK_INT(rln_send(p.c, "x", 1), ==, -EPIPE);
	CHECK_INT(rln_send_nowait(p.c, "x", 1), ==, -EPIPE);
	CHECK_INT(rln_flush(p.c), ==, -EPIPE);
	CHECK_INT(rln_shutdown_send(p.c), ==, -EPIPE);
	CHECK_INT(rln_sent(p.c), ==, out);
	put(p.fd, "receiving goes on");
	CHECK_INT(rln_recv_exact(p.c, 17, &v), ==, 17);
	CHECK_INT(rln_close(p.c), ==, 0);
	read_to_the_end(&t);
	CHECK_INT(t.got, <=, out);
	CHECK_INT(t.ended, ==, -ECONNRESET); /* never an end that looks whole */
	close(p.fd);
	free(data);
}

/* The same with many vectors: the unit is spread over several submissions. */
TASK_TEST(sendv_large_deadline_counts_what_went_out)
{
	uint8_t *data = pattern_new(TOO_MUCH);
	struct pair p = blocked_pair(0, NULL, 0);
	struct transfer t = { .fd = p.fd, .total = TOO_MUCH };
	struct iovec iov[48];

	for (size_t i = 0; i < 48; i++)
		iov[i] = (struct iovec){ data + i * (TOO_MUCH / 48), TOO_MUCH / 48 };
	CHECK_INT(RLN_WITHIN(RLN_MS(20), rln_sendv(p.c, iov, 48)), ==, -ETIME);
	size_t out = rln_sent(p.c);
	CHECK(out > 0 && out < TOO_MUCH);
	CHECK_INT(rln_send(p.c, "x", 1), ==, -EPIPE);
	CHECK_INT(rln_close(p.c), ==, 0);
	read_to_the_end(&t);
	CHECK_INT(t.got, <=, out);
	CHECK_INT(t.ended, ==, -ECONNRESET);
	close(p.fd);
	free(data);
}

TASK_TEST(send_large_deadline_with_nothing_out_leaves_the_stream_whole)
{
	uint8_t *data = pattern_new(TOO_MUCH + 4), *other = malloc(MIB);
	struct pair p = blocked_pair(64 * MIB, data, TOO_MUCH);
	struct transfer t = { .fd = p.fd, .total = TOO_MUCH + 4 };

	memset(other, 0xee, MIB);
	CHECK_INT(RLN_WITHIN(RLN_MS(20), rln_send(p.c, other, MIB)), ==, -ETIME);
	free(other);
	CHECK_INT(rln_sent(p.c), ==, 0);
	CHECK_INT(rln_send(p.c, data + TOO_MUCH, 4), ==, 4);
	CHECK_INT(rln_close(p.c), ==, 0);
	read_to_the_end(&t);
	CHECK_INT(t.got, ==, t.total);
	CHECK_INT(t.ended, ==, 0);
	close(p.fd);
	free(data);
}

TASK_TEST(send_deadline_while_waiting_for_room_queues_nothing)
{
	uint8_t *data = pattern_new(TOO_MUCH);
	struct pair p = blocked_pair(64 * KIB, data, TOO_MUCH);
	struct transfer t = { .fd = p.fd, .total = TOO_MUCH };
	uint8_t *big = malloc(MIB);
	struct iovec iov[2] = { { "no", 2 }, { big, MIB } };

	memset(big, 0xee, MIB);
	CHECK_INT(RLN_WITHIN(RLN_MS(5), rln_send(p.c, "none", 4)), ==, -ETIME);
	CHECK_INT(RLN_WITHIN(RLN_MS(5), rln_send(p.c, big, MIB)), ==, -ETIME);
	CHECK_INT(RLN_WITHIN(RLN_MS(5), rln_sendv(p.c, iov, 2)), ==, -ETIME);
	CHECK_INT(RLN_WITHIN(0, rln_send(p.c, "none", 4)), ==, -ETIME);
	free(big);
	CHECK_INT(rln_sent(p.c), ==, 0);
	CHECK_INT(rln_close(p.c), ==, 0);
	read_to_the_end(&t);
	CHECK_INT(t.got, ==, t.total);
	CHECK_INT(t.ended, ==, 0);
	close(p.fd);
	free(data);
}

static int waiting_sender(void *arg)
{
	struct pair *p = arg;
	return (int)rln_send(p->c, "!", 1);
}

/* The one at the head of the line gives up: the next one must still get its turn. */
TASK_TEST(send_waiter_cancelled_the_next_one_goes_on)
{
	uint8_t *data = pattern_new(TOO_MUCH);
	struct pair p = blocked_pair(64 * KIB, data, TOO_MUCH);
	struct transfer t = { .fd = p.fd, .total = TOO_MUCH };
	rln_task first, second;
	struct peer r;
	int result;

	CHECK_INT(rln_spawn(waiting_sender, &p, NULL, &first), ==, 0);
	CHECK_INT(rln_spawn(waiting_sender, &p, NULL, &second), ==, 0);
	CHECK_INT(rln_yield(), ==, 0);
	CHECK_INT(rln_cancel(first), ==, 0);
	CHECK_INT(rln_join(first, &result), ==, 0);
	CHECK_INT(result, ==, -ECANCELED);
	peer_start(&r, read_pattern_peer, &t);
	CHECK_INT(rln_join(second, &result), ==, 0);
	CHECK_INT(result, ==, 1);
	peer_join(&r);
	CHECK_INT(t.got, ==, t.total);
	CHECK_INT(t.ended, ==, 1); /* the second one's byte */
	pair_close(&p);
	free(data);
}

TASK_TEST(send_after_peer_reset_fails_for_good)
{
	for (int i = 0; i < 20; i++) {
		struct pair p = pair_tcp(NULL);
		rln_view v;
		int e = 0;

		reset_close(p.fd);
		if (i % 2)
			CHECK_INT(rln_recv(p.c, &v), ==, -ECONNRESET);
		/* the first may still be queued; its failure is the next call's */
		TASK_EVENTUALLY((e = (int)rln_send(p.c, "x", 1)) < 0);
		CHECK(e == -EPIPE || e == -ECONNRESET);
		for (int k = 0; k < 3; k++) {
			CHECK_INT(rln_send(p.c, "x", 1), ==, e);
			CHECK_INT(rln_send_nowait(p.c, "x", 1), ==, e);
			CHECK_INT(rln_flush(p.c), ==, e);
		}
		CHECK_INT(rln_recv(p.c, &v), ==, -ECONNRESET);
		CHECK_INT(rln_close(p.c), ==, 0);
	}
}

/* ---- release callbacks of pieces that never went out */
static int released[8];

static void on_release(void *ud)
{
	++*(int *)ud;
}

static void all_released_once(int n)
{
	for (int i = 0; i < n; i++)
		TASK_EVENTUALLY(released[i] > 0);
	CHECK_INT(rln_sleep(RLN_MS(2)), ==, 0);
	for (int i = 0; i < n; i++)
		CHECK_INT(released[i], ==, 1);
	memset(released, 0, sizeof released);
}

static ssize_t send_guarded(rln_conn c, uint8_t *data, size_t each)
{
	rln_piece pc[] = { { data, each, on_release, &released[0] },
			   { data, 10, NULL, NULL },
			   { data, 0, on_release, &released[1] },
			   { data + each, each, on_release, &released[2] } };
	return rln_send_pieces(c, pc, 4);
}

TASK_TEST(pieces_refused_are_released_once)
{
	uint8_t *data = pattern_new(MIB);
	struct pair p = pair_tcp(NULL);
	rln_piece pc = { data, 5, on_release, &released[0] };

	CHECK_INT(RLN_WITHIN(0, send_guarded(p.c, data, 1000)), ==, -ETIME);
	CHECK_INT(released[0] + released[1] + released[2], ==, 0); /* not inside the call */
	all_released_once(3);
	CHECK_INT(rln_send_pieces(p.c, &pc, -1), ==, -EINVAL);
	CHECK_INT(rln_shutdown_send(p.c), ==, 0);
	CHECK_INT(send_guarded(p.c, data, 100 * KIB), ==, -EPIPE);
	all_released_once(3);
	rln_conn stale = p.c;
	pair_close(&p);
	CHECK_INT(send_guarded(stale, data, 1000), ==, -EBADF);
	CHECK_INT(released[0] + released[1] + released[2], ==, 0);
	all_released_once(3);
	CHECK_INT(send_guarded((rln_conn){ 0 }, data, 1000), ==, -EBADF);
	all_released_once(3);
	free(data);
}

static void *foreign_send(void *arg)
{
	struct pair *p = arg;
	uint8_t data[64];

	CHECK_INT(send_guarded(p->c, data, 32), ==, -EPERM);
	for (int i = 0; i < 3; i++)
		CHECK_INT(released[i], ==, 1); /* there is no worker whose loop could do it later */
	return NULL;
}

TASK_TEST_CFG(pieces_from_a_foreign_thread_are_released_once, .log = NULL)
{
	struct pair p = pair_tcp(NULL);
	pthread_t th;

	CHECK(pthread_create(&th, NULL, foreign_send, &p) == 0);
	pthread_join(th, NULL);
	all_released_once(3);
	pair_close(&p);
}

/* Queued behind a peer that takes nothing, then the connection ends in each of the ways. */
TASK_TEST(pieces_queued_when_the_connection_ends_are_released_once)
{
	uint8_t *data = pattern_new(TOO_MUCH);

	for (int way = 0; way < 3; way++) {
		struct pair p = blocked_pair(64 * MIB, data, TOO_MUCH);
		ssize_t n = send_guarded(p.c, data, way == 2 ? 1000 : 300 * KIB);
		CHECK_INT(n, >, 0);
		CHECK_INT(rln_sleep(RLN_MS(1)), ==, 0);
		CHECK_INT(released[0] + released[2], ==, 0);
		switch (way) {
		case 0: /* the peer goes */
			reset_close(p.fd);
			all_released_once(3);
			CHECK_INT(rln_close(p.c), ==, 0);
			break;
		case 1: /* we go */
			CHECK_INT(rln_reset(p.c), ==, 0);
			all_released_once(3);
			close(p.fd);
			break;
		default: /* we go in peace: they are sent */
			CHECK_INT(rln_close(p.c), ==, 0);
			struct transfer t = { .fd = p.fd, .total = TOO_MUCH };
			read_to_the_end(&t);
			CHECK_INT(t.got, ==, TOO_MUCH);
			all_released_once(3);
			close(p.fd);
		}
	}
	free(data);
}

/* Zero-copy bytes the kernel holds and the peer does not take: released by the reset. */
TASK_TEST(pieces_zero_copy_in_flight_are_released_by_a_reset)
{
	uint8_t *data = pattern_new(TOO_MUCH);

	for (int way = 0; way < 2; way++) {
		struct pair p = blocked_pair(64 * MIB, NULL, 0);
		rln_piece pc[4];
		for (int i = 0; i < 4; i++)
			pc[i] = (rln_piece){ data + (size_t)i * MIB * 6, 6 * MIB, on_release,
					     &released[i] };
		CHECK_INT(rln_send_pieces(p.c, pc, 4), ==, 24 * MIB);
		CHECK_INT(rln_sleep(RLN_MS(2)), ==, 0);
		CHECK_INT(released[3], ==, 0);
		if (way)
			CHECK_INT(rln_reset(p.c), ==, 0);
		reset_close(p.fd);
		all_released_once(4);
		if (!way)
			CHECK_INT(rln_close(p.c), ==, 0);
	}
	free(data);
}

/* ---- a peer that stalls: the listener's send_stall */
static struct {
	sem_t closed;
	int err, count;
	ssize_t sent;
	int flushed, again;
} stall;

static void stall_conn(rln_conn c, void *arg)
{
	uint8_t *data = arg;

	stall.sent = rln_send(c, data, TOO_MUCH);
	stall.again = (int)rln_send(c, "x", 1);
}

static void stall_flush_conn(rln_conn c, void *arg)
{
	CHECK_INT(rln_send_nowait(c, arg, TOO_MUCH), >=, 0);
	stall.flushed = rln_flush(c);
}

static void stall_closed(rln_conn c, int err, void *arg)
{
	(void)c, (void)arg;
	stall.err = err;
	stall.count++;
	sem_post(&stall.closed);
}

static void stalled_peer(void (*on_conn)(rln_conn c, void *arg))
{
	uint8_t *data = pattern_new(TOO_MUCH);
	rln_listen_opts l = { .on_conn = on_conn,
			      .on_close = stall_closed,
			      .arg = data,
			      .send_stall = RLN_MS(60),
			      .sndbuf = 64 << 10 };
	struct server s = server_start(&l, NULL);
	static uint8_t got[65536];
	ssize_t r;

	sem_init(&stall.closed, 0, 0);
	int fd = client(&s);
	sem_wait(&stall.closed);
	CHECK_INT(stall.err, ==, -ETIMEDOUT);
	while ((r = recv_some(fd, got, sizeof got)) > 0)
		;
	CHECK(r < 0 && errno == ECONNRESET);
	close(fd);
	rln_stats st = server_stats(&s);
	CHECK_INT(st.send_stalls, ==, 1);
	CHECK_INT(st.truncated_closes, ==, 1);
	CHECK_INT(st.resets, ==, 1);
	CHECK_INT(server_stop(&s), ==, 0);
	CHECK_INT(stall.count, ==, 1);
	free(data);
}

TEST(send_stall_resets_and_tells_a_large_sender)
{
	stalled_peer(stall_conn);
	CHECK_INT(stall.sent, ==, -ETIMEDOUT);
	CHECK(stall.again < 0);
}

TEST(send_stall_resets_and_tells_a_flusher)
{
	stalled_peer(stall_flush_conn);
	CHECK_INT(stall.flushed, ==, -ETIMEDOUT);
}

static void slow_conn(rln_conn c, void *arg)
{
	stall.sent = rln_send(c, arg, 2 * MIB);
	stall.flushed = rln_flush(c);
}

/* A peer that takes a little in each period is slow, not gone. */
TEST(send_stall_spares_a_slow_reader)
{
	uint8_t *data = pattern_new(2 * MIB);
	rln_listen_opts l = { .on_conn = slow_conn,
			      .on_close = stall_closed,
			      .arg = data,
			      .send_stall = RLN_MS(200),
			      .sndbuf = 64 << 10 };
	struct server s = server_start(&l, NULL);
	static uint8_t got[64 * 1024];
	size_t at = 0;

	sem_init(&stall.closed, 0, 0);
	int fd = client(&s), small = 64 << 10;
	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
	while (at < 2 * MIB) {
		if (at < MIB)
			poll(NULL, 0, 20); /* the slowness itself */
		ssize_t r = recv_some(fd, got, sizeof got);
		CHECK_INT(r, >, 0);
		pattern_check(got, at, (size_t)r);
		at += (size_t)r;
	}
	expect_eof(fd);
	close(fd);
	sem_wait(&stall.closed);
	CHECK_INT(stall.err, ==, 0);
	CHECK_INT(stall.sent, ==, 2 * MIB);
	CHECK_INT(stall.flushed, ==, 0);
	CHECK_INT(server_stats(&s).send_stalls, ==, 0);
	CHECK_INT(server_stop(&s), ==, 0);
	free(data);
}
