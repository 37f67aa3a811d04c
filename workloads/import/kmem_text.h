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

/* Columns of a command's name, right-aligned; no name is longer. */
#define KMEM_COMM_COLUMNS 16

/* What stands before the fields of a line. */
struct kmem_head {
	struct span comm, name, rest; /* name may begin with its system: "kmem:mm_page_free" */
	uint64_t time_ns;
	uint64_t pid, cpu;
};

struct kmem_text;

struct kmem_text *kmem_text_new(struct owners *owners);
void kmem_text_free(struct kmem_text *text);

/* Seconds with any number of decimals, or a bare counter, up to ':'. Returns what follows, NULL if
 * it is something else. */
const char *kmem_text_time(const char *p, const char *end, uint64_t *time_ns);
/* "event: fields" from P on into HEAD. */
bool kmem_text_name(const char *p, const char *end, struct kmem_head *head);

/* The event of a line. Errors without a place, as line functions give them. */
bool kmem_text_event(struct kmem_text *text, const struct kmem_head *head, GError **error);
/* The recorder lost EVENTS (0: unknown) on CPU. */
bool kmem_text_lost(struct kmem_text *text, uint64_t cpu, uint64_t events, GError **error);

#endif
