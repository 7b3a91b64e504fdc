/*
 * The ring against the real kernel: every rung of the ladder, the smallest sizes, overflow, waits,
 * signals, and how refusals read.
 */
#include "test.h"
#include "base/sys.h"
#include "ring/caps.h"
#include "ring/ring.h"
#include "ring/uapi.h"
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct seen {
	unsigned count;
	uint64_t data[256];
	int res[256];
};

static void see(void *ctx, const struct io_uring_cqe *cqe)
{
	struct seen *s = ctx;

	CHECK_INT(s->count, <, 256);
	s->data[s->count] = cqe->user_data;
	s->res[s->count++] = cqe->res;
}

static void open_with(struct ring *r, struct ring_config cfg)
{
	struct diag why = { 0 };
	int err = ring_open(r, &cfg, &why);

	/* Teardown is asynchronous: the rings of the tests before may still be charged. */
	for (int i = 0; err == -ENOMEM && i < 100; i++) {
		nanosleep(&(struct timespec){ 0, 10000000 }, NULL);
		err = ring_open(r, &cfg, &why);
	}
	if (err < 0)
		test_fail(__FILE__, __LINE__, "ring_open: %s", why.line);
	CHECK_INT(ring_enable(r, &why), ==, 0);
}

static void open_plain(struct ring *r, unsigned sq, unsigned cq)
{
	open_with(r, (struct ring_config){ .sq_entries = sq, .cq_entries = cq, .sqpoll_cpu = -1 });
}

static void queue_nop(struct ring *r, uint64_t data)
{
	struct io_uring_sqe *sqe = ring_sqe(r);

	CHECK(sqe);
	io_uring_prep_nop(sqe);
	sqe->user_data = data;
}

/* One NOP there and back. */
static void nop_works(struct ring *r)
{
	struct seen s = { 0 };

	queue_nop(r, 77);
	CHECK_INT(ring_enter(r, 1, INT64_MAX), ==, 0);
	CHECK_INT(ring_reap(r, 8, see, &s), ==, 1);
	CHECK_INT(s.data[0], ==, 77);
	CHECK_INT(s.res[0], ==, 0);
}

TEST(ring_nop_completes)
{
	struct ring r;

	open_plain(&r, 8, 16);
	nop_works(&r);
	CHECK_INT(r.stats.enters, ==, 1);
	CHECK_INT(r.stats.enters_waiting, ==, 1);
	CHECK_INT(r.stats.sqes, ==, 1);
	CHECK_INT(r.stats.cqes, ==, 1);
	CHECK(r.fd_registered);
	CHECK(r.setup_flags & IORING_SETUP_SINGLE_ISSUER);
	ring_close(&r);
	ring_close(&r); /* again is nothing */
}

TEST(ring_smallest_goes_round_many_times)
{
	struct ring r;
	struct seen s = { 0 };

	open_plain(&r, 2, 4);
	for (uint64_t i = 0; i < 200; i += 2) {
		queue_nop(&r, i);
		queue_nop(&r, i + 1);
		CHECK(!ring_sqe(&r));
		CHECK_INT(ring_sq_space(&r), ==, 0);
		CHECK_INT(ring_sq_pending(&r), ==, 2);
		CHECK_INT(ring_enter(&r, 2, INT64_MAX), ==, 0);
		CHECK_INT(ring_sq_space(&r), ==, 2);
		CHECK_INT(ring_reap(&r, 4, see, &s), ==, 2);
	}
	for (uint64_t i = 0; i < 200; i++)
		CHECK_INT(s.data[i], ==, i);
	CHECK_INT(r.stats.sq_full, ==, 100);
	CHECK_INT(r.stats.sqes, ==, 200);
	ring_close(&r);
}

