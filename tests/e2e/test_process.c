/* Child processes: what they get, how they end and who hears of it, and that nothing is left. */
#include "rig.h"

#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define SH(script) ((const char *const[]){ "/bin/sh", "-c", (script), NULL })
#define ARGV(...) ((const char *const[]){ __VA_ARGS__, NULL })
#define BLOCKED_FOR_GOOD ((const char *const[]){ "sleep", "1000", NULL })

/* No child, running or dead, is this process's. */
static void no_children(void)
{
	CHECK_INT(waitpid(-1, NULL, WNOHANG), ==, -1);
	CHECK_INT(errno, ==, ECHILD);
}

static rln_proc start(const char *const *argv)
{
	rln_proc p;

	CHECK_INT(rln_proc_spawn(&(rln_proc_opts){ .argv = argv }, &p, NULL), ==, 0);
	return p;
}

static void ends_with(rln_proc p, int code, int signo)
{
	rln_proc_status st = { 77, 77, true };

	CHECK_INT(rln_proc_wait(p, &st), ==, 0);
	CHECK_INT(st.code, ==, code);
	CHECK_INT(st.signo, ==, signo);
	CHECK_INT(rln_proc_wait(p, &st), ==, -ESRCH);
	CHECK_INT(rln_proc_kill(p, 0), ==, -ESRCH);
	CHECK_INT(rln_proc_pid(p), ==, -ESRCH);
}

/* All that c says until its end. */
static char *read_all(rln_conn c)
{
	static char text[4096];
	ssize_t n = rln_recv_full(c, text, sizeof text - 1);

	CHECK_INT(n, >=, 0);
	text[n] = 0;
	CHECK_INT(rln_close(c), ==, 0);
	return text;
}

static char *output_of(rln_proc_opts o)
{
	rln_conn io[3];
	rln_proc p;

	o.out = true;
	CHECK_INT(rln_proc_spawn(&o, &p, io), ==, 0);
	CHECK_INT(io[0].h | io[2].h, ==, 0);
	char *text = read_all(io[1]);
	ends_with(p, 0, 0);
	return text;
}

/* Without reaping it. */
static bool has_ended(rln_proc p)
{
	siginfo_t info = { 0 };

	CHECK_INT(waitid(P_PID, (id_t)rln_proc_pid(p), &info, WEXITED | WNOHANG | WNOWAIT), ==, 0);
	return info.si_pid != 0;
}

/* ---- how it ended */
TASK_TEST(process_exit_codes_and_signals_are_told_apart)
{
	ends_with(start(SH("exit 0")), 0, 0);
	ends_with(start(SH("exit 15")), 15, 0);
	ends_with(start(SH("exit 143")), 143, 0); /* what a shell makes of SIGTERM */
	ends_with(start(SH("kill -TERM $$")), -1, SIGTERM);
	ends_with(start(SH("kill -KILL $$")), -1, SIGKILL);
	CHECK_INT(rln_proc_wait(start(SH("exit 3")), NULL), ==, 0);
	no_children();
}

TASK_TEST(process_that_has_ended_is_kept_until_it_is_waited_for)
{
	rln_proc p = start(SH("exit 9"));

	TASK_EVENTUALLY(has_ended(p));
	CHECK_INT(rln_proc_kill(p, SIGKILL), ==, 0);
	ends_with(p, 9, 0);
	no_children();
}

/* ---- what it gets */
static int feed(void *arg)
{
	rln_conn in = *(rln_conn *)arg;
	uint8_t *data = pattern_new(2 * MIB);

	CHECK_INT(rln_send(in, data, 2 * MIB), ==, 2 * MIB);
	CHECK_INT(rln_close(in), ==, 0);
	free(data);
	return 0;
}

