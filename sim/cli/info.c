#include "sim/cli/cli.h"

#include <glib/gstdio.h>
#include <stdio.h>
#include <unistd.h>

#include "workloads/memory_map.h"
#include "workloads/tools/tools.h"
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

/* ---- distributions ---- */

static void add_counts(JsonBuilder *json, const char *key, const uint64_t *counts, unsigned number)
{
	json_builder_begin_array(json_builder_set_member_name(json, key));
	for (unsigned i = 0; i < number; i++)
		json_builder_add_int_value(json, (gint64)counts[i]);
	json_builder_end_array(json);
}

static void add_distributions(JsonBuilder *json, const struct trace_statistics *found)
{
	json_builder_begin_object(json_builder_set_member_name(json, "distributions"));
	json_builder_begin_array(json_builder_set_member_name(json, "live"));
	for (unsigned i = 0; i < found->samples; i++) {
		json_builder_begin_object(json);
		add_int(json, "time_ns", found->live[i].time_ns);
		add_int(json, "frames", found->live[i].frames);
		add_int(json, "heap_bytes", found->live[i].heap_bytes);
		add_int(json, "objects", found->live[i].objects);
		json_builder_end_object(json);
	}
	json_builder_end_array(json);
	add_int(json, "most_frames", found->most_frames);
	add_int(json, "most_heap_bytes", found->most_heap_bytes);
	add_counts(json, "orders", found->order, TRACE_ORDERS);
	add_counts(json, "heap_sizes", found->heap_size, TRACE_BUCKETS);
	add_counts(json, "frame_lifetimes", found->frame_life, TRACE_BUCKETS);
	add_counts(json, "heap_lifetimes", found->heap_life, TRACE_BUCKETS);
	add_int(json, "frame_blocks_left", found->frame_blocks_left);
	add_int(json, "objects_left", found->objects_left);
	json_builder_end_object(json);
}

enum { TEXT_SAMPLES = 10, BAR_COLUMNS = 40 };

static void print_counts(const char *title, const char *unit, const uint64_t *counts,
			 unsigned number)
{
	uint64_t most = 0;

	for (unsigned i = 0; i < number; i++)
		most = MAX(most, counts[i]);
	if (most == 0)
		return;
	printf("%s\n", title);
	for (unsigned i = 0; i < number; i++) {
		if (counts[i] == 0)
			continue;
		printf("  %s%-2u %10" G_GUINT64_FORMAT " ", unit, i, counts[i]);
		for (uint64_t column = 0; column < (counts[i] * BAR_COLUMNS + most - 1) / most;
		     column++)
			putchar('#');
		putchar('\n');
	}
}

static void print_distributions(const struct trace_statistics *found)
{
	printf("alive (at most %" G_GUINT64_FORMAT " frames, %" G_GUINT64_FORMAT
	       " bytes of objects)\n  %10s %10s %12s %10s\n",
	       found->most_frames, found->most_heap_bytes, "seconds", "frames", "object bytes",
	       "objects");
	for (unsigned i = 0; i <= TEXT_SAMPLES; i++) {
		unsigned at = (found->samples - 1) * i / TEXT_SAMPLES;
		printf("  %10.3f %10" G_GUINT64_FORMAT " %12" G_GUINT64_FORMAT
		       " %10" G_GUINT64_FORMAT "\n",
		       (double)found->live[at].time_ns / 1e9, found->live[at].frames,
		       found->live[at].heap_bytes, found->live[at].objects);
	}
	print_counts("allocations of frames by order", "order ", found->order, TRACE_ORDERS);
	print_counts("allocations of objects by bytes (2^n and more)", "2^", found->heap_size,
		     TRACE_BUCKETS);
	print_counts("lifetimes of blocks of frames, ns (2^n and more)", "2^", found->frame_life,
		     TRACE_BUCKETS);
	print_counts("lifetimes of objects, ns (2^n and more)", "2^", found->heap_life,
		     TRACE_BUCKETS);
	printf("allocated here and alive at the end: %" G_GUINT64_FORMAT
	       " blocks of frames, %" G_GUINT64_FORMAT " objects\n",
	       found->frame_blocks_left, found->objects_left);
}

