/* The conformance suite against planted defects: each is found, shrunk, and shown again by what it
 * printed. */
#include <check.h>
#include <glib/gstdio.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sim/check.h"
#include "sim/check_ops.h"
#include "sim/shrink.h"
#include "tests/check/rogue_frames.h"
#include "tests/replay/defect_frames.h"
#include "tests/support/bad_frames.h"
#include "workloads/trace.h"

extern const struct frame_ops *const probed_bad_frames[];
extern const struct frame_ops *const probed_defect_frames[];
extern const struct frame_ops *const probed_rogue_frames[];
extern const struct frame_ops *const probed_planted_frames[];

static char *folder, *failure;

static void set_up(void)
{
	folder = g_dir_make_tmp("kmemlab-check-XXXXXX", NULL);
	ck_assert_ptr_nonnull(folder);
	failure = g_build_filename(folder, "failure.kmt", NULL);
}

static void tear_down(void)
{
	g_unlink(failure);
	g_rmdir(folder);
	g_free(failure);
	g_free(folder);
}

static bool find_in(const struct frame_ops *const *native, const struct frame_ops *const *probed,
		    const char *name, const struct frame_ops *ops[PASSES])
{
	for (unsigned i = 0; native[i]; i++)
		if (strcmp(native[i]->name, name) == 0) {
			ops[PASS_NATIVE] = native[i];
			ops[PASS_PROBED] = probed[i];
			return true;
		}
	return false;
}

/* Soon, so that few operations suffice. */
static char *every[] = { (char *)(uintptr_t) "frames.every=3", NULL };
static char *at[] = { (char *)(uintptr_t) "frames.at=3", NULL };

static struct check_config config_of(const char *name)
{
	struct check_config config = {
		.name = name, .operations = 400, .cpu_ms = CHECK_TIME_MS, .output = failure
	};

	ck_assert_msg(find_in(bad_frames, probed_bad_frames, name, config.frames) ||
			      find_in(defect_frames, probed_defect_frames, name, config.frames) ||
			      find_in(rogue_frames, probed_rogue_frames, name, config.frames) ||
			      find_in(planted_frames, probed_planted_frames, name, config.frames),
		      "no defect %s", name);
	const struct frame_option *options = config.frames[PASS_NATIVE]->options;
	if (options && strcmp(options[0].key, "max-order") != 0)
		config.settings = options[0].max ? at : every;
	return config;
}

static void check_of(const struct check_config *config, struct check_report *report)
{
	GError *error = NULL;

	ck_assert_msg(check_frames(config, report, &error), "%s: %s", config->name,
		      error ? error->message : "");
}

/* ---- what is found ---- */

