/*
 * Every kind of operation that the library can prepare, on the simulated kernel, in each of its
 * versions: all of them end well there but NVMe commands, of which it has no device.
 */
#include "base/sys.h"
#include "op/op.h"
#include "op/op_io.h"
#include "seed.h"
#include "sim/world.h"
#include "test.h"
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/uio.h>

#define PORT 7777
#define BUFS 4
#define BUF 256

static struct world *w;
static struct ring ring;
static struct ops ops;
static unsigned good[OP_KIND_COUNT];

struct run {
	struct op_io io;
	unsigned n;
	int first, last;
	bool ended;
};

static void run_event(struct op_io *io, const struct op_event *ev)
{
	struct run *r = container_of(io, struct run, io);
	enum op_kind kind = io->op.cls->kind;

	if (!r->n++)
		r->first = ev->res;
	if (!(ev->flags & IORING_CQE_F_NOTIF))
		r->last = ev->res;
	r->ended |= ev->last;
	good[kind] += ev->res >= 0 || ev->res == -ETIME;
}

static void turn(void)
{
	int64_t wait = ops_deliver(&ops) ? 0 : 1000000000;

	ops_flush(&ops);
	ring_enter(&ring, wait > 0, wait);
	ops_reap(&ops, 64);
	ops_check(&ops);
}

static void run_init(struct run *r, enum op_kind kind, int fd)
{
	*r = (struct run){ 0 };
	op_io_init(&r->io, kind, run_event);
	r->io.a.fd = fd;
}

static void run_finish(struct run *r)
{
	while (!r->ended)
		turn();
	op_reset(&r->io.op);
}

static int run(struct run *r)
{
	op_submit(&ops, &r->io.op);
	run_finish(r);
	return r->first;
}

static int run_bytes(enum op_kind kind, int fd, void *buf, unsigned n)
{
	struct run r;

	run_init(&r, kind, fd);
	r.io.a.buf = buf;
	r.io.a.len = n;
	r.io.a.flags = kind == OP_RECV || kind == OP_RECVMSG ? MSG_WAITALL : 0;
	return run(&r);
}

/* Until it has had so many events, then cancelled. */
static void run_multi(struct run *r, unsigned n)
{
	static struct op_cancel cancel;

	op_submit(&ops, &r->io.op);
	while (r->n < n && !r->ended)
		turn();
	if (!r->ended) {
		op_cancel_init(&cancel, NULL);
		CHECK(op_cancel_with(&ops, &r->io.op, &cancel));
		while (op_busy(&cancel.op))
			turn();
	}
	run_finish(r);
}

/* ---- the ring itself */
static void ring_kinds(void)
{
	struct run r[2];
	struct op *chain[2] = { &r[0].io.op, &r[1].io.op };
	static struct run parked;
	uint64_t count = 0;
	int fd = sys_eventfd();

	run_init(&r[0], OP_NOP, -1);
	CHECK_INT(run(&r[0]), ==, 0);
	run_init(&r[0], OP_TIMEOUT, -1);
	r[0].io.a.ns = 1000000;
	CHECK_INT(run(&r[0]), ==, -ETIME);
	run_init(&r[0], OP_TIMEOUT_ABS, -1);
	r[0].io.a.ns = sys_now() + 1000000;
	CHECK_INT(run(&r[0]), ==, -ETIME);
	run_init(&r[0], OP_POLL, fd);
	r[0].io.a.flags = POLLIN;
	run_init(&r[1], OP_LINK_TIMEOUT, -1);
	r[1].io.a.ns = 1000000;
	CHECK_INT(op_submit_chain(&ops, chain, 2), ==, 0);
	run_finish(&r[0]);
	run_finish(&r[1]);
	run_init(&parked, OP_POLL, fd);
	parked.io.a.flags = POLLIN;
	op_submit(&ops, &parked.io.op);
	turn();
	run_init(&r[0], OP_CANCEL, -1);
	r[0].io.a.target = &parked.io.op;
	CHECK_INT(run(&r[0]), <=, 0);
	CHECK_INT(sys_eventfd_signal(fd), ==, 0); /* if the cancel missed */
	run_finish(&parked);
	run_init(&r[0], OP_CANCEL_FD, fd);
	CHECK_INT(run(&r[0]), ==, 0);
	CHECK_INT(run_bytes(OP_EVENTFD_READ, fd, &count, 8), ==, 8);
	run_init(&r[0], OP_MSG_RING, ring.u.ring_fd);
	CHECK_INT(run(&r[0]), ==, 0);
	run_init(&r[0], OP_POLL, fd);
	r[0].io.a.flags = POLLOUT;
	CHECK_INT(run(&r[0]), ==, POLLOUT);
	run_init(&r[0], OP_CLOSE, fd);
	CHECK_INT(run(&r[0]), ==, 0);
}

