/* The command core of the key-value server: bytes in, bytes out, no runtime. */
#include <pthread.h>
#include <stdlib.h>

#include "kv/kv.h"
#include "test.h"

struct server {
	struct kv *kv;
	struct kv_client cl;
	struct kv_out out;
	bool close;
	int64_t now;
	char *text; /* the last reply of ask */
};

static int64_t fake_clock(void *arg)
{
	return *(int64_t *)arg;
}

static void open_limited(struct server *s, const struct kv_limits *limits)
{
	*s = (struct server){ .now = 1000000 };
	s->kv = kv_new();
	CHECK(s->kv != NULL);
	kv_set_clock(s->kv, fake_clock, &s->now);
	kv_set_limits(s->kv, limits);
	kv_client_init(&s->cl, s->kv);
}

static void open_server(struct server *s)
{
	open_limited(s, &(struct kv_limits){ 0 });
}

static void close_server(struct server *s)
{
	kv_client_fini(&s->cl);
	kv_out_free(&s->out);
	kv_free(s->kv);
	free(s->text);
}

/* Run in; the reply is a string until the next call. */
static const char *ask_bytes(struct server *s, const void *in, size_t n)
{
	kv_out_clear(&s->out);
	CHECK_INT(kv_execute(s->kv, &s->cl, in, n, &s->out, &s->close), ==, n);
	s->text = realloc(s->text, s->out.len + 1);
	CHECK(s->text != NULL);
	if (s->out.len > 0)
		memcpy(s->text, s->out.data, s->out.len);
	s->text[s->out.len] = '\0';
	return s->text;
}

static const char *ask(struct server *s, const char *line)
{
	char text[1024];

	return ask_bytes(s, text, (size_t)snprintf(text, sizeof text, "%s\r\n", line));
}

/* Pairs of an inline command and its reply without the last line end. */
static void check_all(struct server *s, const char *const (*pairs)[2], size_t count)
{
	for (size_t i = 0; i < count; i++) {
		const char *got = ask(s, pairs[i][0]);
		size_t len = strlen(pairs[i][1]);

		if (strncmp(got, pairs[i][1], len) != 0 || strcmp(got + len, "\r\n") != 0)
			test_fail(__FILE__, __LINE__, "%s: %s, not %s", pairs[i][0], got,
				  pairs[i][1]);
		CHECK(!s->close);
	}
}

#define CHECK_ALL(s, pairs) check_all(s, pairs, sizeof(pairs) / sizeof((pairs)[0]))

TEST(kv_commands_strings_succeed)
{
	static const char *const pairs[][2] = {
		{ "PING", "+PONG" },
		{ "ping \"a b\"", "$3\r\na b" },
		{ "ECHO hi", "$2\r\nhi" },
		{ "get k", "$-1" },
		{ "SET k v", "+OK" },
		{ "GeT k", "$1\r\nv" },
		{ "set k \"\"", "+OK" },
		{ "get k", "$0\r\n" },
		{ "exists k k x", ":2" },
		{ "mset a 1 b 2 a 3", "+OK" },
		{ "mget a x b k", "*4\r\n$1\r\n3\r\n$-1\r\n$1\r\n2\r\n$0\r\n" },
		{ "dbsize", ":3" },
		{ "del a x a b", ":2" },
		{ "dbsize", ":1" },
		{ "flushall", "+OK" },
		{ "dbsize", ":0" },
		{ "set k v", "+OK" },
		{ "flushdb async", "+OK" },
		{ "flushall SYNC", "+OK" },
		{ "exists k", ":0" },
	};
	struct server s;

	open_server(&s);
	CHECK_ALL(&s, pairs);
	close_server(&s);
}

