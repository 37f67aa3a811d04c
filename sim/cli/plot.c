/* `plot` and `report`: C writes numbers, Python draws. */
#include "sim/cli/cli.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "sim/version.h"

/* Where the scripts are: $KMEMLAB_SCRIPTS, the source tree that this was built from, or installed.
 */
static char *script_path(const char *name)
{
	const char *folders[] = { g_getenv("KMEMLAB_SCRIPTS"), KMEMLAB_SCRIPTS_SOURCE,
				  KMEMLAB_SCRIPTS_INSTALLED };

	for (gsize i = 0; i < G_N_ELEMENTS(folders); i++) {
		char *path = folders[i] ? g_build_filename(folders[i], name, NULL) : NULL;
		if (path && g_file_test(path, G_FILE_TEST_IS_REGULAR))
			return path;
		g_free(path);
	}
	return NULL;
}

static bool draws(const char *python)
{
	const char *argv[] = { python, "-c", "import matplotlib, numpy", NULL };
	int status;

	return g_spawn_sync(NULL, (char **)(uintptr_t)argv, NULL,
			    G_SPAWN_STDOUT_TO_DEV_NULL | G_SPAWN_STDERR_TO_DEV_NULL, NULL, NULL,
			    NULL, NULL, &status, NULL) &&
	       status == 0;
}

/* The first python3 that has matplotlib: $KMEMLAB_PYTHON, those in PATH, then the distribution's.
 */
static char *find_python(void)
{
	const char *chosen = g_getenv("KMEMLAB_PYTHON");
	const char *path = g_getenv("PATH");
	char **folders = g_strsplit(path ? path : "", ":", -1);
	char *found = NULL;

	if (chosen)
		found = draws(chosen) ? g_strdup(chosen) : NULL;
	for (char **folder = folders; !chosen && !found && *folder; folder++) {
		char *candidate = g_build_filename(*folder, "python3", NULL);
		if (g_file_test(candidate, G_FILE_TEST_IS_EXECUTABLE) && draws(candidate))
			found = g_strdup(candidate);
		g_free(candidate);
	}
	if (!chosen && !found && draws("/usr/bin/python3"))
		found = g_strdup("/usr/bin/python3");
	g_strfreev(folders);
	return found;
}

int cli_script(const char *name, char **arguments)
{
	char *script = script_path(name);
	char *python = find_python();
	int code = CLI_OK;

	if (!script) {
		code = cli_usage("the script %s is missing; set KMEMLAB_SCRIPTS to its folder",
				 name);
	} else if (!python) {
		code = cli_usage("no python3 with matplotlib and numpy found (scripts/setup.sh "
				 "installs one; KMEMLAB_PYTHON chooses one)");
	} else {
		GStrvBuilder *builder = g_strv_builder_new();
		g_strv_builder_add_many(builder, python, "-B", script, NULL);
		for (char **argument = arguments; *argument; argument++)
			g_strv_builder_add(builder, *argument);
		char **argv = g_strv_builder_end(builder);
		GError *error = NULL;
		int status = 0;
		fprintf(stderr, "drawing with %s\n", python);
		if (!g_spawn_sync(NULL, argv, NULL, G_SPAWN_CHILD_INHERITS_STDIN, NULL, NULL, NULL,
				  NULL, &status, &error))
			code = cli_fail(error);
		else
			code = WIFEXITED(status) ? WEXITSTATUS(status) : CLI_INTERNAL;
		g_strfreev(argv);
		g_strv_builder_unref(builder);
	}
	g_free(python);
	g_free(script);
	return code;
}

int cli_plot(const struct cli_command *command, int argc, char **argv)
{
	const GOptionEntry entries[] = { { NULL } };
	char **rest;
	int code = cli_parse(command, entries, 1, argc, argv, &rest);

	if (code == CLI_OK)
		code = cli_script("plot.py", rest);
	g_strfreev(rest);
	return code;
}

int cli_report(const struct cli_command *command, int argc, char **argv)
{
	char *output = NULL;
	const GOptionEntry entries[] = {
		{ "output", 'o', 0, G_OPTION_ARG_FILENAME, &output,
		  "The report to write (default: DIR/report.html)", "report.html" },
		{ NULL },
	};
	char **rest;
	int code = cli_parse(command, entries, 1, argc, argv, &rest);

	if (code == CLI_OK) {
		char *path =
			output ? g_strdup(output) : g_build_filename(rest[0], "report.html", NULL);
		char *arguments[] = { rest[0], (char[]){ "-o" }, path, NULL };
		code = cli_script("report.py", arguments);
		g_free(path);
	}
	g_strfreev(rest);
	g_free(output);
	return code;
}
