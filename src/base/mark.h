/*
 * Marks: rare branches of which a reader would ask whether they are ever run. The simulation driver
 * says which of them its schedules reached. With RLN_MARKS (by default where RLN_DEBUG is) a mark
 * is a counter; else it is nothing. A name stands once in the library; none in a header, where each
 * file would have its own.
 */
#ifndef RINGLINE_BASE_MARK_H
#define RINGLINE_BASE_MARK_H

#include "base/assert.h"
#include <stdint.h>

#ifndef RLN_MARKS
#define RLN_MARKS RLN_DEBUG
#endif

struct mark {
	const char *name;
	uint64_t hits; /* of all threads; some may be lost where they race */
};

/* In the section stand pointers: the linker gives its bounds, and pads no pointers. */
#if RLN_MARKS
#define RLN_MARK(what)                                                                            \
	do {                                                                                      \
		static struct mark mark_ = { (what), 0 };                                         \
		static struct mark *const mark_at_ __attribute__((section("rln_marks"), used)) =  \
			&mark_;                                                                   \
		__atomic_store_n(&mark_.hits, __atomic_load_n(&mark_.hits, __ATOMIC_RELAXED) + 1, \
				 __ATOMIC_RELAXED);                                               \
	} while (0)
#else
#define RLN_MARK(what) ((void)0)
#endif

#endif
