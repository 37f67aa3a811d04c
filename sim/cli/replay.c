#include "sim/cli/cli.h"

#include <stdio.h>
#include <string.h>

#include "sim/lab.h"
#include "sim/run_text.h"
#include "sim/size.h"
#include "sim/threads.h"
#include "sim/watchdog.h"

#define UNSET (-1.0) /* --time-limit */

struct options {
	char *frames, *heap, *tables, *space, *machine, *ram, *start, *place, *pass, *output, *name,
		*host_memory, *guard;
	char **settings;
	gint cpus, threads;
	gint64 seed, until, check_events, sample_events, sample_ns, fail_frames;
	gdouble seconds;
	gboolean json, force, quiet;
};

static bool parse_size(const char *option, const char *text, uint64_t *bytes)
{
	if (!text || size_parse(text, bytes))
		return true;
	cli_usage("%s: '%s' is no size (a number with K, M, G or T)", option, text);
	return false;
}

static bool parse_pass(const char *text, bool pass[PASSES])
{
	bool both = !text || strcmp(text, "both") == 0;

	for (unsigned i = 0; i < PASSES; i++)
		pass[i] = both || strcmp(text, kernels[i].name) == 0;
	if (pass[PASS_NATIVE] || pass[PASS_PROBED])
		return true;
	cli_usage("--pass: '%s' is not native, probed or both", text);
	return false;
}

static bool parse_place(const char *text, bool *recorded)
{
	*recorded = text && strcmp(text, "recorded") == 0;
	if (!text || *recorded || strcmp(text, "free") == 0)
		return true;
	cli_usage("--place: '%s' is not free or recorded", text);
	return false;
}

/* What makes no sense with --threads; NULL: all is well. */
static const char *threads_problem(const struct options *options)
{
	if (options->threads < 0 || options->threads > THREADS_MAX)
		return "1 to " G_STRINGIFY(THREADS_MAX);
	if (options->threads == 0)
		return NULL;
	if (options->pass && strcmp(options->pass, "native") != 0)
		return "host threads run the native pass only";
	if (options->heap)
		return "page frames only, no --heap";
	if (options->place || options->check_events || options->sample_events || options->sample_ns)
		return "no --place, --check-events or --sample-*: there is no state at an event";
	return options->output ? "no --output: a run's files are the same twice, this is not"
			       : NULL;
}

/* --time-limit, or what is usual. */
static unsigned limit_of(const struct options *options)
{
	if (options->seconds != UNSET)
		return (unsigned)(options->seconds * 1000);
	return options->threads ? THREADS_LIMIT_MS : WATCHDOG_DEFAULT_MS;
}

