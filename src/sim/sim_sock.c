/*
 * Stream sockets, both ends of every connection in this process. The queue at the reader holds what
 * is in either kernel buffer: a sender may fill it up to the reader's receive buffer plus its own
 * send buffer, and loses on a reset what did not fit into the former. Errors are told once, as
 * Linux does (sk_err), after what was received before them.
 */
#include "sim/sim.h"
#include "base/assert.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <poll.h>

struct sim_sock *sock_new(struct world *w, int family, int type)
{
	static const size_t sizes[] = { 1, 100, 4096, 65536 };
	struct sim_sock *s = calloc(1, sizeof(*s));
	size_t most;

	RLN_ASSERT(s);
	s->w = w;
	s->family = family;
	s->type = type;
	s->id = ++w->sock_ids;
	most = sizes[w->seed % 4];
	s->rcvbuf = w->cfg.rcvbuf ? w->cfg.rcvbuf : 1 + (size_t)world_rand(w, most);
	s->sndbuf = w->cfg.sndbuf ? w->cfg.sndbuf : 1 + (size_t)world_rand(w, most);
	list_init(&s->wait);
	list_init(&s->backlog);
	list_init(&s->rx);
	list_push_back(&w->socks, &s->node);
	return s;
}

static void sock_wake(struct sim_sock *s)
{
	if (s->actor)
		peer_wake(s->actor);
}

static void seg_free(struct sim_seg *seg)
{
	struct sim_req *zc = seg->zc;

	list_remove(&seg->node);
	free(seg);
	if (!zc || --zc->zc_segs)
		return;
	/* It is told by reqs_post(): completions appear only inside enter. */
	sim_trace(zc->ring->w, "req %llu: memory free", (unsigned long long)zc->seq);
}

/* Throw away unread bytes beyond the first keep, and with them the FIN that stood behind. */
static void rx_purge(struct sim_sock *s, size_t keep)
{
	if (s->rx_bytes > keep && !s->hup)
		s->fin_in = s->fin_said = false;
	while (s->rx_bytes > keep) {
		struct sim_seg *seg = container_of(s->rx.prev, struct sim_seg, node);
		size_t have = seg->len - seg->off, drop = s->rx_bytes - keep;

		if (drop < have) {
			seg->len -= drop;
			s->rx_bytes -= drop;
			return;
		}
		s->rx_bytes -= have;
		seg_free(seg);
	}
}

/*
 * What a TCP sender has not got rid of when its connection breaks is lost. A unix stream has no
 * bytes on their way: what was sent stands in the reader's queue.
 */
static void rx_lose(struct sim_sock *s)
{
	if (s->family != AF_UNIX)
		rx_purge(s, s->rcvbuf);
}

size_t sock_outq(const struct sim_sock *s)
{
	const struct sim_sock *o = s->other;

	return o && o->rx_bytes > o->rcvbuf ? o->rx_bytes - o->rcvbuf : 0;
}

size_t sock_room(const struct sim_sock *s)
{
	size_t cap;

	if (!s->other)
		return s->sndbuf;
	cap = s->other->rcvbuf + s->sndbuf;
	return cap > s->other->rx_bytes ? cap - s->other->rx_bytes : 0;
}

int sock_error(struct sim_sock *s)
{
	int err = s->err;

	s->err = 0;
	return err;
}

bool sock_writable(const struct sim_sock *s)
{
	return s->err || s->wr_shut || s->hup || s->state != SOCK_CONNECTED || sock_room(s);
}

unsigned sock_poll(const struct sim_sock *s)
{
	unsigned m = 0;

	if (s->state == SOCK_LISTEN)
		return sock_readable(s) ? POLLIN | POLLRDNORM : 0;
	if (s->err)
		m |= POLLERR;
	if (s->hup || s->state != SOCK_CONNECTED || (s->fin_in && s->wr_shut))
		m |= POLLHUP;
	if (s->fin_in || s->rd_shut || s->hup)
		m |= POLLIN | POLLRDNORM | POLLRDHUP;
	if (s->rx_bytes)
		m |= POLLIN | POLLRDNORM;
	if (s->state == SOCK_CONNECTED && sock_room(s))
		m |= POLLOUT | POLLWRNORM;
	return m;
}

