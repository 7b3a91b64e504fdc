/*
 * Random trees of tasks in the simulator: groups, children, channels, locks and selects over every
 * kind of arm, under deadlines, shields and cancellations that come at any time, ended by a drain
 * in the middle of it. No item is lost or doubled, of each producer they come in order, a select
 * takes one arm or none, no permit vanishes, no lock is held twice, no child outlives its group,
 * nothing is left at the end; and the same seed does the same again.
 */
#include "ringline.h"
#include "runtime_rig.h"

enum {
	CHANS = 4, /* the last one has one consumer, which sees the order */
	SEMS = 2,
	PRODUCERS = 256,
	SEQS = 256,
	SCOPES = 64,
	HANDLES = 16,
	SPAWNS = 90, /* tasks of one world, at most */
	DEPTH = 4,
	ARMS = 7
};

struct item {
	uint16_t producer, seq;
	uint32_t chan;
};
#define NO_ITEM ((struct item){ UINT16_MAX, UINT16_MAX, UINT32_MAX })

static struct model {
	struct world *w;
	struct rig r;
	rln_chan chan[CHANS];
	uint64_t sent[CHANS], received[CHANS];
	unsigned next_seq[CHANS][PRODUCERS];
	uint8_t seen[CHANS][PRODUCERS][SEQS / 8];
	int ordered[PRODUCERS]; /* of the last channel: the next one expected */
	bool extends;		/* deadlines are moved as well */
	rln_sem sem[SEMS];
	unsigned posted[SEMS], taken[SEMS];
	rln_mutex mutex;
	rln_cond cond;
	rln_event event;
	unsigned inside;
	rln_scope *scope[SCOPES];
	rln_task handle[HANDLES];
	rln_listener listener;
	rln_oneshot oneshot;
	rln_notify notify;
	unsigned spawned, actors, accepted, echoed;
	uint64_t hash;
} m;

static struct {
	uint64_t calls, failed, selects, arm[12], items, cut, children, accepted, echoed;
} total;

static uint64_t pick(uint64_t n)
{
	return world_rand(m.w, n);
}

static void must(bool ok, const char *what)
{
	if (!ok)
		world_fail(m.w, "%s", what);
}

static int note(unsigned what, int r)
{
	m.hash = (m.hash ^ (what * 1000003u + (unsigned)r)) * UINT64_C(1099511628211);
	total.calls++;
	total.failed += r == -ETIME || r == -ECANCELED;
	return r;
}

/* ---- scopes: each call in one, at random; whoever likes cancels or extends any of them */

struct bound {
	rln_scope scope, shield;
	unsigned slot;
	bool shielded;
};

static void bound_begin(struct bound *b)
{
	rln_scope_begin(&b->scope, pick(3) ? (rln_ns)pick(RLN_MS(4)) : RLN_FOREVER);
	b->slot = (unsigned)pick(SCOPES);
	if (m.scope[b->slot])
		b->slot = SCOPES; /* not to be had by others */
	else
		m.scope[b->slot] = &b->scope;
	b->shielded = pick(8) == 0;
	if (b->shielded)
		rln_scope_shield(&b->shield, (rln_ns)pick(RLN_MS(2)));
}

/* alone: no child could have failed because of it. */
static void bound_end(struct bound *b, int r, bool alone)
{
	bool failed = r == -ETIME || r == -ECANCELED;
	int inner = b->shielded ? rln_scope_end(&b->shield) : 0;

	if (b->slot < SCOPES)
		m.scope[b->slot] = NULL;
	int e = rln_scope_end(&b->scope);
	if (!alone)
		return;
	must(failed || (!e && !inner), "a scope says a call failed, and none did");
	/* an outer one may have been extended since */
	must(!failed || e || inner || m.extends || rln_cancelled(),
	     "a call failed, and no scope says why");
}

static void meddle(void)
{
	rln_scope *s = m.scope[pick(SCOPES)];

	if (!s)
		(void)rln_cancel(m.handle[pick(HANDLES)]);
	else if (!m.extends || pick(3))
		rln_scope_cancel(s);
	else
		rln_scope_extend(s, (rln_ns)pick(RLN_MS(3)));
}

/* ---- channels */

static struct item make_item(unsigned me, unsigned chan)
{
	return (struct item){ (uint16_t)me, (uint16_t)m.next_seq[chan][me], chan };
}