TEST(kv_commands_set_options_succeed)
{
	static const char *const pairs[][2] = {
		{ "set k 1 xx", "$-1" },
		{ "get k", "$-1" },
		{ "set k 1 nx", "+OK" },
		{ "set k 2 NX", "$-1" },
		{ "get k", "$1\r\n1" },
		{ "set k 2 XX", "+OK" },
		{ "set k 3 get", "$1\r\n2" },
		{ "set k 4 nx get", "$1\r\n3" },
		{ "get k", "$1\r\n3" },
		{ "set new 4 nx get", "$-1" },
		{ "get new", "$1\r\n4" },
		{ "set k 5 ex 10", "+OK" },
		{ "ttl k", ":10" },
		{ "set k 6 keepttl", "+OK" },
		{ "pttl k", ":10000" },
		{ "set k 6", "+OK" },
		{ "ttl k", ":-1" },
		{ "set k 7 px 1500 xx", "+OK" },
		{ "pttl k", ":1500" },
		{ "ttl k", ":2" },
		{ "set k 8 exat 1003", "+OK" },
		{ "pttl k", ":3000" },
		{ "set k 9 pxat 1000007", "+OK" },
		{ "pttl k", ":7" },
		{ "set k 9 pxat 5", "+OK" },
		{ "get k", "$-1" },
	};
	struct server s;

	open_server(&s);
	CHECK_ALL(&s, pairs);
	close_server(&s);
}

TEST(kv_commands_set_errors)
{
#define SYNTAX "-ERR syntax error"
#define INVALID "-ERR invalid expire time in 'set' command"
#define NO_INT "-ERR value is not an integer or out of range"
	static const char *const pairs[][2] = {
		{ "set k", "-ERR wrong number of arguments for 'set' command" },
		{ "set k v foo", SYNTAX },
		{ "set k v nx xx", SYNTAX },
		{ "set k v xx nx", SYNTAX },
		{ "set k v ex", SYNTAX },
		{ "set k v ex 1 px 1", SYNTAX },
		{ "set k v ex 1 keepttl", SYNTAX },
		{ "set k v keepttl ex 1", SYNTAX },
		{ "set k v ex 0", INVALID },
		{ "set k v px -1", INVALID },
		{ "set k v ex 9223372036854775807", INVALID },
		{ "set k v px 9223372036854775807", INVALID },
		{ "set k v ex 1.5", NO_INT },
		{ "set k v px 9223372036854775808", NO_INT },
		{ "exists k", ":0" },
	};
	struct server s;

	open_server(&s);
	CHECK_ALL(&s, pairs);
	close_server(&s);
}

TEST(kv_commands_numbers)
{
	static const char *const pairs[][2] = {
		{ "incr n", ":1" },
		{ "incrby n 41", ":42" },
		{ "decr n", ":41" },
		{ "decrby n 42", ":-1" },
		{ "get n", "$2\r\n-1" },
		{ "expire n 100", ":1" },
		{ "incr n", ":0" },
		{ "ttl n", ":100" },
		{ "set n 9223372036854775806", "+OK" },
		{ "incr n", ":9223372036854775807" },
		{ "incr n", "-ERR increment or decrement would overflow" },
		{ "incrby n 9223372036854775807", "-ERR increment or decrement would overflow" },
		{ "get n", "$19\r\n9223372036854775807" },
		{ "set n -9223372036854775808", "+OK" },
		{ "decr n", "-ERR increment or decrement would overflow" },
		{ "decrby n -9223372036854775808", "-ERR decrement would overflow" },
		{ "decrby n -1", ":-9223372036854775807" },
		{ "incrby n x", NO_INT },
		{ "decrby n 1.0", NO_INT },
		{ "set n 007", "+OK" },
		{ "incr n", NO_INT },
		{ "set n \"1 \"", "+OK" },
		{ "decr n", NO_INT },
		{ "set n \"\"", "+OK" },
		{ "incr n", NO_INT },
		{ "incr", "-ERR wrong number of arguments for 'incr' command" },
	};
	struct server s;

	open_server(&s);
	CHECK_ALL(&s, pairs);
	close_server(&s);
}

