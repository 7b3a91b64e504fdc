/*
 * A thread of the program's own feeds a worker: it reads lines of stdin, and every client gets
 * each. Reading begins with the first client and goes no faster than the worker takes lines. The
 * end of stdin ends the program once all is delivered; so does a drain, which ends the thread as
 * well. usage: tail -f LOG | feed [ADDR]
 */
#include "announce.h"
#include <pthread.h>
#include <semaphore.h>
#include <string.h>

enum { LINE = 1000, AHEAD = 64 }; /* a longer line comes in parts; how many are on their way */

static rln_xchan *lines;
static sem_t room; /* as many as `lines` has places: taken before a send, which so finds one */

/* The thread: it may block, and calls only what any thread may. */
static void *read_stdin(void *arg)
{
	char line[LINE];
	int e = 0;

	while (e == 0 && fgets(line, sizeof line, stdin)) {
		while (sem_wait(&room) < 0)
			;			     /* a signal came */
		e = rln_xchan_try_send(lines, line); /* -EPIPE: the worker has closed it */
	}
	rln_xchan_close(lines);
	return arg;
}

/* ---- the worker's: no locks */
struct member {
	struct member *prev, *next;
	rln_conn c;
};

static struct member all = { .prev = &all, .next = &all };
static rln_event first; /* somebody has come */

/* Does not wait, so nobody comes or leaves meanwhile. Who is a megabyte behind is cut off. */
static void deliver(const char *line)
{
	sem_post(&room);
	for (struct member *m = all.next; m != &all; m = m->next)
		if (rln_send_nowait(m->c, line, strlen(line)) < 0)
			rln_reset(m->c);
}

static int feed(void *arg)
{
	char line[LINE];
	rln_arm arms[] = { rln_on_draining(), rln_on_event(&first) };
	pthread_t reader;

	(void)arg;
	announce(1);
	if (rln_select(arms, 2) != 1)
		return 0;
	if (rln_xchan_new(NULL, rln_worker(), LINE, AHEAD, &lines) < 0 ||
	    sem_init(&room, 0, AHEAD) < 0 || pthread_create(&reader, NULL, read_stdin, NULL))
		return 1;
	arms[1] = rln_on_xrecv(lines, line);
	while (rln_select(arms, 2) == 1 && arms[1].res > 0)
		deliver(line);
	rln_xchan_close(lines); /* refuses what comes from now on, and loses nothing before that */
	while (rln_xchan_recv(lines, line) > 0)
		deliver(line);
	pthread_cancel(reader); /* it may be waiting for input that never comes */
	pthread_join(reader, NULL);
	rln_xchan_unref(lines);
	return 0;
}

/* A client's task. Its return closes the connection when all that was queued is sent. */
static void session(rln_conn c, void *arg)
{
	struct member me = { .prev = &all, .next = all.next, .c = c };
	rln_view v;

	(void)arg;
	me.prev->next = me.next->prev = &me;
	rln_event_set(&first);
	while (rln_recv(c, &v) > 0)
		; /* nobody asked */
	me.prev->next = me.next;
	me.next->prev = me.prev;
}

int main(int argc, char **argv)
{
	const rln_listen_opts l = { .addr = argc > 1 ? argv[1] : "127.0.0.1:7009",
				    .on_conn = session };

	return rln_main(&(rln_config){ .workers = 1,
				       .listen = &l,
				       .nlisten = 1,
				       .main = feed,
				       .drain_idle = RLN_MS(100) });
}
