/*
 * The commands that work on keys. Each takes the lock once, does its work in memory, leaves, and
 * then writes its reply: values are referenced, so even a big one is copied without the lock.
 */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kv/cmd.h"

static struct kv_entry *find(struct kv_call *x, size_t i, int64_t now)
{
	struct kv_arg key = kv_arg(x, i);

	return kv_db_find(&x->kv->db, key.data, key.len, now);
}

/* A reference to the value, or NULL; counts the look-up. */
static struct kv_value *look_up(struct kv_call *x, size_t i, int64_t now)
{
	struct kv_entry *e = find(x, i, now);

	atomic_fetch_add_explicit(e ? &x->kv->hits : &x->kv->misses, 1, memory_order_relaxed);
	return e ? kv_value_ref(kv_entry_value(e)) : NULL;
}

static void reply_value(struct kv_call *x, struct kv_value *v)
{
	if (v)
		kv_out_bulk(x->out, v->data, v->len);
	else
		kv_out_null(x->out);
	kv_value_unref(v);
}

static void reply_no_memory(struct kv_call *x)
{
	kv_out_error(x->out, "OOM out of memory");
}

void kv_cmd_get(struct kv_call *x)
{
	int64_t now = kv_enter(x->kv);
	struct kv_value *v = look_up(x, 1, now);

	kv_leave(x->kv);
	reply_value(x, v);
}

struct set_options {
	bool nx, xx, get, keep;
	size_t time_arg; /* 0: none */
	bool seconds, absolute;
};

/* Returns false when the word at *i is no option here; moves *i over the option's argument. */
static bool set_option(struct kv_call *x, size_t *i, struct set_options *o)
{
	if (kv_arg_is(x, *i, "nx") && !o->xx)
		return o->nx = true;
	if (kv_arg_is(x, *i, "xx") && !o->nx)
		return o->xx = true;
	if (kv_arg_is(x, *i, "get"))
		return o->get = true;
	if (kv_arg_is(x, *i, "keepttl") && o->time_arg == 0)
		return o->keep = true;
	o->seconds = kv_arg_is(x, *i, "ex") || kv_arg_is(x, *i, "exat");
	o->absolute = kv_arg_is(x, *i, "exat") || kv_arg_is(x, *i, "pxat");
	if (!o->seconds && !o->absolute && !kv_arg_is(x, *i, "px"))
		return false;
	if (o->time_arg != 0 || o->keep || *i + 1 == x->argc)
		return false;
	o->time_arg = ++*i;
	return true;
}

/* The point in time that option argument means; false: an error has been replied. */
static bool set_time(struct kv_call *x, const struct set_options *o, int64_t *at)
{
	int64_t base = o->absolute ? 0 : kv_now(x->kv);
	long long v;

	*at = 0;
	if (o->time_arg == 0)
		return true;
	if (!kv_arg_integer(x, o->time_arg, &v))
		return false;
	if (v <= 0 || (o->seconds && v > LLONG_MAX / 1000))
		goto invalid;
	v *= o->seconds ? 1000 : 1;
	if (v > LLONG_MAX - base)
		goto invalid;
	*at = v + base;
	return true;
invalid:
	kv_out_error(x->out, "ERR invalid expire time in '%s' command", x->name);
	return false;
}

/* Store v under argument i. False: no memory, nothing stored. */
static bool store(struct kv_call *x, size_t i, struct kv_value *v, int64_t now, bool keep,
		  int64_t at)
{
	struct kv_arg key = kv_arg(x, i);
	struct kv_entry *e = kv_db_put(&x->kv->db, key.data, key.len, v, now);

	if (!e)
		return false;
	if (!keep && !kv_db_set_expire(&x->kv->db, e, at)) {
		/* a key that would outlive its time is worse than none */
		kv_value_ref(v);
		kv_db_del(&x->kv->db, e);
		return false;
	}
	return true;
}

void kv_cmd_set(struct kv_call *x)
{
	struct set_options o = { 0 };
	struct kv_value *v, *old = NULL;
	bool exists, wanted, stored = false;
	int64_t at, now;

	for (size_t i = 3; i < x->argc; i++) {
		if (!set_option(x, &i, &o)) {
			kv_out_error(x->out, "ERR syntax error");
			return;
		}
	}
	if (!set_time(x, &o, &at))
		return;
	v = kv_value_new(kv_arg(x, 2).data, kv_arg(x, 2).len);
	now = kv_enter(x->kv);
	if (o.get)
		old = look_up(x, 1, now);
	exists = (o.nx || o.xx) && find(x, 1, now);
	wanted = !(o.nx && exists) && !(o.xx && !exists);
	if (v && wanted)
		stored = store(x, 1, v, now, o.keep, at);
	kv_leave(x->kv);
	if (!stored)
		kv_value_unref(v);
	if (!v || stored != wanted) {
		kv_value_unref(old);
		reply_no_memory(x);
	} else if (o.get) {
		reply_value(x, old);
	} else if (stored) {
		kv_out_simple(x->out, "OK");
	} else {
		kv_out_null(x->out);
	}
}

