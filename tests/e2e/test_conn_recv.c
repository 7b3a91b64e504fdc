/* Receiving by views: runs, fill and consume, exact, until, and what ends them. */
#include "rig.h"

TASK_TEST(recv_pieces_arrive_in_order_and_whole)
{
	struct pair p = pair_tcp(NULL);
	rln_view v;
	char got[64];
	size_t n = 0;

	put(p.fd, "abc");
	CHECK_INT(rln_recv(p.c, &v), ==, 3);
	check_view(v, "abc");
	put(p.fd, "def");
	put(p.fd, "ghi");
	while (n < 6) {
		ssize_t r = rln_recv(p.c, &v);
		CHECK(r >= 1 && (size_t)r == v.len && n + v.len <= 6);
		memcpy(got + n, v.data, v.len);
		n += v.len;
	}
	CHECK(memcmp(got, "defghi", 6) == 0);
	pair_close(&p);
}

/* Buffers of 16 bytes: more than one run stands ready, each call gives the next without waiting. */
TASK_TEST_CFG(recv_several_runs_are_taken_without_waiting, .recv_buf_size = 16)
{
	struct pair p = pair_tcp(NULL);
	rln_view v;
	uint8_t data[40];
	size_t n = 0;

	pattern_fill(data, 0, sizeof data);
	send_all(p.fd, data, sizeof data);
	shutdown(p.fd, SHUT_WR);
	/* whichever way they are stored, all 40 come before the end does */
	while (n < sizeof data) {
		ssize_t r = rln_recv(p.c, &v);
		CHECK_INT(r, >=, 1);
		pattern_check(v.data, n, v.len);
		n += v.len;
	}
	CHECK_INT(n, ==, sizeof data);
	CHECK_INT(rln_recv(p.c, &v), ==, 0);
	CHECK_INT(rln_recv(p.c, &v), ==, 0);
	pair_close(&p);
}

TASK_TEST(recv_deadline_passes_input_stays)
{
	struct pair p = pair_tcp(NULL);
	rln_view v;

	CHECK_INT(RLN_WITHIN(RLN_MS(5), rln_recv(p.c, &v)), ==, -ETIME);
	CHECK_INT(RLN_WITHIN(RLN_MS(5), rln_recv_exact(p.c, 10, &v)), ==, -ETIME);
	put(p.fd, "12345");
	await_input(p.c, 5);
	CHECK_INT(RLN_WITHIN(RLN_MS(5), rln_recv_exact(p.c, 10, &v)), ==, -ETIME);
	CHECK_INT(RLN_WITHIN(RLN_MS(5), rln_recv_until(p.c, "\n", 100, &v)), ==, -ETIME);
	/* expired from the start: nothing happens although there is input */
	CHECK_INT(RLN_WITHIN(0, rln_recv(p.c, &v)), ==, -ETIME);
	CHECK_INT(rln_recv_exact(p.c, 5, &v), ==, 5);
	check_view(v, "12345");
	pair_close(&p);
}

TASK_TEST(fill_shows_only_when_bytes_are_new)
{
	struct pair p = pair_tcp(NULL);
	rln_view v;

	put(p.fd, "ab");
	CHECK_INT(rln_fill(p.c, &v), ==, 2);
	check_view(v, "ab");
	CHECK_INT(RLN_WITHIN(RLN_MS(5), rln_fill(p.c, &v)), ==, -ETIME);
	put(p.fd, "cd");
	CHECK_INT(rln_fill(p.c, &v), ==, 4);
	check_view(v, "abcd");
	CHECK_INT(rln_consume(p.c, 3), ==, 0);
	CHECK_INT(RLN_WITHIN(RLN_MS(5), rln_fill(p.c, &v)), ==, -ETIME);
	put(p.fd, "e");
	CHECK_INT(rln_fill(p.c, &v), ==, 2);
	check_view(v, "de");
	pair_close(&p);
}

