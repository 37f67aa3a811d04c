#include "workloads/trace_text.h"
#include "workloads/trace_columns.h"
#include "workloads/trace_meta.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const char first_line[] = "# kmemlab trace 1";

struct text {
	FILE *in;
	const char *name;
	unsigned line;
	struct trace_writer *writer;
	struct trace_meta *meta;
	/* The attachment whose content is being read. */
	bool attaching;
	char *attachment_name;
	uint64_t attachment_time, attachment_event;
	GByteArray *content;
};

static bool fail(const struct text *text, GError **error, const char *what, const char *where)
{
	g_autofree char *shown = g_strndup(where, 40);
	g_autofree char *escaped = g_strescape(shown, NULL);
	trace_error_set(error, TRACE_ERROR_FORMAT, "%s:%u: %s: \"%s\"", text->name, text->line,
			what, escaped);
	return false;
}

/* ---- tokens: each moves *at behind what it took ---- */

static bool take(const char **at, const char *what)
{
	if (!g_str_has_prefix(*at, what))
		return false;
	*at += strlen(what);
	return true;
}

static bool take_number(const char **at, uint64_t *value)
{
	char *end;
	if (!g_ascii_isdigit(**at))
		return false;
	errno = 0;
	*value = g_ascii_strtoull(*at, &end, g_str_has_prefix(*at, "0x") ? 16 : 10);
	*at = end;
	return errno == 0;
}

/* A number or "none". */
static bool take_time(const char **at, uint64_t *value)
{
	*value = UINT64_MAX;
	return take(at, "none") || take_number(at, value);
}

/* Returns what stands in quotes, NULL if nothing does. */
static char *take_quoted(const char **at)
{
	const char *start = *at + 1, *end = start;
	if (**at != '"')
		return NULL;
	for (; *end != '"'; end++) {
		if (*end == '\\')
			end++;
		if (*end == 0)
			return NULL;
	}
	g_autofree char *escaped = g_strndup(start, (gsize)(end - start));
	*at = end + 1;
	return g_strcompress(escaped);
}

static size_t word_length(const char *at)
{
	size_t length = 0;
	while (g_ascii_isalnum(at[length]) || at[length] == '_')
		length++;
	return length;
}

/* Returns the place of the word at *at among the words, -1 if it is none. */
static int take_word(const char **at, const char *const *words)
{
	size_t length = word_length(*at);
	for (int i = 0; words[i]; i++) {
		if (strlen(words[i]) == length && !strncmp(words[i], *at, length)) {
			*at += length;
			return i;
		}
	}
	return -1;
}

static bool take_value(const struct text *text, const char **at, unsigned style, uint64_t *value)
{
	const char *const *words = trace_style_words(style);

	if (g_ascii_isdigit(**at))
		return take_number(at, value);
	if (style == STYLE_FRAME)
		return take_time(at, value);
	if (style == STYLE_STRING) {
		g_autofree char *string = take_quoted(at);
		if (string)
			*value = trace_writer_string(text->writer, string);
		return string != NULL;
	}
	if (!words)
		return false;
	bool bits = style == STYLE_FLAGS || style == STYLE_RIGHTS;
	*value = 0;
	do {
		int word = take_word(at, words);
		if (word < 0)
			return false;
		*value |= bits ? UINT64_C(1) << word : (uint64_t)word;
	} while (bits && take(at, "+"));
	return true;
}

/* ---- events ---- */

static unsigned take_kind(const char **at)
{
	size_t length = word_length(*at);
	for (unsigned kind = 1; kind < EVENT_KINDS; kind++) {
		const char *name = event_kind_name(kind);
		if (strlen(name) == length && !strncmp(name, *at, length)) {
			*at += length;
			return kind;
		}
	}
	return EVENT_NONE;
}

static const struct trace_column *take_key(const char **at, unsigned kind)
{
	size_t length = word_length(*at);
	for (unsigned i = COLUMN_FIELDS; i < trace_column_count; i++) {
		const struct trace_column *column = &trace_columns[i];
		if (!(column->kinds >> kind & 1) || strlen(column->key) != length ||
		    strncmp(column->key, *at, length) || (*at)[length] != '=')
			continue;
		*at += length + 1;
		return column;
	}
	return NULL;
}

static bool read_event(struct text *text, const char *at, bool start, GError **error)
{
	struct event event = { 0 };
	uint64_t number, value;

	if (!take_number(&at, &number) || !take(&at, " "))
		return fail(text, error, "no number of an event", at);
	event.kind = (uint8_t)take_kind(&at);
	if (event.kind == EVENT_NONE)
		return fail(text, error, "no kind of event", at);
	while (*at) {
		if (!take(&at, " "))
			return fail(text, error, "no space between fields", at);
		const struct trace_column *column = take_key(&at, event.kind);
		if (!column)
			return fail(text, error, "no field of this kind of event", at);
		const char *before = at;
		if (!take_value(text, &at, column->style, &value) ||
		    (column->bytes < 8 && value >> 8 * column->bytes))
			return fail(text, error, "no value of this field", before);
		memcpy((uint8_t *)&event + column->offset, &value, column->bytes);
	}
	return start ? trace_writer_add_start(text->writer, &event, error)
		     : trace_writer_add(text->writer, &event, error);
}