static void item_sent(struct item i)
{
	m.next_seq[i.chan][i.producer]++;
	m.sent[i.chan]++;
}

static void item_received(struct item i, unsigned chan)
{
	must(i.chan == chan && i.producer < PRODUCERS && i.seq < SEQS, "an item is not whole");
	uint8_t *byte = &m.seen[chan][i.producer][i.seq / 8], bit = (uint8_t)(1 << i.seq % 8);
	must(!(*byte & bit), "an item came twice");
	*byte |= bit;
	m.received[chan]++;
	total.items++;
	if (chan == CHANS - 1)
		must(m.ordered[i.producer]++ == i.seq, "items of a producer out of order");
}

static bool may_send(unsigned me, unsigned chan)
{
	return m.next_seq[chan][me] < SEQS;
}

static int do_send(unsigned me)
{
	unsigned c = (unsigned)pick(CHANS);
	if (!may_send(me, c))
		return 0;
	struct item i = make_item(me, c);
	int r = rln_chan_send(&m.chan[c], &i);
	if (!r)
		item_sent(i);
	return note(1, r);
}

static int do_recv(void)
{
	unsigned c = (unsigned)pick(CHANS - 1);
	struct item i = NO_ITEM;
	int r = rln_chan_recv(&m.chan[c], &i);
	if (r == 1)
		item_received(i, c);
	else
		must(i.producer == UINT16_MAX, "a failed receive wrote an item");
	return note(2, r);
}

/* ---- select */

enum { A_RECV, A_SEND, A_SEM, A_EVENT, A_AFTER, A_JOIN, A_GROUP, A_ONESHOT, A_NOTIFY, A_NONE };

struct choice {
	unsigned kind[ARMS], chan[ARMS];
	struct item item[ARMS];
	rln_child child[ARMS];
	int result[ARMS];
	intptr_t value[ARMS];
};

static rln_arm make_arm(struct choice *c, int i, unsigned me, rln_group *g)
{
	c->kind[i] = (unsigned)pick(A_NONE + 1);
	c->chan[i] = (unsigned)pick(CHANS - 1);
	c->item[i] = NO_ITEM;
	c->child[i] = (rln_child){ .index = -7 };
	c->result[i] = -7777;
	switch (c->kind[i]) {
	case A_RECV:
		return rln_on_recv(&m.chan[c->chan[i]], &c->item[i]);
	case A_SEND:
		c->chan[i] = (unsigned)pick(CHANS);
		if (!may_send(me, c->chan[i]))
			break;
		c->item[i] = make_item(me, c->chan[i]);
		return rln_on_send(&m.chan[c->chan[i]], &c->item[i]);
	case A_SEM:
		c->chan[i] %= SEMS;
		return rln_on_sem(&m.sem[c->chan[i]]);
	case A_EVENT:
		return rln_on_event(&m.event);
	case A_AFTER:
		return rln_on_after((rln_ns)pick(RLN_MS(3)));
	case A_JOIN:
		return rln_on_join(m.handle[pick(HANDLES)], &c->result[i]);
	case A_GROUP:
		if (g)
			return rln_on_group(g, &c->child[i]);
		break;
	case A_ONESHOT:
		return rln_on_oneshot(&m.oneshot, &c->value[i]);
	case A_NOTIFY:
		return rln_on_notify(&m.notify);
	default:
		break;
	}
	c->kind[i] = A_NONE;
	return (rln_arm){ 0 };
}

static void arm_won(struct choice *c, int i, int res)
{
	total.arm[c->kind[i]]++;
	switch (c->kind[i]) {
	case A_RECV:
		if (res == 1)
			item_received(c->item[i], c->chan[i]);
		break;
	case A_SEND:
		if (res == 0)
			item_sent(c->item[i]);
		break;
	case A_SEM:
		m.taken[c->chan[i]]++;
		break;
	case A_NONE:
		must(false, "an arm that is none has won");
	}
}

static void arm_lost(const struct choice *c, int i)
{
	if (c->kind[i] == A_RECV)
		must(c->item[i].producer == UINT16_MAX, "an arm that lost has received");
	must(c->child[i].index == -7, "an arm that lost has taken a child");
	must(c->result[i] == -7777, "an arm that lost has joined");
}

