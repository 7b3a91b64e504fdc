/*
 * rln_strerror(): what the library means by an errno, or else the system's own words for it.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "ringline/base.h"
#include <errno.h>
#include <string.h>

struct error_text {
	int err;
	const char *text;
};

/* Where the library means more, or something narrower, than the system's text says. */
static const struct error_text own_text[] = {
	{ EPERM,
	  "Operation not permitted: called from a thread that is no worker (use rln_post), or "
	  "the system refuses io_uring" },
	{ ESRCH, "No such task: it has ended and was reaped" },
	{ E2BIG, "A newer structure with fields this library does not know: program and library "
		 "differ in version" },
	{ EBADF, "Stale handle: the connection is closed or never was" },
	{ EAGAIN,
	  "Not now: nothing is buffered, the queue is full, or a limit is reached; try again "
	  "later" },
	{ ENOMEM, "Out of memory, or of locked memory (ulimit -l)" },
	{ EBUSY,
	  "Busy: another task receives on this connection, or it has waiters or queued data" },
	{ EXDEV, "The handle belongs to another worker (use rln_post or rln_give)" },
	{ EINVAL, "Invalid argument or configuration" },
	{ ENFILE, "No free descriptor slot in this worker (file_slots, max_conns)" },
	{ EMFILE, "Too many open files (ulimit -n)" },
	{ EPIPE, "The sending side is shut down or broken" },
	{ EDEADLK,
	  "It would wait where nothing may wait (callback, release, timer, worker_init), or "
	  "for itself" },
	{ ENOSYS,
	  "The kernel lacks io_uring or an operation that is needed (Linux 6.1 or newer), or "
	  "a sandbox hides it" },
	{ ENODATA, "The peer ended the stream in the middle of what was asked for" },
	{ ETIME, "Deadline or idle_timeout passed; the connection itself is intact" },
	{ EMSGSIZE, "More bytes than recv_max or the given limit allow" },
	{ EOPNOTSUPP, "Not supported here, or by this kind of connection" },
	{ EADDRINUSE, "Address in use: another socket listens there" },
	{ ECONNABORTED, "The connection was closed by this program meanwhile" },
	{ ECONNRESET, "The peer reset the connection" },
	{ ENOTCONN, "Not connected, or the peer has no address" },
	{ ESHUTDOWN, "Shutting down: the runtime drains, or that worker is gone" },
	{ ETIMEDOUT, "The connection timed out: the peer stopped answering or took nothing for "
		     "send_stall" },
	{ EALREADY, "Already done" },
	{ ECANCELED,
	  "Canceled: a scope, the task or the runtime ended this wait; nothing was done" },
};

const char *rln_strerror(int err)
{
	int e = err < 0 && err != INT32_MIN ? -err : err;
	const char *s;

	if (!e)
		return "Success";
	for (size_t i = 0; i < sizeof own_text / sizeof own_text[0]; i++)
		if (own_text[i].err == e)
			return own_text[i].text;
	s = strerrordesc_np(e); /* constant and untranslated, unlike strerror() */
	return s ? s : "Unknown error";
}
