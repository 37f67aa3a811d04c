/* Memory maps as text: what Linux prints of UEFI's, /proc/iomem, and Limine's entries. */
#include "workloads/memory_map_formats.h"

#include <string.h>

#include "workloads/trace.h"

/* UEFI 2.10, 7.2.3, EFI_MEMORY_TYPE: numbers, and names as Linux prints them
 * (drivers/firmware/efi). */
enum efi_type {
	EFI_RESERVED = 0,
	EFI_LOADER_CODE,
	EFI_LOADER_DATA,
	EFI_BOOT_CODE,
	EFI_BOOT_DATA,
	EFI_RUNTIME_CODE,
	EFI_RUNTIME_DATA,
	EFI_CONVENTIONAL,
	EFI_UNUSABLE,
	EFI_ACPI_RECLAIM,
	EFI_ACPI_NVS,
	EFI_PERSISTENT = 14,
	EFI_UNACCEPTED,
};

static const char *const efi_names[] = {
	"Reserved",	     "Loader Code",
	"Loader Data",	     "Boot Code",
	"Boot Data",	     "Runtime Code",
	"Runtime Data",	     "Conventional Memory",
	"Unusable Memory",   "ACPI Reclaim Memory",
	"ACPI Memory NVS",   "Memory Mapped I/O",
	"MMIO Port Space",   "PAL Code",
	"Persistent Memory", "Unaccepted Memory",
};
/* Before Linux 4.18. */
static const struct {
	const char *name;
	uint32_t type;
} efi_old_names[] = {
	{ "Memory Mapped I/O Port Space", 12 },
	{ "ACPI Reclaim", 9 },
	{ "Conventional", 7 },
};

uint32_t memory_map_efi_type(uint32_t type, bool write_back, bool special)
{
	switch (type) {
	case EFI_LOADER_CODE:
	case EFI_LOADER_DATA:
	case EFI_BOOT_CODE:
	case EFI_BOOT_DATA:
	case EFI_CONVENTIONAL:
		if (special)
			return MEMORY_SOFT_RESERVED;
		return write_back ? MEMORY_USABLE : MEMORY_RESERVED;
	case EFI_UNUSABLE:
		return MEMORY_UNUSABLE;
	case EFI_ACPI_RECLAIM:
		return MEMORY_ACPI_RECLAIMABLE;
	case EFI_ACPI_NVS:
		return MEMORY_ACPI_NVS;
	case EFI_PERSISTENT:
		return MEMORY_PERSISTENT;
	default:
		return MEMORY_RESERVED;
	}
}

/* ---- lines ---- */

struct table {
	const char *name; /* of the file */
	GArray *map;
};

/* A line without its end; false: it is wrong. */
typedef bool (*line_fn)(struct table *table, const char *line, unsigned number, GError **error);

static bool read_lines(const char *text, gsize bytes, line_fn line, struct table *table,
		       GError **error)
{
	const char *end = text + bytes;

	for (unsigned number = 1; text < end; number++) {
		const char *stop = memchr(text, '\n', (size_t)(end - text));
		stop = stop ? stop : end;
		g_autofree char *copy = g_strndup(text, (gsize)(stop - text));
		if (!line(table, g_strchomp(copy), number, error))
			return false;
		text = stop + 1;
	}
	return true;
}

static bool refuse(const struct table *table, const char *line, unsigned number, const char *wrong,
		   GError **error)
{
	g_autofree char *shown = g_strndup(line, 100);
	g_autofree char *escaped = g_strescape(shown, NULL);

	trace_error_set(error, TRACE_ERROR_FORMAT, "%s:%u: %s: \"%s\"", table->name, number, wrong,
			escaped);
	return false;
}

/* [first, last], both included. Returns what is wrong, or NULL. */
static const char *add_range(struct table *table, uint64_t first, uint64_t last, uint32_t type)
{
	struct memory_range range = { .base = first, .bytes = last - first + 1, .type = type };

	if (last < first)
		return "the range ends before it starts";
	if (range.bytes == 0)
		return "the range covers the whole 64-bit space";
	g_array_append_val(table->map, range);
	return NULL;
}

static bool parse_number(const char **at, guint base, uint64_t *value)
{
	char *end;

	if (!g_ascii_isxdigit(**at))
		return false;
	*value = g_ascii_strtoull(*at, &end, base);
	bool fits = *value != G_MAXUINT64 || end - *at <= (base == 16 ? 18 : 20);
	fits = fits && end != *at;
	*at = end;
	return fits;
}

