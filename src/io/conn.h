/*
 * One stream connection. Four state fields, each with one setter (conn.c):
 *
 *   arm    how the one receive operation stands
 *          IDLE -> ARMED -> IDLE (last CQE)      ARMED -> CANCELLING -> IDLE
 *          IDLE -> PARKED (ENOBUFS) -> IDLE (a buffer is free: io_publish)
 *   read   OPEN -> EOF | ERROR                   EOF is not close
 *   write  OPEN -> FIN_PENDING -> SHUT           any -> BROKEN (a send failed)
 *   life   OPENING -> OPEN -> CLOSING -> CLOSED  CLOSED: the slot is free, its generation went up
 *
 * conn_step() alone decides arm, pause, send, FIN and close; completions only record what happened
 * and mark the connection dirty. The object's slot is its direct descriptor's index; it is reused
 * when no operation is out and the descriptor is closed.
 */
#ifndef RINGLINE_IO_CONN_H
#define RINGLINE_IO_CONN_H

#include "io/io.h"
#include "ringline/conn.h"
#include "ringline/runtime.h"
#include <netinet/in.h>

enum conn_arm { ARM_IDLE, ARM_ARMED, ARM_CANCELLING, ARM_PARKED };
enum conn_read { READ_OPEN, READ_EOF, READ_ERROR };
enum conn_write { WRITE_OPEN, WRITE_FIN_PENDING, WRITE_SHUT, WRITE_BROKEN };
enum conn_life { LIFE_CLOSED, LIFE_OPENING, LIFE_OPEN, LIFE_CLOSING };

/* Where a closing connection stands; only conn_close.c reads it. */
enum close_phase {
	CLOSE_NONE,
	CLOSE_FLUSH,   /* queued bytes go out, bounded */
	CLOSE_RESET,   /* CONNECT to AF_UNSPEC: RST */
	CLOSE_FIN,     /* SHUTDOWN(WR) where the close alone would not send it */
	CLOSE_LINGER,  /* read and throw away until EOF, bounded */
	CLOSE_QUIESCE, /* cancel and await every op */
	CLOSE_OWED,    /* zero-copy notifications are outstanding */
	CLOSE_DIRECT   /* close op out */
};

/* What the one receive op does at the moment. */
enum recv_mode { RECV_MULTISHOT, RECV_SELECT_ONE, RECV_FALLBACK, RECV_HOT, RECV_INTO };
/* What the one control op does at the moment. */
enum ctl_kind { CTL_NONE, CTL_CONNECT, CTL_SHUTDOWN, CTL_RESET, CTL_CLOSE, CTL_PEER, CTL_HUP };

/* A reader that receives straight into its own memory; lives in its frame until done. */
struct recv_into {
	uint8_t *p;
	size_t n, got;
	bool done;   /* the op has ended */
	bool cancel; /* the reader wants it back */
	int err;
};

/* How a connection is served: from its listener, or of a connect. Shared, read-only. */
struct conn_mode {
	void (*on_conn)(rln_conn c, void *arg);
	int (*on_request)(rln_conn c, void *arg);
	const rln_callbacks *cb;
	void (*on_close)(rln_conn c, int err, void *arg);
	void *arg, *close_arg;	   /* they differ after rln_to_task */
	struct listener *listener; /* whose max_conns it counts against, or NULL */
	int64_t idle_ns, close_timeout_ns, close_max_ns, send_stall_ns;
	size_t recv_max, send_high, send_low;
};

