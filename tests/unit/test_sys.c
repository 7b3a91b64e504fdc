/*
 * The system table on Linux: what each entry promises, in success and error, and what a broken
 * assertion prints.
 */
#include "test.h"
#include "base/assert.h"
#include "base/ctx.h"
#include "base/sys.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

TEST(sys_now_never_goes_back)
{
	int64_t before = sys_now();

	CHECK_INT(before, >, 0);
	for (int i = 0; i < 1000; i++) {
		int64_t now = sys_now();

		CHECK_INT(now, >=, before);
		before = now;
	}
}

TEST(sys_random_fills_everything)
{
	uint8_t a[1024] = { 0 }, b[1024] = { 0 };
	unsigned zeroes = 0;

	sys_random(a, sizeof a);
	sys_random(b, sizeof b);
	CHECK(memcmp(a, b, sizeof a) != 0);
	for (unsigned i = 0; i < sizeof a; i++)
		zeroes += a[i] == 0;
	CHECK_INT(zeroes, <, 100);
}

TEST(sys_alloc_zeroed_and_aligned)
{
	uint8_t *z = sys_zalloc(100000);
	void *a = sys_alloc_aligned(4096, 10), *none = sys_alloc(0);

	CHECK(z && a && none);
	for (int i = 0; i < 100000; i++)
		CHECK_INT(z[i], ==, 0);
	CHECK_INT((uintptr_t)a % 4096, ==, 0);
	sys_free(z);
	sys_free(a);
	sys_free(none);
	sys_free(NULL);
}

static void touch_none(void)
{
	int err;
	volatile char *p = sys_map(4096, SYS_MAP_NONE, &err);

	signal(SIGSEGV, SIG_DFL); /* a sanitizer would report it in its own way */
	*p = 1;
}

TEST(sys_map_protect_and_unmap)
{
	int err = 0;
	char *p = sys_map(8192, SYS_MAP_NORESERVE | SYS_MAP_STACK, &err);

	CHECK(p);
	CHECK_INT(p[8191], ==, 0);
	CHECK_INT(sys_protect(p, 4096, false), ==, 0);
	CHECK_INT(sys_protect(p, 4096, true), ==, 0);
	p[0] = 1;
	CHECK_INT(sys_advise(p, 4096, MADV_DONTNEED), ==, 0);
	CHECK_INT(p[0], ==, 0);
	CHECK_INT(sys_advise(p, 4096, 9999), ==, -EINVAL);
	CHECK_INT(sys_protect(p + 1, 4096, true), ==, -EINVAL);
	sys_unmap(p, 8192);
	CHECK_INT(sys_protect(p, 4096, true), ==, -ENOMEM);
	sys_unmap(NULL, 8192);
	CHECK(!sys_map(0, 0, &err));
	CHECK_INT(err, ==, -EINVAL);
	CHECK_DIES(touch_none, SIGSEGV, NULL);
	CHECK_INT(sys_page_size() % 4096, ==, 0);
}

TEST(sys_socket_is_cloexec_blocking_and_reports_errors)
{
	struct sockaddr_in sa = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
	struct sockaddr_storage ss;
	socklen_t n = 0;
	int one = 1, got = 0, l = sys_socket(AF_INET, SOCK_STREAM, 0), c, again;

	CHECK_INT(l, >=, 0);
	CHECK(fcntl(l, F_GETFD) & FD_CLOEXEC);
	CHECK(!(fcntl(l, F_GETFL) & O_NONBLOCK));
	CHECK_INT(sys_setsockopt(l, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof one), ==, 0);
	n = sizeof got;
	CHECK_INT(sys_getsockopt(l, SOL_SOCKET, SO_KEEPALIVE, &got, &n), ==, 0);
	CHECK_INT(got, ==, 1);
	CHECK_INT(sys_bind(l, (struct sockaddr *)&sa, sizeof sa), ==, 0);
	CHECK_INT(sys_listen(l, 4), ==, 0);
	CHECK_INT(sys_getsockname(l, &ss, &n), ==, 0);
	CHECK_INT(n, ==, sizeof sa);
	again = sys_socket(AF_INET, SOCK_STREAM, 0);
	CHECK_INT(sys_bind(again, (struct sockaddr *)&ss, n), ==, -EADDRINUSE);
	c = sys_socket(AF_INET, SOCK_STREAM, 0);
	CHECK_INT(sys_getpeername(c, &ss, &n), ==, -ENOTCONN);
	CHECK_INT(sys_shutdown(c, SHUT_WR), ==, -ENOTCONN);
	CHECK_INT(sys_getsockname(l, &ss, &n), ==, 0);
	CHECK_INT(sys_connect(c, (struct sockaddr *)&ss, n), ==, 0);
	CHECK_INT(sys_getpeername(c, &ss, &n), ==, 0);
	CHECK_INT(sys_shutdown(c, SHUT_WR), ==, 0);
	CHECK_INT(sys_close(c), ==, 0);
	CHECK_INT(sys_close(c), ==, -EBADF);
	CHECK_INT(sys_close(again), ==, 0);
	CHECK_INT(sys_close(l), ==, 0);
	CHECK_INT(sys_socket(AF_INET, 99, 0), ==, -EINVAL);
	CHECK_INT(sys_bind(-1, (struct sockaddr *)&sa, sizeof sa), ==, -EBADF);
	CHECK_INT(sys_listen(-1, 1), ==, -EBADF);
	CHECK_INT(sys_connect(-1, (struct sockaddr *)&sa, sizeof sa), ==, -EBADF);
	CHECK_INT(sys_setsockopt(-1, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof one), ==, -EBADF);
}