TEST(ring_sqe_is_zeroed_and_has_scratch_of_its_slot)
{
	struct ring r;
	struct ring_scratch *first;
	static const uint8_t zero[64];
	struct seen s = { 0 };

	open_plain(&r, 2, 4);
	for (int turn = 0; turn < 3; turn++) {
		struct io_uring_sqe *a = ring_sqe(&r), *b = ring_sqe(&r);

		CHECK(a && b);
		CHECK(memcmp(a, zero, sizeof zero) == 0);
		CHECK(memcmp(b, zero, sizeof zero) == 0);
		first = ring_scratch(&r, a);
		CHECK(first == &r.scratch[0]);
		CHECK(ring_scratch(&r, b) == &r.scratch[1]);
		memset(a, 0xff, sizeof *a);
		memset(b, 0xff, sizeof *b);
		io_uring_prep_nop(a);
		io_uring_prep_nop(b);
		CHECK_INT(ring_enter(&r, 2, INT64_MAX), ==, 0);
		CHECK_INT(ring_reap(&r, 4, see, &s), ==, 2);
	}
	ring_close(&r);
}

TEST(ring_overflow_loses_nothing_and_keeps_order)
{
	struct ring r;
	struct seen s = { 0 };

	open_plain(&r, 8, 16);
	for (uint64_t i = 0; i < 100; i++) {
		if (!ring_sq_space(&r))
			CHECK_INT(ring_enter(&r, 0, 0), ==, 0);
		while (!ring_sq_space(&r)) { /* -EBUSY: what is there must be reaped first */
			ring_reap(&r, 4, see, &s);
			CHECK_INT(ring_enter(&r, 0, 0), ==, 0);
		}
		queue_nop(&r, i);
	}
	for (int turn = 0; turn < 100 && s.count < 100; turn++) {
		CHECK_INT(ring_enter(&r, 1, INT64_MAX), ==, 0);
		ring_reap(&r, 5, see, &s);
	}
	CHECK_INT(s.count, ==, 100);
	for (uint64_t i = 0; i < 100; i++)
		CHECK_INT(s.data[i], ==, i);
	CHECK_INT(r.stats.cq_overflows, >, 0);
	CHECK_INT(r.stats.sqes, ==, 100);
	CHECK_INT(ring_cq_ready(&r), ==, 0);
	ring_close(&r);
}

TEST(ring_reap_is_bounded)
{
	struct ring r;
	struct seen s = { 0 };

	open_plain(&r, 8, 16);
	for (uint64_t i = 0; i < 5; i++)
		queue_nop(&r, i);
	CHECK_INT(ring_enter(&r, 5, INT64_MAX), ==, 0);
	CHECK_INT(ring_cq_ready(&r), ==, 5);
	CHECK_INT(ring_reap(&r, 3, see, &s), ==, 3);
	CHECK_INT(ring_cq_ready(&r), ==, 2);
	CHECK_INT(ring_reap(&r, 8, see, &s), ==, 2);
	CHECK_INT(ring_reap(&r, 8, see, &s), ==, 0);
	ring_close(&r);
}

/* From inside the reap of one completion, submit and enter: the slot is the kernel's already. */
static void enter_again(void *ctx, const struct io_uring_cqe *cqe)
{
	struct ring *r = ctx;

	if (cqe->user_data == 0)
		return;
	queue_nop(r, cqe->user_data - 1);
	CHECK_INT(ring_enter(r, 0, 0), ==, 0);
}

TEST(ring_reap_allows_entering_from_the_callback)
{
	struct ring r;

	open_plain(&r, 2, 4);
	queue_nop(&r, 20);
	CHECK_INT(ring_enter(&r, 1, INT64_MAX), ==, 0);
	CHECK_INT(ring_reap(&r, 100, enter_again, &r), ==, 21);
	ring_close(&r);
}

