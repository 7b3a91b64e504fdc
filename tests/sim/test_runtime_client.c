/*
 * The other direction, by the public calls: tasks that connect or adopt, exchange bytes with echo
 * servers of the world and check them, under deadlines, cancellations and closes from the side; and
 * a proxy between the world's clients and its servers.
 */
#include "runtime_rig.h"

#define ECHO 7
#define PATTERN 8 /* sends a pattern and wants it back */
#define NO_READ 9
#define SILENT 10
#define RESETS 11
#define NOBODY 12
#define PORTS 6

struct app {
	struct rig *r;
	struct world *w;
	bool steady; /* no resets, no deadlines, no cancels: every exchange must succeed */
	bool proxy;
	unsigned rounds, tasks;
	unsigned good, refused, broken, late, cancelled, aborted, ended;
	bool main_over;
};
static struct app app;

static uint8_t pattern(unsigned id, size_t at)
{
	return (uint8_t)(at * 113 + (at >> 8) * 5 + id * 31);
}

/* ---- one exchange: a child sends, the task receives and compares */
struct talk {
	rln_conn c;
	unsigned id;
	size_t bytes, sent; /* sent: what the calls have taken for certain */
	bool cut;	    /* the sender gave up: a part of its last unit may have gone out */
};

static rln_ns some_time(void)
{
	return (rln_ns)world_rand(app.w, 1u << (10 + world_rand(app.w, 16)));
}

/* A deadline that mostly is none. */
static rln_ns patience(void)
{
	return app.steady || world_rand(app.w, 3) ? RLN_FOREVER : some_time();
}

static int child_send(void *arg)
{
	struct talk *t = arg;
	uint8_t buf[2000];

	while (t->sent < t->bytes) {
		size_t n = 1 + world_rand(app.w, sizeof buf);
		n = n < t->bytes - t->sent ? n : t->bytes - t->sent;
		for (size_t i = 0; i < n; i++)
			buf[i] = pattern(t->id, t->sent + i);
		ssize_t r = RLN_WITHIN(patience(), rig_send(app.r, t->c, buf, n));
		if (r > 0 && (size_t)r != n)
			world_fail(app.w, "a send of %zu returned %zd", n, r);
		if (r > 0) {
			t->sent += n;
		} else if (r != -ETIME || rln_cancelled() || rln_sent(t->c)) {
			t->cut = true; /* maybe the far end holds a part of it: no EOF comes */
			(void)(world_rand(app.w, 2) ? rln_reset(t->c) : rln_close(t->c));
			return (int)r;
		}
		memset(buf, 0xee, sizeof buf); /* nobody needs it any more */
	}
	return rln_shutdown_send(t->c);
}

static int child_closes(void *arg)
{
	struct talk *t = arg;

	if (rln_sleep(some_time()) < 0)
		return 0;
	return world_rand(app.w, 2) ? rln_close(t->c) : rln_reset(t->c);
}

/* What came is what was sent, from its first byte on. EOF or an error ends it. */
static ssize_t receive_all(struct talk *t, size_t *got)
{
	uint8_t *own __attribute__((cleanup(rig_free_bytes))) = malloc(RIG_OWN_BYTES);
	rln_view v;
	ssize_t n;

	for (*got = 0;;) {
		n = RLN_WITHIN(patience(), rig_receive(app.r, t->c, &v, own, RIG_OWN_BYTES));
		if (n == -ETIME && !rln_cancelled() && world_rand(app.w, 4))
			continue;
		if (n <= 0)
			return n;
		for (size_t i = 0; i < v.len; i++)
			if (v.data[i] != pattern(t->id, *got + i))
				world_fail(app.w, "task %u: byte %zu is another one", t->id,
					   *got + i);
		*got += v.len;
		if (*got > t->bytes)
			world_fail(app.w, "%zu bytes came back of %zu", *got, t->bytes);
	}
}

static void count(ssize_t err)
{
	switch (err) {
	case -ECONNREFUSED:
	case -EHOSTUNREACH:
	case -ENETUNREACH:
	case -ENFILE:
		app.refused++;
		break;
	case -ECONNRESET:
	case -EPIPE:
	case -ETIMEDOUT:
		app.broken++;
		break;
	case -ETIME:
		app.late++;
		break;
	case -ECANCELED:
		app.cancelled++;
		break;
	case -ECONNABORTED:
	case -EBADF:
	case -ESHUTDOWN:
		app.aborted++;
		break;
	case -EAGAIN: /* no more tasks */
		break;
	default:
		world_fail(app.w, "an unexpected error: %zd", err);
	}
	if (app.steady)
		world_fail(app.w, "an error where nothing goes wrong: %zd", err);
}

