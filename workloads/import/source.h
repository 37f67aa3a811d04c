/*
 * source.h - the file that is imported: plain or compressed (gzip, xz, zstd, bzip2), read as a
 * stream or, where a library insists, as a file of its own.
 */
#ifndef KMEMLAB_WORKLOADS_IMPORT_SOURCE_H
#define KMEMLAB_WORKLOADS_IMPORT_SOURCE_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct import_source;

/* FOLDER takes a temporary file if one is needed. NULL with TRACE_ERROR_IO, or TRACE_ERROR_FORMAT
 * for damaged compression. */
struct import_source *import_source_open(const char *path, const char *folder, GError **error);
void import_source_free(struct import_source *source);
/* As the caller named it. */
const char *import_source_path(const struct import_source *source);
/* A folder has no content of its own: importers of folders read what lies in it. */
bool import_source_is_folder(const struct import_source *source);
/* The first bytes of the content (after decompression), without taking them. */
const unsigned char *import_source_head(const struct import_source *source, size_t *bytes);
/* Takes the next bytes of the content. Returns how many, 0 at the end, -1 with error naming the
 * file and the byte of the compressed input. */
ssize_t import_source_read(struct import_source *source, void *buffer, size_t bytes,
			   GError **error);
/* A seekable file with the whole content, owned by the source; nothing may have been read. -1 with
 * error. */
int import_source_file(struct import_source *source, GError **error);
/* XXH128 of the file as it lies on disk, 32 hexadecimal digits as `xxh128sum` prints them (transfer
 * full): names what was imported, and is no protection against forgery. The source cannot be read
 * any more. NULL with error. */
char *import_source_xxh128(struct import_source *source, GError **error);

#endif
