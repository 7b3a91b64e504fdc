/* Listeners of one worker, and taking their clients by hand. */
#include "rig.h"

static rln_listener up(rln_listen_opts o, struct sockaddr_storage *at)
{
	rln_listener l;

	o.addr = o.addr ? o.addr : "127.0.0.1:0";
	CHECK_INT(rln_listen(&o, &l), ==, 0);
	CHECK_INT(rln_listener_addr(l, at), ==, 0);
	return l;
}

/* Does not wait: the kernel's backlog takes it. */
static int knock(const struct sockaddr_storage *at)
{
	return client_to((const struct sockaddr *)at, at->ss_family == AF_UNIX
							      ? sizeof(struct sockaddr_un)
							      : sizeof(struct sockaddr_in));
}

static void expect_named(rln_conn c, char name)
{
	rln_view v;
	CHECK_INT(RLN_WITHIN(RLN_SEC(20), rln_recv(c, &v)), ==, 1);
	CHECK_INT(v.data[0], ==, name);
}

static int named(const struct sockaddr_storage *at, char name)
{
	int fd = knock(at);
	send_all(fd, &name, 1);
	return fd;
}

TASK_TEST(accept_takes_clients_in_their_order)
{
	struct sockaddr_storage at, peer;
	rln_listener l = up((rln_listen_opts){ 0 }, &at);
	int fd[3];
	rln_conn c[3];

	for (int i = 0; i < 3; i++)
		fd[i] = named(&at, (char)('a' + i));
	for (int i = 0; i < 3; i++) {
		CHECK_INT(rln_accept(l, &c[i]), ==, 0);
		expect_named(c[i], (char)('a' + i));
		CHECK_INT(rln_peer(c[i], &peer), ==, 0);
		CHECK_INT(peer.ss_family, ==, AF_INET);
	}
	for (int i = 0; i < 3; i++) {
		CHECK_INT(rln_send(c[i], "x", 1), ==, 1);
		CHECK_INT(rln_close(c[i]), ==, 0);
		peer_expect(fd[i], "x");
		CHECK_INT(peer_end(fd[i]), ==, 0);
		close(fd[i]);
	}
	CHECK_INT(rln_listener_close(l), ==, 0);
	CHECK_INT(rln_listener_close(l), ==, -EBADF);
	CHECK_INT(rln_accept(l, &c[0]), ==, -EBADF);
}

static int accept_one(void *arg)
{
	rln_conn c;
	int e = rln_accept(*(rln_listener *)arg, &c);

	if (!e)
		rln_close(c);
	return e;
}

TASK_TEST(accept_waiting_is_ended_by_client_cancel_and_close)
{
	struct sockaddr_storage at;
	rln_listener l = up((rln_listen_opts){ 0 }, &at);
	rln_task t[3];
	int result;

	for (int i = 0; i < 3; i++)
		CHECK_INT(rln_spawn(accept_one, &l, NULL, &t[i]), ==, 0);
	CHECK_INT(rln_yield(), ==, 0);
	CHECK_INT(rln_cancel(t[0]), ==, 0);
	CHECK_INT(rln_join(t[0], &result), ==, 0);
	CHECK_INT(result, ==, -ECANCELED);
	int fd = knock(&at);
	CHECK_INT(rln_join(t[1], &result), ==, 0);
	CHECK_INT(result, ==, 0);
	CHECK_INT(rln_listener_close(l), ==, 0);
	CHECK_INT(rln_join(t[2], &result), ==, 0);
	CHECK_INT(result, ==, -ECONNABORTED);
	close(fd);
}

TASK_TEST(accept_cancelled_leaves_the_client_queued)
{
	struct sockaddr_storage at;
	rln_listener l = up((rln_listen_opts){ 0 }, &at);
	rln_conn c;

	CHECK_INT(RLN_WITHIN(RLN_MS(2), rln_accept(l, &c)), ==, -ETIME);
	int fd = named(&at, 'q');
	CHECK_INT(rln_sleep(RLN_MS(5)), ==, 0);
	CHECK_INT(RLN_WITHIN(0, rln_accept(l, &c)), ==, -ETIME); /* it is there, and stays */
	CHECK_INT(rln_accept(l, &c), ==, 0);
	expect_named(c, 'q');
	CHECK_INT(rln_close(c), ==, 0);
	CHECK_INT(rln_listener_close(l), ==, 0);
	close(fd);
}

