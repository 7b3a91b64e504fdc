/*
 * The receive calls users make: taking, showing and gathering what conn_recv.c buffered, and
 * waiting for more. One reader at a time per connection; a view pins one chunk until the next call.
 */
#include "io/conn.h"

#include "base/assert.h"
#include <errno.h>
#include <string.h>

/* From this size on a receive goes straight into the caller's memory. */
#define INTO_MIN 65536

static int reader_lookup(rln_conn h, struct conn **out, const char *call)
{
	struct conn *c;
	int e = conn_lookup(h, &c, call);

	if (e)
		return e;
	if (c->reading || c->reader_direct) {
		c->io->stats.misuse++;
		return -EBUSY;
	}
	conn_lent_release(c);
	*out = c;
	return 0;
}

/* into: where the call's result goes. */
static int reader_enter(rln_conn h, struct conn **out, const void *into, const char *call)
{
	int e = wait_enter(call);

	if (!e && !into)
		e = -EINVAL;
	return e ? e : reader_lookup(h, out, call);
}

/* Another task may have closed the connection between our wake-up and our turn to run. */
static bool same_conn(const struct conn *c, rln_conn h)
{
	return c->generation == (uint32_t)h.h && c->life == LIFE_OPEN && !c->giving;
}

void conn_reader_begins(struct conn *c)
{
	c->reader_since_ns = c->io->loop->now_ns;
	if (c->arm != ARM_ARMED || c->mode->idle_ns || c->io->draining)
		conn_mark(c); /* to be armed, or timed once it stands in the queue */
	c->reading = true;
}

static int reader_park(struct conn *c, rln_conn h, const char *call)
{
	conn_reader_begins(c);
	int e = wait_on(&c->reader, call);
	bool same = same_conn(c, h);
	if (same)
		c->reading = false;
	return e ? e : same ? 0 : -ECONNABORTED;
}

/*
 * Wait until at least want bytes are buffered or the read side has ended. Returns 0, or why the
 * wait failed; then nothing was consumed.
 */
static int reader_wait(struct conn *c, rln_conn h, size_t want, const char *call)
{
	while (c->rx.bytes < want && c->read == READ_OPEN) {
		c->want = (uint32_t)want;
		c->bulk = false;
		int e = reader_park(c, h, call);
		if (e)
			return e;
	}
	return 0;
}

/* What a call returns that found the read side ended with too few bytes. */
static ssize_t read_ended(const struct conn *c, bool rest)
{
	if (c->read == READ_ERROR)
		return c->read_err;
	return rest ? -ENODATA : 0;
}

static void lend(struct conn *c, struct chunk *k, size_t n, rln_view *v)
{
	c->lent = chunk_ref(k);
	v->data = k->data + k->off;
	v->len = n;
}

/* Take the first n bytes, which the head holds in one run, and lend them. */
static ssize_t take_run(struct conn *c, size_t n, rln_view *v)
{
	lend(c, c->rx.head, n, v);
	chunks_read(&c->rx, NULL, n);
	conn_recv_taken(c, n);
	return (ssize_t)n;
}

/* Show the first n bytes (gathered) and everything contiguous behind them; take none. */
static ssize_t show_run(struct conn *c, size_t n, rln_view *v)
{
	if (chunks_gather(c->io, &c->rx, n) < 0)
		return -ENOMEM;
	lend(c, c->rx.head, chunk_bytes(c->rx.head), v);
	c->lent_max = (uint32_t)v->len;
	if (c->shown < v->len)
		c->shown = (uint32_t)v->len;
	return (ssize_t)v->len;
}

ssize_t rln_recv(rln_conn h, rln_view *v)
{
	struct conn *c;
	int e = reader_enter(h, &c, v, "rln_recv");

	if (e || (e = reader_wait(c, h, 1, "rln_recv")))
		return e;
	if (!c->rx.bytes)
		return read_ended(c, false);
	ssize_t n = take_run(c, chunk_bytes(c->rx.head), v);
	wait_done_quickly();
	return n;
}

