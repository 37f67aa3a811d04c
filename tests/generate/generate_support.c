#include "tests/generate/generate_support.h"

#include <string.h>

void options_of(const struct generator *generator, const char *assignments, uint64_t seed,
		struct generate_options *options)
{
	g_auto(GStrv) words = g_strsplit(assignments, " ", -1);
	g_autoptr(GError) error = NULL;
	struct memory_range range = { .type = MEMORY_USABLE };

	generate_defaults(generator, options);
	options->seed = seed;
	for (char **word = words; *word && **word; word++)
		if (!generate_set(generator, options, *word, &error))
			g_error("%s", error->message);
	range.bytes = options->value[GENERATE_RAM];
	GArray *map = g_array_new(FALSE, FALSE, sizeof(struct memory_range));
	g_array_append_val(map, range);
	options->memory_map = map;
}

void options_free(struct generate_options *options)
{
	g_array_unref(options->memory_map);
}

uint64_t option_of(const struct generator *generator, const struct generate_options *options,
		   const char *key)
{
	for (unsigned i = 0; generator->parameters[i].key; i++)
		if (strcmp(generator->parameters[i].key, key) == 0)
			return options->value[i];
	g_error("%s has no parameter %s", generator->name, key);
}

static GArray *read_valid(const char *path, GPtrArray **names)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(GArray) start = g_array_new(FALSE, FALSE, sizeof(struct event));
	GArray *events = g_array_new(FALSE, FALSE, sizeof(struct event));
	struct trace_reader *reader = trace_reader_open(path, &error);

	if (!reader || !trace_validate(reader, &error) || !read_trace(path, start, events, &error))
		g_error("%s", error->message);
	if (names) {
		const char *name;
		*names = g_ptr_array_new_with_free_func(g_free);
		g_ptr_array_add(*names, NULL);
		while ((name = trace_reader_string(reader, (*names)->len)))
			g_ptr_array_add(*names, g_strdup(name));
	}
	trace_reader_free(reader);
	return events;
}

GArray *events_of(const char *name, const char *assignments, uint64_t seed, GPtrArray **names)
{
	const struct generator *generator = generator_find(name);
	struct generate_options options;
	g_autoptr(GError) error = NULL;
	char *folder = make_folder();
	g_autofree char *path = g_build_filename(folder, "x.kmt", NULL);

	options_of(generator, assignments, seed, &options);
	if (!generate(generator, &options, path, &error))
		g_error("%s", error->message);
	GArray *events = read_valid(path, names);
	options_free(&options);
	remove_folder(folder);
	return events;
}
