#include "base/sys.h"
#include "io/addr.h"
#include "test.h"
#include <arpa/inet.h>
#include <errno.h>
#include <stddef.h>
#include <string.h>

static struct addr parse(const char *s)
{
	struct addr a;
	struct diag why = { 0 };

	if (addr_parse(s, &a, &why) != 0)
		test_fail(__FILE__, __LINE__, "%s: %s", s, why.line);
	return a;
}

static void check_text(const char *s, const char *expected)
{
	struct addr a = parse(s), again;
	char text[ADDR_TEXT_MAX];

	CHECK_STR(addr_text(&a.sa, a.bytes, text), expected);
	again = parse(text);
	CHECK_INT(again.bytes, ==, a.bytes);
	CHECK(!memcmp(&again.storage, &a.storage, sizeof a.storage));
}

static void check_refused(const char *s, const char *part)
{
	struct addr a;
	struct diag why = { 0 };

	CHECK_INT(addr_parse(s, &a, &why), ==, -EINVAL);
	CHECK_INT(why.err, ==, -EINVAL);
	CHECK_HAS(why.line, part);
	if (s && *s) {
		char quoted[32];
		snprintf(quoted, sizeof quoted, "\"%.20s", s);
		CHECK_HAS(why.line, quoted);
	}
	CHECK_INT(addr_parse(s, &a, NULL), ==, -EINVAL);
}

TEST(addr_ipv4_parses)
{
	struct addr a = parse("127.0.0.1:8080");

	CHECK_INT(a.in.sin_family, ==, AF_INET);
	CHECK_INT(ntohs(a.in.sin_port), ==, 8080);
	CHECK_INT(ntohl(a.in.sin_addr.s_addr), ==, 0x7f000001);
	CHECK_INT(a.bytes, ==, sizeof(struct sockaddr_in));
	CHECK_INT(a.fd, ==, -1);
	CHECK(!a.every);
}

TEST(addr_ipv6_parses)
{
	struct addr a = parse("[::1]:65535");

	CHECK_INT(a.in6.sin6_family, ==, AF_INET6);
	CHECK_INT(ntohs(a.in6.sin6_port), ==, 65535);
	CHECK(IN6_IS_ADDR_LOOPBACK(&a.in6.sin6_addr));
	CHECK_INT(a.bytes, ==, sizeof(struct sockaddr_in6));
	CHECK(!a.every);
	CHECK(!parse("[::]:80").every);
}

TEST(addr_port_alone_means_every_address)
{
	struct addr a = parse(":80");

	CHECK(a.every);
	CHECK_INT(a.in6.sin6_family, ==, AF_INET6);
	CHECK(IN6_IS_ADDR_UNSPECIFIED(&a.in6.sin6_addr));
	CHECK_INT(ntohs(a.in6.sin6_port), ==, 80);
}

TEST(addr_scope_by_number_and_name)
{
	char text[16];
	struct addr a = parse("[fe80::1%7]:80");

	CHECK_INT(a.in6.sin6_scope_id, ==, 7);
	if (sys_read_file("/sys/class/net/lo/ifindex", text, sizeof text) <= 0)
		SKIP("no interface lo");
	a = parse("[fe80::1%lo]:80");
	CHECK_INT(a.in6.sin6_scope_id, >, 0);
}

TEST(addr_unknown_scope_is_refused)
{
	check_refused("[fe80::1%nosuchif]:80", "no network interface \"nosuchif\"");
	check_refused("[fe80::1%]:80", "no network interface");
	check_refused("[fe80::1%0]:80", "no network interface");
	check_refused("[fe80::1%../lo]:80", "no network interface");
	check_refused("[fe80::1%averyverylongname]:80", "no network interface");
}

TEST(addr_unix_path_parses)
{
	struct addr a = parse("unix:/run/x");

	CHECK_INT(a.un.sun_family, ==, AF_UNIX);
	CHECK_STR(a.un.sun_path, "/run/x");
	CHECK_INT(a.bytes, ==, offsetof(struct sockaddr_un, sun_path) + 7);
}

