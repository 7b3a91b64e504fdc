/* Received bytes that a program keeps for longer than the runtime they came from. */
#include "rig.h"
#include <pthread.h>
#include <stdatomic.h>

#define HELD 3

static rln_buf held[HELD];
rln_buf buf_kept[HELD]; /* so that nothing looks lost to a leak checker */
static atomic_int taken;
static const char *const text[HELD] = { "buf-0", "buf-1", "buf-2" };

static void takes(rln_conn c, void *arg)
{
	(void)arg;
	for (int i = 0; i < HELD; i++) {
		CHECK_INT(rln_recv_buf(c, &held[i]), ==, 5);
		CHECK_INT(rln_send(c, "k", 1), ==, 1);
		taken++;
	}
}

static void check_held(void)
{
	for (int i = 0; i < HELD; i++) {
		CHECK(held[i].len == 5 && memcmp(held[i].data, text[i], 5) == 0);
	}
}

static void *releases(void *arg)
{
	rln_buf_release(arg);
	return NULL;
}

TEST(buf_held_beyond_its_runtime_stays_and_is_released_anywhere)
{
	rln_listen_opts l = { .on_conn = takes };
	unsigned before = open_fds();
	struct server s = server_start(&l, NULL);
	int fd = client(&s);
	pthread_t thread;

	for (int i = 0; i < HELD; i++) {
		put(fd, text[i]);
		expect(fd, "k");
	}
	CHECK_INT(server_stop(&s), ==, 0);
	expect_eof(fd);
	close(fd);
	EVENTUALLY(open_fds() == before);
	check_held();

	/* another runtime comes and goes, and has its own */
	struct server again = server_start(&l, NULL);
	CHECK_INT(server_stop(&again), ==, 0);
	check_held();
	memcpy(buf_kept, held, sizeof buf_kept);
	rln_buf_release(&held[0]);
	CHECK(pthread_create(&thread, NULL, releases, &held[1]) == 0);
	CHECK(pthread_join(thread, NULL) == 0);
	CHECK(!held[0].own && !held[1].own && held[2].own);
	CHECK(memcmp(held[2].data, "buf-2", 5) == 0);
	rln_buf_release(&held[2]);
	rln_buf_release(&held[2]); /* none: nothing */
}
