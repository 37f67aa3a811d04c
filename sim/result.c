#include "sim/result.h"

#include "sim/fragmentation.h"
#include "sim/ledger.h"
#include "workloads/event.h"

#include <errno.h>
#include <glib/gstdio.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Files kept open during the run; the JSON files are written at one stroke. */
enum file {
	SAMPLES,
	RECORDED,
	FAILURES,
	FILL,
	EVENTS,
	LATENCY,
	SLOW,
	FRAMES,
	HEAP,
	HEAP_SITES,
	HEAP_SIZES,
	FILES
};

static const struct {
	const char *name;
	const char *header; /* NULL: computed, or binary */
	bool always;	    /* there even without a row */
} files[FILES] = {
	[SAMPLES] = { "samples.csv", NULL, true },
	[RECORDED] = { "recorded.csv", NULL, false },
	[FAILURES] = { "failures.csv",
		       "event,time_ns,frames,align_frames,zone,mobility,cpu,task,free_frames,"
		       "largest_free_order\n",
		       true },
	[FILL] = { "fill.csv", "fill_low_percent,fill_high_percent,requests,served\n", false },
	[EVENTS] = { "events.csv",
		     "operation,order,operations,loads,stores,atomics,cache_lines,tlb_lookups,"
		     "tlb_misses,walk_reads,faults,most_accesses\n",
		     true },
	[LATENCY] = { "latency.csv", "operation,order,cpu,low_ns,high_ns,count\n", true },
	[SLOW] = { "slow.csv", "event,operation,order,cpu,latency_ns\n", true },
	[FRAMES] = { "frames.bin", NULL, false },
	[HEAP] = { "heap.csv",
		   "event,time_ns,live_objects,live_bytes,usable_bytes,held_frames,kept_bytes,"
		   "failures,internal_percent,slots,vacant_slots_percent\n",
		   false },
	[HEAP_SITES] = { "heap_sites.csv",
			 "site,cache,allocs,frees,failures,moved_cpu,requested_bytes,usable_bytes,"
			 "live_objects,live_bytes,peak_bytes,internal_percent\n",
			 false },
	[HEAP_SIZES] = { "heap_sizes.csv",
			 "order,allocs,failures,requested_bytes,usable_bytes,live_objects,"
			 "internal_percent\n",
			 false },
};
static const char *const json_files[] = { "run.json", "timing.json" };

static const char *const zone_names[EVENT_ZONES] = {
	[ZONE_ANY] = "any",	  [ZONE_DMA] = "dma",	      [ZONE_DMA32] = "dma32",
	[ZONE_NORMAL] = "normal", [ZONE_HIGHMEM] = "highmem", [ZONE_MOVABLE] = "movable",
};
static const char *const mobility_names[EVENT_MOBILITIES] = {
	[MOBILITY_UNMOVABLE] = "unmovable",	[MOBILITY_MOVABLE] = "movable",
	[MOBILITY_RECLAIMABLE] = "reclaimable", [MOBILITY_HIGHATOMIC] = "highatomic",
	[MOBILITY_ISOLATE] = "isolate",
};

struct result {
	char *folder, *aside;
	bool replace;
	FILE *files[FILES];
	uint64_t map_cells, map_count;
	GError *error; /* the first */
};

G_DEFINE_QUARK(kmemlab - result - error, result_error)

/* Keeps ERRNO with the path, if it is the first error. */
static void fail(struct result *result, const char *path, int error_number)
{
	if (!result->error)
		result->error = g_error_new(RESULT_ERROR, RESULT_ERROR_IO, "%s: %s", path,
					    g_strerror(error_number));
}

static void fail_file(struct result *result, enum file file)
{
	int error_number = errno;
	char *path = g_build_filename(result->aside, files[file].name, NULL);

	fail(result, path, error_number);
	g_free(path);
}

