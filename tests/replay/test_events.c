/* What the events of a trace do in a replay: handles, partial frees, failures, and traces that make
 * no sense. */
#include <check.h>
#include <string.h>

#include "sim/lab.h"
#include "tests/support/bad_frames.h"
#include "tests/support/story.h"

extern const struct frame_ops *const probed_bad_frames[];

static struct story *story;

static void set_up(void)
{
	story = story_new();
}

static void tear_down(void)
{
	story_free(story);
}

/* A system with runs and frees but without partial frees: a defective one that never strikes. */
static struct replay_config whole_blocks_only(void)
{
	struct replay_config config = story_config_ops(story, bad_frames[0], probed_bad_frames[0]);

	ck_assert(!(bad_frames[0]->caps & FRAME_CAP_PARTIAL_FREE));
	config.frame_config.option[BAD_OPTION_EVERY] = UINT64_MAX;
	return config;
}

static void assert_sound(const struct replay_result *result)
{
	ck_assert_msg(result->violations == 0, "%s", story_describe(result));
	ck_assert(!result->died);
}

/* ---- partial frees ---- */

static void tell_parts(void)
{
	story_alloc(story, 1, 8);
	story_free_part(story, 1, 0, 2);
	story_free_part(story, 1, 4, 2);
	story_free_all(story, 1);
	story_alloc(story, 2, 8);
	story_free_part(story, 2, 4, 4);
	story_free_part(story, 2, 0, 4);
}

START_TEST(partial_frees_reach_an_allocator_that_can)
{
	struct replay_result result;

	tell_parts();
	for (unsigned pass = 0; pass < PASSES; pass++) {
		struct replay_config config = story_config(story, "bitmap");
		config.check_events = 1;
		story_pass_sampled(&config, pass, &result);
		assert_sound(&result);
		/* Handle 1: one alloc, two parts, the two runs that are left; handle 2: alloc, two
		 * parts. */
		ck_assert_uint_eq(result.operations, 5 + 3);
		ck_assert_uint_eq(result.deferred_frees, 0);
		ck_assert_uint_eq(story_metric(&result, "live_frames"), 0);
		replay_result_clear(&result);
	}
}
END_TEST

START_TEST(partial_frees_wait_for_the_last_part_where_the_allocator_cannot)
{
	struct replay_result result;

	tell_parts();
	for (unsigned pass = 0; pass < PASSES; pass++) {
		struct replay_config config = whole_blocks_only();
		config.check_events = 1;
		story_pass_sampled(&config, pass, &result);
		assert_sound(&result);
		ck_assert_uint_eq(result.operations, 2 + 2);
		ck_assert_uint_eq(result.deferred_frees, 2 + 1);
		ck_assert_uint_eq(story_metric(&result, "live_frames"), 0);
		replay_result_clear(&result);
	}
}
END_TEST

START_TEST(frames_of_a_deferred_free_stay_live)
{
	struct replay_config config;
	struct replay_result result;

	tell_parts();
	config = whole_blocks_only();
	config.until = 2;
	story_pass_sampled(&config, PASS_NATIVE, &result);
	ck_assert_uint_eq(story_metric(&result, "live_frames"), 8);
	replay_result_clear(&result);
	config = story_config(story, "bitmap");
	config.until = 2;
	story_pass_sampled(&config, PASS_NATIVE, &result);
	ck_assert_uint_eq(story_metric(&result, "live_frames"), 4);
	replay_result_clear(&result);
}
END_TEST

START_TEST(handle_freed_in_parts_may_be_used_again)
{
	struct replay_result result;

	for (unsigned i = 0; i < 3; i++)
		tell_parts();
	for (unsigned whole = 0; whole < 2; whole++) {
		struct replay_config config =
			whole ? whole_blocks_only() : story_config(story, "buddy");
		story_pass(&config, PASS_NATIVE, &result);
		assert_sound(&result);
		replay_result_clear(&result);
	}
}
END_TEST

