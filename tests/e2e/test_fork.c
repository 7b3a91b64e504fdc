/*
 * fork(2), alone and with exec(2), from a task and from other threads. A child has the memory of a
 * runtime, and nothing else of it: every call finds that out, and the parent's never notices.
 */
#include "rig.h"
#include <fcntl.h>
#include <limits.h>
#include <sys/wait.h>

static void nothing(void *arg)
{
	(void)arg;
}

static int nothing_task(void *arg)
{
	(void)arg;
	return 0;
}

static int child_status(pid_t pid)
{
	int status = -1;

	CHECK(pid > 0);
	while (waitpid(pid, &status, 0) < 0)
		CHECK(errno == EINTR);
	return status;
}

static int post_count;

static void count_post(void *arg)
{
	(void)arg;
	post_count++;
}

static int say_posts(void *arg)
{
	(void)arg;
	return post_count;
}

/* Which call did not say that it cannot be used; 0: none. */
static int use_in_child(rln_runtime *rt)
{
	int result;

	if (rln_post(rt, 0, nothing, NULL) != -EPERM)
		return 1;
	if (rln_call(rt, 0, nothing_task, NULL, &result) != -EPERM)
		return 2;
	if (rln_go_on(rt, 0, nothing_task, NULL, NULL) != -EPERM)
		return 3;
	rln_shutdown(rt);
	if (rln_wait(rt) != -EPERM)
		return 4;
	if (rln_worker() != UINT_MAX || rln_workers() != 0 || rln_self().h != 0)
		return 5;
	if (rln_go(nothing_task, NULL, NULL) != -EPERM || rln_sleep(1) != -EPERM)
		return 6;
	return 0;
}

static rln_runtime *runtime(void)
{
	rln_runtime *rt;
	CHECK_INT(rln_start(&(rln_config){ .workers = 1, .no_pin = true }, &rt), ==, 0);
	return rt;
}

TEST(fork_from_another_thread_leaves_a_child_without_runtime)
{
	rln_runtime *rt = runtime();
	int posts = -1;

	pid_t pid = fork();
	if (pid == 0)
		_exit(use_in_child(rt));
	int status = child_status(pid);
	CHECK(WIFEXITED(status));
	CHECK_INT(WEXITSTATUS(status), ==, 0);
	/* neither stopped nor confused */
	CHECK_INT(rln_post(rt, 0, count_post, NULL), ==, 0);
	CHECK_INT(rln_call(rt, 0, say_posts, NULL, &posts), ==, 0);
	CHECK_INT(posts, ==, 1);
	rln_shutdown(rt);
	CHECK_INT(rln_wait(rt), ==, 0);
}

static int fork_in_task(void *arg)
{
	rln_runtime *rt = arg;
	pid_t pid = fork();

	if (pid == 0)
		_exit(use_in_child(rt));
	int status = child_status(pid);
	CHECK(WIFEXITED(status));
	CHECK_INT(rln_sleep(RLN_US(10)), ==, 0);
	return WEXITSTATUS(status);
}

TEST(fork_in_a_task_leaves_a_child_without_runtime)
{
	rln_runtime *rt = runtime();
	int result = -1;

	CHECK_INT(rln_call(rt, 0, fork_in_task, rt, &result), ==, 0);
	CHECK_INT(result, ==, 0);
	rln_shutdown(rt);
	CHECK_INT(rln_wait(rt), ==, 0);
}

/* What a program started from here inherits besides the standard three and its own. */
static void exec_list_fds(int out)
{
	pid_t pid = fork();

	if (pid == 0) {
		dup2(out, 1);
		execl("/bin/sh", "sh", "-c", "for f in /proc/$$/fd/*; do readlink $f; done; exit 7",
		      (char *)NULL);
		_exit(1);
	}
	CHECK_INT(WEXITSTATUS(child_status(pid)), ==, 7);
}

static int exec_in_task(void *arg)
{
	exec_list_fds(*(int *)arg);
	return 0;
}

static void check_listed(int fd)
{
	char text[8192];
	size_t n = 0;

	for (ssize_t r; (r = read(fd, text + n, sizeof text - 1 - n)) > 0;)
		n += (size_t)r;
	text[n] = 0;
	CHECK_HAS(text, "pipe:");
	CHECK(!strstr(text, "io_uring"));
	CHECK(!strstr(text, "eventfd"));
	CHECK(!strstr(text, "socket"));
}

static void wait_for_end(rln_conn c, void *arg)
{
	rln_view v;
	(void)arg;
	while (rln_recv(c, &v) > 0)
		;
}

TEST(fork_and_exec_inherits_nothing_of_the_runtime)
{
	static const rln_listen_opts l = { .on_conn = wait_for_end };
	struct server s = server_start(&l, NULL);
	int fd = client(&s), result;

	for (int from_task = 0; from_task < 2; from_task++) {
		int p[2];
		CHECK(pipe2(p, O_CLOEXEC) == 0);
		if (from_task)
			CHECK_INT(rln_call(s.rt, 0, exec_in_task, &p[1], &result), ==, 0);
		else
			exec_list_fds(p[1]);
		close(p[1]);
		check_listed(p[0]);
		close(p[0]);
	}
	close(fd);
	CHECK_INT(server_stop(&s), ==, 0);
}
