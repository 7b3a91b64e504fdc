/*
 * The three execution modes over one connection object: a task for its whole life, a task while
 * there is a request, or callbacks. User code is entered from here and from tasks only, always from
 * the loop.
 */
#include "io/conn.h"

#include "base/assert.h"
#include "base/log.h"
#include "base/mark.h"
#include "base/sys.h"
#include "io/listen.h"
#include <errno.h>
#include <string.h>

/* Copied to the new task's stack. The mode outlives the connection unless it is its own. */
struct serve_arg {
	rln_conn h;
	void (*on_conn)(rln_conn c, void *arg);
	int (*on_request)(rln_conn c, void *arg);
	void *arg;
};

static int conn_main(void *p)
{
	const struct serve_arg *a = p;

	a->on_conn(a->h, a->arg);
	struct conn *c = conn_find(a->h);
	if (!c)
		return 0;
	c->task = NULL;
	conn_lent_release(c);
	if (!c->keep_open)
		conn_close(c, c->read == READ_ERROR ? c->read_err : 0);
	else if (c->io->cancelled)
		conn_abort(c, -ESHUTDOWN); /* whoever was to close it has been cancelled, too */
	return 0;
}

/* No handler runs and none is due: EOF and errors end a request connection here. */
static void request_idle(struct conn *c)
{
	if (c->rx.bytes >= c->mode->recv_max)
		conn_close(c, -EMSGSIZE); /* full and declined: it could never go on */
	else if (c->read == READ_ERROR)
		conn_close(c, c->read_err);
	else if (c->read == READ_EOF)
		conn_close(c, c->rx.bytes ? -ENODATA : 0);
	else if (c->io->draining && (c->io->cancelled || (!c->rx.bytes && !conn_fresh(c))))
		conn_close(c, 0);
	else
		conn_mark(c);
}

static int request_main(void *p)
{
	const struct serve_arg *a = p;

	while (true) {
		struct conn *c = conn_find(a->h);
		if (!c)
			return 0;
		c->shown = 0;
		c->took = false;
		uint32_t began = (uint32_t)c->rx.bytes;
		int r = a->on_request(a->h, a->arg);
		c = conn_find(a->h);
		if (!c)
			return 0;
		conn_lent_release(c);
		if (r != RLN_KEEP) {
			c->io->stats.handler_errors += r < 0;
			c->task = NULL;
			conn_close(c, r < 0 ? r : 0);
			return 0;
		}
		/* what came meanwhile it has not seen, unless it was shown it */
		uint32_t seen = c->took ? 0 : c->shown > began ? c->shown : began;
		if (c->rx.bytes > seen && !rln_cancelled()) {
			RLN_MARK("request-served-again-at-once");
			continue;
		}
		c->shown = seen;
		c->serving = false;
		c->task = NULL;
		request_idle(c);
		return 0;
	}
}

/*
 * Each turn tries again. It may have been memory that lacked, and no task may be there whose end
 * would make the worker turn: so the first of them has its timer.
 */
void serve_watch_starved(struct io *io)
{
	struct list *n = list_first(&io->starving);

	if (n)
		conn_timer_update(container_of(n, struct conn, starve));
}

static void starve(struct conn *c)
{
	if (c->starved)
		return;
	RLN_MARK("handler-without-a-stack");
	c->starved = true;
	c->io->stats.starved++;
	list_push_back(&c->io->starving, &c->starve);
	serve_watch_starved(c->io);
	listen_room_changed(c->io); /* accepting waits until a stack is free */
}

/* A task that was cancelled before it ran has not closed its connection. */
static void task_ended(struct task *t)
{
	struct conn *c = t->conn;

	if (c->task != t)
		return;
	c->task = NULL;
	if (c->life == LIFE_OPEN) {
		RLN_MARK("handler-cancelled-before-it-ran");
		conn_abort(c, -ECANCELED);
	}
}

