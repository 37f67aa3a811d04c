#include "sim/cli/cli.h"

#include <stdio.h>
#include <string.h>

#include "sim/fixture.h"
#include "sim/fragmentation.h"
#include "sim/lab.h"
#include "sim/machine.h"
#include "sim/size.h"
#include "sim/snapshot.h"
#include "workloads/small_file.h"

struct options {
	char *machine, *ram;
	gint64 seed;
	gboolean json;
};

/* Free blocks of one side, and of a fixture the hash of its free set. */
struct state {
	uint64_t blocks[LEDGER_ORDERS];
	uint64_t hash;
	bool hashed;
};

/* ---- a fixture on a machine ---- */

static bool from_fixture(const struct fixture *fixture, const struct options *options,
			 struct state *state, GError **error)
{
	struct machine_config *config =
		machine_config_new(options->machine ? options->machine : "pc-512m", error);
	uint64_t bytes = 0;
	bool fine = config != NULL;

	if (fine && options->ram)
		fine = size_parse(options->ram, &bytes)
			       ? machine_config_resize(config, bytes, error)
			       : lab_usage(error, "--ram: '%s' is no size", options->ram);
	struct machine *machine = fine ? machine_new(config, error) : NULL;
	struct ledger *ledger = machine ? fixture_ledger(fixture, machine->usable,
							 machine->ram.size >> X86_PAGE_SHIFT,
							 (uint64_t)options->seed)
					: NULL;
	if (machine && !ledger)
		g_set_error(error, LAB_ERROR, LAB_ERROR_LAB,
			    "lab error: the host has no address space for the ledger");
	if (ledger) {
		metrics_free_blocks(ledger, state->blocks);
		state->hash = ledger_free_hash(ledger);
		state->hashed = true;
	}
	fine = ledger != NULL;
	ledger_free(ledger);
	machine_free(machine);
	if (config)
		machine_config_free(config);
	return fine;
}

/* ---- a run's samples ---- */

static int column_of(char **header, const char *name)
{
	for (int i = 0; header[i]; i++)
		if (strcmp(header[i], name) == 0)
			return i;
	return -1;
}

static bool read_row(const char *path, char **header, const char *line, struct state *state,
		     GError **error)
{
	char **cells = g_strsplit(line, ",", -1);
	bool fine = g_strv_length(cells) == g_strv_length(header);

	for (unsigned order = 0; fine && order < LEDGER_ORDERS; order++) {
		char name[32];
		g_snprintf(name, sizeof(name), "free_blocks_o%u", order);
		int column = column_of(header, name);
		guint64 value = 0;
		fine = column >= 0 &&
		       g_ascii_string_to_unsigned(cells[column], 10, 0, G_MAXUINT64, &value, NULL);
		state->blocks[order] = value;
	}
	g_strfreev(cells);
	if (!fine)
		g_set_error(error, LAB_ERROR, LAB_ERROR_INPUT,
			    "%s: has no free_blocks_o0 to o10 in every row", path);
	return fine;
}

/* The last sample at or before EVENT; the first one at least. */
static bool from_samples(const char *path, uint64_t event, struct state *state, GError **error)
{
	char *text;

	if (!small_file_read(path, &text, NULL, error))
		return false;
	char **lines = g_strsplit(g_strchomp(text), "\n", -1);
	const char *chosen = lines[0] ? lines[1] : NULL;
	for (char **line = lines; chosen && *line; line++)
		if (line > lines + 1 && g_ascii_strtoull(*line, NULL, 10) <= event)
			chosen = *line;
	bool fine = false;
	if (!chosen) {
		g_set_error(error, LAB_ERROR, LAB_ERROR_INPUT, "%s: has no samples", path);
	} else {
		char **header = g_strsplit(lines[0], ",", -1);
		fine = read_row(path, header, chosen, state, error);
		g_strfreev(header);
	}
	g_strfreev(lines);
	g_free(text);
	return fine;
}

/* ---- either ---- */

static bool from_buddyinfo(const char *path, struct state *state, GError **error)
{
	struct snapshot *snapshot = g_new0(struct snapshot, 1);
	char *text = NULL;
	gsize bytes;
	unsigned line;
	bool fine = small_file_read(path, &text, &bytes, error);

	if (fine && !snapshot_parse(snapshot, "buddyinfo", text, bytes, &line)) {
		g_set_error(error, LAB_ERROR, LAB_ERROR_INPUT,
			    "%s:%u: is neither a run's folder nor the text of /proc/buddyinfo",
			    path, line);
		fine = false;
	}
	memcpy(state->blocks, snapshot->all.free_blocks, sizeof(state->blocks));
	g_free(snapshot);
	g_free(text);
	return fine;
}

