/*
 * Stream connections: receiving, sending, connecting, closing. A connection is a TCP or unix stream
 * socket, a pipe end or a terminal.
 */
#ifndef RINGLINE_CONN_H
#define RINGLINE_CONN_H

#include <ringline/base.h>
#include <ringline/time.h>
#include <sys/socket.h>
#include <sys/uio.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Receiving. One reader at a time. A view stays valid until the next receive call on the same
 * connection or its close; sending, sleeping and anything else keep it. 0 is an orderly end with
 * nothing left over; -ENODATA is the end in the middle of what was asked for, and the rest stays
 * visible through rln_try_recv(). What arrived before an error is delivered before it.
 *
 * The receive errors of every function here: the handle errors; -EBUSY (another task receives),
 * -ECONNABORTED (closed by this program meanwhile), -ETIME (idle_timeout passed without a byte),
 * -ESHUTDOWN (drain: this connection is idle), -EINVAL (a NULL pointer, a size of 0), -ENOMEM, and
 * what the kernel reports: -ECONNRESET, -ETIMEDOUT, -EHOSTUNREACH and the like, the same again on
 * every later receive.
 */

/*
 * Take the next contiguous run of input. A further call returns the next run, without waiting
 * while there is one.
 *
 * Returns bytes taken (>= 1), 0 at EOF, or the receive errors and the wait errors; then nothing was
 * consumed.
 * Owner:   v is lent until the next receive call on c, or rln_close(c).
 * Thread:  the worker that owns c.      Waits: yes (a cancellation point).
 */
RLN_API RLN_MUST ssize_t rln_recv(rln_conn c, rln_view *v) RLN_WAITS;

/*
 * Wait for bytes that no earlier call has shown, and show all that is unconsumed in one piece.
 * Takes nothing: rln_consume() does. The loop of a parser.
 *
 * Returns bytes shown (>= 1), 0 at EOF with nothing unconsumed, or -ENODATA (EOF with a rest),
 * -EMSGSIZE (recv_max bytes are unconsumed and all have been shown), the receive errors, the wait
 * errors.
 * Owner:   v is lent until the next receive call on c, or rln_close(c).
 * Thread:  the worker that owns c.      Waits: yes (a cancellation point).
 */
RLN_API RLN_MUST ssize_t rln_fill(rln_conn c, rln_view *v) RLN_WAITS;

/*
 * Show at least min contiguous unconsumed bytes; takes none.
 *
 * Returns bytes shown (>= min), 0 at EOF with nothing unconsumed, or -ENODATA (EOF with fewer than
 * min), -EMSGSIZE (min is more than recv_max), the receive errors, the wait errors.
 * Owner:   v is lent until the next receive call on c, or rln_close(c).
 * Thread:  the worker that owns c.      Waits: yes (a cancellation point).
 */
RLN_API RLN_MUST ssize_t rln_peek(rln_conn c, size_t min, rln_view *v) RLN_WAITS;

/*
 * Drop the first n unconsumed bytes. Views stay valid over it.
 *
 * Returns 0, or -EINVAL (n is more than the last call has shown; nothing is dropped), the handle
 * errors, -EBUSY.
 * Owner:   nothing is passed.
 * Thread:  the worker that owns c.      Waits: no.
 */
RLN_API int rln_consume(rln_conn c, size_t n);

/*
 * Take exactly n contiguous bytes.
 *
 * Returns n, 0 at EOF with nothing unconsumed, or -ENODATA (EOF with fewer than n), -EMSGSIZE (n is
 * more than recv_max), the receive errors, the wait errors; then nothing was consumed.
 * Owner:   v is lent until the next receive call on c, or rln_close(c).
 * Thread:  the worker that owns c.      Waits: yes (a cancellation point).
 */
RLN_API RLN_MUST ssize_t rln_recv_exact(rln_conn c, size_t n, rln_view *v) RLN_WAITS;

