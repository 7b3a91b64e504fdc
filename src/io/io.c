/*
 * The I/O state of a worker: set-up, the two stages of the turn it owns, drain and teardown.
 */
#include "io/io.h"

#include "base/assert.h"
#include "base/sys.h"
#include "io/conn.h"
#include "io/connect.h"
#include "io/listen.h"
#include "io/renew.h"
#include <errno.h>
#include <string.h>

/* ---- receives without a buffer */
#define PARKED_RETRY_NS 1000000

static void parked_fire(struct timer *t)
{
	(void)t; /* that it is not armed any more is what may_unpark() looks at */
}

/*
 * Armed because a buffer was free by our count, and refused: the completions that took the last
 * ones are on their way, and what they bring home is published; or a request holds one for a
 * moment. In neither case it helps to ask at once.
 */
void io_parked_refused(struct io *io)
{
	if (timer_armed(&io->parked_timer) || io->parked_tail != bufring_tail(&io->bufs))
		return;
	timer_arm(&io->loop->wheel, &io->parked_timer, io->loop->now_ns + PARKED_RETRY_NS);
}

/* INV-93 */
static bool may_unpark(const struct io *io)
{
	if (list_empty(&io->parked) || !io->bufs.free)
		return false;
	return !timer_armed(&io->parked_timer) || io->bufs.staged ||
	       io->parked_tail != bufring_tail(&io->bufs);
}

int io_open(struct io *io, struct loop *loop, struct sched *sched, const struct caps *caps,
	    const struct io_config *cfg, struct diag *why)
{
	unsigned slots = cfg->auto_slots + cfg->explicit_slots;
	int e;

	memset(io, 0, sizeof *io);
	io->loop = loop;
	io->sched = sched;
	io->caps = caps;
	io->cfg = *cfg;
	procs_init(&io->procs);
	list_init(&io->dirty);
	list_init(&io->parked);
	timer_init(&io->parked_timer, parked_fire);
	list_init(&io->hot);
	list_init(&io->over_budget);
	list_init(&io->starving);
	list_init(&io->listeners);
	list_init(&io->released);
	io->pages = (slots + CONN_PAGE - 1) / CONN_PAGE;
	io->page = sys_zalloc(io->pages * sizeof(*io->page));
	io->lease = sys_zalloc(cfg->recv_bufs_max * sizeof *io->lease);
	if (!io->page || !io->lease) {
		e = diag_set(why, -ENOMEM, "no memory for %u connection slots", slots);
		goto fail;
	}
	e = files_open(&io->files, &loop->ring, cfg->auto_slots, cfg->explicit_slots, why);
	if (e)
		goto fail;
	e = bufring_open(&io->bufs, &loop->ring, RECV_GROUP, cfg->recv_bufs_max, cfg->recv_bufs,
			 cfg->recv_buf_bytes, why);
	if (e)
		goto fail_files;
	loop->ops.foreign = give_arrived;
	loop->ops.foreign_ctx = io;
	return 0;

fail_files:
	files_close(&io->files);
fail:
	sys_free(io->lease);
	sys_free(io->page);
	return e;
}

void io_close(struct io *io)
{
	io_run_releases(io);
	RLN_ASSERT(io->stats.conns_owned == 0 && list_empty(&io->listeners)); /* INV-11 */
	io->leased = io->bufs.free != io->bufs.filled || io->chunks.live;

	timer_cancel(&io->loop->wheel, &io->parked_timer);
	procs_close(&io->procs);
	tx_pool_free(io);
	files_close(&io->files);
	for (unsigned i = 0; i < io->pages; i++)
		sys_free(io->page[i]);
	sys_free(io->page);
	if (io->leased) /* an rln_buf is still held: its memory must not go from under it */
		return;
	chunk_pool_free(io);
	bufring_close(&io->bufs);
	sys_free(io->lease);
}

static void drain_conn(struct conn *c, void *ctx)
{
	(void)ctx;
	if (c->life != LIFE_OPEN)
		return;
	if (serve_idle(c) && !c->rx.bytes && !conn_fresh(c))
		conn_close(c, 0);
	else
		conn_timer_update(c);
}

