#include <check.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>
#include "tests/import/import_support.h"

/* The small recordings of tests/data/import, which come with the project. */

static struct loaded *import_excerpt(const char *file)
{
	g_autofree char *path = g_build_filename(EXCERPTS_FOLDER, file, NULL);
	struct import_options options = { .format = NULL };

	return import_path(path, &options);
}

/* Forms of one recording, the first one to be held against. */
static const struct {
	const char *one, *other;
} pairs[] = {
	{ "compile.dat", "compile.v6.dat.xz" },
	{ "compile.dat", "compile.report.txt.gz" },
	{ "report.txt.zst", "raw.txt.zst" },
};

START_TEST(every_form_gives_the_same_events)
{
	struct loaded *one = import_excerpt(pairs[_i].one);
	struct loaded *other = import_excerpt(pairs[_i].other);
	g_autofree char *difference = story_difference(one, other);

	ck_assert_uint_gt(one->events->len, 1500);
	ck_assert_uint_eq(one->events->len, other->events->len);
	ck_assert_msg(!difference, "%s and %s: %s", pairs[_i].one, pairs[_i].other, difference);
	loaded_free(one);
	loaded_free(other);
}
END_TEST

START_TEST(story_of_an_excerpt_is_consistent)
{
	struct loaded *loaded = import_excerpt(pairs[_i].other);
	g_autofree char *fault = story_fault(loaded);

	ck_assert_msg(!fault, "%s: %s", pairs[_i].other, fault);
	loaded_free(loaded);
}
END_TEST

/* As `trace-cmd report compile.dat | awk '{print $4}' | sort | uniq -c` counts. */
static const struct {
	const char *name;
	uint64_t count;
} counts[] = {
	{ "isolate_free_page", 20 },
	{ "isolate_free_page_ret", 20 },
	{ "kfree", 100 },
	{ "kmalloc", 76 },
	{ "kmem_cache_alloc", 752 },
	{ "kmem_cache_free", 871 },
	{ "mm_compaction_begin", 2 },
	{ "mm_compaction_end", 1 },
	{ "mm_compaction_isolate_freepages", 128 },
	{ "mm_compaction_isolate_migratepages", 17 },
	{ "mm_compaction_migratepages", 4 },
	{ "mm_migrate_pages", 4 },
	{ "mm_page_alloc", 240 },
	{ "mm_page_alloc_extfrag", 1 },
	{ "mm_page_alloc_zone_locked", 340 },
	{ "mm_page_free", 1965 },
	{ "mm_page_free_batched", 1291 },
	{ "mm_page_pcpu_drain", 1740 },
	{ "mm_vmscan_direct_reclaim_begin", 1 },
	{ "mm_vmscan_direct_reclaim_end", 1 },
	{ "mm_vmscan_kswapd_sleep", 3 },
	{ "mm_vmscan_kswapd_wake", 1 },
	{ "page_fault_user", 288 },
	{ "print", 38 },
	{ "sched_process_exec", 2 },
	{ "sched_process_exit", 1 },
	{ "sched_process_fork", 2 },
};

START_TEST(events_are_counted_as_trace_cmd_prints_them)
{
	struct loaded *loaded = import_excerpt("compile.dat");

	for (size_t i = 0; i < G_N_ELEMENTS(counts); i++)
		ck_assert_msg(loaded_source_events(loaded, counts[i].name) == counts[i].count, "%s",
			      counts[i].name);
	ck_assert_uint_eq(g_hash_table_size(loaded->meta->source_events), G_N_ELEMENTS(counts));
	ck_assert_str_eq(loaded->meta->format, "trace-dat");
	ck_assert_str_eq(loaded->meta->source, "compile.dat");
	loaded_free(loaded);
}
END_TEST

START_TEST(source_is_known_by_its_hash)
{
	static const char *const files[] = { "compile.dat", "compile.v6.dat.xz",
					     "compile.report.txt.gz" };
	g_autofree char *path = g_build_filename(EXCERPTS_FOLDER, files[_i], NULL);
	struct loaded *loaded = import_excerpt(files[_i]);
	g_autofree char *content = NULL;
	gsize bytes;

	ck_assert(g_file_get_contents(path, &content, &bytes, NULL));
	XXH128_hash_t hash = XXH3_128bits(content, bytes);
	g_autofree char *want = g_strdup_printf("%016" PRIx64 "%016" PRIx64, (uint64_t)hash.high64,
						(uint64_t)hash.low64);
	ck_assert_str_eq(loaded->meta->source_xxh128, want);
	ck_assert_ptr_null(loaded->meta->source_sha256);
	loaded_free(loaded);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("import excerpts");
	TCase *tcase = tcase_create("excerpts");

	tcase_set_timeout(tcase, 60);
	tcase_add_loop_test(tcase, every_form_gives_the_same_events, 0, G_N_ELEMENTS(pairs));
	tcase_add_loop_test(tcase, story_of_an_excerpt_is_consistent, 0, G_N_ELEMENTS(pairs));
	tcase_add_test(tcase, events_are_counted_as_trace_cmd_prints_them);
	tcase_add_loop_test(tcase, source_is_known_by_its_hash, 0, 3);
	suite_add_tcase(suite, tcase);

	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