TEST(kv_commands_expire_options_and_errors)
{
#define MIX "-ERR NX and XX, GT or LT options at the same time are not compatible"
	static const char *const pairs[][2] = {
		{ "expire k 10", ":0" },
		{ "ttl k", ":-2" },
		{ "pttl k", ":-2" },
		{ "set k v", "+OK" },
		{ "pttl k", ":-1" },
		{ "expire k 10 xx", ":0" },
		{ "expire k 10 gt", ":0" },
		{ "expire k 10 nx", ":1" },
		{ "expire k 20 nx", ":0" },
		{ "expire k 10 gt", ":0" },
		{ "pexpire k 20000 gt", ":1" },
		{ "expire k 20 lt", ":0" },
		{ "expire k 19 lt xx", ":1" },
		{ "pttl k", ":19000" },
		{ "expire k 1 nx xx", MIX },
		{ "expire k 1 nx gt", MIX },
		{ "expire k 1 lt gt",
		  "-ERR GT and LT options at the same time are not compatible" },
		{ "expire k 1 foo", "-ERR Unsupported option foo" },
		{ "expire k x", NO_INT },
		{ "expire k 9223372036854775807", "-ERR invalid expire time in 'expire' command" },
		{ "expire k -9223372036854775808", "-ERR invalid expire time in 'expire' command" },
		{ "pexpire k 9223372036854775807",
		  "-ERR invalid expire time in 'pexpire' command" },
		{ "expire k", "-ERR wrong number of arguments for 'expire' command" },
		{ "pexpire k -9223372036854775808", ":1" },
		{ "exists k", ":0" },
		{ "set k v", "+OK" },
		{ "expire k 0", ":1" },
		{ "exists k", ":0" },
	};
	struct server s;

	open_server(&s);
	CHECK_ALL(&s, pairs);
	close_server(&s);
}

TEST(kv_commands_keys_die_at_their_time)
{
	struct server s;

	open_server(&s);
	CHECK_STR(ask(&s, "set k v px 100"), "+OK\r\n");
	CHECK_STR(ask(&s, "set other v px 100"), "+OK\r\n");
	s.now += 99;
	CHECK_STR(ask(&s, "get k"), "$1\r\nv\r\n");
	CHECK_STR(ask(&s, "pttl k"), ":1\r\n");
	s.now += 1;
	CHECK_STR(ask(&s, "get k"), "$-1\r\n");
	CHECK_STR(ask(&s, "ttl k"), ":-2\r\n");
	CHECK_STR(ask(&s, "dbsize"), ":0\r\n");
	CHECK_STR(ask(&s, "set k w xx"), "$-1\r\n");
	CHECK_STR(ask(&s, "incr k"), ":1\r\n");
	CHECK_STR(ask(&s, "ttl k"), ":-1\r\n");
	CHECK_HAS(ask(&s, "info stats"), "expired_keys:2\r\n");
	close_server(&s);
}

