/* The drain: what runs is finished, what idles is ended, what does not end is cancelled. */
#include "echo_modes.h"
#include "rig.h"
#include <stdatomic.h>

#define ns_of_ms(ms) (INT64_C(1000000) * (ms))

static sem_t began;
static atomic_int ended, last_err;

__attribute__((constructor)) static void prepare(void)
{
	sem_init(&began, 0, 0);
}

static void on_close(rln_conn c, int err, void *arg)
{
	(void)c, (void)arg;
	last_err = err;
	ended++;
}

static void until_told(rln_conn c, void *arg)
{
	rln_view v;
	ssize_t n;
	(void)arg;
	while ((n = rln_recv(c, &v)) > 0)
		CHECK_INT(rln_send(c, v.data, v.len), ==, n);
	last_err = (int)n;
}

TEST(drain_idle_task_ends_after_drain_idle)
{
	rln_listen_opts l = { .on_conn = until_told };
	rln_config cfg = { .workers = 1, .drain_idle = RLN_MS(50) };
	unsigned before = open_fds();
	struct server s = server_start(&l, &cfg);
	int fd = client(&s);

	put(fd, "x");
	expect(fd, "x");
	int64_t begin = test_now_ns();
	CHECK_INT(server_stop(&s), ==, 0);
	int64_t took = test_now_ns() - begin;
	CHECK_INT(took, >=, ns_of_ms(50));
	CHECK_INT(took, <, ns_of_ms(5000));
	CHECK_INT(last_err, ==, -ESHUTDOWN);
	expect_eof(fd);
	close(fd);
	EVENTUALLY(open_fds() == before);
}

/* Neither a stack nor a handler to wait for: these close at once. */
TEST(drain_idle_request_and_callback_connections_close_at_once)
{
	for (int m = 1; m < 3; m++) {
		rln_listen_opts l = echo_mode(m);
		rln_config cfg = { .workers = 2, .drain_idle = RLN_SEC(20) };
		unsigned before = open_fds();
		l.on_close = on_close;
		ended = 0;
		struct server s = server_start(&l, &cfg);
		int fd[10];
		for (int i = 0; i < 10; i++) {
			fd[i] = client(&s);
			put(fd[i], "x");
			expect(fd[i], "x");
		}
		int64_t begin = test_now_ns();
		CHECK_INT(server_stop(&s), ==, 0);
		CHECK_INT(test_now_ns() - begin, <, ns_of_ms(5000));
		CHECK_INT(ended, ==, 10);
		for (int i = 0; i < 10; i++) {
			expect_eof(fd[i]);
			close(fd[i]);
		}
		EVENTUALLY(open_fds() == before);
	}
}

/* Busy first, idle later: its time begins when it becomes idle. */
static void busy_then_idle(rln_conn c, void *arg)
{
	rln_view v;
	(void)arg;
	CHECK_INT(rln_recv(c, &v), ==, 1);
	sem_post(&began);
	CHECK_INT(rln_sleep(RLN_MS(30)), ==, 0);
	CHECK_INT(rln_send(c, "answer", 6), ==, 6);
	last_err = (int)rln_recv(c, &v);
}

TEST(drain_busy_request_is_answered_then_the_task_is_idle)
{
	rln_listen_opts l = { .on_conn = busy_then_idle };
	rln_config cfg = { .workers = 1, .drain_idle = RLN_MS(20) };
	struct server s = server_start(&l, &cfg);
	int fd = client(&s);

	put(fd, "?");
	sem_wait(&began);
	int64_t begin = test_now_ns();
	CHECK_INT(server_stop(&s), ==, 0);
	CHECK_INT(test_now_ns() - begin, <, ns_of_ms(5000));
	CHECK_INT(last_err, ==, -ESHUTDOWN);
	expect(fd, "answer");
	expect_eof(fd);
	close(fd);
}

/* Whatever was sent in full before the drain began gets its answer, in every mode. */
TEST(drain_requests_received_before_are_answered)
{
	for (int round = 0; round < 12; round++) {
		rln_listen_opts l = echo_mode(round % 3);
		rln_config cfg = { .workers = 1 + (unsigned)round % 2, .drain_idle = RLN_MS(10) };
		struct server s = server_start(&l, &cfg);
		enum { N = 20 };
		int fd[N];
		for (int i = 0; i < N; i++) {
			fd[i] = client(&s);
			put(fd[i], "1");
			expect(fd[i], "1"); /* accepted */
		}
		for (int i = 0; i < N; i++)
			put(fd[i], "2");
		CHECK_INT(server_stop(&s), ==, 0);
		for (int i = 0; i < N; i++) {
			expect(fd[i], "2");
			expect_eof(fd[i]);
			close(fd[i]);
		}
	}
}

