/*
 * Trying what a kernel can do. Private to caps.c.
 */
#ifndef RINGLINE_RING_CAPS_PROBE_H
#define RINGLINE_RING_CAPS_PROBE_H

#include "ring/caps.h"

/* The reason is of the moment, and no answer of the kernel's: descriptors, memory. */
bool caps_passes(int err);

/*
 * Fill everything in *out but ok. 0, or -errno with out->why when there is no ring to try things
 * on, or something could not be tried for a reason that passes.
 */
int caps_try_all(const struct ring_kernel *k, struct caps *out);

#endif
