#include "sim/cli/cli.h"

#include <stdio.h>
#include <string.h>

#include "alloc/frame/frame.h"
#include "alloc/heap/heap.h"
#include "alloc/space/space.h"
#include "sim/fragmentation.h"
#include "sim/machine.h"
#include "sim/run.h"
#include "sim/size.h"
#include "workloads/generate/generate.h"

/* Of a page-frame allocator or a heap: what it can do, its settings, which builds of it there are;
 * of a generator its parameters. */
struct details {
	const char *const *cap_names;
	unsigned caps;
	const struct frame_option *options;
	bool pass[PASSES];
	const struct generate_parameter *parameters;
};

/* One line of a list: what --json gives as {name, id, summary, capabilities, ...}. DETAILS may be
 * NULL. */
typedef void (*emit_fn)(void *context, const char *name, const char *id, const char *summary,
			const struct details *details);

/* Files to list beside the lab's own systems. */
static char **frame_plugins, **heap_plugins;

static char **capability_names(const char *const *all, unsigned caps)
{
	GPtrArray *names = g_ptr_array_new();

	for (unsigned bit = 0; all && all[bit]; bit++)
		if (caps & (1u << bit))
			g_ptr_array_add(names, g_strdup(all[bit]));
	g_ptr_array_add(names, NULL);
	return (char **)g_ptr_array_free(names, FALSE);
}

static void emit_frames(emit_fn emit, void *context, const char *name)
{
	const struct frame_ops *frames[PASSES];

	/* Plugins were loaded before anything was printed. */
	if (!run_find_frames(name, frames, NULL))
		return;
	const struct frame_ops *ops = frames[PASS_NATIVE];
	struct details details = {
		frame_cap_names, ops->caps, ops->options, { true, frames[PASS_PROBED] != NULL }
	};
	emit(context, name, ops->id, ops->summary, &details);
}

static void list_frames(emit_fn emit, void *context)
{
	for (const struct frame_ops *const *ops = frame_registry; *ops; ops++)
		emit_frames(emit, context, (*ops)->name);
	for (char **plugin = frame_plugins; plugin && *plugin; plugin++)
		emit_frames(emit, context, *plugin);
}

static void emit_heap(emit_fn emit, void *context, const char *name)
{
	const struct heap_ops *heap[PASSES];

	if (!run_find_heap(name, heap, NULL))
		return;
	const struct heap_ops *ops = heap[PASS_NATIVE];
	struct details details = {
		heap_cap_names, ops->caps, ops->options, { true, heap[PASS_PROBED] != NULL }
	};
	emit(context, name, ops->id, ops->summary, &details);
}

static void list_heaps(emit_fn emit, void *context)
{
	for (const struct heap_ops *const *ops = heap_registry; *ops; ops++)
		emit_heap(emit, context, (*ops)->name);
	for (char **plugin = heap_plugins; plugin && *plugin; plugin++)
		emit_heap(emit, context, *plugin);
}

static void list_tables(emit_fn emit, void *context)
{
	for (const struct table_ops *const *ops = table_registry; *ops; ops++) {
		struct details details = {
			table_cap_names, (*ops)->caps, (*ops)->options, { true, true }
		};
		emit(context, (*ops)->name, (*ops)->id, (*ops)->summary, &details);
	}
}

static void list_spaces(emit_fn emit, void *context)
{
	for (const struct space_ops *const *ops = space_registry; *ops; ops++) {
		struct details details = {
			space_cap_names, (*ops)->caps, (*ops)->options, { true, true }
		};
		emit(context, (*ops)->name, (*ops)->id, (*ops)->summary, &details);
	}
}

static void list_machines(emit_fn emit, void *context)
{
	emit(context, "recorded", "-", "the machine that the trace was recorded on", NULL);
	for (const struct machine_preset *preset = machine_presets; preset->name; preset++)
		emit(context, preset->name, machine_layout(preset->arch)->arch, preset->summary,
		     NULL);
}

static void list_starts(emit_fn emit, void *context)
{
	emit(context, "ascending", "-", "the trace's start state, placed by recorded frame number",
	     NULL);
	emit(context, "recorded", "-", "the trace's start state, at the recorded frames", NULL);
	emit(context, "shuffled", "-", "the trace's start state, placed in an order by seed", NULL);
	for (const struct fixture *fixture = fixtures; fixture->name; fixture++)
		emit(context, fixture->name, "-", fixture->summary, NULL);
}

static void list_workloads(emit_fn emit, void *context)
{
	for (const struct generator *const *one = generators; *one; one++) {
		struct details details = { .parameters = (*one)->parameters };
		emit(context, (*one)->name, (*one)->family, (*one)->summary, &details);
	}
}