TEST(ring_wait_ends_at_its_timeout)
{
	struct ring r;
	int64_t before, after;

	open_plain(&r, 2, 4);
	before = sys_now();
	CHECK_INT(ring_enter(&r, 1, 20 * 1000000), ==, 0);
	after = sys_now();
	CHECK_INT(after - before, >=, 20 * 1000000);
	CHECK_INT(ring_cq_ready(&r), ==, 0);
	CHECK_INT(ring_enter(&r, 1, 0), ==, 0); /* no time left: no wait */
	CHECK_INT(ring_enter(&r, 1, -5), ==, 0);
	CHECK_INT(r.stats.enters_waiting, ==, 1);
	nop_works(&r);
	ring_close(&r);
}

static void on_alarm(int sig)
{
	(void)sig;
}

TEST(ring_signal_ends_the_wait_and_is_counted)
{
	struct ring r;
	struct sigaction sa = { .sa_handler = on_alarm };
	struct itimerval soon = { .it_value = { 0, 20000 }, .it_interval = { 0, 20000 } };

	open_plain(&r, 2, 4);
	CHECK_INT(sys_sigaction(SIGALRM, &sa, NULL), ==, 0);
	setitimer(ITIMER_REAL, &soon, NULL);
	CHECK_INT(ring_enter(&r, 1, INT64_MAX), ==, 0);
	CHECK_INT(r.stats.eintr, ==, 1);
	soon = (struct itimerval){ 0 };
	setitimer(ITIMER_REAL, &soon, NULL);
	nop_works(&r);
	ring_close(&r);
}

/* Every rung the ladder can end on, reached by withholding flags from it. */
TEST(ring_works_on_every_rung)
{
	static const struct {
		uint32_t without, has, has_not;
	} rows[] = {
		{ RU_SETUP_NO_SQARRAY, IORING_SETUP_DEFER_TASKRUN, RU_SETUP_NO_SQARRAY },
		{ IORING_SETUP_DEFER_TASKRUN, IORING_SETUP_COOP_TASKRUN,
		  IORING_SETUP_DEFER_TASKRUN },
		{ IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_COOP_TASKRUN, IORING_SETUP_CQSIZE,
		  IORING_SETUP_SUBMIT_ALL | IORING_SETUP_R_DISABLED },
		{ IORING_SETUP_R_DISABLED, IORING_SETUP_DEFER_TASKRUN, IORING_SETUP_R_DISABLED },
	};

	for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct ring r;
		struct seen s = { 0 };

		open_with(&r, (struct ring_config){ .sq_entries = 4,
						    .cq_entries = 8,
						    .sqpoll_cpu = -1,
						    .flags_without = rows[i].without });
		CHECK(r.setup_flags & rows[i].has);
		CHECK(!(r.setup_flags & rows[i].has_not));
		for (uint64_t n = 0; n < 12; n += 3) {
			queue_nop(&r, n);
			queue_nop(&r, n + 1);
			queue_nop(&r, n + 2);
			CHECK_INT(ring_enter(&r, 3, INT64_MAX), ==, 0);
			CHECK_INT(ring_reap(&r, 8, see, &s), ==, 3);
		}
		for (uint64_t n = 0; n < 12; n++)
			CHECK_INT(s.data[n], ==, n);
		ring_close(&r);
	}
}

TEST(ring_sqpoll_wakes_its_thread_and_makes_room)
{
	struct ring r;
	struct seen s = { 0 };
	uint64_t queued = 0;

	open_with(&r, (struct ring_config){ .sq_entries = 2,
					    .cq_entries = 64,
					    .sqpoll = true,
					    .sqpoll_idle_ms = 1,
					    .sqpoll_cpu = -1 });
	CHECK(r.setup_flags & IORING_SETUP_SQPOLL);
	while (queued < 50) {
		while (queued < 50 && ring_sq_space(&r))
			queue_nop(&r, queued++);
		CHECK_INT(ring_enter(&r, 0, 0), ==, 0);
		ring_reap(&r, 64, see, &s);
	}
	/* The thread sleeps by now and again; each wait must wake it if something is queued. */
	while (s.count < 50) {
		CHECK_INT(ring_enter(&r, 1, INT64_MAX), ==, 0);
		ring_reap(&r, 64, see, &s);
	}
	while (!(__atomic_load_n(r.u.sq.kflags, __ATOMIC_ACQUIRE) & IORING_SQ_NEED_WAKEUP))
		sched_yield();
	nop_works(&r);
	for (uint64_t i = 0; i < 50; i++)
		CHECK_INT(s.data[i], ==, i);
	CHECK_INT(r.stats.sqes, ==, 51);
	ring_close(&r);
}

