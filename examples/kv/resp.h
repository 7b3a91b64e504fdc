/*
 * Incremental parser of RESP2 requests: arrays of bulk strings, and inline commands.
 *
 * It works on one contiguous range that begins at the command's first byte and keeps offsets only,
 * so the caller may move the bytes between two calls. Bytes once looked at are not looked at again.
 * What it does not do: copy arguments (but those of inline commands, which are unquoted).
 */
#ifndef KV_RESP_H
#define KV_RESP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum kv_resp_result {
	KV_RESP_MORE,	 /* the range ends within a command: call again with a longer one */
	KV_RESP_COMMAND, /* used bytes are one command of argc arguments; 0 arguments: ignore it */
	KV_RESP_ERROR,	 /* error says what is wrong; the stream cannot be read on */
};

/*
 * FIRST -> COUNT    kv_resp_parse, the first byte is '*'
 * FIRST -> INLINE   kv_resp_parse, it is not
 * COUNT -> LENGTH   parse_count, the announced number is above zero
 * LENGTH -> BULK    parse_length
 * BULK -> LENGTH    parse_bulk, while arguments are left
 * any -> FIRST      kv_resp_next
 */
enum kv_resp_state {
	KV_RESP_FIRST,
	KV_RESP_COUNT,
	KV_RESP_LENGTH,
	KV_RESP_BULK,
	KV_RESP_INLINE,
};

struct kv_slice {
	size_t off, len;
};

struct kv_arg {
	const uint8_t *data;
	size_t len;
};

struct kv_resp {
	size_t max_args, max_bulk, max_line;
	enum kv_resp_state state;
	size_t pos;	  /* where the line or the bulk being read begins */
	size_t seen;	  /* no line end before this */
	size_t bulk_len;  /* BULK: its length without the line end */
	size_t args_left; /* announced and not yet complete */
	size_t argc, cap;
	struct kv_slice *slices; /* fixed, or from malloc for many */
	struct kv_slice fixed[8];
	uint8_t *text; /* the unquoted words of an inline command, else NULL */
	size_t used;
	char error[64];
};

void kv_resp_init(struct kv_resp *r, size_t max_args, size_t max_bulk, size_t max_line);
void kv_resp_fini(struct kv_resp *r);
enum kv_resp_result kv_resp_parse(struct kv_resp *r, const uint8_t *in, size_t n);
/* Forget the finished command. */
void kv_resp_next(struct kv_resp *r);

/* After KV_RESP_MORE on all bytes so far: how many of the next n surely belong to this command. */
size_t kv_resp_wants(const struct kv_resp *r, size_t have, const uint8_t *next, size_t n);

/* Argument i of a finished command; in is the range that was parsed. */
static inline struct kv_arg kv_resp_arg(const struct kv_resp *r, const uint8_t *in, size_t i)
{
	const uint8_t *base = r->text ? r->text : in;

	return (struct kv_arg){ base + r->slices[i].off, r->slices[i].len };
}

/* A decimal integer in its one canonical spelling: no blanks, no plus, no leading zeros. */
bool kv_parse_integer(const uint8_t *s, size_t n, long long *out);

#endif
