/* What is allocated before event 0, where, and what the ledger then says is free. */
#include <check.h>
#include <string.h>

#include "sim/start_state.h"
#include "tests/support/story.h"

static struct story *story;
static struct machine *machine;

static void set_up(void)
{
	story = story_new();
	story_alloc(story, 1, 1);
	story_free_all(story, 1);
}

static void tear_down(void)
{
	g_clear_pointer(&machine, machine_free);
	story_free(story);
}

/* The story's machine after boot with the bitmap. */
static void power_on(void)
{
	const struct frame_ops *bitmap = frame_find("bitmap");
	struct frame_config config;
	GError *error = NULL;

	frame_config_defaults(bitmap, &config);
	machine = machine_new(story->machine, &error);
	ck_assert_msg(machine, "%s", error ? error->message : "");
	machine_enter(machine);
	ck_assert(machine_boot(machine, kernels[PASS_NATIVE].boot, bitmap, &config, &error));
	machine_leave();
}

static bool free_of_boot(const void *context, uint64_t frame)
{
	const struct memmap *map = &machine->boot.map;

	for (uint32_t i = 0; i < map->count; i++)
		if (frame - map->ranges[i].first.n < map->ranges[i].frames)
			return true;
	return false;
}

static GArray *items(enum replay_start start, uint64_t seed)
{
	GError *error = NULL;
	struct trace_reader *reader = trace_reader_open(story_write(story), &error);

	ck_assert_msg(reader, "%s", error ? error->message : "");
	if (!machine)
		power_on();
	GArray *array = start_items(reader, machine, start, seed, free_of_boot, NULL, &error);
	ck_assert_msg(array, "%s", error ? error->message : "");
	trace_reader_free(reader);
	return array;
}

static const struct start_item *item(const GArray *array, guint index)
{
	return &g_array_index(array, struct start_item, index);
}

static bool same_order(const GArray *a, const GArray *b)
{
	bool same = a->len == b->len;

	for (guint i = 0; same && i < a->len; i++)
		same = item(a, i)->handle == item(b, i)->handle &&
		       item(a, i)->frame == item(b, i)->frame;
	return same;
}

static void prologue_of(unsigned count, uint64_t first, unsigned step)
{
	/* Backwards: the order is the start mode's business. */
	for (unsigned i = count; i > 0; i--)
		story_start(story, 1 + i, first + (uint64_t)step * (i - 1), 1);
}

/* The recorded kernel had so many free frames at event 0. */
static void state_known(uint64_t free_frames)
{
	story->meta->state_known = true;
	story->meta->free_frames = free_frames;
	story->meta->managed_frames = 1900;
}

/* ---- order ---- */

START_TEST(items_come_by_recorded_frame)
{
	prologue_of(50, 0x200, 3);
	GArray *array = items(START_ASCENDING, 0);
	ck_assert_uint_eq(array->len, 50);
	for (guint i = 0; i < array->len; i++) {
		ck_assert_uint_eq(item(array, i)->frame, 0x200 + 3 * i);
		ck_assert_uint_eq(item(array, i)->handle, 2 + i);
	}
	g_array_unref(array);
}
END_TEST

START_TEST(shuffle_is_a_permutation_chosen_by_the_seed)
{
	unsigned char seen[50] = { 0 };

	prologue_of(50, 0x200, 3);
	GArray *one = items(START_SHUFFLED, 1), *again = items(START_SHUFFLED, 1),
	       *other = items(START_SHUFFLED, 2), *plain = items(START_ASCENDING, 1);
	ck_assert(same_order(one, again));
	ck_assert(!same_order(one, other));
	ck_assert(!same_order(one, plain));
	for (guint i = 0; i < one->len; i++)
		seen[item(one, i)->handle - 2]++;
	for (guint i = 0; i < 50; i++)
		ck_assert_uint_eq(seen[i], 1);
	g_array_unref(one);
	g_array_unref(again);
	g_array_unref(other);
	g_array_unref(plain);
}
END_TEST

