/*
 * Every way in which the simulated kernel moves a stream, over many seeds with faults: the bytes
 * arrive once and in order, whoever receives or sends them how. And what it does with memory and
 * SQEs in between.
 */
#include "base/sys.h"
#include "ring/ring.h"
#include "ring/uapi.h"
#include "seed.h"
#include "sim/world.h"
#include "test.h"
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define BUFS 8
#define BUF 64
#define CQES 64
#define STREAM 3000

enum manner {
	BY_RECV,
	BY_RECV_ALL, /* MSG_WAITALL */
	BY_RECVMSG,
	BY_READ,
	BY_READV,
	BY_SELECT,
	BY_READ_SELECT,
	BY_MULTI,
	BY_MESSAGES,
	BY_BUNDLE,
	BY_BUNDLES,
	MANNERS
};

struct kinds {
	struct world *w;
	struct ring ring;
	int listener;
	struct sim_peer *peer;
	struct io_uring_buf_ring *br;
	uint8_t *bufs;
	uint16_t order[BUFS * 2]; /* published and not used yet, oldest first */
	unsigned published;
	struct io_uring_cqe cqe[CQES];
	unsigned cqes;
	uint8_t in[300];
	struct iovec v[2];
	struct msghdr msg;
	size_t sent, got;
	bool armed, ended;
};

static uint8_t stream_byte(size_t at)
{
	return (uint8_t)(at * 7 + at / 251);
}

static void seen(void *ctx, const struct io_uring_cqe *cqe)
{
	struct kinds *k = ctx;

	CHECK_INT(k->cqes, <, CQES);
	k->cqe[k->cqes++] = (struct io_uring_cqe){ cqe->user_data, cqe->res, cqe->flags };
}

static void turn(struct kinds *k)
{
	ring_enter(&k->ring, 1, 1000000);
	ring_reap(&k->ring, UINT32_MAX, seen, k);
}

static struct io_uring_sqe *sqe_of(struct kinds *k)
{
	struct io_uring_sqe *sqe;

	while (!(sqe = ring_sqe(&k->ring)))
		turn(k);
	memset(sqe, 0, sizeof(*sqe));
	return sqe;
}

static void publish(struct kinds *k, uint16_t bid)
{
	io_uring_buf_ring_add(k->br, k->bufs + bid * BUF, BUF, bid, BUFS - 1, 0);
	io_uring_buf_ring_advance(k->br, 1);
	k->order[k->published++] = bid;
}

/* The oldest buffer that was published. */
static uint16_t used(struct kinds *k)
{
	uint16_t bid = k->order[0];

	CHECK_INT(k->published, >, 0);
	k->published--;
	memmove(k->order, k->order + 1, k->published * sizeof(k->order[0]));
	return bid;
}