/* Connections the kernel has queued are accepted before the listener goes. */
TEST(drain_queued_clients_are_accepted_and_answered)
{
	for (int m = 0; m < 3; m++) {
		rln_listen_opts l = echo_mode(m);
		rln_config cfg = { .workers = 1, .drain_idle = RLN_MS(50) };
		struct server s = server_start(&l, &cfg);
		int fd[20];
		for (int i = 0; i < 20; i++) {
			fd[i] = client(&s);
			put(fd[i], "x");
		}
		CHECK_INT(server_stop(&s), ==, 0);
		for (int i = 0; i < 20; i++) {
			expect(fd[i], "x");
			expect_eof(fd[i]);
			close(fd[i]);
		}
	}
}

/* A long reply under way is finished. */
static void long_reply(rln_conn c, void *arg)
{
	sem_post(&began);
	last_err = rln_send(c, arg, 8 * MIB) == (ssize_t)(8 * MIB) ? 0 : -1;
}

TEST(drain_reply_under_way_is_finished)
{
	uint8_t *data = pattern_new(8 * MIB);
	rln_listen_opts l = { .on_conn = long_reply, .arg = data, .sndbuf = 64 << 10 };
	rln_config cfg = { .workers = 1, .drain_idle = RLN_MS(1) };
	struct server s = server_start(&l, &cfg);
	struct transfer t = { .fd = client(&s), .total = 8 * MIB };

	sem_wait(&began);
	rln_shutdown(s.rt);
	read_pattern_peer(&t);
	CHECK_INT(t.got, ==, 8 * MIB);
	CHECK_INT(t.ended, ==, 0);
	close(t.fd);
	CHECK_INT(rln_wait(s.rt), ==, 0);
	CHECK_INT(last_err, ==, 0);
	free(data);
}

/* ---- what does not end by itself */
static void never_ends(rln_conn c, void *arg)
{
	rln_view v;
	int e;
	(void)c, (void)arg;
	sem_post(&began);
	e = rln_sleep(RLN_FOREVER);
	CHECK_INT(e, ==, -ECANCELED);
	CHECK_INT(rln_recv(c, &v), ==, -ECANCELED); /* it stays cancelled */
	RLN_SHIELD(cleanup, RLN_SEC(1));
	CHECK_INT(rln_send(c, "bye", 3), ==, 3); /* cleanup may wait */
	CHECK_INT(rln_flush(c), ==, 0);
	ended++;
}

TEST(drain_task_that_never_ends_is_cancelled_at_drain_timeout)
{
	rln_listen_opts l = { .on_conn = never_ends };
	rln_config cfg = { .workers = 1, .drain_timeout = RLN_MS(50) };
	unsigned before = open_fds();
	struct server s = server_start(&l, &cfg);
	int fd = client(&s);

	sem_wait(&began);
	int64_t begin = test_now_ns();
	CHECK_INT(server_stop(&s), ==, 1);
	CHECK_INT(test_now_ns() - begin, >=, ns_of_ms(50));
	CHECK_INT(test_now_ns() - begin, <, ns_of_ms(5000));
	CHECK_INT(ended, ==, 1);
	expect(fd, "bye");
	close(fd);
	EVENTUALLY(open_fds() == before);
}

static int forever(void *arg)
{
	(void)arg;
	sem_post(&began);
	int e = rln_sleep(RLN_FOREVER);
	ended += e == -ECANCELED;
	return e;
}

TEST(drain_go_tasks_are_cancelled_without_being_late)
{
	rln_listen_opts l = echo_mode(1);
	rln_config cfg = { .workers = 2 };
	struct server s = server_start(&l, &cfg);

	for (unsigned i = 0; i < 10; i++)
		CHECK_INT(rln_go_on(s.rt, i % 2, forever, NULL, NULL), ==, 0);
	for (int i = 0; i < 10; i++)
		sem_wait(&began);
	int64_t begin = test_now_ns();
	CHECK_INT(server_stop(&s), ==, 0);
	CHECK_INT(test_now_ns() - begin, <, ns_of_ms(5000));
	CHECK_INT(ended, ==, 10);
}

/* A go task that still serves somebody is left alone while a connection is there. */
static int late_answer(void *arg)
{
	rln_conn c = { (uint64_t)(uintptr_t)arg };
	rln_view v;
	sem_post(&began);
	CHECK_INT(rln_recv_exact(c, 4, &v), ==, 4);
	CHECK_INT(rln_send(c, v.data, 4), ==, 4);
	CHECK_INT(rln_close(c), ==, 0);
	ended++;
	return 0;
}