/* "results/x/run", "results/x/run@start", "results/x/run@1000" */
static bool from_run(const char *name, struct state *state, GError **error)
{
	char *folder = g_strdup(name), *at = strrchr(folder, '@');
	uint64_t event = UINT64_MAX;
	bool fine = true;

	if (at && !g_file_test(name, G_FILE_TEST_EXISTS)) {
		*at++ = '\0';
		if (strcmp(at, "start") == 0)
			event = 0;
		else if (!g_ascii_string_to_unsigned(at, 10, 0, G_MAXUINT64, &event, NULL))
			fine = lab_usage(error, "%s: behind @ stands an event's number, or start",
					 name);
	}
	if (fine && g_file_test(folder, G_FILE_TEST_IS_DIR)) {
		char *path = g_build_filename(folder, "samples.csv", NULL);
		fine = from_samples(path, event, state, error);
		g_free(path);
	} else if (fine) {
		fine = from_buddyinfo(folder, state, error);
	}
	g_free(folder);
	return fine;
}

static bool load(const char *name, const struct options *options, struct state *state,
		 GError **error)
{
	const struct fixture *fixture = fixture_find(name);

	*state = (struct state){ 0 };
	return fixture ? from_fixture(fixture, options, state, error)
		       : from_run(name, state, error);
}

static void print_text(char **names, const struct state *states)
{
	printf("%-24s", "order");
	for (unsigned order = 0; order < LEDGER_ORDERS; order++)
		printf(" %7u", order);
	printf("\n");
	for (unsigned i = 0; i < 2; i++) {
		printf("%-24s", names[i]);
		for (unsigned order = 0; order < LEDGER_ORDERS; order++)
			printf(" %7" G_GUINT64_FORMAT, states[i].blocks[order]);
		if (states[i].hashed)
			printf("  %016" G_GINT64_MODIFIER "x", states[i].hash);
		printf("\n");
	}
	printf("distance %.6f\n", metrics_distance(states[0].blocks, states[1].blocks));
}

static JsonNode *as_json(char **names, const struct state *states)
{
	JsonBuilder *json = json_builder_new();

	json_builder_begin_object(json);
	json_builder_begin_array(json_builder_set_member_name(json, "states"));
	for (unsigned i = 0; i < 2; i++) {
		json_builder_begin_object(json);
		json_builder_add_string_value(json_builder_set_member_name(json, "state"),
					      names[i]);
		if (states[i].hashed) {
			char *hash = g_strdup_printf("%016" G_GINT64_MODIFIER "x", states[i].hash);
			json_builder_add_string_value(json_builder_set_member_name(json, "hash"),
						      hash);
			g_free(hash);
		}
		json_builder_begin_array(json_builder_set_member_name(json, "free_blocks"));
		for (unsigned order = 0; order < LEDGER_ORDERS; order++)
			json_builder_add_int_value(json, (gint64)states[i].blocks[order]);
		json_builder_end_array(json);
		json_builder_end_object(json);
	}
	json_builder_end_array(json);
	json_builder_add_double_value(json_builder_set_member_name(json, "distance"),
				      metrics_distance(states[0].blocks, states[1].blocks));
	json_builder_end_object(json);
	JsonNode *root = json_builder_get_root(json);
	g_object_unref(json);
	return root;
}

int cli_distance(const struct cli_command *command, int argc, char **argv)
{
	struct options options = { 0 };
	const GOptionEntry entries[] = {
		{ "machine", 'm', 0, G_OPTION_ARG_STRING, &options.machine,
		  "Machine of a fixture (default pc-512m)", "NAME|FILE" },
		{ "ram", 0, 0, G_OPTION_ARG_STRING, &options.ram, "Its usable RAM", "SIZE" },
		{ "seed", 0, 0, G_OPTION_ARG_INT64, &options.seed, "Seed of a fixture (default 0)",
		  "N" },
		{ "json", 0, 0, G_OPTION_ARG_NONE, &options.json, "Print JSON", NULL },
		{ NULL },
	};
	struct state states[2];
	char **rest;
	GError *error = NULL;
	int code = cli_parse(command, entries, 2, argc, argv, &rest);

	if (code == CLI_OK && !(load(rest[0], &options, &states[0], &error) &&
				load(rest[1], &options, &states[1], &error)))
		code = cli_fail(error);
	else if (code == CLI_OK && options.json)
		cli_print_json(as_json(rest, states));
	else if (code == CLI_OK)
		print_text(rest, states);
	g_strfreev(rest);
	g_free(options.machine);
	g_free(options.ram);
	return code;
}
