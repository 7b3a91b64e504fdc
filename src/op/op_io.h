/*
 * A stand-alone op with its arguments: for owners that have no shape of their own (a task's one
 * blocking op, files, listeners, tests). op_table.c holds one class per kind, whose prepare (in
 * op_prep_*.c) reads struct op_args and whose finish calls op_io.done.
 */
#ifndef RINGLINE_OP_OP_IO_H
#define RINGLINE_OP_OP_IO_H

#include "op/op.h"
#include <sys/stat.h>

/*
 * Arguments of every kind. Which are read stands above each prepare in op_prep_*.c. Everything an
 * argument points to must live until the op's last CQE.
 */
struct op_args {
	int fd;	    /* descriptor, or direct slot when fixed */
	bool fixed; /* fd is a direct slot */
	int slot;   /* result slot: >= 0 explicit, OP_SLOT_AUTO, OP_SLOT_NONE (ordinary fd) */
	int flags;  /* msg_flags, open flags, fsync flags, poll mask, how, ... */
	uint32_t len;
	uint64_t off;
	void *buf;
	const void *addr; /* sockaddr, path, second path in buf */
	uint32_t addr_bytes;
	uint32_t mode;
	uint16_t group;	    /* provided buffer group (RECV_MULTI, ...; RECV with buf NULL) */
	uint16_t region;    /* registered buffer index */
	bool use_region;    /* SEND_ZC from registered memory */
	int64_t ns;	    /* timeouts: duration or absolute CLOCK_MONOTONIC */
	struct op *target;  /* CANCEL */
	uint64_t user_data; /* MSG_RING: delivered to the other ring */
	uint32_t inject;    /* NOP: use_inject */
	bool use_inject;
	uint32_t cmd_op;      /* SOCKET_CMD, NVME */
	uint32_t level, name; /* SOCKET_CMD */
	uint16_t ioprio;      /* more flags of socket kinds: IORING_RECVSEND_*, RU_*_BUNDLE, ... */
};
enum { OP_SLOT_NONE = -1, OP_SLOT_AUTO = -2 };

struct op_io {
	struct op op;
	struct op_args a;
	struct __kernel_timespec ts;
	void (*done)(struct op_io *io, const struct op_event *ev);
	void *ctx;
};

/* Everything zero but fd (-1) and slot (OP_SLOT_NONE). */
void op_io_init(struct op_io *io, enum op_kind kind,
		void (*done)(struct op_io *, const struct op_event *));
const struct op_class *op_io_class(enum op_kind kind);

#endif
