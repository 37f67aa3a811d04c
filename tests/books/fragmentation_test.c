/*
 * The metrics of small RAMs, by hand: each table row was worked out on paper from the definitions.
 */
#include "sim/fragmentation.h"

#include "workloads/event.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

/* Frames of a RAM, a character each, repeated to fill COUNT: '.' free, 'T' the kernel's, any other
 * letter a handle's (small: movable, capital: unmovable; 'c' got more than it asked for). */
struct picture {
	const char *frames;
	uint64_t count;
};

enum { SHATTERED, SCATTERED, EMPTY, FULL, HUGE_32BIT, MIXED, PICTURES };
static const struct picture pictures[PICTURES] = {
	[SHATTERED] = { "a.", 64 },
	/* Free: order 0 at 1, order 1 at 4, order 3 at 8. */
	[SCATTERED] = { "a.bb..cc........", 16 },
	[EMPTY] = { ".", 2048 },
	[FULL] = { "T", 64 },
	[HUGE_32BIT] = { ".", 2048 },
	[MIXED] = { "aB..............", 1024 },
};

static struct ledger *draw(const struct picture *picture)
{
	struct ledger *ledger = ledger_new(picture->count);
	size_t period = strlen(picture->frames);
	struct ledger_finding finding;

	ledger_assign(ledger, 0, picture->count, LEDGER_FREE);
	for (uint64_t i = 0; i < picture->count; i++)
		if (picture->frames[i % period] == 'T')
			ledger_assign(ledger, i, 1, LEDGER_TABLE);
	ledger_seal(ledger);
	for (uint64_t i = 0; i < picture->count; i++) {
		char c = picture->frames[i % period];

		if (c != '.' && c != 'T')
			ck_assert_int_eq(
				ledger_take(ledger, i, 1, c != 'c', 1,
					    LEDGER_HANDLE_BASE + (unsigned char)c,
					    c < 'a' ? MOBILITY_UNMOVABLE : MOBILITY_MOVABLE,
					    &finding),
				LEDGER_OK);
	}
	return ledger;
}

