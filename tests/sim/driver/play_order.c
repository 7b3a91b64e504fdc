/*
 * P12: where the calls that sent a stream began. Bytes of a later call that stand where an earlier
 * one's should are out of order; any other mistake of a stream is P3.
 */
#include "play.h"

#define PLACES 4096 /* of a stream: beyond them a mistake is P3 */

struct stream {
	const struct sim_peer *peer;
	size_t called;
	bool begins[PLACES]; /* a call */
};
static struct stream stream[POURS];
static unsigned streams;

void order_new(void)
{
	streams = 0;
}

static struct stream *stream_to(const struct sim_peer *peer)
{
	for (unsigned i = 0; i < streams; i++)
		if (stream[i].peer == peer)
			return &stream[i];
	return NULL;
}

void order_call(const struct sim_peer *peer, size_t at, size_t n)
{
	struct stream *s = stream_to(peer);

	if (!s && streams < POURS) {
		s = &stream[streams++];
		memset(s, 0, sizeof *s);
		s->peer = peer;
	}
	if (!s || at + n > PLACES)
		return;
	s->begins[at] = true;
	s->called = at + n;
}

/* Are these the bytes of the call that began at that place? */
static bool are_of(const struct stream *s, size_t at, const uint8_t *got, size_t n)
{
	for (size_t k = 0; k < n && at + k < s->called && (!k || !s->begins[at + k]); k++)
		if (got[k] != peer_poured(s->peer, at + k))
			return false;
	return true;
}

void order_other(struct world *w, const struct sim_peer *peer, size_t at, const uint8_t *got,
		 size_t n, void *ctx)
{
	const struct stream *s = stream_to(peer);

	(void)ctx;
	if (!s || at >= s->called || !s->begins[at])
		return;
	for (size_t later = at + 1; later < s->called; later++)
		if (s->begins[later] && are_of(s, later, got, n))
			world_violates(w, PROP_P12,
				       "a send that was called at byte %zu left before one that "
				       "was called at byte %zu",
				       later, at);
}
