/* Receiving into the caller's memory and into owned buffers; what resets do to a reader. */
#include "rig.h"
#include <stdatomic.h>

TASK_TEST(recv_into_small_takes_what_there_is)
{
	struct pair p = pair_tcp(NULL);
	uint8_t mem[100];
	rln_view v;

	put(p.fd, "abcdef");
	await_input(p.c, 6);
	CHECK_INT(rln_recv_into(p.c, mem, 4), ==, 4);
	CHECK(memcmp(mem, "abcd", 4) == 0);
	CHECK_INT(rln_recv_into(p.c, mem, sizeof mem), ==, 2);
	CHECK(memcmp(mem, "ef", 2) == 0);
	CHECK_INT(RLN_WITHIN(RLN_MS(5), rln_recv_into(p.c, mem, sizeof mem)), ==, -ETIME);
	put(p.fd, "gh");
	CHECK_INT(rln_recv_into(p.c, mem, sizeof mem), ==, 2);
	put(p.fd, "ij");
	CHECK_INT(rln_recv(p.c, &v), ==, 2);
	shutdown(p.fd, SHUT_WR);
	CHECK_INT(rln_recv_into(p.c, mem, sizeof mem), ==, 0);
	pair_close(&p);
}

TASK_TEST(recv_into_large_takes_what_there_is)
{
	struct pair p = pair_tcp(NULL);
	uint8_t *mem = malloc(MIB);
	rln_view v;

	put(p.fd, "buffered");
	await_input(p.c, 8);
	CHECK_INT(rln_recv_into(p.c, mem, MIB), ==, 8);
	CHECK(memcmp(mem, "buffered", 8) == 0);
	CHECK_INT(RLN_WITHIN(RLN_MS(5), rln_recv_into(p.c, mem, MIB)), ==, -ETIME);
	put(p.fd, "in place");
	CHECK_INT(rln_recv_into(p.c, mem, MIB), ==, 8);
	CHECK(memcmp(mem, "in place", 8) == 0);
	put(p.fd, "a view again"); /* from one way of receiving to the other */
	CHECK_INT(rln_recv(p.c, &v), ==, 12);
	check_view(v, "a view again");
	shutdown(p.fd, SHUT_WR);
	CHECK_INT(rln_recv_into(p.c, mem, MIB), ==, 0);
	CHECK_INT(rln_recv_into(p.c, mem, 1), ==, 0);
	pair_close(&p);
	free(mem);
}

/* Ways of receiving take turns while the bytes keep coming: none is lost, doubled or moved. */
TASK_TEST(recv_ways_alternate_over_a_stream)
{
	struct pair p = pair_tcp(NULL);
	struct transfer t = { .fd = p.fd, .total = 6 * MIB + 123, .step = 30011 };
	uint8_t *mem = malloc(300 * KIB);
	size_t at = 0;
	unsigned seed = 5;
	struct peer w;
	rln_view v;
	rln_buf b;

	peer_start(&w, write_pattern_peer, &t);
	while (at < t.total) {
		size_t n = 1 + (size_t)rand_r(&seed) % (300 * KIB), left = t.total - at;
		ssize_t r = 0;
		switch (rand_r(&seed) % 5) {
		case 0:
			r = rln_recv(p.c, &v);
			pattern_check(v.data, at, v.len);
			break;
		case 1:
			r = rln_recv_exact(p.c, n < left ? n : left, &v);
			CHECK_INT(r, ==, n < left ? n : left);
			pattern_check(v.data, at, v.len);
			break;
		case 2:
			r = rln_recv_into(p.c, mem, n);
			pattern_check(mem, at, (size_t)r);
			break;
		case 3:
			r = rln_recv_full(p.c, mem, n < left ? n : left);
			CHECK_INT(r, ==, n < left ? n : left);
			pattern_check(mem, at, (size_t)r);
			break;
		default:
			r = rln_recv_buf(p.c, &b);
			pattern_check(b.data, at, b.len);
			rln_buf_release(&b);
		}
		CHECK_INT(r, >=, 1);
		at += (size_t)r;
	}
	CHECK_INT(at, ==, t.total);
	peer_join(&w);
	pair_close(&p);
	free(mem);
}

