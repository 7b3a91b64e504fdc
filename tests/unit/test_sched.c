/* Who runs when: order, turns, slices, many tasks, and what idle ones give back. */
#include "task/fiber.h"
#include "task_fixture.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

static char order[64];
static unsigned order_n;

static void note(char c)
{
	CHECK_INT(order_n, <, sizeof order - 1);
	order[order_n++] = c;
	order[order_n] = 0;
}

static int note_thrice(void *arg)
{
	char c = *(char *)arg;
	for (int i = 0; i < 3; i++) {
		note(c);
		CHECK_INT(rln_yield(), ==, 0);
	}
	return 0;
}

TEST(sched_ready_tasks_run_first_in_first_out)
{
	sched_up(&(struct sched_config){ 0 });
	go(note_thrice, "a");
	go(note_thrice, "b");
	go(note_thrice, "c");
	CHECK_STR(order, "");
	sched_down();
	CHECK_STR(order, "abcabcabc");
}

static struct list queue;

static int wait_and_note(void *arg)
{
	CHECK_INT(wait_enter("wait"), ==, 0);
	CHECK_INT(wait_on(&queue, "wait"), ==, 5);
	note(*(char *)arg);
	return 0;
}

TEST(sched_tasks_run_in_the_order_they_were_woken_in)
{
	struct task *t[3];

	list_init(&queue);
	sched_up(&(struct sched_config){ 0 });
	t[0] = go(wait_and_note, "a");
	t[1] = go(wait_and_note, "b");
	t[2] = go(wait_and_note, "c");
	turn();
	CHECK(waiter_first(&queue)->task == t[0]);
	waiter_wake(t[2]->waiter, 5);
	CHECK_INT(wake_all(&queue, 5), ==, 2);
	CHECK(waiter_first(&queue) == NULL);
	CHECK(sched_busy(&sched));
	sched_down();
	CHECK(!sched_busy(&sched));
	CHECK_STR(order, "cab");
}

static int yield_for_ever(void *arg)
{
	(void)arg;
	while (rln_yield() == 0)
		;
	return 0;
}

TEST(sched_run_is_bounded_although_tasks_are_always_ready)
{
	sched_up(&(struct sched_config){ 0 });
	struct task *a = go(yield_for_ever, NULL), *b = go(yield_for_ever, NULL);
	uint64_t before = sched.stats.switches;
	turn();
	turn();
	turn();
	CHECK_INT(sched.stats.switches - before, >, 30);
	CHECK(sched_busy(&sched));
	task_cancel(a);
	task_cancel(b);
	sched_down();
}

static bool seen;

static int compute(void *arg)
{
	(void)arg;
	while (!seen)
		CHECK_INT(rln_checkpoint(), ==, 0);
	return 0;
}

static int see(void *arg)
{
	(void)arg;
	seen = true;
	return 0;
}

TEST(sched_checkpoint_lets_others_run_when_the_slice_is_over)
{
	sched_up(&(struct sched_config){ 0 });
	go(compute, NULL);
	go(see, NULL);
	sched_down();
	CHECK_INT(sched.stats.slices_ended, >=, 1);
}

static int quick_calls(void *arg)
{
	(void)arg;
	while (!seen)
		wait_done_quickly();
	return 0;
}

TEST(sched_calls_that_do_not_wait_use_up_the_slice)
{
	sched_up(&(struct sched_config){ 0 });
	go(quick_calls, NULL);
	go(see, NULL);
	sched_down();
	CHECK_INT(sched.stats.slices_ended, >=, 1);
}

static int ignore_cancel(void *arg)
{
	(void)arg;
	while (!seen)
		(void)rln_sleep(SECOND);
	return 0;
}

TEST(sched_ignored_cancellation_does_not_hold_up_others)
{
	sched_up(&(struct sched_config){ 0 });
	struct task *t = go(ignore_cancel, NULL);
	turn();
	task_cancel(t);
	turn();
	go(see, NULL);
	sched_down();
}

static unsigned ended;

static int short_life(void *arg)
{
	(void)arg;
	ended++;
	return 0;
}

static int waiting_life(void *arg)
{
	int res = wait_on(&queue, "wait");
	(void)arg;
	ended += res == 1;
	return 0;
}

#if defined(FIBER_TSAN)
#define MANY 500 /* ThreadSanitizer has room for so many fibers */
#else
#define MANY 10000
#endif

TEST(sched_ten_thousand_tasks_wait_and_end)
{
	list_init(&queue);
	sched_up(&(struct sched_config){ 0 });
	for (unsigned i = 0; i < MANY; i++)
		go(waiting_life, NULL);
	while (sched_busy(&sched))
		turn();
	CHECK_INT(ended, ==, 0);
	CHECK_INT(sched.stats.tasks, ==, MANY);
	CHECK_INT(wake_all(&queue, 1), ==, MANY);
	sched_down();
	CHECK_INT(ended, ==, MANY);
	CHECK_INT(sched.stats.tasks_peak, ==, MANY);
}

