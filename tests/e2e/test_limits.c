/* Scarcity is backpressure: too few slots, buffers, stacks or bytes slow clients, and lose none. */
#include "echo_modes.h"
#include "rig.h"
#include <stdatomic.h>

/* ---- max_conns */
static void clients_in_turn(struct server *s, int n, unsigned at_once)
{
	int fd[64];
	char c;

	for (int i = 0; i < n; i++) {
		fd[i] = client(s);
		put(fd[i], "x");
	}
	for (int i = 0; i < n; i++) {
		/* who is first in the queue is served as soon as there is room, the rest waits */
		expect(fd[i], "x");
		for (int k = i + (int)at_once; k < n; k++) {
			ssize_t r = recv(fd[k], &c, 1, MSG_DONTWAIT);
			CHECK(r < 0 && errno == EAGAIN);
		}
		rln_stats st = server_stats(s);
		CHECK_INT(st.conns_open, <=, at_once);
		close(fd[i]);
	}
	rln_stats st = server_stats(s);
	CHECK_INT(st.accepts, ==, n);
	CHECK_INT(st.accept_errors, ==, 0);
	CHECK_INT(st.conns_peak, ==, at_once);
	CHECK_INT(st.accept_paused, >=, 1);
	CHECK_INT(st.resets, ==, 0);
}

TEST(limits_max_conns_the_rest_wait_their_turn)
{
	for (int m = 0; m < 3; m++) {
		rln_listen_opts l = echo_mode(m);
		l.max_conns = 4;
		struct server s = server_start(&l, NULL);
		clients_in_turn(&s, 20, 4);
		CHECK_INT(server_stop(&s), ==, 0);
	}
}

TEST(limits_max_conns_one)
{
	for (int m = 0; m < 3; m++) {
		rln_listen_opts l = echo_mode(m);
		l.max_conns = 1;
		struct server s = server_start(&l, NULL);
		clients_in_turn(&s, 10, 1);
		CHECK_INT(server_stop(&s), ==, 0);
	}
}

/* Several threads connect and go again; every one of them is served. */
static struct server crowd_server;
static atomic_int crowd_served;

static void *crowd(void *arg)
{
	char out[24], in[24];
	for (int i = 0; i < 100; i++) {
		int fd = client(&crowd_server), n;
		n = snprintf(out, sizeof out, "%d of thread %d", i, *(int *)arg);
		send_all(fd, out, (size_t)n);
		CHECK_INT(recv_n(fd, in, (size_t)n), ==, n);
		CHECK(memcmp(in, out, (size_t)n) == 0);
		if (i % 4 == 3)
			reset_close(fd);
		else
			close(fd);
		crowd_served++;
	}
	return NULL;
}

static void crowd_through(rln_listen_opts l, rln_config cfg)
{
	pthread_t th[8];
	int id[8];

	crowd_served = 0;
	crowd_server = server_start(&l, &cfg);
	for (int i = 0; i < 8; i++) {
		id[i] = i;
		CHECK(pthread_create(&th[i], NULL, crowd, &id[i]) == 0);
	}
	for (int i = 0; i < 8; i++)
		pthread_join(th[i], NULL);
	CHECK_INT(crowd_served, ==, 800);
	for (unsigned w = 0; w < cfg.workers; w++) {
		rln_stats st;
		CHECK_INT(rln_stats_get(crowd_server.rt, w, &st), ==, 0);
		CHECK_INT(st.accept_errors, ==, 0);
		CHECK_INT(st.conns_peak, <=, 3);
	}
	CHECK_INT(server_stop(&crowd_server), ==, 0);
}

TEST(limits_crowd_through_three_slots)
{
	for (int m = 0; m < 3; m++) {
		rln_listen_opts l = echo_mode(m);
		l.max_conns = 3;
		crowd_through(l, (rln_config){ .workers = 1 });
		crowd_through(l, (rln_config){ .workers = 2 });
	}
}

/* ---- stacks */
TEST(limits_max_tasks_handlers_wait_for_a_stack)
{
	for (int m = 0; m < 2; m++) {
		rln_listen_opts l = echo_mode(m);
		rln_config cfg = { .workers = 1, .max_tasks = 2 };
		struct server s = server_start(&l, &cfg);
		int fd[12];
		for (int i = 0; i < 12; i++) {
			fd[i] = client(&s);
			put(fd[i], "x");
		}
		for (int i = 0; i < 12; i++) {
			expect(fd[i], "x");
			close(fd[i]);
		}
		rln_stats st = server_stats(&s);
		CHECK_INT(st.tasks_peak, <=, 2);
		if (m == 0)
			CHECK_INT(st.stack_waits, >=, 1);
		CHECK_INT(server_stop(&s), ==, 0);
	}
}

