/*
 * What this kernel can do: one probe per process for the real one, and the verdict whether a
 * runtime can start. The trying itself is caps_probe.c.
 */
#include "ring/caps.h"
#include "ring/caps_probe.h"
#include "ring/ring.h"
#include <errno.h>
#include <stdatomic.h>

enum { UNPROBED, PROBING, PROBED };

/* What a runtime cannot do without. All of it is in Linux 6.1. */
static const struct {
	uint8_t opcode;
	const char *name;
} required[] = {
	{ IORING_OP_NOP, "IORING_OP_NOP" },
	{ IORING_OP_READ, "IORING_OP_READ" },
	{ IORING_OP_POLL_ADD, "IORING_OP_POLL_ADD" },
	{ IORING_OP_ACCEPT, "IORING_OP_ACCEPT" },
	{ IORING_OP_CONNECT, "IORING_OP_CONNECT" },
	{ IORING_OP_RECV, "IORING_OP_RECV" },
	{ IORING_OP_SEND, "IORING_OP_SEND" },
	{ IORING_OP_SENDMSG, "IORING_OP_SENDMSG" },
	{ IORING_OP_SHUTDOWN, "IORING_OP_SHUTDOWN" },
	{ IORING_OP_ASYNC_CANCEL, "IORING_OP_ASYNC_CANCEL" },
	{ IORING_OP_CLOSE, "IORING_OP_CLOSE" },
};

static int caps_verdict(const struct caps *c, struct diag *why)
{
	for (unsigned i = 0; i < sizeof required / sizeof required[0]; i++)
		if (!c->opcodes[required[i].opcode])
			return diag_set(why, -EOPNOTSUPP,
					"io_uring: this kernel has no %s; run Linux 6.1 or newer, "
					"or allow it in the security policy",
					required[i].name);
	if (!c->bufring)
		return diag_set(why, -EOPNOTSUPP,
				"io_uring: this kernel has no provided buffer rings; run Linux 6.1 "
				"or newer");
	if (!c->direct_alloc)
		return diag_set(why, -EOPNOTSUPP,
				"io_uring: this kernel does not choose direct descriptors; run "
				"Linux 6.1 or newer");
	return 0;
}

void caps_probe(const struct ring_kernel *k, struct caps *out)
{
	*out = (struct caps){ 0 };
	if (caps_try_all(k, out) == 0)
		out->ok = caps_verdict(out, &out->why) == 0;
}

bool caps_passes(int err)
{
	return err == -EMFILE || err == -ENFILE || err == -ENOMEM || err == -ENOBUFS ||
	       err == -EAGAIN;
}

const struct caps *caps_get(struct caps *now)
{
	static _Atomic int state;
	static struct caps kept;

	while (atomic_load_explicit(&state, memory_order_acquire) != PROBED) {
		int expected = UNPROBED;

		/* Rare and short: somebody else is at it, for milliseconds. */
		if (!atomic_compare_exchange_strong(&state, &expected, PROBING))
			continue;
		caps_probe(&ring_kernel_uring, now);
		if (!now->ok && caps_passes(now->why.err)) {
			atomic_store_explicit(&state, UNPROBED, memory_order_release);
			return now;
		}
		kept = *now;
		atomic_store_explicit(&state, PROBED, memory_order_release);
	}
	return &kept;
}