TASK_TEST(process_pipes_carry_input_output_and_errors)
{
	rln_proc_opts o = {
		.argv = SH("cat; echo trouble >&2"), .in = true, .out = true, .err = true
	};
	uint8_t *got = malloc(2 * MIB);
	rln_conn io[3];
	rln_proc p;
	rln_task t;
	rln_view v;

	CHECK_INT(rln_proc_spawn(&o, &p, io), ==, 0);
	CHECK_INT(rln_spawn(feed, &io[0], NULL, &t), ==, 0);
	CHECK_INT(rln_recv_full(io[1], got, 2 * MIB), ==, 2 * MIB);
	pattern_check(got, 0, 2 * MIB);
	CHECK_INT(rln_recv(io[1], &v), ==, 0);
	CHECK_INT(rln_close(io[1]), ==, 0);
	CHECK_STR(read_all(io[2]), "trouble\n");
	CHECK_INT(rln_join(t, NULL), ==, 0);
	ends_with(p, 0, 0);
	free(got);
}

TASK_TEST(process_whose_reader_is_gone_dies_of_sigpipe)
{
	rln_proc_opts o = { .argv = ARGV("cat", "/dev/zero"), .out = true };
	struct sigaction ignore = { .sa_handler = SIG_IGN }, before;
	rln_conn io[3];
	rln_proc p;

	CHECK_INT(sigaction(SIGPIPE, &ignore, &before), ==, 0); /* as servers do */
	CHECK_INT(rln_proc_spawn(&o, &p, io), ==, 0);
	CHECK_INT(rln_close(io[1]), ==, 0);
	ends_with(p, -1, SIGPIPE);
	CHECK_INT(sigaction(SIGPIPE, &before, NULL), ==, 0);
}

TASK_TEST(process_gets_environment_and_directory)
{
	CHECK_INT(setenv("RINGLINE_TEST", "inherited", 1), ==, 0);
	CHECK_STR(output_of((rln_proc_opts){ .argv = SH("echo $RINGLINE_TEST") }), "inherited\n");
	CHECK_STR(output_of((rln_proc_opts){ .argv = SH("echo $RINGLINE_TEST $OTHER"),
					     .env = ARGV("OTHER=given") }),
		  "given\n");
	CHECK_STR(output_of((rln_proc_opts){ .argv = SH("pwd"), .cwd = "/proc" }), "/proc\n");
	/* a relative program is looked up from there */
	CHECK_STR(output_of((rln_proc_opts){ .argv = ARGV("./sh", "-c", "echo here"),
					     .cwd = "/bin" }),
		  "here\n");
}

TASK_TEST(process_has_three_descriptors_and_no_other)
{
	int leak = open("/dev/null", O_RDONLY); /* not close-on-exec */

	CHECK_INT(leak, >, 2);
	/* 3 is the one the list is read with */
	CHECK_STR(output_of((rln_proc_opts){ .argv = ARGV("ls", "-1", "/proc/self/fd") }),
		  "0\n1\n2\n3\n");
	close(leak);
}

TASK_TEST(process_gets_null_for_what_is_closed_here)
{
	int in = fcntl(0, F_DUPFD_CLOEXEC, 10);

	CHECK_INT(in, >=, 0);
	CHECK_INT(close(0), ==, 0);
	CHECK_STR(output_of((rln_proc_opts){ .argv = ARGV("readlink", "/proc/self/fd/0") }),
		  "/dev/null\n");
	CHECK_INT(open("/dev/zero", O_RDONLY | O_CLOEXEC), ==, 0); /* its number was free */
	CHECK_STR(output_of((rln_proc_opts){ .argv = ARGV("readlink", "/proc/self/fd/0") }),
		  "/dev/null\n");
	CHECK_INT(dup3(in, 0, 0), ==, 0);
	CHECK_INT(close(in), ==, 0);
}

static rlim_t soft_files(void)
{
	struct rlimit rl;

	CHECK_INT(getrlimit(RLIMIT_NOFILE, &rl), ==, 0);
	return rl.rlim_cur;
}

static char expected[256];

/* The line of /proc/self/status that begins so. */
static void status_line(const char *key, char *out, int cap)
{
	FILE *f = fopen("/proc/self/status", "r");

	CHECK(f != NULL);
	while (fgets(out, cap, f) && strncmp(out, key, strlen(key)) != 0)
		;
	CHECK(!ferror(f) && !feof(f));
	fclose(f);
}

