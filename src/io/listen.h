/*
 * Accepting on one worker. A multishot accept takes a client from the backlog whether or not there
 * is a slot for it (and kills it with -ENFILE when there is none), so it is used only while there
 * is ample room: twice the backlog. Otherwise at most as many single accepts are armed as there are
 * free slots; the backlog waits and nobody is reset. Unix and inherited sockets are one socket for
 * all workers and are always served by single accepts.
 */
#ifndef RINGLINE_IO_LISTEN_H
#define RINGLINE_IO_LISTEN_H

#include "io/addr.h"
#include "io/conn.h"
#include "ringline/listen.h"

#define LISTEN_SINGLES 16 /* single accepts armed at most */

struct listener;

struct listen_single {
	struct op_io io;
	struct op_cancel cancel;
	bool asked; /* to end: not again before it has, or the timer says so */
	struct listener *listener;
	struct sockaddr_storage peer; /* KERNEL(6.1): no SO_PEERNAME command */
};

struct listener {
	struct list node; /* io.listeners */
	struct io *io;
	struct conn_mode mode;
	int fd, family;
	bool shared; /* one socket for all workers */
	unsigned backlog, max_conns, conns;
	unsigned singles_live;
	bool paused;	  /* for want of room */
	bool backing_off; /* resource error: the timer tries again */
	bool multi_asked; /* as listen_single.asked */
	bool closing, ops_done;
	bool queues;	       /* no handler: clients wait in untaken for rln_accept() */
	unsigned drain_passes; /* turns without a new client until it may close */
	unsigned reopens;      /* clients in slots whose close completion is still out */
	unsigned untaken_count;
	struct list untaken;		  /* by conn.starve */
	struct list waiters;		  /* rln_accept(); slot: where the handle goes */
	uint64_t handle;		  /* 0: of the configuration */
	void (*free)(struct listener *l); /* when nothing refers to it any more; may be NULL */
	struct timer backoff;
	struct op_io multi;
	struct op_cancel multi_cancel;
	struct listen_single single[LISTEN_SINGLES];
};

struct listen_socket_opts {
	int backlog, sndbuf, rcvbuf;
	bool no_nodelay;
	int64_t keepalive_idle_ns;
};

/*
 * Make a listening socket at addr (its bound form in *bound). reuseport: one of several on the same
 * port. 0 and *fd, or -errno with a line.
 */
int listen_socket_open(const struct addr *addr, const struct listen_socket_opts *o, bool reuseport,
		       struct addr *bound, int *fd, struct diag *why);
/*
 * "Port in use" must be found although SO_REUSEPORT lets a second process bind in silence: bind
 * once without it. 0 or -errno with a line.
 */
int listen_probe(const struct addr *addr, struct diag *why);

/* Takes fd. l is the caller's, at a fixed address until listen_gone(). */
void listen_open(struct listener *l, struct io *io, int fd, int family, bool shared,
		 unsigned backlog, unsigned max_conns, const struct conn_mode *mode);
/* Arm or disarm accepts by the room there is. */
void listen_step(struct listener *l);
/* Begin to close: cancels, awaits, closes the socket. */
void listen_close(struct listener *l);
static inline bool listen_gone(const struct listener *l)
{
	return l->ops_done;
}
/* Every turn of a drain: closes once nothing new came for a turn. */
void listen_drain_step(struct listener *l);

/* ---- accept.c: listeners of rln_listen() */
/* Give l a handle. 0, or -EMFILE. */
int listener_register(struct listener *l);
/* The listener h names on this worker. 0, -EPERM, -EXDEV, -EBADF, -ESHUTDOWN (drain). */
int listener_lookup(rln_listener h, struct listener **out, const char *call);
/* c was accepted by a listener without a handler. */
void listener_queue(struct listener *l, struct conn *c);
/* c is closed, or taken. */
void listener_unqueue(struct conn *c);
/* l closes: nobody will take what is queued, nobody needs to wait. */
void listener_queue_close(struct listener *l);
/* All its operations have ended, and it refers to no connection: free it, if that is wanted. */
void listener_unused(struct listener *l);

/* A client stands in slot. peer: its address, or NULL to be asked for. */
void listen_accepted(struct listener *l, unsigned slot, const void *peer, socklen_t peer_bytes);
void listen_peer_known(struct conn *c, int res);
void listen_conn_gone(struct listener *l);
/* Slots or stacks became free or scarce: every listener looks again. */
void listen_room_changed(struct io *io);

#endif
