/*
 * What the load generator sends and what must come back. Echo: bytes that depend on connection and
 * position. Key-value: SET and GET of a key of the connection's own, by turns; the value changes
 * with every SET, so a GET that answers with an older one is found.
 */
#include "load.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int work_init(struct work *w, const struct load_options *o)
{
	uint64_t x = 0x9e3779b97f4a7c15u;

	*w = (struct work){ .what = o->what, .size = o->size, .run = (int)getpid() };
	w->pattern = malloc(WORK_PERIOD + o->size);
	if (!w->pattern)
		return -ENOMEM;
	for (size_t i = 0; i < WORK_PERIOD; i++) {
		x ^= x << 13, x ^= x >> 7, x ^= x << 17;
		w->pattern[i] = (uint8_t)(x >> 32);
	}
	for (size_t i = WORK_PERIOD; i < WORK_PERIOD + o->size; i++)
		w->pattern[i] = w->pattern[i - WORK_PERIOD];
	return 0;
}

void work_fini(struct work *w)
{
	free(w->pattern);
}

static const uint8_t *pattern_at(const struct work *w, uint64_t conn, uint64_t k)
{
	return w->pattern + (conn * 7919 + k * w->size) % WORK_PERIOD;
}

/* A SET without value and end, or a whole GET. Returns its length. */
static int kv_request(const struct work *w, uint64_t conn, uint64_t k, char *buf, size_t cap)
{
	char key[64];
	int n = snprintf(key, sizeof key, "bench:%d:%ju", w->run, (uintmax_t)conn);

	if (k % 2)
		return snprintf(buf, cap, "*2\r\n$3\r\nGET\r\n$%d\r\n%s\r\n", n, key);
	return snprintf(buf, cap, "*3\r\n$3\r\nSET\r\n$%d\r\n%s\r\n$%zu\r\n", n, key, w->size);
}

enum { KV_HEAD_MAX = 160 };

size_t work_scratch(const struct work *w)
{
	return KV_HEAD_MAX + w->size + 2;
}

int work_send(const struct work *w, rln_conn c, uint64_t conn, uint64_t k, uint8_t *scratch)
{
	size_t n;

	if (w->what == LOAD_ECHO)
		return rln_send_nowait(c, pattern_at(w, conn, k), w->size);
	n = (size_t)kv_request(w, conn, k, (char *)scratch, KV_HEAD_MAX);
	if (k % 2 == 0) {
		memcpy(scratch + n, pattern_at(w, conn, k), w->size);
		memcpy(scratch + n + w->size, "\r\n", 2);
		n += w->size + 2;
	}
	return rln_send_nowait(c, scratch, n);
}

static void add_segment(struct work_answer *a, const void *p, size_t n)
{
	if (n > 0)
		a->segment[a->count++] = (struct work_segment){ p, n };
}

void work_expect(const struct work *w, uint64_t conn, uint64_t k, struct work_answer *a)
{
	a->count = 0;
	a->at = 0;
	a->off = 0;
	if (w->what == LOAD_ECHO) {
		add_segment(a, pattern_at(w, conn, k), w->size);
	} else if (k % 2 == 0) {
		add_segment(a, "+OK\r\n", 5);
	} else {
		int n = snprintf(a->head, sizeof a->head, "$%zu\r\n", w->size);

		add_segment(a, a->head, (size_t)n);
		add_segment(a, pattern_at(w, conn, k - 1), w->size);
		add_segment(a, "\r\n", 2);
	}
}

ssize_t work_check(struct work_answer *a, const uint8_t *p, size_t n, bool *done)
{
	size_t used = 0;

	*done = false;
	while (used < n && a->at < a->count) {
		const struct work_segment *s = &a->segment[a->at];
		size_t take = s->n - a->off < n - used ? s->n - a->off : n - used;

		if (memcmp(s->p + a->off, p + used, take) != 0)
			return -1;
		used += take;
		a->off += take;
		if (a->off == s->n) {
			a->at++;
			a->off = 0;
		}
	}
	*done = a->at == a->count;
	return (ssize_t)used;
}