static bool is_run_file(const char *name)
{
	for (unsigned i = 0; i < FILES; i++)
		if (strcmp(files[i].name, name) == 0)
			return true;
	for (unsigned i = 0; i < G_N_ELEMENTS(json_files); i++)
		if (strcmp(json_files[i], name) == 0)
			return true;
	return false;
}

/* Removes a folder with a run's files, and nothing else: others keep it there. */
static void remove_run(const char *folder)
{
	for (unsigned i = 0; i < FILES + G_N_ELEMENTS(json_files); i++) {
		char *path = g_build_filename(
			folder, i < FILES ? files[i].name : json_files[i - FILES], NULL);

		g_unlink(path);
		g_free(path);
	}
	g_rmdir(folder);
}

/* Whether what stands at the folder's name, if anything, may give way. */
static bool may_replace(const struct result *result, GError **error)
{
	GDir *dir;
	const char *name;
	bool allowed = true;

	if (!g_file_test(result->folder, G_FILE_TEST_EXISTS))
		return true;
	dir = g_dir_open(result->folder, 0, NULL);
	if (!dir) {
		g_set_error(error, RESULT_ERROR, RESULT_ERROR_EXISTS, "%s: is no readable folder",
			    result->folder);
		return false;
	}
	while (allowed && (name = g_dir_read_name(dir))) {
		allowed = result->replace && is_run_file(name);
		if (!allowed)
			g_set_error(error, RESULT_ERROR, RESULT_ERROR_EXISTS,
				    "%s: is there already%s%s", result->folder,
				    result->replace ? ", and holds what no run writes: " : "",
				    result->replace ? name : "");
	}
	g_dir_close(dir);
	return allowed;
}

static void open_file(struct result *result, enum file file)
{
	char *path = g_build_filename(result->aside, files[file].name, NULL);

	result->files[file] = g_fopen(path, "wb");
	if (!result->files[file])
		fail(result, path, errno);
	g_free(path);
}

/* FILE, opened if it is not; NULL where nothing is to be written any more. */
static FILE *stream(struct result *result, enum file file)
{
	if (!result || result->error)
		return NULL;
	if (!result->files[file]) {
		open_file(result, file);
		if (result->files[file] && files[file].header)
			fputs(files[file].header, result->files[file]);
	}
	return result->files[file];
}

static void put(struct result *result, enum file file, const void *bytes, size_t size)
{
	FILE *out = stream(result, file);

	if (out && fwrite(bytes, 1, size, out) != size)
		fail_file(result, file);
}

G_GNUC_PRINTF(3, 4)
static void print(struct result *result, enum file file, const char *format, ...)
{
	FILE *out = stream(result, file);
	va_list arguments;

	if (!out)
		return;
	va_start(arguments, format);
	if (vfprintf(out, format, arguments) < 0)
		fail_file(result, file);
	va_end(arguments);
}

/* ",FIGURE", or "," where it is absent. */
static void print_figure(struct result *result, enum file file, uint64_t figure)
{
	if (figure == RESULT_ABSENT)
		put(result, file, ",", 1);
	else
		print(result, file, ",%" PRIu64, figure);
}

static void samples_header(struct result *result)
{
	print(result, SAMPLES, "event,time_ns");
	for (unsigned i = 0; i < metrics_count(); i++)
		print(result, SAMPLES, ",%s", metrics_at(i)->name);
	print(result, SAMPLES, "\n");
}

static bool make_aside(struct result *result)
{
	char *parent = g_path_get_dirname(result->folder);

	if (g_mkdir_with_parents(parent, 0777) != 0)
		fail(result, parent, errno);
	g_free(parent);
	/* Left by a process of this number that was killed. */
	remove_run(result->aside);
	if (!result->error && g_mkdir(result->aside, 0777) != 0)
		fail(result, result->aside, errno);
	return !result->error;
}

struct result *result_new(const char *folder, bool replace, GError **error)
{
	struct result *result = g_new0(struct result, 1);
	size_t length = strlen(folder);