struct conn {
	struct list dirty;  /* io.dirty */
	struct list parked; /* io.parked (arm PARKED), io.over_budget (paused for it) or io.hot */
	struct list starve; /* io.starving, or its listener's untaken */
	struct op recv, send, ctl;
	struct op_cancel cancel; /* of recv or send; a second one waits for the first one's CQE */
	struct timer timer;
	struct io *io;
	const struct conn_mode *mode;
	void *user;
	struct task *task;		       /* on_conn or request task */
	union {				       /* one at each end of its life, one in the middle */
		const struct sockaddr *target; /* CTL_CONNECT */
		struct give *give;	       /* giving: on its way to another worker */
		struct listener *reopen;       /* accepted again while the close CQE was out */
		struct give_msg *arrived;      /* handed over meanwhile (arrived_here) */
	};
	struct chunks rx;   /* received, not taken */
	struct chunk *lent; /* one reference for the view the reader holds */
	struct tx *tx_head, *tx_tail;
	size_t tx_bytes;
	size_t failed_sent;		       /* rln_sent() */
	struct chunk *fallback;		       /* RECV_FALLBACK, RECV_HOT: what it receives into */
	struct recv_into *into;		       /* RECV_INTO, and while reader_direct wants it */
	struct list reader, senders, flushers; /* wait queues; reader holds at most one */
	int64_t last_rx_ns, last_tx_ns;
	union {
		int64_t reader_since_ns; /* when the reader began to wait */
		int64_t close_began_ns;	 /* CLOSING */
	};
	int64_t asked_ns;      /* when the send in flight was last asked how much has gone out */
	uint32_t target_bytes; /* before it is open */
	uint32_t generation, slot;
	uint32_t inflight; /* bytes of the send SQE */
	uint32_t shown;	   /* unconsumed bytes the reader has seen (rln_fill), all modes */
	uint32_t lent_max; /* how much rln_consume may take */
	uint32_t want;	   /* the waiting reader is woken at this many bytes */
	uint32_t zc_owed;  /* notifications outstanding */
	union {
		struct sockaddr sa;
		struct sockaddr_in in;
		struct sockaddr_in6 in6;
		uint8_t raw[28];
	} peer;
	int16_t read_err, write_err;
	int16_t close_err;	/* before it is open: the result of its connect */
	uint16_t owed_writable; /* writable callbacks: one for every -EAGAIN of send_nowait */
	uint8_t peer_bytes;
	uint8_t arm : 2, read : 2, write : 2, life : 2, phase; /* the enums above */
	uint8_t recv_mode, ctl_kind;
	uint8_t full_run; /* receives in a row that filled (hot: did not fill) a buffer */
	uint8_t family;	  /* AF_INET, AF_INET6, AF_UNIX, 0: not a socket */
	bool is_dirty : 1;
	bool reading : 1; /* a reader waits, or was woken and has not run yet */
	bool keep_open : 1;
	bool reset_wanted : 1, owed_reset : 1;
	bool eof_held : 1;     /* a receive of 0 that may be a reset: CTL_HUP decides */
	bool sender_woken : 1; /* the first of senders was woken and has not run yet */
	bool cancel_send : 1;  /* the unit at the head wants its SQE back */
	bool zc_live : 1;      /* a zero-copy send's first CQE is outstanding */
	bool retry_send : 1;   /* a transient error: the timer tries again */
	bool send_cancelled : 1, ctl_cancelled : 1; /* a cancel of it went out */
	bool hot_waits : 1, hot_waited : 1;	    /* its receive for its send: see hot_arm() */
	bool hot : 1;	       /* moves bulk: single receives into large reused memory */
	bool retry_cancel : 1; /* a cancel missed its op: the timer tries again */
	bool data_blocked : 1; /* callback declined with an -EAGAIN outstanding */
	bool in_callback : 1;  /* close, on_close: rln_user and rln_peer still answer */
	bool opened : 1;       /* open ran: close must */
	bool told_eof : 1, told_close : 1;
	bool reader_direct : 1;	    /* RECV_INTO wanted or under way */
	bool bulk : 1;		    /* the last receive was RECV_INTO: none until a reader waits */
	bool want_fallback : 1;	    /* ENOBUFS with a partial message: use memory of its own */
	bool paused : 1;	    /* as counted: see conn_paused() */
	bool heard : 1;		    /* something was received */
	bool arriving : 1;	    /* input came while closing */
	bool serving : 1;	    /* a request handler runs or is about to */
	bool starved : 1;	    /* waits for a stack */
	bool took : 1;		    /* bytes were taken since the request handler began */
	bool giving : 1;	    /* being handed to another worker */
	bool arrived_here : 1;	    /* its slot was taken by a hand-over before its close CQE */
	bool shut_before_close : 1; /* SHUTDOWN(RDWR) went out: see caps.close_sends_fin */
	bool untaken : 1;	    /* waits for rln_accept() */
	bool own_mode : 1;	    /* mode is this connection's: connect, adopt, rln_to_task */
};
/* What an idle connection costs in user memory, without a task. */
_Static_assert(sizeof(struct conn) <= 512, "API: at most 512 bytes per idle connection");

static inline bool conn_explicit_slot(const struct conn *c)
{
	return c->slot >= c->io->cfg.auto_slots;
}

