#include "workloads/memory_map_formats.h"
#include "workloads/trace.h"

#include <inttypes.h>
#include <string.h>

/* Frames are 4 KiB. */
enum { FRAME_SHIFT = 12 };

static const char firmware_mark[] = "BIOS-e820:";
static const char range_mark[] = "[mem 0x";

/* As arch/x86/kernel/e820.c prints them; other numbers are "type N". */
static const struct {
	const char *name;
	uint32_t type;
} types[] = {
	{ "usable", MEMORY_USABLE },
	{ "reserved", MEMORY_RESERVED },
	{ "ACPI data", MEMORY_ACPI_RECLAIMABLE },
	{ "ACPI NVS", MEMORY_ACPI_NVS },
	{ "unusable", MEMORY_UNUSABLE },
	{ "persistent (type 7)", MEMORY_PERSISTENT },
	{ "persistent (type 12)", MEMORY_PERSISTENT_OLD },
	{ "soft reserved", MEMORY_SOFT_RESERVED },
};

const char *memory_type_name(uint32_t type)
{
	for (size_t i = 0; i < G_N_ELEMENTS(types); i++)
		if (types[i].type == type)
			return types[i].name;
	return "unknown";
}

static bool type_of(const char *name, uint32_t *type)
{
	for (size_t i = 0; i < G_N_ELEMENTS(types); i++) {
		if (!strcmp(types[i].name, name)) {
			*type = types[i].type;
			return true;
		}
	}
	if (!g_str_has_prefix(name, "type "))
		return false;
	guint64 number;
	if (!g_ascii_string_to_unsigned(name + strlen("type "), 10, 0, UINT32_MAX, &number, NULL))
		return false;
	*type = (uint32_t)number;
	return true;
}

/* Reads hexadecimal digits at *at; more than 16 of them do not fit. */
static bool parse_hex(const char **at, uint64_t *value)
{
	const char *start = *at;
	*value = 0;
	for (; g_ascii_isxdigit(**at); (*at)++) {
		if (*at - start == 16)
			return false;
		*value = *value << 4 | (uint64_t)g_ascii_xdigit_value(**at);
	}
	return *at != start;
}

static const char *take(const char *at, const char *text)
{
	return g_str_has_prefix(at, text) ? at + strlen(text) : NULL;
}

/* Parses "[mem 0xFIRST-0xLAST] TYPE". Returns NULL if it is one, else what is wrong with it. */
static const char *parse_range(const char *at, struct memory_range *range)
{
	uint64_t first, last;
	if (!(at = take(at, range_mark)) || !parse_hex(&at, &first) || !(at = take(at, "-0x")) ||
	    !parse_hex(&at, &last) || !(at = take(at, "] ")))
		return "not of the form [mem 0xFIRST-0xLAST] TYPE";
	if (last < first)
		return "the range ends before it starts";
	if (last - first == UINT64_MAX)
		return "the range covers the whole 64-bit space";
	if (!type_of(at, &range->type))
		return "unknown memory type";
	range->base = first;
	range->bytes = last - first + 1;
	return NULL;
}

/* Skips what dmesg puts before a message: "<6>" and "[    0.000000] ". */
static const char *skip_stamp(const char *at)
{
	if (*at == '<') {
		const char *end = strchr(at, '>');
		at = end ? end + 1 : at;
	}
	if (*at == '[' && !g_str_has_prefix(at, range_mark)) {
		const char *end = strstr(at, "] ");
		at = end ? end + 2 : at;
	}
	return at;
}

/* A line that names the firmware's map must parse. A bare range counts if it is one: dmesg has
 * other lines that begin alike ("[mem ...] available for PCI devices"). */
static bool parse_line(const char *line, const char *name, unsigned number, GArray *map,
		       GError **error)
{
	struct memory_range range = { 0 };
	const char *mark = strstr(line, firmware_mark);
	if (!mark) {
		if (!parse_range(skip_stamp(line), &range))
			g_array_append_val(map, range);
		return true;
	}
	const char *at = mark + strlen(firmware_mark);
	while (*at == ' ')
		at++;
	const char *wrong = parse_range(at, &range);
	if (wrong) {
		g_autofree char *shown = g_strndup(mark, 100);
		g_autofree char *escaped = g_strescape(shown, NULL);
		trace_error_set(error, TRACE_ERROR_FORMAT, "%s:%u: %s: \"%s\"", name, number, wrong,
				escaped);
		return false;
	}
	g_array_append_val(map, range);
	return true;
}

