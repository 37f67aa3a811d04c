/*
 * A run's folder: exact bytes of small files, whole or not at all, and every I/O error named.
 */
#include "sim/result.h"

#include "sim/fragmentation.h"
#include "workloads/event.h"

#include <check.h>
#include <errno.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

static char *scratch, *folder;

static void set_up(void)
{
	scratch = g_dir_make_tmp("kmemlab-result-XXXXXX", NULL);
	ck_assert_ptr_nonnull(scratch);
	folder = g_build_filename(scratch, "demo", "run", NULL);
}

/* Removes a tree of files and folders of files. */
static void remove_tree(const char *path)
{
	GDir *dir = g_file_test(path, G_FILE_TEST_IS_SYMLINK) ? NULL : g_dir_open(path, 0, NULL);
	const char *name;

	while (dir && (name = g_dir_read_name(dir))) {
		char *child = g_build_filename(path, name, NULL);

		remove_tree(child);
		g_free(child);
	}
	if (dir)
		g_dir_close(dir);
	g_remove(path);
}

static void tear_down(void)
{
	remove_tree(scratch);
	g_free(scratch);
	g_free(folder);
}

static struct result *new_result(bool replace)
{
	GError *error = NULL;
	struct result *result = result_new(folder, replace, &error);

	ck_assert_msg(!error, "%s", error ? error->message : "");
	return result;
}

static void commit(struct result *result)
{
	GError *error = NULL;
	bool done = result_commit(result, &error);

	ck_assert_msg(done && !error, "%s", error ? error->message : "");
}

/* How many entries the experiment's folder has. */
static unsigned entries(const char *path)
{
	GDir *dir = g_dir_open(path, 0, NULL);
	unsigned count = 0;

	while (dir && g_dir_read_name(dir))
		count++;
	if (dir)
		g_dir_close(dir);
	return count;
}

static unsigned beside_the_run(void)
{
	char *parent = g_path_get_dirname(folder);
	unsigned count = entries(parent);

	g_free(parent);
	return count;
}

static void ck_file(const char *name, const char *want, size_t size)
{
	char *path = g_build_filename(folder, name, NULL), *have = NULL;
	size_t length = 0;

	ck_assert_msg(g_file_get_contents(path, &have, &length, NULL), "%s is missing", name);
	ck_assert_msg(length == size && memcmp(have, want, size) == 0, "%s: %s", name, have);
	g_free(have);
	g_free(path);
}

static void ck_text(const char *name, const char *want)
{
	ck_file(name, want, strlen(want));
}

static bool exists(const char *name)
{
	char *path = g_build_filename(folder, name, NULL);
	bool there = g_file_test(path, G_FILE_TEST_EXISTS);

	g_free(path);
	return there;
}

static void commit_fails(struct result *result, enum result_error code, const char *message)
{
	GError *error = NULL;

	ck_assert(!result_commit(result, &error));
	ck_assert(g_error_matches(error, RESULT_ERROR, (int)code));
	ck_assert_msg(strstr(error->message, message), "%s", error->message);
	g_error_free(error);
}

static void new_fails(bool replace, enum result_error code, const char *message)
{
	GError *error = NULL;

	ck_assert_ptr_null(result_new(folder, replace, &error));
	ck_assert(g_error_matches(error, RESULT_ERROR, (int)code));
	ck_assert_msg(strstr(error->message, message), "%s", error->message);
	g_error_free(error);
}

#define FAILURES_HEADER                                                                      \
	"event,time_ns,frames,align_frames,zone,mobility,cpu,task,free_frames,largest_free_" \
	"order\n"
#define EVENTS_HEADER                                                                         \
	"operation,order,operations,loads,stores,atomics,cache_lines,tlb_lookups,tlb_misses," \
	"walk_reads,faults,most_accesses\n"

START_TEST(an_empty_run_has_its_headers)
{
	commit(new_result(false));
	ck_text("failures.csv", FAILURES_HEADER);
	ck_text("events.csv", EVENTS_HEADER);
	ck_text("latency.csv", "operation,order,cpu,low_ns,high_ns,count\n");
	ck_text("slow.csv", "event,operation,order,cpu,latency_ns\n");
	ck_assert(exists("samples.csv"));
	ck_assert(!exists("recorded.csv"));
	ck_assert(!exists("frames.bin"));
	ck_assert_uint_eq(beside_the_run(), 1);
}
END_TEST