ssize_t rln_try_recv(rln_conn h, rln_view *v)
{
	struct conn *c;
	int e = v ? reader_lookup(h, &c, "rln_try_recv") : -EINVAL;

	if (e)
		return e;
	if (c->rx.bytes)
		return take_run(c, chunk_bytes(c->rx.head), v);
	if (c->read != READ_OPEN)
		return read_ended(c, false);
	c->bulk = false; /* it polls: receive for it */
	if (c->arm == ARM_IDLE)
		conn_mark(c);
	return -EAGAIN;
}

ssize_t rln_recv_buf(rln_conn h, rln_buf *b)
{
	struct conn *c;
	int e = reader_enter(h, &c, b, "rln_recv_buf");

	if (e || (e = reader_wait(c, h, 1, "rln_recv_buf")))
		return e;
	if (!c->rx.bytes)
		return read_ended(c, false);
	/* held as long as the caller likes: not out of a pool that runs low, nor shared */
	struct chunk *k = c->rx.head;
	size_t n = chunk_bytes(k);
	if (k->refs > 1 || (k->bid >= 0 && !io_pool_ample(c->io))) {
		struct chunk *own = chunk_heap(c->io, n);
		if (!own)
			return -ENOMEM;
		memcpy(own->data, k->data + k->off, n);
		own->end = (uint32_t)n;
		k = own;
	} else {
		chunk_ref(k);
	}
	*b = (rln_buf){ k->data + k->off, n, k };
	chunks_read(&c->rx, NULL, n);
	conn_recv_taken(c, n);
	wait_done_quickly();
	return (ssize_t)n;
}

void rln_buf_release(rln_buf *b)
{
	struct chunk *k = b->own;

	*b = (rln_buf){ 0 };
	if (!k)
		return;
	if (io_current() == k->io)
		chunk_unref(k);
	else
		chunk_unref_remote(k);
}

ssize_t rln_fill(rln_conn h, rln_view *v)
{
	struct conn *c;
	int e = reader_enter(h, &c, v, "rln_fill");

	if (e)
		return e;
	if (c->rx.bytes <= c->shown && c->rx.bytes >= c->mode->recv_max)
		return -EMSGSIZE;
	e = reader_wait(c, h, c->shown + 1, "rln_fill");
	if (e)
		return e;
	if (c->rx.bytes <= c->shown)
		return read_ended(c, c->rx.bytes > 0);
	ssize_t n = show_run(c, c->rx.bytes, v);
	wait_done_quickly();
	return n;
}

ssize_t rln_peek(rln_conn h, size_t min, rln_view *v)
{
	struct conn *c;
	int e = reader_enter(h, &c, v, "rln_peek");

	if (e)
		return e;
	if (min > c->mode->recv_max)
		return -EMSGSIZE;
	if (!min)
		min = 1;
	e = reader_wait(c, h, min, "rln_peek");
	if (e)
		return e;
	if (c->rx.bytes < min)
		return read_ended(c, c->rx.bytes > 0);
	ssize_t n = show_run(c, min, v);
	wait_done_quickly();
	return n;
}

int rln_consume(rln_conn h, size_t n)
{
	struct conn *c;
	int e = conn_lookup(h, &c, "rln_consume");

	if (e)
		return e;
	if (c->reading)
		return -EBUSY;
	if (n > c->lent_max)
		return -EINVAL;
	c->lent_max -= (uint32_t)n;
	chunks_read(&c->rx, NULL, n);
	conn_recv_taken(c, n);
	return 0;
}

ssize_t rln_recv_exact(rln_conn h, size_t n, rln_view *v)
{
	struct conn *c;
	int e = reader_enter(h, &c, v, "rln_recv_exact");

	if (e)
		return e;
	if (!n)
		return -EINVAL;
	if (n > c->mode->recv_max)
		return -EMSGSIZE;
	e = reader_wait(c, h, n, "rln_recv_exact");
	if (e)
		return e;
	if (c->rx.bytes < n)
		return read_ended(c, c->rx.bytes > 0);
	if (chunks_gather(c->io, &c->rx, n) < 0)
		return -ENOMEM;
	ssize_t r = take_run(c, n, v);
	wait_done_quickly();
	return r;
}

/*
 * Look for delim in the first `limit` unread bytes, of which the first *seen are known not to begin
 * it. The head alone is searched first, so that pipelined lines are not gathered. Returns the
 * length through the delimiter, 0 when it is not there, -ENOMEM.
 */