START_TEST(untouched_frames_of_unknown_place_are_spread_evenly)
{
	const unsigned prologue = 300, wanted = 30;
	guint at = 0;

	/* All that the kernel could have owned, less what it had free: measured on a story without
	 * any. */
	prologue_of(prologue, 0x200, 2);
	state_known(0);
	power_on();
	story->meta->prologue_frames = prologue;
	uint64_t most = start_untouched_frames(story->meta, machine);
	story->meta->free_frames = most - wanted;
	GArray *array = items(START_ASCENDING, 5);
	ck_assert_uint_eq(array->len, prologue + wanted);
	for (unsigned stretch = 0; stretch < wanted; stretch++) {
		unsigned unknown = 0, known = 0;
		for (; known < prologue / wanted || (at < array->len && !item(array, at)->handle);
		     at++) {
			ck_assert_uint_lt(at, array->len);
			known += item(array, at)->handle != 0;
			unknown += item(array, at)->handle == 0;
			if (!item(array, at)->handle)
				ck_assert(item(array, at)->frame == EVENT_NO_FRAME);
		}
		ck_assert_msg(unknown <= 2, "stretch %u holds %u", stretch, unknown);
	}
	GArray *other = items(START_ASCENDING, 6);
	ck_assert(!same_order(array, other));
	g_array_unref(array);
	g_array_unref(other);
}
END_TEST

START_TEST(untouched_frames_of_known_place_keep_it)
{
	struct trace_frame_range range = { 0x300, 40 };
	unsigned known = 0, unknown = 0;

	prologue_of(10, 0x200, 1);
	state_known(0);
	power_on();
	story->meta->prologue_frames = 10;
	uint64_t most = start_untouched_frames(story->meta, machine);
	story->meta->free_frames = most - 60;
	story->meta->untouched_known = true;
	/* 40 of the 60 have a place; the last frame of the list is past RAM and is nobody's. */
	g_array_append_val(story->meta->untouched, range);
	range = (struct trace_frame_range){ 0x100000, 1 };
	g_array_append_val(story->meta->untouched, range);
	GArray *array = items(START_RECORDED, 1);
	for (guint i = 0; i < array->len; i++) {
		if (item(array, i)->handle)
			continue;
		if (item(array, i)->frame == EVENT_NO_FRAME) {
			unknown++;
			continue;
		}
		ck_assert_uint_ge(item(array, i)->frame, 0x300);
		ck_assert_uint_lt(item(array, i)->frame, 0x300 + 40);
		known++;
	}
	ck_assert_uint_eq(known, 40);
	ck_assert_uint_eq(unknown, 20);
	g_array_unref(array);
}
END_TEST

START_TEST(a_kernel_that_had_more_free_than_ours_leaves_nothing_untouched)
{
	prologue_of(10, 0x200, 1);
	state_known(1000000);
	GArray *array = items(START_ASCENDING, 1);
	ck_assert_uint_eq(array->len, 10);
	g_array_unref(array);
}
END_TEST

/* ---- in a replay ---- */

static const enum replay_start modes[] = { START_ASCENDING, START_RECORDED, START_SHUFFLED };

START_TEST(free_frames_at_event_0_are_those_recorded)
{
	prologue_of(100, 0x200, 2);
	state_known(1234);
	for (const struct frame_ops *const *ops = frame_registry; *ops; ops++) {
		for (unsigned pass = 0; pass < PASSES; pass++) {
			struct replay_config config = story_config(story, (*ops)->name);
			struct replay_result result;
			config.start = modes[_i];
			config.seed = 3;
			config.until = 0; /* takes one frame */
			story_pass_sampled(&config, pass, &result);
			ck_assert_msg(result.violations == 0, "%s:%s", (*ops)->name,
				      story_describe(&result));
			ck_assert_uint_eq(result.start_failures, 0);
			ck_assert_uint_eq(story_metric(&result, "live_frames"), 100 + 1);
			ck_assert_msg(story_metric(&result, "free_frames") == 1234 - 1,
				      "%s: %ju free", (*ops)->name,
				      (uintmax_t)story_metric(&result, "free_frames"));
			ck_assert_uint_gt(result.untouched_frames, 0);
			ck_assert_uint_eq(result.prologue, 100);
			replay_result_clear(&result);
		}
	}
}
END_TEST

START_TEST(untouched_frames_cost_the_same_where_their_place_is_known)
{
	struct trace_frame_range range = { 0x500, 700 };

	prologue_of(100, 0x200, 2);
	state_known(1000);
	story->meta->untouched_known = true;
	g_array_append_val(story->meta->untouched, range);
	struct replay_config config = story_config(story, "bitmap");
	struct replay_result result;
	config.start = modes[_i];
	config.until = 0;
	story_pass_sampled(&config, PASS_NATIVE, &result);
	ck_assert_msg(result.violations == 0, "%s", story_describe(&result));
	ck_assert_uint_eq(story_metric(&result, "free_frames"), 1000 - 1);
	replay_result_clear(&result);
}
END_TEST

