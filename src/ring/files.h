/*
 * The direct descriptor table of one ring. Slots [0, auto_count) are chosen by the kernel
 * (REGISTER_FILE_ALLOC_RANGE: accepts and handed-over connections); the rest have explicit indexes
 * given out here, so that a flood of accepts cannot starve connects and files.
 */
#ifndef RINGLINE_RING_FILES_H
#define RINGLINE_RING_FILES_H

#include "ring/ring.h"

struct files {
	struct ring *ring;
	unsigned auto_count, total;
	unsigned explicit_free; /* free explicit slots */
	uint32_t *next_free;	/* LIFO of explicit slots */
	uint32_t free_head;
	uint8_t *used; /* debug: explicit slot is handed out */
};

int files_open(struct files *f, struct ring *r, unsigned auto_count, unsigned explicit_count,
	       struct diag *why);
void files_close(struct files *f);
/* An explicit slot, or -ENFILE. */
int files_slot(struct files *f);
void files_slot_free(struct files *f, unsigned slot);
/* Install an ordinary fd in slot (FILES_UPDATE, synchronous). The caller still owns fd. 0 or
 * -errno. */
int files_install(struct files *f, unsigned slot, int fd);
/* Empty slot without an SQE (start-up failure, shutdown). 0 or -errno. */
int files_remove(struct files *f, unsigned slot);

#endif
