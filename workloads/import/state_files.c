#include "workloads/import/state_files.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include "workloads/small_file.h"
#include "workloads/trace.h"

/* What a ground truth may hold: far above any real one, far below memory. */
#define FILE_LIMIT  ((gint64)256 << 20)
#define TOTAL_LIMIT ((gint64)1 << 30)
#define DEPTH_LIMIT 8

struct state_files {
	char *path;
	GHashTable *by_name; /* char * -> GBytes * */
	gint64 bytes;
};

void state_files_free(struct state_files *files)
{
	if (!files)
		return;
	g_hash_table_unref(files->by_name);
	g_free(files->path);
	g_free(files);
}

GBytes *state_files_get(const struct state_files *files, const char *name)
{
	return g_hash_table_lookup(files->by_name, name);
}

const char *state_files_path(const struct state_files *files)
{
	return files->path;
}

static bool damaged(const struct state_files *files, const char *name, const char *what,
		    GError **error)
{
	trace_error_set(error, TRACE_ERROR_FORMAT, "%s%s%s: %s", files->path, *name ? ": " : "",
			name, what ? what : "damaged");
	return false;
}

static bool keep(struct state_files *files, const char *name, GBytes *bytes, GError **error)
{
	gint64 size = (gint64)g_bytes_get_size(bytes);

	files->bytes += size;
	g_hash_table_replace(files->by_name, g_strdup(name), bytes);
	if (size > FILE_LIMIT || files->bytes > TOTAL_LIMIT)
		return damaged(files, name, "too large for a ground truth", error);
	return true;
}

/* ---- folders ---- */

static bool load_folder(struct state_files *files, const char *folder, const char *prefix,
			int depth, GError **error);

static bool load_entry(struct state_files *files, const char *path, const char *name, int depth,
		       GError **error)
{
	gsize size;
	char *content;

	if (g_file_test(path, G_FILE_TEST_IS_DIR)) {
		g_autofree char *prefix = g_strconcat(name, "/", NULL);
		return load_folder(files, path, prefix, depth + 1, error);
	}
	if (!g_file_test(path, G_FILE_TEST_IS_REGULAR))
		return true;
	g_autoptr(GError) problem = NULL;
	if (!small_file_read(path, &content, &size, &problem)) {
		trace_error_set(error, TRACE_ERROR_IO, "%s", problem->message);
		return false;
	}
	return keep(files, name, g_bytes_new_take(content, size), error);
}

static bool load_folder(struct state_files *files, const char *folder, const char *prefix,
			int depth, GError **error)
{
	g_autoptr(GError) problem = NULL;
	g_autoptr(GDir) dir = g_dir_open(folder, 0, &problem);
	bool loaded = true;
	const char *entry;

	if (depth > DEPTH_LIMIT)
		return damaged(files, prefix, "folders too deep for a ground truth", error);
	if (!dir) {
		trace_error_set(error, TRACE_ERROR_IO, "%s", problem->message);
		return false;
	}
	while (loaded && (entry = g_dir_read_name(dir)) != NULL) {
		g_autofree char *path = g_build_filename(folder, entry, NULL);
		g_autofree char *name = g_strconcat(prefix, entry, NULL);
		loaded = load_entry(files, path, name, depth, error);
	}
	return loaded;
}

/* ---- tars ---- */

/* "./state/before/zoneinfo" and "ground-truth/state/before/zoneinfo" without what is in front. */
static const char *base_name_in_tar(const char *name)
{
	if (g_str_has_prefix(name, "./"))
		name += 2;
	const char *slash = strchr(name, '/');
	if (slash && g_str_has_prefix(name, "ground-truth"))
		name = slash + 1;
	return name;
}

static bool load_member(struct state_files *files, struct archive *archive,
			struct archive_entry *entry, GError **error)
{
	const char *name = archive_entry_pathname(entry);
	la_int64_t size = archive_entry_size(entry);

	if (!name || archive_entry_filetype(entry) != AE_IFREG)
		return true;
	if (size < 0 || size > FILE_LIMIT)
		return damaged(files, name, "too large for a ground truth", error);
	g_autofree char *content = g_malloc((gsize)size + 1);
	la_ssize_t got = archive_read_data(archive, content, (size_t)size);
	if (got != size)
		return damaged(files, name, got < 0 ? archive_error_string(archive) : "cut short",
			       error);
	return keep(files, base_name_in_tar(name),
		    g_bytes_new_take(g_steal_pointer(&content), (gsize)size), error);
}

static bool load_tar(struct state_files *files, GError **error)
{
	struct archive *archive = archive_read_new();
	struct archive_entry *entry;
	bool loaded = true;
	int got;

	archive_read_support_filter_all(archive);
	archive_read_support_format_tar(archive);
	got = archive_read_open_filename(archive, files->path, 1 << 16);
	while (got == ARCHIVE_OK && loaded) {
		got = archive_read_next_header(archive, &entry);
		if (got == ARCHIVE_OK || got == ARCHIVE_WARN) {
			loaded = load_member(files, archive, entry, error);
			got = ARCHIVE_OK;
		}
	}
	if (loaded && got != ARCHIVE_EOF)
		loaded = damaged(files, "", archive_error_string(archive), error);
	archive_read_free(archive);
	return loaded;
}

struct state_files *state_files_load(const char *path, GError **error)
{
	struct state_files *files = g_new0(struct state_files, 1);
	bool loaded;

	files->path = g_strdup(path);
	files->by_name = g_hash_table_new_full(g_str_hash, g_str_equal, g_free,
					       (GDestroyNotify)g_bytes_unref);
	if (g_file_test(path, G_FILE_TEST_IS_DIR)) {
		loaded = load_folder(files, path, "", 0, error);
	} else if (!g_file_test(path, G_FILE_TEST_EXISTS)) {
		trace_error_set(error, TRACE_ERROR_IO, "cannot read %s: %s", path,
				g_strerror(ENOENT));
		loaded = false;
	} else {
		loaded = load_tar(files, error);
	}
	if (loaded)
		return files;
	state_files_free(files);
	return NULL;
}