static void list_metrics(emit_fn emit, void *context)
{
	for (unsigned i = 0; i < metrics_count(); i++) {
		const struct metric *metric = metrics_at(i);
		char row[12];
		char *summary = *metric->unit
					? g_strdup_printf("%s [%s]", metric->help, metric->unit)
					: g_strdup(metric->help);
		g_snprintf(row, sizeof(row), metric->row ? "%u" : "-", metric->row);
		emit(context, metric->name, row, summary, NULL);
		g_free(summary);
	}
}

static const struct {
	const char *name;
	void (*list)(emit_fn emit, void *context);
} kinds[] = {
	{ "frames", list_frames }, { "heaps", list_heaps },	  { "tables", list_tables },
	{ "spaces", list_spaces }, { "machines", list_machines }, { "workloads", list_workloads },
	{ "starts", list_starts }, { "metrics", list_metrics },
};

static char *describe_setting(const struct frame_option *option)
{
	if (!option->choices)
		return g_strdup_printf("%s=%" G_GUINT64_FORMAT "  %s", option->key, option->value,
				       option->help);
	char *choices = g_strjoinv("|", (char **)(uintptr_t)option->choices);
	char *text = g_strdup_printf("%s=%s  %s (%s)", option->key, option->choices[option->value],
				     option->help, choices);
	g_free(choices);
	return text;
}

static void emit_text(void *context, const char *name, const char *id, const char *summary,
		      const struct details *details)
{
	printf("  %-24s %-7s %s\n", name, id, summary);
	if (!details)
		return;
	char **names = capability_names(details->cap_names, details->caps);
	char *caps = g_strjoinv(" ", names);
	if (*caps)
		printf("  %-24s %-7s   can: %s\n", "", "", caps);
	for (unsigned i = 0; details->options && details->options[i].key; i++) {
		char *setting = describe_setting(&details->options[i]);
		printf("  %-24s %-7s   set: %s\n", "", "", setting);
		g_free(setting);
	}
	for (unsigned i = 0; details->parameters && details->parameters[i].key; i++) {
		const struct generate_parameter *one = &details->parameters[i];
		char *value = generate_value_text(one, one->preset);
		printf("  %-24s %-7s   set: %s=%s  %s%s%s\n", "", "", one->key, value, one->meaning,
		       *one->unit ? ", " : "", one->unit);
		g_free(value);
	}
	if (details->pass[PASS_NATIVE] && !details->pass[PASS_PROBED])
		printf("  %-24s %-7s   native pass only\n", "", "");
	g_free(caps);
	g_strfreev(names);
}

static void add_strings(JsonBuilder *json, const char *key, const char *const *values)
{
	json_builder_begin_array(json_builder_set_member_name(json, key));
	for (; values && *values; values++)
		json_builder_add_string_value(json, *values);
	json_builder_end_array(json);
}

static void add_setting(JsonBuilder *json, const struct frame_option *option)
{
	json_builder_begin_object(json);
	json_builder_add_string_value(json_builder_set_member_name(json, "key"), option->key);
	json_builder_add_string_value(json_builder_set_member_name(json, "help"), option->help);
	json_builder_set_member_name(json, "default");
	if (option->choices) {
		json_builder_add_string_value(json, option->choices[option->value]);
		add_strings(json, "choices", option->choices);
	} else {
		json_builder_add_int_value(json, (gint64)option->value);
		json_builder_add_int_value(json_builder_set_member_name(json, "min"),
					   (gint64)option->min);
		/* JSON's integers end at 2^63 - 1 here. */
		json_builder_add_int_value(json_builder_set_member_name(json, "max"),
					   (gint64)MIN(option->max, (uint64_t)G_MAXINT64));
	}
	json_builder_end_object(json);
}

/* Values as text: with decimals or units, as the command line takes them. */
static void add_parameter(JsonBuilder *json, const struct generate_parameter *one)
{
	const struct {
		const char *key;
		uint64_t value;
	} values[] = { { "default", one->preset }, { "min", one->least }, { "max", one->most } };

	json_builder_begin_object(json);
	json_builder_add_string_value(json_builder_set_member_name(json, "key"), one->key);
	json_builder_add_string_value(json_builder_set_member_name(json, "help"), one->meaning);
	json_builder_add_string_value(json_builder_set_member_name(json, "unit"), one->unit);
	for (unsigned i = 0; i < G_N_ELEMENTS(values); i++) {
		char *text = generate_value_text(one, values[i].value);
		json_builder_add_string_value(json_builder_set_member_name(json, values[i].key),
					      text);
		g_free(text);
	}
	json_builder_end_object(json);
}