/*
 * Take everything up to and including the first occurrence of the string delim.
 *
 * Returns bytes taken, delim included, 0 at EOF with nothing unconsumed, or -ENODATA (EOF before
 * delim), -EMSGSIZE (no delim within max bytes, or max is more than recv_max), the receive errors,
 * the wait errors; then nothing was consumed.
 * Owner:   borrows delim; v is lent until the next receive call on c, or rln_close(c).
 * Thread:  the worker that owns c.      Waits: yes (a cancellation point).
 */
RLN_API RLN_MUST ssize_t rln_recv_until(rln_conn c, const char *delim, size_t max, rln_view *v)
	RLN_WAITS;

/*
 * Receive what there is, at least one byte, into the caller's memory.
 *
 * Returns bytes received (1..cap), 0 at EOF, or the receive errors and the wait errors; then
 * nothing was consumed.
 * Owner:   borrows buf.
 * Thread:  the worker that owns c.      Waits: yes (a cancellation point).
 */
RLN_API RLN_MUST ssize_t rln_recv_into(rln_conn c, void *buf, size_t cap) RLN_WAITS;

/*
 * Receive n bytes into the caller's memory; in place when n is large.
 *
 * Returns n; fewer (>= 1) when EOF, an error or a cancellation came first, whose reason the next
 * call gives; 0 at EOF; or with nothing received the receive errors and the wait errors.
 * Owner:   borrows buf.
 * Thread:  the worker that owns c.      Waits: yes (a cancellation point).
 */
RLN_API RLN_MUST ssize_t rln_recv_full(rln_conn c, void *buf, size_t n) RLN_WAITS;

/*
 * Like rln_recv(), but the bytes become the caller's.
 *
 * Returns bytes taken (>= 1), 0 at EOF, or the receive errors and the wait errors; b is written on
 * success only.
 * Owner:   gives *b (release with rln_buf_release); it survives the connection.
 * Thread:  the worker that owns c.      Waits: yes (a cancellation point).
 */
RLN_API RLN_MUST ssize_t rln_recv_buf(rln_conn c, rln_buf *b) RLN_WAITS;

/*
 * rln_recv() without waiting; also what is left after -ENODATA. Legal in callbacks.
 *
 * Returns bytes taken (>= 1), 0 at EOF, or -EAGAIN (nothing is buffered), the receive errors.
 * Owner:   v is lent until the next receive call on c, or rln_close(c).
 * Thread:  the worker that owns c.      Waits: no.
 */
RLN_API RLN_MUST ssize_t rln_try_recv(rln_conn c, rln_view *v);

/*
 * Sending. Any number of writers; each call is one contiguous unit, in the order of the calls.
 * Sending queues: everything queued in one turn of the loop leaves together when the turn ends.
 * Borrowed memory of up to 16 KiB in all is copied and the call waits only while more than
 * send_high bytes are queued; more goes out in place, and the call waits for it. A piece of a
 * receive view of this worker is pinned and referenced whatever its size: no copy, no wait but for
 * room.
 *
 * The send errors of every function here: the handle errors; -EPIPE (the sending side is shut or
 * broken), -ECONNRESET, -ETIMEDOUT (the peer took nothing for send_stall), -ECONNABORTED (closed by
 * this program while it waited for room; nothing was queued), -EINVAL, -ENOMEM. A failure of bytes
 * queued earlier is reported by the next send or rln_flush(), and by every later one.
 */

/* A part of rln_send_pieces(). */
typedef struct rln_piece {
	const void *data;
	size_t len;
	/*
	 * NULL: borrowed for the call. Set: the piece is taken in every outcome, sent in place or
	 * zero-copy, and release(ud) is called exactly once when the kernel has let go of it: on
	 * the connection's worker, from the loop, maybe long after the call and the connection. It
	 * runs as a callback and must not wait.
	 */
	void (*release)(void *ud);
	void *ud;
} rln_piece;

