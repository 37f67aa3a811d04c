#include <string.h>
#include "workloads/import/import.h"
#include "workloads/import/lines.h"
#include "workloads/import/owners.h"

/*
 * The log of glibc's mtrace(3):
 *
 *   "@ ./prog:(main+1e)[0x11ec] + 0x55d0 0x40"   an object of 0x40 bytes (NULL: it failed)
 *   "@ ./prog:[0x13e2] - 0x55d0"                 its end
 *   "@ ./prog:[0x1259] < 0x55d0"                 realloc: the old place ...
 *   "@ ./prog:[0x1259] > 0x5600 0x80"            ... and the new one
 *   "@ ./prog:[0x1259] ! 0x55d0 0x80"            realloc failed
 *
 * The caller is missing where glibc does not know it; as the call site it is a name. The log has no
 * clock: a line counts as one nanosecond.
 */

static const char operations[] = "+-<>!";

struct mtrace {
	struct owners *owners;
	struct raw_event raw;
	uint32_t names[sizeof operations - 1];
	uint64_t moving; /* realloc's old place while its new one is awaited, else 0 */
};

struct entry {
	struct span caller;
	char operation;
	uint64_t pointer, bytes;
};

/* " + 0x55d0 0x40" from the operation on. */
static bool scan_operation(const char *p, const char *end, struct entry *entry)
{
	bool sized = *p != '-' && *p != '<';
	const char *pointer = p + 2, *blank;

	if (end - p < 3 || p[1] != ' ' || !memchr(operations, *p, sizeof operations - 1))
		return false;
	entry->operation = *p;
	blank = memchr(pointer, ' ', (size_t)(end - pointer));
	if (sized != (blank != NULL))
		return false;
	if (sized && !text_number((struct span){ blank + 1, end }, &entry->bytes))
		return false;
	return text_number((struct span){ pointer, sized ? blank : end }, &entry->pointer);
}

/* The caller may hold blanks, so the last operation counts. */
static bool scan_entry(struct span line, struct entry *entry)
{
	entry->caller = (struct span){ line.begin, line.begin };
	entry->bytes = 0;
	if (!text_starts(line, "@ "))
		return line.begin < line.end && scan_operation(line.begin, line.end, entry);
	for (const char *p = line.end - 3; p > line.begin + 2; p--) {
		if (p[-1] != ' ' || !scan_operation(p, line.end, entry))
			continue;
		entry->caller = (struct span){ line.begin + 2, p - 1 };
		return true;
	}
	return false;
}

static bool take_entry(struct mtrace *mtrace, const struct entry *entry, GError **error)
{
	struct raw_event *raw = &mtrace->raw;
	const char *operation = strchr(operations, entry->operation);

	if ((entry->operation == '>') != (mtrace->moving != 0))
		return line_problem(error, mtrace->moving ? "a realloc's new place is missing"
							  : "a realloc's old place is missing");
	memset(&raw->u, 0, sizeof raw->u);
	raw->time_ns++;
	raw->name = mtrace->names[operation - operations];
	raw->u.slab.pointer = entry->pointer;
	raw->u.slab.previous = mtrace->moving;
	raw->u.slab.bytes_requested = entry->bytes;
	if (entry->caller.begin < entry->caller.end)
		raw->u.slab.site = owners_string(mtrace->owners, entry->caller.begin,
						 span_bytes(entry->caller));
	mtrace->moving = 0;
	switch (entry->operation) {
	case '-':
		raw->kind = RAW_KFREE;
		break;
	case '<':
		raw->kind = RAW_NONE; /* what happened stands in the next line */
		mtrace->moving = entry->pointer;
		break;
	case '>':
		raw->kind = RAW_RESIZE;
		break;
	case '!':
		raw->u.slab.pointer = 0;
		raw->kind = RAW_KMALLOC;
		break;
	default:
		raw->kind = RAW_KMALLOC;
		break;
	}
	return owners_add(mtrace->owners, raw, error);
}

static bool take_line(void *data, struct span line, GError **error)
{
	struct entry entry;

	if (line.begin == line.end || *line.begin == '=')
		return true;
	return scan_entry(line, &entry) ? take_entry(data, &entry, error)
					: line_problem_at(error, "no operation of the heap:", line);
}

bool mtrace_run(struct import_job *job, GError **error)
{
	struct mtrace mtrace = { .owners = job->owners };

	for (size_t i = 0; i < sizeof operations - 1; i++)
		mtrace.names[i] = owners_string(job->owners, &operations[i], 1);
	return lines_run(job, take_line, &mtrace, error);
}

static bool looks_right(struct span line)
{
	struct entry entry;

	return text_starts(line, "= Start") ||
	       (text_starts(line, "@ ") && scan_entry(line, &entry));
}

bool mtrace_detect(const unsigned char *head, size_t bytes, const char *name)
{
	return lines_detect(head, bytes, looks_right);
}
