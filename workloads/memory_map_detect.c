/* Which form a memory map has. */
#include "workloads/memory_map_formats.h"

#include <string.h>

#include "workloads/small_file.h"
#include "workloads/trace.h"

#define BYTES_MAX   (16u << 20) /* of a file; a dmesg at most */
#define ENTRIES_MAX 4096	/* of a table that is nothing else by accident */

const char *const memory_map_forms[] = {
	"e820",	  "efi",    "iomem",	  "limine-text", "e820-20", "e820-24",
	"efi-40", "efi-48", "multiboot1", "multiboot2",	 "limine",  NULL,
};
#define FIRST_TABLE 4

static const memory_map_parser parsers[] = {
	memory_map_parse_e820,	      memory_map_parse_efi,	memory_map_parse_iomem,
	memory_map_parse_limine_text, memory_map_parse_e820_20, memory_map_parse_e820_24,
	memory_map_parse_efi_40,      memory_map_parse_efi_48,	memory_map_parse_multiboot1,
	memory_map_parse_multiboot2,  memory_map_parse_limine,
};
G_STATIC_ASSERT(G_N_ELEMENTS(parsers) + 1 == G_N_ELEMENTS(memory_map_forms));

GArray *memory_map_parse_as(const char *form, const char *text, gsize bytes, const char *name,
			    GError **error)
{
	for (unsigned i = 0; memory_map_forms[i]; i++)
		if (!strcmp(memory_map_forms[i], form))
			return parsers[i](text, bytes, name, error);
	trace_error_set(error, TRACE_ERROR_FORMAT, "%s: '%s' is no form of memory maps", name,
			form);
	return NULL;
}

static bool is_text(const char *text, gsize bytes)
{
	for (gsize i = 0; i < bytes; i++)
		if ((guchar)text[i] < '\t' || (guchar)text[i] == 0x7f)
			return false;
	return true;
}

static bool has(const char *text, gsize bytes, const char *words)
{
	return g_strstr_len(text, (gssize)bytes, words) != NULL;
}

/* E820 lines come first: a dmesg with both has UEFI's map in them already. */
static GArray *parse_text(const char *text, gsize bytes, const char *name, GError **error)
{
	if (has(text, bytes, "BIOS-e820:") || has(text, bytes, "[mem 0x"))
		return memory_map_parse_e820(text, bytes, name, error);
	if (has(text, bytes, "efi: mem") || has(text, bytes, "EFI: mem"))
		return memory_map_parse_efi(text, bytes, name, error);
	if (has(text, bytes, " : System RAM"))
		return memory_map_parse_iomem(text, bytes, name, error);
	if (has(text, bytes, "base=0x"))
		return memory_map_parse_limine_text(text, bytes, name, error);
	return memory_map_parse_e820(text, bytes, name, error);
}

/* A table read as another one gives nonsense: types that nobody knows, or nothing usable. */
static bool is_plausible(const GArray *map)
{
	bool usable = false;

	for (guint i = 0; i < map->len; i++) {
		const struct memory_range *range = &g_array_index(map, struct memory_range, i);
		if (!strcmp(memory_type_name(range->type), "unknown"))
			return false;
		usable |= range->type == MEMORY_USABLE;
	}
	return usable && map->len <= ENTRIES_MAX;
}

static GArray *parse_table(const char *text, gsize bytes, const char *name, GError **error)
{
	g_autoptr(GString) forms = g_string_new(NULL);
	GArray *found = NULL;
	unsigned count = 0;

	for (unsigned i = FIRST_TABLE; memory_map_forms[i]; i++) {
		GArray *map = parsers[i](text, bytes, name, NULL);
		if (map && is_plausible(map)) {
			g_string_append_printf(forms, "%s%s", count ? ", " : "",
					       memory_map_forms[i]);
			count++;
			g_clear_pointer(&found, g_array_unref);
			found = g_steal_pointer(&map);
		}
		g_clear_pointer(&map, g_array_unref);
	}
	if (count == 1)
		return found;
	g_clear_pointer(&found, g_array_unref);
	if (count)
		trace_error_set(error, TRACE_ERROR_FORMAT,
				"%s: a memory map of several forms (%s): say which, FORM:FILE",
				name, forms->str);
	else
		trace_error_set(error, TRACE_ERROR_FORMAT,
				"%s: no memory map in it, nor a table of one; FORM:FILE says what "
				"is wrong with it",
				name);
	return NULL;
}

GArray *memory_map_parse(const char *text, gsize bytes, const char *name, GError **error)
{
	return is_text(text, bytes) ? parse_text(text, bytes, name, error)
				    : parse_table(text, bytes, name, error);
}

/* "FORM:FILE": the form, and where the file's name begins; NULL where the path is one as it stands.
 */
static const char *form_of(const char *path, const char **file)
{
	*file = path;
	if (g_file_test(path, G_FILE_TEST_EXISTS))
		return NULL;
	for (unsigned i = 0; memory_map_forms[i]; i++) {
		gsize length = strlen(memory_map_forms[i]);
		if (strncmp(path, memory_map_forms[i], length) || path[length] != ':')
			continue;
		*file = path + length + 1;
		return memory_map_forms[i];
	}
	return NULL;
}

const char *memory_map_file(const char *path)
{
	const char *file;

	form_of(path, &file);
	return file;
}

GArray *memory_map_load(const char *path, GError **error)
{
	g_autofree char *text = NULL;
	g_autoptr(GError) reason = NULL;
	const char *file, *form = form_of(path, &file);
	gsize bytes;

	if (!small_file_read(file, &text, &bytes, &reason)) {
		trace_error_set(error, TRACE_ERROR_IO, "%s", reason->message);
		return NULL;
	}
	if (bytes > BYTES_MAX) {
		trace_error_set(error, TRACE_ERROR_FORMAT,
				"%s: %" G_GSIZE_FORMAT " bytes are more than any memory map has",
				file, bytes);
		return NULL;
	}
	return form ? memory_map_parse_as(form, text, bytes, file, error)
		    : memory_map_parse(text, bytes, file, error);
}
