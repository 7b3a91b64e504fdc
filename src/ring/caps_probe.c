/*
 * Every feature tried for real: on a small ring, over loopback TCP connections of its own. Nothing
 * waits long: what does not answer within PROBE_WAIT_NS counts as absent.
 */
#include "ring/caps_probe.h"
#include "base/sys.h"
#include "ring/bufring.h"
#include "ring/files.h"
#include "ring/ring.h"
#include "ring/uapi.h"
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#define PROBE_WAIT_NS 20000000
#define PROBE_BUF_BYTES 64
#define PROBE_BUFS 8
#define PROBE_GROUP 0
#define PROBE_CONNS 3
#define PROBE_FILES 16	    /* about what it has open at a time */
#define PROBE_BYTES 1048576 /* and mapped */

/* user_data of the probe's own operations: where the result is kept. */
enum tag {
	TAG_ONE, /* plus a count: the operation just tried; one at a time */
	TAG_ACCEPT,
	TAG_MULTISHOT,
	TAG_MESSAGE,
	TAG_COUNT,
	TAG_MASK = TAG_COUNT - 1
};

_Static_assert((TAG_COUNT & TAG_MASK) == 0, "tags are the low bits");

struct outcome {
	unsigned seen; /* CQEs */
	int res;       /* of the latest */
	uint32_t flags;
};

struct probe {
	struct ring ring, second; /* second: target of msg_ring */
	struct files files, second_files;
	struct bufring bufs;
	struct outcome at[TAG_COUNT];
	uint64_t one; /* user_data of the latest TAG_ONE */
	char in[8];   /* what clients receive; outlives a try that was given up */
	int listener;
	int client[PROBE_CONNS]; /* ordinary fds, -1: none */
	int slot[PROBE_CONNS];	 /* the direct descriptor at the other end */
	int lacked;		 /* what was to be tried was not, for want of this */
	struct caps *caps;
};

static void keep_outcome(void *ctx, const struct io_uring_cqe *cqe)
{
	struct probe *p = ctx;
	unsigned tag = cqe->user_data & TAG_MASK;

	/* What was given up on may still answer: not as the result of the next try. */
	if (tag != TAG_ONE || cqe->user_data == p->one) {
		p->at[tag].seen++;
		p->at[tag].res = cqe->res;
		p->at[tag].flags = cqe->flags;
	}
	if (cqe->flags & IORING_CQE_F_BUFFER) {
		/* A bundle covers as many buffers as its bytes need, in the order of the ring. */
		unsigned bid = cqe->flags >> IORING_CQE_BUFFER_SHIFT;
		unsigned n = cqe->res > 0 ? (unsigned)(cqe->res - 1) / PROBE_BUF_BYTES + 1 : 1;

		while (n--) {
			bufring_take(&p->bufs, bid % PROBE_BUFS);
			bufring_give(&p->bufs, bid++ % PROBE_BUFS);
		}
		bufring_publish(&p->bufs);
	}
}

/*
 * Enter until tag has seen `seen` completions. false: not in time. At least one enter waits for as
 * long as that, however late a busy machine lets this thread run.
 */
static bool probe_wait(struct probe *p, enum tag tag, unsigned seen)
{
	int64_t end = sys_now() + PROBE_WAIT_NS, left = PROBE_WAIT_NS;

	while (p->at[tag].seen < seen && left > 0) {
		if (ring_enter(&p->ring, 1, left) < 0)
			return false;
		ring_reap(&p->ring, 64, keep_outcome, p);
		left = end - sys_now();
	}
	return p->at[tag].seen >= seen;
}

static struct io_uring_sqe *probe_sqe(struct probe *p, enum tag tag)
{
	p->at[tag] = (struct outcome){ 0 };
	if (tag == TAG_ONE)
		p->one += TAG_COUNT;
	return ring_sqe(&p->ring); /* never full: each is submitted before the next */
}

/* Submit the SQE of tag ONE; its first result, or -ETIME. */
static int probe_run(struct probe *p, struct io_uring_sqe *sqe)
{
	sqe->user_data = p->one;
	return probe_wait(p, TAG_ONE, 1) ? p->at[TAG_ONE].res : -ETIME;
}

/* err as it is; one that is no answer of the kernel's is kept: what it hides is not "missing". */
static int probe_saw(struct probe *p, int err)
{
	if (caps_passes(err))
		p->lacked = err;
	return err;
}

