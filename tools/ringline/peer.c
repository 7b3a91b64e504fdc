/* Starting, asking and ending the servers of the demo. */
#include "peer.h"
#include "cli.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ANSWER_MS = 10000, END_MS = 10000 };

/* One line of what the peer prints, without its end. 0, -ETIME, or -EPIPE: it is gone. */
static int read_line(struct peer *p, char *line, size_t cap)
{
	int64_t limit = cli_now() + (int64_t)ANSWER_MS * 1000000;
	size_t n = 0;

	for (;;) {
		struct pollfd fd = { .fd = p->out, .events = POLLIN };
		int64_t left = (limit - cli_now()) / 1000000;
		char c;

		if (left <= 0 || poll(&fd, 1, (int)left) == 0)
			return -ETIME;
		if (read(p->out, &c, 1) != 1)
			return -EPIPE;
		if (c == '\n')
			break;
		if (n + 1 < cap)
			line[n++] = c;
	}
	line[n] = '\0';
	return 0;
}

static _Noreturn void become(char *const argv[], const cpu_set_t *cpus, int out, pid_t parent)
{
	/* Before the look at the parent: one that died in between is not missed. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(EXIT_USAGE);
	if (sched_setaffinity(0, sizeof *cpus, cpus) < 0 || dup2(out, STDOUT_FILENO) < 0)
		_exit(EXIT_USAGE);
	execv("/proc/self/exe", argv);
	_exit(EXIT_USAGE);
}

int peer_start(struct peer *p, char *const argv[], const cpu_set_t *cpus)
{
	static const char said[] = "listening on ";
	pid_t parent = getpid();
	int fd[2], err;
	char line[200] = "";

	if (pipe2(fd, O_CLOEXEC) < 0)
		return -errno;
	fflush(NULL);
	p->pid = fork();
	if (p->pid == 0)
		become(argv, cpus, fd[1], parent);
	close(fd[1]);
	p->out = fd[0];
	if (p->pid < 0) {
		p->pid = 0;
		close(fd[0]);
		return -EAGAIN;
	}
	err = read_line(p, line, sizeof line);
	if (err == 0 && strncmp(line, said, sizeof said - 1) != 0)
		err = -EPROTO;
	if (err < 0) {
		fprintf(stderr, "ringline demo: the %s server did not start: '%s'\n", p->name,
			line);
		peer_stop(p);
		return err;
	}
	snprintf(p->address, sizeof p->address, "%.99s", line + sizeof said - 1);
	return 0;
}

/* User and system time of all its threads, from the kernel's own accounting. */
static int cpu_time(pid_t pid, double *seconds)
{
	unsigned long long user, system;
	char path[64], text[1024];
	const char *p;
	size_t n;
	FILE *f;

	snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
	f = fopen(path, "re");
	if (!f)
		return -errno;
	n = fread(text, 1, sizeof text - 1, f);
	fclose(f);
	text[n] = '\0';
	p = strrchr(text, ')'); /* the name before it may hold anything */
	if (!p || sscanf(p + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu", &user,
			 &system) != 2)
		return -EPROTO;
	*seconds = (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
	return 0;
}

int peer_sample(struct peer *p, struct peer_sample *out)
{
	static const char key[] = "\"syscalls\":";
	char line[2048];
	const char *at;
	int err;

	if (kill(p->pid, SIGUSR1) < 0)
		return -errno;
	err = read_line(p, line, sizeof line);
	if (err < 0)
		return err;
	at = strstr(line, key);
	if (!at)
		return -EPROTO;
	out->syscalls = strtoull(at + sizeof key - 1, NULL, 10);
	return cpu_time(p->pid, &out->cpu_s);
}

int peer_stop(struct peer *p)
{
	int64_t limit = cli_now() + (int64_t)END_MS * 1000000;
	int status = -1;
	pid_t ended = 0;

	if (p->pid <= 0)
		return 0;
	kill(p->pid, SIGTERM);
	while ((ended = waitpid(p->pid, &status, WNOHANG)) == 0 && cli_now() < limit)
		cli_sleep_ms(5);
	if (ended == 0) {
		kill(p->pid, SIGKILL);
		waitpid(p->pid, &status, 0);
	}
	close(p->out);
	p->pid = 0;
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}