/* Poll requests see an error when it happens, even if another request is told of it first. */
static void polls_latch(struct sim_sock *s)
{
	list_for_each (rn, &s->w->rings) {
		struct sim_ring *r = container_of(rn, struct sim_ring, node);

		list_for_each (n, &r->pending) {
			struct sim_req *q = container_of(n, struct sim_req, node);

			if (q->sqe.opcode == IORING_OP_POLL_ADD && q->file &&
			    q->file->kind == SIM_SOCK && q->file->sock == s)
				q->latched |= sock_poll(s);
		}
	}
}

/* The far end said RST, or the network gave up: unsent bytes are lost, received ones are not. */
void sock_break(struct sim_sock *s, int err, bool tell_other)
{
	struct sim_sock *o = s->other;

	if (s->state != SOCK_CONNECTED || s->hup)
		return;
	sim_trace(s->w, "sock %u broken: %s", s->id, strerror(-err));
	hit_sock(s, err == -ETIMEDOUT ? HIT_TIMEOUT : HIT_RESET);
	s->hup = true;
	if (s->family != AF_UNIX) { /* there a reset is told also after the end */
		s->fin_said = s->fin_said && s->rx_bytes <= s->rcvbuf; /* else on its way */
		s->ended = s->fin_in && s->rx_bytes <= s->rcvbuf;
	}
	s->err = s->ended && err == -ECONNRESET ? -EPIPE : err;
	s->fin_in = true;
	s->news++;
	s->w->stats.resets++;
	if (o)
		rx_lose(o);
	if (o && tell_other)
		sock_break(o, -ECONNRESET, false);
	polls_latch(s);
	sock_wake(s);
}

void sock_reset(struct sim_sock *s)
{
	struct sim_sock *o = s->other;

	rx_purge(s, 0);
	if (o) {
		rx_lose(o);
		o->other = NULL;
		s->other = NULL;
		sock_break(o, -ECONNRESET, false);
	}
	s->state = SOCK_DEAD;
	s->fin_in = s->rd_shut = s->wr_shut = false;
	s->hup = true;
	s->err = -ECONNRESET;
	polls_latch(s);
}

static void sock_fin(struct sim_sock *s)
{
	struct sim_sock *o = s->other;

	if (s->wr_shut)
		return;
	s->wr_shut = true;
	if (o)
		o->fin_said = true;
	if (o && !o->fin_in) {
		hit_sock(o, HIT_FIN);
		o->fin_in = true;
		o->news++;
		sock_wake(o);
	}
}

/* No more clients; those that wait are sent away. A pending accept then fails with -EINVAL. */
static void listener_end(struct sim_sock *s)
{
	while (!list_empty(&s->backlog)) {
		struct list *n = list_pop_front(&s->backlog);

		sock_close(container_of(n, struct sim_sock, wait));
	}
	s->backlog_len = 0;
	if (s->state == SOCK_LISTEN)
		s->state = SOCK_NEW;
}

int sock_shutdown(struct sim_sock *s, int how)
{
	if (s->state == SOCK_LISTEN && how != SHUT_WR) {
		listener_end(s);
		return 0;
	}
	if (s->state != SOCK_CONNECTED || s->hup)
		return -ENOTCONN;
	if (how == SHUT_WR || how == SHUT_RDWR)
		sock_fin(s);
	if (how == SHUT_RD || how == SHUT_RDWR)
		s->rd_shut = true;
	sock_wake(s);
	return 0;
}

/* The last reference is gone. Unread bytes at that moment turn the FIN into an RST, as in TCP. */
void sock_close(struct sim_sock *s)
{
	struct sim_sock *o = s->other;

	if (s->actor)
		peer_sock_closed(s->actor);
	listener_end(s);
	if (o && s->rx_bytes && s->state == SOCK_CONNECTED) {
		rx_lose(o);
		o->other = NULL;
		sock_break(o, -ECONNRESET, false);
	} else if (o) {
		sock_fin(s);
		o->other = NULL;
	}
	s->other = NULL;
	rx_purge(s, 0);
	list_remove(&s->node);
	list_remove(&s->wait);
	sim_trace(s->w, "sock %u closed", s->id);
	free(s);
}

static uint16_t sa_port(const struct sockaddr *sa)
{
	if (sa->sa_family == AF_INET)
		return ntohs(((const struct sockaddr_in *)(const void *)sa)->sin_port);
	if (sa->sa_family == AF_INET6)
		return ntohs(((const struct sockaddr_in6 *)(const void *)sa)->sin6_port);
	return 0;
}

static void sa_set_port(struct sockaddr_storage *sa, uint16_t port)
{
	if (sa->ss_family == AF_INET)
		((struct sockaddr_in *)(void *)sa)->sin_port = htons(port);
	else if (sa->ss_family == AF_INET6)
		((struct sockaddr_in6 *)(void *)sa)->sin6_port = htons(port);
}