/* What peek has shown is not new to fill; what a failed exact saw was not shown. */
TASK_TEST(fill_after_peek_waits_for_new_bytes)
{
	struct pair p = pair_tcp(NULL);
	rln_view v;

	put(p.fd, "abcd");
	await_input(p.c, 4);
	CHECK_INT(RLN_WITHIN(RLN_MS(5), rln_fill(p.c, &v)), ==, -ETIME);
	CHECK_INT(rln_consume(p.c, 0), ==, 0);
	put(p.fd, "e");
	CHECK_INT(rln_fill(p.c, &v), ==, 5);
	CHECK_INT(rln_consume(p.c, 5), ==, 0);
	put(p.fd, "f");
	CHECK_INT(rln_fill(p.c, &v), ==, 1);
	check_view(v, "f");
	pair_close(&p);
}

TASK_TEST(fill_at_recv_max_all_shown_is_emsgsize)
{
	struct pair p = pair_tcp(&(rln_connect_opts){ .recv_max = 64 });
	uint8_t data[64];
	rln_view v;
	ssize_t r = 0;

	pattern_fill(data, 0, sizeof data);
	send_all(p.fd, data, sizeof data);
	while (r < 64) {
		r = rln_fill(p.c, &v);
		CHECK_INT(r, >, 0);
	}
	CHECK_INT(rln_fill(p.c, &v), ==, -EMSGSIZE);
	CHECK_INT(rln_fill(p.c, &v), ==, -EMSGSIZE);
	CHECK_INT(rln_peek(p.c, 64, &v), ==, 64);
	CHECK_INT(rln_consume(p.c, 10), ==, 0);
	send_all(p.fd, data, 20); /* receiving goes on */
	do
		r = rln_fill(p.c, &v);
	while (r > 0 && r < 74);
	CHECK_INT(r, ==, 74);
	pattern_check(v.data, 10, 54);
	pattern_check(v.data + 54, 0, 20);
	pair_close(&p);
}

TASK_TEST(peek_shows_at_least_min_and_takes_none)
{
	struct pair p = pair_tcp(&(rln_connect_opts){ .recv_max = 100 });
	rln_view v;

	CHECK_INT(rln_peek(p.c, 101, &v), ==, -EMSGSIZE);
	put(p.fd, "ab");
	await_input(p.c, 2);
	CHECK_INT(RLN_WITHIN(RLN_MS(5), rln_peek(p.c, 3, &v)), ==, -ETIME);
	put(p.fd, "cd");
	CHECK_INT(rln_peek(p.c, 3, &v), >=, 3);
	CHECK(memcmp(v.data, "abc", 3) == 0);
	CHECK_INT(rln_peek(p.c, 1, &v), >=, 1);
	CHECK(v.data[0] == 'a');
	shutdown(p.fd, SHUT_WR);
	CHECK_INT(rln_peek(p.c, 5, &v), ==, -ENODATA);
	CHECK_INT(rln_peek(p.c, 4, &v), ==, 4);
	CHECK_INT(rln_consume(p.c, 4), ==, 0);
	CHECK_INT(rln_peek(p.c, 1, &v), ==, 0);
	pair_close(&p);
}

TASK_TEST(consume_beyond_shown_is_einval)
{
	struct pair p = pair_tcp(NULL);
	rln_view v;

	CHECK_INT(rln_consume(p.c, 1), ==, -EINVAL);
	CHECK_INT(rln_consume(p.c, 0), ==, 0);
	put(p.fd, "abcd");
	await_input(p.c, 4);
	CHECK_INT(rln_consume(p.c, 5), ==, -EINVAL);
	CHECK_INT(rln_consume(p.c, 1), ==, 0);
	CHECK_INT(rln_consume(p.c, 4), ==, -EINVAL);
	CHECK_INT(rln_consume(p.c, 2), ==, 0);
	CHECK_INT(rln_consume(p.c, 2), ==, -EINVAL);
	CHECK_INT(rln_recv(p.c, &v), ==, 1);
	check_view(v, "d");
	CHECK_INT(rln_consume(p.c, 1), ==, -EINVAL);
	pair_close(&p);
}

