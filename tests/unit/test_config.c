#include "base/sys.h"
#include "rt/config.h"
#include "rt/cpu.h"
#include "test.h"
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/resource.h>

static void on_conn(rln_conn c, void *arg)
{
	(void)c, (void)arg;
}

static int on_request(rln_conn c, void *arg)
{
	(void)c, (void)arg;
	return RLN_KEEP;
}

static size_t data(rln_conn c, const uint8_t *p, size_t n, void *arg)
{
	(void)c, (void)p, (void)arg;
	return n;
}

static const rln_callbacks callbacks = { .data = data };
static const rln_listen_opts plain = { .addr = "127.0.0.1:0", .on_conn = on_conn };

static int resolve(const rln_config *user, struct config *out, struct diag *why)
{
	return config_resolve(user, sizeof *user, sizeof(rln_listen_opts), out, why);
}

static void resolve_ok(const rln_config *user, struct config *out)
{
	struct diag why = { 0 };

	if (resolve(user, out, &why) != 0)
		test_fail(__FILE__, __LINE__, "%s", why.line);
}

/* The configuration is refused with err and a line that begins with `name: ` and has part. */
static void check_refused(const rln_config *user, const char *name, const char *part)
{
	struct config c;
	struct diag why = { 0 };
	char begin[96];

	CHECK_INT(resolve(user, &c, &why), ==, -EINVAL);
	snprintf(begin, sizeof begin, "ringline: config.%s: ", name);
	if (strncmp(why.line, begin, strlen(begin)) != 0)
		test_fail(__FILE__, __LINE__, "\"%s\" does not begin with \"%s\"", why.line, begin);
	CHECK_HAS(why.line, part);
	CHECK(c.listener == NULL);
	CHECK_INT(resolve(user, &c, NULL), ==, -EINVAL);
}

static void check_listen_refused(rln_listen_opts l, const char *name, const char *part)
{
	rln_listen_opts two[2] = { plain, l };
	char full[64];

	snprintf(full, sizeof full, "listen[1].%s", name);
	check_refused(&(rln_config){ .listen = two, .nlisten = 2 }, full, part);
}

TEST(config_zero_is_all_defaults)
{
	struct config c;
	rln_config zero = { 0 };

	resolve_ok(&zero, &c);
	CHECK_INT(c.set.workers, ==, cpu_worker_count());
	CHECK_INT(c.set.stack_size, ==, 128 * 1024);
	CHECK_INT(c.set.stack_guard % sys_page_size(), ==, 0);
	CHECK_INT(c.set.stack_guard, >=, 16384);
	CHECK_INT(c.set.max_tasks, ==, 65536);
	CHECK_INT(c.set.stacks_prewarm, ==, 64);
	CHECK_INT(c.set.stacks_keep, ==, 1024);
	CHECK_INT(c.set.stack_trim_idle, ==, RLN_SEC(5));
	CHECK_INT(c.set.sq_entries, ==, 1024);
	CHECK_INT(c.set.cq_entries, ==, 4096);
	CHECK_INT(c.set.recv_bufs, ==, 256);
	CHECK_INT(c.set.recv_buf_size, ==, 4096);
	CHECK_INT(c.set.zc_threshold, ==, 65536);
	CHECK_INT(c.set.buffer_budget, ==, sys_memory_allowed() / 8 / c.set.workers);
	CHECK_INT(c.set.spin, ==, 0);
	CHECK(!c.set.sqpoll);
	CHECK_INT(c.set.drain_idle, ==, RLN_SEC(1));
	CHECK_INT(c.set.drain_timeout, ==, RLN_SEC(30));
	CHECK_INT(c.set.kill_timeout, ==, RLN_SEC(5));
	CHECK_INT(c.set.stall_warn, ==, RLN_MS(500));
	CHECK(c.listener == NULL);
	CHECK_INT(c.auto_slots, >=, 1);
	CHECK_INT(c.set.file_slots, >=, 1);
	CHECK_INT(c.auto_slots + c.set.file_slots, <=, c.nofile_soft);
	config_fini(&c);
}

