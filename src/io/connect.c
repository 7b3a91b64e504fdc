/*
 * Connections that do not come from a listener: outbound connects and adopted descriptors. A direct
 * descriptor has no fd, so the socket is made and configured as an ordinary one, installed in a
 * slot of the explicit range, and the fd closed.
 */
#include "io/connect.h"

#include "base/assert.h"
#include "base/mark.h"
#include "base/opts.h"
#include "base/sys.h"
#include "io/addr.h"
#include "io/resolve.h"
#include <errno.h>
#include <netinet/tcp.h>
#include <string.h>

/* What a connection without a listener is served by: whoever holds the handle. */
static struct conn_mode *make_mode(const rln_connect_opts *o)
{
	struct conn_mode *m = sys_zalloc(sizeof *m);

	if (!m)
		return NULL;
	conn_mode_defaults(m);
	if (o && o->recv_max)
		m->recv_max = o->recv_max;
	if (o && o->send_high) {
		m->send_high = o->send_high;
		m->send_low = o->send_high / 4;
	}
	if (o)
		m->idle_ns = o->idle_timeout;
	return m;
}

void conn_mode_defaults(struct conn_mode *m)
{
	m->recv_max = 1 << 20;
	m->send_high = 1 << 20;
	m->send_low = 256 << 10;
	m->close_timeout_ns = 5 * INT64_C(1000000000);
	m->close_max_ns = 60 * INT64_C(1000000000);
	m->send_stall_ns = 60 * INT64_C(1000000000);
}

/* A slot with fd in it and a connection object on top. Takes mode; fd stays the caller's. */
static int install(struct io *io, int fd, int family, struct conn_mode *mode, struct conn **out)
{
	int slot = files_slot(&io->files);

	if (slot < 0)
		return slot;
	struct conn *c = conn_at(io, (unsigned)slot);
	int e = c ? files_install(&io->files, (unsigned)slot, fd) : -ENOMEM;
	if (e < 0) {
		files_slot_free(&io->files, (unsigned)slot);
		return e;
	}
	conn_open(c, mode, family);
	c->own_mode = true;
	*out = c;
	return 0;
}

static int bind_local(int fd, const char *text)
{
	struct addr a;
	int one = 1;
	int e = addr_parse(text, &a, NULL);

	if (e || a.fd >= 0)
		return e ? e : -EINVAL;
	if (a.sa.sa_family != AF_UNIX)
		e = sys_setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	return e ? e : sys_bind(fd, &a.sa, a.bytes);
}

static int make_socket(const struct sockaddr *sa, const rln_connect_opts *o)
{
	int one = 1, e = 0;
	int fd = sys_socket(sa->sa_family, SOCK_STREAM, 0);

	if (fd < 0)
		return fd;
	if (sa->sa_family != AF_UNIX)
		e = sys_setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	if (!e && o && o->bind)
		e = bind_local(fd, o->bind);
	if (e) {
		sys_close(fd);
		return e;
	}
	return fd;
}

static bool family_ok(const struct sockaddr *sa, socklen_t n)
{
	switch (sa->sa_family) {
	case AF_INET:
		return n >= sizeof(struct sockaddr_in);
	case AF_INET6:
		return n >= sizeof(struct sockaddr_in6);
	case AF_UNIX:
		return n > sizeof(sa_family_t);
	default:
		return false;
	}
}

int connect_begin(const struct sockaddr *sa, socklen_t n, const rln_connect_opts *o,
		  struct conn **out)
{
	struct io *io = io_current();
	struct conn *c;

	if (!family_ok(sa, n))
		return -EAFNOSUPPORT;
	if (io->cancelled)
		return -ESHUTDOWN;
	struct conn_mode *mode = make_mode(o);
	if (!mode)
		return -ENOMEM;
	int fd = make_socket(sa, o);
	int e = fd < 0 ? fd : install(io, fd, sa->sa_family, mode, &c);
	if (fd >= 0)
		sys_close(fd);
	if (e < 0) {
		sys_free(mode);
		return e;
	}
	if (n <= sizeof c->peer && sa->sa_family != AF_UNIX) {
		memcpy(c->peer.raw, sa, n);
		c->peer_bytes = (uint8_t)n;
	}
	c->target = sa;
	c->target_bytes = n;
	conn_ctl(c, CTL_CONNECT);
	*out = c;
	return 0;
}

/* The slot may have been closed and be another's by the time this task runs: its generation tells.
 */
void connect_settle(struct conn *c, const char *call)
{
	uint32_t generation = c->generation;

	while (c->generation == generation && c->ctl_kind == CTL_CONNECT) {
		RLN_MARK("connect-given-up-while-out");
		wait_uncancellable(&c->flushers, call);
	}
}

