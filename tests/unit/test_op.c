/*
 * The machinery of ops on the smallest ring there is (2 SQEs, 4 CQEs), against the real kernel.
 */
#include "op_probe.h"

static void submit_nops(struct probe *p, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		probe_init(&p[i], &class_nop);
		op_submit(&ops, &p[i].op);
	}
}

TEST(op_full_queue_waits_in_order)
{
	struct probe p[7];

	open_ring(2, 4);
	submit_nops(p, 7);
	CHECK_INT(p[1].op.state, ==, OP_LIVE);
	CHECK_INT(p[2].op.state, ==, OP_QUEUED);
	CHECK_INT(ops.queued, ==, 5);
	CHECK_INT(ops.live, ==, 2);
	CHECK_INT(p[6].prepared, ==, 0);
	run_until_idle();
	for (unsigned i = 0; i < 7; i++) {
		CHECK_INT(p[i].prepare_at, ==, i + 1);
		CHECK_INT(p[i].finish_at, ==, i + 1);
		CHECK_INT(p[i].finished, ==, 1);
		CHECK_INT(p[i].res, ==, 0);
	}
	CHECK_INT(ops.kind_submitted[OP_NOP], ==, 7);
	CHECK_INT(ops.kind_errors[OP_NOP], ==, 0);
	close_ring();
}

TEST(op_submit_while_others_wait_does_not_overtake)
{
	struct probe p[4];

	open_ring(2, 4);
	submit_nops(p, 3);
	enter_and_reap(true); /* both SQEs are free again, p[2] still waits */
	CHECK_INT(ring_sq_space(&ring), ==, 2);
	probe_init(&p[3], &class_nop);
	op_submit(&ops, &p[3].op);
	CHECK_INT(p[3].op.state, ==, OP_QUEUED);
	run_until_idle();
	CHECK(p[2].prepare_at < p[3].prepare_at);
	close_ring();
}

TEST(op_error_is_counted_and_passed_on)
{
	struct probe p;

	open_ring(2, 4);
	probe_init(&p, &class_fail);
	op_submit(&ops, &p.op);
	run_until_idle();
	CHECK_INT(p.res, ==, -EBADF);
	CHECK_INT(ops.kind_errors[OP_READ], ==, 1);
	close_ring();
}

TEST(op_cancel_queued_is_delivered_from_the_loop_only)
{
	struct probe p[3];

	open_ring(2, 4);
	submit_nops(p, 3);
	CHECK(!probe_cancel(&p[2]));
	CHECK_INT(p[2].finished, ==, 0);
	CHECK(op_busy(&p[2].op));
	CHECK(!ops_idle(&ops));
	CHECK(!probe_cancel(&p[2])); /* once more changes nothing */
	enter_and_reap(true);
	CHECK_INT(p[2].finished, ==, 0);
	CHECK_INT(ops_deliver(&ops), ==, 1);
	CHECK_INT(p[2].finished, ==, 1);
	CHECK_INT(p[2].res, ==, -ECANCELED);
	CHECK_INT(p[2].prepared, ==, 0);
	CHECK_INT(ops_deliver(&ops), ==, 0);
	run_until_idle();
	CHECK_INT(p[2].finished, ==, 1);
	CHECK_INT(p[2].cancels_done, ==, 0);
	CHECK_INT(ops.kind_submitted[OP_CANCEL], ==, 0);
	close_ring();
}

TEST(op_cancel_live_ends_with_the_kernels_word)
{
	struct probe p;

	open_ring(2, 4);
	probe_init(&p, &class_pend);
	op_submit(&ops, &p.op);
	enter_and_reap(false);
	CHECK(probe_cancel(&p));
	CHECK_INT(ops.cancels, ==, 1);
	CHECK_INT(p.finished, ==, 0);
	run_until_idle();
	CHECK_INT(p.res, ==, -ECANCELED);
	CHECK_INT(p.finished, ==, 1);
	CHECK_INT(p.cancels_done, ==, 1);
	CHECK_INT(ops.cancels, ==, 0);
	CHECK_INT(ops.late_cancels, ==, 0);
	CHECK(!p.op.cancelling);
	close_ring();
}

