/* Connecting to one of several addresses, on the real kernel: order, delay, losers, cancellation.
 */
#include "io/connect.h"
#include "ringline.h"
#include "test.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#define RACE "race"

static void addr4(struct sockaddr_storage *a, uint32_t ip, uint16_t port)
{
	struct sockaddr_in in = { .sin_family = AF_INET,
				  .sin_addr = { htonl(ip) },
				  .sin_port = htons(port) };
	memset(a, 0, sizeof *a);
	memcpy(a, &in, sizeof in);
}

static void addr6(struct sockaddr_storage *a, uint16_t port)
{
	struct sockaddr_in6 in = { .sin6_family = AF_INET6,
				   .sin6_addr = in6addr_loopback,
				   .sin6_port = htons(port) };
	memset(a, 0, sizeof *a);
	memcpy(a, &in, sizeof in);
}

TEST(addrs_families_alternate_and_keep_their_order)
{
	static const char *const cases[][2] = {
		{ "6", "6" },		{ "4", "4" },
		{ "66", "66" },		{ "64", "64" },
		{ "666444", "646464" }, { "444466", "464644" },
		{ "64444", "64444" },	{ "6666644", "6464666" },
		{ "46666", "46666" },	{ "6464", "6464" },
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct sockaddr_storage a[16];
		int n = (int)strlen(cases[i][0]);
		for (int k = 0; k < n; k++) {
			if (cases[i][0][k] == '4')
				addr4(&a[k], 0, (uint16_t)(k + 1));
			else
				addr6(&a[k], (uint16_t)(k + 1));
		}
		addrs_interleave(a, n);
		uint16_t last[2] = { 0, 0 };
		for (int k = 0; k < n; k++) {
			bool six = a[k].ss_family == AF_INET6;
			uint16_t port = ntohs(six ? ((struct sockaddr_in6 *)&a[k])->sin6_port
						  : ((struct sockaddr_in *)&a[k])->sin_port);
			CHECK_INT(six ? '6' : '4', ==, cases[i][1][k]);
			CHECK_INT(port, >, last[six]);
			last[six] = port;
		}
	}
}

static int listener(struct sockaddr_storage *a, int backlog)
{
	socklen_t n = sizeof *a;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	addr4(a, INADDR_LOOPBACK, 0);
	CHECK(fd >= 0 && bind(fd, (struct sockaddr *)a, sizeof(struct sockaddr_in)) == 0);
	CHECK(listen(fd, backlog) == 0);
	CHECK(getsockname(fd, (struct sockaddr *)a, &n) == 0);
	return fd;
}

/* Its backlog is full: it answers nobody. */
static int silent_listener(struct sockaddr_storage *a, int filler[3])
{
	int fd = listener(a, 0);

	for (int i = 0; i < 3; i++) {
		filler[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		int e = connect(filler[i], (struct sockaddr *)a, sizeof(struct sockaddr_in));
		CHECK(e == 0 || errno == EINPROGRESS);
	}
	return fd;
}

static void refusing(struct sockaddr_storage *a)
{
	close(listener(a, 1));
}

static void close_all(const int *fd, int n)
{
	for (int i = 0; i < n; i++)
		close(fd[i]);
}

static int run_body(void *body)
{
	void (*fn)(void);
	memcpy(&fn, body, sizeof fn);
	fn();
	return 0;
}

static void in_task(void (*body)(void))
{
	rln_config cfg = { .workers = 1, .no_pin = true, .main = run_body, .arg = &body };
	rln_runtime *rt;
	int e = rln_start(&cfg, &rt);

	if (e == -ENOSYS || e == -EPERM)
		SKIP("io_uring");
	CHECK_INT(e, ==, 0);
	CHECK_INT(rln_wait(rt), ==, 0); /* 1, if anything were left */
}

static void conns_owned_becomes(uint64_t n)
{
	while (io_current()->stats.conns_owned != n)
		CHECK_INT(rln_sleep(RLN_US(200)), ==, 0);
}

static void refused_then_good(void)
{
	struct sockaddr_storage a[3], peer;
	rln_conn c;

	refusing(&a[0]);
	refusing(&a[1]);
	int fd = listener(&a[2], 8);
	CHECK_INT(connect_race(a, 3, NULL, &c, RACE), ==, 0);
	CHECK_INT(rln_peer(c, &peer), ==, 0);
	CHECK(memcmp(&peer, &a[2], sizeof(struct sockaddr_in)) == 0);
	conns_owned_becomes(1);
	CHECK_INT(rln_close(c), ==, 0);
	close(fd);
}

TEST(race_refused_attempts_are_followed_by_the_next)
{
	in_task(refused_then_good);
}

static void silent_then_good(void)
{
	struct sockaddr_storage a[2], peer;
	int filler[3], silent = silent_listener(&a[0], filler), fd = listener(&a[1], 8);
	rln_conn c;
	int64_t begin = test_now_ns();

	CHECK_INT(connect_race(a, 2, NULL, &c, RACE), ==, 0);
	CHECK_INT(test_now_ns() - begin, >=, 250000000);
	CHECK_INT(rln_peer(c, &peer), ==, 0);
	CHECK(memcmp(&peer, &a[1], sizeof(struct sockaddr_in)) == 0);
	conns_owned_becomes(1); /* the loser is closed */
	CHECK_INT(rln_close(c), ==, 0);
	close_all(filler, 3);
	close(silent);
	close(fd);
}

TEST(race_silent_attempt_gets_company_after_its_delay_and_loses)
{
	in_task(silent_then_good);
}

static void all_fail(void)
{
	struct sockaddr_storage a[3];
	rln_conn c = { 77 };

	refusing(&a[0]);
	refusing(&a[1]);
	CHECK_INT(connect_race(a, 2, NULL, &c, RACE), ==, -ECONNREFUSED);
	/* an address that cannot be used at all says less than one that refused */
	a[2] = a[1];
	addr4(&a[1], INADDR_BROADCAST, 9);
	CHECK_INT(connect_race(a, 3, NULL, &c, RACE), ==, -ECONNREFUSED);
	CHECK_INT(c.h, ==, 77);
	conns_owned_becomes(0);
}

TEST(race_that_nobody_wins_says_why)
{
	in_task(all_fail);
}

static void cancelled(void)
{
	struct sockaddr_storage a[2];
	int filler[2][3], silent[2];
	rln_conn c = { 77 };

	for (int i = 0; i < 2; i++)
		silent[i] = silent_listener(&a[i], filler[i]);
	/* one attempt out, then two */
	CHECK_INT(RLN_WITHIN(RLN_MS(5), connect_race(a, 2, NULL, &c, RACE)), ==, -ETIME);
	CHECK_INT(RLN_WITHIN(RLN_MS(300), connect_race(a, 2, NULL, &c, RACE)), ==, -ETIME);
	CHECK_INT(c.h, ==, 77);
	conns_owned_becomes(0);
	for (int i = 0; i < 2; i++)
		close_all(filler[i], 3);
	close_all(silent, 2);
}

TEST(race_cancelled_with_attempts_out_leaves_nothing)
{
	in_task(cancelled);
}
