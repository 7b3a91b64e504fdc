/*
 * Chance. One generator per world (xoshiro256**), the swarm of fault rates drawn from the seed, and
 * the delays of ordinary work. Every decision of the simulator comes from here, so that a seed
 * repeats a run exactly.
 */
#include "sim/sim.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static const char *const fault_names[] = {
#define FAULT_NAME(id, what) [FAULT_##id] = #id,
	WORLD_FAULTS(FAULT_NAME)
#undef FAULT_NAME
};

const char *world_fault_name(enum world_fault f)
{
	return f < FAULT_COUNT ? fault_names[f] : "?";
}

static uint64_t splitmix(uint64_t *s)
{
	uint64_t z = *s += 0x9e3779b97f4a7c15u;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

uint64_t world_rand(struct world *w, uint64_t n)
{
	return rand_next(w) % n;
}

static bool due(enum world_rate r, uint64_t x)
{
	return r == RATE_ALWAYS || (r == RATE_FREQUENT ? x % 6 == 0 : x % 128 == 0);
}

/* Each class has its own stream: one that is switched off leaves the others as they were. */
bool fault_drawn(struct world *w, enum world_fault f)
{
	if (!due(w->rate[f], splitmix(&w->fault_rng[f])))
		return false;
	w->stats.fault[f]++;
	return true;
}

/* Half of all fault classes are off in any one world: some bugs need a quiet background. */
void rand_seed(struct world *w, uint64_t seed)
{
	static const int64_t latencies[] = { 0, 2000, 100000, 3000000 };
	uint64_t s = seed;

	for (unsigned i = 0; i < 4; i++)
		w->rng[i] = splitmix(&s);
	for (unsigned i = 0; i < FAULT_COUNT; i++) {
		/* Those of files came later: seeds of worlds without files stay what they were. */
		bool first = i <= FAULT_CONNECT_ERR;
		unsigned n = (unsigned)(first ? world_rand(w, 4) : splitmix(&s) % 4);

		w->fault_rng[i] = first ? rand_next(w) : splitmix(&s);
		w->rate[i] = n < 2 ? RATE_OFF : n == 2 ? RATE_RARE : RATE_FREQUENT;
		if (w->cfg.fault[i] != RATE_SEED)
			w->rate[i] = w->cfg.fault[i];
	}
	w->order = (unsigned)world_rand(w, 4);
	w->latency = latencies[world_rand(w, 4)];
	w->inline_in = (unsigned)world_rand(w, 4);
	w->zero_with_buffer = chance(w, 4);
	w->version = 1 + (enum world_linux)world_rand(w, LINUX_COUNT - 1);
	if (w->cfg.version)
		w->version = w->cfg.version;
}

/* Mostly short, at times a hundred times as long: heavy tails find orders that even ones do not. */
int64_t latency(struct world *w)
{
	int64_t most = w->latency + 1000;

	if (chance(w, 32))
		most *= 100;
	return 1 + (int64_t)world_rand(w, (uint64_t)most);
}

size_t rand_size(struct world *w, size_t max)
{
	size_t cap = max;

	if (cap > 1 && chance(w, 2))
		cap = cap < 64 ? cap : 64;
	return 1 + (size_t)world_rand(w, cap);
}

/* ---- the trace: to stderr as it happens, or the last lines kept */
#define TRACE_LINES 64
#define TRACE_BYTES 120

struct sim_tracing {
	unsigned count;
	char line[TRACE_LINES][TRACE_BYTES];
};

void world_trace_keep(struct world *w)
{
	if (!w->kept)
		w->kept = calloc(1, sizeof(*w->kept));
}

void world_trace_print(const struct world *w)
{
	const struct sim_tracing *k = w->kept;
	unsigned n = k ? k->count : 0;

	for (unsigned i = n > TRACE_LINES ? n - TRACE_LINES : 0; i < n; i++)
		fprintf(stderr, "  %s\n", k->line[i % TRACE_LINES]);
}

void trace_line(struct world *w, const char *fmt, ...)
{
	char text[TRACE_BYTES - 16];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (w->trace)
		fprintf(stderr, "sim %10lld %s\n", (long long)w->now, text);
	if (w->kept)
		snprintf(w->kept->line[w->kept->count++ % TRACE_LINES], TRACE_BYTES, "%10lld %s",
			 (long long)(w->now % 1000000000000), text);
}
