/*
 * ringline: an io_uring-native, thread-per-core async I/O runtime for Linux. Everything public.
 *
 * Results >= 0 are success, results < 0 a negative errno; errno itself is neither read nor written.
 * RLN_WAITS marks the functions that may suspend the calling task. They, and only they, are points
 * at which cancellation and deadlines show; everything else returns at once and is legal in
 * callbacks. Structs ending in _opts, and rln_config, are valid all-zero: zero is the default.
 *
 * What every function that takes a handle may give besides the errors it lists: -EBADF for a stale
 * handle, -EXDEV for a handle of another worker, -EPERM from a thread that is no worker; and every
 * RLN_WAITS function -EDEADLK in a callback, -ECANCELED or -ETIME when a scope was cancelled or
 * its deadline passed.
 */
#ifndef RINGLINE_H
#define RINGLINE_H

#include <ringline/base.h>
#include <ringline/conn.h>
#include <ringline/doctor.h>
#include <ringline/embed.h>
#include <ringline/listen.h>
#include <ringline/metrics.h>
#include <ringline/process.h>
#include <ringline/runtime.h>
#include <ringline/select.h>
#include <ringline/sync.h>
#include <ringline/signal.h>
#include <ringline/task.h>
#include <ringline/thread.h>
#include <ringline/time.h>

#endif