TEST(addr_unix_abstract_parses)
{
	struct addr a = parse("unix:@name");

	CHECK(!memcmp(a.un.sun_path, "\0name", 5));
	CHECK_INT(a.bytes, ==, offsetof(struct sockaddr_un, sun_path) + 5);
}

TEST(addr_unix_path_length_is_bounded)
{
	char s[5 + sizeof(((struct sockaddr_un *)0)->sun_path) + 1] = "unix:";
	size_t most = sizeof(((struct sockaddr_un *)0)->sun_path) - 1;
	struct addr a;

	memset(s + 5, 'a', most);
	a = parse(s);
	CHECK_INT(strlen(a.un.sun_path), ==, most);
	CHECK_INT(a.bytes, ==, sizeof(struct sockaddr_un));
	s[5 + most] = 'a';
	check_refused(s, "the path has 108 bytes, at most 107 fit");
}

TEST(addr_inherited_descriptor_parses)
{
	struct addr a = parse("fd:3");

	CHECK_INT(a.fd, ==, 3);
	CHECK_INT(a.bytes, ==, 0);
	CHECK_INT(a.sa.sa_family, ==, AF_UNSPEC);
}

TEST(addr_text_reads_back)
{
	check_text("127.0.0.1:80", "127.0.0.1:80");
	check_text("0.0.0.0:0", "0.0.0.0:0");
	check_text("[::1]:80", "[::1]:80");
	check_text("[0:0:0:0:0:0:0:2]:1", "[::2]:1");
	check_text("[fe80::1%7]:80", "[fe80::1%7]:80");
	check_text("unix:/run/x", "unix:/run/x");
	check_text("unix:@name", "unix:@name");
}

TEST(addr_text_of_unix_names_from_the_kernel)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	char text[ADDR_TEXT_MAX];

	CHECK_STR(addr_text((void *)&un, sizeof un.sun_family, text), "unix:");
	CHECK_STR(addr_text((void *)&un, sizeof un, text), "unix:");
	memcpy(un.sun_path, "\0ab", 3);
	CHECK_STR(addr_text((void *)&un, sizeof un, text), "unix:@ab");
	memcpy(un.sun_path, "/a\n\x1b", 5);
	CHECK_STR(addr_text((void *)&un, sizeof un, text), "unix:/a\\x0a\\x1b");
}

TEST(addr_text_of_the_longest_name_fits)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	char text[ADDR_TEXT_MAX];

	memset(un.sun_path, 1, sizeof un.sun_path); /* the kernel may leave no room for a NUL */
	addr_text((void *)&un, sizeof un, text);
	CHECK_INT(strlen(text), ==, 5 + 4 * sizeof un.sun_path);
	un.sun_path[0] = '\0';
	addr_text((void *)&un, sizeof un, text);
	CHECK_INT(strlen(text), ==, 6 + 4 * (sizeof un.sun_path - 1));
}

TEST(addr_text_of_an_unknown_family_names_it)
{
	struct sockaddr sa = { .sa_family = 77 };
	char text[ADDR_TEXT_MAX];

	CHECK_STR(addr_text(&sa, sizeof sa, text), "address family 77");
}

