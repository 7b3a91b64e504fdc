/*
 * Connecting to one of several addresses (RFC 8305, section 5): the families alternate, an attempt
 * that has not answered after a while gets company, the first to succeed wins and the others are
 * closed. The addresses stand in the caller's frame, so whatever ends the race, it is over only
 * when no attempt is out any more.
 */
#include "io/connect.h"

#include "base/assert.h"
#include "base/mark.h"
#include "io/addr.h"
#include <errno.h>

#define ATTEMPT_DELAY_NS INT64_C(250000000)

struct attempt {
	struct conn *c; /* NULL: over */
	struct waiter w;
};

struct race {
	const struct sockaddr_storage *addr;
	const rln_connect_opts *opts;
	struct attempt *attempt; /* [count]; those before `next` have begun */
	int count, next, live;
	int64_t next_ns; /* when the next attempt begins at the latest */
	int err;	 /* why the attempts so far have failed */
};

static socklen_t bytes_of(const struct sockaddr_storage *a)
{
	return a->ss_family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
}

void addrs_interleave(struct sockaddr_storage *a, int n)
{
	for (int i = 1; i < n; i++) {
		int at = i;
		while (at < n && a[at].ss_family == a[i - 1].ss_family)
			at++;
		if (at == n)
			return; /* one family is left */
		struct sockaddr_storage other = a[at];
		for (; at > i; at--)
			a[at] = a[at - 1];
		a[i] = other;
	}
}

/* That an address cannot be reached at all says less than what another one answered. */
static bool says_little(int err)
{
	return !err || err == -ENETUNREACH || err == -EHOSTUNREACH || err == -EADDRNOTAVAIL ||
	       err == -EAFNOSUPPORT;
}

static void failed(struct race *r, int err)
{
	if (says_little(r->err))
		r->err = err;
	r->next_ns = INT64_MIN; /* the next one need not wait */
}

static void begin_attempts(struct race *r, int64_t now_ns)
{
	while (r->next < r->count && (!r->live || now_ns >= r->next_ns)) {
		struct attempt *at = &r->attempt[r->next];
		const struct sockaddr_storage *a = &r->addr[r->next++];
		int e = connect_begin((const struct sockaddr *)a, bytes_of(a), r->opts, &at->c);
		if (e) {
			at->c = NULL;
			failed(r, e);
			continue;
		}
		r->live++;
		r->next_ns = now_ns + ATTEMPT_DELAY_NS;
	}
}

/* Attempts that have answered: the one that succeeded, or NULL. */
static struct attempt *look(struct race *r)
{
	for (int i = 0; i < r->next; i++) {
		struct attempt *at = &r->attempt[i];
		if (!at->c || at->c->ctl_kind == CTL_CONNECT)
			continue;
		if (at->c->close_err == 0)
			return at;
		int e = at->c->close_err;
		conn_close(at->c, e);
		at->c = NULL;
		RLN_MARK("connect-race-next-address");
		r->live--;
		failed(r, e);
	}
	return NULL;
}

static int wait_for_one(struct race *r, const char *call)
{
	struct waiter *first = NULL, **tail = &first, *woken;

	for (int i = 0; i < r->next; i++) {
		struct attempt *at = &r->attempt[i];
		if (!at->c)
			continue;
		waiter_init(&at->w, task_running(), NULL);
		list_push_back(&at->c->flushers, &at->w.node);
		*tail = &at->w;
		tail = &at->w.next;
	}
	return wait_any(first, r->next < r->count ? r->next_ns : INT64_MAX, call, &woken);
}

static void end_others(struct race *r, const struct attempt *winner, int why, const char *call)
{
	for (int i = 0; i < r->next; i++)
		if (r->attempt[i].c && &r->attempt[i] != winner)
			conn_close(r->attempt[i].c, why);
	for (int i = 0; i < r->next; i++)
		if (r->attempt[i].c && &r->attempt[i] != winner)
			connect_settle(r->attempt[i].c, call);
}

static int run(struct race *r, struct conn **out, const char *call)
{
	struct io *io = io_current();
	struct attempt *winner;
	int e;

	for (;;) {
		winner = look(r);
		if (winner)
			break;
		begin_attempts(r, io->loop->now_ns);
		if (!r->live)
			return r->err;
		e = wait_for_one(r, call);
		if (e < 0) {
			end_others(r, NULL, e, call);
			return e;
		}
	}
	*out = winner->c;
	end_others(r, winner, -ECANCELED, call);
	return 0;
}

int connect_race(const struct sockaddr_storage *addr, int count, const rln_connect_opts *o,
		 rln_conn *out, const char *call)
{
	struct attempt attempt[CONNECT_RACE_MAX];
	struct race r = { .addr = addr, .opts = o, .attempt = attempt, .count = count };
	struct conn *c = NULL;

	RLN_ASSERT(count > 0 && count <= CONNECT_RACE_MAX);
	int e = run(&r, &c, call);
	return e ? e : connect_done(c, out);
}
