/*
 * What Linux answers to short sequences of SQEs, as a table. The same rows run on the real kernel
 * (tests/unit/test_conformance.c) and on the simulator (tests/sim/test_conformance_sim.c): the real
 * kernel's outcome must be among those listed, and the first one listed, which a real kernel gave,
 * must be one that the simulator can produce.
 *
 * A row scripts one ring, one listener, at most one connection in direct slot 0, and a peer behind
 * it; what happened it writes as words, an errno by its name.
 */
#ifndef RINGLINE_TESTS_SIM_CONFORMANCE_H
#define RINGLINE_TESTS_SIM_CONFORMANCE_H

#include "base/sys.h"
#include "ring/ring.h"
#include "ring/uapi.h"
#include "test.h"
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/un.h>
#include <unistd.h>

#define CONF_CQES 256
#define CONF_SLOTS 8
#define CONF_BUF 64
#define CONF_GROUP 3
#define CONF_BIG (8u << 20)
#define CONF_ZC (4u << 20)     /* within the memory that an ordinary user may lock */
#define CONF_QUIET_NS 20000000 /* long enough for loopback to deliver */
#define CONF_WAIT_NS 5000000000

struct conf;

/* The other end of the connection, in whichever world. */
struct conf_peer {
	void (*connect)(struct conf *c);
	ssize_t (*send)(struct conf *c, const void *p, size_t n);
	ssize_t (*recv)(struct conf *c, void *p, size_t n); /* -EAGAIN: nothing yet */
	void (*fin)(struct conf *c);
	void (*rst)(struct conf *c);
	void (*close)(struct conf *c); /* idempotent */
};

struct conf_cqe {
	uint64_t ud;
	int32_t res;
	uint32_t flags;
	bool taken;
};

struct conf {
	const struct ring_kernel *kernel;
	const struct conf_peer *peer;
	struct ring ring;
	int listener, fd;
	uint16_t port;
	void *client; /* of peer */
	int client_fd;
	struct conf_cqe cqe[CONF_CQES];
	unsigned cqes;
	struct io_uring_buf_ring *br;
	uint8_t *bufs, *big;
	char dir[40], path[4][60]; /* a folder for files, and names in it */
	char out[240];
	size_t out_len;
};

/* ---- words */
static const char *conf_name(int err)
{
	static const struct {
		int err;
		const char *name;
	} names[] = {
		{ EBADF, "EBADF" },	      { EINVAL, "EINVAL" },
		{ ENOENT, "ENOENT" },	      { EALREADY, "EALREADY" },
		{ ECANCELED, "ECANCELED" },   { EINTR, "EINTR" },
		{ ENOBUFS, "ENOBUFS" },	      { ECONNRESET, "ECONNRESET" },
		{ EPIPE, "EPIPE" },	      { ENOTCONN, "ENOTCONN" },
		{ ECONNREFUSED, "REFUSED" },  { ENFILE, "ENFILE" },
		{ ENXIO, "ENXIO" },	      { EBUSY, "EBUSY" },
		{ EBADFD, "EBADFD" },	      { EEXIST, "EEXIST" },
		{ ETIME, "ETIME" },	      { EIO, "EIO" },
		{ EISCONN, "EISCONN" },	      { ENOTSOCK, "ENOTSOCK" },
		{ EOPNOTSUPP, "EOPNOTSUPP" }, { EAGAIN, "EAGAIN" },
		{ EFAULT, "EFAULT" },	      { EOVERFLOW, "EOVERFLOW" },
		{ EMFILE, "EMFILE" },	      { EACCES, "EACCES" },
		{ EMSGSIZE, "EMSGSIZE" },     { EAFNOSUPPORT, "EAFNOSUPPORT" },
		{ ENOTDIR, "ENOTDIR" },	      { EISDIR, "EISDIR" },
		{ ENOTEMPTY, "ENOTEMPTY" },   { EPERM, "EPERM" },
		{ EXDEV, "EXDEV" },	      { ENAMETOOLONG, "ENAMETOOLONG" },
		{ ENODEV, "ENODEV" },	      { ESPIPE, "ESPIPE" },
	};

	for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (names[i].err == err)
			return names[i].name;
	return NULL;
}

__attribute__((format(printf, 2, 3))) static void conf_say(struct conf *c, const char *fmt, ...)
{
	va_list ap;

	CHECK_INT(c->out_len + 40, <, sizeof(c->out));
	if (c->out_len)
		c->out[c->out_len++] = ' ';
	va_start(ap, fmt);
	vsnprintf(c->out + c->out_len, 40, fmt, ap);
	va_end(ap);
	c->out_len += strlen(c->out + c->out_len);
}

static void conf_say_res(struct conf *c, long res)
{
	const char *name = res < 0 ? conf_name((int)-res) : NULL;

	if (name)
		conf_say(c, "%s", name);
	else
		conf_say(c, "%ld", res);
}

/* ---- SQEs and CQEs */
static struct io_uring_sqe *conf_sqe(struct conf *c)
{
	struct io_uring_sqe *sqe = ring_sqe(&c->ring);

	CHECK(sqe);
	return sqe;
}

