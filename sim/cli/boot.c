#include "sim/cli/cli.h"

#include <stdio.h>

#include "sim/boot_cost.h"
#include "sim/lab.h"
#include "sim/run.h"
#include "sim/size.h"

static const char *const default_sizes[] = { "64M", "256M", "1G", "4G", "16G",
					     "64G", "256G", "1T", NULL };

struct options {
	char **frames, **sizes, *output, *host_memory;
	gboolean json;
};

struct row {
	const char *name;
	struct boot_cost cost;
};

static void clear_row(gpointer row)
{
	boot_cost_clear(&((struct row *)row)->cost);
}

static char *as_csv(const GArray *rows)
{
	GString *text =
		g_string_new("frames,ram_bytes,managed_frames,state_bytes,table_frames,loads,"
			     "stores,atomics,touched_frames,boot_ns,refused\n");

	for (guint i = 0; i < rows->len; i++) {
		const struct row *row = &g_array_index(rows, struct row, i);
		const struct boot_cost *cost = &row->cost;
		g_string_append_printf(
			text,
			"%s,%" G_GUINT64_FORMAT ",%" G_GUINT64_FORMAT ",%" G_GUINT64_FORMAT
			",%" G_GUINT64_FORMAT ",%" G_GUINT64_FORMAT ",%" G_GUINT64_FORMAT
			",%" G_GUINT64_FORMAT ",%" G_GUINT64_FORMAT ",%" G_GUINT64_FORMAT ",%d\n",
			row->name, cost->ram_bytes, cost->managed_frames, cost->state_bytes,
			cost->table_frames, cost->loads, cost->stores, cost->atomics,
			cost->frames_touched, cost->ns, cost->refused != NULL);
	}
	return g_string_free(text, FALSE);
}

static void print_text(const GArray *rows)
{
	printf("%-18s %6s %12s %8s %12s %12s %10s %12s\n", "frames", "RAM", "state bytes", "tables",
	       "loads", "stores", "touched", "us");
	for (guint i = 0; i < rows->len; i++) {
		const struct row *row = &g_array_index(rows, struct row, i);
		const struct boot_cost *cost = &row->cost;
		char *size = size_format(cost->ram_bytes);
		if (cost->refused)
			printf("%-18s %6s  refused: %s\n", row->name, size, cost->refused);
		else
			printf("%-18s %6s %12" G_GUINT64_FORMAT " %8" G_GUINT64_FORMAT
			       " %12" G_GUINT64_FORMAT " %12" G_GUINT64_FORMAT
			       " %10" G_GUINT64_FORMAT " %12.1f\n",
			       row->name, size, cost->state_bytes, cost->table_frames, cost->loads,
			       cost->stores, cost->frames_touched, (double)cost->ns / 1e3);
		g_free(size);
	}
}

static void add(JsonBuilder *json, const char *key, uint64_t value)
{
	json_builder_add_int_value(json_builder_set_member_name(json, key), (gint64)value);
}

static JsonNode *as_json(const GArray *rows)
{
	JsonBuilder *json = json_builder_new();

	json_builder_begin_array(json);
	for (guint i = 0; i < rows->len; i++) {
		const struct row *row = &g_array_index(rows, struct row, i);
		const struct boot_cost *cost = &row->cost;
		json_builder_begin_object(json);
		json_builder_add_string_value(json_builder_set_member_name(json, "frames"),
					      row->name);
		add(json, "ram_bytes", cost->ram_bytes);
		json_builder_set_member_name(json, "refused");
		if (cost->refused)
			json_builder_add_string_value(json, cost->refused);
		else
			json_builder_add_null_value(json);
		add(json, "managed_frames", cost->managed_frames);
		add(json, "state_bytes", cost->state_bytes);
		add(json, "table_frames", cost->table_frames);
		add(json, "loads", cost->loads);
		add(json, "stores", cost->stores);
		add(json, "atomics", cost->atomics);
		add(json, "touched_frames", cost->frames_touched);
		add(json, "boot_ns", cost->ns);
		json_builder_end_object(json);
	}
	json_builder_end_array(json);
	JsonNode *root = json_builder_get_root(json);
	g_object_unref(json);
	return root;
}

static bool measure(const struct options *options, const char *name, uint64_t host_bytes,
		    GArray *rows, GError **error)
{
	const char *const *sizes =
		options->sizes ? (const char *const *)options->sizes : default_sizes;
	const struct frame_ops *frames[PASSES];
	uint64_t bytes;

	if (!run_find_frames(name, frames, error))
		return false;
	for (; *sizes; sizes++) {
		struct row row = { .name = name };
		if (!size_parse(*sizes, &bytes) || bytes < 1 << 20 || bytes > 1ull << 42)
			return lab_usage(error, "--ram: '%s' is no size from 1M to 4T", *sizes);
		if (!boot_cost(frames, bytes, host_bytes, &row.cost, error))
			return false;
		g_array_append_val(rows, row);
	}
	return true;
}

static int boot_all(const struct options *options)
{
	GArray *rows = g_array_new(FALSE, FALSE, sizeof(struct row));
	uint64_t host_bytes = run_host_memory();
	GError *error = NULL;
	bool fine = !options->host_memory || size_parse(options->host_memory, &host_bytes) ||
		    lab_usage(&error, "--host-memory: '%s' is no size", options->host_memory);

	g_array_set_clear_func(rows, clear_row);
	for (char **name = options->frames; fine && name && *name; name++)
		fine = measure(options, *name, host_bytes, rows, &error);
	for (unsigned i = 0; fine && !options->frames && frame_registry[i]; i++)
		fine = measure(options, frame_registry[i]->name, host_bytes, rows, &error);
	if (fine && options->output) {
		char *text = as_csv(rows);
		fine = g_file_set_contents(options->output, text, -1, &error);
		g_free(text);
	}
	if (fine && options->json)
		cli_print_json(as_json(rows));
	else if (fine && !options->output)
		print_text(rows);
	g_array_unref(rows);
	return fine ? CLI_OK : cli_fail(error);
}

int cli_boot(const struct cli_command *command, int argc, char **argv)
{
	struct options options = { 0 };
	const GOptionEntry entries[] = {
		{ "frames", 'f', 0, G_OPTION_ARG_STRING_ARRAY, &options.frames,
		  "Page-frame allocator; may be repeated; default: all of the lab's own",
		  "NAME|PLUGIN.so" },
		{ "ram", 0, 0, G_OPTION_ARG_STRING_ARRAY, &options.sizes,
		  "RAM of the machine; may be repeated; default: 64M to 1T by fours", "SIZE" },
		{ "host-memory", 0, 0, G_OPTION_ARG_STRING, &options.host_memory,
		  "Most host memory that a system writing every free frame may use", "SIZE" },
		{ "output", 'o', 0, G_OPTION_ARG_FILENAME, &options.output,
		  "Write a table for the plots, in place of the text", "FILE.csv" },
		{ "json", 0, 0, G_OPTION_ARG_NONE, &options.json, "Print JSON", NULL },
		{ NULL },
	};
	char **rest;
	int code = cli_parse(command, entries, 0, argc, argv, &rest);

	if (code == CLI_OK)
		code = boot_all(&options);
	g_strfreev(rest);
	g_strfreev(options.frames);
	g_strfreev(options.sizes);
	g_free(options.output);
	g_free(options.host_memory);
	return code;
}
