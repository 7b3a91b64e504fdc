/*
 * Formatting and routing of log lines. Keeps no history, takes no lock, adds no timestamps.
 */
#include "base/log.h"
#include "base/sys.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static _Thread_local const struct log_sink *log_current;

const struct log_sink *log_use(const struct log_sink *sink)
{
	const struct log_sink *before = log_current;

	log_current = sink;
	return before;
}

/* Control bytes (addresses and names come from outside) must not forge lines or drive a terminal.
 */
static void log_clean(char *line)
{
	for (char *p = line; *p; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			*p = '?';
}

static void log_put(const struct log_sink *sink, int level, const char *fmt, va_list ap)
{
	static const char name[] = "ringline: ";
	char buf[sizeof name - 1 + LOG_LINE_MAX], *line = buf + sizeof name - 1;
	bool own = sink && sink->fn;
	int n;

	if (!own && level > RLN_LOG_WARN)
		return;
	n = vsnprintf(line, LOG_LINE_MAX, fmt, ap);
	if (n < 0)
		return;
	if (n >= LOG_LINE_MAX)
		strcpy(line + LOG_LINE_MAX - 4, "...");
	log_clean(line);
	if (own) {
		sink->fn(level, line, sink->arg);
		return;
	}
	/* On stderr a line says whose it is; many already do. */
	if (strncmp(line, name, sizeof name - 1) != 0)
		line = memcpy(buf, name, sizeof name - 1);
	sys_log_write(line);
}

void log_line(int level, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	log_put(log_current, level, fmt, ap);
	va_end(ap);
}

void log_line_to(const struct log_sink *sink, int level, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	log_put(sink, level, fmt, ap);
	va_end(ap);
}
