/* Fixtures: the same free set for every allocator, of the shape that their names promise. */
#include <check.h>
#include <math.h>
#include <string.h>

#include "sim/fixture.h"
#include "sim/fragmentation.h"
#include "tests/support/story.h"

#define RAM_FRAMES (256u << 8) /* 256 MiB */

static struct story *story;

static void set_up(void)
{
	story = story_new();
	story_alloc(story, 1, 1);
	story_free_all(story, 1);
}

static void tear_down(void)
{
	story_free(story);
}

static struct ledger *books_of(const char *name, uint64_t seed)
{
	const struct fixture *fixture = fixture_find(name);
	GArray *usable = g_array_new(FALSE, FALSE, sizeof(struct frame_range));
	struct frame_range ram = { { 0 }, RAM_FRAMES };

	ck_assert_ptr_nonnull(fixture);
	g_array_append_val(usable, ram);
	struct ledger *ledger = fixture_ledger(fixture, usable, RAM_FRAMES, seed);
	ck_assert_ptr_nonnull(ledger);
	ck_assert_msg(!ledger_check(ledger), "%s: %s", name, ledger_check(ledger));
	g_array_unref(usable);
	return ledger;
}

/* ---- shapes ---- */

START_TEST(one_frame_of_every_2_mib)
{
	struct ledger *ledger = books_of("one-per-2M", 1);
	const struct ledger_totals *totals = ledger_totals(ledger);

	ck_assert_uint_eq(totals->reserved_frames, RAM_FRAMES / 512);
	ck_assert_uint_eq(totals->full[9], 0);
	ck_assert_uint_eq(totals->full[8], RAM_FRAMES / 512);
	ck_assert_uint_eq(totals->unmovable_regions, RAM_FRAMES / 512);
	ledger_free(ledger);
}
END_TEST

START_TEST(nothing_half_and_most_are_held)
{
	static const struct {
		const char *name;
		double share;
		unsigned largest;
	} cases[] = { { "empty", 0, 10 },
		      { "half-random", 0.5, 6 },
		      { "checkerboard", 0.5, 0 },
		      { "cache-filled", 15.0 / 16, 4 } };

	for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
		struct ledger *ledger = books_of(cases[i].name, 1);
		double held = (double)ledger_totals(ledger)->reserved_frames / RAM_FRAMES;
		/* Four standard deviations of RAM_FRAMES draws. */
		ck_assert_msg(fabs(held - cases[i].share) < 4 * 0.5 / sqrt(RAM_FRAMES), "%s: %f",
			      cases[i].name, held);
		ck_assert_msg(metrics_largest_free_order(ledger) <= (int)cases[i].largest, "%s: %d",
			      cases[i].name, metrics_largest_free_order(ledger));
		ck_assert_uint_eq(ledger_totals(ledger)->unmovable_regions, 0);
		ledger_free(ledger);
	}
}
END_TEST

/* Orders with few blocks in so much RAM are left to chance: the mean of some seeds. */
START_TEST(aged_desktop_has_the_orders_of_the_recording)
{
	static const double recorded[] = { 111,	    150 * 2,  184 * 4, 303 * 8, 180 * 16, 68 * 32,
					   23 * 64, 18 * 128, 5 * 256, 5 * 512, 1 * 1024 };
	double sum = 0, got[LEDGER_ORDERS] = { 0 }, free_frames = 0;
	const unsigned seeds = 8;

	for (uint64_t seed = 0; seed < seeds; seed++) {
		struct ledger *ledger = books_of("aged-desktop", seed);
		uint64_t blocks[LEDGER_ORDERS];
		metrics_free_blocks(ledger, blocks);
		for (unsigned order = 0; order < LEDGER_ORDERS; order++)
			got[order] += ldexp((double)blocks[order], (int)order);
		free_frames += (double)ledger_totals(ledger)->free_frames;
		ck_assert_uint_gt(ledger_totals(ledger)->mixed_regions, 0);
		ledger_free(ledger);
	}
	for (unsigned order = 0; order < LEDGER_ORDERS; order++)
		sum += recorded[order];
	ck_assert_msg(fabs(free_frames / seeds / RAM_FRAMES - 0.25) < 0.02, "%f",
		      free_frames / seeds / RAM_FRAMES);
	for (unsigned order = 0; order < LEDGER_ORDERS; order++) {
		double share = recorded[order] / sum;
		double blocks = ldexp(share * free_frames, -(int)order); /* to be expected */
		ck_assert_msg(fabs(got[order] / free_frames - share) <
				      0.005 + 4 * share / sqrt(blocks),
			      "order %u: %f, recorded %f", order, got[order] / free_frames, share);
	}
}
END_TEST

