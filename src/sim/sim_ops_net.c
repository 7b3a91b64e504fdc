/*
 * Operations on sockets other than moving bytes: accept, connect, shutdown, socket, socket
 * commands.
 */
#include "sim/sim.h"
#include <errno.h>
#include <string.h>

static struct sim_sock *req_sock(struct sim_req *q)
{
	return q->file->kind == SIM_SOCK ? q->file->sock : NULL;
}

/* Put f where file_index says: a direct slot, or an ordinary descriptor for 0. */
static int install(struct sim_req *q, struct sim_file *f)
{
	int fd;

	if (q->sqe.file_index)
		return slot_install(q->ring, f, q->sqe.file_index);
	fd = fd_install(q->ring->w, f);
	if (fd < 0)
		file_put(q->ring->w, f);
	return fd;
}

/* ---- accept */
static int accept_prep(struct sim_req *q)
{
	if (req_multishot(q) && q->sqe.file_index && q->sqe.file_index != IORING_FILE_INDEX_ALLOC)
		return -EINVAL;
	if (q->sqe.file_index && q->sqe.accept_flags & SOCK_CLOEXEC)
		return -EINVAL;
	return 0;
}

static bool accept_ready(struct sim_req *q)
{
	return !req_sock(q) || sock_readable(req_sock(q));
}

static void accept_name(struct sim_req *q, const struct sim_sock *s)
{
	void *to = (void *)(uintptr_t)q->sqe.addr;
	socklen_t *len = (socklen_t *)(uintptr_t)q->sqe.addr2;

	if (!to || !len)
		return;
	memcpy(to, &s->peer_name, *len < s->peer_name_len ? *len : s->peer_name_len);
	*len = s->peer_name_len;
}

static int accept_error(struct sim_req *q, struct sim_sock *l)
{
	static const int errs[] = { -ECONNABORTED, -EMFILE, -ENFILE, -ENOBUFS, -ENOMEM, -EPERM };
	int err = errs[world_rand(q->ring->w, 6)];

	if (err == -ECONNABORTED)
		sock_close(sock_accept(l));
	return err;
}

static int accept_run(struct sim_req *q)
{
	struct world *w = q->ring->w;
	struct sim_sock *l = req_sock(q), *s;
	struct sim_file *f;
	int res;

	if (!l || l->state != SOCK_LISTEN) {
		req_finish(q, l ? -EINVAL : -ENOTSOCK, 0);
		return RUN_DONE;
	}
	if (fault(w, FAULT_ACCEPT_ERR)) {
		hit_req(q, HIT_ACCEPT_ERR);
		req_finish(q, accept_error(q, l), 0);
		return RUN_DONE;
	}
	s = sock_accept(l);
	f = file_new(SIM_SOCK);
	f->sock = s;
	accept_name(q, s);
	/* The client was taken from the backlog first: without a slot it is killed (-ENFILE). */
	res = install(q, f);
	if (res < 0)
		w->stats.killed++;
	else
		w->stats.accepts++;
	if (res < 0 || !req_multishot(q) || fault(w, FAULT_MULTI_END) || ring_cq_full(q->ring)) {
		if (res >= 0 && req_multishot(q))
			hit_req(q, HIT_MULTI_END);
		req_finish(q, res, 0);
		return RUN_DONE;
	}
	ring_post(q->ring, q->sqe.user_data, res, IORING_CQE_F_MORE, q->seq);
	return RUN_MORE;
}

const struct sim_op op_accept = {
	.prep = accept_prep, .ready = accept_ready, .run = accept_run, .needs_file = true
};

/* ---- connect */
static int connect_prep(struct sim_req *q)
{
	socklen_t n = (socklen_t)q->sqe.off;

	if (n > sizeof(q->addr) || n < sizeof(sa_family_t))
		return -EINVAL;
	memcpy(&q->addr, (const void *)(uintptr_t)q->sqe.addr, n);
	return 0;
}

static int connect_unspec(struct sim_req *q, struct sim_sock *s)
{
	if (s->state == SOCK_CONNECTED && s->family != AF_UNIX)
		sock_reset(s);
	req_finish(q, s->family == AF_UNIX ? -EINVAL : 0, 0);
	return RUN_DONE;
}

/* A full backlog drops the SYN: it is sent again, for a while. */
#define CONNECT_TRIES 6

