/*
 * Structures of options from programs that were built against another header. They say how large
 * theirs is; what it lacks is zero, the default, and what it has beyond ours must be zero.
 */
#ifndef RINGLINE_BASE_OPTS_H
#define RINGLINE_BASE_OPTS_H

#include <errno.h>
#include <stddef.h>
#include <string.h>

/* Fill the `known` bytes at `to` from the `size` bytes at `from` (NULL: none). 0 or -E2BIG. */
static inline int opts_copy(void *to, size_t known, const void *from, size_t size)
{
	const unsigned char *p = from;

	memset(to, 0, known);
	if (!from)
		return 0;
	for (size_t i = known; i < size; i++)
		if (p[i])
			return -E2BIG;
	memcpy(to, from, size < known ? size : known);
	return 0;
}

#endif