void kv_cmd_del(struct kv_call *x)
{
	int64_t now = kv_enter(x->kv);
	long long count = 0;

	for (size_t i = 1; i < x->argc; i++) {
		struct kv_entry *e = find(x, i, now);

		if (e) {
			kv_db_del(&x->kv->db, e);
			count++;
		}
	}
	kv_leave(x->kv);
	kv_out_integer(x->out, count);
}

void kv_cmd_exists(struct kv_call *x)
{
	int64_t now = kv_enter(x->kv);
	long long count = 0;

	for (size_t i = 1; i < x->argc; i++)
		count += find(x, i, now) != NULL;
	kv_leave(x->kv);
	kv_out_integer(x->out, count);
}

/* Add by to the number at key 1, with the lock held. Returns NULL or what is wrong. */
static const char *add(struct kv_call *x, long long by, int64_t now, long long *sum)
{
	struct kv_entry *e = find(x, 1, now);
	struct kv_value *v = e ? kv_entry_value(e) : NULL;
	long long old = 0;
	char text[24];

	if (v && !kv_parse_integer(v->data, v->len, &old))
		return "ERR value is not an integer or out of range";
	if (__builtin_add_overflow(old, by, sum))
		return "ERR increment or decrement would overflow";
	v = kv_value_new(text, (size_t)snprintf(text, sizeof text, "%lld", *sum));
	if (v && store(x, 1, v, now, true, 0))
		return NULL;
	kv_value_unref(v);
	return "OOM out of memory";
}

static void increment(struct kv_call *x, long long by)
{
	long long sum = 0;
	int64_t now = kv_enter(x->kv);
	const char *error = add(x, by, now, &sum);

	kv_leave(x->kv);
	if (error)
		kv_out_error(x->out, "%s", error);
	else
		kv_out_integer(x->out, sum);
}

void kv_cmd_incr(struct kv_call *x)
{
	increment(x, 1);
}

void kv_cmd_decr(struct kv_call *x)
{
	increment(x, -1);
}

void kv_cmd_incrby(struct kv_call *x)
{
	long long by;

	if (kv_arg_integer(x, 2, &by))
		increment(x, by);
}

void kv_cmd_decrby(struct kv_call *x)
{
	long long by;

	if (!kv_arg_integer(x, 2, &by))
		return;
	if (by == LLONG_MIN)
		kv_out_error(x->out, "ERR decrement would overflow");
	else
		increment(x, -by);
}

void kv_cmd_mget(struct kv_call *x)
{
	size_t count = x->argc - 1;
	struct kv_value *few[16], **values = few;
	int64_t now;

	if (count > sizeof few / sizeof few[0])
		values = malloc(count * sizeof *values);
	if (!values) {
		reply_no_memory(x);
		return;
	}
	now = kv_enter(x->kv);
	for (size_t i = 0; i < count; i++)
		values[i] = look_up(x, i + 1, now);
	kv_leave(x->kv);
	kv_out_array(x->out, count);
	for (size_t i = 0; i < count; i++)
		reply_value(x, values[i]);
	if (values != few)
		free(values);
}

/* The values of MSET, made before the lock is taken. False: no memory. */
static bool new_values(struct kv_call *x, struct kv_value **values, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct kv_arg a = kv_arg(x, 2 * i + 2);

		values[i] = kv_value_new(a.data, a.len);
		if (values[i])
			continue;
		while (i-- > 0)
			kv_value_unref(values[i]);
		return false;
	}
	return true;
}

void kv_cmd_mset(struct kv_call *x)
{
	size_t count = x->argc / 2, done = 0;
	struct kv_value *few[16], **values = few;
	int64_t now;

	if (x->argc % 2 == 0) {
		kv_out_error(x->out, "ERR wrong number of arguments for 'mset' command");
		return;
	}
	if (count > sizeof few / sizeof few[0])
		values = malloc(count * sizeof *values);
	if (values && new_values(x, values, count)) {
		now = kv_enter(x->kv);
		while (done < count && store(x, 2 * done + 1, values[done], now, false, 0))
			done++;
		kv_leave(x->kv);
		for (size_t i = done; i < count; i++)
			kv_value_unref(values[i]);
	}
	if (values != few)
		free(values);
	if (done == count)
		kv_out_simple(x->out, "OK");
	else
		reply_no_memory(x);
}