/* ---- sockets */
static void talk(int fd)
{
	char text[] = "hello", got[8] = "";
	struct iovec v = { text, 5 }, in = { got, 5 };
	struct msghdr msg = { .msg_iov = &v, .msg_iovlen = 1 };
	struct msghdr into = { .msg_iov = &in, .msg_iovlen = 1 };
	static const enum op_kind out[] = { OP_SEND, OP_SENDMSG, OP_SEND_ZC, OP_SENDMSG_ZC };

	for (unsigned i = 0; i < 4; i++) {
		bool message = out[i] == OP_SENDMSG || out[i] == OP_SENDMSG_ZC;

		memset(got, 0, sizeof(got));
		CHECK_INT(run_bytes(out[i], fd, message ? (void *)&msg : text, message ? 0 : 5), ==,
			  5);
		if (i % 2)
			CHECK_INT(run_bytes(OP_RECVMSG, fd, &into, 0), ==, 5);
		else
			CHECK_INT(run_bytes(OP_RECV, fd, got, 5), ==, 5);
		CHECK_STR(got, "hello");
	}
}

static void groups(int fd)
{
	struct io_uring_buf_reg reg = { .ring_entries = BUFS, .bgid = 1 };
	struct msghdr msg = { 0 };
	struct io_uring_buf_ring *br;
	struct run r;
	uint8_t *bufs = sys_alloc(BUFS * BUF);
	int err;

	br = sys_map(sys_page_size(), 0, &err);
	reg.ring_addr = (uintptr_t)br;
	CHECK_INT(ring_register(&ring, IORING_REGISTER_PBUF_RING, &reg, 1), ==, 0);
	for (uint16_t i = 0; i < BUFS; i++)
		io_uring_buf_ring_add(br, bufs + i * BUF, BUF, i, BUFS - 1, i);
	io_uring_buf_ring_advance(br, BUFS);
	for (unsigned i = 0; i < 2; i++) {
		CHECK_INT(run_bytes(OP_SEND, fd, (void *)"hello", 5), ==, 5);
		run_init(&r, i ? OP_RECVMSG_MULTI : OP_RECV_MULTI, fd);
		r.io.a.group = 1;
		r.io.a.buf = i ? &msg : NULL;
		run_multi(&r, 1);
		CHECK_INT(r.first, >, i ? sizeof(struct io_uring_recvmsg_out) : 0);
	}
	CHECK_INT(ring_register(&ring, IORING_UNREGISTER_PBUF_RING, &reg, 1), ==, 0);
	sys_unmap(br, sys_page_size());
	sys_free(bufs);
}

