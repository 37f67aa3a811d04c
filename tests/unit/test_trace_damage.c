#include "tests/unit/test_trace_support.h"
#include "tests/fuzz/kmt_reseal.h"
#include "workloads/trace_format.h"

#include <check.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

static char *folder, *path;
static GByteArray *whole; /* a good file with something in every part of the format */

static void setup(void)
{
	char *bytes;
	gsize size;
	folder = make_folder();
	path = g_build_filename(folder, "x.kmt", NULL);
	write_small_trace(path);
	if (!g_file_get_contents(path, &bytes, &size, NULL))
		g_error("cannot read back");
	whole = g_byte_array_new_take((guint8 *)bytes, size);
}

static void teardown(void)
{
	g_byte_array_free(whole, TRUE);
	g_free(path);
	remove_folder(folder);
}

static bool read_bytes(const void *bytes, gsize size, GError **error)
{
	g_autoptr(GArray) start = g_array_new(FALSE, FALSE, sizeof(struct event));
	g_autoptr(GArray) events = g_array_new(FALSE, FALSE, sizeof(struct event));
	FILE *file = fopen(path, "wb");
	if (!file || fwrite(bytes, 1, size, file) != size || fclose(file))
		g_error("cannot write %s", path);
	return read_trace(path, start, events, error);
}

/* The file must be refused for its content, with a place. */
static void assert_refused(const void *bytes, gsize size, const char *what)
{
	GError *error = NULL;
	bool good = read_bytes(bytes, size, &error);
	ck_assert_msg(!good, "%s: accepted", what);
	ck_assert_msg(g_error_matches(error, TRACE_ERROR, TRACE_ERROR_FORMAT), "%s: %s", what,
		      error->message);
	ck_assert_msg(g_regex_match_simple("^trace error: /[^:]*x\\.kmt: .+ at byte [0-9]+: .",
					   error->message, 0, 0),
		      "%s: no place in \"%s\"", what, error->message);
	g_error_free(error);
}

/* ---- random damage, which checksums find ---- */

START_TEST(every_truncation_is_refused)
{
	for (guint size = 0; size < whole->len; size++) {
		g_autofree char *what = g_strdup_printf("cut to %u bytes", size);
		assert_refused(whole->data, size, what);
	}
}
END_TEST

/* Two runs: a bit of every byte, another one in each, and the one four places on. */
START_TEST(every_flipped_bit_is_refused)
{
	for (guint at = 0; at < whole->len; at++) {
		unsigned bit = (at + 4 * (unsigned)_i) % 8;
		g_autofree char *what = g_strdup_printf("bit %u of byte %u", bit, at);
		whole->data[at] ^= (guint8)(1 << bit);
		assert_refused(whole->data, whole->len, what);
		whole->data[at] ^= (guint8)(1 << bit);
	}
}
END_TEST

START_TEST(bytes_behind_the_end_are_refused)
{
	static const uint8_t more[3] = { 0 };
	g_byte_array_append(whole, more, sizeof(more));
	assert_refused(whole->data, whole->len, "appended zeros");
}
END_TEST

START_TEST(what_is_no_trace_is_refused)
{
	static const char text[] = "           <...>-192   [000]   143.290625: page_fault_user: "
				   "address=0x7ffc84de1080 ip=0x7ffc84de5996 error_code=0x4\n";
	GError *error = NULL;
	assert_refused(text, sizeof(text), "ftrace text");
	assert_refused("", 0, "nothing");
	g_autofree uint8_t *zeros = g_malloc0(4096);
	assert_refused(zeros, 4096, "zeros");
	ck_assert(!read_bytes(text, sizeof(text), &error));
	ck_assert(strstr(error->message, "not a .kmt trace"));
	g_error_free(error);
}
END_TEST

START_TEST(a_later_version_is_named)
{
	GError *error = NULL;
	trace_put32(whole->data + 8, 7);
	trace_put64(whole->data + 24, XXH64(whole->data, 24, 0));
	ck_assert(!read_bytes(whole->data, whole->len, &error));
	ck_assert(g_error_matches(error, TRACE_ERROR, TRACE_ERROR_FORMAT));
	ck_assert_msg(strstr(error->message, "format version 7, this program reads version 1"),
		      "%s", error->message);
	g_error_free(error);
}
END_TEST

START_TEST(missing_files_and_folders_are_io_errors)
{
	GError *error = NULL;
	ck_assert_ptr_null(trace_reader_open("/nonexistent/x.kmt", &error));
	ck_assert(g_error_matches(error, TRACE_ERROR, TRACE_ERROR_IO));
	g_clear_error(&error);
	ck_assert_ptr_null(trace_reader_open(folder, &error));
	ck_assert(g_error_matches(error, TRACE_ERROR, TRACE_ERROR_IO));
	g_clear_error(&error);
}
END_TEST

/* ---- damage with good checksums: it must not be believed, whatever comes of it ---- */