TEST(op_cancel_twice_submits_one)
{
	struct probe p;
	struct op_cancel second;

	open_ring(2, 4);
	probe_init(&p, &class_pend);
	op_cancel_init(&second, NULL);
	op_submit(&ops, &p.op);
	enter_and_reap(false);
	CHECK(probe_cancel(&p));
	CHECK(!probe_cancel(&p));
	CHECK(!op_cancel_with(&ops, &p.op, &second));
	CHECK_INT(second.op.state, ==, OP_IDLE);
	run_until_idle();
	CHECK_INT(p.finished, ==, 1);
	CHECK_INT(p.cancels_done, ==, 1);
	CHECK_INT(ops.kind_submitted[OP_CANCEL], ==, 1);
	close_ring();
}

TEST(op_cancel_idle_or_done_does_nothing)
{
	struct probe p;

	open_ring(2, 4);
	probe_init(&p, &class_nop);
	CHECK(!probe_cancel(&p));
	op_submit(&ops, &p.op);
	run_until_idle();
	CHECK_INT(p.op.state, ==, OP_DONE);
	CHECK(!probe_cancel(&p));
	CHECK_INT(p.cancel.op.state, ==, OP_IDLE);
	CHECK(ops_idle(&ops));
	close_ring();
}

TEST(op_cancel_waiting_when_its_target_ends_is_not_submitted)
{
	struct probe pend, nop[2];

	open_ring(2, 4);
	probe_init(&pend, &class_pend);
	op_submit(&ops, &pend.op);
	enter_and_reap(false);
	submit_nops(nop, 2); /* the SQ is full: the cancel has to wait */
	CHECK(probe_cancel(&pend));
	CHECK_INT(pend.cancel.op.state, ==, OP_QUEUED);
	probe_ready(&pend);
	for (int i = 0; i < 1000 && !pend.finished; i++)
		enter_and_reap(true);
	CHECK_INT(pend.res, ==, POLLIN);
	CHECK_INT(pend.cancels_done, ==, 0);
	CHECK_INT(ops.undelivered, ==, 1);
	CHECK(!ops_idle(&ops));
	run_until_idle();
	CHECK_INT(pend.cancels_done, ==, 1);
	CHECK_INT(ops.kind_submitted[OP_CANCEL], ==, 0);
	CHECK_INT(ops.late_cancels, ==, 1);
	close_ring();
}

TEST(op_cancel_too_late_is_counted)
{
	struct probe p;

	open_ring(2, 4);
	probe_init(&p, &class_nop);
	op_submit(&ops, &p.op);
	CHECK_INT(ring_enter(&ring, 1, TURN_LIMIT_NS), ==, 0);
	CHECK(probe_cancel(&p)); /* its CQE is there, nobody looked yet */
	run_until_idle();
	CHECK_INT(p.res, ==, 0);
	CHECK_INT(p.finished, ==, 1);
	CHECK_INT(p.cancels_done, ==, 1);
	CHECK_INT(ops.late_cancels, ==, 1);
	close_ring();
}

TEST(op_cancel_record_is_usable_again)
{
	struct probe p;

	open_ring(2, 4);
	probe_init(&p, &class_pend);
	for (unsigned i = 1; i <= 3; i++) {
		op_submit(&ops, &p.op);
		enter_and_reap(false);
		CHECK(probe_cancel(&p));
		run_until_idle();
		CHECK_INT(p.finished, ==, i);
		CHECK_INT(p.cancels_done, ==, i);
		op_reset(&p.op);
	}
	close_ring();
}

static void probe_chain(struct probe *p, struct op **chain, unsigned n, const char *classes)
{
	for (unsigned i = 0; i < n; i++) {
		probe_init(&p[i], classes[i] == 'f'   ? &class_fail
				  : classes[i] == 'p' ? &class_pend
						      : &class_nop);
		chain[i] = &p[i].op;
	}
}

