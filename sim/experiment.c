/* Reading an experiment file: lists become cells, cells become command lines of `kmemlab replay`.
 */
#include "sim/experiment.h"

#include <string.h>

#include "sim/lab.h"
#include "sim/plugin.h"
#include "sim/run.h"
#include "sim/size.h"
#include "workloads/small_file.h"

/* The lists of [cells], outermost first. */
enum axis {
	AXIS_TRACE = 0,
	AXIS_FRAMES,
	AXIS_HEAP,
	AXIS_MACHINE,
	AXIS_RAM,
	AXIS_START,
	AXIS_SEED,
	AXES
};

static const struct {
	const char *key;
	const char *fallback; /* NULL: must be given */
} axes[AXES] = {
	[AXIS_TRACE] = { "trace", NULL },   [AXIS_FRAMES] = { "frames", NULL },
	[AXIS_HEAP] = { "heap", "none" },   [AXIS_MACHINE] = { "machine", "recorded" },
	[AXIS_RAM] = { "ram", "recorded" }, [AXIS_START] = { "start", "ascending" },
	[AXIS_SEED] = { "seed", "1" },
};

/* Keys of [options] and the switches of `kmemlab replay` that they are. */
static const struct {
	const char *key, *option;
} switches[] = {
	{ "pass", "--pass" },
	{ "place", "--place" },
	{ "cpus", "--cpus" },
	{ "tables", "--tables" },
	{ "space", "--space" },
	{ "until", "--until" },
	{ "sample-events", "--sample-events" },
	{ "sample-ns", "--sample-ns" },
	{ "check-events", "--check-events" },
	{ "host-memory", "--host-memory" },
	{ "time-limit", "--time-limit" },
};

struct source {
	const char *path;
	GKeyFile *keys;
	char *text;
};

/* GKeyFile keeps no line numbers: the first line of GROUP that gives KEY, or with KEY NULL its
 * header. 0 if there is none. */
static unsigned line_of(const struct source *source, const char *group, const char *key)
{
	char **lines = g_strsplit(source->text, "\n", -1);
	char *header = g_strdup_printf("[%s]", group);
	bool inside = false;
	unsigned number = 0;

	for (unsigned i = 0; lines[i] && !number; i++) {
		char *line = g_strstrip(lines[i]);
		gsize length = strcspn(line, "= \t");
		if (*line == '[')
			inside = strcmp(line, header) == 0;
		if (inside &&
		    (key ? length == strlen(key) && strncmp(line, key, length) == 0 : *line == '['))
			number = i + 1;
	}
	g_strfreev(lines);
	g_free(header);
	return number;
}

static bool known_key(const char *group, const char *key)
{
	if (strcmp(group, "experiment") == 0)
		return strcmp(key, "name") == 0 || strcmp(key, "title") == 0;
	if (strcmp(group, "cells") == 0) {
		for (unsigned i = 0; i < AXES; i++)
			if (strcmp(key, axes[i].key) == 0)
				return true;
		return false;
	}
	for (gsize i = 0; i < G_N_ELEMENTS(switches); i++)
		if (strcmp(key, switches[i].key) == 0)
			return true;
	return strcmp(key, "set") == 0;
}

static bool check_keys(const struct source *source, GError **error)
{
	char **groups = g_key_file_get_groups(source->keys, NULL);
	bool fine = true;

	for (char **group = groups; fine && *group; group++) {
		if (strcmp(*group, "experiment") != 0 && strcmp(*group, "cells") != 0 &&
		    strcmp(*group, "options") != 0) {
			fine = lab_usage(error,
					 "%s:%u: unknown group [%s] (experiment, cells, options)",
					 source->path, line_of(source, *group, NULL), *group);
			break;
		}
		char **keys = g_key_file_get_keys(source->keys, *group, NULL, NULL);
		for (char **key = keys; fine && *key; key++)
			if (!known_key(*group, *key))
				fine = lab_usage(error, "%s:%u: unknown key '%s' in [%s]",
						 source->path, line_of(source, *group, *key), *key,
						 *group);
		g_strfreev(keys);
	}
	g_strfreev(groups);
	return fine;
}