static void see_big(void *ctx, const struct io_uring_cqe *cqe)
{
	see(ctx, cqe);
	CHECK_INT(cqe->big_cqe[0], ==, 0);
	CHECK_INT(cqe->big_cqe[1], ==, 0);
}

TEST(ring_wide_has_large_entries)
{
	struct ring r;
	struct seen s = { 0 };
	static const uint8_t zero[128];

	open_with(&r, (struct ring_config){
			      .sq_entries = 2, .cq_entries = 4, .wide = true, .sqpoll_cpu = -1 });
	for (unsigned i = 0; i < 9; i++) {
		struct io_uring_sqe *a = ring_sqe(&r), *b = ring_sqe(&r);

		CHECK_INT((char *)b - (char *)a, ==, 128);
		CHECK(ring_scratch(&r, b) == &r.scratch[1]);
		CHECK(memcmp(b, zero, 128) == 0);
		memset((char *)b + 64, 0xff, 64); /* NOP does not look there */
		a->user_data = 2 * i;
		b->user_data = 2 * i + 1;
		CHECK_INT(ring_enter(&r, 2, INT64_MAX), ==, 0);
		CHECK_INT(ring_reap(&r, 4, see_big, &s), ==, 2);
	}
	for (unsigned i = 0; i < 18; i++)
		CHECK_INT(s.data[i], ==, i);
	ring_close(&r);
}

/* A submission the kernel refuses to take makes enter fail, or a CQE: never silence. */
TEST(ring_bad_sqe_completes_with_its_error_and_the_rest_is_submitted)
{
	struct ring r;
	struct seen s = { 0 };
	struct io_uring_sqe *sqe;

	open_plain(&r, 4, 8);
	queue_nop(&r, 1);
	sqe = ring_sqe(&r);
	sqe->opcode = 250;
	sqe->user_data = 2;
	queue_nop(&r, 3);
	CHECK_INT(ring_enter(&r, 3, INT64_MAX), ==, 0);
	CHECK_INT(ring_reap(&r, 8, see, &s), ==, 3);
	for (int i = 0; i < 3; i++)
		CHECK_INT(s.res[i], ==, s.data[i] == 2 ? -EINVAL : 0);
	CHECK_INT(r.stats.partial_submits, ==, 0);
	ring_close(&r);
}

/* Without SUBMIT_ALL the kernel stops behind the bad one: the rest must stay queued. */
TEST(ring_partial_submit_is_counted_and_goes_on)
{
	struct ring r;
	struct seen s = { 0 };
	struct io_uring_sqe *sqe;

	open_with(&r, (struct ring_config){ .sq_entries = 4,
					    .cq_entries = 8,
					    .sqpoll_cpu = -1,
					    .flags_without = IORING_SETUP_SUBMIT_ALL });
	sqe = ring_sqe(&r);
	sqe->opcode = 250;
	sqe->user_data = 1;
	queue_nop(&r, 2);
	queue_nop(&r, 3);
	CHECK_INT(ring_enter(&r, 0, 0), ==, 0);
	CHECK_INT(r.stats.partial_submits, ==, 1);
	CHECK_INT(ring_sq_pending(&r), ==, 2);
	CHECK_INT(ring_enter(&r, 3, INT64_MAX), ==, 0);
	CHECK_INT(ring_reap(&r, 8, see, &s), ==, 3);
	CHECK_INT(s.data[2], ==, 3);
	ring_close(&r);
}