static void drain_step(struct io *io)
{
	list_for_each_safe (n, t, &io->listeners)
		listen_drain_step(container_of(n, struct listener, node));
	/* two turns later: what had reached the socket by then has been received */
	if (io->drain_passes && --io->drain_passes == 0)
		io_each_conn(io, drain_conn, NULL);
}

void io_flush(struct io *io)
{
	struct list todo, *n;

	if (RLN_UNLIKELY(!list_empty(&io->released)))
		io_run_releases(io);
	if (RLN_UNLIKELY(!list_empty(&io->starving)))
		serve_retry_starved(io);
	if (RLN_UNLIKELY(io->draining))
		drain_step(io);
	if (RLN_UNLIKELY(io->renewing))
		renew_step(io);
	list_init(&todo);
	list_splice_back(&todo, &io->dirty);
	while ((n = list_pop_front(&todo))) {
		struct conn *c = container_of(n, struct conn, dirty);
		c->is_dirty = false;
		conn_step(c);
	}
}

static void unpark(struct io *io)
{
	unsigned n = io->bufs.free;

	io->parked_tail = bufring_tail(&io->bufs);
	timer_cancel(&io->loop->wheel, &io->parked_timer);
	while (n-- && !list_empty(&io->parked)) {
		struct conn *c = container_of(io->parked.next, struct conn, parked);
		conn_recv_unpark(c);
		conn_recv_step(c);
	}
}

void io_publish(struct io *io)
{
	bufring_publish(&io->bufs);
	if (RLN_UNLIKELY(may_unpark(io)))
		unpark(io);
	if (RLN_LIKELY(list_empty(&io->over_budget)))
		return;
	if (io->queued_bytes > io->cfg.buffer_budget - io->cfg.buffer_budget / 8)
		return;
	struct list *n;
	while ((n = list_pop_front(&io->over_budget)))
		conn_mark(container_of(n, struct conn, parked));
}

bool io_busy(const struct io *io)
{
	if (!list_empty(&io->dirty) || !list_empty(&io->released))
		return true;
	if (may_unpark(io))
		return true;
	if (io->drain_passes || io->renewing)
		return true;
	return io->draining && !list_empty(&io->listeners) &&
	       !container_of(io->listeners.next, const struct listener, node)->closing;
}

void io_each_conn(struct io *io, void (*fn)(struct conn *c, void *ctx), void *ctx)
{
	for (unsigned p = 0; p < io->pages; p++)
		for (unsigned i = 0; io->page[p] && i < CONN_PAGE; i++)
			if (io->page[p][i].life != LIFE_CLOSED)
				fn(&io->page[p][i], ctx);
}

void io_drain(struct io *io)
{
	io->draining = true;
	io->drain_began_ns = io->loop->now_ns;
	list_for_each (n, &io->listeners)
		container_of(n, struct listener, node)->drain_passes = 2;
	io->drain_passes = 2;
}

static void cancel_conn(struct conn *c, void *ctx)
{
	(void)ctx;
	if (c->giving)
		return; /* it ends by its message's completion */
	if (c->life == LIFE_CLOSING || c->zc_owed)
		conn_abort(c, -ESHUTDOWN);
	else if (c->life == LIFE_OPEN && !c->task)
		conn_abort(c, -ESHUTDOWN);
}

void io_cancel_all(struct io *io)
{
	io->cancelled = true;
	list_for_each_safe (n, t, &io->listeners)
		listen_close(container_of(n, struct listener, node));
	io_each_conn(io, cancel_conn, NULL);
}

static void check_conn(struct conn *c, void *ctx)
{
	size_t *sum = ctx;
	conn_check(c);
	*sum += c->rx.bytes + c->tx_bytes;
}

void io_check(struct io *io)
{
	size_t queued = 0;

	bufring_check(&io->bufs);
	io_each_conn(io, check_conn, &queued);
	RLN_ASSERT(queued == io->queued_bytes); /* INV-23 */
}
