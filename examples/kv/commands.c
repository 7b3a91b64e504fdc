/* The command core: from bytes to commands to replies. The commands themselves are in cmd_*.c. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "kv/cmd.h"

enum { SWEEP_MAX = 16, KEEP_PART = 1024 };

static const struct kv_command commands[] = {
	{ "client", -2, kv_cmd_client, "admin", 0, 0, 0 },
	{ "command", -1, kv_cmd_command, "loading", 0, 0, 0 },
	{ "config", -2, kv_cmd_config, "admin", 0, 0, 0 },
	{ "dbsize", 1, kv_cmd_dbsize, "readonly", 0, 0, 0 },
	{ "decr", 2, kv_cmd_decr, "write", 1, 1, 1 },
	{ "decrby", 3, kv_cmd_decrby, "write", 1, 1, 1 },
	{ "del", -2, kv_cmd_del, "write", 1, -1, 1 },
	{ "echo", 2, kv_cmd_echo, "fast", 0, 0, 0 },
	{ "exists", -2, kv_cmd_exists, "readonly", 1, -1, 1 },
	{ "expire", -3, kv_cmd_expire, "write", 1, 1, 1 },
	{ "flushall", -1, kv_cmd_flush, "write", 0, 0, 0 },
	{ "flushdb", -1, kv_cmd_flush, "write", 0, 0, 0 },
	{ "get", 2, kv_cmd_get, "readonly", 1, 1, 1 },
	{ "hello", -1, kv_cmd_hello, "fast", 0, 0, 0 },
	{ "incr", 2, kv_cmd_incr, "write", 1, 1, 1 },
	{ "incrby", 3, kv_cmd_incrby, "write", 1, 1, 1 },
	{ "info", -1, kv_cmd_info, "loading", 0, 0, 0 },
	{ "mget", -2, kv_cmd_mget, "readonly", 1, -1, 1 },
	{ "mset", -3, kv_cmd_mset, "write", 1, -1, 2 },
	{ "pexpire", -3, kv_cmd_pexpire, "write", 1, 1, 1 },
	{ "ping", -1, kv_cmd_ping, "fast", 0, 0, 0 },
	{ "pttl", 2, kv_cmd_pttl, "readonly", 1, 1, 1 },
	{ "quit", -1, kv_cmd_quit, "fast", 0, 0, 0 },
	{ "select", 2, kv_cmd_select, "fast", 0, 0, 0 },
	{ "set", -3, kv_cmd_set, "write", 1, 1, 1 },
	{ "ttl", 2, kv_cmd_ttl, "readonly", 1, 1, 1 },
};

const struct kv_command *kv_commands(size_t *count)
{
	*count = sizeof commands / sizeof commands[0];
	return commands;
}

static int compare_name(const void *key, const void *element)
{
	const struct kv_arg *name = key;
	const struct kv_command *c = element;
	size_t len = strlen(c->name);
	int d = strncasecmp((const char *)name->data, c->name, name->len < len ? name->len : len);

	return d != 0 ? d : (name->len > len) - (name->len < len);
}

const struct kv_command *kv_command_find(struct kv_arg name)
{
	return bsearch(&name, commands, sizeof commands / sizeof commands[0], sizeof commands[0],
		       compare_name);
}

static int64_t wall_clock(void *arg)
{
	struct timespec ts;

	(void)arg;
	clock_gettime(CLOCK_REALTIME, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static size_t or_default(size_t v, size_t otherwise)
{
	return v != 0 ? v : otherwise;
}

void kv_set_limits(struct kv *kv, const struct kv_limits *l)
{
	kv->limits = (struct kv_limits){
		.bulk_bytes = or_default(l->bulk_bytes, (size_t)512 << 20),
		.args = or_default(l->args, 1024 * 1024),
		.line_bytes = or_default(l->line_bytes, 64 * 1024),
		.query_bytes = or_default(l->query_bytes, (size_t)1 << 30),
		.reply_bytes = or_default(l->reply_bytes, (size_t)1 << 30),
	};
}

void kv_set_clock(struct kv *kv, kv_clock *clock, void *arg)
{
	kv->clock = clock;
	kv->clock_arg = arg;
	kv->started = kv_now(kv);
}

struct kv *kv_new(void)
{
	struct kv *kv = calloc(1, sizeof *kv);

	if (!kv)
		return NULL;
	pthread_mutex_init(&kv->lock, NULL);
	kv_set_clock(kv, wall_clock, NULL);
	kv_set_limits(kv, &(struct kv_limits){ 0 });
	return kv;
}

void kv_free(struct kv *kv)
{
	if (!kv)
		return;
	kv_db_clear(&kv->db);
	pthread_mutex_destroy(&kv->lock);
	free(kv);
}

int64_t kv_now(struct kv *kv)
{
	return kv->clock(kv->clock_arg);
}

int64_t kv_enter(struct kv *kv)
{
	int64_t now = kv_now(kv);

	pthread_mutex_lock(&kv->lock);
	kv_db_sweep(&kv->db, now, SWEEP_MAX);
	return now;
}

void kv_leave(struct kv *kv)
{
	struct kv_value *dead = kv_db_take_dead(&kv->db);

	pthread_mutex_unlock(&kv->lock);
	kv_dead_unref(dead);
}

bool kv_arg_is(const struct kv_call *x, size_t i, const char *word)
{
	struct kv_arg a = kv_arg(x, i);

	return a.len == strlen(word) && strncasecmp((const char *)a.data, word, a.len) == 0;
}

bool kv_arg_integer(const struct kv_call *x, size_t i, long long *v)
{
	struct kv_arg a = kv_arg(x, i);

	if (kv_parse_integer(a.data, a.len, v))
		return true;
	kv_out_error(x->out, "ERR value is not an integer or out of range");
	return false;
}

bool kv_arity_ok(int arity, size_t argc)
{
	return arity >= 0 ? argc == (size_t)arity : argc >= (size_t)-arity;
}

void kv_client_init(struct kv_client *cl, struct kv *kv)
{
	*cl = (struct kv_client){ .kv = kv };
	cl->id = atomic_fetch_add(&kv->next_client, 1) + 1;
	atomic_fetch_add(&kv->clients, 1);
	kv_resp_init(&cl->parser, kv->limits.args, kv->limits.bulk_bytes, kv->limits.line_bytes);
}

void kv_client_fini(struct kv_client *cl)
{
	atomic_fetch_sub(&cl->kv->clients, 1);
	kv_resp_fini(&cl->parser);
	free(cl->part);
	cl->part = NULL;
}

/* At most max bytes of a, for a format with %.*s. */
static int shown(struct kv_arg a, size_t max)
{
	return (int)(a.len < max ? a.len : max);
}

