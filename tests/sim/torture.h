/*
 * One failure at a chosen place: the nth call of one function of the system table, or of the four
 * ring calls, fails with one of the errors its documentation names. The linker puts the functions
 * below between the library and the simulated system (test_torture.wrap: --wrap).
 */
#ifndef RINGLINE_TESTS_SIM_TORTURE_H
#define RINGLINE_TESTS_SIM_TORTURE_H

#include "base/sys.h"
#include "ring/kernel.h"
#include <errno.h>
#include <linux/io_uring.h>
#include <stdint.h>

/* X(function without sys_, errors...): what fails, and how the manual pages say. */
#define TORTURE_CALLS(X)                                                                  \
	X(alloc, ENOMEM)                                                                  \
	X(zalloc, ENOMEM)                                                                 \
	X(alloc_aligned, ENOMEM)                                                          \
	X(map, ENOMEM, EAGAIN)                                                            \
	X(advise, EINVAL, ENOMEM, EAGAIN)                                                 \
	X(socket, EMFILE, ENFILE, ENOBUFS, ENOMEM, EAFNOSUPPORT, EACCES, EPROTONOSUPPORT) \
	X(bind, EADDRINUSE, EACCES, EADDRNOTAVAIL, EINVAL, ENOENT, EROFS, ENOMEM)         \
	X(listen, EADDRINUSE, EOPNOTSUPP)                                                 \
	X(setsockopt, ENOPROTOOPT, EINVAL, ENOMEM)                                        \
	X(getsockopt, ENOPROTOOPT, ENOMEM)                                                \
	X(getsockname, ENOBUFS)                                                           \
	X(getpeername, ENOBUFS, ENOTCONN)                                                 \
	X(resolve, EHOSTUNREACH, EAGAIN, ENOMEM, EIO)                                     \
	X(set_blocking, EBADF)                                                            \
	X(close, EINTR, EIO)                                                              \
	X(dup, EMFILE, EBADF)                                                             \
	X(fd_type, EBADF, EIO)                                                            \
	X(unlink_socket, EACCES, EROFS, ENOTSOCK)                                         \
	X(eventfd, EMFILE, ENFILE, ENOMEM, ENODEV)                                        \
	X(nofile_raise, EPERM)                                                            \
	X(read_file, EACCES, EMFILE)                                                      \
	X(thread_start, EAGAIN, ENOMEM, EPERM)                                            \
	X(thread_pin, EINVAL)                                                             \
	X(cpu_allowed, EINVAL, ENOMEM)                                                    \
	X(monitor_open, ENOMEM)                                                           \
	X(pool_open, ENOMEM)                                                              \
	X(pool_submit, EAGAIN)                                                            \
	X(altstack_set, ENOMEM, EPERM)                                                    \
	X(ring_setup, ENOMEM, EMFILE, ENFILE, EPERM, EINVAL, ENOSYS)                      \
	X(ring_reg, ENOMEM, EINVAL, EMFILE, EPERM)                                        \
	X(ring_enter, EINTR, EAGAIN, EBUSY)

/* Nothing of these can fail, or nobody could do anything about it. */
#define TORTURE_NEVER                                                                        \
	"now random free unmap page_size eventfd_signal memory_allowed thread_id "           \
	"shadow_stack log_write sigaction sigaltstack thread_join thread_yield word_wait "   \
	"word_wake monitor_close monitor_lock monitor_unlock monitor_wait monitor_wake_all " \
	"pool_withdraw pool_close pool_threads altstack_clear write readable trace_signal "  \
	"thread_trace symbol trace_open fault_catch"

/*
 * No scenario gets to these: the guards of stacks where the light ones are missing, a stale unix
 * socket in the way, descriptors of the program's own, signals, processes. They have tests of their
 * own.
 */
#define TORTURE_ELSEWHERE                                                                      \
	"protect connect shutdown poll signal_watch signal_unwatch proc_kill proc_kill_group " \
	"proc_reap pipe proc_spawn"

enum torture_call {
#define TORTURE_ENUM(name, ...) CALL_##name,
	TORTURE_CALLS(TORTURE_ENUM)
#undef TORTURE_ENUM
		CALL_COUNT
};

struct torture {
	enum torture_call call;
	unsigned nth; /* from 1; 0: nothing fails */
	int err;
	unsigned seen[CALL_COUNT];
	bool hit, off; /* off: calls are neither counted nor failed */
};
static struct torture torture;

static const struct {
	const char *name;
	uint8_t errors[8]; /* zeros after the last */
} torture_calls[] = {
#define TORTURE_ROW(name, ...) { #name, { __VA_ARGS__ } },
	TORTURE_CALLS(TORTURE_ROW)
#undef TORTURE_ROW
};

/* Does this call fail? 0, or the error. */
static int torture_point(enum torture_call call)
{
	if (torture.off || ++torture.seen[call] != torture.nth || call != torture.call)
		return 0;
	torture.hit = true;
	return torture.err;
}

