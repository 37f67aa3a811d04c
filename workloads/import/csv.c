#include <string.h>
#include "workloads/import/import.h"
#include "workloads/import/lines.h"
#include "workloads/import/owners.h"

/*
 * Comma-separated events, for kernels that know none of the other formats; workloads/FORMAT.md
 * describes it to their authors. The first line that is no comment names the columns, in any order;
 * columns of other names are passed over.
 */

enum column {
	COLUMN_EVENT = 0,
	COLUMN_TIME,
	COLUMN_CPU,
	COLUMN_TASK,
	COLUMN_FRAME,
	COLUMN_FRAMES,
	COLUMN_ORDER,
	COLUMN_ALIGN,
	COLUMN_ZONE,
	COLUMN_MOBILITY,
	COLUMN_ADDRESS,
	COLUMN_TO,
	COLUMN_BYTES,
	COLUMN_GIVEN,
	COLUMN_SITE,
	COLUMN_CACHE,
	COLUMN_IP,
	COLUMN_ACCESS,
	COLUMN_CHILD,
	COLUMN_NAME,
	COLUMN_VALUE,
	COLUMNS
};

static const char *const column_names[COLUMNS] = {
	"event", "time",  "cpu",      "task",	 "frame", "frames", "order",
	"align", "zone",  "mobility", "address", "to",	  "bytes",  "given",
	"site",	 "cache", "ip",	      "access",	 "child", "name",   "value",
};

#define HAS(name) (1u << COLUMN_##name)

/* What an event needs, by its name. */
static const struct csv_event {
	const char *name;
	uint8_t kind; /* enum raw_kind */
	bool failed;
	uint32_t needs;
} events[] = {
	{ "frame_alloc", RAW_FRAMES_ALLOC, false, HAS(FRAME) },
	{ "frame_free", RAW_FRAMES_FREE, false, HAS(FRAME) },
	{ "frame_alloc_failed", RAW_FRAMES_ALLOC, true, 0 },
	{ "heap_alloc", RAW_KMALLOC, false, HAS(ADDRESS) | HAS(BYTES) },
	{ "heap_realloc", RAW_RESIZE, false, HAS(ADDRESS) | HAS(BYTES) },
	{ "heap_free", RAW_KFREE, false, HAS(ADDRESS) },
	{ "heap_alloc_failed", RAW_KMALLOC, true, HAS(BYTES) },
	{ "fork", RAW_FORK, false, HAS(CHILD) },
	{ "exec", RAW_EXEC, false, 0 },
	{ "exit", RAW_EXIT, false, 0 },
	{ "touch", RAW_ACCESS, false, HAS(ADDRESS) },
	{ "marker", RAW_MARKER, false, HAS(NAME) },
};

/* More columns than anybody has. */
#define FIELD_LIMIT 64

struct csv {
	struct owners *owners;
	struct raw_event raw;
	unsigned fields; /* of the header, 0 before it */
	uint8_t column[FIELD_LIMIT];
	uint32_t given;		   /* columns of this line that are not empty */
	struct span text[COLUMNS]; /* ... their texts, without quotes */
	uint64_t number[COLUMNS];  /* ... as numbers, where they are */
};

/* ---- fields ---- */

/* The next field of a line at *P; *P moves behind its comma, to NULL behind the last one. */
static struct span next_field(const char **p, const char *end)
{
	const char *begin = text_skip_blanks(*p, end), *stop;

	if (begin < end && *begin == '"') {
		stop = memchr(begin + 1, '"', (size_t)(end - begin - 1));
		stop = stop ? stop : end;
		const char *comma = memchr(stop, ',', (size_t)(end - stop));
		*p = comma ? comma + 1 : NULL;
		return (struct span){ begin + 1, stop };
	}
	stop = memchr(begin, ',', (size_t)(end - begin));
	*p = stop ? stop + 1 : NULL;
	stop = stop ? stop : end;
	while (stop > begin && stop[-1] == ' ')
		stop--;
	return (struct span){ begin, stop };
}

static bool is_word(struct span text, const char *word)
{
	return text_starts(text, word) && span_bytes(text) == strlen(word);
}

static bool take_header(struct csv *csv, struct span line, GError **error)
{
	bool event = false;

	for (const char *p = line.begin; p;) {
		struct span field = next_field(&p, line.end);
		unsigned column = 0;
		if (csv->fields == FIELD_LIMIT)
			return line_problem(error, "more than 64 columns");
		while (column < COLUMNS && !is_word(field, column_names[column]))
			column++;
		event |= column == COLUMN_EVENT;
		csv->column[csv->fields++] = (uint8_t)column;
	}
	if (event)
		return true;
	csv->fields = 0;
	return line_problem(error, "no column 'event' among the names of the columns");
}

