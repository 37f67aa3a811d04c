#include "workloads/import/import.h"

#include <string.h>
#include "workloads/import/ground_truth.h"
#include "workloads/import/owners.h"
#include "workloads/import/source.h"
#include "workloads/import/version.h"
#include "workloads/memory_map.h"
#include "workloads/trace.h"

/* A machine whose memory map nobody recorded ends at a multiple of this. */
#define GUESSED_RAM_STEP (UINT64_C(32) << 20)
#define FRAME_BYTES	 UINT64_C(4096)

static const struct importer table[] = {
	{ "ftrace", "ftrace text: `cat trace` or `trace-cmd report`", ftrace_text_detect,
	  ftrace_text_run },
	{ "perf-script", "`perf script` of tracepoints, best with --ns and -k CLOCK_MONOTONIC",
	  perf_script_detect, perf_script_run },
	{ "perf-json", "`perf data convert --to-json` of tracepoints, perf 6.2 and later",
	  perf_json_detect, perf_json_run },
	{ "ctf", "a folder in the Common Trace Format: LTTng, `perf data convert --to-ctf`",
	  ctf_detect, ctf_run },
	{ "trace-dat", "trace-cmd's binary trace.dat, versions 6 and 7", trace_dat_detect,
	  trace_dat_run },
	{ "tracefs", "a folder with the raw pages of tracefs, as `kmemlab record` collects",
	  tracefs_raw_detect, tracefs_raw_run },
	{ "lackey", "valgrind --tool=lackey --trace-mem=yes", lackey_detect, lackey_run },
	{ "mtrace", "the heap's log of glibc's mtrace()", mtrace_detect, mtrace_run },
	{ "rep", "CS:APP's heap traces (.rep)", rep_detect, rep_run },
	{ "csv", "comma-separated events of any kernel, columns by name (FORMAT.md)", csv_detect,
	  csv_run },
	{ "recorder", "what kmemlab_record.h of your own kernel wrote to a port", recorder_detect,
	  recorder_run },
	{ NULL, NULL, NULL, NULL },
};

const struct importer *importers(void)
{
	return table;
}

bool import_malformed(struct import_job *job, const char *place, GError *problem, GError **error)
{
	if (!g_error_matches(problem, TRACE_ERROR, TRACE_ERROR_FORMAT)) {
		g_propagate_error(error, problem);
		return false;
	}
	if (job->lenient) {
		job->malformed++;
		g_error_free(problem);
		return true;
	}
	g_propagate_prefixed_error(error, problem,
				   "trace error: %s%s: ", import_source_path(job->source), place);
	return false;
}

/* ---- which importer ---- */

static bool unknown_format(const char *what, const char *name, GError **error)
{
	g_autoptr(GString) known = g_string_new(NULL);

	for (const struct importer *row = table; row->name; row++)
		g_string_append_printf(known, "%s%s", known->len ? ", " : "", row->name);
	g_set_error(error, TRACE_ERROR, TRACE_ERROR_USAGE, "%s '%s' (known: %s)", what, name,
		    known->str);
	return false;
}

static const struct importer *choose(const struct import_source *source, const char *format,
				     GError **error)
{
	const char *path = import_source_path(source);
	size_t bytes;
	const unsigned char *head = import_source_head(source, &bytes);
	bool any = !format || strcmp(format, "auto") == 0;

	for (const struct importer *row = table; row->name; row++)
		if (any ? row->detect(head, bytes, path) : strcmp(row->name, format) == 0)
			return row;
	if (any && import_source_is_folder(source))
		trace_error_set(error, TRACE_ERROR_IO,
				"cannot read %s: it is a folder, and holds no recording", path);
	else if (any)
		trace_error_set(error, TRACE_ERROR_FORMAT,
				"%s:1: the content is of no format that can be imported%s", path,
				bytes == 0 ? ": it is empty" : "");
	else
		unknown_format("unknown trace format", format, error);
	return NULL;
}

/* ---- the ground truth ---- */

/* What lies beside the input, or in it if it is a folder; NULL if nothing does. */
static char *state_beside(const char *input)
{
	static const char *const names[] = { "ground-truth", "ground-truth.tar.zst",
					     "ground-truth.tar" };
	g_autofree char *folder = g_file_test(input, G_FILE_TEST_IS_DIR)
					  ? g_strdup(input)
					  : g_path_get_dirname(input);

	for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
		char *path = g_build_filename(folder, names[i], NULL);
		if (g_file_test(path, G_FILE_TEST_EXISTS))
			return path;
		g_free(path);
	}
	return NULL;
}

