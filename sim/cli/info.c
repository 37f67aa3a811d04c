#include "sim/cli/cli.h"

#include <glib/gstdio.h>
#include <stdio.h>

#include "workloads/memory_map.h"
#include "workloads/trace.h"
#include "workloads/trace_meta.h"
#include "workloads/trace_text.h"

static void add_int(JsonBuilder *json, const char *key, uint64_t value)
{
	json_builder_add_int_value(json_builder_set_member_name(json, key), (gint64)value);
}

static void add_string(JsonBuilder *json, const char *key, const char *value)
{
	json_builder_set_member_name(json, key);
	if (value)
		json_builder_add_string_value(json, value);
	else
		json_builder_add_null_value(json);
}

static void add_source_events(JsonBuilder *json, const struct trace_meta *meta)
{
	GList *names =
		g_list_sort(g_hash_table_get_keys(meta->source_events), (GCompareFunc)g_strcmp0);

	json_builder_begin_object(json_builder_set_member_name(json, "source_events"));
	for (GList *name = names; name; name = name->next) {
		const uint64_t *count = g_hash_table_lookup(meta->source_events, name->data);
		add_int(json, name->data, *count);
	}
	json_builder_end_object(json);
	g_list_free(names);
}

static void add_memory_map(JsonBuilder *json, const GArray *map)
{
	json_builder_begin_array(json_builder_set_member_name(json, "memory_map"));
	for (guint i = 0; i < map->len; i++) {
		const struct memory_range *range = &g_array_index(map, struct memory_range, i);
		json_builder_begin_object(json);
		add_int(json, "base", range->base);
		add_int(json, "bytes", range->bytes);
		add_string(json, "type", memory_type_name(range->type));
		json_builder_end_object(json);
	}
	json_builder_end_array(json);
}

static JsonNode *info_json(const struct trace_meta *meta, uint64_t file_bytes, const char *sha256)
{
	JsonBuilder *json = json_builder_new();

	json_builder_begin_object(json);
	json_builder_begin_object(json_builder_set_member_name(json, "events"));
	for (unsigned kind = EVENT_NONE + 1; kind < EVENT_KINDS; kind++)
		add_int(json, event_kind_name(kind), meta->kind_count[kind]);
	json_builder_end_object(json);
	add_source_events(json, meta);
	add_int(json, "total_events", meta->events);
	add_int(json, "prologue", meta->prologue);
	add_int(json, "prologue_frames", meta->prologue_frames);
	add_int(json, "compaction_allocs", meta->compaction_allocs);
	add_int(json, "untraced_allocs", meta->untraced_allocs);
	add_int(json, "implied_frees", meta->implied_frees);
	add_int(json, "cpus", meta->cpus);
	add_int(json, "span_ns", meta->span_ns);
	add_int(json, "bytes", file_bytes);
	add_int(json, "handles", meta->handles ? meta->handles - 1 : 0);
	add_string(json, "machine", meta->machine_recorded ? "recorded" : "guessed");
	add_int(json, "usable_frames", memory_map_usable_frames(meta->memory_map));
	if (meta->state_known) {
		add_int(json, "managed_frames", meta->managed_frames);
		add_int(json, "free_frames", meta->free_frames);
	}
	add_string(json, "source", meta->source);
	add_string(json, "source_sha256", meta->source_sha256);
	add_string(json, "format", meta->format);
	add_string(json, "program", meta->program);
	add_string(json, "system", meta->system);
	add_string(json, "command", meta->command);
	add_string(json, "sha256", sha256);
	add_memory_map(json, meta->memory_map);
	json_builder_end_object(json);
	JsonNode *root = json_builder_get_root(json);
	g_object_unref(json);
	return root;
}

static void info_text(const struct trace_meta *meta, uint64_t file_bytes)
{
	char *map = memory_map_format(meta->memory_map);

	if (meta->format && g_str_has_prefix(meta->format, "generator"))
		printf("%s, generated (%s)\n", meta->source ? meta->source : "?", meta->format);
	else
		printf("%s, imported from %s (%s)\n",
		       meta->system ? meta->system : "recorded system unknown",
		       meta->source ? meta->source : "?", meta->format ? meta->format : "?");
	if (meta->command)
		printf("command: %s\n", meta->command);
	printf("%" G_GUINT64_FORMAT " events over %.3f s on %u CPUs, %.2f bytes an event\n",
	       meta->events, (double)meta->span_ns / 1e9, meta->cpus,
	       meta->events ? (double)file_bytes / (double)meta->events : 0.0);
	for (unsigned kind = EVENT_NONE + 1; kind < EVENT_KINDS; kind++)
		if (meta->kind_count[kind])
			printf("  %-20s %10" G_GUINT64_FORMAT "\n", event_kind_name(kind),
			       meta->kind_count[kind]);
	printf("before event 0: %" G_GUINT64_FORMAT " allocations, %" G_GUINT64_FORMAT " frames\n",
	       meta->prologue, meta->prologue_frames);
	printf("inferred: %" G_GUINT64_FORMAT " untraced allocations, %" G_GUINT64_FORMAT
	       " implied frees, %" G_GUINT64_FORMAT " allocations by compaction\n",
	       meta->untraced_allocs, meta->implied_frees, meta->compaction_allocs);
	if (meta->state_known)
		printf("the kernel managed %" G_GUINT64_FORMAT " frames, %" G_GUINT64_FORMAT
		       " of them free at event 0\n",
		       meta->managed_frames, meta->free_frames);
	printf("memory map (%s):\n%s", meta->machine_recorded ? "recorded" : "guessed", map);
	g_free(map);
}

static int info(const char *path, bool as_json, bool dump)
{
	GError *error = NULL;
	struct trace_reader *reader = trace_reader_open(path, &error);
	GStatBuf status = { 0 };

	if (!reader)
		return cli_fail(error);
	const struct trace_meta *meta = trace_reader_meta(reader);
	g_stat(path, &status);
	if (dump) {
		trace_text_write(reader, stdout, &error);
	} else if (as_json) {
		const char *sum = trace_reader_sha256(reader, &error);
		if (sum)
			cli_print_json(info_json(meta, (uint64_t)status.st_size, sum));
	} else {
		info_text(meta, (uint64_t)status.st_size);
	}
	trace_reader_free(reader);
	return error ? cli_fail(error) : CLI_OK;
}

int cli_info(const struct cli_command *command, int argc, char **argv)
{
	gboolean as_json = FALSE, dump = FALSE;
	const GOptionEntry entries[] = {
		{ "json", 0, 0, G_OPTION_ARG_NONE, &as_json, "Print JSON", NULL },
		{ "dump", 0, 0, G_OPTION_ARG_NONE, &dump,
		  "Print every event, one a line (workloads/FORMAT.md, text twin)", NULL },
		{ NULL },
	};
	char **rest;
	int code = cli_parse(command, entries, 1, argc, argv, &rest);

	if (code == CLI_OK)
		code = info(rest[0], as_json, dump);
	g_strfreev(rest);
	return code;
}
