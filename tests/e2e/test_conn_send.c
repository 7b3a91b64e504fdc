/* Sending that succeeds: units, order, pieces and their release, backpressure, half-close. */
#include "rig.h"
#include <sys/resource.h>

TASK_TEST(send_small_is_queued_whole)
{
	struct pair p = pair_tcp(NULL);
	uint8_t *data = pattern_new(16 * KIB), *got = malloc(16 * KIB);
	size_t n = 0;

	CHECK_INT(rln_send(p.c, data, 0), ==, 0);
	CHECK_INT(rln_send(p.c, data, 1), ==, 1);
	CHECK_INT(rln_send(p.c, data + 1, 16 * KIB - 1), ==, 16 * KIB - 1);
	memset(data, 0xee, 16 * KIB); /* borrowed for the call only */
	while (n < 16 * KIB) {
		ssize_t r = peer_recv(p.fd, got + n, 16 * KIB - n);
		CHECK_INT(r, >, 0);
		n += (size_t)r;
	}
	pattern_check(got, 0, n);
	CHECK_INT(rln_sent(p.c), ==, 0);
	pair_close(&p);
	free(data);
	free(got);
}

TASK_TEST(send_large_to_a_slow_reader_goes_out_in_place)
{
	struct pair p = pair_tcp_rcvbuf(NULL, 8192);
	struct transfer t = { .fd = p.fd, .total = 8 * MIB + 5, .step = 3001 };
	uint8_t *data = pattern_new(t.total);
	struct peer r;
	peer_start(&r, read_pattern_peer, &t);

	CHECK_INT(rln_send(p.c, data, t.total), ==, t.total);
	memset(data, 0xee, t.total); /* the kernel has let go of it */
	CHECK_INT(rln_sent(p.c), ==, 0);
	CHECK_INT(rln_close(p.c), ==, 0);
	peer_join(&r);
	CHECK_INT(t.got, ==, t.total);
	CHECK_INT(t.ended, ==, 0);
	close(p.fd);
	free(data);
}

/* 40 vectors, some of them empty: copied, and in place. */
TASK_TEST(sendv_forty_vectors_are_one_unit)
{
	static const size_t sizes[] = { 100, 10000 };

	for (int round = 0; round < 2; round++) {
		struct pair p = pair_tcp(NULL);
		struct transfer t = { .fd = p.fd };
		struct iovec iov[40];
		uint8_t *data = pattern_new(40 * sizes[round]);
		for (unsigned i = 0; i < 40; i++) {
			size_t n = i % 7 == 3 ? 0 : sizes[round] - i;
			iov[i] = (struct iovec){ n ? data + t.total : NULL, n };
			t.total += n;
		}
		struct peer r;
		peer_start(&r, read_pattern_peer, &t);
		CHECK_INT(rln_sendv(p.c, iov, 40), ==, t.total);
		CHECK_INT(rln_sendv(p.c, iov, 0), ==, 0);
		CHECK_INT(rln_sendv(p.c, iov, -1), ==, -EINVAL);
		CHECK_INT(rln_close(p.c), ==, 0);
		peer_join(&r);
		CHECK_INT(t.got, ==, t.total);
		CHECK_INT(t.ended, ==, 0);
		close(p.fd);
		free(data);
	}
}

TASK_TEST(sendv_thousand_vectors_and_no_more)
{
	struct pair p = pair_tcp(NULL);
	struct transfer t = { .fd = p.fd, .total = 1024 * 50 };
	struct iovec iov[1025];
	uint8_t *data = pattern_new(1025 * 50);

	for (size_t i = 0; i < 1025; i++)
		iov[i] = (struct iovec){ data + i * 50, 50 };
	CHECK_INT(rln_sendv(p.c, iov, 1025), ==, -EINVAL);
	struct peer r;
	peer_start(&r, read_pattern_peer, &t);
	CHECK_INT(rln_sendv(p.c, iov, 1024), ==, t.total);
	CHECK_INT(rln_close(p.c), ==, 0);
	peer_join(&r);
	CHECK_INT(t.got, ==, t.total);
	CHECK_INT(t.ended, ==, 0);
	close(p.fd);
	free(data);
}

