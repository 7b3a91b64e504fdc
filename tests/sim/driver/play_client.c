/*
 * Tasks that connect out to programs of the world and check every byte that comes back, under
 * deadlines, cancels and closes from the side.
 */
#include "play.h"

struct talk {
	rln_conn c;
	unsigned id;
	size_t bytes, sent, got;
	bool shut;
};

static uint8_t pattern(unsigned id, size_t at)
{
	return (uint8_t)(at * 113 + (at >> 8) * 5 + id * 31);
}

static rln_ns some_time(void)
{
	return (rln_ns)play_rand(1u << (10 + play_rand(16)));
}

static rln_ns patience(void)
{
	return play.strict || play_rand(3) ? RLN_FOREVER : some_time();
}

/* What may end an exchange where connections break and callers give up. */
static void check_error(ssize_t e)
{
	static const int known[] = { ECONNREFUSED, EHOSTUNREACH, ENETUNREACH, ENFILE,
				     ECONNRESET,   EPIPE,	 ETIMEDOUT,   ETIME,
				     ECANCELED,	   ECONNABORTED, EBADF,	      ESHUTDOWN,
				     EAGAIN,	   ENOBUFS,	 EMFILE };

	if (play.strict && !play.shut)
		world_violates(play.w, PROP_P10, "an error where nothing goes wrong: %zd", e);
	for (unsigned i = 0; i < sizeof known / sizeof *known; i++)
		if (e == -known[i])
			return;
	if (play.scarce && e == -ENOMEM)
		return;
	world_violates(play.w, PROP_P10, "an error nobody documents: %zd", e);
}

static ssize_t send_some(struct talk *t)
{
	uint8_t buf[700];
	size_t n = 1 + play_rand(sizeof buf);

	n = n < t->bytes - t->sent ? n : t->bytes - t->sent;
	for (size_t i = 0; i < n; i++)
		buf[i] = pattern(t->id, t->sent + i);
	ssize_t r = rig_send(&play.rig, t->c, buf, n);
	memset(buf, 0xee, sizeof buf); /* nobody needs it any more */
	if (r > 0 && (size_t)r != n)
		world_violates(play.w, PROP_P1, "a send of %zu returned %zd", n, r);
	t->sent += r > 0 ? n : 0;
	return r;
}

static ssize_t receive_some(struct talk *t, uint8_t *own)
{
	rln_view v;
	ssize_t n = RLN_WITHIN(patience(), rig_receive(&play.rig, t->c, &v, own, RIG_OWN_BYTES));

	check_received(t->c, n);
	for (ssize_t i = 0; i < n; i++)
		if (v.data[i] != pattern(t->id, t->got + (size_t)i))
			world_violates(play.w, PROP_P3, "client %u: byte %zu is another one", t->id,
				       t->got + (size_t)i);
	t->got += n > 0 ? (size_t)n : 0;
	if (t->got > t->sent)
		world_violates(play.w, PROP_P3, "client %u: %zu bytes came back of %zu", t->id,
			       t->got, t->sent);
	return n;
}

/* Send and read back, then end the stream and see its end. */
static ssize_t echo_talk(struct talk *t)
{
	uint8_t *own __attribute__((cleanup(rig_free_bytes))) = malloc(RIG_OWN_BYTES);
	ssize_t n = 1;

	while (n > 0 && t->got < t->bytes) {
		if (t->sent == t->bytes && !t->shut && play_chance(4)) {
			int e = rln_shutdown_send(t->c); /* behind what is queued still */
			if (e < 0)
				return e;
			t->shut = true;
		}
		if (t->sent < t->bytes && (t->sent == t->got || play_chance(3)))
			n = send_some(t);
		else
			n = receive_some(t, own);
		if (n == -ETIME && !rln_cancelled())
			n = 1;
	}
	if (n > 0 && !t->shut)
		n = rln_shutdown_send(t->c);
	if (n < 0)
		return n;
	do
		n = receive_some(t, own);
	while (n > 0 || (n == -ETIME && !rln_cancelled()));
	if (n == 0 && t->got != t->sent)
		world_violates(play.w, PROP_P3, "client %u: the end after %zu of %zu bytes", t->id,
			       t->got, t->sent);
	return n;
}

/* Send back whatever comes. */
static ssize_t pattern_talk(struct talk *t)
{
	rln_view v;
	ssize_t n;

	do {
		n = RLN_WITHIN(patience(), rln_recv(t->c, &v));
		check_received(t->c, n);
		if (n > 0)
			n = rln_send(t->c, v.data, v.len);
	} while (n > 0);
	return n;
}

static ssize_t fill_talk(struct talk *t)
{
	uint8_t junk[300] = { 0 };
	rln_view v;
	ssize_t n = 0;

	for (unsigned i = 0; i < 8 && n >= 0; i++)
		n = RLN_WITHIN(RLN_MS(5), rig_send(&play.rig, t->c, junk, sizeof junk));
	if (n >= 0)
		n = RLN_WITHIN(some_time(), rln_recv(t->c, &v));
	return n;
}

/* By name at times: one of its addresses answers, the others refuse or lead nowhere. */
static int connect_to(uint16_t port, rln_conn *c)
{
	char name[24];

	if (play_rand(3))
		return rig_connect(&play.rig, port, patience(), c);
	snprintf(name, sizeof name, "far.away:%u", port);
	c->h = 0;
	int e = RLN_WITHIN(patience(), rln_connect(name, NULL, c));
	if ((e == 0) != (c->h != 0))
		world_violates(play.w, PROP_P1, "rln_connect: %d, and %s connection", e,
			       e ? "a" : "no");
	return e;
}