TEST(ring_open_bad_sizes_are_refused)
{
	static const struct ring_config rows[] = {
		{ .sq_entries = 0, .cq_entries = 4 },
		{ .sq_entries = 1, .cq_entries = 4 },
		{ .sq_entries = 3, .cq_entries = 8 },
		{ .sq_entries = 4, .cq_entries = 4 },
		{ .sq_entries = 4, .cq_entries = 12 },
		{ .sq_entries = 4, .cq_entries = 8, .iopoll = true },
	};

	for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct ring r;
		struct diag why = { 0 };

		CHECK_INT(ring_open(&r, &rows[i], &why), ==, -EINVAL);
		CHECK_INT(why.err, ==, -EINVAL);
		CHECK_HAS(why.line, "ring: ");
	}
}

TEST(ring_open_refused_flag_is_named)
{
	struct ring r;
	struct diag why;
	struct ring_config cfg = { .sq_entries = 65536, .cq_entries = 131072, .sqpoll_cpu = -1 };

	CHECK_INT(ring_open(&r, &cfg, &why), ==, -EINVAL);
	CHECK_HAS(why.line, "at most 32768 SQEs");
	cfg = (struct ring_config){
		.sq_entries = 2, .cq_entries = 4, .sqpoll = true, .sqpoll_cpu = 60000
	};
	CHECK_INT(ring_open(&r, &cfg, &why), ==, -EINVAL);
	CHECK_HAS(why.line, "SQ_AFF");
	CHECK_INT(ring_open(&r, &cfg, NULL), ==, -EINVAL);
}

static void enter_twice_enabled(void)
{
	struct ring r;

	open_plain(&r, 2, 4);
	ring_enable(&r, NULL);
}

TEST(ring_enable_twice_is_a_bug)
{
	CHECK_DIES(enter_twice_enabled, SIGABRT, "enabled");
}

struct elsewhere {
	struct ring *r;
	int err;
};

static void enter_elsewhere(void *arg)
{
	struct elsewhere *e = arg;

	e->err = ring_enter(e->r, 0, 0);
}

TEST(ring_enter_on_another_thread_is_an_error)
{
	struct ring r;
	struct elsewhere e = { .r = &r };
	struct sys_thread *t;

	open_plain(&r, 2, 4);
	queue_nop(&r, 1);
	CHECK_INT(sys_thread_start(&t, "elsewhere", enter_elsewhere, &e), ==, 0);
	CHECK_INT(sys_thread_join(t), ==, 0);
	CHECK_INT(e.err, <, 0);
	ring_close(&r);
}

/* A ring made on one thread is bound to the one that enables it; closing it elsewhere is fine. */
static void enable_elsewhere(void *arg)
{
	struct elsewhere *e = arg;

	e->err = ring_enable(e->r, NULL);
	if (e->err == 0)
		nop_works(e->r);
}

TEST(ring_closed_on_another_thread_leaves_that_threads_rings_alone)
{
	struct ring mine, other;
	struct elsewhere e = { .r = &other };
	/* With SINGLE_ISSUER the kernel itself refuses to unregister from elsewhere. */
	struct ring_config cfg = { .sq_entries = 2,
				   .cq_entries = 4,
				   .sqpoll_cpu = -1,
				   .flags_without = IORING_SETUP_DEFER_TASKRUN };
	struct sys_thread *t;

	open_plain(&mine, 2, 4);
	CHECK_INT(ring_open(&other, &cfg, NULL), ==, 0);
	CHECK_INT(sys_thread_start(&t, "elsewhere", enable_elsewhere, &e), ==, 0);
	CHECK_INT(sys_thread_join(t), ==, 0);
	CHECK_INT(e.err, ==, 0);
	CHECK_INT(other.u.enter_ring_fd, ==, mine.u.enter_ring_fd);
	ring_close(&other);
	nop_works(&mine);
	ring_close(&mine);
}

