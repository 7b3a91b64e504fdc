/*
 * base/sys.h on the current world: virtual time, counted memory, simulated descriptors, seeded
 * randomness. Files are reached by ring only (sim_disk.h); threads are in api_thread.c. Memory that
 * the fake kernel may still use must not be freed; mem_check_free() watches that.
 */
#include "base/sys.h"
#include "base/assert.h"
#include "sim/sim.h"
#include "sim/sim_disk.h"
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define CLOCK_STEP 17 /* ns: a loop that only reads the clock comes to its end */

int64_t sys_now(void)
{
	struct world *w = world_here();

	w->now += CLOCK_STEP;
	return w->now;
}

void sys_random(void *buf, size_t n)
{
	uint8_t *p = buf;

	for (size_t i = 0; i < n; i++)
		p[i] = (uint8_t)rand_next(world_here());
}

/* ---- memory: a header of one alignment unit in front, which holds the way back */
bool alloc_fails(struct world *w)
{
	if (chance(w, w->cfg.alloc_one_in)) {
		w->stats.allocs_failed++;
		hit_ring(w, HIT_ALLOC, 0);
		return true;
	}
	return ++w->stats.allocs == w->cfg.fail_alloc;
}

static void *alloc_new(size_t align, size_t n, bool zero)
{
	struct world *w = world_current();
	size_t head = sizeof(struct sim_alloc);
	struct sim_alloc *a;
	uint8_t *base;

	if (w && alloc_fails(w))
		return NULL;
	align = align < 16 ? 16 : align;
	head = (head + align - 1) / align * align;
	if (align == 16)
		base = zero ? calloc(1, head + n) : malloc(head + n);
	else if (posix_memalign((void **)&base, align, head + n))
		base = NULL;
	if (!base)
		return NULL;
	a = (struct sim_alloc *)(void *)(base + head) - 1;
	a->base = base;
	a->bytes = n;
	list_init(&a->node);
	if (w)
		list_push_back(&w->allocs, &a->node);
	return base + head;
}

void *sys_alloc(size_t n)
{
	void *p = alloc_new(16, n, false);

	if (p)
		memset(p, 0xa5, n < 4096 ? n : 4096);
	return p;
}

void *sys_zalloc(size_t n)
{
	return alloc_new(16, n, true);
}

void *sys_alloc_aligned(size_t align, size_t n)
{
	return alloc_new(align, n, false);
}

void sys_free(void *p)
{
	struct world *w = world_current();
	struct sim_alloc *a;

	if (!p)
		return;
	a = (struct sim_alloc *)p - 1;
	if (w)
		mem_check_free(w, p, a->bytes);
	list_remove(&a->node);
	free(a->base);
}

/* ---- sockets */
static struct sim_sock *sock_at(int fd)
{
	struct sim_file *f = fd_get(world_here(), fd);

	return f && f->kind == SIM_SOCK ? f->sock : NULL;
}

static int no_sock(int fd)
{
	return fd_get(world_here(), fd) ? -ENOTSOCK : -EBADF;
}

int sys_socket(int domain, int type, int protocol)
{
	struct world *w = world_here();
	struct sim_file *f;
	int fd;

	(void)protocol;
	if (domain != AF_INET && domain != AF_INET6 && domain != AF_UNIX)
		return -EAFNOSUPPORT;
	f = file_new(SIM_SOCK);
	f->sock = sock_new(w, domain, type & 0xf);
	fd = fd_install(w, f);
	if (fd < 0)
		file_put(w, f);
	return fd;
}

int sys_bind(int fd, const struct sockaddr *sa, socklen_t n)
{
	struct sim_sock *s = sock_at(fd);

	return s ? sock_bind(s, sa, n) : no_sock(fd);
}

int sys_listen(int fd, int backlog)
{
	struct sim_sock *s = sock_at(fd);

	return s ? sock_listen(s, backlog) : no_sock(fd);
}

int sys_connect(int fd, const struct sockaddr *sa, socklen_t n)
{
	struct sim_sock *s = sock_at(fd);

	return s ? sock_connect(s, sa, n) : no_sock(fd);
}

int sys_setsockopt(int fd, int level, int name, const void *v, socklen_t n)
{
	struct sim_sock *s = sock_at(fd);
	int on = 0;

	if (!s)
		return no_sock(fd);
	memcpy(&on, v, n < sizeof(on) ? n : sizeof(on));
	if (level == SOL_SOCKET && name == SO_REUSEPORT)
		s->reuseport = on;
	return 0;
}