static bool sa_same(const struct sim_sock *s, const struct sockaddr *sa, socklen_t n)
{
	if (sa->sa_family == AF_UNIX)
		return s->name.ss_family == AF_UNIX && s->name_len == n &&
		       memcmp(&s->name, sa, n) == 0;
	return s->name_len && s->name.ss_family != AF_UNIX && sa_port(sa) &&
	       sa_port((const struct sockaddr *)(const void *)&s->name) == sa_port(sa);
}

static bool name_taken(const struct sim_sock *s, const struct sockaddr *sa, socklen_t n)
{
	list_for_each (node, &s->w->socks) {
		const struct sim_sock *o = container_of(node, struct sim_sock, node);

		if (o != s && o->bound && sa_same(o, sa, n) && !(o->reuseport && s->reuseport))
			return true;
	}
	return false;
}

int sock_bind(struct sim_sock *s, const struct sockaddr *sa, socklen_t n)
{
	if (n > sizeof(s->name) || n < sizeof(sa->sa_family) || sa->sa_family != s->family)
		return -EINVAL;
	if (name_taken(s, sa, n))
		return -EADDRINUSE;
	memcpy(&s->name, sa, n);
	s->name_len = n;
	s->bound = true;
	if (s->family != AF_UNIX && !sa_port(sa))
		sa_set_port(&s->name, (uint16_t)(20000 + s->id));
	return 0;
}

int sock_listen(struct sim_sock *s, int backlog)
{
	if (!s->name_len)
		return -EINVAL;
	s->state = SOCK_LISTEN;
	s->backlog_max = backlog > 0 ? (unsigned)backlog : 1;
	return 0;
}

static void sock_join(struct sim_sock *a, struct sim_sock *b)
{
	a->other = b;
	b->other = a;
	a->state = b->state = SOCK_CONNECTED;
	a->peer_name = b->name;
	a->peer_name_len = b->name_len;
	b->peer_name = a->name;
	b->peer_name_len = a->name_len;
}

static void sock_name_client(struct sim_sock *s, int family)
{
	if (s->name_len)
		return;
	memset(&s->name, 0, sizeof(s->name));
	s->name.ss_family = (sa_family_t)family;
	s->name_len = family == AF_INET	   ? sizeof(struct sockaddr_in)
		      : family == AF_INET6 ? sizeof(struct sockaddr_in6)
					   : sizeof(sa_family_t);
	if (family == AF_INET)
		((struct sockaddr_in *)(void *)&s->name)->sin_addr.s_addr = htonl(0x7f000001);
	sa_set_port(&s->name, (uint16_t)(30000 + s->id % 30000));
}

/* One of the listeners there by chance: SO_REUSEPORT spreads clients without a rule we could use.
 */
static struct sim_sock *listener_at(struct world *w, const struct sockaddr *sa, socklen_t n,
				    bool *full)
{
	struct sim_sock *best = NULL;
	unsigned seen = 0;

	list_for_each (node, &w->socks) {
		struct sim_sock *l = container_of(node, struct sim_sock, node);

		if (l->state != SOCK_LISTEN || !sa_same(l, sa, n))
			continue;
		if (l->backlog_len > l->backlog_max) { /* one more than asked for, as Linux */
			*full = true;
			continue;
		}
		if (chance(w, ++seen))
			best = l;
	}
	return best;
}

int sock_connect(struct sim_sock *s, const struct sockaddr *sa, socklen_t n)
{
	struct world *w = s->w;
	struct sim_sock *l, *b;
	bool full = false;

	if (s->state == SOCK_CONNECTED)
		return -EISCONN;
	l = listener_at(w, sa, n, &full);
	if (!l && full)
		return -EAGAIN;
	s->err = 0;
	s->hup = false;
	if (l) {
		sock_name_client(s, l->family);
		b = sock_new(w, l->family, l->type);
		b->name = l->name;
		b->name_len = l->name_len;
		sock_join(s, b);
		list_push_back(&l->backlog, &b->wait);
		l->backlog_len++;
		return 0;
	}
	for (struct sim_remote *m = w->remotes; m; m = m->next) {
		if (sa->sa_family == AF_UNIX || m->port != sa_port(sa))
			continue;
		sock_name_client(s, sa->sa_family);
		b = sock_new(w, sa->sa_family, s->type);
		memcpy(&b->name, sa, n);
		b->name_len = n;
		sock_join(s, b);
		peer_accept(w, b, &m->cfg);
		return 0;
	}
	return sa->sa_family == AF_UNIX ? -ENOENT : -ECONNREFUSED;
}

