/* The three modes: when handlers and callbacks run, and the last news of each connection. */
#include "echo_modes.h"
#include "rig.h"
#include <stdatomic.h>

/* What happened, one letter each, in order; posted with each letter. */
static struct {
	char text[256];
	unsigned len;
	sem_t each;
	atomic_int err;
	atomic_bool closed;
} heard;

static void hear(char letter)
{
	if (heard.len < sizeof heard.text - 1)
		heard.text[heard.len++] = letter;
	sem_post(&heard.each);
}

static void await_letters(int n)
{
	while (n-- > 0)
		sem_wait(&heard.each);
}

static void on_close(rln_conn c, int err, void *arg)
{
	rln_view v;
	struct sockaddr_storage peer;
	(void)arg;
	CHECK(rln_user(c) == NULL || rln_user(c) == &heard);
	CHECK_INT(rln_peer(c, &peer), ==, 0);
	CHECK_INT(peer.ss_family, ==, AF_INET);
	CHECK_INT(rln_send_nowait(c, "x", 1), ==, -EBADF);
	CHECK_INT(rln_try_recv(c, &v), ==, -EBADF);
	CHECK_INT(rln_close(c), ==, -EBADF);
	heard.err = err;
	heard.closed = true;
	hear('!');
}

static void await_close(void)
{
	while (!heard.closed)
		await_letters(1);
}

static struct server serve(rln_listen_opts l)
{
	sem_init(&heard.each, 0, 0);
	heard.len = 0;
	memset(heard.text, 0, sizeof heard.text);
	l.on_close = on_close;
	return server_start(&l, NULL);
}

static void stop_heard(struct server *s, const char *text)
{
	CHECK_INT(server_stop(s), ==, 0);
	CHECK_STR(heard.text, text);
}

/* ---- request mode */
static int take_one(rln_conn c, void *arg)
{
	rln_view v;
	(void)arg;
	hear('r');
	CHECK_INT(rln_recv_exact(c, 1, &v), ==, 1);
	CHECK_INT(rln_send(c, v.data, 1), ==, 1);
	return RLN_KEEP;
}

TEST(request_consumed_and_input_left_runs_again_at_once)
{
	struct server s = serve((rln_listen_opts){ .on_request = take_one });
	int fd = client(&s);

	put(fd, "abc");
	expect(fd, "abc");
	put(fd, "d");
	expect(fd, "d");
	close(fd); /* EOF is no input: no handler runs for it */
	await_letters(5);
	CHECK_INT(heard.err, ==, 0);
	stop_heard(&s, "rrrr!");
}

/* Handles whole lines only; a part is left for later. */
static int take_line(rln_conn c, void *arg)
{
	rln_view v;
	ssize_t n = rln_fill(c, &v);
	(void)arg;

	hear('r');
	CHECK_INT(n, >=, 1);
	const uint8_t *nl = memchr(v.data, '\n', v.len);
	if (!nl)
		return RLN_KEEP;
	size_t line = (size_t)(nl - v.data) + 1;
	CHECK_INT(rln_send(c, v.data, line), ==, line);
	CHECK_INT(rln_consume(c, line), ==, 0);
	if (v.data[0] == 'q')
		return RLN_CLOSE;
	return v.data[0] == 'e' ? -EPROTO : RLN_KEEP;
}

/* Turns of the worker in which nothing new came for the connection under test. */
static void other_traffic(const struct server *s)
{
	int fd = client(s);
	for (int i = 0; i < 5; i++) {
		put(fd, "o\n");
		expect(fd, "o\n");
	}
	reset_close(fd);
}

TEST(request_consumed_nothing_waits_for_new_bytes)
{
	struct server s = serve((rln_listen_opts){ .on_request = take_line });
	int fd = client(&s);

	put(fd, "par");
	await_letters(1);
	other_traffic(&s);
	await_letters(6); /* five requests and one last news, none of ours */
	put(fd, "tial\nnext");
	expect(fd, "partial\n");
	await_letters(2); /* consumed, and something left: at once again */
	put(fd, "\n");
	expect(fd, "next\n");
	await_letters(1);
	close(fd);
	await_letters(1);
	CHECK_INT(heard.err, ==, 0);
	stop_heard(&s, "rrrrrr!rrr!");
}

