#include <archive.h>
#include <archive_entry.h>
#include <check.h>
#include <glib/gstdio.h>
#include <stdlib.h>
#include <string.h>
#include "tests/import/import_support.h"
#include "tests/unit/test_trace_support.h"

/* What a trace takes from the recording's ground truth: a made-up machine of 64 frames. */

/* 16 frames at 0, a hole of 16, 32 frames at 32; 40 of the 48 are managed. */
#define E820                                                                             \
	"[    0.000000] BIOS-e820: [mem 0x0000000000000000-0x000000000000ffff] usable\n" \
	"[    0.000000] BIOS-e820: [mem 0x0000000000020000-0x000000000003ffff] usable\n"
#define BUDDYINFO \
	"Node 0, zone      DMA      2      1      0\nNode 0, zone   Normal      0      0      2\n"
#define ZONEINFO                                                                                  \
	"Node 0, zone      DMA\n  pages free     4\n        managed  10\n      nr_free_pages 4\n" \
	"  pagesets\n    cpu: 0\n              count: 1\n    cpu: 1\n              count: 2\n"    \
	"Node 0, zone   Normal\n  pages free     8\n        managed  30\n      nr_free_pages 8\n" \
	"    cpu: 0\n              count: 0\n"
#define SNAPSHOTS                                                         \
	"=== SNAP 0 buddyinfo mono_begin=1.0 mono_end=1.1   \n" BUDDYINFO \
	"=== SNAP 0 zoneinfo mono_begin=1.2 mono_end=1.3   \n" ZONEINFO   \
	"=== SNAP 1 meminfo mono_begin=1.4 mono_end=1.5   \nMemFree: 44 kB\n"

#define LINE(us, event) "            bash-7     [000]   100.000" us ": " event "\n"
#define MARK(us, text)	LINE(us, "print: tracing_mark_write: " text)

static const struct {
	const char *name, *content;
} files[] = {
	{ "dmesg-memory.txt", E820 },
	{ "snapshots.txt", SNAPSHOTS },
	{ "command.txt", "record: make -j4\nqemu: x\n" },
	{ "state/before/version", "Linux version 6.1.0-test (a@b) (gcc) #1\n" },
	{ "state/before/zoneinfo", ZONEINFO },
};

/* Between event 0 and the reading of zoneinfo: one order-1 block taken, one frame given back, and
 * one frame drained to the lists behind buddyinfo. */
static const char recording[] = LINE("001",
				     "mm_page_alloc: page=0x1 pfn=0x20 order=1 migratetype=0")
	LINE("002", "mm_page_free: page=0x1 pfn=0x22 order=0") MARK("003", "SNAP 0 buddyinfo begin")
		MARK("004", "SNAP 0 buddyinfo end")
			LINE("005", "mm_page_pcpu_drain: page=0x1 pfn=0x22 order=0 migratetype=1")
				MARK("006", "SNAP 0 zoneinfo begin")
					LINE("007", "mm_page_alloc: page=0x1 pfn=0x24 order=2")
						MARK("008", "SNAP 1 meminfo begin")
							MARK("009", "SNAP 1 unknown begin");

struct place {
	char *folder, *input, *output, *state;
};

static void put(const char *folder, const char *name, const void *content, gsize bytes)
{
	g_autofree char *path = g_build_filename(folder, name, NULL);
	ck_assert(g_file_set_contents(path, content, (gssize)bytes, NULL));
}

static struct place place_new(const char *state)
{
	struct place place = { .folder = make_folder() };

	place.input = g_build_filename(place.folder, "trace.txt", NULL);
	place.output = g_build_filename(place.folder, "trace.kmt", NULL);
	place.state = g_build_filename(place.folder, state, NULL);
	put(place.folder, "trace.txt", recording, strlen(recording));
	return place;
}

static void place_free(struct place *place)
{
	remove_folder(place->folder);
	g_free(place->input);
	g_free(place->output);
	g_free(place->state);
}

