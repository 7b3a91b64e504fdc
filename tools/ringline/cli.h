/*
 * What the commands share: options from a table, addresses as text, the exit statuses.
 */
#ifndef TOOL_CLI_H
#define TOOL_CLI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/socket.h>

/* 0 success; an error happened while running; it did not start: bad use, or something missing. */
enum { EXIT_RAN_BADLY = 1, EXIT_USAGE = 2 };

enum cli_kind {
	CLI_FLAG,   /* bool: no value */
	CLI_TEXT,   /* const char * */
	CLI_LIST,   /* struct cli_list: may be given again */
	CLI_COUNT,  /* uint64_t, from min to max; k, m and g multiply by 1024 */
	CLI_NUMBER, /* double, from min to max */
	CLI_CHOICE  /* int: the index in names */
};

enum { CLI_LIST_MAX = 16 };

struct cli_list {
	const char *item[CLI_LIST_MAX];
	unsigned count;
};

struct cli_option {
	const char *name; /* without the two dashes */
	enum cli_kind kind;
	void *to;
	double min, max;
	const char *const *names; /* CLI_CHOICE: ended by NULL */
};

struct cli {
	const char *command; /* "bench" */
	const char *help;    /* the whole text of --help */
	const struct cli_option *option;
	unsigned options;
	const char *const *words; /* what the one word after the command may be; NULL: none */
};

/*
 * Read argv[1..argc). *word is the index of the word given. Returns -1 to go on, else the exit
 * status: --help was printed, or one line on stderr says what is wrong.
 */
int cli_parse(const struct cli *c, int argc, char **argv, int *word);
/* One line on stderr, "ringline COMMAND: ...". Returns EXIT_USAGE. */
int cli_fail(const struct cli *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* The text of an address as the library reads it. Returns buf. */
const char *cli_address(const struct sockaddr_storage *ss, char *buf, size_t cap);
/* s as a JSON string, with its quotes. */
void cli_json_string(FILE *to, const char *s);
/* CLOCK_MONOTONIC in nanoseconds. */
int64_t cli_now(void);
void cli_sleep_ms(unsigned ms);

/* The commands. argv[0] is the command's name. Each returns the exit status. */
int serve_main(int argc, char **argv);
int bench_main(int argc, char **argv);
int doctor_main(int argc, char **argv);
int demo_main(int argc, char **argv);
int epoll_echo_main(int argc, char **argv);

#endif
