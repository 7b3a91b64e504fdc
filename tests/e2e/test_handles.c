/* Handles and calls used wrongly: each mistake has its error, is counted, and harms nobody. */
#include "rig.h"
#include <sys/wait.h>

/* Every call that takes a connection, for one mistake with one answer. */
static void every_call_gives(rln_conn c, int want, bool in_task)
{
	struct sockaddr_storage peer;
	struct iovec iov = { "x", 1 };
	rln_piece pc = { "x", 1, NULL, NULL };
	uint8_t mem[8];
	rln_view v;
	rln_buf b;
	int waits = in_task ? want : -EDEADLK; /* a callback is told first that it may not wait */

	if (want == -EPERM)
		waits = -EPERM;
	CHECK_INT(rln_recv(c, &v), ==, waits);
	CHECK_INT(rln_fill(c, &v), ==, waits);
	CHECK_INT(rln_peek(c, 1, &v), ==, waits);
	CHECK_INT(rln_recv_exact(c, 1, &v), ==, waits);
	CHECK_INT(rln_recv_until(c, "x", 1, &v), ==, waits);
	CHECK_INT(rln_recv_into(c, mem, sizeof mem), ==, waits);
	CHECK_INT(rln_recv_full(c, mem, sizeof mem), ==, waits);
	CHECK_INT(rln_recv_buf(c, &b), ==, waits);
	CHECK_INT(rln_send(c, "x", 1), ==, waits);
	CHECK_INT(rln_sendv(c, &iov, 1), ==, waits);
	CHECK_INT(rln_send_pieces(c, &pc, 1), ==, waits);
	CHECK_INT(rln_flush(c), ==, waits);
	CHECK_INT(rln_try_recv(c, &v), ==, want);
	CHECK_INT(rln_consume(c, 0), ==, want);
	CHECK_INT(rln_send_nowait(c, "x", 1), ==, want);
	CHECK_INT(rln_shutdown_send(c), ==, want);
	CHECK_INT(rln_close(c), ==, want);
	CHECK_INT(rln_reset(c), ==, want);
	CHECK_INT(rln_keep_open(c), ==, want);
	CHECK_INT(rln_peer(c, &peer), ==, want);
	CHECK_INT(rln_give(c, 0, (void (*)(rln_conn, void *))abort, NULL), ==, want);
	CHECK_INT(rln_to_task(c, (void (*)(rln_conn, void *))abort, NULL), ==, want);
	CHECK_INT(rln_sent(c), ==, 0);
	CHECK(rln_user(c) == NULL);
	rln_set_user(c, mem);
}

TASK_TEST(handles_stale_are_ebadf)
{
	struct pair p = pair_tcp(NULL), q;
	rln_conn stale = p.c;
	rln_stats before, after;

	CHECK_INT(rln_stats_get(NULL, 0, &before), ==, 0);
	pair_close(&p);
	every_call_gives(stale, -EBADF, true);
	CHECK_INT(rln_sleep(RLN_MS(2)), ==, 0);
	every_call_gives(stale, -EBADF, true);
	q = pair_tcp(NULL); /* the slot may be its own again */
	every_call_gives(stale, -EBADF, true);
	every_call_gives((rln_conn){ 0 }, -EBADF, true);
	CHECK(rln_user(q.c) == NULL);
	put(q.fd, "intact");
	rln_view v;
	CHECK_INT(rln_recv_exact(q.c, 6, &v), ==, 6);
	CHECK_INT(rln_stats_get(NULL, 0, &after), ==, 0);
	CHECK_INT(after.misuse - before.misuse, >=, 4 * 22);
	pair_close(&q);
}

static rln_conn elsewhere;
static bool done_elsewhere;

static int use_elsewhere(void *arg)
{
	(void)arg;
	CHECK_INT(rln_worker(), ==, 1);
	every_call_gives(elsewhere, -EXDEV, true);
	__atomic_store_n(&done_elsewhere, true, __ATOMIC_RELEASE);
	return 0;
}

TASK_TEST_CFG(handles_of_another_worker_are_exdev, .workers = 2)
{
	struct pair p = pair_tcp(NULL);
	rln_view v;

	elsewhere = p.c;
	CHECK_INT(rln_go_on(NULL, 1, use_elsewhere, NULL, NULL), ==, 0);
	TASK_EVENTUALLY(__atomic_load_n(&done_elsewhere, __ATOMIC_ACQUIRE));
	put(p.fd, "intact");
	CHECK_INT(rln_recv_exact(p.c, 6, &v), ==, 6);
	CHECK(rln_user(p.c) == NULL);
	pair_close(&p);
}

