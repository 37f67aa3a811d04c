/*
 * spool.h - events of the first pass on their way to the second: in memory up to 32 MiB, beyond
 * that in an unlinked temporary file, so that an importer's memory does not grow with the length of
 * the recording.
 *
 * Only the part of struct event that its kind uses is written (24 to 64 bytes an event).
 */
#ifndef KMEMLAB_WORKLOADS_IMPORT_SPOOL_H
#define KMEMLAB_WORKLOADS_IMPORT_SPOOL_H

#include <glib.h>
#include <stdbool.h>
#include "workloads/event.h"

struct spool;

/* An unlinked temporary file in FOLDER, or in the system's folder for such files if FOLDER takes
 * none. Returns its descriptor, -1 with TRACE_ERROR_IO. */
int spool_open_unlinked(const char *folder, GError **error);

struct spool *spool_new(const char *folder, GError **error);
void spool_free(struct spool *spool);
/* Number that the next added event gets, from 0. */
uint64_t spool_next(const struct spool *spool);
bool spool_add(struct spool *spool, const struct event *event, GError **error);
/* From writing to reading from the start; no more can be added. */
bool spool_rewind(struct spool *spool, GError **error);
/* Returns 1 with an event, 0 at the end, -1 with error. Fields that the kind has no use for are 0.
 */
int spool_read(struct spool *spool, struct event *out, GError **error);

#endif
