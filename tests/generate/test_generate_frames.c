/* What each page-frame workload promises, and the variates that all of them are drawn from. */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "tests/generate/generate_support.h"
#include "workloads/generate/distribution.h"

#define FRAMES_OF_16M 4096

/* Frames held after each event; the number of all events. */
static uint64_t *levels_of(const GArray *events)
{
	uint64_t *levels = g_new0(uint64_t, events->len + 1), now = 0;
	g_autoptr(GHashTable) frames = g_hash_table_new(g_direct_hash, g_direct_equal);

	for (guint i = 0; i < events->len; i++) {
		const struct event *event = &g_array_index(events, struct event, i);
		gpointer handle = GSIZE_TO_POINTER(event->u.frame.handle);
		if (event->kind == EVENT_FRAME_ALLOC) {
			ck_assert_uint_eq(event->u.frame.align_frames, event->u.frame.frames);
			ck_assert_uint_eq(event->u.frame.frame, EVENT_NO_FRAME);
			g_hash_table_insert(frames, handle,
					    GUINT_TO_POINTER(event->u.frame.frames));
			now += event->u.frame.frames;
		} else if (event->kind == EVENT_FRAME_FREE) {
			now -= GPOINTER_TO_UINT(g_hash_table_lookup(frames, handle));
		}
		levels[i] = now;
	}
	return levels;
}

START_TEST(churn_stays_below_its_level_and_near_it)
{
	g_autoptr(GArray) events = events_of(
		"frame-churn",
		"ram=16M live=50 events=60000 max-order=3 fall=0.5 movable=40 cpus=3", 1, NULL);
	g_autofree uint64_t *levels = levels_of(events);
	uint64_t orders[4] = { 0 }, movable = 0, allocations = 0, cpus[3] = { 0 };

	ck_assert_uint_eq(events->len, 60000);
	for (guint i = 0; i < events->len; i++) {
		const struct event *event = &g_array_index(events, struct event, i);
		cpus[event->cpu]++;
		ck_assert_uint_le(levels[i], FRAMES_OF_16M / 2);
		if (i > 5000)
			ck_assert_uint_ge(levels[i], FRAMES_OF_16M / 2 - 2 * 8);
		if (event->kind != EVENT_FRAME_ALLOC)
			continue;
		orders[__builtin_ctz(event->u.frame.frames)]++;
		movable += event->u.frame.mobility == MOBILITY_MOVABLE;
		allocations++;
	}
	ck_assert_double_eq_tol((double)movable / (double)allocations, 0.4, 0.02);
	ck_assert(cpus[0] && cpus[1] && cpus[2]);
	for (unsigned order = 0; order < 2; order++)
		ck_assert_double_eq_tol((double)orders[order + 1] / (double)orders[order], 0.5,
					0.03);
	/* The last one takes what would be above it. */
	ck_assert_double_eq_tol((double)orders[3] / (double)orders[2], 1, 0.06);
}
END_TEST

START_TEST(a_ramp_probes_at_its_levels)
{
	g_autoptr(GPtrArray) names = NULL;
	g_autoptr(GArray) events = events_of(
		"frame-ramp", "ram=16M step=10 top=90 spike=20 probes=7 probe-order=9", 2, &names);
	g_autofree uint64_t *levels = levels_of(events);
	unsigned steps = 0;
	uint64_t most = 0;

	for (guint i = 0; i < events->len; i++) {
		const struct event *event = &g_array_index(events, struct event, i);
		if (event->kind == EVENT_FRAME_ALLOC && event->u.frame.frames == 1)
			most = MAX(most, levels[i]);
		if (event->kind != EVENT_MARKER)
			continue;
		steps++;
		g_autofree char *text = g_strdup_printf("level %u %%", 10 * steps);
		ck_assert_str_eq(g_ptr_array_index(names, event->u.marker.text), text);
		ck_assert_uint_eq(levels[i], FRAMES_OF_16M * steps / 10);
		ck_assert_uint_eq(most, FRAMES_OF_16M * MIN(steps + 2, 9) / 10);
		for (guint probe = 1; probe <= 14; probe++) {
			const struct event *one = &g_array_index(events, struct event, i + probe);
			ck_assert_uint_eq(one->kind,
					  probe <= 7 ? EVENT_FRAME_ALLOC : EVENT_FRAME_FREE);
			ck_assert(probe > 7 || one->u.frame.frames == 512);
		}
	}
	ck_assert_uint_eq(steps, 9);
	ck_assert_uint_eq(levels[events->len - 1], 0);
}
END_TEST