int sys_getsockopt(int fd, int level, int name, void *v, socklen_t *n)
{
	struct sim_sock *s = sock_at(fd);
	int value = 0;

	if (!s)
		return no_sock(fd);
	if (level == SOL_SOCKET && name == SO_TYPE)
		value = s->type;
	else if (level == SOL_SOCKET && name == SO_DOMAIN)
		value = s->family;
	else if (level == SOL_SOCKET && name == SO_ACCEPTCONN)
		value = s->state == SOCK_LISTEN;
	else if (level == SOL_SOCKET && name == SO_ERROR)
		value = -sock_error(s);
	else if (level == SOL_SOCKET && name == SO_REUSEPORT)
		value = s->reuseport;
	*n = *n < sizeof(value) ? *n : (socklen_t)sizeof(value);
	memcpy(v, &value, *n);
	return 0;
}

int sys_getsockname(int fd, struct sockaddr_storage *sa, socklen_t *n)
{
	struct sim_sock *s = sock_at(fd);

	if (!s)
		return no_sock(fd);
	*sa = s->name;
	if (!s->name_len)
		sa->ss_family = (sa_family_t)s->family;
	*n = s->name_len ? s->name_len : sizeof(sa_family_t);
	return 0;
}

int sys_getpeername(int fd, struct sockaddr_storage *sa, socklen_t *n)
{
	struct sim_sock *s = sock_at(fd);

	if (!s)
		return no_sock(fd);
	if (s->state != SOCK_CONNECTED)
		return -ENOTCONN;
	*sa = s->peer_name;
	*n = s->peer_name_len;
	return 0;
}

int sys_shutdown(int fd, int how)
{
	struct sim_sock *s = sock_at(fd);

	return s ? sock_shutdown(s, how) : no_sock(fd);
}

/* ---- descriptors */
int sys_set_blocking(int fd)
{
	return fd_get(world_here(), fd) ? 0 : -EBADF;
}

int sys_close(int fd)
{
	return fd_close(world_here(), fd);
}

int sys_poll(int fd, short events)
{
	struct sim_file *f = fd_get(world_here(), fd);
	unsigned ready = 0;

	if (!f)
		return -EBADF;
	if (f->kind == SIM_SOCK) {
		ready = sock_poll(f->sock);
	} else if (f->kind == SIM_EVENT) {
		ready = POLLOUT | (f->count ? POLLIN : 0);
	} else if (f->kind == SIM_RING) {
		ready = POLLOUT | (ring_readable(f->ring) ? POLLIN : 0);
	} else if (f->kind == SIM_DISK) {
		ready = POLLIN | POLLOUT;
	}
	return (int)(ready & ((unsigned short)events | POLLERR | POLLHUP));
}

int sys_dup(int fd)
{
	struct world *w = world_here();
	struct sim_file *f = fd_get(w, fd);
	int copy;

	if (!f)
		return -EBADF;
	copy = fd_install(w, f);
	if (copy >= 0)
		file_ref(f);
	return copy;
}

int sys_fd_type(int fd)
{
	struct sim_file *f = fd_get(world_here(), fd);

	if (!f)
		return -EBADF;
	if (f->kind == SIM_DISK)
		return f->open->file->mode & S_IFMT;
	return f->kind == SIM_SOCK ? S_IFSOCK : 0;
}

/* Names of local sockets vanish with their socket here. */
int sys_unlink_socket(const char *path)
{
	(void)path;
	return -ENOENT;
}

int sys_eventfd(void)
{
	struct world *w = world_here();
	struct sim_file *f = file_new(SIM_EVENT);
	int fd = fd_install(w, f);

	if (fd < 0)
		file_put(w, f);
	return fd;
}

int sys_eventfd_signal(int fd)
{
	struct sim_file *f = fd_get(world_here(), fd);

	if (!f || f->kind != SIM_EVENT)
		return -EBADF;
	f->count++;
	return 0;
}

/* ---- process and machine */
int sys_nofile_raise(uint64_t *soft, uint64_t *hard)
{
	*soft = *hard = 1 << 20;
	return 0;
}

uint64_t sys_memory_allowed(void)
{
	return 1ull << 32;
}

int sys_read_file(const char *path, char *buf, size_t cap)
{
	(void)path;
	(void)buf;
	(void)cap;
	return -ENOENT;
}

bool sys_shadow_stack(void)
{
	return false;
}

void sys_log_write(const char *line)
{
	struct world *w = world_current();

	if (!w || w->trace)
		fprintf(stderr, "%s\n", line);
}

int sys_sigaction(int sig, const struct sigaction *act, struct sigaction *old)
{
	(void)sig;
	(void)act;
	if (old)
		memset(old, 0, sizeof(*old));
	return 0;
}

int sys_sigaltstack(const stack_t *ss, stack_t *old)
{
	(void)ss;
	if (old)
		*old = (stack_t){ .ss_flags = SS_DISABLE };
	return 0;
}
