#include "tests/unit/test_trace_support.h"
#include "workloads/trace_text.h"

#include <check.h>
#include <glib/gstdio.h>
#include <stdlib.h>
#include <string.h>

static char *folder, *path, *text_path, *again_path;

static void setup(void)
{
	folder = make_folder();
	path = g_build_filename(folder, "x.kmt", NULL);
	text_path = g_build_filename(folder, "x.txt", NULL);
	again_path = g_build_filename(folder, "y.kmt", NULL);
}

static void teardown(void)
{
	g_free(path);
	g_free(text_path);
	g_free(again_path);
	remove_folder(folder);
}

/* ---- there and back ---- */

static void write_text(void)
{
	GError *error = NULL;
	struct trace_reader *reader = trace_reader_open(path, &error);
	FILE *out = fopen(text_path, "w");
	ck_assert(reader && out);
	ck_assert_msg(trace_text_write(reader, out, &error), "%s", error ? error->message : "");
	fclose(out);
	trace_reader_free(reader);
}

static bool read_text(GError **error)
{
	FILE *in = fopen(text_path, "r");
	ck_assert_ptr_nonnull(in);
	bool good = trace_text_read(in, "x.txt", again_path, error);
	fclose(in);
	return good;
}

static void assert_same_files(void)
{
	g_autofree char *first = NULL, *second = NULL;
	gsize first_bytes, second_bytes;
	ck_assert(g_file_get_contents(path, &first, &first_bytes, NULL));
	ck_assert(g_file_get_contents(again_path, &second, &second_bytes, NULL));
	ck_assert_uint_eq(first_bytes, second_bytes);
	ck_assert(!memcmp(first, second, first_bytes));
}

static void assert_text_round_trip(void)
{
	GError *error = NULL;
	write_text();
	bool good = read_text(&error);
	ck_assert_msg(good, "%s", error ? error->message : "");
	assert_same_files();
}

START_TEST(a_small_trace_survives_text)
{
	write_small_trace(path);
	assert_text_round_trip();
}
END_TEST

START_TEST(random_traces_survive_text)
{
	g_autoptr(GArray) start = random_events((uint32_t)_i + 10, 700);
	g_autoptr(GArray) events = random_events((uint32_t)_i, 70000);
	for (guint i = 0; i < start->len; i++)
		g_array_index(start, struct event, i).flags |= EVENT_PROLOGUE;
	write_trace(path, start, events);
	assert_text_round_trip();
}
END_TEST

START_TEST(page_traces_survive_text)
{
	g_autoptr(GArray) events = page_events(7, 100000);
	write_trace(path, NULL, events);
	assert_text_round_trip();
}
END_TEST

/* Parts handed in as late and as interleaved as can be. */
START_TEST(strange_strings_and_attachments_survive_text)
{
	static const char *const strings[] = { "",	     "\"", "\\", "a\nb", "\x01\x7f\xff",
					       "time=5 # x", "ü" };
	static const char text[] = "a\n\n\"b\"\\\nno end";
	GError *error = NULL;
	struct trace_writer *writer = trace_writer_new(path, &error);
	struct trace_meta *meta = trace_meta_new();
	struct event event = { .kind = EVENT_MARKER };
	gsize size = 5 << 20;
	char *large = g_malloc(size);
	for (gsize i = 0; i < size; i++)
		large[i] = (char)(i >> 3);
	g_autoptr(GBytes) binary = g_bytes_new_take(large, size);
	g_autoptr(GBytes) lines = g_bytes_new_static(text, sizeof(text) - 1);
	g_autoptr(GBytes) nothing = g_bytes_new(NULL, 0);
	for (unsigned i = 0; i < 100000; i++) {
		event.u.marker.text = trace_writer_string(writer, strings[i % 7]);
		if (i == 7)
			event.u.marker.attachment =
				trace_writer_attach(writer, "bin \"1\"", 3, 4, binary);
		if (i == 50000)
			trace_writer_attach(writer, "lines", UINT64_MAX, UINT64_MAX, lines);
		event.flags = i % 3 ? 0 : EVENT_PROLOGUE;
		ck_assert(i % 3 ? trace_writer_add(writer, &event, &error)
				: trace_writer_add_start(writer, &event, &error));
		trace_writer_task(writer, i % 5, strings[i % 7]);
	}
	trace_writer_attach(writer, "", 0, 0, nothing);
	ck_assert(trace_writer_finish(writer, meta, &error));
	trace_meta_free(meta);
	assert_text_round_trip();
}
END_TEST