TEST(op_chain_longer_than_the_queue_is_refused)
{
	struct probe p[3];
	struct op *chain[3];

	open_ring(2, 4);
	probe_chain(p, chain, 3, "nnn");
	CHECK_INT(op_submit_chain(&ops, chain, 3), ==, -E2BIG);
	CHECK_INT(op_submit_chain(&ops, chain, 0), ==, -EINVAL);
	for (unsigned i = 0; i < 3; i++)
		CHECK_INT(p[i].op.state, ==, OP_IDLE);
	CHECK(ops_idle(&ops));
	CHECK_INT(op_submit_chain(&ops, chain, 2), ==, 0);
	run_until_idle();
	CHECK_INT(p[0].finished + p[1].finished, ==, 2);
	close_ring();
}

TEST(op_chain_without_room_waits_whole)
{
	struct probe first, chained[2], last;
	struct op *chain[2];

	open_ring(2, 4);
	submit_nops(&first, 1);
	CHECK_INT(ring_sq_space(&ring), ==, 1);
	probe_chain(chained, chain, 2, "fn");
	CHECK_INT(op_submit_chain(&ops, chain, 2), ==, 0);
	CHECK_INT(chained[0].op.state, ==, OP_QUEUED); /* although one SQE is free */
	submit_nops(&last, 1);
	CHECK_INT(last.op.state, ==, OP_QUEUED); /* and nobody takes it past the chain */
	ops_flush(&ops);
	CHECK_INT(ops.queued, ==, 3);
	run_until_idle();
	CHECK_INT(chained[0].res, ==, -EBADF);
	CHECK_INT(chained[1].res, ==, -ECANCELED); /* so they were linked */
	CHECK_INT(last.res, ==, 0);
	CHECK_INT(last.prepare_at, ==, 4);
	close_ring();
}

TEST(op_chain_broken_in_the_middle_cancels_the_rest)
{
	struct probe p[4], after;
	struct op *chain[4];

	open_ring(8, 16);
	probe_chain(p, chain, 4, "nfnn");
	CHECK_INT(op_submit_chain(&ops, chain, 4), ==, 0);
	submit_nops(&after, 1);
	run_until_idle();
	CHECK_INT(p[0].res, ==, 0);
	CHECK_INT(p[1].res, ==, -EBADF);
	CHECK_INT(p[2].res, ==, -ECANCELED);
	CHECK_INT(p[3].res, ==, -ECANCELED);
	CHECK_INT(after.res, ==, 0);
	for (unsigned i = 0; i < 4; i++)
		CHECK_INT(p[i].finished, ==, 1);
	close_ring();
}

TEST(op_chain_member_cancelled_while_queued_takes_what_follows)
{
	struct probe full[4], p[4], after;
	struct op *chain[4];

	open_ring(4, 8);
	submit_nops(full, 4);
	probe_chain(p, chain, 4, "nfnn");
	CHECK_INT(op_submit_chain(&ops, chain, 4), ==, 0);
	submit_nops(&after, 1);
	CHECK_INT(ops.queued, ==, 5);
	CHECK(!probe_cancel(&p[2]));
	ops_check(&ops);
	CHECK_INT(ops.queued, ==, 3);
	CHECK_INT(ops.undelivered, ==, 2);
	CHECK_INT(p[3].finished, ==, 0);
	run_until_idle();
	CHECK_INT(p[0].res, ==, 0);
	CHECK_INT(p[1].res, ==, -EBADF);
	CHECK_INT(p[2].res, ==, -ECANCELED);
	CHECK_INT(p[3].res, ==, -ECANCELED);
	CHECK_INT(p[2].prepared + p[3].prepared, ==, 0);
	CHECK_INT(after.res, ==, 0); /* p[1], now the last, has no link to it */
	for (unsigned i = 0; i < 4; i++)
		CHECK_INT(p[i].finished, ==, 1);
	close_ring();
}

TEST(op_chain_first_member_cancelled_while_queued_takes_all)
{
	struct probe full[2], p[2], before, after;
	struct op *chain[2];

	open_ring(2, 4);
	submit_nops(full, 2);
	probe_init(&before, &class_fail);
	op_submit(&ops, &before.op);
	probe_chain(p, chain, 2, "nn");
	CHECK_INT(op_submit_chain(&ops, chain, 2), ==, 0);
	submit_nops(&after, 1);
	CHECK(!probe_cancel(&p[0]));
	run_until_idle();
	CHECK_INT(p[0].res, ==, -ECANCELED);
	CHECK_INT(p[1].res, ==, -ECANCELED);
	CHECK_INT(before.res, ==, -EBADF);
	CHECK_INT(after.res, ==, 0);
	close_ring();
}