TASK_TEST(consume_keeps_the_view)
{
	struct pair p = pair_tcp(NULL);
	rln_view v;

	put(p.fd, "first second");
	CHECK_INT(rln_peek(p.c, 12, &v), ==, 12);
	CHECK_INT(rln_consume(p.c, 12), ==, 0);
	check_view(v, "first second");
	put(p.fd, "overwrites?");
	CHECK_INT(rln_sleep(RLN_MS(2)), ==, 0);
	check_view(v, "first second");
	pair_close(&p);
}

TASK_TEST(exact_gathers_over_packets)
{
	struct pair p = pair_tcp(&(rln_connect_opts){ .recv_max = 1000 });
	rln_view v;

	CHECK_INT(rln_recv_exact(p.c, 1001, &v), ==, -EMSGSIZE);
	CHECK_INT(rln_recv_exact(p.c, 0, &v), ==, -EINVAL);
	put(p.fd, "12");
	await_input(p.c, 2);
	put(p.fd, "34");
	await_input(p.c, 4);
	put(p.fd, "56789");
	CHECK_INT(rln_recv_exact(p.c, 7, &v), ==, 7);
	check_view(v, "1234567");
	CHECK_INT(rln_recv_exact(p.c, 1, &v), ==, 1);
	check_view(v, "8");
	shutdown(p.fd, SHUT_WR);
	CHECK_INT(rln_recv_exact(p.c, 2, &v), ==, -ENODATA);
	CHECK_INT(rln_try_recv(p.c, &v), ==, 1);
	check_view(v, "9");
	CHECK_INT(rln_try_recv(p.c, &v), ==, 0);
	CHECK_INT(rln_recv_exact(p.c, 2, &v), ==, 0);
	pair_close(&p);
}

/* 300 KiB in one piece out of buffers of 4 KiB. */
TASK_TEST(exact_large_is_one_piece)
{
	struct pair p = pair_tcp(NULL);
	struct transfer t = { .fd = p.fd, .total = 900 * KIB, .step = 7777 };
	struct peer w;
	rln_view v;

	peer_start(&w, write_pattern_peer, &t);
	for (int i = 0; i < 3; i++) {
		CHECK_INT(rln_recv_exact(p.c, 300 * KIB, &v), ==, 300 * KIB);
		CHECK_INT(v.len, ==, 300 * KIB);
		pattern_check(v.data, (size_t)i * 300 * KIB, v.len);
	}
	peer_join(&w);
	pair_close(&p);
}

TASK_TEST(until_delimiter_split_over_packets)
{
	struct pair p = pair_tcp(NULL);
	rln_view v;

	put(p.fd, "GET\r");
	await_input(p.c, 4);
	CHECK_INT(RLN_WITHIN(RLN_MS(5), rln_recv_until(p.c, "\r\n", 100, &v)), ==, -ETIME);
	put(p.fd, "\nrest");
	CHECK_INT(rln_recv_until(p.c, "\r\n", 100, &v), ==, 5);
	check_view(v, "GET\r\n");
	await_input(p.c, 4);
	put(p.fd, "\r\r\n");
	CHECK_INT(rln_recv_until(p.c, "\r\n", 100, &v), ==, 7);
	check_view(v, "rest\r\r\n");
	pair_close(&p);
}

static const char drip[] = "a: b\r\nc: d\r\ne: f \r\r\n\r\n";

static int until_child(void *arg)
{
	struct pair *p = arg;
	rln_view v;

	CHECK_INT(rln_recv_until(p->c, "\r\n\r\n", 1000, &v), ==, strlen(drip));
	check_view(v, drip);
	return 7;
}

/* The reader waits while the delimiter comes byte by byte. */
TASK_TEST(until_byte_by_byte_wakes_at_the_end)
{
	struct pair p = pair_tcp(NULL);
	rln_task t;
	int result;

	CHECK_INT(rln_spawn(until_child, &p, NULL, &t), ==, 0);
	for (const char *s = drip; *s; s++) {
		CHECK_INT(rln_yield(), ==, 0);
		send_all(p.fd, s, 1);
	}
	CHECK_INT(rln_join(t, &result), ==, 0);
	CHECK_INT(result, ==, 7);
	pair_close(&p);
}

