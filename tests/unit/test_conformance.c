/*
 * The table of kernel behaviour (tests/sim/conformance.h) on the real kernel: each outcome must be
 * among those the simulator may produce.
 */
#include "../sim/conformance.h"
#include "ring/caps.h"
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

static void real_connect(struct conf *c)
{
	struct sockaddr_in sa = { .sin_family = AF_INET,
				  .sin_port = htons(c->port),
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };

	c->client_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	CHECK_INT(c->client_fd, >=, 0);
	CHECK_INT(connect(c->client_fd, (struct sockaddr *)&sa, sizeof(sa)), ==, 0);
}

static ssize_t real_send(struct conf *c, const void *p, size_t n)
{
	ssize_t r = send(c->client_fd, p, n, MSG_NOSIGNAL);

	return r < 0 ? -errno : r;
}

static ssize_t real_recv(struct conf *c, void *p, size_t n)
{
	ssize_t r = recv(c->client_fd, p, n, MSG_DONTWAIT);

	return r < 0 ? -errno : r;
}

static void real_fin(struct conf *c)
{
	CHECK_INT(shutdown(c->client_fd, SHUT_WR), ==, 0);
}

static void real_close(struct conf *c)
{
	if (c->client_fd >= 0)
		close(c->client_fd);
	c->client_fd = -1;
}

static void real_rst(struct conf *c)
{
	struct linger l = { .l_onoff = 1 };

	CHECK_INT(setsockopt(c->client_fd, SOL_SOCKET, SO_LINGER, &l, sizeof(l)), ==, 0);
	real_close(c);
}

static const struct conf_peer real_peer = { real_connect, real_send, real_recv,
					    real_fin,	  real_rst,  real_close };

static bool has_feature(const char *name)
{
	struct caps now;
	const struct caps *k = caps_get(&now);

#define HAS(field, text, gives, since) \
	if (!strcmp(name, #field))     \
		return k->field;
	CAPS_FEATURES(HAS)
#undef HAS
	return false;
}

static bool run_row(const struct conf_row *row)
{
	struct conf c;
	bool listed;

	conf_open(&c, &ring_kernel_uring, &real_peer);
	row->run(&c);
	printf("outcome %s: %s\n", row->name, c.out);
	listed = conf_listed(row->outcomes, c.out);
	if (!listed)
		fprintf(stderr, "  %s: \"%s\", not one of \"%s\"\n", row->name, c.out,
			row->outcomes);
	conf_close(&c);
	return listed;
}

/* RINGLINE_ROUNDS: more than one, to see rarer outcomes. */
TEST_LIMIT(conformance_real_kernel_does_what_the_table_says, 300)
{
	const char *s = getenv("RINGLINE_ROUNDS");
	unsigned wrong = 0, rounds = s ? (unsigned)strtoul(s, NULL, 10) : 1;

	struct caps now;
	const struct caps *k = caps_get(&now);

	if (!k->ok)
		SKIP("no io_uring: %s", k->why.line);
	for (unsigned i = 0; i < CONF_ROWS * rounds; i++) {
		const struct conf_row *row = &conf_rows[i % CONF_ROWS];

		if (!row->since || has_feature(row->since))
			wrong += !run_row(row);
		else if (i < CONF_ROWS)
			printf("  %s: skipped, no %s\n", row->name, row->since);
	}
	CHECK_INT(wrong, ==, 0);
}
