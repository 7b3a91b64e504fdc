/*
 * Every kind of operation, once. X(ENUM, "name", IORING opcode, OPK_* properties).
 * Yields the enum, names, counters, metrics and the rows of tests/unit/test_op_kinds.c.
 */
#ifndef RINGLINE_OP_OP_KINDS_H
#define RINGLINE_OP_OP_KINDS_H

#include "ring/uapi.h"

enum {
	OPK_MULTI = 1, /* more than one CQE: F_MORE decides */
	OPK_ZC = 2,    /* a notification may follow: F_MORE decides */
	OPK_WIDE = 4   /* needs the 128-byte SQE ring */
};

/* clang-format off */
#define OP_KINDS(X)                                                                                \
	X(NOP,            "nop",            IORING_OP_NOP,            0)                           \
	X(ACCEPT,         "accept",         IORING_OP_ACCEPT,         0)                           \
	X(ACCEPT_MULTI,   "accept_multi",   IORING_OP_ACCEPT,         OPK_MULTI)                   \
	X(CONNECT,        "connect",        IORING_OP_CONNECT,        0)                           \
	X(RECV,           "recv",           IORING_OP_RECV,           0)                           \
	X(RECV_MULTI,     "recv_multi",     IORING_OP_RECV,           OPK_MULTI)                   \
	X(RECVMSG,        "recvmsg",        IORING_OP_RECVMSG,        0)                           \
	X(RECVMSG_MULTI,  "recvmsg_multi",  IORING_OP_RECVMSG,        OPK_MULTI)                   \
	X(SEND,           "send",           IORING_OP_SEND,           0)                           \
	X(SENDMSG,        "sendmsg",        IORING_OP_SENDMSG,        0)                           \
	X(SEND_ZC,        "send_zc",        IORING_OP_SEND_ZC,        OPK_ZC)                      \
	X(SENDMSG_ZC,     "sendmsg_zc",     IORING_OP_SENDMSG_ZC,     OPK_ZC)                      \
	X(SHUTDOWN,       "shutdown",       IORING_OP_SHUTDOWN,       0)                           \
	X(CLOSE,          "close",          IORING_OP_CLOSE,          0)                           \
	X(POLL,           "poll",           IORING_OP_POLL_ADD,       0)                           \
	X(POLL_MULTI,     "poll_multi",     IORING_OP_POLL_ADD,       OPK_MULTI)                   \
	X(CANCEL,         "cancel",         IORING_OP_ASYNC_CANCEL,   0)                           \
	X(CANCEL_FD,      "cancel_fd",      IORING_OP_ASYNC_CANCEL,   0)                           \
	X(TIMEOUT,        "timeout",        IORING_OP_TIMEOUT,        0)                           \
	X(TIMEOUT_ABS,    "timeout_abs",    IORING_OP_TIMEOUT,        0)                           \
	X(LINK_TIMEOUT,   "link_timeout",   IORING_OP_LINK_TIMEOUT,   0)                           \
	X(EVENTFD_READ,   "eventfd_read",   IORING_OP_READ,           0)                           \
	X(MSG_RING,       "msg_ring",       IORING_OP_MSG_RING,       0)                           \
	X(MSG_RING_FD,    "msg_ring_fd",    IORING_OP_MSG_RING,       0)                           \
	X(SOCKET,         "socket",         IORING_OP_SOCKET,         0)                           \
	X(SOCKET_CMD,     "socket_cmd",     IORING_OP_URING_CMD,      0)                           \
	X(OPENAT,         "openat",         IORING_OP_OPENAT,         0)                           \
	X(STATX,          "statx",          IORING_OP_STATX,          0)                           \
	X(RENAMEAT,       "renameat",       IORING_OP_RENAMEAT,       0)                           \
	X(UNLINKAT,       "unlinkat",       IORING_OP_UNLINKAT,       0)                           \
	X(MKDIRAT,        "mkdirat",        IORING_OP_MKDIRAT,        0)                           \
	X(READ,           "read",           IORING_OP_READ,           0)                           \
	X(WRITE,          "write",          IORING_OP_WRITE,          0)                           \
	X(WRITEV,         "writev",         IORING_OP_WRITEV,         0)                           \
	X(READ_FIXED,     "read_fixed",     IORING_OP_READ_FIXED,     0)                           \
	X(WRITE_FIXED,    "write_fixed",    IORING_OP_WRITE_FIXED,    0)                           \
	X(FSYNC,          "fsync",          IORING_OP_FSYNC,          0)                           \
	X(NVME,           "nvme",           IORING_OP_URING_CMD,      OPK_WIDE)
/* clang-format on */

enum op_kind {
#define OP_KIND_ENUM(id, name, opcode, props) OP_##id,
	OP_KINDS(OP_KIND_ENUM)
#undef OP_KIND_ENUM
		OP_KIND_COUNT
};

const char *op_kind_name(enum op_kind k);
unsigned op_kind_opcode(enum op_kind k);
unsigned op_kind_props(enum op_kind k);

#endif
