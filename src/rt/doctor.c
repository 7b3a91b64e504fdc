/*
 * The report of rln_doctor(): reads what the probe of the kernel and the resolved default
 * configuration say, and adds this process's limits. Decides nothing: whether a runtime can start
 * is caps' and config's word.
 */
#include "ringline/doctor.h"

#include "base/sys.h"
#include "io/conn.h"
#include "op/op_kinds.h"
#include "ring/caps.h"
#include "ring/ring.h"
#include "ring/uapi.h"
#include "rt/config.h"
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PROBLEMS_MAX 12
#define PAGES_OF_A_STACK 1 /* touched by a task that waits in rln_recv() */

struct report {
	char *buf;
	size_t cap, len;
	bool json, cut, comma;
};

struct facts {
	const struct caps *caps;
	struct caps probed;
	struct config cfg;
	bool configured, can_start;
	char kernel[80];
	uint64_t nofile, memlock, maps; /* UINT64_MAX: no limit */
	unsigned missing_ops;
	char missing[200]; /* their names */
	char problem[PROBLEMS_MAX][DIAG_MAX];
	unsigned problems;
};

__attribute__((format(printf, 2, 3))) static void put(struct report *r, const char *fmt, ...)
{
	size_t room = r->cap - r->len;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(r->buf + r->len, room, fmt, ap);
	va_end(ap);
	if (n < 0 || (size_t)n >= room) {
		r->cut = true;
		r->len = r->cap - 1;
	} else {
		r->len += (size_t)n;
	}
}

static void put_json_string(struct report *r, const char *s)
{
	put(r, "\"");
	for (; *s; s++) {
		if (*s == '"' || *s == '\\')
			put(r, "\\%c", *s);
		else if ((unsigned char)*s < 0x20)
			put(r, "\\u%04x", (unsigned)*s);
		else
			put(r, "%c", *s);
	}
	put(r, "\"");
}

/* ---- gathering */
__attribute__((format(printf, 2, 3))) static void problem(struct facts *f, const char *fmt, ...)
{
	va_list ap;

	if (f->problems == PROBLEMS_MAX)
		return;
	va_start(ap, fmt);
	vsnprintf(f->problem[f->problems++], DIAG_MAX, fmt, ap);
	va_end(ap);
}

/* The soft limit in the line of /proc/self/limits that begins with name. */
static uint64_t limit_of(const char *text, const char *name)
{
	const char *line = strstr(text, name);

	if (!line)
		return UINT64_MAX;
	line += strlen(name);
	line += strspn(line, " ");
	return *line == 'u' ? UINT64_MAX : strtoull(line, NULL, 10);
}

static void read_limits(struct facts *f)
{
	char text[4096];

	if (sys_read_file("/proc/sys/kernel/osrelease", f->kernel, sizeof f->kernel) < 0)
		snprintf(f->kernel, sizeof f->kernel, "unknown");
	f->kernel[strcspn(f->kernel, "\n")] = '\0';
	f->nofile = f->memlock = f->maps = UINT64_MAX;
	if (sys_read_file("/proc/self/limits", text, sizeof text) > 0) {
		f->nofile = limit_of(text, "Max open files");
		f->memlock = limit_of(text, "Max locked memory");
	}
	if (sys_read_file("/proc/sys/vm/max_map_count", text, sizeof text) > 0)
		f->maps = strtoull(text, NULL, 10);
}

static void find_missing_ops(struct facts *f)
{
	bool seen[256] = { false };
	size_t n = 0;

	for (int k = 0; k < OP_KIND_COUNT; k++) {
		unsigned opcode = op_kind_opcode((enum op_kind)k);

		if (opcode < sizeof f->caps->opcodes && f->caps->opcodes[opcode])
			continue;
		if (seen[opcode & 255])
			continue;
		seen[opcode & 255] = true;
		f->missing_ops++;
		n += (size_t)snprintf(f->missing + n, sizeof f->missing - n, "%s%s", n ? ", " : "",
				      op_kind_name((enum op_kind)k));
		if (n >= sizeof f->missing)
			return;
	}
}

static void doctor_on_conn(rln_conn c, void *arg)
{
	(void)c;
	(void)arg;
}

static void resolve_default(struct facts *f)
{
	const rln_listen_opts listen = { .addr = "127.0.0.1:0", .on_conn = doctor_on_conn };
	const rln_config cfg = { .listen = &listen, .nlisten = 1 };
	struct diag why = { 0 };

	f->configured = config_resolve(&cfg, sizeof cfg, sizeof listen, &f->cfg, &why) == 0;
	if (!f->configured)
		problem(f, "%s", why.line);
}

