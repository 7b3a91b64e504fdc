/*
 * A worker that does not come back to its loop is reported with its stack. The stall ends when the
 * report has come; on a busy machine there may be reports of other moments besides, so what is
 * looked for is counted, and what is not is not.
 */
#include "rig.h"
#include <signal.h>
#include <stdatomic.h>

#define LINES 512

static struct {
	pthread_mutex_t lock;
	char line[LINES][512];
	unsigned count;
	const char *awaited; /* a line that has it ends the stall */
	sem_t end;	     /* ThreadSanitizer lets signals through in few calls; this is one */
} heard = { .lock = PTHREAD_MUTEX_INITIALIZER };

static void hear(int level, const char *msg, void *arg)
{
	(void)arg;
	pthread_mutex_lock(&heard.lock);
	if (heard.count < LINES)
		snprintf(heard.line[heard.count++], sizeof heard.line[0], "%s", msg);
	if (level <= RLN_LOG_WARN && heard.awaited && strstr(msg, heard.awaited)) {
		heard.awaited = NULL;
		CHECK(sem_post(&heard.end) == 0);
	}
	pthread_mutex_unlock(&heard.lock);
}

/* Blocks the worker until a line that has part was logged. */
static __attribute__((noinline)) void hold_the_worker(const char *part)
{
	pthread_mutex_lock(&heard.lock);
	heard.awaited = part;
	pthread_mutex_unlock(&heard.lock);
	while (sem_wait(&heard.end) < 0)
		CHECK(errno == EINTR);
}

static __attribute__((noinline)) int culprit(void *arg)
{
	hold_the_worker(arg);
	return (int)rln_now() & 1; /* no tail call */
}

static rln_runtime *start(int (*fn)(void *), unsigned workers, rln_ns warn)
{
	rln_runtime *rt;

	CHECK(sem_init(&heard.end, 0, 0) == 0);
	CHECK_INT(rln_start(&(rln_config){ .workers = workers,
					   .no_pin = true,
					   .main = fn,
					   .stall_warn = warn,
					   .log = hear },
			    &rt),
		  ==, 0);
	return rt;
}

/* The address of frame i of the report that begins at line at; NULL: it has no such frame. */
static void *frame(unsigned at, unsigned i)
{
	char mark[16];
	void *p = NULL;

	snprintf(mark, sizeof mark, "#%u ", i);
	if (at + 1 + i >= heard.count || !strstr(heard.line[at + 1 + i], mark))
		return NULL;
	CHECK(sscanf(strstr(heard.line[at + 1 + i], mark) + strlen(mark), "%p", &p) == 1);
	return p;
}

static bool inside(const void *addr, const void *fn)
{
	return addr >= fn && (const char *)addr < (const char *)fn + 512;
}

/* Does the report at this line lead from hold_the_worker() to fn? */
static bool leads_to(unsigned at, const void *fn)
{
	unsigned i = 0;
	void *p;

	while ((p = frame(at, i)) && !inside(p, (void *)hold_the_worker))
		i++;
	return p && inside(frame(at, i + 1), fn);
}

static unsigned find(const char *part)
{
	for (unsigned i = 0; i < heard.count; i++)
		if (strstr(heard.line[i], part))
			return i;
	test_fail(__FILE__, __LINE__, "nothing logged has \"%s\", of %u lines, the first: %s", part,
		  heard.count, heard.line[0]);
}

static rln_stats stats_after;

static int stall_in_a_task(void *arg)
{
	const rln_task_opts o = { .name = "hog" };
	rln_task t;

	(void)arg;
	CHECK_INT(rln_spawn(culprit, "hog", &o, &t), ==, 0);
	CHECK_INT(rln_join(t, NULL), ==, 0);
	CHECK_INT(rln_yield(), ==, 0);
	CHECK_INT(rln_sleep(1), ==, 0); /* another turn: the stretch has ended */
	CHECK_INT(rln_stats_get(NULL, 0, &stats_after), ==, 0);
	return 0;
}

TEST(stall_in_a_task_is_reported_with_its_name_and_stack)
{
	unsigned before = open_fds();
	rln_runtime *rt = start(stall_in_a_task, 1, RLN_MS(60));

	CHECK_INT(rln_wait(rt), ==, 0);
	unsigned at = find(" hog (spawned ");
	CHECK_HAS(heard.line[at], "worker 0 has not come back to its loop for ");
	CHECK_HAS(heard.line[at], " ms: task 0.1 hog (spawned ");
	CHECK_HAS(heard.line[at], "test_stall.c:");
	CHECK(leads_to(at, (void *)culprit));
	CHECK_HAS(heard.line[at + 1], "worker 0:   #0 0x");
	CHECK_INT(stats_after.stalls, >=, 1);
	CHECK_INT(open_fds(), ==, before);
}

