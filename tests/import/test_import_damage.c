#include <check.h>
#include <glib/gstdio.h>
#include <stdlib.h>
#include <string.h>
#include "tests/import/import_support.h"
#include "tests/unit/test_trace_support.h"
#include "workloads/import/gfp.h"

/* Bad input: an error that names the place, soon, and no file left behind. */

/* Far more than the slowest takes; what gets stuck would take longer. */
#define SECONDS_AT_MOST 20

#define GOOD "  a-1 [000] 1.5: mm_page_free: page=0x1 pfn=0x200 order=0\n"

static const struct {
	const char *name, *text;
	int code;
	const char *want[3]; /* all in the message */
} texts[] = {
	{ "nothing at all", "", TRACE_ERROR_FORMAT, { "input:1:", "empty" } },
	{ "garbage", "hello\nworld\n", TRACE_ERROR_FORMAT, { "input:1:" } },
	{ "bytes",
	  "\x7f"
	  "ELF\x02\x01\x01",
	  TRACE_ERROR_FORMAT,
	  { "input:1:" } },
	{ "only a header", "# tracer: nop\n#\n", TRACE_ERROR_FORMAT, { "input:2:", "no event" } },
	{ "garbage among lines",
	  GOOD "garbage\n" GOOD,
	  TRACE_ERROR_FORMAT,
	  { "input:2:", "'garbage'" } },
	{ "a clipped line",
	  GOOD "  a-1 [000] 1.6: mm_page_free: page=0x1 pf",
	  TRACE_ERROR_FORMAT,
	  { "input:2:", "mm_page_free without pfn" } },
	{ "no time",
	  GOOD "  a-1 [000] mm_page_free: page=0x1 pfn=0x200 order=0\n",
	  TRACE_ERROR_FORMAT,
	  { "input:2:", "time stamp" } },
	{ "no event",
	  GOOD "  a-1 [000] 1.6: mm_page_free\n",
	  TRACE_ERROR_FORMAT,
	  { "input:2:", "event name" } },
	{ "a field that is no number",
	  GOOD "  a-1 [000] 1.6: mm_page_free: pfn=xyz order=0\n",
	  TRACE_ERROR_FORMAT,
	  { "input:2:", "pfn=xyz" } },
	{ "an unknown gfp flag",
	  GOOD "  a-1 [000] 1.6: mm_page_alloc: pfn=1 order=0 gfp_flags=GFP_KERN\n",
	  TRACE_ERROR_FORMAT,
	  { "input:2:", "gfp_flags=GFP_KERN" } },
	{ "an absurd order",
	  GOOD "  a-1 [000] 1.6: mm_page_free: pfn=0x200 order=99\n",
	  TRACE_ERROR_FORMAT,
	  { "input:2:", "order 99" } },
	{ "a negative order",
	  GOOD "  a-1 [000] 1.6: mm_page_free: pfn=0x200 order=-1\n",
	  TRACE_ERROR_FORMAT,
	  { "input:2:", "order -1" } },
	{ "an absurd frame",
	  GOOD "  a-1 [000] 1.6: mm_page_free: pfn=0xfffffffffffffff order=0\n",
	  TRACE_ERROR_FORMAT,
	  { "input:2:", "0xfffffffffffffff" } },
	{ "a misaligned block",
	  GOOD "  a-1 [000] 1.6: mm_page_free: pfn=0x201 order=1\n",
	  TRACE_ERROR_FORMAT,
	  { "input:2:", "not aligned" } },
	{ "a million CPUs",
	  GOOD "  a-1 [1000000] 1.6: mm_page_free: pfn=0x200 order=0\n",
	  TRACE_ERROR_FORMAT,
	  { "input:2:", "CPU" } },
	{ "an absurd process",
	  GOOD "  a-99999999999 [000] 1.6: mm_page_free: pfn=0x200 order=0\n",
	  TRACE_ERROR_FORMAT,
	  { "input:2:", "process" } },
	{ "time that goes back",
	  GOOD "  a-1 [000] 1.4: mm_page_free: pfn=0x200 order=0\n",
	  TRACE_ERROR_FORMAT,
	  { "input:2:", "time goes back on CPU 0" } },
	{ "an absurd time",
	  GOOD "  a-1 [000] 99999999999999999999.5: mm_page_free: pfn=1 order=0\n",
	  TRACE_ERROR_FORMAT,
	  { "input:2:", "time stamp" } },
	{ "another format behind ftrace's",
	  GOOD "swapper 0 [000] 1.6: kmem:mm_page_free: pfn=1 order=0\n",
	  TRACE_ERROR_FORMAT,
	  { "input:2:" } },
	{ "half a fork",
	  GOOD "  a-1 [000] 1.6: sched_process_fork: comm=a pid=1 child_comm=b\n",
	  TRACE_ERROR_FORMAT,
	  { "input:2:", "child_pid" } },
};