	while (length > 1 && folder[length - 1] == '/')
		length--;
	result->folder = g_strndup(folder, length);
	result->aside = g_strdup_printf("%s.partial-%ld", result->folder, (long)getpid());
	result->replace = replace;
	if (may_replace(result, &result->error) && make_aside(result)) {
		samples_header(result);
		for (enum file file = 0; file < FILES; file++)
			if (files[file].always)
				stream(result, file);
	}
	if (!result->error)
		return result;
	g_propagate_error(error, g_steal_pointer(&result->error));
	result_abort(result);
	return NULL;
}

static void close_files(struct result *result)
{
	for (enum file file = 0; file < FILES; file++) {
		FILE *out = g_steal_pointer(&result->files[file]);

		if (out && fclose(out) != 0)
			fail_file(result, file);
	}
}

void result_abort(struct result *result)
{
	if (!result)
		return;
	close_files(result);
	remove_run(result->aside);
	g_clear_error(&result->error);
	g_free(result->folder);
	g_free(result->aside);
	g_free(result);
}

void result_sample(struct result *result, uint64_t event, uint64_t time_ns, const double *metrics)
{
	GString *line;

	if (!result)
		return;
	line = g_string_sized_new(2048);
	g_string_printf(line, "%" PRIu64 ",%" PRIu64, event, time_ns);
	for (unsigned i = 0; i < metrics_count(); i++) {
		char text[METRIC_TEXT_BYTES];

		metrics_format(metrics_at(i), metrics[i], text);
		g_string_append_c(line, ',');
		g_string_append(line, text);
	}
	g_string_append_c(line, '\n');
	put(result, SAMPLES, line->str, line->len);
	g_string_free(line, TRUE);
}

static void recorded_header(struct result *result)
{
	print(result, RECORDED, "snapshot,event,time_ns");
	for (unsigned order = 0; order < LEDGER_ORDERS; order++)
		print(result, RECORDED, ",free_blocks_o%u", order);
	print(result, RECORDED, ",free_frames,mem_free_frames,ledger_free_frames\n");
}

void result_recorded(struct result *result, const struct result_recorded *row)
{
	uint64_t free_frames = 0;

	if (!result)
		return;
	if (!result->files[RECORDED])
		recorded_header(result);
	print(result, RECORDED, "%" PRIu64 ",%" PRIu64 ",%" PRIu64, row->snapshot, row->event,
	      row->time_ns);
	for (unsigned order = 0; order < LEDGER_ORDERS; order++) {
		if (!row->free_blocks) {
			print(result, RECORDED, ",");
			continue;
		}
		print(result, RECORDED, ",%" PRIu64, row->free_blocks[order]);
		free_frames += row->free_blocks[order] << order;
	}
	print_figure(result, RECORDED, row->free_blocks ? free_frames : RESULT_ABSENT);
	print_figure(result, RECORDED, row->mem_free_frames);
	print_figure(result, RECORDED, row->ledger_free_frames);
	print(result, RECORDED, "\n");
}

void result_failure(struct result *result, const struct result_failure *row)
{
	print(result, FAILURES,
	      "%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%s,%s,%u,%u,%" PRIu64 ",%d\n",
	      row->event, row->time_ns, row->frames, row->align_frames,
	      row->zone < EVENT_ZONES ? zone_names[row->zone] : "unknown",
	      row->mobility < EVENT_MOBILITIES ? mobility_names[row->mobility] : "unknown",
	      row->cpu, row->task, row->free_frames, row->largest_free_order);
}

void result_fill(struct result *result, unsigned low_percent, unsigned high_percent,
		 uint64_t requests, uint64_t served)
{
	print(result, FILL, "%u,%u,%" PRIu64 ",%" PRIu64 "\n", low_percent, high_percent, requests,
	      served);
}