static bool is_text(unsigned column)
{
	return column == COLUMN_EVENT || column == COLUMN_ZONE || column == COLUMN_MOBILITY ||
	       column == COLUMN_SITE || column == COLUMN_CACHE || column == COLUMN_ACCESS ||
	       column == COLUMN_NAME;
}

static bool split(struct csv *csv, struct span line, GError **error)
{
	unsigned field = 0;

	csv->given = 0;
	memset(csv->number, 0, sizeof csv->number);
	for (const char *p = line.begin; p; field++) {
		struct span text = next_field(&p, line.end);
		unsigned column = field < csv->fields ? csv->column[field] : COLUMNS;
		if (column == COLUMNS || text.begin == text.end)
			continue;
		csv->text[column] = text;
		csv->given |= 1u << column;
		if (!is_text(column) && !text_number(text, &csv->number[column]))
			return line_problem_at(error, "not a number:", text);
	}
	return field == csv->fields ||
	       line_problem(error, field < csv->fields ? "fewer fields than columns"
						       : "more fields than columns");
}

/* ---- events ---- */

static uint32_t string_of(const struct csv *csv, enum column column)
{
	return csv->given & 1u << column ? owners_string(csv->owners, csv->text[column].begin,
							 span_bytes(csv->text[column]))
					 : 0;
}

static bool word_of(const struct csv *csv, enum column column, const char *const *words,
		    unsigned count, uint8_t *value, GError **error)
{
	*value = 0;
	if (!(csv->given & 1u << column))
		return true;
	for (unsigned i = 0; i < count; i++) {
		if (is_word(csv->text[column], words[i])) {
			*value = (uint8_t)i;
			return true;
		}
	}
	return line_problem_at(error, "unknown word:", csv->text[column]);
}

static bool build_frames(struct csv *csv, bool failed, GError **error)
{
	static const char *const zones[] = {
		"any", "dma", "dma32", "normal", "highmem", "movable"
	};
	static const char *const mobilities[] = { "unmovable", "movable", "reclaimable" };
	struct raw_event *raw = &csv->raw;
	uint64_t order = csv->number[COLUMN_ORDER];
	uint64_t frames = csv->given & HAS(FRAMES) ? csv->number[COLUMN_FRAMES]
						   : UINT64_C(1) << MIN(order, 31);
	uint64_t align = csv->given & HAS(ALIGN)   ? csv->number[COLUMN_ALIGN]
			 : csv->given & HAS(ORDER) ? frames
						   : 1;

	raw->u.frames.first = failed ? RAW_NO_PFN : csv->number[COLUMN_FRAME];
	raw->u.frames.frames = (uint32_t)MIN(frames, UINT32_MAX);
	raw->u.frames.align_frames = (uint32_t)MIN(align, UINT32_MAX);
	return word_of(csv, COLUMN_ZONE, zones, G_N_ELEMENTS(zones), &raw->u.frames.zone, error) &&
	       word_of(csv, COLUMN_MOBILITY, mobilities, G_N_ELEMENTS(mobilities),
		       &raw->u.frames.mobility, error);
}

static void build_object(struct csv *csv, bool failed)
{
	struct raw_event *raw = &csv->raw;
	struct span site = csv->text[COLUMN_SITE];

	raw->u.slab.previous = csv->number[COLUMN_ADDRESS];
	raw->u.slab.pointer = failed		     ? 0
			      : csv->given & HAS(TO) ? csv->number[COLUMN_TO]
						     : csv->number[COLUMN_ADDRESS];
	raw->u.slab.bytes_requested = csv->number[COLUMN_BYTES];
	raw->u.slab.bytes_given = csv->number[COLUMN_GIVEN];
	raw->u.slab.cache = string_of(csv, COLUMN_CACHE);
	/* Numbers that could be names of ours are names as well. */
	if ((csv->given & HAS(SITE)) &&
	    (!text_number(site, &raw->u.slab.site) || owners_site_is_name(raw->u.slab.site)))
		raw->u.slab.site = string_of(csv, COLUMN_SITE);
}