static int connect_run(struct sim_req *q)
{
	static const int errs[] = { -ECONNREFUSED, -ETIMEDOUT, -EHOSTUNREACH, -ENETUNREACH };
	struct world *w = q->ring->w;
	struct sim_sock *s = req_sock(q);
	int res;

	if (!s) {
		req_finish(q, -ENOTSOCK, 0);
		return RUN_DONE;
	}
	if (q->addr.ss_family == AF_UNSPEC)
		return connect_unspec(q, s);
	if (!q->told++) {
		q->decided = true;
		q->hold = w->now + latency(w);
		return RUN_WAIT;
	}
	if (s->state == SOCK_CONNECTED)
		res = -EISCONN;
	else if (fault(w, FAULT_CONNECT_ERR))
		res = errs[world_rand(w, 4)];
	else
		res = sock_connect(s, (const struct sockaddr *)(const void *)&q->addr,
				   (socklen_t)q->sqe.off);
	if (res == -EAGAIN && q->told < CONNECT_TRIES) {
		q->decided = true;
		q->hold = w->now + 1000000000;
		return RUN_WAIT;
	}
	if (res < 0)
		hit_req(q, HIT_CONNECT_ERR);
	else
		w->stats.connects++;
	req_finish(q, res == -EAGAIN ? -ETIMEDOUT : res, 0);
	return RUN_DONE;
}

const struct sim_op op_connect = { .prep = connect_prep, .run = connect_run, .needs_file = true };

/* ---- shutdown, socket */
static int shutdown_run(struct sim_req *q)
{
	struct sim_sock *s = req_sock(q);

	req_finish(q, s ? sock_shutdown(s, (int)q->sqe.len) : -ENOTSOCK, 0);
	return RUN_DONE;
}

const struct sim_op op_shutdown = { .run = shutdown_run, .needs_file = true, .worker = true };

static int socket_run(struct sim_req *q)
{
	struct sim_file *f;

	if (q->sqe.fd != AF_INET && q->sqe.fd != AF_INET6 && q->sqe.fd != AF_UNIX) {
		req_finish(q, -EAFNOSUPPORT, 0);
		return RUN_DONE;
	}
	f = file_new(SIM_SOCK);
	f->sock = sock_new(q->ring->w, q->sqe.fd, (int)q->sqe.off);
	req_finish(q, install(q, f), 0);
	return RUN_DONE;
}

const struct sim_op op_socket = { .run = socket_run, .at_once = true };

/* ---- socket commands: fields newer than the headers, at their place in the SQE */
struct cmd_sqe {
	uint8_t head[8];
	uint32_t cmd_op, pad;
	uint32_t level, optname;
	uint8_t middle[20];
	uint32_t optlen; /* where file_index is */
	uint64_t optval;
};
_Static_assert(offsetof(struct cmd_sqe, optlen) == offsetof(struct io_uring_sqe, file_index),
	       "layout of a socket command");

static int cmd_peername(struct sim_sock *s, const struct cmd_sqe *c)
{
	if (s->state != SOCK_CONNECTED)
		return -ENOTCONN;
	if (c->optlen > s->peer_name_len)
		return -EINVAL;
	memcpy((void *)(uintptr_t)c->optval, &s->peer_name, c->optlen);
	return (int)c->optlen;
}

static int cmd_getsockopt(struct sim_sock *s, const struct cmd_sqe *c)
{
	int v;

	if (c->level != SOL_SOCKET)
		return -EOPNOTSUPP;
	if (c->optname == SO_PEERNAME)
		return cmd_peername(s, c);
	if (c->optname != SO_ERROR)
		return -ENOPROTOOPT;
	v = -sock_error(s);
	memcpy((void *)(uintptr_t)c->optval, &v, c->optlen < sizeof(v) ? c->optlen : sizeof(v));
	return sizeof(v);
}

static int socket_cmd_run(struct sim_req *q)
{
	struct sim_sock *s = req_sock(q);
	struct cmd_sqe c;
	int res;

	memcpy(&c, &q->sqe, sizeof(c));
	if (!s || q->ring->w->version < LINUX_6_12)
		res = -EOPNOTSUPP;
	else if (c.cmd_op == RU_SOCKET_URING_OP_GETSOCKOPT)
		res = cmd_getsockopt(s, &c);
	else if (c.cmd_op == RU_SOCKET_URING_OP_SETSOCKOPT)
		res = 0;
	else if (c.cmd_op == RU_SOCKET_URING_OP_SIOCINQ)
		res = (int)s->rx_bytes;
	else
		res = c.cmd_op == RU_SOCKET_URING_OP_SIOCOUTQ ? (int)sock_outq(s) : -EOPNOTSUPP;
	req_finish(q, res, 0);
	return RUN_DONE;
}

const struct sim_op op_socket_cmd = { .run = socket_cmd_run, .needs_file = true };
