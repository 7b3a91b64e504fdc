/* An echo server in each of the three modes: 0 task, 1 request, 2 callback. */
#ifndef RINGLINE_TESTS_ECHO_MODES_H
#define RINGLINE_TESTS_ECHO_MODES_H

#include <ringline.h>

static inline void task_echo(rln_conn c, void *arg)
{
	rln_view v;
	(void)arg;
	while (rln_recv(c, &v) > 0)
		if (rln_send(c, v.data, v.len) < 0)
			break;
}

static inline int request_echo(rln_conn c, void *arg)
{
	rln_view v;
	(void)arg;
	ssize_t n = rln_recv(c, &v);
	return n > 0 && rln_send(c, v.data, v.len) > 0 ? RLN_KEEP : RLN_CLOSE;
}

static inline size_t callback_echo(rln_conn c, const uint8_t *p, size_t n, void *arg)
{
	(void)arg;
	return rln_send_nowait(c, p, n) < 0 ? 0 : n;
}

static inline rln_listen_opts echo_mode(int m)
{
	static const rln_callbacks cb = { .data = callback_echo };
	rln_listen_opts l = { 0 };

	if (m == 0)
		l.on_conn = task_echo;
	else if (m == 1)
		l.on_request = request_echo;
	else
		l.cb = &cb;
	return l;
}

#endif
