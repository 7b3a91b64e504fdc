/* Closing: nothing is cut short with an EOF, whoever waits is told, the last news comes once. */
#include "rig.h"
#include <stdatomic.h>

/* ---- what a listener's on_close heard */
static struct {
	sem_t each;
	atomic_int count, err;
} news;

static void on_close(rln_conn c, int err, void *arg)
{
	(void)c, (void)arg;
	news.err = err;
	news.count++;
	sem_post(&news.each);
}

static struct server serve(rln_listen_opts l)
{
	sem_init(&news.each, 0, 0);
	l.on_close = on_close;
	return server_start(&l, NULL);
}

static void await_news(int err)
{
	sem_wait(&news.each);
	CHECK_INT(news.err, ==, err);
}

static void stop_after(struct server *s, int count)
{
	CHECK_INT(server_stop(s), ==, 0);
	CHECK_INT(news.count, ==, count);
}

/* ---- graceful */
static void ten_mib(rln_conn c, void *arg)
{
	CHECK_INT(rln_send_nowait(c, arg, 10 * MIB), >=, 0);
}

TEST(close_sends_everything_queued_then_fin)
{
	uint8_t *data = pattern_new(10 * MIB);
	struct server s = serve((rln_listen_opts){ .on_conn = ten_mib, .arg = data });
	struct transfer t = { .fd = client(&s), .total = 10 * MIB, .step = 20000 };

	read_pattern_peer(&t);
	CHECK_INT(t.got, ==, 10 * MIB);
	CHECK_INT(t.ended, ==, 0);
	await_news(0);
	close(t.fd);
	rln_stats st = server_stats(&s);
	CHECK_INT(st.truncated_closes, ==, 0);
	CHECK_INT(st.resets, ==, 0);
	CHECK_INT(st.conns_open, ==, 0);
	stop_after(&s, 1);
	free(data);
}

static void reply_unread(rln_conn c, void *arg)
{
	rln_view v;
	CHECK_INT(rln_recv_exact(c, 4, &v), ==, 4);
	CHECK_INT(rln_send_nowait(c, arg, MIB), >=, 0);
}

/* Linux answers unread input with RST, and the peer may lose the reply: so it is read first. */
TEST(close_with_unread_input_lingers_the_reply_arrives)
{
	uint8_t *data = pattern_new(MIB);
	struct server s = serve((rln_listen_opts){ .on_conn = reply_unread, .arg = data });

	for (int i = 0; i < 10; i++) {
		struct transfer t = { .fd = client(&s), .total = MIB };
		send_all(t.fd, data, i % 2 ? 300 * KIB : MIB);
		if (i % 4 < 2) /* the others keep their side open: only lingering ends them */
			shutdown(t.fd, SHUT_WR);
		read_pattern_peer(&t);
		CHECK_INT(t.got, ==, MIB);
		CHECK_INT(t.ended, ==, 0);
		close(t.fd);
		await_news(0);
	}
	rln_stats st = server_stats(&s);
	CHECK_INT(st.lingers, >=, 1);
	CHECK_INT(st.resets, ==, 0);
	stop_after(&s, 10);
	free(data);
}

static void close_at_once(rln_conn c, void *arg)
{
	(void)c, (void)arg;
}

/* The peer's bytes may come while we close: it must see the end, not a reset. */
TEST(close_while_the_peer_sends_gives_eof)
{
	struct server s = serve((rln_listen_opts){ .on_conn = close_at_once });

	for (int i = 0; i < 30; i++) {
		int fd = client(&s);
		if (i % 2)
			send(fd, "unread", 6, MSG_NOSIGNAL);
		shutdown(fd, SHUT_WR);
		expect_eof(fd);
		close(fd);
		await_news(0);
	}
	stop_after(&s, 30);
}

static void never_read(rln_conn c, void *arg)
{
	CHECK_INT(rln_send_nowait(c, arg, TOO_MUCH), >=, 0);
}