/* Packs the files, and flags of the frames where BUDDY has a bit set. */
static void write_tar(const char *path, const char *prefix, uint64_t buddy)
{
	struct archive *archive = archive_write_new();
	uint64_t flags[48] = { 0 };

	archive_write_add_filter_zstd(archive);
	archive_write_set_format_pax_restricted(archive);
	ck_assert_int_eq(archive_write_open_filename(archive, path), ARCHIVE_OK);
	for (int i = 0; i < 48; i++)
		if (buddy >> (i < 16 ? i : i + 16) & 1)
			flags[i] = GUINT64_TO_LE(UINT64_C(1) << 10);
	for (size_t i = 0; i < G_N_ELEMENTS(files) + 2; i++) {
		const char *name = i < G_N_ELEMENTS(files)    ? files[i].name
				   : i == G_N_ELEMENTS(files) ? "kpageflags.0000.bin"
							      : "kpageflags.ranges";
		const void *content = i < G_N_ELEMENTS(files)	 ? (const void *)files[i].content
				      : i == G_N_ELEMENTS(files) ? (const void *)flags
								 : "0 16\n32 32\n";
		size_t bytes = i == G_N_ELEMENTS(files) ? sizeof flags : strlen(content);
		g_autofree char *full = g_strconcat(prefix, name, NULL);
		struct archive_entry *entry = archive_entry_new();
		archive_entry_set_pathname(entry, full);
		archive_entry_set_size(entry, (la_int64_t)bytes);
		archive_entry_set_filetype(entry, AE_IFREG);
		archive_entry_set_perm(entry, 0644);
		ck_assert_int_eq(archive_write_header(archive, entry), ARCHIVE_OK);
		ck_assert_int_eq(archive_write_data(archive, content, bytes), (la_ssize_t)bytes);
		archive_entry_free(entry);
	}
	archive_write_close(archive);
	archive_write_free(archive);
}

static struct loaded *import_here(const struct place *place, const char *state, const char *memmap)
{
	struct import_options options = { .state = state, .memmap = memmap };
	return import_path(place->input, &options);
}

/*
 * Buddyinfo: 2 + 2 + 8 = 12; the drain makes it 13 when zoneinfo was read; 3 on CPU lists do not
 * count. Until then owners had taken 2 and given back 1: 14 at event 0.
 */
static void check_whole_state(const struct loaded *loaded)
{
	const struct trace_meta *meta = loaded->meta;

	ck_assert(meta->state_known);
	ck_assert_uint_eq(meta->managed_frames, 40);
	ck_assert_uint_eq(meta->free_frames, 14);
	ck_assert(meta->machine_recorded);
	ck_assert_uint_eq(memory_map_usable_frames(meta->memory_map), 48);
	ck_assert_str_eq(meta->system, "6.1.0-test");
	ck_assert_str_eq(meta->command, "make -j4");
}

START_TEST(state_beside_the_input_is_found_and_carried_back_to_event_0)
{
	static const char *const prefixes[] = { "", "./", "ground-truth/" };
	struct place place = place_new("ground-truth.tar.zst");

	write_tar(place.state, prefixes[_i], 0);
	struct loaded *loaded = import_here(&place, NULL, NULL);
	check_whole_state(loaded);
	loaded_free(loaded);
	place_free(&place);
}
END_TEST

/* Buddy: frames 1 to 4 and 40 to 47. Shown by the recording: 32, 33, 36 to 39 allocated (so free
 * before), 34 prologue. All other usable ones were held: 0, 5 to 15, 35, 48 to 63. */
START_TEST(untouched_frames_are_those_that_nobody_ever_shows)
{
	static const struct trace_frame_range want[] = {
		{ 0, 1 }, { 5, 11 }, { 35, 1 }, { 48, 16 }
	};
	struct place place = place_new("state.tar");

	write_tar(place.state, "", UINT64_C(0xff000000001e));
	struct loaded *loaded = import_here(&place, place.state, NULL);
	const GArray *untouched = loaded->meta->untouched;
	ck_assert(loaded->meta->untouched_known);
	ck_assert_uint_eq(untouched->len, G_N_ELEMENTS(want));
	ck_assert_mem_eq(untouched->data, want, sizeof want);
	loaded_free(loaded);
	place_free(&place);
}
END_TEST

START_TEST(snapshots_are_attached_at_their_markers)
{
	static const struct {
		const char *name, *content;
		uint64_t event;
	} want[] = {
		{ "SNAP 0 buddyinfo", BUDDYINFO, 2 },
		{ "SNAP 0 zoneinfo", ZONEINFO, 5 },
		{ "SNAP 1 meminfo", "MemFree: 44 kB\n", 7 },
	};
	struct place place = place_new("state.tar");

	write_tar(place.state, "", 0);
	struct loaded *loaded = import_here(&place, place.state, NULL);
	ck_assert_uint_eq(loaded->attachments->len, G_N_ELEMENTS(want));
	for (guint i = 0; i < loaded->attachments->len; i++) {
		const struct trace_attachment *attachment =
			g_ptr_array_index(loaded->attachments, i);
		gsize bytes;
		const char *content = g_bytes_get_data(attachment->bytes, &bytes);
		const struct event *marker =
			&g_array_index(loaded->events, struct event, want[i].event);
		ck_assert_str_eq(attachment->name, want[i].name);
		ck_assert_uint_eq(bytes, strlen(want[i].content));
		ck_assert_mem_eq(content, want[i].content, bytes);
		ck_assert_uint_eq(attachment->event, want[i].event);
		ck_assert_uint_eq(marker->u.marker.attachment, i + 1);
		ck_assert_uint_eq(attachment->time_ns, marker->time_ns);
	}
	loaded_free(loaded);
	place_free(&place);
}
END_TEST

