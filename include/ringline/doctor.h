/*
 * Why does it not start here? What this machine offers the library, as a report.
 */
#ifndef RINGLINE_DOCTOR_H
#define RINGLINE_DOCTOR_H

#include <ringline/base.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Enough for any report. */
#define RLN_DOCTOR_MAX 16384

/*
 * Write a report about this machine: kernel, how a ring was set up, features and operations found
 * by trying them, limits, the memory of a runtime with the default configuration, and for what is
 * missing its cause and remedy. json: one object on one line, else lines for people. Raises the
 * soft limit of open files to the hard one, as a start does.
 *
 * Returns 0 when a runtime can start here, 1 when not, or -EINVAL (buf NULL, cap 0), -EMSGSIZE (cap
 * is too small; the text is cut).
 * Owner:   fills cap bytes at buf; the text ends with a newline and a NUL.
 * Thread:  any.      Waits: no task; blocks the thread for some milliseconds.
 */
RLN_API int rln_doctor(char *buf, size_t cap, bool json);

#ifdef __cplusplus
}
#endif
#endif
