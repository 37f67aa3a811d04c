/*
 * Goals 8 and 9: importing a recording against what people have today (`trace-cmd report`, a
 * regular expression in Python), the size of a trace, and decoding it against zstd alone on the
 * same blocks with a 16-byte store an event.
 *
 * The recording is redis-page of $KMEMLAB_TRACES, or of ../shared/data/traces, or the excerpt in
 * tests/data/import; where none of these is found, a text of the same form is made up. Recordings
 * differ in size, so figures are per line. Programs that are not installed are left out.
 */
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>
#include <zstd.h>

#include "sim/bench/bench.h"
#include "workloads/import/import.h"
#include "workloads/import/source.h"
#include "workloads/trace.h"
#include "workloads/trace_format.h"

#define BUFFER_BYTES   ((size_t)1 << 18)
#define MADE_UP_LINES  100000u
#define BYTES_AN_EVENT 4.0
/* Smaller runs only show that the benchmark works. */
#define SCALE_OF_PEERS 100u

struct traces {
	char *folder; /* temporary: text, traces, the yardsticks' blocks */
	char *text;   /* a recording as plain text */
	char *dat;    /* the same as trace.dat, NULL if there is none */
	char *kmt;
	uint64_t lines, events;
	const char *input; /* what the next import reads */
	GByteArray *file;  /* the trace */
	struct event *sink;
};

static const struct {
	const char *folder, *text, *dat;
} sources[] = {
	{ "redis-page", "report.txt.zst", "trace.dat" },
	{ "../shared/data/traces/redis-page", "report.txt.zst", "trace.dat" },
	{ "tests/data/import", "compile.report.txt.gz", "compile.dat" },
};