TASK_TEST(recv_full_large_receives_all)
{
	struct pair p = pair_tcp(NULL);
	struct transfer t = { .fd = p.fd, .total = 5 * MIB, .step = 50000 };
	uint8_t *mem = malloc(3 * MIB);
	struct peer w;

	peer_start(&w, write_pattern_peer, &t);
	CHECK_INT(rln_recv_full(p.c, mem, 3 * MIB), ==, 3 * MIB);
	pattern_check(mem, 0, 3 * MIB);
	CHECK_INT(rln_recv_full(p.c, mem, 2 * MIB), ==, 2 * MIB);
	pattern_check(mem, 3 * MIB, 2 * MIB);
	peer_join(&w);
	pair_close(&p);
	free(mem);
}

/* Both sides of the size from which bytes go straight into the caller's memory. */
TASK_TEST(recv_full_cut_by_eof_gives_the_rest_then_the_end)
{
	static const size_t sizes[] = { 100, MIB };
	uint8_t *mem = malloc(MIB);

	for (int i = 0; i < 2; i++) {
		struct pair p = pair_tcp(NULL);
		rln_view v;
		put(p.fd, "0123456789");
		shutdown(p.fd, SHUT_WR);
		CHECK_INT(rln_recv_full(p.c, mem, sizes[i]), ==, 10);
		CHECK(memcmp(mem, "0123456789", 10) == 0);
		CHECK_INT(rln_recv_full(p.c, mem, sizes[i]), ==, 0);
		CHECK_INT(rln_recv(p.c, &v), ==, 0);
		pair_close(&p);
	}
	free(mem);
}

TASK_TEST(recv_full_cut_by_deadline_gives_what_came)
{
	static const size_t sizes[] = { 100, MIB };
	uint8_t *mem = malloc(MIB);

	for (int i = 0; i < 2; i++) {
		struct pair p = pair_tcp(NULL);
		rln_view v;
		CHECK_INT(RLN_WITHIN(RLN_MS(5), rln_recv_full(p.c, mem, sizes[i])), ==, -ETIME);
		put(p.fd, "01234");
		await_input(p.c, 5);
		{
			RLN_DEADLINE(dl, RLN_MS(5));
			CHECK_INT(rln_recv_full(p.c, mem, sizes[i]), ==, 5);
			CHECK_INT(rln_recv(p.c, &v), ==, -ETIME); /* the reason at the next point */
			CHECK_INT(rln_scope_end(&dl), ==, -ETIME);
		}
		put(p.fd, "later");
		CHECK_INT(rln_recv_full(p.c, mem, 5), ==, 5);
		CHECK(memcmp(mem, "later", 5) == 0);
		pair_close(&p);
	}
	free(mem);
}

static int full_child(void *arg)
{
	struct pair *p = arg;
	uint8_t *mem = malloc(MIB);
	int r = (int)rln_recv_full(p->c, mem, MIB);

	if (r > 0)
		pattern_check(mem, 0, (size_t)r);
	free(mem);
	return r;
}

/* The kernel writes into the memory of a task that is cancelled: nothing received is lost. */
TASK_TEST(recv_full_in_place_cancelled_loses_nothing)
{
	struct pair p = pair_tcp(NULL);
	uint8_t data[1000], rest[1000];
	rln_task t;
	int got;

	pattern_fill(data, 0, sizeof data);
	for (int i = 0; i < 50; i++) {
		CHECK_INT(rln_spawn(full_child, &p, NULL, &t), ==, 0);
		CHECK_INT(rln_yield(), ==, 0);
		if (i % 3)
			CHECK_INT(rln_sleep(RLN_US(500)), ==, 0);
		send_all(p.fd, data, sizeof data);
		if (i % 2)
			CHECK_INT(rln_yield(), ==, 0);
		CHECK_INT(rln_cancel(t), ==, 0);
		CHECK_INT(rln_join(t, &got), ==, 0);
		if (got < 0) {
			CHECK_INT(got, ==, -ECANCELED);
			got = 0;
		}
		size_t left = sizeof data - (size_t)got;
		if (left)
			CHECK_INT(rln_recv_full(p.c, rest, left), ==, left);
		pattern_check(rest, (size_t)got, left);
	}
	pair_close(&p);
}

static atomic_int released;

static int release_elsewhere(void *arg)
{
	rln_buf *b = arg;
	CHECK_INT(rln_worker(), ==, 1);
	pattern_check(b->data, 0, b->len);
	rln_buf_release(b);
	CHECK(b->data == NULL && b->len == 0 && b->own == NULL);
	rln_buf_release(b); /* all-zero: left alone */
	released++;
	return 0;
}

