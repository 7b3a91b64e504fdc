/*
 * A few thousand random lives of ops on a ring of 2 SQEs and 4 CQEs: whatever is submitted, chained
 * and cancelled, and whenever, every submission finishes exactly once.
 */
#include "op_probe.h"

#define RANDOM_OPS 12

static struct probe many[RANDOM_OPS];
static unsigned submitted[RANDOM_OPS];
static uint64_t rng;

static unsigned below(unsigned n)
{
	rng = rng * 6364136223846793005u + 1442695040888963407u;
	return (unsigned)(rng >> 33) % n;
}

static struct probe *random_idle(void)
{
	for (unsigned i = 0, at = below(RANDOM_OPS); i < RANDOM_OPS; i++) {
		struct probe *p = &many[(at + i) % RANDOM_OPS];

		if (!op_busy(&p->op) && !op_busy(&p->cancel.op) && !p->op.cancelling)
			return p;
	}
	return NULL;
}

/* Its class is chosen anew with every life. */
static void revive(struct probe *p)
{
	static const struct op_class *const classes[] = { &class_nop, &class_pend, &class_fail };

	submitted[p - many]++;
	op_init(&p->op, classes[below(3)]);
}

static void random_submit(void)
{
	struct op *chain[2];
	unsigned n = below(3) == 0 ? 2 : 1, have = 0;

	while (have < n) {
		struct probe *p = random_idle();

		if (!p || (have && chain[0] == &p->op))
			break;
		revive(p);
		chain[have++] = &p->op;
		if (have == 1 && n == 2) /* so that random_idle() passes it by */
			p->op.cancelling = true;
	}
	if (have)
		probe_of(chain[0])->op.cancelling = false;
	if (have == 1)
		op_submit(&ops, chain[0]);
	else if (have == 2)
		CHECK_INT(op_submit_chain(&ops, chain, 2), ==, 0);
}

static void random_step(void)
{
	struct probe *p = &many[below(RANDOM_OPS)];
	uint64_t count;

	switch (below(6)) {
	case 0:
	case 1:
		random_submit();
		break;
	case 2:
		if (!op_busy(&p->cancel.op) || p->op.cancelling)
			probe_cancel(p);
		break;
	case 3:
		probe_ready(p);
		break;
	case 4:
		if (read(p->fd, &count, sizeof(count)) < 0)
			CHECK_INT(errno, ==, EAGAIN);
		break;
	default:
		ops_deliver(&ops);
		ops_flush(&ops);
		CHECK_INT(ring_enter(&ring, 0, 0), ==, 0);
		ops_reap(&ops, 1 + below(4));
	}
	ops_check(&ops);
}

TEST(op_random_lives_finish_exactly_once)
{
	for (uint64_t seed = 1; seed <= 40; seed++) {
		rng = seed;
		open_ring(2, 4);
		for (unsigned i = 0; i < RANDOM_OPS; i++) {
			probe_init(&many[i], &class_nop);
			many[i].fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
			submitted[i] = 0;
		}
		for (unsigned i = 0; i < 400; i++)
			random_step();
		for (unsigned i = 0; i < RANDOM_OPS; i++)
			probe_ready(&many[i]);
		run_until_idle();
		for (unsigned i = 0; i < RANDOM_OPS; i++) {
			if (many[i].finished != submitted[i])
				test_fail(__FILE__, __LINE__, "seed %d: op %u finished %u of %u",
					  (int)seed, i, many[i].finished, submitted[i]);
			close(many[i].fd);
		}
		CHECK_INT(ops.cancels, ==, 0);
		close_ring();
	}
}
