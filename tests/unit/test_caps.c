/*
 * The probe on this kernel, the probe where things are refused, and what diagnoses say.
 */
#include "test.h"
#include "base/sys.h"
#include "ring/caps.h"
#include "ring/ring.h"
#include "ring/uapi.h"
#include <dirent.h>
#include <errno.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

static int fds_open(void)
{
	DIR *d = opendir("/proc/self/fd");
	int n = 0;

	CHECK(d);
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

static void print_caps(const struct caps *c)
{
#define PRINT(field, name, gives, since) printf("  %-28s %s\n", name, c->field ? "yes" : "no");
	CAPS_FEATURES(PRINT)
#undef PRINT
}

TEST(caps_probe_finds_this_kernel_and_leaves_nothing)
{
	struct caps c;
	int before = fds_open();
	int64_t start = test_now_ns();

	caps_probe(&ring_kernel_uring, &c);
	printf("  probe: %lld us\n", (long long)(test_now_ns() - start) / 1000);
	print_caps(&c);
	if (!c.ok)
		test_fail(__FILE__, __LINE__, "%s", c.why.line);
	CHECK_INT(fds_open(), ==, before);
	/* All of these are in Linux 6.1, the oldest that counts. */
	CHECK(c.defer_taskrun);
	CHECK(c.bufring);
	CHECK(c.direct_alloc);
	CHECK(c.multishot_accept);
	CHECK(c.multishot_recv);
	CHECK(c.msg_ring);
	CHECK(c.msg_ring_fd);
	CHECK(c.send_zc);
	CHECK(c.sendmsg_zc);
	CHECK(c.uring_cmd);
	CHECK(c.wide_ring);
	CHECK_INT(c.opcode_count, >=, 49);
	CHECK(c.opcodes[IORING_OP_RECV]);
	CHECK(!c.opcodes[127]); /* 7.2 has more than 64 */
	CHECK(c.setup_flags & IORING_SETUP_DEFER_TASKRUN);
	CHECK(c.features & IORING_FEAT_EXT_ARG);
}

TEST(caps_probe_agrees_with_what_newer_kernels_have)
{
	struct caps now;
	const struct caps *c = caps_get(&now);

	/* RECV_ZC came with 6.15: whoever has it has all that came before. */
	if (!c->opcodes[RU_OP_RECV_ZC])
		SKIP("this kernel is older than 6.15");
	CHECK(c->no_sqarray);
	CHECK(c->bufring_inc);
	CHECK(c->socket_cmd);
	CHECK(c->fd_install);
	CHECK(c->nop_inject);
	CHECK(c->recv_bundle);
	CHECK(c->close_sends_fin);
	CHECK(c->guard_install);
}

TEST(caps_get_is_one_probe)
{
	struct caps now;
	const struct caps *a = caps_get(&now);
	int before = fds_open();

	CHECK(a != &now);
	CHECK(caps_get(&now) == a);
	CHECK(a->ok);
	CHECK_INT(fds_open(), ==, before);
}

static void get_caps(void *arg)
{
	struct caps now;

	*(const struct caps **)arg = caps_get(&now);
}

TEST(caps_get_from_many_threads_is_one_probe)
{
	enum { N = 4 };
	const struct caps *got[N];
	struct sys_thread *t[N];

	for (int i = 0; i < N; i++)
		CHECK_INT(sys_thread_start(&t[i], "caps", get_caps, &got[i]), ==, 0);
	for (int i = 0; i < N; i++)
		CHECK_INT(sys_thread_join(t[i]), ==, 0);
	for (int i = 0; i < N; i++) {
		CHECK(got[i] == got[0]);
		CHECK(got[i]->ok);
	}
}

/* --- a kernel with something taken away --- */

static uint32_t without_flags;
static unsigned without_reg;
static uint8_t without_opcode;

static int poor_setup(struct io_uring *u, unsigned entries, struct io_uring_params *p)
{
	if (p->flags & without_flags)
		return -EINVAL;
	return ring_kernel_uring.setup(u, entries, p);
}

static void poor_exit(struct io_uring *u)
{
	ring_kernel_uring.exit(u);
}

static int poor_enter(struct io_uring *u, unsigned to_submit, unsigned min_complete, unsigned flags,
		      const void *arg, size_t arg_bytes)
{
	for (unsigned i = 0; without_opcode && i < to_submit; i++) {
		struct io_uring_sqe *sqe = &u->sq.sqes[(*u->sq.khead + i) & u->sq.ring_mask];

		if (sqe->opcode == without_opcode)
			sqe->opcode = 250;
	}
	return ring_kernel_uring.enter(u, to_submit, min_complete, flags, arg, arg_bytes);
}

static int poor_reg(struct io_uring *u, unsigned opcode, void *arg, unsigned nr)
{
	int n;

	if (without_reg && opcode == without_reg)
		return -EINVAL;
	n = ring_kernel_uring.reg(u, opcode, arg, nr);
	if (opcode == IORING_REGISTER_PROBE && without_opcode)
		((struct io_uring_probe *)arg)->ops[without_opcode].flags = 0;
	return n;
}

static const struct ring_kernel poor = {
	.name = "poor", .setup = poor_setup, .exit = poor_exit, .enter = poor_enter, .reg = poor_reg
};

TEST(caps_probe_missing_flags_take_the_next_rung)
{
	struct caps c;

	without_flags = RU_SETUP_NO_SQARRAY | IORING_SETUP_SQE128;
	caps_probe(&poor, &c);
	CHECK(c.ok);
	CHECK(!c.no_sqarray);
	CHECK(c.defer_taskrun);
	CHECK(!c.wide_ring);
	without_flags = IORING_SETUP_DEFER_TASKRUN;
	caps_probe(&poor, &c);
	CHECK(c.ok);
	CHECK(!c.defer_taskrun);
	CHECK(c.multishot_recv);
	CHECK(c.msg_ring);
	CHECK(c.setup_flags & IORING_SETUP_COOP_TASKRUN);
}

TEST(caps_probe_missing_opcode_switches_its_feature_off)
{
	int before = fds_open();
	struct caps c;

	without_opcode = IORING_OP_SEND_ZC;
	caps_probe(&poor, &c);
	CHECK(c.ok);
	CHECK(!c.send_zc);
	CHECK(c.sendmsg_zc);
	without_opcode = IORING_OP_MSG_RING;
	caps_probe(&poor, &c);
	CHECK(c.ok);
	CHECK(!c.msg_ring);
	CHECK(!c.msg_ring_fd);
	without_opcode = IORING_OP_RECV;
	caps_probe(&poor, &c);
	CHECK(!c.ok);
	CHECK(!c.multishot_recv);
	CHECK_INT(c.why.err, ==, -EOPNOTSUPP);
	CHECK_HAS(c.why.line, "no IORING_OP_RECV;");
	CHECK_INT(fds_open(), ==, before);
}

TEST(caps_probe_missing_registration_says_which)
{
	int before = fds_open();
	struct caps c;

	without_reg = IORING_REGISTER_PBUF_RING;
	caps_probe(&poor, &c);
	CHECK(!c.ok);
	CHECK_HAS(c.why.line, "no provided buffer rings");
	without_reg = IORING_REGISTER_FILE_ALLOC_RANGE;
	caps_probe(&poor, &c);
	CHECK(!c.ok);
	CHECK(!c.direct_alloc);
	CHECK_HAS(c.why.line, "direct descriptors");
	without_reg = IORING_REGISTER_ENABLE_RINGS;
	caps_probe(&poor, &c);
	CHECK(!c.ok);
	CHECK_HAS(c.why.line, "IORING_REGISTER_ENABLE_RINGS: EINVAL");
	CHECK_INT(fds_open(), ==, before);
}

static int refusal;

static int refuse_setup(struct io_uring *u, unsigned entries, struct io_uring_params *p)
{
	(void)u;
	(void)entries;
	(void)p;
	return refusal;
}

TEST(caps_probe_refused_says_why)
{
	static const struct ring_kernel none = { .name = "none", .setup = refuse_setup };
	struct caps c;

	refusal = -ENFILE;
	caps_probe(&none, &c);
	CHECK(!c.ok);
	CHECK_INT(c.why.err, ==, -ENFILE);
	CHECK_HAS(c.why.line, "io_uring_setup: ENFILE: ");
	CHECK_HAS(c.why.line, "fs.file-max");
	refusal = -EINVAL;
	caps_probe(&none, &c);
	CHECK(!c.ok);
	CHECK_HAS(c.why.line, "io_uring_setup: EINVAL: ");
}

TEST(diag_every_cause_has_a_remedy)
{
	static const struct {
		int err;
		const char *part;
	} rows[] = {
		{ ENOSYS, "run Linux 6.1 or newer" },
		{ EPERM, "EPERM: " },
		{ EACCES, "security module" },
		{ ENOMEM, "ENOMEM: " },
		{ EMFILE, "this needs 70000; raise it (ulimit -n" },
		{ ENFILE, "fs.file-max" },
		{ EEXIST, "EEXIST: " },
		{ EBADFD, "EBADFD: " },
		{ EINVAL, "EINVAL: " },
		{ EIO, "Input/output error" },
	};
	struct diag d;

	if (prctl(PR_GET_SECCOMP) == 2)
		SKIP("these tests run under a seccomp filter themselves");
	for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		CHECK_INT(diag_ring(&d, -rows[i].err, "step", 1 << 20, 70000), ==, -rows[i].err);
		CHECK_INT(d.err, ==, -rows[i].err);
		CHECK_HAS(d.line, rows[i].part);
		CHECK(strncmp(d.line, "step: ", 6) == 0);
		CHECK(!strchr(d.line, '\n'));
		CHECK_INT(strlen(d.line), <, DIAG_MAX - 1);
	}
	CHECK_INT(diag_ring(NULL, -EPERM, "step", 0, 0), ==, -EPERM);
	CHECK_INT(diag_set(NULL, -5, "x"), ==, -5);
}

/* Short of descriptors by ever fewer: what cannot be tried is not taken for missing, nor for good.
 */
TEST(caps_probe_without_descriptors_says_so_and_is_tried_again)
{
	enum { LIMIT = 64 };
	const struct caps *got;
	struct caps now, all;
	unsigned failed = 0;

	caps_probe(&ring_kernel_uring, &all);
	CHECK(setrlimit(RLIMIT_NOFILE, &(struct rlimit){ LIMIT, LIMIT }) == 0);
	do {
		int fill[LIMIT], filled = 0;

		while ((fill[filled] = dup(0)) >= 0)
			filled++;
		CHECK_INT(failed, <, filled);
		for (unsigned i = 0; i < failed; i++)
			close(fill[--filled]);
		got = caps_get(&now);
		while (filled)
			close(fill[--filled]);
		if (got == &now) {
			CHECK(!got->ok);
			CHECK_INT(got->why.err, ==, -EMFILE);
			CHECK_HAS(got->why.line, "EMFILE");
			failed++;
		}
	} while (got == &now);
	CHECK_INT(failed, >, 3);
	CHECK(got->ok);
	CHECK(memcmp(got, &all, sizeof all) == 0);
}
