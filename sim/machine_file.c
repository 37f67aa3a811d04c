#include "sim/machine_file.h"

#include <string.h>

#include "sim/ini.h"
#include "sim/size.h"
#include "workloads/memory_map.h"

/* In this order, whatever the file's: arch decides about leaf. */
static const char *const machine_keys[] = { "arch",   "cpu",	 "paging",  "leaf",
					    "layout", "highmem", "windows", "stale-check" };
static const char *const other_machine_keys[] = { "name", "ram" };

bool machine_file_is(const char *text)
{
	for (const char *line = text; line; line = strchr(line, '\n')) {
		line += strspn(line, "\n\r\t ");
		if (g_str_has_prefix(line, "[machine]") || g_str_has_prefix(line, "[memory]") ||
		    g_str_has_prefix(line, "[mmu]"))
			return true;
		if (*line == '\0')
			return false;
	}
	return false;
}

static bool complain(const struct ini *file, const char *group, const char *key,
		     const char *problem, GError **error)
{
	return lab_usage(error, "%s:%u: %s%s%s", file->path, ini_line(file, group, key),
			 key ? key : group, ": ", problem);
}

/* ---- groups ---- */

static bool set_machine_key(const struct ini *file, struct machine_config *config, const char *key,
			    GError **error)
{
	g_autofree char *value = g_key_file_get_string(file->keys, "machine", key, NULL);
	g_autoptr(GError) problem = NULL;

	if (!value || machine_config_set(config, key, value, &problem))
		return true;
	return lab_usage(error, "%s:%u: %s", file->path, ini_line(file, "machine", key),
			 problem->message);
}

static bool set_machine(const struct ini *file, struct machine_config *config, GError **error)
{
	for (gsize i = 0; i < G_N_ELEMENTS(machine_keys); i++)
		if (!set_machine_key(file, config, machine_keys[i], error))
			return false;
	return true;
}

static bool set_mmu(const struct ini *file, struct machine_config *config, GError **error)
{
	g_auto(GStrv) keys = g_key_file_get_keys(file->keys, "mmu", NULL, NULL);

	for (char **key = keys; key && *key; key++) {
		g_autofree char *value = g_key_file_get_string(file->keys, "mmu", *key, NULL);
		guint64 number;
		if (!mmu_config_get(&config->mmu, *key, &number))
			return complain(file, "mmu", *key, "no such field of a CPU", error);
		if (!value ||
		    !g_ascii_string_to_unsigned(value, 10, 0, G_MAXUINT64, &number, NULL) ||
		    !mmu_config_set(&config->mmu, *key, number))
			return complain(file, "mmu", *key, "not a value that this field takes",
					error);
	}
	const char *problem = mmu_config_problem(&config->mmu);
	/* What holds between fields has no line of its own. */
	return !problem || complain(file, keys ? "mmu" : "machine", NULL, problem, error);
}

static GArray *read_memory_map(const struct ini *file, GError **error)
{
	g_autofree char *value = g_key_file_get_string(file->keys, "memory", "e820", NULL);

	if (!value)
		return NULL;
	if (strchr(value, '[')) {
		g_autofree char *name =
			g_strdup_printf("%s:%u", file->path, ini_line(file, "memory", "e820"));
		g_auto(GStrv) parts = g_strsplit(value, ";", -1);
		for (char **part = parts; *part; part++)
			g_strstrip(*part);
		g_autofree char *lines = g_strjoinv("\n", parts);
		return memory_map_parse(lines, strlen(lines), name, error);
	}
	g_autofree char *folder = g_path_get_dirname(file->path);
	const char *beside = memory_map_file(value);
	g_autofree char *form = g_strndup(value, (gsize)(beside - value));
	g_autofree char *path = g_path_is_absolute(beside) ? g_strdup(beside)
							   : g_build_filename(folder, beside, NULL);
	g_autofree char *whole = g_strconcat(form, path, NULL);
	return memory_map_load(whole, error);
}

static struct machine_config *make_memory(const struct ini *file, GError **error)
{
	g_autofree char *ram = g_key_file_get_string(file->keys, "machine", "ram", NULL);
	g_autofree char *name = g_key_file_get_string(file->keys, "machine", "name", NULL);
	bool mapped = g_key_file_has_key(file->keys, "memory", "e820", NULL);
	uint64_t bytes = 0;

	if (ram && (!size_parse(ram, &bytes) || bytes < FRAME_BYTES || bytes > RAM_MAX_BYTES)) {
		complain(file, "machine", "ram", "no size from 4K to 2T", error);
		return NULL;
	}
	if (!ram && !mapped) {
		complain(file, "machine", NULL, "neither ram here nor e820 in [memory]", error);
		return NULL;
	}
	g_autoptr(GArray) map = mapped ? read_memory_map(file, error) : machine_pc_map(bytes);
	if (!map)
		return NULL;
	struct machine_config *config = machine_config_from_map(name ? name : "", map);
	if (!name) {
		g_free(config->name);
		config->name = g_path_get_basename(file->path);
	}
	if (!ram || !mapped || machine_config_resize(config, bytes, error))
		return config;
	machine_config_free(config);
	return NULL;
}

/* ---- all of it ---- */

static bool is_known(const char *group, const char *key)
{
	if (strcmp(group, "mmu") == 0)
		return true; /* judged when they are set */
	if (strcmp(group, "memory") == 0)
		return strcmp(key, "e820") == 0;
	for (gsize i = 0; i < G_N_ELEMENTS(machine_keys); i++)
		if (strcmp(key, machine_keys[i]) == 0)
			return true;
	for (gsize i = 0; i < G_N_ELEMENTS(other_machine_keys); i++)
		if (strcmp(key, other_machine_keys[i]) == 0)
			return true;
	return false;
}

static bool check_names(const struct ini *file, GError **error)
{
	g_auto(GStrv) groups = g_key_file_get_groups(file->keys, NULL);

	for (char **group = groups; *group; group++) {
		if (strcmp(*group, "machine") != 0 && strcmp(*group, "memory") != 0 &&
		    strcmp(*group, "mmu") != 0)
			return complain(file, *group, NULL,
					"no such section ([machine], [memory], [mmu])", error);
		g_auto(GStrv) keys = g_key_file_get_keys(file->keys, *group, NULL, NULL);
		for (char **key = keys; key && *key; key++)
			if (!is_known(*group, *key))
				return complain(file, *group, *key, "unknown key", error);
	}
	return true;
}

static struct machine_config *make(const struct ini *file, GError **error)
{
	struct machine_config *config = make_memory(file, error);

	if (!config)
		return NULL;
	if (set_machine(file, config, error) && set_mmu(file, config, error))
		return config;
	machine_config_free(config);
	return NULL;
}

struct machine_config *machine_file_parse(const char *path, const char *text, GError **error)
{
	struct machine_config *config = NULL;
	struct ini file;

	if (ini_parse(&file, path, text, LAB_ERROR_USAGE, error) && check_names(&file, error))
		config = make(&file, error);
	ini_clear(&file);
	return config;
}