TEST(sys_fd_type_dup_and_blocking)
{
	int fds[2], copy;

	CHECK_INT(pipe2(fds, O_NONBLOCK), ==, 0);
	CHECK_INT(sys_fd_type(fds[0]), ==, S_IFIFO);
	CHECK_INT(sys_set_blocking(fds[0]), ==, 0);
	CHECK(!(fcntl(fds[0], F_GETFL) & O_NONBLOCK));
	CHECK_INT(sys_set_blocking(fds[0]), ==, 0);
	copy = sys_dup(fds[0]);
	CHECK_INT(copy, >=, 0);
	CHECK(fcntl(copy, F_GETFD) & FD_CLOEXEC);
	CHECK_INT(sys_close(copy), ==, 0);
	CHECK_INT(sys_fd_type(copy), ==, -EBADF);
	CHECK_INT(sys_dup(copy), ==, -EBADF);
	CHECK_INT(sys_set_blocking(copy), ==, -EBADF);
	close(fds[0]);
	close(fds[1]);
}

TEST(sys_unlink_socket_removes_sockets_only)
{
	char dir[] = "/tmp/ringline-test-XXXXXX", file[64];
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd = sys_socket(AF_UNIX, SOCK_STREAM, 0);

	CHECK(mkdtemp(dir));
	snprintf(sa.sun_path, sizeof sa.sun_path, "%s/socket", dir);
	snprintf(file, sizeof file, "%s/file", dir);
	CHECK_INT(sys_unlink_socket(sa.sun_path), ==, -ENOENT);
	CHECK_INT(sys_bind(fd, (struct sockaddr *)&sa, sizeof sa), ==, 0);
	CHECK_INT(sys_unlink_socket(sa.sun_path), ==, 0);
	CHECK_INT(access(sa.sun_path, F_OK), ==, -1);
	close(open(file, O_CREAT | O_WRONLY, 0600));
	CHECK_INT(sys_unlink_socket(file), ==, -ENOTSOCK);
	CHECK_INT(access(file, F_OK), ==, 0);
	unlink(file);
	CHECK_INT(sys_unlink_socket(dir), ==, -ENOTSOCK);
	rmdir(dir);
	close(fd);
}

