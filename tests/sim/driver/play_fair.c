/*
 * Tasks of one worker among themselves. P8: who is ready runs, as often as the others who are. P12:
 * what goes through a channel comes out in the order of the calls, a lock is given in that order,
 * and a group tells of its children in the order in which they ended.
 */
#include "play.h"
#include "ringline/sync.h"

#define FRIENDS 3
#define YIELDS 6

struct friends {
	rln_chan ch;
	rln_mutex m;
	unsigned started, ready; /* ready: bits of those that do nothing but yield */
	unsigned turns[FRIENDS];
	unsigned sends, receives; /* the calls, and the first that may still come out */
	unsigned locks, locked;	  /* the same */
	unsigned order[FRIENDS], ended, told;
};

struct one {
	struct friends *f;
	unsigned me;
	bool ran;
};

static void check_turns(const struct friends *f, unsigned me)
{
	for (unsigned i = 0; i < FRIENDS; i++)
		if (f->ready >> i & 1 && f->turns[me] > f->turns[i] + 1)
			world_violates(play.w, PROP_P8, "a task ran %u times, another %u times",
				       f->turns[me], f->turns[i]);
}

static int yield_some(struct one *o)
{
	struct friends *f = o->f;

	for (unsigned i = 0; i < YIELDS; i++) {
		int e = rln_yield();

		if (e < 0) {
			f->ready &= ~(1u << o->me);
			return e;
		}
		f->turns[o->me] += wrong(PROP_P8) ? 3 : 1;
		check_turns(f, o->me);
	}
	f->ready &= ~(1u << o->me);
	return 0;
}

static int send_one(struct friends *f)
{
	unsigned call = f->sends++;

	call ^= wrong(PROP_P12);
	return rln_chan_send(&f->ch, &call);
}

static int lock_once(struct friends *f)
{
	unsigned call = f->locks++;
	int e = rln_lock(&f->m);

	if (e < 0)
		return e;
	if (call < f->locked)
		world_violates(play.w, PROP_P12, "lock call %u got its turn after call %u", call,
			       f->locked - 1);
	f->locked = call + 1;
	e = rln_yield();
	rln_unlock(&f->m);
	return e;
}

static int one_friend(void *arg)
{
	struct one *o = arg;
	struct friends *f = o->f;
	unsigned rounds = 1 + (unsigned)play_rand(4);
	int e = 0;

	o->ran = true;
	e = yield_some(o);
	while (rounds-- && e >= 0)
		e = play_chance(2) ? send_one(f) : lock_once(f);
	f->order[f->ended++] = o->me;
	if (f->ended == f->started)
		rln_chan_close(&f->ch);
	return 1;
}

static void receive_all(struct friends *f)
{
	unsigned call;

	while (rln_chan_recv(&f->ch, &call) == 1) {
		if (call < f->receives)
			world_violates(play.w, PROP_P12, "item %u came out after item %u", call,
				       f->receives - 1);
		f->receives = call + 1;
		if (play_chance(4))
			(void)rln_yield();
	}
}

static void told(struct friends *f, const rln_child *d)
{
	const struct one *o = d->arg;

	if (!o || !o->ran)
		return;
	if (f->order[f->told] != o->me)
		world_violates(play.w, PROP_P12, "child %u was told of where %u had ended", o->me,
			       f->order[f->told]);
	f->told++;
}

static int friends_parent(void *arg)
{
	struct friends f = { 0 };
	struct one one[FRIENDS];
	rln_child d;

	(void)arg;
	if (rln_chan_open(&f.ch, sizeof(unsigned), play_rand(3)) < 0)
		world_fail(play.w, "no memory for a channel");
	{
		RLN_GROUP(g);

		for (unsigned i = 0; i < FRIENDS; i++) {
			one[i] = (struct one){ .f = &f, .me = i };
			if (rln_group_spawn(&g, one_friend, &one[i]) < 0)
				continue;
			f.started++;
			f.ready |= 1u << i;
		}
		if (f.started)
			receive_all(&f);
		while (rln_group_next(&g, &d) == 1)
			told(&f, &d);
	}
	rln_chan_free(&f.ch, NULL);
	play.tasks_ended++;
	return 0;
}

void friends_start(unsigned worker)
{
	play.tasks++;
	rig_go(&play.rig, worker, friends_parent, NULL);
}
