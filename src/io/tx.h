/*
 * What is queued to be sent: one FIFO per connection for every producer. An entry is bytes copied,
 * a reference to received bytes, a borrowed piece whose sender waits, or a guarded piece whose
 * release callback runs when the kernel let go.
 */
#ifndef RINGLINE_IO_TX_H
#define RINGLINE_IO_TX_H

#include "op/op.h"
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

struct io;
struct conn;
struct chunk;

enum tx_kind { TX_COPY, TX_CHUNK, TX_BORROW, TX_GUARD };

/*
 * One call that sends the caller's own memory in place and waits for it. Its entries carry the
 * pointer, are alone in their SQEs, and are counted here. Lives in the caller's frame until done.
 */
struct send_unit {
	struct list waiters;
	size_t sent;	  /* bytes of the unit the kernel has taken */
	unsigned entries; /* not yet finished */
	bool done;
	int err; /* 0, or why it ended early */
};

struct tx {
	struct tx *next;
	const uint8_t *p; /* first byte; of a TX_COPY: right behind the header */
	size_t len, off;  /* bytes of this entry, and how many of them are sent */
	struct send_unit *unit;
	uint8_t kind;
	uint8_t cls;  /* pool class */
	bool zc;      /* a TX_GUARD that goes out by SEND_ZC */
	bool owed;    /* its notification is outstanding */
	bool queued;  /* a TX_GUARD still has bytes to send */
	bool report;  /* its SEND_ZC asked to be told whether it was copied */
	bool refused; /* its SEND_ZC took nothing: the notification says nothing of copying */
	uint32_t cap; /* TX_COPY */
	union {
		struct chunk *chunk; /* TX_CHUNK */
		struct {
			void (*release)(void *ud);
			void *ud;
			struct conn *conn;
			struct op op;
			struct list node; /* io.released */
		} guard;
	};
};

#define TX_SMALL 2048
#define TX_LARGE (16 * 1024 + 128)
#define TX_CLASSES 2

struct tx_pool {
	struct tx *free[TX_CLASSES + 1]; /* the last class: entries without data */
	unsigned free_count[TX_CLASSES + 1], live[TX_CLASSES + 1];
};

struct tx *tx_alloc_copy(struct io *io, size_t cap); /* NULL: out of memory */
struct tx *tx_alloc(struct io *io, enum tx_kind kind);
/* Frees the entry; drops its chunk reference. Not for a guarded entry that still owes a release. */
void tx_free(struct io *io, struct tx *t);
void tx_pool_free(struct io *io);

#endif
