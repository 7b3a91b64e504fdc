/*
 * rln_strerror(): the system's words, in constant memory, and what the library means by them.
 */
#include "ringline/base.h"
#include <errno.h>

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

/* The rest of what sockets, files and the ring report. */
static const struct error_text system_text[] = {
	{ 0, "Success" },
	{ ENOENT, "No such file or directory" },
	{ EINTR, "Interrupted" },
	{ EIO, "Input/output error" },
	{ ENXIO, "No such device or address" },
	{ ECHILD, "No child process" },
	{ EACCES, "Permission denied" },
	{ EFAULT, "Bad address" },
	{ EEXIST, "File exists" },
	{ ENODEV, "No such device" },
	{ ENOTDIR, "Not a directory" },
	{ EISDIR, "Is a directory" },
	{ ENOTTY, "Inappropriate ioctl for this descriptor" },
	{ EFBIG, "File too large" },
	{ ENOSPC, "No space left on device" },
	{ ESPIPE, "Illegal seek" },
	{ EROFS, "Read-only file system" },
	{ EMLINK, "Too many links" },
	{ ERANGE, "Result out of range" },
	{ ENAMETOOLONG, "File name too long" },
	{ ENOTEMPTY, "Directory not empty" },
	{ ELOOP, "Too many levels of symbolic links" },
	{ EOVERFLOW, "Value too large" },
	{ EPROTO, "Protocol error" },
	{ EBADFD, "Descriptor in bad state" },
	{ ENOTSOCK, "Not a socket" },
	{ EDESTADDRREQ, "Destination address required" },
	{ EPROTOTYPE, "Wrong type of socket for this protocol" },
	{ ENOPROTOOPT, "Socket option not available" },
	{ EPROTONOSUPPORT, "Protocol not supported" },
	{ EAFNOSUPPORT, "Address family not supported" },
	{ EADDRNOTAVAIL, "Address not available on this machine" },
	{ ENETDOWN, "Network is down" },
	{ ENETUNREACH, "Network unreachable" },
	{ ENETRESET, "Connection dropped by the network" },
	{ ENOBUFS, "No buffer space available" },
	{ EISCONN, "Already connected" },
	{ ECONNREFUSED, "Connection refused: nobody listens there" },
	{ EHOSTDOWN, "Host is down" },
	{ EHOSTUNREACH, "Host unreachable" },
	{ EINPROGRESS, "In progress" },
	{ ESTALE, "Stale file handle" },
	{ EDQUOT, "Disk quota exceeded" },
};

static const char *text_find(const struct error_text *t, size_t count, int err)
{
	for (size_t i = 0; i < count; i++)
		if (t[i].err == err)
			return t[i].text;
	return NULL;
}

const char *rln_strerror(int err)
{
	int e = err < 0 && err != INT32_MIN ? -err : err;
	const char *s = text_find(own_text, sizeof own_text / sizeof own_text[0], e);

	if (!s)
		s = text_find(system_text, sizeof system_text / sizeof system_text[0], e);
	return s ? s : "Unknown error";
}