TEST(ring_without_a_free_registration_still_works)
{
	struct ring r[17];

	for (int i = 0; i < 17; i++)
		open_plain(&r[i], 2, 4);
	CHECK(r[15].fd_registered);
	CHECK(!r[16].fd_registered);
	nop_works(&r[16]);
	for (int i = 0; i < 17; i++)
		ring_close(&r[i]);
}

/* --- refusals; each in a child that gives something up --- */

static void become_nobody(void)
{
	if (getuid() == 0 && (setresgid(65534, 65534, 65534) || setresuid(65534, 65534, 65534)))
		abort();
	prctl(PR_SET_DUMPABLE, 1); /* else /proc/self is root's */
}

/* Fork, give up, open rings until refused (at most max), hand back the message. */
static struct diag refused_after(void (*give_up)(void), unsigned sq_entries, int max)
{
	struct diag why = { 0 };
	int fds[2], status;
	pid_t pid;

	CHECK_INT(pipe(fds), ==, 0);
	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		struct ring_config cfg = { .sq_entries = sq_entries,
					   .cq_entries = sq_entries * 2,
					   .sqpoll_cpu = -1 };

		give_up();
		for (int i = 0; i < max; i++) {
			struct ring r;

			if (ring_open(&r, &cfg, &why) < 0)
				break;
		}
		_exit(write(fds[1], &why, sizeof why) != sizeof why);
	}
	CHECK_INT(pid, >, 0);
	close(fds[1]);
	CHECK_INT(read(fds[0], &why, sizeof why), ==, sizeof why);
	close(fds[0]);
	CHECK_INT(waitpid(pid, &status, 0), ==, pid);
	CHECK_INT(status, ==, 0);
	return why;
}

static void give_up_memlock(void)
{
	struct rlimit none = { 0, 0 };

	setrlimit(RLIMIT_MEMLOCK, &none);
	become_nobody();
}

TEST(ring_memlock_exhausted_says_have_and_need)
{
	struct diag why = refused_after(give_up_memlock, 4096, 1);

	if (why.err == 0)
		SKIP("this kernel does not charge rings to RLIMIT_MEMLOCK");
	CHECK_INT(why.err, ==, -ENOMEM);
	CHECK_HAS(why.line, "io_uring_setup: ENOMEM: ");
	CHECK_HAS(why.line, "memlock) is 0 KiB");
	CHECK_HAS(why.line, "this needs 384 KiB");
}

static void give_up_files(void)
{
	struct rlimit few = { 12, 12 };

	setrlimit(RLIMIT_NOFILE, &few);
	become_nobody();
}

TEST(ring_nofile_exhausted_says_have)
{
	struct diag why = refused_after(give_up_files, 2, 20);

	CHECK_INT(why.err, ==, -EMFILE);
	CHECK_HAS(why.line, "io_uring_setup: EMFILE: ");
	CHECK_HAS(why.line, "nofile");
}

static void seccomp_deny(uint32_t answer)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_io_uring_setup, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | answer),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = { sizeof code / sizeof code[0], code };

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog))
		abort();
}

static void seccomp_eperm(void)
{
	seccomp_deny(EPERM);
}

static void seccomp_enosys(void)
{
	seccomp_deny(ENOSYS);
}

static void seccomp_eacces(void)
{
	seccomp_deny(EACCES);
}

TEST(ring_seccomp_refusal_names_seccomp)
{
	struct diag why = refused_after(seccomp_eperm, 2, 1);

	CHECK_INT(why.err, ==, -EPERM);
	CHECK_HAS(why.line, "io_uring_setup: EPERM: a seccomp filter");
	why = refused_after(seccomp_enosys, 2, 1);
	CHECK_INT(why.err, ==, -ENOSYS);
	CHECK_HAS(why.line, "io_uring_setup: ENOSYS: a seccomp filter");
	why = refused_after(seccomp_eacces, 2, 1);
	CHECK_INT(why.err, ==, -EACCES);
	CHECK_HAS(why.line, "seccomp");
}