TASK_TEST(until_pipelined_lines_one_by_one)
{
	struct pair p = pair_tcp(NULL);
	rln_view v;

	put(p.fd, "one\ntwo\n\nthree\nfo");
	await_input(p.c, 17);
	CHECK_INT(rln_recv_until(p.c, "\n", 100, &v), ==, 4);
	check_view(v, "one\n");
	CHECK_INT(rln_recv_until(p.c, "\n", 4, &v), ==, 4);
	check_view(v, "two\n");
	CHECK_INT(rln_recv_until(p.c, "\n", 100, &v), ==, 1);
	check_view(v, "\n");
	CHECK_INT(rln_recv_until(p.c, "\n", 100, &v), ==, 6);
	check_view(v, "three\n");
	put(p.fd, "ur\n");
	CHECK_INT(rln_recv_until(p.c, "\n", 100, &v), ==, 5);
	check_view(v, "four\n");
	pair_close(&p);
}

TASK_TEST(until_max_exceeded_is_emsgsize_and_takes_none)
{
	struct pair p = pair_tcp(&(rln_connect_opts){ .recv_max = 4096 });
	rln_view v;

	CHECK_INT(rln_recv_until(p.c, "\n", 4097, &v), ==, -EMSGSIZE);
	CHECK_INT(rln_recv_until(p.c, "", 100, &v), ==, -EINVAL);
	CHECK_INT(rln_recv_until(p.c, NULL, 100, &v), ==, -EINVAL);
	put(p.fd, "abcde\n");
	await_input(p.c, 6);
	CHECK_INT(rln_recv_until(p.c, "\n", 5, &v), ==, -EMSGSIZE);
	CHECK_INT(rln_recv_until(p.c, "\n", 6, &v), ==, 6);
	check_view(v, "abcde\n");
	/* overlapping beginnings of the delimiter */
	put(p.fd, "aaab");
	CHECK_INT(rln_recv_until(p.c, "aab", 100, &v), ==, 4);
	put(p.fd, "cut off");
	shutdown(p.fd, SHUT_WR);
	CHECK_INT(rln_recv_until(p.c, "\n", 100, &v), ==, -ENODATA);
	CHECK_INT(rln_try_recv(p.c, &v), ==, 7);
	check_view(v, "cut off");
	CHECK_INT(rln_recv_until(p.c, "\n", 100, &v), ==, 0);
	pair_close(&p);
}

/* A rest is -ENODATA to fill, too, again and again, until somebody takes it. */
TASK_TEST(fill_at_eof_with_rest_is_enodata)
{
	struct pair p = pair_tcp(NULL);
	rln_view v;

	put(p.fd, "rest");
	CHECK_INT(rln_fill(p.c, &v), ==, 4);
	shutdown(p.fd, SHUT_WR);
	CHECK_INT(rln_fill(p.c, &v), ==, -ENODATA);
	CHECK_INT(rln_fill(p.c, &v), ==, -ENODATA);
	CHECK_INT(rln_try_recv(p.c, &v), ==, 4);
	check_view(v, "rest");
	CHECK_INT(rln_fill(p.c, &v), ==, 0);
	pair_close(&p);
}

TASK_TEST(try_recv_never_waits)
{
	struct pair p = pair_tcp(NULL);
	rln_view v;
	ssize_t r;

	CHECK_INT(rln_try_recv(p.c, &v), ==, -EAGAIN);
	put(p.fd, "now");
	TASK_EVENTUALLY((r = rln_try_recv(p.c, &v)) != -EAGAIN);
	CHECK_INT(r, ==, 3);
	check_view(v, "now");
	CHECK_INT(rln_try_recv(p.c, &v), ==, -EAGAIN);
	shutdown(p.fd, SHUT_WR);
	TASK_EVENTUALLY((r = rln_try_recv(p.c, &v)) != -EAGAIN);
	CHECK_INT(r, ==, 0);
	pair_close(&p);
}

