/*
 * Peers: what stands at the other end of a connection. A peer acts at times of the world's clock
 * and sleeps without an event when it can neither send nor receive; a change of its socket wakes
 * it. Every stream is a pattern that depends on the connection and the position, so each byte that
 * comes back is checked against the place it must have.
 */
#include "sim/sim.h"
#include "base/assert.h"
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define CHUNK 4096
#define CONNECT_RETRIES 1000 /* a backlog may be full for long */
#define NS_PER_S 1000000000

struct sim_peer {
	struct list node;
	struct world *w;
	struct sim_sock *sock; /* NULL: not yet, or no longer */
	struct peer_config cfg;
	enum peer_end end;
	unsigned id, tries;
	struct sockaddr_storage to;
	socklen_t to_len;
	int64_t at;	  /* acts then; SIM_NEVER: when woken */
	int64_t leave_at; /* PEER_SILENT, PEER_NO_READ */
	size_t sent, received;
	size_t gap;	 /* 1 + the place from which nothing is compared; 0: none */
	size_t reset_at; /* PEER_RESET: after that many bytes both ways */
	bool fin_sent, fin_early, broke;
	uint8_t *store; /* PEER_ECHO: read, not yet sent back */
	size_t stored, store_cap;
};

static uint8_t pattern(const struct sim_peer *p, size_t at)
{
	return (uint8_t)(at * 131 + (at >> 8) * 7 + p->id * 29 + 1);
}

/* ---- life */
static struct sim_peer *peer_new(struct world *w, const struct peer_config *cfg)
{
	struct sim_peer *p = calloc(1, sizeof(*p));

	RLN_ASSERT(p);
	p->w = w;
	p->cfg = *cfg;
	p->id = ++w->conn_ids;
	p->at = p->leave_at = SIM_NEVER;
	p->reset_at = world_rand(w, cfg->bytes * 2 + 1);
	p->fin_early = cfg->kind == PEER_HALF_CLOSE || chance(w, 2);
	list_push_back(&w->peers, &p->node);
	w->peers_alive++;
	w->last_peer = p;
	return p;
}

static void peer_join(struct sim_peer *p, struct sim_sock *s)
{
	struct world *w = p->w;

	p->sock = s;
	s->actor = p;
	if (p->cfg.kind == PEER_SCRIPT)
		return;
	p->at = w->now + latency(w);
	if (p->cfg.kind != PEER_SILENT && p->cfg.kind != PEER_NO_READ &&
	    (p->cfg.kind != PEER_DRINK || p->cfg.thirst != THIRST_LATE))
		return;
	p->leave_at = w->now +
		      (p->cfg.life_ns ? p->cfg.life_ns : (int64_t)world_rand(w, 20ull * NS_PER_S));
}

struct sim_peer *peer_accept(struct world *w, struct sim_sock *s, const struct peer_config *cfg)
{
	struct sim_peer *p = peer_new(w, cfg);

	peer_join(p, s);
	return p;
}

static void to_port(struct sim_peer *p, uint16_t port)
{
	struct sockaddr_in *in = (struct sockaddr_in *)(void *)&p->to;

	in->sin_family = AF_INET;
	in->sin_port = htons(port);
	in->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	p->to_len = sizeof(*in);
}

/* Abstract: the name stands behind a zero. */
static void to_unix(struct sim_peer *p, const char *name)
{
	struct sockaddr_un *un = (struct sockaddr_un *)(void *)&p->to;
	size_t n = strlen(name);

	RLN_ASSERT(n < sizeof(un->sun_path));
	un->sun_family = AF_UNIX;
	memcpy(un->sun_path + 1, name, n);
	p->to_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + n);
}

struct sim_peer *world_peer(struct world *w, uint16_t port, const struct peer_config *cfg)
{
	struct sim_peer *p = peer_new(w, cfg);

	if (cfg->name)
		to_unix(p, cfg->name);
	else
		to_port(p, port);
	p->at = w->now + cfg->delay_ns;
	return p;
}

void world_remote(struct world *w, uint16_t port, const struct peer_config *cfg)
{
	struct sim_remote *m = calloc(1, sizeof(*m));

	RLN_ASSERT(m);
	m->port = port;
	m->cfg = *cfg;
	m->next = w->remotes;
	w->remotes = m;
}