START_TEST(name_and_seed_identify_the_state)
{
	for (const struct fixture *fixture = fixtures; fixture->name; fixture++) {
		struct ledger *one = books_of(fixture->name, 1),
			      *again = books_of(fixture->name, 1),
			      *other = books_of(fixture->name, 2);
		bool by_seed = strcmp(fixture->name, "empty") != 0 &&
			       strcmp(fixture->name, "checkerboard") != 0;
		ck_assert_uint_eq(ledger_free_hash(one), ledger_free_hash(again));
		ck_assert_msg((ledger_free_hash(one) != ledger_free_hash(other)) == by_seed, "%s",
			      fixture->name);
		ledger_free(one);
		ledger_free(again);
		ledger_free(other);
	}
	ck_assert_ptr_null(fixture_find("frobnicate"));
}
END_TEST

/* ---- distance ---- */

static double naive_distance(const uint64_t *a, const uint64_t *b)
{
	long double f = 0, g = 0, sum = 0;

	for (int i = 0; i < LEDGER_ORDERS; i++) {
		f += (long double)(a[i] * (1ull << i));
		g += (long double)(b[i] * (1ull << i));
	}
	for (int i = 0; i < LEDGER_ORDERS; i++) {
		long double d = (long double)(a[i] * (1ull << i)) / f -
				(long double)(b[i] * (1ull << i)) / g;
		sum += d < 0 ? -d : d;
	}
	return (double)(sum / 2);
}

START_TEST(distance_is_that_of_the_definition)
{
	const uint64_t none[LEDGER_ORDERS] = { 0 }, small[LEDGER_ORDERS] = { 7 },
		       large[LEDGER_ORDERS] = { [10] = 3 };
	GRand *random = g_rand_new_with_seed(5);

	ck_assert(metrics_distance(none, none) == 0);
	ck_assert(metrics_distance(none, small) == 1 && metrics_distance(small, none) == 1);
	ck_assert(metrics_distance(small, large) == 1 && metrics_distance(small, small) == 0);
	for (unsigned round = 0; round < 200; round++) {
		uint64_t a[LEDGER_ORDERS], b[LEDGER_ORDERS], twice[LEDGER_ORDERS];
		for (unsigned i = 0; i < LEDGER_ORDERS; i++) {
			a[i] = (uint64_t)g_rand_int_range(random, 0, 1000);
			b[i] = (uint64_t)g_rand_int_range(random, 1, 1000) >> i;
			twice[i] = 2 * a[i];
		}
		b[0]++;
		a[3]++;
		twice[3] += 2;
		double got = metrics_distance(a, b);
		ck_assert_msg(fabs(got - naive_distance(a, b)) < 1e-12, "%.15f, not %.15f", got,
			      naive_distance(a, b));
		ck_assert(got >= 0 && got <= 1 && got == metrics_distance(b, a));
		ck_assert(metrics_distance(a, twice) < 1e-12);
	}
	g_rand_free(random);
}
END_TEST

/* ---- allocators ---- */

static int systems(void)
{
	int count = 0;

	while (frame_registry[count])
		count++;
	return count;
}

