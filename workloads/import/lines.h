/*
 * lines.h - the lines of a recording that is text, one after the other, in constant memory.
 */
#ifndef KMEMLAB_WORKLOADS_IMPORT_LINES_H
#define KMEMLAB_WORKLOADS_IMPORT_LINES_H

#include <glib.h>
#include <stdbool.h>
#include "workloads/import/import.h"
#include "workloads/import/text.h"

/* Takes a line, without its end ("\n" or "\r\n"). Returns false with TRACE_ERROR_FORMAT without a
 * place, or with any other error. */
typedef bool (*line_fn)(void *data, struct span line, GError **error);

/*
 * Hands over every line of the source, the last one also without its end. What LINE cannot read
 * goes through import_malformed() with the number of the line. A source from which owners.h took no
 * event at all is an error too. Lines of a mebibyte and more are cut. WIDE_SLACK bytes behind a
 * line can be read (wide.h).
 */
bool lines_run(struct import_job *job, line_fn line, void *data, GError **error);
/* Whether any of the first lines that begin in HEAD is LOOKS_RIGHT; never for a binary file. HEAD
 * is that of import_source_head(). */
bool lines_detect(const unsigned char *head, size_t bytes, bool (*looks_right)(struct span line));

/* For line functions: sets TRACE_ERROR_FORMAT and returns false; the second one quotes a piece of
 * the line. */
bool line_problem(GError **error, const char *text);
bool line_problem_at(GError **error, const char *text, struct span what);

#endif
