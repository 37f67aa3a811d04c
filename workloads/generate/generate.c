#include "workloads/generate/generate.h"

#include <string.h>
#include "workloads/generate/emit.h"
#include "workloads/generate/families.h"
#include "workloads/import/version.h"

const struct generator *const generators[] = {
	&frame_churn, &frame_ramp, &checkerboard, &larson,     &generational,
	&power_law,   &sawtooth,   &fifo,	  &lifo,       &robson,
	&kernel_boot, &fork_storm, &server,	  &build_farm, NULL,
};

const struct generator *generator_find(const char *name)
{
	for (unsigned i = 0; generators[i]; i++)
		if (strcmp(generators[i]->name, name) == 0)
			return generators[i];
	return NULL;
}

void generate_defaults(const struct generator *generator, struct generate_options *options)
{
	*options = (struct generate_options){ 0 };
	for (unsigned i = 0; generator->parameters[i].key; i++)
		options->value[i] = generator->parameters[i].preset;
}

/* ---- values and their text ---- */

static bool is_bytes(const struct generate_parameter *parameter)
{
	return strcmp(parameter->unit, "bytes") == 0;
}

char *generate_value_text(const struct generate_parameter *parameter, uint64_t value)
{
	static const char units[] = "KMGT";
	unsigned unit = 0;
	uint64_t scale = 1;

	for (unsigned i = 0; i < parameter->decimals; i++)
		scale *= 10;
	if (scale > 1)
		return g_strdup_printf("%" G_GUINT64_FORMAT ".%0*" G_GUINT64_FORMAT, value / scale,
				       parameter->decimals, value % scale);
	while (is_bytes(parameter) && value && unit < strlen(units) && value % 1024 == 0) {
		value /= 1024;
		unit++;
	}
	return unit ? g_strdup_printf("%" G_GUINT64_FORMAT "%c", value, units[unit - 1])
		    : g_strdup_printf("%" G_GUINT64_FORMAT, value);
}

/* Takes digits off *TEXT; false where that is more than 64 bits, or there is none. */
static bool take_digits(const char **text, uint64_t *value)
{
	const char *begin = *text;

	for (; g_ascii_isdigit(**text); (*text)++) {
		uint64_t digit = (uint64_t)(**text - '0');
		if (*value > (UINT64_MAX - digit) / 10)
			return false;
		*value = *value * 10 + digit;
	}
	return *text > begin;
}

static bool take_fraction(const char **text, unsigned decimals, uint64_t *value)
{
	unsigned digits = 0;

	if (**text == '.' && decimals > 0) {
		const char *begin = ++*text;
		if (!take_digits(text, value))
			return false;
		digits = (unsigned)(*text - begin);
	}
	for (; digits < decimals; digits++) {
		if (*value > UINT64_MAX / 10)
			return false;
		*value *= 10;
	}
	return digits == decimals;
}

static bool take_unit(const char **text, uint64_t *value)
{
	static const char units[] = "KMGT";
	const char *unit = **text ? strchr(units, g_ascii_toupper(**text)) : NULL;

	if (!unit)
		return true;
	unsigned shift = 10 * (unsigned)(unit - units + 1);
	if (*value >> (64 - shift))
		return false;
	*value <<= shift;
	(*text)++;
	return true;
}

static bool parse(const struct generate_parameter *parameter, const char *text, uint64_t *value)
{
	*value = 0;
	return take_digits(&text, value) && take_fraction(&text, parameter->decimals, value) &&
	       (!is_bytes(parameter) || take_unit(&text, value)) && *text == '\0' &&
	       *value >= parameter->least && *value <= parameter->most;
}

static bool unknown_key(const struct generator *generator, const char *key, GError **error)
{
	g_autoptr(GString) known = g_string_new(NULL);

	for (const struct generate_parameter *row = generator->parameters; row->key; row++)
		g_string_append_printf(known, "%s%s", known->len ? ", " : "", row->key);
	g_set_error(error, TRACE_ERROR, TRACE_ERROR_USAGE, "%s has no parameter '%s' (it has %s)",
		    generator->name, key, known->str);
	return false;
}