TEST(close_timeout_resets_a_peer_that_never_reads)
{
	uint8_t *data = pattern_new(TOO_MUCH);
	struct server s = serve((rln_listen_opts){ .on_conn = never_read,
						   .arg = data,
						   .close_timeout = RLN_MS(50),
						   .sndbuf = 64 << 10 });
	struct transfer t = { .fd = client(&s), .total = TOO_MUCH };

	sem_wait(&news.each);
	CHECK(news.err < 0);
	read_pattern_peer(&t);
	CHECK_INT(t.got, <, TOO_MUCH);
	CHECK_INT(t.ended, ==, -ECONNRESET);
	close(t.fd);
	rln_stats st = server_stats(&s);
	CHECK_INT(st.close_timeouts, ==, 1);
	CHECK_INT(st.truncated_closes, ==, 1);
	CHECK_INT(st.resets, ==, 1);
	stop_after(&s, 1);
	free(data);
}

/* close_max bounds the whole, however steadily a little goes on. */
TEST(close_max_resets_a_peer_that_trickles)
{
	uint8_t *data = pattern_new(TOO_MUCH);
	struct server s = serve((rln_listen_opts){
		.on_conn = never_read, .arg = data, .close_max = RLN_MS(100), .sndbuf = 64 << 10 });
	int fd = client(&s);
	static uint8_t got[8192];
	ssize_t r;

	while ((r = recv_some(fd, got, sizeof got)) > 0)
		poll(NULL, 0, 1); /* the trickle itself */
	CHECK_INT(r < 0 ? -errno : r, ==, -ECONNRESET);
	sem_wait(&news.each);
	CHECK(news.err < 0);
	CHECK_INT(server_stats(&s).close_timeouts, ==, 1);
	close(fd);
	stop_after(&s, 1);
	free(data);
}

/* ---- closing under another task's call */
static struct pair shared;
static uint8_t *big;

static int child_recv(void *arg)
{
	rln_view v;
	(void)arg;
	return (int)rln_recv(shared.c, &v);
}

static int child_recv_full(void *arg)
{
	(void)arg;
	return (int)rln_recv_full(shared.c, big, MIB);
}

static int child_wait_for_room(void *arg)
{
	(void)arg;
	return (int)rln_send(shared.c, "x", 1);
}

static int child_send_large(void *arg)
{
	(void)arg;
	return (int)rln_send(shared.c, big, TOO_MUCH);
}

static int child_flush(void *arg)
{
	(void)arg;
	return rln_flush(shared.c);
}

static int spawn_and_park(int (*fn)(void *), rln_task *t)
{
	int e = rln_spawn(fn, NULL, NULL, t);
	CHECK_INT(rln_yield(), ==, 0);
	CHECK_INT(rln_sleep(RLN_MS(1)), ==, 0);
	return e;
}

TASK_TEST(close_wakes_the_reader_with_econnaborted)
{
	int (*const readers[])(void *) = { child_recv, child_recv_full };
	rln_task t;
	int r;

	big = malloc(MIB);
	for (int i = 0; i < 4; i++) {
		shared = pair_tcp(NULL);
		CHECK_INT(spawn_and_park(readers[i / 2], &t), ==, 0);
		CHECK_INT(i % 2 ? rln_close(shared.c) : rln_reset(shared.c), ==, 0);
		CHECK_INT(rln_join(t, &r), ==, 0);
		CHECK_INT(r, ==, -ECONNABORTED);
		CHECK_INT(peer_end(shared.fd), ==, i % 2 ? 0 : -ECONNRESET);
		close(shared.fd);
	}
	free(big);
}

/* Part of it had come in place: the count is the result, as at every other end. */
TASK_TEST(close_under_recv_full_gives_what_had_come)
{
	rln_task t;
	int r;

	big = malloc(MIB);
	shared = pair_tcp(NULL);
	CHECK_INT(spawn_and_park(child_recv_full, &t), ==, 0);
	put(shared.fd, "part");
	CHECK_INT(rln_sleep(RLN_MS(2)), ==, 0);
	CHECK_INT(rln_close(shared.c), ==, 0);
	CHECK_INT(rln_join(t, &r), ==, 0);
	CHECK_INT(r, ==, 4);
	CHECK(memcmp(big, "part", 4) == 0);
	close(shared.fd);
	free(big);
}

