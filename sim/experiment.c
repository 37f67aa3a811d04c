/* Reading an experiment file: every combination of a group's lists becomes a cell. */
#include "sim/experiment.h"

#include <string.h>

#include "sim/experiment_cell.h"
#include "sim/ini.h"
#include "sim/lab.h"
#include "sim/plugin.h"
#include "sim/run.h"
#include "sim/size.h"
#include "workloads/small_file.h"

/* Keys of [options] and the switches of `kmemlab replay` that they are. */
static const struct {
	const char *key, *option;
} switches[] = {
	{ "pass", "--pass" },
	{ "place", "--place" },
	{ "cpus", "--cpus" },
	{ "until", "--until" },
	{ "sample-events", "--sample-events" },
	{ "sample-ns", "--sample-ns" },
	{ "check-events", "--check-events" },
	{ "host-memory", "--host-memory" },
	{ "time-limit", "--time-limit" },
	{ "guard", "--guard" },
};

/* Axes that [options] may give too, one for all: as other switches are given. */
static const enum experiment_axis axes_in_options[] = { AXIS_TABLES, AXIS_SPACE };

/* A group [cells] or [cells NAME]. */
struct lists {
	const struct ini *ini;
	const char *group;
	char **items[EXPERIMENT_AXES];	   /* NULL-terminated, none empty */
	const char *from[EXPERIMENT_AXES]; /* the group of the file that gives them; NULL: none */
};

/* Cells that cannot be, as long as there is none that can. */
struct verdict {
	unsigned possible;
	char *reason;  /* of the first */
	unsigned line; /* that it is about */
};

static bool is_cells(const char *group)
{
	return strcmp(group, "cells") == 0 || g_str_has_prefix(group, "cells ");
}

static bool known_key(const char *group, const char *key)
{
	if (strcmp(group, "experiment") == 0)
		return strcmp(key, "name") == 0 || strcmp(key, "title") == 0;
	if (is_cells(group)) {
		for (unsigned axis = 0; axis < EXPERIMENT_AXES; axis++)
			if (strcmp(key, experiment_axes[axis].key) == 0)
				return true;
		return false;
	}
	for (gsize i = 0; i < G_N_ELEMENTS(switches); i++)
		if (strcmp(key, switches[i].key) == 0)
			return true;
	for (gsize i = 0; i < G_N_ELEMENTS(axes_in_options); i++)
		if (strcmp(key, experiment_axes[axes_in_options[i]].key) == 0)
			return true;
	return strcmp(key, "set") == 0;
}

static bool check_group(const struct ini *ini, const char *group, GError **error)
{
	bool fine = true;

	if (strcmp(group, "experiment") != 0 && !is_cells(group) && strcmp(group, "options") != 0)
		return lab_usage(error, "%s:%u: unknown group [%s] (experiment, cells, options)",
				 ini->path, ini_line(ini, group, NULL), group);
	g_auto(GStrv) keys = g_key_file_get_keys(ini->keys, group, NULL, NULL);
	for (char **key = keys; fine && *key; key++)
		if (!known_key(group, *key))
			fine = lab_usage(error, "%s:%u: unknown key '%s' in [%s]", ini->path,
					 ini_line(ini, group, *key), *key, group);
	return fine;
}

/* ---- the lists of a group ---- */

/* The text of an axis and the group that gives it; NULL: nobody does. */
static char *axis_text(const struct ini *ini, const char *group, enum experiment_axis axis,
		       const char **from)
{
	const char *key = experiment_axes[axis].key;
	char *text = g_key_file_get_string(ini->keys, group, key, NULL);

	*from = text ? group : NULL;
	for (gsize i = 0; !text && i < G_N_ELEMENTS(axes_in_options); i++)
		if (axes_in_options[i] == axis &&
		    (text = g_key_file_get_string(ini->keys, "options", key, NULL)))
			*from = "options";
	return text;
}

static bool read_list(struct lists *lists, enum experiment_axis axis, GError **error)
{
	const struct ini *ini = lists->ini;
	const struct experiment_axis_row *row = &experiment_axes[axis];
	g_autofree char *text = axis_text(ini, lists->group, axis, &lists->from[axis]);

	if (!text && !row->fallback)
		return lab_usage(error, "%s: [%s] has no '%s'", ini->path, lists->group, row->key);
	g_auto(GStrv) items = g_strsplit(text ? text : row->fallback, ";", -1);
	GStrvBuilder *kept = g_strv_builder_new();
	for (char **item = items; *item; item++)
		if (*g_strstrip(*item))
			g_strv_builder_add(kept, *item);
	lists->items[axis] = g_strv_builder_end(kept);
	g_strv_builder_unref(kept);
	return *lists->items[axis] ||
	       lab_usage(error, "%s:%u: '%s' is an empty list", ini->path,
			 ini_line(ini, lists->from[axis], row->key), row->key);
}

