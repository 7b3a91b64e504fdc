/* rln_blocking and rln_blocking_owned: results, cancellation before and after fn began, the end. */
#include "rig.h"

#include <stdatomic.h>
#include <sys/resource.h>

static sem_t gate;
static atomic_int begun, freed;

static int answer(void *arg)
{
	atomic_fetch_add(&begun, 1);
	CHECK_INT(rln_worker(), ==, UINT32_MAX); /* no worker: nothing of it may be called here */
	CHECK_INT(rln_yield(), ==, -EPERM);
	return *(int *)arg;
}

static int wait_at_gate(void *arg)
{
	atomic_fetch_add(&begun, 1);
	while (sem_wait(&gate) < 0)
		;
	return arg ? *(int *)arg : 0;
}

static void free_arg(void *arg)
{
	atomic_fetch_add(&freed, 1);
	free(arg);
}

static int *heap_int(int v)
{
	int *p = malloc(sizeof *p);
	*p = v;
	return p;
}

TASK_TEST(blocking_returns_what_the_function_returned)
{
	CHECK_INT(rln_blocking(answer, &(int){ 42 }), ==, 42);
	CHECK_INT(rln_blocking(answer, &(int){ -EIO }), ==, -EIO);
	CHECK_INT(rln_blocking_owned(answer, heap_int(7), free_arg), ==, 7);
	CHECK_INT(atomic_load(&freed), ==, 1);
	CHECK_INT(rln_blocking_owned(answer, &(int){ 8 }, NULL), ==, 8);
	CHECK_INT(rln_blocking(NULL, NULL), ==, -EINVAL);
	CHECK_INT(rln_blocking_owned(NULL, NULL, free_arg), ==, -EINVAL);
	CHECK_INT(atomic_load(&freed), ==, 1);
}

static int open_gate(void *arg)
{
	(void)arg;
	return sem_post(&gate);
}

TASK_TEST(blocking_lets_other_tasks_run)
{
	rln_task t;

	CHECK(sem_init(&gate, 0, 0) == 0);
	for (int i = 0; i < 10; i++) {
		CHECK_INT(rln_spawn(open_gate, NULL, NULL, &t), ==, 0);
		CHECK_INT(rln_blocking(wait_at_gate, &(int){ i }), ==, i);
		CHECK_INT(rln_join(t, NULL), ==, 0);
	}
}

TASK_TEST(blocking_cancelled_at_entry_never_runs)
{
	CHECK_INT(RLN_WITHIN(0, rln_blocking(answer, &(int){ 1 })), ==, -ETIME);
	CHECK_INT(RLN_WITHIN(0, rln_blocking_owned(answer, &gate, free_arg)), ==, -ETIME);
	CHECK_INT(atomic_load(&begun), ==, 0);
	CHECK_INT(atomic_load(&freed), ==, 0);
}

static int hold(void *arg)
{
	return rln_blocking(wait_at_gate, arg);
}

/* All helper threads of this process are busy: what comes now is queued. */
static void fill_the_pool(rln_task *t, int n)
{
	for (int i = 0; i < n; i++)
		CHECK_INT(rln_spawn(hold, NULL, NULL, &t[i]), ==, 0);
	TASK_EVENTUALLY(atomic_load(&begun) == n);
}

static void empty_the_pool(rln_task *t, int n)
{
	for (int i = 0; i < n; i++)
		sem_post(&gate);
	for (int i = 0; i < n; i++)
		CHECK_INT(rln_join(t[i], NULL), ==, 0);
}

enum { POOL_MAX = 64 };

TASK_TEST(blocking_cancelled_while_queued_never_runs)
{
	rln_task t[POOL_MAX];

	CHECK(sem_init(&gate, 0, 0) == 0);
	fill_the_pool(t, POOL_MAX);
	CHECK_INT(RLN_WITHIN(RLN_MS(1), rln_blocking(answer, &(int){ 1 })), ==, -ETIME);
	empty_the_pool(t, POOL_MAX);
	CHECK_INT(atomic_load(&begun), ==, POOL_MAX);
}

TASK_TEST(blocking_owned_left_while_queued_runs_later_and_frees)
{
	rln_task t[POOL_MAX];

	CHECK(sem_init(&gate, 0, 0) == 0);
	fill_the_pool(t, POOL_MAX);
	CHECK_INT(RLN_WITHIN(RLN_MS(1), rln_blocking_owned(answer, heap_int(1), free_arg)), ==,
		  -ETIME);
	CHECK_INT(atomic_load(&freed), ==, 0);
	empty_the_pool(t, POOL_MAX);
	TASK_EVENTUALLY(atomic_load(&freed) == 1);
	CHECK_INT(atomic_load(&begun), ==, POOL_MAX + 1);
}

static int in_a_deadline(void *arg)
{
	rln_scope s;
	int *said = arg;

	rln_scope_begin(&s, RLN_MS(300)); /* for the thread to begin, on a busy machine too */
	int r = rln_blocking(wait_at_gate, &(int){ 9 });
	said[0] = rln_yield();
	rln_scope_end(&s);
	return r;
}

static void post_gate(rln_timer *t, void *arg)
{
	(void)t;
	(void)arg;
	sem_post(&gate);
}

