/* The RESP2 parser: every form of a request, every error, every split. */
#include <stdlib.h>

#include "kv/resp.h"
#include "test.h"

static void init(struct kv_resp *r)
{
	kv_resp_init(r, 1024 * 1024, 512u << 20, 64 * 1024);
}

/* Feed text in growing ranges, one byte more each time; every range is a fresh allocation. */
static enum kv_resp_result feed_growing(struct kv_resp *r, const void *text, size_t n,
					uint8_t **last)
{
	enum kv_resp_result res = KV_RESP_MORE;

	*last = NULL;
	for (size_t len = 1; len <= n && res == KV_RESP_MORE; len++) {
		free(*last);
		*last = malloc(len);
		memcpy(*last, text, len);
		res = kv_resp_parse(r, *last, len);
	}
	return res;
}

static void check_error(const void *text, size_t n, const char *error)
{
	struct kv_resp r;
	uint8_t *last;

	init(&r);
	CHECK_INT(kv_resp_parse(&r, text, n), ==, KV_RESP_ERROR);
	CHECK_STR(r.error, error);
	kv_resp_fini(&r);
	init(&r);
	CHECK_INT(feed_growing(&r, text, n, &last), ==, KV_RESP_ERROR);
	CHECK_STR(r.error, error);
	free(last);
	kv_resp_fini(&r);
}

static void check_arg(const struct kv_resp *r, const void *in, size_t i, const char *want, size_t n)
{
	struct kv_arg a = kv_resp_arg(r, in, i);

	CHECK_INT(a.len, ==, n);
	CHECK(memcmp(a.data, want, n) == 0);
}

TEST(kv_resp_array_yields_arguments_in_place)
{
	static const char text[] = "*3\r\n$3\r\nSET\r\n$0\r\n\r\n$4\r\na\0\r\n\r\nrest";
	struct kv_resp r;

	init(&r);
	CHECK_INT(kv_resp_parse(&r, (const uint8_t *)text, sizeof text - 1), ==, KV_RESP_COMMAND);
	CHECK_INT(r.argc, ==, 3);
	CHECK_INT(r.used, ==, sizeof text - 1 - 4);
	check_arg(&r, text, 0, "SET", 3);
	check_arg(&r, text, 1, "", 0);
	check_arg(&r, text, 2, "a\0\r\n", 4);
	CHECK(kv_resp_arg(&r, (const uint8_t *)text, 0).data == (const uint8_t *)text + 8);
	kv_resp_fini(&r);
}

TEST(kv_resp_byte_by_byte_yields_the_same)
{
	static const char text[] = "*2\r\n$3\r\nGET\r\n$3\r\nk\r\n\r\n";
	struct kv_resp r;
	uint8_t *last;

	init(&r);
	CHECK_INT(feed_growing(&r, text, sizeof text - 1, &last), ==, KV_RESP_COMMAND);
	CHECK_INT(r.used, ==, sizeof text - 1);
	check_arg(&r, last, 1, "k\r\n", 3);
	free(last);
	kv_resp_next(&r);
	CHECK_INT(kv_resp_parse(&r, (const uint8_t *)"*1\r\n$4\r\nPING\r\n", 14), ==,
		  KV_RESP_COMMAND);
	CHECK_INT(r.argc, ==, 1);
	kv_resp_fini(&r);
}

TEST(kv_resp_empty_array_is_a_command_without_arguments)
{
	static const char *const texts[] = { "*0\r\n", "*-1\r\n", "*-7\r\n", "\r\n", "\n", "  \n" };

	for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
		struct kv_resp r;
		size_t n = strlen(texts[i]);

		init(&r);
		CHECK_INT(kv_resp_parse(&r, (const uint8_t *)texts[i], n), ==, KV_RESP_COMMAND);
		CHECK_INT(r.argc, ==, 0);
		CHECK_INT(r.used, ==, n);
		kv_resp_fini(&r);
	}
}

TEST(kv_resp_inline_splits_words_and_quotes)
{
	static const char text[] = " set  k\t\"a\\x41\\n\\\"b\\q\" 'it\\'s' \"\" x\"y z\"\r\n";
	struct kv_resp r;
	uint8_t *last;

	init(&r);
	CHECK_INT(feed_growing(&r, text, sizeof text - 1, &last), ==, KV_RESP_COMMAND);
	CHECK_INT(r.argc, ==, 6);
	CHECK_INT(r.used, ==, sizeof text - 1);
	check_arg(&r, last, 0, "set", 3);
	check_arg(&r, last, 1, "k", 1);
	check_arg(&r, last, 2, "aA\n\"bq", 6);
	check_arg(&r, last, 3, "it's", 4);
	check_arg(&r, last, 4, "", 0);
	check_arg(&r, last, 5, "xy z", 4);
	free(last);
	kv_resp_fini(&r);
}

TEST(kv_resp_inline_escapes_at_the_end_stay_inside)
{
	check_error("\"\\\n", 3, "unbalanced quotes in request");
	check_error("\"\\x\n", 4, "unbalanced quotes in request");
	check_error("\"\\x4\n", 5, "unbalanced quotes in request");
	check_error("'\\\n", 3, "unbalanced quotes in request");
	check_error("'\\'\n", 4, "unbalanced quotes in request");
}

TEST(kv_resp_unbalanced_quotes_are_an_error)
{
	check_error("set \"a\r\n", 8, "unbalanced quotes in request");
	check_error("set 'a\r\n", 8, "unbalanced quotes in request");
	check_error("set \"a\"b\r\n", 10, "unbalanced quotes in request");
}