static void add_details(JsonBuilder *json, const struct details *details)
{
	json_builder_begin_array(json_builder_set_member_name(json, "settings"));
	for (unsigned i = 0; details->options && details->options[i].key; i++)
		add_setting(json, &details->options[i]);
	for (unsigned i = 0; details->parameters && details->parameters[i].key; i++)
		add_parameter(json, &details->parameters[i]);
	json_builder_end_array(json);
	if (!details->pass[PASS_NATIVE])
		return;
	json_builder_begin_array(json_builder_set_member_name(json, "passes"));
	for (unsigned pass = 0; pass < PASSES; pass++)
		if (details->pass[pass])
			json_builder_add_string_value(json, kernels[pass].name);
	json_builder_end_array(json);
}

static void emit_json(void *context, const char *name, const char *id, const char *summary,
		      const struct details *details)
{
	JsonBuilder *json = context;
	char **caps =
		capability_names(details ? details->cap_names : NULL, details ? details->caps : 0);

	json_builder_begin_object(json);
	json_builder_add_string_value(json_builder_set_member_name(json, "name"), name);
	json_builder_add_string_value(json_builder_set_member_name(json, "id"), id);
	json_builder_add_string_value(json_builder_set_member_name(json, "summary"), summary);
	add_strings(json, "capabilities", (const char *const *)caps);
	if (details)
		add_details(json, details);
	json_builder_end_object(json);
	g_strfreev(caps);
}

static void print_kind(unsigned kind, JsonBuilder *json)
{
	if (json) {
		json_builder_begin_array(json);
		kinds[kind].list(emit_json, json);
		json_builder_end_array(json);
	} else {
		printf("%s:\n", kinds[kind].name);
		kinds[kind].list(emit_text, NULL);
	}
}

static void print_all(JsonBuilder *json)
{
	if (json)
		json_builder_begin_object(json);
	for (unsigned kind = 0; kind < G_N_ELEMENTS(kinds); kind++) {
		if (json)
			json_builder_set_member_name(json, kinds[kind].name);
		print_kind(kind, json);
	}
	if (json)
		json_builder_end_object(json);
}

/* Whether every plugin can be loaded, before anything is printed. */
static int try_plugins(void)
{
	const struct frame_ops *frames[PASSES];
	const struct heap_ops *heap[PASSES];
	GError *error = NULL;

	for (char **plugin = frame_plugins; plugin && *plugin; plugin++)
		if (!run_find_frames(*plugin, frames, &error))
			return cli_fail(error);
	for (char **plugin = heap_plugins; plugin && *plugin; plugin++)
		if (!run_find_heap(*plugin, heap, &error))
			return cli_fail(error);
	return CLI_OK;
}

static void forget_plugins(void)
{
	g_clear_pointer(&frame_plugins, g_strfreev);
	g_clear_pointer(&heap_plugins, g_strfreev);
}

int cli_list(const struct cli_command *command, int argc, char **argv)
{
	gboolean as_json = FALSE;
	const GOptionEntry entries[] = {
		{ "frames", 'f', 0, G_OPTION_ARG_FILENAME_ARRAY, &frame_plugins,
		  "List this plugin too; may be repeated", "PLUGIN.so" },
		{ "heap", 0, 0, G_OPTION_ARG_FILENAME_ARRAY, &heap_plugins,
		  "List this heap's plugin too; may be repeated", "PLUGIN.so" },
		{ "json", 0, 0, G_OPTION_ARG_NONE, &as_json, "Print JSON", NULL },
		{ NULL },
	};
	char **rest;
	int code = cli_parse(command, entries, -1, argc, argv, &rest);

	if (code == CLI_OK)
		code = try_plugins();
	if (code != CLI_OK) {
		forget_plugins();
		g_strfreev(rest);
		return code;
	}
	JsonBuilder *json = as_json ? json_builder_new() : NULL;
	unsigned kind = 0;
	while (rest[0] && kind < G_N_ELEMENTS(kinds) && strcmp(rest[0], kinds[kind].name) != 0)
		kind++;
	if (kind == G_N_ELEMENTS(kinds))
		code = cli_usage("there is no list '%s'; %s", rest[0], command->arguments);
	else if (rest[0])
		print_kind(kind, json);
	else
		print_all(json);
	if (json && code == CLI_OK)
		cli_print_json(json_builder_get_root(json));
	g_clear_object(&json);
	forget_plugins();
	g_strfreev(rest);
	return code;
}
