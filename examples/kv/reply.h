/* Append RESP2 replies to a kv_out. A failure is remembered in it: nobody checks every call. */
#ifndef KV_REPLY_H
#define KV_REPLY_H

#include <stddef.h>

#include "kv/kv.h"

void kv_out_bytes(struct kv_out *out, const void *data, size_t len);
void kv_out_simple(struct kv_out *out, const char *text);
void kv_out_integer(struct kv_out *out, long long v);
void kv_out_bulk(struct kv_out *out, const void *data, size_t len);
void kv_out_text(struct kv_out *out, const char *text); /* a bulk string */
void kv_out_null(struct kv_out *out);
void kv_out_array(struct kv_out *out, size_t count);
/* The text includes its code: "ERR syntax error". Line ends within become blanks. */
void kv_out_error(struct kv_out *out, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