TASK_TEST(accept_arm_takes_the_client_or_leaves_it)
{
	struct sockaddr_storage at;
	rln_listener l = up((rln_listen_opts){ 0 }, &at);
	rln_conn c;
	rln_arm arms[] = { rln_on_accept(l, &c), rln_on_after(RLN_MS(2)) };

	CHECK_INT(rln_select(arms, 2), ==, 1);
	int fd = named(&at, 's');
	arms[1] = rln_on_after(RLN_SEC(20));
	CHECK_INT(rln_select(arms, 2), ==, 0);
	CHECK_INT(arms[0].res, ==, 0);
	expect_named(c, 's');
	CHECK_INT(rln_close(c), ==, 0);
	CHECK_INT(rln_listener_close(l), ==, 0);
	CHECK_INT(rln_select(arms, 2), ==, 0);
	CHECK_INT(arms[0].res, ==, -EBADF);
	close(fd);
}

/* Nobody takes them: few are accepted ahead, the others wait with the kernel, none is lost. */
TASK_TEST_CFG(accept_untaken_clients_wait_in_the_backlog, .workers = 1)
{
	enum { CLIENTS = 100, AHEAD = 64 };
	struct sockaddr_storage at;
	rln_listener l = up((rln_listen_opts){ 0 }, &at);
	rln_stats st;
	int fd[CLIENTS];
	rln_conn c;

	for (int i = 0; i < CLIENTS; i++)
		fd[i] = named(&at, (char)i);
	CHECK_INT(rln_sleep(RLN_MS(20)), ==, 0);
	CHECK_INT(rln_stats_get(NULL, 0, &st), ==, 0);
	CHECK_INT(st.accepts, <=, AHEAD);
	for (int i = 0; i < CLIENTS; i++) {
		CHECK_INT(RLN_WITHIN(RLN_SEC(20), rln_accept(l, &c)), ==, 0);
		expect_named(c, (char)i);
		CHECK_INT(rln_close(c), ==, 0);
		close(fd[i]);
	}
	CHECK_INT(rln_listener_close(l), ==, 0);
}

TASK_TEST(listener_close_ends_clients_nobody_took)
{
	struct sockaddr_storage at;
	rln_listener l = up((rln_listen_opts){ 0 }, &at);
	rln_stats st;
	int fd = knock(&at);

	TASK_EVENTUALLY(rln_stats_get(NULL, 0, &st) == 0 && st.accepts == 1);
	CHECK_INT(rln_listener_close(l), ==, 0);
	CHECK_INT(peer_end(fd), ==, 0);
	close(fd);
	/* and the port is free again */
	TASK_EVENTUALLY(rln_stats_get(NULL, 0, &st) == 0 && st.conns_open == 0);
	char text[64];
	snprintf(text, sizeof text, "127.0.0.1:%u", ntohs(((struct sockaddr_in *)&at)->sin_port));
	int e;
	TASK_EVENTUALLY((e = rln_listen(&(rln_listen_opts){ .addr = text }, &l)) != -EADDRINUSE);
	CHECK_INT(e, ==, 0);
	rln_listener twice;
	CHECK_INT(rln_listen(&(rln_listen_opts){ .addr = text }, &twice), ==, -EADDRINUSE);
	CHECK_INT(rln_listener_close(l), ==, 0);
}

static void shout(rln_conn c, void *arg)
{
	if (rln_send(c, arg, 2) == 2)
		(void)rln_flush(c);
}

TASK_TEST(listener_with_a_handler_serves_by_itself)
{
	struct sockaddr_storage at;
	rln_listener l = up((rln_listen_opts){ .on_conn = shout, .arg = "hi" }, &at);
	rln_conn c;

	CHECK_INT(rln_accept(l, &c), ==, -EINVAL);
	int fd = knock(&at);
	peer_expect(fd, "hi");
	CHECK_INT(peer_end(fd), ==, 0);
	close(fd);
	CHECK_INT(rln_listener_close(l), ==, 0);
}

