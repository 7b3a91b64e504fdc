/*
 * The runtime: its configuration, starting, draining, and reaching its workers from other threads.
 * All-zero configuration is valid: zero, NULL and false always mean the default, which stands
 * behind each field. A field out of range fails the start with a line that names it.
 */
#ifndef RINGLINE_RUNTIME_H
#define RINGLINE_RUNTIME_H

#include <ringline/base.h>
#include <ringline/time.h>
#include <sys/socket.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Callback mode: a connection without a task. For one connection the order is open, then any of
 * data, writable and eof, then close; never two at once, and all on the connection's worker. None
 * of them may wait. Each may be NULL but data.
 */
typedef struct rln_callbacks {
	void (*open)(rln_conn c, void *arg);
	/*
	 * n unconsumed bytes at p, lent for the call. Returns how many it consumed, 0..n. Called
	 * again at once while it consumes; what it leaves comes again together with new bytes, and
	 * after writable. Leaving recv_max bytes without an -EAGAIN outstanding closes the
	 * connection with -EMSGSIZE, since it could never go on.
	 */
	size_t (*data)(rln_conn c, const uint8_t *p, size_t n, void *arg);
	/* Once for every -EAGAIN of rln_send_nowait(), when the queue is at or below send_low. */
	void (*writable)(rln_conn c, void *arg);
	/*
	 * The peer sends no more, data has declined what is left, and no -EAGAIN is outstanding.
	 * NULL: the connection is closed as soon as its queue is sent.
	 */
	void (*eof)(rln_conn c, void *arg);
	/*
	 * Exactly once after open, the last of them; err 0 or why the connection ended. c is good
	 * for rln_user() and rln_peer() only.
	 */
	void (*close)(rln_conn c, int err, void *arg);
} rln_callbacks;

/* What on_request returns, besides a negative errno: which closes like RLN_CLOSE and is counted. */
enum { RLN_KEEP = 0, RLN_CLOSE = 1 };

/*
 * One listener. Exactly one of on_conn, on_request and cb is set: it decides how the connections
 * are served.
 */
typedef struct rln_listen_opts {
	/*
	 * "127.0.0.1:80", "[::1]:80", ":80" (every address of both families), "unix:/run/x",
	 * "unix:@name" (abstract), "fd:3" (a listening socket inherited). Port 0: any free one, see
	 * rln_listen_addr().
	 */
	const char *addr;
	/* Task mode: a task for the life of the connection; its return closes c. */
	void (*on_conn)(rln_conn c, void *arg);
	/*
	 * Request mode: a task only while there is input it has not seen; it runs again at once
	 * while it consumed something and input is left. Returns RLN_KEEP, RLN_CLOSE or -errno.
	 */
	int (*on_request)(rln_conn c, void *arg);
	const rln_callbacks *cb; /* callback mode; copied by the start */
	/* Any mode, may be NULL: the last news of a connection, exactly once, after cb->close. */
	void (*on_close)(rln_conn c, int err, void *arg);
	void *arg;	       /* passed to all of the above */
	int backlog;	       /* 4096; connections the kernel queues before they are accepted */
	rln_ns idle_timeout;   /* none; a receive without a byte for so long gives -ETIME */
	rln_ns close_timeout;  /* 5 s; closing without progress for so long ends in a reset */
	rln_ns close_max;      /* 60 s; the whole of a close, lingering included */
	rln_ns send_stall;     /* 60 s; the peer takes nothing queued: reset, -ETIMEDOUT */
	size_t recv_max;       /* 1 MiB; unconsumed input at which receiving pauses */
	size_t send_high;      /* 1 MiB; queued output above which senders wait */
	size_t send_low;       /* 256 KiB, or a quarter of send_high; at which they go on */
	unsigned max_conns;    /* per worker; 16384, or what the descriptor limit leaves */
	bool no_nodelay;       /* leave Nagle's algorithm on; TCP_NODELAY is the default */
	rln_ns keepalive_idle; /* off; silence before TCP asks whether the peer is there, >= 1 s */
	int sndbuf, rcvbuf;    /* the kernel's own; SO_SNDBUF and SO_RCVBUF in bytes */
} rln_listen_opts;

