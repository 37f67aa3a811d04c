#include <check.h>
#include <glib/gstdio.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "tests/import/import_support.h"

/*
 * Every recording in the shared data folder, against its README, against its own other form,
 * and against what the recorded kernel said of itself. Exit status 77 without that folder.
 */

static const struct recording {
	const char *name, *file, *format;
	/* Of clipped texts the README knows nothing: what traces.md says of them. */
	uint64_t allocs, frees, prints;
} recordings[] = {
	{ "compile-all", "trace.dat", "trace-dat", 0, 0, 0 },
	{ "compile-page", "trace.v6.dat.zst", "trace-dat", 0, 0, 0 },
	{ "compile-page", "report.first300k.txt.zst", "ftrace", 50995, 56906, 578 },
	{ "compile-page", "trace.raw.first300k.txt.zst", "ftrace", 50989, 56906, 578 },
	{ "compile-perf", "perf.script.txt.zst", "perf-script", 0, 0, 0 },
	{ "compile-slab", "trace.v6.dat.zst", "trace-dat", 0, 0, 0 },
	{ "files-page", "trace.v6.dat.zst", "trace-dat", 0, 0, 0 },
	{ "redis-page", "trace.dat", "trace-dat", 0, 0, 0 },
	{ "redis-page", "report.txt.zst", "ftrace", 0, 0, 0 },
	{ "redis-perf", "perf.script.txt.zst", "perf-script", 0, 0, 0 },
	{ "redis-slab", "trace.v6.dat.zst", "trace-dat", 0, 0, 0 },
	{ "swap-page", "trace.v6.dat.zst", "trace-dat", 0, 0, 0 },
	{ "thp-page", "trace.dat", "trace-dat", 0, 0, 0 },
	{ "thp-page", "report.txt.zst", "ftrace", 0, 0, 0 },
};

static struct loaded *import_recording(const char *name, const char *file)
{
	g_autofree char *path = g_build_filename(TRACES_FOLDER, name, file, NULL);
	struct import_options options = { .format = "auto" };

	return import_path(path, &options);
}

/* ---- the README ---- */

/* The "- events:" line of a recording: "mm_page_free 94975, ..." */
static char *readme_events(const char *name)
{
	g_autofree char *path = g_build_filename(TRACES_FOLDER, "README.md", NULL);
	g_autofree char *heading = g_strdup_printf("\n## open/%s\n", name);
	g_autofree char *text = NULL;

	ck_assert(g_file_get_contents(path, &text, NULL, NULL));
	char *section = strstr(text, heading);
	ck_assert_ptr_nonnull(section);
	char *events = strstr(section, "\n- events: ");
	ck_assert_ptr_nonnull(events);
	events += strlen("\n- events: ");
	return g_strndup(events, strcspn(events, "\n"));
}

static void check_counts(const struct loaded *loaded, const struct recording *recording)
{
	g_autofree char *line = readme_events(recording->name);
	g_auto(GStrv) items = g_strsplit(line, ", ", -1);

	for (guint i = 0; items[i]; i++) {
		char name[64];
		unsigned long want;
		ck_assert_int_eq(sscanf(items[i], "%63s %lu", name, &want), 2);
		ck_assert_msg(loaded_source_events(loaded, name) == want,
			      "%s/%s: %s %" G_GUINT64_FORMAT ", README says %lu", recording->name,
			      recording->file, name, loaded_source_events(loaded, name), want);
	}
	ck_assert_uint_eq(g_hash_table_size(loaded->meta->source_events), g_strv_length(items));
}

/* ---- MemFree ---- */

/* Of managed RAM: how far the free frames may be from MemFree, and how far from MemFree and what
 * the per-CPU lists have grown by since event 0. */
#define MEMFREE_PERCENT 5.0
#define EXACT_PERCENT	1.5

static int64_t number_behind(const char *text, const char *key)
{
	const char *found = strstr(text, key);
	ck_assert_msg(found, "no %s in a snapshot", key);
	return g_ascii_strtoll(found + strlen(key), NULL, 10);
}