static void *probe_map(struct probe *p, size_t bytes, int flags)
{
	int err = 0;
	void *mem = sys_map(bytes, flags, &err);

	if (!mem)
		probe_saw(p, err);
	return mem;
}

static void on_slot(struct io_uring_sqe *sqe)
{
	io_uring_sqe_set_flags(sqe, IOSQE_FIXED_FILE);
}

static void probe_opcodes(struct probe *p)
{
	enum { MAX = sizeof p->caps->opcodes };
	struct io_uring_probe *table = sys_zalloc(sizeof *table + MAX * sizeof table->ops[0]);

	if (!table) {
		probe_saw(p, -ENOMEM);
		return;
	}
	if (ring_register(&p->ring, IORING_REGISTER_PROBE, table, MAX) < 0)
		table->ops_len = 0;
	for (unsigned i = 0; i < MAX && i < table->ops_len; i++) {
		if (!(table->ops[i].flags & IO_URING_OP_SUPPORTED))
			continue;
		p->caps->opcodes[table->ops[i].op % MAX] = 1;
		p->caps->opcode_count++;
	}
	sys_free(table);
	p->caps->uring_cmd = p->caps->opcodes[IORING_OP_URING_CMD];
}

static bool try_bufring_inc(struct probe *p)
{
	size_t bytes = sys_page_size();
	struct io_uring_buf_reg reg = { .ring_entries = 2,
					.bgid = PROBE_GROUP + 1,
					.pad = RU_PBUF_RING_INC };
	void *mem = probe_map(p, bytes, 0);
	int err;

	if (!mem)
		return false;
	reg.ring_addr = (uint64_t)(uintptr_t)mem;
	err = ring_register(&p->ring, IORING_REGISTER_PBUF_RING, &reg, 1);
	if (err >= 0) {
		reg = (struct io_uring_buf_reg){ .bgid = PROBE_GROUP + 1 };
		ring_register(&p->ring, IORING_UNREGISTER_PBUF_RING, &reg, 1);
	}
	sys_unmap(mem, bytes);
	return err >= 0;
}

static bool try_nop_inject(struct probe *p)
{
	struct io_uring_sqe *sqe = probe_sqe(p, TAG_ONE);

	io_uring_prep_nop(sqe);
	sqe->rw_flags = RU_NOP_INJECT_RESULT;
	sqe->len = 42;
	return probe_run(p, sqe) == 42;
}

static bool try_wide_ring(struct probe *p, const struct ring_kernel *k)
{
	struct ring_config cfg = {
		.kernel = k, .sq_entries = 2, .cq_entries = 4, .wide = true, .sqpoll_cpu = -1
	};
	struct ring r;

	if (probe_saw(p, ring_open(&r, &cfg, NULL)) < 0)
		return false;
	ring_close(&r);
	return true;
}

static bool try_guard_install(struct probe *p)
{
	size_t bytes = sys_page_size();
	void *mem = probe_map(p, bytes, SYS_MAP_NORESERVE);
	int err;

	if (!mem)
		return false;
	err = sys_advise(mem, bytes, RU_MADV_GUARD_INSTALL);
	sys_unmap(mem, bytes);
	return err >= 0;
}

/* A listener on loopback and a multishot accept; then PROBE_CONNS clients of it. */
static void probe_listen(struct probe *p, struct sockaddr_storage *sa, socklen_t *n)
{
	struct sockaddr_in any = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
	struct io_uring_sqe *sqe;
	int fd = probe_saw(p, sys_socket(AF_INET, SOCK_STREAM, 0));

	if (fd < 0)
		return;
	if (sys_bind(fd, (struct sockaddr *)&any, sizeof any) < 0 ||
	    sys_listen(fd, PROBE_CONNS) < 0 || sys_getsockname(fd, sa, n) < 0) {
		sys_close(fd);
		return;
	}
	p->listener = fd;
	sqe = probe_sqe(p, TAG_ACCEPT);
	io_uring_prep_multishot_accept_direct(sqe, fd, NULL, NULL, 0);
	sqe->user_data = TAG_ACCEPT;
}

