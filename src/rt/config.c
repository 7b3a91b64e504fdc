/*
 * Resolving the configuration. The plain fields are checked by the tables in config_rules.c; here
 * stands what depends on the machine or on several fields at once.
 */
#include "rt/config.h"
#include "base/opts.h"
#include "base/sys.h"
#include "rt/config_rules.h"
#include "rt/cpu.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

/* ---- listeners */

static int handlers_check(const rln_listen_opts *l, bool required, const char *at, struct diag *why)
{
	int count = !!l->on_conn + !!l->on_request + !!l->cb;

	if (!count && required)
		return diag_set(
			why, -EINVAL,
			"ringline: %son_conn: no handler is set; set exactly one of on_conn, "
			"on_request and cb",
			at);
	if (count > 1)
		return diag_set(why, -EINVAL,
				"ringline: %s%s: more than one handler is set; set exactly one of "
				"on_conn, on_request and cb",
				at, l->cb ? "cb" : "on_request");
	if (l->cb && !l->cb->data)
		return diag_set(
			why, -EINVAL,
			"ringline: %scb.data: NULL; callback mode needs it to take the input", at);
	return 0;
}

static int listener_addr(struct config_listener *l, const char *at, struct diag *why)
{
	struct diag d;
	int r = addr_parse(l->set.addr, &l->addr, &d);

	if (r < 0)
		return diag_set(why, r, "ringline: %saddr: %s", at, d.line);
	if (l->addr.fd >= 0)
		snprintf(l->text, sizeof l->text, "fd:%d", l->addr.fd);
	else
		addr_text(&l->addr.sa, l->addr.bytes, l->text);
	l->set.addr = l->text;
	return 0;
}

static void listener_mode(struct config_listener *l)
{
	const rln_listen_opts *s = &l->set;

	if (s->cb) {
		l->callbacks = *s->cb;
		l->set.cb = &l->callbacks;
	}
	l->mode = (struct conn_mode){
		.on_conn = s->on_conn,
		.on_request = s->on_request,
		.cb = s->cb,
		.on_close = s->on_close,
		.arg = s->arg,
		.close_arg = s->arg,
		.idle_ns = s->idle_timeout,
		.close_timeout_ns = s->close_timeout,
		.close_max_ns = s->close_max,
		.send_stall_ns = s->send_stall,
		.recv_max = s->recv_max,
		.send_high = s->send_high,
		.send_low = s->send_low,
	};
}

int config_listener_resolve(struct config_listener *l, bool handler, const char *at,
			    struct diag *why)
{
	int r = config_rules_listen(&l->set, at, why);

	if (!r)
		r = handlers_check(&l->set, handler, at, why);
	if (!r)
		r = listener_addr(l, at, why);
	if (r < 0)
		return r;
	if (!l->set.send_low)
		l->set.send_low = l->set.send_high / 4;
	if (l->set.send_low > l->set.send_high)
		return diag_set(why, -EINVAL,
				"ringline: %ssend_low: %zu is more than send_high (%zu); senders "
				"would never go on",
				at, l->set.send_low, l->set.send_high);
	listener_mode(l);
	return 0;
}

static int listeners_resolve(const rln_config *user, size_t opts_size, struct config *c,
			     struct diag *why)
{
	const unsigned char *from = (const void *)user->listen;

	if (!c->set.nlisten && !c->set.listen)
		return 0;
	if (!c->set.nlisten)
		return diag_set(
			why, -EINVAL,
			"ringline: config.nlisten: 0 although listen is set; give the number "
			"of listeners");
	if (!c->set.listen || !opts_size)
		return diag_set(why, -EINVAL,
				"ringline: config.listen: NULL although nlisten is %u; give that "
				"many listeners",
				c->set.nlisten);
	c->listener = sys_zalloc(c->set.nlisten * sizeof *c->listener);
	if (!c->listener)
		return diag_set(why, -ENOMEM, "ringline: config.listen: out of memory");
	for (unsigned i = 0; i < c->set.nlisten; i++) {
		char at[48];
		rln_listen_opts *set = &c->listener[i].set;
		int r = opts_copy(set, sizeof *set, from + i * opts_size, opts_size);
		if (r < 0)
			return diag_set(why, r,
					"ringline: config.listen[%u]: it sets fields this library "
					"does not know; use the library the program was built for",
					i);
		snprintf(at, sizeof at, "config.listen[%u].", i);
		r = config_listener_resolve(&c->listener[i], true, at, why);
		if (r < 0)
			return r;
	}
	return 0;
}