enum peer_kind world_peer_kind(struct world *w)
{
	return chance(w, 2) ? PEER_NORMAL : (enum peer_kind)world_rand(w, PEER_ECHO);
}

static void peer_ended(struct sim_peer *p, enum peer_end end)
{
	static const char *const names[] = {
		"alive", "clean", "short", "broken", "refused", "left"
	};
	struct sim_sock *s = p->sock;

	RLN_ASSERT(p->end == PEER_ALIVE);
	sim_trace(p->w, "peer %u: %s, sent %zu received %zu of %zu", p->id, names[end], p->sent,
		  p->received, p->cfg.bytes);
	p->end = end;
	p->at = p->leave_at = SIM_NEVER;
	p->w->peers_alive--;
	p->sock = NULL;
	free(p->store);
	p->store = NULL;
	if (s) {
		s->actor = NULL;
		sock_close(s);
	}
	if (p->cfg.strict && end != PEER_CLEAN && end != PEER_LEFT)
		world_violates(p->w, PROP_P3, "peer %u ended %s: sent %zu, received %zu of %zu",
			       p->id, names[end], p->sent, p->received, p->cfg.bytes);
}

/* Its socket is destroyed under it: only when the whole world is freed. */
void peer_sock_closed(struct sim_peer *p)
{
	p->sock = NULL;
}

void peers_free(struct world *w)
{
	struct list *n;

	while ((n = list_pop_front(&w->peers))) {
		struct sim_peer *p = container_of(n, struct sim_peer, node);

		if (p->sock) {
			p->sock->actor = NULL;
			sock_close(p->sock);
		}
		free(p->store);
		free(p);
	}
}

/* ---- moving bytes */
static void peer_break(struct sim_peer *p)
{
	p->broke = true;
	if (p->sock->family != AF_UNIX) /* there: a close, with what it left unread */
		sock_reset(p->sock);
	peer_ended(p, PEER_BROKEN);
}

/* Bytes that came, or a negative errno; 0: EOF. Verified unless it was a server's own. */
static ssize_t take(struct sim_peer *p, size_t most)
{
	uint8_t buf[CHUNK];
	ssize_t n = sock_recv(p->sock, buf, most < sizeof(buf) ? most : sizeof(buf));

	for (ssize_t i = 0; i < n; i++) {
		if (p->received + (size_t)i >= p->sent)
			world_violates(p->w, PROP_P3,
				       "peer %u: byte %zu came back before it was sent", p->id,
				       p->received + (size_t)i);
		if (buf[i] != pattern(p, p->received + (size_t)i))
			world_violates(p->w, PROP_P3, "peer %u: byte %zu is %u, not %u", p->id,
				       p->received + (size_t)i, buf[i],
				       pattern(p, p->received + (size_t)i));
	}
	if (n > 0)
		p->received += (size_t)n;
	return n;
}

static ssize_t give(struct sim_peer *p, size_t most)
{
	uint8_t buf[CHUNK];
	size_t want = p->cfg.bytes - p->sent;
	ssize_t n;

	want = want < most ? want : most;
	want = want < sizeof(buf) ? want : sizeof(buf);
	for (size_t i = 0; i < want; i++)
		buf[i] = pattern(p, p->sent + i);
	n = sock_send(p->sock, buf, want, NULL);
	if (n > 0)
		p->sent += (size_t)n;
	return n;
}

static void peer_fin_now(struct sim_peer *p)
{
	if (p->fin_sent)
		return;
	p->fin_sent = true;
	sock_shutdown(p->sock, SHUT_WR);
}

/* ---- kinds. Each step returns whether something moved; the peer may have ended then. */
static bool step_read(struct sim_peer *p, size_t most)
{
	ssize_t n = take(p, most);

	if (n == -EAGAIN)
		return false;
	if (n < 0)
		peer_ended(p, PEER_BROKEN);
	else if (n == 0)
		peer_ended(p, p->received == p->cfg.bytes ? PEER_CLEAN : PEER_SHORT);
	return true;
}

static bool step_write(struct sim_peer *p, size_t most)
{
	ssize_t n;

	if (p->sent == p->cfg.bytes || p->fin_sent)
		return false;
	n = give(p, most);
	if (n == -EAGAIN)
		return false;
	if (n < 0) {
		/* What came before the break is still read: the error shows there. */
		p->cfg.bytes = p->sent;
		p->fin_sent = true;
	}
	if (fault(p->w, FAULT_PEER_FIN) && chance(p->w, 8)) {
		p->cfg.bytes = p->sent;
		peer_fin_now(p);
	}
	return true;
}