static const struct {
	const char *name;
	const char *words;   /* in the message */
	guint most;	     /* operations that are left */
	const char *command; /* that shows it again */
} cases[] = {
	{ "bad-twice", "overlap", 20, "kmemlab replay" },
	{ "bad-loses", "lost", 20, "kmemlab replay" },
	{ "bad-shifted", "", 20, "kmemlab replay" },
	{ "bad-foreign", "out-of-map", 10, "kmemlab replay" },
	{ "bad-corrupt", "", 20, "kmemlab replay" },
	{ "bad-overrun", "past the allocator's state", 10, "kmemlab replay" },
	{ "bad-scribble", "live handle", 20, "kmemlab replay" },
	{ "bad-liar", "stats() and walk() disagree", 0, "kmemlab replay" },
	{ "fewer", "too-small", 21, "kmemlab replay" },
	{ "nothing", "too-small", 20, "kmemlab replay" },
	{ "huge-block", "", 20, "kmemlab replay" },
	{ "misaligned", "misaligned", 21, "kmemlab replay" },
	{ "refuses", "refused", 40, "kmemlab replay" },
	{ "panics", "planted panic", 20, "kmemlab replay" },
	{ "panics-in-free", "planted panic in free", 40, "kmemlab replay" },
	{ "faults", "page-fault: write of kernel address", 20, "kmemlab replay" },
	{ "reads-live", "live handle", 20, "kmemlab replay" },
	{ "writes-free", "free frame", 40, "kmemlab replay" },
	{ "writes-tables", "", 20, "kmemlab replay" },
	{ "writes-global", "outside simulated RAM", 20, "kmemlab replay" },
	{ "boot-faults", "died while booting", 0, "kmemlab check" },
	{ "boot-panics", "planted panic at boot", 0, "kmemlab check" },
	{ "boot-fails", "does not start", 0, "kmemlab check" },
	{ "walks-back", "address order", 0, "kmemlab replay" },
	{ "claims-kept", "", 0, "kmemlab replay" },
	{ "check-faults", "page-fault: read of kernel address", 0, "kmemlab replay" },
	{ "hangs", "does not come back", 100, "kmemlab check" },
	{ "crashes", "outside of the machine, at tests/check/rogue_frames.c", 30, "kmemlab check" },
	{ "credulous", "is taken, and check() sees nothing", 2, "kmemlab check" },
	{ "first-only", "free-", 2, "kmemlab check" },
	{ "damaged", "after a refused", 2, "kmemlab check" },
	{ "elsewhere", "asked for frame", 2, "kmemlab check" },
	{ "stingy", "one frame is refused", 1000, "kmemlab check" },
	{ "hasty", "changes its result", 1, "kmemlab check" },
	{ "unsteady", "placed differently", 2, "kmemlab replay" },
	{ "lost-split", "lost", 20, "kmemlab replay" },
	{ "unmerged", "no two buddies are free", 20, "kmemlab replay" },
	{ "off-by-one", "out-of-map", 100, "kmemlab replay" },
	{ "overlap", "", 20, "kmemlab" },
};

START_TEST(a_planted_defect_is_found_shrunk_and_shown_again)
{
	struct check_config config = config_of(cases[_i].name);
	struct check_report report, again;

	check_of(&config, &report);
	ck_assert_msg(report.failed, "%s is not found", cases[_i].name);
	ck_assert_msg(strstr(report.message, cases[_i].words), "%s: %s", cases[_i].name,
		      report.message);
	ck_assert_msg(report.lines->len <= cases[_i].most, "%s: %u operations are left: %s",
		      cases[_i].name, report.lines->len, report.message);
	ck_assert_msg(g_str_has_prefix(report.command, cases[_i].command), "%s: %s", cases[_i].name,
		      report.command);
	config.trace = failure;
	check_of(&config, &again);
	ck_assert_msg(again.failed, "%s: the trace does not show it", cases[_i].name);
	check_report_clear(&again);
	check_report_clear(&report);
}
END_TEST

START_TEST(the_same_seed_finds_the_same)
{
	struct check_config config = config_of("bad-twice");
	struct check_report one, two;

	config.seed = 5;
	check_of(&config, &one);
	check_of(&config, &two);
	ck_assert_str_eq(one.message, two.message);
	ck_assert_uint_eq(one.lines->len, two.lines->len);
	for (guint i = 0; i < one.lines->len; i++)
		ck_assert_str_eq(g_ptr_array_index(one.lines, i), g_ptr_array_index(two.lines, i));
	check_report_clear(&one);
	check_report_clear(&two);
}
END_TEST

/* ---- what is not found ---- */

static int systems(void)
{
	int count = 0;

	while (frame_registry[count])
		count++;
	return count;
}

START_TEST(every_system_keeps_its_contract)
{
	const char *name = frame_registry[_i]->name;
	struct check_config config = {
		.name = name, .operations = 200, .cpu_ms = 4 * CHECK_TIME_MS, .output = failure
	};
	struct check_report report;

	for (unsigned pass = 0; pass < PASSES; pass++)
		config.frames[pass] = kernels[pass].frame_find(name);
	check_of(&config, &report);
	ck_assert_msg(!report.failed, "%s: %s, on %s", name, report.message, report.where);
	ck_assert_msg(report.refused * 2 < report.configurations,
		      "%s: most configurations are refused", name);
	check_report_clear(&report);
}
END_TEST