static void unknown_command(struct kv_call *x)
{
	struct kv_arg name = kv_arg(x, 0);
	char args[300] = "";
	size_t len = 0;

	for (size_t i = 1; i < x->argc && len < 128; i++) {
		struct kv_arg a = kv_arg(x, i);

		snprintf(args + len, sizeof args - len, "'%.*s' ", shown(a, 128 - len),
			 (const char *)a.data);
		len += strlen(args + len);
	}
	kv_out_error(x->out, "ERR unknown command '%.*s', with args beginning with: %s",
		     shown(name, 128), (const char *)name.data, args);
}

/* Run the parsed command whose bytes begin at base; returns true when the client is to be closed.
 */
static bool run(struct kv *kv, struct kv_client *cl, const uint8_t *base, struct kv_out *out)
{
	struct kv_call x = { .kv = kv, .cl = cl, .base = base, .out = out };
	const struct kv_command *c;

	x.argc = cl->parser.argc;
	if (x.argc == 0)
		return false;
	/* A browser made to talk to us: nothing of what follows is meant as a command. */
	if (kv_arg_is(&x, 0, "post") || kv_arg_is(&x, 0, "host:"))
		return true;
	atomic_fetch_add_explicit(&kv->commands, 1, memory_order_relaxed);
	c = kv_command_find(kv_arg(&x, 0));
	if (!c) {
		unknown_command(&x);
	} else if (!kv_arity_ok(c->arity, x.argc)) {
		kv_out_error(out, "ERR wrong number of arguments for '%s' command", c->name);
	} else {
		x.name = c->name;
		c->run(&x);
	}
	return x.close;
}

/* Keep the beginning of a command. False: no memory, or the command is past all bounds. */
static bool keep_part(struct kv_client *cl, const uint8_t *in, size_t n)
{
	size_t need = cl->part_len + n;

	if (need > cl->kv->limits.query_bytes)
		return false;
	if (need > cl->part_cap) {
		/* grows with what has arrived, not with what a header announces */
		size_t cap = need > 2 * cl->part_cap ? need : 2 * cl->part_cap;
		uint8_t *p = realloc(cl->part, cap);

		if (!p)
			return false;
		cl->part = p;
		cl->part_cap = cap;
	}
	memcpy(cl->part + cl->part_len, in, n);
	cl->part_len = need;
	return true;
}

static void drop_part(struct kv_client *cl)
{
	cl->part_len = 0;
	if (cl->part_cap > KEEP_PART) {
		free(cl->part);
		cl->part = NULL;
		cl->part_cap = 0;
	}
}

/*
 * Take the next command, or what there is of it, from in. A command that lies in it whole is run in
 * place; one that began in an earlier range is completed in cl->part, which never holds more than
 * that one.
 */
static size_t step(struct kv *kv, struct kv_client *cl, const uint8_t *in, size_t n,
		   struct kv_out *out, bool *close)
{
	bool joined = cl->part_len > 0;
	size_t take = joined ? kv_resp_wants(&cl->parser, cl->part_len, in, n) : n;
	enum kv_resp_result res;

	if (joined && !keep_part(cl, in, take)) {
		*close = true;
		return n;
	}
	if (joined)
		res = kv_resp_parse(&cl->parser, cl->part, cl->part_len);
	else
		res = kv_resp_parse(&cl->parser, in, n);
	switch (res) {
	case KV_RESP_MORE:
		*close = !joined && !keep_part(cl, in, n);
		return take;
	case KV_RESP_COMMAND:
		*close = run(kv, cl, joined ? cl->part : in, out);
		take = joined ? take : cl->parser.used;
		drop_part(cl);
		kv_resp_next(&cl->parser);
		return take;
	default:
		kv_out_error(out, "ERR Protocol error: %s", cl->parser.error);
		*close = true;
		return n;
	}
}

size_t kv_execute(struct kv *kv, struct kv_client *cl, const uint8_t *in, size_t n,
		  struct kv_out *out, bool *close)
{
	size_t off = 0;

	*close = false;
	out->limit = kv->limits.reply_bytes;
	while (off < n && !*close && out->len < KV_OUT_HIGH)
		off += step(kv, cl, in + off, n - off, out, close);
	if (out->failed)
		*close = true;
	return off;
}