TEST(op_chain_live_member_cancelled_breaks_the_chain)
{
	struct probe p[2];
	struct op *chain[2];

	open_ring(2, 4);
	probe_chain(p, chain, 2, "pn");
	CHECK_INT(op_submit_chain(&ops, chain, 2), ==, 0);
	enter_and_reap(false);
	CHECK(probe_cancel(&p[0]));
	run_until_idle();
	CHECK_INT(p[0].res, ==, -ECANCELED);
	CHECK_INT(p[1].res, ==, -ECANCELED);
	CHECK_INT(p[0].finished + p[1].finished, ==, 2);
	close_ring();
}

TEST(op_finish_may_free_its_memory)
{
	struct probe *p[4];

	open_ring(2, 4);
	for (unsigned i = 0; i < 4; i++) {
		p[i] = malloc(sizeof(*p[i]));
		CHECK(p[i]);
		probe_init(p[i], &class_nop);
		p[i]->on_heap = true;
		op_submit(&ops, &p[i]->op);
	}
	probe_cancel(p[3]); /* by a local finish */
	run_until_idle();
	CHECK_INT(freed, ==, 4);
	close_ring();
}

/* The op's memory goes while its cancel, which lies elsewhere, is still out. */
TEST(op_cancel_forgets_a_target_that_was_freed)
{
	struct probe *p = malloc(sizeof(*p));
	struct op_cancel by;

	open_ring(2, 4);
	CHECK(p);
	probe_init(p, &class_pend);
	p->on_heap = true;
	op_cancel_init(&by, NULL);
	op_submit(&ops, &p->op);
	enter_and_reap(false);
	probe_ready(p);
	CHECK_INT(ring_enter(&ring, 1, TURN_LIMIT_NS), ==, 0);
	CHECK(op_cancel_with(&ops, &p->op, &by));
	ops_reap(&ops, 64);
	CHECK_INT(freed, ==, 1);
	CHECK(!by.target);
	CHECK(op_busy(&by.op));
	run_until_idle();
	CHECK_INT(by.op.state, ==, OP_IDLE);
	close_ring();
}

TEST(op_finish_may_submit_again)
{
	struct probe p[3];

	open_ring(2, 4);
	submit_nops(p, 3);
	p[0].again = p[2].again = 5;
	run_until_idle();
	CHECK_INT(p[0].finished, ==, 6);
	CHECK_INT(p[1].finished, ==, 1);
	CHECK_INT(p[2].finished, ==, 6);
	CHECK_INT(p[2].res, ==, 0);
	close_ring();
}

static struct probe victim;

static void cancel_victim(struct op *op, const struct op_event *ev)
{
	probe_finish(op, ev);
	probe_cancel(&victim);
}

static const struct op_class class_killer = { OP_NOP, probe_prepare, cancel_victim };

TEST(op_finish_may_cancel_another)
{
	struct probe killer[2];

	open_ring(2, 4);
	probe_init(&victim, &class_pend);
	op_submit(&ops, &victim.op);
	probe_init(&killer[0], &class_killer);
	op_submit(&ops, &killer[0].op);
	run_until_idle();
	CHECK_INT(victim.res, ==, -ECANCELED);
	CHECK_INT(victim.cancels_done, ==, 1);
	close_ring();
}

/* What a finish ends during ops_deliver() waits for the next one: the stage is bounded. */
TEST(op_deliver_leaves_what_it_caused)
{
	struct probe full[2], killer;

	open_ring(2, 4);
	submit_nops(full, 2);
	probe_init(&killer, &class_killer);
	op_submit(&ops, &killer.op);
	probe_init(&victim, &class_nop);
	op_submit(&ops, &victim.op);
	probe_cancel(&killer);
	CHECK_INT(ops_deliver(&ops), ==, 1);
	CHECK_INT(killer.finished, ==, 1);
	CHECK_INT(victim.finished, ==, 0);
	CHECK_INT(ops.undelivered, ==, 1);
	CHECK_INT(ops_deliver(&ops), ==, 1);
	CHECK_INT(victim.res, ==, -ECANCELED);
	run_until_idle();
	close_ring();
}