START_TEST(resealing_keeps_a_good_file_good)
{
	GError *error = NULL;
	kmt_reseal(whole);
	bool good = read_bytes(whole->data, whole->len, &error);
	ck_assert_msg(good, "%s", error ? error->message : "");
}
END_TEST

static GByteArray *copy_of(const GByteArray *bytes)
{
	GByteArray *copy = g_byte_array_new();
	g_byte_array_append(copy, bytes->data, bytes->len);
	return copy;
}

static void read_whatever_comes(const GByteArray *file)
{
	GError *error = NULL;
	if (!read_bytes(file->data, file->len, &error)) {
		ck_assert(g_error_matches(error, TRACE_ERROR, TRACE_ERROR_FORMAT));
		g_error_free(error);
	}
}

START_TEST(resealed_headers_are_not_believed)
{
	for (guint at = TRACE_HEADER_BYTES; at < TRACE_HEADER_BYTES + 48; at++) {
		static const uint8_t values[] = { 0, 1, 0x7f, 0xff };
		for (unsigned i = 0; i < G_N_ELEMENTS(values); i++) {
			g_autoptr(GByteArray) file = copy_of(whole);
			file->data[at] = values[i];
			kmt_reseal(file);
			read_whatever_comes(file);
		}
	}
}
END_TEST

struct damage {
	GRand *random;
	unsigned changes;
};

static void change_bytes(GByteArray *raw, void *data)
{
	struct damage *damage = data;
	for (unsigned i = 0; i < damage->changes && raw->len; i++) {
		/* Two of three hit the descriptions of the columns. */
		gint32 range = (gint32)(i % 3 ? MIN(raw->len, 1200u) : raw->len);
		raw->data[g_rand_int_range(damage->random, 0, range)] =
			(guint8)g_rand_int(damage->random);
	}
	if (g_rand_int_range(damage->random, 0, 8) == 0 && raw->len > 1)
		g_byte_array_set_size(raw,
				      (guint)g_rand_int_range(damage->random, 1, (gint32)raw->len));
}

START_TEST(changed_payloads_are_not_believed)
{
	struct damage damage = { g_rand_new_with_seed((guint32)_i), 1 + (unsigned)_i };
	for (unsigned round = 0; round < 500; round++) {
		g_autoptr(GByteArray) file = copy_of(whole);
		if (!kmt_change_payload(file, round % 6, change_bytes, &damage))
			continue;
		kmt_reseal(file);
		read_whatever_comes(file);
	}
	g_rand_free(damage.random);
}
END_TEST

static void nest(GByteArray *raw, void *data)
{
	g_byte_array_set_size(raw, TRACE_STREAM_CHUNK);
	memset(raw->data, '[', raw->len);
	if (data)
		memcpy(raw->data, data, strlen(data));
}

START_TEST(deep_meta_does_not_exhaust_the_stack)
{
	static const char *const starts[] = { NULL, "/*\"*/", "#\"\n", "'\"'" };
	for (unsigned i = 0; i < G_N_ELEMENTS(starts); i++) {
		g_autoptr(GByteArray) file = copy_of(whole);
		/* events, start, attachments, strings, tasks, meta */
		ck_assert(kmt_change_payload(file, 5, nest, (void *)(gintptr)starts[i]));
		kmt_reseal(file);
		assert_refused(file->data, file->len, "deep JSON");
	}
}
END_TEST

/* ---- the writer's failures ---- */

static void assert_only(const char *name)
{
	GDir *dir = g_dir_open(folder, 0, NULL);
	const char *entry;
	while ((entry = g_dir_read_name(dir)))
		ck_assert_msg(name && !strcmp(entry, name), "left behind: %s", entry);
	g_dir_close(dir);
}

static struct trace_writer *writer_with_events(unsigned count)
{
	GError *error = NULL;
	g_autoptr(GArray) events = random_events(1, count);
	struct trace_writer *writer = trace_writer_new(path, &error);
	ck_assert_ptr_nonnull(writer);
	for (guint i = 0; i < events->len; i++)
		if (!trace_writer_add(writer, &g_array_index(events, struct event, i), NULL))
			break;
	return writer;
}

START_TEST(abort_leaves_nothing)
{
	g_unlink(path);
	trace_writer_abort(writer_with_events(100000));
	assert_only(NULL);
}
END_TEST

START_TEST(abort_keeps_the_file_of_before)
{
	trace_writer_abort(writer_with_events(10));
	assert_only("x.kmt");
	g_autofree char *bytes = NULL;
	gsize size;
	ck_assert(g_file_get_contents(path, &bytes, &size, NULL));
	ck_assert_uint_eq(size, whole->len);
}
END_TEST

static void assert_finish_fails(struct trace_writer *writer)
{
	GError *error = NULL;
	struct trace_meta *meta = trace_meta_new();
	ck_assert(!trace_writer_finish(writer, meta, &error));
	ck_assert(g_error_matches(error, TRACE_ERROR, TRACE_ERROR_IO));
	ck_assert_msg(strstr(error->message, "x.kmt: cannot"), "%s", error->message);
	g_error_free(error);
	trace_meta_free(meta);
	assert_only("x.kmt");
}