/*
 * Send n bytes.
 *
 * Returns n, never less, when they are queued in order (and, above 16 KiB of borrowed memory,
 * sent), or the send errors and the wait errors: nothing was queued. Only above 16 KiB of borrowed
 * memory a part may have gone out: rln_sent() says how much, and if any, the sending side is
 * broken.
 * Owner:   borrows p.
 * Thread:  the worker that owns c.      Waits: yes (a cancellation point).
 */
RLN_API ssize_t rln_send(rln_conn c, const void *p, size_t n) RLN_WAITS;

/*
 * Send n pieces of memory as one unit.
 *
 * Returns bytes sent, always the sum of the lengths, or as rln_send(); -EINVAL also when n is
 * negative or more than 1024 or the sum exceeds SSIZE_MAX.
 * Owner:   borrows iov and what it points to.
 * Thread:  the worker that owns c.      Waits: yes (a cancellation point).
 */
RLN_API ssize_t rln_sendv(rln_conn c, const struct iovec *iov, int n) RLN_WAITS;

/*
 * Send n pieces as one unit, each copied, referenced or sent zero-copy as its release says.
 *
 * Returns bytes sent, always the sum of the lengths, or as rln_sendv(). Pieces with a release are
 * not sent at return but queued.
 * Owner:   borrows pc and the pieces without release; takes the others in every outcome, errors
 *          included.
 * Thread:  the worker that owns c.      Waits: yes (a cancellation point).
 */
RLN_API ssize_t rln_send_pieces(rln_conn c, const rln_piece *pc, int n) RLN_WAITS;

/*
 * Copy n bytes to the queue without waiting: all or nothing, any n while the queue is at or below
 * send_high.
 *
 * Returns 0, or -EAGAIN (more than send_high bytes are queued; in callback mode `writable` follows
 * once for each), the send errors.
 * Owner:   borrows p.
 * Thread:  the worker that owns c.      Waits: no.
 */
RLN_API int rln_send_nowait(rln_conn c, const void *p, size_t n);

/*
 * Wait until the kernel has taken everything that was queued before this call. It says nothing
 * about what the peer received.
 *
 * Returns 0, or the send errors and the wait errors; the queue goes on being sent.
 * Owner:   nothing is passed.
 * Thread:  the worker that owns c.      Waits: yes (a cancellation point).
 */
RLN_API int rln_flush(rln_conn c) RLN_WAITS;

/*
 * After a failed send of more than 16 KiB: how much of it had gone out. More than 0 means that the
 * peer holds part of a unit: the sending side is broken, later sends give -EPIPE, and closing
 * resets, so that nobody can take the part for the whole.
 *
 * Returns bytes; 0 for a stale handle or off-worker.
 * Owner:   nothing is passed.
 * Thread:  the worker that owns c.      Waits: no.
 */
RLN_API size_t rln_sent(rln_conn c);

/* Zero, NULL: the default. */
typedef struct rln_connect_opts {
	const char *bind;    /* local address, as rln_listen_opts.addr; chosen by the kernel */
	size_t recv_max;     /* 1 MiB; unconsumed input at which receiving pauses */
	size_t send_high;    /* 1 MiB; queued output above which senders wait */
	rln_ns idle_timeout; /* none; a receive without a byte for so long gives -ETIME */
} rln_connect_opts;

/*
 * Connect to "127.0.0.1:80", "[::1]:80", "example.org:80", "unix:/run/x", "unix:@name". A name is
 * resolved first; of its addresses, IPv6 and IPv4 in turn, one that has not answered after 250 ms
 * gets company, the first to answer wins and the others are closed. How long it may take in all is
 * the enclosing scope's.
 *
 * Returns 0, or -EINVAL (addr or opts), -E2BIG (newer opts), -ENFILE (all of file_slots are in
 * use), -EMFILE, -ENOMEM, -ESHUTDOWN (the drain has cancelled every task), the wait errors, the
 * errors of rln_resolve(), and what the kernel reports: -ECONNREFUSED, -ETIMEDOUT, -ENETUNREACH,
 * -EHOSTUNREACH, -EADDRNOTAVAIL, -EADDRINUSE, -EACCES, -ENOENT; of several addresses, what the
 * first that could be reached said. *out is written on success only.
 * Owner:   borrows addr and o (NULL: all defaults); gives *out, closed with rln_close().
 * Thread:  a task of any worker, to which the connection then belongs.
 * Waits:   yes (a cancellation point).
 */
