/*
 * Rows of conformance.h: zero copy in each form, registered memory that changes, and submissions
 * that stop.
 */
#ifndef RINGLINE_TESTS_SIM_CONFORMANCE_ZC_H
#define RINGLINE_TESTS_SIM_CONFORMANCE_ZC_H

#include "conformance.h"

/* Result and notification of ud; in between the peer reads, which at times it takes. */
static void conf_say_zc(struct conf *c, uint64_t ud)
{
	uint32_t flags;
	struct conf_cqe *q = conf_wait(c, ud, CONF_WAIT_NS);

	CHECK(q);
	flags = q->flags;
	conf_say_res(c, q->res);
	conf_say(c, "%s", conf_more(flags));
	if (q->res > 0)
		conf_say_peer(c);
	if (!(flags & IORING_CQE_F_MORE))
		return;
	flags = conf_get(c, ud);
	conf_say(c, "%s", flags & IORING_CQE_F_NOTIF ? "notif" : "other");
}

static void row_zc_message(struct conf *c)
{
	static char a[] = "hel", b[] = "lo";
	struct iovec v[2] = { { a, 3 }, { b, 2 } };
	struct msghdr msg = { .msg_iov = v, .msg_iovlen = 2 };
	struct io_uring_sqe *sqe;

	conf_pair(c);
	sqe = conf_sqe(c);
	io_uring_prep_sendmsg_zc(sqe, 0, &msg, MSG_NOSIGNAL);
	conf_fixed(sqe, 1);
	conf_say_zc(c, 1);
}

static struct io_uring_sqe *conf_zc(struct conf *c, const void *p, unsigned n, uint64_t ud)
{
	struct io_uring_sqe *sqe = conf_sqe(c);

	io_uring_prep_send_zc(sqe, 0, p, n, MSG_NOSIGNAL, 0);
	return conf_fixed(sqe, ud);
}

/* Out of registered memory. */
static void row_zc_region(struct conf *c)
{
	struct iovec v;
	struct io_uring_sqe *sqe;

	conf_pair(c);
	c->big = sys_zalloc(4096);
	v = (struct iovec){ c->big, 4096 };
	CHECK_INT(ring_register(&c->ring, IORING_REGISTER_BUFFERS, &v, 1), ==, 0);
	sqe = conf_zc(c, c->big + 100, 5, 1);
	sqe->ioprio |= IORING_RECVSEND_FIXED_BUF;
	conf_say_zc(c, 1);
	sqe = conf_zc(c, c->big + 4092, 5, 2);
	sqe->ioprio |= IORING_RECVSEND_FIXED_BUF;
	conf_say_zc(c, 2);
	sqe = conf_zc(c, c->big, 5, 3);
	sqe->ioprio |= IORING_RECVSEND_FIXED_BUF;
	sqe->buf_index = 1;
	conf_say_zc(c, 3);
}

static void row_zc_refused(struct conf *c)
{
	struct io_uring_sqe *sqe;

	conf_pair(c);
	conf_zc(c, "x", 1, 1)->ioprio |= 1u << 12;
	conf_say_zc(c, 1);
	sqe = conf_zc(c, "x", 1, 2);
	sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
	conf_say_zc(c, 2);
	sqe = conf_zc(c, "x", 1, 3);
	sqe->fd = 7; /* an empty slot */
	conf_say_zc(c, 3);
}

/* In a chain that breaks before its turn. */
static void row_zc_chain(struct conf *c)
{
	conf_pair(c);
	conf_close_slot(c, 7, 1)->flags |= IOSQE_IO_LINK;
	conf_zc(c, "x", 1, 2);
	conf_get(c, 1);
	conf_say_zc(c, 2);
	conf_say(c, "%s", conf_wait(c, 2, CONF_QUIET_NS * 50) ? "one more" : "no more");
}

static void conf_say_strays(struct conf *c, uint64_t ud)
{
	uint32_t flags;
	struct conf_cqe *q = conf_wait(c, ud, CONF_WAIT_NS);

	CHECK(q);
	flags = q->flags;
	conf_say_res(c, q->res);
	conf_settle(c);
	q = conf_wait(c, ud, flags & IORING_CQE_F_MORE ? CONF_WAIT_NS : CONF_QUIET_NS * 50);
	conf_say(c, "%s %s", conf_more(flags),
		 !q				 ? "alone"
		 : q->flags & IORING_CQE_F_NOTIF ? "notif"
						 : "other");
}

