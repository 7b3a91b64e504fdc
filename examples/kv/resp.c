#include "kv/resp.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { KEEP_SLICES = 64 };

void kv_resp_init(struct kv_resp *r, size_t max_args, size_t max_bulk, size_t max_line)
{
	*r = (struct kv_resp){ .max_args = max_args, .max_bulk = max_bulk, .max_line = max_line };
	r->slices = r->fixed;
	r->cap = sizeof r->fixed / sizeof r->fixed[0];
}

static void drop_slices(struct kv_resp *r)
{
	if (r->slices != r->fixed)
		free(r->slices);
	r->slices = r->fixed;
	r->cap = sizeof r->fixed / sizeof r->fixed[0];
}

void kv_resp_fini(struct kv_resp *r)
{
	drop_slices(r);
	free(r->text);
	r->text = NULL;
}

void kv_resp_next(struct kv_resp *r)
{
	if (r->cap > KEEP_SLICES)
		drop_slices(r);
	free(r->text);
	r->text = NULL;
	r->state = KV_RESP_FIRST;
	r->pos = r->seen = r->bulk_len = r->args_left = r->argc = r->used = 0;
}

bool kv_parse_integer(const uint8_t *s, size_t n, long long *out)
{
	bool negative = n > 0 && s[0] == '-';
	size_t i = negative ? 1 : 0;
	unsigned long long v = 0, max = negative ? (unsigned long long)LLONG_MAX + 1 : LLONG_MAX;

	if (n == 1 && s[0] == '0') {
		*out = 0;
		return true;
	}
	/* 20: the longest one, with its sign */
	if (i >= n || n > 20 || s[i] < '1' || s[i] > '9')
		return false;
	for (; i < n; i++) {
		unsigned digit = (unsigned)s[i] - '0';

		if (digit > 9 || v > (max - digit) / 10)
			return false;
		v = v * 10 + digit;
	}
	*out = negative ? (long long)(0 - v) : (long long)v;
	return true;
}

static enum kv_resp_result fail(struct kv_resp *r, const char *what)
{
	snprintf(r->error, sizeof r->error, "%s", what);
	return KV_RESP_ERROR;
}

static bool add_arg(struct kv_resp *r, size_t off, size_t len)
{
	if (r->argc == r->cap) {
		size_t cap = r->cap * 2;
		struct kv_slice *p = r->slices == r->fixed ? NULL : r->slices;

		p = realloc(p, cap * sizeof *p);
		if (!p)
			return false;
		if (r->slices == r->fixed)
			memcpy(p, r->fixed, sizeof r->fixed);
		r->slices = p;
		r->cap = cap;
	}
	r->slices[r->argc++] = (struct kv_slice){ off, len };
	return true;
}

