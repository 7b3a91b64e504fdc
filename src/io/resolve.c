/*
 * Resolving names: the system's resolver, on a helper thread, in a call that may be left behind. No
 * cache: the system's interface does not say how long an answer holds, and its own resolver keeps
 * what it may keep.
 */
#include "io/resolve.h"

#include "base/assert.h"
#include "io/addr.h"
#include "ringline/conn.h"
#include "task/blocking.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define ADDRS_MAX 32 /* of one answer; further ones are left out */
#define HOST_MAX 255 /* bytes of a name, as in the protocol */

struct query {
	struct blocking b;
	uint16_t port;
	int max;
	char host[HOST_MAX + 1];
	struct sockaddr_storage addr[ADDRS_MAX];
};

static int query_run(struct blocking *b)
{
	struct query *q = container_of(b, struct query, b);
	return sys_resolve(q->host, q->port, q->addr, q->max);
}

/* Numeric addresses need no helper: 1, or 0 for a name. */
static int numeric(const char *host, uint16_t port, struct sockaddr_storage *out)
{
	char text[HOST_MAX + 16];
	struct addr a;

	snprintf(text, sizeof text, strchr(host, ':') ? "[%s]:%u" : "%s:%u", host, port);
	if (addr_parse(text, &a, NULL) < 0 || a.fd >= 0)
		return 0;
	if (a.sa.sa_family != AF_INET && a.sa.sa_family != AF_INET6)
		return 0;
	*out = a.storage;
	return 1;
}

int resolve_name(const char *host, uint16_t port, struct sockaddr_storage *out, int max,
		 const char *call)
{
	size_t n = strnlen(host, HOST_MAX + 1);
	bool left;

	if (!n || n > HOST_MAX || max < 1)
		return -EINVAL;
	if (numeric(host, port, out)) {
		wait_done_quickly();
		return 1;
	}
	struct query *q = sys_zalloc(sizeof *q);
	if (!q)
		return -ENOMEM;
	q->b.run = query_run;
	q->port = port;
	q->max = max < ADDRS_MAX ? max : ADDRS_MAX;
	memcpy(q->host, host, n);
	int count = blocking_run_owned(&q->b, call, &left);
	if (left)
		return count;
	for (int i = 0; i < count; i++)
		out[i] = q->addr[i];
	sys_free(q);
	return count;
}

int rln_resolve(const char *host, uint16_t port, struct sockaddr_storage *out, int max)
{
	int e = wait_enter("rln_resolve");

	if (!e && (!host || !out))
		e = -EINVAL;
	return e ? e : resolve_name(host, port, out, max, "rln_resolve");
}
