/*
 * The options of the tool: any words in any order. Values that are accepted lie within their
 * limits; what is refused gives exit status 2. The messages go nowhere.
 */
#include "fuzz.h"

static FILE *nowhere;
#undef stderr
#undef stdout
#define stderr nowhere
#define stdout nowhere
#include "ringline/cli.c"
#undef stderr
#undef stdout

#define WORDS 12

static const char *const modes[] = { "conn", "request", "callback", NULL };
static const char *const words[] = { "echo", "kv", NULL };

static void check_word(const char *arg)
{
	struct sockaddr_storage ss = { 0 };
	char text[256];

	memcpy(&ss, arg, strlen(arg) < sizeof ss ? strlen(arg) : sizeof ss - 1);
	cli_address(&ss, text, sizeof text);
	if (strlen(text) >= sizeof text)
		abort();
	cli_json_string(nowhere, arg);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct cli_list list = { 0 };
	bool flag = false;
	uint64_t count = 7;
	double number = 1;
	int mode = 0, word = -1, argc = 1, status;
	const char *text = NULL;
	char *argv[WORDS + 2] = { "fuzz" }, *copy = malloc(n + 1);
	const struct cli_option options[] = {
		{ .name = "flag", .kind = CLI_FLAG, .to = &flag },
		{ .name = "text", .kind = CLI_TEXT, .to = &text },
		{ .name = "list", .kind = CLI_LIST, .to = &list },
		{ .name = "count", .kind = CLI_COUNT, .to = &count, .min = 1, .max = 1 << 20 },
		{ .name = "number", .kind = CLI_NUMBER, .to = &number, .min = 0, .max = 100 },
		{ .name = "mode", .kind = CLI_CHOICE, .to = &mode, .names = modes },
	};
	struct cli c = { "fuzz", "help\n", options, sizeof options / sizeof options[0], words };

	if (!nowhere)
		nowhere = fopen("/dev/null", "w");
	memcpy(copy, data, n);
	copy[n] = '\0';
	for (char *p = copy; argc <= WORDS && p < copy + n; p += strlen(p) + 1) {
		for (char *q = p; *q; q++) /* words end at a line's end */
			if (*q == '\n')
				*q = '\0';
		argv[argc++] = p;
		check_word(p);
	}
	status = cli_parse(&c, argc, argv, &word);
	if (status != -1 && status != 0 && status != EXIT_USAGE)
		abort();
	if (status == -1 && (word < 0 || word > 1))
		abort();
	if (count < 1 || count > 1 << 20 || !(number >= 0 && number <= 100) || mode < 0 ||
	    mode > 2 || list.count > CLI_LIST_MAX)
		abort();
	free(copy);
	return 0;
}