START_TEST(what_was_given_beyond_the_request_comes_back_with_the_last_part)
{
	struct replay_config config;
	struct replay_result result;

	story_alloc(story, 1, 5); /* the buddy gives 8 */
	story_free_part(story, 1, 3, 2);
	story_free_part(story, 1, 0, 3);
	story_alloc(story, 2, 5);
	story_free_part(story, 2, 4, 1);
	story_free_all(story, 2);
	config = story_config(story, "buddy");
	config.check_events = 1;
	config.until = 1;
	story_pass_sampled(&config, PASS_PROBED, &result);
	ck_assert_uint_eq(story_metric(&result, "live_frames"), 6);
	ck_assert_uint_eq(story_metric(&result, "requested_frames"), 3);
	replay_result_clear(&result);
	config.until = REPLAY_ALL;
	story_pass_sampled(&config, PASS_PROBED, &result);
	assert_sound(&result);
	ck_assert_uint_eq(story_metric(&result, "live_frames"), 0);
	ck_assert_uint_eq(story_metric(&result, "requested_frames"), 0);
	replay_result_clear(&result);
}
END_TEST

/* ---- failures ---- */

START_TEST(events_of_a_failed_handle_are_skipped_and_counted)
{
	struct replay_result result;

	story_alloc(story, 1, 1 << 20); /* more than there is */
	story_free_part(story, 1, 0, 4);
	story_free_all(story, 1);
	story_alloc(story, 2, 1);
	story_alloc(story, 1, 2); /* and its number is free for another try */
	story_free_all(story, 1);
	for (unsigned pass = 0; pass < PASSES; pass++) {
		struct replay_config config = story_config(story, "bitmap");
		story_pass_sampled(&config, pass, &result);
		assert_sound(&result);
		ck_assert_uint_eq(result.failures, 1);
		ck_assert_uint_eq(result.skipped, 2);
		ck_assert_uint_eq(result.events, 6);
		ck_assert_uint_eq(result.operations, 4);
		ck_assert_uint_eq(story_metric(&result, "live_frames"), 1);
		ck_assert_uint_eq(story_metric(&result, "failures"), 1);
		replay_result_clear(&result);
	}
}
END_TEST

START_TEST(null_takes_until_nothing_is_left_and_is_not_blamed)
{
	struct replay_config config;
	struct replay_result result;

	for (uint64_t handle = 1; handle <= 4000; handle++) {
		story_alloc(story, handle, 1);
		story_free_all(story, handle);
	}
	config = story_config(story, "null");
	story_pass(&config, PASS_NATIVE, &result);
	assert_sound(&result);
	ck_assert_uint_eq(result.failures, 4000 - result.managed_frames);
	ck_assert_uint_eq(result.skipped, result.failures);
	replay_result_clear(&result);
}
END_TEST

/* ---- until, CPUs, other events ---- */

START_TEST(until_is_the_last_event_replayed)
{
	static const uint64_t untils[][2] = { { 0, 1 },	   { 3, 4 },	  { 98, 99 },
					      { 99, 100 }, { 5000, 100 }, { REPLAY_ALL, 100 } };
	struct replay_result result;

	for (uint64_t handle = 1; handle <= 100; handle++)
		story_alloc(story, handle, 1);
	struct replay_config config = story_config(story, "bitmap");
	for (unsigned i = 0; i < G_N_ELEMENTS(untils); i++) {
		config.until = untils[i][0];
		story_pass_sampled(&config, PASS_NATIVE, &result);
		ck_assert_msg(result.events == untils[i][1], "until %ju: %ju events",
			      (uintmax_t)untils[i][0], (uintmax_t)result.events);
		ck_assert_uint_eq(story_metric(&result, "live_frames"), untils[i][1]);
		replay_result_clear(&result);
	}
}
END_TEST

START_TEST(cpus_of_the_trace_are_taken_modulo_those_of_the_machine)
{
	struct replay_result result;

	story->machine->cpus = 3;
	for (uint64_t handle = 1; handle <= 200; handle++)
		story_alloc(story, handle, 1)->cpu = (uint16_t)(handle % 7 ? handle : 65535);
	for (unsigned pass = 0; pass < PASSES; pass++) {
		struct replay_config config = story_config(story, "bitmap");
		config.frame_config.cpus = 3;
		story_pass(&config, pass, &result);
		assert_sound(&result);
		ck_assert_uint_eq(result.failures, 0);
		replay_result_clear(&result);
	}
}
END_TEST