TEST(config_listener_defaults_are_filled)
{
	struct config c;

	resolve_ok(&(rln_config){ .listen = &plain, .nlisten = 1 }, &c);
	const struct config_listener *l = &c.listener[0];
	CHECK_INT(l->set.backlog, ==, 4096);
	CHECK_INT(l->mode.idle_ns, ==, 0);
	CHECK_INT(l->mode.close_timeout_ns, ==, RLN_SEC(5));
	CHECK_INT(l->mode.close_max_ns, ==, RLN_SEC(60));
	CHECK_INT(l->mode.send_stall_ns, ==, RLN_SEC(60));
	CHECK_INT(l->mode.recv_max, ==, 1 << 20);
	CHECK_INT(l->mode.send_high, ==, 1 << 20);
	CHECK_INT(l->mode.send_low, ==, 256 << 10);
	CHECK(l->mode.on_conn == on_conn && !l->mode.on_request && !l->mode.cb);
	CHECK_INT(l->set.max_conns, >=, 1);
	CHECK_INT(l->set.max_conns, <=, 16384);
	CHECK_INT(c.auto_slots, >=, l->set.max_conns);
	CHECK_INT(c.auto_slots, <=, l->set.max_conns + CONFIG_SPARE_SLOTS);
	CHECK(!l->set.no_nodelay);
	CHECK(c.set.listen == NULL);
	config_fini(&c);
	CHECK(c.listener == NULL);
	config_fini(&c);
}

TEST(config_what_is_given_is_kept)
{
	struct config c;
	int word = 0;
	rln_listen_opts l = { .addr = "[::1]:80",
			      .on_request = on_request,
			      .arg = &word,
			      .backlog = 7,
			      .idle_timeout = RLN_MS(3),
			      .recv_max = 100,
			      .send_high = 1000,
			      .send_low = 1000,
			      .max_conns = 9,
			      .keepalive_idle = RLN_SEC(60),
			      .sndbuf = 4096,
			      .rcvbuf = 8192 };

	resolve_ok(&(rln_config){ .workers = 3,
				  .listen = &l,
				  .nlisten = 1,
				  .sq_entries = 2,
				  .cq_entries = 4,
				  .recv_bufs = 1,
				  .recv_buf_size = 16,
				  .buffer_budget = 64,
				  .file_slots = 1,
				  .spin = RLN_US(50),
				  .sqpoll = true,
				  .sqpoll_cpu_plus1 = 2,
				  .drain_timeout = RLN_MS(1) },
		   &c);
	CHECK_INT(c.set.workers, ==, 3);
	CHECK_INT(c.set.sq_entries, ==, 2);
	CHECK_INT(c.set.cq_entries, ==, 4);
	CHECK_INT(c.set.recv_bufs, ==, 1);
	CHECK_INT(c.recv_bufs_max, ==, 1);
	CHECK_INT(c.set.file_slots, ==, 1);
	CHECK_INT(c.auto_slots, ==, 9 + CONFIG_SPARE_SLOTS);
	CHECK_INT(c.set.spin, ==, 50000);
	CHECK_INT(c.set.sqpoll_idle_ms, ==, 1000);
	CHECK_INT(c.set.drain_timeout, ==, RLN_MS(1));
	CHECK(c.listener[0].mode.on_request == on_request);
	CHECK(c.listener[0].mode.arg == &word && c.listener[0].mode.close_arg == &word);
	CHECK_INT(c.listener[0].mode.idle_ns, ==, RLN_MS(3));
	CHECK_INT(c.listener[0].mode.send_low, ==, 1000);
	CHECK_INT(c.listener[0].set.backlog, ==, 7);
	CHECK_INT(c.listener[0].set.sndbuf, ==, 4096);
	config_fini(&c);
}

