#include "sim/cli/cli.h"

#include <stdio.h>
#include <string.h>

#include "sim/experiment.h"
#include "sim/run.h"

/* "3" or "2..5", cells counted from 0. */
static bool parse_cells(const char *text, uint64_t *first, uint64_t *last)
{
	char **ends = g_strsplit(text, "..", 2);
	guint64 from, to;
	bool fine =
		g_ascii_string_to_unsigned(ends[0], 10, 0, G_MAXUINT64, &from, NULL) &&
		(!ends[1] || g_ascii_string_to_unsigned(ends[1], 10, 0, G_MAXUINT64, &to, NULL));

	if (fine) {
		*first = from;
		*last = ends[1] ? to : from;
	}
	g_strfreev(ends);
	return fine && *first <= *last;
}

static void print_cells(const struct experiment *experiment)
{
	for (guint i = 0; i < experiment->cells->len; i++) {
		const struct experiment_cell *cell = g_ptr_array_index(experiment->cells, i);
		char *command = run_command(cell->argv + 1);
		if (strcmp(cell->status, "skipped") == 0)
			printf("%u\t%s\tskipped: %s\n", i, cell->run, cell->message);
		else
			printf("%u\t%s\t%s\n", i, cell->run, command);
		g_free(command);
	}
}

static unsigned count_skipped(const struct experiment *experiment)
{
	unsigned skipped = 0;

	for (guint i = 0; i < experiment->cells->len; i++) {
		const struct experiment_cell *cell = g_ptr_array_index(experiment->cells, i);
		skipped += strcmp(cell->status, "skipped") == 0;
	}
	return skipped;
}

static int run(struct experiment *experiment, const struct experiment_options *options)
{
	unsigned failed, violated;
	GError *error = NULL;

	if (!experiment_run(experiment, options, &failed, &violated, &error))
		return cli_fail(error);
	if (violated)
		fprintf(stderr,
			"kmemlab: %u of %u cells broke an invariant; their run.json says which\n",
			violated, experiment->cells->len);
	if (count_skipped(experiment))
		fprintf(stderr,
			"kmemlab: %u of %u cells are impossible and were skipped; --dry-run says "
			"why\n",
			count_skipped(experiment), experiment->cells->len);
	if (failed)
		fprintf(stderr, "kmemlab: %u of %u cells failed\n", failed, experiment->cells->len);
	return failed || violated ? CLI_CHECK_FAILED : CLI_OK;
}

int cli_run(const struct cli_command *command, int argc, char **argv)
{
	char *output = NULL, *cells = NULL;
	gint jobs = 0;
	gboolean dry_run = FALSE, again = FALSE;
	const GOptionEntry entries[] = {
		{ "output", 'o', 0, G_OPTION_ARG_FILENAME, &output,
		  "Folder of the experiment (default: results/NAME)", "DIR" },
		{ "jobs", 'j', 0, G_OPTION_ARG_INT, &jobs,
		  "Processes at a time (default: one a CPU)", "N" },
		{ "cell", 0, 0, G_OPTION_ARG_STRING, &cells, "Only this cell", "I" },
		{ "cells", 0, 0, G_OPTION_ARG_STRING, &cells, "Only these cells, both included",
		  "A..B" },
		{ "again", 0, 0, G_OPTION_ARG_NONE, &again, "Repeat finished cells too", NULL },
		{ "dry-run", 'n', 0, G_OPTION_ARG_NONE, &dry_run,
		  "Print the cells and their commands", NULL },
		{ NULL },
	};
	struct experiment_options options = { .last = UINT64_MAX };
	char **rest;
	GError *error = NULL;
	int code = cli_parse(command, entries, 1, argc, argv, &rest);

	if (code == CLI_OK && (jobs < 0 || jobs > 1024))
		code = cli_usage("--jobs: 1 to 1024");
	if (code == CLI_OK && cells && !parse_cells(cells, &options.first, &options.last))
		code = cli_usage("--cells: '%s' is not I or A..B", cells);
	struct experiment *experiment = code == CLI_OK ? experiment_load(rest[0], &error) : NULL;
	if (error)
		code = cli_fail(error);
	if (experiment && cells && options.last >= experiment->cells->len) {
		code = cli_usage("--cells: %s has cells 0 to %u", rest[0],
				 experiment->cells->len - 1);
		g_clear_pointer(&experiment, experiment_free);
	}
	options.directory = output;
	options.jobs = (unsigned)jobs;
	options.repeat = again;
	if (experiment && dry_run)
		print_cells(experiment);
	else if (experiment)
		code = run(experiment, &options);
	if (experiment)
		experiment_free(experiment);
	g_strfreev(rest);
	g_free(output);
	g_free(cells);
	return code;
}