/* Only what boot took may be missing: state, page tables, reserves; never is more free. */
static void judge(const struct replay_config *config, const struct replay_result *result)
{
	const struct fixture_reached *reached = &result->fixture;
	const char *name = config->frames[PASS_NATIVE]->name;
	uint64_t taken = result->usable_frames - result->managed_frames + 1;

	ck_assert_msg(result->violations == 0, "%s:%s", name, story_describe(result));
	ck_assert_msg(reached->missing_frames == 0, "%s at %s: %ju frames are free that are held",
		      name, config->fixture->name, (uintmax_t)reached->missing_frames);
	ck_assert_msg(reached->extra_frames <= taken, "%s at %s: %ju frames more are held", name,
		      config->fixture->name, (uintmax_t)reached->extra_frames);
	ck_assert_uint_eq(reached->reached_free_frames + reached->extra_frames,
			  reached->target_free_frames);
	if (reached->extra_frames == 0)
		ck_assert(reached->reached_hash == reached->target_hash && reached->distance == 0);
	else
		ck_assert_uint_ne(reached->reached_hash, reached->target_hash);
}

START_TEST(every_allocator_is_brought_to_every_fixture)
{
	const struct frame_ops *ops = frame_registry[_i];
	GError *error = NULL;

	for (const struct fixture *fixture = fixtures; fixture->name; fixture++) {
		struct replay_config config = story_config(story, ops->name);
		struct replay_result native, probed;
		config.start = START_FIXTURE;
		config.fixture = fixture;
		config.seed = 3;
		if (!fixture_can_reach(fixture, ops, &error)) {
			ck_assert(!(ops->caps & (FRAME_CAP_AT | FRAME_CAP_FREE)));
			g_clear_error(&error);
			continue;
		}
		story_pass(&config, PASS_NATIVE, &native);
		story_pass(&config, PASS_PROBED, &probed);
		judge(&config, &native);
		judge(&config, &probed);
		ck_assert_uint_eq(native.fixture.target_hash, probed.fixture.target_hash);
		ck_assert_uint_eq(native.fixture.reached_hash, probed.fixture.reached_hash);
		ck_assert_uint_eq(native.digest, probed.digest);
		replay_result_clear(&native);
		replay_result_clear(&probed);
	}
}
END_TEST

START_TEST(the_prologue_comes_on_top_and_the_untouched_do_not)
{
	struct replay_config config;
	struct replay_result result;

	for (uint64_t i = 0; i < 20; i++)
		story_start(story, 2 + i, 0x200 + i, 1);
	story->meta->state_known = true;
	story->meta->free_frames = 100;
	config = story_config(story, "bitmap");
	config.start = START_FIXTURE;
	config.fixture = fixture_find("half-random");
	story_pass_sampled(&config, PASS_NATIVE, &result);
	ck_assert_msg(result.violations == 0, "%s", story_describe(&result));
	ck_assert_uint_eq(result.untouched_frames, 0);
	ck_assert_uint_eq(story_metric(&result, "live_frames"), 20);
	ck_assert_uint_eq(story_metric(&result, "free_frames"),
			  result.fixture.reached_free_frames - 20);
	replay_result_clear(&result);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("fixtures");
	TCase *one = tcase_create("shapes");

	tcase_add_test(one, one_frame_of_every_2_mib);
	tcase_add_test(one, nothing_half_and_most_are_held);
	tcase_add_test(one, aged_desktop_has_the_orders_of_the_recording);
	tcase_add_test(one, name_and_seed_identify_the_state);
	tcase_add_test(one, distance_is_that_of_the_definition);
	tcase_set_timeout(one, 30);
	suite_add_tcase(suite, one);
	one = tcase_create("allocators");
	tcase_add_checked_fixture(one, set_up, tear_down);
	tcase_add_loop_test(one, every_allocator_is_brought_to_every_fixture, 0, systems());
	tcase_add_test(one, the_prologue_comes_on_top_and_the_untouched_do_not);
	tcase_set_timeout(one, 60);
	suite_add_tcase(suite, one);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
