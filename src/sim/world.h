/*
 * A small world for tests: one seed decides everything that a kernel, a network and the programs
 * at its other end may do. A world holds a virtual clock, simulated descriptors, any number of
 * rings (the fake kernel behind ring/kernel.h) and peers. The system table of sim/sys_sim.c acts on
 * the current world of the thread. Nothing here starts a thread or sleeps.
 *
 * Typical use: world_new, world_enter, open the runtime over world_kernel(), add peers, step the
 * runtime until world_peers_alive() is 0, close it, world_check_quiet, world_free.
 */
#ifndef RINGLINE_SIM_WORLD_H
#define RINGLINE_SIM_WORLD_H

#include "ring/kernel.h"
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>

/* X(NAME, "what is injected") */
#define WORLD_FAULTS(X)                                                        \
	X(DEFER, "an operation that could run now runs later")                 \
	X(HOLD, "the completion of an operation that has run is posted later") \
	X(SHORT_RECV, "a receive takes fewer bytes than there are")            \
	X(SHORT_SEND, "a send takes fewer bytes than there is room")           \
	X(SHORT_WAITALL, "a send with MSG_WAITALL ends short")                 \
	X(ENOBUFS, "a buffer group looks empty")                               \
	X(MULTI_END, "a multishot ends with a good result")                    \
	X(EINTR, "enter is interrupted while it waits")                        \
	X(EBUSY, "enter refuses to submit (EBUSY, EAGAIN)")                    \
	X(PARTIAL, "enter consumes only some of the SQEs")                     \
	X(CANCEL_LATE, "a cancel answers -EALREADY and works later, or not")   \
	X(RESET, "a connection breaks")                                        \
	X(PEER_FIN, "a peer ends its stream before it has sent all")           \
	X(ZC_LATE, "a zero-copy notification waits for the reader")            \
	X(ZC_REFUSED, "a zero-copy send fails without a notification")         \
	X(TIME_JUMP, "the machine stops for seconds")                          \
	X(ACCEPT_ERR, "an accept fails")                                       \
	X(CONNECT_ERR, "a connect fails")                                      \
	X(FILE_SHORT, "a read or write of a file moves fewer bytes")           \
	X(FILE_EIO, "a read, a write or a sync of a file fails")               \
	X(FILE_FULL, "the disk or the quota is full")                          \
	X(SEND_ERR, "a send is refused for the moment")                        \
	X(RECV_ERR, "a receive is interrupted")

enum world_fault {
#define WORLD_FAULT_ENUM(id, what) FAULT_##id,
	WORLD_FAULTS(WORLD_FAULT_ENUM)
#undef WORLD_FAULT_ENUM
		FAULT_COUNT
};
const char *world_fault_name(enum world_fault f);

/*
 * What may happen to a connection, or to the worker it is on, at a bad moment: what is injected,
 * and what peers and full queues do. X(NAME, "in words")
 */
#define WORLD_HITS(X)                                                          \
	X(DEFER, "an operation that could run now runs later")                 \
	X(HOLD, "the completion of an operation that has run is posted later") \
	X(SHORT_RECV, "a receive takes fewer bytes than there are")            \
	X(SHORT_SEND, "a send takes fewer bytes than there is room")           \
	X(SHORT_WAITALL, "a send with MSG_WAITALL ends short")                 \
	X(SEND_ERR, "a send is refused for the moment")                        \
	X(RECV_ERR, "a receive is interrupted")                                \
	X(NOBUFS, "a receive finds no buffer")                                 \
	X(MULTI_END, "a multishot ends with a good result")                    \
	X(ZC_LATE, "a zero-copy notification waits for the reader")            \
	X(ZC_REFUSED, "a zero-copy send fails and owes no notification")       \
	X(ZC_DENIED, "a zero-copy send fails and owes one")                    \
	X(ACCEPT_ERR, "an accept fails")                                       \
	X(CONNECT_ERR, "a connect fails")                                      \
	X(GIVE_ERR, "a connection cannot be passed to another ring")           \
	X(CANCEL, "a cancel ends an operation")                                \
	X(CANCEL_PART, "a cancel ends an operation that had moved bytes")      \
	X(CANCEL_LATE, "a cancel answers -EALREADY and works later, or not")   \
	X(CANCEL_MISS, "a cancel finds its operation run already")             \
	X(OVERFLOW, "a completion finds the completion queue full")            \
	X(PARTIAL, "enter does not consume an operation yet")                  \
	X(EBUSY, "enter refuses to submit (EBUSY, EAGAIN)")                    \
	X(EINTR, "enter is interrupted while it waits")                        \
	X(FIN, "the peer ends its stream")                                     \
	X(RESET, "a reset arrives")                                            \
	X(TIMEOUT, "the network gives the connection up")                      \
	X(FREEZE, "the machine stops for seconds")                             \
	X(STALL, "one worker stops for long, the others do not")               \
	X(ALLOC, "an allocation fails")