static void probe_connect(struct probe *p)
{
	static const struct linger reset = { 1, 0 }; /* leave no TIME_WAIT behind */
	struct sockaddr_storage sa;
	socklen_t n = sizeof sa;
	struct outcome *o = &p->at[TAG_ACCEPT];

	probe_listen(p, &sa, &n);
	if (p->listener < 0)
		return;
	for (unsigned i = 0; i < PROBE_CONNS; i++) {
		int fd = probe_saw(p, sys_socket(AF_INET, SOCK_STREAM, 0));

		p->client[i] = fd;
		sys_setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
		if (fd < 0 || sys_connect(fd, (struct sockaddr *)&sa, n) < 0 ||
		    !probe_wait(p, TAG_ACCEPT, i + 1) || probe_saw(p, o->res) < 0)
			return;
		p->slot[i] = o->res;
		p->caps->multishot_accept |= !!(o->flags & IORING_CQE_F_MORE);
		if (!(o->flags & IORING_CQE_F_MORE))
			return;
	}
}

static int send_from(struct probe *p, int client, const void *data, unsigned n)
{
	struct io_uring_sqe *sqe = probe_sqe(p, TAG_ONE);

	io_uring_prep_send(sqe, client, data, n, MSG_NOSIGNAL);
	return probe_run(p, sqe);
}

/* Stays armed: try_close_sends_fin() needs something older than what it closes. */
static bool try_multishot_recv(struct probe *p)
{
	struct io_uring_sqe *sqe = probe_sqe(p, TAG_MULTISHOT);
	const struct outcome *o = &p->at[TAG_MULTISHOT];

	io_uring_prep_recv(sqe, p->slot[0], NULL, 0, 0);
	sqe->ioprio = IORING_RECV_MULTISHOT;
	sqe->buf_group = PROBE_GROUP;
	sqe->user_data = TAG_MULTISHOT;
	io_uring_sqe_set_flags(sqe, IOSQE_FIXED_FILE | IOSQE_BUFFER_SELECT);
	return send_from(p, p->client[0], "x", 1) == 1 && probe_wait(p, TAG_MULTISHOT, 1) &&
	       o->res == 1 && (o->flags & IORING_CQE_F_MORE) && (o->flags & IORING_CQE_F_BUFFER);
}

static bool try_recv_bundle(struct probe *p)
{
	static const char data[3 * PROBE_BUF_BYTES];
	struct io_uring_sqe *sqe;

	if (!(p->caps->features & RU_FEAT_RECVSEND_BUNDLE) ||
	    send_from(p, p->client[1], data, sizeof data) != sizeof data)
		return false;
	sqe = probe_sqe(p, TAG_ONE);
	io_uring_prep_recv(sqe, p->slot[1], NULL, 0, 0);
	sqe->ioprio = RU_RECVSEND_BUNDLE;
	sqe->buf_group = PROBE_GROUP;
	io_uring_sqe_set_flags(sqe, IOSQE_FIXED_FILE | IOSQE_BUFFER_SELECT);
	return probe_run(p, sqe) == sizeof data;
}

static bool try_send_vectorized(struct probe *p)
{
	char ab[] = "ab", cd[] = "cd";
	struct iovec iov[] = { { ab, 2 }, { cd, 2 } };
	struct io_uring_sqe *sqe = probe_sqe(p, TAG_ONE);

	io_uring_prep_send(sqe, p->slot[1], iov, 2, MSG_NOSIGNAL);
	sqe->ioprio = RU_SEND_VECTORIZED;
	on_slot(sqe);
	if (probe_run(p, sqe) != 4)
		return false;
	sqe = probe_sqe(p, TAG_ONE);
	io_uring_prep_recv(sqe, p->client[1], p->in, 4, MSG_WAITALL);
	return probe_run(p, sqe) == 4 && memcmp(p->in, "abcd", 4) == 0;
}

/* After the result of a zero-copy send: F_MORE, and in time the notification it promises. */
static bool zc_completes(struct probe *p, struct io_uring_sqe *sqe)
{
	const struct outcome *o = &p->at[TAG_ONE];

	on_slot(sqe);
	sqe->user_data = p->one;
	if (!probe_wait(p, TAG_ONE, 1) || o->res < 0)
		return false;
	return probe_wait(p, TAG_ONE, 2) && (o->flags & IORING_CQE_F_NOTIF);
}

static bool try_send_zc(struct probe *p)
{
	struct io_uring_sqe *sqe = probe_sqe(p, TAG_ONE);

	io_uring_prep_send_zc(sqe, p->slot[1], "z", 1, MSG_NOSIGNAL, 0);
	return zc_completes(p, sqe);
}

