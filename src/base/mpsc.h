/*
 * Lock-free intrusive queue: any thread pushes, one thread takes everything at once, oldest first.
 * A node belongs to the queue from push until it is taken. The consumer announces that it is about
 * to sleep; the push that finds the announcement takes it down and must wake the consumer: one wake
 * per sleep, however many push.
 */
#ifndef RINGLINE_BASE_MPSC_H
#define RINGLINE_BASE_MPSC_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#define MPSC_LINE 64

struct mpsc_node {
	struct mpsc_node *next;
};

struct mpsc {
	_Alignas(MPSC_LINE) _Atomic(struct mpsc_node *) head; /* newest first, or closed */
	/* a line of its own: read by every push, written once a sleep */
	_Alignas(MPSC_LINE) _Atomic(unsigned) sleeping;
};

enum mpsc_push { MPSC_PUSHED, MPSC_PUSHED_WAKE, MPSC_REFUSED };

void mpsc_init(struct mpsc *q);
/* Any thread. MPSC_PUSHED_WAKE: this caller must wake the consumer. MPSC_REFUSED: closed. */
enum mpsc_push mpsc_push(struct mpsc *q, struct mpsc_node *n);
/* Any thread, async-signal-safe: true if the consumer sleeps and this caller must wake it. */
bool mpsc_wake(struct mpsc *q);
/* Consumer: everything queued, oldest first (linked by next, NULL at the end). */
struct mpsc_node *mpsc_take(struct mpsc *q);
/* Consumer: announce sleep. false: something is queued, do not sleep (announcement withdrawn). */
bool mpsc_sleep(struct mpsc *q);
/* Consumer: awake again (also after a sleep nobody ended). */
void mpsc_awake(struct mpsc *q);
bool mpsc_empty(const struct mpsc *q);
/* Any thread: a push would be refused. */
bool mpsc_closed(const struct mpsc *q);
/*
 * Consumer: no more pushes; returns what was left, oldest first. A push that came before may still
 * be about to wake: *q must outlive the threads that push.
 */
struct mpsc_node *mpsc_close(struct mpsc *q);

#endif