TEST(kv_commands_server_replies)
{
	static const char *const pairs[][2] = {
		{ "select 0", "+OK" },
		{ "select 1", "-ERR DB index is out of range" },
		{ "select x", NO_INT },
		{ "client setname me", "+OK" },
		{ "client setinfo lib-name x", "+OK" },
		{ "CLIENT ID", ":1" },
		{ "client setname \"a b\"",
		  "-ERR Client names cannot contain spaces, newlines or special characters." },
		{ "client foo", "-ERR unknown subcommand 'foo'. Try CLIENT HELP." },
		{ "client", "-ERR wrong number of arguments for 'client' command" },
		{ "client setname", "-ERR wrong number of arguments for 'client|setname' command" },
		{ "config get save", "*2\r\n$4\r\nsave\r\n$0\r\n" },
		{ "config get APPENDONLY nothing", "*2\r\n$10\r\nappendonly\r\n$2\r\nno" },
		{ "config get proto* sav?",
		  "*4\r\n$18\r\nproto-max-bulk-len\r\n$9\r\n536870912\r\n$4\r\nsave\r\n$0\r\n" },
		{ "config get nothing", "*0" },
		{ "config get", "-ERR wrong number of arguments for 'config|get' command" },
		{ "config set a b",
		  "-ERR Unknown option or number of arguments for CONFIG SET - 'a'" },
		{ "config set a", "-ERR wrong number of arguments for 'config|set' command" },
		{ "config foo bar", "-ERR unknown subcommand 'foo'. Try CONFIG HELP." },
		{ "config resetstat", "+OK" },
		{ "command count", ":26" },
		{ "command docs", "*0" },
		{ "command docs get set", "*0" },
		{ "command info nothing MSET",
		  "*2\r\n*-1\r\n*6\r\n$4\r\nmset\r\n:-3\r\n*1\r\n+write\r\n:1\r\n:-1\r\n:2" },
		{ "command foo", "-ERR unknown subcommand 'foo'. Try COMMAND HELP." },
		{ "hello 3", "-NOPROTO unsupported protocol version" },
		{ "hello x", "-ERR Protocol version is not an integer or out of range" },
		{ "hello 2 auth a b", "-ERR Syntax error in HELLO option 'auth'" },
		{ "hello 2 setname", "-ERR Syntax error in HELLO option 'setname'" },
		{ "flushall now", SYNTAX },
		{ "flushall async async", SYNTAX },
		{ "info nothing", "$0\r\n" },
		{ "info keyspace", "$12\r\n# Keyspace\r\n" },
	};
	struct server s;

	open_server(&s);
	CHECK_ALL(&s, pairs);
	CHECK_HAS(ask(&s, "hello"), "*14\r\n$6\r\nserver\r\n$5\r\nredis\r\n");
	CHECK_HAS(ask(&s, "hello 2 setname x"), "proto\r\n:2\r\n$2\r\nid\r\n:1\r\n");
	CHECK_HAS(ask(&s, "command"), "*26\r\n*6\r\n$6\r\nclient\r\n:-2\r\n");
	ask(&s, "set k v px 5");
	CHECK_HAS(ask(&s, "info"), "connected_clients:1\r\n");
	CHECK_HAS(ask(&s, "info everything"), "redis_version:");
	CHECK_HAS(ask(&s, "info Keyspace"), "db0:keys=1,expires=1,avg_ttl=0\r\n");
	close_server(&s);
}

TEST(kv_commands_every_wrong_count_is_named)
{
	static const char *const names[] = { "get",  "set",	"del",	  "exists", "incr", "decr",
					     "mget", "mset",	"incrby", "decrby", "ttl",  "pttl",
					     "echo", "pexpire", "expire", "select" };
	struct server s;
	char want[128];

	open_server(&s);
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		snprintf(want, sizeof want, "-ERR wrong number of arguments for '%s' command\r\n",
			 names[i]);
		CHECK_STR(ask(&s, names[i]), want);
	}
	CHECK_STR(ask(&s, "PING a b"), "-ERR wrong number of arguments for 'ping' command\r\n");
	CHECK_STR(ask(&s, "mset a 1 b"), "-ERR wrong number of arguments for 'mset' command\r\n");
	CHECK_STR(ask(&s, "dbsize x"), "-ERR wrong number of arguments for 'dbsize' command\r\n");
	close_server(&s);
}

TEST(kv_commands_unknown_command_is_quoted)
{
	struct server s;
	char line[600], want[600], args[201];

	open_server(&s);
	CHECK_STR(ask(&s, "foo"), "-ERR unknown command 'foo', with args beginning with: \r\n");
	CHECK_STR(ask(&s, "getx A b"),
		  "-ERR unknown command 'getx', with args beginning with: 'A' 'b' \r\n");
	CHECK_STR(ask(&s, "\"a\\r\\nb\""),
		  "-ERR unknown command 'a  b', with args beginning with: \r\n");
	CHECK_STR(ask_bytes(&s, "*4\r\n$6\r\nexpire\r\n$1\r\nk\r\n$1\r\n1\r\n$4\r\na\nb\n\r\n", 40),
		  "-ERR Unsupported option a b\r\n");
	/* 128 bytes of the name, and arguments until 128 bytes are full */
	memset(args, 'x', 200);
	args[200] = '\0';
	snprintf(line, sizeof line, "%s %.100s %s z", args, args, args);
	snprintf(want, sizeof want,
		 "-ERR unknown command '%.128s', with args beginning with: '%.100s' '%.25s' \r\n",
		 args, args, args);
	CHECK_STR(ask(&s, line), want);
	close_server(&s);
}

