/*
 * Many of everything: short connections one after the other, connections at once, bytes through one
 * connection, and a drain in the middle of traffic. Every byte is compared, in the three modes, and
 * nothing may be left.
 */
#include "rig.h"
#include "echo_modes.h"

#include <stdatomic.h>

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define SHORT_ONES 9000
#define AT_ONCE 2000
#define BULK (8 * MIB)
#else
#define SHORT_ONES 100002 /* the modes in equal parts */
#define AT_ONCE 10000
#define BULK (64 * MIB)
#endif
#define LIMIT_S 240

static uint64_t sum(const struct server *s, unsigned workers, size_t offset)
{
	uint64_t total = 0;

	for (unsigned i = 0; i < workers; i++) {
		rln_stats st;
		CHECK_INT(rln_stats_get(s->rt, i, &st), ==, 0);
		uint64_t one;
		memcpy(&one, (const char *)&st + offset, sizeof one);
		total += one;
	}
	return total;
}
#define SUM(s, workers, field) sum(s, workers, offsetof(rln_stats, field))

/* ---- short ones. From addresses of their own: an address has only so many ports. */
static int client_from(const struct server *s, unsigned n)
{
	struct sockaddr_in from = { .sin_family = AF_INET,
				    .sin_addr = { htonl(INADDR_LOOPBACK + 1 + n % 100) } };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;

	CHECK(fd >= 0);
	limit_waits(fd);
	setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
	CHECK(bind(fd, (struct sockaddr *)&from, sizeof from) == 0);
	if (connect(fd, (const struct sockaddr *)&s->addr, s->bytes) < 0 &&
	    (errno != EINTR || await_connected(fd) != 0))
		test_fail(__FILE__, __LINE__, "connect: %s", strerror(errno));
	return fd;
}

struct share {
	const struct server *s;
	unsigned from, count;
};

/* The bytes say which connection they are of: those of another one would show. */
static void *short_ones(void *arg)
{
	struct share *share = arg;

	for (unsigned i = share->from; i < share->from + share->count; i++) {
		int fd = client_from(share->s, i);
		uint8_t out[64], in[64];
		size_t n = 1 + i % sizeof out;

		pattern_fill(out, (size_t)i * 101, n);
		memcpy(out, &i, n < sizeof i ? n : sizeof i);
		send_all(fd, out, n);
		CHECK_INT(recv_n(fd, in, n), ==, n);
		CHECK(memcmp(in, out, n) == 0);
		if (i % 3 == 0) {
			CHECK(shutdown(fd, SHUT_WR) == 0);
			expect_eof(fd);
		}
		if (i % 7 == 1)
			reset_close(fd);
		else
			close(fd);
	}
	return NULL;
}

TEST_LIMIT(soak_100000_short_connections_each_gets_its_own_bytes, LIMIT_S)
{
	unsigned fds = open_fds();

	for (int m = 0; m < 3; m++) {
		rln_listen_opts l = echo_mode(m);
		rln_config cfg = { .workers = 2 };
		l.max_conns = 256; /* slots are used over and over */
		struct server s = server_start(&l, &cfg);
		struct share share[2] = { { &s, 0, SHORT_ONES / 6 },
					  { &s, SHORT_ONES / 6, SHORT_ONES / 6 } };
		pthread_t other;

		CHECK(pthread_create(&other, NULL, short_ones, &share[1]) == 0);
		short_ones(&share[0]);
		CHECK(pthread_join(other, NULL) == 0);
		EVENTUALLY(SUM(&s, 2, conns_open) == 0);
		CHECK_INT(SUM(&s, 2, misuse), ==, 0);
		CHECK_INT(server_stop(&s), ==, 0);
	}
	EVENTUALLY(open_fds() == fds);
}

/* ---- at once */
static void exchange(const int *fd, unsigned n, unsigned round)
{
	uint8_t buf[64];

	for (unsigned i = 0; i < n; i++) {
		pattern_fill(buf, (size_t)i * 7 + round, sizeof buf);
		send_all(fd[i], buf, sizeof buf);
	}
	for (unsigned i = 0; i < n; i++) {
		CHECK_INT(recv_n(fd[i], buf, sizeof buf), ==, sizeof buf);
		pattern_check(buf, (size_t)i * 7 + round, sizeof buf);
	}
}

TEST_LIMIT(soak_10000_connections_at_once, LIMIT_S)
{
	static int fd[AT_ONCE];
	unsigned fds = open_fds();

	for (int m = 0; m < 3; m++) {
		rln_listen_opts l = echo_mode(m);
		rln_config cfg = { .workers = 2 };
		struct server s = server_start(&l, &cfg); /* raises the limit of descriptors */

		for (unsigned i = 0; i < AT_ONCE; i++)
			fd[i] = client_from(&s, i);
		exchange(fd, AT_ONCE, 0);
		CHECK_INT(SUM(&s, 2, conns_open), ==, AT_ONCE);
		exchange(fd, AT_ONCE, 1);
		for (unsigned i = 0; i < AT_ONCE; i++)
			close(fd[i]);
		EVENTUALLY(SUM(&s, 2, conns_open) == 0);
		CHECK_INT(server_stop(&s), ==, 0);
	}
	EVENTUALLY(open_fds() == fds);
}

