/* ringline bench: the load generator as a command, and its report. */
#include "cli.h"
#include "load.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char help[] =
	"usage: ringline bench echo|kv --connect ADDR [OPTIONS]\n"
	"Put a server under load. Every answer is checked: echo's byte for byte, by turns SET and\n"
	"GET for kv. A warm-up of a tenth of the time, at least 200 ms, comes first and does not\n"
	"count.\n"
	"  --connect ADDR   127.0.0.1:80, [::1]:80, unix:/run/x, unix:@name\n"
	"  --connections N  (50)\n"
	"  --size B         bytes of a message or value (64)\n"
	"  --pipeline P     requests under way on each connection (1)\n"
	"  --seconds S      (5)\n"
	"  --rate R         requests a second in all, due at fixed times: latency counts from "
	"when\n"
	"                   a request was due, also when it had to wait to be sent (as fast as "
	"the\n"
	"                   answers come)\n"
	"  --timeout S      silence that is an error (5)\n"
	"  --workers N      threads; with --rate they spin between sends, so leave the server its\n"
	"                   cores (one per physical core; half the CPUs with --rate)\n"
	"  --json           one object on standard output\n"
	"Exit status 0: no errors; 1: errors, or nothing to connect to; 2: not started.\n"
	"example: ringline bench echo --connect 127.0.0.1:7878 --connections 50 --seconds 5\n";

static const double quantile[] = { 0.5, 0.9, 0.99, 0.999, 1 };
static const char *const quantile_name[] = { "p50", "p90", "p99", "p99.9", "max" };
enum { QUANTILES = sizeof quantile / sizeof quantile[0] };
static const char *const work_names[] = { "echo", "kv", NULL };

static void print_quantiles(const char *title, const struct hist *h)
{
	char text[32];

	printf("%s", title);
	for (int i = 0; i < QUANTILES; i++)
		printf("  %s %s", quantile_name[i],
		       load_time_text(hist_quantile(h, quantile[i]), text, sizeof text));
	putchar('\n');
}

static void print_text(const struct load_options *o, const struct load_result *r)
{
	double rate = (double)r->requests / r->seconds;

	printf("%s %s: %ju connections, %ju bytes, pipeline %ju, %.1f s", work_names[o->what],
	       o->connect, (uintmax_t)o->connections, (uintmax_t)o->size, (uintmax_t)o->pipeline,
	       r->seconds);
	if (o->rate > 0)
		printf(", %.0f requests/s wanted", o->rate);
	printf("\n%12.0f requests/s   %.1f MB/s each way\n", rate, rate * (double)o->size * 1e-6);
	print_quantiles("     latency", &r->latency);
	if (o->rate > 0)
		print_quantiles("   sent late", &r->lag);
	if (r->unfinished > 0)
		printf("%12ju requests were due and not answered\n", (uintmax_t)r->unfinished);
	printf("%12ju errors%s%s\n", (uintmax_t)r->errors, r->error[0] ? ": " : "", r->error);
}

static void json_quantiles(const char *name, const struct hist *h)
{
	printf(",\"%s\":{", name);
	for (int i = 0; i < QUANTILES; i++)
		printf("\"%s\":%.3f,", quantile_name[i],
		       (double)hist_quantile(h, quantile[i]) * 1e-3);
	printf("\"mean\":%.3f,\"count\":%ju}", hist_mean(h) * 1e-3, (uintmax_t)h->count);
}

static void print_json(const struct load_options *o, const struct load_result *r)
{
	double rate = (double)r->requests / r->seconds;

	printf("{\"workload\":\"%s\",\"connect\":", work_names[o->what]);
	cli_json_string(stdout, o->connect);
	printf(",\"connections\":%ju,\"connected\":%ju,\"size\":%ju,\"pipeline\":%ju,"
	       "\"rate\":%.3f,\"seconds\":%.6f,\"requests\":%ju,\"requests_per_second\":%.1f,"
	       "\"bytes_per_second\":%.1f,\"requests_total\":%ju,\"errors\":%ju,"
	       "\"unfinished\":%ju,\"error\":",
	       (uintmax_t)o->connections, (uintmax_t)r->connected, (uintmax_t)o->size,
	       (uintmax_t)o->pipeline, o->rate, r->seconds, (uintmax_t)r->requests, rate,
	       rate * (double)o->size, (uintmax_t)r->total, (uintmax_t)r->errors,
	       (uintmax_t)r->unfinished);
	cli_json_string(stdout, r->error);
	json_quantiles("latency_us", &r->latency);
	if (o->rate > 0)
		json_quantiles("lag_us", &r->lag);
	printf("}\n");
}