/* ---- what depends on the machine or on other fields */

static unsigned pow2_below(uint64_t n)
{
	return n ? 1u << (31 - __builtin_clz(n > 1u << 31 ? 1u << 31 : (unsigned)n)) : 0;
}

/* One worker, on the thread of the program. Before the rules: they fill what is left 0. */
static int embed_resolve(rln_config *s, struct diag *why)
{
	const char *field = s->workers > 1 ? "workers" : s->spin ? "spin" : "sqpoll";

	if (!s->embed)
		return 0;
	if (s->workers > 1 || s->spin || s->sqpoll)
		return diag_set(why, -EINVAL,
				"ringline: config.%s: does not go with embed, whose one worker has "
				"no thread of its own; leave it 0",
				field);
	s->workers = 1;
	s->no_pin = true;
	if (!s->stall_warn)
		s->stall_warn = RLN_FOREVER;
	return 0;
}

static void workers_resolve(struct config *c)
{
	if (!c->set.workers)
		c->set.workers = cpu_worker_count();
	if (c->set.workers > CONFIG_WORKERS_MAX)
		c->set.workers = CONFIG_WORKERS_MAX;
}

static int sizes_resolve(struct config *c, struct diag *why)
{
	rln_config *s = &c->set;
	uint64_t room;

	if (!s->cq_entries)
		s->cq_entries = s->sq_entries > 16384 ? 65536 : s->sq_entries * 4;
	if (s->cq_entries < s->sq_entries * 2)
		return diag_set(
			why, -EINVAL,
			"ringline: config.cq_entries: %u is less than twice sq_entries (%u); "
			"use %u or more, or 0 for the default",
			s->cq_entries, s->sq_entries, s->sq_entries * 2);
	c->memory_bytes = sys_memory_allowed();
	room = (uint64_t)s->recv_bufs * s->recv_buf_size;
	if (!s->buffer_budget) {
		s->buffer_budget = c->memory_bytes / 8 / s->workers;
		if (s->buffer_budget < room)
			s->buffer_budget = room;
	}
	if (s->buffer_budget < s->recv_buf_size)
		return diag_set(
			why, -EINVAL,
			"ringline: config.buffer_budget: %zu is less than recv_buf_size (%u); "
			"nothing could be received",
			s->buffer_budget, s->recv_buf_size);
	c->recv_bufs_max = pow2_below(s->buffer_budget / 4 / s->recv_buf_size);
	if (c->recv_bufs_max > CONFIG_RECV_BUFS_MAX)
		c->recv_bufs_max = CONFIG_RECV_BUFS_MAX;
	if (c->recv_bufs_max < s->recv_bufs)
		c->recv_bufs_max = s->recv_bufs;
	return 0;
}

static int tasks_resolve(struct config *c, struct diag *why)
{
	rln_config *s = &c->set;
	size_t page = sys_page_size();

	if (s->stack_guard % page)
		return diag_set(why, -EINVAL,
				"ringline: config.stack_guard: %zu is not a multiple of the page "
				"size; use a multiple of %zu, or 0 for the default",
				s->stack_guard, page);
	if (!s->stacks_prewarm)
		s->stacks_prewarm = s->max_tasks < 64 ? s->max_tasks : 64;
	if (s->stacks_prewarm > s->max_tasks)
		return diag_set(why, -EINVAL,
				"ringline: config.stacks_prewarm: %u is more than max_tasks (%u)",
				s->stacks_prewarm, s->max_tasks);
	if (!s->stacks_keep)
		s->stacks_keep = s->stacks_prewarm > 1024 ? s->stacks_prewarm : 1024;
	if (s->stacks_keep < s->stacks_prewarm)
		return diag_set(
			why, -EINVAL,
			"ringline: config.stacks_keep: %u is less than stacks_prewarm (%u); "
			"keep at least as many",
			s->stacks_keep, s->stacks_prewarm);
	return 0;
}

static int sqpoll_resolve(struct config *c, struct diag *why)
{
	rln_config *s = &c->set;

	if (!s->sqpoll && (s->sqpoll_idle_ms || s->sqpoll_cpu_plus1))
		return diag_set(why, -EINVAL,
				"ringline: config.%s: set without sqpoll; set sqpoll too, or leave "
				"it 0",
				s->sqpoll_idle_ms ? "sqpoll_idle_ms" : "sqpoll_cpu_plus1");
	if (s->sqpoll && !s->sqpoll_idle_ms)
		s->sqpoll_idle_ms = 1000;
	return 0;
}