bool generate_set(const struct generator *generator, struct generate_options *options,
		  const char *assignment, GError **error)
{
	const char *equals = strchr(assignment, '=');

	if (!equals) {
		g_set_error(error, TRACE_ERROR, TRACE_ERROR_USAGE,
			    "'%s' is not of the form key=value", assignment);
		return false;
	}
	g_autofree char *key = g_strndup(assignment, (gsize)(equals - assignment));
	unsigned i = 0;
	while (generator->parameters[i].key && strcmp(generator->parameters[i].key, key) != 0)
		i++;
	const struct generate_parameter *parameter = &generator->parameters[i];
	if (!parameter->key)
		return unknown_key(generator, key, error);
	uint64_t value;
	if (parse(parameter, equals + 1, &value)) {
		options->value[i] = value;
		return true;
	}
	g_autofree char *least = generate_value_text(parameter, parameter->least);
	g_autofree char *most = generate_value_text(parameter, parameter->most);
	g_set_error(error, TRACE_ERROR, TRACE_ERROR_USAGE,
		    "%s: '%s' is not possible for %s (%s to %s%s%s)", generator->name, equals + 1,
		    key, least, most, *parameter->unit ? " " : "", parameter->unit);
	return false;
}

/* ---- generating ---- */

/* The command that gives this trace again, every parameter named. */
static char *command_of(const struct generator *generator, const struct generate_options *options)
{
	GString *command = g_string_new("kmemlab generate ");

	g_string_append(command, generator->name);
	for (unsigned i = 0; generator->parameters[i].key; i++) {
		g_autofree char *value =
			generate_value_text(&generator->parameters[i], options->value[i]);
		g_string_append_printf(command, " %s=%s", generator->parameters[i].key, value);
	}
	g_string_append_printf(command, " --seed %" G_GUINT64_FORMAT, options->seed);
	return g_string_free(command, FALSE);
}

static struct trace_meta *meta_of(const struct generator *generator,
				  const struct generate_options *options)
{
	struct trace_meta *meta = trace_meta_new();

	meta->source = g_strdup(generator->name);
	meta->format = g_strdup_printf("generator, version %u", generator->version);
	meta->program = g_strdup("kmemlab " KMEMLAB_VERSION);
	meta->command = command_of(generator, options);
	if (options->memory_map && options->memory_map->len > 0) {
		meta->machine_recorded = true;
		g_array_append_vals(meta->memory_map, options->memory_map->data,
				    options->memory_map->len);
	}
	return meta;
}

static bool usable(const struct generator *generator, const struct generate_options *options,
		   GError **error)
{
	const char *problem = generator->problem ? generator->problem(options->value) : NULL;

	if (problem)
		g_set_error(error, TRACE_ERROR, TRACE_ERROR_USAGE, "%s: %s", generator->name,
			    problem);
	return !problem;
}

bool generate(const struct generator *generator, const struct generate_options *options,
	      const char *path, GError **error)
{
	struct generation generation = {
		.generator = generator,
		.value = options->value,
		.random = random_seeded(random_mix(options->seed)),
		.clock = random_seeded(~random_mix(options->seed)),
		.stop = options->stop,
	};

	if (!usable(generator, options, error))
		return false;
	if (options->memory_map)
		generation.usable_frames = memory_map_usable_frames(options->memory_map);
	generation.writer = trace_writer_new(path, error);
	if (!generation.writer)
		return false;
	generator->run(&generation);
	if (!generation_more(&generation)) {
		trace_writer_abort(generation.writer);
		g_propagate_error(error, generation.error);
		return false;
	}
	struct trace_meta *meta = meta_of(generator, options);
	bool done = trace_writer_finish(generation.writer, meta, error);
	trace_meta_free(meta);
	return done;
}