static const struct {
	int picture;
	const char *metric;
	const char *want;
} figures[] = {
	/* F = 32, k_0 = 32, B = 32 */
	{ SHATTERED, "free_frames", "32" },
	{ SHATTERED, "free_blocks_o0", "32" },
	{ SHATTERED, "free_blocks_o1", "0" },
	{ SHATTERED, "unusable_o0", "0.000000" },
	{ SHATTERED, "unusable_o1", "1.000000" },
	{ SHATTERED, "frag_index_o0", "-1.000000" },
	{ SHATTERED, "frag_index_o1", "0.468750" },  /* 1 - (1 + 16) / 32 */
	{ SHATTERED, "frag_index_o10", "0.967773" }, /* 1 - (1 + 1/32) / 32 */
	{ SHATTERED, "frag_index_milli_o0", "-1000" },
	{ SHATTERED, "frag_index_milli_o1", "469" },  /* 1000 - 17000 / 32 = 1000 - 531 */
	{ SHATTERED, "frag_index_milli_o10", "968" }, /* 1000 - (1000 + 31) / 32 */
	{ SHATTERED, "extfrag_percent_o0", "0" },
	{ SHATTERED, "extfrag_percent_o1", "100" },
	{ SHATTERED, "free_huge_percent", "0.000000" },
	{ SHATTERED, "largest50_mean_frames", "1.000000" },
	{ SHATTERED, "free_runs", "32" },
	{ SHATTERED, "free_runs_p0", "32" },
	{ SHATTERED, "regions_free_l5", "1" },
	{ SHATTERED, "run_scatter", "0.968750" },
	{ SHATTERED, "live_handles", "1" },
	/* F = 11, k_0 = k_1 = k_3 = 1, B = 3; S = 11 5 2 1 0 */
	{ SCATTERED, "free_blocks_o0", "1" },
	{ SCATTERED, "free_blocks_o1", "1" },
	{ SCATTERED, "free_blocks_o2", "0" },
	{ SCATTERED, "free_blocks_o3", "1" },
	{ SCATTERED, "unusable_o1", "0.090909" },
	{ SCATTERED, "unusable_o2", "0.272727" },
	{ SCATTERED, "unusable_o3", "0.272727" },
	{ SCATTERED, "unusable_o4", "1.000000" },
	{ SCATTERED, "frag_index_o3", "-1.000000" },
	{ SCATTERED, "frag_index_o4", "0.437500" },  /* 1 - (1 + 11/16) / 3 */
	{ SCATTERED, "frag_index_milli_o4", "438" }, /* 1000 - (1000 + 687) / 3 */
	{ SCATTERED, "extfrag_percent_o1", "9" },
	{ SCATTERED, "extfrag_percent_o2", "27" },
	{ SCATTERED, "extfrag_percent_o4", "100" },
	{ SCATTERED, "largest50_mean_frames", "3.666667" },
	{ SCATTERED, "largest_run_frames", "8" },
	{ SCATTERED, "free_runs", "3" },
	{ SCATTERED, "free_runs_p0", "1" },
	{ SCATTERED, "free_runs_p1", "1" },
	{ SCATTERED, "free_runs_p2", "0" },
	{ SCATTERED, "free_runs_p3", "1" },
	{ SCATTERED, "run_scatter", "0.272727" },
	{ SCATTERED, "live_frames", "5" },
	{ SCATTERED, "live_handles", "3" },
	{ SCATTERED, "requested_frames", "3" },
	{ SCATTERED, "internal_percent", "40.000000" },
	{ SCATTERED, "regions_free_l6", "1" }, /* 11 of 16 */
	{ SCATTERED, "mixed_regions_percent", "0.000000" },
	{ SCATTERED, "unmovable_regions_percent", "0.000000" },
	/* One free block of order 11: two of order 10 in Linux's eyes. */
	{ EMPTY, "free_blocks_o9", "0" },
	{ EMPTY, "free_blocks_o10", "2" },
	{ EMPTY, "unusable_o10", "0.000000" },
	{ EMPTY, "frag_index_o10", "-1.000000" },
	{ EMPTY, "free_huge_percent", "100.000000" },
	{ EMPTY, "free_huge_of_total_percent", "100.000000" },
	{ EMPTY, "largest50_mean_frames", "2048.000000" },
	{ EMPTY, "regions_free_l9", "4" },
	{ EMPTY, "free_runs_p11", "1" },
	{ EMPTY, "internal_percent", "0.000000" },
	{ EMPTY, "run_scatter", "0.000000" },
	{ EMPTY, "metadata_bytes_per_frame", "4.097656" }, /* (8192 - 4000 + 4096 + 104) / 2048 */
	{ EMPTY, "kept_frames", "1" },
	{ EMPTY, "compact_moves", "0" },
	{ EMPTY, "fallbacks", "-1" },
	{ EMPTY, "fallbacks_per_million", "-1.000000" },
	{ EMPTY, "live_huge_percent", "0.000000" },
	/* Two regions of 64 used frames each: one is emptied into the other, if it may be. */
	{ MIXED, "compact_moves", "64" },
	{ MIXED, "compact_moves_pinned", "0" },
	{ EMPTY, "failures", "7" },
	{ EMPTY, "processes", "3" },
	{ EMPTY, "mapped_pages", "50" },
	{ EMPTY, "user_frames", "40" },
	{ EMPTY, "page_table_frames", "9" },
	{ EMPTY, "page_faults", "11" },
	{ EMPTY, "copied_pages", "12" },
	{ EMPTY, "shootdowns", "13" },
	{ EMPTY, "mapped_contig16_percent", "25.000000" },
	{ EMPTY, "mapped_contig512_percent", "12.500000" },
	{ EMPTY, "mapped_contig_runs99", "14" },
	{ EMPTY, "tlb_reach_4k_bytes", "4096" },
	{ EMPTY, "tlb_reach_64k_bytes", "65536" },
	{ EMPTY, "tlb_reach_2m_bytes", "2097152" },
	{ EMPTY, "tlb_reach_1g_bytes", "1073741824" },
	/* F = 0, B = 0 */
	{ FULL, "free_frames", "0" },
	{ FULL, "reserved_frames", "64" },
	{ FULL, "unusable_o0", "1.000000" },
	{ FULL, "unusable_o10", "1.000000" },
	{ FULL, "frag_index_o0", "0.000000" },
	{ FULL, "frag_index_milli_o0", "0" },
	{ FULL, "extfrag_percent_o0", "0" },
	{ FULL, "free_huge_percent", "0.000000" },
	{ FULL, "free_huge_of_total_percent", "0.000000" },
	{ FULL, "largest50_mean_frames", "0.000000" },
	{ FULL, "largest_run_frames", "0" },
	{ FULL, "run_scatter", "0.000000" },
	{ FULL, "regions_free_l0", "1" },
	{ FULL, "unmovable_regions_percent", "100.000000" },
	{ HUGE_32BIT, "free_huge_percent", "100.000000" },
	/* 64 runs of 14: aligned blocks 2 4 8, of which the 50 largest are of order 3. */
	{ MIXED, "free_frames", "896" },
	{ MIXED, "free_blocks_o1", "64" },
	{ MIXED, "free_blocks_o3", "64" },
	{ MIXED, "unusable_o2", "0.142857" }, /* (896 - 4 (64 + 128)) / 896 */
	{ MIXED, "largest50_mean_frames", "8.000000" },
	{ MIXED, "mixed_regions_percent", "100.000000" },
	{ MIXED, "unmovable_regions_percent", "100.000000" },
	{ MIXED, "regions_free_l8", "2" },
	{ MIXED, "free_huge_of_total_percent", "0.000000" },
};