static int do_select(unsigned me, rln_group *g)
{
	rln_arm arms[ARMS];
	struct choice c;
	int n = 1 + (int)pick(ARMS);

	for (int i = 0; i < n; i++)
		arms[i] = make_arm(&c, i, me, g);
	total.selects++;
	int r = rln_select(arms, n);
	for (int i = 0; i < n; i++) {
		if (i == r)
			arm_won(&c, i, arms[i].res);
		else
			arm_lost(&c, i);
	}
	return note(3, r);
}

/* ---- the rest of what an actor may do */

static int do_sem(void)
{
	unsigned s = (unsigned)pick(SEMS);
	if (pick(2)) {
		unsigned n = 1 + (unsigned)pick(2);
		m.posted[s] += n;
		rln_sem_post(&m.sem[s], n);
		return 0;
	}
	int r = rln_sem_take(&m.sem[s]);
	m.taken[s] += r == 0;
	return note(4, r);
}

/* Mutual exclusion over waits, also of a condition. */
static int do_lock(void)
{
	int r = rln_lock(&m.mutex);
	if (r)
		return note(5, r);
	must(m.inside++ == 0, "two tasks hold the mutex");
	if (pick(2)) {
		m.inside--;
		r = note(6, rln_cond_wait(&m.cond, &m.mutex));
		must(m.inside++ == 0, "two tasks hold the mutex behind a condition");
	} else if (pick(2)) {
		r = note(7, rln_sleep((rln_ns)pick(RLN_MS(1))));
	}
	m.inside--;
	rln_unlock(&m.mutex);
	return r;
}

static int do_signal(void)
{
	switch (pick(5)) {
	case 0:
		rln_cond_broadcast(&m.cond);
		break;
	case 1:
		if (pick(20) == 0)
			rln_event_set(&m.event);
		break;
	case 2:
		rln_notify_signal(&m.notify);
		break;
	case 3:
		if (pick(20) == 0)
			(void)rln_oneshot_set(&m.oneshot, 1);
		break;
	default:
		rln_cond_signal(&m.cond);
	}
	return 0;
}

/* ---- trees of tasks */

#define MAGIC 0x600df00d

struct family {
	unsigned magic, depth;
	int alive; /* children that have begun and not ended */
};

static int actor(void *arg);

static void family_end(struct family *f)
{
	must(f->magic == MAGIC, "a frame was written to");
	must(f->alive == 0, "a child outlives its parent's block");
	f->magic = 0;
}

static bool may_spawn(const struct family *up)
{
	return up->depth < DEPTH && m.spawned < SPAWNS;
}

static int use_group(rln_group *g, const struct family *f, unsigned me)
{
	rln_child d;
	int r = 0;

	switch (pick(5)) {
	case 0:
		r = note(8, rln_group_wait(g));
		must(f->alive == 0, "a group has been waited for, and a child runs");
		break;
	case 1:
		while ((r = note(9, rln_group_next(g, &d))) == 1)
			;
		break;
	case 2:
		rln_group_cancel(g);
		break;
	case 3:
		r = do_select(me, g);
		break;
	default:
		r = note(10, rln_sleep((rln_ns)pick(RLN_MS(2))));
	}
	return r;
}

static int do_group(const struct family *up, unsigned me)
{
	struct family f = { MAGIC, up->depth + 1, 0 };
	rln_group g;
	int r;

	if (!may_spawn(up))
		return 0;
	rln_group_begin(&g);
	for (uint64_t n = 1 + pick(3); n; n--) {
		m.spawned++;
		(void)rln_group_spawn(&g, actor, &f);
	}
	r = use_group(&g, &f, me);
	(void)rln_group_end(&g);
	family_end(&f);
	return r;
}

static int do_spawn(struct family *mine)
{
	rln_task t;
	int result;

	if (!may_spawn(mine))
		return 0;
	m.spawned++;
	if (rln_spawn(actor, mine, NULL, &t))
		return 0;
	m.handle[pick(HANDLES)] = t;
	if (pick(2))
		return 0;
	return note(11, rln_join(t, &result));
}

static int act(struct family *mine, unsigned me, bool *tree)
{
	switch (pick(13)) {
	case 0:
	case 1:
		return do_send(me);
	case 2:
	case 3:
		return do_recv();
	case 4:
	case 5:
	case 6:
		return do_select(me, NULL);
	case 7:
		return do_sem();
	case 8:
		return do_lock();
	case 9:
		return do_signal();
	case 10:
		*tree = true;
		return do_group(mine, me);
	case 11:
		*tree = true;
		return do_spawn(mine);
	default:
		meddle();
		return note(12, rln_yield());
	}
}