static bool load_truth(const char *input, const struct import_options *options,
		       struct ground_truth **truth, GError **error)
{
	g_autofree char *path = options->state ? g_strdup(options->state) : state_beside(input);

	*truth = path ? ground_truth_load(path, error) : NULL;
	return !path || *truth;
}

static bool load_memmap(const struct import_options *options, struct trace_meta *meta,
			GError **error)
{
	if (!options->memmap)
		return true;
	GArray *map = memory_map_load(options->memmap, error);
	if (!map)
		return false;
	g_array_unref(meta->memory_map);
	meta->memory_map = map;
	meta->machine_recorded = true;
	return true;
}

static void guess_machine(const struct owners *owners, struct trace_meta *meta)
{
	uint64_t end = owners_frame_end(owners) * FRAME_BYTES;
	struct memory_range range = { .type = MEMORY_USABLE };

	if (meta->machine_recorded)
		return;
	range.bytes = (end + GUESSED_RAM_STEP - 1) / GUESSED_RAM_STEP * GUESSED_RAM_STEP;
	if (range.bytes > 0)
		g_array_append_val(meta->memory_map, range);
}

/* ---- the second pass ---- */

struct output {
	struct owners *owners;
	struct ground_truth *truth; /* NULL without */
	struct trace_writer *writer;
	GArray *strings; /* uint32_t: the writer's id by the owners' */
	bool by_clock;	 /* snapshots are placed by their time */
	uint64_t clock;	 /* what the recorder's clock said at time 0 */
	guint snapshots; /* of the truth, placed so far by their time */
};

static uint32_t string_of(struct output *output, uint32_t id)
{
	if (id >= output->strings->len)
		g_array_set_size(output->strings, id + 1);
	uint32_t *ours = &g_array_index(output->strings, uint32_t, id);
	if (*ours == 0)
		*ours = trace_writer_string(output->writer, owners_text(output->owners, id));
	return *ours;
}

/* The snapshot that a marker announces goes with it. */
static uint32_t attach(struct output *output, const struct event *event, const char *text)
{
	g_autofree char *name = NULL;
	GBytes *bytes = ground_truth_announced(output->truth, text, &name);

	return bytes ? trace_writer_attach(output->writer, name, event->time_ns,
					   trace_writer_next(output->writer), bytes)
		     : 0;
}

/* Markers for the snapshots taken until NOW by the recorder's clock. */
static bool place_snapshots(struct output *output, uint64_t now, GError **error)
{
	const struct ground_truth_snapshot *snapshot;

	while ((snapshot = ground_truth_snapshot(output->truth, output->snapshots)) != NULL &&
	       snapshot->clock_ns <= now) {
		struct event event = { .kind = EVENT_MARKER, .flags = EVENT_INFERRED };
		g_autofree char *text = g_strdup_printf("SNAP %s begin", snapshot->name);

		event.cpu = UINT16_MAX;
		event.time_ns = MAX(snapshot->clock_ns, output->clock) - output->clock;
		event.u.marker.text = trace_writer_string(output->writer, text);
		event.u.marker.attachment = attach(output, &event, text);
		ground_truth_observe(output->truth, &event, text,
				     owners_held_frames(output->owners));
		if (!trace_writer_add(output->writer, &event, error))
			return false;
		output->snapshots++;
	}
	return true;
}

static void complete(struct output *output, struct event *event)
{
	const char *text = NULL;

	if (event->kind == EVENT_MARKER)
		text = owners_text(output->owners, event->u.marker.text);
	if (output->truth) {
		ground_truth_observe(output->truth, event, text,
				     owners_held_frames(output->owners));
		if (text)
			event->u.marker.attachment = attach(output, event, text);
	}
	switch (event->kind) {
	case EVENT_MARKER:
		event->u.marker.text = string_of(output, event->u.marker.text);
		break;
	case EVENT_NOTE:
		event->u.note.name = string_of(output, event->u.note.name);
		break;
	case EVENT_FORK:
	case EVENT_EXEC:
	case EVENT_EXIT:
		event->u.process.name = string_of(output, event->u.process.name);
		break;
	case EVENT_HEAP_ALLOC:
	case EVENT_HEAP_REALLOC:
	case EVENT_HEAP_ALLOC_FAILED:
	case EVENT_HEAP_FREE:
		event->u.heap.cache = string_of(output, event->u.heap.cache);
		if (owners_site_is_name(event->u.heap.site))
			event->u.heap.site = string_of(output, (uint32_t)event->u.heap.site);
		break;
	default:
		break;
	}
}