START_TEST(rows_are_written_byte_for_byte)
{
	static const uint64_t blocks[] = { 5, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2 };
	struct result_failure failure = { 12, 3000, 512, 512, ZONE_DMA32, MOBILITY_MOVABLE,
					  1,  77,   18,	 3 };
	struct result_events alloc = { "frame_alloc", 9, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 };
	struct result_events boot = { "boot", -1, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 };
	struct result_recorded recorded = { 1, 40, 5000, blocks, 2100, 2050 };
	struct histogram *histogram = g_new0(struct histogram, 1);
	struct result *result = new_result(false);

	histogram_add(histogram, 0);
	histogram_add(histogram, 300);
	histogram_add(histogram, 301);
	result_failure(result, &failure);
	failure.zone = EVENT_ZONES;
	failure.mobility = EVENT_MOBILITIES;
	failure.largest_free_order = -1;
	result_failure(result, &failure);
	result_events(result, &boot);
	result_events(result, &alloc);
	result_latency(result, "frame_free", 3, 1, histogram);
	result_slow(result, 41, "frame_alloc", 0, 2, 123456);
	result_recorded(result, &recorded);
	recorded.free_blocks = NULL;
	recorded.mem_free_frames = RESULT_ABSENT;
	result_recorded(result, &recorded);
	commit(result);
	ck_text("failures.csv", FAILURES_HEADER "12,3000,512,512,dma32,movable,1,77,18,3\n"
						"12,3000,512,512,unknown,unknown,1,77,18,-1\n");
	ck_text("events.csv", EVENTS_HEADER "boot,,1,2,3,4,5,6,7,8,9,10\n"
					    "frame_alloc,9,1,2,3,4,5,6,7,8,9,10\n");
	ck_text("latency.csv", "operation,order,cpu,low_ns,high_ns,count\n"
			       "frame_free,3,1,0,1,1\nframe_free,3,1,300,302,2\n");
	ck_text("slow.csv", "event,operation,order,cpu,latency_ns\n41,frame_alloc,0,2,123456\n");
	ck_text("recorded.csv",
		"snapshot,event,time_ns,free_blocks_o0,free_blocks_o1,free_blocks_o2,"
		"free_blocks_o3,free_blocks_o4,free_blocks_o5,free_blocks_o6,free_blocks_o7,"
		"free_blocks_o8,free_blocks_o9,free_blocks_o10,free_frames,mem_free_frames,"
		"ledger_free_frames\n"
		"1,40,5000,5,0,1,0,0,0,0,0,0,0,2,2057,2100,2050\n"
		"1,40,5000,,,,,,,,,,,,,,2050\n");
	g_free(histogram);
}
END_TEST

START_TEST(samples_have_a_column_a_metric)
{
	double *values = g_new0(double, metrics_count());
	struct result *result = new_result(false);
	char *path = g_build_filename(folder, "samples.csv", NULL), *text, **lines, **fields;

	values[0] = 131072;
	values[5] = 1 / 3.0;
	result_sample(result, 0, 0, values);
	result_sample(result, 1000, 123456789012, values);
	commit(result);
	ck_assert(g_file_get_contents(path, &text, NULL, NULL));
	lines = g_strsplit(text, "\n", -1);
	ck_assert_uint_eq(g_strv_length(lines), 4);
	ck_assert(g_str_has_prefix(lines[0], "event,time_ns,free_frames,live_frames,"));
	ck_assert(g_str_has_suffix(lines[0], ",tlb_reach_1g_bytes"));
	ck_assert(g_str_has_prefix(lines[2], "1000,123456789012,131072,0,0,0,0,0.333333,0,0,0,"));
	for (unsigned i = 0; i < 3; i++) {
		fields = g_strsplit(lines[i], ",", -1);
		ck_assert_uint_eq(g_strv_length(fields), 2 + metrics_count());
		g_strfreev(fields);
	}
	g_strfreev(lines);
	g_free(text);
	g_free(path);
	g_free(values);
}
END_TEST

START_TEST(frame_maps_are_written_byte_for_byte)
{
	static const uint8_t live[] = { 0, 250, 7 }, reserved[] = { 1, 0, 255 };
	static const char want[] = "KMFRAMES"
				   "\1\0\0\0"
				   "\3\0\0\0"
				   "\0\2\0\0\0\0\0\0"
				   "\x88\5\0\0\0\0\0\0"
				   "\2\0\0\0\0\0\0\0"
				   "\0\0\0\0\0\0\0\0"
				   "\0\0\0\0\0\0\0\0"
				   "\0\xfa\7"
				   "\1\0\xff"
				   "\0\1\0\0\0\0\0\0"
				   "\1\0\0\0\1\0\0\0"
				   "\0\xfa\7"
				   "\1\0\xff";
	struct result *result = new_result(false);

	result_map_shape(result, 1416, 512);
	result_map(result, 0, 0, live, reserved);
	result_map(result, 256, 0x100000001, live, reserved);
	commit(result);
	ck_file("frames.bin", want, sizeof(want) - 1);
}
END_TEST

