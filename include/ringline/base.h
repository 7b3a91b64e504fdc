/*
 * What every other header of the library stands on: annotations, handles, borrowed and owned bytes,
 * error texts.
 *
 * The contract above each function has four parts. Returns: what comes back, in which unit, and
 * which errors. Owner: who owns the memory passed or received; it is borrowed (until the call
 * returns), borrowed until X, taken (on success only), lent until X, or given. Thread: from where
 * it may be called. Waits: whether it may suspend the calling task. Two sets of errors recur:
 *
 *   handle errors  -EBADF (stale or never valid), -EXDEV (belongs to another worker), -EPERM (this
 *                  thread is no worker)
 *   wait errors    -ECANCELED (a scope around the call was cancelled), -ETIME (its deadline
 *                  passed), -EDEADLK (called in a callback), -EPERM (this thread is no worker). A
 *                  call that gives -ECANCELED or -ETIME had no effect, unless it says otherwise.
 */
#ifndef RINGLINE_BASE_H
#define RINGLINE_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

#define RLN_API __attribute__((visibility("default")))
#define RLN_MUST __attribute__((warn_unused_result))
#define RLN_CLEAN(f) __attribute__((cleanup(f)))
/*
 * Marks a function that may suspend the calling task: for readers, grep and checkers. Those, and
 * only those, are points of cancellation; code between two of them is atomic with respect to the
 * other tasks of its worker.
 */
#define RLN_WAITS

/*
 * Handles are values, to be copied and compared freely; all-zero is "none". They say which worker
 * they belong to, and outlive what they name: a handle gone stale gives -EBADF, never a stranger.
 */
typedef struct rln_conn {
	uint64_t h;
} rln_conn;
typedef struct rln_task {
	uint64_t h;
} rln_task;
typedef struct rln_listener {
	uint64_t h;
} rln_listener;
typedef struct rln_runtime rln_runtime;

/* Borrowed bytes; each call that lends them says until when. */
typedef struct rln_view {
	const uint8_t *data;
	size_t len;
} rln_view;
/* Owned bytes, valid until they are released, whatever happens to their connection. */
typedef struct rln_buf {
	const uint8_t *data;
	size_t len;
	void *own;
} rln_buf;

/* Levels of rln_config.log. */
enum { RLN_LOG_ERROR = 0, RLN_LOG_WARN = 1, RLN_LOG_INFO = 2, RLN_LOG_DEBUG = 3 };

/*
 * Give back the bytes of a successful rln_recv_buf(). An all-zero b is left alone; b is all-zero
 * afterwards.
 *
 * Returns nothing.
 * Owner:   takes what b refers to. Once for every rln_buf, copies of it included.
 * Thread:  any worker of the runtime the bytes came from.      Waits: no.
 */
RLN_API void rln_buf_release(rln_buf *b);

/*
 * The text of an error number, with what it means in this library where that is more than the
 * system's own words.
 *
 * Returns a string in English without a newline; never NULL. err may have either sign.
 * Owner:   the string is constant and stays valid for ever.
 * Thread:  any, also in a signal handler.      Waits: no.
 */
RLN_API const char *rln_strerror(int err);

#ifdef __cplusplus
}
#endif
#endif
