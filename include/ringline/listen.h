/*
 * Listeners made while the program runs, on one worker; and taking their clients one by one. What
 * rln_config.listen sets up is served by all workers and needs none of this.
 */
#ifndef RINGLINE_LISTEN_H
#define RINGLINE_LISTEN_H

#include <ringline/base.h>
#include <ringline/runtime.h>
#include <ringline/select.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Listen on this worker alone. At most one of on_conn, on_request and cb may be set; with none the
 * clients are taken by rln_accept().
 *
 * Returns 0, or -EINVAL (options, addr), -EADDRINUSE and what else the socket calls report,
 * -EMFILE (64 on this worker), -ESHUTDOWN (the drain has begun), -E2BIG (newer options), -ENOMEM,
 * -EPERM. The reason is logged in words.
 * Owner:   borrows o; gives *out, ended by rln_listener_close() or the drain.
 * Thread:  any worker, tasks and callbacks.      Waits: no.
 */
RLN_API RLN_MUST int rln_listen_sized(const rln_listen_opts *o, size_t opts_size,
				      rln_listener *out);

/*
 * rln_listen_sized() with the size of the options this program was built with.
 *
 * Returns, Owner, Thread, Waits: as above.
 */
static inline RLN_MUST int rln_listen(const rln_listen_opts *o, rln_listener *out)
{
	return rln_listen_sized(o, sizeof *o, out);
}

/*
 * Where a listener really listens (port 0).
 *
 * Returns 0, or -EINVAL (out NULL), -EBADF, -EXDEV, -EPERM, -ESHUTDOWN.
 * Owner:   fills *out.
 * Thread:  the worker that owns l.      Waits: no.
 */
RLN_API int rln_listener_addr(rln_listener l, struct sockaddr_storage *out);

/*
 * Take the next client of a listener without a handler. Any number of tasks may wait; they are
 * served in their order. At most 64 clients are accepted ahead, the others wait in the backlog.
 *
 * Returns 0, or -ECONNABORTED (closed meanwhile), -ESHUTDOWN (drain), -EINVAL (l has a handler, out
 * NULL), -EBADF, -EXDEV, the wait errors: no client was taken.
 * Owner:   gives *out, ended by rln_close().
 * Thread:  a task of the worker that owns l.      Waits: yes (a cancellation point).
 */
RLN_API RLN_MUST int rln_accept(rln_listener l, rln_conn *out) RLN_WAITS;

/*
 * Stop listening. Clients that nobody took are closed, accepts that wait give -ECONNABORTED;
 * connections that were taken, or have a handler, go on.
 *
 * Returns 0, or -EBADF, -EXDEV, -EPERM, -ESHUTDOWN (the drain has closed it).
 * Owner:   l is stale from now on.
 * Thread:  the worker that owns l, tasks and callbacks.      Waits: no.
 */
RLN_API int rln_listener_close(rln_listener l);

/*
 * Ready when a client waits. Its effect is that of rln_accept().
 *
 * Returns the arm; res is what rln_accept() returns.
 * Owner:   borrows out while the arm is used.
 * Thread:  any; used on the worker that owns l.      Waits: no.
 */
RLN_API rln_arm rln_on_accept(rln_listener l, rln_conn *out);

#ifdef __cplusplus
}
#endif
#endif
