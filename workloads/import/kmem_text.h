/*
 * kmem_text.h - events of Linux's tracepoints as text, "name: key=value key=value": what ftrace's
 * texts and perf script's have in common. The importers read the head of a line, each its own way,
 * and hand over what it says.
 */
#ifndef KMEMLAB_WORKLOADS_IMPORT_KMEM_TEXT_H
#define KMEMLAB_WORKLOADS_IMPORT_KMEM_TEXT_H

#include <glib.h>
#include <stdbool.h>
#include "workloads/import/owners.h"
#include "workloads/import/text.h"
#include "workloads/import/wide.h"

/* Columns of a command's name, right-aligned; no name is longer. */
#define KMEM_COMM_COLUMNS 16

/* What stands before the fields of a line. */
struct kmem_head {
	struct span comm, name, rest; /* name may begin with its system: "kmem:mm_page_free" */
	uint64_t time_ns;
	uint64_t pid, cpu;
	/* Where the digits of these stand. fraction: behind the point of the seconds. */
	struct span pid_digits, cpu_digits, seconds, fraction;
};

struct kmem_text;

struct kmem_text *kmem_text_new(struct owners *owners);
void kmem_text_free(struct kmem_text *text);

/* Digits of a number at P into *VALUE and *DIGITS. Returns their end. */
static inline const char *kmem_text_digits(const char *p, const char *end, uint64_t *value,
					   struct span *digits)
{
	digits->begin = p;
	return digits->end = wide_digits(p, end, value);
}

/* Seconds with any number of decimals, or a bare counter, up to ':', into HEAD. Returns what
 * follows, NULL if it is something else. */
const char *kmem_text_time(const char *p, const char *end, struct kmem_head *head);
/* "event: fields" from P on into HEAD. */
bool kmem_text_name(const char *p, const char *end, struct kmem_head *head);

/* The event of LINE, whose head is read. Errors without a place, as line functions give them. */
bool kmem_text_event(struct kmem_text *text, struct span line, const struct kmem_head *head,
		     GError **error);
/* The event of a line that is like an earlier one (line_shape.h), its head included. Returns 1, 0
 * if there was none like it, -1 with error. */
int kmem_text_again(struct kmem_text *text, struct span line, GError **error);
/* The recorder lost EVENTS (0: unknown) on CPU. */
bool kmem_text_lost(struct kmem_text *text, uint64_t cpu, uint64_t events, GError **error);

#endif