static int64_t on_cpu_lists(const char *zoneinfo)
{
	int64_t frames = 0;

	while ((zoneinfo = strstr(zoneinfo, " count:")) != NULL) {
		zoneinfo += strlen(" count:");
		frames += g_ascii_strtoll(zoneinfo, NULL, 10);
	}
	return frames;
}

/* Frames of each handle, for frees that do not say. */
static GArray *handle_frames(const struct loaded *loaded)
{
	GArray *left = g_array_new(FALSE, TRUE, sizeof(uint32_t));
	g_array_set_size(left, (guint)loaded->meta->handles);
	for (guint i = 0; i < loaded->start->len; i++) {
		const struct event *event = &g_array_index(loaded->start, struct event, i);
		g_array_index(left, uint32_t, event->u.frame.handle) = event->u.frame.frames;
	}
	return left;
}

/* By how much an event changes the number of free frames. */
static int64_t freed_by(GArray *left, const struct event *event)
{
	if (event->kind != EVENT_FRAME_ALLOC && event->kind != EVENT_FRAME_FREE)
		return 0;
	uint32_t *frames = &g_array_index(left, uint32_t, event->u.frame.handle);
	if (event->kind == EVENT_FRAME_ALLOC) {
		*frames = event->u.frame.frames;
		return -(int64_t)*frames;
	}
	uint32_t part = event->u.frame.frames ? event->u.frame.frames : *frames;
	*frames -= part;
	return part;
}

/* The worst distances between the trace's free frames and the kernel's, over all snapshots. */
struct distance {
	int64_t memfree;     /* from MemFree */
	int64_t exact;	     /* from MemFree and the growth of the per-CPU lists */
	int64_t first_lists; /* what was on them at the first snapshot */
	guint snapshots;
};

static void compare_snapshot(struct distance *worst, const struct trace_attachment *attachment,
			     int64_t free_frames, int64_t *cpu_lists)
{
	gsize bytes;
	const char *data = g_bytes_get_data(attachment->bytes, &bytes);
	g_autofree char *text = g_strndup(data, bytes);

	if (g_str_has_suffix(attachment->name, " zoneinfo"))
		*cpu_lists = on_cpu_lists(text);
	if (!g_str_has_suffix(attachment->name, " meminfo"))
		return;
	int64_t apart = free_frames - number_behind(text, "MemFree:") / 4;
	worst->memfree = MAX(worst->memfree, ABS(apart));
	if (worst->snapshots++ == 0)
		worst->first_lists = *cpu_lists;
	worst->exact = MAX(worst->exact, ABS(apart - (*cpu_lists - worst->first_lists)));
}

static struct distance worst_distance(const struct loaded *loaded)
{
	g_autoptr(GArray) left = handle_frames(loaded);
	int64_t free_frames = (int64_t)loaded->meta->free_frames, cpu_lists = 0;
	struct distance worst = { 0 };

	for (guint i = 0; i < loaded->events->len; i++) {
		const struct event *event = &g_array_index(loaded->events, struct event, i);
		free_frames += freed_by(left, event);
		if (event->kind == EVENT_MARKER && event->u.marker.attachment)
			compare_snapshot(&worst,
					 g_ptr_array_index(loaded->attachments,
							   event->u.marker.attachment - 1),
					 free_frames, &cpu_lists);
	}
	return worst;
}

static void check_free_frames(const struct loaded *loaded, const struct recording *recording)
{
	struct distance worst = worst_distance(loaded);
	bool probed = loaded_source_events(loaded, "isolate_free_page") > 0;
	double managed = (double)loaded->meta->managed_frames;
	double memfree = 100 * (double)worst.memfree / managed;
	double exact = 100 * (double)worst.exact / managed;

	printf("# %s/%s: at worst %.2f %% of managed RAM from MemFree, %.2f %% with per-CPU lists, "
	       "%u snapshots%s\n",
	       recording->name, recording->file, memfree, exact, worst.snapshots,
	       probed ? "" : ", no isolation was recorded");
	ck_assert_uint_gt(worst.snapshots, 0);
	if (!probed)
		return;
	ck_assert_msg(memfree <= MEMFREE_PERCENT, "%s: %.2f %%", recording->name, memfree);
	ck_assert_msg(exact <= EXACT_PERCENT, "%s: %.2f %%", recording->name, exact);
}

