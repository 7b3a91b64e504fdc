/*
 * The seam: who reads the other side of the ring. One submission and completion ring is set up,
 * entered, registered upon and torn down through these four calls; everything above uses only the
 * shared memory described by struct io_uring. Linux is kernel_uring.c, the fake is
 * sim/kernel_sim.c. One indirect call per loop turn, none per operation.
 */
#ifndef RINGLINE_RING_KERNEL_H
#define RINGLINE_RING_KERNEL_H

#include <liburing.h>
#include <stddef.h>

struct ring_kernel {
	const char *name;
	/*
	 * Creates a ring and fills every field of *u (queue pointers, masks, sqes, ring_fd,
	 * enter_ring_fd, flags, features, int_flags) and *p as the kernel does. 0 or -errno; on
	 * failure nothing is left behind.
	 */
	int (*setup)(struct io_uring *u, unsigned entries, struct io_uring_params *p);
	/* Closes the ring and releases its memory. Operations in flight are the kernel's business.
	 */
	void (*exit)(struct io_uring *u);
	/* io_uring_enter(2): number of SQEs consumed, or -errno. flags as in the system call. */
	int (*enter)(struct io_uring *u, unsigned to_submit, unsigned min_complete, unsigned flags,
		     const void *arg, size_t arg_bytes);
	/* io_uring_register(2): >= 0 or -errno. */
	int (*reg)(struct io_uring *u, unsigned opcode, void *arg, unsigned nr);
};

extern const struct ring_kernel ring_kernel_uring;

#endif
