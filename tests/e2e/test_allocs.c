/*
 * The data path takes no memory: what is allocated while requests are served, counted by standing
 * in for the allocator. Sanitizers do that themselves.
 */
#include "net.h"
#include "echo_modes.h"

#include <sched.h>
#include <stdatomic.h>

#define CLIENTS 10
#define WARM 50
#define ROUNDS 200

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)

TEST(allocs_of_requests_are_none)
{
	SKIP("a sanitizer stands in for the allocator");
}

TEST(allocs_of_posts_are_none)
{
	SKIP("a sanitizer stands in for the allocator");
}

#else
static atomic_uint allocations;

void *__libc_malloc(size_t n);
void *__libc_calloc(size_t n, size_t each);
void *__libc_realloc(void *p, size_t n);
void *__libc_memalign(size_t align, size_t n);

void *malloc(size_t n)
{
	atomic_fetch_add(&allocations, 1);
	return __libc_malloc(n);
}

void *calloc(size_t n, size_t each)
{
	atomic_fetch_add(&allocations, 1);
	return __libc_calloc(n, each);
}

void *realloc(void *p, size_t n)
{
	atomic_fetch_add(&allocations, 1);
	return __libc_realloc(p, n);
}

void *aligned_alloc(size_t align, size_t n)
{
	atomic_fetch_add(&allocations, 1);
	return __libc_memalign(align, n);
}

int posix_memalign(void **p, size_t align, size_t n)
{
	atomic_fetch_add(&allocations, 1);
	*p = __libc_memalign(align, n);
	return *p ? 0 : ENOMEM;
}

static void exchange(const int *fd, unsigned rounds, size_t bytes)
{
	static uint8_t out[3000], in[3000];

	pattern_fill(out, 0, bytes);
	for (unsigned r = 0; r < rounds; r++) {
		for (unsigned i = 0; i < CLIENTS; i++)
			send_all(fd[i], out, bytes);
		for (unsigned i = 0; i < CLIENTS; i++) {
			CHECK_INT(recv_n(fd[i], in, bytes), ==, bytes);
			CHECK(memcmp(in, out, bytes) == 0);
		}
	}
}

TEST(allocs_of_requests_are_none)
{
	static const size_t sizes[] = { 64, 3000 };

	for (int m = 0; m < 3; m++) {
		rln_listen_opts l = echo_mode(m);
		struct server s = server_start(&l, NULL);
		int fd[CLIENTS];

		for (unsigned i = 0; i < CLIENTS; i++)
			fd[i] = client(&s);
		for (unsigned i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
			exchange(fd, WARM, sizes[i]); /* pools fill */
			unsigned before = atomic_load(&allocations);
			exchange(fd, ROUNDS, sizes[i]);
			/* by chance more may be under way at once than ever before */
			CHECK_INT(atomic_load(&allocations) - before, <=, CLIENTS);
		}
		for (unsigned i = 0; i < CLIENTS; i++)
			close(fd[i]);
		CHECK_INT(server_stop(&s), ==, 0);
	}
	CHECK_INT(atomic_load(&allocations), >, 0); /* it does count */
}

static void note(void *arg)
{
	atomic_fetch_add((atomic_uint *)arg, 1);
}

/* While fewer are under way than one block of messages holds. */
static void post_often(rln_runtime *rt, unsigned n)
{
	atomic_uint ran = 0;

	for (unsigned i = 0; i < n; i++) {
		CHECK_INT(rln_post(rt, 0, note, &ran), ==, 0);
		while (i + 1 - atomic_load(&ran) > 100)
			sched_yield();
	}
	while (atomic_load(&ran) < n)
		sched_yield();
}

TEST(allocs_of_posts_are_none)
{
	rln_config cfg = { .workers = 1, .no_pin = true };
	rln_runtime *rt;

	CHECK_INT(rln_start(&cfg, &rt), ==, 0);
	post_often(rt, 1000);
	unsigned before = atomic_load(&allocations);
	post_often(rt, 20000);
	CHECK_INT(atomic_load(&allocations) - before, ==, 0);
	rln_shutdown(rt);
	CHECK_INT(rln_wait(rt), ==, 0);
}

#endif