START_TEST(json_files_are_written_whole)
{
	struct histogram *histogram = g_new0(struct histogram, 1);
	struct result *result = new_result(false);
	JsonNode *node;

	for (unsigned i = 1; i <= 100; i++)
		histogram_add(histogram, i);
	node = result_latency_json(histogram);
	result_json(result, "timing.json", node);
	commit(result);
	ck_text("timing.json", "{\n  \"count\" : 100,\n  \"p50_ns\" : 50,\n  \"p90_ns\" : 90,\n"
			       "  \"p99_ns\" : 99,\n  \"p999_ns\" : 100,\n"
			       "  \"p9999_ns\" : 100,\n  \"max_ns\" : 100,\n"
			       "  \"mean_ns\" : 50.5\n}\n");
	json_node_unref(node);
	g_free(histogram);
}
END_TEST

START_TEST(nothing_is_there_before_the_commit)
{
	struct result *result = new_result(false);

	ck_assert(!g_file_test(folder, G_FILE_TEST_EXISTS));
	ck_assert_uint_eq(beside_the_run(), 1);
	result_abort(result);
	ck_assert_uint_eq(beside_the_run(), 0);
}
END_TEST

START_TEST(without_a_result_calls_do_nothing)
{
	struct result_failure failure = { 0 };
	struct result_events events = { 0 };
	struct result_recorded recorded = { 0 };
	struct histogram *histogram = g_new0(struct histogram, 1);
	uint8_t byte = 0;
	double value = 0;

	histogram_add(histogram, 1);
	result_sample(NULL, 0, 0, &value);
	result_recorded(NULL, &recorded);
	result_failure(NULL, &failure);
	result_events(NULL, &events);
	result_latency(NULL, "frame_alloc", 0, 0, histogram);
	result_slow(NULL, 0, "frame_alloc", 0, 0, 0);
	result_map_shape(NULL, 1, 64);
	result_map(NULL, 0, 0, &byte, &byte);
	result_json(NULL, "run.json", NULL);
	commit(NULL);
	result_abort(NULL);
	g_free(histogram);
}
END_TEST

static void write_foreign_file(void)
{
	char *path = g_build_filename(folder, "letter.txt", NULL);

	ck_assert(g_file_set_contents(path, "dear", -1, NULL));
	g_free(path);
}

START_TEST(a_run_that_is_there_is_kept)
{
	commit(new_result(false));
	new_fails(false, RESULT_ERROR_EXISTS, folder);
	ck_assert(exists("slow.csv"));
	ck_assert_uint_eq(beside_the_run(), 1);
}
END_TEST

START_TEST(a_run_is_replaced_on_demand)
{
	struct result *result = new_result(false);

	result_slow(result, 1, "frame_alloc", 0, 0, 9);
	commit(result);
	commit(new_result(true));
	ck_text("slow.csv", "event,operation,order,cpu,latency_ns\n");
	ck_assert_uint_eq(beside_the_run(), 1);
}
END_TEST

START_TEST(an_empty_folder_is_used)
{
	ck_assert_int_eq(g_mkdir_with_parents(folder, 0777), 0);
	commit(new_result(false));
	ck_assert(exists("slow.csv"));
}
END_TEST

START_TEST(a_folder_with_other_files_is_never_replaced)
{
	ck_assert_int_eq(g_mkdir_with_parents(folder, 0777), 0);
	write_foreign_file();
	new_fails(true, RESULT_ERROR_EXISTS, "letter.txt");
	ck_text("letter.txt", "dear");
}
END_TEST

START_TEST(a_folder_that_came_meanwhile_is_kept)
{
	struct result *result = new_result(true);

	ck_assert_int_eq(g_mkdir_with_parents(folder, 0777), 0);
	write_foreign_file();
	commit_fails(result, RESULT_ERROR_EXISTS, "letter.txt");
	ck_text("letter.txt", "dear");
	ck_assert_uint_eq(beside_the_run(), 1);
}
END_TEST

START_TEST(a_parent_that_is_a_file_is_named)
{
	char *parent = g_path_get_dirname(folder);

	ck_assert(g_file_set_contents(parent, "", -1, NULL));
	new_fails(false, RESULT_ERROR_IO, parent);
	g_free(parent);
}
END_TEST

