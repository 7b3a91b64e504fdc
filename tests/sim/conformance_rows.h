/*
 * The table of conformance.h: every row with its outcomes.
 */
#ifndef RINGLINE_TESTS_SIM_CONFORMANCE_ROWS_H
#define RINGLINE_TESTS_SIM_CONFORMANCE_ROWS_H

#include "conformance_recv.h"
#include "conformance_ring.h"
#include "conformance_sock.h"

#define CANCEL_LATE(op) "|EALREADY " op "|EALREADY EINTR"

static const struct conf_row conf_rows[] = {
	{ "nop", row_nop, "0", NULL },
	{ "nop_inject", row_nop_inject, "EIO", "nop_inject" },
	{ "unknown_opcode", row_unknown_opcode, "EINVAL", NULL },
	{ "disabled", row_disabled, "EBADFD 0 EBADFD", NULL },
	{ "setup_refused", row_setup_refused, "EINVAL EINVAL EINVAL", NULL },
	{ "overflow", row_overflow, "8 dropped 0", NULL },
	{ "recv_data", row_recv_data, "5", NULL },
	{ "recv_fin", row_recv_fin, "5 0", NULL },
	{ "recv_rst", row_recv_rst, "ECONNRESET 0", NULL },
	{ "recv_waitall_fin", row_recv_waitall_fin, "5", NULL },
	{ "recv_empty_slot", row_recv_empty_slot, "EBADF EBADF", NULL },
	{ "recv_no_socket", row_recv_no_socket, "ENOTSOCK", NULL },
	{ "multi_empty_group", row_multi_empty_group, "ENOBUFS last", NULL },
	{ "multi_no_group", row_multi_no_group, "ENOBUFS last", NULL },
	{ "multi_runs_dry", row_multi_runs_dry, "64 more ENOBUFS last|64 last", NULL },
	{ "multi_fin", row_multi_fin, "5 more 0 last|5 last", NULL },
	{ "multi_rst", row_multi_rst, "ECONNRESET last", NULL },
	{ "multi_without_select", row_multi_without_select, "EINVAL EINVAL", NULL },
	{ "select_one", row_select_one, "5 last buffer 0", NULL },
	{ "cancel_pending", row_cancel_pending, "0 ECANCELED" CANCEL_LATE("ECANCELED"), NULL },
	{ "cancel_done", row_cancel_done, "0 ENOENT", NULL },
	{ "cancel_nothing", row_cancel_nothing, "ENOENT", NULL },
	{ "cancel_data_arrived", row_cancel_data_arrived,
	  "0 cancelled 3|ENOENT data|EALREADY data|EALREADY cancelled 3", NULL },
	{ "cancel_waitall_partial", row_cancel_waitall_partial, "0 5|EALREADY 5", NULL },
	{ "cancel_send_partial", row_cancel_send_partial, "0 partial|EALREADY partial", NULL },
	{ "cancel_multi", row_cancel_multi, "5 more 0 ECANCELED last|5 last ENOENT", NULL },
	{ "cancel_slot_nothing", row_cancel_slot_nothing, "0 ENOENT", NULL },
	{ "cancel_slot_empty", row_cancel_slot_empty, "EBADF", NULL },
	{ "cancel_slot_all", row_cancel_slot_all,
	  "2 ECANCELED ECANCELED|2 EINTR ECANCELED|2 ECANCELED EINTR|2 EINTR EINTR", NULL },
	{ "cancel_accept", row_cancel_accept, "0 ECANCELED" CANCEL_LATE("ECANCELED"), NULL },
	{ "close_slot", row_close_slot, "0 EBADF EINVAL 0", NULL },
	{ "close_slot_under_recv", row_close_slot_under_recv, "0 EAGAIN 0", NULL },
	{ "files_register", row_files_register, "EBUSY EINVAL EBADF EINVAL 0 ENXIO", NULL },
	{ "files_install", row_files_install, "1 8", NULL },
	{ "accept_multi_full", row_accept_multi_full, "6 more ENFILE last 0|6 last", NULL },
	{ "accept_multi_explicit", row_accept_multi_explicit, "EINVAL", NULL },
	{ "accept_fd", row_accept_fd, "fd named", NULL },
	{ "accept_shut_listener", row_accept_shut_listener, "0 EINVAL", NULL },
	{ "accept_no_listener", row_accept_no_listener, "EINVAL", NULL },
	{ "connect", row_connect, "0 0 EISCONN", NULL },
	{ "connect_refused", row_connect_refused, "REFUSED", NULL },
	{ "connect_unspec", row_connect_unspec, "0 ECONNRESET ECONNRESET ENOTCONN EPIPE", NULL },
	{ "send", row_send, "5 5", NULL },
	{ "shutdown", row_shutdown, "0 0 EPIPE", NULL },
	{ "send_after_rst", row_send_after_rst, "ECONNRESET EPIPE", NULL },
	{ "send_after_close", row_send_after_close, "1 EPIPE", NULL },
	{ "send_zc", row_send_zc, "5 more 5 0 notif last", NULL },
	{ "send_zc_broken", row_send_zc_broken, "EPIPE more 0 notif last", NULL },
	{ "send_zc_bad_region", row_send_zc_bad_region, "EFAULT", NULL },
	{ "poll", row_poll, "out in", NULL },
	{ "poll_fin", row_poll_fin, "rdhup", NULL },
	{ "poll_rst", row_poll_rst, "rdhuphuperr ECONNRESET rdhuphup", NULL },
	{ "timeout", row_timeout, "ETIME late", NULL },
	{ "timeout_cancel", row_timeout_cancel, "0 ECANCELED", NULL },
	{ "link_timeout", row_link_timeout, "ECANCELED ETIME|EINTR ETIME", NULL },
	{ "link_timeout_unused", row_link_timeout_unused, "5 ECANCELED", NULL },
	{ "chain_breaks", row_chain_breaks, "EBADF ECANCELED ECANCELED 0", NULL },
	{ "chain_hard", row_chain_hard, "EBADF 0", NULL },
	{ "chain_bad_member", row_chain_bad_member, "ECANCELED EINVAL", NULL },
	{ "skip_success", row_skip_success, "0 skipped", NULL },
	{ "group_refused", row_group_refused, "EINVAL EINVAL 0 EEXIST 0 ENOENT", NULL },
	{ "eventfd", row_eventfd, "8 counted EINVAL", NULL },
	{ "msg_ring", row_msg_ring, "0 88 77 EBADFD", NULL },
	{ "peername", row_peername, "16 EINVAL", "socket_cmd" },
};

#define CONF_ROWS (sizeof(conf_rows) / sizeof(conf_rows[0]))

#endif
