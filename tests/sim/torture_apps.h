/*
 * The programs of the torture: what they do, and what they put up with. A call may fail only when
 * the failure has been injected, with its errno or one that the call's contract names; the one
 * after it must work again.
 */
#ifndef RINGLINE_TESTS_SIM_TORTURE_APPS_H
#define RINGLINE_TESTS_SIM_TORTURE_APPS_H

#include "ringline.h"
#include "ringline/sim.h"
#include "ringline/sync.h"
#include "ringline/thread.h"
#include "torture.h"
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#define LARGE 40000 /* sent in place, received in place */

/* What failed must have been told in words when the program asked for a runtime. */
static char torture_line[1024];
static unsigned torture_errors; /* told to the program */

static void torture_log(int level, const char *msg, void *arg)
{
	(void)arg;
	if (level == RLN_LOG_ERROR)
		snprintf(torture_line, sizeof torture_line, "%s", msg);
}

static bool is_one_of(int e, const int *list)
{
	for (; *list; list++)
		if (e == *list)
			return true;
	return false;
}

/* True: it worked. False: it failed, and may have. */
static bool ok(const char *what, ssize_t r)
{
	/* A connection whose other end, or whose own memory, met the failure. */
	static const int told[] = { -ECONNRESET,   -EPIPE,   -ECONNABORTED, -ENODATA, -ENOMEM,
				    -ECONNREFUSED, -ENOBUFS, -EAGAIN,	    -ENFILE,  0 };

	if (r >= 0)
		return true;
	if (!torture.hit)
		rln_sim_fail("%s: %s, although nothing failed", what, rln_strerror((int)r));
	torture_errors++;
	if (strcmp(what, "rln_adopt_fd") == 0 && r == -EINVAL)
		return false; /* whatever made it look like none that can be adopted */
	if (r != -torture.err && !is_one_of((int)r, told))
		rln_sim_fail("%s: %s, when %s failed with %s", what, rln_strerror((int)r),
			     torture_calls[torture.call].name, strerror(torture.err));
	return false;
}

/* The end of a stream in the middle is a failure as well. */
static bool got(const char *what, ssize_t n)
{
	return ok(what, n ? n : -ECONNRESET);
}

/* ---- runtimes */
static void config_small(rln_config *c)
{
	c->workers = c->workers ? c->workers : 1;
	c->file_slots = 8;
	c->log = torture_log;
	c->max_tasks = 64;
}

/* Start it. The failure may prevent that once, and then says so. */
static rln_runtime *start(rln_config *c)
{
	rln_runtime *rt = NULL;
	int e;

	config_small(c);
	torture_line[0] = '\0';
	e = rln_start(c, &rt);
	if (ok("rln_start", e))
		return rt;
	if (strlen(torture_line) < 10)
		rln_sim_fail("rln_start: %s, but its log said \"%s\"", rln_strerror(e),
			     torture_line);
	rln_sim_note("told: %s", torture_line);
	e = rln_start(c, &rt);
	if (e)
		rln_sim_fail("rln_start: %s, again: %s", rln_strerror(e), torture_line);
	return rt;
}

static void stop(rln_runtime *rt)
{
	rln_shutdown(rt);
	RLN_SIM_CHECK(rln_wait(rt) >= 0);
}

/* A whole program with nothing but a main task. */
static void program(int (*main_task)(void *), void *arg, unsigned workers)
{
	rln_config c = { .main = main_task, .arg = arg, .workers = workers };

	config_small(&c);
	c.arg = arg;
	c.log = torture_log;
	torture_line[0] = '\0';
	int status = rln_main(&c);
	if (status == 2 && torture.hit && torture_line[0]) {
		torture_errors++;
		rln_sim_note("told: %s", torture_line);
		status = rln_main(&c);
	}
	/* the main task itself may be what could not be started */
	if (status && !torture.hit)
		rln_sim_fail("rln_main: %d: %s", status, torture_line);
}

/* ---- servers */
static void echo_task(rln_conn c, void *arg)
{
	rln_view v;

	(void)arg;
	while (rln_recv(c, &v) > 0)
		if (rln_send(c, v.data, v.len) < 0)
			return;
}

