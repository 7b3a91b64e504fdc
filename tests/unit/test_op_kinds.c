/*
 * Every kind of operation against the real kernel. Each kind is one test: all its rows run, each on
 * a ring of its own, and the kind must have been seen both to work and to fail. A kind without such
 * rows fails here.
 */
#include "op_rows.h"
#include "op_rows_ring.h"
#include "op_rows_file.h"
#include "op_rows_net.h"
#include "op_rows_recv.h"
#include "op_rows_send.h"

static const struct row rows[] = { ROWS_RING ROWS_FILE ROWS_NET ROWS_RECV ROWS_SEND };

#define ROWS (sizeof(rows) / sizeof(rows[0]))

static void run_rows(enum op_kind kind)
{
	for (unsigned i = 0; i < ROWS; i++) {
		if (rows[i].kind != kind)
			continue;
		fprintf(stderr, "  %s: %s\n", op_kind_name(kind), rows[i].name);
		bed_open(&bed, false);
		if (!bed_supports(&bed, op_kind_opcode(kind)))
			SKIP("%s: this kernel does not have it", op_kind_name(kind));
		rows[i].run();
		bed_close(&bed);
	}
	if (!seen_good[kind])
		test_fail(__FILE__, __LINE__, "no row in which %s works", op_kind_name(kind));
	if (!seen_bad[kind])
		test_fail(__FILE__, __LINE__, "no row in which %s fails", op_kind_name(kind));
}

#define KIND_TEST(id, name, opcode, props)   \
	TEST(op_kind_##id##_works_and_fails) \
	{                                    \
		run_rows(OP_##id);           \
	}
OP_KINDS(KIND_TEST)

TEST(op_kinds_have_names_of_their_own)
{
	for (unsigned i = 0; i < OP_KIND_COUNT; i++) {
		CHECK(op_io_class(i)->kind == i);
		for (unsigned j = 0; j < i; j++)
			CHECK(strcmp(op_kind_name(i), op_kind_name(j)) != 0);
	}
}

static void nvme_on_a_narrow_ring(void)
{
	struct nvme_uring_cmd cmd = { 0 };
	struct run r;

	bed_open(&bed, false);
	run_init(&r, OP_NVME);
	r.io.a.buf = &cmd;
	run_submit(&r);
}

TEST(op_kind_wide_aborts_on_a_narrow_ring)
{
	bed_open(&bed, false); /* or skip here, not in the child */
	CHECK_DIES(nvme_on_a_narrow_ring, SIGABRT, "wide");
}