START_TEST(recorded_places_that_our_kernel_took_are_counted_as_displaced)
{
	power_on();
	uint64_t taken = machine->boot.state_range.first.n;
	story_start(story, 2, taken, 1);
	story_start(story, 3, 0x300, 1);
	story_start(story, 4, 0x400000, 1);	  /* past RAM */
	story_start(story, 5, EVENT_NO_FRAME, 1); /* nowhere in particular: not displaced */
	for (unsigned pass = 0; pass < PASSES; pass++) {
		struct replay_config config = story_config(story, "bitmap");
		struct replay_result result;
		config.start = START_RECORDED;
		config.until = 0;
		story_pass_sampled(&config, pass, &result);
		ck_assert_msg(result.violations == 0, "%s", story_describe(&result));
		ck_assert_uint_eq(result.displaced, 2);
		ck_assert_uint_eq(result.start_failures, 0);
		ck_assert_uint_eq(story_metric(&result, "live_frames"), 4 + 1);
		replay_result_clear(&result);
		config.start = START_ASCENDING;
		story_pass(&config, pass, &result);
		ck_assert_uint_eq(result.displaced, 0);
		replay_result_clear(&result);
	}
}
END_TEST

static uint64_t digest_placed(const char *frames, enum replay_start start, bool place)
{
	struct replay_config config = story_config(story, frames);
	struct replay_result result;

	config.start = start;
	config.place_recorded = place;
	story_pass(&config, PASS_NATIVE, &result);
	ck_assert_msg(result.violations == 0, "%s:%s", frames, story_describe(&result));
	ck_assert_uint_eq(result.failures, 0);
	uint64_t digest = result.digest;
	replay_result_clear(&result);
	return digest;
}

START_TEST(recorded_places_make_all_that_can_place_alike)
{
	uint64_t frame = 0x240;

	prologue_of(32, 0x200, 2);
	g_array_index(story->events, struct event, 0).u.frame.frame = 0x201;
	for (uint64_t handle = 40; handle < 60; handle++)
		story_alloc(story, handle, 1)->u.frame.frame = frame += 4;
	for (uint64_t handle = 40; handle < 60; handle++)
		story_free_all(story, handle);
	uint64_t recorded = digest_placed("bitmap", START_RECORDED, true);
	ck_assert_uint_eq(digest_placed("buddy", START_RECORDED, true), recorded);
	ck_assert_uint_ne(digest_placed("bitmap", START_RECORDED, false), recorded);
	ck_assert_uint_eq(digest_placed("stack", START_RECORDED, true),
			  digest_placed("stack", START_RECORDED, false));
}
END_TEST

START_TEST(prologue_larger_than_ram_fails_without_blame)
{
	struct replay_result result;

	prologue_of(3000, 0x200, 1);
	for (guint i = 2; i <= 3001; i++)
		story_free_all(story, i);
	struct replay_config config = story_config(story, "bitmap");
	story_pass(&config, PASS_NATIVE, &result);
	ck_assert_msg(result.violations == 0, "%s", story_describe(&result));
	ck_assert_uint_eq(result.start_failures, 3000 - result.managed_frames);
	ck_assert_uint_eq(result.failures, 1); /* handle 1 found nothing */
	ck_assert_uint_eq(result.skipped, result.start_failures + 1);
	replay_result_clear(&result);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("start state");
	TCase *one = tcase_create("items");

	tcase_add_checked_fixture(one, set_up, tear_down);
	tcase_add_test(one, items_come_by_recorded_frame);
	tcase_add_test(one, shuffle_is_a_permutation_chosen_by_the_seed);
	tcase_add_test(one, untouched_frames_of_unknown_place_are_spread_evenly);
	tcase_add_test(one, untouched_frames_of_known_place_keep_it);
	tcase_add_test(one, a_kernel_that_had_more_free_than_ours_leaves_nothing_untouched);
	suite_add_tcase(suite, one);

	one = tcase_create("replay");
	tcase_add_checked_fixture(one, set_up, tear_down);
	tcase_set_timeout(one, 30);
	tcase_add_loop_test(one, free_frames_at_event_0_are_those_recorded, 0,
			    (int)G_N_ELEMENTS(modes));
	tcase_add_loop_test(one, untouched_frames_cost_the_same_where_their_place_is_known, 0,
			    (int)G_N_ELEMENTS(modes));
	tcase_add_test(one, recorded_places_that_our_kernel_took_are_counted_as_displaced);
	tcase_add_test(one, recorded_places_make_all_that_can_place_alike);
	tcase_add_test(one, prologue_larger_than_ram_fails_without_blame);
	suite_add_tcase(suite, one);

	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
