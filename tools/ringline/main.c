/* ringline: the command-line tool. One command a file; this one only finds it. */
#include "cli.h"

#include <signal.h>
#include <string.h>

static const struct command {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *what;
} commands[] = {
	{ "serve", serve_main, "an echo or key-value server" },
	{ "bench", bench_main, "put a server under load and measure it" },
	{ "doctor", doctor_main, "what this machine offers, and what is missing" },
	{ "demo", demo_main, "serve and measure, every mode against an epoll server" },
	{ "epoll-echo", epoll_echo_main, "that epoll server" },
};

enum { COMMANDS = sizeof commands / sizeof commands[0] };

static void usage(FILE *to)
{
	fputs("usage: ringline COMMAND [OPTIONS]\n\n", to);
	for (int i = 0; i < COMMANDS; i++)
		fprintf(to, "  %-11s %s\n", commands[i].name, commands[i].what);
	fputs("\nringline COMMAND --help says more.\n"
	      "example: ringline serve echo --listen 127.0.0.1:7878\n",
	      to);
}

int main(int argc, char **argv)
{
	const char *name = argc > 1 ? argv[1] : "";

	signal(SIGPIPE, SIG_IGN);
	for (int i = 0; i < COMMANDS; i++)
		if (strcmp(name, commands[i].name) == 0)
			return commands[i].run(argc - 1, argv + 1);
	if (strcmp(name, "--version") == 0) {
		puts("ringline " RINGLINE_VERSION);
		return 0;
	}
	if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 || strcmp(name, "help") == 0) {
		usage(stdout);
		return 0;
	}
	if (!*name)
		usage(stderr);
	else
		fprintf(stderr, "ringline: there is no command '%s'; try ringline --help\n", name);
	return EXIT_USAGE;
}