static bool try_sendmsg_zc(struct probe *p)
{
	static char z = 'z';
	static struct iovec iov = { &z, 1 };
	static const struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	struct io_uring_sqe *sqe = probe_sqe(p, TAG_ONE);

	io_uring_prep_sendmsg_zc(sqe, p->slot[1], &msg, MSG_NOSIGNAL);
	return zc_completes(p, sqe);
}

static bool try_socket_cmd(struct probe *p)
{
	struct sockaddr_in peer = { 0 };
	const uint32_t level_name[2] = { SOL_SOCKET, SO_PEERNAME };
	struct io_uring_sqe *sqe = probe_sqe(p, TAG_ONE);

	io_uring_prep_rw(IORING_OP_URING_CMD, sqe, p->slot[1], NULL, 0, 0);
	sqe->cmd_op = RU_SOCKET_URING_OP_GETSOCKOPT;
	memcpy(&sqe->addr, level_name, sizeof level_name);
	sqe->file_index = sizeof peer;
	sqe->addr3 = (uint64_t)(uintptr_t)&peer;
	on_slot(sqe);
	return probe_run(p, sqe) == sizeof peer && peer.sin_family == AF_INET;
}

static bool try_fd_install(struct probe *p)
{
	struct io_uring_sqe *sqe = probe_sqe(p, TAG_ONE);
	int fd;

	io_uring_prep_rw(RU_OP_FIXED_FD_INSTALL, sqe, p->slot[1], NULL, 0, 0);
	on_slot(sqe);
	fd = probe_saw(p, probe_run(p, sqe));
	if (fd >= 0)
		sys_close(fd);
	return fd >= 0;
}

/*
 * Does closing a direct descriptor say FIN at once, while another connection has an older receive
 * armed? KERNEL(6.12 and before): descriptors are released in order, so it waits for that one.
 */
static bool try_close_sends_fin(struct probe *p)
{
	struct io_uring_sqe *sqe;

	if (!p->caps->multishot_recv || !(p->at[TAG_MULTISHOT].flags & IORING_CQE_F_MORE))
		return false;
	sqe = probe_sqe(p, TAG_ONE);
	io_uring_prep_close_direct(sqe, (unsigned)p->slot[2]);
	if (probe_run(p, sqe) < 0)
		return false;
	sqe = probe_sqe(p, TAG_ONE);
	io_uring_prep_recv(sqe, p->client[2], p->in, 1, 0);
	return probe_run(p, sqe) == 0;
}

/* A message to the second ring, whose side is entered in turn with ours. */
static bool message_arrives(struct probe *p, struct io_uring_sqe *sqe)
{
	int64_t end = sys_now() + PROBE_WAIT_NS;

	sqe->user_data = p->one;
	p->at[TAG_MESSAGE] = (struct outcome){ 0 };
	while (sys_now() < end) {
		if (ring_enter(&p->ring, 0, 0) < 0 || ring_enter(&p->second, 0, 0) < 0)
			return false;
		ring_reap(&p->ring, 64, keep_outcome, p);
		ring_reap(&p->second, 4, keep_outcome, p);
		if (p->at[TAG_ONE].seen && p->at[TAG_ONE].res < 0)
			return false;
		if (p->at[TAG_ONE].seen && p->at[TAG_MESSAGE].seen)
			return p->at[TAG_MESSAGE].res >= 0;
	}
	return false;
}

static bool try_msg_ring(struct probe *p)
{
	struct io_uring_sqe *sqe = probe_sqe(p, TAG_ONE);

	io_uring_prep_msg_ring(sqe, p->second.u.ring_fd, 7, TAG_MESSAGE, 0);
	return message_arrives(p, sqe) && p->at[TAG_MESSAGE].res == 7;
}

static bool try_msg_ring_fd(struct probe *p)
{
	struct io_uring_sqe *sqe = probe_sqe(p, TAG_ONE);

	io_uring_prep_msg_ring(sqe, p->second.u.ring_fd, 0, TAG_MESSAGE, 0);
	sqe->addr = IORING_MSG_SEND_FD;
	sqe->addr3 = (uint64_t)p->slot[1];
	sqe->file_index = 1; /* slot 0 there, counted from 1 */
	return message_arrives(p, sqe);
}

