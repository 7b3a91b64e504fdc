/*
 * Child processes. Each is known by a descriptor (pidfd), so that no signal of ours can reach
 * another process, and waiting for its end is a poll. It is reaped in the call that gives its
 * status and nowhere else: until then its number is its own.
 */
#include "io/process.h"

#include "base/opts.h"
#include "base/sys.h"
#include "io/io.h"
#include "ringline/conn.h"
#include "ringline/process.h"
#include "task/blocking.h"
#include "task/select.h"
#include <errno.h>
#include <poll.h>
#include <string.h>

#define PROCS_STEP 16
#define PROCS_MAX (1u << 24)

/* FREE --spawn begins--> STARTING --runs--> LIVE --reaped--> FREE; STARTING --failed--> FREE */
enum proc_state { PROC_FREE, PROC_STARTING, PROC_LIVE };

struct proc {
	uint32_t generation;
	uint8_t state; /* enum proc_state */
	bool waited;   /* a task waits for it: its descriptor is being polled, and stays open */
	bool group;
	int pidfd, pid;
	int next; /* FREE: the next one that is; -1: none */
};

/* ---- the table */
void procs_init(struct procs *p)
{
	*p = (struct procs){ .free = -1 };
	list_init(&p->released);
}

static int procs_grow(struct procs *p)
{
	unsigned count = p->count ? 2 * p->count : PROCS_STEP;
	struct proc *at;

	if (count > PROCS_MAX)
		return -EAGAIN;
	at = sys_zalloc(count * sizeof *at);
	if (!at)
		return -ENOMEM;
	if (p->count)
		memcpy(at, p->at, p->count * sizeof *at);
	for (unsigned i = count; i-- > p->count;) {
		at[i] = (struct proc){ .generation = 1, .pidfd = -1, .next = p->free };
		p->free = (int)i;
	}
	sys_free(p->at);
	p->at = at;
	p->count = count;
	return 0;
}

static int slot_take(struct procs *p)
{
	int e = p->free < 0 ? procs_grow(p) : 0;

	if (e)
		return e;
	int slot = p->free;
	p->free = p->at[slot].next;
	p->at[slot].state = PROC_STARTING;
	return slot;
}

static void slot_give(struct procs *p, int slot)
{
	struct proc *x = &p->at[slot];

	if (x->pidfd >= 0)
		sys_close(x->pidfd);
	*x = (struct proc){ .generation = x->generation + 1, .pidfd = -1, .next = p->free };
	if (!x->generation)
		x->generation = 1; /* an all-zero handle is none */
	p->free = slot;
}

/* ---- let go of: memory of its own, as nobody holds a handle whose place it could keep */
struct released {
	struct op_io poll;
	struct op_cancel cancel;
	struct list node; /* procs.released */
	int pidfd;
};

static void released_free(struct released *r)
{
	list_remove(&r->node);
	sys_close(r->pidfd);
	sys_free(r);
}

/*
 * What ended cannot be reaped yet when a debugger holds it. Another poll would be ready at once,
 * again and again: it is left for the end.
 */
static void released_ended(struct op_io *io, const struct op_event *ev)
{
	struct released *r = container_of(io, struct released, poll);
	struct sys_exit end;

	op_reset(&io->op);
	if (ev->res >= 0 && sys_proc_reap(r->pidfd, &end) != 0 && !op_busy(&r->cancel.op))
		released_free(r);
}

void procs_stop(struct procs *p, struct ops *ops)
{
	p->closing = true;
	list_for_each (node, &p->released) {
		struct released *r = container_of(node, struct released, node);
		if (op_busy(&r->poll.op))
			op_cancel_with(ops, &r->poll.op, &r->cancel);
	}
}

void procs_close(struct procs *p)
{
	struct sys_exit end;

	while (!list_empty(&p->released)) {
		struct released *r = container_of(p->released.next, struct released, node);
		sys_proc_reap(r->pidfd, &end);
		released_free(r);
	}
	for (unsigned i = 0; i < p->count; i++) {
		if (p->at[i].pidfd < 0)
			continue;
		sys_proc_reap(p->at[i].pidfd, &end);
		sys_close(p->at[i].pidfd);
	}
	sys_free(p->at);
	procs_init(p);
}