/* ---- receive buffers */
static void byte_counter(rln_conn c, void *arg)
{
	rln_view v;
	size_t at = 0;
	ssize_t n;
	char reply[32];

	(void)arg;
	while ((n = rln_recv(c, &v)) > 0) {
		pattern_check(v.data, at, v.len);
		at += v.len;
	}
	CHECK_INT(n, ==, 0);
	int len = snprintf(reply, sizeof reply, "%zu bytes", at);
	CHECK_INT(rln_send(c, reply, (size_t)len), ==, len);
}

TEST_LIMIT(limits_one_receive_buffer_for_fifty_clients, 60)
{
	rln_listen_opts l = { .on_conn = byte_counter };
	rln_config cfg = { .workers = 1, .recv_bufs = 1 };
	struct server s = server_start(&l, &cfg);
	uint8_t buf[4 * KIB];
	int fd[50];

	for (int i = 0; i < 50; i++)
		fd[i] = client(&s);
	for (size_t at = 0; at < 100 * KIB; at += sizeof buf) {
		pattern_fill(buf, at, sizeof buf);
		for (int i = 0; i < 50; i++)
			send_all(fd[i], buf, sizeof buf);
	}
	for (int i = 0; i < 50; i++) {
		shutdown(fd[i], SHUT_WR);
		expect(fd[i], "102400 bytes");
		expect_eof(fd[i]);
		close(fd[i]);
	}
	CHECK_INT(server_stats(&s).recv_bytes, ==, 50 * 100 * KIB);
	CHECK_INT(server_stop(&s), ==, 0);
}

/* Whole messages much larger than the pool: a partial one never waits for the others' buffers. */
static void whole_messages(rln_conn c, void *arg)
{
	rln_view v;
	(void)arg;
	while (rln_recv_exact(c, 60 * KIB, &v) > 0) {
		pattern_check(v.data, 0, v.len);
		if (rln_send(c, "ok", 2) < 0)
			break;
	}
}

TEST_LIMIT(limits_messages_larger_than_the_pool, 60)
{
	rln_listen_opts l = { .on_conn = whole_messages };
	rln_config cfg = { .workers = 1, .recv_bufs = 2, .recv_buf_size = 1024 };
	struct server s = server_start(&l, &cfg);
	uint8_t *data = pattern_new(60 * KIB);
	int fd[20];

	for (int i = 0; i < 20; i++)
		fd[i] = client(&s);
	for (int round = 0; round < 3; round++) {
		for (size_t at = 0; at < 60 * KIB; at += 6 * KIB) /* all of them partial at once */
			for (int i = 0; i < 20; i++)
				send_all(fd[i], data + at, 6 * KIB);
		for (int i = 0; i < 20; i++)
			expect(fd[i], "ok");
	}
	for (int i = 0; i < 20; i++)
		close(fd[i]);
	CHECK_INT(server_stop(&s), ==, 0);
	free(data);
}

/* ---- the byte budget */
struct stream {
	int fd;
	size_t total;
	pthread_t writer, reader;
	struct transfer in, out;
};

static void *stream_write(void *arg)
{
	struct stream *t = arg;
	write_pattern_peer(&t->out);
	shutdown(t->fd, SHUT_WR);
	return NULL;
}

static void *stream_read(void *arg)
{
	struct stream *t = arg;
	read_pattern_peer(&t->in);
	return NULL;
}

static void streams_through(struct server *s, int n, size_t total)
{
	static struct stream t[20];

	for (int i = 0; i < n; i++) {
		t[i] = (struct stream){ .fd = client(s), .total = total };
		t[i].out = (struct transfer){ .fd = t[i].fd, .total = total, .step = 5000 };
		t[i].in = (struct transfer){ .fd = t[i].fd, .total = total, .step = 3000 };
		CHECK(pthread_create(&t[i].writer, NULL, stream_write, &t[i]) == 0);
		CHECK(pthread_create(&t[i].reader, NULL, stream_read, &t[i]) == 0);
	}
	for (int i = 0; i < n; i++) {
		pthread_join(t[i].writer, NULL);
		pthread_join(t[i].reader, NULL);
		CHECK_INT(t[i].in.got, ==, total);
		CHECK_INT(t[i].in.ended, ==, 0);
		close(t[i].fd);
	}
}

