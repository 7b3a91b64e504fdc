/*
 * The part of the system table about names: what the system's resolver says, whatever it is set up
 * to ask. Blocks; for helper threads only.
 */
#include "base/sys.h"
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>

static int error_of(int eai)
{
	switch (eai) {
	case EAI_NONAME:
#ifdef EAI_NODATA
	case EAI_NODATA:
#endif
#ifdef EAI_ADDRFAMILY
	case EAI_ADDRFAMILY:
#endif
		return -EHOSTUNREACH;
	case EAI_AGAIN:
		return -EAGAIN;
	case EAI_MEMORY:
		return -ENOMEM;
	case EAI_SYSTEM:
		return errno ? -errno : -EIO;
	default:
		return -EIO;
	}
}

int sys_resolve(const char *host, uint16_t port, struct sockaddr_storage *out, int max)
{
	/* One socket type, or each address comes once for every type. */
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV }, *all;
	char text[8];
	int n = 0;

	snprintf(text, sizeof text, "%u", port);
	errno = 0;
	int eai = getaddrinfo(host, text, &hints, &all);
	if (eai)
		return error_of(eai);
	for (const struct addrinfo *a = all; a && n < max; a = a->ai_next) {
		if (a->ai_family != AF_INET && a->ai_family != AF_INET6)
			continue;
		memset(&out[n], 0, sizeof out[n]);
		memcpy(&out[n++], a->ai_addr, a->ai_addrlen);
	}
	freeaddrinfo(all);
	return n ? n : -EHOSTUNREACH;
}
