/*
 * The model test: random events under every page-table system and mode, compared byte by byte with
 * the reference model. Argument "slow": ten million operations over all systems, some five minutes
 * of CPU time; with a name behind it, the part of one system.
 *
 * Where a page table is reached through a window, each of them costs the host two mappings and a
 * signal, some half a millisecond an operation, fifty times what the others take: these systems
 * have a four-hundredth of the operations each, and the others share the rest evenly.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sim/check_space.h"
#include "tests/space/cells.h"

static const uint64_t normal_total = 200000;
static const uint64_t slow_total = 10000000;
static bool slow;

#define CELLS (int)(sizeof(cells) / sizeof(cells[0]))

#define WINDOW_PART 400
/* So many operations have large pages among them. */
#define LARGE_SURELY 1000

static bool has_windows(int cell)
{
	return strcmp(cells[cell].tables, "window") == 0;
}

static uint64_t operations_of(int cell)
{
	uint64_t total = slow ? slow_total : normal_total, part = total / WINDOW_PART;
	uint64_t rest = total, others = 0;

	for (int i = 0; i < CELLS; i++) {
		others += !has_windows(i);
		rest -= has_windows(i) ? part : 0;
	}
	return has_windows(cell) ? part : (rest + others - 1) / others;
}

static void run(int cell, const char *spaces, const char *setting, enum kernel_pass pass,
		uint64_t operations, uint64_t seed)
{
	char *settings[] = { (char *)(uintptr_t)setting, NULL };
	struct check_space_config config = {
		.tables = cells[cell].tables,
		.spaces = spaces,
		.mode = cells[cell].mode,
		.settings = setting ? settings : NULL,
		.seed = seed,
		.operations = operations,
		.output = "model-failure.kmt",
	};
	struct check_space_report report;
	GError *error = NULL;

	config.pass[pass] = true;
	if (!check_spaces(&config, &report, &error))
		ck_abort_msg("%s", error->message);
	if (report.common.failed) {
		printf("# %s\n# %s\n", report.common.where, report.common.message);
		for (guint i = 0; report.common.lines && i < report.common.lines->len; i++)
			printf("#   %s\n", (char *)g_ptr_array_index(report.common.lines, i));
		fflush(stdout);
	}
	ck_assert_msg(!report.common.failed, "%s: %s", report.common.where, report.common.message);
	ck_assert_msg(report.common.refused == 0, "%s %s is refused", cells[cell].tables,
		      cells[cell].mode);
	ck_assert_uint_ge(report.common.operations, operations);
	ck_assert_uint_gt(report.refused_touches, 0);
	if (operations >= LARGE_SURELY &&
	    (strcmp(spaces, "process") == 0 || strcmp(spaces, "large") == 0))
		ck_assert_uint_gt(report.large, 0);
	check_report_clear(&report.common);
}

START_TEST(contents_are_the_model_s_under_every_system)
{
	run(_i, "process", NULL, PASS_NATIVE, operations_of(_i), (uint64_t)_i);
}
END_TEST

START_TEST(probed_kernel_code_does_the_same)
{
	run(_i, "process", NULL, PASS_PROBED, slow ? 10000 : 400, 100 + (uint64_t)_i);
}
END_TEST

static const char *const policies[] = { "regions", "zero-frame", "zero-table",
					"cow",	   "guarded",	 "large" };

START_TEST(every_policy_keeps_contents)
{
	run(2, policies[_i], NULL, PASS_NATIVE, slow ? 200000 : 4000, 200 + (uint64_t)_i);
}
END_TEST

static const char *const window_settings[] = { "tables.policy=stack", "tables.policy=watermark",
					       "tables.policy=single", "tables.slots=1" };

START_TEST(every_window_policy_keeps_contents)
{
	run(10, "process", window_settings[_i], PASS_NATIVE, slow ? 20000 : 1000, 300);
	run(10, "process", window_settings[_i], PASS_PROBED, slow ? 4000 : 200, 301);
}
END_TEST

/* The cells of SYSTEM stand together: [*first, *end). NULL: all. */
static void find_cells(const char *system, int *first, int *end)
{
	*first = 0;
	*end = CELLS;
	while (system && *first < CELLS && strcmp(cells[*first].tables, system) != 0)
		++*first;
	while (system && *end > *first && strcmp(cells[*end - 1].tables, system) != 0)
		--*end;
}

static bool concerns(const char *system, const char *this)
{
	return !system || strcmp(system, this) == 0;
}

/* test_space_model [slow [PAGE-TABLE SYSTEM]] */
int main(int argc, char **argv)
{
	Suite *suite = suite_create("space model");
	TCase *tcase = tcase_create("model");
	const char *system = argc > 2 ? argv[2] : NULL;
	int first, end;

	slow = argc > 1 && strcmp(argv[1], "slow") == 0;
	find_cells(system, &first, &end);
	if (first == end) {
		fprintf(stderr, "no page-table system %s\n", system);
		return EXIT_FAILURE;
	}
	tcase_set_timeout(tcase, slow ? 3600 : 60);
	tcase_add_loop_test(tcase, contents_are_the_model_s_under_every_system, first, end);
	tcase_add_loop_test(tcase, probed_kernel_code_does_the_same, first, end);
	if (concerns(system, "direct"))
		tcase_add_loop_test(tcase, every_policy_keeps_contents, 0, G_N_ELEMENTS(policies));
	if (concerns(system, "window"))
		tcase_add_loop_test(tcase, every_window_policy_keeps_contents, 0,
				    G_N_ELEMENTS(window_settings));
	suite_add_tcase(suite, tcase);
	SRunner *runner = srunner_create(suite);

	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);

	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
