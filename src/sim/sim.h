/*
 * The inside of the simulator: descriptors, sockets, requests, rings. Shared by the files of sim/
 * only; tests use sim/world.h.
 *
 * A request's life: taken from the SQ, prepared (pointers it names are copied or noted), issued
 * (pending), run (its effect has happened), posted (its CQE is visible), freed. A request of a
 * chain waits for the one before it; a zero-copy send lives until its notification is posted.
 */
#ifndef RINGLINE_SIM_SIM_H
#define RINGLINE_SIM_SIM_H

#include "base/list.h"
#include "ring/uapi.h"
#include "sim/world.h"
#include <netinet/in.h>
#include <sys/un.h>

#define SIM_FDS 4096
#define SIM_IOV 32
#define SIM_PAGE 4096
#define SIM_NEVER INT64_MAX

static inline unsigned list_count(const struct list *l)
{
	unsigned n = 0;

	list_for_each (node, l)
		n++;
	return n;
}

struct sim_req;
struct sim_ring;
struct sim_peer;
struct disk;
struct disk_open;

/* ---- descriptors */
enum sim_kind { SIM_SOCK, SIM_EVENT, SIM_RING, SIM_DISK };

struct sim_file {
	unsigned refs; /* descriptor numbers, direct slots, requests */
	enum sim_kind kind;
	union {
		struct sim_sock *sock;
		struct sim_ring *ring;
		struct disk_open *open;
		uint64_t count; /* eventfd */
	};
};

/* ---- sockets */
enum sock_state { SOCK_NEW, SOCK_LISTEN, SOCK_CONNECTED, SOCK_DEAD };

/* Bytes on their way to a reader: a copy, or still in the memory of a zero-copy send. */
struct sim_seg {
	struct list node;
	size_t off, len;
	struct sim_req *zc;  /* NULL: copied */
	const uint8_t *from; /* zc: the sender's memory */
	uint8_t copy[];
};

struct sim_sock {
	struct list node; /* world.socks */
	struct list wait; /* in a listener's backlog */
	struct world *w;
	struct sim_sock *other; /* the far end; NULL: none or closed */
	struct sim_peer *actor; /* the peer that owns this end */
	struct list backlog;
	struct list rx; /* unread: the far end's send buffer and our receive buffer in one */
	size_t rx_bytes, rcvbuf, sndbuf;
	unsigned backlog_len, backlog_max, id;
	int family, type, err; /* err: told once, to whoever asks first */
	enum sock_state state;
	bool fin_in;   /* FIN follows the last byte of rx */
	bool fin_said; /* the far end sent it; fin_in stands for a reset, too */
	bool rd_shut, wr_shut, bound, reuseport;
	bool hup;      /* broken: reads end, writes fail */
	bool ended;    /* FIN came before whatever broke it: reads end, they do not fail */
	unsigned news; /* how often something came in: a multishot poll tells each */
	struct sockaddr_storage name, peer_name;
	socklen_t name_len, peer_name_len;
};

/* ---- requests and rings */
enum req_state { REQ_CHAINED, REQ_PENDING, REQ_RUN, REQ_NOTIF };

/* What only operations on files need. */
struct req_disk {
	char *path[2];
	uint64_t upto, changes; /* sync: of the disk, when it was asked for */
	bool again;		/* a direct write: looked at once more when it completes */
	uint64_t off;
	size_t bytes;
};

