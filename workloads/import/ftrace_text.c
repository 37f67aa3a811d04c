#include <string.h>
#include "workloads/import/import.h"
#include "workloads/import/kmem_text.h"
#include "workloads/import/lines.h"
#include "workloads/import/wide.h"

/*
 * The two texts of ftrace:
 *
 *   `cat trace`          "        snap-180     [000] d....    37.147210: mm_page_free: page=..."
 *   `trace-cmd report`   "        snap-192   [000]   143.290625: mm_page_free:   page=..."
 *
 * A line is comm-pid, perhaps (tgid), [cpu], perhaps a column of flags, seconds, event, and fields
 * by name. comm may hold anything, also blanks, brackets and dashes; both texts right-align it to
 * 16 columns and no comm is longer, so that the dash stands at column 16. Texts that went through
 * other hands may have lost their indentation: then the first "-pid [cpu]" counts.
 */

/* "-123 (  123) [001]" from its dash on. Returns what follows, NULL if it is something else. */
static const char *pid_and_cpu(const char *p, const char *end, struct kmem_head *head)
{
	if (end - p < 2 || *p != '-' || !text_is_digit(p[1]))
		return NULL;
	p = text_skip_blanks(kmem_text_digits(p + 1, end, &head->pid, &head->pid_digits), end);
	if (p < end && *p == '(') {
		p = memchr(p, ')', (size_t)(end - p));
		if (!p)
			return NULL;
		p = text_skip_blanks(p + 1, end);
	}
	if (end - p < 3 || *p != '[' || !text_is_digit(p[1]))
		return NULL;
	p = kmem_text_digits(p + 1, end, &head->cpu, &head->cpu_digits);
	return p < end && *p == ']' ? p + 1 : NULL;
}

static const char *scan_task(const char *line, const char *end, struct kmem_head *head)
{
	const char *dash = line + KMEM_COMM_COLUMNS;
	const char *next = end - line > KMEM_COMM_COLUMNS ? pid_and_cpu(dash, end, head) : NULL;

	for (const char *p = line; !next && p < end; p++) {
		p = memchr(p, '-', (size_t)(end - p));
		if (!p)
			return NULL;
		next = pid_and_cpu(p, end, head);
		dash = p;
	}
	head->comm = (struct span){ text_skip_blanks(line, dash), dash };
	return next;
}

static const char *scan_when(const char *p, const char *end, struct kmem_head *head)
{
	p = text_skip_blanks(p, end);
	const char *next = p < end && text_is_digit(*p) ? kmem_text_time(p, end, head) : NULL;
	if (next)
		return next;
	/* The column of flags ("d..3."). */
	while (p < end && *p != ' ')
		p++;
	p = text_skip_blanks(p, end);
	return p < end && text_is_digit(*p) ? kmem_text_time(p, end, head) : NULL;
}

static bool scan_head(struct span line, struct kmem_head *head, GError **error)
{
	const char *p = scan_task(line.begin, line.end, head);
	if (!p)
		return line_problem_at(error, "no task and CPU in", line);
	p = scan_when(p, line.end, head);
	if (!p)
		return line_problem_at(error, "no time stamp in", line);
	return kmem_text_name(p, line.end, head) ||
	       line_problem_at(error, "no event name in", line);
}

/* "CPU:1 [LOST 123 EVENTS]", "CPU:1 [EVENTS DROPPED]", "CPU:1 [123 EVENTS DROPPED]". */
static bool cpu_line(struct kmem_text *kmem, struct span line, GError **error)
{
	uint64_t cpu, events = 0;
	const char *p = wide_digits(line.begin + 4, line.end, &cpu);
	struct span text = { p, line.end }, rest;

	if (!text_between(text, "LOST", "]", &rest) && !text_between(text, "DROPPED", "]", &rest))
		return true;
	while (p < line.end && !text_is_digit(*p))
		p++;
	wide_digits(p, line.end, &events);
	return kmem_text_lost(kmem, cpu, events, error);
}

/* What is no event: comments, and what trace-cmd says about the CPUs. */
static bool is_remark(struct span line)
{
	return line.begin == line.end || *line.begin == '#' || text_starts(line, "cpus=") ||
	       text_starts(line, "version = ") ||
	       (text_starts(line, "CPU ") && text_ends(line, " is empty"));
}

static bool take_line(void *kmem, struct span line, GError **error)
{
	struct kmem_head head;
	bool indented = line.begin < line.end && *line.begin == ' ';

	if (!indented && is_remark(line))
		return true;
	if (!indented && text_starts(line, "CPU:"))
		return cpu_line(kmem, line, error);
	int known = kmem_text_again(kmem, line, error);
	if (known != 0)
		return known > 0;
	return scan_head(line, &head, error) && kmem_text_event(kmem, line, &head, error);
}

bool ftrace_text_run(struct import_job *job, GError **error)
{
	struct kmem_text *kmem = kmem_text_new(job->owners);
	bool done = lines_run(job, take_line, kmem, error);

	kmem_text_free(kmem);
	return done;
}

static bool looks_right(struct span line)
{
	struct kmem_head head;

	return text_starts(line, "# tracer:") || text_starts(line, "cpus=") ||
	       scan_head(line, &head, NULL);
}

bool ftrace_text_detect(const unsigned char *head, size_t bytes, const char *name)
{
	return lines_detect(head, bytes, looks_right);
}