static bool build_touch(struct csv *csv, GError **error)
{
	struct raw_event *raw = &csv->raw;
	struct span text = csv->text[COLUMN_ACCESS];

	raw->u.access.address = csv->number[COLUMN_ADDRESS];
	raw->u.access.ip = csv->number[COLUMN_IP];
	raw->u.access.bytes =
		csv->given & HAS(BYTES) ? (uint32_t)MIN(csv->number[COLUMN_BYTES], UINT32_MAX) : 1;
	raw->u.access.access = csv->given & HAS(ACCESS) ? 0 : RIGHT_READ;
	for (const char *p = text.begin; (csv->given & HAS(ACCESS)) && p < text.end; p++) {
		const char *right = memchr("rwx", *p, 3);
		if (!right)
			return line_problem_at(error, "an access is of r, w and x, not", text);
		raw->u.access.access |= *p == 'r'   ? RIGHT_READ
					: *p == 'w' ? RIGHT_WRITE
						    : RIGHT_EXEC;
	}
	return true;
}

static bool build(struct csv *csv, bool failed, GError **error)
{
	struct raw_event *raw = &csv->raw;

	switch ((enum raw_kind)raw->kind) {
	case RAW_FRAMES_ALLOC:
	case RAW_FRAMES_FREE:
		return build_frames(csv, failed, error);
	case RAW_KMALLOC:
	case RAW_RESIZE:
	case RAW_KFREE:
		build_object(csv, failed);
		return true;
	case RAW_ACCESS:
		return build_touch(csv, error);
	case RAW_FORK:
	case RAW_EXEC:
	case RAW_EXIT:
		raw->u.process.child = (uint32_t)MIN(csv->number[COLUMN_CHILD], UINT32_MAX);
		raw->u.process.text = string_of(csv, COLUMN_NAME);
		return true;
	case RAW_MARKER:
		raw->u.marker.text = string_of(csv, COLUMN_NAME);
		return true;
	default:
		raw->u.other.count = csv->given & HAS(VALUE) ? 1 : 0;
		raw->u.other.value[0] = csv->number[COLUMN_VALUE];
		return true;
	}
}

static const struct csv_event *event_of(struct span name)
{
	for (size_t i = 0; i < G_N_ELEMENTS(events); i++)
		if (is_word(name, events[i].name))
			return &events[i];
	return NULL;
}

static bool missing(uint32_t needs, const struct csv *csv, GError **error)
{
	uint32_t lacking = needs & ~csv->given;

	g_set_error(error, TRACE_ERROR, TRACE_ERROR_FORMAT, "this event needs a value for '%s'",
		    column_names[__builtin_ctz(lacking)]);
	return false;
}

static bool take_event(struct csv *csv, GError **error)
{
	struct raw_event *raw = &csv->raw;
	const struct csv_event *event;
	uint32_t needs = HAS(EVENT);

	if (needs & ~csv->given)
		return missing(needs, csv, error);
	event = event_of(csv->text[COLUMN_EVENT]);
	needs = event ? event->needs : 0;
	if (needs & ~csv->given)
		return missing(needs, csv, error);
	memset(&raw->u, 0, sizeof raw->u);
	/* Without a clock a line is a nanosecond. */
	raw->time_ns = csv->given & HAS(TIME) ? csv->number[COLUMN_TIME] : raw->time_ns + 1;
	raw->cpu = (uint16_t)MIN(csv->number[COLUMN_CPU], UINT16_MAX);
	raw->pid = (uint32_t)MIN(csv->number[COLUMN_TASK], UINT32_MAX);
	raw->kind = event ? event->kind : RAW_OTHER;
	raw->name = string_of(csv, COLUMN_EVENT);
	return build(csv, event && event->failed, error) && owners_add(csv->owners, raw, error);
}

static bool take_line(void *data, struct span line, GError **error)
{
	struct csv *csv = data;

	if (line.begin == line.end || *line.begin == '#')
		return true;
	if (csv->fields == 0)
		return take_header(csv, line, error);
	return split(csv, line, error) && take_event(csv, error);
}

bool csv_run(struct import_job *job, GError **error)
{
	struct csv csv = { .owners = job->owners };

	return lines_run(job, take_line, &csv, error);
}

/* The names of the columns are the first line that is no comment. */
bool csv_detect(const unsigned char *head, size_t bytes, const char *name)
{
	const char *text = (const char *)head, *end = text + bytes;

	while (text < end && (*text == '#' || *text == '\n')) {
		text = memchr(text, '\n', (size_t)(end - text));
		text = text ? text + 1 : end;
	}
	const char *newline = memchr(text, '\n', (size_t)(end - text));
	struct csv csv = { .fields = 0 };
	if (!newline)
		return false;
	return take_header(&csv,
			   (struct span){ text, newline - (newline > text && newline[-1] == '\r') },
			   NULL);
}
