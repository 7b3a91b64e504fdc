/* The echo server in the library's three execution modes. */
#ifndef TOOL_ECHO_H
#define TOOL_ECHO_H

#include <ringline.h>

/* Names of the modes, ended by NULL; the index is what echo_listen_opts() takes. */
extern const char *const echo_modes[];
enum { ECHO_TASK, ECHO_REQUEST, ECHO_CALLBACK, ECHO_MODES };

void echo_listen_opts(int mode, const char *addr, rln_listen_opts *out);

#endif
