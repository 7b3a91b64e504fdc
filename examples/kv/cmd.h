/* What the command functions share. A command writes exactly one reply to call->out. */
#ifndef KV_CMD_H
#define KV_CMD_H

#include <pthread.h>
#include <stdatomic.h>

#include "kv/db.h"
#include "kv/kv.h"
#include "kv/reply.h"

struct kv {
	pthread_mutex_t lock; /* guards db */
	struct kv_db db;
	kv_clock *clock;
	void *clock_arg;
	struct kv_limits limits;
	int64_t started;
	atomic_ullong clients, next_client, commands, hits, misses;
};

struct kv_call {
	struct kv *kv;
	struct kv_client *cl;
	const uint8_t *base; /* the bytes that were parsed */
	size_t argc;
	const char *name; /* the command's, in lower case */
	struct kv_out *out;
	bool close;
};

struct kv_command {
	const char *name;
	int arity; /* arguments with the name itself; negative: at least so many */
	void (*run)(struct kv_call *x);
	const char *flag;
	int first_key, last_key, key_step;
};

static inline struct kv_arg kv_arg(const struct kv_call *x, size_t i)
{
	return kv_resp_arg(&x->cl->parser, x->base, i);
}

/* Compare without regard to case; word is in lower case. */
bool kv_arg_is(const struct kv_call *x, size_t i, const char *word);
/* False: an error has been replied. */
bool kv_arg_integer(const struct kv_call *x, size_t i, long long *v);
bool kv_arity_ok(int arity, size_t argc);

int64_t kv_now(struct kv *kv);
/* Take the lock and delete a bounded number of expired keys; returns the time. */
int64_t kv_enter(struct kv *kv);
void kv_leave(struct kv *kv);

/* All commands, sorted by name. */
const struct kv_command *kv_commands(size_t *count);
const struct kv_command *kv_command_find(struct kv_arg name);

void kv_cmd_client(struct kv_call *x);
void kv_cmd_command(struct kv_call *x);
void kv_cmd_config(struct kv_call *x);
void kv_cmd_dbsize(struct kv_call *x);
void kv_cmd_decr(struct kv_call *x);
void kv_cmd_decrby(struct kv_call *x);
void kv_cmd_del(struct kv_call *x);
void kv_cmd_echo(struct kv_call *x);
void kv_cmd_exists(struct kv_call *x);
void kv_cmd_expire(struct kv_call *x);
void kv_cmd_flush(struct kv_call *x);
void kv_cmd_get(struct kv_call *x);
void kv_cmd_hello(struct kv_call *x);
void kv_cmd_incr(struct kv_call *x);
void kv_cmd_incrby(struct kv_call *x);
void kv_cmd_info(struct kv_call *x);
void kv_cmd_mget(struct kv_call *x);
void kv_cmd_mset(struct kv_call *x);
void kv_cmd_pexpire(struct kv_call *x);
void kv_cmd_ping(struct kv_call *x);
void kv_cmd_pttl(struct kv_call *x);
void kv_cmd_quit(struct kv_call *x);
void kv_cmd_select(struct kv_call *x);
void kv_cmd_set(struct kv_call *x);
void kv_cmd_ttl(struct kv_call *x);

#endif