GArray *memory_map_parse_e820(const char *text, gsize bytes, const char *name, GError **error)
{
	g_autoptr(GArray) map = g_array_new(FALSE, TRUE, sizeof(struct memory_range));
	const char *end = text + bytes;
	unsigned number = 0;

	for (const char *at = text; at < end; number++) {
		const char *stop = memchr(at, '\n', (size_t)(end - at));
		stop = stop ? stop : end;
		g_autofree char *line = g_strndup(at, (gsize)(stop - at));
		if (!parse_line(g_strchomp(line), name, number + 1, map, error))
			return NULL;
		at = stop + 1;
	}
	if (map->len == 0) {
		trace_error_set(
			error, TRACE_ERROR_FORMAT,
			"%s: no memory map in it (lines \"BIOS-e820: [mem 0x...-0x...] usable\")",
			name);
		return NULL;
	}
	return g_steal_pointer(&map);
}

char *memory_map_format(const GArray *map)
{
	GString *text = g_string_new(NULL);
	for (guint i = 0; i < map->len; i++) {
		const struct memory_range *range = &g_array_index(map, struct memory_range, i);
		if (range->bytes == 0)
			continue;
		g_string_append_printf(text, "%s [mem 0x%016" PRIx64 "-0x%016" PRIx64 "] ",
				       firmware_mark, range->base,
				       range->base + (range->bytes - 1));
		const char *name = memory_type_name(range->type);
		uint32_t known;
		if (type_of(name, &known))
			g_string_append_printf(text, "%s\n", name);
		else
			g_string_append_printf(text, "type %u\n", range->type);
	}
	return g_string_free(text, FALSE);
}

/* Where a range begins or ends: 2^64 is a legal end, so addresses are wider than 64 bits. */
__extension__ typedef unsigned __int128 wide_address;

struct edge {
	wide_address at;
	int usable, taken; /* how the number of covering ranges of either sort changes here */
};

static int compare_edges(const void *a, const void *b)
{
	const struct edge *left = a, *right = b;
	return left->at < right->at ? -1 : left->at > right->at;
}

/* Two edges a range, sorted by address. */
static GArray *edges_of(const GArray *map)
{
	GArray *edges = g_array_new(FALSE, FALSE, sizeof(struct edge));
	for (guint i = 0; i < map->len; i++) {
		const struct memory_range *range = &g_array_index(map, struct memory_range, i);
		int usable = range->type == MEMORY_USABLE;
		struct edge from = { range->base, usable, !usable };
		struct edge to = { from.at + range->bytes, -usable, -!usable };
		if (range->bytes == 0)
			continue;
		/* Nothing exists beyond 64 bits. */
		to.at = MIN(to.at, (wide_address)1 << 64);
		g_array_append_val(edges, from);
		g_array_append_val(edges, to);
	}
	g_array_sort(edges, compare_edges);
	return edges;
}

uint64_t memory_map_usable_frames(const GArray *map)
{
	g_autoptr(GArray) edges = edges_of(map);
	const wide_address inside_frame = ((wide_address)1 << FRAME_SHIFT) - 1;
	wide_address start = 0;
	uint64_t frames = 0;
	int usable = 0, taken = 0;
	bool open = false;

	for (guint i = 0; i < edges->len; i++) {
		const struct edge *edge = &g_array_index(edges, struct edge, i);
		usable += edge->usable;
		taken += edge->taken;
		/* All edges at one address take effect together: adjacent ranges join. */
		if (i + 1 < edges->len && (edge + 1)->at == edge->at)
			continue;
		bool now = usable > 0 && taken == 0;
		if (now && !open) {
			start = edge->at;
		} else if (!now && open) {
			wide_address first = (start + inside_frame) >> FRAME_SHIFT;
			wide_address end = edge->at >> FRAME_SHIFT;
			frames += end > first ? (uint64_t)(end - first) : 0;
		}
		open = now;
	}
	return frames;
}

uint64_t memory_map_end(const GArray *map)
{
	uint64_t end = 0;
	for (guint i = 0; i < map->len; i++) {
		const struct memory_range *range = &g_array_index(map, struct memory_range, i);
		if (range->type != MEMORY_USABLE || range->bytes == 0)
			continue;
		uint64_t last = range->base + (range->bytes - 1);
		last = last < range->base ? UINT64_MAX : last;
		end = MAX(end, last == UINT64_MAX ? UINT64_MAX : last + 1);
	}
	return end;
}
