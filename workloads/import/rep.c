#include <stdio.h>
#include <string.h>
#include "workloads/import/import.h"
#include "workloads/import/lines.h"
#include "workloads/import/owners.h"
#include "workloads/import/source.h"

/*
 * Heap traces of the malloc exercise of "Computer Systems: A Programmer's Perspective" (Bryant,
 * O'Hallaron), for which many people have traces:
 *
 *   four numbers, one a line: a suggested size of the heap, how many ids, how many operations, a
 *   weight; then one operation a line:
 *   "a 0 512"   an object of 512 bytes, with the id 0
 *   "r 0 640"   it gets another size
 *   "f 0"       its end (-1: free(NULL))
 *
 * There is no clock: an operation counts as one nanosecond.
 */

enum { HEADER_LINES = 4, IDS_LINE = 1, OPERATIONS_LINE = 2 };

struct rep {
	struct owners *owners;
	struct raw_event raw;
	unsigned headers;
	uint64_t header[HEADER_LINES];
	uint32_t names[128]; /* by letter */
};

/* The numbers of a line. Returns how many, 3 for more than that or for something else. */
static unsigned scan_numbers(struct span text, uint64_t number[2])
{
	unsigned count = 0;
	const char *p = text_skip_blanks(text.begin, text.end);

	while (p < text.end) {
		const char *stop = p;
		while (stop < text.end && *stop != ' ')
			stop++;
		if (count == 2 || !text_number((struct span){ p, stop }, &number[count]))
			return 3;
		count++;
		p = text_skip_blanks(stop, text.end);
	}
	return count;
}

static bool take_header(struct rep *rep, struct span line, GError **error)
{
	uint64_t number[2];

	if (scan_numbers(line, number) != 1)
		return line_problem_at(error, "not one number:", line);
	rep->header[rep->headers++] = number[0];
	return true;
}

static bool take_operation(struct rep *rep, struct span line, GError **error)
{
	struct raw_event *raw = &rep->raw;
	char letter = *line.begin;
	uint64_t number[2] = { 0, 0 };
	unsigned wanted = letter == 'f' ? 1 : 2;

	if (letter == '\0' || !strchr("arf", letter) ||
	    scan_numbers((struct span){ line.begin + 1, line.end }, number) != wanted)
		return line_problem_at(error, "no operation of the heap:", line);
	if (number[0] >= rep->header[IDS_LINE] && number[0] != UINT64_MAX)
		return line_problem_at(error, "an id beyond those that line 2 promises:", line);
	memset(&raw->u, 0, sizeof raw->u);
	raw->time_ns++;
	raw->name = rep->names[(unsigned char)letter];
	raw->kind = letter == 'a' ? RAW_KMALLOC : letter == 'f' ? RAW_KFREE : RAW_RESIZE;
	raw->u.slab.pointer = raw->u.slab.previous = number[0] + 1;
	raw->u.slab.bytes_requested = number[1];
	return owners_add(rep->owners, raw, error);
}

static bool take_line(void *data, struct span line, GError **error)
{
	struct rep *rep = data;

	while (line.end > line.begin && line.end[-1] == ' ')
		line.end--;
	if (line.begin == line.end)
		return true;
	return rep->headers < HEADER_LINES ? take_header(rep, line, error)
					   : take_operation(rep, line, error);
}

bool rep_run(struct import_job *job, GError **error)
{
	struct rep rep = { .owners = job->owners };

	for (const char *letter = "arf"; *letter; letter++)
		rep.names[(unsigned char)*letter] = owners_string(job->owners, letter, 1);
	if (!lines_run(job, take_line, &rep, error))
		return false;
	uint64_t taken = owners_taken(job->owners);
	if (taken == rep.header[OPERATIONS_LINE] || job->lenient)
		return true;
	return trace_error_set(error, TRACE_ERROR_FORMAT,
			       "%s:3: %" G_GUINT64_FORMAT
			       " operations are promised, the file has %" G_GUINT64_FORMAT,
			       import_source_path(job->source), rep.header[OPERATIONS_LINE], taken);
}

/* Four lines of one number, then an allocation. */
bool rep_detect(const unsigned char *head, size_t bytes, const char *name)
{
	const char *text = (const char *)head, *end = text + bytes;
	uint64_t number[2];

	for (int i = 0; i <= HEADER_LINES; i++) {
		const char *newline = memchr(text, '\n', (size_t)(end - text));
		struct span line = { text, newline };
		if (!newline)
			return false;
		if (line.end > line.begin && line.end[-1] == '\r')
			line.end--;
		if (i == HEADER_LINES)
			return text_starts(line, "a ");
		if (scan_numbers(line, number) != 1)
			return false;
		text = newline + 1;
	}
	return false;
}
