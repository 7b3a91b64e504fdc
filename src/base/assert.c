/*
 * What happens when an invariant is broken: one line that says all that is known, then abort().
 * Nothing is allocated and nothing is locked: the heap may be the thing that is broken.
 */
#include "base/assert.h"
#include "base/sys.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ASSERT_LINE_MAX 1024

_Noreturn void assert_fail(const char *file, int line, const char *func, const char *expr,
			   const char *fmt, ...)
{
	char buf[ASSERT_LINE_MAX];
	const char *base = strrchr(file, '/');
	va_list ap;
	int n;

	n = snprintf(buf, sizeof buf, "ringline: %s:%d: %s: %s: ", base ? base + 1 : file, line,
		     func, expr);
	if (n > 0 && (size_t)n < sizeof buf) {
		va_start(ap, fmt);
		vsnprintf(buf + n, sizeof buf - (size_t)n, fmt, ap);
		va_end(ap);
	}
	sys_log_write(buf);
	abort();
}
