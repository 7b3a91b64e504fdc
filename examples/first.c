/*
 * Ask several backends at once, answer with whichever is first, cancel the others. A line in, a
 * line out: try it with a few echo servers, some of which are slow, silent or gone.
 * usage: first LISTEN-ADDR BACKEND-ADDR...
 */
#include "announce.h"
#include <errno.h>
#include <string.h>

enum { LINE_MAX_BYTES = 4096, BACKENDS_MAX = 16 };

struct fetch {
	const char *backend;
	rln_view question;
	size_t len;
	char answer[LINE_MAX_BYTES];
};

static char **backends; /* NULL-terminated */

static int fetch(void *arg)
{
	struct fetch *f = arg;
	rln_view line;
	RLN_CONN(c);
	ssize_t n = rln_connect(f->backend, NULL, &c);

	if (n == 0)
		n = rln_send(c, f->question.data, f->question.len);
	if (n > 0)
		n = rln_recv_until(c, "\n", sizeof f->answer, &line);
	if (n <= 0)
		return n < 0 ? (int)n : -ENODATA;
	memcpy(f->answer, line.data, line.len);
	f->len = line.len;
	return 0;
}

/* f[] is good again when this returns: the losers are cancelled, and have ended. */
static const struct fetch *first_answer(struct fetch *f, rln_view question)
{
	RLN_DEADLINE(all, RLN_MS(250));
	RLN_GROUP(g);
	rln_child d;

	for (int i = 0; backends[i] && i < BACKENDS_MAX; i++) {
		f[i].backend = backends[i];
		f[i].question = question;
		rln_group_spawn(&g, fetch, &f[i]);
	}
	while (rln_group_next(&g, &d) > 0)
		if (d.result == 0)
			return d.arg;
	return NULL;
}

static void front(rln_conn c, void *arg)
{
	struct fetch f[BACKENDS_MAX];
	rln_view line;

	(void)arg;
	while (rln_recv_until(c, "\n", LINE_MAX_BYTES, &line) > 0) {
		const struct fetch *best = first_answer(f, line);
		if ((best ? rln_send(c, best->answer, best->len) : rln_send(c, "nobody\n", 7)) < 0)
			return;
	}
}

int main(int argc, char **argv)
{
	const rln_listen_opts l = { .addr = argc > 1 ? argv[1] : "127.0.0.1:7006",
				    .on_conn = front };

	if (argc < 3) {
		fprintf(stderr, "usage: first LISTEN-ADDR BACKEND-ADDR...\n");
		return 2;
	}
	backends = argv + 2;
	return rln_main(&(rln_config){ .listen = &l,
				       .nlisten = 1,
				       .main = announce_main,
				       .stack_size = 512 << 10 }); /* answers lie on it */
}