static ssize_t echo_talk(struct talk *t)
{
	rln_task sender, closer;
	bool aborts = !app.steady && world_rand(app.w, 5) == 0;
	size_t got;
	int e = rln_spawn(child_send, t, NULL, &sender);

	if (e)
		return e;
	if (aborts && rln_spawn(child_closes, t, NULL, &closer) < 0)
		aborts = false;
	ssize_t n = receive_all(t, &got);
	if (n == 0 && !t->cut && got != t->bytes)
		world_fail(app.w, "task %u: EOF after %zu of %zu bytes, sent %zu", t->id, got,
			   t->bytes, t->sent);
	if (n < 0 && world_rand(app.w, 2))
		(void)rln_cancel(sender);
	else if (n < 0)
		(void)rln_reset(t->c);
	if (aborts)
		(void)rln_join(closer, NULL);
	while (rln_join(sender, &e) < 0 && !rln_cancelled())
		;
	return n;
}

/* Send back whatever comes, as the world's client would have it. */
static ssize_t pattern_talk(struct talk *t)
{
	rln_view v;

	while (true) {
		ssize_t n = RLN_WITHIN(patience(), rln_recv(t->c, &v));
		if (n <= 0)
			return n;
		n = rln_send(t->c, v.data, v.len);
		if (n < 0)
			return n;
	}
}

static ssize_t fill_talk(struct talk *t)
{
	uint8_t junk[500] = { 0 };
	rln_view v;
	ssize_t n = 0;

	for (unsigned i = 0; i < 20 && n >= 0; i++)
		n = RLN_WITHIN(RLN_MS(5), rig_send(app.r, t->c, junk, sizeof junk));
	if (n >= 0)
		n = RLN_WITHIN(some_time(), rln_recv(t->c, &v));
	return n;
}

static void one_round(unsigned id)
{
	static const uint16_t ports[] = { ECHO, PATTERN, NO_READ, SILENT, RESETS, NOBODY };
	uint16_t port = ports[world_rand(app.w, app.steady ? 2 : PORTS)];
	struct talk t = { .id = id, .bytes = 1 + world_rand(app.w, 6000) };
	ssize_t n = rig_connect(app.r, port, patience(), &t.c);

	if (n < 0) {
		count(n);
		return;
	}
	if (port == ECHO)
		n = echo_talk(&t);
	else
		n = port == PATTERN || port == RESETS ? pattern_talk(&t) : fill_talk(&t);
	if (n < 0)
		count(n);
	else
		app.good++;
	if (world_rand(app.w, 4) == 0 && (n < 0 || !app.steady))
		(void)rln_reset(t.c);
	else
		(void)rln_close(t.c);
	rln_view v;
	if (rln_try_recv(t.c, &v) != -EBADF)
		world_fail(app.w, "a closed handle answers");
}

static int client(void *arg)
{
	unsigned id = (unsigned)(uintptr_t)arg;

	for (unsigned i = 0; i < app.rounds && !rln_cancelled(); i++)
		one_round(id);
	app.ended++;
	return (int)id;
}

/* What config.main would be: clients as children, some cancelled, all joined. */
static int main_task(void *arg)
{
	rln_task child[8];
	unsigned n = 0;
	int id;

	(void)arg;
	for (unsigned i = 0; i < app.tasks; i++)
		n += rln_spawn(client, (void *)(uintptr_t)(i + 1), NULL, &child[n]) == 0;
	for (unsigned i = 0; i < n; i++) {
		if (!app.steady && world_rand(app.w, 3) == 0) {
			(void)rln_sleep(some_time());
			(void)rln_cancel(child[world_rand(app.w, n)]);
		}
	}
	for (unsigned i = 0; i < n; i++)
		if (rln_join(child[i], &id) == 0 && id == 0)
			world_fail(app.w, "a client's result is lost");
	app.main_over = true;
	return 0;
}

/* ---- the proxy */
struct pump {
	rln_conn from, to;
};

static int pump(void *arg)
{
	struct pump *p = arg;
	rln_view v;
	ssize_t n;

	while ((n = rln_recv(p->from, &v)) > 0) {
		n = world_rand(app.w, 2) ? rln_send(p->to, v.data, v.len)
					 : rig_send(app.r, p->to, v.data, v.len);
		if (n < 0)
			break;
	}
	if (n == 0)
		return rln_shutdown_send(p->to);
	(void)rln_reset(p->from);
	(void)rln_reset(p->to);
	return (int)n;
}

