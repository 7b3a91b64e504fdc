/*
 * Receives armed again, so that older kernels let go of closed sockets.
 */
#ifndef RINGLINE_IO_RENEW_H
#define RINGLINE_IO_RENEW_H

#include "io/io.h"

#define RENEW_AFTER 512 /* sockets closed, at least */

/* The slot of c was emptied. */
void renew_closed(struct io *io, const struct conn *c);
/* A slot was emptied without a close: nobody shut its socket down, so the peer waits for the
 * release. */
void renew_dropped(struct io *io);
/* A turn's part of the work, while io->renewing. */
void renew_step(struct io *io);

#endif