struct sim_req {
	struct list node; /* pending, run or notifs of its ring */
	struct sim_ring *ring;
	const struct sim_op *op; /* NULL: an opcode nobody knows */
	struct sim_file *file;
	int64_t hold;	   /* not before this time */
	int64_t due;	   /* timeouts */
	int64_t cancel_at; /* a late cancel takes effect then; 0: none */
	enum req_state state;
	bool decided, punted; /* punted: a worker thread of the kernel runs it */
	bool fail;	      /* short with MSG_WAITALL: breaks its chain */
	bool tried, zc_decided, zc_late, refused;
	int64_t asked; /* when it was submitted */
	struct io_uring_sqe sqe;
	uint64_t seq;
	struct sim_req *next;	 /* of its chain */
	struct sim_req *timeout; /* the link timeout that watches this one */
	struct sim_req *watched; /* link timeout: whom it watches */
	uint64_t sum;		 /* zc_late: of its memory, when it was first sent from */
	bool stray;		 /* zero-copy: a notification will come that no F_MORE announced */
	bool ended;		 /* the stream, of a multishot recvmsg */
	uint16_t first;		 /* buffer of a send */
	uint32_t name_room, control_room; /* recvmsg into a provided buffer */
	int64_t every;			  /* timeouts: what the program gave */
	size_t total, done;
	unsigned iovs, zc_segs;
	int32_t res;
	uint32_t flags;
	uint32_t latched; /* poll: events seen when they happened */
	uint32_t told;	  /* multishot poll: events reported and still there */
	unsigned news;	  /* of the socket, when told */
	struct req_disk *disk;
	/* not cleared: set with iovs, and for a connect */
	struct iovec iov[SIM_IOV];
	struct sockaddr_storage addr;
};

/* A provided buffer group. */
struct sim_group {
	struct io_uring_buf_ring *br;
	unsigned entries;
	uint16_t bgid, head, seen; /* [head, seen) is known to be the kernel's */
	struct sim_buf {
		uint8_t *addr;
		uint32_t len;
		bool kernel;
	} * buf; /* by buffer id: what was last published */
	unsigned buf_count;
};
#define SIM_GROUPS 16

/* A completion that is not visible yet. */
struct sim_cqe {
	struct list node;
	uint64_t user_data, seq; /* seq: of its request */
	int32_t res;
	uint32_t flags;
};

struct sim_ring {
	struct list node; /* world.rings */
	struct world *w;
	struct sim_file *self;
	int fd;
	unsigned id, setup;
	/* what the program sees of it (ring_show()) */
	unsigned sq_head, sq_tail, sq_flags, sq_mask, sq_entries, dropped;
	unsigned cq_head, cq_tail, cq_flags, cq_mask, cq_entries, overflow;
	unsigned *array; /* NULL: IORING_SETUP_NO_SQARRAY */
	struct io_uring_sqe *sqes;
	struct io_uring_cqe *cqes;
	bool disabled, fd_registered;
	uint32_t posted, expired; /* completions in all; of timeouts whose time had come */
	unsigned counting;	  /* timeouts that wait for completions */
	bool restricted;	  /* to the opcodes of these bits, from when it is enabled */
	uint64_t allowed_sqe, allowed_register;
	struct list pending, run, notifs;
	struct list backlog; /* CQEs that found the CQ full */
	struct list msgs;    /* CQEs from other rings, seen at the next enter */
	struct list removed; /* files of emptied slots that are still held, oldest first */
	struct sim_file **files;
	unsigned file_count, alloc_off, alloc_len, alloc_hint;
	struct iovec *bufs;
	unsigned buf_count;
	struct sim_group group[SIM_GROUPS];
	unsigned group_end;   /* none from there on is in use */
	uint64_t groups_used; /* bits of group numbers that were unregistered */
};

/* ---- the world */
struct sim_alloc {
	struct list node;
	size_t bytes;
	void *base;
};

struct sim_remote {
	struct sim_remote *next;
	uint16_t port;
	struct peer_config cfg;
};

enum sim_order { ORDER_ANY, ORDER_OLDEST, ORDER_NEWEST };

struct world {
	uint64_t seed, rng[4], hash, req_seq;
	int64_t now;
	struct world_config cfg;
	uint8_t rate[FAULT_COUNT];
	struct world_stats stats;
	struct sim_file **fd;
	unsigned fd_end; /* of the table, which grows up to SIM_FDS */
	unsigned fds_open, ring_ids, sock_ids, conn_ids;
	struct list socks, rings, peers;
	struct list allocs, maps, spare_reqs;
	struct list jobs; /* of helper threads: soonest first */
	struct sim_watch *watches;
	struct sim_remote *remotes;
	struct sim_peer *last_peer;
	unsigned peers_alive;
	unsigned order;	 /* in which ready operations run: enum sim_order, beyond it any */
	int64_t latency; /* longest ordinary delay */
	enum world_linux version;
	unsigned held;	    /* entries of all rings' removed */
	unsigned inline_in; /* 1 in n operations is not tried at submission; 0: all are */
	bool trace, zero_with_buffer;
	struct sim_tracing *kept;
	struct sim_judge *judge; /* NULL: nobody is judged */
	uint64_t fault_rng[FAULT_COUNT];
	struct disk *disk; /* NULL: nobody has looked at it */
};

