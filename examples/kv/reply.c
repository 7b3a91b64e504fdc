#include "kv/reply.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { KEEP_BYTES = 1024 };

void kv_out_free(struct kv_out *out)
{
	free(out->data);
	out->data = NULL;
	out->len = out->cap = 0;
}

void kv_out_clear(struct kv_out *out)
{
	out->len = 0;
	if (out->cap > KEEP_BYTES)
		kv_out_free(out);
}

static bool reserve(struct kv_out *out, size_t more)
{
	size_t cap = out->cap ? out->cap : 256;
	uint8_t *p;

	if (out->failed)
		return false;
	if (out->limit != 0 && (more > out->limit || out->len > out->limit - more)) {
		out->failed = true;
		return false;
	}
	if (more <= out->cap - out->len)
		return true;
	while (cap - out->len < more)
		cap *= 2;
	p = realloc(out->data, cap);
	if (!p) {
		out->failed = true;
		return false;
	}
	out->data = p;
	out->cap = cap;
	return true;
}

void kv_out_bytes(struct kv_out *out, const void *data, size_t len)
{
	if (len == 0 || !reserve(out, len))
		return;
	memcpy(out->data + out->len, data, len);
	out->len += len;
}

/* A mark, a number and the line end: every header of the protocol. */
static void header(struct kv_out *out, char mark, long long v)
{
	char digits[24], *p = digits + sizeof digits;
	unsigned long long u = v < 0 ? 0 - (unsigned long long)v : (unsigned long long)v;

	*--p = '\n';
	*--p = '\r';
	do
		*--p = (char)('0' + u % 10);
	while ((u /= 10) != 0);
	if (v < 0)
		*--p = '-';
	if (!reserve(out, sizeof digits + 1))
		return;
	out->data[out->len++] = (uint8_t)mark;
	kv_out_bytes(out, p, (size_t)(digits + sizeof digits - p));
}

void kv_out_simple(struct kv_out *out, const char *text)
{
	kv_out_bytes(out, "+", 1);
	kv_out_bytes(out, text, strlen(text));
	kv_out_bytes(out, "\r\n", 2);
}

void kv_out_integer(struct kv_out *out, long long v)
{
	header(out, ':', v);
}

void kv_out_bulk(struct kv_out *out, const void *data, size_t len)
{
	header(out, '$', (long long)len);
	kv_out_bytes(out, data, len);
	kv_out_bytes(out, "\r\n", 2);
}

void kv_out_text(struct kv_out *out, const char *text)
{
	kv_out_bulk(out, text, strlen(text));
}

void kv_out_null(struct kv_out *out)
{
	header(out, '$', -1);
}

void kv_out_array(struct kv_out *out, size_t count)
{
	header(out, '*', (long long)count);
}

static bool is_line_end(char c)
{
	return c == '\r' || c == '\n';
}

void kv_out_error(struct kv_out *out, const char *fmt, ...)
{
	char text[512];
	size_t len;
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	len = strlen(text);
	while (len > 0 && is_line_end(text[len - 1]))
		len--;
	for (size_t i = 0; i < len; i++)
		if (is_line_end(text[i]))
			text[i] = ' ';
	kv_out_bytes(out, "-", 1);
	kv_out_bytes(out, text, len);
	kv_out_bytes(out, "\r\n", 2);
}