static void check_error(const char *name, struct loaded *loaded, const GError *error, int code,
			const char *const *want)
{
	ck_assert_msg(!loaded, "%s: imported", name);
	ck_assert_msg(error, "%s: no error", name);
	ck_assert_msg(g_error_matches(error, TRACE_ERROR, code), "%s: %s", name, error->message);
	for (int i = 0; i < 3 && want[i]; i++)
		ck_assert_msg(strstr(error->message, want[i]), "%s: %s", name, error->message);
	ck_assert_msg(g_str_has_prefix(error->message, "trace error: "), "%s: %s", name,
		      error->message);
}

START_TEST(bad_text_is_refused_with_its_line)
{
	g_autoptr(GError) error = NULL;
	struct loaded *loaded = import_bytes(texts[_i].text, strlen(texts[_i].text), false, &error);

	check_error(texts[_i].name, loaded, error, texts[_i].code, texts[_i].want);
}
END_TEST

/* Such a name was once looked for beyond the end of one in the table. */
START_TEST(a_gfp_flag_with_a_zero_byte_is_unknown)
{
	static const char flags[] = "GFP_KERNEL\0ZERO_AND_MORE_OF_IT";
	uint32_t gfp;

	ck_assert(gfp_parse(flags, strlen(flags), &gfp));
	ck_assert(!gfp_parse(flags, sizeof(flags) - 1, &gfp));
}
END_TEST

/* ---- options ---- */

START_TEST(unknown_format_is_the_callers_fault)
{
	struct import_options options = { .format = "ftraze" };
	g_autofree char *path = g_build_filename(EXCERPTS_FOLDER, "compile.dat", NULL);
	g_autoptr(GError) error = NULL;

	ck_assert(!import_file(path, "/nonexistent/x.kmt", &options, &error));
	ck_assert(g_error_matches(error, TRACE_ERROR, TRACE_ERROR_USAGE));
	ck_assert_ptr_nonnull(strstr(error->message, "ftraze"));
	ck_assert_ptr_nonnull(strstr(error->message, "trace-dat"));
}
END_TEST

START_TEST(files_that_cannot_be_read_or_written_are_the_systems_fault)
{
	static const struct {
		const char *input, *state, *memmap;
	} cases[] = {
		{ "/nonexistent/trace.dat", NULL, NULL },
		{ "/", NULL, NULL },
		{ EXCERPTS_FOLDER "/compile.dat", "/nonexistent/state", NULL },
		{ EXCERPTS_FOLDER "/compile.dat", NULL, "/nonexistent/map" },
		{ EXCERPTS_FOLDER "/compile.dat", NULL, NULL },
	};
	char *folder = make_folder();

	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		struct import_options options = { .state = cases[i].state,
						  .memmap = cases[i].memmap };
		/* The last one fails for its output. */
		g_autofree char *output =
			g_build_filename(folder, i == G_N_ELEMENTS(cases) - 1 ? "no/x" : "x", NULL);
		g_autoptr(GError) error = NULL;
		ck_assert(!import_file(cases[i].input, output, &options, &error));
		ck_assert_msg(g_error_matches(error, TRACE_ERROR, TRACE_ERROR_IO), "%zu: %s", i,
			      error->message);
		g_autofree char *names = folder_names(folder);
		ck_assert_str_eq(names, "");
	}
	remove_folder(folder);
}
END_TEST

START_TEST(wrong_format_by_force_is_refused)
{
	struct import_options options = { .format = "trace-dat" };
	g_autofree char *path = g_build_filename(EXCERPTS_FOLDER, "report.txt.zst", NULL);
	char *folder = make_folder();
	g_autofree char *output = g_build_filename(folder, "x.kmt", NULL);
	g_autoptr(GError) error = NULL;

	ck_assert(!import_file(path, output, &options, &error));
	ck_assert(g_error_matches(error, TRACE_ERROR, TRACE_ERROR_FORMAT));
	g_autofree char *names = folder_names(folder);
	ck_assert_str_eq(names, "");
	remove_folder(folder);
}
END_TEST

/* ---- damaged files ---- */

static char *excerpt(const char *file, gsize *bytes)
{
	g_autofree char *path = g_build_filename(EXCERPTS_FOLDER, file, NULL);
	char *content = NULL;

	ck_assert(g_file_get_contents(path, &content, bytes, NULL));
	return content;
}

/* Imports damaged content. Returns the error, NULL if the damage did not show; aborts if it took
 * long, left files, or blamed the wrong party. */
static GError *import_damaged(const char *what, const char *content, gsize bytes)
{
	gint64 began = g_get_monotonic_time();
	GError *error = NULL;
	struct loaded *loaded = import_bytes(content, bytes, false, &error);

	ck_assert_msg(g_get_monotonic_time() - began < SECONDS_AT_MOST * G_USEC_PER_SEC,
		      "%s took too long", what);
	if (loaded) {
		loaded_free(loaded);
		return NULL;
	}
	ck_assert_msg(g_error_matches(error, TRACE_ERROR, TRACE_ERROR_FORMAT), "%s: %s", what,
		      error->message);
	ck_assert_msg(strstr(error->message, "input:"), "%s: %s", what, error->message);
	return error;
}

