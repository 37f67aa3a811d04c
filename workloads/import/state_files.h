/*
 * state_files.h - the files of a recording's ground truth, out of a folder or a tar (plain or
 * compressed).
 *
 * Names are relative to its root ("state/before/zoneinfo"); a single folder at the top of a tar is
 * passed over.
 */
#ifndef KMEMLAB_WORKLOADS_IMPORT_STATE_FILES_H
#define KMEMLAB_WORKLOADS_IMPORT_STATE_FILES_H

#include <glib.h>

struct state_files;

/* Reads all of PATH. NULL with TRACE_ERROR_IO, or TRACE_ERROR_FORMAT naming the damaged tar. */
struct state_files *state_files_load(const char *path, GError **error);
void state_files_free(struct state_files *files);
/* The file of that name (transfer none), NULL if there is none. */
GBytes *state_files_get(const struct state_files *files, const char *name);
/* As the caller named the whole, for messages. */
const char *state_files_path(const struct state_files *files);

#endif
