#include "workloads/trace_text.h"
#include "workloads/trace_columns.h"
#include "workloads/trace_meta.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

enum { BASE64_BYTES = 57, ESCAPED_BYTES = 4096 };

const char *const *trace_style_words(unsigned style)
{
	static const char *const flags[] = { "prologue", "compaction", "untraced", "inferred",
					     "refill",	 "implied",    NULL };
	static const char *const zones[] = { "any",	"dma",	   "dma32", "normal",
					     "highmem", "movable", NULL };
	static const char *const mobilities[] = { "unmovable",	"movable", "reclaimable",
						  "highatomic", "isolate", NULL };
	static const char *const rights[] = { "r", "w", "x", "large", NULL };
	static const char *const paths[] = { "zone_locked", "pcpu_drain", "free_one",
					     "free_pages_ok", NULL };
	static const char *const *const words[TRACE_STYLES] = {
		[STYLE_FLAGS] = flags,	 [STYLE_ZONE] = zones, [STYLE_MOBILITY] = mobilities,
		[STYLE_RIGHTS] = rights, [STYLE_PATH] = paths,
	};
	return words[style];
}

/* Prints text in quotes, C's escapes in it. */
static void print_quoted(FILE *out, const char *text)
{
	g_autofree char *escaped = g_strescape(text, NULL);
	fprintf(out, "\"%s\"", escaped);
}

/* Returns whether all bits have words, and prints them joined by +. */
static bool print_bits(FILE *out, const char *const *words, uint64_t value)
{
	const char *between = "";

	if (value >> g_strv_length((char **)(guintptr)words))
		return false;
	for (unsigned bit = 0; value >> bit; bit++) {
		if (!(value >> bit & 1))
			continue;
		fprintf(out, "%s%s", between, words[bit]);
		between = "+";
	}
	return true;
}

static void print_value(const struct trace_reader *reader, FILE *out, unsigned style,
			uint64_t value)
{
	const char *const *words = trace_style_words(style);
	const char *text;

	if (style == STYLE_FLAGS || style == STYLE_RIGHTS) {
		if (!print_bits(out, words, value))
			fprintf(out, "0x%" PRIx64, value);
	} else if (words && value < g_strv_length((char **)(guintptr)words)) {
		fputs(words[value], out);
	} else if (style == STYLE_STRING && value <= UINT32_MAX &&
		   (text = trace_reader_string(reader, (uint32_t)value))) {
		print_quoted(out, text);
	} else if (style == STYLE_FRAME && value == EVENT_NO_FRAME) {
		fputs("none", out);
	} else if (style == STYLE_HEX || style == STYLE_FRAME) {
		fprintf(out, "0x%" PRIx64, value);
	} else {
		fprintf(out, "%" PRIu64, value);
	}
}

static uint64_t field_of(const struct event *event, const struct trace_column *column)
{
	uint64_t value = 0; /* little-endian: trace_columns.c says so */
	memcpy(&value, (const uint8_t *)event + column->offset, column->bytes);
	return value;
}

void trace_text_event(const struct trace_reader *reader, FILE *out, const char *section,
		      uint64_t number, const struct event *event)
{
	fprintf(out, "%s %" PRIu64 " %s time=%" PRIu64 " cpu=%u task=%u", section, number,
		event_kind_name(event->kind), event->time_ns, event->cpu, event->task);
	for (unsigned i = COLUMN_FIELDS; i < trace_column_count; i++) {
		const struct trace_column *column = &trace_columns[i];
		if (i == COLUMN_TIME || i == COLUMN_CPU || i == COLUMN_TASK ||
		    !(column->kinds >> event->kind & 1))
			continue;
		uint64_t value = field_of(event, column);
		if (value == 0)
			continue;
		fprintf(out, " %s=", column->key);
		print_value(reader, out, column->style, value);
	}
	putc('\n', out);
}

static void print_time(FILE *out, const char *key, uint64_t value)
{
	if (value == UINT64_MAX)
		fprintf(out, " %s=none", key);
	else
		fprintf(out, " %s=%" PRIu64, key, value);
}

/* Text line by line in quotes, anything else in base64. */
static void print_content(FILE *out, const char *data, gsize bytes)
{
	bool text = !memchr(data, 0, bytes);

	while (bytes) {
		gsize some = MIN(bytes, (gsize)(text ? ESCAPED_BYTES : BASE64_BYTES));
		const char *end = text ? memchr(data, '\n', some) : NULL;
		some = end ? (gsize)(end - data) + 1 : some;
		if (text) {
			g_autofree char *line = g_strndup(data, some);
			fputs("#| ", out);
			print_quoted(out, line);
			putc('\n', out);
		} else {
			g_autofree char *line = g_base64_encode((const guchar *)data, some);
			fprintf(out, "#= %s\n", line);
		}
		data += some;
		bytes -= some;
	}
}

static bool print_attachments(struct trace_reader *reader, FILE *out, GError **error)
{
	const GPtrArray *list = trace_reader_attachments(reader, error);
	if (!list)
		return false;
	for (guint i = 0; i < list->len; i++) {
		const struct trace_attachment *attachment = list->pdata[i];
		gsize bytes;
		const char *data = g_bytes_get_data(attachment->bytes, &bytes);
		fprintf(out, "# attachment %u ", i + 1);
		print_quoted(out, attachment->name);
		print_time(out, "time", attachment->time_ns);
		print_time(out, "event", attachment->event);
		putc('\n', out);
		if (bytes)
			print_content(out, data, bytes);
	}
	return true;
}

static void print_task(uint32_t task, const char *name, void *data)
{
	FILE *out = data;
	fprintf(out, "# task %u ", task);
	print_quoted(out, name);
	putc('\n', out);
}

static void print_head(struct trace_reader *reader, FILE *out)
{
	g_autofree char *meta = trace_meta_to_json(trace_reader_meta(reader));
	const char *text;

	fprintf(out, "# kmemlab trace 1\n# meta %s\n", meta);
	for (uint32_t id = 1; (text = trace_reader_string(reader, id)); id++) {
		fprintf(out, "# string %u ", id);
		print_quoted(out, text);
		putc('\n', out);
	}
	trace_reader_each_task(reader, print_task, out);
}

bool trace_text_write(struct trace_reader *reader, FILE *out, GError **error)
{
	struct event event;
	uint64_t number;
	int got;

	print_head(reader, out);
	if (!print_attachments(reader, out, error))
		return false;
	trace_reader_rewind(reader);
	for (number = 0; (got = trace_reader_next_start(reader, &event, error)) > 0; number++)
		trace_text_event(reader, out, "start", number, &event);
	if (got < 0)
		return false;
	for (number = 0; (got = trace_reader_next(reader, &event, error)) > 0; number++)
		trace_text_event(reader, out, "event", number, &event);
	if (got < 0)
		return false;
	if (fflush(out) || ferror(out)) {
		trace_error_set(error, TRACE_ERROR_IO, "cannot write text: %s", g_strerror(errno));
		return false;
	}
	return true;
}