TEST(kv_commands_quit_replies_and_closes)
{
	struct server s;
	static const char in[] = "ping\r\nquit\r\nping\r\n";

	open_server(&s);
	CHECK_INT(kv_execute(s.kv, &s.cl, (const uint8_t *)in, sizeof in - 1, &s.out, &s.close), ==,
		  12);
	CHECK(s.close);
	CHECK_INT(s.out.len, ==, 12);
	CHECK(memcmp(s.out.data, "+PONG\r\n+OK\r\n", 12) == 0);
	close_server(&s);
}

TEST(kv_commands_malformed_input_is_answered_and_closed)
{
	static const char *const pairs[][2] = {
		{ "*x\r\n", "-ERR Protocol error: invalid multibulk length\r\n" },
		{ "*1\r\n$-5\r\n", "-ERR Protocol error: invalid bulk length\r\n" },
		{ "*1\r\nfoo\r\n", "-ERR Protocol error: expected '$', got 'f'\r\n" },
		{ "set \"a\r\n", "-ERR Protocol error: unbalanced quotes in request\r\n" },
		{ "ping\r\n*x\r\nping\r\n",
		  "+PONG\r\n-ERR Protocol error: invalid multibulk length\r\n" },
		{ "POST / HTTP/1.1\r\n", "" },
		{ "Host: a\r\n", "" },
	};

	for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
		struct server s;

		open_server(&s);
		CHECK_STR(ask_bytes(&s, pairs[i][0], strlen(pairs[i][0])), pairs[i][1]);
		CHECK(s.close);
		close_server(&s);
	}
}

TEST(kv_commands_pipeline_replies_the_same_at_every_split)
{
	static const char in[] = "*3\r\n$3\r\nSET\r\n$3\r\na\0b\r\n$5\r\n1\r\n*2\r\n"
				 "*0\r\nping\r\n\r\n"
				 "*2\r\n$3\r\nGET\r\n$3\r\na\0b\r\n"
				 "set \"q k\" 'v'\r\n"
				 "*3\r\n$4\r\nMGET\r\n$3\r\nq k\r\n$1\r\nx\r\n"
				 "foo bar\r\n*1\r\n:1\r\n";
	static const char want[] =
		"+OK\r\n+PONG\r\n$5\r\n1\r\n*2\r\n+OK\r\n*2\r\n$1\r\nv\r\n$-1\r\n"
		"-ERR unknown command 'foo', with args beginning with: 'bar' \r\n"
		"-ERR Protocol error: expected '$', got ':'\r\n";
	size_t n = sizeof in - 1;

	for (size_t a = 0; a <= n; a++) {
		for (size_t b = a; b <= n; b += b < a + 9 ? 1 : 7) {
			size_t cuts[] = { 0, a, b, n };
			struct server s;

			open_server(&s);
			for (int i = 0; i < 3 && !s.close; i++) {
				size_t len = cuts[i + 1] - cuts[i];
				uint8_t *part = malloc(len + 1);

				memcpy(part, in + cuts[i], len);
				kv_execute(s.kv, &s.cl, part, len, &s.out, &s.close);
				free(part);
			}
			CHECK(s.close);
			CHECK_INT(s.out.len, ==, sizeof want - 1);
			CHECK(memcmp(s.out.data, want, sizeof want - 1) == 0);
			close_server(&s);
		}
	}
}

/* SET big <n bytes> in the protocol; *size is its length. */
static uint8_t *set_big(size_t n, size_t *size)
{
	uint8_t *p = malloc(n + 64);
	int head = sprintf((char *)p, "*3\r\n$3\r\nSET\r\n$3\r\nbig\r\n$%zu\r\n", n);

	for (size_t i = 0; i < n; i++)
		p[(size_t)head + i] = (uint8_t)(i * 7 + i / 251);
	memcpy(p + head + n, "\r\n", 2);
	*size = (size_t)head + n + 2;
	return p;
}