static void hand_over(rln_conn c, void *arg)
{
	(void)arg;
	CHECK_INT(rln_keep_open(c), ==, 0);
	CHECK_INT(rln_go(late_answer, (void *)(uintptr_t)c.h, NULL), ==, 0);
}

TEST(drain_receive_of_another_task_goes_on)
{
	rln_listen_opts l = { .on_conn = hand_over };
	rln_config cfg = { .workers = 1, .drain_idle = RLN_MS(1) };
	struct server s = server_start(&l, &cfg);
	int fd = client(&s);

	sem_wait(&began);
	rln_shutdown(s.rt);
	poll(NULL, 0, 40); /* longer than drain_idle: it must not have been told anything */
	put(fd, "late");
	expect(fd, "late");
	expect_eof(fd);
	close(fd);
	CHECK_INT(rln_wait(s.rt), ==, 0);
	CHECK_INT(ended, ==, 1);
}

/* An on_conn task that waits for a child's work is not idle. */
static int slow_child(void *arg)
{
	(void)arg;
	int e = rln_sleep(RLN_MS(60));
	ended++;
	return e;
}

static void with_child(rln_conn c, void *arg)
{
	rln_task t;
	rln_view v;
	(void)arg;
	CHECK_INT(rln_spawn(slow_child, NULL, NULL, &t), ==, 0);
	sem_post(&began);
	CHECK_INT(rln_recv(c, &v), ==, -ESHUTDOWN);
	CHECK_INT(ended, ==, 1); /* not before the child had ended */
}

TEST(drain_task_with_live_children_is_not_idle)
{
	rln_listen_opts l = { .on_conn = with_child };
	rln_config cfg = { .workers = 1, .drain_idle = RLN_MS(5), .drain_timeout = RLN_SEC(10) };
	struct server s = server_start(&l, &cfg);
	int fd = client(&s);

	sem_wait(&began);
	int64_t begin = test_now_ns();
	CHECK_INT(server_stop(&s), ==, 0);
	CHECK_INT(test_now_ns() - begin, <, ns_of_ms(5000));
	CHECK_INT(ended, ==, 1);
	close(fd);
}

/* A close that still flushes to a peer that takes nothing ends at drain_timeout. */
static void stuck_reply(rln_conn c, void *arg)
{
	CHECK_INT(rln_send_nowait(c, arg, TOO_MUCH), >=, 0);
	sem_post(&began);
}

TEST(drain_timeout_resets_a_close_that_does_not_end)
{
	uint8_t *data = pattern_new(TOO_MUCH);
	rln_listen_opts l = { .on_conn = stuck_reply, .arg = data, .sndbuf = 64 << 10 };
	rln_config cfg = { .workers = 1, .drain_timeout = RLN_MS(60) };
	unsigned before = open_fds();
	struct server s = server_start(&l, &cfg);
	struct transfer t = { .fd = client(&s), .total = TOO_MUCH };

	sem_wait(&began);
	int64_t begin = test_now_ns();
	CHECK_INT(server_stop(&s), ==, 1);
	CHECK_INT(test_now_ns() - begin, <, ns_of_ms(5000));
	read_pattern_peer(&t);
	CHECK_INT(t.got, <, TOO_MUCH);
	CHECK_INT(t.ended, ==, -ECONNRESET);
	close(t.fd);
	EVENTUALLY(open_fds() == before);
	free(data);
}

/* Zero-copy pieces the peer never took: their release runs before rln_wait returns. */
static atomic_int released;

static void on_release(void *ud)
{
	(void)ud;
	released++;
}

static void owed_reply(rln_conn c, void *arg)
{
	uint8_t *data = arg;
	rln_piece pc[] = { { data, 4 * MIB, on_release, NULL },
			   { data + 4 * MIB, 4 * MIB, on_release, NULL } };
	CHECK_INT(rln_send_pieces(c, pc, 2), ==, 8 * MIB);
	sem_post(&began);
}

TEST(drain_timeout_brings_owed_notifications)
{
	uint8_t *data = pattern_new(8 * MIB);
	rln_listen_opts l = { .on_conn = owed_reply, .arg = data, .sndbuf = 64 << 10 };
	rln_config cfg = { .workers = 1, .drain_timeout = RLN_MS(60) };
	struct server s = server_start(&l, &cfg);
	int fd = client(&s);

	sem_wait(&began);
	CHECK_INT(server_stop(&s), ==, 1);
	CHECK_INT(released, ==, 2);
	memset(data, 0xee, 8 * MIB);
	free(data);
	close(fd);
}

