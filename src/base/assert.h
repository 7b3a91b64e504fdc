/*
 * Assertions. RLN_ASSERT stays on in release builds: O(1), no side effects, prints what it
 * knows, aborts. RLN_DEBUG_ASSERT and the x_check() walkers are compiled always and run in
 * debug and sanitizer builds (RLN_DEBUG=1). Bad input is never asserted: it gets an errno.
 */
#ifndef RINGLINE_BASE_ASSERT_H
#define RINGLINE_BASE_ASSERT_H

#ifndef RLN_DEBUG
#define RLN_DEBUG 0
#endif

/* Prints "ringline: FILE:LINE: FUNC: EXPR: detail" on stderr and aborts. */
_Noreturn void assert_fail(const char *file, int line, const char *func, const char *expr,
			   const char *fmt, ...) __attribute__((format(printf, 5, 6), cold));

#define RLN_ASSERT(c)                         \
	(__builtin_expect(!!(c), 1) ? (void)0 \
				    : assert_fail(__FILE__, __LINE__, __func__, #c, "%s", ""))
#define RLN_ASSERTF(c, ...)                   \
	(__builtin_expect(!!(c), 1) ? (void)0 \
				    : assert_fail(__FILE__, __LINE__, __func__, #c, __VA_ARGS__))
#define RLN_DEBUG_ASSERT(c) ((void)(!RLN_DEBUG || (RLN_ASSERT(c), 0)))

#define RLN_UNLIKELY(c) __builtin_expect(!!(c), 0)
#define RLN_LIKELY(c) __builtin_expect(!!(c), 1)

#endif