START_TEST(folder_serves_as_well_as_a_tar)
{
	struct place place = place_new("unused");
	char *state = make_folder();

	/* Files at its top only: remove_folder() goes no deeper. */
	for (size_t i = 0; i < 3; i++)
		put(state, files[i].name, files[i].content, strlen(files[i].content));
	struct loaded *loaded = import_here(&place, state, NULL);
	ck_assert(loaded->meta->state_known);
	ck_assert_uint_eq(loaded->meta->free_frames, 14);
	ck_assert(loaded->meta->machine_recorded);
	ck_assert(!loaded->meta->untouched_known);
	ck_assert_ptr_null(loaded->meta->system);
	loaded_free(loaded);
	remove_folder(state);
	place_free(&place);
}
END_TEST

START_TEST(memmap_goes_before_the_recordings_own)
{
	struct place place = place_new("state.tar");
	g_autofree char *memmap = g_build_filename(place.folder, "map", NULL);

	write_tar(place.state, "", 0);
	put(place.folder, "map", "[mem 0x0-0xfffff] usable\n", 25);
	struct loaded *loaded = import_here(&place, place.state, memmap);
	ck_assert(loaded->meta->machine_recorded);
	ck_assert_uint_eq(memory_map_usable_frames(loaded->meta->memory_map), 256);
	loaded_free(loaded);
	place_free(&place);
}
END_TEST

START_TEST(damaged_state_is_refused_with_its_name)
{
	struct place place = place_new("state.tar");
	g_autofree char *content = NULL;
	gsize bytes;

	write_tar(place.state, "", 0);
	ck_assert(g_file_get_contents(place.state, &content, &bytes, NULL));
	for (int i = 0; i < 8; i++) {
		struct import_options options = { .state = place.state };
		g_autoptr(GError) error = NULL;
		put(place.folder, "state.tar", content, bytes * (gsize)i / 8);
		ck_assert_msg(!import_file(place.input, place.output, &options, &error), "%d", i);
		ck_assert_msg(g_error_matches(error, TRACE_ERROR, TRACE_ERROR_FORMAT), "%s",
			      error->message);
		ck_assert_ptr_nonnull(strstr(error->message, "state.tar"));
		ck_assert(!g_file_test(place.output, G_FILE_TEST_EXISTS));
	}
	place_free(&place);
}
END_TEST

START_TEST(damaged_memory_map_is_refused_with_its_line)
{
	struct place place = place_new("unused");
	char *state = make_folder();
	struct import_options options = { .state = state };
	g_autoptr(GError) error = NULL;

	put(state, "dmesg-memory.txt", E820 "BIOS-e820: [mem 0x0-0xzz] usable\n",
	    strlen(E820) + 33);
	ck_assert(!import_file(place.input, place.output, &options, &error));
	ck_assert_msg(g_error_matches(error, TRACE_ERROR, TRACE_ERROR_FORMAT), "%s",
		      error->message);
	ck_assert_msg(strstr(error->message, "dmesg-memory.txt:3"), "%s", error->message);
	remove_folder(state);
	place_free(&place);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("import state");
	TCase *tcase = tcase_create("state");

	tcase_add_loop_test(tcase, state_beside_the_input_is_found_and_carried_back_to_event_0, 0,
			    3);
	tcase_add_test(tcase, untouched_frames_are_those_that_nobody_ever_shows);
	tcase_add_test(tcase, snapshots_are_attached_at_their_markers);
	tcase_add_test(tcase, folder_serves_as_well_as_a_tar);
	tcase_add_test(tcase, memmap_goes_before_the_recordings_own);
	tcase_add_test(tcase, damaged_state_is_refused_with_its_name);
	tcase_add_test(tcase, damaged_memory_map_is_refused_with_its_line);
	suite_add_tcase(suite, tcase);

	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