TEST(config_keeps_nothing_of_the_users_memory)
{
	struct config c;
	char addr[] = "127.0.0.1:4711";
	rln_callbacks cb = callbacks;
	rln_listen_opts l = { .addr = addr, .cb = &cb };

	resolve_ok(&(rln_config){ .listen = &l, .nlisten = 1 }, &c);
	memset(addr, 'x', sizeof addr - 1);
	memset(&cb, 0, sizeof cb);
	memset(&l, 0, sizeof l);
	CHECK_STR(c.listener[0].set.addr, "127.0.0.1:4711");
	CHECK(c.listener[0].set.cb->data == data);
	CHECK(c.listener[0].mode.cb->data == data);
	CHECK_INT(c.listener[0].addr.bytes, ==, sizeof(struct sockaddr_in));
	config_fini(&c);
}

TEST(config_forever_cannot_overflow_the_clock)
{
	struct config c;

	resolve_ok(&(rln_config){ .drain_timeout = RLN_FOREVER }, &c);
	CHECK_INT(c.set.drain_timeout, ==, CONFIG_NS_MAX);
	CHECK_INT(c.set.drain_timeout, <, INT64_MAX - sys_now());
	config_fini(&c);
}

TEST(config_log_follows_the_configuration)
{
	struct config c;
	int word;

	resolve_ok(&(rln_config){ .arg = &word }, &c);
	CHECK(c.log.fn == NULL && c.log.arg == &word);
	config_fini(&c);
}

/* ---- every plain field, out of range */

TEST(config_workers_out_of_range_is_named)
{
	check_refused(&(rln_config){ .workers = 257 }, "workers", "257 is more than 256");
}

TEST(config_sizes_out_of_range_are_named)
{
	check_refused(&(rln_config){ .stack_size = 100 }, "stack_size", "less than 16384");
	check_refused(&(rln_config){ .stack_size = 9 << 20 }, "stack_size", "more than 8388608");
	check_refused(&(rln_config){ .stack_size = SIZE_MAX }, "stack_size", "is more than");
	check_refused(&(rln_config){ .stack_guard = 1 }, "stack_guard", "less than 4096");
	check_refused(&(rln_config){ .stack_guard = 5000 }, "stack_guard", "multiple of");
	check_refused(&(rln_config){ .stack_guard = 2 << 20 }, "stack_guard", "is more than");
	check_refused(&(rln_config){ .max_tasks = 1 << 24 }, "max_tasks", "more than 16777215");
	check_refused(&(rln_config){ .stacks_prewarm = 9, .max_tasks = 8 }, "stacks_prewarm",
		      "more than max_tasks");
	check_refused(&(rln_config){ .stacks_prewarm = UINT_MAX }, "stacks_prewarm", "is more");
	check_refused(&(rln_config){ .stacks_keep = 5 }, "stacks_keep", "less than stacks_prewarm");
	check_refused(&(rln_config){ .stacks_keep = UINT_MAX }, "stacks_keep", "is more than");
	check_refused(&(rln_config){ .recv_buf_size = 15 }, "recv_buf_size", "less than 16");
	check_refused(&(rln_config){ .recv_buf_size = 2 << 20 }, "recv_buf_size", "is more than");
	check_refused(&(rln_config){ .buffer_budget = 4095 }, "buffer_budget", "recv_buf_size");
	check_refused(&(rln_config){ .file_slots = UINT_MAX }, "file_slots", "is more than");
}

TEST(config_queue_sizes_must_be_powers_of_two)
{
	check_refused(&(rln_config){ .sq_entries = 1 }, "sq_entries", "less than 2");
	check_refused(&(rln_config){ .sq_entries = 1000 }, "sq_entries", "not a power of two");
	check_refused(&(rln_config){ .sq_entries = 65536 }, "sq_entries", "more than 32768");
	check_refused(&(rln_config){ .cq_entries = 5000 }, "cq_entries", "not a power of two");
	check_refused(&(rln_config){ .cq_entries = 131072 }, "cq_entries", "more than 65536");
	check_refused(&(rln_config){ .cq_entries = 1024 }, "cq_entries", "twice sq_entries");
	check_refused(&(rln_config){ .recv_bufs = 3 }, "recv_bufs", "not a power of two");
	check_refused(&(rln_config){ .recv_bufs = 65536 }, "recv_bufs", "more than 32768");
}