TEST(kv_commands_big_value_arrives_in_pieces_and_comes_back_whole)
{
	size_t bytes = 5000000, n, off = 0;
	uint8_t *in = set_big(bytes, &n);
	struct server s;

	open_server(&s);
	while (off < n) {
		size_t len = n - off < 4096 ? n - off : 4096;

		CHECK_INT(s.out.len, ==, 0);
		off += kv_execute(s.kv, &s.cl, in + off, len, &s.out, &s.close);
	}
	CHECK_INT(s.out.len, ==, 5);
	CHECK_INT(s.cl.part_cap, ==, 0);
	ask(&s, "get big");
	CHECK_INT(s.out.len, ==, bytes + strlen("$5000000\r\n\r\n"));
	CHECK(memcmp(s.out.data + 10, in + n - bytes - 2, bytes) == 0);
	kv_out_clear(&s.out);
	CHECK_INT(s.out.cap, ==, 0);
	close_server(&s);
	free(in);
}

TEST(kv_commands_announced_size_takes_no_memory)
{
	static const char in[] = "*3\r\n$3\r\nSET\r\n$3\r\nbig\r\n$536870912\r\nx";
	struct server s;

	open_server(&s);
	CHECK_STR(ask_bytes(&s, in, sizeof in - 1), "");
	CHECK_INT(s.cl.part_cap, <, 100);
	close_server(&s);
}

TEST(kv_commands_limits_are_enforced)
{
	struct kv_limits limits = { .bulk_bytes = 10, .args = 3, .line_bytes = 20 };
	struct server s;

	open_limited(&s, &limits);
	CHECK_STR(ask(&s, "set k 0123456789"), "+OK\r\n");
	CHECK_STR(ask_bytes(&s, "*2\r\n$4\r\nECHO\r\n$10\r\n0123456789\r\n", 31),
		  "$10\r\n0123456789\r\n");
	CHECK_STR(ask_bytes(&s, "*2\r\n$4\r\nECHO\r\n$11\r\n", 19),
		  "-ERR Protocol error: invalid bulk length\r\n");
	CHECK(s.close);
	close_server(&s);
	open_limited(&s, &limits);
	CHECK_STR(ask_bytes(&s, "*4\r\n", 4), "-ERR Protocol error: invalid multibulk length\r\n");
	close_server(&s);
	open_limited(&s, &limits);
	CHECK_STR(ask(&s, "ping 01234567890123456789"),
		  "-ERR Protocol error: too big inline request\r\n");
	close_server(&s);
}

TEST(kv_commands_unfinished_command_past_the_limit_closes)
{
	struct kv_limits limits = { .query_bytes = 40 };
	struct server s;

	open_limited(&s, &limits);
	ask_bytes(&s, "*9\r\n$9\r\n012345678\r\n", 19);
	CHECK(!s.close);
	ask_bytes(&s, "$9\r\n012345678\r\n", 15);
	CHECK(!s.close);
	ask_bytes(&s, "$9\r\n012345678\r\n", 15);
	CHECK(s.close);
	CHECK_INT(s.out.len, ==, 0);
	close_server(&s);
}

TEST(kv_commands_reply_past_the_limit_closes)
{
	struct kv_limits limits = { .reply_bytes = 1000 };
	struct server s;

	open_limited(&s, &limits);
	ask(&s, "set k 0123456789012345678901234567890123456789");
	CHECK(!s.close);
	for (int i = 0; i < 40 && !s.close; i++)
		kv_execute(s.kv, &s.cl, (const uint8_t *)"mget k k\r\n", 10, &s.out, &s.close);
	CHECK(s.close);
	CHECK(s.out.failed);
	CHECK_INT(s.out.len, <=, 1000);
	close_server(&s);
}

