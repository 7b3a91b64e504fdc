/* rln_on_fd and rln_on_draining: descriptors of other code, and the runtime's own end. */
#include "rig.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>

static int select_fd(int fd, short events, rln_ns dur, int *res)
{
	rln_arm a[2] = { rln_on_fd(fd, events), rln_on_after(dur) };
	int i = rln_select(a, 2);

	if (i == 0)
		*res = a[0].res;
	return i;
}

TASK_TEST(on_fd_ready_now_says_which_events)
{
	int sv[2], res = 0;

	CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv) == 0);
	CHECK_INT(select_fd(sv[0], POLLIN | POLLOUT, RLN_SEC(20), &res), ==, 0);
	CHECK_INT(res, ==, POLLOUT);
	put(sv[1], "x");
	CHECK_INT(select_fd(sv[0], POLLIN | POLLOUT, RLN_SEC(20), &res), ==, 0);
	CHECK_INT(res, ==, POLLIN | POLLOUT);
	CHECK_INT(select_fd(sv[0], POLLIN, RLN_SEC(20), &res), ==, 0); /* nothing was read */
	close(sv[1]);
	CHECK_INT(select_fd(sv[0], 0, RLN_SEC(20), &res), ==, 0); /* hang-ups always count */
	CHECK(res & POLLHUP);
	close(sv[0]);
}

static void write_event(void *arg)
{
	uint64_t one = 1;
	CHECK(write(*(int *)arg, &one, sizeof one) == sizeof one);
}

TASK_TEST(on_fd_becomes_ready_while_it_is_waited_for)
{
	int fd = eventfd(0, EFD_CLOEXEC), res = 0;
	uint64_t count;
	struct peer p;

	for (int i = 0; i < 20; i++) {
		CHECK_INT(select_fd(fd, POLLIN, RLN_MS(1), &res), ==, 1);
		peer_start(&p, write_event, &fd);
		CHECK_INT(select_fd(fd, POLLIN, RLN_SEC(20), &res), ==, 0);
		CHECK_INT(res, ==, POLLIN);
		CHECK(read(fd, &count, sizeof count) == sizeof count);
		peer_join(&p);
	}
	close(fd);
}

TASK_TEST(on_fd_number_used_for_another_file_is_watched_anew)
{
	int a = eventfd(0, EFD_CLOEXEC), b = eventfd(1, EFD_CLOEXEC), res = 0;

	CHECK_INT(select_fd(a, POLLIN, RLN_MS(1), &res), ==, 1);
	CHECK_INT(dup3(b, a, O_CLOEXEC), ==, a); /* the poll of the select is on its way out */
	CHECK_INT(select_fd(a, POLLIN, RLN_SEC(20), &res), ==, 0);
	close(a);
	close(b);
}

TASK_TEST(on_fd_of_no_descriptor_is_ebadf)
{
	int fd = eventfd(0, EFD_CLOEXEC), res = 0;

	close(fd);
	CHECK_INT(select_fd(fd, POLLIN, RLN_SEC(20), &res), ==, 0);
	CHECK_INT(res, ==, -EBADF);
	CHECK_INT(select_fd(-1, POLLIN, RLN_SEC(20), &res), ==, 0);
	CHECK_INT(res, ==, -EBADF);
}

TASK_TEST(on_fd_lost_and_cancelled_often_leaves_nothing)
{
	int fd = eventfd(0, EFD_CLOEXEC), other = eventfd(0, EFD_CLOEXEC), res = 0;

	for (int i = 0; i < 300; i++) {
		rln_arm a[3] = { rln_on_fd(fd, POLLIN), rln_on_fd(fd, POLLIN),
				 rln_on_fd(other, POLLIN) };
		CHECK_INT(RLN_WITHIN(RLN_US(1), rln_select(a, 3)), ==, -ETIME);
	}
	CHECK_INT(select_fd(fd, POLLIN, 0, &res), ==, 1);
	close(fd);
	close(other);
}

/* Several arms become ready at once: one wins, the others' completions find it gone. */
TASK_TEST(on_fd_many_ready_at_once_give_one_winner)
{
	enum { N = 8 };
	rln_arm a[N];
	int fd[N];
	struct itimerspec soon = { .it_value = { .tv_nsec = 3000000 } };

	for (int i = 0; i < N; i++) {
		fd[i] = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
		CHECK(timerfd_settime(fd[i], 0, &soon, NULL) == 0);
		a[i] = rln_on_fd(fd[i], POLLIN);
	}
	int won = rln_select(a, N);
	CHECK(won >= 0 && won < N);
	CHECK_INT(a[won].res, ==, POLLIN);
	for (int i = 0; i < N; i++)
		close(fd[i]);
}

/* ---- the drain */
static atomic_int ready, saw;

static int until_draining(void *arg)
{
	rln_arm a[2] = { rln_on_draining(), rln_on_after(RLN_SEC(20)) };

	(void)arg;
	atomic_fetch_add(&ready, 1);
	CHECK_INT(rln_select(a, 2), ==, 0);
	CHECK_INT(a[0].res, ==, 0);
	CHECK_INT(rln_select(a, 2), ==, 0); /* it stays so */
	atomic_fetch_add(&saw, 1);
	return 0;
}

/* A connection that stays open, so that the drain goes on while its task says goodbye. */
static void say_goodbye(rln_conn c, void *arg)
{
	rln_arm a[2] = { rln_on_readable(c), rln_on_draining() };

	(void)arg;
	atomic_fetch_add(&ready, 1);
	CHECK_INT(rln_select(a, 2), ==, 1);
	CHECK_INT(rln_send(c, "bye", 3), ==, 3);
	atomic_fetch_add(&saw, 1);
}

TEST(on_draining_is_heard_of_on_every_worker_and_connection)
{
	rln_listen_opts l = { .addr = "127.0.0.1:0", .on_conn = say_goodbye };
	rln_config cfg = { .workers = 2, .no_pin = true, .listen = &l, .nlisten = 1 };
	struct sockaddr_storage at;
	rln_runtime *rt;
	char bye[4] = "";

	CHECK_INT(rln_start(&cfg, &rt), ==, 0);
	CHECK_INT(rln_listen_addr(rt, 0, &at), ==, 0);
	for (unsigned i = 0; i < 2; i++)
		CHECK_INT(rln_go_on(rt, i, until_draining, NULL, NULL), ==, 0);
	int fd = client_to((struct sockaddr *)&at, sizeof(struct sockaddr_in));
	EVENTUALLY(atomic_load(&ready) == 3);
	rln_shutdown(rt);
	CHECK_INT(recv_n(fd, bye, 3), ==, 3);
	CHECK_STR(bye, "bye");
	expect_eof(fd);
	close(fd);
	CHECK_INT(rln_wait(rt), ==, 0);
	CHECK_INT(atomic_load(&saw), ==, 3);
}
