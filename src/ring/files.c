/*
 * The direct descriptor table: registered once, sparse; low slots left to the kernel's choice,
 * high ones given out here. Does not know what stands in a slot.
 */
#include "ring/files.h"
#include "base/assert.h"
#include "base/sys.h"
#include "ring/caps.h"
#include "ring/uapi.h"
#include <errno.h>
#include <string.h>

#define SLOT_NONE UINT32_MAX

static int files_register(struct files *f, struct diag *why)
{
	struct io_uring_rsrc_register reg = { .nr = f->total,
					      .flags = IORING_RSRC_REGISTER_SPARSE };
	struct io_uring_file_index_range range = { .off = 0, .len = f->auto_count };
	int err = ring_register(f->ring, IORING_REGISTER_FILES2, &reg, sizeof reg);

	if (err < 0)
		return diag_ring(why, err, "IORING_REGISTER_FILES2", 0, f->total);
	err = ring_register(f->ring, IORING_REGISTER_FILE_ALLOC_RANGE, &range, 0);
	if (err < 0) {
		ring_register(f->ring, IORING_UNREGISTER_FILES, NULL, 0);
		return diag_ring(why, err, "IORING_REGISTER_FILE_ALLOC_RANGE", 0, f->total);
	}
	return 0;
}

static void files_forget(struct files *f)
{
	sys_free(f->next_free);
	sys_free(f->used);
	memset(f, 0, sizeof *f);
}

int files_open(struct files *f, struct ring *r, unsigned auto_count, unsigned explicit_count,
	       struct diag *why)
{
	int err;

	memset(f, 0, sizeof *f);
	if (auto_count > INT32_MAX || explicit_count > INT32_MAX - auto_count ||
	    auto_count + explicit_count == 0)
		return diag_set(why, -EINVAL, "direct descriptors: %u + %u slots", auto_count,
				explicit_count);
	f->ring = r;
	f->auto_count = auto_count;
	f->total = auto_count + explicit_count;
	f->explicit_free = explicit_count;
	f->next_free = sys_alloc(explicit_count * sizeof f->next_free[0]);
	f->used = sys_zalloc(explicit_count);
	if (f->next_free && f->used) {
		err = files_register(f, why);
	} else {
		err = diag_set(why, -ENOMEM, "direct descriptors: out of memory for %u slots",
			       f->total);
	}
	if (err < 0) {
		files_forget(f);
		return err;
	}
	f->free_head = explicit_count ? 0 : SLOT_NONE;
	for (unsigned i = 0; i < explicit_count; i++)
		f->next_free[i] = i + 1 < explicit_count ? i + 1 : SLOT_NONE;
	return 0;
}

void files_close(struct files *f)
{
	int err;

	if (!f->ring)
		return;
	err = ring_register(f->ring, IORING_UNREGISTER_FILES, NULL, 0);
	RLN_ASSERTF(err >= 0, "%d", err);
	files_forget(f);
}

int files_slot(struct files *f)
{
	uint32_t i = f->free_head;

	if (i == SLOT_NONE)
		return -ENFILE;
	RLN_ASSERT(f->explicit_free > 0);
	RLN_ASSERTF(!f->used[i], "slot %u", f->auto_count + i);
	f->free_head = f->next_free[i];
	f->used[i] = 1;
	f->explicit_free--;
	return (int)(f->auto_count + i);
}

void files_slot_free(struct files *f, unsigned slot)
{
	unsigned i = slot - f->auto_count;

	RLN_ASSERTF(slot >= f->auto_count && slot < f->total, "slot %u", slot);
	RLN_ASSERTF(f->used[i], "slot %u is free already", slot); /* INV-13 */
	f->used[i] = 0;
	f->next_free[i] = f->free_head;
	f->free_head = i;
	f->explicit_free++;
}

static int files_update(struct files *f, unsigned slot, int fd)
{
	struct io_uring_rsrc_update up = { .offset = slot, .data = (uint64_t)(uintptr_t)&fd };
	int n = ring_register(f->ring, IORING_REGISTER_FILES_UPDATE, &up, 1);

	return n < 0 ? n : 0;
}

int files_install(struct files *f, unsigned slot, int fd)
{
	if (slot >= f->total)
		return -EINVAL;
	return fd < 0 ? -EBADF : files_update(f, slot, fd);
}

int files_remove(struct files *f, unsigned slot)
{
	return slot < f->total ? files_update(f, slot, -1) : -EINVAL;
}