TEST(addr_bad_input_is_refused_with_a_remedy)
{
	check_refused(NULL, "no address");
	check_refused("", "no address");
	check_refused("127.0.0.1", "no port");
	check_refused("80", "no port");
	check_refused("[::1]", "no port");
	check_refused("[::1", "no port");
	check_refused("[::1]80", "no port");
	check_refused("127.0.0.1:", "is not a port");
	check_refused("127.0.0.1:65536", "is not a port");
	check_refused("127.0.0.1:-1", "is not a port");
	check_refused("127.0.0.1:+1", "is not a port");
	check_refused("127.0.0.1:8o", "is not a port");
	check_refused("127.0.0.1:99999999999999999999", "is not a port");
	check_refused("127.0.0.1: 80", "is not a port");
	check_refused("127.0.0:80", "not an IPv4 address");
	check_refused("256.0.0.1:80", "not an IPv4 address");
	check_refused("::1:80", "stands in brackets");
	check_refused("[127.0.0.1]:80", "not an IPv6 address");
	check_refused("[]:80", "not an IPv6 address");
	check_refused("*:80", "write :PORT");
	check_refused("unix:", "no path");
	check_refused("unix:@", "no path");
	check_refused("fd:", "not a descriptor");
	check_refused("fd:x", "not a descriptor");
	check_refused("fd:-1", "not a descriptor");
	check_refused("fd:99999999999", "not a descriptor");
}

TEST(addr_refusal_is_one_line_whatever_it_quotes)
{
	struct addr a;
	struct diag why = { 0 };

	CHECK_INT(addr_parse("evil\nringline: all is well\x1b[2J", &a, &why), ==, -EINVAL);
	CHECK_HAS(why.line, "\"evil?ringline: all is well?[2J\"");
}

TEST(addr_host_names_are_refused_by_name)
{
	check_refused("localhost:80", "a name is not resolved here; give a numeric address");
	check_refused("example.org:443", "a name is not resolved here");
}

TEST(addr_target_must_be_connectable)
{
	struct addr a;
	struct diag why = { 0 };

	CHECK_INT(addr_parse_target("127.0.0.1:80", &a, &why), ==, 0);
	CHECK_INT(addr_parse_target("unix:/x", &a, &why), ==, 0);
	CHECK_INT(addr_parse_target(":80", &a, &why), ==, -EINVAL);
	CHECK_HAS(why.line, "not one to connect to");
	CHECK_INT(addr_parse_target("fd:3", &a, &why), ==, -EINVAL);
	CHECK_HAS(why.line, "not one to connect to");
	CHECK_INT(addr_parse_target("[::1]:0", &a, &why), ==, -EINVAL);
	CHECK_HAS(why.line, "port 0");
	CHECK_INT(addr_parse_target("nonsense", &a, &why), ==, -EINVAL);
	CHECK_HAS(why.line, "no port");
}

TEST(addr_name_tells_names_from_addresses)
{
	static const struct {
		const char *text, *host;
		uint16_t port;
	} yes[] = { { "example.org:80", "example.org", 80 },
		    { "localhost:1", "localhost", 1 },
		    { "a-b_c.d.:65535", "a-b_c.d.", 65535 },
		    { "1a:80", "1a", 80 },
		    { "unix:80", NULL, 0 } };
	static const char *const no[] = { "1.2.3.4:80", "[::1]:80", ":80",   "unix:/x",	 "fd:3",
					  "x",		"x:",	    "x:0",   "x:65536",	 "x:http",
					  "a b:80",	"-x:80",    ".x:80", "",	 "x.y:80 ",
					  "tcp:x:80",	"1.2.3:80", "::1",   "[x.y]:80", "x/y:80" };
	char host[ADDR_NAME_MAX], longest[300];
	uint16_t port;

	for (size_t i = 0; i < sizeof yes / sizeof *yes; i++) {
		bool is = addr_name(yes[i].text, host, sizeof host, &port);
		CHECK_INT(is, ==, yes[i].host != NULL);
		if (is)
			CHECK_STR(host, yes[i].host);
		if (is)
			CHECK_INT(port, ==, yes[i].port);
	}
	for (size_t i = 0; i < sizeof no / sizeof *no; i++)
		if (addr_name(no[i], host, sizeof host, &port))
			test_fail(__FILE__, __LINE__, "\"%s\" is no name", no[i]);
	memset(longest, 'x', sizeof longest);
	strcpy(longest + 255, ":80");
	CHECK(addr_name(longest, host, sizeof host, &port));
	strcpy(longest + 256, ":80");
	CHECK(!addr_name(longest, host, sizeof host, &port));
}
