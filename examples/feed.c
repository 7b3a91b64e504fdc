/*
 * A thread of the program's own feeds a worker: it reads stdin, from the first client on and no
 * faster than the worker takes it, and every client gets all of it. Its end ends the program once
 * all is delivered; so does a drain, which ends the thread. usage: tail -f LOG | feed [ADDR]
 */
#include "announce.h"
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <unistd.h>

enum { AHEAD = 64, CLIENTS = 1000 }; /* pieces on their way */
struct piece {
	ssize_t n;
	char bytes[1000];
};
static rln_xchan *pieces;
static sem_t room;  /* as many as `pieces` has places: taken before a send, which so finds one */
static int stop[2]; /* closed by the worker: the thread is to end */

/* The thread: it may block, and calls only what any thread may. */
static void *read_stdin(void *arg)
{
	struct pollfd in[] = { { .fd = 0, .events = POLLIN }, { .fd = stop[0], .events = POLLIN } };
	struct piece p;
	int e = 0;

	while (e == 0 && poll(in, 2, -1) > 0 && !in[1].revents) {
		if ((p.n = read(0, p.bytes, sizeof p.bytes)) <= 0)
			break;
		sem_wait(&room); /* no signal comes here: workers block them, and whom they start */
		e = rln_xchan_try_send(pieces, &p); /* -EPIPE: the worker has closed it */
	}
	rln_xchan_close(pieces);
	return arg;
}

/* ---- the worker's: no locks */
static rln_conn client[CLIENTS];
static int clients;
static rln_event first; /* somebody has come */

/* Does not wait, so nobody comes or leaves meanwhile. Who is a megabyte behind is cut off. */
static void deliver(const struct piece *p)
{
	sem_post(&room);
	for (int i = 0; i < clients; i++)
		if (rln_send_nowait(client[i], p->bytes, (size_t)p->n) < 0)
			rln_reset(client[i]);
}

static int feed(void *arg)
{
	struct piece p;
	rln_arm arms[] = { rln_on_draining(), rln_on_event(&first) };
	pthread_t reader;

	(void)arg;
	announce(1);
	if (rln_select(arms, 2) != 1)
		return 0;
	if (rln_xchan_new(NULL, rln_worker(), sizeof p, AHEAD, &pieces) < 0 || pipe(stop) < 0 ||
	    sem_init(&room, 0, AHEAD) < 0 || pthread_create(&reader, NULL, read_stdin, NULL))
		return 1;
	arms[1] = rln_on_xrecv(pieces, &p);
	while (rln_select(arms, 2) == 1 && arms[1].res > 0)
		deliver(&p);
	rln_xchan_close(pieces); /* refuses what comes from now on, loses nothing before that */
	while (rln_xchan_recv(pieces, &p) > 0)
		deliver(&p);
	close(stop[1]); /* it may be waiting for input that never comes */
	pthread_join(reader, NULL);
	rln_xchan_unref(pieces);
	return 0;
}

/* A client's task. Its return closes the connection when all that was queued is sent. */
static void session(rln_conn c, void *arg)
{
	rln_view v;
	int i = 0;

	(void)arg;
	client[clients++] = c;
	rln_event_set(&first);
	while (rln_recv(c, &v) > 0)
		; /* nobody asked */
	while (client[i].h != c.h)
		i++;
	client[i] = client[--clients];
}

int main(int argc, char **argv)
{
	const char *addr = argc > 1 ? argv[1] : "127.0.0.1:7009";
	const rln_listen_opts l = { .addr = addr, .on_conn = session, .max_conns = CLIENTS };
	const rln_config cfg = { .workers = 1, .listen = &l, .nlisten = 1, .main = feed };

	return rln_main(&cfg);
}
