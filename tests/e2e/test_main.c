/* Whole programs: rln_main and rln_serve in a child process, by exit status, signal and stderr. */
#include "echo_modes.h"
#include "rig.h"
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>

struct program {
	pid_t pid;
	int err; /* its stderr */
};

static struct program run(int (*program)(void *), void *arg)
{
	struct program p;
	int fd[2];

	CHECK(pipe2(fd, O_CLOEXEC) == 0);
	fflush(NULL);
	p.pid = fork();
	CHECK(p.pid >= 0);
	if (p.pid == 0) {
		dup2(fd[1], 2);
		close(fd[0]);
		exit(program(arg));
	}
	close(fd[1]);
	p.err = fd[0];
	return p;
}

static int status_of(struct program *p, char *text, size_t cap)
{
	int status;
	size_t n = 0;
	ssize_t r;

	while (n < cap - 1 && (r = read(p->err, text + n, cap - 1 - n)) > 0)
		n += (size_t)r;
	text[n] = 0;
	close(p->err);
	CHECK(waitpid(p->pid, &status, 0) == p->pid);
	return status;
}

/* It has put its signal handlers in place: SIGTERM is caught. */
static bool catches_sigterm(pid_t pid)
{
	char path[64], line[256];
	unsigned long long caught = 0;

	snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
	FILE *f = fopen(path, "re");
	if (!f)
		return false;
	while (fgets(line, sizeof line, f))
		if (sscanf(line, "SigCgt: %llx", &caught) == 1)
			break;
	fclose(f);
	return caught & 1ull << (SIGTERM - 1);
}

static int echo_program(void *addr)
{
	const rln_listen_opts l = { .addr = addr, .on_conn = task_echo };
	return rln_main(&(rln_config){
		.workers = 1, .listen = &l, .nlisten = 1, .drain_idle = RLN_MS(10) });
}

static int serve_program(void *addr)
{
	return rln_serve(addr, task_echo, NULL);
}

/* A socket the program inherits, so that its address is known. */
static int inherited(char *addr, size_t cap, struct sockaddr_in *in)
{
	int lfd = raw_listener(in, 16, 0);
	snprintf(addr, cap, "fd:%d", lfd);
	return lfd;
}

static void ended_by(int (*program)(void *), int sig)
{
	char addr[32], text[4096];
	struct sockaddr_in in;
	int lfd = inherited(addr, sizeof addr, &in);
	struct program p = run(program, addr);
	int fd = client_to((struct sockaddr *)&in, sizeof in);

	put(fd, "served");
	expect(fd, "served");
	EVENTUALLY(catches_sigterm(p.pid));
	CHECK(kill(p.pid, sig) == 0);
	expect_eof(fd);
	close(fd);
	int status = status_of(&p, text, sizeof text);
	CHECK(WIFEXITED(status));
	CHECK_INT(WEXITSTATUS(status), ==, 0);
	CHECK_STR(text, "");
	close(lfd);
}

TEST(main_sigterm_and_sigint_drain_and_exit_0)
{
	ended_by(echo_program, SIGTERM);
	ended_by(echo_program, SIGINT);
	ended_by(serve_program, SIGTERM);
}

static void holds_on(rln_conn c, void *arg)
{
	(void)arg;
	CHECK_INT(rln_send(c, "held", 4), ==, 4);
	CHECK_INT(rln_sleep(RLN_FOREVER), ==, -ECANCELED);
}

static int holding_program(void *addr)
{
	const rln_listen_opts l = { .addr = addr, .on_conn = holds_on };
	return rln_main(&(rln_config){ .workers = 1, .listen = &l, .nlisten = 1 });
}

static int cut_program(void *addr)
{
	const rln_listen_opts l = { .addr = addr, .on_conn = holds_on };
	return rln_main(&(rln_config){
		.workers = 1, .listen = &l, .nlisten = 1, .drain_timeout = RLN_MS(30) });
}

TEST(main_second_signal_ends_at_once)
{
	char addr[32], text[4096];
	struct sockaddr_in in;
	int lfd = inherited(addr, sizeof addr, &in);
	struct program p = run(holding_program, addr);
	int fd = client_to((struct sockaddr *)&in, sizeof in);

	expect(fd, "held");
	EVENTUALLY(catches_sigterm(p.pid));
	CHECK(kill(p.pid, SIGTERM) == 0);
	EVENTUALLY(kill(p.pid, SIGTERM) == 0 &&
		   waitid(P_PID, (id_t)p.pid, &(siginfo_t){ 0 }, WEXITED | WNOWAIT | WNOHANG) ==
			   0 &&
		   !catches_sigterm(p.pid));
	int status = status_of(&p, text, sizeof text);
	CHECK(WIFSIGNALED(status));
	CHECK_INT(WTERMSIG(status), ==, SIGTERM);
	close(fd);
	close(lfd);
}

