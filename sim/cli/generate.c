#include "sim/cli/cli.h"

#include "workloads/generate/generate.h"

int cli_generate(const struct cli_command *command, int argc, char **argv)
{
	char *output = NULL;
	gint64 seed = 0;
	const GOptionEntry entries[] = {
		{ "seed", 0, 0, G_OPTION_ARG_INT64, &seed, "Seed (default 0)", "N" },
		{ "output", 'o', 0, G_OPTION_ARG_FILENAME, &output, "Trace to write", "TRACE.kmt" },
		{ NULL },
	};
	GError *error = NULL;
	char **rest;
	int code = cli_parse(command, entries, -1000, argc, argv, &rest);

	if (code == CLI_OK && !rest[0])
		code = cli_usage("generate needs a workload (kmemlab list workloads)");
	else if (code == CLI_OK && !output)
		code = cli_usage("generate needs -o TRACE.kmt");
	else if (code == CLI_OK && !workload_find(rest[0]))
		code = cli_usage("unknown workload '%s' (kmemlab list workloads)", rest[0]);
	else if (code == CLI_OK && !workload_generate(workload_find(rest[0]), rest + 1,
						      (uint64_t)seed, output, &error))
		code = cli_fail(error);
	g_strfreev(rest);
	g_free(output);
	return code;
}
