#include "ringline/base.h"
#include "test.h"
#include <errno.h>
#include <limits.h>
#include <string.h>

/* The errors with a meaning of their own here, and a word that says it. */
static const struct {
	int err;
	const char *part;
} own[] = {
	{ ECANCELED, "scope" },	    { ETIME, "intact" },
	{ EBADF, "Stale handle" },  { EXDEV, "another worker" },
	{ EPERM, "no worker" },	    { EDEADLK, "callback" },
	{ EBUSY, "another task" },  { ENODATA, "in the middle" },
	{ EMSGSIZE, "recv_max" },   { ECONNABORTED, "by this program" },
	{ ESHUTDOWN, "drains" },    { EAGAIN, "try again" },
	{ ENFILE, "file_slots" },   { EMFILE, "ulimit -n" },
	{ E2BIG, "version" },	    { ESRCH, "task" },
	{ EPIPE, "sending side" },  { ETIMEDOUT, "send_stall" },
	{ ENOSYS, "io_uring" },	    { ECONNRESET, "peer" },
	{ EOPNOTSUPP, "Not supp" }, { EALREADY, "lready" },
	{ EADDRINUSE, "listens" },  { ENOTCONN, "onnected" },
};

TEST(strerror_own_meanings_are_told)
{
	for (size_t i = 0; i < sizeof own / sizeof own[0]; i++)
		CHECK_HAS(rln_strerror(-own[i].err), own[i].part);
}

TEST(strerror_sign_does_not_matter)
{
	for (int e = 0; e < 134; e++)
		CHECK(rln_strerror(e) == rln_strerror(-e));
}

TEST(strerror_deadline_and_timeout_differ)
{
	CHECK(strcmp(rln_strerror(-ETIME), rln_strerror(-ETIMEDOUT)) != 0);
}

TEST(strerror_everything_else_is_the_systems)
{
	CHECK_STR(rln_strerror(-ENOENT), "No such file or directory");
	CHECK_STR(rln_strerror(-ENETUNREACH), "Network is unreachable");
	CHECK_STR(rln_strerror(0), "Success");
}

TEST(strerror_unknown_numbers_have_a_text)
{
	static const int odd[] = { 9999, -9999, INT_MAX, INT_MIN, -INT_MAX };

	for (size_t i = 0; i < sizeof odd / sizeof odd[0]; i++)
		CHECK_STR(rln_strerror(odd[i]), "Unknown error");
}

TEST(strerror_texts_are_one_line_and_stable)
{
	for (int e = 0; e < 134; e++) {
		const char *s = rln_strerror(-e);
		CHECK(s && *s);
		CHECK(!strchr(s, '\n'));
		CHECK(rln_strerror(-e) == s);
	}
}

TEST(strerror_leaves_errno_alone)
{
	errno = 4711;
	rln_strerror(-EBADF);
	rln_strerror(-ENOENT);
	rln_strerror(INT_MIN);
	CHECK_INT(errno, ==, 4711);
}
