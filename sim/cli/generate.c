#include "sim/cli/cli.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "sim/machine.h"
#include "workloads/generate/generate.h"

static volatile sig_atomic_t stopped_by;

static void stop(int signal)
{
	stopped_by = signal;
}

/* Signals that end the program let it remove its half-written file first. One that the parent
 * wants ignored (nohup) stays so. */
static void watch_signals(void)
{
	static const int signals[] = { SIGINT, SIGTERM, SIGHUP };
	/* A second one ends the program at once. */
	struct sigaction action = { .sa_handler = stop, .sa_flags = (int)SA_RESETHAND }, before;

	for (size_t i = 0; i < G_N_ELEMENTS(signals); i++)
		if (!sigaction(signals[i], NULL, &before) && before.sa_handler != SIG_IGN)
			sigaction(signals[i], &action, NULL);
}

static void print_parameters(const struct generator *generator)
{
	printf("%s (%s): %s\n", generator->name, generator->family, generator->summary);
	for (const struct generate_parameter *row = generator->parameters; row->key; row++) {
		char *preset = generate_value_text(row, row->preset);
		char *least = generate_value_text(row, row->least);
		char *most = generate_value_text(row, row->most);
		char *value = g_strdup_printf("%s=%s", row->key, preset);
		char *range = g_strdup_printf("%s..%s", least, most);
		printf("  %-22s %-18s %-12s %s\n", value, range, row->unit, row->meaning);
		g_free(range);
		g_free(value);
		g_free(most);
		g_free(least);
		g_free(preset);
	}
}

static int write_trace(const struct generator *generator, char **assignments, uint64_t seed,
		       const char *output)
{
	struct generate_options options;
	GError *error = NULL;

	generate_defaults(generator, &options);
	for (char **one = assignments; *one; one++)
		if (!generate_set(generator, &options, *one, &error))
			return cli_fail(error);
	options.seed = seed;
	options.stop = &stopped_by;
	GArray *map = machine_pc_map(options.value[GENERATE_RAM]);
	options.memory_map = map;
	watch_signals();
	bool written = generate(generator, &options, output, &error);
	g_array_unref(map);
	if (written)
		return CLI_OK;
	int code = cli_fail(error);
	/* Whoever waits for us is told what ended us. */
	if (stopped_by)
		raise(stopped_by);
	return code;
}

int cli_generate(const struct cli_command *command, int argc, char **argv)
{
	char *output = NULL, *seed_text = NULL;
	gboolean parameters = FALSE;
	const GOptionEntry entries[] = {
		{ "seed", 0, 0, G_OPTION_ARG_STRING, &seed_text, "Seed of all that is random (0)",
		  "N" },
		{ "output", 'o', 0, G_OPTION_ARG_FILENAME, &output, "The trace to write",
		  "TRACE.kmt" },
		{ "parameters", 0, 0, G_OPTION_ARG_NONE, &parameters,
		  "Show what can be set, with defaults and ranges, and write nothing", NULL },
		{ NULL },
	};
	char **rest;
	guint64 seed = 0;
	int code = cli_parse(command, entries, -(GENERATE_PARAMETERS_MOST + 1), argc, argv, &rest);

	if (code != CLI_OK)
		goto out;
	const struct generator *generator = rest[0] ? generator_find(rest[0]) : NULL;
	if (!rest[0])
		code = cli_usage("generate needs a WORKLOAD; see kmemlab list workloads");
	else if (!generator)
		code = cli_usage("unknown workload '%s'; see kmemlab list workloads", rest[0]);
	else if (parameters)
		print_parameters(generator);
	else if (!output)
		code = cli_usage("generate needs -o TRACE.kmt");
	else if (seed_text &&
		 !g_ascii_string_to_unsigned(seed_text, 10, 0, G_MAXUINT64, &seed, NULL))
		code = cli_usage("--seed is a number from 0 on, not '%s'", seed_text);
	else
		code = write_trace(generator, rest + 1, seed, output);
out:
	g_strfreev(rest);
	g_free(output);
	g_free(seed_text);
	return code;
}