START_TEST(an_event_is_a_readable_line)
{
	GError *error = NULL;
	g_autofree char *text = NULL;
	struct trace_writer *writer = trace_writer_new(path, &error);
	struct trace_meta *meta = trace_meta_new();
	struct event event = { .kind = EVENT_FRAME_ALLOC,
			       .flags = EVENT_COMPACTION,
			       .cpu = 1,
			       .task = 200,
			       .time_ns = 4512 };
	event.u.frame.handle = 5;
	event.u.frame.frame = 0x1e77;
	event.u.frame.frames = event.u.frame.align_frames = 4;
	event.u.frame.zone = ZONE_DMA32;
	event.u.frame.mobility = MOBILITY_MOVABLE;
	event.u.frame.gfp = 0x140dca;
	ck_assert(trace_writer_add(writer, &event, &error));
	event = (struct event){ .kind = EVENT_FRAME_FREE, .time_ns = 4600 };
	event.u.frame.handle = 5;
	event.u.frame.frame = EVENT_NO_FRAME;
	event.u.frame.frames = 2;
	event.u.frame.first_part = 1;
	ck_assert(trace_writer_add(writer, &event, &error));
	event = (struct event){ .kind = EVENT_MARKER };
	event.u.marker.text = trace_writer_string(writer, "SNAP 0");
	ck_assert(trace_writer_add(writer, &event, &error));
	ck_assert(trace_writer_finish(writer, meta, &error));
	trace_meta_free(meta);
	write_text();
	ck_assert(g_file_get_contents(text_path, &text, NULL, NULL));
	ck_assert_msg(
		strstr(text,
		       "\nevent 0 frame_alloc time=4512 cpu=1 task=200 flags=compaction handle=5 "
		       "frame=0x1e77 frames=4 align=4 zone=dma32 mobility=movable "
		       "gfp=0x140dca\n"
		       "event 1 frame_free time=4600 cpu=0 task=0 handle=5 frame=none frames=2 "
		       "first=1\n"
		       "event 2 marker time=0 cpu=0 task=0 text=\"SNAP 0\"\n"),
		"%s", text);
}
END_TEST

/* ---- bad text ---- */

#define HEAD "# kmemlab trace 1\n"

static const struct {
	const char *text, *message;
} bad_texts[] = {
	{ "", "x.txt:0: the text is empty" },
	{ "hello\n", "x.txt:1: not the text of a trace" },
	{ "# kmemlab trace 2\n", "x.txt:1: not the text of a trace" },
	{ HEAD "hello\n", "x.txt:2: neither event nor comment" },
	{ HEAD "event x\n", "x.txt:2: no number of an event" },
	{ HEAD "event 0 frame_lloc\n", "x.txt:2: no kind of event" },
	{ HEAD "event 0 none\n", "x.txt:2: no kind of event" },
	{ HEAD "event 0 touch handle=3\n", "x.txt:2: no field of this kind" },
	{ HEAD "event 0 touch cpu=65536\n", "x.txt:2: no value of this field" },
	{ HEAD "event 0 touch time=18446744073709551616\n", "x.txt:2: no value of this field" },
	{ HEAD "event 0 touch time=-1\n", "x.txt:2: no value of this field" },
	{ HEAD "event 0 touch access=rw\n", "x.txt:2: no value of this field" },
	{ HEAD "event 0 touch access=r+\n", "x.txt:2: no value of this field" },
	{ HEAD "event 0 marker text=\"abc\n", "x.txt:2: no value of this field" },
	{ HEAD "event 0 marker text=\"abc\\\n", "x.txt:2: no value of this field" },
	{ HEAD "event 0 marker text=\"abc\"cpu=1\n", "x.txt:2: no space between fields" },
	{ HEAD "event 0 touch flags=prologue\n", "prologue event outside the start section" },
	{ HEAD "start 0 touch\n", "start section lacks its flag" },
	{ HEAD "# meta {\n", "x.txt:2: meta: " },
	{ HEAD "# meta {}\n", "x.txt:2: " },
	{ HEAD "# string 2 \"a\"\n", "x.txt:2: strings are not numbered" },
	{ HEAD "# string 1 \"a\"\n# string 2 \"a\"\n", "x.txt:3: strings are not numbered" },
	{ HEAD "# string 1 a\n", "x.txt:2: not of the form" },
	{ HEAD "# task 4294967296 \"a\"\n", "x.txt:2: not of the form" },
	{ HEAD "# attachment 1 \"a\" time=1\n", "x.txt:2: not of the form" },
	{ HEAD "#| \"a\"\n", "x.txt:2: content of no attachment" },
};