/* Metric 7 by its words: emptiest regions give, fullest take, one frame at a time. */
static uint64_t naive_moves(const struct ledger *ledger, uint64_t frames, bool pin)
{
	enum { MOST = 64 };
	int free_frames[MOST] = { 0 }, used[MOST] = { 0 }, regions = (int)(frames / 512);
	bool pinned[MOST] = { false }, done[MOST] = { false };
	uint64_t moves = 0;

	for (uint64_t i = 0; i < frames; i++) {
		uint32_t owner = ledger_owner(ledger, i);
		free_frames[i / 512] += owner == LEDGER_FREE;
		used[i / 512] += owner != LEDGER_FREE && owner != LEDGER_HOLE;
		/* Handles with capital letters are unmovable here. */
		pinned[i / 512] |=
			pin && (owner == LEDGER_TABLE || (owner >= LEDGER_HANDLE_BASE + 'A' &&
							  owner <= LEDGER_HANDLE_BASE + 'Z'));
	}
	for (int i = 0; i < regions; i++)
		done[i] = used[i] == 0;
	int order[MOST], count = 0;
	for (int rank = 0; rank < regions; rank++) { /* fullest first, the pinned before all */
		int best = -1;
		for (int i = 0; i < regions; i++)
			if (!done[i] &&
			    (best < 0 || pinned[i] > pinned[best] ||
			     (pinned[i] == pinned[best] && free_frames[i] < free_frames[best])))
				best = i;
		if (best >= 0) {
			done[best] = true;
			order[count++] = best;
		}
	}
	for (int to = 0, from = count - 1; to < from && !pinned[order[from]];) {
		if (used[order[from]] == 0) {
			from--;
		} else if (free_frames[order[to]] == 0) {
			to++;
		} else {
			used[order[from]]--;
			free_frames[order[to]]--;
			moves++;
		}
	}
	return moves;
}