static ssize_t find_delim(struct conn *c, const char *delim, size_t dlen, size_t limit,
			  size_t *seen)
{
	while (true) {
		struct chunk *k = c->rx.head;
		size_t have = chunk_bytes(k) < limit ? chunk_bytes(k) : limit;
		const uint8_t *p = k->data + k->off, *hit = NULL;
		if (have > *seen)
			hit = memmem(p + *seen, have - *seen, delim, dlen);
		if (hit)
			return hit - p + (ssize_t)dlen;
		if (have >= dlen)
			*seen = have - dlen + 1;
		if (have == limit)
			return 0;
		if (chunks_gather(c->io, &c->rx, limit) < 0)
			return -ENOMEM;
	}
}

ssize_t rln_recv_until(rln_conn h, const char *delim, size_t max, rln_view *v)
{
	struct conn *c;
	int e = reader_enter(h, &c, v, "rln_recv_until");
	size_t dlen = delim ? strlen(delim) : 0, seen = 0;

	if (e)
		return e;
	if (!dlen || max < dlen)
		return -EINVAL;
	if (max > c->mode->recv_max)
		return -EMSGSIZE;
	while (true) {
		size_t limit = c->rx.bytes < max ? c->rx.bytes : max;
		ssize_t n = limit ? find_delim(c, delim, dlen, limit, &seen) : 0;
		if (n > 0) {
			n = take_run(c, (size_t)n, v);
			wait_done_quickly();
			return n;
		}
		if (n < 0)
			return n;
		if (limit == max)
			return -EMSGSIZE;
		if (c->read != READ_OPEN)
			return read_ended(c, c->rx.bytes > 0);
		e = reader_wait(c, h, c->rx.bytes + 1, "rln_recv_until");
		if (e)
			return e;
	}
}

/*
 * One receive straight into the caller's memory. The multishot is taken back first; what it brought
 * meanwhile stands in rx and is the caller's to copy: then into.done is false and nothing was
 * received. The frame that holds `into` stays until the kernel let go of it.
 */
static int receive_into(struct conn *c, rln_conn h, struct recv_into *into, const char *call)
{
	c->into = into;
	c->reader_direct = true;
	conn_mark(c); /* a multishot that is armed gives way */
	int e = reader_park(c, h, call);
	if (into->done)
		return 0;
	if (c->into == into && c->recv_mode == RECV_INTO && c->arm != ARM_IDLE) {
		into->cancel = true;
		conn_mark(c);
		while (!into->done)
			wait_uncancellable(&c->reader, call);
		return into->got ? 0 : e;
	}
	if (c->into == into) {
		c->into = NULL;
		c->reader_direct = false;
	}
	return e;
}

static ssize_t recv_memory(rln_conn h, uint8_t *buf, size_t n, bool all, const char *call)
{
	struct conn *c;
	size_t got = 0;
	int e = reader_enter(h, &c, buf, call);

	if (e)
		return e;
	if (!n)
		return -EINVAL;
	while (true) {
		size_t take = c->rx.bytes < n - got ? c->rx.bytes : n - got;
		if (take) {
			chunks_read(&c->rx, buf + got, take);
			conn_recv_taken(c, take);
			got += take;
		}
		if (got == n || (got && !all) || c->read != READ_OPEN)
			break;
		if (n - got >= INTO_MIN) {
			struct recv_into into = { .p = buf + got, .n = n - got };
			e = receive_into(c, h, &into, call);
			got += into.got;
		} else {
			e = reader_wait(c, h, all && n - got < c->mode->recv_max ? n - got : 1,
					call);
		}
		if (e)
			return got ? (ssize_t)got : e;
		if (!same_conn(c, h))
			return got ? (ssize_t)got : -ECONNABORTED;
	}
	wait_done_quickly();
	return got ? (ssize_t)got : read_ended(c, false);
}

ssize_t rln_recv_into(rln_conn h, void *buf, size_t cap)
{
	return recv_memory(h, buf, cap, false, "rln_recv_into");
}

ssize_t rln_recv_full(rln_conn h, void *buf, size_t n)
{
	return recv_memory(h, buf, n, true, "rln_recv_full");
}