static int reading_child(void *arg)
{
	struct pair *p = arg;
	rln_view v;
	ssize_t r = rln_recv(p->c, &v);

	if (r == 3)
		check_view(v, "for");
	return (int)r;
}

TASK_TEST(recv_second_reader_is_ebusy)
{
	struct pair p = pair_tcp(NULL);
	uint8_t mem[16];
	rln_view v;
	rln_buf b;
	rln_task t;
	int result;

	CHECK_INT(rln_spawn(reading_child, &p, NULL, &t), ==, 0);
	CHECK_INT(rln_yield(), ==, 0);
	CHECK_INT(rln_recv(p.c, &v), ==, -EBUSY);
	CHECK_INT(rln_fill(p.c, &v), ==, -EBUSY);
	CHECK_INT(rln_peek(p.c, 1, &v), ==, -EBUSY);
	CHECK_INT(rln_recv_exact(p.c, 1, &v), ==, -EBUSY);
	CHECK_INT(rln_recv_until(p.c, "x", 1, &v), ==, -EBUSY);
	CHECK_INT(rln_recv_into(p.c, mem, sizeof mem), ==, -EBUSY);
	CHECK_INT(rln_recv_full(p.c, mem, sizeof mem), ==, -EBUSY);
	CHECK_INT(rln_recv_buf(p.c, &b), ==, -EBUSY);
	CHECK_INT(rln_try_recv(p.c, &v), ==, -EBUSY);
	CHECK_INT(rln_consume(p.c, 0), ==, -EBUSY);
	put(p.fd, "for");
	CHECK_INT(rln_join(t, &result), ==, 0);
	CHECK_INT(result, ==, 3);
	CHECK_INT(rln_try_recv(p.c, &v), ==, -EAGAIN);
	pair_close(&p);
}

TASK_TEST_CFG(recv_view_stays_valid_over_sends_and_sleep, .recv_bufs = 2)
{
	struct pair p = pair_tcp(NULL), q = pair_tcp(NULL);
	rln_view v, w;

	put(p.fd, "a view that is held");
	CHECK_INT(rln_peek(p.c, 19, &v), ==, 19);
	CHECK_INT(rln_consume(p.c, 19), ==, 0);
	for (int i = 0; i < 50; i++) { /* every buffer of the worker is used again meanwhile */
		put(p.fd, "more");
		put(q.fd, "other");
		CHECK_INT(rln_recv_exact(q.c, 5, &w), ==, 5);
		CHECK_INT(rln_send(p.c, "reply", 5), ==, 5);
		CHECK_INT(rln_sleep(RLN_US(100)), ==, 0);
	}
	check_view(v, "a view that is held");
	pair_close(&q);
	pair_close(&p);
}

TASK_TEST(recv_null_pointers_are_einval)
{
	struct pair p = pair_tcp(NULL);
	uint8_t b[1];

	put(p.fd, "x");
	CHECK_INT(rln_recv(p.c, NULL), ==, -EINVAL);
	CHECK_INT(rln_fill(p.c, NULL), ==, -EINVAL);
	CHECK_INT(rln_peek(p.c, 1, NULL), ==, -EINVAL);
	CHECK_INT(rln_recv_exact(p.c, 1, NULL), ==, -EINVAL);
	CHECK_INT(rln_recv_until(p.c, "x", 1, NULL), ==, -EINVAL);
	CHECK_INT(rln_recv_buf(p.c, NULL), ==, -EINVAL);
	CHECK_INT(rln_recv_into(p.c, NULL, 1), ==, -EINVAL);
	CHECK_INT(rln_recv_into(p.c, b, 0), ==, -EINVAL);
	CHECK_INT(rln_recv_full(p.c, b, 0), ==, -EINVAL);
	pair_close(&p);
}