RLN_API RLN_MUST int rln_connect_sized(const char *addr, const rln_connect_opts *o,
				       size_t opts_size, rln_conn *out) RLN_WAITS;

/* rln_connect_sized() with the size this program was compiled with: see there. */
RLN_MUST static inline int rln_connect(const char *addr, const rln_connect_opts *o, rln_conn *out)
{
	return rln_connect_sized(addr, o, sizeof(rln_connect_opts), out);
}

/*
 * The addresses of a host: a name, as the system's resolver knows it (files, name servers), or a
 * numeric address. It is asked on a helper thread; cancelled, the query is left behind. Answers are
 * not kept, since the system's interface does not say for how long they hold: its own resolver is
 * the place for a cache.
 *
 * Returns how many addresses stand in out, in the order of preference, at most max and at most 32;
 * or -EHOSTUNREACH (no such host, or it has no address), -EAGAIN (no answer now), -EINVAL (host or
 * out NULL, host longer than 255 bytes, max < 1), -EIO, -ENOMEM, -ESHUTDOWN, the wait errors.
 * Owner:   borrows host; fills out[0..max).
 * Thread:  a task of any worker.      Waits: yes (a cancellation point).
 */
RLN_API RLN_MUST int rln_resolve(const char *host, uint16_t port, struct sockaddr_storage *out,
				 int max) RLN_WAITS;

/*
 * Connect to the n bytes of address at sa: AF_INET, AF_INET6 or AF_UNIX.
 *
 * Returns 0 or the errors of rln_connect_sized(), and -EAFNOSUPPORT for any other family.
 * Owner:   borrows sa and o (NULL: all defaults); gives *out, closed with rln_close().
 * Thread:  a task of any worker, to which the connection then belongs.
 * Waits:   yes (a cancellation point).
 */
RLN_API RLN_MUST int rln_connect_addr_sized(const struct sockaddr *sa, socklen_t n,
					    const rln_connect_opts *o, size_t opts_size,
					    rln_conn *out) RLN_WAITS;

/* rln_connect_addr_sized() with the size this program was compiled with: see there. */
RLN_MUST static inline int rln_connect_addr(const struct sockaddr *sa, socklen_t n,
					    const rln_connect_opts *o, rln_conn *out)
{
	return rln_connect_addr_sized(sa, n, o, sizeof(rln_connect_opts), out);
}

/*
 * End the sending side after everything queued so far: the peer then reads EOF. Receiving goes on.
 * Further sends give -EPIPE.
 *
 * Returns 0, also when it had ended already, or -EPIPE (broken), the handle errors.
 * Owner:   nothing is passed.
 * Thread:  the worker that owns c.      Waits: no.
 */
RLN_API int rln_shutdown_send(rln_conn c);

/*
 * Close, gracefully: the handle is stale at once; what is queued still goes out, bounded by
 * close_timeout and close_max, and the peer reads EOF after it. Bytes left over then mean a reset,
 * never an EOF. Tasks waiting on c wake with -ECONNABORTED. Never fails by cancellation.
 *
 * Returns 0, or the handle errors.
 * Owner:   takes c; views of it end, rln_bufs and pieces with a release do not.
 * Thread:  the worker that owns c.      Waits: no.
 */
RLN_API int rln_close(rln_conn c);

/*
 * Close at once: what is queued is dropped and the peer gets a reset. A unix stream or pipe has
 * none: its peer reads EOF.
 *
 * Returns 0, or the handle errors.
 * Owner:   takes c; views of it end, rln_bufs and pieces with a release do not.
 * Thread:  the worker that owns c.      Waits: no.
 */