static void judge(struct facts *f)
{
	const rln_config *c = &f->cfg.set;

	f->can_start = f->caps->ok && f->configured;
	if (!f->caps->ok)
		problem(f, "%s", f->caps->why.line);
	if (f->caps->ok && f->missing_ops)
		problem(f, "operations: this kernel lacks %s; what uses them answers -EOPNOTSUPP",
			f->missing);
	if (f->nofile < 4096)
		problem(f,
			"open files: at most %llu, so few connections fit; raise the hard limit "
			"(ulimit -Hn, LimitNOFILE= in a systemd unit)",
			(unsigned long long)f->nofile);
	if (f->configured && f->caps->ok && !f->caps->guard_install && f->maps / 2 < c->max_tasks)
		problem(f,
			"vm.max_map_count: %llu; a stack takes two mappings on this kernel, so "
			"%llu tasks fit in the process; sysctl vm.max_map_count=%llu for more",
			(unsigned long long)f->maps, (unsigned long long)f->maps / 2,
			(unsigned long long)c->max_tasks * 2 * c->workers);
}

/* ---- set-up flags */
static const struct {
	uint32_t flag;
	const char *name;
} setup_names[] = {
	{ IORING_SETUP_SINGLE_ISSUER, "SINGLE_ISSUER" },
	{ IORING_SETUP_DEFER_TASKRUN, "DEFER_TASKRUN" },
	{ IORING_SETUP_COOP_TASKRUN, "COOP_TASKRUN" },
	{ IORING_SETUP_SUBMIT_ALL, "SUBMIT_ALL" },
	{ IORING_SETUP_CQSIZE, "CQSIZE" },
	{ RU_SETUP_NO_SQARRAY, "NO_SQARRAY" },
	{ IORING_SETUP_R_DISABLED, "R_DISABLED" },
};

static void put_setup(struct report *r, uint32_t flags)
{
	bool first = true;

	for (unsigned i = 0; i < sizeof setup_names / sizeof setup_names[0]; i++) {
		if (!(flags & setup_names[i].flag))
			continue;
		if (r->json)
			put(r, "%s\"%s\"", first ? "" : ",", setup_names[i].name);
		else
			put(r, "%s%s", first ? "" : " ", setup_names[i].name);
		first = false;
	}
}

static void put_feature(struct report *r, bool have, const char *name, const char *gives,
			const char *since)
{
	if (!r->json) {
		put(r, "  %-3s %-30s %s%s%s%s\n", have ? "yes" : "no", name, gives,
		    have ? "" : " (Linux ", have ? "" : since, have ? "" : ")");
		return;
	}
	put(r, "%s", r->comma ? "," : "");
	r->comma = true;
	put_json_string(r, name);
	put(r, ":%s", have ? "true" : "false");
}

static void put_features(struct report *r, const struct caps *c)
{
	r->comma = false;
#define DOCTOR_FEATURE(field, name, gives, since) put_feature(r, c->field, name, gives, since);
	CAPS_FEATURES(DOCTOR_FEATURE)
#undef DOCTOR_FEATURE
}

/* ---- numbers, one way for both forms: `bytes` has a unit in the text */
static void put_number(struct report *r, const char *key, const char *what, uint64_t n, bool bytes)
{
	static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB" };
	double v = (double)n;
	unsigned unit = 0;

	if (r->json) {
		put(r, "%s\"%s\":", r->comma ? "," : "", key);
		r->comma = true;
		if (n == UINT64_MAX)
			put(r, "null");
		else
			put(r, "%llu", (unsigned long long)n);
		return;
	}
	if (n == UINT64_MAX) {
		put(r, "  %14s  %s\n", "unlimited", what);
		return;
	}
	if (!bytes) {
		put(r, "  %14llu  %s\n", (unsigned long long)n, what);
		return;
	}
	for (; v >= 1024 && unit < 4; unit++)
		v /= 1024;
	put(r, "  %10.*f %-3s  %s\n", unit ? 1 : 0, v, units[unit], what);
}

static void put_limits(struct report *r, const struct facts *f)
{
	r->comma = false;
	put_number(r, "open_files", "open files (soft limit, raised to the hard one)", f->nofile,
		   false);
	put_number(r, "locked_memory_bytes", "locked memory: registered buffers", f->memlock, true);
	put_number(r, "max_map_count", "mappings of a process (vm.max_map_count)", f->maps, false);
	put_number(r, "memory_bytes", "memory this process may use", f->cfg.memory_bytes, true);
}