enum world_hit {
#define WORLD_HIT_ENUM(id, what) HIT_##id,
	WORLD_HITS(WORLD_HIT_ENUM)
#undef WORLD_HIT_ENUM
		HIT_COUNT
};

/* Whom it hits, as far as the kernel's side can tell. */
struct world_where {
	int ring_fd;	    /* -1: every ring; 0: that of whoever runs */
	int slot;	    /* direct descriptor of that ring; -1: see user_data */
	uint64_t user_data; /* of the operation; 0 (and no slot): all of the ring */
};

/* What every run must keep. X(NAME, "in words") */
#define WORLD_PROPS(X)                                                                     \
	X(P1, "exactly once: one terminal event per operation, call, release and message") \
	X(P2, "kernel-owned memory is neither touched nor freed")                          \
	X(P3, "byte streams arrive whole and in order")                                    \
	X(P4, "quiescence: at the end everything is home")                                 \
	X(P5, "no lost wakeup: who waits has something to wait for")                       \
	X(P6, "liveness: when faults stop, everything ends")                               \
	X(P7, "no spin: work is bounded by what happens")                                  \
	X(P8, "fairness: who is ready is served")                                          \
	X(P9, "bounds: memory, queues, lateness")                                          \
	X(P10, "errors are told, and stay: no end of stream after a reset")                \
	X(P11, "timers are never early, and fire once")                                    \
	X(P12, "order: the sends of a connection leave in call order")                     \
	X(P13, "determinism: a seed is a run")

enum world_prop {
#define WORLD_PROP_ENUM(id, what) PROP_##id,
	WORLD_PROPS(WORLD_PROP_ENUM)
#undef WORLD_PROP_ENUM
		PROP_COUNT
};
const char *world_prop_text(enum world_prop p);

enum world_rate {
	RATE_SEED, /* off, rare or frequent: the seed decides */
	RATE_OFF,
	RATE_RARE,     /* 1 in 128 */
	RATE_FREQUENT, /* 1 in 6 */
	RATE_ALWAYS
};

/* Which Linux this world's is, where they differ. Kept to what conformance.h found them to do. */
enum world_linux { LINUX_SEED, LINUX_6_1, LINUX_6_12, LINUX_6_18, LINUX_7_2, LINUX_COUNT };

struct caps;
struct world;
struct sim_ring;
struct sim_peer;

