/*
 * In the coverage build, in every test program: counters are written at exit(), and most processes
 * of the tests end by _exit() or SIGABRT instead.
 */
#include <signal.h>
#include <unistd.h>

void __gcov_dump(void);
_Noreturn void __real__exit(int status);
_Noreturn void __wrap__exit(int status);

_Noreturn void __wrap__exit(int status)
{
	__gcov_dump();
	__real__exit(status);
}

static void on_abort(int sig)
{
	__gcov_dump();
	signal(sig, SIG_DFL);
	raise(sig);
}

__attribute__((constructor)) static void count_aborts(void)
{
	struct sigaction sa = { .sa_handler = on_abort, .sa_flags = SA_ONSTACK };

	sigaction(SIGABRT, &sa, NULL);
}
