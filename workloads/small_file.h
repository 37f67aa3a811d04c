/*
 * small_file.h - a whole file that is small by its nature: a specification, a memory map, a list.
 */
#ifndef KMEMLAB_WORKLOADS_SMALL_FILE_H
#define KMEMLAB_WORKLOADS_SMALL_FILE_H

#include <glib.h>
#include <stdbool.h>

/* More than any of them has; a device without an end is not read for ever. */
#define SMALL_FILE_BYTES (256u << 20)

/* Reads the file, a pipe as well. *TEXT ends with a zero byte that *BYTES (may be NULL) does not
 * count; to be freed. False with a GFileError that names the file. */
bool small_file_read(const char *path, char **text, gsize *bytes, GError **error);

#endif