/* The items of a list, stripped, none empty. NULL with error. */
static char **read_list(const struct source *source, enum axis axis, GError **error)
{
	char *text = g_key_file_get_string(source->keys, "cells", axes[axis].key, NULL);

	if (!text && !axes[axis].fallback) {
		lab_usage(error, "%s: [cells] has no '%s'", source->path, axes[axis].key);
		return NULL;
	}
	char **items = g_strsplit(text ? text : axes[axis].fallback, ";", -1);
	GPtrArray *kept = g_ptr_array_new();
	for (char **item = items; *item; item++) {
		g_strstrip(*item);
		if (**item)
			g_ptr_array_add(kept, g_strdup(*item));
	}
	g_strfreev(items);
	g_free(text);
	g_ptr_array_add(kept, NULL);
	char **list = (char **)g_ptr_array_free(kept, FALSE);
	if (!*list) {
		lab_usage(error, "%s:%u: '%s' is an empty list", source->path,
			  line_of(source, "cells", axes[axis].key), axes[axis].key);
		g_clear_pointer(&list, g_strfreev);
	}
	return list;
}

/* A path in the file is relative to the file. */
static char *beside(const struct source *source, const char *path)
{
	char *folder = g_path_get_dirname(source->path);
	char *whole =
		g_path_is_absolute(path) ? g_strdup(path) : g_build_filename(folder, path, NULL);

	g_free(folder);
	return whole;
}

/* "name[:key=value,...]", where the name may be a plugin's file. */
static void add_frames(const struct source *source, GPtrArray *argv, const char *text,
		       struct experiment_cell *cell)
{
	char **parts = g_strsplit(text, ":", 2);
	char **settings = g_strsplit(parts[1] ? parts[1] : "", ",", -1);
	GPtrArray *set = g_ptr_array_new_with_free_func(g_free);

	if (plugin_is_path(parts[0]))
		cell->frames_path = beside(source, parts[0]);
	g_ptr_array_add(argv, g_strdup("--frames"));
	g_ptr_array_add(argv, g_strdup(cell->frames_path ? cell->frames_path : parts[0]));
	for (char **setting = settings; *setting; setting++) {
		g_ptr_array_add(argv, g_strdup("--set"));
		g_ptr_array_add(argv, g_strconcat("frames.", *setting, NULL));
		g_ptr_array_add(set, g_strconcat("frames.", *setting, NULL));
	}
	g_ptr_array_add(set, NULL);
	cell->frames = run_label(parts[0], "frames", (char **)set->pdata);
	g_ptr_array_unref(set);
	g_strfreev(settings);
	g_strfreev(parts);
}

static void add_pair(GPtrArray *argv, const char *option, const char *value)
{
	g_ptr_array_add(argv, g_strdup(option));
	g_ptr_array_add(argv, g_strdup(value));
}

/* "tlsf:segment=16"; "none" adds nothing. */
static void add_heap(const struct source *source, GPtrArray *argv, const char *text,
		     struct experiment_cell *cell)
{
	char **parts = g_strsplit(text, ":", 2);
	char **settings = g_strsplit(parts[1] ? parts[1] : "", ",", -1);
	GPtrArray *set = g_ptr_array_new_with_free_func(g_free);

	if (plugin_is_path(parts[0]))
		cell->heap_path = beside(source, parts[0]);
	if (strcmp(text, "none") != 0)
		add_pair(argv, "--heap", cell->heap_path ? cell->heap_path : parts[0]);
	for (char **setting = settings; *setting; setting++) {
		g_ptr_array_add(argv, g_strdup("--set"));
		g_ptr_array_add(argv, g_strconcat("heap.", *setting, NULL));
		g_ptr_array_add(set, g_strconcat("heap.", *setting, NULL));
	}
	g_ptr_array_add(set, NULL);
	cell->heap = run_label(parts[0], "heap", (char **)set->pdata);
	g_ptr_array_unref(set);
	g_strfreev(settings);
	g_strfreev(parts);
}

