/*
 * Test harness. TEST(name) registers itself; every test runs in a child process of its own, so a
 * crash, an abort or a hang is one failure. The main() of test.c prints one line a test and
 * "N passed, N failed, N skipped" at the end. Arguments: substrings of test names to run; -l lists;
 * --no-fork runs in this process (debugger).
 */
#ifndef RINGLINE_TESTS_TEST_H
#define RINGLINE_TESTS_TEST_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

struct test_case {
	const char *name, *file;
	void (*fn)(void);
	int limit_s; /* 0: 30 s (x4 under sanitizers) */
	struct test_case *next;
};

void test_register(struct test_case *t);
_Noreturn void test_fail(const char *file, int line, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* reason names what is missing */
_Noreturn void test_skip(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/*
 * Runs fn in a child that must die by signal sig (or exit with status -sig when sig <= 0) and whose
 * stderr must contain text (NULL: anything).
 */
void test_dies(const char *file, int line, void (*fn)(void), int sig, const char *text);
int64_t test_now_ns(void);

#define TEST_LIMIT(n, seconds)                                                             \
	static void test_##n(void);                                                        \
	static struct test_case test_case_##n = { #n, __FILE__, test_##n, seconds, NULL }; \
	__attribute__((constructor)) static void test_ctor_##n(void)                       \
	{                                                                                  \
		test_register(&test_case_##n);                                             \
	}                                                                                  \
	static void test_##n(void)
#define TEST(n) TEST_LIMIT(n, 0)

#define CHECK(c)                                                 \
	do {                                                     \
		if (!(c))                                        \
			test_fail(__FILE__, __LINE__, "%s", #c); \
	} while (0)
#define CHECK_INT(a, op, b)                                                                    \
	do {                                                                                   \
		long long a_ = (long long)(a), b_ = (long long)(b);                            \
		if (!(a_ op b_))                                                               \
			test_fail(__FILE__, __LINE__, "%s %s %s: %lld, %lld", #a, #op, #b, a_, \
				  b_);                                                         \
	} while (0)
#define CHECK_STR(a, b)                                                                      \
	do {                                                                                 \
		const char *a_ = (a), *b_ = (b);                                             \
		if (strcmp(a_, b_) != 0)                                                     \
			test_fail(__FILE__, __LINE__, "%s: \"%s\", not \"%s\"", #a, a_, b_); \
	} while (0)
#define CHECK_HAS(s, part)                                                                     \
	do {                                                                                   \
		const char *s_ = (s), *p_ = (part);                                            \
		if (!strstr(s_, p_))                                                           \
			test_fail(__FILE__, __LINE__, "%s: \"%s\" has no \"%s\"", #s, s_, p_); \
	} while (0)
#define SKIP(...) test_skip(__VA_ARGS__)
#define CHECK_DIES(fn, sig, text) test_dies(__FILE__, __LINE__, fn, sig, text)

#endif