static int echo_request(rln_conn c, void *arg)
{
	rln_view v;
	ssize_t n = rln_recv(c, &v);

	(void)arg;
	if (n <= 0)
		return n < 0 ? (int)n : RLN_CLOSE;
	return rln_send(c, v.data, v.len) < 0 ? RLN_CLOSE : RLN_KEEP;
}

static size_t echo_data(rln_conn c, const uint8_t *p, size_t n, void *arg)
{
	int e = rln_send_nowait(c, p, n);

	(void)arg;
	if (e < 0 && e != -EAGAIN)
		(void)rln_reset(c);
	return e < 0 ? 0 : n;
}

static const rln_callbacks echo_callbacks = { .data = echo_data };

/* Hands each connection to the other worker, or serves it when that is not possible. */
static void echo_give(rln_conn c, void *arg)
{
	rln_view v;

	if (rln_recv(c, &v) <= 0 || rln_send(c, v.data, v.len) < 0)
		return;
	if (rln_flush(c) == 0 && rln_give(c, 1 - rln_worker(), echo_task, arg) == 0)
		return;
	echo_task(c, arg);
}

static void to_task_open(rln_conn c, void *arg)
{
	if (rln_to_task(c, echo_task, arg) < 0)
		(void)rln_reset(c);
}

static size_t to_task_data(rln_conn c, const uint8_t *p, size_t n, void *arg)
{
	(void)c, (void)p, (void)n, (void)arg;
	return 0;
}

static const rln_callbacks to_task_callbacks = { .open = to_task_open, .data = to_task_data };

/* ---- clients: each is a main task, arg the address */
static rln_conn dial(const char *addr) RLN_WAITS
{
	rln_conn c = { 0 };

	return ok("rln_connect", rln_connect(addr, NULL, &c)) ? c : (rln_conn){ 0 };
}

static bool ping(rln_conn c, const char *text) RLN_WAITS
{
	size_t n = strlen(text);
	rln_view v;

	if (!ok("rln_send", rln_send(c, text, n)) ||
	    !got("rln_recv_exact", rln_recv_exact(c, n, &v)))
		return false;
	if (memcmp(v.data, text, n) != 0)
		rln_sim_fail("sent %s, got %.*s", text, (int)v.len, v.data);
	return true;
}

/* Whatever failed before: what comes after works. */
static int survivor(void *arg)
{
	for (unsigned i = 0; i < 3; i++) {
		bool may_fail = !torture.hit; /* it may still come, in the middle of this */
		RLN_CONN(c);
		rln_view v;
		int e = rln_connect(arg, NULL, &c);

		if (e == 0 && rln_send(c, "alive", 5) == 5 && rln_recv_exact(c, 5, &v) == 5)
			continue;
		if (!may_fail || !torture.hit)
			rln_sim_fail("a later client is not served (%s)", rln_strerror(e));
	}
	return 0;
}

static int talker(void *arg)
{
	for (unsigned i = 0; i < 2; i++) {
		RLN_CONN(c);

		c = dial(arg);
		if (c.h && ping(c, "one") && ping(c, "two and three"))
			ok("rln_shutdown_send", rln_shutdown_send(c));
	}
	return 0;
}

static void free_piece(void *p)
{
	free(p);
}

static int send_large(void *arg)
{
	rln_conn c = *(rln_conn *)arg;
	uint8_t *own = malloc(LARGE), *given = malloc(LARGE);
	rln_piece pieces[2] = { { given, LARGE, free_piece, given }, { "end", 3, NULL, NULL } };

	memset(own, 'x', LARGE);
	memset(given, 'y', LARGE);
	if (!ok("rln_send", rln_send(c, own, LARGE)))
		free(given);
	else if (ok("rln_send_pieces", rln_send_pieces(c, pieces, 2)) &&
		 ok("rln_flush", rln_flush(c)))
		c.h = 0;
	if (c.h) /* the receiver waits for what will not come */
		(void)rln_reset(c);
	free(own);
	return 0;
}

