/* The interleaving explorer: planted defects are found, made small, written and played again; sound
 * systems stay sound; what it counts is what there is. */
#include <check.h>
#include <glib/gstdio.h>
#include <string.h>

#include "sim/explore.h"
#include "sim/explore_run.h"
#include "sim/lab.h"
#include "tests/explore/planted_frames.h"

extern const struct frame_ops *const probed_planted_frames[];

static char *folder, *failure;

static void set_up(void)
{
	folder = g_dir_make_tmp("kmemlab-explore-XXXXXX", NULL);
	ck_assert_ptr_nonnull(folder);
	failure = g_build_filename(folder, "failure.schedule", NULL);
}

static void tear_down(void)
{
	g_unlink(failure);
	g_rmdir(folder);
	g_free(failure);
	g_free(folder);
}

static struct explore_config config_of(const char *name)
{
	struct explore_config config = { .name = name,
					 .preemptions = EXPLORE_PREEMPTIONS,
					 .schedules = EXPLORE_SCHEDULES,
					 .cpu_ms = 20000,
					 .output = failure };

	for (unsigned i = 0; planted_frames[i]; i++)
		if (strcmp(planted_frames[i]->name, name) == 0) {
			config.frames[PASS_NATIVE] = planted_frames[i];
			config.frames[PASS_PROBED] = probed_planted_frames[i];
		}
	for (unsigned pass = 0; pass < PASSES && !config.frames[pass]; pass++)
		config.frames[pass] = kernels[pass].frame_find(name);
	ck_assert_msg(config.frames[PASS_PROBED], "no system %s", name);
	return config;
}

static void explore(const struct explore_config *config, struct explore_report *report)
{
	GError *error = NULL;

	ck_assert_msg(explore_frames(config, report, &error), "%s: %s", config->name,
		      error ? error->message : "");
}

/* ---- what is sound ---- */

START_TEST(lock_free_systems_are_sound)
{
	struct explore_config config;
	struct explore_report report;

	for (const struct frame_ops *const *ops = frame_registry; *ops; ops++) {
		if (!((*ops)->caps & FRAME_CAP_LOCKLESS))
			continue;
		config = config_of((*ops)->name);
		explore(&config, &report);
		ck_assert_msg(!report.failed, "%s: %s", (*ops)->name, report.message);
		ck_assert_uint_ge(report.scenarios, 20);
		ck_assert_uint_gt(report.schedules, 1000);
		ck_assert_uint_eq(report.cut, 0);
		explore_report_clear(&report);
	}
}
END_TEST

START_TEST(systems_with_the_lock_are_sound)
{
	static const char *const names[] = { "buddy", "bitmap", "range-list", "stack" };
	struct explore_config config = config_of(names[_i]);
	struct explore_report report;

	config.preemptions = 1;
	config.schedules = 500;
	explore(&config, &report);
	ck_assert_msg(!report.failed, "%s: %s", names[_i], report.message);
	explore_report_clear(&report);
}
END_TEST

/* ---- what is planted ---- */

static const struct {
	const char *name;
	const char *kind;     /* in the message */
	const char *line;     /* in what is told */
	unsigned preemptions; /* as few as suffice */
} cases[] = {
	{ "aba", "overlap", "(aba_alloc)", 1 },
	{ "lost-alloc", "overlap", "(torn_alloc)", 1 },
	{ "lost-free", "lost", "(torn_free)", 1 },
	{ "free-once", "lost", "(once_free)", 1 },
	{ "alloc-once", "refused", "(once_alloc)", 1 },
	{ "heedless", "overlap", "(heedless_alloc)", 1 },
	{ "waits", "blocks", "(waits_alloc)", 1 },
};

static bool any_line_has(const GPtrArray *lines, const char *words)
{
	for (guint i = 0; i < lines->len; i++)
		if (strstr(g_ptr_array_index(lines, i), words))
			return true;
	return false;
}

START_TEST(planted_defects_are_found_soon_and_shown_again)
{
	struct explore_config config = config_of(cases[_i].name);
	struct explore_report report, again;
	gint64 begin = g_get_monotonic_time();

	explore(&config, &report);
	double seconds = (double)(g_get_monotonic_time() - begin) / 1e6;
	ck_assert_msg(report.failed, "%s is not found in %" G_GUINT64_FORMAT " schedules",
		      cases[_i].name, report.schedules);
	ck_assert_msg(strstr(report.message, cases[_i].kind), "%s", report.message);
	ck_assert_msg(any_line_has(report.lines, cases[_i].line), "%s: no line has %s",
		      report.message, cases[_i].line);
	ck_assert(any_line_has(report.lines, "goes on"));
	ck_assert_uint_eq(report.preemptions, cases[_i].preemptions);
	ck_assert_uint_le(report.left, report.from);
	ck_assert_uint_le(report.left, 5);
	ck_assert_msg(seconds < 10, "%s took %.1f s", cases[_i].name, seconds);

	/* The file alone shows the same. */
	ck_assert(explore_file_is(failure));
	config.schedule = failure;
	explore(&config, &again);
	ck_assert(again.failed);
	ck_assert_str_eq(again.message, report.message);
	ck_assert_uint_eq(again.lines->len, report.lines->len);
	explore_report_clear(&report);
	explore_report_clear(&again);
}
END_TEST