static void probe_messages(struct probe *p, const struct ring_kernel *k)
{
	struct ring_config cfg = {
		.kernel = k, .sq_entries = 2, .cq_entries = 4, .sqpoll_cpu = -1
	};

	if (probe_saw(p, ring_open(&p->second, &cfg, NULL)) < 0)
		return;
	if (ring_enable(&p->second, NULL) == 0) {
		p->caps->msg_ring = try_msg_ring(p);
		if (p->slot[1] >= 0 &&
		    probe_saw(p, files_open(&p->second_files, &p->second, 0, 1, NULL)) == 0) {
			p->caps->msg_ring_fd = try_msg_ring_fd(p);
			files_close(&p->second_files);
		}
	}
	ring_close(&p->second);
}

static void probe_connections(struct probe *p)
{
	struct caps *c = p->caps;

	probe_connect(p);
	if (p->slot[0] >= 0)
		c->multishot_recv = try_multishot_recv(p);
	if (p->slot[1] >= 0) {
		c->recv_bundle = try_recv_bundle(p);
		c->send_vectorized = try_send_vectorized(p);
		c->send_zc = c->opcodes[IORING_OP_SEND_ZC] && try_send_zc(p);
		c->sendmsg_zc = c->opcodes[IORING_OP_SENDMSG_ZC] && try_sendmsg_zc(p);
		c->socket_cmd = c->opcodes[IORING_OP_URING_CMD] && try_socket_cmd(p);
		c->fd_install = c->opcodes[RU_OP_FIXED_FD_INSTALL] && try_fd_install(p);
	}
	if (p->slot[2] >= 0)
		c->close_sends_fin = try_close_sends_fin(p);
}

/* Nothing may be armed when the buffers and the listener go. */
static void probe_disarm(struct probe *p)
{
	struct io_uring_sqe *sqe = probe_sqe(p, TAG_ONE);
	int64_t end = sys_now() + PROBE_WAIT_NS;

	io_uring_prep_cancel64(sqe, 0, IORING_ASYNC_CANCEL_ANY | IORING_ASYNC_CANCEL_ALL);
	probe_run(p, sqe);
	while (sys_now() < end &&
	       ((p->at[TAG_ACCEPT].flags | p->at[TAG_MULTISHOT].flags) & IORING_CQE_F_MORE)) {
		if (ring_enter(&p->ring, 1, end - sys_now()) < 0)
			return;
		ring_reap(&p->ring, 64, keep_outcome, p);
	}
}

static void probe_close(struct probe *p)
{
	probe_disarm(p);
	bufring_close(&p->bufs);
	files_close(&p->files);
	ring_close(&p->ring);
	if (p->listener >= 0)
		sys_close(p->listener);
	for (unsigned i = 0; i < PROBE_CONNS; i++)
		if (p->client[i] >= 0)
			sys_close(p->client[i]);
}

int caps_try_all(const struct ring_kernel *k, struct caps *out)
{
	struct ring_config cfg = {
		.kernel = k, .sq_entries = 32, .cq_entries = 64, .sqpoll_cpu = -1
	};
	struct probe p = {
		.caps = out, .listener = -1, .client = { -1, -1, -1 }, .slot = { -1, -1, -1 }
	};
	int err = ring_open(&p.ring, &cfg, &out->why);

	if (err < 0)
		return err;
	out->setup_flags = p.ring.setup_flags;
	out->features = p.ring.u.features;
	out->defer_taskrun = !!(out->setup_flags & IORING_SETUP_DEFER_TASKRUN);
	out->no_sqarray = !!(out->setup_flags & RU_SETUP_NO_SQARRAY);
	err = ring_enable(&p.ring, &out->why);
	if (err < 0) {
		ring_close(&p.ring);
		return err;
	}
	probe_opcodes(&p);
	out->guard_install = try_guard_install(&p);
	out->wide_ring = try_wide_ring(&p, k);
	out->nop_inject = try_nop_inject(&p);
	out->bufring_inc = try_bufring_inc(&p);
	err = bufring_open(&p.bufs, &p.ring, PROBE_GROUP, PROBE_BUFS, PROBE_BUFS, PROBE_BUF_BYTES,
			   NULL);
	out->bufring = probe_saw(&p, err) == 0;
	err = files_open(&p.files, &p.ring, 2 * PROBE_CONNS, 1, NULL);
	out->direct_alloc = probe_saw(&p, err) == 0;
	if (out->bufring && out->direct_alloc)
		probe_connections(&p);
	probe_messages(&p, k);
	probe_close(&p);
	if (p.lacked)
		return diag_ring(&out->why, p.lacked, "trying what io_uring can do here",
				 PROBE_BYTES, PROBE_FILES);
	return 0;
}