START_TEST(compaction_is_that_of_the_definition)
{
	GRand *random = g_rand_new_with_seed(7);
	const uint64_t frames = 40 * 512;

	for (unsigned round = 0; round < 60; round++) {
		char *text = g_malloc0(frames + 1);
		/* Regions from empty to full, with holes nowhere and strangers here and there. */
		for (uint64_t i = 0; i < frames; i++) {
			gint32 fill = (gint32)((i / 512 * 7919 + round * 31) % 101);
			bool used = g_rand_int_range(random, 0, 100) < fill;
			bool capital = g_rand_int_range(random, 0, 1500) == 0;
			text[i] = !used ? '.' : capital ? 'B' : 'a';
		}
		struct picture picture = { text, frames };
		struct ledger *ledger = draw(&picture);
		for (int pin = 0; pin < 2; pin++)
			ck_assert_uint_eq(ledger_compaction_moves(ledger, pin),
					  naive_moves(ledger, frames, pin));
		ledger_free(ledger);
		g_free(text);
	}
	g_rand_free(random);
}
END_TEST

/* ---- demand ---- */

struct asked {
	uint32_t task;
	uint64_t frames, first;
	double fill;
	bool served;
};

/* Runs of each task, found by going through all requests for every task. */
static GArray *naive_runs(const struct asked *asked, unsigned count, uint32_t tasks)
{
	GArray *runs = g_array_new(FALSE, FALSE, sizeof(uint64_t));

	for (uint32_t task = 0; task < tasks; task++) {
		uint64_t length = 0, end = 0;
		for (unsigned i = 0; i < count; i++) {
			if (asked[i].task != task || !asked[i].served)
				continue;
			if (length && asked[i].first != end) {
				g_array_append_val(runs, length);
				length = 0;
			}
			length += asked[i].frames;
			end = asked[i].first + asked[i].frames;
		}
		if (length)
			g_array_append_val(runs, length);
	}
	return runs;
}

static int longest_first(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x > y ? -1 : x < y;
}

static void assert_contiguity(const struct demand_figures *got, GArray *runs)
{
	uint64_t total = 0, long16 = 0, long512 = 0, covered = 0;
	guint needed = 0;

	g_array_sort(runs, longest_first);
	for (guint i = 0; i < runs->len; i++) {
		uint64_t length = g_array_index(runs, uint64_t, i);
		total += length;
		long16 += length >= 16 ? length : 0;
		long512 += length >= 512 ? length : 0;
	}
	while (100 * covered < 99 * total)
		covered += g_array_index(runs, uint64_t, needed++);
	ck_assert_double_eq_tol(got->contig16_percent, 100.0 * (double)long16 / (double)total,
				1e-9);
	ck_assert_double_eq_tol(got->contig512_percent, 100.0 * (double)long512 / (double)total,
				1e-9);
	ck_assert_uint_eq(got->contig_runs99, needed);
}

START_TEST(demand_is_that_of_the_definition)
{
	enum { COUNT = 3000, TASKS = 5 };
	static struct asked asked[COUNT];
	GRand *random = g_rand_new_with_seed(11);
	struct demand *demand = demand_new(9);
	struct demand_figures got;
	uint64_t huge = 0, huge_served = 0, served = 0, next[TASKS] = { 0 };
	double first = -1, first_huge = -1;

	demand_figures(demand, &got);
	ck_assert(got.first_failure_fill_percent < 0 && got.contig_runs99 == 0);
	for (unsigned i = 0; i < COUNT; i++) {
		struct asked *one = &asked[i];
		bool is_huge = g_rand_int_range(random, 0, 20) == 0;
		one->task = (uint32_t)g_rand_int_range(random, 0, TASKS);
		one->frames = is_huge ? (uint64_t)g_rand_int_range(random, 257, 513) : 1;
		one->served = i < 100 || g_rand_int_range(random, 0, 10) > 0;
		one->fill = g_rand_double(random) * 100;
		bool on = g_rand_int_range(random, 0, 12) > 0;
		one->first = on ? next[one->task] : (uint64_t)g_rand_int(random);
		if (one->served)
			next[one->task] = one->first + one->frames;
		demand_request(demand, one->task, one->frames, one->fill, one->first,
			       one->served ? one->frames : 0, 100);
		huge += is_huge;
		huge_served += is_huge && one->served;
		served += one->served;
		first = !one->served && first < 0 ? one->fill : first;
		first_huge = !one->served && is_huge && first_huge < 0 ? one->fill : first_huge;
	}
	demand_figures(demand, &got);
	ck_assert_uint_eq(got.allocations, served);
	ck_assert_uint_eq(got.huge_requests, huge);
	ck_assert_uint_eq(got.huge_served, huge_served);
	ck_assert_double_eq(got.first_failure_fill_percent, first);
	ck_assert_double_eq(got.huge_first_failure_fill_percent, first_huge);
	GArray *runs = naive_runs(asked, COUNT, TASKS);
	assert_contiguity(&got, runs);
	const struct demand_bin *bins = demand_bins(demand);
	for (unsigned bin = 0; bin < DEMAND_BINS; bin++) {
		uint64_t requests = 0, there = 0;
		for (unsigned i = 0; i < COUNT; i++) {
			bool here = asked[i].frames > 1 && (unsigned)(asked[i].fill / 5) == bin;
			requests += here;
			there += here && asked[i].served;
		}
		ck_assert_uint_eq(bins[bin].requests, requests);
		ck_assert_uint_eq(bins[bin].served, there);
		ck_assert_uint_eq(bins[bin].latency ? bins[bin].latency->count : 0, there);
	}
	g_array_unref(runs);
	demand_free(demand);
	g_rand_free(random);
}
END_TEST

