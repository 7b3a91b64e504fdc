/*
 * Two libraries in one thread: libuv's loop serves echo on a socket of its own and steps a runtime
 * that serves echo, too. Both count into the same variables, without a lock.
 * usage: uv_loop; prints both addresses (ringline's first), and at its end what was counted.
 */
#include "announce.h"
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

static rln_runtime *rt;
static uv_poll_t ours;
static uv_signal_t term;
static uv_timer_t ticker;
static uv_tcp_t listener;
static unsigned long long by_ringline, by_libuv, ticks, told;
static int main_thread_only = 1;
static uv_thread_t thread;

static void same_thread(void)
{
	uv_thread_t me = uv_thread_self();

	main_thread_only &= uv_thread_equal(&me, &thread) != 0;
}

/* ---- ringline */
static void echo(rln_conn c, void *arg)
{
	rln_view v;
	ssize_t n;

	(void)arg;
	while ((n = rln_recv(c, &v)) > 0) {
		same_thread();
		by_ringline += (unsigned long long)n;
		if (rln_send(c, v.data, v.len) < 0)
			return;
	}
}

static int tick_task(void *arg)
{
	(void)arg;
	if (rln_sleep(RLN_MS(1)) == 0) /* only the ring's timer ends this wait */
		told++;
	return 0;
}

static void on_readable(uv_poll_t *p, int status, int events)
{
	(void)p, (void)status, (void)events;
	if (rln_step(rt) != RLN_STEP_OVER)
		return;
	uv_close((uv_handle_t *)&ours, NULL);
	uv_close((uv_handle_t *)&term, NULL);
	uv_close((uv_handle_t *)&ticker, NULL);
	uv_close((uv_handle_t *)&listener, NULL);
}

/* ---- libuv */
static void on_closed(uv_handle_t *h)
{
	free(h);
}

static void lend_buffer(uv_handle_t *h, size_t hint, uv_buf_t *out)
{
	static char buffer[65536];

	(void)h, (void)hint;
	*out = uv_buf_init(buffer, sizeof buffer);
}

struct reply {
	uv_write_t req;
	char data[];
};

static void on_written(uv_write_t *w, int status)
{
	(void)status;
	free(w);
}

static void on_read(uv_stream_t *s, ssize_t n, const uv_buf_t *buf)
{
	struct reply *r = n > 0 ? malloc(sizeof *r + (size_t)n) : NULL;
	uv_buf_t out;

	same_thread();
	if (!r) {
		if (n)
			uv_close((uv_handle_t *)s, on_closed);
		return;
	}
	by_libuv += (unsigned long long)n;
	memcpy(r->data, buf->base, (size_t)n);
	out = uv_buf_init(r->data, (unsigned)n);
	if (uv_write(&r->req, s, &out, 1, on_written) < 0)
		free(r);
}

static void on_connection(uv_stream_t *l, int status)
{
	uv_tcp_t *c = status < 0 ? NULL : malloc(sizeof *c);

	if (!c)
		return;
	uv_tcp_init(l->loop, c);
	if (uv_accept(l, (uv_stream_t *)c) < 0)
		uv_close((uv_handle_t *)c, on_closed);
	else
		uv_read_start((uv_stream_t *)c, lend_buffer, on_read);
}

static void on_term(uv_signal_t *s, int signo)
{
	(void)s, (void)signo;
	rln_shutdown(rt);
}

static void on_tick(uv_timer_t *t)
{
	(void)t;
	if (rln_enter(rt) < 0)
		return;
	ticks += rln_go(tick_task, NULL, NULL) == 0;
	rln_leave(rt);
}

static int need(int e, const char *what)
{
	if (e >= 0)
		return e;
	fprintf(stderr, "%s: %s\n", what, uv_strerror(e));
	exit(2);
}

int main(void)
{
	const rln_listen_opts l = { .addr = "127.0.0.1:0", .on_conn = echo };
	const rln_config cfg = { .embed = true, .listen = &l, .nlisten = 1, .main = announce_main };
	struct sockaddr_in at = { .sin_family = AF_INET };
	uv_loop_t *loop = uv_default_loop();
	int n = sizeof at;

	thread = uv_thread_self();
	if (rln_start(&cfg, &rt) < 0)
		return 2;
	rln_step(rt); /* says where it listens */
	at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	need(uv_tcp_init(loop, &listener), "uv_tcp_init");
	need(uv_tcp_bind(&listener, (struct sockaddr *)&at, 0), "uv_tcp_bind");
	need(uv_listen((uv_stream_t *)&listener, 128, on_connection), "uv_listen");
	need(uv_tcp_getsockname(&listener, (struct sockaddr *)&at, &n), "uv_tcp_getsockname");
	printf("listening on 127.0.0.1:%u\n", ntohs(at.sin_port));
	fflush(stdout);
	need(uv_poll_init(loop, &ours, rln_poll_fd(rt)), "uv_poll_init");
	need(uv_poll_start(&ours, UV_READABLE, on_readable), "uv_poll_start");
	need(uv_signal_init(loop, &term), "uv_signal_init");
	need(uv_signal_start(&term, on_term, SIGTERM), "uv_signal_start");
	need(uv_timer_init(loop, &ticker), "uv_timer_init");
	need(uv_timer_start(&ticker, on_tick, 5, 5), "uv_timer_start");
	need(uv_run(loop, UV_RUN_DEFAULT), "uv_run");
	printf("ringline %llu, libuv %llu, %s, %s\n", by_ringline, by_libuv,
	       ticks && told ? "ticks" : "no ticks",
	       main_thread_only ? "one thread" : "several threads");
	return rln_wait(rt);
}