static bool take(const char **at, const char *text)
{
	if (!g_str_has_prefix(*at, text))
		return false;
	*at += strlen(text);
	return true;
}

static void skip_spaces(const char **at)
{
	while (**at == ' ' || **at == '\t')
		(*at)++;
}

/* Runs a parser of lines over all of them. NOTHING: what to say where none was of the kind. */
static GArray *parse_table(const char *text, gsize bytes, const char *name, line_fn line,
			   const char *nothing, GError **error)
{
	struct table table = { .name = name };

	table.map = g_array_new(FALSE, TRUE, sizeof(struct memory_range));
	bool fine = read_lines(text, bytes, line, &table, error);
	if (fine && table.map->len == 0)
		trace_error_set(error, TRACE_ERROR_FORMAT, "%s: no memory map in it (%s)", name,
				nothing);
	if (fine && table.map->len)
		return table.map;
	g_array_unref(table.map);
	return NULL;
}

/* ---- UEFI, as Linux prints it with efi=debug ---- */

static bool efi_type_of(const char *name, gsize length, uint32_t *type)
{
	for (uint32_t i = 0; i < G_N_ELEMENTS(efi_names); i++)
		if (strlen(efi_names[i]) == length && !strncmp(efi_names[i], name, length)) {
			*type = i;
			return true;
		}
	for (gsize i = 0; i < G_N_ELEMENTS(efi_old_names); i++)
		if (strlen(efi_old_names[i].name) == length &&
		    !strncmp(efi_old_names[i].name, name, length)) {
			*type = efi_old_names[i].type;
			return true;
		}
	return false;
}

/* "[Conventional Memory|   |  |...|WB|...]": the type, and which attributes stand behind it. */
static const char *parse_efi_words(const char **at, uint32_t *type, bool *write_back, bool *special)
{
	const char *close = strchr(*at, ']');
	const char *bar = strchr(*at, '|');

	if (!close || !bar || bar > close)
		return "not of the form [TYPE|ATTRIBUTES] range=[0xFIRST-0xLAST]";
	gsize length = (gsize)(bar - *at);
	while (length && (*at)[length - 1] == ' ')
		length--;
	g_autofree char *attributes = g_strndup(bar, (gsize)(close - bar));
	if (!efi_type_of(*at, length, type))
		return "unknown UEFI memory type";
	*write_back = strstr(attributes, "|WB") != NULL;
	*special = strstr(attributes, "|SP") != NULL;
	*at = close + 1;
	return NULL;
}

/* "type=7, attr=0xf, ": Linux before 4.0, whose ranges end behind their last byte. */
static const char *parse_efi_numbers(const char **at, uint32_t *type, bool *write_back,
				     bool *special)
{
	uint64_t number, attributes;

	if (!parse_number(at, 10, &number) || number > UINT32_MAX || !take(at, ", attr=0x") ||
	    !parse_number(at, 16, &attributes) || !take(at, ","))
		return "not of the form type=N, attr=0xN, range=[0xFIRST-0xEND)";
	*type = (uint32_t)number;
	*write_back = attributes & 8;
	*special = attributes & 0x40000;
	return NULL;
}

static bool efi_line(struct table *table, const char *line, unsigned number, GError **error)
{
	const char *at = strstr(line, "efi: mem");
	uint64_t first, last;
	uint32_t type;
	bool write_back, special;

	at = at ? at : strstr(line, "EFI: mem");
	if (!at || !g_ascii_isdigit(at[strlen("efi: mem")]))
		return true;
	at = strchr(at + strlen("efi: mem"), ':');
	if (!at)
		return refuse(table, line, number, "no colon behind the entry's number", error);
	at++;
	skip_spaces(&at);
	const char *wrong = take(&at, "[") ? parse_efi_words(&at, &type, &write_back, &special)
			    : take(&at, "type=")
				    ? parse_efi_numbers(&at, &type, &write_back, &special)
				    : "neither [TYPE|...] nor type=N";
	if (wrong)
		return refuse(table, line, number, wrong, error);
	skip_spaces(&at);
	if (!take(&at, "range=[0x") || !parse_number(&at, 16, &first) || !take(&at, "-0x") ||
	    !parse_number(&at, 16, &last) || (*at != ']' && *at != ')'))
		return refuse(table, line, number, "no range=[0xFIRST-0xLAST]", error);
	if (*at == ')' && last > first)
		last--;
	wrong = add_range(table, first, last, memory_map_efi_type(type, write_back, special));
	return !wrong || refuse(table, line, number, wrong, error);
}