struct expire_options {
	bool nx, xx, gt, lt;
};

static bool expire_options(struct kv_call *x, struct expire_options *o)
{
	for (size_t i = 3; i < x->argc; i++) {
		if (kv_arg_is(x, i, "nx")) {
			o->nx = true;
		} else if (kv_arg_is(x, i, "xx")) {
			o->xx = true;
		} else if (kv_arg_is(x, i, "gt")) {
			o->gt = true;
		} else if (kv_arg_is(x, i, "lt")) {
			o->lt = true;
		} else {
			struct kv_arg a = kv_arg(x, i);
			int len = (int)(a.len < 128 ? a.len : 128);

			kv_out_error(x->out, "ERR Unsupported option %.*s", len,
				     (const char *)a.data);
			return false;
		}
	}
	if (o->nx && (o->xx || o->gt || o->lt)) {
		kv_out_error(x->out, "ERR NX and XX, GT or LT options at the same time are not "
				     "compatible");
		return false;
	}
	if (o->gt && o->lt) {
		kv_out_error(x->out, "ERR GT and LT options at the same time are not compatible");
		return false;
	}
	return true;
}

/* May a key that dies at current (0: never) be given the time at? */
static bool expire_wanted(const struct expire_options *o, int64_t current, int64_t at)
{
	if ((o->nx && current != 0) || (o->xx && current == 0))
		return false;
	if (o->gt && (current == 0 || at <= current))
		return false;
	return !(o->lt && current != 0 && at >= current);
}

/* Returns what EXPIRE replies, or -1: no memory. */
static int set_key_time(struct kv_call *x, const struct expire_options *o, int64_t at, int64_t now)
{
	struct kv_entry *e = find(x, 1, now);

	if (!e || !expire_wanted(o, kv_entry_expire(e), at))
		return 0;
	if (at <= now)
		kv_db_del(&x->kv->db, e);
	else if (!kv_db_set_expire(&x->kv->db, e, at))
		return -1;
	return 1;
}

static void expire(struct kv_call *x, long long unit)
{
	struct expire_options o = { 0 };
	int64_t now;
	long long v;
	int res;

	if (!expire_options(x, &o) || !kv_arg_integer(x, 2, &v))
		return;
	now = kv_now(x->kv);
	if (v > LLONG_MAX / unit || v < LLONG_MIN / unit || v * unit > LLONG_MAX - now) {
		kv_out_error(x->out, "ERR invalid expire time in '%s' command", x->name);
		return;
	}
	now = kv_enter(x->kv);
	res = set_key_time(x, &o, v * unit + now, now);
	kv_leave(x->kv);
	if (res < 0)
		reply_no_memory(x);
	else
		kv_out_integer(x->out, res);
}

void kv_cmd_expire(struct kv_call *x)
{
	expire(x, 1000);
}

void kv_cmd_pexpire(struct kv_call *x)
{
	expire(x, 1);
}

/* Milliseconds left, or -1: for ever, -2: no such key. */
static long long time_left(struct kv_call *x)
{
	int64_t now = kv_enter(x->kv);
	struct kv_entry *e = find(x, 1, now);
	int64_t at = e ? kv_entry_expire(e) : 0;

	kv_leave(x->kv);
	if (!e)
		return -2;
	return at == 0 ? -1 : at - now;
}

void kv_cmd_ttl(struct kv_call *x)
{
	long long left = time_left(x);

	kv_out_integer(x->out, left < 0 ? left : left / 1000 + (left % 1000 >= 500));
}

void kv_cmd_pttl(struct kv_call *x)
{
	kv_out_integer(x->out, time_left(x));
}

void kv_cmd_dbsize(struct kv_call *x)
{
	size_t count;

	kv_enter(x->kv);
	count = kv_db_count(&x->kv->db);
	kv_leave(x->kv);
	kv_out_integer(x->out, (long long)count);
}

void kv_cmd_flush(struct kv_call *x)
{
	struct kv_db old;

	if (x->argc > 2 ||
	    (x->argc == 2 && !kv_arg_is(x, 1, "async") && !kv_arg_is(x, 1, "sync"))) {
		kv_out_error(x->out, "ERR syntax error");
		return;
	}
	kv_enter(x->kv);
	old = x->kv->db;
	x->kv->db = (struct kv_db){ .expired = old.expired };
	kv_leave(x->kv);
	kv_db_clear(&old);
	kv_out_simple(x->out, "OK");
}
