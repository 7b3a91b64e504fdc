/*
 * Ranges and defaults of the configuration's plain fields.
 */
#include "rt/config_rules.h"
#include "rt/config.h"
#include <errno.h>
#include <limits.h>
#include <string.h>

enum rule_type { RULE_UNSIGNED, RULE_INT, RULE_SIZE, RULE_NS };

struct rule {
	const char *name;
	size_t at;
	enum rule_type type;
	bool pow2;
	int64_t fill;	  /* 0: left 0, for "none" or a default that depends on other fields */
	int64_t min, max; /* of a value that is not 0; max INT64_MAX: no limit */
};

#define KIB(n) ((int64_t)(n) << 10)
#define MIB(n) ((int64_t)(n) << 20)
#define GIB(n) ((int64_t)(n) << 30)

#if defined(__aarch64__)
#define GUARD_BYTES KIB(64) /* gcc probes that far apart there */
#else
#define GUARD_BYTES KIB(16)
#endif

#define FIELD(s, f, type, fill, min, max)                       \
	{                                                       \
#f, offsetof(s, f), type, false, fill, min, max \
	}
#define POW2(s, f, fill, min, max)                                      \
	{                                                               \
#f, offsetof(s, f), RULE_UNSIGNED, true, fill, min, max \
	}
#define TIME(s, f, fill) FIELD(s, f, RULE_NS, fill, 0, INT64_MAX)

#define CFG rln_config
static const struct rule cfg_rules[] = {
	FIELD(CFG, workers, RULE_UNSIGNED, 0, 1, CONFIG_WORKERS_MAX),
	FIELD(CFG, nlisten, RULE_UNSIGNED, 0, 1, CONFIG_LISTEN_MAX),
	FIELD(CFG, stack_size, RULE_SIZE, KIB(128), KIB(16), MIB(8)),
	FIELD(CFG, stack_guard, RULE_SIZE, GUARD_BYTES, KIB(4), MIB(1)),
	FIELD(CFG, max_tasks, RULE_UNSIGNED, 65536, 1, (1 << 24) - 1),
	FIELD(CFG, stacks_prewarm, RULE_UNSIGNED, 0, 1, 1 << 20),
	FIELD(CFG, stacks_keep, RULE_UNSIGNED, 0, 1, 1 << 20),
	TIME(CFG, stack_trim_idle, RLN_SEC(5)),
	POW2(CFG, sq_entries, 1024, 2, 32768),
	POW2(CFG, cq_entries, 0, 4, 65536),
	POW2(CFG, recv_bufs, 256, 1, 32768),
	FIELD(CFG, recv_buf_size, RULE_UNSIGNED, 4096, 16, MIB(1)),
	FIELD(CFG, file_slots, RULE_UNSIGNED, 0, 1, CONFIG_SLOTS_MAX),
	FIELD(CFG, buffer_budget, RULE_SIZE, 0, 16, INT64_MAX),
	FIELD(CFG, zc_threshold, RULE_SIZE, KIB(64), 1, INT64_MAX),
	FIELD(CFG, spin, RULE_NS, 0, 0, RLN_SEC(1)),
	FIELD(CFG, sqpoll_idle_ms, RULE_UNSIGNED, 0, 1, 3600 * 1000),
	FIELD(CFG, sqpoll_cpu_plus1, RULE_INT, 0, 1, 65536),
	FIELD(CFG, blocking_threads, RULE_UNSIGNED, 4, 1, 1024),
	TIME(CFG, drain_idle, RLN_SEC(1)),
	TIME(CFG, drain_timeout, RLN_SEC(30)),
	TIME(CFG, kill_timeout, RLN_SEC(5)),
	TIME(CFG, stall_warn, RLN_MS(500)),
};