static const char *const files[] = { "compile.dat",	      "compile.v6.dat.xz",
				     "compile.report.txt.gz", "raw.txt.zst",
				     "perf.script.txt.zst",   "lackey.txt.zst",
				     "mtrace.txt.zst",	      "wordcount.rep.zst" };

START_TEST(truncated_file_is_refused)
{
	gsize bytes;
	g_autofree char *content = excerpt(files[_i], &bytes);

	for (int i = 1; i < 16; i++) {
		gsize cut = bytes * (gsize)i / 16;
		g_autofree char *what = g_strdup_printf("%s cut at %zu", files[_i], cut);
		g_autoptr(GError) error = import_damaged(what, content, cut);
		ck_assert_msg(error, "%s was imported", what);
	}
	/* The very last bytes as well. */
	g_autoptr(GError) error = import_damaged(files[_i], content, bytes - 1);
	ck_assert_msg(error || strstr(files[_i], ".gz"), "%s was imported", files[_i]);
}
END_TEST

/* Damage may hide in a number that is as good as the right one; it must never do worse. */
START_TEST(flipped_bits_never_crash_or_hang)
{
	gsize bytes;
	g_autofree char *content = excerpt(files[_i], &bytes);
	g_autoptr(GRand) random = g_rand_new_with_seed((guint32)_i + 1);

	for (int i = 0; i < 24; i++) {
		/* A third of them in what says how to read the rest. */
		gsize at = (gsize)g_rand_int_range(random, 0, (gint32)(i % 3 ? bytes : bytes / 16));
		g_autofree char *what = g_strdup_printf("%s with byte %zu flipped", files[_i], at);
		char kept = content[at];
		content[at] ^= (char)(1 << g_rand_int_range(random, 0, 8));
		g_autoptr(GError) error = import_damaged(what, content, bytes);
		content[at] = kept;
	}
}
END_TEST

/* Version 6 without compression around it, where a flip goes straight into the records. */
START_TEST(flipped_bits_in_records_never_crash_or_hang)
{
	char *folder = make_folder();
	g_autofree char *plain = g_build_filename(folder, "plain.dat", NULL);
	g_autofree char *command =
		g_strdup_printf("xz -dc %s/compile.v6.dat.xz > %s", EXCERPTS_FOLDER, plain);
	g_autoptr(GRand) random = g_rand_new_with_seed(7);
	g_autofree char *content = NULL;
	gsize bytes;

	if (system(command) == 0 && g_file_get_contents(plain, &content, &bytes, NULL)) {
		for (int i = 0; i < 40; i++) {
			gsize at = (gsize)g_rand_int_range(random, 0, (gint32)bytes);
			g_autofree char *what = g_strdup_printf("byte %zu flipped", at);
			char kept = content[at];
			content[at] ^= (char)(1 << g_rand_int_range(random, 0, 8));
			g_autoptr(GError) error = import_damaged(what, content, bytes);
			content[at] = kept;
		}
	}
	remove_folder(folder);
}
END_TEST

/* A second form of damage: whole stretches of zeros, as a full disk leaves them. */
START_TEST(zeroed_stretches_never_crash_or_hang)
{
	gsize bytes;
	g_autofree char *content = excerpt("compile.dat", &bytes);

	for (gsize at = 0; at + 4096 < bytes; at += bytes / 12) {
		g_autofree char *damaged = g_memdup2(content, bytes);
		memset(damaged + at, 0, 4096);
		g_autoptr(GError) error = import_damaged("zeros", damaged, bytes);
		ck_assert_msg(error, "zeros at %zu were imported", at);
	}
}
END_TEST

START_TEST(damaged_compression_is_refused_even_if_lenient)
{
	gsize bytes;
	g_autofree char *content = excerpt("raw.txt.zst", &bytes);
	g_autoptr(GError) error = NULL;

	/* Damaged compression is no line that could be skipped. */
	content[bytes / 2] ^= 1;
	ck_assert_ptr_null(import_bytes(content, bytes, true, &error));
	ck_assert(g_error_matches(error, TRACE_ERROR, TRACE_ERROR_FORMAT));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("import damage");
	TCase *tcase = tcase_create("damage");

	tcase_set_timeout(tcase, 120);
	tcase_add_loop_test(tcase, bad_text_is_refused_with_its_line, 0, G_N_ELEMENTS(texts));
	tcase_add_test(tcase, a_gfp_flag_with_a_zero_byte_is_unknown);
	tcase_add_test(tcase, unknown_format_is_the_callers_fault);
	tcase_add_test(tcase, files_that_cannot_be_read_or_written_are_the_systems_fault);
	tcase_add_test(tcase, wrong_format_by_force_is_refused);
	tcase_add_loop_test(tcase, truncated_file_is_refused, 0, G_N_ELEMENTS(files));
	tcase_add_loop_test(tcase, flipped_bits_never_crash_or_hang, 0, G_N_ELEMENTS(files));
	tcase_add_test(tcase, flipped_bits_in_records_never_crash_or_hang);
	tcase_add_test(tcase, zeroed_stretches_never_crash_or_hang);
	tcase_add_test(tcase, damaged_compression_is_refused_even_if_lenient);
	suite_add_tcase(suite, tcase);

	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