TEST(request_close_sends_the_reply_then_eof)
{
	struct server s = serve((rln_listen_opts){ .on_request = take_line });
	int fd = client(&s);

	put(fd, "quit\n");
	expect(fd, "quit\n");
	expect_eof(fd);
	await_letters(2);
	CHECK_INT(heard.err, ==, 0);
	CHECK_INT(server_stats(&s).handler_errors, ==, 0);
	close(fd);
	stop_heard(&s, "r!");
}

TEST(request_negative_errno_closes_and_is_counted)
{
	struct server s = serve((rln_listen_opts){ .on_request = take_line });
	int fd = client(&s);

	put(fd, "error\nunread");
	expect(fd, "error\n");
	expect_eof(fd);
	await_letters(2);
	CHECK_INT(heard.err, ==, -EPROTO);
	CHECK_INT(server_stats(&s).handler_errors, ==, 1);
	close(fd);
	stop_heard(&s, "r!");
}

TEST(request_rest_at_eof_is_enodata)
{
	struct server s = serve((rln_listen_opts){ .on_request = take_line });
	int fd = client(&s);

	put(fd, "cut off");
	await_letters(1);
	shutdown(fd, SHUT_WR);
	await_letters(1);
	CHECK_INT(heard.err, ==, -ENODATA);
	expect_eof(fd);
	close(fd);
	stop_heard(&s, "r!");
}

TEST(request_rest_sent_together_with_eof_is_seen_first)
{
	struct server s = serve((rln_listen_opts){ .on_request = take_line });

	for (int i = 0; i < 20; i++) {
		int fd = client(&s);
		put(fd, "a\nb\n");
		shutdown(fd, SHUT_WR);
		expect(fd, "a\nb\n");
		expect_eof(fd);
		close(fd);
		await_letters(3);
		CHECK_INT(heard.err, ==, 0);
	}
	CHECK_INT(server_stop(&s), ==, 0);
}

TEST(request_full_and_declined_is_emsgsize)
{
	struct server s = serve((rln_listen_opts){ .on_request = take_line, .recv_max = 64 });
	int fd = client(&s);
	char line[64];

	memset(line, 'x', sizeof line);
	send_all(fd, line, sizeof line);
	await_close();
	CHECK_INT(heard.err, ==, -EMSGSIZE);
	expect_eof(fd);
	close(fd);
	CHECK_INT(server_stop(&s), ==, 0);
}

/* A handler may wait: for the rest of its request, and meet the end of the connection there. */
static int take_ten(rln_conn c, void *arg)
{
	rln_view v;
	(void)arg;
	hear('r');
	ssize_t n = rln_recv_exact(c, 10, &v);
	hear(n == 10 ? '+' : n == -ENODATA ? '-' : n == -ECONNRESET ? 'x' : '?');
	if (n != 10)
		return (int)n;
	CHECK_INT(rln_send(c, v.data, 10), ==, 10);
	return RLN_KEEP;
}

TEST(request_handler_waits_for_the_rest)
{
	struct server s = serve((rln_listen_opts){ .on_request = take_ten });
	int fd = client(&s);

	put(fd, "01234");
	await_letters(1);
	put(fd, "56789");
	expect(fd, "0123456789");
	put(fd, "012");
	await_letters(2);
	shutdown(fd, SHUT_WR);
	await_letters(2);
	CHECK_INT(heard.err, ==, -ENODATA);
	close(fd);
	fd = client(&s);
	put(fd, "012");
	await_letters(1);
	reset_close(fd);
	await_letters(2);
	CHECK_INT(heard.err, ==, -ECONNRESET);
	stop_heard(&s, "r+r-!rx!");
}

/* ---- callback mode */
static size_t one_byte(rln_conn c, const uint8_t *p, size_t n, void *arg)
{
	(void)arg;
	hear((char)('0' + n));
	CHECK_INT(rln_send_nowait(c, p, 1), >=, 0);
	return 1;
}

static void cb_open(rln_conn c, void *arg)
{
	(void)arg;
	rln_set_user(c, &heard);
	hear('o');
}

static void cb_eof(rln_conn c, void *arg)
{
	(void)arg;
	hear('e');
	CHECK_INT(rln_close(c), ==, 0);
}

static void cb_close(rln_conn c, int err, void *arg)
{
	(void)arg, (void)err;
	CHECK(rln_user(c) == &heard);
	CHECK_INT(rln_close(c), ==, -EBADF);
	hear('c');
}