START_TEST(figures_by_hand)
{
	struct ledger *ledger = draw(&pictures[figures[_i].picture]);
	struct metrics_extra extra = {
		.huge_order = figures[_i].picture == HUGE_32BIT ? 10 : 9,
		.state_bytes = 8192 - 4000 + 104,
		.kept_frames = 1,
		.spaces = { .processes = 3,
			    .mapped_pages = 50,
			    .user_frames = 40,
			    .table_frames = 9,
			    .on = true,
			    .faults = 11,
			    .copies = 12,
			    .shootdowns = 13,
			    .contig16_percent = 25,
			    .contig512_percent = 12.5,
			    .contig_runs99 = 14,
			    .reach_bytes = { 4096, 65536, 1 << 21, 1 << 30 } },
		.managed_frames = 2048,
		.failures = 7,
	};
	int index = metrics_find(figures[_i].metric);
	char text[METRIC_TEXT_BYTES];
	double *values = g_new(double, metrics_count());

	ck_assert_msg(index >= 0, "%s", figures[_i].metric);
	metrics_compute(ledger, &extra, values);
	ck_assert_uint_eq(metrics_format(metrics_at((unsigned)index), values[index], text),
			  strlen(figures[_i].want));
	ck_assert_msg(strcmp(text, figures[_i].want) == 0, "picture %d: %s is %s, not %s",
		      figures[_i].picture, figures[_i].metric, text, figures[_i].want);
	g_free(values);
	ledger_free(ledger);
}
END_TEST

/* Columns of results/README.md in their order; a number: so many members from 0 on. */
static const struct {
	const char *name;
	unsigned members;
} columns[] = {
	{ "free_frames" },
	{ "live_frames" },
	{ "reserved_frames" },
	{ "live_handles" },
	{ "requested_frames" },
	{ "internal_percent" },
	{ "free_blocks_o", 11 },
	{ "unusable_o", 11 },
	{ "frag_index_o", 11 },
	{ "frag_index_milli_o", 11 },
	{ "extfrag_percent_o", 11 },
	{ "free_huge_percent" },
	{ "free_huge_of_total_percent" },
	{ "largest50_mean_frames" },
	{ "regions_free_l", 10 },
	{ "mixed_regions_percent" },
	{ "unmovable_regions_percent" },
	{ "largest_run_frames" },
	{ "free_runs" },
	{ "run_scatter" },
	{ "free_runs_p", 21 },
	{ "metadata_bytes_per_frame" },
	{ "kept_frames" },
	{ "failures" },
	{ "compact_moves" },
	{ "compact_moves_pinned" },
	{ "fallbacks" },
	{ "fragmenting_fallbacks" },
	{ "fallbacks_per_million" },
	{ "contig16_percent" },
	{ "contig512_percent" },
	{ "contig_runs99" },
	{ "live_huge_percent" },
	{ "huge_requests" },
	{ "huge_served" },
	{ "first_failure_fill_percent" },
	{ "huge_first_failure_fill_percent" },
	{ "processes" },
	{ "mapped_pages" },
	{ "user_frames" },
	{ "page_table_frames" },
	{ "page_faults" },
	{ "copied_pages" },
	{ "shootdowns" },
	{ "mapped_contig16_percent" },
	{ "mapped_contig512_percent" },
	{ "mapped_contig_runs99" },
	{ "tlb_reach_4k_bytes" },
	{ "tlb_reach_64k_bytes" },
	{ "tlb_reach_2m_bytes" },
	{ "tlb_reach_1g_bytes" },
};