static int replay(const struct options *options, const char *trace, const char *command)
{
	struct run_config config = {
		.trace_path = trace,
		.frames = options->frames,
		.heap = options->heap,
		.tables = options->tables ? options->tables : "direct",
		.space = options->space,
		.settings = options->settings,
		.machine = options->machine ? options->machine : "recorded",
		.ram = options->ram,
		.cpus = (unsigned)options->cpus,
		.seed = (uint64_t)options->seed,
		.until = options->until < 0 ? REPLAY_ALL : (uint64_t)options->until,
		.check_events = (uint64_t)options->check_events,
		.fail_frames = (uint64_t)options->fail_frames,
		.limit_ms = limit_of(options),
		.threads = (unsigned)options->threads,
		.sample_events = (uint64_t)options->sample_events,
		.sample_ns = (uint64_t)options->sample_ns,
		.output = options->output,
		.name = options->name,
		.replace = options->force,
		.command = command,
	};
	struct run_result result = { 0 };
	GError *error = NULL;

	if (!parse_pass(options->threads ? "native" : options->pass, config.pass) ||
	    !parse_place(options->place, &config.place_recorded) ||
	    !parse_size("--host-memory", options->host_memory, &config.host_memory_bytes))
		return CLI_USAGE;
	if ((options->guard || options->fail_frames) && !options->heap)
		return cli_usage("--guard and --fail-frames are for heaps (--heap)");
	if (options->guard && !heap_guard_parse(options->guard, &config.guard, &error))
		return cli_fail(error);
	if (!run_parse_start(options->start ? options->start : "ascending", &config.start, &error))
		return cli_fail(error);
	char *label = run_label(options->frames, "frames", options->settings);
	char *heap_label = run_label(options->heap ? options->heap : "", "heap", options->settings);
	config.label = label;
	config.heap_label = heap_label;
	int code = CLI_OK;
	if (!run_cell(&config, &result, &error)) {
		code = cli_fail(error);
	} else {
		if (config.pass[PASS_PROBED] && !result.done[PASS_PROBED])
			g_printerr("kmemlab: %s has no probed half: native pass only\n",
				   result.without_probed);
		if (options->json)
			cli_print_json(run_summary(&config, &result));
		else if (!options->quiet) {
			char *text = run_text(&config, &result);
			fputs(text, stdout);
			g_free(text);
		}
		code = result.violations || result.digests_differ ? CLI_CHECK_FAILED : CLI_OK;
	}
	run_result_clear(&result);
	g_free(label);
	g_free(heap_label);
	return code;
}

