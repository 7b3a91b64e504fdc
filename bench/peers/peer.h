/*
 * What the peers of bench/ab.py have in common: where they listen is the first line they print;
 * SIGUSR1 prints their count of system calls, which these do not know; SIGTERM ends them.
 */
#ifndef BENCH_PEERS_PEER_H
#define BENCH_PEERS_PEER_H

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PEER_READ_BYTES = 64 * 1024, PEER_BACKLOG = 4096 };

static inline void peer_need(int ok, const char *what, const char *why)
{
	if (ok)
		return;
	fprintf(stderr, "%s: %s\n", what, why);
	exit(2);
}

/* usage: PROGRAM [PORT] */
static inline struct sockaddr_in peer_address(int argc, char **argv)
{
	return (struct sockaddr_in){ .sin_family = AF_INET,
				     .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
				     .sin_port = htons((uint16_t)(argc > 1 ? atoi(argv[1]) : 0)) };
}

static inline void peer_listening(const struct sockaddr_in *in)
{
	printf("listening on 127.0.0.1:%u\n", ntohs(in->sin_port));
	fflush(stdout);
}

static inline void peer_say_syscalls(void)
{
	puts("{\"workers\":1,\"syscalls\":null}");
	fflush(stdout);
}

#endif