static int ask_child(void *arg)
{
	(void)arg;
	/* field 19 is the niceness; the program of that name is not everywhere */
	CHECK_STR(output_of((rln_proc_opts){
			  .argv = SH("ulimit -Sn; read -r stat </proc/self/stat; set -- $stat; "
				     "echo ${19}; grep Cpus_allowed_list /proc/self/status") }),
		  expected);
	const char *signals = output_of(
		(rln_proc_opts){ .argv = ARGV("sed", "-n", "/^Sig[BIC]/p", "/proc/self/status") });
	/* the first two signals are ignored here: that of a hang-up, as under nohup, stays so */
	CHECK_STR(signals, "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000001\n"
			   "SigCgt:\t0000000000000000\n");
	return 0;
}

static void on_signal(int signo)
{
	(void)signo;
}

TEST(process_is_not_limited_blocked_or_pinned_as_a_worker_is)
{
	struct sigaction ignore = { .sa_handler = SIG_IGN }, caught = { .sa_handler = on_signal };
	struct rlimit rl;
	char cpus[128];
	rln_runtime *rt;

	CHECK_INT(getrlimit(RLIMIT_NOFILE, &rl), ==, 0);
	rl.rlim_cur = rl.rlim_max - 1;
	CHECK_INT(setrlimit(RLIMIT_NOFILE, &rl), ==, 0);
	for (int signo = 1; signo < SIGRTMIN; signo++)
		signal(signo, SIG_DFL);
	CHECK_INT(sigaction(SIGHUP, &ignore, NULL), ==, 0);
	CHECK_INT(sigaction(SIGPIPE, &ignore, NULL), ==, 0);
	CHECK_INT(sigaction(SIGUSR1, &caught, NULL), ==, 0);
	status_line("Cpus_allowed_list", cpus, sizeof cpus);
	snprintf(expected, sizeof expected, "%llu\n%d\n%s", (unsigned long long)rl.rlim_cur,
		 getpriority(PRIO_PROCESS, 0), cpus);
	CHECK_INT(rln_start(&(rln_config){ .workers = 1, .main = ask_child }, &rt), ==, 0);
	CHECK_INT(soft_files(), ==, rl.rlim_max);
	CHECK_INT(rln_wait(rt), ==, 0);
}

/* ---- why it does not start */
static int spawn_error(const rln_proc_opts *o)
{
	rln_proc p = { 77 };
	rln_conn io[3] = { { 7 }, { 8 }, { 9 } };
	int e = rln_proc_spawn(o, &p, io);

	if (!e)
		ends_with(p, 0, 0);
	CHECK_INT(p.h, ==, 77);
	CHECK(io[0].h == 7 && io[1].h == 8 && io[2].h == 9);
	no_children();
	return e;
}

static int error_of(const char *program, const char *cwd)
{
	return spawn_error(&(rln_proc_opts){
		.argv = ARGV(program), .cwd = cwd, .in = true, .out = true, .err = true });
}

