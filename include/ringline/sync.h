/*
 * What the tasks of one worker use to reach each other: channels, events, semaphores, mutexes,
 * conditions, and storage of their own. Nothing here is atomic, nothing may be used from two
 * workers. All queues are FIFO, and what is released is handed to the first in the queue: nobody
 * can get in between. Between workers and threads see thread.h.
 */
#ifndef RINGLINE_SYNC_H
#define RINGLINE_SYNC_H

#include <ringline/base.h>
#include <ringline/select.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- channels: items of a fixed size, copied in and out in the order of the sends */
typedef struct rln_chan {
	uint64_t priv_[12];
} rln_chan;

/*
 * Open a channel for items of elem bytes, with room for cap of them. cap 0: rendezvous, a send
 * waits until its item has been received.
 *
 * Returns 0, or -EINVAL (ch NULL, too large), -ENOMEM, -EPERM (this thread is no worker).
 * Owner:   borrows ch, which stays where it is, until rln_chan_free(ch).
 * Thread:  any worker, which the channel then belongs to.      Waits: no.
 */
RLN_API int rln_chan_open(rln_chan *ch, size_t elem, size_t cap);

/*
 * Send an item; wait while there is no room.
 *
 * Returns 0, or -EPIPE (closed; the item was not sent), -EINVAL (not open, v NULL), -EXDEV, the
 * wait errors: the item was not sent.
 * Owner:   borrows v.
 * Thread:  a task of the worker that opened ch.      Waits: yes (a cancellation point).
 */
RLN_API int rln_chan_send(rln_chan *ch, const void *v) RLN_WAITS;

/*
 * Receive the next item; wait while there is none.
 *
 * Returns 1 with the item in *v, 0 when the channel is closed and drained, or -EINVAL (not open, v
 * NULL), -EXDEV, the wait errors: no item was taken.
 * Owner:   fills *v, elem bytes.
 * Thread:  a task of the worker that opened ch.      Waits: yes (a cancellation point).
 */
RLN_API int rln_chan_recv(rln_chan *ch, void *v) RLN_WAITS;

/*
 * rln_chan_send() without waiting.
 *
 * Returns 0, or -EAGAIN (no room, and nobody waits for an item), -EPIPE, -EINVAL, -EXDEV, -EPERM.
 * Owner:   borrows v.
 * Thread:  the worker that opened ch, tasks and callbacks.      Waits: no.
 */
RLN_API int rln_chan_try_send(rln_chan *ch, const void *v);

/*
 * rln_chan_recv() without waiting.
 *
 * Returns 1 with the item in *v, 0 when the channel is closed and drained, or -EAGAIN (there is
 * none), -EINVAL, -EXDEV, -EPERM.
 * Owner:   fills *v, elem bytes.
 * Thread:  the worker that opened ch, tasks and callbacks.      Waits: no.
 */
RLN_API int rln_chan_try_recv(rln_chan *ch, void *v);

/*
 * No more sends: senders that wait get -EPIPE, their items are not sent. What is in the channel can
 * still be received. A second close changes nothing.
 *
 * Returns nothing.
 * Owner:   ch stays open for receiving, until rln_chan_free(ch).
 * Thread:  the worker that opened ch, tasks and callbacks.      Waits: no.
 */
RLN_API void rln_chan_close(rln_chan *ch);

/*
 * End a channel. drop, if not NULL, is called for each item that is left, in their order, inside
 * this call; it must not use ch. An all-zero channel is left alone, as is one that was freed.
 *
 * Returns nothing. Aborts with a message when a task waits in ch.
 * Owner:   gives ch back to the caller.
 * Thread:  the worker that opened ch, tasks and callbacks.      Waits: no.
 */
RLN_API void rln_chan_free(rln_chan *ch, void (*drop)(void *item));

/*
 * Ready when there is an item, or the channel is closed and drained. Its effect is that of
 * rln_chan_recv().
 *
 * Returns the arm; res is what rln_chan_recv() returns.
 * Owner:   borrows ch, and out while the arm is used.
 * Thread:  any; used on the worker that opened ch.      Waits: no.
 */
RLN_API rln_arm rln_on_recv(rln_chan *ch, void *out);

/*
 * Ready when there is room for an item, or the channel is closed. Its effect is that of
 * rln_chan_send(): of a rendezvous it wins when the item has been received.
 *
 * Returns the arm; res is what rln_chan_send() returns.
 * Owner:   borrows ch, and v while the arm is used.
 * Thread:  any; used on the worker that opened ch.      Waits: no.
 */
RLN_API rln_arm rln_on_send(rln_chan *ch, const void *v);

/* ---- event: something that happens once. All-zero: it has not happened. */
typedef struct rln_event {
	uint64_t priv_[3];
} rln_event;

/*
 * It has happened, and every wait for it is over, those to come included.
 *
 * Returns nothing. Aborts with a message when this thread is no worker.
 * Owner:   nothing is passed.
 * Thread:  the worker that uses e, tasks and callbacks.      Waits: no.
 */
RLN_API void rln_event_set(rln_event *e);