static void name_task(uint32_t pid, const char *name, void *writer)
{
	trace_writer_task(writer, pid, name);
}

static bool write_story(struct output *output, GError **error)
{
	struct event event;
	int got;

	for (uint64_t i = 0; i < owners_start_count(output->owners); i++) {
		owners_start(output->owners, i, &event);
		if (!trace_writer_add_start(output->writer, &event, error))
			return false;
	}
	while ((got = owners_read(output->owners, &event, error)) > 0) {
		if (output->by_clock &&
		    !place_snapshots(output, output->clock + event.time_ns, error))
			return false;
		complete(output, &event);
		if (!trace_writer_add(output->writer, &event, error))
			return false;
	}
	/* Snapshots that are all later than the events were timed by another clock. */
	if (got < 0 || (output->snapshots > 0 && !place_snapshots(output, UINT64_MAX, error)))
		return false;
	owners_each_task(output->owners, name_task, output->writer);
	return true;
}

/* ---- the whole ---- */

static void name_origin(struct trace_meta *meta, const char *input, const struct importer *importer)
{
	g_autofree char *base = g_path_get_basename(input);

	meta->source = g_utf8_make_valid(base, -1);
	meta->format = g_strdup(importer->name);
	meta->program = g_strdup("kmemlab " KMEMLAB_VERSION);
}

static bool write_trace(struct import_job *job, struct ground_truth *truth, const char *output_kmt,
			struct trace_meta *meta, GError **error)
{
	struct output output = {
		.owners = job->owners,
		.truth = truth,
		.by_clock = truth && job->snapshots_by_clock,
		.clock = owners_first_ns(job->owners),
	};

	if (!owners_seal(job->owners, error))
		return false;
	output.writer = trace_writer_new(output_kmt, error);
	if (!output.writer)
		return false;
	output.strings = g_array_new(FALSE, TRUE, sizeof(uint32_t));
	bool written = write_story(&output, error) &&
		       (!truth || ground_truth_fill(truth, job->owners, meta, error));
	g_array_unref(output.strings);
	if (written)
		meta->source_xxh128 = import_source_xxh128(job->source, error);
	if (!meta->source_xxh128) {
		trace_writer_abort(output.writer);
		return false;
	}
	guess_machine(job->owners, meta);
	owners_counts(job->owners, meta);
	return trace_writer_finish(output.writer, meta, error);
}

/* What the trace lacks, to the user. */
static void report_gaps(const struct import_job *job, const char *input)
{
	uint64_t lost = owners_lost_events(job->owners);

	if (job->malformed > 0)
		g_message("%s: %" G_GUINT64_FORMAT " malformed lines or records skipped", input,
			  job->malformed);
	if (lost > 0)
		g_message("%s: the recorder lost %" G_GUINT64_FORMAT " events or more", input,
			  lost);
}

static bool run(struct import_job *job, const char *input, const char *output_kmt,
		const struct import_options *options, GError **error)
{
	const struct importer *importer = choose(job->source, options->format, error);
	struct ground_truth *truth = NULL;
	bool done = false;

	if (!importer)
		return false;
	struct trace_meta *meta = trace_meta_new();
	name_origin(meta, input, importer);
	if (load_memmap(options, meta, error) && load_truth(input, options, &truth, error) &&
	    importer->run(job, error)) {
		done = write_trace(job, truth, output_kmt, meta, error);
	}
	if (done)
		report_gaps(job, input);
	ground_truth_free(truth);
	trace_meta_free(meta);
	return done;
}

bool import_file(const char *input, const char *output_kmt, const struct import_options *options,
		 GError **error)
{
	g_autofree char *folder = g_path_get_dirname(output_kmt);
	struct import_job job = { .lenient = options->lenient };
	bool done = false;

	job.source = import_source_open(input, folder, error);
	if (job.source)
		job.owners = owners_new(folder, error);
	if (job.owners)
		done = run(&job, input, output_kmt, options, error);
	owners_free(job.owners);
	import_source_free(job.source);
	return done;
}
