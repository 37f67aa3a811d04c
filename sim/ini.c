#include "sim/ini.h"

#include <string.h>

static bool is_key_line(const char *line, const char *key)
{
	gsize length = strlen(key);

	if (!g_str_has_prefix(line, key))
		return false;
	line += length;
	return line[strspn(line, " \t")] == '=';
}

unsigned ini_line(const struct ini *ini, const char *group, const char *key)
{
	g_auto(GStrv) lines = g_strsplit(ini->text, "\n", -1);
	g_autofree char *header = g_strdup_printf("[%s]", group);
	bool inside = false;
	unsigned found = 0;

	for (unsigned i = 0; lines[i]; i++) {
		char *line = g_strstrip(lines[i]);
		if (*line == '[')
			inside = strcmp(line, header) == 0;
		/* The last one of several counts, as for GKeyFile. */
		if (inside && (key ? is_key_line(line, key) : *line == '['))
			found = i + 1;
	}
	return found;
}

static bool check_values(const struct ini *ini, enum lab_error code, GError **error)
{
	g_auto(GStrv) groups = g_key_file_get_groups(ini->keys, NULL);

	for (char **group = groups; *group; group++) {
		g_auto(GStrv) keys = g_key_file_get_keys(ini->keys, *group, NULL, NULL);
		for (char **key = keys; key && *key; key++) {
			g_autoptr(GError) problem = NULL;
			g_autofree char *value =
				g_key_file_get_string(ini->keys, *group, *key, &problem);
			if (value)
				continue;
			g_set_error(error, LAB_ERROR, (gint)code, "%s:%u: %s: %s", ini->path,
				    ini_line(ini, *group, *key), *key, problem->message);
			return false;
		}
	}
	return true;
}

bool ini_parse(struct ini *ini, const char *path, const char *text, enum lab_error code,
	       GError **error)
{
	g_autoptr(GError) problem = NULL;

	*ini = (struct ini){ path, text, g_key_file_new() };
	if (!g_key_file_load_from_data(ini->keys, text, strlen(text), G_KEY_FILE_NONE, &problem)) {
		g_set_error(error, LAB_ERROR, (gint)code, "%s: %s", path, problem->message);
		return false;
	}
	return check_values(ini, code, error);
}

void ini_clear(struct ini *ini)
{
	g_clear_pointer(&ini->keys, g_key_file_unref);
}
