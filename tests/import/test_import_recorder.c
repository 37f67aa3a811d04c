#include <check.h>
#include <glib/gstdio.h>
#include <stdlib.h>
#include <string.h>
#include "tests/import/import_support.h"
#include "tests/import/recorder_kernel.h"
#include "tests/unit/test_trace_support.h"

/* The one-header recorder: compiled freestanding here, run in a machine of its own under QEMU. */

static GByteArray *port;
static uint64_t cycles;

void recorder_port(uint8_t byte)
{
	g_byte_array_append(port, &byte, 1);
}

uint64_t recorder_clock(void)
{
	return cycles += 2000;
}

static void record(void)
{
	static const char printed[] = "my kernel prints here as well\n";

	port = g_byte_array_new();
	cycles = UINT64_C(1) << 40;
	g_byte_array_append(port, (const guint8 *)printed, sizeof printed - 1);
	recorder_kernel_run();
	g_byte_array_append(port, (const guint8 *)printed, sizeof printed - 1);
}

static void forget(void)
{
	g_byte_array_unref(port);
}

static struct loaded *import_port(bool lenient, GError **error)
{
	return import_bytes((const char *)port->data, port->len, lenient, error);
}

START_TEST(what_a_kernel_records_comes_out)
{
	struct loaded *loaded = import_port(false, NULL);
	g_autofree char *got = story(loaded, false);

	ck_assert_str_eq(got, "marker boot done\n"
			      "alloc 1 0x105+3\nfree 1 part 1+1\nfree 1 part 0+1\nfree 1\n"
			      "fail 16\nkalloc 2 100/0 -\nkalloc 2 300/0 - realloc\nkfree 2\n"
			      "kfail 5000\nfork 8 -\nexec /bin/init\n"
			      "mmap 0x400000+0x1000 5 inferred\ntouch 0x400123 5\nexit -\n");
	ck_assert_str_eq(loaded->meta->format, "recorder");
	ck_assert_uint_eq(loaded->meta->cpus, 2);
	/* 2,000 cycles of 2 GHz between two records; the first one is the beginning. */
	ck_assert_uint_eq(g_array_index(loaded->events, struct event, 1).time_ns -
				  g_array_index(loaded->events, struct event, 0).time_ns,
			  1000);
	ck_assert_uint_eq(g_array_index(loaded->events, struct event, 1).task, 7);
	ck_assert_uint_eq(loaded_source_events(loaded, "frame_free"), 3);
	loaded_free(loaded);
}
END_TEST

START_TEST(damaged_record_is_named_and_can_be_skipped)
{
	g_autoptr(GError) error = NULL;
	const guint8 *marker = memmem(port->data, port->len, "boot done", 9);

	port->data[marker - port->data] ^= 1;
	ck_assert_ptr_null(import_port(false, &error));
	ck_assert(g_error_matches(error, TRACE_ERROR, TRACE_ERROR_FORMAT));
	ck_assert_msg(strstr(error->message, "input: byte ") && strstr(error->message, "damaged"),
		      "%s", error->message);
	struct loaded *loaded = import_port(true, NULL);
	ck_assert_uint_eq(loaded->meta->kind_count[EVENT_MARKER], 0);
	ck_assert_uint_eq(loaded->meta->kind_count[EVENT_FRAME_ALLOC], 1);
	loaded_free(loaded);
}
END_TEST

START_TEST(cut_recording_is_refused)
{
	/* The last record is the exit's, in front of what the kernel prints. */
	const guint8 *init = memmem(port->data, port->len, "/bin/init", 9);
	g_autoptr(GError) error = NULL;

	g_byte_array_set_size(port, (guint)(init + 4 - port->data));
	ck_assert_ptr_null(import_port(false, &error));
	ck_assert_msg(strstr(error->message, "cut off"), "%s", error->message);
}
END_TEST

START_TEST(flipped_bits_never_crash)
{
	for (guint i = 0; i < port->len * 8; i += 29) {
		GError *error = NULL;
		port->data[i / 8] ^= (guint8)(1 << i % 8);
		struct loaded *loaded = import_port(i % 2, &error);
		if (loaded)
			loaded_free(loaded);
		else
			ck_assert_msg(strstr(error->message, "trace error: "), "%s",
				      error->message);
		g_clear_error(&error);
		port->data[i / 8] ^= (guint8)(1 << i % 8);
	}
}
END_TEST

/* The example, as its comment says how to run it. */
START_TEST(image_under_qemu_records_what_the_file_here_holds)
{
	char *folder = make_folder();
	g_autofree char *events = g_build_filename(folder, "events.bin", NULL);
	g_autofree char *command = g_strdup_printf(
		"timeout 60 qemu-system-i386 -kernel %s -display none -debugcon file:%s "
		"-device isa-debug-exit,iobase=0xf4 >/dev/null 2>&1",
		RECORDER_IMAGE, events);
	g_autofree char *qemu = g_find_program_in_path("qemu-system-i386");

	if (qemu && g_file_test(RECORDER_IMAGE, G_FILE_TEST_EXISTS)) {
		int status = system(command);
		ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 1, "QEMU: %d", status);
		g_autofree char *path = g_build_filename(EXCERPTS_FOLDER, "recorder.bin.zst", NULL);
		struct import_options options = { .format = NULL };
		struct loaded *kept = import_path(path, &options);
		struct loaded *fresh = import_path(events, &options);
		g_autofree char *want = story(kept, false), *got = story(fresh, false);
		ck_assert_uint_gt(fresh->events->len, 500);
		ck_assert_str_eq(got, want);
		loaded_free(kept);
		loaded_free(fresh);
	}
	remove_folder(folder);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("import recorder");
	TCase *tcase = tcase_create("recorder");

	tcase_set_timeout(tcase, 120);
	tcase_add_checked_fixture(tcase, record, forget);
	tcase_add_test(tcase, what_a_kernel_records_comes_out);
	tcase_add_test(tcase, damaged_record_is_named_and_can_be_skipped);
	tcase_add_test(tcase, cut_recording_is_refused);
	tcase_add_test(tcase, flipped_bits_never_crash);
	tcase_add_test(tcase, image_under_qemu_records_what_the_file_here_holds);
	suite_add_tcase(suite, tcase);

	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