static int64_t first_cpu_lists(const struct loaded *loaded)
{
	for (guint i = 0; i < loaded->attachments->len; i++) {
		const struct trace_attachment *attachment =
			g_ptr_array_index(loaded->attachments, i);
		gsize bytes;
		if (!g_str_has_suffix(attachment->name, " zoneinfo"))
			continue;
		const char *data = g_bytes_get_data(attachment->bytes, &bytes);
		g_autofree char *text = g_strndup(data, bytes);
		return on_cpu_lists(text);
	}
	return 0;
}

/* What the list of untouched frames leaves free must be what the counts say is free or lay on the
 * per-CPU lists. */
static void check_state(const struct loaded *loaded, const struct recording *recording)
{
	const struct trace_meta *meta = loaded->meta;
	uint64_t untouched = 0;

	ck_assert(meta->state_known);
	ck_assert_uint_gt(meta->managed_frames, 0);
	ck_assert(meta->machine_recorded);
	ck_assert(meta->untouched_known);
	for (guint i = 0; i < meta->untouched->len; i++)
		untouched += g_array_index(meta->untouched, struct trace_frame_range, i).frames;
	int64_t free_by_list = (int64_t)(memory_map_usable_frames(meta->memory_map) - untouched -
					 meta->prologue_frames);
	int64_t apart = free_by_list - (int64_t)meta->free_frames - first_cpu_lists(loaded);
	printf("# %s/%s: free at event 0 %" G_GUINT64_FORMAT
	       ", by the untouched list %" G_GINT64_FORMAT "\n",
	       recording->name, recording->file, meta->free_frames, free_by_list);
	ck_assert_int_le(ABS(apart), meta->managed_frames / 500);
}

static void check_meta(const struct loaded *loaded, const struct recording *recording)
{
	const struct trace_meta *meta = loaded->meta;

	ck_assert_str_eq(meta->source, recording->file);
	ck_assert_str_eq(meta->format, recording->format);
	ck_assert_str_eq(meta->system, "6.1.0-56-amd64");
	ck_assert_int_eq((int)strlen(meta->source_xxh128), 32);
	ck_assert(g_str_has_prefix(meta->program, "kmemlab "));
	ck_assert(g_str_has_prefix(meta->command, "./record-guest.sh "));
	ck_assert_uint_eq(meta->cpus, 2);
	ck_assert_uint_gt(loaded->attachments->len, 100);
}

START_TEST(recording_imports_as_its_readme_and_its_kernel_say)
{
	const struct recording *recording = &recordings[_i];
	struct loaded *loaded = import_recording(recording->name, recording->file);
	g_autofree char *fault = story_fault(loaded);

	ck_assert_msg(!fault, "%s/%s: %s", recording->name, recording->file, fault);
	check_meta(loaded, recording);
	check_state(loaded, recording);
	check_free_frames(loaded, recording);
	if (recording->allocs) {
		ck_assert_uint_eq(loaded_source_events(loaded, "mm_page_alloc"), recording->allocs);
		ck_assert_uint_eq(loaded_source_events(loaded, "mm_page_free"), recording->frees);
		ck_assert_uint_eq(loaded_source_events(loaded, "print"), recording->prints);
	} else {
		check_counts(loaded, recording);
	}
	loaded_free(loaded);
}
END_TEST

static const struct {
	const char *name;
	uint64_t prologue, prologue_frames, untraced;
} measured[] = {
	{ "thp-page", 56729, 57135, 40 },
	{ "redis-page", 57219, 57220, 18 },
};

START_TEST(prologue_and_untraced_are_those_measured_before)
{
	struct loaded *loaded = import_recording(measured[_i].name, "trace.dat");

	ck_assert_uint_eq(loaded->meta->prologue, measured[_i].prologue);
	ck_assert_uint_eq(loaded->meta->prologue_frames, measured[_i].prologue_frames);
	ck_assert_uint_eq(loaded->meta->untraced_allocs, measured[_i].untraced);
	loaded_free(loaded);
}
END_TEST

