/* Connections without a listener: see connect.c and give.c. */
#ifndef RINGLINE_IO_CONNECT_H
#define RINGLINE_IO_CONNECT_H

#include "io/conn.h"

/* The limits of rln_listen_opts that are zero. */
void conn_mode_defaults(struct conn_mode *m);

/* A completion another ring sent to this one (user_data has a low tag bit). */
void give_arrived(void *io, const struct io_uring_cqe *cqe);
/* conn_step() of a connection that is being given away. */
void give_step(struct conn *c);

#endif