#define TORTURE_WRAP(type, name, params, args, result)       \
	type __real_sys_##name params;                       \
	type __wrap_sys_##name params;                       \
	type __wrap_sys_##name params                        \
	{                                                    \
		int e_ = torture_point(CALL_##name);         \
                                                             \
		return e_ ? result : __real_sys_##name args; \
	}
#define TORTURE_WRAP_INT(name, params, args) TORTURE_WRAP(int, name, params, args, -e_)

TORTURE_WRAP(void *, alloc, (size_t n), (n), NULL)
TORTURE_WRAP(void *, zalloc, (size_t n), (n), NULL)
TORTURE_WRAP(void *, alloc_aligned, (size_t align, size_t n), (align, n), NULL)
TORTURE_WRAP(void *, map, (size_t n, int flags, int *err), (n, flags, err), (*err = -e_, NULL))
TORTURE_WRAP_INT(advise, (void *p, size_t n, int advice), (p, n, advice))
TORTURE_WRAP_INT(socket, (int domain, int type, int protocol), (domain, type, protocol))
TORTURE_WRAP_INT(bind, (int fd, const struct sockaddr *sa, socklen_t n), (fd, sa, n))
TORTURE_WRAP_INT(listen, (int fd, int backlog), (fd, backlog))
TORTURE_WRAP_INT(setsockopt, (int fd, int level, int name, const void *v, socklen_t n),
		 (fd, level, name, v, n))
TORTURE_WRAP_INT(getsockopt, (int fd, int level, int name, void *v, socklen_t *n),
		 (fd, level, name, v, n))
TORTURE_WRAP_INT(getsockname, (int fd, struct sockaddr_storage *sa, socklen_t *n), (fd, sa, n))
TORTURE_WRAP_INT(getpeername, (int fd, struct sockaddr_storage *sa, socklen_t *n), (fd, sa, n))
TORTURE_WRAP_INT(resolve, (const char *host, uint16_t port, struct sockaddr_storage *out, int max),
		 (host, port, out, max))
TORTURE_WRAP_INT(set_blocking, (int fd), (fd))
TORTURE_WRAP_INT(dup, (int fd), (fd))
TORTURE_WRAP_INT(fd_type, (int fd), (fd))
TORTURE_WRAP_INT(unlink_socket, (const char *path), (path))
TORTURE_WRAP_INT(eventfd, (void), ())
TORTURE_WRAP_INT(read_file, (const char *path, char *buf, size_t cap), (path, buf, cap))
TORTURE_WRAP_INT(thread_start,
		 (struct sys_thread * *out, const char *name, void (*fn)(void *), void *arg),
		 (out, name, fn, arg))
TORTURE_WRAP_INT(thread_pin, (int cpu), (cpu))
TORTURE_WRAP_INT(cpu_allowed, (int *cpus, int cap), (cpus, cap))
TORTURE_WRAP_INT(monitor_open, (struct sys_monitor * *out), (out))
TORTURE_WRAP_INT(pool_open, (struct sys_pool * *out, unsigned keep, unsigned max), (out, keep, max))
TORTURE_WRAP_INT(pool_submit, (struct sys_pool * p, struct sys_job *job), (p, job))
TORTURE_WRAP_INT(altstack_set, (void *p, size_t n), (p, n))

/* Closed all the same, as on Linux. */
int __real_sys_close(int fd);
int __wrap_sys_close(int fd);
int __wrap_sys_close(int fd)
{
	int e = torture_point(CALL_close), r = __real_sys_close(fd);

	return e ? -e : r;
}

/* The limits are told all the same. */
int __real_sys_nofile_raise(uint64_t *soft, uint64_t *hard);
int __wrap_sys_nofile_raise(uint64_t *soft, uint64_t *hard);
int __wrap_sys_nofile_raise(uint64_t *soft, uint64_t *hard)
{
	int e = torture_point(CALL_nofile_raise), r = __real_sys_nofile_raise(soft, hard);

	return e ? -e : r;
}

extern const struct ring_kernel __real_ring_kernel_uring;

static int torture_setup(struct io_uring *u, unsigned entries, struct io_uring_params *p)
{
	int e = torture_point(CALL_ring_setup);

	return e ? -e : __real_ring_kernel_uring.setup(u, entries, p);
}

/* Taking a registration back fails only where none was made. */
static bool takes_back(unsigned opcode, const void *arg)
{
	if (opcode == IORING_REGISTER_FILES_UPDATE) {
		const struct io_uring_rsrc_update *up = arg;

		return *(const int *)(uintptr_t)up->data < 0;
	}
	return opcode == IORING_UNREGISTER_FILES || opcode == IORING_UNREGISTER_BUFFERS ||
	       opcode == IORING_UNREGISTER_PBUF_RING || opcode == IORING_UNREGISTER_RING_FDS;
}

static int torture_reg(struct io_uring *u, unsigned opcode, void *arg, unsigned nr)
{
	int e = takes_back(opcode, arg) ? 0 : torture_point(CALL_ring_reg);

	return e ? -e : __real_ring_kernel_uring.reg(u, opcode, arg, nr);
}

static int torture_enter(struct io_uring *u, unsigned to_submit, unsigned min_complete,
			 unsigned flags, const void *arg, size_t arg_bytes)
{
	int e = torture_point(CALL_ring_enter);

	return e ? -e
		 : __real_ring_kernel_uring.enter(u, to_submit, min_complete, flags, arg,
						  arg_bytes);
}

static void torture_exit(struct io_uring *u)
{
	__real_ring_kernel_uring.exit(u);
}

extern const struct ring_kernel __wrap_ring_kernel_uring;
const struct ring_kernel __wrap_ring_kernel_uring = {
	.name = "torture",
	.setup = torture_setup,
	.exit = torture_exit,
	.enter = torture_enter,
	.reg = torture_reg,
};

#endif
