/*
 * The arms of rln_select() that wait for connections: input, and room to send.
 */
#include "io/conn.h"
#include "task/select.h"

#include <errno.h>

#define CALL "rln_select"

/* ---- input */

static bool input_ready(const struct conn *c)
{
	return c->rx.bytes > c->shown || c->read != READ_OPEN || c->rx.bytes >= c->mode->recv_max;
}

static bool readable_take(struct arm *a)
{
	struct conn *c;

	a->res = conn_lookup((rln_conn){ a->on.h }, &c, CALL);
	if (a->res)
		return true;
	if (c->reading || c->reader_direct) {
		c->io->stats.misuse++;
		a->res = -EBUSY;
		return true;
	}
	return input_ready(c);
}

static int readable_link(struct arm *a)
{
	struct conn *c = conn_find((rln_conn){ a->on.h });

	if (c->reading)
		return -EBUSY; /* an arm before this one */
	c->want = c->shown + 1;
	c->bulk = false;
	list_push_back(&c->reader, &a->w.node);
	conn_reader_begins(c);
	return 0;
}

/* It may have been closed since we were woken. */
static void readable_won(struct arm *a)
{
	if (!a->res && !conn_find((rln_conn){ a->on.h }))
		a->res = -ECONNABORTED;
}

static void readable_unlink(struct arm *a)
{
	struct conn *c = conn_find((rln_conn){ a->on.h });

	if (c)
		c->reading = false;
}

static const struct arm_kind arm_readable = {
	.take = readable_take, .link = readable_link, .won = readable_won, .unlink = readable_unlink
};

rln_arm rln_on_readable(rln_conn c)
{
	return arm_make(&arm_readable, (struct arm){ .on.h = c.h });
}

/* ---- room */

static int write_end(const struct conn *c)
{
	if (c->write == WRITE_BROKEN)
		return c->write_err;
	return c->write == WRITE_OPEN ? 0 : -EPIPE;
}

static bool writable_take(struct arm *a)
{
	struct conn *c;

	a->res = conn_lookup((rln_conn){ a->on.h }, &c, CALL);
	if (!a->res)
		a->res = write_end(c);
	return a->res ||
	       (c->tx_bytes <= c->mode->send_low && list_empty(&c->senders) && !c->sender_woken);
}

static int writable_link(struct arm *a)
{
	struct conn *c = conn_find((rln_conn){ a->on.h });

	a->w.slot = CONN_WRITABLE;
	list_push_back(&c->flushers, &a->w.node);
	return 0;
}

static void writable_won(struct arm *a)
{
	struct conn *c = conn_find((rln_conn){ a->on.h });

	if (!a->res)
		a->res = c ? write_end(c) : -ECONNABORTED;
}

static const struct arm_kind arm_writable = { .take = writable_take,
					      .link = writable_link,
					      .won = writable_won };

rln_arm rln_on_writable(rln_conn c)
{
	return arm_make(&arm_writable, (struct arm){ .on.h = c.h });
}
