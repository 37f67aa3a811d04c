/*
 * tracefs.h - a buffer of the kernel's tracer: set up, read, given back.
 */
#ifndef KMEMLAB_WORKLOADS_RECORD_TRACEFS_H
#define KMEMLAB_WORKLOADS_RECORD_TRACEFS_H

#include "workloads/record/record.h"

struct tracer;

/* Finds tracefs, makes the buffer, chooses clock and events; off until tracer_switch(). NULL with
 * error, and nothing is changed then. */
struct tracer *tracer_open(const struct record_options *options, GError **error);
/* Gives everything back. */
void tracer_free(struct tracer *tracer);
bool tracer_switch(struct tracer *tracer, bool on, GError **error);
/* Writes a marker into the buffer. */
void tracer_mark(struct tracer *tracer, const char *text);
/* Reads the CPUs' pages into FOLDER/cpuN, on threads, from now on until tracer_collect(). */
bool tracer_follow(struct tracer *tracer, const char *folder, GError **error);
/* After the last event: reads what is left, ends the threads, and copies formats and names. Returns
 * how many events the buffers had no room for in *LOST. */
bool tracer_collect(struct tracer *tracer, const char *folder, guint64 *lost, GError **error);

#endif