/*
 * Divide the descriptor table: what the listeners ask for, and the explicit slots. The kernel
 * accepts a table of at most RLIMIT_NOFILE entries per ring.
 */
static int slots_check(struct config *c, uint64_t limit, uint64_t asked, struct diag *why)
{
	unsigned i = 0;

	if (c->set.file_slots >= limit)
		return diag_set(why, -EINVAL,
				"ringline: config.file_slots: %u is more than the descriptor table "
				"holds (%llu); raise ulimit -n, or ask for fewer",
				c->set.file_slots, (unsigned long long)limit);
	if (asked + c->set.file_slots <= limit)
		return 0;
	while (i < c->set.nlisten && !c->listener[i].set.max_conns)
		i++;
	if (i == c->set.nlisten)
		return diag_set(why, -EINVAL,
				"ringline: config.file_slots: %u leaves no room for connections in "
				"the descriptor table (%llu); raise ulimit -n, or ask for fewer",
				c->set.file_slots, (unsigned long long)limit);
	return diag_set(
		why, -EINVAL,
		"ringline: config.listen[%u].max_conns: %u is more than the descriptor table "
		"holds (%llu in all, %u for file_slots); raise ulimit -n, or ask for fewer",
		i, c->listener[i].set.max_conns, (unsigned long long)limit, c->set.file_slots);
}

static int slots_resolve(struct config *c, struct diag *why)
{
	uint64_t limit, asked = 0, share = 16384;
	unsigned undecided = 0;
	int r;

	sys_nofile_raise(&c->nofile_soft, &c->nofile_hard);
	limit = c->nofile_soft < CONFIG_SLOTS_MAX ? c->nofile_soft : CONFIG_SLOTS_MAX;
	if (!c->set.file_slots)
		c->set.file_slots = limit / 4 < 1024 ? (unsigned)(limit / 4) : 1024;
	for (unsigned i = 0; i < c->set.nlisten; i++) {
		asked += c->listener[i].set.max_conns;
		undecided += !c->listener[i].set.max_conns;
	}
	r = slots_check(c, limit, asked + undecided, why);
	if (r < 0)
		return r;
	if (undecided && share > (limit - c->set.file_slots - asked) / undecided)
		share = (limit - c->set.file_slots - asked) / undecided;
	for (unsigned i = 0; i < c->set.nlisten; i++)
		if (!c->listener[i].set.max_conns)
			c->listener[i].set.max_conns = (unsigned)share;
	asked += undecided * share;
	/* connections that are handed over, and listeners made at run time, need room too */
	uint64_t left = limit - c->set.file_slots - asked;
	uint64_t spare = c->set.nlisten ? CONFIG_SPARE_SLOTS : CONFIG_SPARE_ALONE;
	c->auto_slots = (unsigned)(asked + (spare < left ? spare : left));
	return 0;
}

int config_resolve(const rln_config *user, size_t cfg_size, size_t opts_size, struct config *out,
		   struct diag *why)
{
	rln_config *s = &out->set;
	int r;

	memset(out, 0, sizeof *out);
	if (!user || !cfg_size)
		return diag_set(why, -EINVAL, "ringline: config: NULL; give a zeroed rln_config");
	if (opts_copy(s, sizeof *s, user, cfg_size) < 0)
		return diag_set(why, -E2BIG,
				"ringline: config: it sets fields this library does not know; use "
				"the library the program was built for");
	r = embed_resolve(s, why);
	if (!r)
		r = config_rules(s, why);
	if (!r)
		r = listeners_resolve(s, opts_size, out, why);
	workers_resolve(out);
	if (!r)
		r = sizes_resolve(out, why);
	if (!r)
		r = tasks_resolve(out, why);
	if (!r)
		r = sqpoll_resolve(out, why);
	if (!r)
		r = slots_resolve(out, why);
	if (r < 0) {
		config_fini(out);
		return r;
	}
	s->listen = NULL;
	out->log = (struct log_sink){ s->log, s->arg };
	return 0;
}

void config_fini(struct config *c)
{
	sys_free(c->listener);
	c->listener = NULL;
}
