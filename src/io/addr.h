/*
 * Addresses as people write them. Nothing here asks a name server: a name is only told
 * apart.
 *
 *   127.0.0.1:80   [::1]:80   [fe80::1%eth0]:80   :80   unix:/run/x   unix:@abstract   fd:3
 */
#ifndef RINGLINE_IO_ADDR_H
#define RINGLINE_IO_ADDR_H

#include "ring/caps.h"
#include <netinet/in.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <sys/un.h>

struct addr {
	union {
		struct sockaddr sa;
		struct sockaddr_in in;
		struct sockaddr_in6 in6;
		struct sockaddr_un un;
		struct sockaddr_storage storage;
	};
	socklen_t bytes; /* of the above; 0: fd */
	int fd;		 /* "fd:N": inherited, family AF_UNSPEC; else -1 */
	bool every;	 /* ":80": [::] for both families, 0.0.0.0 where there is no IPv6 */
};

/* Longest text of addr_text(), with its NUL: an abstract name of which every byte is escaped. */
#define ADDR_TEXT_MAX (8 + 4 * sizeof(((struct sockaddr_un *)0)->sun_path))

/* 0, or -EINVAL with a line that quotes s and says what to write instead. */
int addr_parse(const char *s, struct addr *out, struct diag *why);
/* The same for an address to connect to: no fd:N, no port 0, no "every address". */
int addr_parse_target(const char *s, struct addr *out, struct diag *why);
#define ADDR_NAME_MAX 256
/*
 * Is s a host name and a port ("example.org:80"), for a resolver to ask about? Then they are put
 * into host (cap >= ADDR_NAME_MAX bytes) and *port. Anything else is addr_parse()'s.
 */
bool addr_name(const char *s, char *host, size_t cap, uint16_t *port);
/*
 * Text that addr_parse() reads back (control bytes are shown as \xNN); "unix:" if unnamed. buf
 * has ADDR_TEXT_MAX bytes. Returns buf.
 */
char *addr_text(const struct sockaddr *sa, socklen_t bytes, char *buf);

#endif