TEST(callback_data_is_called_while_it_consumes)
{
	static const rln_callbacks cb = { cb_open, one_byte, NULL, cb_eof, cb_close };
	struct server s = serve((rln_listen_opts){ .cb = &cb });
	int fd = client(&s);

	put(fd, "abc");
	expect(fd, "abc");
	shutdown(fd, SHUT_WR);
	expect_eof(fd);
	await_letters(7);
	close(fd);
	stop_heard(&s, "o321ec!");
}

static size_t four_bytes(rln_conn c, const uint8_t *p, size_t n, void *arg)
{
	(void)arg;
	hear((char)('0' + n));
	if (n < 4)
		return 0;
	CHECK_INT(rln_send_nowait(c, p, 4), >=, 0);
	return 4;
}

static void cb_eof_with_rest(rln_conn c, void *arg)
{
	rln_view v;
	(void)arg;
	hear('e');
	CHECK_INT(rln_try_recv(c, &v), ==, 2);
	check_view(v, "yz");
	CHECK_INT(rln_try_recv(c, &v), ==, 0);
	CHECK_INT(rln_close(c), ==, 0);
}

TEST(callback_rest_comes_again_with_new_bytes)
{
	static const rln_callbacks cb = { cb_open, four_bytes, NULL, cb_eof_with_rest, cb_close };
	struct server s = serve((rln_listen_opts){ .cb = &cb });
	int fd = client(&s);

	put(fd, "ab");
	await_letters(2);
	put(fd, "cd");
	expect(fd, "abcd");
	put(fd, "yz");
	await_letters(2);
	shutdown(fd, SHUT_WR); /* data declines what is left, then eof comes */
	expect_eof(fd);
	await_close();
	close(fd);
	CHECK_INT(server_stop(&s), ==, 0);
	CHECK(!strncmp(heard.text, "o242", 4));
	CHECK_HAS(heard.text, "ec!");
	CHECK(strchr(heard.text, 'e') == strrchr(heard.text, 'e'));
}

TEST(callback_full_and_declined_is_emsgsize)
{
	static const rln_callbacks cb = { cb_open, four_bytes, NULL, cb_eof, cb_close };
	struct server s = serve((rln_listen_opts){ .cb = &cb, .recv_max = 3 });
	int fd = client(&s);

	put(fd, "abc");
	expect_eof(fd);
	await_close();
	CHECK_INT(heard.err, ==, -EMSGSIZE);
	close(fd);
	CHECK_INT(server_stop(&s), ==, 0);
	CHECK_HAS(heard.text, "c!");
	CHECK(!strchr(heard.text, 'e'));
}

/* eof NULL: closed as soon as the queue is sent. */
static size_t big_reply(rln_conn c, const uint8_t *p, size_t n, void *arg)
{
	(void)p;
	CHECK_INT(rln_send_nowait(c, arg, 5 * MIB), >=, 0);
	return n;
}

TEST(callback_without_eof_closes_when_all_is_sent)
{
	static const rln_callbacks cb = { .data = big_reply };
	uint8_t *data = pattern_new(5 * MIB);
	struct server s = serve((rln_listen_opts){ .cb = &cb, .arg = data });
	struct transfer t = { .fd = client(&s), .total = 5 * MIB, .step = 10000 };

	put(t.fd, "go");
	shutdown(t.fd, SHUT_WR);
	read_pattern_peer(&t);
	CHECK_INT(t.got, ==, 5 * MIB);
	CHECK_INT(t.ended, ==, 0);
	close(t.fd);
	await_letters(1);
	CHECK_INT(heard.err, ==, 0);
	stop_heard(&s, "!");
	free(data);
}

/* ---- callback mode against a peer that does not read */
static struct {
	uint8_t *data;
	int refused, writable; /* -EAGAIN given, writable called */
} wr;

/* First more than the kernel takes, then an echo. */
static size_t wr_data(rln_conn c, const uint8_t *p, size_t n, void *arg)
{
	(void)arg;
	if (!wr.refused)
		CHECK_INT(rln_send_nowait(c, wr.data, TOO_MUCH), >=, 0);
	if (rln_send_nowait(c, p, n) == -EAGAIN) {
		wr.refused++;
		hear('a');
		return 0;
	}
	hear('d');
	return n;
}

static void wr_writable(rln_conn c, void *arg)
{
	(void)arg;
	CHECK_INT(++wr.writable, <=, wr.refused);
	hear('w');
	CHECK_INT(rln_send_nowait(c, "W", 1), >=, 0);
}