/* Large sends in place and zero-copy, received into memory of ours. */
static int bulk(void *arg)
{
	uint8_t *in = malloc(2 * LARGE + 3);
	RLN_CONN(c);
	rln_task t;

	c = dial(arg);
	if (c.h && ok("rln_spawn", rln_spawn(send_large, &c, NULL, &t))) {
		ssize_t n = rln_recv_full(c, in, 2 * LARGE + 3);

		if (got("rln_recv_full", n == 2 * LARGE + 3 || n < 0 ? n : 0))
			RLN_SIM_CHECK(in[0] == 'x' && in[2 * LARGE - 1] == 'y' &&
				      in[2 * LARGE + 2] == 'd');
		else
			(void)rln_reset(c); /* the sender may wait for room */
		RLN_SIM_CHECK(rln_join(t, NULL) == 0);
	}
	free(in);
	return 0;
}

/* Each way to receive. */
static int receiver(void *arg)
{
	char into[8];
	rln_buf b;
	rln_view v;
	RLN_CONN(c);

	c = dial(arg);
	if (!c.h)
		return 0;
	if (ok("rln_send", rln_send(c, "line one\nline two\nrest of it", 27)) &&
	    got("rln_recv_until", rln_recv_until(c, "\n", 100, &v)) &&
	    got("rln_recv_into", rln_recv_into(c, into, 4)) &&
	    got("rln_peek", rln_peek(c, 1, &v)) && ok("rln_consume", rln_consume(c, 1)) &&
	    got("rln_recv_exact", rln_recv_exact(c, 3, &v)) &&
	    got("rln_recv_buf", rln_recv_buf(c, &b)))
		rln_buf_release(&b);
	return 0;
}

static void never(rln_conn c, void *arg)
{
	rln_view v;

	(void)arg;
	while (rln_recv(c, &v) > 0)
		;
}

/* Deadlines over calls that wait in each way. */
static int deadlines(void *arg)
{
	uint8_t *in = malloc(2 * LARGE);
	RLN_CONN(c);
	rln_view v;

	c = dial(arg);
	if (c.h) {
		ssize_t n = RLN_WITHIN(RLN_MS(5), rln_recv(c, &v));
		if (n != -ETIME)
			got("rln_recv", n);
		n = RLN_WITHIN(RLN_MS(5), rln_recv_full(c, in, 2 * LARGE));
		if (n != -ETIME)
			got("rln_recv_full", n);
		n = RLN_WITHIN(RLN_MS(5), (ssize_t)rln_sleep(RLN_SEC(1)));
		RLN_SIM_CHECK(n == -ETIME);
	}
	free(in);
	return 0;
}

/* ---- tasks */
static void tick(rln_timer *t, void *ud)
{
	unsigned *n = ud;

	if (--*n)
		rln_timer_start(t, RLN_MS(1), tick, n);
}

static int timers(void *arg)
{
	rln_timer t[3] = { { { 0 } } };
	unsigned left[3] = { 1, 2, 3 };

	(void)arg;
	for (unsigned i = 0; i < 3; i++)
		rln_timer_start(&t[i], RLN_MS(1), tick, &left[i]);
	RLN_SIM_CHECK(rln_sleep(RLN_MS(50)) == 0);
	RLN_SIM_CHECK(!left[0] && !left[1] && !left[2]);
	return 0;
}

static int count_up(void *arg)
{
	(*(unsigned *)arg)++;
	return rln_sleep(RLN_MS(1));
}

static int spawner(void *arg)
{
	unsigned started = 0, ran = 0;
	rln_task t[6];
	bool there[6];

	(void)arg;
	for (unsigned i = 0; i < 6; i++) {
		there[i] = ok("rln_spawn", rln_spawn(count_up, &ran, NULL, &t[i]));
		started += there[i];
	}
	for (unsigned i = 0; i < 6; i++)
		if (there[i])
			RLN_SIM_CHECK(rln_join(t[i], NULL) == 0);
	RLN_SIM_CHECK(ran == started);
	return 0;
}

static int grouper(void *arg)
{
	unsigned ran = 0;
	rln_group g;

	(void)arg;
	rln_group_begin(&g);
	for (unsigned i = 0; i < 6; i++)
		ok("rln_group_spawn", rln_group_spawn(&g, count_up, &ran));
	ok("rln_group_wait", rln_group_wait(&g));
	ok("rln_group_end", rln_group_end(&g));
	RLN_SIM_CHECK(ran == 6 || torture.hit);
	return 0;
}