TEST(sched_short_tasks_share_one_stack)
{
	sched_up(&(struct sched_config){ 0 });
	for (unsigned i = 0; i < 1000; i++) {
		go(short_life, NULL);
		turn();
	}
	CHECK_INT(ended, ==, 1000);
	CHECK_INT(stack_pool_cached(&sched.stacks), ==, 1);
	CHECK_INT(sched.chunks, ==, 1);
	sched_down();
}

TEST(sched_more_tasks_than_allowed_are_refused)
{
	struct task_spec spec = { .fn = waiting_life, .file = "x.c" };
	struct task *t;

	list_init(&queue);
	sched_up(&(struct sched_config){ .max_tasks = 3 });
	for (unsigned i = 0; i < 3; i++)
		go(waiting_life, NULL);
	CHECK_INT(task_create(&sched, &spec, &t), ==, -EAGAIN);
	CHECK_INT(sched.stats.tasks, ==, 3);
	turn();
	wake_all(&queue, 1);
	drive();
	CHECK_INT(task_create(&sched, &spec, &t), ==, 0);
	turn();
	wake_all(&queue, 1);
	sched_down();
}

TEST(sched_without_mappings_left_refuses_tasks)
{
	struct task_spec spec = { .fn = short_life, .file = "x.c" };
	struct task *t;

	sched_up(&(struct sched_config){ 0 });
	sched.stacks.guard_kind = STACK_GUARD_MPROTECT;
	sched.stacks.map_limit = 4;
	go(short_life, NULL);
	go(short_life, NULL);
	CHECK_INT(task_create(&sched, &spec, &t), ==, -EAGAIN);
	CHECK_INT(sched.stats.tasks, ==, 2);
	drive();
	CHECK_INT(task_create(&sched, &spec, &t), ==, 0);
	sched_down();
	CHECK_INT(ended, ==, 3);
}

TEST(sched_refuses_nonsense)
{
	struct task_spec none = { .fn = NULL };
	struct task_spec big = { .fn = short_life, .stack_bytes = 9u << 20 };
	struct task_spec copy = { .fn = short_life, .copy = &big, .copy_bytes = 40000 };
	struct task *t;

	sched_up(&(struct sched_config){ 0 });
	CHECK_INT(task_create(&sched, &none, &t), ==, -EINVAL);
	CHECK_INT(task_create(&sched, &big, &t), ==, -EINVAL);
	CHECK_INT(task_create(&sched, &copy, &t), ==, -EINVAL);
	CHECK_INT(sched.stats.tasks, ==, 0);
	sched_down();
}

/* --- memory --- */

static unsigned resident(const struct stack *s)
{
	size_t page = sys_page_size(), n = (size_t)(s->top - s->bottom) / page;
	unsigned char vec[4096];
	unsigned count = 0;

	CHECK_INT(mincore(s->bottom, n * page, vec), ==, 0);
	for (size_t i = 0; i < n; i++)
		count += vec[i] & 1;
	return count;
}

static __attribute__((noinline)) void go_deep(void)
{
	volatile char deep[64 << 10];
	for (size_t i = 0; i < sizeof deep; i += 1024)
		deep[i] = 1;
}

static int deep_then_wait(void *arg)
{
	go_deep();
	return waiting_life(arg);
}

TEST(sched_parked_task_of_no_depth_holds_one_page)
{
	if (SANITIZED)
		SKIP("frames are larger under sanitizers");
	list_init(&queue);
	sched_up(&(struct sched_config){ 0 });
	unsigned pages = 0;
	for (unsigned i = 0; i < 64; i++)
		go(waiting_life, NULL);
	turn();
	list_for_each (n, &sched.tasks) {
		pages += resident(container_of(n, struct task, all)->stack);
	}
	CHECK_INT(pages, ==, 64);
	wake_all(&queue, 1);
	sched_down();
}

TEST(sched_long_parked_task_gives_back_its_depth)
{
	list_init(&queue);
	sched_up(&(struct sched_config){ .stack_trim_idle_ns = 5 * SECOND });
	struct task *t = go(deep_then_wait, NULL);
	turn();
	int64_t parked_ns = loop.now_ns;
	CHECK_INT(resident(t->stack), >=, 16);
	turn_at(parked_ns + 4 * SECOND);
	CHECK_INT(resident(t->stack), >=, 16);
	turn_at(parked_ns + 5 * SECOND + 2 * MS);
	CHECK_INT(resident(t->stack), <=, 2);
	CHECK_INT(sched.stacks.trims, ==, 1);
	CHECK_INT(loop.wheel.armed, ==, 0); /* nothing is left to trim */
	wake_all(&queue, 1);
	turn_at(parked_ns + 6 * SECOND);
	CHECK_INT(ended, ==, 1);
	sched_down();
}