static void proxy(rln_conn c, void *arg)
{
	struct sockaddr_in to = { .sin_family = AF_INET,
				  .sin_port = htons(ECHO),
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	RLN_CONN(up);
	rln_task back;
	int e;

	(void)arg;
	e = RLN_WITHIN(patience(), rln_connect_addr((struct sockaddr *)&to, sizeof to, NULL, &up));
	if (e) {
		count(e);
		return;
	}
	struct pump there = { c, up }, home = { up, c };
	e = rln_spawn(pump, &home, NULL, &back);
	if (e) {
		count(e);
		return;
	}
	(void)pump(&there);
	if (rln_join(back, &e) < 0) /* cancelled: our return joins it */
		return;
	app.good += !e;
}

/* ---- one schedule */
static void add_world(struct world *w, bool strict)
{
	struct peer_config far[] = { { .kind = PEER_ECHO },
				     { .kind = PEER_NORMAL, .bytes = world_rand(w, 6000) },
				     { .kind = PEER_NO_READ, .bytes = 5000 },
				     { .kind = PEER_SILENT },
				     { .kind = PEER_RESET, .bytes = world_rand(w, 3000) } };

	for (unsigned i = 0; i < sizeof far / sizeof *far; i++)
		world_remote(w, (uint16_t)(ECHO + i), &far[i]);
	for (unsigned i = app.proxy ? 1 + (unsigned)world_rand(w, 4) : 0; i; i--) {
		struct peer_config pc = { .kind = world_peer_kind(w),
					  .bytes = world_rand(w, 8000),
					  .delay_ns = (int64_t)world_rand(w, 20000000) };
		if (pc.kind == PEER_SLOW)
			pc.bytes %= 60;
		pc.strict = strict && (pc.kind == PEER_NORMAL || pc.kind == PEER_SLOW ||
				       pc.kind == PEER_HALF_CLOSE);
		world_peer(w, app.r->port, &pc);
	}
}

static void configure(struct rig *r, struct world *w)
{
	rln_listen_opts l = { .addr = "127.0.0.1:0", .on_conn = proxy, .backlog = 8 };
	rln_config c = { .listen = app.proxy ? &l : NULL, .nlisten = app.proxy };

	if (app.steady) {
		l.close_timeout = l.close_max = l.send_stall = RLN_SEC(1000000);
		c.file_slots = 64;
	} else {
		l.max_conns = rig_pow2(w, 4);
		c.file_slots = rig_pow2(w, 5);
		c.max_tasks = 2 + (unsigned)world_rand(w, 40);
	}
	l.recv_max = 16 + world_rand(w, 3000);
	l.send_high = 1 + world_rand(w, 3000);
	rig_sizes(w, &c);
	rig_init(r, w, &c);
}

struct totals {
	struct app sum;
	uint64_t connects, hash;
};

static void run_seed(uint64_t seed, struct totals *t)
{
	static const enum world_fault bad[] = { FAULT_RESET, FAULT_ACCEPT_ERR, FAULT_CONNECT_ERR,
						FAULT_TIME_JUMP };
	struct world_config wc = { 0 };
	struct rig *r = calloc(1, sizeof *r);

	seed_set(seed);
	app = (struct app){ .r = r, .steady = seed % 3 == 0, .proxy = seed % 4 == 1 };
	app.steady |= seed % 8 == 1;
	for (unsigned i = 0; app.steady && i < sizeof bad / sizeof *bad; i++)
		wc.fault[bad[i]] = RATE_OFF;
	struct world *w = app.w = world_new(seed, &wc);
	world_enter(w);
	app.rounds = 1 + (unsigned)world_rand(w, 5);
	app.tasks = app.proxy ? 0 : 1 + (unsigned)world_rand(w, 8);
	configure(r, w);
	rig_open(r);
	add_world(w, app.steady);
	if (app.proxy)
		app.main_over = true;
	else
		rig_go(r, 0, main_task, NULL);
	unsigned stop_at =
		app.steady || world_rand(w, 2) ? UINT_MAX : (unsigned)world_rand(w, 2000);
	while ((!app.main_over || (app.proxy && world_peers_alive(w))) && r->turns < stop_at)
		rig_turn(r, 0, world_now(w) + RIG_PATIENCE);
	if (stop_at == UINT_MAX)
		world_calm(w);
	uint64_t connects = r->worker[0].io.stats.connects;
	rig_stop(r);
	free(r);
	rig_check_quiet(w);
	t->connects += connects;
	t->sum.good += app.good;
	t->sum.refused += app.refused;
	t->sum.broken += app.broken;
	t->sum.late += app.late;
	t->sum.cancelled += app.cancelled;
	t->sum.aborted += app.aborted;
	t->hash = world_hash(w);
	world_enter(NULL);
	world_free(w);
}

TEST_LIMIT(runtime_client_seeds_end_clean, 200)
{
	uint64_t first = seed_first(), n = seed_count(3000);
	struct totals t = { 0 };

	for (uint64_t seed = first; seed < first + n; seed++)
		run_seed(seed, &t);
	printf("  %llu seeds, %llu connects: %u good, %u refused, %u broken, %u late, %u "
	       "cancelled, "
	       "%u aborted\n",
	       (unsigned long long)n, (unsigned long long)t.connects, t.sum.good, t.sum.refused,
	       t.sum.broken, t.sum.late, t.sum.cancelled, t.sum.aborted);
	if (n < 1000)
		return;
	CHECK_INT(t.sum.good, >, n);
	CHECK(t.sum.refused && t.sum.broken && t.sum.late && t.sum.cancelled && t.sum.aborted);
}

TEST_LIMIT(runtime_client_same_seed_same_run, 100)
{
	for (uint64_t seed = 1; seed <= 50; seed++) {
		struct totals a = { 0 }, b = { 0 };
		run_seed(seed, &a);
		run_seed(seed, &b);
		CHECK(a.hash == b.hash);
	}
}