static void add_options(const struct source *source, GPtrArray *argv)
{
	for (gsize i = 0; i < G_N_ELEMENTS(switches); i++) {
		char *value = g_key_file_get_string(source->keys, "options", switches[i].key, NULL);
		if (value)
			add_pair(argv, switches[i].option, g_strstrip(value));
		g_free(value);
	}
	char *text = g_key_file_get_string(source->keys, "options", "set", NULL);
	char **settings = g_strsplit(text ? text : "", ";", -1);
	for (char **setting = settings; *setting; setting++)
		if (*g_strstrip(*setting))
			add_pair(argv, "--set", *setting);
	g_strfreev(settings);
	g_free(text);
}

/* Folder names: what tells cells apart, in letters that no shell minds. */
static char *run_name(char **const lists[AXES], const char *const value[AXES],
		      const struct experiment_cell *cell)
{
	GString *name = g_string_new(cell->trace);

	g_string_append_printf(name, ".%s", cell->frames);
	if (strcmp(cell->heap, "none") != 0)
		g_string_append_printf(name, ".%s", cell->heap);
	for (unsigned axis = AXIS_MACHINE; axis < AXES; axis++)
		if (axis == AXIS_SEED)
			g_string_append_printf(name, ".s%s", value[axis]);
		else if (g_strv_length(lists[axis]) > 1)
			g_string_append_printf(name, ".%s", value[axis]);
	for (char *at = name->str; *at; at++)
		if (!g_ascii_isalnum(*at) && !strchr(".-_=+", *at))
			*at = '+';
	return g_string_free(name, FALSE);
}

static struct experiment_cell *make_cell(const struct source *source,
					 const struct experiment *experiment,
					 char **const lists[AXES], const char *const value[AXES])
{
	struct experiment_cell *cell = g_new0(struct experiment_cell, 1);
	GPtrArray *argv = g_ptr_array_new();
	char *base = g_path_get_basename(value[AXIS_TRACE]);

	cell->trace_path = beside(source, value[AXIS_TRACE]);
	cell->trace = g_str_has_suffix(base, ".kmt")
			      ? g_strndup(base, strlen(base) - strlen(".kmt"))
			      : g_strdup(base);
	cell->machine = g_strdup(value[AXIS_MACHINE]);
	cell->ram = g_strdup(value[AXIS_RAM]);
	cell->start = g_strdup(value[AXIS_START]);
	cell->seed = g_ascii_strtoull(value[AXIS_SEED], NULL, 10);
	cell->status = "pending";
	g_ptr_array_add(argv, g_strdup("kmemlab"));
	g_ptr_array_add(argv, g_strdup("replay"));
	g_ptr_array_add(argv, g_strdup(cell->trace_path));
	add_frames(source, argv, value[AXIS_FRAMES], cell);
	add_heap(source, argv, value[AXIS_HEAP], cell);
	cell->run = run_name(lists, value, cell);
	add_pair(argv, "--machine", cell->machine);
	if (strcmp(cell->ram, "recorded") != 0)
		add_pair(argv, "--ram", cell->ram);
	add_pair(argv, "--start", cell->start);
	add_pair(argv, "--seed", value[AXIS_SEED]);
	add_options(source, argv);
	char *named = g_strconcat(experiment->name, "/", cell->run, NULL);
	add_pair(argv, "--name", named);
	g_free(named);
	g_ptr_array_add(argv, NULL);
	cell->argv = (char **)g_ptr_array_free(argv, FALSE);
	g_free(base);
	return cell;
}

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

