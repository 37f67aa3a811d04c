/*
 * trace_text.h - the readable twin of a .kmt trace (workloads/FORMAT.md, "The text twin").
 *
 * One line an event, "event 12 frame_alloc time=4512 cpu=1 task=200 handle=5 frame=0x1e77
 * frames=1", and lines that begin with # for all else. Nothing is lost: binary to text to binary
 * gives the same bytes.
 */
#ifndef KMEMLAB_WORKLOADS_TRACE_TEXT_H
#define KMEMLAB_WORKLOADS_TRACE_TEXT_H

#include <stdio.h>
#include "workloads/trace.h"

/* Prints the whole trace, from its beginning. Returns false with what reading failed of, or
 * TRACE_ERROR_IO if `out` does not take the text. Memory: one block. */
bool trace_text_write(struct trace_reader *reader, FILE *out, GError **error);

/* Prints one event, with its end of line. SECTION: "event" or "start". */
void trace_text_event(const struct trace_reader *reader, FILE *out, const char *section,
		      uint64_t number, const struct event *event);

/* Reads such text and writes the trace to `path`. Numbers of events are for people: they are not
 * looked at. Returns false with TRACE_ERROR_FORMAT naming NAME:line, or what writing failed of; no
 * file is left behind then. */
bool trace_text_read(FILE *in, const char *name, const char *path, GError **error);

/* The words of a style by value, NULL-terminated; NULL if it has none. For STYLE_FLAGS and
 * STYLE_RIGHTS word i stands for bit i. */
const char *const *trace_style_words(unsigned style);

#endif
