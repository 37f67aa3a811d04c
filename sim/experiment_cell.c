/* From one item of each of an experiment's lists to a command line of `kmemlab replay`. */
#include "sim/experiment_cell.h"

#include <string.h>

#include "sim/lab.h"
#include "sim/plugin.h"
#include "sim/run.h"
#include "workloads/trace.h"

const struct experiment_axis_row experiment_axes[EXPERIMENT_AXES] = {
	[AXIS_TRACE] = { "trace", NULL, NULL, NULL },
	[AXIS_FRAMES] = { "frames", NULL, "--frames", "frames" },
	[AXIS_HEAP] = { "heap", "none", "--heap", "heap" },
	[AXIS_TABLES] = { "tables", "direct", "--tables", "tables" },
	[AXIS_SPACE] = { "space", "none", "--space", "space" },
	[AXIS_MACHINE] = { "machine", "recorded", "--machine", "machine" },
	[AXIS_RAM] = { "ram", "recorded", "--ram", NULL },
	[AXIS_START] = { "start", "ascending", "--start", NULL },
	[AXIS_SEED] = { "seed", "1", "--seed", NULL },
};

char **experiment_settings(const char *text, const char *slot, char **name)
{
	const char *colon = strchr(text, ':');
	GStrvBuilder *builder = g_strv_builder_new();

	if (colon && !strchr(colon, '='))
		colon = NULL;
	*name = colon ? g_strndup(text, (gsize)(colon - text)) : g_strdup(text);
	char **settings = g_strsplit(colon ? colon + 1 : "", ",", -1);
	for (char **setting = settings; *setting; setting++) {
		g_autofree char *whole = g_strconcat(slot, ".", g_strstrip(*setting), NULL);
		g_strv_builder_add(builder, whole);
	}
	g_strfreev(settings);
	char **found = g_strv_builder_end(builder);
	g_strv_builder_unref(builder);
	return found;
}

/* A path in the file is relative to the file. */
static char *beside(const char *file, const char *path)
{
	if (g_path_is_absolute(path))
		return g_strdup(path);
	g_autofree char *folder = g_path_get_dirname(file);
	return g_build_filename(folder, path, NULL);
}

static void add_pair(GPtrArray *argv, const char *option, const char *value)
{
	g_ptr_array_add(argv, g_strdup(option));
	g_ptr_array_add(argv, g_strdup(value));
}

static bool is_fallback(const struct experiment_choice *choice, enum experiment_axis axis)
{
	return g_strcmp0(choice->value[axis], experiment_axes[axis].fallback) == 0;
}

/* What the axis says, as switches. Returns the label that plots use. PLUGIN_PATH is set where a
 * plugin is named; NULL: it cannot be. */
static char *add_axis(const struct experiment_choice *choice, GPtrArray *argv,
		      enum experiment_axis axis, char **plugin_path)
{
	const struct experiment_axis_row *row = &experiment_axes[axis];
	g_autofree char *name = NULL;

	if (!row->slot) {
		if (!is_fallback(choice, axis) || axis != AXIS_RAM)
			add_pair(argv, row->option, choice->value[axis]);
		return g_strdup(choice->value[axis]);
	}
	g_auto(GStrv) settings = experiment_settings(choice->value[axis], row->slot, &name);
	if (plugin_path && plugin_is_path(name))
		*plugin_path = beside(choice->file, name);
	if (axis == AXIS_FRAMES || axis == AXIS_MACHINE || strcmp(name, row->fallback) != 0)
		add_pair(argv, row->option, plugin_path && *plugin_path ? *plugin_path : name);
	for (char **setting = settings; *setting; setting++)
		add_pair(argv, "--set", *setting);
	return run_label(name, row->slot, settings);
}

