/*
 * Where each system puts things: a memory map, operations, and the frames that come of it. What
 * the contract cannot ask, because every system answers differently.
 */
#include <check.h>
#include <stdlib.h>
#include "alloc/frame/placement.h"
#include "alloc/frame/systems.h"
#include "tests/support/frame_instance.h"

/*	[64 ................................ 192)	*/
static const struct frame_range plain[] = { { { 64 }, 128 } };
static const struct memmap plain_map = { plain, 1, 128, { 64 }, { 192 } };

static struct frame_instance *instance(const struct frame_ops *ops, uint64_t option)
{
	struct frame_config config;

	frame_config_defaults(ops, &config);
	if (ops->options)
		config.option[0] = option;
	return frame_instance_new(ops, &plain_map, &config);
}

static uint64_t alloc(struct frame_instance *in, uint32_t frames)
{
	struct frame_block b;

	ck_assert_int_eq(frame_instance_alloc(in, frames, &b), 0);
	return b.first.n;
}

static void give(struct frame_instance *in, uint64_t first, uint32_t frames)
{
	ck_assert_int_eq(frame_instance_give(in, first, frames), 0);
}

enum { FIRST_FIT, NEXT_FIT, BEST_FIT };

/*	before	#### 4 free #### 2 free #### 8 free #### ....
 *		64  68      72  76      78  82      90  94	*/
static void leave_holes(struct frame_instance *in)
{
	ck_assert_uint_eq(alloc(in, 30), 64);
	give(in, 68, 4);
	give(in, 76, 2);
	give(in, 82, 8);
}

START_TEST(first_fit_takes_the_lowest_hole)
{
	struct frame_instance *in = instance(&frame_bitmap, FIRST_FIT);

	leave_holes(in);
	/* Expect the hole of 4, of 4 again, of 8. */
	ck_assert_uint_eq(alloc(in, 2), 68);
	ck_assert_uint_eq(alloc(in, 2), 70);
	ck_assert_uint_eq(alloc(in, 5), 82);
	ck_assert_uint_eq(alloc(in, 1), 76);
	ck_assert_uint_eq(alloc(in, 64), 94);
	frame_instance_free(in);
}
END_TEST

START_TEST(next_fit_goes_on_behind_the_last)
{
	struct frame_instance *in = instance(&frame_bitmap, NEXT_FIT);

	leave_holes(in);
	/* Expect 94 on, though holes below would do; at the end, round again from the start. */
	ck_assert_uint_eq(alloc(in, 2), 94);
	ck_assert_uint_eq(alloc(in, 90), 96);
	ck_assert_uint_eq(alloc(in, 6), 186);
	ck_assert_uint_eq(alloc(in, 1), 68);
	ck_assert_uint_eq(alloc(in, 2), 69);
	ck_assert_uint_eq(alloc(in, 2), 76);
	frame_instance_free(in);
}
END_TEST

START_TEST(best_fit_takes_the_tightest_hole)
{
	struct frame_instance *in = instance(&frame_bitmap, BEST_FIT);

	leave_holes(in);
	/* Expect the hole of 2, of 4, of 8, then the rest. */
	ck_assert_uint_eq(alloc(in, 2), 76);
	ck_assert_uint_eq(alloc(in, 3), 68);
	ck_assert_uint_eq(alloc(in, 1), 71);
	ck_assert_uint_eq(alloc(in, 7), 82);
	ck_assert_uint_eq(alloc(in, 2), 94);
	frame_instance_free(in);
}
END_TEST

START_TEST(bitmap_runs_cross_words)
{
	struct frame_instance *in = instance(&frame_bitmap, FIRST_FIT);

	/* Words end at 128: Expect a run from 124 to 132. */
	ck_assert_uint_eq(alloc(in, 60), 64);
	ck_assert_uint_eq(alloc(in, 8), 124);
	give(in, 124, 8);
	ck_assert_uint_eq(alloc(in, 9), 124);
	frame_instance_free(in);
}
END_TEST