static void put_memory(struct report *r, const struct facts *f)
{
	const rln_config *c = &f->cfg.set;
	uint64_t ring = (uint64_t)c->sq_entries *
				(sizeof(struct io_uring_sqe) + sizeof(struct ring_scratch)) +
			(uint64_t)c->cq_entries * sizeof(struct io_uring_cqe);
	uint64_t bufs = (uint64_t)c->recv_bufs * c->recv_buf_size;
	uint64_t stack = (uint64_t)PAGES_OF_A_STACK * sys_page_size();

	r->comma = false;
	put_number(r, "workers", "workers; all that follows is for each of them", c->workers,
		   false);
	put_number(r, "ring_bytes", "submission and completion ring", ring, true);
	put_number(r, "receive_buffers_bytes", "receive buffers at first", bufs, true);
	put_number(r, "receive_buffers_max_bytes", "receive buffers at most",
		   (uint64_t)f->cfg.recv_bufs_max * c->recv_buf_size, true);
	put_number(r, "stacks_bytes", "stacks made at start (what they touch)",
		   c->stacks_prewarm * stack, true);
	put_number(r, "stacks_reserved_bytes", "address space of one stack",
		   c->stack_size + c->stack_guard, true);
	put_number(r, "connections_max", "connections at most (max_conns of one listener)",
		   c->nlisten ? f->cfg.listener[0].set.max_conns : 0, false);
	put_number(r, "connection_bytes", "a connection, idle, without a task", sizeof(struct conn),
		   true);
	put_number(r, "connection_task_bytes", "a connection, idle, with a task",
		   sizeof(struct conn) + stack, true);
	put_number(r, "buffer_budget_bytes", "bytes queued by all connections at most",
		   c->buffer_budget, true);
}

/* ---- the two forms */
static void write_text(struct report *r, const struct facts *f)
{
	put(r, "kernel      Linux %s\n", f->kernel);
	if (f->caps->ok) {
		put(r, "ring        ");
		put_setup(r, f->caps->setup_flags);
		put(r, "\noperations  %u known to the kernel, %u of the library's missing%s%s\n",
		    f->caps->opcode_count, f->missing_ops, f->missing_ops ? ": " : "", f->missing);
		put(r, "\nfeatures, found by trying\n");
		put_features(r, f->caps);
	}
	put(r, "\nlimits\n");
	put_limits(r, f);
	if (f->configured) {
		put(r, "\nmemory of the default configuration\n");
		put_memory(r, f);
	}
	put(r, "\n");
	for (unsigned i = 0; i < f->problems; i++)
		put(r, "problem     %s\n", f->problem[i]);
	put(r, "%s\n", f->can_start ? "A runtime can start here." : "A runtime cannot start here.");
}

static void write_json(struct report *r, const struct facts *f)
{
	put(r, "{\"ok\":%s,\"kernel\":", f->can_start ? "true" : "false");
	put_json_string(r, f->kernel);
	put(r, ",\"setup\":[");
	put_setup(r, f->caps->setup_flags);
	put(r, "],\"operations\":%u,\"operations_missing\":", f->caps->opcode_count);
	put_json_string(r, f->missing);
	put(r, ",\"features\":{");
	put_features(r, f->caps);
	put(r, "},\"limits\":{");
	put_limits(r, f);
	put(r, "},\"memory\":{");
	if (f->configured)
		put_memory(r, f);
	put(r, "},\"problems\":[");
	for (unsigned i = 0; i < f->problems; i++) {
		put(r, "%s", i ? "," : "");
		put_json_string(r, f->problem[i]);
	}
	put(r, "]}\n");
}

int rln_doctor(char *buf, size_t cap, bool json)
{
	struct report r = { .buf = buf, .cap = cap, .json = json };
	struct facts *f;
	bool ok;

	if (!buf || !cap)
		return -EINVAL;
	buf[0] = '\0';
	f = sys_zalloc(sizeof *f);
	if (!f) {
		put(&r, json ? "{\"ok\":false,\"problems\":[\"out of memory\"]}\n"
			     : "problem     out of memory\n");
		return 1;
	}
	f->caps = caps_get(&f->probed);
	resolve_default(f);
	read_limits(f);
	if (f->caps->ok)
		find_missing_ops(f);
	judge(f);
	(json ? write_json : write_text)(&r, f);
	ok = f->can_start;
	if (f->configured)
		config_fini(&f->cfg);
	sys_free(f);
	return r.cut ? -EMSGSIZE : ok ? 0 : 1;
}