typedef struct rln_config {
	unsigned workers; /* one per physical core that affinity and cgroup quota allow */
	bool no_pin;	  /* leave the workers to the scheduler; they are pinned by default */
	bool embed;	  /* one worker, on the thread that starts it: see ringline/embed.h. Not
			     pinned, not watched unless stall_warn is set; no spin, no sqpoll */
	const rln_listen_opts *listen;
	unsigned nlisten; /* length of listen; at most 64 */
	/*
	 * Runs on each worker before anything is accepted; *state is what rln_worker_state()
	 * returns there. May not wait. A negative errno fails the start.
	 */
	int (*worker_init)(unsigned worker, void *arg, void **state);
	void (*worker_exit)(unsigned worker, void *state); /* last, on the worker */
	/* A task on worker 0; its return begins the drain and is rln_main()'s exit status. */
	int (*main)(void *arg);
	void *arg;	    /* passed to worker_init, main and log */
	size_t stack_size;  /* 128 KiB of a task's stack (x4 under sanitizers); 16 KiB..8 MiB */
	size_t stack_guard; /* 16 KiB on x86-64, 64 KiB on aarch64 */
	unsigned max_tasks; /* per worker; 65536 */
	unsigned stacks_prewarm; /* per worker; 64 stacks made at start */
	unsigned stacks_keep;	 /* per worker; 1024 unused stacks kept */
	rln_ns stack_trim_idle;	 /* 5 s; a task parked longer gives back unused stack pages */
	unsigned sq_entries;	 /* 1024; submission entries, a power of two in 2..32768 */
	unsigned cq_entries;	 /* 4 x sq_entries; a power of two, sq_entries..65536 */
	unsigned recv_bufs;	 /* 256; receive buffers filled at first; power of two <= 32768 */
	unsigned recv_buf_size;	 /* 4096; bytes of one of them, 16..1 MiB */
	unsigned file_slots;	 /* per worker; 1024 descriptors for connects and files */
	size_t buffer_budget;	 /* per worker, bytes queued by all its connections, in and out;
				    an eighth of the memory allowed, divided by the workers */
	size_t zc_threshold;	 /* 64 KiB to begin with, then learned; SIZE_MAX: never */
	rln_ns spin;		 /* none; how long the loop looks for completions before sleeping */
	bool sqpoll;		 /* a kernel thread submits; costs a core per worker */
	unsigned sqpoll_idle_ms; /* 1000; silence after which that thread sleeps */
	int sqpoll_cpu_plus1;	 /* not pinned; worker i's thread runs on CPU this - 1 + i */
	unsigned blocking_threads; /* 4; threads for rln_blocking() and names that stay once they
				      were needed; more, to 64, while all of them are busy */
	rln_ns drain_idle;	   /* 1 s; in a drain: an idle on_conn task gets -ESHUTDOWN then */
	rln_ns drain_timeout;	   /* 30 s; from rln_shutdown() to cancelling every task */
	rln_ns kill_timeout; /* 5 s more; then what is stuck is dumped and the process aborts */
	/*
	 * 500 ms; a worker away from its loop so long is reported with the call stack of whoever
	 * holds it, once a time, and counted; RLN_FOREVER: no. A realtime signal is taken for it,
	 * the highest one in no use: in code that stalls, calls that signals interrupt give EINTR.
	 */
	rln_ns stall_warn;
	/* stderr, up to RLN_LOG_WARN; called from any thread of the runtime, one line a call */
	void (*log)(int level, const char *msg, void *arg);
} rln_config;

/*
 * Start the workers: rings, threads, listeners. All or nothing; what failed is logged as one line
 * with its remedy.
 *
 * Returns 0 with every worker running and every listener accepting, or -EINVAL (a field, named in
 * the log), -E2BIG (a newer structure with fields this library does not know), -EADDRINUSE,
 * -EADDRNOTAVAIL, -EACCES, -EMFILE, -ENOMEM, -EPERM or -ENOSYS (io_uring is refused), -EOPNOTSUPP
 * (shadow stacks are enforced), -EDEADLK (on a worker), or what a worker_init returned.
 * Owner:   borrows cfg and the strings and arrays in it; gives *out, freed by rln_wait(). cfg->arg
 *          and each listener's arg must outlive the runtime.
 * Thread:  any that is no worker.      Waits: no task; blocks the thread while starting.
 */
RLN_API int rln_start_sized(const rln_config *cfg, size_t cfg_size, size_t listen_opts_size,
			    rln_runtime **out);

/* rln_start_sized() with the sizes this program was compiled with: see there. */
static inline int rln_start(const rln_config *cfg, rln_runtime **out)
{
	return rln_start_sized(cfg, sizeof(rln_config), sizeof(rln_listen_opts), out);
}