static unsigned foreign_seen;
static uint64_t foreign_data;

static void on_foreign(void *ctx, const struct io_uring_cqe *cqe)
{
	CHECK(ctx == &foreign_seen);
	foreign_seen++;
	foreign_data = cqe->user_data;
}

TEST(op_completion_with_a_tag_is_foreign)
{
	struct io_uring_sqe *sqe;

	open_ring(2, 4);
	ops.foreign = on_foreign;
	ops.foreign_ctx = &foreign_seen;
	sqe = ring_sqe(&ring);
	CHECK(sqe);
	io_uring_prep_nop(sqe);
	sqe->user_data = 0x1003;
	sqe = ring_sqe(&ring);
	CHECK(sqe);
	io_uring_prep_nop(sqe);
	sqe->user_data = 0; /* nobody's: ignored */
	CHECK_INT(ring_enter(&ring, 2, TURN_LIMIT_NS), ==, 0);
	CHECK_INT(ops_reap(&ops, 64), ==, 2);
	CHECK_INT(foreign_seen, ==, 1);
	CHECK_INT(foreign_data, ==, 0x1003);
	close_ring();
}

TEST(op_reap_stops_at_its_bound)
{
	struct probe p[2];

	open_ring(2, 4);
	submit_nops(p, 2);
	CHECK_INT(ring_enter(&ring, 2, TURN_LIMIT_NS), ==, 0);
	CHECK_INT(ops_reap(&ops, 1), ==, 1);
	CHECK_INT(p[0].finished, ==, 1);
	CHECK_INT(p[1].finished, ==, 0);
	run_until_idle();
	close_ring();
}

static void submit_twice(void)
{
	struct probe p;

	open_ring(2, 4);
	probe_init(&p, &class_nop);
	op_submit(&ops, &p.op);
	op_submit(&ops, &p.op);
}

static void submit_without_reset(void)
{
	struct probe p;

	open_ring(2, 4);
	probe_init(&p, &class_nop);
	op_submit(&ops, &p.op);
	run_until_idle();
	op_submit(&ops, &p.op);
}

static void reset_live(void)
{
	struct probe p;

	open_ring(2, 4);
	probe_init(&p, &class_nop);
	op_submit(&ops, &p.op);
	op_reset(&p.op);
}

static void fini_with_live(void)
{
	struct probe p;

	open_ring(2, 4);
	probe_init(&p, &class_nop);
	op_submit(&ops, &p.op);
	ops_fini(&ops);
}

static void reuse_busy_cancel(void)
{
	struct probe p[2];

	open_ring(4, 8);
	for (unsigned i = 0; i < 2; i++) {
		probe_init(&p[i], &class_pend);
		op_submit(&ops, &p[i].op);
	}
	enter_and_reap(false);
	op_cancel_with(&ops, &p[0].op, &p[0].cancel);
	op_cancel_with(&ops, &p[1].op, &p[0].cancel);
}

static void zero_copy_inside_a_chain(void)
{
	static const struct op_class class_zc = { OP_SEND_ZC, probe_prepare, probe_finish };
	struct probe p[2];
	struct op *chain[2] = { &p[0].op, &p[1].op };

	open_ring(4, 8);
	probe_init(&p[0], &class_nop);
	probe_init(&p[1], &class_zc);
	op_submit_chain(&ops, chain, 2);
}

TEST(op_misuse_aborts)
{
	open_ring(2, 4); /* or skip here, not in the children */
	close_ring();
	CHECK_DIES(submit_twice, SIGABRT, "submitted in state");
	CHECK_DIES(submit_without_reset, SIGABRT, "submitted in state");
	CHECK_DIES(reset_live, SIGABRT, "nop: state");
	CHECK_DIES(fini_with_live, SIGABRT, "1 ops live");
	CHECK_DIES(reuse_busy_cancel, SIGABRT, "IDLE");
	CHECK_DIES(zero_copy_inside_a_chain, SIGABRT, "send_zc inside a chain");
}
