/* Echo, three times the same. */
#include "echo.h"

const char *const echo_modes[] = { "task", "request", "callback", NULL };

static void on_conn(rln_conn c, void *arg)
{
	rln_view v;

	(void)arg;
	while (rln_recv(c, &v) > 0)
		if (rln_send(c, v.data, v.len) < 0)
			break;
}

static int on_request(rln_conn c, void *arg)
{
	rln_view v;
	ssize_t n = rln_recv(c, &v);

	(void)arg;
	if (n <= 0)
		return n < 0 ? (int)n : RLN_CLOSE;
	n = rln_send(c, v.data, v.len);
	return n < 0 ? (int)n : RLN_KEEP;
}

/* What is not taken comes again when the peer has read enough. */
static size_t on_data(rln_conn c, const uint8_t *p, size_t n, void *arg)
{
	(void)arg;
	return rln_send_nowait(c, p, n) < 0 ? 0 : n;
}

void echo_listen_opts(int mode, const char *addr, rln_listen_opts *out)
{
	static const rln_callbacks callbacks = { .data = on_data };

	*out = (rln_listen_opts){ .addr = addr };
	if (mode == ECHO_TASK)
		out->on_conn = on_conn;
	else if (mode == ECHO_REQUEST)
		out->on_request = on_request;
	else
		out->cb = &callbacks;
}