/* mine: for children of rln_spawn(), which end before this frame does. */
static int act_for_a_while(struct family *mine, unsigned me)
{
	for (uint64_t steps = 2 + pick(14); steps; steps--) {
		struct bound b;
		bool tree = false;
		bound_begin(&b);
		int r = act(mine, me, &tree);
		bound_end(&b, r, !tree);
		if (rln_cancelled() && pick(2))
			return -ECANCELED; /* the others ignore it: every wait fails */
	}
	return (int)pick(3) - 1;
}

static int actor(void *arg)
{
	struct family *up = arg;
	/* children of rln_spawn() are joined after this frame is gone: theirs is static */
	static struct family loose[SPAWNS + 8];
	unsigned me = m.actors++;
	struct family *mine = &loose[me % (SPAWNS + 8)];

	*mine = (struct family){ MAGIC, up->depth + 1, 0 };
	must(up->magic == MAGIC, "a child began in a frame that is gone");
	up->alive++;
	m.handle[pick(HANDLES)] = rln_self();
	int r = act_for_a_while(mine, me % PRODUCERS);
	must(up->magic == MAGIC, "a child ended in a frame that is gone");
	up->alive--;
	total.children++;
	return r;
}

/* The one consumer of the last channel. */
static int consumer(void *arg)
{
	struct item i;
	int r = 1;

	(void)arg;
	while (r == 1 || (r < 0 && !rln_cancelled())) {
		i = NO_ITEM;
		r = pick(2) ? RLN_WITHIN((rln_ns)pick(RLN_MS(2)),
					 rln_chan_recv(&m.chan[CHANS - 1], &i))
			    : rln_chan_recv(&m.chan[CHANS - 1], &i);
		if (r == 1)
			item_received(i, CHANS - 1);
	}
	return 0;
}

/* ---- connections: accepted and read by select */

static int echo(void *arg)
{
	rln_conn c = *(rln_conn *)arg;
	rln_view v;
	int r;

	for (;;) {
		rln_arm arms[] = { rln_on_readable(c), rln_on_event(&m.event),
				   rln_on_after((rln_ns)pick(RLN_MS(50))) };
		r = rln_select(arms, 3);
		if (r < 0 || r == 1 || (r == 0 && arms[0].res < 0))
			break;
		if (r)
			continue;
		ssize_t n = rln_recv(c, &v);
		if (n <= 0)
			break;
		if (pick(3) == 0) {
			rln_arm room[] = { rln_on_writable(c), rln_on_after(RLN_MS(1)) };
			if (rln_select(room, 2) < 0)
				break;
		}
		if (rln_send(c, v.data, v.len) < 0)
			break;
		m.echoed++;
	}
	(void)rln_close(c);
	return 0;
}

static int server(void *arg)
{
	(void)arg;
	for (;;) {
		rln_conn c = { 0 };
		rln_arm arms[] = { rln_on_accept(m.listener, &c),
				   rln_on_after((rln_ns)pick(RLN_MS(5))),
				   rln_on_notify(&m.notify) };
		int r = rln_select(arms, 3);
		must(r == 0 || !c.h, "an arm that lost has accepted");
		if (r < 0 || (r == 0 && arms[0].res < 0))
			return r;
		if (r)
			continue;
		m.accepted++;
		if (rln_go(echo, NULL, &(rln_task_opts){ .copy = &c, .copy_size = sizeof c }))
			(void)rln_close(c);
	}
}

/* ---- one schedule */

static int begin(void *arg)
{
	static struct family root;
	struct sockaddr_storage at;

	(void)arg;
	root = (struct family){ MAGIC, 0, 0 };
	for (int i = 0; i < CHANS; i++)
		if (rln_chan_open(&m.chan[i], sizeof(struct item), pick(4)))
			world_fail(m.w, "no memory for a channel");
	rln_notify_init(&m.notify);
	(void)rln_go(consumer, NULL, NULL);
	for (uint64_t n = 2 + pick(6); n; n--) {
		m.spawned++;
		(void)rln_go(actor, &root, NULL);
	}
	if (pick(2) ||
	    rln_listen(&(rln_listen_opts){ .addr = "127.0.0.1:0", .max_conns = 8 }, &m.listener))
		return 0;
	(void)rln_listener_addr(m.listener, &at);
	(void)rln_go(server, NULL, NULL);
	for (uint64_t n = 1 + pick(3); n; n--)
		world_peer(m.w, ntohs(((struct sockaddr_in *)&at)->sin_port),
			   &(struct peer_config){ .kind = world_peer_kind(m.w),
						  .bytes = (size_t)pick(3000),
						  .delay_ns = (int64_t)pick(RLN_MS(4)) });
	return 0;
}