static void step_fin(struct sim_peer *p)
{
	if (p->sent < p->cfg.bytes)
		return;
	if (p->fin_early || p->received == p->cfg.bytes)
		peer_fin_now(p);
}

static bool act_normal(struct sim_peer *p)
{
	size_t most = p->cfg.kind == PEER_SLOW ? 1 : rand_size(p->w, CHUNK);
	bool moved = false;

	if (p->cfg.kind == PEER_RESET && p->sent + p->received >= p->reset_at) {
		peer_break(p);
		return true;
	}
	if (chance(p->w, 2))
		moved |= step_write(p, most);
	moved |= step_read(p, most);
	if (p->end == PEER_ALIVE && !moved)
		moved |= step_write(p, most);
	if (p->end == PEER_ALIVE)
		step_fin(p);
	return moved;
}

static bool act_idle(struct sim_peer *p)
{
	bool moved = p->cfg.kind == PEER_NO_READ && step_write(p, rand_size(p->w, CHUNK));

	if (p->w->now < p->leave_at)
		return moved;
	if (chance(p->w, 3) && p->sock->family != AF_UNIX)
		sock_reset(p->sock);
	peer_ended(p, PEER_LEFT);
	return true;
}

static bool echo_read(struct sim_peer *p)
{
	uint8_t buf[CHUNK];
	ssize_t n;

	if (p->stored >= 4 * CHUNK)
		return false;
	n = sock_recv(p->sock, buf, rand_size(p->w, sizeof(buf)));
	if (n == -EAGAIN)
		return false;
	if (n < 0) {
		peer_ended(p, PEER_BROKEN);
		return true;
	}
	if (n == 0) {
		if (p->stored == 0)
			peer_ended(p, PEER_CLEAN);
		return p->end != PEER_ALIVE;
	}
	if (!p->store)
		p->store = malloc(p->store_cap = 5 * CHUNK);
	RLN_ASSERT(p->store);
	memcpy(p->store + p->stored, buf, (size_t)n);
	p->stored += (size_t)n;
	p->received += (size_t)n;
	return true;
}

static bool echo_write(struct sim_peer *p)
{
	ssize_t n;

	if (!p->stored)
		return false;
	n = sock_send(p->sock, p->store, p->stored, NULL);
	if (n == -EAGAIN)
		return false;
	if (n < 0) {
		peer_ended(p, PEER_BROKEN);
		return true;
	}
	p->stored -= (size_t)n;
	p->sent += (size_t)n;
	memmove(p->store, p->store + n, p->stored);
	return true;
}

/* ---- drinking */
uint8_t peer_poured(const struct sim_peer *p, size_t at)
{
	return (uint8_t)(at * 151 + (at >> 8) * 11 + (p ? p->id : 0) * 37 + 3);
}

void peer_gap(struct sim_peer *p, size_t at)
{
	if (!p->gap || at + 1 < p->gap)
		p->gap = at + 1;
}

static bool thirsty(const struct sim_peer *p)
{
	const struct sim_sock *s = p->sock;
	bool over = s->fin_in || s->hup || s->err || !s->other;

	switch (p->cfg.thirst) {
	case THIRST_LATE:
		return p->w->now >= p->leave_at;
	case THIRST_FIN:
		return over || p->received || !sock_room(s->other);
	case THIRST_NEVER:
		return over;
	default:
		return true;
	}
}

static void drink_other(struct sim_peer *p, size_t at, const uint8_t *got, size_t n)
{
	const struct world_config *cfg = &p->w->cfg;

	if (cfg->on_other)
		cfg->on_other(p->w, p, at, got, n, cfg->ctx);
	world_violates(p->w, PROP_P3, "peer %u: byte %zu is %u, not %u", p->id, at, *got,
		       peer_poured(p, at));
}

static bool act_drink(struct sim_peer *p)
{
	uint8_t buf[CHUNK];
	size_t most = rand_size(p->w, p->cfg.thirst == THIRST_LITTLE ? 16 : sizeof(buf));
	ssize_t n = thirsty(p) ? sock_recv(p->sock, buf, most) : -EAGAIN;

	if (n == -EAGAIN)
		return false;
	for (ssize_t i = 0; i < n; i++)
		if (buf[i] != peer_poured(p, p->received + (size_t)i) &&
		    (!p->gap || p->received + (size_t)i < p->gap - 1))
			drink_other(p, p->received + (size_t)i, buf + i, (size_t)(n - i));
	if (n > 0)
		p->received += (size_t)n;
	else
		peer_ended(p, n ? PEER_BROKEN : PEER_CLEAN);
	return true;
}