TEST(kv_resp_bad_count_is_an_error)
{
	check_error("*x\r\n", 4, "invalid multibulk length");
	check_error("*\r\n", 3, "invalid multibulk length");
	check_error("*+1\r\n", 5, "invalid multibulk length");
	check_error("*01\r\n", 5, "invalid multibulk length");
	check_error("*1\n", 3, "invalid multibulk length");
	check_error("*1048577\r\n", 10, "invalid multibulk length");
	check_error("*99999999999999999999\r\n", 23, "invalid multibulk length");
}

TEST(kv_resp_greatest_count_is_accepted_without_memory_for_it)
{
	struct kv_resp r;

	init(&r);
	CHECK_INT(kv_resp_parse(&r, (const uint8_t *)"*1048576\r\n", 10), ==, KV_RESP_MORE);
	CHECK_INT(r.cap, ==, 8);
	kv_resp_fini(&r);
}

TEST(kv_resp_bad_bulk_is_an_error)
{
	check_error("*1\r\n$x\r\n", 8, "invalid bulk length");
	check_error("*1\r\n$-1\r\n", 9, "invalid bulk length");
	check_error("*1\r\n$\r\n", 7, "invalid bulk length");
	check_error("*1\r\n$536870913\r\n", 16, "invalid bulk length");
	check_error("*1\r\n:3\r\n", 8, "expected '$', got ':'");
	check_error("*1\r\n\r\n", 6, "expected '$', got '\r'");
}

/* A line of n bytes behind prefix, without its end. */
static uint8_t *long_line(const char *prefix, size_t n)
{
	size_t len = strlen(prefix);
	uint8_t *p = malloc(len + n);

	memcpy(p, prefix, len);
	memset(p + len, '1', n);
	return p;
}

TEST(kv_resp_line_without_end_is_an_error_past_the_limit)
{
	static const struct {
		const char *prefix, *error;
		size_t line; /* where the line begins */
	} cases[] = {
		{ "", "too big inline request", 0 },
		{ "*", "too big mbulk count string", 0 },
		{ "*1\r\n$", "too big bulk count string", 4 },
	};

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		size_t mark = strlen(cases[i].prefix) - cases[i].line;
		size_t fits = strlen(cases[i].prefix) + 65536 - mark;
		uint8_t *p = long_line(cases[i].prefix, 65537 - mark);
		struct kv_resp r;

		init(&r);
		CHECK_INT(kv_resp_parse(&r, p, fits), ==, KV_RESP_MORE);
		CHECK_INT(kv_resp_parse(&r, p, fits + 1), ==, KV_RESP_ERROR);
		CHECK_STR(r.error, cases[i].error);
		kv_resp_fini(&r);
		free(p);
	}
}

TEST(kv_resp_many_arguments_grow_and_shrink)
{
	size_t count = 5000, n = 0, room = 16 + count * 8;
	char *text = malloc(room);
	struct kv_resp r;

	n += (size_t)snprintf(text, room, "*%zu\r\n", count);
	for (size_t i = 0; i < count; i++)
		n += (size_t)snprintf(text + n, room - n, "$1\r\n%c\r\n", (char)('a' + i % 26));
	init(&r);
	CHECK_INT(kv_resp_parse(&r, (uint8_t *)text, n), ==, KV_RESP_COMMAND);
	CHECK_INT(r.argc, ==, count);
	for (size_t i = 0; i < count; i++)
		CHECK_INT(kv_resp_arg(&r, (uint8_t *)text, i).data[0], ==, 'a' + i % 26);
	kv_resp_next(&r);
	CHECK_INT(r.cap, ==, 8);
	kv_resp_fini(&r);
	free(text);
}

TEST(kv_resp_wants_exactly_what_belongs_to_the_command)
{
	static const char text[] = "*2\r\n$3\r\nGET\r\n$10\r\n0123456789\r\n*1\r\n$4\r\nPING\r\n";
	const uint8_t *p = (const uint8_t *)text;
	size_t end = 30, total = sizeof text - 1;

	for (size_t have = 1; have < end; have++) {
		struct kv_resp r;
		size_t at = have;
		enum kv_resp_result res;

		init(&r);
		CHECK_INT(kv_resp_parse(&r, p, at), ==, KV_RESP_MORE);
		do {
			size_t wants = kv_resp_wants(&r, at, p + at, total - at);

			CHECK_INT(wants, >, 0);
			at += wants;
			res = kv_resp_parse(&r, p, at);
		} while (res == KV_RESP_MORE);
		CHECK_INT(res, ==, KV_RESP_COMMAND);
		CHECK_INT(at, ==, end);
		CHECK_INT(r.used, ==, end);
		kv_resp_fini(&r);
	}
}

static bool integer(const char *s, long long *v)
{
	return kv_parse_integer((const uint8_t *)s, strlen(s), v);
}

TEST(kv_parse_integer_accepts_the_canonical_spelling_only)
{
	static const char *const bad[] = { "",
					   "-",
					   "-0",
					   "+1",
					   " 1",
					   "1 ",
					   "01",
					   "1a",
					   "9223372036854775808",
					   "-9223372036854775809",
					   "18446744073709551617",
					   "99999999999999999999999" };
	long long v = 1;

	CHECK(integer("0", &v) && v == 0);
	CHECK(integer("-1", &v) && v == -1);
	CHECK(integer("9223372036854775807", &v) && v == INT64_MAX);
	CHECK(integer("-9223372036854775808", &v) && v == INT64_MIN);
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		if (integer(bad[i], &v))
			test_fail(__FILE__, __LINE__, "\"%s\" was accepted", bad[i]);
}
