#include "sim/cli/cli.h"

#include "workloads/import/import.h"

int cli_import(const struct cli_command *command, int argc, char **argv)
{
	char *output = NULL, *format = NULL, *state = NULL, *memmap = NULL;
	gboolean lenient = FALSE;
	const GOptionEntry entries[] = {
		{ "output", 'o', 0, G_OPTION_ARG_FILENAME, &output, "The trace to write",
		  "TRACE.kmt" },
		{ "format", 0, 0, G_OPTION_ARG_STRING, &format, "auto (default), ftrace, trace-dat",
		  "NAME" },
		{ "state", 0, 0, G_OPTION_ARG_FILENAME, &state,
		  "Ground truth of the recording: a folder or a tar", "DIR|TAR" },
		{ "memmap", 0, 0, G_OPTION_ARG_FILENAME, &memmap,
		  "Memory map: E820, UEFI, Multiboot, Limine, /proc/iomem", "FILE" },
		{ "lenient", 0, 0, G_OPTION_ARG_NONE, &lenient,
		  "Skip lines that cannot be read, and count them", NULL },
		{ NULL },
	};
	char **rest;
	GError *error = NULL;
	int code = cli_parse(command, entries, 1, argc, argv, &rest);

	if (code == CLI_OK && !output)
		code = cli_usage("import needs -o TRACE.kmt");
	if (code == CLI_OK) {
		struct import_options options = { .format = format ? format : "auto",
						  .state = state,
						  .memmap = memmap,
						  .lenient = lenient };
		if (!import_file(rest[0], output, &options, &error))
			code = cli_fail(error);
	}
	g_strfreev(rest);
	g_free(output);
	g_free(format);
	g_free(state);
	g_free(memmap);
	return code;
}
