/*
 * The key-value server's request parser: in one piece and in pieces it must say the same, wherever
 * it is cut; what it wants next must not reach into the following command.
 */
#include "fuzz.h"

#include "kv/resp.h"
#include <errno.h>

#define ARGS_MAX 6
#define BULK_MAX 64
#define LINE_MAX_BYTES 32

struct command {
	enum kv_resp_result res;
	size_t used, argc, at[ARGS_MAX + 1], len[ARGS_MAX + 1];
	char error[64];
};

static void note(const struct kv_resp *r, enum kv_resp_result res, const uint8_t *in, size_t n,
		 struct command *c)
{
	*c = (struct command){ .res = res };
	if (res == KV_RESP_ERROR) {
		FUZZ_CHECK(strnlen(r->error, sizeof r->error) < sizeof r->error);
		memcpy(c->error, r->error, strlen(r->error));
	}
	if (res != KV_RESP_COMMAND)
		return;
	FUZZ_CHECK(r->used > 0 && r->used <= n);
	c->used = r->used;
	c->argc = r->argc;
	for (size_t i = 0; i < r->argc; i++) {
		struct kv_arg a = kv_resp_arg(r, in, i);
		for (size_t j = 0; j < a.len; j++) /* all of it is readable */
			(void)*(volatile const uint8_t *)&a.data[j];
		if (i > ARGS_MAX)
			continue;
		c->len[i] = a.len;
		c->at[i] = r->text ? 0 : (size_t)(a.data - in);
		if (!r->text)
			FUZZ_CHECK(c->at[i] + a.len <= r->used && a.len <= BULK_MAX);
	}
	if (!r->text)
		FUZZ_CHECK(r->argc <= ARGS_MAX);
}

/* Each range is memory of its own, so that a byte past it is found out. */
static enum kv_resp_result parse_copy(struct kv_resp *r, const uint8_t *in, size_t n,
				      uint8_t **copy)
{
	free(*copy);
	*copy = malloc(n ? n : 1);
	memcpy(*copy, in, n);
	return kv_resp_parse(r, *copy, n);
}

static struct command in_pieces(struct fuzz *f, const uint8_t *in, size_t n)
{
	enum kv_resp_result res = KV_RESP_MORE;
	struct kv_resp r;
	struct command c;
	uint8_t *copy = NULL;
	size_t have = 0;

	kv_resp_init(&r, ARGS_MAX, BULK_MAX, LINE_MAX_BYTES);
	while (res == KV_RESP_MORE && have < n) {
		size_t step = 1 + fuzz_below(f, 16);
		if (have && fuzz_byte(f) % 2) {
			step = kv_resp_wants(&r, have, in + have, n - have);
			FUZZ_CHECK(step > 0 && step <= n - have);
		}
		have += step < n - have ? step : n - have;
		res = parse_copy(&r, in, have, &copy);
	}
	note(&r, res, copy, have, &c);
	kv_resp_fini(&r);
	free(copy);
	return c;
}

/* What is surely its own must not reach past the end of the command. */
static void check_wants(const uint8_t *in, const struct command *c)
{
	uint8_t *copy = NULL;
	struct kv_resp r;

	kv_resp_init(&r, ARGS_MAX, BULK_MAX, LINE_MAX_BYTES);
	for (size_t have = 1; have < c->used; have++) {
		FUZZ_CHECK(parse_copy(&r, in, have, &copy) == KV_RESP_MORE);
		FUZZ_CHECK(have + kv_resp_wants(&r, have, in + have, c->used - have) <= c->used);
	}
	kv_resp_fini(&r);
	free(copy);
}

static void check_integer(const uint8_t *p, size_t n)
{
	char text[32], again[32];
	long long v, want;

	if (n >= sizeof text)
		return;
	memcpy(text, p, n);
	text[n] = '\0';
	errno = 0;
	want = strtoll(text, NULL, 10);
	snprintf(again, sizeof again, "%lld", want);
	/* the one spelling, and nothing else */
	bool ok = !errno && strlen(text) == n && !strcmp(text, again);
	FUZZ_CHECK(kv_parse_integer(p, n, &v) == ok);
	FUZZ_CHECK(!ok || v == want);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	/* the cuts come from the end, so that the text stays readable */
	size_t cuts = size / 4, n = size - cuts;
	struct fuzz f = { data + n, cuts };
	const uint8_t *in = data;

	check_integer(data, n);
	for (unsigned i = 0; n && i < 8; i++) {
		struct command whole, pieces;
		uint8_t *copy = NULL;
		struct kv_resp r;

		kv_resp_init(&r, ARGS_MAX, BULK_MAX, LINE_MAX_BYTES);
		note(&r, parse_copy(&r, in, n, &copy), copy, n, &whole);
		kv_resp_fini(&r);
		free(copy);
		pieces = in_pieces(&f, in, n);
		FUZZ_CHECK(!memcmp(&whole, &pieces, sizeof whole));
		if (whole.res != KV_RESP_COMMAND)
			break;
		check_wants(in, &whole);
		in += whole.used;
		n -= whole.used;
	}
	return 0;
}