/* ---- much through one */
static void *send_bulk(void *arg)
{
	static uint8_t block[MIB];
	int fd = *(int *)arg;

	for (size_t at = 0; at < BULK; at += sizeof block) {
		pattern_fill(block, at, sizeof block);
		send_all(fd, block, sizeof block);
	}
	CHECK(shutdown(fd, SHUT_WR) == 0);
	return NULL;
}

TEST_LIMIT(soak_64_mib_then_half_close_every_byte_and_eof, LIMIT_S)
{
	static uint8_t block[256 * KIB];

	for (int m = 0; m < 3; m++) {
		rln_listen_opts l = echo_mode(m);
		struct server s = server_start(&l, NULL);
		int fd = client(&s);
		pthread_t sender;

		CHECK(pthread_create(&sender, NULL, send_bulk, &fd) == 0);
		for (size_t at = 0; at < BULK; at += sizeof block) {
			CHECK_INT(recv_n(fd, block, sizeof block), ==, sizeof block);
			pattern_check(block, at, sizeof block);
		}
		expect_eof(fd);
		CHECK(pthread_join(sender, NULL) == 0);
		close(fd);
		CHECK_INT(server_stop(&s), ==, 0);
	}
}

/* ---- a drain under load */
#define CALLERS 4
#define LINES 10

struct caller {
	const struct server *s;
	atomic_bool *drains;
	sem_t *ready;
	unsigned answered, before; /* before: the last request was sent in full before the drain */
};

/* One request and its answer. Whether the connection goes on. */
static bool call_once(struct caller *c, int fd)
{
	uint8_t out[32], in[32];

	pattern_fill(out, c->answered, sizeof out);
	bool sent = send(fd, out, sizeof out, MSG_NOSIGNAL) == sizeof out;
	bool before = sent && !atomic_load(c->drains);
	ssize_t n = recv_n(fd, in, sizeof in);

	if (before && n != sizeof in)
		test_fail(__FILE__, __LINE__, "unanswered: %zd", n);
	if (n != sizeof in)
		return false;
	CHECK(memcmp(in, out, sizeof in) == 0);
	c->answered++;
	c->before += before;
	return true;
}

/* On each of a few connections by turns, until the drain; then the server is who ends them. */
static void *call_on(void *arg)
{
	struct caller *c = arg;
	int fd[LINES];

	for (unsigned i = 0; i < LINES; i++) {
		fd[i] = client(c->s);
		put(fd[i], "?");
		expect(fd[i], "?"); /* taken */
	}
	sem_post(c->ready);
	for (unsigned i = 0; !atomic_load(c->drains); i = (i + 1) % LINES) {
		if (call_once(c, fd[i]))
			continue;
		CHECK(atomic_load(c->drains));
		break;
	}
	for (unsigned i = 0; i < LINES; i++) {
		char rest[64];
		CHECK_INT(recv_n(fd[i], rest, sizeof rest), ==, 0); /* no reset */
		close(fd[i]);
	}
	return NULL;
}

TEST_LIMIT(soak_drain_under_load_answers_what_was_sent_before, LIMIT_S)
{
	for (int round = 0; round < 9; round++) {
		rln_listen_opts l = echo_mode(round % 3);
		rln_config cfg = { .workers = 2, .drain_idle = RLN_MS(20) };
		struct server s = server_start(&l, &cfg);
		atomic_bool drains = false;
		struct caller c[CALLERS];
		pthread_t thread[CALLERS];
		sem_t ready;
		unsigned before = 0;

		CHECK(sem_init(&ready, 0, 0) == 0);
		for (unsigned i = 0; i < CALLERS; i++) {
			c[i] = (struct caller){ &s, &drains, &ready, 0, 0 };
			CHECK(pthread_create(&thread[i], NULL, call_on, &c[i]) == 0);
		}
		for (unsigned i = 0; i < CALLERS; i++)
			while (sem_wait(&ready) < 0)
				CHECK(errno == EINTR);
		EVENTUALLY(SUM(&s, 2, recv_bytes) > 100000);
		atomic_store(&drains, true);
		CHECK_INT(server_stop(&s), ==, 0);
		for (unsigned i = 0; i < CALLERS; i++) {
			CHECK(pthread_join(thread[i], NULL) == 0);
			before += c[i].before;
		}
		CHECK_INT(before, >, 0);
		sem_destroy(&ready);
	}
}