/* On a worker. The pointer holds until a process is started. */
static int proc_find(const struct io *io, rln_proc h, struct proc **out)
{
	unsigned slot = h.h >> 32 & 0xffffff;

	if (!h.h)
		return -ESRCH;
	if (h.h >> 56 != io->cfg.worker)
		return -EXDEV;
	if (slot >= io->procs.count)
		return -ESRCH;
	*out = &io->procs.at[slot];
	return (*out)->state == PROC_LIVE && (*out)->generation == (uint32_t)h.h ? 0 : -ESRCH;
}

static int proc_lookup(rln_proc h, struct proc **out)
{
	struct io *io = io_current();
	return io ? proc_find(io, h, out) : -EPERM;
}

/* ---- spawn */
struct spawning {
	struct blocking b;
	struct sys_spawn spawn;
	int pid;
	rln_conn conn[3]; /* our ends */
};

static int spawn_run(struct blocking *b)
{
	struct spawning *s = container_of(b, struct spawning, b);
	return sys_proc_spawn(&s->spawn, &s->pid);
}

/* The pipe for descriptor i: our end becomes a connection, the other waits in spawn.fd[i]. */
static int pipe_open(struct spawning *s, int i)
{
	int fd[2], e = sys_pipe(fd);
	int ours = i == 0; /* the end for writing */

	if (e)
		return e;
	e = rln_adopt_fd(fd[ours], &s->conn[i]);
	if (e) {
		sys_close(fd[0]);
		sys_close(fd[1]);
		return e;
	}
	s->spawn.fd[i] = fd[!ours];
	return 0;
}

static void child_ends_close(struct spawning *s)
{
	for (int i = 0; i < 3; i++)
		if (s->spawn.fd[i] >= 0)
			sys_close(s->spawn.fd[i]);
}

static void conns_drop(struct spawning *s)
{
	for (int i = 0; i < 3; i++)
		if (s->conn[i].h)
			rln_reset(s->conn[i]);
}

/* Returns the descriptor of the process, or -errno with nothing left. */
static int spawn(struct spawning *s, const rln_proc_opts *o)
{
	const bool piped[3] = { o->in, o->out, o->err };
	int e = 0;

	for (int i = 0; i < 3 && !e; i++)
		e = piped[i] ? pipe_open(s, i) : 0;
	if (!e)
		e = blocking_run(&s->b, "rln_proc_spawn");
	child_ends_close(s);
	if (e < 0)
		conns_drop(s);
	return e;
}

static int read_opts(const rln_proc_opts *in, size_t size, rln_proc_opts *out)
{
	int e = opts_copy(out, sizeof *out, in, size);
	return e ? e : out->argv && out->argv[0] ? 0 : -EINVAL;
}

int rln_proc_spawn_sized(const rln_proc_opts *opts, size_t opts_size, rln_proc *out, rln_conn io[3])
{
	rln_proc_opts o;
	int slot, fd, e = wait_enter("rln_proc_spawn");

	if (!e)
		e = read_opts(opts, opts_size, &o);
	if (!e && (!out || (!io && (o.in || o.out || o.err))))
		e = -EINVAL;
	if (e)
		return e;
	struct procs *p = &io_current()->procs;
	slot = slot_take(p);
	if (slot < 0)
		return slot;
	struct spawning s = { .b = { .run = spawn_run, .pool = sched_current()->spawners },
			      .spawn = { .argv = o.argv,
					 .env = o.env,
					 .cwd = o.cwd,
					 .fd = { -1, -1, -1 },
					 .null = o.null,
					 .group = o.group,
					 .session = o.session } };
	fd = spawn(&s, &o);
	if (fd < 0) {
		slot_give(p, slot);
		return fd;
	}
	struct proc *x = &p->at[slot];
	x->state = PROC_LIVE;
	x->group = o.group || o.session;
	x->pidfd = fd;
	x->pid = s.pid;
	out->h = (uint64_t)io_current()->cfg.worker << 56 | (uint64_t)slot << 32 | x->generation;
	if (io)
		memcpy(io, s.conn, sizeof s.conn);
	return 0;
}

/* ---- its end */

/*
 * True: it has ended, its place is free, and *res is 0 or -ECHILD. Only the call that returns this
 * may ask: one that fails by cancellation must leave the process to be waited for.
 */