struct sim_sock *sock_accept(struct sim_sock *s)
{
	struct list *n = list_pop_front(&s->backlog);

	if (!n)
		return NULL;
	s->backlog_len--;
	return container_of(n, struct sim_sock, wait);
}

static void rx_push(struct sim_sock *o, const uint8_t *p, size_t n, struct sim_req *zc)
{
	struct sim_seg *seg = malloc(sizeof(*seg) + (zc ? 0 : n));

	RLN_ASSERT(seg);
	*seg = (struct sim_seg){ .len = n, .zc = zc, .from = p };
	if (zc)
		zc->zc_segs++;
	else
		memcpy(seg->copy, p, n);
	list_push_back(&o->rx, &seg->node);
	o->rx_bytes += n;
	o->news++;
	sock_wake(o);
}

ssize_t sock_send(struct sim_sock *s, const void *p, size_t n, struct sim_req *zc)
{
	size_t room;
	int err;

	/* A unix stream sees at once that nobody can read, and leaves the error to a receive. */
	if (s->family == AF_UNIX && s->state == SOCK_CONNECTED && (!s->other || s->other->rd_shut))
		return -EPIPE;
	err = sock_error(s);
	if (err)
		return err;
	if (s->wr_shut || s->hup || s->state != SOCK_CONNECTED)
		return -EPIPE;
	room = sock_room(s);
	if (n > room)
		n = room;
	if (!n)
		return -EAGAIN;
	if (s->other) {
		rx_push(s->other, p, n, zc);
	} else {
		/* The far end has closed: it answers with an RST, which makes the next send fail.
		 */
		sock_break(s, -EPIPE, false);
	}
	return (ssize_t)n;
}

ssize_t sock_recv(struct sim_sock *s, void *p, size_t n)
{
	size_t got = 0;
	int err;

	if (s->rd_shut && !s->rx_bytes)
		return 0;
	while (got < n && s->rx_bytes) {
		struct sim_seg *seg = container_of(s->rx.next, struct sim_seg, node);
		size_t k = seg->len - seg->off;
		const uint8_t *from = seg->zc ? seg->from : seg->copy;

		k = k < n - got ? k : n - got;
		memcpy((uint8_t *)p + got, from + seg->off, k);
		got += k;
		seg->off += k;
		s->rx_bytes -= k;
		if (seg->off == seg->len)
			seg_free(seg);
	}
	if (got) {
		s->w->stats.bytes_received += got;
		if (s->other)
			sock_wake(s->other);
		return (ssize_t)got;
	}
	err = s->ended ? 0 : sock_error(s);
	if (err)
		return err;
	if (s->state != SOCK_CONNECTED)
		return -ENOTCONN;
	return s->fin_in ? 0 : -EAGAIN;
}

static void seg_detach(struct sim_seg *seg)
{
	struct sim_seg *own = malloc(sizeof(*own) + seg->len);

	RLN_ASSERT(own);
	*own = (struct sim_seg){ .off = seg->off, .len = seg->len };
	memcpy(own->copy, seg->from, seg->len);
	list_insert(&seg->node, &own->node);
	list_remove(&seg->node);
	seg->zc->zc_segs--;
	free(seg);
}

void socks_detach(struct world *w, const struct sim_ring *r)
{
	list_for_each (sn, &w->socks) {
		struct sim_sock *s = container_of(sn, struct sim_sock, node);

		list_for_each_safe (n, t, &s->rx) {
			struct sim_seg *seg = container_of(n, struct sim_seg, node);

			if (seg->zc && seg->zc->ring == r)
				seg_detach(seg);
		}
	}
}

bool world_sock_in(const struct world *w, int ring_fd, unsigned slot, struct world_sock *out)
{
	const struct sim_file *f = fd_get(w, ring_fd);
	const struct sim_ring *r = f && f->kind == SIM_RING ? f->ring : NULL;
	const struct sim_sock *s;

	if (!r || slot >= r->file_count || !r->files[slot] || r->files[slot]->kind != SIM_SOCK)
		return false;
	s = r->files[slot]->sock;
	*out = (struct world_sock){ s->fin_said, s->hup, s->rx_bytes,
				    s->other ? s->rcvbuf + s->other->sndbuf : SIZE_MAX,
				    s->other ? s->other->actor : NULL };
	return true;
}
