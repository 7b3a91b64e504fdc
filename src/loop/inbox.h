/*
 * What other threads want of a worker: lock-free push, one wake per sleep. The wake is a write to
 * an eventfd on which the loop keeps a read op; nothing is written while the worker is awake.
 */
#ifndef RINGLINE_LOOP_INBOX_H
#define RINGLINE_LOOP_INBOX_H

#include "base/mpsc.h"
#include "op/op_io.h"

struct inbox_msg {
	struct mpsc_node node;
	void (*run)(struct inbox_msg *m); /* on the worker, from the loop; m is run's to free */
};

struct inbox {
	struct mpsc queue;
	int wake_fd;
	struct ops *ops;
	struct op_io read; /* on wake_fd, armed while the worker lives */
	uint64_t wake_count;
	_Atomic(bool) poked; /* inbox_wake() since the last wait: the next one must not happen */
	_Atomic(uint64_t) wakes_sent;
	uint64_t messages;
	struct mpsc_node *taken; /* what inbox_drain() has still to run, oldest first */
	bool running, closing;
	_Atomic(unsigned) pushers; /* threads inside inbox_push() */
	/*
	 * Messages that other threads may send to something that waits here, and that only a push
	 * can end: the inbox must not close before they came or were called off. The worker's own.
	 */
	unsigned due;
	struct op_cancel cancel;
};

int inbox_open(struct inbox *in, struct ops *ops);
/* First turn on the worker thread: arm the read. */
void inbox_start(struct inbox *in);
/* Any thread. 0, or -ESHUTDOWN (m stays the caller's). */
int inbox_push(struct inbox *in, struct inbox_msg *m);
/* The same for a caller of whom whoever calls inbox_free() knows otherwise: it is not counted. */
int inbox_push_known(struct inbox *in, struct inbox_msg *m);
/* Any thread: a push would be refused. */
bool inbox_refuses(const struct inbox *in);
/*
 * Any thread, async-signal-safe: make the worker take a turn. A turn that began before does not
 * wait either: it returns at once, so that its caller sees what was set before the wake.
 */
void inbox_wake(struct inbox *in);
/*
 * On the worker: take back a message that was pushed and has not run. Costs as much as there are
 * messages waiting; not for ordinary use.
 */
void inbox_withdraw(struct inbox *in, struct inbox_msg *m);
/* A stage of the turn: run what was queued when it began. Returns how many. */
unsigned inbox_drain(struct inbox *in);
/* Is there something to drain, or a reason not to wait? A glance: costs no announcement. */
bool inbox_pending(const struct inbox *in);
/* A wait ended before it became a sleep: it was no longer than inbox_wake() wants. */
void inbox_noticed(struct inbox *in);
/* Before a wait: false = something came in, do not sleep. */
bool inbox_sleep(struct inbox *in);
void inbox_awake(struct inbox *in);
/*
 * No more messages; what is left runs now, in order, also when a message calls this. Cancels the
 * read: await ops_idle(), then inbox_free(). From here on nothing ends a wait but completions and
 * timers, so close it last. Legal without inbox_start().
 */
void inbox_close(struct inbox *in);
/*
 * Nobody wakes any more, and nobody begins to push. Waits for pushes that have not returned
 * although their message has run: who sent them cannot know when that was.
 */
void inbox_free(struct inbox *in);

#endif