static bool given_twice(const struct lists *lists, GError **error)
{
	for (gsize i = 0; i < G_N_ELEMENTS(axes_in_options); i++) {
		const char *key = experiment_axes[axes_in_options[i]].key;
		if (g_key_file_has_key(lists->ini->keys, "options", key, NULL) &&
		    g_key_file_has_key(lists->ini->keys, lists->group, key, NULL))
			return !lab_usage(error, "%s:%u: '%s' stands in [%s] too", lists->ini->path,
					  ini_line(lists->ini, "options", key), key, lists->group);
	}
	return false;
}

/* ---- values ---- */

static bool is_ram(const char *text)
{
	uint64_t bytes;
	char *end = NULL;

	if (strcmp(text, "recorded") == 0 || size_parse(text, &bytes))
		return true;
	return g_ascii_strtod(text, &end) > 0 && end != text && strcmp(end, "x") == 0;
}

static bool is_seed(const char *text)
{
	return g_ascii_string_to_unsigned(text, 10, 0, G_MAXINT64, NULL, NULL);
}

static bool is_start(const char *text)
{
	struct run_start start;

	return run_parse_start(text, &start, NULL);
}

/* Names and settings that no cell could have. A plugin is loaded by its cells alone. */
static bool check_heap(const char *name, char **settings, GError **error)
{
	const struct heap_ops *heap[PASSES];
	struct heap_config config = { 0 };

	if (strcmp(name, "none") == 0)
		return !*settings || lab_usage(error, "%s: there is no heap", *settings);
	if (plugin_is_path(name))
		return true;
	if (!run_find_heap(name, heap, error))
		return false;
	for (char **setting = settings; *setting; setting++)
		if (!run_set_heap(heap[PASS_NATIVE], &config, *setting, error))
			return false;
	return true;
}

static bool check_space(const char *tables, const char *space, char **settings, GError **error)
{
	struct space_choice choice = { 0 };

	if (!space_choice_find(&choice, tables, space, error))
		return false;
	for (char **setting = settings; *setting; setting++)
		if (!space_choice_set(&choice, *setting, error))
			return false;
	return true;
}

/* Settings alone: which machine "recorded" is stands in each trace. */
static bool check_machine(char **settings, GError **error)
{
	struct machine_config *machine = machine_config_new(machine_presets[0].name, error);
	bool fine = machine != NULL;

	for (char **setting = settings; fine && *setting; setting++) {
		char *key = *setting + strlen("machine.");
		g_auto(GStrv) pair = g_strsplit(key, "=", 2);
		fine = pair[1] ? machine_config_set(machine, pair[0], pair[1], error)
			       : lab_usage(error, "machine.%s: KEY=VALUE is expected", key);
	}
	if (machine)
		machine_config_free(machine);
	return fine;
}

static bool check_system(enum experiment_axis axis, const char *text, GError **error)
{
	g_autofree char *name = NULL;
	g_auto(GStrv) settings = experiment_settings(text, experiment_axes[axis].slot, &name);

	switch (axis) {
	case AXIS_HEAP:
		return check_heap(name, settings, error);
	case AXIS_TABLES:
		return check_space(name, "none", settings, error);
	case AXIS_SPACE:
		return check_space("direct", name, settings, error);
	case AXIS_MACHINE:
		return check_machine(settings, error);
	default:
		return true;
	}
}

static bool check_value(enum experiment_axis axis, const char *text, GError **error)
{
	const char *key = experiment_axes[axis].key;

	switch (axis) {
	case AXIS_SEED:
		return is_seed(text) || lab_usage(error, "%s '%s' is no number", key, text);
	case AXIS_RAM:
		return is_ram(text) ||
		       lab_usage(error, "%s '%s' is no size (512M, 2x, recorded)", key, text);
	case AXIS_START:
		return is_start(text) ||
		       lab_usage(error, "%s '%s' is not ascending, recorded, shuffled or a fixture",
				 key, text);
	default:
		return !experiment_axes[axis].slot || check_system(axis, text, error);
	}
}

static bool read_lists(struct lists *lists, GError **error)
{
	if (given_twice(lists, error))
		return false;
	for (unsigned axis = 0; axis < EXPERIMENT_AXES; axis++) {
		if (!read_list(lists, axis, error))
			return false;
		for (char **item = lists->items[axis]; *item; item++) {
			if (check_value(axis, *item, error))
				continue;
			g_prefix_error(
				error, "%s:%u: ", lists->ini->path,
				ini_line(lists->ini, lists->from[axis], experiment_axes[axis].key));
			return false;
		}
	}
	return true;
}

/* ---- cells ---- */

/* [options] as words of a command line. */
static char **option_words(const struct ini *ini)
{
	GStrvBuilder *words = g_strv_builder_new();

	for (gsize i = 0; i < G_N_ELEMENTS(switches); i++) {
		g_autofree char *value =
			g_key_file_get_string(ini->keys, "options", switches[i].key, NULL);
		if (value)
			g_strv_builder_add_many(words, switches[i].option, g_strstrip(value), NULL);
	}
	g_autofree char *text = g_key_file_get_string(ini->keys, "options", "set", NULL);
	g_auto(GStrv) settings = g_strsplit(text ? text : "", ";", -1);
	for (char **setting = settings; *setting; setting++)
		if (*g_strstrip(*setting))
			g_strv_builder_add_many(words, "--set", *setting, NULL);
	char **found = g_strv_builder_end(words);
	g_strv_builder_unref(words);
	return found;
}

