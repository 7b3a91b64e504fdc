/*
 * Configurations: any value in any field, any listener. What is resolved keeps its promises (no
 * field is left to a default, every limit holds), what is refused names the field in one line.
 */
#include "fuzz.h"

#include "rt/config.h"
#include <errno.h>

#define LISTENERS 3

static const char *const addrs[] = { "127.0.0.1:0", ":80",	    "[::1]:443", "unix:@fuzz",
				     "fd:3",	    "localhost:80", "",		 "1.2.3.4" };

static void on_conn(rln_conn c, void *arg)
{
	(void)c;
	(void)arg;
}

static int on_request(rln_conn c, void *arg)
{
	(void)c;
	(void)arg;
	return 0;
}

static size_t on_data(rln_conn c, const uint8_t *p, size_t n, void *arg)
{
	(void)c;
	(void)p;
	(void)arg;
	return n;
}

/* Mostly a value near a border, or a power of two: those that decide something. */
static uint64_t value(struct fuzz *f)
{
	uint64_t v = UINT64_C(1) << fuzz_below(f, 64);

	switch (fuzz_byte(f) % 4) {
	case 0:
		return 0;
	case 1:
		return v;
	case 2:
		return v + fuzz_byte(f) - 128;
	default:
		return fuzz_below(f, UINT64_MAX);
	}
}

static void listener(struct fuzz *f, rln_listen_opts *l, const rln_callbacks *cb)
{
	unsigned handlers = fuzz_byte(f);

	memset(l, 0, sizeof *l);
	l->addr = addrs[fuzz_below(f, sizeof addrs / sizeof addrs[0])];
	l->on_conn = handlers % 4 == 0 || handlers == 3 ? on_conn : NULL;
	l->on_request = handlers % 4 == 1 ? on_request : NULL;
	l->cb = handlers % 4 == 2 || handlers == 7 ? cb : NULL;
	for (uint8_t n = fuzz_byte(f) % 8; n; n--) {
		switch (fuzz_byte(f) % 12) {
#define SET(i, field, type)                \
	case i:                            \
		l->field = (type)value(f); \
		break
			SET(0, backlog, int);
			SET(1, idle_timeout, rln_ns);
			SET(2, close_timeout, rln_ns);
			SET(3, close_max, rln_ns);
			SET(4, send_stall, rln_ns);
			SET(5, recv_max, size_t);
			SET(6, send_high, size_t);
			SET(7, send_low, size_t);
			SET(8, max_conns, unsigned);
			SET(9, keepalive_idle, rln_ns);
			SET(10, sndbuf, int);
			SET(11, rcvbuf, int);
#undef SET
		}
	}
}

static void fields(struct fuzz *f, rln_config *c)
{
	for (uint8_t n = fuzz_byte(f) % 12; n; n--) {
		switch (fuzz_byte(f) % 20) {
#define SET(i, field, type)                \
	case i:                            \
		c->field = (type)value(f); \
		break
			SET(0, workers, unsigned);
			SET(1, stack_size, size_t);
			SET(2, stack_guard, size_t);
			SET(3, max_tasks, unsigned);
			SET(4, stacks_prewarm, unsigned);
			SET(5, stacks_keep, unsigned);
			SET(6, stack_trim_idle, rln_ns);
			SET(7, sq_entries, unsigned);
			SET(8, cq_entries, unsigned);
			SET(9, recv_bufs, unsigned);
			SET(10, recv_buf_size, unsigned);
			SET(11, file_slots, unsigned);
			SET(12, buffer_budget, size_t);
			SET(13, zc_threshold, size_t);
			SET(14, spin, rln_ns);
			SET(15, sqpoll, bool);
			SET(16, sqpoll_idle_ms, unsigned);
			SET(17, sqpoll_cpu_plus1, int);
			SET(18, drain_timeout, rln_ns);
			SET(19, stall_warn, rln_ns);
#undef SET
		}
	}
}

static bool pow2(unsigned n)
{
	return n && !(n & (n - 1));
}

static void check_resolved(const struct config *c)
{
	const rln_config *s = &c->set;
	uint64_t slots = s->file_slots;

	FUZZ_CHECK(s->workers >= 1 && s->workers <= CONFIG_WORKERS_MAX);
	FUZZ_CHECK(pow2(s->sq_entries) && pow2(s->cq_entries));
	FUZZ_CHECK(s->cq_entries / 2 >= s->sq_entries);
	FUZZ_CHECK(pow2(s->recv_bufs) && pow2(c->recv_bufs_max));
	FUZZ_CHECK(c->recv_bufs_max >= s->recv_bufs && c->recv_bufs_max <= 32768);
	FUZZ_CHECK(s->recv_buf_size >= 16 && s->buffer_budget >= s->recv_buf_size);
	FUZZ_CHECK(s->stacks_prewarm <= s->max_tasks && s->stacks_keep >= s->stacks_prewarm);
	FUZZ_CHECK(s->drain_timeout > 0 && s->drain_timeout <= CONFIG_NS_MAX);
	FUZZ_CHECK(s->zc_threshold > 0 && s->file_slots > 0 && !s->listen);
	for (unsigned i = 0; i < s->nlisten; i++) {
		const struct config_listener *l = &c->listener[i];
		FUZZ_CHECK(l->set.addr == l->text && *l->text);
		FUZZ_CHECK(l->mode.send_low <= l->mode.send_high && l->mode.send_high);
		FUZZ_CHECK(l->mode.recv_max && l->set.max_conns && l->set.backlog > 0);
		FUZZ_CHECK(!!l->mode.on_conn + !!l->mode.on_request + !!l->mode.cb == 1);
		FUZZ_CHECK(!l->mode.cb || l->mode.cb == &l->callbacks);
		slots += l->set.max_conns;
	}
	FUZZ_CHECK(slots <= CONFIG_SLOTS_MAX && slots <= c->nofile_soft);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct fuzz f = { data, n };
	rln_callbacks cb = { .data = fuzz_byte(&f) % 8 ? on_data : NULL };
	rln_listen_opts l[LISTENERS];
	struct config *out = calloc(1, sizeof *out);
	struct diag why = { 0 };
	unsigned listeners = (unsigned)fuzz_below(&f, LISTENERS + 1);
	rln_config c = { .listen = listeners ? l : NULL, .nlisten = listeners };
	int e;

	fields(&f, &c);
	for (unsigned i = 0; i < listeners; i++)
		listener(&f, &l[i], &cb);
	e = config_resolve(&c, sizeof c, sizeof l[0], out, &why);
	if (e) {
		FUZZ_CHECK(why.err == e && (e == -EINVAL || e == -E2BIG || e == -ENOMEM));
		FUZZ_CHECK(*why.line && !strchr(why.line, '\n') && !out->listener);
	} else {
		memset(l, 0xa5, sizeof l); /* nothing of the user's is looked at again */
		memset(&c, 0xa5, sizeof c);
		cb = (rln_callbacks){ 0 };
		check_resolved(out);
		config_fini(out);
	}
	free(out);
	return 0;
}
