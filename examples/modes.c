/*
 * The same line echo in the three execution modes, on three listeners.
 * usage: modes [TASK-ADDR [REQUEST-ADDR [CALLBACK-ADDR]]]
 */
#include "announce.h"
#include <string.h>

enum { LINE_MAX_BYTES = 8192 };

/* Task mode: a task and a stack for the life of the connection. */
static void on_conn(rln_conn c, void *arg)
{
	rln_view line;

	(void)arg;
	while (rln_recv_until(c, "\n", LINE_MAX_BYTES, &line) > 0)
		if (rln_send(c, line.data, line.len) < 0)
			break;
}

/* Request mode: the same straight line, but a stack exists only while a request is served. */
static int on_request(rln_conn c, void *arg)
{
	rln_view line;
	ssize_t n = RLN_WITHIN(RLN_SEC(10), rln_recv_until(c, "\n", LINE_MAX_BYTES, &line));

	(void)arg;
	if (n <= 0)
		return n < 0 ? (int)n : RLN_CLOSE;
	return rln_send(c, line.data, line.len) < 0 ? RLN_CLOSE : RLN_KEEP;
}

/* Callback mode: no task at all. */
static size_t on_data(rln_conn c, const uint8_t *p, size_t n, void *arg)
{
	const uint8_t *end = memchr(p, '\n', n);
	size_t len = end ? (size_t)(end - p) + 1 : 0;

	(void)arg;
	if (!end) {
		if (n > LINE_MAX_BYTES)
			rln_reset(c);
		return 0; /* keep it, and call again with more */
	}
	if (rln_send_nowait(c, p, len) < 0)
		return 0; /* the peer does not read: called again when it has */
	return len;
}

static int announce_three(void *arg)
{
	(void)arg;
	announce(3);
	(void)rln_sleep_until(RLN_FOREVER);
	return 0;
}

int main(int argc, char **argv)
{
	static const rln_callbacks cb = { .data = on_data };
	const rln_listen_opts l[] = {
		{ .addr = argc > 1 ? argv[1] : "127.0.0.1:7002", .on_conn = on_conn },
		{ .addr = argc > 2 ? argv[2] : "127.0.0.1:7003", .on_request = on_request },
		{ .addr = argc > 3 ? argv[3] : "127.0.0.1:7004", .cb = &cb },
	};

	return rln_main(&(rln_config){ .listen = l, .nlisten = 3, .main = announce_three });
}