void result_events(struct result *result, const struct result_events *row)
{
	const uint64_t counts[] = { row->operations,   row->loads,	 row->stores,
				    row->atomics,      row->cache_lines, row->tlb_lookups,
				    row->tlb_misses,   row->walk_reads,	 row->faults,
				    row->most_accesses };

	print(result, EVENTS, "%s", row->operation);
	print_figure(result, EVENTS, row->order < 0 ? RESULT_ABSENT : (uint64_t)row->order);
	for (unsigned i = 0; i < G_N_ELEMENTS(counts); i++)
		print_figure(result, EVENTS, counts[i]);
	print(result, EVENTS, "\n");
}

void result_latency(struct result *result, const char *operation, unsigned order, unsigned cpu,
		    const struct histogram *histogram)
{
	struct histogram_bucket bucket;
	unsigned cursor = 0;

	while (result && histogram_next(histogram, &cursor, &bucket))
		print(result, LATENCY, "%s,%u,%u,%" PRIu64 ",%" PRIu64 ",%" PRIu64 "\n", operation,
		      order, cpu, bucket.low_ns, bucket.high_ns, bucket.count);
}

/* Six digits after the point, whatever the locale. */
static void print_fraction(struct result *result, enum file file, double value)
{
	char text[G_ASCII_DTOSTR_BUF_SIZE];

	print(result, file, ",%s\n", g_ascii_formatd(text, sizeof(text), "%.6f", value));
}

void result_heap_sample(struct result *result, const struct result_heap_sample *row)
{
	print(result, HEAP,
	      "%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64
	      ",%" PRIu64,
	      row->event, row->time_ns, row->live_objects, row->live_bytes, row->usable_bytes,
	      row->held_frames, row->kept_bytes, row->failures);
	char text[G_ASCII_DTOSTR_BUF_SIZE];
	print(result, HEAP, ",%s,%" PRIu64,
	      g_ascii_formatd(text, sizeof(text), "%.6f", row->internal_percent), row->slots);
	print_fraction(result, HEAP, row->vacant_slots_percent);
}

/* A name in quotes where CSV needs them. */
static void print_name(struct result *result, enum file file, const char *name)
{
	if (!name || !strpbrk(name, ",\"\n\r")) {
		print(result, file, ",%s", name ? name : "");
		return;
	}
	put(result, file, ",\"", 2);
	for (; *name; name++)
		put(result, file, *name == '"' ? "\"\"" : name, *name == '"' ? 2 : 1);
	put(result, file, "\"", 1);
}

void result_heap_site(struct result *result, const struct result_heap_site *row)
{
	print(result, HEAP_SITES, "0x%" PRIx64, row->address);
	print_name(result, HEAP_SITES, row->cache);
	print(result, HEAP_SITES,
	      ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64
	      ",%" PRIu64 ",%" PRIu64,
	      row->allocs, row->frees, row->failures, row->moved_cpu, row->requested_bytes,
	      row->usable_bytes, row->live_objects, row->live_bytes, row->peak_bytes);
	print_fraction(result, HEAP_SITES, row->internal_percent);
}

void result_heap_size(struct result *result, const struct result_heap_size *row)
{
	print(result, HEAP_SIZES, "%u,%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64,
	      row->order, row->allocs, row->failures, row->requested_bytes, row->usable_bytes,
	      row->live_objects);
	print_fraction(result, HEAP_SIZES, row->internal_percent);
}

void result_slow(struct result *result, uint64_t event, const char *operation, unsigned order,
		 unsigned cpu, uint64_t latency_ns)
{
	print(result, SLOW, "%" PRIu64 ",%s,%u,%u,%" PRIu64 "\n", event, operation, order, cpu,
	      latency_ns);
}

void result_json(struct result *result, const char *name, JsonNode *node)
{
	char *path, *text;
	FILE *out;

	if (!result || result->error)
		return;
	g_return_if_fail(is_run_file(name));
	path = g_build_filename(result->aside, name, NULL);
	text = json_to_string(node, TRUE);
	out = g_fopen(path, "wb");
	if (!out || fprintf(out, "%s\n", text) < 0)
		fail(result, path, errno);
	if (out && fclose(out) != 0)
		fail(result, path, errno);
	g_free(text);
	g_free(path);
}