TASK_TEST_CFG(recv_buf_survives_its_connection_and_is_released_elsewhere, .workers = 2)
{
	static rln_buf held[40];

	for (int i = 0; i < 40; i++) {
		struct pair p = pair_tcp(NULL);
		uint8_t data[3000];
		pattern_fill(data, 0, sizeof data);
		send_all(p.fd, data, sizeof data);
		await_input(p.c, sizeof data);
		CHECK_INT(rln_recv_buf(p.c, &held[i]), ==, sizeof data);
		pair_close(&p);
	}
	for (int i = 0; i < 40; i++)
		pattern_check(held[i].data, 0, held[i].len);
	for (int i = 0; i < 20; i++)
		CHECK_INT(rln_go_on(NULL, 1, release_elsewhere, &held[i], NULL), ==, 0);
	for (int i = 20; i < 40; i++)
		rln_buf_release(&held[i]);
	TASK_EVENTUALLY(released == 20);
}

/* All buffers of the worker are held by one reader: the others go on. */
TASK_TEST_CFG(recv_buf_held_does_not_starve_others, .recv_bufs = 4)
{
	struct pair p = pair_tcp(NULL), q = pair_tcp(NULL);
	rln_buf held[16];
	rln_view v;

	for (int i = 0; i < 16; i++) {
		put(p.fd, "held");
		await_input(p.c, 4);
		CHECK_INT(rln_recv_buf(p.c, &held[i]), ==, 4);
	}
	for (int i = 0; i < 100; i++) {
		put(q.fd, "flows");
		CHECK_INT(rln_recv_exact(q.c, 5, &v), ==, 5);
	}
	for (int i = 0; i < 16; i++) {
		CHECK(memcmp(held[i].data, "held", 4) == 0);
		rln_buf_release(&held[i]);
	}
	pair_close(&q);
	pair_close(&p);
}

TASK_TEST(recv_bytes_before_a_reset_come_first)
{
	uint8_t mem[100];
	rln_view v;
	rln_buf b;

	for (int i = 0; i < 100; i++) {
		struct pair p = pair_tcp(NULL);
		put(p.fd, "last words");
		if (i % 2)
			await_input(p.c, 10);
		reset_close(p.fd);
		CHECK_INT(rln_recv_full(p.c, mem, sizeof mem), ==, 10);
		CHECK(memcmp(mem, "last words", 10) == 0);
		/* never 0, and the same again */
		CHECK_INT(rln_recv(p.c, &v), ==, -ECONNRESET);
		CHECK_INT(rln_recv_full(p.c, mem, sizeof mem), ==, -ECONNRESET);
		CHECK_INT(rln_fill(p.c, &v), ==, -ECONNRESET);
		CHECK_INT(rln_try_recv(p.c, &v), ==, -ECONNRESET);
		CHECK_INT(rln_recv_buf(p.c, &b), ==, -ECONNRESET);
		CHECK_INT(rln_recv_exact(p.c, 1, &v), ==, -ECONNRESET);
		CHECK_INT(rln_recv_until(p.c, "x", 1, &v), ==, -ECONNRESET);
		CHECK_INT(rln_close(p.c), ==, 0);
	}
}

/* A rest before a reset is told by the reset, not by -ENODATA, and stays visible. */
TASK_TEST(recv_exact_cut_by_reset_is_econnreset_rest_visible)
{
	struct pair p = pair_tcp(NULL);
	rln_view v;

	put(p.fd, "rest");
	await_input(p.c, 4);
	reset_close(p.fd);
	CHECK_INT(rln_recv_exact(p.c, 10, &v), ==, -ECONNRESET);
	CHECK_INT(rln_fill(p.c, &v), ==, -ECONNRESET);
	CHECK_INT(rln_try_recv(p.c, &v), ==, 4);
	check_view(v, "rest");
	CHECK_INT(rln_try_recv(p.c, &v), ==, -ECONNRESET);
	CHECK_INT(rln_close(p.c), ==, 0);
}

static int sending_child(void *arg)
{
	struct pair *p = arg;
	uint8_t *data = pattern_new(TOO_MUCH);
	ssize_t r = rln_send(p->c, data, TOO_MUCH);

	free(data);
	return r < 0 ? (int)r : 0;
}

