/*
 * The yardstick: the least that serves echo on io_uring. One thread, one ring, multishot accept
 * into direct descriptors, multishot receive from a provided-buffer ring, one send a connection at
 * a time straight from the receive buffer, everything of a turn in one io_uring_enter. No memory is
 * copied or allocated a request. It has no timeouts, no backpressure and no limits: a peer that
 * does not read holds buffers until there are none.
 *
 * Uses the kernel's ring itself; of liburing only helpers in its header.
 * usage: raw_uring_echo [PORT]     SIGUSR1 prints the counted system calls, SIGTERM ends.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <liburing.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { SQ = 1024, CQ = 4096, CONNS = 4096, BUFS = 1024, BUF_BYTES = 4096, GROUP = 0 };
enum { SETUP_NO_SQARRAY = 1 << 16 }; /* Linux 6.6 */
enum kind { ACCEPT, RECV, SEND, CLOSE, SIGNAL };

struct conn {
	uint16_t first, last; /* buffers to send, linked through next[]; NONE */
	uint32_t off;	      /* of the first, sent already */
	bool sending, eof, dead, receiving;
};

#define NONE UINT16_MAX

static struct io_uring ring;
static struct io_uring_buf_ring *bufs;
static uint8_t *memory;
static uint16_t next[BUFS];
static uint32_t length[BUFS];
static struct conn conns[CONNS];
static unsigned long long syscalls;
static struct signalfd_siginfo signal_info;
static bool ended;

static void die(const char *what, int err)
{
	fprintf(stderr, "raw_uring_echo: %s: %s\n", what, strerror(err));
	exit(2);
}

static int enter(unsigned submit, unsigned wait)
{
	syscalls++;
	return (int)syscall(__NR_io_uring_enter, ring.enter_ring_fd, submit, wait,
			    IORING_ENTER_GETEVENTS |
				    (ring.int_flags ? IORING_ENTER_REGISTERED_RING : 0),
			    NULL, 0);
}

static unsigned publish(void)
{
	unsigned n = ring.sq.sqe_tail - ring.sq.sqe_head;

	ring.sq.sqe_head = ring.sq.sqe_tail;
	__atomic_store_n(ring.sq.ktail, ring.sq.sqe_tail, __ATOMIC_RELEASE);
	return n;
}

static struct io_uring_sqe *sqe_of(enum kind kind, unsigned slot)
{
	struct io_uring_sqe *sqe;

	while (ring.sq.sqe_tail - __atomic_load_n(ring.sq.khead, __ATOMIC_ACQUIRE) == SQ)
		enter(publish(), 0);
	sqe = &ring.sq.sqes[ring.sq.sqe_tail++ & (SQ - 1)];
	memset(sqe, 0, sizeof *sqe);
	sqe->user_data = (uint64_t)kind << 32 | slot;
	return sqe;
}

static void *map(int fd, off_t at, size_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, at);

	if (p == MAP_FAILED)
		die("mmap", errno);
	return p;
}

static void register_or_die(const char *what, unsigned op, void *arg, unsigned n)
{
	if (syscall(__NR_io_uring_register, ring.ring_fd, op, arg, n) < 0)
		die(what, errno);
}

static void open_ring(void)
{
	struct io_uring_params p = { .flags = IORING_SETUP_SINGLE_ISSUER |
					      IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_SUBMIT_ALL |
					      IORING_SETUP_CQSIZE | SETUP_NO_SQARRAY,
				     .cq_entries = CQ };
	struct io_uring_rsrc_update own = { .offset = ~0u };
	char *queues;

	ring.ring_fd = (int)syscall(__NR_io_uring_setup, SQ, &p);
	if (ring.ring_fd < 0)
		die("io_uring_setup (Linux 6.6 is needed)", errno);
	queues = map(ring.ring_fd, IORING_OFF_SQ_RING,
		     p.cq_off.cqes + CQ * sizeof(struct io_uring_cqe));
	ring.sq.sqes = map(ring.ring_fd, IORING_OFF_SQES, SQ * sizeof(struct io_uring_sqe));
	ring.sq.khead = (unsigned *)(queues + p.sq_off.head);
	ring.sq.ktail = (unsigned *)(queues + p.sq_off.tail);
	ring.cq.khead = (unsigned *)(queues + p.cq_off.head);
	ring.cq.ktail = (unsigned *)(queues + p.cq_off.tail);
	ring.cq.cqes = (struct io_uring_cqe *)(queues + p.cq_off.cqes);
	own.data = (uint64_t)ring.ring_fd;
	ring.enter_ring_fd = ring.ring_fd;
	if (syscall(__NR_io_uring_register, ring.ring_fd, IORING_REGISTER_RING_FDS, &own, 1) == 1) {
		ring.enter_ring_fd = (int)own.offset;
		ring.int_flags = 1;
	}
}