START_TEST(a_checkerboard_leaves_every_nth_block)
{
	g_autoptr(GArray) events = events_of(
		"checkerboard", "ram=16M fill=50 order=1 every=4 probe-order=3 probes=5", 3, NULL);
	g_autofree uint64_t *levels = levels_of(events);
	unsigned marker = 0;

	for (guint i = 0; i < events->len; i++) {
		const struct event *event = &g_array_index(events, struct event, i);
		/* Handles count from 1: the first, the fifth, ... stay. */
		if (event->kind == EVENT_FRAME_FREE && marker == 1)
			ck_assert_uint_ne(event->u.frame.handle % 4, 1);
		if (event->kind != EVENT_MARKER)
			continue;
		marker++;
		ck_assert_uint_eq(levels[i], marker == 1 ? FRAMES_OF_16M / 2 : FRAMES_OF_16M / 8);
	}
	ck_assert_uint_eq(marker, 2);
	ck_assert_uint_eq(levels[events->len - 1], 0);
}
END_TEST

/* ---- variates ---- */

START_TEST(logarithms_and_powers_are_those_of_libm)
{
	struct random random = random_seeded(1);

	ck_assert_uint_eq(fixed_log2(1), 0);
	ck_assert_uint_eq(fixed_log2(UINT64_C(1) << 63), UINT64_C(63) << 32);
	ck_assert_uint_eq(fixed_exp2(0), 1);
	ck_assert_uint_eq(fixed_exp2(UINT64_C(63) << 32), UINT64_C(1) << 63);
	ck_assert_uint_eq(fixed_exp2(UINT64_C(64) << 32), UINT64_MAX);
	for (unsigned i = 0; i < 100000; i++) {
		uint64_t x = (random_next(&random) | 1) >> random_below(&random, 64);
		x = MAX(x, 1);
		double log = (double)fixed_log2(x) * 0x1p-32;
		ck_assert_double_eq_tol(log, log2((double)x), 1e-9);
		uint64_t e = random_below(&random, UINT64_C(64) << 32);
		double want = exp2((double)e * 0x1p-32);
		ck_assert_double_eq_tol((double)fixed_exp2(e), want, 1 + want * 1e-8);
	}
}
END_TEST

START_TEST(exponential_variates_have_their_mean_and_tail)
{
	struct random random = random_seeded(2);
	const unsigned count = 200000;
	double sum = 0, beyond = 0;

	for (unsigned i = 0; i < count; i++) {
		uint64_t x = draw_exponential(&random, 1000000);
		sum += (double)x;
		beyond += x > 3000000;
	}
	ck_assert_double_eq_tol(sum / count, 1e6, 1e6 * 4 / sqrt(count));
	ck_assert_double_eq_tol(beyond / count, exp(-3), 0.002);
	ck_assert_uint_eq(draw_exponential(&random, 0), 0);
}
END_TEST

START_TEST(a_bounded_pareto_has_its_distribution)
{
	static const struct {
		uint64_t least, most, alpha;
	} cases[] = {
		{ 1000, 1000000, 110 },	    { 1000, 2000, 50 }, { 1000, UINT64_C(1) << 47, 200 },
		{ 1000, 1000000000, 1000 }, { 1000, 8000, 1 },
	};
	struct pareto pareto = pareto_new(cases[_i].least, cases[_i].most, cases[_i].alpha);
	struct random random = random_seeded(3);
	const unsigned count = 100000;
	double low = (double)cases[_i].least, high = (double)cases[_i].most;
	double alpha = (double)cases[_i].alpha / 100, below[4] = { 0 };
	const double at[4] = { low * 1.1, low * 1.5, low * 3, low * 20 };

	for (unsigned i = 0; i < count; i++) {
		uint64_t x = pareto_draw(&pareto, &random);
		ck_assert_uint_ge(x, cases[_i].least);
		ck_assert_uint_le(x, cases[_i].most);
		for (unsigned k = 0; k < 4; k++)
			below[k] += (double)x < at[k];
	}
	for (unsigned k = 0; k < 4 && at[k] < high; k++) {
		double want = (1 - pow(low / at[k], alpha)) / (1 - pow(low / high, alpha));
		ck_assert_msg(fabs(below[k] / count - want) < 0.007, "below %f: %f, not %f", at[k],
			      below[k] / count, want);
	}
	pareto = pareto_new(77, 77, 100);
	ck_assert_uint_eq(pareto_draw(&pareto, &random), 77);
}
END_TEST

static Suite *frames_suite(void)
{
	Suite *suite = suite_create("generate frames");
	TCase *frames = tcase_create("frames");
	TCase *variates = tcase_create("variates");

	tcase_add_test(frames, churn_stays_below_its_level_and_near_it);
	tcase_add_test(frames, a_ramp_probes_at_its_levels);
	tcase_add_test(frames, a_checkerboard_leaves_every_nth_block);
	suite_add_tcase(suite, frames);
	tcase_add_test(variates, logarithms_and_powers_are_those_of_libm);
	tcase_add_test(variates, exponential_variates_have_their_mean_and_tail);
	tcase_add_loop_test(variates, a_bounded_pareto_has_its_distribution, 0, 5);
	suite_add_tcase(suite, variates);
	return suite;
}

int main(void)
{
	SRunner *runner = srunner_create(frames_suite());

	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
