/* The commands about the server and the connection. */
#define _GNU_SOURCE /* FNM_CASEFOLD */
#include <fnmatch.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "kv/cmd.h"

/* What clients take for the version of Redis whose commands and words these are. */
#define REDIS_VERSION "7.0.0"

void kv_cmd_ping(struct kv_call *x)
{
	if (x->argc > 2)
		kv_out_error(x->out, "ERR wrong number of arguments for 'ping' command");
	else if (x->argc == 2)
		kv_out_bulk(x->out, kv_arg(x, 1).data, kv_arg(x, 1).len);
	else
		kv_out_simple(x->out, "PONG");
}

void kv_cmd_echo(struct kv_call *x)
{
	kv_out_bulk(x->out, kv_arg(x, 1).data, kv_arg(x, 1).len);
}

void kv_cmd_quit(struct kv_call *x)
{
	kv_out_simple(x->out, "OK");
	x->close = true;
}

void kv_cmd_select(struct kv_call *x)
{
	long long db;

	if (!kv_arg_integer(x, 1, &db))
		return;
	if (db == 0)
		kv_out_simple(x->out, "OK");
	else
		kv_out_error(x->out, "ERR DB index is out of range");
}

static bool name_ok(struct kv_call *x, size_t i)
{
	struct kv_arg a = kv_arg(x, i);

	for (size_t k = 0; k < a.len; k++) {
		if (a.data[k] < '!' || a.data[k] > '~') {
			kv_out_error(x->out, "ERR Client names cannot contain spaces, newlines or "
					     "special characters.");
			return false;
		}
	}
	return true;
}

static void hello_reply(struct kv_call *x)
{
	kv_out_array(x->out, 14);
	kv_out_text(x->out, "server");
	kv_out_text(x->out, "redis");
	kv_out_text(x->out, "version");
	kv_out_text(x->out, REDIS_VERSION);
	kv_out_text(x->out, "proto");
	kv_out_integer(x->out, 2);
	kv_out_text(x->out, "id");
	kv_out_integer(x->out, (long long)x->cl->id);
	kv_out_text(x->out, "mode");
	kv_out_text(x->out, "standalone");
	kv_out_text(x->out, "role");
	kv_out_text(x->out, "master");
	kv_out_text(x->out, "modules");
	kv_out_array(x->out, 0);
}

void kv_cmd_hello(struct kv_call *x)
{
	long long version = 2;

	if (x->argc >= 2 && !kv_parse_integer(kv_arg(x, 1).data, kv_arg(x, 1).len, &version)) {
		kv_out_error(x->out, "ERR Protocol version is not an integer or out of range");
		return;
	}
	if (version != 2) {
		kv_out_error(x->out, "NOPROTO unsupported protocol version");
		return;
	}
	for (size_t i = 2; i < x->argc; i += 2) {
		struct kv_arg a = kv_arg(x, i);
		int len = (int)(a.len < 128 ? a.len : 128);

		if (!kv_arg_is(x, i, "setname") || i + 1 == x->argc) {
			kv_out_error(x->out, "ERR Syntax error in HELLO option '%.*s'", len,
				     (const char *)a.data);
			return;
		}
		if (!name_ok(x, i + 1))
			return;
	}
	hello_reply(x);
}

/* Run the subcommand in argument 1; container is its command's name in capitals. */
static void run_sub(struct kv_call *x, const struct kv_command *subs, size_t count,
		    const char *container)
{
	struct kv_arg a = kv_arg(x, 1);
	int len = (int)(a.len < 128 ? a.len : 128);

	for (size_t i = 0; i < count; i++) {
		if (!kv_arg_is(x, 1, subs[i].name))
			continue;
		if (kv_arity_ok(subs[i].arity, x->argc))
			subs[i].run(x);
		else
			kv_out_error(x->out, "ERR wrong number of arguments for '%s|%s' command",
				     x->name, subs[i].name);
		return;
	}
	kv_out_error(x->out, "ERR unknown subcommand '%.*s'. Try %s HELP.", len,
		     (const char *)a.data, container);
}

static void client_id(struct kv_call *x)
{
	kv_out_integer(x->out, (long long)x->cl->id);
}

static void client_setname(struct kv_call *x)
{
	if (name_ok(x, 2))
		kv_out_simple(x->out, "OK");
}

static void reply_ok(struct kv_call *x)
{
	kv_out_simple(x->out, "OK");
}

void kv_cmd_client(struct kv_call *x)
{
	static const struct kv_command subs[] = {
		{ .name = "id", .arity = 2, .run = client_id },
		{ .name = "setinfo", .arity = 4, .run = reply_ok },
		{ .name = "setname", .arity = 3, .run = client_setname },
	};

	run_sub(x, subs, sizeof subs / sizeof subs[0], "CLIENT");
}

static bool matches_any(struct kv_call *x, const char *name)
{
	for (size_t i = 2; i < x->argc; i++) {
		struct kv_arg a = kv_arg(x, i);
		char pattern[64];

		if (a.len >= sizeof pattern)
			continue;
		memcpy(pattern, a.data, a.len);
		pattern[a.len] = '\0';
		if (fnmatch(pattern, name, FNM_CASEFOLD) == 0)
			return true;
	}
	return false;
}

static void config_get(struct kv_call *x)
{
	char bulk[24];
	const char *const params[][2] = {
		{ "appendonly", "no" },		{ "databases", "1" }, { "maxmemory", "0" },
		{ "proto-max-bulk-len", bulk }, { "save", "" },
	};
	bool shown[sizeof params / sizeof params[0]];
	size_t count = 0;

	snprintf(bulk, sizeof bulk, "%zu", x->kv->limits.bulk_bytes);
	for (size_t i = 0; i < sizeof params / sizeof params[0]; i++) {
		shown[i] = matches_any(x, params[i][0]);
		count += shown[i];
	}
	kv_out_array(x->out, 2 * count);
	for (size_t i = 0; i < sizeof params / sizeof params[0]; i++) {
		if (!shown[i])
			continue;
		kv_out_text(x->out, params[i][0]);
		kv_out_text(x->out, params[i][1]);
	}
}

