/*
 * The system table when Linux refuses: every entry says so, does what it can, and leaves nothing
 * behind. The functions of libc named in test_sys_fail.wrap fail here when told to.
 */
#include "test.h"
#include "base/sys.h"
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

/* The call that fails: the nth of that function from now on, and with what. */
static struct {
	const char *fn;
	int nth, err;
} next;

static bool fails(const char *fn)
{
	if (!next.fn || strcmp(next.fn, fn) != 0 || --next.nth > 0)
		return false;
	next.fn = NULL;
	errno = next.err;
	return true;
}

static void fail_nth(const char *fn, int nth, int err)
{
	CHECK(!next.fn); /* the one before was reached */
	next.fn = fn;
	next.nth = nth;
	next.err = err;
}

#define WRAP(ret, bad, name, params, ...)                                 \
	ret __real_##name params;                                         \
	ret __wrap_##name params;                                         \
	ret __wrap_##name params                                          \
	{                                                                 \
		return fails(#name) ? (bad) : __real_##name(__VA_ARGS__); \
	}

WRAP(void *, NULL, calloc, (size_t n, size_t m), n, m)
WRAP(ssize_t, -1, getrandom, (void *p, size_t n, unsigned f), p, n, f)
WRAP(int, -1, getrlimit, (__rlimit_resource_t r, struct rlimit *l), r, l)
WRAP(int, -1, setrlimit, (__rlimit_resource_t r, const struct rlimit *l), r, l)
WRAP(void *, MAP_FAILED, mmap, (void *at, size_t n, int p, int f, int fd, off_t off), at, n, p, f,
     fd, off)
WRAP(int, -1, pipe2, (int *fd, int f), fd, f)
WRAP(int, -1, poll, (struct pollfd * p, nfds_t n, int t), p, n, t)
WRAP(int, next.err, pthread_create,
     (pthread_t * t, const pthread_attr_t *a, void *(*fn)(void *), void *p), t, a, fn, p)
WRAP(int, next.err, pthread_mutex_init, (pthread_mutex_t * m, const pthread_mutexattr_t *a), m, a)
WRAP(ssize_t, -1, read, (int fd, void *p, size_t n), fd, p, n)
WRAP(int, -1, sched_getaffinity, (pid_t p, size_t n, cpu_set_t *s), p, n, s)
WRAP(int, -1, sigaction, (int s, const struct sigaction *a, struct sigaction *o), s, a, o)
WRAP(int, -1, sigaltstack, (const stack_t *a, stack_t *o), a, o)
WRAP(int, -1, waitid, (idtype_t t, id_t i, siginfo_t *s, int o), t, i, s, o)
WRAP(ssize_t, -1, write, (int fd, const void *p, size_t n), fd, p, n)
WRAP(ssize_t, -1, writev, (int fd, const struct iovec *v, int n), fd, v, n)

static struct addrinfo *answer; /* instead of the system's resolver's */
static int answer_err;

int __wrap_getaddrinfo(const char *host, const char *port, const struct addrinfo *hints,
		       struct addrinfo **out);
int __real_getaddrinfo(const char *host, const char *port, const struct addrinfo *hints,
		       struct addrinfo **out);
int __wrap_getaddrinfo(const char *host, const char *port, const struct addrinfo *hints,
		       struct addrinfo **out)
{
	int e = answer_err ? answer_err : __real_getaddrinfo(host, port, hints, out);

	if (!e)
		answer = *out;
	if (!e && next.fn && strcmp(next.fn, "family") == 0) {
		next.fn = NULL;
		answer->ai_family = AF_UNIX; /* the first one is of no use */
	}
	return e;
}

static bool late; /* whoever waits for a time has waited for it */

int __real_pthread_cond_timedwait(pthread_cond_t *c, pthread_mutex_t *m, const struct timespec *t);
int __wrap_pthread_cond_timedwait(pthread_cond_t *c, pthread_mutex_t *m, const struct timespec *t);
int __wrap_pthread_cond_timedwait(pthread_cond_t *c, pthread_mutex_t *m, const struct timespec *t)
{
	return late ? ETIMEDOUT : __real_pthread_cond_timedwait(c, m, t);
}

/* ---- descriptors, files */
TEST(sys_fail_interrupted_calls_go_on)
{
	uint8_t random[64] = { 0 };
	char text[64];
	int p[2];

	fail_nth("getrandom", 1, EINTR);
	sys_random(random, sizeof random);
	CHECK(memcmp(random, (uint8_t[64]){ 0 }, sizeof random) != 0);
	CHECK_INT(pipe(p), ==, 0);
	fail_nth("write", 1, EINTR);
	CHECK_INT(sys_write(p[1], "hello", 5), ==, 0);
	fail_nth("poll", 1, EINTR);
	CHECK_INT(sys_poll(p[0], POLLIN), ==, POLLIN);
	CHECK_INT(read(p[0], text, sizeof text), ==, 5);
	fail_nth("read", 1, EINTR);
	CHECK_INT(sys_read_file("/proc/sys/kernel/osrelease", text, sizeof text), >, 2);
	CHECK(!next.fn);
}

static void line_after_a_signal(void)
{
	fail_nth("writev", 1, EINTR);
	sys_log_write("whole");
	_exit(next.fn ? 1 : 7);
}

static void no_randomness(void)
{
	uint8_t b[8];

	fail_nth("getrandom", 1, ENOSYS);
	sys_random(b, sizeof b);
}

TEST(sys_fail_log_line_is_written_after_a_signal)
{
	CHECK_DIES(line_after_a_signal, -7, "whole\n");
}

TEST(sys_fail_no_randomness_ends_the_process)
{
	CHECK_DIES(no_randomness, SIGABRT, NULL);
}

TEST(sys_fail_errors_are_the_kernels)
{
	char text[64];
	int p[2], cpu[4];
	uint64_t soft, hard;

	fail_nth("poll", 1, ENOMEM);
	CHECK_INT(sys_poll(0, POLLIN), ==, -ENOMEM);
	fail_nth("read", 1, EIO);
	CHECK_INT(sys_read_file("/proc/sys/kernel/osrelease", text, sizeof text), ==, -EIO);
	CHECK_INT(sys_read_file("/proc/sys/kernel/osrelease", text, 0), ==, -EINVAL);
	fail_nth("write", 1, EPIPE);
	CHECK_INT(sys_write(2, "x", 1), ==, -EPIPE);
	fail_nth("pipe2", 1, EMFILE);
	CHECK_INT(sys_pipe(p), ==, -EMFILE);
	fail_nth("sched_getaffinity", 1, ESRCH);
	CHECK_INT(sys_cpu_allowed(cpu, 4), ==, -ESRCH);
	fail_nth("sched_getaffinity", 1, EINVAL); /* more CPUs than the first mask has */
	CHECK_INT(sys_cpu_allowed(cpu, 4), >, 0);
	fail_nth("getrlimit", 1, EFAULT);
	CHECK_INT(sys_nofile_raise(&soft, &hard), ==, -EFAULT);
	CHECK(!next.fn);
}

TEST(sys_fail_limit_that_cannot_be_raised_is_told_as_it_is)
{
	struct rlimit rl = { 64, 128 };
	uint64_t soft = 0, hard = 0;

	CHECK_INT(setrlimit(RLIMIT_NOFILE, &rl), ==, 0);
	fail_nth("setrlimit", 1, EPERM);
	CHECK_INT(sys_nofile_raise(&soft, &hard), ==, -EPERM);
	CHECK_INT(soft, ==, 64);
	CHECK_INT(hard, ==, 128);
	CHECK_INT(sys_nofile_raise(&soft, &hard), ==, 0);
	CHECK_INT(soft, ==, 128);
}

/* No stack is handed out on the word of a check that could not be made. */
TEST(sys_fail_readable_unless_the_kernel_says_otherwise)
{
	struct rlimit none, all;
	static const uint64_t word = 1;

	CHECK(sys_readable(&word));
	CHECK(!sys_readable((void *)(uintptr_t)64));
	CHECK_INT(getrlimit(RLIMIT_NOFILE, &all), ==, 0);
	none = (struct rlimit){ 0, all.rlim_max };
	CHECK_INT(setrlimit(RLIMIT_NOFILE, &none), ==, 0);
	CHECK(sys_readable((void *)(uintptr_t)64));
	CHECK_INT(setrlimit(RLIMIT_NOFILE, &all), ==, 0);
}

/* ---- signals */
static void on_fault(const void *addr)
{
	(void)addr;
}

static void on_signal(void *arg)
{
	(void)arg;
}

TEST(sys_fail_handlers_that_cannot_be_set_are_told)
{
	static char stack[65536];

	fail_nth("sigaction", 1, EINVAL);
	CHECK_INT(sys_fault_catch(on_fault), ==, -EINVAL);
	fail_nth("sigaltstack", 1, EFAULT);
	CHECK_INT(sys_altstack_set(stack, sizeof stack), ==, -EFAULT);
	fail_nth("sigaltstack", 2, ENOMEM);
#if !defined(__SANITIZE_ADDRESS__) && \
	!defined(__SANITIZE_THREAD__) /* these have one of their own */
	CHECK_INT(sys_altstack_set(stack, sizeof stack), ==, -ENOMEM);
#else
	next.fn = NULL;
#endif
	for (int nth = 1; nth <= 2; nth++) {
		fail_nth("sigaction", nth, EPERM);
		CHECK_INT(sys_signal_watch(SIGUSR1, on_signal, NULL), ==, -EPERM);
	}
	int id = sys_signal_watch(SIGUSR1, on_signal, NULL); /* nothing was taken */
	CHECK_INT(id, >=, 0);
	sys_signal_unwatch(id);
}

/* ---- memory and threads */
static sem_t ran;

static void *started(void *arg)
{
	(void)arg;
	return NULL;
}

static void run_thread(void *arg)
{
	started(arg);
}

static void run_job(struct sys_job *j)
{
	(void)j;
	sem_post(&ran);
}

TEST(sys_fail_threads_and_monitors_without_memory)
{
	struct sys_thread *t = NULL;
	struct sys_monitor *m = NULL;

	fail_nth("calloc", 1, ENOMEM);
	CHECK_INT(sys_thread_start(&t, "t", run_thread, NULL), ==, -ENOMEM);
	fail_nth("pthread_create", 1, EAGAIN);
	CHECK_INT(sys_thread_start(&t, "t", run_thread, NULL), ==, -EAGAIN);
	fail_nth("calloc", 1, ENOMEM);
	CHECK_INT(sys_monitor_open(&m), ==, -ENOMEM);
	CHECK(!t && !m);
	sys_monitor_close(NULL);
	CHECK_INT(sys_thread_start(&t, "t", run_thread, NULL), ==, 0);
	CHECK_INT(sys_thread_join(t), ==, 0);
}

TEST(sys_fail_pool_opens_or_leaves_nothing)
{
	struct sys_pool *p = NULL;

	fail_nth("calloc", 1, ENOMEM);
	CHECK_INT(sys_pool_open(&p, 1, 1, false), ==, -ENOMEM);
	fail_nth("pthread_mutex_init", 1, ENOMEM);
	CHECK_INT(sys_pool_open(&p, 1, 1, false), ==, -ENOMEM);
	CHECK(!p);
	fail_nth("sched_getaffinity", 1, EINVAL); /* its threads then run where they were made */
	CHECK_INT(sys_pool_open(&p, 1, 1, false), ==, 0);
	sem_init(&ran, 0, 0);
	struct sys_job job = { .run = run_job };
	CHECK_INT(sys_pool_submit(p, &job), ==, 0);
	sem_wait(&ran);
	sys_pool_close(p);
}

TEST(sys_fail_pool_without_a_thread_refuses_and_with_one_does_without_more)
{
	struct sys_job job[2] = { { .run = run_job }, { .run = run_job } };
	struct sys_pool *p;

	sem_init(&ran, 0, 0);
	CHECK_INT(sys_pool_open(&p, 1, 4, false), ==, 0);
	fail_nth("pthread_create", 1, EAGAIN);
	CHECK_INT(sys_pool_submit(p, &job[0]), ==, -EAGAIN);
	CHECK_INT(sys_pool_threads(p), ==, 0);
	CHECK_INT(sys_pool_submit(p, &job[0]), ==, 0);
	next.fn = "pthread_create"; /* wanted only if the first thread has not begun to wait */
	next.nth = 1;
	next.err = EAGAIN;
	CHECK_INT(sys_pool_submit(p, &job[1]), ==, 0);
	sem_wait(&ran);
	sem_wait(&ran);
	next.fn = NULL;
	CHECK_INT(sys_pool_threads(p), ==, 1);
	sys_pool_close(p);
}

static sem_t both, go_on;

static void run_together(struct sys_job *j)
{
	(void)j;
	sem_post(&both);
	sem_wait(&go_on);
}

/* Those beyond keep end when they have waited for long enough, and no other. */
TEST(sys_fail_pool_surplus_threads_end)
{
	struct sys_job job[3] = { { .run = run_together },
				  { .run = run_together },
				  { .run = run_together } };
	struct sys_pool *p;

	late = true;
	sem_init(&both, 0, 0);
	sem_init(&go_on, 0, 0);
	CHECK_INT(sys_pool_open(&p, 1, 4, false), ==, 0);
	for (int i = 0; i < 3; i++)
		CHECK_INT(sys_pool_submit(p, &job[i]), ==, 0);
	for (int i = 0; i < 3; i++)
		sem_wait(&both);
	CHECK_INT(sys_pool_threads(p), ==, 3);
	for (int i = 0; i < 3; i++)
		sem_post(&go_on);
	while (sys_pool_threads(p) > 1)
		poll(NULL, 0, 1);
	sem_init(&ran, 0, 0);
	struct sys_job last = { .run = run_job };
	CHECK_INT(sys_pool_submit(p, &last), ==, 0);
	sem_wait(&ran);
	while (sys_pool_threads(p) > 1) /* if the one that stays had not begun to wait */
		poll(NULL, 0, 1);
	CHECK_INT(sys_pool_threads(p), ==, 1);
	sys_pool_close(p);
}

/* ---- names */
TEST(sys_fail_resolver_errors_have_their_meanings)
{
	static const struct {
		int eai, sys, want;
	} row[] = { { EAI_NONAME, 0, -EHOSTUNREACH }, { EAI_AGAIN, 0, -EAGAIN },
		    { EAI_MEMORY, 0, -ENOMEM },	      { EAI_FAIL, 0, -EIO },
		    { EAI_SERVICE, 0, -EIO },	      { EAI_SYSTEM, 0, -EIO } };
	struct sockaddr_storage a[4];

	for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
		answer_err = row[i].eai;
		CHECK_INT(sys_resolve("name", 1, a, 4), ==, row[i].want);
	}
	answer_err = 0;
	CHECK_INT(sys_resolve("127.0.0.1", 80, a, 4), ==, 1);
	next.fn = "family"; /* an address of a kind nobody asked for */
	CHECK_INT(sys_resolve("127.0.0.1", 80, a, 4), ==, -EHOSTUNREACH);
	CHECK(!next.fn);
}