START_TEST(bad_text_is_named_by_line)
{
	GError *error = NULL;
	ck_assert(g_file_set_contents(text_path, bad_texts[_i].text, -1, NULL));
	ck_assert_msg(!read_text(&error), "accepted: %s", bad_texts[_i].text);
	ck_assert_msg(g_str_has_prefix(error->message, "trace error: "), "%s", error->message);
	ck_assert_msg(strstr(error->message, bad_texts[_i].message), "\"%s\": \"%s\"",
		      bad_texts[_i].text, error->message);
	ck_assert(!g_file_test(again_path, G_FILE_TEST_EXISTS));
	g_error_free(error);
}
END_TEST

START_TEST(text_by_hand_is_read)
{
	static const char text[] =
		HEAD "\n# by hand\nevent 9 frame_alloc handle=1 frames=8 align=8\n"
		     "event 9 touch access=r+w address=0x1000 time=5\nevent 9 marker text=\"x\"";
	GError *error = NULL;
	struct event event;
	ck_assert(g_file_set_contents(text_path, text, -1, NULL));
	ck_assert_msg(read_text(&error), "%s", error ? error->message : "");
	struct trace_reader *reader = trace_reader_open(again_path, &error);
	ck_assert_int_eq(trace_reader_next(reader, &event, &error), 1);
	ck_assert_uint_eq(event.u.frame.frames, 8);
	ck_assert_int_eq(trace_reader_next(reader, &event, &error), 1);
	ck_assert_uint_eq(event.u.touch.access, RIGHT_READ | RIGHT_WRITE);
	ck_assert_uint_eq(event.u.touch.address, 0x1000);
	ck_assert_int_eq(trace_reader_next(reader, &event, &error), 1);
	ck_assert_str_eq(trace_reader_string(reader, event.u.marker.text), "x");
	trace_reader_free(reader);
}
END_TEST

/* ---- sense ---- */

#define BLOCK "event 0 frame_alloc handle=1 frames=8 align=8\n"

static const struct {
	const char *text, *message; /* NULL: it makes sense */
} sense[] = {
	{ BLOCK "event 1 frame_free handle=1\n", NULL },
	{ BLOCK "event 1 frame_free handle=1\n" BLOCK, NULL },
	{ BLOCK "event 1 frame_free handle=1 frames=4\nevent 2 frame_free handle=1 frames=4 "
		"first=4\n" BLOCK,
	  NULL },
	{ BLOCK "event 1 frame_free handle=1 frames=4\nevent 2 frame_free handle=1\n", NULL },
	{ "start 0 frame_alloc flags=prologue handle=9 frames=1 align=1\nevent 0 frame_free "
	  "handle=9\n",
	  NULL },
	{ "event 0 heap_alloc handle=1\nevent 1 heap_realloc handle=1 bytes=5\nevent 2 heap_free "
	  "handle=1\n",
	  NULL },
	{ "event 0 touch time=5\nevent 1 touch cpu=1 time=4\nevent 2 touch time=5\n", NULL },
	{ "event 0 frame_alloc frames=1 align=1\n", "event 0: an allocation without a handle" },
	{ BLOCK BLOCK, "event 1: allocation of a handle that is alive" },
	{ "event 0 heap_alloc handle=1\n" BLOCK, "event 1: allocation of a handle that is alive" },
	{ "event 0 frame_alloc handle=1 align=1\n", "event 0: an allocation of no frames" },
	{ "event 0 frame_alloc handle=1 frames=3 align=3\n", "event 0: an alignment" },
	{ "event 0 frame_free handle=1\n", "event 0: free of a handle that is not alive" },
	{ BLOCK "event 1 frame_free handle=1\nevent 2 frame_free handle=1\n",
	  "event 2: free of a handle that is not alive" },
	{ BLOCK "event 1 heap_free handle=1\n", "event 1: frames freed as an object" },
	{ "event 0 heap_alloc handle=1\nevent 1 frame_free handle=1\n",
	  "event 1: an object freed as frames" },
	{ BLOCK "event 1 frame_free handle=1 frames=4 first=5\n",
	  "event 1: a part that reaches beyond its block" },
	{ BLOCK "event 1 frame_free handle=1 frames=4294967295 first=4294967295\n",
	  "event 1: a part that reaches beyond its block" },
	{ BLOCK
	  "event 1 frame_free handle=1 frames=4\nevent 2 frame_free handle=1 frames=2 first=3\n",
	  "event 2: a part that is free already" },
	{ BLOCK "event 1 heap_realloc handle=1\n", "event 1: a new size for an object" },
	{ "event 0 touch time=5\nevent 1 touch time=4\n", "event 1: the time steps back" },
	{ "event 0 frame_alloc_failed handle=1\n", "event 0: a failed allocation with a handle" },
	{ "event 0 frame_alloc handle=1 frames=1 align=1 zone=9\n", "event 0: an unknown zone" },
	{ "event 0 frame_alloc handle=1 frames=1 align=1 mobility=5\n",
	  "event 0: an unknown mobility" },
	{ "event 0 marker text=7\n", "event 0: an unknown text" },
	{ "event 0 marker attachment=1\n", "event 0: an attachment that does not exist" },
	{ "event 0 note values=5\n", "event 0: more values than a note has" },
	{ "event 0 exec name=1\n", "event 0: an unknown name" },
	{ "event 0 heap_alloc handle=1 cache=1\n", "event 0: a cache whose name is unknown" },
	{ "event 0 touch access=8\n", "event 0: an unknown access" },
	{ "start 0 touch flags=prologue\n", "start event 0: something else" },
};