static void socket_kinds(void)
{
	struct sockaddr_in sa = { .sin_family = AF_INET,
				  .sin_port = htons(PORT),
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct run r;
	int fd, res;

	run_init(&r, OP_SOCKET, AF_INET);
	r.io.a.flags = SOCK_STREAM;
	fd = run(&r);
	CHECK_INT(fd, >, 2);
	run_init(&r, OP_CONNECT, fd);
	r.io.a.addr = &sa;
	r.io.a.addr_bytes = sizeof(sa);
	CHECK_INT(run(&r), ==, 0);
	talk(fd);
	groups(fd);
	run_init(&r, OP_POLL_MULTI, fd);
	r.io.a.flags = POLLOUT;
	run_multi(&r, 1);
	run_init(&r, OP_SOCKET_CMD, fd);
	r.io.a.cmd_op = RU_SOCKET_URING_OP_SIOCOUTQ;
	res = run(&r);
	CHECK_INT(res, ==, world_version(w) < LINUX_6_12 ? -EOPNOTSUPP : 0);
	run_init(&r, OP_SHUTDOWN, fd);
	r.io.a.flags = SHUT_WR;
	CHECK_INT(run(&r), ==, 0);
	run_init(&r, OP_CLOSE, fd);
	CHECK_INT(run(&r), ==, 0);
}

/* Clients taken one by one and again and again; the last one goes to another ring. */
static void accept_kinds(void)
{
	struct io_uring_rsrc_register files = { .nr = 2, .flags = IORING_RSRC_REGISTER_SPARSE };
	struct ring_config rc = { .kernel = ring.kernel, .sq_entries = 2, .cq_entries = 4 };
	struct sockaddr_in sa = { .sin_family = AF_INET,
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct peer_config pc = { .kind = PEER_SILENT, .life_ns = 1000 };
	int fd = sys_socket(AF_INET, SOCK_STREAM, 0);
	struct sockaddr_storage ss;
	socklen_t n = sizeof(ss);
	struct ring other;
	struct run r;
	uint16_t port;

	CHECK_INT(sys_bind(fd, (struct sockaddr *)&sa, sizeof(sa)), ==, 0);
	CHECK_INT(sys_listen(fd, 4), ==, 0);
	CHECK_INT(sys_getsockname(fd, &ss, &n), ==, 0);
	port = ntohs(((struct sockaddr_in *)&ss)->sin_port);
	CHECK_INT(ring_register(&ring, IORING_REGISTER_FILES2, &files, sizeof(files)), ==, 0);
	CHECK_INT(ring_open(&other, &rc, NULL), ==, 0);
	CHECK_INT(ring_enable(&other, NULL), ==, 0);
	CHECK_INT(ring_register(&other, IORING_REGISTER_FILES2, &files, sizeof(files)), ==, 0);
	world_peer(w, port, &pc);
	run_init(&r, OP_ACCEPT, fd);
	r.io.a.slot = 1;
	CHECK_INT(run(&r), ==, 0);
	world_peer(w, port, &pc);
	run_init(&r, OP_ACCEPT_MULTI, fd);
	r.io.a.slot = OP_SLOT_AUTO;
	run_multi(&r, 1);
	CHECK_INT(r.first, ==, 0);
	run_init(&r, OP_MSG_RING_FD, other.u.ring_fd);
	r.io.a.off = 1;
	r.io.a.slot = OP_SLOT_AUTO;
	CHECK_INT(run(&r), ==, 0);
	ring_close(&other);
	CHECK_INT(ring_register(&ring, IORING_UNREGISTER_FILES, NULL, 0), ==, 0);
	CHECK_INT(sys_close(fd), ==, 0);
}

/* ---- files */
static int run_path(enum op_kind kind, const char *path, int flags, void *buf, unsigned len)
{
	struct run r;

	run_init(&r, kind, AT_FDCWD);
	r.io.a.addr = path;
	r.io.a.flags = flags;
	r.io.a.mode = 0755;
	r.io.a.buf = buf;
	r.io.a.len = len;
	return run(&r);
}

static void file_kinds(void)
{
	char a[8] = "one", b[8] = "";
	struct iovec v[2] = { { a, 3 }, { a, 3 } }, region = { b, sizeof(b) };
	struct statx st;
	int fd;

	CHECK_INT(run_path(OP_MKDIRAT, "d", 0, NULL, 0), ==, 0);
	fd = run_path(OP_OPENAT, "d/f", O_RDWR | O_CREAT | O_EXCL, NULL, 0);
	CHECK_INT(fd, >, 2);
	CHECK_INT(run_bytes(OP_WRITE, fd, a, 3), ==, 3);
	CHECK_INT(run_bytes(OP_WRITEV, fd, v, 2), ==, 6);
	CHECK_INT(run_bytes(OP_READ, fd, b, 8), ==, 6);
	CHECK_STR(b, "oneone");
	CHECK_INT(ring_register(&ring, IORING_REGISTER_BUFFERS, &region, 1), ==, 0);
	memcpy(b, "region", 6);
	CHECK_INT(run_bytes(OP_WRITE_FIXED, fd, b, 6), ==, 6);
	memset(b, 0, sizeof(b));
	CHECK_INT(run_bytes(OP_READ_FIXED, fd, b, 6), ==, 6);
	CHECK_STR(b, "region");
	CHECK_INT(ring_register(&ring, IORING_UNREGISTER_BUFFERS, NULL, 0), ==, 0);
	CHECK_INT(run_bytes(OP_FSYNC, fd, NULL, 0), ==, 0);
	CHECK_INT(run_path(OP_STATX, "d/f", 0, &st, STATX_SIZE), ==, 0);
	CHECK_INT(st.stx_size, ==, 6);
	CHECK_INT(run_path(OP_RENAMEAT, "d/f", 0, (void *)"g", (unsigned)AT_FDCWD), ==, 0);
	CHECK_INT(run_path(OP_UNLINKAT, "g", 0, NULL, 0), ==, 0);
	CHECK_INT(run_path(OP_UNLINKAT, "d", AT_REMOVEDIR, NULL, 0), ==, 0);
	CHECK_INT(sys_close(fd), ==, 0);
}

/* Orders and lateness, but nothing that fails. */
static const struct world_config orders = {
	.fault = { [FAULT_HOLD + 1 ... FAULT_COUNT - 1] = RATE_OFF },
	.rcvbuf = 4096,
	.sndbuf = 4096,
};

static void run_seed(uint64_t seed)
{
	struct peer_config echo = { .kind = PEER_ECHO };
	struct ring_config rc = { .sq_entries = 4, .cq_entries = 8 };
	char why[100];

	seed_set(seed);
	w = world_new(seed, &orders);
	world_enter(w);
	world_remote(w, PORT, &echo);
	rc.kernel = world_kernel(w);
	CHECK_INT(ring_open(&ring, &rc, NULL), ==, 0);
	CHECK_INT(ring_enable(&ring, NULL), ==, 0);
	ops_init(&ops, &ring);
	ring_kinds();
	socket_kinds();
	accept_kinds();
	file_kinds();
	ops_fini(&ops);
	ring_close(&ring);
	while (world_next(w) != INT64_MAX)
		world_run_until(w, world_next(w));
	if (!world_check_quiet(w, why, sizeof(why)))
		world_fail(w, "%s", why);
	world_enter(NULL);
	world_free(w);
}

TEST(ops_sim_every_kind_but_nvme_ends_well)
{
	uint64_t first = seed_first(), seeds = seed_count(100);

	for (uint64_t seed = first; seed < first + seeds; seed++)
		run_seed(seed);
	for (unsigned k = 0; k < OP_KIND_COUNT; k++) {
		if (!good[k])
			printf("  never: %s\n", op_kind_name((enum op_kind)k));
		CHECK(good[k] || k == OP_NVME);
	}
}