TEST(sys_eventfd_signal_adds_up_and_keeps_errno)
{
	int fd = sys_eventfd();
	uint64_t n;

	CHECK_INT(fd, >=, 0);
	CHECK(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	errno = 1234;
	CHECK_INT(sys_eventfd_signal(fd), ==, 0);
	CHECK_INT(sys_eventfd_signal(fd), ==, 0);
	CHECK_INT(sys_eventfd_signal(-1), ==, -EBADF);
	CHECK_INT(errno, ==, 1234);
	CHECK_INT(read(fd, &n, sizeof n), ==, sizeof n);
	CHECK_INT(n, ==, 2);
	close(fd);
}

TEST(sys_read_file_is_bounded_and_terminated)
{
	char text[4096];
	int n = sys_read_file("/proc/self/status", text, sizeof text);

	CHECK_INT(n, >, 0);
	CHECK_INT(strlen(text), ==, n);
	CHECK_HAS(text, "Name:");
	memset(text, 'x', sizeof text);
	CHECK_INT(sys_read_file("/proc/self/status", text, 5), ==, 4);
	CHECK_STR(text, "Name");
	CHECK_INT(sys_read_file("/nonexistent", text, sizeof text), ==, -ENOENT);
	CHECK_INT(sys_read_file("/proc", text, sizeof text), ==, -EISDIR);
	CHECK_INT(sys_read_file("/proc/self/status", text, 0), ==, -EINVAL);
}

TEST(sys_nofile_raise_lifts_the_soft_limit)
{
	struct rlimit rl;
	uint64_t soft, hard;

	CHECK_INT(getrlimit(RLIMIT_NOFILE, &rl), ==, 0);
	rl.rlim_cur = 50;
	CHECK_INT(setrlimit(RLIMIT_NOFILE, &rl), ==, 0);
	CHECK_INT(sys_nofile_raise(&soft, &hard), ==, 0);
	CHECK_INT(hard, ==, rl.rlim_max);
	CHECK_INT(soft, ==, hard);
	CHECK_INT(getrlimit(RLIMIT_NOFILE, &rl), ==, 0);
	CHECK_INT(rl.rlim_cur, ==, rl.rlim_max);
}

TEST(sys_memory_allowed_is_at_most_physical)
{
	uint64_t physical = (uint64_t)sysconf(_SC_PHYS_PAGES) * sys_page_size();

	CHECK_INT(sys_memory_allowed(), >, 1 << 20);
	CHECK_INT(sys_memory_allowed(), <=, physical);
}

struct seen {
	atomic_int tid;
	int cpu;
	char name[32];
	struct ctx *ctx;
};

static void look_around(void *arg)
{
	struct seen *s = arg;
	char path[64];

	s->cpu = sys_thread_pin(s->cpu) == 0 ? sched_getcpu() : -1;
	s->ctx = ctx_current();
	snprintf(path, sizeof path, "/proc/self/task/%d/comm", sys_thread_id());
	sys_read_file(path, s->name, sizeof s->name);
	atomic_store(&s->tid, sys_thread_id());
}

TEST(sys_thread_runs_named_and_pinned)
{
	int cpus[1024], n = sys_cpu_allowed(cpus, 1024), one[1];
	struct ctx mine = { 0 };
	struct sys_thread *t;

	CHECK_INT(n, >=, 1);
	CHECK_INT(sys_cpu_allowed(one, 1), ==, 1);
	CHECK_INT(one[0], ==, cpus[0]);
	ctx_current_ = &mine;
	for (int i = 0; i < n && i < 4; i++) {
		struct seen s = { .cpu = cpus[i] };

		CHECK_INT(sys_thread_start(&t, "a-name-longer-than-15", look_around, &s), ==, 0);
		CHECK_INT(sys_thread_join(t), ==, 0);
		CHECK_INT(s.tid, !=, sys_thread_id());
		CHECK_INT(s.cpu, ==, cpus[i]);
		CHECK_STR(s.name, "a-name-longer-t\n");
		CHECK(!s.ctx); /* a worker's context is its own thread's */
	}
	CHECK(ctx_current() == &mine);
	CHECK_INT(sys_thread_id(), ==, getpid());
	CHECK_INT(sys_thread_pin(-1), ==, -EINVAL);
	CHECK_INT(sys_thread_pin(60000), ==, -EINVAL);
	CHECK_INT(sys_thread_pin(1 << 30), ==, -EINVAL);
}

static volatile sig_atomic_t got_signal;

static void on_signal(int sig)
{
	got_signal = sig;
}

TEST(sys_signal_handler_and_stack)
{
	struct sigaction sa = { .sa_handler = on_signal }, old;
	stack_t ss = { .ss_size = 65536, .ss_sp = sys_alloc(65536) },
		none = { .ss_flags = SS_DISABLE };

	CHECK_INT(sys_sigaction(SIGUSR1, &sa, &old), ==, 0);
	raise(SIGUSR1);
	CHECK_INT(got_signal, ==, SIGUSR1);
	CHECK_INT(sys_sigaction(SIGUSR1, &old, NULL), ==, 0);
	CHECK_INT(sys_sigaction(SIGKILL, &sa, NULL), ==, -EINVAL);
	CHECK_INT(sys_sigaltstack(&ss, NULL), ==, 0);
	CHECK_INT(sys_sigaltstack(&none, NULL), ==, 0);
	sys_free(ss.ss_sp);
	ss.ss_size = 1;
	CHECK_INT(sys_sigaltstack(&ss, NULL), ==, -ENOMEM);
}

static void write_line(void)
{
	sys_log_write("a line of its own");
	_exit(3);
}

static void break_plain(void)
{
	RLN_ASSERT(1 + 1 == 3);
}

static void break_with_detail(void)
{
	RLN_ASSERTF(got_signal == 7, "signal %d of %s", 5, "nobody");
}

TEST(assert_says_where_what_and_detail)
{
	CHECK_DIES(write_line, -3, "a line of its own\n");
	CHECK_DIES(break_plain, SIGABRT, "break_plain: 1 + 1 == 3: ");
	CHECK_DIES(break_with_detail, SIGABRT, "ringline: test_sys.c:");
	CHECK_DIES(break_with_detail, SIGABRT,
		   "break_with_detail: got_signal == 7: signal 5 of nobody");
	RLN_ASSERT(true);
	RLN_ASSERTF(true, "%d", 1);
}
