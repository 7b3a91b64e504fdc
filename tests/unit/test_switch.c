/*
 * The switch alone: what the ABI promises of a call holds across it, and a stack has an end.
 */
#include "task/switch.h"
#include "test.h"

#include <fenv.h>
#include <unwind.h>

#define STACK_BYTES 65536
#define ROUNDS 1000

int switch_regs(void **save, void *load, uint64_t seed);

static _Alignas(16) char stack_mem[3][STACK_BYTES];
static void *main_sp, *side_sp[3];
static int side_result, side_turns;
static void *side_arg;

static void side_open(int i, void (*fn)(void *))
{
	side_sp[i] = switch_prepare(stack_mem[i] + STACK_BYTES, fn, &stack_mem[i]);
}

static void side_leave(int i)
{
	task_switch(&side_sp[i], main_sp);
}

static void regs_side(void *arg)
{
	(void)arg;
	for (uint64_t seed = UINT64_C(0x5a5a5a5a00000000);; seed += 0x100) {
		int bad = switch_regs(&side_sp[0], main_sp, seed);
		if (bad)
			side_result = bad;
	}
}

TEST(switch_preserves_every_register_of_both_sides)
{
	side_open(0, regs_side);
	for (uint64_t i = 0; i < ROUNDS; i++)
		CHECK_INT(switch_regs(&main_sp, side_sp[0], UINT64_C(0xa5a5a5a500000000) + i), ==,
			  0);
	CHECK_INT(side_result, ==, 0);
}

static void arg_side(void *arg)
{
	side_arg = arg;
	side_turns = 1;
	for (;;) {
		side_leave(0);
		side_turns++;
	}
}

static void swap_side(void *arg)
{
	(void)arg;
	for (;;)
		side_leave(1);
}

/* Printed, for docs/PERFORMANCE.md: a time fails no test. */
TEST(switch_cost_is_printed)
{
	int64_t best_ns = INT64_MAX;

	side_open(1, swap_side);
	for (int run = 0; run < 30; run++) {
		int64_t begin_ns = test_now_ns();
		for (int i = 0; i < 20000; i++)
			task_switch(&main_sp, side_sp[1]);
		int64_t ns = test_now_ns() - begin_ns;
		best_ns = ns < best_ns ? ns : best_ns;
	}
	printf("  %.1f ns a switch, the best of 30 runs\n", (double)best_ns / 40000);
	CHECK_INT(best_ns, >, 0);
}

TEST(switch_first_entry_calls_the_function_with_its_argument)
{
	side_open(0, arg_side);
	CHECK_INT(side_turns, ==, 0);
	task_switch(&main_sp, side_sp[0]);
	CHECK(side_arg == &stack_mem[0]);
	for (int i = 1; i < ROUNDS; i++) {
		CHECK_INT(side_turns, ==, i);
		task_switch(&main_sp, side_sp[0]);
	}
}

static __attribute__((noinline)) void check_aligned(void)
{
	_Alignas(16) volatile char here[16];
	char text[64];

	here[0] = 1;
	side_result = (uintptr_t)here % 16 == 0 && (uintptr_t)__builtin_frame_address(0) % 16 == 0;
	/* Vector stores of libc trap on a stack that is not aligned. */
	snprintf(text, sizeof text, "%.3f %d", 1.5 + here[0], 7);
	side_arg = strcmp(text, "2.500 7") == 0 ? text : NULL;
	side_turns = side_arg != NULL;
}

static void align_side(void *arg)
{
	(void)arg;
	check_aligned();
	for (;;)
		side_leave(0);
}

TEST(switch_entry_has_the_alignment_of_a_call)
{
	side_open(0, align_side);
	task_switch(&main_sp, side_sp[0]);
	CHECK_INT(side_result, ==, 1);
	CHECK_INT(side_turns, ==, 1);
}

static void round_side(void *arg)
{
	(void)arg;
	side_result = fegetround();
	fesetround(FE_DOWNWARD);
	for (;;)
		side_leave(0);
}

/* Control words belong to the worker: the switch neither saves nor resets them. */
TEST(switch_leaves_the_rounding_mode_alone)
{
	fesetround(FE_UPWARD);
	side_open(0, round_side);
	task_switch(&main_sp, side_sp[0]);
	CHECK_INT(side_result, ==, FE_UPWARD);
	CHECK_INT(fegetround(), ==, FE_DOWNWARD);
	fesetround(FE_TONEAREST);
}

static void chain_side(void *arg)
{
	int i = (char *)arg == stack_mem[0] ? 0 : (char *)arg == stack_mem[1] ? 1 : 2;
	for (;;) {
		side_turns = side_turns * 10 + i + 1;
		if (i < 2)
			task_switch(&side_sp[i], side_sp[i + 1]);
		else
			side_leave(i);
	}
}

TEST(switch_goes_straight_from_one_side_to_another)
{
	for (int i = 0; i < 3; i++)
		side_open(i, chain_side);
	task_switch(&main_sp, side_sp[0]);
	CHECK_INT(side_turns, ==, 123);
	task_switch(&main_sp, side_sp[0]);
	CHECK_INT(side_turns, ==, 123123);
}

static uintptr_t frames[64];
static int frame_count;

static _Unwind_Reason_Code note_frame(struct _Unwind_Context *c, void *arg)
{
	(void)arg;
	if (frame_count == 64)
		return _URC_END_OF_STACK;
	frames[frame_count++] = _Unwind_GetIP(c);
	return _URC_NO_REASON;
}

static __attribute__((noinline)) int unwind_deep(int depth)
{
	int n = depth ? unwind_deep(depth - 1) + 1 : (int)_Unwind_Backtrace(note_frame, NULL);
	__asm__ volatile("" : "+r"(n));
	return n;
}

static void unwind_side(void *arg)
{
	(void)arg;
	side_result = unwind_deep(5);
	for (;;)
		side_leave(0);
}

TEST(switch_unwinding_ends_at_the_entry)
{
	uintptr_t entry = (uintptr_t)task_switch_entry;

	side_open(0, unwind_side);
	task_switch(&main_sp, side_sp[0]);
	/* Six of unwind_deep, unwind_side, the entry; an address of zero may follow. */
	CHECK_INT(frame_count, >=, 8);
	CHECK_INT(frame_count, <=, 9);
	CHECK(frames[7] > entry && frames[7] < entry + 64);
	if (frame_count == 9)
		CHECK_INT(frames[8], ==, 0);
}

/* The stack of a side that has left is unwound from its saved pointer by debuggers: main's too. */
static void unwind_main_side(void *arg)
{
	(void)arg;
	for (;;)
		side_leave(0);
}

TEST(switch_main_side_unwinds_after_coming_back)
{
	side_open(0, unwind_main_side);
	task_switch(&main_sp, side_sp[0]);
	CHECK_INT(_Unwind_Backtrace(note_frame, NULL), ==, _URC_END_OF_STACK);
	CHECK_INT(frame_count, >=, 2);
}
