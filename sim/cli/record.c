#include "sim/cli/cli.h"

#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "sim/size.h"
#include "workloads/record/record.h"

enum { BUFFER_KIB = 40 << 10, BUFFER_LEAST_KIB = 64, BUFFER_MOST_KIB = 8 << 20 };

/* Says how a command ended that did not end well; the trace stands all the same. */
static void report(const char *command, int status)
{
	if (WIFSIGNALED(status))
		fprintf(stderr, "kmemlab: %s was ended by signal %d\n", command, WTERMSIG(status));
	else if (WIFEXITED(status) && WEXITSTATUS(status) != 0)
		fprintf(stderr, "kmemlab: %s ended with exit code %d\n", command,
			WEXITSTATUS(status));
}

static int check(const struct record_options *options)
{
	if (!options->output)
		return cli_usage("record needs -o TRACE.kmt");
	if ((!options->command || !options->command[0]) && options->seconds == 0)
		return cli_usage("record needs a command behind --, or --seconds N");
	if (!(options->seconds >= 0 && options->seconds < 1e7) ||
	    !(options->snapshot_seconds >= 0 && options->snapshot_seconds < 1e7))
		return cli_usage("times are from 0 to 1e7 seconds");
	if (options->buffer_kib < BUFFER_LEAST_KIB || options->buffer_kib > BUFFER_MOST_KIB)
		return cli_usage("--buffer is from 64K to 8G for each CPU");
	return CLI_OK;
}

int cli_record(const struct cli_command *command, int argc, char **argv)
{
	g_autofree char *output = NULL, *tracefs = NULL, *instance = NULL, *buffer = NULL,
			*proc = NULL;
	gboolean heap = FALSE, faults = FALSE, keep = FALSE;
	double seconds = 0, snapshots = 0;
	const GOptionEntry entries[] = {
		{ "output", 'o', 0, G_OPTION_ARG_FILENAME, &output, "The trace to write",
		  "TRACE.kmt" },
		{ "seconds", 0, 0, G_OPTION_ARG_DOUBLE, &seconds, "Stop after N seconds", "N" },
		{ "snapshots", 0, 0, G_OPTION_ARG_DOUBLE, &snapshots,
		  "Snapshots of /proc every N seconds, besides those at both ends", "N" },
		{ "heap", 0, 0, G_OPTION_ARG_NONE, &heap,
		  "kmalloc and kmem_cache_alloc too: many events", NULL },
		{ "faults", 0, 0, G_OPTION_ARG_NONE, &faults, "Page faults of programs too", NULL },
		{ "buffer", 0, 0, G_OPTION_ARG_STRING, &buffer,
		  "The kernel's buffer for each CPU (40M)", "SIZE" },
		{ "keep", 0, 0, G_OPTION_ARG_NONE, &keep,
		  "Leave the raw recording in TRACE.kmt.recording", NULL },
		{ "tracefs", 0, 0, G_OPTION_ARG_FILENAME, &tracefs,
		  "Where tracefs is (default: where it is mounted)", "DIR" },
		{ "proc", 0, 0, G_OPTION_ARG_FILENAME, &proc, "Where /proc is", "DIR" },
		{ "instance", 0, 0, G_OPTION_ARG_STRING, &instance,
		  "A buffer of tracefs that exists (default: one of our own)", "NAME" },
		{ NULL },
	};
	g_auto(GStrv) rest = NULL;
	uint64_t bytes = (uint64_t)BUFFER_KIB << 10;
	GError *error = NULL;
	int status = 0;
	int code = cli_parse(command, entries, -G_MAXINT16, argc, argv, &rest);

	if (code == CLI_OK && buffer && !size_parse(buffer, &bytes))
		code = cli_usage("'%s' is no size", buffer);
	struct record_options options = {
		.output = output,
		.command = rest && rest[0] && strcmp(rest[0], "--") == 0 ? rest + 1 : rest,
		.seconds = seconds,
		.snapshot_seconds = snapshots,
		.buffer_kib = (unsigned)MIN(bytes >> 10, G_MAXUINT),
		.heap = heap,
		.faults = faults,
		.keep = keep,
		.tracefs = tracefs,
		.instance = instance,
		.proc = proc,
	};
	if (code == CLI_OK)
		code = check(&options);
	if (code == CLI_OK && !record(&options, &status, &error))
		code = cli_fail(error);
	if (code == CLI_OK && options.command && options.command[0])
		report(options.command[0], status);
	return code;
}
