/*
 * Trying what a kernel can do. Private to caps.c.
 */
#ifndef RINGLINE_RING_CAPS_PROBE_H
#define RINGLINE_RING_CAPS_PROBE_H

#include "ring/caps.h"

/*
 * Fill everything in *out but ok. 0, or -errno with out->why when there is no ring to try things
 * on. What cannot be tried is taken as absent.
 */
int caps_try_all(const struct ring_kernel *k, struct caps *out);

#endif
