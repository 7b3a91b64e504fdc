#include "base/log.h"
#include "test.h"
#include <string.h>
#include <unistd.h>

struct seen {
	int count, level;
	char msg[1024];
};

static void see(int level, const char *msg, void *arg)
{
	struct seen *s = arg;

	s->count++;
	s->level = level;
	snprintf(s->msg, sizeof s->msg, "%s", msg);
}

/* What fn writes to stderr. */
static const char *stderr_of(void (*fn)(void))
{
	static char text[2048];
	int ends[2], saved = dup(2);
	ssize_t n;

	CHECK(saved >= 0 && pipe(ends) == 0);
	dup2(ends[1], 2);
	fn();
	dup2(saved, 2);
	close(saved);
	close(ends[1]);
	n = read(ends[0], text, sizeof text - 1);
	close(ends[0]);
	CHECK(n >= 0);
	text[n] = '\0';
	return text;
}

TEST(log_line_goes_to_the_sink_in_force)
{
	struct seen a = { 0 }, b = { 0 };
	struct log_sink to_a = { see, &a }, to_b = { see, &b };

	CHECK(log_use(&to_a) == NULL);
	log_line(RLN_LOG_DEBUG, "one %d", 1);
	CHECK(log_use(&to_b) == &to_a);
	log_line(RLN_LOG_ERROR, "two");
	CHECK(log_use(NULL) == &to_b);
	CHECK_INT(a.count, ==, 1);
	CHECK_INT(a.level, ==, RLN_LOG_DEBUG);
	CHECK_STR(a.msg, "one 1");
	CHECK_STR(b.msg, "two");
	log_line_to(&to_a, RLN_LOG_INFO, "three");
	CHECK_STR(a.msg, "three");
	CHECK_INT(b.count, ==, 1);
}

static void say_all_levels(void)
{
	log_line(RLN_LOG_ERROR, "an error");
	log_line(RLN_LOG_WARN, "ringline: a warning");
	log_line(RLN_LOG_INFO, "some news");
	log_line(RLN_LOG_DEBUG, "a detail");
}

TEST(log_without_sink_warns_on_stderr)
{
	CHECK_STR(stderr_of(say_all_levels), "ringline: an error\nringline: a warning\n");
}

static void say_with_empty_sink(void)
{
	static const struct log_sink none = { NULL, NULL };

	log_line_to(&none, RLN_LOG_WARN, "w");
	log_line_to(&none, RLN_LOG_INFO, "i");
}

TEST(log_sink_without_function_is_stderr)
{
	CHECK_STR(stderr_of(say_with_empty_sink), "ringline: w\n");
}

TEST(log_long_line_is_cut_and_shows_it)
{
	struct seen a = { 0 };
	struct log_sink to_a = { see, &a };
	char text[LOG_LINE_MAX + 100];

	memset(text, 'x', sizeof text - 1);
	text[sizeof text - 1] = '\0';
	log_line_to(&to_a, RLN_LOG_WARN, "%s", text);
	CHECK_INT(strlen(a.msg), ==, LOG_LINE_MAX - 1);
	CHECK_STR(a.msg + LOG_LINE_MAX - 1 - 4, "x...");
	text[LOG_LINE_MAX - 1] = '\0';
	log_line_to(&to_a, RLN_LOG_WARN, "%s", text);
	CHECK_STR(a.msg, text);
}

TEST(log_control_bytes_cannot_forge_lines)
{
	struct seen a = { 0 };
	struct log_sink to_a = { see, &a };

	log_line_to(&to_a, RLN_LOG_WARN, "name \"%s\"", "a\nb\033[2J\x7f");
	CHECK_STR(a.msg, "name \"a?b?[2J?\"");
}

static void misuse(void)
{
	LOG_ONCE(RLN_LOG_WARN, "misuse");
}

TEST(log_once_says_it_once_a_place)
{
	struct seen a = { 0 };
	struct log_sink to_a = { see, &a };

	log_use(&to_a);
	for (int i = 0; i < 3; i++)
		misuse();
	CHECK_INT(a.count, ==, 1);
	LOG_ONCE(RLN_LOG_WARN, "another place");
	CHECK_INT(a.count, ==, 2);
	log_use(NULL);
}
