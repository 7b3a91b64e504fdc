/* The channel between threads, below its runtime: see xchan.c. */
#ifndef RINGLINE_TASK_XCHAN_H
#define RINGLINE_TASK_XCHAN_H

#include "loop/inbox.h"
#include "ringline/thread.h"

/* A channel to the worker of in. 0, -EINVAL (elem, cap), -ENOMEM. */
int xchan_new(struct inbox *in, size_t elem, size_t cap, rln_xchan **out);

#endif
