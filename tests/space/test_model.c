/*
 * The model test: random events under every page-table system and mode, compared byte by byte with
 * the reference model. Argument "slow": ten million operations, about six minutes of CPU time.
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

static const uint64_t normal_total = 200000;
static const uint64_t slow_total = 10000000;
static bool slow;

static const struct {
	const char *tables, *mode;
} cells[] = {
	{ "direct", "32" },
	{ "direct", "pae" },
	{ "direct", "4level" },
	{ "direct", "5level" },
	{ "recursive", "32" },
	{ "recursive", "pae" },
	{ "recursive", "4level" },
	{ "foreign", "32" },
	{ "foreign", "pae" },
	{ "foreign", "4level" },
	{ "window", "32" },
	{ "window", "pae" },
	{ "window", "4level" },
	{ "window", "5level" },
	{ "directories", "32" },
	{ "directories", "pae" },
	{ "directories", "4level" },
	{ "directories", "5level" },
	{ "pool", "32" },
	{ "pool", "pae" },
	{ "pool", "4level" },
	{ "pool", "5level" },
	{ "preallocated", "32" },
	{ "preallocated", "pae" },
	{ "preallocated", "4level" },
	{ "preallocated", "5level" },
};
#define CELLS (int)(sizeof(cells) / sizeof(cells[0]))

#define WINDOW_PART 400

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
	if (report.failed) {
		printf("# %s\n# %s\n", report.where, report.message);
		for (guint i = 0; report.lines && i < report.lines->len; i++)
			printf("#   %s\n", (char *)g_ptr_array_index(report.lines, i));
		fflush(stdout);
	}
	ck_assert_msg(!report.failed, "%s: %s", report.where, report.message);
	ck_assert_msg(report.refused == 0, "%s %s is refused", cells[cell].tables,
		      cells[cell].mode);
	ck_assert_uint_ge(report.operations, operations);
	ck_assert_uint_gt(report.refused_touches, 0);
	check_space_report_clear(&report);
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

static const char *const policies[] = { "regions", "zero-frame", "zero-table", "cow", "guarded" };

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

int main(int argc, char **argv)
{
	Suite *suite = suite_create("space model");
	TCase *tcase = tcase_create("model");

	slow = argc > 1 && strcmp(argv[1], "slow") == 0;
	tcase_set_timeout(tcase, slow ? 3600 : 60);
	tcase_add_loop_test(tcase, contents_are_the_model_s_under_every_system, 0, CELLS);
	tcase_add_loop_test(tcase, probed_kernel_code_does_the_same, 0, CELLS);
	tcase_add_loop_test(tcase, every_policy_keeps_contents, 0, 5);
	tcase_add_loop_test(tcase, every_window_policy_keeps_contents, 0, 4);
	suite_add_tcase(suite, tcase);
	SRunner *runner = srunner_create(suite);

	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);

	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