/* The worker has stopped: what is still in the channels, and what the semaphores have left. */
static void balance(void)
{
	struct item i;

	for (unsigned c = 0; c < CHANS; c++) {
		while (rln_chan_try_recv(&m.chan[c], &i) == 1)
			item_received(i, c);
		if (m.sent[c] != m.received[c])
			world_fail(m.w, "channel %u: %llu sent, %llu received", c,
				   (unsigned long long)m.sent[c],
				   (unsigned long long)m.received[c]);
		rln_chan_free(&m.chan[c], NULL);
	}
	for (int s = 0; s < SEMS; s++)
		must((uint32_t)m.sem[s].priv_[2] == m.posted[s] - m.taken[s], "permits vanished");
	must(m.inside == 0, "a task ended with the mutex");
	rln_notify_fini(&m.notify);
}

static void run_seed(uint64_t seed, uint64_t *hash)
{
	struct rig *r = &m.r;
	rln_config c = { .max_tasks = seed % 4 ? 0 : 24 };

	seed_set(seed);
	memset(&m, 0, sizeof m);
	m.extends = seed % 2;
	m.w = world_new(seed, NULL);
	world_enter(m.w);
	rig_sizes(m.w, &c);
	c.drain_timeout = (rln_ns)pick(RLN_MS(30));
	rig_init(r, m.w, &c);
	rig_open(r);
	rig_go(r, 0, begin, NULL);
	for (uint64_t n = pick(400); n && r->worker[0].sched.stats.tasks; n--) {
		rig_turn(r, 0, world_now(m.w) + RLN_MS(1));
		sched_check(&r->worker[0].sched);
	}
	total.cut += r->worker[0].sched.stats.tasks > 0;
	world_calm(m.w);
	rig_shutdown(r);
	while (!rig_turn(r, 0, world_now(m.w) + RIG_PATIENCE))
		;
	struct ctx *before = worker_enter(&r->worker[0]);
	balance();
	worker_leave(before);
	rig_end(r);
	rig_check_quiet(m.w);
	total.accepted += m.accepted;
	total.echoed += m.echoed;
	if (hash)
		*hash = m.hash ^ world_hash(m.w);
	world_enter(NULL);
	world_free(m.w);
}

TEST_LIMIT(tasks_sim_seeds_lose_nothing_and_leave_nothing, 200)
{
	static const char *const kind[] = { "recv", "send",  "sem",	"event", "after",
					    "join", "group", "oneshot", "notify" };
	uint64_t first = seed_first(), n = seed_count(2000);

	for (uint64_t seed = first; seed < first + n; seed++)
		run_seed(seed, NULL);
	printf("  %llu seeds, %llu cut short; %llu tasks, %llu calls, %llu of them cancelled\n",
	       (unsigned long long)n, (unsigned long long)total.cut,
	       (unsigned long long)total.children, (unsigned long long)total.calls,
	       (unsigned long long)total.failed);
	printf("  %llu items, %llu selects, %llu accepted, %llu echoed\n",
	       (unsigned long long)total.items, (unsigned long long)total.selects,
	       (unsigned long long)total.accepted, (unsigned long long)total.echoed);
	for (unsigned i = 0; i < sizeof kind / sizeof *kind; i++) {
		printf("  arm %-8s won %llu\n", kind[i], (unsigned long long)total.arm[i]);
		if (n >= 1000)
			CHECK_INT(total.arm[i], >, 0);
	}
	if (n >= 1000) {
		CHECK_INT(total.items, >, n);
		CHECK_INT(total.failed, >, n);
		CHECK_INT(total.echoed, >, 0);
	}
}

TEST_LIMIT(tasks_sim_same_seed_same_run, 100)
{
	for (uint64_t seed = 1; seed <= 50; seed++) {
		uint64_t a, b;
		run_seed(seed, &a);
		run_seed(seed, &b);
		CHECK(a == b);
	}
}