START_TEST(stack_is_last_in_first_out)
{
	static const uint64_t tips[] = { 0, 1, 2, 64 };
	struct frame_instance *in =
		instance(_i < 4 ? &frame_stack : &frame_stack_lazy, tips[_i % 4]);

	/* Expect the same whatever the tip's size, and from the lazy one too. */
	ck_assert_uint_eq(alloc(in, 1), 64);
	ck_assert_uint_eq(alloc(in, 1), 65);
	ck_assert_uint_eq(alloc(in, 1), 66);
	give(in, 65, 1);
	give(in, 64, 1);
	ck_assert_uint_eq(alloc(in, 1), 64);
	ck_assert_uint_eq(alloc(in, 1), 65);
	ck_assert_uint_eq(alloc(in, 1), 67);
	for (uint64_t f = 67; f >= 64; f--)
		give(in, f, 1);
	frame_instance_assert_sound(in);
	for (uint64_t f = 64; f <= 69; f++)
		ck_assert_uint_eq(alloc(in, 1), f);
	frame_instance_free(in);
}
END_TEST

START_TEST(stack_notices_a_write_to_a_free_frame)
{
	struct frame_instance *in = instance(&frame_stack, 0);
	struct violation v = { 0 };

	/* Records stand at line (frame % 64): for frame 100 at byte 36 * 64. */
	in->machine->ram[100 * 4096 + 36 * 64] ^= 1;
	ck_assert_int_eq(in->frames.ops->check(in->frames.state, &v), KERR_CORRUPT);
	ck_assert_uint_eq(v.invariant, 3);
	ck_assert_uint_eq(v.frame.n, 100);
	frame_instance_free(in);
}
END_TEST

START_TEST(a_lazy_stack_touches_no_fresh_frame)
{
	struct frame_instance *in = instance(&frame_stack_lazy, 0);

	/* Expect RAM to be as it was: 0 all over, but for the frames that came back. */
	for (uint64_t f = 64; f < 80; f++)
		ck_assert_uint_eq(alloc(in, 1), f);
	give(in, 70, 1);
	for (uint64_t i = 0; i < 192 * 4096; i++)
		if (in->machine->ram[i] && i / 4096 != 70)
			ck_abort_msg("frame %lu was touched", i / 4096);
	frame_instance_free(in);
}
END_TEST

START_TEST(range_list_fills_low_holes_and_joins_neighbours)
{
	struct frame_instance *in = instance(&frame_range_list, 0);
	uint64_t whole = frame_instance_digest(in);

	/*	before	[64 ......................... 192)	*/
	ck_assert_uint_eq(alloc(in, 8), 64);
	ck_assert_uint_eq(alloc(in, 8), 72);
	ck_assert_uint_eq(alloc(in, 8), 80);
	give(in, 76, 2);
	give(in, 66, 4);
	/* Expect the first range by address, though the other one would fit exactly. */
	ck_assert_uint_eq(alloc(in, 2), 66);
	ck_assert_uint_eq(alloc(in, 3), 88);
	give(in, 64, 4);
	give(in, 70, 6);
	give(in, 78, 13);
	ck_assert(frame_instance_digest(in) == whole);
	frame_instance_free(in);
}
END_TEST

START_TEST(buddy_splits_down_and_keeps_the_low_half)
{
	struct frame_instance *in = instance(&frame_buddy, 5);

	/* Blocks of 32 at 64, 96, 128, 160. Expect 64 cut into 1 + 1 + 2 + 4 + 8 + 16. */
	ck_assert_uint_eq(alloc(in, 1), 64);
	ck_assert_uint_eq(alloc(in, 1), 65);
	ck_assert_uint_eq(alloc(in, 4), 68);
	ck_assert_uint_eq(alloc(in, 2), 66);
	ck_assert_uint_eq(alloc(in, 16), 80);
	ck_assert_uint_eq(alloc(in, 16), 96);
	frame_instance_free(in);
}
END_TEST

START_TEST(merge_needs_a_buddy_of_the_same_order)
{
	struct frame_instance *in = instance(&frame_buddy, 3);

	/* Two neighbours that are not buddies: [65 66) and [66 67). */
	for (uint64_t f = 64; f < 72; f++)
		ck_assert_uint_eq(alloc(in, 1), f);
	give(in, 65, 1);
	give(in, 66, 1);
	/* Expect no block of 2 made of 65 and 66: the next one comes from 72. */
	ck_assert_uint_eq(alloc(in, 2), 72);
	give(in, 67, 1);
	/* Expect 66 and 67 to have merged. */
	ck_assert_uint_eq(alloc(in, 2), 66);
	frame_instance_free(in);
}
END_TEST