JsonNode *result_latency_json(const struct histogram *histogram)
{
	static const struct {
		const char *name;
		unsigned per_10000;
	} percentiles[] = { { "p50_ns", 5000 },
			    { "p90_ns", 9000 },
			    { "p99_ns", 9900 },
			    { "p999_ns", 9990 },
			    { "p9999_ns", 9999 } };
	JsonObject *object = json_object_new();
	JsonNode *node = json_node_new(JSON_NODE_OBJECT);

	json_object_set_int_member(object, "count", (gint64)histogram->count);
	for (unsigned i = 0; i < G_N_ELEMENTS(percentiles); i++)
		json_object_set_int_member(
			object, percentiles[i].name,
			(gint64)histogram_percentile(histogram, percentiles[i].per_10000));
	json_object_set_int_member(object, "max_ns", (gint64)histogram->max_ns);
	json_object_set_double_member(object, "mean_ns", histogram_mean(histogram));
	json_node_take_object(node, object);
	return node;
}

/* frames.bin: "KMFRAMES", version, cells, frames a cell, frames of RAM, count of what follows. */
#define MAP_VERSION	 1
#define MAP_COUNT_OFFSET 32

static void put_u64(struct result *result, enum file file, uint64_t value)
{
	value = GUINT64_TO_LE(value);
	put(result, file, &value, sizeof(value));
}

void result_map_shape(struct result *result, uint64_t ram_frames, uint64_t cell_frames)
{
	uint32_t words[2];

	if (!result)
		return;
	result->map_cells = (ram_frames + cell_frames - 1) / cell_frames;
	words[0] = GUINT32_TO_LE(MAP_VERSION);
	words[1] = GUINT32_TO_LE((uint32_t)result->map_cells);
	put(result, FRAMES, "KMFRAMES", 8);
	put(result, FRAMES, words, sizeof(words));
	put_u64(result, FRAMES, cell_frames);
	put_u64(result, FRAMES, ram_frames);
	put_u64(result, FRAMES, 0);
}

void result_map(struct result *result, uint64_t event, uint64_t time_ns, const uint8_t *live,
		const uint8_t *reserved)
{
	if (!result)
		return;
	put_u64(result, FRAMES, event);
	put_u64(result, FRAMES, time_ns);
	put(result, FRAMES, live, result->map_cells);
	put(result, FRAMES, reserved, result->map_cells);
	result->map_count++;
}

static void finish_map(struct result *result)
{
	if (fseek(result->files[FRAMES], MAP_COUNT_OFFSET, SEEK_SET) != 0)
		fail_file(result, FRAMES);
	put_u64(result, FRAMES, result->map_count);
}

/* Puts the folder in its place; an older run there steps aside until that is done. */
static void put_in_place(struct result *result)
{
	char *old = g_strdup_printf("%s.old-%ld", result->folder, (long)getpid());
	int error_number = 0;

	if (g_rename(result->aside, result->folder) != 0)
		error_number = errno;
	if (result->replace && (error_number == ENOTEMPTY || error_number == EEXIST) &&
	    g_rename(result->folder, old) == 0) {
		error_number = g_rename(result->aside, result->folder) == 0 ? 0 : errno;
		if (error_number)
			(void)g_rename(old, result->folder);
		else
			remove_run(old);
	}
	if (error_number)
		fail(result, result->folder, error_number);
	g_free(old);
}

bool result_commit(struct result *result, GError **error)
{
	bool done;

	if (!result)
		return true;
	if (result->files[FRAMES] && !result->error)
		finish_map(result);
	close_files(result);
	if (!result->error && may_replace(result, &result->error))
		put_in_place(result);
	done = !result->error;
	if (!done)
		g_propagate_error(error, g_steal_pointer(&result->error));
	result_abort(result);
	return done;
}
