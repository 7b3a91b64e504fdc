/* ringline doctor: the library's own report. */
#include "cli.h"

#include <ringline.h>

static const char help[] =
	"usage: ringline doctor [--json]\n"
	"What this machine offers: kernel, how the ring is set up, features found by trying them,\n"
	"limits, the memory of the default configuration, and the cause and remedy of what is\n"
	"missing. Exit status 0 when a runtime can start here, 1 when not.\n"
	"example: ringline doctor --json\n";

int doctor_main(int argc, char **argv)
{
	static char text[RLN_DOCTOR_MAX];
	bool json = false;
	const struct cli_option option = { .name = "json", .kind = CLI_FLAG, .to = &json };
	const struct cli cli = {
		.command = "doctor", .help = help, .option = &option, .options = 1
	};
	int status = cli_parse(&cli, argc, argv, NULL);

	if (status >= 0)
		return status;
	status = rln_doctor(text, sizeof text, json);
	fputs(text, stdout);
	return status == 0 ? 0 : EXIT_RAN_BADLY;
}