static void conf_take(void *ctx, const struct io_uring_cqe *cqe)
{
	struct conf *c = ctx;

	CHECK_INT(c->cqes, <, CONF_CQES);
	c->cqe[c->cqes++] = (struct conf_cqe){ cqe->user_data, cqe->res, cqe->flags, false };
}

/* One enter that waits at most so long for anything. */
static void conf_enter(struct conf *c, int64_t ns)
{
	CHECK_INT(ring_enter(&c->ring, ns > 0, ns), ==, 0);
	ring_reap(&c->ring, UINT32_MAX, conf_take, c);
}

static struct conf_cqe *conf_find(struct conf *c, uint64_t ud)
{
	for (unsigned i = 0; i < c->cqes; i++)
		if (!c->cqe[i].taken && c->cqe[i].ud == ud)
			return &c->cqe[i];
	return NULL;
}

/* The next CQE of ud, or NULL when none comes within ns. */
static struct conf_cqe *conf_wait(struct conf *c, uint64_t ud, int64_t ns)
{
	int64_t end = sys_now() + ns;
	struct conf_cqe *q;

	while (!(q = conf_find(c, ud))) {
		int64_t left = end - sys_now();

		conf_enter(c, left > 0 ? left : 0);
		if (left <= 0 && !ring_sq_pending(&c->ring))
			break;
	}
	if (q)
		q->taken = true;
	return q;
}

/* Let what is under way arrive: submit everything, then wait a little for nothing. */
static void conf_settle(struct conf *c)
{
	int64_t end = sys_now() + CONF_QUIET_NS;

	while (sys_now() < end || ring_sq_pending(&c->ring)) {
		int64_t left = end - sys_now();

		conf_enter(c, left > 0 ? left : 0);
	}
}

/* Say the result of the next CQE of ud; its flags come back. */
static uint32_t conf_get(struct conf *c, uint64_t ud)
{
	struct conf_cqe *q = conf_wait(c, ud, CONF_WAIT_NS);

	if (!q) {
		conf_say(c, "nothing");
		return 0;
	}
	conf_say_res(c, q->res);
	return q->flags;
}

static int conf_result(struct conf *c, uint64_t ud)
{
	struct conf_cqe *q = conf_wait(c, ud, CONF_WAIT_NS);

	CHECK(q);
	return q->res;
}

static const char *conf_more(uint32_t flags)
{
	return flags & IORING_CQE_F_MORE ? "more" : "last";
}