START_TEST(metrics_stand_in_the_order_of_the_schema)
{
	unsigned at = 0;

	for (unsigned i = 0; i < G_N_ELEMENTS(columns); i++)
		for (unsigned n = 0; n < MAX(columns[i].members, 1); n++) {
			char *name = columns[i].members
					     ? g_strdup_printf("%s%u", columns[i].name, n)
					     : g_strdup(columns[i].name);

			ck_assert_uint_lt(at, metrics_count());
			ck_assert_str_eq(metrics_at(at)->name, name);
			ck_assert_int_eq(metrics_find(name), (int)at);
			at++;
			g_free(name);
		}
	ck_assert_uint_eq(at, metrics_count());
	ck_assert_int_eq(metrics_find("no_such_metric"), -1);
}
END_TEST

START_TEST(names_end_in_their_unit)
{
	for (unsigned i = 0; i < metrics_count(); i++) {
		const struct metric *metric = metrics_at(i);
		char *unit = g_strdup_printf("_%s", metric->unit);

		ck_assert_msg(!*metric->unit || strstr(metric->name, unit), "%s in %s",
			      metric->name, metric->unit);
		ck_assert_msg(*metric->help && !strchr(metric->help, '\n'), "%s", metric->name);
		g_free(unit);
	}
}
END_TEST

START_TEST(json_holds_integers_and_fractions)
{
	struct ledger *ledger = draw(&pictures[SCATTERED]);
	struct metrics_extra extra = { .huge_order = 9 };
	double *values = g_new(double, metrics_count());
	JsonNode *node;
	JsonObject *object;

	metrics_compute(ledger, &extra, values);
	node = metrics_json(values);
	object = json_node_get_object(node);
	ck_assert_uint_eq(json_object_get_size(object), metrics_count());
	ck_assert_int_eq(json_object_get_int_member(object, "free_frames"), 11);
	ck_assert_int_eq(json_node_get_value_type(json_object_get_member(object, "free_frames")),
			 G_TYPE_INT64);
	ck_assert_double_eq_tol(json_object_get_double_member(object, "unusable_o1"), 1 / 11.0,
				1e-12);
	json_node_unref(node);
	g_free(values);
	ledger_free(ledger);
}
END_TEST

START_TEST(the_largest_free_order_is_capped)
{
	static const int want[PICTURES] = { 0, 3, 10, -1, 10, 3 };
	struct ledger *ledger = draw(&pictures[_i]);

	ck_assert_int_eq(metrics_largest_free_order(ledger), want[_i]);
	ledger_free(ledger);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("fragmentation");
	TCase *values = tcase_create("values"), *table = tcase_create("table");
	SRunner *runner;
	int failed;

	tcase_add_test(values, compaction_is_that_of_the_definition);
	tcase_add_test(values, demand_is_that_of_the_definition);
	tcase_add_loop_test(values, figures_by_hand, 0, G_N_ELEMENTS(figures));
	tcase_add_loop_test(values, the_largest_free_order_is_capped, 0, PICTURES);
	tcase_add_test(table, metrics_stand_in_the_order_of_the_schema);
	tcase_add_test(table, names_end_in_their_unit);
	tcase_add_test(table, json_holds_integers_and_fractions);
	suite_add_tcase(suite, values);
	suite_add_tcase(suite, table);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
