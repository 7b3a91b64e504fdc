/*
 * What the rows of test_op_kinds.c share: one ring with a file table, a buffer group and a
 * registered region, runs of one op, and what every kind was seen to end with.
 */
#ifndef RINGLINE_TESTS_OP_ROWS_H
#define RINGLINE_TESTS_OP_ROWS_H

#include "test.h"
#include "op/op_io.h"
#include "ring/caps.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#define TURN_LIMIT_NS 5000000000
#define RUN_EVENTS 16

#define AUTO_SLOTS 4  /* direct slots [0, 4) are the kernel's choice */
#define TABLE_SLOTS 8 /* [4, 8) are explicit */

#define GROUP 7
#define GROUP_BUFS 4
#define GROUP_BUF_BYTES 512

#define REGION_BYTES 4096

struct row {
	enum op_kind kind;
	const char *name;
	void (*run)(void);
};

/* One ring with all an op may refer to. */
struct bed {
	struct ring ring;
	struct ops ops;
	struct io_uring_buf_ring *group;
	uint8_t *group_mem, *region;
};

/* One op and every event it had. */
struct run {
	struct op_io io;
	struct bed *bed;
	unsigned n;
	struct op_event ev[RUN_EVENTS];
};

static struct bed bed; /* of the row that runs */

/* Ends seen of every kind: with a result, with an error. */
static unsigned seen_good[OP_KIND_COUNT], seen_bad[OP_KIND_COUNT];

/* For a timeout -ETIME is what it is for. */
static bool is_good(enum op_kind kind, int res)
{
	bool timer = kind == OP_TIMEOUT || kind == OP_TIMEOUT_ABS || kind == OP_LINK_TIMEOUT;

	return res >= 0 || (timer && res == -ETIME);
}

static void run_event(struct op_io *io, const struct op_event *ev)
{
	struct run *r = container_of(io, struct run, io);
	enum op_kind kind = io->op.cls->kind;

	if (r->n < RUN_EVENTS)
		r->ev[r->n] = *ev;
	r->n++;
	if (ev->flags & IORING_CQE_F_NOTIF)
		return;
	if (is_good(kind, ev->res))
		seen_good[kind]++;
	else
		seen_bad[kind]++;
}

static void run_init(struct run *r, enum op_kind kind)
{
	*r = (struct run){ .bed = &bed };
	op_io_init(&r->io, kind, run_event);
}

static void bed_turn(struct bed *b, int64_t limit_ns)
{
	if (ops_deliver(&b->ops))
		limit_ns = 0;
	ops_flush(&b->ops);
	CHECK_INT(ring_enter(&b->ring, limit_ns > 0, limit_ns), ==, 0);
	ops_reap(&b->ops, 64);
	ops_check(&b->ops);
}

static void run_submit(struct run *r)
{
	op_submit(&r->bed->ops, &r->io.op);
}

/* Until r had n events (or its last). */
static void run_await(struct run *r, unsigned n)
{
	int64_t until = test_now_ns() + TURN_LIMIT_NS;

	while (r->n < n && op_busy(&r->io.op)) {
		if (test_now_ns() > until)
			test_fail(__FILE__, __LINE__, "%s: %u of %u events",
				  op_kind_name(r->io.op.cls->kind), r->n, n);
		bed_turn(r->bed, TURN_LIMIT_NS / 4);
	}
}

static void run_finish(struct run *r)
{
	run_await(r, UINT32_MAX);
	CHECK_INT(r->io.op.state, ==, OP_DONE);
	CHECK_INT(r->n, <=, RUN_EVENTS);
	CHECK(r->ev[r->n - 1].last);
	op_reset(&r->io.op);
}

/* Submit, wait for the last event; the result of the first. */
static int run_sync(struct run *r)
{
	r->n = 0;
	run_submit(r);
	run_finish(r);
	return r->ev[0].res;
}