/* ---- pieces */
static struct {
	int released[8];
} pieces;

static void on_release(void *ud)
{
	int *count = ud;
	++*count;
	CHECK_INT(rln_worker(), ==, 0);
	/* a callback: nothing may wait */
	CHECK_INT(rln_sleep(0), ==, -EDEADLK);
	CHECK_INT(rln_yield(), ==, -EDEADLK);
}

static void all_released_once(int n)
{
	for (int i = 0; i < n; i++)
		TASK_EVENTUALLY(pieces.released[i] > 0);
	CHECK_INT(rln_sleep(RLN_MS(2)), ==, 0);
	for (int i = 0; i < n; i++)
		CHECK_INT(pieces.released[i], ==, 1);
}

/* Small pieces only: nothing is waited for, so no release can have run inside the call. */
TASK_TEST(pieces_small_mixed_release_once_later)
{
	struct pair p = pair_tcp(NULL);
	struct transfer t = { .fd = p.fd, .total = 5000 };
	uint8_t *data = pattern_new(5000);
	rln_piece pc[] = { { data, 100, NULL, NULL },
			   { data + 100, 1900, on_release, &pieces.released[0] },
			   { data + 2000, 0, on_release, &pieces.released[1] },
			   { NULL, 0, NULL, NULL },
			   { data + 2000, 2000, on_release, &pieces.released[2] },
			   { data + 4000, 1000, NULL, NULL } };

	CHECK_INT(rln_send_pieces(p.c, pc, 6), ==, 5000);
	for (int i = 0; i < 3; i++)
		CHECK_INT(pieces.released[i], ==, 0);
	CHECK_INT(rln_flush(p.c), ==, 0);
	all_released_once(3);
	memset(data, 0xee, 5000);
	struct peer r;
	peer_start(&r, read_pattern_peer, &t);
	CHECK_INT(rln_close(p.c), ==, 0);
	peer_join(&r);
	CHECK_INT(t.got, ==, 5000);
	CHECK_INT(t.ended, ==, 0);
	close(p.fd);
	free(data);
}

/* Borrowed, guarded (one of them zero-copy) and received bytes in one unit. */
TASK_TEST(pieces_large_mixed_with_a_view)
{
	struct pair p = pair_tcp(NULL), q = pair_tcp(NULL);
	struct transfer t = { .fd = p.fd, .total = 700 * KIB };
	uint8_t *data = pattern_new(700 * KIB);
	rln_view v;

	send_all(q.fd, data + 300 * KIB, 2 * KIB);
	await_input(q.c, 2 * KIB);
	CHECK_INT(rln_recv(q.c, &v), ==, 2 * KIB);
	rln_piece pc[] = {
		{ data, 50, NULL, NULL },
		{ data + 50, 300 * KIB - 50, on_release, &pieces.released[0] },
		{ v.data, v.len, NULL, NULL },
		{ data + 302 * KIB, 98 * KIB, NULL, NULL },
		{ data + 400 * KIB, 200 * KIB, on_release, &pieces.released[1] },
		{ data + 600 * KIB, 100 * KIB, on_release, &pieces.released[2] },
	};
	struct peer r;
	peer_start(&r, read_pattern_peer, &t);
	CHECK_INT(rln_send_pieces(p.c, pc, 6), ==, t.total);
	pair_close(&q); /* its buffer stays until the bytes are out */
	CHECK_INT(rln_close(p.c), ==, 0);
	peer_join(&r);
	CHECK_INT(t.got, ==, t.total);
	CHECK_INT(t.ended, ==, 0);
	all_released_once(3);
	close(p.fd);
	free(data);
}

/*
 * Zero-copy memory counts against RLIMIT_MEMLOCK, unless the process may lock what it likes. What
 * is refused goes out by plain sends, without a pause, and is released.
 */