static void *use_foreign(void *arg)
{
	rln_conn c = *(rln_conn *)arg;
	rln_task t;
	struct sockaddr_in in = { .sin_family = AF_INET };

	for (int i = 0; i < 3; i++)
		every_call_gives(c, -EPERM, true);
	CHECK_INT(rln_connect("127.0.0.1:1", NULL, &c), ==, -EPERM);
	CHECK_INT(rln_connect_addr((struct sockaddr *)&in, sizeof in, NULL, &c), ==, -EPERM);
	CHECK_INT(rln_adopt_fd(0, &c), ==, -EPERM);
	CHECK_INT(rln_sleep(1), ==, -EPERM);
	CHECK_INT(rln_yield(), ==, -EPERM);
	CHECK_INT(rln_checkpoint(), ==, -EPERM);
	CHECK_INT(rln_go(use_elsewhere, NULL, NULL), ==, -EPERM);
	CHECK_INT(rln_go_on(NULL, 0, use_elsewhere, NULL, NULL), ==, -EPERM);
	CHECK_INT(rln_post(NULL, 0, free, NULL), ==, -EPERM);
	CHECK_INT(rln_spawn(use_elsewhere, NULL, NULL, &t), <, 0);
	CHECK(!rln_cancelled());
	CHECK_INT(rln_self().h, ==, 0);
	CHECK_INT(rln_worker(), ==, UINT32_MAX);
	CHECK_INT(rln_workers(), ==, 0);
	CHECK(rln_worker_state() == NULL);
	return NULL;
}

TASK_TEST(handles_from_a_foreign_thread_are_eperm)
{
	struct pair p = pair_tcp(NULL);
	pthread_t th;

	CHECK(pthread_create(&th, NULL, use_foreign, &p.c) == 0);
	pthread_join(th, NULL);
	put(p.fd, "intact");
	await_input(p.c, 6);
	pair_close(&p);
}

/* ---- in callbacks */
static bool posted;
static struct pair in_callback;

static void use_in_callback(void *arg)
{
	rln_conn c;
	rln_view v;
	(void)arg;
	CHECK_INT(rln_recv(in_callback.c, &v), ==, -EDEADLK);
	CHECK_INT(rln_send(in_callback.c, "x", 1), ==, -EDEADLK);
	CHECK_INT(rln_flush(in_callback.c), ==, -EDEADLK);
	CHECK_INT(rln_connect("127.0.0.1:1", NULL, &c), ==, -EDEADLK);
	CHECK_INT(rln_sleep(0), ==, -EDEADLK);
	CHECK_INT(rln_checkpoint(), ==, -EDEADLK);
	CHECK_INT(rln_join((rln_task){ 0 }, NULL), ==, -EDEADLK);
	CHECK_INT(rln_self().h, ==, 0);
	CHECK_INT(rln_worker(), ==, 0);
	/* what does not wait is legal */
	CHECK_INT(rln_try_recv(in_callback.c, &v), ==, -EAGAIN);
	CHECK_INT(rln_send_nowait(in_callback.c, "legal", 5), ==, 0);
	posted = true;
}

TASK_TEST(handles_waiting_in_a_callback_is_edeadlk)
{
	in_callback = pair_tcp(NULL);
	CHECK_INT(rln_post(NULL, 0, use_in_callback, NULL), ==, 0);
	TASK_EVENTUALLY(posted);
	peer_expect(in_callback.fd, "legal");
	pair_close(&in_callback);
	posted = false;
	CHECK_INT(rln_sleep(RLN_MS(2)), ==, 0);
}

static size_t misuse_data(rln_conn c, const uint8_t *p, size_t n, void *arg)
{
	rln_conn other = { c.h ^ 1u << 31 }; /* a generation that never was */
	(void)p, (void)arg;
	every_call_gives(other, -EBADF, false);
	CHECK_INT(rln_close(c), ==, 0);
	return n;
}

TEST(handles_in_callback_mode_wrong_ones_are_ebadf)
{
	static const rln_callbacks cb = { .data = misuse_data };
	rln_listen_opts l = { .cb = &cb };
	struct server s = server_start(&l, NULL);
	int fd = client(&s);

	put(fd, "x");
	expect_eof(fd);
	close(fd);
	CHECK_INT(server_stats(&s).misuse, >=, 20);
	CHECK_INT(server_stop(&s), ==, 0);
}

/* ---- a forked child is no worker */
static void use_in_child(struct pair *p)
{
	int status;
	rln_view v;
	pid_t pid = fork();
	if (pid == 0) {
		bool ok = rln_try_recv(p->c, &v) == -EPERM &&
			  rln_send_nowait(p->c, "x", 1) == -EPERM && rln_sleep(1) == -EPERM;
		_exit(ok ? 0 : 1);
	}
	CHECK(pid > 0 && waitpid(pid, &status, 0) == pid);
	CHECK_INT(status, ==, 0);
}

TASK_TEST(handles_in_a_forked_child_are_eperm)
{
	struct pair p = pair_tcp(NULL);
	rln_view v;

	use_in_child(&p);
	put(p.fd, "intact");
	CHECK_INT(rln_recv_exact(p.c, 6, &v), ==, 6);
	CHECK_INT(rln_send(p.c, "too", 3), ==, 3);
	peer_expect(p.fd, "too");
	pair_close(&p);
}