struct world_config {
	uint8_t version;	    /* enum world_linux; LINUX_SEED: one of them, by seed */
	uint8_t fault[FAULT_COUNT]; /* enum world_rate */
	size_t rcvbuf, sndbuf;	    /* of simulated sockets; 0: by seed */
	uint64_t disk_pages;	    /* of 4 KiB, for all files; 0: as many as there is memory */
	unsigned fail_alloc;	    /* the i-th allocation of the system table fails; 0: none */
	uint64_t calm_at;	    /* faults stop at this enter; 0: never by themselves */
	unsigned fail_call;	    /* the i-th ring set-up or register call fails; 0: none */
	int fail_errno;		    /* with this; 0: ENOMEM */
	/* Must not return to the world. NULL: prints the seed and aborts. */
	void (*on_fail)(struct world *w, const char *what, void *ctx);
	/*
	 * Runs while a ring waits, before the clock moves: what other threads do meanwhile. May
	 * step other rings, which must not wait. Returns when it wants to run again at the latest
	 * (INT64_MAX: other rings and peers tell). NULL: this ring is alone.
	 */
	int64_t (*on_wait)(struct world *w, void *ctx);
	/* What sys_resolve() answers, on a helper thread. NULL: no host has an address. */
	int (*resolve)(struct world *w, const char *host, uint16_t port,
		       struct sockaddr_storage *out, int max);
	/*
	 * Simulated threads. block: suspends the caller until something may have happened at ring r
	 * or deadline has come, and moves the clock; instead of on_wait. preempt: called by each
	 * enter, lets others run. Either may return on its caller's stack only.
	 */
	void (*block)(struct world *w, struct sim_ring *r, int64_t deadline, void *ctx);
	void (*preempt)(struct world *w, void *ctx);
	/* A hit, just before it happens. For those who count: must change nothing. NULL: nobody. */
	void (*on_hit)(struct world *w, enum world_hit h, const struct world_where *at);
	unsigned alloc_one_in; /* allocations fail by chance; 0: none */
	bool rings_by_hand;    /* on_wait speaks for the other rings as well (world_ring_next) */
	/* A PEER_DRINK got other bytes there than it should: may name a narrower property than P3.
	 */
	void (*on_other)(struct world *w, const struct sim_peer *p, size_t at, const uint8_t *got,
			 size_t n, void *ctx);
	bool lost_cancels; /* a late cancel may never work: harsher than any kernel has shown */
	bool judge;	   /* requests in vain and late FINs fail the world: P7, P9 */
	void *ctx;
};

struct world_stats {
	uint64_t enters, sqes, cqes, overflows, accepts, connects, killed;
	uint64_t kept_max; /* files that emptied slots still held, at one time */
	uint64_t resets, bytes_received;
	uint64_t fault[FAULT_COUNT];
	uint64_t cancel_partial;
	uint64_t calls, allocs; /* set-up and register calls; allocations: bounds of fail_* */
	uint64_t allocs_failed;
};

