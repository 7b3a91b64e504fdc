/* Connections without a listener: see connect.c and give.c. */
#ifndef RINGLINE_IO_CONNECT_H
#define RINGLINE_IO_CONNECT_H

#include "io/conn.h"

/* The limits of rln_listen_opts that are zero. */
void conn_mode_defaults(struct conn_mode *m);

/*
 * A connect under way: *out waits for its answer (ctl_kind CTL_CONNECT, then close_err). sa and its
 * memory must stay until then. 0 or -errno.
 */
int connect_begin(const struct sockaddr *sa, socklen_t n, const rln_connect_opts *o,
		  struct conn **out);
/* After conn_close() of one that may be under way: until the kernel has let go of its address. */
void connect_settle(struct conn *c, const char *call);
/* It is connected: the caller's from here on, or closed when every task has been cancelled
 * (-ESHUTDOWN). */
int connect_done(struct conn *c, rln_conn *out);

#define CONNECT_RACE_MAX 16
/* In place: the first address stays, then the families alternate while there are both. */
void addrs_interleave(struct sockaddr_storage *a, int n);
/* Connect to the first of addr[0, count) that answers; at most CONNECT_RACE_MAX of them. */
int connect_race(const struct sockaddr_storage *addr, int count, const rln_connect_opts *o,
		 rln_conn *out, const char *call);

/* A completion another ring sent to this one (user_data has a low tag bit). */
void give_arrived(void *io, const struct io_uring_cqe *cqe);
/* conn_step() of a connection that is being given away. */
void give_step(struct conn *c);

#endif
