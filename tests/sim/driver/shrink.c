/*
 * From a failing seed to a smaller run that fails in the same way: fewer faults, peers, workers,
 * bytes. Each try is a process of its own. What is left is printed as the command that repeats it,
 * with the last events before the failure.
 */
#include "driver.h"
#include <stdio.h>
#include <string.h>
#include <time.h>

#define TRIES_MAX 200
#define SECONDS_MAX 30

struct shrinking {
	uint64_t seed;
	struct tweak best;
	bool twice;   /* only the second run shows it: P13 */
	char key[32]; /* how the failure begins: its property, or the kind of crash */
	unsigned tries;
	time_t until;
	uint64_t enters;
};

/* Two failures are the same when they are of the same property. */
static void key_of(const char *what, char *key, size_t cap)
{
	size_t n = strcspn(what, " :");

	if (what[0] != 'P')
		n = strcspn(what, ":0123456789");
	snprintf(key, cap, "%.*s", (int)(n < cap - 1 ? n : cap - 1), what);
}

static bool still(struct shrinking *s, const struct tweak *t)
{
	char what[512], key[32];

	if (s->tries++ >= TRIES_MAX || time(NULL) > s->until ||
	    !run_fails(s->seed, t, s->twice, what, sizeof(what), &s->enters))
		return false;
	key_of(what, key, sizeof(key));
	return strcmp(key, s->key) == 0;
}

static void attempt(struct shrinking *s, const struct tweak *t)
{
	if (still(s, t))
		s->best = *t;
}

static void fewer_things(struct shrinking *s)
{
	struct tweak t = s->best;

	t.no_clients = true;
	attempt(s, &t);
	t = s->best;
	t.no_chat = true;
	attempt(s, &t);
	t = s->best;
	t.one_worker = true;
	attempt(s, &t);
	for (unsigned i = 0; i < 5; i++) {
		t = s->best;
		t.peers_off |= 1u << i;
		attempt(s, &t);
	}
	for (unsigned i = 0; i < 6; i++) {
		t = s->best;
		t.halve++;
		if (!still(s, &t))
			break;
		s->best = t;
	}
}

static void fewer_faults(struct shrinking *s)
{
	struct tweak t = s->best;

	t.without = (1u << FAULT_COUNT) - 1;
	attempt(s, &t);
	for (unsigned i = 0; i < FAULT_COUNT; i++) {
		t = s->best;
		t.without |= 1u << i;
		if (t.without != s->best.without)
			attempt(s, &t);
	}
}

/* The earliest enter after which no fault is needed any more. */
static void fewer_events(struct shrinking *s)
{
	uint64_t low = 0, high = 1;
	struct tweak t = s->best;

	if (s->best.calm_at)
		return;
	for (; high < 1u << 20; high *= 2) {
		t.calm_at = high;
		if (still(s, &t))
			break;
		low = high;
	}
	if (high >= 1u << 20)
		return;
	while (high - low > 1) {
		t.calm_at = low + (high - low) / 2;
		if (still(s, &t))
			high = t.calm_at;
		else
			low = t.calm_at;
	}
	s->best.calm_at = high;
}

void tweak_print(uint64_t seed, const struct tweak *t, bool twice)
{
	printf("./dev sim --seed %llu%s", (unsigned long long)seed,
	       twice ? " --runs 1 --twice" : "");
	if (t->calm_at)
		printf(" --calm-at %llu", (unsigned long long)t->calm_at);
	for (unsigned i = 0; i < FAULT_COUNT; i++)
		if (t->without >> i & 1)
			printf(" --without %s", world_fault_name((enum world_fault)i));
	if (t->peers_off)
		printf(" --peers-off 0x%x", t->peers_off);
	if (t->halve)
		printf(" --halve %u", t->halve);
	if (t->one_worker)
		printf(" --one-worker");
	if (t->no_clients)
		printf(" --no-clients");
	if (t->no_chat)
		printf(" --no-chat");
	printf("\n");
}

void shrink(uint64_t seed, const struct tweak *t, const char *what)
{
	struct shrinking s = { .seed = seed, .best = *t, .until = time(NULL) + SECONDS_MAX };
	char text[512];

	key_of(what, s.key, sizeof(s.key));
	s.twice = strcmp(s.key, "P13") == 0;
	if (!still(&s, t)) {
		printf("  it does not fail again in a process of its own: seed %llu\n",
		       (unsigned long long)seed);
		return;
	}
	fewer_faults(&s);
	fewer_things(&s);
	fewer_events(&s);
	fewer_faults(&s);
	printf("  shrunk in %u tries; the last events before it:\n", s.tries);
	fflush(stdout);
	schedule_keep_trace = true;
	run_fails(seed, &s.best, s.twice, text, sizeof(text), &s.enters);
	schedule_keep_trace = false;
	printf("  %s\n  reproduce: ", text);
	tweak_print(seed, &s.best, s.twice);
	fflush(stdout);
}