TEST(callback_rest_comes_again_after_writable_and_eof_waits_for_it)
{
	static const rln_callbacks cb = { cb_open, wr_data, wr_writable, cb_eof, cb_close };
	wr.data = pattern_new(TOO_MUCH);
	struct server s = serve((rln_listen_opts){ .cb = &cb, .sndbuf = 64 << 10 });
	int fd = client(&s);
	static uint8_t got[65536];

	put(fd, "held");
	await_letters(2);
	shutdown(fd, SHUT_WR); /* must not be told while the -EAGAIN is outstanding */
	poll(NULL, 0, 20);
	CHECK(sem_trywait(&heard.each) < 0);
	for (size_t at = 0; at < TOO_MUCH;) {
		size_t n = TOO_MUCH - at < sizeof got ? TOO_MUCH - at : sizeof got;
		CHECK_INT(recv_n(fd, got, n), ==, n);
		pattern_check(got, at, n);
		at += n;
	}
	expect(fd, "Wheld");
	expect_eof(fd);
	await_letters(5);
	CHECK_INT(heard.err, ==, 0);
	close(fd);
	stop_heard(&s, "oawdec!");
	CHECK_INT(wr.writable, ==, 1);
	free(wr.data);
}

static size_t refused_twice(rln_conn c, const uint8_t *p, size_t n, void *arg)
{
	(void)arg;
	hear('d');
	CHECK_INT(rln_send_nowait(c, wr.data, TOO_MUCH), >=, 0);
	for (; wr.refused < 2; wr.refused++)
		CHECK_INT(rln_send_nowait(c, p, n), ==, -EAGAIN);
	return n;
}

TEST(callback_every_eagain_earns_a_writable)
{
	static const rln_callbacks cb = { cb_open, refused_twice, wr_writable, cb_eof, cb_close };
	wr.data = pattern_new(TOO_MUCH);
	struct server s = serve((rln_listen_opts){ .cb = &cb, .sndbuf = 64 << 10 });
	struct transfer t = { .fd = client(&s), .total = TOO_MUCH };

	put(t.fd, "x");
	await_letters(2);
	read_pattern_peer(&t);
	CHECK_INT(t.got, ==, TOO_MUCH);
	CHECK_INT(t.ended, ==, 1); /* the first W */
	expect(t.fd, "W");
	shutdown(t.fd, SHUT_WR);
	expect_eof(t.fd);
	close(t.fd);
	await_letters(5);
	stop_heard(&s, "odwwec!");
	free(wr.data);
}

/* ---- close inside each callback */
static int close_in;

static void ci_open(rln_conn c, void *arg)
{
	cb_open(c, arg);
	if (close_in == 0)
		CHECK_INT(rln_close(c), ==, 0);
}

static size_t ci_data(rln_conn c, const uint8_t *p, size_t n, void *arg)
{
	(void)p, (void)arg;
	hear('d');
	if (close_in == 1)
		CHECK_INT(rln_close(c), ==, 0);
	if (close_in == 2)
		CHECK_INT(rln_reset(c), ==, 0);
	if (close_in == 3 && !wr.refused) {
		CHECK_INT(rln_send_nowait(c, wr.data, TOO_MUCH), >=, 0);
		CHECK_INT(rln_send_nowait(c, p, n), ==, -EAGAIN);
		wr.refused++;
	}
	return n;
}

static void ci_writable(rln_conn c, void *arg)
{
	(void)arg;
	hear('w');
	if (close_in == 3)
		CHECK_INT(rln_close(c), ==, 0);
}

TEST(callback_close_inside_each_of_them)
{
	static const rln_callbacks cb = { ci_open, ci_data, ci_writable, cb_eof, cb_close };
	static const char *const want[] = { "oc!", "odc!", "odc!", "odwc!", "odec!" };
	static uint8_t got[65536];
	wr.data = pattern_new(TOO_MUCH);

	for (close_in = 0; close_in < 5; close_in++) {
		wr.refused = 0;
		struct server s = serve((rln_listen_opts){ .cb = &cb, .sndbuf = 64 << 10 });
		int fd = client(&s);
		ssize_t r;
		if (close_in > 0)
			put(fd, "x");
		if (close_in == 4)
			shutdown(fd, SHUT_WR);
		while ((r = recv_some(fd, got, sizeof got)) > 0)
			;
		CHECK_INT(r < 0 ? -errno : 0, ==, close_in == 2 ? -ECONNRESET : 0);
		await_letters((int)strlen(want[close_in]));
		CHECK_INT(heard.err, ==, 0);
		close(fd);
		stop_heard(&s, want[close_in]);
	}
	free(wr.data);
}