static void add_cell(const struct lists *lists, struct experiment *experiment,
		     const struct experiment_choice *choice, struct verdict *verdict)
{
	struct experiment_cell *cell = experiment_cell_new(choice);
	enum experiment_axis blamed = AXIS_TRACE;

	experiment_cell_judge(cell, choice, &blamed);
	g_ptr_array_add(experiment->cells, cell);
	if (strcmp(cell->status, "skipped") != 0) {
		verdict->possible++;
	} else if (!verdict->reason) {
		const char *group = lists->from[blamed];
		verdict->reason = g_strdup(cell->message);
		verdict->line = ini_line(lists->ini, group ? group : lists->group,
					 experiment_axes[group ? blamed : AXIS_TRACE].key);
	}
}

/* Counts through all combinations like an odometer, the last axis turning fastest. */
static void make_cells(const struct lists *lists, struct experiment *experiment,
		       char *const *options, struct verdict *verdict)
{
	unsigned at[EXPERIMENT_AXES] = { 0 };
	int axis;

	do {
		struct experiment_choice choice = { .file = lists->ini->path,
						    .experiment = experiment->name,
						    .options = options };
		for (unsigned i = 0; i < EXPERIMENT_AXES; i++) {
			choice.value[i] = lists->items[i][at[i]];
			choice.several[i] = lists->items[i][1] != NULL;
		}
		add_cell(lists, experiment, &choice, verdict);
		for (axis = EXPERIMENT_AXES - 1; axis >= 0 && !lists->items[axis][++at[axis]];
		     axis--)
			at[axis] = 0;
	} while (axis >= 0);
}

static void cell_free(gpointer data)
{
	experiment_cell_free(data);
}

static bool same_run_twice(const struct ini *ini, const struct experiment *experiment,
			   GError **error)
{
	GHashTable *seen = g_hash_table_new(g_str_hash, g_str_equal);
	const char *twice = NULL;

	for (guint i = 0; i < experiment->cells->len && !twice; i++) {
		const struct experiment_cell *cell = g_ptr_array_index(experiment->cells, i);
		if (!g_hash_table_add(seen, cell->run))
			twice = cell->run;
	}
	g_hash_table_unref(seen);
	return twice && !lab_usage(error, "%s: two cells have the same name %s", ini->path, twice);
}

static void name_experiment(const struct ini *ini, struct experiment *experiment)
{
	char *name = g_key_file_get_string(ini->keys, "experiment", "name", NULL);

	if (!name) {
		name = g_path_get_basename(ini->path);
		char *dot = strrchr(name, '.');
		if (dot)
			*dot = '\0';
	}
	experiment->name = name;
	experiment->title = g_key_file_get_string(ini->keys, "experiment", "title", NULL);
	if (!experiment->title)
		experiment->title = g_strdup(name);
}

static bool build_group(const struct ini *ini, const char *group, char *const *options,
			struct experiment *experiment, GError **error)
{
	struct lists lists = { .ini = ini, .group = group };
	struct verdict verdict = { 0 };
	bool fine = read_lists(&lists, error);

	if (fine) {
		make_cells(&lists, experiment, options, &verdict);
		if (!verdict.possible)
			fine = lab_usage(error, "%s:%u: [%s] has no cell that can be run: %s",
					 ini->path, verdict.line, group, verdict.reason);
	}
	g_free(verdict.reason);
	for (unsigned axis = 0; axis < EXPERIMENT_AXES; axis++)
		g_strfreev(lists.items[axis]);
	return fine;
}

static bool build(const struct ini *ini, struct experiment *experiment, GError **error)
{
	g_auto(GStrv) groups = g_key_file_get_groups(ini->keys, NULL);
	g_auto(GStrv) options = option_words(ini);
	bool fine = true, any = false;

	name_experiment(ini, experiment);
	for (char **group = groups; fine && *group; group++)
		fine = check_group(ini, *group, error);
	for (char **group = groups; fine && *group; group++) {
		if (!is_cells(*group))
			continue;
		any = true;
		fine = build_group(ini, *group, options, experiment, error);
	}
	if (fine && !any)
		fine = lab_usage(error, "%s: no [cells] with trace and frames", ini->path);
	return fine && !same_run_twice(ini, experiment, error);
}

struct experiment *experiment_load(const char *path, GError **error)
{
	g_autofree char *text = NULL;
	struct ini ini = { 0 };
	struct experiment *experiment = g_new0(struct experiment, 1);

	experiment->cells = g_ptr_array_new_with_free_func(cell_free);
	bool fine = small_file_read(path, &text, NULL, error) &&
		    ini_parse(&ini, path, text, LAB_ERROR_INPUT, error) &&
		    build(&ini, experiment, error);
	ini_clear(&ini);
	if (fine)
		return experiment;
	experiment_free(experiment);
	return NULL;
}

void experiment_free(struct experiment *experiment)
{
	g_ptr_array_unref(experiment->cells);
	g_free(experiment->name);
	g_free(experiment->title);
	g_free(experiment);
}