static bool start_task(struct conn *c)
{
	struct serve_arg a = { conn_handle(c), c->mode->on_conn, c->mode->on_request,
			       c->mode->arg };
	struct task_spec spec = {
		.fn = c->mode->on_conn ? conn_main : request_main,
		.name = c->mode->on_conn ? "on_conn" : "on_request",
		.file = "listener",
		.copy = &a,
		.copy_bytes = sizeof a,
	};
	if (task_create(c->io->sched, &spec, &c->task) < 0) {
		c->task = NULL;
		starve(c);
		return false;
	}
	c->task->conn = c;
	c->task->ended = task_ended;
	return true;
}

static void request_data(struct conn *c)
{
	if (c->serving)
		return;
	if (c->rx.bytes > c->shown) {
		c->serving = true;
		start_task(c);
		return;
	}
	request_idle(c);
}

void serve_retry_starved(struct io *io)
{
	struct list *n;

	while ((n = list_first(&io->starving))) {
		struct conn *c = container_of(n, struct conn, starve);
		if (!start_task(c)) { /* it stays the first: who waits longest is served next */
			serve_watch_starved(io);
			return;
		}
		list_remove(n);
		c->starved = false;
	}
	listen_room_changed(io);
}

/* ---- callbacks */

/* One data call. Returns false when there is nothing more to tell now. */
static bool call_data(struct conn *c)
{
	/* what was declined comes again only with new bytes, and then in one run */
	if (c->shown && chunks_gather(c->io, &c->rx, c->rx.bytes) < 0) {
		RLN_MARK("callback-gather-without-memory");
		conn_close(c, -ENOMEM);
		return false;
	}
	struct chunk *k = chunk_ref(c->rx.head);
	size_t n = chunk_bytes(k), used;

	c->shown = (uint32_t)n;
	used = c->mode->cb->data
		       ? c->mode->cb->data(conn_handle(c), k->data + k->off, n, c->mode->arg)
		       : n;
	if (c->life == LIFE_OPEN && (used > n || used > c->rx.bytes)) {
		log_line(RLN_LOG_ERROR,
			 "the data callback says it consumed %zu of %zu bytes; closing", used, n);
		conn_close(c, -EINVAL);
	}
	if (c->life == LIFE_OPEN && used) {
		chunks_read(&c->rx, NULL, used);
		conn_recv_taken(c, used);
	}
	chunk_unref(k);
	if (c->life != LIFE_OPEN || !c->mode->cb)
		return false;
	if (used)
		c->shown = 0; /* at once again while it consumes */
	return c->rx.bytes > c->shown;
}

static void callback_data(struct conn *c)
{
	while (!c->giving && c->rx.bytes > c->shown && call_data(c))
		;
	if (c->life != LIFE_OPEN || !c->mode->cb || c->giving)
		return;
	bool was_blocked = c->data_blocked;
	c->data_blocked = c->rx.bytes && c->owed_writable;
	if (was_blocked && !c->data_blocked)
		conn_mark(c); /* INV-83: it waits for more now, which its receive may not know */
	if (c->data_blocked || (c->owed_writable && c->read == READ_EOF))
		return; /* it will be called again after writable */
	if (c->rx.bytes >= c->mode->recv_max) {
		conn_close(c, -EMSGSIZE);
	} else if (c->read == READ_ERROR) {
		conn_close(c, c->read_err);
	} else if (c->read == READ_EOF && !c->told_eof) {
		c->told_eof = true;
		if (c->mode->cb->eof)
			c->mode->cb->eof(conn_handle(c), c->mode->arg);
		else
			conn_close(c, 0);
	}
}

void serve_writable(struct conn *c)
{
	/* also when the write side broke: the next send says so */
	if (!c->owed_writable || c->tx_bytes > c->mode->send_low)
		return;
	if (!c->mode->cb) {
		c->owed_writable = 0;
		return;
	}
	while (c->owed_writable && c->tx_bytes <= c->mode->send_low) {
		c->owed_writable--;
		if (c->mode->cb->writable)
			c->mode->cb->writable(conn_handle(c), c->mode->arg);
		if (c->life != LIFE_OPEN || !c->mode->cb)
			return;
	}
	if (c->owed_writable)
		return;
	c->shown = 0; /* the rest comes again */
	callback_data(c);
}