START_TEST(events_of_other_slots_are_passed_over)
{
	struct replay_result result;

	story_alloc(story, 1, 1);
	for (unsigned kind = EVENT_NONE + 1; kind < EVENT_KINDS; kind++) {
		if (kind == EVENT_FRAME_ALLOC || kind == EVENT_FRAME_FREE)
			continue;
		struct event event = { .kind = (uint8_t)kind, .time_ns = 5000 };
		g_array_append_val(story->events, event);
	}
	story_free_all(story, 1);
	struct replay_config config = story_config(story, "bitmap");
	story_pass(&config, PASS_NATIVE, &result);
	assert_sound(&result);
	ck_assert_uint_eq(result.events, EVENT_KINDS - 1);
	ck_assert_uint_eq(result.operations, 2);
	replay_result_clear(&result);
}
END_TEST

/* ---- simultaneous events ---- */

static uint64_t digest_of_seed(uint64_t seed)
{
	struct replay_config config = story_config(story, "bitmap");
	struct replay_result result;

	config.seed = seed;
	story_pass(&config, PASS_NATIVE, &result);
	assert_sound(&result);
	uint64_t digest = result.digest;
	replay_result_clear(&result);
	return digest;
}

START_TEST(seed_orders_events_of_one_instant_only)
{
	story_random(story, 3, 400, 2, 500);
	for (guint i = 0; i < story->events->len; i++)
		g_array_index(story->events, struct event, i).time_ns = i / 16;
	ck_assert_uint_eq(digest_of_seed(0), digest_of_seed(0));
	ck_assert_uint_eq(digest_of_seed(1), digest_of_seed(1));
	ck_assert_uint_ne(digest_of_seed(1), digest_of_seed(0));
	ck_assert_uint_ne(digest_of_seed(1), digest_of_seed(2));
	tear_down();
	set_up();
	story_random(story, 3, 400, 2, 500);
	ck_assert_uint_eq(digest_of_seed(1), digest_of_seed(0));
}
END_TEST

/* ---- traces that make no sense ---- */

static void free_of_nothing(void)
{
	story_free_all(story, 2);
}

static void free_twice(void)
{
	story_free_all(story, 1);
	story_free_all(story, 1);
}

static void part_of_what_is_gone(void)
{
	story_free_all(story, 1);
	story_free_part(story, 1, 0, 1);
}

static void alloc_twice(void)
{
	story_alloc(story, 1, 2);
}

static void part_outside(void)
{
	story_free_part(story, 1, 3, 2);
}

static void part_far_outside(void)
{
	story_free_part(story, 1, UINT32_MAX, 2);
}

static void whole_block_from_its_middle(void)
{
	story_free_part(story, 1, 1, 4);
}

static void part_twice(void)
{
	story_free_part(story, 1, 0, 2);
	story_free_part(story, 1, 1, 1);
}

static void whole_block_after_a_part(void)
{
	story_free_part(story, 1, 0, 2);
	story_free_part(story, 1, 0, 4);
}

static void alloc_of_handle_0(void)
{
	story_alloc(story, 0, 1);
}

static void free_of_handle_0(void)
{
	story_free_all(story, 0);
}

static void no_frames(void)
{
	story_alloc(story, 2, 0);
}

static void too_many_frames(void)
{
	story_alloc(story, 2, UINT32_MAX);
}

static void odd_alignment(void)
{
	story_alloc(story, 2, 1)->u.frame.align_frames = 3;
}

static void no_such_zone(void)
{
	story_alloc(story, 2, 1)->u.frame.zone = 200;
}

static void no_such_mobility(void)
{
	story_alloc(story, 2, 1)->u.frame.mobility = 200;
}

static void giant_handle(void)
{
	story_alloc(story, 1ull << 40, 1);
}

static void large_handle(void)
{
	story_alloc(story, 400000000, 1);
}

static void start_of_handle_0(void)
{
	story_start(story, 0, 0x200, 1);
}

static void start_twice(void)
{
	story_start(story, 3, 0x200, 1);
	story_start(story, 3, 0x201, 1);
}

static void start_of_no_frames(void)
{
	story_start(story, 2, 0x200, 0);
}

static void start_and_alloc(void)
{
	story_start(story, 2, 0x200, 1);
	story_alloc(story, 2, 1);
}

