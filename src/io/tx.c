/*
 * Pools of send-queue entries. Copy entries come in two sizes so that a small reply does not hold
 * 16 KiB; larger ones are allocated exactly.
 */
#include "io/tx.h"

#include "base/assert.h"
#include "base/sys.h"
#include "io/io.h"
#include <string.h>

#define CLASS_EXACT 0xff
#define CLASS_BARE TX_CLASSES
static const uint32_t class_bytes[TX_CLASSES + 1] = { TX_SMALL - sizeof(struct tx),
						      TX_LARGE - sizeof(struct tx), 0 };

/*
 * The trim rule: the free list keeps at most as many entries as are in use, and a floor. A burst
 * is given back as it drains, steady traffic never reaches the allocator.
 */
static bool keep_free(const struct tx_pool *p, unsigned cls)
{
	return p->free_count[cls] < 64 || p->free_count[cls] < p->live[cls];
}

static struct tx *take(struct tx_pool *p, unsigned cls)
{
	struct tx *t = p->free[cls];
	if (t) {
		p->free[cls] = t->next;
		p->free_count[cls]--;
	} else {
		t = sys_alloc(sizeof *t + class_bytes[cls]);
		if (!t)
			return NULL;
	}
	p->live[cls]++;
	t->cls = (uint8_t)cls;
	t->next = NULL;
	t->len = t->off = 0;
	t->unit = NULL;
	t->zc = t->owed = t->queued = t->refused = false;
	t->p = (const uint8_t *)(t + 1);
	return t;
}

struct tx *tx_alloc_copy(struct io *io, size_t cap)
{
	struct tx *t;

	if (cap <= class_bytes[1]) {
		unsigned cls = cap <= class_bytes[0] ? 0 : 1;
		t = take(&io->tx, cls);
		if (!t)
			return NULL;
		t->cap = class_bytes[cls];
	} else {
		if (cap > UINT32_MAX / 2)
			return NULL;
		t = sys_alloc(sizeof *t + cap);
		if (!t)
			return NULL;
		memset(t, 0, sizeof *t);
		t->cls = CLASS_EXACT;
		t->p = (const uint8_t *)(t + 1);
		t->cap = (uint32_t)cap;
	}
	t->kind = TX_COPY;
	return t;
}

struct tx *tx_alloc(struct io *io, enum tx_kind kind)
{
	struct tx *t = take(&io->tx, CLASS_BARE);
	if (t)
		t->kind = (uint8_t)kind;
	return t;
}

void tx_free(struct io *io, struct tx *t)
{
	struct tx_pool *p = &io->tx;

	RLN_ASSERT(!t->owed); /* INV-15: a guarded piece lives until its notification */
	if (t->kind == TX_CHUNK)
		chunk_unref(t->chunk);
	if (t->cls == CLASS_EXACT) {
		sys_free(t);
		return;
	}
	p->live[t->cls]--;
	if (!keep_free(p, t->cls)) {
		sys_free(t);
		return;
	}
	t->next = p->free[t->cls];
	p->free[t->cls] = t;
	p->free_count[t->cls]++;
}

void tx_pool_free(struct io *io)
{
	for (unsigned i = 0; i <= TX_CLASSES; i++) {
		while (io->tx.free[i]) {
			struct tx *t = io->tx.free[i];
			io->tx.free[i] = t->next;
			sys_free(t);
		}
		io->tx.free_count[i] = 0;
	}
}