/* ---- the operations ---- */

START_TEST(operations_come_back_from_their_trace)
{
	GArray *map = memory_map_parse(check_maps[1].e820, strlen(check_maps[1].e820), "map", NULL);
	GArray *back_map;
	GError *error = NULL;
	GArray *list = check_ops_generate(map, ~0u, 3, 500, true);

	ck_assert_msg(check_ops_save(list, map, failure, &error), "%s",
		      error ? error->message : "");
	GArray *back = check_ops_load(failure, &back_map, &error);
	ck_assert_msg(back, "%s", error ? error->message : "");
	ck_assert_uint_eq(back->len, list->len);
	ck_assert_uint_eq(back_map->len, map->len);
	for (guint i = 0; i < list->len; i++) {
		char *want = check_op_text(&g_array_index(list, struct event, i));
		char *got = check_op_text(&g_array_index(back, struct event, i));
		ck_assert_str_eq(got, want);
		g_free(want);
		g_free(got);
	}
	struct trace_reader *reader = trace_reader_open(failure, &error);
	ck_assert(reader && trace_validate(reader, &error));
	trace_reader_free(reader);
	g_array_unref(back);
	g_array_unref(back_map);
	g_array_unref(list);
	g_array_unref(map);
}
END_TEST

/* Fails while it holds both 7 and something of at least 100. */
static bool holds_both(void *context, GArray *list)
{
	bool seven = false, large = false;

	for (guint i = 0; i < list->len; i++) {
		seven |= g_array_index(list, int, i) == 7;
		large |= g_array_index(list, int, i) >= 100;
	}
	++*(unsigned *)context;
	return seven && large;
}

static bool smaller(void *context, void *operation, unsigned step)
{
	int *number = operation;

	if (step == 0)
		*number /= 2;
	else
		*number -= *number > 100;
	return step < 2;
}

START_TEST(shrinking_leaves_what_matters)
{
	GArray *list = g_array_new(FALSE, FALSE, sizeof(int));
	unsigned calls = 0, trials;
	struct shrink how = {
		.fails = holds_both, .simplify = smaller, .context = &calls, .trials_max = 1000
	};

	for (int i = 0; i < 500; i++) {
		int number = i == 77 ? 7 : i == 401 ? 1000 : 20;
		g_array_append_val(list, number);
	}
	GArray *small = shrink_list(&how, list, &trials);
	ck_assert_uint_eq(small->len, 2);
	ck_assert_int_eq(g_array_index(small, int, 0), 7);
	ck_assert_int_lt(g_array_index(small, int, 1), 200);
	ck_assert_uint_eq(trials, calls);
	g_array_unref(small);
	how.trials_max = 3;
	small = shrink_list(&how, list, &trials);
	ck_assert_uint_eq(trials, 3);
	g_array_unref(small);
	g_array_unref(list);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("conformance check");
	TCase *found = tcase_create("defects"), *clean = tcase_create("systems"),
	      *parts = tcase_create("parts");

	tcase_add_checked_fixture(found, set_up, tear_down);
	tcase_set_timeout(found, 60);
	tcase_add_loop_test(found, a_planted_defect_is_found_shrunk_and_shown_again, 0,
			    G_N_ELEMENTS(cases));
	tcase_add_test(found, the_same_seed_finds_the_same);
	tcase_add_checked_fixture(clean, set_up, tear_down);
	tcase_set_timeout(clean, 120);
	tcase_add_loop_test(clean, every_system_keeps_its_contract, 0, systems());
	tcase_add_checked_fixture(parts, set_up, tear_down);
	tcase_add_test(parts, operations_come_back_from_their_trace);
	tcase_add_test(parts, shrinking_leaves_what_matters);
	suite_add_tcase(suite, found);
	suite_add_tcase(suite, clean);
	suite_add_tcase(suite, parts);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
