#include "sim/cli/cli.h"

#include <stdio.h>
#include <string.h>

#include "sim/check.h"
#include "sim/check_space.h"
#include "sim/check_heap.h"
#include "sim/explore.h"
#include "sim/explore_scenario.h"
#include "sim/lab.h"
#include "sim/run.h"

struct options {
	char *frames, *heap, *tables, *space, *mode, *output;
	char **settings;
	gint64 seed, operations, schedules;
	gint preemptions;
	gdouble seconds;
	gboolean explore;
};

/* WHAT its lines are. */
static void print_failure(const struct check_report *report, const char *what)
{
	guint shown = report->lines ? MIN(report->lines->len, CHECK_TEXT_OPS_MAX) : 0;

	printf("  %s\n  on %s\n", report->message, report->where);
	if (!report->lines)
		return;
	printf("  %u %s, shrunk from %u in %u trials:\n", report->lines->len, what, report->from,
	       report->trials);
	for (guint i = 0; i < shown; i++)
		printf("    %3u  %s\n", i, (const char *)g_ptr_array_index(report->lines, i));
	if (shown < report->lines->len)
		printf("    ... and %u more\n", report->lines->len - shown);
	printf("  trace: %s\n  again: %s\n", report->trace, report->command);
}

static void print_report(const char *name, const struct check_report *report, bool native_only)
{
	printf("%-16s %s  %" G_GUINT64_FORMAT " configurations (%" G_GUINT64_FORMAT
	       " refused), %" G_GUINT64_FORMAT " operations, %" G_GUINT64_FORMAT " unserved%s\n",
	       name, report->failed ? "FAILED" : "ok    ", report->configurations, report->refused,
	       report->operations, report->unserved, native_only ? ", native pass only" : "");
	if (report->failed)
		print_failure(report, "operations");
	fflush(stdout);
}

/* "check-buddy.kmt", where nothing else was asked for. */
static char *default_output(const char *name)
{
	char *base = g_path_get_basename(name);
	char *path = g_strdup_printf("check-%s.kmt", base);

	g_free(base);
	return path;
}

/* A slot whose systems have a conformance suite. */
struct suite {
	bool (*find)(const char *name, struct check_config *config, bool *probed, GError **error);
	bool (*run)(const struct check_config *config, struct check_report *report, GError **error);
};

static bool find_frames(const char *name, struct check_config *config, bool *probed, GError **error)
{
	bool found = run_find_frames(name, config->frames, error);

	*probed = found && config->frames[PASS_PROBED];
	return found;
}

static bool find_heap(const char *name, struct check_config *config, bool *probed, GError **error)
{
	bool found = run_find_heap(name, config->heap, error);

	*probed = found && config->heap[PASS_PROBED];
	return found;
}

static const struct suite frame_suite = { find_frames, check_frames };
static const struct suite heap_suite = { find_heap, check_heap };

static int check_one(const struct options *options, const struct suite *suite, const char *name,
		     const char *trace)
{
	char *output = options->output ? g_strdup(options->output) : default_output(name);
	struct check_config config = {
		.name = name,
		.settings = options->settings,
		.seed = (uint64_t)options->seed,
		.operations = (uint64_t)options->operations,
		.cpu_ms = (unsigned)(options->seconds * 1000),
		.trace = trace,
		.output = output,
	};
	struct check_report report = { 0 };
	GError *error = NULL;
	int code = CLI_OK;
	bool probed;

	if (!suite->find(name, &config, &probed, &error) || !suite->run(&config, &report, &error)) {
		code = cli_fail(error);
	} else {
		print_report(name, &report, !probed);
		code = report.failed ? CLI_CHECK_FAILED : CLI_OK;
	}
	check_report_clear(&report);
	g_free(output);
	return code;
}

/* ---- interleavings ---- */