static bool is_blank(uint8_t c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

static int hex_digit(uint8_t c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The escape after a backslash at s[i]; sets *c and returns the bytes it takes. */
static size_t unescape(const uint8_t *s, size_t n, size_t i, uint8_t *c)
{
	static const char from[] = "nrtba", to[] = "\n\r\t\b\a";
	const char *p;

	if (i + 3 < n && s[i + 1] == 'x' && hex_digit(s[i + 2]) >= 0 && hex_digit(s[i + 3]) >= 0) {
		*c = (uint8_t)(hex_digit(s[i + 2]) * 16 + hex_digit(s[i + 3]));
		return 4;
	}
	p = memchr(from, s[i + 1], sizeof from - 1);
	*c = p ? (uint8_t)to[p - from] : s[i + 1];
	return 2;
}

/*
 * Copy the quoted part whose quote is s[i] to *to. Returns the index behind the closing quote, or 0
 * when there is none or no blank follows it.
 */
static size_t unquote(const uint8_t *s, size_t n, size_t i, uint8_t **to)
{
	uint8_t quote = s[i++];

	while (i < n && s[i] != quote) {
		uint8_t c = s[i];
		size_t len = 1;

		if (c == '\\' && i + 1 < n && quote == '"')
			len = unescape(s, n, i, &c);
		else if (c == '\\' && i + 1 < n && s[i + 1] == '\'')
			c = s[i + 1], len = 2;
		*(*to)++ = c;
		i += len;
	}
	if (i == n || (i + 1 < n && !is_blank(s[i + 1])))
		return 0;
	return i + 1;
}

/* Words separated by blanks, with the quoting of redis-cli. Unquoting never makes a word longer. */
static enum kv_resp_result split_line(struct kv_resp *r, const uint8_t *s, size_t n)
{
	uint8_t *to;
	size_t i = 0;

	to = r->text = malloc(n + 1);
	if (!to)
		return fail(r, "out of memory");
	for (;;) {
		uint8_t *word = to;
		bool quoted = false;

		while (i < n && is_blank(s[i]))
			i++;
		if (i == n)
			return KV_RESP_COMMAND;
		while (i < n && !is_blank(s[i]) && !quoted) {
			quoted = s[i] == '"' || s[i] == '\'';
			if (!quoted)
				*to++ = s[i++];
			else if ((i = unquote(s, n, i, &to)) == 0)
				return fail(r, "unbalanced quotes in request");
		}
		if (!add_arg(r, (size_t)(word - r->text), (size_t)(to - word)))
			return fail(r, "out of memory");
	}
}

static enum kv_resp_result parse_inline(struct kv_resp *r, const uint8_t *line, size_t len)
{
	if (len > 0 && line[len - 1] == '\r')
		len--;
	r->used = r->pos;
	return split_line(r, line, len);
}

/* The number of a header line "*3\r"; its mark has been checked. */
static bool header_number(const uint8_t *line, size_t len, long long *out)
{
	return len >= 2 && line[len - 1] == '\r' && kv_parse_integer(line + 1, len - 2, out);
}

static enum kv_resp_result parse_count(struct kv_resp *r, const uint8_t *line, size_t len)
{
	long long count;

	if (!header_number(line, len, &count) || (count > 0 && (size_t)count > r->max_args))
		return fail(r, "invalid multibulk length");
	if (count <= 0) {
		r->used = r->pos;
		return KV_RESP_COMMAND;
	}
	r->args_left = (size_t)count;
	r->state = KV_RESP_LENGTH;
	return KV_RESP_MORE;
}

static enum kv_resp_result parse_length(struct kv_resp *r, const uint8_t *line, size_t len)
{
	long long bytes;

	if (line[0] != '$') {
		snprintf(r->error, sizeof r->error, "expected '$', got '%c'", line[0]);
		return KV_RESP_ERROR;
	}
	if (!header_number(line, len, &bytes) || bytes < 0 || (size_t)bytes > r->max_bulk)
		return fail(r, "invalid bulk length");
	r->bulk_len = (size_t)bytes;
	r->state = KV_RESP_BULK;
	return KV_RESP_MORE;
}

/* The two bytes behind a bulk are skipped unseen, as Redis does. */
static enum kv_resp_result parse_bulk(struct kv_resp *r)
{
	if (!add_arg(r, r->pos, r->bulk_len))
		return fail(r, "out of memory");
	r->pos += r->bulk_len + 2;
	r->seen = r->pos;
	if (--r->args_left > 0) {
		r->state = KV_RESP_LENGTH;
		return KV_RESP_MORE;
	}
	r->used = r->pos;
	return KV_RESP_COMMAND;
}

static enum kv_resp_result too_long(struct kv_resp *r)
{
	if (r->state == KV_RESP_INLINE)
		return fail(r, "too big inline request");
	return fail(r, r->state == KV_RESP_COUNT ? "too big mbulk count string"
						 : "too big bulk count string");
}

/* Find the end of the line at pos; on KV_RESP_COMMAND it is in[*start .. *start + *len). */
static enum kv_resp_result next_line(struct kv_resp *r, const uint8_t *in, size_t n, size_t *start,
				     size_t *len)
{
	size_t limit = n - r->pos > r->max_line ? r->pos + r->max_line + 1 : n;
	const uint8_t *end = limit > r->seen ? memchr(in + r->seen, '\n', limit - r->seen) : NULL;

	if (!end) {
		r->seen = limit;
		return n - r->pos > r->max_line ? too_long(r) : KV_RESP_MORE;
	}
	*start = r->pos;
	*len = (size_t)(end - in) - r->pos;
	r->pos = r->seen = (size_t)(end - in) + 1;
	return KV_RESP_COMMAND;
}

static enum kv_resp_result parse_line(struct kv_resp *r, const uint8_t *line, size_t len)
{
	if (r->state == KV_RESP_INLINE)
		return parse_inline(r, line, len);
	if (r->state == KV_RESP_COUNT)
		return parse_count(r, line, len);
	return parse_length(r, line, len);
}

enum kv_resp_result kv_resp_parse(struct kv_resp *r, const uint8_t *in, size_t n)
{
	enum kv_resp_result res = KV_RESP_MORE;
	size_t start, len;

	if (r->state == KV_RESP_FIRST && n > 0)
		r->state = in[0] == '*' ? KV_RESP_COUNT : KV_RESP_INLINE;
	while (res == KV_RESP_MORE && r->pos < n) {
		if (r->state == KV_RESP_BULK) {
			if (n - r->pos < r->bulk_len + 2)
				return KV_RESP_MORE;
			res = parse_bulk(r);
			continue;
		}
		res = next_line(r, in, n, &start, &len);
		if (res != KV_RESP_COMMAND)
			return res;
		res = parse_line(r, in + start, len);
	}
	return res;
}

size_t kv_resp_wants(const struct kv_resp *r, size_t have, const uint8_t *next, size_t n)
{
	const uint8_t *end;
	size_t need;

	if (r->state == KV_RESP_BULK) {
		need = r->pos + r->bulk_len + 2 - have;
		return need < n ? need : n;
	}
	end = memchr(next, '\n', n);
	return end ? (size_t)(end - next) + 1 : n;
}