static int parse(struct load_options *o, bool *json, int argc, char **argv)
{
	const struct cli_option options[] = {
		{ .name = "connect", .kind = CLI_TEXT, .to = &o->connect },
		{ .name = "connections",
		  .kind = CLI_COUNT,
		  .to = &o->connections,
		  .min = 1,
		  .max = 1000000 },
		{ .name = "size", .kind = CLI_COUNT, .to = &o->size, .min = 1, .max = 64 << 20 },
		{ .name = "pipeline",
		  .kind = CLI_COUNT,
		  .to = &o->pipeline,
		  .min = 1,
		  .max = LOAD_PIPELINE_MAX },
		{ .name = "seconds",
		  .kind = CLI_NUMBER,
		  .to = &o->seconds,
		  .min = 0.05,
		  .max = 86400 },
		{ .name = "rate", .kind = CLI_NUMBER, .to = &o->rate, .min = 0.01, .max = 1e8 },
		{ .name = "timeout",
		  .kind = CLI_NUMBER,
		  .to = &o->timeout,
		  .min = 0.01,
		  .max = 3600 },
		{ .name = "workers", .kind = CLI_COUNT, .to = &o->workers, .min = 1, .max = 256 },
		{ .name = "json", .kind = CLI_FLAG, .to = json },
	};
	const struct cli cli = { .command = "bench",
				 .help = help,
				 .option = options,
				 .options = sizeof options / sizeof options[0],
				 .words = work_names };
	int status = cli_parse(&cli, argc, argv, &o->what);

	if (status < 0 && !o->connect)
		return cli_fail(&cli, "--connect is missing: the address of the server");
	if (status < 0 && o->size * o->pipeline > UINT64_C(1) << 30)
		return cli_fail(&cli, "--size times --pipeline is more than 1 GiB a connection");
	if (status < 0 && !o->workers && o->rate > 0)
		o->workers = (uint64_t)(sysconf(_SC_NPROCESSORS_ONLN) + 1) / 2;
	if (status < 0 && o->workers > o->connections)
		o->workers = o->connections;
	return status;
}

/* Nothing was measured. */
static int explain(const struct load_options *o, const struct load_result *r, int err)
{
	if (err == -EINVAL && r->error[0])
		fprintf(stderr,
			"ringline bench: --connect: '%s' is not an address to connect to; write it "
			"like 127.0.0.1:7878\n",
			o->connect);
	else if (r->error[0])
		fprintf(stderr, "ringline bench: %s; is a server running there?\n", r->error);
	else
		fprintf(stderr, "ringline bench: not started: %s\n", rln_strerror(err));
	return err == -EINVAL || !r->error[0] ? EXIT_USAGE : EXIT_RAN_BADLY;
}

int bench_main(int argc, char **argv)
{
	struct load_options o = {
		.connections = 50, .size = 64, .pipeline = 1, .seconds = 5, .timeout = 5
	};
	struct load_result *r;
	bool json = false;
	int status = parse(&o, &json, argc, argv);

	if (status >= 0)
		return status;
	r = malloc(sizeof *r);
	if (!r)
		return EXIT_USAGE;
	if (isatty(STDERR_FILENO))
		o.label = "bench";
	int err = load_run(&o, r);
	if (err < 0) {
		status = explain(&o, r, err);
	} else {
		(json ? print_json : print_text)(&o, r);
		status = r->errors > 0 || r->unfinished > 0 ? EXIT_RAN_BADLY : 0;
	}
	free(r);
	return status;
}