static void locked_memory_is_used_up(void)
{
	struct pair p = pair_tcp(NULL);
	struct transfer t = { .fd = p.fd, .total = 3 * MIB };
	uint8_t *data = pattern_new(3 * MIB);
	struct rlimit none = { 0 };
	rln_piece pc[3];
	struct peer r;
	rln_stats st;

	CHECK_INT(getrlimit(RLIMIT_MEMLOCK, &none), ==, 0);
	none.rlim_cur = 0;
	CHECK_INT(setrlimit(RLIMIT_MEMLOCK, &none), ==, 0);
	for (size_t i = 0; i < 3; i++)
		pc[i] = (rln_piece){ data + i * MIB, MIB, on_release, &pieces.released[i] };
	peer_start(&r, read_pattern_peer, &t);
	CHECK_INT(rln_send_pieces(p.c, pc, 3), ==, t.total);
	CHECK_INT(rln_flush(p.c), ==, 0);
	CHECK_INT(rln_stats_get(NULL, 0, &st), ==, 0);
	CHECK_INT(st.send_zc, ==, 3);
	CHECK_INT(st.send_zc_copied, ==, 3);
	CHECK_INT(st.send_retries, ==, 0);
	CHECK_INT(rln_close(p.c), ==, 0);
	peer_join(&r);
	CHECK_INT(t.got, ==, t.total);
	CHECK_INT(t.ended, ==, 0);
	all_released_once(3);
	close(p.fd);
	free(data);
}

TEST(pieces_zero_copy_beyond_the_memory_that_may_be_locked)
{
	if (getuid() == 0) { /* the ring's maker decides whether it counts */
		CHECK_INT(setresgid(65534, 65534, 65534), ==, 0);
		CHECK_INT(setresuid(65534, 65534, 65534), ==, 0);
	}
	in_task_cfg((rln_config){ .workers = 1 }, locked_memory_is_used_up);
}

/* A view sent to another connection, while its own receives on. */
TASK_TEST_CFG(send_view_relayed_is_pinned, .recv_bufs = 8)
{
	struct pair from = pair_tcp(NULL), to = pair_tcp(NULL);
	struct transfer w = { .fd = from.fd, .total = 4 * MIB, .step = 9000 };
	struct transfer r = { .fd = to.fd, .total = 4 * MIB, .step = 5000 };
	struct peer writer, reader;
	rln_view v;
	ssize_t n;

	peer_start(&writer, write_pattern_peer, &w);
	peer_start(&reader, read_pattern_peer, &r);
	for (size_t at = 0; at < w.total; at += (size_t)n) {
		n = rln_recv(from.c, &v);
		CHECK_INT(n, >, 0);
		CHECK_INT(rln_send(to.c, v.data, v.len), ==, n);
	}
	peer_join(&writer);
	pair_close(&from);
	CHECK_INT(rln_close(to.c), ==, 0);
	peer_join(&reader);
	CHECK_INT(r.got, ==, r.total);
	CHECK_INT(r.ended, ==, 0);
	close(to.fd);
}

/* ---- backpressure */
TASK_TEST(send_nowait_any_size_below_the_mark_then_eagain)
{
	struct pair p = pair_tcp_rcvbuf(NULL, 8192);
	uint8_t *data = pattern_new(TOO_MUCH);
	struct transfer t = { .fd = p.fd, .total = TOO_MUCH + 9 };

	CHECK_INT(rln_send_nowait(p.c, data, TOO_MUCH), ==, 0);
	CHECK_INT(rln_send_nowait(p.c, "refused", 7), ==, -EAGAIN);
	CHECK_INT(rln_send_nowait(p.c, "r", 1), ==, -EAGAIN);
	CHECK_INT(RLN_WITHIN(RLN_MS(5), rln_flush(p.c)), ==, -ETIME);
	CHECK_INT(RLN_WITHIN(RLN_MS(5), rln_send(p.c, "refused", 7)), ==, -ETIME);
	struct peer r;
	peer_start(&r, read_pattern_peer, &t);
	CHECK_INT(rln_flush(p.c), ==, 0);
	uint8_t tail[9];
	pattern_fill(tail, TOO_MUCH, 9);
	CHECK_INT(rln_send_nowait(p.c, tail, 9), ==, 0);
	CHECK_INT(rln_close(p.c), ==, 0);
	peer_join(&r);
	CHECK_INT(t.got, ==, t.total);
	CHECK_INT(t.ended, ==, 0);
	close(p.fd);
	free(data);
}

