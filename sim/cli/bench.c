#include "sim/cli/cli.h"

#include <stdio.h>
#include <string.h>

#include "sim/bench/bench.h"

static void print_text(const GArray *figures)
{
	printf("%-26s %10s  %-14s %-30s %10s %7s %6s\n", "name", "value", "unit", "yardstick",
	       "value", "ratio", "goal");
	for (guint i = 0; i < figures->len; i++) {
		const struct bench_figure *figure = &g_array_index(figures, struct bench_figure, i);
		printf("%-26s %10.2f  %-14s %-30s %10.2f %6.2fx", figure->name, figure->value,
		       figure->unit, figure->yardstick, figure->yardstick_value, figure->ratio);
		if (figure->goal > 0)
			printf(" %5.2fx %s", figure->goal,
			       figure->ratio <= figure->goal ? "met" : "missed");
		putchar('\n');
	}
}

static JsonNode *figures_json(const GArray *figures)
{
	JsonBuilder *json = json_builder_new();

	json_builder_begin_array(json);
	for (guint i = 0; i < figures->len; i++) {
		const struct bench_figure *figure = &g_array_index(figures, struct bench_figure, i);
		json_builder_begin_object(json);
		json_builder_add_string_value(json_builder_set_member_name(json, "name"),
					      figure->name);
		json_builder_add_double_value(json_builder_set_member_name(json, "value"),
					      figure->value);
		json_builder_add_string_value(json_builder_set_member_name(json, "unit"),
					      figure->unit);
		json_builder_add_string_value(json_builder_set_member_name(json, "yardstick"),
					      figure->yardstick);
		json_builder_add_double_value(json_builder_set_member_name(json, "yardstick_value"),
					      figure->yardstick_value);
		json_builder_add_double_value(json_builder_set_member_name(json, "ratio"),
					      figure->ratio);
		json_builder_set_member_name(json, "goal");
		if (figure->goal > 0)
			json_builder_add_double_value(json, figure->goal);
		else
			json_builder_add_null_value(json);
		json_builder_set_member_name(json, "met");
		if (figure->goal > 0)
			json_builder_add_boolean_value(json, figure->ratio <= figure->goal);
		else
			json_builder_add_null_value(json);
		json_builder_end_object(json);
	}
	json_builder_end_array(json);
	JsonNode *root = json_builder_get_root(json);
	g_object_unref(json);
	return root;
}

static int bench(const char *name, const struct bench_options *options, bool as_json)
{
	GArray *figures = g_array_new(FALSE, TRUE, sizeof(struct bench_figure));
	GError *error = NULL;
	bool known = false;

	for (const struct bench_suite *suite = bench_suites; suite->name && !error; suite++) {
		if (name && strcmp(name, suite->name) != 0)
			continue;
		known = true;
		suite->run(options, figures, &error);
	}
	int code = error   ? cli_fail(error)
		   : known ? CLI_OK
			   : cli_usage("there is no benchmark '%s'; kmemlab bench --help", name);
	if (code == CLI_OK && as_json)
		cli_print_json(figures_json(figures));
	else if (code == CLI_OK)
		print_text(figures);
	bench_figures_free(figures);
	return code;
}

int cli_bench(const struct cli_command *command, int argc, char **argv)
{
	gboolean as_json = FALSE;
	gint scale = 100;
	g_auto(GStrv) traces = NULL;
	const GOptionEntry entries[] = {
		{ "json", 0, 0, G_OPTION_ARG_NONE, &as_json, "Print JSON", NULL },
		{ "scale", 0, 0, G_OPTION_ARG_INT, &scale, "Work a round, in percent (default 100)",
		  "PERCENT" },
		{ "trace", 0, 0, G_OPTION_ARG_FILENAME_ARRAY, &traces,
		  "heaps, malloc: this trace's heap events as a load too; may be repeated",
		  "TRACE.kmt" },
		{ NULL },
	};
	char **rest;
	int code = cli_parse(command, entries, -1, argc, argv, &rest);

	if (code == CLI_OK && (scale < 1 || scale > 1000))
		code = cli_usage("--scale: 1 to 1000");
	if (code == CLI_OK)
		code = bench(rest[0],
			     &(struct bench_options){ .scale = (uint64_t)scale,
						      .traces = (const char *const *)traces },
			     as_json);
	g_strfreev(rest);
	return code;
}