START_TEST(without_preemptions_they_are_sound)
{
	struct explore_config config = config_of(cases[_i].name);
	struct explore_report report;

	config.preemptions = 0;
	explore(&config, &report);
	ck_assert_msg(!report.failed, "%s", report.message);
	explore_report_clear(&report);
}
END_TEST

START_TEST(the_same_without_a_defect_is_sound)
{
	struct explore_config config = config_of("right");
	struct explore_report report;

	explore(&config, &report);
	ck_assert_msg(!report.failed, "%s", report.message);
	ck_assert_uint_eq(report.cut, 0);
	explore_report_clear(&report);
}
END_TEST

/* ---- counting ---- */

/* Every order that CHOOSE makes up is another one, and as many as there are. */
struct count {
	unsigned points;
};

static unsigned stay(void *context, const struct explore_point *point)
{
	struct count *count = context;

	count->points += point->contended && !point->begins;
	return point->can_go_on ? point->cpu : (unsigned)__builtin_ctz(point->runnable);
}

START_TEST(a_run_leaves_the_state_as_it_found_it)
{
	struct explore_config config = config_of("bitmap-lockless");
	struct explore_scenario *scenario =
		explore_scenario_get(config.frames[PASS_NATIVE]->caps, 0, 6);
	struct frame_config frame_config;
	struct explore_outcome first, outcome;
	struct count count = { 0 };
	GError *error = NULL;

	frame_config_defaults(config.frames[PASS_NATIVE], &frame_config);
	struct explore_player *player =
		explore_player_new(config.frames, &frame_config, scenario, &error);
	ck_assert_msg(player, "%s", error ? error->message : "");
	explore_play(player, stay, &count, &first, NULL);
	for (unsigned i = 0; i < 50; i++) {
		explore_play(player, stay, &count, &outcome, NULL);
		ck_assert(!outcome.failed);
		ck_assert_uint_eq(outcome.accesses, first.accesses);
		ck_assert_uint_eq(outcome.order.count, scenario->cpus);
	}
	ck_assert(first.learned && !outcome.learned);
	ck_assert_uint_gt(count.points, 50);
	explore_player_free(player);
	explore_scenario_free(scenario);
}
END_TEST

/* ---- files ---- */

static const struct {
	const char *text, *words;
} bad[] = {
	{ "[schedule]\nversion=2\n", "version: 1 is what can be read" },
	{ "[schedule]\nversion=1\ncpus=9\n", "cpus: 1 to 4" },
	{ "[schedule]\nversion=1\ncpus=2\n", "map: is missing" },
	{ "[schedule]\nversion=1\ncpus=2\nmap=nonsense\n", "no memory map" },
	{ "[schedule]\nversion=1\ncpus=2\nmap=[mem 0x0-0xfffff] usable\ncpu0=take 1\n",
	  "cpu0: neither" },
	{ "[schedule]\nversion=1\ncpus=2\nmap=[mem 0x0-0xfffff] usable\ncpu0=alloc 99 1\n",
	  "cpu0: a handle" },
	{ "[schedule]\nversion=1\ncpus=2\nmap=[mem 0x0-0xfffff] usable\ncpu0=alloc 1 0\n",
	  "cpu0: an allocation of no frames" },
	{ "[schedule]\nversion=1\ncpus=2\nmap=[mem 0x0-0xfffff] usable\ncpu0=alloc 1 1\norder=7 "
	  "1\n",
	  "order: pairs" },
	{ "[schedule]\nversion=1\ncpus=2\nmap=[mem 0x0-0xfffff] usable\norder=0\n",
	  "order: pairs" },
	{ "[schedule]\nbroken", "schedule error" },
};

START_TEST(bad_files_are_refused_with_what_is_wrong)
{
	struct explore_config config = config_of("llfree");
	struct explore_report report;
	GError *error = NULL;

	ck_assert(g_file_set_contents(failure, bad[_i].text, -1, NULL));
	config.schedule = failure;
	ck_assert(!explore_frames(&config, &report, &error));
	ck_assert_msg(strstr(error->message, bad[_i].words), "%s", error->message);
	ck_assert(!g_error_matches(error, LAB_ERROR, LAB_ERROR_LAB));
	g_error_free(error);
	explore_report_clear(&report);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("explore");
	TCase *one = tcase_create("sound");

	tcase_add_checked_fixture(one, set_up, tear_down);
	tcase_set_timeout(one, 60);
	tcase_add_test(one, lock_free_systems_are_sound);
	tcase_add_loop_test(one, systems_with_the_lock_are_sound, 0, 4);
	tcase_add_test(one, the_same_without_a_defect_is_sound);
	tcase_add_test(one, a_run_leaves_the_state_as_it_found_it);
	suite_add_tcase(suite, one);

	one = tcase_create("planted");
	tcase_add_checked_fixture(one, set_up, tear_down);
	tcase_set_timeout(one, 60);
	tcase_add_loop_test(one, planted_defects_are_found_soon_and_shown_again, 0,
			    (int)G_N_ELEMENTS(cases));
	tcase_add_loop_test(one, without_preemptions_they_are_sound, 0, (int)G_N_ELEMENTS(cases));
	suite_add_tcase(suite, one);

	one = tcase_create("files");
	tcase_add_checked_fixture(one, set_up, tear_down);
	tcase_add_loop_test(one, bad_files_are_refused_with_what_is_wrong, 0,
			    (int)G_N_ELEMENTS(bad));
	suite_add_tcase(suite, one);

	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