START_TEST(buddy_merges_up_to_max_order_only)
{
	struct frame_instance *in = instance(&frame_buddy, 4);
	struct frame_block b;

	ck_assert_int_eq(frame_instance_alloc(in, 32, &b), KERR_UNSUPPORTED);
	for (unsigned i = 0; i < 8; i++)
		alloc(in, 16);
	ck_assert_int_eq(frame_instance_alloc(in, 1, &b), KERR_NO_MEMORY);
	for (unsigned i = 0; i < 8; i++)
		give(in, 64 + i * 16, 16);
	frame_instance_assert_sound(in);
	frame_instance_free(in);
}
END_TEST

START_TEST(buddy_frees_the_middle_of_a_block)
{
	struct frame_instance *in = instance(&frame_buddy, 5);

	/*	################  -> ###.....########	*/
	ck_assert_uint_eq(alloc(in, 16), 64);
	give(in, 67, 5);
	frame_instance_assert_sound(in);
	/* Expect [68, 72) as a block of 4, [67] as a block of 1. */
	ck_assert_uint_eq(alloc(in, 1), 67);
	ck_assert_uint_eq(alloc(in, 4), 68);
	frame_instance_assert_sound(in);
	frame_instance_free(in);
}
END_TEST

/*	[1 .. 100)  [256 ... 300)  [400 ...... 500)	*/
START_TEST(placement_spares_low_memory_and_loses_nothing)
{
	struct frame_range ranges[4] = { { { 1 }, 99 }, { { 256 }, 44 }, { { 400 }, 100 } };
	struct memmap map = { ranges, 3, 243, { 1 }, { 500 } };
	struct placement p;
	struct pfn first;

	placement_init(&p, &map, ranges, 4);
	/* Expect the lowest range above 1 MiB that is long enough. */
	ck_assert_int_eq(placement_take(&p, 50, 1, &first), 0);
	ck_assert_uint_eq(first.n, 400);
	ck_assert_int_eq(placement_take(&p, 1, 1, &first), 0);
	ck_assert_uint_eq(first.n, 256);
	ck_assert_int_eq(placement_take(&p, 43, 1, &first), 0);
	ck_assert_uint_eq(first.n, 257);
	ck_assert_int_eq(placement_take(&p, 1, 1, &first), 0);
	ck_assert_uint_eq(first.n, 450);
	ck_assert_int_eq(placement_take(&p, 60, 1, &first), 0);
	ck_assert_uint_eq(first.n, 1);
	ck_assert_int_eq(placement_take(&p, 60, 1, &first), KERR_NO_MEMORY);
	/* Expect what was never taken: [61, 100) and [451, 500). */
	ck_assert_uint_eq(map.count, 2);
	ck_assert_uint_eq(map.frames, 39 + 49);
	ck_assert(memmap_is_sound(&map));
}
END_TEST

int main(void)
{
	Suite *s = suite_create("placement of blocks");
	TCase *t = tcase_create("bitmap");

	tcase_add_test(t, first_fit_takes_the_lowest_hole);
	tcase_add_test(t, next_fit_goes_on_behind_the_last);
	tcase_add_test(t, best_fit_takes_the_tightest_hole);
	tcase_add_test(t, bitmap_runs_cross_words);
	suite_add_tcase(s, t);
	t = tcase_create("stack");
	tcase_add_loop_test(t, stack_is_last_in_first_out, 0, 8);
	tcase_add_test(t, stack_notices_a_write_to_a_free_frame);
	tcase_add_test(t, a_lazy_stack_touches_no_fresh_frame);
	suite_add_tcase(s, t);
	t = tcase_create("range list");
	tcase_add_test(t, range_list_fills_low_holes_and_joins_neighbours);
	suite_add_tcase(s, t);
	t = tcase_create("buddy");
	tcase_add_test(t, buddy_splits_down_and_keeps_the_low_half);
	tcase_add_test(t, merge_needs_a_buddy_of_the_same_order);
	tcase_add_test(t, buddy_merges_up_to_max_order_only);
	tcase_add_test(t, buddy_frees_the_middle_of_a_block);
	suite_add_tcase(s, t);
	t = tcase_create("placement");
	tcase_add_test(t, placement_spares_low_memory_and_loses_nothing);
	suite_add_tcase(s, t);

	SRunner *runner = srunner_create(s);

	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);

	srunner_free(runner);
	return failed != 0;
}
