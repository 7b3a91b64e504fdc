/*
 * io_uring's own constants that are newer than liburing 2.3, under a prefix of ours: liburing's are
 * partly enumerators, which #ifndef cannot see. A value here says nothing about this kernel: use it
 * only after caps (ring/caps.h) has tried it.
 */
#ifndef RINGLINE_RING_UAPI_H
#define RINGLINE_RING_UAPI_H

#include <liburing.h>

/* io_uring_setup() flags */
#define RU_SETUP_NO_MMAP (1U << 14)
#define RU_SETUP_REGISTERED_FD_ONLY (1U << 15)
#define RU_SETUP_NO_SQARRAY (1U << 16)
#define RU_SETUP_HYBRID_IOPOLL (1U << 17)
#define RU_SETUP_CQE_MIXED (1U << 18)

/* features in struct io_uring_params */
#define RU_FEAT_REG_REG_RING (1U << 13)
#define RU_FEAT_RECVSEND_BUNDLE (1U << 14)
#define RU_FEAT_MIN_TIMEOUT (1U << 15)
#define RU_FEAT_RW_ATTR (1U << 16)
#define RU_FEAT_NO_IOWAIT (1U << 17)

/* io_uring_enter() flags */
#define RU_ENTER_ABS_TIMER (1U << 5)
#define RU_ENTER_EXT_ARG_REG (1U << 6)
#define RU_ENTER_NO_IOWAIT (1U << 7)

/* opcodes */
#define RU_OP_READ_MULTISHOT 49
#define RU_OP_WAITID 50
#define RU_OP_FUTEX_WAIT 51
#define RU_OP_FUTEX_WAKE 52
#define RU_OP_FUTEX_WAITV 53
#define RU_OP_FIXED_FD_INSTALL 54
#define RU_OP_FTRUNCATE 55
#define RU_OP_BIND 56
#define RU_OP_LISTEN 57
#define RU_OP_RECV_ZC 58
#define RU_OP_EPOLL_WAIT 59
#define RU_OP_READV_FIXED 60
#define RU_OP_WRITEV_FIXED 61
#define RU_OP_PIPE 62

/* flags of one operation */
#define RU_NOP_INJECT_RESULT (1U << 0)
#define RU_NOP_FILE (1U << 1)
#define RU_NOP_FIXED_FILE (1U << 2)
#define RU_NOP_FIXED_BUFFER (1U << 3)
#define RU_FIXED_FD_NO_CLOEXEC (1U << 0)
#define RU_MSG_RING_FLAGS_PASS (1U << 1)
#define RU_ASYNC_CANCEL_USERDATA (1U << 4)
#define RU_ASYNC_CANCEL_OP (1U << 5)
#define RU_TIMEOUT_MULTISHOT (1U << 6)
#define RU_ACCEPT_DONTWAIT (1U << 1)
#define RU_ACCEPT_POLL_FIRST (1U << 2)
#define RU_SEND_ZC_REPORT_USAGE (1U << 3)
#define RU_RECVSEND_BUNDLE (1U << 4)
#define RU_SEND_VECTORIZED (1U << 5)

/* completions */
#define RU_CQE_F_BUF_MORE (1U << 4)
#define RU_NOTIF_USAGE_ZC_COPIED (1U << 31) /* res of a notification */

/* URING_CMD on sockets (cmd_op) */
#define RU_SOCKET_URING_OP_SIOCINQ 0
#define RU_SOCKET_URING_OP_SIOCOUTQ 1
#define RU_SOCKET_URING_OP_GETSOCKOPT 2
#define RU_SOCKET_URING_OP_SETSOCKOPT 3
#define RU_SOCKET_URING_OP_TX_TIMESTAMP 4

/* io_uring_register() opcodes and flags */
#define RU_REGISTER_PBUF_STATUS 26
#define RU_REGISTER_NAPI 27
#define RU_UNREGISTER_NAPI 28
#define RU_REGISTER_CLOCK 29
#define RU_REGISTER_CLONE_BUFFERS 30
#define RU_REGISTER_SEND_MSG_RING 31
#define RU_REGISTER_RESIZE_RINGS 33
#define RU_REGISTER_MEM_REGION 34
#define RU_REGISTER_USE_REGISTERED_RING (1U << 31)
#define RU_PBUF_RING_MMAP 1 /* io_uring_buf_reg.pad, which newer headers call flags */
#define RU_PBUF_RING_INC 2

/* madvise(2) */
#define RU_MADV_GUARD_INSTALL 102
#define RU_MADV_GUARD_REMOVE 103

#endif
