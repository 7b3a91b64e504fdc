/*
 * An echo server on libuv, as its users write it: one loop, one buffer for reading, a try at
 * writing at once, and what is not taken is kept and written when there is room.
 * usage: libuv_echo [PORT]
 */
#include "peer.h"

#include <signal.h>
#include <uv.h>

struct write {
	uv_write_t req;
	char data[];
};

static char buffer[PEER_READ_BYTES];

static void need(int e, const char *what)
{
	peer_need(e >= 0, what, e < 0 ? uv_strerror(e) : "");
}

static void on_closed(uv_handle_t *h)
{
	free(h);
}

static void lend_buffer(uv_handle_t *h, size_t hint, uv_buf_t *out)
{
	(void)h, (void)hint;
	*out = uv_buf_init(buffer, sizeof buffer);
}

static void on_written(uv_write_t *req, int status)
{
	if (status < 0 && !uv_is_closing((uv_handle_t *)req->handle))
		uv_close((uv_handle_t *)req->handle, on_closed);
	free(req);
}

static void write_rest(uv_stream_t *s, const char *p, size_t n)
{
	struct write *w = malloc(sizeof *w + n);
	uv_buf_t buf;

	peer_need(w != NULL, "malloc", "no memory");
	memcpy(w->data, p, n);
	buf = uv_buf_init(w->data, (unsigned)n);
	if (uv_write(&w->req, s, &buf, 1, on_written) < 0)
		free(w);
}

static void on_read(uv_stream_t *s, ssize_t n, const uv_buf_t *buf)
{
	uv_buf_t out;
	int done;

	if (n <= 0) {
		if (n < 0)
			uv_close((uv_handle_t *)s, on_closed);
		return;
	}
	out = uv_buf_init(buf->base, (unsigned)n);
	done = uv_try_write(s, &out, 1);
	if (done < 0)
		done = 0; /* others wait to be written, or there is no room */
	if (done < n)
		write_rest(s, buf->base + done, (size_t)(n - done));
}

static void on_connection(uv_stream_t *listener, int status)
{
	uv_tcp_t *c = status < 0 ? NULL : malloc(sizeof *c);

	if (!c)
		return;
	need(uv_tcp_init(listener->loop, c), "uv_tcp_init");
	if (uv_accept(listener, (uv_stream_t *)c) < 0) {
		uv_close((uv_handle_t *)c, on_closed);
		return;
	}
	uv_tcp_nodelay(c, 1);
	uv_read_start((uv_stream_t *)c, lend_buffer, on_read);
}

static void on_signal(uv_signal_t *s, int signo)
{
	if (signo == SIGUSR1)
		peer_say_syscalls();
	else
		uv_stop(s->loop);
}

int main(int argc, char **argv)
{
	uv_loop_t *loop = uv_default_loop();
	struct sockaddr_in in = peer_address(argc, argv);
	uv_signal_t ends, asks;
	uv_tcp_t listener;
	int n = sizeof in;

	signal(SIGPIPE, SIG_IGN);
	need(uv_tcp_init(loop, &listener), "uv_tcp_init");
	need(uv_tcp_bind(&listener, (struct sockaddr *)&in, 0), "bind");
	need(uv_listen((uv_stream_t *)&listener, PEER_BACKLOG, on_connection), "listen");
	need(uv_tcp_getsockname(&listener, (struct sockaddr *)&in, &n), "getsockname");
	need(uv_signal_init(loop, &ends), "uv_signal_init");
	need(uv_signal_start(&ends, on_signal, SIGTERM), "SIGTERM");
	need(uv_signal_init(loop, &asks), "uv_signal_init");
	need(uv_signal_start(&asks, on_signal, SIGUSR1), "SIGUSR1");
	peer_listening(&in);
	uv_run(loop, UV_RUN_DEFAULT);
	return 0;
}