static void config_set(struct kv_call *x)
{
	struct kv_arg a = kv_arg(x, 2);
	int len = (int)(a.len < 128 ? a.len : 128);

	kv_out_error(x->out, "ERR Unknown option or number of arguments for CONFIG SET - '%.*s'",
		     len, (const char *)a.data);
}

static void config_resetstat(struct kv_call *x)
{
	atomic_store(&x->kv->commands, 0);
	atomic_store(&x->kv->hits, 0);
	atomic_store(&x->kv->misses, 0);
	reply_ok(x);
}

void kv_cmd_config(struct kv_call *x)
{
	static const struct kv_command subs[] = {
		{ .name = "get", .arity = -3, .run = config_get },
		{ .name = "resetstat", .arity = 2, .run = config_resetstat },
		{ .name = "set", .arity = -4, .run = config_set },
	};

	run_sub(x, subs, sizeof subs / sizeof subs[0], "CONFIG");
}

static void describe(struct kv_out *out, const struct kv_command *c)
{
	kv_out_array(out, 6);
	kv_out_text(out, c->name);
	kv_out_integer(out, c->arity);
	kv_out_array(out, 1);
	kv_out_simple(out, c->flag);
	kv_out_integer(out, c->first_key);
	kv_out_integer(out, c->last_key);
	kv_out_integer(out, c->key_step);
}

static void command_all(struct kv_call *x)
{
	size_t count;
	const struct kv_command *all = kv_commands(&count);

	kv_out_array(x->out, count);
	for (size_t i = 0; i < count; i++)
		describe(x->out, &all[i]);
}

static void command_count(struct kv_call *x)
{
	size_t count;

	kv_commands(&count);
	kv_out_integer(x->out, (long long)count);
}

/* No help texts: redis-cli then completes from its own. */
static void command_docs(struct kv_call *x)
{
	kv_out_array(x->out, 0);
}

static void command_info(struct kv_call *x)
{
	if (x->argc == 2) {
		command_all(x);
		return;
	}
	kv_out_array(x->out, x->argc - 2);
	for (size_t i = 2; i < x->argc; i++) {
		const struct kv_command *c = kv_command_find(kv_arg(x, i));

		if (c)
			describe(x->out, c);
		else
			kv_out_bytes(x->out, "*-1\r\n", 5);
	}
}

void kv_cmd_command(struct kv_call *x)
{
	static const struct kv_command subs[] = {
		{ .name = "count", .arity = 2, .run = command_count },
		{ .name = "docs", .arity = -2, .run = command_docs },
		{ .name = "info", .arity = -2, .run = command_info },
	};

	if (x->argc == 1)
		command_all(x);
	else
		run_sub(x, subs, sizeof subs / sizeof subs[0], "COMMAND");
}

struct info_text {
	char data[1024];
	size_t len;
};

static bool info_wanted(struct kv_call *x, const char *section)
{
	for (size_t i = 1; i < x->argc; i++) {
		if (kv_arg_is(x, i, section) || kv_arg_is(x, i, "default") ||
		    kv_arg_is(x, i, "all") || kv_arg_is(x, i, "everything"))
			return true;
	}
	return x->argc == 1;
}

__attribute__((format(printf, 4, 5))) static void
info_section(struct kv_call *x, struct info_text *t, const char *section, const char *fmt, ...)
{
	va_list ap;
	size_t room = sizeof t->data - t->len;
	int len;

	if (!info_wanted(x, section))
		return;
	if (t->len > 0)
		t->len += (size_t)snprintf(t->data + t->len, room, "\r\n");
	va_start(ap, fmt);
	len = vsnprintf(t->data + t->len, sizeof t->data - t->len, fmt, ap);
	va_end(ap);
	t->len += (size_t)len;
}

void kv_cmd_info(struct kv_call *x)
{
	struct kv *kv = x->kv;
	struct info_text t = { .len = 0 };
	char keys[96] = "";
	size_t count, volatile_count;
	uint64_t expired;
	int64_t now = kv_enter(kv);

	count = kv_db_count(&kv->db);
	volatile_count = kv->db.heap_count;
	expired = kv->db.expired;
	kv_leave(kv);
	if (count > 0)
		snprintf(keys, sizeof keys, "db0:keys=%zu,expires=%zu,avg_ttl=0\r\n", count,
			 volatile_count);
	info_section(x, &t, "server",
		     "# Server\r\nredis_version:" REDIS_VERSION "\r\nredis_mode:standalone\r\n"
		     "process_id:%ld\r\nuptime_in_seconds:%lld\r\n",
		     (long)getpid(), (long long)(now - kv->started) / 1000);
	info_section(x, &t, "clients", "# Clients\r\nconnected_clients:%llu\r\n",
		     atomic_load(&kv->clients));
	info_section(x, &t, "stats",
		     "# Stats\r\ntotal_commands_processed:%llu\r\nexpired_keys:%llu\r\n"
		     "keyspace_hits:%llu\r\nkeyspace_misses:%llu\r\n",
		     atomic_load(&kv->commands), (unsigned long long)expired,
		     atomic_load(&kv->hits), atomic_load(&kv->misses));
	info_section(x, &t, "replication", "# Replication\r\nrole:master\r\n");
	info_section(x, &t, "keyspace", "# Keyspace\r\n%s", keys);
	kv_out_bulk(x->out, t.data, t.len);
}