TEST(config_largest_queue_is_legal)
{
	struct config c;

	resolve_ok(&(rln_config){ .sq_entries = 32768, .recv_bufs = 32768 }, &c);
	CHECK_INT(c.set.cq_entries, ==, 65536);
	CHECK_INT(c.recv_bufs_max, ==, 32768);
	CHECK_INT(c.set.buffer_budget, >=, 32768 * 4096);
	config_fini(&c);
}

TEST(config_durations_out_of_range_are_named)
{
	check_refused(&(rln_config){ .stack_trim_idle = -1 }, "stack_trim_idle", "-1 ns is neg");
	check_refused(&(rln_config){ .spin = -1 }, "spin", "negative");
	check_refused(&(rln_config){ .spin = RLN_SEC(2) }, "spin", "more than 1000000000 ns");
	check_refused(&(rln_config){ .drain_idle = -1 }, "drain_idle", "negative");
	check_refused(&(rln_config){ .drain_timeout = INT64_MIN }, "drain_timeout", "negative");
	check_refused(&(rln_config){ .kill_timeout = -5 }, "kill_timeout", "negative");
	check_refused(&(rln_config){ .stall_warn = -5 }, "stall_warn", "negative");
}

TEST(config_sqpoll_fields_need_sqpoll)
{
	check_refused(&(rln_config){ .sqpoll_idle_ms = 10 }, "sqpoll_idle_ms", "without sqpoll");
	check_refused(&(rln_config){ .sqpoll_cpu_plus1 = 1 }, "sqpoll_cpu_plus1", "without");
	check_refused(&(rln_config){ .sqpoll = true, .sqpoll_cpu_plus1 = -1 }, "sqpoll_cpu_plus1",
		      "negative");
	check_refused(&(rln_config){ .sqpoll = true, .sqpoll_idle_ms = UINT_MAX }, "sqpoll_idle_ms",
		      "is more than");
}

TEST(config_embed_has_one_worker_and_waits_for_nothing)
{
	struct config c;

	check_refused(&(rln_config){ .embed = true, .workers = 2 }, "workers", "embed");
	check_refused(&(rln_config){ .embed = true, .spin = 1 }, "spin", "embed");
	check_refused(&(rln_config){ .embed = true, .sqpoll = true }, "sqpoll", "embed");
	CHECK_INT(config_resolve(&(rln_config){ .embed = true }, sizeof(rln_config),
				 sizeof(rln_listen_opts), &c, NULL),
		  ==, 0);
	CHECK_INT(c.set.workers, ==, 1);
	CHECK(c.set.no_pin);
	CHECK_INT(c.set.stall_warn, ==, CONFIG_NS_MAX);
	config_fini(&c);
	CHECK_INT(config_resolve(&(rln_config){ .embed = true, .stall_warn = 5 },
				 sizeof(rln_config), sizeof(rln_listen_opts), &c, NULL),
		  ==, 0);
	CHECK_INT(c.set.stall_warn, ==, 5);
	config_fini(&c);
}

/* ---- listeners */

TEST(config_listen_and_nlisten_go_together)
{
	check_refused(&(rln_config){ .nlisten = 2 }, "listen", "NULL although nlisten is 2");
	check_refused(&(rln_config){ .listen = &plain }, "nlisten", "0 although listen is set");
	check_refused(&(rln_config){ .listen = &plain, .nlisten = 65 }, "nlisten", "more than 64");
}

TEST(config_exactly_one_handler)
{
	rln_listen_opts l = plain;

	l.on_conn = NULL;
	check_listen_refused(l, "on_conn", "no handler");
	l = plain;
	l.on_request = on_request;
	check_listen_refused(l, "on_request", "more than one handler");
	l = plain;
	l.cb = &callbacks;
	check_listen_refused(l, "cb", "more than one handler");
	l.on_conn = NULL;
	l.cb = &(rln_callbacks){ 0 };
	check_listen_refused(l, "cb.data", "NULL");
}

