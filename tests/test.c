#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define EXIT_FAILED 101
#define EXIT_SKIPPED 102

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || defined(RINGLINE_COVERAGE)
#define SLOWER 4
#else
#define SLOWER 1
#endif

static struct test_case *first, **last = &first;

void test_register(struct test_case *t)
{
	*last = t;
	last = &t->next;
}

int64_t test_now_ns(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

void test_fail(const char *file, int line, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	fprintf(stderr, "  %s:%d: ", file, line);
	vfprintf(stderr, fmt, ap);
	fputc('\n', stderr);
	va_end(ap);
	fflush(NULL);
	_exit(EXIT_FAILED);
}

void test_skip(const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	fprintf(stderr, "  skipped: ");
	vfprintf(stderr, fmt, ap);
	fputc('\n', stderr);
	va_end(ap);
	fflush(NULL);
	_exit(EXIT_SKIPPED);
}

void test_dies(const char *file, int line, void (*fn)(void), int sig, const char *text)
{
	int p[2], status = 0;
	static char out[65536];
	size_t n = 0;
	ssize_t r;

	if (pipe2(p, O_CLOEXEC) < 0)
		test_fail(file, line, "pipe2: %s", strerror(errno));
	fflush(NULL);
	pid_t pid = fork();
	if (pid == 0) {
		dup2(p[1], 2);
		close(p[0]);
		fn();
		_exit(0);
	}
	close(p[1]);
	while (n < sizeof out - 1 && (r = read(p[0], out + n, sizeof out - 1 - n)) > 0)
		n += (size_t)r;
	out[n] = 0;
	close(p[0]);
	waitpid(pid, &status, 0);
	bool as_expected = sig > 0 ? WIFSIGNALED(status) && WTERMSIG(status) == sig
				   : WIFEXITED(status) && WEXITSTATUS(status) == -sig;
	if (!as_expected)
		test_fail(file, line, "child ended with wait status %#x, not as expected (%d): %s",
			  (unsigned)status, sig, out);
	if (text && !strstr(out, text))
		test_fail(file, line, "child's stderr has no \"%s\": %s", text, out);
}

/* The child leads a process group, so that what it left running ends with it. */
static int run_forked(struct test_case *t)
{
	int limit_ms = (t->limit_s ? t->limit_s : 30) * SLOWER * 1000, status = 0;
	int alive[2];

	if (pipe2(alive, O_CLOEXEC) < 0)
		return EXIT_FAILED;
	pid_t pid = fork();
	if (pid < 0)
		return EXIT_FAILED;
	if (pid == 0) {
		setpgid(0, 0);
		close(alive[0]);
		fcntl(alive[1], F_SETFD, 0); /* held by whatever the test starts, too */
		fcntl(alive[1], F_SETFD, FD_CLOEXEC);
		t->fn();
		fflush(NULL);
		exit(0); /* runs LeakSanitizer */
	}
	setpgid(pid, pid);
	close(alive[1]);
	struct pollfd pfd = { .fd = alive[0], .events = POLLIN };
	int left = limit_ms;
	int64_t end = test_now_ns() + (int64_t)limit_ms * 1000000;
	while (poll(&pfd, 1, left) < 0 && errno == EINTR)
		left = (int)((end - test_now_ns()) / 1000000);
	bool late = !(pfd.revents);
	if (late)
		kill(-pid, SIGABRT);
	waitpid(pid, &status, 0);
	close(alive[0]);
	kill(-pid, SIGKILL);
	if (late) {
		fprintf(stderr, "  no end within %d s\n", limit_ms / 1000);
		return EXIT_FAILED;
	}
	if (WIFSIGNALED(status)) {
		fprintf(stderr, "  killed by signal %d (%s)\n", WTERMSIG(status),
			strsignal(WTERMSIG(status)));
		return EXIT_FAILED;
	}
	return WEXITSTATUS(status);
}

static bool wanted(const char *name, int argc, char **argv)
{
	bool any = false;
	for (int i = 1; i < argc; i++) {
		if (argv[i][0] == '-')
			continue;
		any = true;
		if (strstr(name, argv[i]))
			return true;
	}
	return !any;
}

int main(int argc, char **argv)
{
	unsigned passed = 0, failed = 0, skipped = 0;
	bool in_process = argc > 1 && !strcmp(argv[1], "--no-fork");

	signal(SIGPIPE, SIG_IGN);
	setvbuf(stdout, NULL, _IOLBF, 0);
	for (struct test_case *t = first; t; t = t->next) {
		if (!wanted(t->name, argc, argv))
			continue;
		if (argc > 1 && !strcmp(argv[1], "-l")) {
			puts(t->name);
			continue;
		}
		fflush(NULL);
		int64_t begin = test_now_ns();
		int rc = 0;
		if (in_process)
			t->fn();
		else
			rc = run_forked(t);
		double ms = (double)(test_now_ns() - begin) / 1e6;
		const char *word = rc == 0 ? "ok" : rc == EXIT_SKIPPED ? "skip" : "FAIL";
		printf("%-4s %s (%.0f ms)\n", word, t->name, ms);
		passed += rc == 0;
		skipped += rc == EXIT_SKIPPED;
		failed += rc != 0 && rc != EXIT_SKIPPED;
	}
	printf("%u passed, %u failed, %u skipped\n", passed, failed, skipped);
	return failed ? 1 : 0;
}