TASK_TEST(send_waits_for_room_and_goes_on)
{
	struct pair p = pair_tcp_rcvbuf(&(rln_connect_opts){ .send_high = 20000 }, 8192);
	struct transfer t = { .fd = p.fd, .total = 8 * MIB };
	uint8_t *data = pattern_new(t.total);
	struct peer r;
	peer_start(&r, read_pattern_peer, &t);

	for (size_t at = 0; at < t.total; at += 8 * KIB) {
		CHECK_INT(rln_send(p.c, data + at, 8 * KIB), ==, 8 * KIB);
		memset(data + at, 0xee, 8 * KIB);
	}
	CHECK_INT(rln_close(p.c), ==, 0);
	peer_join(&r);
	CHECK_INT(t.got, ==, t.total);
	CHECK_INT(t.ended, ==, 0);
	close(p.fd);
	free(data);
}

/* ---- order */
enum { SENDERS = 5, UNITS = 60 };
struct unit_head {
	uint32_t who, seq, len;
};
static struct {
	struct pair p;
	uint32_t called[SENDERS * UNITS], arrived[SENDERS * UNITS];
	unsigned begun;
} fifo;

static size_t unit_bytes(uint32_t who, uint32_t seq)
{
	return seq % 6 == 5 ? 20 * KIB + who * 1111 : 1 + (who * 997 + seq * 131) % 6000;
}

static int fifo_sender(void *arg)
{
	uint32_t who = *(uint32_t *)arg;
	uint8_t *body = malloc(32 * KIB);

	for (uint32_t seq = 0; seq < UNITS; seq++) {
		struct unit_head h = { who, seq, (uint32_t)unit_bytes(who, seq) };
		struct iovec iov[3] = { { &h, sizeof h }, { body, h.len / 2 }, { 0 } };
		iov[2] = (struct iovec){ body + h.len / 2, h.len - h.len / 2 };
		memset(body, (int)(who * 50 + seq % 50), h.len);
		fifo.called[fifo.begun++] = who;
		CHECK_INT(rln_sendv(fifo.p.c, iov, 3), ==, sizeof h + h.len);
		if (seq % 7 == who)
			CHECK_INT(rln_yield(), ==, 0);
	}
	free(body);
	return 0;
}

static void fifo_reader(void *arg)
{
	uint32_t next[SENDERS] = { 0 };
	static uint8_t body[32 * KIB];

	(void)arg;
	for (unsigned i = 0; i < SENDERS * UNITS; i++) {
		struct unit_head h;
		CHECK_INT(recv_n(fifo.p.fd, &h, sizeof h), ==, sizeof h);
		CHECK_INT(h.who, <, SENDERS);
		CHECK_INT(h.seq, ==, next[h.who]++);
		CHECK_INT(h.len, ==, unit_bytes(h.who, h.seq));
		CHECK_INT(recv_n(fifo.p.fd, body, h.len), ==, h.len);
		for (uint32_t k = 0; k < h.len; k++)
			CHECK_INT(body[k], ==, (h.who * 50 + h.seq % 50) & 0xff);
		fifo.arrived[i] = h.who;
	}
	expect_eof(fifo.p.fd);
}

/* Units of several tasks leave whole and in the order of the calls, waits for room included. */
TASK_TEST(send_units_of_tasks_keep_the_order_of_the_calls)
{
	uint32_t who[SENDERS] = { 0, 1, 2, 3, 4 };
	rln_task t[SENDERS];
	struct peer r;

	fifo.p = pair_tcp_rcvbuf(&(rln_connect_opts){ .send_high = 16 * KIB }, 8192);
	for (int i = 0; i < SENDERS; i++)
		CHECK_INT(rln_spawn(fifo_sender, &who[i], NULL, &t[i]), ==, 0);
	/* nobody reads until the senders stand in line */
	for (int i = 0; i < 50; i++)
		CHECK_INT(rln_yield(), ==, 0);
	peer_start(&r, fifo_reader, NULL);
	for (int i = 0; i < SENDERS; i++)
		CHECK_INT(rln_join(t[i], NULL), ==, 0);
	CHECK_INT(fifo.begun, ==, SENDERS * UNITS);
	CHECK_INT(rln_close(fifo.p.c), ==, 0);
	peer_join(&r);
	for (unsigned i = 0; i < SENDERS * UNITS; i++)
		CHECK_INT(fifo.arrived[i], ==, fifo.called[i]);
	close(fifo.p.fd);
}