static void run_cancel(struct run *r)
{
	static struct op_cancel cancel;

	op_cancel_init(&cancel, NULL);
	CHECK(op_cancel_with(&r->bed->ops, &r->io.op, &cancel));
	while (op_busy(&r->io.op) || op_busy(&cancel.op))
		bed_turn(r->bed, TURN_LIMIT_NS);
}

/* ---- the ring and what is registered with it */

static void bed_tables(struct bed *b)
{
	struct io_uring_rsrc_register files = { .nr = TABLE_SLOTS,
						.flags = IORING_RSRC_REGISTER_SPARSE };
	struct io_uring_file_index_range range = { .off = 0, .len = AUTO_SLOTS };
	struct io_uring_buf_reg group = { .ring_entries = GROUP_BUFS, .bgid = GROUP };
	struct iovec region = { .iov_len = REGION_BYTES };
	size_t group_bytes = GROUP_BUFS * sizeof(struct io_uring_buf);

	CHECK_INT(ring_register(&b->ring, IORING_REGISTER_FILES2, &files, sizeof(files)), ==, 0);
	CHECK_INT(ring_register(&b->ring, IORING_REGISTER_FILE_ALLOC_RANGE, &range, 0), ==, 0);
	CHECK_INT(posix_memalign((void **)&b->group, 4096, group_bytes), ==, 0);
	memset(b->group, 0, group_bytes);
	b->group_mem = calloc(GROUP_BUFS, GROUP_BUF_BYTES);
	CHECK(b->group_mem);
	group.ring_addr = (uintptr_t)b->group;
	CHECK_INT(ring_register(&b->ring, IORING_REGISTER_PBUF_RING, &group, 1), ==, 0);
	CHECK_INT(posix_memalign((void **)&b->region, 4096, REGION_BYTES), ==, 0);
	memset(b->region, 0, REGION_BYTES);
	region.iov_base = b->region;
	CHECK_INT(ring_register(&b->ring, IORING_REGISTER_BUFFERS, &region, 1), ==, 0);
}

static void bed_open(struct bed *b, bool wide)
{
	struct ring_config cfg = {
		.sq_entries = 8, .cq_entries = 32, .sqpoll_cpu = -1, .wide = wide
	};
	struct diag why = { 0 };
	int err = ring_open(&b->ring, &cfg, &why);

	if (err == -ENOSYS || err == -EPERM || (wide && err == -EINVAL))
		SKIP("%s: %s", wide ? "128-byte SQEs" : "io_uring", why.line);
	CHECK_INT(err, ==, 0);
	CHECK_INT(ring_enable(&b->ring, &why), ==, 0);
	ops_init(&b->ops, &b->ring);
	bed_tables(b);
}

static void bed_close(struct bed *b)
{
	CHECK(ops_idle(&b->ops));
	CHECK_INT(b->ops.cancels, ==, 0);
	ops_fini(&b->ops);
	ring_close(&b->ring);
	free(b->group);
	free(b->group_mem);
	free(b->region);
}

/* Put buffers [from, from + n) in circulation. */
static void group_fill(struct bed *b, unsigned from, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		io_uring_buf_ring_add(b->group, b->group_mem + (size_t)(from + i) * GROUP_BUF_BYTES,
				      GROUP_BUF_BYTES, (unsigned short)(from + i), GROUP_BUFS - 1,
				      (int)i);
	io_uring_buf_ring_advance(b->group, (int)n);
}

/* The buffer that event was delivered in. */
static uint8_t *event_buf(const struct op_event *ev)
{
	unsigned bid = ev->flags >> IORING_CQE_BUFFER_SHIFT;

	CHECK(ev->flags & IORING_CQE_F_BUFFER);
	CHECK_INT(bid, <, GROUP_BUFS);
	return bed.group_mem + (size_t)bid * GROUP_BUF_BYTES;
}

/* Is the opcode there at all? */
static bool bed_supports(struct bed *b, unsigned opcode)
{
	uint64_t room[64 + 256] = { 0 };
	struct io_uring_probe *probe = (struct io_uring_probe *)room;

	CHECK_INT(ring_register(&b->ring, IORING_REGISTER_PROBE, probe, 256), ==, 0);
	return opcode <= probe->last_op && (probe->ops[opcode].flags & IO_URING_OP_SUPPORTED);
}