static atomic_int posted;

static __attribute__((noinline)) void post_fn(void *arg)
{
	hold_the_worker(arg);
	atomic_store(&posted, 1);
}

static int stall_in_a_callback(void *arg)
{
	(void)arg;
	CHECK_INT(rln_post(NULL, 0, post_fn, "in a callback"), ==, 0);
	TASK_EVENTUALLY(atomic_load(&posted));
	return 0;
}

TEST(stall_in_a_callback_is_reported_as_one)
{
	rln_runtime *rt = start(stall_in_a_callback, 1, RLN_MS(60));

	CHECK_INT(rln_wait(rt), ==, 0);
	CHECK(leads_to(find("in a callback, not in a task"), (void *)post_fn));
}

/* Worker 1 has gone to sleep, and nothing wakes it, while worker 0 stalls twice. */
static int stall_beside_an_idle_worker(void *arg)
{
	unsigned from;

	(void)arg;
	TASK_EVENTUALLY(({
		rln_stats st;
		CHECK_INT(rln_stats_get(NULL, 1, &st), ==, 0);
		st.sleeps > 0;
	}));
	CHECK_INT(rln_sleep(RLN_MS(1)), ==, 0);
	pthread_mutex_lock(&heard.lock);
	from = heard.count;
	pthread_mutex_unlock(&heard.lock);
	for (int i = 0; i < 2; i++) {
		(void)culprit("worker 0 has not");
		CHECK_INT(rln_sleep(1), ==, 0);
	}
	pthread_mutex_lock(&heard.lock);
	unsigned stalls = 0;
	for (unsigned i = from; i < heard.count; i++) {
		CHECK(!strstr(heard.line[i], "worker 1"));
		stalls += strstr(heard.line[i], "worker 0 has not") != NULL;
	}
	pthread_mutex_unlock(&heard.lock);
	CHECK_INT(stalls, >=, 2);
	return 0;
}

TEST(stall_of_one_worker_is_not_another_idle_ones)
{
	rln_runtime *rt = start(stall_beside_an_idle_worker, 2, RLN_MS(60));

	CHECK_INT(rln_wait(rt), ==, 0);
}

/* Somebody has taken the signal away: no stack, and above all no signal. */
static int stall_without_signal(void *arg)
{
	(void)arg;
	for (int s = SIGRTMIN; s <= SIGRTMAX; s++)
		CHECK(signal(s, SIG_DFL) != SIG_ERR);
	return culprit("worker 0: its call stack cannot be had");
}

TEST(stall_whose_signal_was_taken_away_is_reported_without_stack)
{
	rln_runtime *rt = start(stall_without_signal, 1, RLN_MS(60));

	(void)rln_wait(rt);
	(void)find("it is not known where");
}

/* ---- when there is none */
static unsigned threads_named(const char *name)
{
	DIR *d = opendir("/proc/self/task");
	unsigned n = 0;

	CHECK(d != NULL);
	for (struct dirent *e; (e = readdir(d));) {
		char path[300], text[32] = { 0 };
		snprintf(path, sizeof path, "/proc/self/task/%s/comm", e->d_name);
		FILE *f = e->d_name[0] != '.' ? fopen(path, "r") : NULL;
		if (!f)
			continue;
		n += fgets(text, sizeof text, f) && strncmp(text, name, strlen(name)) == 0;
		fclose(f);
	}
	closedir(d);
	return n;
}

static int await_watcher(void *arg)
{
	(void)arg;
	TASK_EVENTUALLY(threads_named("rln-watch") == 1); /* a thread names itself */
	return 0;
}

static int count_threads(void *arg)
{
	(void)arg;
	return (int)threads_named("");
}

TEST(stall_watchdog_is_a_thread_unless_it_is_turned_off)
{
	rln_config c = { .workers = 1, .no_pin = true, .main = await_watcher };
	int others;

	CHECK_INT(rln_main(&c), ==, 0);
	EVENTUALLY(threads_named("rln-") == 0); /* joined, and soon gone */
	others = (int)threads_named("");	/* sanitizers have one of their own */
	c.main = count_threads;			/* which runs after both were made */
	CHECK_INT(rln_main(&c), ==, others + 2);
	EVENTUALLY((int)threads_named("") == others);
	c.stall_warn = RLN_FOREVER;
	CHECK_INT(rln_main(&c), ==, others + 1);
}
