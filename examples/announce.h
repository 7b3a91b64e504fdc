/*
 * What the example servers share: say where they listen, as the first line of output. As the main
 * task of a program it then waits for the drain, which cancels it.
 */
#ifndef EXAMPLES_ANNOUNCE_H
#define EXAMPLES_ANNOUNCE_H

#include <arpa/inet.h>
#include <ringline.h>
#include <stdio.h>

/* One line for each of the first n listeners; the real port, also where it was asked for as 0. */
static inline void announce(unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		struct sockaddr_storage ss = { 0 };
		char host[INET6_ADDRSTRLEN] = "?";
		const struct sockaddr_in *in = (const struct sockaddr_in *)&ss;
		const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)&ss;

		if (rln_listen_addr(NULL, i, &ss) < 0)
			continue;
		if (ss.ss_family == AF_INET6)
			printf("listening on [%s]:%u\n",
			       inet_ntop(AF_INET6, &in6->sin6_addr, host, sizeof host),
			       ntohs(in6->sin6_port));
		else
			printf("listening on %s:%u\n",
			       inet_ntop(AF_INET, &in->sin_addr, host, sizeof host),
			       ntohs(in->sin_port));
	}
	fflush(stdout);
}

/* rln_config.main for a program with one listener. */
static inline int announce_main(void *arg)
{
	(void)arg;
	announce(1);
	(void)rln_sleep_until(RLN_FOREVER); /* -ECANCELED when the last connection is gone */
	return 0;
}

#endif
