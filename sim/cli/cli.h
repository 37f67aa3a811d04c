/*
 * cli.h - the program: a table of commands, one file each. Results go to stdout, messages to
 * stderr.
 */
#ifndef KMEMLAB_SIM_CLI_CLI_H
#define KMEMLAB_SIM_CLI_CLI_H

#include <glib.h>
#include <json-glib/json-glib.h>
#include <stdbool.h>

enum cli_exit {
	CLI_OK = 0,
	CLI_CHECK_FAILED = 1, /* done, but a check failed: violations, differing digests */
	CLI_USAGE = 2,
	CLI_BAD_INPUT = 3,
	CLI_INTERNAL = 4,
};

struct cli_command {
	const char *name;
	const char *arguments; /* "TRACE.kmt" */
	const char *summary;   /* one line */
	const char *details;   /* more for --help: what it does, an example */
	int (*run)(const struct cli_command *command, int argc, char **argv);
};

/* Ends with name == NULL. */
extern const struct cli_command cli_commands[];

int cli_list(const struct cli_command *command, int argc, char **argv);
int cli_import(const struct cli_command *command, int argc, char **argv);
int cli_trace(const struct cli_command *command, int argc, char **argv);
int cli_record(const struct cli_command *command, int argc, char **argv);
int cli_generate(const struct cli_command *command, int argc, char **argv);
int cli_info(const struct cli_command *command, int argc, char **argv);
int cli_replay(const struct cli_command *command, int argc, char **argv);
int cli_run(const struct cli_command *command, int argc, char **argv);
int cli_plot(const struct cli_command *command, int argc, char **argv);
int cli_report(const struct cli_command *command, int argc, char **argv);
int cli_walk(const struct cli_command *command, int argc, char **argv);
int cli_check(const struct cli_command *command, int argc, char **argv);
int cli_boot(const struct cli_command *command, int argc, char **argv);
int cli_distance(const struct cli_command *command, int argc, char **argv);
int cli_bench(const struct cli_command *command, int argc, char **argv);

/* Parses ENTRIES and leaves the positional arguments in *rest (NULL-terminated, g_strfreev).
 * WANTED: how many there must be; negative: at most that many. Returns CLI_OK, CLI_USAGE, or -1
 * after --help. */
int cli_parse(const struct cli_command *command, const GOptionEntry *entries, int wanted, int argc,
	      char **argv, char ***rest);

/* Prints the message on stderr, frees the error, and says which exit code it stands for. */
int cli_fail(GError *error);
int cli_usage(const char *format, ...) G_GNUC_PRINTF(1, 2);

/* Runs the script NAME of scripts/ with ARGUMENTS (NULL-terminated) under a Python that can draw.
 * Returns its exit code, or CLI_USAGE if script or Python is missing. */
int cli_script(const char *name, char **arguments);

/* Pretty-prints ROOT (taken) on stdout with a newline. */
void cli_print_json(JsonNode *root);

#endif