RLN_API int rln_reset(rln_conn c);

/*
 * Make a connection of a descriptor: a connected stream socket, pipe end or terminal.
 *
 * Returns 0, or -EBADF (no open descriptor), -EINVAL (a kind that cannot be waited for, a listening
 * or datagram socket), -ENFILE (all of file_slots are in use), -ENOMEM, -EPERM, -ESHUTDOWN (the
 * drain has cancelled every task).
 * Owner:   takes fd, on success only; gives *out, closed with rln_close().
 * Thread:  any worker, to which the connection then belongs.      Waits: no.
 */
RLN_API int rln_adopt_fd(int fd, rln_conn *out);

/*
 * Move an idle connection to another worker, where on_conn serves it in a task of its own. Input
 * not yet taken goes with it. The handle is stale from here on.
 *
 * Returns 0, or -EINVAL (no such worker, on_conn NULL), -EBUSY (a task waits on c, or output is
 * queued), -EAGAIN, -ENOMEM, -ESHUTDOWN (that worker is gone), -EOPNOTSUPP, the handle errors.
 * Owner:   takes c, on success only; views of it end. arg is passed on untouched. One for which the
 *          other worker has no memory is reset and on_close told -ENOMEM; the handle may be {0}.
 * Thread:  the worker that owns c.      Waits: no.
 */
RLN_API int rln_give(rln_conn c, unsigned worker, void (*on_conn)(rln_conn c, void *arg),
		     void *arg);

/*
 * The return of the on_conn handler no longer closes c: whoever holds the handle will.
 *
 * Returns 0, or the handle errors.
 * Owner:   gives c to the caller.
 * Thread:  the worker that owns c.      Waits: no.
 */
RLN_API int rln_keep_open(rln_conn c);

/*
 * The end of a block with RLN_CONN: rln_close(*c) unless it is none, any result ignored.
 *
 * Returns nothing.
 * Owner:   takes *c, which is none afterwards.
 * Thread:  the worker that owns *c.      Waits: no.
 */
RLN_API void rln_conn_cleanup_(rln_conn *c);

/* Declare a connection that is closed at the end of the block, however it is left. */
#define RLN_CONN(name) rln_conn name RLN_CLEAN(rln_conn_cleanup_) = { 0 }

/*
 * Attach a pointer to the connection. It survives rln_to_task(); to be freed in on_close.
 *
 * Returns nothing; a stale handle is ignored (and counted as misuse).
 * Owner:   p stays the program's.
 * Thread:  the worker that owns c.      Waits: no.
 */
RLN_API void rln_set_user(rln_conn c, void *p);

/*
 * The pointer attached to the connection; also inside close and on_close.
 *
 * Returns it, or NULL: none, or a stale handle.
 * Owner:   the program's; nothing changes hands.
 * Thread:  the worker that owns c.      Waits: no.
 */
RLN_API void *rln_user(rln_conn c);

/*
 * The peer's address; also inside close and on_close.
 *
 * Returns 0, or -ENOTCONN (not known: a pipe, a terminal), the handle errors. A unix peer without a
 * name is AF_UNIX and an empty path.
 * Owner:   fills *out.
 * Thread:  the worker that owns c.      Waits: no.
 */
RLN_API int rln_peer(rln_conn c, struct sockaddr_storage *out);

/*
 * Turn a connection of callback mode over to a task: no callback but on_close runs any more, and
 * on_conn starts in a later turn with all unconsumed input. Inside data, what that call returns
 * still counts as consumed.
 *
 * Returns 0, or -EINVAL (not in callback mode, on_conn NULL), -EAGAIN (max_tasks, no stack),
 * -ENOMEM, the handle errors.
 * Owner:   arg is passed on untouched.
 * Thread:  the worker that owns c.      Waits: no.
 */
RLN_API int rln_to_task(rln_conn c, void (*on_conn)(rln_conn c, void *arg), void *arg);

#ifdef __cplusplus
}
#endif
#endif