TASK_TEST(blocking_begun_is_not_interrupted_and_its_result_wins)
{
	rln_timer t = { { 0 } };
	rln_task task;
	int said = 0, result = 0;

	CHECK(sem_init(&gate, 0, 0) == 0);
	CHECK_INT(rln_spawn(in_a_deadline, &said, NULL, &task), ==, 0);
	TASK_EVENTUALLY(atomic_load(&begun) == 1);
	rln_timer_start(&t, RLN_MS(400), post_gate, NULL); /* after the deadline */
	CHECK_INT(rln_join(task, &result), ==, 0);
	CHECK_INT(result, ==, 9);
	CHECK_INT(said, ==, -ETIME); /* the cancellation stayed pending */
}

TASK_TEST(blocking_whose_result_won_blames_no_scope)
{
	rln_timer t = { { 0 } };
	rln_scope s;

	CHECK(sem_init(&gate, 0, 0) == 0);
	rln_timer_start(&t, RLN_MS(400), post_gate, NULL);
	rln_scope_begin(&s, RLN_MS(300));
	CHECK_INT(rln_blocking(wait_at_gate, &(int){ 9 }), ==, 9);
	CHECK_INT(rln_scope_end(&s), ==, 0); /* it made no call fail */
}

TASK_TEST(blocking_owned_begun_is_left_at_once_and_freed_when_it_ends)
{
	rln_scope s;

	CHECK(sem_init(&gate, 0, 0) == 0);
	rln_scope_begin(&s, RLN_MS(1));
	CHECK_INT(rln_blocking_owned(wait_at_gate, heap_int(3), free_arg), ==, -ETIME);
	CHECK_INT(rln_scope_end(&s), ==, -ETIME);
	CHECK_INT(atomic_load(&freed), ==, 0);
	sem_post(&gate);
	TASK_EVENTUALLY(atomic_load(&freed) == 1);
}

static void in_callback(void *arg)
{
	CHECK_INT(rln_blocking(answer, arg), ==, -EDEADLK);
	CHECK_INT(rln_blocking_owned(answer, arg, NULL), ==, -EDEADLK);
	atomic_fetch_add(&begun, 1);
}

TASK_TEST(blocking_in_a_callback_is_refused)
{
	CHECK_INT(rln_post(NULL, 0, in_callback, NULL), ==, 0);
	TASK_EVENTUALLY(atomic_load(&begun) == 1);
}

static int go_and_leave(void *arg)
{
	(void)arg;
	return RLN_WITHIN(RLN_MS(1), rln_blocking_owned(wait_at_gate, heap_int(3), free_arg));
}

/* The runtime is gone; the function it left behind is not, and still frees its argument. */
TEST(blocking_owned_left_behind_outlives_the_runtime)
{
	rln_config cfg = { .workers = 1, .no_pin = true, .main = go_and_leave };
	rln_runtime *rt;

	CHECK(sem_init(&gate, 0, 0) == 0);
	CHECK_INT(rln_start(&cfg, &rt), ==, 0);
	CHECK_INT(rln_wait(rt), ==, 0);
	CHECK_INT(atomic_load(&freed), ==, 0);
	sem_post(&gate);
	EVENTUALLY(atomic_load(&freed) == 1);
}

/* At the shutdown: what is queued is cancelled, what runs is awaited. */
static int result_of_hold;

static int main_that_holds(void *arg)
{
	(void)arg;
	result_of_hold = rln_blocking(wait_at_gate, &(int){ 5 });
	return 0;
}

TEST(blocking_begun_is_awaited_by_the_shutdown)
{
	rln_config cfg = { .workers = 1, .no_pin = true, .main = main_that_holds };
	rln_runtime *rt;

	CHECK(sem_init(&gate, 0, 0) == 0);
	CHECK_INT(rln_start(&cfg, &rt), ==, 0);
	EVENTUALLY(atomic_load(&begun) == 1);
	rln_shutdown(rt);
	sem_post(&gate);
	CHECK_INT(rln_wait(rt), ==, 0);
	CHECK_INT(result_of_hold, ==, 5);
}

/* Stress: many tasks on several workers, deadlines that hit at any point. */
enum { TASKS = 8, EACH = 150 };
static atomic_int given, taken;

static int quick(void *arg)
{
	return *(int *)arg * 2;
}

static void count_free(void *arg)
{
	atomic_fetch_add(&taken, 1);
	free(arg);
}

static int many(void *arg)
{
	for (int i = 0; i < EACH; i++) {
		int v = i, e = RLN_WITHIN(RLN_US(i * 7 % 1500), rln_blocking(quick, &v));
		CHECK(e == 2 * i || e == -ETIME);
		int *p = heap_int(i);
		atomic_fetch_add(&given, 1);
		e = RLN_WITHIN(RLN_SEC(100), RLN_WITHIN(RLN_MS(1 + i % 2),
							rln_blocking_owned(quick, p, count_free)));
		CHECK(e == 2 * i || e == -ETIME);
		CHECK_INT(rln_yield(), ==, 0);
	}
	atomic_fetch_add((atomic_int *)arg, 1);
	return 0;
}

TASK_TEST_CFG(blocking_stress_frees_every_argument_once, .workers = 2)
{
	atomic_int done = 0;

	for (int i = 0; i < TASKS; i++)
		CHECK_INT(rln_go_on(NULL, i % 2 ? 1 : 0, many, &done, NULL), ==, 0);
	TASK_EVENTUALLY(atomic_load(&done) == TASKS);
	TASK_EVENTUALLY(atomic_load(&taken) == atomic_load(&given));
}
