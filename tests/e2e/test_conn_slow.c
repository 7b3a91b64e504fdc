/* Peers that read much slower than they are sent to, within one send of the runtime's. */
#include "rig.h"
#include <stdatomic.h>

#define LIMIT_MS 1000
#define SLOW_MS (3 * LIMIT_MS + LIMIT_MS / 2)
#define BYTES (512 * KIB)

static uint8_t *data;
static atomic_int ended;

static void on_close(rln_conn c, int err, void *arg)
{
	(void)c, (void)arg;
	CHECK_INT(err, ==, 0);
	ended++;
}

/* The first client's is sent from where it lies and waited for, the other's copied and left. */
static void on_conn(rln_conn c, void *arg)
{
	char which;

	(void)arg;
	CHECK_INT(rln_recv_full(c, &which, 1), ==, 1);
	if (which == 'w') {
		CHECK_INT(rln_send(c, data, BYTES), ==, BYTES);
		return;
	}
	for (size_t at = 0; at < BYTES; at += 8 * KIB)
		CHECK_INT(rln_send(c, data + at, 8 * KIB), ==, 8 * KIB);
}

static int slow_client(const struct server *s, const char *which)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), small = 16 << 10;

	CHECK(fd >= 0);
	limit_waits(fd);
	CHECK(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small) == 0);
	CHECK(connect(fd, (const struct sockaddr *)&s->addr, s->bytes) == 0);
	send_all(fd, which, 1);
	return fd;
}

static void take(int fd, size_t *at, size_t n)
{
	static uint8_t got[4096];
	ssize_t r = recv_some(fd, got, n < sizeof got ? n : sizeof got);

	if (r <= 0)
		test_fail(__FILE__, __LINE__, "after %zu bytes: %zd, %s", *at, r, strerror(errno));
	pattern_check(got, *at, (size_t)r);
	*at += (size_t)r;
}

TEST_LIMIT(slow_reader_is_no_stall_and_gets_all_also_from_a_close, 60)
{
	rln_listen_opts l = { .on_conn = on_conn,
			      .on_close = on_close,
			      .sndbuf = 32 << 10,
			      .send_stall = RLN_MS(LIMIT_MS),
			      .close_timeout = RLN_MS(LIMIT_MS) };
	size_t at[2] = { 0 };

	data = pattern_new(BYTES);
	struct server s = server_start(&l, NULL);
	int fd[2] = { slow_client(&s, "w"), slow_client(&s, "c") };
	int64_t end = test_now_ns() + SLOW_MS * INT64_C(1000000);
	while (test_now_ns() < end) {
		poll(NULL, 0, 20); /* the slowness itself */
		for (int i = 0; i < 2; i++)
			take(fd[i], &at[i], 2 * KIB);
	}
	for (int i = 0; i < 2; i++) {
		CHECK_INT(at[i], <, BYTES); /* one send had lasted all the time */
		while (at[i] < BYTES)
			take(fd[i], &at[i], BYTES - at[i]);
		expect_eof(fd[i]);
		close(fd[i]);
	}
	EVENTUALLY(ended == 2);
	CHECK_INT(server_stats(&s).send_stalls, ==, 0);
	CHECK_INT(server_stats(&s).close_timeouts, ==, 0);
	CHECK_INT(server_stop(&s), ==, 0);
	free(data);
}
