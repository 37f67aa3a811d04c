#include <string.h>
#include "workloads/import/import.h"
#include "workloads/import/kmem_text.h"
#include "workloads/import/lines.h"
#include "workloads/import/wide.h"

/*
 * `perf script`, with and without --ns, of tracepoints:
 *
 *   "            perf   152 [000]    18.132995500:   kmem:kmalloc: call_site=0x... ptr=0x..."
 *
 * comm, pid (perhaps pid/tid), [cpu], seconds, system:event, and fields by name. comm may hold
 * anything; it is right-aligned to 16 columns and never longer, so that the blank behind it stands
 * at column 16. In texts that lost their indentation the first " pid [cpu]" counts. Call chains
 * (lines that begin with a tab, or are empty) are passed over. `--show-lost-events` prints
 * "PERF_RECORD_LOST lost 12" in the place of an event.
 */

/* " 152/153 [001]" from its blank on. Returns what follows, NULL if it is something else. */
static const char *pid_and_cpu(const char *p, const char *end, struct kmem_head *head)
{
	p = text_skip_blanks(p, end);
	if (p < end && *p == '-') { /* no process: perf prints -1 */
		p = kmem_text_digits(p + 1, end, &head->pid, &head->pid_digits);
		head->pid = 0;
		head->pid_digits.end = head->pid_digits.begin;
	} else {
		const char *digits = p;
		p = kmem_text_digits(p, end, &head->pid, &head->pid_digits);
		if (p == digits)
			return NULL;
	}
	if (p < end && *p == '/')
		p = kmem_text_digits(p + 1, end, &head->pid, &head->pid_digits);
	if (end - p < 4 || p[0] != ' ')
		return NULL;
	p = text_skip_blanks(p, end);
	if (end - p < 3 || *p != '[' || !text_is_digit(p[1]))
		return NULL;
	p = kmem_text_digits(p + 1, end, &head->cpu, &head->cpu_digits);
	return p < end && *p == ']' ? p + 1 : NULL;
}

static const char *scan_task(const char *line, const char *end, struct kmem_head *head)
{
	const char *blank = line + KMEM_COMM_COLUMNS;
	const char *next = end - line > KMEM_COMM_COLUMNS && *blank == ' '
				   ? pid_and_cpu(blank, end, head)
				   : NULL;

	for (const char *p = text_skip_blanks(line, end); !next && p < end; p++) {
		p = memchr(p, ' ', (size_t)(end - p));
		if (!p)
			return NULL;
		next = pid_and_cpu(p, end, head);
		blank = p;
	}
	head->comm = (struct span){ text_skip_blanks(line, blank), blank };
	return next;
}

static bool scan_when(struct span line, struct kmem_head *head, GError **error, const char **rest)
{
	const char *p = scan_task(line.begin, line.end, head);
	if (!p)
		return line_problem_at(error, "no task and CPU in", line);
	p = text_skip_blanks(p, line.end);
	p = p < line.end && text_is_digit(*p) ? kmem_text_time(p, line.end, head) : NULL;
	if (!p)
		return line_problem_at(error, "no time stamp in", line);
	*rest = p;
	return true;
}

/* perf's own records. Only losses say something about memory. */
static bool record_line(struct kmem_text *kmem, struct span text, uint64_t cpu, GError **error)
{
	struct span number;
	uint64_t events = 0;

	if (!text_starts(text, "PERF_RECORD_LOST"))
		return true;
	if (text_between(text, "lost ", "\n", &number))
		wide_digits(number.begin, number.end, &events);
	return kmem_text_lost(kmem, cpu, events, error);
}

static bool take_line(void *kmem, struct span line, GError **error)
{
	struct kmem_head head;
	const char *p;

	if (line.begin == line.end || *line.begin == '#' || *line.begin == '\t')
		return true;
	int known = kmem_text_again(kmem, line, error);
	if (known != 0)
		return known > 0;
	if (!scan_when(line, &head, error, &p))
		return false;
	p = text_skip_blanks(p, line.end);
	if (text_starts((struct span){ p, line.end }, "PERF_RECORD_"))
		return record_line(kmem, (struct span){ p, line.end }, head.cpu, error);
	if (!kmem_text_name(p, line.end, &head))
		return line_problem_at(error, "no event name in", line);
	return kmem_text_event(kmem, line, &head, error);
}

bool perf_script_run(struct import_job *job, GError **error)
{
	struct kmem_text *kmem = kmem_text_new(job->owners);
	bool done;

	/* perf holds no marker lines: snapshots go by their time. */
	job->snapshots_by_clock = true;
	done = lines_run(job, take_line, kmem, error);
	kmem_text_free(kmem);
	return done;
}

static bool looks_right(struct span line)
{
	struct kmem_head head;
	const char *p;

	return scan_when(line, &head, NULL, &p) && kmem_text_name(p, line.end, &head) &&
	       memchr(head.name.begin, ':', span_bytes(head.name));
}

bool perf_script_detect(const unsigned char *head, size_t bytes, const char *name)
{
	return lines_detect(head, bytes, looks_right);
}
