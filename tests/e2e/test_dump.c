/* What rln_dump_tasks() says of a worker's tasks, line by line. */
#include "rig.h"
#include <regex.h>

static char text[65536];

static void dump(void)
{
	size_t n = 0;
	int p[2];

	CHECK(pipe(p) == 0);
	rln_dump_tasks(p[1]);
	close(p[1]);
	for (ssize_t r; (r = read(p[0], text + n, sizeof text - 1 - n)) > 0;)
		n += (size_t)r;
	text[n] = 0;
	close(p[0]);
}

/* Exactly one line matches. */
static void line_matches(const char *pattern)
{
	unsigned found = 0;
	char copy[sizeof text], *rest;
	regex_t re;

	CHECK_INT(regcomp(&re, pattern, REG_EXTENDED | REG_NOSUB), ==, 0);
	strcpy(copy, text);
	for (char *l = strtok_r(copy, "\n", &rest); l; l = strtok_r(NULL, "\n", &rest))
		found += regexec(&re, l, 0, NULL, 0) == 0;
	regfree(&re);
	if (found != 1)
		test_fail(__FILE__, __LINE__, "%u lines match \"%s\":\n%s", found, pattern, text);
}

#define STACK ", stack [0-9]+ of [0-9]+ KiB, at most [0-9]+"
#define AT " [^ ]*test_dump\\.c:[0-9]+ "
#define AT0 " [^ ]*test_dump\\.c:[0-9]+"
#define SITE " \\(spawned [^ ]*test_dump\\.c:[0-9]+\\): "

/* A shield keeps its canceller waiting: it ends by its inner scope. */
static rln_scope *wakes_sleeper;

static int sleeper(void *arg)
{
	(void)arg;
	RLN_DEADLINE(outer, RLN_SEC(299));
	RLN_SHIELD(kept, RLN_SEC(199));
	RLN_DEADLINE(inner, RLN_SEC(99));
	wakes_sleeper = &inner;
	return rln_sleep(RLN_FOREVER);
}

static int joiner(void *arg)
{
	return rln_join(*(rln_task *)arg, NULL);
}

TASK_TEST(dump_has_a_line_for_every_task)
{
	const rln_task_opts named = { .name = "night" }, other = { .name = "joiner" };
	rln_task a, b;

	CHECK_INT(rln_spawn(sleeper, NULL, &named, &a), ==, 0);
	CHECK_INT(rln_spawn(joiner, &a, &other, &b), ==, 0);
	CHECK_INT(rln_yield(), ==, 0);
	dump();
	line_matches("^worker 0: 3 tasks, at most 3 at a time$");
	line_matches("^task 0\\.0 main \\(spawned [^ ]*:[0-9]+\\): running" STACK ", 2 children$");
	line_matches("^task 0\\.1 night" SITE "waits in rln_sleep for [0-9]+\\.[0-9]{3} s, "
		     "scope" AT "ends in [0-9]{2}\\.[0-9]{3} s, shield" AT
		     "ends in 1[0-9]{2}\\.[0-9]{3} s, scope" AT
		     "ends in 2[0-9]{2}\\.[0-9]{3} s" STACK ", child of 0\\.0$");
	line_matches("^task 0\\.2 joiner" SITE "waits in rln_join for [0-9.]+ s" STACK
		     ", child of 0\\.0$");
	CHECK_INT(rln_cancel(a), ==, 0);
	dump();
	line_matches("^task 0\\.1 night.*: waits in rln_sleep for [0-9.]+ s, cancelled, scope");
	CHECK_INT(rln_cancel(b), ==, 0);
	rln_scope_cancel(wakes_sleeper);
	dump();
	line_matches("^task 0\\.2 joiner" SITE "ready, cancelled" STACK ", child of 0\\.0$");
}

static int group_child(void *arg)
{
	return rln_sleep(*(rln_ns *)arg);
}

TASK_TEST(dump_shows_groups_and_the_scopes_children_inherit)
{
	rln_ns forever = RLN_FOREVER;

	RLN_DEADLINE(all, RLN_SEC(50));
	{
		RLN_GROUP(g);
		CHECK_INT(rln_group_spawn(&g, group_child, &forever), ==, 0);
		CHECK_INT(rln_yield(), ==, 0);
		dump();
		line_matches("^task 0\\.0 main .*: running, group" AT0 ", scope" AT
			     "ends in [0-9.]+ s" STACK ", 1 children$");
		line_matches("^task 0\\.1 without a name" SITE "waits in rln_sleep for [0-9.]+ s"
			     ", inherits, scope" AT "ends in [0-9.]+ s" STACK ", child of 0\\.0$");
	}
}

TEST(dump_off_worker_says_so)
{
	dump();
	CHECK_STR(text, "rln_dump_tasks: this thread is no worker\n");
}

static int dumped_from_callback;

static void post_fn(void *arg)
{
	dump();
	dumped_from_callback = 1;
	(void)arg;
	rln_scope_cancel(wakes_sleeper);
}

TASK_TEST(dump_in_a_callback_shows_no_task_running)
{
	rln_task a;

	CHECK_INT(rln_spawn(sleeper, NULL, NULL, &a), ==, 0);
	CHECK_INT(rln_post(NULL, 0, post_fn, NULL), ==, 0);
	CHECK_INT(rln_join(a, NULL), ==, 0);
	CHECK_INT(dumped_from_callback, ==, 1);
	line_matches("^task 0\\.0 main .*: waits in rln_join for");
	line_matches("^task 0\\.1 without a name" SITE);
	CHECK(!strstr(text, "running"));
}