#define LST rln_listen_opts
static const struct rule listen_rules[] = {
	FIELD(LST, backlog, RULE_INT, 4096, 1, INT_MAX),
	TIME(LST, idle_timeout, 0),
	TIME(LST, close_timeout, RLN_SEC(5)),
	TIME(LST, close_max, RLN_SEC(60)),
	TIME(LST, send_stall, RLN_SEC(60)),
	FIELD(LST, recv_max, RULE_SIZE, MIB(1), 1, GIB(1)),
	FIELD(LST, send_high, RULE_SIZE, MIB(1), 1, GIB(16)),
	FIELD(LST, send_low, RULE_SIZE, 0, 1, GIB(16)),
	FIELD(LST, max_conns, RULE_UNSIGNED, 0, 1, CONFIG_SLOTS_MAX),
	FIELD(LST, keepalive_idle, RULE_NS, 0, RLN_SEC(1), RLN_SEC(32767)),
	FIELD(LST, sndbuf, RULE_INT, 0, 1, INT_MAX),
	FIELD(LST, rcvbuf, RULE_INT, 0, 1, INT_MAX),
};

/* A size above INT64_MAX reads as INT64_MAX: no rule has a limit between. */
static int64_t rule_read(const struct rule *r, const unsigned char *at)
{
	unsigned u;
	size_t z;
	int64_t v;
	int i;

	switch (r->type) {
	case RULE_UNSIGNED:
		memcpy(&u, at, sizeof u);
		return u;
	case RULE_INT:
		memcpy(&i, at, sizeof i);
		return i;
	case RULE_SIZE:
		memcpy(&z, at, sizeof z);
		return z > INT64_MAX ? INT64_MAX : (int64_t)z;
	case RULE_NS:
		break;
	}
	memcpy(&v, at, sizeof v);
	return v;
}

static void rule_fill(const struct rule *r, unsigned char *at)
{
	unsigned u = (unsigned)r->fill;
	size_t z = (size_t)r->fill;
	int i = (int)r->fill;

	switch (r->type) {
	case RULE_UNSIGNED:
		memcpy(at, &u, sizeof u);
		break;
	case RULE_INT:
		memcpy(at, &i, sizeof i);
		break;
	case RULE_SIZE:
		memcpy(at, &z, sizeof z);
		break;
	case RULE_NS:
		memcpy(at, &r->fill, sizeof r->fill);
		break;
	}
}

static int rule_refuse(const struct rule *r, int64_t v, const char *at, struct diag *why)
{
	const char *unit = r->type == RULE_NS ? " ns" : "";
	long long n = v, min = r->min, max = r->max;

	if (v < 0)
		return diag_set(why, -EINVAL,
				"ringline: %s%s: %lld%s is negative; use 0 for the default", at,
				r->name, n, unit);
	if (v < r->min)
		return diag_set(
			why, -EINVAL,
			"ringline: %s%s: %lld%s is less than %lld%s; use at least that, or 0 "
			"for the default",
			at, r->name, n, unit, min, unit);
	if (v > r->max)
		return diag_set(
			why, -EINVAL,
			"ringline: %s%s: %lld%s is more than %lld%s; use at most that, or 0 "
			"for the default",
			at, r->name, n, unit, max, unit);
	return diag_set(
		why, -EINVAL,
		"ringline: %s%s: %lld is not a power of two; use one from %lld to %lld, or 0 "
		"for the default",
		at, r->name, n, min, max);
}

static int rules_apply(const struct rule *rules, size_t count, void *s, const char *at,
		       struct diag *why)
{
	static const int64_t ns_max = CONFIG_NS_MAX;

	for (const struct rule *r = rules; r < rules + count; r++) {
		unsigned char *field = (unsigned char *)s + r->at;
		int64_t v = rule_read(r, field);
		if (!v) {
			rule_fill(r, field);
			continue;
		}
		if (v < r->min || v > r->max || v < 0 || (r->pow2 && (v & (v - 1))))
			return rule_refuse(r, v, at, why);
		if (r->type == RULE_NS && v > ns_max)
			memcpy(field, &ns_max, sizeof ns_max);
	}
	return 0;
}

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

int config_rules(rln_config *c, struct diag *why)
{
	return rules_apply(cfg_rules, COUNT(cfg_rules), c, "config.", why);
}

int config_rules_listen(rln_listen_opts *l, const char *at, struct diag *why)
{
	return rules_apply(listen_rules, COUNT(listen_rules), l, at, why);
}