TASK_TEST(close_wakes_who_waits_for_room_with_econnaborted)
{
	int (*const waiters[])(void *) = { child_wait_for_room, child_flush, child_send_large };
	struct transfer t = { .total = TOO_MUCH };
	struct peer reader;
	rln_task task;
	int r;

	big = pattern_new(TOO_MUCH);
	for (int i = 0; i < 6; i++) {
		bool graceful = i % 2;
		shared = pair_tcp_rcvbuf(NULL, 8192);
		CHECK_INT(rln_send_nowait(shared.c, big, TOO_MUCH), >=, 0);
		CHECK_INT(spawn_and_park(waiters[i / 2], &task), ==, 0);
		CHECK_INT(graceful ? rln_close(shared.c) : rln_reset(shared.c), ==, 0);
		CHECK_INT(rln_join(task, &r), ==, 0);
		CHECK_INT(r, ==, -ECONNABORTED);
		t.fd = shared.fd;
		t.got = 0;
		peer_start(&reader, read_pattern_peer, &t);
		peer_join(&reader);
		CHECK_INT(t.ended, ==, graceful ? 0 : -ECONNRESET);
		if (graceful)
			CHECK_INT(t.got, ==, TOO_MUCH);
		close(shared.fd);
	}
	free(big);
}

/* A send in flight when the connection is closed gracefully still goes out: its own result. */
TASK_TEST(close_under_a_large_send_lets_it_finish)
{
	struct transfer t = { .total = TOO_MUCH };
	struct peer reader;
	rln_task task;
	int r;

	big = pattern_new(TOO_MUCH);
	shared = pair_tcp_rcvbuf(NULL, 8192);
	CHECK_INT(spawn_and_park(child_send_large, &task), ==, 0);
	CHECK_INT(rln_close(shared.c), ==, 0);
	CHECK_INT(rln_send(shared.c, "x", 1), ==, -EBADF);
	t.fd = shared.fd;
	peer_start(&reader, read_pattern_peer, &t);
	CHECK_INT(rln_join(task, &r), ==, 0);
	CHECK_INT(r, ==, TOO_MUCH);
	peer_join(&reader);
	CHECK_INT(t.got, ==, TOO_MUCH);
	CHECK_INT(t.ended, ==, 0);
	close(shared.fd);
	free(big);
}

TASK_TEST(reset_under_a_large_send_is_econnaborted)
{
	struct transfer t = { .total = TOO_MUCH };
	struct peer reader;
	rln_task task;
	int r;

	big = pattern_new(TOO_MUCH);
	shared = pair_tcp_rcvbuf(NULL, 8192);
	CHECK_INT(spawn_and_park(child_send_large, &task), ==, 0);
	CHECK_INT(rln_reset(shared.c), ==, 0);
	CHECK_INT(rln_join(task, &r), ==, 0);
	CHECK_INT(r, ==, -ECONNABORTED);
	memset(big, 0xee, TOO_MUCH); /* L4: nobody reads it any more */
	t.fd = shared.fd;
	peer_start(&reader, read_pattern_peer, &t);
	peer_join(&reader);
	CHECK_INT(t.ended, ==, -ECONNRESET);
	close(shared.fd);
	free(big);
}

