/* Names to addresses: see resolve.c. */
#ifndef RINGLINE_IO_RESOLVE_H
#define RINGLINE_IO_RESOLVE_H

#include <stdint.h>
#include <sys/socket.h>

/*
 * On a task: the addresses of host in the system's order of preference, at most max of them. A
 * count, or -errno as rln_resolve(). The caller has passed wait_enter().
 */
int resolve_name(const char *host, uint16_t port, struct sockaddr_storage *out, int max,
		 const char *call);

#endif