int connect_done(struct conn *c, rln_conn *out)
{
	if (c->io->cancelled) { /* past drain_timeout nobody would end it */
		conn_close(c, -ESHUTDOWN);
		return -ESHUTDOWN;
	}
	c->io->stats.connects++;
	conn_serve(c);
	*out = conn_handle(c);
	return 0;
}

/* The address is in this frame, so not even a cancellation leaves before the kernel let go of it.
 */
static int connect_to(const struct sockaddr *sa, socklen_t n, const rln_connect_opts *o,
		      rln_conn *out)
{
	struct sockaddr_storage target;
	struct conn *c;

	if (n > sizeof target)
		return -EAFNOSUPPORT;
	memcpy(&target, sa, n);
	int e = connect_begin((struct sockaddr *)&target, n, o, &c);
	if (e)
		return e;
	e = wait_on(&c->flushers, "rln_connect");
	if (!e)
		e = c->close_err;
	if (e < 0) {
		conn_close(c, e);
		connect_settle(c, "rln_connect");
		return e;
	}
	return connect_done(c, out);
}

static int read_opts(const rln_connect_opts *in, size_t size, rln_connect_opts *out)
{
	int e = opts_copy(out, sizeof *out, in, size);
	return e ? e : out->idle_timeout < 0 ? -EINVAL : 0;
}

int rln_connect_addr_sized(const struct sockaddr *sa, socklen_t n, const rln_connect_opts *o,
			   size_t opts_size, rln_conn *out)
{
	rln_connect_opts opts;
	int e = wait_enter("rln_connect_addr");

	if (!e)
		e = read_opts(o, opts_size, &opts);
	if (!e && (!sa || !out))
		e = -EINVAL;
	return e ? e : connect_to(sa, n, &opts, out);
}

static int connect_to_name(const char *host, uint16_t port, const rln_connect_opts *o,
			   rln_conn *out)
{
	struct sockaddr_storage addr[CONNECT_RACE_MAX];
	int n = resolve_name(host, port, addr, CONNECT_RACE_MAX, "rln_connect");

	if (n < 0)
		return n;
	addrs_interleave(addr, n);
	return connect_race(addr, n, o, out, "rln_connect");
}

int rln_connect_sized(const char *text, const rln_connect_opts *o, size_t opts_size, rln_conn *out)
{
	char host[ADDR_NAME_MAX];
	uint16_t port;
	struct addr a;
	rln_connect_opts opts;
	int e = wait_enter("rln_connect");

	if (!e)
		e = read_opts(o, opts_size, &opts);
	if (!e && (!text || !out))
		e = -EINVAL;
	if (e)
		return e;
	if (addr_name(text, host, sizeof host, &port))
		return connect_to_name(host, port, &opts, out);
	e = addr_parse_target(text, &a, NULL);
	return e ? e : connect_to(&a.sa, a.bytes, &opts, out);
}

/* ---- adopted descriptors */
static int adopt_family(int fd, struct sockaddr_storage *peer, socklen_t *peer_bytes)
{
	struct sockaddr_storage self;
	socklen_t n = sizeof self;
	int type = sys_fd_type(fd), kind = 0;
	socklen_t kind_bytes = sizeof kind;

	*peer_bytes = 0;
	if (type < 0)
		return type;
	if (type == S_IFIFO || type == S_IFCHR)
		return 0;
	if (type != S_IFSOCK)
		return -EINVAL;
	int e = sys_getsockopt(fd, SOL_SOCKET, SO_TYPE, &kind, &kind_bytes);
	if (!e && kind != SOCK_STREAM)
		e = -EINVAL;
	if (!e)
		e = sys_getsockname(fd, &self, &n);
	if (e)
		return e;
	*peer_bytes = sizeof *peer;
	e = sys_getpeername(fd, peer, peer_bytes);
	if (e == -ENOTCONN)
		e = -EINVAL; /* a listening socket, or one that was never connected */
	return e ? e : self.ss_family;
}

int rln_adopt_fd(int fd, rln_conn *out)
{
	struct io *io = io_current();
	struct sockaddr_storage peer;
	socklen_t peer_bytes;
	struct conn *c;

	if (!io)
		return conn_off_worker("rln_adopt_fd");
	if (!out)
		return -EINVAL;
	if (io->cancelled)
		return -ESHUTDOWN;
	int family = adopt_family(fd, &peer, &peer_bytes);
	if (family < 0)
		return family;
	int e = sys_set_blocking(fd);
	if (e < 0)
		return e;
	struct conn_mode *mode = make_mode(NULL);
	if (!mode)
		return -ENOMEM;
	e = install(io, fd, family, mode, &c);
	if (e < 0) {
		sys_free(mode);
		return e;
	}
	sys_close(fd);
	if (family != AF_UNIX && peer_bytes <= sizeof c->peer) {
		memcpy(c->peer.raw, &peer, peer_bytes);
		c->peer_bytes = (uint8_t)peer_bytes;
	}
	conn_serve(c);
	*out = conn_handle(c);
	return 0;
}