/* ---- handles and table (conn.c) */
static inline rln_conn conn_handle(const struct conn *c)
{
	return (rln_conn){ (uint64_t)c->io->cfg.worker << 56 | (uint64_t)c->slot << 32 |
			   c->generation };
}
/* The open connection h names on this worker, or -EPERM, -EXDEV, -EBADF. */
int conn_lookup(rln_conn h, struct conn **out, const char *call);
/* The same for the library's own second look: no complaint. NULL: closed meanwhile. */
struct conn *conn_find(rln_conn h);
int conn_off_worker(const char *call); /* -EPERM, and says so once */
/* The object of slot, made when needed; NULL: out of memory. */
struct conn *conn_at(struct io *io, unsigned slot);
void conn_reset_fields(struct conn *c);
/* A descriptor stands in slot: life OPENING or OPEN. */
void conn_open(struct conn *c, const struct conn_mode *mode, int family);
/* Start serving: open callback, on_conn task. Once, when the peer's address is known. */
void conn_serve(struct conn *c);
void conn_mark(struct conn *c); /* conn_step() will look at it in this turn's flush */
void conn_step(struct conn *c);
void conn_set_arm(struct conn *c, enum conn_arm to);
void conn_set_read(struct conn *c, enum conn_read to, int err);
void conn_set_write(struct conn *c, enum conn_write to, int err);
void conn_set_life(struct conn *c, enum conn_life to);
void conn_check(const struct conn *c);
/* Ask for the end of the send or control op in flight, once; a cancel that misses is repeated. */
void conn_cancel_send(struct conn *c);
void conn_cancel_ctl(struct conn *c);
/* The cancel that missed, again. */
void conn_cancel_again(struct conn *c);
/* Run the control op. It must be idle. */
void conn_ctl(struct conn *c, enum ctl_kind kind);
static inline bool conn_ctl_busy(const struct conn *c)
{
	return c->ctl.state != OP_IDLE;
}

/* A connection that was handed over stands in slot, whose last one is gone. Takes g. (give.c) */
void give_open(struct io *io, unsigned slot, struct give_msg *g);

/* ---- receive (conn_recv.c) */
extern const struct op_class conn_recv_class;
void conn_recv_step(struct conn *c); /* arm, pause, cancel */
void conn_recv_unpark(struct conn *c);
void conn_deliver(struct conn *c);	 /* tell whoever serves the connection about its input */
void conn_recv_drop(struct conn *c);	 /* close: forget all input */
void conn_lent_release(struct conn *c);	 /* the reader's view ends */
void conn_reader_begins(struct conn *c); /* a reader stands in c->reader, want is set */
/* n bytes left the queue: accounting, and the receive may go on. */
void conn_recv_taken(struct conn *c, size_t n);
void conn_read_end(struct conn *c, int err);	 /* 0: EOF */
void conn_recv_hup(struct conn *c, int revents); /* the poll that tells EOF from reset */
/*
 * In a drain: taken from the backlog since it began, and not heard yet. Its request may be in the
 * socket: it is not idle before drain_idle is over.
 */
static inline bool conn_fresh(const struct conn *c)
{
	return !c->heard && c->last_rx_ns >= c->io->drain_began_ns;
}
bool conn_paused(const struct conn *c);
void conn_recv_disarm(struct conn *c);	/* ARMED -> CANCELLING, if the cancel op is free */
void conn_recv_discard(struct conn *c); /* lingering: receive, to throw away */

/* ---- send (conn_send.c, conn_tx.c) */
extern const struct op_class conn_send_class;
void conn_send_step(struct conn *c);
void conn_send_fail(struct conn *c, int err); /* drop the queue, tell everybody */
void conn_send_progress(struct conn *c);      /* wake senders, flushers, writable */
/* The slot of a waiter in flushers that is woken when there is room to send. */
#define CONN_WRITABLE ((void *)&conn_send_class)
/* Nothing queued and nothing in flight. */
static inline bool conn_send_idle(const struct conn *c)
{
	return !c->tx_head && c->send.state == OP_IDLE && !c->zc_live;
}
/* Append one entry. Takes t. */
void conn_tx_push(struct conn *c, struct tx *t);
/* Take the entries of a unit that has not begun out of the queue. */
void conn_tx_remove(struct conn *c, struct send_unit *u);
/*
 * Undo what one call has queued behind mark (NULL: an empty queue), which had mark_len bytes then.
 * None of it has been given to the kernel: the caller has not waited since.
 */
void conn_tx_rollback(struct conn *c, struct tx *mark, size_t mark_len);
/* The unit's caller no longer wants it: end its SQE if it is in flight. */
void conn_send_cancel(struct conn *c);
/* A guarded entry has nothing to send and is owed nothing: its callback is due. */
void tx_release_due(struct io *io, struct tx *t);
void io_run_releases(struct io *io);

/* ---- modes (conn_serve.c) */
void serve_open(struct conn *c);
void serve_data(struct conn *c);
void serve_writable(struct conn *c);
void serve_closed(struct conn *c);
void serve_retry_starved(struct io *io);
void serve_watch_starved(struct io *io); /* the first of them has changed */
bool serve_idle(const struct conn *c);	 /* request and callback modes: nothing is going on */

/* ---- close and time (conn_close.c, conn_timer.c) */
void conn_close(struct conn *c, int err); /* graceful */
void conn_abort(struct conn *c, int err); /* reset */
void conn_close_step(struct conn *c);
void conn_timer_fire(struct timer *t);
void conn_timer_update(struct conn *c);
void conn_closed(struct conn *c, int res); /* the close op ended: the slot is free */

#endif
