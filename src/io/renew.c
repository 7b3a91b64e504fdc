/*
 * KERNEL(6.12): what a direct slot held is let go only when every older request on any slot of the
 * ring has ended. The receive of an idle connection does not end, so every socket closed after it
 * was armed would stay in the kernel for as long as that client does. Where closing is like that,
 * receives are taken back and armed again, a page of connections a turn, each time as many sockets
 * were closed as there are connections: at most one receive a close, and at most about two closed
 * sockets kept a connection. Taking a receive back loses nothing.
 */
#include "io/renew.h"
#include "base/mark.h"

#include "io/conn.h"

#define RENEW_LOOKS 64 /* page pointers looked at in a turn */

static void begin(struct io *io)
{
	io->renew_again = io->renewing;
	if (io->renewing)
		return;
	io->renewing = true;
	io->renew_page = 0;
	io->closed_kept = 0;
}

/* INV-82 */
void renew_closed(struct io *io, const struct conn *c)
{
	if (io->caps->close_sends_fin)
		return;
	io->closed_kept++;
	/* Only a socket has been shut down before: the reader of a pipe waits for the release. */
	if (c->family &&
	    (io->closed_kept < io->cfg.renew_after || io->closed_kept < io->stats.conns_owned))
		return;
	begin(io);
}

void renew_dropped(struct io *io)
{
	if (!io->caps->close_sends_fin)
		begin(io);
}

void renew_step(struct io *io)
{
	struct conn *page = NULL;

	for (unsigned n = 0; n < RENEW_LOOKS && !page && io->renew_page < io->pages; n++)
		page = io->page[io->renew_page++];
	for (unsigned i = 0; page && i < CONN_PAGE; i++) {
		struct conn *c = &page[i];

		if (c->arm != ARM_ARMED || c->life != LIFE_OPEN || c->giving)
			continue;
		RLN_MARK("renew-a-receive");
		io->stats.recv_renewed++;
		conn_recv_disarm(c);
	}
	io->renewing = io->renew_page < io->pages;
	if (!io->renewing && io->renew_again) {
		RLN_MARK("renew-again");
		begin(io); /* receives that were armed again before the last one went */
	}
}
