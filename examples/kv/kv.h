/*
 * A key-value server that speaks RESP2 (the Redis protocol), written on ringline's public API.
 *
 * The command core below knows nothing of sockets: bytes in, bytes out. modes.c connects it to the
 * three execution modes. One struct kv is one database. It is shared by every worker and guarded by
 * one mutex, held for one command's work in memory and never across a call that waits; big values
 * are copied and freed outside it.
 *
 * What it does not do: persistence, other types than strings, replication, scripting, RESP3.
 */
#ifndef KV_KV_H
#define KV_KV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <ringline.h>

#include "kv/resp.h"

struct kv;

/* All-zero fields mean the default. */
struct kv_limits {
	size_t bulk_bytes;  /* 512 MiB: one argument */
	size_t args;	    /* 1024 * 1024: arguments of one command */
	size_t line_bytes;  /* 64 KiB: an inline command or a header line */
	size_t query_bytes; /* 1 GiB: one unfinished command; past it the client is closed */
	size_t reply_bytes; /* 1 GiB: replies not yet taken by the caller; past it likewise */
};

/* Milliseconds since the epoch. */
typedef int64_t kv_clock(void *arg);

struct kv *kv_new(void); /* NULL: no memory */
void kv_free(struct kv *kv);
/* Both before the first client. */
void kv_set_clock(struct kv *kv, kv_clock *clock, void *arg);
void kv_set_limits(struct kv *kv, const struct kv_limits *limits);

/* Replies on their way out; all-zero is empty. */
struct kv_out {
	uint8_t *data;
	size_t len, cap;
	size_t limit;
	bool failed; /* no memory, or past the limit: the stream is broken, close it */
};
void kv_out_clear(struct kv_out *out); /* empty it, and give back memory that is not small */
void kv_out_free(struct kv_out *out);

/* What a connection remembers between two calls of kv_execute. */
struct kv_client {
	struct kv *kv;
	uint64_t id;
	struct kv_resp parser;
	uint8_t *part; /* the beginning of a command whose end has not arrived */
	size_t part_len, part_cap;
};
void kv_client_init(struct kv_client *cl, struct kv *kv);
void kv_client_fini(struct kv_client *cl);

/*
 * Run the commands in in[0..n) and append their replies to out.
 *
 * Returns the bytes taken. It takes everything, also the beginning of an unfinished command, unless
 * the replies have grown past KV_OUT_HIGH (send them, clear out, call again with the rest) or
 * *close was set (send the replies, then close the connection; the rest is not to be read).
 */
enum { KV_OUT_HIGH = 64 * 1024 };
size_t kv_execute(struct kv *kv, struct kv_client *cl, const uint8_t *in, size_t n,
		  struct kv_out *out, bool *close);

enum kv_mode { KV_TASK, KV_REQUEST, KV_CALLBACK };

/* Fill *out with a listener that serves kv at addr; kv must outlive the runtime. */
void kv_listen_opts(struct kv *kv, enum kv_mode mode, const char *addr, rln_listen_opts *out);

#endif