static int producer(void *arg)
{
	rln_chan *ch = arg;

	for (int i = 0; i < 20; i++)
		RLN_SIM_CHECK(rln_chan_send(ch, &i) == 0);
	rln_chan_close(ch);
	return 0;
}

static int channels(void *arg)
{
	rln_chan ch;
	rln_task t;
	int v, next = 0;

	(void)arg;
	if (!ok("rln_chan_open", rln_chan_open(&ch, sizeof v, 3)))
		return 0;
	if (ok("rln_spawn", rln_spawn(producer, &ch, NULL, &t))) {
		rln_arm arms[] = { rln_on_recv(&ch, &v), rln_on_after(RLN_SEC(100)) };

		while (rln_select(arms, 2) == 0 && arms[0].res == 1)
			RLN_SIM_CHECK(v == next++);
		RLN_SIM_CHECK(next == 20);
		RLN_SIM_CHECK(rln_join(t, NULL) == 0);
	}
	rln_chan_free(&ch, NULL);
	return 0;
}

/* ---- between workers and threads */
struct across {
	unsigned asked, ran;
	rln_oneshot done;
};

static void posted(void *arg)
{
	((struct across *)arg)->ran++;
}

static int gone_on(void *arg)
{
	struct across *x = arg;

	x->ran++;
	return rln_oneshot_set(&x->done, 7);
}

static int crosser(void *arg)
{
	struct across *x = arg;
	intptr_t v = 0;
	int e;

	for (unsigned i = 0; i < 4; i++)
		x->asked += ok("rln_post", rln_post(NULL, i % 2, posted, x));
	/* a task that cannot be made over there is logged there, and never runs */
	if (ok("rln_go_on", rln_go_on(NULL, 1, gone_on, x, NULL))) {
		e = RLN_WITHIN(RLN_SEC(10), rln_oneshot_wait(&x->done, &v));
		RLN_SIM_CHECK(e == 0 || torture.hit);
		RLN_SIM_CHECK(e != 0 || v == 7);
		x->asked += e == 0;
	}
	RLN_SIM_CHECK(rln_sleep(RLN_MS(10)) == 0);
	RLN_SIM_CHECK(x->ran >= x->asked);
	return 0;
}

static int send_items(void *arg)
{
	rln_xchan *x = arg;

	for (int i = 0; i < 10; i++)
		while (rln_xchan_try_send(x, &i) == -EAGAIN)
			if (rln_sleep(RLN_MS(1)) < 0)
				break;
	rln_xchan_close(x);
	rln_xchan_unref(x);
	return 0;
}

static int receive_items(void *arg)
{
	rln_xchan *x;
	int v, next = 0;

	(void)arg;
	if (!ok("rln_xchan_new", rln_xchan_new(NULL, rln_worker(), sizeof v, 4, &x)))
		return 0;
	rln_xchan_ref(x);
	if (!ok("rln_go_on", rln_go_on(NULL, 1, send_items, x, NULL))) {
		rln_xchan_unref(x);
		rln_xchan_unref(x);
		return 0;
	}
	ssize_t n = 1;
	while (next < 10 && n == 1) {
		n = RLN_WITHIN(RLN_SEC(10), (ssize_t)rln_xchan_recv(x, &v));
		if (n == 1)
			RLN_SIM_CHECK(v == next++);
	}
	RLN_SIM_CHECK(next == 10 || torture.hit);
	if (next < 10) /* its task never ran: the reference is ours */
		rln_xchan_unref(x);
	rln_xchan_unref(x);
	return 0;
}

static int on_helper(void *arg)
{
	return ++*(int *)arg;
}

static int blocker(void *arg)
{
	int n = 0, *owned = calloc(1, sizeof *owned);
	int e = rln_blocking(on_helper, &n);

	(void)arg;
	if (ok("rln_blocking", e))
		RLN_SIM_CHECK(e == 1 && n == 1);
	if (!ok("rln_blocking_owned", rln_blocking_owned(on_helper, owned, free)))
		free(owned);
	return 0;
}

#endif