TASK_TEST(flush_means_the_kernel_has_it)
{
	struct pair p = pair_tcp(NULL);
	uint8_t *data = pattern_new(100 * KIB), *got = malloc(100 * KIB);
	rln_stats before, after;

	CHECK_INT(rln_flush(p.c), ==, 0);
	CHECK_INT(rln_stats_get(NULL, 0, &before), ==, 0);
	CHECK_INT(rln_send_nowait(p.c, data, 100 * KIB), ==, 0);
	CHECK_INT(rln_flush(p.c), ==, 0);
	CHECK_INT(rln_stats_get(NULL, 0, &after), ==, 0);
	CHECK_INT(after.send_bytes - before.send_bytes, ==, 100 * KIB);
	CHECK_INT(recv_n(p.fd, got, 100 * KIB), ==, 100 * KIB); /* the loop is not needed */
	pattern_check(got, 0, 100 * KIB);
	pair_close(&p);
	free(data);
	free(got);
}

TASK_TEST(shutdown_send_after_queued_bytes_then_receive)
{
	struct pair p = pair_tcp(NULL);
	struct transfer t = { .fd = p.fd, .total = 3 * MIB };
	uint8_t *data = pattern_new(t.total);
	rln_view v;

	CHECK_INT(rln_send_nowait(p.c, data, t.total), ==, 0);
	CHECK_INT(rln_shutdown_send(p.c), ==, 0);
	CHECK_INT(rln_shutdown_send(p.c), ==, 0);
	CHECK_INT(rln_send(p.c, "x", 1), ==, -EPIPE);
	CHECK_INT(rln_send_nowait(p.c, "x", 1), ==, -EPIPE);
	struct peer r;
	peer_start(&r, read_pattern_peer, &t);
	peer_join(&r);
	CHECK_INT(t.got, ==, t.total);
	CHECK_INT(t.ended, ==, 0);
	for (int i = 0; i < 3; i++) { /* the other direction is open */
		put(p.fd, "still heard");
		CHECK_INT(rln_recv_exact(p.c, 11, &v), ==, 11);
		check_view(v, "still heard");
	}
	CHECK_INT(rln_shutdown_send(p.c), ==, 0);
	CHECK_INT(rln_send(p.c, "x", 1), ==, -EPIPE);
	shutdown(p.fd, SHUT_WR);
	CHECK_INT(rln_recv(p.c, &v), ==, 0);
	pair_close(&p);
	free(data);
}

/* Everything queued in one turn leaves in few submissions. */
TASK_TEST(send_many_small_of_one_turn_leave_together)
{
	struct pair p = pair_tcp(NULL);
	rln_stats before, after;
	char got[1000];
	size_t n = 0;

	CHECK_INT(rln_flush(p.c), ==, 0);
	CHECK_INT(rln_stats_get(NULL, 0, &before), ==, 0);
	for (int i = 0; i < 100; i++)
		CHECK_INT(rln_send_nowait(p.c, "0123456789", 10), ==, 0);
	CHECK_INT(rln_flush(p.c), ==, 0);
	CHECK_INT(rln_stats_get(NULL, 0, &after), ==, 0);
	CHECK_INT(after.sqes - before.sqes, <=, 3);
	while (n < sizeof got)
		n += (size_t)peer_recv(p.fd, got + n, sizeof got - n);
	for (size_t i = 0; i < sizeof got; i++)
		CHECK_INT(got[i], ==, '0' + (int)(i % 10));
	pair_close(&p);
}
