/*
 * Parsing and printing of addresses.
 */
#include "io/addr.h"
#include "base/sys.h"
#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>

#define QUOTE "address \"%.120s\": "

/* All of s as a decimal number of at most max: the number, or -1. */
static long number_parse(const char *s, long max)
{
	long n = 0;

	if (!*s)
		return -1;
	for (; *s; s++) {
		if (*s < '0' || *s > '9')
			return -1;
		n = n * 10 + (*s - '0');
		if (n > max)
			return -1;
	}
	return n;
}

static int fd_parse(const char *s, struct addr *out, struct diag *why)
{
	long fd = number_parse(s + 3, INT_MAX);

	if (fd < 0)
		return diag_set(why, -EINVAL,
				QUOTE "not a descriptor; write fd: and its number, as in fd:3", s);
	out->storage.ss_family = AF_UNSPEC;
	out->fd = (int)fd;
	return 0;
}

static int unix_parse(const char *s, struct addr *out, struct diag *why)
{
	const char *path = s + 5;
	size_t n = strlen(path), room = sizeof out->un.sun_path - 1;
	bool abstract = path[0] == '@';

	if (n <= abstract)
		return diag_set(why, -EINVAL, QUOTE "no path; write unix:/run/name or unix:@name",
				s);
	if (n > room)
		return diag_set(why, -EINVAL,
				QUOTE "the path has %zu bytes, at most %zu fit; use a shorter one",
				s, n, room);
	out->un.sun_family = AF_UNIX;
	memcpy(out->un.sun_path, path, n);
	out->bytes = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n);
	if (abstract)
		out->un.sun_path[0] = '\0';
	else
		out->bytes++;
	return 0;
}

/* An interface by number, or by name: the kernel publishes the number of each name in a file. */
static int scope_parse(const char *name, uint32_t *out)
{
	char path[64 + IF_NAMESIZE], text[16];
	long n = number_parse(name, INT_MAX);
	int r;

	if (n < 0) {
		if (!*name || strlen(name) >= IF_NAMESIZE || strchr(name, '/') || *name == '.')
			return -EINVAL;
		snprintf(path, sizeof path, "/sys/class/net/%s/ifindex", name);
		r = sys_read_file(path, text, sizeof text);
		if (r <= 0)
			return -EINVAL;
		text[strcspn(text, "\n")] = '\0';
		n = number_parse(text, INT_MAX);
	}
	if (n <= 0)
		return -EINVAL;
	*out = (uint32_t)n;
	return 0;
}

static int inet6_parse(const char *s, char *host, struct addr *out, struct diag *why)
{
	char *scope = strchr(host, '%');

	if (scope)
		*scope++ = '\0';
	out->in6.sin6_family = AF_INET6;
	out->bytes = sizeof out->in6;
	if (inet_pton(AF_INET6, host, &out->in6.sin6_addr) != 1)
		return diag_set(why, -EINVAL,
				QUOTE "not an IPv6 address between the brackets; write [::1]:80",
				s);
	if (scope && scope_parse(scope, &out->in6.sin6_scope_id) < 0)
		return diag_set(why, -EINVAL,
				QUOTE
				"no network interface \"%.40s\"; see the names in /sys/class/net",
				s, scope);
	return 0;
}

static int inet_parse(const char *s, const char *host, struct addr *out, struct diag *why)
{
	out->in.sin_family = AF_INET;
	out->bytes = sizeof out->in;
	if (inet_pton(AF_INET, host, &out->in.sin_addr) == 1)
		return 0;
	if (!strcmp(host, "*"))
		return diag_set(why, -EINVAL, QUOTE "write :PORT for every address", s);
	if (strchr(host, ':'))
		return diag_set(why, -EINVAL,
				QUOTE "an IPv6 address stands in brackets; write [::1]:80", s);
	if (host[strspn(host, "0123456789.")] == '\0')
		return diag_set(why, -EINVAL,
				QUOTE "not an IPv4 address; write four numbers, as in 127.0.0.1:80",
				s);
	return diag_set(why, -EINVAL, QUOTE "a name is not resolved here; give a numeric address",
			s);
}

/* Cut s into host (brackets removed, which *v6 tells) and port text. */
static int host_split(const char *s, char *host, size_t cap, bool *v6, const char **port)
{
	const char *end;
	size_t n;

	*v6 = *s == '[';
	end = *v6 ? strchr(s, ']') : strrchr(s, ':');
	if (!end)
		return -EINVAL;
	if (*v6) {
		s++;
		*port = end + 1;
		if (**port != ':')
			return -EINVAL;
		++*port;
	} else {
		*port = end + 1;
	}
	n = (size_t)(end - s);
	if (n >= cap)
		return -EINVAL;
	memcpy(host, s, n);
	host[n] = '\0';
	return 0;
}