/* ---- processes */
TEST(sys_fail_process_without_memory_is_not_started)
{
	const char *argv[] = { "true", NULL }, *nothing[] = { "/nonexistent/program", NULL };
	struct sys_spawn s = { .argv = argv, .fd = { -1, -1, -1 } };
	struct sys_exit end;
	int pid = 0;

	fail_nth("mmap", 1, ENOMEM);
	CHECK_INT(sys_proc_spawn(&s, &pid), ==, -ENOMEM);
	CHECK_INT(pid, ==, 0);
	s.argv = nothing;
	fail_nth("waitid", 1, EINTR);
	CHECK_INT(sys_proc_spawn(&s, &pid), ==, -ENOENT);
	CHECK_INT(waitpid(-1, NULL, WNOHANG), ==, -1); /* no child is left */
	CHECK_INT(errno, ==, ECHILD);
	s.argv = argv;
	int fd = sys_proc_spawn(&s, &pid);
	CHECK_INT(fd, >=, 0);
	int e;
	while ((e = sys_proc_reap(fd, &end)) == 0)
		poll(&(struct pollfd){ .fd = fd, .events = POLLIN }, 1, -1);
	CHECK_INT(e, ==, 1);
	CHECK_INT(end.code, ==, 0);
	CHECK_INT(sys_proc_reap(fd, &end), ==, -ECHILD);
	close(fd);
}
