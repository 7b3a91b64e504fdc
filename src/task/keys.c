/*
 * Task-local storage. The values stand in the first frame of their task, and a mask says which are
 * set: nothing to allocate, nothing to clear. Keys are of the process, like those of threads, and
 * never given back.
 */
#include "ringline/sync.h"
#include "task/internal.h"
#include <errno.h>
#include <stdatomic.h>

#define PASSES 4 /* destructors may set values again: not for ever */

_Static_assert(RLN_KEYS_MAX <= 16, "task.keys_set has 16 bits");

static _Atomic(unsigned) keys;
static void (*_Atomic destructor[RLN_KEYS_MAX])(void *);

int rln_key_new(rln_key *k, void (*dtor)(void *value))
{
	unsigned n = atomic_load(&keys);

	if (!k)
		return -EINVAL;
	do {
		if (n == RLN_KEYS_MAX)
			return -EAGAIN;
	} while (!atomic_compare_exchange_weak(&keys, &n, n + 1));
	atomic_store(&destructor[n], dtor);
	k->id = n + 1; /* an all-zero key is none */
	return 0;
}

static bool valid(rln_key k)
{
	return k.id && k.id <= atomic_load_explicit(&keys, memory_order_relaxed);
}

int rln_key_set(rln_key k, void *value)
{
	struct task *t = task_running();

	if (!t)
		return wait_enter("rln_key_set");
	if (!valid(k))
		return -EINVAL;
	t->keys[k.id - 1] = value;
	if (value)
		t->keys_set |= (uint16_t)(1u << (k.id - 1));
	else
		t->keys_set &= (uint16_t) ~(1u << (k.id - 1));
	return 0;
}

void *rln_key_get(rln_key k)
{
	const struct task *t = task_running();

	if (!t || !valid(k) || !(t->keys_set & 1u << (k.id - 1)))
		return NULL;
	return t->keys[k.id - 1];
}

void keys_end(struct task *t)
{
	for (int pass = 0; pass < PASSES && t->keys_set; pass++) {
		uint16_t set = t->keys_set;
		t->keys_set = 0;
		for (; set; set &= (uint16_t)(set - 1)) {
			int i = __builtin_ctz(set);
			void (*fn)(void *) = atomic_load(&destructor[i]);
			if (fn)
				fn(t->keys[i]);
		}
	}
}