START_TEST(a_file_in_the_folders_place_is_named)
{
	char *parent = g_path_get_dirname(folder);

	ck_assert_int_eq(g_mkdir_with_parents(parent, 0777), 0);
	ck_assert(g_file_set_contents(folder, "dear", -1, NULL));
	new_fails(true, RESULT_ERROR_EXISTS, folder);
	ck_assert(g_file_test(folder, G_FILE_TEST_IS_REGULAR));
	g_free(parent);
}
END_TEST

/* NAME of the folder that is being written leads to /dev/full. */
static void fill_disk_under(const char *name)
{
	char *path = g_strdup_printf("%s.partial-%ld/%s", folder, (long)getpid(), name);

	ck_assert_int_eq(symlink("/dev/full", path), 0);
	g_free(path);
}

START_TEST(a_full_disk_under_a_json_file_is_reported)
{
	struct result *result = new_result(false);
	JsonNode *node = json_node_init_boolean(json_node_alloc(), TRUE);

	fill_disk_under("run.json");
	result_json(result, "run.json", node);
	commit_fails(result, RESULT_ERROR_IO, "run.json: No space left on device");
	ck_assert_uint_eq(beside_the_run(), 0);
	json_node_unref(node);
}
END_TEST

START_TEST(a_full_disk_under_frame_maps_is_reported)
{
	static uint8_t cells[1 << 16];
	struct result *result = new_result(false);

	fill_disk_under("frames.bin");
	result_map_shape(result, sizeof(cells) * 64, 64);
	for (unsigned i = 0; i < 4; i++)
		result_map(result, i, i, cells, cells);
	commit_fails(result, RESULT_ERROR_IO, "frames.bin: No space left on device");
	ck_assert_uint_eq(beside_the_run(), 0);
}
END_TEST

/* _i: the error shows while rows are written, or only when the file is closed. */
START_TEST(a_file_that_may_not_grow_is_reported)
{
	struct rlimit limit = { 4096, 4096 };
	struct result *result = new_result(false);

	signal(SIGXFSZ, SIG_IGN);
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
	for (unsigned i = 0; i < (_i ? 300 : 10000); i++)
		result_slow(result, i, "frame_alloc", 0, 0, i);
	commit_fails(result, RESULT_ERROR_IO, "slow.csv: File too large");
	ck_assert_uint_eq(beside_the_run(), 0);
}
END_TEST

START_TEST(a_folder_that_vanished_is_reported)
{
	struct result *result = new_result(false);
	char *parent = g_path_get_dirname(folder);

	remove_tree(parent);
	commit_fails(result, RESULT_ERROR_IO, "No such file or directory");
	g_free(parent);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("result");
	TCase *files = tcase_create("files"), *folders = tcase_create("folders");
	TCase *errors = tcase_create("errors");
	SRunner *runner;
	int failed;

	tcase_add_checked_fixture(files, set_up, tear_down);
	tcase_add_test(files, an_empty_run_has_its_headers);
	tcase_add_test(files, rows_are_written_byte_for_byte);
	tcase_add_test(files, samples_have_a_column_a_metric);
	tcase_add_test(files, frame_maps_are_written_byte_for_byte);
	tcase_add_test(files, json_files_are_written_whole);
	tcase_add_test(files, without_a_result_calls_do_nothing);
	tcase_add_checked_fixture(folders, set_up, tear_down);
	tcase_add_test(folders, nothing_is_there_before_the_commit);
	tcase_add_test(folders, a_run_that_is_there_is_kept);
	tcase_add_test(folders, a_run_is_replaced_on_demand);
	tcase_add_test(folders, an_empty_folder_is_used);
	tcase_add_test(folders, a_folder_with_other_files_is_never_replaced);
	tcase_add_test(folders, a_folder_that_came_meanwhile_is_kept);
	tcase_add_checked_fixture(errors, set_up, tear_down);
	tcase_add_test(errors, a_parent_that_is_a_file_is_named);
	tcase_add_test(errors, a_file_in_the_folders_place_is_named);
	tcase_add_test(errors, a_full_disk_under_a_json_file_is_reported);
	tcase_add_test(errors, a_full_disk_under_frame_maps_is_reported);
	tcase_add_loop_test(errors, a_file_that_may_not_grow_is_reported, 0, 2);
	tcase_add_test(errors, a_folder_that_vanished_is_reported);
	suite_add_tcase(suite, files);
	suite_add_tcase(suite, folders);
	suite_add_tcase(suite, errors);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