/* ---- events */
void serve_open(struct conn *c)
{
	if (c->mode->cb && c->mode->cb->open)
		c->mode->cb->open(conn_handle(c), c->mode->arg);
	else if (c->mode->on_conn)
		start_task(c);
	else if (c->mode->listener && c->mode->listener->queues)
		listener_queue(c->mode->listener, c);
}

void serve_data(struct conn *c)
{
	if (c->life != LIFE_OPEN || c->giving)
		return;
	if (c->mode->cb)
		callback_data(c);
	else if (c->mode->on_request)
		request_data(c);
}

bool serve_idle(const struct conn *c)
{
	if (c->giving)
		return false;
	if (c->mode->cb)
		return !c->data_blocked && !c->owed_writable;
	return c->mode->on_request && !c->serving;
}

/* INV-85 */
void serve_closed(struct conn *c)
{
	rln_conn h = conn_handle(c);

	c->task = NULL;
	if (c->opened)
		c->io->stats.conns_open--;
	if (!c->opened || c->told_close)
		return;
	c->told_close = true;
	c->in_callback = true;
	if (c->mode->cb && c->mode->cb->close)
		c->mode->cb->close(h, c->close_err, c->mode->arg);
	if (c->mode->on_close)
		c->mode->on_close(h, c->close_err, c->mode->close_arg);
	c->in_callback = false;
}

/* ---- public */

/* The connection for what still works inside close and on_close. */
static struct conn *for_inspection(rln_conn h, const char *call, int *err)
{
	struct io *io = io_current();
	unsigned slot = (unsigned)(h.h >> 32) & 0xffffff;
	struct conn *c = NULL;

	*err = -EBADF;
	if (io && slot / CONN_PAGE < io->pages && io->page[slot / CONN_PAGE])
		c = conn_at(io, slot);
	if (!c || !c->in_callback || c->generation != (uint32_t)h.h) {
		*err = conn_lookup(h, &c, call);
		return *err ? NULL : c;
	}
	*err = 0;
	return c;
}

void rln_set_user(rln_conn h, void *p)
{
	struct conn *c;
	if (!conn_lookup(h, &c, "rln_set_user"))
		c->user = p;
}

void *rln_user(rln_conn h)
{
	int e;
	struct conn *c = for_inspection(h, "rln_user", &e);
	return c ? c->user : NULL;
}

int rln_peer(rln_conn h, struct sockaddr_storage *out)
{
	int e;
	struct conn *c = for_inspection(h, "rln_peer", &e);

	if (!c)
		return e;
	if (!out)
		return -EINVAL;
	memset(out, 0, sizeof *out);
	if (c->family == AF_UNIX)
		out->ss_family = AF_UNIX;
	else if (!c->peer_bytes)
		return -ENOTCONN;
	else
		memcpy(out, c->peer.raw, c->peer_bytes);
	return 0;
}

int rln_keep_open(rln_conn h)
{
	struct conn *c;
	int e = conn_lookup(h, &c, "rln_keep_open");

	if (!e)
		c->keep_open = true;
	return e;
}

int rln_to_task(rln_conn h, void (*on_conn)(rln_conn c, void *arg), void *arg)
{
	struct conn *c;
	int e = conn_lookup(h, &c, "rln_to_task");

	if (e)
		return e;
	if (!on_conn || !c->mode->cb)
		return -EINVAL;
	struct conn_mode *m = sys_alloc(sizeof *m);
	if (!m)
		return -ENOMEM;
	*m = *c->mode;
	m->cb = NULL;
	m->on_conn = on_conn;
	m->arg = arg;
	m->close_arg = c->mode->close_arg;
	const struct conn_mode *old = c->mode;
	c->mode = m;
	if (!start_task(c)) {
		list_remove(&c->starve);
		c->starved = false;
		c->mode = old;
		sys_free(m);
		return -EAGAIN;
	}
	c->own_mode = true;
	c->owed_writable = 0;
	c->data_blocked = false;
	c->shown = 0;
	conn_mark(c);
	return 0;
}