static void print_exploration(const struct explore_config *config,
			      const struct explore_report *report)
{
	if (config->schedule)
		printf("%-16s %s  the schedule of %s\n", config->name,
		       report->failed ? "FAILED" : "ok    ", config->schedule);
	else
		printf("%-16s %s  %" G_GUINT64_FORMAT " scenarios (%" G_GUINT64_FORMAT
		       " refused), %" G_GUINT64_FORMAT
		       " schedules of up to %u preemptions, %" G_GUINT64_FORMAT " accesses, %s\n",
		       config->name, report->failed ? "FAILED" : "ok    ", report->scenarios,
		       report->refused, report->schedules, config->preemptions, report->accesses,
		       report->failed ? "ended there"
		       : report->cut  ? "not all of them"
				      : "all there are");
	if (report->cut && !report->failed)
		printf("  %" G_GUINT64_FORMAT " scenarios have more schedules than --schedules "
		       "allows\n",
		       report->cut);
	if (!report->failed)
		return;
	printf("  %s\n  in %s\n", report->message, report->where);
	if (!config->schedule)
		printf("  %u preemptions, %u operations left of %u\n", report->preemptions,
		       report->left, report->from);
	for (guint i = 0; i < report->lines->len; i++)
		printf("  %s\n", (const char *)g_ptr_array_index(report->lines, i));
	if (!config->schedule)
		printf("  schedule: %s\n", config->output);
	printf("  again: %s\n", report->command);
}

static int explore_one(const struct options *options, const char *name, const char *schedule)
{
	char *base = g_path_get_basename(name);
	char *output = options->output ? g_strdup(options->output)
				       : g_strdup_printf("check-%s.schedule", base);
	struct explore_config config = {
		.name = name,
		.settings = options->settings,
		.seed = (uint64_t)options->seed,
		.preemptions = (unsigned)options->preemptions,
		.schedules = (uint64_t)options->schedules,
		.cpu_ms = (unsigned)(options->seconds * 1000),
		.schedule = schedule,
		.output = output,
	};
	struct explore_report report = { 0 };
	GError *error = NULL;
	int code;

	if (!run_find_frames(name, config.frames, &error) ||
	    !explore_frames(&config, &report, &error)) {
		code = cli_fail(error);
	} else {
		print_exploration(&config, &report);
		fflush(stdout);
		code = report.failed ? CLI_CHECK_FAILED : CLI_OK;
	}
	explore_report_clear(&report);
	g_free(output);
	g_free(base);
	return code;
}

/* ---- all of them ---- */

static int check_all(const struct options *options)
{
	int worst = CLI_OK;

	for (const struct frame_ops *const *ops = frame_registry; *ops; ops++) {
		int code = CLI_OK;
		if (!options->explore)
			code = check_one(options, &frame_suite, (*ops)->name, NULL);
		else if ((*ops)->caps & FRAME_CAP_LOCKLESS)
			code = explore_one(options, (*ops)->name, NULL);
		worst = MAX(worst, code);
	}
	for (const struct heap_ops *const *ops = heap_registry; *ops && !options->explore; ops++) {
		int code = check_one(options, &heap_suite, (*ops)->name, NULL);
		worst = MAX(worst, code);
	}
	return worst;
}

/* ---- page tables and address spaces ---- */

static void print_space_report(const struct check_space_report *report)
{
	const struct check_report *common = &report->common;

	printf("%s  %" G_GUINT64_FORMAT " configurations (%" G_GUINT64_FORMAT
	       " refused), %" G_GUINT64_FORMAT " operations, %" G_GUINT64_FORMAT
	       " touches, %" G_GUINT64_FORMAT " faults, %" G_GUINT64_FORMAT " unserved\n",
	       common->failed ? "FAILED" : "ok    ", common->configurations, common->refused,
	       common->operations, report->touches, report->faults, common->unserved);
	if (common->failed)
		print_failure(common, "events");
}

static int check_space(const struct options *options, const char *trace)
{
	struct check_space_config config = {
		.tables = options->tables,
		.spaces = options->space ? options->space : "process",
		.frames = options->frames,
		.mode = options->mode,
		.settings = options->settings,
		.seed = (uint64_t)options->seed,
		.operations = (uint64_t)options->operations,
		.pass = { true, true },
		.trace = trace,
		.output = options->output ? options->output : "check-space.kmt",
	};
	struct check_space_report report = { 0 };
	GError *error = NULL;
	int code;

	if (check_spaces(&config, &report, &error)) {
		print_space_report(&report);
		code = report.common.failed ? CLI_CHECK_FAILED : CLI_OK;
	} else {
		code = cli_fail(error);
	}
	check_report_clear(&report.common);
	return code;
}