TASK_TEST(reset_drops_what_is_queued)
{
	struct pair p = pair_tcp_rcvbuf(NULL, 8192);
	rln_stats st;

	big = pattern_new(TOO_MUCH);
	CHECK_INT(rln_send_nowait(p.c, big, TOO_MUCH), >=, 0);
	CHECK_INT(rln_sleep(RLN_MS(1)), ==, 0);
	CHECK_INT(rln_reset(p.c), ==, 0);
	CHECK_INT(rln_reset(p.c), ==, -EBADF);
	CHECK_INT(rln_close(p.c), ==, -EBADF);
	struct transfer t = { .fd = p.fd, .total = TOO_MUCH };
	struct peer r;
	peer_start(&r, read_pattern_peer, &t);
	peer_join(&r);
	CHECK_INT(t.got, <, TOO_MUCH);
	CHECK_INT(t.ended, ==, -ECONNRESET);
	CHECK_INT(rln_stats_get(NULL, 0, &st), ==, 0);
	CHECK_INT(st.resets, ==, 1);
	CHECK_INT(st.truncated_closes, ==, 1);
	close(p.fd);
	free(big);
}

/* A unix stream has no reset: its peer reads the end, and it is counted. */
TASK_TEST(reset_of_a_unix_stream_is_counted_as_truncated)
{
	int sv[2];
	rln_conn c;
	rln_stats st;

	CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv) == 0);
	CHECK_INT(rln_adopt_fd(sv[0], &c), ==, 0);
	CHECK_INT(rln_send(c, "x", 1), ==, 1);
	CHECK_INT(rln_flush(c), ==, 0);
	CHECK_INT(rln_reset(c), ==, 0);
	peer_expect(sv[1], "x");
	CHECK_INT(peer_end(sv[1]), ==, 0);
	CHECK_INT(rln_stats_get(NULL, 0, &st), ==, 0);
	CHECK_INT(st.resets, ==, 0);
	CHECK_INT(st.truncated_closes, ==, 1);
	close(sv[1]);
}

/* ---- FIN while others stay armed */
static size_t close_on_q(rln_conn c, const uint8_t *p, size_t n, void *arg)
{
	(void)arg;
	if (memchr(p, 'q', n))
		CHECK_INT(rln_close(c), ==, 0);
	else
		CHECK_INT(rln_send_nowait(c, p, n), >=, 0);
	return n;
}

static void fin_while_armed(unsigned workers)
{
	static const rln_callbacks cb = { .data = close_on_q };
	rln_listen_opts l = { .cb = &cb };
	rln_config cfg = { .workers = workers };
	struct server s = server_start(&l, &cfg);
	enum { N = 51 };
	int fd[N];

	for (int i = 0; i < N; i++) {
		fd[i] = client(&s);
		put(fd[i], "hello");
		expect(fd[i], "hello");
	}
	for (int i = 0; i < N; i++) { /* the others stay armed: none of them says anything */
		int64_t begin = test_now_ns();
		put(fd[i], "q");
		expect_eof(fd[i]);
		CHECK_INT(test_now_ns() - begin, <, INT64_C(2000000000));
		close(fd[i]);
	}
	CHECK_INT(server_stop(&s), ==, 0);
}

TEST(close_fin_reaches_the_peer_while_others_stay_armed)
{
	fin_while_armed(1);
	fin_while_armed(2);
}

/* Slots are used again at once: nobody sees a stranger's bytes. */
TEST(close_slot_reuse_keeps_identity)
{
	static const rln_callbacks cb = { .data = close_on_q };
	struct server s = serve((rln_listen_opts){ .cb = &cb, .max_conns = 3 });
	char out[32], in[32];

	for (int i = 0; i < 2000; i++) {
		int fd = client(&s), n = snprintf(out, sizeof out, "connection %d", i);
		send_all(fd, out, (size_t)n);
		CHECK_INT(recv_n(fd, in, (size_t)n), ==, n);
		CHECK(memcmp(in, out, (size_t)n) == 0);
		if (i % 3 == 0) {
			put(fd, "q");
			expect_eof(fd);
		}
		if (i % 3 == 1)
			reset_close(fd);
		else
			close(fd);
	}
	EVENTUALLY(news.count == 2000);
	CHECK_INT(server_stats(&s).conns_open, ==, 0);
	stop_after(&s, 2000);
}
