/*
 * What this kernel can do, found by trying (never by version number), and how every refusal reads.
 * One probe per process for the real kernel (caps_get()); a fake kernel is probed by caps_probe().
 */
#ifndef RINGLINE_RING_CAPS_H
#define RINGLINE_RING_CAPS_H

#include "ring/kernel.h"
#include <stdbool.h>
#include <stdint.h>

#define DIAG_MAX 400

/* One refusal: the errno and one line "what failed: cause; remedy". */
struct diag {
	int err;
	char line[DIAG_MAX];
};

/* Fill d (may be NULL) and return err, so that `return diag_set(d, -EINVAL, "...")` works. */
int diag_set(struct diag *d, int err, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/*
 * The cause and remedy of a failed io_uring_setup / enter / register with err: reads
 * kernel.io_uring_disabled, Seccomp in /proc/self/status, RLIMIT_MEMLOCK, RLIMIT_NOFILE. what names
 * the step ("io_uring_setup"), need_bytes / need_files the amount asked for (0: unknown).
 */
int diag_ring(struct diag *d, int err, const char *what, uint64_t need_bytes, uint64_t need_files);

/* X(field, "name", "what it gives", "kernel it came with") */
#define CAPS_FEATURES(X)                                                                  \
	X(defer_taskrun, "DEFER_TASKRUN", "completions only when the loop asks", "6.1")   \
	X(no_sqarray, "NO_SQARRAY", "one indirection less per SQE", "6.6")                \
	X(multishot_accept, "multishot accept", "one SQE for many clients", "5.19")       \
	X(multishot_recv, "multishot recv", "no buffer held by idle connections", "6.0")  \
	X(bufring, "provided buffer ring", "shared receive buffers", "5.19")              \
	X(bufring_inc, "incremental buffer ring", "partial buffer use", "6.12")           \
	X(direct_alloc, "direct descriptor allocation", "sockets without an fd", "6.0")   \
	X(msg_ring, "msg_ring", "messages between rings", "5.18")                         \
	X(msg_ring_fd, "msg_ring send fd", "connections handed to another worker", "6.0") \
	X(send_zc, "SEND_ZC", "zero-copy send", "6.0")                                    \
	X(sendmsg_zc, "SENDMSG_ZC", "zero-copy gather", "6.1")                            \
	X(socket_cmd, "socket commands", "peer address of a direct descriptor", "6.7")    \
	X(fd_install, "FIXED_FD_INSTALL", "a direct descriptor as an ordinary fd", "6.8") \
	X(nop_inject, "NOP with result", "fault injection in tests", "6.10")              \
	X(recv_bundle, "recv bundle", "several buffers in one completion", "6.10")        \
	X(send_vectorized, "vectorized send", "gather without a msghdr", "6.17")          \
	X(close_sends_fin, "close sends FIN at once", "no SHUTDOWN before close", "6.13") \
	X(uring_cmd, "URING_CMD", "NVMe passthrough", "5.19")                             \
	X(wide_ring, "SQE128 and CQE32", "NVMe passthrough", "5.19")                      \
	X(guard_install, "MADV_GUARD_INSTALL", "stack guards without a mapping each", "6.13")

struct caps {
	bool ok;	      /* the runtime can start */
	struct diag why;      /* when not ok */
	uint32_t setup_flags; /* the rung of the ladder */
	uint32_t features;    /* IORING_FEAT_* */
	uint8_t opcodes[128]; /* 1 where the opcode is supported */
	unsigned opcode_count;
#define CAPS_FIELD(field, name, gives, since) bool field;
	CAPS_FEATURES(CAPS_FIELD)
#undef CAPS_FIELD
};

/* Probe through k. Takes a few milliseconds on Linux, needs no privilege, leaves nothing behind. */
void caps_probe(const struct ring_kernel *k, struct caps *out);
/*
 * The real kernel's caps, probed once per process; any thread. A probe that failed for a passing
 * reason (no descriptor, no memory) is not kept: then what it says stands in *now, and the next
 * call tries again.
 */
const struct caps *caps_get(struct caps *now);

#endif