TASK_TEST(process_that_cannot_start_says_why_and_leaves_nothing)
{
	char dir[] = "/tmp/ringline-process-XXXXXX", data[64];

	CHECK(mkdtemp(dir) != NULL);
	snprintf(data, sizeof data, "%s/data", dir);
	int fd = open(data, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	CHECK(fd >= 0 && write(fd, "no program\n", 11) == 11);
	CHECK_INT(error_of("/nowhere/to/be/found", NULL), ==, -ENOENT);
	CHECK_INT(error_of("ringline-no-such-program", NULL), ==, -ENOENT);
	CHECK_INT(error_of("", NULL), ==, -ENOENT);
	CHECK_INT(error_of("/dev/null/program", NULL), ==, -ENOTDIR);
	CHECK_INT(error_of(data, NULL), ==, -EACCES);
	CHECK_INT(error_of(dir, NULL), ==, -EACCES);
	CHECK_INT(fchmod(fd, 0700), ==, 0);
	int e = error_of(data, NULL); /* open for writing, which not every kernel minds */
	CHECK(e == -ETXTBSY || e == -ENOEXEC);
	CHECK_INT(close(fd), ==, 0);
	CHECK_INT(error_of(data, NULL), ==, -ENOEXEC);
	CHECK_INT(error_of("true", "/nowhere"), ==, -ENOENT);
	CHECK_INT(error_of("true", data), ==, -ENOTDIR);
	CHECK(unlink(data) == 0 && rmdir(dir) == 0);
}

TASK_TEST(process_name_is_looked_for_in_path)
{
	char dir[] = "/tmp/ringline-process-XXXXXX", name[64], path[256];

	CHECK(mkdtemp(dir) != NULL);
	snprintf(name, sizeof name, "%s/true", dir);
	int fd = open(name, O_CREAT | O_WRONLY | O_CLOEXEC, 0600); /* not to be run */
	CHECK(fd >= 0 && close(fd) == 0);
	snprintf(path, sizeof path, "/nowhere:%s:/bin:/usr/bin", dir);
	CHECK_INT(setenv("PATH", path, 1), ==, 0);
	ends_with(start(ARGV("true")), 0, 0); /* the next one is */
	CHECK_INT(setenv("PATH", dir, 1), ==, 0);
	CHECK_INT(error_of("true", NULL), ==, -EACCES);
	snprintf(path, sizeof path, "%s:/nowhere", dir);
	CHECK_INT(setenv("PATH", path, 1), ==, 0);
	CHECK_INT(error_of("true", NULL), ==, -EACCES); /* found, whatever comes after it */
	CHECK_INT(setenv("PATH", "", 1), ==, 0);	/* an empty one is the directory */
	CHECK_INT(error_of("true", dir), ==, -EACCES);
	CHECK_INT(unsetenv("PATH"), ==, 0);
	ends_with(start(ARGV("true")), 0, 0);
	CHECK(unlink(name) == 0 && rmdir(dir) == 0);
}

TASK_TEST(process_bad_arguments_are_told)
{
	static const char *const none[] = { NULL };
	struct {
		rln_proc_opts known;
		long later;
	} newer = { { .argv = ARGV("true") }, 1 };
	rln_proc p = { 77 };

	CHECK_INT(rln_proc_spawn(NULL, &p, NULL), ==, -EINVAL);
	CHECK_INT(spawn_error(&(rln_proc_opts){ .argv = NULL }), ==, -EINVAL);
	CHECK_INT(spawn_error(&(rln_proc_opts){ .argv = none }), ==, -EINVAL);
	CHECK_INT(rln_proc_spawn(&(rln_proc_opts){ .argv = ARGV("true") }, NULL, NULL), ==,
		  -EINVAL);
	CHECK_INT(rln_proc_spawn(&(rln_proc_opts){ .argv = ARGV("true"), .err = true }, &p, NULL),
		  ==, -EINVAL);
	CHECK_INT(rln_proc_spawn_sized(&newer.known, sizeof newer, &p, NULL), ==, -E2BIG);
	char *huge = malloc(MIB);
	memset(huge, 'x', MIB - 1);
	huge[MIB - 1] = 0;
	CHECK_INT(spawn_error(&(rln_proc_opts){ .argv = ARGV("true", huge) }), ==, -E2BIG);
	free(huge);
	CHECK_INT(rln_proc_wait((rln_proc){ 0 }, NULL), ==, -ESRCH);
	CHECK_INT(rln_proc_wait((rln_proc){ 77 }, NULL), ==, -ESRCH);
	CHECK_INT(rln_proc_kill((rln_proc){ UINT64_C(0xffffff) << 32 | 1 }, 0), ==, -ESRCH);
}

TASK_TEST(process_places_are_used_again_under_another_handle)
{
	rln_proc first = start(SH("exit 0")), next;

	ends_with(first, 0, 0);
	CHECK_INT(error_of("/nowhere", NULL), ==, -ENOENT);
	next = start(SH("exit 1"));
	CHECK_INT(next.h >> 32, ==, first.h >> 32);
	CHECK(next.h != first.h);
	CHECK_INT(rln_proc_wait(first, NULL), ==, -ESRCH);
	ends_with(next, 1, 0);
}

TASK_TEST_CFG(process_without_room_for_its_pipes_leaves_nothing, .workers = 1, .file_slots = 2)
{
	rln_proc_opts o = { .argv = ARGV("true"), .in = true, .out = true, .err = true };

	CHECK_INT(spawn_error(&o), ==, -ENFILE);
}

/* ---- cancellation */
TASK_TEST(process_wait_cancelled_leaves_it_to_be_waited_for)
{
	rln_proc_opts o = { .argv = SH("read line; exit 5"), .in = true };
	rln_conn io[3];
	rln_proc p;

	CHECK_INT(rln_proc_spawn(&o, &p, io), ==, 0);
	CHECK_INT(RLN_WITHIN(0, rln_proc_wait(p, NULL)), ==, -ETIME);
	CHECK_INT(RLN_WITHIN(RLN_MS(2), rln_proc_wait(p, NULL)), ==, -ETIME);
	CHECK_INT(rln_close(io[0]), ==, 0);
	TASK_EVENTUALLY(has_ended(p));
	/* it could complete at once, and is not reaped by a call that fails */
	CHECK_INT(RLN_WITHIN(0, rln_proc_wait(p, NULL)), ==, -ETIME);
	ends_with(p, 5, 0);
}

static int wait_for(void *arg)
{
	return rln_proc_wait(*(rln_proc *)arg, NULL);
}

TASK_TEST(process_wait_of_a_cancelled_task_ends)
{
	rln_proc p = start(BLOCKED_FOR_GOOD);
	rln_task t;
	int e;

	CHECK_INT(rln_spawn(wait_for, &p, NULL, &t), ==, 0);
	CHECK_INT(rln_yield(), ==, 0);
	CHECK_INT(rln_proc_wait(p, NULL), ==, -EBUSY);
	rln_arm a = rln_on_proc(p, NULL);
	CHECK_INT(rln_select(&a, 1), ==, 0);
	CHECK_INT(a.res, ==, -EBUSY);
	CHECK_INT(rln_cancel(t), ==, 0);
	CHECK_INT(rln_join(t, &e), ==, 0);
	CHECK_INT(e, ==, -ECANCELED);
	CHECK_INT(rln_proc_kill(p, SIGTERM), ==, 0);
	ends_with(p, -1, SIGTERM);
}

/* Cut off anywhere between the entry and the result: it runs and is known, or it never was. */
TASK_TEST(process_spawn_cancelled_has_happened_or_not)
{
	int happened = 0, not = 0;

	CHECK_INT(RLN_WITHIN(0, spawn_error(&(rln_proc_opts){ .argv = SH("exit 0") })), ==, -ETIME);
	for (int i = 0; i < 60; i++) {
		rln_proc_opts o = { .argv = SH("exit 0"), .in = true, .out = true };
		rln_conn io[3];
		rln_proc p;
		int e = RLN_WITHIN(RLN_US(20) * i, rln_proc_spawn(&o, &p, io));

		if (e == 0) {
			happened++;
			ends_with(p, 0, 0);
			CHECK_INT(rln_close(io[0]) | rln_close(io[1]), ==, 0);
		} else {
			CHECK_INT(e, ==, -ETIME);
			not ++;
		}
		no_children();
	}
	CHECK_INT(happened + not, ==, 60);
	CHECK_INT(not, >, 0);
}

/* ---- select, signals, groups */
TASK_TEST(process_arm_wins_or_leaves_the_process)
{
	rln_proc_opts o = { .argv = SH("read line; exit 6"), .in = true };
	rln_proc_status st = { 77, 77, true };
	rln_conn io[3];
	rln_proc p;

	CHECK_INT(rln_proc_spawn(&o, &p, io), ==, 0);
	rln_arm a[3] = { rln_on_proc(p, &st), rln_on_after(RLN_MS(1)), rln_on_proc(p, NULL) };
	CHECK_INT(rln_select(a, 2), ==, 1);
	CHECK_INT(st.code, ==, 77);
	CHECK_INT(rln_select(a, 3), ==, 2); /* one at a time */
	CHECK_INT(a[2].res, ==, -EBUSY);
	CHECK_INT(RLN_WITHIN(RLN_MS(1), rln_select(a, 1)), ==, -ETIME);
	CHECK_INT(rln_close(io[0]), ==, 0);
	CHECK_INT(rln_select(a, 1), ==, 0);
	CHECK_INT(a[0].res, ==, 0);
	CHECK_INT(st.code, ==, 6);
	CHECK_INT(st.signo, ==, 0);
	CHECK_INT(rln_select(a, 1), ==, 0);
	CHECK_INT(a[0].res, ==, -ESRCH);
	no_children();
}

TASK_TEST(process_is_reached_by_signals_until_it_was_waited_for)
{
	rln_proc p = start(BLOCKED_FOR_GOOD);

	CHECK_INT(rln_proc_kill(p, 0), ==, 0);
	CHECK_INT(rln_proc_kill(p, 1000), ==, -EINVAL);
	CHECK_INT(rln_proc_kill_group(p, SIGTERM), ==, -EINVAL); /* it has none of its own */
	CHECK_INT(getpgid(rln_proc_pid(p)), ==, getpgrp());
	CHECK_INT(rln_proc_kill(p, SIGKILL), ==, 0);
	ends_with(p, -1, SIGKILL);
	CHECK_INT(rln_proc_kill_group(p, SIGTERM), ==, -ESRCH);
}

TASK_TEST(process_group_ends_with_all_that_is_in_it)
{
	rln_proc_opts o = { .argv = SH("sleep 1000 & echo started; wait"),
			    .out = true,
			    .group = true };
	rln_conn io[3];
	rln_proc p;
	rln_view v;

	CHECK_INT(rln_proc_spawn(&o, &p, io), ==, 0);
	CHECK_INT(rln_recv_exact(io[1], 8, &v), ==, 8);
	CHECK_INT(getpgid(rln_proc_pid(p)), ==, rln_proc_pid(p));
	CHECK_INT(rln_proc_kill_group(p, 1000), ==, -EINVAL);
	CHECK_INT(rln_proc_kill_group(p, SIGTERM), ==, 0);
	CHECK_INT(rln_recv(io[1], &v), ==, 0); /* nobody is left that could write */
	CHECK_INT(rln_close(io[1]), ==, 0);
	ends_with(p, -1, SIGTERM);
}

/* ---- many, and what is left */
#define MANY 100

static int one_of_many(void *arg)
{
	char script[32];
	int code = (int)(intptr_t)arg;

	snprintf(script, sizeof script, "exit %d", code);
	ends_with(start(SH(script)), code, 0);
	return 0;
}

TASK_TEST(process_many_at_once_each_end_as_they_do)
{
	RLN_GROUP(g);

	for (intptr_t i = 0; i < MANY; i++)
		CHECK_INT(rln_group_spawn(&g, one_of_many, (void *)i), >=, 0);
	CHECK_INT(rln_group_wait(&g), ==, 0);
	no_children();
}

/* ---- let go of */
static bool exists(int pid)
{
	return kill(pid, 0) == 0; /* also when it has ended and was not reaped */
}

TASK_TEST(process_released_goes_on_and_is_reaped_at_its_end)
{
	rln_proc_opts o = { .argv = ARGV("cat"), .in = true, .out = true };
	rln_conn io[3];
	rln_view v;
	rln_proc p;

	CHECK_INT(rln_proc_spawn(&o, &p, io), ==, 0);
	int pid = rln_proc_pid(p);
	CHECK_INT(rln_proc_release(p), ==, 0);
	CHECK_INT(rln_proc_release(p), ==, -ESRCH);
	CHECK_INT(rln_proc_wait(p, NULL), ==, -ESRCH);
	CHECK_INT(rln_proc_kill(p, SIGKILL), ==, -ESRCH);
	CHECK_INT(rln_send(io[0], "still", 5), ==, 5);
	CHECK_INT(rln_recv_exact(io[1], 5, &v), ==, 5);
	CHECK(exists(pid));
	CHECK_INT(rln_close(io[0]), ==, 0);
	CHECK_INT(rln_recv(io[1], &v), ==, 0);
	CHECK_INT(rln_close(io[1]), ==, 0);
	TASK_EVENTUALLY(!exists(pid));
	no_children();
}

TASK_TEST(process_released_after_its_end_is_reaped_at_once)
{
	rln_proc p = start(ARGV("true"));
	int pid = rln_proc_pid(p);

	TASK_EVENTUALLY(has_ended(p));
	CHECK_INT(rln_proc_release(p), ==, 0);
	CHECK(!exists(pid));
	no_children();
}

TASK_TEST(process_released_ones_hold_no_place)
{
	uint64_t handle[40];
	int pid[40];

	for (int i = 0; i < 40; i++) {
		rln_proc p = start(i % 2 ? ARGV("true") : SH("exit 3"));
		handle[i] = p.h;
		pid[i] = rln_proc_pid(p);
		for (int j = 0; j < i; j++)
			CHECK(handle[j] != p.h);
		CHECK_INT((uint32_t)(p.h >> 32), ==, 0); /* worker 0, the first place */
		CHECK_INT(rln_proc_release(p), ==, 0);
	}
	for (int i = 0; i < 40; i++)
		TASK_EVENTUALLY(!exists(pid[i]));
	no_children();
}

static int wait_for_it(void *arg)
{
	ends_with(*(rln_proc *)arg, -1, SIGTERM);
	return 0;
}

TASK_TEST(process_somebody_waits_for_is_not_released)
{
	rln_proc p = start(BLOCKED_FOR_GOOD);
	RLN_GROUP(g);

	CHECK_INT(rln_group_spawn(&g, wait_for_it, &p), >=, 0);
	CHECK_INT(rln_yield(), ==, 0);
	CHECK_INT(rln_proc_release(p), ==, -EBUSY);
	CHECK_INT(rln_proc_kill(p, SIGTERM), ==, 0);
	CHECK_INT(rln_group_wait(&g), ==, 0);
}

static int daemon_pid;

/* One that ends together with the runtime, by chance sooner or later, and one that does not end. */
static int let_go(void *arg)
{
	rln_proc_opts o = { .argv = BLOCKED_FOR_GOOD, .null = true, .session = true };
	rln_proc p;

	(void)arg;
	CHECK_INT(rln_proc_release(start(ARGV("true"))), ==, 0);
	CHECK_INT(rln_proc_spawn(&o, &p, NULL), ==, 0);
	daemon_pid = rln_proc_pid(p);
	CHECK_INT(rln_proc_release(p), ==, 0);
	return 0;
}

TEST(process_released_outlives_the_runtime)
{
	unsigned before = open_fds();
	rln_runtime *rt;
	int status;

	CHECK_INT(rln_start(&(rln_config){ .workers = 1, .no_pin = true, .main = let_go }, &rt), ==,
		  0);
	CHECK_INT(rln_wait(rt), ==, 0);
	EVENTUALLY(open_fds() == before);
	CHECK_INT(getsid(daemon_pid), ==, daemon_pid);
	CHECK_INT(kill(daemon_pid, SIGKILL), ==, 0);
	CHECK_INT(waitpid(daemon_pid, &status, 0), ==, daemon_pid);
	CHECK(WIFSIGNALED(status));
	EVENTUALLY(waitpid(-1, NULL, WNOHANG) == -1);
}

/* Whatever this process's own are: no terminal, no file of the program's is kept open. */
TASK_TEST(process_with_null_has_no_descriptor_of_ours)
{
	rln_proc_opts o = { .argv = SH("for f in 0 1 2; do readlink /proc/self/fd/$f; done"),
			    .null = true };
	char *text = output_of(o);

	CHECK(strncmp(text, "/dev/null\npipe:", 15) == 0);
	CHECK_STR(strrchr(text, ']'), "]\n/dev/null\n");
}

TASK_TEST(process_with_a_session_leads_it_and_its_group)
{
	rln_proc_opts o = { .argv = SH("sleep 1000 & echo started; wait"),
			    .out = true,
			    .group = true,
			    .session = true };
	rln_conn io[3];
	rln_proc p;
	rln_view v;

	CHECK_INT(rln_proc_spawn(&o, &p, io), ==, 0);
	CHECK_INT(rln_recv_exact(io[1], 8, &v), ==, 8);
	CHECK_INT(getsid(rln_proc_pid(p)), ==, rln_proc_pid(p));
	CHECK_INT(getpgid(rln_proc_pid(p)), ==, rln_proc_pid(p));
	CHECK_INT(rln_proc_kill_group(p, SIGTERM), ==, 0);
	CHECK_INT(rln_recv(io[1], &v), ==, 0);
	CHECK_INT(rln_close(io[1]), ==, 0);
	ends_with(p, -1, SIGTERM);
}

static int ended_pid, running_pid;

static int leave_children(void *arg)
{
	(void)arg;
	rln_proc ended = start(SH("exit 0")), running = start(BLOCKED_FOR_GOOD);
	ended_pid = rln_proc_pid(ended);
	running_pid = rln_proc_pid(running);
	TASK_EVENTUALLY(has_ended(ended));
	rln_shutdown(NULL);
	CHECK_INT(rln_proc_wait(running, NULL), ==, -ECANCELED);
	CHECK_INT(rln_proc_wait(ended, NULL), ==, -ECANCELED);
	RLN_SHIELD(s, RLN_SEC(20));
	CHECK_INT(rln_proc_kill(running, 0), ==, 0); /* what cleans up may go on */
	ends_with(start(SH("exit 4")), 4, 0);
	return 0;
}

TEST(process_that_outlives_the_runtime_is_handed_over)
{
	unsigned before = open_fds();
	rln_runtime *rt;
	int status;

	CHECK_INT(rln_start(&(rln_config){ .workers = 1, .no_pin = true, .main = leave_children },
			    &rt),
		  ==, 0);
	CHECK_INT(rln_wait(rt), ==, 0);
	EVENTUALLY(open_fds() == before);
	CHECK_INT(waitpid(ended_pid, NULL, 0), ==, -1); /* reaped */
	CHECK_INT(kill(running_pid, SIGKILL), ==, 0);
	CHECK_INT(waitpid(running_pid, &status, 0), ==, running_pid);
	CHECK(WIFSIGNALED(status));
	no_children();
}

TASK_TEST(process_reaped_by_somebody_else_is_echild)
{
	rln_proc p = start(SH("exit 3"));
	int status;

	CHECK_INT(waitpid(rln_proc_pid(p), &status, 0), ==, rln_proc_pid(p));
	CHECK_INT(rln_proc_kill(p, SIGKILL), ==, -ESRCH);
	CHECK_INT(rln_proc_wait(p, NULL), ==, -ECHILD);
	CHECK_INT(rln_proc_wait(p, NULL), ==, -ESRCH);
}

/* ---- where it may be called */
static atomic_int elsewhere;

static int on_other_worker(void *arg)
{
	rln_proc p = *(rln_proc *)arg;
	rln_arm a = rln_on_proc(p, NULL);

	CHECK_INT(rln_proc_wait(p, NULL), ==, -EXDEV);
	CHECK_INT(rln_proc_kill(p, SIGKILL), ==, -EXDEV);
	CHECK_INT(rln_proc_pid(p), ==, -EXDEV);
	CHECK_INT(rln_select(&a, 1), ==, 0);
	CHECK_INT(a.res, ==, -EXDEV);
	ends_with(start(SH("exit 2")), 2, 0);
	atomic_store(&elsewhere, 1);
	return 0;
}

TASK_TEST_CFG(process_belongs_to_one_worker, .workers = 2)
{
	rln_proc p = start(BLOCKED_FOR_GOOD);

	CHECK_INT(rln_go_on(NULL, 1 - rln_worker(), on_other_worker, &p, NULL), ==, 0);
	TASK_EVENTUALLY(atomic_load(&elsewhere));
	CHECK_INT(rln_proc_kill(p, SIGINT), ==, 0);
	ends_with(p, -1, SIGINT);
}

static void in_callback(void *arg)
{
	rln_proc_opts o = { .argv = ARGV("true") };
	rln_proc p;

	CHECK_INT(rln_proc_spawn(&o, &p, NULL), ==, -EDEADLK);
	CHECK_INT(rln_proc_wait((rln_proc){ 1 }, NULL), ==, -EDEADLK);
	*(bool *)arg = true;
}

TASK_TEST(process_needs_a_task)
{
	bool ran = false;

	CHECK_INT(rln_post(NULL, 0, in_callback, &ran), ==, 0);
	TASK_EVENTUALLY(ran);
}

TEST(process_calls_off_a_worker_are_refused)
{
	rln_proc_opts o = { .argv = ARGV("true") };
	rln_proc p = { 1 };

	CHECK_INT(rln_proc_spawn(&o, &p, NULL), ==, -EPERM);
	CHECK_INT(rln_proc_wait(p, NULL), ==, -EPERM);
	CHECK_INT(rln_proc_kill(p, SIGKILL), ==, -EPERM);
	CHECK_INT(rln_proc_pid(p), ==, -EPERM);
	CHECK_INT(rln_proc_release(p), ==, -EPERM);
}
