#include "workloads/import/source.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>
#include "workloads/import/spool.h"
#include "workloads/import/wide.h"
#include "workloads/trace.h"

#define BLOCK_BYTES ((size_t)1 << 18)
/* Enough for detection, also of a text that begins with a long comment. */
#define HEAD_BYTES 8192

struct import_source {
	char *path;
	char *folder;
	int fd;
	struct archive *archive;
	uint64_t taken_bytes; /* of the file, hashed */
	XXH3_state_t *sum;
	bool plain; /* a regular file that is not compressed: read without libarchive */
	bool empty;
	bool is_folder; /* and has no content of its own */
	int temporary;	/* decompressed copy, -1 none */
	unsigned char head[HEAD_BYTES + WIDE_SLACK];
	size_t head_bytes;
	size_t head_taken;
	unsigned char block[BLOCK_BYTES];
};

static bool system_error(const struct import_source *source, const char *what, GError **error)
{
	trace_error_set(error, TRACE_ERROR_IO, "cannot %s %s: %s", what, source->path,
			g_strerror(errno));
	return false;
}

/* The next bytes of the file. */
static ssize_t read_file(struct import_source *source, void *buffer, size_t bytes)
{
	ssize_t got;

	do
		got = read(source->fd, buffer, bytes);
	while (got < 0 && errno == EINTR);
	if (got > 0) {
		XXH3_128bits_update(source->sum, buffer, (size_t)got);
		source->taken_bytes += (uint64_t)got;
	}
	return got;
}

static la_ssize_t on_read(struct archive *archive, void *data, const void **block)
{
	struct import_source *source = data;
	ssize_t got = read_file(source, source->block, BLOCK_BYTES);

	*block = source->block;
	if (got < 0) {
		archive_set_error(archive, errno, "%s", g_strerror(errno));
		return ARCHIVE_FATAL;
	}
	return got;
}

static bool archive_problem(struct import_source *source, GError **error)
{
	const char *text = archive_error_string(source->archive);

	trace_error_set(error, TRACE_ERROR_FORMAT, "%s: byte %" G_GUINT64_FORMAT ": %s",
			source->path, source->taken_bytes, text ? text : "damaged compressed data");
	return false;
}

static ssize_t read_content(struct import_source *source, void *buffer, size_t bytes,
			    GError **error)
{
	if (source->empty)
		return 0;
	if (source->plain) {
		ssize_t taken = read_file(source, buffer, bytes);
		if (taken < 0)
			system_error(source, "read", error);
		return taken;
	}
	la_ssize_t got = archive_read_data(source->archive, buffer, bytes);
	if (got < 0) {
		archive_problem(source, error);
		return -1;
	}
	return got;
}

static bool fill_head(struct import_source *source, GError **error)
{
	while (source->head_bytes < HEAD_BYTES) {
		ssize_t got = read_content(source, source->head + source->head_bytes,
					   HEAD_BYTES - source->head_bytes, error);
		if (got < 0)
			return false;
		if (got == 0)
			break;
		source->head_bytes += (size_t)got;
	}
	return true;
}

static bool open_archive(struct import_source *source, GError **error)
{
	struct archive_entry *entry;

	source->archive = archive_read_new();
	archive_read_support_filter_gzip(source->archive);
	archive_read_support_filter_xz(source->archive);
	archive_read_support_filter_zstd(source->archive);
	archive_read_support_filter_bzip2(source->archive);
	archive_read_support_format_raw(source->archive);
	archive_read_support_format_empty(source->archive);
	if (archive_read_open(source->archive, source, NULL, on_read, NULL) != ARCHIVE_OK)
		return archive_problem(source, error);
	int got = archive_read_next_header(source->archive, &entry);
	source->empty = got == ARCHIVE_EOF;
	return got == ARCHIVE_OK || got == ARCHIVE_WARN || source->empty
		       ? true
		       : archive_problem(source, error);
}

/* Detection has read a plain file through libarchive: it begins anew, without. */
static bool begin_plain(struct import_source *source, GError **error)
{
	if (archive_filter_count(source->archive) > 1)
		return true;
	if (lseek(source->fd, 0, SEEK_SET) != 0)
		return system_error(source, "read", error);
	source->plain = true;
	source->head_taken = source->head_bytes;
	source->taken_bytes = 0;
	XXH3_128bits_reset(source->sum);
	return true;
}

struct import_source *import_source_open(const char *path, const char *folder, GError **error)
{
	struct import_source *source = g_new(struct import_source, 1);
	struct stat status;