/* world.c: the current one, of which there must be one */
struct world *world_here(void);

/* sim_rand.c */
void rand_seed(struct world *w, uint64_t seed);
static inline uint64_t rand_rotl(uint64_t x, int k)
{
	return x << k | x >> (64 - k);
}
/* xoshiro256** */
static inline uint64_t rand_next(struct world *w)
{
	uint64_t *s = w->rng;
	uint64_t result = rand_rotl(s[1] * 5, 7) * 9, t = s[1] << 17;

	s[2] ^= s[0];
	s[3] ^= s[1];
	s[1] ^= s[2];
	s[0] ^= s[3];
	s[2] ^= t;
	s[3] = rand_rotl(s[3], 45);
	return result;
}
static inline bool chance(struct world *w, unsigned one_in)
{
	return one_in && rand_next(w) % one_in == 0;
}
bool fault_drawn(struct world *w, enum world_fault f);
/* Is this fault due now? Counted. */
static inline bool fault(struct world *w, enum world_fault f)
{
	return w->rate[f] > RATE_OFF && fault_drawn(w, f);
}
int64_t latency(struct world *w);
size_t rand_size(struct world *w, size_t max); /* 1..max, small ones more often */
void trace_line(struct world *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Costs one branch when nobody looks. */
#define sim_trace(w, ...) ((w)->trace || (w)->kept ? trace_line(w, __VA_ARGS__) : (void)0)

/* sim_hit.c: whoever counts hits is told. Each costs one branch when nobody does. */
void hit_tell_req(const struct sim_req *q, enum world_hit h);
void hit_tell_sock(const struct sim_sock *s, enum world_hit h);
void hit_tell_queued(const struct sim_ring *r, enum world_hit h);
void hit_tell(struct world *w, enum world_hit h, int ring_fd, uint64_t user_data);
/* The operation; the connection whose end s is; what stands in the SQ; a ring (-1: all). */
#define hit_req(q, h) ((q)->ring->w->cfg.on_hit ? hit_tell_req((q), (h)) : (void)0)
#define hit_sock(s, h) ((s)->w->cfg.on_hit ? hit_tell_sock((s), (h)) : (void)0)
#define hit_queued(r, h) ((r)->w->cfg.on_hit ? hit_tell_queued((r), (h)) : (void)0)
#define hit_ring(w, h, fd) ((w)->cfg.on_hit ? hit_tell((w), (h), (fd), 0) : (void)0)

/* sim_file.c */
struct sim_file *file_new(enum sim_kind kind);
static inline struct sim_file *file_ref(struct sim_file *f)
{
	f->refs++;
	return f;
}
void file_put(struct world *w, struct sim_file *f);
int fd_install(struct world *w, struct sim_file *f); /* takes the reference; -EMFILE: not */
struct sim_file *fd_get(const struct world *w, int fd);
int fd_close(struct world *w, int fd);
void fds_close(struct world *w); /* all of them */
/* Direct slots. slot_install takes the reference of f in every outcome. */
int slot_install(struct sim_ring *r, struct sim_file *f, uint32_t file_index);
int slot_remove(struct sim_ring *r, unsigned slot);
/* The file of a slot that is emptied or replaced; on older kernels it stays for a while. */
void slot_put(struct sim_ring *r, struct sim_file *f);
/* Let go of such files whose time has come; of r, all of them. */
void slots_release(struct world *w);
void slots_release_all(struct sim_ring *r);
int64_t slots_next(const struct world *w);

/* sim_sock.c */
struct sim_sock *sock_new(struct world *w, int family, int type);
void sock_close(struct sim_sock *s);
int sock_bind(struct sim_sock *s, const struct sockaddr *sa, socklen_t n);
int sock_listen(struct sim_sock *s, int backlog);
/* The far end meets a listener or a remote of the world. 0, -ECONNREFUSED, -EAGAIN: backlog full */
int sock_connect(struct sim_sock *s, const struct sockaddr *sa, socklen_t n);
struct sim_sock *sock_accept(struct sim_sock *s); /* NULL: nobody waits */
size_t sock_room(const struct sim_sock *s);
/* -EAGAIN, -EPIPE, ...; zc: bytes stay in the sender's memory until they are read */
ssize_t sock_send(struct sim_sock *s, const void *p, size_t n, struct sim_req *zc);
ssize_t sock_recv(struct sim_sock *s, void *p, size_t n);
static inline bool sock_readable(const struct sim_sock *s)
{
	if (s->state == SOCK_LISTEN)
		return !list_empty(&s->backlog);
	return s->rx_bytes || s->err || s->fin_in || s->rd_shut || s->hup ||
	       s->state != SOCK_CONNECTED;
}
bool sock_writable(const struct sim_sock *s);
int sock_shutdown(struct sim_sock *s, int how);
void sock_reset(struct sim_sock *s); /* by our own will: RST to the far end */
void sock_break(struct sim_sock *s, int err, bool tell_other); /* something on the way broke it */
int sock_error(struct sim_sock *s);			       /* the error, once; 0: none */
unsigned sock_poll(const struct sim_sock *s);
size_t sock_outq(const struct sim_sock *s);
/* Ring r goes away: bytes that stand in its zero-copy senders' memory are copied. */
void socks_detach(struct world *w, const struct sim_ring *r);

/* sim_peer.c */
struct sim_peer *peer_accept(struct world *w, struct sim_sock *s, const struct peer_config *cfg);
void peer_wake(struct sim_peer *p);
int64_t peers_next(const struct world *w);
void peers_run(struct world *w);
void peers_free(struct world *w);
void peer_sock_closed(struct sim_peer *p);

/* sys_sim.c: this allocation or mapping is one that fails */
bool alloc_fails(struct world *w);

/* sim_map.c */
/* Fails the world when a mapping was written to after its end. */
void maps_check(struct world *w);
/* Of a run that was abandoned: unmap all. */
void maps_drop(struct list *maps);

/* sys_sim_pool.c: jobs of helper threads */
int64_t jobs_next(const struct world *w);
void jobs_run(struct world *w); /* what is due */
void jobs_free(struct world *w);

/* sys_sim_signal.c */
void watches_free(struct world *w);

/* sim_mem.c: who owns memory */
extern const bool mem_poisons; /* AddressSanitizer sees a touch of what is the kernel's */
/* What q fills is the kernel's; or the program may, or the kernel itself must, look at it. */
void mem_req_own(const struct sim_req *q);
void mem_req_open(const struct sim_req *q);
/* A number for the bytes of q's memory. */
uint64_t mem_req_sum(const struct sim_req *q);
void mem_kernel(void *p, size_t n); /* poison */
void mem_user(void *p, size_t n);   /* unpoison */
/* The program gives [p, p+n) back: fails the world when the kernel may still use it. */
void mem_check_free(struct world *w, const void *p, size_t n);
struct sim_group *group_find(struct sim_ring *r, uint16_t bgid);
/* Look at newly published buffers of every group. */
void groups_look(struct sim_ring *r);
/* Next free buffer, not yet taken. NULL: none. */
struct sim_buf *group_peek(struct sim_ring *r, uint16_t bgid, uint16_t *bid);
void group_take(struct sim_ring *r, uint16_t bgid, size_t used);
int group_register(struct sim_ring *r, const struct io_uring_buf_reg *reg);
int group_unregister(struct sim_ring *r, uint16_t bgid);

/* kernel_sim_ring.c */
struct sim_ring *ring_of(struct io_uring *u);
void ring_destroy(struct sim_ring *r);
/* Make a completion visible (or queue it when the CQ is full). False: it went to the backlog. */
bool ring_post(struct sim_ring *r, uint64_t user_data, int32_t res, uint32_t flags, uint64_t seq);
/* A message from another ring: seen when r's owner enters. */
void ring_message(struct sim_ring *r, uint64_t user_data, int32_t res, uint32_t flags,
		  uint64_t seq);
bool ring_cq_full(const struct sim_ring *r);
int64_t ring_next(const struct sim_ring *r);
/* Is there a completion to reap? Without DEFER_TASKRUN those that are due are made by this. */
bool ring_readable(struct sim_ring *r);

/* kernel_sim_reg.c */
int sim_register(struct io_uring *u, unsigned opcode, void *arg, unsigned nr);

/* sim_req.c */
struct sim_req *req_new(struct sim_ring *r, const struct io_uring_sqe *sqe);
void req_free(struct sim_req *q);
void reqs_free(struct world *w); /* the memory of those that were freed */
/* Start a chain (or a single request); err: the first cannot even be prepared. */
void req_start(struct sim_req *q, int err);
/* The effect of q has happened: result known, CQE to come. */
void req_finish(struct sim_req *q, int32_t res, uint32_t flags);
/* Let pending requests of r run that can, in the order the seed likes. */
void reqs_run(struct sim_ring *r);
/* Post what has run, but for what is held. */
void reqs_post(struct sim_ring *r);
bool req_multishot(const struct sim_req *q);

/* sim_prop.c */
void judge_new(struct world *w);
void judge_free(struct world *w);
/* The clock jumps: what a program has read of it is wrong. */
void judge_forget(struct world *w);
/* P7: q ends with the error res. */
void judge_refused(const struct sim_req *q, int32_t res);
/* P9: the file of a slot that was emptied then loses its last holder but the caller. */
void judge_let_go(struct world *w, const struct sim_file *f, int64_t emptied);

/* sim_ops.c, sim_ops_net.c */
enum { RUN_WAIT = 1, RUN_DONE = 2, RUN_MORE = 3 };
struct sim_op {
	int (*prep)(struct sim_req *q);	  /* 0 or the errno of the CQE; NULL: nothing */
	bool (*ready)(struct sim_req *q); /* would run() do something now? NULL: always */
	int (*run)(struct sim_req *q);	  /* RUN_*; DONE: has called req_finish */
	bool needs_file;
	bool at_once; /* runs at submission, always */
	bool worker;  /* a worker thread of the kernel runs it, always */
	bool fills;   /* the memory of its iov */
};
const struct sim_op *sim_op(unsigned opcode);
bool sim_knows(const struct world *w, unsigned opcode);
/* May it take its memory from a group of provided buffers? */
bool sim_selects(const struct world *w, unsigned opcode);
extern const struct sim_op op_accept, op_recv, op_recvmsg, op_send, op_sendmsg, op_send_zc,
	op_sendmsg_zc, op_connect, op_shutdown, op_socket, op_socket_cmd;

/* sim_ops_disk.c, sim_ops_rw.c */
extern const struct sim_op op_openat, op_statx, op_unlinkat, op_mkdirat, op_renameat, op_linkat,
	op_fsync, op_fallocate, op_ftruncate, op_read, op_read_multi, op_write;
struct req_disk *req_disk(struct sim_req *q);
void req_disk_free(struct sim_req *q);
void sync_begin(struct sim_req *q);
void req_write_again(struct sim_req *q);

/* sim_ops_time.c, sim_ops_poll.c */
extern const struct sim_op op_timeout, op_link_timeout, op_timeout_remove, op_poll, op_poll_remove;
void timeout_begin(struct sim_req *q);
void timeout_end(struct sim_req *q);
void timeouts_count(struct sim_ring *r);

/* sim_cancel.c */
extern const struct sim_op op_cancel_sim;
/* End a pending request as a cancel does: 0, or -EALREADY when it takes effect later. */
int req_cancel(struct sim_req *q);
int cancel_sync(struct sim_ring *r, struct io_uring_sync_cancel_reg *reg);

#endif
