/*
 * The world: its clock, its life, and the question whether everything came home.
 */
#include "sim/sim.h"
#include "sim/sim_disk.h"
#include "base/assert.h"
#include "ring/caps.h"
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WORLD_EPOCH 1000000000000 /* clocks never start at zero */
#define HASH_SEED 0xcbf29ce484222325u

static _Thread_local struct world *world_current_;

struct world *world_current(void)
{
	return world_current_;
}

struct world *world_here(void)
{
	RLN_ASSERTF(world_current_, "%s", "no simulation runs on this thread");
	return world_current_;
}

struct world *world_enter(struct world *w)
{
	struct world *before = world_current_;

	world_current_ = w;
	return before;
}

struct world *world_new(uint64_t seed, const struct world_config *cfg)
{
	struct world *w = calloc(1, sizeof(*w));

	RLN_ASSERT(w);
	w->seed = seed;
	if (cfg)
		w->cfg = *cfg;
	w->now = WORLD_EPOCH;
	w->hash = HASH_SEED;
	w->trace = getenv("RINGLINE_SIM_TRACE") != NULL;
	list_init(&w->socks);
	list_init(&w->rings);
	list_init(&w->peers);
	list_init(&w->allocs);
	list_init(&w->maps);
	list_init(&w->jobs);
	list_init(&w->spare_reqs);
	rand_seed(w, seed);
	if (w->cfg.judge)
		judge_new(w);
	return w;
}

void world_free(struct world *w)
{
	struct world *before = world_enter(w);

	while (!list_empty(&w->rings))
		ring_destroy(container_of(w->rings.next, struct sim_ring, node));
	reqs_free(w);
	peers_free(w);
	jobs_free(w);
	watches_free(w);
	fds_close(w);
	disk_free(w);
	while (w->remotes) {
		struct sim_remote *m = w->remotes;

		w->remotes = m->next;
		free(m);
	}
	world_enter(before == w ? NULL : before);
	free(w->fd);
	free(w->kept);
	judge_free(w);
	free(w);
}

/* Of a file's writes and changes that were under way any may have happened. */
static void hurry(struct world *w)
{
	list_for_each (rn, &w->rings) {
		struct sim_ring *r = container_of(rn, struct sim_ring, node);

		list_for_each_safe (n, t, &r->pending) {
			struct sim_req *q = container_of(n, struct sim_req, node);
			bool file = q->disk || (q->file && q->file->kind == SIM_DISK);

			if (!file || q->next || q->timeout || !chance(w, 2))
				continue;
			mem_req_open(q);
			q->op->run(q);
		}
	}
}

void world_power_loss(struct world *w)
{
	struct world *before = world_enter(w);

	sim_trace(w, "the power fails");
	hurry(w);
	/* Before anything is closed in order: a machine without power says no FIN. */
	list_for_each (n, &w->socks) {
		struct sim_sock *s = container_of(n, struct sim_sock, node);

		if (!s->actor)
			sock_break(s, -ECONNRESET, true);
	}
	while (!list_empty(&w->rings))
		ring_destroy(container_of(w->rings.next, struct sim_ring, node));
	fds_close(w);
	jobs_free(w);
	watches_free(w);
	if (w->disk)
		names_crash(w);
	world_enter(before);
}

enum world_linux world_version(const struct world *w)
{
	return w->version;
}

const struct ring_kernel *world_kernel(struct world *w)
{
	(void)w;
	return &ring_kernel_uring; /* its simulated one */
}

void world_caps(struct world *w, struct caps *out)
{
	*out = (struct caps){ .ok = true,
			      .multishot_accept = true,
			      .multishot_recv = true,
			      .bufring = true,
			      .direct_alloc = true,
			      .msg_ring = true,
			      .msg_ring_fd = true,
			      .send_zc = true,
			      .socket_cmd = world_version(w) > LINUX_6_1 && world_rand(w, 4),
			      .close_sends_fin =
				      world_version(w) > LINUX_6_12 && world_rand(w, 4) };
}

const struct world_stats *world_stats(const struct world *w)
{
	return &w->stats;
}

uint64_t world_hash(const struct world *w)
{
	return w->hash;
}

void world_fail(struct world *w, const char *fmt, ...)
{
	char text[400];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (w->cfg.on_fail)
		w->cfg.on_fail(w, text, w->cfg.ctx);
	fprintf(stderr, "sim: seed %llu: %s\n", (unsigned long long)w->seed, text);
	abort();
}

static const char *const prop_names[] = {
#define PROP_NAME(id, what) [PROP_##id] = #id,
	WORLD_PROPS(PROP_NAME)
#undef PROP_NAME
};
static const char *const prop_texts[] = {
#define PROP_TEXT(id, what) [PROP_##id] = what,
	WORLD_PROPS(PROP_TEXT)
#undef PROP_TEXT
};

const char *world_prop_text(enum world_prop p)
{
	return prop_texts[p];
}

void world_violates(struct world *w, enum world_prop p, const char *fmt, ...)
{
	char text[300];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	world_fail(w, "%s (%s): %s", prop_names[p], prop_texts[p], text);
}

int64_t world_now(const struct world *w)
{
	return w->now;
}

int64_t world_next(const struct world *w)
{
	int64_t peers = peers_next(w), jobs = jobs_next(w), slots = slots_next(w);
	int64_t next = peers < jobs ? peers : jobs;

	return next < slots ? next : slots;
}

void world_run_until(struct world *w, int64_t t)
{
	for (;;) {
		int64_t next = world_next(w);

		if (next > t)
			break;
		if (next > w->now)
			w->now = next;
		jobs_run(w);
		slots_release(w);
		peers_run(w);
	}
	if (t > w->now)
		w->now = t;
}

void world_scarce(struct world *w, unsigned one_in)
{
	w->cfg.alloc_one_in = one_in;
	if (one_in) /* what finds no memory is dropped as it stands */
		judge_free(w);
}

void world_calm(struct world *w)
{
	memset(w->rate, RATE_OFF, sizeof(w->rate));
	w->cfg.alloc_one_in = 0;
}

size_t world_alloc_bytes(const struct world *w)
{
	size_t sum = 0;

	list_for_each (n, &w->allocs)
		sum += container_of(n, const struct sim_alloc, node)->bytes;
	return sum;
}

static bool left(char *why, size_t cap, const char *what, unsigned n)
{
	snprintf(why, cap, "%u %s left", n, what);
	return false;
}

bool world_check_quiet(struct world *w, char *why, size_t cap)
{
	maps_check(w);
	if (!list_empty(&w->rings))
		return left(why, cap, "rings", list_count(&w->rings));
	if (w->fds_open)
		return left(why, cap, "descriptors", w->fds_open);
	if (w->peers_alive)
		return left(why, cap, "peers", w->peers_alive);
	if (!list_empty(&w->socks))
		return left(why, cap, "sockets", list_count(&w->socks));
	if (!list_empty(&w->maps))
		return left(why, cap, "mappings", list_count(&w->maps));
	if (!list_empty(&w->allocs))
		return left(why, cap, "allocations", list_count(&w->allocs));
	return true;
}
