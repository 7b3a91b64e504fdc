/*
 * A loop whose turns are taken from somebody else's loop, which does the waiting. One descriptor,
 * the ring's own, is readable whenever a turn would have something to do: completions are there,
 * messages of other threads and what we have to tell ourselves become one (the inbox's read), and
 * the next timer is an operation of the ring. So nobody has to be told a timeout.
 *
 * INV-110: between two steps nothing can be done, or the descriptor is readable, or about to be.
 */
#ifndef RINGLINE_LOOP_EMBED_H
#define RINGLINE_LOOP_EMBED_H

#include "op/op_io.h"
#include <stdbool.h>
#include <stdint.h>

struct loop;

struct embed {
	bool used;    /* this loop was opened for it */
	bool on;      /* steps are taken; false again when a thread runs it */
	bool closing; /* no timer is armed any more */
	int64_t timer_ns;
	struct op_io timer; /* armed at timer_ns, which is not after the wheel's next */
	struct op_cancel cancel;
};

/* Before inbox_start(). */
void embed_start(struct loop *l);
/* A stage of the turn, where embed.used: have the ring end at the next timer. */
void embed_arm(struct loop *l);
/* Would a turn do anything? */
bool embed_pending(const struct loop *l);
/* Before each turn of a step. */
void embed_awake(struct loop *l);
/* Nothing seems to be left: from here on the descriptor tells. false: something is, after all. */
bool embed_rest(struct loop *l);
/* Make the descriptor readable, as news: the step ends although something is left. */
void embed_light(struct loop *l);
/* No timers any more: the loop is about to end, or to be run by a thread. */
void embed_close(struct loop *l);
/* The calling thread, the one that took the steps, runs turns that wait from here on. */
void embed_leave(struct loop *l);

#endif
