#include "workloads/small_file.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <unistd.h>

#define PIECE_BYTES (64u << 10)

static bool failed(const char *path, const char *what, int code, GError **error)
{
	g_set_error(error, G_FILE_ERROR, g_file_error_from_errno(code), "%s: %s: %s", path, what,
		    g_strerror(code));
	return false;
}

static bool read_all(int file, const char *path, GByteArray *content, GError **error)
{
	ssize_t got;

	do {
		guint at = content->len;

		if (at > SMALL_FILE_BYTES) {
			g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_FAILED,
				    "%s: has more than %u MiB, which no such file has", path,
				    SMALL_FILE_BYTES >> 20);
			return false;
		}
		g_byte_array_set_size(content, at + PIECE_BYTES);
		do
			got = read(file, content->data + at, PIECE_BYTES);
		while (got < 0 && errno == EINTR);
		if (got < 0)
			return failed(path, "cannot be read", errno, error);
		g_byte_array_set_size(content, at + (guint)got);
	} while (got > 0);
	return true;
}

bool small_file_read(const char *path, char **text, gsize *bytes, GError **error)
{
	int file = g_open(path, O_RDONLY | O_CLOEXEC, 0);

	if (file < 0)
		return failed(path, "cannot be opened", errno, error);
	GByteArray *content = g_byte_array_new();
	bool fine = read_all(file, path, content, error);

	close(file);
	if (!fine) {
		g_byte_array_unref(content);
		return false;
	}
	g_byte_array_append(content, (const guint8 *)"", 1);
	if (bytes)
		*bytes = content->len - 1;
	*text = (char *)g_byte_array_free(content, FALSE);
	return true;
}
