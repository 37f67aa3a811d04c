#include "sim/cli/cli.h"

#include <stdio.h>
#include <string.h>

#include "alloc/frame/frame.h"
#include "alloc/space/space.h"
#include "sim/fragmentation.h"
#include "sim/machine.h"
#include "sim/size.h"
#include "workloads/generate/generate.h"

/* One line of a list: what --json gives as {name, id, summary, capabilities}. */
typedef void (*emit_fn)(void *context, const char *name, const char *id, const char *summary,
			char **capabilities);

static char **capability_names(const char *const *cap_names, unsigned caps)
{
	GPtrArray *names = g_ptr_array_new();

	for (unsigned bit = 0; cap_names[bit]; bit++)
		if (caps & (1u << bit))
			g_ptr_array_add(names, g_strdup(cap_names[bit]));
	g_ptr_array_add(names, NULL);
	return (char **)g_ptr_array_free(names, FALSE);
}

static void list_frames(emit_fn emit, void *context)
{
	for (const struct frame_ops *const *ops = frame_registry; *ops; ops++) {
		char **caps = capability_names(frame_cap_names, (*ops)->caps);
		emit(context, (*ops)->name, (*ops)->id, (*ops)->summary, caps);
		g_strfreev(caps);
	}
}

static void list_tables(emit_fn emit, void *context)
{
	for (const struct table_ops *const *ops = table_registry; *ops; ops++) {
		char **caps = capability_names(table_cap_names, (*ops)->caps);
		emit(context, (*ops)->name, (*ops)->id, (*ops)->summary, caps);
		g_strfreev(caps);
	}
}

static void list_spaces(emit_fn emit, void *context)
{
	for (const struct space_ops *const *ops = space_registry; *ops; ops++) {
		char **caps = capability_names(space_cap_names, (*ops)->caps);
		emit(context, (*ops)->name, (*ops)->id, (*ops)->summary, caps);
		g_strfreev(caps);
	}
}

static void list_workloads(emit_fn emit, void *context)
{
	for (const struct workload *w = workloads; w->name; w++) {
		GString *summary = g_string_new(w->summary);
		g_string_append(summary, " (");
		for (unsigned i = 0; w->options[i].key; i++)
			g_string_append_printf(summary, "%s%s=%" G_GUINT64_FORMAT, i ? " " : "",
					       w->options[i].key, w->options[i].value);
		g_string_append_c(summary, ')');
		emit(context, w->name, "-", summary->str, NULL);
		g_string_free(summary, TRUE);
	}
}

static void list_nothing(emit_fn emit, void *context)
{
}

static void list_machines(emit_fn emit, void *context)
{
	emit(context, "recorded", "-", "the machine that the trace was recorded on", NULL);
	for (const struct machine_preset *preset = machine_presets; preset->name; preset++)
		emit(context, preset->name, machine_layout(preset->arch)->arch, preset->summary,
		     NULL);
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
	{ "frames", list_frames },   { "heaps", list_nothing },	    { "tables", list_tables },
	{ "spaces", list_spaces },   { "machines", list_machines }, { "workloads", list_workloads },
	{ "metrics", list_metrics },
};

static void emit_text(void *context, const char *name, const char *id, const char *summary,
		      char **capabilities)
{
	char *caps = capabilities && *capabilities ? g_strjoinv(" ", capabilities) : NULL;

	printf("  %-24s %-7s %s\n", name, id, summary);
	if (caps)
		printf("  %-24s %-7s   can: %s\n", "", "", caps);
	g_free(caps);
}

static void emit_json(void *context, const char *name, const char *id, const char *summary,
		      char **capabilities)
{
	JsonBuilder *json = context;

	json_builder_begin_object(json);
	json_builder_add_string_value(json_builder_set_member_name(json, "name"), name);
	json_builder_add_string_value(json_builder_set_member_name(json, "id"), id);
	json_builder_add_string_value(json_builder_set_member_name(json, "summary"), summary);
	json_builder_begin_array(json_builder_set_member_name(json, "capabilities"));
	for (char **cap = capabilities; cap && *cap; cap++)
		json_builder_add_string_value(json, *cap);
	json_builder_end_array(json);
	json_builder_end_object(json);
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

int cli_list(const struct cli_command *command, int argc, char **argv)
{
	gboolean as_json = FALSE;
	const GOptionEntry entries[] = {
		{ "json", 0, 0, G_OPTION_ARG_NONE, &as_json, "Print JSON", NULL }, { NULL }
	};
	char **rest;
	int code = cli_parse(command, entries, -1, argc, argv, &rest);

	if (code != CLI_OK)
		return code;
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
	g_strfreev(rest);
	return code;
}