int cli_replay(const struct cli_command *command, int argc, char **argv)
{
	struct options options = { .until = -1, .seconds = UNSET };
	const GOptionEntry entries[] = {
		{ "frames", 'f', 0, G_OPTION_ARG_STRING, &options.frames,
		  "Page-frame allocator (kmemlab list frames), or a plugin's file",
		  "NAME|PLUGIN.so" },
		{ "heap", 0, 0, G_OPTION_ARG_STRING, &options.heap,
		  "Replay the trace's heap events against that heap (kmemlab list heaps), or a "
		  "plugin's file",
		  "NAME|PLUGIN.so" },
		{ "guard", 0, 0, G_OPTION_ARG_STRING, &options.guard,
		  "With --heap: redzone, poison, access, misuse, or all: what is planted around "
		  "objects and must be found as it was",
		  "LIST" },
		{ "fail-frames", 0, 0, G_OPTION_ARG_INT64, &options.fail_frames,
		  "With --heap: its N-th request for frames is refused", "N" },
		{ "tables", 0, 0, G_OPTION_ARG_STRING, &options.tables,
		  "How the kernel reaches page tables (kmemlab list tables); default: direct",
		  "NAME" },
		{ "space", 0, 0, G_OPTION_ARG_STRING, &options.space,
		  "Replay processes and touches too, with these address spaces (kmemlab list "
		  "spaces); default: none",
		  "NAME" },
		{ "set", 's', 0, G_OPTION_ARG_STRING_ARRAY, &options.settings,
		  "A setting: frames.KEY, heap.KEY, tables.KEY, space.KEY, machine.KEY; may be "
		  "repeated",
		  "SLOT.KEY=VALUE" },
		{ "machine", 'm', 0, G_OPTION_ARG_STRING, &options.machine,
		  "recorded (default), a preset, a memory map or a machine file", "NAME|FILE" },
		{ "ram", 0, 0, G_OPTION_ARG_STRING, &options.ram,
		  "Usable RAM: a size (K, M, G, T) or a multiple of the machine's own (2x)",
		  "SIZE" },
		{ "cpus", 0, 0, G_OPTION_ARG_INT, &options.cpus,
		  "CPUs; default: as many as the trace names", "N" },
		{ "threads", 0, 0, G_OPTION_ARG_INT, &options.threads,
		  "The CPUs on N host threads, in no fixed order: stress and throughput, native "
		  "pass",
		  "N" },
		{ "seed", 0, 0, G_OPTION_ARG_INT64, &options.seed,
		  "Seed of whatever is random; 0 (default) also keeps the order of simultaneous "
		  "events",
		  "N" },
		{ "start", 0, 0, G_OPTION_ARG_STRING, &options.start,
		  "Start state: ascending (default), recorded, shuffled, or a fixture (kmemlab "
		  "list "
		  "starts)",
		  "MODE|FIXTURE" },
		{ "place", 0, 0, G_OPTION_ARG_STRING, &options.place,
		  "free (default), or recorded: ask for the recorded frames, where the allocator "
		  "can",
		  "HOW" },
		{ "until", 0, 0, G_OPTION_ARG_INT64, &options.until, "Stop after that event",
		  "EVENT" },
		{ "host-memory", 0, 0, G_OPTION_ARG_STRING, &options.host_memory,
		  "Most host memory that a system writing every free frame may use", "SIZE" },
		{ "pass", 0, 0, G_OPTION_ARG_STRING, &options.pass,
		  "native, probed or both (default)", "PASS" },
		{ "time-limit", 0, 0, G_OPTION_ARG_DOUBLE, &options.seconds,
		  "CPU time after which one operation counts as hanging (default 60; with "
		  "--threads "
		  "2)",
		  "SECONDS" },
		{ "check-events", 0, 0, G_OPTION_ARG_INT64, &options.check_events,
		  "Check all invariants every N events (default: at the ends)", "N" },
		{ "sample-events", 0, 0, G_OPTION_ARG_INT64, &options.sample_events,
		  "A sample of all metrics every N events (default: 500 in all)", "N" },
		{ "sample-ns", 0, 0, G_OPTION_ARG_INT64, &options.sample_ns,
		  "And one every T ns of trace time", "T" },
		{ "output", 'o', 0, G_OPTION_ARG_FILENAME, &options.output,
		  "Write the run's files to this folder (results/README.md)", "DIR" },
		{ "force", 0, 0, G_OPTION_ARG_NONE, &options.force,
		  "Replace the folder if it is there", NULL },
		{ "name", 0, 0, G_OPTION_ARG_STRING, &options.name, "What run.json calls this run",
		  "EXPERIMENT/RUN" },
		{ "json", 0, 0, G_OPTION_ARG_NONE, &options.json, "Print the result as JSON",
		  NULL },
		{ "quiet", 'q', 0, G_OPTION_ARG_NONE, &options.quiet, "Print nothing", NULL },
		{ NULL },
	};
	char **rest, *typed = run_command(argv);
	int code = cli_parse(command, entries, 1, argc, argv, &rest);

	if (code == CLI_OK && !options.frames)
		code = cli_usage("replay needs --frames NAME (kmemlab list frames)");
	else if (code == CLI_OK && (options.cpus < 0 || options.cpus > RECORDER_CPUS_MAX))
		code = cli_usage("--cpus: 1 to %d", RECORDER_CPUS_MAX);
	else if (code == CLI_OK && (options.check_events < 0 || options.sample_events < 0 ||
				    options.sample_ns < 0 || options.fail_frames < 0))
		code = cli_usage("counts of events and times cannot be negative");
	else if (code == CLI_OK && options.seconds != UNSET &&
		 !(options.seconds >= 0.01 && options.seconds <= 86400))
		code = cli_usage("--time-limit: 0.01 to 86400 seconds");
	else if (code == CLI_OK && threads_problem(&options))
		code = cli_usage("--threads: %s", threads_problem(&options));
	else if (code == CLI_OK)
		code = replay(&options, rest[0], typed);
	g_strfreev(rest);
	g_free(typed);
	g_free(options.frames);
	g_free(options.heap);
	g_free(options.tables);
	g_free(options.space);
	g_free(options.machine);
	g_free(options.ram);
	g_free(options.start);
	g_free(options.place);
	g_free(options.pass);
	g_free(options.output);
	g_free(options.name);
	g_free(options.host_memory);
	g_free(options.guard);
	g_strfreev(options.settings);
	return code;
}
