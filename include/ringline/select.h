/*
 * Waiting for the first of several things. An arm stands for one wait; rln_select() returns when
 * one of its arms is ready. It is lossless: either exactly one arm took effect and its index comes
 * back, or none did and an error does. The constructors of arms stand with what they wait for; here
 * are those of connections, time and tasks.
 */
#ifndef RINGLINE_SELECT_H
#define RINGLINE_SELECT_H

#include <ringline/base.h>
#include <ringline/task.h>
#include <ringline/time.h>

#ifdef __cplusplus
extern "C" {
#endif

/* At most so many arms in one rln_select(). */
#define RLN_SELECT_MAX 1024

/*
 * One arm: what to wait for, and afterwards its result. A plain value, made by one of the rln_on_
 * functions; it can be used in one rln_select() after the other. An all-zero arm is never ready,
 * which switches a place in an array off.
 */
typedef struct rln_arm {
	int res; /* of the arm that won: 0 or more, or a negative errno */
	uint64_t priv_[9];
} rln_arm;

/*
 * Wait until an arm is ready, and apply that one's effect alone. Of several that are ready at once
 * it is the one with the lowest index: put the important one first. What is wrong with an arm (a
 * stale handle, another reader) makes it ready, with the error in its res.
 *
 * Returns the index of the winner, its result in arms[index].res, or -EINVAL (n is not in
 * 1..RLN_SELECT_MAX, arms NULL), or the wait errors: no arm took effect.
 * Owner:   borrows arms, and what they refer to.
 * Thread:  a task of any worker.      Waits: yes (a cancellation point).
 */
RLN_API RLN_MUST int rln_select(rln_arm *arms, int n) RLN_WAITS;

/*
 * Ready when c has input that no call has shown yet, or its input has ended: a receive call will
 * not wait. It counts as a reader, of which there is one at a time. Views stay valid.
 *
 * Returns the arm; res is 0, or a handle error, -EBUSY, -ECONNABORTED, -ETIME (idle_timeout),
 * -ESHUTDOWN.
 * Owner:   nothing is passed.
 * Thread:  any; used on the worker that owns c.      Waits: no.
 */
RLN_API rln_arm rln_on_readable(rln_conn c);

/*
 * Ready when at most send_low bytes of c's are queued, or its sending side is broken: the next
 * rln_send() will not wait, and rln_send_nowait() not give -EAGAIN.
 *
 * Returns the arm; res is 0, or what rln_send() would give, -ECONNABORTED, a handle error.
 * Owner:   nothing is passed.
 * Thread:  any; used on the worker that owns c.      Waits: no.
 */
RLN_API rln_arm rln_on_writable(rln_conn c);

/*
 * Ready dur nanoseconds after the rln_select() it is used in has begun; never earlier. Zero or
 * less: at once, if no arm before it is ready. RLN_FOREVER: never.
 *
 * Returns the arm; res is 0.
 * Owner:   nothing is passed.
 * Thread:  any.      Waits: no.
 */
RLN_API rln_arm rln_on_after(rln_ns dur);

/*
 * Ready when t has ended; its effect is that of rln_join(): the task is reaped.
 *
 * Returns the arm; res is 0 with what the task's function returned in *result, or an error of
 * rln_join().
 * Owner:   borrows result (may be NULL) while the arm is used.
 * Thread:  any; used on the worker that owns t.      Waits: no.
 */
RLN_API rln_arm rln_on_join(rln_task t, int *result);

/*
 * Ready when a child of g has ended, or none is left; its effect is that of rln_group_next().
 *
 * Returns the arm; res is 1 with the child in *d, 0 when none is left, or -EINVAL (d NULL), -EBUSY
 * (an arm before it waits for g). A task that did not begin g and uses it aborts with a message.
 * Owner:   borrows g, and d while the arm is used.
 * Thread:  any; used in the task that began g.      Waits: no.
 */
RLN_API rln_arm rln_on_group(rln_group *g, rln_child *d);

/*
 * Ready when a descriptor of the program's own has one of the poll(2) events; nothing is read from
 * it. The runtime polls it only during the select, so between two of them the descriptor may be
 * closed; not while one waits.
 *
 * Returns the arm; res is the events that are ready (POLLERR and POLLHUP always count), or -EBADF,
 * -ENOMEM, or what the kernel's poll reports.
 * Owner:   borrows the descriptor while the arm is used.
 * Thread:  any; used in a task of any worker.      Waits: no.
 */
RLN_API rln_arm rln_on_fd(int fd, short events);

/*
 * Ready when this runtime has begun its drain (rln_shutdown()).
 *
 * Returns the arm; res is 0.
 * Owner:   nothing is passed.
 * Thread:  any; used in a task of any worker.      Waits: no.
 */
RLN_API rln_arm rln_on_draining(void);

#ifdef __cplusplus
}
#endif
#endif