/* CPU time of this process, its threads and its finished children, ns. */
static uint64_t family_cpu_ns(void)
{
	uint64_t micros = 0;

	for (int who = RUSAGE_CHILDREN; who <= RUSAGE_SELF; who++) {
		struct rusage usage;
		getrusage((__rusage_who_t)who, &usage);
		micros += (uint64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000 +
			  (uint64_t)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
	}
	return micros * 1000;
}

/* ---- the contestants ---- */

static uint64_t import_run(void *context)
{
	struct traces *traces = context;
	struct import_options options = { .format = NULL };
	uint64_t begin = family_cpu_ns();
	GError *error = NULL;

	if (!import_file(traces->input, traces->kmt, &options, &error))
		g_error("lab error: bench: %s", error->message);
	return family_cpu_ns() - begin;
}

static uint64_t spawn(const char *const *argv)
{
	uint64_t begin = family_cpu_ns();
	GError *error = NULL;

	if (!g_spawn_sync(NULL, (char **)(uintptr_t)argv, NULL,
			  G_SPAWN_SEARCH_PATH | G_SPAWN_STDOUT_TO_DEV_NULL |
				  G_SPAWN_STDERR_TO_DEV_NULL,
			  NULL, NULL, NULL, NULL, NULL, &error))
		g_error("lab error: bench: %s", error->message);
	return family_cpu_ns() - begin;
}

static uint64_t trace_cmd_run(void *context)
{
	const struct traces *traces = context;
	return spawn((const char *[]){ "trace-cmd", "report", "-i", traces->dat, NULL });
}

static uint64_t python_run(void *context)
{
	static const char program[] = "import re,sys\n"
				      "line=re.compile(r'^\\s*(.+)-(\\d+)\\s+\\[(\\d+)\\]\\s+([\\d."
				      "]+):\\s+(\\w+):\\s*(.*)$')\n"
				      "field=re.compile(r'(\\w+)=(\\S+)')\n"
				      "for text in open(sys.argv[1]):\n"
				      "    found=line.match(text)\n"
				      "    if found: dict(field.findall(found.group(6)))\n";
	const struct traces *traces = context;
	return spawn((const char *[]){ "python3", "-c", program, traces->text, NULL });
}

static uint64_t decode_run(void *context)
{
	const struct traces *traces = context;
	struct trace_reader *reader = trace_reader_open(traces->kmt, NULL);
	const struct event *events;
	uint64_t begin = bench_cpu_ns();

	while (trace_reader_next_block(reader, &events, NULL) > 0)
		;
	uint64_t ns = bench_cpu_ns() - begin;
	trace_reader_free(reader);
	return ns;
}

/* The blocks of events, decompressed one after the other, and 16 bytes written for each event. */
static uint64_t zstd_run(void *context)
{
	struct traces *traces = context;
	ZSTD_DCtx *zstd = ZSTD_createDCtx();
	uint8_t *raw = g_malloc(TRACE_RAW_LIMIT);
	volatile uint64_t *store = (uint64_t *)(void *)traces->sink;
	uint64_t begin = bench_cpu_ns();
	struct trace_block block;

	for (uint64_t at = TRACE_HEADER_BYTES;
	     at + TRACE_BLOCK_BYTES <= traces->file->len - TRACE_TRAILER_BYTES;
	     at += TRACE_BLOCK_BYTES + block.stored_bytes) {
		if (trace_block_unpack(traces->file->data + at, &block))
			g_error("lab error: bench: a block cannot be read");
		if (block.type != TRACE_BLOCK_EVENTS_TYPE)
			continue;
		ZSTD_decompressDCtx(zstd, raw, TRACE_RAW_LIMIT,
				    traces->file->data + at + TRACE_BLOCK_BYTES,
				    block.stored_bytes);
		for (uint32_t i = 0; i < block.count; i++) {
			store[2 * i] = i;
			store[2 * i + 1] = raw[0];
		}
	}
	uint64_t ns = bench_cpu_ns() - begin;
	g_free(raw);
	ZSTD_freeDCtx(zstd);
	return ns;
}

/* ---- the load ---- */

/* Writes the first lines of a recording, decompressed; counts them. */
static bool unpack(struct traces *traces, const char *path, uint64_t most, GError **error)
{
	struct import_source *source = import_source_open(path, traces->folder, error);
	g_autofree char *buffer = g_malloc(BUFFER_BYTES);
	FILE *out = source ? fopen(traces->text, "w") : NULL;
	ssize_t got = 0;

	while (out && traces->lines < most &&
	       (got = import_source_read(source, buffer, BUFFER_BYTES, error)) > 0) {
		const char *at = buffer, *end = buffer + got;
		while (at < end && traces->lines < most) {
			const char *newline = memchr(at, '\n', (size_t)(end - at));
			traces->lines += newline != NULL;
			at = newline ? newline + 1 : end;
		}
		fwrite(buffer, 1, (size_t)(at - buffer), out);
	}
	import_source_free(source);
	return out && fclose(out) == 0 && got >= 0;
}

static bool make_up(struct traces *traces, uint64_t lines)
{
	FILE *out = fopen(traces->text, "w");

	for (uint64_t i = 0; out && i < lines; i++)
		fprintf(out,
			"            bash-%u     [%03u]  %5u.%06u: mm_page_%s "
			"page=0xfffff6fdc0%06x "
			"pfn=0x%x order=0%s\n",
			(unsigned)(100 + i / 2 % 7), (unsigned)(i / 2 % 2), (unsigned)(i / 1000000),
			(unsigned)(i % 1000000),
			i % 2 ? "free:        " : "alloc:       ", (unsigned)(i / 2 % 5000 * 64),
			(unsigned)(0x1000 + i / 2 % 5000),
			i % 2 ? "" : " migratetype=1 gfp_flags=GFP_HIGHUSER_MOVABLE|__GFP_ZERO");
	traces->lines = lines;
	return out && fclose(out) == 0;
}

static bool find_load(struct traces *traces, uint64_t scale, GError **error)
{
	for (size_t i = 0; i < G_N_ELEMENTS(sources); i++) {
		const char *root = i == 0 ? g_getenv("KMEMLAB_TRACES") : ".";
		g_autofree char *text = g_build_filename(root ? root : "/nonexistent",
							 sources[i].folder, sources[i].text, NULL);
		g_autofree char *dat = g_build_filename(root ? root : "/nonexistent",
							sources[i].folder, sources[i].dat, NULL);
		if (!g_file_test(text, G_FILE_TEST_EXISTS))
			continue;
		if (g_file_test(dat, G_FILE_TEST_EXISTS))
			traces->dat = g_steal_pointer(&dat);
		return unpack(traces, text,
			      scale >= SCALE_OF_PEERS ? UINT64_MAX : MADE_UP_LINES / 100 * scale,
			      error);
	}
	return make_up(traces, MADE_UP_LINES / 100 * scale);
}

static bool load_trace(struct traces *traces, GError **error)
{
	struct trace_reader *reader = trace_reader_open(traces->kmt, error);
	char *content;
	gsize bytes;

	if (!reader)
		return false;
	traces->events = trace_reader_meta(reader)->events;
	trace_reader_free(reader);
	if (!g_file_get_contents(traces->kmt, &content, &bytes, error))
		return false;
	traces->file = g_byte_array_new_take((guint8 *)content, bytes);
	traces->sink = g_new(struct event, TRACE_BLOCK_EVENTS);
	return true;
}

static void traces_clear(struct traces *traces)
{
	unlink(traces->text);
	unlink(traces->kmt);
	rmdir(traces->folder);
	g_free(traces->folder);
	g_free(traces->text);
	g_free(traces->dat);
	g_free(traces->kmt);
	g_free(traces->sink);
	if (traces->file)
		g_byte_array_unref(traces->file);
}

/* ---- the figures ---- */

static void add_import(struct traces *traces, GArray *figures, const char *name, const char *input,
		       const char *peer, uint64_t (*run)(void *context), double times)
{
	struct bench_runner import = { import_run, traces, traces->lines };
	struct bench_runner other = { run, traces, traces->lines };

	traces->input = input;
	bench_compare(figures, name, "ns/line", &import, peer, &other, 1 / times);
}

static void add_imports(struct traces *traces, const struct bench_options *options, GArray *figures)
{
	bool peers = options->scale >= SCALE_OF_PEERS;
	g_autofree char *trace_cmd = peers ? g_find_program_in_path("trace-cmd") : NULL;
	g_autofree char *python = peers ? g_find_program_in_path("python3") : NULL;

	if (trace_cmd && traces->dat) {
		add_import(traces, figures, "traces/import-dat", traces->dat, "trace-cmd report",
			   trace_cmd_run, 12);
		add_import(traces, figures, "traces/import-text", traces->text, "trace-cmd report",
			   trace_cmd_run, 15);
	}
	if (python)
		add_import(traces, figures, "traces/import-text-python", traces->text,
			   "regular expressions in Python", python_run, 25);
	/* Leaves the text's trace behind in any case. */
	traces->input = traces->text;
	import_run(traces);
}

bool bench_traces(const struct bench_options *options, GArray *figures, GError **error)
{
	struct traces traces = { .folder = g_dir_make_tmp("kmemlab-bench-XXXXXX", error) };

	if (!traces.folder)
		return false;
	traces.text = g_build_filename(traces.folder, "report.txt", NULL);
	traces.kmt = g_build_filename(traces.folder, "bench.kmt", NULL);
	bool fine = find_load(&traces, MAX(options->scale, 1), error);
	if (fine) {
		add_imports(&traces, options, figures);
		fine = load_trace(&traces, error);
	}
	if (fine) {
		struct bench_runner decode = { decode_run, &traces, traces.events };
		struct bench_runner zstd = { zstd_run, &traces, traces.events };
		double bytes = (double)traces.file->len / (double)traces.events;
		struct bench_figure size = { .name = g_strdup("traces/size"),
					     .value = bytes,
					     .unit = "bytes/event",
					     .yardstick = "what performance.md allows",
					     .yardstick_value = BYTES_AN_EVENT,
					     .ratio = bytes / BYTES_AN_EVENT,
					     .goal = 1 };
		g_array_append_val(figures, size);
		bench_compare(figures, "traces/decode", "ns/event", &decode,
			      "zstd and a 16-byte store", &zstd, 1.5);
	}
	traces_clear(&traces);
	return fine;
}