TEST(kv_commands_many_replies_stop_for_the_caller_to_send)
{
	size_t n, off = 0, rounds = 0, replies = 0;
	uint8_t *in = set_big(30000, &n);
	struct server s;
	char gets[40 * 9 + 1] = "";

	open_server(&s);
	ask_bytes(&s, in, n);
	for (int i = 0; i < 40; i++)
		strcat(gets, "get big\r\n");
	while (off < sizeof gets - 1) {
		kv_out_clear(&s.out);
		off += kv_execute(s.kv, &s.cl, (uint8_t *)gets + off, sizeof gets - 1 - off, &s.out,
				  &s.close);
		CHECK_INT(s.out.len, <, KV_OUT_HIGH + 31000);
		replies += s.out.len / (30000 + strlen("$30000\r\n\r\n"));
		rounds++;
	}
	CHECK_INT(replies, ==, 40);
	CHECK_INT(rounds, ==, 14);
	close_server(&s);
	free(in);
}

/* Fragments that steer garbage into the parser's corners. */
static size_t garbage(uint8_t *to, size_t n, unsigned *seed)
{
	static const char *const parts[] = {
		"*",   "$",	 "\r\n",   "1",	     "3",  "-1",
		"\"",  "'",	 "\\x4",   "set",    "k ", "*2\r\n",
		"get", "$3\r\n", "incr k", "expire", " ",  "*1\r\n$4\r\nPING\r\n"
	};
	size_t len = 0;

	while (len + 20 < n) {
		if (rand_r(seed) % 3 == 0) {
			to[len++] = (uint8_t)rand_r(seed);
		} else {
			const char *p =
				parts[(size_t)rand_r(seed) % (sizeof parts / sizeof *parts)];

			memcpy(to + len, p, strlen(p));
			len += strlen(p);
		}
	}
	return len;
}

TEST(kv_commands_garbage_replies_the_same_whole_and_in_pieces)
{
	unsigned seed = 42;

	for (int round = 0; round < 3000; round++) {
		uint8_t text[220];
		size_t n = garbage(text, sizeof text, &seed), off;
		struct server whole, parts;

		open_server(&whole);
		open_server(&parts);
		kv_execute(whole.kv, &whole.cl, text, n, &whole.out, &whole.close);
		for (off = 0; off < n && !parts.close;) {
			size_t len = 1 + (size_t)rand_r(&seed) % 9;
			uint8_t *piece = malloc(len);

			len = len < n - off ? len : n - off;
			memcpy(piece, text + off, len);
			kv_execute(parts.kv, &parts.cl, piece, len, &parts.out, &parts.close);
			free(piece);
			off += len;
		}
		CHECK_INT(whole.close, ==, parts.close);
		CHECK_INT(whole.out.len, ==, parts.out.len);
		CHECK(whole.out.len == 0 ||
		      memcmp(whole.out.data, parts.out.data, whole.out.len) == 0);
		close_server(&whole);
		close_server(&parts);
	}
}

enum { THREADS = 4, ROUNDS = 3000 };

static void *increment_many(void *arg)
{
	struct server s = { .kv = arg };
	static const char in[] = "incr n\r\nset k 0123456789\r\nget k\r\nmset k 1 j 2\r\ndel j\r\n";

	kv_client_init(&s.cl, s.kv);
	for (int i = 0; i < ROUNDS; i++) {
		kv_execute(s.kv, &s.cl, (const uint8_t *)in, sizeof in - 1, &s.out, &s.close);
		kv_out_clear(&s.out);
	}
	kv_client_fini(&s.cl);
	kv_out_free(&s.out);
	return NULL;
}

TEST(kv_commands_threads_share_one_database)
{
	pthread_t threads[THREADS];
	struct server s;
	char want[32];

	open_server(&s);
	for (int i = 0; i < THREADS; i++)
		CHECK_INT(pthread_create(&threads[i], NULL, increment_many, s.kv), ==, 0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	snprintf(want, sizeof want, "$5\r\n%d\r\n", THREADS * ROUNDS);
	CHECK_STR(ask(&s, "get n"), want);
	close_server(&s);
}