static int ignores_everything(void *arg)
{
	rln_view v;
	rln_conn c;
	(void)arg;
	sem_post(&began);
	for (int i = 0; i < 100000; i++) { /* each fails at once: the loop ends, others run */
		(void)rln_sleep(RLN_FOREVER);
		(void)rln_yield();
		CHECK_INT(rln_connect("127.0.0.1:1", NULL, &c), <, 0);
		CHECK_INT(rln_recv((rln_conn){ 0 }, &v), <, 0);
	}
	ended++;
	return 0;
}

TEST(drain_task_that_ignores_its_cancellation_still_ends)
{
	rln_listen_opts l = echo_mode(1);
	struct server s = server_start(&l, NULL);

	CHECK_INT(rln_go_on(s.rt, 0, ignores_everything, NULL, NULL), ==, 0);
	sem_wait(&began);
	CHECK_INT(server_stop(&s), ==, 0);
	CHECK_INT(ended, ==, 1);
}

/* ---- ends that only a timer brings: the worker must not sleep over them */
static int tidies_up(void *arg)
{
	(void)arg;
	sem_post(&began);
	CHECK_INT(rln_sleep(RLN_FOREVER), ==, -ECANCELED);
	RLN_SHIELD(cleanup, RLN_SEC(1));
	CHECK_INT(rln_sleep(RLN_MS(20)), ==, 0);
	ended++;
	return 0;
}

TEST(drain_cleanup_that_sleeps_is_waited_for_and_no_longer)
{
	rln_listen_opts l = echo_mode(1);
	struct server s = server_start(&l, NULL);

	CHECK_INT(rln_go_on(s.rt, 0, tidies_up, NULL, NULL), ==, 0);
	sem_wait(&began);
	int64_t begin = test_now_ns();
	CHECK_INT(server_stop(&s), ==, 0);
	CHECK_INT(test_now_ns() - begin, <, ns_of_ms(800));
	CHECK_INT(ended, ==, 1);
}

static void outlives_its_connection(rln_conn c, void *arg)
{
	(void)arg;
	CHECK_INT(rln_close(c), ==, 0);
	sem_post(&began);
	CHECK_INT(rln_sleep(RLN_MS(40)), ==, 0);
	ended++;
}

TEST(drain_task_without_its_connection_is_waited_for_and_no_longer)
{
	rln_listen_opts l = { .on_conn = outlives_its_connection };
	struct server s = server_start(&l, NULL);
	int fd = client(&s);

	expect_eof(fd);
	close(fd);
	sem_wait(&began);
	int64_t begin = test_now_ns();
	CHECK_INT(server_stop(&s), ==, 0);
	CHECK_INT(test_now_ns() - begin, <, ns_of_ms(800));
	CHECK_INT(ended, ==, 1);
}

/* ---- beginning it */
static int ends_with(void *arg)
{
	return *(int *)arg;
}

TEST(drain_begins_when_main_returns)
{
	rln_listen_opts l = { .addr = "127.0.0.1:0", .on_conn = task_echo };
	int status = 7;
	rln_runtime *rt;

	CHECK_INT(rln_start(&(rln_config){ .workers = 2,
					   .no_pin = true,
					   .listen = &l,
					   .nlisten = 1,
					   .main = ends_with,
					   .arg = &status },
			    &rt),
		  ==, 0);
	CHECK_INT(rln_wait(rt), ==, 0); /* its status is rln_main's business */
}

TEST(drain_cancels_main)
{
	rln_runtime *rt;

	CHECK_INT(rln_start(&(rln_config){ .workers = 1, .main = forever }, &rt), ==, 0);
	sem_wait(&began);
	rln_shutdown(rt);
	rln_shutdown(rt); /* changes nothing */
	CHECK_INT(rln_wait(rt), ==, 0);
	CHECK_INT(ended, ==, 1);
}

static void shut_down_by_request(rln_conn c, void *arg)
{
	rln_view v;
	(void)arg;
	CHECK_INT(rln_recv(c, &v), >, 0);
	rln_shutdown(NULL); /* the runtime of this worker */
	CHECK_INT(rln_send(c, "done", 4), ==, 4);
}

TEST(drain_asked_for_on_a_worker)
{
	rln_listen_opts l = { .on_conn = shut_down_by_request };
	rln_config cfg = { .workers = 2 };
	struct server s = server_start(&l, &cfg);
	int fd = client(&s);

	put(fd, "stop");
	expect(fd, "done");
	expect_eof(fd);
	CHECK_INT(rln_wait(s.rt), ==, 0);
	close(fd);
}
