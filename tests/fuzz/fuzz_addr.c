/*
 * Addresses. Whatever is accepted must be within its limits, and its text must be read back as the
 * same address; whatever is refused must say so in one line.
 */
#include "fuzz.h"

#include "io/addr.h"
#include <errno.h>

static void check_refused(const struct diag *why, int e)
{
	FUZZ_CHECK(e == -EINVAL && why->err == e);
	FUZZ_CHECK(*why->line && !strchr(why->line, '\n'));
	FUZZ_CHECK(strlen(why->line) < sizeof why->line);
}

static bool printable(const struct addr *a)
{
	if (a->sa.sa_family != AF_UNIX)
		return true;
	for (size_t i = 1; i < a->bytes - offsetof(struct sockaddr_un, sun_path); i++) {
		unsigned char c = (unsigned char)a->un.sun_path[i];
		/* escaped, or a backslash that would look like it: for people, not for parsers */
		if (c && (c <= 0x20 || c >= 0x7f || c == '\\'))
			return false;
	}
	unsigned char first = (unsigned char)a->un.sun_path[0];
	return !first || (first > 0x20 && first < 0x7f && first != '\\');
}

static void check_accepted(const struct addr *a)
{
	char text[ADDR_TEXT_MAX];
	struct addr again;
	struct diag why;

	if (a->fd >= 0) {
		FUZZ_CHECK(!a->bytes && a->storage.ss_family == AF_UNSPEC);
		return;
	}
	FUZZ_CHECK(a->bytes > sizeof(sa_family_t) && a->bytes <= sizeof a->storage);
	FUZZ_CHECK(addr_text(&a->sa, a->bytes, text) == text);
	FUZZ_CHECK(strlen(text) < sizeof text);
	for (const char *p = text; *p; p++)
		FUZZ_CHECK((unsigned char)*p > 0x20 && (unsigned char)*p < 0x7f);
	if (!printable(a))
		return;
	FUZZ_CHECK(addr_parse(text, &again, &why) == 0);
	FUZZ_CHECK(again.bytes == a->bytes && !memcmp(&again.storage, &a->storage, a->bytes));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	char *s = malloc(n + 1);
	struct addr a, target;
	struct diag why = { 0 };
	int e, t;

	memcpy(s, data, n);
	s[n] = '\0';
	e = addr_parse(s, &a, &why);
	if (e)
		check_refused(&why, e);
	else
		check_accepted(&a);
	why = (struct diag){ 0 };
	t = addr_parse_target(s, &target, &why);
	if (t)
		check_refused(&why, t);
	else
		FUZZ_CHECK(!e && target.fd < 0 && !target.every);
	if (e)
		FUZZ_CHECK(t == e);
	free(s);
	return 0;
}