GArray *memory_map_parse_efi(const char *text, gsize bytes, const char *name, GError **error)
{
	return parse_table(
		text, bytes, name, efi_line,
		"lines \"efi: mem00: [...] range=[0x...-0x...]\"; Linux prints them with "
		"efi=debug",
		error);
}

/* ---- /proc/iomem ---- */

static const struct {
	const char *name;
	uint32_t type;
} iomem_names[] = {
	{ "System RAM", MEMORY_USABLE },
	{ "Reserved", MEMORY_RESERVED },
	{ "reserved", MEMORY_RESERVED },
	{ "ACPI Tables", MEMORY_ACPI_RECLAIMABLE },
	{ "ACPI Non-volatile Storage", MEMORY_ACPI_NVS },
	{ "Unusable memory", MEMORY_UNUSABLE },
	{ "Persistent Memory", MEMORY_PERSISTENT },
	{ "Persistent Memory (legacy)", MEMORY_PERSISTENT_OLD },
	{ "Soft Reserved", MEMORY_SOFT_RESERVED },
};

/* Only what stands at the margin is the firmware's; devices have no memory. */
static bool iomem_line(struct table *table, const char *line, unsigned number, GError **error)
{
	const char *at = line;
	uint64_t first, last;

	if (*at == ' ' || *at == '\0')
		return true;
	if (!parse_number(&at, 16, &first) || !take(&at, "-") || !parse_number(&at, 16, &last) ||
	    !take(&at, " : "))
		return refuse(table, line, number, "not of the form FIRST-LAST : NAME", error);
	for (gsize i = 0; i < G_N_ELEMENTS(iomem_names); i++) {
		if (strcmp(at, iomem_names[i].name))
			continue;
		const char *wrong = add_range(table, first, last, iomem_names[i].type);
		return !wrong || refuse(table, line, number, wrong, error);
	}
	return true;
}

GArray *memory_map_parse_iomem(const char *text, gsize bytes, const char *name, GError **error)
{
	GArray *map = parse_table(text, bytes, name, iomem_line,
				  "lines \"FIRST-LAST : System RAM\"", error);

	if (!map || memory_map_end(map) > 1)
		return map;
	g_array_unref(map);
	trace_error_set(error, TRACE_ERROR_FORMAT,
			"%s: its addresses are hidden: only root sees them in /proc/iomem", name);
	return NULL;
}

/* ---- Limine's entries as text ---- */

static const char *const limine_names[] = {
	"usable",
	"reserved",
	"acpi-reclaimable",
	"acpi-nvs",
	"bad-memory",
	"bootloader-reclaimable",
	"executable-and-modules",
	"framebuffer",
};

uint32_t memory_map_limine_type(uint64_t type)
{
	static const uint32_t types[] = {
		MEMORY_USABLE,	 MEMORY_RESERVED, MEMORY_ACPI_RECLAIMABLE, MEMORY_ACPI_NVS,
		MEMORY_UNUSABLE, MEMORY_USABLE,	  MEMORY_RESERVED,	   MEMORY_RESERVED,
	};

	return type < G_N_ELEMENTS(types) ? types[type] : MEMORY_RESERVED;
}

static bool limine_type_of(const char *name, uint64_t *type)
{
	char *end;

	for (gsize i = 0; i < G_N_ELEMENTS(limine_names); i++)
		if (!strcmp(name, limine_names[i])) {
			*type = i;
			return true;
		}
	if (!strcmp(name, "kernel-and-modules")) { /* before protocol revision 2 */
		*type = 6;
		return true;
	}
	*type = g_ascii_strtoull(name, &end, 10);
	return end != name && *end == '\0';
}

static bool limine_line(struct table *table, const char *line, unsigned number, GError **error)
{
	const char *at = line;
	uint64_t base, bytes, type;

	skip_spaces(&at);
	if (*at == '\0' || *at == '#')
		return true;
	if (!take(&at, "base=0x") || !parse_number(&at, 16, &base) || !take(&at, " length=0x") ||
	    !parse_number(&at, 16, &bytes) || !take(&at, " type=") || !limine_type_of(at, &type))
		return refuse(table, line, number, "not of the form base=0xN length=0xN type=NAME",
			      error);
	if (bytes == 0)
		return true;
	const char *wrong =
		add_range(table, base, base + (bytes - 1), memory_map_limine_type(type));
	return !wrong || refuse(table, line, number, wrong, error);
}

GArray *memory_map_parse_limine_text(const char *text, gsize bytes, const char *name,
				     GError **error)
{
	return parse_table(text, bytes, name, limine_line,
			   "lines \"base=0x0 length=0x9f000 "
			   "type=usable\"",
			   error);
}