/* Each after event 0, which allocates 4 frames for handle 1. */
static const struct {
	const char *name;
	void (*tell)(void);
	const char *words; /* in the message */
} nonsense[] = {
	{ "free of nothing", free_of_nothing, "event 1:" },
	{ "free twice", free_twice, "event 2:" },
	{ "part of what is gone", part_of_what_is_gone, "event 2:" },
	{ "alloc twice", alloc_twice, "event 1:" },
	{ "part outside", part_outside, "event 1:" },
	{ "part far outside", part_far_outside, "event 1:" },
	{ "whole block from its middle", whole_block_from_its_middle, "event 1:" },
	{ "part twice", part_twice, "event 2:" },
	{ "whole block after a part", whole_block_after_a_part, "event 2:" },
	{ "alloc of handle 0", alloc_of_handle_0, "event 1:" },
	{ "free of handle 0", free_of_handle_0, "event 1:" },
	{ "no frames", no_frames, "event 1:" },
	{ "too many frames", too_many_frames, "event 1:" },
	{ "odd alignment", odd_alignment, "event 1:" },
	{ "no such zone", no_such_zone, "event 1:" },
	{ "no such mobility", no_such_mobility, "event 1:" },
	{ "giant handle", giant_handle, "handles" },
	{ "large handle", large_handle, "handles" },
	{ "start of handle 0", start_of_handle_0, "start section" },
	{ "start twice", start_twice, "start section" },
	{ "start of no frames", start_of_no_frames, "start section" },
	{ "start and alloc", start_and_alloc, "event 1:" },
};

START_TEST(nonsense_in_a_trace_is_an_error_that_names_the_event)
{
	const char *name = nonsense[_i].name;

	story_alloc(story, 1, 4);
	nonsense[_i].tell();
	for (unsigned pass = 0; pass < PASSES; pass++) {
		struct replay_config config = story_config(story, "buddy");
		struct replay_result result;
		GError *error = NULL;
		bool ran = replay_pass(&config, pass, NULL, &result, &error);
		ck_assert_msg(!ran && error, "%s: replayed", name);
		ck_assert_msg(g_error_matches(error, LAB_ERROR, LAB_ERROR_INPUT), "%s: %s", name,
			      error->message);
		ck_assert_msg(g_str_has_prefix(error->message, "trace error: "), "%s: %s", name,
			      error->message);
		ck_assert_msg(strstr(error->message, nonsense[_i].words), "%s: %s", name,
			      error->message);
		ck_assert_msg(strstr(error->message, "story.kmt"), "%s: %s", name, error->message);
		g_error_free(error);
	}
}
END_TEST

static void add_case(Suite *suite, TCase *one)
{
	tcase_add_checked_fixture(one, set_up, tear_down);
	tcase_set_timeout(one, 30);
	suite_add_tcase(suite, one);
}

int main(void)
{
	Suite *suite = suite_create("events of a trace");
	TCase *one = tcase_create("partial frees");

	tcase_add_test(one, partial_frees_reach_an_allocator_that_can);
	tcase_add_test(one, partial_frees_wait_for_the_last_part_where_the_allocator_cannot);
	tcase_add_test(one, frames_of_a_deferred_free_stay_live);
	tcase_add_test(one, handle_freed_in_parts_may_be_used_again);
	tcase_add_test(one, what_was_given_beyond_the_request_comes_back_with_the_last_part);
	add_case(suite, one);

	one = tcase_create("failures");
	tcase_add_test(one, events_of_a_failed_handle_are_skipped_and_counted);
	tcase_add_test(one, null_takes_until_nothing_is_left_and_is_not_blamed);
	add_case(suite, one);

	one = tcase_create("order");
	tcase_add_test(one, until_is_the_last_event_replayed);
	tcase_add_test(one, cpus_of_the_trace_are_taken_modulo_those_of_the_machine);
	tcase_add_test(one, events_of_other_slots_are_passed_over);
	tcase_add_test(one, seed_orders_events_of_one_instant_only);
	add_case(suite, one);

	one = tcase_create("nonsense");
	tcase_add_loop_test(one, nonsense_in_a_trace_is_an_error_that_names_the_event, 0,
			    (int)G_N_ELEMENTS(nonsense));
	add_case(suite, one);

	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