static void peer_connect(struct sim_peer *p)
{
	struct world *w = p->w;
	struct sim_sock *s = sock_new(w, p->to.ss_family, SOCK_STREAM);
	int err = sock_connect(s, (const struct sockaddr *)(const void *)&p->to, p->to_len);

	if (err == 0) {
		peer_join(p, s);
		return;
	}
	sock_close(s);
	p->at = w->now + 100000000;
	if (++p->tries > CONNECT_RETRIES || err != -EAGAIN)
		peer_ended(p, PEER_REFUSED);
}

static bool peer_slow(const struct sim_peer *p)
{
	return p->cfg.kind == PEER_SLOW ||
	       (p->cfg.kind == PEER_DRINK && p->cfg.thirst == THIRST_LITTLE);
}

static void peer_act(struct sim_peer *p)
{
	struct world *w = p->w;
	bool moved;

	p->at = SIM_NEVER;
	if (!p->sock) {
		peer_connect(p);
		return;
	}
	switch (p->cfg.kind) {
	case PEER_SCRIPT:
		return;
	case PEER_SILENT:
	case PEER_NO_READ:
		moved = act_idle(p);
		break;
	case PEER_ECHO:
		moved = echo_read(p);
		moved = p->end == PEER_ALIVE && (echo_write(p) | moved);
		break;
	case PEER_DRINK:
		moved = act_drink(p);
		break;
	default:
		moved = act_normal(p);
	}
	if (p->end != PEER_ALIVE)
		return;
	if (moved)
		p->at = w->now +
			(peer_slow(p) ? (int64_t)world_rand(w, NS_PER_S / 20) : latency(w));
	else
		p->at = p->leave_at > w->now ? p->leave_at : SIM_NEVER;
}

/* ---- the world's side */
void peer_wake(struct sim_peer *p)
{
	int64_t at = p->w->now + latency(p->w);

	if (p->end == PEER_ALIVE && p->cfg.kind != PEER_SCRIPT && at < p->at)
		p->at = at;
}

int64_t peers_next(const struct world *w)
{
	int64_t t = SIM_NEVER;

	list_for_each (n, &w->peers) {
		int64_t at = container_of(n, struct sim_peer, node)->at;

		t = at < t ? at : t;
	}
	return t;
}

void peers_run(struct world *w)
{
	list_for_each (n, &w->peers) {
		struct sim_peer *p = container_of(n, struct sim_peer, node);

		if (p->end == PEER_ALIVE && p->at <= w->now)
			peer_act(p);
	}
}

unsigned world_peers_alive(const struct world *w)
{
	return w->peers_alive;
}

unsigned world_peers_ended(const struct world *w, enum peer_kind kind, enum peer_end end)
{
	unsigned count = 0;

	list_for_each (n, &w->peers) {
		const struct sim_peer *p = container_of(n, struct sim_peer, node);

		count += p->end == end && (kind == PEER_KIND_COUNT || p->cfg.kind == kind);
	}
	return count;
}

enum peer_end peer_end(const struct sim_peer *p)
{
	return p->end;
}

size_t peer_received(const struct sim_peer *p)
{
	return p->received;
}

struct sim_peer *world_last_peer(struct world *w)
{
	return w->last_peer;
}

ssize_t peer_send(struct sim_peer *p, const void *buf, size_t n)
{
	return p->sock ? sock_send(p->sock, buf, n, NULL) : -ENOTCONN;
}

ssize_t peer_recv(struct sim_peer *p, void *buf, size_t n)
{
	return p->sock ? sock_recv(p->sock, buf, n) : -ENOTCONN;
}

bool peer_connected(const struct sim_peer *p)
{
	return p->sock && p->sock->state == SOCK_CONNECTED;
}

void peer_fin(struct sim_peer *p)
{
	peer_fin_now(p);
}

void peer_rst(struct sim_peer *p)
{
	peer_break(p);
}

void peer_close(struct sim_peer *p)
{
	peer_ended(p, PEER_LEFT);
}
