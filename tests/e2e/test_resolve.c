/* Names: what the system's own tables know of them; nothing here asks a name server. */
#include "rig.h"

#include <arpa/inet.h>

static bool is_loopback(const struct sockaddr_storage *a, uint16_t port)
{
	const struct sockaddr_in *in = (const void *)a;
	const struct sockaddr_in6 *in6 = (const void *)a;

	if (a->ss_family == AF_INET)
		return ntohl(in->sin_addr.s_addr) >> 24 == 127 && ntohs(in->sin_port) == port;
	return a->ss_family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&in6->sin6_addr) &&
	       ntohs(in6->sin6_port) == port;
}

TASK_TEST(resolve_numeric_addresses_need_no_resolver)
{
	struct sockaddr_storage a[2];
	struct sockaddr_in *in = (void *)a;
	struct sockaddr_in6 *in6 = (void *)a;

	CHECK_INT(rln_resolve("192.0.2.7", 443, a, 2), ==, 1);
	CHECK_INT(a[0].ss_family, ==, AF_INET);
	CHECK_INT(ntohl(in->sin_addr.s_addr), ==, 0xc0000207);
	CHECK_INT(ntohs(in->sin_port), ==, 443);
	CHECK_INT(rln_resolve("::1", 80, a, 1), ==, 1);
	CHECK(is_loopback(a, 80));
	CHECK_INT(rln_resolve("fe80::1%lo", 80, a, 1), ==, 1);
	CHECK_INT(a[0].ss_family, ==, AF_INET6);
	CHECK_INT(in6->sin6_scope_id, >, 0);
}

TASK_TEST(resolve_localhost_is_the_loopback)
{
	struct sockaddr_storage a[8];
	int n = rln_resolve("localhost", 1234, a, 8);

	CHECK_INT(n, >=, 1);
	for (int i = 0; i < n; i++)
		CHECK(is_loopback(&a[i], 1234));
	for (int i = 1; i < n; i++)
		for (int k = 0; k < i; k++)
			CHECK(memcmp(&a[i], &a[k], sizeof a[i]) != 0);
	CHECK_INT(rln_resolve("localhost", 1234, a, 1), ==, 1); /* no more than there is room */
}

TASK_TEST(resolve_arguments_are_checked)
{
	struct sockaddr_storage a;
	char longest[300];

	memset(longest, 'x', sizeof longest);
	longest[256] = 0;
	CHECK_INT(rln_resolve(NULL, 1, &a, 1), ==, -EINVAL);
	CHECK_INT(rln_resolve("localhost", 1, NULL, 1), ==, -EINVAL);
	CHECK_INT(rln_resolve("localhost", 1, &a, 0), ==, -EINVAL);
	CHECK_INT(rln_resolve("", 1, &a, 1), ==, -EINVAL);
	CHECK_INT(rln_resolve(longest, 1, &a, 1), ==, -EINVAL);
}

TASK_TEST(resolve_cancelled_before_and_after_it_was_asked)
{
	struct sockaddr_storage a;

	for (int i = 0; i < 50; i++) {
		CHECK_INT(RLN_WITHIN(0, rln_resolve("localhost", 1, &a, 1)), ==, -ETIME);
		int e = RLN_WITHIN(RLN_US(1), rln_resolve("localhost", 1, &a, 1));
		CHECK(e == 1 || e == -ETIME);
	}
}

static void in_callback(void *arg)
{
	struct sockaddr_storage a;
	CHECK_INT(rln_resolve("localhost", 1, &a, 1), ==, -EDEADLK);
	*(bool *)arg = true;
}

TASK_TEST(resolve_needs_a_task)
{
	bool ran = false;

	CHECK_INT(rln_post(NULL, 0, in_callback, &ran), ==, 0);
	TASK_EVENTUALLY(ran);
}

TEST(resolve_off_worker_is_eperm)
{
	struct sockaddr_storage a;
	CHECK_INT(rln_resolve("localhost", 1, &a, 1), ==, -EPERM);
}

/* localhost may be ::1 first: there nobody listens, and the other one is tried at once. */
TASK_TEST(connect_to_a_name_reaches_whoever_listens)
{
	struct sockaddr_storage peer;
	struct sockaddr_in in;
	int lfd = raw_listener(&in, 8, 0);
	char text[64];
	rln_conn c;

	snprintf(text, sizeof text, "localhost:%d", ntohs(in.sin_port));
	CHECK_INT(rln_connect(text, NULL, &c), ==, 0);
	CHECK_INT(rln_peer(c, &peer), ==, 0);
	CHECK(is_loopback(&peer, ntohs(in.sin_port)));
	int fd = accept(lfd, NULL, NULL);
	CHECK(fd >= 0);
	CHECK_INT(rln_send(c, "hi", 2), ==, 2);
	peer_expect(fd, "hi");
	CHECK_INT(rln_close(c), ==, 0);
	CHECK_INT(peer_end(fd), ==, 0);
	close(fd);
	close(lfd);
	CHECK_INT(rln_connect(text, NULL, &c), ==, -ECONNREFUSED);
}

TASK_TEST(connect_to_a_name_cancelled_at_any_time_leaves_nothing)
{
	struct sockaddr_in in;
	int lfd = raw_listener(&in, 64, 0);
	char text[64];

	snprintf(text, sizeof text, "localhost:%d", ntohs(in.sin_port));
	for (int i = 0; i < 40; i++) {
		rln_conn c;
		int e = RLN_WITHIN(i % 2 ? RLN_US(1) : RLN_MS(1 + i % 3),
				   rln_connect(text, NULL, &c));
		CHECK(e == 0 || e == -ETIME);
		if (!e)
			CHECK_INT(rln_close(c), ==, 0);
	}
	close(lfd);
}