/* The settings of a connection stand in its listener: closed first, it lives as long as they. */
TASK_TEST(listener_closed_before_its_connections)
{
	struct sockaddr_storage at;
	rln_listener l = up((rln_listen_opts){ .idle_timeout = RLN_MS(5) }, &at);
	int fd = knock(&at);
	rln_conn c;
	rln_view v;

	CHECK_INT(rln_accept(l, &c), ==, 0);
	CHECK_INT(rln_listener_close(l), ==, 0);
	CHECK_INT(rln_recv(c, &v), ==, -ETIME);
	CHECK_INT(rln_close(c), ==, 0);
	close(fd);
}

TASK_TEST(listener_of_a_unix_path_removes_it)
{
	char path[108], addr[120];
	struct sockaddr_storage at;
	rln_conn c;

	snprintf(path, sizeof path, "/tmp/ringline-test-%d.sock", getpid());
	snprintf(addr, sizeof addr, "unix:%s", path);
	rln_listener l = up((rln_listen_opts){ .addr = addr }, &at);
	int fd = named(&at, 'u');
	CHECK_INT(rln_accept(l, &c), ==, 0);
	expect_named(c, 'u');
	CHECK_INT(rln_close(c), ==, 0);
	CHECK_INT(rln_listener_close(l), ==, 0);
	close(fd);
	TASK_EVENTUALLY(access(path, F_OK) != 0);
}

TASK_TEST(listen_misuse_is_refused)
{
	rln_listener l, many[65];
	struct sockaddr_storage at;

	CHECK_INT(rln_listen(NULL, &l), ==, -EINVAL);
	CHECK_INT(rln_listen(&(rln_listen_opts){ 0 }, &l), ==, -EINVAL);
	CHECK_INT(rln_listen(&(rln_listen_opts){ .addr = "127.0.0.1" }, &l), ==, -EINVAL);
	CHECK_INT(rln_listener_addr((rln_listener){ 0 }, &at), ==, -EBADF);
	CHECK_INT(rln_listener_close((rln_listener){ UINT64_C(7) << 56 | 1 }), ==, -EXDEV);
	int n = 0;
	while (n < 65 && rln_listen(&(rln_listen_opts){ .addr = "127.0.0.1:0" }, &many[n]) == 0)
		n++;
	CHECK_INT(n, ==, 64);
	CHECK_INT(rln_listen(&(rln_listen_opts){ .addr = "127.0.0.1:0" }, &l), ==, -EMFILE);
	while (n > 0)
		CHECK_INT(rln_listener_close(many[--n]), ==, 0);
}

/* ---- drain: the listener is left to it, with clients nobody took */
static int drained_result;
static rln_listener drained_listener;

static int accept_until_drain(void *arg)
{
	rln_conn c;
	(void)arg;
	drained_result = rln_accept(drained_listener, &c);
	return 0;
}

TASK_TEST(accept_in_a_drain_is_told)
{
	struct sockaddr_storage at;
	drained_listener = up((rln_listen_opts){ 0 }, &at);
	rln_listener other = up((rln_listen_opts){ 0 }, &at);
	rln_stats st;
	int fd = knock(&at);

	(void)other;
	TASK_EVENTUALLY(rln_stats_get(NULL, 0, &st) == 0 && st.accepts == 1);
	CHECK_INT(rln_go(accept_until_drain, NULL, NULL), ==, 0);
	CHECK_INT(rln_yield(), ==, 0);
	RLN_SHIELD(sh, RLN_SEC(20)); /* with nothing to serve the drain soon cancels tasks */
	rln_shutdown(NULL);
	CHECK_INT(peer_end(fd), ==, 0);
	close(fd);
	CHECK_INT(drained_result, ==, -ESHUTDOWN);
	rln_listener l;
	CHECK_INT(rln_listen(&(rln_listen_opts){ .addr = "127.0.0.1:0" }, &l), ==, -ESHUTDOWN);
	rln_conn c;
	CHECK_INT(rln_accept(drained_listener, &c), ==, -ESHUTDOWN);
}