TEST(sched_unused_stacks_give_back_their_pages)
{
	list_init(&queue);
	sched_up(&(struct sched_config){ .stack_trim_idle_ns = 5 * SECOND, .stacks_keep = 8 });
	struct task *t = go(deep_then_wait, NULL);
	struct stack *s = t->stack;
	turn();
	int64_t now_ns = loop.now_ns;
	wake_all(&queue, 1);
	turn_at(now_ns);
	CHECK_INT(sched.stats.tasks, ==, 0);
	CHECK_INT(resident(s), >=, 1);
	turn_at(now_ns + 5 * SECOND + 2 * MS);
	CHECK_INT(resident(s), ==, 0);
	CHECK_INT(loop.wheel.armed, ==, 0);
	sched_down();
}

/* --- dumps --- */

static int dumped(void *arg)
{
	(void)arg;
	RLN_DEADLINE(d, RLN_SEC(100));
	RLN_SHIELD(s, RLN_SEC(50));
	return wait_on(&queue, "rln_test");
}

/* What sched_dump() writes, as a string. */
static const char *dump_text(void)
{
	static char text[16384];
	size_t n = 0;
	int p[2];

	CHECK_INT(pipe(p), ==, 0);
	sched_dump(&sched, p[1]);
	close(p[1]);
	for (ssize_t r; (r = read(p[0], text + n, sizeof text - 1 - n)) > 0;)
		n += (size_t)r;
	text[n] = 0;
	close(p[0]);
	return text;
}

TEST(sched_dump_names_tasks_and_what_they_wait_for)
{
	list_init(&queue);
	sched_up(&(struct sched_config){ 0 });
	struct task *t = go(dumped, NULL);
	turn();
	task_cancel(t);
	go(short_life, NULL);
	const char *text = dump_text();
	CHECK_HAS(text, "worker 3: 2 tasks, at most 2 at a time\n");
	CHECK_HAS(text, "task 3.0 test (spawned here.c:7): waits in rln_test for 0.");
	CHECK_HAS(text, ", cancelled, shield " __FILE__ ":");
	CHECK_HAS(text, ", scope " __FILE__ ":");
	CHECK_HAS(text, " ends in 50.");
	CHECK_HAS(text, " ends in 100.");
	CHECK_HAS(text, " KiB, at most ");
	CHECK_HAS(text, "task 3.1 test (spawned here.c:7): ready, stack");
	wake_all(&queue, 0);
	sched_down();
}

static int dump_family(void *arg)
{
	rln_task t;
	(void)arg;
	CHECK_INT(rln_spawn(waiting_life, NULL, &(rln_task_opts){ .name = "kid" }, &t), ==, 0);
	CHECK_INT(rln_yield(), ==, 0);
	const char *text = dump_text();
	CHECK_HAS(text, "task 3.0 test (spawned here.c:7): running, stack ");
	CHECK_HAS(text, ", 1 children\n");
	CHECK_HAS(text, "task 3.1 kid (spawned ");
	CHECK_HAS(text, "test_sched.c:");
	CHECK_HAS(text, ", child of 3.0\n");
	return 0;
}

TEST(sched_dump_shows_the_running_task_and_who_belongs_to_whom)
{
	list_init(&queue);
	run(dump_family);
}

static int deep_scopes(void *arg)
{
	rln_scope s[11];
	(void)arg;
	for (unsigned i = 0; i < 11; i++)
		rln_scope_begin(&s[i], i == 10 ? 0 : RLN_FOREVER);
	rln_scope_cancel(&s[9]);
	const char *text = dump_text();
	CHECK_HAS(text, "running, scope " __FILE__ ":");
	CHECK_HAS(text, " expired, scope ");
	CHECK_HAS(text, " cancelled, scope ");
	CHECK_HAS(text, ", 3 more scopes, stack ");
	for (unsigned i = 11; i-- > 0;)
		rln_scope_end(&s[i]);
	return 0;
}

TEST(sched_dump_of_many_scopes_is_cut_not_the_stack)
{
	run(deep_scopes);
}

static unsigned peak_kib(void)
{
	const char *at = strstr(dump_text(), "at most ");
	CHECK(at != NULL);
	at = strstr(at + 1, "KiB, at most ");
	CHECK(at != NULL);
	return (unsigned)atoi(at + strlen("KiB, at most "));
}

