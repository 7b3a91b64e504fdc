/*
 * Servers that answer when their client has said all: a half-close is where the answer begins. In
 * the three modes, and in callback mode handed to a task half way.
 */
#include "play.h"

struct answer {
	size_t have, cap, sent;
	uint8_t *bytes;
};

static void keep(struct answer *a, const uint8_t *p, size_t n)
{
	if (a->have + n > a->cap) {
		a->cap = 2 * a->cap + n;
		a->bytes = realloc(a->bytes, a->cap);
	}
	if (n)
		memcpy(a->bytes + a->have, p, n);
	a->have += n;
}

static void answer_free(struct answer *a)
{
	free(a->bytes);
	free(a);
}

/* ---- by a task, or a request that does not return before the end */
static ssize_t listen_on(rln_conn c, struct answer *a)
{
	rln_view v;
	ssize_t n;

	do {
		n = rln_recv(c, &v);
		check_received(c, n);
		if (n > 0)
			keep(a, v.data, v.len);
	} while (n > 0);
	return n;
}

static ssize_t answer_now(rln_conn c, struct answer *a)
{
	ssize_t n = 0;

	while (n >= 0 && a->sent < a->have) {
		size_t k = 1 + play_rand(a->have - a->sent);

		n = rig_send(&play.rig, c, a->bytes + a->sent, k);
		a->sent += n > 0 ? k : 0;
		if (n == -EPIPE && play.strict)
			world_violates(play.w, PROP_P10, "the end of input ended the output");
	}
	return n;
}

static void task_late(rln_conn c, void *arg)
{
	struct answer a = { 0 };
	struct answer *kept = rln_user(c);

	play.opened += !arg;
	if (kept) { /* a callback began */
		a = *kept;
		free(kept);
		rln_set_user(c, NULL);
	}
	if (listen_on(c, &a) == 0 && (!play_chance(3) || rln_sleep(RLN_MS(play_rand(10))) == 0) &&
	    answer_now(c, &a) >= 0 && play_chance(2) && rln_shutdown_send(c) == 0) {
		rln_view v;
		if (rln_recv(c, &v) > 0)
			world_violates(play.w, PROP_P3, "bytes after the end of the stream");
	}
	free(a.bytes);
}

static int request_late(rln_conn c, void *arg)
{
	struct answer a = { 0 };
	ssize_t n;

	(void)arg;
	n = listen_on(c, &a);
	n = n ? n : answer_now(c, &a);
	free(a.bytes);
	return n < 0 ? (int)n : RLN_CLOSE;
}

/* ---- by callbacks */
static void open_late(rln_conn c, void *arg)
{
	(void)arg;
	play.opened++;
	rln_set_user(c, calloc(1, sizeof(struct answer)));
}

static size_t data_late(rln_conn c, const uint8_t *p, size_t n, void *arg)
{
	struct answer *a = rln_user(c);

	(void)arg;
	if (play_chance(8) && rln_to_task(c, task_late, &play) == 0 && play_chance(2))
		return 0; /* all of it comes to the task */
	n = play_chance(3) ? 1 + play_rand(n) : n;
	keep(a, p, n);
	return n;
}

static void go_on_answering(rln_conn c)
{
	struct answer *a = rln_user(c);

	while (a->sent < a->have) {
		size_t k = 1 + play_rand(a->have - a->sent);
		int e = rln_send_nowait(c, a->bytes + a->sent, k);

		if (e == -EAGAIN)
			return;
		if (e < 0)
			break;
		a->sent += k;
	}
	(void)rln_close(c);
}

static void eof_late(rln_conn c, void *arg)
{
	(void)arg;
	check_received(c, 0);
	go_on_answering(c);
}

static void writable_late(rln_conn c, void *arg)
{
	(void)arg;
	go_on_answering(c);
}

static void late_closed(rln_conn c, int err, void *arg)
{
	struct answer *a = rln_user(c);

	(void)err;
	(void)arg;
	play.closed++;
	if (a)
		answer_free(a);
}

void late_listen(rln_listen_opts *l)
{
	static const rln_callbacks callbacks = {
		.open = open_late, .data = data_late, .eof = eof_late, .writable = writable_late
	};

	switch (play_rand(3)) {
	case 0:
		l->on_conn = task_late;
		break;
	case 1:
		l->on_request = request_late;
		return;
	default:
		l->cb = &callbacks;
	}
	l->on_close = late_closed;
}