#define CHECK_LISTEN(field, value, part)                \
	do {                                            \
		rln_listen_opts l_ = plain;             \
		l_.field = (value);                     \
		check_listen_refused(l_, #field, part); \
	} while (0)

TEST(config_listener_fields_out_of_range_are_named)
{
	CHECK_LISTEN(addr, NULL, "no address");
	CHECK_LISTEN(addr, "127.0.0.1", "no port");
	CHECK_LISTEN(addr, "localhost:80", "a name is not resolved here");
	CHECK_LISTEN(backlog, -1, "negative");
	CHECK_LISTEN(idle_timeout, -1, "negative");
	CHECK_LISTEN(close_timeout, -1, "negative");
	CHECK_LISTEN(close_max, -1, "negative");
	CHECK_LISTEN(send_stall, -1, "negative");
	CHECK_LISTEN(recv_max, (size_t)2 << 30, "is more than");
	CHECK_LISTEN(send_high, (size_t)17 << 30, "is more than");
	CHECK_LISTEN(send_low, (size_t)2 << 20, "more than send_high (1048576)");
	CHECK_LISTEN(max_conns, 99999999, "99999999 is more than 1048576");
	CHECK_LISTEN(keepalive_idle, RLN_MS(999), "less than 1000000000 ns");
	CHECK_LISTEN(keepalive_idle, RLN_SEC(32768), "is more than");
	CHECK_LISTEN(sndbuf, -1, "negative");
	CHECK_LISTEN(rcvbuf, -1, "negative");
}

TEST(config_listener_addresses_are_parsed)
{
	struct config c;
	rln_listen_opts l[4] = { plain, plain, plain, plain };

	l[0].addr = ":80";
	l[1].addr = "unix:/run/x";
	l[2].addr = "fd:3";
	l[3].addr = "[0::1]:80";
	resolve_ok(&(rln_config){ .listen = l, .nlisten = 4 }, &c);
	CHECK(c.listener[0].addr.every);
	CHECK_INT(c.listener[1].addr.sa.sa_family, ==, AF_UNIX);
	CHECK_INT(c.listener[2].addr.fd, ==, 3);
	CHECK_STR(c.listener[1].set.addr, "unix:/run/x");
	CHECK_STR(c.listener[2].set.addr, "fd:3");
	CHECK_STR(c.listener[3].set.addr, "[::1]:80");
	config_fini(&c);
}

/* ---- descriptor limit */

static void nofile_set(rlim_t n)
{
	CHECK(setrlimit(RLIMIT_NOFILE, &(struct rlimit){ n, n }) == 0);
}

TEST(config_default_connections_fit_the_descriptor_limit)
{
	struct config c;
	rln_listen_opts two[2] = { plain, plain };

	two[1].max_conns = 500;
	nofile_set(1000);
	resolve_ok(&(rln_config){ .listen = two, .nlisten = 2 }, &c);
	CHECK_INT(c.nofile_soft, ==, 1000);
	CHECK_INT(c.set.file_slots, ==, 250);
	CHECK_INT(c.listener[0].set.max_conns, ==, 250);
	CHECK_INT(c.listener[1].set.max_conns, ==, 500);
	CHECK_INT(c.auto_slots, ==, 750);
	config_fini(&c);
}

TEST(config_connections_beyond_the_descriptor_limit_are_named)
{
	rln_listen_opts two[2] = { plain, plain };

	nofile_set(1000);
	two[1].max_conns = 900;
	check_refused(&(rln_config){ .listen = two, .nlisten = 2 }, "listen[1].max_conns",
		      "raise ulimit -n");
	check_refused(&(rln_config){ .file_slots = 1000 }, "file_slots", "raise ulimit -n");
	two[1].max_conns = 0; /* one slot left for two that did not say how many they want */
	check_refused(&(rln_config){ .listen = two, .nlisten = 2, .file_slots = 999 }, "file_slots",
		      "raise ulimit -n");
}

TEST(config_soft_descriptor_limit_is_raised)
{
	struct rlimit was;
	struct config c;

	CHECK(getrlimit(RLIMIT_NOFILE, &was) == 0);
	CHECK(setrlimit(RLIMIT_NOFILE, &(struct rlimit){ 64, was.rlim_max }) == 0);
	resolve_ok(&(rln_config){ 0 }, &c);
	CHECK_INT(c.nofile_soft, >, 64);
	config_fini(&c);
}

/* ---- sizes of other versions */

TEST(config_smaller_structure_has_defaults_for_the_rest)
{
	struct config c;
	struct diag why = { 0 };
	struct {
		rln_config user;
	} old = { { .workers = 2, .max_tasks = 5, .drain_timeout = 77 } };

	CHECK_INT(
		config_resolve(&old.user, offsetof(rln_config, max_tasks), sizeof plain, &c, &why),
		==, 0);
	CHECK_INT(c.set.workers, ==, 2);
	CHECK_INT(c.set.max_tasks, ==, 65536);
	CHECK_INT(c.set.drain_timeout, ==, RLN_SEC(30));
	config_fini(&c);
}

TEST(config_larger_structure_is_legal_while_its_tail_is_zero)
{
	struct config c;
	struct diag why = { 0 };
	struct {
		rln_config user;
		uint64_t news;
	} new = { { .workers = 2 }, 0 };

	CHECK_INT(config_resolve(&new.user, sizeof new, sizeof plain, &c, &why), ==, 0);
	config_fini(&c);
	new.news = 1;
	CHECK_INT(config_resolve(&new.user, sizeof new, sizeof plain, &c, &why), ==, -E2BIG);
	CHECK_HAS(why.line, "ringline: config: it sets fields this library does not know");
}

struct newer_listen {
	rln_listen_opts opts;
	uint64_t news;
};

TEST(config_listen_array_is_walked_by_the_callers_stride)
{
	struct config c;
	struct diag why = { 0 };
	struct newer_listen l[2] = { { plain, 0 }, { plain, 0 } };
	rln_config user = { .listen = &l[0].opts, .nlisten = 2 };

	l[1].opts.addr = "127.0.0.1:4712";
	CHECK_INT(config_resolve(&user, sizeof user, sizeof l[0], &c, &why), ==, 0);
	CHECK_STR(c.listener[1].set.addr, "127.0.0.1:4712");
	config_fini(&c);
	l[1].news = 1;
	CHECK_INT(config_resolve(&user, sizeof user, sizeof l[0], &c, &why), ==, -E2BIG);
	CHECK_HAS(why.line, "config.listen[1]");
	CHECK(c.listener == NULL);
}

TEST(config_older_listen_array_is_walked_by_its_stride)
{
	struct older {
		const char *addr;
		void (*on_conn)(rln_conn c, void *arg);
	} l[2] = { { "127.0.0.1:1", on_conn }, { "127.0.0.1:2", on_conn } };
	rln_config user = { .listen = (const void *)l, .nlisten = 2 };
	struct config c;
	struct diag why = { 0 };

	CHECK_INT(config_resolve(&user, sizeof user, sizeof l[0], &c, &why), ==, 0);
	CHECK_STR(c.listener[1].set.addr, "127.0.0.1:2");
	CHECK_INT(c.listener[1].set.backlog, ==, 4096);
	config_fini(&c);
}

TEST(config_null_is_refused)
{
	struct config c;
	struct diag why = { 0 };
	rln_config user = { .listen = &plain, .nlisten = 1 };

	CHECK_INT(config_resolve(NULL, sizeof(rln_config), sizeof plain, &c, &why), ==, -EINVAL);
	CHECK_HAS(why.line, "config: NULL");
	CHECK_INT(config_resolve(&user, 0, sizeof plain, &c, &why), ==, -EINVAL);
	CHECK_INT(config_resolve(&user, sizeof user, 0, &c, &why), ==, -EINVAL);
	CHECK_HAS(why.line, "config.listen");
}

/* A field that is in no table would never be checked: adding one must come by here. */
TEST(config_no_field_was_added_unseen)
{
	CHECK_INT(sizeof(rln_config), ==, 200);
	CHECK_INT(sizeof(rln_listen_opts), ==, 136);
}
