/*
 * Log lines. Where they go is the configuration's (rln_config.log), stderr when it names none. The
 * sink follows the thread: worker_turn() puts its runtime's in force around everything a worker
 * does, as it does with ctx. Not for the data path: a line is formatted on the stack and written
 * at once.
 */
#ifndef RINGLINE_BASE_LOG_H
#define RINGLINE_BASE_LOG_H

#include "ringline/base.h"
#include <stdatomic.h>

#define LOG_LINE_MAX 512 /* longer lines are cut, and end in "..." */

struct log_sink {
	void (*fn)(int level, const char *msg, void *arg); /* NULL: stderr, up to RLN_LOG_WARN */
	void *arg;
};

/* Put sink (NULL: stderr) in force on this thread. Returns the one before, to be put back. */
const struct log_sink *log_use(const struct log_sink *sink);
/* One line through this thread's sink. level: RLN_LOG_*. No newline at the end of fmt. */
void log_line(int level, const char *fmt, ...) __attribute__((format(printf, 2, 3), cold));
/* The same through a given sink, from threads that run for a runtime without being its workers. */
void log_line_to(const struct log_sink *sink, int level, const char *fmt, ...)
	__attribute__((format(printf, 3, 4), cold));

/* At most one line per place in the code and process: for misuse that would repeat for ever. */
#define LOG_ONCE(level, ...)                                                       \
	do {                                                                       \
		static atomic_bool said_;                                          \
		if (!atomic_load_explicit(&said_, memory_order_relaxed) &&         \
		    !atomic_exchange_explicit(&said_, true, memory_order_relaxed)) \
			log_line(level, __VA_ARGS__);                              \
	} while (0)

#endif
