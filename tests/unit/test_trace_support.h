/*
 * test_trace_support.h - traces for the tests of .kmt: random events, files of them, temporary
 * folders.
 */
#ifndef KMEMLAB_TESTS_TRACE_SUPPORT_H
#define KMEMLAB_TESTS_TRACE_SUPPORT_H

#include "workloads/trace.h"

/* An event of the kind with every field that the kind has drawn at random: zero, small, any, or all
 * ones. Handles stay below 2^63. */
struct event random_event(GRand *random, unsigned kind);
/* Events of all kinds, as unlike each other as possible. */
GArray *random_events(uint32_t seed, unsigned count);
/* Events as a page trace has them: two CPUs, a few tasks, allocations and frees of live handles,
 * frames that lie near each other, the buddy's story. Semantically valid. */
GArray *page_events(uint32_t seed, unsigned count);

/* Makes a folder that remove_folder() removes with all that is in it. */
char *make_folder(void);
void remove_folder(char *folder);

/* Writes the events as a trace; aborts the test program when that fails. */
void write_trace(const char *path, const GArray *start, const GArray *events);
/* A small trace with something in every part of the format. */
void write_small_trace(const char *path);
/* Reads a whole trace, attachments included. Returns false with the error of whatever failed. */
bool read_trace(const char *path, GArray *start, GArray *events, GError **error);

#endif
