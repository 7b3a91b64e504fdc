/*
 * Negative controls of the public simulator: the example's scenario and clients, with a server that
 * has a bug of the kind it is there to find. The one without a bug passes the same seeds.
 */
#define main kv_sim_main /* the example's; in all of this file, since fields have that name too */
int kv_sim_main(int argc, char **argv);
#include "kv_sim/main.c"

#include "kv/reply.h"
#include "kv_sim/batch.c"
#include "test.h"
#include <errno.h>

#define RUNS 200

static enum {
	BUG_NONE,
	BUG_SPLIT,	 /* takes what one receive gives for whole commands */
	BUG_LOST_UPDATE, /* reads, waits, writes */
	BUG_ORDER,	 /* answers slow commands when they are done */
	BUG_RESET,	 /* a broken connection is not expected */
	BUG_LEAK,	 /* forgets memory when a connection breaks */
	BUG_HANG	 /* waits for more when a command arrives in two parts */
} bug;

static void execute(struct kv_client *cl, const char *cmd, size_t n, struct kv_out *out)
{
	bool close;

	kv_execute(cl->kv, cl, (const uint8_t *)cmd, n, out, &close);
}

/* The commands of the example are lines. Returns the length of the first one, 0: not there yet. */
static size_t line_length(const uint8_t *p, size_t n)
{
	const uint8_t *end = memchr(p, '\n', n);

	return end ? (size_t)(end - p) + 1 : 0;
}

/* INCR as GET and SET, other connections' commands in between. */
static void increment_slowly(struct kv_client *cl, struct kv_out *out) RLN_WAITS
{
	struct kv_out got = { 0 };
	char text[64];
	long long v;

	execute(cl, "GET shared\r\n", 12, &got);
	kv_out_bytes(&got, "", 1);
	v = got.data[1] == '-' ? 0 : strtoll(strchr((char *)got.data, '\n') + 1, NULL, 10);
	(void)rln_yield();
	got.len = 0;
	execute(cl, text, (size_t)sprintf(text, "SET shared %lld\r\n", v + 1), &got);
	kv_out_free(&got);
	kv_out_bytes(out, text, (size_t)sprintf(text, ":%lld\r\n", v + 1));
}

struct slow {
	rln_conn c;
	struct kv_client *cl;
	size_t len;
	char cmd[128];
};

static int slow_command(void *arg)
{
	struct slow *s = arg;
	struct kv_out out = { 0 };
	ssize_t n;

	execute(s->cl, s->cmd, s->len, &out);
	if (s->cmd[0] == 'D') /* deleting takes its time */
		(void)rln_sleep(RLN_MS(1));
	n = rln_send(s->c, out.data, out.len);
	kv_out_free(&out);
	return n < 0;
}

/* Returns less than 0 when the connection is over. */
static ssize_t answer(rln_conn c, struct kv_client *cl, const uint8_t *line, size_t n) RLN_WAITS
{
	struct kv_out out = { 0 };
	ssize_t sent;

	if (bug == BUG_ORDER) {
		struct slow s = { c, cl, n, "" };
		const rln_task_opts o = { .copy = &s, .copy_size = sizeof s };
		rln_task t;

		memcpy(s.cmd, line, n);
		return rln_spawn(slow_command, NULL, &o, &t);
	}
	if (bug == BUG_LOST_UPDATE && n == 13 && memcmp(line, "INCR shared", 11) == 0)
		increment_slowly(cl, &out);
	else
		execute(cl, (const char *)line, n, &out);
	sent = rln_send(c, out.data, out.len);
	kv_out_free(&out);
	return sent;
}

static void serve(rln_conn c, void *arg)
{
	struct kv_client cl;
	void *note = bug == BUG_LEAK ? malloc(10) : NULL;
	rln_view v;
	ssize_t n;

	kv_client_init(&cl, arg);
	while ((n = rln_fill(c, &v)) > 0) {
		size_t used = 0, len;

		while ((len = line_length(v.data + used, v.len - used)) > 0) {
			n = answer(c, &cl, v.data + used, len);
			used += len;
			if (n < 0)
				break;
		}
		if (n < 0)
			break;
		if (bug == BUG_SPLIT)
			used = v.len;
		if (bug == BUG_HANG && used < v.len)
			(void)rln_sleep(RLN_FOREVER);
		rln_consume(c, used);
	}
	if (bug == BUG_RESET && n == -ECONNRESET)
		abort();
	if (bug != BUG_LEAK || n >= 0)
		free(note);
	kv_client_fini(&cl);
}

/* In the place of the one in kv/modes.c: the linker takes the first. */
void kv_listen_opts(struct kv *kv, enum kv_mode mode, const char *at, rln_listen_opts *out)
{
	(void)mode;
	*out = (rln_listen_opts){ .addr = at, .on_conn = serve, .arg = kv };
}

static void search(int which, rln_sim_result *r, int expected)
{
	bug = which;
	CHECK_INT(rln_sim_search(&(rln_sim_config){ .main = scenario }, RUNS, 0, r), ==, expected);
	if (expected)
		printf("  seed %llu of %llu runs: %.150s\n", (unsigned long long)r->seed,
		       (unsigned long long)r->runs, r->what);
}

TEST_LIMIT(sim_api_kv_without_a_bug_passes, 120)
{
	rln_sim_result r;

	search(BUG_NONE, &r, 0);
	CHECK_INT(r.runs, ==, RUNS);
	CHECK(r.completions > 20 * RUNS && r.faults > RUNS);
}

TEST_LIMIT(sim_api_kv_split_commands_are_found, 120)
{
	rln_sim_result r;

	search(BUG_SPLIT, &r, 1);
	CHECK(r.reason == RLN_SIM_FAILED || r.reason == RLN_SIM_DEADLOCK);
}

TEST_LIMIT(sim_api_kv_lost_updates_are_found, 120)
{
	rln_sim_result r;

	search(BUG_LOST_UPDATE, &r, 1);
	CHECK_INT(r.reason, ==, RLN_SIM_FAILED);
	CHECK_HAS(r.what, "increments");
}

TEST_LIMIT(sim_api_kv_replies_out_of_order_are_found, 120)
{
	rln_sim_result r;

	search(BUG_ORDER, &r, 1);
	CHECK_INT(r.reason, ==, RLN_SIM_FAILED);
	CHECK_HAS(r.what, "instead of");
}

TEST_LIMIT(sim_api_kv_an_abort_on_reset_is_found, 120)
{
	rln_sim_result r;

	search(BUG_RESET, &r, 1);
	CHECK_INT(r.reason, ==, RLN_SIM_CRASHED);
	CHECK_HAS(r.what, "Aborted");
	CHECK_INT(r.needs, ==, 1u << RLN_SIM_RESET);
}

TEST_LIMIT(sim_api_kv_waiting_for_ever_is_found, 120)
{
	rln_sim_result r;

	search(BUG_HANG, &r, 1);
	CHECK_INT(r.reason, ==, RLN_SIM_DEADLOCK);
}

#if defined(__SANITIZE_ADDRESS__)
TEST_LIMIT(sim_api_kv_lost_memory_is_found, 120)
{
	rln_sim_result r;

	search(BUG_LEAK, &r, 1);
	CHECK_INT(r.reason, ==, RLN_SIM_LEAK);
	CHECK(r.needs & 1u << RLN_SIM_RESET);
}
#endif