START_TEST(validate_names_the_first_wrong_event)
{
	GError *error = NULL;
	g_autofree char *text = g_strconcat(HEAD, sense[_i].text, NULL);
	ck_assert(g_file_set_contents(text_path, text, -1, NULL));
	ck_assert_msg(read_text(&error), "%s: %s", text, error ? error->message : "");
	struct trace_reader *reader = trace_reader_open(again_path, &error);
	ck_assert_ptr_nonnull(reader);
	bool good = trace_validate(reader, &error);
	ck_assert_msg(good == !sense[_i].message, "%s: %s", text,
		      good ? "accepted" : error->message);
	if (!good) {
		ck_assert(g_error_matches(error, TRACE_ERROR, TRACE_ERROR_FORMAT));
		ck_assert_msg(g_str_has_prefix(error->message, "trace error: "), "%s",
			      error->message);
		ck_assert_msg(strstr(error->message, sense[_i].message), "%s: \"%s\"", text,
			      error->message);
		g_error_free(error);
	}
	trace_reader_free(reader);
}
END_TEST

START_TEST(page_traces_make_sense)
{
	GError *error = NULL;
	g_autoptr(GArray) events = page_events(7, 200000);
	write_trace(path, NULL, events);
	struct trace_reader *reader = trace_reader_open(path, &error);
	ck_assert_msg(trace_validate(reader, &error), "%s", error ? error->message : "");
	ck_assert(trace_validate(reader, &error));
	trace_reader_free(reader);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("trace text");
	TCase *text = tcase_create("text");
	tcase_add_checked_fixture(text, setup, teardown);
	tcase_set_timeout(text, 200);
	tcase_add_test(text, a_small_trace_survives_text);
	tcase_add_loop_test(text, random_traces_survive_text, 0, 2);
	tcase_add_test(text, page_traces_survive_text);
	tcase_add_test(text, strange_strings_and_attachments_survive_text);
	tcase_add_test(text, an_event_is_a_readable_line);
	tcase_add_loop_test(text, bad_text_is_named_by_line, 0, G_N_ELEMENTS(bad_texts));
	tcase_add_test(text, text_by_hand_is_read);
	suite_add_tcase(suite, text);
	TCase *valid = tcase_create("sense");
	tcase_add_checked_fixture(valid, setup, teardown);
	tcase_set_timeout(valid, 100);
	tcase_add_loop_test(valid, validate_names_the_first_wrong_event, 0, G_N_ELEMENTS(sense));
	tcase_add_test(valid, page_traces_make_sense);
	suite_add_tcase(suite, valid);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
