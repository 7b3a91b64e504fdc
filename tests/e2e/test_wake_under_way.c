/* Receivers that leave, and come back, while the message that was to wake them is still under way.
 */
#include "rig.h"
#include <signal.h>

static rln_xchan *x;
static rln_scope waiting;
static int first, second, third, results[3];

/* In one turn: it is woken by a cancellation, takes what the message announces, and waits again. */
static int comes_back(void *arg)
{
	(void)arg;
	rln_scope_begin(&waiting, RLN_FOREVER);
	results[0] = rln_xchan_recv(x, &first);
	(void)rln_scope_end(&waiting);
	results[1] = rln_xchan_recv(x, &second);
	results[2] = rln_xchan_recv(x, &third);
	return 0;
}

TASK_TEST(xchan_receiver_that_comes_back_before_the_message_gets_everything)
{
	rln_task t;
	int one = 1, two = 2, none;

	CHECK_INT(rln_xchan_new(NULL, 0, sizeof(int), 4, &x), ==, 0);
	CHECK_INT(rln_spawn(comes_back, NULL, NULL, &t), ==, 0);
	CHECK_INT(rln_yield(), ==, 0);
	CHECK_INT(rln_xchan_try_send(x, &one), ==, 0); /* the message is on its way */
	rln_scope_cancel(&waiting);
	CHECK_INT(rln_yield(), ==, 0);
	CHECK_INT(results[0], ==, -ECANCELED);
	CHECK_INT(results[1], ==, 1);
	CHECK_INT(second, ==, 1);
	for (int i = 0; i < 3; i++) /* it runs, and finds nothing */
		CHECK_INT(rln_sleep(RLN_MS(1)), ==, 0);
	CHECK_INT(rln_xchan_try_send(x, &two), ==, 0);
	CHECK_INT(rln_join(t, NULL), ==, 0);
	CHECK_INT(results[2], ==, 1);
	CHECK_INT(third, ==, 2);
	rln_xchan_close(x);
	CHECK_INT(rln_xchan_recv(x, &none), ==, 0);
	rln_xchan_unref(x);
}

/* Nobody waits when it comes: the next one to ask has it, once. */
TASK_TEST(signal_that_came_while_nobody_waited_is_the_next_selects)
{
	/* never waits */
	rln_arm arms[] = { rln_on_signal(SIGUSR1), rln_on_after(0) };

	CHECK_INT(rln_select(arms, 2), ==, 1); /* from here on it is listened for */
	for (int i = 0; i < 3; i++) {
		CHECK_INT(kill(getpid(), SIGUSR1), ==, 0);
		while (rln_select(arms, 2) == 1)
			CHECK_INT(rln_sleep(RLN_MS(1)), ==, 0);
		CHECK_INT(arms[0].res, ==, 0);
		CHECK_INT(rln_select(arms, 2), ==, 1); /* once */
	}
}