static bool proc_ended(struct proc *x, rln_proc_status *st, int *res)
{
	struct procs *p = &io_current()->procs;
	struct sys_exit end = { .code = -1 };
	int r = sys_proc_reap(x->pidfd, &end);

	if (r == 0)
		return false;
	*res = r < 0 ? r : 0;
	if (st && r > 0)
		*st = (rln_proc_status){ end.code, end.signo, end.core };
	slot_give(p, (int)(x - p->at));
	return true;
}

int rln_proc_wait(rln_proc h, rln_proc_status *st)
{
	struct proc *x;
	struct op_io io;
	bool first = true;
	int res, e = wait_enter("rln_proc_wait");

	if (!e)
		e = proc_lookup(h, &x);
	if (!e && x->waited)
		e = -EBUSY;
	if (e)
		return e;
	/* More than once only for a process that a debugger has yet to let go of. */
	while (!proc_ended(x, st, &res)) {
		first = false;
		x->waited = true;
		task_kop(&io, OP_POLL);
		io.a.fd = x->pidfd;
		io.a.flags = POLLIN;
		e = task_kop_run(&io, "rln_proc_wait");
		proc_lookup(h, &x); /* the table may have moved */
		x->waited = false;
		if (e < 0)
			return e;
	}
	if (first)
		wait_done_quickly();
	return res;
}

static bool proc_take(struct arm *a)
{
	struct proc *x;

	a->res = proc_lookup((rln_proc){ a->on.h }, &x);
	if (!a->res && x->waited)
		a->res = -EBUSY;
	return a->res || proc_ended(x, a->w.slot, &a->res);
}

static int proc_link(struct arm *a)
{
	struct proc *x;
	int e = proc_lookup((rln_proc){ a->on.h }, &x);

	if (!e && x->waited)
		e = -EBUSY; /* an arm before this one */
	if (!e)
		e = arm_poll_link(a, x->pidfd, POLLIN);
	if (!e)
		x->waited = true;
	return e;
}

static void proc_won(struct arm *a)
{
	struct proc *x;

	if (a->res < 0)
		return;
	a->res = proc_lookup((rln_proc){ a->on.h }, &x);
	if (!a->res && !proc_ended(x, a->w.slot, &a->res))
		a->res = -EAGAIN; /* a debugger has yet to let go of it */
}

static void proc_unlink(struct arm *a)
{
	struct proc *x;

	arm_poll_unlink(a);
	if (proc_lookup((rln_proc){ a->on.h }, &x) == 0)
		x->waited = false;
}

static const struct arm_kind arm_proc = {
	.take = proc_take, .link = proc_link, .won = proc_won, .unlink = proc_unlink
};

rln_arm rln_on_proc(rln_proc p, rln_proc_status *st)
{
	return arm_make(&arm_proc, (struct arm){ .on.h = p.h, .w.slot = st });
}

/* ---- signals, number */
int rln_proc_kill(rln_proc h, int signo)
{
	struct proc *x;
	int e = proc_lookup(h, &x);

	return e ? e : sys_proc_kill(x->pidfd, signo);
}

int rln_proc_kill_group(rln_proc h, int signo)
{
	struct proc *x;
	int e = proc_lookup(h, &x);

	if (!e && !x->group)
		e = -EINVAL;
	return e ? e : sys_proc_kill_group(x->pidfd, x->pid, signo);
}

int rln_proc_pid(rln_proc h)
{
	struct proc *x;
	int e = proc_lookup(h, &x);

	return e ? e : x->pid;
}

/* ---- to let go of it */
int rln_proc_release(rln_proc h)
{
	struct proc *x;
	int res, e = proc_lookup(h, &x);

	if (!e && x->waited)
		e = -EBUSY;
	if (e || proc_ended(x, NULL, &res))
		return e;
	struct io *io = io_current();
	struct released *r = sys_zalloc(sizeof *r);
	if (!r)
		return -ENOMEM;
	r->pidfd = x->pidfd;
	x->pidfd = -1;
	slot_give(&io->procs, (int)(x - io->procs.at));
	list_init(&r->node);
	list_push_back(&io->procs.released, &r->node);
	op_io_init(&r->poll, OP_POLL, released_ended);
	op_cancel_init(&r->cancel, NULL);
	r->poll.a.fd = r->pidfd;
	r->poll.a.flags = POLLIN;
	if (!io->procs.closing)
		op_submit(&io->loop->ops, &r->poll.op);
	return 0;
}