/* ---- the last news, in each mode and for each way to end */
TEST(modes_last_news_comes_once_with_its_reason)
{
	for (int m = 0; m < 3; m++) {
		struct server s = serve(echo_mode(m));
		for (int i = 0; i < 20; i++) {
			int fd = client(&s);
			if (i % 3) {
				put(fd, "x");
				expect(fd, "x");
			}
			if (i % 2)
				reset_close(fd);
			else
				close(fd);
			await_letters(1);
			CHECK_INT(heard.err, ==, i % 2 ? -ECONNRESET : 0);
		}
		stop_heard(&s, "!!!!!!!!!!!!!!!!!!!!");
	}
}

/* In task mode the receive tells; in the others the connection is closed with -ETIME. */
static void task_idle(rln_conn c, void *arg)
{
	rln_view v;
	(void)arg;
	CHECK_INT(rln_recv(c, &v), ==, 1);
	CHECK_INT(rln_send(c, v.data, 1), ==, 1);
	CHECK_INT(rln_recv(c, &v), ==, -ETIME);
	CHECK_INT(rln_send(c, "bye", 3), ==, 3); /* the connection is healthy */
	heard.err = -ETIME;
}

TEST(modes_idle_timeout_is_etime)
{
	for (int m = 0; m < 3; m++) {
		rln_listen_opts l = echo_mode(m);
		if (m == 0)
			l.on_conn = task_idle;
		l.idle_timeout = RLN_MS(60);
		struct server s = serve(l);
		int fd = client(&s);
		int64_t begin = test_now_ns();
		put(fd, "x");
		expect(fd, "x");
		if (m == 0)
			expect(fd, "bye");
		expect_eof(fd);
		CHECK_INT(test_now_ns() - begin, >=, 60000000);
		await_letters(1);
		CHECK_INT(heard.err, ==, m == 0 ? 0 : -ETIME);
		CHECK_INT(server_stats(&s).idle_timeouts, ==, 1);
		close(fd);
		stop_heard(&s, "!");
	}
}

/* Traffic keeps an idle timer from firing, however long the connection lives. */
TEST(modes_idle_timeout_is_of_silence_not_of_age)
{
	for (int m = 0; m < 3; m++) {
		rln_listen_opts l = echo_mode(m);
		l.idle_timeout = RLN_MS(300);
		struct server s = serve(l);
		int fd = client(&s);
		for (int i = 0; i < 12; i++) {
			poll(NULL, 0, 50); /* the age */
			put(fd, "x");
			expect(fd, "x");
		}
		close(fd);
		await_letters(1);
		CHECK_INT(heard.err, ==, 0);
		stop_heard(&s, "!");
	}
}

/* ---- rln_to_task */
static void task_after(rln_conn c, void *arg)
{
	rln_view v;
	CHECK(arg == &heard);
	CHECK(rln_user(c) == &heard);
	CHECK_INT(rln_recv_exact(c, 5, &v), ==, 5);
	check_view(v, "world");
	CHECK_INT(rln_send(c, v.data, 5), ==, 5);
	CHECK_INT(rln_recv(c, &v), ==, 0);
	hear('t');
}

static size_t turn_over(rln_conn c, const uint8_t *p, size_t n, void *arg)
{
	(void)arg, (void)p;
	if (n < 8)
		return 0;
	CHECK_INT(rln_to_task(c, NULL, NULL), ==, -EINVAL);
	CHECK_INT(rln_to_task(c, task_after, &heard), ==, 0);
	CHECK_INT(rln_to_task(c, task_after, &heard), ==, -EINVAL);
	return 6; /* "hello "; the rest is the task's */
}

TEST(to_task_keeps_the_input_and_the_user_pointer)
{
	static const rln_callbacks cb = { cb_open, turn_over, NULL, cb_eof, cb_close };
	struct server s = serve((rln_listen_opts){ .cb = &cb });
	int fd = client(&s);

	put(fd, "hello wo");
	put(fd, "rld");
	expect(fd, "world");
	shutdown(fd, SHUT_WR);
	expect_eof(fd);
	await_letters(3);
	close(fd);
	stop_heard(&s, "ot!"); /* of the callbacks only on_close is left */
}
