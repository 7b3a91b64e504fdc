/*
 * The I/O state of one worker: receive buffers, descriptor table, connections, listeners, and the
 * lists that say which have something to do. No list is proportional to max_conns (INV-33).
 */
#ifndef RINGLINE_IO_IO_H
#define RINGLINE_IO_IO_H

#include "base/ctx.h"
#include "base/list.h"
#include "io/chunk.h"
#include "io/process.h"
#include "io/tx.h"
#include "loop/loop.h"
#include "ring/bufring.h"
#include "ring/caps.h"
#include "ring/files.h"
#include "task/task.h"

#define CONN_PAGE 32	/* connection objects per page; pages are made when first needed */
#define IO_LISTENERS 64 /* of rln_listen(), at most */
#define RECV_GROUP 0	/* provided-buffer group of stream receives */

struct conn;
struct listener;

struct io_config {
	unsigned worker;
	unsigned auto_slots;	 /* accepted and handed-over connections */
	unsigned explicit_slots; /* connects, adopted descriptors */
	unsigned recv_bufs, recv_bufs_max, recv_buf_bytes;
	size_t buffer_budget, zc_threshold;
	int64_t drain_idle_ns;
	size_t send_chunk; /* copy up to this many bytes; larger borrowed pieces go out in place */
	unsigned iov_max;  /* iovecs per SQE, 1..RING_IOV_MAX */
	unsigned renew_after; /* sockets closed until receives are renewed, at least: renew.h */
	unsigned accepts;     /* single accepts of one listener; 0: LISTEN_SINGLES */
};

struct io_stats {
	uint64_t accepts, accept_errors, accept_paused, connects;
	uint64_t conns_open, conns_peak, conns_owned; /* owned: slots not free */
	uint64_t recv_parked, recv_fallback, recv_hot, recv_paused, recv_copied, recv_bytes;
	uint64_t recv_renewed;
	uint64_t send_bytes, send_zc, send_zc_copied, send_retries, send_stalls;
	uint64_t truncated_closes, lingers, resets, close_timeouts, idle_timeouts;
	uint64_t budget_over, handler_errors, misuse, starved, given, taken;
};

struct io {
	struct loop *loop;
	struct sched *sched;
	const struct caps *caps;
	struct io_config cfg;
	struct bufring bufs;
	struct chunk *lease; /* [bufs.capacity] */
	struct chunk_pool chunks;
	struct tx_pool tx;
	struct files files;
	struct conn **page;
	unsigned pages;
	unsigned auto_open; /* auto slots in use */
	struct list dirty;  /* connections conn_step() must look at */
	struct list parked; /* receives waiting for a buffer, FIFO */
	/* one was refused although the group looked filled from here: not asked again before this
	   fires, or something is published */
	struct timer parked_timer;
	uint16_t parked_tail; /* what was published when parked receives were last armed */
	struct list hot;      /* armed RECV_HOT receives, longest idle first */
	unsigned hot_armed;
	struct list over_budget; /* receives paused because of buffer_budget */
	struct list starving;	 /* connections waiting for a stack */
	struct list listeners;
	struct {
		struct listener *l;
		uint32_t generation;
	} by_handle[IO_LISTENERS]; /* those of rln_listen() */
	struct list released;	   /* tx entries whose release callback is due */
	size_t queued_bytes;	   /* input and output of all connections */
	unsigned zc_copied_run;	   /* zero-copy sends in a row that the kernel copied */
	bool zc_no_report;	   /* the kernel cannot tell whether it copied */
	struct procs procs;
	bool draining, cancelled;
	bool leased; /* after io_close(): an rln_buf is still held, its memory stays */
	int64_t drain_began_ns;
	unsigned drain_passes; /* turns until idle connections close */
	uint64_t closed_kept;  /* sockets closed since receives were last renewed */
	unsigned renew_page;
	bool renewing, renew_again;
	/*
	 * rln_give, set by rt/. ring_of: the ring fd of another worker of this runtime, or -errno.
	 * give_begin: the same, and if it succeeds that worker does not stop before give_end, which
	 * it calls itself when the connection has arrived, or the sender when it did not.
	 */
	int (*ring_of)(void *ctx, unsigned worker);
	int (*give_begin)(void *ctx, unsigned worker);
	void (*give_end)(void *ctx, unsigned worker);
	void *ring_of_ctx;
	struct io_stats stats;
};

int io_open(struct io *io, struct loop *loop, struct sched *sched, const struct caps *caps,
	    const struct io_config *cfg, struct diag *why);
/* Everything closed and no op out: frees all. */
void io_close(struct io *io);

static inline struct io *io_current(void)
{
	struct ctx *c = ctx_current();
	return c ? c->io : NULL;
}

/* The stages of the turn (loop hooks), and whether they have work that must not wait. */
void io_flush(struct io *io);	/* LOOP_FLUSH: step dirty connections, run due releases */
void io_publish(struct io *io); /* LOOP_PUBLISH: give buffers back, re-arm parked receives */
bool io_busy(const struct io *io);

/* More than a quarter of the pool is free: views may be lent in place. */
static inline bool io_pool_ample(const struct io *io)
{
	return io->bufs.free * 4 > io->bufs.filled;
}

/* A parked receive was refused again. */
void io_parked_refused(struct io *io);

/* Start of the drain: close idle connections, stop accepting. */
void io_drain(struct io *io);
/* End of the drain: reset what still flushes, lingers or owes notifications. */
void io_cancel_all(struct io *io);
/* Walk every connection object that is in use; fn may close it. Not for the turn. */
void io_each_conn(struct io *io, void (*fn)(struct conn *c, void *ctx), void *ctx);
void io_check(struct io *io);

#endif
