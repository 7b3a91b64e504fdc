/*
 * What the simulated kernel judges: requests in vain (P7) and ends of streams that come late (P9)
 * are found, and what only looks like them is not.
 */
#include "base/sys.h"
#include "ring/bufring.h"
#include "ring/caps.h"
#include "ring/files.h"
#include "ring/ring.h"
#include "sim/world.h"
#include "test.h"
#include <netinet/in.h>
#include <signal.h>

#define PORT 7
#define GROUP 1
#define TIMES 6 /* more in a row than anybody needs */
#define TICK_NS 1000000

struct rig {
	struct world *w;
	struct ring ring;
	struct files files;
};
static struct rig rig;

static void start(enum world_linux version, enum world_fault always)
{
	struct world_config wc = { .version = (uint8_t)version,
				   .fault = { [0 ... FAULT_COUNT - 1] = RATE_OFF },
				   .judge = true };
	struct peer_config far = { .kind = PEER_SCRIPT };
	struct ring_config rc = { .sq_entries = 16, .cq_entries = 64 };
	struct diag why = { 0 };

	if (always < FAULT_COUNT)
		wc.fault[always] = RATE_ALWAYS;
	rig.w = world_new(1, &wc);
	world_enter(rig.w);
	rc.kernel = world_kernel(rig.w);
	world_remote(rig.w, PORT, &far);
	CHECK_INT(ring_open(&rig.ring, &rc, &why), ==, 0);
	CHECK_INT(ring_enable(&rig.ring, &why), ==, 0);
	CHECK_INT(files_open(&rig.files, &rig.ring, 1, 1, &why), ==, 0);
}

static void finish(void)
{
	files_close(&rig.files);
	ring_close(&rig.ring);
	world_enter(NULL);
	world_free(rig.w);
}

static void reaped(void *ctx, const struct io_uring_cqe *cqe)
{
	*(int *)ctx = cqe->res;
}

/* Submit what stands in the queue, and wait for one completion. Returns the last result. */
static int run(void)
{
	int res = 0;

	CHECK_INT(ring_enter(&rig.ring, 1, INT64_MAX), ==, 0);
	CHECK(ring_reap(&rig.ring, 64, reaped, &res));
	return res;
}

static void connect_slot(unsigned slot)
{
	static struct sockaddr_in to;

	to = (struct sockaddr_in){ .sin_family = AF_INET,
				   .sin_port = htons(PORT),
				   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	io_uring_prep_socket_direct(ring_sqe(&rig.ring), AF_INET, SOCK_STREAM, 0, slot, 0);
	CHECK_INT(run(), ==, 0);
	struct io_uring_sqe *sqe = ring_sqe(&rig.ring);
	io_uring_prep_connect(sqe, (int)slot, (const struct sockaddr *)&to, sizeof to);
	sqe->flags |= IOSQE_FIXED_FILE;
	CHECK_INT(run(), ==, 0);
}

static int receive(void)
{
	struct io_uring_sqe *sqe = ring_sqe(&rig.ring);

	io_uring_prep_recv(sqe, 0, NULL, 0, 0);
	sqe->flags |= IOSQE_FIXED_FILE | IOSQE_BUFFER_SELECT;
	sqe->buf_group = GROUP;
	sqe->user_data = 64;
	return run();
}

/* The only buffer is taken; who asks for another one gets none. */
static void receive_without_buffers(int64_t pause_ns)
{
	struct bufring b = { 0 };
	struct diag why = { 0 };

	start(LINUX_6_12, FAULT_COUNT);
	connect_slot(0);
	CHECK_INT(bufring_open(&b, &rig.ring, GROUP, 1, 1, 64, &why), ==, 0);
	CHECK_INT(peer_send(world_last_peer(rig.w), "abc", 3), ==, 3);
	CHECK_INT(receive(), ==, 3);
	for (unsigned i = 0; i < TIMES; i++) {
		CHECK_INT(receive(), ==, -ENOBUFS);
		world_run_until(rig.w, world_now(rig.w) + pause_ns);
	}
	bufring_close(&b);
	finish();
}

static void receive_at_once(void)
{
	receive_without_buffers(0);
}

TEST(prop_receive_without_buffers_again_and_again_is_a_spin)
{
	CHECK_DIES(receive_at_once, SIGABRT, "P7 (no spin");
	receive_without_buffers(TICK_NS);
}

/* All at once, or one after another: what is to be cancelled is in other hands. */
static void cancel_what_cannot_be(unsigned times)
{
	static uint8_t byte;

	start(LINUX_6_12, FAULT_CANCEL_LATE);
	connect_slot(0);
	struct io_uring_sqe *sqe = ring_sqe(&rig.ring);
	io_uring_prep_recv(sqe, 0, &byte, 1, 0);
	sqe->flags |= IOSQE_FIXED_FILE;
	sqe->user_data = 64;
	for (unsigned i = 0; i < times; i++)
		io_uring_prep_cancel64(ring_sqe(&rig.ring), 64, 0);
	(void)run();
	finish();
}

static void cancel_often(void)
{
	cancel_what_cannot_be(TIMES);
}

TEST(prop_cancel_that_misses_again_and_again_is_a_spin)
{
	CHECK_DIES(cancel_often, SIGABRT, "P7 (no spin");
	cancel_what_cannot_be(2);
}

static void close_slot(enum world_linux version, bool shut)
{
	start(version, FAULT_COUNT);
	connect_slot(0);
	if (shut) {
		struct io_uring_sqe *sqe = ring_sqe(&rig.ring);
		io_uring_prep_shutdown(sqe, 0, SHUT_WR);
		sqe->flags |= IOSQE_FIXED_FILE;
		CHECK_INT(run(), ==, 0);
	}
	io_uring_prep_close_direct(ring_sqe(&rig.ring), 0);
	CHECK_INT(run(), ==, 0);
	world_run_until(rig.w, world_now(rig.w) + 3 * INT64_C(1000000000));
	finish();
}

static void close_unannounced(void)
{
	close_slot(LINUX_6_1, false);
}

TEST(prop_end_of_a_stream_long_after_its_close_is_late)
{
	CHECK_DIES(close_unannounced, SIGABRT, "P9 (bounds");
	close_slot(LINUX_6_1, true);
	close_slot(LINUX_6_18, false); /* at once */
}
