/*
 * A foreign thread, a blocking call and memory that is given away, in one server: every tick of a
 * thread becomes a block of 64 KiB, made on the pool, sent without a copy and freed by its release.
 * usage: foreign_thread [ADDR]; prints "blobs left: N" at its end.
 */
#include "announce.h"
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { BLOB = 64 << 10 };

struct blob {
	atomic_int refs;
	int tick;
	char data[BLOB];
};

static rln_xchan *ticks;
static pthread_t clock_thread;
static atomic_int blobs;

static void *clock_main(void *arg)
{
	const struct timespec ms = { .tv_nsec = 1000000 };

	(void)arg;
	for (int n = 0; rln_xchan_try_send(ticks, &n) != -EPIPE; n++)
		nanosleep(&ms, NULL);
	return NULL;
}

static void blob_put(void *p)
{
	struct blob *b = p;

	if (atomic_fetch_sub(&b->refs, 1) != 1)
		return;
	free(b);
	atomic_fetch_sub(&blobs, 1);
}

/* On a thread of the pool: may take its time. */
static int fill(void *p)
{
	struct blob *b = p;

	for (int i = 0; i < BLOB; i++)
		b->data[i] = (char)(b->tick + i);
	return 0;
}

static struct blob *blob_new(int tick)
{
	struct blob *b = malloc(sizeof *b);

	if (!b)
		return NULL;
	atomic_init(&b->refs, 1);
	atomic_fetch_add(&blobs, 1);
	b->tick = tick;
	return b;
}

static void serve(rln_conn c, void *arg)
{
	int tick;

	(void)arg;
	while (rln_xchan_recv(ticks, &tick) > 0) {
		struct blob *b = blob_new(tick);
		if (!b)
			return;
		if (rln_blocking(fill, b) < 0) {
			blob_put(b);
			return;
		}
		/* The head is borrowed for the call, the blob is given away in every outcome. */
		rln_piece reply[] = {
			{ .data = &tick, .len = sizeof tick },
			{ .data = b->data, .len = BLOB, .release = blob_put, .ud = b }
		};
		if (rln_send_pieces(c, reply, 2) < 0)
			return;
	}
}

static int init(unsigned worker, void *arg, void **state)
{
	int e = rln_xchan_new(NULL, worker, sizeof(int), 256, &ticks);

	(void)arg, (void)state;
	return e < 0 ? e : -pthread_create(&clock_thread, NULL, clock_main, NULL);
}

static void fini(unsigned worker, void *state)
{
	(void)worker, (void)state;
	rln_xchan_close(ticks);
	pthread_join(clock_thread, NULL);
	rln_xchan_unref(ticks);
}

int main(int argc, char **argv)
{
	const rln_listen_opts l = { .addr = argc > 1 ? argv[1] : "127.0.0.1:0", .on_conn = serve };
	int e = rln_main(&(rln_config){ .workers = 1,
					.listen = &l,
					.nlisten = 1,
					.worker_init = init,
					.worker_exit = fini,
					.main = announce_main });

	printf("blobs left: %d\n", atomic_load(&blobs));
	return e;
}