START_TEST(a_full_disk_leaves_nothing)
{
	g_autofree char *aside = g_strconcat(path, ".partial", NULL);
	GError *error = NULL;
	ck_assert_int_eq(symlink("/dev/full", aside), 0);
	ck_assert_ptr_null(trace_writer_new(path, &error));
	ck_assert(g_error_matches(error, TRACE_ERROR, TRACE_ERROR_IO));
	ck_assert_msg(strstr(error->message, "No space left"), "%s", error->message);
	g_error_free(error);
	assert_only("x.kmt");
}
END_TEST

START_TEST(a_disk_that_fills_up_leaves_nothing)
{
	const struct rlimit limit = { 1000, 1000 };
	signal(SIGXFSZ, SIG_IGN);
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
	assert_finish_fails(writer_with_events(_i ? 100000 : 1000));
}
END_TEST

START_TEST(a_folder_in_the_way_leaves_nothing)
{
	struct trace_writer *writer = writer_with_events(10);
	g_unlink(path);
	ck_assert_int_eq(g_mkdir(path, 0777), 0);
	assert_finish_fails(writer);
	g_rmdir(path);
}
END_TEST

START_TEST(a_missing_folder_is_an_io_error)
{
	GError *error = NULL;
	ck_assert_ptr_null(trace_writer_new("/nonexistent/x.kmt", &error));
	ck_assert(g_error_matches(error, TRACE_ERROR, TRACE_ERROR_IO));
	g_error_free(error);
}
END_TEST

START_TEST(a_device_is_not_replaced)
{
	GError *error = NULL;
	ck_assert_ptr_null(trace_writer_new("/dev/null", &error));
	ck_assert(g_error_matches(error, TRACE_ERROR, TRACE_ERROR_IO));
	g_error_free(error);
	ck_assert_ptr_null(trace_writer_new(folder, NULL));
}
END_TEST

START_TEST(misuse_is_the_callers_fault)
{
	static const struct event wrong[] = {
		{ .kind = EVENT_NONE },
		{ .kind = EVENT_KINDS },
		{ .kind = EVENT_TOUCH, .flags = EVENT_PROLOGUE },
		{ .kind = EVENT_FRAME_ALLOC, .u.frame.handle = UINT64_MAX },
	};
	for (unsigned i = 0; i < G_N_ELEMENTS(wrong); i++) {
		GError *error = NULL;
		struct trace_writer *writer = trace_writer_new(path, &error);
		ck_assert(!trace_writer_add(writer, &wrong[i], &error));
		ck_assert(g_error_matches(error, TRACE_ERROR, TRACE_ERROR_USAGE));
		g_error_free(error);
		trace_writer_abort(writer);
	}
}
END_TEST

static void add_random_damage(Suite *suite)
{
	TCase *tcase = tcase_create("damage");
	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_set_timeout(tcase, 200);
	tcase_add_test(tcase, every_truncation_is_refused);
	tcase_add_loop_test(tcase, every_flipped_bit_is_refused, 0, 2);
	tcase_add_test(tcase, bytes_behind_the_end_are_refused);
	tcase_add_test(tcase, what_is_no_trace_is_refused);
	tcase_add_test(tcase, a_later_version_is_named);
	tcase_add_test(tcase, missing_files_and_folders_are_io_errors);
	suite_add_tcase(suite, tcase);
}

static void add_sealed_damage(Suite *suite)
{
	TCase *tcase = tcase_create("sealed damage");
	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_set_timeout(tcase, 200);
	tcase_add_test(tcase, resealing_keeps_a_good_file_good);
	tcase_add_test(tcase, resealed_headers_are_not_believed);
	tcase_add_loop_test(tcase, changed_payloads_are_not_believed, 0, 4);
	tcase_add_test(tcase, deep_meta_does_not_exhaust_the_stack);
	suite_add_tcase(suite, tcase);
}

static void add_failures(Suite *suite)
{
	TCase *tcase = tcase_create("writing fails");
	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_set_timeout(tcase, 100);
	tcase_add_test(tcase, abort_leaves_nothing);
	tcase_add_test(tcase, abort_keeps_the_file_of_before);
	tcase_add_test(tcase, a_full_disk_leaves_nothing);
	tcase_add_loop_test(tcase, a_disk_that_fills_up_leaves_nothing, 0, 2);
	tcase_add_test(tcase, a_folder_in_the_way_leaves_nothing);
	tcase_add_test(tcase, a_missing_folder_is_an_io_error);
	tcase_add_test(tcase, a_device_is_not_replaced);
	tcase_add_test(tcase, misuse_is_the_callers_fault);
	suite_add_tcase(suite, tcase);
}

int main(void)
{
	Suite *suite = suite_create("trace damage");
	add_random_damage(suite);
	add_sealed_damage(suite);
	add_failures(suite);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
