/* What is opened or kept when the drain's time is over already: nobody is left to end it. */
#include "rig.h"
#include <fcntl.h>
#include <signal.h>

#define DRAIN_MS 20
#define KILL_MS 20000 /* a drain that hangs is an abort, and so a failure */

static rln_config late_cfg(void)
{
	return (rln_config){ .workers = 1,
			     .no_pin = true,
			     .drain_timeout = RLN_MS(DRAIN_MS),
			     .drain_idle = RLN_SEC(20),
			     .kill_timeout = RLN_MS(KILL_MS) };
}

static int told;

static void on_close(rln_conn c, int err, void *arg)
{
	(void)c, (void)arg;
	CHECK_INT(err, ==, -ESHUTDOWN);
	told++;
}

/* ---- a connection that its handler leaves to others, who are gone */
static void keep_it(rln_conn c, void *arg)
{
	rln_view v;

	(void)arg;
	CHECK_INT(rln_send(c, "x", 1), ==, 1);
	CHECK_INT(rln_recv(c, &v), ==, -ECANCELED);
	CHECK_INT(rln_keep_open(c), ==, 0);
}

TEST(drain_connection_kept_open_by_a_cancelled_handler_is_reset)
{
	rln_listen_opts l = { .on_conn = keep_it, .on_close = on_close };
	rln_config cfg = late_cfg();
	unsigned before = open_fds();
	struct server s = server_start(&l, &cfg);
	int fd = client(&s);

	expect(fd, "x");
	CHECK_INT(server_stop(&s), ==, 1); /* its task was cut short */
	CHECK_INT(told, ==, 1);
	char byte;
	CHECK_INT(recv_n(fd, &byte, 1), ==, -ECONNRESET);
	close(fd);
	EVENTUALLY(open_fds() == before);
}

/* ---- made when everybody has been cancelled */
static int adopts_late(void *arg)
{
	int p[2];
	rln_conn c;

	(void)arg;
	CHECK(pipe2(p, O_CLOEXEC) == 0);
	CHECK_INT(rln_adopt_fd(p[0], &c), ==, 0);
	CHECK_INT(rln_sleep(RLN_FOREVER), ==, -ECANCELED);
	CHECK_INT(rln_adopt_fd(p[1], &c), ==, -ESHUTDOWN);
	CHECK_INT(close(p[1]), ==, 0); /* still ours */
	return 0;
}

TEST(drain_descriptor_is_not_adopted_after_its_end)
{
	rln_config cfg = late_cfg();
	unsigned before = open_fds();
	rln_runtime *rt;

	cfg.main = adopts_late;
	CHECK_INT(rln_start(&cfg, &rt), ==, 0);
	rln_shutdown(rt);
	CHECK_INT(rln_wait(rt), ==, 1);
	EVENTUALLY(open_fds() == before);
}

/* ---- a connect that everybody's cancellation overtakes, by a task that shields itself from it */
static struct sockaddr_in full_addr;
static int full_fd;
static bool makes_room_began;

static int makes_room(void *arg)
{
	(void)arg;
	makes_room_began = true;
	CHECK_INT(rln_sleep(RLN_FOREVER), ==, -ECANCELED);
	int fd = accept4(full_fd, NULL, NULL, SOCK_CLOEXEC);
	CHECK(fd >= 0);
	close(fd);
	return 0;
}

static int connects_late(void *arg)
{
	rln_conn c = { 0 };
	int queued = client_to((struct sockaddr *)&full_addr, sizeof full_addr);

	(void)arg;
	CHECK_INT(rln_go(makes_room, NULL, NULL), ==, 0);
	CHECK_INT(rln_yield(), ==, 0);
	CHECK(makes_room_began);
	rln_shutdown(NULL);
	RLN_SHIELD(all_the_same, RLN_SEC(15));
	CHECK_INT(rln_connect_addr((struct sockaddr *)&full_addr, sizeof full_addr, NULL, &c), ==,
		  -ESHUTDOWN);
	CHECK_INT(c.h, ==, 0);
	close(queued);
	return 0;
}

TEST(drain_connect_that_succeeds_after_its_end_is_closed)
{
	rln_config cfg = late_cfg();
	unsigned before = open_fds();
	rln_runtime *rt;

	full_fd = raw_listener(&full_addr, 0, 0);
	cfg.main = connects_late;
	CHECK_INT(rln_start(&cfg, &rt), ==, 0);
	CHECK_INT(rln_wait(rt), ==, 1);
	int fd = accept4(full_fd, NULL, NULL, SOCK_CLOEXEC); /* it had succeeded */
	CHECK(fd >= 0);
	close(fd);
	close(full_fd);
	EVENTUALLY(open_fds() == before);
}

/* ---- what never ends */
static int hides_from_it(void *arg)
{
	(void)arg;
	rln_shutdown(NULL);
	RLN_SHIELD(for_long, RLN_SEC(1000));
	return rln_sleep(RLN_FOREVER);
}

static void run_what_never_ends(void)
{
	rln_config cfg = late_cfg();
	rln_runtime *rt;

	cfg.kill_timeout = RLN_MS(20);
	cfg.main = hides_from_it;
	CHECK_INT(rln_start(&cfg, &rt), ==, 0);
	rln_wait(rt);
}

TEST(drain_task_that_does_not_end_within_kill_timeout_is_named_and_aborts)
{
	CHECK_DIES(run_what_never_ends, SIGABRT,
		   "worker 0 does not stop: 1 tasks and 0 connections are left after "
		   "drain_timeout and kill_timeout; aborting\n");
	CHECK_DIES(run_what_never_ends, SIGABRT, "in rln_sleep");
}