/* Folder names: what tells cells apart, in letters that no shell minds. */
static char *run_name(const struct experiment_choice *choice, const struct experiment_cell *cell)
{
	GString *name = g_string_new(cell->trace);

	g_string_append_printf(name, ".%s", cell->frames);
	if (!is_fallback(choice, AXIS_HEAP))
		g_string_append_printf(name, ".%s", cell->heap);
	for (unsigned axis = AXIS_TABLES; axis < EXPERIMENT_AXES; axis++) {
		bool system = axis <= AXIS_SPACE;
		if (axis == AXIS_SEED)
			g_string_append_printf(name, ".s%s", choice->value[axis]);
		else if (system ? !is_fallback(choice, axis) ||
					  (axis == AXIS_TABLES && choice->several[axis])
				: choice->several[axis])
			g_string_append_printf(name, ".%s", choice->value[axis]);
	}
	for (char *at = name->str; *at; at++)
		if (!g_ascii_isalnum(*at) && !strchr(".-_=+", *at))
			*at = '+';
	return g_string_free(name, FALSE);
}

struct experiment_cell *experiment_cell_new(const struct experiment_choice *choice)
{
	struct experiment_cell *cell = g_new0(struct experiment_cell, 1);
	GPtrArray *argv = g_ptr_array_new();
	char *base = g_path_get_basename(choice->value[AXIS_TRACE]);
	char **labels[EXPERIMENT_AXES] = {
		[AXIS_FRAMES] = &cell->frames,	 [AXIS_HEAP] = &cell->heap,
		[AXIS_TABLES] = &cell->tables,	 [AXIS_SPACE] = &cell->space,
		[AXIS_MACHINE] = &cell->machine, [AXIS_RAM] = &cell->ram,
		[AXIS_START] = &cell->start,
	};

	char **plugin[EXPERIMENT_AXES] = {
		[AXIS_FRAMES] = &cell->frames_path,
		[AXIS_HEAP] = &cell->heap_path,
	};

	cell->trace_path = beside(choice->file, choice->value[AXIS_TRACE]);
	if (g_str_has_suffix(base, ".kmt"))
		base[strlen(base) - strlen(".kmt")] = '\0';
	cell->trace = base;
	cell->seed = g_ascii_strtoull(choice->value[AXIS_SEED], NULL, 10);
	cell->status = "pending";
	g_ptr_array_add(argv, g_strdup("kmemlab"));
	add_pair(argv, "replay", cell->trace_path);
	for (unsigned axis = AXIS_FRAMES; axis < EXPERIMENT_AXES; axis++) {
		char *label = add_axis(choice, argv, axis, plugin[axis]);
		if (labels[axis])
			*labels[axis] = label;
		else
			g_free(label);
	}
	cell->run = run_name(choice, cell);
	for (char *const *word = choice->options; *word; word++)
		g_ptr_array_add(argv, g_strdup(*word));
	g_autofree char *named = g_strconcat(choice->experiment, "/", cell->run, NULL);
	add_pair(argv, "--name", named);
	g_ptr_array_add(argv, NULL);
	cell->argv = (char **)g_ptr_array_free(argv, FALSE);
	return cell;
}

void experiment_cell_free(struct experiment_cell *cell)
{
	g_free(cell->run);
	g_free(cell->trace_path);
	g_free(cell->trace);
	g_free(cell->frames);
	g_free(cell->frames_path);
	g_free(cell->heap);
	g_free(cell->heap_path);
	g_free(cell->tables);
	g_free(cell->space);
	g_free(cell->machine);
	g_free(cell->ram);
	g_free(cell->start);
	g_strfreev(cell->argv);
	g_free(cell->message);
	g_free(cell);
}

/* ---- what cannot be ---- */

static uint64_t count_kinds(const struct trace_meta *meta, enum event_kind first,
			    enum event_kind last)
{
	uint64_t sum = 0;

	for (unsigned kind = first; kind <= (unsigned)last; kind++)
		sum += meta->kind_count[kind];
	return sum;
}

