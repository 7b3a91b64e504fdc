/*
 * The runtime: its configuration, starting, draining, and reaching its workers from other threads.
 * All-zero configuration is valid: zero, NULL and false always mean the default.
 */
#ifndef RINGLINE_RUNTIME_H
#define RINGLINE_RUNTIME_H

#include <ringline/base.h>
#include <ringline/time.h>
#include <sys/socket.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct rln_callbacks {
	void (*open)(rln_conn c, void *arg);
	size_t (*data)(rln_conn c, const uint8_t *p, size_t n, void *arg);
	void (*writable)(rln_conn c, void *arg);
	void (*eof)(rln_conn c, void *arg);
	void (*close)(rln_conn c, int err, void *arg);
} rln_callbacks;

enum { RLN_KEEP = 0, RLN_CLOSE = 1 };

typedef struct rln_listen_opts {
	const char *addr;
	void (*on_conn)(rln_conn c, void *arg);
	int (*on_request)(rln_conn c, void *arg);
	const rln_callbacks *cb;
	void (*on_close)(rln_conn c, int err, void *arg);
	void *arg;
	int backlog;
	rln_ns idle_timeout;
	rln_ns close_timeout;
	rln_ns close_max;
	rln_ns send_stall;
	size_t recv_max;
	size_t send_high;
	size_t send_low;
	unsigned max_conns;
	bool no_nodelay;
	rln_ns keepalive_idle;
	int sndbuf;
	int rcvbuf;
} rln_listen_opts;

typedef struct rln_config {
	unsigned workers;
	bool no_pin;
	const rln_listen_opts *listen;
	unsigned nlisten;
	int (*worker_init)(unsigned worker, void *arg, void **state);
	void (*worker_exit)(unsigned worker, void *state);
	int (*main)(void *arg);
	void *arg;
	size_t stack_size;
	size_t stack_guard;
	unsigned max_tasks;
	unsigned stacks_prewarm;
	unsigned stacks_keep;
	rln_ns stack_trim_idle;
	unsigned sq_entries;
	unsigned cq_entries;
	unsigned recv_bufs;
	unsigned recv_buf_size;
	unsigned file_slots;
	size_t buffer_budget;
	size_t zc_threshold;
	rln_ns spin;
	bool sqpoll;
	unsigned sqpoll_idle_ms;
	int sqpoll_cpu_plus1;
	rln_ns drain_idle;
	rln_ns drain_timeout;
	rln_ns kill_timeout;
	rln_ns stall_warn;
	void (*log)(int level, const char *msg, void *arg);
} rln_config;

RLN_API int rln_start_sized(const rln_config *cfg, size_t cfg_size, size_t listen_opts_size,
			    rln_runtime **out);
static inline int rln_start(const rln_config *cfg, rln_runtime **out)
{
	return rln_start_sized(cfg, sizeof(rln_config), sizeof(rln_listen_opts), out);
}
RLN_API int rln_listen_addr(rln_runtime *rt, unsigned listener, struct sockaddr_storage *out);
RLN_API void rln_shutdown(rln_runtime *rt);
RLN_API int rln_wait(rln_runtime *rt);
RLN_API int rln_main_sized(const rln_config *cfg, size_t cfg_size, size_t listen_opts_size);
static inline int rln_main(const rln_config *cfg)
{
	return rln_main_sized(cfg, sizeof(rln_config), sizeof(rln_listen_opts));
}
RLN_API int rln_serve(const char *addr, void (*on_conn)(rln_conn c, void *arg), void *arg);
RLN_API unsigned rln_worker(void);
RLN_API unsigned rln_workers(void);
RLN_API void *rln_worker_state(void);
RLN_API int rln_post(rln_runtime *rt, unsigned worker, void (*fn)(void *arg), void *arg);

#ifdef __cplusplus
}
#endif
#endif