/*
 * Wait until e is set.
 *
 * Returns 0, or the wait errors.
 * Owner:   borrows e.
 * Thread:  a task of the worker that uses e.      Waits: yes (a cancellation point).
 */
RLN_API int rln_event_wait(rln_event *e) RLN_WAITS;

/*
 * Ready when e is set.
 *
 * Returns the arm; res is 0.
 * Owner:   borrows e.
 * Thread:  any; used on the worker that uses e.      Waits: no.
 */
RLN_API rln_arm rln_on_event(rln_event *e);

/* ---- semaphore. All-zero: no permits. */
typedef struct rln_sem {
	uint64_t priv_[3];
} rln_sem;

/*
 * Add n permits. Tasks that wait get theirs first, in their order.
 *
 * Returns nothing. Aborts with a message when this thread is no worker, or permits overflow.
 * Owner:   nothing is passed.
 * Thread:  the worker that uses s, tasks and callbacks.      Waits: no.
 */
RLN_API void rln_sem_post(rln_sem *s, unsigned n);

/*
 * Take a permit; wait while there is none.
 *
 * Returns 0, or the wait errors: no permit was taken.
 * Owner:   borrows s.
 * Thread:  a task of the worker that uses s.      Waits: yes (a cancellation point).
 */
RLN_API int rln_sem_take(rln_sem *s) RLN_WAITS;

/*
 * Ready when there is a permit. Its effect is that of rln_sem_take().
 *
 * Returns the arm; res is 0.
 * Owner:   borrows s.
 * Thread:  any; used on the worker that uses s.      Waits: no.
 */
RLN_API rln_arm rln_on_sem(rln_sem *s);

/*
 * ---- mutex. All-zero: unlocked. Only needed around code that waits: between two RLN_WAITS calls
 * no other task of the worker runs.
 */
typedef struct rln_mutex {
	uint64_t priv_[3];
} rln_mutex;

/*
 * Lock m; wait while another task holds it.
 *
 * Returns 0 with m held, or -EDEADLK (this task holds it), the wait errors: m is not held.
 * Owner:   the task holds m until rln_unlock(m).
 * Thread:  a task of the worker that uses m.      Waits: yes (a cancellation point).
 */
RLN_API RLN_MUST int rln_lock(rln_mutex *m) RLN_WAITS;

/*
 * Unlock m, and hand it to the first that waits for it.
 *
 * Returns nothing. Aborts with a message when this task does not hold m.
 * Owner:   gives m up.
 * Thread:  the task that holds m.      Waits: no.
 */
RLN_API void rln_unlock(rln_mutex *m);

/* ---- condition. All-zero: nobody waits. */
typedef struct rln_cond {
	uint64_t priv_[3];
} rln_cond;

/*
 * Unlock m, wait until c is signalled, and lock m again. m is held on every return. Others may have
 * locked m in between: look at what was waited for again.
 *
 * Returns 0, or the wait errors. Aborts with a message when this task does not hold m.
 * Owner:   borrows c; m is held again.
 * Thread:  the task that holds m.
 * Waits:   yes (a cancellation point; locking m again cannot be cancelled).
 */
RLN_API int rln_cond_wait(rln_cond *c, rln_mutex *m) RLN_WAITS;

/*
 * Wake the first task that waits for c, if there is one. m need not be held.
 *
 * Returns nothing. Aborts with a message when this thread is no worker.
 * Owner:   nothing is passed.
 * Thread:  the worker that uses c, tasks and callbacks.      Waits: no.
 */
RLN_API void rln_cond_signal(rln_cond *c);

/*
 * Wake every task that waits for c.
 *
 * Returns nothing. Aborts with a message when this thread is no worker.
 * Owner:   nothing is passed.
 * Thread:  the worker that uses c, tasks and callbacks.      Waits: no.
 */
RLN_API void rln_cond_broadcast(rln_cond *c);

/* ---- storage of a task's own. All-zero: no key. */
typedef struct rln_key {
	uint32_t id;
} rln_key;
#define RLN_KEYS_MAX 16 /* of the process */

/*
 * Make a key, under which each task can keep a pointer. dtor, if not NULL, is called for each value
 * that is left when its task's function has returned, in that task, in no particular order. Keys
 * are of the whole process and stay for ever.
 *
 * Returns 0, or -EAGAIN (RLN_KEYS_MAX were made), -EINVAL (k NULL).
 * Owner:   fills *k.
 * Thread:  any.      Waits: no.
 */
RLN_API int rln_key_new(rln_key *k, void (*dtor)(void *value));

/*
 * Set this task's value under k. NULL: none, as in the beginning; no destructor is called.
 *
 * Returns 0, or -EINVAL (k is no key), -EDEADLK (in a callback), -EPERM.
 * Owner:   value stays the program's; its destructor gets it if it is still set at the end.
 * Thread:  a task of any worker.      Waits: no.
 */
RLN_API int rln_key_set(rln_key k, void *value);

/*
 * This task's value under k.
 *
 * Returns the value; NULL when none is set, k is no key, or this is no task.
 * Owner:   the value stays the program's.
 * Thread:  any.      Waits: no.
 */
RLN_API void *rln_key_get(rln_key k);

#ifdef __cplusplus
}
#endif
#endif
