/*
 * What every other header of the library stands on: annotations, handles, borrowed and owned bytes.
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
/* Marks a function that may suspend the calling task: for readers, grep and checkers. */
#define RLN_WAITS

/* Handles are values; all-zero is "none". */
typedef struct rln_conn {
	uint64_t h;
} rln_conn;
typedef struct rln_task {
	uint64_t h;
} rln_task;
typedef struct rln_runtime rln_runtime;

/* Borrowed bytes. */
typedef struct rln_view {
	const uint8_t *data;
	size_t len;
} rln_view;
/* Owned bytes: released exactly once. */
typedef struct rln_buf {
	const uint8_t *data;
	size_t len;
	void *own;
} rln_buf;

/* Levels of rln_config.log. */
enum { RLN_LOG_ERROR = 0, RLN_LOG_WARN = 1, RLN_LOG_INFO = 2, RLN_LOG_DEBUG = 3 };

RLN_API void rln_buf_release(rln_buf *b);
RLN_API const char *rln_strerror(int err);

#ifdef __cplusplus
}
#endif
#endif
