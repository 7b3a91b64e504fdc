/*
 * Faults on the real kernel. Every ring the library sets up is made by this layer, which stands in
 * the place of ring_kernel_uring (a linker option) and passes each call on to it. Between
 * chaos_on() and chaos_off() it changes what goes by, within what Linux may do by itself: see
 * CHAOS_FAULTS.
 *
 * Completions reach the program through a queue of this layer's own, so that they can be held back
 * and given out of order. What the layer also keeps: that every operation submitted had its last
 * completion when its ring was closed, and that what was registered was taken back.
 */
#ifndef RINGLINE_TESTS_FAULT_CHAOS_H
#define RINGLINE_TESTS_FAULT_CHAOS_H

#include <stdint.h>
#include <stdio.h>

/* X(NAME, "what is done") */
#define CHAOS_FAULTS(X)                                                 \
	X(SHORT_SEND, "a send is given fewer bytes")                    \
	X(SHORT_RECV, "a receive is given less room")                   \
	X(MULTI_END, "a multishot is made a single one")                \
	X(RESULT, "an SQE is replaced by a NOP with a transient error") \
	X(CANCEL_MISS, "a cancel does nothing and answers -EALREADY")   \
	X(ASYNC, "a worker thread of the kernel runs it (IOSQE_ASYNC)") \
	X(HOLD, "a completion is held back for some enters")            \
	X(REORDER, "a completion of another operation goes first")      \
	X(EINTR, "enter is interrupted")                                \
	X(EBUSY, "enter refuses to submit (EBUSY, EAGAIN)")             \
	X(PARTIAL, "enter is given only some of the SQEs")

enum chaos_fault {
#define CHAOS_ENUM(id, what) CHAOS_##id,
	CHAOS_FAULTS(CHAOS_ENUM)
#undef CHAOS_ENUM
		CHAOS_COUNT
};

/* From here on rings are set up with faults, whose rates the seed decides. No ring may be open. */
void chaos_on(uint64_t seed);
/* Every ring is closed again. Fails the test when one of them left something. */
void chaos_off(void);
/* How often each fault was done since the process began. */
const uint64_t *chaos_counts(void);
const char *chaos_name(enum chaos_fault f);
/* Faults whose kernel support is missing here (NOP with a result: 6.10). */
int chaos_can(enum chaos_fault f);

#endif