TEST_LIMIT(limits_tiny_budget_all_streams_end, 60)
{
	static const rln_config small[] = {
		{ .workers = 1, .buffer_budget = 64 * KIB },
		{ .workers = 1, .buffer_budget = 64, .recv_buf_size = 64, .recv_bufs = 1 },
	};
	static const size_t total[] = { 400 * KIB, 50 * KIB };

	for (int b = 0; b < 2; b++)
		for (int m = 0; m < 3; m++) {
			rln_listen_opts l = echo_mode(m);
			struct server s = server_start(&l, &small[b]);
			streams_through(&s, 12, total[b]);
			CHECK_INT(server_stop(&s), ==, 0);
		}
}

/* A peer that never reads is held back, with bounded memory, while the others go on. */
TEST_LIMIT(limits_a_peer_that_never_reads_holds_nobody_up, 60)
{
	for (int m = 0; m < 3; m++) {
		rln_listen_opts l = echo_mode(m);
		l.sndbuf = l.rcvbuf = 64 << 10;
		struct server s = server_start(&l, NULL);
		int deaf = client(&s), quiet = 0;
		uint8_t *data = pattern_new(TOO_MUCH);
		size_t sent = 0;
		while (quiet < 20 && sent < TOO_MUCH) {
			ssize_t r = send(deaf, data + sent, TOO_MUCH - sent, MSG_DONTWAIT);
			quiet = r > 0 ? 0 : quiet + 1;
			sent += r > 0 ? (size_t)r : 0;
			poll(NULL, 0, 2);
		}
		CHECK_INT(sent, <, TOO_MUCH);
		rln_stats st = server_stats(&s);
		CHECK_INT(st.recv_bytes - st.send_bytes, <=, 5 * MIB); /* what it holds */
		streams_through(&s, 2, MIB);
		reset_close(deaf);
		CHECK_INT(server_stop(&s), ==, 0);
		free(data);
	}
}

/* Two tasks that both hold input and want to answer must not wait for each other's bytes. */
static void answer_double(rln_conn c, void *arg)
{
	rln_view v;
	(void)arg;
	while (rln_recv_exact(c, 8 * KIB, &v) > 0) {
		struct iovec twice[2] = { { (void *)(uintptr_t)v.data, v.len },
					  { (void *)(uintptr_t)v.data, v.len } };
		if (rln_sendv(c, twice, 2) < 0)
			break;
	}
}

TEST(limits_budget_never_blocks_an_empty_queue)
{
	rln_listen_opts l = { .on_conn = answer_double };
	rln_config cfg = { .workers = 1, .buffer_budget = 4096 };
	struct server s = server_start(&l, &cfg);
	uint8_t *data = pattern_new(8 * KIB), *got = malloc(16 * KIB);
	int fd[10];

	for (int i = 0; i < 10; i++)
		fd[i] = client(&s);
	for (int round = 0; round < 20; round++) {
		for (int i = 0; i < 10; i++)
			send_all(fd[i], data, 8 * KIB);
		for (int i = 0; i < 10; i++) {
			CHECK_INT(recv_n(fd[i], got, 16 * KIB), ==, 16 * KIB);
			pattern_check(got, 0, 8 * KIB);
			pattern_check(got + 8 * KIB, 0, 8 * KIB);
		}
	}
	for (int i = 0; i < 10; i++)
		close(fd[i]);
	CHECK_INT(server_stop(&s), ==, 0);
	free(data);
	free(got);
}

/* Bytes that come one by one, in every mode. */
TEST(limits_one_byte_per_write)
{
	for (int m = 0; m < 3; m++) {
		rln_listen_opts l = echo_mode(m);
		struct server s = server_start(&l, NULL);
		struct stream t = { .fd = client(&s) };
		t.out = (struct transfer){ .fd = t.fd, .total = 5000, .step = 1 };
		t.in = (struct transfer){ .fd = t.fd, .total = 5000 };
		CHECK(pthread_create(&t.writer, NULL, stream_write, &t) == 0);
		stream_read(&t);
		pthread_join(t.writer, NULL);
		CHECK_INT(t.in.got, ==, 5000);
		CHECK_INT(t.in.ended, ==, 0);
		close(t.fd);
		CHECK_INT(server_stop(&s), ==, 0);
	}
}