	memset(source, 0, offsetof(struct import_source, block));
	source->path = g_strdup(path);
	source->folder = g_strdup(folder);
	source->temporary = -1;
	source->sum = XXH3_createState();
	XXH3_128bits_reset(source->sum);
	source->fd = open(path, O_RDONLY | O_CLOEXEC);
	bool opened = source->fd >= 0 && fstat(source->fd, &status) == 0;
	if (!opened)
		system_error(source, "read", error);
	source->is_folder = source->empty = opened && S_ISDIR(status.st_mode);
	if (source->is_folder)
		return source;
	if (opened && open_archive(source, error) && fill_head(source, error) &&
	    (!S_ISREG(status.st_mode) || begin_plain(source, error)))
		return source;
	import_source_free(source);
	return NULL;
}

void import_source_free(struct import_source *source)
{
	if (!source)
		return;
	archive_read_free(source->archive);
	XXH3_freeState(source->sum);
	if (source->fd >= 0)
		close(source->fd);
	if (source->temporary >= 0)
		close(source->temporary);
	g_free(source->path);
	g_free(source->folder);
	g_free(source);
}

const char *import_source_path(const struct import_source *source)
{
	return source->path;
}

bool import_source_is_folder(const struct import_source *source)
{
	return source->is_folder;
}

const unsigned char *import_source_head(const struct import_source *source, size_t *bytes)
{
	*bytes = source->head_bytes;
	return source->head;
}

ssize_t import_source_read(struct import_source *source, void *buffer, size_t bytes, GError **error)
{
	size_t left = source->head_bytes - source->head_taken;

	if (left == 0)
		return read_content(source, buffer, bytes, error);
	left = MIN(left, bytes);
	memcpy(buffer, source->head + source->head_taken, left);
	source->head_taken += left;
	return (ssize_t)left;
}

static bool write_all(int fd, const unsigned char *bytes, size_t count)
{
	while (count > 0) {
		ssize_t wrote = write(fd, bytes, count);
		if (wrote < 0 && errno != EINTR)
			return false;
		if (wrote > 0) {
			bytes += wrote;
			count -= (size_t)wrote;
		}
	}
	return true;
}

static bool copy_content(struct import_source *source, GError **error)
{
	g_autofree unsigned char *buffer = g_malloc(BLOCK_BYTES);

	source->temporary = spool_open_unlinked(source->folder, error);
	if (source->temporary < 0)
		return false;
	for (;;) {
		ssize_t got = import_source_read(source, buffer, BLOCK_BYTES, error);
		if (got < 0)
			return false;
		if (got == 0)
			return true;
		if (!write_all(source->temporary, buffer, (size_t)got))
			return system_error(source, "decompress", error);
	}
}

int import_source_file(struct import_source *source, GError **error)
{
	if (source->is_folder) {
		errno = EISDIR;
		system_error(source, "read", error);
		return -1;
	}
	if (source->plain)
		return source->fd;
	if (source->temporary < 0 && !copy_content(source, error))
		return -1;
	return source->temporary;
}

/* Hashes what was not read. */
static bool take_rest(struct import_source *source)
{
	ssize_t got;

	while ((got = read_file(source, source->block, BLOCK_BYTES)) > 0)
		;
	return got == 0;
}

/* As xxh128sum prints it. */
static char *hash_text(const struct import_source *source)
{
	XXH128_hash_t hash = XXH3_128bits_digest(source->sum);

	return g_strdup_printf("%016" G_GINT64_MODIFIER "x%016" G_GINT64_MODIFIER "x",
			       (guint64)hash.high64, (guint64)hash.low64);
}

static bool hash_member(struct import_source *source, const char *name, GError **error)
{
	g_autofree char *path = g_build_filename(source->path, name, NULL);

	if (g_file_test(path, G_FILE_TEST_IS_DIR))
		return true;
	close(source->fd);
	source->fd = open(path, O_RDONLY | O_CLOEXEC);
	XXH3_128bits_update(source->sum, name, strlen(name) + 1);
	return (source->fd >= 0 && take_rest(source)) ||
	       system_error(source, "read a file in", error);
}

static gint by_name(gconstpointer left, gconstpointer right)
{
	return strcmp(*(const char *const *)left, *(const char *const *)right);
}

/* Of the names and contents of its files, in the order of the names. */
static char *hash_folder(struct import_source *source, GError **error)
{
	g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
	g_autoptr(GDir) folder = g_dir_open(source->path, 0, NULL);
	const char *name;

	while (folder && (name = g_dir_read_name(folder)) != NULL)
		g_ptr_array_add(names, g_strdup(name));
	g_ptr_array_sort(names, by_name);
	for (guint i = 0; i < names->len; i++)
		if (!hash_member(source, names->pdata[i], error))
			return NULL;
	return hash_text(source);
}

char *import_source_xxh128(struct import_source *source, GError **error)
{
	if (source->is_folder)
		return hash_folder(source, error);
	if (take_rest(source))
		return hash_text(source);
	system_error(source, "read", error);
	return NULL;
}