/* ---- set-up of one row */
static void conf_listen(struct conf *c)
{
	struct sockaddr_in sa = { .sin_family = AF_INET,
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct sockaddr_storage ss;
	socklen_t n = sizeof(ss);

	c->listener = sys_socket(AF_INET, SOCK_STREAM, 0);
	CHECK_INT(c->listener, >=, 0);
	CHECK_INT(sys_bind(c->listener, (struct sockaddr *)&sa, sizeof(sa)), ==, 0);
	CHECK_INT(sys_listen(c->listener, 16), ==, 0);
	CHECK_INT(sys_getsockname(c->listener, &ss, &n), ==, 0);
	c->port = ntohs(((struct sockaddr_in *)&ss)->sin_port);
}

static void conf_open(struct conf *c, const struct ring_kernel *kernel,
		      const struct conf_peer *peer)
{
	struct ring_config rc = { .kernel = kernel, .sq_entries = 16, .cq_entries = 32 };
	struct io_uring_rsrc_register files = { .nr = CONF_SLOTS,
						.flags = IORING_RSRC_REGISTER_SPARSE };

	*c = (struct conf){ .kernel = kernel, .peer = peer, .fd = -1, .client_fd = -1 };
	CHECK_INT(ring_open(&c->ring, &rc, NULL), ==, 0);
	CHECK_INT(ring_enable(&c->ring, NULL), ==, 0);
	CHECK_INT(ring_register(&c->ring, IORING_REGISTER_FILES2, &files, sizeof(files)), ==, 0);
	conf_listen(c);
}

static void conf_close(struct conf *c)
{
	if (c->client || c->client_fd >= 0)
		c->peer->close(c);
	ring_close(&c->ring);
	sys_close(c->listener);
	if (c->fd >= 0)
		sys_close(c->fd);
	sys_unmap(c->br, sys_page_size());
	sys_free(c->bufs);
	sys_free(c->big);
}

static void conf_prep_accept(struct conf *c, unsigned slot, uint64_t ud)
{
	struct io_uring_sqe *sqe = conf_sqe(c);

	io_uring_prep_accept_direct(sqe, c->listener, NULL, NULL, 0, slot);
	sqe->user_data = ud;
}

/* Another ring, of four CQEs, with so many empty slots. */
static void conf_other_ring(struct conf *c, struct ring *r, unsigned slots)
{
	struct ring_config rc = { .kernel = c->kernel, .sq_entries = 2, .cq_entries = 4 };
	struct io_uring_rsrc_register files = { .nr = slots, .flags = IORING_RSRC_REGISTER_SPARSE };

	CHECK_INT(ring_open(r, &rc, NULL), ==, 0);
	CHECK_INT(ring_enable(r, NULL), ==, 0);
	if (slots)
		CHECK_INT(ring_register(r, IORING_REGISTER_FILES2, &files, sizeof(files)), ==, 0);
}

/* A connection in slot 0. */
static void conf_pair(struct conf *c)
{
	c->peer->connect(c);
	conf_prep_accept(c, 0, 900);
	CHECK_INT(conf_result(c, 900), ==, 0);
}

/* count buffers of CONF_BUF bytes in group CONF_GROUP. */
static void conf_group(struct conf *c, unsigned count)
{
	struct io_uring_buf_reg reg = { .ring_entries = 8, .bgid = CONF_GROUP };
	int err;

	c->br = sys_map(sys_page_size(), 0, &err);
	c->bufs = sys_alloc(CONF_BUF * 8);
	CHECK(c->br && c->bufs);
	reg.ring_addr = (uintptr_t)c->br;
	CHECK_INT(ring_register(&c->ring, IORING_REGISTER_PBUF_RING, &reg, 1), ==, 0);
	for (unsigned i = 0; i < count; i++)
		io_uring_buf_ring_add(c->br, c->bufs + i * CONF_BUF, CONF_BUF, (uint16_t)i, 7,
				      (int)i);
	io_uring_buf_ring_advance(c->br, (int)count);
}

static struct io_uring_sqe *conf_fixed(struct io_uring_sqe *sqe, uint64_t ud)
{
	sqe->flags |= IOSQE_FIXED_FILE;
	sqe->user_data = ud;
	return sqe;
}

static struct io_uring_sqe *conf_recv(struct conf *c, void *p, unsigned n, int flags, uint64_t ud)
{
	struct io_uring_sqe *sqe = conf_sqe(c);

	io_uring_prep_recv(sqe, 0, p, n, flags);
	return conf_fixed(sqe, ud);
}

static struct io_uring_sqe *conf_recv_multi(struct conf *c, uint64_t ud)
{
	struct io_uring_sqe *sqe = conf_sqe(c);

	io_uring_prep_recv_multishot(sqe, 0, NULL, 0, 0);
	sqe->flags |= IOSQE_BUFFER_SELECT;
	sqe->buf_group = CONF_GROUP;
	return conf_fixed(sqe, ud);
}

static struct io_uring_sqe *conf_send(struct conf *c, const void *p, unsigned n, int flags,
				      uint64_t ud)
{
	struct io_uring_sqe *sqe = conf_sqe(c);

	io_uring_prep_send(sqe, 0, p, n, flags | MSG_NOSIGNAL);
	return conf_fixed(sqe, ud);
}

static void conf_cancel(struct conf *c, uint64_t target, uint64_t ud)
{
	struct io_uring_sqe *sqe = conf_sqe(c);

	io_uring_prep_cancel64(sqe, target, 0);
	sqe->user_data = ud;
}

static void conf_cancel_slot(struct conf *c, int slot, unsigned flags, uint64_t ud)
{
	struct io_uring_sqe *sqe = conf_sqe(c);

	io_uring_prep_cancel_fd(sqe, slot, flags | IORING_ASYNC_CANCEL_FD_FIXED);
	sqe->user_data = ud;
}

static struct io_uring_sqe *conf_close_slot(struct conf *c, unsigned slot, uint64_t ud)
{
	struct io_uring_sqe *sqe = conf_sqe(c);

	io_uring_prep_close_direct(sqe, slot);
	sqe->user_data = ud;
	return sqe;
}

/* What the peer reads within a while. */
static void conf_say_peer(struct conf *c)
{
	uint8_t buf[64];
	ssize_t n = -EAGAIN;
	int64_t end = sys_now() + CONF_QUIET_NS * 5;

	while (n == -EAGAIN && sys_now() < end) {
		n = c->peer->recv(c, buf, sizeof(buf));
		if (n == -EAGAIN)
			conf_settle(c);
	}
	conf_say_res(c, n);
}

/* The peer reads n bytes. */
static void conf_drain(struct conf *c, size_t n)
{
	static uint8_t buf[65536];
	int64_t end = sys_now() + CONF_WAIT_NS;

	while (n && sys_now() < end) {
		ssize_t r = c->peer->recv(c, buf, n < sizeof(buf) ? n : sizeof(buf));

		if (r == -EAGAIN) {
			conf_enter(c, 1000000);
			continue;
		}
		CHECK_INT(r, >, 0);
		n -= (size_t)r;
	}
	CHECK_INT(n, ==, 0);
}

struct conf_row {
	const char *name;
	void (*run)(struct conf *c);
	const char *outcomes; /* separated by '|'; the first is a real kernel's */
	const char *since;    /* feature of caps that the real kernel needs; NULL: none */
};

static bool conf_listed(const char *outcomes, const char *out)
{
	size_t n = strlen(out);

	for (const char *p = outcomes;; p++) {
		const char *end = strchr(p, '|');
		size_t k = end ? (size_t)(end - p) : strlen(p);

		if (k == n && !memcmp(p, out, n))
			return true;
		if (!end)
			return false;
		p = end;
	}
}

#include "conformance_rows.h"

#endif