static bool check_values(const struct source *source, char **const lists[AXES], GError **error)
{
	static const struct {
		enum axis axis;
		bool (*fine)(const char *);
		const char *wanted;
	} checks[] = {
		{ AXIS_SEED, is_seed, "no number" },
		{ AXIS_RAM, is_ram, "no size (512M, 2x, recorded)" },
		{ AXIS_START, is_start, "not ascending, recorded, shuffled or a fixture" },
	};

	for (gsize i = 0; i < G_N_ELEMENTS(checks); i++) {
		const char *key = axes[checks[i].axis].key;
		for (char **value = lists[checks[i].axis]; *value; value++)
			if (!checks[i].fine(*value))
				return lab_usage(error, "%s:%u: %s '%s' is %s", source->path,
						 line_of(source, "cells", key), key, *value,
						 checks[i].wanted);
	}
	return true;
}

/* Counts through all combinations like an odometer, the last axis turning fastest. */
static void make_cells(const struct source *source, struct experiment *experiment,
		       char **const lists[AXES])
{
	unsigned at[AXES] = { 0 };
	int axis;

	do {
		const char *value[AXES];
		for (unsigned i = 0; i < AXES; i++)
			value[i] = lists[i][at[i]];
		g_ptr_array_add(experiment->cells, make_cell(source, experiment, lists, value));
		for (axis = AXES - 1; axis >= 0 && !lists[axis][++at[axis]]; axis--)
			at[axis] = 0;
	} while (axis >= 0);
}

static void cell_free(gpointer data)
{
	struct experiment_cell *cell = data;

	g_free(cell->run);
	g_free(cell->trace_path);
	g_free(cell->trace);
	g_free(cell->frames);
	g_free(cell->frames_path);
	g_free(cell->heap);
	g_free(cell->heap_path);
	g_free(cell->machine);
	g_free(cell->ram);
	g_free(cell->start);
	g_strfreev(cell->argv);
	g_free(cell->message);
	g_free(cell);
}

static bool same_run_twice(const struct source *source, const struct experiment *experiment,
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
	return twice &&
	       !lab_usage(error, "%s: two cells have the same name %s", source->path, twice);
}

static bool build(const struct source *source, struct experiment *experiment, GError **error)
{
	char **lists[AXES] = { NULL };
	bool fine = check_keys(source, error);

	for (unsigned axis = 0; fine && axis < AXES; axis++)
		fine = (lists[axis] = read_list(source, axis, error)) != NULL;
	fine = fine && check_values(source, lists, error);
	if (fine) {
		char *base = g_path_get_basename(source->path);
		char *name = g_key_file_get_string(source->keys, "experiment", "name", NULL);
		char *dot = strrchr(base, '.');
		if (dot)
			*dot = '\0';
		experiment->name = name ? name : g_strdup(base);
		experiment->title =
			g_key_file_get_string(source->keys, "experiment", "title", NULL);
		if (!experiment->title)
			experiment->title = g_strdup(experiment->name);
		g_free(base);
		make_cells(source, experiment, lists);
		fine = !same_run_twice(source, experiment, error);
	}
	for (unsigned axis = 0; axis < AXES; axis++)
		g_strfreev(lists[axis]);
	return fine;
}

struct experiment *experiment_load(const char *path, GError **error)
{
	struct source source = { .path = path, .keys = g_key_file_new() };
	struct experiment *experiment = g_new0(struct experiment, 1);
	GError *cause = NULL;
	gsize length;

	experiment->cells = g_ptr_array_new_with_free_func(cell_free);
	bool fine = small_file_read(path, &source.text, &length, error);
	if (fine &&
	    !g_key_file_load_from_data(source.keys, source.text, length, G_KEY_FILE_NONE, &cause)) {
		g_set_error(error, LAB_ERROR, LAB_ERROR_INPUT, "%s: %s", path, cause->message);
		g_error_free(cause);
		fine = false;
	}
	fine = fine && build(&source, experiment, error);
	g_key_file_unref(source.keys);
	g_free(source.text);
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
