/*
 * A supervisor: keeps copies of a program running. One that ends is started again, after a pause
 * that doubles while they end soon, and is short again once one has lived for a while. SIGTERM asks
 * all of them, and what they have started, to end; what has not after a second is killed.
 * usage: supervisor COPIES PROGRAM [ARGUMENT...]
 */
#include <errno.h>
#include <ringline.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PAUSE_MIN RLN_MS(50)
#define PAUSE_MAX RLN_SEC(10)
#define LONG_LIVED RLN_SEC(5)
#define GRACE RLN_SEC(1)

static char **program;
static int copies;

static void say_end(int pid, const rln_proc_status *st, const char *next)
{
	if (st->signo)
		printf("%d: ended by signal %d (%s), %s\n", pid, st->signo, strsignal(st->signo),
		       next);
	else
		printf("%d: exited with %d, %s\n", pid, st->code, next);
	fflush(stdout);
}

/* What the cancelled supervisor still does: a shield lets it wait, for so long. */
static bool end_by(rln_proc p, int signo, rln_proc_status *st)
{
	RLN_SHIELD(shield, GRACE);
	rln_proc_kill_group(p, signo);
	return rln_proc_wait(p, st) == 0;
}

static int keep_running(void *arg)
{
	const rln_proc_opts o = { .argv = (const char *const *)program, .group = true };
	rln_ns pause = PAUSE_MIN;

	(void)arg;
	for (;;) {
		rln_ns began = rln_now();
		rln_proc_status st;
		rln_proc p;
		int e = rln_proc_spawn(&o, &p, NULL);

		if (e < 0) {
			fprintf(stderr, "supervisor: %s: %s\n", program[0], rln_strerror(e));
			return e;
		}
		int pid = rln_proc_pid(p);
		printf("%d: started\n", pid);
		fflush(stdout);
		if (rln_proc_wait(p, &st) < 0) {
			if (end_by(p, SIGTERM, &st) || end_by(p, SIGKILL, &st))
				say_end(pid, &st, "for good");
			return 0;
		}
		if (rln_now() - began >= LONG_LIVED)
			pause = PAUSE_MIN;
		say_end(pid, &st, "to be started again");
		if (rln_sleep(pause) < 0)
			return 0;
		pause = pause * 2 < PAUSE_MAX ? pause * 2 : PAUSE_MAX;
	}
}

static int supervise(void *arg)
{
	RLN_GROUP(g);

	(void)arg;
	for (int i = 0; i < copies; i++)
		rln_group_spawn(&g, keep_running, NULL);
	/* The first that cannot start its program ends the others. */
	int e = rln_group_wait(&g);
	return e == 0 || e == -ECANCELED ? 0 : 1;
}

int main(int argc, char **argv)
{
	copies = argc > 2 ? atoi(argv[1]) : 0;
	if (copies < 1) {
		fprintf(stderr, "usage: supervisor COPIES PROGRAM [ARGUMENT...]\n");
		return 2;
	}
	program = argv + 2;
	return rln_main(&(rln_config){ .workers = 1, .main = supervise });
}