/* ---- lines that begin with # ---- */

static void end_attachment(struct text *text)
{
	if (!text->attaching)
		return;
	g_autoptr(GBytes) bytes = g_byte_array_free_to_bytes(text->content);
	trace_writer_attach(text->writer, text->attachment_name, text->attachment_time,
			    text->attachment_event, bytes);
	text->content = g_byte_array_new();
	g_clear_pointer(&text->attachment_name, g_free);
	text->attaching = false;
}

static bool read_content(struct text *text, const char *at, GError **error)
{
	if (!text->attaching)
		return fail(text, error, "content of no attachment", at);
	if (take(&at, "#| ")) {
		g_autofree char *line = take_quoted(&at);
		if (!line || *at)
			return fail(text, error, "no text in quotes", at);
		g_byte_array_append(text->content, (const guint8 *)line, (guint)strlen(line));
		return true;
	}
	gsize bytes;
	g_autofree guchar *data = g_base64_decode(at + strlen("#= "), &bytes);
	if (bytes)
		g_byte_array_append(text->content, data, (guint)bytes);
	return true;
}

static bool read_attachment(struct text *text, const char *at, GError **error)
{
	uint64_t number;
	if (take_number(&at, &number) && take(&at, " "))
		text->attachment_name = take_quoted(&at);
	if (!text->attachment_name || !take(&at, " time=") ||
	    !take_time(&at, &text->attachment_time) || !take(&at, " event=") ||
	    !take_time(&at, &text->attachment_event) || *at)
		return fail(text, error, "not of the form: attachment N \"NAME\" time=T event=E",
			    at);
	text->attaching = true;
	return true;
}

static bool read_string(struct text *text, const char *at, GError **error)
{
	uint64_t number = 0;
	g_autofree char *string = NULL;
	if (take_number(&at, &number) && take(&at, " "))
		string = take_quoted(&at);
	if (!string || *at)
		return fail(text, error, "not of the form: string N \"TEXT\"", at);
	if (trace_writer_string(text->writer, string) != number)
		return fail(text, error, "strings are not numbered from 1 on, or one stands twice",
			    string);
	return true;
}

static bool read_task(struct text *text, const char *at, GError **error)
{
	uint64_t number = 0;
	g_autofree char *name = NULL;
	if (take_number(&at, &number) && take(&at, " "))
		name = take_quoted(&at);
	if (!name || *at || number > UINT32_MAX)
		return fail(text, error, "not of the form: task N \"NAME\"", at);
	trace_writer_task(text->writer, (uint32_t)number, name);
	return true;
}

static bool read_meta(struct text *text, const char *at, GError **error)
{
	struct trace_meta *meta = trace_meta_from_json(at, strlen(at), error);
	if (!meta) {
		g_prefix_error(error, "trace error: %s:%u: ", text->name, text->line);
		return false;
	}
	trace_meta_free(text->meta);
	text->meta = meta;
	return true;
}

static bool read_line(struct text *text, const char *at, GError **error)
{
	if (g_str_has_prefix(at, "#| ") || g_str_has_prefix(at, "#= "))
		return read_content(text, at, error);
	end_attachment(text);
	if (take(&at, "event "))
		return read_event(text, at, false, error);
	if (take(&at, "start "))
		return read_event(text, at, true, error);
	if (take(&at, "# string "))
		return read_string(text, at, error);
	if (take(&at, "# task "))
		return read_task(text, at, error);
	if (take(&at, "# attachment "))
		return read_attachment(text, at, error);
	if (take(&at, "# meta "))
		return read_meta(text, at, error);
	return *at == 0 || *at == '#' || fail(text, error, "neither event nor comment", at);
}

static bool read_lines(struct text *text, GError **error)
{
	char *line = NULL;
	size_t room = 0;
	ssize_t length;
	bool good = true;

	while (good && (length = getline(&line, &room, text->in)) >= 0) {
		text->line++;
		if (length && line[length - 1] == '\n')
			line[--length] = 0;
		if (strlen(line) != (size_t)length)
			good = fail(text, error, "a zero byte in the text", line);
		else if (text->line == 1 && strcmp(line, first_line))
			good = fail(text, error, "not the text of a trace", line);
		else
			good = read_line(text, line, error);
	}
	free(line);
	if (!good)
		return false;
	if (ferror(text->in)) {
		trace_error_set(error, TRACE_ERROR_IO, "%s: cannot read: %s", text->name,
				g_strerror(errno));
		return false;
	}
	if (text->line == 0)
		return fail(text, error, "the text is empty", "");
	end_attachment(text);
	return true;
}

bool trace_text_read(FILE *in, const char *name, const char *path, GError **error)
{
	struct text text = { .in = in, .name = name };
	bool good;

	text.writer = trace_writer_new(path, error);
	if (!text.writer)
		return false;
	text.meta = trace_meta_new();
	text.content = g_byte_array_new();
	good = read_lines(&text, error);
	if (good)
		good = trace_writer_finish(text.writer, text.meta, error);
	else
		trace_writer_abort(text.writer);
	trace_meta_free(text.meta);
	g_byte_array_free(text.content, TRUE);
	g_free(text.attachment_name);
	return good;
}