/* ---- the whole ---- */

static JsonNode *info_json(const struct trace_meta *meta, uint64_t file_bytes, const char *sha256,
			   const struct trace_statistics *found)
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
	add_string(json, "source_xxh128", meta->source_xxh128);
	add_string(json, "source_sha256", meta->source_sha256);
	add_string(json, "format", meta->format);
	add_string(json, "program", meta->program);
	add_string(json, "system", meta->system);
	add_string(json, "command", meta->command);
	add_string(json, "sha256", sha256);
	if (meta->cut)
		add_string(json, "cut", meta->cut);
	add_memory_map(json, meta->memory_map);
	if (found)
		add_distributions(json, found);
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

struct wanted {
	gboolean json, dump, distributions;
	char *plot;
};

/* C writes numbers, Python draws. */
static int draw(JsonNode *root, const char *output)
{
	g_autofree char *path = NULL;
	g_autofree char *text = json_to_string(root, FALSE);
	GError *error = NULL;
	int file = g_file_open_tmp("kmemlab-info-XXXXXX.json", &path, &error);

	json_node_unref(root);
	if (file < 0)
		return cli_fail(error);
	close(file);
	int code = CLI_OK;
	if (g_file_set_contents(path, text, -1, &error)) {
		g_autofree char *target = g_strdup(output);
		char *arguments[] = { path, (char[]){ "-o" }, target, NULL };
		code = cli_script("draw_trace.py", arguments);
	} else {
		code = cli_fail(error);
	}
	g_unlink(path);
	return code;
}

static int print_info(struct trace_reader *reader, const struct wanted *wanted, uint64_t bytes,
		      GError **error)
{
	const struct trace_meta *meta = trace_reader_meta(reader);
	g_autofree struct trace_statistics *found = g_new(struct trace_statistics, 1);
	bool more = wanted->distributions || wanted->plot;
	const char *sum = "";

	if (wanted->dump)
		return trace_text_write(reader, stdout, error) ? CLI_OK : CLI_BAD_INPUT;
	if (more && !trace_statistics(reader, found, error))
		return CLI_BAD_INPUT;
	if (wanted->json && !(sum = trace_reader_sha256(reader, error)))
		return CLI_BAD_INPUT;
	if (wanted->json)
		cli_print_json(info_json(meta, bytes, sum, more ? found : NULL));
	else
		info_text(meta, bytes);
	if (more && !wanted->json)
		print_distributions(found);
	return wanted->plot ? draw(info_json(meta, bytes, sum, found), wanted->plot) : CLI_OK;
}

static int info(const char *path, const struct wanted *wanted)
{
	GError *error = NULL;
	struct trace_reader *reader = trace_reader_open(path, &error);
	GStatBuf status = { 0 };

	if (!reader)
		return cli_fail(error);
	g_stat(path, &status);
	int code = print_info(reader, wanted, (uint64_t)status.st_size, &error);
	trace_reader_free(reader);
	return error ? cli_fail(error) : code;
}

int cli_info(const struct cli_command *command, int argc, char **argv)
{
	struct wanted wanted = { FALSE, FALSE, FALSE, NULL };
	const GOptionEntry entries[] = {
		{ "json", 0, 0, G_OPTION_ARG_NONE, &wanted.json, "Print JSON", NULL },
		{ "dump", 0, 0, G_OPTION_ARG_NONE, &wanted.dump,
		  "Print every event, one a line (workloads/FORMAT.md, text twin)", NULL },
		{ "distributions", 0, 0, G_OPTION_ARG_NONE, &wanted.distributions,
		  "The live set over time, orders, sizes and lifetimes too", NULL },
		{ "plot", 0, 0, G_OPTION_ARG_FILENAME, &wanted.plot,
		  "Draw these (PNG, or SVG if the name ends so)", "FILE" },
		{ NULL },
	};
	char **rest;
	int code = cli_parse(command, entries, 1, argc, argv, &rest);

	if (code == CLI_OK)
		code = info(rest[0], &wanted);
	g_strfreev(rest);
	g_free(wanted.plot);
	return code;
}