static void open_tables(void)
{
	struct io_uring_rsrc_register files = { .nr = CONNS, .flags = IORING_RSRC_REGISTER_SPARSE };
	struct io_uring_buf_reg reg = { .ring_entries = BUFS, .bgid = GROUP };

	bufs = mmap(NULL, BUFS * sizeof(struct io_uring_buf), PROT_READ | PROT_WRITE,
		    MAP_ANONYMOUS | MAP_PRIVATE, -1, 0);
	memory = mmap(NULL, (size_t)BUFS * BUF_BYTES, PROT_READ | PROT_WRITE,
		      MAP_ANONYMOUS | MAP_PRIVATE | MAP_POPULATE, -1, 0);
	if (bufs == MAP_FAILED || memory == MAP_FAILED)
		die("mmap", errno);
	reg.ring_addr = (uint64_t)(uintptr_t)bufs;
	register_or_die("direct descriptors", IORING_REGISTER_FILES2, &files, sizeof files);
	register_or_die("buffer ring", IORING_REGISTER_PBUF_RING, &reg, 1);
	for (int i = 0; i < BUFS; i++)
		io_uring_buf_ring_add(bufs, memory + (size_t)i * BUF_BYTES, BUF_BYTES,
				      (unsigned short)i, BUFS - 1, i);
	io_uring_buf_ring_advance(bufs, BUFS);
}

static int listen_on(int port)
{
	struct sockaddr_in at = { .sin_family = AF_INET,
				  .sin_port = htons((uint16_t)port),
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t n = sizeof at;
	int one = 1, fd = socket(AF_INET, SOCK_STREAM, 0);

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one); /* inherited */
	if (bind(fd, (struct sockaddr *)&at, n) < 0 || listen(fd, 4096) < 0 ||
	    getsockname(fd, (struct sockaddr *)&at, &n) < 0)
		die("listen", errno);
	printf("listening on 127.0.0.1:%d\n", ntohs(at.sin_port));
	fflush(stdout);
	return fd;
}

/* ---- connections */
static void arm_accept(int fd)
{
	struct io_uring_sqe *sqe = sqe_of(ACCEPT, 0);
	uint64_t data = sqe->user_data;

	/* "Any free slot", set here: what the helper makes of it differs between versions. */
	io_uring_prep_multishot_accept_direct(sqe, fd, NULL, NULL, 0);
	sqe->file_index = IORING_FILE_INDEX_ALLOC;
	sqe->user_data = data;
}

static void arm_recv(unsigned slot)
{
	struct io_uring_sqe *sqe = sqe_of(RECV, slot);

	sqe->opcode = IORING_OP_RECV;
	sqe->fd = (int)slot;
	sqe->flags = IOSQE_FIXED_FILE | IOSQE_BUFFER_SELECT;
	sqe->ioprio = IORING_RECV_MULTISHOT;
	sqe->buf_group = GROUP;
	conns[slot].receiving = true;
}

static void free_buffer(unsigned id)
{
	io_uring_buf_ring_add(bufs, memory + (size_t)id * BUF_BYTES, BUF_BYTES, (unsigned short)id,
			      BUFS - 1, 0);
	io_uring_buf_ring_advance(bufs, 1);
}

static void step(unsigned slot)
{
	struct conn *c = &conns[slot];
	struct io_uring_sqe *sqe;

	if (c->sending)
		return;
	if (c->dead) {
		while (c->first != NONE) {
			unsigned id = c->first;

			c->first = next[id];
			free_buffer(id);
		}
	}
	if (c->first != NONE) {
		sqe = sqe_of(SEND, slot);
		sqe->opcode = IORING_OP_SEND;
		sqe->fd = (int)slot;
		sqe->flags = IOSQE_FIXED_FILE;
		sqe->addr = (uint64_t)(uintptr_t)(memory + (size_t)c->first * BUF_BYTES + c->off);
		sqe->len = length[c->first] - c->off;
		sqe->msg_flags = MSG_NOSIGNAL | MSG_WAITALL;
		c->sending = true;
	} else if (c->eof && !c->receiving) {
		sqe = sqe_of(CLOSE, slot);
		sqe->opcode = IORING_OP_CLOSE;
		sqe->file_index = slot + 1;
		c->eof = false;
	}
}