static int check(const struct options *options, const char *trace)
{
	if (options->preemptions < 0 || options->preemptions > EXPLORE_PREEMPTIONS_MAX)
		return cli_usage("--preemptions: 0 to %d", EXPLORE_PREEMPTIONS_MAX);
	if (options->schedules < 1)
		return cli_usage("--schedules: at least 1");
	if (options->operations < 1 || options->operations > 1000000)
		return cli_usage("--operations: 1 to 1000000");
	if (!(options->seconds >= 0.01 && options->seconds <= 3600))
		return cli_usage("--time-limit: 0.01 to 3600 seconds");
	if (options->tables || options->space)
		return check_space(options, trace);
	if (options->mode)
		return cli_usage("--mode is for --tables and --space");
	if (options->heap && (options->frames || trace || options->explore))
		return cli_usage("--heap stands alone: a heap's failure is shown again by replay");
	if (options->heap)
		return check_one(options, &heap_suite, options->heap, NULL);
	if (!options->frames && (trace || options->settings || options->output))
		return cli_usage("%s needs --frames NAME", trace	       ? "a trace"
							   : options->settings ? "--set"
									       : "--output");
	if (trace && explore_file_is(trace))
		return explore_one(options, options->frames, trace);
	if (trace && options->explore)
		return cli_usage("--explore makes its own operations; %s is no schedule", trace);
	if (!options->frames)
		return check_all(options);
	return options->explore ? explore_one(options, options->frames, NULL)
				: check_one(options, &frame_suite, options->frames, trace);
}

int cli_check(const struct cli_command *command, int argc, char **argv)
{
	struct options options = { .operations = CHECK_OPERATIONS,
				   .seconds = CHECK_TIME_MS / 1000.0,
				   .preemptions = EXPLORE_PREEMPTIONS,
				   .schedules = EXPLORE_SCHEDULES };
	const GOptionEntry entries[] = {
		{ "frames", 'f', 0, G_OPTION_ARG_STRING, &options.frames,
		  "Page-frame allocator (kmemlab list frames), or a plugin's file; default: all of "
		  "the lab's own",
		  "NAME|PLUGIN.so" },
		{ "heap", 0, 0, G_OPTION_ARG_STRING, &options.heap,
		  "Kernel heap (kmemlab list heaps), or a plugin's file", "NAME|PLUGIN.so" },
		{ "tables", 0, 0, G_OPTION_ARG_STRING, &options.tables,
		  "Page tables (kmemlab list tables), held against the reference model", "NAME" },
		{ "space", 0, 0, G_OPTION_ARG_STRING, &options.space,
		  "Address spaces (kmemlab list spaces), held against the reference model",
		  "NAME" },
		{ "mode", 0, 0, G_OPTION_ARG_STRING, &options.mode,
		  "With --tables or --space: only this paging (32, pae, 4level, 5level)", "MODE" },
		{ "set", 's', 0, G_OPTION_ARG_STRING_ARRAY, &options.settings,
		  "Only with this setting, in place of each option's values in turn",
		  "SLOT.KEY=VALUE" },
		{ "seed", 0, 0, G_OPTION_ARG_INT64, &options.seed,
		  "Seed of the operations (default 0)", "N" },
		{ "operations", 'n', 0, G_OPTION_ARG_INT64, &options.operations,
		  "Operations on each memory map with each setting (default 1000)", "N" },
		{ "explore", 0, 0, G_OPTION_ARG_NONE, &options.explore,
		  "Instead: all interleavings of a few CPUs over small states; default: of the "
		  "lock-free ones",
		  NULL },
		{ "preemptions", 0, 0, G_OPTION_ARG_INT, &options.preemptions,
		  "With --explore: switches away from a CPU that could go on, at most (default 2)",
		  "K" },
		{ "schedules", 0, 0, G_OPTION_ARG_INT64, &options.schedules,
		  "With --explore: of one scenario at most (default 20000)", "N" },
		{ "time-limit", 0, 0, G_OPTION_ARG_DOUBLE, &options.seconds,
		  "CPU time after which one operation counts as hanging (default 2)", "SECONDS" },
		{ "output", 'o', 0, G_OPTION_ARG_FILENAME, &options.output,
		  "Trace of a failure (default: check-NAME.kmt)", "FAILURE.kmt" },
		{ NULL },
	};
	char **rest;
	int code = cli_parse(command, entries, -1, argc, argv, &rest);

	if (code == CLI_OK)
		code = check(&options, rest[0]);
	g_strfreev(rest);
	g_free(options.frames);
	g_free(options.tables);
	g_free(options.space);
	g_free(options.mode);
	g_free(options.heap);
	g_free(options.output);
	g_strfreev(options.settings);
	return code;
}