/* What a replay would find nothing of in the trace. NULL: it has what was chosen. */
static char *nothing_to_replay(const struct experiment_cell *cell, const struct trace_meta *meta,
			       enum experiment_axis *blamed)
{
	bool heap = strcmp(cell->heap, "none") != 0, space = strcmp(cell->space, "none") != 0;
	bool frames =
		count_kinds(meta, EVENT_FRAME_ALLOC, EVENT_FRAME_ALLOC_FAILED) || meta->prologue;
	bool objects = meta->kind_count[EVENT_HEAP_ALLOC];
	bool processes = count_kinds(meta, EVENT_SPAWN, EVENT_TOUCH);

	*blamed = heap ? AXIS_HEAP : AXIS_SPACE;
	if (heap && space)
		return g_strdup("a heap and address spaces are replayed apart");
	if (heap && !objects)
		return g_strdup_printf("%s holds no heap events", cell->trace);
	if (space && !processes)
		return g_strdup_printf("%s holds no processes", cell->trace);
	if (heap || space || frames)
		return NULL;
	*blamed = objects ? AXIS_HEAP : AXIS_SPACE;
	if (!objects && !processes)
		return NULL; /* no events at all: there is nothing to choose */
	return g_strdup_printf("%s holds no frame events: it needs a %s", cell->trace,
			       objects ? "heap" : "space");
}

/* The slots' settings of the choice and of [options]. */
static char **all_settings(const struct experiment_cell *cell)
{
	GStrvBuilder *builder = g_strv_builder_new();

	for (char **word = cell->argv; word[0] && word[1]; word++)
		if (strcmp(word[0], "--set") == 0)
			g_strv_builder_add(builder, word[1]);
	char **settings = g_strv_builder_end(builder);
	g_strv_builder_unref(builder);
	return settings;
}

/* The value of a switch, NULL if it is not there. */
static const char *switch_value(const struct experiment_cell *cell, const char *option)
{
	for (char **word = cell->argv; word[0] && word[1]; word++)
		if (strcmp(word[0], option) == 0)
			return word[1];
	return NULL;
}

static bool machine_takes(const struct experiment_cell *cell, GError **error)
{
	const char *tables = switch_value(cell, "--tables"), *cpus = switch_value(cell, "--cpus");
	const struct frame_ops *unused[PASSES];
	g_auto(GStrv) settings = all_settings(cell);
	struct run_config config = {
		.trace_path = cell->trace_path,
		.frames = switch_value(cell, "--frames"),
		.heap = switch_value(cell, "--heap"),
		.tables = tables ? tables : "direct",
		.space = switch_value(cell, "--space"),
		.settings = settings,
		.machine = switch_value(cell, "--machine"),
		.ram = switch_value(cell, "--ram"),
		.cpus = cpus ? (unsigned)g_ascii_strtoull(cpus, NULL, 10) : 0,
	};

	/* A plugin is loaded by its cell alone. */
	if (cell->frames_path || cell->heap_path || !run_find_frames(config.frames, unused, NULL))
		return true;
	return run_possible(&config, error);
}

void experiment_cell_judge(struct experiment_cell *cell, const struct experiment_choice *choice,
			   enum experiment_axis *blamed)
{
	struct trace_reader *reader = trace_reader_open(cell->trace_path, NULL);
	g_autoptr(GError) error = NULL;

	if (!reader)
		return;
	cell->message = nothing_to_replay(cell, trace_reader_meta(reader), blamed);
	trace_reader_free(reader);
	/* Other reasons are the cell's own: too little RAM, a file that is damaged. */
	if (!cell->message && !machine_takes(cell, &error) &&
	    g_error_matches(error, LAB_ERROR, LAB_ERROR_USAGE)) {
		*blamed = is_fallback(choice, AXIS_TABLES) ? AXIS_MACHINE : AXIS_TABLES;
		cell->message = g_strdup(error->message);
	}
	if (cell->message)
		cell->status = "skipped";
}