int clients_resolve(struct world *w, const char *host, uint16_t port, struct sockaddr_storage *out,
		    int max)
{
	int n = 1 + (int)world_rand(w, 3), good = (int)world_rand(w, (uint64_t)n);

	(void)host;
	if (!play.strict && world_rand(w, 8) == 0)
		return -EHOSTUNREACH;
	for (int i = 0; i < n && i < max; i++) {
		struct sockaddr_in6 *six = (struct sockaddr_in6 *)(void *)&out[i];
		struct sockaddr_in *four = (struct sockaddr_in *)(void *)&out[i];
		uint16_t to = htons(i == good ? port : PORT_NOBODY);

		memset(&out[i], 0, sizeof out[i]);
		if (world_rand(w, 2))
			*six = (struct sockaddr_in6){ .sin6_family = AF_INET6,
						      .sin6_port = to,
						      .sin6_addr = IN6ADDR_LOOPBACK_INIT };
		else
			*four = (struct sockaddr_in){ .sin_family = AF_INET,
						      .sin_port = to,
						      .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	}
	return n < max ? n : max;
}

static void one_exchange(unsigned id)
{
	uint16_t port = (uint16_t)(PORT_ECHO + play_rand(play.strict ? 2 : 6));
	struct talk t = { .id = id, .bytes = 1 + (play_rand(play.most / 2) >> play.tweak->halve) };
	ssize_t n = connect_to(port, &t.c);
	rln_view v;

	play.exchanges++;
	if (n < 0) {
		check_error(n);
		return;
	}
	if (port == PORT_ECHO)
		n = echo_talk(&t);
	else if (port == PORT_PATTERN || port == PORT_RESET)
		n = pattern_talk(&t);
	else
		n = fill_talk(&t);
	if (n < 0)
		check_error(n);
	if (!play.strict && play_chance(4))
		(void)rln_reset(t.c);
	else
		(void)rln_close(t.c);
	if (rln_try_recv(t.c, &v) != -EBADF)
		world_violates(play.w, PROP_P1, "a closed handle answers");
	if (play_chance(4))
		beside(t.c, true);
}

static int client(void *arg)
{
	unsigned id = (unsigned)(uintptr_t)arg, rounds = 1 + (unsigned)play_rand(3);

	for (unsigned i = 0; i < rounds && !rln_cancelled() && !play.shut; i++)
		one_exchange(id);
	play.tasks_ended++;
	return (int)id;
}

/* Clients as children: some cancelled, all joined. */
static int parent(void *arg)
{
	unsigned n = (unsigned)(uintptr_t)arg, have = 0;
	rln_task child[4];
	int id;

	for (unsigned i = 0; i < n && i < 4; i++) {
		if (rln_spawn(client, (void *)(uintptr_t)(i + 1), NULL, &child[have]) == 0)
			have++;
	}
	play.tasks += have;
	for (unsigned i = 0; i < have && !play.strict; i++) {
		if (play_chance(6) && rln_sleep(some_time()) == 0)
			(void)rln_cancel(child[play_rand(have)]);
	}
	for (unsigned i = 0; i < have; i++) {
		int e = rln_join(child[i], &id);
		if (e == 0 && id == 0)
			world_violates(play.w, PROP_P1, "a child's result is lost");
	}
	play.tasks_ended++;
	return 0;
}

/* One that is cancelled before it began is not told. */
static int member(void *arg)
{
	play.tasks++;
	return client(arg);
}

/* The same as a group, which may be given up: each child is told once, with its result. */
static int family(void *arg)
{
	unsigned n = (unsigned)(uintptr_t)arg, have = 0, told = 0;
	rln_group g;
	rln_child d;
	int e = 0;

	rln_group_begin(&g);
	while (have < n && rln_group_spawn(&g, member, (void *)(uintptr_t)(have + 1)) == 0)
		have++;
	while (told < have && (play.strict || play_rand(3))) {
		e = RLN_WITHIN(patience(), rln_group_next(&g, &d));
		bool unmade = e == 1 && (unsigned)d.index == have &&
			      (d.result == -EAGAIN || d.result == -ENOMEM);
		if (e == 1 && d.result != -ECANCELED && d.result != d.index + 1 && !unmade)
			world_violates(play.w, PROP_P1, "child %d gave %d", d.index, d.result);
		if (e == 0)
			world_violates(play.w, PROP_P1, "%u children of %u", told, have);
		told += e == 1;
		if (e < 0)
			break;
	}
	if (!play.strict && play_chance(2))
		rln_group_cancel(&g);
	e = rln_group_end(&g);
	play.tasks_ended++;
	return e;
}

void clients_start(unsigned worker, unsigned n)
{
	play.tasks++;
	rig_go(&play.rig, worker, play_chance(2) ? family : parent, (void *)(uintptr_t)n);
}

void clients_world(void)
{
	struct peer_config far[] = { { .kind = PEER_ECHO },
				     { .kind = PEER_NORMAL, .bytes = play_rand(play.most / 2) },
				     { .kind = PEER_NO_READ, .bytes = play.most },
				     { .kind = PEER_SILENT },
				     { .kind = PEER_RESET, .bytes = play_rand(play.most / 2) } };

	for (unsigned i = 0; i < sizeof far / sizeof *far; i++) {
		far[i].bytes >>= play.tweak->halve;
		world_remote(play.w, (uint16_t)(PORT_ECHO + i), &far[i]);
	}
}
