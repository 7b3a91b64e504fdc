/*
 * Listening sockets: options, bind, listen, and the refusals in words.
 */
#include "io/listen.h"

#include "base/sys.h"
#include <errno.h>
#include <netinet/tcp.h>
#include <string.h>

static int set_int(int fd, int level, int name, int v)
{
	return sys_setsockopt(fd, level, name, &v, sizeof v);
}

static int refuse(struct diag *why, int err, const char *what, const struct addr *a)
{
	char text[ADDR_TEXT_MAX];
	const char *cure = "";

	addr_text(&a->sa, a->bytes, text);
	if (err == -EADDRINUSE)
		cure = "; another process listens there: stop it or choose another port";
	else if (err == -EACCES)
		cure = "; ports below 1024 need CAP_NET_BIND_SERVICE, a path needs write "
		       "permission";
	else if (err == -EADDRNOTAVAIL)
		cure = "; no interface of this machine has that address";
	return diag_set(why, err, "%s %s: %s%s", what, text, rln_strerror(err), cure);
}

static int set_options(int fd, const struct addr *a, const struct listen_socket_opts *o,
		       bool reuseport)
{
	bool ip = a->sa.sa_family != AF_UNIX;
	int e = 0;

	if (o->sndbuf)
		e = set_int(fd, SOL_SOCKET, SO_SNDBUF, o->sndbuf);
	if (!e && o->rcvbuf)
		e = set_int(fd, SOL_SOCKET, SO_RCVBUF, o->rcvbuf);
	if (e || !ip)
		return e;
	e = set_int(fd, SOL_SOCKET, SO_REUSEADDR, 1);
	if (!e && reuseport)
		e = set_int(fd, SOL_SOCKET, SO_REUSEPORT, 1);
	/* accepted sockets inherit these */
	if (!e && !o->no_nodelay)
		e = set_int(fd, IPPROTO_TCP, TCP_NODELAY, 1);
	if (!e && o->keepalive_idle_ns) {
		e = set_int(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
		if (!e)
			e = set_int(fd, IPPROTO_TCP, TCP_KEEPIDLE,
				    (int)((o->keepalive_idle_ns + 999999999) / 1000000000));
	}
	if (!e && a->sa.sa_family == AF_INET6)
		e = set_int(fd, IPPROTO_IPV6, IPV6_V6ONLY, !a->every);
	return e;
}

int listen_probe(const struct addr *a, struct diag *why)
{
	int fd = sys_socket(a->sa.sa_family, SOCK_STREAM, 0);

	if (fd < 0)
		return refuse(why, fd, "socket", a);
	int e = set_options(fd, a, &(struct listen_socket_opts){ 0 }, false);
	if (!e)
		e = sys_bind(fd, &a->sa, a->bytes);
	if (!e) /* with SO_REUSEADDR only a listen on the same port is refused */
		e = sys_listen(fd, 1);
	sys_close(fd);
	return e ? refuse(why, e, "listen on", a) : 0;
}

/* A unix socket file nobody listens on is left over from a process that died: replace it. */
static int bind_unix(int fd, const struct addr *a)
{
	int e = sys_bind(fd, &a->sa, a->bytes);

	if (e != -EADDRINUSE || !a->un.sun_path[0])
		return e;
	int probe = sys_socket(AF_UNIX, SOCK_STREAM, 0);
	if (probe < 0)
		return e;
	int alive = sys_connect(probe, &a->sa, a->bytes);
	sys_close(probe);
	if (alive != -ECONNREFUSED || sys_unlink_socket(a->un.sun_path) < 0)
		return e;
	return sys_bind(fd, &a->sa, a->bytes);
}

static int open_inherited(const struct addr *a, struct addr *bound, int *out, struct diag *why)
{
	int listening = 0;
	socklen_t n = sizeof listening;
	int e = sys_getsockopt(a->fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &n);

	if (e || !listening)
		return diag_set(why, e ? e : -EINVAL,
				"fd:%d: %s; hand over a socket on which listen() was called", a->fd,
				e ? rln_strerror(e) : "not a listening socket");
	int fd = sys_dup(a->fd);
	if (fd < 0)
		return diag_set(why, fd, "fd:%d: dup: %s", a->fd, rln_strerror(fd));
	memset(bound, 0, sizeof *bound);
	bound->fd = -1;
	bound->bytes = sizeof bound->storage;
	e = sys_getsockname(fd, &bound->storage, &bound->bytes);
	if (!e)
		e = sys_set_blocking(fd);
	if (e) {
		sys_close(fd);
		return diag_set(why, e, "fd:%d: %s", a->fd, rln_strerror(e));
	}
	*out = fd;
	return 0;
}

int listen_socket_open(const struct addr *addr, const struct listen_socket_opts *o, bool reuseport,
		       struct addr *bound, int *out, struct diag *why)
{
	struct addr a = *addr;

	if (a.fd >= 0)
		return open_inherited(&a, bound, out, why);
	int fd = sys_socket(a.sa.sa_family, SOCK_STREAM, 0);
	if (fd == -EAFNOSUPPORT && a.every) { /* no IPv6 here: all IPv4 addresses */
		in_port_t port = a.in6.sin6_port;
		memset(&a.storage, 0, sizeof a.storage);
		a.in = (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = port };
		a.bytes = sizeof a.in;
		fd = sys_socket(AF_INET, SOCK_STREAM, 0);
	}
	if (fd < 0)
		return refuse(why, fd, "socket", &a);
	int e = set_options(fd, &a, o, reuseport);
	if (!e)
		e = a.sa.sa_family == AF_UNIX ? bind_unix(fd, &a) : sys_bind(fd, &a.sa, a.bytes);
	if (!e)
		e = sys_listen(fd, o->backlog);
	*bound = a;
	bound->bytes = sizeof bound->storage;
	if (!e)
		e = sys_getsockname(fd, &bound->storage, &bound->bytes);
	if (e) {
		sys_close(fd);
		bound->bytes = 0; /* not ours: nothing to remove at the end */
		return refuse(why, e, "listen on", &a);
	}
	*out = fd;
	return 0;
}
