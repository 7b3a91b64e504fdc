/*
 * A TCP proxy: two tasks a connection, one for each direction. An end of one direction is passed
 * on and the other one goes on; a failure of one ends both.
 * usage: proxy [LISTEN-ADDR [UPSTREAM-ADDR]]
 */
#include "announce.h"

struct leg {
	rln_conn from, to;
};

static int pump(void *arg)
{
	struct leg *l = arg;
	rln_view v;
	ssize_t n;

	while ((n = rln_recv(l->from, &v)) > 0) {
		n = rln_send(l->to, v.data, v.len);
		if (n < 0)
			break;
	}
	return n < 0 ? (int)n : rln_shutdown_send(l->to); /* pass the half-close on */
}

static void proxy(rln_conn down, void *arg)
{
	const char *upstream = arg;
	int e = 0;
	RLN_CONN(up);

	if (RLN_WITHIN(RLN_SEC(3), rln_connect(upstream, NULL, &up)) < 0) {
		rln_reset(down);
		return;
	}
	{
		struct leg there = { down, up }, back = { up, down };
		RLN_GROUP(g); /* declared last: both legs end before what they use goes */

		rln_group_spawn(&g, pump, &there);
		rln_group_spawn(&g, pump, &back);
		e = rln_group_wait(&g); /* the first failure cancels the other leg */
	}
	if (e < 0) {
		rln_reset(down); /* a cut stream must not look like a whole one */
		rln_reset(up);
	}
}

int main(int argc, char **argv)
{
	const rln_listen_opts l = { .addr = argc > 1 ? argv[1] : "127.0.0.1:9001",
				    .on_conn = proxy,
				    .arg = argc > 2 ? argv[2] : "127.0.0.1:7878",
				    .idle_timeout = RLN_SEC(300) };

	return rln_main(&(rln_config){ .listen = &l, .nlisten = 1, .main = announce_main });
}