/*
 * The address a listener really has, for one that asked for port 0.
 *
 * Returns 0, or -EINVAL (listener is not below nlisten), -EPERM (rt is NULL off-worker).
 * Owner:   fills *out.
 * Thread:  any; rt NULL is the runtime of this worker.      Waits: no.
 */
RLN_API int rln_listen_addr(rln_runtime *rt, unsigned listener, struct sockaddr_storage *out);

/*
 * Begin the drain: accept what is queued, close the listeners, let what runs finish. Idle
 * connections close; an idle on_conn task's receive gives -ESHUTDOWN after drain_idle; after
 * drain_timeout every task is cancelled. Every request received in full before is answered. A
 * second call changes nothing, and neither does one in a forked child.
 *
 * Returns nothing.
 * Owner:   rt must not have been passed to rln_wait() by a thread that may have returned from it.
 * Thread:  any, also a signal handler; rt NULL is the runtime of this worker.      Waits: no.
 */
RLN_API void rln_shutdown(rln_runtime *rt);

/*
 * Wait until the drain is over and every worker has ended. An embedded runtime whose steps have not
 * come to RLN_STEP_OVER is run to its end here, on this thread.
 *
 * Returns 0 when all ended by itself, 1 when tasks had to be cancelled at drain_timeout, or
 * -EINVAL (rt is NULL), -EDEADLK (on a worker), -EPERM (in a forked child, which has no workers, or
 * rt is embedded and this is not the thread that started it).
 * Owner:   takes rt, but for errors: it is freed. Once.
 * Thread:  any that is no worker; of an embedded rt the one that started it.      Waits: no task;
 *          blocks the thread.
 */
RLN_API int rln_wait(rln_runtime *rt);

/*
 * A whole program: start, drain on SIGINT or SIGTERM (a second one ends the process at once), wait.
 *
 * Returns an exit status: what cfg->main returned, or 0 when all ended by itself, 1 when tasks had
 * to be cancelled, 2 when it did not start; then why is on stderr.
 * Owner:   as rln_start_sized().
 * Thread:  any that is no worker, one at a time.      Waits: no task; blocks the thread.
 */
RLN_API int rln_main_sized(const rln_config *cfg, size_t cfg_size, size_t listen_opts_size);

/* rln_main_sized() with the sizes this program was compiled with: see there. */
static inline int rln_main(const rln_config *cfg)
{
	return rln_main_sized(cfg, sizeof(rln_config), sizeof(rln_listen_opts));
}

/*
 * rln_main() with one listener at addr whose connections are served by on_conn, one task each.
 *
 * Returns an exit status, as rln_main().
 * Owner:   borrows addr; arg must outlive the call.
 * Thread:  any that is no worker, one at a time.      Waits: no task; blocks the thread.
 */
RLN_API int rln_serve(const char *addr, void (*on_conn)(rln_conn c, void *arg), void *arg);

/*
 * Which worker this is.
 *
 * Returns its index, from 0, or UINT_MAX when this thread is no worker.
 * Owner:   nothing is passed.
 * Thread:  any.      Waits: no.
 */
RLN_API unsigned rln_worker(void);

/*
 * How many workers the runtime of this worker has.
 *
 * Returns the count, or 0 when this thread is no worker.
 * Owner:   nothing is passed.
 * Thread:  any.      Waits: no.
 */
RLN_API unsigned rln_workers(void);

/*
 * What worker_init stored for this worker.
 *
 * Returns that pointer, or NULL when it stored none or this thread is no worker.
 * Owner:   the program's; nothing changes hands.
 * Thread:  any.      Waits: no.
 */
RLN_API void *rln_worker_state(void);

/*
 * Have fn(arg) run on a worker, from its loop, as a callback: it must not wait. Functions posted by
 * one thread to one worker run in that order, each exactly once when 0 was returned.
 *
 * Returns 0, or -EINVAL (no such worker, fn NULL), -EAGAIN (its queue is full), -ENOMEM, -ESHUTDOWN
 * (the worker is gone), -EPERM (rt is NULL off-worker, or this is a forked child).
 * Owner:   arg is passed on untouched; on an error it is still the caller's.
 * Thread:  any, not in a signal handler; rt NULL is the runtime of this worker.      Waits: no.
 */
RLN_API int rln_post(rln_runtime *rt, unsigned worker, void (*fn)(void *arg), void *arg);

#ifdef __cplusplus
}
#endif
#endif
