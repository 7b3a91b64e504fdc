/*
 * Chat: what one member writes, all get. Two tasks a member: this one reads, its child writes what
 * comes through a bounded channel, so a member who does not read loses lines and holds up nobody.
 * One worker, hence no locks: between two waits a task has the room for itself.
 * usage: chat [ADDR]
 */
#include "announce.h"
#include <string.h>

struct line {
	size_t len;
	char text[256];
};

struct member {
	struct member *prev, *next;
	rln_conn c;
	rln_chan in;
};

static struct member room = { .prev = &room, .next = &room };

static int writer(void *arg)
{
	struct member *me = arg;
	struct line l;
	ssize_t n = 0;

	while (n >= 0 && rln_chan_recv(&me->in, &l) > 0)
		n = rln_send(me->c, l.text, l.len);
	return 0;
}

static void reader(struct member *me)
{
	rln_view v;
	struct line l;
	RLN_GROUP(g); /* its end is the writer's: before the channel is freed */

	if (rln_group_spawn(&g, writer, me) < 0)
		return;
	while (rln_recv_until(me->c, "\n", sizeof l.text, &v) > 0) {
		l.len = v.len;
		memcpy(l.text, v.data, v.len);
		for (struct member *m = room.next; m != &room; m = m->next)
			(void)rln_chan_try_send(&m->in, &l); /* full: the line is lost for m */
	}
}

static void session(rln_conn c, void *arg)
{
	struct member me = { .prev = &room, .next = room.next, .c = c };

	(void)arg;
	if (rln_chan_open(&me.in, sizeof(struct line), 16) < 0)
		return;
	me.prev->next = me.next->prev = &me;
	reader(&me);
	me.prev->next = me.next;
	me.next->prev = me.prev;
	rln_chan_free(&me.in, NULL);
}

int main(int argc, char **argv)
{
	const rln_listen_opts l = { .addr = argc > 1 ? argv[1] : "127.0.0.1:7007",
				    .on_conn = session,
				    .idle_timeout = RLN_SEC(600) };

	return rln_main(
		&(rln_config){ .workers = 1, .listen = &l, .nlisten = 1, .main = announce_main });
}
