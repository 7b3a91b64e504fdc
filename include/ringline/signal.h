/*
 * Signals of the process, waited for by tasks. A worker begins to listen for a signal with its
 * first wait for it and goes on until the runtime ends; then what the signal did before is
 * restored. While any worker listens, the signal does nothing else. A signal that comes while no
 * task of a listening worker waits is kept for the next wait; several count as one.
 *
 * The signal must find a thread that does not block it: workers and helper threads block signals,
 * so that is one of the program's own, such as the one in rln_wait() or rln_main().
 */
#ifndef RINGLINE_SIGNAL_H
#define RINGLINE_SIGNAL_H

#include <ringline/base.h>
#include <ringline/select.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Wait for a signal. It ends the waits of every task, on every worker, that waits for it then.
 *
 * Returns 0 when it has come, or -EINVAL (no such signal, one that cannot be caught, or one that
 * tells of a fault), -EBUSY (a realtime signal that has a use in this process), -EAGAIN (too many
 * are listened for), -ENOMEM, -ESHUTDOWN (this worker has stopped taking messages), the wait
 * errors: a signal that has come stays to be waited for.
 * Owner:   nothing is passed.
 * Thread:  a task of any worker.      Waits: yes (a cancellation point).
 */
RLN_API int rln_signal_wait(int signo) RLN_WAITS;

/*
 * Ready when the signal has come; its effect is that of rln_signal_wait(). The worker listens from
 * the first use of such an arm.
 *
 * Returns the arm; res is 0 or an error of rln_signal_wait().
 * Owner:   nothing is passed.
 * Thread:  any; used in a task.      Waits: no.
 */
RLN_API rln_arm rln_on_signal(int signo);

#ifdef __cplusplus
}
#endif
#endif