struct world *world_new(uint64_t seed, const struct world_config *cfg); /* cfg may be NULL */
void world_free(struct world *w);
/* Make w the current world of this thread (NULL: none). Returns the one before. */
struct world *world_enter(struct world *w);
struct world *world_current(void);
enum world_linux world_version(const struct world *w); /* never LINUX_SEED */
/* The fake kernel. Acts on the current world, which must be the one that made the ring. */
const struct ring_kernel *world_kernel(struct world *w);
/* What the fake kernel of this world can do, in part by seed: what caps_probe() would find. */
void world_caps(struct world *w, struct caps *out);
const struct world_stats *world_stats(const struct world *w);
/* Of every CQE (request number, result, flags) so far: equal for equal seeds. */
uint64_t world_hash(const struct world *w);
/* Fails the world: for oracles of tests. */
void world_fail(struct world *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* The same, naming the property. */
void world_violates(struct world *w, enum world_prop p, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* Keep the last events as text from here on; world_trace_print() shows them. */
void world_trace_keep(struct world *w);
void world_trace_print(const struct world *w);

int64_t world_now(const struct world *w);
/* Bytes the system table has handed out by sys_alloc() and its kin; no mappings. */
size_t world_alloc_bytes(const struct world *w);
/* A number below n (n > 0) from the world's generator. */
uint64_t world_rand(struct world *w, uint64_t n);
/* When something happens next that is not a runtime's doing; INT64_MAX: never. */
int64_t world_next(const struct world *w);
/* When something happens next on that ring; INT64_MAX: not without others. */
int64_t world_ring_next(const struct world *w, int ring_fd);
/* Advance the clock to t (never back) and let everything due by then happen. */
void world_run_until(struct world *w, int64_t t);
/* A signal comes: whoever watches it hears of it. Returns how many do. */
unsigned world_signal(struct world *w, int signo);
/* From here on one allocation in n fails, until the world is calm; 0: none. */
void world_scarce(struct world *w, unsigned one_in);
/* Faults off from here on: everything must come to its end now. */
void world_calm(struct world *w);
/*
 * Nothing is out: no descriptor, ring, operation, buffer, mapping or allocation of the system
 * table, and every peer is gone. False: what is left stands in why.
 */
bool world_check_quiet(struct world *w, char *why, size_t cap);

/* ---- the disk */
/*
 * The power fails: rings, descriptors and connections are gone, whatever was under way. Of files
 * and names that is left which was synced, and by chance any part of the rest. The program's memory
 * is the caller's affair; what it starts next finds the files.
 */
void world_power_loss(struct world *w);

/* ---- sockets, for oracles */
struct sim_peer;
struct world_sock {
	bool fin;	       /* the far end said that nothing more comes */
	bool broken;	       /* reset, or given up by the network */
	size_t unread, window; /* bytes; the most that can be, SIZE_MAX: the far end is gone */
	struct sim_peer *far;  /* the program at the other end, if it still has it */
};
/* What the world knows of the socket in a direct slot of a ring. False: there is none. */
bool world_sock_in(const struct world *w, int ring_fd, unsigned slot, struct world_sock *out);

/* ---- peers: programs at the other end of a connection, driven by the world */
enum peer_kind {
	PEER_NORMAL,	 /* sends, reads the echo, verifies it, ends its stream, reads to EOF */
	PEER_NO_READ,	 /* sends until the window is full, never reads, then goes away */
	PEER_SILENT,	 /* neither, then goes away */
	PEER_RESET,	 /* normal until it resets at some point */
	PEER_HALF_CLOSE, /* normal, but its FIN follows the last byte at once */
	PEER_SLOW,	 /* normal, a byte at a time with long pauses */
	PEER_ECHO,	 /* reads and sends back until EOF: the far end of connects */
	PEER_DRINK,	 /* only reads, when its thirst says so, and verifies peer_poured() */
	PEER_SCRIPT,	 /* does nothing but what peer_send() and the like make it do */
	PEER_KIND_COUNT
};

enum peer_end {
	PEER_ALIVE,
	PEER_CLEAN,   /* EOF after everything came back */
	PEER_SHORT,   /* EOF before that */
	PEER_BROKEN,  /* reset or timed out, or it reset the connection itself */
	PEER_REFUSED, /* could not connect */
	PEER_LEFT     /* closed by its own will */
};

/* When a PEER_DRINK reads. */
enum peer_thirst {
	THIRST_ALWAYS,
	THIRST_LITTLE, /* a few bytes at a time, with pauses */
	THIRST_LATE,   /* not before a time that the seed gives, up to 20 s after it connected */
	THIRST_FIN,    /* not before it has the FIN, or the sender has no room left */
	THIRST_NEVER   /* not before its connection has ended */
};

struct peer_config {
	enum peer_kind kind;
	enum peer_thirst thirst;
	size_t bytes;	  /* to send in all */
	int64_t delay_ns; /* before it connects */
	int64_t life_ns;  /* PEER_SILENT, PEER_NO_READ: until it goes away; 0: by seed */
	const char *name; /* connects to that abstract unix socket, not to the port; outlives it */
	bool strict;	  /* PEER_SHORT, PEER_BROKEN or PEER_REFUSED fails the world */
};

/* A client of the listener at that port (IPv4, as bound), or name. Owned by the world. */
struct sim_peer *world_peer(struct world *w, uint16_t port, const struct peer_config *cfg);
/* The kind by seed, each kind in n worlds of four. */
enum peer_kind world_peer_kind(struct world *w);
/* A server at port: every connect to it meets a new peer of this kind. */
void world_remote(struct world *w, uint16_t port, const struct peer_config *cfg);
unsigned world_peers_alive(const struct world *w);
/* How many peers of kind (PEER_KIND_COUNT: of any) ended like that. */
unsigned world_peers_ended(const struct world *w, enum peer_kind kind, enum peer_end end);
enum peer_end peer_end(const struct sim_peer *p);
size_t peer_received(const struct sim_peer *p);
/* The byte at a place of the stream that p expects; of no one's if p is NULL. */
uint8_t peer_poured(const struct sim_peer *p, size_t at);
/* What comes after that place is not compared: what was to stand there was given up. */
void peer_gap(struct sim_peer *p, size_t at);
/* The last one that connected or was connected to; NULL: none. */
struct sim_peer *world_last_peer(struct world *w);

/* PEER_SCRIPT. send, recv: bytes, or -errno (-EAGAIN: would wait). */
ssize_t peer_send(struct sim_peer *p, const void *buf, size_t n);
ssize_t peer_recv(struct sim_peer *p, void *buf, size_t n);
bool peer_connected(const struct sim_peer *p);
void peer_fin(struct sim_peer *p);
void peer_rst(struct sim_peer *p);
void peer_close(struct sim_peer *p);

#endif