static void kinds_listen(struct kinds *k)
{
	struct sockaddr_in sa = { .sin_family = AF_INET,
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct peer_config pc = { .kind = PEER_SCRIPT };
	struct sockaddr_storage ss;
	socklen_t n = sizeof(ss);

	k->listener = sys_socket(AF_INET, SOCK_STREAM, 0);
	CHECK_INT(sys_bind(k->listener, (struct sockaddr *)&sa, sizeof(sa)), ==, 0);
	CHECK_INT(sys_listen(k->listener, 4), ==, 0);
	CHECK_INT(sys_getsockname(k->listener, &ss, &n), ==, 0);
	k->peer = world_peer(k->w, ntohs(((struct sockaddr_in *)&ss)->sin_port), &pc);
	while (!peer_connected(k->peer))
		world_run_until(k->w, world_next(k->w));
}

static void kinds_open(struct kinds *k, uint64_t seed, const struct world_config *cfg)
{
	struct ring_config rc = { .sq_entries = 8, .cq_entries = 32 };
	struct io_uring_rsrc_register files = { .nr = 2, .flags = IORING_RSRC_REGISTER_SPARSE };
	struct io_uring_buf_reg reg = { .ring_entries = BUFS, .bgid = 1 };
	struct io_uring_sqe *sqe;
	int err;

	memset(k, 0, sizeof(*k));
	seed_set(seed);
	k->w = world_new(seed, cfg);
	world_enter(k->w);
	rc.kernel = world_kernel(k->w);
	CHECK_INT(ring_open(&k->ring, &rc, NULL), ==, 0);
	CHECK_INT(ring_enable(&k->ring, NULL), ==, 0);
	CHECK_INT(ring_register(&k->ring, IORING_REGISTER_FILES2, &files, sizeof(files)), ==, 0);
	kinds_listen(k);
	sqe = sqe_of(k);
	io_uring_prep_accept_direct(sqe, k->listener, NULL, NULL, 0, 0);
	while (!k->cqes)
		turn(k);
	CHECK_INT(k->cqe[0].res, ==, 0);
	k->cqes = 0;
	k->br = sys_map(sys_page_size(), 0, &err);
	k->bufs = sys_zalloc(BUFS * BUF);
	reg.ring_addr = (uintptr_t)k->br;
	CHECK_INT(ring_register(&k->ring, IORING_REGISTER_PBUF_RING, &reg, 1), ==, 0);
}

static void kinds_close(struct kinds *k)
{
	char why[100] = "";

	peer_close(k->peer);
	ring_close(&k->ring);
	sys_close(k->listener);
	sys_unmap(k->br, sys_page_size());
	sys_free(k->bufs);
	if (!world_check_quiet(k->w, why, sizeof(why)))
		world_fail(k->w, "%s", why);
	world_enter(NULL);
	world_free(k->w);
}

static bool transient(int res)
{
	return res == -ENOBUFS || res == -ENOMEM || res == -EAGAIN || res == -EINTR;
}

/* ---- receiving */
static void arm(struct kinds *k, enum manner m)
{
	struct io_uring_sqe *sqe = sqe_of(k);
	unsigned n = 1 + (unsigned)world_rand(k->w, sizeof(k->in));

	k->v[0] = (struct iovec){ k->in, n / 2 };
	k->v[1] = (struct iovec){ k->in + n / 2, n - n / 2 };
	k->msg = (struct msghdr){ .msg_iov = k->v, .msg_iovlen = 2 };
	if (m == BY_RECV || m == BY_RECV_ALL) {
		io_uring_prep_recv(sqe, 0, k->in, n, m == BY_RECV_ALL ? MSG_WAITALL : 0);
	} else if (m == BY_RECVMSG) {
		io_uring_prep_recvmsg(sqe, 0, &k->msg, 0);
	} else if (m == BY_READ) {
		io_uring_prep_read(sqe, 0, k->in, n, 0);
	} else if (m == BY_READV) {
		io_uring_prep_readv(sqe, 0, k->v, 2, 0);
	} else {
		io_uring_prep_recv(sqe, 0, NULL, 0, 0);
		if (m == BY_READ_SELECT)
			io_uring_prep_read(sqe, 0, NULL, 0, 0);
		if (m == BY_MULTI || m == BY_BUNDLES)
			sqe->ioprio |= IORING_RECV_MULTISHOT;
		if (m == BY_BUNDLE || m == BY_BUNDLES)
			sqe->ioprio |= RU_RECVSEND_BUNDLE;
		k->msg = (struct msghdr){ .msg_namelen = 8, .msg_controllen = 5 };
		if (m == BY_MESSAGES)
			io_uring_prep_recvmsg_multishot(sqe, 0, &k->msg, 0);
		sqe->flags |= IOSQE_BUFFER_SELECT;
		sqe->buf_group = 1;
	}
	sqe->flags |= IOSQE_FIXED_FILE;
	k->armed = true;
}

static void took(struct kinds *k, const uint8_t *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		CHECK_INT(p[i], ==, stream_byte(k->got + i));
	k->got += n;
}

static void took_message(struct kinds *k, const uint8_t *p, size_t n)
{
	struct io_uring_recvmsg_out out;
	size_t head = sizeof(out) + 8 + 5;

	memcpy(&out, p, sizeof(out));
	CHECK_INT(out.payloadlen, ==, n - head);
	took(k, p + head, n - head);
	k->ended |= n == head;
}

static void took_buffers(struct kinds *k, enum manner m, const struct io_uring_cqe *q)
{
	size_t left = q->res > 0 ? (size_t)q->res : 0;
	uint16_t bid = used(k);

	CHECK_INT(bid, ==, q->flags >> IORING_CQE_BUFFER_SHIFT);
	for (;;) {
		size_t n = left < BUF ? left : BUF;

		if (m == BY_MESSAGES)
			took_message(k, k->bufs + bid * BUF, n);
		else
			took(k, k->bufs + bid * BUF, n);
		publish(k, bid);
		left -= n;
		if (!left)
			return;
		CHECK(m == BY_BUNDLE || m == BY_BUNDLES);
		bid = used(k);
	}
}

static void receive(struct kinds *k, enum manner m)
{
	for (unsigned i = 0; i < k->cqes; i++) {
		const struct io_uring_cqe *q = &k->cqe[i];

		k->armed &= (q->flags & IORING_CQE_F_MORE) != 0;
		CHECK(q->res >= 0 || transient(q->res));
		k->ended |= q->res == 0;
		if (q->flags & IORING_CQE_F_BUFFER)
			took_buffers(k, m, q);
		else if (q->res > 0)
			took(k, k->in, (size_t)q->res);
	}
	k->cqes = 0;
}

/* The peer sends when it likes as much as it can, and ends. */
static void peer_goes_on(struct kinds *k)
{
	uint8_t bytes[500];
	size_t n = 1 + (size_t)world_rand(k->w, sizeof(bytes));
	ssize_t put;

	if (k->sent == STREAM || world_rand(k->w, 3))
		return;
	n = n < STREAM - k->sent ? n : STREAM - k->sent;
	for (size_t i = 0; i < n; i++)
		bytes[i] = stream_byte(k->sent + i);
	put = peer_send(k->peer, bytes, n);
	CHECK(put > 0 || put == -EAGAIN);
	k->sent += put > 0 ? (size_t)put : 0;
	if (k->sent == STREAM)
		peer_fin(k->peer);
}

static const struct world_config unbroken = {
	.fault = { [FAULT_RESET] = RATE_OFF,
		   [FAULT_PEER_FIN] = RATE_OFF,
		   [FAULT_ACCEPT_ERR] = RATE_OFF,
		   [FAULT_ZC_REFUSED] = RATE_OFF,
		   [FAULT_SHORT_WAITALL] = RATE_OFF },
};

static void receive_run(uint64_t seed, enum manner m)
{
	static struct kinds k;

	kinds_open(&k, seed, &unbroken);
	for (uint16_t bid = 0; bid < BUFS; bid++)
		publish(&k, bid);
	if ((m == BY_BUNDLE || m == BY_BUNDLES) && world_version(k.w) < LINUX_6_12)
		m = BY_MULTI;
	for (unsigned turns = 0; !k.ended; turns++) {
		CHECK_INT(turns, <, 1000000);
		peer_goes_on(&k);
		if (!k.armed)
			arm(&k, m);
		turn(&k);
		receive(&k, m);
	}
	CHECK_INT(k.got, ==, STREAM);
	kinds_close(&k);
}

TEST_LIMIT(kinds_receive_every_byte_once_for_every_seed, 120)
{
	uint64_t first = seed_first(), seeds = seed_count(220);

	for (uint64_t seed = first; seed < first + seeds; seed++)
		receive_run(seed, (enum manner)(seed % MANNERS));
}

/* ---- sending */
enum way {
	VIA_SEND,
	VIA_SEND_ALL,
	VIA_MSG,
	VIA_WRITE,
	VIA_WRITEV,
	VIA_ZC,
	VIA_MSG_ZC,
	VIA_GROUP,
	VIA_BUNDLE,
	WAYS
};

static void fill(struct kinds *k, uint8_t *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		p[i] = stream_byte(k->sent + i);
}

/* As many buffers as the rest needs, at most all. How many bytes they hold. */
static size_t fill_group(struct kinds *k, unsigned most)
{
	size_t n = 0, left = STREAM - k->sent;

	for (uint16_t bid = 0; bid < most && left - n >= BUF; bid++) {
		for (size_t i = 0; i < BUF; i++)
			k->bufs[bid * BUF + i] = stream_byte(k->sent + n + i);
		publish(k, bid);
		n += BUF;
	}
	return n;
}

/* One send. Returns how many bytes it was to send. */
static size_t send_some(struct kinds *k, enum way way)
{
	size_t left = STREAM - k->sent, n = left < sizeof(k->in) ? left : sizeof(k->in);
	struct io_uring_sqe *sqe = sqe_of(k);
	size_t group = way >= VIA_GROUP ? fill_group(k, way == VIA_GROUP ? 1 : BUFS) : 0;

	fill(k, k->in, n);
	k->v[0] = (struct iovec){ k->in, n / 2 };
	k->v[1] = (struct iovec){ k->in + n / 2, n - n / 2 };
	k->msg = (struct msghdr){ .msg_iov = k->v, .msg_iovlen = 2 };
	if (group) {
		io_uring_prep_send(sqe, 0, NULL, 0, way == VIA_GROUP ? MSG_WAITALL : 0);
		sqe->flags |= IOSQE_BUFFER_SELECT;
		sqe->buf_group = 1;
		sqe->ioprio |= way == VIA_BUNDLE ? RU_RECVSEND_BUNDLE : 0;
		n = group;
	} else if (way == VIA_MSG) {
		io_uring_prep_sendmsg(sqe, 0, &k->msg, 0);
	} else if (way == VIA_WRITE) {
		io_uring_prep_write(sqe, 0, k->in, (unsigned)n, 0);
	} else if (way == VIA_WRITEV) {
		io_uring_prep_writev(sqe, 0, k->v, 2, 0);
	} else if (way == VIA_ZC) {
		io_uring_prep_send_zc(sqe, 0, k->in, n, 0, 0);
	} else if (way == VIA_MSG_ZC) {
		io_uring_prep_sendmsg_zc(sqe, 0, &k->msg, 0);
	} else {
		io_uring_prep_send(sqe, 0, k->in, n, way == VIA_SEND_ALL ? MSG_WAITALL : 0);
	}
	sqe->flags |= IOSQE_FIXED_FILE;
	k->armed = true;
	return n;
}

static void sent(struct kinds *k)
{
	for (unsigned i = 0; i < k->cqes; i++) {
		const struct io_uring_cqe *q = &k->cqe[i];

		k->armed = q->flags & IORING_CQE_F_MORE;
		if (q->flags & IORING_CQE_F_NOTIF)
			continue;
		CHECK(q->res > 0 || transient(q->res));
		k->sent += q->res > 0 ? (size_t)q->res : 0;
	}
	k->cqes = 0;
}

static void peer_reads(struct kinds *k)
{
	uint8_t bytes[400];
	ssize_t n;

	if (world_rand(k->w, 3))
		return;
	n = peer_recv(k->peer, bytes, 1 + (size_t)world_rand(k->w, sizeof(bytes)));
	if (n == -EAGAIN)
		return;
	CHECK_INT(n, >, 0);
	took(k, bytes, (size_t)n);
}

static void send_run(uint64_t seed, enum way way)
{
	static struct kinds k;

	kinds_open(&k, seed, &unbroken);
	if (way >= VIA_GROUP && world_version(k.w) < LINUX_6_12)
		way = VIA_SEND;
	for (unsigned turns = 0; k.got < STREAM || k.armed; turns++) {
		CHECK_INT(turns, <, 1000000);
		peer_reads(&k);
		if (!k.armed && k.sent < STREAM) {
			send_some(&k, way);
			k.published = 0;
		}
		turn(&k);
		sent(&k);
	}
	CHECK_INT(k.sent, ==, STREAM);
	kinds_close(&k);
}

TEST_LIMIT(kinds_send_every_byte_once_for_every_seed, 120)
{
	uint64_t first = seed_first(), seeds = seed_count(220);

	for (uint64_t seed = first; seed < first + seeds; seed++)
		send_run(seed, (enum way)(seed % WAYS));
}

/* ---- memory */
static const struct world_config calm = { .fault = { [0 ... FAULT_COUNT - 1] = RATE_OFF } };

/* An SQE is the program's again as soon as it was taken, and no longer what it was. */
TEST(kinds_an_sqe_that_was_taken_is_overwritten)
{
	static const uint8_t gone[8] = { 0xdd, 0xdd, 0xdd, 0xdd, 0xdd, 0xdd, 0xdd, 0xdd };
	static struct kinds k;
	struct io_uring_sqe *sqe;

	kinds_open(&k, 1, &calm);
	sqe = sqe_of(&k);
	io_uring_prep_recv(sqe, 0, k.in, 10, 0);
	sqe->flags |= IOSQE_FIXED_FILE;
	CHECK(memcmp(sqe, gone, sizeof(gone)) != 0);
	CHECK_INT(ring_enter(&k.ring, 0, 0), ==, 0);
	CHECK(!memcmp(sqe, gone, sizeof(gone)));
	CHECK(!memcmp((uint8_t *)sqe + sizeof(*sqe) - 8, gone, sizeof(gone)));
	kinds_close(&k);
}

static void looked_at_under_receive(void)
{
	static struct kinds k;
	struct io_uring_sqe *sqe;
	uint8_t *buf;

	kinds_open(&k, 1, &calm);
	buf = sys_zalloc(64);
	sqe = sqe_of(&k);
	io_uring_prep_recv(sqe, 0, buf, 64, 0);
	sqe->flags |= IOSQE_FIXED_FILE;
	CHECK_INT(ring_enter(&k.ring, 0, 0), ==, 0);
	printf("%u\n", *(volatile uint8_t *)buf);
}

static void looked_at_in_a_group(void)
{
	static struct kinds k;

	kinds_open(&k, 1, &calm);
	publish(&k, 0);
	CHECK_INT(ring_enter(&k.ring, 0, 0), ==, 0);
	printf("%u\n", *(volatile uint8_t *)k.bufs);
}

TEST(kinds_memory_of_the_kernel_that_is_looked_at_is_found)
{
#if defined(__SANITIZE_ADDRESS__)
	CHECK_DIES(looked_at_under_receive, -1, "use-after-poison");
	CHECK_DIES(looked_at_in_a_group, -1, "use-after-poison");
#else
	(void)looked_at_under_receive;
	(void)looked_at_in_a_group;
	SKIP("needs AddressSanitizer");
#endif
}

static void freed_under_a_late_notification(void)
{
	struct world_config cfg = calm;
	static struct kinds k;
	struct io_uring_sqe *sqe;
	uint8_t *buf;

	cfg.fault[FAULT_ZC_LATE] = RATE_ALWAYS;
	kinds_open(&k, 1, &cfg);
	buf = sys_zalloc(64);
	sqe = sqe_of(&k);
	io_uring_prep_send_zc(sqe, 0, buf, 64, 0, 0);
	sqe->flags |= IOSQE_FIXED_FILE;
	while (!k.cqes)
		turn(&k);
	sys_free(buf); /* its result is known, its notification is not */
}

static void changed_under_a_late_notification(void)
{
	struct world_config cfg = calm;
	static struct kinds k;
	struct io_uring_sqe *sqe;
	uint8_t byte;

	cfg.fault[FAULT_ZC_LATE] = RATE_ALWAYS;
	kinds_open(&k, 1, &cfg);
	sqe = sqe_of(&k);
	io_uring_prep_send_zc(sqe, 0, k.in, 1, 0, 0);
	sqe->flags |= IOSQE_FIXED_FILE;
	while (!k.cqes)
		turn(&k);
	CHECK_INT(peer_recv(k.peer, &byte, 1), ==, 1);
	k.in[0]++; /* although it has arrived */
	while (k.cqes == 1)
		turn(&k);
}

TEST(kinds_zero_copy_memory_touched_before_its_notification_is_found)
{
	CHECK_DIES(changed_under_a_late_notification, SIGABRT, "changed before its notification");

	CHECK_DIES(freed_under_a_late_notification, SIGABRT, "freed before it ended");
}

/* ---- power */

/* The peer of a machine that lost its power hears of it; nothing of the rings is left. */
TEST(kinds_a_loss_of_power_ends_connections)
{
	static struct kinds k;
	struct io_uring_sqe *sqe;
	uint8_t byte;
	char why[100];

	kinds_open(&k, 1, &calm);
	sqe = sqe_of(&k);
	io_uring_prep_recv(sqe, 0, k.in, sizeof(k.in), 0);
	sqe->flags |= IOSQE_FIXED_FILE;
	CHECK_INT(ring_enter(&k.ring, 0, 0), ==, 0);
	CHECK_INT(peer_recv(k.peer, &byte, 1), ==, -EAGAIN);
	world_power_loss(k.w);
	CHECK_INT(peer_recv(k.peer, &byte, 1), ==, -ECONNRESET);
	peer_close(k.peer);
	sys_free(k.ring.scratch);
	sys_free(k.bufs);
	sys_unmap(k.br, sys_page_size());
	if (!world_check_quiet(k.w, why, sizeof(why)))
		world_fail(k.w, "%s", why);
	world_enter(NULL);
	world_free(k.w);
}