/* The kernel tells a reset once, to whichever operation asks first: the receive must know, too. */
TASK_TEST(recv_reset_told_to_the_send_is_no_eof)
{
	int got;

	for (int i = 0; i < 30; i++) {
		struct pair p = pair_tcp(NULL);
		rln_task t;
		rln_view v;
		CHECK_INT(rln_spawn(sending_child, &p, NULL, &t), ==, 0);
		CHECK_INT(i % 2 ? rln_sleep(RLN_MS(1)) : rln_yield(), ==, 0);
		reset_close(p.fd);
		ssize_t r = rln_recv(p.c, &v);
		CHECK_INT(r, ==, -ECONNRESET);
		CHECK_INT(rln_join(t, &got), ==, 0);
		CHECK(got == -EPIPE || got == -ECONNRESET);
		CHECK_INT(rln_recv(p.c, &v), ==, -ECONNRESET);
		CHECK_INT(rln_close(p.c), ==, 0);
	}
}

/* Half-close the other way: the peer ends its side and still reads the reply. */
TASK_TEST(recv_eof_does_not_end_sending)
{
	struct pair p = pair_tcp(NULL);
	rln_view v;

	put(p.fd, "request");
	shutdown(p.fd, SHUT_WR);
	CHECK_INT(rln_recv_exact(p.c, 7, &v), ==, 7);
	CHECK_INT(rln_recv(p.c, &v), ==, 0);
	CHECK_INT(rln_send(p.c, "reply", 5), ==, 5);
	CHECK_INT(rln_flush(p.c), ==, 0);
	CHECK_INT(rln_close(p.c), ==, 0);
	peer_expect(p.fd, "reply");
	CHECK_INT(peer_end(p.fd), ==, 0);
	close(p.fd);
}

/*
 * A receive that ends by itself just when recv_max is reached, as those of bulk do, is a pause too.
 */
TASK_TEST(recv_pause_between_two_receives_is_counted)
{
	struct pair p = pair_tcp(&(rln_connect_opts){ .recv_max = 64 * KIB });
	uint8_t *data = pattern_new(64 * KIB);
	uint64_t bytes = 0, before;
	rln_stats st = { 0 };
	rln_view v;

	for (; bytes < 64 * KIB; bytes += 16 * KIB) { /* enough to be taken for bulk */
		CHECK_INT(send(p.fd, data, 16 * KIB, MSG_NOSIGNAL), ==, 16 * KIB);
		CHECK_INT(rln_recv_exact(p.c, 16 * KIB, &v), ==, 16 * KIB);
	}
	CHECK_INT(rln_stats_get(NULL, 0, &st), ==, 0);
	before = st.recv_paused;
	CHECK_INT(send(p.fd, data, 64 * KIB, MSG_NOSIGNAL), ==, 64 * KIB);
	while (st.recv_bytes < bytes + 64 * KIB || st.recv_paused == before) {
		CHECK_INT(rln_sleep(RLN_MS(1)), ==, 0);
		CHECK_INT(rln_stats_get(NULL, 0, &st), ==, 0);
	}
	CHECK_INT(st.recv_paused, ==, before + 1);
	CHECK_INT(rln_recv_exact(p.c, 64 * KIB, &v), ==, 64 * KIB);
	CHECK_INT(memcmp(v.data, data, 64 * KIB), ==, 0);
	pair_close(&p);
	free(data);
}

/* Input is held back at recv_max: the peer's kernel fills, memory here does not. */
TASK_TEST(recv_unread_input_pauses_receiving)
{
	struct pair p = pair_tcp(&(rln_connect_opts){ .recv_max = 64 * KIB });
	uint8_t *data = pattern_new(TOO_MUCH), *mem = malloc(MIB);
	size_t sent = 0, got = 0;
	rln_stats st;
	ssize_t r;

	CHECK_INT(rln_sleep(RLN_MS(1)), ==, 0);
	for (int quiet = 0; quiet < 20 && sent < TOO_MUCH;) {
		r = send(p.fd, data + sent, TOO_MUCH - sent, MSG_DONTWAIT | MSG_NOSIGNAL);
		quiet = r > 0 ? 0 : quiet + 1;
		sent += r > 0 ? (size_t)r : 0;
		CHECK_INT(rln_sleep(RLN_MS(1)), ==, 0);
	}
	CHECK_INT(sent, <, TOO_MUCH);
	CHECK_INT(rln_stats_get(NULL, 0, &st), ==, 0);
	CHECK_INT(st.recv_bytes, <=, 64 * KIB + 256 * 4096);
	CHECK_INT(st.recv_paused, >=, 1);
	while (got < sent) {
		size_t want = sent - got < MIB ? sent - got : MIB;
		CHECK_INT(rln_recv_full(p.c, mem, want), ==, want);
		pattern_check(mem, got, want);
		got += want;
	}
	pair_close(&p);
	free(data);
	free(mem);
}