static void accepted(int fd, const struct io_uring_cqe *cqe)
{
	if (cqe->res >= 0 && cqe->res < CONNS) {
		conns[cqe->res] = (struct conn){ .first = NONE, .last = NONE };
		arm_recv((unsigned)cqe->res);
	}
	if (!(cqe->flags & IORING_CQE_F_MORE))
		arm_accept(fd);
}

static void received(unsigned slot, const struct io_uring_cqe *cqe)
{
	struct conn *c = &conns[slot];

	c->receiving = cqe->flags & IORING_CQE_F_MORE;
	if (cqe->res > 0) {
		uint16_t id = (uint16_t)(cqe->flags >> IORING_CQE_BUFFER_SHIFT);

		length[id] = (uint32_t)cqe->res;
		next[id] = NONE;
		if (c->first == NONE)
			c->first = id;
		else
			next[c->last] = id;
		c->last = id;
	}
	if (cqe->res > 0 || cqe->res == -ENOBUFS) {
		if (!c->receiving)
			arm_recv(slot);
	} else {
		c->eof = true;
		c->dead |= cqe->res < 0;
	}
	step(slot);
}

static void sent(unsigned slot, const struct io_uring_cqe *cqe)
{
	struct conn *c = &conns[slot];
	unsigned id = c->first;

	c->sending = false;
	if (cqe->res < 0) {
		c->dead = true; /* the receive ends too */
	} else if ((c->off += (uint32_t)cqe->res) == length[id]) {
		c->first = next[id];
		c->off = 0;
		free_buffer(id);
	}
	step(slot);
}

/* Signals come through the ring: none can slip in between a look and a wait. */
static void arm_signal(int fd)
{
	struct io_uring_sqe *sqe = sqe_of(SIGNAL, 0);

	sqe->opcode = IORING_OP_READ;
	sqe->fd = fd;
	sqe->addr = (uint64_t)(uintptr_t)&signal_info;
	sqe->len = sizeof signal_info;
}

static int open_signals(void)
{
	sigset_t set;
	int fd;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigprocmask(SIG_BLOCK, &set, NULL);
	fd = signalfd(-1, &set, SFD_CLOEXEC);
	if (fd < 0)
		die("signalfd", errno);
	return fd;
}

static void signalled(int fd)
{
	if (signal_info.ssi_signo != SIGUSR1) {
		ended = true;
		return;
	}
	printf("{\"workers\":1,\"syscalls\":%llu}\n", syscalls);
	fflush(stdout);
	arm_signal(fd);
}

static void reap(int fd, int signals)
{
	unsigned head = *ring.cq.khead, tail = __atomic_load_n(ring.cq.ktail, __ATOMIC_ACQUIRE);

	for (; head != tail; head++) {
		struct io_uring_cqe cqe = ring.cq.cqes[head & (CQ - 1)];
		unsigned slot = (uint32_t)cqe.user_data;

		__atomic_store_n(ring.cq.khead, head + 1, __ATOMIC_RELEASE);
		switch ((enum kind)(cqe.user_data >> 32)) {
		case ACCEPT:
			accepted(fd, &cqe);
			break;
		case RECV:
			received(slot, &cqe);
			break;
		case SEND:
			sent(slot, &cqe);
			break;
		case CLOSE:
			break;
		case SIGNAL:
			signalled(signals);
			break;
		}
	}
}

int main(int argc, char **argv)
{
	int fd, signals = open_signals();

	open_ring();
	open_tables();
	fd = listen_on(argc > 1 ? atoi(argv[1]) : 0);
	arm_accept(fd);
	arm_signal(signals);
	while (!ended) {
		if (enter(publish(), 1) < 0 && errno != EINTR && errno != EBUSY && errno != EAGAIN)
			die("io_uring_enter", errno);
		reap(fd, signals);
	}
	return 0;
}
