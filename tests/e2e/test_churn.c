/* Many short connections beside one that stays: what the kernel keeps of those that are closed. */
#include "rig.h"
#include "echo_modes.h"

#include <fcntl.h>
#include <stdlib.h>

#define SHORT_ONES 6000

/* Open files of the whole machine: sockets that nobody has a descriptor of count, too. */
static long machine_files(void)
{
	FILE *f = fopen("/proc/sys/fs/file-nr", "re");
	long n = -1;

	CHECK(f);
	CHECK_INT(fscanf(f, "%ld", &n), ==, 1);
	fclose(f);
	return n;
}

TEST_LIMIT(churn_beside_an_idle_connection_keeps_few_closed_sockets, 300)
{
	rln_listen_opts l = echo_mode(2);
	struct server s = server_start(&l, NULL);
	int idle = client(&s);
	long before, now;

	if (!getenv("RINGLINE_OWN_MACHINE"))
		SKIP("counts the open files of a machine that nobody else uses: ./dev vm");
	put(idle, "x");
	expect(idle, "x"); /* its receive is armed, and older than all that follows */
	before = machine_files();
	for (int i = 0; i < SHORT_ONES; i++) {
		int fd = client(&s);

		put(fd, "x");
		expect(fd, "x");
		close(fd);
	}
	now = machine_files();
	printf("  %d connections closed: %ld more files\n", SHORT_ONES, now - before);
	CHECK_INT(now - before, <, SHORT_ONES / 2);
	put(idle, "y");
	expect(idle, "y");
	if (now - before > 32) /* the kernel counts in batches */
		CHECK_INT(server_stats(&s).recv_renewed, >=, 1);
	close(idle);
	CHECK_INT(server_stop(&s), ==, 0);
}

/* The end of a pipe can only be told by letting go of it, whatever older receives are armed. */
TASK_TEST(churn_pipe_closed_beside_an_idle_connection_ends)
{
	struct pair p = pair_tcp(NULL);
	rln_conn c;
	int fd[2];
	char byte;

	put(p.fd, "x");
	await_input(p.c, 1); /* armed from here on */
	CHECK_INT(pipe2(fd, O_CLOEXEC), ==, 0);
	CHECK_INT(rln_adopt_fd(fd[1], &c), ==, 0);
	CHECK_INT(rln_send(c, "y", 1), ==, 1);
	CHECK_INT(rln_close(c), ==, 0);
	CHECK_INT(fcntl(fd[0], F_SETFL, O_NONBLOCK), ==, 0);
	TASK_EVENTUALLY(read(fd[0], &byte, 1) == 1);
	TASK_EVENTUALLY(read(fd[0], &byte, 1) == 0);
	close(fd[0]);
	pair_close(&p);
}
