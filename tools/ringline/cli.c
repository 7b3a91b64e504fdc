/* Options, addresses, and the small things every command needs. */
#include "cli.h"

#include <errno.h>
#include <netdb.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <time.h>

int64_t cli_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

void cli_sleep_ms(unsigned ms)
{
	struct timespec t = { .tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000 };

	nanosleep(&t, NULL);
}

int cli_fail(const struct cli *c, const char *fmt, ...)
{
	va_list ap;

	fprintf(stderr, "ringline %s: ", c->command);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	return EXIT_USAGE;
}

static int parse_count(const struct cli *c, const struct cli_option *o, const char *s)
{
	char *end = NULL;
	uint64_t v;
	int shift = 0;

	errno = 0;
	v = strtoull(s, &end, 10);
	if (*s < '0' || *s > '9' || errno)
		end = NULL;
	else if (*end == 'k' || *end == 'm' || *end == 'g')
		shift = *end == 'k' ? 10 : *end == 'm' ? 20 : 30, end++;
	if (!end || *end || v > (UINT64_MAX >> shift) || (double)(v << shift) < o->min ||
	    (double)(v << shift) > o->max)
		return cli_fail(c, "--%s: '%s' is not a whole number from %.0f to %.0f", o->name, s,
				o->min, o->max);
	*(uint64_t *)o->to = v << shift;
	return -1;
}

static int parse_number(const struct cli *c, const struct cli_option *o, const char *s)
{
	char *end;
	double v = strtod(s, &end);

	if (end == s || *end || !(v >= o->min && v <= o->max))
		return cli_fail(c, "--%s: '%s' is not a number from %g to %g", o->name, s, o->min,
				o->max);
	*(double *)o->to = v;
	return -1;
}

/* The index of s in names, or -1 after a line that lists them. */
static int choose(const struct cli *c, const char *what, const char *const *names, const char *s)
{
	char all[200] = "";
	size_t n = 0;

	for (int i = 0; names[i]; i++) {
		if (strcmp(s, names[i]) == 0)
			return i;
		n += (size_t)snprintf(all + n, sizeof all - n, "%s%s", i ? ", " : "", names[i]);
	}
	cli_fail(c, "%s'%s' is not one of: %s", what, s, all);
	return -1;
}

static int parse_value(const struct cli *c, const struct cli_option *o, const char *s)
{
	struct cli_list *list = o->to;
	char what[64];
	int i;

	switch (o->kind) {
	case CLI_FLAG:
		return cli_fail(c, "--%s takes no value", o->name);
	case CLI_TEXT:
		*(const char **)o->to = s;
		return -1;
	case CLI_LIST:
		if (list->count == CLI_LIST_MAX)
			return cli_fail(c, "--%s: given more than %d times", o->name, CLI_LIST_MAX);
		list->item[list->count++] = s;
		return -1;
	case CLI_COUNT:
		return parse_count(c, o, s);
	case CLI_NUMBER:
		return parse_number(c, o, s);
	case CLI_CHOICE:
		snprintf(what, sizeof what, "--%s: ", o->name);
		i = choose(c, what, o->names, s);
		if (i < 0)
			return EXIT_USAGE;
		*(int *)o->to = i;
	}
	return -1;
}

/* One option at argv[*at], its value maybe in the next. */
static int parse_option(const struct cli *c, char **argv, int argc, int *at)
{
	const char *name = argv[*at] + 2, *value = strchr(name, '=');
	size_t n = value ? (size_t)(value - name) : strlen(name);

	for (unsigned i = 0; i < c->options; i++) {
		const struct cli_option *o = &c->option[i];

		if (strlen(o->name) != n || memcmp(o->name, name, n) != 0)
			continue;
		if (value)
			return parse_value(c, o, value + 1);
		if (o->kind == CLI_FLAG) {
			*(bool *)o->to = true;
			return -1;
		}
		if (++*at >= argc)
			return cli_fail(c, "--%s needs a value", o->name);
		return parse_value(c, o, argv[*at]);
	}
	return cli_fail(c, "there is no option '%s'; try ringline %s --help", argv[*at],
			c->command);
}

int cli_parse(const struct cli *c, int argc, char **argv, int *word)
{
	int found = -1;

	for (int i = 1; i < argc; i++) {
		int status = -1;

		if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
			fputs(c->help, stdout);
			return 0;
		}
		if (argv[i][0] == '-') {
			status =
				argv[i][1] == '-'
					? parse_option(c, argv, argc, &i)
					: cli_fail(
						  c,
						  "there is no option '%s'; try ringline %s --help",
						  argv[i], c->command);
		} else if (!c->words || found >= 0) {
			status = cli_fail(c, "unexpected '%s'; try ringline %s --help", argv[i],
					  c->command);
		} else {
			found = choose(c, "", c->words, argv[i]);
			status = found < 0 ? EXIT_USAGE : -1;
		}
		if (status >= 0)
			return status;
	}
	if (c->words && found < 0)
		return cli_fail(c, "%s or %s? try ringline %s --help", c->words[0], c->words[1],
				c->command);
	if (c->words)
		*word = found;
	return -1;
}

static const char *unix_address(const struct sockaddr_un *un, char *buf, size_t cap)
{
	bool abstract = !un->sun_path[0] && un->sun_path[1];

	snprintf(buf, cap, "unix:%s%.*s", abstract ? "@" : "", (int)sizeof un->sun_path - abstract,
		 un->sun_path + abstract);
	return buf;
}

const char *cli_address(const struct sockaddr_storage *ss, char *buf, size_t cap)
{
	bool six = ss->ss_family == AF_INET6;
	char host[NI_MAXHOST], port[NI_MAXSERV];

	if (ss->ss_family == AF_UNIX)
		return unix_address((const struct sockaddr_un *)ss, buf, cap);
	if (getnameinfo((const struct sockaddr *)ss, sizeof *ss, host, sizeof host, port,
			sizeof port, NI_NUMERICHOST | NI_NUMERICSERV) != 0)
		snprintf(buf, cap, "address family %d", ss->ss_family);
	else
		snprintf(buf, cap, six ? "[%s]:%s" : "%s:%s", host, port);
	return buf;
}

void cli_json_string(FILE *to, const char *s)
{
	fputc('"', to);
	for (; *s; s++) {
		if (*s == '"' || *s == '\\')
			fprintf(to, "\\%c", *s);
		else if ((unsigned char)*s < 0x20)
			fprintf(to, "\\u%04x", (unsigned)*s);
		else
			fputc(*s, to);
	}
	fputc('"', to);
}
