#include "workloads/import/lines.h"

#include <stdio.h>
#include <string.h>
#include "workloads/import/owners.h"
#include "workloads/import/source.h"
#include "workloads/import/wide.h"

#define BUFFER_BYTES ((size_t)1 << 20)
/* What is read at once, so that it is hashed and scanned in the host's caches. */
#define READ_BYTES ((size_t)1 << 16)

struct lines {
	struct import_job *job;
	line_fn line;
	void *data;
	guint64 number;
};

bool line_problem(GError **error, const char *text)
{
	g_set_error_literal(error, TRACE_ERROR, TRACE_ERROR_FORMAT, text);
	return false;
}

bool line_problem_at(GError **error, const char *text, struct span what)
{
	/* A damaged line may be long and not be text at all. */
	g_autofree char *shown = g_utf8_make_valid(what.begin, (gssize)MIN(span_bytes(what), 60));
	g_set_error(error, TRACE_ERROR, TRACE_ERROR_FORMAT, "%s '%s'", text, shown);
	return false;
}

static bool take_line(struct lines *lines, struct span line, GError **error)
{
	GError *wrong = NULL;
	char place[32];

	lines->number++;
	if (line.begin < line.end && line.end[-1] == '\r')
		line.end--;
	if (lines->line(lines->data, line, &wrong))
		return true;
	snprintf(place, sizeof place, ":%" G_GUINT64_FORMAT, lines->number);
	return import_malformed(lines->job, place, wrong, error);
}

/* The end of the line at BEGIN, NULL if it is not in [begin, end). Most lines end between 64 and
 * 192 bytes, no two alike: these are looked at without a branch that could be guessed wrong. */
static const char *line_end(const char *begin, const char *end)
{
	uint64_t first = wide_equal_64(begin, '\n');
	uint64_t second = wide_equal_64(begin + 64, '\n');
	uint64_t third = wide_equal_64(begin + 128, '\n');
	const char *newline;

	if (G_LIKELY(first == 0 && (second | third) != 0))
		newline = begin + (second ? 64 : 128) + __builtin_ctzll(second ? second : third);
	else
		newline = memchr(begin, '\n', (size_t)(end - begin));
	return newline < end ? newline : NULL;
}

/* Takes the whole lines in [begin, end). Returns where the rest begins, NULL with error. */
static const char *take_lines(struct lines *lines, const char *begin, const char *end,
			      GError **error)
{
	while (begin < end) {
		const char *newline = line_end(begin, end);
		if (!newline)
			break;
		if (!take_line(lines, (struct span){ begin, newline }, error))
			return NULL;
		begin = newline + 1;
	}
	return begin;
}

static bool take_all(struct lines *lines, char *buffer, GError **error)
{
	size_t kept = 0;

	for (;;) {
		ssize_t got = import_source_read(lines->job->source, buffer + kept,
						 MIN(READ_BYTES, BUFFER_BYTES - kept), error);
		if (got < 0)
			return false;
		const char *end = buffer + kept + got;
		const char *rest = take_lines(lines, buffer, end, error);
		if (!rest)
			return false;
		/* A last line without its end: taken if it can be read. */
		if (got == 0)
			return rest == end || take_line(lines, (struct span){ rest, end }, error);
		kept = (size_t)(end - rest);
		if (kept == BUFFER_BYTES) {
			/* No line is that long: it is handed over as it is, to name its place. */
			if (!take_line(lines, (struct span){ rest, end }, error))
				return false;
			kept = 0;
		}
		memmove(buffer, rest, kept);
	}
}

bool lines_run(struct import_job *job, line_fn line, void *data, GError **error)
{
	g_autofree char *buffer = g_malloc0(BUFFER_BYTES + WIDE_SLACK);
	struct lines lines = { job, line, data, 0 };

	if (!take_all(&lines, buffer, error))
		return false;
	if (owners_taken(job->owners) > 0)
		return true;
	trace_error_set(error, TRACE_ERROR_FORMAT,
			"%s:%" G_GUINT64_FORMAT ": no event in the whole file",
			import_source_path(job->source), lines.number);
	return false;
}

bool lines_detect(const unsigned char *head, size_t bytes, bool (*looks_right)(struct span line))
{
	const char *text = (const char *)head, *end = text + bytes;

	if (memchr(head, '\0', bytes))
		return false;
	while (text < end) {
		const char *newline = memchr(text, '\n', (size_t)(end - text));
		struct span line = { text, newline ? newline : end };

		if (looks_right(line))
			return true;
		text = line.end + 1;
	}
	return false;
}