static int host_port_parse(const char *s, struct addr *out, struct diag *why)
{
	char host[256];
	const char *port;
	bool v6;
	long n;
	int r;

	if (host_split(s, host, sizeof host, &v6, &port) < 0)
		return diag_set(why, -EINVAL,
				QUOTE "no port; write 127.0.0.1:80, [::1]:80, :80 or unix:/path",
				s);
	if (v6) {
		r = inet6_parse(s, host, out, why);
	} else if (!*host) {
		out->in6.sin6_family = AF_INET6;
		out->bytes = sizeof out->in6;
		out->every = true;
		r = 0;
	} else {
		r = inet_parse(s, host, out, why);
	}
	if (r < 0)
		return r;
	n = number_parse(port, 65535);
	if (n < 0)
		return diag_set(why, -EINVAL,
				QUOTE "\"%.40s\" is not a port; write a number from 0 to 65535", s,
				port);
	if (out->sa.sa_family == AF_INET)
		out->in.sin_port = htons((uint16_t)n);
	else
		out->in6.sin6_port = htons((uint16_t)n);
	return 0;
}

/* Letters, digits, dots, hyphens and, as people do, underscores; not only digits and dots. */
static bool name_ok(const char *host)
{
	bool letters = false;

	for (const char *p = host; *p; p++) {
		bool letter = (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z');
		if (!letter && !(*p >= '0' && *p <= '9') && !strchr("-._", *p))
			return false;
		letters |= letter;
	}
	return letters && *host != '.' && *host != '-';
}

bool addr_name(const char *s, char *host, size_t cap, uint16_t *port)
{
	const char *digits;
	bool v6;

	if (!strncmp(s, "unix:", 5) || !strncmp(s, "fd:", 3))
		return false;
	if (host_split(s, host, cap, &v6, &digits) < 0 || v6 || !name_ok(host))
		return false;
	long n = number_parse(digits, 65535);
	if (n <= 0)
		return false;
	*port = (uint16_t)n;
	return true;
}

int addr_parse(const char *s, struct addr *out, struct diag *why)
{
	memset(out, 0, sizeof *out);
	out->fd = -1;
	if (!s || !*s)
		return diag_set(why, -EINVAL,
				"no address; write 127.0.0.1:80, [::1]:80, :80 or unix:/path");
	if (!strncmp(s, "unix:", 5))
		return unix_parse(s, out, why);
	if (!strncmp(s, "fd:", 3))
		return fd_parse(s, out, why);
	return host_port_parse(s, out, why);
}

int addr_parse_target(const char *s, struct addr *out, struct diag *why)
{
	int r = addr_parse(s, out, why);

	if (r < 0)
		return r;
	if (out->fd >= 0 || out->every)
		return diag_set(why, -EINVAL, QUOTE "not one to connect to; write 127.0.0.1:80", s);
	if (out->sa.sa_family != AF_UNIX && !out->in.sin_port)
		return diag_set(why, -EINVAL, QUOTE "cannot connect to port 0; write the port", s);
	return 0;
}

/* Bytes that could end a line or hide another are shown as \xNN. */
static void name_escape(const char *name, size_t n, char *buf, size_t cap)
{
	size_t at = 0;

	for (size_t i = 0; i < n && at + 5 < cap; i++) {
		unsigned char c = (unsigned char)name[i];
		if (c > 0x20 && c < 0x7f)
			buf[at++] = (char)c;
		else
			at += (size_t)snprintf(buf + at, cap - at, "\\x%02x", c);
	}
	buf[at] = '\0';
}

static void unix_text(const struct sockaddr_un *un, socklen_t bytes, char *buf)
{
	size_t head = offsetof(struct sockaddr_un, sun_path);
	size_t n = bytes > head ? bytes - head : 0;

	if (n > sizeof un->sun_path)
		n = sizeof un->sun_path;
	strcpy(buf, "unix:");
	if (!n)
		return;
	if (un->sun_path[0]) {
		name_escape(un->sun_path, strnlen(un->sun_path, n), buf + 5, ADDR_TEXT_MAX - 5);
		return;
	}
	/* From a sockaddr_storage the length is not known: the zeros after the name are not it. */
	while (n > 1 && !un->sun_path[n - 1])
		n--;
	if (n == 1)
		return;
	buf[5] = '@';
	name_escape(un->sun_path + 1, n - 1, buf + 6, ADDR_TEXT_MAX - 6);
}

char *addr_text(const struct sockaddr *sa, socklen_t bytes, char *buf)
{
	const struct sockaddr_in6 *in6 = (const void *)sa;
	const struct sockaddr_in *in = (const void *)sa;
	char host[INET6_ADDRSTRLEN], scope[16] = "";

	switch (sa->sa_family) {
	case AF_INET:
		inet_ntop(AF_INET, &in->sin_addr, host, sizeof host);
		snprintf(buf, ADDR_TEXT_MAX, "%s:%u", host, ntohs(in->sin_port));
		break;
	case AF_INET6:
		inet_ntop(AF_INET6, &in6->sin6_addr, host, sizeof host);
		if (in6->sin6_scope_id)
			snprintf(scope, sizeof scope, "%%%u", in6->sin6_scope_id);
		snprintf(buf, ADDR_TEXT_MAX, "[%s%s]:%u", host, scope, ntohs(in6->sin6_port));
		break;
	case AF_UNIX:
		unix_text((const void *)sa, bytes, buf);
		break;
	default:
		snprintf(buf, ADDR_TEXT_MAX, "address family %u", sa->sa_family);
	}
	return buf;
}