TEST(main_tasks_cut_short_exit_1)
{
	char addr[32], text[4096];
	struct sockaddr_in in;
	int lfd = inherited(addr, sizeof addr, &in);
	struct program p = run(cut_program, addr);
	int fd = client_to((struct sockaddr *)&in, sizeof in);

	expect(fd, "held");
	EVENTUALLY(catches_sigterm(p.pid));
	CHECK(kill(p.pid, SIGTERM) == 0);
	int status = status_of(&p, text, sizeof text);
	CHECK(WIFEXITED(status));
	CHECK_INT(WEXITSTATUS(status), ==, 1);
	close(fd);
	close(lfd);
}

/* ---- cfg.main */
static int returns(void *arg)
{
	CHECK_INT(rln_worker(), ==, 0);
	CHECK_INT(rln_sleep(RLN_MS(1)), ==, 0);
	return *(int *)arg;
}

static int main_program(void *arg)
{
	return rln_main(&(rln_config){ .workers = 2, .no_pin = true, .main = returns, .arg = arg });
}

TEST(main_returns_what_its_main_returned)
{
	char text[4096];

	for (int want = 0; want < 60; want += 13) {
		struct program p = run(main_program, &want);
		int status = status_of(&p, text, sizeof text);
		CHECK(WIFEXITED(status));
		CHECK_INT(WEXITSTATUS(status), ==, want);
		CHECK_STR(text, "");
	}
}

static int twice_program(void *arg)
{
	int first = rln_main(
		&(rln_config){ .workers = 1, .no_pin = true, .main = returns, .arg = arg });
	struct sigaction now;
	if (sigaction(SIGTERM, NULL, &now) < 0 || now.sa_handler != SIG_DFL)
		return 99; /* what it changed must be as before */
	int second = rln_main(
		&(rln_config){ .workers = 1, .no_pin = true, .main = returns, .arg = arg });
	return first == second ? first : 98;
}

TEST(main_one_after_the_other)
{
	char text[4096];
	int want = 5;
	struct program p = run(twice_program, &want);
	int status = status_of(&p, text, sizeof text);

	CHECK(WIFEXITED(status));
	CHECK_INT(WEXITSTATUS(status), ==, 5);
}

/* ---- a start that fails */
static int bad_field_program(void *arg)
{
	(void)arg;
	return rln_main(&(rln_config){ .workers = 1, .cq_entries = 5 });
}

static int no_config_program(void *arg)
{
	(void)arg;
	return rln_main(NULL);
}

static void start_fails(int (*program)(void *), void *arg, const char *part)
{
	char text[4096];
	struct program p = run(program, arg);
	int status = status_of(&p, text, sizeof text);

	CHECK(WIFEXITED(status));
	CHECK_INT(WEXITSTATUS(status), ==, 2);
	CHECK_HAS(text, part);
	CHECK(strchr(text, '\n') == text + strlen(text) - 1); /* one line */
	CHECK(strstr(text, "ringline: ringline:") == NULL);
}

TEST(main_start_failure_is_2_and_one_line)
{
	struct sockaddr_in in;
	char addr[64];
	int lfd = raw_listener(&in, 4, 0);

	snprintf(addr, sizeof addr, "127.0.0.1:%d", ntohs(in.sin_port));
	start_fails(echo_program, addr, addr);
	start_fails(serve_program, addr, addr);
	start_fails(serve_program, "somewhere:http", "somewhere:http");
	start_fails(bad_field_program, NULL, "cq_entries");
	start_fails(no_config_program, NULL, "configuration");
	close(lfd);
}

/* ---- rln_shutdown in a handler of the program's own */
static rln_runtime *of_handler;

static void handler(int sig)
{
	(void)sig;
	rln_shutdown(of_handler);
}

static int own_handler_program(void *addr)
{
	const rln_listen_opts l = { .addr = addr, .on_conn = task_echo };
	struct sigaction act = { .sa_handler = handler, .sa_flags = SA_RESTART };

	if (rln_start(&(rln_config){ .workers = 2,
				     .no_pin = true,
				     .listen = &l,
				     .nlisten = 1,
				     .drain_idle = RLN_MS(10) },
		      &of_handler) != 0)
		return 3;
	sigaction(SIGTERM, &act, NULL);
	return rln_wait(of_handler);
}

TEST(main_shutdown_from_a_signal_handler)
{
	ended_by(own_handler_program, SIGTERM);
}
