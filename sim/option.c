#include "sim/option.h"

#include <string.h>

#include "sim/lab.h"
#include "sim/size.h"

static bool option_value(const struct frame_option *option, const char *text, uint64_t *value)
{
	uint64_t parsed;

	if (!option->choices) {
		if (!size_parse(text, &parsed) || parsed < option->min || parsed > option->max)
			return false;
		*value = parsed;
		return true;
	}
	for (uint64_t i = 0; option->choices[i]; i++) {
		if (strcmp(option->choices[i], text) != 0)
			continue;
		*value = i;
		return true;
	}
	return false;
}

static char *possible_values(const struct frame_option *option)
{
	return option->choices ? g_strjoinv(", ", (char **)(uintptr_t)option->choices)
			       : g_strdup_printf("%" G_GUINT64_FORMAT " to %" G_GUINT64_FORMAT,
						 option->min, option->max);
}

static bool set_found(const struct frame_option *option, const char *system, const char *name,
		      const char *text, uint64_t *value, GError **error)
{
	if (option_value(option, text, value))
		return true;
	char *values = possible_values(option);
	lab_usage(error, "%s: '%s' is not possible for %s (%s)", name, text, system, values);
	g_free(values);
	return false;
}

bool option_set(const struct frame_option *options, const char *system, const char *setting,
		uint64_t *values, GError **error)
{
	const char *dot = strchr(setting, '.'), *equals = strchr(setting, '=');

	if (!dot || !equals || equals < dot)
		return lab_usage(error, "--set %s: SLOT.KEY=VALUE is expected", setting);
	g_autofree char *name = g_strndup(setting, (gsize)(equals - setting));
	const char *key = name + (dot + 1 - setting);
	for (unsigned i = 0; options && options[i].key; i++)
		if (strcmp(options[i].key, key) == 0)
			return set_found(&options[i], system, name, equals + 1, &values[i], error);
	return lab_usage(error, "%s has no setting %s", system, name);
}