/* ---- descriptors */

static struct sockaddr_in loopback(void)
{
	struct sockaddr_in sa = { .sin_family = AF_INET };

	sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	return sa;
}

static struct sockaddr_in bound_to(int fd)
{
	struct sockaddr_in sa;
	socklen_t n = sizeof(sa);

	CHECK_INT(getsockname(fd, (struct sockaddr *)&sa, &n), ==, 0);
	return sa;
}

/* A socket bound to a port of loopback. */
static int bound_socket(int type)
{
	struct sockaddr_in sa = loopback();
	int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);

	CHECK_INT(fd, >=, 0);
	CHECK_INT(bind(fd, (struct sockaddr *)&sa, sizeof(sa)), ==, 0);
	return fd;
}

static int listener(void)
{
	int fd = bound_socket(SOCK_STREAM);

	CHECK_INT(listen(fd, 8), ==, 0);
	return fd;
}

static int connect_to(int listen_fd)
{
	struct sockaddr_in sa = bound_to(listen_fd);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	CHECK_INT(fd, >=, 0);
	CHECK_INT(connect(fd, (struct sockaddr *)&sa, sizeof(sa)), ==, 0);
	return fd;
}

/* Two ends of a TCP connection. */
static void tcp_pair(int fd[2])
{
	int l = listener();

	fd[0] = connect_to(l);
	fd[1] = accept4(l, NULL, NULL, SOCK_CLOEXEC);
	CHECK_INT(fd[1], >=, 0);
	close(l);
}

static void put(int fd, const char *text)
{
	CHECK_INT(send(fd, text, strlen(text), MSG_NOSIGNAL), ==, strlen(text));
}

static void expect(int fd, const char *text)
{
	char got[256] = { 0 };

	CHECK_INT(recv(fd, got, strlen(text), MSG_WAITALL), ==, strlen(text));
	CHECK_STR(got, text);
}

/* close with a reset instead of a FIN */
static void reset(int fd)
{
	struct linger now = { .l_onoff = 1 };

	CHECK_INT(setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now)), ==, 0);
	close(fd);
}

static int event_counter(void)
{
	int fd = eventfd(0, EFD_CLOEXEC);

	CHECK_INT(fd, >=, 0);
	return fd;
}

static void event_add(int fd, uint64_t n)
{
	CHECK_INT(write(fd, &n, sizeof(n)), ==, sizeof(n));
}

/* Install fd in an explicit direct slot. */
static void into_slot(struct bed *b, int fd, unsigned slot)
{
	struct io_uring_rsrc_update update = { .offset = slot, .data = (uintptr_t)&fd };

	CHECK_INT(ring_register(&b->ring, IORING_REGISTER_FILES_UPDATE, &update, 1), ==, 1);
}

/* ---- runs several rows share */

static void row_bad_fd(enum op_kind kind)
{
	struct run r;

	run_init(&r, kind);
	r.io.a.flags = kind == OP_POLL || kind == OP_POLL_MULTI ? POLLIN : 0;
	CHECK_INT(run_sync(&r), ==, -EBADF);
	CHECK_INT(r.n, ==, 1);
}

/* Two ends of a TCP connection. */
struct pair {
	int fd[2];
};

static void pair_open(struct pair *p)
{
	tcp_pair(p->fd);
}

static void pair_close(struct pair *p)
{
	close(p->fd[0]);
	close(p->fd[1]);
}

static void sock_init(struct run *r, enum op_kind kind, int fd, const void *buf, size_t len)
{
	run_init(r, kind);
	r->io.a.fd = fd;
	r->io.a.buf = (void *)(uintptr_t)buf;
	r->io.a.len = (uint32_t)len;
}

static void slot_sends(int slot, const char *text)
{
	struct run r;

	sock_init(&r, OP_SEND, slot, text, strlen(text));
	r.io.a.fixed = true;
	CHECK_INT(run_sync(&r), ==, strlen(text));
}

#endif