/* In a chain that is refused as a whole, in each place of it. */
static void row_zc_chain_refused(struct conf *c)
{
	struct io_uring_sqe *sqe;

	conf_pair(c);
	conf_zc(c, "x", 1, 1)->flags |= IOSQE_IO_LINK;
	conf_zc(c, "x", 1, 2)->flags |= IOSQE_IO_LINK;
	sqe = conf_sqe(c);
	sqe->opcode = 250;
	sqe->user_data = 3;
	conf_say_strays(c, 1);
	conf_say_strays(c, 2);
	conf_sqe(c)->flags |= IOSQE_IO_LINK;
	conf_zc(c, "x", 1, 4)->ioprio |= 1u << 12;
	conf_say_strays(c, 4);
}

/* ---- registered memory */
static int conf_regions(struct conf *c, unsigned at, struct iovec *v, unsigned n)
{
	struct io_uring_rsrc_update2 up = { .offset = at, .data = (uintptr_t)v, .nr = n };

	return ring_register(&c->ring, IORING_REGISTER_BUFFERS_UPDATE, &up, sizeof(up));
}

static void row_regions(struct conf *c)
{
	struct io_uring_rsrc_register reg = { .nr = 2, .flags = IORING_RSRC_REGISTER_SPARSE };
	int fd = conf_scratch(c, "hello");
	struct iovec v[3] = { 0 };

	c->big = sys_zalloc(8192);
	conf_say_res(c, conf_regions(c, 0, v, 1));
	conf_say_res(c, ring_register(&c->ring, IORING_REGISTER_BUFFERS2, &reg, sizeof(reg)));
	conf_say_res(c, ring_register(&c->ring, IORING_REGISTER_BUFFERS2, &reg, sizeof(reg)));
	v[0] = (struct iovec){ c->big, 4096 };
	conf_say_res(c, conf_regions(c, 1, v, 1));
	CONF_SAY(c, io_uring_prep_read_fixed, fd, c->big, 5, 0, 1);
	conf_say_res(c, conf_regions(c, 1, v, 2));
	v[0].iov_base = NULL;
	conf_say_res(c, conf_regions(c, 0, v, 1));
	v[0].iov_len = 0;
	conf_say_res(c, conf_regions(c, 1, v, 1));
	CONF_SAY(c, io_uring_prep_read_fixed, fd, c->big, 5, 0, 1);
	conf_say_res(c, conf_regions(c, 0, v, 0));
}

/* ---- submissions */

/* Does an enter go on behind an SQE that cannot be prepared, the second of four? */
static bool conf_passes(struct conf *c, unsigned setup)
{
	struct io_uring_params p = { .flags = setup };
	struct io_uring u;
	bool passes = false;

	CHECK_INT(c->kernel->setup(&u, 8, &p), ==, 0);
	for (unsigned i = 0; i < 4; i++) {
		struct io_uring_sqe *sqe = io_uring_get_sqe(&u);

		io_uring_prep_nop(sqe);
		sqe->opcode = i == 1 ? 250 : IORING_OP_NOP;
	}
	__atomic_store_n(u.sq.ktail, *u.sq.ktail + 4, __ATOMIC_RELEASE);
	for (int at = 0; at < 4;) {
		int n = c->kernel->enter(&u, (unsigned)(4 - at), 0, IORING_ENTER_GETEVENTS, NULL,
					 0);

		if (n == -EBUSY || n == -EAGAIN)
			continue; /* the simulator's */
		CHECK_INT(n, >, 0);
		passes |= at < 2 && at + n > 2;
		at += n;
	}
	c->kernel->exit(&u);
	return passes;
}

static void row_submit_stops(struct conf *c)
{
	conf_say(c, "%s", conf_passes(c, 0) ? "passes" : "stops");
	conf_say(c, "%s", conf_passes(c, IORING_SETUP_SUBMIT_ALL) ? "passes" : "stops");
}

#endif