static int deep_wait_shallow(void *arg)
{
	(void)arg;
	/* the depth is seen where the task parks */
	char deep[48 << 10];
	deep[0] = 1;
	__asm__ volatile("" : : "r"(deep) : "memory"); /* all of it is there */
	CHECK_INT(rln_yield(), ==, 0);
	return deep[0];
}

static int deep_once(void *arg)
{
	CHECK_INT(deep_wait_shallow(arg), ==, 1);
	return waiting_life(arg);
}

TEST(sched_dump_remembers_the_depth_that_was_trimmed)
{
	list_init(&queue);
	sched_up(&(struct sched_config){ .stack_trim_idle_ns = 5 * SECOND });
	go(deep_once, NULL);
	turn();
	int64_t parked_ns = loop.now_ns;
	CHECK_INT(peak_kib(), >=, 48);
	turn_at(parked_ns + 5 * SECOND + 2 * MS);
	CHECK_INT(sched.stacks.trims, ==, 1);
	CHECK_INT(peak_kib(), >=, 48);
	wake_all(&queue, 1);
	turn_at(parked_ns + 6 * SECOND);
	sched_down();
}

/* --- overflow --- */

static int grow(void *arg)
{
	volatile char frame[1024];
	frame[0] = 1;
	return seen ? 0 : grow(arg) + frame[0];
}

static void overflow(void)
{
	run(grow);
}

static void *overflow_thread(void *arg)
{
	overflow();
	return arg;
}

static void overflow_elsewhere(void)
{
	pthread_t id;
	pthread_create(&id, NULL, overflow_thread, NULL);
	pthread_join(id, NULL);
}

#if STACK_SCALE == 1
#define DIES(fn, text) CHECK_DIES(fn, SIGSEGV, text)
#define KIBS "128"
#elif defined(FIBER_TSAN)
#define DIES(fn, text) CHECK_DIES(fn, -66, text)
#define KIBS "512"
#else
#define DIES(fn, text) CHECK_DIES(fn, -1, text)
#define KIBS "512"
#endif
#define REPORT \
	"stack overflow in task test (spawned here.c:7), stack " KIBS " KiB, raise .stack_size"

TEST(sched_overflow_names_the_task_and_dies_by_the_fault)
{
	DIES(overflow, REPORT);
}

TEST(sched_overflow_is_reported_on_any_thread)
{
	DIES(overflow_elsewhere, REPORT);
}

static int use_alloca(void *arg)
{
	for (size_t n = 0; n < (2u << 20); n += 4096) {
		volatile char *p = __builtin_alloca(4096);
		*p = 1;
	}
	return arg != NULL;
}

static void overflow_alloca(void)
{
	run(use_alloca);
}

TEST(sched_overflow_by_alloca_is_reported)
{
	DIES(overflow_alloca, REPORT);
}

static bool handled;

static void handler(int signo, siginfo_t *info, void *context)
{
	(void)signo, (void)info, (void)context;
	handled = true;
	_exit(42);
}

static void overflow_with_handler(void)
{
	struct sigaction sa = { .sa_sigaction = handler, .sa_flags = SA_SIGINFO | SA_ONSTACK };
	sigaction(SIGSEGV, &sa, NULL);
	overflow();
}

TEST(sched_overflow_passes_the_fault_on_to_the_handler_before)
{
	CHECK_DIES(overflow_with_handler, -42, REPORT);
}

static int wild_store(void *arg)
{
	volatile int *nowhere = arg;
	*nowhere = 1;
	return 0;
}

static void fault_elsewhere(void)
{
	sched_up(&(struct sched_config){ 0 });
	void *hole = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	go(wild_store, hole);
	turn();
}

TEST(sched_other_faults_are_left_alone)
{
	DIES(fault_elsewhere, NULL);
	char text[4096];
	int p[2];
	CHECK_INT(pipe(p), ==, 0);
	fflush(NULL);
	pid_t pid = fork();
	if (pid == 0) {
		dup2(p[1], 2);
		close(p[1]);
		fault_elsewhere();
		_exit(0);
	}
	close(p[1]);
	size_t n = 0;
	for (ssize_t r; n < sizeof text - 1 && (r = read(p[0], text + n, sizeof text - 1 - n)) > 0;)
		n += (size_t)r;
	text[n] = 0;
	CHECK(!strstr(text, "raise .stack_size"));
}

static int jump_guard(void *arg)
{
	/* As a frame without probes would: far below the guard, and then it waits. */
	struct task *t = task_running();
	t->stack->bottom += t->stack->top - t->stack->bottom - 64;
	(void)arg;
	return rln_yield();
}

static void jump(void)
{
	run(jump_guard);
}

TEST(sched_park_off_the_stack_aborts_with_a_report)
{
	CHECK_DIES(jump, SIGABRT, "stack overflow in task test (spawned here.c:7)");
}