/* ---- references ---- */

static const struct {
	const char *file;
	uint64_t fetches, loads, stores, both; /* of the README */
} references[] = {
	{ "lackey-sqlite3.txt.zst", 13925379, 4101958, 1819781, 152882 },
	{ "lackey-python3.txt.zst", 14471340, 3438559, 1933613, 156488 },
};

START_TEST(references_import_as_their_readme_says)
{
	g_autofree char *path =
		g_build_filename(TRACES_FOLDER, "lackey", references[_i].file, NULL);
	g_autofree char *kmt = g_build_filename(g_get_tmp_dir(), "kmemlab-XXXXXX.kmt", NULL);
	struct import_options options = { .format = "auto" };
	g_autoptr(GError) error = NULL;
	int fd = g_mkstemp(kmt);

	close(fd);
	ck_assert_msg(import_file(path, kmt, &options, &error), "%s", error->message);
	struct trace_reader *reader = trace_reader_open(kmt, &error);
	g_unlink(kmt);
	ck_assert_ptr_nonnull(reader);
	struct loaded loaded = { .meta = trace_reader_meta(reader) };
	ck_assert_uint_eq(loaded_source_events(&loaded, "I"), references[_i].fetches);
	ck_assert_uint_eq(loaded_source_events(&loaded, "L"), references[_i].loads);
	ck_assert_uint_eq(loaded_source_events(&loaded, "S"), references[_i].stores);
	ck_assert_uint_eq(loaded_source_events(&loaded, "M"), references[_i].both);
	ck_assert_uint_eq(loaded.meta->kind_count[EVENT_TOUCH], 20000000);
	ck_assert_str_eq(loaded.meta->format, "lackey");
	trace_reader_free(reader);
}
END_TEST

/* ---- two forms of one recording ---- */

/* Which two forms of one recording. */
static const struct {
	const char *name, *one, *other;
} pairs[] = {
	{ "thp-page", "trace.dat", "report.txt.zst" },
	{ "redis-page", "trace.dat", "report.txt.zst" },
	/* Clipped at 300,000 lines; the raw text has 11 more lines of header. */
	{ "compile-page", "report.first300k.txt.zst", "trace.raw.first300k.txt.zst" },
};

START_TEST(two_forms_of_a_recording_give_the_same_events)
{
	struct loaded *one = import_recording(pairs[_i].name, pairs[_i].one);
	struct loaded *other = import_recording(pairs[_i].name, pairs[_i].other);
	g_autofree char *difference = story_difference(one, other);

	if (g_str_has_prefix(pairs[_i].one, "report.first"))
		ck_assert_uint_eq(one->events->len, other->events->len + 12);
	else
		ck_assert_uint_eq(one->events->len, other->events->len);
	ck_assert_msg(!difference, "%s: %s", pairs[_i].name, difference);
	ck_assert_uint_eq(one->attachments->len, other->attachments->len);
	ck_assert_uint_eq(one->meta->free_frames, other->meta->free_frames);
	loaded_free(one);
	loaded_free(other);
}
END_TEST

int main(void)
{
	if (!g_file_test(TRACES_FOLDER "/README.md", G_FILE_TEST_EXISTS)) {
		printf("no recordings at %s\n", TRACES_FOLDER);
		return 77;
	}
	Suite *suite = suite_create("import recordings");
	TCase *tcase = tcase_create("recordings");

	tcase_set_timeout(tcase, 120);
	tcase_add_loop_test(tcase, recording_imports_as_its_readme_and_its_kernel_say, 0,
			    G_N_ELEMENTS(recordings));
	tcase_add_loop_test(tcase, prologue_and_untraced_are_those_measured_before, 0,
			    G_N_ELEMENTS(measured));
	tcase_add_loop_test(tcase, references_import_as_their_readme_says, 0,
			    G_N_ELEMENTS(references));
	tcase_add_loop_test(tcase, two_forms_of_a_recording_give_the_same_events, 0,
			    G_N_ELEMENTS(pairs));
	suite_add_tcase(suite, tcase);

	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
