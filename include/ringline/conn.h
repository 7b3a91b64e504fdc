/*
 * Stream connections: receiving, sending, connecting, closing.
 */
#ifndef RINGLINE_CONN_H
#define RINGLINE_CONN_H

#include <ringline/base.h>
#include <ringline/time.h>
#include <sys/socket.h>
#include <sys/uio.h>

#ifdef __cplusplus
extern "C" {
#endif

RLN_API RLN_MUST ssize_t rln_recv(rln_conn c, rln_view *v) RLN_WAITS;
RLN_API RLN_MUST ssize_t rln_fill(rln_conn c, rln_view *v) RLN_WAITS;
RLN_API RLN_MUST ssize_t rln_peek(rln_conn c, size_t min, rln_view *v) RLN_WAITS;
RLN_API int rln_consume(rln_conn c, size_t n);
RLN_API RLN_MUST ssize_t rln_recv_exact(rln_conn c, size_t n, rln_view *v) RLN_WAITS;
RLN_API RLN_MUST ssize_t rln_recv_until(rln_conn c, const char *delim, size_t max, rln_view *v)
	RLN_WAITS;
RLN_API RLN_MUST ssize_t rln_recv_into(rln_conn c, void *buf, size_t cap) RLN_WAITS;
RLN_API RLN_MUST ssize_t rln_recv_full(rln_conn c, void *buf, size_t n) RLN_WAITS;
RLN_API RLN_MUST ssize_t rln_recv_buf(rln_conn c, rln_buf *b) RLN_WAITS;
RLN_API RLN_MUST ssize_t rln_try_recv(rln_conn c, rln_view *v);

typedef struct rln_piece {
	const void *data;
	size_t len;
	void (*release)(void *ud);
	void *ud;
} rln_piece;

RLN_API ssize_t rln_send(rln_conn c, const void *p, size_t n) RLN_WAITS;
RLN_API ssize_t rln_sendv(rln_conn c, const struct iovec *iov, int n) RLN_WAITS;
RLN_API ssize_t rln_send_pieces(rln_conn c, const rln_piece *pc, int n) RLN_WAITS;
RLN_API int rln_send_nowait(rln_conn c, const void *p, size_t n);
RLN_API int rln_flush(rln_conn c) RLN_WAITS;
RLN_API size_t rln_sent(rln_conn c);

typedef struct rln_connect_opts {
	const char *bind;
	size_t recv_max;
	size_t send_high;
	rln_ns idle_timeout;
} rln_connect_opts;

RLN_API RLN_MUST int rln_connect_sized(const char *addr, const rln_connect_opts *o,
				       size_t opts_size, rln_conn *out) RLN_WAITS;
RLN_MUST static inline int rln_connect(const char *addr, const rln_connect_opts *o, rln_conn *out)
{
	return rln_connect_sized(addr, o, sizeof(rln_connect_opts), out);
}
RLN_API RLN_MUST int rln_connect_addr_sized(const struct sockaddr *sa, socklen_t n,
					    const rln_connect_opts *o, size_t opts_size,
					    rln_conn *out) RLN_WAITS;
RLN_MUST static inline int rln_connect_addr(const struct sockaddr *sa, socklen_t n,
					    const rln_connect_opts *o, rln_conn *out)
{
	return rln_connect_addr_sized(sa, n, o, sizeof(rln_connect_opts), out);
}
RLN_API int rln_shutdown_send(rln_conn c);
RLN_API int rln_close(rln_conn c);
RLN_API int rln_reset(rln_conn c);
RLN_API int rln_adopt_fd(int fd, rln_conn *out);
RLN_API int rln_give(rln_conn c, unsigned worker, void (*on_conn)(rln_conn c, void *arg),
		     void *arg);
RLN_API int rln_keep_open(rln_conn c);
RLN_API void rln_conn_cleanup_(rln_conn *c);
#define RLN_CONN(name) rln_conn name RLN_CLEAN(rln_conn_cleanup_) = { 0 }
RLN_API void rln_set_user(rln_conn c, void *p);
RLN_API void *rln_user(rln_conn c);
RLN_API int rln_peer(rln_conn c, struct sockaddr_storage *out);
RLN_API int rln_to_task(rln_conn c, void (*on_conn)(rln_conn c, void *arg), void *arg);

#ifdef __cplusplus
}
#endif
#endif
