/*
 * import_support.h - for the tests of importers: imports of given content, and traces as short text
 * that an expectation can be written in.
 */
#ifndef KMEMLAB_TESTS_IMPORT_SUPPORT_H
#define KMEMLAB_TESTS_IMPORT_SUPPORT_H

#include <glib.h>
#include <stdbool.h>
#include "workloads/import/import.h"
#include "workloads/trace.h"

/* Names in the folder, sorted, one blank between them. */
char *folder_names(const char *folder);

/* A whole trace in memory. */
struct loaded {
	struct trace_reader *reader;
	const struct trace_meta *meta;
	GArray *start, *events; /* struct event */
	const GPtrArray *attachments;
};

/* Opens a .kmt, reads all of it and validates it; aborts the program when that fails. */
struct loaded *loaded_new(const char *kmt);
void loaded_free(struct loaded *loaded);
uint64_t loaded_source_events(const struct loaded *loaded, const char *name);

/* Writes CONTENT into a file and imports that. NULL with error. */
struct loaded *import_bytes(const char *content, gsize bytes, bool lenient, GError **error);
/* The same for text; aborts when it does not import. */
struct loaded *import_text(const char *text);
/* Imports a file that must import. */
struct loaded *import_path(const char *path, const struct import_options *options);

/*
 * The story as text, one event a line without times, BUDDY kinds left out unless asked for:
 *   "start 1 0x100+1", "alloc 2 0x200+8 untraced", "free 2", "free 2 part 4+2", "fail 8", ...
 */
char *story(const struct loaded *loaded, bool buddy);

/*
 * The first difference between two imports of one recording, as far as the shorter one goes; NULL
 * if there is none. All of an event counts but these two:
 * - time: `trace-cmd report` prints microseconds, rounded from the nanoseconds that a .dat holds,
 * and both count from their first event, so times may differ by up to 1,000 ns (twice a half);
 * - the extent of inferred regions where one import is longer, since they are inferred from all
 *   touches.
 */
char *story_difference(const struct loaded *one, const struct loaded *other);

/* Checks what must hold in any imported trace: handles are allocated once and freed while they have
 * frames, no frame is in two hands, time goes forward on each CPU, regions cover touches. Returns
 * NULL, or what is wrong. */
char *story_fault(const struct loaded *loaded);

#endif
