/*
 * The program of ./dev sim, from outside: its schedules end clean, a seed is a run, and what it
 * prints is what others build on.
 */
#include "test.h"
#include <stdlib.h>
#include <sys/wait.h>

#if defined(__SANITIZE_ADDRESS__)
#define SECONDS "8"
#else
#define SECONDS "12"
#endif

/* Runs the driver; its output in out. Returns its exit status. */
static int driver(const char *args, char *out, size_t cap)
{
	const char *build = getenv("RINGLINE_BUILD");
	char command[1000];
	size_t n = 0;
	FILE *f;

	if (!build)
		SKIP("RINGLINE_BUILD is not set");
	snprintf(command, sizeof(command), "'%s/tests/sim/sim' %s 2>&1", build, args);
	f = popen(command, "r");
	CHECK(f);
	while (n + 1 < cap) {
		size_t got = fread(out + n, 1, cap - 1 - n, f);

		if (!got)
			break;
		n += got;
	}
	out[n] = 0;
	int status = pclose(f);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static const char *last_line(char *text)
{
	size_t n = strlen(text);

	while (n && text[n - 1] == '\n')
		text[--n] = 0;
	char *line = strrchr(text, '\n');
	return line ? line + 1 : text;
}

TEST_LIMIT(driver_schedules_end_clean, 120)
{
	static char out[1 << 20];
	unsigned long long schedules, completions, faults, failures;

	int status = driver("--seconds " SECONDS " --quiet", out, sizeof(out));
	if (status)
		fputs(out, stdout);
	CHECK_INT(status, ==, 0);
	const char *line = last_line(out);
	printf("  %s\n", line);
	CHECK_INT(sscanf(line, "%llu schedules, %llu completions, %llu faults, %llu failures",
			 &schedules, &completions, &faults, &failures),
		  ==, 4);
	CHECK_INT(failures, ==, 0);
	CHECK_INT(completions, >, schedules * 50);
	CHECK_INT(faults, >, schedules * 5);
}

TEST(driver_one_seed_prints_its_hash_and_repeats)
{
	char a[4000], b[4000];
	const char *x, *y;

	CHECK_INT(driver("--seed 11", a, sizeof(a)), ==, 0);
	CHECK_INT(driver("--seed 11", b, sizeof(b)), ==, 0);
	x = last_line(a);
	y = last_line(b);
	CHECK_HAS(x, "seed 11 hash ");
	CHECK_STR(x, y);
	CHECK_INT(driver("--seed 12", b, sizeof(b)), ==, 0);
	CHECK(strcmp(strstr(x, "hash"), strstr(last_line(b), "hash")) != 0);
}

TEST_LIMIT(driver_runs_as_many_as_asked, 60)
{
	static char out[100000];

	CHECK_INT(driver("--runs 200 --twice --quiet", out, sizeof(out)), ==, 0);
	const char *share = strstr(out, " bytes a schedule; ");
	CHECK(share);
	CHECK_INT(atoi(strchr(share, ';') + 1), <=, 100);
	CHECK_HAS(last_line(out), "200 schedules, ");
	CHECK_HAS(last_line(out), ", 0 failures");
}

/* Does the report say that what never met a connection in that state? */
static bool never(const char *report, const char *what, const char *state)
{
	char line[1000];
	const char *at;

	snprintf(line, sizeof(line), "  never: %s x ", what);
	at = strstr(report, line);
	if (!at)
		return false;
	snprintf(line, sizeof(line), "%.*s ", (int)strcspn(at + 1, "\n"), at + 1);
	char word[50];
	snprintf(word, sizeof(word), " %s ", state);
	return strstr(line, word) != NULL;
}

/* Its programs make a mistake, a property tells, under its name; without it nobody does. */
TEST_LIMIT(driver_each_property_tells_of_a_mistake, 60)
{
	static const struct {
		int property;
		const char *name, *says;
	} wrong[] = { { 1, "P1 (", "guarded sends" },	 { 3, "P3 (", "byte" },
		      { 4, "P4 (", "allocations left" }, { 5, "P5 (", "deadlock" },
		      { 6, "P6 (", "no end after" },	 { 7, "P7 (", "timers that did nothing" },
		      { 8, "P8 (", "a task ran" },	 { 11, "P11 (", "early" },
		      { 12, "P12 (", "came out after" }, { 13, "P13 (", "hash" } };
	char args[100], out[8000];

	for (unsigned i = 0; i < sizeof wrong / sizeof *wrong; i++) {
		snprintf(args, sizeof args, "--wrong %d --runs 500 --quiet", wrong[i].property);
		CHECK_INT(driver(args, out, sizeof(out)), ==, 1);
		CHECK_HAS(out, "FAIL seed");
		CHECK_HAS(out, wrong[i].name);
		CHECK_HAS(out, wrong[i].says);
	}
	CHECK_INT(driver("--wrong 14", out, sizeof(out)), ==, 2);
}

/* How often the report says that a mark was reached; -1: it knows no such mark. */
static long long reached(const char *report, const char *name)
{
	char line[100];
	const char *at;

	snprintf(line, sizeof(line), "\n  %s ", name);
	at = strstr(report, line);
	if (at && strstr(at + 1, line))
		return -1; /* two of that name */
	return at ? strtoll(at + strlen(line), NULL, 10) : -1;
}

/* What a quick run must reach; some hundred schedules would do for most of it. */
static const char *const quick[] = {
	"accept-backs-off",
	"accept-of-a-client-that-left",
	"cancel-again-of-a-receive",
	"close-drops-its-queue",
	"close-of-a-broken-stream",
	"close-timed-out",
	"completions-overflowed",
	"connect-given-up-while-out",
	"connect-race-next-address",
	"drain-cut-short",
	"enter-again",
	"enter-busy",
	"enter-interrupted",
	"enter-submits-a-part",
	"eof-after-a-failed-send",
	"eof-held",
	"eof-was-a-reset",
	"hot-waits-for-its-send",
	"idle-timed-out",
	"linger-timed-out",
	"loop-spins",
	"op-cancelled-while-it-waits",
	"op-ended-before-its-cancel-began",
	"op-ended-by-itself-although-cancelled",
	"op-waits-for-an-sqe",
	"recv-copied-for-want-of-buffers",
	"recv-fallback-wanted",
	"recv-gets-cold",
	"recv-gets-hot",
	"recv-interrupted",
	"recv-into-behind-older-bytes",
	"recv-over-budget",
	"recv-parked",
	"recv-while-closing",
	"renew-a-receive",
	"request-served-again-at-once",
	"send-cancelled-half-way",
	"send-refused-for-the-moment",
	"send-short",
	"send-unit-failed",
	"slow-reader-is-asked-for",
	"task-too-many",
	"wake-came-before-the-sleep",
	"zc-no-report",
	"zc-refused",
};

static void check_cells(const char *out)
{
	unsigned hit, possible;
	const char *line = strstr(out, "\ncells hit ");

	CHECK(line && sscanf(line, "\ncells hit %u of %u", &hit, &possible) == 2);
	printf("  cells hit %u of %u\n", hit, possible);
	CHECK_INT(hit, >, possible / 2);
	CHECK(!never(out, "SHORT_RECV", "OPEN"));
	CHECK(!never(out, "STALL", "OPEN"));
}

/* Marks count where RLN_DEBUG is, and in the preset sim. */
static bool has_marks(const char *out)
{
	return !strstr(out, "\nmarks 0 of 0");
}

static void check_marks(const char *out)
{
	unsigned hit, all;
	const char *line = strstr(out, "\nmarks ");

	CHECK(line && sscanf(line, "\nmarks %u of %u", &hit, &all) == 2);
	printf("  marks %u of %u\n", hit, all);
	CHECK_INT(all, >=, 60);
	for (unsigned i = 0; i < sizeof(quick) / sizeof(*quick); i++) {
		if (reached(out, quick[i]) <= 0)
			printf("  %s: %lld times\n", quick[i], reached(out, quick[i]));
		CHECK(reached(out, quick[i]) > 0);
	}
}

TEST_LIMIT(driver_cells_and_marks_are_reached, 60)
{
	static char out[100000];

	CHECK_INT(driver("--runs 2000 --cells --quiet", out, sizeof(out)), ==, 0);
	CHECK(!strstr(out, "WRONG")); /* the tables of what cannot be are true */
	check_cells(out);
	if (!has_marks(out))
		SKIP("the marks of a product are nothing");
	check_marks(out);
}

/* Without the fault that leads there a cell is not hit, a mark not reached, and both are named. */
TEST_LIMIT(driver_cells_and_marks_that_nothing_reaches_are_named, 60)
{
	static char out[100000];

	CHECK_INT(driver("--runs 500 --cells --quiet --without SHORT_RECV --without PARTIAL", out,
			 sizeof(out)),
		  ==, 0);
	CHECK(never(out, "SHORT_RECV", "OPEN"));
	CHECK(never(out, "SHORT_RECV", "MULTI"));
	CHECK(!never(out, "SHORT_SEND", "OPEN"));
	if (!has_marks(out))
		SKIP("the marks of a product are nothing");
	CHECK_INT(reached(out, "enter-submits-a-part"), ==, 0);
	CHECK_HAS(out, "  never: enter-submits-a-part\n");
}

TEST(driver_refuses_what_it_does_not_know)
{
	char out[8000];

	CHECK_INT(driver("--without NONSENSE", out, sizeof(out)), ==, 2);
	CHECK_INT(driver("--sedd 1", out, sizeof(out)), ==, 2);
}
