/* The I/O state of a worker over the mock ring, without a scheduler: for tx and rx. */
#ifndef RINGLINE_TESTS_FUZZ_IO_RIG_H
#define RINGLINE_TESTS_FUZZ_IO_RIG_H

#include "mock_ring.h"

#include "io/conn.h"

static struct caps rig_caps;
static struct loop rig_loop;
static struct io rig_io;
static struct ctx rig_ctx;

static void rig_open(const struct io_config *cfg)
{
	struct loop_config lc = {
		.ring = { .kernel = &mock_kernel, .sq_entries = 8, .cq_entries = 32 }
	};

	rig_caps = (struct caps){ .ok = true, .send_zc = true, .close_sends_fin = true };
	FUZZ_CHECK(loop_open(&rig_loop, &lc, NULL) == 0);
	FUZZ_CHECK(ring_enable(&rig_loop.ring, NULL) == 0);
	FUZZ_CHECK(io_open(&rig_io, &rig_loop, NULL, &rig_caps, cfg, NULL) == 0);
	rig_ctx = (struct ctx){ .loop = &rig_loop, .io = &rig_io };
	ctx_current_ = &rig_ctx;
}

static void rig_close(void)
{
	io_close(&rig_io);
	FUZZ_CHECK(!rig_io.leased);
	loop_close(&rig_loop);
	ctx_current_ = NULL;
}

#endif
